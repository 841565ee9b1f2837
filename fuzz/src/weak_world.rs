//! A weak peer between super peers, sources, clients and a disk, whose every word is drawn; or
//! honest, where the bytes say so, so that a run gets deep into a download.
//!
//! What must hold: no panic; its own invariants after every event; what it says is what can be
//! read, for somebody who is there; a payload is received only for the CHUNK just announced, and is
//! used up exactly once; nothing is written that does not prove itself, and nothing published that
//! is not whole; every command ends exactly once; few answers for one event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use sprat::config::{CHUNK_BYTES_MAX, FRAME_BYTES_HELLO, FRAME_BYTES_OPEN, PIECE_BYTES};
use sprat::proto::command::{Get, Scope};
use sprat::proto::disk::{
    CollectionDone, CollectionStep, DiskFailure, DiskFailureKind, Page, PartState, Parts, ServeFailure, Unplaced,
};
use sprat::proto::weak_peer::download::manifest::root_of;
use sprat::proto::weak_peer::{Listens, Offer, WeakPeer, WeakPeerConfig};
use sprat::proto::{ClientEvent, ClientId, CloseReason, Command, ConnId, DialCause, DialId, Digests, DiskDone, DiskWork, DownloadId, EMPTY_ROOT, Event, HashPlan, Input, Output, OwnAddrs, PayloadId, Role, Verify, pieces_of};
use sprat::sim::{Random, builders};
use sprat::time::Time;
use sprat::wire::ids::{Cv, Md5};
use sprat::wire::message::{
    Ack, Chunk, Cvs, Done, Hello, Hit, Info, Ping, Ready, Register, SourceRecord, Update, Welcome,
};
use sprat::wire::swarm::{FEATURE_SWARM, Follow, Has, Join, Peers, Turn, Want};
use sprat::wire::{Cut, HostPort, Message, NodeId, Policy, Root, SharePath, frame};

use crate::{Dice, check_link_message, check_message, forge};

/// Events of one run.
const EVENTS: usize = 400;
/// Connections at once.
const CONNS: usize = 24;
/// Outputs for one event: a page of a share's list, or everything that ends at once.
const OUTPUTS: usize = 4096;

/// A content of four pieces, known by its digests alone: payload bytes never enter the machine.
struct Content {
    size: u64,
    cvs: Vec<Cv>,
    root: Root,
}

static CONTENT: LazyLock<Content> = LazyLock::new(|| {
    let size = 3 * PIECE_BYTES + 5;
    let cvs: Vec<_> = (0..4).map(|n| Cv([n; 32])).collect();
    let root = root_of(&cvs, size).expect("four values for four pieces");
    Content { size, cvs, root }
});

/// A content of one piece, whose root no manifest proves.
const SMALL: (u64, Root) = (77, Root([0x55; 32]));
const RIGHT_MD5: Md5 = Md5([1; 16]);

struct Conn {
    id: ConnId,
    cap: usize,
    deaf: bool,
    closing: bool,
    /// The payload that the machine wants, and the MD5 that its CHUNK announced.
    awaited: Option<Awaited>,
    /// What an honest other side would say next.
    answers: VecDeque<Message>,
}

#[derive(Clone, Copy)]
struct Awaited {
    req: u32,
    length: u32,
    plan: HashPlan,
    verify: Verify,
    announced: Option<Md5>,
}

/// A payload in the driver's hands, and whether it may be written.
struct Payload {
    right: bool,
    plan: HashPlan,
}

struct Part {
    root: Root,
    size: Option<u64>,
    open: bool,
    written: BTreeSet<u32>,
}

pub struct WeakWorld {
    machine: WeakPeer,
    now: Time,
    conns: Vec<Conn>,
    next_conn: u32,
    dials: Vec<DialId>,
    disk: VecDeque<DiskWork>,
    sends: Vec<(ConnId, u32)>,
    payloads: BTreeMap<PayloadId, Payload>,
    next_payload: u64,
    parts: BTreeMap<DownloadId, Part>,
    clients: u64,
    ended: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    reqs: Vec<u32>,
    /// The CHUNK that is being handled.
    chunk: Option<(ConnId, Chunk)>,
    fatal: bool,
}

