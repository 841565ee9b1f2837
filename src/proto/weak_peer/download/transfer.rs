//! One download from the order to the published file: its phases, its clock, its sources' comings and goings, its end.
//! What goes over the connections is in `fetch`.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use super::manifest;
use super::proof::Proof;
use super::source::Source;
use super::{Order, SourceIndex, give_up};
use crate::config::{
    ANSWER_DEADLINE, LOGIN_DEADLINE, NO_SOURCE_MAX, PIECE_BYTES, PIECES_MAX, PROGRESS_INTERVAL, REQUERY_INTERVAL,
    SOURCE_FRUITLESS_MAX, SOURCES_KNOWN_MAX, STALL_AFTER,
};
use crate::error::{Exit, Failure};
use crate::proto::disk::{DiskFailure, DiskWork, PartState};
use crate::proto::event::{ClientEvent, Outcome, SourceReport, SourceState};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Desk, Reason};
use crate::proto::weak_peer::download::picker::Picker;
use crate::proto::{EMPTY_ROOT, Output, Verify};
use crate::time::Time;
use crate::wire::HostPort;
use crate::wire::ids::Cv;

/// Progress readings that the rate is taken over: 4 seconds.
const RATE_WINDOW: usize = 8;

/// Sizes that are tried for one root, beside the first.
const SIZES_MAX: usize = 8;

/// How far a download is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The disk makes or finds the part file.
    Opening,
    /// Waiting for the manifest and the last piece, from the source named if there is one.
    Proving(Option<Proof>),
    /// Pieces come and are written.
    Fetching,
    /// All is written; the disk gives it its name.
    Publishing,
    /// It is over; the outcome may have been taken.
    Over,
}

