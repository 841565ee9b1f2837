//! One command of many files: which files wait, which are being fetched, and how the others ended.

use std::collections::{BTreeMap, VecDeque};

use super::causes::Causes;
use super::entry::{Entry, Many};
use crate::config::{BATCH_DOWNLOADS_MAX, COLLECTION_PAGE_FILES, PROGRESS_INTERVAL, SMALL_DOWNLOADS_MAX};
use crate::error::{Exit, Failure};
use crate::proto::disk::{Destination, DiskFailure, DiskWork, Planned};
use crate::proto::event::{ClientEvent, ItemReport, Outcome};
use crate::proto::weak_peer::collecting::FileEnd;
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::context::{BatchId, Context, Reason, millis};
use crate::proto::weak_peer::download::{Order, Pool, Progress};
use crate::proto::{ClientId, DownloadId, EMPTY_ROOT};
use crate::time::Time;
use crate::wire::collection::Item;

/// The files of one command, and the state of each.
#[derive(Debug)]
pub(super) struct Job {
    id: BatchId,
    many: Many,
    /// Whether it has not begun, because the disk compares its files with the free space.
    waits: bool,
    /// Small files that are not begun, in the order in which they are handed over.
    items: VecDeque<Entry>,
    /// Small files that were handed over, by the number that each got.
    given: BTreeMap<u64, Entry>,
    /// How many small files were handed over.
    numbers: u64,
    /// The id under which the small files are fetched, until all of them are fetched.
    set: Option<DownloadId>,
    /// Files that need a download of their own and are not begun: files of at most one piece, and
    /// larger files.
    small: VecDeque<Entry>,
    large: VecDeque<Entry>,
    /// Files that were handed to the downloads.
    handed: BTreeMap<DownloadId, Entry>,
    /// How many of the handed files are small.
    handed_small: usize,
    /// The number of files of the command, including those that cannot be downloaded.
    files: u64,
    done: u64,
    /// The bytes of all files, as hits claim, and the bytes that are there.
    size: u64,
    bytes: u64,
    /// Bytes that were there at the start and need not be fetched.
    resumed: u64,
    failed: u64,
    /// How many of the failed files may succeed later without a change by the user.
    may_pass: u64,
    causes: Causes,
    /// The time and the bytes that were fetched, at the last tick.
    before: (Time, u64),
}

