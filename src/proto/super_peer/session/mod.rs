//! The super peer's side of its sessions: what each weak peer has said so far, and what it may say next.
//!
//! It owns the table of sessions and each one's place in the index. It never runs a search: a QUERY is handed up, and its
//! answers pass by here unseen. A session that is idle costs its entry in the table and nothing else; silence is found by one
//! sweep over all of them, so that there is no timer for each.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::counters::{Count, Counters};
use super::flood::WaveKey;
use super::index::{HolderId, Index};
use crate::config::{
    FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, LOGIN_DEADLINE, PAGE_BYTES, PROTOCOL_VERSION,
    SESSION_FILES_MAX, SESSION_QUERIES_MAX, UNAUTHENTICATED_MAX,
};
use crate::proto::super_peer::{Reason, SuperPeerConfig};
use crate::proto::timers::Timers;
use crate::proto::{CloseReason, ConnId, Output};
use crate::time::Time;
use crate::wire::message::{
    Ack, Bye, Error, ErrorCode, Files, Hello, List, Login, Query, Ready, Register, Update, Welcome, told_by_sources,
    told_by_super_peers, told_to_sources, told_to_super_peers,
};
use crate::wire::{HostPort, Message, WireError};

/// Pings that may be missed.
const SILENT_PINGS: u32 = 3;
/// Shortest time between two sweeps for silent sessions, so that many that fall silent one after the other cost little.
const SWEEP_GAP: Duration = Duration::from_secs(1);

/// Longest text of an ERROR, in bytes.
const ERROR_BYTES_MAX: usize = 160;

const _: () = assert!(ERROR_BYTES_MAX + 64 < FRAME_BYTES_HELLO);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    Hello,
    /// Greeted, not logged in.
    Login,
    Open,
    /// Open, and in the middle of the pages of a REGISTER.
    Registering,
    /// To be closed by the driver: whatever still comes is ignored.
    Closing,
}

impl State {
    fn is_half_open(self) -> bool {
        matches!(self, State::Hello | State::Login)
    }
}

/// One session. There may be very many: whatever few of them need is boxed.
#[derive(Debug)]
struct Session {
    generation: u32,
    state: State,
    ip: IpAddr,
    port: u16,
    heard: Time,
    /// Number of the last REGISTER or UPDATE.
    seq: u64,
    /// Its place in the index, once it has registered and serves chunks.
    holder: Option<HolderId>,
    #[expect(clippy::box_collection, reason = "most sessions ask nothing, and a Vec takes three times the room")]
    queries: Option<Box<Vec<(u32, WaveKey)>>>,
}

const _: () = assert!(size_of::<Option<Session>>() <= 56, "an idle session is cheap");

/// What a session borrows from the super peer for one call.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) config: &'a SuperPeerConfig,
    pub(super) index: &'a mut Index,
    pub(super) timers: &'a mut Timers<Reason>,
    pub(super) counters: &'a mut Counters,
    pub(super) out: &'a mut VecDeque<Output>,
}

/// What a message asks for that sessions cannot do by themselves.
#[derive(Debug, PartialEq)]
pub(super) enum Wish {
    Nothing,
    Query(Query),
    Status { req: u32 },
}

/// Why a session is closed by us: what the peer is told, and what is counted.
struct Fault(ErrorCode, String, Count);

impl Fault {
    fn order(kind: &str) -> Fault {
        Fault(ErrorCode::ORDER, format!("{kind} is not allowed now"), Count::ClosedOrder)
    }

    fn request(why: impl Into<String>) -> Fault {
        Fault(ErrorCode::BAD_REQUEST, why.into(), Count::ClosedBadRequest)
    }
}

