//! When a swarm asks other super peers for their members, and what the running queries have found
//! so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Time;
use crate::wire::message::SourceRecord;

/// When other super peers are asked for the members of one swarm. The duration is the wait after
/// the next answer; while a query runs, it is the wait after its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Asking {
    /// No query was sent yet.
    #[default]
    No,
    /// A query is due at this time.
    Due(Time, Duration),
    /// The query with this number runs.
    Runs(u32, Duration),
    /// No query is due, because no member could use an answer. A query is due at this time at the
    /// earliest.
    Rests(Time, Duration),
}

/// A query that runs.
#[derive(Debug)]
pub(super) struct Ask {
    /// The swarm that the query is for; none if the swarm is gone.
    pub(super) swarm: Option<u32>,
    pub(super) found: Vec<SourceRecord>,
}

/// The queries of all swarms.
#[derive(Debug, Default)]
pub(super) struct Across {
    /// Swarms for which a query is due.
    pub(super) due: BTreeSet<(Time, u32)>,
    /// The queries that run, by number.
    pub(super) running: BTreeMap<u32, Ask>,
    pub(super) last_number: u32,
    /// When the last query was sent.
    pub(super) asked_at: Option<Time>,
}
