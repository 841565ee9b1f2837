//! Digests. A digest shows which searches have no match in a neighbor's own index, so that these
//! searches are not sent to this neighbor on their last hop (PROTOCOL.md "Digests").
//!
//! This module owns the digest of our index, what each neighbor has of that digest, the neighbors'
//! digests, and the ACKs that wait. It does not decide what happens to a query. It excludes a
//! neighbor only if it may use the neighbor's digest.
//!
//! # Why no hit is lost
//!
//! A file counts as registered once its REGISTER or UPDATE is acknowledged. Before that, every
//! neighbor that may trust a digest without the file receives a mark, and the ACK waits until the
//! neighbor has acknowledged the mark, or until its lease has ended. A lease runs for some seconds
//! from the moment at which the neighbor *asked* for it by a HELLO, and none is granted while a
//! mark is not acknowledged. So neither loss nor a link that is down in one direction leaves a
//! stale digest in force. The clocks of both ends must run alike to within 10 %.
//!
//! - getters: `surely_not`, `is_waiting`, `takes`;
//! - `handle_*`: `on_step`, `on_ack`, `on_lease`, `on_link_up`, `on_link_down`, `on_timeout`;
//! - mutators: `begin_run`, `note_changes`, `hold`, `lease`, `forget`;
//! - `poll_*`: `has_work`, `run`, `release`; the handlers push outputs.

mod filter;
mod keys;
mod local;
mod remote;
mod sample;
mod sender;

use std::collections::{BTreeMap, VecDeque};

pub(super) use self::keys::Probe;
use self::local::Local;
use self::remote::Remote;
pub use self::sample::Sample;
use self::sender::Sender;
use super::context::{Context, Reason};
use super::counters::Count;
use super::ids::LinkId;
use super::index::Index;
use super::link::Links;
use super::work::OUTPUT_WORK;
use crate::config::{
    ACKS_HELD_MAX, DIGEST_BYTES_ALL, DIGEST_COALESCE, DIGEST_COALESCE_MAX, DIGEST_LEASE_WAIT, DIGEST_LOG2_MAX,
    DIGEST_LOG2_MIN, DIGEST_QUIET,
};
use crate::proto::ConnId;
use crate::time::Time;
use crate::wire::link::{LinkDigest, LinkDigested};
use crate::wire::message::Ack;
use crate::wire::{LinkMessage, Message};

/// Changes of the index that are not in our digest yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Time,
    last: Time,
    /// How many fresh entries there were at the last change.
    seen: usize,
}

impl Pending {
    /// When the changes are added: [`DIGEST_COALESCE`] after the first change and [`DIGEST_QUIET`]
    /// after the last one, but at most [`DIGEST_COALESCE_MAX`] after the first one.
    fn due(&self) -> Time {
        (self.first + DIGEST_COALESCE).max(self.last + DIGEST_QUIET).min(self.first + DIGEST_COALESCE_MAX)
    }
}

/// All digests of a super peer.
#[derive(Debug)]
pub(super) struct Digests {
    /// Largest digest taken from one neighbor; `None` if digests are switched off.
    log2_max: Option<u8>,
    /// The last epoch. The first one is drawn at the start, so that no two runs share an epoch.
    epoch: u64,
    local: Local,
    /// By link: what the neighbor has of our digest.
    senders: Vec<Sender>,
    /// By link: the neighbor's digest.
    remotes: Vec<Remote>,
    pending: Option<Pending>,
    /// Whether the pending changes are being added.
    draining: bool,
    /// Number of the last mark.
    marks: u64,
    /// The ACKs that wait, each with the number of the last mark for which it waits.
    held: VecDeque<(u64, ConnId, Ack)>,
    /// When this run began, and the links that have not come up in this run yet: the neighbors on
    /// them may trust a digest of an earlier run.
    born: Option<Time>,
    strangers: Vec<bool>,
}

impl Digests {
    /// No digest exists yet. `start` must be drawn at random.
    pub(super) fn new(on: bool, links: usize, start: u64) -> Digests {
        let share = (DIGEST_BYTES_ALL / links.max(1) * 8).ilog2();
        let log2_max = u8::try_from(share).unwrap_or(DIGEST_LOG2_MAX).min(DIGEST_LOG2_MAX);
        Digests {
            log2_max: on.then_some(log2_max),
            epoch: start,
            local: Local::default(),
            senders: (0..links).map(|_| Sender::default()).collect(),
            remotes: (0..links).map(|_| Remote::default()).collect(),
            pending: None,
            draining: false,
            marks: 0,
            held: VecDeque::new(),
            born: None,
            strangers: vec![true; links],
        }
    }

