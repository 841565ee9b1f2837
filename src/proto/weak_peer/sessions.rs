//! The sessions of a weak peer: with one super peer, or with two at once. It owns the sessions and keeps them apart: each knows
//! whom the other is with. What a session says and does is [`super::session`]'s.

use std::time::Duration;

use super::announce::Share;
use super::context::{Desk, Reason};
use super::session::{News, Session, SessionId};
use crate::config::SUPER_SESSIONS_MAX;
use crate::error::{Exit, Failure};
use crate::proto::weak_peer::Offer;
use crate::wire::{HostPort, Message};

/// See the module's words.
pub(super) struct Sessions {
    sessions: Vec<Session>,
    named: bool,
    connect_timeout: Duration,
    /// What was found out about all of them.
    never: Option<Failure>,
}

impl Sessions {
    pub(super) fn new(
        supers: &[HostPort],
        offer: Option<&Offer>,
        connect_timeout: Duration,
        sessions: usize,
    ) -> Sessions {
        assert!((1..=SUPER_SESSIONS_MAX).contains(&sessions), "one session, or two");
        let ids = (0..).map(SessionId).take(sessions);
        let sessions = ids.map(|id| Session::new(id, supers.to_vec(), offer.cloned())).collect();
        Sessions { sessions, named: !supers.is_empty(), connect_timeout, never: None }
    }

    /// How many sessions there should be.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions that are up, in their order.
    pub(super) fn up(&self) -> impl Iterator<Item = SessionId> + '_ {
        (0..).map(SessionId).zip(&self.sessions).filter(|(_, session)| session.is_up()).map(|(id, _)| id)
    }

    /// Whether any is.
    pub(super) fn is_up(&self) -> bool {
        self.up().next().is_some()
    }

    /// Whether no session has come about yet; then [`News::Never`] tells when to stop waiting.
    pub(super) fn is_new(&self) -> bool {
        self.sessions.iter().all(Session::is_new)
    }

    /// The super peer of a session that is up.
    pub(super) fn super_peer(&self, session: SessionId) -> Option<&HostPort> {
        self.sessions.get(usize::from(session.0))?.super_peer()
    }

    /// Whether others are told that we serve chunks there.
    pub(super) fn is_own(&self, addr: &HostPort) -> bool {
        self.sessions.iter().any(|session| session.own_addr() == Some(addr))
    }

    /// Sessions that were lost.
    pub(super) fn sessions_lost(&self) -> u64 {
        self.sessions.iter().map(|session| session.sessions_lost).sum()
    }

    /// One session, which is told whom the other is with.
    pub(super) fn at(&mut self, session: SessionId) -> &mut Session {
        let at = usize::from(session.0);
        let other = self.sessions.iter().enumerate().find(|(i, _)| *i != at).map(|(_, other)| other.whereabouts());
        self.sessions[at].other = other;
        &mut self.sessions[at]
    }

    pub(super) fn start(&mut self, desk: &mut Desk) {
        if !self.named {
            self.never = Some(Failure::new(Exit::Usage, "no super peer is named; give one with --super HOST:PORT"));
            return;
        }
        desk.timers.set(Reason::ConnectTimeout, desk.now + self.connect_timeout);
        for session in self.ids() {
            self.at(session).dial(desk);
        }
    }

    pub(super) fn on_connect_timeout(&mut self, desk: &mut Desk) {
        if !self.is_new() {
            return;
        }
        let refused = self.sessions.iter().position(Session::was_refused).unwrap_or(0);
        let mut failures: Vec<_> = self.sessions.iter_mut().map(|session| session.give_up(desk)).collect();
        self.never = Some(failures.swap_remove(refused));
    }

    pub(super) fn poll_news(&mut self, desk: &mut Desk) -> Option<(SessionId, News)> {
        if let Some(failure) = self.never.take() {
            return Some((SessionId(0), News::Never(failure)));
        }
        let (session, news) = self.ids().find_map(|id| Some((id, self.at(id).poll_news()?)))?;
        if matches!(news, News::Up | News::Never(_)) {
            desk.timers.stop(Reason::ConnectTimeout);
        }
        Some((session, news))
    }

    /// Sends a request over a session under a number of its own, if that is up.
    pub(super) fn ask(
        &mut self,
        desk: &mut Desk,
        session: SessionId,
        request: impl FnOnce(u32) -> Message,
    ) -> Option<u32> {
        self.at(session).ask(desk, request)
    }

    /// Sends a message that expects no answer, if the session is up.
    pub(super) fn tell(&mut self, desk: &mut Desk, session: SessionId, message: Message) {
        self.at(session).tell(desk, message);
    }

    /// Sends what of the share the super peers do not know.
    pub(super) fn flush(&mut self, desk: &mut Desk, share: &mut Share) {
        self.sessions.iter_mut().for_each(|session| session.flush(desk, share));
    }

    /// No session any more and none to come.
    pub(super) fn end(&mut self, desk: &mut Desk, why: &str) {
        self.sessions.iter_mut().for_each(|session| session.end(desk, why));
        desk.timers.stop(Reason::ConnectTimeout);
    }

    fn ids(&self) -> impl Iterator<Item = SessionId> + use<> {
        (0..).map(SessionId).take(self.sessions.len())
    }
}
