//! The table of sessions: what is known of each session, and how a session is closed.
//!
//! It never reads a message.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::page::Page;
use super::storm::Storm;
use crate::config::{
    CROWD_FRESH, CROWD_LOOKS_MAX, FRAME_BYTES_HELLO, HTTP_SESSIONS_MAX, SESSION_FILES_MAX, SESSION_QUERIES_MAX,
    UNAUTHENTICATED_MAX,
};
use crate::proto::crowd::{Host, Occupant, Plan, Rank, leaving};
use crate::proto::glance::SessionRow;
use crate::proto::super_peer::accounts::Refused;
use crate::proto::super_peer::context::{Context, Reason};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::WaveKey;
use crate::proto::super_peer::index::{HolderId, Index, Serves};
use crate::proto::super_peer::work::SESSION_WORK;
use crate::proto::{ConnId, Output};
use crate::time::Time;
use crate::wire::message::{Ack, Error, ErrorCode};
use crate::wire::{Message, NodeId};

/// Longest text of an ERROR in bytes, so that it fits the frame of a peer that has not said HELLO.
const ERROR_BYTES_MAX: usize = 160;

/// The text of every ERROR because of memory.
pub(super) const MEMORY_IS_SHORT: &str = "this super peer is short of memory; try again later or elsewhere";

const _: () = assert!(MEMORY_IS_SHORT.len() <= ERROR_BYTES_MAX);
const _: () = assert!(ERROR_BYTES_MAX + 64 < FRAME_BYTES_HELLO);

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No HELLO yet.
    Hello,
    /// HELLO, but no LOGIN yet.
    Login,
    /// Logged in.
    Open,
    /// Logged in, and between two pages of a REGISTER.
    Registering,
    /// The driver must close the session. Everything that still arrives is ignored.
    Closing,
}

impl State {
    pub(super) fn is_half_open(self) -> bool {
        matches!(self, State::Hello | State::Login)
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, State::Open | State::Registering)
    }
}

/// An optional place in the index, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// No place. The index has far fewer holders than this number.
    pub(super) const NONE: Place = Place(u32::MAX);

    pub(super) fn of(holder: HolderId) -> Place {
        assert_ne!(holder.0, u32::MAX, "no index has that many holders");
        Place(holder.0)
    }

    pub(super) fn get(self) -> Option<HolderId> {
        (self != Place::NONE).then_some(HolderId(self.0))
    }

    pub(super) fn take(&mut self) -> Option<HolderId> {
        std::mem::replace(self, Place::NONE).get()
    }
}

/// One session. There may be very many, so a field that only few of them need is boxed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    /// The address of this super peer that the session uses: a number of [`OwnAddrs`].
    pub(super) at: u8,
    /// As the HELLO of the session says; zeros before.
    pub(super) node: NodeId,
    pub(super) boot: u64,
    /// Whether the HELLO of the session has the feature REACH.
    pub(super) takes_reach: bool,
    /// When the last message came.
    pub(super) heard: Time,
    /// Number of the last REGISTER or UPDATE.
    pub(super) seq: u64,
    /// When the session last requested or changed something, in seconds since the start. A session
    /// that only sends PING is idle.
    pub(super) active_s: u32,
    /// The holder of the session in the index, once the session has registered and serves chunks.
    pub(super) holder: Place,
    /// The queries of the session that run.
    #[expect(clippy::box_collection, reason = "most sessions ask nothing, and a Vec takes three times the room")]
    pub(super) queries: Option<Box<Vec<(u32, WaveKey)>>>,
}

const _: () = assert!(size_of::<Option<Session>>() <= 72 + size_of::<NodeId>(), "an idle session is cheap");

/// Why a super peer closes a session: the code and text of the ERROR, and what is counted.
pub(super) struct Fault(pub(super) ErrorCode, pub(super) String, pub(super) Count);

impl Fault {
    pub(super) fn order(kind: &str) -> Fault {
        Fault(ErrorCode::ORDER, format!("{kind} is not allowed now"), Count::ClosedOrder)
    }

    pub(super) fn memory() -> Fault {
        Fault(ErrorCode::LIMIT, MEMORY_IS_SHORT.to_owned(), Count::ClosedMemory)
    }

    pub(super) fn request(why: impl Into<String>) -> Fault {
        Fault(ErrorCode::BAD_REQUEST, why.into(), Count::ClosedBadRequest)
    }
}

impl From<Refused> for Fault {
    fn from(Refused(code, why, count): Refused) -> Fault {
        Fault(code, why, count)
    }
}

