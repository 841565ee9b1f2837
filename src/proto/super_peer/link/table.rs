//! The table of links: who the neighbors are, whether each link is up, the boot id of the neighbor,
//! and the round-trip time.
//!
//! It owns the HELLO exchange. It knows no query, no tree and no digest.
//!
//! A neighbor is identified by the addresses of its name, or in login mode by its key. While a link
//! is not up, HELLO is sent to each address, and the address that answers is used. A link is up
//! once each end knows that the other end hears it. It is down once HELLOs have had no answer for
//! some time.
//!
//! Our boot id in a datagram proves that its sender has seen our HELLO. This boot id is drawn for
//! links alone. It differs from the boot id that sessions see, so that a weak peer cannot forge a
//! datagram of a neighbor.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::cause::cause;
use super::neighbor::{Change, Failure, Hint, Link, Path, State};
use super::strangers::Strangers;
use crate::config::{DIAL_ADDRESSES_MAX, FOLD, LINKS_MAX, QUERY_BUDGET_MAX};
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::{Output, ResolveId, Unanswered, Undelivered};
use crate::time::Time;
use crate::trust::{Pin, PublicKey};
use crate::wire::link::{LinkHello, LinkTree, TreeStep};
use crate::wire::message::{LinkRow, LinkState};
use crate::wire::{HostPort, LinkMessage, NodeId, TreeName};

/// If a neighbor uses the boot id of an earlier run of ours, it gets a HELLO, but not more often
/// than this.
const CORRECTION_GAP: Duration = Duration::from_millis(200);

/// All links of a super peer.
///
/// - getters: `find`, `is_up`, `boot`, `repeat_after`, `next`, …;
/// - `handle_*`: `on_hello`, `on_resolved`, `on_undelivered`, `on_timeout`;
/// - mutators: `send`, `greet_soon`, `set_tree`.
#[derive(Debug)]
pub(crate) struct Links {
    node: NodeId,
    boot: u64,
    /// The spanning tree that we hold, for our HELLOs.
    tree: Option<TreeName>,
    /// For our HELLOs: whether there was a moment at which all our neighbors held this tree.
    whole: bool,
    /// Size of the digests that we take, for our HELLOs: at most 2^`takes` bits.
    takes: Option<u8>,
    links: Vec<Link>,
    /// The link to a neighbor at this address. The addresses of a twin lead to the link that is
    /// used.
    by_addr: BTreeMap<SocketAddr, LinkId>,
    /// The link to the neighbor with this key.
    by_key: BTreeMap<PublicKey, LinkId>,
}

impl Links {
    /// Links to these neighbors, all down. A neighbor that is listed twice gets one link. Neighbors
    /// beyond [`LINKS_MAX`] are left out.
    pub(crate) fn new(node: NodeId, boot: u64, neighbors: &[Pin]) -> Links {
        assert_ne!(boot, 0, "0 means that a boot id is not known");
        let (links, by_addr, by_key) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut all = Links { node, boot, tree: None, whole: false, takes: None, links, by_addr, by_key };
        for pin in neighbors {
            if !all.has(pin) {
                all.add(pin, Time::ZERO);
            }
        }
        all
    }

    /// Whether this is a neighbor.
    pub(super) fn has(&self, pin: &Pin) -> bool {
        self.present().any(|id| is_same(self.link(id), pin))
    }

    /// The neighbors that are not in this list.
    pub(super) fn others(&self, pins: &[Pin]) -> Vec<LinkId> {
        self.present().filter(|id| !pins.iter().any(|pin| is_same(self.link(*id), pin))).collect()
    }

    /// Adds a neighbor, whose link is down. Returns none if the table is full. The place of a
    /// removed neighbor is used again once nothing can refer to it.
    pub(super) fn add(&mut self, pin: &Pin, now: Time) -> Option<LinkId> {
        let is_free = |link: &Link| {
            link.state == State::Removed && (is_same(link, pin) || now.since(link.since) > QUERY_BUDGET_MAX)
        };
        let at = match self.links.iter().position(is_free) {
            Some(at) => {
                self.links[at].restore(pin.clone(), now);
                at
            }
            None if self.links.len() < LINKS_MAX => {
                self.links.push(Link::new(pin.clone()));
                self.links.len() - 1
            }
            None => return None,
        };
        let id = LinkId::at(at);
        self.by_addr.extend(self.links[at].addrs.iter().map(|addr| (*addr, id)));
        self.by_key.extend(pin.key.map(|key| (key, id)));
        Some(id)
    }

