//! The sources of a download: how they are remembered, dialed, lost, dropped, searched for, and
//! checked at each tick. `fetch` and `proving` send them requests.
//!
//! An address is only a claim of a stranger until a peer there has sent WELCOME. The addresses that
//! are dialed first are drawn at random. For each address and each host there are limits on how
//! often and how many at once are dialed.

use std::time::Duration;

use super::pool::Candidate;
use super::source::{Source, Wanted};
use super::transfer::{Phase, Transfer};
use crate::config::{
    ANSWER_DEADLINE, DIAL_HEDGE, DIAL_PATIENCE, DIALS_AT_ONCE, DIALS_PERIOD, LOGIN_DEADLINE, NO_SOURCE_MAX,
    PROGRESS_INTERVAL, REQUERY_INTERVAL, SILENT_MIN, SOURCE_FRUITLESS_MAX, SOURCE_RATE_MIN, SOURCES_KNOWN_MAX,
    SOURCES_MAX, SOURCES_SPENT_MAX, STALL_AFTER, TWIN_TRIED_FROM,
};
use crate::error::Exit;
use crate::proto::event::SourceState;
use crate::proto::marks::mark;
use crate::proto::weak_peer::contact::{Contact, Peer};
use crate::proto::weak_peer::context::{Context, Owner, Reason, SourceIndex};
use crate::proto::weak_peer::hosts::Hosts;
use crate::proto::{ConnId, DownloadId};
use crate::time::Time;
use crate::wire::{HostPort, Root};

/// Most peers that are remembered as holders of a collection.
const HOLDERS_MAX: usize = 16;
/// Sources that may be the same peer at once, as long as none of them has sent a right piece: a
/// peer has an address in either family.
const CONTACT_ADDRS_MAX: usize = 2;

/// A search for more sources of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) struct Ask {
    pub(in crate::proto::weak_peer) download: DownloadId,
    pub(in crate::proto::weak_peer) root: Root,
    /// Peers that have a part are looked for too, because no other source may send anything.
    pub(in crate::proto::weak_peer) partial: bool,
}

impl Transfer {
    // ---- dialing --------------------------------------------------------------------------------

    pub(super) fn dial_more(&mut self, cx: &mut Context) {
        if self.waits_for_members(cx.now) {
            return;
        }
        while self.has_room(cx.now) {
            let Some(index) = self.next_to_dial(cx) else { return };
            self.make_room(cx);
            self.dial(cx, index);
        }
    }

    /// Whether one more source may be dialed. A dial without a WELCOME after [`DIAL_HEDGE`] does
    /// not keep others waiting, but it still counts for the limit of dials.
    fn has_room(&self, now: Time) -> bool {
        // One source is enough for one piece, as long as it sends.
        let most = if self.order.is_small { 1 } else { SOURCES_MAX };
        self.sources.iter().filter(|source| source.is_used(now)).count() < most && self.may_dial_more()
    }

    fn may_dial_more(&self) -> bool {
        let dialing = |source: &&Source| source.state == SourceState::Connecting;
        self.sources.iter().filter(dialing).count() < DIALS_AT_ONCE
    }

    /// The source to dial next. First come lost sources that have sent right pieces. Then, in turn,
    /// an address that was not tried and a lost source that is a peer, so that many of one kind do
    /// not keep out the other. All others come last.
    fn next_to_dial(&mut self, cx: &mut Context) -> Option<SourceIndex> {
        let now = cx.now;
        if let Some(lost) = self.sources.iter().position(|source| source.pieces > 0 && source.is_due(now)) {
            return Some(lost);
        }
        let lost = self.next_lost(cx);
        if self.dialed_untried && lost.is_some_and(|lost| self.sources[lost].is_peer()) {
            self.dialed_untried = false;
            return lost;
        }
        let untried = self.next_untried(cx);
        self.dialed_untried = untried.is_some();
        untried.or(lost)
    }

    /// The lost source that may be dialed: one that is a peer, if there is one, and of these the
    /// one that has waited longest.
    fn next_lost(&self, cx: &Context) -> Option<SourceIndex> {
        let allowed = |source: &Source| source.welcomed || cx.hosts.may_dial(cx.now, &source.addr);
        let due = self.sources.iter().enumerate().filter(|(_, source)| source.is_due(cx.now) && allowed(source));
        let due = due.filter(|(index, _)| self.twin_of(*index, cx.now).is_none());
        due.min_by_key(|(_, source)| (!source.is_peer(), source.retry_at)).map(|(index, _)| index)
    }

