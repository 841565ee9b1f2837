//! How a held tree is watched, and when it becomes void.

use std::time::Duration;

use super::state::Tree;
use crate::config::{TREE_GAP_MIN, TREE_ROOT_PATIENCE};
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Links;
use crate::wire::TreeName;
use crate::wire::link::TreeStep;

/// Shortest time between the end of a tree and the growth of the next tree from the same root. More
/// changes may follow in this time.
const VOID_PAUSE: Duration = Duration::from_millis(200);
/// If a neighbor does not hold a tree this long after it began to be held here, the tree becomes
/// void. Before that, the neighbor may not have received `keep` yet.
const KEEP_PATIENCE: Duration = Duration::from_secs(3);
/// A tree that was held for this long shows that the network is stable.
const STABLE: Duration = Duration::from_secs(30);

impl Tree {
    /// A neighbor has said which tree it holds.
    pub(super) fn on_holds(
        &mut self,
        link: LinkId,
        holds: Option<TreeName>,
        whole: bool,
        links: &Links,
        cx: &mut Context,
    ) {
        let side = &mut self.sides[link.index()];
        // Once set, `whole` stays set for this tree: it is enough that all neighbors of the sender
        // held the tree at one moment.
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
        // A lost leaf that comes back is no longer a child. It may hold any tree, but it has no
        // edge to this super peer.
        if lost || (!agrees && cx.now >= held.since + KEEP_PATIENCE) {
            self.void(None, links, cx);
        }
    }

    /// Notes when every neighbor holds the tree. A leaf then sends `whole` to its parent.
    pub(super) fn note_whole(&mut self, links: &Links, cx: &mut Context) {
        let Some(held) = &mut self.held else { return };
        let holds = |link: LinkId| links.is_up(link) && self.sides[link.index()].holds == Some(held.name);
        if held.whole || !links.ids().all(holds) || held.children.iter().any(|child| child.lost) {
            return;
        }
        held.whole = true;
        if let Some(parent) = held.parent.filter(|_| held.children.is_empty()) {
            links.send_tree(parent, held.name, TreeStep::Whole, 0, cx);
        }
    }

    pub(super) fn on_void(&mut self, link: LinkId, name: TreeName, links: &Links, cx: &mut Context) {
        let side = &mut self.sides[link.index()];
        if side.holds == Some(name) {
            side.holds = None;
        }
        if self.holds() == Some(name) {
            self.void(Some(link), links, cx);
        } else if self.growth.as_ref().is_some_and(|growth| growth.name == name && growth.parent.is_some()) {
            // The tree became void before it was held here.
            self.growth = None;
            send_void(Some(link), name, links, cx);
            self.orphan(name, cx);
        }
    }

    /// The held tree is void: sends `void` to every neighbor but one. The root then grows the next
    /// tree.
    pub(super) fn void(&mut self, from: Option<LinkId>, links: &Links, cx: &mut Context) {
        let Some(held) = self.held.take() else { return };
        cx.count(Count::TreesVoid);
        send_void(from, held.name, links, cx);
        if held.name.root != self.node {
            return self.orphan(held.name, cx);
        }
        if cx.now >= held.since + STABLE {
            self.gap = TREE_GAP_MIN;
        }
        self.consider(cx.now, VOID_PAUSE, links);
    }

    /// Waits for the root of a void tree to grow the next one.
    fn orphan(&mut self, name: TreeName, cx: &Context) {
        if self.held.is_none() {
            self.orphaned = Some((name, cx.now + TREE_ROOT_PATIENCE));
        }
    }
}

fn send_void(but: Option<LinkId>, tree: TreeName, links: &Links, cx: &mut Context) {
    for link in links.ids().filter(|link| Some(*link) != but) {
        links.send_tree(link, tree, TreeStep::Void, 0, cx);
    }
}
