//! The worker: one thread that does the loop's jobs, and background work in slices between them.
//!
//! It blocks while there is nothing to do, until a message arrives or a deadline passes. It only
//! dispatches: the modules that it calls know what a job means. `jobs` contains the work that the
//! worker does itself, `http` the requests of HTTP, `threads` the work of other threads and their
//! answers, and `unpack` the collections.

mod http;
mod jobs;
mod threads;
mod unpack;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::below::Last;
use crate::disk::cache::Cache;
use crate::disk::collections::{Collections, record};
use crate::disk::describing::Describing;
use crate::disk::hasher::Progress;
use crate::disk::held::Finished;
use crate::disk::http::Http;
use crate::disk::job::{Job, Report};
use crate::disk::left_out::Counts;
use crate::disk::opening::Opening;
use crate::disk::part::Part;
use crate::disk::placing::Placed;
use crate::disk::publish::{Published, Publishing};
use crate::disk::queue::Queue;
use crate::disk::serve::Serve;
use crate::disk::share::Share;
use crate::disk::tree::Trees;
use crate::disk::unpacking::Unpacking;
use crate::disk::watch::WatchEvent;
use crate::proto::disk::{DiskDone, DiskFailure, Parts};
use crate::proto::{ClientId, DownloadId};

/// Background work gets a slice at least this often, even if many jobs wait.
const BACKGROUND_EVERY: Duration = Duration::from_millis(20);
/// Shortest time between two reports of changes of the share, so that many small files cause few
/// reports.
const CHANGES_EVERY: Duration = Duration::from_millis(50);
/// Shortest time between two reports of the progress of hashing. The report does not wait for this
/// time if a file is complete or nothing is left to hash.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Largest number of records and removals in one report.
const CHANGES_MAX: usize = 1000;
/// While the worker has jobs, it wakes the loop after this many reports, or when this time has
/// passed since it last woke the loop.
const REPORTS_AT_ONCE: usize = 16;
const REPORTS_WITHIN: Duration = Duration::from_micros(200);
/// If a worker has no jobs for this time, it frees its read buffer, and closes the files that it
/// has served and the folder that it has written to.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// A message to the worker.
#[derive(Debug)]
pub(super) enum ToWorker {
    Jobs(Vec<Job>),
    /// From the watcher of the share with this number.
    Watch(usize, WatchEvent),
    /// From the thread that published these downloads.
    Published(Vec<(DownloadId, Published)>),
    /// As `Published`, from the thread that publishes small files.
    PublishedSmall(Vec<(DownloadId, Published)>),
    /// From the thread that looked for part files.
    PartsFound {
        client: Option<ClientId>,
        removed: bool,
        parts: Parts,
    },
    /// From the thread that checked whether the files of a command fit.
    RoomChecked {
        download: DownloadId,
        result: Result<(), DiskFailure>,
    },
    /// From the thread that saved the queue of downloads.
    QueueSaved(Result<(), DiskFailure>),
    /// From the thread that published files of a collection.
    Placed(Box<Placed>),
    /// From now on other folders are shared.
    Shares {
        trees: Trees,
        rescan: Option<Duration>,
        take_downloads: bool,
    },
    /// End once all earlier jobs are done.
    Stop,
}

/// The folder for downloads, the digest cache, the collections, and the queue of downloads.
pub(super) type Paths = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>, Option<PathBuf>);

