//! One instance of a wave at one super peer: whom it answers, whom it has asked, and what it has found.
//!
//! An instance is named by the query's id, the link that brought it, and the ttl that it came with. It ends exactly once, by
//! its own DONE, and is kept after that so that a repetition can be answered.

use std::collections::BTreeSet;

use super::Cx;
use super::ask::Ask;
use crate::config::{PAGE_BYTES, SCAN_ENTRIES_MAX, SCAN_WORK_PER_STEP};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::link::LinkId;
use crate::proto::super_peer::search::{Scan, Step};
use crate::proto::{ConnId, Output};
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkHit, LinkRef};
use crate::wire::message::{Done, Hit, SourceRecord};
use crate::wire::{Cut, HostPort, LinkMessage, Message, QueryId, Root, SharePath, TreeName};

/// HITs sent per instance and turn; a longer answer is spread, so that it does not overrun the neighbour's socket.
pub(super) const HITS_PER_TURN: usize = 128;

/// A session's query.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) conn: ConnId,
    pub(super) req: u32,
    /// Hits told so far.
    pub(super) told: usize,
    /// What was told or is about to be: several branches may lead to one source.
    pub(super) seen: BTreeSet<(Root, SharePath, HostPort)>,
    /// What follows when the wave that is out has come back.
    pub(super) then: Then,
    /// When the whole query is over, whatever follows.
    pub(super) deadline: Time,
}

/// What follows at the origin when a wave has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The end.
    End,
    /// The next ring, up to this ttl, while hits are wanted.
    Ring(u8),
    /// A flood with this ttl, if the tree that the query rides turns out not to be whole.
    Flood(u8),
}

/// Whom the instance answers.
#[derive(Debug)]
pub(super) enum Parent {
    Session(Box<Origin>),
    Link(LinkId),
}

