//! The table of links: who the neighbors are, whether each link is up, the boot id of the neighbor,
//! and the round-trip time.
//!
//! It owns the HELLO exchange. It knows no query, no tree and no digest.
//!
//! A link's boot id proves that a datagram comes from a node that saw our HELLO. It is drawn for
//! links alone and differs from the one that sessions see, so that a weak peer cannot forge a
//! neighbor's datagram.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::rtt::Rtt;
use crate::config::{FOLD, LINK_KEEPALIVE, LINK_RETRY, LINK_SILENCE_MAX, LINKS_MAX};
use crate::proto::Output;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::time::Time;
use crate::wire::link::{LinkHello, LinkTree, TreeStep};
use crate::wire::message::{LinkRow, LinkState};
use crate::wire::{LinkMessage, NodeId, TreeName};

/// A neighbor that uses the boot id of an earlier run of ours gets a HELLO, but not more often than
/// this.
const CORRECTION_GAP: Duration = Duration::from_millis(200);

/// What a HELLO or a deadline changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that other parts need to know.
    None,
    /// The link is up.
    Up,
    /// The neighbor has restarted, and the link is up again: answers that it owed are lost.
    Renewed,
    /// The link is down.
    Down,
    /// Another node uses our node id; the link stays down.
    NameTaken,
    /// The neighbor is this very node; the link is ignored from now on.
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
    /// The neighbor's boot id; 0 while down.
    boot: u64,
    /// How often the answers that the neighbor owed were lost, because it was silent or had
    /// restarted.
    life: u32,
    /// Since when it is in this state.
    since: Time,
    /// The neighbor's node, once it was heard.
    node: Option<NodeId>,
    heard: Time,
    greeted: Option<Time>,
    /// Whether it was logged that another node uses our node id.
    name_taken: bool,
    rtt: Rtt,
}

/// All links of a super peer.
///
/// - getters: `find`, `is_up`, `boot`, `repeat_after`, `next`, …;
/// - `handle_*`: `on_hello`, `on_heard`, `on_timeout`;
/// - mutators: `send`, `greet_soon`, `set_tree`.
#[derive(Debug)]
pub(crate) struct Links {
    node: NodeId,
    boot: u64,
    /// The spanning tree that we hold, for our HELLOs.
    tree: Option<TreeName>,
    /// Whether there was a moment at which all our neighbors held it, for our HELLOs.
    whole: bool,
    /// Size of the digests that we take, for our HELLOs: at most 2^`takes` bits.
    takes: Option<u8>,
    links: Vec<Link>,
    by_addr: BTreeMap<SocketAddr, LinkId>,
}

impl Links {
    /// Links to these neighbors, all down. An address that is given twice is one neighbor; those
    /// above the cap are left out.
    pub(crate) fn new(node: NodeId, boot: u64, neighbors: &[SocketAddr]) -> Links {
        assert_ne!(boot, 0, "0 means that a boot id is not known");
        let (links, by_addr) = (Vec::new(), BTreeMap::new());
        let mut all = Links { node, boot, tree: None, whole: false, takes: None, links, by_addr };
        for addr in neighbors {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            if all.links.len() < LINKS_MAX && !all.by_addr.contains_key(&addr) {
                all.by_addr.insert(addr, LinkId::at(all.links.len()));
                all.links.push(Link {
                    addr,
                    state: State::Down,
                    boot: 0,
                    life: 0,
                    since: Time::ZERO,
                    node: None,
                    heard: Time::ZERO,
                    greeted: None,
                    name_taken: false,
                    rtt: Rtt::default(),
                });
            }
        }
        all
    }

    /// From now on HELLOs say that digests of up to 2^`takes` bits are taken.
    pub(super) fn take_digests(&mut self, takes: Option<u8>) {
        self.takes = takes;
    }

    /// From now on HELLOs say that this tree is held, and whether there was a moment at which all
    /// neighbors held it.
    pub(super) fn set_tree(&mut self, tree: Option<TreeName>, whole: bool) {
        (self.tree, self.whole) = (tree, whole);
    }

