//! Real weak peers at real super peers: every message goes through the frames and their caps, every byte through a disk in
//! memory, in virtual time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::harness::{CLIENT, Content, Counter, cv, md5_of};
use crate::config::{FRAME_BYTES_HELLO, MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::command::Get;
use crate::proto::disk::{PartState, ServeFailure};
use crate::proto::event::Outcome;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::weak_peer::{Offer, WeakPeer, WeakPeerConfig};
use crate::proto::{
    ClientEvent, CloseReason, Command, ConnId, DialId, Digests, DiskDone, DiskWork, Event, HashPlan, Input, Output,
    PayloadId, Role, Scope, Verify,
};
use crate::time::Time;
use crate::wire::{FileRecord, HostPort, NodeId, Root, SharePath, frame};

const LATENCY: Duration = Duration::from_millis(1);
/// Bytes a second of every line.
const RATE: u64 = 20 * PIECE_BYTES;

struct Node {
    machine: Box<dyn Role>,
    alive: bool,
    /// The other end of each connection, and the frame cap of ours.
    conns: BTreeMap<ConnId, (usize, ConnId, usize)>,
    next_conn: u32,
    /// What the machine said it takes behind the CHUNK.
    takes: BTreeMap<ConnId, (u32, HashPlan, Verify)>,
    payloads: BTreeMap<PayloadId, Vec<u8>>,
    share: BTreeMap<Root, Vec<u8>>,
    parts: BTreeMap<u32, Vec<u8>>,
    part_name: String,
    events: Vec<Event>,
}

enum Delivery {
    Input(Input<'static>),
    Frame(ConnId, Vec<u8>),
    Payload(ConnId, Vec<u8>),
}

struct Village {
    nodes: Vec<Node>,
    now: Time,
    agenda: BTreeMap<(Time, u64), (usize, Delivery)>,
    order: u64,
}

/// Super peers live at 10.0.0.N:4777, weak ones at 10.0.0.N:4778.
fn addr_of(node: usize, port: u16) -> HostPort {
    HostPort::new(&format!("10.0.{}.{}", node / 250, node % 250 + 1), port).unwrap()
}

impl Village {
    fn new() -> Village {
        Village { nodes: Vec::new(), now: Time::ZERO, agenda: BTreeMap::new(), order: 0 }
    }

    fn enter(&mut self, machine: Box<dyn Role>) -> usize {
        self.nodes.push(Node {
            machine,
            alive: true,
            conns: BTreeMap::new(),
            next_conn: 0,
            takes: BTreeMap::new(),
            payloads: BTreeMap::new(),
            share: BTreeMap::new(),
            parts: BTreeMap::new(),
            part_name: String::new(),
            events: Vec::new(),
        });
        self.nodes.len() - 1
    }

    fn super_peer(&mut self) -> usize {
        let n = self.nodes.len();
        let config = SuperPeerConfig::new(NodeId([n as u8; 16]), 9);
        self.enter(Box::new(SuperPeer::new(config, Box::new(Counter(n as u64)))))
    }

    fn weak_peer(&mut self, supers: &[usize]) -> usize {
        let n = self.nodes.len();
        let config = WeakPeerConfig {
            node: NodeId([100 + (n % 100) as u8, n as u8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
            boot: n as u64,
            supers: supers.iter().map(|node| addr_of(*node, 4777)).collect(),
            offer: Some(Offer { port: 4778, host: None }),
            connect_timeout: Duration::from_secs(10),
            agent: "sprat test".into(),
        };
        self.enter(Box::new(WeakPeer::new(config, Box::new(Counter(n as u64)))))
    }

    fn offers(&mut self, node: usize, path: &str, content: &Content) {
        self.nodes[node].share.insert(content.root, content.bytes.clone());
        let path = SharePath::new(path).unwrap();
        let record = FileRecord { path, size: content.size(), root: content.root };
        self.input(node, Input::Disk(DiskDone::Share { added: vec![record], removed: vec![] }));
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    fn input(&mut self, node: usize, input: Input<'_>) {
        self.nodes[node].machine.handle_input(self.now, input);
        self.drain(node);
    }

    fn later(&mut self, wait: Duration, node: usize, delivery: Delivery) {
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), (node, delivery));
    }

    fn step(&mut self, until: Time) -> bool {
        let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let due =
            |(index, node): (usize, &Node)| node.alive.then(|| node.machine.poll_timeout().map(|at| (at, index)))?;
        let timer = self.nodes.iter().enumerate().filter_map(due).min();
        let Some(at) = agenda.into_iter().chain(timer.map(|(at, _)| at)).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        match timer {
            Some((at, index)) if agenda.is_none_or(|agenda| at <= agenda) => {
                self.nodes[index].machine.handle_timeout(self.now);
                self.drain(index);
            }
            _ => {
                if let Some((_, (node, delivery))) = self.agenda.pop_first() {
                    self.deliver(node, delivery);
                }
            }
        }
        true
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    fn command(&mut self, node: usize, command: Command) -> (Outcome, Vec<ClientEvent>) {
        self.nodes[node].events.clear();
        self.input(node, Input::Command { client: CLIENT, command });
        let until = self.now + Duration::from_secs(120);
        loop {
            let told: Vec<_> = self.nodes[node]
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Client { client: CLIENT, event } => Some(event.clone()),
                    _ => None,
                })
                .collect();
            if let Some(ClientEvent::Done(outcome)) = told.last() {
                return (outcome.clone(), told);
            }
            assert!(self.step(until), "the command never ended: {told:#?}");
        }
    }

    fn deliver(&mut self, node: usize, delivery: Delivery) {
        let here = &mut self.nodes[node];
        if !here.alive {
            return;
        }
        match delivery {
            Delivery::Input(input) => {
                if let Input::Closed { conn, .. } = &input {
                    here.conns.remove(conn);
                }
                self.input(node, input);
            }
            Delivery::Frame(conn, bytes) => {
                let Some((_, _, cap)) = here.conns.get(&conn) else { return };
                let (message, used) = frame::decode(&bytes, *cap).expect("within the cap").expect("whole");
                assert_eq!(used, bytes.len());
                self.input(node, Input::Message { conn, message });
            }
            Delivery::Payload(conn, bytes) => {
                let Some((req, plan, verify)) = here.takes.remove(&conn) else { return };
                let blake3 = match plan {
                    HashPlan::Content => *blake3::hash(&bytes).as_bytes(),
                    HashPlan::Piece { offset } => cv(&bytes, offset).0,
                };
                let digests = Digests {
                    md5: (verify != Verify::Blake3).then(|| md5_of(&bytes)),
                    blake3: (verify != Verify::Md5).then_some(blake3),
                };
                let payload = PayloadId(self.order);
                self.order += 1;
                here.payloads.insert(payload, bytes);
                self.input(node, Input::PayloadReceived { conn, req, payload, digests });
            }
        }
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        for (_, (other, conn, _)) in std::mem::take(&mut self.nodes[node].conns) {
            let closed = Input::Closed { conn, why: CloseReason::Remote };
            self.later(LATENCY, other, Delivery::Input(closed));
        }
    }

    // ---- outputs -------------------------------------------------------------------------------------------------

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].machine.poll_output() {
            match output {
                Output::Dial { dial, to } => self.dial(node, dial, &to),
                Output::Send { conn, message } => {
                    let mut bytes = Vec::new();
                    frame::encode(&message, &mut bytes);
                    self.carry(node, conn, LATENCY, |conn| Delivery::Frame(conn, bytes));
                }
                Output::SendPayload { conn, req, offset, length } => {
                    let time = LATENCY + Duration::from_micros(u64::from(length) * 1_000_000 / RATE);
                    // Every test has one content.
                    let content = self.nodes[node].share.values().next().expect("it was prepared");
                    let bytes = content[offset as usize..(offset + u64::from(length)) as usize].to_vec();
                    self.carry(node, conn, time, |conn| Delivery::Payload(conn, bytes));
                    self.later(time, node, Delivery::Input(Input::PayloadSent { conn, req }));
                }
                Output::ReceivePayload { conn, req, length: _, plan, verify } => {
                    self.nodes[node].takes.insert(conn, (req, plan, verify));
                }
                Output::FrameCap { conn, bytes } => {
                    if let Some(end) = self.nodes[node].conns.get_mut(&conn) {
                        end.2 = bytes;
                    }
                }
                Output::Close { conn } => {
                    let closed = |conn| Delivery::Input(Input::Closed { conn, why: CloseReason::Remote });
                    self.carry(node, conn, LATENCY, closed);
                    if self.nodes[node].conns.remove(&conn).is_some() {
                        let closed = Input::Closed { conn, why: CloseReason::Asked };
                        self.later(LATENCY, node, Delivery::Input(closed));
                    }
                }
                Output::Disk(work) => self.disk(node, work),
                Output::Event(event) => self.nodes[node].events.push(event),
                Output::DropPayload { payload } => {
                    self.nodes[node].payloads.remove(&payload).expect("used once");
                }
                Output::SendTo { .. } | Output::DropChunk { .. } => {}
            }
        }
    }

    fn carry(&mut self, node: usize, conn: ConnId, wait: Duration, make: impl FnOnce(ConnId) -> Delivery) {
        if let Some((other, conn, _)) = self.nodes[node].conns.get(&conn).copied() {
            self.later(wait, other, make(conn));
        }
    }

    fn mint(&mut self, node: usize) -> ConnId {
        self.nodes[node].next_conn += 1;
        ConnId { index: self.nodes[node].next_conn, generation: 0 }
    }

    fn dial(&mut self, node: usize, dial: DialId, to: &HostPort) {
        let is_there = |other: &usize| self.nodes[*other].alive && addr_of(*other, to.port()) == *to;
        let Some(other) = (0..self.nodes.len()).find(is_there) else {
            let why = "connection refused".to_owned();
            return self.later(LATENCY, node, Delivery::Input(Input::DialFailed { dial, why }));
        };
        let (ours, theirs) = (self.mint(node), self.mint(other));
        self.nodes[node].conns.insert(ours, (other, theirs, FRAME_BYTES_HELLO));
        self.nodes[other].conns.insert(theirs, (node, ours, FRAME_BYTES_HELLO));
        let from = addr_of(node, 50_000).literal().unwrap();
        self.later(LATENCY, other, Delivery::Input(Input::Accepted { conn: theirs, from }));
        self.later(LATENCY, node, Delivery::Input(Input::Dialed { dial, conn: ours }));
    }

    fn disk(&mut self, node: usize, work: DiskWork) {
        let here = &mut self.nodes[node];
        let done = match work {
            DiskWork::PrepareChunk { conn, req, root, offset, length, bare } => {
                let range = offset as usize..(offset + u64::from(length)) as usize;
                let md5 = |bytes: &Vec<u8>| (!bare).then(|| md5_of(&bytes[range]));
                let result = here.share.get(&root).ok_or(ServeFailure::NotFound).map(md5);
                DiskDone::ChunkReady { conn, req, result }
            }
            DiskWork::ReadManifest { conn, req, root, first } => {
                let page = |bytes: &Vec<u8>| {
                    let pieces = bytes.chunks(PIECE_BYTES as usize).zip(0_u64..).skip(first as usize);
                    let cvs = pieces.take(MANIFEST_PAGE_CVS).flat_map(|(piece, n)| cv(piece, n * PIECE_BYTES).0);
                    (bytes.len() as u64, cvs.collect())
                };
                let result = here.share.get(&root).ok_or(ServeFailure::NotFound).map(page);
                DiskDone::ManifestReady { conn, req, first, result }
            }
            DiskWork::OpenPart { download, destination, .. } => {
                let crate::proto::disk::Destination::Share { name } = destination else { panic!("into the share") };
                here.part_name = name;
                let state = PartState::Open { path: PathBuf::from(&here.part_name), manifest: None, verified: vec![] };
                DiskDone::PartOpened { download, result: Ok(state) }
            }
            DiskWork::WritePiece { download, piece, payload } => {
                let bytes = here.payloads.remove(&payload).expect("used once");
                here.parts.insert(piece, bytes);
                DiskDone::PieceWritten { download, piece, result: Ok(()) }
            }
            DiskWork::Publish { download } => {
                let bytes: Vec<u8> = std::mem::take(&mut here.parts).into_values().flatten().collect();
                let root = Root(*blake3::hash(&bytes).as_bytes());
                let path = SharePath::new(&here.part_name).unwrap();
                let record = FileRecord { path, size: bytes.len() as u64, root };
                here.share.insert(root, bytes);
                let path = PathBuf::from(&here.part_name);
                let share = DiskDone::Share { added: vec![record], removed: vec![] };
                self.later(LATENCY, node, Delivery::Input(Input::Disk(share)));
                DiskDone::Published { download, result: Ok(path) }
            }
            DiskWork::StoreManifest { .. } | DiskWork::Abandon { .. } | DiskWork::ForgetConn { .. } => return,
        };
        self.later(LATENCY, node, Delivery::Input(Input::Disk(done)));
    }
}

