//! How a tree grows: the probe `grow` goes over every link, the echo comes back, and then `keep`
//! makes the tree held.

use super::state::{Answer, Child, Growth, Held, Pace, Probe, Tree};
use crate::config::{TREE_GAP_MAX, TREE_GAP_MIN, TREE_GROWTH_MAX, TREE_SETTLE};
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Links;
use crate::time::Time;
use crate::wire::TreeName;
use crate::wire::link::TreeStep;

impl Tree {
    /// If no tree is held, none grows and no root is waited for: sets the time, after this wait, to
    /// check whether a tree is to be grown from here.
    pub(super) fn consider(&mut self, now: Time, wait: std::time::Duration, links: &Links) {
        if self.is_idle() && self.grow_at.is_none() && links.up().next().is_some() {
            self.grow_at = Some(now + wait);
        }
    }

    fn is_idle(&self) -> bool {
        self.held.is_none() && self.growth.is_none() && self.orphaned.is_none()
    }

    pub(super) fn grow_if_lowest(&mut self, links: &Links, cx: &mut Context) {
        if !self.is_idle() || links.up().next().is_none() {
            return;
        }
        // If a neighbor has a lower id, this super peer does not begin: a tree with a lower root
        // will reach it.
        let lowest = links.up().all(|link| {
            let side = self.sides[link.index()];
            side.node.is_none_or(|node| node > self.node) && side.holds.is_none_or(|tree| tree.root >= self.node)
        });
        if !lowest {
            return self.consider(cx.now, TREE_GAP_MIN, links);
        }
        if let Some(at) = self.grown.map(|at| at + self.gap).filter(|at| *at > cx.now) {
            self.grow_at = Some(at);
            return;
        }
        cx.count(Count::TreesGrown);
        self.gap = if self.grown.is_some() { (self.gap * 2).min(TREE_GAP_MAX) } else { TREE_GAP_MIN };
        self.grown = Some(cx.now);
        self.epoch += 1;
        self.join(TreeName { root: self.node, boot: self.boot, epoch: self.epoch }, None, links, cx);
    }

    /// Takes part in a tree that grows, and sends `grow` to every other neighbor.
    fn join(&mut self, name: TreeName, parent: Option<LinkId>, links: &Links, cx: &mut Context) {
        self.remember(name);
        self.grow_at = None;
        let others = links.up().filter(|link| Some(*link) != parent);
        let probe = |link| Probe { link, answer: None, pace: Pace::new(cx.now, links.repeat_after(link)) };
        let probes: Vec<Probe> = others.map(probe).collect();
        for probe in &probes {
            links.send_tree(probe.link, name, TreeStep::Grow, 0, cx);
        }
        // Every other super peer waits a little longer than the root, so that the root is the first
        // to give up.
        let patience = if parent.is_none() { TREE_GROWTH_MAX } else { TREE_GROWTH_MAX + TREE_SETTLE };
        self.growth = Some(Growth { name, parent, probes, closed: false, until: cx.now + patience });
        self.close(links, cx);
    }

    pub(super) fn on_grow(&mut self, link: LinkId, name: TreeName, links: &Links, cx: &mut Context) {
        if let Some(growth) = self.growth.as_ref().filter(|growth| growth.name == name) {
            if growth.parent != Some(link) {
                links.send_tree(link, name, TreeStep::Other, 0, cx);
                // A neighbor that sends `grow` is itself in the tree, with another link to its
                // parent.
                return self.on_answer(link, name, Answer::Other, links, cx);
            }
            let (step, n) = if growth.closed { (TreeStep::Mine, growth.n()) } else { (TreeStep::Wait, 0) };
            return links.send_tree(link, name, step, n, cx);
        }
        if let Some(held) = self.held.as_ref().filter(|held| held.name == name) {
            let (step, n) = if held.parent == Some(link) { (TreeStep::Mine, held.n) } else { (TreeStep::Other, 0) };
            return links.send_tree(link, name, step, n, cx);
        }
        if self.is_better(name) {
            self.join(name, Some(link), links, cx);
        }
    }

    /// Whether to leave the present tree, or the tree that grows, for this tree.
    fn is_better(&self, name: TreeName) -> bool {
        // If several runs of one root are known, the last one counts.
        let mut runs = self.past.iter().rev().filter(|past| past.root == name.root);
        let newest = runs.next().is_none_or(|past| past.boot != name.boot || past.epoch < name.epoch);
        if name.root >= self.node || !newest || runs.any(|past| past.boot == name.boot) {
            return false;
        }
        let growing = self.growth.as_ref().map(|growth| growth.name);
        let here = growing.or(self.holds()).or(self.orphaned.map(|(name, _)| name));
        here.is_none_or(|here| name.root <= here.root)
    }

    pub(super) fn probe(&mut self, link: LinkId, name: TreeName) -> Option<&mut Probe> {
        let growth = self.growth.as_mut().filter(|growth| growth.name == name)?;
        growth.probes.iter_mut().find(|probe| probe.link == link)
    }

    pub(super) fn on_answer(&mut self, link: LinkId, name: TreeName, answer: Answer, links: &Links, cx: &mut Context) {
        match self.probe(link, name) {
            Some(probe) if probe.answer.is_none() => probe.answer = Some(answer),
            Some(_) | None => return,
        }
        self.close(links, cx);
    }

    /// Answers the parent once every probe is answered. If this super peer is the root, the tree is
    /// then held.
    pub(super) fn close(&mut self, links: &Links, cx: &mut Context) {
        let Some(growth) = &mut self.growth else { return };
        if growth.closed || growth.probes.iter().any(|probe| probe.answer.is_none()) {
            return;
        }
        growth.closed = true;
        match growth.parent {
            Some(parent) => links.send_tree(parent, growth.name, TreeStep::Mine, growth.n(), cx),
            None => self.hold(links, cx),
        }
    }

    pub(super) fn on_keep(&mut self, link: LinkId, name: TreeName, links: &Links, cx: &mut Context) {
        let ours = |growth: &Growth| growth.closed && growth.parent == Some(link) && growth.name == name;
        if self.growth.as_ref().is_some_and(ours) {
            self.hold(links, cx);
        }
    }

    /// From now on the tree that has grown is held.
    fn hold(&mut self, links: &Links, cx: &mut Context) {
        let Some(growth) = self.growth.take() else { return };
        cx.count(Count::TreesHeld);
        let n = growth.n();
        let Growth { name, parent, probes, .. } = growth;
        let child = |probe: &Probe| match probe.answer {
            Some(Answer::Mine(n)) => {
                let keep = Some(Pace::new(cx.now, links.repeat_after(probe.link)));
                Some(Child { link: probe.link, leaf: n == 1, lost: false, keep })
            }
            Some(Answer::Other) | None => None,
        };
        let children: Vec<Child> = probes.iter().filter_map(child).collect();
        for link in links.ids() {
            let step = match children.iter().any(|child| child.link == link) {
                true => TreeStep::Keep,
                false => TreeStep::Held,
            };
            links.send_tree(link, name, step, 0, cx);
        }
        self.orphaned = None;
        self.held = Some(Held { name, since: cx.now, parent, children, n, whole: false });
    }
}
