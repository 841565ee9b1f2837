//! Where a wave goes: which links an instance asks first, which ones later, and what each of them is told.

use std::time::Duration;

use super::{Reach, Wave, duplicate};
use crate::config::TTL_MAX;
use crate::proto::marks::mark;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::digest::Probe;
use crate::proto::super_peer::flood::Cx;
use crate::proto::super_peer::flood::ask::{Ask, child_deadline};
use crate::proto::super_peer::flood::instance::{Instance, Parent, Phase, Then};
use crate::proto::super_peer::link::LinkId;
use crate::proto::super_peer::search::Scan;
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkQuery, RIDE_TTL};
use crate::wire::{Cut, LinkMessage, QueryId, Search, TreeName};

impl Wave {
    /// Sends the first QUERYs of an instance: over every link, or over the tree, but not where it came from.
    pub(in crate::proto::super_peer::flood) fn go_out(&mut self, i: usize, cx: &mut Cx<'_>) {
        match self.instances[i].tree {
            None => self.flood_out(i, cx),
            Some(tree) => self.ride(i, tree, cx),
        }
    }

    /// Over every edge of the tree but the one that it came by. Whatever is amiss with the tree here is told, and so is what a
    /// flood would tell: links that are down. The rest of the tree is ridden all the same: what is found there is found.
    fn ride(&mut self, i: usize, tree: TreeName, cx: &mut Cx<'_>) {
        let (known, links) = (cx.tree, cx.links);
        let parent = self.instances[i].parent_link();
        let edges: Vec<(LinkId, bool)> = known.edges(tree).into_iter().flatten().collect();
        let strayed = parent.is_some_and(|parent| edges.iter().all(|(link, _)| *link != parent));
        self.reach = vec![Reach::Settled; links.len()];
        if strayed || known.is_stale(tree, links) {
            cx.counters.add(Count::FloodStaleTree);
            self.instances[i].cut.add(Cut { stale: 1, ..Cut::NONE });
        }
        for link in links.ids().filter(|link| Some(*link) != parent) {
            let edge = edges.iter().find(|(edge, _)| *edge == link && !strayed);
            if !links.is_up(link) {
                self.instances[i].cut.add(Cut { down: 1, ..Cut::NONE });
            } else if edge.is_some_and(|(_, spare)| *spare && pruned(&self.find, &mut self.probe, link, cx).is_some()) {
                cx.counters.add(Count::FloodPruned);
                self.instances[i].pruned = self.instances[i].pruned.saturating_add(1);
            } else if edge.is_some() && hops_left(&self.instances[i]) > 0 {
                self.ask(i, link, cx);
            } else if edge.is_some() {
                self.instances[i].cut.add(Cut { ttl: 1, ..Cut::NONE });
            }
        }
    }

    fn flood_out(&mut self, i: usize, cx: &mut Cx<'_>) {
        let links = cx.links;
        self.flooded = true;
        self.reach = vec![Reach::Settled; links.len()];
        let parent = self.instances[i].parent_link();
        for link in links.ids() {
            let hop_left = self.instances[i].ttl > 0;
            self.reach[usize::from(link.0)] = match Some(link) == parent {
                true => Reach::Parent,
                false if hop_left => Reach::Settled,
                false => Reach::Cut,
            };
            if Some(link) == parent {
                continue;
            }
            if hop_left {
                self.ask(i, link, cx);
            } else {
                self.ttl_cut += 1;
                self.instances[i].cut.add(Cut { ttl: 1, ..Cut::NONE });
            }
        }
    }

    /// Asks one neighbour, or counts why not.
    fn ask(&mut self, i: usize, link: LinkId, cx: &mut Cx<'_>) {
        let instance = &mut self.instances[i];
        self.reach[usize::from(link.0)] = Reach::Settled;
        if !cx.links.is_up(link) {
            mark!(BranchDown);
            instance.cut.add(Cut { down: 1, ..Cut::NONE });
            return;
        }
        let last = !self.flood && instance.tree.is_none() && ttl_onward(instance) == 0;
        if let Some(beyond) = last.then(|| pruned(&self.find, &mut self.probe, link, cx)).flatten() {
            cx.counters.add(Count::FloodPruned);
            instance.pruned = instance.pruned.saturating_add(1);
            if beyond > 0 {
                // It would have said so: what lies behind it is out of reach for want of a hop.
                instance.cut.add(Cut { ttl: u32::from(beyond), ..Cut::NONE });
                self.ttl_cut = self.ttl_cut.saturating_add(u32::from(beyond));
                self.reach[usize::from(link.0)] = Reach::Cut;
            }
            return;
        }
        let rto = cx.links.repeat_after(link);
        match query_onward(self.id, &self.find, self.flood, instance, rto, None, cx.now) {
            None => {
                mark!(BranchNoTime);
                instance.cut.add(Cut { budget: 1, ..Cut::NONE });
            }
            Some(query) => {
                instance.asks.push(Ask::new(cx.now, link, rto, cx.hits_max));
                cx.send(link, LinkMessage::Query(query));
            }
        }
    }

