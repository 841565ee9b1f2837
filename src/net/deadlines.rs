//! The lazy deadlines of sockets: an entry says when to look again, not that a deadline has passed.
//!
//! A connection has at most one valid entry. Progress does not move the entry: when it is due, the
//! connection is asked for its real deadline, which replaces the entry. So a connection that makes
//! progress costs one entry per ten seconds, and an idle one costs nothing. When most entries are
//! those of connections that are gone, these entries are removed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::proto::{ConnId, DialId};
use crate::time::Time;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A frame, a write, a dial of an address or a close takes too long.
    Connection(ConnId),
    /// The resolving of a host name takes too long.
    Resolve(DialId),
    /// Accepting failed because descriptors ran out: try again.
    Accept,
    /// Accepting on the listener of the page failed because descriptors ran out: try again.
    Page,
    /// No connection that has not logged in could be closed for another one: look again.
    HalfOpen,
    /// Accepting on the control socket failed because descriptors ran out: try again.
    Control,
}

/// The entries, in the order of their times.
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

    /// Removes the entries that are no longer valid.
    pub(super) fn sweep(&mut self, is_valid: impl Fn(Time, Due) -> bool) {
        self.heap.retain(|Reverse((at, due))| is_valid(*at, *due));
    }

    /// Removes and returns the first entry, if it is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
