//! The cost of a message above the sockets.
//!
//! ```text
//! cargo run --release --features measure --example hot_path [query|words|register|flood [COUNT]]
//! ```
//!
//! Decodes a frame or datagram, feeds it to the machine of a super peer, and encodes the answers,
//! COUNT times (200,000 by default). `query` asks for names, `words` for the seven words of a name.
//! Prints nanoseconds per message. Under `valgrind --tool=callgrind` it counts instructions, which
//! do not depend on the load of the machine.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::fmt::Write;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use sprat::proto::super_peer::{SuperPeer, SuperPeerConfig};
use sprat::proto::{ConnId, Entropy, Input, Output, Role};
use sprat::time::Time;
use sprat::wire::link::{self, LinkHello, LinkQuery, Packer};
use sprat::wire::message::{Hello, Login, Query, Register};
use sprat::wire::{FileRecord, LinkMessage, Message, NodeId, QueryId, QueryKind, Root, Search, SharePath, frame};

/// As in the binary, so that its cost is part of what is measured.
#[global_allocator]
static ALLOCATOR: sprat::memory::Counted = sprat::memory::Counted;

const SESSIONS: u32 = 50;
const FILES: u64 = 10_000;
const PAGE: u64 = 500;
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Messages of the flood in one datagram.
const PACKED: u64 = 8;

struct Counting(u64);

impl Entropy for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 = mix(self.0 + 1);
        self.0
    }
}

fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n
}

fn name(n: u64) -> String {
    let mut name = String::new();
    for word in 0..5 {
        let _ = write!(name, "w{:04} ", mix(n * 5 + word) % 2000);
    }
    let _ = write!(name, "{n:08}.flac");
    name
}

fn record(n: u64) -> FileRecord {
    let mut root = [0; 32];
    for (at, part) in (0_u64..).zip(root.chunks_exact_mut(8)) {
        part.copy_from_slice(&mix(n * 4 + at).to_be_bytes());
    }
    FileRecord { path: SharePath::new(&name(n)).expect("43 bytes"), size: n, root: Root(root), collection: false }
}

fn search(n: u64, kind: QueryKind) -> Search {
    Search::new(name(n), kind)
}

fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    bytes
}

/// The machine, with the two buffers that the loop owns.
struct Server {
    machine: SuperPeer,
    now: Time,
    out: Vec<u8>,
    packer: Packer,
    boot: u64,
    sent: u64,
}

impl Server {
    fn new(neighbors: Vec<SocketAddr>) -> Server {
        let config = SuperPeerConfig {
            neighbors: neighbors.into_iter().map(Into::into).collect(),
            ..SuperPeerConfig::new(NodeId([1; 16]), 1)
        };
        let machine = SuperPeer::new(config, Box::new(Counting(3)));
        let now = Time::from_micros(1_000_000);
        Server { machine, now, out: Vec::new(), packer: Packer::new(7), boot: 0, sent: 0 }
    }

    fn frame(&mut self, conn: ConnId, bytes: &[u8]) {
        let Ok(Some(body)) = frame::body(bytes, FRAME_BYTES_MAX) else { panic!("ours, and whole") };
        let Ok(message) = frame::message(body) else { panic!("ours") };
        self.machine.handle_input(self.now, Input::Message { conn, message });
        self.drain();
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.machine.handle_input(self.now, Input::Datagram { from, to: None, key: None, bytes });
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match &self.machine.poll_output() {
                Some(Output::Send { message, .. }) => {
                    self.sent += 1;
                    frame::encode(message, &mut self.out);
                }
                Some(Output::SendTo { message, .. }) => {
                    self.sent += 1;
                    if let LinkMessage::Hello(hello) = &**message {
                        self.boot = hello.boot;
                    }
                    black_box(self.packer.push(message));
                }
                Some(_) => {}
                None => break,
            }
        }
        black_box(&self.out);
        self.out.clear();
    }

    fn log_in(&mut self, index: u32) -> ConnId {
        let conn = ConnId { index, generation: 0 };
        let from = SocketAddr::from(([192, 0, 2, 7], 40_000));
        self.machine.handle_input(
            self.now,
            Input::Accepted { conn, from, to: [192, 0, 2, 1].into(), since: self.now, key: None, unix: 0 },
        );
        let (node, agent) = (NodeId([2; 16]), String::new());
        let hello = Hello { version: [1, 0], node, boot: 2, features: Vec::new(), agent };
        self.frame(conn, &framed(&Message::Hello(hello)));
        let login = Login::open();
        self.frame(conn, &framed(&Message::Login(login)));
        conn
    }

    fn register(&mut self, conn: ConnId, pages: &[Vec<u8>]) {
        for page in pages {
            self.frame(conn, page);
            self.go_on();
        }
    }

    /// Does what is put off to later turns: a page of files is registered in several.
    fn go_on(&mut self) {
        while self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.machine.handle_timeout(self.now);
            self.drain();
        }
    }
}

