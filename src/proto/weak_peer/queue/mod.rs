//! The queue of downloads: which downloads exist, in which order they run, and how many run at a
//! time. Of each download it sees the command, the events and the `done`. It does not know how the
//! content is found and fetched. It is the client of each command that it runs, and passes the
//! events on to the clients that wait.
//!
//! A download is written to the file of the queue before it is reported to its client, and before
//! it starts. The file is written when a download comes, ends or is paused, or when its content and
//! destination become known.

mod entry;
mod file;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::context::{Context, Reason, queue_client};
use crate::config::{
    DOWNLOADS_MAX, PARALLEL, QUEUE_ENDED_MAX, QUEUE_ENTRIES_MAX, QUEUE_RETRY_FIRST, QUEUE_RETRY_MAX,
    QUEUE_RETRY_SESSION, QUEUE_SAVE_RETRY, QUEUE_WATCHERS_MAX,
};
use crate::error::{Exit, Failure};
use crate::proto::command::Get;
use crate::proto::disk::{DiskFailure, DiskWork, Parts};
use crate::proto::event::{DownloadReport, Outcome};
use crate::proto::{ClientEvent, ClientId, Command, Event};
use crate::time::Time;
use entry::{Entry, Known, State, Watcher, Why};

pub use file::{Newer, Saved};

/// How the queue of a peer works.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// Downloads at once, 1 to [`DOWNLOADS_MAX`].
    pub parallel: usize,
    /// Whether the driver keeps the queue in a file.
    pub kept: bool,
    /// The contents of the file at the start.
    pub saved: Saved,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig { parallel: PARALLEL, kept: false, saved: Saved::default() }
    }
}

/// What the queue asks of the commands and downloads.
#[derive(Debug)]
pub(super) enum Step {
    /// Run this command for this client.
    Start(ClientId, Get),
    /// Drop the command of this client.
    Stop(ClientId),
}

/// The queue. It is off in a peer that runs one command and ends.
#[derive(Default)]
pub(super) struct Queue {
    on: bool,
    kept: bool,
    parallel: usize,
    /// How many downloads ran when `parallel` last changed. They continue.
    running_before: usize,
    /// The entries by number. This is the order in which they run.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// The entry of each command that runs.
    runs: BTreeMap<ClientId, u64>,
    next_run: u64,
    /// Commands that must be dropped.
    stops: VecDeque<ClientId>,
    /// Whether an entry may be ready to start.
    look: bool,
    /// Whether the file must be written.
    changed: bool,
    /// While the file is being written: entries with lower numbers will be in it.
    saving: Option<u64>,
    /// Entries with lower numbers are in the file.
    durable: u64,
    /// Whether the disk has failed. The file is written again when the timer expires.
    rests: bool,
    over: bool,
    /// Part files that no entry used when the disk last looked.
    parts: Parts,
    /// Whether the disk is looking for such part files.
    looking: bool,
    /// Whether the disk must look again.
    stale: bool,
}

impl Queue {
    pub(super) fn new(config: QueueConfig) -> Queue {
        let QueueConfig { parallel, kept, saved } = config;
        let next = saved.next.max(1);
        Queue {
            on: true,
            kept,
            parallel: parallel.clamp(1, DOWNLOADS_MAX),
            entries: saved.entries.into_iter().collect(),
            next,
            look: true,
            durable: if kept { next } else { u64::MAX },
            stale: kept,
            ..Queue::default()
        }
    }

