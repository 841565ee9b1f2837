//! The fold and the words of PROTOCOL.md 4.11 for the oracle, written as plainly as possible.
//!
//! It shares the tables of Unicode with the machines, but no code. It has no special case for
//! ASCII, leaves out no words that others imply, and identifies scripts by name and block.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// How many texts are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The results for texts. A run compares the same names many thousand times.
type Memo<T> = RefCell<HashMap<String, Rc<T>>>;

thread_local! {
    static FOLDED: Memo<str> = RefCell::default();
    static WORDS: Memo<BTreeSet<String>> = RefCell::default();
}

/// Folds a text, in the five steps.
pub(super) fn fold(text: &str) -> Rc<str> {
    FOLDED.with(|memo| remembered(memo, text, |text| five_steps(text).into()))
}

/// The words of a text.
pub(super) fn words(text: &str) -> Rc<BTreeSet<String>> {
    WORDS.with(|memo| remembered(memo, text, |text| words_of(&fold(text)).into()))
}

fn remembered<T: ?Sized>(memo: &Memo<T>, text: &str, make: impl FnOnce(&str) -> Rc<T>) -> Rc<T> {
    if let Some(known) = memo.borrow().get(text) {
        return Rc::clone(known);
    }
    let made = make(text);
    let mut memo = memo.borrow_mut();
    if memo.len() >= REMEMBERED_MAX {
        memo.clear();
    }
    memo.insert(text.to_owned(), Rc::clone(&made));
    made
}

fn five_steps(text: &str) -> String {
    let decomposed: String = text.nfkd().collect();
    let dropped = |c: &char| *c == '\u{640}' || matches!(canonical_combining_class(*c), 10..=35 | 200..=255);
    let bare: String = decomposed.chars().filter(|c| !dropped(c)).collect();
    let lower: String = bare.chars().map(lower).collect();
    let plain = lower.replace('ł', "l").replace('ø', "o").replace(['đ', 'ð'], "d").replace('ħ', "h").replace('ŧ', "t");
    let plain = plain.replace('ı', "i").replace('æ', "ae").replace('œ', "oe").replace('þ', "th");
    plain.nfc().collect()
}

/// The full case folding of a character, in Unicode 17.
fn lower(c: char) -> String {
    let code = u32::from(c);
    let added = match code {
        0xa7ce | 0xa7d2 | 0xa7d4 => code + 1,
        0x16ea0..0x16eb9 => code + 27,
        _ => return std::iter::once(c).default_case_fold().collect(),
    };
    char::from_u32(added).into_iter().collect()
}

fn words_of(folded: &str) -> BTreeSet<String> {
    let runs = folded.split(|c: char| !is_letter(c) && !is_mark(c)).filter(|run| !run.is_empty());
    runs.flat_map(words_of_run).collect()
}

fn words_of_run(run: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for c in run.chars() {
        match units.last_mut() {
            Some(unit) if is_mark(c) => unit.push(c),
            _ => units.push(c.to_string()),
        }
    }
    let mut words = Vec::new();
    for same in units.chunk_by(|one, other| is_dense(one) == is_dense(other)) {
        if is_dense(&same[0]) {
            words.extend(same.iter().cloned());
            words.extend(same.windows(2).map(<[String]>::concat));
        } else {
            words.push(same.concat());
        }
    }
    words
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

fn is_letter(c: char) -> bool {
    matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number)
        || c.general_category() == GeneralCategory::Unassigned
}

/// Whether a unit is of a script without spaces.
fn is_dense(unit: &str) -> bool {
    let code = unit.chars().next().map_or(0, u32::from);
    let han = [(0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303c), (0x3400, 0x4dbf), (0x4e00, 0x9fff)];
    let rare = [(0xf900, 0xfaff), (0x16fe3, 0x16fe3), (0x16ff0, 0x16fff), (0x20000, 0x3ffff)];
    let kana = [(0x3031, 0x3035), (0x3040, 0x30ff), (0x31f0, 0x31ff), (0x1aff0, 0x1b16f)];
    let hangul = [(0x1100, 0x11ff), (0x3130, 0x318f), (0xa960, 0xa97f), (0xac00, 0xd7ff)];
    let thai_lao_khmer = [(0xe00, 0xeff), (0x1780, 0x17ff)];
    let myanmar = [(0x1000, 0x109f), (0xa9e0, 0xa9ff), (0xaa60, 0xaa7f), (0x116d0, 0x116ff)];
    [&han[..], &rare, &kana, &hangul, &thai_lao_khmer, &myanmar]
        .concat()
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&code))
}
