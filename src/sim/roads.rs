//! The paths between nodes: which of them are cut, and which are clogged. It does not know what
//! they carry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Time;

/// The longest wait in the queue of a clogged path. Datagrams that would wait longer are dropped.
const CLOG_MAX: Duration = Duration::from_millis(400);

/// What a path does to a datagram or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    /// It waits in a queue for this long.
    Clogged(Duration),
    /// The queue is full.
    Full,
    Cut,
}

/// All paths that are not free, by direction.
#[derive(Debug, Default)]
pub(super) struct Roads {
    cut: BTreeSet<(usize, usize)>,
    /// How long the path needs for one item, and until when it is busy.
    clogged: BTreeMap<(usize, usize), (Duration, Time)>,
}

impl Roads {
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        !self.cut.is_empty() && self.cut.contains(&(from, to))
    }

    pub(super) fn set_cut(&mut self, cut: BTreeSet<(usize, usize)>) {
        self.cut = cut;
    }

    /// From now on each of these paths needs this time for each item.
    pub(super) fn set_clogged(&mut self, ways: &[(usize, usize)], each: Duration) {
        self.clogged = ways.iter().map(|way| (*way, (each, Time::ZERO))).collect();
    }

    /// Puts one item on a path.
    pub(super) fn enter(&mut self, from: usize, to: usize, now: Time) -> Way {
        if self.is_cut(from, to) {
            return Way::Cut;
        }
        if self.clogged.is_empty() {
            return Way::Free;
        }
        let Some((each, busy_until)) = self.clogged.get_mut(&(from, to)) else { return Way::Free };
        let done = now.max(*busy_until) + *each;
        if done.since(now) > CLOG_MAX {
            return Way::Full;
        }
        *busy_until = done;
        Way::Clogged(done.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clogged_way_makes_wait_and_then_drops() {
        let mut roads = Roads::default();
        let each = Duration::from_millis(150);
        roads.set_clogged(&[(0, 1)], each);
        let now = Time::from_micros(1);
        assert_eq!(roads.enter(1, 0, now), Way::Free);
        assert_eq!(roads.enter(0, 1, now), Way::Clogged(each));
        assert_eq!(roads.enter(0, 1, now), Way::Clogged(each * 2));
        assert_eq!(roads.enter(0, 1, now), Way::Full);
        assert_eq!(roads.enter(0, 1, now + each * 2), Way::Clogged(each));
    }

    #[test]
    fn a_cut_has_a_direction() {
        let mut roads = Roads::default();
        roads.set_cut(BTreeSet::from([(0, 1)]));
        assert!(roads.is_cut(0, 1) && !roads.is_cut(1, 0));
    }
}
