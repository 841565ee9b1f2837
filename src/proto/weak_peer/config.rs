//! What a weak peer is started with. The limits and intervals are in [`crate::config`].

use std::time::Duration;

use crate::wire::{HostPort, NodeId};

/// Where a weak peer serves chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The TCP port on which chunks are served.
    pub port: u16,
    /// The host that REGISTER advertises, if others cannot dial the address that the super peer
    /// sees.
    pub host: Option<String>,
}

/// The identity of a weak peer and the super peers that it may use.
#[derive(Clone, Debug)]
pub struct WeakPeerConfig {
    /// Its node id.
    pub node: NodeId,
    /// Its boot id, drawn at random for this run.
    pub boot: u64,
    /// Super peers, the preferred one first.
    pub supers: Vec<HostPort>,
    /// Where it serves chunks; none for a one-shot command, which registers and serves nothing.
    pub offer: Option<Offer>,
    /// How long the first session may take to open, and how long a command waits for a session.
    pub connect_timeout: Duration,
    /// How long a download goes on without a verified piece and below
    /// [`crate::config::SOURCE_RATE_MIN`], unless its command says; zero: for ever.
    pub download_timeout: Duration,
    /// Program and version, as HELLO names them.
    pub agent: String,
}
