//! One instance of a wave at one super peer: which parent it answers, which neighbors it has asked,
//! and what it has found.
//!
//! An instance is identified by the id of the query, the link on which the QUERY arrived, and the
//! ttl of this QUERY. It ends exactly once, by its own DONE or by a CANCEL of its parent, and is
//! kept after that so that a repetition can be answered.

use std::collections::BTreeSet;

use super::answer::{Outcome, send_done, send_hits, weight};
use super::subquery::Subquery;
use crate::config::{
    DATAGRAM_BYTES_MAX, REPEATED_BYTES_FIRST, REPEATED_PER_HELD, SCAN_ENTRIES_MAX, SCAN_WORK_PER_STEP,
};
use crate::proto::ConnId;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Links;
use crate::proto::super_peer::search::{Scan, Step};
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkHit, LinkQuery, LinkRef};
use crate::wire::message::SourceRecord;
use crate::wire::{Cut, FileRecord, LinkMessage, QueryId, TreeName};

/// HITs sent per instance and turn. A longer answer takes several turns, so that it does not
/// overrun the neighbor's socket.
pub(super) const HITS_PER_TURN: usize = 128;

/// Least size of a QUERY without its pattern, in bytes, with the header of its datagram.
const QUERY_BYTES_MIN: usize = 64;

/// A session's query.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) conn: ConnId,
    pub(super) req: u32,
    /// Hits sent so far, and their bytes.
    pub(super) sent: usize,
    pub(super) sent_bytes: usize,
    /// The keys ([`Index::hit_key`]) of the hits that were sent or will be sent. A hit that several
    /// branches return is sent once.
    ///
    /// [`Index::hit_key`]: crate::proto::super_peer::index::Index::hit_key
    pub(super) seen: BTreeSet<u128>,
    /// What follows when the present wave has returned.
    pub(super) then: Then,
    /// When the query ends at the latest.
    pub(super) deadline: Time,
}

/// What follows at the origin when a wave has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The end.
    End,
    /// The next ring, up to this ttl, unless the limit is reached.
    Ring(u8),
    /// A flood with this ttl, if the tree query reports a cut that a flood can avoid.
    Flood(u8),
}

/// Where an instance sends its answer.
#[derive(Debug)]
pub(super) enum Parent {
    Session(Box<Origin>),
    Link(LinkId),
}