    fn next_untried(&mut self, cx: &mut Context) -> Option<SourceIndex> {
        let now = cx.now;
        let place = self.free_place(now).filter(|_| !self.order.pool.is_empty())?;
        let candidate = match self.order.is_part {
            true => self.order.pool.take(cx, |cx, one| cx.idle.has(&one.at)),
            false => None,
        };
        let candidate = candidate.or_else(|| self.take_fresh(cx))?;
        Some(self.place(now, place, candidate))
    }

    /// A candidate whose host may be dialed, and that is not another address of a source in use.
    fn take_fresh(&mut self, cx: &mut Context) -> Option<Candidate> {
        let now = cx.now;
        let used = self.sources.iter().filter(|source| source.is_used(now) && self.keeps_twins_out(source, now));
        let peers: Vec<Peer> = used.filter_map(Source::peer).collect();
        let is_new = |one: &Candidate| one.at.peer().is_none_or(|peer| !peers.contains(&peer));
        self.order.pool.take(cx, |cx, one| cx.hosts.may_dial(now, &one.at.addr) && is_new(one))
    }

    /// Whether a candidate is another address of a connected source.
    fn is_connected(&self, one: &Candidate, now: Time) -> bool {
        one.at.peer().is_some_and(|peer| self.sources.iter().any(|source| self.is_twin(source, peer, now)))
    }

    /// The address at which the peer of this source is connected already.
    pub(super) fn twin_of(&self, index: SourceIndex, now: Time) -> Option<&HostPort> {
        let peer = self.sources[index].peer()?;
        let mut others = self.sources.iter().enumerate().filter(|(other, _)| *other != index);
        others.find(|(_, source)| self.is_twin(source, peer, now)).map(|(_, source)| &source.addr)
    }

    fn is_twin(&self, source: &Source, peer: Peer, now: Time) -> bool {
        source.state == SourceState::Active && source.peer() == Some(peer) && self.keeps_twins_out(source, now)
    }

    /// Whether other addresses of the same peer are not used while this source is. A source only
    /// claims which peer it is. A liar that names the node of another peer can keep that peer out
    /// for a moment. Many such liars cannot keep it out one after the other, and a slow one cannot
    /// if the download would take long.
    fn keeps_twins_out(&self, source: &Source, now: Time) -> bool {
        if source.pieces > 0 {
            return self.time_left(now) < TWIN_TRIED_FROM;
        }
        let same = self.sources.iter().filter(|other| other.peer() == source.peer());
        now.since(source.since) < STALL_AFTER && same.count() <= CONTACT_ADDRS_MAX
    }

    /// The place for a new source in the list: at the end; or that of a source that is not dialed
    /// any more, or else of the busy one that would be dialed again last.
    fn free_place(&self, now: Time) -> Option<SourceIndex> {
        if self.sources.len() < SOURCES_KNOWN_MAX {
            return Some(self.sources.len());
        }
        let busy = || self.sources.iter().enumerate().filter(|(_, source)| source.is_busy(now));
        let over = self.sources.iter().position(|source| source.is_over(now));
        over.or_else(|| busy().max_by_key(|(_, source)| source.retry_at).map(|(index, _)| index))
    }

    /// Whether an address waits that could be dialed sooner if this dial were given up.
    fn others_wait(&self, cx: &Context, index: SourceIndex) -> bool {
        let addr = &self.sources[index].addr;
        let has_room = self.may_dial_more() && (self.free_place(cx.now).is_some() || self.order.pool.is_empty());
        let full_host = cx.hosts.is_full(addr);
        let waits =
            |one: &HostPort| (!has_room && cx.hosts.may_dial(cx.now, one)) || (full_host && Hosts::is_same(one, addr));
        self.order.pool.iter().any(|one| waits(&one.at.addr))
            || (!has_room && self.next_lost(cx).is_some_and(|lost| self.sources[lost].is_peer()))
    }

    fn place(&mut self, now: Time, place: SourceIndex, candidate: Candidate) -> SourceIndex {
        let source = Source::new(candidate.at, candidate.size);
        if place == self.sources.len() {
            self.sources.push(source);
            return place;
        }
        let old = std::mem::replace(&mut self.sources[place], source);
        self.bytes_forgotten += old.bytes;
        self.lied_forgotten |= old.lied;
        let until = if old.state == SourceState::Dropped {
            Time::MAX
        } else if old.is_busy(now) {
            old.retry_at
        } else {
            now + DIALS_PERIOD
        };
        self.spend(old.addr, until);
        if let Some(other) = old.other {
            self.spend(other.addr, until);
        }
        place
    }

