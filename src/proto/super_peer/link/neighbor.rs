//! One link: its state, by the table of PROTOCOL.md 6.4, and its deadlines. It sends nothing.

use std::net::{IpAddr, SocketAddr};

use super::lookup::Lookup;
use super::rtt::Rtt;
use crate::config::{
    LINK_ANSWER_MAX, LINK_KEEPALIVE, LINK_REPEAT, LINK_RESTARTS_WINDOW, LINK_RETRY, LINK_SILENCE_MAX,
    LINK_TROUBLE_AFTER,
};
use crate::proto::super_peer::ids::LinkId;
use crate::proto::{Unanswered, Undelivered};
use crate::time::Time;
use crate::trust::{Pin, PublicKey};
use crate::wire::link::LinkHello;
use crate::wire::{HostPort, NodeId};

/// The address that a datagram came from, and our address that it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::super_peer) struct Path {
    pub(in crate::proto::super_peer) from: SocketAddr,
    pub(in crate::proto::super_peer) to: Option<IpAddr>,
}

/// What a HELLO or a deadline changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that other parts need to know.
    None,
    /// We hear the neighbor, but it does not hear us yet.
    Half,
    /// The link is up.
    Up,
    /// The neighbor has restarted, and the link is up again: answers that the neighbor owed are
    /// lost.
    Renewed,
    /// The link is down.
    Down,
    /// Another node uses our node id; the link stays down.
    NameTaken,
    /// The neighbor is this super peer itself; the link is ignored from now on.
    Myself,
    /// The neighbor is the same node as that of another link. Only the other link is used.
    Twin,
}

/// When and why a datagram to the neighbor was not delivered.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) at: Time,
    pub(super) to: SocketAddr,
    pub(super) why: Undelivered,
}

/// A greeting that seems to come from the neighbor and got no answer: when it came, and why it got
/// none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) at: Time,
    pub(super) from: SocketAddr,
    pub(super) why: Unanswered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Down,
    /// We hear the neighbor, which has not proved that it hears us.
    Half,
    Up,
    /// The link leads to this super peer itself. It gets no queries and is not counted.
    Itself,
    /// The link leads to the same node as this other link, which is used in its place. It gets no
    /// queries and is not counted.
    Twin(LinkId),
    /// The neighbor was removed from the list. The link gets no queries and is not counted.
    Removed,
}

#[derive(Debug)]
pub(super) struct Link {
    /// The neighbor as it is configured.
    pub(super) name: HostPort,
    /// Its key, in login mode, and the node id that follows from it.
    pub(super) key: Option<(PublicKey, NodeId)>,
    pub(super) addrs: Vec<SocketAddr>,
    /// Whether other links have all addresses that the name resolved to.
    pub(super) is_shadowed: bool,
    /// The address that is used, or was used last.
    pub(super) at: Option<SocketAddr>,
    /// Our address that the neighbor uses. Datagrams for the neighbor are sent from it.
    pub(super) via: Option<IpAddr>,
    pub(super) state: State,
    /// When the link entered its state; [`Time::ZERO`] if it has been in it since the start.
    pub(super) since: Time,
    /// When the link last went down. Answers to earlier HELLOs prove nothing.
    fell: Time,
    /// The neighbor's boot id; 0 while down.
    pub(super) boot: u64,
    /// How often the answers that the neighbor owed were lost, because the neighbor was silent or
    /// had restarted.
    pub(super) life: u32,
    /// The neighbor's node, once it was heard.
    pub(super) node: Option<NodeId>,
    /// When the last HELLO came.
    heard: Time,
    /// When the last HELLO that asks for an answer was sent.
    greeted: Option<Time>,
    /// While the link is up: when the first of the unanswered HELLOs was sent.
    unanswered: Option<Time>,
    /// Whether another node uses our node id; this was logged.
    pub(super) name_taken: bool,
    pub(super) rtt: Rtt,
    pub(super) lookup: Lookup,
    /// The last datagram that was not delivered.
    pub(super) failure: Option<Failure>,
    /// The last greeting that seems to come from the neighbor and got no answer.
    pub(super) hint: Option<Hint>,
    report: Report,
    /// When the present window of reports about restarts began, and how many restarts it has had.
    restarts: (Time, u32),
}