    /// From now on it is not a neighbor. Returns what this changes.
    pub(super) fn remove(&mut self, id: LinkId, now: Time) -> Change {
        let was_up = self.is_up(id);
        // The addresses of a twin lead to another link.
        for addr in &self.links[id.index()].addrs {
            if self.by_addr.get(addr).is_some_and(|other| !self.links[other.index()].addrs.contains(addr)) {
                self.by_addr.remove(addr);
            }
        }
        self.by_addr.retain(|_, link| *link != id);
        self.by_key.retain(|_, link| *link != id);
        self.link_mut(id).remove(now);
        self.part_twins(id, now);
        if was_up { Change::Down } else { Change::None }
    }

    /// All neighbors that are not removed, including those that are this node itself and twins.
    fn present(&self) -> impl Iterator<Item = LinkId> {
        (0..self.links.len()).map(LinkId::at).filter(|id| self.link(*id).state != State::Removed)
    }

    /// From now on HELLOs say that digests of up to 2^`takes` bits are taken.
    pub(super) fn take_digests(&mut self, takes: Option<u8>) {
        self.takes = takes;
    }

    /// From now on HELLOs say that this tree is held. `whole` says whether there was a moment at
    /// which all neighbors held it.
    pub(super) fn set_tree(&mut self, tree: Option<TreeName>, whole: bool) {
        (self.tree, self.whole) = (tree, whole);
    }

    /// The link to a neighbor at this address.
    pub(crate) fn find(&self, from: SocketAddr) -> Option<LinkId> {
        self.by_addr.get(&from).copied()
    }

    /// The link to the sender of a datagram: the neighbor with this key, or in open mode the
    /// neighbor with this address.
    pub(super) fn find_sender(&self, from: SocketAddr, key: Option<PublicKey>) -> Option<LinkId> {
        match key {
            Some(key) => self.by_key.get(&key).copied(),
            None => self.find(from).filter(|link| self.link(*link).key.is_none()),
        }
    }

    /// A datagram with the key of this neighbor came from there. From now on everything for the
    /// neighbor is sent there.
    pub(super) fn roam(&mut self, id: LinkId, path: Path) {
        self.link_mut(id).roam(path);
    }

