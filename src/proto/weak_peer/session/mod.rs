//! One session of a weak peer with a super peer: HELLO to READY, the numbered REGISTERs and
//! UPDATEs, PING, the deadlines, and the next dial after the super peer is lost. It sends the
//! requests of clients and the changes of the share, and does not interpret them. It reports
//! everything that concerns other parts of the peer as a [`SessionEvent`].

mod dial_back;
mod event;
mod key;
mod pages;
mod refused;
mod state;
mod unanswered;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::announce::Announcements;
use super::candidates::{Candidates, Target};
use super::config::{Offer, Registered};
use super::context::{Context, Owner, Reason, SessionId, millis, quoted};
use crate::config::{
    ANSWER_DEADLINE, BUSY_RETRY_MAX, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, FRAME_BYTES_WELCOME, PING_INTERVAL,
    PING_INTERVAL_MIN, PROTOCOL_VERSION, RECONNECT_MAX,
};
use crate::error::{Exit, Failure};
use crate::proto::event::{SuperState, SuperStatus};
use crate::proto::marks::mark;
use crate::proto::{ConnId, DialCause, Event, Output, OwnAddrs};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::message::{self, Enrolled, ErrorCode, Login, Mode, Ping, Ready, Welcome};
use crate::wire::message::{sent_by_sources, sent_to_sources, sent_to_super_peers};
use crate::wire::swarm::FEATURE_SWARM;
use crate::wire::{HostPort, Message, NodeId, WireError};
use dial_back::DialBack;
pub(super) use event::SessionEvent;
use key::SuperKey;
use pages::Pages;
use state::{Introduction, State};
use unanswered::Unanswered;

/// Why there is no session of a node in login mode with a super peer in open mode.
const IS_OPEN: &str = "it is open, and this node uses a login; give --open, and no key of the super peer";

/// One session, from the first dial to the end of the peer. It dials again after each loss.
pub(super) struct Session {
    id: SessionId,
    pub(super) candidates: Candidates,
    offer: Option<Offer>,
    /// The key that the super peer has proved.
    key: SuperKey,
    /// How long the super peer asked this peer at least to wait before it dials again.
    retry: Option<Duration>,
    /// Our address on the connection, if it is known.
    pub(super) here: Option<IpAddr>,
    dial_back: DialBack,
    /// The addresses that are registered over the present connection.
    registered: Registered,
    /// The last warning about these addresses that was logged.
    warned: Option<String>,
    state: State,
    introduction: Introduction,
    /// The super peer, once it has sent WELCOME.
    node: Option<NodeId>,
    /// Whether the super peer has the feature of swarms, and so answers JOIN.
    swarms: bool,
    /// Whether a session ever opened.
    opened_once: bool,
    up_since: Time,
    /// Since when there has been no session, once this is known.
    without_since: Option<Time>,
    /// When the next round of dials begins.
    redial_at: Time,
    /// When a command that needs a session may begin this round, if it has not begun.
    hurry_at: Time,
    /// The address under which this super peer lists us as a source.
    pub(super) own_addr: Option<HostPort>,
    ping_interval: Duration,
    sent_at: Time,
    unanswered: Unanswered,
    /// The pages of the file list that were sent on the present connection.
    pages: Pages,
    next_req: u32,
    /// The ERROR that the super peer sent before closing.
    last_error: Option<String>,
    events: VecDeque<SessionEvent>,
    /// How often a session that was up was lost.
    pub(super) lost: u64,
}

impl Session {
    pub(super) fn new(id: SessionId, supers: Vec<HostPort>, offer: Option<Offer>) -> Session {
        Session {
            id,
            candidates: Candidates::new(supers, usize::from(id.0)),
            offer,
            key: SuperKey::default(),
            retry: None,
            here: None,
            dial_back: DialBack::default(),
            registered: Registered::default(),
            warned: None,
            state: State::Idle,
            introduction: Introduction::Nothing,
            node: None,
            swarms: false,
            opened_once: false,
            up_since: Time::ZERO,
            without_since: None,
            redial_at: Time::ZERO,
            hurry_at: Time::ZERO,
            own_addr: None,
            ping_interval: PING_INTERVAL,
            sent_at: Time::ZERO,
            unanswered: Unanswered::default(),
            pages: Pages::default(),
            next_req: 1,
            last_error: None,
            events: VecDeque::new(),
            lost: 0,
        }
    }

