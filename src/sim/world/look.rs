//! Getters of the world, for tests, oracles and reports.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use super::{Counts, World};
use crate::config::SUPER_PORT;
use crate::proto::super_peer::SuperPeer;
use crate::proto::weak_peer::WeakPeer;
use crate::proto::{ConnId, Event};
use crate::sim::content::{ContentId, Contents};
use crate::sim::node::Machine;
use crate::sim::tcp::Link;
use crate::time::Time;
use crate::wire::{FileRecord, HostPort};

impl World {
    /// Whether some super peer has reached a peer at this address.
    pub(in crate::sim) fn was_reached(&self, at: &HostPort) -> bool {
        self.dials.welcomed_at(at).any(|node| self.nodes[node].addr.port() == SUPER_PORT)
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The address at which the node listens.
    #[must_use]
    pub fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].addr
    }

    /// The node's machine, if it runs and is a super peer.
    #[must_use]
    pub fn super_peer(&self, node: usize) -> Option<&SuperPeer> {
        match &self.nodes[node].machine {
            Some(Machine::Super(machine)) => Some(machine),
            Some(Machine::Weak(_) | Machine::Other(_) | Machine::Adversary(_)) | None => None,
        }
    }

    /// The same machine, for a test that gives inputs to it and takes its outputs itself.
    pub fn super_peer_mut(&mut self, node: usize) -> Option<&mut SuperPeer> {
        match &mut self.nodes[node].machine {
            Some(Machine::Super(machine)) => Some(machine),
            Some(Machine::Weak(_) | Machine::Other(_) | Machine::Adversary(_)) | None => None,
        }
    }

    /// The super peers within this many hops over configured links, including this one.
    #[must_use]
    pub fn within(&self, super_peer: usize, hops: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([super_peer]);
        let mut edge = vec![super_peer];
        for _ in 0..hops {
            let neighbors = edge.iter().flat_map(|node| &self.nodes[*node].neighbors).copied();
            edge = neighbors.filter(|other| reached.insert(*other)).collect();
            if edge.is_empty() {
                break;
            }
        }
        reached
    }

    /// The super peers in the configuration of a node.
    #[must_use]
    pub fn neighbors(&self, node: usize) -> &[usize] {
        &self.nodes[node].neighbors
    }

    /// The node's machine, if it runs and is a weak peer.
    #[must_use]
    pub fn weak_peer(&self, node: usize) -> Option<&WeakPeer> {
        match &self.nodes[node].machine {
            Some(Machine::Weak(machine)) => Some(machine),
            Some(Machine::Super(_) | Machine::Other(_) | Machine::Adversary(_)) | None => None,
        }
    }

    /// The records of the share of a node.
    #[must_use]
    pub fn shared(&self, node: usize) -> Vec<FileRecord> {
        self.nodes[node].disk.share(&self.contents)
    }

    /// Whether the share of a node has changes that the node has not noticed yet.
    #[must_use]
    pub fn is_stale(&self, node: usize) -> bool {
        self.nodes[node].disk.is_stale()
    }

    /// The number of open part files of a node, and of chunks that it has opened for others.
    #[must_use]
    pub fn disk_held(&self, node: usize) -> (usize, usize) {
        self.nodes[node].disk.held()
    }

    /// How often the node was started.
    #[must_use]
    pub fn life(&self, node: usize) -> u64 {
        self.nodes[node].life
    }

    /// The connections of a node: its id for each, and the node at the other end.
    pub fn conns(&self, node: usize) -> impl Iterator<Item = (ConnId, usize)> {
        self.nodes[node].conns.iter().filter_map(|(conn, (link, end))| {
            let link = self.links[*link].as_ref()?;
            Some((*conn, link.ends[1 - end].node))
        })
    }

    /// Half-open connections whose end at a machine still exists. Ends at an adversary do not
    /// count.
    #[must_use]
    pub fn half_open(&self) -> usize {
        let machine = |node: usize| !matches!(self.nodes[node].machine, Some(Machine::Adversary(_)));
        let open = |link: &&Link| link.silent && link.ends.iter().any(|end| end.open && machine(end.node));
        self.links.iter().flatten().filter(open).count()
    }

    /// The super peers to which a weak peer has a connection.
    #[must_use]
    pub fn supers_of(&self, weak: usize) -> Vec<usize> {
        let links = self.nodes[weak].conns.values().filter_map(|(link, end)| {
            let other = &self.links[*link].as_ref()?.ends[1 - end];
            self.super_peer(other.node).map(|_| other.node)
        });
        links.collect()
    }

    /// Whether the process of the node runs.
    #[must_use]
    pub fn is_running(&self, node: usize) -> bool {
        self.nodes[node].machine.is_some()
    }

    /// How many events may have changed what is registered at the super peer.
    #[must_use]
    pub fn churn(&self, node: usize) -> u64 {
        self.nodes[node].churn
    }

    /// When the next event happens, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.next()
    }

    /// The counts of what was exercised.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All contents.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The content at this path on the disk of a node. The file must have its final name.
    #[must_use]
    pub fn file(&self, node: usize, path: &Path) -> Option<ContentId> {
        self.nodes[node].disk.file(path)
    }

    /// The text of the queue file on the disk of a node; empty if there is none.
    #[must_use]
    pub fn queue_file(&self, node: usize) -> &str {
        self.nodes[node].disk.queue.as_deref().unwrap_or_default()
    }

    /// Pieces that the disk of a node was ordered to write, in all lives.
    #[must_use]
    pub fn pieces_written(&self, node: usize) -> u64 {
        self.nodes[node].disk.pieces_written
    }

    /// Received payloads that were neither written nor dropped.
    #[must_use]
    pub fn payloads_held(&self, node: usize) -> usize {
        self.nodes[node].disk.payloads()
    }

    /// Connections of a node.
    #[must_use]
    pub fn connections(&self, node: usize) -> usize {
        self.nodes[node].conns.len()
    }

    /// Events that were not for a client, each with its time and node.
    #[must_use]
    pub fn events(&self) -> &[(Time, usize, Event)] {
        &self.events
    }

    /// A hash of all events. Two runs of one seed have the same hash.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// The last events as text, if they were kept.
    pub fn trace_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
