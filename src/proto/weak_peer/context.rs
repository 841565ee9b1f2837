//! The state that the parts of one weak peer share: the time of the turn, the queue of outputs, the
//! timers, and the owner of each dial and connection. It decides nothing. The ids by which the
//! parts name each other are here too, because all parts import this module.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::hosts::Hosts;
use super::idle::IdleConns;
use super::membership::Membership;
use super::swarm::holdings::Holdings;
use super::swarm::step::Step;
use crate::config::{RATE_FLOOR_PART, SOURCE_RATE_MIN, UPLOAD_RATE_MIN, UPLOADS_MAX};
use crate::proto::event::Outcome;
use crate::proto::timers::Timers;
use crate::proto::{
    ClientEvent, ClientId, ConnId, DialId, DiskWork, DownloadId, Entropy, Event, Limit, Output, PayloadId, RateLimits,
};
use crate::time::Time;
use crate::trust::{Account, PublicKey};
use crate::wire::message::{Bye, Error, ErrorCode, FEATURE_REACH, Hello, Login, Mode};
use crate::wire::name::is_invisible;
use crate::wire::swarm::FEATURE_SWARM;
use crate::wire::{HostPort, Message, NodeId};

/// This bit is set in a client id if the client is the queue itself, for one run of a download.
/// Drivers do not use this bit.
const QUEUE_BIT: u64 = 1 << 62;
/// Longest text of another peer that an error or a log line quotes, in characters.
const QUOTE_CHARS_MAX: usize = 200;
/// Longest agent in a HELLO, in bytes: a HELLO must fit into 256 bytes (PROTOCOL.md, "Frames").
const AGENT_BYTES_MAX: usize = 64;

/// A session with a super peer: its place in the list of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) u8);

/// A command of many files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(pub(super) u64);

/// A source of a download: its place in the list of that download.
pub(super) type SourceIndex = usize;

/// Why a weak peer wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The peer was just created: the first super peer must be dialed.
    Start,
    /// No session opened within the connect timeout.
    ConnectTimeout,
    /// The wait before the next round of dials is over.
    Redial(SessionId),
    /// A PING may be due.
    Ping(SessionId),
    /// The super peer has not answered yet.
    Answer(SessionId),
    /// Files that the super peer had no memory for must be offered again.
    Files(SessionId),
    /// A chunk connection to us may be idle, or its HELLO may be late.
    Upload(ConnId),
    /// Turns of followers may have expired, or may be slow.
    Turns,
    /// A complete download may leave its swarm.
    Linger,
    /// A running download looks for stalls and for pieces that no source sends. The interval
    /// follows the time that a piece takes.
    Swarm(DownloadId),
    /// A running download checks its sources and reports its progress.
    Download(DownloadId),
    /// A command of many files reports its progress.
    Batch(BatchId),
    /// The files of a collection: holders are checked and progress is reported.
    Collection(DownloadId),
    /// The time for a client's command, by its number, is over.
    Task(u64),
    /// A client that subscribes: its first search is over, or its next search is due.
    Subscription(ClientId),
    /// A waiting download of the queue may search again.
    Retry,
    /// The queue must be saved again, because the disk failed.
    Save,
    /// Changes of the share must be reported.
    Share,
}

/// The part that a dial or a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A session with a super peer.
    Session(SessionId),
    /// Another peer that fetches chunks from us.
    Upload,
    /// A source of a download.
    Source(DownloadId, SourceIndex),
    /// A holder of a collection, by its place in the list of holders of that collection.
    Holder(DownloadId, usize),
    /// No download at present: the connection to a source is kept for later.
    Idle,
}

/// The state that the parts of one weak peer share. Every part gets it with each call.
pub(super) struct Context {
    /// The time of this turn.
    pub(super) now: Time,
    pub(super) timers: Timers<Reason>,
    /// The pace at which unknown addresses of each host are dialed.
    pub(super) hosts: Hosts,
    /// Connections to sources that the next small file may use.
    pub(super) idle: IdleConns,
    /// What this peer serves of contents that it is downloading.
    pub(super) holdings: Holdings,
    /// What downloads report about their swarms. It is handled in the same turn.
    pub(super) swarm_steps: VecDeque<Step>,
    /// The zone of this peer, as its user has named it.
    pub(super) zone: Option<String>,
    /// Whether the peer ends with its command.
    pub(super) one_shot: bool,
    /// The limits on how much the driver sends and receives.
    pub(super) limits: RateLimits,
    /// The last report of whether others still fetch complete downloads from this peer.
    lingers: bool,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) agent: String,
    /// The state of login mode; none in open mode.
    pub(super) membership: Option<Box<Membership>>,
    entropy: Box<dyn Entropy>,
    out: VecDeque<Output>,
    /// Events for the queue. They are handled in the same turn.
    queue_events: VecDeque<(ClientId, ClientEvent)>,
    dials: BTreeMap<DialId, Owner>,
    conns: BTreeMap<ConnId, Owner>,
    /// In login mode: the key that the other side of each dialed connection has proved.
    keys: BTreeMap<ConnId, PublicKey>,
    /// The account of each of these connections that has shown a valid credential.
    accounts: BTreeMap<ConnId, Account>,
    next_dial: u64,
}

