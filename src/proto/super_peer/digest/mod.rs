//! Digests: what a neighbour's own index surely does not have, so that the last hop need not ask it (PROTOCOL.md "Digests").
//!
//! It owns the digest of our index, what each neighbour was told of it, the neighbours' digests, and the ACKs that wait. It
//! never decides what happens to a query, and it never keeps one from a neighbour of which it is not sure.
//!
//! **No hit is lost.** A file counts as registered once its REGISTER or UPDATE is acknowledged, and a neighbour that may
//! believe a digest without it is told not to before that: the ACK waits for the neighbour's answer, or until the neighbour
//! has ceased to believe by itself. For that it believes a digest only for some seconds from the moment at which it *asked*
//! whether it may (HELLO), and nobody answers yes while a mark is under way. So neither loss nor a link that is down in one
//! direction can leave a stale digest in force; what is asked of the two clocks is that they run alike to within 10 %.
//!
//! - getters: `surely_not`, `is_waiting`;
//! - `handle_*`: `on_hello`, `on_step`, `on_ack`, `on_link_up`, `on_link_down`, `on_timeout`;
//! - mutators: `note_changes`, `hold`, `lease`;
//! - `poll_*`: `has_work`, `run`, `take_released`; outputs are pushed by the handlers.

mod copy;
mod filter;
mod keys;
mod own;
mod telling;

use std::collections::VecDeque;

use self::copy::Known;
use self::filter::Filter;
pub(super) use self::keys::Probe;
use self::own::Own;
use self::telling::Telling;
use super::counters::{Count, Counters};
use super::index::Index;
use super::link::{LinkId, Links};
use crate::config::{
    ACKS_HELD_MAX, DIGEST_BYTES_ALL, DIGEST_COALESCE, DIGEST_COALESCE_MAX, DIGEST_LEASE_WAIT, DIGEST_LOG2_MAX,
    DIGEST_LOG2_MIN, DIGEST_QUIET,
};
use crate::proto::super_peer::Reason;
use crate::proto::timers::Timers;
use crate::proto::{ConnId, Output};
use crate::time::Time;
use crate::wire::link::{LinkDigest, LinkDigested};
use crate::wire::message::Ack;
use crate::wire::{LinkMessage, Message, Root, Search};

/// What digests borrow from the super peer for one call.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) index: &'a mut Index,
    pub(super) links: &'a Links,
    pub(super) timers: &'a mut Timers<Reason>,
    pub(super) counters: &'a mut Counters,
    pub(super) out: &'a mut VecDeque<Output>,
}

/// Too many ACKs wait.
#[derive(Debug)]
pub(super) struct Full;

/// Changes that the digest has not got yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Time,
    last: Time,
    /// How many fresh entries there were then.
    seen: usize,
}

impl Pending {
    /// When they are worked on.
    fn due(&self) -> Time {
        (self.first + DIGEST_COALESCE).max(self.last + DIGEST_QUIET).min(self.first + DIGEST_COALESCE_MAX)
    }
}

/// All digests of a super peer.
#[derive(Debug)]
pub(super) struct Digests {
    /// Largest digest taken of one neighbour; none if digests are switched off.
    log2_max: Option<u8>,
    /// The last epoch; drawn at the start, so that no two lives share one.
    epoch: u64,
    own: Own,
    tellings: Vec<Telling>,
    known: Vec<Known>,
    pending: Option<Pending>,
    /// Whether they are being worked on.
    draining: bool,
    /// Marks so far; and ACKs that wait for all up to theirs.
    marks: u64,
    held: VecDeque<(u64, ConnId, Ack)>,
    /// When this life began; and the neighbours that have not greeted it: they may believe what a former one has told.
    born: Option<Time>,
    strangers: Vec<bool>,
}

impl Digests {
    /// No digest of anybody. `start` should be drawn at random.
    pub(super) fn new(on: bool, links: usize, start: u64) -> Digests {
        let share = (DIGEST_BYTES_ALL / links.max(1) * 8).ilog2();
        let log2_max = u8::try_from(share).unwrap_or(DIGEST_LOG2_MAX).min(DIGEST_LOG2_MAX);
        Digests {
            log2_max: on.then_some(log2_max),
            epoch: start,
            own: Own::default(),
            tellings: (0..links).map(|_| Telling::new()).collect(),
            known: (0..links).map(|_| Known::default()).collect(),
            pending: None,
            draining: false,
            marks: 0,
            held: VecDeque::new(),
            born: None,
            strangers: vec![true; links],
        }
    }

