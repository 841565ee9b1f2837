//! False records: sizes that do not belong to the root, holders that do not have the content, and
//! names that are not those of the content.

use crate::sim::random::Random;

/// Whose address a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Holder {
    /// The address of the adversary itself.
    Own,
    /// An address of no node.
    Dead,
    /// The address of a node that accepts connections and never sends anything.
    Silent,
    /// The address of an honest peer, by its number.
    Honest(usize),
}

impl Holder {
    pub(in crate::sim) fn draw(honest: usize, random: &mut Random) -> Holder {
        match random.below(4) {
            0 => Holder::Own,
            1 => Holder::Dead,
            2 => Holder::Silent,
            _ => Holder::Honest(honest),
        }
    }
}

/// A size other than this one.
pub(in crate::sim) fn false_size(size: u64, random: &mut Random) -> u64 {
    match random.below(5) {
        0 | 1 => size + 1,
        2 => 1 << 60,
        3 => size.saturating_sub(1).max(u64::from(size == 0)),
        _ => size + (3 << 20),
    }
}

/// A path that is dangerous to a disk or a terminal, and contains this word.
pub(in crate::sim) fn poisoned_path(word: &str, random: &mut Random) -> String {
    match random.below(10) {
        0 => format!("{word}\u{1b}[2J\u{7f}\u{9b}31m"),
        1 => format!("{word}\u{202e}gpj.exe"),
        2 => format!("CON/{word}/NUL"),
        3 => format!("-{word} ..\\..\\x"),
        4 => format!(".{word}.part"),
        // A dangerous folder, and the name that is searched for.
        _ => format!("CON/-\u{202e}gpj.exe/{word}"),
    }
}
