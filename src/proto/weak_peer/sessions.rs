//! The sessions of a weak peer, with one super peer or with two at once. It owns the sessions, and
//! makes sure that they use different super peers. Within a session it decides nothing:
//! [`super::session`] does.

use std::net::IpAddr;
use std::time::Duration;

use super::announce::Announcements;
use super::config::Offer;
use super::contact::{Contact, Peer};
use super::context::{Context, Reason, SessionId};
use super::session::{Session, SessionEvent};
use crate::config::SUPER_SESSIONS_MAX;
use crate::error::{Exit, Failure};
use crate::proto::event::{SuperState, SuperStatus};
use crate::time::Time;
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, NodeId};

/// All sessions of one weak peer.
pub(super) struct Sessions {
    sessions: Vec<Session>,
    /// The first super peer of the list.
    first: Option<HostPort>,
    connect_timeout: Duration,
    /// The node and port that hits name for this peer, if it serves.
    own: Option<Peer>,
    /// Why no session will open, until this is reported.
    never: Option<Failure>,
}

impl Sessions {
    /// `count` sessions with super peers of the list. None has begun.
    ///
    /// # Panics
    /// Unless `count` is 1 to [`SUPER_SESSIONS_MAX`].
    pub(super) fn new(
        node: NodeId,
        (supers, offer): (&[HostPort], Option<&Offer>),
        connect_timeout: Duration,
        count: usize,
    ) -> Sessions {
        let own = offer.map(|offer| (node, offer.port));
        assert!((1..=SUPER_SESSIONS_MAX).contains(&count), "one session, or two");
        let ids = (0..).map(SessionId).take(count);
        let sessions = ids.map(|id| Session::new(id, supers.to_vec(), offer.cloned())).collect();
        Sessions { sessions, first: supers.first().cloned(), connect_timeout, own, never: None }
    }

    /// How many sessions there should be.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions that are up, in their order.
    pub(super) fn up(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.ids().zip(&self.sessions).filter(|(_, session)| session.is_up()).map(|(id, _)| id)
    }

    /// Whether a session is up.
    pub(super) fn is_up(&self) -> bool {
        self.up().next().is_some()
    }

    /// Whether this peer serves files. A one-shot command does not.
    pub(super) fn serves(&self) -> bool {
        self.sessions.iter().any(Session::serves)
    }

    /// Whether no session has opened yet. Then [`SessionEvent::Never`] ends the wait for a session.
    pub(super) fn is_new(&self) -> bool {
        self.sessions.iter().all(Session::is_new)
    }

    /// If no session is up because every super peer rejects the login: the last rejection.
    pub(super) fn rejected(&self) -> Option<&Failure> {
        let rejected = self.sessions.iter().map(|session| session.candidates.rejected());
        rejected.reduce(|one, other| one.and(other)).flatten().filter(|_| !self.is_up())
    }

    /// The super peer of a session that is up.
    pub(super) fn super_peer(&self, session: SessionId) -> Option<&HostPort> {
        self.sessions.get(usize::from(session.0))?.super_peer()
    }

    /// Commands wait although every super peer rejects the login.
    pub(super) fn hurry(&mut self, cx: &mut Context) {
        self.ids().for_each(|session| self.at(session).hurry(cx));
    }

    /// Our address on the connection of a session, if it is known.
    pub(super) fn here(&self, session: SessionId) -> Option<IpAddr> {
        self.sessions.get(usize::from(session.0))?.here
    }

    /// The super peers of the sessions that are up. If no session is up, the first super peer that
    /// is known.
    pub(super) fn super_peers(&self) -> impl Iterator<Item = &HostPort> {
        let mut up = self.sessions.iter().filter_map(Session::super_peer).peekable();
        let known = if up.peek().is_none() { self.first.as_ref() } else { None };
        up.chain(known)
    }

    /// Whether a hit, in its canonical form, names this peer itself.
    pub(super) fn is_own_hit(&self, hit: &SourceRecord) -> bool {
        self.is_own(&hit.into())
    }

