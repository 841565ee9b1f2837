//! Registered files in the form in which the oracle and the shadow compare them, and the oracle's
//! own definition of a match.
//!
//! The definition is that of PROTOCOL.md 4.6, 4.7 and 4.11, written as plainly as possible. It
//! shares no code with `proto::super_peer::search` and `fold`, because it checks their results.

use std::collections::BTreeSet;

use super::folding::{fold, words};
use crate::config::{PIECE_BYTES, PIECES_MAX, ROOT_HITS_PER_HOLDER};
use crate::proto::super_peer::SuperPeer;
use crate::wire::{HostPort, QueryKind, Root, Search};

/// One registered file of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Path in the source's share.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The root.
    pub root: Root,
    /// Where the source serves chunks.
    pub source: HostPort,
}

/// The matching files that are registered at a super peer.
pub(super) fn registered(machine: &SuperPeer, search: &Search) -> BTreeSet<Match> {
    all(machine).into_iter().filter(|record| is_match(record, search)).collect()
}

/// All files that are registered at a super peer.
pub(super) fn all(machine: &SuperPeer) -> Vec<Match> {
    let records = machine.index().registered().into_iter();
    let record =
        |(path, size, root, source): (String, u64, Root, &HostPort)| Match { path, size, root, source: source.clone() };
    records.map(record).collect()
}

/// Whether a content can have this size. A weak peer drops hits with impossible sizes.
pub(super) fn is_possible(record: &Match) -> bool {
    let is_empty = record.root.0 == *blake3::hash(b"").as_bytes();
    (record.size == 0) == is_empty && record.size <= PIECES_MAX * PIECE_BYTES
}

/// Whether a search by root need not report this file, because it has reported others with this
/// content at this source. `all`: what is or was registered.
pub(super) fn is_spared(record: &Match, search: &Search, hits: &BTreeSet<Match>, all: &BTreeSet<Match>) -> bool {
    let by_root = search.kind == QueryKind::Root && search.within.is_none();
    let same = |other: &&Match| other.root == record.root && other.source == record.source;
    by_root
        && hex(&record.root.0) == search.pattern.to_ascii_lowercase()
        && hits.iter().any(|hit| same(&hit))
        && all.iter().filter(same).count() > ROOT_HITS_PER_HOLDER
}

/// Whether a search finds this file.
pub(super) fn is_match(record: &Match, search: &Search) -> bool {
    let name = record.path.rsplit('/').next().unwrap_or_default();
    let fits = search.min.is_none_or(|min| record.size >= min) && search.max.is_none_or(|max| record.size <= max);
    let fits = fits && search.within.as_deref().is_none_or(|range| is_within(record, range));
    let pattern = search.pattern.as_str();
    let path = record.path.as_str();
    fits && match search.kind {
        QueryKind::Exact => name == pattern,
        QueryKind::Words => {
            let wanted = words(pattern);
            ends_in(path, pattern) || !wanted.is_empty() && wanted.is_subset(&words(path))
        }
        QueryKind::Glob => {
            let text = fold(if pattern.contains('/') { path } else { name });
            let fits = |glob: Vec<Part>| fits_glob(&glob, &text.chars().collect::<Vec<char>>());
            ends_in(path, pattern) || parse_glob(pattern).is_some_and(fits)
        }
        QueryKind::Root => hex(&record.root.0) == pattern.to_ascii_lowercase() || ends_in(path, pattern),
        QueryKind::Range => is_within(record, pattern),
        QueryKind::Path => ends_in(path, pattern),
        QueryKind::Below => {
            let folder: Vec<&str> = pattern.trim_end_matches('/').split('/').collect();
            let path: Vec<&str> = path.split('/').collect();
            path.len() > folder.len() && fold(&path[..folder.len()].join("/")) == fold(&folder.join("/"))
        }
        QueryKind::Unknown => false,
    }
}

/// Whether a path is the pattern or ends in it, component by component.
fn ends_in(path: &str, pattern: &str) -> bool {
    let (path, wanted): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), pattern.split('/').collect());
    let Some(before) = path.len().checked_sub(wanted.len()) else { return false };
    path[before..].iter().zip(wanted).all(|(component, wanted)| fold(component) == fold(wanted))
}

