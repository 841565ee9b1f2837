//! Queries of neighbors that have ended, in the order in which they ended. When room is short, the
//! hits of the oldest queries are dropped first, and then their answers.
//!
//! It holds names only. When a name comes to the front, its query may be gone, or may run again.

use std::collections::VecDeque;

use crate::proto::super_peer::ids::WaveKey;
use crate::wire::QueryId;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Ended {
    queue: VecDeque<(WaveKey, QueryId)>,
    /// How many queries at the front have lost their hits.
    bare: usize,
}

impl Ended {
    pub(super) fn push(&mut self, key: WaveKey, id: QueryId) {
        self.queue.push_back((key, id));
    }

    /// The query that ended first.
    pub(super) fn first(&self) -> Option<(WaveKey, QueryId)> {
        self.queue.front().copied()
    }

    /// Removes the query that ended first.
    pub(super) fn pop(&mut self) -> Option<(WaveKey, QueryId)> {
        self.bare = self.bare.saturating_sub(1);
        self.queue.pop_front()
    }

    /// The first query that may still hold hits. Each query is returned only once.
    pub(super) fn next_with_hits(&mut self) -> Option<(WaveKey, QueryId)> {
        let next = self.queue.get(self.bare).copied();
        self.bare += usize::from(next.is_some());
        next
    }
}
