//! Ids of queries that have ended, so that a copy that comes very late is not searched again.
//!
//! There are two generations: new ids go to the younger one, both are looked up, and the older one
//! is dropped at once. Queries that still run are not kept here and so are never evicted.

use std::collections::BTreeSet;

use crate::config::{VISITED_GENERATION, VISITED_MAX};
use crate::proto::marks::mark;
use crate::time::Time;
use crate::wire::QueryId;

/// The ids of the last one to two generations.
#[derive(Debug, Default)]
pub(super) struct Visited {
    young: BTreeSet<QueryId>,
    old: BTreeSet<QueryId>,
    since: Time,
}

impl Visited {
    /// Remembers an id. Rotation needs no timer: without input nothing is looked up.
    pub(super) fn insert(&mut self, now: Time, id: QueryId) {
        self.rotate(now);
        if self.young.len() >= VISITED_MAX {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        self.young.insert(id);
    }

    /// Whether the id is remembered.
    pub(super) fn contains(&mut self, now: Time, id: &QueryId) -> bool {
        self.rotate(now);
        self.young.contains(id) || self.old.contains(id)
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Each generation is within its cap.
    pub(super) fn check_invariants(&self) {
        assert!(self.young.len() <= VISITED_MAX && self.old.len() <= VISITED_MAX);
    }

    fn rotate(&mut self, now: Time) {
        let age = now.since(self.since);
        if age < VISITED_GENERATION {
            return;
        }
        mark!(VisitedRotated);
        self.old = std::mem::take(&mut self.young);
        if age >= VISITED_GENERATION * 2 {
            self.old.clear();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> QueryId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        QueryId(bytes)
    }

    #[test]
    fn an_id_lives_through_one_rotation_and_not_through_two() {
        let mut visited = Visited::default();
        let start = Time::ZERO + VISITED_GENERATION;
        visited.insert(start, id(1));
        assert!(visited.contains(start + VISITED_GENERATION, &id(1)));
        assert!(!visited.contains(start + VISITED_GENERATION * 2, &id(1)));
    }

    #[test]
    fn a_full_generation_rotates_early() {
        let mut visited = Visited::default();
        for n in 0..=VISITED_MAX * 2 {
            visited.insert(Time::ZERO, id(n));
            visited.check_invariants();
        }
        assert!(visited.contains(Time::ZERO, &id(VISITED_MAX * 2)));
        assert!(!visited.contains(Time::ZERO, &id(0)));
    }
}