impl Job {
    pub(super) fn new(cx: &mut Context, id: BatchId, mut many: Many) -> Job {
        let waiting = std::mem::take(&mut many.entries);
        let (files, failed) = ((waiting.len() + many.failures.len()) as u64, many.failures.len() as u64);
        let may_pass = many.failures.iter().filter(|failure| Exit::may_pass(failure.exit.code())).count() as u64;
        let mut causes = Causes::default();
        many.failures.drain(..).for_each(|failure| causes.add(failure.exit.code(), None, failure.message));
        let size = waiting.iter().map(Entry::size).sum();
        cx.timers.set(Reason::Batch(id), cx.now + PROGRESS_INTERVAL);
        cx.report(many.client, ClientEvent::Files { files: waiting.len() as u64, size });
        let (items, others): (VecDeque<Entry>, VecDeque<Entry>) =
            waiting.into_iter().partition(|entry| entry.as_item().is_some());
        let (small, large) = others.into_iter().partition(Entry::is_small);
        let (before, handed_small) = ((cx.now, 0), 0);
        let (handed, done, bytes, resumed) = (BTreeMap::new(), 0, 0, 0);
        Job {
            id,
            many,
            waits: size > 0,
            items,
            given: BTreeMap::new(),
            numbers: 0,
            set: None,
            small,
            large,
            handed,
            handed_small,
            files,
            done,
            size,
            bytes,
            resumed,
            failed,
            may_pass,
            causes,
            before,
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.many.client
    }

    /// Whether every file is there or has failed.
    pub(super) fn is_over(&self) -> bool {
        let small = !self.waits
            && self.items.is_empty()
            && self.given.is_empty()
            && self.set.is_none()
            && self.small.is_empty();
        small && self.large.is_empty() && self.handed.is_empty()
    }

    // ---- room on the disk -----------------------------------------------------------------------

    /// The order to compare its files with the free space; none if this is not needed.
    pub(super) fn check(&self, download: DownloadId) -> Option<DiskWork> {
        let entries = self.items.iter().chain(&self.small).chain(&self.large);
        let planned = |entry: &Entry| Planned { path: entry.path.clone(), size: entry.least_size(), root: entry.root };
        let files = || entries.map(planned).collect();
        self.waits.then(|| DiskWork::CheckRoom { download, folder: self.many.folder.clone(), files: files() })
    }

    /// Its files fit.
    pub(super) fn begin(&mut self) {
        self.waits = false;
    }

    /// Its files do not fit: ends the command before anything is fetched.
    pub(super) fn refuse(self, cx: &mut Context, failure: DiskFailure) {
        let outcome = Outcome::failed(&Failure::new(Exit::Disk, failure.message));
        cx.done(self.many.client, Outcome { needs_user: true, ..outcome });
    }

    // ---- small files ----------------------------------------------------------------------------

    /// The one order for all small files, if there are small files and the order was not made yet.
    pub(super) fn small_order(&mut self, cx: &Context, id: DownloadId) -> Option<Order> {
        if self.waits || self.items.is_empty() || self.set.is_some() || self.numbers > 0 {
            return None;
        }
        self.set = Some(id);
        Some(Order { is_small: true, ..self.order(cx, id, &Entry::new("", EMPTY_ROOT)) })
    }

    /// The next page of small files, each with its sources.
    pub(super) fn next_items(&mut self) -> Vec<(Item, Vec<Contact>)> {
        let mut items = Vec::new();
        while items.len() < COLLECTION_PAGE_FILES
            && let Some(entry) = self.items.pop_front()
        {
            let Some(item) = entry.as_item() else { continue };
            self.numbers += 1;
            self.given.insert(self.numbers, entry);
            items.push(item);
        }
        items
    }

    /// A small file has ended.
    pub(super) fn on_file_end(&mut self, cx: &mut Context, number: u64, end: FileEnd) {
        let Some(entry) = self.given.remove(&number) else { return };
        let size = entry.size();
        let path = match end {
            FileEnd::Left => return self.small.push_back(entry),
            FileEnd::There(path) => {
                self.resumed += size;
                path
            }
            FileEnd::Placed(path) => path,
        };
        self.done += 1;
        self.bytes += size;
        let Entry { path: name, root, .. } = entry;
        let report = ItemReport { name, path: Some(path), size, root, exit: 0, error: None };
        cx.report(self.many.client, ClientEvent::Item(report));
    }

    /// No more small files are fetched together: each of the remaining ones needs a download of its
    /// own.
    fn end_items(&mut self) {
        self.set = None;
        self.small.extend(std::mem::take(&mut self.given).into_values());
        self.small.append(&mut self.items);
    }

    // ---- downloads of their own -----------------------------------------------------------------

    /// The next file for the downloads, if few files of this command are there now.
    pub(super) fn next_order(&mut self, cx: &mut Context, id: DownloadId) -> Option<Order> {
        if self.waits {
            return None;
        }
        let small = self.small.pop_front_if(|_| self.handed_small < SMALL_DOWNLOADS_MAX);
        let is_small = small.is_some();
        let has_room = self.handed.len() - self.handed_small < BATCH_DOWNLOADS_MAX;
        let entry = small.or_else(|| self.large.pop_front_if(|_| has_room))?;
        self.handed_small += usize::from(is_small);
        let mut pool = Pool::default();
        entry.sources.iter().for_each(|(at, size)| pool.offer(cx, at.clone(), Some(*size)));
        let order = Order { pool, is_small, ..self.order(cx, id, &entry) };
        self.handed.insert(id, entry);
        Some(order)
    }

    /// The order for an entry, without sources.
    fn order(&self, cx: &Context, id: DownloadId, entry: &Entry) -> Order {
        let Many { client, verify, pieces, timeout, only, .. } = self.many;
        let destination = Destination::Below { folder: self.many.folder.clone(), path: entry.path.clone() };
        let destination = if entry.collection { Destination::Collection(Box::new(destination)) } else { destination };
        Order {
            id,
            client,
            asked_at: cx.now,
            root: entry.root,
            name: entry.path.clone(),
            verify,
            pieces,
            destination,
            timeout,
            pool: Pool::default(),
            only,
            widen: false,
            searching: false,
            is_small: false,
            is_part: true,
            parent: None,
            collection: entry.collection,
        }
    }

    /// A download of one of its files has ended.
    pub(super) fn on_done(&mut self, cx: &mut Context, download: DownloadId, outcome: &Outcome) {
        if self.set == Some(download) {
            return self.end_items();
        }
        let Some(entry) = self.handed.remove(&download) else { return };
        self.handed_small -= usize::from(entry.is_small());
        let bytes = outcome.bytes.unwrap_or(0);
        if entry.collection {
            // The hits of a collection claim the size of its list, and not that of its files.
            self.size = self.size.saturating_sub(entry.size()).saturating_add(bytes);
        }
        if outcome.ok {
            self.done += 1;
            self.bytes = self.bytes.saturating_add(bytes);
            self.resumed = self.resumed.saturating_add(outcome.resumed.unwrap_or(0));
        } else {
            let why = outcome.error.clone().unwrap_or_default();
            self.fail(outcome.exit, Some(&entry.path), why);
        }
        let report = ItemReport {
            name: entry.path,
            path: outcome.path.clone(),
            size: bytes,
            root: entry.root,
            exit: outcome.exit,
            error: outcome.error.clone(),
        };
        cx.report(self.many.client, ClientEvent::Item(report));
    }

    fn fail(&mut self, exit: u8, path: Option<&str>, why: String) {
        self.failed += 1;
        self.may_pass += u64::from(Exit::may_pass(exit));
        self.causes.add(exit, path, why);
    }

    /// Gives up all files that are not there.
    pub(super) fn abandon(&mut self, why: &str) {
        let left = self.items.len() + self.given.len() + self.small.len() + self.large.len() + self.handed.len();
        self.waits = false;
        self.items.clear();
        self.given.clear();
        self.small.clear();
        self.large.clear();
        self.handed.clear();
        (0..left).for_each(|_| self.fail(Exit::Internal.code(), None, why.to_owned()));
    }

    pub(super) fn on_tick(&mut self, cx: &mut Context, progress_of: impl Fn(DownloadId) -> Progress) {
        let mut all = Progress { bytes: self.bytes, resumed: self.resumed, size: None };
        let mut size = self.size;
        for (id, entry) in &self.handed {
            let progress = progress_of(*id);
            if let Some(files) = progress.size {
                // The hits of a collection claim the size of its list.
                size = size.saturating_sub(entry.size()).saturating_add(files);
            }
            // The list of a collection is none of the files.
            if !entry.collection || progress.size.is_some() {
                all = all.plus(progress);
            }
        }
        let Progress { bytes, resumed, .. } = all;
        let fetched = bytes.saturating_sub(resumed);
        let (since, before) = std::mem::replace(&mut self.before, (cx.now, fetched));
        let micros = cx.now.since(since).as_micros().max(1);
        // A download that fails takes its bytes away.
        let more = u128::from(fetched.saturating_sub(before));
        let rate = u64::try_from(more * 1_000_000 / micros).unwrap_or(u64::MAX);
        let sources = Vec::new();
        let progress = ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms: None, swarm: None };
        cx.report(self.many.client, progress);
        cx.timers.set(Reason::Batch(self.id), cx.now + PROGRESS_INTERVAL);
    }

