//! The spanning tree of the super peers, over which a query reaches everybody with the fewest messages.
//!
//! It owns which tree this super peer holds and how one grows; it never looks at a query. The super peer with the lowest node
//! id is the root (as in IEEE 802.1D). It grows a tree by a probe that goes over every link and an echo that comes back: the
//! link of the first probe leads to the parent, and a neighbour whose answer is `mine` is a child. When the echo has closed at
//! the root its `keep` goes down, and only then is the tree held. Everybody tells every neighbour which tree it holds, at
//! once and in each HELLO.
//!
//! A tree is void as soon as anybody who holds it loses an edge of it, or has a neighbour that holds another or none. Voids are
//! told to all neighbours and passed on; the root then grows the next one, not too often; a root that does not is taken for
//! gone after a while, and those who are left elect another. While nothing changes nothing is sent but the name in HELLO.
//!
//! **What a ride may rely on.** A name is never used twice: the root counts its trees, and its boot id tells its lives apart.
//! The edges that a super peer has in a tree are fixed when it comes to hold it: losing one only makes it void. Whoever holds
//! a tree was told so by its parent, which holds it with this child, and so on up to the root. Take a super peer that answers a
//! ride and is not *stale*: each neighbour that is up has said in its present life that it holds the same tree. So a way of
//! edges leads from each of those neighbours up to the root and from there down to the asker, and the ride goes over every
//! edge at everybody it meets. Hence it meets that neighbour too, or somebody on the way that does not hold the tree any more,
//! whose edge is gone, or who does not answer; each of those is told as a cut. Without a cut the set of those that answered is
//! closed under links: nobody that can be reached is left out. A leaf whose digest says no may be left out, once there was a
//! moment at which all its neighbours held the tree: they are in that set by themselves, and it has nothing to tell.

use std::collections::VecDeque;
use std::time::Duration;

use super::counters::{Count, Counters};
use super::link::{LinkId, Links};
use crate::config::{TREE_GAP_MAX, TREE_GAP_MIN, TREE_GROWTH_MAX, TREE_ROOT_PATIENCE, TREE_SETTLE};
use crate::proto::Output;
use crate::time::Time;
use crate::wire::link::{LinkHello, LinkTree, TreeStep};
use crate::wire::{LinkMessage, NodeId, TreeName};

/// How soon after a tree is void its root grows the next, at the earliest: others may have something to tell as well.
const VOID_PAUSE: Duration = Duration::from_millis(200);
/// A neighbour that says later than this after we came to hold a tree that it does not hold it makes the tree void; earlier it
/// may not have been told yet.
const KEEP_PATIENCE: Duration = Duration::from_secs(3);
/// A tree that was held for this long shows that the network is calm.
const CALM: Duration = Duration::from_secs(30);
/// Longest wait before a probe or a `keep` is repeated.
const REPEAT_MAX: Duration = Duration::from_millis(500);
/// And after `wait`.
const REPEAT_WAITING: Duration = Duration::from_secs(1);
/// Trees that were left and are not joined again, by root and life.
const PAST_MAX: usize = 32;

/// What the tree borrows from the super peer for one call.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) links: &'a Links,
    pub(super) counters: &'a mut Counters,
    pub(super) out: &'a mut VecDeque<Output>,
}

impl Cx<'_> {
    fn say(&mut self, link: LinkId, tree: TreeName, step: TreeStep, n: u32) {
        let message = LinkMessage::Tree(LinkTree { tree, step, n });
        self.links.send(link, message, self.out, self.counters);
    }

    /// To every neighbour that is up but one.
    fn say_all(&mut self, but: Option<LinkId>, tree: TreeName, step: TreeStep) {
        let links = self.links;
        for link in links.ids().filter(|link| Some(*link) != but) {
            self.say(link, tree, step, 0);
        }
    }

    fn up(&self) -> impl Iterator<Item = LinkId> + use<'_> {
        self.links.ids().filter(|link| self.links.is_up(*link))
    }
}