    /// Remembers that an address is not to be dialed before this time.
    fn spend(&mut self, addr: HostPort, until: Time) {
        if self.spent.len() >= SOURCES_SPENT_MAX {
            let oldest = self.spent.iter().min_by_key(|(_, until)| **until).map(|(addr, _)| addr.clone());
            oldest.and_then(|oldest| self.spent.remove(&oldest));
        }
        self.spent.insert(addr, until);
    }

    /// If there are too many connections for one more, ends that of a stalled source, or else that
    /// of an idle one.
    fn make_room(&mut self, cx: &mut Context) {
        let connected = |source: &&Source| matches!(source.state, SourceState::Active | SourceState::Stalled);
        if self.sources.iter().filter(connected).count() < SOURCES_MAX {
            return;
        }
        let stalled = self.sources.iter().enumerate().filter(|(_, source)| source.state == SourceState::Stalled);
        if let Some((slowest, _)) = stalled.min_by_key(|(_, source)| source.since) {
            self.put_aside(cx, slowest, "is too slow while others wait");
        } else if let Some(idle) = self.sources.iter().position(|source| source.is_idle(cx.now)) {
            self.rest(cx, idle, "has nothing of use while others wait");
        }
    }

    fn dial(&mut self, cx: &mut Context, index: SourceIndex) {
        let source = &mut self.sources[index];
        if let Some(conn) = self.order.is_part.then(|| source.take_idle(cx)).flatten() {
            cx.own(conn, Owner::Source(self.order.id, index));
            (source.conn, source.welcomed, source.progress_at) = (Some(conn), true, cx.now);
            self.reached = true;
            return self.set_state(cx, index, SourceState::Active, None);
        }
        if !source.welcomed {
            source.note_dial(cx.now);
            source.counted = true;
            cx.hosts.begin(cx.now, &source.addr);
        }
        source.dialed_at = cx.now;
        source.dial = Some(cx.dial(Owner::Source(self.order.id, index), &source.addr));
        self.set_state(cx, index, SourceState::Connecting, None);
    }

    pub(super) fn on_dialed(&mut self, cx: &mut Context, index: SourceIndex, conn: ConnId) {
        let source = &mut self.sources[index];
        source.dial = None;
        source.conn = Some(conn);
        source.since = cx.now;
        cx.hello(conn);
    }

    pub(super) fn on_dial_failed(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        let source = &mut self.sources[index];
        source.dial = None;
        // The address is left out, because it precedes the reason where this is shown.
        let why = match why.strip_prefix(&format!("cannot reach {}: ", source.addr)) {
            Some(why) => format!("cannot be reached: {why}"),
            None => why.to_owned(),
        };
        self.lose(cx, index, &why);
    }

    pub(super) fn on_closed(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.sources[index].conn = None;
        self.lose(cx, index, &format!("closed the connection ({why})"));
    }

    /// The sources that were not dropped, then candidates that were not dialed; [`HOLDERS_MAX`] in
    /// all.
    pub(super) fn contacts(&self) -> Vec<Contact> {
        let good = self.sources.iter().filter(|source| source.state != SourceState::Dropped);
        let undialed = self.order.pool.iter().map(|candidate| candidate.at.clone());
        good.map(Source::contact).chain(undialed).take(HOLDERS_MAX).collect()
    }

    // ---- losing ---------------------------------------------------------------------------------

    /// The source is lost for now: its pieces are free again, and it is dialed again later.
    pub(super) fn lose(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        mark!(SourceLost);
        self.put_aside(cx, index, why);
        self.pump(cx);
    }

    pub(super) fn put_aside(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        let source = &mut self.sources[index];
        if matches!(source.state, SourceState::Active | SourceState::Stalled) && !source.has_nothing() {
            source.fruitless += 1;
            if source.fruitless >= SOURCE_FRUITLESS_MAX {
                let why = format!("sent no right piece over {SOURCE_FRUITLESS_MAX} connections; last, it {why}");
                return self.put_away(cx, index, SourceState::Dropped, &why);
            }
        }
        let turns = source.state == SourceState::Connecting;
        self.rest(cx, index, why);
        let source = &mut self.sources[index];
        if turns && source.turn() {
            source.retry_at = cx.now;
        }
    }

