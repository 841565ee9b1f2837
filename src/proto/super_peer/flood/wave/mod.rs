//! One query at one super peer: its instances, and which links it has covered.
//!
//! A wave is kept until the budgets of all its instances have ended, so that every copy of the
//! query is recognized. Its instances run one after the other, by rising ttl, so that no two of
//! them can wait for each other.

mod spread;
mod state;

use self::spread::query_onward;
pub(super) use self::state::Wave;
use self::state::{Reach, behind, duplicate, kept_until, reached_max, ttl_onward};
use super::instance::{Instance, Parent, Phase, Then};
use super::subquery::HitIs;
use crate::config::TTL_MAX;
use crate::proto::marks::mark;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::{Links, Neighbors};
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkHit, LinkQuery, LinkRef};
use crate::wire::message::SourceRecord;
use crate::wire::{Cut, FileRecord, LinkMessage, QueryKind};

/// What a copy of a known query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyIs {
    Repetition,
    Duplicate,
    Extension,
}

impl Wave {
    /// A copy of the query came from a link.
    pub(super) fn on_copy(
        &mut self,
        link: LinkId,
        query: &LinkQuery,
        deadline: Time,
        links: &Links,
        cx: &mut Context,
    ) -> CopyIs {
        let same = |instance: &&Instance| instance.parent_link() == Some(link) && instance.ttl == query.ttl;
        if let Some(at) = self.instances.iter().position(|instance| same(&instance)) {
            cx.count(Count::FloodRepeated);
            self.instances[at].answer_again(self.id, link, query, links, cx);
            return CopyIs::Repetition;
        }
        // A tree query reaches every super peer only once. If it comes late, a flood that goes at
        // least as far was here before it.
        if query.tree.is_some() || self.ttl_best.is_some_and(|best| query.ttl.min(TTL_MAX) <= best) {
            cx.count(Count::FloodDuplicate);
            links.send(link, LinkMessage::Done(duplicate(self.id, query.ttl)), cx);
            return CopyIs::Duplicate;
        }
        cx.count(Count::FloodExtension);
        self.ttl_best = Some(query.ttl.min(TTL_MAX));
        let parent = Parent::Link(link);
        let cap = cx.config.hits_cap(self.find.limit);
        let mut instance = Instance::new(cx.now, parent, query.ttl, query.hops, deadline, cap);
        instance.phase = Phase::Waiting;
        instance.again = query.again;
        self.keep_until = self.keep_until.max(kept_until(&instance, links));
        self.instances.push(instance);
        CopyIs::Extension
    }

    /// A HIT came. `room` says whether one more hit may be held for a neighbor. Returns whether the
    /// HIT was requested.
    pub(super) fn on_hit(&mut self, link: LinkId, hit: LinkHit, room: bool, links: &Links, cx: &mut Context) -> bool {
        let Some((i, s)) = self.subquery_of(link, hit.ttl, links) else { return false };
        let subquery = &mut self.instances[i].subqueries[s];
        match subquery.on_hit(hit.n) {
            HitIs::Known => cx.count(Count::AnswerRepeated),
            HitIs::AboveCap => cx.count(Count::AnswerCapped),
            HitIs::New => {
                let complete = subquery.is_complete();
                let LinkHit {
                    file: FileRecord { path, size, root, collection },
                    node,
                    addr,
                    other,
                    unreached,
                    http,
                    member,
                    ..
                } = hit;
                let record = SourceRecord { path, size, root, collection, node, addr, other, unreached, http, member };
                let instance = &mut self.instances[i];
                if room && self.find.kind == QueryKind::Root {
                    instance.take_share(s, record, cx);
                } else {
                    instance.take_hit(record, room, cx);
                }
                if complete {
                    self.close_subquery(i, s, Cut::NONE);
                }
            }
        }
        true
    }