/// What a neighbour has told in its present life.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    node: Option<NodeId>,
    holds: Option<TreeName>,
    /// Whether all its neighbours hold that tree, or did.
    whole: bool,
}

/// A repetition that gets slower.
#[derive(Clone, Copy, Debug)]
struct Pace {
    at: Time,
    wait: Duration,
}

impl Pace {
    fn new(now: Time, wait: Duration) -> Pace {
        Pace { at: now + wait, wait }
    }

    /// Whether it is time; then the next time is later.
    fn due(&mut self, now: Time) -> bool {
        let due = now >= self.at;
        if due {
            self.wait = (self.wait * 2).min(REPEAT_MAX.max(self.wait));
            self.at = now + self.wait;
        }
        due
    }
}

/// A child in a tree that is held.
#[derive(Clone, Copy, Debug)]
struct Child {
    link: LinkId,
    /// Nobody is behind it.
    leaf: bool,
    /// The link went down; only a leaf may go so without making the tree void.
    lost: bool,
    /// When `keep` is repeated, until the child says that it holds the tree.
    keep: Option<Pace>,
}

/// The tree that is held.
#[derive(Debug)]
struct Held {
    name: TreeName,
    since: Time,
    parent: Option<LinkId>,
    children: Vec<Child>,
    /// Super peers of this branch.
    n: u32,
    /// Whether there was a moment at which every neighbour held it.
    whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// A child, with so many super peers in its branch.
    Mine(u32),
    /// It is in the tree by another link.
    Other,
}

#[derive(Debug)]
struct Probe {
    link: LinkId,
    answer: Option<Answer>,
    pace: Pace,
}

/// A tree that grows here.
#[derive(Debug)]
struct Growth {
    name: TreeName,
    parent: Option<LinkId>,
    probes: Vec<Probe>,
    /// All probes are answered, and the parent was told.
    closed: bool,
    until: Time,
}

impl Growth {
    fn n(&self) -> u32 {
        self.probes.iter().fold(1, |sum, probe| match probe.answer {
            Some(Answer::Mine(n)) => sum.saturating_add(n),
            Some(Answer::Other) | None => sum,
        })
    }
}

/// The tree of this super peer.
///
/// - getters: `holds`, `rides`, `is_stale`, `edges`, `size`, `next`;
/// - `handle_*`: `on_tree`, `on_hello`, `on_link_lost`, `on_timeout`;
/// - outputs are pushed by the handlers.
#[derive(Debug)]
pub(super) struct Tree {
    node: NodeId,
    boot: u64,
    /// The last one that was grown from here.
    epoch: u64,
    sides: Vec<Side>,
    held: Option<Held>,
    growth: Option<Growth>,
    /// A tree that is void, whose root is believed to grow the next until then.
    orphaned: Option<(TreeName, Time)>,
    /// Newest trees that were joined, by root and life; the latest last.
    past: Vec<TreeName>,
    /// When to see whether a tree is to be grown from here.
    grow_at: Option<Time>,
    grown: Option<Time>,
    gap: Duration,
}

impl Tree {
    pub(super) fn new(node: NodeId, boot: u64, links: usize) -> Tree {
        Tree {
            node,
            boot,
            epoch: 0,
            sides: vec![Side::default(); links],
            held: None,
            growth: None,
            orphaned: None,
            past: Vec::new(),
            grow_at: None,
            grown: None,
            gap: TREE_GAP_MIN,
        }
    }

    /// The tree that is held, as neighbours are told.
    pub(super) fn holds(&self) -> Option<TreeName> {
        self.held.as_ref().map(|held| held.name)
    }