    /// To be called with whatever happens first: from then on it is counted how long a former life may be believed.
    pub(super) fn note_life(&mut self, cx: &mut Cx<'_>) {
        if self.born.is_none() {
            self.born = Some(cx.now);
            self.arm_all(cx);
        }
    }

    /// What our HELLOs say of the digests that we take.
    pub(super) fn takes(&self) -> Option<u8> {
        self.log2_max
    }

    /// How many links the neighbour has beside this one, if it surely has nothing that fits. Whoever is not asked because of
    /// this would have cut the query there, if that was its last hop.
    pub(super) fn surely_not(&self, now: Time, link: LinkId, probe: &Probe) -> Option<u16> {
        self.known[usize::from(link.0)].surely_not(now, probe)
    }

    /// Whether ACKs wait for neighbours: what they acknowledge is in the index and may not be found yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// The epoch that an answer to this neighbour's HELLO allows it to believe for a while.
    pub(super) fn lease(&mut self, now: Time, link: LinkId) -> Option<u64> {
        self.tellings[usize::from(link.0)].lease(now)
    }

    /// The neighbour has answered our HELLO of that time, and names the epoch that may be believed.
    pub(super) fn on_lease(&mut self, now: Time, link: LinkId, epoch: u64, asked: Time) {
        if asked <= now {
            self.known[usize::from(link.0)].on_lease(epoch, asked);
        }
    }

    /// The link is up, for the first time or with a new life of the neighbour, which takes digests of this size or none.
    pub(super) fn on_link_up(&mut self, link: LinkId, takes: Option<u8>, cx: &mut Cx<'_>) {
        self.known[usize::from(link.0)].forget();
        self.tellings[usize::from(link.0)].end();
        self.strangers[usize::from(link.0)] = false;
        if let Some(takes) = takes.filter(|_| self.log2_max.is_some()) {
            self.begin(link, takes, cx);
            if !cx.index.is_watched() {
                cx.index.watch(true);
                self.own.make(cx.now, cx.index, DIGEST_LOG2_MIN);
                self.pending = None;
            }
        }
        self.tend(cx);
    }

    /// The neighbour may have begun another life: its digest is forgotten.
    pub(super) fn doubt(&mut self, link: LinkId) {
        self.known[usize::from(link.0)].forget();
    }

    /// The link is down: it is told nothing, and nothing of it is believed.
    pub(super) fn on_link_down(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        self.known[usize::from(link.0)].forget();
        self.tellings[usize::from(link.0)].end();
        self.tend(cx);
    }

    /// A step of the neighbour's digest came. Tells whether it is to be greeted, because its digest is whole and nothing says
    /// yet that it may be believed.
    pub(super) fn on_step(&mut self, link: LinkId, step: LinkDigest, cx: &mut Cx<'_>) -> bool {
        let Some(log2_max) = self.log2_max else { return false };
        let known = &mut self.known[usize::from(link.0)];
        let took = known.on_step(step, log2_max);
        cx.links.send(link, LinkMessage::Digested(took), cx.out, cx.counters);
        known.wants_lease(cx.now)
    }

    /// The neighbour has taken steps of ours.
    pub(super) fn on_ack(&mut self, link: LinkId, ack: LinkDigested, cx: &mut Cx<'_>) {
        let rto = cx.links.repeat_after(link);
        if self.tellings[usize::from(link.0)].on_ack(cx.now, ack.epoch, ack.step, rto) {
            self.pump(link, cx);
            self.arm(link, cx);
        }
    }

