//! One source of one download: its connection, its open requests, its rate and its faults. The
//! transfer decides which piece to fetch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::followed::Followed;
use super::proof::Proof;
use crate::config::{
    ANSWER_DEADLINE, BUSY_REDIAL_MAX, DIAL_HEDGE, DIALS_PER_ADDRESS, DIALS_PERIOD, FETCH_LEAD_BYTES_MAX,
    FETCH_LEAD_BYTES_MIN, PIECE_BYTES, PIECES_PER_FAULT, PROGRESS_INTERVAL, SOURCE_FRUITLESS_MAX, SOURCE_REDIAL_FIRST,
    SOURCE_REDIAL_MAX, STALL_AFTER,
};
use crate::proto::event::{SourceReport, SourceState};
use crate::proto::weak_peer::contact::{Contact, Peer};
use crate::proto::weak_peer::context::Context;
use crate::proto::{ConnId, DialId};
use crate::time::Time;
use crate::wire::ids::Md5;
use crate::wire::{HostPort, NodeId};

/// How many canceled requests a source remembers because their bytes may still come; the oldest one
/// is forgotten first.
const CANCELED_MAX: usize = 64;
/// Ticks over which the rate of a source that owes bytes is compared with the least one.
const STALL_TICKS: usize = (STALL_AFTER.as_millis() / PROGRESS_INTERVAL.as_millis()) as usize;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The page of the manifest that begins with this piece.
    Page(u32),
    /// The last piece of a content of this size, for the proof.
    Last(u64),
    /// This piece.
    Piece(u32),
}

/// A request that is not completely answered.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wanted: Wanted,
    pub(super) asked_at: Time,
    /// The MD5 from the CHUNK header, once that has come.
    pub(super) md5: Option<Md5>,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) received: u32,
    /// It is nearly here when no more bytes than this are still to come.
    pub(super) lead: u32,
    /// Canceled; its bytes may still come.
    pub(super) canceled: bool,
}

/// The second address of a source.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) addr: HostPort,
    /// The last dials of this address before the first WELCOME of the source.
    dials: VecDeque<Time>,
}

/// One source.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it is dialed now, in its canonical form.
    pub(super) addr: HostPort,
    /// Its address of the other family, which is dialed in turn.
    pub(super) other: Option<Other>,
    /// Which node it is: as hits say, later as its WELCOME says.
    pub(super) node: Option<NodeId>,
    /// The size of the content that hits claim; none if they contradict each other, or if a super
    /// peer names it as a member of a swarm.
    pub(super) claim: Option<u64>,
    /// The size that the source itself states.
    pub(super) stated: Option<u64>,
    /// What it has sent of a proof, while it is asked for one.
    pub(super) proof: Option<Proof>,
    /// Whether it ever sent WELCOME.
    pub(super) welcomed: bool,
    /// Its WELCOME has the feature of swarms.
    pub(super) swarms: bool,
    /// What it announces, if it is followed.
    pub(super) followed: Option<Followed>,
    /// Whether it refused the last connection that it answered. Then it is a peer that is busy.
    pub(super) refused: bool,
    /// Whether its dial is counted among those of its host.
    pub(super) counted: bool,
    pub(super) dialed_at: Time,
    /// The last dials of this address before its first WELCOME.
    dials: VecDeque<Time>,
    /// The other address is dialed because the first one failed.
    is_second: bool,
    /// A dial of the first address was given up because the other one may be faster.
    pub(super) hedged: bool,
    pub(super) state: SourceState,
    pub(super) why: Option<String>,
    pub(super) dial: Option<DialId>,
    pub(super) conn: Option<ConnId>,
    /// By number, which is the order in which they were sent.
    pub(super) requests: BTreeMap<u32, Request>,
    /// When the state last changed.
    pub(super) since: Time,
    /// When it last sent something, or got a request while it had no other.
    pub(super) progress_at: Time,
    /// When it last completed a piece.
    pub(super) piece_at: Time,
    /// When it may be dialed again, if it is lost.
    pub(super) retry_at: Time,
    retry_wait: Duration,
    /// How often its connection ended after WELCOME, since its last right piece.
    pub(super) fruitless: u32,
    /// Bytes per second, once known.
    pub(super) rate: Option<u64>,
    /// Bytes since the last tick.
    window_bytes: u64,
    pub(super) bytes: u64,
    pub(super) pieces: u32,
    pub(super) bad: u32,
    /// How many right pieces it had sent when the last damaged one came.
    pieces_at_fault: Option<u32>,
    /// Bytes of chunks and pages since the last tick, and in each of the ticks before during which
    /// it owed bytes.
    fresh_bytes: u64,
    owed: VecDeque<u64>,
    /// Right bytes under a wrong MD5.
    pub(super) md5_misses: u32,
    /// Dropped because its bytes or its manifest were wrong.
    pub(super) lied: bool,
    /// How often it was dropped because it did not have the content, since its last right piece.
    gone: u32,
    /// Dropped for that reason only: it is tried again if it is named again.
    returns: bool,
}

