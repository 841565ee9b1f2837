//! The worker: one thread that does the loop's jobs, and background work in slices between them.
//!
//! It blocks while there is nothing to do, until a message arrives or a deadline passes. It only
//! dispatches: what a job means is in the modules that it calls.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::collections::{Changes, Collections, FETCHED, Kept, record};
use super::describing::{self, Describing};
use super::hash::digests_of;
use super::hasher::Progress;
use super::job::{Job, ReceivedChunk, Report};
use super::left_out::Counts;
use super::opening::{Here, Opening, Step};
use super::part::{Part, remove_leftovers};
use super::parts;
use super::publish::{self, Published, Publishing};
use super::queue::{Next, Queue};
use super::saving;
use super::serve::{ChunkRequest, Prepared, Serve};
use super::share::Share;
use super::space;
use super::target::failed;
use super::unpacking::{Batch, Placed, Unpacking};
use super::watch::WatchEvent;
use crate::config::{DESCRIBING_MAX, PUBLISH_BATCH_MAX};
use crate::proto::disk::{
    CollectionDone, CollectionStep, DiskDone, DiskFailure, DiskFailureKind, DiskWork, PartState, Parts, ServeFailure,
};
use crate::proto::{ClientId, DownloadId, HashPlan};
use crate::wire::SharePath;

/// Background work gets a slice at least this often, however many jobs wait.
const BACKGROUND_EVERY: Duration = Duration::from_millis(20);
/// Shortest time between two reports of changes of the share, so that many small files make few
/// reports.
const CHANGES_EVERY: Duration = Duration::from_millis(50);
/// Shortest time between two reports of the hashing, while no file is done.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Largest number of records and removals in one report.
const CHANGES_MAX: usize = 1000;
/// A worker without jobs frees its read buffer, and closes the files that it served, after this
/// time.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// A message to the worker.
#[derive(Debug)]
pub(super) enum ToWorker {
    Jobs(Vec<Job>),
    /// From the watcher of the share with this number.
    Watch(usize, WatchEvent),
    /// From the thread that published these.
    Published(Vec<(DownloadId, Published)>),
    /// As `Published`, from the thread that publishes small files.
    PublishedSmall(Vec<(DownloadId, Published)>),
    /// From the thread that looked for part files.
    PartsFound {
        client: Option<ClientId>,
        removed: bool,
        parts: Parts,
    },
    /// From the thread that saved the queue of downloads.
    QueueSaved(Result<(), DiskFailure>),
    /// From the thread that published files of a collection.
    Placed(Box<Placed>),
    /// End once all jobs before this are done.
    Stop,
}

/// Where downloads go, the digest cache, the collections, and the queue of downloads.
pub(super) type Paths = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>, Option<PathBuf>);

/// The state of the thread.
pub(super) struct Worker {
    inbox: mpsc::Receiver<ToWorker>,
    to_self: mpsc::Sender<ToWorker>,
    reports: mpsc::Sender<Report>,
    wake: Box<dyn Fn() + Send>,
    /// Something was reported and the loop has not been woken since.
    reported: bool,
    stopping: bool,
    queue: Queue,
    share: Option<Share>,
    /// Where downloads go that name no destination.
    downloads: Option<PathBuf>,
    /// What was reported last to be not shared, and to wait.
    counted: Option<(Counts, u64)>,
    /// What was reported last of the hashing, and when more of it is reported.
    progress: (Progress, Instant),
    /// The file of the digest cache, which is read once, before any job is done.
    cache: Option<PathBuf>,
    collections: Collections,
    /// Paths that are being described, in turn.
    describing: VecDeque<Describing>,
    /// The file of the queue of downloads.
    queue_file: Option<PathBuf>,
    /// The thread that saves the queue, or did.
    saving: Option<JoinHandle<()>>,
    serve: Serve,
    openings: VecDeque<Opening>,
    unpackings: VecDeque<Unpacking>,
    parts: HashMap<DownloadId, Part>,
    /// Small files that wait until those before them are published. They are published together.
    small: Vec<(DownloadId, Publishing)>,
    publishing_small: bool,
    /// The buffer of everything that reads a file; as long as a piece.
    buffer: Vec<u8>,
    background_at: Instant,
    changes_at: Instant,
}

