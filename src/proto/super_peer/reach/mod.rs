//! Dial back: whether a peer can be dialed at the address that its hits name (PROTOCOL.md 4.12). It
//! owns the peers that wait for a dial, the dials that run, and how often each host was dialed. It
//! notes the result in the index and reports it to the peer.
//!
//! Strangers can be peers, and can name any address. They must not be able to use this super peer
//! against others. So each host is dialed seldom, nothing is sent but a HELLO, and no address is
//! dialed that is nearer to this super peer than the peer that names it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::context::{Context, Reason};
use super::counters::Count;
use super::peer::Peer;
use super::session::Sessions;
use crate::config::{
    DIAL_BACK_EVERY, DIAL_BACK_EVERY_MAX, DIAL_BACK_HOST_BURST, DIAL_BACK_HOST_EVERY, DIAL_BACK_HOSTS_MAX,
    DIAL_BACK_TIMEOUT, DIAL_BACKS_AT_ONCE, DIAL_BACKS_PER_TURN,
};
use crate::proto::crowd::Host;
use crate::proto::{ConnId, DialId, Output};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::message::{Bye, Hello, Reach as Report};
use crate::wire::{HostPort, Message};

/// Shortest time between two removals of hosts whose dials are free again.
const SWEEP_GAP: Duration = Duration::from_secs(1);

/// A session that waits for its next dial, or for the end of one.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When it is dialed; none while a dial to it runs.
    at: Option<Time>,
    /// When it was last dialed.
    last: Option<Time>,
    failures: u32,
}

/// A dial that the driver has not finished.
#[derive(Clone, Debug)]
struct Running {
    session: ConnId,
    peer: Peer,
    to: HostPort,
    conn: Option<ConnId>,
    /// Whether its result is known and only the driver still holds it.
    over: bool,
}

/// The budget that a dial uses: that of a host, or the one of all names. The flag says whether the
/// peer names its own host. Those dials have a budget of their own, so that strangers cannot use up
/// what is for others.
type Budget = (Option<Host>, bool);

/// The addresses that wait to be dialed back, those that are dialed, and what was found.
#[derive(Debug, Default)]
pub(super) struct Reach {
    waiting: BTreeMap<ConnId, Waiting>,
    /// The sessions that wait for a dial, by its time.
    due: BTreeSet<(Time, ConnId)>,
    running: BTreeMap<DialId, Running>,
    conns: BTreeMap<ConnId, DialId>,
    /// When each dial has taken too long. All dials may take equally long, so the list is in order.
    ends: VecDeque<(Time, DialId)>,
    /// When all dials of a budget are free again (the generic cell rate algorithm).
    hosts: BTreeMap<Budget, Time>,
    /// When the entries whose dials are free were last removed.
    swept: Option<Time>,
    next_dial: u64,
}

/// - getters: `owns`, `is_busy`;
/// - `handle_*`: `on_served`, `on_session_closed`, `on_dialed`, `on_dial_failed`, `on_message`,
///   `on_malformed`, `on_closed`, `on_timeout`, `stop`.
impl Reach {
    /// Whether a connection is one of the dials.
    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// A session has registered an address at which it was not reached.
    pub(super) fn on_served(&mut self, session: ConnId, cx: &mut Context) {
        let waiting = self.waiting.entry(session).or_insert(Waiting { at: None, last: None, failures: 0 });
        if let Some(at) = waiting.at.take() {
            self.due.remove(&(at, session));
        }
        let at = waiting.last.map_or(cx.now, |last| cx.now.max(last + DIAL_BACK_EVERY));
        waiting.at = Some(at);
        self.due.insert((at, session));
        self.arm(cx);
    }

    /// A session is gone.
    pub(super) fn on_session_closed(&mut self, session: ConnId, cx: &mut Context) {
        if let Some(Waiting { at: Some(at), .. }) = self.waiting.remove(&session) {
            self.due.remove(&(at, session));
            self.arm(cx);
        }
    }

