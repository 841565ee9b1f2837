//! The flood: a probe–echo wave over the links, which knows when it is over (PROTOCOL.md "Search").
//!
//! It owns the queries that run here, whether a session of ours began them or a neighbour passed them on. It never decodes
//! bytes, never decides whether a link is up, and knows of sessions only the connection and number to answer to.
//!
//! What makes `complete` trustworthy: every QUERY that is sent ends in exactly one of a DONE with all HITs that it counts, or
//! a cut. A neighbour that has the query by another way answers `dup`, and its own instance tells its cuts there. A super
//! peer that no longer knows what became of a query never says `dup`, but a cut.
//!
//! Several waves may follow one another under one id, each when the one before is back at the origin. Rings grow: each is an
//! extension of the last, over the links that were cut by ttl, and takes back the cuts that it makes good; a cut for any other
//! reason stays, for what it lost is not told again. A ride over the tree (`tree` says why it may be believed) is followed by a
//! flood over every link if it met anything amiss. Then the flood's cuts alone count: if the ride told of stale places only, all
//! that it met was told whole and is not told again; if it lost anything, everybody searches anew.

mod alone;
mod ask;
mod instance;
mod over;
mod shares;
mod visited;
mod wave;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use slab::Slab;

use self::instance::{Instance, Origin, Parent, Then};
use self::over::Over;
use self::shares::{Admission, OUTPUT_WORK, QUERY_WORK, Shares, Whose};
use self::visited::Visited;
use self::wave::{CopyIs, Wave};
use super::counters::{Count, Counters};
use super::digest::Digests;
use super::index::Index;
use super::link::{LinkId, Links};
use super::search::{BadPattern, Scan, Step};
use super::tree::Tree;
use crate::config::{
    ANSWER_MARGIN, HITS_HELD_MAX, HITS_KEPT_MAX, QUERY_BUDGET_MAX, SCAN_WORK_PER_STEP, TTL_MAX, WAVES_MAX,
};
use crate::proto::marks::mark;
use crate::proto::super_peer::Reason;
use crate::proto::timers::Timers;
use crate::proto::{ConnId, Entropy, Output};
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkHit, LinkQuery, LinkRef, RIDE_TTL};
use crate::wire::{Cut, LinkMessage, Policy, QueryId, Search};

/// A query that runs here, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaveKey(u32);

/// What the flood borrows from the super peer for one call.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    /// Hits kept per query at its origin, and per link and query elsewhere.
    pub(super) hits_max: usize,
    /// Whether one more hit may be held for a neighbour.
    pub(super) room: bool,
    pub(super) index: &'a Index,
    pub(super) links: &'a Links,
    pub(super) tree: &'a Tree,
    pub(super) digests: &'a Digests,
    pub(super) timers: &'a mut Timers<Reason>,
    pub(super) counters: &'a mut Counters,
    pub(super) out: &'a mut VecDeque<Output>,
}

impl Cx<'_> {
    /// Most hits that whoever asks with this limit gets.
    fn cap(&self, limit: Option<u32>) -> usize {
        limit.map_or(self.hits_max, |limit| usize::try_from(limit).unwrap_or(usize::MAX).min(self.hits_max))
    }

    fn send(&mut self, link: LinkId, message: LinkMessage) {
        self.links.send(link, message, self.out, self.counters);
    }
}

/// A session's query, checked.
pub(super) struct Begin {
    pub(super) conn: ConnId,
    pub(super) req: u32,
    pub(super) find: Search,
    pub(super) ttl: u8,
    pub(super) budget: Duration,
    pub(super) policy: Policy,
}

/// All queries that run here.
///
/// - getters: `running`, `remembered`, `work_max`;
/// - `handle_*`: one `on_*` per link message, `on_link_lost`, `on_timeout`;
/// - mutators: `begin`, `abandon`;
/// - `poll_*`: `run`, `has_work`, `take_finished`; outputs are pushed by the handlers.
#[derive(Debug, Default)]
pub(super) struct Flood {
    waves: Slab<Wave>,
    /// Those that neighbours know of.
    by_id: BTreeMap<QueryId, WaveKey>,
    visited: Visited,
    /// Scans and answers that their turn's budget ended, and whose turn is next.
    shares: Shares,
    /// Hits that all waves hold for neighbours.
    hits_held: usize,
    over: Over,
    /// Queries of sessions that ended in this call.
    finished: Vec<(ConnId, u32)>,
}

