//! One query at one super peer: its instances, and which links it has covered.
//!
//! A wave lives until the budgets of all its instances are over, so that any copy of the query is known again. Its instances
//! run one after the other, by rising ttl, so that no two of them can wait for each other.

mod spread;

use std::time::Duration;

use spread::{hops_left, query_onward, ttl_onward};

use super::Cx;
use super::ask::{Ask, HitIs, MARGIN};
use super::instance::{Instance, Parent, Phase, Then};
use super::shares::Whose;
use crate::config::TTL_MAX;
use crate::proto::ConnId;
use crate::proto::marks::mark;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::digest::Probe;
use crate::proto::super_peer::link::{LinkId, Links};
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkHit, LinkQuery, LinkRef};
use crate::wire::message::SourceRecord;
use crate::wire::{Cut, LinkMessage, QueryId, Search};

/// How long after its last budget a wave is kept, beside some round trips. The parent's budget ends later than the one it told
/// us, and its last repetitions must still meet the answer.
const KEEP_AFTER: Duration = Duration::from_secs(1);
/// Those round trips, in repetition times: twice the margin that a parent leaves itself.
const KEEP_RTOS: u32 = 2 * MARGIN;

/// What the wave knows of the network behind a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Not asked: it brought the first copy.
    Parent,
    /// A higher ttl may go further there: it was not asked for want of a hop, or was cut for want of one, or the query met
    /// itself there, and the other way may have been cut.
    Cut,
    /// A higher ttl finds nothing more there, or it cannot be asked.
    Settled,
}

#[derive(Debug)]
pub(super) struct Wave {
    pub(super) id: QueryId,
    pub(super) find: Search,
    /// What a digest must hold for a hit; made when it is first asked for.
    probe: Option<Probe>,
    /// A plain flood: no digest is looked at.
    pub(super) flood: bool,
    /// Whether it is counted as a link's that runs.
    pub(super) counted: bool,
    /// Whether it is in the list of scans to go on with.
    pub(super) queued: bool,
    /// Hits of neighbours' queries that it held when it was last counted.
    pub(super) held: usize,
    /// Whether it is in the line of those that are over.
    pub(super) listed: bool,
    /// The highest ttl of any copy so far that rode no tree, trimmed; above every ttl at the origin.
    ttl_best: Option<u8>,
    /// Until then a repetition may come.
    keep_until: Time,
    pub(super) instances: Vec<Instance>,
    /// By link; empty while nothing was forwarded.
    reach: Vec<Reach>,
    /// Whether it went over every link, or would have for want of a hop.
    flooded: bool,
    /// Links not asked for want of a hop, by us or by neighbours that we left out, as an instance of ours told: whoever asks
    /// ours all takes the cuts back.
    ttl_cut: u32,
}

/// What a copy of a known query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyIs {
    Repetition,
    Duplicate,
    Extension,
}

impl Wave {
    /// A wave with its first instance.
    pub(super) fn new(id: QueryId, find: Search, flood: bool, first: Instance, links: &Links) -> Wave {
        let ttl_best = match first.parent {
            Parent::Session(_) => Some(u8::MAX),
            Parent::Link(_) => first.tree.is_none().then_some(first.ttl.min(TTL_MAX)),
        };
        let keep_until = kept_until(&first, links);
        Wave {
            id,
            find,
            probe: None,
            flood,
            counted: false,
            queued: false,
            held: 0,
            listed: false,
            ttl_best,
            keep_until,
            instances: vec![first],
            reach: Vec::new(),
            flooded: false,
            ttl_cut: 0,
        }
    }

    /// The session that began it here, if one did.
    pub(super) fn session(&self) -> Option<(ConnId, u32)> {
        match &self.instances[0].parent {
            Parent::Session(origin) => Some((origin.conn, origin.req)),
            Parent::Link(_) => None,
        }
    }

