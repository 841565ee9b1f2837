//! Queries of sessions that do not read. They are searched no further until what was sent is read,
//! so that a session that never reads costs little more than its queries.
//!
//! It holds names only. A query that is here is not in the fair queue.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::ConnId;
use crate::proto::super_peer::ids::WaveKey;

/// The sessions that do not read, each with its queries that have work left.
#[derive(Debug, Default)]
pub(super) struct Parked(BTreeMap<ConnId, BTreeSet<WaveKey>>);

impl Parked {
    /// The session does not read.
    pub(super) fn begin(&mut self, conn: ConnId) {
        self.0.entry(conn).or_default();
    }

    /// The session reads again, or is gone. Returns its queries.
    pub(super) fn end(&mut self, conn: ConnId) -> BTreeSet<WaveKey> {
        self.0.remove(&conn).unwrap_or_default()
    }

    /// Takes a query with work left, if it is one of a session that does not read. Returns whether
    /// it is one.
    pub(super) fn park(&mut self, session: Option<(ConnId, u32)>, key: WaveKey) -> bool {
        let queries = session.and_then(|(conn, _)| self.0.get_mut(&conn));
        queries.map(|queries| queries.insert(key)).is_some()
    }

    /// The query is removed, whether it is here or not.
    pub(super) fn forget(&mut self, session: Option<(ConnId, u32)>, key: WaveKey) {
        if let Some(queries) = session.and_then(|(conn, _)| self.0.get_mut(&conn)) {
            queries.remove(&key);
        }
    }

    /// Each query is one of its session.
    pub(super) fn check_invariants(&self, session_of: impl Fn(WaveKey) -> Option<(ConnId, u32)>) {
        for (conn, queries) in &self.0 {
            assert!(queries.iter().all(|key| session_of(*key).is_some_and(|(owner, _)| owner == *conn)));
        }
    }
}