impl Worker {
    pub(super) fn new(
        share: Option<Share>,
        (downloads, cache, collections, queue_file): Paths,
        inbox: mpsc::Receiver<ToWorker>,
        to_self: mpsc::Sender<ToWorker>,
        reports: mpsc::Sender<Report>,
        wake: Box<dyn Fn() + Send>,
    ) -> Worker {
        let now = Instant::now();
        Worker {
            inbox,
            to_self,
            reports,
            wake,
            reported: false,
            stopping: false,
            queue: Queue::new(now),
            share,
            downloads,
            counted: None,
            progress: (Progress::default(), now),
            cache,
            collections: Collections::closed(collections),
            describing: VecDeque::new(),
            queue_file,
            saving: None,
            serve: Serve::default(),
            openings: VecDeque::new(),
            unpackings: VecDeque::new(),
            parts: HashMap::new(),
            small: Vec::new(),
            publishing_small: false,
            buffer: Vec::new(),
            background_at: now,
            changes_at: now,
        }
    }

    /// Runs until [`ToWorker::Stop`].
    pub(super) fn run(mut self) {
        if let Some(share) = &mut self.share {
            share.catalog.cache = Cache::open(self.cache.take().as_deref());
            self.collections = Collections::open(self.collections.folder.take());
            let records = self.collections.records(|_| false);
            let added: Vec<_> = records.into_iter().map(|(path, of)| record(path, of)).collect();
            if !added.is_empty() {
                self.done(DiskDone::Share { added, removed: Vec::new() });
            }
        }
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.on_message(message);
            }
            let next = self.queue.next(Instant::now(), self.stopping);
            let had_job = next.is_some();
            match next {
                Some(next) => self.on_next(next),
                None if self.stopping => break,
                None => {}
            }
            self.wake_loop();
            let now = Instant::now();
            if had_job && now < self.background_at {
                continue;
            }
            self.background_at = now + BACKGROUND_EVERY;
            let worked = self.background(now);
            self.wake_loop();
            if !worked && !had_job {
                self.sleep();
            }
        }
        if let Some(share) = &mut self.share {
            share.catalog.cache.flush();
        }
        // A save that has begun is not cut off.
        if let Some(saving) = self.saving.take() {
            let _ = saving.join();
        }
    }

    /// Does what is due and one slice of the background work; false if there was none.
    fn background(&mut self, now: Instant) -> bool {
        if let Some(share) = &mut self.share {
            share.on_time(now);
        }
        let mut worked = false;
        if let Some(opening) = self.openings.pop_front() {
            self.step_opening(opening);
            worked = true;
        }
        worked |= self.describe(now);
        worked |= self.unpack(now);
        match &mut self.share {
            Some(share) if share.has_work() => {
                share.slice(&mut self.buffer);
                worked = true;
            }
            Some(share) => share.save(),
            None => {}
        }
        if now >= self.changes_at {
            self.report_changes(now);
        }
        if let Some(share) = &mut self.share {
            share.trees.close();
        }
        self.serve.close_unused(now, IDLE_AFTER);
        worked
    }

    fn sleep(&mut self) {
        let now = Instant::now();
        let due = self.deadline().map(|due| due.saturating_duration_since(now));
        let kept = (self.buffer.capacity() > 0 || self.serve.has_open()).then_some(IDLE_AFTER);
        let message = match [due, kept].into_iter().flatten().min() {
            Some(wait) => self.inbox.recv_timeout(wait),
            None => self.inbox.recv().map_err(RecvTimeoutError::from),
        };
        match message {
            Ok(message) => self.on_message(message),
            Err(RecvTimeoutError::Timeout) if kept.is_some_and(|kept| due.is_none_or(|due| kept <= due)) => {
                self.buffer = Vec::new();
                self.serve.close_all();
                self.collections.close();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let share = self.share.as_ref();
        let news = |share: &&Share| share.catalog.has_changes() || Some(share.counts()) != self.counted;
        let changes = share.filter(news).map(|_| self.changes_at);
        let look = self.describing.iter().map(|describing| describing.look_at);
        let look = look.chain(self.unpackings.iter().filter_map(Unpacking::deadline)).min();
        [share.and_then(Share::deadline), changes, look, self.queue.deadline()].into_iter().flatten().min()
    }

    fn on_message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Jobs(jobs) => jobs.into_iter().for_each(|job| self.queue.push(job)),
            ToWorker::Watch(number, event) => {
                if let Some(share) = &mut self.share {
                    share.on_watch_event(number, event);
                }
            }
            ToWorker::Published(published) => self.on_published(published),
            ToWorker::PublishedSmall(published) => {
                self.on_published(published);
                self.publishing_small = false;
                self.publish_small();
            }
            ToWorker::PartsFound { client, removed, parts } => {
                self.done(DiskDone::PartsFound { client, removed, result: Ok(parts) });
            }
            ToWorker::QueueSaved(result) => self.done(DiskDone::QueueSaved { result }),
            ToWorker::Placed(placed) => self.on_placed(*placed),
            ToWorker::Stop => self.stopping = true,
        }
    }

    // ---- reports --------------------------------------------------------------------------------

    fn report(&mut self, report: Report) {
        // If the loop is gone, `Stop` follows.
        let _ = self.reports.send(report);
        self.reported = true;
    }

    /// Wakes the loop once for everything that was reported together.
    fn wake_loop(&mut self) {
        if mem::take(&mut self.reported) {
            (self.wake)();
        }
    }

    fn done(&mut self, done: DiskDone) {
        self.report(Report::Done { done, file: None, spare: None });
    }

    fn report_changes(&mut self, now: Instant) {
        self.report_counts(now);
        let Some(share) = self.share.as_mut().filter(|share| share.catalog.has_changes()) else { return };
        self.changes_at = now + CHANGES_EVERY;
        self.serve.close_unshared(share);
        let mut pages = Vec::new();
        while let Some((added, removed)) = share.catalog.take_changes(CHANGES_MAX) {
            pages.push(DiskDone::Share { added, removed });
        }
        pages.into_iter().for_each(|page| self.done(page));
    }

    fn report_counts(&mut self, now: Instant) {
        let counts = self.share.as_ref().map(Share::counts);
        let progress = self.share.as_ref().map(Share::progress).unwrap_or_default();
        let (reported, at) = self.progress;
        let is_due = counts != self.counted || (progress != reported && (now >= at || progress == Progress::default()));
        if let Some((left_out, waiting)) = counts.filter(|_| is_due) {
            self.counted = counts;
            self.progress = (progress, now + PROGRESS_EVERY);
            self.changes_at = now + CHANGES_EVERY;
            let counts = left_out.named().chain([("files_waiting", waiting)]).chain(progress.named());
            self.report(Report::Counts(counts.collect()));
        }
    }

    // ---- jobs -----------------------------------------------------------------------------------

    fn on_next(&mut self, next: Next) {
        match next {
            Next::Work { work, bytes } => self.on_work(work, bytes),
            Next::Prepare(requests) => self.prepare_chunks(&requests),
            Next::Digest(chunks) => self.digest(chunks),
        }
    }

    fn on_work(&mut self, work: DiskWork, bytes: Option<Vec<u8>>) {
        match work {
            DiskWork::PrepareChunk { conn, req, root, offset, length, bare } => {
                self.prepare_chunks(&[ChunkRequest { conn, req, root, offset, length, bare }]);
            }
            DiskWork::ReadManifest { conn, req, root, first } => {
                let result = match &mut self.share {
                    _ if self.collections.has(root) => self.collections.manifest_page(root, first, &mut self.buffer),
                    Some(share) => self.serve.manifest_page(share, root, first),
                    None => Err(ServeFailure::NotFound),
                };
                self.done(DiskDone::ManifestReady { conn, req, first, result });
            }
            DiskWork::ForgetConn { conn } => self.queue.forget(conn),
            DiskWork::Describe { client, path } => self.begin_to_describe(client, &path),
            DiskWork::Collection { download, step } => self.on_collection_step(download, step, bytes),
            DiskWork::OpenPart { download, destination, root, sizes } => {
                match Opening::new(download, &destination, root, sizes, self.downloads.as_deref()) {
                    Ok(opening) => self.step_opening(opening),
                    Err(failure) => self.part_opened(download, Err(failure)),
                }
            }
            DiskWork::PreparePart { download, size, cvs } => {
                let part = self.parts.get(&download);
                let refused = part.and_then(|part| space::check(part, size, self.parts.values()).err());
                match (self.parts.get_mut(&download), refused) {
                    (Some(part), Some(failure)) => part.unprepared = Some(failure),
                    (Some(part), None) => part.prepare(size, cvs),
                    (None, _) => {}
                }
            }
            DiskWork::WritePiece { download, piece, payload: _ } => self.write_piece(download, piece, bytes),
            DiskWork::Publish { download } => self.publish(download),
            DiskWork::Abandon { download } => {
                if let Some(part) = self.parts.remove(&download) {
                    part.remove_if_empty();
                }
                self.openings.retain(|opening| opening.download != download);
            }
            DiskWork::LookForParts { client, folders, keep, spare, remove } => {
                self.look_for_parts(client, (folders, keep, spare), remove);
            }
            DiskWork::SaveQueue { lines } => self.save_queue(lines),
        }
    }

    fn look_for_parts(
        &mut self,
        client: Option<ClientId>,
        (mut folders, keep, spare): (Vec<PathBuf>, Vec<PathBuf>, bool),
        remove: bool,
    ) {
        if !spare {
            folders.extend(self.downloads.clone());
            folders.extend(self.share.iter().flat_map(|share| share.trees.0.iter().map(|tree| tree.path.clone())));
        }
        let to_self = self.to_self.clone();
        let on_found = move |parts| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::PartsFound { client, removed: remove, parts });
        };
        if let Err(failure) = parts::start(folders, keep, remove, on_found) {
            self.done(DiskDone::PartsFound { client, removed: remove, result: Err(failure) });
        }
    }

    fn save_queue(&mut self, lines: String) {
        let to_self = self.to_self.clone();
        let on_saved = move |result| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::QueueSaved(result));
        };
        match saving::start(self.queue_file.clone(), lines, on_saved) {
            Ok(saving) => self.saving = Some(saving),
            Err(failure) => self.done(DiskDone::QueueSaved { result: Err(failure) }),
        }
    }

    fn digest(&mut self, chunks: Vec<ReceivedChunk>) {
        let Some(verify) = chunks.first().map(|chunk| chunk.verify) else { return };
        let payloads: Vec<(&[u8], HashPlan)> = chunks.iter().map(|chunk| (&chunk.bytes[..], chunk.plan)).collect();
        let digests = digests_of(&payloads, verify);
        for (ReceivedChunk { conn, req, bytes, .. }, digests) in chunks.into_iter().zip(digests) {
            self.report(Report::Digested { conn, req, bytes, digests });
        }
    }

    /// Prepares chunks of collections and of files.
    fn prepare_chunks(&mut self, requests: &[ChunkRequest]) {
        let (kept, files): (Vec<ChunkRequest>, Vec<_>) =
            requests.iter().partition(|request| self.collections.has(request.root));
        for request in kept {
            let prepared = self.collections.prepare(&request, &mut self.buffer);
            self.prepared(&request, prepared);
        }
        self.prepare_files(&files);
    }

    fn prepare_files(&mut self, requests: &[ChunkRequest]) {
        let prepared = match &mut self.share {
            Some(share) => self.serve.prepare(share, requests, &mut self.buffer),
            None => requests.iter().map(|_| Err(ServeFailure::NotFound)).collect(),
        };
        for (request, prepared) in requests.iter().zip(prepared) {
            self.prepared(request, prepared);
        }
    }

    fn prepared(&mut self, request: &ChunkRequest, prepared: Prepared) {
        let (result, file) = match prepared {
            Ok((md5, file)) => (Ok(md5), Some(file)),
            Err(failure) => (Err(failure), None),
        };
        let done = DiskDone::ChunkReady { conn: request.conn, req: request.req, result };
        self.report(Report::Done { done, file, spare: None });
    }

    // ---- describing -----------------------------------------------------------------------------

    fn begin_to_describe(&mut self, client: ClientId, path: &Path) {
        let described = if self.describing.len() >= DESCRIBING_MAX {
            Err(failed(format!("{DESCRIBING_MAX} paths are being described; try again when some are done")))
        } else {
            Describing::new(client, path, self.share.as_mut())
        };
        match described {
            Ok(describing) => self.describing.push_back(describing),
            Err(failure) => self.done(DiskDone::Described { client, result: Err(failure) }),
        }
    }

    /// One slice for the first path whose time it is; false if there is none. Only one collection
    /// is written at a time: the first in line.
    fn describe(&mut self, now: Instant) -> bool {
        let Some(share) = &mut self.share else { return false };
        let Some(describing) = self.describing.front_mut().filter(|describing| describing.look_at <= now) else {
            return false;
        };
        let client = describing.client;
        let result = match describing.step(share, &mut self.collections, now) {
            Ok(describing::Step::Again) => return true,
            Ok(describing::Step::Done(described, (added, removed))) => {
                if !added.is_empty() || !removed.is_empty() {
                    self.done(DiskDone::Share { added, removed });
                }
                Ok(described)
            }
            Err(failure) => Err(failure),
        };
        self.describing.pop_front();
        self.done(DiskDone::Described { client, result });
        true
    }

    fn write_piece(&mut self, download: DownloadId, piece: u32, bytes: Option<Vec<u8>>) {
        let result = match (self.parts.get_mut(&download), &bytes) {
            (Some(part), Some(bytes)) => part.write_piece(piece, bytes),
            (Some(_), None) => Err(failed("a piece without bytes".to_owned())),
            (None, _) => Err(failed("the download is over".to_owned())),
        };
        let done = DiskDone::PieceWritten { download, piece, result };
        self.report(Report::Done { done, file: None, spare: bytes });
    }

    // ---- opening and publishing a part file -----------------------------------------------------

    fn step_opening(&mut self, mut opening: Opening) {
        let download = opening.download;
        let (share, collections) = (self.share.as_mut(), &mut self.collections);
        match opening.step(&mut Here { share, collections, parts: &self.parts }, &mut self.buffer) {
            Ok(Step::Again) => self.openings.push_back(opening),
            Ok(Step::AlreadyThere(size)) => {
                remove_leftovers(&opening.target, opening.root);
                self.part_opened(download, Ok(PartState::AlreadyThere { path: opening.target.path.clone(), size }));
            }
            Ok(Step::Open(part)) => {
                let path = part.target.path.clone();
                let (size, manifest) = (part.size, part.manifest.clone());
                let state = PartState::Open { path, size, manifest, verified: part.verified() };
                self.parts.insert(download, *part);
                self.part_opened(download, Ok(state));
            }
            Err(failure) => self.part_opened(download, Err(failure)),
        }
    }

    fn part_opened(&mut self, download: DownloadId, result: Result<PartState, DiskFailure>) {
        self.done(DiskDone::PartOpened { download, result });
    }

    fn publish(&mut self, download: DownloadId) {
        let part = self.parts.remove(&download).ok_or_else(|| failed("the download is over".to_owned()));
        match part.and_then(|part| Publishing::new(part, self.share.as_ref())) {
            Ok(file) if file.is_small() => {
                self.small.push((download, file));
                self.publish_small();
            }
            Ok(file) => {
                self.start_publishing(vec![(download, file)], ToWorker::Published);
            }
            Err(failure) => self.done(DiskDone::Published { download, result: Err(failure) }),
        }
    }

    /// Publishes the small files that wait, if no others are being published.
    fn publish_small(&mut self) {
        while !self.publishing_small && !self.small.is_empty() {
            let files: Vec<_> = self.small.drain(..self.small.len().min(PUBLISH_BATCH_MAX)).collect();
            self.publishing_small = self.start_publishing(files, ToWorker::PublishedSmall);
        }
    }

    /// Whether it could be started. If not, the downloads have failed.
    fn start_publishing(
        &mut self,
        files: Vec<(DownloadId, Publishing)>,
        message: fn(Vec<(DownloadId, Published)>) -> ToWorker,
    ) -> bool {
        let ids: Vec<DownloadId> = files.iter().map(|(download, _)| *download).collect();
        let to_self = self.to_self.clone();
        let started = publish::start(files, move |published| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(message(published));
        });
        let Err(failure) = started else { return true };
        for download in ids {
            self.done(DiskDone::Published { download, result: Err(failure.clone()) });
        }
        false
    }

    fn on_published(&mut self, published: Vec<(DownloadId, Published)>) {
        let mut results = Vec::new();
        for (download, Published { result, offer }) in published {
            if let (Some((path, stamp, digest)), Some(share)) = (offer, &mut self.share) {
                share.add_published(&path, stamp, &digest);
            }
            results.push((download, result));
        }
        if let Some(share) = &mut self.share {
            share.catalog.cache.flush();
        }
        // The files are offered before the machine learns that the downloads are over.
        self.report_changes(Instant::now());
        for (download, result) in results {
            self.done(DiskDone::Published { download, result });
        }
    }

    // ---- collections ----------------------------------------------------------------------------

    /// A collection whose files are all in the share is offered from here too.
    fn keep_fetched(&mut self, unpacking: &Unpacking) {
        let Some(share) = &self.share else { return };
        let path = unpacking.folder.parent().zip(unpacking.folder.file_name());
        let path = path.and_then(|(parent, name)| {
            let parent = std::fs::canonicalize(parent).ok()?;
            SharePath::new(&share.trees.path_in(&parent, name.as_encoded_bytes())?)
        });
        let (Some(folder), false) = (path, self.collections.has(unpacking.root)) else { return };
        let is_file = |path: &str| share.catalog.offered_at(path).is_some();
        let kept = unpacking.content().and_then(|(mut content, size)| {
            let Some(mut file) = self.collections.begin(FETCHED)? else { return Ok(Changes::default()) };
            std::io::copy(&mut content, &mut file)?;
            self.collections.keep(Kept { root: unpacking.root, folder, size }, (FETCHED, &file), is_file)
        });
        match kept {
            Ok((added, removed)) if added.is_empty() && removed.is_empty() => {}
            Ok((added, removed)) => self.done(DiskDone::Share { added, removed }),
            Err(error) => log::warn!("the collection {} is not offered from here: {error}", unpacking.root),
        }
    }

    fn collection_done(&mut self, download: DownloadId, done: CollectionDone) {
        self.done(DiskDone::Collection { download, done });
    }

    fn on_collection_step(&mut self, download: DownloadId, step: CollectionStep, bytes: Option<Vec<u8>>) {
        let at = self.unpackings.iter().position(|unpacking| unpacking.download == download);
        match (step, at) {
            (CollectionStep::Open { destination, root }, _) => {
                let opened = Unpacking::open(download, &destination, &root, self.downloads.as_deref());
                let opened = opened.map(|unpacking| {
                    let folder = unpacking.folder.clone();
                    self.unpackings.push_back(unpacking);
                    folder
                });
                self.collection_done(download, CollectionDone::Opened(opened));
            }
            (CollectionStep::List, Some(at)) => self.unpackings[at].list(),
            (CollectionStep::Place { file, payload: _ }, at) => {
                let result = match (at, &bytes) {
                    (Some(at), Some(bytes)) => self.unpackings[at].write_item(file, bytes),
                    (Some(_), None) => Err(failed("a file without bytes".to_owned())),
                    (None, _) => Err(failed("the download is over".to_owned())),
                };
                let done = DiskDone::Collection { download, done: CollectionDone::Written(result) };
                self.report(Report::Done { done, file: None, spare: bytes });
            }
            (CollectionStep::Close { complete }, Some(at)) => {
                if let Some(unpacking) = self.unpackings.remove(at) {
                    if complete {
                        self.keep_fetched(&unpacking);
                    }
                    unpacking.close(complete);
                }
                self.collection_done(download, CollectionDone::Closed);
            }
            (CollectionStep::Close { .. }, None) => self.collection_done(download, CollectionDone::Closed),
            (CollectionStep::List, None) => {}
        }
    }

    /// One slice for each collection that has work; publishes what is due. False if there was
    /// nothing to do.
    fn unpack(&mut self, now: Instant) -> bool {
        let mut worked = false;
        for at in 0..self.unpackings.len() {
            let unpacking = &mut self.unpackings[at];
            let download = unpacking.download;
            if unpacking.has_work() {
                worked = true;
                let listed = unpacking.slice(self.share.as_mut(), &mut self.buffer);
                let malformed = |failure: &DiskFailure| failure.kind == DiskFailureKind::Malformed;
                match listed {
                    Some(Err(failure)) if malformed(&failure) && unpacking.is_file() => {
                        let Some(unpacking) = self.unpackings.remove(at) else { break };
                        let file = unpacking.into_file();
                        self.collection_done(download, CollectionDone::IsFile(file));
                        break;
                    }
                    Some(listed) => self.collection_done(download, CollectionDone::Listed(listed)),
                    None => {}
                }
            }
            if let Some(batch) = self.unpackings[at].take_batch(Instant::now().max(now)) {
                self.publish_batch(batch);
            }
        }
        worked
    }

    fn publish_batch(&mut self, batch: Batch) {
        let (to_self, batch) = (self.to_self.clone(), Arc::new(batch));
        let ours = batch.clone();
        let publish = move || {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::Placed(Box::new(ours.publish())));
        };
        if let Err(failure) = publish::on_thread(publish) {
            self.on_placed(batch.unpublished(&failure));
        }
    }

    fn on_placed(&mut self, placed: Placed) {
        let Placed { download, files, bytes, failed, offers } = placed;
        if let Some(share) = &mut self.share {
            for (folder, name, stamp, digest) in offers {
                let real = std::fs::canonicalize(&folder).ok();
                if let Some(path) = real.and_then(|real| share.trees.path_in(&real, name.as_encoded_bytes())) {
                    share.add_published(&path, stamp, &digest);
                }
            }
        }
        self.report_changes(Instant::now());
        self.collection_done(download, CollectionDone::Placed { files, bytes, failed });
    }
}