/// A message for all open sessions, and the slot of the next one that gets it.
#[derive(Debug)]
pub(super) struct News {
    pub(super) slot: usize,
    pub(super) message: Message,
}

/// A query that its session does not need any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) key: WaveKey,
    pub(crate) conn: ConnId,
    pub(crate) req: u32,
}

/// How far a sweep for silent sessions is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// The slot that is looked at next.
    pub(super) slot: usize,
    /// When the next session may have been silent for too long, as far as is known.
    pub(super) next: Time,
}

/// Addresses of this super peer that sessions have used. They are numbered, so that each session
/// stores one byte. A host has few; addresses beyond the 255th are not remembered.
#[derive(Debug, Default)]
pub(super) struct OwnAddrs(Vec<IpAddr>);

impl OwnAddrs {
    const UNKNOWN: u8 = u8::MAX;

    pub(super) fn number(&mut self, ip: IpAddr) -> u8 {
        let known = self.0.iter().position(|known| *known == ip);
        let place = known.or_else(|| {
            let room = self.0.len() < usize::from(OwnAddrs::UNKNOWN);
            room.then(|| {
                self.0.push(ip);
                self.0.len() - 1
            })
        });
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(OwnAddrs::UNKNOWN)
    }

    pub(super) fn addr(&self, number: u8) -> Option<IpAddr> {
        self.0.get(usize::from(number)).copied()
    }
}

/// All sessions of a super peer.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By the driver's slot.
    pub(super) slots: Vec<Option<Session>>,
    pub(super) len: usize,
    pub(super) own_addrs: OwnAddrs,
    /// Half-open sessions in the order of their login deadlines. Entries of sessions that are no
    /// longer half open are skipped.
    pub(super) half_open: VecDeque<(ConnId, Time)>,
    pub(super) half_open_len: usize,
    /// Queries whose session has closed.
    pub(super) abandoned: VecDeque<Abandoned>,
    /// A sweep for silent sessions that is under way.
    pub(super) sweep: Option<Sweep>,
    /// The super peer ends: the sessions from this slot on must be closed.
    pub(super) ending: Option<usize>,
    /// The ACK of the last message.
    pub(super) ack: Option<(ConnId, Ack)>,
    /// Long pages of files that are being done, the next one first.
    pub(super) pages: VecDeque<Page>,
    /// The session whose last message has registered an address at which it was not reached yet.
    pub(super) served: Option<ConnId>,
    /// Which half-open sessions are closed next while there are too many.
    pub(super) plan: Plan,
    /// The slot at which the last look for idle sessions ended.
    pub(super) hand: usize,
    /// Messages that not all open sessions have got.
    pub(super) news: VecDeque<News>,
    pub(super) storm: Storm,
}

impl Sessions {
    /// Some of the open sessions, for the page.
    pub(crate) fn rows(&self, cx: &Context) -> Vec<SessionRow> {
        let open = self.slots.iter().flatten().filter(|session| session.state.is_open());
        let row = |session: &Session| {
            let holder = session.holder.get();
            let from = std::net::SocketAddr::new(session.ip, session.port).into();
            SessionRow {
                peer: holder.map_or(from, |holder| cx.index.addr_of(holder).clone()),
                node: session.node,
                files: holder.map(|holder| cx.index.files_of(holder)),
                queries: session.queries.as_ref().map_or(0, |queries| queries.len()),
                quiet_ms: u64::try_from(cx.now.since(session.heard).as_millis()).unwrap_or(u64::MAX),
            }
        };
        open.take(HTTP_SESSIONS_MAX).map(row).collect()
    }

    pub(super) fn session(&self, conn: ConnId) -> Option<&Session> {
        lookup(&self.slots, conn)
    }

    /// The host that the session comes from.
    pub(in super::super) fn host_of(&self, conn: ConnId) -> Option<Host> {
        self.session(conn).map(|session| session.ip.into())
    }

