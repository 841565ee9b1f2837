//! A network of super peers for tests: real machines, virtual time, and a wire that a test may cut,
//! delay or double.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::counters::Count;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{CloseReason, ConnId, Entropy, Event, Input, Output, Role};
use crate::time::Time;
use crate::wire::link::{self, Packer};
use crate::wire::message::{Done, Hello, Hit, Login, Query, Register, SourceRecord};
use crate::wire::{FileRecord, LinkMessage, Message, NodeId, Policy, QueryKind, Root, Search, SharePath};

/// What happens to one message between two super peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrive,
    Lose,
    /// Arrives later than the others.
    Delay(Duration),
    /// Arrives twice.
    Double,
}

/// splitmix64: a test's randomness is its seed.
#[derive(Clone, Debug)]
pub(super) struct Seed(pub(super) u64);

impl Entropy for Seed {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

struct Packet {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// One super peer and everything that it sent.
pub(super) struct Node {
    pub(super) machine: SuperPeer,
    pub(super) alive: bool,
    pub(super) said: Vec<(ConnId, Message)>,
    pub(super) closed: Vec<ConnId>,
    pub(super) caps: Vec<(ConnId, usize)>,
    pub(super) events: Vec<Event>,
    next_conn: u32,
    lives: u64,
}

type Rule = Box<dyn FnMut(usize, usize, &LinkMessage) -> Fate>;

pub(super) struct Net {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
    queue: BTreeMap<(Time, u64), Packet>,
    sequence: u64,
    latency: Duration,
    rule: Rule,
    /// Every message that was put on the wire, lost ones included.
    pub(super) sent: Vec<(usize, usize, LinkMessage)>,
    /// How often a machine was woken by its timer, not by a message.
    pub(super) wakeups: usize,
    next_req: u32,
    /// How the queries of [`Net::query`] spread: plain floods, unless a test says otherwise.
    pub(super) policy: Policy,
}

pub(super) fn addr_of(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node + 1).unwrap()], 4777))
}

pub(super) fn file(path: &str) -> FileRecord {
    let root = Root(*blake3::hash(path.as_bytes()).as_bytes());
    FileRecord { path: SharePath::new(path).unwrap(), size: path.len() as u64, root }
}

pub(super) fn search(pattern: &str) -> Search {
    Search { pattern: pattern.to_owned(), kind: QueryKind::of(pattern), min: None, max: None, limit: None }
}

impl Net {
    /// Super peers `0..n` with these links, in both directions, all of them greeted.
    pub(super) fn new(n: usize, edges: &[(usize, usize)]) -> Net {
        let mut net = Net::cold(n, edges);
        net.run_for(Duration::from_millis(100));
        for node in &net.nodes {
            let links = node.machine.counts()["links"];
            assert_eq!(node.machine.links_up() as u64, links, "every link is up");
        }
        net.forget_traffic();
        net
    }

    /// The same, before the first message.
    pub(super) fn cold(n: usize, edges: &[(usize, usize)]) -> Net {
        let mut net = Net {
            now: Time::from_micros(1_000_000),
            nodes: Vec::new(),
            edges: edges.to_vec(),
            queue: BTreeMap::new(),
            sequence: 0,
            latency: Duration::from_micros(200),
            rule: Box::new(|_, _, _| Fate::Arrive),
            sent: Vec::new(),
            wakeups: 0,
            next_req: 0,
            policy: Policy::Flood,
        };
        for node in 0..n {
            let machine = net.machine(node, 0);
            net.nodes.push(Node {
                machine,
                alive: true,
                said: Vec::new(),
                closed: Vec::new(),
                caps: Vec::new(),
                events: Vec::new(),
                next_conn: 0,
                lives: 0,
            });
        }
        net
    }

    pub(super) fn line(n: usize) -> Net {
        Net::new(n, &(1..n).map(|node| (node - 1, node)).collect::<Vec<_>>())
    }

    pub(super) fn ring(n: usize) -> Net {
        Net::new(n, &(0..n).map(|node| (node, (node + 1) % n)).collect::<Vec<_>>())
    }

    fn machine(&self, node: usize, life: u64) -> SuperPeer {
        let neighbors = self.edges.iter().filter_map(|(a, b)| match node {
            _ if *a == node => Some(addr_of(*b)),
            _ if *b == node => Some(addr_of(*a)),
            _ => None,
        });
        let mut config = SuperPeerConfig::new(NodeId([node as u8; 16]), node as u64 + 1);
        config.neighbors = neighbors.collect();
        SuperPeer::new(config, Box::new(Seed(node as u64 * 1000 + life)))
    }

    pub(super) fn forget_traffic(&mut self) {
        self.sent.clear();
        self.wakeups = 0;
    }