impl Source {
    pub(super) fn new(at: Contact, claim: Option<u64>) -> Source {
        Source {
            addr: at.addr,
            other: at.other.map(Other::new),
            node: at.node,
            is_second: false,
            hedged: false,
            claim,
            stated: None,
            proof: None,
            welcomed: false,
            swarms: false,
            followed: None,
            refused: false,
            counted: false,
            dialed_at: Time::ZERO,
            dials: VecDeque::new(),
            pieces_at_fault: None,
            fresh_bytes: 0,
            owed: VecDeque::new(),
            state: SourceState::Idle,
            why: None,
            dial: None,
            conn: None,
            requests: BTreeMap::new(),
            since: Time::ZERO,
            progress_at: Time::ZERO,
            piece_at: Time::ZERO,
            retry_at: Time::ZERO,
            retry_wait: SOURCE_REDIAL_FIRST,
            fruitless: 0,
            rate: None,
            window_bytes: 0,
            bytes: 0,
            pieces: 0,
            bad: 0,
            md5_misses: 0,
            lied: false,
            gone: 0,
            returns: false,
        }
    }

    pub(super) fn report(&self) -> SourceReport {
        let Source { addr, bytes, pieces, bad, rate, state, why, .. } = self;
        SourceReport {
            source: addr.clone(),
            bytes: *bytes,
            pieces: *pieces,
            bad: *bad,
            rate: *rate,
            partial: self.followed.as_ref().is_some_and(|followed| followed.heard && !followed.pieces.is_full()),
            state: *state,
            why: why.clone(),
        }
    }

