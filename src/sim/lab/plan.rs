//! The plan of a laboratory, and the data that its shards share.

use std::time::Duration;

use super::catalog::Catalog;
use crate::sim::random::Random;
use crate::sim::topology::Edge;
use crate::time::Time;
use crate::wire::Policy;

/// Not zero, so that nothing takes "no time" for "at the start".
pub(super) const BEGINNING: Time = Time::from_micros(1_000_000);

/// The plan of a laboratory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of all randomness.
    pub seed: u64,
    /// Super peers.
    pub supers: usize,
    /// Their links.
    pub edges: Vec<Edge>,
    /// Weak peers, spread evenly over the super peers.
    pub peers: usize,
    /// Different files in the whole network.
    pub files: usize,
    /// Files that each peer shares.
    pub files_each: usize,
    /// Exponent of the popularity of files, among holders and among queries.
    pub zipf: f64,
    /// How many queries are asked.
    pub queries: usize,
    /// From one query to the next.
    pub gap: Duration,
    /// Hops of a query.
    pub ttl: u8,
    /// How it spreads.
    pub policy: Policy,
    /// Time that it has.
    pub budget: Duration,
    /// Hits that it wants at most.
    pub limit: Option<u32>,
    /// Datagrams lost of a thousand.
    pub loss: u32,
    /// Nodes of a hundred, super and weak, that fail in a minute.
    pub churn: f64,
    /// The shortest and the longest time that anything travels.
    pub latency: (Duration, Duration),
}

/// What all shards share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) root: Random,
    pub(super) neighbors: Vec<Vec<usize>>,
    pub(super) catalog: Catalog,
    /// The peers that ask, each once.
    pub(super) askers: Vec<u32>,
    /// The file and the asker, as a place among the askers, of each query.
    pub(super) asked: Vec<(u32, usize)>,
}