    /// Whether the memory for digests has room for the digest of one more neighbor.
    pub(super) fn has_room(&self, links: &Links) -> bool {
        let most = self.log2_max.map_or(usize::MAX, |log2| DIGEST_BYTES_ALL >> (log2 - 3));
        links.ids().count() < most
    }

    /// There is one more link. Our digests contain the number of links, so each neighbor gets a new
    /// digest.
    pub(super) fn grow(&mut self, links: &Links, cx: &mut Context) {
        self.senders.resize_with(links.len(), Sender::default);
        self.remotes.resize_with(links.len(), Remote::default);
        self.strangers.resize(links.len(), true);
        for link in (0..self.senders.len()).map(LinkId::at) {
            let sender = &self.senders[link.index()];
            if sender.is_live() {
                let takes = sender.log2_max();
                self.begin(link, takes, links, cx.now);
            }
        }
        self.tend(links, cx);
    }

    /// Must be called before anything else. It stores the time from which the leases of an earlier
    /// run are counted.
    pub(super) fn begin_run(&mut self, cx: &mut Context) {
        if self.born.is_none() {
            self.born = Some(cx.now);
            self.arm_all(cx);
        }
    }

    /// Size of the digests that we take, for our HELLOs: 2^n bits or less.
    pub(super) fn takes(&self) -> Option<u8> {
        self.log2_max
    }

    /// If the neighbor's digest excludes a match: the number of links that the neighbor has besides
    /// this one, at which a QUERY on its last hop would be cut. `None` if the neighbor may have a
    /// match.
    pub(super) fn surely_not(&self, now: Time, link: LinkId, probe: &Probe) -> Option<u16> {
        self.remotes[link.index()].surely_not(now, probe)
    }

    /// Whether ACKs wait for neighbors. The files of these ACKs are in the index, but searches may
    /// not find them yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Our answer to the neighbor's HELLO grants it a lease. Returns the epoch that the neighbor
    /// may trust.
    pub(super) fn lease(&mut self, link: LinkId, now: Time) -> Option<u64> {
        self.senders[link.index()].lease(now)
    }

    /// The neighbor has answered the HELLO that we sent at `asked`, and grants a lease for this
    /// epoch.
    pub(super) fn on_lease(&mut self, link: LinkId, epoch: u64, asked: Time, now: Time) {
        if asked <= now {
            self.remotes[link.index()].on_lease(epoch, asked);
        }
    }

    /// The link has come up, or the neighbor on it has restarted. The neighbor takes digests of
    /// this size, or none.
    pub(super) fn on_link_up(&mut self, link: LinkId, takes: Option<u8>, links: &Links, cx: &mut Context) {
        self.remotes[link.index()].forget();
        self.senders[link.index()].end();
        self.strangers[link.index()] = false;
        if let Some(takes) = takes.filter(|_| self.log2_max.is_some()) {
            self.begin(link, takes, links, cx.now);
            if !cx.index.is_watched() {
                cx.index.watch(true);
                self.local.rebuild(cx.now, &mut cx.index, DIGEST_LOG2_MIN);
                self.pending = None;
            }
        }
        self.tend(links, cx);
    }

