//! The super peer's side of its sessions: what each weak peer has sent so far, and what it may send
//! next.
//!
//! This part owns the table of sessions. For each session that is a holder in the index, the table
//! has the id of this holder. This part never runs a search: it decides whether the search of a
//! QUERY may begin, and the flood sends the answers. An idle session costs only its entry in the
//! table. One sweep over the table finds silent sessions, so no session has a timer of its own.

mod page;
mod pages;
mod requests;
mod storm;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) use self::requests::Request;
pub(super) use self::table::Abandoned;
pub(super) use self::table::Sessions;
use self::table::{Fault, News, Place, Session, State, Sweep, seconds};
use super::accounts::{Refused, Saved};
use super::config::SuperPeerConfig;
use super::context::{Context, Reason};
use super::counters::Count;
use super::ids::WaveKey;
use super::peer::Peer;
use super::work::{OUTPUT_WORK, SESSIONS_PER_WORK};
use crate::config::{LOGIN_DEADLINE, UNAUTHENTICATED_MAX};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, CloseReason, ConnId, Event, Output};
use crate::time::Time;
use crate::trust::Refusal;
use crate::wire::message::{Ack, Bye, ErrorCode, Revoked, RevokedKey};
use crate::wire::{Message, NodeId, WireError};

/// Ping intervals after which a silent session is closed.
const SILENT_PINGS: u32 = 3;
/// Shortest time between two sweeps for silent sessions, so that many sessions that become silent
/// one after the other cost little.
const SWEEP_GAP: Duration = Duration::from_secs(1);