fn addr(port: u16) -> HostPort {
    HostPort::new("192.0.2.9", port).expect("literal")
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let dice = &mut Dice::new(data);
    let mut world = WeakWorld::new(dice.below(4));
    for _ in 0..EVENTS {
        if dice.is_spent() || world.fatal {
            break;
        }
        world.event(dice);
    }
    world.end();
}

/// Runs one input against a peer whose source has just been asked for chunks: the bytes are what
/// the source says.
pub fn run_source(data: &[u8]) {
    let dice = &mut Dice::new(data);
    let mut world = WeakWorld::new(1);
    let (what, verify) = (CONTENT.root.to_string(), dice.pick(&[Verify::Both, Verify::Blake3, Verify::Md5]));
    world.command(Command::Get(Get { verify, ..Get::of(what) }));
    // Welcome, Ready and the hits; then the dial of the source, its Welcome, and the manifest.
    for _ in 0..40 {
        if world.sends.is_empty() && world.conns.iter().any(|conn| conn.answers.iter().any(is_chunk)) {
            break;
        }
        world.dials_succeed();
        world.disk_obeys();
        let at = world.conns.iter().position(|conn| !conn.answers.is_empty());
        at.into_iter().for_each(|at| world.answer(at));
    }
    let Some(source) = world.conns.iter().position(|conn| conn.answers.iter().any(is_chunk)) else {
        panic!("the download does not get to its chunks");
    };
    let id = world.conns[source].id;
    for _ in 0..EVENTS {
        let Some(at) = world.conns.iter().position(|conn| conn.id == id) else { break };
        if dice.is_spent() {
            break;
        }
        match dice.below(6) {
            0 => world.raw_frame(at, dice),
            1 => {
                let req = world.req(dice);
                let message = forge::message(dice, req, 1);
                world.say(at, message);
            }
            2 => {
                let (offset, length) = (dice.below(5) as u64 * PIECE_BYTES, dice.pick(&[1 << 20, 5, 0, u32::MAX]));
                let chunk = Chunk { req: world.req(dice), offset, length, md5: (!dice.one_in(4)).then_some(RIGHT_MD5) };
                world.say(at, Message::Chunk(chunk));
            }
            3 => world.answer(at),
            4 => world.payload(at, dice),
            _ => world.disk_obeys(),
        }
    }
    world.end();
}

fn is_chunk(message: &Message) -> bool {
    matches!(message, Message::Chunk(_))
}

impl WeakWorld {
    fn new(supers: usize) -> WeakWorld {
        let config = WeakPeerConfig {
            node: NodeId([1; 16]),
            boot: 5,
            supers: (0..=supers.min(2)).map(|n| addr(1 + n as u16).into()).collect(),
            login: None,
            offer: (supers != 3).then_some(Offer { port: 4778, host: None, listens: Listens::Everywhere, http: false }),
            connect_timeout: Duration::from_secs(10),
            download_timeout: sprat::config::DOWNLOAD_TIMEOUT,
            agent: "sprat fuzz".into(),
        };
        let mut world = WeakWorld {
            machine: WeakPeer::with_sessions(config, 1 + supers % 2, Box::new(Random::new(3))),
            now: Time::ZERO,
            conns: Vec::new(),
            next_conn: 0,
            dials: Vec::new(),
            disk: VecDeque::new(),
            sends: Vec::new(),
            payloads: BTreeMap::new(),
            next_payload: 1,
            parts: BTreeMap::new(),
            clients: 0,
            ended: BTreeSet::new(),
            gone: BTreeSet::new(),
            reqs: vec![0],
            chunk: None,
            fatal: false,
        };
        world.pass(Duration::ZERO);
        world
    }

    // ---- what happens ---------------------------------------------------------------------------