    /// Drops the neighbor's digest: the neighbor may have restarted.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.remotes[link.index()].forget();
    }

    /// The link is down: nothing is sent on it, and the neighbor's digest is dropped.
    pub(super) fn on_link_down(&mut self, link: LinkId, links: &Links, cx: &mut Context) {
        self.remotes[link.index()].forget();
        self.senders[link.index()].end();
        self.tend(links, cx);
    }

    /// A step of the neighbor's digest came. Returns whether to send HELLO because the digest is
    /// complete and only the lease is missing.
    pub(super) fn on_step(&mut self, link: LinkId, step: LinkDigest, links: &Links, cx: &mut Context) -> bool {
        let Some(log2_max) = self.log2_max else { return false };
        let remote = &mut self.remotes[link.index()];
        let taken = remote.on_step(cx.now, step, log2_max);
        links.send(link, LinkMessage::Digested(taken), cx);
        remote.lacks_lease(cx.now)
    }

    /// The neighbor has acknowledged steps of our digest.
    pub(super) fn on_ack(&mut self, link: LinkId, ack: LinkDigested, links: &Links, cx: &mut Context) {
        let rto = links.repeat_after(link);
        if self.senders[link.index()].on_ack(cx.now, ack.epoch, ack.step, rto) {
            self.pump(link, links, cx);
            self.arm(link, cx);
        }
    }

    /// If files came to the index: sends a mark to every neighbor that may trust a digest without
    /// them. Must be called before an ACK is sent.
    #[inline(always)]
    pub(super) fn note_changes(&mut self, links: &Links, cx: &mut Context) {
        let seen = cx.index.fresh();
        if seen > 0 || cx.index.lost_fresh() {
            self.mark_changes(seen, links, cx);
        }
    }

    fn mark_changes(&mut self, seen: usize, links: &Links, cx: &mut Context) {
        match &mut self.pending {
            Some(pending) => {
                if pending.seen != seen {
                    (pending.last, pending.seen) = (cx.now, seen);
                }
                // Marks are out already, and no neighbor has been allowed to trust a digest since.
                return;
            }
            None => self.pending = Some(Pending { first: cx.now, last: cx.now, seen }),
        }
        let mark = self.marks + 1;
        for at in 0..self.senders.len() {
            if self.senders[at].mark(mark) {
                self.marks = mark;
                cx.count(Count::DigestMarks);
                self.pump(LinkId::at(at), links, cx);
            }
        }
        self.arm_all(cx);
    }

    /// An ACK for this session is due. If too many ACKs wait, drops those of the session that has
    /// the most, and returns that session, which must be closed.
    pub(super) fn make_room(&mut self, conn: ConnId) -> Option<ConnId> {
        if self.held.len() < ACKS_HELD_MAX {
            return None;
        }
        let mut waiting = BTreeMap::from([(conn, 1_usize)]);
        self.held.iter().for_each(|(_, of, _)| *waiting.entry(*of).or_default() += 1);
        let (most, _) = waiting.into_iter().max_by_key(|(_, count)| *count)?;
        self.held.retain(|(_, of, _)| *of != most);
        Some(most)
    }

    /// An ACK is due. Returns the ACK if it can be sent now.
    pub(super) fn hold(&mut self, now: Time, conn: ConnId, ack: Ack) -> Option<Ack> {
        if self.held.is_empty() && self.oldest_awaited(now).is_none() {
            return Some(ack);
        }
        self.held.push_back((self.marks, conn, ack));
        None
    }

    /// Sends ACKs that no longer need to wait, to sessions that are open, as many as fit in this
    /// turn. Returns whether some of these ACKs are left for the next turn.
    pub(super) fn release(&mut self, is_open: impl Fn(ConnId) -> bool, cx: &mut Context) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let awaited = self.oldest_awaited(cx.now).unwrap_or(u64::MAX);
        while self.held.front().is_some_and(|(waits_for, ..)| *waits_for < awaited) {
            if cx.work.is_spent() {
                return true;
            }
            cx.work.add(OUTPUT_WORK);
            let Some((_, conn, ack)) = self.held.pop_front() else { break };
            if is_open(conn) {
                cx.send(conn, Message::Ack(ack));
            }
        }
        false
    }

    /// Some deadline has come.
    pub(super) fn on_timeout(&mut self, links: &Links, cx: &mut Context) {
        self.tend(links, cx);
    }

    /// Whether keys are to be hashed.
    pub(super) fn has_work(&self) -> bool {
        self.local.is_rebuilding() || self.draining
    }

    /// Hashes keys for one turn.
    pub(super) fn run(&mut self, links: &Links, cx: &mut Context) {
        if !self.has_work() {
            return;
        }
        let generation = self.local.generation();
        let done = self.local.work(cx.now, &mut cx.index);
        if done || self.local.generation() != generation {
            if done {
                self.draining = false;
                self.pending = None;
            } else {
                self.draining = true;
            }
            self.tend(links, cx);
        }
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, index: &Index) {
        self.senders.iter().for_each(Sender::check_invariants);
        assert!(self.held.len() <= ACKS_HELD_MAX);
        assert!(self.held.iter().is_sorted_by_key(|(mark, ..)| *mark));
        assert!(index.is_watched() || !self.has_work());
        assert!(self.pending.is_some() || !self.draining);
        if self.pending.is_none() && index.is_watched() {
            assert!(index.fresh() == 0 && !index.lost_fresh(), "every change of the index is noted");
        }
    }

    fn begin(&mut self, link: LinkId, takes: u8, links: &Links, now: Time) {
        self.epoch = self.epoch.wrapping_add(1);
        let others = links.ids().filter(|other| *other != link).count();
        let others = u16::try_from(others).unwrap_or(u16::MAX);
        self.senders[link.index()].begin(now, self.epoch, takes.min(DIGEST_LOG2_MAX), others);
    }

    /// Does on every link what is due, and begins to add changes whose time has come.
    fn tend(&mut self, links: &Links, cx: &mut Context) {
        if cx.index.is_watched() && self.local.is_worn(cx.now, &cx.index) {
            self.local.rebuild(cx.now, &mut cx.index, DIGEST_LOG2_MIN);
        }
        if self.pending.is_some_and(|pending| cx.now >= pending.due()) {
            self.draining = true;
        }
        let oldest = self.senders.iter().filter_map(|sender| sender.needs(&self.local)).min();
        self.local.trim(oldest.unwrap_or(self.local.log_end()));
        for at in 0..self.senders.len() {
            let link = LinkId::at(at);
            if self.senders[at].is_lost(cx.now) {
                let takes = self.senders[at].log2_max();
                self.begin(link, takes, links, cx.now);
            }
            self.senders[at].repeat(cx.now, links.repeat_after(link));
            self.pump(link, links, cx);
        }
        self.rest_if_idle(cx);
        self.arm_all(cx);
    }

    /// Stops watching the index if no neighbor takes our digest or may trust it.
    fn rest_if_idle(&mut self, cx: &mut Context) {
        let busy = |sender: &Sender| sender.is_live() || sender.lease_end().is_some_and(|end| cx.now < end);
        if cx.index.is_watched() && !self.senders.iter().any(busy) {
            cx.index.watch(false);
            self.local.drop_all();
            self.pending = None;
            self.draining = false;
        }
    }

    fn pump(&mut self, link: LinkId, links: &Links, cx: &mut Context) {
        let complete = self.is_complete();
        let rto = links.repeat_after(link);
        let sender = &mut self.senders[link.index()];
        while let Some(step) = sender.poll(cx.now, &self.local, complete, rto) {
            cx.count(Count::DigestSteps);
            links.send(link, LinkMessage::Digest(step), cx);
        }
    }

    /// Whether our digest has everything that is registered.
    fn is_complete(&self) -> bool {
        self.pending.is_none() && self.local.filter().is_some()
    }

    fn oldest_awaited(&self, now: Time) -> Option<u64> {
        let awaited = self.senders.iter().filter_map(Sender::awaited);
        let earlier = self.earlier_run_end().map(|end| (0, end));
        awaited.chain(earlier).filter(|(_, end)| now < *end).map(|(mark, _)| mark).min()
    }

    /// When the last lease of an earlier run ends; `None` if every link has come up in this run.
    fn earlier_run_end(&self) -> Option<Time> {
        self.born.filter(|_| self.strangers.contains(&true)).map(|born| born + DIGEST_LEASE_WAIT)
    }

    fn arm(&self, link: LinkId, cx: &mut Context) {
        if let Some(at) = self.senders[link.index()].next(&self.local, self.is_complete()) {
            cx.timers.set_earlier(Reason::Digest, after(cx.now, at));
        }
    }

    fn arm_all(&self, cx: &mut Context) {
        let complete = self.is_complete();
        let steps = self.senders.iter().filter_map(|sender| sender.next(&self.local, complete));
        let leases = self.senders.iter().filter_map(Sender::lease_end).filter(|end| *end > cx.now);
        let due = self.pending.filter(|_| !self.draining).map(|pending| pending.due());
        let earlier = self.earlier_run_end().filter(|end| *end > cx.now);
        let next = steps.chain(leases).chain(due).chain(earlier).min();
        cx.arm(Reason::Digest, next.map(|at| after(cx.now, at)));
    }
}

/// The deadline, but at least one microsecond from now: a timer that has fired may only be set for
/// a later time.
fn after(now: Time, at: Time) -> Time {
    at.max(now + std::time::Duration::from_micros(1))
}

#[cfg(test)]
mod tests;
