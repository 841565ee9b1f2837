//! The flood: a probe–echo wave over the links, which knows when it has ended (PROTOCOL.md
//! "The search wave").
//!
//! It owns the queries that run here, whether they came from a session or from a neighbor. It never
//! decodes bytes and never decides whether a link is up. Of a session it knows only the connection
//! and the number of the request.
//!
//! # Why `complete` can be trusted
//!
//! Every QUERY that is sent ends in exactly one of two ways: in a DONE and all HITs that this DONE
//! counts, or in a cut. A neighbor that received the query over another path answers `dup`; its
//! instance for that other path reports its cuts. A super peer that no longer knows the result of a
//! query answers with a cut, never with `dup`.
//!
//! # Several waves of one query
//!
//! Several waves can have one id. Each starts when the one before it has returned to the origin.
//!
//! A ring extends the ring before it over the links that were cut by ttl, and takes those cuts
//! back. To take a cut back needs the tag that the cut was reported with, so a neighbor cannot take
//! back the cuts of others. A cut for any other reason remains, because what was lost is not sent
//! again.
//!
//! If a tree query finds a stale super peer or loses anything, a flood over every link follows, and
//! the flood's cuts replace those of the tree query. If the tree query only found stale super
//! peers, all its hits have arrived and are not sent again. If it lost anything, every super peer
//! searches again. The module `tree` explains why a tree query without a cut is complete.

mod answer;
mod begin;
mod ended;
mod fair_queue;
mod instance;
mod local;
mod parked;
mod rotation;
mod subquery;
mod table;
mod visited;
mod wave;

use std::time::Duration;

use self::begin::search_members;
use self::fair_queue::{Admission, Flow, QUERY_WORK};
use self::instance::{Instance, Parent};
pub(super) use self::table::Flood;
use self::wave::{CopyIs, Wave};
use super::context::Context;
use super::counters::Count;
use super::ids::{LinkId, WaveKey};
use super::link::Neighbors;
use super::search::Scan;
use super::session::Abandoned;
use super::swarm::members::{Matches, Members};
use super::work::{OUTPUT_WORK, TIMER_WORK};
use crate::config::QUERY_BUDGET_MAX;
use crate::proto::ConnId;
use crate::wire::link::{LinkDone, LinkHit, LinkQuery, LinkRef};
use crate::wire::{Cut, LinkMessage, QueryId};

/// - getters: `running`, `remembered`, `work_max`;
/// - `handle_*`: one `on_*` per link message, `on_link_lost`, `on_timeout`, `on_ended`;
/// - mutators: `begin`, `abandon`;
/// - `poll_*`: `run`, `has_work`, `has_finished`, `take_finished`; the handlers push outputs.
impl Flood {
    /// The most work of any turn so far.
    pub(super) fn work_max(&self) -> usize {
        self.queue.most()
    }

    /// Queries that run or are kept for repetitions.
    pub(super) fn running(&self) -> usize {
        self.waves.len()
    }

    /// Ids of queries that have ended.
    pub(super) fn remembered(&self) -> usize {
        self.visited.len()
    }

    /// A session has canceled its query, or has closed.
    pub(super) fn abandon(&mut self, query: Abandoned, neighbors: &Neighbors, cx: &mut Context) {
        let Abandoned { key, conn, req } = query;
        // The query may have ended on its own, and another query may have its place.
        let wave = self.waves.get_mut(key.index()).filter(|wave| wave.session() == Some((conn, req)));
        let Some(wave) = wave else { return };
        let outputs = cx.out.len();
        cx.count(Count::QueriesCanceled);
        wave.abandon(&neighbors.links, cx);
        self.forget(key, cx);
        cx.work.add(OUTPUT_WORK * cx.out.len().saturating_sub(outputs));
    }

    /// A neighbor passes a query on, or repeats it.
    pub(super) fn on_query(
        &mut self,
        link: LinkId,
        query: LinkQuery,
        members: Members<'_>,
        neighbors: &Neighbors,
        cx: &mut Context,
    ) {
        let links = &neighbors.links;
        let outputs = cx.out.len();
        self.queue.begin_turn(cx.now, links.len());
        if query.find.is_paged() {
            cx.prepare_pages();
        }
        if let Some(key) = self.by_id.get(&query.id).copied() {
            let deadline = cx.now + budget_of(&query);
            match self.wave_mut(key).on_copy(link, &query, deadline, links, cx) {
                CopyIs::Repetition | CopyIs::Duplicate => {}
                CopyIs::Extension => {
                    self.settle(key, neighbors, cx);
                    self.schedule_pending(key, links, cx);
                }
            }
        } else {
            let (id, ttl) = (query.id, query.ttl);
            if let Err(cut) = self.on_first_copy(link, query, members, neighbors, cx) {
                links.send(link, refusal(id, ttl, cut), cx);
                return;
            }
        }
        self.charge_outputs(Flow::Link(link), outputs, cx);
    }

