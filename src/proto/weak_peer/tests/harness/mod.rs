//! A world around one weak peer: super peers, sources and a disk that act as a test says, in
//! virtual time. There is no socket, no clock and no chance: events that are scheduled for the same
//! instant happen in the order in which they were scheduled.

mod content;
mod disk;
mod sources;
mod super_peers;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use content::Content;
pub(super) use sources::{Manner, Source};
pub(super) use super_peers::{Super, SuperPeer};

use crate::config::DIAL_TIMEOUT;
use crate::error::Failure;
use crate::proto::command::Get;
use crate::proto::event::{Outcome, SourceReport};
use crate::proto::weak_peer::{Listens, Offer, PeerLogin, QueueConfig, Saved, WeakPeer, WeakPeerConfig};
use crate::proto::{
    ClientEvent, ClientId, CloseReason, Command, ConnId, DialCause, DialId, DiskDone, DiskWork, DownloadId, Event,
    Input, Output, OwnAddrs, PayloadId, Role, Verify,
};
use crate::sim::{Random, builders};
use crate::time::Time;
use crate::trust::{Pin, PublicKey};
use crate::wire::ids::Cv;
use crate::wire::message::{Mode, Register, SourceRecord, Update, Welcome};
use crate::wire::{FileRecord, HostPort, Message, NodeId, Root, SharePath};

pub(super) const CLIENT: ClientId = ClientId(7);
const LATENCY: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Super(usize),
    Source(usize),
    Outside,
}

enum Happening {
    Input(Input<'static>),
    /// The source may begin with its next chunk, if its upstream is free.
    Next(usize, ConnId),
    /// The upstream of the source is free: the last byte of a chunk was sent.
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
    /// How long the disk takes to hash a piece.
    pub(super) hash_time: Duration,
    /// How long the disk takes to open a part file.
    pub(super) open_time: Duration,
    /// How long the disk takes to write a piece.
    pub(super) write_time: Duration,
    pub(super) written: BTreeMap<u32, Vec<u8>>,
    /// Small files of commands that were looked for.
    looked: BTreeMap<DownloadId, u64>,
    pub(super) abandoned: u32,
    pub(super) published: Option<Vec<u8>>,
    pub(super) stored: Option<Vec<Cv>>,
    /// The sizes for which the part file was prepared.
    pub(super) sized: Vec<u64>,
    pub(super) events: Vec<(Time, Event)>,
    /// How often each address was dialed.
    pub(super) dialed: BTreeMap<HostPort, u32>,
    /// The source that got the first request.
    pub(super) asked_first: Option<usize>,
    /// All messages on connections that others opened, and all other outputs that concern these
    /// connections.
    pub(super) outputs: Vec<Output>,
    pub(super) wakes: u32,
    pub(super) disk: Vec<DiskWork>,
    /// The file of the queue of downloads.
    pub(super) lines: String,
    /// The peer's own addresses.
    pub(super) own: OwnAddrs,
    /// Whether messages arrive that no source sends, so that the rules of this world do not hold.
    pub(super) lenient: bool,
    /// In login mode: the key that is proved at each address.
    pub(super) keys: BTreeMap<HostPort, PublicKey>,
}

pub(super) fn addr(port: u16) -> HostPort {
    HostPort::new("192.0.2.9", port).unwrap()
}

pub(super) fn config(supers: &[u16], offer: bool) -> WeakPeerConfig {
    WeakPeerConfig {
        node: NodeId([1; 16]),
        boot: 5,
        supers: supers.iter().map(|port| addr(*port).into()).collect(),
        login: None,
        offer: offer.then_some(Offer { port: 4778, host: None, listens: Listens::Everywhere, http: false }),
        connect_timeout: Duration::from_secs(10),
        download_timeout: crate::config::DOWNLOAD_TIMEOUT,
        agent: "sprat test".into(),
    }
}

impl World {
    /// A peer whose super peers are at ports 1, 2, …, and the content that the sources have.
    pub(super) fn new(supers: u16, size: u64) -> World {
        World::seeded(supers, size, 3)
    }

    /// The world of [`World::new`] with this seed of the peer's random numbers.
    pub(super) fn seeded(supers: u16, size: u64, seed: u64) -> World {
        let ports: Vec<_> = (1..=supers).collect();
        let serves = || SuperPeer {
            manner: Super::Serves,
            alive: true,
            conn: None,
            heard: vec![],
            hits: vec![],
            acks: true,
            members: vec![],
            gateway: None,
        };
        World {
            peer: WeakPeer::new(config(&ports, true), Box::new(Random::new(seed))),
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
            hash_time: Duration::ZERO,
            open_time: LATENCY,
            write_time: LATENCY,
            written: BTreeMap::new(),
            looked: BTreeMap::new(),
            abandoned: 0,
            published: None,
            stored: None,
            sized: Vec::new(),
            events: Vec::new(),
            dialed: BTreeMap::new(),
            asked_first: None,
            outputs: Vec::new(),
            wakes: 0,
            disk: Vec::new(),
            lines: String::new(),
            own: OwnAddrs::default(),
            lenient: false,
            keys: BTreeMap::new(),
        }
    }