    /// A DONE came. Returns whether it answers a QUERY of this wave.
    pub(super) fn on_done(&mut self, link: LinkId, done: LinkDone, links: &Links, now: Time) -> bool {
        let Some((i, s)) = self.subquery_of(link, done.ttl, links) else { return false };
        // All other fields of a duplicate are ignored: the work is counted elsewhere.
        let done = if done.dup { duplicate(done.id, done.ttl) } else { done };
        let done = LinkDone { reached: done.reached.min(reached_max(done.ttl)), ..done };
        let subquery = &mut self.instances[i].subqueries[s];
        subquery.on_done(now, done, links.repeat_after(link));
        if subquery.is_complete() {
            self.close_subquery(i, s, Cut::NONE);
        }
        true
    }

    /// A PENDING came. Returns whether it answers a QUERY of this wave.
    pub(super) fn on_pending(&mut self, link: LinkId, pending: LinkRef, links: &Links, now: Time) -> bool {
        let Some((i, s)) = self.subquery_of(link, pending.ttl, links) else { return false };
        self.instances[i].subqueries[s].on_pending(now, links.repeat_after(link));
        true
    }

    /// The parent of an instance cancels it. Returns whether there is such an instance.
    pub(super) fn on_cancel(&mut self, link: LinkId, cancel: LinkRef, links: &Links, cx: &mut Context) -> bool {
        let named = |instance: &Instance| instance.parent_link() == Some(link) && instance.ttl == cancel.ttl;
        let Some(i) = self.instances.iter().position(named) else { return false };
        if !self.instances[i].has_ended() {
            self.drop_subqueries(i, links, cx);
        }
        self.instances[i].drop_answer(self.id);
        true
    }

    /// Drops the hits of a wave that has ended.
    pub(super) fn drop_hits(&mut self) {
        for instance in self.instances.iter_mut().filter(|instance| !instance.hits.is_empty()) {
            instance.drop_answer(self.id);
        }
    }

    /// Its session has closed or has canceled it.
    pub(super) fn abandon(&mut self, links: &Links, cx: &mut Context) {
        for i in 0..self.instances.len() {
            self.drop_subqueries(i, links, cx);
        }
    }

    /// Links went down, or their neighbors restarted: their answers will not come. Returns whether
    /// this wave waited for such an answer.
    pub(super) fn on_links_lost(&mut self, links: &Links) -> bool {
        let mut touched = false;
        for i in 0..self.instances.len() {
            touched |= self.close_lost(i, links);
        }
        touched
    }

    fn close_lost(&mut self, i: usize, links: &Links) -> bool {
        let mut touched = false;
        for s in 0..self.instances[i].subqueries.len() {
            let subquery = &self.instances[i].subqueries[s];
            if subquery.is_lost(links.life(subquery.link)) {
                mark!(BranchLost);
                // A tree query loses everything beyond that edge of the tree, and not only the
                // super peers that the link alone leads to.
                let why = match self.instances[i].tree {
                    None => Cut { down: 1, ..Cut::NONE },
                    Some(_) => Cut { loss: 1, ..Cut::NONE },
                };
                self.close_subquery(i, s, why);
                touched = true;
            }
        }
        touched
    }

    /// Continues its scan for one step. Returns the work of the step.
    pub(super) fn search(&mut self, room: bool, cx: &mut Context) -> usize {
        let running = self.instances.iter_mut().filter(|instance| instance.is_running());
        running.map(|instance| instance.search(room, cx)).sum()
    }

    /// The deadline of [`Wave::next`] has come: repeats QUERYs without an answer, and ends
    /// instances that are out of time.
    pub(super) fn on_timeout(&mut self, links: &Links, cx: &mut Context) {
        for i in 0..self.instances.len() {
            if self.instances[i].has_ended() {
                continue;
            }
            self.close_lost(i, links);
            if cx.now >= self.instances[i].deadline {
                self.run_out(i, links, cx);
                continue;
            }
            if self.instances[i].pending_at.is_some_and(|at| cx.now >= at) {
                self.send_pending(i, links, cx);
            }
            for s in 0..self.instances[i].subqueries.len() {
                let subquery = &self.instances[i].subqueries[s];
                if subquery.open && cx.now >= subquery.repeat_at() {
                    self.repeat(i, s, links, cx);
                }
            }
        }
    }

