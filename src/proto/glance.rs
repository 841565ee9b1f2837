//! A look at a machine, for the page about a node and for its metrics. It is taken between two
//! inputs and changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::PeerStatus;
use crate::wire::message::LinkRow;
use crate::wire::{HostPort, NodeId};

/// What a machine shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Glance {
    /// What it has counted; no count ever goes down.
    pub counters: BTreeMap<String, u64>,
    /// How much there is of each thing now.
    pub levels: BTreeMap<String, u64>,
    /// Of a weak peer: its super peers, downloads and uploads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Box<PeerStatus>>,
    /// Of a super peer: its links.
    pub links: Vec<LinkRow>,
    /// Of a super peer: some of its sessions, at most [`crate::config::HTTP_SESSIONS_MAX`].
    pub sessions: Vec<SessionRow>,
}

/// Counts by name. It is not generic, because the code that makes a map of any iterator is large.
pub(super) fn by_name(counts: &mut dyn Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    counts.collect()
}

/// A session at a super peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    /// Where it comes from, or where it serves chunks.
    pub peer: HostPort,
    /// Its node id.
    pub node: NodeId,
    /// Files that it has registered; none if it serves nothing.
    pub files: Option<usize>,
    /// Queries that run.
    pub queries: usize,
    /// Milliseconds since its last message.
    pub quiet_ms: u64,
}