impl Then {
    /// When the present wave must return, if the query ends at `end`. The waves that follow need
    /// time too.
    pub(super) fn deadline(self, now: Time, end: Time) -> Time {
        match self {
            Then::End => end,
            Then::Ring(_) | Then::Flood(_) => now + end.since(now) / 2,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// An extension that waits until the earlier instances have ended.
    Waiting,
    Running,
    /// Ended by this DONE. Repetitions get the same DONE.
    Ended(LinkDone),
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) parent: Parent,
    /// The ttl of the QUERY that began the instance. Every answer repeats it.
    pub(super) ttl: u8,
    /// Hops from the origin.
    pub(super) hops: u8,
    pub(super) begun: Time,
    pub(super) deadline: Time,
    pub(super) phase: Phase,
    pub(super) scan: Option<Box<Scan>>,
    /// For a link: all hits; the place of a hit is its number. For a session: the hits that are not
    /// sent yet.
    pub(super) hits: Vec<SourceRecord>,
    /// Of a search by root: hits above the quota of their subquery (PROTOCOL.md 7.5). They wait
    /// until nothing else can be found. [`Instance::settle_held_back`] drops the last of them while
    /// they and the hits for the parent are together more than `cap`.
    pub(super) held_back: Vec<SourceRecord>,
    /// At the origin: the keys of the hits in `held_back`, and of those that were dropped from it.
    pub(super) held_keys: BTreeSet<u128>,
    /// Whether hits were dropped from `held_back`.
    left_out: bool,
    /// For a link: how many of the hits were sent.
    pub(super) sent: usize,
    /// Most hits that the parent may get.
    pub(super) cap: usize,
    /// Whether a hit was dropped, or neighbors were not asked, because of `cap` or lack of room.
    pub(super) capped: bool,
    pub(super) subqueries: Vec<Subquery>,
    pub(super) reached: u32,
    /// Links that were not asked because of a neighbor's digest.
    pub(super) pruned: u32,
    pub(super) cut: Cut,
    /// Whether the DONE of a subquery had `dup` or `more`.
    pub(super) more: bool,
    /// Ttl cuts that earlier instances reported, here or beyond the links, and that this instance
    /// has undone.
    pub(super) uncut: u32,
    /// The sums of the tags of the ttl cuts in `cut`, and of those in `uncut`, modulo 2⁶⁴.
    pub(super) cut_tag: u64,
    pub(super) uncut_tag: u64,
    /// Of a tree query: its tree. `None` if the query goes over every link.
    pub(super) tree: Option<TreeName>,
    /// For a flood after a tree query: whether super peers that the tree query reached search
    /// again.
    pub(super) again: bool,
    /// Bytes of HITs that may be sent again. They are bounded, because a repetition costs almost
    /// nothing to a spoofer, or to a network that copies datagrams.
    repeatable: usize,
    /// How many HITs the parent holds, according to its repetitions.
    held: usize,
    /// When PENDING is sent to the parent, unless the instance has ended before.
    pub(super) pending_at: Option<Time>,
}

impl Instance {
    pub(super) fn new(now: Time, parent: Parent, ttl: u8, hops: u8, deadline: Time, cap: usize) -> Instance {
        Instance {
            parent,
            ttl,
            hops,
            begun: now,
            deadline,
            phase: Phase::Running,
            scan: None,
            hits: Vec::new(),
            held_back: Vec::new(),
            held_keys: BTreeSet::new(),
            left_out: false,
            sent: 0,
            cap,
            capped: false,
            subqueries: Vec::new(),
            reached: 0,
            pruned: 0,
            cut: Cut::NONE,
            more: false,
            uncut: 0,
            cut_tag: 0,
            uncut_tag: 0,
            tree: None,
            again: false,
            repeatable: REPEATED_BYTES_FIRST,
            held: 0,
            pending_at: None,
        }
    }

    /// Counts ttl cuts with this tag.
    pub(super) fn cut_by_ttl(&mut self, n: u32, tag: u64) {
        self.cut.add(Cut { ttl: n, ..Cut::NONE });
        self.cut_tag = self.cut_tag.wrapping_add(tag.wrapping_mul(n.into()));
    }

    /// Takes back ttl cuts with this tag, which an earlier instance reported.
    pub(super) fn take_back(&mut self, n: u32, tag: u64) {
        self.uncut = self.uncut.saturating_add(n);
        self.uncut_tag = self.uncut_tag.wrapping_add(tag.wrapping_mul(n.into()));
    }