    /// Dials what is due, and ends dials that have taken too long.
    pub(super) fn on_timeout(&mut self, sessions: &Sessions, cx: &mut Context) {
        while let Some((at, dial)) = self.ends.front().copied().filter(|(at, _)| *at <= cx.now) {
            debug_assert!(at <= cx.now);
            self.ends.pop_front();
            self.end(dial, Err(format!("no answer within {} s", DIAL_BACK_TIMEOUT.as_secs())), cx);
        }
        for _ in 0..DIAL_BACKS_PER_TURN {
            let Some((at, session)) = self.due.first().copied().filter(|(at, _)| *at <= cx.now) else { break };
            if self.running.len() >= DIAL_BACKS_AT_ONCE {
                break;
            }
            self.due.remove(&(at, session));
            if let Some(waiting) = self.waiting.get_mut(&session) {
                waiting.at = None;
            }
            self.dial(session, sessions.peer(session), cx);
        }
        self.arm(cx);
    }

    fn dial(&mut self, session: ConnId, peer: Option<Peer>, cx: &mut Context) {
        let Some(peer) = peer else {
            self.waiting.remove(&session);
            return;
        };
        let to = cx.index.serves(peer.holder).addr.clone();
        if !may_dial(peer.ip, &to) {
            let why = "the super peer dials no address of this kind for you".to_owned();
            return self.conclude(session, peer, to, Err(why), cx);
        }
        let free_at = self.reserve(peer.ip, &to, cx.now);
        let Some(waiting) = self.waiting.get_mut(&session) else { return };
        if free_at > cx.now {
            waiting.at = Some(free_at);
            self.due.insert((free_at, session));
            return;
        }
        waiting.last = Some(cx.now);
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        cx.count(Count::DialBacks);
        cx.out.push(Output::Dial { dial, to: to.clone(), key: None });
        self.ends.push_back((cx.now + DIAL_BACK_TIMEOUT, dial));
        self.running.insert(dial, Running { session, peer, to, conn: None, over: false });
    }

    /// Uses one dial of the budget and returns `now`, if a dial is free. If not, returns when to
    /// try again.
    fn reserve(&mut self, from: IpAddr, to: &HostPort, now: Time) -> Time {
        let host = to.literal().map(|addr| Host::from(addr.ip()));
        let budget = (host, host == Some(from.into()));
        if !self.hosts.contains_key(&budget) && self.hosts.len() >= DIAL_BACK_HOSTS_MAX {
            if self.swept.is_none_or(|swept| now.since(swept) >= SWEEP_GAP) {
                self.swept = Some(now);
                self.hosts.retain(|_, idle_at| *idle_at > now);
            }
            if self.hosts.len() >= DIAL_BACK_HOSTS_MAX {
                return now + DIAL_BACK_EVERY;
            }
        }
        let idle_at = self.hosts.entry(budget).or_insert(now);
        let ahead = DIAL_BACK_HOST_EVERY.saturating_mul(DIAL_BACK_HOST_BURST - 1);
        if idle_at.since(now) > ahead {
            return *idle_at - ahead;
        }
        *idle_at = (*idle_at).max(now) + DIAL_BACK_HOST_EVERY;
        now
    }

    /// A dial succeeded; in login mode the other side has proved this key.
    pub(super) fn on_dialed(&mut self, dial: DialId, conn: ConnId, key: Option<PublicKey>, cx: &mut Context) {
        self.conns.insert(conn, dial);
        let Some(running) = self.running.get_mut(&dial).filter(|running| !running.over) else {
            return cx.out.push(Output::Close { conn });
        };
        running.conn = Some(conn);
        if key.is_some_and(|key| key.node() != running.peer.node) {
            return self.end(dial, Err("another peer answers there".to_owned()), cx);
        }
        let hello = Hello::new(cx.config.node, cx.config.boot, cx.config.agent.clone());
        cx.send(conn, Message::Hello(hello));
    }

    pub(super) fn on_dial_failed(&mut self, dial: DialId, why: String, cx: &mut Context) {
        self.end(dial, Err(why), cx);
        self.running.remove(&dial);
        self.arm(cx);
    }

    /// A message arrived on a connection of a dial.
    pub(super) fn on_message(&mut self, conn: ConnId, message: &Message, cx: &mut Context) {
        let Some(dial) = self.conns.get(&conn).copied() else { return };
        let Some(Running { peer, .. }) = self.running.get(&dial) else { return };
        let result = if let Message::Welcome(welcome) = message {
            let proven = (welcome.node, welcome.boot) == (peer.node, peer.boot);
            if proven { Ok(()) } else { Err("another peer answers there".to_owned()) }
        } else {
            Err(format!("it answers with {}", message.kind()))
        };
        self.end(dial, result, cx);
    }