/// All sessions.
///
/// - getters: `len`, `holder`;
/// - `handle_*`: `on_accepted`, `on_message`, `on_malformed`, `on_closed`, `on_login_deadline`, `on_silence`;
/// - mutators: `query_began`, `query_ended`, `close_all`;
/// - `poll_*`: `take_abandoned`, `take_ack`; outputs are pushed by the handlers.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the driver's slot.
    slots: Vec<Option<Session>>,
    len: usize,
    /// In order of arrival. Those that are no longer half open are skipped.
    half_open: VecDeque<(ConnId, Time)>,
    half_open_len: usize,
    /// Queries of sessions that have gone.
    abandoned: Vec<WaveKey>,
    /// Whether files were taken out of the index by the whole list.
    untidied: bool,
    /// What the last message is to be acknowledged with.
    ack: Option<(ConnId, Ack)>,
}

impl Sessions {
    /// Connections, of any state.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the connection is one of ours.
    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.session(conn).is_some()
    }

    /// Somebody connected.
    pub(super) fn on_accepted(&mut self, conn: ConnId, from: SocketAddr, cx: &mut Cx<'_>) {
        cx.counters.add(Count::Accepted);
        while self.half_open_len >= UNAUTHENTICATED_MAX {
            let oldest = self.oldest_half_open().expect("half-open sessions are in line");
            let why = "too many sessions are waiting to log in".to_owned();
            self.close(oldest, Fault(ErrorCode::BUSY, why, Count::ClosedCrowded), cx);
        }
        let slot = conn.index as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none(), "a slot is used again only after Closed");
        let session = Session {
            generation: conn.generation,
            state: State::Hello,
            ip: from.ip().to_canonical(),
            port: from.port(),
            heard: cx.now,
            seq: 0,
            holder: None,
            queries: None,
        };
        if self.slots[slot].replace(session).is_none() {
            self.len += 1;
        }
        self.half_open_len += 1;
        self.half_open.push_back((conn, cx.now + LOGIN_DEADLINE));
        if self.half_open.len() > 2 * UNAUTHENTICATED_MAX {
            let Sessions { slots, half_open, .. } = self;
            half_open.retain(|(conn, _)| is_half_open(slots, *conn));
        }
        cx.timers.set_earlier(Reason::Login, cx.now + LOGIN_DEADLINE);
        cx.timers.set_earlier(Reason::Silence, cx.now + silence(cx.config));
    }

    /// A message came.
    pub(super) fn on_message(&mut self, conn: ConnId, message: Message, cx: &mut Cx<'_>) -> Wish {
        let Some(session) = self.session_mut(conn) else {
            cx.counters.add(Count::StaleConnection);
            return Wish::Nothing;
        };
        session.heard = cx.now;
        let state = session.state;
        let taken = match state {
            State::Closing => Ok(Wish::Nothing),
            State::Hello | State::Login => self.on_half_open(conn, state, message, cx).map(|()| Wish::Nothing),
            State::Open | State::Registering => self.on_open(conn, state, message, cx),
        };
        taken.unwrap_or_else(|fault| {
            self.close(conn, fault, cx);
            Wish::Nothing
        })
    }

    /// Bytes came that are no message.
    pub(super) fn on_malformed(&mut self, conn: ConnId, error: &WireError, cx: &mut Cx<'_>) {
        if !self.contains(conn) {
            return cx.counters.add(Count::StaleConnection);
        }
        let count = match error {
            WireError::TooLong { .. } => Count::ClosedTooLong,
            WireError::Truncated => Count::ClosedTruncated,
            WireError::TooDeep => Count::ClosedTooDeep,
            WireError::Trailing { .. } => Count::ClosedTrailing,
            WireError::Malformed(_) => Count::ClosedMalformed,
            WireError::Version => Count::ClosedVersion,
        };
        self.close(conn, Fault(error.code(), error.to_string(), count), cx);
    }

    /// The connection is gone.
    pub(super) fn on_closed(&mut self, conn: ConnId, why: CloseReason, cx: &mut Cx<'_>) {
        if !self.contains(conn) {
            return cx.counters.add(Count::StaleConnection);
        }
        match why {
            CloseReason::Remote => cx.counters.add(Count::GoneRemote),
            CloseReason::Failed => cx.counters.add(Count::GoneFailed),
            CloseReason::SlowConsumer => cx.counters.add(Count::GoneSlowConsumer),
            CloseReason::SlowFrame => cx.counters.add(Count::GoneSlowFrame),
            CloseReason::Asked => {}
        }
        self.release(conn, cx);
        self.slots[conn.index as usize] = None;
        self.len -= 1;
        if self.len == 0 {
            cx.timers.stop(Reason::Silence);
        }
    }

    /// The oldest half-open session may have run out of time.
    pub(super) fn on_login_deadline(&mut self, cx: &mut Cx<'_>) {
        while let Some(oldest) = self.oldest_half_open() {
            let deadline = self.half_open[0].1;
            if deadline > cx.now {
                return cx.timers.set(Reason::Login, deadline);
            }
            let why = format!("no login within {} s", LOGIN_DEADLINE.as_secs());
            self.close(oldest, Fault(ErrorCode::DEADLINE, why, Count::ClosedDeadline), cx);
        }
    }

    /// Some session may have been silent for too long.
    pub(super) fn on_silence(&mut self, cx: &mut Cx<'_>) {
        let limit = silence(cx.config);
        let mut next: Option<Time> = None;
        for index in 0..self.slots.len() {
            let Some(session) = &self.slots[index] else { continue };
            let deadline = session.heard + limit;
            if matches!(session.state, State::Open | State::Registering) && deadline <= cx.now {
                let conn = ConnId { index: index as u32, generation: session.generation };
                let why = format!("nothing was heard for {} s", limit.as_secs());
                self.close(conn, Fault(ErrorCode::DEADLINE, why, Count::ClosedSilent), cx);
            } else {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        }
        if let Some(next) = next {
            cx.timers.set(Reason::Silence, next.max(cx.now + SWEEP_GAP));
        }
    }

    /// A query of the session runs now.
    pub(super) fn query_began(&mut self, conn: ConnId, req: u32, key: WaveKey) {
        if let Some(session) = self.session_mut(conn) {
            session.queries.get_or_insert_default().push((req, key));
        }
    }

    /// A query of the session is over.
    pub(super) fn query_ended(&mut self, conn: ConnId, req: u32) {
        if let Some(session) = self.session_mut(conn) {
            session.take_query(req);
        }
    }

    /// The queries of sessions that have gone, or that were cancelled, since the last call.
    pub(super) fn take_abandoned(&mut self) -> Vec<WaveKey> {
        std::mem::take(&mut self.abandoned)
    }

    /// Whether the index has something to tidy since the last call.
    pub(super) fn take_untidied(&mut self) -> bool {
        std::mem::take(&mut self.untidied)
    }

    /// The ACK of the last message, if one is due.
    pub(super) fn take_ack(&mut self) -> Option<(ConnId, Ack)> {
        self.ack.take()
    }

    /// Whether the session takes messages.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.session(conn).is_some_and(|session| matches!(session.state, State::Open | State::Registering))
    }

    /// Too many ACKs wait already: this one's session goes.
    pub(super) fn on_acks_full(&mut self, conn: ConnId, cx: &mut Cx<'_>) {
        let why = "too many changes wait for this super peer's neighbours".to_owned();
        self.close(conn, Fault(ErrorCode::BUSY, why, Count::ClosedLimit), cx);
    }

    /// Says BYE everywhere and closes.
    pub(super) fn close_all(&mut self, why: &str, cx: &mut Cx<'_>) {
        for index in 0..self.slots.len() {
            let Some(session) = &self.slots[index] else { continue };
            if session.state != State::Closing {
                let conn = ConnId { index: index as u32, generation: session.generation };
                cx.out.push_back(Output::Send { conn, message: Message::Bye(Bye { why: why.to_owned() }) });
                cx.out.push_back(Output::Close { conn });
                self.release(conn, cx);
            }
        }
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, index: &Index) {
        let all = || self.slots.iter().flatten();
        assert_eq!(all().count(), self.len);
        assert_eq!(all().filter(|session| session.state.is_half_open()).count(), self.half_open_len);
        assert!(self.half_open_len <= UNAUTHENTICATED_MAX && self.half_open.len() <= 2 * UNAUTHENTICATED_MAX);
        assert_eq!(all().filter(|session| session.holder.is_some()).count(), index.holders());
        assert!(self.abandoned.is_empty() && self.ack.is_none());
        for session in all() {
            let open = matches!(session.state, State::Open | State::Registering);
            assert!(open || (session.holder.is_none() && session.queries.is_none()));
            assert!(
                session.queries.as_ref().is_none_or(|queries| { (1..=SESSION_QUERIES_MAX).contains(&queries.len()) })
            );
        }
    }

    fn on_half_open(&mut self, conn: ConnId, state: State, message: Message, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match (state, message) {
            (State::Hello, Message::Hello(hello)) => self.on_hello(conn, &hello, cx),
            (State::Login, Message::Login(login)) => self.on_login(conn, &login, cx),
            (_, message) => self.on_anytime(conn, message, cx),
        }
    }

    fn on_open(&mut self, conn: ConnId, state: State, message: Message, cx: &mut Cx<'_>) -> Result<Wish, Fault> {
        match (state, message) {
            (_, Message::Register(register)) => self.on_register(conn, register, cx)?,
            (State::Open, Message::Update(update)) => self.on_update(conn, update, cx)?,
            (_, Message::List(list)) => on_list(conn, list, cx),
            (_, Message::Ping(ping)) => cx.out.push_back(Output::Send { conn, message: Message::Pong(ping) }),
            (_, Message::Query(query)) => return Ok(self.on_query(conn, query, cx)),
            (_, Message::Status(status)) => return Ok(Wish::Status { req: status.req }),
            (_, Message::Cancel(cancel)) => {
                let session = self.session_mut(conn).expect("the session is open");
                let key = session.take_query(cancel.req);
                self.abandoned.extend(key);
            }
            (_, message) => self.on_anytime(conn, message, cx)?,
        }
        Ok(Wish::Nothing)
    }

    /// What may be said in any state; everything else is out of order.
    fn on_anytime(&mut self, conn: ConnId, message: Message, cx: &mut Cx<'_>) -> Result<(), Fault> {
        match message {
            Message::Bye(_) => {
                cx.counters.add(Count::ClosedBye);
                cx.out.push_back(Output::Close { conn });
                self.release(conn, cx);
                Ok(())
            }
            Message::Unknown(kind) => {
                cx.counters.add(Count::UnknownKind);
                let why = format!(
                    "{kind:?} is no kind of message of version {}.{}",
                    PROTOCOL_VERSION[0], PROTOCOL_VERSION[1]
                );
                refuse(conn, ErrorCode::UNKNOWN_KIND, why, None, cx);
                Ok(())
            }
            // The peer tells what went wrong on its side; it closes if that matters.
            Message::Error(_) => Ok(()),
            other @ (Message::Hello(_)
            | Message::Welcome(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | told_to_super_peers!()
            | told_by_super_peers!()
            | told_to_sources!()
            | told_by_sources!()) => Err(Fault::order(other.kind())),
        }
    }

    fn on_hello(&mut self, conn: ConnId, hello: &Hello, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if hello.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("this super peer speaks version {}", PROTOCOL_VERSION[0]);
            return Err(Fault(ErrorCode::VERSION, why, Count::ClosedVersion));
        }
        let session = self.session_mut(conn).expect("the session is half open");
        session.state = State::Login;
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            node: cx.config.node,
            boot: cx.config.boot,
            features: Vec::new(),
            ping: u32::try_from(cx.config.ping.as_millis()).unwrap_or(u32::MAX),
            frame: FRAME_BYTES_OPEN as u32,
            addr: SocketAddr::new(session.ip, session.port).into(),
        };
        cx.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_LOGIN });
        cx.out.push_back(Output::Send { conn, message: Message::Welcome(welcome) });
        Ok(())
    }

    fn on_login(&mut self, conn: ConnId, login: &Login, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if login.mode != "open" {
            let why = "this super peer knows the login mode open only".to_owned();
            return Err(Fault(ErrorCode::LOGIN, why, Count::ClosedLogin));
        }
        cx.counters.add(Count::Welcomed);
        self.session_mut(conn).expect("the session is half open").state = State::Open;
        self.leave_half_open(cx);
        cx.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        cx.out.push_back(Output::Send { conn, message: Message::Ready(Ready {}) });
        Ok(())
    }

    /// A page of the whole list. The first clears what was there; address and port are taken from it.
    fn on_register(&mut self, conn: ConnId, register: Register, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Register { seq, port, host, files, more } = register;
        let session = self.session_mut(conn).expect("the session is open");
        session.advance(seq)?;
        if port == 0 && !files.is_empty() {
            return Err(Fault::request("files are registered, but no port to fetch them from"));
        }
        let mut untidied = false;
        if session.state == State::Open {
            untidied = session.holder.is_some();
            match address(session.ip, host.as_deref(), port)? {
                None => session.holder.take().into_iter().for_each(|holder| cx.index.remove_holder(holder)),
                Some(addr) => match session.holder {
                    None => session.holder = Some(cx.index.add_holder(addr)),
                    Some(holder) => {
                        cx.index.clear(holder);
                        cx.index.set_addr(holder, addr);
                    }
                },
            }
        }
        cx.counters.add(Count::Registers);
        session.state = if more { State::Registering } else { State::Open };
        session.insert(files, cx)?;
        let ack = session.acknowledgement(cx);
        self.ack = Some((conn, ack));
        self.untidied |= untidied;
        Ok(())
    }

    fn on_update(&mut self, conn: ConnId, update: Update, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let Update { seq, add, del } = update;
        let session = self.session_mut(conn).expect("the session is open");
        if session.seq == 0 {
            return Err(Fault::order("UPDATE"));
        }
        session.advance(seq)?;
        cx.counters.add(Count::Updates);
        if let Some(holder) = session.holder {
            for path in del {
                cx.index.remove(holder, path.as_str());
            }
        }
        session.insert(add, cx)?;
        let ack = session.acknowledgement(cx);
        self.ack = Some((conn, ack));
        Ok(())
    }

    fn on_query(&mut self, conn: ConnId, query: Query, cx: &mut Cx<'_>) -> Wish {
        let session = self.session_mut(conn).expect("the session is open");
        let running = session.queries.as_ref().map_or(&[][..], |queries| queries.as_slice());
        let (code, why) = if running.iter().any(|(req, _)| *req == query.req) {
            (ErrorCode::BAD_REQUEST, "a query of this number is running".to_owned())
        } else if running.len() >= SESSION_QUERIES_MAX {
            (ErrorCode::LIMIT, format!("{SESSION_QUERIES_MAX} queries are running; wait for one to end"))
        } else {
            return Wish::Query(query);
        };
        cx.counters.add(Count::QueriesRefused);
        refuse(conn, code, why, Some(query.req), cx);
        Wish::Nothing
    }

    /// Tells the peer why, and closes.
    fn close(&mut self, conn: ConnId, fault: Fault, cx: &mut Cx<'_>) {
        let Fault(code, why, count) = fault;
        if self.session(conn).is_some_and(|session| session.state != State::Closing) {
            cx.counters.add(count);
            refuse(conn, code, why, None, cx);
            cx.out.push_back(Output::Close { conn });
            self.release(conn, cx);
        }
    }

    /// Takes away everything that the session has here but its slot, which the driver frees by Closed.
    fn release(&mut self, conn: ConnId, cx: &mut Cx<'_>) {
        let session = self.session_mut(conn).expect("the caller has looked it up");
        let was_half_open = session.state.is_half_open();
        session.state = State::Closing;
        let holder = session.holder.take();
        let queries = session.queries.take();
        if let Some(holder) = holder {
            cx.index.remove_holder(holder);
            self.untidied = true;
        }
        self.abandoned.extend(queries.into_iter().flat_map(|queries| *queries).map(|(_, key)| key));
        if was_half_open {
            self.leave_half_open(cx);
        }
    }

    /// A session is half open no more. Where none is left there is no deadline either.
    fn leave_half_open(&mut self, cx: &mut Cx<'_>) {
        self.half_open_len -= 1;
        if self.half_open_len == 0 {
            self.half_open.clear();
            cx.timers.stop(Reason::Login);
        }
    }

    fn oldest_half_open(&mut self) -> Option<ConnId> {
        loop {
            let conn = self.half_open.front()?.0;
            if is_half_open(&self.slots, conn) {
                return Some(conn);
            }
            self.half_open.pop_front();
        }
    }

    fn session(&self, conn: ConnId) -> Option<&Session> {
        lookup(&self.slots, conn)
    }

    fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.slots.get_mut(conn.index as usize)?.as_mut()?;
        (session.generation == conn.generation).then_some(session)
    }
}

