//! A world around one weak peer: super peers, sources and a disk that do as they are told, in virtual time. No socket, no
//! clock, no chance: what is scheduled for one instant happens in the order in which it was scheduled.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use blake3::hazmat::HasherExt;
use md5::Digest as _;

use crate::config::{MANIFEST_PAGE_CVS, PIECE_BYTES, PROTOCOL_VERSION};
use crate::error::Failure;
use crate::proto::command::Get;
use crate::proto::disk::{DiskFailure, DiskFailureKind, PartState};
use crate::proto::event::{Outcome, SourceReport};
use crate::proto::weak_peer::{Offer, WeakPeer, WeakPeerConfig};
use crate::proto::{
    ClientEvent, ClientId, CloseReason, Command, ConnId, DialId, Digests, DiskDone, DiskWork, Entropy, Event, HashPlan,
    Input, Output, PayloadId, Role, Verify,
};
use crate::time::Time;
use crate::wire::ids::{Cv, Md5};
use crate::wire::message::{
    Ack, Chunk, Cvs, Done, Error, ErrorCode, Hit, Info, Ping, Ready, Register, SourceRecord, Update, Welcome,
};
use crate::wire::{Cut, FileRecord, HostPort, Message, NodeId, Root, SharePath};

pub(super) const CLIENT: ClientId = ClientId(7);
const LATENCY: Duration = Duration::from_millis(1);

pub(super) struct Counter(pub(super) u64);

impl Entropy for Counter {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }
}

/// Bytes with all their digests.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) root: Root,
    pub(super) cvs: Vec<Cv>,
}

impl Content {
    pub(super) fn new(size: u64, seed: u64) -> Content {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut bytes = Vec::with_capacity(size as usize);
        while (bytes.len() as u64) < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(size as usize);
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let cvs = match bytes.len() as u64 {
            0..=PIECE_BYTES => Vec::new(),
            _ => bytes.chunks(PIECE_BYTES as usize).zip(0..).map(|(piece, n)| cv(piece, n * PIECE_BYTES)).collect(),
        };
        Content { bytes, root, cvs }
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn range(&self, offset: u64, length: u32) -> Vec<u8> {
        self.bytes[offset as usize..offset as usize + length as usize].to_vec()
    }
}

pub(super) fn cv(piece: &[u8], offset: u64) -> Cv {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset).update(piece);
    Cv(hasher.finalize_non_root())
}

pub(super) fn md5_of(bytes: &[u8]) -> Md5 {
    Md5(md5::Md5::digest(bytes).into())
}

/// How a source misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Flips a bit of every piece, and tells the MD5 of the flipped bytes.
    Lies,
    /// The line damages its first so many chunks.
    Damaged(u32),
    /// Right bytes, wrong MD5.
    WrongMd5,
    /// A manifest that merges to another root.
    WrongManifest,
    /// Pieces, but never the manifest.
    NoManifest,
    /// Sends so many pieces and then nothing.
    StallsAfter(u32),
    /// Sends half of a piece, and then nothing.
    StopsHalfway,
    NotFound,
    /// Answers with another range.
    OtherRange,
    /// Refuses every connection with BUSY.
    Busy,
}

pub(super) struct Source {
    pub(super) manner: Manner,
    pub(super) alive: bool,
    /// Bytes a second.
    pub(super) rate: u64,
    conn: Option<ConnId>,
    queue: VecDeque<(u32, u64, u32)>,
    busy: bool,
    /// Offsets that were sent, in order.
    pub(super) served: Vec<u64>,
    pub(super) gets: Vec<u64>,
    pub(super) manifests: u32,
    pub(super) dials: u32,
}

/// How a super peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Super {
    Serves,
    /// Accepts, and says nothing ever.
    Silent,
    /// Answers nothing but HELLO and LOGIN.
    NoAnswers,
    Refuses(ErrorCode),
}

