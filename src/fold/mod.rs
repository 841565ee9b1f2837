//! `fold 1`: the form in which names are compared, and the words of a name (PROTOCOL.md, "Folding"
//! and "Words").
//!
//! It owns that definition and its tables, which are those of Unicode 17, and nothing else: no I/O,
//! no state. A change of the result for any text makes another fold, which needs another number,
//! because digests of a neighbor are of use only if it folds in the same way.
//!
//! - [`fold`]: a text in the form in which it is compared.
//! - [`for_each_word`]: the words of a folded text, for an index. [`Asked`]: those that a path must
//!   have to fit a pattern.
//! - `table`: what the crates with the Unicode tables lack.
//!
//! Most names are ASCII. Such text is folded by code of its own, which reads no table of Unicode.
//! If it has no capitals, nothing is copied.

mod table;

#[cfg(test)]
mod tests;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// The folded text. It is `text` itself if that is ASCII without capitals, else it is written to
/// `scratch`, which is only reused memory.
pub fn fold<'a>(text: &'a str, scratch: &'a mut String) -> &'a str {
    match look_at(text.as_bytes()) {
        Look { is_ascii: true, has_upper: false } => text,
        Look { is_ascii, .. } => fold_changed(text, is_ascii, scratch),
    }
}

#[inline(never)]
fn fold_changed<'a>(text: &str, is_ascii: bool, scratch: &'a mut String) -> &'a str {
    if is_ascii {
        scratch.clear();
        scratch.push_str(text);
        scratch.make_ascii_lowercase();
    } else {
        fold_into(text, scratch);
    }
    scratch
}

/// What decides how a text is folded.
struct Look {
    is_ascii: bool,
    /// Whether it has a capital, if it is ASCII.
    has_upper: bool,
}

/// Looks at eight bytes at a time.
fn look_at(bytes: &[u8]) -> Look {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Two accumulators: the OR of all bytes, and bytes whose high bit is set where there is a
    // capital. Of the two sums, the first sets the high bit of a byte from `A` on, and the second
    // from the character after `Z` on. In ASCII text they do not overflow into the next byte.
    let add = |(all, upper): (u64, u64), eight: u64| {
        let is_upper = eight.wrapping_add(EACH * 0x3f) & !eight.wrapping_add(EACH * 0x25);
        (all | eight, upper | is_upper)
    };
    let (chunks, rest) = bytes.as_chunks();
    let seen = chunks.iter().fold((0, 0), |seen, eight| add(seen, u64::from_ne_bytes(*eight)));
    let (all, upper) = match bytes.last_chunk() {
        // Some of its bytes are looked at twice.
        Some(last) => add(seen, u64::from_ne_bytes(*last)),
        None => rest.iter().fold(seen, |seen, byte| add(seen, u64::from(*byte))),
    };
    Look { is_ascii: all & (EACH * 0x80) == 0, has_upper: upper & (EACH * 0x80) != 0 }
}

/// The folded text, in memory of its own.
#[must_use]
pub fn folded(text: &str) -> String {
    fold(text, &mut String::new()).to_owned()
}

/// Folds text that is not ASCII.
#[inline(never)]
fn fold_into(text: &str, out: &mut String) {
    out.clear();
    let kept = text.nfkd().filter(|c| !is_dropped(*c));
    out.extend(table::with_unicode_17(kept.default_case_fold()).flat_map(table::plain).nfc());
}

/// Whether the fold leaves this character of decomposed text out: an accent, a vowel sign of Hebrew
/// or Arabic, or the tatweel, which only makes a word longer.
fn is_dropped(c: char) -> bool {
    !c.is_ascii() && (c == '\u{640}' || matches!(canonical_combining_class(c), 10..=35 | 200..))
}

/// Calls `each` with every word of a folded text, as often as the text has it.
pub fn for_each_word(folded: &str, each: impl FnMut(&str)) {
    if folded.is_ascii() {
        for_each_ascii(folded, each);
    } else {
        split(folded, Singles::All, each);
    }
}

/// The words that a path must have to fit a pattern of words: each once, sorted, and without words
/// that other words of the pattern imply.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The folded pattern.
    text: String,
    /// Where each word begins and ends in it.
    words: Vec<(usize, usize)>,
}

