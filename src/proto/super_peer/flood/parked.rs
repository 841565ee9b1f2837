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
    unread: BTreeMap<ConnId, SessionQueries>,
    /// Whether a query of a session that reads waits for the next turn.
    waits: bool,
}

/// The queries of one session, and the bytes that it was sent.
#[derive(Debug, Default)]
struct SessionQueries {
    /// Bytes of hits that were sent to it: in this turn, or since it stopped reading.
    sent: usize,
    /// Its queries that have work left, in ascending order. A session has few, and most have none:
    /// an empty list is dropped at no cost.
    queries: Vec<WaveKey>,
}

/// The queries of one turn, ordered by session. A turn serves few sessions, so a list is enough.
/// Its memory is used again.
#[derive(Debug, Default)]
struct Reading {
    list: Vec<(ConnId, SessionQueries)>,
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

    fn find(&self, conn: ConnId) -> Option<&SessionQueries> {
        self.place(conn).ok().map(|at| &self.list[at].1)
    }

    fn find_mut(&mut self, conn: ConnId) -> Option<&mut SessionQueries> {
        self.place(conn).ok().map(|at| &mut self.list[at].1)
    }

    /// The entry of a session; it is added if it is missing.
    fn queries_of(&mut self, conn: ConnId) -> &mut SessionQueries {
        self.last = self.place(conn).unwrap_or_else(|at| {
            self.list.insert(at, (conn, SessionQueries::default()));
            at
        });
        &mut self.list[self.last].1
    }

    fn remove(&mut self, conn: ConnId) -> SessionQueries {
        self.place(conn).map(|at| self.list.remove(at).1).unwrap_or_default()
    }
}

impl SessionQueries {
    fn is_full(&self) -> bool {
        self.sent >= SESSION_BYTES_PER_TURN
    }

    fn add(&mut self, key: WaveKey) {
        if let Err(at) = self.queries.binary_search(&key) {
            self.queries.insert(at, key);
        }
    }

    fn remove(&mut self, key: WaveKey) {
        if let Ok(at) = self.queries.binary_search(&key) {
            self.queries.remove(at);
        }
    }
}

impl Parked {
    /// The session does not read.
    pub(super) fn begin(&mut self, conn: ConnId) {
        let SessionQueries { queries, .. } = self.reading.remove(conn);
        let unread = self.unread.entry(conn).or_default();
        queries.into_iter().for_each(|key| unread.add(key));
    }

    /// The session reads again, or is gone. Returns its queries.
    pub(super) fn end(&mut self, conn: ConnId) -> Vec<WaveKey> {
        self.unread.remove(&conn).unwrap_or_default().queries
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
        self.reading.list.drain(..).flat_map(|(_, session)| session.queries).collect()
    }

    /// Whether queries wait here for the next turn.
    pub(super) fn has_work(&self) -> bool {
        self.waits
    }

    /// Hits of this many bytes are sent to the session.
    pub(super) fn note_sent(&mut self, now: Time, conn: ConnId, bytes: usize) {
        self.renew(now);
        match self.unread.get_mut(&conn) {
            Some(session) => session.sent += bytes,
            None if bytes > 0 => self.reading.queries_of(conn).sent += bytes,
            None => {}
        }
    }

    /// Whether the queries of the session must wait now.
    pub(super) fn must_wait(&mut self, now: Time, conn: ConnId) -> bool {
        self.renew(now);
        self.unread.contains_key(&conn) || self.reading.find(conn).is_some_and(SessionQueries::is_full)
    }

    /// Whether a neighbor's hit is accepted for the session. A turn reads few datagrams, so only
    /// sessions that do not read have a limit here.
    pub(super) fn has_room(&self, conn: ConnId) -> bool {
        self.unread.get(&conn).is_none_or(|session| !session.is_full())
    }

    /// Parks a query with work left if its session must wait. Returns whether the session must
    /// wait.
    pub(super) fn park(&mut self, now: Time, session: Option<(ConnId, u32)>, key: WaveKey) -> bool {
        let Some((conn, _)) = session.filter(|(conn, _)| self.must_wait(now, *conn)) else { return false };
        if let Some(session) = self.queries_of(conn) {
            session.add(key);
        }
        self.waits |= self.reading.find(conn).is_some();
        true
    }

    /// Removes the query, if it waits here.
    pub(super) fn forget(&mut self, session: Option<(ConnId, u32)>, key: WaveKey) {
        if let Some(session) = session.and_then(|(conn, _)| self.queries_of(conn)) {
            session.remove(key);
        }
    }

    /// Each query is listed under its own session.
    pub(super) fn check_invariants(&self, session_of: impl Fn(WaveKey) -> Option<(ConnId, u32)>) {
        let is_of = |key: &WaveKey, conn: &ConnId| session_of(*key).is_some_and(|(owner, _)| owner == *conn);
        assert!(self.reading.list.is_sorted_by(|(one, _), (next, _)| one < next));
        let reading = self.reading.list.iter().map(|(conn, session)| (conn, session));
        for (conn, session) in reading.chain(&self.unread) {
            assert!(session.queries.iter().all(|key| is_of(key, conn)));
            assert!(session.queries.is_sorted_by(|one, next| one < next));
        }
        assert!(self.waits || self.reading.list.iter().all(|(_, session)| session.queries.is_empty()));
        assert!(self.unread.keys().all(|conn| self.reading.find(*conn).is_none()));
    }

    /// Forgets what was sent in an earlier turn, unless queries wait for
    /// [`Parked::begin_leftover`].
    fn renew(&mut self, now: Time) {
        if now != self.now && !self.waits {
            (self.now, self.ran) = (now, false);
            self.reading.list.clear();
        }
    }

    fn queries_of(&mut self, conn: ConnId) -> Option<&mut SessionQueries> {
        self.unread.get_mut(&conn).or_else(|| self.reading.find_mut(conn))
    }
}