impl Flood {
    /// The most work of any turn so far.
    pub(super) fn work_max(&self) -> usize {
        self.shares.most()
    }

    /// Queries that run or are kept for repetitions.
    pub(super) fn running(&self) -> usize {
        self.waves.len()
    }

    /// Ids of queries that are over.
    pub(super) fn remembered(&self) -> usize {
        self.visited.len()
    }

    /// Begins a session's query: searches here at once, then asks the neighbours. It may be over when this returns, and then
    /// has no key.
    pub(super) fn begin(
        &mut self,
        begin: Begin,
        entropy: &mut dyn Entropy,
        cx: &mut Cx<'_>,
    ) -> Result<Option<WaveKey>, BadPattern> {
        let Begin { conn, req, find, ttl, budget, policy } = begin;
        let mut scan = Scan::within(cx.index, find, cx.hits_max)?;
        let alone = cx.links.is_empty();
        let mut found = Vec::new();
        self.shares.turn(cx.now, cx.links.len());
        let outputs = cx.out.len();
        // What takes a few looks is answered at once however much there is to do: putting it off costs more.
        let step = match self.shares.admit(Whose::Sessions) {
            Admission::Now => scan.step(cx.index, SCAN_WORK_PER_STEP, &mut found),
            Admission::Later | Admission::Never if scan.is_short(cx.index) => {
                scan.step(cx.index, QUERY_WORK, &mut found)
            }
            Admission::Later | Admission::Never => Step::More,
        };
        self.shares.charge(Whose::Sessions, QUERY_WORK + scan.spent());
        if alone && let Step::End { capped } = step {
            alone::answer(conn, req, found, capped, cx);
            return Ok(None);
        }
        let find = scan.find().clone();
        let budget = budget.min(QUERY_BUDGET_MAX);
        let deadline = cx.now + (budget - (budget / 32).min(ANSWER_MARGIN));
        let ttl = ttl.min(TTL_MAX);
        let tree = if policy == Policy::Tree && ttl > 0 { cx.tree.rides(cx.links) } else { None };
        let (then, ttl) = match policy {
            // Without a limit the rings would grow to the full ttl all the same.
            Policy::Ring if ttl > 1 && find.limit.is_some() => (Then::Ring(ttl), 1),
            // A way over the tree may be longer than any other: the ttl bounds the flood that may follow.
            Policy::Tree if tree.is_some() => (Then::Flood(ttl), RIDE_TTL + TTL_MAX),
            Policy::Flood | Policy::Digest | Policy::Ring | Policy::Tree | Policy::Unknown => (Then::End, ttl),
        };
        let origin = Origin { conn, req, told: 0, seen: Default::default(), then, deadline };
        let parent = Parent::Session(Box::new(origin));
        let mut first = Instance::new(cx.now, parent, ttl, 0, then.deadline(cx.now, deadline), cx.cap(find.limit));
        first.reached = 1;
        first.tree = tree;
        first.take_step(Box::new(scan), step, found, cx);
        let id = if alone { QueryId([0; 16]) } else { self.mint(entropy) };
        let shed = !alone && !self.make_room(cx);
        if shed {
            let links = u32::try_from(cx.links.ids().count()).unwrap_or(u32::MAX);
            first.cut.add(Cut { shed: links, ..Cut::NONE });
        }
        let mut wave = Wave::new(id, find, policy == Policy::Flood, first, cx.links);
        if !alone && !shed && !wave.instances[0].is_full() && !wave.instances[0].capped {
            if tree.is_some() {
                cx.counters.add(Count::QueriesRode);
            }
            wave.go_out(0, cx);
        } else if !alone && !shed && wave.instances[0].is_full() {
            // The limit is reached here already; what the neighbours hold is not asked for.
            mark!(QueryFullHere);
            wave.instances[0].capped = true;
        }
        let key = self.insert(wave, !alone && !shed);
        self.settle(key, cx);
        self.charge_outputs(Whose::Sessions, outputs, cx);
        Ok(self.waves.contains(key.slot()).then_some(key))
    }

    /// A session does not want its query any more, or has gone.
    pub(super) fn abandon(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        cx.counters.add(Count::QueriesCancelled);
        self.waves[key.slot()].abandon(cx);
        self.forget(key, cx);
    }

