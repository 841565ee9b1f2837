//! What a search means, and the walk through the index that finds its hits, in slices.
//!
//! A [`Scan`] holds no reference to the index between two steps: files may come and go in between.
//! It never reports a record that is not registered at that moment, and misses none that was
//! registered when it began and still is.

mod glob;
mod matching;

use std::fmt;
use std::net::IpAddr;

use crate::config::{PATTERN_BYTES_MAX, QUERY_HITS_MAX};
use crate::fold::fold;
use crate::proto::super_peer::index::order::{BUCKETS, bucket_of};
use crate::proto::super_peer::index::{Found, HolderId, Index, Key, LiveEntry};
use crate::wire::message::SourceRecord;
use crate::wire::{QueryKind, Root, Search, SharePath};

use crate::wire::position::{Position, Range};
use glob::Glob;
pub(super) use glob::Literal;
use matching::{Below, Equal, Own, Test, WORDS_MAX, Words};

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
/// To fold this many bytes of text that is not ASCII costs as much as to look at an entry.
const FOLDED_BYTES: usize = 2;
/// This many comparisons of a glob cost as much as to look at an entry.
const GLOB_STEPS: usize = 16;
/// A list of at most this many entries is searched at once: to put it off would cost as much.
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
    /// The pattern as the end of a path. None if no entry has its name, or if the kind of search
    /// does not report such paths first.
    own: Option<Own>,
    /// Whether an entry was found that equals `own` only when both are folded.
    alike: bool,
    sizes: (u64, u64),
    /// Where the asker, or its link, reaches this super peer.
    at: Option<IpAddr>,
    /// Only hits with a position in it.
    within: Option<Range>,
    /// Hits still allowed.
    left: usize,
    /// The lists to walk, and how many were walked.
    lists: [Option<(Place, List)>; LISTS],
    walked: usize,
    /// `word`: its entries are the list `List::Names`. `beside`: another word of the pattern, which
    /// no folder has, so that an entry fits only if it is in the list of that word too.
    word: Option<Key>,
    beside: Option<Key>,
    /// The folder that is walked, and whether it passed its test in this step.
    folder: u32,
    entered: bool,
    /// The next entry of the list, and the next holder of that entry.
    cursor: u32,
    holder: u32,
    /// Entries that have all words, but not in their name: they come last. Ascending.
    later: Vec<u32>,
    /// Whether some were not added to `later`, because it had as many as hits are allowed.
    dropped: bool,
    /// The last folder that was compared in this step, and the result: bits of words, or 1 for
    /// `below`. So it is not compared again for each of its files.
    memo: Option<(u32, u128)>,
    /// Postings (entries in the list of a key) and holders looked at so far, and what that cost.
    looked: usize,
    spent: usize,
    /// Reused for folded texts, and for paths.
    scratch: String,
    path: String,
}

/// Most lists of a search.
const LISTS: usize = 5;

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
    /// The files of all folders that have the word, or of all folders.
    Folders(Option<Key>),
    /// The entries that were put off: `Scan::later`.
    Later,
}

/// A step ends when it has reached both numbers.
#[derive(Clone, Copy)]
struct Until {
    looked: usize,
    spent: usize,
}

/// Why a list is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// Paths that are the pattern, or end in it, byte for byte or else folded. No other list
    /// reports them again.
    Own(Equal),
    /// Names that have a word.
    Names,
    /// Files of folders that may fit.
    Folders,
    /// Those that were put off.
    Later,
    /// Entries that may fit.
    Rest,
}

/// What comes next in a list.
enum Next {
    Entry(u32),
    /// Another folder; no entry yet.
    Folder,
    End,
}

/// Whether an entry is a hit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    No,
    Yes,
    /// Yes, but those whose name fits go first.
    Later,
}

impl Scan {
    /// A scan for `search`.
    ///
    /// # Errors
    /// If the pattern does not have the form that its kind requires, or `min` is above `max`.
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
        let within = find.within.as_deref().map(parse_range).transpose()?;
        let test = test_of(&find)?;
        let limit = find.limit.map_or(hits_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut scan = Scan {
            find,
            test,
            own: None,
            alike: false,
            sizes,
            at: None,
            within,
            left: limit.min(hits_max),
            lists: [None; LISTS],
            walked: 0,
            word: None,
            beside: None,
            folder: 0,
            entered: false,
            cursor: 0,
            holder: 0,
            later: Vec::new(),
            dropped: false,
            memo: None,
            looked: 0,
            spent: 0,
            scratch: String::new(),
            path: String::new(),
        };
        scan.plan(index);
        Ok(scan)
    }

