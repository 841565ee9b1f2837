//! The state of one download, and what it reports. The other files of this folder change this
//! state: `part` opens, writes and publishes the part file, `sources` dials and drops sources,
//! `proving` fetches the proof, `fetch` requests pieces, and `pieces` judges them.

use std::collections::{BTreeMap, VecDeque};

use super::followed::Swarm;
use super::order::Order;
use super::picker::Picker;
use super::source::Source;
use crate::config::{PROGRESS_INTERVAL, STALL_AFTER};
use crate::proto::event::{ClientEvent, Outcome, SourceReport, SourceState, SwarmReport};
use crate::proto::weak_peer::context::{Context, SourceIndex};
use crate::time::Time;
use crate::wire::ids::Cv;
use crate::wire::{HostPort, NodeId};

/// The rate of progress is measured over this many readings: the last 4 seconds.
const RATE_WINDOW: usize = 8;
/// The rate of all sources is measured over this many ticks. It includes wrong bytes.
const RECEIVED_TICKS: usize = (STALL_AFTER.as_millis() / PROGRESS_INTERVAL.as_millis()) as usize;

/// The phase of a download.
#[derive(Debug)]
pub(super) enum Phase {
    /// The disk creates or finds the part file.
    Opening,
    /// Size and manifest are not proven.
    Proving,
    /// Pieces arrive and are written.
    Fetching,
    /// All pieces are written; the disk renames the part file.
    Publishing,
    /// The download is over. The outcome may have been taken.
    Over,
}

/// One download under way.
pub(super) struct Transfer {
    pub(super) order: Order,
    pub(super) phase: Phase,
    /// Sources that were dialed.
    pub(super) sources: Vec<Source>,
    /// Addresses of sources that were removed from the list, and until when each must not be dialed
    /// again.
    pub(super) spent: BTreeMap<HostPort, Time>,
    /// Bytes that the removed sources sent, and whether one of them lied.
    pub(super) bytes_forgotten: u64,
    pub(super) lied_forgotten: bool,
    /// The size of the content, and whether it is proven. Until then it is only what hits claim.
    pub(super) size: u64,
    pub(super) is_proven: bool,
    /// Whether the last dial was of an address that was not tried before.
    pub(super) dialed_untried: bool,
    /// How many proofs were begun.
    pub(super) proofs_begun: usize,
    /// It has no pieces until the size is proven.
    pub(super) picker: Picker<SourceIndex>,
    /// The byte from which on missing pieces are fetched first.
    pub(super) aimed: Option<u64>,
    /// One value per piece, once they are proven.
    pub(super) manifest: Option<Vec<Cv>>,
    pub(super) next_req: u32,
    /// Verified pieces that are not written yet. Each has the event that reports it once it is
    /// written, and the node that sent it.
    pub(super) writing: BTreeMap<u32, (ClientEvent, Option<NodeId>)>,
    /// The other peers that fetch the same content.
    pub(super) swarm: Swarm,
    /// Bytes verified, including those of earlier runs.
    pub(super) bytes: u64,
    /// Bytes verified in earlier runs.
    pub(super) resumed: u64,
    pub(super) started_at: Time,
    /// When the download last had a source that may send, or an address that was not tried.
    pub(super) had_source_at: Time,
    /// When a piece was last verified or being written, or when the rate of all sources was last
    /// high enough.
    pub(super) good_at: Time,
    /// Bytes that came from all sources, including discarded ones: the present number, and the
    /// numbers at the last few ticks.
    pub(super) received: u64,
    received_at: VecDeque<(Time, u64)>,
    /// Whether any source ever sent WELCOME.
    pub(super) reached: bool,
    /// Whether a search might find sources that are not known yet.
    pub(super) short_of_sources: bool,
    /// Whether a search for sources runs.
    pub(super) searching: bool,
    /// Whether the last search before giving up was made, and no correct piece has come since.
    pub(super) asked_last: bool,
    /// When the last search began. None if it was a search by name, which may not have found all
    /// sources.
    pub(super) searched_at: Option<Time>,
    /// Bytes verified at the last few readings.
    readings: VecDeque<(Time, u64)>,
    /// The path under which it will be published, once the part file is open.
    pub(super) path: Option<String>,
    /// The outcome, from the end of the download until it is taken.
    pub(super) outcome: Option<Outcome>,
}