    /// The world of [`World::new`] in login mode, with what the peer starts with. Each super peer
    /// is given with the key that it must prove.
    pub(super) fn with_login(mut self, login: PeerLogin, supers: Vec<Pin>) -> World {
        let (node, login) = (login.key.node(), Some(Arc::new(login)));
        self.peer =
            WeakPeer::new(WeakPeerConfig { node, login, supers, ..config(&[], true) }, Box::new(Random::new(3)));
        self
    }

    /// The world of [`World::new`] with a queue that has these lines of an earlier run.
    pub(super) fn queued(self, parallel: usize, lines: &str) -> World {
        let saved = if lines.is_empty() { Saved::default() } else { Saved::parse(lines).unwrap() };
        World { peer: self.peer.with_queue(QueueConfig { parallel, kept: true, saved }), ..self }
    }

    pub(super) fn record(&self, path: &str, port: u16) -> SourceRecord {
        let path = SharePath::new(path).unwrap();
        SourceRecord {
            path,
            size: self.content.size(),
            root: self.content.root,
            addr: addr(port),
            collection: false,
            node: None,
            other: None,
            unreached: false,
            http: false,
            member: None,
        }
    }

    pub(super) fn get(&mut self) -> &mut World {
        self.get_with(Verify::Both, None)
    }

    pub(super) fn get_with(&mut self, verify: Verify, from: Option<HostPort>) -> &mut World {
        let what = self.content.root.to_string();
        self.command(Command::Get(Get { from, verify, ..Get::of(what) }))
    }

