//! Where a wave goes: which links an instance asks first, which links it asks later, and with which
//! QUERY.

use std::time::Duration;

use super::state::{Reach, Wave, behind, duplicate, hops_left, ttl_onward};
use crate::proto::marks::mark;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::digest::Probe;
use crate::proto::super_peer::flood::instance::{Instance, Parent, Phase, Then};
use crate::proto::super_peer::flood::subquery::{Subquery, child_deadline};
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Neighbors;
use crate::proto::super_peer::search::Scan;
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkQuery};
use crate::wire::{Cut, LinkMessage, Search, TreeName};

impl Wave {
    /// Sends the first QUERYs of an instance: over every link, or over every edge of its tree, but
    /// not back to its parent.
    pub(crate) fn go_out(&mut self, i: usize, neighbors: &Neighbors, cx: &mut Context) {
        match self.instances[i].tree {
            None => self.flood_out(i, neighbors, cx),
            Some(tree) => self.go_over_tree(i, tree, neighbors, cx),
        }
    }

    /// Sends the query over every edge of the tree but the one that brought it. If the tree is
    /// stale here, this is reported as a cut. Links that are down are reported as in a flood. The
    /// query still goes over the other edges.
    fn go_over_tree(&mut self, i: usize, tree: TreeName, neighbors: &Neighbors, cx: &mut Context) {
        let Neighbors { tree: known, links, .. } = neighbors;
        let parent = self.instances[i].parent_link();
        let edges: Vec<(LinkId, bool)> = known.edges(tree).into_iter().flatten().collect();
        let strayed = parent.is_some_and(|parent| edges.iter().all(|(link, _)| *link != parent));
        self.reach = vec![Reach::Settled; links.len()];
        if strayed || known.is_stale(tree, links) {
            cx.count(Count::FloodStaleTree);
            self.instances[i].cut.add(Cut { stale: 1, ..Cut::NONE });
        }
        for link in links.ids().filter(|link| Some(*link) != parent) {
            let edge = edges.iter().find(|(edge, _)| *edge == link && !strayed);
            if !links.is_up(link) {
                self.instances[i].cut.add(Cut { down: 1, ..Cut::NONE });
            } else if edge.is_some_and(|(_, spare)| {
                *spare && pruned(&self.find, &mut self.probe, link, neighbors, cx.now).is_some()
            }) {
                cx.count(Count::FloodPruned);
                self.instances[i].pruned = self.instances[i].pruned.saturating_add(1);
            } else if edge.is_some() && hops_left(&self.instances[i]) > 0 {
                self.ask(i, link, neighbors, cx);
            } else if edge.is_some() {
                let tag = self.tag(cx);
                self.instances[i].cut_by_ttl(1, tag);
            }
        }
    }

    fn flood_out(&mut self, i: usize, neighbors: &Neighbors, cx: &mut Context) {
        let links = &neighbors.links;
        self.flooded = true;
        self.reach = vec![Reach::Settled; links.len()];
        let (parent, mut unasked) = (self.instances[i].parent_link(), 0);
        for link in links.ids() {
            let hop_left = self.instances[i].ttl > 0;
            *behind(&mut self.reach, link) = match Some(link) == parent {
                true => Reach::Parent,
                false if hop_left => Reach::Settled,
                false => Reach::Cut,
            };
            if Some(link) == parent {
                continue;
            }
            if hop_left {
                self.ask(i, link, neighbors, cx);
            } else {
                unasked += 1;
            }
        }
        self.cut_by_ttl(i, unasked, cx);
    }

    /// Counts ttl cuts that a later instance may take back.
    fn cut_by_ttl(&mut self, i: usize, n: u32, cx: &Context) {
        if n > 0 {
            let tag = self.tag(cx);
            self.ttl_cut = self.ttl_cut.saturating_add(n);
            self.instances[i].cut_by_ttl(n, tag);
        }
    }

    fn tag(&mut self, cx: &Context) -> u64 {
        let id = self.id;
        *self.tag.get_or_insert_with(|| cx.cut_tags.of(id))
    }