    /// Ends the command.
    pub(super) fn end(self, cx: &mut Context) {
        let base = match self.causes.first_exit() {
            None => Outcome { ok: true, ..Outcome::default() },
            Some(first) => {
                let exit = if self.done > 0 { Exit::Partial.code() } else { first };
                let why = format!("{} of {} files are there: {}", self.done, self.files, self.causes.sentence());
                let needs_user = self.may_pass == 0;
                Outcome { exit, error: Some(why), needs_user, ..Outcome::default() }
            }
        };
        let outcome = Outcome {
            files: Some(self.done),
            bytes: Some(self.bytes),
            resumed: Some(self.resumed),
            elapsed_ms: Some(millis(cx.now.since(self.many.asked_at))),
            ..base
        };
        cx.done(self.many.client, outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::{Entropy, Event, Output, PieceOrder, Verify};
    use crate::wire::{HostPort, NodeId, Root};

    struct Same;

    impl Entropy for Same {
        fn next_u64(&mut self) -> u64 {
            1
        }
    }

    /// The job of a command that fetches one collection, whose list is requested.
    fn started(cx: &mut Context) -> Job {
        let source = (HostPort::new("192.0.2.1", 1).unwrap().into(), 100);
        let many = Many {
            client: ClientId(9),
            asked_at: cx.now,
            entries: vec![Entry { collection: true, sources: vec![source], ..Entry::new("x", Root([5; 32])) }],
            failures: Vec::new(),
            folder: None,
            verify: Verify::Both,
            pieces: PieceOrder::Any,
            timeout: Duration::ZERO,
            only: false,
        };
        let mut job = Job::new(cx, BatchId(0), many);
        job.begin();
        assert!(job.next_order(cx, DownloadId(3)).is_some());
        job
    }

    #[test]
    fn the_files_of_a_collection_count_once_its_list_is_there() {
        let mut cx = Context::new(NodeId([1; 16]), 1, "test", Box::new(Same));
        let mut job = started(&mut cx);
        let mut reported = |progress: Progress| {
            cx.now = cx.now + PROGRESS_INTERVAL;
            job.on_tick(&mut cx, |_| progress);
            std::iter::from_fn(|| cx.poll_output()).find_map(|output| {
                let Output::Event(event) = output else { return None };
                let Event::Client { event, .. } = *event else { return None };
                let ClientEvent::Progress { bytes, size, rate, .. } = event else { return None };
                Some((bytes, size, rate))
            })
        };
        let list = Progress { bytes: 70, ..Progress::default() };
        assert_eq!(reported(list), Some((0, 100, 0)), "bytes of the list are none of the files");
        let files = Progress { bytes: 500, resumed: 500, size: Some(1000) };
        assert_eq!(reported(files), Some((500, 1000, 0)), "what was there was not fetched");
        assert_eq!(reported(Progress { bytes: 700, ..files }), Some((700, 1000, 400)));
    }

    /// Anybody can write the list of a collection with such sizes.
    #[test]
    fn sizes_above_u64_saturate() {
        let mut cx = Context::new(NodeId([1; 16]), 1, "test", Box::new(Same));
        let mut job = started(&mut cx);
        // There is another file of one byte.
        job.size += 1;
        cx.now = cx.now + PROGRESS_INTERVAL;
        job.on_tick(&mut cx, |_| Progress { size: Some(u64::MAX), ..Progress::default() });
        let sizes = std::iter::from_fn(|| cx.poll_output()).filter_map(|output| {
            let Output::Event(event) = output else { return None };
            let Event::Client { event: ClientEvent::Progress { size, .. }, .. } = *event else { return None };
            Some(size)
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [u64::MAX]);
    }
}