/// - getters: `len`, `is_open`, `conn_at`, `reached_at`, `peer`, `has_work`;
/// - what happened: the methods `on_…`, also those in `requests` and `pages`. They push outputs;
/// - mutators: `query_began`, `query_ended`, `spread`, `close_all`;
/// - what is left to do: `next_abandoned`, `take_ack`, `take_served`, `next_page`, `finish_page`,
///   `run`.
impl Sessions {
    /// Connections, of any state.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the session has logged in, and is not about to be closed.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.session(conn).is_some_and(|session| session.state.is_open())
    }

    /// The session in this slot of the driver.
    pub(super) fn conn_at(&self, index: u32) -> Option<ConnId> {
        let session = self.slots.get(index as usize)?.as_ref()?;
        Some(ConnId { index, generation: session.generation })
    }

    /// The address of this super peer that the session uses, if it is known.
    pub(super) fn reached_at(&self, conn: ConnId) -> Option<IpAddr> {
        self.own_addrs.addr(self.session(conn)?.at)
    }

    /// A peer connected, and was accepted at this time.
    pub(super) fn on_accepted(
        &mut self,
        (conn, since): (ConnId, Time),
        from: SocketAddr,
        to: IpAddr,
        cx: &mut Context,
    ) {
        cx.count(Count::Accepted);
        while self.half_open_len >= UNAUTHENTICATED_MAX {
            let idlest = self.idlest_half_open(cx.now).expect("half-open sessions are in the queue");
            let why = "too many sessions are waiting to log in".to_owned();
            self.close(idlest, Fault(ErrorCode::BUSY, why, Count::ClosedCrowded), cx);
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
            at: self.own_addrs.number(to),
            node: NodeId([0; 16]),
            boot: 0,
            takes_reach: false,
            heard: cx.now,
            seq: 0,
            active_s: seconds(cx.now),
            holder: Place::NONE,
            queries: None,
        };
        if self.slots[slot].replace(session).is_none() {
            self.len += 1;
        }
        self.half_open_len += 1;
        let deadline = since + LOGIN_DEADLINE;
        // In order of the deadlines, because handshakes do not end in the order of their accepts.
        let place = self.half_open.partition_point(|(_, other)| *other <= deadline);
        self.half_open.insert(place, (conn, deadline));
        self.bound_half_open();
        cx.timers.set_earlier(Reason::Login, deadline.max(cx.now));
        cx.timers.set_earlier(Reason::Silence, cx.now + silence(&cx.config));
    }

    /// A message other than QUERY arrived.
    pub(super) fn on_message(&mut self, conn: ConnId, message: Message, cx: &mut Context) -> Request {
        let Some(session) = self.session_mut(conn) else {
            cx.count(Count::StaleConnection);
            return Request::None;
        };
        session.heard = cx.now;
        let state = session.state;
        let taken = match state {
            State::Closing => Ok(Request::None),
            State::Hello | State::Login => self.on_half_open(conn, state, message, cx).map(|()| Request::None),
            State::Open | State::Registering => self.on_open(conn, state, message, cx),
        };
        taken.unwrap_or_else(|fault| {
            self.close(conn, fault, cx);
            Request::None
        })
    }

    /// Bytes arrived that are not a message.
    pub(super) fn on_malformed(&mut self, conn: ConnId, error: &WireError, cx: &mut Context) {
        if self.session(conn).is_none() {
            return cx.count(Count::StaleConnection);
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
    pub(super) fn on_closed(&mut self, conn: ConnId, why: CloseReason, cx: &mut Context) {
        if self.session(conn).is_none() {
            return cx.count(Count::StaleConnection);
        }
        let (count, why) = match why {
            CloseReason::Remote => (Some(Count::GoneRemote), "it closed the connection"),
            CloseReason::Failed => (Some(Count::GoneFailed), "the connection failed"),
            CloseReason::SlowConsumer => (Some(Count::GoneSlowConsumer), "it did not read what was sent to it"),
            CloseReason::SlowFrame => (Some(Count::GoneSlowFrame), "it did not end a message in time"),
            CloseReason::Crowded => (None, "it had not logged in, and others needed its place"),
            CloseReason::AddressGone => (Some(Count::GoneFailed), "this host has lost the address that it used"),
            CloseReason::Asked => (None, "it was closed"),
        };
        count.into_iter().for_each(|count| cx.count(count));
        self.release(conn, Some(why), cx);
        self.slots[conn.index as usize] = None;
        self.len -= 1;
        if self.len == 0 {
            self.sweep = None;
            cx.timers.stop(Reason::Silence);
        }
    }

    /// Descriptors are short: closes sessions that are idle, at most this many.
    pub(super) fn on_crowded(&mut self, excess: usize, cx: &mut Context) {
        for idle in self.idlest(excess, cx.now) {
            let why = "this super peer is full, and this session was idle longest".to_owned();
            self.close(idle.conn, Fault(ErrorCode::BUSY, why, Count::ClosedEvicted), cx);
        }
    }

    /// The oldest half-open session may have run out of time.
    pub(super) fn on_login_deadline(&mut self, cx: &mut Context) {
        while let Some(oldest) = self.oldest_half_open() {
            let deadline = self.half_open[0].1;
            if deadline > cx.now || cx.work.is_spent() {
                return cx.timers.set(Reason::Login, deadline);
            }
            let why = format!("no login within {} s", LOGIN_DEADLINE.as_secs());
            self.close(oldest, Fault(ErrorCode::DEADLINE, why, Count::ClosedDeadline), cx);
        }
    }

    /// A credential may have expired.
    pub(super) fn on_expiry(&mut self, cx: &mut Context) {
        while !cx.work.is_spent()
            && let Some(ended) = cx.logins.next_ended(cx.now)
        {
            self.close(ended, Refused::from(Refusal::Expired).into(), cx);
        }
        let next = cx.logins.next_end();
        cx.arm(Reason::Expiry, next);
    }

    /// Credentials were revoked: closes the sessions that used them. All others get REVOKED, as
    /// many per turn as its work allows.
    pub(super) fn on_revoked(&mut self, closed: &[ConnId], list: Vec<RevokedKey>, cx: &mut Context) {
        for conn in closed {
            self.close(*conn, Refused::from(Refusal::Revoked).into(), cx);
        }
        if !list.is_empty() {
            self.spread(Message::Revoked(Revoked { list }));
        }
    }

    /// Sends this message to each open session, to as many per turn as its work allows.
    pub(super) fn spread(&mut self, message: Message) {
        self.news.push_back(News { slot: 0, message });
    }

    /// The accounts were saved, or could not be: answers the sessions and clients that waited for
    /// it.
    pub(super) fn on_saved(&mut self, result: &Result<(), String>, cx: &mut Context) {
        for saved in cx.logins.on_saved(result.is_ok()) {
            match (saved, result) {
                (Saved::Enrolled(conn, enrolled), Ok(())) => {
                    if self.session(conn).is_some_and(|session| session.state == State::Login) {
                        cx.count(Count::Enrolled);
                        cx.send(conn, Message::Enrolled(enrolled));
                    }
                }
                (Saved::Enrolled(conn, _), Err(_)) => {
                    let why = "the super peer cannot save its accounts; try again later".to_owned();
                    self.close(conn, Fault(ErrorCode::INTERNAL, why, Count::AccountsUnsaved), cx);
                }
                (Saved::Command(client), result) => {
                    let outcome = match result {
                        Ok(()) => Outcome { ok: true, ..Outcome::default() },
                        Err(why) => {
                            let why = format!("the change holds until the super peer ends; it cannot be saved: {why}");
                            Outcome::failed(&Failure::new(Exit::Disk, why))
                        }
                    };
                    cx.report(Event::Client { client, event: ClientEvent::Done(outcome) });
                }
            }
        }
    }

    /// Some session may have been silent for too long. Looks at as many sessions as fit in one
    /// turn. The next turn looks at the others.
    pub(super) fn on_silence(&mut self, cx: &mut Context) {
        let limit = silence(&cx.config);
        // A session that is accepted or heard during the sweep cannot be silent for too long before
        // this time.
        let mut sweep = self.sweep.take().unwrap_or(Sweep { slot: 0, next: cx.now + limit });
        while sweep.slot < self.slots.len() {
            if cx.work.is_spent() {
                self.sweep = Some(sweep);
                return cx.timers.set(Reason::Silence, cx.now);
            }
            cx.work.add(usize::from(sweep.slot.is_multiple_of(SESSIONS_PER_WORK)));
            let index = sweep.slot;
            sweep.slot += 1;
            let Some(session) = &self.slots[index] else { continue };
            let deadline = session.heard + limit;
            if session.state.is_open() && deadline <= cx.now {
                let conn = ConnId { index: index as u32, generation: session.generation };
                let why = format!("nothing was heard for {} s", limit.as_secs());
                self.close(conn, Fault(ErrorCode::DEADLINE, why, Count::ClosedSilent), cx);
            } else {
                sweep.next = sweep.next.min(deadline);
            }
        }
        if self.len > 0 {
            cx.timers.set(Reason::Silence, sweep.next.max(cx.now + SWEEP_GAP));
        }
    }

    /// A query of the session runs now.
    pub(super) fn query_began(&mut self, conn: ConnId, req: u32, key: WaveKey) {
        if let Some(session) = self.session_mut(conn) {
            session.queries.get_or_insert_default().push((req, key));
        }
    }

    /// A query of the session has ended.
    pub(super) fn query_ended(&mut self, conn: ConnId, req: u32) {
        if let Some(session) = self.session_mut(conn) {
            session.take_query(req);
        }
    }

    /// The next query whose session has closed.
    pub(super) fn next_abandoned(&mut self) -> Option<Abandoned> {
        self.abandoned.pop_front()
    }

    /// Whether work is left over from the previous turn.
    pub(super) fn has_work(&self) -> bool {
        !self.abandoned.is_empty() || self.ending.is_some() || !self.news.is_empty() || !self.pages.is_empty()
    }

    /// The ACK of the last message, if it is due.
    pub(super) fn take_ack(&mut self) -> Option<(ConnId, Ack)> {
        self.ack.take()
    }

    /// The session whose last message has registered an address at which it was not reached yet. It
    /// must be dialed back.
    pub(super) fn take_served(&mut self) -> Option<ConnId> {
        self.served.take()
    }

    /// The peer of the session, if the session has registered where it serves.
    pub(super) fn peer(&self, conn: ConnId) -> Option<Peer> {
        let Session { ip, node, boot, takes_reach, holder, .. } = self.session(conn)?;
        Some(Peer { ip: *ip, node: *node, boot: *boot, holder: holder.get()?, reports: *takes_reach })
    }

    /// Too many ACKs wait for neighbors: closes this session, which has the most of them.
    pub(super) fn on_acks_full(&mut self, conn: ConnId, cx: &mut Context) {
        let why = "too many changes wait for this super peer's neighbors".to_owned();
        self.close(conn, Fault(ErrorCode::BUSY, why, Count::ClosedLimit), cx);
    }

    /// The super peer ends: sends BYE to every session and closes it, as many as fit in this turn.
    /// [`Sessions::run`] goes on.
    pub(super) fn close_all(&mut self, cx: &mut Context) {
        self.ending = Some(0);
        self.run(cx);
    }

    /// Continues [`Sessions::spread`] and [`Sessions::close_all`], as far as fits in this turn.
    pub(super) fn run(&mut self, cx: &mut Context) {
        self.spread_news(cx);
        while let Some(index) = self.ending
            && !cx.work.is_spent()
        {
            self.ending = Some(index + 1).filter(|next| *next < self.slots.len());
            let Some(session) = self.slots.get(index).and_then(Option::as_ref) else { continue };
            if session.state != State::Closing {
                let conn = ConnId { index: index as u32, generation: session.generation };
                cx.send(conn, Message::Bye(Bye { why: "the super peer ends".to_owned() }));
                cx.out.push(Output::Close { conn });
                self.release(conn, None, cx);
            }
        }
    }
}

impl Sessions {
    fn spread_news(&mut self, cx: &mut Context) {
        while let Some(News { slot, message }) = self.news.front_mut()
            && !cx.work.is_spent()
        {
            let index = *slot;
            *slot += 1;
            let Some(place) = self.slots.get(index) else {
                self.news.pop_front();
                continue;
            };
            cx.work.add(usize::from(index.is_multiple_of(SESSIONS_PER_WORK)));
            let Some(session) = place.as_ref().filter(|session| session.state.is_open()) else { continue };
            let conn = ConnId { index: index as u32, generation: session.generation };
            cx.work.add(OUTPUT_WORK);
            cx.send(conn, message.clone());
        }
    }
}

fn silence(config: &SuperPeerConfig) -> Duration {
    config.ping * SILENT_PINGS
}

#[cfg(test)]
mod tests;
