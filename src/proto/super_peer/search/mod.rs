//! What a search means, and the walk through the index that finds it, cut into slices.
//!
//! A [`Scan`] holds no reference to the index between two steps: files may come and go in between.
//! It never reports a record that is not registered at that moment, and misses none that was
//! registered when it began and still is.

mod glob;

use std::fmt;

use crate::config::{PATTERN_BYTES_MAX, QUERY_HITS_MAX};
use crate::proto::super_peer::index::order::{BUCKETS, bucket_of};
use crate::proto::super_peer::index::tokens::{self, lower_into};
use crate::proto::super_peer::index::{HolderId, Index, Key, LiveEntry};
use crate::wire::message::SourceRecord;
use crate::wire::record::name_of;
use crate::wire::{QueryKind, Root, Search, SharePath};

use crate::wire::position::{Position, Range};
use glob::Glob;

/// A pattern that makes no sense; the sentence says what is wrong and shows the right form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

/// The cost of comparing the name of an entry or computing its position, in addition to the cost of
/// looking at the entry (in the unit of `WORK_PER_TURN`).
const TEXT_WORK: usize = 11;
/// What a hit costs: it is copied, compared with those that were sent, and packed.
const HIT_WORK: usize = 15;
/// Comparisons of a glob that cost as much as a look.
const GLOB_STEPS: usize = 16;
/// Entries of a list that is so short that its search costs no more than to put it off.
const SHORT_LIST: usize = 4;
/// If a list has at least this number of entries, each entry is also looked up in the list of
/// another word. An entry that is not in that list is left out.
const LONG_LIST: usize = 16;

/// How far a scan is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again.
    More,
    /// It is over; do not call again.
    End {
        /// Whether the limit ended it while there were, or may have been, more hits.
        capped: bool,
    },
}

/// A search under way in one index.
#[derive(Debug)]
pub struct Scan {
    find: Search,
    test: Test,
    sizes: (u64, u64),
    /// Hits still allowed.
    left: usize,
    /// The lists to walk, the last one first.
    lists: [Option<(Place, List)>; 2],
    /// An entry of `List::Rest` fits only if it is also in the list of this key. Entries of
    /// `List::Exact` are not looked up there.
    beside: Option<Key>,
    /// The next entry of the list, and the next holder of that entry.
    cursor: u32,
    holder: u32,
    /// Postings and holders looked at so far, and what that cost.
    looked: usize,
    spent: usize,
    /// Reused for names in lower case.
    scratch: String,
}

/// What an entry must pass, whatever list it comes from.
#[derive(Debug)]
enum Test {
    Exact,
    Words(Vec<String>),
    Glob(Glob),
    Root(Root),
    Range(Range),
}

/// Where entries come from.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// All there are.
    All,
    /// The postings of a key.
    Key(Key),
    /// The buckets from the first number to the second. When the scan began, every live entry was
    /// in its bucket.
    Buckets(u16, u16),
}

/// When a step ends: when it has looked at so much and spent so much.
#[derive(Clone, Copy)]
struct Until {
    looked: usize,
    spent: usize,
}

/// Why a list is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// Its names are the pattern itself.
    Exact,
    /// Its names may fit; exact ones are reported from the other list, if that is walked too.
    Rest,
}

impl Scan {
    /// A scan for `search`.
    ///
    /// # Errors
    /// If the pattern has not got the form of its kind, or no size can fit.
    pub fn new(index: &Index, search: &Search) -> Result<Scan, BadPattern> {
        Scan::within(index, search.clone(), QUERY_HITS_MAX)
    }