    /// Begins an extension, now that all earlier instances are over: over the links where a higher ttl may go further.
    pub(super) fn extend(&mut self, i: usize, cx: &mut Cx<'_>) {
        if !self.flooded {
            return self.follow(i, cx);
        }
        let parent = self.instances[i].parent_link();
        let is_cut = |link: &LinkId, reach: &[Reach]| {
            Some(*link) != parent && reach.get(usize::from(link.0)) == Some(&Reach::Cut)
        };
        if !cx.links.ids().any(|link| is_cut(&link, &self.reach)) {
            mark!(ExtensionEmpty);
            // With the parent's link alone cut nothing is left to ask, but that cut is made good.
            let (ttl, uncut) = (self.instances[i].ttl, std::mem::take(&mut self.ttl_cut));
            let again = duplicate(self.id, ttl);
            let done = if uncut == 0 { again } else { LinkDone { dup: false, more: true, uncut, ..again } };
            self.instances[i].end_with(done, cx);
            return;
        }
        mark!(ExtensionRan);
        self.instances[i].phase = Phase::Running;
        self.go_further(i, cx);
    }

    /// The flood that follows a ride which was here: goes over every link, and searches again only where it is told to, for then
    /// what the ride found may be lost.
    fn follow(&mut self, i: usize, cx: &mut Cx<'_>) {
        let instance = &mut self.instances[i];
        instance.phase = Phase::Running;
        if instance.again
            && let Ok(scan) = Scan::new(cx.index, &self.find)
        {
            instance.scan = Some(Box::new(scan));
            instance.reached = 1;
            instance.search(cx);
        }
        self.go_out(i, cx);
    }

    /// Asks where a higher ttl may go further, and so takes back the cuts that were told for want of a hop here: each of
    /// those links is asked now, or is down and told so, or brought the query by itself.
    fn go_further(&mut self, i: usize, cx: &mut Cx<'_>) {
        let parent = self.instances[i].parent_link();
        self.instances[i].uncut = self.instances[i].uncut.saturating_add(std::mem::take(&mut self.ttl_cut));
        for link in cx.links.ids() {
            let reach = self.reach[usize::from(link.0)];
            // The link that brought the first copy may now be reached on a shorter way than it was.
            if Some(link) != parent && matches!(reach, Reach::Parent | Reach::Cut) {
                self.ask(i, link, cx);
            }
        }
    }

    /// At the origin, with every answer here: sends the wave that follows. Tells whether there is one.
    pub(super) fn go_on(&mut self, i: usize, cx: &mut Cx<'_>) -> bool {
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
                // The flood tells anew whatever it meets; if it searches again, it also counts anew.
                instance.cut = Cut { cap: cut.cap, ..Cut::NONE };
                instance.pruned = 0;
                if lossy {
                    instance.reached = 1;
                }
                (instance.uncut, instance.more) = (0, false);
                instance.asks.clear();
                cx.counters.add(Count::QueriesFellBack);
                self.go_out(i, cx);
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
                instance.asks.clear();
                self.go_further(i, cx);
                true
            }
        }
    }
}

/// How many links a neighbour has beside this one, if it need not be asked on the last hop: it would search its own index
/// alone, and that surely has nothing that fits.
fn pruned(find: &Search, probe: &mut Option<Probe>, link: LinkId, cx: &Cx<'_>) -> Option<u16> {
    cx.digests.surely_not(cx.now, link, probe.get_or_insert_with(|| Probe::new(find)))
}

/// Hops that the instance may still go.
pub(super) fn hops_left(instance: &Instance) -> u8 {
    let ttl = if instance.tree.is_some() { instance.ttl & !RIDE_TTL } else { instance.ttl };
    ttl.min(TTL_MAX)
}

/// The ttl that the next hop is told.
pub(super) fn ttl_onward(instance: &Instance) -> u8 {
    let ttl = hops_left(instance).saturating_sub(1);
    if instance.tree.is_some() { RIDE_TTL + ttl } else { ttl }
}

/// The QUERY for the next hop, unless no time is left for one.
pub(super) fn query_onward(
    id: QueryId,
    find: &Search,
    flood: bool,
    instance: &Instance,
    rto: Duration,
    have: Option<Vec<(u32, u32)>>,
    now: Time,
) -> Option<LinkQuery> {
    let due = child_deadline(now, instance.deadline, rto);
    let budget = u32::try_from(due.since(now).as_millis()).unwrap_or(u32::MAX);
    // A repetition reaches a neighbour that may be done: it is sent as long as an answer can come in time.
    if budget == 0 && have.is_none() {
        return None;
    }
    let hops = instance.hops.saturating_add(1);
    Some(LinkQuery {
        id,
        ttl: ttl_onward(instance),
        hops,
        budget,
        find: find.clone(),
        have,
        flood,
        tree: instance.tree,
        again: instance.again,
    })
}