/// See the module's words.
pub(super) struct Transfer {
    pub(super) order: Order,
    pub(super) phase: Phase,
    pub(super) sources: Vec<Source>,
    pub(super) picker: Picker<SourceIndex>,
    /// One value per piece, proven unless the phase is still Proving.
    pub(super) manifest: Option<Vec<Cv>>,
    pub(super) next_req: u32,
    /// Verified pieces that the disk has not written yet, with what is told once it has.
    pub(super) writing: BTreeMap<u32, ClientEvent>,
    /// Bytes verified, those of earlier runs included.
    pub(super) bytes: u64,
    resumed: u64,
    pub(super) started_at: Time,
    /// When a source last sent something, or the disk wrote.
    pub(super) alive_at: Time,
    /// Whether any source ever welcomed us.
    pub(super) reached: bool,
    /// Whether asking for sources again might help.
    pub(super) short_of_sources: bool,
    asking: bool,
    /// When the network was last asked for sources; never, if the search cannot have found all.
    asked_at: Option<Time>,
    /// Bytes verified at the last few readings.
    readings: VecDeque<(Time, u64)>,
    outcome: Option<Outcome>,
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
            asking: order.searching,
            asked_at: (!order.widen).then_some(now),
            readings: VecDeque::new(),
            outcome: None,
            order,
        };
        transfer.remember(sources);
        transfer
    }

    /// Once it is over: how it ended.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    pub(super) fn bytes_received(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.sources.iter().filter(|source| source.state != SourceState::Idle).map(Source::report).collect()
    }

    pub(super) fn tell(&self, desk: &mut Desk, event: ClientEvent) {
        desk.tell(self.order.client, event);
    }

    pub(super) fn elapsed_ms(&self, now: Time) -> u64 {
        u64::try_from(now.since(self.started_at).as_millis()).unwrap_or(u64::MAX)
    }

    // ---- the part file -------------------------------------------------------------------------------------------

    pub(super) fn begin(&mut self, desk: &mut Desk) {
        let Order { id, root, size, .. } = self.order;
        if size > PIECES_MAX * PIECE_BYTES {
            let why = format!("{size} bytes are more than the {} that one file may have", PIECES_MAX * PIECE_BYTES);
            return self.fail(desk, Exit::Usage, &why);
        }
        if size == 0 && root != EMPTY_ROOT {
            return self.fail(
                desk,
                Exit::Integrity,
                "the file is said to be empty, but its root is not that of nothing",
            );
        }
        self.picker = Picker::new(size);
        desk.disk(DiskWork::OpenPart { download: id, destination: self.order.destination.clone(), root, size });
    }

    pub(super) fn on_part_opened(&mut self, desk: &mut Desk, result: Result<PartState, DiskFailure>) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        match result {
            Err(failure) => {
                self.phase = Phase::Over;
                self.end(desk, Some(Failure::new(Exit::Disk, failure.message)), None);
            }
            Ok(PartState::AlreadyThere { path }) => {
                mark!(PartThere);
                self.resumed = self.order.size;
                self.phase = Phase::Over;
                self.end(desk, None, Some(path));
            }
            Ok(PartState::Open { path, manifest, verified }) => {
                // From here on it is called what it will be called on disk.
                if let Some(name) = path.file_name() {
                    self.order.name = name.to_string_lossy().into_owned();
                }
                self.open(desk, manifest, &verified);
            }
        }
    }

    fn open(&mut self, desk: &mut Desk, manifest: Option<Vec<Cv>>, verified: &[u32]) {
        let Order { root, size, verify, .. } = self.order;
        let claims = manifest.is_some();
        self.manifest = manifest.filter(|cvs| manifest::root_of(cvs, size) == Some(root));
        if claims && self.manifest.is_none() {
            mark!(MapDoubted);
        }
        for &piece in verified {
            if piece as usize >= self.picker.len() || self.picker.has(piece) {
                continue;
            }
            self.picker.verified(piece);
            self.resumed += u64::from(self.picker.length(piece));
        }
        self.bytes = self.resumed;
        if self.resumed > 0 {
            mark!(PartResumed);
        }
        self.readings.push_back((desk.now, self.bytes));
        (self.started_at, self.alive_at) = (desk.now, desk.now);
        let (name, sources, resumed) = (self.order.name.clone(), self.sources.len(), self.resumed);
        self.tell(desk, ClientEvent::Start { name, size, root, sources, resumed });
        if verify == Verify::Md5 {
            let message = "MD5 alone does not prove that these are the bytes that were asked for".into();
            self.tell(desk, ClientEvent::Note { message });
        }
        let proven = self.picker.len() <= 1 || self.manifest.is_some() || verify == Verify::Md5;
        self.phase = if proven { Phase::Fetching } else { Phase::Proving(None) };
        desk.timers.set(Reason::Download(self.order.id), desk.now + PROGRESS_INTERVAL);
        self.publish_if_whole(desk);
        self.pump(desk);
    }

    pub(super) fn on_written(&mut self, desk: &mut Desk, piece: u32, result: Result<(), DiskFailure>) {
        if let Err(failure) = result {
            mark!(WriteFailed);
            return self.fail(desk, Exit::Disk, &failure.message);
        }
        if let Some(event) = self.writing.remove(&piece) {
            self.tell(desk, event);
        }
        self.alive_at = desk.now;
        self.publish_if_whole(desk);
        self.pump(desk);
    }

    fn publish_if_whole(&mut self, desk: &mut Desk) {
        let running = matches!(self.phase, Phase::Proving(_) | Phase::Fetching);
        if running && self.writing.is_empty() && self.picker.have() == self.picker.len() {
            self.phase = Phase::Publishing;
            desk.timers.stop(Reason::Download(self.order.id));
            self.leave_sources(desk);
            self.tell_progress(desk);
            desk.disk(DiskWork::Publish { download: self.order.id });
        }
    }

    pub(super) fn on_published(&mut self, desk: &mut Desk, result: Result<PathBuf, DiskFailure>) {
        match result {
            Ok(path) => {
                self.phase = Phase::Over;
                self.end(desk, None, Some(path));
            }
            Err(failure) => {
                mark!(PublishFailed);
                self.fail(desk, Exit::Disk, &failure.message);
            }
        }
    }

    // ---- the end -------------------------------------------------------------------------------------------------

    /// Ends it without success. The part file stays for a later resume.
    pub(super) fn fail(&mut self, desk: &mut Desk, exit: Exit, why: &str) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        // While the phase still knows of it.
        self.drop_held(desk);
        self.phase = Phase::Over;
        desk.disk(DiskWork::Abandon { download: self.order.id });
        self.end(desk, Some(Failure::new(exit, why)), None);
    }

    fn end(&mut self, desk: &mut Desk, failure: Option<Failure>, path: Option<PathBuf>) {
        self.leave_sources(desk);
        desk.timers.stop(Reason::Download(self.order.id));
        let elapsed = desk.now.since(self.order.asked_at).as_millis();
        let base = failure.as_ref().map_or(Outcome { ok: true, ..Outcome::default() }, Outcome::failed);
        self.outcome = Some(Outcome {
            path,
            root: Some(self.order.root),
            bytes: Some(if base.ok { self.order.size } else { self.bytes }),
            resumed: Some(self.resumed),
            elapsed_ms: Some(u64::try_from(elapsed).unwrap_or(u64::MAX)),
            sources: Some(self.reports()),
            ..base
        });
    }

    /// If it ended because nobody has the root in this size: the order for the size that most others tell.
    pub(super) fn with_other_size(&mut self, desk: &mut Desk, outcome: &Outcome) -> Option<Order> {
        let unproven = outcome.exit == Exit::Integrity.code() || outcome.exit == Exit::NotFound.code();
        let others = std::mem::take(&mut self.order.others);
        let tellers = |size: u64| others.iter().filter(|(_, told)| *told == size).count();
        let size = others.iter().map(|(_, size)| *size).max_by_key(|size| (tellers(*size), *size))?;
        if !unproven || self.bytes > 0 || self.order.tried.len() >= SIZES_MAX {
            return None;
        }
        let message = format!("not even a piece of {} bytes is right; trying {size}, as others tell", self.order.size);
        self.tell(desk, ClientEvent::Note { message });
        let (chosen, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, told)| *told == size);
        let sources = chosen.into_iter().map(|(addr, _)| addr).collect();
        let tried = [self.order.tried.as_slice(), &[self.order.size]].concat();
        Some(Order { size, sources, others, tried, widen: false, searching: false, ..self.order.clone() })
    }

    /// Closes all connections; what the sources were is kept for the report.
    fn leave_sources(&mut self, desk: &mut Desk) {
        for source in &mut self.sources {
            give_up(desk, source.dial.take(), source.conn.take(), true);
            source.requests.clear();
        }
        self.drop_held(desk);
    }

    fn drop_held(&mut self, desk: &mut Desk) {
        if let Phase::Proving(Some(proof)) = &mut self.phase
            && let Some(held) = proof.held.take()
        {
            desk.push(Output::DropPayload { payload: held.payload });
        }
    }

    // ---- more sources --------------------------------------------------------------------------------------------

    fn remember(&mut self, addrs: Vec<HostPort>) {
        for addr in addrs {
            if let Some(known) = self.sources.iter_mut().find(|source| source.addr == addr) {
                // Somebody vouches for it afresh: a lost one is tried at once, once.
                if known.state == SourceState::Lost {
                    known.retry_at = Time::ZERO;
                }
            } else if self.sources.len() < SOURCES_KNOWN_MAX {
                self.sources.push(Source::new(addr));
            }
        }
    }

    pub(super) fn add_sources(&mut self, desk: &mut Desk, addrs: Vec<HostPort>) {
        if !self.order.only {
            self.remember(addrs);
            self.pump(desk);
        }
    }

    pub(super) fn on_sources_done(&mut self) {
        self.asking = false;
    }

    /// Whether the network should be asked for sources now. Ends the download if there is nobody left to hope for.
    pub(super) fn wants_sources(&mut self, desk: &mut Desk, session_up: bool) -> bool {
        if self.asking || !matches!(self.phase, Phase::Proving(_) | Phase::Fetching) {
            return false;
        }
        let waited = self.asked_at.is_none_or(|at| at + REQUERY_INTERVAL <= desk.now);
        let may_ask = session_up && !self.order.only && waited;
        let hopeless = self.sources.iter().all(|source| source.state == SourceState::Dropped);
        // What is verified and not yet written needs no source.
        let needs = self.picker.have() < self.picker.len();
        if hopeless && needs && !may_ask {
            self.give_up_hope(desk);
            return false;
        }
        let lost = self.sources.iter().any(|source| source.state == SourceState::Lost);
        if may_ask && needs && (lost || self.short_of_sources) {
            mark!(SourcesAskedAgain);
            self.asking = true;
            self.short_of_sources = false;
            self.asked_at = Some(desk.now);
            return true;
        }
        false
    }

    fn give_up_hope(&mut self, desk: &mut Desk) {
        let told: Vec<_> = self
            .sources
            .iter()
            .map(|source| format!("{} {}", source.addr, source.why.as_deref().unwrap_or("was dropped")))
            .collect();
        let told = told.join("; ");
        if self.sources.iter().any(|source| source.lied) {
            self.fail(desk, Exit::Integrity, &format!("no source gives valid data: {told}"));
        } else if self.sources.iter().any(|source| source.fruitless >= SOURCE_FRUITLESS_MAX) {
            self.fail(desk, Exit::TimedOut, &format!("no source sends what it has: {told}"));
        } else {
            self.fail(desk, Exit::NotFound, &format!("no source is left that has it: {told}"));
        }
    }

    // ---- the clock -----------------------------------------------------------------------------------------------

    pub(super) fn on_tick(&mut self, desk: &mut Desk) {
        for index in 0..self.sources.len() {
            self.sources[index].on_tick(PROGRESS_INTERVAL);
            self.look_after(desk, index);
        }
        self.change_prover(desk);
        self.tell_progress(desk);
        if self.writing.is_empty() && desk.now.since(self.alive_at) >= NO_SOURCE_MAX {
            return self.fail_for_silence(desk);
        }
        self.pump(desk);
        if !matches!(self.phase, Phase::Over | Phase::Publishing) {
            desk.timers.set(Reason::Download(self.order.id), desk.now + PROGRESS_INTERVAL);
        }
    }

    /// Notes a source that says nothing, and ends the connection of one that goes on so.
    fn look_after(&mut self, desk: &mut Desk, index: SourceIndex) {
        let source = &self.sources[index];
        let quiet = desk.now.since(source.progress_at);
        let owes = source.outstanding() > 0;
        match source.state {
            SourceState::Connecting if source.conn.is_some() && desk.now.since(source.since) >= LOGIN_DEADLINE => {
                self.lose(desk, index, "does not welcome us");
            }
            SourceState::Active | SourceState::Stalled if owes && quiet >= ANSWER_DEADLINE => {
                self.lose(desk, index, "sends nothing");
            }
            SourceState::Active if owes && quiet >= STALL_AFTER => {
                self.set_state(desk, index, SourceState::Stalled, Some("sends nothing".into()));
                self.relieve(desk, index);
            }
            SourceState::Idle
            | SourceState::Connecting
            | SourceState::Active
            | SourceState::Stalled
            | SourceState::Lost
            | SourceState::Dropped => {}
        }
    }

    fn fail_for_silence(&mut self, desk: &mut Desk) {
        mark!(NobodySends);
        let why = |source: &Source| format!("{} {}", source.addr, source.why.as_deref().unwrap_or("sends nothing"));
        let told: Vec<_> = self.sources.iter().map(why).collect();
        let exit = if self.reached { Exit::TimedOut } else { Exit::Unreachable };
        let told = told.join("; ");
        self.fail(desk, exit, &format!("no source sent anything for {} s: {told}", NO_SOURCE_MAX.as_secs()));
    }

    fn tell_progress(&mut self, desk: &mut Desk) {
        self.readings.push_back((desk.now, self.bytes));
        if self.readings.len() > RATE_WINDOW + 1 {
            self.readings.pop_front();
        }
        let (since, from) = self.readings.front().copied().unwrap_or((desk.now, self.bytes));
        let micros = desk.now.since(since).as_micros().max(1);
        let rate = u128::from(self.bytes - from) * 1_000_000 / micros;
        let (bytes, size, sources) = (self.bytes, self.order.size, self.reports());
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        self.tell(desk, ClientEvent::Progress { bytes, size, rate, sources });
    }

    pub(super) fn set_state(&mut self, desk: &mut Desk, index: SourceIndex, state: SourceState, why: Option<String>) {
        let source = &mut self.sources[index];
        if source.state != state || source.why != why {
            (source.state, source.why, source.since) = (state, why, desk.now);
            let report = source.report();
            self.tell(desk, ClientEvent::Source(report));
        }
    }
}