    /// A copy of the query came from a link.
    pub(super) fn on_copy(&mut self, link: LinkId, query: &LinkQuery, deadline: Time, cx: &mut Cx<'_>) -> CopyIs {
        let same = |instance: &&Instance| instance.parent_link() == Some(link) && instance.ttl == query.ttl;
        if let Some(instance) = self.instances.iter().find(same) {
            cx.counters.add(Count::FloodRepeated);
            instance.answer_again(self.id, link, query.have.as_deref(), cx);
            return CopyIs::Repetition;
        }
        // A ride meets everybody once; one that comes late finds a flood that goes at least as far.
        if query.tree.is_some() || self.ttl_best.is_some_and(|best| query.ttl.min(TTL_MAX) <= best) {
            cx.counters.add(Count::FloodDuplicate);
            cx.send(link, LinkMessage::Done(duplicate(self.id, query.ttl)));
            return CopyIs::Duplicate;
        }
        cx.counters.add(Count::FloodExtension);
        self.ttl_best = Some(query.ttl.min(TTL_MAX));
        let parent = Parent::Link(link);
        let mut instance = Instance::new(cx.now, parent, query.ttl, query.hops, deadline, cx.cap(self.find.limit));
        instance.phase = Phase::Waiting;
        instance.again = query.again;
        self.keep_until = self.keep_until.max(kept_until(&instance, cx.links));
        self.instances.push(instance);
        CopyIs::Extension
    }

    /// A HIT came. Tells whether it belongs here.
    pub(super) fn on_hit(&mut self, link: LinkId, hit: LinkHit, cx: &mut Cx<'_>) -> bool {
        let Some((i, a)) = self.ask_of(link, hit.ttl) else { return false };
        let ask = &mut self.instances[i].asks[a];
        match ask.on_hit(hit.n) {
            HitIs::Known => cx.counters.add(Count::AnswerRepeated),
            HitIs::AboveCap => cx.counters.add(Count::AnswerCapped),
            HitIs::New => {
                let whole = ask.is_whole();
                let LinkHit { file, addr, .. } = hit;
                let record = SourceRecord { path: file.path, size: file.size, root: file.root, addr };
                self.instances[i].take_hit(record, cx);
                if whole {
                    self.close_ask(i, a, Cut::NONE);
                }
            }
        }
        true
    }

    /// A DONE came. Tells whether it belongs here.
    pub(super) fn on_done(&mut self, link: LinkId, done: LinkDone, cx: &mut Cx<'_>) -> bool {
        let Some((i, a)) = self.ask_of(link, done.ttl) else { return false };
        // A duplicate is whole as it is: what it may say besides would count somebody else's work twice.
        let done = if done.dup { duplicate(done.id, done.ttl) } else { done };
        let ask = &mut self.instances[i].asks[a];
        ask.on_done(cx.now, done, cx.links.repeat_after(link));
        if ask.is_whole() {
            self.close_ask(i, a, Cut::NONE);
        }
        true
    }

    /// A PENDING came. Tells whether it belongs here.
    pub(super) fn on_pending(&mut self, link: LinkId, pending: LinkRef, cx: &mut Cx<'_>) -> bool {
        let Some((i, a)) = self.ask_of(link, pending.ttl) else { return false };
        self.instances[i].asks[a].on_pending(cx.now, cx.links.repeat_after(link));
        true
    }

    /// The parent of an instance does not want it any more. Tells whether there is such an instance.
    pub(super) fn on_cancel(&mut self, link: LinkId, cancel: LinkRef, cx: &mut Cx<'_>) -> bool {
        let named = |instance: &Instance| instance.parent_link() == Some(link) && instance.ttl == cancel.ttl;
        let Some(i) = self.instances.iter().position(named) else { return false };
        if !self.instances[i].is_over() {
            self.drop_asks(i, cx);
        }
        self.instances[i].drop_answer(self.id);
        true
    }

    /// Hits that are held for neighbours.
    pub(super) fn hits_held(&self) -> usize {
        self.instances.iter().map(|instance| instance.hits.len()).sum()
    }

    /// Lets the hits of a wave that is over go.
    pub(super) fn drop_hits(&mut self) {
        for instance in self.instances.iter_mut().filter(|instance| !instance.hits.is_empty()) {
            instance.drop_answer(self.id);
        }
    }

