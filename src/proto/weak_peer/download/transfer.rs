//! The state of one download, and what it reports. The files beside this one act on it: `part`
//! opens, writes and publishes the part file, `sources` dials and drops sources, `proving` fetches
//! the proof, `fetch` asks for pieces and `pieces` judges them.

use std::collections::{BTreeMap, VecDeque};

use super::order::Order;
use super::picker::Picker;
use super::proof::Proof;
use super::source::Source;
use crate::proto::event::{ClientEvent, Outcome, SourceReport, SourceState};
use crate::proto::weak_peer::context::{Context, SourceIndex};
use crate::time::Time;
use crate::wire::ids::Cv;

/// How many progress readings the rate is taken over: those of the last 4 seconds.
const RATE_WINDOW: usize = 8;

/// How far a download is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The disk creates or finds the part file.
    Opening,
    /// The manifest and the last piece are not proven; the source that is asked for them, if there
    /// is one.
    Proving(Option<Proof>),
    /// Pieces arrive and are written.
    Fetching,
    /// All pieces are written; the disk renames the part file.
    Publishing,
    /// The end; the outcome may have been taken.
    Over,
}

/// One download under way.
pub(super) struct Transfer {
    pub(super) order: Order,
    pub(super) phase: Phase,
    pub(super) sources: Vec<Source>,
    pub(super) picker: Picker<SourceIndex>,
    /// One value per piece, proven unless the phase is still Proving.
    pub(super) manifest: Option<Vec<Cv>>,
    pub(super) next_req: u32,
    /// Verified pieces that are not written yet, each with the event that reports it once it is.
    pub(super) writing: BTreeMap<u32, ClientEvent>,
    /// Bytes verified, in earlier runs too.
    pub(super) bytes: u64,
    /// Bytes verified in earlier runs.
    pub(super) resumed: u64,
    pub(super) started_at: Time,
    /// When a source last sent something, or the disk wrote.
    pub(super) alive_at: Time,
    /// Whether any source ever sent WELCOME.
    pub(super) reached: bool,
    /// Whether a search might find sources that are not known.
    pub(super) short_of_sources: bool,
    /// Whether a search for sources runs.
    pub(super) searching: bool,
    /// When the last search began; none if that was by name and cannot have found all sources.
    pub(super) searched_at: Option<Time>,
    /// Bytes verified at the last few readings.
    readings: VecDeque<(Time, u64)>,
    /// How it ended, from the end until it is taken.
    pub(super) outcome: Option<Outcome>,
}

impl Transfer {
    pub(super) fn new(now: Time, mut order: Order) -> Transfer {
        let sources = std::mem::take(&mut order.sources);
        let mut transfer = Transfer {
            phase: Phase::Opening,
            sources: Vec::new(),
            picker: Picker::new(0),
            manifest: None,
            next_req: 1,
            writing: BTreeMap::new(),
            bytes: 0,
            resumed: 0,
            started_at: now,
            alive_at: now,
            reached: false,
            short_of_sources: order.widen,
            searching: order.searching,
            searched_at: (!order.widen).then_some(now),
            readings: VecDeque::new(),
            outcome: None,
            order,
        };
        transfer.remember(sources);
        transfer
    }

    /// The part file is open and `bytes` of it are right: progress is measured from here.
    pub(super) fn restart_clock(&mut self, now: Time) {
        self.readings.push_back((now, self.bytes));
        (self.started_at, self.alive_at) = (now, now);
    }

    pub(super) fn bytes_received(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.sources.iter().filter(|source| source.state != SourceState::Idle).map(Source::report).collect()
    }

    /// Sends an event to the client.
    pub(super) fn report(&self, cx: &mut Context, event: ClientEvent) {
        cx.report(self.order.client, event);
    }

    pub(super) fn last_piece(&self) -> u32 {
        u32::try_from(self.picker.len().saturating_sub(1)).unwrap_or(u32::MAX)
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
        let (bytes, size, sources) = (self.bytes, self.order.size, self.reports());
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        self.report(cx, ClientEvent::Progress { bytes, size, rate, sources });
    }
}