    /// Ends its connection for now, without counting a fault.
    pub(super) fn rest(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.sources[index].back_off(cx.now);
        self.put_away(cx, index, SourceState::Lost, why);
    }

    /// Stops using the source for this download.
    pub(super) fn drop_source(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.put_away(cx, index, SourceState::Dropped, why);
        self.pump(cx);
    }

    /// Drops a source that does not have the content, or cannot read it. If it is named again it is
    /// tried again.
    pub(super) fn drop_gone(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        self.put_away(cx, index, SourceState::Dropped, why);
        self.sources[index].note_drop(cx.now, true);
        self.pump(cx);
    }

    /// Drops a source whose bytes or messages are wrong.
    pub(super) fn drop_liar(&mut self, cx: &mut Context, index: SourceIndex, why: &str) {
        let source = &mut self.sources[index];
        source.lied = true;
        cx.warn(format!("{} is dropped as a source of {:?}: it {why}", source.addr, self.order.name));
        self.drop_source(cx, index, why);
    }

    /// Ends its connection and frees the pieces that were requested from it. Requests nothing.
    pub(super) fn put_away(&mut self, cx: &mut Context, index: SourceIndex, state: SourceState, why: &str) {
        self.forget_proof(cx, index);
        self.unfollow(index);
        let source = &mut self.sources[index];
        source.note_drop(cx.now, false);
        source.uncount(cx, false);
        cx.give_up(source.dial.take(), source.conn.take());
        for request in std::mem::take(&mut source.requests).into_values() {
            if let (Wanted::Piece(piece), false) = (request.wanted, request.canceled) {
                self.picker.release(piece, index);
            }
        }
        self.short_of_sources |= state == SourceState::Dropped;
        self.set_state(cx, index, state, Some(why.to_owned()));
    }

    // ---- more sources ---------------------------------------------------------------------------

    /// A source that a hit names, with the size that the hit claims; or a member of the swarm.
    fn offer(&mut self, cx: &mut Context, at: Contact, size: Option<u64>) {
        if let Some(index) = self.sources.iter().position(|source| source.is_at(&at)) {
            let known = &mut self.sources[index];
            known.claim = known.claim.filter(|claim| size == Some(*claim));
            known.learn(at);
            if known.take_return() {
                mark!(SourceReturned);
                let why = known.why.clone();
                self.set_state(cx, index, SourceState::Lost, why);
            }
            return;
        }
        let spent = self.spent.get(&at.addr).is_some_and(|until| *until > cx.now);
        let refuted = self.is_proven && size.is_some_and(|size| size != self.size);
        if !spent && !refuted {
            self.order.pool.offer(cx, at, size);
        }
    }

    pub(super) fn add_sources(&mut self, cx: &mut Context, found: Vec<(Contact, Option<u64>)>) {
        if !self.order.only {
            found.into_iter().for_each(|(at, size)| self.offer(cx, at, size));
            self.pump(cx);
        }
    }

    /// Whether [`Transfer::should_search`] may do anything. It is cheap, because it is called after
    /// every input.
    pub(super) fn may_need_search(&self, now: Time) -> bool {
        let lost = || self.sources.iter().any(|source| source.state == SourceState::Lost);
        matches!(self.phase, Phase::Proving | Phase::Fetching)
            && (self.is_unserved(now) || !self.swarm.on && (self.short_of_sources || lost()))
    }

    /// Whether a connected source may send something.
    fn is_served(&self) -> bool {
        self.sources.iter().any(|source| source.state == SourceState::Active && source.is_of_use())
    }

    /// Whether no connected source may send something. Members of a swarm that have no piece to
    /// send soon have one again, so the download waits for them for a while. Without this wait,
    /// each member would search at the end of its download, and would find all members that are
    /// already complete.
    fn is_unserved(&self, now: Time) -> bool {
        let waits = || {
            let may_come = self.swarm.on && matches!(self.phase, Phase::Fetching) && !self.is_hopeless();
            may_come && !self.starves(SILENT_MIN, now)
        };
        !self.is_served() && !waits()
    }