    /// Looks whether files have come to the index, and has every neighbour that may believe a digest without them told not
    /// to. To be called before anything that happened is acknowledged.
    pub(super) fn note_changes(&mut self, cx: &mut Cx<'_>) {
        let seen = cx.index.fresh();
        if seen == 0 && !cx.index.lost_fresh() {
            return;
        }
        match &mut self.pending {
            Some(pending) => {
                if pending.seen != seen {
                    (pending.last, pending.seen) = (cx.now, seen);
                }
                // None has been made sure meanwhile.
                return;
            }
            None => self.pending = Some(Pending { first: cx.now, last: cx.now, seen }),
        }
        let mark = self.marks + 1;
        for link in 0..self.tellings.len() {
            if self.tellings[link].mark(mark) {
                self.marks = mark;
                cx.counters.add(Count::DigestMarks);
                self.pump(LinkId(u16::try_from(link).expect("links are few")), cx);
            }
        }
        self.arm_all(cx);
    }

    /// An ACK is due. It comes back if it is to be sent now; `Err` if too many wait.
    pub(super) fn hold(&mut self, now: Time, conn: ConnId, ack: Ack) -> Result<Option<Ack>, Full> {
        if self.held.is_empty() && self.oldest_awaited(now).is_none() {
            return Ok(Some(ack));
        }
        if self.held.len() >= ACKS_HELD_MAX {
            return Err(Full);
        }
        self.held.push_back((self.marks, conn, ack));
        Ok(None)
    }

    /// ACKs that wait no longer.
    pub(super) fn take_released(&mut self, now: Time) -> Option<(ConnId, Ack)> {
        let (waits_for, ..) = self.held.front()?;
        if self.oldest_awaited(now).is_some_and(|mark| mark <= *waits_for) {
            return None;
        }
        self.held.pop_front().map(|(_, conn, ack)| (conn, ack))
    }

    /// Some deadline has come.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        self.tend(cx);
    }

    /// Whether keys are to be hashed.
    pub(super) fn has_work(&self) -> bool {
        self.own.is_making() || self.draining
    }

    /// Hashes for one turn.
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) {
        if !self.has_work() {
            return;
        }
        let generation = self.own.generation();
        let done = self.own.work(cx.now, cx.index);
        if done || self.own.generation() != generation {
            if done {
                self.draining = false;
                self.pending = None;
            } else {
                self.draining = true;
            }
            self.tend(cx);
        }
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, index: &Index) {
        self.tellings.iter().for_each(Telling::check_invariants);
        assert!(self.held.len() <= ACKS_HELD_MAX);
        assert!(self.held.iter().is_sorted_by_key(|(mark, ..)| *mark));
        assert!(index.is_watched() || !self.has_work());
        assert!(self.pending.is_some() || !self.draining);
        if self.pending.is_none() && index.is_watched() {
            assert!(index.fresh() == 0 && !index.lost_fresh(), "whatever came to the index is noted");
        }
    }

    fn begin(&mut self, link: LinkId, takes: u8, cx: &Cx<'_>) {
        self.epoch = self.epoch.wrapping_add(1);
        let others = cx.links.ids().filter(|other| *other != link).count();
        let others = u16::try_from(others).unwrap_or(u16::MAX);
        self.tellings[usize::from(link.0)].begin(cx.now, self.epoch, takes.min(DIGEST_LOG2_MAX), others);
    }

    /// Does for every link what is due, and begins with changes whose time has come.
    fn tend(&mut self, cx: &mut Cx<'_>) {
        if cx.index.is_watched() && self.own.is_worn(cx.now, cx.index) {
            self.own.make(cx.now, cx.index, DIGEST_LOG2_MIN);
        }
        if self.pending.is_some_and(|pending| cx.now >= pending.due()) {
            self.draining = true;
        }
        let oldest = self.tellings.iter().filter_map(|telling| telling.needs(&self.own)).min();
        self.own.trim(oldest.unwrap_or(self.own.log_end()));
        for link in 0..self.tellings.len() {
            let id = LinkId(u16::try_from(link).expect("links are few"));
            if self.tellings[link].is_lost(cx.now) {
                let takes = self.tellings[link].log2_max();
                self.begin(id, takes, cx);
            }
            self.tellings[link].repeat(cx.now, cx.links.repeat_after(id));
            self.pump(id, cx);
        }
        self.rest_if_idle(cx);
        self.arm_all(cx);
    }

    /// With nobody to tell, and nobody who believes what it was told, the index is not watched any more.
    fn rest_if_idle(&mut self, cx: &mut Cx<'_>) {
        let busy = |telling: &Telling| telling.is_live() || telling.lease_end().is_some_and(|end| cx.now < end);
        if cx.index.is_watched() && !self.tellings.iter().any(busy) {
            cx.index.watch(false);
            self.own.drop_all();
            self.pending = None;
            self.draining = false;
        }
    }

    fn pump(&mut self, link: LinkId, cx: &mut Cx<'_>) {
        let whole = self.is_whole();
        let rto = cx.links.repeat_after(link);
        let telling = &mut self.tellings[usize::from(link.0)];
        while let Some(step) = telling.poll(cx.now, &self.own, whole, rto) {
            cx.counters.add(Count::DigestSteps);
            cx.links.send(link, LinkMessage::Digest(step), cx.out, cx.counters);
        }
    }

    /// Whether our digest has everything that is registered.
    fn is_whole(&self) -> bool {
        self.pending.is_none() && self.own.filter().is_some()
    }

    fn oldest_awaited(&self, now: Time) -> Option<u64> {
        let awaited = self.tellings.iter().filter_map(Telling::awaited);
        let former = self.former_end().map(|end| (0, end));
        awaited.chain(former).filter(|(_, end)| now < *end).map(|(mark, _)| mark).min()
    }

    /// When nobody believes a former life any more, if there is still somebody who may.
    fn former_end(&self) -> Option<Time> {
        self.born.filter(|_| self.strangers.contains(&true)).map(|born| born + DIGEST_LEASE_WAIT)
    }

    fn arm(&self, link: LinkId, cx: &mut Cx<'_>) {
        if let Some(at) = self.tellings[usize::from(link.0)].wants(&self.own, self.is_whole()) {
            cx.timers.set_earlier(Reason::Digest, after(cx.now, at));
        }
    }

    fn arm_all(&self, cx: &mut Cx<'_>) {
        let whole = self.is_whole();
        let told = self.tellings.iter().filter_map(|telling| telling.wants(&self.own, whole));
        let ends = self.tellings.iter().filter_map(Telling::lease_end).filter(|end| *end > cx.now);
        let due = self.pending.filter(|_| !self.draining).map(|pending| pending.due());
        let former = self.former_end().filter(|end| *end > cx.now);
        match told.chain(ends).chain(due).chain(former).min() {
            Some(at) => cx.timers.set(Reason::Digest, after(cx.now, at)),
            None => cx.timers.stop(Reason::Digest),
        }
    }
}