    /// Whether a source is this peer itself, at any address.
    pub(super) fn is_own(&self, at: &Contact) -> bool {
        let is_own_addr =
            |session: &Session| session.own_addr.as_ref().map(HostPort::canonical).as_ref() == Some(&at.addr);
        (self.own.is_some() && at.peer() == self.own) || self.sessions.iter().any(is_own_addr)
    }

    /// The super peers for STATUS: those of the sessions, then the others of the list.
    pub(super) fn status(&self, now: Time) -> Vec<SuperStatus> {
        if self.first.is_none() {
            return Vec::new();
        }
        let mut supers: Vec<_> = self.sessions.iter().map(|session| session.status(now)).collect();
        let all = self.sessions.first().map_or(&[][..], |session| session.candidates.all());
        for addr in all {
            if !supers.iter().any(|used| used.addr == *addr) {
                let (addr, state) = (addr.clone(), SuperState::Spare);
                supers.push(SuperStatus { addr, state, since_ms: None, retry_ms: None, why: None, unreached: None });
            }
        }
        supers
    }

    /// The addresses under which the super peers of the sessions that are up offer this peer.
    pub(super) fn own_addresses(&self) -> Vec<HostPort> {
        let up = self.sessions.iter().filter(|session| session.is_up());
        let mut all: Vec<_> = up.filter_map(|session| session.own_addr.clone()).collect();
        all.dedup();
        all
    }

    /// How many sessions were lost.
    pub(super) fn lost(&self) -> u64 {
        self.sessions.iter().map(|session| session.lost).sum()
    }

    /// One session, after it has got the target of the other session.
    pub(super) fn at(&mut self, session: SessionId) -> &mut Session {
        let at = usize::from(session.0);
        let other = self.sessions.iter().enumerate().find(|(i, _)| *i != at).map(|(_, other)| other.target());
        self.sessions[at].candidates.other = other;
        &mut self.sessions[at]
    }

    pub(super) fn start(&mut self, cx: &mut Context) {
        if self.first.is_none() {
            self.never = Some(Failure::new(Exit::Usage, "no super peer is named; give one with --super HOST:PORT"));
            return;
        }
        cx.timers.set(Reason::ConnectTimeout, cx.now + self.connect_timeout);
        self.ids().for_each(|session| self.at(session).dial(cx));
    }

    pub(super) fn on_connect_timeout(&mut self, cx: &mut Context) {
        if self.is_new() {
            let was_refused = |session: &Session| session.candidates.was_refused();
            let refused = self.sessions.iter().position(was_refused).unwrap_or(0);
            let mut failures: Vec<_> = self.sessions.iter_mut().map(|session| session.give_up(cx)).collect();
            self.never = Some(failures.swap_remove(refused));
        }
    }

    pub(super) fn poll_event(&mut self, cx: &mut Context) -> Option<(SessionId, SessionEvent)> {
        if let Some(failure) = self.never.take() {
            return Some((SessionId(0), SessionEvent::Never(failure)));
        }
        let (session, event) = self.ids().find_map(|id| Some((id, self.at(id).poll_event()?)))?;
        if matches!(event, SessionEvent::Up | SessionEvent::Never(_)) {
            cx.timers.stop(Reason::ConnectTimeout);
        }
        Some((session, event))
    }

    /// Sends each super peer the announcements that it lacks.
    pub(super) fn flush(&mut self, cx: &mut Context, announcements: &mut Announcements) {
        self.sessions.iter_mut().for_each(|session| session.flush(cx, announcements));
    }

    /// Ends all sessions for good: no other session opens.
    pub(super) fn end(&mut self, cx: &mut Context, why: &str) {
        self.sessions.iter_mut().for_each(|session| session.end(cx, why));
        cx.timers.stop(Reason::ConnectTimeout);
    }

    fn ids(&self) -> impl Iterator<Item = SessionId> + use<> {
        (0..).map(SessionId).take(self.sessions.len())
    }
}