    /// Bytes that are no message arrived on a connection of a dial.
    pub(super) fn on_malformed(&mut self, conn: ConnId, cx: &mut Context) {
        if let Some(dial) = self.conns.get(&conn).copied() {
            self.end(dial, Err("what answers there speaks another protocol".to_owned()), cx);
        }
    }

    /// A connection of a dial is closed.
    pub(super) fn on_closed(&mut self, conn: ConnId, cx: &mut Context) {
        if let Some(dial) = self.conns.remove(&conn) {
            self.end(dial, Err("the connection was closed before WELCOME".to_owned()), cx);
            self.running.remove(&dial);
            self.arm(cx);
        }
    }

    /// The super peer ends: no more dials are made.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.waiting.clear();
        self.due.clear();
        self.ends.clear();
        let dials: Vec<DialId> = self.running.keys().copied().collect();
        dials.into_iter().for_each(|dial| self.end(dial, Err("the super peer ends".to_owned()), cx));
        self.arm(cx);
    }

    /// Whether a peer waits or is being dialed.
    pub(super) fn is_busy(&self) -> bool {
        !(self.waiting.is_empty() && self.running.is_empty() && self.ends.is_empty())
    }

    /// The result of a dial is known.
    fn end(&mut self, dial: DialId, result: Result<(), String>, cx: &mut Context) {
        let Some(running) = self.running.get_mut(&dial).filter(|running| !running.over) else { return };
        running.over = true;
        let Running { session, peer, to, conn, .. } = running.clone();
        if let Some(conn) = conn {
            cx.send(conn, Message::Bye(Bye { why: "dialed back".to_owned() }));
            cx.out.push(Output::Close { conn });
        }
        self.conclude(session, peer, to, result, cx);
        self.arm(cx);
    }

    /// Notes whether a peer was reached, and reports it.
    fn conclude(&mut self, session: ConnId, peer: Peer, to: HostPort, result: Result<(), String>, cx: &mut Context) {
        // The session may be gone, or serve elsewhere by now.
        let Some(waiting) = self.waiting.get_mut(&session) else { return };
        if waiting.at.is_some() || !cx.index.is_served_at(peer.holder, peer.node, &to) {
            return;
        }
        cx.index.set_unreached(peer.holder, result.is_err());
        let ok = result.is_ok();
        if ok {
            cx.count(Count::DialBacksReached);
            self.waiting.remove(&session);
        } else {
            let wait = DIAL_BACK_EVERY.saturating_mul(1 << waiting.failures.min(8)).min(DIAL_BACK_EVERY_MAX);
            waiting.failures += 1;
            waiting.last = Some(waiting.last.unwrap_or(cx.now));
            waiting.at = Some(cx.now + wait);
            self.due.insert((cx.now + wait, session));
        }
        if peer.reports {
            cx.send(session, Message::Reach(Report { ok, addr: to, why: result.err() }));
        }
    }

    fn arm(&self, cx: &mut Context) {
        let next = self.due.first().map(|(at, _)| *at).filter(|_| self.running.len() < DIAL_BACKS_AT_ONCE);
        let ends = self.ends.front().map(|(at, _)| *at);
        cx.arm(Reason::Reach, next.into_iter().chain(ends).min());
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.running.len() <= DIAL_BACKS_AT_ONCE && self.hosts.len() <= DIAL_BACK_HOSTS_MAX);
        assert_eq!(self.waiting.values().filter(|waiting| waiting.at.is_some()).count(), self.due.len());
        assert!(self.conns.values().all(|dial| self.running.contains_key(dial)));
    }
}

/// Whether a peer at `from` may have this address dialed. Something must be able to listen there,
/// and the address must not be nearer to us than the peer. So a peer on the internet cannot make us
/// dial our own network, and only a peer on this machine can make us dial this machine.
fn may_dial(from: IpAddr, to: &HostPort) -> bool {
    let Some(target) = to.literal().map(|addr| addr.ip()) else { return to.is_dialable() };
    to.is_dialable() && (target == from || nearness(target) <= nearness(from)) && !is_link_local(target)
}

/// Every name counts as far. Its addresses are dialed seldom, because all names share one budget.
fn nearness(ip: IpAddr) -> u8 {
    let private = match ip {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_link_local() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if ip.is_loopback() { 2 } else { u8::from(private) }
}

/// A link-local address means nothing without an interface, and on another link it may belong to
/// others.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

const _: () = assert!(DIAL_BACK_HOST_BURST >= 1);

#[cfg(test)]
mod tests;