impl Session {
    /// REGISTERs and UPDATEs come numbered, so that an ACK names one.
    fn advance(&mut self, seq: u64) -> Result<(), Fault> {
        if Some(seq) != self.seq.checked_add(1) {
            return Err(Fault::request(format!("seq {seq} does not follow {}", self.seq)));
        }
        self.seq = seq;
        Ok(())
    }

    fn insert(&mut self, files: Vec<crate::wire::FileRecord>, cx: &mut Cx<'_>) -> Result<(), Fault> {
        if files.is_empty() {
            return Ok(());
        }
        let Some(holder) = self.holder else {
            return Err(Fault::request("files are added, but no port to fetch them from was registered"));
        };
        if cx.index.files_of(holder) + files.len() > SESSION_FILES_MAX {
            let why = format!("more than {SESSION_FILES_MAX} files");
            return Err(Fault(ErrorCode::LIMIT, why, Count::ClosedLimit));
        }
        if cx.index.is_full_for(files.len()) {
            return Err(Fault(ErrorCode::LIMIT, "this super peer's index is full".to_owned(), Count::ClosedLimit));
        }
        for file in files {
            cx.index.insert(holder, file);
        }
        Ok(())
    }

    fn acknowledgement(&self, cx: &Cx<'_>) -> Ack {
        Ack { seq: self.seq, files: self.holder.map_or(0, |holder| cx.index.files_of(holder) as u64) }
    }