    /// Whether it is lost and may be dialed again now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.state == SourceState::Lost && self.retry_at <= now && !self.is_over(now)
    }

    /// Whether it is dropped, or has never sent WELCOME and was dialed as often as is allowed.
    pub(super) fn is_over(&self, now: Time) -> bool {
        let dialed = self.dials.len() >= DIALS_PER_ADDRESS
            && self.dials.front().is_some_and(|first| now.since(*first) < DIALS_PERIOD);
        match self.state {
            SourceState::Dropped => true,
            SourceState::Lost => !self.welcomed && !self.refused && dialed,
            SourceState::Idle | SourceState::Connecting | SourceState::Active | SourceState::Stalled => false,
        }
    }

    /// Whether it is certainly a peer.
    pub(super) fn is_peer(&self) -> bool {
        self.welcomed || self.refused
    }

    /// Whether it has never sent WELCOME, has refused as busy, and is not to be dialed yet.
    pub(super) fn is_busy(&self, now: Time) -> bool {
        self.state == SourceState::Lost && !self.welcomed && self.refused && self.retry_at > now
    }

    /// It is dialed, and has never sent WELCOME.
    pub(super) fn note_dial(&mut self, now: Time) {
        if self.dials.len() >= DIALS_PER_ADDRESS {
            self.dials.pop_front();
        }
        self.dials.push_back(now);
    }

    /// Whether bytes come from it, or a piece could be requested from it.
    pub(super) fn is_of_use(&self) -> bool {
        self.owes() || self.followed.as_ref().is_none_or(Followed::is_useful)
    }

    /// Whether it is followed, has no piece for us at present, and owes nothing: then the end of
    /// its connection is no fault.
    pub(super) fn has_nothing(&self) -> bool {
        !self.owes() && self.followed.as_ref().is_some_and(|followed| followed.heard && !followed.is_useful())
    }

    /// Whether it is connected and has had no piece for us for a while.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.state == SourceState::Active && !self.is_of_use() && now.since(self.progress_at) >= ANSWER_DEADLINE
    }

    /// Whether it has not answered FOLLOW.
    pub(super) fn is_unheard(&self) -> bool {
        self.followed.as_ref().is_some_and(|followed| !followed.heard)
    }

    /// Whether it is connected and not idle, or was dialed a moment ago.
    pub(super) fn is_used(&self, now: Time) -> bool {
        match self.state {
            SourceState::Active => !self.is_idle(now),
            SourceState::Connecting => now.since(self.dialed_at) < DIAL_HEDGE,
            SourceState::Idle | SourceState::Stalled | SourceState::Lost | SourceState::Dropped => false,
        }
    }

    /// Takes a connection to it that was kept for reuse.
    pub(super) fn take_idle(&self, cx: &mut Context) -> Option<ConnId> {
        cx.idle.take(&self.addr).or_else(|| cx.idle.take(&self.other.as_ref()?.addr))
    }

    /// Which peer it is.
    pub(super) fn peer(&self) -> Option<Peer> {
        Some((self.node?, self.addr.port()))
    }

    /// Its addresses and its node.
    pub(super) fn contact(&self) -> Contact {
        let other = self.other.as_ref().map(|other| other.addr.clone());
        Contact { addr: self.addr.clone(), other, node: self.node, unreached: false }
    }

    /// Whether a hit with these addresses is of this source.
    pub(super) fn is_at(&self, at: &Contact) -> bool {
        let other = self.other.as_ref().map(|other| &other.addr);
        self.addr == at.addr || (other == Some(&at.addr) && at.other.as_ref() == Some(&self.addr))
    }

    /// Takes the second address of a hit, if it knows none.
    pub(super) fn learn(&mut self, at: Contact) {
        if let Some(other) = at.other.filter(|other| *other != self.addr) {
            self.other.get_or_insert_with(|| Other::new(other));
        }
    }

    /// A dial has failed: turns to the other address. Returns whether it is to be dialed at once.
    pub(super) fn turn(&mut self) -> bool {
        let Some(other) = &mut self.other else { return false };
        std::mem::swap(&mut self.addr, &mut other.addr);
        std::mem::swap(&mut self.dials, &mut other.dials);
        self.is_second = !self.is_second;
        self.is_second
    }

    /// Whether its first address is being dialed for the first time, and it has another one.
    pub(super) fn may_hedge(&self) -> bool {
        self.conn.is_none() && self.other.is_some() && !self.is_second && !self.hedged
    }

    /// Its dial has ended: it no longer counts among those of its host.
    pub(super) fn uncount(&mut self, cx: &mut Context, welcomed: bool) {
        if std::mem::take(&mut self.counted) {
            cx.hosts.end(&self.addr, welcomed);
        }
    }

    /// Whether it owes bytes: some of a request are still to come.
    pub(super) fn owes(&self) -> bool {
        self.requests.values().any(Request::is_coming)
    }

    /// Whether another piece may be requested from it. Before its first right piece it gets one
    /// request at a time, so that a liar wastes no more than one piece.
    pub(super) fn may_take(&self) -> bool {
        self.pieces > 0 || !self.owes()
    }

    /// Whether it sent less than the least rate while it owed bytes.
    pub(super) fn is_slow(&self, rate_min: u64) -> bool {
        self.owed.len() >= STALL_TICKS && !self.is_fast(rate_min)
    }

    /// Whether it sent at least the least rate.
    pub(super) fn is_fast(&self, rate_min: u64) -> bool {
        self.owed.iter().sum::<u64>() >= rate_min * STALL_AFTER.as_secs()
    }

    /// Counts a piece that was damaged on its way. Returns whether the source is to be dropped.
    pub(super) fn note_damage(&mut self) -> bool {
        let last = self.pieces_at_fault.replace(self.pieces);
        last.is_some_and(|last| self.pieces - last < PIECES_PER_FAULT)
    }

    /// Requests that are not canceled and whose bytes have not all come.
    pub(super) fn outstanding(&self) -> usize {
        self.requests.values().filter(|request| request.is_outstanding()).count()
    }

    /// Whether a request that is not canceled is nearly here.
    pub(super) fn is_nearly_here(&self, req: u32) -> bool {
        self.requests.get(&req).is_some_and(|request| !request.canceled && request.is_nearly_here())
    }

    /// Bytes that are still to come, up to the end of this piece.
    fn bytes_until(&self, piece: u32) -> u64 {
        let mut bytes = 0;
        for request in self.requests.values().filter(|request| request.is_coming()) {
            bytes += u64::from(request.length - request.received.min(request.length));
            if request.wanted == Wanted::Piece(piece) {
                break;
            }
        }
        bytes
    }

    /// How long it takes until this piece has come; none if the source has stalled.
    pub(super) fn time_until(&self, piece: u32, fallback: Option<u64>) -> Option<Duration> {
        if self.state == SourceState::Stalled {
            return None;
        }
        // Without any rate, zero: nothing is taken from the source before it stalls.
        Some(self.rate.or(fallback).map_or(Duration::ZERO, |rate| time_for(self.bytes_until(piece), rate)))
    }

    /// The open request for this piece.
    pub(super) fn request_for(&self, piece: u32) -> Option<(u32, &Request)> {
        let wanted = Wanted::Piece(piece);
        self.requests.iter().find(|(_, r)| r.wanted == wanted && !r.canceled).map(|(req, r)| (*req, r))
    }

    /// Marks the request as canceled. Returns whether CANCEL is useful: it is while the header
    /// CHUNK has not come.
    pub(super) fn cancel(&mut self, req: u32) -> bool {
        let Some(request) = self.requests.get_mut(&req) else { return false };
        request.canceled = true;
        let useful = request.md5.is_none();
        let canceled: Vec<u32> =
            self.requests.iter().filter(|(_, r)| r.canceled && r.md5.is_none()).map(|(req, _)| *req).collect();
        if let [oldest, .., _] = canceled.as_slice()
            && canceled.len() > CANCELED_MAX
        {
            self.requests.remove(oldest);
        }
        useful
    }

    /// Notes received bytes of a payload; `received` counts from its start. Returns how many are
    /// new.
    pub(super) fn on_bytes(&mut self, now: Time, req: u32, received: u32) -> u64 {
        let Some(request) = self.requests.get_mut(&req) else { return 0 };
        let fresh = u64::from(received.min(request.length).saturating_sub(request.received));
        if fresh > 0 {
            request.received = received.min(request.length);
            self.bytes += fresh;
            self.window_bytes += fresh;
            self.fresh_bytes += fresh;
            self.progress_at = now;
        }
        fresh
    }

    /// Notes a page of the manifest.
    pub(super) fn on_page(&mut self, now: Time, bytes: usize) {
        self.fresh_bytes += bytes as u64;
        self.progress_at = now;
    }

    /// How many bytes it sends in this time, within the limits of a lead.
    pub(super) fn lead(&self, time: Duration) -> u32 {
        let bytes = u128::from(self.rate.unwrap_or(0)) * time.as_micros() / 1_000_000;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).clamp(FETCH_LEAD_BYTES_MIN, FETCH_LEAD_BYTES_MAX);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Notes that it owes bytes, after it owed none.
    pub(super) fn begin_to_owe(&mut self, now: Time) {
        self.progress_at = now;
        self.fresh_bytes = 0;
        self.owed.clear();
    }

    /// Notes that a piece has come completely.
    pub(super) fn on_piece(&mut self, now: Time, length: u32, asked_at: Time) {
        let begun = asked_at.max(self.piece_at);
        self.piece_at = now;
        // A short last piece measures the latency, not the rate.
        if u64::from(length) >= PIECE_BYTES / 4 {
            self.sample(u64::from(length), now.since(begun), 3);
        }
        self.window_bytes = 0;
    }

    /// Notes that time has passed, so that the rate of a slow source falls before its piece is
    /// complete.
    pub(super) fn on_tick(&mut self, now: Time, passed: Duration) {
        let front = self.requests.values().find(|request| request.is_outstanding());
        if let Some((asked_at, length)) = front.map(|request| (request.asked_at, request.length)) {
            let bytes = std::mem::take(&mut self.window_bytes);
            // A chunk that has not come in this time shows that a source that was fast is not.
            let since = now.since(asked_at.max(self.piece_at));
            let is_late = since >= passed;
            if let Some(rate) = self.rate.as_mut().filter(|_| is_late) {
                let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1);
                *rate = (*rate).min(u64::from(length) * 1_000_000 / micros);
            }
            if is_late || self.rate.is_none_or(|rate| time_for(PIECE_BYTES, rate) > passed) || bytes == 0 {
                self.sample(bytes, passed, 2);
            }
        }
        self.window_bytes = 0;
        let fresh = std::mem::take(&mut self.fresh_bytes);
        if !self.owes() {
            return self.owed.clear();
        }
        if self.owed.len() >= STALL_TICKS {
            self.owed.pop_front();
        }
        self.owed.push_back(fresh);
    }

    /// Moves the rate by `1/parts` of the difference toward the measured one.
    fn sample(&mut self, bytes: u64, over: Duration, parts: u64) {
        let micros = over.as_micros().max(100);
        let seen = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX).min(1 << 50);
        self.rate = Some(self.rate.map_or(seen, |rate| (rate * (parts - 1) + seen) / parts));
    }

    /// Sets when it may be dialed again, later each time.
    pub(super) fn back_off(&mut self, now: Time) {
        let wait = if self.is_peer() { self.retry_wait } else { SOURCE_REDIAL_MAX };
        self.retry_at = now + wait;
        let longest = if self.welcomed { SOURCE_REDIAL_MAX } else { BUSY_REDIAL_MAX };
        self.retry_wait = (self.retry_wait * 2).min(longest);
    }

    /// It sent a right piece: the next loss counts as the first.
    pub(super) fn forgive(&mut self) {
        self.retry_wait = SOURCE_REDIAL_FIRST;
        (self.fruitless, self.gone) = (0, 0);
    }

    /// It is dropped. `gone` says that it does not have the content, or cannot read it: it may have
    /// it later.
    pub(super) fn note_drop(&mut self, now: Time, gone: bool) {
        if gone {
            self.gone += 1;
            self.back_off(now);
        }
        self.returns = gone && self.gone < SOURCE_FRUITLESS_MAX;
    }

    /// It is named again. Returns whether it is to be tried again.
    pub(super) fn take_return(&mut self) -> bool {
        std::mem::take(&mut self.returns)
    }
}

impl Other {
    fn new(addr: HostPort) -> Other {
        Other { addr, dials: VecDeque::new() }
    }
}

impl Request {
    pub(super) fn is_outstanding(&self) -> bool {
        !self.canceled && (self.md5.is_none() || self.received < self.length)
    }

    /// Whether all of its bytes have come and their digests have not.
    pub(super) fn is_being_hashed(&self) -> bool {
        self.md5.is_some() && self.received >= self.length
    }

    /// Whether hardly anything of it is still to come.
    pub(super) fn is_nearly_here(&self) -> bool {
        self.md5.is_some() && self.length - self.received.min(self.length) <= self.lead
    }

    /// Whether its bytes come before those of later requests. A canceled request is still answered
    /// if its header has come.
    fn is_coming(&self) -> bool {
        self.is_outstanding() || (self.md5.is_some() && self.received < self.length)
    }
}

/// How long this number of bytes takes at this rate.
pub(super) fn time_for(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
