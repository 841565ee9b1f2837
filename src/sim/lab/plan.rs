//! The plan of a laboratory, and the data that its shards share.

use std::time::Duration;

use super::catalog::Catalog;
use crate::sim::random::Random;
use crate::sim::topology::Edge;
use crate::time::Time;
use crate::wire::Policy;

/// The start of time. It is not zero, so that no code can confuse "no time" and "at the start".
pub(super) const BEGINNING: Time = Time::from_micros(1_000_000);

/// The plan of a laboratory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all random numbers.
    pub seed: u64,
    /// Super peers.
    pub supers: usize,
    /// The links between super peers.
    pub edges: Vec<Edge>,
    /// Weak peers, spread evenly over the super peers.
    pub peers: usize,
    /// The number of different files in the complete network.
    pub files: usize,
    /// Files that each peer shares.
    pub files_each: usize,
    /// Exponent of the popularity of files, among holders and among queries.
    pub zipf: f64,
    /// How many queries are asked.
    pub queries: usize,
    /// The time between two queries.
    pub gap: Duration,
    /// The ttl of a query.
    pub ttl: u8,
    /// The policy of a query.
    pub policy: Policy,
    /// The budget of a query.
    pub budget: Duration,
    /// The most hits of a query.
    pub limit: Option<u32>,
    /// How many of a thousand datagrams are lost.
    pub loss: u32,
    /// How many of a hundred nodes, super peers and weak peers, fail in a minute.
    pub churn: f64,
    /// The shortest and the longest time that a message takes.
    pub latency: (Duration, Duration),
}

/// The data that all shards share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) root: Random,
    pub(super) neighbors: Vec<Vec<usize>>,
    pub(super) catalog: Catalog,
    /// The peers that send queries, without repetition.
    pub(super) askers: Vec<u32>,
    /// For each query, the file and the asker, as a place among the askers.
    pub(super) asked: Vec<(u32, usize)>,
}