    /// All links except those that lead to this super peer itself, twins and removed ones.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        (0u16..).map(LinkId).zip(&self.links).filter(|(_, link)| link.counts()).map(|(id, _)| id)
    }

    /// Every link that is up.
    pub(crate) fn up(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.ids().filter(|link| self.is_up(*link))
    }

    /// The number of places in the table, used or not.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether the table is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether the link is up.
    pub(crate) fn is_up(&self, id: LinkId) -> bool {
        self.link(id).state == State::Up
    }

    /// Whether the link is up and the neighbor has this boot id.
    pub(super) fn is_up_with(&self, id: LinkId, boot: u64) -> bool {
        self.is_up(id) && self.link(id).boot == boot
    }

    /// Whether we hear the neighbor while it does not hear us.
    pub(super) fn is_half_open(&self, id: LinkId) -> bool {
        self.link(id).state == State::Half
    }

    /// A number that grows each time the answers that the neighbor owes are lost. A query that was
    /// sent at a lower number gets no answer.
    pub(crate) fn life(&self, id: LinkId) -> u32 {
        self.link(id).life
    }

    /// The neighbor as it is configured.
    pub(super) fn name(&self, id: LinkId) -> &HostPort {
        &self.link(id).name
    }

    /// The address of the neighbor that is used, or was used last.
    pub(crate) fn addr(&self, id: LinkId) -> Option<SocketAddr> {
        self.link(id).at
    }

    /// Our address at which the neighbor reaches us, if the socket listens at several.
    pub(crate) fn reached_at(&self, id: LinkId) -> Option<IpAddr> {
        self.link(id).via
    }

    /// The neighbor's boot id; 0 while the link is not up.
    pub(super) fn boot_of(&self, id: LinkId) -> u64 {
        if self.is_up(id) { self.link(id).boot } else { 0 }
    }

    /// Our boot id for neighbors.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// How long an answer may take before the question is repeated.
    pub(crate) fn repeat_after(&self, id: LinkId) -> Duration {
        self.link(id).rtt.timeout()
    }

    /// How long PENDING may be delayed and still reach the neighbor before it repeats its QUERY.
    /// The neighbor's round-trip time is assumed to be ours.
    pub(crate) fn pending_after(&self, id: LinkId) -> Duration {
        self.repeat_after(id).saturating_sub(self.link(id).rtt.smoothed()) / 2
    }

    /// Queues a message for a neighbor. The message is dropped if the link is not up, since the
    /// neighbor would not accept it.
    pub(crate) fn send(&self, id: LinkId, message: LinkMessage, cx: &mut Context) {
        let link = self.link(id);
        if let (State::Up, Some(to)) = (link.state, link.at) {
            transmit(link, (link.via, to), link.boot, message, cx);
        }
    }

    /// Queues a TREE for a neighbor.
    pub(crate) fn send_tree(&self, id: LinkId, tree: TreeName, step: TreeStep, n: u32, cx: &mut Context) {
        self.send(id, LinkMessage::Tree(LinkTree { tree, step, n }), cx);
    }

    /// A HELLO came. Its `echo` must be 0 unless the header of its datagram named our boot id.
    /// `lease` goes into the answer.
    pub(super) fn on_hello(
        &mut self,
        id: LinkId,
        path: Path,
        hello: LinkHello,
        lease: Option<u64>,
        cx: &mut Context,
    ) -> Change {
        let (node, boot, now) = (self.node, self.boot, cx.now);
        if hello.boot == 0 || !self.link(id).counts() {
            return Change::None;
        }
        if self.link(id).key.is_some_and(|(_, node)| node != hello.node) {
            cx.count(Count::DatagramMalformed);
            return Change::None;
        }
        if hello.node == node {
            cx.count(Count::LinkSelf);
            return self.link_mut(id).meet_own_name(hello.boot == boot);
        }
        let echoes = hello.echo == boot;
        if self.is_up(id) && self.link(id).boot != hello.boot && self.link(id).at != Some(path.from) {
            // This is another host of the name, not this neighbor.
            return Change::None;
        }
        let mut change = self.link_mut(id).meet(now, path, &hello, echoes);
        // A HELLO that changes something is answered even if it is itself an answer: the neighbor
        // needs the proof that we saw it.
        if hello.et.is_none() || matches!(change, Change::Half | Change::Up | Change::Renewed) {
            let answer = LinkHello { et: Some(hello.t), de: lease, ..self.hello(hello.boot, now) };
            transmit(self.link(id), (path.to, path.from), hello.boot, LinkMessage::Hello(answer), cx);
        }
        if change == Change::Renewed {
            self.part_twins(id, now);
        }
        if change == Change::Up && self.join_twin(id, &hello, now) {
            change = Change::Twin;
        }
        // The neighbor has heard us at some time. An answer would prove that it still does.
        if echoes && hello.et.is_none() && self.is_half_open(id) {
            self.greet_soon(id, cx);
        }
        change
    }

    /// The link has just come up. If another link to the same node is up, at another address, uses
    /// that link for both, so that the node gets no query twice.
    fn join_twin(&mut self, id: LinkId, hello: &LinkHello, now: Time) -> bool {
        let same = |other: &LinkId| {
            let link = self.link(*other);
            *other != id && link.state == State::Up && (link.node, link.boot) == (Some(hello.node), hello.boot)
        };
        let Some(used) = (0..self.links.len()).map(LinkId::at).find(same) else { return false };
        self.link_mut(id).become_twin(used, now);
        self.lead(id, used);
        true
    }

    /// From now on the addresses of the first link lead to the second one.
    fn lead(&mut self, from: LinkId, to: LinkId) {
        for addr in self.links[from.index()].addrs.clone() {
            self.by_addr.insert(addr, to);
        }
    }

    /// The link is down, or its node has restarted: its twins are separate links again, and down.
    fn part_twins(&mut self, id: LinkId, now: Time) {
        for twin in (0..self.links.len()).map(LinkId::at) {
            if self.link(twin).state == State::Twin(id) {
                self.link_mut(twin).fall(now);
                self.lead(twin, twin);
            }
        }
    }

    /// The name of a neighbor was resolved, or could not be. Returns what to log.
    pub(super) fn on_resolved(
        &mut self,
        id: ResolveId,
        result: Result<Vec<SocketAddr>, String>,
        now: Time,
    ) -> Option<(LinkId, String)> {
        let id = usize::try_from(id.0).ok().filter(|index| *index < self.links.len()).map(LinkId::at)?;
        if self.link(id).state == State::Removed {
            return None;
        }
        let (addrs, failed) = match result {
            Ok(addrs) => (addrs, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let text = failed.as_ref().map(|why| format!("does not resolve: {why}; it is resolved again until it does"));
        let is_new = self.link_mut(id).lookup.on_answer(now, failed);
        if !addrs.is_empty() && self.link(id).counts() {
            self.set_addrs(id, addrs, now);
        }
        // If the name resolved before, its addresses stay in use.
        let is_news = is_new && self.link(id).addrs.is_empty();
        if is_news {
            self.link_mut(id).set_reported();
        }
        text.filter(|_| is_news).map(|text| (id, text))
    }

    /// The name has these addresses now. The addresses in use stay.
    fn set_addrs(&mut self, id: LinkId, addrs: Vec<SocketAddr>, now: Time) {
        let used = self.link(id).at.filter(|_| self.is_up(id));
        let mut new: Vec<SocketAddr> = used.into_iter().collect();
        for addr in addrs {
            let other = self.by_addr.get(&addr).is_some_and(|owner| *owner != id);
            if !other && !new.contains(&addr) && new.len() < DIAL_ADDRESSES_MAX {
                new.push(addr);
            }
        }
        let link = &mut self.links[id.index()];
        link.is_shadowed = new.is_empty();
        if link.addrs == new {
            return;
        }
        for addr in std::mem::replace(&mut link.addrs, new) {
            self.by_addr.remove(&addr);
        }
        if link.addrs.iter().any(|addr| Some(*addr) != link.at) && link.state != State::Up {
            link.hasten();
        }
        link.expect(now);
        let is_elsewhere = link.key.is_none() && link.at.is_none_or(|at| !link.addrs.contains(&at));
        if link.state == State::Half && is_elsewhere {
            link.fall(now);
        }
        self.lead(id, id);
    }

    /// A datagram could not be delivered.
    pub(super) fn on_undelivered(&mut self, to: SocketAddr, why: Undelivered, now: Time) {
        if let Some(id) = self.find(to) {
            self.link_mut(id).failure = Some(Failure { at: now, to, why });
        }
    }

    /// A greeting got no answer. Returns the link to its likely sender, if there is one.
    pub(super) fn on_unanswered(&mut self, from: SocketAddr, why: Unanswered, now: Time) -> Option<LinkId> {
        let by_key = match why {
            Unanswered::Counter(key) => self.by_key.get(&key).copied(),
            Unanswered::Open | Unanswered::Login | Unanswered::OtherKey | Unanswered::Stranger(_) => None,
        };
        let id = by_key.or_else(|| self.find(from))?;
        self.link_mut(id).hint = Some(Hint { at: now, from, why });
        Some(id)
    }

    /// Sends HELLO now, unless a HELLO was sent just before. Either the neighbor still uses the
    /// boot id of an earlier run of ours, or its answer is needed before the next HELLO is due.
    pub(super) fn greet_soon(&mut self, id: LinkId, cx: &mut Context) {
        let link = self.link(id);
        if link.counts() && link.is_silent_for(CORRECTION_GAP, cx.now) {
            self.greet(id, cx);
        }
    }

    /// The deadline of [`Links::next`] has come: sends HELLO, has the name resolved, or decides
    /// that the neighbor is gone.
    pub(super) fn on_timeout(&mut self, id: LinkId, cx: &mut Context) -> Change {
        let mut change = Change::None;
        if self.link(id).gone_at().is_some_and(|at| cx.now >= at) {
            let was_up = self.is_up(id);
            self.link_mut(id).fall(cx.now);
            if was_up {
                change = Change::Down;
                self.part_twins(id, cx.now);
            }
        }
        let link = self.link_mut(id);
        if link.next_greeting().is_some_and(|at| cx.now >= at) {
            self.greet(id, cx);
        }
        let link = self.link_mut(id);
        if link.next_lookup().is_some() && link.lookup.take_due(cx.now) {
            let (id, name) = (ResolveId(u64::from(id.0)), link.name.clone());
            cx.out.push(Output::Resolve { id, name });
        }
        change
    }

    /// The reason why this link is not up, if it is to be logged now.
    pub(super) fn take_report(&mut self, id: LinkId, strangers: &Strangers, now: Time) -> Option<String> {
        if !self.link_mut(id).takes_report(now) {
            return None;
        }
        let link = self.link(id);
        cause(link, strangers.like(&link.addrs, now), now)
    }

    /// When [`Links::on_timeout`] is due.
    pub(super) fn next(&self, id: LinkId) -> Option<Time> {
        self.link(id).next()
    }

    /// All links as INFO lists them.
    pub(super) fn rows(&self, strangers: &Strangers, now: Time) -> Vec<LinkRow> {
        self.present().map(|id| row(self.link(id), strangers, now)).collect()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.links.len() <= LINKS_MAX);
        assert!(self.by_addr.len() <= self.links.iter().map(|link| link.addrs.len()).sum());
        for link in &self.links {
            let known = matches!(link.state, State::Half | State::Up);
            assert_eq!(known, link.boot != 0, "a boot id is known while the neighbor is heard");
            assert!(!known || link.at.is_some_and(|at| link.key.is_some() || link.addrs.contains(&at)));
        }
    }

    /// Sends a HELLO that asks for an answer: to the address that is used, or to all.
    fn greet(&mut self, id: LinkId, cx: &mut Context) {
        self.link_mut(id).note_greeting(cx.now);
        let Link { at, via, boot, state, .. } = *self.link(id);
        let addrs = match state {
            State::Up => at.into_iter().collect(),
            State::Down | State::Half | State::Itself | State::Twin(_) | State::Removed => self.addrs_to_greet(id),
        };
        for addr in addrs {
            // The boot id belongs to the node that was heard at that address.
            let (via, boot) = if Some(addr) == at { (via, boot) } else { (None, 0) };
            transmit(self.link(id), (via, addr), boot, LinkMessage::Hello(self.hello(boot, cx.now)), cx);
        }
    }

    /// All addresses of the neighbor. If it has a key, this includes the last address at which it
    /// was heard.
    fn addrs_to_greet(&self, id: LinkId) -> Vec<SocketAddr> {
        let link = self.link(id);
        let last = link.at.filter(|at| link.key.is_some() && !link.addrs.contains(at));
        link.addrs.iter().copied().chain(last).collect()
    }

    /// A HELLO that asks for an answer.
    fn hello(&self, echo: u64, now: Time) -> LinkHello {
        let Links { node, boot, tree, whole, takes, .. } = *self;
        LinkHello { node, boot, echo, t: now.as_micros(), et: None, tree, whole, dg: takes, de: None, fold: Some(FOLD) }
    }

    fn link(&self, id: LinkId) -> &Link {
        &self.links[id.index()]
    }

    /// The neighbor has restarted: see [`Link::note_restart`].
    pub(super) fn note_restart(&mut self, id: LinkId, now: Time) -> u32 {
        self.link_mut(id).note_restart(now)
    }

    fn link_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id.index()]
    }
}

