//! A search page by page: the range of positions of the next query, and the hits of the current
//! page. It owns these and the cuts so far. It sends nothing and does not know what the hits are
//! for.
//!
//! A page is a query for everything between two positions. If a cap cut its hits, the page is
//! requested again with half its length. If not, the next page begins where this page ends. So each
//! hit lies in a page that no cap cut, and no super peer has to keep an order. A file that stays
//! registered during the search is found exactly once.

use std::collections::BTreeMap;

use super::answer::{Answer, largest};
use crate::config::{LIST_PAGES_MAX, QUERY_HITS_MAX};
use crate::wire::Cut;
use crate::wire::message::SourceRecord;
use crate::wire::position::{Position, Range};

/// The number of hits that a page should have. It is well below every cap, so that few pages must
/// be requested twice.
const PAGE_HITS: u64 = QUERY_HITS_MAX as u64 * 6 / 10;
/// A page with fewer hits is not halved, even if its answer reports a cap: only a super peer that
/// lies or is full caps so early.
const PAGE_HITS_MIN: usize = 16;

/// A running search in pages.
#[derive(Debug)]
pub(super) struct Pages {
    range: Range,
    pub(super) pages: u64,
    /// The hits of the current page.
    page: BTreeMap<Position, SourceRecord>,
    /// The number of hits in all earlier pages.
    pub(super) hits: u64,
    reached: Option<u32>,
    complete: bool,
    cut: Cut,
}

/// What the answer to a page means.
#[derive(Debug)]
pub(super) enum Page {
    /// The page is requested again with a shorter range.
    Again,
    /// The page is complete: its hits in the order of their positions, and where the next page
    /// begins; none if the search is over.
    Over(Vec<SourceRecord>, Option<Position>),
}

impl Pages {
    pub(super) fn new() -> Pages {
        Pages {
            range: Range { low: Position::FIRST, high: None },
            pages: 0,
            page: BTreeMap::new(),
            hits: 0,
            reached: None,
            complete: true,
            cut: Cut::NONE,
        }
    }

    /// The answer to the complete search: the smallest reach of all pages, whether every page was
    /// complete, and the largest count of each cut.
    pub(super) fn answer(&self) -> Answer {
        Answer { reached: self.reached.unwrap_or(0), pruned: 0, complete: self.complete, cut: self.cut }
    }

    /// The positions of the current page.
    pub(super) fn range(&self) -> Range {
        self.range
    }

    /// Takes hits that lie in the current page, and ignores all others.
    pub(super) fn on_hits(&mut self, hits: Vec<SourceRecord>) {
        for hit in hits {
            let position = Position::of(&hit.root, hit.path.as_str(), &hit.addr);
            if self.range.holds(&position) && self.page.len() < 2 * QUERY_HITS_MAX {
                self.page.insert(position, hit);
            }
        }
    }

    /// The answer to the page has come.
    pub(super) fn on_done(&mut self, answer: Answer) -> Page {
        self.pages += 1;
        let spent = self.pages >= LIST_PAGES_MAX;
        if answer.cut.cap > 0 && self.page.len() >= PAGE_HITS_MIN && !spent {
            self.range.high = self.page.keys().nth(self.page.len() / 2).copied();
            self.page.clear();
            return Page::Again;
        }
        self.complete &= answer.complete && answer.cut.is_none();
        self.reached = Some(self.reached.map_or(answer.reached, |reached| reached.min(answer.reached)));
        self.cut = largest(self.cut, answer.cut);
        let Range { low, high } = self.range;
        let hits = self.page.len() as u64;
        self.hits += hits;
        let page = std::mem::take(&mut self.page).into_values().collect();
        let next = high.filter(|_| !spent);
        if let (Some(_), None) = (high, next) {
            self.complete = false;
            self.cut.add(Cut { cap: 1, ..Cut::NONE });
        }
        if let Some(next) = next {
            let length = next.minus(low);
            let length = if hits == 0 { length.scaled(1 << 32, 1) } else { length.scaled(PAGE_HITS, hits) };
            self.range = Range { low: next, high: length.and_then(|length| next.plus(length)) };
        }
        Page::Over(page, next)
    }

    /// The current page must be requested again.
    pub(super) fn on_lost(&mut self) {
        self.page.clear();
    }
}