    pub(super) fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        let session = self.slots.get_mut(conn.index as usize)?.as_mut()?;
        (session.generation == conn.generation).then_some(session)
    }

    /// Sends ERROR with the reason, and closes.
    pub(super) fn close(&mut self, conn: ConnId, fault: Fault, cx: &mut Context) {
        let Fault(code, why, count) = fault;
        if self.session(conn).is_some_and(|session| session.state != State::Closing) {
            cx.count(count);
            if code.is_login() {
                cx.count(Count::ClosedLogin);
            }
            let retry = (code == ErrorCode::BUSY).then(|| self.storm.on_refused(cx.now, self.half_open_len));
            let message = shortened(why.clone());
            cx.send(conn, Message::Error(Error { code, message, req: None, retry }));
            cx.out.push(Output::Close { conn });
            self.release(conn, Some(&why), cx);
        }
    }

    /// Frees everything that the session has here except its slot, which [`Sessions::on_closed`]
    /// frees. The end of a peer that serves is reported, if there is a reason.
    pub(super) fn release(&mut self, conn: ConnId, why: Option<&str>, cx: &mut Context) {
        let session = self.session_mut(conn).expect("the caller has looked it up");
        let was_half_open = session.state.is_half_open();
        let shared = session.shares(&cx.index);
        session.state = State::Closing;
        let (holder, node) = (session.holder.take(), session.node);
        let queries = session.queries.take();
        if let Some(holder) = holder {
            if let Some(why) = why {
                cx.note_left(holder, node, why);
            }
            cx.index.remove_holder(holder);
        }
        cx.sharing -= usize::from(shared);
        cx.logins.on_closed(conn);
        let next = cx.logins.next_end();
        cx.arm(Reason::Expiry, next);
        cx.work.add(SESSION_WORK);
        let abandoned = |(req, key)| Abandoned { key, conn, req };
        self.drop_page(conn);
        self.abandoned.extend(queries.into_iter().flat_map(|queries| *queries).map(abandoned));
        if was_half_open {
            self.leave_half_open(cx);
        }
    }

    /// There is one half-open session less. Without half-open sessions there is no login deadline.
    pub(super) fn leave_half_open(&mut self, cx: &mut Context) {
        self.half_open_len -= 1;
        if self.half_open_len == 0 {
            self.half_open.clear();
            cx.timers.stop(Reason::Login);
        }
    }

    pub(super) fn oldest_half_open(&mut self) -> Option<ConnId> {
        loop {
            let conn = self.half_open.front()?.0;
            if is_half_open(&self.slots, conn) {
                return Some(conn);
            }
            self.half_open.pop_front();
        }
    }

    /// The half-open session that is closed to make room for another one.
    pub(super) fn idlest_half_open(&mut self, now: Time) -> Option<ConnId> {
        let Sessions { slots, half_open, plan, .. } = self;
        let slots = &*slots;
        let occupant = |conn: ConnId| {
            let session = lookup(slots, conn).filter(|session| session.state.is_half_open())?;
            // What a session has sent does not count before it has logged in.
            Some(Occupant { rank: Rank::Idle, ..session.occupant(conn.index as usize, now)? })
        };
        plan.next(now, occupant, || half_open.iter().filter_map(|(conn, _)| occupant(*conn)).collect())
    }

    /// The sessions that are closed while descriptors are short. Each call examines a bounded part
    /// of the table, and continues where the last call ended.
    pub(super) fn idlest(&mut self, count: usize, now: Time) -> Vec<Occupant> {
        let mut seen = Vec::new();
        for _ in 0..self.slots.len().min(CROWD_LOOKS_MAX) {
            self.hand = (self.hand + 1) % self.slots.len();
            seen.extend(self.slots[self.hand].as_ref().and_then(|session| session.occupant(self.hand, now)));
        }
        leaving(seen, count)
    }

    /// Bounds the queue of half-open sessions by removing those that are not half open any more.
    pub(super) fn bound_half_open(&mut self) {
        if self.half_open.len() > 2 * UNAUTHENTICATED_MAX {
            let Sessions { slots, half_open, .. } = self;
            half_open.retain(|(conn, _)| is_half_open(slots, *conn));
        }
    }

    /// What must hold between any two inputs.
    pub(crate) fn check_invariants(&self, index: &Index, sharing: usize) {
        let all = || self.slots.iter().flatten();
        assert_eq!(all().filter(|session| session.shares(index)).count(), sharing);
        assert_eq!(all().count(), self.len);
        assert_eq!(all().filter(|session| session.state.is_half_open()).count(), self.half_open_len);
        assert!(self.half_open_len <= UNAUTHENTICATED_MAX && self.half_open.len() <= 2 * UNAUTHENTICATED_MAX);
        assert_eq!(all().filter(|session| session.holder.get().is_some()).count(), index.holders());
        assert!(self.ack.is_none());
        self.check_pages();
        for session in all() {
            assert!(session.state.is_open() || (session.holder == Place::NONE && session.queries.is_none()));
            assert!(
                session.queries.as_ref().is_none_or(|queries| { (1..=SESSION_QUERIES_MAX).contains(&queries.len()) })
            );
        }
    }
}

impl Session {
    /// The session requests or changes something.
    pub(super) fn note_active(&mut self, now: Time) {
        self.active_s = seconds(now);
    }