    fn event(&mut self, dice: &mut Dice<'_>) {
        let some = dice.below(self.conns.len());
        match dice.below(20) {
            0 => self.pass(Duration::from_micros(dice.below(3_000_000) as u64)),
            1 => self.pass(Duration::from_secs(dice.below(70) as u64)),
            2 | 3 => self.command_of(dice),
            4 => {
                let client = dice.below(self.clients as usize + 2) as u64;
                self.gone.insert(client);
                self.input(Input::ClientGone { client: ClientId(client) });
            }
            5 => self.dial_ends(dice),
            6 if self.conns.len() < CONNS => drop(self.accepted()),
            7 => self.share(dice),
            8 => self.disk_answers(dice),
            9 => self.stray(dice),
            10 => self.disk_obeys(),
            11 => self.dials_succeed(),
            _ if self.conns.is_empty() => self.dials_succeed(),
            12 => self.raw_frame(some, dice),
            13 | 14 => {
                let req = self.req(dice);
                let message = forge::message(dice, req, u64::from(req));
                self.say(some, message);
            }
            15 | 16 => self.answer(some),
            17 => self.payload(some, dice),
            18 => {
                if !self.sends.is_empty() {
                    let (conn, req) = self.sends.swap_remove(dice.below(self.sends.len()));
                    self.input(Input::PayloadSent { conn, req });
                }
            }
            _ => {
                let reasons = [CloseReason::Remote, CloseReason::Failed, CloseReason::SlowFrame];
                self.close(some, dice.pick(&reasons));
            }
        }
    }

    fn req(&mut self, dice: &mut Dice<'_>) -> u32 {
        if dice.one_in(4) { dice.below(6) as u32 } else { dice.pick(&self.reqs) }
    }

    fn command_of(&mut self, dice: &mut Dice<'_>) {
        let (ttl, budget) = (dice.one_in(4).then(|| dice.any()), dice.one_in(4).then(|| forge::edge(dice)));
        let policy = dice.one_in(4).then(|| dice.pick(&[Policy::Flood, Policy::Ring, Policy::Tree]));
        let scope = Scope { ttl, budget, policy };
        let command = match dice.below(7) {
            0 => Command::List { partial: false },
            6 => Command::Network { scope },
            1 => Command::Status,
            2 => Command::Query { search: forge::search(dice), scope },
            _ => {
                let what = match dice.below(4) {
                    0 => "file.bin".into(),
                    1 => SMALL.1.to_string(),
                    2 => EMPTY_ROOT.to_string(),
                    _ => CONTENT.root.to_string(),
                };
                let out = dice.one_in(3).then(|| PathBuf::from(dice.pick(&["/t/a", "/t/b"])));
                let from = dice.one_in(5).then(|| addr(100));
                let verify = dice.pick(&[Verify::Both, Verify::Blake3, Verify::Md5]);
                Command::Get(Get { from, out, verify, scope, ..Get::of(what) })
            }
        };
        self.command(command);
    }

    fn command(&mut self, command: Command) {
        self.clients += 1;
        self.input(Input::Command { client: ClientId(self.clients), command });
    }

    fn dials_succeed(&mut self) {
        if !self.dials.is_empty() && self.conns.len() < CONNS {
            let dial = self.dials.remove(0);
            let conn = self.conn();
            self.input(Input::Dialed { dial, conn, own: OwnAddrs::default(), key: None, unix: 0 });
        }
    }

    fn dial_ends(&mut self, dice: &mut Dice<'_>) {
        if self.dials.is_empty() {
            return;
        }
        let dial = self.dials.remove(dice.below(self.dials.len()));
        if dice.one_in(2) || self.conns.len() >= CONNS {
            self.input(Input::DialFailed { dial, why: "connection refused".into(), cause: DialCause::Unreachable });
        } else {
            let conn = self.conn();
            self.input(Input::Dialed { dial, conn, own: OwnAddrs::default(), key: None, unix: 0 });
        }
    }

    fn accepted(&mut self) {
        let conn = self.conn();
        self.input(Input::Accepted { conn, from: SocketAddr::from(([192, 0, 2, 77], 5000)), to: [192, 0, 2, 1].into(), since: self.now, key: None, unix: 0 });
        // Somebody who fetches says HELLO first.
        let (node, features) = (NodeId([8; 16]), features(conn));
        let hello = Hello { version: [1, 0], node, boot: 1, features, agent: String::new() };
        if let Some(conn) = self.conns.iter_mut().find(|other| other.id == conn) {
            conn.answers.push_back(Message::Hello(hello));
        }
    }