/// Whether the log gets the reason why the link is not up.
#[derive(Clone, Copy, Debug)]
enum Report {
    /// The link has not had its first timeout.
    New,
    At(Time),
    /// The reason was logged, or need not be.
    Done,
}

impl Link {
    pub(super) fn new(pin: Pin) -> Link {
        let Pin { key, at: name } = pin;
        let literal = name.literal();
        Link {
            lookup: Lookup::new(literal.is_some()),
            name,
            key: key.map(|key| (key, key.node())),
            addrs: literal.into_iter().collect(),
            is_shadowed: false,
            at: None,
            via: None,
            state: State::Down,
            since: Time::ZERO,
            fell: Time::ZERO,
            boot: 0,
            life: 0,
            node: None,
            heard: Time::ZERO,
            greeted: None,
            unanswered: None,
            name_taken: false,
            rtt: Rtt::default(),
            failure: None,
            hint: None,
            report: Report::New,
            restarts: (Time::ZERO, 0),
        }
    }

    /// Whether the link is used once it is up.
    pub(super) fn counts(&self) -> bool {
        match self.state {
            State::Down | State::Half | State::Up => true,
            State::Itself | State::Twin(_) | State::Removed => false,
        }
    }

    /// A datagram with the key of the neighbor came from this address: the neighbor is there now.
    pub(super) fn roam(&mut self, path: Path) {
        if matches!(self.state, State::Half | State::Up) {
            (self.at, self.via) = (Some(path.from), path.to);
        }
    }

    /// A HELLO came that we did not send ourselves. `echoes`: its echo and the header of its
    /// datagram name our boot id, so its sender has heard a HELLO of this run.
    pub(super) fn meet(&mut self, now: Time, path: Path, hello: &LinkHello, echoes: bool) -> Change {
        let answers = echoes.then_some(hello.et).flatten().map(Time::from_micros);
        let change = match self.state {
            State::Itself | State::Twin(_) | State::Removed => return Change::None,
            // An echo alone may be old. Only an answer to a HELLO that was sent after the link went
            // down proves that the neighbor hears us now.
            State::Down | State::Half => match answers.is_some_and(|sent| sent >= self.fell && sent <= now) {
                true => Change::Up,
                false if self.state == State::Half => Change::None,
                false => Change::Half,
            },
            State::Up if self.boot == hello.boot => Change::None,
            // A forger has never seen our boot id, and must not be able to reset the link.
            State::Up if echoes => Change::Renewed,
            State::Up => return Change::None,
        };
        let was_up = self.state == State::Up;
        if self.boot != hello.boot {
            self.rtt = Rtt::default();
        }
        if !was_up || self.at == Some(path.from) && echoes {
            (self.at, self.via) = (Some(path.from), path.to);
        }
        (self.boot, self.node, self.heard) = (hello.boot, Some(hello.node), now);
        match change {
            Change::Up | Change::Renewed => {
                self.life = self.life.wrapping_add(u32::from(change == Change::Renewed));
                self.enter(State::Up, now);
                (self.unanswered, self.failure, self.report) = (None, None, Report::Done);
                self.hint = None;
            }
            Change::Half => self.enter(State::Half, now),
            Change::None | Change::Down | Change::NameTaken | Change::Myself | Change::Twin => {}
        }
        if let Some(sent) = answers.filter(|sent| self.state == State::Up && *sent <= now) {
            self.rtt.add(now.since(sent));
            if self.unanswered.is_some_and(|since| sent >= since) {
                self.unanswered = None;
            }
        }
        change
    }

    pub(super) fn meet_own_name(&mut self, own_boot: bool) -> Change {
        if own_boot && matches!(self.state, State::Down | State::Half) {
            (self.state, self.boot, self.report) = (State::Itself, 0, Report::Done);
            return Change::Myself;
        }
        if self.name_taken {
            return Change::None;
        }
        self.name_taken = true;
        self.report = Report::Done;
        Change::NameTaken
    }

    /// From now on the link leads to the same node as that other link.
    pub(super) fn become_twin(&mut self, of: LinkId, now: Time) {
        self.boot = 0;
        self.report = Report::Done;
        self.enter(State::Twin(of), now);
    }

