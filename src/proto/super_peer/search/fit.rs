//! Whether an entry is a hit. It looks at one entry at a time and knows no lists.

use std::net::IpAddr;

use super::matching::{BadPattern, Equal, Own, Test, parse_range};
use super::plan::List;
use crate::config::{PATTERN_BYTES_MAX, ROOT_HITS_PER_HOLDER};
use crate::fold::fold;
use crate::proto::super_peer::index::{Found, HolderId, Index, LiveEntry};
use crate::wire::message::SourceRecord;
use crate::wire::position::{Position, Range};
use crate::wire::{Search, SharePath};

/// The cost of comparing the name of an entry or computing its position, in the unit of
/// `WORK_PER_TURN`. It is added to the cost of looking at the entry.
pub(super) const TEXT_WORK: usize = 11;
/// Folding this many bytes of text that is not ASCII costs as much as looking at an entry.
pub(super) const FOLDED_BYTES: usize = 2;
/// This many comparisons of a glob cost as much as looking at an entry.
const GLOB_STEPS: usize = 16;

/// Whether an entry is a hit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    No,
    Yes,
    /// The entry is a hit, but entries whose name has all words go first.
    Later,
}

/// Compares entries with one search.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) find: Search,
    pub(super) test: Test,
    /// The pattern as the end of a path. None if no entry has the name at its end, or if this kind
    /// of search does not report such paths first.
    pub(super) own: Option<Box<Own>>,
    /// Whether an entry was found that equals `own` only when both are folded.
    pub(super) alike: bool,
    /// Where the asker, or its link, reaches this super peer.
    pub(super) at: Option<IpAddr>,
    /// If set, only hits whose position is in this range are reported.
    pub(super) within: Option<Box<Range>>,
    /// The last folder that was compared in this step, and the result: the bits of its words, or 1
    /// for `below`. So a folder is not compared again for each of its files.
    memo: (Option<u32>, u128),
    /// What the search cost so far, in the unit of `WORK_PER_TURN`.
    pub(super) spent: usize,
    /// Reused for folded texts.
    scratch: String,
}

impl Judge {
    /// `test` comes from [`test_of`](super::matching::test_of), `within` from
    /// [`range_of`](Judge::range_of), and `own` from [`super::plan::Plan::of`]. `scratch` is only
    /// memory.
    #[inline]
    pub(super) fn new(
        find: Search,
        (test, within): (Test, Option<Box<Range>>),
        own: Option<Box<Own>>,
        scratch: String,
    ) -> Judge {
        let memo = (None, 0);
        Judge { find, test, own, alike: false, at: None, within, memo, spent: 0, scratch }
    }

    /// Checks the bounds of a search, and reads the range of the position.
    #[inline(always)]
    pub(super) fn range_of(find: &Search) -> Result<Option<Box<Range>>, BadPattern> {
        let pattern = &find.pattern;
        if !(1..=PATTERN_BYTES_MAX).contains(&pattern.len()) {
            return Err(BadPattern(format!(
                "a pattern has 1 to {PATTERN_BYTES_MAX} bytes, this one {}",
                pattern.len()
            )));
        }
        if let (Some(min), Some(max)) = (find.min, find.max)
            && min > max
        {
            return Err(BadPattern(format!("no size is at least {min} and at most {max} bytes")));
        }
        Ok(find.within.as_deref().map(parse_range).transpose()?.map(Box::new))
    }

    /// A step begins. Since the last step, the number of a folder may have passed to another
    /// folder.
    pub(super) fn begin_step(&mut self) {
        self.memo.0 = None;
    }