/// The digest of 2^`log2` bits of one file, as PROTOCOL.md shows it.
///
/// # Panics
/// If `log2` is below 3 or above [`DIGEST_LOG2_MAX`].
#[must_use]
pub fn bits_of_file(name: &str, root: &Root, log2: u8) -> Vec<u8> {
    let mut filter = Filter::new(log2);
    keys::of_file(name, root, &mut String::new(), |key| {
        filter.add(key);
    });
    filter.bytes().to_vec()
}

/// A digest by itself, for those who measure it: the same bits and the same test as between neighbours.
#[derive(Debug)]
pub struct Sample(Filter);

impl Sample {
    /// No file yet, in 2^`log2` bits.
    ///
    /// # Panics
    /// As [`bits_of_file`].
    #[must_use]
    pub fn new(log2: u8) -> Sample {
        Sample(Filter::new(log2))
    }

    /// Adds the keys of one file.
    pub fn add(&mut self, name: &str, root: &Root) {
        keys::of_file(name, root, &mut String::new(), |key| {
            self.0.add(key);
        });
    }

    /// Whether something that fits may be there.
    #[must_use]
    pub fn may_have(&self, search: &Search) -> bool {
        Probe::new(search).keys().iter().all(|key| self.0.has(*key))
    }
}

/// The deadline, or the next moment: what fires is set again only for later.
fn after(now: Time, at: Time) -> Time {
    at.max(now + std::time::Duration::from_micros(1))
}

/// The output of an ACK that waits no longer.
pub(super) fn acknowledgement(conn: ConnId, ack: Ack) -> Output {
    Output::Send { conn, message: Message::Ack(ack) }
}

#[cfg(test)]
mod tests;
