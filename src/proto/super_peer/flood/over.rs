//! Queries of neighbours that are over, in the order in which they ended: whose answer goes first when room is short.
//!
//! It holds names only. Some may be gone by the time that their turn comes, or run again.

use std::collections::VecDeque;

use super::WaveKey;
use crate::wire::QueryId;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Over {
    line: VecDeque<(WaveKey, QueryId)>,
    /// How many at the front have been asked to let their hits go.
    bare: usize,
}

impl Over {
    pub(super) fn push(&mut self, key: WaveKey, id: QueryId) {
        self.line.push_back((key, id));
    }

    /// The one that ended first.
    pub(super) fn first(&self) -> Option<(WaveKey, QueryId)> {
        self.line.front().copied()
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<(WaveKey, QueryId)> {
        self.bare = self.bare.saturating_sub(1);
        self.line.pop_front()
    }

    /// The first that may still hold hits; asked for once only.
    pub(super) fn next_with_hits(&mut self) -> Option<(WaveKey, QueryId)> {
        let next = self.line.get(self.bare).copied();
        self.bare += usize::from(next.is_some());
        next
    }
}
