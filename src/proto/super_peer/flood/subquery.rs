//! One subquery, which is a QUERY to one neighbor (PROTOCOL.md 7.4): what the neighbor has answered
//! so far, and when the QUERY is repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::proto::super_peer::ids::LinkId;
use crate::time::Time;
use crate::wire::link::LinkDone;

/// Ranges of `have` in one repetition. They fit in a datagram with the longest pattern. HITs that
/// are not in these ranges are sent again.
const HAVE_RANGES_MAX: usize = 40;
/// After the first PENDING, the QUERY is repeated only after this many repetition timeouts.
const PATIENCE: u32 = 4;
/// Bounds of the wait while there is no answer: this part of the budget, so that a lossy link gets
/// many tries, and this many repetition timeouts. The lower bound counts.
const SILENT_TRIES: u32 = 16;
const SILENT_RTOS: u32 = 8;
/// The bounds of the wait after PENDING. If the budget is long, the second bound counts: on a lossy
/// path of ten hops a DONE may be lost at each hop, and each wait delays all super peers above.
const PENDING_TRIES: u32 = 8;
const PENDING_RTOS: u32 = 12;
/// The neighbor's DONE is due at most this many repetition timeouts before ours.
pub(super) const MARGIN: u32 = 4;
/// The neighbor's DONE is due at most this part of the remaining time before ours, so that a long
/// path does not use up the budget.
const MARGIN_PART: u32 = 8;

/// The numbers that came: all below `low`, and those in `above`.
#[derive(Debug, Default)]
struct Received {
    low: u32,
    above: BTreeSet<u32>,
}

impl Received {
    /// Whether the number is new.
    fn insert(&mut self, n: u32) -> bool {
        if n < self.low || !self.above.insert(n) {
            return false;
        }
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        true
    }

    fn holds_all_below(&self, end: u32) -> bool {
        self.low >= end
    }

    fn ranges(&self, most: usize) -> Vec<(u32, u32)> {
        let mut ranges = Vec::new();
        if self.low > 0 {
            ranges.push((0, self.low));
        }
        for n in &self.above {
            let full = ranges.len() == most;
            match ranges.last_mut() {
                Some((_, end)) if *end == *n => *end += 1,
                _ if full => break,
                _ => ranges.push((*n, *n + 1)),
            }
        }
        ranges
    }
}

/// When a neighbor's DONE is due, if ours is due at `deadline`: a round trip and a repetition
/// earlier.
pub(super) fn child_deadline(now: Time, deadline: Time, rto: Duration) -> Time {
    let left = deadline.since(now);
    deadline - (rto * MARGIN).min(left / MARGIN_PART)
}

/// The state of one subquery. It is open until its outcome is known.
#[derive(Debug)]
pub(super) struct Subquery {
    pub(super) link: LinkId,
    /// The `life` of the link at the time when the QUERY was sent.
    life: u32,
    pub(super) open: bool,
    /// Whether any answer came: PENDING, a HIT, or a DONE whose HITs are not complete.
    pub(super) heard: bool,
    /// The neighbor's DONE, while some of the HITs that it counts are missing.
    pub(super) done: Option<LinkDone>,
    /// Whether the neighbor sent, or counts, more HITs than it may.
    pub(super) capped: bool,
    /// Whether the neighbor said PENDING.
    pending: bool,
    /// Of a search by root: its hits that were passed on at once.
    pub(super) passed_on: usize,
    received: Received,
    /// HITs that the neighbor may send.
    cap: u32,
    sent: Time,
    wait: Duration,
    repeat_at: Time,
}

/// What a HIT that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HitIs {
    New,
    Known,
    AboveCap,
}

impl Subquery {
    /// A QUERY that is sent now, with the present `life` of the link.
    pub(super) fn new(now: Time, (link, life): (LinkId, u32), rto: Duration, hits_max: usize) -> Subquery {
        Subquery {
            link,
            life,
            open: true,
            heard: false,
            done: None,
            capped: false,
            pending: false,
            passed_on: 0,
            received: Received::default(),
            cap: u32::try_from(hits_max).unwrap_or(u32::MAX),
            sent: now,
            wait: rto,
            repeat_at: now + rto,
        }
    }

    /// Whether an answer that comes with this `life` of the link may answer this QUERY. After the
    /// link was lost, the neighbor numbers its HITs again.
    pub(super) fn may_hear(&self, link: LinkId, life: u32) -> bool {
        self.open && self.link == link && self.life == life
    }

    /// Whether the link was lost after this QUERY was sent.
    pub(super) fn is_lost(&self, life: u32) -> bool {
        self.open && self.life != life
    }

    /// When the QUERY is to be repeated.
    pub(super) fn repeat_at(&self) -> Time {
        self.repeat_at
    }

    /// The numbers of the HITs that came, for `have` of a repetition.
    pub(super) fn have(&self) -> Vec<(u32, u32)> {
        self.received.ranges(HAVE_RANGES_MAX)
    }

    /// Whether the DONE came, and all HITs that it counts.
    pub(super) fn is_complete(&self) -> bool {
        self.done.is_some_and(|done| self.received.holds_all_below(done.hits.min(self.cap)))
    }