    /// Whether every neighbour came to hold that tree, while none was down.
    pub(super) fn is_whole(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.whole)
    }

    /// The tree that a query from here may ride.
    pub(super) fn rides(&self, links: &Links) -> Option<TreeName> {
        self.holds().filter(|name| !self.is_stale(*name, links))
    }

    /// Whether a ride over this tree may miss somebody here.
    pub(super) fn is_stale(&self, name: TreeName, links: &Links) -> bool {
        let Some(held) = self.held.as_ref().filter(|held| held.name == name) else { return true };
        let lost = |link: LinkId| held.children.iter().any(|child| child.link == link && child.lost);
        let holds = |link: LinkId| self.sides[usize::from(link.0)].holds == Some(name);
        links.ids().any(|link| links.is_up(link) && (!holds(link) || lost(link)))
    }

    /// The edges of this tree here, each with whether a ride may spare it if the digest of who is behind it allows: it leads to a
    /// leaf all of whose neighbours came to hold the tree, so that the ride comes to each of them by another edge. None if the
    /// tree is not held.
    pub(super) fn edges(&self, name: TreeName) -> Option<impl Iterator<Item = (LinkId, bool)> + '_> {
        let held = self.held.as_ref().filter(|held| held.name == name)?;
        let whole = move |side: Side| side.whole && side.holds == Some(name);
        let spare = move |child: &Child| child.leaf && whole(self.sides[usize::from(child.link.0)]);
        let children = held.children.iter().filter(|child| !child.lost).map(move |child| (child.link, spare(child)));
        Some(held.parent.map(|parent| (parent, false)).into_iter().chain(children))
    }

    /// Super peers of the held tree from here down; all of them at the root.
    pub(super) fn size(&self) -> u32 {
        self.held.as_ref().map_or(0, |held| held.n)
    }

    /// When it wants [`Tree::on_timeout`].
    pub(super) fn next(&self) -> Option<Time> {
        let growth = self.growth.iter().flat_map(|growth| {
            let open = growth.probes.iter().filter(|probe| probe.answer.is_none());
            open.map(|probe| probe.pace.at).chain([growth.until])
        });
        let held = self.held.iter().flat_map(|held| &held.children);
        let keeps = held.filter_map(|child| child.keep.map(|pace| pace.at));
        let orphaned = self.orphaned.map(|(_, until)| until);
        growth.chain(keeps).chain(orphaned).chain(self.grow_at).min()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.past.len() <= PAST_MAX);
        if let Some(held) = &self.held {
            assert!(held.name.root <= self.node && (held.name.root == self.node) == held.parent.is_none());
            assert!(held.children.iter().all(|child| Some(child.link) != held.parent));
            assert!(self.orphaned.is_none());
        }
        if let Some(growth) = &self.growth {
            assert!(growth.name.root <= self.node && (growth.name.root == self.node) == growth.parent.is_none());
            assert!(growth.probes.iter().all(|probe| Some(probe.link) != growth.parent));
        }
    }

    /// A neighbour's HELLO came on a link that is up.
    pub(super) fn on_hello(&mut self, link: LinkId, hello: LinkHello, cx: &mut Cx<'_>) {
        self.sides[usize::from(link.0)].node = Some(hello.node);
        // It is no `keep`: it may hold the tree without us, if the link was down while it grew. A `keep` that was lost comes again.
        self.on_holds(link, hello.tree, hello.whole, cx);
        self.see_whole(cx);
        self.consider(cx.now, TREE_SETTLE, cx);
    }

    /// The link went down, or its neighbour started anew.
    pub(super) fn on_link_lost(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        self.sides[usize::from(link.0)] = Side::default();
        if let Some(growth) = &mut self.growth {
            if growth.parent == Some(link) {
                self.growth = None;
            } else {
                growth.probes.retain(|probe| probe.link != link);
                self.close(cx);
            }
        }
        if let Some(held) = &mut self.held {
            let child = held.children.iter_mut().find(|child| child.link == link);
            let leaf = child.is_some_and(|child| {
                child.lost = true;
                child.keep = None;
                child.leaf
            });
            let edge = held.parent == Some(link) || held.children.iter().any(|child| child.link == link);
            if edge && !leaf {
                self.void(None, cx);
            }
        }
        self.consider(cx.now, TREE_SETTLE, cx);
    }

    /// A neighbour says something about a tree.
    pub(super) fn on_tree(&mut self, link: LinkId, message: LinkTree, cx: &mut Cx<'_>) {
        let LinkTree { tree, step, n } = message;
        match step {
            TreeStep::Grow => self.on_grow(link, tree, cx),
            TreeStep::Wait => {
                if let Some(probe) = self.probe(link, tree).filter(|probe| probe.answer.is_none()) {
                    probe.pace = Pace::new(cx.now, REPEAT_WAITING);
                }
            }
            TreeStep::Mine => self.on_answer(link, tree, Answer::Mine(n), cx),
            TreeStep::Other => self.on_answer(link, tree, Answer::Other, cx),
            TreeStep::Keep => {
                self.on_holds(link, Some(tree), false, cx);
                self.on_keep(link, tree, cx);
                if let Some(held) = self.held.as_ref().filter(|held| held.name == tree && held.parent == Some(link)) {
                    cx.say(link, held.name, TreeStep::Held, 0);
                }
            }
            TreeStep::Held => self.on_holds(link, Some(tree), false, cx),
            TreeStep::Whole => self.on_holds(link, Some(tree), true, cx),
            TreeStep::Void => self.on_void(link, tree, cx),
            TreeStep::Unknown => {}
        }
        self.see_whole(cx);
    }

    /// The deadline of [`Tree::next`] has come.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        if self.growth.as_ref().is_some_and(|growth| now >= growth.until) {
            cx.counters.add(Count::TreesFailed);
            self.growth = None;
            self.consider(now, self.gap, cx);
        }
        if let Some(growth) = &mut self.growth {
            let name = growth.name;
            for probe in growth.probes.iter_mut().filter(|probe| probe.answer.is_none()) {
                if probe.pace.due(now) {
                    cx.say(probe.link, name, TreeStep::Grow, 0);
                }
            }
        }
        if let Some(held) = &mut self.held {
            let name = held.name;
            for child in &mut held.children {
                if child.keep.as_mut().is_some_and(|pace| pace.due(now)) {
                    cx.say(child.link, name, TreeStep::Keep, 0);
                }
            }
        }
        if self.orphaned.is_some_and(|(_, until)| now >= until) {
            self.orphaned = None;
            self.consider(now, TREE_SETTLE, cx);
        }
        if self.grow_at.is_some_and(|at| now >= at) {
            self.grow_at = None;
            self.grow_if_lowest(cx);
        }
    }

    // ---- growing -------------------------------------------------------------------------------------------------

    /// Without a tree, a growth or a root to wait for: sees later whether a tree is to be grown from here.
    fn consider(&mut self, now: Time, wait: Duration, cx: &Cx<'_>) {
        let idle = self.held.is_none() && self.growth.is_none() && self.orphaned.is_none();
        if idle && self.grow_at.is_none() && cx.up().next().is_some() {
            self.grow_at = Some(now + wait);
        }
    }

    fn grow_if_lowest(&mut self, cx: &mut Cx<'_>) {
        if self.held.is_some() || self.growth.is_some() || self.orphaned.is_some() || cx.up().next().is_none() {
            return;
        }
        // Of neighbours only the lowest begins; a tree with a lower root will come to us.
        let lowest = cx.up().all(|link| {
            let side = self.sides[usize::from(link.0)];
            side.node.is_none_or(|node| node > self.node) && side.holds.is_none_or(|tree| tree.root >= self.node)
        });
        if !lowest {
            return self.consider(cx.now, TREE_GAP_MIN, cx);
        }
        if let Some(at) = self.grown.map(|at| at + self.gap).filter(|at| *at > cx.now) {
            self.grow_at = Some(at);
            return;
        }
        cx.counters.add(Count::TreesGrown);
        self.gap = if self.grown.is_some() { (self.gap * 2).min(TREE_GAP_MAX) } else { TREE_GAP_MIN };
        self.grown = Some(cx.now);
        self.epoch += 1;
        self.join(TreeName { root: self.node, boot: self.boot, epoch: self.epoch }, None, cx);
    }

    /// Takes part in a tree that grows, and asks every other neighbour to.
    fn join(&mut self, name: TreeName, parent: Option<LinkId>, cx: &mut Cx<'_>) {
        self.remember(name);
        self.grow_at = None;
        let links = cx.links;
        let probes = cx.up().filter(|link| Some(*link) != parent);
        let probes: Vec<Probe> = probes
            .map(|link| Probe { link, answer: None, pace: Pace::new(cx.now, links.repeat_after(link)) })
            .collect();
        for probe in &probes {
            cx.say(probe.link, name, TreeStep::Grow, 0);
        }
        // The others wait a little longer than the root, so that it is the first to give up.
        let patience = if parent.is_none() { TREE_GROWTH_MAX } else { TREE_GROWTH_MAX + TREE_SETTLE };
        self.growth = Some(Growth { name, parent, probes, closed: false, until: cx.now + patience });
        self.close(cx);
    }

    fn on_grow(&mut self, link: LinkId, name: TreeName, cx: &mut Cx<'_>) {
        if let Some(growth) = self.growth.as_ref().filter(|growth| growth.name == name) {
            if growth.parent != Some(link) {
                cx.say(link, name, TreeStep::Other, 0);
                // Whoever asks us is in it by another link.
                return self.on_answer(link, name, Answer::Other, cx);
            }
            let (step, n) = if growth.closed { (TreeStep::Mine, growth.n()) } else { (TreeStep::Wait, 0) };
            return cx.say(link, name, step, n);
        }
        if let Some(held) = self.held.as_ref().filter(|held| held.name == name) {
            let (step, n) = if held.parent == Some(link) { (TreeStep::Mine, held.n) } else { (TreeStep::Other, 0) };
            return cx.say(link, name, step, n);
        }
        if self.is_better(name) {
            self.join(name, Some(link), cx);
        }
    }

    /// Whether to leave whatever there is for this tree.
    fn is_better(&self, name: TreeName) -> bool {
        // Of the lives of one root that we know the last one counts.
        let mut lives = self.past.iter().rev().filter(|past| past.root == name.root);
        let newest = lives.next().is_none_or(|past| past.boot != name.boot || past.epoch < name.epoch);
        if name.root >= self.node || !newest || lives.any(|past| past.boot == name.boot) {
            return false;
        }
        let growing = self.growth.as_ref().map(|growth| growth.name);
        let here = growing.or(self.holds()).or(self.orphaned.map(|(name, _)| name));
        here.is_none_or(|here| name.root <= here.root)
    }

    fn probe(&mut self, link: LinkId, name: TreeName) -> Option<&mut Probe> {
        let growth = self.growth.as_mut().filter(|growth| growth.name == name)?;
        growth.probes.iter_mut().find(|probe| probe.link == link)
    }

    fn on_answer(&mut self, link: LinkId, name: TreeName, answer: Answer, cx: &mut Cx<'_>) {
        match self.probe(link, name) {
            Some(probe) if probe.answer.is_none() => probe.answer = Some(answer),
            Some(_) | None => return,
        }
        self.close(cx);
    }

    /// Tells the parent once every probe is answered; at the root the tree is grown then.
    fn close(&mut self, cx: &mut Cx<'_>) {
        let Some(growth) = &mut self.growth else { return };
        if growth.closed || growth.probes.iter().any(|probe| probe.answer.is_none()) {
            return;
        }
        growth.closed = true;
        match growth.parent {
            Some(parent) => {
                let n = growth.n();
                cx.say(parent, growth.name, TreeStep::Mine, n);
            }
            None => self.hold(cx),
        }
    }

    fn on_keep(&mut self, link: LinkId, name: TreeName, cx: &mut Cx<'_>) {
        let ours = |growth: &Growth| growth.closed && growth.parent == Some(link) && growth.name == name;
        if self.growth.as_ref().is_some_and(ours) {
            self.hold(cx);
        }
    }

    /// From now on the tree that grew is held.
    fn hold(&mut self, cx: &mut Cx<'_>) {
        let Some(growth) = self.growth.take() else { return };
        cx.counters.add(Count::TreesHeld);
        let n = growth.n();
        let Growth { name, parent, probes, .. } = growth;
        let child = |probe: &Probe| match probe.answer {
            Some(Answer::Mine(n)) => {
                let keep = Some(Pace::new(cx.now, cx.links.repeat_after(probe.link)));
                Some(Child { link: probe.link, leaf: n == 1, lost: false, keep })
            }
            Some(Answer::Other) | None => None,
        };
        let children: Vec<Child> = probes.iter().filter_map(child).collect();
        let links = cx.links;
        for link in links.ids() {
            let step = match children.iter().any(|child| child.link == link) {
                true => TreeStep::Keep,
                false => TreeStep::Held,
            };
            cx.say(link, name, step, 0);
        }
        self.orphaned = None;
        self.held = Some(Held { name, since: cx.now, parent, children, n, whole: false });
    }

    // ---- holding -------------------------------------------------------------------------------------------------

    /// A neighbour told which tree it holds.
    fn on_holds(&mut self, link: LinkId, holds: Option<TreeName>, whole: bool, cx: &mut Cx<'_>) {
        let side = &mut self.sides[usize::from(link.0)];
        // Who was whole once stays so: what counts is that its neighbours came to hold the tree.
        side.whole = whole || (side.whole && side.holds == holds);
        side.holds = holds;
        let Some(held) = &mut self.held else { return };
        let child = held.children.iter_mut().find(|child| child.link == link);
        let agrees = holds == Some(held.name);
        let lost = child.is_some_and(|child| {
            if agrees {
                child.keep = None;
            }
            child.lost
        });
        // A leaf that comes back is no child any more: what it holds is not this tree as it is here.
        if lost || (!agrees && cx.now >= held.since + KEEP_PATIENCE) {
            self.void(None, cx);
        }
    }

    /// Notes when every neighbour holds the tree; a leaf tells its parent.
    fn see_whole(&mut self, cx: &mut Cx<'_>) {
        let Some(held) = &mut self.held else { return };
        let holds = |link: LinkId| cx.links.is_up(link) && self.sides[usize::from(link.0)].holds == Some(held.name);
        if held.whole || !cx.links.ids().all(holds) || held.children.iter().any(|child| child.lost) {
            return;
        }
        held.whole = true;
        if let Some(parent) = held.parent.filter(|_| held.children.is_empty()) {
            cx.say(parent, held.name, TreeStep::Whole, 0);
        }
    }

    fn on_void(&mut self, link: LinkId, name: TreeName, cx: &mut Cx<'_>) {
        let side = &mut self.sides[usize::from(link.0)];
        if side.holds == Some(name) {
            side.holds = None;
        }
        if self.holds() == Some(name) {
            self.void(Some(link), cx);
        } else if self.growth.as_ref().is_some_and(|growth| growth.name == name && growth.parent.is_some()) {
            // It is void before it came to be held here.
            self.growth = None;
            cx.say_all(Some(link), name, TreeStep::Void);
            self.orphan(name, cx);
        }
    }

    /// The held tree is void: everybody is told, and the root grows the next.
    fn void(&mut self, from: Option<LinkId>, cx: &mut Cx<'_>) {
        let Some(held) = self.held.take() else { return };
        cx.counters.add(Count::TreesVoid);
        cx.say_all(from, held.name, TreeStep::Void);
        if held.name.root != self.node {
            return self.orphan(held.name, cx);
        }
        if cx.now >= held.since + CALM {
            self.gap = TREE_GAP_MIN;
        }
        self.consider(cx.now, VOID_PAUSE, cx);
    }

    fn orphan(&mut self, name: TreeName, cx: &mut Cx<'_>) {
        if self.held.is_none() {
            self.orphaned = Some((name, cx.now + TREE_ROOT_PATIENCE));
        }
    }

    /// Remembers that this tree was joined, so that it, or an earlier one of that life, is not joined again.
    fn remember(&mut self, name: TreeName) {
        self.past.retain(|past| (past.root, past.boot) != (name.root, name.boot));
        if self.past.len() >= PAST_MAX {
            self.past.remove(0);
        }
        self.past.push(name);
    }
}

#[cfg(test)]
mod tests;
