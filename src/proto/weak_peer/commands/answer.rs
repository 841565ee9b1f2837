//! The answer of one or several super peers to a search. It adds answers up; it sends no request.

use crate::wire::Cut;
use crate::wire::message::Done;

/// What the super peers answered to a search, in addition to the hits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) reached: u32,
    pub(super) pruned: u32,
    pub(super) complete: bool,
    pub(super) cut: Cut,
}

impl Answer {
    /// The answer before any super peer has answered. `down` is how many sessions are not up that
    /// should be.
    pub(super) fn none_yet(down: u32) -> Answer {
        Answer { reached: 0, pruned: 0, complete: down == 0, cut: Cut { down, ..Cut::NONE } }
    }

    /// The answer to use in place of one that did not come.
    pub(super) fn cut(cut: Cut) -> Answer {
        Answer { reached: 0, pruned: 0, complete: false, cut }
    }

    /// Adds the answer of another super peer to the same search. Both searches reach the same super
    /// peers, so each count is the larger one (PROTOCOL.md, "Sessions with two super peers").
    pub(super) fn add(&mut self, other: Answer) {
        self.reached = self.reached.max(other.reached);
        self.pruned = self.pruned.max(other.pruned);
        self.complete &= other.complete;
        self.cut = largest(self.cut, other.cut);
    }
}

impl From<&Done> for Answer {
    fn from(done: &Done) -> Answer {
        Answer { reached: done.reached, pruned: done.pruned, complete: done.complete, cut: done.cut }
    }
}

/// A phrase that says how far a search went, for the message that nothing was found.
pub(super) fn reservation(complete: bool) -> &'static str {
    if complete { "" } else { ", as far as the search went" }
}

/// The larger of the two counts, for each reason.
pub(super) fn largest(a: Cut, b: Cut) -> Cut {
    Cut {
        ttl: a.ttl.max(b.ttl),
        loss: a.loss.max(b.loss),
        budget: a.budget.max(b.budget),
        down: a.down.max(b.down),
        cap: a.cap.max(b.cap),
        shed: a.shed.max(b.shed),
        stale: a.stale.max(b.stale),
        starting: a.starting.max(b.starting),
    }
}