pub(super) struct SuperPeer {
    pub(super) manner: Super,
    pub(super) alive: bool,
    conn: Option<ConnId>,
    pub(super) heard: Vec<Message>,
    pub(super) hits: Vec<SourceRecord>,
    pub(super) acks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Super(usize),
    Source(usize),
    Outside,
}

enum Happening {
    Input(Input<'static>),
    /// The source may begin with its next chunk, if its line is free.
    Next(usize, ConnId),
    /// The source's line is free: the last byte of a chunk is through.
    Free(usize, ConnId),
}

pub(super) struct World {
    pub(super) peer: WeakPeer,
    pub(super) now: Time,
    agenda: BTreeMap<(Time, u64), Happening>,
    order: u64,
    pub(super) content: Content,
    pub(super) sources: Vec<(HostPort, Source)>,
    pub(super) supers: Vec<(HostPort, SuperPeer)>,
    conns: BTreeMap<ConnId, End>,
    next_conn: u32,
    chunks: BTreeMap<(ConnId, u32), Vec<u8>>,
    payloads: BTreeMap<PayloadId, Vec<u8>>,
    next_payload: u64,
    /// What OpenPart finds.
    pub(super) part: (Option<Vec<Cv>>, Vec<u32>),
    pub(super) there: bool,
    pub(super) full: bool,
    pub(super) written: BTreeMap<u32, Vec<u8>>,
    pub(super) abandoned: u32,
    pub(super) published: Option<Vec<u8>>,
    pub(super) stored: Option<Vec<Cv>>,
    pub(super) events: Vec<(Time, Event)>,
    /// Everything said on connections that came from outside, and all other outputs that concern them.
    pub(super) outputs: Vec<Output>,
    pub(super) wakes: u32,
    pub(super) disk: Vec<DiskWork>,
    /// Whether messages come that no source sends, so that its own rules do not hold.
    pub(super) lenient: bool,
}

pub(super) fn addr(port: u16) -> HostPort {
    HostPort::new("192.0.2.9", port).unwrap()
}

pub(super) fn config(supers: &[u16], offer: bool) -> WeakPeerConfig {
    WeakPeerConfig {
        node: NodeId([1; 16]),
        boot: 5,
        supers: supers.iter().map(|port| addr(*port)).collect(),
        offer: offer.then_some(Offer { port: 4778, host: None }),
        connect_timeout: Duration::from_secs(10),
        agent: "sprat test".into(),
    }
}

impl World {
    /// A peer of the super peers at ports 1, 2, …, and the content that sources have.
    pub(super) fn new(supers: u16, size: u64) -> World {
        let ports: Vec<_> = (1..=supers).collect();
        let serves =
            || SuperPeer { manner: Super::Serves, alive: true, conn: None, heard: vec![], hits: vec![], acks: true };
        World {
            peer: WeakPeer::new(config(&ports, true), Box::new(Counter(3))),
            now: Time::ZERO,
            agenda: BTreeMap::new(),
            order: 0,
            content: Content::new(size, 1),
            sources: Vec::new(),
            supers: ports.iter().map(|port| (addr(*port), serves())).collect(),
            conns: BTreeMap::new(),
            next_conn: 1,
            chunks: BTreeMap::new(),
            payloads: BTreeMap::new(),
            next_payload: 1,
            part: (None, vec![]),
            there: false,
            full: false,
            written: BTreeMap::new(),
            abandoned: 0,
            published: None,
            stored: None,
            events: Vec::new(),
            outputs: Vec::new(),
            wakes: 0,
            disk: Vec::new(),
            lenient: false,
        }
    }

    /// A source at the next of the ports 100, 101, …, of which every super peer tells.
    pub(super) fn source(&mut self, manner: Manner, rate: u64) -> &mut World {
        let port = 100 + u16::try_from(self.sources.len()).unwrap();
        let source = Source {
            manner,
            alive: true,
            rate,
            conn: None,
            queue: VecDeque::new(),
            busy: false,
            served: vec![],
            gets: vec![],
            manifests: 0,
            dials: 0,
        };
        self.sources.push((addr(port), source));
        let record = self.record("dir/file.bin", port);
        for (_, super_peer) in &mut self.supers {
            super_peer.hits.push(record.clone());
        }
        self
    }