    /// Our own index is searched.
    pub(super) fn reach_us(&mut self, cx: &Context) {
        self.reached = 1;
        if cx.starting {
            self.cut.add(Cut { starting: 1, ..Cut::NONE });
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether more may still be found.
    pub(super) fn is_busy(&self) -> bool {
        self.scan.is_some() || self.subqueries.iter().any(|subquery| subquery.open)
    }

    /// Whether the parent gets no more hits.
    pub(super) fn is_full(&self) -> bool {
        self.taken() >= self.cap
    }

    pub(super) fn parent_link(&self) -> Option<LinkId> {
        match &self.parent {
            Parent::Session(_) => None,
            Parent::Link(link) => Some(*link),
        }
    }

    /// Takes one hit for the parent. `room` says whether one more hit may be held or remembered.
    pub(super) fn take_hit(&mut self, record: SourceRecord, room: bool, cx: &mut Context) {
        if let Parent::Session(origin) = &mut self.parent {
            let key = cx.index.hit_key(&record);
            if origin.seen.contains(&key) {
                cx.count(Count::HitsDuplicate);
                return;
            }
            if origin.seen.len() >= self.cap || !room {
                self.capped = true;
                return;
            }
            origin.seen.insert(key);
        } else if self.hits.len() >= self.cap || !room {
            self.capped = true;
            return;
        }
        self.hits.push(record);
    }

    /// Takes one hit of a search by root from a subquery. While hits may still come from others,
    /// each neighbor has an equal quota of the limit. So a near neighbor with many false hits does
    /// not use up the limit before another neighbor has answered.
    pub(super) fn take_share(&mut self, s: usize, record: SourceRecord, cx: &mut Context) {
        let key = match &self.parent {
            Parent::Session(origin) => {
                let key = cx.index.hit_key(&record);
                if origin.seen.contains(&key) || self.held_keys.contains(&key) {
                    return cx.count(Count::HitsDuplicate);
                }
                Some(key)
            }
            Parent::Link(_) => None,
        };
        let share = (self.cap / (self.subqueries.len() + 1)).max(1);
        let is_other = |(other, subquery): (usize, &Subquery)| other != s && subquery.open;
        let others = self.scan.is_some() || self.subqueries.iter().enumerate().any(is_other);
        // The last neighbor that answers does not use up the room for the hits that wait.
        let is_claimed = !self.held_back.is_empty() && self.taken() + self.held_back.len() >= self.cap;
        let passed_on = &mut self.subqueries[s].passed_on;
        if *passed_on >= share && (others || is_claimed) {
            self.held_back.push(record);
            self.held_keys.extend(key);
        } else {
            *passed_on += 1;
            self.take_hit(record, true, cx);
        }
    }

    /// Drops the last of the hits that were held back, if there is no room for all of them. Takes
    /// the others once nothing else can be found.
    pub(super) fn settle_held_back(&mut self, cx: &mut Context) {
        if self.held_back.is_empty() {
            return;
        }
        let room = self.cap.saturating_sub(self.taken());
        if self.held_back.len() > room {
            self.held_back.truncate(room);
            self.left_out = true;
        }
        if room == 0 || !self.is_busy() {
            self.held_keys.clear();
            for record in std::mem::take(&mut self.held_back) {
                self.take_hit(record, true, cx);
            }
            self.capped |= std::mem::take(&mut self.left_out);
        }
    }

    /// Searches our own index for one step. Returns the work.
    pub(super) fn search(&mut self, room: bool, cx: &mut Context) -> usize {
        let Some(mut scan) = self.scan.take() else { return 0 };
        let mut found = Vec::new();
        let before = scan.spent();
        let step = scan.step(&cx.index, SCAN_WORK_PER_STEP, &mut found);
        let (looked, spent) = (scan.looked(), scan.spent() - before);
        self.take_step(scan, step, found, room, cx);
        if looked >= SCAN_ENTRIES_MAX && self.scan.take().is_some() {
            self.cut.add(Cut { cap: 1, ..Cut::NONE });
        }
        spent
    }

    /// Takes the hits that one step of its scan has found.
    pub(super) fn take_step(
        &mut self,
        scan: Box<Scan>,
        step: Step,
        found: Vec<SourceRecord>,
        room: bool,
        cx: &mut Context,
    ) {
        match step {
            Step::More => self.scan = Some(scan),
            Step::End { capped } => self.cut.add(Cut { cap: u32::from(capped), ..Cut::NONE }),
        }
        for record in found {
            self.take_hit(record, room, cx);
        }
    }

    /// Sends hits that the parent does not have yet, at most those of one turn. Returns whether
    /// some are left.
    pub(super) fn flush(&mut self, id: QueryId, links: &Links, cx: &mut Context) -> bool {
        match &mut self.parent {
            Parent::Session(origin) => {
                let hits = std::mem::take(&mut self.hits);
                origin.sent += hits.len();
                origin.sent_bytes += send_hits(origin.conn, origin.req, hits, cx);
                false
            }
            Parent::Link(link) => {
                let (link, end) = (*link, self.hits.len().min(self.sent + HITS_PER_TURN));
                for n in self.sent..end {
                    self.send_hit(id, link, n, links, cx);
                }
                self.sent = end;
                end < self.hits.len()
            }
        }
    }

    /// Ends the instance. It waits for nothing more; the caller has counted the cuts.
    pub(super) fn end(&mut self, id: QueryId, links: &Links, cx: &mut Context) {
        debug_assert!(!self.has_ended());
        self.scan = None;
        self.subqueries = Vec::new();
        self.settle_held_back(cx);
        self.cut.add(Cut { cap: u32::from(std::mem::take(&mut self.capped)), ..Cut::NONE });
        // Hits that were held back until now are sent before the DONE that counts them, at most
        // those of one turn. The parent requests the others when it repeats the QUERY.
        self.flush(id, links, cx);
        let hits = u32::try_from(self.taken()).unwrap_or(u32::MAX);
        let Instance { ttl, reached, pruned, cut, more, uncut, cut_tag, uncut_tag, .. } = *self;
        let dup = false;
        let done = LinkDone { id, ttl, hits, reached, pruned, cut, dup, more, uncut, cut_tag, uncut_tag };
        self.end_with(done, links, cx);
    }

    /// Ends the instance with this DONE.
    pub(super) fn end_with(&mut self, ended: LinkDone, links: &Links, cx: &mut Context) {
        self.sent = self.hits.len();
        self.phase = Phase::Ended(ended);
        match &self.parent {
            Parent::Link(link) => links.send(*link, LinkMessage::Done(ended), cx),
            Parent::Session(origin) => {
                let ms = u32::try_from(cx.now.since(self.begun).as_millis()).unwrap_or(u32::MAX);
                let LinkDone { hits, reached, pruned, .. } = ended;
                let outcome = Outcome { hits, reached, pruned, cut: self.cut_net(), ms };
                send_done(origin.conn, origin.req, outcome, cx);
            }
        }
    }

    /// Drops the answer. A repetition gets a DONE with a cut.
    pub(super) fn drop_answer(&mut self, id: QueryId) {
        let cut = Cut { loss: 1, ..Cut::NONE };
        let done = LinkDone { cut, ..LinkDone::empty(id, self.ttl) };
        self.scan = None;
        (self.hits, self.held_back) = (Vec::new(), Vec::new());
        self.sent = 0;
        self.phase = Phase::Ended(done);
    }

    /// Answers a repetition: HITs that the parent lacks, then DONE or PENDING.
    pub(super) fn answer_again(
        &mut self,
        id: QueryId,
        link: LinkId,
        query: &LinkQuery,
        links: &Links,
        cx: &mut Context,
    ) {
        // The parent has not repeated a QUERY without `have`: the network has delivered it twice.
        // Such a QUERY does not show that a HIT was lost.
        if self.has_ended() || query.have.is_some() {
            self.send_hits_again(id, link, query, links, cx);
        }
        let answer = match &self.phase {
            Phase::Ended(done) => LinkMessage::Done(*done),
            Phase::Waiting | Phase::Running => LinkMessage::Pending(LinkRef { id, ttl: self.ttl }),
        };
        links.send(link, answer, cx);
    }

    /// Sends the first HITs that the parent lacks, as far as `repeatable` allows. Each repetition
    /// raises `repeatable` by its own bytes, and by some more for each HIT that it is the first to
    /// name in `have`. So a replayed QUERY causes few bytes, and a parent behind a lossy link gets
    /// all HITs in the end.
    fn send_hits_again(&mut self, id: QueryId, link: LinkId, query: &LinkQuery, links: &Links, cx: &mut Context) {
        let mut held = vec![false; self.sent];
        for (first, end) in query.have.iter().flatten() {
            let end = (*end as usize).min(self.sent);
            held.get_mut(*first as usize..end).into_iter().flatten().for_each(|held| *held = true);
        }
        let holds = || held.iter().enumerate().filter(|(_, held)| **held).map(|(n, _)| n);
        let new = holds().skip(self.held).map(|n| weight(&self.hits[n])).sum::<usize>();
        self.held = self.held.max(holds().count());
        let fit = DATAGRAM_BYTES_MAX * HITS_PER_TURN;
        let more = query.find.pattern.len() + QUERY_BYTES_MIN + REPEATED_PER_HELD * new;
        self.repeatable = self.repeatable.saturating_add(more).min(fit);
        let missing = held.iter().enumerate().filter(|(_, held)| !**held).map(|(n, _)| n);
        for n in missing.take(HITS_PER_TURN) {
            let Some(left) = self.repeatable.checked_sub(weight(&self.hits[n])) else {
                return cx.count(Count::FloodRepeatsBounded);
            };
            self.repeatable = left;
            self.send_hit(id, link, n, links, cx);
        }
    }

    /// The cuts without the ttl cuts that an extension has undone. One DONE reports a ttl cut, and
    /// another DONE takes it back. If the first DONE is lost, its loss counts as a cut of another
    /// kind. A saturated sum is left as it is. Unless the tags show that exactly the reported cuts
    /// were taken back, at least one is left: a liar may have taken back a cut that is not its own.
    pub(super) fn cut_net(&self) -> Cut {
        let all_undone = self.uncut == self.cut.ttl && self.uncut_tag == self.cut_tag;
        let ttl = match self.cut.ttl {
            0 | u32::MAX => self.cut.ttl,
            _ if all_undone => 0,
            ttl => ttl.saturating_sub(self.uncut).max(1),
        };
        Cut { ttl, ..self.cut }
    }

    /// Hits that are held for a neighbor, or remembered for a session.
    pub(super) fn hits_held(&self) -> usize {
        let taken = match &self.parent {
            Parent::Session(origin) => origin.seen.len(),
            Parent::Link(_) => self.hits.len(),
        };
        taken + self.held_back.len()
    }

    fn taken(&self) -> usize {
        match &self.parent {
            Parent::Session(origin) => origin.sent + self.hits.len(),
            Parent::Link(_) => self.hits.len(),
        }
    }

    fn send_hit(&self, id: QueryId, link: LinkId, n: usize, links: &Links, cx: &mut Context) {
        let SourceRecord { path, size, root, collection, node, addr, other, unreached, http, member } =
            self.hits[n].clone();
        let file = FileRecord { path, size, root, collection };
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        let hit = LinkHit { id, ttl: self.ttl, n, file, node, addr, other, unreached, http, member };
        links.send(link, LinkMessage::Hit(hit), cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_cuts_are_undone_only_if_all_are_taken_back_with_their_tags() {
        let net = |ttl, uncut, (cut_tag, uncut_tag)| {
            let mut instance = Instance::new(Time::ZERO, Parent::Link(LinkId(0)), 1, 1, Time::ZERO, 1);
            instance.cut.ttl = ttl;
            (instance.uncut, instance.cut_tag, instance.uncut_tag) = (uncut, cut_tag, uncut_tag);
            instance.cut_net().ttl
        };
        assert_eq!((net(2, 2, (6, 6)), net(0, 0, (0, 0)), net(5, 3, (15, 9))), (0, 0, 2));
        // Super peers of earlier versions send no tags.
        assert_eq!((net(2, 2, (0, 0)), net(2, 1, (0, 0))), (0, 1));
        // Lies.
        assert_eq!((net(2, 2, (6, 0)), net(2, 2, (6, 3)), net(2, 3, (6, 6)), net(2, u32::MAX, (6, 6))), (1, 1, 1, 1));
        assert_eq!((net(0, 2, (0, 0)), net(u32::MAX, u32::MAX, (6, 6))), (0, u32::MAX));
    }
}