    /// The position of the session among those that may be closed to make room; none if it is being
    /// closed.
    fn occupant(&self, index: usize, now: Time) -> Option<Occupant> {
        if self.state == State::Closing {
            return None;
        }
        let conn = ConnId { index: index as u32, generation: self.generation };
        let second = Time::from_micros(u64::from(self.active_s) * 1_000_000);
        // A new session has microseconds, because many may come within one second.
        let since = self.heard.min(second + Duration::from_secs(1));
        let rank = match self.holder.get() {
            Some(_) => Rank::Useful,
            None if self.queries.is_some() => Rank::Busy,
            None if self.state.is_open() && now.since(since) < CROWD_FRESH => Rank::Busy,
            None => Rank::Idle,
        };
        Some(Occupant { conn, host: self.ip.into(), rank, since })
    }

    /// Whether the complete list of the session's files is registered and not empty.
    pub(super) fn shares(&self, index: &Index) -> bool {
        self.state == State::Open && self.holder.get().is_some_and(|holder| index.files_of(holder) > 0)
    }

    /// REGISTERs and UPDATEs are numbered from 1 without a gap, so that an ACK names one of them.
    pub(super) fn advance(&mut self, seq: u64) -> Result<(), Fault> {
        if Some(seq) != self.seq.checked_add(1) {
            return Err(Fault::request(format!("seq {seq} does not follow {}", self.seq)));
        }
        self.seq = seq;
        Ok(())
    }

    /// The session serves at this address from now on, without files so far. `listed` is the number
    /// of files of the page, if the page is the only one. Returns whether the session must be
    /// dialed back, because it was not reached at this address yet.
    pub(super) fn serve(&mut self, serves: Option<Serves>, listed: Option<usize>, cx: &mut Context) -> bool {
        let Some(serves) = serves else {
            if let Some(holder) = self.holder.take() {
                cx.note_left(holder, self.node, "it serves no files any more");
                cx.index.remove_holder(holder);
            }
            return false;
        };
        let (holder, reached) = match self.holder.get() {
            None => {
                let holder = cx.index.add_holder(serves, self.node);
                cx.note_came(holder, self.node, listed);
                (holder, false)
            }
            Some(holder) => {
                let reached = *cx.index.serves(holder) == serves && !cx.index.is_unreached(holder);
                (cx.index.renew_holder(holder, serves), reached)
            }
        };
        self.holder = Place::of(holder);
        let unreached = cx.config.dial_back && !reached;
        cx.index.set_unreached(holder, unreached);
        unreached
    }

    /// Checks that the session may have this many more files.
    pub(super) fn check_room(&self, files: usize, index: &Index) -> Result<(), Fault> {
        if files == 0 {
            return Ok(());
        }
        let Some(holder) = self.holder.get() else {
            return Err(Fault::request("files are added, but no port to fetch them from was registered"));
        };
        if index.files_of(holder) + files > SESSION_FILES_MAX {
            let why = format!("more than {SESSION_FILES_MAX} files");
            return Err(Fault(ErrorCode::LIMIT, why, Count::ClosedLimit));
        }
        if index.is_full_for(files) {
            return Err(Fault(ErrorCode::LIMIT, "this super peer's index is full".to_owned(), Count::ClosedLimit));
        }
        Ok(())
    }

    pub(super) fn acknowledgement(&self, index: &Index) -> Ack {
        Ack { seq: self.seq, files: self.holder.get().map_or(0, |holder| index.files_of(holder) as u64) }
    }

    /// Forgets a query. Returns its key, if it runs.
    pub(super) fn take_query(&mut self, req: u32) -> Option<WaveKey> {
        let queries = self.queries.as_mut()?;
        let place = queries.iter().position(|(running, _)| *running == req)?;
        let (_, key) = queries.swap_remove(place);
        if queries.is_empty() {
            self.queries = None;
        }
        Some(key)
    }
}

/// Queues an ERROR, short enough for a peer that has not said HELLO.
pub(super) fn refuse(conn: ConnId, code: ErrorCode, message: String, req: Option<u32>, cx: &mut Context) {
    cx.refuse(conn, code, shortened(message), req);
}

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
    message
}

/// Seconds since the start: enough for 136 years.
pub(super) fn seconds(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

fn lookup(slots: &[Option<Session>], conn: ConnId) -> Option<&Session> {
    let session = slots.get(conn.index as usize)?.as_ref()?;
    (session.generation == conn.generation).then_some(session)
}

fn is_half_open(slots: &[Option<Session>], conn: ConnId) -> bool {
    lookup(slots, conn).is_some_and(|session| session.state.is_half_open())
}