    /// Whether no session has opened yet.
    pub(super) fn is_new(&self) -> bool {
        !self.opened_once
    }

    /// Whether it registers files.
    pub(super) fn serves(&self) -> bool {
        self.offer.is_some()
    }

    /// Whether the super peer names the members of swarms.
    pub(super) fn swarms(&self) -> bool {
        self.is_up() && self.swarms
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.is_up()
    }

    /// The super peer of the session that is up.
    pub(super) fn super_peer(&self) -> Option<&HostPort> {
        self.is_up().then(|| self.candidates.addr())
    }

    /// The super peer that the session uses or tries.
    pub(super) fn target(&self) -> Target {
        match self.state {
            State::Idle => Target { place: None, node: None },
            State::Dialing(_) | State::Greeting(_) | State::LoggingIn(_) | State::Up(_) => {
                Target { place: Some(self.candidates.current), node: self.node }
            }
        }
    }

    /// The session for STATUS.
    pub(super) fn status(&self, now: Time) -> SuperStatus {
        let (state, since) = match self.state {
            State::Up(_) => (SuperState::Up, Some(self.up_since)),
            State::Dialing(_) | State::Greeting(_) | State::LoggingIn(_) => {
                (SuperState::Connecting, self.without_since)
            }
            State::Idle => (SuperState::Waiting, self.without_since),
        };
        let retry = (state == SuperState::Waiting).then(|| millis(self.redial_at.since(now)));
        let addr = self.candidates.addr().clone();
        let why = self.candidates.last_failure().filter(|_| state != SuperState::Up);
        // The failure may be that of another super peer of the list. If it is that of this super
        // peer, the address is left out of the text, because the status contains it.
        let prefixes = [format!("{addr}: "), format!("cannot reach {addr}: ")];
        let short = |why, prefix: &String| str::strip_prefix(why, prefix.as_str()).unwrap_or(why);
        let why = why.map(|why| prefixes.iter().fold(why, short));
        SuperStatus {
            addr,
            state,
            since_ms: since.map(|since| millis(now.since(since))),
            retry_ms: retry,
            why: why.map(str::to_owned),
            unreached: self.dial_back.failed().filter(|_| state == SuperState::Up).map(str::to_owned),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    // ---- dialing --------------------------------------------------------------------------------

    pub(super) fn dial(&mut self, cx: &mut Context) {
        match self.candidates.choose() {
            Some(addr) => self.state = State::Dialing(cx.dial(Owner::Session(self.id), addr)),
            None => self.wait(cx),
        }
    }

    /// Tries the next super peer. Within a round this happens at once, otherwise after a wait.
    fn dial_next(&mut self, cx: &mut Context) {
        self.state = State::Idle;
        self.node = None;
        if self.candidates.advance() {
            self.dial(cx);
        } else if !self.opened_once && self.candidates.all_refuse() {
            let failure = self.give_up(cx);
            self.events.push_back(SessionEvent::Never(failure));
        } else {
            mark!(SessionRoundOver);
            self.candidates.end_round();
            self.events.extend(self.candidates.rejected().map(|_| SessionEvent::Rejected));
            self.wait(cx);
        }
    }

    fn wait(&mut self, cx: &mut Context) {
        let since = *self.without_since.get_or_insert(cx.now);
        let wait = cx.jitter(self.candidates.longest_wait(cx.now.since(since)));
        // The wait that the super peer requested, or up to twice that, so that not all peers return
        // at once.
        let asked = self.retry.take().map(|asked| asked + cx.jitter(asked));
        let wait = asked.map_or(wait, |asked| asked.max(wait));
        self.redial_at = cx.now + wait;
        self.hurry_at = cx.now + asked.unwrap_or_default().max(RECONNECT_MAX);
        cx.timers.set(Reason::Redial(self.id), self.redial_at);
    }

    pub(super) fn on_redial_due(&mut self, cx: &mut Context) {
        if matches!(self.state, State::Idle) {
            self.dial(cx);
        }
    }

    /// A command needs a session. If every super peer rejected the login some time ago, begins the
    /// next round, because a rejection may have been taken back since then.
    pub(super) fn hurry(&mut self, cx: &mut Context) {
        if matches!(self.state, State::Idle) && self.candidates.rejected().is_some() && cx.now >= self.hurry_at {
            self.candidates.forget_rejection();
            self.dial(cx);
        }
    }

    /// Stops dialing. Returns the reason.
    pub(super) fn give_up(&mut self, cx: &mut Context) -> Failure {
        mark!(SessionGaveUp);
        self.end(cx, "gave up");
        self.candidates.failure()
    }

    pub(super) fn on_dialed(
        &mut self,
        cx: &mut Context,
        announcements: &mut Announcements,
        (conn, key): (ConnId, Option<PublicKey>),
        own: OwnAddrs,
    ) {
        cx.own(conn, Owner::Session(self.id));
        self.here = own.here;
        self.registered = self.offer.as_ref().map(|offer| offer.registered(own)).unwrap_or_default();
        if let Some(warning) = self.registered.warning.take()
            && self.warned.as_ref() != Some(&warning)
        {
            cx.warn_host(warning.clone());
            self.warned = Some(warning);
        }
        (self.state, self.introduction) = (State::Greeting(conn), Introduction::Nothing);
        self.unanswered = Unanswered { login: Some(cx.now), ..Unanswered::default() };
        (self.pages, self.next_req) = (Pages::default(), 1);
        self.last_error = None;
        cx.hello_super_peer(conn);
        announcements.restart(self.id);
        self.key.on_dialed(cx, self.candidates.addr(), key);
        if cx.mode() == Mode::Login {
            if !self.key.is_proved() {
                return self.lose(cx, "it has proved no key");
            }
            cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_WELCOME });
        }
        if !self.key.is_other() {
            self.introduce(cx);
        }
        self.flush(cx, announcements);
        self.set_deadline(cx);
    }

