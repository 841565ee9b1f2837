//! The files of one collection, or the small files of one command: which are listed, requested,
//! placed and lost, and how the set ends. The disk compares and publishes files; the downloads
//! fetch large ones. A file of a command may not come from its holders, or the disk may not place
//! it. Then the file gets a download of its own, which reports the reason.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::command::{Command, FileEnd};
use super::holder::Holder;
use crate::config::{
    ANSWER_DEADLINE, COLLECTION_BATCH_FILES, COLLECTION_LARGE_MAX, COLLECTION_NAMED_MAX, COLLECTION_PAGE_FILES,
    PIECE_BYTES, PROGRESS_INTERVAL,
};
use crate::error::{Exit, Failure};
use crate::proto::disk::{
    CollectionDone, CollectionStep, Destination, DiskFailure, DiskFailureKind, Listed, Missing, Unplaced,
};
use crate::proto::event::{Outcome, SourceReport, SourceState};
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::context::{Context, Reason, millis};
use crate::proto::weak_peer::download::{Order, Pool, Progress, is_possible};
use crate::proto::{ClientEvent, ClientId, DiskWork, DownloadId};
use crate::wire::collection::Item;

/// The files of one collection, or the small files of one command.
pub(super) struct Set {
    /// The order for the collection or for the command. The order of a command has no content of
    /// its own.
    pub(super) order: Order,
    /// State that only a command needs; none for a collection.
    pub(super) command: Option<Command>,
    /// Whether a holder may have been lost that was the only one for some files.
    pub(super) stranded: bool,
    folder: Option<PathBuf>,
    pub(super) holders: Vec<Holder>,
    pub(super) next_req: u32,
    /// Whether the disk was asked for a page that has not come yet.
    listing: bool,
    /// Whether the last page has come.
    listed: bool,
    pub(super) small: VecDeque<Missing>,
    /// Files that need downloads of their own, and whether the holders of the collection may have
    /// each.
    large: VecDeque<(Missing, bool)>,
    running: BTreeMap<DownloadId, Missing>,
    /// Files that are written or being written, but not published.
    ///
    /// It is below 0 if files of a page are published before the page was read.
    pub(super) placing: i64,
    files: u64,
    bytes: u64,
    /// Bytes that were at the destination at the start.
    there_bytes: u64,
    done_files: u64,
    done_bytes: u64,
    lost: Vec<String>,
    lost_files: u64,
    /// Bytes that were fetched, at the last few ticks.
    rates: VecDeque<u64>,
    /// The outcome, from the end until the disk has closed the collection.
    ending: Option<Outcome>,
    /// The outcome, from the time when the disk has closed the collection until it is reported.
    pub(super) outcome: Option<Outcome>,
    over: bool,
}

impl Set {
    pub(super) fn begin(cx: &mut Context, order: Order, holders: Vec<Contact>) -> Set {
        let (id, root) = (order.id, order.root);
        let destination = if let Destination::Collection(files) = &order.destination {
            (**files).clone()
        } else {
            order.destination.clone()
        };
        cx.disk(DiskWork::Collection { download: id, step: CollectionStep::Open { destination, root } });
        let sources = holders.len();
        let name = order.name.clone();
        report_of(&order, cx, ClientEvent::Start { name, size: 0, root, sources, resumed: 0, path: None });
        Set::new(cx, order, holders)
    }

    /// A set for the small files of a command. The command hands them over page by page.
    pub(super) fn begin_command(cx: &mut Context, order: Order) -> Set {
        let folder = match &order.destination {
            Destination::Below { folder, .. } => folder.clone(),
            Destination::Share { .. } | Destination::Path { .. } | Destination::Collection(_) => None,
        };
        cx.disk(DiskWork::Collection { download: order.id, step: CollectionStep::OpenBelow { folder } });
        Set { command: Some(Command::default()), ..Set::new(cx, order, Vec::new()) }
    }

