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

/// A phrase that says how far a search went, and what helps, for the message that nothing was
/// found.
pub(super) fn reservation(complete: bool, cut: Cut) -> String {
    let Cut { ttl, loss, budget, down, cap, shed, stale, starting } = cut;
    let why = match complete {
        true => return String::new(),
        false if starting > 0 => {
            " (a super peer has just restarted and waits for its peers; try again in half a minute)"
        }
        false if loss > 0 || budget > 0 || shed > 0 => " (not every super peer answered in time; try again)",
        false if down > 0 => " (a super peer is not connected; try again in a few seconds)",
        false if ttl > 0 => " (it did not reach the super peers beyond its ttl)",
        false if cap > 0 || stale > 0 => " (a super peer did not pass it on; try again in a few seconds)",
        false => "",
    };
    format!(", as far as the search went{why}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_was_cut_says_why_and_what_helps() {
        assert_eq!(reservation(true, Cut::NONE), "");
        assert_eq!(reservation(false, Cut::NONE), ", as far as the search went");
        let starting = reservation(false, Cut { starting: 1, down: 1, ..Cut::NONE });
        assert!(starting.contains("just restarted") && starting.contains("half a minute"), "{starting}");
        assert!(reservation(false, Cut { ttl: 1, ..Cut::NONE }).contains("ttl"));
    }
}