    /// The session that began it has gone or has cancelled it.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        for i in 0..self.instances.len() {
            self.drop_asks(i, cx);
        }
    }

    /// The link went down, or the neighbour behind it started anew: nothing that it owes will come.
    pub(super) fn on_link_lost(&mut self, link: LinkId) -> bool {
        let mut touched = false;
        for i in 0..self.instances.len() {
            if let Some(a) = self.instances[i].asks.iter().position(|ask| ask.open && ask.link == link) {
                mark!(BranchLost);
                // What a ride may have found behind that edge is lost, and not only a link that is down.
                let why = match self.instances[i].tree {
                    None => Cut { down: 1, ..Cut::NONE },
                    Some(_) => Cut { loss: 1, ..Cut::NONE },
                };
                self.close_ask(i, a, why);
                touched = true;
            }
        }
        touched
    }

    /// Goes on with every scan for one step. Tells what that cost.
    pub(super) fn search(&mut self, cx: &mut Cx<'_>) -> usize {
        let running = self.instances.iter_mut().filter(|instance| instance.is_running());
        running.map(|instance| instance.search(cx)).sum()
    }

    /// For whom it is worked on: whoever brought it first.
    pub(super) fn whose(&self) -> Whose {
        self.instances[0].parent_link().map_or(Whose::Sessions, Whose::Link)
    }

    /// Some deadline of [`Wave::next`] has come: repeat what is unanswered, end what is out of time.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        for i in 0..self.instances.len() {
            if self.instances[i].is_over() {
                continue;
            }
            if cx.now >= self.instances[i].deadline {
                self.run_out(i, cx);
                continue;
            }
            if self.instances[i].pending_at.is_some_and(|at| cx.now >= at) {
                self.say_pending(i, cx);
            }
            for a in 0..self.instances[i].asks.len() {
                let ask = &self.instances[i].asks[a];
                if ask.open && cx.now >= ask.repeat_at() {
                    self.repeat(i, a, cx);
                }
            }
        }
    }

    /// Brings every instance as far as it can go: sends hits, ends what is finished, begins what waited for that. Tells
    /// whether work is left for the next turn.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut left = false;
        for i in 0..self.instances.len() {
            match &self.instances[i].phase {
                Phase::Ended(_) => continue,
                // Only the first one that is not over may run.
                Phase::Waiting => self.extend(i, cx),
                Phase::Running => {}
            }
            if !self.instances[i].is_over() {
                left |= self.settle_running(i, cx);
            }
            if !self.instances[i].is_over() {
                break;
            }
        }
        left
    }

    /// Whether every instance has ended.
    pub(super) fn is_over(&self) -> bool {
        self.instances.iter().all(Instance::is_over)
    }

    /// Whether nobody can ask for it any more.
    pub(super) fn is_past(&self, now: Time) -> bool {
        self.is_over() && now >= self.keep_until
    }

    /// Until when its answer may be asked for again.
    pub(super) fn keep_until(&self) -> Time {
        self.keep_until
    }

    /// When the wave wants [`Wave::on_timeout`].
    pub(super) fn next(&self) -> Time {
        let running = self.instances.iter().filter(|instance| !instance.is_over());
        let wants = running.flat_map(|instance| {
            let repeats = instance.asks.iter().filter(|ask| ask.open).map(Ask::repeat_at);
            repeats.chain(instance.pending_at).chain([instance.deadline])
        });
        wants.min().unwrap_or(self.keep_until)
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        let running = self.instances.iter().filter(|instance| instance.is_running()).count();
        assert!(running <= 1, "instances run one after the other");
        assert!(self.instances.len() <= usize::from(TTL_MAX) + 2);
        for pair in self.instances.windows(2) {
            let later = pair[0].tree.is_some() || pair[0].ttl < pair[1].ttl;
            assert!(later && pair[1].tree.is_none(), "every instance has a higher ttl than those before");
        }
        for instance in &self.instances {
            assert!(instance.hits.len() <= instance.cap && instance.sent <= instance.hits.len());
            assert!(instance.is_running() || (instance.asks.is_empty() && instance.scan.is_none()));
            let parent = instance.parent_link();
            assert!(instance.asks.iter().all(|ask| Some(ask.link) != parent), "never back to the sender");
        }
    }

    /// The open ask that an answer with this ttl from this link belongs to.
    fn ask_of(&self, link: LinkId, ttl: u8) -> Option<(usize, usize)> {
        self.instances.iter().enumerate().find_map(|(i, instance)| {
            let asked = instance.is_running() && hops_left(instance) > 0 && ttl_onward(instance) == ttl;
            let place = |ask: &Ask| ask.open && ask.link == link;
            let a = asked.then(|| instance.asks.iter().position(place)).flatten()?;
            Some((i, a))
        })
    }

    fn say_pending(&mut self, i: usize, cx: &mut Cx<'_>) {
        let instance = &mut self.instances[i];
        instance.pending_at = None;
        if let Some(link) = instance.parent_link() {
            cx.send(link, LinkMessage::Pending(LinkRef { id: self.id, ttl: instance.ttl }));
        }
    }

    fn repeat(&mut self, i: usize, a: usize, cx: &mut Cx<'_>) {
        let instance = &mut self.instances[i];
        let link = instance.asks[a].link;
        let rto = cx.links.repeat_after(link);
        let have = Some(instance.asks[a].have());
        instance.asks[a].on_repeated(cx.now, rto, instance.deadline);
        let query = query_onward(self.id, &self.find, self.flood, &self.instances[i], rto, have, cx.now);
        if let Some(query) = query {
            cx.counters.add(Count::FloodRepeats);
            cx.send(link, LinkMessage::Query(query));
        }
    }

    fn settle_running(&mut self, i: usize, cx: &mut Cx<'_>) -> bool {
        let id = self.id;
        let unsent = self.instances[i].flush(id, cx);
        let instance = &self.instances[i];
        // Enough is enough: no hit that may still come could be passed on.
        if instance.capped || (instance.is_full() && instance.is_busy()) {
            self.drop_asks(i, cx);
            let instance = &mut self.instances[i];
            instance.scan = None;
            instance.capped = false;
            instance.cut.add(Cut { cap: 1, ..Cut::NONE });
        }
        // Each wave that follows may be over at once; there are as many as the ttl can double.
        while !self.instances[i].is_busy() && !unsent {
            if !self.go_on(i, cx) {
                self.instances[i].end(id, cx);
                return false;
            }
        }
        unsent || self.instances[i].scan.is_some()
    }

    /// The budget of an instance is over: everything that is open is a cut.
    fn run_out(&mut self, i: usize, cx: &mut Cx<'_>) {
        for a in 0..self.instances[i].asks.len() {
            let ask = &self.instances[i].asks[a];
            if ask.open {
                let cut = if ask.heard {
                    mark!(BranchRanOutHeard);
                    Cut { loss: 1, ..Cut::NONE }
                } else {
                    mark!(BranchRanOut);
                    Cut { budget: 1, ..Cut::NONE }
                };
                let (link, riding) = (ask.link, self.instances[i].tree.is_some());
                self.close_ask(i, a, cut);
                if riding {
                    let asked = LinkRef { id: self.id, ttl: ttl_onward(&self.instances[i]) };
                    cx.send(link, LinkMessage::Cancel(asked));
                }
                // What it has not told it may tell the next time.
                self.reach[usize::from(link.0)] = Reach::Cut;
            }
        }
        let instance = &mut self.instances[i];
        if let Parent::Session(origin) = &instance.parent
            && origin.then != Then::End
            && cx.now < origin.deadline
        {
            // What follows is sent when the caller settles this and our own search is over.
            instance.deadline = origin.deadline;
            return;
        }
        if instance.scan.is_some() || instance.phase == Phase::Waiting {
            instance.cut.add(Cut { budget: 1, ..Cut::NONE });
        }
        instance.end(self.id, cx);
    }

    /// Closes an ask with what its DONE told, if there was one, and with why nothing more is waited for.
    fn close_ask(&mut self, i: usize, a: usize, why: Cut) {
        let instance = &mut self.instances[i];
        let ask = &mut instance.asks[a];
        ask.open = false;
        instance.cut.add(why);
        instance.cut.add(Cut { cap: u32::from(ask.capped), ..Cut::NONE });
        if let Some(done) = ask.done {
            instance.cut.add(done.cut);
            instance.uncut = instance.uncut.saturating_add(done.uncut);
            instance.reached = instance.reached.saturating_add(done.reached);
            instance.pruned = instance.pruned.saturating_add(done.pruned);
            let more = done.more || done.dup;
            instance.more |= more;
            if done.cut.ttl > 0 || more {
                self.reach[usize::from(ask.link.0)] = Reach::Cut;
            }
        }
    }

    /// Tells every neighbour that has not answered that this is not wanted any more.
    fn drop_asks(&mut self, i: usize, cx: &mut Cx<'_>) {
        let instance = &mut self.instances[i];
        let asks = std::mem::take(&mut instance.asks);
        for ask in asks.into_iter().filter(|ask| ask.open) {
            self.reach[usize::from(ask.link.0)] = Reach::Cut;
            cx.send(ask.link, LinkMessage::Cancel(LinkRef { id: self.id, ttl: ttl_onward(instance) }));
        }
    }
}

/// How long the parent of an instance may ask for it again.
fn kept_until(instance: &Instance, links: &Links) -> Time {
    let rto = instance.parent_link().map_or(Duration::ZERO, |link| links.repeat_after(link));
    instance.deadline + KEEP_AFTER + rto * KEEP_RTOS
}

/// The DONE that sends a copy back.
fn duplicate(id: QueryId, ttl: u8) -> LinkDone {
    LinkDone { id, ttl, hits: 0, reached: 0, pruned: 0, cut: Cut::NONE, dup: true, more: false, uncut: 0 }
}