    fn new(cx: &mut Context, order: Order, holders: Vec<Contact>) -> Set {
        cx.timers.set(Reason::Collection(order.id), cx.now + PROGRESS_INTERVAL);
        Set {
            order,
            command: None,
            stranded: false,
            folder: None,
            holders: holders.into_iter().map(Holder::new).collect(),
            next_req: 1,
            listing: false,
            listed: false,
            small: VecDeque::new(),
            large: VecDeque::new(),
            running: BTreeMap::new(),
            placing: 0,
            files: 0,
            bytes: 0,
            there_bytes: 0,
            done_files: 0,
            done_bytes: 0,
            lost: Vec::new(),
            lost_files: 0,
            rates: VecDeque::new(),
            ending: None,
            outcome: None,
            over: false,
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.order.client
    }

    /// Whether this set is a part of a command for several files. If so, that command reports the
    /// end.
    pub(super) fn is_part(&self) -> bool {
        self.order.is_part
    }

    /// Whether the command must hand over more files.
    pub(super) fn wants_files(&self) -> bool {
        self.command.is_some() && self.has_room()
    }

    /// A command hands over its next files, each with its sources; none if there are no more.
    pub(super) fn look(&mut self, cx: &mut Context, files: Vec<(Item, Vec<Contact>)>) {
        let Set { command: Some(command), holders, .. } = self else { return };
        (self.listing, self.listed) = (!files.is_empty(), files.is_empty());
        let mut items = Vec::new();
        for (item, sources) in files {
            command.hand_over(sources, holders);
            items.push(item);
        }
        if !items.is_empty() {
            self.step(cx, CollectionStep::Look { items });
        }
    }

    /// A file of a command that has ended, by its number. The first file that is handed over has
    /// the number 1.
    pub(super) fn poll_file_end(&mut self) -> Option<(u64, FileEnd)> {
        self.command.as_mut()?.ends.pop_front()
    }

    /// Gives a download of its own to a file that no holder sends over a shared connection.
    pub(super) fn part_with(&mut self, file: Missing, at_holders: bool) {
        match &mut self.command {
            Some(command) => command.end(file.number, FileEnd::Left),
            None => self.large.push_back((file, at_holders)),
        }
    }

    pub(super) fn step(&self, cx: &mut Context, step: CollectionStep) {
        cx.disk(DiskWork::Collection { download: self.order.id, step });
    }

    // ---- what can be done now -------------------------------------------------------------------

    pub(super) fn pump(&mut self, cx: &mut Context) {
        if self.over || self.folder.is_none() {
            return;
        }
        if self.command.is_none() && self.has_room() {
            self.listing = true;
            self.step(cx, CollectionStep::List);
        }
        self.dial_more(cx);
        for index in 0..self.holders.len() {
            self.ask_more(cx, index);
        }
        if std::mem::take(&mut self.stranded) {
            let served = |file: &Missing| match &self.command {
                Some(command) => command.holders_of(file).iter().any(|index| !self.holders[*index].over),
                None => self.holders.iter().any(|holder| !holder.over),
            };
            let files = std::mem::take(&mut self.small);
            let (small, stranded): (VecDeque<_>, VecDeque<_>) = files.into_iter().partition(served);
            self.small = small;
            stranded.into_iter().for_each(|file| self.part_with(file, false));
        }
        let asked = self.holders.iter().any(|holder| !holder.asked.is_empty());
        let busy = asked || !self.small.is_empty() || !self.large.is_empty() || !self.running.is_empty();
        if self.listed && !busy && self.placing == 0 {
            self.finish(cx);
        }
    }

    /// Whether more files can be listed now.
    fn has_room(&self) -> bool {
        let waiting = self.small.len().max(self.large.len());
        let unplaced = usize::try_from(self.placing).unwrap_or(0);
        let full = waiting >= COLLECTION_PAGE_FILES / 2 || unplaced >= 2 * COLLECTION_BATCH_FILES;
        !self.over && self.folder.is_some() && !self.listing && !self.listed && !full
    }

    /// The order for the next file that is a download of its own, with this id.
    pub(super) fn poll_order(&mut self, id: DownloadId) -> Option<Order> {
        if self.over || self.running.len() >= COLLECTION_LARGE_MAX {
            return None;
        }
        debug_assert!(self.command.is_none() || self.large.is_empty(), "a command has downloads of its own");
        let (file, at_holders) = self.large.pop_front()?;
        let mut pool = Pool::default();
        if at_holders {
            let holders = self.holders.iter().filter(|holder| !holder.over);
            holders.for_each(|holder| pool.add(holder.contact(), file.size));
        }
        let name = file.path.name().to_owned();
        let destination = Destination::Path { path: file.full.clone(), name: name.clone() };
        let root = file.root;
        self.running.insert(id, file);
        let parent = Some(self.order.id);
        let widen = !self.order.only;
        let order = Order { id, parent, root, name, destination, pool, widen, ..self.order.clone() };
        Some(Order { searching: false, collection: false, ..order })
    }

    // ---- the disk -------------------------------------------------------------------------------

    pub(super) fn on_disk(&mut self, cx: &mut Context, done: CollectionDone) {
        match done {
            CollectionDone::Opened(Ok(folder)) => self.folder = Some(folder),
            // The files that were not handed over stay with the command.
            CollectionDone::Opened(Err(_)) if self.command.is_some() => self.finish(cx),
            CollectionDone::Opened(Err(failure)) | CollectionDone::Listed(Err(failure)) => self.fail(cx, &failure),
            CollectionDone::Listed(Ok(listed)) => self.on_listed(cx, listed),
            // The record in the index was wrong: anyone can register any content as a collection.
            CollectionDone::IsFile(Ok((path, size))) => {
                (self.folder, self.done_bytes) = (Some(path), size);
                self.end(cx, Outcome { ok: true, ..Outcome::default() }, false);
                if let Some(outcome) = &mut self.ending {
                    outcome.files = None;
                }
            }
            CollectionDone::IsFile(Err(failure)) => self.fail(cx, &failure),
            CollectionDone::Closed => self.outcome = self.ending.take(),
            CollectionDone::Written(Ok(())) => {}
            CollectionDone::Written(Err(unplaced)) => {
                self.placing -= 1;
                self.lose_file(cx, &unplaced);
            }
            CollectionDone::Placed { files, bytes, failed } => {
                self.placing -= (files.len() + failed.len()) as i64;
                self.done_files += files.len() as u64;
                self.done_bytes += bytes;
                failed.iter().for_each(|unplaced| self.lose_file(cx, unplaced));
                if let Some(command) = &mut self.command {
                    files.into_iter().for_each(|(number, path)| command.end(number, FileEnd::Placed(path)));
                }
            }
        }
    }

    fn on_listed(&mut self, cx: &mut Context, listed: Listed) {
        let Listed { files, bytes, there_files, there_bytes, there, copied, missing, failed, last } = listed;
        self.listing = false;
        self.listed = last;
        self.stranded = true;
        if let Some(command) = &mut self.command {
            command.turns = true;
            there.into_iter().for_each(|(number, path)| command.end(number, FileEnd::There(path)));
        }
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.there_bytes += there_bytes;
        self.done_files += there_files;
        self.done_bytes += there_bytes;
        self.placing += copied as i64;
        failed.iter().for_each(|unplaced| self.lose_file(cx, unplaced));
        for file in missing {
            if !is_possible(file.root, file.size) && self.command.is_none() {
                self.lose(file.path.as_str(), "no content can have its size");
            } else if file.size > PIECE_BYTES {
                self.part_with(file, true);
            } else {
                self.small.push_back(file);
            }
        }
    }

    // ---- downloads of single files --------------------------------------------------------------

    pub(super) fn on_file_ended(&mut self, cx: &mut Context, id: DownloadId, outcome: &Outcome) {
        let Some(file) = self.running.remove(&id) else { return };
        if outcome.ok {
            self.done_files += 1;
            self.done_bytes += file.size;
            self.there_bytes += outcome.resumed.unwrap_or(0);
            return;
        }
        let why = outcome.error.as_deref().unwrap_or("failed").to_owned();
        if outcome.exit == Exit::Disk.code() && why.contains("No space") {
            return self.fail(cx, &DiskFailure { kind: DiskFailureKind::Full, message: why });
        }
        self.lose(&format!("{} {}", file.path.as_str(), file.root), &why);
    }

    // ---- the clock and the end ------------------------------------------------------------------

    pub(super) fn on_tick(&mut self, cx: &mut Context, progress_of: impl Fn(DownloadId) -> Progress) {
        let rate_min = cx.source_rate_min();
        for index in 0..self.holders.len() {
            let holder = &self.holders[index];
            let waits = holder.conn.is_some() && (!holder.welcomed || !holder.asked.is_empty());
            let oldest = holder.asked.first_key_value().map_or(0, |(_, asked)| asked.file.size);
            let patience = ANSWER_DEADLINE + Duration::from_millis(oldest * 1000 / rate_min);
            if waits && cx.now.since(holder.heard_at) >= ANSWER_DEADLINE {
                self.put_away(cx, index, false, "sends nothing");
            } else if waits && cx.now.since(holder.served_at) >= patience {
                self.put_away(cx, index, false, "sends too little");
            }
        }
        if let Some(command) = &mut self.command {
            command.turns = true;
        }
        let Progress { bytes, resumed, .. } = self.progress(progress_of);
        let fetched = bytes.saturating_sub(resumed);
        if self.rates.len() > 8 {
            self.rates.pop_front();
        }
        let since = self.rates.front().copied().unwrap_or(fetched);
        let ticks = u64::try_from(self.rates.len()).unwrap_or(1).max(1);
        self.rates.push_back(fetched);
        let rate = fetched.saturating_sub(since) * 1000 / (millis(PROGRESS_INTERVAL) * ticks).max(1);
        let (size, sources) = (self.bytes, self.reports());
        report_of(
            &self.order,
            cx,
            ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms: None, swarm: None },
        );
        cx.timers.set(Reason::Collection(self.order.id), cx.now + PROGRESS_INTERVAL);
    }

