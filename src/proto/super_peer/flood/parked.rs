//! How many bytes of hits were sent to each session, and which queries wait because their session
//! has got enough. In one turn a session gets hits of up to [`SESSION_BYTES_PER_TURN`]. If it does
//! not read them, it gets no more until it has read them. So a session that never reads costs
//! little more than its queries.
//!
//! It holds only the keys of the queries. A query that waits here is not in the fair queue.

use std::collections::BTreeMap;

use crate::config::SESSION_BYTES_PER_TURN;
use crate::proto::ConnId;
use crate::proto::super_peer::ids::WaveKey;
use crate::time::Time;

/// The sessions that were sent hits in this turn, and those that do not read.
#[derive(Debug, Default)]
pub(super) struct Parked {
    now: Time,
    /// Whether [`Parked::begin_leftover`] was called at that time.
    ran: bool,
    reading: Reading,
    /// The queries of sessions that read which wait for the next turn. Few turns have some.
    waiting: BTreeMap<ConnId, Queries>,
    unread: BTreeMap<ConnId, Unread>,
    /// Whether a query of a session that reads waits for the next turn.
    waits: bool,
}

/// The queries of one session that have work left, in ascending order.
#[derive(Debug, Default)]
struct Queries(Vec<WaveKey>);

/// A session that does not read.
#[derive(Debug, Default)]
struct Unread {
    /// Bytes of hits that were sent to it since it stopped reading.
    sent: usize,
    queries: Queries,
}

/// The bytes of hits that were sent to each session in one turn, ordered by session. A turn serves
/// few sessions, so a list is enough. Its memory is used again.
#[derive(Debug, Default)]
struct Reading {
    list: Vec<(ConnId, usize)>,
    /// Where the last session was found: the queries of a session come one after the other.
    last: usize,
}

impl Reading {
    #[inline]
    fn place(&self, conn: ConnId) -> Result<usize, usize> {
        match self.list.get(self.last) {
            Some((last, _)) if *last == conn => Ok(self.last),
            Some(_) | None => self.list.binary_search_by_key(&conn, |(conn, _)| *conn),
        }
    }

    /// What was sent to a session, if anything was.
    #[inline(always)]
    fn sent(&self, conn: ConnId) -> Option<usize> {
        self.place(conn).ok().map(|at| self.list[at].1)
    }

    fn add(&mut self, conn: ConnId, bytes: usize) {
        match self.place(conn) {
            Ok(at) => {
                self.list[at].1 += bytes;
                self.last = at;
            }
            Err(at) => {
                self.list.insert(at, (conn, bytes));
                self.last = at;
            }
        }
    }

    fn remove(&mut self, conn: ConnId) {
        if let Ok(at) = self.place(conn) {
            self.list.remove(at);
        }
    }
}

/// Whether a session that was sent this many bytes gets no more for now.
fn is_full(sent: usize) -> bool {
    sent >= SESSION_BYTES_PER_TURN
}

impl Queries {
    fn add(&mut self, key: WaveKey) {
        if let Err(at) = self.0.binary_search(&key) {
            self.0.insert(at, key);
        }
    }

    fn remove(&mut self, key: WaveKey) {
        if let Ok(at) = self.0.binary_search(&key) {
            self.0.remove(at);
        }
    }
}

impl Parked {
    /// The session does not read.
    pub(super) fn begin(&mut self, conn: ConnId) {
        self.reading.remove(conn);
        let unread = self.unread.entry(conn).or_default();
        let waiting = self.waiting.remove(&conn).unwrap_or_default();
        waiting.0.into_iter().for_each(|key| unread.queries.add(key));
    }

    /// The session reads again, or is gone. Returns its queries.
    pub(super) fn end(&mut self, conn: ConnId) -> Vec<WaveKey> {
        self.unread.remove(&conn).unwrap_or_default().queries.0
    }