    /// A HIT with this number came.
    pub(super) fn on_hit(&mut self, n: u32) -> HitIs {
        self.heard = true;
        if n >= self.cap {
            self.capped = true;
            return HitIs::AboveCap;
        }
        if self.received.insert(n) { HitIs::New } else { HitIs::Known }
    }

    /// A PENDING came.
    pub(super) fn on_pending(&mut self, now: Time, rto: Duration) {
        if !self.pending && self.done.is_none() {
            self.wait = rto * PATIENCE;
            self.repeat_at = self.repeat_at.max(now + self.wait);
        }
        self.pending = true;
        self.heard = true;
    }

    /// A DONE came. Missing HITs are requested soon, but not at once: they may only be out of
    /// order.
    pub(super) fn on_done(&mut self, now: Time, done: LinkDone, rto: Duration) {
        self.heard = true;
        self.capped |= done.hits > self.cap;
        if self.done.is_none() {
            self.done = Some(done);
            self.wait = rto / 2;
            self.repeat_at = now + self.wait;
        } else {
            // This DONE answers a repetition. Its HITs came or are lost, so the next repetition
            // need not wait long.
            self.wait = rto;
            self.repeat_at = now + rto / 2;
        }
    }

    /// The QUERY was repeated: the next repetition waits longer. `deadline` is when our own DONE is
    /// due.
    pub(super) fn on_repeated(&mut self, now: Time, rto: Duration, deadline: Time) {
        let due = child_deadline(self.sent, deadline, rto);
        let budget = deadline.since(self.sent);
        let longest = match (&self.done, self.pending) {
            (Some(_), _) => rto,
            (None, true) => (budget / PENDING_TRIES).min(rto * PENDING_RTOS),
            (None, false) => (budget / SILENT_TRIES).min(rto * SILENT_RTOS),
        };
        self.wait = (self.wait * 2).min(longest.max(rto));
        self.repeat_at = now + self.wait;
        if now < due {
            self.repeat_at = self.repeat_at.min(due + rto);
        } else {
            self.repeat_at = now + rto;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QUERY_HITS_MAX;
    use crate::wire::QueryId;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn done(hits: u32) -> LinkDone {
        LinkDone { hits, reached: 1, ..LinkDone::empty(QueryId([0; 16]), 0) }
    }

    #[test]
    fn a_subquery_is_complete_only_with_every_number() {
        let mut subquery = Subquery::new(Time::ZERO, (LinkId(0), 0), ms(20), QUERY_HITS_MAX);
        assert_eq!(subquery.on_hit(2), HitIs::New);
        assert_eq!(subquery.on_hit(2), HitIs::Known);
        subquery.on_done(Time::ZERO, done(3), ms(20));
        assert!(!subquery.is_complete());
        assert_eq!(subquery.on_hit(0), HitIs::New);
        assert_eq!(subquery.have(), [(0, 1), (2, 3)]);
        assert_eq!(subquery.on_hit(1), HitIs::New);
        assert!(subquery.is_complete());
        assert_eq!(subquery.have(), [(0, 3)]);
    }

    #[test]
    fn what_is_held_fits_a_datagram() {
        let mut subquery = Subquery::new(Time::ZERO, (LinkId(0), 0), ms(20), QUERY_HITS_MAX);
        for n in (0..900).step_by(2) {
            subquery.on_hit(n);
        }
        assert_eq!(subquery.have().len(), HAVE_RANGES_MAX);
    }

    #[test]
    fn a_neighbor_that_counts_too_much_is_cut_off() {
        let mut subquery = Subquery::new(Time::ZERO, (LinkId(0), 0), ms(20), QUERY_HITS_MAX);
        assert_eq!(subquery.on_hit(u32::MAX), HitIs::AboveCap);
        for n in 0..subquery.cap {
            subquery.on_hit(n);
        }
        subquery.on_done(Time::ZERO, done(u32::MAX), ms(20));
        assert!(subquery.is_complete() && subquery.capped);
    }

    #[test]
    fn silence_is_met_with_many_tries_and_pending_with_few() {
        let deadline = Time::ZERO + ms(2000);
        let tries = |pending: bool| {
            let mut subquery = Subquery::new(Time::ZERO, (LinkId(0), 0), ms(20), QUERY_HITS_MAX);
            if pending {
                subquery.on_pending(Time::ZERO, ms(20));
            }
            let mut tries = 0;
            while subquery.repeat_at() < Time::ZERO + ms(1900) {
                subquery.on_repeated(subquery.repeat_at(), ms(20), deadline);
                tries += 1;
            }
            tries
        };
        assert!(tries(false) >= 15, "{}", tries(false));
        assert!((4..=10).contains(&tries(true)), "{}", tries(true));
    }

    #[test]
    fn a_repetition_falls_between_the_neighbors_deadline_and_ours() {
        let deadline = Time::ZERO + ms(10_000);
        let due = child_deadline(Time::ZERO, deadline, ms(20));
        assert_eq!(due, Time::ZERO + ms(9920));
        let mut subquery = Subquery::new(Time::ZERO, (LinkId(0), 0), ms(20), QUERY_HITS_MAX);
        subquery.on_pending(Time::ZERO, ms(20));
        while subquery.repeat_at() < due {
            subquery.on_repeated(subquery.repeat_at(), ms(20), deadline);
        }
        assert!(subquery.repeat_at() <= due + ms(20));
    }
}
