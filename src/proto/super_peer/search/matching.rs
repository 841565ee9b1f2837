//! The tests that a path must pass to fit a search. It looks only at texts; the scan decides which
//! entries are looked at.

use std::fmt;

use super::glob::Glob;
use super::reported::Reported;
use crate::fold::{self, Asked, fold};
use crate::proto::super_peer::index::LiveEntry;
use crate::wire::position::Range;
use crate::wire::record::split_path;
use crate::wire::{QueryKind, Root, Search};

/// A pattern that is not valid. The sentence says what is wrong and shows the right form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(pub(super) String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

/// The test of an entry, in every list.
#[derive(Debug)]
pub(super) enum Test {
    /// The name, byte for byte.
    Exact,
    /// The pattern is the path or its end: only [`Own`] finds it.
    Path,
    Words(Words),
    /// The glob; and a buffer for paths, if the glob is compared with the path and not with the
    /// name.
    Glob(Glob, Option<String>),
    /// The root, and how many hits were reported.
    Root(Root, Box<Reported>),
    Range(Box<Range>),
    Below(Box<Below>),
}

pub(super) fn parse_range(text: &str) -> Result<Range, BadPattern> {
    Range::parse(text)
        .ok_or_else(|| BadPattern(format!("{text:?} is no range; write LOW-HIGH in hex digits, or - for all")))
}

/// What an entry must pass to fit a search.
#[inline(always)]
pub(super) fn test_of(find: &Search) -> Result<Test, BadPattern> {
    let pattern = find.pattern.as_str();
    Ok(match find.kind {
        QueryKind::Exact => Test::Exact,
        QueryKind::Path => Test::Path,
        QueryKind::Words => {
            let words = Words::new(pattern);
            if words.len() > WORDS_MAX {
                return Err(BadPattern(format!("a pattern has at most {WORDS_MAX} words, this one {}", words.len())));
            }
            Test::Words(words)
        }
        // A pattern with an open bracket is no glob. It finds only paths that end in it.
        QueryKind::Glob => {
            Glob::new(pattern).map_or(Test::Path, |glob| Test::Glob(glob, pattern.contains('/').then(String::new)))
        }
        QueryKind::Root => {
            let root = Root::from_hex(pattern).ok_or_else(|| {
                BadPattern(format!("{pattern:?} is no root; write the 64 hex digits that b3sum prints"))
            })?;
            Test::Root(root, Box::default())
        }
        QueryKind::Range => Test::Range(Box::new(parse_range(pattern)?)),
        QueryKind::Below => {
            let below = Below::new(pattern).ok_or_else(|| BadPattern(format!("{pattern:?} names no folder")))?;
            Test::Below(Box::new(below))
        }
        QueryKind::Unknown => {
            return Err(BadPattern(
                "this kind of search is not known here; words, exact, glob, root, range, path and below are".to_owned(),
            ));
        }
    })
}

/// In which way a path is the pattern or ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Equal {
    Bytes,
    Folded,
}

/// A pattern as the end of a path: the folded name, and the folded components before it.
#[derive(Debug)]
pub(super) struct Own {
    folder: Vec<String>,
    /// The folded name; none if folding does not change it.
    name: Option<String>,
    /// Where the name begins in the pattern.
    begin: usize,
}

impl Own {
    /// Returns none if the pattern does not end in a name.
    pub(super) fn new(pattern: &str) -> Option<Own> {
        let (folder, name) = split_path(pattern);
        let begin = pattern.len() - name.len();
        let mut folded = String::new();
        let same = fold(name, &mut folded) == name;
        (!name.is_empty()).then(|| Own {
            // Before a leading slash there would be a component without text, which no path has.
            folder: if begin == 0 { Vec::new() } else { components(folder) },
            name: (!same).then_some(folded),
            begin,
        })
    }

    /// The folded name.
    pub(super) fn name<'a>(&'a self, pattern: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(&pattern[self.begin..])
    }

    /// Whether the path of an entry ends in the pattern, byte for byte.
    pub(super) fn is_same(&self, pattern: &str, seen: &LiveEntry<'_>) -> bool {
        seen.name == &pattern[self.begin..]
            && (self.begin == 0 || self.begin > 1 && ends_in(seen.folder_text, &pattern[..self.begin - 1]))
    }

    /// Whether the path of an entry ends in the pattern, folded.
    pub(super) fn is_alike(&self, pattern: &str, seen: &LiveEntry<'_>, scratch: &mut String) -> bool {
        last_components(seen.folder_text, self.folder.len()).is_some_and(|end| {
            fold(seen.name, scratch) == self.name(pattern) && begins_with(end, &self.folder, scratch)
        })
    }

    /// Whether folders are compared too, and not only the name.
    pub(super) fn has_folder(&self) -> bool {
        !self.folder.is_empty()
    }
}