    /// The search for more sources that is to be made now. Fails the download if no source is left
    /// and no search can help: before that, it makes one more.
    pub(super) fn should_search(&mut self, cx: &mut Context, session_up: bool) -> Option<Ask> {
        if self.searching || !matches!(self.phase, Phase::Proving | Phase::Fetching) {
            return None;
        }
        let waited = self.searched_at.is_none_or(|at| at + REQUERY_INTERVAL <= cx.now);
        let hopeless = self.is_hopeless();
        // Verified pieces need no source, even if they are not written yet.
        let missing = !self.is_complete();
        if hopeless && missing && !self.swarm.reserve.is_empty() {
            self.use_reserve(cx);
            return None;
        }
        let is_last = hopeless && !self.asked_last;
        let may_search = session_up && !self.order.only && (waited || is_last);
        if hopeless && missing && !may_search {
            // Without a session it waits for one, as long as for a source.
            if session_up || self.order.only || self.asked_last {
                self.fail_without_sources(cx);
            }
            return None;
        }
        let lost = self.sources.iter().any(|source| source.state == SourceState::Lost);
        if may_search && missing && (lost || self.short_of_sources || self.is_unserved(cx.now) || self.may_grow(cx.now))
        {
            mark!(SourcesAskedAgain);
            self.searching = true;
            self.short_of_sources = false;
            if hopeless {
                mark!(AskedLast);
                self.asked_last = true;
            }
            self.order.pool.recount();
            self.searched_at = Some(cx.now);
            let partial = self.may_swarm() && !self.may_have_source(cx.now);
            return Some(Ask { download: self.order.id, root: self.order.root, partial });
        }
        None
    }

    /// Whether no source is left, nor an address that may be one.
    fn is_hopeless(&self) -> bool {
        let dropped = |source: &Source| source.state == SourceState::Dropped;
        self.order.pool.is_empty() && self.sources.iter().all(dropped)
    }

    /// Whether one more source would shorten a download that goes well: no known address is left to
    /// be dialed, and the rest of the download takes long enough.
    fn may_grow(&self, now: Time) -> bool {
        let connected = |source: &&Source| matches!(source.state, SourceState::Active | SourceState::Connecting);
        self.order.pool.iter().all(|one| self.is_connected(one, now))
            && self.sources.iter().filter(connected).count() < SOURCES_MAX
            && self.time_left(now) >= REQUERY_INTERVAL
    }

    /// How long the rest of the download takes at the present rate.
    fn time_left(&self, now: Time) -> Duration {
        let rest = self.size.saturating_sub(self.bytes);
        rest.checked_div(self.rate(now)).map_or(Duration::MAX, Duration::from_secs)
    }

    fn fail_without_sources(&mut self, cx: &mut Context) {
        if self.sources.is_empty() && !self.lied_forgotten {
            return self.fail(cx, Exit::NotFound, "no source is left that has it; get it again later");
        }
        let all = self.faults("was dropped");
        if self.lied_forgotten || self.sources.iter().any(|source| source.lied) {
            self.fail(cx, Exit::Integrity, &format!("no source gave valid data: {all}"));
        } else if self.sources.iter().any(|source| source.fruitless >= SOURCE_FRUITLESS_MAX) {
            self.fail(cx, Exit::TimedOut, &format!("no source sends what it has: {all}"));
        } else {
            self.fail(cx, Exit::NotFound, &format!("no source is left that has it: {all}"));
        }
    }

    /// The first [`FAULTS_NAMED_MAX`] sources with what is wrong with each, for people.
    fn faults(&self, otherwise: &str) -> String {
        let fault = |source: &Source| format!("{} {}", source.addr, source.why.as_deref().unwrap_or(otherwise));
        let mut faults: Vec<_> = self.sources.iter().take(FAULTS_NAMED_MAX).map(fault).collect();
        if self.sources.len() > FAULTS_NAMED_MAX {
            faults.push(format!("and {} others", self.sources.len() - FAULTS_NAMED_MAX));
        }
        faults.join("; ")
    }

    // ---- the clock ------------------------------------------------------------------------------

    pub(super) fn on_tick(&mut self, cx: &mut Context) {
        self.note_rate(cx.now, cx.source_rate_min());
        for index in 0..self.sources.len() {
            self.sources[index].on_tick(cx.now, PROGRESS_INTERVAL);
            self.check_source(cx, index);
        }
        // While the disk writes, fewer pieces are requested.
        if !self.writing.is_empty() {
            (self.had_source_at, self.good_at) = (cx.now, cx.now);
        }
        if self.may_have_source(cx.now) {
            self.had_source_at = cx.now;
        }
        self.report_progress(cx);
        if cx.now.since(self.had_source_at) >= NO_SOURCE_MAX {
            return if self.is_hopeless() { self.fail_without_sources(cx) } else { self.fail_silent(cx) };
        }
        if self.has_timed_out(cx.now) {
            return self.fail_slow(cx);
        }
        self.pump(cx);
        if !matches!(self.phase, Phase::Over | Phase::Publishing) {
            cx.timers.set(Reason::Download(self.order.id), cx.now + PROGRESS_INTERVAL);
        }
    }

