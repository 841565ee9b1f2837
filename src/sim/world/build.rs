//! Builds a world: nodes, shares, faults and limits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::logins::SuperLogin;
use super::seals::public_key_of;
use super::{Tap, World};
use crate::config::{CHUNK_PORT, CONNECT_TIMEOUT, SHARE_QUIET, SUPER_PORT};
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::weak_peer::{Listens, Offer, PeerLogin, WeakPeer, WeakPeerConfig};
use crate::proto::{DiskDone, Entropy};
use crate::sim::content::{ContentId, Contents};
use crate::sim::disk::{self, Trouble};
use crate::sim::fault::Fault;
use crate::sim::happening::Happening;
use crate::sim::node::{Machine, Node};
use crate::trust::{Pin, PublicKey, Token};
use crate::wire::{HostPort, NodeId, SharePath};

impl World {
    /// Adds a node, which is not started. For each of its lives, it runs the machine that `make`
    /// returns.
    pub fn add(&mut self, port: u16, make: impl Fn(u64) -> Machine + 'static) -> usize {
        let number = self.nodes.len();
        let mut node = Node::new(number, port, Box::new(make));
        node.key = self.login.then(|| public_key_of(number));
        self.by_ip.insert(node.addr.ip(), number);
        self.nodes.push(node);
        number
    }

    /// From now on this name has these addresses, or none.
    pub fn set_name(&mut self, name: HostPort, addrs: Vec<SocketAddr>) {
        if addrs.is_empty() {
            self.names.remove(&name);
        } else {
            self.names.insert(name, addrs);
        }
    }

    /// Adds super peers with these links and starts them. The numbers in `edges` count from the
    /// first new node.
    pub fn add_supers(&mut self, n: usize, edges: &[(usize, usize)]) -> std::ops::Range<usize> {
        self.add_supers_beside(n, edges, &[])
    }

    /// As [`World::add_supers`], with additional neighbors that lie. For each of them: its super
    /// peer, by the number in `edges`, and its address.
    pub(in crate::sim) fn add_supers_beside(
        &mut self,
        n: usize,
        edges: &[(usize, usize)],
        liars: &[(usize, SocketAddr)],
    ) -> std::ops::Range<usize> {
        let first = self.nodes.len();
        let mut neighbors = vec![Vec::new(); n];
        for &(a, b) in edges {
            neighbors[a].push(b);
            neighbors[b].push(a);
        }
        // Addresses follow from numbers, so they are known before the nodes exist.
        let addr_of = |at: usize| Node::new(first + at, SUPER_PORT, Box::new(|_| unreachable!())).addr;
        for (at, neighbors) in neighbors.into_iter().enumerate() {
            let neighbor_numbers = neighbors.iter().map(|at| first + at).collect();
            let lying = liars.iter().filter(|(victim, _)| *victim == at).map(|(_, addr)| *addr);
            let neighbors: Vec<Pin> =
                neighbors.into_iter().map(addr_of).chain(lying).map(|addr| self.pin(addr)).collect();
            let number = first + at;
            let pins: Vec<PublicKey> = neighbors.iter().filter_map(|pin| pin.key).collect();
            let id = if self.sealed { public_key_of(number).node() } else { node_id(number) };
            let root = self.root.clone();
            let peers = neighbor_numbers;
            let kept = Rc::default();
            let login = self.super_login(number, &kept);
            let node = self.add(SUPER_PORT, move |life| {
                let mut random = root.child("super", number as u64 ^ (life << 32));
                let mut config = SuperPeerConfig::new(id, random.next_u64());
                config.neighbors = neighbors.clone();
                config.dial_back = true;
                config.login = login.as_ref().map(SuperLogin::config);
                Machine::Super(Box::new(SuperPeer::new(config, Box::new(random))))
            });
            self.nodes[node].neighbors = peers;
            self.nodes[node].pins = Some(pins);
            self.nodes[node].accounts = kept;
        }
        (first..first + n).for_each(|node| self.start(node));
        first..first + n
    }

    /// The address of the node with this number.
    pub(in crate::sim) fn addr_of(number: usize, port: u16) -> SocketAddr {
        Node::new(number, port, Box::new(|_| unreachable!())).addr
    }

    /// These neighbors lie: the shadow accepts what they send.
    pub(in crate::sim) fn set_liars(&mut self, liars: &[usize]) {
        if let Some(shadow) = &mut self.shadow {
            shadow.set_liars(liars.iter().copied());
        }
    }

    /// Adds a weak peer that knows these super peers, in this order, and shares files. It is not
    /// started.
    pub fn add_weak(&mut self, supers: &[usize]) -> usize {
        self.add_weak_with(supers, 1)
    }

    /// As [`World::add_weak`], with this many sessions at once.
    pub fn add_weak_with(&mut self, supers: &[usize], sessions: usize) -> usize {
        let login = self.peer_login(self.nodes.len());
        self.add_weak_as(supers, sessions, login)
    }

    /// Adds a weak peer with an invitation to the first of these super peers.
    pub fn add_invited(&mut self, supers: &[usize], user: &str, token: Token) -> usize {
        let login = self.peer_invited(self.nodes.len(), user, token);
        self.add_weak_as(supers, 1, login)
    }

