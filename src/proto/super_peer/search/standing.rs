//! A standing search. It looks at one file at a time, when the file comes into the index, and knows
//! no lists. Whether a file fits does not depend on other files, so a standing search finds the
//! files that a scan finds.

use std::net::IpAddr;

use super::fit::{Fit, Judge, hit, text_work};
use super::matching::{BadPattern, Own, Test, test_of};
use super::plan::List;
use crate::proto::super_peer::index::{HolderId, Index};
use crate::wire::Search;
use crate::wire::message::SourceRecord;

/// The most bytes of a parsed pattern in addition to its text, rounded up.
const PARSED_BYTES: usize = 4096;

/// Compares files with one search when they come.
#[derive(Debug)]
pub struct StandingSearch {
    judge: Judge,
    /// The pattern as the end of a path, for the kinds of search that find it.
    own: Option<Own>,
    folded: String,
}

impl StandingSearch {
    /// A standing search.
    ///
    /// # Errors
    /// As for a scan.
    pub fn new(find: Search) -> Result<StandingSearch, BadPattern> {
        let within = Judge::range_of(&find)?;
        let test = test_of(&find)?;
        let own = match test {
            Test::Path | Test::Words(_) | Test::Glob(..) | Test::Root(..) => Own::new(&find.pattern),
            Test::Exact | Test::Range(_) | Test::Below(_) => None,
        };
        let judge = Judge::new(find, (test, within), None, String::new());
        Ok(StandingSearch { judge, own, folded: String::new() })
    }

    /// What it looks for.
    #[must_use]
    pub fn find(&self) -> &Search {
        &self.judge.find
    }

    /// Bytes of memory, rounded up.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<StandingSearch>() + self.judge.find.pattern.len() * 4 + PARSED_BYTES
    }

    /// Whether an entry that has come to this holder fits. The entry and the holder may be gone by
    /// now.
    pub fn fits(&mut self, index: &Index, id: u32, holder: u32) -> bool {
        self.judge.begin_step();
        self.judge.spent += 1;
        let holder = HolderId(holder);
        let Some(seen) = &index.seen(id).filter(|_| index.is_held_by(id, holder)) else { return false };
        let is_own = |own: &Own, folded: &mut String| {
            let pattern = &self.judge.find.pattern;
            own.is_same(pattern, seen) || own.is_alike(pattern, seen, folded)
        };
        let compared = if self.own.is_some() { text_work(seen.name) } else { 0 };
        self.judge.spent += compared;
        let is_own = self.own.as_ref().is_some_and(|own| is_own(own, &mut self.folded));
        // A pattern without a word finds only paths that end in it.
        let has_words = !matches!(&self.judge.test, Test::Words(words) if words.len() == 0);
        let fits = match is_own {
            true => self.judge.may_fit(seen),
            false => has_words && self.judge.fit(seen, List::Rest) != Fit::No,
        };
        fits && self.judge.fits_holder(seen, index, holder)
    }

    /// The cost of all calls since this was last called.
    pub fn take_spent(&mut self) -> usize {
        std::mem::take(&mut self.judge.spent)
    }

    /// The hit of an entry at a holder, for an asker that reaches this super peer at `at`.
    #[must_use]
    pub fn hit(&self, index: &Index, (id, holder): (u32, u32), at: Option<IpAddr>) -> Option<SourceRecord> {
        let holder = HolderId(holder);
        index.seen(id).filter(|_| index.is_held_by(id, holder)).map(|seen| hit(&seen, index, holder, at))
    }
}
