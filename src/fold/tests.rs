//! Which texts fold to the same form, and which parts are words. No update of a crate may change
//! this.

use super::*;

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for_each_word(&folded(text), |word| words.push(word.to_owned()));
    words
}

#[test]
fn what_people_type_folds_to_what_files_are_named() {
    for (name, typed) in [
        ("Señorita.mp3", "senorita.mp3"),
        ("Sen\u{303}orita", "Se\u{f1}orita"),
        ("Müller", "muller"),
        ("Straße", "STRASSE"),
        ("İstanbul", "ISTANBUL"),
        ("ışık", "isik"),
        ("Łódź", "lodz"),
        ("Æther Øst Þór", "aether ost thor"),
        ("ﬁnale №", "FINALE no"),
        ("ＡＢＣ　１２", "abc 12"),
        ("ΟΔΟΣ", "οδος"),
        ("Ψυχή", "ψυχη"),
        ("Ёлка", "елка"),
        ("كِتَابــ", "كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("ｶﾞﾝﾀﾞﾑ", "ガンダム"),
        ("か\u{3099}", "が"),
        ("\u{1112}\u{1161}\u{11ab}", "한"),
        ("Ꭰ", "ꭰ"),
        ("\u{16ea0}", "\u{16ebb}"),
    ] {
        assert_eq!(folded(name), folded(typed), "{name} {typed}");
    }
}

#[test]
fn capitals_of_ascii_are_seen_wherever_they_are() {
    for byte in 0..=u8::MAX {
        for (length, at) in (1..=20).flat_map(|length| (0..length).map(move |at| (length, at))) {
            let mut bytes = vec![b'~'; length];
            bytes[at] = byte;
            let Look { is_ascii, has_upper } = look_at(&bytes);
            assert_eq!(is_ascii, byte.is_ascii(), "{byte} at {at} of {length}");
            assert!(!is_ascii || has_upper == byte.is_ascii_uppercase(), "{byte} at {at} of {length}");
        }
    }
}

#[test]
fn what_is_a_letter_of_its_own_stays() {
    // Vowel signs of India, a voiced letter of Japan, a tone of Thailand, and unassigned code
    // points.
    for text in ["हिन्दी", "か", "が", "ไม่", "\u{378}", "\u{e0fff}"] {
        assert_eq!(folded(text), text);
    }
    assert_ne!(folded("が"), folded("か"));
}

#[test]
fn a_folded_text_folds_to_itself() {
    for c in ('\0'..=char::MAX).chain("e\u{301}\u{323}\u{5b0}".chars()) {
        let once = folded(&format!("a{c}\u{301}か\u{3099}{c}"));
        assert_eq!(folded(&once), once, "{c:?}");
    }
}

#[test]
fn words_are_letters_marks_and_numbers() {
    assert_eq!(words("Blue Train (1957).FLAC"), ["blue", "train", "1957", "flac"]);
    assert_eq!(words("a_b-c.d/e\u{200d}f"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(words("ÉTÉ_Ωμέγα-²"), ["ete", "ωμεγα", "2"]);
    assert_eq!(words("हिन्दी गीत"), ["हिन्दी", "गीत"]);
    assert_eq!(words("x\u{378}y \u{e000}"), ["x\u{378}y"]);
    assert!(words("--- …!").is_empty() && words("").is_empty());
}

#[test]
fn scripts_without_spaces_give_characters_and_pairs() {
    assert_eq!(words("上海之"), ["上", "海", "上海", "之", "海之"]);
    assert_eq!(words("第01話x"), ["第", "01", "話", "x"]);
    assert_eq!(words("コーヒ"), ["コ", "ー", "コー", "ヒ", "ーヒ"]);
    assert_eq!(words("ไม่"), ["ไ", "ม่", "ไม่"]);
    assert_eq!(words("a ก่ b"), ["a", "ก่", "b"]);
    assert_eq!(words("\u{e48}ก ่x"), ["\u{e48}", "ก", "\u{e48}ก", "\u{e48}", "x"]);
    assert_eq!(words("한국어"), ["한", "국", "한국", "어", "국어"]);
}

#[test]
fn a_pattern_asks_for_pairs_and_for_single_characters_that_stand_alone() {
    assert_eq!(asked("上海之"), ["上海", "海之"]);
    assert_eq!(asked("第01話 blue Blue"), ["01", "blue", "第", "話"]);
    // Each pattern has words, and every word of it is in the name.
    for text in ["上海之夜 Live 2", "เพลงไทย", "ab한국cd", "夜", "a", "é", "\u{301}", "\u{e48}\u{e48}ก"]
    {
        let all = words(text);
        assert!(asked(text).iter().all(|word| all.contains(word)), "{text}");
    }
}

/// A digest of what the fold does with every code point: its folded form, its combining class, and
/// its role in words. A new version of a crate or of the compiler must not change it.
#[test]
fn the_tables_are_those_of_unicode_17() {
    assert_eq!(unicode_normalization::UNICODE_VERSION, (17, 0, 0));
    assert_eq!(unicode_properties::UNICODE_VERSION, (17, 0, 0));
    let mut hasher = blake3::Hasher::new();
    let mut text = String::new();
    for c in '\0'..=char::MAX {
        text.clear();
        text.push(c);
        hasher.update(folded(&text).as_bytes());
        hasher.update(&[
            0,
            canonical_combining_class(c),
            match class(c) {
                Class::Gap => 0,
                Class::Spaced => 1,
                Class::Dense => 2,
                Class::Mark(false) => 3,
                Class::Mark(true) => 4,
            },
        ]);
    }
    assert_eq!(hasher.finalize().to_string(), "d83d25253e9600a1c15027a1b6b03fa80fac7633f65d9aa831daf15330217941");
}

#[test]
fn the_scripts_without_spaces_are_in_order() {
    assert!(table::DENSE.iter().all(|(first, last)| first <= last));
    assert!(table::DENSE.windows(2).all(|pair| pair[0].1 < pair[1].0));
}
