//! One ordered set of deadlines, keyed by the reason of each. It has no clock and never calls back:
//! its owner takes out the deadlines that have expired.
//!
//! A reason has at most one deadline. Idle deadlines are lazy: a message only notes its time. When
//! the deadline expires, its owner reads this note and sets the deadline again.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Deadlines by reason. `R` is an enum of the reasons.
#[derive(Debug)]
pub struct Timers<R> {
    order: BTreeSet<(Time, R)>,
    at: BTreeMap<R, Time>,
}

impl<R: Ord + Copy> Default for Timers<R> {
    fn default() -> Timers<R> {
        Timers::new()
    }
}

impl<R: Ord + Copy> Timers<R> {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Timers<R> {
        Timers { order: BTreeSet::new(), at: BTreeMap::new() }
    }

    /// Sets the deadline of this reason. It replaces an earlier setting.
    pub fn set(&mut self, reason: R, time: Time) {
        if let Some(before) = self.at.insert(reason, time) {
            if before == time {
                return;
            }
            self.order.remove(&(before, reason));
        }
        self.order.insert((time, reason));
    }

    /// Sets the deadline of this reason unless an earlier time is set.
    pub fn set_earlier(&mut self, reason: R, time: Time) {
        if self.at.get(&reason).is_none_or(|before| time < *before) {
            self.set(reason, time);
        }
    }

    /// Removes the deadline of this reason, if there is one.
    pub fn stop(&mut self, reason: R) {
        if let Some(before) = self.at.remove(&reason) {
            self.order.remove(&(before, reason));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Removes the earliest deadline that is not after `now`. Returns its reason.
    pub fn expire(&mut self, now: Time) -> Option<R> {
        let (time, reason) = *self.order.first()?;
        if time > now {
            return None;
        }
        self.stop(reason);
        Some(reason)
    }

    /// The number of deadlines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Checks that both maps hold the same deadlines.
    ///
    /// # Panics
    /// If they do not.
    pub fn check_invariants(&self) {
        assert_eq!(self.order.len(), self.at.len());
        assert!(self.at.iter().all(|(reason, time)| self.order.contains(&(*time, *reason))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn deadlines_expire_in_order_and_once() {
        let mut timers = Timers::new();
        timers.set('b', at(2));
        timers.set('a', at(1));
        timers.set('c', at(9));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.expire(at(5)), Some('a'));
        assert_eq!(timers.expire(at(5)), Some('b'));
        assert_eq!(timers.expire(at(5)), None);
        assert_eq!((timers.len(), timers.next()), (1, Some(at(9))));
        timers.check_invariants();
    }

    #[test]
    fn a_reason_has_one_deadline() {
        let mut timers = Timers::new();
        timers.set('a', at(1));
        timers.set('a', at(7));
        timers.set_earlier('a', at(9));
        assert_eq!((timers.len(), timers.next()), (1, Some(at(7))));
        timers.set_earlier('a', at(3));
        assert_eq!(timers.next(), Some(at(3)));
        timers.stop('a');
        assert!(timers.is_empty());
        timers.check_invariants();
    }
}