    /// How far its files are. `of` returns how far a file's own download is.
    pub(super) fn progress(&self, of: impl Fn(DownloadId) -> Progress) -> Progress {
        let begun = Progress { bytes: self.done_bytes, resumed: self.there_bytes, size: Some(self.bytes) };
        self.running.keys().fold(begun, |all, id| all.plus(of(*id)))
    }

    /// Correct bytes that the holders have sent.
    pub(super) fn bytes_received(&self) -> u64 {
        self.holders.iter().map(|holder| holder.bytes).sum()
    }

    fn reports(&self) -> Vec<SourceReport> {
        self.holders.iter().map(|holder| report(holder, None)).collect()
    }

    /// A file that the disk could not place.
    fn lose_file(&mut self, cx: &mut Context, Unplaced { number, path, failure }: &Unplaced) {
        if let Some(command) = &mut self.command {
            command.end(*number, FileEnd::Left);
        } else if failure.kind == DiskFailureKind::Full {
            self.fail(cx, failure);
        } else {
            self.lose(path, &failure.message);
        }
    }

    fn lose(&mut self, what: &str, why: &str) {
        self.lost_files += 1;
        if self.lost.len() < COLLECTION_NAMED_MAX {
            self.lost.push(format!("{what}: {why}"));
        }
    }