    /// The link to a neighbor at this address.
    pub(crate) fn find(&self, from: SocketAddr) -> Option<LinkId> {
        self.by_addr.get(&from).copied()
    }

    /// Every link but those that lead to ourselves.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        (0u16..).map(LinkId).zip(&self.links).filter(|(_, link)| link.state != State::Ignored).map(|(id, _)| id)
    }

    /// Every link that is up.
    pub(crate) fn up(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.ids().filter(|link| self.is_up(*link))
    }

    /// How many links there are, those to ourselves included.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
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

    /// A number that grows each time that open answers of the neighbor are lost. A query that was
    /// asked under an earlier number has no answer.
    pub(crate) fn life(&self, id: LinkId) -> u32 {
        self.link(id).life
    }

    /// The neighbor's address.
    pub(crate) fn addr(&self, id: LinkId) -> SocketAddr {
        self.link(id).addr
    }

    /// The neighbor's boot id; 0 while the link is down.
    pub(super) fn boot_of(&self, id: LinkId) -> u64 {
        self.link(id).boot
    }

    /// Our boot id towards neighbors.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// How long an answer may take before the question is repeated.
    pub(crate) fn repeat_after(&self, id: LinkId) -> Duration {
        self.link(id).rtt.timeout()
    }

    /// How long PENDING may be delayed so that it reaches the neighbor before the neighbor repeats
    /// its QUERY; its round-trip time is taken to be ours.
    pub(crate) fn pending_after(&self, id: LinkId) -> Duration {
        self.repeat_after(id).saturating_sub(self.link(id).rtt.smoothed()) / 2
    }

    /// Queues a message for a neighbor. It is dropped if the link is not up, since the neighbor
    /// would not take it.
    pub(crate) fn send(&self, id: LinkId, message: LinkMessage, cx: &mut Context) {
        let link = self.link(id);
        if link.state == State::Up {
            transmit(link.addr, link.boot, message, cx);
        }
    }

    /// The same for a TREE.
    pub(crate) fn send_tree(&self, id: LinkId, tree: TreeName, step: TreeStep, n: u32, cx: &mut Context) {
        self.send(id, LinkMessage::Tree(LinkTree { tree, step, n }), cx);
    }

    /// A HELLO came. Its `echo` must be 0 unless the header of its datagram named our boot id.
    /// `lease` goes into the answer.
    pub(super) fn on_hello(&mut self, id: LinkId, hello: LinkHello, lease: Option<u64>, cx: &mut Context) -> Change {
        let (node, boot, now) = (self.node, self.boot, cx.now);
        let link = self.link_mut(id);
        if link.state == State::Ignored || hello.boot == 0 {
            return Change::None;
        }
        if hello.node == node {
            cx.count(Count::LinkSelf);
            return link.meet_own_name(hello.boot == boot);
        }
        let echoes = hello.echo == boot;
        let change = link.meet(now, hello.boot, echoes);
        link.node = Some(hello.node);
        if let Some(sent) = hello.et.filter(|_| echoes && link.boot == hello.boot) {
            link.rtt.add(now.since(Time::from_micros(sent)));
        }
        // A HELLO that brings the link up is answered even if it is an answer: the neighbor needs
        // the proof that we saw it.
        if hello.et.is_none() || matches!(change, Change::Up | Change::Renewed) {
            let answer = LinkHello { et: Some(hello.t), de: lease, ..self.hello(hello.boot, now) };
            transmit(self.link(id).addr, hello.boot, LinkMessage::Hello(answer), cx);
        }
        change
    }

    /// A datagram that named our boot id came.
    pub(super) fn on_heard(&mut self, id: LinkId, now: Time) {
        self.link_mut(id).heard = now;
    }

    /// Sends HELLO now unless one was sent just before: the neighbor still uses the boot id of an
    /// earlier run of ours, or its answer is needed sooner than the next HELLO is due.
    pub(super) fn greet_soon(&mut self, id: LinkId, cx: &mut Context) {
        let link = self.link(id);
        if link.state != State::Ignored && link.greeted.is_none_or(|at| cx.now >= at + CORRECTION_GAP) {
            self.greet(id, cx);
        }
    }

    /// The deadline of [`Links::next`] has come: sends HELLO, or finds that the neighbor is gone.
    pub(super) fn on_timeout(&mut self, id: LinkId, cx: &mut Context) -> Change {
        let link = self.link_mut(id);
        let mut change = Change::None;
        if link.state == State::Up && cx.now >= link.heard + LINK_SILENCE_MAX {
            link.state = State::Down;
            link.since = cx.now;
            link.boot = 0;
            link.life = link.life.wrapping_add(1);
            change = Change::Down;
        }
        if link.next_greeting().is_some_and(|at| cx.now >= at) {
            self.greet(id, cx);
        }
        change
    }

    /// When [`Links::on_timeout`] is due.
    pub(super) fn next(&self, id: LinkId) -> Option<Time> {
        let link = self.link(id);
        let silence = (link.state == State::Up).then(|| link.heard + LINK_SILENCE_MAX);
        link.next_greeting().into_iter().chain(silence).min()
    }

    /// All links as INFO lists them.
    pub(crate) fn rows(&self, now: Time) -> Vec<LinkRow> {
        self.links.iter().map(|link| link.row(now)).collect()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.links.len() <= LINKS_MAX);
        assert_eq!(self.links.len(), self.by_addr.len());
        assert!(self.links.iter().all(|link| (link.state == State::Up) == (link.boot != 0)));
    }

    fn greet(&mut self, id: LinkId, cx: &mut Context) {
        let link = self.link_mut(id);
        link.greeted = Some(cx.now);
        let (addr, boot) = (link.addr, link.boot);
        transmit(addr, boot, LinkMessage::Hello(self.hello(boot, cx.now)), cx);
    }

    /// A HELLO that asks for an answer.
    fn hello(&self, echo: u64, now: Time) -> LinkHello {
        let Links { node, boot, tree, whole, takes, .. } = *self;
        LinkHello { node, boot, echo, t: now.as_micros(), et: None, tree, whole, dg: takes, de: None, fold: Some(FOLD) }
    }

    fn link(&self, id: LinkId) -> &Link {
        &self.links[id.index()]
    }

    fn link_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id.index()]
    }
}

