//! Queries of neighbors that have ended, in the order in which they ended: those whose hits, and
//! then whose answers, are dropped first when room is short.
//!
//! It holds names only. When a name comes to the front, its query may be gone already, or may run
//! again.

use std::collections::VecDeque;

use crate::proto::super_peer::ids::WaveKey;
use crate::wire::QueryId;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Ended {
    queue: VecDeque<(WaveKey, QueryId)>,
    /// How many at the front hold no hits any more.
    bare: usize,
}

impl Ended {
    pub(super) fn push(&mut self, key: WaveKey, id: QueryId) {
        self.queue.push_back((key, id));
    }

    /// The one that ended first.
    pub(super) fn first(&self) -> Option<(WaveKey, QueryId)> {
        self.queue.front().copied()
    }

    /// Removes the one that ended first.
    pub(super) fn pop(&mut self) -> Option<(WaveKey, QueryId)> {
        self.bare = self.bare.saturating_sub(1);
        self.queue.pop_front()
    }

    /// The first one that may still hold hits. Each is returned only once.
    pub(super) fn next_with_hits(&mut self) -> Option<(WaveKey, QueryId)> {
        let next = self.queue.get(self.bare).copied();
        self.bare += usize::from(next.is_some());
        next
    }
}
