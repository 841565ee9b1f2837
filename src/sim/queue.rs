//! A queue of future events. They are ordered by time, and then by a number that is different for
//! each event.
//!
//! The events are in a slab, and only their keys move: a heap of 24-byte keys stays in the cache.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

use crate::time::Time;

/// If several events have the same time, the one with the smallest number comes first.
#[derive(Debug)]
pub(super) struct Queue<T> {
    keys: BinaryHeap<Reverse<(Time, u64, u32)>>,
    things: Slab<T>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        Queue { keys: BinaryHeap::new(), things: Slab::new() }
    }

    /// Adds an event for this time.
    pub(super) fn push(&mut self, at: Time, tie: u64, thing: T) {
        let slot = u32::try_from(self.things.insert(thing)).expect("fewer than 2^32 things are to come");
        self.keys.push(Reverse((at, tie, slot)));
    }

    /// The time of the next event.
    pub(super) fn next(&self) -> Option<Time> {
        self.keys.peek().map(|Reverse((at, ..))| *at)
    }

    /// Removes the next event. Returns it with its time and its number.
    pub(super) fn pop(&mut self) -> Option<(Time, u64, T)> {
        let Reverse((at, tie, slot)) = self.keys.pop()?;
        Some((at, tie, self.things.remove(slot as usize)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_time_and_tie() {
        let mut queue = Queue::new();
        for (at, tie) in [(5, 1), (3, 9), (5, 0), (3, 2), (9, 0)] {
            queue.push(Time::from_micros(at), tie, (at, tie));
        }
        assert_eq!(queue.next(), Some(Time::from_micros(3)));
        let all: Vec<(u64, u64)> = std::iter::from_fn(|| queue.pop()).map(|(.., thing)| thing).collect();
        assert_eq!(all, [(3, 2), (3, 9), (5, 0), (5, 1), (9, 0)]);
    }
}
