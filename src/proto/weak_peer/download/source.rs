//! One source of one download: its connection, what it is asked for, how fast it is and what it is blamed for. Decides
//! nothing about pieces: the transfer does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{PIECE_BYTES, SOURCE_REDIAL_FIRST, SOURCE_REDIAL_MAX};
use crate::proto::event::{SourceReport, SourceState};
use crate::proto::{ConnId, DialId};
use crate::time::Time;
use crate::wire::HostPort;
use crate::wire::ids::Md5;

/// Cancelled requests whose bytes may still come that a source remembers; the oldest is forgotten first.
const CANCELLED_MAX: usize = 64;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A page of the manifest that begins with this piece.
    Page(u32),
    /// This piece.
    Piece(u32),
}

/// A request that is not answered in full.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wanted: Wanted,
    pub(super) asked_at: Time,
    /// The announced MD5, once the header came.
    pub(super) md5: Option<Md5>,
    pub(super) length: u32,
    pub(super) received: u32,
    /// Not wanted any more; its bytes may come nevertheless.
    pub(super) cancelled: bool,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) addr: HostPort,
    pub(super) state: SourceState,
    pub(super) why: Option<String>,
    pub(super) dial: Option<DialId>,
    pub(super) conn: Option<ConnId>,
    /// By request number, in which order they were asked.
    pub(super) requests: BTreeMap<u32, Request>,
    /// Since when the state is what it is.
    pub(super) since: Time,
    /// When it last sent something, or was first asked after a pause.
    pub(super) progress_at: Time,
    /// When it last ended a piece.
    pub(super) piece_at: Time,
    /// When it may be dialled again, if it is lost.
    pub(super) retry_at: Time,
    retry_wait: Duration,
    /// Times it was lost after its WELCOME since it last sent a right piece.
    pub(super) fruitless: u32,
    /// Bytes a second, once known.
    pub(super) rate: Option<u64>,
    /// Bytes since the last tick.
    window_bytes: u64,
    pub(super) bytes: u64,
    pub(super) pieces: u32,
    pub(super) bad: u32,
    /// Right bytes under a wrong MD5.
    pub(super) md5_misses: u32,
    /// A piece whose bytes came wrong under both digests and is asked again.
    pub(super) suspect: Option<u32>,
    /// Dropped because its bytes or its manifest were wrong.
    pub(super) lied: bool,
}

impl Source {
    pub(super) fn new(addr: HostPort) -> Source {
        Source {
            addr,
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
            suspect: None,
            lied: false,
        }
    }

    pub(super) fn report(&self) -> SourceReport {
        let Source { addr, bytes, pieces, bad, state, why, .. } = self;
        SourceReport {
            source: addr.clone(),
            bytes: *bytes,
            pieces: *pieces,
            bad: *bad,
            state: *state,
            why: why.clone(),
        }
    }

    /// Whether it is dialled or connected.
    pub(super) fn is_used(&self) -> bool {
        self.dial.is_some() || self.conn.is_some()
    }

    /// Whether it may be dialled now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        match self.state {
            SourceState::Idle => true,
            SourceState::Lost => self.retry_at <= now,
            SourceState::Connecting | SourceState::Active | SourceState::Stalled | SourceState::Dropped => false,
        }
    }

    /// Requests that are wanted and whose bytes are not all here.
    pub(super) fn outstanding(&self) -> usize {
        self.requests.values().filter(|request| request.is_outstanding()).count()
    }

    /// Bytes that are still to come up to the end of the request for this piece.
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

    /// How long it takes until the piece is here; none if it has stalled or nothing is known.
    pub(super) fn time_until(&self, piece: u32, fallback: Option<u64>) -> Option<Duration> {
        if self.state == SourceState::Stalled {
            return None;
        }
        // A holder of unknown rate is not robbed before it stalls.
        Some(self.rate.or(fallback).map_or(Duration::ZERO, |rate| time_for(self.bytes_until(piece), rate)))
    }

    /// The request under way for this piece.
    pub(super) fn request_for(&self, piece: u32) -> Option<(u32, &Request)> {
        let wanted = Wanted::Piece(piece);
        self.requests.iter().find(|(_, r)| r.wanted == wanted && !r.cancelled).map(|(req, r)| (*req, r))
    }

    /// Marks the request as not wanted. Answers whether a CANCEL is of use: its header has not come.
    pub(super) fn cancel(&mut self, req: u32) -> bool {
        let Some(request) = self.requests.get_mut(&req) else { return false };
        request.cancelled = true;
        let useful = request.md5.is_none();
        let cancelled: Vec<u32> =
            self.requests.iter().filter(|(_, r)| r.cancelled && r.md5.is_none()).map(|(req, _)| *req).collect();
        if let [oldest, .., _] = cancelled.as_slice()
            && cancelled.len() > CANCELLED_MAX
        {
            self.requests.remove(oldest);
        }
        useful
    }

    /// Notes received bytes of a payload; `received` counts from its start.
    pub(super) fn on_bytes(&mut self, now: Time, req: u32, received: u32) {
        let Some(request) = self.requests.get_mut(&req) else { return };
        let fresh = u64::from(received.min(request.length).saturating_sub(request.received));
        if fresh > 0 {
            request.received = received.min(request.length);
            self.bytes += fresh;
            self.window_bytes += fresh;
            self.progress_at = now;
        }
    }

    /// Notes that a piece is here in full.
    pub(super) fn on_piece(&mut self, now: Time, length: u32, asked_at: Time) {
        let begun = asked_at.max(self.piece_at);
        self.piece_at = now;
        // A short last piece tells the latency, not the rate.
        if u64::from(length) >= PIECE_BYTES / 4 {
            self.sample(u64::from(length), now.since(begun), 3);
        }
        self.window_bytes = 0;
    }

    /// Notes that time passed; so that a source that trickles is seen before its piece ends.
    pub(super) fn on_tick(&mut self, passed: Duration) {
        if self.outstanding() > 0 {
            let bytes = std::mem::take(&mut self.window_bytes);
            if self.rate.is_none_or(|rate| time_for(PIECE_BYTES, rate) > passed) || bytes == 0 {
                self.sample(bytes, passed, 2);
            }
        }
        self.window_bytes = 0;
    }

    /// Moves the rate by one part of `parts` towards what was seen.
    fn sample(&mut self, bytes: u64, over: Duration, parts: u64) {
        let micros = over.as_micros().max(100);
        let seen = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX).min(1 << 50);
        self.rate = Some(self.rate.map_or(seen, |rate| (rate * (parts - 1) + seen) / parts));
    }

    /// Sets when it may be dialled again, later each time.
    pub(super) fn back_off(&mut self, now: Time) {
        self.retry_at = now + self.retry_wait;
        self.retry_wait = (self.retry_wait * 2).min(SOURCE_REDIAL_MAX);
    }

    /// It proved useful: the next loss is the first again.
    pub(super) fn forgive(&mut self) {
        self.retry_wait = SOURCE_REDIAL_FIRST;
        self.fruitless = 0;
    }
}

impl Request {
    pub(super) fn is_outstanding(&self) -> bool {
        !self.cancelled && (self.md5.is_none() || self.received < self.length)
    }

    /// Whether all of its bytes are here and their digests are not.
    pub(super) fn is_in_hand(&self) -> bool {
        self.md5.is_some() && self.received >= self.length
    }

    /// Whether bytes of it lie ahead of what is asked later: a cancelled one ends if it was begun.
    fn is_coming(&self) -> bool {
        self.is_outstanding() || (self.md5.is_some() && self.received < self.length)
    }
}

/// How long so many bytes take at this rate.
pub(super) fn time_for(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