    fn fail(&mut self, cx: &mut Context, failure: &DiskFailure) {
        let exit = if failure.kind == DiskFailureKind::Malformed { Exit::Integrity } else { Exit::Disk };
        let failure = Failure::new(exit, failure.message.clone());
        self.end(cx, Outcome::failed(&failure), failure.exit == Exit::Integrity);
    }

    fn finish(&mut self, cx: &mut Context) {
        if self.lost_files == 0 {
            return self.end(cx, Outcome { ok: true, ..Outcome::default() }, true);
        }
        let mut names = self.lost.join("; ");
        let unnamed = self.lost_files - self.lost.len() as u64;
        if unnamed > 0 {
            names.push_str(&format!("; and {unnamed} others"));
        }
        let why = format!("{} of {} files are missing: {names}", self.lost_files, self.files);
        self.end(cx, Outcome::failed(&Failure::new(Exit::Partial, why)), false);
    }

    fn end(&mut self, cx: &mut Context, outcome: Outcome, complete: bool) {
        if self.over {
            return;
        }
        self.stop_with(cx, complete);
        self.ending = Some(Outcome {
            path: self.folder.clone(),
            root: Some(self.order.root),
            bytes: Some(self.done_bytes),
            resumed: Some(self.there_bytes),
            files: Some(self.done_files),
            elapsed_ms: Some(millis(cx.now.since(self.order.asked_at))),
            sources: Some(self.reports()),
            ..outcome
        });
    }

    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        let why = "the peer ends; repeat the command to resume the download";
        self.end(cx, Outcome::failed(&Failure::new(Exit::Internal, why)), false);
        self.outcome = self.ending.take();
    }

    /// Ends all connections, without an outcome.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.stop_with(cx, false);
    }

    fn stop_with(&mut self, cx: &mut Context, complete: bool) {
        self.over = true;
        for holder in &mut self.holders {
            if let Some(conn) = holder.conn.take() {
                cx.bye(conn, "done");
            }
            cx.give_up(holder.dial.take(), None);
            if std::mem::take(&mut holder.counted) {
                cx.hosts.end(&holder.addr, false);
            }
            holder.asked.clear();
        }
        cx.timers.stop(Reason::Collection(self.order.id));
        self.step(cx, CollectionStep::Close { complete });
    }
}

/// Sends an event to the client, unless the order is a part of a command for several files, which
/// reports for all its parts.
pub(super) fn report_of(order: &Order, cx: &mut Context, event: ClientEvent) {
    if !order.is_part {
        cx.report(order.client, event);
    }
}

pub(super) fn report(holder: &Holder, why: Option<String>) -> SourceReport {
    let state = match (holder.over, holder.conn, holder.dial) {
        (true, _, _) => SourceState::Dropped,
        (false, Some(_), _) if holder.welcomed => SourceState::Active,
        (false, Some(_), _) | (false, None, Some(_)) => SourceState::Connecting,
        (false, None, None) if holder.losses > 0 => SourceState::Lost,
        (false, None, None) => SourceState::Idle,
    };
    SourceReport {
        source: holder.addr.clone(),
        bytes: holder.bytes,
        pieces: holder.files,
        bad: 0,
        rate: None,
        partial: false,
        state,
        why,
    }
}