/// The least rate of a connection: the usual one or, if that is less, a part of the share that each
/// connection has of a limit.
fn least_rate(usual: u64, limit: u64, conns: impl FnOnce() -> usize) -> u64 {
    // If the limit is high enough for the largest number of connections, they need not be counted.
    if limit == 0 || limit / RATE_FLOOR_PART / UPLOADS_MAX as u64 >= usual {
        return usual;
    }
    let each = limit / RATE_FLOOR_PART / conns().max(1) as u64;
    usual.min(each).max(1)
}

impl Context {
    pub(super) fn new(node: NodeId, boot: u64, agent: &str, entropy: Box<dyn Entropy>) -> Context {
        let agent = agent.chars().filter(char::is_ascii_graphic).take(AGENT_BYTES_MAX).collect();
        Context {
            now: Time::ZERO,
            timers: Timers::new(),
            hosts: Hosts::default(),
            idle: IdleConns::default(),
            holdings: Holdings::default(),
            swarm_steps: VecDeque::new(),
            zone: None,
            one_shot: false,
            limits: RateLimits::default(),
            lingers: false,
            node,
            boot,
            agent,
            membership: None,
            entropy,
            out: VecDeque::new(),
            queue_events: VecDeque::new(),
            dials: BTreeMap::new(),
            conns: BTreeMap::new(),
            keys: BTreeMap::new(),
            accounts: BTreeMap::new(),
            next_dial: 1,
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    // ---- limits ---------------------------------------------------------------------------------

    pub(super) fn set_limits(&mut self, limits: RateLimits) {
        if limits != self.limits {
            self.limits = limits;
            self.push(Output::Limit(Limit::All(limits)));
        }
    }

    /// The least rate of a source in bytes per second. If there is a limit on what is received, it
    /// is a part of each source's share: a source is not to blame for the limit.
    pub(super) fn source_rate_min(&self) -> u64 {
        let fetched_from = |owner: &&Owner| matches!(owner, Owner::Source(..) | Owner::Holder(..));
        least_rate(SOURCE_RATE_MIN, self.limits.download, || self.conns.values().filter(fetched_from).count())
    }

    /// The least rate at which a peer must take bytes from us, computed in the same way.
    pub(super) fn upload_rate_min(&self, uploads: usize) -> u64 {
        least_rate(UPLOAD_RATE_MIN, self.limits.upload, || uploads)
    }

    // ---- connections ----------------------------------------------------------------------------

    pub(super) fn dial(&mut self, owner: Owner, to: &HostPort) -> DialId {
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        self.dials.insert(dial, owner);
        self.push(Output::Dial { dial, to: to.clone(), key: None });
        dial
    }

    /// A dial has ended or is given up. If a given-up dial still succeeds, its connection is
    /// closed. Returns the owner; none if the dial was given up before.
    pub(super) fn end_dial(&mut self, dial: DialId) -> Option<Owner> {
        self.dials.remove(&dial)
    }

    pub(super) fn own(&mut self, conn: ConnId, owner: Owner) {
        self.conns.insert(conn, owner);
    }

    pub(super) fn owner(&self, conn: ConnId) -> Option<Owner> {
        self.conns.get(&conn).copied()
    }

    pub(super) fn disown(&mut self, conn: ConnId) -> Option<Owner> {
        self.keys.remove(&conn);
        self.accounts.remove(&conn);
        self.conns.remove(&conn)
    }

    /// Closes a connection once its queue is written. Later inputs of this connection have no owner
    /// and are ignored.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.disown(conn);
        self.push(Output::Close { conn });
    }

    /// Closes a connection at once: what is queued is not sent.
    pub(super) fn abort(&mut self, conn: ConnId) {
        self.disown(conn);
        self.push(Output::Abort { conn });
    }

    /// Gives up a dial or closes a connection.
    pub(super) fn give_up(&mut self, dial: Option<DialId>, conn: Option<ConnId>) {
        dial.and_then(|dial| self.end_dial(dial));
        conn.into_iter().for_each(|conn| self.close(conn));
    }

    // ---- login ----------------------------------------------------------------------------------

    pub(super) fn set_clock(&mut self, unix: u64) {
        let now = self.now;
        if let Some(membership) = &mut self.membership {
            membership.set_clock(now, unix);
        }
    }

    /// The mode of this peer.
    pub(super) fn mode(&self) -> Mode {
        if self.membership.is_some() { Mode::Login } else { Mode::Open }
    }

    /// The other side of a dialed connection has proved this key.
    pub(super) fn set_key(&mut self, conn: ConnId, key: Option<PublicKey>) {
        if let Some(key) = key {
            self.keys.insert(conn, key);
        }
    }

    pub(super) fn key(&self, conn: ConnId) -> Option<PublicKey> {
        self.keys.get(&conn).copied()
    }

    /// The other side of a dialed connection has shown a valid credential.
    pub(super) fn set_account(&mut self, conn: ConnId, account: Account) {
        self.accounts.insert(conn, account);
    }

    /// Whether data from a source may be used: there is no login, or the source has shown a valid
    /// credential.
    pub(super) fn may_use(&self, conn: ConnId) -> bool {
        self.membership.is_none() || self.accounts.contains_key(&conn)
    }

    /// The dialed connections whose other side has shown a credential that is now revoked.
    pub(super) fn revoked(&self) -> Vec<ConnId> {
        let Some(membership) = &self.membership else { return Vec::new() };
        let revoked = self.accounts.iter().filter(|(_, account)| membership.denies(account));
        revoked.map(|(conn, _)| *conn).collect()
    }

    // ---- messages -------------------------------------------------------------------------------

    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.push(Output::Send { conn, message });
    }