    /// The same for an asker that reaches this super peer at this address, if it is known.
    #[must_use]
    pub fn asked_at(self, at: Option<IpAddr>) -> Scan {
        Scan { at, ..self }
    }

    /// Chooses the lists.
    fn plan(&mut self, index: &Index) {
        let pattern = self.find.pattern.as_str();
        match &self.test {
            Test::Exact => {
                let key = index.name_key(fold(pattern, &mut self.scratch));
                self.lists[0] = Some((Place::Key(key), List::Rest));
            }
            Test::Path => self.plan_own(index, 0),
            Test::Words(words) => {
                let per_folder = index.files_per_folder();
                let (rarest, several) = (rarest(index, words, per_folder), words.len() > 1);
                self.plan_own(index, 0);
                self.plan_words(rarest, per_folder.is_some(), several);
            }
            Test::Glob(..) => {
                self.plan_own(index, 0);
                self.lists[2] = Some((everything(index, self.within.as_ref()), List::Rest));
            }
            Test::Root(root) => {
                self.lists[0] = Some((Place::Key(index.root_key(root)), List::Rest));
                self.plan_own(index, 1);
            }
            Test::Range(range) => self.lists[0] = Some((everything(index, Some(range)), List::Rest)),
            Test::Below(below) => {
                let rarest = below.words.iter().map(|word| index.word_key(word));
                let rarest = rarest.map(|key| (index.count_folders(key), key)).min_by_key(|(count, _)| *count);
                let files =
                    rarest.map_or(usize::MAX, |(count, _)| count).saturating_mul(index.files_per_folder().unwrap_or(0));
                let page = everything(index, self.within.as_ref());
                // A page of a large folder looks at its part of the index, not at all files.
                self.lists[0] = if let Place::Buckets(first, last) = page
                    && usize::from(last.saturating_sub(first) + 1) * (index.live() / usize::from(BUCKETS)) < files
                {
                    Some((page, List::Rest))
                } else {
                    Some((Place::Folders(rarest.map(|(_, key)| key)), List::Folders))
                };
            }
        }
    }

    /// Puts the paths that are the pattern, or end in it, into two lists.
    fn plan_own(&mut self, index: &Index, at: usize) {
        let Some(own) = Own::new(&self.find.pattern) else { return };
        let key = index.name_key(own.name(&self.find.pattern));
        // Entries that are added later need not be reported before the others.
        if index.count(key) > 0 {
            self.own = Some(own);
            self.lists[at] = Some((Place::Key(key), List::Own(Equal::Bytes)));
            self.lists[at + 1] = Some((Place::Key(key), List::Own(Equal::Folded)));
        }
    }