fn pages(files: u64) -> Vec<Vec<u8>> {
    (0..files / PAGE)
        .map(|n| {
            let files = (n * PAGE..(n + 1) * PAGE).map(record).collect();
            framed(&Message::Register(Register {
                seq: n + 1,
                port: 9,
                host: None,
                more_addr: None,
                http: false,
                files,
                more: true,
            }))
        })
        .collect()
}

fn queries(count: u64, kind: QueryKind) -> (u64, f64) {
    let mut server = Server::new(Vec::new());
    let conns: Vec<ConnId> = (0..SESSIONS).map(|index| server.log_in(index)).collect();
    server.register(conns[0], &pages(FILES));
    let asked: Vec<Vec<u8>> = (0..1000)
        .map(|n| {
            let query = Query {
                req: u32::try_from(n).unwrap_or(0),
                find: search(n * 7 % FILES, kind),
                ttl: None,
                budget: None,
                policy: None,
            };
            framed(&Message::Query(query))
        })
        .collect();
    let start = Instant::now();
    measured_queries(&mut server, &conns, &asked, count);
    (server.sent, start.elapsed().as_secs_f64())
}

/// Never inlined, so that callgrind can collect in this function only
/// (`--toggle-collect='*measured*'`).
#[inline(never)]
fn measured_queries(server: &mut Server, conns: &[ConnId], asked: &[Vec<u8>], count: u64) {
    for (n, conn) in (0..count).zip(conns.iter().cycle()) {
        server.now = Time::from_micros(1_000_000 + n * 8);
        server.frame(*conn, &asked[usize::try_from(n % 1000).unwrap_or(0)]);
    }
}

fn registers(count: u64) -> (u64, f64) {
    let mut server = Server::new(Vec::new());
    let conn = server.log_in(0);
    let pages = pages(count.next_multiple_of(PAGE));
    let start = Instant::now();
    measured_registers(&mut server, conn, &pages);
    (server.sent, start.elapsed().as_secs_f64())
}

#[inline(never)]
fn measured_registers(server: &mut Server, conn: ConnId, pages: &[Vec<u8>]) {
    server.register(conn, pages);
}

fn floods(count: u64) -> (u64, f64) {
    let neighbor = SocketAddr::from(([192, 0, 2, 8], 4777));
    let mut server = Server::new(vec![neighbor]);
    server.machine.handle_timeout(server.now);
    server.drain();
    let conn = server.log_in(0);
    server.register(conn, &pages(FILES));
    // The first HELLO is answered with the boot id that the second one repeats.
    for _ in 0..2 {
        let hello = LinkHello {
            node: NodeId([3; 16]),
            boot: 7,
            echo: server.boot,
            t: 1,
            et: None,
            tree: None,
            whole: false,
            dg: None,
            de: None,
            fold: Some(sprat::config::FOLD),
        };
        let mut packer = Packer::new(server.boot);
        packer.push(&LinkMessage::Hello(hello));
        let bytes = packer.finish().expect("one message");
        server.datagram(neighbor, &bytes);
    }
    let mut packer = Packer::new(server.boot);
    let datagrams: Vec<Vec<u8>> = (0..count / PACKED)
        .map(|n| {
            for at in n * PACKED..(n + 1) * PACKED {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&mix(at).to_be_bytes());
                let find = search(at * 7 % FILES, QueryKind::Exact);
                let query = LinkQuery {
                    id: QueryId(id),
                    ttl: 0,
                    hops: 1,
                    budget: 100,
                    find,
                    have: None,
                    flood: false,
                    again: false,
                    tree: None,
                };
                packer.push(&LinkMessage::Query(query));
            }
            packer.finish().expect("some messages")
        })
        .collect();
    assert!(datagrams.iter().all(|bytes| link::decode(bytes).is_ok()));
    let start = Instant::now();
    measured_floods(&mut server, neighbor, &datagrams);
    assert!(server.sent >= count, "every query is answered");
    (server.sent, start.elapsed().as_secs_f64())
}

#[inline(never)]
fn measured_floods(server: &mut Server, neighbor: SocketAddr, datagrams: &[Vec<u8>]) {
    for (n, bytes) in (0..).zip(datagrams) {
        server.now = Time::from_micros(1_000_000 + n * PACKED * 6);
        server.datagram(neighbor, bytes);
        server.go_on();
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_else(|| "query".into());
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let (sent, seconds) = match what.as_str() {
        "register" => registers(count),
        "flood" => floods(count),
        "words" => queries(count, QueryKind::Words),
        _ => queries(count, QueryKind::Exact),
    };
    #[expect(clippy::cast_precision_loss, reason = "a printed ratio")]
    let each = seconds * 1e9 / count as f64;
    println!("{count} {what} in {seconds:.3} s: {each:.0} ns each, {sent} messages sent");
}