    /// Sends QUERY to one neighbor, or counts the reason why it does not.
    fn ask(&mut self, i: usize, link: LinkId, neighbors: &Neighbors, cx: &mut Context) {
        let links = &neighbors.links;
        let instance = &mut self.instances[i];
        *behind(&mut self.reach, link) = Reach::Settled;
        if !links.is_up(link) {
            mark!(BranchDown);
            instance.cut.add(Cut { down: 1, ..Cut::NONE });
            return;
        }
        let last = !self.flood && instance.tree.is_none() && ttl_onward(instance) == 0;
        if let Some(beyond) = last.then(|| pruned(&self.find, &mut self.probe, link, neighbors, cx.now)).flatten() {
            cx.count(Count::FloodPruned);
            instance.pruned = instance.pruned.saturating_add(1);
            if beyond > 0 {
                // The neighbor would have reported this cut: no hop is left for its other links.
                self.cut_by_ttl(i, u32::from(beyond), cx);
                *behind(&mut self.reach, link) = Reach::Cut;
            }
            return;
        }
        let rto = links.repeat_after(link);
        match query_onward(self, i, rto, None, cx.now) {
            None => {
                mark!(BranchNoTime);
                self.instances[i].cut.add(Cut { budget: 1, ..Cut::NONE });
            }
            Some(query) => {
                let subquery = Subquery::new(cx.now, (link, links.life(link)), rto, cx.config.hits_max);
                self.instances[i].subqueries.push(subquery);
                links.send(link, LinkMessage::Query(query), cx);
            }
        }
    }

    /// Begins an extension, because all earlier instances have ended. It goes over the links where
    /// a higher ttl may reach more.
    pub(super) fn extend(&mut self, i: usize, room: bool, neighbors: &Neighbors, cx: &mut Context) {
        if !self.flooded {
            return self.follow(i, room, neighbors, cx);
        }
        let parent = self.instances[i].parent_link();
        let is_cut =
            |link: &LinkId, reach: &[Reach]| Some(*link) != parent && reach.get(link.index()) == Some(&Reach::Cut);
        if !neighbors.links.ids().any(|link| is_cut(&link, &self.reach)) {
            mark!(ExtensionEmpty);
            // If only the parent's link was cut, no link is left to ask, but the cut of this link
            // is undone.
            let (ttl, uncut) = (self.instances[i].ttl, std::mem::take(&mut self.ttl_cut));
            let again = duplicate(self.id, ttl);
            let done = if uncut == 0 {
                again
            } else {
                let uncut_tag = self.tag(cx).wrapping_mul(uncut.into());
                LinkDone { dup: false, more: true, uncut, uncut_tag, ..again }
            };
            self.instances[i].end_with(done, &neighbors.links, cx);
            return;
        }
        mark!(ExtensionRan);
        self.instances[i].phase = Phase::Running;
        self.go_further(i, neighbors, cx);
    }

    /// Begins the flood that follows a tree query which came here before. It goes over every link.
    /// It searches our index again only if the QUERY says that the hits of the tree query may be
    /// lost.
    fn follow(&mut self, i: usize, room: bool, neighbors: &Neighbors, cx: &mut Context) {
        let instance = &mut self.instances[i];
        instance.phase = Phase::Running;
        if instance.again
            && let Ok(scan) = Scan::new(&cx.index, &self.find)
        {
            instance.scan = Some(Box::new(scan));
            instance.reach_us(cx);
            instance.search(room, cx);
        }
        self.go_out(i, neighbors, cx);
    }

