//! Which super peer of the list a session tries next, and what to report if none accepts. It owns
//! the list and the failures so far. It dials nothing and sets no timer.
//!
//! A round tries each super peer of the list once. Between two rounds there is a wait with full
//! jitter, longer each time.

use std::time::Duration;

use crate::config::{RECONNECT_FIRST, RECONNECT_MAX, RECONNECT_MAX_LATER, RECONNECT_SOON};
use crate::error::{Exit, Failure};
use crate::wire::{HostPort, NodeId};

/// The super peer that a session uses or tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Its place in the list; none if the session tries none.
    pub(super) place: Option<usize>,
    /// Its node id, once it has sent WELCOME.
    pub(super) node: Option<NodeId>,
}

/// The list of super peers, as one session uses it.
#[derive(Debug)]
pub(super) struct Candidates {
    supers: Vec<HostPort>,
    /// The place in the list of the super peer that the session uses or tried last.
    pub(super) current: usize,
    /// If this peer has two sessions: the target of the other session. This session leaves that
    /// super peer out.
    pub(super) other: Option<Target>,
    /// Dials since a session last stayed up for long enough.
    tries: usize,
    /// Failures of this round that another try would not change, because of the version or the
    /// login.
    refusals: Vec<Failure>,
    /// How many super peers of this round rejected the login.
    rejections: usize,
    /// The last rejection, if every super peer of the last round rejected the login.
    rejected: Option<Failure>,
    last_failure: Option<String>,
    /// The reason of the last super peer that answered and opened no session.
    declined: Option<String>,
}

impl Candidates {
    /// Begins with the super peer at the place `first` of the list, modulo its length.
    pub(super) fn new(supers: Vec<HostPort>, first: usize) -> Candidates {
        let current = first % supers.len().max(1);
        let (refusals, rejections, rejected) = (Vec::new(), 0, None);
        let (other, tries, last_failure, declined) = (None, 0, None, None);
        Candidates { supers, current, other, tries, refusals, rejections, rejected, last_failure, declined }
    }

    /// The super peer that the session uses or tried last.
    pub(super) fn addr(&self) -> &HostPort {
        &self.supers[self.current]
    }

    /// All super peers of the list.
    pub(super) fn all(&self) -> &[HostPort] {
        &self.supers
    }

    /// The super peer of the last try, and why it failed.
    pub(super) fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// The super peer to dial now: the current one, or the next one that the other session does not
    /// use.
    pub(super) fn choose(&mut self) -> Option<&HostPort> {
        let all = self.supers.len();
        let taken = self.other.and_then(|other| other.place);
        let free = (0..all).map(|step| (self.current + step) % all).find(|place| Some(*place) != taken);
        self.tries += 1;
        self.current = free?;
        Some(self.addr())
    }

    /// Moves on to the next super peer. Returns whether the round goes on.
    pub(super) fn advance(&mut self) -> bool {
        self.current = (self.current + 1) % self.supers.len();
        !self.tries.is_multiple_of(self.round())
    }

    /// Whether every super peer of the round has refused for good. If there are two sessions, the
    /// other one may still open; then the connect timeout decides.
    pub(super) fn all_refuse(&self) -> bool {
        self.refusals.len() >= self.round() && self.other.is_none()
    }

    /// Ends a round.
    pub(super) fn end_round(&mut self) {
        let last = self.refusals.iter().rfind(|refusal| refusal.exit == Exit::LoginRejected);
        self.rejected = last.filter(|_| self.rejections >= self.round()).cloned();
        self.rejections = 0;
        let kept = usize::from(self.other.is_some());
        self.refusals.drain(..self.refusals.len().saturating_sub(kept));
    }

    /// The longest wait before the next round. `without` is how long there has been no session.
    pub(super) fn longest_wait(&self, without: Duration) -> Duration {
        let max = if without < RECONNECT_SOON { RECONNECT_MAX } else { RECONNECT_MAX_LATER };
        let rounds = (self.tries / self.round()).saturating_sub(1);
        let doublings = u32::try_from(rounds).unwrap_or(u32::MAX).min(16);
        RECONNECT_FIRST.saturating_mul(1 << doublings).min(max)
    }

    /// How many super peers of the list the session may try.
    fn round(&self) -> usize {
        let taken = usize::from(self.other.is_some_and(|other| other.place.is_some()));
        self.supers.len().saturating_sub(taken).max(1)
    }

    /// The current super peer opened a session.
    pub(super) fn on_up(&mut self) {
        self.refusals.clear();
        (self.rejections, self.rejected, self.declined) = (0, None, None);
    }

    /// A session was up for long enough: the next wait is the shortest again.
    pub(super) fn on_held(&mut self) {
        self.tries = 1;
    }

    /// The current super peer failed.
    pub(super) fn on_failed(&mut self, why: &str) {
        self.last_failure = Some(format!("{}: {why}", self.addr()));
    }

    /// The current super peer refused for good.
    pub(super) fn on_refused(&mut self, exit: Exit, why: &str) {
        self.rejections += usize::from(exit == Exit::LoginRejected);
        self.refusals.push(Failure::new(exit, format!("the super peer at {}: {why}", self.addr())));
    }

    /// The current super peer answered that it opens no session now.
    pub(super) fn on_declined(&mut self, why: &str) {
        self.declined = Some(format!("{}: {why}", self.addr()));
    }

    /// The last rejection, if every super peer of the last round rejected the login.
    pub(super) fn rejected(&self) -> Option<&Failure> {
        self.rejected.as_ref()
    }

    /// The next round begins early, to see whether the login is still rejected.
    pub(super) fn forget_rejection(&mut self) {
        self.rejected = None;
    }

    /// Whether a super peer refused for good.
    pub(super) fn was_refused(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Why no session opens.
    pub(super) fn failure(&mut self) -> Failure {
        self.refusals.pop().unwrap_or_else(|| {
            let all = self.supers.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", ");
            let last = self.last_failure.as_deref().unwrap_or("no answer yet");
            let why = match &self.declined {
                Some(why) => format!("no super peer at {all} opens a session ({why})"),
                None => format!("no super peer answers at {all} (last: {last}); is `sprat super` running there?"),
            };
            Failure::new(Exit::Unreachable, why)
        })
    }
}
