//! Building a world: nodes, what they share, and the weather.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Happening, World};
use crate::config::{CHUNK_PORT, CONNECT_TIMEOUT, SHARE_QUIET, SUPER_PORT};
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::weak_peer::{Offer, WeakPeer, WeakPeerConfig};
use crate::proto::{DiskDone, Entropy};
use crate::sim::content::{ContentId, Contents};
use crate::sim::disk::{self, Trouble};
use crate::sim::fault::Fault;
use crate::sim::node::{Machine, Node};
use crate::wire::{HostPort, NodeId, SharePath};

impl World {
    /// A node that runs what `make` makes for each of its lives. It is not started.
    pub fn add(&mut self, port: u16, make: impl Fn(u64) -> Machine + 'static) -> usize {
        let number = self.nodes.len();
        let node = Node::new(number, port, Box::new(make));
        self.by_ip.insert(node.addr.ip(), number);
        self.nodes.push(node);
        number
    }

    /// Super peers that are neighbours as `edges` say, numbered from the first free node on and started.
    pub fn add_supers(&mut self, n: usize, edges: &[(usize, usize)]) -> std::ops::Range<usize> {
        let first = self.nodes.len();
        let mut neighbors = vec![Vec::new(); n];
        for &(a, b) in edges {
            neighbors[a].push(b);
            neighbors[b].push(a);
        }
        // Addresses follow from numbers, so that everybody's are known before anybody is made.
        let addr_of = |at: usize| Node::new(first + at, SUPER_PORT, Box::new(|_| unreachable!())).addr;
        for (at, neighbors) in neighbors.into_iter().enumerate() {
            let neighbor_numbers = neighbors.iter().map(|at| first + at).collect();
            let neighbors: Vec<SocketAddr> = neighbors.into_iter().map(addr_of).collect();
            let number = first + at;
            let root = self.root.clone();
            let peers = neighbor_numbers;
            let node = self.add(SUPER_PORT, move |life| {
                let mut random = root.child("super", number as u64 ^ (life << 32));
                let mut config = SuperPeerConfig::new(node_id(number), random.next_u64());
                config.neighbors = neighbors.clone();
                Machine::Super(Box::new(SuperPeer::new(config, Box::new(random))))
            });
            self.nodes[node].neighbors = peers;
        }
        (first..first + n).for_each(|node| self.start(node));
        first..first + n
    }

    /// A weak peer that knows these super peers, in that order, and shares. It is not started.
    pub fn add_weak(&mut self, supers: &[usize]) -> usize {
        self.add_weak_with(supers, 1)
    }

    /// The same with sessions to so many super peers at once.
    pub fn add_weak_with(&mut self, supers: &[usize], sessions: usize) -> usize {
        let neighbors = supers.to_vec();
        let supers: Vec<HostPort> = supers.iter().map(|&node| HostPort::from(self.nodes[node].addr)).collect();
        let (number, root) = (self.nodes.len(), self.root.clone());
        let node = self.add(CHUNK_PORT, move |life| {
            let mut random = root.child("weak", number as u64 ^ (life << 32));
            let config = WeakPeerConfig {
                node: node_id(number),
                boot: random.next_u64(),
                supers: supers.clone(),
                offer: Some(Offer { port: CHUNK_PORT, host: None }),
                connect_timeout: CONNECT_TIMEOUT,
                agent: "sim".into(),
            };
            Machine::Weak(Box::new(WeakPeer::with_sessions(config, sessions, Box::new(random))))
        });
        self.nodes[node].neighbors = neighbors;
        node
    }

    /// A content of that many bytes, made from the seed.
    pub fn content(&mut self, size: usize) -> ContentId {
        let mut random = self.root.child("content", self.sequence ^ (size as u64) << 32);
        self.sequence += 1;
        self.contents.make(size, &mut random)
    }