    /// From now on this many downloads run at once. Those that run continue.
    pub(super) fn set_parallel(&mut self, parallel: usize) {
        self.parallel = parallel.clamp(1, DOWNLOADS_MAX);
        self.running_before = self.runs.len();
        self.look = true;
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.runs.len() <= self.parallel.max(self.running_before));
        for (id, entry) in &self.entries {
            assert!(*id < self.next);
            if let State::Running { run } = &entry.state {
                assert_eq!(self.runs.get(run), Some(id));
            }
        }
    }

    /// The number of entries in each state, for STATUS.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut counts = [("queue_queued", 0), ("queue_running", 0), ("queue_waiting", 0), ("queue_paused", 0)];
        for entry in self.entries.values() {
            let place = match entry.state {
                State::Queued => 0,
                State::Running { .. } => 1,
                State::Waiting { .. } => 2,
                State::Paused(_) => 3,
                State::Done | State::Failed(_) => continue,
            };
            counts[place].1 += 1;
        }
        counts.into_iter().chain([("parts_unused", self.parts.files), ("parts_unused_bytes", self.parts.bytes)])
    }

    /// The entries that have not ended, for STATUS.
    pub(super) fn reports(&self, now: Time) -> Vec<DownloadReport> {
        let pending = self.entries.iter().filter(|(_, entry)| !entry.has_ended());
        pending.map(|(id, entry)| entry.report(*id, now)).collect()
    }

    fn pending(&self) -> usize {
        self.entries.values().filter(|entry| !entry.has_ended()).count()
    }

    // ---- commands -------------------------------------------------------------------------------

    /// Handles a command that is for the queue. Returns any other command.
    pub(super) fn on_command(&mut self, cx: &mut Context, client: ClientId, command: Command) -> Option<Command> {
        match command {
            Command::Get(get) if self.on => self.add(cx, Watcher { client, patient: false }, get),
            Command::Queue(get) if self.on => self.add(cx, Watcher { client, patient: true }, get),
            Command::Queue(get) | Command::Fetch(get) => return Some(Command::Get(get)),
            Command::Downloads if self.on => self.list(cx, client),
            Command::Clean if self.on => self.look_for_parts(cx, Some(client)),
            Command::Cancel { id } if self.on => self.cancel(cx, client, id),
            Command::Pause { id } if self.on => self.pause(cx, client, id),
            Command::Resume { id } if self.on => self.resume(cx, client, id),
            Command::Downloads
            | Command::Clean
            | Command::Reload
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. } => {
                fail(cx, client, Exit::Usage, "only a running peer has a queue of downloads");
            }
            Command::Get(_)
            | Command::Aim { .. }
            | Command::Uri { .. }
            | Command::Query { .. }
            | Command::Subscribe { .. }
            | Command::List { .. }
            | Command::Network { .. }
            | Command::User(_)
            | Command::Limit { .. }
            | Command::Status => {
                return Some(command);
            }
        }
        None
    }

    fn add(&mut self, cx: &mut Context, watcher: Watcher, get: Get) {
        let same = |(_, entry): &(&u64, &mut Entry)| !entry.has_ended() && entry.is_of(&get);
        if let Some((id, _)) = self.entries.iter_mut().find(same) {
            let id = *id;
            return self.join(cx, watcher, id);
        }
        if self.pending() >= QUEUE_ENTRIES_MAX {
            let why = format!("{QUEUE_ENTRIES_MAX} downloads are in the queue; try again when some are over");
            return fail(cx, watcher.client, Exit::Internal, &why);
        }
        // A repeated command replaces the download that has ended.
        self.entries.retain(|_, entry| !entry.has_ended() || !entry.is_of(&get));
        let entry = Entry { watchers: vec![watcher], stays: watcher.patient, ..Entry::new(get, State::Queued) };
        let id = self.next;
        self.entries.insert(id, entry);
        self.next += 1;
        self.rests = false;
        self.change();
        if self.durable > id {
            self.accept(cx, id);
        }
    }

    /// A client orders a download that is in the queue already, and waits for it too.
    fn join(&mut self, cx: &mut Context, watcher: Watcher, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.watchers.len() >= QUEUE_WATCHERS_MAX {
            let why = format!("{QUEUE_WATCHERS_MAX} clients wait for this download already");
            return fail(cx, watcher.client, Exit::Internal, &why);
        }
        entry.watchers.push(watcher);
        entry.stays |= watcher.patient;
        if matches!(entry.state, State::Waiting { .. } | State::Paused(_)) {
            entry.state = State::Queued;
            self.change();
        }
        if self.durable > id {
            let report = self.entries[&id].report(id, cx.now);
            cx.report(watcher.client, ClientEvent::Download(report));
        }
    }

    fn list(&self, cx: &mut Context, client: ClientId) {
        let now = cx.now;
        for (id, entry) in self.entries.range(..self.durable) {
            cx.report(client, ClientEvent::Download(entry.report(*id, now)));
        }
        cx.done(client, Outcome { ok: true, ..Outcome::default() });
    }

    /// Looks for part files that no entry uses. If a client asked for it, removes them too.
    fn look_for_parts(&mut self, cx: &mut Context, client: Option<ClientId>) {
        let (mut folders, mut keep, mut spare) = (BTreeSet::new(), Vec::new(), false);
        for entry in self.entries.values() {
            let path = entry.known.path.as_ref().map(PathBuf::from);
            folders.extend(path.as_ref().and_then(|path| path.parent()).map(PathBuf::from));
            if !matches!(entry.state, State::Done) {
                spare |= entry.has_many() && entry.get.out.is_none();
                keep.extend(path.or_else(|| entry.get.out.clone()));
            }
        }
        self.looking = true;
        let folders = folders.into_iter().collect();
        cx.disk(DiskWork::LookForParts { client, folders, keep, spare, remove: client.is_some() });
    }

    pub(super) fn on_parts(
        &mut self,
        cx: &mut Context,
        (client, removed): (Option<ClientId>, bool),
        result: Result<Parts, DiskFailure>,
    ) {
        self.looking = false;
        if let Ok(parts) = &result {
            self.parts = if removed { Parts::default() } else { *parts };
        }
        let Some(client) = client else { return };
        match result {
            Ok(Parts { files, bytes }) => {
                let outcome = Outcome { ok: true, files: Some(files), bytes: Some(bytes), ..Outcome::default() };
                cx.done(client, outcome);
            }
            Err(failure) => fail(cx, client, Exit::Disk, &failure.message),
        }
    }

    /// The entry with this number. If there is none, the command of the client fails.
    fn named(&mut self, cx: &mut Context, client: ClientId, id: u64) -> Option<&mut Entry> {
        if !self.entries.contains_key(&id) {
            let listed =
                if self.entries.is_empty() { "the queue is empty" } else { "the list of downloads has all numbers" };
            fail(cx, client, Exit::NotFound, &format!("there is no download {id}; {listed}"));
        }
        self.entries.get_mut(&id)
    }

    fn cancel(&mut self, cx: &mut Context, client: ClientId, id: u64) {
        let now = cx.now;
        let Some(entry) = self.named(cx, client, id) else { return };
        if !entry.has_ended() {
            cx.event(Event::Download(entry.canceled(id, now)));
        }
        self.stop(id);
        self.stale = self.kept;
        let watchers = self.entries.remove(&id).map(|entry| entry.watchers).unwrap_or_default();
        for watcher in watchers {
            fail(cx, watcher.client, Exit::Internal, &format!("download {id} was canceled; what was fetched is kept"));
        }
        self.change();
        cx.done(client, Outcome { ok: true, ..Outcome::default() });
    }

    fn pause(&mut self, cx: &mut Context, client: ClientId, id: u64) {
        let Some(entry) = self.named(cx, client, id) else { return };
        if entry.has_ended() {
            return fail(cx, client, Exit::Usage, &format!("download {id} is over"));
        }
        self.stop(id);
        self.set_state(cx, id, State::Paused(None));
        self.note(cx, id);
        self.change();
        cx.done(client, Outcome { ok: true, ..Outcome::default() });
    }

    fn resume(&mut self, cx: &mut Context, client: ClientId, id: u64) {
        let Some(entry) = self.named(cx, client, id) else { return };
        match entry.state {
            State::Done => return fail(cx, client, Exit::Usage, &format!("download {id} is done")),
            State::Queued | State::Running { .. } => {}
            State::Waiting { .. } | State::Paused(_) | State::Failed(_) => {
                // A user who names a download wants it to wait for a source.
                entry.stays = true;
                self.set_state(cx, id, State::Queued);
                self.change();
            }
        }
        cx.done(client, Outcome { ok: true, ..Outcome::default() });
    }

    /// A client is gone. The downloads that it ordered continue without it.
    pub(super) fn on_client_gone(&mut self, client: ClientId) {
        for entry in self.entries.values_mut() {
            let before = entry.watchers.len();
            entry.watchers.retain(|watcher| watcher.client != client);
            entry.stays |= entry.watchers.len() < before;
        }
    }

    // ---- running --------------------------------------------------------------------------------

    /// The next step: first commands that must be dropped, then commands that must run.
    pub(super) fn poll_step(&mut self, cx: &mut Context) -> Option<Step> {
        if let Some(run) = self.stops.pop_front() {
            return Some(Step::Stop(run));
        }
        self.save(cx);
        if self.stale && !self.looking && !self.over {
            self.stale = false;
            self.look_for_parts(cx, None);
        }
        if !self.look || self.runs.len() >= self.parallel {
            return None;
        }
        let ready = |(_, entry): &(&u64, &mut Entry)| entry.state == State::Queued;
        let Some((id, entry)) = self.entries.range_mut(..self.durable).find(ready) else {
            self.look = false;
            return None;
        };
        self.next_run += 1;
        let run = queue_client(self.next_run);
        entry.state = State::Running { run };
        entry.rate = 0;
        entry.placed = entry.known.path.is_some();
        entry.many = false;
        (entry.sources, entry.swarm) = (Vec::new(), None);
        self.runs.insert(run, *id);
        Some(Step::Start(run, entry.command()))
    }

    /// Handles an event of a running command.
    pub(super) fn on_event(&mut self, cx: &mut Context, run: ClientId, event: ClientEvent) {
        let Some(id) = self.runs.get(&run).copied().filter(|_| !self.over) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match &event {
            ClientEvent::Start { name, size, root, path, .. } if !entry.many => {
                let known =
                    Known { root: Some(*root), name: Some(name.clone()), path: path.clone(), size: Some(*size) };
                if entry.known != known {
                    entry.known = known;
                    self.changed = true;
                }
                cx.event(Event::Download(entry.report(id, cx.now)));
            }
            ClientEvent::Files { size, .. } => {
                (entry.many, entry.known.size) = (true, Some(*size));
                cx.event(Event::Download(entry.report(id, cx.now)));
            }
            ClientEvent::Progress { bytes, size, rate, sources, swarm, .. } => {
                (entry.bytes, entry.rate, entry.known.size) = (*bytes, *rate, Some(*size));
                entry.sources.clone_from(sources);
                entry.swarm = *swarm;
            }
            ClientEvent::Done(outcome) => {
                let outcome = outcome.clone();
                self.runs.remove(&run);
                self.change();
                return self.on_done(cx, id, outcome);
            }
            ClientEvent::Source(report) if report.state.is_trouble() => {
                cx.event(Event::Source { download: id, report: report.clone() });
            }
            ClientEvent::Start { .. }
            | ClientEvent::Hit { .. }
            | ClientEvent::Result { .. }
            | ClientEvent::File { .. }
            | ClientEvent::Content { .. }
            | ClientEvent::Piece { .. }
            | ClientEvent::Source(_)
            | ClientEvent::Item(_)
            | ClientEvent::Uri { .. }
            | ClientEvent::Download(_)
            | ClientEvent::Status { .. }
            | ClientEvent::User(_)
            | ClientEvent::Limits(_)
            | ClientEvent::Note { .. } => {}
        }
        for watcher in &entry.watchers {
            cx.report(watcher.client, event.clone());
        }
    }

    fn on_done(&mut self, cx: &mut Context, id: u64, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if outcome.ok {
            entry.known.path = outcome.path.as_ref().and_then(|path| path.to_str()).map(str::to_owned);
            entry.known.root = outcome.root.or(entry.known.root);
            entry.known.size = outcome.bytes.or(entry.known.size);
            entry.bytes = outcome.bytes.unwrap_or(entry.bytes);
            entry.tries = 0;
            return self.end(cx, id, State::Done, &outcome);
        }
        let error = outcome.error.clone().unwrap_or_else(|| "failed".to_owned());
        let why = Why { exit: outcome.exit, error };
        // An earlier run has chosen the destination, and another file may be there now.
        if outcome.exit == Exit::Disk.code() && entry.get.out.is_none() && entry.placed {
            entry.known.path = None;
            entry.state = State::Queued;
        } else if outcome.needs_user && entry.stays {
            self.end(cx, id, State::Paused(Some(why)), &outcome);
        } else if Exit::may_pass(outcome.exit) && entry.stays {
            self.wait(cx, id, why, &outcome);
        } else {
            self.end(cx, id, State::Failed(why), &outcome);
        }
    }

    /// No source can be used: the download is tried again later. For clients that do not wait, this
    /// is the end.
    fn wait(&mut self, cx: &mut Context, id: u64, why: Why, outcome: &Outcome) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let longest = (QUEUE_RETRY_FIRST * (1 << entry.tries.min(16))).min(QUEUE_RETRY_MAX);
        entry.tries += 1;
        let until = cx.now + longest / 2 + cx.jitter(longest / 2);
        for watcher in entry.watchers.extract_if(.., |watcher| !watcher.patient) {
            cx.done(watcher.client, outcome.clone());
        }
        self.set_state(cx, id, State::Waiting { why, until });
        self.note(cx, id);
        cx.timers.set_earlier(Reason::Retry, until);
    }

    fn end(&mut self, cx: &mut Context, id: u64, state: State, outcome: &Outcome) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.state = state;
        cx.event(Event::Download(entry.report(id, cx.now)));
        for watcher in entry.watchers.drain(..) {
            cx.done(watcher.client, outcome.clone());
        }
        let ended = self.entries.iter().filter(|(_, entry)| entry.has_ended());
        let ended: Vec<_> = ended.map(|(id, _)| *id).collect();
        for oldest in &ended[..ended.len().saturating_sub(QUEUE_ENDED_MAX)] {
            self.entries.remove(oldest);
        }
    }

    /// Drops the command of the entry, if one runs.
    fn stop(&mut self, id: u64) {
        if let Some(State::Running { run }) = self.entries.get(&id).map(|entry| &entry.state) {
            self.runs.remove(run);
            self.stops.push_back(*run);
        }
    }

    /// Reports the state as an event of the node.
    fn note(&self, cx: &mut Context, id: u64) {
        if let Some(entry) = self.entries.get(&id) {
            cx.event(Event::Download(entry.report(id, cx.now)));
        }
    }

    /// Changes the state and reports it to the clients that wait.
    fn set_state(&mut self, cx: &mut Context, id: u64, state: State) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.state = state;
        entry.rate = 0;
        self.accept(cx, id);
    }

    fn accept(&self, cx: &mut Context, id: u64) {
        let Some(entry) = self.entries.get(&id) else { return };
        let report = entry.report(id, cx.now);
        for watcher in &entry.watchers {
            cx.report(watcher.client, ClientEvent::Download(report.clone()));
        }
    }

    // ---- time and sessions ----------------------------------------------------------------------

    /// Entries whose wait is over may run again.
    pub(super) fn on_retry_due(&mut self, cx: &mut Context) {
        let mut next = None;
        for entry in self.entries.values_mut() {
            if let State::Waiting { until, .. } = entry.state {
                if until <= cx.now {
                    entry.state = State::Queued;
                    self.look = true;
                } else {
                    next = Some(next.map_or(until, |next: Time| next.min(until)));
                }
            }
        }
        if let Some(next) = next {
            cx.timers.set_earlier(Reason::Retry, next);
        }
    }

    /// A session is up: downloads that wait for a source may find one now.
    pub(super) fn on_session_up(&mut self, cx: &mut Context) {
        for entry in self.entries.values_mut() {
            if let State::Waiting { until, .. } = &mut entry.state {
                *until = (*until).min(cx.now + cx.jitter(QUEUE_RETRY_SESSION));
                cx.timers.set_earlier(Reason::Retry, *until);
            }
        }
    }

    // ---- the file -------------------------------------------------------------------------------

    fn change(&mut self) {
        (self.changed, self.look) = (true, true);
    }

    fn save(&mut self, cx: &mut Context) {
        if !self.kept || !self.changed || self.saving.is_some() || self.rests || self.over {
            return;
        }
        self.changed = false;
        self.saving = Some(self.next);
        cx.disk(DiskWork::SaveQueue { lines: file::text(self.next, self.entries.iter()) });
    }

    pub(super) fn on_saved(&mut self, cx: &mut Context, result: Result<(), DiskFailure>) {
        let Some(below) = self.saving.take() else { return };
        match result {
            Ok(()) => {
                let new: Vec<u64> = self.entries.range(self.durable..below).map(|(id, _)| *id).collect();
                self.durable = below;
                self.look = true;
                new.into_iter().for_each(|id| self.accept(cx, id));
            }
            Err(failure) => {
                cx.warn(format!("the queue of downloads is not saved: {}", failure.message));
                self.refuse(cx, &failure.message);
                (self.changed, self.rests) = (true, true);
                cx.timers.set(Reason::Save, cx.now + QUEUE_SAVE_RETRY);
            }
        }
    }

    /// Removes the entries that could not be saved, and reports the failure to their clients.
    fn refuse(&mut self, cx: &mut Context, why: &str) {
        let new: Vec<u64> = self.entries.range(self.durable..).map(|(id, _)| *id).collect();
        for entry in new.into_iter().filter_map(|id| self.entries.remove(&id)) {
            for watcher in entry.watchers {
                fail(cx, watcher.client, Exit::Disk, &format!("the download cannot be put in the queue: {why}"));
            }
        }
    }

    pub(super) fn on_save_due(&mut self) {
        self.rests = false;
    }

    /// The peer ends. The file needs no change: downloads that run continue at the next start.
    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        self.over = true;
        for entry in self.entries.values_mut() {
            for watcher in entry.watchers.drain(..) {
                fail(cx, watcher.client, Exit::Internal, "the peer ends; the download goes on when it starts again");
            }
        }
    }
}

fn fail(cx: &mut Context, client: ClientId, exit: Exit, why: &str) {
    cx.done(client, Outcome::failed(&Failure::new(exit, why)));
}