    /// Chooses the word that the fewest paths have: every path that fits has it in its name or in
    /// its folder.
    fn plan_words(&mut self, rarest: Option<Rarest>, folders: bool, several: bool) {
        let Some(Rarest { word, beside }) = rarest else { return };
        self.word = Some(word.key);
        self.beside = beside.filter(|_| word.names + word.folders >= LONG_LIST).map(|other| other.key);
        self.lists[2] = Some((Place::Key(word.key), List::Names));
        if folders {
            self.lists[3] = (word.folders > 0).then_some((Place::Folders(Some(word.key)), List::Folders));
            self.lists[4] = several.then_some((Place::Later, List::Later));
        }
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
            Place::Later => true,
            Place::All | Place::Buckets(..) | Place::Folders(_) => false,
        })
    }

    fn walk(&mut self, index: &Index, until: Until, hits: &mut Vec<SourceRecord>) -> Step {
        // A folder may be another one since the last step.
        (self.entered, self.memo) = (false, None);
        while self.walked < LISTS {
            // Paths that are equal byte for byte come first. If none was found that is equal only
            // when folded, the list is not walked a second time.
            let list = self.lists[self.walked].filter(|(_, list)| self.alike || *list != List::Own(Equal::Folded));
            let Some((place, list)) = list else {
                self.walked += 1;
                continue;
            };
            let next = self.next(index, place);
            if let Next::End = next {
                self.walked += 1;
                (self.folder, self.entered, self.cursor, self.holder) = (0, false, 0, 0);
                if matches!(place, Place::Buckets(..)) && !index.is_ordered() {
                    // The index keeps its order for longer than a query can run. If it has lost the
                    // order all the same, the scan reports that there may be more hits.
                    return self.end(true);
                }
                continue;
            }
            if self.has_reached(until) {
                // With no hit left to report, this step only checked whether there are more hits.
                // It ends before it knows, so there may be.
                return if self.left == 0 { self.end(true) } else { Step::More };
            }
            let Next::Entry(id) = next else { continue };
            self.looked += 1;
            self.spent += 1;
            if id != self.cursor {
                (self.cursor, self.holder) = (id, 0);
            }
            if let Some(next) = self.skip(index, id, list) {
                (self.cursor, self.holder) = (next, 0);
                continue;
            }
            match index.seen(id).map(|seen| (seen, self.fit(seen, list))) {
                Some((_, Fit::Later)) if self.left > 0 => {
                    if self.later.len() < self.left {
                        self.later.push(id);
                    } else {
                        self.dropped = true;
                    }
                }
                Some((seen, Fit::Yes | Fit::Later)) => {
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
                            hits.push(hit(seen, index, holder, self.at));
                        }
                    }
                }
                Some((_, Fit::No)) | None => {}
            }
            (self.cursor, self.holder) = (id + 1, 0);
        }
        self.end(self.dropped)
    }

    /// The next entry that can fit, if this one cannot: because it is not in the list of the other
    /// word, or because an earlier list had it.
    fn skip(&mut self, index: &Index, id: u32, list: List) -> Option<u32> {
        if list == List::Folders
            && let Some(word) = self.word
        {
            // Entries that have the word in their name too were in `List::Names`.
            self.spent += 1;
            if index.has(word, id) {
                return Some(id + 1);
            }
        }
        let beside = self.beside.filter(|_| matches!(list, List::Names | List::Folders))?;
        self.spent += 1;
        // Ids are far below the greatest u32.
        let next = index.next(Some(beside), id).unwrap_or(u32::MAX);
        (next != id).then_some(next)
    }

    /// If a step ends within the holders of an entry, the next step looks at the same entry again.
    /// So a step looks at two things or more: with one only, the scan would make no progress.
    fn has_reached(&self, until: Until) -> bool {
        self.looked >= until.looked && self.spent >= until.spent
    }

    /// The next entry of the list.
    fn next(&mut self, index: &Index, place: Place) -> Next {
        let entry = match place {
            Place::All => index.next(None, self.cursor),
            Place::Key(key) => index.next(Some(key), self.cursor),
            Place::Buckets(mut bucket, last) => loop {
                let id = index.next_of(bucket, self.cursor);
                if id.is_some() || bucket >= last {
                    break id;
                }
                bucket += 1;
                (self.cursor, self.holder) = (0, 0);
                self.lists[self.walked] = Some((Place::Buckets(bucket, last), List::Rest));
            },
            Place::Folders(word) => return self.next_in_folders(index, word),
            Place::Later => self.later.get(self.later.partition_point(|id| *id < self.cursor)).copied(),
        };
        entry.map_or(Next::End, Next::Entry)
    }

    /// The next entry among the files of folders. Each folder is tested once in a step.
    fn next_in_folders(&mut self, index: &Index, word: Option<Key>) -> Next {
        loop {
            if !self.entered {
                let Some(folder) = index.next_folder(word, self.folder) else { return Next::End };
                if folder != self.folder {
                    (self.folder, self.cursor, self.holder) = (folder, 0, 0);
                }
                if !self.enters(index.folder_text(folder)) {
                    self.looked += 1;
                    (self.folder, self.cursor, self.holder) = (folder + 1, 0, 0);
                    return Next::Folder;
                }
                self.entered = true;
            }
            if let Some(id) = index.next_in(self.folder, self.cursor) {
                return Next::Entry(id);
            }
            (self.folder, self.entered) = (self.folder + 1, false);
            (self.cursor, self.holder) = (0, 0);
        }
    }

    /// Whether files of this folder may fit.
    fn enters(&mut self, text: &str) -> bool {
        self.spent += text_work(text);
        let (found, enters) = match &self.test {
            Test::Words(words) => {
                let found = words.in_text(text, &mut self.scratch);
                (found, found != 0)
            }
            Test::Below(below) => {
                let holds = below.holds(text, &mut self.scratch);
                (u128::from(holds), holds)
            }
            Test::Exact | Test::Path | Test::Glob(..) | Test::Root(_) | Test::Range(_) => (0, false),
        };
        self.memo = Some((self.folder, found));
        enters
    }

    fn end(&mut self, capped: bool) -> Step {
        self.walked = LISTS;
        Step::End { capped }
    }

    fn fit(&mut self, seen: LiveEntry<'_>, list: List) -> Fit {
        if !(self.sizes.0..=self.sizes.1).contains(&seen.size)
            || self.within.as_ref().is_some_and(|within| !within.may_hold(&seen.root))
        {
            return Fit::No;
        }
        if let List::Own(equal) = list {
            let is_root = matches!(&self.test, Test::Root(root) if *root == seen.root);
            let equals = self.equals(seen);
            self.alike |= equals == Some(Equal::Folded);
            return yes(equals == Some(equal) && !is_root);
        }
        let fit = match &self.test {
            Test::Exact => yes(seen.name == self.find.pattern),
            Test::Path => Fit::No,
            Test::Words(_) => self.fit_words(seen, list),
            Test::Glob(..) => yes(self.fits_glob(seen)),
            Test::Root(root) => yes(seen.root == *root),
            Test::Range(range) => yes(range.may_hold(&seen.root)),
            Test::Below(_) => yes(self.folder_bits(seen) != 0),
        };
        // What the first lists reported does not come again.
        let again = fit != Fit::No && !matches!(self.test, Test::Root(_)) && self.equals(seen).is_some();
        if again { Fit::No } else { fit }
    }

    /// How the path is the pattern, or ends in it.
    fn equals(&mut self, seen: LiveEntry<'_>) -> Option<Equal> {
        let own = self.own.as_ref()?;
        if own.is_same(&self.find.pattern, seen) {
            return Some(Equal::Bytes);
        }
        self.spent += text_work(seen.name) + if own.has_folder() { text_work(seen.folder_text) } else { 0 };
        own.is_alike(&self.find.pattern, seen, &mut self.scratch).then_some(Equal::Folded)
    }

    fn fit_words(&mut self, seen: LiveEntry<'_>, list: List) -> Fit {
        let Test::Words(words) = &self.test else { return Fit::No };
        // The first list has reported it. Without this check it would fit here too.
        if self.own.as_ref().is_some_and(|own| own.is_same(&self.find.pattern, seen)) {
            return Fit::No;
        }
        self.spent += text_work(seen.name);
        let in_name = words.in_text(seen.name, &mut self.scratch);
        if words.are_all(in_name) {
            return Fit::Yes;
        }
        let found = in_name | if seen.folder_text.is_empty() { 0 } else { self.folder_bits(seen) };
        let Test::Words(words) = &self.test else { return Fit::No };
        match words.are_all(found) {
            // In the other lists no entry has all words in its name, so none has to come first.
            true if list == List::Names => Fit::Later,
            true => Fit::Yes,
            false => Fit::No,
        }
    }

    /// The result for the folder of an entry: bits of the words in it; or for `below`, 1 if it is
    /// the folder that is asked for, or below it.
    fn folder_bits(&mut self, seen: LiveEntry<'_>) -> u128 {
        if self.memo.is_none_or(|(folder, _)| folder != seen.folder) {
            self.spent += text_work(seen.folder_text);
            let bits = match &self.test {
                Test::Words(words) => words.in_text(seen.folder_text, &mut self.scratch),
                Test::Below(below) => u128::from(below.holds(seen.folder_text, &mut self.scratch)),
                Test::Exact | Test::Path | Test::Glob(..) | Test::Root(_) | Test::Range(_) => 0,
            };
            self.memo = Some((seen.folder, bits));
        }
        self.memo.map_or(0, |(_, bits)| bits)
    }

    fn fits_glob(&mut self, seen: LiveEntry<'_>) -> bool {
        let Test::Glob(glob, over_path) = &self.test else { return false };
        let text = if *over_path {
            self.path.clear();
            seen.path_into(&mut self.path);
            self.path.as_str()
        } else {
            seen.name
        };
        let mut steps = 0;
        let fits = glob.fits(fold(text, &mut self.scratch), &mut steps);
        self.spent += text_work(text) + steps / GLOB_STEPS;
        fits
    }

    /// Whether this holder of an entry that fits is a hit. Only a range distinguishes between
    /// holders.
    fn fits_holder(&mut self, seen: LiveEntry<'_>, index: &Index, holder: HolderId) -> bool {
        let range = match &self.test {
            Test::Range(range) => Some(range),
            Test::Exact | Test::Path | Test::Words(_) | Test::Glob(..) | Test::Root(_) | Test::Below(_) => None,
        };
        let mut position = None;
        for range in range.into_iter().chain(&self.within).filter(|range| !range.holds_all_of(&seen.root)) {
            let position = *position.get_or_insert_with(|| {
                self.spent += TEXT_WORK;
                self.path.clear();
                seen.path_into(&mut self.path);
                Position::of(&seen.root, &self.path, &index.serves(holder).found_from(self.at).addr)
            });
            if !range.holds(&position) {
                return false;
            }
        }
        true
    }
}