impl Then {
    /// When the wave that goes out now has to be back, if all is over at `end`: whatever follows needs time as well.
    pub(super) fn deadline(self, now: Time, end: Time) -> Time {
        match self {
            Then::End => end,
            Then::Ring(_) | Then::Flood(_) => now + end.since(now) / 2,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// An extension, until the earlier instances have ended.
    Waiting,
    Running,
    /// Ended; the DONE that was sent, for repetitions.
    Ended(LinkDone),
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) parent: Parent,
    /// The ttl that it came with: its name in every answer.
    pub(super) ttl: u8,
    /// Hops from the origin.
    pub(super) hops: u8,
    pub(super) begun: Time,
    pub(super) deadline: Time,
    pub(super) phase: Phase,
    pub(super) scan: Option<Box<Scan>>,
    /// Towards a link: all hits, numbered by their place. Towards a session: those that are not told yet.
    pub(super) hits: Vec<SourceRecord>,
    /// Towards a link: how many of them were sent.
    pub(super) sent: usize,
    /// Most hits that the parent wants or may get.
    pub(super) cap: usize,
    /// Whether a hit was dropped because of that.
    pub(super) capped: bool,
    pub(super) asks: Vec<Ask>,
    pub(super) reached: u32,
    /// Links that were not asked because of a neighbour's digest.
    pub(super) pruned: u32,
    pub(super) cut: Cut,
    /// Whether some copy that was passed on met a duplicate.
    pub(super) more: bool,
    /// Ttl cuts that earlier instances told, here or behind the links, and that are made good by now.
    pub(super) uncut: u32,
    /// The tree that it rides; else it goes over every link.
    pub(super) tree: Option<TreeName>,
    /// Whether the index is searched again by whoever was met by the ride that this follows.
    pub(super) again: bool,
    /// When the parent is told that its QUERY has come, if nothing else tells it before.
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
            sent: 0,
            cap,
            capped: false,
            asks: Vec::new(),
            reached: 0,
            pruned: 0,
            cut: Cut::NONE,
            more: false,
            uncut: 0,
            tree: None,
            again: false,
            pending_at: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether more may still be found.
    pub(super) fn is_busy(&self) -> bool {
        self.scan.is_some() || self.asks.iter().any(|ask| ask.open)
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

    /// Takes one hit for the parent.
    pub(super) fn take_hit(&mut self, record: SourceRecord, cx: &mut Cx<'_>) {
        if let Parent::Session(origin) = &mut self.parent {
            let key = (record.root, record.path.clone(), record.addr.clone());
            if origin.seen.contains(&key) {
                cx.counters.add(Count::HitsDuplicate);
                return;
            }
            if origin.seen.len() >= self.cap {
                self.capped = true;
                return;
            }
            origin.seen.insert(key);
        } else if self.hits.len() >= self.cap || !cx.room {
            self.capped = true;
            return;
        }
        self.hits.push(record);
    }

    /// Searches our own index for one step. Tells what that cost.
    pub(super) fn search(&mut self, cx: &mut Cx<'_>) -> usize {
        let Some(mut scan) = self.scan.take() else { return 0 };
        let mut found = Vec::new();
        let before = scan.spent();
        let step = scan.step(cx.index, SCAN_WORK_PER_STEP, &mut found);
        let (looked, spent) = (scan.looked(), scan.spent() - before);
        self.take_step(scan, step, found, cx);
        if looked >= SCAN_ENTRIES_MAX && self.scan.take().is_some() {
            self.cut.add(Cut { cap: 1, ..Cut::NONE });
        }
        spent
    }

    /// Takes what one step of its scan has found.
    pub(super) fn take_step(&mut self, scan: Box<Scan>, step: Step, found: Vec<SourceRecord>, cx: &mut Cx<'_>) {
        match step {
            Step::More => self.scan = Some(scan),
            Step::End { capped } => self.cut.add(Cut { cap: u32::from(capped), ..Cut::NONE }),
        }
        for record in found {
            self.take_hit(record, cx);
        }
    }

    /// Sends what the parent has not got yet, for one turn's worth. Tells whether some is left.
    pub(super) fn flush(&mut self, id: QueryId, cx: &mut Cx<'_>) -> bool {
        match &mut self.parent {
            Parent::Session(origin) => {
                let hits = std::mem::take(&mut self.hits);
                origin.told += hits.len();
                cx.counters.add_many(Count::HitsTold, hits.len() as u64);
                tell_hits(origin.conn, origin.req, hits, cx);
                false
            }
            Parent::Link(link) => {
                let (link, end) = (*link, self.hits.len().min(self.sent + HITS_PER_TURN));
                for n in self.sent..end {
                    self.send_hit(id, link, n, cx);
                }
                self.sent = end;
                end < self.hits.len()
            }
        }
    }

    /// Ends the instance: whatever is not over by now is not waited for, and the caller has counted its cut.
    pub(super) fn end(&mut self, id: QueryId, cx: &mut Cx<'_>) {
        debug_assert!(!self.is_over());
        self.scan = None;
        self.asks = Vec::new();
        if matches!(self.parent, Parent::Session(_)) {
            self.flush(id, cx);
        }
        let hits = u32::try_from(self.taken()).unwrap_or(u32::MAX);
        let Instance { ttl, reached, pruned, cut, more, uncut, .. } = *self;
        self.end_with(LinkDone { id, ttl, hits, reached, pruned, cut, dup: false, more, uncut }, cx);
    }

    /// Ends the instance with this DONE.
    pub(super) fn end_with(&mut self, ended: LinkDone, cx: &mut Cx<'_>) {
        self.sent = self.hits.len();
        self.phase = Phase::Ended(ended);
        match &self.parent {
            Parent::Link(link) => cx.send(*link, LinkMessage::Done(ended)),
            Parent::Session(origin) => {
                let ms = u32::try_from(cx.now.since(self.begun).as_millis()).unwrap_or(u32::MAX);
                tell_done(origin.conn, origin.req, (ended.hits, ended.reached, ended.pruned), self.cut_net(), ms, cx);
            }
        }
    }

    /// Keeps nothing of the answer: who asks for it again learns that it is not whole.
    pub(super) fn drop_answer(&mut self, id: QueryId) {
        let cut = Cut { loss: 1, ..Cut::NONE };
        let done =
            LinkDone { id, ttl: self.ttl, hits: 0, reached: 0, pruned: 0, cut, dup: false, more: false, uncut: 0 };
        self.scan = None;
        self.hits = Vec::new();
        self.sent = 0;
        self.phase = Phase::Ended(done);
    }

    /// Answers a repetition: the HITs that the asker lacks, up to a turn's worth, then DONE or PENDING.
    pub(super) fn answer_again(&self, id: QueryId, link: LinkId, have: Option<&[(u32, u32)]>, cx: &mut Cx<'_>) {
        // A first copy that the network doubled brings no `have`; as long as we work on it nothing is known to be lost.
        if self.is_over() || have.is_some() {
            let mut held = vec![false; self.sent];
            for (first, end) in have.unwrap_or_default() {
                let end = (*end as usize).min(self.sent);
                held.get_mut(*first as usize..end).into_iter().flatten().for_each(|held| *held = true);
            }
            let missing = held.iter().enumerate().filter(|(_, held)| !**held).map(|(n, _)| n);
            for n in missing.take(HITS_PER_TURN) {
                self.send_hit(id, link, n, cx);
            }
        }
        let answer = match &self.phase {
            Phase::Ended(done) => LinkMessage::Done(*done),
            Phase::Waiting | Phase::Running => LinkMessage::Pending(LinkRef { id, ttl: self.ttl }),
        };
        cx.send(link, answer);
    }

    /// The cuts without those that an extension has made good. Every ttl cut is told in one DONE and taken back in one;
    /// where the first was lost another cut stands for it. A sum that may have been cut short is not reckoned with.
    pub(super) fn cut_net(&self) -> Cut {
        let ttl = if self.cut.ttl == u32::MAX { u32::MAX } else { self.cut.ttl.saturating_sub(self.uncut) };
        Cut { ttl, ..self.cut }
    }

    fn taken(&self) -> usize {
        match &self.parent {
            Parent::Session(origin) => origin.told + self.hits.len(),
            Parent::Link(_) => self.hits.len(),
        }
    }

    fn send_hit(&self, id: QueryId, link: LinkId, n: usize, cx: &mut Cx<'_>) {
        let SourceRecord { path, size, root, addr } = self.hits[n].clone();
        let file = crate::wire::FileRecord { path, size, root };
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        cx.send(link, LinkMessage::Hit(LinkHit { id, ttl: self.ttl, n, file, addr }));
    }
}

/// Tells a session that its query is over: how many hits it was told, how many super peers searched, and what was cut.
pub(super) fn tell_done(
    conn: ConnId,
    req: u32,
    (hits, reached, pruned): (u32, u32, u32),
    cut: Cut,
    ms: u32,
    cx: &mut Cx<'_>,
) {
    let complete = cut.is_none();
    cx.counters.add(if complete { Count::QueriesComplete } else { Count::QueriesCut });
    let done = Done { req, hits, reached, pruned, complete, cut, ms };
    cx.out.push_back(Output::Send { conn, message: Message::Done(done) });
}

/// Tells a session its hits in frames of at most a page.
pub(super) fn tell_hits(conn: ConnId, req: u32, hits: Vec<SourceRecord>, cx: &mut Cx<'_>) {
    /// Keys, lengths, size and root of one record in MessagePack, rounded up.
    const RECORD_BYTES: usize = 80;
    let weight = |hit: &SourceRecord| hit.path.as_str().len() + hit.addr.host().len() + RECORD_BYTES;
    if hits.iter().map(weight).sum::<usize>() <= PAGE_BYTES {
        if !hits.is_empty() {
            cx.out.push_back(Output::Send { conn, message: Message::Hit(Hit { req, hits }) });
        }
        return;
    }
    let mut page = Vec::new();
    let mut bytes = 0;
    for hit in hits {
        let more = weight(&hit);
        if bytes + more > PAGE_BYTES {
            let hits = std::mem::take(&mut page);
            cx.out.push_back(Output::Send { conn, message: Message::Hit(Hit { req, hits }) });
            bytes = 0;
        }
        bytes += more;
        page.push(hit);
    }
    if !page.is_empty() {
        cx.out.push_back(Output::Send { conn, message: Message::Hit(Hit { req, hits: page }) });
    }
}
