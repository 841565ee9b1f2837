//! One session of a weak peer with a super peer: whom to dial and when, HELLO to READY, REGISTER and UPDATE by number,
//! PING, and what to do when the super peer is gone. Owns no share and no client's request: it carries their messages. Where there
//! are two sessions ([`super::sessions`]) each is told whom the other is with, and leaves that one to it.
//!
//! - getters: `is_up`, `super_peer`, `own_addr`;
//! - `on_*`: what happened;
//! - `ask`, `tell`, `flush`: what is to be said;
//! - `poll_news`: what came that concerns others.

use std::collections::VecDeque;
use std::time::Duration;

use super::announce::Share;
use super::context::{Desk, Owner, Reason};
use crate::config::{
    ANSWER_DEADLINE, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, LOGIN_DEADLINE, PING_INTERVAL, PROTOCOL_VERSION,
    RECONNECT_FIRST, RECONNECT_MAX, UPDATES_IN_FLIGHT_MAX,
};
use crate::error::{Exit, Failure};
use crate::proto::marks::mark;
use crate::proto::weak_peer::Offer;
use crate::proto::{ConnId, Event};
use crate::time::Time;
use crate::wire::message::{self, ErrorCode, Login, Ping, Register, Update, Welcome};
use crate::wire::message::{told_by_sources, told_to_sources, told_to_super_peers};
use crate::wire::{HostPort, Message, NodeId, WireError};

/// Which session of a weak peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) u8);

/// Whom the other session of the same peer is with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other {
    /// Which of the list it is dialling or connected to.
    pub(super) which: Option<usize>,
    /// Who that is.
    pub(super) node: Option<NodeId>,
}

/// What a session brings that is not its own business.
#[derive(Debug)]
pub(super) enum News {
    /// READY: requests may be asked.
    Up,
    /// The session is gone, and the answers to its requests with it.
    Down,
    Hit(message::Hit),
    Done(message::Done),
    Files(message::Files),
    Info(message::Info),
    /// There will be no session: the process is to end with this.
    Never(Failure),
    /// The request failed.
    Error(u32, ErrorCode, String),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Waiting for the next round, or not begun, or ended.
    Idle,
    Dialing(crate::proto::DialId),
    /// HELLO, LOGIN and the first page are sent; READY is not here.
    Greeting(ConnId),
    Up(ConnId),
}

/// When the oldest unanswered message of each kind was sent.
#[derive(Debug, Default)]
struct Owed {
    ready: Option<Time>,
    ack: Option<Time>,
    pong: Option<Time>,
}

/// See the module's words.
pub(super) struct Session {
    id: SessionId,
    /// Of the same peer, where it has two sessions.
    pub(super) other: Option<Other>,
    supers: Vec<HostPort>,
    offer: Option<Offer>,
    state: State,
    /// Which super peer of the list `state` is about.
    which: usize,
    /// Its name, once it has welcomed us.
    node: Option<NodeId>,
    /// Dials since a session lasted; each full round of them is followed by a wait.
    tries: usize,
    /// Failures of this round by their finality: a refusal of version or login is worth no further try.
    refusals: Vec<Failure>,
    last_failure: Option<String>,
    welcomed_once: bool,
    up_since: Time,
    own_addr: Option<HostPort>,
    ping: Duration,
    said_at: Time,
    owed: Owed,
    seq: u64,
    acked: u64,
    next_req: u32,
    farewell: Option<String>,
    news: VecDeque<News>,
    pub(super) sessions_lost: u64,
}

impl Session {
    pub(super) fn new(id: SessionId, supers: Vec<HostPort>, offer: Option<Offer>) -> Session {
        Session {
            id,
            other: None,
            which: usize::from(id.0) % supers.len().max(1),
            supers,
            offer,
            state: State::Idle,
            node: None,
            tries: 0,
            refusals: Vec::new(),
            last_failure: None,
            welcomed_once: false,
            up_since: Time::ZERO,
            own_addr: None,
            ping: PING_INTERVAL,
            said_at: Time::ZERO,
            owed: Owed::default(),
            seq: 0,
            acked: 0,
            next_req: 1,
            farewell: None,
            news: VecDeque::new(),
            sessions_lost: 0,
        }
    }

