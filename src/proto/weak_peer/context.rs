//! What the parts of one weak peer share: the time of the turn, the queue of outputs, the timers,
//! and the owner of each dial and connection. It decides nothing. The ids by which the parts name
//! each other are here too, below all of them.

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

/// Set in the id of a client that is the queue itself, for one run of a download. Drivers do not
/// use this bit.
const QUEUE_BIT: u64 = 1 << 62;
/// Longest text of another peer that an error or a log line quotes, in characters.
const QUOTE_CHARS_MAX: usize = 200;
/// Longest agent in a HELLO, in bytes: a HELLO must fit into 256 bytes (PROTOCOL.md, "Frames").
const AGENT_BYTES_MAX: usize = 64;

/// A session with a super peer, by its place in the list of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) u8);

/// A command of many files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(pub(super) u64);

/// A source of a download, by its place in the list of that download.
pub(super) type SourceIndex = usize;

/// Why a weak peer wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The peer was just created: dial the first super peer.
    Start,
    /// No session opened within the connect timeout.
    ConnectTimeout,
    /// The wait before the next round of dials is over.
    Redial(SessionId),
    /// A PING may be due.
    Ping(SessionId),
    /// The super peer owes an answer.
    Answer(SessionId),
    /// Files that the super peer had no memory for are to be offered again.
    Files(SessionId),
    /// A chunk connection to us may be idle, or its HELLO late.
    Upload(ConnId),
    /// Turns of followers may be void or slow.
    Turns,
    /// A complete download may leave its swarm.
    Linger,
    /// A running download looks for stalls and for pieces that nobody sends, in piece times.
    Swarm(DownloadId),
    /// A running download checks its sources and reports its progress.
    Download(DownloadId),
    /// A command of many files reports its progress.
    Batch(BatchId),
    /// The files of a collection: checks holders and reports progress.
    Collection(DownloadId),
    /// A client's command, by its number, has waited long enough.
    Task(u64),
    /// A client that subscribes: its first search is over, or the next one is due.
    Subscription(ClientId),
    /// A download of the queue that waits may ask again.
    Retry,
    /// The queue is saved again after the disk has failed.
    Save,
    /// Changes of the share are to be reported.
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
    /// A holder of a collection, by its place in the list of that collection.
    Holder(DownloadId, usize),
    /// A source that no download uses at present.
    Idle,
}

/// The shared state of one weak peer; every part gets it with each call.
pub(super) struct Context {
    /// The time of this turn.
    pub(super) now: Time,
    pub(super) timers: Timers<Reason>,
    /// The pace at which unknown addresses of each host are dialed.
    pub(super) hosts: Hosts,
    /// Connections to sources that the next small file may use.
    pub(super) idle: IdleConns,
    /// What is served of contents that are being downloaded.
    pub(super) holdings: Holdings,
    /// What downloads report of their swarms; taken in the same turn.
    pub(super) swarm_steps: VecDeque<Step>,
    /// The place of this peer, as its user calls it.
    pub(super) zone: Option<String>,
    /// The peer ends with its command.
    pub(super) one_shot: bool,
    /// How much the driver sends and receives.
    pub(super) limits: RateLimits,
    /// What was reported last of complete downloads that others still fetch.
    lingers: bool,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) agent: String,
    /// In login mode.
    pub(super) membership: Option<Box<Membership>>,
    entropy: Box<dyn Entropy>,
    out: VecDeque<Output>,
    /// Events for the queue; taken in the same turn.
    queue_events: VecDeque<(ClientId, ClientEvent)>,
    dials: BTreeMap<DialId, Owner>,
    conns: BTreeMap<ConnId, Owner>,
    /// In login mode: the keys that the other sides of dialed connections have proved.
    keys: BTreeMap<ConnId, PublicKey>,
    /// The accounts of those of them that have shown a valid credential.
    accounts: BTreeMap<ConnId, Account>,
    next_dial: u64,
}

/// A least rate, or a part of what each of the connections gets of a limit, if that is less.
fn least_rate(usual: u64, limit: u64, conns: impl FnOnce() -> usize) -> u64 {
    // As many connections as there may be get enough of such a limit.
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

    /// The least rate of a source in bytes per second. With a limit on what is received it is a
    /// part of what each source would get: the limit is not the fault of a source.
    pub(super) fn source_rate_min(&self) -> u64 {
        let fetched_from = |owner: &&Owner| matches!(owner, Owner::Source(..) | Owner::Holder(..));
        least_rate(SOURCE_RATE_MIN, self.limits.download, || self.conns.values().filter(fetched_from).count())
    }

    /// The least rate at which a peer takes bytes from us, in the same way.
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

    /// Ends a dial, or gives it up. If it then still succeeds, its connection is closed. Returns
    /// its owner; none if the dial was given up before.
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

    /// Closes a connection once its queue is written. Later input of this connection has no owner
    /// and is ignored.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.disown(conn);
        self.push(Output::Close { conn });
    }

    /// Gives up a dial or a connection, whichever there is.
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

    /// Whether what comes from a source may be used: there is no login, or its credential is valid.
    pub(super) fn may_use(&self, conn: ConnId) -> bool {
        self.membership.is_none() || self.accounts.contains_key(&conn)
    }

    /// The dialed connections whose other side has shown a credential that is revoked by now.
    pub(super) fn revoked(&self) -> Vec<ConnId> {
        let Some(membership) = &self.membership else { return Vec::new() };
        let revoked = self.accounts.iter().filter(|(_, account)| membership.denies(account));
        revoked.map(|(conn, _)| *conn).collect()
    }

    // ---- messages -------------------------------------------------------------------------------

    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.push(Output::Send { conn, message });
    }

    /// HELLO on a chunk connection; in login mode LOGIN too, whose answer is not waited for.
    pub(super) fn hello(&mut self, conn: ConnId) {
        let hello = Hello::new(self.node, self.boot, self.agent.clone());
        self.send(conn, Message::Hello(Hello { features: vec![FEATURE_SWARM.to_owned()], ..hello }));
        if let Some(credential) = self.membership.as_ref().and_then(|membership| membership.credential()) {
            self.send(conn, Message::Login(Login::with_credential(credential)));
        }
    }

    /// The HELLO of a session.
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

    /// Answers a message of an unknown kind; the connection goes on.
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

    /// Reports whether it stays in the swarm of a complete download.
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

    /// Warns of what keeps others from this peer. For a one-shot command it is only information.
    pub(super) fn warn_host(&mut self, text: String) {
        if self.one_shot { self.info(text) } else { self.warn(text) }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.event(Event::Log { level: log::Level::Warn, text });
    }

    /// Any number.
    pub(super) fn draw_u64(&mut self) -> u64 {
        self.entropy.next_u64()
    }

    /// A number drawn evenly from those below this one; 0 if there is none.
    pub(super) fn draw(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.entropy.next_u64() % below).unwrap_or(0)
    }

    /// A wait drawn evenly from zero to `longest`: full jitter, so that many peers do not return in
    /// step.
    pub(super) fn jitter(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.entropy.next_u64() % micros)
    }
}

/// The client id under which this run of a download of the queue reports its events.
pub(super) fn queue_client(run: u64) -> ClientId {
    ClientId(QUEUE_BIT | run)
}

/// A text from another peer: shortened, without invisible characters.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).take(QUOTE_CHARS_MAX).collect()
}

/// Whole milliseconds, as events report them.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
