//! Registered files as the oracle and the shadow compare them, and the oracle's own definition of a
//! match.
//!
//! The definition is that of PROTOCOL.md 4.6 and 4.7, as plainly as it can be written. It shares
//! nothing with `proto::super_peer::search`: what that finds is held against it.

use std::collections::BTreeSet;

use crate::config::{PIECE_BYTES, PIECES_MAX};
use crate::proto::super_peer::SuperPeer;
use crate::wire::{HostPort, QueryKind, Root, Search};

/// One registered file of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Path in the source's share.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// Where the source serves chunks.
    pub source: HostPort,
}

/// What is registered at a super peer and matches.
pub(super) fn registered(machine: &SuperPeer, search: &Search) -> BTreeSet<Match> {
    all(machine).into_iter().filter(|record| is_match(record, search)).collect()
}

/// Everything that is registered at a super peer.
pub(super) fn all(machine: &SuperPeer) -> Vec<Match> {
    let records = machine.index().registered().into_iter();
    let record = |(path, size, root, source): (&str, u64, Root, &HostPort)| Match {
        path: path.to_owned(),
        size,
        root,
        source: source.clone(),
    };
    records.map(record).collect()
}

/// Whether a content can have this size at all. A weak peer drops hits that cannot be true.
pub(super) fn is_possible(record: &Match) -> bool {
    let is_empty = record.root.0 == *blake3::hash(b"").as_bytes();
    (record.size == 0) == is_empty && record.size <= PIECES_MAX * PIECE_BYTES
}

/// Whether a search finds this file.
pub(super) fn is_match(record: &Match, search: &Search) -> bool {
    let name = record.path.rsplit('/').next().unwrap_or_default();
    let fits = search.min.is_none_or(|min| record.size >= min) && search.max.is_none_or(|max| record.size <= max);
    let pattern = search.pattern.as_str();
    fits && match search.kind {
        QueryKind::Exact => name == pattern,
        QueryKind::Words => {
            let (wanted, there) = (words(pattern), words(name));
            name == pattern || !wanted.is_empty() && wanted.is_subset(&there)
        }
        QueryKind::Glob => {
            let name: Vec<char> = fold(name).chars().collect();
            fits_glob(&pattern.chars().collect::<Vec<char>>(), &name)
        }
        QueryKind::Root => hex(&record.root.0) == pattern.to_ascii_lowercase(),
        QueryKind::Range => is_within(record, pattern),
        QueryKind::Path | QueryKind::Below | QueryKind::Unknown => false,
    }
}

/// Each character in its Unicode lower case, and ς as σ.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// Maximal runs of letters and numbers, folded.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(fold).collect()
}

/// Tries every way in which the pattern may fit a folded name.
fn fits_glob(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skipped| fits_glob(rest, &name[skipped..])),
        '?' => !name.is_empty() && fits_glob(rest, &name[1..]),
        '[' => {
            // Its end is the first ] that is not the first character inside.
            let begin = usize::from(rest.first() == Some(&'!'));
            let end = rest.iter().skip(begin + 1).position(|c| *c == ']').map(|at| at + begin + 1);
            let end = end.expect("a good pattern");
            let Some((c, after)) = name.split_first() else { return false };
            let inside = is_inside(*c, &rest[begin..end]);
            inside == (begin == 0) && fits_glob(&rest[end + 1..], after)
        }
        c => {
            let folded: Vec<char> = fold(&c.to_string()).chars().collect();
            name.strip_prefix(folded.as_slice()).is_some_and(|name| fits_glob(rest, name))
        }
    }
}

/// Whether a character, or one of its capitals, is among those between brackets.
fn is_inside(c: char, class: &[char]) -> bool {
    let mut found = false;
    let mut at = 0;
    while at < class.len() {
        let is_range = class.get(at + 1) == Some(&'-') && at + 2 < class.len();
        let (low, high) = (class[at], if is_range { class[at + 2] } else { class[at] });
        found |= std::iter::once(c).chain(c.to_uppercase()).any(|c| low <= c && c <= high);
        at += if is_range { 3 } else { 1 };
    }
    found
}

/// Whether the position of a hit is in the range `LOW-HIGH`.
fn is_within(record: &Match, range: &str) -> bool {
    let (low, high) = range.split_once('-').expect("a good pattern");
    let text = [record.path.as_bytes(), &[0], record.source.to_string().as_bytes()].concat();
    let position = hex(&record.root.0) + &hex(&blake3::hash(&text).as_bytes()[..8]);
    let filled = |digits: &str| format!("{:0<80}", digits.to_ascii_lowercase());
    filled(low) <= position && (high.is_empty() || position < filled(high))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(kind: QueryKind, pattern: &str, path: &str) -> bool {
        let source = HostPort::new("192.0.2.1", 4778).expect("an address");
        let record = Match { path: path.to_owned(), size: 3, root: Root([0xab; 32]), source };
        is_match(
            &record,
            &Search { pattern: pattern.to_owned(), kind, min: None, max: None, limit: None, within: None },
        )
    }

    #[test]
    fn the_examples_of_the_protocol_hold() {
        for (kind, pattern, path) in [
            (QueryKind::Words, "blue TRAIN", "jazz/Blue Train (1957).flac"),
            (QueryKind::Words, "1957", "Blue Train (1957).flac"),
            (QueryKind::Words, "...", "a/..."),
            (QueryKind::Exact, "x y", "a/x y"),
            (QueryKind::Glob, "*.flac", "a/Blue.FLAC"),
            (QueryKind::Glob, "[A-Z]", "q"),
            (QueryKind::Glob, "[Z-a]", "z"),
            (QueryKind::Glob, "[S]", "ß"),
            (QueryKind::Glob, "[]x]", "]"),
            (QueryKind::Glob, "[a-c-e]", "-"),
            (QueryKind::Glob, "[!]x]", "a"),
            (QueryKind::Glob, "ΟΔΟΣ*", "οδος"),
            (QueryKind::Range, "-", "x"),
            (QueryKind::Range, "AB-ac", "x"),
        ] {
            assert!(finds(kind, pattern, path), "{pattern} {path}");
        }
        for (kind, pattern, path) in [
            (QueryKind::Words, "trai", "Blue Train"),
            (QueryKind::Words, "a", "a/b"),
            (QueryKind::Exact, "X", "x"),
            (QueryKind::Glob, "a?", "a"),
            (QueryKind::Glob, "[!]x]", "x"),
            (QueryKind::Glob, "[a-c-e]", "d"),
            (QueryKind::Range, "ac-", "x"),
            (QueryKind::Range, "-ab", "x"),
        ] {
            assert!(!finds(kind, pattern, path), "{pattern} {path}");
        }
    }
}