    /// Whether no session has come about yet; then [`News::Never`] tells when to stop waiting.
    pub(super) fn is_new(&self) -> bool {
        !self.welcomed_once
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The super peer of the session that is up.
    pub(super) fn super_peer(&self) -> Option<&HostPort> {
        self.is_up().then(|| &self.supers[self.which])
    }

    /// Where others are told that we serve chunks.
    pub(super) fn own_addr(&self) -> Option<&HostPort> {
        self.own_addr.as_ref()
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    // ---- dialling ------------------------------------------------------------------------------------------------

    /// Whom the session is with, or on its way to.
    pub(super) fn whereabouts(&self) -> Other {
        match self.state {
            State::Idle => Other { which: None, node: None },
            State::Dialing(_) | State::Greeting(_) | State::Up(_) => Other { which: Some(self.which), node: self.node },
        }
    }

    /// Dials the next of the list that the other session is not with.
    pub(super) fn dial(&mut self, desk: &mut Desk) {
        let all = self.supers.len();
        let taken = self.other.and_then(|other| other.which);
        let free = (0..all).map(|step| (self.which + step) % all).find(|which| Some(*which) != taken);
        self.tries += 1;
        let Some(which) = free else { return self.wait(desk) };
        self.which = which;
        self.state = State::Dialing(desk.dial(Owner::Session(self.id), &self.supers[which]));
    }

    /// The next of the list: at once within a round, after a wait behind it.
    fn dial_next(&mut self, desk: &mut Desk) {
        let round = self.round();
        self.which = (self.which + 1) % self.supers.len();
        self.state = State::Idle;
        self.node = None;
        if !self.tries.is_multiple_of(round) {
            self.dial(desk);
            return;
        }
        // With two sessions the other one may still come about; then the connect timeout tells.
        if !self.welcomed_once && self.refusals.len() >= round && self.other.is_none() {
            let failure = self.give_up(desk);
            self.news.push_back(News::Never(failure));
            return;
        }
        mark!(SessionRoundOver);
        let kept = usize::from(self.other.is_some());
        self.refusals.drain(..self.refusals.len().saturating_sub(kept));
        self.wait(desk);
    }

    /// How many super peers of the list the session may try.
    fn round(&self) -> usize {
        let taken = usize::from(self.other.is_some_and(|other| other.which.is_some()));
        self.supers.len().saturating_sub(taken).max(1)
    }

    fn wait(&mut self, desk: &mut Desk) {
        let rounds = (self.tries / self.round()).saturating_sub(1);
        let doublings = u32::try_from(rounds).unwrap_or(u32::MAX).min(16);
        let longest = RECONNECT_FIRST.saturating_mul(1 << doublings).min(RECONNECT_MAX);
        let wait = desk.jitter(longest);
        desk.timers.set(Reason::Redial(self.id), desk.now + wait);
    }

    /// Whether some super peer refused for good.
    pub(super) fn was_refused(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Tries no more; the reason for it.
    pub(super) fn give_up(&mut self, desk: &mut Desk) -> Failure {
        mark!(SessionGaveUp);
        let failure = match self.refusals.pop() {
            Some(refusal) => refusal,
            None => {
                let all: Vec<_> = self.supers.iter().map(HostPort::to_string).collect();
                let why = self.last_failure.as_deref().unwrap_or("no answer yet");
                let all = all.join(", ");
                Failure::new(
                    Exit::Unreachable,
                    format!("no super peer answers at {all} (last: {why}); is `sprat super` running there?"),
                )
            }
        };
        self.end(desk, "gave up");
        failure
    }

    pub(super) fn on_dialed(&mut self, desk: &mut Desk, share: &mut Share, conn: ConnId) {
        desk.own(conn, Owner::Session(self.id));
        self.state = State::Greeting(conn);
        self.owed = Owed { ready: Some(desk.now), ..Owed::default() };
        (self.seq, self.acked, self.next_req) = (0, 0, 1);
        self.farewell = None;
        desk.hello(conn);
        self.say(desk, Message::Login(Login { mode: "open".into(), user: None, proof: None }));
        share.restart(usize::from(self.id.0));
        self.flush(desk, share);
        self.watch(desk);
    }

    pub(super) fn on_dial_failed(&mut self, desk: &mut Desk, why: &str) {
        self.last_failure = Some(format!("{}: {why}", self.supers[self.which]));
        self.dial_next(desk);
    }

    // ---- the session ---------------------------------------------------------------------------------------------

    fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Greeting(conn) | State::Up(conn) => Some(conn),
            State::Idle | State::Dialing(_) => None,
        }
    }

    fn say(&mut self, desk: &mut Desk, message: Message) {
        if let Some(conn) = self.conn() {
            self.said_at = desk.now;
            desk.send(conn, message);
        }
    }

    /// Sends a request under a number of its own, if the session is up.
    pub(super) fn ask(&mut self, desk: &mut Desk, request: impl FnOnce(u32) -> Message) -> Option<u32> {
        if !self.is_up() {
            return None;
        }
        let req = self.next_req;
        self.next_req = self.next_req.wrapping_add(1);
        self.say(desk, request(req));
        Some(req)
    }

    /// Sends a message that expects no answer, if the session is up.
    pub(super) fn tell(&mut self, desk: &mut Desk, message: Message) {
        if self.is_up() {
            self.say(desk, message);
        }
    }

    /// Sends pages of the file list and then of its changes, as long as few are unacknowledged.
    pub(super) fn flush(&mut self, desk: &mut Desk, share: &mut Share) {
        let Some(Offer { port, host }) = self.offer.clone() else { return };
        while self.conn().is_some() && self.seq - self.acked < UPDATES_IN_FLIGHT_MAX {
            let seq = self.seq + 1;
            let page = if let Some((files, more)) = share.next_registration(usize::from(self.id.0)) {
                Message::Register(Register { seq, port, host: host.clone(), files, more })
            } else if let Some(changes) = share.next_update(usize::from(self.id.0)) {
                Message::Update(Update { seq, add: changes.added, del: changes.removed })
            } else {
                return;
            };
            self.seq = seq;
            self.say(desk, page);
            self.owed.ack.get_or_insert(desk.now);
            self.watch(desk);
        }
    }

    pub(super) fn on_message(&mut self, desk: &mut Desk, message: Message) {
        match message {
            Message::Welcome(welcome) => self.on_welcome(desk, &welcome),
            Message::Ready(_) => self.on_ready(desk),
            Message::Ack(ack) => {
                if ack.seq <= self.acked || ack.seq > self.seq {
                    return self.lose(desk, &format!("acknowledged {} where {} were sent", ack.seq, self.seq));
                }
                self.acked = ack.seq;
                self.owed.ack = (self.acked < self.seq).then_some(desk.now);
                self.watch(desk);
            }
            Message::Pong(_) => {
                self.owed.pong = None;
                self.watch(desk);
            }
            Message::Ping(ping) => self.say(desk, Message::Pong(ping)),
            Message::Hit(hit) => self.news.push_back(News::Hit(hit)),
            Message::Done(done) => self.news.push_back(News::Done(done)),
            Message::Files(files) => self.news.push_back(News::Files(files)),
            Message::Info(info) => self.news.push_back(News::Info(info)),
            Message::Bye(bye) => self.lose(desk, &format!("it said goodbye: {}", plain(&bye.why))),
            Message::Error(error) => self.on_error(desk, error),
            Message::Unknown(kind) => {
                if let Some(conn) = self.conn() {
                    desk.error(conn, ErrorCode::UNKNOWN_KIND, format!("{kind} is not known"), None);
                }
            }
            Message::Hello(_)
            | Message::Cancel(_)
            | told_to_super_peers!()
            | told_to_sources!()
            | told_by_sources!() => self.lose(desk, &format!("it sent {}, which no super peer sends", message.kind())),
        }
    }

    fn on_welcome(&mut self, desk: &mut Desk, welcome: &Welcome) {
        let State::Greeting(conn) = self.state else {
            return self.lose(desk, "it sent a second WELCOME");
        };
        if welcome.version[0] != PROTOCOL_VERSION[0] {
            let theirs = welcome.version[0];
            return self.refuse(desk, Exit::Version, &format!("it speaks version {theirs} of the protocol"));
        }
        if self.other.is_some_and(|other| other.node == Some(welcome.node)) {
            return self.lose(desk, "it is the super peer that the other session is with");
        }
        self.node = Some(welcome.node);
        self.ping = Duration::from_millis(u64::from(welcome.ping)).clamp(Duration::from_secs(1), PING_INTERVAL * 10);
        self.own_addr = self
            .offer
            .as_ref()
            .and_then(|offer| HostPort::new(offer.host.as_deref().unwrap_or(welcome.addr.host()), offer.port).ok());
        desk.push(crate::proto::Output::FrameCap { conn, bytes: FRAME_BYTES_LOGIN });
    }

    fn on_ready(&mut self, desk: &mut Desk) {
        let State::Greeting(conn) = self.state else {
            return self.lose(desk, "it sent a second READY");
        };
        desk.push(crate::proto::Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        self.state = State::Up(conn);
        self.up_since = desk.now;
        self.welcomed_once = true;
        self.refusals.clear();
        self.owed.ready = None;
        desk.timers.stop(Reason::ConnectTimeout);
        desk.timers.set(Reason::Ping(self.id), self.said_at + self.ping);
        self.watch(desk);
        desk.event(Event::Welcomed { super_peer: self.supers[self.which].clone() });
        self.news.push_back(News::Up);
    }

    fn on_error(&mut self, desk: &mut Desk, error: message::Error) {
        let message = plain(&error.message);
        match (error.req, error.code) {
            (Some(req), code) => self.news.push_back(News::Error(req, code, message)),
            (None, ErrorCode::VERSION) => {
                self.refuse(desk, Exit::Version, &format!("it refuses our version of the protocol: {message}"));
            }
            (None, ErrorCode::LOGIN) => {
                self.refuse(desk, Exit::LoginRejected, &format!("it rejects the login: {message}"));
            }
            (None, ErrorCode::UNKNOWN_KIND) => desk.warn(format!("the super peer knows less than we do: {message}")),
            // The super peer closes behind it; that is when the session ends.
            (None, _) => self.farewell = Some(message),
        }
    }

    pub(super) fn on_malformed(&mut self, desk: &mut Desk, error: &WireError) {
        if let Some(conn) = self.conn() {
            desk.error(conn, error.code(), error.to_string(), None);
        }
        if *error == WireError::Version {
            return self.refuse(desk, Exit::Version, "it speaks another major version of the protocol");
        }
        self.lose(desk, &format!("it sent {error}"));
    }

    pub(super) fn on_closed(&mut self, desk: &mut Desk, why: &str) {
        let why = self.farewell.take().unwrap_or_else(|| format!("the connection ended ({why})"));
        self.lost(desk, &why);
    }

    // ---- deadlines -----------------------------------------------------------------------------------------------

    /// Arms the deadline of whatever is owed longest.
    fn watch(&mut self, desk: &mut Desk) {
        match self.deadline() {
            Some(at) => desk.timers.set(Reason::Answer(self.id), at),
            None => desk.timers.stop(Reason::Answer(self.id)),
        }
    }

    fn deadline(&self) -> Option<Time> {
        let ready = self.owed.ready.map(|since| since + LOGIN_DEADLINE);
        let others = [self.owed.ack, self.owed.pong].into_iter().flatten().map(|since| since + ANSWER_DEADLINE);
        ready.into_iter().chain(others).min()
    }

    pub(super) fn on_answer_due(&mut self, desk: &mut Desk) {
        if self.deadline().is_some_and(|at| at <= desk.now) {
            mark!(SessionDoesNotAnswer);
            self.lose(desk, "it does not answer");
        } else {
            self.watch(desk);
        }
    }

    pub(super) fn on_ping_due(&mut self, desk: &mut Desk) {
        if !self.is_up() {
            return;
        }
        if self.said_at + self.ping <= desk.now {
            self.say(desk, Message::Ping(Ping { n: 0 }));
            self.owed.pong.get_or_insert(desk.now);
            self.watch(desk);
        }
        desk.timers.set(Reason::Ping(self.id), self.said_at + self.ping);
    }

    pub(super) fn on_redial_due(&mut self, desk: &mut Desk) {
        if matches!(self.state, State::Idle) {
            self.dial(desk);
        }
    }

    // ---- the end -------------------------------------------------------------------------------------------------

    /// The super peer refuses for good.
    fn refuse(&mut self, desk: &mut Desk, exit: Exit, why: &str) {
        self.refusals.push(Failure::new(exit, format!("the super peer at {}: {why}", self.supers[self.which])));
        self.lose(desk, why);
    }

    /// We end the session, for the super peer's fault.
    fn lose(&mut self, desk: &mut Desk, why: &str) {
        if let Some(conn) = self.conn() {
            desk.close(conn);
        }
        self.lost(desk, why);
    }

    fn lost(&mut self, desk: &mut Desk, why: &str) {
        let super_peer = self.supers[self.which].clone();
        self.last_failure = Some(format!("{super_peer}: {why}"));
        if self.is_up() {
            if desk.now.since(self.up_since) >= ANSWER_DEADLINE {
                self.tries = 1;
            }
            self.sessions_lost += 1;
            self.news.push_back(News::Down);
            desk.event(Event::SessionLost { super_peer, why: why.to_owned() });
        }
        self.quiet(desk);
        self.dial_next(desk);
    }

    fn quiet(&mut self, desk: &mut Desk) {
        self.owed = Owed::default();
        desk.timers.stop(Reason::Answer(self.id));
        desk.timers.stop(Reason::Ping(self.id));
    }

    /// No session any more and none to come.
    pub(super) fn end(&mut self, desk: &mut Desk, why: &str) {
        match self.state {
            State::Greeting(conn) | State::Up(conn) => desk.bye(conn, why),
            State::Dialing(dial) => desk.forget_dial(dial),
            State::Idle => {}
        }
        self.state = State::Idle;
        self.quiet(desk);
        desk.timers.stop(Reason::Redial(self.id));
    }
}

/// A stranger's sentence, short and without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
