//! The results of a search for people: hits grouped by content, with numbers, and shown as a table.
//! It owns the groups and prints nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::columns::cut_front;
use super::format::{NAME_COLUMNS_MAX, short_name};
use super::table::{Cells, fitted};
use super::units::Size;
use crate::fold::{self, folded};
use crate::wire::name::printable;
use crate::wire::record::{is_named, name_of};
use crate::wire::{HostPort, Root};

/// How many sources a row of a table of results names. The others are counted.
const SOURCES_IN_ROW: usize = 4;
/// How many paths of one content are remembered. More are rarely useful.
const PATHS_KEPT_MAX: usize = 16;

/// One content that was found, and its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// One of its paths: the one that fits the pattern best.
    pub(crate) path: String,
    /// The size that most sources claim. If several sizes have equally many claims, the smallest of
    /// them.
    pub(crate) size: u64,
    pub(crate) root: Root,
    pub(crate) sources: Vec<HostPort>,
    /// Sources that have only a part of the content.
    pub(crate) partial: Vec<HostPort>,
}

/// Hits grouped by their root. They have numbers, from 1 on, once they are arranged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    groups: Vec<Found>,
    /// How many sources of each content claim each size.
    claims: BTreeMap<Root, BTreeMap<u64, usize>>,
    paths: BTreeMap<Root, BTreeSet<String>>,
    /// The place of each content among the groups.
    places: BTreeMap<Root, usize>,
    /// Contents of which some hit says that they are collections.
    collections: BTreeSet<Root>,
}

impl Found {
    /// The last component of the path.
    pub(crate) fn name(&self) -> &str {
        name_of(&self.path)
    }
}

impl Results {
    /// Adds one hit.
    pub(crate) fn add(&mut self, path: &str, size: u64, root: Root, source: &HostPort) {
        self.add_source((path, size, root), source, false);
    }