fn get(what: &str) -> Command {
    let what = what.to_owned();
    Command::Get(Get { what, from: None, out: None, verify: Verify::Both, scope: Scope::default() })
}

#[test]
fn four_peers_serve_a_fifth_which_then_serves_too() {
    let content = Content::new(9 * PIECE_BYTES + 1, 4);
    let mut village = Village::new();
    let host = village.super_peer();
    let peers: Vec<_> = (0..5).map(|_| village.weak_peer(&[host])).collect();
    for &peer in &peers[1..] {
        village.offers(peer, "music/blue train.flac", &content);
    }
    village.run_for(Duration::from_secs(1));
    let (outcome, _) = village.command(peers[0], get("blue train.flac"));
    assert!(outcome.ok, "{outcome:?}");
    let sources = outcome.sources.unwrap();
    assert_eq!(sources.len(), 4);
    assert_eq!(sources.iter().map(|source| source.pieces).sum::<u32>(), 10);
    assert!(sources.iter().filter(|source| source.pieces > 0).count() >= 3, "{sources:?}");
    assert!(village.nodes[peers[0]].share.get(&content.root) == Some(&content.bytes));
    village.run_for(Duration::from_secs(1));
    let (listed, files) = village.command(peers[3], Command::List);
    assert!(listed.ok);
    let holders = files.iter().filter_map(|event| match event {
        ClientEvent::File { holders, .. } => Some(*holders),
        _ => None,
    });
    assert_eq!(holders.sum::<u32>(), 5);
    let (nobody, _) = village.command(peers[0], get("no such thing"));
    assert_eq!(nobody.exit, 3);
}

