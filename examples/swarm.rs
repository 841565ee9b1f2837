//! Plays many weak peers in one process, to load a super peer.
//!
//! ```text
//! cargo run --release --example swarm -- PEERS FILES SUPER [SUPER ...]
//! ```
//!
//! Each of PEERS registers FILES files of its own at the first super peer, and at the next super
//! peer when this one closes the session. The peers serve nothing. The program prints events, one
//! JSON object per line: `registered` each time all peers are registered. Lines on standard input
//! are commands:
//!
//! - `check`: queries the super peers of the first two peers for every file by name. `checked`
//!   reports how many were found exactly once.
//! - End of input: ends.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::process::{Resource, getrlimit, setrlimit};
use sprat::config;
use sprat::wire::message::{Hello, Login, Ping, Query, Register};
use sprat::wire::{FileRecord, Message, NodeId, QueryKind, Root, Search, SharePath, frame};

/// Most peers that register at the same time: fewer than the backlog of any listener.
const JOINING_MAX: usize = 200;
/// Queries that the check keeps in flight.
const CHECKS_MAX: usize = config::SESSION_QUERIES_MAX;
const WAKER: Token = Token(usize::MAX);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [peers, files, supers @ ..] = &args[..] else {
        return Err("usage: swarm PEERS FILES SUPER [SUPER ...]".into());
    };
    let supers: Vec<SocketAddr> = supers.iter().map(|addr| addr.parse()).collect::<Result<_, _>>()?;
    if supers.is_empty() {
        return Err("usage: swarm PEERS FILES SUPER [SUPER ...]".into());
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Swarm::new(peers.parse()?, files.parse()?, supers)?.run()
}

/// The name of one file of one peer.
fn name(peer: usize, file: usize) -> String {
    format!("peer {peer:05} file {file:03}.dat")
}

fn record(peer: usize, file: usize) -> FileRecord {
    let name = name(peer, file);
    let root = Root(*blake3::hash(name.as_bytes()).as_bytes());
    FileRecord { path: SharePath::new(&name).expect("a short name"), size: 1, root, collection: false }
}

/// What one peer waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Joining,
    Registered,
}