    /// A neighbor passes on a query that is not known here. If the query is refused, returns the
    /// cut.
    fn on_first_copy(
        &mut self,
        link: LinkId,
        query: LinkQuery,
        members: Members<'_>,
        neighbors: &Neighbors,
        cx: &mut Context,
    ) -> Result<(), Cut> {
        let flow = Flow::Link(link);
        if self.visited.contains(cx.now, &query.id) {
            cx.count(Count::FloodStale);
            return Err(Cut { budget: 1, ..Cut::NONE });
        }
        let admission = self.queue.admit(flow);
        if cx.memory_short || admission == Admission::Never || !self.make_room(cx) {
            self.queue.charge(flow, OUTPUT_WORK);
            cx.count(Count::FloodShed);
            return Err(Cut { shed: 1, ..Cut::NONE });
        }
        let Ok(mut scan) = Scan::within(&cx.index, query.find.clone(), cx.config.hits_max) else {
            cx.count(Count::FloodBadPattern);
            return Err(Cut { shed: 1, ..Cut::NONE });
        };
        let at = neighbors.links.reached_at(link).or(cx.config.here);
        scan.set_asked_at(at);
        let Matches { hits, capped, work: looked } = search_members(members, &query.find, at, cx);
        cx.count(Count::FloodSearched);
        let (deadline, cap) = (cx.now + budget_of(&query), cx.config.hits_cap(query.find.limit));
        let mut first = Instance::new(cx.now, Parent::Link(link), query.ttl, query.hops, deadline, cap);
        first.scan = Some(Box::new(scan));
        first.reach_us(cx);
        first.cut.add(Cut { cap: u32::from(capped), ..Cut::NONE });
        hits.into_iter().for_each(|hit| first.take_hit(hit, self.has_room(flow), cx));
        (first.tree, first.again) = (query.tree, query.again);
        let work = if admission == Admission::Now { first.search(self.has_room(flow), cx) } else { 0 };
        self.queue.charge(flow, QUERY_WORK + work + looked);
        let mut wave = Wave::new(query.id, query.find, query.flood, first, &neighbors.links);
        // If the limit is reached, no further hit could be passed on, so no neighbor is asked.
        if !wave.instances[0].is_full() {
            wave.go_out(0, neighbors, cx);
        } else if neighbors.links.ids().any(|other| other != link) {
            wave.instances[0].capped = true;
        }
        let key = self.insert(wave, true);
        self.settle(key, neighbors, cx);
        self.schedule_pending(key, &neighbors.links, cx);
        Ok(())
    }

    /// A neighbor answers with a hit.
    pub(super) fn on_hit(&mut self, link: LinkId, hit: LinkHit, neighbors: &Neighbors, cx: &mut Context) {
        let session = self.by_id.get(&hit.id).and_then(|key| self.wave(*key).session());
        let room = match session {
            Some((conn, _)) => self.has_room(Flow::Session(conn)) && self.parked.has_room(conn),
            None => self.has_room(Flow::Link(link)),
        };
        self.on_answer(hit.id, neighbors, cx, |wave, cx| wave.on_hit(link, hit, room, &neighbors.links, cx));
    }

    /// A neighbor answers with DONE: its branch is closed.
    pub(super) fn on_done(&mut self, link: LinkId, done: LinkDone, neighbors: &Neighbors, cx: &mut Context) {
        self.on_answer(done.id, neighbors, cx, |wave, cx| wave.on_done(link, done, &neighbors.links, cx.now));
    }

    /// A neighbor answers that it is still working on a query.
    pub(super) fn on_pending(&mut self, link: LinkId, pending: LinkRef, neighbors: &Neighbors, cx: &mut Context) {
        self.on_answer(pending.id, neighbors, cx, |wave, cx| wave.on_pending(link, pending, &neighbors.links, cx.now));
    }

    /// A neighbor cancels its query.
    pub(super) fn on_cancel(&mut self, link: LinkId, cancel: LinkRef, neighbors: &Neighbors, cx: &mut Context) {
        self.on_answer(cancel.id, neighbors, cx, |wave, cx| wave.on_cancel(link, cancel, &neighbors.links, cx));
    }