    fn conn(&mut self) -> ConnId {
        let id = ConnId { index: self.next_conn % 64, generation: self.next_conn / 64 };
        self.next_conn += 1;
        let (cap, answers) = (FRAME_BYTES_HELLO, VecDeque::new());
        self.conns.push(Conn { id, cap, deaf: false, closing: false, awaited: None, answers });
        id
    }

    fn share(&mut self, dice: &mut Dice<'_>) {
        let added = (0..dice.below(4)).map(|_| forge::file(dice)).collect();
        let removed = (0..dice.below(3)).map(|_| forge::path(dice)).collect();
        self.input(Input::Disk(DiskDone::Share { added, removed }));
    }

    fn raw_frame(&mut self, at: usize, dice: &mut Dice<'_>) {
        let conn = &mut self.conns[at];
        let frame = forge::raw_frame(dice, conn.cap);
        if conn.deaf || conn.awaited.is_some() {
            return;
        }
        let id = conn.id;
        match frame {
            Ok(Some(message)) => self.say(at, message),
            Ok(None) => {}
            Err(error) => {
                conn.deaf = true;
                self.input(Input::Malformed { conn: id, error });
            }
        }
    }

    fn say(&mut self, at: usize, message: Message) {
        let conn = &mut self.conns[at];
        // Behind a CHUNK come its bytes, not another frame.
        if conn.deaf || conn.awaited.is_some() {
            return;
        }
        let id = conn.id;
        if let Message::Chunk(chunk) = message {
            self.chunk = Some((id, chunk));
        }
        self.input(Input::Message { conn: id, message });
        if self.chunk.take().is_some() {
            let conn = self.conns.iter().find(|conn| conn.id == id);
            let dealt = conn.is_none_or(|conn| conn.awaited.is_some() || conn.deaf);
            assert!(dealt, "a CHUNK whose bytes are neither wanted nor refused stops the connection");
        }
    }

    /// The other side says what it should.
    fn answer(&mut self, at: usize) {
        if self.conns[at].awaited.is_none()
            && let Some(message) = self.conns[at].answers.pop_front()
        {
            self.say(at, message);
        } else if let Some(awaited) = self.conns[at].awaited {
            self.payload_ends(at, awaited, true, true);
        }
    }

    fn payload(&mut self, at: usize, dice: &mut Dice<'_>) {
        let Some(awaited) = self.conns[at].awaited else { return };
        if dice.one_in(2) {
            let received = dice.below(awaited.length as usize + 1) as u32;
            self.input(Input::PayloadProgress { conn: self.conns[at].id, req: awaited.req, received });
        } else {
            self.payload_ends(at, awaited, !dice.one_in(3), !dice.one_in(3));
        }
    }

    fn payload_ends(&mut self, at: usize, awaited: Awaited, right: bool, right_md5: bool) {
        let Awaited { req, length: _, plan, verify, announced } = awaited;
        self.conns[at].awaited = None;
        let payload = PayloadId(self.next_payload);
        self.next_payload += 1;
        let blake3 = match plan {
            _ if !right => [0xee; 32],
            HashPlan::Content => SMALL.1.0,
            HashPlan::Piece { offset } => {
                CONTENT.cvs.get((offset / PIECE_BYTES) as usize).map_or([0xee; 32], |cv| cv.0)
            }
        };
        let md5 = if right_md5 { announced.unwrap_or(RIGHT_MD5) } else { Md5([0xee; 16]) };
        let digests = Digests {
            md5: (verify != Verify::Blake3).then_some(md5),
            blake3: (verify != Verify::Md5).then_some(blake3),
        };
        let proves = if verify == Verify::Md5 { right_md5 } else { right };
        self.payloads.insert(payload, Payload { right: proves, plan });
        self.input(Input::PayloadReceived { conn: self.conns[at].id, req, payload, digests });
    }

    fn disk_obeys(&mut self) {
        if let Some(work) = self.disk.pop_front()
            && let Some(done) = self.done(work, true, 0)
        {
            self.input(Input::Disk(done));
        }
    }

    fn disk_answers(&mut self, dice: &mut Dice<'_>) {
        if self.disk.is_empty() {
            return;
        }
        // Work is done in the order in which it is given; only its outcome is drawn.
        let work = self.disk.pop_front().expect("there is some");
        let (well, how) = (dice.one_in(2), dice.below(4));
        if let Some(done) = self.done(work, well, how) {
            self.input(Input::Disk(done));
        }
    }