struct Peer {
    stream: Option<TcpStream>,
    state: State,
    super_peer: usize,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// The running check: the next file, and the answers so far.
struct Check {
    started: Instant,
    next: usize,
    running: usize,
    hits: Vec<u32>,
}

struct Swarm {
    poll: Poll,
    peers: Vec<Peer>,
    files: usize,
    supers: Vec<SocketAddr>,
    away: VecDeque<usize>,
    joining: usize,
    registered: usize,
    since: Instant,
    ping: Duration,
    check: Option<Check>,
    orders: Receiver<Option<String>>,
}

impl Swarm {
    fn new(count: usize, files: usize, supers: Vec<SocketAddr>) -> io::Result<Swarm> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, orders) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = io::stdin().lock().lines().map_while(Result::ok).map(Some).chain([None]);
            for line in lines {
                if sender.send(line).is_err() || waker.wake().is_err() {
                    return;
                }
            }
        });
        let peer = || Peer { stream: None, state: State::Away, super_peer: 0, unread: Vec::new(), unsent: Vec::new() };
        Ok(Swarm {
            poll,
            peers: std::iter::repeat_with(peer).take(count).collect(),
            files,
            supers,
            away: (0..count).collect(),
            joining: 0,
            registered: 0,
            since: Instant::now(),
            ping: config::PING_INTERVAL,
            check: None,
            orders,
        })
    }

    fn run(mut self) -> Result<(), Box<dyn std::error::Error>> {
        let mut events = Events::with_capacity(1024);
        let mut pinged = Instant::now();
        loop {
            while self.joining < JOINING_MAX
                && let Some(number) = self.away.pop_front()
            {
                self.join(number);
            }
            self.poll.poll(&mut events, Some(Duration::from_secs(1)))?;
            for event in &events {
                if event.token() != WAKER {
                    self.turn(event.token().0)?;
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                match order.as_deref() {
                    None => return Ok(()),
                    Some("check") => self.begin_check(),
                    Some(other) => return Err(format!("{other:?} is no order: write check").into()),
                }
            }
            if pinged.elapsed() > self.ping / 2 {
                pinged = Instant::now();
                for number in 0..self.peers.len() {
                    if self.peers[number].state == State::Registered {
                        self.send(number, &Message::Ping(Ping { n: 0 }));
                    }
                }
            }
        }
    }

    fn join(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        peer.unread.clear();
        peer.unsent.clear();
        let Ok(mut stream) = TcpStream::connect(self.supers[peer.super_peer]) else { return self.lost(number) };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(number), interest).is_err() {
            return self.lost(number);
        }
        peer.stream = Some(stream);
        peer.state = State::Joining;
        self.joining += 1;
        let mut node = [0; 16];
        node[..8].copy_from_slice(&(number as u64).to_be_bytes());
        self.send(
            number,
            &Message::Hello(Hello {
                version: config::PROTOCOL_VERSION,
                node: NodeId(node),
                boot: 1,
                features: Vec::new(),
                agent: "swarm".into(),
            }),
        );
    }

    /// The connection was closed or failed. Tries the next super peer.
    fn lost(&mut self, number: usize) {
        let all = self.peers.len();
        let peer = &mut self.peers[number];
        match peer.state {
            State::Away => {}
            State::Joining => self.joining -= 1,
            State::Registered => {
                if self.registered == all {
                    self.since = Instant::now();
                }
                self.registered -= 1;
            }
        }
        peer.state = State::Away;
        peer.stream = None;
        peer.super_peer = (peer.super_peer + 1) % self.supers.len();
        self.away.push_back(number);
    }

    fn send(&mut self, number: usize, message: &Message) {
        frame::encode(message, &mut self.peers[number].unsent);
        self.flush(number);
    }

    fn flush(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        let Some(stream) = &mut peer.stream else { return };
        while !peer.unsent.is_empty() {
            match stream.write(&peer.unsent) {
                Ok(sent) => drop(peer.unsent.drain(..sent)),
                // The socket is not connected yet, or it is full. The next writable event
                // continues. An error shows at the next read.
                Err(_) => return,
            }
        }
    }

    fn turn(&mut self, number: usize) -> Result<(), Box<dyn std::error::Error>> {
        self.flush(number);
        let mut buffer = [0; 64 * 1024];
        loop {
            let Some(stream) = &mut self.peers[number].stream else { return Ok(()) };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    self.lost(number);
                    return Ok(());
                }
                Ok(length) => self.peers[number].unread.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(_) => {
                    self.lost(number);
                    return Ok(());
                }
            }
        }
        let mut used = 0;
        while let Some((message, length)) = frame::decode(&self.peers[number].unread[used..], config::FRAME_BYTES_OPEN)?
        {
            used += length;
            self.receive(number, message)?;
        }
        self.peers[number].unread.drain(..used);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a peer that only registers and searches receives a few kinds")]
    fn receive(&mut self, number: usize, message: Message) -> Result<(), Box<dyn std::error::Error>> {
        match message {
            Message::Welcome(welcome) => {
                self.ping = Duration::from_millis(welcome.ping.into());
                self.send(number, &Message::Login(Login::open()));
            }
            Message::Ready(_) => {
                let files = (0..self.files).map(|file| record(number, file)).collect();
                let host = None;
                self.send(
                    number,
                    &Message::Register(Register {
                        seq: 1,
                        port: 1024,
                        host,
                        more_addr: None,
                        http: false,
                        files,
                        more: false,
                    }),
                );
            }
            Message::Ack(_) => {
                self.peers[number].state = State::Registered;
                self.joining -= 1;
                self.registered += 1;
                if self.registered == self.peers.len() {
                    let ms = self.since.elapsed().as_millis();
                    say(&serde_json::json!({"event": "registered", "peers": self.registered, "ms": ms}))?;
                }
            }
            Message::Pong(_) => {}
            Message::Hit(hit) => {
                if let Some(check) = &mut self.check {
                    check.hits[hit.req as usize] += u32::try_from(hit.hits.len())?;
                }
            }
            Message::Done(_) => {
                if let Some(check) = &mut self.check {
                    check.running -= 1;
                }
                self.go_on_checking()?;
            }
            Message::Bye(_) => self.lost(number),
            Message::Error(error) => return Err(format!("peer {number}: {error:?}").into()),
            other => return Err(format!("peer {number}: unexpected {}", other.kind()).into()),
        }
        Ok(())
    }

    fn begin_check(&mut self) {
        let hits = vec![0; self.peers.len() * self.files];
        self.check = Some(Check { started: Instant::now(), next: 0, running: 0, hits });
        self.go_on_checking().expect("nothing to say yet");
    }

    fn go_on_checking(&mut self) -> io::Result<()> {
        while let Some(check) = &mut self.check {
            if check.next == check.hits.len() {
                if check.running > 0 {
                    return Ok(());
                }
                let found = check.hits.iter().filter(|&&hits| hits == 1).count();
                let ms = check.started.elapsed().as_millis();
                say(&serde_json::json!({"event": "checked", "files": check.hits.len(), "found": found, "ms": ms}))?;
                self.check = None;
                return Ok(());
            }
            if check.running == CHECKS_MAX {
                return Ok(());
            }
            let req = check.next;
            check.next += 1;
            check.running += 1;
            let pattern = name(req / self.files, req % self.files);
            let find = Search::new(pattern, QueryKind::Exact);
            let req = u32::try_from(req).expect("fewer than 2^32 files");
            // A query does not return the files of its own session, so the second peer queries for
            // those of the first.
            let asker = usize::from(self.peers.len() > 1 && (req as usize) < self.files);
            self.send(asker, &Message::Query(Query { req, find, ttl: Some(0), budget: None, policy: None }));
        }
        Ok(())
    }
}

fn say(line: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