    /// From now on this decides what happens to each message.
    pub(super) fn rule(&mut self, rule: impl FnMut(usize, usize, &LinkMessage) -> Fate + 'static) {
        self.rule = Box::new(rule);
    }

    /// From now on nothing passes between these two.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.rule(
            move |from, to, _| {
                if (from.min(to), from.max(to)) == (a.min(b), a.max(b)) { Fate::Lose } else { Fate::Arrive }
            },
        );
    }

    /// One of the edges of the tree that is held.
    pub(super) fn tree_edge(&self, which: usize) -> (usize, usize) {
        let edges = (0..self.nodes.len()).flat_map(|node| {
            let edges = self.nodes[node].machine.tree_edges();
            edges.into_iter().map(move |addr| (node, (0..).find(|other| addr_of(*other) == addr).unwrap()))
        });
        let edges: Vec<_> = edges.collect();
        edges[which * 7 % edges.len()]
    }

    pub(super) fn set_latency(&mut self, latency: Duration) {
        self.latency = latency;
    }

    /// The super peer sends and receives nothing any more.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
    }

    /// Restarts the super peer, without any state.
    pub(super) fn restart(&mut self, node: usize) {
        let life = self.nodes[node].lives + 1;
        self.nodes[node].machine = self.machine(node, life);
        self.nodes[node].lives = life;
        self.nodes[node].alive = true;
    }

    pub(super) fn input(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        self.nodes[node].machine.handle_input(now, input);
        self.drain(node);
    }

    pub(super) fn say(&mut self, node: usize, conn: ConnId, message: Message) {
        self.input(node, Input::Message { conn, message });
    }

    pub(super) fn datagram(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        self.input(node, Input::Datagram { from, bytes });
    }

    /// A connection that has sent nothing.
    pub(super) fn connect(&mut self, node: usize) -> ConnId {
        let index = self.nodes[node].next_conn;
        self.nodes[node].next_conn += 1;
        let conn = ConnId { index, generation: 7 };
        let from =
            SocketAddr::from(([127, 0, u8::try_from(node).unwrap(), u8::try_from(index % 250).unwrap()], 40_000));
        self.input(node, Input::Accepted { conn, from });
        conn
    }

    /// A session that is logged in.
    pub(super) fn login(&mut self, node: usize) -> ConnId {
        let conn = self.connect(node);
        self.say(node, conn, hello());
        self.say(node, conn, login());
        conn
    }

    /// A weak peer with these files.
    pub(super) fn peer(&mut self, node: usize, paths: &[&str]) -> ConnId {
        let conn = self.login(node);
        let files = paths.iter().map(|path| file(path)).collect();
        self.say(node, conn, register(1, files));
        conn
    }

    pub(super) fn close(&mut self, node: usize, conn: ConnId) {
        self.input(node, Input::Closed { conn, why: CloseReason::Remote });
    }

    pub(super) fn query(&mut self, node: usize, conn: ConnId, find: Search, ttl: u8, budget_ms: u32) -> u32 {
        self.query_by(self.policy, node, conn, find, ttl, budget_ms)
    }

    pub(super) fn query_by(
        &mut self,
        policy: Policy,
        node: usize,
        conn: ConnId,
        find: Search,
        ttl: u8,
        budget_ms: u32,
    ) -> u32 {
        self.next_req += 1;
        let req = self.next_req;
        let (ttl, budget, policy) = (Some(ttl), Some(budget_ms), Some(policy));
        self.say(node, conn, Message::Query(Query { req, find, ttl, budget, policy }));
        req
    }

    pub(super) fn hits(&self, node: usize, req: u32) -> Vec<SourceRecord> {
        let hits = self.nodes[node].said.iter().filter_map(|(_, message)| {
            let Message::Hit(Hit { req: of, hits }) = message else { return None };
            (*of == req).then(|| hits.clone())
        });
        hits.flatten().collect()
    }

    pub(super) fn done(&self, node: usize, req: u32) -> Option<Done> {
        self.nodes[node].said.iter().find_map(|(_, message)| {
            let Message::Done(done) = message else { return None };
            (done.req == req).then(|| done.clone())
        })
    }

    /// Runs until the query has ended; it must end.
    pub(super) fn finish(&mut self, node: usize, req: u32) -> Done {
        for _ in 0..200_000 {
            if let Some(done) = self.done(node, req) {
                return done;
            }
            assert!(self.step(), "nothing is left to do, and the query has not ended");
        }
        panic!("the query does not end");
    }

    /// Asks on a session of its own, and waits for the end.
    pub(super) fn ask(&mut self, node: usize, pattern: &str, ttl: u8) -> (Vec<SourceRecord>, Done) {
        let conn = self.login(node);
        let req = self.query(node, conn, search(pattern), ttl, 2000);
        let done = self.finish(node, req);
        (self.hits(node, req), done)
    }

    /// The same by another policy, and with a limit.
    pub(super) fn ask_by(&mut self, policy: Policy, node: usize, find: Search, ttl: u8) -> (Vec<SourceRecord>, Done) {
        let conn = self.login(node);
        let req = self.query_by(policy, node, conn, find, ttl, 2000);
        let done = self.finish(node, req);
        (self.hits(node, req), done)
    }

    pub(super) fn count(&self, node: usize, count: Count) -> u64 {
        self.nodes[node].machine.counters().count(count)
    }

    /// How many messages for which this holds were put on the wire.
    pub(super) fn sent(&self, which: impl Fn(&LinkMessage) -> bool) -> usize {
        self.sent.iter().filter(|(_, _, message)| which(message)).count()
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// The next packet or deadline. False if there is none.
    pub(super) fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        let arrived = self.queue.first_key_value().filter(|((at, _), _)| *at <= self.now).map(|(key, _)| *key);
        if let Some(packet) = arrived.and_then(|key| self.queue.remove(&key)) {
            if self.nodes[packet.to].alive {
                self.datagram(packet.to, addr_of(packet.from), &packet.bytes);
            }
            return true;
        }
        for node in 0..self.nodes.len() {
            let due = self.nodes[node].machine.poll_timeout().is_some_and(|at| at <= self.now);
            if self.nodes[node].alive && due {
                self.wakeups += 1;
                let now = self.now;
                self.nodes[node].machine.handle_timeout(now);
                self.drain(node);
            }
        }
        true
    }

    fn next(&self) -> Option<Time> {
        let alive = self.nodes.iter().filter(|node| node.alive);
        let deadlines = alive.filter_map(|node| node.machine.poll_timeout());
        deadlines.chain(self.queue.keys().next().map(|(at, _)| *at)).min()
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.poll_output() {
            let this = &mut self.nodes[node];
            match output {
                Output::Send { conn, message } => {
                    // A machine must send nothing that a real peer cannot decode.
                    let mut bytes = Vec::new();
                    crate::wire::frame::encode(&message, &mut bytes);
                    crate::wire::frame::decode(&bytes, crate::config::FRAME_BYTES_OPEN).unwrap().unwrap();
                    this.said.push((conn, message));
                }
                Output::Close { conn } => {
                    this.closed.push(conn);
                    this.machine.handle_input(self.now, Input::Closed { conn, why: CloseReason::Asked });
                }
                Output::FrameCap { conn, bytes } => this.caps.push((conn, bytes)),
                Output::SendTo { to, boot, message } => self.transmit(node, to, boot, message),
                Output::Event(event) => this.events.push(event),
                other @ (Output::Dial { .. }
                | Output::SendPayload { .. }
                | Output::ReceivePayload { .. }
                | Output::DropPayload { .. }
                | Output::DropChunk { .. }
                | Output::Disk(_)) => panic!("a super peer asked for {other:?}"),
            }
        }
        self.nodes[node].machine.check_invariants();
    }

    fn transmit(&mut self, from: usize, to: SocketAddr, boot: u64, message: LinkMessage) {
        let hello = matches!(message, LinkMessage::Hello(_));
        assert!(boot != 0 || hello, "only a HELLO goes to an unknown life");
        let mut packer = Packer::new(boot);
        assert!(packer.push(&message).is_none());
        let bytes = packer.finish().unwrap();
        link::decode(&bytes).unwrap();
        let Some(to) = (0..self.nodes.len()).find(|node| addr_of(*node) == to) else { return };
        let fate = (self.rule)(from, to, &message);
        self.sent.push((from, to, message));
        let (copies, delay) = match fate {
            Fate::Lose => return,
            Fate::Arrive => (1, Duration::ZERO),
            Fate::Delay(delay) => (1, delay),
            Fate::Double => (2, Duration::ZERO),
        };
        for _ in 0..copies {
            self.sequence += 1;
            let key = (self.now + self.latency + delay, self.sequence);
            self.queue.insert(key, Packet { from, to, bytes: bytes.clone() });
        }
    }
}

pub(super) fn hello() -> Message {
    let version = crate::config::PROTOCOL_VERSION;
    Message::Hello(Hello { version, node: NodeId([9; 16]), boot: 1, features: vec![], agent: "test".into() })
}

pub(super) fn login() -> Message {
    Message::Login(Login { mode: "open".into(), user: None, proof: None })
}

pub(super) fn register(seq: u64, files: Vec<FileRecord>) -> Message {
    Message::Register(Register { seq, port: 4778, host: None, files, more: false })
}