    /// A neighbour passes a query on, or repeats it.
    pub(super) fn on_query(&mut self, link: LinkId, query: LinkQuery, cx: &mut Cx<'_>) {
        let budget = Duration::from_millis(u64::from(query.budget)).min(QUERY_BUDGET_MAX);
        let deadline = cx.now + budget;
        let (id, ttl) = (query.id, query.ttl);
        let outputs = cx.out.len();
        self.begin_turn(cx);
        if let Some(key) = self.by_id.get(&id).copied() {
            match self.waves[key.slot()].on_copy(link, &query, deadline, cx) {
                CopyIs::Repetition | CopyIs::Duplicate => {}
                CopyIs::Extension => {
                    self.settle(key, cx);
                    self.say_pending(key, cx);
                }
            }
            return self.charge_outputs(Whose::Link(link), outputs, cx);
        }
        if self.visited.contains(cx.now, &id) {
            cx.counters.add(Count::FloodStale);
            return cx.send(link, refusal(id, ttl, Cut { budget: 1, ..Cut::NONE }));
        }
        let admission = self.shares.admit(Whose::Link(link));
        if admission == Admission::Never || !self.make_room(cx) {
            self.shares.charge(Whose::Link(link), OUTPUT_WORK);
            cx.counters.add(Count::FloodShed);
            return cx.send(link, refusal(id, ttl, Cut { shed: 1, ..Cut::NONE }));
        }
        let scan = match Scan::within(cx.index, query.find.clone(), cx.hits_max) {
            Ok(scan) => scan,
            Err(_) => {
                cx.counters.add(Count::FloodBadPattern);
                return cx.send(link, refusal(id, ttl, Cut { shed: 1, ..Cut::NONE }));
            }
        };
        cx.counters.add(Count::FloodSearched);
        let parent = Parent::Link(link);
        let mut first = Instance::new(cx.now, parent, ttl, query.hops, deadline, cx.cap(query.find.limit));
        first.scan = Some(Box::new(scan));
        first.reached = 1;
        (first.tree, first.again) = (query.tree, query.again);
        let looked = if admission == Admission::Now { first.search(cx) } else { 0 };
        self.shares.charge(Whose::Link(link), QUERY_WORK + looked);
        let mut wave = Wave::new(id, query.find, query.flood, first, cx.links);
        // Those that could not be passed on any more are not asked for.
        if !wave.instances[0].is_full() {
            wave.go_out(0, cx);
        } else if cx.links.ids().any(|other| other != link) {
            wave.instances[0].capped = true;
        }
        let key = self.insert(wave, true);
        self.settle(key, cx);
        self.say_pending(key, cx);
        self.charge_outputs(Whose::Link(link), outputs, cx);
    }

    /// A neighbour answers with a hit.
    pub(super) fn on_hit(&mut self, link: LinkId, hit: LinkHit, cx: &mut Cx<'_>) {
        cx.room = self.hits_held < HITS_HELD_MAX;
        self.on_answer(hit.id, cx, |wave, cx| wave.on_hit(link, hit, cx));
    }

    /// A neighbour has closed its branch.
    pub(super) fn on_done(&mut self, link: LinkId, done: LinkDone, cx: &mut Cx<'_>) {
        self.on_answer(done.id, cx, |wave, cx| wave.on_done(link, done, cx));
    }

    /// A neighbour works on a query.
    pub(super) fn on_pending(&mut self, link: LinkId, pending: LinkRef, cx: &mut Cx<'_>) {
        self.on_answer(pending.id, cx, |wave, cx| wave.on_pending(link, pending, cx));
    }

    /// A neighbour does not want its query any more.
    pub(super) fn on_cancel(&mut self, link: LinkId, cancel: LinkRef, cx: &mut Cx<'_>) {
        self.on_answer(cancel.id, cx, |wave, cx| wave.on_cancel(link, cancel, cx));
    }

    /// A link went down, or its neighbour started anew. What was passed on *for* that neighbour goes on: if it comes back
    /// and asks again, it is told the truth.
    pub(super) fn on_link_lost(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        let touched = self.waves.iter_mut().filter_map(|(slot, wave)| wave.on_link_lost(link).then_some(slot));
        for slot in touched.collect::<Vec<_>>() {
            self.settle(WaveKey::of(slot), cx);
        }
    }

