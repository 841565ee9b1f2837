//! Names in many languages, found by what a native speaker types: without accents, vowel signs or
//! capitals, in composed or decomposed form, and by a word inside a name without spaces.

use super::tests::{found, index_of};
use crate::wire::QueryKind;

/// A language, a path in it, and patterns. Each pattern must find this path and no other path of
/// the list.
const LANGUAGES: [(&str, &str, &[&str]); 28] = [
    ("Spanish", "Canciones/La Señorita – Corazón Espinado.mp3", &["senorita corazon", "SEÑORITA", "canciones mp3"]),
    ("Portuguese", "São João/Coração.ogg", &["sao joao", "coracao", "Corac\u{327}a\u{303}o"]),
    ("French", "L'Été à la plage – Cœur & Œuvre.flac", &["ete plage", "coeur oeuvre", "l'été à la plage"]),
    ("German", "Straßenbahn nach Köln – Grüße.txt", &["strassenbahn koln", "STRASSENBAHN", "grusse", "Köln"]),
    ("Danish", "Rødgrød med fløde – Århus.txt", &["rodgrod med flode", "århus", "arhus"]),
    ("Icelandic", "Þingvellir – Æðruleysi.mp3", &["thingvellir", "aedruleysi", "þingvellir"]),
    ("Polish", "Łódź – Żółta łąka.mp3", &["lodz zolta laka", "ŁÓDŹ"]),
    ("Czech", "Příliš žluťoučký kůň.ogg", &["prilis zlutoucky kun", "kůň"]),
    ("Hungarian", "Hétfő – Tűzijáték.avi", &["hetfo tuzijatek", "TŰZIJÁTÉK"]),
    ("Croatian", "Đorđe i Žarko.mp3", &["dorde zarko", "đorđe"]),
    ("Turkish", "IŞIKLAR İstanbul'da.mp3", &["ışıklar istanbul", "isiklar", "ISTANBUL"]),
    ("Vietnamese", "Đường về quê – Nguyễn.mp3", &["duong ve que", "nguyen", "Nguye\u{302}\u{303}n", "đường"]),
    ("Greek", "Ο ΔΡΌΜΟΣ της Αθήνας.mp3", &["δρομος", "δρόμος αθηνας", "ΑΘΗΝΑΣ"]),
    ("Russian", "Ёлка в лесу – Чайковский.flac", &["елка", "ёлка в лесу", "ЧАЙКОВСКИЙ"]),
    ("Ukrainian", "Їжак і Ґудзик.mp3", &["їжак", "ґудзик", "ЇЖАК"]),
    ("Armenian", "Հայաստան.mp3", &["հայաստան"]),
    ("Georgian", "საქართველო.mp3", &["საქართველო", "ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ"]),
    ("Arabic", "كِتَابٌ مُفِيدٌ ـــ مقدمـة.pdf", &["كتاب مفيد", "مقدمة"]),
    ("Persian", "می\u{200c}خواهم زنده بمانم.mp3", &["می خواهم", "می\u{200c}خواهم", "زنده"]),
    ("Hebrew", "שָׁלוֹם עולם.mp3", &["שלום", "עולם"]),
    ("Hindi", "हिन्दी गीत – दिल.mp3", &["हिन्दी", "दिल"]),
    ("Tamil", "தமிழ் பாடல்.mp3", &["தமிழ்", "பாடல்"]),
    ("Thai", "เพลงไทย เก่า.mp3", &["ไทย", "เพลง", "เก่า"]),
    ("Khmer", "ភាសាខ្មែរ.pdf", &["ខ្មែរ", "ភាសា"]),
    ("Burmese", "မြန်မာသီချင်း.mp3", &["မြန်မာ", "သီချင်း"]),
    ("Chinese", "上海之夜/夜来香 经典.mp3", &["上海", "夜来香", "来香", "上海之夜"]),
    ("Japanese", "東京物語 第01話 ガンダム.mkv", &["物語", "ｶﾞﾝﾀﾞﾑ", "カ\u{3099}ンタ\u{3099}ム", "第01話"]),
    ("Korean", "한국어 노래모음.mp3", &["노래", "한국", "\u{1102}\u{1169}\u{1105}\u{1162}"]),
];

#[test]
fn names_are_found_by_what_a_native_speaker_types() {
    let (index, _) = index_of(&LANGUAGES.map(|(_, path, _)| path));
    for (language, path, patterns) in LANGUAGES {
        for pattern in patterns {
            assert_eq!(found(&index, QueryKind::Words, pattern), [path], "{language}: {pattern}");
        }
        assert_eq!(found(&index, QueryKind::Path, &path.to_uppercase()), [path], "{language}");
    }
}