/// The folded components of a folder.
fn components(folder: &str) -> Vec<String> {
    folder.split('/').map(fold::folded).collect()
}

/// Whether the first components of a folder, folded, are these.
fn begins_with(folder: &str, wanted: &[String], scratch: &mut String) -> bool {
    let mut components = folder.split('/');
    wanted.iter().all(|wanted| components.next().is_some_and(|component| fold(component, scratch) == wanted))
}

/// Whether a folder is `end`, or ends in `/` and `end`.
fn ends_in(folder: &str, end: &str) -> bool {
    match folder.strip_suffix(end) {
        Some(rest) => rest.is_empty() || rest.ends_with('/'),
        None => false,
    }
}

/// The last `depth` components of a folder, if it has that many.
fn last_components(folder: &str, depth: usize) -> Option<&str> {
    match depth {
        0 => Some(""),
        _ if folder.is_empty() => None,
        depth => match folder.rmatch_indices('/').nth(depth - 1) {
            Some((slash, _)) => Some(&folder[slash + 1..]),
            None => (folder.split('/').count() == depth).then_some(folder),
        },
    }
}

/// The words that a path must have: each once, sorted.
#[derive(Debug)]
pub(super) struct Words(Asked);

/// Most words of a pattern, with one bit for each. A word and the separator after it take at least
/// two bytes of the pattern. Only characters that fold to several words can give more words.
pub(super) const WORDS_MAX: usize = 128;

impl Words {
    pub(super) fn new(pattern: &str) -> Words {
        Words(Asked::new(pattern))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// One bit for each of these words that a text has.
    pub(super) fn in_text(&self, text: &str, scratch: &mut String) -> u128 {
        let mut found = 0;
        fold::for_each_word(fold(text, scratch), |word| {
            if let Some(at) = self.0.place_of(word) {
                found |= 1 << at;
            }
        });
        found
    }

    /// Whether these bits are those of all words.
    pub(super) fn are_all(&self, found: u128) -> bool {
        found.count_ones() as usize == self.0.len()
    }
}

/// A folder in which, or below which, a file must be.
#[derive(Debug)]
pub(super) struct Below {
    folder: Vec<String>,
    pub(super) words: Words,
}

impl Below {
    /// Returns none if the pattern names no folder.
    pub(super) fn new(pattern: &str) -> Option<Below> {
        let pattern = pattern.trim_end_matches('/');
        (!pattern.is_empty()).then(|| Below { folder: components(pattern), words: Words::new(pattern) })
    }

    /// Whether a folder is this one or below it.
    pub(super) fn holds(&self, folder: &str, scratch: &mut String) -> bool {
        // The top of a share is not a folder, but its text equals that of a folder whose fold is
        // empty.
        !folder.is_empty() && begins_with(folder, &self.folder, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_by_components() {
        for (folder, end) in [("a/b", "b"), ("a/b", "a/b"), ("x/a/b", "a/b")] {
            assert!(ends_in(folder, end), "{folder} {end}");
        }
        for (folder, end) in [("", "b"), ("a", ""), ("a/bb", "b"), ("xa/b", "a/b"), ("b", "a/b")] {
            assert!(!ends_in(folder, end), "{folder} {end}");
        }
        let ends = [("a/b/c", 0), ("a/b/c", 1), ("a/b/c", 2), ("a/b/c", 3), ("a/b/c", 4), ("", 1), ("", 0)];
        let ends = ends.map(|(folder, depth)| last_components(folder, depth));
        assert_eq!(ends, [Some(""), Some("c"), Some("b/c"), Some("a/b/c"), None, None, Some("")]);
        let below = |pattern, folder| Below::new(pattern).unwrap().holds(folder, &mut String::new());
        assert!(below("A", "a") && below("a/", "A/b") && below("a/É", "a/e\u{301}/c"));
        assert!(!below("a", "ab") && !below("a/b", "a") && !below("a/b", "a/bc") && !below("b", "a/b"));
        assert!(Below::new("/").is_none());
        // The fold of an accent alone is empty.
        assert!(below("\u{301}", "\u{302}/a") && !below("\u{301}", "") && !below("\u{301}", "a"));
    }
}
