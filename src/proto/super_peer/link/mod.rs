//! Links: who the neighbours are, whether each is up, which life of it we speak to, and how far away it is.
//!
//! It owns the HELLO exchange and the names of both ends. It never looks into a query: what a link that comes up, starts anew or
//! goes down means for searches is `flood`'s.
//!
//! A link's boot id is the proof that a datagram comes from somebody who saw our HELLO. It is drawn for links alone and is
//! not the one that sessions are told, so that a weak peer cannot forge a neighbour's datagram.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::counters::{Count, Counters};
use crate::config::{LINK_KEEPALIVE, LINK_RETRY, LINK_SILENCE_MAX, LINKS_MAX, QUERY_REPEAT_MIN};
use crate::proto::Output;
use crate::time::Time;
use crate::wire::link::LinkHello;
use crate::wire::{LinkMessage, NodeId, TreeName};

/// What a repetition waits for while no round trip was measured yet.
const RTO_FIRST: Duration = Duration::from_millis(100);
/// Longest wait that a measured round trip can lead to; a liar cannot freeze a query with one `et`.
const RTO_MAX: Duration = Duration::from_secs(1);
/// A neighbour that speaks to an earlier life of ours is greeted, but not more often than this.
const CORRECTION_GAP: Duration = Duration::from_millis(200);

/// A link, by its place in the list of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkId(pub(super) u16);

/// What a HELLO or a deadline changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkNews {
    /// Nothing that others need to know.
    Same,
    /// The link is up.
    Up,
    /// The link is up, but with a new life of the neighbour: what the old one owed is lost.
    Renewed,
    /// The link is down.
    Down,
    /// The neighbour bears our own name, but is somebody else; the link stays down.
    NameTaken,
    /// The neighbour is this very node; the link is left out from now on.
    Myself,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Up,
    /// It leads to ourselves: neither asked nor counted.
    Ignored,
}

#[derive(Debug)]
struct Link {
    addr: SocketAddr,
    state: State,
    /// The neighbour's boot id; 0 while down.
    boot: u64,
    heard: Time,
    greeted: Option<Time>,
    /// Whether somebody else with our name was logged already.
    name_taken: bool,
    rtt: Option<Rtt>,
}

/// Smoothed round trip and its variation, as in RFC 6298.
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: Duration,
    variation: Duration,
}

impl Rtt {
    fn sampled(before: Option<Rtt>, sample: Duration) -> Rtt {
        match before {
            None => Rtt { smoothed: sample, variation: sample / 2 },
            Some(Rtt { smoothed, variation }) => Rtt {
                variation: (variation * 3 + smoothed.abs_diff(sample)) / 4,
                smoothed: (smoothed * 7 + sample) / 8,
            },
        }
    }
}

/// All links of a super peer.
///
/// - getters: `find`, `is_up`, `boot`, `repeat_after`, …;
/// - `handle_*`: `on_hello`, `on_heard`, `on_stale`, `on_timeout`;
/// - `poll_*`: `next`, and the outputs that the handlers push.
#[derive(Debug)]
pub(super) struct Links {
    node: NodeId,
    boot: u64,
    /// The spanning tree that we hold, as HELLO tells it.
    pub(super) tree: Option<TreeName>,
    /// Whether our neighbours came to hold it too, as HELLO tells.
    pub(super) whole: bool,
    /// What our HELLOs say of the digests that we take.
    takes: Option<u8>,
    links: Vec<Link>,
    by_addr: BTreeMap<SocketAddr, LinkId>,
}

impl Links {
    /// Links to these neighbours, all down. An address that is given twice is one neighbour; those above the cap are left out.
    pub(super) fn new(node: NodeId, boot: u64, neighbors: &[SocketAddr]) -> Links {
        assert_ne!(boot, 0, "0 means that a boot id is not known");
        let mut all =
            Links { node, boot, tree: None, whole: false, takes: None, links: Vec::new(), by_addr: BTreeMap::new() };
        for addr in neighbors {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            let id = LinkId(u16::try_from(all.links.len()).unwrap_or(u16::MAX));
            if all.links.len() < LINKS_MAX && !all.by_addr.contains_key(&addr) {
                all.by_addr.insert(addr, id);
                let link = Link {
                    addr,
                    state: State::Down,
                    boot: 0,
                    heard: Time::ZERO,
                    greeted: None,
                    name_taken: false,
                    rtt: None,
                };
                all.links.push(link);
            }
        }
        all
    }