    /// The work that was left over begins. If this is a new turn, returns the queries that waited
    /// for it. It is no new turn if other work has already sent hits at this time.
    pub(super) fn begin_leftover(&mut self, now: Time) -> Vec<WaveKey> {
        let new = now != self.now || self.ran;
        (self.now, self.ran) = (now, true);
        self.waits &= !new;
        if !new {
            return Vec::new();
        }
        self.reading.list.clear();
        std::mem::take(&mut self.waiting).into_values().flat_map(|queries| queries.0).collect()
    }

    /// Whether queries wait here for the next turn.
    pub(super) fn has_work(&self) -> bool {
        self.waits
    }

    /// Hits of this many bytes are sent to the session.
    #[inline(always)]
    pub(super) fn note_sent(&mut self, now: Time, conn: ConnId, bytes: usize) {
        self.renew(now);
        // Mostly every session reads.
        if !self.unread.is_empty()
            && let Some(session) = self.unread.get_mut(&conn)
        {
            session.sent += bytes;
        } else if bytes > 0 {
            self.reading.add(conn, bytes);
        }
    }

    /// Whether the queries of the session must wait now.
    #[inline(always)]
    pub(super) fn must_wait(&mut self, now: Time, conn: ConnId) -> bool {
        self.renew(now);
        !self.unread.is_empty() && self.unread.contains_key(&conn) || self.reading.sent(conn).is_some_and(is_full)
    }

    /// Whether a neighbor's hit is accepted for the session. A turn reads few datagrams, so only
    /// sessions that do not read have a limit here.
    pub(super) fn has_room(&self, conn: ConnId) -> bool {
        self.unread.get(&conn).is_none_or(|session| !is_full(session.sent))
    }

    /// Parks a query with work left if its session must wait. Returns whether the session must
    /// wait.
    pub(super) fn park(&mut self, now: Time, session: Option<(ConnId, u32)>, key: WaveKey) -> bool {
        let Some((conn, _)) = session.filter(|(conn, _)| self.must_wait(now, *conn)) else { return false };
        if let Some(session) = self.unread.get_mut(&conn) {
            session.queries.add(key);
        } else {
            self.waiting.entry(conn).or_default().add(key);
            self.waits = true;
        }
        true
    }

    /// Removes the query, if it waits here.
    pub(super) fn forget(&mut self, session: Option<(ConnId, u32)>, key: WaveKey) {
        let Some((conn, _)) = session else { return };
        if let Some(session) = self.unread.get_mut(&conn) {
            session.queries.remove(key);
        } else if let Some(queries) = self.waiting.get_mut(&conn) {
            queries.remove(key);
        }
    }

    /// Each query is listed under its own session.
    pub(super) fn check_invariants(&self, session_of: impl Fn(WaveKey) -> Option<(ConnId, u32)>) {
        let is_of = |key: &WaveKey, conn: &ConnId| session_of(*key).is_some_and(|(owner, _)| owner == *conn);
        assert!(self.reading.list.is_sorted_by(|(one, _), (next, _)| one < next));
        let unread = self.unread.iter().map(|(conn, session)| (conn, &session.queries));
        for (conn, queries) in unread.chain(&self.waiting) {
            assert!(queries.0.iter().all(|key| is_of(key, conn)));
            assert!(queries.0.is_sorted_by(|one, next| one < next));
        }
        assert!(self.waits || self.waiting.is_empty());
        assert!(self.waiting.keys().all(|conn| self.reading.sent(*conn).is_some()));
        assert!(self.unread.keys().all(|conn| self.reading.sent(*conn).is_none()));
    }

    /// Forgets what was sent in an earlier turn, unless queries wait for
    /// [`Parked::begin_leftover`].
    #[inline(always)]
    fn renew(&mut self, now: Time) {
        if now != self.now && !self.waits {
            self.forget_turn(now);
        }
    }

    #[inline(never)]
    fn forget_turn(&mut self, now: Time) {
        (self.now, self.ran) = (now, false);
        self.reading.list.clear();
    }
}