impl Asked {
    /// The words of a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Asked {
        let mut scratch = String::new();
        let folded = fold(pattern, &mut scratch);
        let mut words = Vec::with_capacity(8);
        let start = folded.as_ptr().addr();
        let add = |word: &str| {
            let begin = word.as_ptr().addr() - start;
            words.push((begin, begin + word.len()));
        };
        if folded.is_ascii() {
            for_each_ascii(folded, add);
        } else {
            split(folded, Singles::Alone, add);
        }
        // As bytes, which have the same order: the ends of characters need not be looked up.
        let word = |&(begin, end): &(usize, usize)| &folded.as_bytes()[begin..end];
        words.sort_unstable_by(|one, other| word(one).cmp(word(other)));
        words.dedup_by(|one, other| word(one) == word(other));
        Asked { text: folded.to_owned(), words }
    }

    /// The words.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.words.iter().map(|&(begin, end)| &self.text[begin..end])
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The place of a word among them.
    #[must_use]
    pub fn place_of(&self, word: &str) -> Option<usize> {
        let text = self.text.as_bytes();
        self.words.binary_search_by(|&(begin, end)| text[begin..end].cmp(word.as_bytes())).ok()
    }
}

/// The same as texts of their own.
#[must_use]
pub fn asked(pattern: &str) -> Vec<String> {
    Asked::new(pattern).iter().map(str::to_owned).collect()
}

/// The words of folded text of ASCII.
fn for_each_ascii(folded: &str, mut each: impl FnMut(&str)) {
    let bytes = folded.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let mut end = start;
        while bytes.get(end).is_some_and(|byte| IN_WORD[usize::from(*byte)]) {
            end += 1;
        }
        if end > start {
            each(&folded[start..end]);
        }
        start = end + 1;
    }
}

/// Whether a byte of ASCII is a letter or a digit.
const IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// Whether a character of folded text is in no word.
#[must_use]
pub fn separates(c: char) -> bool {
    class(c) == Class::Gap
}

/// Which single characters of a script without spaces are words.
#[derive(Clone, Copy, PartialEq)]
enum Singles {
    All,
    /// Those with no dense character beside them: the others are implied by pairs.
    Alone,
}

/// The part that a character of folded text has in a word.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// No part of any word.
    Gap,
    /// A letter or digit of a script with spaces.
    Spaced,
    /// A letter or digit of a script without spaces between words.
    Dense,
    /// Belongs to the character before it. If there is none in its run, it begins a unit, which is
    /// dense if this is `true`.
    Mark(bool),
}

/// Calls `each` with the words of folded text.
fn split(text: &str, singles: Singles, mut each: impl FnMut(&str)) {
    // Where the open word of a spaced script begins, and the last two characters of a dense run.
    let mut spaced = None;
    let (mut before, mut last) = (None, None);
    let chars = text.char_indices().map(|(at, c)| (at, class(c)));
    for (at, class) in chars.chain([(text.len(), Class::Gap)]) {
        let dense = match class {
            Class::Mark(_) if spaced.is_some() || last.is_some() => continue,
            Class::Mark(dense) => dense,
            Class::Dense => true,
            Class::Spaced | Class::Gap => false,
        };
        if let Some(last) = last {
            if singles == Singles::All || before.is_none() && !dense {
                each(&text[last..at]);
            }
            if let Some(before) = before {
                each(&text[before..at]);
            }
        }
        (before, last) = if dense { (last, Some(at)) } else { (None, None) };
        if (dense || class == Class::Gap)
            && let Some(start) = spaced.take()
        {
            each(&text[start..at]);
        } else if !dense && class != Class::Gap && spaced.is_none() {
            spaced = Some(at);
        }
    }
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() { Class::Spaced } else { Class::Gap };
    }
    // A shortcut: all characters of these two ranges, the most frequent ones, are dense.
    if matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}') {
        return Class::Dense;
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Mark => Class::Mark(table::is_dense(c)),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number if table::is_dense(c) => Class::Dense,
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number => Class::Spaced,
        GeneralCategoryGroup::Other if table::is_unassigned(c) && table::is_dense(c) => Class::Dense,
        GeneralCategoryGroup::Other if table::is_unassigned(c) => Class::Spaced,
        GeneralCategoryGroup::Other
        | GeneralCategoryGroup::Punctuation
        | GeneralCategoryGroup::Separator
        | GeneralCategoryGroup::Symbol => Class::Gap,
    }
}