impl Transfer {
    pub(super) fn new(now: Time, order: Order) -> Transfer {
        let size = order.pool.iter().find_map(|candidate| candidate.size).unwrap_or(0);
        Transfer {
            phase: Phase::Opening,
            sources: Vec::new(),
            spent: BTreeMap::new(),
            bytes_forgotten: 0,
            lied_forgotten: false,
            size,
            is_proven: false,
            dialed_untried: false,
            proofs_begun: 0,
            picker: Picker::new(0),
            aimed: None,
            manifest: None,
            next_req: 1,
            writing: BTreeMap::new(),
            swarm: Swarm::default(),
            bytes: 0,
            resumed: 0,
            started_at: now,
            had_source_at: now,
            good_at: now,
            received: 0,
            received_at: VecDeque::new(),
            reached: false,
            short_of_sources: order.widen,
            searching: order.searching,
            asked_last: false,
            searched_at: (!order.widen).then_some(now),
            readings: VecDeque::new(),
            path: None,
            outcome: None,
            order,
        }
    }

    /// The part file is open, and `bytes` of it are correct: progress is measured from now on.
    pub(super) fn restart_clock(&mut self, now: Time) {
        self.readings.push_back((now, self.bytes));
        self.received_at.push_back((now, 0));
        (self.started_at, self.had_source_at, self.good_at) = (now, now, now);
    }

    /// Notes at a tick how many bytes have come so far.
    pub(super) fn note_rate(&mut self, now: Time, rate_min: u64) {
        if self.received_at.len() > RECEIVED_TICKS {
            self.received_at.pop_front();
        }
        if self.rate(now) >= rate_min {
            self.good_at = now;
        }
        self.received_at.push_back((now, self.received));
    }

    /// Bytes per second from all sources, over the last two seconds.
    pub(super) fn rate(&self, now: Time) -> u64 {
        let (since, then) = self.received_at.front().copied().unwrap_or((now, self.received));
        let micros = now.since(since).as_micros().max(100_000);
        u64::try_from(u128::from(self.received - then) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    pub(super) fn bytes_received(&self) -> u64 {
        self.bytes_forgotten + self.sources.iter().map(|source| source.bytes).sum::<u64>()
    }

    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.sources.iter().filter(|source| source.state != SourceState::Idle).map(Source::report).collect()
    }

    /// Sends an event to the client.
    pub(super) fn report(&self, cx: &mut Context, event: ClientEvent) {
        // The files of a collection announce the download of its list. Its progress would be that
        // of another size than theirs.
        let of_list = matches!(
            event,
            ClientEvent::Start { .. } | ClientEvent::Piece { .. } | ClientEvent::Progress { gives_up_ms: None, .. }
        );
        let quiet = self.order.collection && of_list;
        if !self.order.is_part && self.order.parent.is_none() && !quiet {
            cx.report(self.order.client, event);
        }
    }

    pub(super) fn set_state(&mut self, cx: &mut Context, index: SourceIndex, state: SourceState, why: Option<String>) {
        let source = &mut self.sources[index];
        if source.state != state || source.why != why {
            (source.state, source.why, source.since) = (state, why, cx.now);
            let report = source.report();
            self.report(cx, ClientEvent::Source(report));
        }
    }

    /// Reports the bytes so far, and the rate over the last few readings.
    pub(super) fn report_progress(&mut self, cx: &mut Context) {
        self.readings.push_back((cx.now, self.bytes));
        if self.readings.len() > RATE_WINDOW + 1 {
            self.readings.pop_front();
        }
        let (since, from) = self.readings.front().copied().unwrap_or((cx.now, self.bytes));
        let micros = cx.now.since(since).as_micros().max(1);
        let rate = u128::from(self.bytes - from) * 1_000_000 / micros;
        let (bytes, size, sources) = (self.bytes, self.size, self.reports());
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let gives_up_ms = self.gives_up_in(cx.now).map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let swarm = self.swarm_report(cx);
        self.report(cx, ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms, swarm });
    }

    /// The report about its swarm. None if there are no other members and no other peer was served.
    pub(super) fn swarm_report(&self, cx: &Context) -> Option<SwarmReport> {
        let (sent, up) = cx.holdings.sent(cx.now, self.order.root, self.order.id);
        let (members, complete, received) = (self.swarm.members, self.swarm.full, self.received);
        (members > 1 || sent > 0).then_some(SwarmReport { members, complete, sent, up, received })
    }
}
