//! The super peers that were found, and their links. Each is there once, even if it was found under
//! several names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::wire::message::{LinkRow, LinkState};
use crate::wire::{HostPort, NodeId};

/// A super peer of the map.
#[derive(Debug, Serialize)]
pub(super) struct Super {
    /// Its place in the map. The super peer that was asked first has the place 0.
    pub(super) id: usize,
    pub(super) addr: HostPort,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<NodeId>,
    /// The number of links from the first super peer to this one.
    pub(super) hops: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sessions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<u64>,
    /// Why it was not asked or did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// A link. The times are those at the super peer that was asked first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) state: LinkState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rtt_us: Option<u64>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) supers: Vec<Super>,
    /// By the places of both ends, the lower one first.
    pub(super) links: BTreeMap<(usize, usize), Link>,
}

impl Map {
    /// The place of the super peer with this node id or at this address.
    pub(super) fn place(&mut self, addr: &HostPort, node: Option<NodeId>, hops: usize) -> usize {
        let is_it = |one: &Super| match (one.node, node) {
            (Some(its), Some(node)) => its == node,
            (_, _) => one.addr.canonical() == addr.canonical(),
        };
        if let Some(found) = self.supers.iter().position(is_it) {
            let one = &mut self.supers[found];
            one.node = one.node.or(node);
            return found;
        }
        let id = self.supers.len();
        let addr = addr.clone();
        self.supers.push(Super { id, addr, node, hops, agent: None, sessions: None, files: None, why: None });
        id
    }

    /// Adds a link that one end reports. If the two ends report different states, the worse one
    /// counts.
    pub(super) fn link(&mut self, from: usize, to: usize, row: &LinkRow) {
        let ends = (from.min(to), from.max(to));
        let link = Link { from: ends.0, to: ends.1, state: row.state, rtt_us: row.rtt };
        let known = self.links.entry(ends).or_insert_with(|| link.clone());
        if row.state.is_trouble() {
            known.state = row.state;
        }
    }
}
