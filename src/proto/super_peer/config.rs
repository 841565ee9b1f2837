//! How one super peer is set up. The limits that all of them share are in [`crate::config`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::accounts::LoginConfig;
use crate::config::{PING_INTERVAL, QUERY_BUDGET, QUERY_HITS_MAX, TTL_DEFAULT};
use crate::trust::Pin;
use crate::wire::NodeId;

/// How a super peer is set up.
#[derive(Clone, Debug)]
pub struct SuperPeerConfig {
    /// Its node id.
    pub node: NodeId,
    /// Drawn at random at the start and sent to sessions. Links use another boot id.
    pub boot: u64,
    /// The neighbors. A neighbor with a key is identified by the key, and is looked for at all
    /// addresses of its host. A neighbor without a key is identified by the addresses of its host.
    /// Datagrams of all others are dropped.
    pub neighbors: Vec<Pin>,
    /// Hops of a query that names no ttl.
    pub ttl: u8,
    /// Time of a query that names no budget.
    pub budget: Duration,
    /// How often a session must send something.
    pub ping: Duration,
    /// The only address at which neighbors reach this super peer; none if it listens at several.
    pub here: Option<IpAddr>,
    /// Whether peers are dialed back; if not, all of them count as reached.
    pub dial_back: bool,
    /// Whether digests are exchanged with neighbors.
    pub digests: bool,
    /// Hits kept per query at its origin, and per link and query elsewhere. [`QUERY_HITS_MAX`],
    /// except in the laboratory of the simulator.
    pub hits_max: usize,
    /// Bytes of memory that everything in this super peer may take. This limit bounds the index;
    /// the driver reports when the total is too high.
    pub memory: usize,
    /// How many peers had registered files when this super peer last ran. No answer is complete
    /// until as many peers have registered files, or for
    /// [`STARTING_MAX`](crate::config::STARTING_MAX).
    pub expected: usize,
    /// Program and version, for people.
    pub agent: String,
    /// Whether it reports each query of a session, for the log.
    pub reports_queries: bool,
    /// In login mode: the key and the accounts; none in the open mode.
    pub login: Option<Arc<LoginConfig>>,
}

impl SuperPeerConfig {
    /// A super peer with this node id and without neighbors. All other values are those of
    /// [`crate::config`].
    #[must_use]
    pub fn new(node: NodeId, boot: u64) -> SuperPeerConfig {
        SuperPeerConfig {
            node,
            boot,
            neighbors: Vec::new(),
            ttl: TTL_DEFAULT,
            budget: QUERY_BUDGET,
            ping: PING_INTERVAL,
            here: None,
            dial_back: false,
            digests: true,
            hits_max: QUERY_HITS_MAX,
            memory: usize::MAX,
            expected: 0,
            agent: concat!("sprat/", env!("CARGO_PKG_VERSION")).to_owned(),
            reports_queries: false,
            login: None,
        }
    }

    /// Most hits for a query with this limit of its own.
    pub(super) fn hits_cap(&self, limit: Option<u32>) -> usize {
        limit.map_or(self.hits_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX).min(self.hits_max))
    }
}