    /// A link went down, or its neighbor restarted. Queries that came from this neighbor continue:
    /// if the neighbor comes back and asks again, it gets the answer. Subqueries that wait for this
    /// neighbor are closed in slices. Until a subquery is closed, later answers are not matched to
    /// it.
    pub(super) fn on_link_lost(&mut self, neighbors: &Neighbors, cx: &mut Context) {
        self.unswept = self.waves.capacity();
        self.sweep(neighbors, cx);
    }

    /// Closes subqueries whose link went down after they were sent, as many as fit in one turn.
    fn sweep(&mut self, neighbors: &Neighbors, cx: &mut Context) {
        while !cx.work.is_spent()
            && let Some(slot) = self.unswept.checked_sub(1)
        {
            self.unswept = slot;
            cx.work.add(1);
            let Some(wave) = self.waves.get_mut(slot) else { continue };
            let outputs = cx.out.len();
            if wave.on_links_lost(&neighbors.links) {
                self.settle(WaveKey::at(slot), neighbors, cx);
                cx.work.add(TIMER_WORK + OUTPUT_WORK * cx.out.len().saturating_sub(outputs));
            }
        }
    }

    /// The deadline of a wave has come.
    pub(super) fn on_timeout(&mut self, key: WaveKey, neighbors: &Neighbors, cx: &mut Context) {
        let wave = self.wave_mut(key);
        wave.on_timeout(&neighbors.links, cx);
        // After a long pause of the process, a session's query can end and expire in one step. The
        // session still needs its DONE.
        if wave.session().is_none() && wave.is_past(cx.now) {
            return self.forget(key, cx);
        }
        self.settle(key, neighbors, cx);
    }

    /// A session stopped reading: its queries wait.
    pub(super) fn on_backlogged(&mut self, conn: ConnId) {
        self.parked.begin(conn);
    }

    /// A session reads again, or is gone: its queries continue.
    pub(super) fn on_drained(&mut self, conn: ConnId) {
        self.parked.end(conn).into_iter().for_each(|key| self.resume(key));
    }

    fn resume(&mut self, key: WaveKey) {
        let wave = &mut self.waves[key.index()];
        wave.queued = Some(self.queue.wait(wave.flow(), key));
    }

    /// Whether work is left over from the previous turn.
    pub(super) fn has_work(&self) -> bool {
        self.queue.has_work() || self.parked.has_work() || self.unswept > 0 || self.visited.has_work()
    }

    /// Does as much of the work that is left over as fits in one turn.
    pub(super) fn run(&mut self, neighbors: &Neighbors, cx: &mut Context) {
        self.sweep(neighbors, cx);
        self.visited.run(cx);
        let waited = self.parked.begin_leftover(cx.now);
        waited.into_iter().for_each(|key| self.resume(key));
        if !self.queue.has_work() {
            return;
        }
        self.queue.begin_turn(cx.now, neighbors.links.len());
        self.queue.begin_leftover();
        while let Some(key) = self.queue.next() {
            let Some(flow) = self.waves.get(key.index()).map(|wave| wave.flow()) else { continue };
            let (outputs, room) = (cx.out.len(), self.has_room(flow));
            let wave = self.wave_mut(key);
            wave.queued = None;
            let session = wave.session();
            if self.parked.park(cx.now, session, key) {
                self.queue.charge(flow, QUERY_WORK);
                continue;
            }
            let wave = self.wave_mut(key);
            let work = wave.search(room, cx);
            self.queue.charge(flow, QUERY_WORK + work);
            self.settle(key, neighbors, cx);
            self.charge_outputs(flow, outputs, cx);
        }
    }

    /// Whether [`Flood::take_finished`] has some.
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The queries of sessions that have ended since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<(ConnId, u32)> {
        std::mem::take(&mut self.finished)
    }

    fn on_answer(
        &mut self,
        id: QueryId,
        neighbors: &Neighbors,
        cx: &mut Context,
        take: impl FnOnce(&mut Wave, &mut Context) -> bool,
    ) {
        let taken = self.by_id.get(&id).copied().filter(|key| take(&mut self.waves[key.index()], cx));
        match taken {
            Some(key) => self.settle(key, neighbors, cx),
            None => cx.count(Count::AnswerUnasked),
        }
    }
}

fn budget_of(query: &LinkQuery) -> Duration {
    Duration::from_millis(u64::from(query.budget)).min(QUERY_BUDGET_MAX)
}

/// The DONE of a query that is not searched here.
fn refusal(id: QueryId, ttl: u8, cut: Cut) -> LinkMessage {
    LinkMessage::Done(LinkDone { cut, ..LinkDone::empty(id, ttl) })
}

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;