    fn add_weak_as(&mut self, supers: &[usize], sessions: usize, login: Option<Arc<PeerLogin>>) -> usize {
        let neighbors = supers.to_vec();
        let (number, root) = (self.nodes.len(), self.root.clone());
        let addrs = supers.iter().map(|&node| HostPort::from(self.nodes[node].addr));
        let supers: Vec<Pin> = addrs.map(|at| self.super_pin(number, &at)).collect();
        let id = login.as_ref().map_or_else(|| node_id(number), |login| login.key.node());
        let node = self.add(CHUNK_PORT, move |life| {
            let mut random = root.child("weak", number as u64 ^ (life << 32));
            let config = WeakPeerConfig {
                node: id,
                boot: random.next_u64(),
                supers: supers.clone(),
                login: login.clone(),
                offer: Some(Offer { port: CHUNK_PORT, host: None, listens: Listens::Everywhere, http: false }),
                connect_timeout: CONNECT_TIMEOUT,
                download_timeout: crate::config::DOWNLOAD_TIMEOUT,
                agent: "sim".into(),
            };
            Machine::Weak(Box::new(WeakPeer::with_sessions(config, sessions, Box::new(random))))
        });
        self.nodes[node].neighbors = neighbors;
        node
    }

    /// From its next life on, this weak peer has a queue of downloads.
    pub fn keep_queue(&mut self, node: usize, parallel: usize) {
        self.nodes[node].parallel = Some(parallel);
    }

    /// Makes a content of this many bytes from the seed.
    pub fn content(&mut self, size: usize) -> ContentId {
        let mut random = self.root.child("content", self.sequence ^ (size as u64) << 32);
        self.sequence += 1;
        self.contents.make(size, &mut random)
    }

    /// Puts a file into the share of a node. A running node is notified.
    ///
    /// # Panics
    /// If the path is invalid.
    pub fn share(&mut self, node: usize, path: &str, content: ContentId) {
        let path = SharePath::new(path).expect("a path of 1 to 700 bytes");
        self.nodes[node].disk.put(&path, content);
        let added = vec![disk::record(path, content, &self.contents)];
        self.disk_says(node, DiskDone::Share { added, removed: Vec::new() });
    }

    /// Removes a file from the share of a node. Returns whether it existed.
    ///
    /// # Panics
    /// If the path is invalid.
    pub fn unshare(&mut self, node: usize, path: &str) -> bool {
        let path = SharePath::new(path).expect("a path of 1 to 700 bytes");
        let there = self.nodes[node].disk.take(&path);
        if there {
            self.disk_says(node, DiskDone::Share { added: Vec::new(), removed: vec![path] });
        }
        there
    }

    /// Another program changes or removes a file in the share of a node. The node notices this a
    /// little later. Returns whether the file existed.
    ///
    /// # Panics
    /// If the path is invalid.
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

    /// Sets the faults of the disk of a node.
    pub fn trouble(&mut self, node: usize, trouble: Trouble) {
        self.nodes[node].disk.set_trouble(trouble);
    }

    /// The node serves the content `wrong` when `content` is requested.
    pub fn lie_with(&mut self, node: usize, content: ContentId, wrong: ContentId) {
        let root = self.contents.root(content);
        self.nodes[node].disk.lie(root, wrong);
    }

    /// Sets the bytes of payload that a node sends per second.
    pub fn set_bandwidth(&mut self, bandwidth: u64) {
        self.bandwidth = bandwidth.max(1);
    }

    /// Replaces the contents of the world with contents that were made before.
    pub fn set_contents(&mut self, contents: Contents) {
        self.contents = contents;
    }

    /// Sets how far the clock of a node is ahead of the clock of the world.
    pub fn set_clock(&mut self, node: usize, ahead: Duration) {
        self.nodes[node].ahead = ahead;
    }

    /// Sets how many of a thousand messages on connections arrive in parts, and how many of a
    /// thousand short parts arrive byte by byte.
    pub fn set_split(&mut self, parts: u32, bytes: u32) {
        self.split = (parts, bytes);
    }

    /// From now on checks all messages with the shadow (`sim::shadow`).
    pub fn watch_all(&mut self) {
        self.shadow = Some(Box::default());
    }

    /// The node serves a copy of the content in which one bit of each of these bytes is wrong, with
    /// the MD5 of the wrong bytes.
    pub fn lie(&mut self, node: usize, content: ContentId, at: &[usize]) {
        let wrong = self.contents.falsify(content, at);
        let root = self.contents.root(content);
        self.nodes[node].disk.lie(root, wrong);
    }

    /// Sets the faults of datagrams, in this order.
    pub fn set_faults(&mut self, faults: Vec<Box<dyn Fault>>) {
        self.faults = faults;
    }

    /// Sets the shortest and the longest latency.
    pub fn set_latency(&mut self, least: Duration, most: Duration) {
        self.latency = (least, most);
    }

    /// Puts each message of a turn into a datagram of its own, so that a fault strikes only one
    /// message.
    pub fn send_singly(&mut self) {
        self.packs = false;
    }

    /// Checks the invariants of a machine after each of its turns.
    pub fn check_invariants(&mut self) {
        self.checks = true;
    }

    /// From now on `tap` sees every output.
    pub fn set_tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
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
