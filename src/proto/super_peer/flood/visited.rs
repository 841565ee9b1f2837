//! Ids of queries that have ended, so that a copy that comes very late is not searched again.
//!
//! There are two generations. New ids go to the younger one, and a look-up looks in both. The older
//! one is forgotten at once, and its memory is freed in slices. Queries that still run are not kept
//! here, so they are never evicted.

use std::collections::BTreeSet;

use crate::config::{VISITED_FREED_PER_TURN, VISITED_GENERATION, VISITED_MAX};
use crate::proto::marks::mark;
use crate::proto::super_peer::context::Context;
use crate::time::Time;
use crate::wire::QueryId;

/// The ids of the last two generations.
#[derive(Debug, Default)]
pub(super) struct Visited {
    young: BTreeSet<QueryId>,
    old: BTreeSet<QueryId>,
    /// Generations that are forgotten but not freed yet.
    stale: Vec<BTreeSet<QueryId>>,
    since: Time,
}

impl Visited {
    /// Remembers an id. The change of generations needs no timer: without input nothing is looked
    /// up.
    pub(super) fn insert(&mut self, now: Time, id: QueryId) {
        self.rotate(now);
        if self.young.len() >= VISITED_MAX {
            let young = std::mem::take(&mut self.young);
            self.retire(young);
            self.since = now;
        }
        self.young.insert(id);
    }

    /// Whether memory is to be freed.
    pub(super) fn has_work(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Frees memory of forgotten generations, as much as fits in one turn.
    pub(super) fn run(&mut self, cx: &mut Context) {
        // The more generations wait, the more is freed: so they are not made faster than freed.
        let most = VISITED_FREED_PER_TURN * self.stale.len();
        for _ in 0..most {
            let Some(stale) = self.stale.last_mut() else { return };
            if stale.pop_first().is_none() {
                self.stale.pop();
            }
        }
        cx.work.add(most);
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
        let young = std::mem::take(&mut self.young);
        self.retire(young);
        if age >= VISITED_GENERATION * 2 {
            self.retire(BTreeSet::new());
        }
        self.since = now;
    }

    /// The younger generation becomes the older one.
    fn retire(&mut self, young: BTreeSet<QueryId>) {
        let stale = std::mem::replace(&mut self.old, young);
        if !stale.is_empty() {
            self.stale.push(stale);
        }
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
