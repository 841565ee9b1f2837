//! What a super peer knows of the spanning tree: the tree that it holds, the tree that grows, and
//! the trees that its neighbors hold.

use std::time::Duration;

use crate::config::TREE_GAP_MIN;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Links;
use crate::time::Time;
use crate::wire::{NodeId, TreeName};

/// Longest wait before a probe or a `keep` is repeated.
const REPEAT_MAX: Duration = Duration::from_millis(500);
/// How many trees are remembered that were left and must not be joined again, by root and run of
/// the root.
const PAST_MAX: usize = 32;

/// What a neighbor has said in its present run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    pub(super) node: Option<NodeId>,
    pub(super) holds: Option<TreeName>,
    /// Whether there was a moment at which all neighbors of this neighbor held that tree.
    pub(super) whole: bool,
}

/// When a message is repeated. The wait doubles each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) at: Time,
    wait: Duration,
}

impl Pace {
    pub(super) fn new(now: Time, wait: Duration) -> Pace {
        Pace { at: now + wait, wait }
    }

    /// Whether the repetition is due now. If so, sets the next time.
    pub(super) fn due(&mut self, now: Time) -> bool {
        let due = now >= self.at;
        if due {
            self.wait = (self.wait * 2).min(REPEAT_MAX.max(self.wait));
            self.at = now + self.wait;
        }
        due
    }
}

/// A child in the tree that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) link: LinkId,
    /// Whether it has no children.
    pub(super) leaf: bool,
    /// Whether the link to it went down. A leaf may be lost without making the tree void.
    pub(super) lost: bool,
    /// When `keep` is repeated to it, until it says that it holds the tree.
    pub(super) keep: Option<Pace>,
}

/// The tree that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: TreeName,
    pub(super) since: Time,
    pub(super) parent: Option<LinkId>,
    pub(super) children: Vec<Child>,
    /// The number of super peers in this branch.
    pub(super) n: u32,
    /// Whether there was a moment at which every neighbor held it.
    pub(super) whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The neighbor is a child, and its branch has this many super peers.
    Mine(u32),
    /// The neighbor is in the tree with another link.
    Other,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) link: LinkId,
    pub(super) answer: Option<Answer>,
    pub(super) pace: Pace,
}

/// A tree that grows here.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) name: TreeName,
    pub(super) parent: Option<LinkId>,
    pub(super) probes: Vec<Probe>,
    /// Whether all probes are answered and the parent has got the answer.
    pub(super) closed: bool,
    pub(super) until: Time,
}

impl Growth {
    /// The number of super peers in this branch.
    pub(super) fn n(&self) -> u32 {
        self.probes.iter().fold(1, |sum, probe| match probe.answer {
            Some(Answer::Mine(n)) => sum.saturating_add(n),
            Some(Answer::Other) | None => sum,
        })
    }
}

/// The spanning tree, as this super peer sees it.
///
/// - getters: `holds`, `is_whole`, `valid`, `is_stale`, `edges`, `size`, `next`;
/// - `handle_*`: `on_tree`, `on_hello`, `on_link_lost`, `on_timeout`, which push outputs.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) node: NodeId,
    pub(super) boot: u64,
    /// Number of the last tree that grew from here.
    pub(super) epoch: u64,
    /// What each neighbor has said, by link.
    pub(super) sides: Vec<Side>,
    pub(super) held: Option<Held>,
    pub(super) growth: Option<Growth>,
    /// The name of a void tree, and until when its root is expected to grow the next tree.
    pub(super) orphaned: Option<(TreeName, Time)>,
    /// For each run of each root, the newest of its trees that was joined here; the latest is the
    /// last in the list.
    pub(super) past: Vec<TreeName>,
    /// When to check whether a tree is to be grown from here.
    pub(super) grow_at: Option<Time>,
    /// When a tree last grew from here, and how long to wait before the next one.
    pub(super) grown: Option<Time>,
    pub(super) gap: Duration,
}

impl Tree {
    pub(crate) fn new(node: NodeId, boot: u64, links: usize) -> Tree {
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

    /// Makes room for this many links.
    pub(crate) fn grow(&mut self, links: usize) {
        self.sides.resize(links, Side::default());
    }

    /// The tree that is held.
    pub(crate) fn holds(&self) -> Option<TreeName> {
        self.held.as_ref().map(|held| held.name)
    }

    /// Whether there was a moment at which all neighbors held that tree while none was down.
    pub(crate) fn is_whole(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.whole)
    }

    /// The tree that is held, unless this super peer is stale for it: a tree query from here may go
    /// over it.
    pub(crate) fn valid(&self, links: &Links) -> Option<TreeName> {
        self.holds().filter(|name| !self.is_stale(*name, links))
    }

    /// Whether a tree query over this tree could leave out a neighbor of ours.
    pub(crate) fn is_stale(&self, name: TreeName, links: &Links) -> bool {
        let Some(held) = self.held.as_ref().filter(|held| held.name == name) else { return true };
        let lost = |link: LinkId| held.children.iter().any(|child| child.link == link && child.lost);
        links.up().any(|link| self.sides[link.index()].holds != Some(name) || lost(link))
    }

    /// The edges of this tree here; none if the tree is not held. The flag of an edge says that the
    /// edge leads to a leaf, and that there was a moment at which all neighbors of the leaf held
    /// the tree. Then a tree query may leave out the edge if the digest of the leaf rules out a
    /// match: the tree query reaches the neighbors of the leaf over other edges.
    pub(crate) fn edges(&self, name: TreeName) -> Option<impl Iterator<Item = (LinkId, bool)> + '_> {
        let held = self.held.as_ref().filter(|held| held.name == name)?;
        let whole = move |side: Side| side.whole && side.holds == Some(name);
        let spare = move |child: &Child| child.leaf && whole(self.sides[child.link.index()]);
        let children = held.children.iter().filter(|child| !child.lost).map(move |child| (child.link, spare(child)));
        Some(held.parent.map(|parent| (parent, false)).into_iter().chain(children))
    }

    /// The number of super peers of the held tree from here down. At the root, this is all of them.
    pub(crate) fn size(&self) -> u32 {
        self.held.as_ref().map_or(0, |held| held.n)
    }

    /// Remembers that this tree was joined. Neither this tree nor an earlier tree of the same run
    /// of its root is joined again.
    pub(super) fn remember(&mut self, name: TreeName) {
        self.past.retain(|past| (past.root, past.boot) != (name.root, name.boot));
        if self.past.len() >= PAST_MAX {
            self.past.remove(0);
        }
        self.past.push(name);
    }

    /// What must hold between any two inputs.
    pub(crate) fn check_invariants(&self) {
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
}