    /// From now on HELLOs say that digests of up to 2^`takes` bits are taken.
    pub(super) fn take_digests(&mut self, takes: Option<u8>) {
        self.takes = takes;
    }

    /// The link to a neighbour at this address.
    pub(super) fn find(&self, from: SocketAddr) -> Option<LinkId> {
        self.by_addr.get(&from).copied()
    }

    /// Every link but those that turned out to lead to ourselves.
    pub(super) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        (0u16..).map(LinkId).zip(&self.links).filter(|(_, link)| link.state != State::Ignored).map(|(id, _)| id)
    }

    /// How many links there are, those to ourselves included.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// How many are up.
    pub(super) fn up(&self) -> usize {
        self.links.iter().filter(|link| link.state == State::Up).count()
    }

    /// Whether the link is up.
    pub(super) fn is_up(&self, id: LinkId) -> bool {
        self.link(id).state == State::Up
    }

    /// Whether the link is up with this life of the neighbour.
    pub(super) fn is_up_with(&self, id: LinkId, boot: u64) -> bool {
        self.is_up(id) && self.link(id).boot == boot
    }

    /// The neighbour's address.
    pub(super) fn addr(&self, id: LinkId) -> SocketAddr {
        self.link(id).addr
    }

    /// The neighbour's boot id; 0 while the link is down.
    pub(super) fn boot_of(&self, id: LinkId) -> u64 {
        self.link(id).boot
    }

    /// Our boot id towards neighbours.
    pub(super) fn boot(&self) -> u64 {
        self.boot
    }

    /// How long an answer may take before the question is repeated.
    pub(super) fn repeat_after(&self, id: LinkId) -> Duration {
        match self.link(id).rtt {
            None => RTO_FIRST,
            Some(rtt) => (rtt.smoothed + rtt.variation * 4).clamp(QUERY_REPEAT_MIN, RTO_MAX),
        }
    }

    /// How long PENDING may wait, so that the neighbour, whose round trip is ours, hears it before it asks again.
    pub(super) fn pending_after(&self, id: LinkId) -> Duration {
        let trip = self.link(id).rtt.map_or(RTO_FIRST / 2, |rtt| rtt.smoothed);
        self.repeat_after(id).saturating_sub(trip) / 2
    }

    /// Queues a message for a neighbour; dropped if the link is not up, since nobody would take it.
    pub(super) fn send(&self, id: LinkId, message: LinkMessage, out: &mut VecDeque<Output>, counters: &mut Counters) {
        let link = self.link(id);
        if link.state == State::Up {
            counters.add(Count::LinkOut);
            counters.add(match &message {
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
            out.push_back(Output::SendTo { to: link.addr, boot: link.boot, message });
        }
    }

    /// A HELLO came. Its `echo` is 0 unless its datagram named our boot id. `lease` goes into the answer.
    pub(super) fn on_hello(
        &mut self,
        now: Time,
        id: LinkId,
        hello: LinkHello,
        lease: Option<u64>,
        out: &mut VecDeque<Output>,
        counters: &mut Counters,
    ) -> LinkNews {
        let Links { node, boot, tree, whole, takes, .. } = *self;
        let link = self.link_mut(id);
        if link.state == State::Ignored || hello.boot == 0 {
            return LinkNews::Same;
        }
        if hello.node == node {
            counters.add(Count::LinkSelf);
            return link.meet_own_name(hello.boot == boot);
        }
        let echoes = hello.echo == boot;
        let news = link.meet(now, hello.boot, echoes);
        if let Some(sent) = hello.et.filter(|_| echoes && link.boot == hello.boot) {
            link.rtt = Some(Rtt::sampled(link.rtt, now.since(Time::from_micros(sent))));
        }
        // An answer that taught us a boot id is answered once more: the neighbour needs the proof that we saw its HELLO.
        if hello.et.is_none() || matches!(news, LinkNews::Up | LinkNews::Renewed) {
            let (t, et) = (now.as_micros(), Some(hello.t));
            let answer = LinkHello { node, boot, echo: hello.boot, t, et, tree, whole, dg: takes, de: lease };
            counters.add(Count::LinkOut);
            counters.add(Count::LinkHelloOut);
            out.push_back(Output::SendTo { to: link.addr, boot: hello.boot, message: LinkMessage::Hello(answer) });
        }
        news
    }

    /// A datagram that named our boot id came.
    pub(super) fn on_heard(&mut self, now: Time, id: LinkId) {
        self.link_mut(id).heard = now;
    }

    /// A datagram that named an earlier life of ours came, so that the neighbour must learn soon which one this is; or its
    /// answer is wanted sooner than it would be greeted.
    pub(super) fn greet_soon(&mut self, now: Time, id: LinkId, out: &mut VecDeque<Output>, counters: &mut Counters) {
        let link = self.link(id);
        if link.state != State::Ignored && link.greeted.is_none_or(|at| now >= at + CORRECTION_GAP) {
            self.greet(now, id, out, counters);
        }
    }

    /// The deadline of [`Links::next`] has come: greet, or see that the neighbour is gone.
    pub(super) fn on_timeout(
        &mut self,
        now: Time,
        id: LinkId,
        out: &mut VecDeque<Output>,
        counters: &mut Counters,
    ) -> LinkNews {
        let link = self.link_mut(id);
        let mut news = LinkNews::Same;
        if link.state == State::Up && now >= link.heard + LINK_SILENCE_MAX {
            link.state = State::Down;
            link.boot = 0;
            news = LinkNews::Down;
        }
        if link.next_greeting().is_some_and(|at| now >= at) {
            self.greet(now, id, out, counters);
        }
        news
    }

    /// When the link wants [`Links::on_timeout`].
    pub(super) fn next(&self, id: LinkId) -> Option<Time> {
        let link = self.link(id);
        let silence = (link.state == State::Up).then(|| link.heard + LINK_SILENCE_MAX);
        link.next_greeting().into_iter().chain(silence).min()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.links.len() <= LINKS_MAX);
        assert_eq!(self.links.len(), self.by_addr.len());
        assert!(self.links.iter().all(|link| (link.state == State::Up) == (link.boot != 0)));
    }

    fn greet(&mut self, now: Time, id: LinkId, out: &mut VecDeque<Output>, counters: &mut Counters) {
        let Links { node, boot, tree, whole, takes, .. } = *self;
        let link = self.link_mut(id);
        link.greeted = Some(now);
        let (echo, t) = (link.boot, now.as_micros());
        let hello = LinkHello { node, boot, echo, t, et: None, tree, whole, dg: takes, de: None };
        counters.add(Count::LinkOut);
        counters.add(Count::LinkHelloOut);
        out.push_back(Output::SendTo { to: link.addr, boot: link.boot, message: LinkMessage::Hello(hello) });
    }

    fn link(&self, id: LinkId) -> &Link {
        &self.links[usize::from(id.0)]
    }

    fn link_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[usize::from(id.0)]
    }
}