    /// Adds one hit; `partial` says whether its source has only a part.
    pub(crate) fn add_source(&mut self, (path, size, root): (&str, u64, Root), source: &HostPort, partial: bool) {
        let paths = self.paths.entry(root).or_default();
        paths.insert(path.to_owned());
        if paths.len() > PATHS_KEPT_MAX {
            paths.pop_last();
        }
        let known = self.places.get(&root).copied();
        let at = known.unwrap_or_else(|| {
            self.groups.push(Found { path: path.to_owned(), size, root, sources: Vec::new(), partial: Vec::new() });
            self.places.insert(root, self.groups.len() - 1);
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if group.sources.contains(source) || partial && group.partial.contains(source) {
            return;
        }
        let list = if partial { &mut group.partial } else { &mut group.sources };
        list.push(source.clone());
        let claims = self.claims.entry(root).or_default();
        *claims.entry(size).or_default() += 1;
        let most = claims.iter().min_by_key(|(_, sources)| std::cmp::Reverse(**sources));
        group.size = most.map_or(size, |(size, _)| *size);
    }

    /// Notes whether a hit says that its content is a collection.
    pub(crate) fn note(&mut self, root: Root, collection: bool) {
        if collection {
            self.collections.insert(root);
        }
    }

    /// Whether any hit of a content said that it is a collection.
    pub(crate) fn is_collection(&self, root: &Root) -> bool {
        self.collections.contains(root)
    }

    /// Sorts the groups: first those whose name is the pattern, then those that have the pattern in
    /// their name, and each of these by number of sources. The same hits always get the same
    /// numbers.
    pub(crate) fn arrange(&mut self, pattern: &str) {
        let asked = Asked::new(pattern);
        for group in &mut self.groups {
            group.sources.sort_unstable();
            group.partial.sort_unstable();
            let paths = self.paths.get(&group.root).into_iter().flatten();
            if let Some(best) = paths.min_by_key(|path| (asked.rank(path), name_of(path), path.as_str())) {
                group.path.clone_from(best);
            }
        }
        self.groups.sort_by_cached_key(|group| {
            (
                asked.rank(&group.path),
                Reverse(group.sources.len()),
                group.name().to_owned(),
                group.path.clone(),
                group.root,
            )
        });
        self.places = self.groups.iter().enumerate().map(|(at, group)| (group.root, at)).collect();
    }

    /// Result number `n`, counted from 1.
    pub(crate) fn number(&self, n: usize) -> Option<&Found> {
        self.groups.get(n.checked_sub(1)?)
    }

    /// All results, in the order of their numbers.
    pub(crate) fn all(&self) -> &[Found] {
        &self.groups
    }

    /// One row for each content, with its name, or with its path if names look the same. It fits in
    /// the window.
    pub(crate) fn table(&self, roots: Roots, window: Option<usize>) -> String {
        let rows = self.groups.iter().zip(self.labels()).enumerate().map(|(i, (found, label))| {
            vec![
                (i + 1).to_string(),
                label,
                Size(found.size).to_string(),
                match roots {
                    Roots::Short => format!("{:.8}", found.root.to_string()),
                    Roots::Complete => found.root.to_string(),
                },
                all_sources(found),
            ]
        });
        let head = [
            ("#", Cells::Numbers),
            ("name", Cells::Texts),
            ("size", Cells::Numbers),
            ("root", Cells::Words),
            ("sources", Cells::Texts),
        ];
        fitted(&head, rows, window)
    }

    /// The label of each content: its name if no other name looks the same, and otherwise its path,
    /// which may be cut.
    fn labels(&self) -> Vec<String> {
        let forms = [
            |found: &Found| short_name(found.name()),
            |found: &Found| short_path(&found.path),
            |found: &Found| printable(&found.path),
        ];
        let mut labels: Vec<String> = self.groups.iter().map(forms[0]).collect();
        for form in &forms[1..] {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            labels.iter().for_each(|label| *times.entry(label.clone()).or_default() += 1);
            for (label, found) in labels.iter_mut().zip(&self.groups) {
                if times.get(label).is_some_and(|times| *times > 1) {
                    *label = form(found);
                }
            }
        }
        labels
    }
}

/// How much of each root a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The first digits, to distinguish results.
    Short,
    /// All digits, to be copied.
    Complete,
}

/// The pattern by which results are ranked.
struct Asked<'p> {
    pattern: &'p str,
    folded: String,
    words: Vec<String>,
}

impl Asked<'_> {
    fn new(pattern: &str) -> Asked<'_> {
        Asked { pattern, folded: folded(pattern), words: fold::asked(pattern) }
    }

    /// The rank: 0 if the path is the pattern or ends in it; 1 if it does so when both are folded;
    /// 2 if its name has all words; 3 otherwise.
    fn rank(&self, path: &str) -> u8 {
        if is_named(path, self.pattern) {
            return 0;
        }
        if is_named(&folded(path), &self.folded) {
            return 1;
        }
        let mut missing: Vec<&str> = self.words.iter().map(String::as_str).collect();
        fold::for_each_word(&fold::folded(name_of(path)), |word| missing.retain(|other| *other != word));
        if missing.is_empty() { 2 } else { 3 }
    }
}

fn sources(sources: &[HostPort]) -> String {
    let mut text = sources.len().to_string();
    for (i, source) in sources.iter().take(SOURCES_IN_ROW).enumerate() {
        let _ = write!(text, "{}{source}", if i == 0 { ": " } else { ", " });
    }
    if sources.len() > SOURCES_IN_ROW {
        text.push_str(", …");
    }
    text
}

fn all_sources(found: &Found) -> String {
    match found.partial.is_empty() {
        true => sources(&found.sources),
        false => format!("{}; with a part: {}", sources(&found.sources), sources(&found.partial)),
    }
}