    /// Puts a file into the share of a node; if it runs, it hears of it.
    ///
    /// # Panics
    /// If the path is none.
    pub fn share(&mut self, node: usize, path: &str, content: ContentId) {
        let path = SharePath::new(path).expect("a path of 1 to 700 bytes");
        self.nodes[node].disk.put(&path, content);
        let added = vec![disk::record(path, content, &self.contents)];
        self.disk_says(node, DiskDone::Share { added, removed: Vec::new() });
    }

    /// Takes a file out of the share of a node; says whether it was there.
    ///
    /// # Panics
    /// If the path is none.
    pub fn unshare(&mut self, node: usize, path: &str) -> bool {
        let path = SharePath::new(path).expect("a path of 1 to 700 bytes");
        let there = self.nodes[node].disk.take(&path);
        if there {
            self.disk_says(node, DiskDone::Share { added: Vec::new(), removed: vec![path] });
        }
        there
    }

    /// Somebody else changes a file in the share of a node, or takes it away; the node sees that a little later. Says whether
    /// there was such a file.
    ///
    /// # Panics
    /// If the path is none.
    pub fn meddle(&mut self, node: usize, path: &str, new: Option<ContentId>) -> bool {
        let path = SharePath::new(path).expect("a path of 1 to 700 bytes");
        if self.nodes[node].disk.meddle(&path, new, &self.contents).is_none() {
            return false;
        }
        *self.counts.faults.entry("meddle").or_default() += 1;
        let after = SHARE_QUIET + self.disks.time(Duration::ZERO, SHARE_QUIET / 2);
        let life = self.nodes[node].life;
        self.schedule(self.now + after, Happening::Looked { node, life, path });
        true
    }

    /// What is wrong with the disk of a node from now on.
    pub fn trouble(&mut self, node: usize, trouble: Trouble) {
        self.nodes[node].disk.set_trouble(trouble);
    }

    /// From now on the node serves this content in place of another.
    pub fn lie_with(&mut self, node: usize, content: ContentId, wrong: ContentId) {
        let root = self.contents.root(content);
        self.nodes[node].disk.lie(root, wrong);
    }

    /// How many bytes of payloads a node sends a second.
    pub fn set_bandwidth(&mut self, bandwidth: u64) {
        self.bandwidth = bandwidth.max(1);
    }

    /// Takes contents that were made before, in place of those of the world.
    pub fn set_contents(&mut self, contents: Contents) {
        self.contents = contents;
    }

    /// From the first life on, the clock of a node is so far ahead of the world's.
    pub fn set_clock(&mut self, node: usize, ahead: Duration) {
        self.nodes[node].ahead = ahead;
    }

    /// Of a thousand messages on connections, so many arrive in parts, and so many of the short parts byte by byte.
    pub fn set_split(&mut self, parts: u32, bytes: u32) {
        self.split = (parts, bytes);
    }

    /// Keeps books on what the nodes do, and holds them to it: see `sim::shadow`.
    pub fn watch_all(&mut self) {
        self.shadow = Some(Box::default());
    }

    /// From now on the node serves wrong bytes for a content: one bit wrong in each of these bytes, with the MD5 of the wrong ones.
    pub fn lie(&mut self, node: usize, content: ContentId, at: &[usize]) {
        let wrong = self.contents.falsify(content, at);
        let root = self.contents.root(content);
        self.nodes[node].disk.lie(root, wrong);
    }

    /// What befalls datagrams from now on, in this order.
    pub fn set_faults(&mut self, faults: Vec<Box<dyn Fault>>) {
        self.faults = faults;
    }

    /// How long anything takes on its way.
    pub fn set_latency(&mut self, least: Duration, most: Duration) {
        self.latency = (least, most);
    }

    /// Keeps the last lines of the trace, for a failure.
    pub fn keep_trace(&mut self) {
        self.lines = Some(VecDeque::new());
    }
}

fn node_id(number: usize) -> NodeId {
    let mut id = [0x5b; 16];
    id[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    NodeId(id)
}