    fn take_query(&mut self, req: u32) -> Option<WaveKey> {
        let queries = self.queries.as_mut()?;
        let place = queries.iter().position(|(running, _)| *running == req)?;
        let (_, key) = queries.swap_remove(place);
        if queries.is_empty() {
            self.queries = None;
        }
        Some(key)
    }
}

fn lookup(slots: &[Option<Session>], conn: ConnId) -> Option<&Session> {
    let session = slots.get(conn.index as usize)?.as_ref()?;
    (session.generation == conn.generation).then_some(session)
}

fn is_half_open(slots: &[Option<Session>], conn: ConnId) -> bool {
    lookup(slots, conn).is_some_and(|session| session.state.is_half_open())
}

fn silence(config: &SuperPeerConfig) -> Duration {
    config.ping * SILENT_PINGS
}

/// Where the peer's chunks are fetched from; nowhere if its port is 0.
fn address(ip: IpAddr, host: Option<&str>, port: u16) -> Result<Option<HostPort>, Fault> {
    match (port, host) {
        (0, _) => Ok(None),
        (port, None) => Ok(Some(SocketAddr::new(ip, port).into())),
        (port, Some(host)) => HostPort::new(host, port).map(Some).map_err(|error| Fault::request(error.to_string())),
    }
}

fn on_list(conn: ConnId, list: List, cx: &mut Cx<'_>) {
    cx.counters.add(Count::Lists);
    let (files, next) = cx.index.list(list.after.unwrap_or(0), PAGE_BYTES);
    cx.out.push_back(Output::Send { conn, message: Message::Files(Files { req: list.req, files, next }) });
}

/// Queues an ERROR, short enough for a peer that has not even been welcomed.
fn refuse(conn: ConnId, code: ErrorCode, mut message: String, req: Option<u32>, cx: &mut Cx<'_>) {
    message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
    cx.out.push_back(Output::Send { conn, message: Message::Error(Error { code, message, req }) });
}

#[cfg(test)]
mod tests;