    /// Brings every instance as far as it can go: sends hits, ends instances that are complete, and
    /// begins the extensions that waited for them. Returns whether work is left for the next turn.
    pub(super) fn settle(&mut self, room: bool, neighbors: &Neighbors, cx: &mut Context) -> bool {
        let mut left = false;
        for i in 0..self.instances.len() {
            match &self.instances[i].phase {
                Phase::Ended(_) => continue,
                // Only the first instance that has not ended may run.
                Phase::Waiting => self.extend(i, room, neighbors, cx),
                Phase::Running => {}
            }
            if !self.instances[i].has_ended() {
                left |= self.settle_running(i, neighbors, cx);
            }
            if !self.instances[i].has_ended() {
                break;
            }
        }
        left
    }

    fn send_pending(&mut self, i: usize, links: &Links, cx: &mut Context) {
        let instance = &mut self.instances[i];
        instance.pending_at = None;
        if let Some(link) = instance.parent_link() {
            links.send(link, LinkMessage::Pending(LinkRef { id: self.id, ttl: instance.ttl }), cx);
        }
    }

    fn repeat(&mut self, i: usize, s: usize, links: &Links, cx: &mut Context) {
        let instance = &mut self.instances[i];
        let link = instance.subqueries[s].link;
        let rto = links.repeat_after(link);
        let have = Some(instance.subqueries[s].have());
        instance.subqueries[s].on_repeated(cx.now, rto, instance.deadline);
        if let Some(query) = query_onward(self, i, rto, have, cx.now) {
            cx.count(Count::FloodRepeats);
            links.send(link, LinkMessage::Query(query), cx);
        }
    }

    fn settle_running(&mut self, i: usize, neighbors: &Neighbors, cx: &mut Context) -> bool {
        let (id, links) = (self.id, &neighbors.links);
        self.instances[i].settle_held_back(cx);
        let unsent = self.instances[i].flush(id, links, cx);
        let instance = &self.instances[i];
        // The limit is reached: no further hit could be passed on.
        if instance.capped || (instance.is_full() && instance.is_busy()) {
            self.drop_subqueries(i, links, cx);
            let instance = &mut self.instances[i];
            instance.scan = None;
            instance.capped = false;
            instance.cut.add(Cut { cap: 1, ..Cut::NONE });
        }
        // Each wave that follows may end at once. Their number is at most the number of times that
        // the ttl can double.
        while !self.instances[i].is_busy() && !unsent {
            if !self.go_on(i, neighbors, cx) {
                self.instances[i].end(id, links, cx);
                return false;
            }
        }
        unsent || self.instances[i].scan.is_some()
    }

    /// The budget of an instance has ended: every open subquery is a cut.
    fn run_out(&mut self, i: usize, links: &Links, cx: &mut Context) {
        for s in 0..self.instances[i].subqueries.len() {
            let subquery = &self.instances[i].subqueries[s];
            if subquery.open {
                let cut = if subquery.heard {
                    mark!(BranchRanOutHeard);
                    Cut { loss: 1, ..Cut::NONE }
                } else {
                    mark!(BranchRanOut);
                    Cut { budget: 1, ..Cut::NONE }
                };
                let (link, is_tree_query) = (subquery.link, self.instances[i].tree.is_some());
                self.close_subquery(i, s, cut);
                if is_tree_query {
                    let asked = LinkRef { id: self.id, ttl: ttl_onward(&self.instances[i]) };
                    links.send(link, LinkMessage::Cancel(asked), cx);
                }
                // A later instance may get the answer that is missing.
                *behind(&mut self.reach, link) = Reach::Cut;
            }
        }
        let instance = &mut self.instances[i];
        if let Parent::Session(origin) = &instance.parent
            && origin.then != Then::End
            && cx.now < origin.deadline
        {
            // The caller settles this instance. The next wave is sent then, once our own search has
            // ended.
            instance.deadline = origin.deadline;
            return;
        }
        if instance.scan.is_some() || instance.phase == Phase::Waiting {
            instance.cut.add(Cut { budget: 1, ..Cut::NONE });
        }
        instance.end(self.id, links, cx);
    }
}
