//! What `fold 1` needs beyond the tables of the crates: the cases that Unicode 17 added, the
//! letters that have no decomposition, and the scripts without spaces.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Adds the 28 case foldings of Unicode 17 that version 16, which `caseless` has, lacks.
pub(super) fn with_unicode_17(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    chars.map(|c| match c {
        '\u{a7ce}' | '\u{a7d2}' | '\u{a7d4}' => after(c, 1),
        '\u{16ea0}'..='\u{16eb8}' => after(c, 0x1b),
        c => c,
    })
}

/// The character that is this number of code points after another one.
fn after(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

/// The letters that people type for a letter that Unicode does not decompose.
pub(super) fn plain(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ł' => ('l', None),
        'ø' => ('o', None),
        'đ' | 'ð' => ('d', None),
        'ħ' => ('h', None),
        'ŧ' => ('t', None),
        'ı' => ('i', None),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'þ' => ('t', Some('h')),
        c => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// The letters, marks and digits of Han, Hiragana, Katakana, Hangul, Thai, Lao, Khmer and Myanmar,
/// and the signs that these scripts share. Each range has its first and last code point.
pub(super) const DENSE: [(char, char); 23] = [
    ('\u{e00}', '\u{eff}'),
    ('\u{1000}', '\u{109f}'),
    ('\u{1100}', '\u{11ff}'),
    ('\u{1780}', '\u{17ff}'),
    ('\u{3005}', '\u{3007}'),
    ('\u{3021}', '\u{3029}'),
    ('\u{3031}', '\u{3035}'),
    ('\u{3038}', '\u{303c}'),
    ('\u{3040}', '\u{30ff}'),
    ('\u{3130}', '\u{318f}'),
    ('\u{31f0}', '\u{31ff}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{a960}', '\u{a97f}'),
    ('\u{a9e0}', '\u{a9ff}'),
    ('\u{aa60}', '\u{aa7f}'),
    ('\u{ac00}', '\u{d7ff}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{116d0}', '\u{116ff}'),
    ('\u{16fe3}', '\u{16fe3}'),
    ('\u{16ff0}', '\u{16fff}'),
    ('\u{1aff0}', '\u{1b16f}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// Whether this is a letter, mark or digit of a script without spaces.
pub(super) fn is_dense(c: char) -> bool {
    let next = DENSE.partition_point(|(_, last)| *last < c);
    DENSE.get(next).is_some_and(|(first, _)| *first <= c)
}

/// Whether Unicode 17 has no character at this code point.
pub(super) fn is_unassigned(c: char) -> bool {
    c.general_category() == GeneralCategory::Unassigned
}