/// How many names and folders have a word.
#[derive(Clone, Copy)]
struct Count {
    key: Key,
    names: usize,
    folders: usize,
}

/// The word that the fewest paths have; and of the others that no folder has, the one that the
/// fewest names have.
struct Rarest {
    word: Count,
    beside: Option<Count>,
}

/// None without words. `per_folder`: how many files a folder has on average.
fn rarest(index: &Index, words: &Words, per_folder: Option<usize>) -> Option<Rarest> {
    let estimate = |count: &Count| count.names + count.folders.saturating_mul(per_folder.unwrap_or(0));
    let mut rarest: Option<Count> = None;
    // The two that the fewest names have.
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

fn yes(fits: bool) -> Fit {
    if fits { Fit::Yes } else { Fit::No }
}

/// What folding and comparing a text costs.
fn text_work(text: &str) -> usize {
    TEXT_WORK + if text.is_ascii() { 0 } else { text.len() / FOLDED_BYTES }
}

/// The place of the entries of a range, or of all entries if the index is not sorted.
fn everything(index: &Index, range: Option<&Range>) -> Place {
    match range.filter(|_| index.is_ordered()) {
        Some(range) => {
            let last = range.high.map_or(BUCKETS - 1, |high| bucket_of(&high.root()));
            Place::Buckets(bucket_of(&range.low.root()), last)
        }
        None => Place::All,
    }
}

fn parse_range(text: &str) -> Result<Range, BadPattern> {
    Range::parse(text)
        .ok_or_else(|| BadPattern(format!("{text:?} is no range; write LOW-HIGH in hex digits, or - for all")))
}

/// What an entry must pass to fit a search.
fn test_of(find: &Search) -> Result<Test, BadPattern> {
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
        // A pattern with an open bracket is no glob; it finds only paths that end in it.
        QueryKind::Glob => Glob::new(pattern).map_or(Test::Path, |glob| Test::Glob(glob, pattern.contains('/'))),
        QueryKind::Root => {
            Test::Root(Root::from_hex(pattern).ok_or_else(|| {
                BadPattern(format!("{pattern:?} is no root; write the 64 hex digits that b3sum prints"))
            })?)
        }
        QueryKind::Range => Test::Range(parse_range(pattern)?),
        QueryKind::Below => {
            Test::Below(Below::new(pattern).ok_or_else(|| BadPattern(format!("{pattern:?} names no folder")))?)
        }
        QueryKind::Unknown => {
            return Err(BadPattern(
                "this kind of search is not known here; words, exact, glob, root, range, path and below are".to_owned(),
            ));
        }
    })
}

/// What is literal in a glob; none if `pattern` is no glob.
pub(super) fn glob_literals(pattern: &str) -> Option<Vec<Literal>> {
    Glob::new(pattern).map(|glob| glob.literals()).ok()
}

fn hit(seen: LiveEntry<'_>, index: &Index, holder: HolderId, at: Option<IpAddr>) -> SourceRecord {
    let Found { addr, other, out_of_reach } = index.serves(holder).found_from(at);
    SourceRecord {
        path: SharePath::joined(seen.folder_text, seen.name),
        size: seen.size,
        root: seen.root,
        collection: seen.collection,
        node: Some(index.node(holder)),
        addr,
        other,
        unreached: out_of_reach || index.is_unreached(holder),
    }
}

#[cfg(test)]
mod languages;
#[cfg(test)]
mod tests;