/// A piece of a glob.
enum Part {
    Char(char),
    Any,
    Run,
    /// The characters and ranges, and whether the character must be in one of them.
    Class(Vec<(char, char)>, bool),
}

/// Reads a glob. None if a bracket is open, or if a range goes backwards.
fn parse_glob(pattern: &str) -> Option<Vec<Part>> {
    let Some(at) = pattern.find(['*', '?', '[']) else { return Some(fold(pattern).chars().map(Part::Char).collect()) };
    let mut parts: Vec<Part> = fold(&pattern[..at]).chars().map(Part::Char).collect();
    let rest = &pattern[at + 1..];
    if !pattern[at..].starts_with('[') {
        parts.push(if pattern[at..].starts_with('*') { Part::Run } else { Part::Any });
        parts.extend(parse_glob(rest)?);
        return Some(parts);
    }
    // The set ends at the first ] that is not the first character in it.
    let (inside, rest) = rest.strip_prefix('!').map_or((true, rest), |rest| (false, rest));
    let first = rest.chars().next()?.len_utf8();
    let end = first + rest[first..].find(']')?;
    let class: Vec<char> = rest[..end].chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < class.len() {
        let is_range = class.get(at + 1) == Some(&'-') && at + 2 < class.len();
        let last = class[at + if is_range { 2 } else { 0 }];
        if last < class[at] {
            return None;
        }
        ranges.push((class[at], last));
        at += if is_range { 3 } else { 1 };
    }
    parts.push(Part::Class(ranges, inside));
    parts.extend(parse_glob(&rest[end + 1..])?);
    Some(parts)
}

/// Tries every way in which a glob may match a folded text.
fn fits_glob(glob: &[Part], text: &[char]) -> bool {
    let Some((first, rest)) = glob.split_first() else { return text.is_empty() };
    let one =
        |fits: &dyn Fn(char) -> bool| text.split_first().is_some_and(|(c, after)| fits(*c) && fits_glob(rest, after));
    match first {
        Part::Run => (0..=text.len()).any(|skipped| fits_glob(rest, &text[skipped..])),
        Part::Any => one(&|_| true),
        Part::Char(wanted) => one(&|c| c == *wanted),
        Part::Class(ranges, inside) => one(&|c| ranges.iter().any(|range| is_inside(c, *range)) == *inside),
    }
}

/// Whether a character is in a range, either as the range is written or with both ends folded.
fn is_inside(c: char, (low, high): (char, char)) -> bool {
    let folded = |c: char| {
        let folded: Vec<char> = fold(&c.to_string()).chars().collect();
        if let [one] = folded[..] { one } else { c }
    };
    low <= c && c <= high || folded(low) <= c && c <= folded(high)
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
        is_match(&record, &Search::new(pattern, kind))
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
            (QueryKind::Glob, "[É]t*", "été"),
            (QueryKind::Glob, "Show [1080p].mkv", "a/show [1080P].mkv"),
            (QueryKind::Glob, "Show [1080p", "Show [1080p"),
            (QueryKind::Glob, "miles*/*.flac", "Miles Davis/Kind of Blue/01.flac"),
            (QueryKind::Words, "a", "a/b"),
            (QueryKind::Words, "miles flac", "Miles Davis/01.flac"),
            (QueryKind::Words, "senorita", "Sen\u{303}orita.mp3"),
            (QueryKind::Words, "上海", "上海之夜.mp3"),
            (QueryKind::Path, "blue/01.FLAC", "Miles/Blue/01.flac"),
            (QueryKind::Path, "01.flac", "Blue/01.flac"),
            (QueryKind::Below, "miles/", "Miles/Blue/01.flac"),
            (QueryKind::Below, "Miles/Blue", "Miles/Blue/01.flac"),
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
            (QueryKind::Words, "海之", "上海 之夜.mp3"),
            (QueryKind::Exact, "X", "x"),
            (QueryKind::Glob, "[Z-a]", "z"),
            (QueryKind::Glob, "[z-a]", "z"),
            (QueryKind::Path, "1.flac", "Blue/01.flac"),
            (QueryKind::Path, "Blue/", "Blue/01.flac"),
            (QueryKind::Below, "Mile", "Miles/01.flac"),
            (QueryKind::Below, "Miles", "Miles"),
            (QueryKind::Below, "Blue", "Miles/Blue/01.flac"),
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
