//! When a swarm asks other super peers for their members, and what the queries that run have found
//! so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Time;
use crate::wire::message::SourceRecord;

/// When the other super peers are asked for the members of one swarm. The duration is the wait
/// after the next answer, or after that of the query that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Asking {
    /// They were not asked yet.
    #[default]
    No,
    /// They are to be asked at this time.
    Due(Time, Duration),
    /// The query of this number runs.
    Runs(u32, Duration),
    /// They are not asked: no member could use an answer. A query is due no earlier than this.
    Rests(Time, Duration),
}

/// A query that runs.
#[derive(Debug)]
pub(super) struct Ask {
    /// None if the swarm is gone.
    pub(super) swarm: Option<u32>,
    pub(super) found: Vec<SourceRecord>,
}

/// The queries of all swarms.
#[derive(Debug, Default)]
pub(super) struct Across {
    /// Swarms that are to ask.
    pub(super) due: BTreeSet<(Time, u32)>,
    /// By number.
    pub(super) running: BTreeMap<u32, Ask>,
    pub(super) last_number: u32,
    /// When the last one began.
    pub(super) asked_at: Option<Time>,
}