/// Whether the link is to this neighbor.
fn is_same(link: &Link, pin: &Pin) -> bool {
    let keys = (link.key.map(|(key, _)| key), pin.key);
    let same_host = link.name.canonical() == pin.at.canonical();
    keys.0 == keys.1 && (same_host || keys.0.is_some())
}

fn row(link: &Link, strangers: &Strangers, now: Time) -> LinkRow {
    let used = link.at.filter(|_| link.state == State::Up);
    let others = link.addrs.iter().filter(|addr| Some(**addr) != used);
    LinkRow {
        name: link.name.to_string(),
        at: used.iter().chain(others).map(ToString::to_string).collect(),
        node: link.node,
        state: match link.state {
            State::Down => LinkState::Down,
            State::Half => LinkState::HalfOpen,
            State::Up => LinkState::Up,
            State::Itself => LinkState::Itself,
            State::Twin(_) => LinkState::Twin,
            // A removed neighbor has no row.
            State::Removed => LinkState::Down,
        },
        since: u64::try_from(now.since(link.since).as_millis()).unwrap_or(u64::MAX),
        rtt: link.rtt.measured().map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        key: link.key.map(|(key, _)| key.to_string()),
        why: cause(link, strangers.like(&link.addrs, now), now),
    }
}

fn transmit(link: &Link, (from, to): (Option<IpAddr>, SocketAddr), boot: u64, message: LinkMessage, cx: &mut Context) {
    cx.count(Count::LinkOut);
    cx.count(match &message {
        LinkMessage::Query(_) => Count::LinkQueryOut,
        LinkMessage::Hit(_) => Count::LinkHitOut,
        LinkMessage::Done(_) => Count::LinkDoneOut,
        LinkMessage::Pending(_) => Count::LinkPendingOut,
        LinkMessage::Cancel(_) => Count::LinkCancelOut,
        LinkMessage::Tree(_) => Count::LinkTreeOut,
        LinkMessage::Digest(_) => Count::LinkDigestOut,
        LinkMessage::Digested(_) => Count::LinkDigestedOut,
        LinkMessage::Hello(_) | LinkMessage::Unknown(_) => Count::LinkHelloOut,
    });
    let key = link.key.map(|(key, _)| key);
    cx.out.push(Output::SendTo { from, to, key, boot, message: Box::new(message) });
}