    /// The deadline of a wave has come.
    pub(super) fn on_timeout(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        let wave = &mut self.waves[key.slot()];
        wave.on_timeout(cx);
        // After a long pause even a session's query may be past as soon as it is over, and its session is to hear of that.
        if wave.session().is_none() && wave.is_past(cx.now) {
            return self.forget(key, cx);
        }
        self.settle(key, cx);
    }

    /// Whether work is left over from the turn before.
    pub(super) fn has_work(&self) -> bool {
        self.shares.has_work()
    }

    /// Does one turn's worth of what is left over.
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) {
        if !self.shares.has_work() {
            return;
        }
        self.begin_turn(cx);
        self.shares.run();
        while let Some(key) = self.shares.next() {
            let Some(wave) = self.waves.get_mut(key.slot()) else { continue };
            let (outputs, whose) = (cx.out.len(), wave.whose());
            wave.queued = false;
            let looked = wave.search(cx);
            self.shares.charge(whose, QUERY_WORK + looked);
            self.settle(key, cx);
            self.charge_outputs(whose, outputs, cx);
            cx.room = self.hits_held < HITS_HELD_MAX;
        }
    }

    fn begin_turn(&mut self, cx: &mut Cx<'_>) {
        self.shares.turn(cx.now, cx.links.len());
        cx.room = self.hits_held < HITS_HELD_MAX;
    }

    /// Counts the outputs above the first so many as work.
    fn charge_outputs(&mut self, whose: Whose, before: usize, cx: &Cx<'_>) {
        self.shares.charge(whose, cx.out.len().saturating_sub(before) * OUTPUT_WORK);
    }

    /// The sessions' queries that have ended since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<(ConnId, u32)> {
        std::mem::take(&mut self.finished)
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.by_id.len() <= WAVES_MAX && self.by_id.len() <= self.waves.len());
        for (id, key) in &self.by_id {
            assert_eq!(self.waves.get(key.slot()).map(|wave| wave.id), Some(*id));
        }
        for (slot, wave) in &self.waves {
            wave.check_invariants();
            let runs = !wave.is_over() && wave.session().is_none();
            assert_eq!(wave.counted, runs, "{:?}", WaveKey::of(slot));
            assert!(!wave.is_over() || wave.session().is_none(), "a session's query goes when it is over");
            assert!(!wave.is_over() || wave.listed, "who is over waits in line to be forgotten");
        }
        assert_eq!(self.hits_held, self.waves.iter().map(|(_, wave)| wave.held).sum::<usize>());
        self.shares.check_invariants(self.waves.iter().filter(|(_, wave)| wave.queued).count());
        assert!(self.finished.is_empty());
        self.visited.check_invariants();
    }

    fn mint(&self, entropy: &mut dyn Entropy) -> QueryId {
        loop {
            let bits = u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64());
            let id = QueryId(bits.to_be_bytes());
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn insert(&mut self, wave: Wave, named: bool) -> WaveKey {
        let id = wave.id;
        let key = WaveKey::of(self.waves.insert(wave));
        if named {
            self.by_id.insert(id, key);
        }
        key
    }

    fn on_answer(&mut self, id: QueryId, cx: &mut Cx<'_>, take: impl FnOnce(&mut Wave, &mut Cx<'_>) -> bool) {
        let taken = self.by_id.get(&id).copied().filter(|key| take(&mut self.waves[key.slot()], cx));
        match taken {
            Some(key) => self.settle(key, cx),
            None => cx.counters.add(Count::AnswerUnasked),
        }
    }

    /// Brings a wave as far as it can go, and frees a session's once it is over.
    fn settle(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        let wave = &mut self.waves[key.slot()];
        let left = wave.settle(cx);
        if left && !wave.queued {
            wave.queued = true;
            self.shares.wait(wave.whose(), key);
        }
        if let Some(link) = wave.instances[0].parent_link()
            && wave.counted == wave.is_over()
        {
            wave.counted = !wave.counted;
            self.shares.count_running(link, wave.counted);
        }
        match wave.session() {
            Some(session) if wave.is_over() => {
                self.finished.push(session);
                self.forget(key, cx);
            }
            _ => {
                self.count_hits(key);
                if self.waves[key.slot()].is_over() {
                    self.end(key, cx);
                } else {
                    self.arm(key, cx);
                }
                self.bound_hits(cx);
            }
        }
    }

    /// A neighbour's query is over: it waits in line to be forgotten.
    fn end(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        let wave = &mut self.waves[key.slot()];
        if !wave.listed {
            wave.listed = true;
            cx.timers.stop(Reason::Wave(key));
            cx.timers.set_earlier(Reason::Over, wave.keep_until());
            self.over.push(key, wave.id);
        }
    }

    /// The query that has been over for longest may be past. One that is kept for long holds up those behind it, which costs
    /// room and no truth.
    pub(super) fn on_over(&mut self, cx: &mut Cx<'_>) {
        while let Some((key, id)) = self.over.first() {
            let wave = self.waves.get_mut(key.slot()).filter(|wave| wave.id == id);
            match wave {
                Some(wave) if !wave.is_over() => wave.listed = false,
                Some(wave) if !wave.is_past(cx.now) => return cx.timers.set(Reason::Over, wave.keep_until()),
                Some(_) => self.forget(key, cx),
                None => {}
            }
            self.over.pop();
        }
    }

    /// Whether one more query of the network has a place: if need be that of one that is over, the oldest first. Who asks for
    /// that one again is told that it is cut.
    fn make_room(&mut self, cx: &mut Cx<'_>) -> bool {
        while self.by_id.len() >= WAVES_MAX {
            let Some((key, id)) = self.over.pop() else { return false };
            let Some(wave) = self.waves.get_mut(key.slot()).filter(|wave| wave.id == id) else { continue };
            wave.listed = false;
            if wave.is_over() {
                cx.counters.add(Count::FloodForgotten);
                self.forget(key, cx);
            }
        }
        true
    }

    /// Lets the hits of those that ended first go while there are too many.
    fn bound_hits(&mut self, cx: &mut Cx<'_>) {
        while self.hits_held > HITS_KEPT_MAX
            && let Some((key, id)) = self.over.next_with_hits()
        {
            let wave = self.waves.get_mut(key.slot()).filter(|wave| wave.id == id);
            if let Some(wave) = wave.filter(|wave| wave.is_over() && wave.held > 0) {
                wave.drop_hits();
                cx.counters.add(Count::FloodDropped);
                self.count_hits(key);
            }
        }
    }

    fn count_hits(&mut self, key: WaveKey) {
        let wave = &mut self.waves[key.slot()];
        self.hits_held -= wave.held;
        wave.held = if wave.session().is_some() { 0 } else { wave.hits_held() };
        self.hits_held += wave.held;
    }

    /// Lets the parent know soon that its QUERY has come and is not done yet: before it would ask again, but not at once,
    /// for most answers are there sooner.
    fn say_pending(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        let Some(last) = self.waves.get_mut(key.slot()).and_then(|wave| wave.instances.last_mut()) else { return };
        if let (Some(link), false) = (last.parent_link(), last.is_over()) {
            last.pending_at = Some(cx.now + cx.links.pending_after(link));
            self.arm(key, cx);
        }
    }

    fn arm(&self, key: WaveKey, cx: &mut Cx<'_>) {
        cx.timers.set_earlier(Reason::Wave(key), self.waves[key.slot()].next());
    }

    fn forget(&mut self, key: WaveKey, cx: &mut Cx<'_>) {
        cx.timers.stop(Reason::Wave(key));
        let wave = self.waves.remove(key.slot());
        self.hits_held -= wave.held;
        if wave.queued {
            self.shares.forget(wave.whose(), key);
        }
        if let (true, Some(link)) = (wave.counted, wave.instances[0].parent_link()) {
            self.shares.count_running(link, false);
        }
        if self.by_id.get(&wave.id) == Some(&key) {
            self.by_id.remove(&wave.id);
            self.visited.insert(cx.now, wave.id);
        }
    }
}

impl WaveKey {
    fn of(slot: usize) -> WaveKey {
        WaveKey(u32::try_from(slot).expect("fewer waves than 2^32"))
    }

    fn slot(self) -> usize {
        self.0 as usize
    }
}

/// The DONE of a query that is not searched here.
fn refusal(id: QueryId, ttl: u8, cut: Cut) -> LinkMessage {
    LinkMessage::Done(LinkDone { id, ttl, hits: 0, reached: 0, pruned: 0, cut, dup: false, more: false, uncut: 0 })
}

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;