    /// Sends LOGIN. If there is no credential yet, sends ENROLL, and LOGIN once ENROLL is answered.
    fn introduce(&mut self, cx: &mut Context) {
        let message = match &cx.membership {
            None => Some(Message::Login(Login::open())),
            Some(membership) => membership.introduction(),
        };
        match message {
            Some(message) => {
                let enrolls = matches!(message, Message::Enroll(_));
                self.introduction = if enrolls { Introduction::Enroll } else { Introduction::Login };
                self.send(cx, message);
            }
            None => {
                let why = "it takes a login; join with sprat join, with an invitation";
                self.refuse(cx, Exit::LoginRejected, why);
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, cx: &mut Context, why: &str, cause: DialCause) {
        match cause {
            DialCause::OtherMode => {
                self.candidates.on_refused(Exit::LoginRejected, IS_OPEN);
            }
            DialCause::WrongKey { .. } => self.candidates.on_refused(Exit::LoginRejected, why),
            DialCause::Unreachable | DialCause::NoRoom | DialCause::Handshake => {}
        }
        self.candidates.on_failed(why);
        self.dial_next(cx);
    }

    // ---- sending --------------------------------------------------------------------------------

    fn conn(&self) -> Option<ConnId> {
        self.state.conn()
    }

    fn send(&mut self, cx: &mut Context, message: Message) {
        if let Some(conn) = self.conn() {
            self.sent_at = cx.now;
            cx.send(conn, message);
        }
    }

    /// Sends a request under a new number, if the session is up. Returns the number.
    pub(super) fn request(&mut self, cx: &mut Context, message: impl FnOnce(u32) -> Message) -> Option<u32> {
        if !self.is_up() {
            return None;
        }
        let req = self.next_req;
        self.next_req = self.next_req.wrapping_add(1);
        self.send(cx, message(req));
        Some(req)
    }

    /// Sends a message that needs no answer, if the session is up.
    pub(super) fn notify(&mut self, cx: &mut Context, message: Message) {
        if self.is_up() {
            self.send(cx, message);
        }
    }

    /// Sends pages of the file list, and then pages of its changes, up to the limit on
    /// unacknowledged pages.
    pub(super) fn flush(&mut self, cx: &mut Context, announcements: &mut Announcements) {
        if self.conn().is_none() {
            return announcements.rest(self.id);
        }
        if self.introduction != Introduction::Login {
            return;
        }
        while let Some(offer) = &self.offer
            && let Some(page) = self.pages.next(self.id, (offer, &self.registered), announcements)
        {
            self.send(cx, page);
            self.unanswered.update.get_or_insert(cx.now);
            self.set_deadline(cx);
        }
    }

    // ---- receiving ------------------------------------------------------------------------------

    pub(super) fn on_message(&mut self, cx: &mut Context, message: Message) {
        if !self.state.is_in_order(self.introduction, &message) {
            return self.lose(cx, &format!("it sent {}, which is not allowed now", message.kind()));
        }
        match message {
            Message::Welcome(welcome) => self.on_welcome(cx, &welcome),
            Message::Ready(ready) => self.on_ready(cx, &ready),
            Message::Enrolled(enrolled) => self.on_enrolled(cx, &enrolled),
            Message::Ack(ack) => self.on_ack(cx, ack.seq),
            Message::Pong(_) => {
                self.unanswered.ping = None;
                self.set_deadline(cx);
            }
            Message::Ping(ping) => self.send(cx, Message::Pong(ping)),
            Message::Hit(hit) => self.events.push_back(SessionEvent::Hit(hit)),
            Message::Done(done) => self.events.push_back(SessionEvent::Done(done)),
            Message::Files(files) => self.events.push_back(SessionEvent::Files(files)),
            Message::Info(info) => self.events.push_back(SessionEvent::Info(info)),
            Message::Peers(peers) => self.events.push_back(SessionEvent::Peers(peers)),
            Message::Reach(reach) => self.dial_back.on_reach(cx, reach),
            Message::Bye(bye) => self.lose(cx, &format!("it said goodbye: {}", quoted(&bye.why))),
            Message::Error(error) => self.on_error(cx, error),
            Message::Unknown(kind) => {
                if let Some(conn) = self.conn() {
                    cx.unknown_kind(conn, &kind);
                }
            }
            // In login mode the peer handles these two messages before they come here.
            Message::Revoked(_) | Message::Classes(_) => self.lose(cx, "it sent a message of login mode"),
            // A super peer never sends these messages.
            Message::Hello(_)
            | Message::Login(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_to_sources!()
            | sent_by_sources!() => {}
        }
    }

    fn on_welcome(&mut self, cx: &mut Context, welcome: &Welcome) {
        let State::Greeting(conn) = self.state else { return };
        if welcome.version[0] != PROTOCOL_VERSION[0] {
            let theirs = welcome.version[0];
            return self.refuse(cx, Exit::Version, &format!("it speaks version {theirs} of the protocol"));
        }
        if welcome.mode != cx.mode() {
            let why = match welcome.mode {
                Mode::Open => IS_OPEN,
                Mode::Login => "it takes a login; join with sprat join, with an invitation",
                Mode::Unknown => "it takes a login that this version does not know",
            };
            return self.refuse(cx, Exit::LoginRejected, why);
        }
        if !self.key.is_of(welcome.node) {
            return self.lose(cx, "its WELCOME names another node than its key");
        }
        if self.candidates.other.is_some_and(|other| other.node == Some(welcome.node)) {
            return self.lose(cx, "the other session is with the same super peer");
        }
        if let Err(why) = self.key.follow(cx, self.candidates.addr(), welcome.rotation.as_deref()) {
            return self.refuse(cx, Exit::LoginRejected, &why);
        }
        self.state = State::LoggingIn(conn);
        self.node = Some(welcome.node);
        self.swarms = welcome.features.iter().any(|feature| feature == FEATURE_SWARM);
        let asked = Duration::from_millis(u64::from(welcome.ping));
        self.ping_interval = asked.clamp(PING_INTERVAL_MIN, PING_INTERVAL * 10);
        let host = self.registered.host.as_deref().unwrap_or(welcome.addr.host());
        self.own_addr = self.offer.as_ref().and_then(|offer| HostPort::new(host, offer.port).ok());
        cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_LOGIN });
        if self.introduction == Introduction::Nothing {
            self.introduce(cx);
        }
    }

    /// The super peer has sent a credential: keeps the credential, and sends LOGIN with it.
    fn on_enrolled(&mut self, cx: &mut Context, enrolled: &Enrolled) {
        let membership = cx.membership.as_mut().filter(|membership| !membership.has_joined());
        let credential = membership.and_then(|membership| membership.enrolled(&enrolled.credential).cloned());
        let Some((credential, super_peer)) = credential.zip(self.key.pinned(self.candidates.addr())) else {
            return self.lose(cx, "it sent a credential that is not for the key of this node");
        };
        cx.event(Event::Enrolled { super_peer, credential });
        self.introduce(cx);
    }

    fn on_ready(&mut self, cx: &mut Context, ready: &Ready) {
        let State::LoggingIn(conn) = self.state else { return };
        if let Some(membership) = &mut cx.membership {
            membership.on_ready(&ready.operators);
        }
        self.key.on_ready(cx, self.candidates.addr());
        cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        self.state = State::Up(conn);
        self.up_since = cx.now;
        self.without_since = None;
        self.opened_once = true;
        self.candidates.on_up();
        self.unanswered.login = None;
        cx.timers.stop(Reason::ConnectTimeout);
        cx.timers.set(Reason::Ping(self.id), self.sent_at + self.ping_interval);
        self.set_deadline(cx);
        cx.event(Event::Welcomed { super_peer: self.candidates.addr().clone(), node: self.node });
        self.events.push_back(SessionEvent::Up);
    }

    fn on_ack(&mut self, cx: &mut Context, seq: u64) {
        if let Err(why) = self.pages.on_ack(seq) {
            return self.lose(cx, &why);
        }
        self.unanswered.update = (!self.pages.are_acked()).then_some(cx.now);
        self.set_deadline(cx);
    }

    fn on_error(&mut self, cx: &mut Context, error: message::Error) {
        let message = quoted(&error.message);
        match (error.req, error.code) {
            // No request is open, so this error is not for a request.
            (Some(_), _) if !self.is_up() => {}
            (Some(req), code) => self.events.push_back(SessionEvent::Error(req, code, message)),
            (None, ErrorCode::VERSION) => {
                self.refuse(cx, Exit::Version, &format!("it refuses our version of the protocol: {message}"));
            }
            (None, code) if code.is_login() => {
                self.refuse(cx, Exit::LoginRejected, &format!("it rejects the login: {message}"));
            }
            (None, ErrorCode::BUSY) => {
                let retry = error.retry.map(|ms| Duration::from_millis(ms.into()).min(BUSY_RETRY_MAX));
                self.retry = retry.or(self.retry);
                self.last_error = Some(message);
            }
            (None, ErrorCode::UNKNOWN_KIND) => {
                cx.warn(format!("the super peer does not know a message of ours: {message}"));
            }
            (None, ErrorCode::LIMIT) if self.is_up() && self.pages.is_any_acked() => self.on_files_refused(cx, message),
            // Next, the super peer closes the connection. The session ends then, with this reason.
            (None, _) => self.last_error = Some(message),
        }
    }

    /// The super peer has no memory for some of the files that were sent. The files that it has
    /// registered stay registered.
    fn on_files_refused(&mut self, cx: &mut Context, why: String) {
        if !self.pages.are_refused() {
            cx.warn(format!("the super peer has no room for more files, and gets the list again later: {why}"));
        }
        // If the super peer closes the connection, this is the reason.
        self.last_error = Some(why);
        if let Some(longest) = self.pages.on_refusal() {
            let wait = longest / 2 + cx.jitter(longest / 2);
            cx.timers.set(Reason::Files(self.id), cx.now + wait);
        }
    }

    /// Sends the list again, because the super peer has not registered all of it.
    pub(super) fn on_files_due(&mut self, cx: &mut Context, announcements: &mut Announcements) {
        self.pages.repeat();
        announcements.repeat(self.id);
        self.flush(cx, announcements);
    }

    pub(super) fn on_malformed(&mut self, cx: &mut Context, error: &WireError) {
        if let Some(conn) = self.conn() {
            cx.error(conn, error.code(), error.to_string(), None);
        }
        if *error == WireError::Version {
            return self.refuse(cx, Exit::Version, "it speaks another major version of the protocol");
        }
        self.lose(cx, &format!("it sent {error}"));
    }

    pub(super) fn on_closed(&mut self, cx: &mut Context, why: &str) {
        let error = self.last_error.take();
        if let Some(why) = error.as_ref().filter(|_| !self.is_up()) {
            self.candidates.on_declined(why);
        }
        let why = error.unwrap_or_else(|| format!("the connection ended ({why})"));
        self.on_lost(cx, &why);
    }

    // ---- deadlines ------------------------------------------------------------------------------

    /// Sets the timer for the oldest unanswered message.
    fn set_deadline(&mut self, cx: &mut Context) {
        match self.unanswered.deadline() {
            Some(at) => cx.timers.set(Reason::Answer(self.id), at),
            None => cx.timers.stop(Reason::Answer(self.id)),
        }
    }

    pub(super) fn on_answer_due(&mut self, cx: &mut Context) {
        if self.unanswered.deadline().is_some_and(|at| at <= cx.now) {
            mark!(SessionDoesNotAnswer);
            self.lose(cx, "it does not answer");
        } else {
            self.set_deadline(cx);
        }
    }

    pub(super) fn on_ping_due(&mut self, cx: &mut Context) {
        if !self.is_up() {
            return;
        }
        if self.sent_at + self.ping_interval <= cx.now {
            self.send(cx, Message::Ping(Ping { n: 0 }));
            self.unanswered.ping.get_or_insert(cx.now);
            self.set_deadline(cx);
        }
        cx.timers.set(Reason::Ping(self.id), self.sent_at + self.ping_interval);
    }

    // ---- the end --------------------------------------------------------------------------------

    /// The super peer refuses for good: ends the session.
    fn refuse(&mut self, cx: &mut Context, exit: Exit, why: &str) {
        self.candidates.on_refused(exit, why);
        self.lose(cx, why);
    }

    /// Ends the session because of a fault of the super peer.
    fn lose(&mut self, cx: &mut Context, why: &str) {
        if let Some(conn) = self.conn() {
            cx.close(conn);
        }
        self.on_lost(cx, why);
    }

    fn on_lost(&mut self, cx: &mut Context, why: &str) {
        self.candidates.on_failed(why);
        if self.is_up() {
            if cx.now.since(self.up_since) >= ANSWER_DEADLINE {
                self.candidates.on_held();
            }
            self.lost += 1;
            self.without_since = Some(cx.now);
            self.events.push_back(SessionEvent::Down);
            let super_peer = self.candidates.addr().clone();
            cx.event(Event::SessionLost { super_peer, why: why.to_owned() });
        }
        self.stop_timers(cx);
        self.dial_next(cx);
    }

    fn stop_timers(&mut self, cx: &mut Context) {
        self.unanswered = Unanswered::default();
        cx.timers.stop(Reason::Answer(self.id));
        cx.timers.stop(Reason::Ping(self.id));
        cx.timers.stop(Reason::Files(self.id));
    }

    /// Ends the session for good: no other session opens.
    pub(super) fn end(&mut self, cx: &mut Context, why: &str) {
        match self.state {
            State::Greeting(conn) | State::LoggingIn(conn) | State::Up(conn) => cx.bye(conn, why),
            State::Dialing(dial) => cx.give_up(Some(dial), None),
            State::Idle => {}
        }
        self.state = State::Idle;
        self.stop_timers(cx);
        cx.timers.stop(Reason::Redial(self.id));
    }
}