impl Link {
    /// A HELLO of this boot id came. On a link that is up a new one counts only if it echoes ours: whoever forges a HELLO
    /// has never seen our boot id, and must not be able to reset the link.
    fn meet(&mut self, now: Time, boot: u64, echoes: bool) -> LinkNews {
        let news = match self.state {
            State::Ignored => return LinkNews::Same,
            State::Down => LinkNews::Up,
            State::Up if self.boot == boot => LinkNews::Same,
            State::Up if echoes => LinkNews::Renewed,
            State::Up => return LinkNews::Same,
        };
        if self.boot != boot {
            self.rtt = None;
        }
        self.state = State::Up;
        self.boot = boot;
        self.heard = now;
        news
    }

    fn meet_own_name(&mut self, own_boot: bool) -> LinkNews {
        if own_boot && self.state == State::Down {
            self.state = State::Ignored;
            return LinkNews::Myself;
        }
        if self.name_taken {
            return LinkNews::Same;
        }
        self.name_taken = true;
        LinkNews::NameTaken
    }

    fn next_greeting(&self) -> Option<Time> {
        let wait = match self.state {
            State::Ignored => return None,
            State::Down => LINK_RETRY,
            State::Up => LINK_KEEPALIVE,
        };
        Some(self.greeted.map_or(Time::ZERO, |at| at + wait))
    }
}

#[cfg(test)]
mod tests;
