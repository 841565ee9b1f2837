//! The spanning tree of the super peers, over which a query reaches all of them with the
//! fewest messages (PROTOCOL.md "The tree").
//!
//! It owns which tree this super peer holds and how a tree grows. It never looks at a query.
//!
//! The super peer with the lowest node id is the root, as in IEEE 802.1D. It grows a tree: a probe
//! goes over every link, and an echo comes back. The link that brings the first probe leads to the
//! parent, and a neighbor that answers `mine` is a child. When the echo has come back to the root,
//! the root sends `keep` down the tree. Only then is the tree held. Every super peer sends the name
//! of the tree that it holds to all neighbors, at once and in each HELLO.
//!
//! A tree is void as soon as a super peer that holds it loses an edge of the tree, or has a
//! neighbor that holds another tree or none. `void` is sent to all neighbors, which pass it on.
//! Then the root grows the next tree; its wait between two trees grows. If no tree comes, the other
//! super peers assume after a while that the root is gone, and elect another one. While nothing
//! changes, only the name in HELLO is sent.
//!
//! # Why a tree query without a cut is complete
//!
//! A name is never used twice: the root numbers its trees, and its boot id distinguishes its runs.
//! When a super peer begins to hold a tree, its edges of the tree are fixed; the loss of an edge
//! only makes the tree void. A super peer holds a tree only after `keep` from its parent. The
//! parent holds the tree with this super peer as a child, and so on up to the root.
//!
//! Take a super peer that answers a tree query and is not *stale*: each neighbor that is up has
//! said in its present run that it holds the same tree. So a path of edges leads from each of these
//! neighbors up to the root, and from there down to the asker. The tree query goes over every edge
//! of every super peer that it reaches. Hence the tree query either reaches that neighbor, or it
//! meets a super peer on this path that no longer holds the tree, has lost the edge, or does not
//! answer. Each of these is reported as a cut. So without a cut, the set of super peers that
//! answered is closed under links: every super peer that can be reached is in it.
//!
//! A leaf whose digest rules out a hit may be left out if there was a moment at which all its
//! neighbors held the tree. The tree query reaches these neighbors over their own edges, without
//! the leaf, and the leaf has nothing to report.

mod growth;
mod holding;
mod state;

use std::time::Duration;

pub(super) use self::state::Tree;
use self::state::{Answer, Pace, Side};
use super::context::Context;
use super::counters::Count;
use super::ids::LinkId;
use super::link::Links;
use crate::config::TREE_SETTLE;
use crate::time::Time;
use crate::wire::link::{LinkHello, LinkTree, TreeStep};

/// After the answer `wait`, a probe is repeated after this time.
const REPEAT_WAITING: Duration = Duration::from_secs(1);

impl Tree {
    /// When [`Tree::on_timeout`] is due.
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

    /// A neighbor's HELLO came on a link that is up.
    pub(super) fn on_hello(&mut self, link: LinkId, hello: LinkHello, links: &Links, cx: &mut Context) {
        self.sides[link.index()].node = Some(hello.node);
        // A HELLO is no `keep`. If the link was down while the tree grew, the neighbor may hold the
        // tree without an edge to us. A lost `keep` is repeated.
        self.on_holds(link, hello.tree, hello.whole, links, cx);
        self.note_whole(links, cx);
        self.consider(cx.now, TREE_SETTLE, links);
    }

    /// The link went down, or its neighbor restarted.
    pub(super) fn on_link_lost(&mut self, link: LinkId, links: &Links, cx: &mut Context) {
        self.sides[link.index()] = Side::default();
        if let Some(growth) = &mut self.growth {
            if growth.parent == Some(link) {
                self.growth = None;
            } else {
                growth.probes.retain(|probe| probe.link != link);
                self.close(links, cx);
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
                self.void(None, links, cx);
            }
        }
        self.consider(cx.now, TREE_SETTLE, links);
    }

    /// A TREE came from a neighbor.
    pub(super) fn on_tree(&mut self, link: LinkId, message: LinkTree, links: &Links, cx: &mut Context) {
        let LinkTree { tree, step, n } = message;
        match step {
            TreeStep::Grow => self.on_grow(link, tree, links, cx),
            TreeStep::Wait => {
                if let Some(probe) = self.probe(link, tree).filter(|probe| probe.answer.is_none()) {
                    probe.pace = Pace::new(cx.now, REPEAT_WAITING);
                }
            }
            TreeStep::Mine => self.on_answer(link, tree, Answer::Mine(n), links, cx),
            TreeStep::Other => self.on_answer(link, tree, Answer::Other, links, cx),
            TreeStep::Keep => {
                self.on_holds(link, Some(tree), false, links, cx);
                self.on_keep(link, tree, links, cx);
                if let Some(held) = self.held.as_ref().filter(|held| held.name == tree && held.parent == Some(link)) {
                    links.send_tree(link, held.name, TreeStep::Held, 0, cx);
                }
            }
            TreeStep::Held => self.on_holds(link, Some(tree), false, links, cx),
            TreeStep::Whole => self.on_holds(link, Some(tree), true, links, cx),
            TreeStep::Void => self.on_void(link, tree, links, cx),
            TreeStep::Unknown => {}
        }
        self.note_whole(links, cx);
    }

    /// The deadline of [`Tree::next`] has come.
    pub(super) fn on_timeout(&mut self, links: &Links, cx: &mut Context) {
        let now = cx.now;
        if self.growth.as_ref().is_some_and(|growth| now >= growth.until) {
            cx.count(Count::TreesFailed);
            self.growth = None;
            self.consider(now, self.gap, links);
        }
        if let Some(growth) = &mut self.growth {
            let name = growth.name;
            for probe in growth.probes.iter_mut().filter(|probe| probe.answer.is_none()) {
                if probe.pace.due(now) {
                    links.send_tree(probe.link, name, TreeStep::Grow, 0, cx);
                }
            }
        }
        if let Some(held) = &mut self.held {
            let name = held.name;
            for child in &mut held.children {
                if child.keep.as_mut().is_some_and(|pace| pace.due(now)) {
                    links.send_tree(child.link, name, TreeStep::Keep, 0, cx);
                }
            }
        }
        if self.orphaned.is_some_and(|(_, until)| now >= until) {
            self.orphaned = None;
            self.consider(now, TREE_SETTLE, links);
        }
        if self.grow_at.is_some_and(|at| now >= at) {
            self.grow_at = None;
            self.grow_if_lowest(links, cx);
        }
    }
}

#[cfg(test)]
mod tests;