    fn done(&mut self, work: DiskWork, well: bool, how: usize) -> Option<DiskDone> {
        let kinds = [DiskFailureKind::Taken, DiskFailureKind::Locked, DiskFailureKind::Full, DiskFailureKind::Io];
        let failed = || DiskFailure { kind: kinds[how], message: "the disk says no".into() };
        let serve =
            [ServeFailure::NotFound, ServeFailure::OutOfRange, ServeFailure::Changed, ServeFailure::Changed][how];
        let path = PathBuf::from("/share/file.bin");
        Some(match work {
            DiskWork::PrepareChunk { conn, req, bare, .. } => {
                let md5 = (!bare || how == 0).then_some(RIGHT_MD5);
                DiskDone::ChunkReady { conn, req, result: if well { Ok(md5) } else { Err(serve) } }
            }
            DiskWork::ReadManifest { conn, req, first, .. } => {
                let cvs = CONTENT.cvs.iter().flat_map(|cv| cv.0).collect();
                let result = if well { Ok(Page { size: CONTENT.size, cvs, ..Page::default() }) } else { Err(serve) };
                DiskDone::ManifestReady { conn, req, first, result }
            }
            DiskWork::OpenPart { download, root, .. } => {
                let (manifest, verified) = match how {
                    1 if root == CONTENT.root => (Some(CONTENT.cvs.clone()), vec![]),
                    2 if root == CONTENT.root => (Some(CONTENT.cvs.clone()), vec![1, 3]),
                    _ => (None, vec![]),
                };
                let result = match (well, how) {
                    (true, 3) => Ok(PartState::AlreadyThere { path, size: CONTENT.size }),
                    (true, _) => {
                        let written = verified.iter().copied().collect();
                        let size = manifest.is_some().then_some(CONTENT.size);
                        self.parts.insert(download, Part { root, size, open: true, written });
                        Ok(PartState::Open { path, size, manifest, verified, proves: false })
                    }
                    (false, _) => Err(failed()),
                };
                DiskDone::PartOpened { download, result }
            }
            DiskWork::WritePiece { download, piece, .. } => {
                if well && let Some(part) = self.parts.get_mut(&download) {
                    part.written.insert(piece);
                }
                DiskDone::PieceWritten { download, piece, result: if well { Ok(()) } else { Err(failed()) } }
            }
            DiskWork::Publish { download } => {
                let part = self.parts.get_mut(&download).expect("a part that was opened");
                assert!(part.open, "published once, and not after it was given up");
                part.open = false;
                let size = part.size.expect("only what has a proven size is published");
                assert_eq!(part.written.len() as u64, pieces_of(size), "only what is whole is published");
                DiskDone::Published { download, result: if well { Ok(path) } else { Err(failed()) } }
            }
            // It is served until then, and this world looks at what is served elsewhere.
            DiskWork::Release { .. } => return None,
            DiskWork::Abandon { download } => {
                if let Some(part) = self.parts.get_mut(&download) {
                    part.open = false;
                }
                return None;
            }
            DiskWork::PreparePart { download, size, .. } => {
                if let Some(part) = self.parts.get_mut(&download).filter(|part| part.size != Some(size)) {
                    part.size = Some(size);
                    part.written.clear();
                }
                return None;
            }
            // This disk has no folders.
            DiskWork::Describe { client, .. } => DiskDone::Described { client, result: Err(failed()) },
            DiskWork::Collection { download, step } => {
                let done = match step {
                    CollectionStep::Open { .. } | CollectionStep::OpenBelow { .. } => {
                        CollectionDone::Opened(Err(failed()))
                    }
                    CollectionStep::List | CollectionStep::Look { .. } => CollectionDone::Listed(Err(failed())),
                    CollectionStep::Place { file, .. } => CollectionDone::Written(Err(Box::new(Unplaced {
                        number: file.number,
                        path: file.path.as_str().to_owned(),
                        failure: failed(),
                    }))),
                    CollectionStep::Close { .. } => CollectionDone::Closed,
                };
                DiskDone::Collection { download, done }
            }
            DiskWork::LookForParts { client, remove, .. } => {
                let result = if well { Ok(Parts::default()) } else { Err(failed()) };
                DiskDone::PartsFound { client, removed: remove, result }
            }
            DiskWork::CheckRoom { download, .. } => {
                DiskDone::RoomChecked { download, result: if well { Ok(()) } else { Err(failed()) } }
            }
            DiskWork::SaveQueue { .. } => DiskDone::QueueSaved { result: if well { Ok(()) } else { Err(failed()) } },
            DiskWork::ForgetConn { .. } => return None,
        })
    }

