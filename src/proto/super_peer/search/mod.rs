//! What a search means, and the walk through the index that finds its hits, in slices.
//!
//! A [`Scan`] holds no reference to the index between two steps, because files may come and go in
//! between. It never reports a record that is not registered at that moment. It reports each match
//! that was registered when the scan began and still is.

mod fit;
mod glob;
mod matching;
mod plan;
mod reported;
mod sieve;
mod standing;

use std::net::IpAddr;

use crate::config::QUERY_HITS_MAX;
use crate::proto::super_peer::index::{Index, Key};
use crate::wire::Search;
use crate::wire::message::SourceRecord;

use fit::{Fit, Judge, add_hit};
use glob::Glob;
pub(super) use glob::Literal;
pub use matching::BadPattern;
use matching::{Equal, test_of};
use plan::{List, Place, Plan};
pub(super) use sieve::Sieve;
pub use standing::StandingSearch;

/// What a hit costs: it is copied, compared with the hits that were sent, and packed.
const HIT_WORK: usize = 15;
/// A list with at most this many entries is searched at once: putting it off would cost as much.
const SHORT_LIST: usize = 4;

/// How far a scan has come after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The scan is not over; call again.
    More,
    /// The scan is over; do not call again.
    End {
        /// Whether the limit ended the scan although there were, or may have been, more hits.
        capped: bool,
    },
}

/// A search under way in one index.
#[derive(Debug)]
pub struct Scan {
    judge: Judge,
    /// Hits that may still be reported.
    left: usize,
    plan: Plan,
    /// How many lists of the plan were walked.
    walked: usize,
    /// The folder that is walked, and whether it passed its test in this step.
    folder: u32,
    entered: bool,
    /// The next entry of the list, and the next holder of that entry.
    cursor: u32,
    holder: u32,
    /// Entries whose path has all words, but whose name lacks some of them, in ascending order.
    /// They are reported last.
    later: Vec<u32>,
    /// Whether some entries were not added to `later`, because it already held as many entries as
    /// the number of hits that may still be reported.
    dropped: bool,
    /// Postings (entries in the list of a key) and holders looked at so far.
    looked: usize,
}

/// A step ends when it has reached both numbers.
#[derive(Clone, Copy)]
struct Until {
    looked: usize,
    spent: usize,
}

/// What comes next in a list.
enum Next {
    Entry(u32),
    /// An entry, and no other one is in the list.
    Only(u32),
    /// Another folder; no entry yet.
    Folder,
    End,
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
        let limit = find.limit.map_or(hits_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let range = Judge::range_of(&find)?;
        let test = test_of(&find)?;
        let mut scratch = String::new();
        let (plan, own) = Plan::of(&find, &test, range.as_deref(), index, &mut scratch);
        Ok(Scan {
            judge: Judge::new(find, (test, range), own, scratch),
            left: limit.min(hits_max),
            plan,
            walked: 0,
            folder: 0,
            entered: false,
            cursor: 0,
            holder: 0,
            later: Vec::new(),
            dropped: false,
            looked: 0,
        })
    }

    /// The asker reaches this super peer at this address, if it is known.
    pub fn set_asked_at(&mut self, at: Option<IpAddr>) {
        self.judge.at = at;
    }

    /// What it looks for.
    #[must_use]
    pub fn find(&self) -> &Search {
        &self.judge.find
    }

    /// Looks at postings and holders, at least two, until this has cost `work`, and appends the
    /// hits. `index` must be the index that the scan was made for.
    pub fn step(&mut self, index: &Index, work: usize, hits: &mut Vec<SourceRecord>) -> Step {
        let until = Until { looked: self.looked + 2, spent: self.judge.spent + work };
        self.walk(index, until, hits)
    }

    /// Postings and holders looked at so far.
    #[must_use]
    pub fn looked(&self) -> usize {
        self.looked
    }

    /// What the scan has cost so far: 1 for each posting and holder, and more for a compared name
    /// and for a hit.
    #[must_use]
    pub fn spent(&self) -> usize {
        self.judge.spent
    }

    /// Whether only a few entries have what the scan looks for.
    #[must_use]
    pub fn is_short(&self, index: &Index) -> bool {
        self.plan.lists.iter().flatten().all(|(place, _)| match place {
            Place::Key(key) => index.count(*key) <= SHORT_LIST,
            Place::Later => true,
            Place::All | Place::Buckets(..) | Place::Folders | Place::FoldersWith(_) => false,
        })
    }

