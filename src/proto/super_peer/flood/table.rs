//! The table of queries that run here, and what happens to a query when something has changed for
//! it.

use std::collections::BTreeMap;

use slab::Slab;

use super::ended::Ended;
use super::fair_queue::{FairQueue, Flow};
use super::instance::Instance;
use super::parked::Parked;
use super::visited::Visited;
use super::wave::Wave;
use crate::config::{HITS_HELD_MAX, HITS_KEPT_MAX, HITS_SEEN_MAX, WAVES_MAX};
use crate::proto::super_peer::context::{Context, Reason};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::WaveKey;
use crate::proto::super_peer::link::{Links, Neighbors};
use crate::proto::super_peer::search::Scan;
use crate::proto::super_peer::work::OUTPUT_WORK;
use crate::proto::{ConnId, Entropy};
use crate::wire::QueryId;
use crate::wire::message::SourceRecord;

/// Held hits that are freed for one unit of work.
const HITS_PER_WORK: usize = 2;

/// All queries that run here.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// Each wave is boxed, so that little memory moves when the table grows.
    pub(super) waves: Slab<Box<Wave>>,
    /// The queries that neighbors know.
    pub(super) by_id: BTreeMap<QueryId, WaveKey>,
    pub(super) visited: Visited,
    /// Waves at places below this one may still wait for a link that went down after they asked.
    pub(super) unswept: usize,
    /// Scans and answers that continue in later turns.
    pub(super) queue: FairQueue,
    /// Hits that all waves hold for neighbors.
    hits_held: usize,
    /// Hits that all waves remember for sessions.
    hits_seen: usize,
    /// The queries whose session does not read, or has had its share of the turn.
    pub(super) parked: Parked,
    ended: Ended,
    /// Queries of sessions that ended in this call.
    pub(super) finished: Vec<(ConnId, u32)>,
}

impl Flood {
    /// Whether one more hit may be held for a neighbor, or remembered for a session.
    pub(super) fn has_room(&self, flow: Flow) -> bool {
        match flow {
            Flow::Session(_) => self.hits_seen < HITS_SEEN_MAX,
            Flow::Link(_) => self.hits_held < HITS_HELD_MAX,
        }
    }

    pub(super) fn wave(&self, key: WaveKey) -> &Wave {
        &self.waves[key.index()]
    }

    pub(super) fn wave_mut(&mut self, key: WaveKey) -> &mut Wave {
        &mut self.waves[key.index()]
    }

    /// About the bytes of the queries that run or are kept.
    pub(crate) fn bytes(&self) -> usize {
        /// A hit that is held for a neighbor, with a path of usual length.
        const HELD: usize = size_of::<SourceRecord>() + 96;
        /// A number in a set of the standard library, with its share of the set's nodes.
        const REMEMBERED: usize = 24;
        /// Memory of a running query outside the table.
        const RUNNING: usize = size_of::<Wave>() + size_of::<Instance>() + size_of::<Scan>() + 128;
        self.waves.capacity() * size_of::<usize>() * 2
            + self.waves.len() * RUNNING
            + self.hits_held * HELD
            + (self.hits_seen + self.visited.len()) * REMEMBERED
    }