    pub(super) fn get_named(&mut self, what: &str) -> &mut World {
        self.command(builders::get(what))
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

    // ---- time -----------------------------------------------------------------------------------

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

    /// Runs the next event before `until`. Returns whether there was one.
    pub(super) fn step(&mut self, until: Time) -> bool {
        let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let timer = self.peer.poll_timeout();
        let Some(at) = agenda.into_iter().chain(timer).min().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(at);
        if timer.is_some_and(|timer| agenda.is_none_or(|agenda| timer <= agenda)) {
            self.wakes += 1;
            let mut turns = 0;
            while self.peer.poll_timeout().is_some_and(|next| next <= self.now) {
                self.peer.handle_timeout(self.now);
                turns += 1;
                assert!(turns < 100, "a deadline was not dealt with");
            }
        } else if let Some((_, happening)) = self.agenda.pop_first() {
            match happening {
                Happening::Input(input) => self.deliver(input),
                Happening::Next(source, conn) => self.serve_next(source, conn),
                Happening::Free(source, conn) => {
                    if self.sources[source].1.conn == Some(conn) {
                        self.sources[source].1.busy = false;
                        self.sources[source].1.sending = None;
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
            Input::PayloadReceived { conn, req, payload, .. } => {
                if !self.conns.contains_key(conn) {
                    self.payloads.remove(payload);
                }
                if let Some(End::Source(index)) = self.conns.get(conn) {
                    let source = &mut self.sources[*index].1;
                    source.sending.take_if(|sent| *sent == *req);
                    source.right += u32::from(!source.wrong.contains(req));
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

    /// Runs until the client's command is over. Returns how it ended.
    pub(super) fn outcome(&mut self) -> Outcome {
        self.run_until(|world| world.outcomes() > 0);
        let last = self.client_events().pop();
        assert_eq!(self.outcomes(), 1);
        match last {
            Some(ClientEvent::Done(outcome)) => outcome,
            other => panic!("{other:?} came after done"),
        }
    }

    // ---- what was seen --------------------------------------------------------------------------

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

    // ---- faults ---------------------------------------------------------------------------------

    /// One of the open connections.
    pub(super) fn any_conn(&self, nth: u64) -> Option<ConnId> {
        self.conns.keys().nth(usize::try_from(nth).unwrap() % self.conns.len().max(1)).copied()
    }

    pub(super) fn drop_conn(&mut self, conn: ConnId, why: CloseReason) {
        self.conns.remove(&conn);
        self.input(Input::Closed { conn, why });
    }

    /// A payload that nobody requested.
    pub(super) fn stray_payload(&mut self) -> PayloadId {
        let payload = PayloadId(self.next_payload);
        self.next_payload += 1;
        self.payloads.insert(payload, Vec::new());
        payload
    }

    /// The other side is gone: what it sent and what has not arrived yet is lost.
    fn hang_up(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.later(Duration::ZERO, Happening::Input(Input::Closed { conn, why: CloseReason::Remote }));
    }

    // ---- outputs --------------------------------------------------------------------------------

    pub(super) fn accept(&mut self) -> ConnId {
        self.accept_from("192.0.2.77:5000".parse().unwrap())
    }

    pub(super) fn accept_from(&mut self, from: SocketAddr) -> ConnId {
        self.accept_key(from, None)
    }

    /// A node that has proved this key connects.
    pub(super) fn accept_key(&mut self, from: SocketAddr, key: Option<PublicKey>) -> ConnId {
        let (conn, to) = (self.mint(End::Outside), IpAddr::from([192, 0, 2, 1]));
        self.input(Input::Accepted { conn, from, to, since: self.now, key, unix: 0 });
        conn
    }

    /// Whether a connection to a super peer or a source is open.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// The WELCOME of a super peer or source at this address.
    pub(super) fn welcome_of(&self, at: &HostPort) -> Welcome {
        let mut welcome = builders::welcome(HostPort::new("192.0.2.50", 50_000).unwrap());
        if let Some(key) = self.keys.get(at) {
            (welcome.node, welcome.mode) = (key.node(), Mode::Login);
        }
        welcome
    }

    fn mint(&mut self, end: End) -> ConnId {
        let conn = ConnId { index: self.next_conn, generation: 0 };
        self.next_conn += 1;
        self.conns.insert(conn, end);
        conn
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial { dial, to, .. } => self.dial(dial, &to),
            Output::Send { conn, message } => match self.conns.get(&conn).copied() {
                Some(End::Super(index)) => self.super_hears(index, conn, message),
                Some(End::Source(index)) => self.source_hears(index, conn, message),
                Some(End::Outside) => self.outputs.push(Output::Send { conn, message }),
                None => {}
            },
            Output::ReceivePayload { conn, req, length, plan, verify } => {
                self.receive(conn, req, length, plan, verify);
            }
            output @ (Output::Close { conn } | Output::Abort { conn }) => {
                if self.conns.get(&conn) == Some(&End::Outside) {
                    self.outputs.push(output);
                }
                if self.conns.remove(&conn).is_some() {
                    self.later(LATENCY, Happening::Input(Input::Closed { conn, why: CloseReason::Asked }));
                }
            }
            Output::DropPayload { payload } => {
                self.payloads.remove(&payload).expect("a payload is used up once");
            }
            Output::Disk(work) => self.disk(work),
            Output::Event(event) => self.events.push((self.now, *event)),
            output @ (Output::SendPayload { .. } | Output::DropChunk { .. } | Output::Limit(_)) => {
                self.outputs.push(output)
            }
            Output::FrameCap { .. } | Output::SendTo { .. } | Output::Resolve { .. } => {}
            Output::SaveAccounts { .. } | Output::Hold { .. } => unreachable!("only a super peer does this"),
        }
    }

    fn dial(&mut self, dial: DialId, to: &HostPort) {
        *self.dialed.entry(to.clone()).or_default() += 1;
        let super_peer = self.supers.iter().position(|(addr, peer)| addr == to && peer.alive).map(End::Super);
        let source = self.sources.iter().position(|(addr, _)| addr == to);
        if let Some(index) = source {
            self.sources[index].1.dials += 1;
        }
        if source.is_some_and(|index| self.sources[index].1.manner == Manner::Nowhere) {
            let why = "no answer in time".to_owned();
            return self
                .later(DIAL_TIMEOUT, Happening::Input(Input::DialFailed { dial, why, cause: DialCause::Unreachable }));
        }
        let source = source.filter(|index| self.sources[*index].1.alive).map(End::Source);
        let Some(end) = super_peer.or(source) else {
            let why = "connection refused".to_owned();
            return self
                .later(LATENCY, Happening::Input(Input::DialFailed { dial, why, cause: DialCause::Unreachable }));
        };
        let conn = self.mint(end);
        match end {
            End::Super(index) => self.supers[index].1.conn = Some(conn),
            End::Source(index) => {
                let source = &mut self.sources[index].1;
                (source.conn, source.busy, source.sending) = (Some(conn), false, None);
                source.queue.clear();
            }
            End::Outside => {}
        }
        let (own, key) = (self.own, self.keys.get(to).copied());
        self.later(LATENCY, Happening::Input(Input::Dialed { dial, conn, own, key, unix: 0 }));
    }

    /// When everything is over, nothing is left.
    pub(super) fn assert_no_leak(&mut self) {
        self.run_for(Duration::from_secs(200));
        assert!(self.payloads.is_empty(), "payloads were neither written nor dropped");
        let open = self.conns.values().filter(|end| matches!(end, End::Source(_))).count();
        assert_eq!(open, 0, "connections to sources are left open");
    }
}

pub(super) fn file(path: &str, size: u64) -> FileRecord {
    FileRecord { path: SharePath::new(path).unwrap(), size, root: Root([7; 32]), collection: false }
}

pub(super) fn report(outcome: &Outcome, index: u16) -> SourceReport {
    let source = addr(100 + index);
    let reports = outcome.sources.as_ref().expect("the outcome of a download names its sources");
    reports.iter().find(|report| report.source == source).expect("the source was in use").clone()
}