    /// Whether files of this folder may fit.
    pub(super) fn enters(&mut self, folder: u32, text: &str) -> bool {
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
            Test::Exact | Test::Path | Test::Glob(..) | Test::Root(..) | Test::Range(_) => (0, false),
        };
        self.memo = (Some(folder), found);
        enters
    }

    /// Whether the size and the position of the entry are within the bounds of the search.
    #[inline(always)]
    pub(super) fn may_fit(&self, seen: &LiveEntry<'_>) -> bool {
        self.find.min.is_none_or(|min| seen.size >= min)
            && self.find.max.is_none_or(|max| seen.size <= max)
            && self.within.as_ref().is_none_or(|within| within.may_hold(seen.root))
    }

    #[inline(always)]
    pub(super) fn fit(&mut self, seen: &LiveEntry<'_>, list: List) -> Fit {
        if !self.may_fit(seen) {
            return Fit::No;
        }
        if let List::Own(equal) = list {
            let is_root = matches!(&self.test, Test::Root(root, _) if *root == *seen.root);
            let equals = self.equals(seen);
            self.alike |= equals == Some(Equal::Folded);
            return yes(equals == Some(equal) && !is_root);
        }
        let fit = match &self.test {
            Test::Exact => yes(seen.name == self.find.pattern),
            Test::Path => Fit::No,
            Test::Words(_) => self.fit_words(seen, list),
            Test::Glob(..) => yes(self.fits_glob(seen)),
            Test::Root(root, _) => yes(*seen.root == *root),
            Test::Range(range) => yes(range.may_hold(seen.root)),
            Test::Below(_) => yes(self.folder_bits(seen) != 0),
        };
        // An entry that the first lists reported is not reported again.
        let again = fit != Fit::No && !matches!(self.test, Test::Root(..)) && self.equals(seen).is_some();
        if again { Fit::No } else { fit }
    }

    /// How the path is the pattern, or ends in it.
    #[inline(always)]
    fn equals(&mut self, seen: &LiveEntry<'_>) -> Option<Equal> {
        if self.own.is_some() { self.equals_own(seen) } else { None }
    }

    fn equals_own(&mut self, seen: &LiveEntry<'_>) -> Option<Equal> {
        let own = self.own.as_ref()?;
        if own.is_same(&self.find.pattern, seen) {
            return Some(Equal::Bytes);
        }
        self.spent += text_work(seen.name) + if own.has_folder() { text_work(seen.folder_text) } else { 0 };
        own.is_alike(&self.find.pattern, seen, &mut self.scratch).then_some(Equal::Folded)
    }

    fn fit_words(&mut self, seen: &LiveEntry<'_>, list: List) -> Fit {
        let Test::Words(words) = &self.test else { return Fit::No };
        // The first list has reported this entry. Without this check it would be reported here
        // again.
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
            // In the other lists no entry has all words in its name, so no entry must go first.
            true if list == List::Names => Fit::Later,
            true => Fit::Yes,
            false => Fit::No,
        }
    }

    /// The result for the folder of an entry: the bits of the words in it. For `below`: 1 if it is
    /// the requested folder or lies below it.
    fn folder_bits(&mut self, seen: &LiveEntry<'_>) -> u128 {
        if self.memo.0 != Some(seen.folder) {
            self.spent += text_work(seen.folder_text);
            let bits = match &self.test {
                Test::Words(words) => words.in_text(seen.folder_text, &mut self.scratch),
                Test::Below(below) => u128::from(below.holds(seen.folder_text, &mut self.scratch)),
                Test::Exact | Test::Path | Test::Glob(..) | Test::Root(..) | Test::Range(_) => 0,
            };
            self.memo = (Some(seen.folder), bits);
        }
        self.memo.1
    }

    fn fits_glob(&mut self, seen: &LiveEntry<'_>) -> bool {
        let Test::Glob(glob, path) = &mut self.test else { return false };
        let text = match path {
            Some(path) => {
                path.clear();
                seen.path_into(path);
                path.as_str()
            }
            None => seen.name,
        };
        let mut steps = 0;
        let fits = glob.fits(fold(text, &mut self.scratch), &mut steps);
        self.spent += text_work(text) + steps / GLOB_STEPS;
        fits
    }

    /// Whether every holder of an entry that fits is a hit. Holders differ only in their account,
    /// for a range in their position, and for a root in the hits that were reported of them.
    #[inline]
    pub(super) fn takes_all_holders(&self) -> bool {
        self.find.user.is_none() && self.within.is_none() && !matches!(self.test, Test::Range(_) | Test::Root(..))
    }

    /// A hit is reported. The caller need not report it if the search takes all holders.
    #[inline(never)]
    pub(super) fn on_reported(&mut self, seen: &LiveEntry<'_>, holder: HolderId) {
        if let Test::Root(root, reported) = &mut self.test {
            *reported.hits.entry((holder, *root == *seen.root)).or_default() += 1;
        }
    }

    /// Whether files that do not have the root were left out of a search by root.
    pub(super) fn has_left_out(&self) -> bool {
        matches!(&self.test, Test::Root(_, reported) if reported.left_out)
    }

    /// Whether a search by root has reported enough hits of this holder. Pages together report all
    /// hits.
    fn has_enough_of(&mut self, seen: &LiveEntry<'_>, holder: HolderId) -> bool {
        let Test::Root(root, reported) = &mut self.test else { return false };
        let is_content = *root == *seen.root;
        let count = reported.hits.get(&(holder, is_content)).copied().unwrap_or(0);
        let enough = self.within.is_none() && count >= ROOT_HITS_PER_HOLDER;
        reported.left_out |= enough && !is_content;
        enough
    }

    /// Whether this holder of an entry that fits is a hit.
    pub(super) fn fits_holder(&mut self, seen: &LiveEntry<'_>, index: &Index, holder: HolderId) -> bool {
        if self.find.user.as_ref().is_some_and(|user| index.user_of(holder) != Some(user.as_str())) {
            return false;
        }
        if self.has_enough_of(seen, holder) {
            return false;
        }
        let range = match &self.test {
            Test::Range(range) => Some(range),
            Test::Exact | Test::Path | Test::Words(_) | Test::Glob(..) | Test::Root(..) | Test::Below(_) => None,
        };
        let mut position = None;
        for range in range.into_iter().chain(&self.within).filter(|range| !range.holds_all_of(seen.root)) {
            let position = *position.get_or_insert_with(|| {
                self.spent += TEXT_WORK;
                // Only few entries lie at the ends of the range, so this is rare.
                let mut path = String::new();
                seen.path_into(&mut path);
                Position::of(seen.root, &path, &index.serves(holder).found_from(self.at).addr)
            });
            if !range.holds(&position) {
                return false;
            }
        }
        true
    }
}