    fn walk(&mut self, index: &Index, until: Until, hits: &mut Vec<SourceRecord>) -> Step {
        // Since the last step, another folder may have got the number of this folder.
        self.entered = false;
        self.judge.begin_step();
        while self.walked < self.plan.used {
            // The first walk of this list reports the paths that are equal byte for byte. The
            // second walk is for those that are equal only when folded, and is left out if the
            // first one has met none.
            let list =
                self.plan.lists[self.walked].filter(|(_, list)| self.judge.alike || *list != List::Own(Equal::Folded));
            let Some((place, list)) = list else {
                self.walked += 1;
                continue;
            };
            let next = self.next(index, place);
            if let Next::End = next {
                self.begin_list();
                if matches!(place, Place::Buckets(..)) && has_lost_order(index) {
                    return self.end(true);
                }
                continue;
            }
            if self.has_reached(until) {
                // No more hits may be reported, so this step only checked whether there are more.
                // It ends before this is known, so there may be more.
                return if self.left == 0 { self.end(true) } else { Step::More };
            }
            let (Next::Entry(id) | Next::Only(id)) = next else { continue };
            self.looked += 1;
            self.judge.spent += 1;
            if id != self.cursor {
                (self.cursor, self.holder) = (id, 0);
            }
            if let Some(next) = self.skip(index, id, list) {
                (self.cursor, self.holder) = (next, 0);
                continue;
            }
            let seen = index.seen(id);
            match seen.as_ref().map(|seen| (seen, self.judge.fit(seen, list))) {
                Some((_, Fit::Later)) if self.left > 0 => {
                    if self.later.len() < self.left {
                        self.later.push(id);
                    } else {
                        self.dropped = true;
                    }
                }
                Some((seen, Fit::Yes | Fit::Later)) => {
                    let all = self.judge.takes_all_holders();
                    while let Some(holder) = index.holder_of(seen, self.holder) {
                        let fits = !index.is_gone(holder.0) && (all || self.judge.fits_holder(seen, index, holder));
                        if self.left == 0 && fits {
                            return self.end(true);
                        }
                        if self.has_reached(until) {
                            return Step::More;
                        }
                        self.looked += 1;
                        self.judge.spent += 1;
                        self.holder = holder.0 + 1;
                        if fits {
                            self.left -= 1;
                            self.judge.spent += HIT_WORK;
                            if !all {
                                self.judge.on_reported(seen, holder);
                            }
                            add_hit(hits, seen, index, holder, self.judge.at);
                        }
                    }
                }
                Some((_, Fit::No)) | None => {}
            }
            if let Next::Only(_) = next {
                self.begin_list();
            } else {
                (self.cursor, self.holder) = (id + 1, 0);
            }
        }
        self.end(self.dropped || self.judge.has_left_out())
    }

    /// The next list begins.
    fn begin_list(&mut self) {
        self.walked += 1;
        (self.folder, self.entered, self.cursor, self.holder) = (0, false, 0, 0);
    }

    /// If this entry cannot fit, returns the next entry that can. An entry cannot fit if it is not
    /// in the list of the word `beside` of the plan, or if an earlier list contained it.
    fn skip(&mut self, index: &Index, id: u32, list: List) -> Option<u32> {
        if list == List::Folders
            && let Some(word) = self.plan.word
        {
            // Entries that also have the word in their name were in `List::Names`.
            self.judge.spent += 1;
            if index.has(word, id) {
                return Some(id + 1);
            }
        }
        let beside = self.plan.beside.filter(|_| matches!(list, List::Names | List::Folders))?;
        self.judge.spent += 1;
        // An id never reaches the greatest u32.
        let next = index.next(Some(beside), id).unwrap_or(u32::MAX);
        (next != id).then_some(next)
    }

    /// Whether the step ends. If it ends within the holders of an entry, the next step looks at
    /// that entry again. A step therefore looks at two things or more. With only one, the scan
    /// would make no progress.
    fn has_reached(&self, until: Until) -> bool {
        self.looked >= until.looked && self.judge.spent >= until.spent
    }

    /// What comes next in the list.
    fn next(&mut self, index: &Index, place: Place) -> Next {
        let entry = match place {
            Place::All => index.next(None, self.cursor),
            Place::Key(key) => match index.next_of_key(key, self.cursor) {
                Some((id, true)) => return Next::Only(id),
                found => found.map(|(id, _)| id),
            },
            Place::Buckets(bucket, last) => self.next_in_buckets(index, bucket, last),
            Place::Folders => return self.next_in_folders(index, None),
            Place::FoldersWith(word) => return self.next_in_folders(index, Some(word)),
            Place::Later => self.later.get(self.later.partition_point(|id| *id < self.cursor)).copied(),
        };
        entry.map_or(Next::End, Next::Entry)
    }

    /// The next entry among those of buckets. It is never inlined. Otherwise the compiler moves its
    /// reads out of the loop of `walk`, and every scan pays for them.
    #[inline(never)]
    fn next_in_buckets(&mut self, index: &Index, mut bucket: u16, last: u16) -> Option<u32> {
        loop {
            let id = index.next_of(bucket, self.cursor);
            if id.is_some() || bucket >= last {
                break id;
            }
            bucket += 1;
            (self.cursor, self.holder) = (0, 0);
            self.plan.lists[self.walked] = Some((Place::Buckets(bucket, last), List::Rest));
        }
    }

    /// The next entry among the files of folders. Each folder is tested once in a step.
    fn next_in_folders(&mut self, index: &Index, word: Option<Key>) -> Next {
        loop {
            if !self.entered {
                let Some(folder) = index.next_folder(word, self.folder) else { return Next::End };
                if folder != self.folder {
                    (self.folder, self.cursor, self.holder) = (folder, 0, 0);
                }
                if !self.judge.enters(folder, index.folder_text(folder)) {
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

    fn end(&mut self, capped: bool) -> Step {
        self.walked = self.plan.used;
        Step::End { capped }
    }
}

/// The index keeps its order for longer than a query can run. If the order is lost nevertheless, a
/// scan that needs it reports that there may be more hits.
#[cold]
#[inline(never)]
fn has_lost_order(index: &Index) -> bool {
    !index.is_ordered()
}

/// The literal parts of a glob; none if `pattern` is no glob.
pub(super) fn glob_literals(pattern: &str) -> Option<Vec<Literal>> {
    Glob::new(pattern).map(|glob| glob.literals()).ok()
}

#[cfg(test)]
mod languages;
#[cfg(test)]
mod tests;