    /// Asks the links where a higher ttl may reach more. This takes back the ttl cuts that were
    /// reported here: each of those links is asked now, or is down and reported as a cut, or has
    /// brought the query itself.
    fn go_further(&mut self, i: usize, neighbors: &Neighbors, cx: &mut Context) {
        let parent = self.instances[i].parent_link();
        let uncut = std::mem::take(&mut self.ttl_cut);
        if uncut > 0 {
            let tag = self.tag(cx);
            self.instances[i].take_back(uncut, tag);
        }
        for link in neighbors.links.ids() {
            let reach = *behind(&mut self.reach, link);
            // The link that brought the first copy may now be reached on a shorter path than
            // before.
            if Some(link) != parent && matches!(reach, Reach::Parent | Reach::Cut) {
                self.ask(i, link, neighbors, cx);
            }
        }
    }

    /// At the origin, once every answer is here: sends the next wave. Returns whether there is one.
    pub(super) fn go_on(&mut self, i: usize, neighbors: &Neighbors, cx: &mut Context) -> bool {
        let instance = &mut self.instances[i];
        let full = instance.is_full();
        let Parent::Session(origin) = &mut instance.parent else { return false };
        match origin.then {
            Then::End => false,
            Then::Flood(ttl) => {
                let cut = instance.cut;
                let lossy = cut.loss > 0 || cut.budget > 0 || cut.shed > 0;
                if (cut.stale == 0 && !lossy) || cx.now >= origin.deadline {
                    return false;
                }
                if full {
                    instance.cut.add(Cut { cap: 1, ..Cut::NONE });
                    return false;
                }
                origin.then = Then::End;
                instance.deadline = origin.deadline;
                (instance.tree, instance.again, instance.ttl) = (None, lossy, ttl);
                // The flood reports all cuts again. If super peers search again, the flood also
                // counts `reached` again.
                instance.cut = Cut { cap: cut.cap, starting: cut.starting, ..Cut::NONE };
                instance.pruned = 0;
                if lossy {
                    instance.reached = 1;
                }
                (instance.uncut, instance.more) = (0, false);
                (instance.cut_tag, instance.uncut_tag) = (0, 0);
                instance.subqueries.clear();
                cx.count(Count::QueriesFellBack);
                self.go_out(i, neighbors, cx);
                true
            }
            Then::Ring(_) if instance.cut.cap > 0 || cx.now >= origin.deadline => false,
            Then::Ring(last) => {
                instance.ttl = instance.ttl.saturating_mul(2).min(last);
                origin.then = if instance.ttl < last { Then::Ring(last) } else { Then::End };
                instance.deadline = origin.then.deadline(cx.now, origin.deadline);
                if instance.cut_net().ttl == 0 {
                    return false;
                }
                if full {
                    instance.cut.add(Cut { cap: 1, ..Cut::NONE });
                    return false;
                }
                mark!(RingGrew);
                instance.subqueries.clear();
                self.go_further(i, neighbors, cx);
                true
            }
        }
    }
}

/// If a neighbor need not be asked on the last hop: how many links it has besides this one. On the
/// last hop it would search only its own index, and its digest rules out a hit there.
fn pruned(find: &Search, probe: &mut Option<Probe>, link: LinkId, neighbors: &Neighbors, now: Time) -> Option<u16> {
    neighbors.digests.surely_not(now, link, probe.get_or_insert_with(|| Probe::new(find)))
}

/// The QUERY that an instance sends; `None` if no time is left for an answer.
pub(super) fn query_onward(
    wave: &Wave,
    i: usize,
    rto: Duration,
    have: Option<Vec<(u32, u32)>>,
    now: Time,
) -> Option<LinkQuery> {
    let Wave { id, find, flood, .. } = wave;
    let instance: &Instance = &wave.instances[i];
    let due = child_deadline(now, instance.deadline, rto);
    let budget = u32::try_from(due.since(now).as_millis()).unwrap_or(u32::MAX);
    // A repetition is sent even without budget, because the neighbor may have ended and need only
    // send its answer again.
    if budget == 0 && have.is_none() {
        return None;
    }
    let hops = instance.hops.saturating_add(1);
    Some(LinkQuery {
        id: *id,
        ttl: ttl_onward(instance),
        hops,
        budget,
        find: find.clone(),
        have,
        flood: *flood,
        tree: instance.tree,
        again: instance.again,
    })
}