impl Link {
    /// A HELLO of this boot id came. On a link that is up, a new boot id counts only if the HELLO
    /// echoes ours: a forger has never seen our boot id, and must not be able to reset the link.
    fn meet(&mut self, now: Time, boot: u64, echoes: bool) -> Change {
        let change = match self.state {
            State::Ignored => return Change::None,
            State::Down => Change::Up,
            State::Up if self.boot == boot => Change::None,
            State::Up if echoes => Change::Renewed,
            State::Up => return Change::None,
        };
        if self.boot != boot {
            self.rtt = Rtt::default();
        }
        self.life = self.life.wrapping_add(u32::from(change == Change::Renewed));
        if change != Change::None {
            self.since = now;
        }
        self.state = State::Up;
        self.boot = boot;
        self.heard = now;
        change
    }

    fn row(&self, now: Time) -> LinkRow {
        LinkRow {
            name: self.addr.to_string(),
            at: vec![self.addr.to_string()],
            node: self.node,
            state: match self.state {
                State::Down => LinkState::Down,
                State::Up => LinkState::Up,
                State::Ignored => LinkState::Itself,
            },
            since: u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX),
            rtt: self.rtt.measured().map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            why: None,
        }
    }

    fn meet_own_name(&mut self, own_boot: bool) -> Change {
        if own_boot && self.state == State::Down {
            self.state = State::Ignored;
            return Change::Myself;
        }
        if self.name_taken {
            return Change::None;
        }
        self.name_taken = true;
        Change::NameTaken
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

fn transmit(to: SocketAddr, boot: u64, message: LinkMessage, cx: &mut Context) {
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
    cx.out.push_back(Output::SendTo { to, boot, message });
}