    /// A scan for `find` that reports at most `hits_max` hits.
    ///
    /// # Errors
    /// As [`Scan::new`].
    pub fn within(index: &Index, find: Search, hits_max: usize) -> Result<Scan, BadPattern> {
        let pattern = &find.pattern;
        if !(1..=PATTERN_BYTES_MAX).contains(&pattern.len()) {
            return Err(BadPattern(format!(
                "a pattern has 1 to {PATTERN_BYTES_MAX} bytes, this one {}",
                pattern.len()
            )));
        }
        let sizes = (find.min.unwrap_or(0), find.max.unwrap_or(u64::MAX));
        if sizes.0 > sizes.1 {
            return Err(BadPattern(format!("no size is at least {} and at most {} bytes", sizes.0, sizes.1)));
        }
        let exact = (Place::Key(index.name_key(pattern)), List::Exact);
        let mut beside = None;
        let (test, lists) = match find.kind {
            QueryKind::Exact => (Test::Exact, [Some(exact), None]),
            QueryKind::Words => {
                let words = tokens::of(pattern);
                // The word that fewest names have: every name that fits is in its list.
                let keys = words.iter().map(|word| index.word_key(word));
                let rarest = keys.clone().map(|key| (index.count(key), key)).min_by_key(|(count, _)| *count);
                if let Some((LONG_LIST.., rarest)) = rarest {
                    beside = keys.filter(|key| *key != rarest).min_by_key(|key| index.count(*key));
                }
                let lists = [rarest.map(|(_, key)| (Place::Key(key), List::Rest)), Some(exact)];
                (Test::Words(words), lists)
            }
            QueryKind::Glob => {
                let glob = Glob::new(pattern).map_err(|why| {
                    BadPattern(format!(
                        "{pattern:?} {why}; write *.flac, track-0?.mp3 or [a-c]*, and [[] for a bracket"
                    ))
                })?;
                (Test::Glob(glob), [Some((Place::All, List::Rest)), None])
            }
            QueryKind::Root => {
                let root = Root::from_hex(pattern).ok_or_else(|| {
                    BadPattern(format!("{pattern:?} is no root; write the 64 hex digits that b3sum prints"))
                })?;
                (Test::Root(root), [Some((Place::Key(index.root_key(&root)), List::Rest)), None])
            }
            QueryKind::Range => {
                let range = Range::parse(pattern).ok_or_else(|| {
                    BadPattern(format!("{pattern:?} is no range; write LOW-HIGH in hex digits, or - for all"))
                })?;
                let place = match index.is_ordered() {
                    true => {
                        let last = range.high.map_or(BUCKETS - 1, |high| bucket_of(&high.root()));
                        Place::Buckets(bucket_of(&range.low.root()), last)
                    }
                    false => Place::All,
                };
                (Test::Range(range), [Some((place, List::Rest)), None])
            }
            QueryKind::Path | QueryKind::Below | QueryKind::Unknown => {
                return Err(BadPattern(
                    "this kind of search is not known here; words, exact, glob, root and range are".to_owned(),
                ));
            }
        };
        let limit = find.limit.map_or(hits_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let left = limit.min(hits_max);
        let (cursor, holder, looked, spent, scratch) = (0, 0, 0, 0, String::new());
        Ok(Scan { find, test, sizes, left, lists, beside, cursor, holder, looked, spent, scratch })
    }

    /// What it looks for.
    #[must_use]
    pub fn find(&self) -> &Search {
        &self.find
    }

    /// Looks at postings and holders, at least two, until that has cost `work`, and appends the
    /// hits. `index` is the one that the scan was made for.
    pub fn step(&mut self, index: &Index, work: usize, hits: &mut Vec<SourceRecord>) -> Step {
        let until = Until { looked: self.looked + 2, spent: self.spent + work };
        self.walk(index, until, hits)
    }

    /// Postings and holders looked at so far.
    #[must_use]
    pub fn looked(&self) -> usize {
        self.looked
    }

    /// What that cost: 1 for each, more for a name that was compared and for a hit.
    #[must_use]
    pub fn spent(&self) -> usize {
        self.spent
    }

    /// Whether only a few entries have what is looked for.
    #[must_use]
    pub fn is_short(&self, index: &Index) -> bool {
        self.lists.iter().flatten().all(|(place, _)| match place {
            Place::Key(key) => index.count(*key) <= SHORT_LIST,
            Place::All | Place::Buckets(..) => false,
        })
    }

    fn walk(&mut self, index: &Index, until: Until, hits: &mut Vec<SourceRecord>) -> Step {
        while let Some((place, list)) = self.lists[1].or(self.lists[0]) {
            let Some(id) = self.next(index, place) else {
                let walked = usize::from(self.lists[1].is_some());
                self.lists[walked] = None;
                (self.cursor, self.holder) = (0, 0);
                if matches!(place, Place::Buckets(..)) && !index.is_ordered() {
                    // The index keeps its order for longer than a query can run. If it has lost the
                    // order all the same, the scan reports that there may be more hits.
                    return self.end(true);
                }
                continue;
            };
            if self.has_reached(until) {
                // With no hit left to report, this step only checked whether there are more hits.
                // It ends before it knows, so there may be.
                return if self.left == 0 { self.end(true) } else { Step::More };
            }
            self.looked += 1;
            self.spent += 1;
            if id != self.cursor {
                (self.cursor, self.holder) = (id, 0);
            }
            if let Some(beside) = self.beside.filter(|_| list == List::Rest) {
                self.spent += 1;
                // Ids are far below the greatest u32.
                let next = index.next(Some(beside), id).unwrap_or(u32::MAX);
                if next != id {
                    (self.cursor, self.holder) = (next, 0);
                    continue;
                }
            }
            match index.seen(id) {
                Some(seen) if self.fits(seen, list) => {
                    while let Some(holder) = index.holder_from(id, self.holder) {
                        let fits = !index.is_gone(holder.0) && self.fits_holder(seen, index, holder);
                        if self.left == 0 && fits {
                            return self.end(true);
                        }
                        if self.has_reached(until) {
                            return Step::More;
                        }
                        self.looked += 1;
                        self.spent += 1;
                        self.holder = holder.0 + 1;
                        if fits {
                            self.left -= 1;
                            self.spent += HIT_WORK;
                            hits.push(hit(seen, index, holder));
                        }
                    }
                }
                Some(_) | None => {}
            }
            (self.cursor, self.holder) = (id + 1, 0);
        }
        self.end(false)
    }

    /// If a step ends within the holders of an entry, the next step looks at the same entry again.
    /// So a step has at least two looks: with only one, the scan would never go on.
    fn has_reached(&self, until: Until) -> bool {
        self.looked >= until.looked && self.spent >= until.spent
    }

    /// The next entry of the list.
    fn next(&mut self, index: &Index, place: Place) -> Option<u32> {
        match place {
            Place::All => index.next(None, self.cursor),
            Place::Key(key) => index.next(Some(key), self.cursor),
            Place::Buckets(mut bucket, last) => loop {
                let id = index.next_of(bucket, self.cursor);
                if id.is_some() || bucket >= last {
                    return id;
                }
                bucket += 1;
                (self.cursor, self.holder) = (0, 0);
                self.lists[0] = Some((Place::Buckets(bucket, last), List::Rest));
            },
        }
    }

    fn end(&mut self, capped: bool) -> Step {
        self.lists = [None; 2];
        Step::End { capped }
    }

    fn fits(&mut self, seen: LiveEntry<'_>, list: List) -> bool {
        if !(self.sizes.0..=self.sizes.1).contains(&seen.size) {
            return false;
        }
        let pattern = self.find.pattern.as_str();
        let name = || name_of(seen.path);
        match &self.test {
            Test::Exact => is_named(seen.path, pattern),
            Test::Words(words) => match list {
                List::Exact => is_named(seen.path, pattern),
                List::Rest => {
                    self.spent += TEXT_WORK;
                    name() != pattern && has_all(name(), words, &mut self.scratch)
                }
            },
            Test::Glob(glob) => {
                self.scratch.clear();
                name().chars().for_each(|c| lower_into(c, &mut self.scratch));
                let mut steps = 0;
                let fits = glob.fits(&self.scratch, &mut steps);
                self.spent += TEXT_WORK + steps / GLOB_STEPS;
                fits
            }
            Test::Root(root) => seen.root == *root,
            Test::Range(range) => range.may_hold(&seen.root),
        }
    }

    /// Whether this source of an entry that fits is meant too; only a range tells one from another.
    fn fits_holder(&mut self, seen: LiveEntry<'_>, index: &Index, holder: HolderId) -> bool {
        match &self.test {
            Test::Range(range) if range.holds_all_of(&seen.root) => true,
            Test::Range(range) => {
                self.spent += TEXT_WORK;
                range.holds(&Position::of(&seen.root, seen.path, index.addr(holder)))
            }
            Test::Exact | Test::Words(_) | Test::Glob(_) | Test::Root(_) => true,
        }
    }
}

/// The texts, in lower case, that a name must contain to fit the glob; empty if `pattern` is not a
/// valid glob.
pub(super) fn glob_literals(pattern: &str) -> Vec<String> {
    Glob::new(pattern).map(|glob| glob.literals()).unwrap_or_default()
}

/// `name_of(path) == name`, which most names are not.
fn is_named(path: &str, name: &str) -> bool {
    match path.as_bytes().strip_suffix(name.as_bytes()) {
        Some([.., b'/'] | []) if !name.as_bytes().contains(&b'/') => true,
        Some(_) => name_of(path) == name,
        None => false,
    }
}

fn has_all(name: &str, words: &[String], scratch: &mut String) -> bool {
    // Each is ticked off once.
    let mut ticked = 0_u128;
    let mut missing = words.len();
    tokens::for_each(name, scratch, |word| {
        if let Ok(at) = words.binary_search_by(|other| other.as_str().cmp(word))
            && ticked >> at & 1 == 0
        {
            ticked |= 1 << at;
            missing -= 1;
        }
    });
    missing == 0
}

fn hit(seen: LiveEntry<'_>, index: &Index, holder: HolderId) -> SourceRecord {
    SourceRecord {
        path: SharePath::new(seen.path).expect("it was a SharePath when it came in"),
        size: seen.size,
        root: seen.root,
        collection: false,
        node: Some(index.node(holder)),
        addr: index.addr(holder).clone(),
    }
}

/// `has_all` has one bit for each word. A word takes at least two bytes of the pattern, together
/// with the separator after it.
const _: () = assert!(PATTERN_BYTES_MAX <= 2 * u128::BITS as usize);

#[cfg(test)]
mod tests;
