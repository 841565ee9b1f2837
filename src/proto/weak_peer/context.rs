//! What the machines of one weak peer share: the time of the turn, the queue of outputs, the timers, and whose connection
//! is whose. Decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::download::SourceIndex;
use super::session::SessionId;
use crate::config::PROTOCOL_VERSION;
use crate::proto::event::Outcome;
use crate::proto::timers::Timers;
use crate::proto::{ClientEvent, ClientId, ConnId, DialId, DiskWork, DownloadId, Entropy, Event, Output};
use crate::time::Time;
use crate::wire::message::{Bye, Error, ErrorCode, Hello};
use crate::wire::{HostPort, Message, NodeId};

/// Why a weak peer wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It was just made: the first super peer is to be dialled.
    Start,
    /// No session came about within the connect timeout.
    ConnectTimeout,
    /// The wait before the next round through the super peers is over.
    Redial(SessionId),
    /// Nothing may have been said to the super peer for its ping interval.
    Ping(SessionId),
    /// The super peer owes an answer.
    Answer(SessionId),
    /// A chunk connection to us may be idle, or its HELLO late.
    Upload(ConnId),
    /// A running download looks after its sources and tells its progress.
    Download(DownloadId),
    /// A client's command, by its number, waited long enough.
    Task(u64),
}

/// Whom news of a dial or a connection concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The session to a super peer.
    Session(SessionId),
    /// Somebody who fetches chunks from us.
    Upload,
    /// A source of a download.
    Source(DownloadId, SourceIndex),
}

/// See the module's words.
pub(super) struct Desk {
    /// Of this turn.
    pub(super) now: Time,
    pub(super) timers: Timers<Reason>,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    agent: String,
    entropy: Box<dyn Entropy>,
    out: VecDeque<Output>,
    dials: BTreeMap<DialId, Owner>,
    conns: BTreeMap<ConnId, Owner>,
    next_dial: u64,
}

impl Desk {
    pub(super) fn new(node: NodeId, boot: u64, agent: &str, entropy: Box<dyn Entropy>) -> Desk {
        // A HELLO has to fit 256 bytes.
        let agent = agent.chars().filter(char::is_ascii_graphic).take(64).collect();
        Desk {
            now: Time::ZERO,
            timers: Timers::new(),
            node,
            boot,
            agent,
            entropy,
            out: VecDeque::new(),
            dials: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_dial: 1,
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    // ---- connections ---------------------------------------------------------------------------------------------

    pub(super) fn dial(&mut self, owner: Owner, to: &HostPort) -> DialId {
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        self.dials.insert(dial, owner);
        self.push(Output::Dial { dial, to: to.clone() });
        dial
    }

    /// The dial is not wanted any more; should it succeed, its connection is closed.
    pub(super) fn forget_dial(&mut self, dial: DialId) {
        self.dials.remove(&dial);
    }

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
        self.conns.remove(&conn)
    }

    /// Closes a connection once what is queued is written. Whatever still comes from it concerns nobody.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.push(Output::Close { conn });
    }

    // ---- messages ------------------------------------------------------------------------------------------------

    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.push(Output::Send { conn, message });
    }

    pub(super) fn hello(&mut self, conn: ConnId) {
        let agent = self.agent.clone();
        let (node, boot) = (self.node, self.boot);
        self.send(conn, Message::Hello(Hello { version: PROTOCOL_VERSION, node, boot, features: Vec::new(), agent }));
    }

    pub(super) fn bye(&mut self, conn: ConnId, why: &str) {
        self.send(conn, Message::Bye(Bye { why: why.to_owned() }));
        self.close(conn);
    }

    pub(super) fn error(&mut self, conn: ConnId, code: ErrorCode, message: impl Into<String>, req: Option<u32>) {
        self.send(conn, Message::Error(Error { code, message: message.into(), req }));
    }

    // ---- the rest ------------------------------------------------------------------------------------------------

    pub(super) fn disk(&mut self, work: DiskWork) {
        self.push(Output::Disk(work));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(super) fn tell(&mut self, client: ClientId, event: ClientEvent) {
        self.event(Event::Client { client, event });
    }

    pub(super) fn done(&mut self, client: ClientId, outcome: Outcome) {
        self.tell(client, ClientEvent::Done(outcome));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.event(Event::Log { level: log::Level::Warn, text });
    }

    /// A wait drawn evenly from zero up to `longest`: full jitter, so that many peers do not come back in step.
    pub(super) fn jitter(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.entropy.next_u64() % micros)
    }
}