    /// Notes a source that sends nothing or too little, and ends its connection if it sends nothing
    /// for long.
    fn check_source(&mut self, cx: &mut Context, index: SourceIndex) {
        let rate_min = cx.source_rate_min();
        let source = &self.sources[index];
        let dialed = cx.now.since(source.dialed_at);
        let quiet = cx.now.since(source.progress_at);
        let owes = source.owes();
        let unheard = source.is_unheard();
        match source.state {
            SourceState::Connecting if source.conn.is_some() && cx.now.since(source.since) >= LOGIN_DEADLINE => {
                self.lose(cx, index, "does not welcome us");
            }
            SourceState::Connecting if source.may_hedge() && dialed >= DIAL_HEDGE => {
                self.sources[index].hedged = true;
                self.lose(cx, index, "does not answer soon, and has another address");
            }
            SourceState::Connecting if !source.welcomed && dialed >= DIAL_PATIENCE && self.others_wait(cx, index) => {
                self.lose(cx, index, "does not welcome us soon, and others wait");
            }
            SourceState::Active | SourceState::Stalled if (owes || unheard) && quiet >= ANSWER_DEADLINE => {
                self.lose(cx, index, "sends nothing");
            }
            SourceState::Active if source.is_slow(rate_min) => {
                let why = format!("sends less than {} KiB/s", rate_min.div_ceil(1024));
                self.set_state(cx, index, SourceState::Stalled, Some(why));
                self.relieve(cx, index);
            }
            // A source that has no request left is tried once more after a while.
            SourceState::Stalled
                if source.is_fast(rate_min) || (!owes && cx.now.since(source.since) >= ANSWER_DEADLINE) =>
            {
                self.revive(cx, index);
            }
            SourceState::Idle
            | SourceState::Connecting
            | SourceState::Active
            | SourceState::Stalled
            | SourceState::Lost
            | SourceState::Dropped => {}
        }
    }

    /// Whether a source is connected, or an address is left that may send WELCOME. A source that
    /// refused as busy is one of these: the timeout ends its tries.
    fn may_have_source(&self, now: Time) -> bool {
        let may_welcome = |source: &Source| source.refused || !source.welcomed;
        let may_send = |source: &Source| match source.state {
            // A source without a piece for us will send nothing.
            SourceState::Active | SourceState::Stalled => source.is_of_use(),
            SourceState::Connecting => may_welcome(source),
            SourceState::Lost => may_welcome(source) && !source.is_over(now),
            SourceState::Idle | SourceState::Dropped => false,
        };
        !self.order.pool.is_empty() || self.sources.iter().any(may_send)
    }

    /// The time until it fails for lack of sources; none while a source may send.
    pub(super) fn gives_up_in(&self, now: Time) -> Option<Duration> {
        let needs_none = self.is_complete() || !self.writing.is_empty();
        (!needs_none && !self.may_have_source(now)).then(|| NO_SOURCE_MAX.saturating_sub(now.since(self.had_source_at)))
    }

    fn fail_silent(&mut self, cx: &mut Context) {
        mark!(AllSilent);
        let all = self.faults("sends nothing");
        let exit = if self.reached { Exit::TimedOut } else { Exit::Unreachable };
        self.fail(cx, exit, &format!("no source could be used for {} s: {all}", NO_SOURCE_MAX.as_secs()));
    }

    /// Whether no piece was verified and too little was received for the time that the user gave.
    fn has_timed_out(&self, now: Time) -> bool {
        let timeout = self.order.timeout;
        !timeout.is_zero() && !self.is_complete() && now.since(self.good_at) >= timeout
    }

    fn fail_slow(&mut self, cx: &mut Context) {
        mark!(TimedOut);
        let why = format!(
            "no piece came for {:?}, and less than {} KiB/s from all sources; complete pieces are kept, and the \
             same command resumes it (--timeout sets the time, `--timeout 0` sets none): {}",
            self.order.timeout,
            SOURCE_RATE_MIN / 1024,
            self.faults("sends too little"),
        );
        self.fail(cx, Exit::TimedOut, &why);
    }
}

/// How many sources a message names.
const FAULTS_NAMED_MAX: usize = 8;