    /// What no driver should say, but late answers may look like.
    fn stray(&mut self, dice: &mut Dice<'_>) {
        let conn = ConnId { index: dice.below(70) as u32, generation: dice.below(2) as u32 };
        let known = self.conns.iter().any(|other| other.id == conn);
        let req = self.req(dice);
        match dice.below(7) {
            0 if !known => self.input(Input::Closed { conn, why: CloseReason::Failed }),
            1 if !known => {
                let message = forge::message(dice, 1, 1);
                self.input(Input::Message { conn, message });
            }
            2 => self.input(Input::DialFailed { dial: DialId(1000), why: String::new(), cause: DialCause::Unreachable }),
            3 if !known => self.input(Input::PayloadSent { conn, req }),
            4 if !known => {
                // The connection went while its payload was hashed.
                let payload = PayloadId(self.next_payload);
                self.next_payload += 1;
                self.payloads.insert(payload, Payload { right: false, plan: HashPlan::Content });
                self.input(Input::PayloadReceived { conn, req, payload, digests: Digests { md5: None, blake3: None } });
            }
            5 if !known => self.input(Input::PayloadProgress { conn, req, received: 5 }),
            _ => {
                let from = SocketAddr::from(([192, 0, 2, 1], 4777));
                self.input(Input::Datagram { from, to: None, key: None, bytes: dice.bytes(40) });
            }
        }
    }

    fn close(&mut self, at: usize, why: CloseReason) {
        let conn = self.conns.swap_remove(at).id;
        self.sends.retain(|(other, _)| *other != conn);
        self.input(Input::Closed { conn, why });
    }