/// A path without invisible characters. If it is too long for the table, only its end is kept.
fn short_path(path: &str) -> String {
    cut_front(&printable(path), NAME_COLUMNS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::columns::columns;

    fn at(port: u16) -> HostPort {
        HostPort::new("127.0.0.1", port).unwrap()
    }

    #[test]
    fn hits_are_grouped_by_content_and_always_numbered_the_same() {
        let (a, b) = (Root([1; 32]), Root([2; 32]));
        let hits = [("x", 5, a, 1), ("x", 5, b, 1), ("y", 5, b, 2), ("x", 5, b, 2)];
        let arranged = |order: &[usize]| {
            let mut results = Results::default();
            for i in order {
                let (name, size, root, port) = hits[*i];
                results.add(name, size, root, &at(port));
            }
            results.arrange("x");
            results.all().iter().map(|found| (found.root, found.sources.clone())).collect::<Vec<_>>()
        };
        assert_eq!(arranged(&[0, 1, 2, 3]), [(b, vec![at(1), at(2)]), (a, vec![at(1)])]);
        assert_eq!(arranged(&[0, 1, 2, 3]), arranged(&[0, 3, 1, 2]));
    }

    #[test]
    fn one_content_under_several_sizes_is_one_result() {
        let mut results = Results::default();
        for (size, port) in [(1 << 60, 1), (7, 2), (7, 3), (7, 3), (8, 3)] {
            results.add("x", size, Root([1; 32]), &at(port));
        }
        assert_eq!((results.all().len(), results.all()[0].size, results.all()[0].sources.len()), (1, 7, 3));
    }

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let mut results = Results::default();
        results.add("a\x1b[2J\nb", 1, Root([1; 32]), &at(1));
        let table = results.table(Roots::Short, None);
        assert!(!table.contains('\x1b') && table.lines().count() == 2, "{table}");
        assert!(columns(&short_name(&"短".repeat(300))) <= NAME_COLUMNS_MAX);
    }

    #[test]
    fn names_that_are_alike_are_shown_as_paths() {
        let mut results = Results::default();
        let long = "x".repeat(80);
        let paths = ["A/01.flac", "B/01.flac", "B/02.flac", &format!("{long}/1/03"), &format!("{long}/2/03")];
        let deep = format!("{}/{long}/04", "one");
        let other = format!("{}/{long}/04", "two");
        for (n, path) in (1..).zip(paths.iter().copied().chain([&*deep, &*other])) {
            results.add(path, 1, Root([n; 32]), &at(1));
        }
        results.arrange("01.flac");
        let labels = results.labels();
        assert_eq!(labels[..3], ["A/01.flac", "B/01.flac", "02.flac"].map(str::to_owned));
        assert!(labels.contains(&deep) && labels.contains(&other), "what a cut would make alike is not cut");
        let unique: BTreeSet<_> = labels.iter().collect();
        assert_eq!(unique.len(), labels.len());
        let cut = labels.iter().find(|label| label.ends_with("/1/03")).unwrap();
        assert!(cut.starts_with('…') && columns(cut) == NAME_COLUMNS_MAX, "{cut}");
    }

    #[test]
    fn what_was_named_goes_before_what_has_its_words() {
        let mut results = Results::default();
        let paths = ["blue train two", "Blue Train/cover.jpg", "BLUE TRAIN", "x/blue train"];
        for (n, path) in (1..).zip(paths) {
            results.add(path, 1, Root([n; 32]), &at(1));
        }
        results.arrange("blue train");
        let order: Vec<_> = results.all().iter().map(|found| found.path.as_str()).collect();
        assert_eq!(order, ["x/blue train", "BLUE TRAIN", "blue train two", "Blue Train/cover.jpg"]);
    }

    #[test]
    fn a_whole_root_can_be_copied() {
        let mut results = Results::default();
        results.add("x", 1, Root([7; 32]), &at(1));
        assert!(results.table(Roots::Complete, None).contains(&Root([7; 32]).to_string()));
    }
}