    pub(super) fn record(&self, path: &str, port: u16) -> SourceRecord {
        let path = SharePath::new(path).unwrap();
        SourceRecord { path, size: self.content.size(), root: self.content.root, addr: addr(port) }
    }

    pub(super) fn get(&mut self) -> &mut World {
        self.get_with(Verify::Both, None)
    }

    pub(super) fn get_with(&mut self, verify: Verify, from: Option<HostPort>) -> &mut World {
        let what = self.content.root.to_string();
        self.command(Command::Get(Get { what, from, out: None, verify, ttl: None, budget: None, policy: None }))
    }

    pub(super) fn get_named(&mut self, what: &str) -> &mut World {
        let get = Get {
            what: what.into(),
            from: None,
            out: None,
            verify: Verify::Both,
            ttl: None,
            budget: None,
            policy: None,
        };
        self.command(Command::Get(get))
    }

    pub(super) fn command(&mut self, command: Command) -> &mut World {
        self.input(Input::Command { client: CLIENT, command });
        self
    }

    pub(super) fn share(&mut self, added: &[FileRecord], removed: &[&str]) -> &mut World {
        let removed = removed.iter().map(|path| SharePath::new(path).unwrap()).collect();
        self.input(Input::Disk(DiskDone::Share { added: added.to_vec(), removed }));
        self
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.peer.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            self.perform(output);
        }
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), happening);
    }

    fn say(&mut self, wait: Duration, conn: ConnId, message: Message) {
        self.later(wait, Happening::Input(Input::Message { conn, message }));
    }

    /// The next thing that happens. Answers whether there is one before `until`.
    pub(super) fn step(&mut self, until: Time) -> bool {
        let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let timer = self.peer.poll_timeout();
        let Some(at) = agenda.into_iter().chain(timer).min().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(at);
        if timer.is_some_and(|timer| agenda.is_none_or(|agenda| timer <= agenda)) {
            self.wakes += 1;
            self.peer.handle_timeout(self.now);
            assert!(self.peer.poll_timeout().is_none_or(|next| next > self.now), "a deadline was not dealt with");
        } else if let Some((_, happening)) = self.agenda.pop_first() {
            match happening {
                Happening::Input(input) => self.deliver(input),
                Happening::Next(source, conn) => self.serve_next(source, conn),
                Happening::Free(source, conn) => {
                    if self.sources[source].1.conn == Some(conn) {
                        self.sources[source].1.busy = false;
                        self.serve_next(source, conn);
                    }
                }
            }
        }
        self.drain();
        true
    }

    fn deliver(&mut self, input: Input<'static>) {
        let conn = match &input {
            Input::Message { conn, .. } | Input::PayloadProgress { conn, .. } => Some(*conn),
            Input::PayloadReceived { conn, payload, .. } => {
                if !self.conns.contains_key(conn) {
                    self.payloads.remove(payload);
                }
                Some(*conn)
            }
            Input::Closed { conn, .. } => {
                self.conns.remove(conn);
                None
            }
            _ => None,
        };
        if conn.is_none_or(|conn| self.conns.contains_key(&conn)) {
            self.peer.handle_input(self.now, input);
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) -> &mut World {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
        self
    }

    /// Runs until something holds, for ten virtual minutes at most.
    pub(super) fn run_until(&mut self, holds: impl Fn(&World) -> bool) -> &mut World {
        let until = self.now + Duration::from_secs(600);
        while !holds(self) {
            assert!(self.step(until), "it never came to hold: {:#?}", self.client_events());
        }
        self
    }

    /// Runs until the client's command is over: how it ended.
    pub(super) fn outcome(&mut self) -> Outcome {
        self.run_until(|world| world.outcomes() > 0);
        let last = self.client_events().pop();
        assert_eq!(self.outcomes(), 1);
        match last {
            Some(ClientEvent::Done(outcome)) => outcome,
            other => panic!("{other:?} came after done"),
        }
    }

    // ---- what was seen -------------------------------------------------------------------------------------------

    pub(super) fn client_events(&self) -> Vec<ClientEvent> {
        let of_client = |(_, event): &(Time, Event)| match event {
            Event::Client { client, event } if *client == CLIENT => Some(event.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of_client).collect()
    }

    pub(super) fn outcomes(&self) -> usize {
        self.client_events().iter().filter(|event| matches!(event, ClientEvent::Done(_))).count()
    }

    pub(super) fn fatal(&mut self) -> Failure {
        let is_fatal = |event: &(Time, Event)| match &event.1 {
            Event::Fatal(failure) => Some(failure.clone()),
            _ => None,
        };
        self.run_until(|world| world.events.iter().any(|event| is_fatal(event).is_some()));
        self.events.iter().find_map(is_fatal).unwrap()
    }

    pub(super) fn welcomed(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Welcomed { .. })).count()
    }

    /// Every offset that any source sent.
    pub(super) fn served(&self) -> Vec<u64> {
        let mut all: Vec<_> = self.sources.iter().flat_map(|(_, source)| source.served.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    pub(super) fn heard(&self, super_peer: usize) -> &[Message] {
        &self.supers[super_peer].1.heard
    }

    pub(super) fn registers(&self, super_peer: usize) -> Vec<Register> {
        let register = |message: &Message| match message {
            Message::Register(register) => Some(register.clone()),
            _ => None,
        };
        self.heard(super_peer).iter().filter_map(register).collect()
    }

    pub(super) fn updates(&self, super_peer: usize) -> Vec<Update> {
        let update = |message: &Message| match message {
            Message::Update(update) => Some(update.clone()),
            _ => None,
        };
        self.heard(super_peer).iter().filter_map(update).collect()
    }

    // ---- faults --------------------------------------------------------------------------------------------------

    /// One of the open connections.
    pub(super) fn any_conn(&self, nth: u64) -> Option<ConnId> {
        self.conns.keys().nth(usize::try_from(nth).unwrap() % self.conns.len().max(1)).copied()
    }

    pub(super) fn drop_conn(&mut self, conn: ConnId, why: CloseReason) {
        self.conns.remove(&conn);
        self.input(Input::Closed { conn, why });
    }

    /// A payload that nobody asked for.
    pub(super) fn stray_payload(&mut self) -> PayloadId {
        let payload = PayloadId(self.next_payload);
        self.next_payload += 1;
        self.payloads.insert(payload, Vec::new());
        payload
    }

    pub(super) fn kill_source(&mut self, index: usize) {
        let source = &mut self.sources[index].1;
        source.alive = false;
        source.queue.clear();
        source.busy = false;
        if let Some(conn) = source.conn.take() {
            self.hang_up(conn);
        }
    }

    pub(super) fn kill_super(&mut self, index: usize) {
        self.supers[index].1.alive = false;
        if let Some(conn) = self.supers[index].1.conn.take() {
            self.hang_up(conn);
        }
    }

    /// The other side is gone: nothing that it sent and that is not here yet comes any more.
    fn hang_up(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.later(Duration::ZERO, Happening::Input(Input::Closed { conn, why: CloseReason::Remote }));
    }

    // ---- outputs -------------------------------------------------------------------------------------------------

    pub(super) fn accept(&mut self) -> ConnId {
        let conn = self.mint(End::Outside);
        self.input(Input::Accepted { conn, from: "192.0.2.77:5000".parse().unwrap() });
        conn
    }

    fn mint(&mut self, end: End) -> ConnId {
        let conn = ConnId { index: self.next_conn, generation: 0 };
        self.next_conn += 1;
        self.conns.insert(conn, end);
        conn
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial { dial, to } => self.dial(dial, &to),
            Output::Send { conn, message } => match self.conns.get(&conn).copied() {
                Some(End::Super(index)) => self.super_hears(index, conn, message),
                Some(End::Source(index)) => self.source_hears(index, conn, message),
                Some(End::Outside) => self.outputs.push(Output::Send { conn, message }),
                None => {}
            },
            Output::ReceivePayload { conn, req, length, plan, verify } => {
                self.receive(conn, req, length, plan, verify);
            }
            Output::Close { conn } => {
                if self.conns.get(&conn) == Some(&End::Outside) {
                    self.outputs.push(Output::Close { conn });
                }
                if self.conns.remove(&conn).is_some() {
                    self.later(LATENCY, Happening::Input(Input::Closed { conn, why: CloseReason::Asked }));
                }
            }
            Output::Disk(work) => self.disk(work),
            Output::Event(event) => self.events.push((self.now, event)),
            output @ Output::SendPayload { .. } => self.outputs.push(output),
            Output::FrameCap { .. } | Output::SendTo { .. } => {}
        }
    }

    fn dial(&mut self, dial: DialId, to: &HostPort) {
        let super_peer = self.supers.iter().position(|(addr, peer)| addr == to && peer.alive).map(End::Super);
        let source = self.sources.iter().position(|(addr, _)| addr == to);
        if let Some(index) = source {
            self.sources[index].1.dials += 1;
        }
        let source = source.filter(|index| self.sources[*index].1.alive).map(End::Source);
        let Some(end) = super_peer.or(source) else {
            let why = "connection refused".to_owned();
            return self.later(LATENCY, Happening::Input(Input::DialFailed { dial, why }));
        };
        let conn = self.mint(end);
        match end {
            End::Super(index) => self.supers[index].1.conn = Some(conn),
            End::Source(index) => {
                let source = &mut self.sources[index].1;
                (source.conn, source.busy) = (Some(conn), false);
                source.queue.clear();
            }
            End::Outside => {}
        }
        self.later(LATENCY, Happening::Input(Input::Dialed { dial, conn }));
    }

    // ---- a super peer --------------------------------------------------------------------------------------------

    fn super_hears(&mut self, index: usize, conn: ConnId, message: Message) {
        let SuperPeer { manner, hits, acks, heard, .. } = &mut self.supers[index].1;
        heard.push(message.clone());
        let (manner, hits, acks) = (manner.clone(), hits.clone(), *acks);
        let answers = match (manner, message) {
            (Super::Silent, _) => vec![],
            (Super::Refuses(code), Message::Hello(_)) => {
                vec![Message::Error(Error { code, message: "no".into(), req: None })]
            }
            (Super::Refuses(_), _) => vec![],
            (_, Message::Hello(_)) => vec![Message::Welcome(welcome())],
            (_, Message::Login(_)) => vec![Message::Ready(Ready {})],
            (_, Message::Register(Register { seq, .. }) | Message::Update(Update { seq, .. })) if acks => {
                vec![Message::Ack(Ack { seq, files: 0 })]
            }
            (Super::NoAnswers, _) => vec![],
            (Super::Serves, Message::Query(query)) => {
                let req = query.req;
                let done = Done { req, hits: 1, reached: 3, pruned: 0, complete: true, cut: Cut::NONE, ms: 1 };
                let hit = (!hits.is_empty()).then_some(Message::Hit(Hit { req, hits }));
                hit.into_iter().chain([Message::Done(done)]).collect()
            }
            (Super::Serves, Message::Ping(Ping { n })) => vec![Message::Pong(Ping { n })],
            (Super::Serves, Message::Status(status)) => {
                let counts = [("sessions".to_owned(), 1)].into();
                vec![Message::Info(Info { req: status.req, agent: "x".into(), counts })]
            }
            (Super::Serves, _) => vec![],
        };
        for answer in answers {
            self.say(LATENCY, conn, answer);
        }
    }

    pub(super) fn super_says(&mut self, index: usize, message: Message) {
        let conn = self.supers[index].1.conn.unwrap();
        self.say(LATENCY, conn, message);
    }

    // ---- a source ------------------------------------------------------------------------------------------------

    fn source_hears(&mut self, index: usize, conn: ConnId, message: Message) {
        let source = &mut self.sources[index].1;
        match message {
            Message::Hello(_) if source.manner == Manner::Busy => {
                let busy = Error { code: ErrorCode::BUSY, message: "full".into(), req: None };
                self.say(LATENCY, conn, Message::Error(busy));
            }
            Message::Hello(_) => self.say(LATENCY, conn, Message::Welcome(welcome())),
            Message::Get(get) => {
                source.gets.push(get.offset);
                source.queue.push_back((get.req, get.offset, get.length));
                if !source.busy {
                    self.later(LATENCY, Happening::Next(index, conn));
                }
            }
            Message::Cancel(cancel) => source.queue.retain(|(req, _, _)| *req != cancel.req),
            Message::Manifest(page) => {
                source.manifests += 1;
                let first = page.first as usize;
                let last = self.content.cvs.len().min(first + MANIFEST_PAGE_CVS);
                let mut cvs: Vec<u8> = self.content.cvs[first..last].iter().flat_map(|cv| cv.0).collect();
                if source.manner == Manner::WrongManifest {
                    cvs[0] ^= 1;
                }
                if !matches!(source.manner, Manner::StallsAfter(0) | Manner::NoManifest) {
                    let answer = Cvs { req: page.req, size: self.content.size(), first: page.first, cvs };
                    self.say(LATENCY, conn, Message::Cvs(answer));
                }
            }
            _ => {}
        }
    }

    fn serve_next(&mut self, index: usize, conn: ConnId) {
        let content = &self.content;
        let source = &mut self.sources[index].1;
        if source.busy || source.conn != Some(conn) {
            return;
        }
        let Some((req, mut offset, length)) = source.queue.pop_front() else { return };
        let served = u32::try_from(source.served.len()).unwrap();
        if matches!(source.manner, Manner::StallsAfter(n) if served >= n) {
            source.queue.clear();
            return;
        }
        if source.manner == Manner::NotFound {
            let error = Error { code: ErrorCode::NOT_FOUND, message: "gone".into(), req: Some(req) };
            return self.say(LATENCY, conn, Message::Error(error));
        }
        source.busy = true;
        source.served.push(offset);
        let mut bytes = content.range(offset, length);
        let right = md5_of(&bytes);
        if source.manner == Manner::Lies || matches!(source.manner, Manner::Damaged(n) if served < n) {
            bytes[0] ^= 0x10;
        }
        let mut md5 = if source.manner == Manner::Lies { md5_of(&bytes) } else { right };
        if source.manner == Manner::WrongMd5 {
            md5.0[0] ^= 1;
        }
        self.chunks.insert((conn, req), bytes);
        if source.manner == Manner::OtherRange {
            offset += 1;
        }
        self.say(LATENCY, conn, Message::Chunk(Chunk { req, offset, length, md5: Some(md5) }));
    }

    fn receive(&mut self, conn: ConnId, req: u32, length: u32, plan: HashPlan, verify: Verify) {
        let Some(End::Source(index)) = self.conns.get(&conn).copied() else { panic!("a payload from nowhere") };
        let bytes = match self.chunks.remove(&(conn, req)) {
            None if self.lenient => vec![0; length as usize],
            announced => announced.expect("only an announced chunk is received"),
        };
        assert!(bytes.len() == length as usize || self.lenient);
        let time = Duration::from_micros(u64::from(length) * 1_000_000 / self.sources[index].1.rate);
        let blake3 = match plan {
            HashPlan::Content => *blake3::hash(&bytes).as_bytes(),
            HashPlan::Piece { offset } => cv(&bytes, offset).0,
        };
        let digests = Digests {
            md5: (verify != Verify::Blake3).then(|| md5_of(&bytes)),
            blake3: (verify != Verify::Md5).then_some(blake3),
        };
        let payload = PayloadId(self.next_payload);
        self.next_payload += 1;
        self.payloads.insert(payload, bytes);
        let halfway = self.sources[index].1.manner == Manner::StopsHalfway;
        for part in 1..if halfway { 5 } else { 8 } {
            let progress = Input::PayloadProgress { conn, req, received: length / 8 * part };
            self.later(time * part / 8, Happening::Input(progress));
        }
        if !halfway {
            self.later(time, Happening::Input(Input::PayloadReceived { conn, req, payload, digests }));
            self.later(time, Happening::Free(index, conn));
        }
    }

    // ---- the disk ------------------------------------------------------------------------------------------------

    fn disk(&mut self, work: DiskWork) {
        self.disk.push(work.clone());
        let path = PathBuf::from("/share/file.bin");
        let full = || Err(DiskFailure { kind: DiskFailureKind::Full, message: "the disk is full".into() });
        let done = match work {
            DiskWork::OpenPart { download, .. } if self.there => {
                DiskDone::PartOpened { download, result: Ok(PartState::AlreadyThere { path }) }
            }
            DiskWork::OpenPart { download, .. } => {
                let (manifest, verified) = self.part.clone();
                for piece in &verified {
                    let from = *piece as usize * PIECE_BYTES as usize;
                    let to = self.content.bytes.len().min(from + PIECE_BYTES as usize);
                    self.written.insert(*piece, self.content.bytes[from..to].to_vec());
                }
                DiskDone::PartOpened { download, result: Ok(PartState::Open { path, manifest, verified }) }
            }
            DiskWork::WritePiece { download, piece, payload } => {
                let bytes = self.payloads.remove(&payload).expect("a payload is used up once");
                let result = if self.full { full() } else { Ok(()) };
                let before = self.written.insert(piece, bytes);
                assert!(before.is_none() || self.lenient, "piece {piece} was written twice");
                DiskDone::PieceWritten { download, piece, result }
            }
            DiskWork::Publish { download } => {
                self.published = Some(self.written.values().flatten().copied().collect());
                DiskDone::Published { download, result: Ok(path) }
            }
            DiskWork::DropPayload { payload } => {
                self.payloads.remove(&payload).expect("a payload is used up once");
                return;
            }
            DiskWork::StoreManifest { cvs, .. } => {
                self.stored = Some(cvs);
                return;
            }
            DiskWork::Abandon { .. } => {
                self.abandoned += 1;
                return;
            }
            DiskWork::PrepareChunk { .. }
            | DiskWork::DropChunk { .. }
            | DiskWork::ReadManifest { .. }
            | DiskWork::ForgetConn { .. } => return,
        };
        self.later(LATENCY, Happening::Input(Input::Disk(done)));
    }

    /// Nothing is left over once all is over.
    pub(super) fn assert_no_leak(&mut self) {
        self.run_for(Duration::from_secs(200));
        assert!(self.payloads.is_empty(), "payloads were neither written nor dropped");
        let open = self.conns.values().filter(|end| matches!(end, End::Source(_))).count();
        assert_eq!(open, 0, "connections to sources are left open");
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: PROTOCOL_VERSION,
        node: NodeId([2; 16]),
        boot: 1,
        features: vec![],
        ping: 30_000,
        frame: 65_536,
        addr: HostPort::new("192.0.2.50", 50_000).unwrap(),
    }
}

pub(super) fn file(path: &str, size: u64) -> FileRecord {
    FileRecord { path: SharePath::new(path).unwrap(), size, root: Root([7; 32]) }
}

pub(super) fn report(outcome: &Outcome, index: u16) -> SourceReport {
    let source = addr(100 + index);
    let reports = outcome.sources.as_ref().expect("the outcome of a download tells its sources");
    reports.iter().find(|report| report.source == source).expect("the source was in use").clone()
}
