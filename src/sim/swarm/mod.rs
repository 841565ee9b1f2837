//! A swarm: one super peer, one peer that has a file, and many peers that fetch it. The machines
//! are the real ones; the lines of the peers are a model.
//!
//! - A message takes a short random time. The order of messages is kept. Their bytes are counted,
//!   but use no part of a line.
//! - Payloads flow over the lines as `lines` describes. Extents and digests are sent in place of
//!   the bytes of pieces.
//! - A socket holds `UNSENT` bytes: a sender gets the report that a payload is sent once no more
//!   than these bytes of it are left.
//! - Disks and workers take a fixed time, and never fail.
//!
//! The same plan gives the same figures.

mod conn;
mod content;
mod disks;
mod driver;
mod figures;
mod flows;
mod happening;
mod lines;
mod links;
mod measure;
mod node;
mod plan;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use slab::Slab;

pub use figures::{Figures, Kind};
pub use plan::{Leave, Plan};

use self::conn::{Link, Transfer};
use self::content::Content;
use self::figures::Tally;
use self::happening::Happening;
use self::lines::Lines;
use self::node::{Disk, Node};
use super::queue::Queue;
use super::random::Random;
use crate::config::{CHUNK_PORT, SUPER_PORT, UNSENT_BYTES_MAX};
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::weak_peer::{Listens, Offer, SwarmConfig, WeakPeer, WeakPeerConfig};
use crate::proto::{Entropy, Role};
use crate::time::Time;
use crate::wire::{FileRecord, HostPort, NodeId, SharePath};

/// The start of time. It is not zero, so that no code can confuse "no time" and "at the start".
const BEGINNING: Time = Time::from_micros(1_000_000);
/// The name of the file.
const FILE: &str = "file";
/// The nodes with a special task. All others fetch the file.
const SUPER: u32 = 0;
const SEED: u32 = 1;
const FIRST: u32 = 2;
/// Peers connect to their super peer within this time, or this many per second.
const CONNECTING: Duration = Duration::from_secs(1);
const CONNECTS_PER_SECOND: usize = 4000;
/// Then they have this time before the first command, for registrations and dials back.
const SETTLING: Duration = Duration::from_secs(4);
/// If all peers start at once, they start within this time.
const TOGETHER: Duration = Duration::from_millis(100);
/// How far a swarm runs in one step.
const STEP: Duration = Duration::from_millis(500);
/// How many unsent bytes a socket accepts (TCP_NOTSENT_LOWAT).
const UNSENT: f64 = UNSENT_BYTES_MAX as f64;

/// The machines, their lines, and the events to come.
pub struct Swarm {
    plan: Plan,
    content: Content,
    now: Time,
    sequence: u64,
    queue: Queue<Happening>,
    nodes: Vec<Node>,
    links: Slab<Link>,
    serial: u64,
    lines: Lines<Transfer>,
    /// For each zone, the line out of it and the line into it.
    zones: Vec<(u32, u32)>,
    random: Random,
    tally: Tally,
    /// A buffer for frames, which is used again.
    frame: Vec<u8>,
    /// When the first peer gets its command.
    began: Time,
    /// Peers that have the file, have failed, or have left.
    over: usize,
    /// Pieces that the seed has sent completely. Each is counted only once.
    seed_sent: Disk,
    /// Pieces that at least one peer has written.
    spread: Disk,
    copy_out_at: Option<Time>,
}

impl Swarm {
    /// A swarm in which nothing has happened yet.
    ///
    /// # Panics
    /// If the plan has no peer, piece or zone, or a line without a rate.
    #[must_use]
    pub fn new(plan: Plan) -> Swarm {
        assert!(plan.peers > 0 && plan.pieces > 0 && plan.zones > 0, "a swarm has peers, pieces and a zone");
        assert!(plan.up > 0 && plan.down > 0 && plan.seed_up > 0 && plan.cross != Some(0), "lines have a rate");
        let root = Random::new(plan.seed);
        let content = Content::new(plan.pieces, &mut root.child("content", 0));
        let connecting = CONNECTING.max(Duration::from_secs((plan.peers / CONNECTS_PER_SECOND) as u64));
        let mut swarm = Swarm {
            content,
            now: BEGINNING,
            sequence: 0,
            queue: Queue::new(),
            nodes: Vec::with_capacity(plan.peers + 2),
            links: Slab::new(),
            serial: 0,
            lines: Lines::new(),
            zones: Vec::new(),
            random: root.child("net", 0),
            tally: Tally::default(),
            frame: Vec::new(),
            began: BEGINNING + connecting + SETTLING,
            over: 0,
            seed_sent: Disk::default(),
            spread: Disk::default(),
            copy_out_at: None,
            plan,
        };
        if let Some(cross) = swarm.plan.cross {
            swarm.zones = (0..swarm.plan.zones).map(|_| (swarm.lines.add(cross), swarm.lines.add(cross))).collect();
        }
        swarm.add_super(&root);
        for node in SEED..FIRST + swarm.plan.peers as u32 {
            swarm.add_peer(node, &root, connecting);
        }
        swarm.plan_leaves(&mut root.child("leave", 0));
        swarm
    }