#[test]
fn a_hundred_peers_are_found_through_the_second_super_peer() {
    let mut village = Village::new();
    let supers = [village.super_peer(), village.super_peer()];
    let peers: Vec<_> = (0..100).map(|_| village.weak_peer(&supers)).collect();
    for &peer in &peers {
        village.offers(peer, &format!("file-{peer}.txt"), &Content::new(10, peer as u64));
    }
    village.run_for(Duration::from_secs(30));
    village.kill(supers[0]);
    village.run_for(Duration::from_secs(10));
    let (listed, files) = village.command(peers[0], Command::List);
    assert_eq!((listed.ok, listed.files), (true, Some(100)), "{files:?}");
}

#[test]
fn a_long_list_arrives_whole() {
    let mut village = Village::new();
    let host = village.super_peer();
    let peer = village.weak_peer(&[host]);
    let record = |n: u64| FileRecord {
        path: SharePath::new(&format!("{n:06}-{}.bin", "x".repeat(80))).unwrap(),
        size: n,
        root: Root([n as u8; 32]),
    };
    let added: Vec<_> = (0..5000).map(record).collect();
    village.input(peer, Input::Disk(DiskDone::Share { added, removed: vec![] }));
    village.run_for(Duration::from_secs(2));
    let gone = (0..2000).map(|n| record(n).path).collect();
    village.input(peer, Input::Disk(DiskDone::Share { added: vec![], removed: gone }));
    village.run_for(Duration::from_secs(2));
    let (listed, _) = village.command(peer, Command::List);
    assert_eq!((listed.ok, listed.files), (true, Some(3000)));
}