/// Adds the hit of an entry at a holder to a list. Never inline: a hit is large, and in the loop of
/// a scan it would take the registers.
#[inline(never)]
pub(super) fn add_hit(
    hits: &mut Vec<SourceRecord>,
    seen: &LiveEntry<'_>,
    index: &Index,
    holder: HolderId,
    at: Option<IpAddr>,
) {
    let hit = hit(seen, index, holder, at);
    // Most searches have one hit: a list of one is made with less work than a list that grows, and
    // takes less memory. The list that it replaces owns nothing, so nothing is to be dropped.
    if hits.capacity() == 0 {
        std::mem::forget(std::mem::replace(hits, vec![hit]));
    } else {
        hits.push(hit);
    }
}

/// The hit of an entry at a holder, for an asker that reaches this super peer at `at`.
#[inline(always)]
pub(super) fn hit(seen: &LiveEntry<'_>, index: &Index, holder: HolderId, at: Option<IpAddr>) -> SourceRecord {
    let serves = index.serves(holder);
    let Found { addr, other, out_of_reach } = serves.found_from(at);
    SourceRecord {
        path: SharePath::joined(seen.folder_text, seen.name),
        size: seen.size,
        root: *seen.root,
        collection: seen.collection,
        node: Some(index.node(holder)),
        addr,
        other,
        unreached: out_of_reach || index.is_unreached(holder),
        http: serves.http,
        member: None,
    }
}

fn yes(fits: bool) -> Fit {
    if fits { Fit::Yes } else { Fit::No }
}

/// What folding and comparing a text costs.
pub(super) fn text_work(text: &str) -> usize {
    TEXT_WORK + if text.is_ascii() { 0 } else { text.len() / FOLDED_BYTES }
}