    fn add_super(&mut self, root: &Random) {
        let mut random = root.child("super", 0);
        let config = SuperPeerConfig::new(node_id(SUPER), random.next_u64());
        let lines = (self.lines.add(1), self.lines.add(1));
        self.nodes.push(Node::new(Box::new(SuperPeer::new(config, Box::new(random))), lines, 0, Disk::default()));
        self.wake_at(SUPER, BEGINNING);
    }

    fn add_peer(&mut self, number: u32, root: &Random, connecting: Duration) {
        let mut random = root.child("weak", u64::from(number));
        let start = BEGINNING + random.time(Duration::ZERO, connecting);
        let config = WeakPeerConfig {
            node: node_id(number),
            boot: random.next_u64(),
            supers: vec![HostPort::from(addr(SUPER)).into()],
            login: None,
            offer: Some(Offer { port: CHUNK_PORT, host: None, listens: Listens::Everywhere, http: false }),
            connect_timeout: Duration::from_secs(60),
            download_timeout: Duration::ZERO,
            agent: "sim".into(),
        };
        let is_seed = number == SEED;
        let up = if is_seed { self.plan.seed_up } else { self.plan.up };
        let lines = (self.lines.add(up), self.lines.add(self.plan.down));
        let zone = if is_seed { 0 } else { self.plan.zone((number - FIRST) as usize) };
        let disk = Disk { shared: is_seed, ..Disk::default() };
        let place = (self.plan.zones > 1).then(|| format!("zone-{zone}"));
        let swarm = SwarmConfig { zone: place, ..SwarmConfig::default() };
        let mut peer = Box::new(WeakPeer::new(config, Box::new(random)).with_swarms(swarm));
        let added = if is_seed { vec![self.record()] } else { Vec::new() };
        let share = crate::proto::DiskDone::Share { added, removed: Vec::new() };
        peer.handle_input(BEGINNING, crate::proto::Input::Disk(share));
        self.nodes.push(Node::new(peer, lines, zone, disk));
        self.wake_at(number, start);
        if !is_seed {
            let place = number - FIRST;
            let after = if self.plan.arrive.is_zero() {
                self.random.time(Duration::ZERO, TOGETHER)
            } else {
                self.plan.arrive * place
            };
            // The measured time begins with the first peer.
            let after = if place == 0 { Duration::ZERO } else { after };
            self.schedule(self.began + after, Happening::Ask { node: number });
        }
    }

    fn plan_leaves(&mut self, random: &mut Random) {
        if let Leave::Half(percent) = self.plan.leave {
            for node in &mut self.nodes[FIRST as usize..] {
                let leaves = random.below(100) < u64::from(percent);
                node.leaves_at = leaves.then_some(self.plan.pieces.div_ceil(2));
            }
        }
    }

    fn record(&self) -> FileRecord {
        let path = SharePath::new(FILE).expect("a name is a path");
        FileRecord { path, size: self.content.size, root: self.content.root, collection: false }
    }

    /// Runs until each peer has the file, has failed or has left, but at most for this much virtual
    /// time after the first command. `show` receives the progress in thousandths.
    pub fn run(&mut self, most: Duration, mut show: impl FnMut(u64)) -> Figures {
        let end = self.began + most;
        while self.over < self.plan.peers && self.now < end {
            let until = self.now + STEP;
            while self.queue.next().is_some_and(|at| at < until) && self.over < self.plan.peers {
                let Some((at, _, what)) = self.queue.pop() else { break };
                debug_assert!(at >= self.now, "time never runs backwards");
                self.now = at;
                self.happen(what);
            }
            if self.over < self.plan.peers {
                self.now = until;
            }
            let pieces = self.plan.peers as u64 * u64::from(self.plan.pieces);
            show(self.tally.written * 1000 / pieces.max(1));
        }
        // Bytes that are still on their way were sent in vain.
        self.stop_flows();
        self.figures()
    }
}

fn addr(node: u32) -> SocketAddr {
    let port = if node == SUPER { SUPER_PORT } else { CHUNK_PORT };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + node)), port)
}

/// The node at an address; none if no node can be there.
fn node_at(at: &HostPort) -> Option<u32> {
    match at.literal()? {
        SocketAddr::V4(at) => at.ip().to_bits().checked_sub(0x0a00_0001),
        SocketAddr::V6(_) => None,
    }
}

fn node_id(node: u32) -> NodeId {
    let mut id = [0x5a; 16];
    id[12..].copy_from_slice(&node.to_be_bytes());
    NodeId(id)
}

#[cfg(test)]
mod tests;
