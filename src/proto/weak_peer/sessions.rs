//! The sessions of a weak peer: with one super peer, or with two at once. It owns the sessions and keeps them apart: each knows
//! whom the other is with. What a session says and does is [`super::session`]'s.

use std::time::Duration;

use super::announce::Share;
use super::context::{Desk, Reason};
use super::session::{Home, HomeId, News};
use crate::config::HOMES_MAX;
use crate::error::{Exit, Failure};
use crate::proto::weak_peer::Offer;
use crate::wire::{HostPort, Message};

/// See the module's words.
pub(super) struct Homes {
    homes: Vec<Home>,
    named: bool,
    connect_timeout: Duration,
    /// What was found out about all of them.
    never: Option<Failure>,
}

impl Homes {
    pub(super) fn new(supers: &[HostPort], offer: Option<&Offer>, connect_timeout: Duration, sessions: usize) -> Homes {
        assert!((1..=HOMES_MAX).contains(&sessions), "one session, or two");
        let ids = (0..).map(HomeId).take(sessions);
        let homes = ids.map(|id| Home::new(id, supers.to_vec(), offer.cloned())).collect();
        Homes { homes, named: !supers.is_empty(), connect_timeout, never: None }
    }

    /// How many sessions there should be.
    pub(super) fn len(&self) -> usize {
        self.homes.len()
    }

    /// The sessions that are up, in their order.
    pub(super) fn up(&self) -> impl Iterator<Item = HomeId> + '_ {
        (0..).map(HomeId).zip(&self.homes).filter(|(_, home)| home.is_up()).map(|(id, _)| id)
    }

    /// Whether any is.
    pub(super) fn is_up(&self) -> bool {
        self.up().next().is_some()
    }

    /// Whether no session has come about yet; then [`News::Never`] tells when to stop waiting.
    pub(super) fn is_new(&self) -> bool {
        self.homes.iter().all(Home::is_new)
    }

    /// The super peer of a session that is up.
    pub(super) fn super_peer(&self, home: HomeId) -> Option<&HostPort> {
        self.homes.get(usize::from(home.0))?.super_peer()
    }

    /// Whether others are told that we serve chunks there.
    pub(super) fn is_own(&self, addr: &HostPort) -> bool {
        self.homes.iter().any(|home| home.own_addr() == Some(addr))
    }

    /// Sessions that were lost.
    pub(super) fn sessions_lost(&self) -> u64 {
        self.homes.iter().map(|home| home.sessions_lost).sum()
    }

    /// One session, which is told whom the other is with.
    pub(super) fn at(&mut self, home: HomeId) -> &mut Home {
        let at = usize::from(home.0);
        let other = self.homes.iter().enumerate().find(|(i, _)| *i != at).map(|(_, other)| other.whereabouts());
        self.homes[at].other = other;
        &mut self.homes[at]
    }

    pub(super) fn start(&mut self, desk: &mut Desk) {
        if !self.named {
            self.never = Some(Failure::new(Exit::Usage, "no super peer is named; give one with --super HOST:PORT"));
            return;
        }
        desk.timers.set(Reason::ConnectTimeout, desk.now + self.connect_timeout);
        for home in self.ids() {
            self.at(home).dial(desk);
        }
    }

    pub(super) fn on_connect_timeout(&mut self, desk: &mut Desk) {
        if !self.is_new() {
            return;
        }
        let refused = self.homes.iter().position(Home::was_refused).unwrap_or(0);
        let mut failures: Vec<_> = self.homes.iter_mut().map(|home| home.give_up(desk)).collect();
        self.never = Some(failures.swap_remove(refused));
    }

    pub(super) fn poll_news(&mut self, desk: &mut Desk) -> Option<(HomeId, News)> {
        if let Some(failure) = self.never.take() {
            return Some((HomeId(0), News::Never(failure)));
        }
        let (home, news) = self.ids().find_map(|id| Some((id, self.at(id).poll_news()?)))?;
        if matches!(news, News::Up | News::Never(_)) {
            desk.timers.stop(Reason::ConnectTimeout);
        }
        Some((home, news))
    }

    /// Sends a request over a session under a number of its own, if that is up.
    pub(super) fn ask(&mut self, desk: &mut Desk, home: HomeId, request: impl FnOnce(u32) -> Message) -> Option<u32> {
        self.at(home).ask(desk, request)
    }

    /// Sends a message that expects no answer, if the session is up.
    pub(super) fn tell(&mut self, desk: &mut Desk, home: HomeId, message: Message) {
        self.at(home).tell(desk, message);
    }

    /// Sends what of the share the super peers do not know.
    pub(super) fn flush(&mut self, desk: &mut Desk, share: &mut Share) {
        self.homes.iter_mut().for_each(|home| home.flush(desk, share));
    }

    /// No session any more and none to come.
    pub(super) fn end(&mut self, desk: &mut Desk, why: &str) {
        self.homes.iter_mut().for_each(|home| home.end(desk, why));
        desk.timers.stop(Reason::ConnectTimeout);
    }

    fn ids(&self) -> impl Iterator<Item = HomeId> + use<> {
        (0..).map(HomeId).take(self.homes.len())
    }
}
