//! Which lists of the index a search walks, and in which order. It looks only at counts, not at
//! entries.

use super::matching::{Equal, Own, Test, Words};
use crate::fold::fold;
use crate::proto::super_peer::index::order::{BUCKETS, bucket_of};
use crate::proto::super_peer::index::{Index, Key};
use crate::wire::Search;
use crate::wire::position::Range;

/// If a list has at least this number of entries, each entry is also looked up in the list of
/// another word. An entry that is not in that list is left out.
const LONG_LIST: usize = 16;

/// Most lists of a search.
const LISTS: usize = 5;

/// Where entries come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// All entries of the index.
    All,
    /// The postings of a key.
    Key(Key),
    /// The buckets from the first number to the second. When the scan began, every live entry was
    /// in its bucket.
    Buckets(u16, u16),
    /// The files of all folders.
    Folders,
    /// The files of all folders that have the word.
    FoldersWith(Key),
    /// The entries that were put off: `Scan::later`.
    Later,
}

/// Why a list is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Paths that are the pattern or end in it, either byte for byte or when folded. No other list
    /// reports them again.
    Own(Equal),
    /// Names that have a word.
    Names,
    /// Files of folders that may fit.
    Folders,
    /// Entries that were put off.
    Later,
    /// All other entries that may fit.
    Rest,
}

/// The lists of a search.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) lists: [Option<(Place, List)>; LISTS],
    /// How many places of `lists` are in use, gaps included.
    pub(super) used: usize,
    /// `word`: the entries of this word are the list `List::Names`. `beside`: another word of the
    /// pattern, which no folder has. So an entry fits only if it is in the list of `beside` too.
    pub(super) word: Option<Key>,
    pub(super) beside: Option<Key>,
}

impl Plan {
    /// Chooses the lists. Also returns the pattern as the end of a path, if an entry has the name
    /// at its end and this kind of search reports such paths first.
    pub(super) fn of(
        find: &Search,
        test: &Test,
        within: Option<&Range>,
        index: &Index,
        scratch: &mut String,
    ) -> (Plan, Option<Box<Own>>) {
        let (mut plan, mut own) = (Plan::default(), None);
        let pattern = find.pattern.as_str();
        match test {
            Test::Exact => {
                let key = index.name_key(fold(pattern, scratch));
                plan.put(0, Place::Key(key), List::Rest);
            }
            Test::Path => own = plan.own(pattern, index, 0),
            Test::Words(words) => {
                let per_folder = index.files_per_folder();
                let (rarest, several) = (rarest(index, words, per_folder), words.len() > 1);
                own = plan.own(pattern, index, 0);
                plan.words(rarest, per_folder.is_some(), several);
            }
            Test::Glob(..) => {
                own = plan.own(pattern, index, 0);
                plan.put(2, everything(index, within), List::Rest);
            }
            Test::Root(root, _) => {
                plan.put(0, Place::Key(index.root_key(root)), List::Rest);
                own = plan.own(pattern, index, 1);
            }
            Test::Range(range) => plan.put(0, everything(index, Some(range)), List::Rest),
            Test::Below(below) => {
                let rarest = below.words.iter().map(|word| index.word_key(word));
                let rarest = rarest.map(|key| (index.count_folders(key), key)).min_by_key(|(count, _)| *count);
                let files =
                    rarest.map_or(usize::MAX, |(count, _)| count).saturating_mul(index.files_per_folder().unwrap_or(0));
                let page = everything(index, within);
                // A page of a large folder looks only at its part of the index, not at all files of
                // the folder.
                if let Place::Buckets(first, last) = page
                    && usize::from(last.saturating_sub(first) + 1) * (index.live() / usize::from(BUCKETS)) < files
                {
                    plan.put(0, page, List::Rest);
                } else {
                    let folders = rarest.map_or(Place::Folders, |(_, key)| Place::FoldersWith(key));
                    plan.put(0, folders, List::Folders);
                }
            }
        }
        (plan, own)
    }

    fn put(&mut self, at: usize, place: Place, list: List) {
        self.lists[at] = Some((place, list));
        self.used = self.used.max(at + 1);
    }

    /// Adds two lists for the paths that are the pattern or end in it.
    fn own(&mut self, pattern: &str, index: &Index, at: usize) -> Option<Box<Own>> {
        let own = Own::new(pattern)?;
        let key = index.name_key(own.name(pattern));
        // Entries that are added later need not come before the others.
        if index.count(key) == 0 {
            return None;
        }
        self.put(at, Place::Key(key), List::Own(Equal::Bytes));
        self.put(at + 1, Place::Key(key), List::Own(Equal::Folded));
        Some(Box::new(own))
    }

    /// Chooses the word that the fewest paths have. Every path that fits has this word in its name
    /// or in its folder.
    fn words(&mut self, rarest: Option<Rarest>, folders: bool, several: bool) {
        let Some(Rarest { word, beside }) = rarest else { return };
        self.word = Some(word.key);
        self.beside = beside.filter(|_| word.names + word.folders >= LONG_LIST).map(|other| other.key);
        self.put(2, Place::Key(word.key), List::Names);
        if folders && word.folders > 0 {
            self.put(3, Place::FoldersWith(word.key), List::Folders);
        }
        if folders && several {
            self.put(4, Place::Later, List::Later);
        }
    }
}

/// How many names and folders have a word.
#[derive(Clone, Copy)]
struct Count {
    key: Key,
    names: usize,
    folders: usize,
}

/// The word that the fewest paths have. And of the other words that no folder has, the word that
/// the fewest names have.
struct Rarest {
    word: Count,
    beside: Option<Count>,
}

/// Returns none if there are no words. `per_folder`: how many files a folder has on average.
fn rarest(index: &Index, words: &Words, per_folder: Option<usize>) -> Option<Rarest> {
    let estimate = |count: &Count| count.names + count.folders.saturating_mul(per_folder.unwrap_or(0));
    let mut rarest: Option<Count> = None;
    // The two words that the fewest names have.
    let mut fewest: [Option<Count>; 2] = [None, None];
    for word in words.iter() {
        let key = index.word_key(word);
        let folders = if per_folder.is_some() { index.count_folders(key) } else { 0 };
        let count = Count { key, names: index.count(key), folders };
        if rarest.as_ref().is_none_or(|least| estimate(&count) < estimate(least)) {
            rarest = Some(count);
        }
        let is_fewer = |other: Option<Count>| other.is_none_or(|other| count.names < other.names);
        if folders > 0 {
            continue;
        }
        if is_fewer(fewest[0]) {
            fewest = [Some(count), fewest[0]];
        } else if is_fewer(fewest[1]) {
            fewest[1] = Some(count);
        }
    }
    let word = rarest?;
    let beside = fewest.into_iter().flatten().find(|count| count.key != word.key);
    Some(Rarest { word, beside })
}

/// The place of the entries of a range. If the index is not sorted, the place of all entries.
fn everything(index: &Index, range: Option<&Range>) -> Place {
    match range.filter(|_| index.is_ordered()) {
        Some(range) => {
            let last = range.high.map_or(BUCKETS - 1, |high| bucket_of(&high.root()));
            Place::Buckets(bucket_of(&range.low.root()), last)
        }
        None => Place::All,
    }
}
