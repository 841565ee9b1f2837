//! When the name of a neighbor is resolved: at the start, and again with backoff while its link is
//! not up. It does not resolve the name itself.

use std::time::Duration;

use crate::config::{LINK_RESOLVE_FIRST, LINK_RESOLVE_MAX};
use crate::time::Time;

/// The lookups of one name. A literal address needs none.
#[derive(Debug)]
pub(super) struct Lookup {
    is_literal: bool,
    /// When the name is to be resolved again; none while an answer is awaited.
    due: Option<Time>,
    asked: bool,
    wait: Duration,
    /// Why the last lookup failed.
    failed: Option<String>,
}

impl Lookup {
    pub(super) fn new(is_literal: bool) -> Lookup {
        let due = (!is_literal).then_some(Time::ZERO);
        Lookup { is_literal, due, asked: false, wait: LINK_RESOLVE_FIRST, failed: None }
    }

    /// The link went down: the address of the neighbor may have changed.
    pub(super) fn begin(&mut self, now: Time) {
        if !self.is_literal && !self.asked {
            (self.due, self.wait) = (Some(now), LINK_RESOLVE_FIRST);
        }
    }

    /// When the next lookup is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.due
    }

    /// Whether a lookup is due now; it counts as begun.
    pub(super) fn take_due(&mut self, now: Time) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            (self.due, self.asked) = (None, true);
        }
        is_due
    }

    /// The answer came. Returns whether this is the first failure since the name last resolved.
    pub(super) fn on_answer(&mut self, now: Time, failed: Option<String>) -> bool {
        self.asked = false;
        self.due = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LINK_RESOLVE_MAX);
        let is_new = failed.is_some() && self.failed.is_none();
        self.failed = failed;
        is_new
    }

    /// Why the last lookup failed.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_resolved_again_later_and_later() {
        let mut lookup = Lookup::new(false);
        let mut now = Time::from_micros(7);
        assert!(lookup.take_due(now) && !lookup.take_due(now));
        assert!(lookup.on_answer(now, Some("no".into())));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = lookup.next().unwrap();
            waits.push(next.since(now));
            now = next;
            assert!(lookup.take_due(now));
            assert!(!lookup.on_answer(now, Some("no".into())), "it was said once");
        }
        assert_eq!((waits[0], waits[7]), (LINK_RESOLVE_FIRST, LINK_RESOLVE_MAX));
        lookup.begin(now);
        assert!(lookup.take_due(now), "a link that goes down resolves at once");
        assert_eq!(Lookup::new(true).next(), None);
    }
}