    // ---- time and outputs -----------------------------------------------------------------------

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut idle = 0;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            idle = if at > self.now { 0 } else { idle + 1 };
            assert!(idle < 10_000, "it wakes, and wakes, and wakes");
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    fn input(&mut self, input: Input<'_>) {
        crate::trace(|| format!("{:?} {input:?}", self.now));
        self.machine.handle_input(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.machine.poll_output() {
            outputs += 1;
            assert!(outputs <= OUTPUTS, "{outputs} answers to one event");
            self.perform(output);
        }
        self.machine.check_invariants();
        while let Some(at) = self.conns.iter().position(|conn| conn.closing) {
            self.close(at, CloseReason::Asked);
        }
    }

    fn perform(&mut self, output: Output) {
        crate::trace(|| format!("    {output:?}"));
        match output {
            Output::Dial { dial, .. } => self.dials.push(dial),
            Output::Send { conn, message } => {
                assert!(check_message(&message).len() <= frame::LENGTH_BYTES + FRAME_BYTES_OPEN);
                let Some(to) = self.conns.iter_mut().find(|other| other.id == conn && !other.closing) else {
                    panic!("{} for nobody", message.kind());
                };
                honest_answers(&message, features(conn), &mut to.answers);
                if let Some(req) = req_of(&message)
                    && !self.reqs.contains(&req)
                {
                    if self.reqs.len() > 6 {
                        self.reqs.remove(0);
                    }
                    self.reqs.push(req);
                }
            }
            Output::SendTo { message, .. } => {
                check_link_message(&message);
                panic!("a weak peer sends no datagram");
            }
            Output::Resolve { name, .. } => panic!("a weak peer dials names, and looks up none: {name}"),
            Output::SendPayload { conn, req, offset: _, length } => {
                assert!(length <= CHUNK_BYTES_MAX);
                assert!(self.conns.iter().any(|other| other.id == conn && !other.closing), "bytes for nobody");
                self.sends.push((conn, req));
            }
            Output::ReceivePayload { conn, req, length, plan, verify } => {
                let (from, chunk) = self.chunk.expect("bytes are taken only behind a CHUNK");
                assert_eq!((conn, req, length), (from, chunk.req, chunk.length), "as the CHUNK announced");
                assert!((1..=CHUNK_BYTES_MAX).contains(&length));
                let awaited = Awaited { req, length, plan, verify, announced: chunk.md5 };
                let conn = self.conns.iter_mut().find(|other| other.id == conn).expect("who sent the CHUNK is there");
                assert!(conn.awaited.replace(awaited).is_none());
            }
            Output::FrameCap { conn, bytes } => {
                assert!(bytes <= FRAME_BYTES_OPEN);
                if let Some(conn) = self.conns.iter_mut().find(|other| other.id == conn) {
                    conn.cap = bytes;
                }
            }
            Output::Close { conn } | Output::Abort { conn } => {
                if let Some(conn) = self.conns.iter_mut().find(|other| other.id == conn) {
                    (conn.closing, conn.deaf) = (true, true);
                }
            }
            Output::DropPayload { payload } => {
                assert!(self.payloads.remove(&payload).is_some(), "a payload is used up once");
            }
            Output::DropChunk { .. } | Output::Limit(_) => {}
            Output::SaveAccounts { .. } => panic!("a weak peer keeps no accounts"),
            Output::Hold { .. } => panic!("a weak peer does each message at once"),
            Output::Disk(work) => self.ordered(work),
            Output::Event(event) => {
                if let Event::Client { client, event: ClientEvent::Done(_) } = *event {
                    assert!(self.ended.insert(client.0), "a command ends once");
                } else if let Event::Fatal(_) = *event {
                    self.fatal = true;
                }
            }
        }
    }

    fn ordered(&mut self, work: DiskWork) {
        match &work {
            DiskWork::WritePiece { download, piece, payload, md5: _, proven: _ } => {
                let Payload { right, plan } = self.payloads.remove(payload).expect("a payload is used up once");
                assert!(right, "only what proved itself is written");
                let part = &self.parts[download];
                assert!(part.open, "only a part that is open is written to");
                let size = part.size.expect("the size is proven before a piece is written");
                assert!(u64::from(*piece) < pieces_of(size));
                match plan {
                    HashPlan::Content => assert!(size <= PIECE_BYTES),
                    HashPlan::Piece { offset } => assert_eq!(offset, u64::from(*piece) * PIECE_BYTES),
                }
                let _ = part.root;
            }
            DiskWork::PrepareChunk { offset, length, .. } => {
                assert!((1..=CHUNK_BYTES_MAX).contains(length), "{length} bytes from {offset}");
            }
            DiskWork::Collection { step: CollectionStep::Place { payload, .. }, .. } => {
                let Payload { right, .. } = self.payloads.remove(payload).expect("a payload is used up once");
                assert!(right, "only what proved itself is written");
            }
            DiskWork::ReadManifest { .. }
            | DiskWork::ForgetConn { .. }
            | DiskWork::Describe { .. }
            | DiskWork::CheckRoom { .. }
            | DiskWork::Collection { .. }
            | DiskWork::LookForParts { .. }
            | DiskWork::SaveQueue { .. }
            | DiskWork::OpenPart { .. }
            | DiskWork::PreparePart { .. }
            | DiskWork::Publish { .. }
            | DiskWork::Release { .. }
            | DiskWork::Abandon { .. } => {}
        }
        assert!(self.disk.len() < 4 * OUTPUTS, "the disk has work without end");
        self.disk.push_back(work);
    }

    fn end(&mut self) {
        self.input(Input::Shutdown);
        let left = (1..=self.clients).find(|client| !self.ended.contains(client) && !self.gone.contains(client));
        assert_eq!(left, None, "every command ends, unless who gave it has gone");
        while let Some(dial) = self.dials.pop() {
            let conn = self.conn();
            self.input(Input::Dialed { dial, conn, own: OwnAddrs::default(), key: None, unix: 0 });
        }
        while let Some(at) = self.conns.iter().position(|conn| conn.awaited.is_some()) {
            let awaited = self.conns[at].awaited.expect("just seen");
            self.payload_ends(at, awaited, true, true);
        }
        while !self.conns.is_empty() {
            self.close(0, CloseReason::Remote);
        }
        while !self.disk.is_empty() {
            self.disk_obeys();
        }
        assert!(self.payloads.is_empty(), "payloads are neither written nor dropped");
        assert!(self.machine.poll_timeout().is_none(), "who has ended sleeps");
    }
}

/// Every other one takes part in swarms.
fn features(conn: ConnId) -> Vec<String> {
    conn.index.is_multiple_of(2).then(|| FEATURE_SWARM.to_owned()).into_iter().collect()
}

/// What an honest other side with these features says to that.
fn honest_answers(message: &Message, features: Vec<String>, answers: &mut VecDeque<Message>) {
    match message {
        Message::Hello(_) => {
            answers.push_back(Message::Welcome(Welcome { features, ..builders::welcome(addr(50_000)) }));
        }
        Message::Join(Join { req, .. }) => {
            answers.push_back(Message::Peers(Peers { req: *req, peers: Vec::new(), n: 1, full: 0, gateway: None }));
        }
        Message::Follow(Follow { req, .. }) => {
            answers.push_back(Message::Has(Has { req: *req, full: true, manifest: true, ..Has::default() }));
        }
        Message::Want(Want { req, n, .. }) => {
            answers.extend((0..*n).map(|_| Message::Turn(Turn { req: *req, next: Vec::new() })));
        }
        Message::Login(_) => answers.push_back(Message::Ready(Ready::default())),
        Message::Register(Register { seq, .. }) | Message::Update(Update { seq, .. }) => {
            answers.push_back(Message::Ack(Ack { seq: *seq, files: 0 }));
        }
        Message::Query(query) => {
            let path = SharePath::new("x/file.bin").expect("short");
            let contents = [(CONTENT.size, CONTENT.root), SMALL, (0, EMPTY_ROOT)];
            let fits = |root: &Root| query.find.pattern == root.to_string() || query.find.pattern == "file.bin";
            let hits: Vec<_> = contents
                .into_iter()
                .filter(|(_, root)| fits(root))
                .flat_map(|(size, root)| {
                    let path = path.clone();
                    (100..103).map(move |port| SourceRecord {
                        path: path.clone(),
                        size,
                        root,
                        addr: addr(port),
                        collection: false,
                        node: None,
                        other: None,
                        unreached: false,
                        http: false, member: None,
                    })
                })
                .collect();
            let (req, told) = (query.req, hits.len() as u32);
            if !hits.is_empty() {
                answers.push_back(Message::Hit(Hit { req, hits }));
            }
            let done = Done { req, hits: told, reached: 1, pruned: 0, complete: true, cut: Cut::NONE, ms: 1 };
            answers.push_back(Message::Done(done));
        }
        Message::Ping(Ping { n }) => answers.push_back(Message::Pong(Ping { n: *n })),
        Message::Status(status) => {
            answers.push_back(Message::Info(Info { req: status.req, agent: "f".into(), ..Info::default() }));
        }
        Message::Get(get) => {
            let (req, offset, length) = (get.req, get.offset, get.length);
            answers.push_back(Message::Chunk(Chunk { req, offset, length, md5: (!get.bare).then_some(RIGHT_MD5) }));
        }
        Message::Manifest(page) => {
            let cvs = CONTENT.cvs.iter().flat_map(|cv| cv.0).collect();
            answers.push_back(Message::Cvs(Cvs { req: page.req, size: CONTENT.size, first: page.first, cvs, ..Cvs::default() }));
        }
        _ => {}
    }
    // Somebody who is never asked to answer is not remembered forever.
    answers.truncate(256);
}

fn req_of(message: &Message) -> Option<u32> {
    match message {
        Message::Query(query) => Some(query.req),
        Message::List(list) => Some(list.req),
        Message::Status(status) => Some(status.req),
        Message::Get(get) => Some(get.req),
        Message::Manifest(manifest) => Some(manifest.req),
        Message::Ping(ping) => Some(ping.n),
        Message::Join(join) => Some(join.req),
        Message::Follow(follow) => Some(follow.req),
        Message::Register(register) => u32::try_from(register.seq).ok(),
        Message::Update(update) => u32::try_from(update.seq).ok(),
        _ => None,
    }
}