/// The state of the thread.
pub(super) struct Worker {
    inbox: mpsc::Receiver<ToWorker>,
    to_self: mpsc::Sender<ToWorker>,
    reports: mpsc::Sender<Report>,
    wake: Box<dyn Fn() + Send>,
    /// Reports for which the loop was not woken yet, and when it was last woken.
    reported: usize,
    woken_at: Instant,
    stopping: bool,
    queue: Queue,
    share: Option<Share>,
    /// The folder for downloads without a destination.
    downloads: Option<PathBuf>,
    /// The last reported counts of files that are not shared, and the last reported number of
    /// waiting files.
    counted: Option<(Counts, u64)>,
    /// The last reported progress of hashing, and the earliest time of the next report.
    progress: (Progress, Instant),
    /// The file of the digest cache, which is read once, before any job is done.
    cache: Option<PathBuf>,
    collections: Collections,
    /// Paths for which a client has requested a URI, and whose digest or collection is being made.
    /// They take turns.
    describing: VecDeque<Describing>,
    /// The file of the queue of downloads.
    queue_file: Option<PathBuf>,
    /// The thread that saves the queue, or has done so.
    saving: Option<JoinHandle<()>>,
    serve: Serve,
    /// The folder of the last download that keeps the tree of its source.
    last_folder: Last,
    http: Http,
    openings: VecDeque<Opening>,
    unpackings: VecDeque<Unpacking>,
    parts: HashMap<DownloadId, Part>,
    /// Files that were published from part files. They are served from here for a while longer.
    kept: HashMap<DownloadId, Finished>,
    /// Small files that wait while others are being published. They are then published together.
    small: Vec<(DownloadId, Publishing)>,
    publishing_small: bool,
    /// The buffer for all reading of files. It is as long as a piece.
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
            reported: 0,
            woken_at: now,
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
            last_folder: Last::default(),
            http: Http::default(),
            openings: VecDeque::new(),
            unpackings: VecDeque::new(),
            parts: HashMap::new(),
            kept: HashMap::new(),
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
            let now = Instant::now();
            if self.reported >= REPORTS_AT_ONCE || !had_job || now >= self.woken_at + REPORTS_WITHIN {
                self.wake_loop();
            }
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
        // A save that has begun is completed first.
        if let Some(saving) = self.saving.take() {
            let _ = saving.join();
        }
    }

    /// Does what is due, and one slice of the background work. Returns false if there was no
    /// background work.
    fn background(&mut self, now: Instant) -> bool {
        if let Some(share) = &mut self.share {
            share.on_time(now);
        }
        let mut worked = false;
        if let Some(opening) = self.openings.pop_front() {
            self.step_opening(opening);
            worked = true;
        }
        worked |= self.sum();
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
        let is_kept = self.buffer.capacity() > 0 || self.serve.has_open() || self.last_folder.is_open();
        let kept = is_kept.then_some(IDLE_AFTER);
        let message = match [due, kept].into_iter().flatten().min() {
            Some(wait) => self.inbox.recv_timeout(wait),
            None => self.inbox.recv().map_err(RecvTimeoutError::from),
        };
        match message {
            Ok(message) => self.on_message(message),
            Err(RecvTimeoutError::Timeout) if kept.is_some_and(|kept| due.is_none_or(|due| kept <= due)) => {
                self.buffer = Vec::new();
                self.serve.close_all();
                self.last_folder.close();
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
            ToWorker::RoomChecked { download, result } => self.done(DiskDone::RoomChecked { download, result }),
            ToWorker::QueueSaved(result) => self.done(DiskDone::QueueSaved { result }),
            ToWorker::Placed(placed) => self.on_placed(*placed),
            ToWorker::Shares { trees, rescan, take_downloads } => {
                if let Some(share) = &mut self.share {
                    share.replace(trees, rescan);
                    self.downloads = share.first_folder().filter(|_| take_downloads).or(self.downloads.take());
                }
            }
            ToWorker::Stop => self.stopping = true,
        }
    }

    // ---- reports --------------------------------------------------------------------------------

    fn report(&mut self, report: Report) {
        // If the loop is gone, `Stop` will follow.
        let _ = self.reports.send(report);
        self.reported += 1;
    }

    /// Wakes the loop once for all reports.
    fn wake_loop(&mut self) {
        if mem::take(&mut self.reported) > 0 {
            self.woken_at = Instant::now();
            (self.wake)();
        }
    }

    fn done(&mut self, done: DiskDone) {
        self.report(Report::Done { done, file: None, lent: None, spare: None });
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
}