    /// Sends HELLO on a chunk connection. In login mode it also sends LOGIN, and does not wait for
    /// the answer.
    pub(super) fn hello(&mut self, conn: ConnId) {
        let hello = Hello::new(self.node, self.boot, self.agent.clone());
        self.send(conn, Message::Hello(Hello { features: vec![FEATURE_SWARM.to_owned()], ..hello }));
        if let Some(credential) = self.membership.as_ref().and_then(|membership| membership.credential()) {
            self.send(conn, Message::Login(Login::with_credential(credential)));
        }
    }

    /// Sends the HELLO of a session.
    pub(super) fn hello_super_peer(&mut self, conn: ConnId) {
        let hello = Hello::new(self.node, self.boot, self.agent.clone());
        self.send(
            conn,
            Message::Hello(Hello { features: [FEATURE_REACH, FEATURE_SWARM].map(str::to_owned).into(), ..hello }),
        );
    }

    pub(super) fn bye(&mut self, conn: ConnId, why: &str) {
        self.send(conn, Message::Bye(Bye { why: why.to_owned() }));
        self.close(conn);
    }

    pub(super) fn error(&mut self, conn: ConnId, code: ErrorCode, message: impl Into<String>, req: Option<u32>) {
        self.send(conn, Message::Error(Error::new(code, message, req)));
    }

    /// Answers a message of an unknown kind. The connection stays open.
    pub(super) fn unknown_kind(&mut self, conn: ConnId, kind: &str) {
        self.error(conn, ErrorCode::UNKNOWN_KIND, format!("{kind} is not known"), None);
    }

    // ---- the rest -------------------------------------------------------------------------------

    pub(super) fn disk(&mut self, work: DiskWork) {
        self.push(Output::Disk(work));
    }

    pub(super) fn drop_payload(&mut self, payload: PayloadId) {
        self.push(Output::DropPayload { payload });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(Box::new(event)));
    }

    /// Reports whether this peer stays in the swarm of a complete download.
    pub(super) fn set_lingers(&mut self, lingers: bool) {
        if self.lingers != lingers {
            self.lingers = lingers;
            self.event(Event::Lingers(lingers));
        }
    }

    /// Sends an event to a client.
    pub(super) fn report(&mut self, client: ClientId, event: ClientEvent) {
        if client.0 & (QUEUE_BIT | 1 << 63) == QUEUE_BIT {
            self.queue_events.push_back((client, event));
        } else {
            self.event(Event::Client { client, event });
        }
    }

    /// The next event of a run of the queue.
    pub(super) fn poll_queue_event(&mut self) -> Option<(ClientId, ClientEvent)> {
        self.queue_events.pop_front()
    }

    /// Ends a client's command.
    pub(super) fn done(&mut self, client: ClientId, outcome: Outcome) {
        self.report(client, ClientEvent::Done(outcome));
    }

    pub(super) fn info(&mut self, text: String) {
        self.event(Event::Log { level: log::Level::Info, text });
    }

    /// Warns of a problem that keeps others from reaching this peer. For a one-shot command the
    /// text is only information.
    pub(super) fn warn_host(&mut self, text: String) {
        if self.one_shot { self.info(text) } else { self.warn(text) }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.event(Event::Log { level: log::Level::Warn, text });
    }

    /// A random number.
    pub(super) fn draw_u64(&mut self) -> u64 {
        self.entropy.next_u64()
    }

    /// A random number below this one, all equally likely; 0 if this one is 0.
    pub(super) fn draw(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.entropy.next_u64() % below).unwrap_or(0)
    }

    /// A random wait from zero to `longest` (full jitter), so that many peers do not return at the
    /// same time.
    pub(super) fn jitter(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.entropy.next_u64() % micros)
    }
}

/// The client id of the queue for this run of a download.
pub(super) fn queue_client(run: u64) -> ClientId {
    ClientId(QUEUE_BIT | run)
}

/// A text from another peer: shortened, and without invisible characters.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).take(QUOTE_CHARS_MAX).collect()
}

/// The duration in milliseconds, rounded down, as events report it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