    /// An id that no query here has.
    pub(super) fn mint(&self, entropy: &mut dyn Entropy) -> QueryId {
        loop {
            let bits = u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64());
            let id = QueryId(bits.to_be_bytes());
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a query. `named` says whether neighbors may know it by its id.
    pub(super) fn insert(&mut self, wave: Wave, named: bool) -> WaveKey {
        let id = wave.id;
        let key = WaveKey::at(self.waves.insert(Box::new(wave)));
        if named {
            self.by_id.insert(id, key);
        }
        key
    }

    /// Returns whether there is room for one more named query. If the table is full, forgets the
    /// query that ended first. A repetition of that query gets a DONE with a cut.
    pub(super) fn make_room(&mut self, cx: &mut Context) -> bool {
        while self.by_id.len() >= WAVES_MAX {
            let Some((key, id)) = self.ended.pop() else { return false };
            let Some(wave) = self.waves.get_mut(key.index()).filter(|wave| wave.id == id) else { continue };
            wave.listed = false;
            if wave.has_ended() {
                cx.count(Count::FloodForgotten);
                self.forget(key, cx);
            }
        }
        true
    }

    /// Brings a wave as far as it can go. Removes a wave of a session once it has ended.
    pub(super) fn settle(&mut self, key: WaveKey, neighbors: &Neighbors, cx: &mut Context) {
        let room = self.has_room(self.wave(key).flow());
        let wave = &mut self.waves[key.index()];
        let sent = wave.sent_bytes();
        let left = wave.settle(room, neighbors, cx);
        if let Some((conn, _)) = wave.session() {
            self.parked.note_sent(cx.now, conn, wave.sent_bytes() - sent);
        }
        if left && wave.queued.is_none() && !self.parked.park(cx.now, wave.session(), key) {
            wave.queued = Some(self.queue.wait(wave.flow(), key));
        }
        if let Some(link) = wave.instances[0].parent_link()
            && wave.counted == wave.has_ended()
        {
            wave.counted = !wave.counted;
            self.queue.count_running(link, wave.counted);
        }
        match wave.session() {
            Some(session) if wave.has_ended() => {
                self.finished.push(session);
                self.forget(key, cx);
            }
            Some(_) | None => {
                self.count_hits(key);
                if self.wave(key).has_ended() {
                    self.end(key, cx);
                } else {
                    self.arm(key, cx);
                }
                self.bound_hits(cx);
            }
        }
    }

    /// Schedules PENDING for the parent. It is sent before the parent would repeat the QUERY, but
    /// not at once, and not if the instance has ended by then, as most instances have.
    pub(super) fn schedule_pending(&mut self, key: WaveKey, links: &Links, cx: &mut Context) {
        let Some(last) = self.waves.get_mut(key.index()).and_then(|wave| wave.instances.last_mut()) else { return };
        if let (Some(link), false) = (last.parent_link(), last.has_ended()) {
            last.pending_at = Some(cx.now + links.pending_after(link));
            self.arm(key, cx);
        }
    }

    /// Removes a wave.
    pub(super) fn forget(&mut self, key: WaveKey, cx: &mut Context) {
        cx.timers.stop(Reason::Wave(key));
        let wave = self.waves.remove(key.index());
        *self.held_of(wave.flow()) -= wave.held;
        cx.work.add(OUTPUT_WORK + wave.held / HITS_PER_WORK);
        self.parked.forget(wave.session(), key);
        if let Some(ticket) = wave.queued {
            self.queue.forget(wave.flow(), ticket);
        }
        if let (true, Some(link)) = (wave.counted, wave.instances[0].parent_link()) {
            self.queue.count_running(link, false);
        }
        if self.by_id.get(&wave.id) == Some(&key) {
            self.by_id.remove(&wave.id);
            self.visited.insert(cx.now, wave.id);
        }
    }

    /// Forgets the queries at the front that are past their time. A query that is kept for long
    /// delays the queries behind it, which only costs memory.
    pub(crate) fn on_ended(&mut self, cx: &mut Context) {
        while let Some((key, id)) = self.ended.first() {
            if cx.work.is_spent() {
                return cx.timers.set(Reason::Ended, cx.now);
            }
            cx.work.add(OUTPUT_WORK);
            let wave = self.waves.get_mut(key.index()).filter(|wave| wave.id == id);
            match wave {
                Some(wave) if !wave.has_ended() => wave.listed = false,
                Some(wave) if !wave.is_past(cx.now) => return cx.timers.set(Reason::Ended, wave.keep_until()),
                Some(_) => self.forget(key, cx),
                None => {}
            }
            self.ended.pop();
        }
    }

    /// Counts the outputs that were added since there were `before` of them as work.
    pub(super) fn charge_outputs(&mut self, flow: Flow, before: usize, cx: &Context) {
        self.queue.charge(flow, cx.out.len().saturating_sub(before) * OUTPUT_WORK);
    }

    /// What must hold between any two inputs.
    pub(crate) fn check_invariants(&self) {
        assert!(self.by_id.len() <= WAVES_MAX && self.by_id.len() <= self.waves.len());
        for (id, key) in &self.by_id {
            assert_eq!(self.waves.get(key.index()).map(|wave| wave.id), Some(*id));
        }
        for (slot, wave) in &self.waves {
            wave.check_invariants();
            let runs = !wave.has_ended() && wave.session().is_none();
            assert_eq!(wave.counted, runs, "{:?}", WaveKey::at(slot));
            assert!(!wave.has_ended() || wave.session().is_none(), "a session's query is removed when it ends");
            assert!(!wave.has_ended() || wave.listed, "a query that has ended is in the queue of those");
        }
        let (ours, others): (Vec<_>, Vec<_>) =
            self.waves.iter().map(|(_, wave)| wave).partition(|wave| wave.session().is_some());
        assert_eq!(self.hits_held, others.iter().map(|wave| wave.held).sum::<usize>());
        assert_eq!(self.hits_seen, ours.iter().map(|wave| wave.held).sum::<usize>());
        self.parked.check_invariants(|key| self.waves.get(key.index()).and_then(|wave| wave.session()));
        self.queue.check_invariants(self.waves.iter().filter(|(_, wave)| wave.queued.is_some()).count());
        assert!(self.finished.is_empty());
        self.visited.check_invariants();
    }

    /// A neighbor's query has ended: it is kept for repetitions.
    fn end(&mut self, key: WaveKey, cx: &mut Context) {
        let wave = &mut self.waves[key.index()];
        if !wave.listed {
            wave.listed = true;
            cx.timers.stop(Reason::Wave(key));
            cx.timers.set_earlier(Reason::Ended, wave.keep_until());
            self.ended.push(key, wave.id);
        }
    }

    /// While too many hits are held, drops the hits of ended queries, beginning with the query that
    /// ended first.
    fn bound_hits(&mut self, cx: &mut Context) {
        while self.hits_held > HITS_KEPT_MAX
            && let Some((key, id)) = self.ended.next_with_hits()
        {
            let wave = self.waves.get_mut(key.index()).filter(|wave| wave.id == id);
            if let Some(wave) = wave.filter(|wave| wave.has_ended() && wave.held > 0) {
                wave.drop_hits();
                cx.count(Count::FloodDropped);
                self.count_hits(key);
            }
        }
    }

    fn count_hits(&mut self, key: WaveKey) {
        let wave = &mut self.waves[key.index()];
        let (before, now) = (wave.held, wave.hits_held());
        wave.held = now;
        let held = self.held_of(self.wave(key).flow());
        *held = *held - before + now;
    }

    /// The sum that counts the hits of a flow's queries.
    fn held_of(&mut self, flow: Flow) -> &mut usize {
        match flow {
            Flow::Session(_) => &mut self.hits_seen,
            Flow::Link(_) => &mut self.hits_held,
        }
    }

    fn arm(&self, key: WaveKey, cx: &mut Context) {
        cx.timers.set_earlier(Reason::Wave(key), self.wave(key).next());
    }
}