    /// It is no longer a neighbor. The answers that it owes are lost.
    pub(super) fn remove(&mut self, now: Time) {
        self.fall(now);
        (self.at, self.node, self.addrs, self.report) = (None, None, Vec::new(), Report::Done);
        self.enter(State::Removed, now);
    }

    /// The neighbor is added again, or another neighbor gets its place in the table.
    pub(super) fn restore(&mut self, pin: Pin, now: Time) {
        *self = Link { life: self.life, since: now, fell: now, ..Link::new(pin) };
    }

    /// The link goes down. The answers that the neighbor owes are lost.
    pub(super) fn fall(&mut self, now: Time) {
        self.life = self.life.wrapping_add(u32::from(self.state == State::Up));
        (self.boot, self.unanswered, self.fell) = (0, None, now);
        self.enter(State::Down, now);
        self.lookup.begin(now);
        self.expect(now);
    }

    /// A HELLO that asks for an answer is sent now.
    pub(super) fn note_greeting(&mut self, now: Time) {
        self.greeted = Some(now);
        if self.state == State::Up {
            self.unanswered.get_or_insert(now);
        }
    }

    /// The next HELLO is due at once.
    pub(super) fn hasten(&mut self) {
        self.greeted = None;
    }

    /// The link should come up within some seconds from now on. If it does not, the reason is
    /// logged.
    pub(super) fn expect(&mut self, now: Time) {
        self.report = Report::At(now + LINK_TROUBLE_AFTER);
    }

    /// The reason why the link is not up was logged.
    pub(super) fn set_reported(&mut self) {
        self.report = Report::Done;
    }

    /// The neighbor has restarted while the link was up. Returns how often it has done so in the
    /// present window.
    pub(super) fn note_restart(&mut self, now: Time) -> u32 {
        let (since, count) = self.restarts;
        self.restarts = match now.since(since) < LINK_RESTARTS_WINDOW {
            true => (since, count.saturating_add(1)),
            false => (now, 1),
        };
        self.restarts.1
    }

    /// Whether the log should get the reason now.
    pub(super) fn takes_report(&mut self, now: Time) -> bool {
        match self.report {
            Report::New => {
                self.expect(now);
                false
            }
            Report::At(at) if at <= now => {
                self.report = Report::Done;
                self.state != State::Up
            }
            Report::At(_) | Report::Done => false,
        }
    }

    /// Whether no HELLO was sent within this time.
    pub(super) fn is_silent_for(&self, gap: std::time::Duration, now: Time) -> bool {
        self.greeted.is_none_or(|at| now >= at + gap)
    }

    pub(super) fn next_greeting(&self) -> Option<Time> {
        let wait = match self.state {
            State::Itself | State::Twin(_) | State::Removed => return None,
            State::Down | State::Half if self.addrs.is_empty() => return None,
            State::Down | State::Half => LINK_RETRY,
            State::Up if self.unanswered.is_some() => LINK_REPEAT.max(self.rtt.timeout()),
            State::Up => LINK_KEEPALIVE,
        };
        Some(self.greeted.map_or(Time::ZERO, |at| at + wait))
    }

    /// When the neighbor counts as gone, unless something is heard from it before.
    pub(super) fn gone_at(&self) -> Option<Time> {
        match self.state {
            State::Up => self.unanswered.map(|since| since + LINK_ANSWER_MAX),
            State::Half => Some(self.heard + LINK_SILENCE_MAX),
            State::Down | State::Itself | State::Twin(_) | State::Removed => None,
        }
    }

    /// When the name is to be resolved.
    pub(super) fn next_lookup(&self) -> Option<Time> {
        self.lookup.next().filter(|_| matches!(self.state, State::Down | State::Half))
    }

    /// When something is to be done.
    pub(super) fn next(&self) -> Option<Time> {
        let report = match self.report {
            Report::New => Some(Time::ZERO),
            Report::At(at) => Some(at),
            Report::Done => None,
        };
        [self.next_greeting(), self.gone_at(), self.next_lookup(), report].into_iter().flatten().min()
    }

    fn enter(&mut self, state: State, now: Time) {
        (self.state, self.since) = (state, now);
    }
}
