//! Deadlines of sockets, lazily: an entry says when to look again, not that something has happened.
//!
//! A connection has at most one entry that counts. Whoever makes progress leaves its entry where it is; when it comes up, the
//! real deadline is asked for and takes its place. So a deadline that is never missed costs one entry per ten seconds, and an
//! idle connection costs nothing. What connections that are gone have left behind is swept out when it is more than what counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::proto::{ConnId, DialId};
use crate::time::Time;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A frame, a write, a dial or a farewell takes too long.
    Connection(ConnId),
    /// A host name has not been resolved.
    Resolve(DialId),
    /// Accepting failed for want of descriptors: try again.
    Accept,
}

/// What is due when.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Time, Due)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, at: Time, due: Due) {
        self.heap.push(Reverse((at, due)));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes out what does not count any more.
    pub(super) fn sweep(&mut self, counts: impl Fn(Time, Due) -> bool) {
        self.heap.retain(|Reverse((at, due))| counts(*at, *due));
    }

    /// Takes the first entry that has come up.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
