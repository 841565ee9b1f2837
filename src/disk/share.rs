//! The share: its folder, watcher and catalog, and the background work that keeps the catalog equal
//! to the folder.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::catalog::{Catalog, Cause};
use super::folder::{Folder, Found, Stamp};
use super::hash::ContentDigest;
use super::hasher::{Hasher, Shared};
use super::names::SkippedCount;
use super::scan::Scan;
use super::watch::{Watch, WatchEvent, Watched, What};
use crate::error::{Exit, Failure};
use crate::wire::name::printable;

/// Events are collected for this long, so that both halves of a rename are handled together and a
/// busy writer costs little.
const GATHER: Duration = Duration::from_millis(40);
/// Paths looked up per slice.
const LOOKUPS_PER_SLICE: usize = 512;
/// Shortest time between two full scans.
const RESCAN_PAUSE: Duration = Duration::from_secs(1);
/// Interval of the scans of a share that cannot be watched.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(10);
/// Delay before a step is retried that failed because descriptors or memory ran out or the folder
/// was missing.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the callback of a watcher. It is kept because a watcher that has lost events is replaced.
pub(super) type MakeCallback = Box<dyn Fn() -> Box<dyn Fn(WatchEvent) + Send> + Send>;

/// The state of the share.
pub(super) struct Share {
    pub(super) path: PathBuf,
    pub(super) folder: Folder,
    callback: MakeCallback,
    watch: Option<Watch>,
    /// Some folder is not watched.
    unwatched: bool,
    pub(super) catalog: Catalog,
    /// Paths that the watcher has reported. They are looked up at `gather_until`.
    touched: BTreeMap<String, Touch>,
    gather_until: Option<Instant>,
    /// Paths that are being looked up.
    lookups: VecDeque<(String, Touch)>,
    /// Files that were found there.
    found: VecDeque<(String, Stamp, Touch)>,
    scans: VecDeque<Scan>,
    rescan_at: Option<Instant>,
    scanned_at: Option<Instant>,
    pub(super) hasher: Hasher,
    /// Reported paths that cannot be shared.
    skipped: SkippedCount,
    /// Counts of the last full scan, so that a warning is not repeated.
    warned: SkippedCount,
    warned_unwatched: bool,
}

/// A report of the watcher.
#[derive(Clone, Copy)]
struct Touch {
    at: Instant,
    /// The content may have been written to.
    written: bool,
    /// Whether it is open for writing, if a report said so.
    open: Option<bool>,
    /// Only that it was created says that it is open.
    created: bool,
}

impl Touch {
    fn new(at: Instant, what: What) -> Touch {
        let (written, open) = match what {
            What::Created | What::Written => (true, Some(true)),
            What::Closed => (false, Some(false)),
            What::Other => (false, None),
        };
        Touch { at, written, open, created: what == What::Created }
    }

    /// Adds a later report.
    fn add(&mut self, later: Touch) {
        self.at = self.at.max(later.at);
        self.written |= later.written;
        self.created = later.created || (self.created && later.open.is_none());
        self.open = later.open.or(self.open);
    }
}

impl Share {
    /// Opens the folder, starts the watcher and schedules the first scan.
    pub(super) fn open(path: &Path, callback: MakeCallback) -> Result<Share, Failure> {
        let shown = printable(&path.to_string_lossy());
        let fail = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Disk, format!("cannot share {shown}: {why}; give a folder that exists and can be read"))
        };
        let path = std::fs::canonicalize(path).map_err(|error| fail(&error))?;
        let folder = Folder::open(&path).map_err(|error| fail(&io::Error::from(error)))?;
        let mut share = Share {
            path,
            folder,
            callback,
            watch: None,
            unwatched: false,
            catalog: Catalog::default(),
            touched: BTreeMap::new(),
            gather_until: None,
            lookups: VecDeque::new(),
            found: VecDeque::new(),
            scans: VecDeque::new(),
            rescan_at: None,
            scanned_at: None,
            hasher: Hasher::default(),
            skipped: SkippedCount::default(),
            warned: SkippedCount::default(),
            warned_unwatched: false,
        };
        share.start_watching();
        Ok(share)
    }

    /// Starts a new watcher and a full scan. All earlier events count as lost.
    fn start_watching(&mut self) {
        log::debug!("starting a watcher");
        self.unwatched = false;
        self.watch = match Watch::new(&self.path, (self.callback)()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                self.unwatched(&error.to_string());
                None
            }
        };
        if let Some(watch) = &mut self.watch {
            // The scan adds the other folders. This one is watched before the peer reports that it
            // is ready.
            watch.add("");
        }
        self.rescan_at = None;
        self.scans.clear();
        self.scans.push_back(Scan::new(""));
    }

    // ---- events of the watcher ------------------------------------------------------------------

    pub(super) fn on_watch_event(&mut self, event: WatchEvent) {
        if let Some(watch) = &self.watch {
            watch.taken();
        }
        match event {
            WatchEvent::Touched { path, what, at } => self.touch(path, Touch::new(at, what)),
            WatchEvent::Skipped(skipped) => {
                self.skipped.count(skipped);
                self.gather_until.get_or_insert(Instant::now() + GATHER);
            }
            WatchEvent::ShareChanged | WatchEvent::Lost => self.rescan(),
        }
    }

    /// Schedules a look-up of this path, whose content is not what it was.
    pub(super) fn changed(&mut self, path: &str) {
        self.touch(path.to_owned(), Touch { at: Instant::now(), written: true, open: None, created: false });
    }

    fn touch(&mut self, path: String, touch: Touch) {
        match self.touched.entry(path) {
            Entry::Occupied(mut before) => before.get_mut().add(touch),
            Entry::Vacant(place) => {
                place.insert(touch);
            }
        }
        self.gather_until.get_or_insert(Instant::now() + GATHER);
    }

    /// Schedules a full scan, at the earliest [`RESCAN_PAUSE`] after the last one.
    pub(super) fn rescan(&mut self) {
        let now = Instant::now();
        self.rescan_by(self.scanned_at.map_or(now, |last| now.max(last + RESCAN_PAUSE)));
    }

    fn rescan_by(&mut self, at: Instant) {
        self.rescan_at = Some(self.rescan_at.map_or(at, |before| before.min(at)));
    }

    // ---- background work ------------------------------------------------------------------------

    /// When [`Share::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.gather_until, self.rescan_at, self.catalog.deadline()].into_iter().flatten().min()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.lookups.is_empty()
            || !self.found.is_empty()
            || !self.scans.is_empty()
            || self.hasher.is_busy()
            || self.catalog.has_ready()
    }

    /// Starts the work that is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.gather_until.is_some_and(|until| until <= now) && self.lookups.is_empty() && self.found.is_empty() {
            self.gather_until = None;
            std::mem::take(&mut self.skipped).warn("new ");
            self.lookups.extend(std::mem::take(&mut self.touched));
        }
        if self.rescan_at.is_some_and(|at| at <= now) {
            match Folder::open(&self.path) {
                Ok(folder) => {
                    self.folder = folder;
                    self.start_watching();
                }
                Err(error) => {
                    if self.catalog.offered() > 0 {
                        log::warn!("the share {} is gone: {error}", self.path.display());
                    }
                    self.catalog.remove("", now);
                    self.rescan_at = Some(now + RETRY);
                }
            }
        }
        self.catalog.settle(now);
    }

    /// Writes the digest cache to disk. Called while there is nothing else to do.
    pub(super) fn save(&mut self) {
        self.catalog.compact_cache();
    }

    /// Does one slice of background work.
    pub(super) fn slice(&mut self, buffer: &mut Vec<u8>) {
        if !self.lookups.is_empty() {
            self.look_up();
        } else if !self.found.is_empty() {
            for _ in 0..LOOKUPS_PER_SLICE {
                let Some((path, stamp, Touch { at, written, open, .. })) = self.found.pop_front() else { break };
                self.catalog.observe(&path, stamp, Cause::Event { at, written, open });
            }
        } else if !self.scans.is_empty() {
            self.scan();
        } else {
            let mut shared = Shared { folder: &self.folder, catalog: &mut self.catalog };
            self.hasher.slice(&mut shared, buffer);
        }
    }

    /// Looks up touched paths. Removals are handled before anything that was found: a renamed file
    /// keeps its digest only if its old path is removed first.
    fn look_up(&mut self) {
        let now = Instant::now();
        for _ in 0..LOOKUPS_PER_SLICE {
            let Some((path, mut touch)) = self.lookups.pop_front() else { break };
            match self.folder.lookup(&path) {
                Found::File(stamp) => {
                    self.catalog.remove_below(&path, now);
                    // A new name of a file that was there before is not closed.
                    if touch.created && self.folder.links(&path) > 1 {
                        touch.open = Some(false);
                    }
                    self.found.push_back((path, stamp, touch));
                }
                // The scan watches the folder before it reads it.
                Found::Folder => {
                    self.catalog.remove_file(&path, now);
                    self.scans.push_back(Scan::new(&path));
                }
                Found::Nothing => self.catalog.remove(&path, now),
                Found::Unknown => {
                    self.touched.insert(path, touch);
                    self.gather_until.get_or_insert(now + RETRY);
                }
            }
        }
    }

    fn scan(&mut self) {
        let Some(scan) = self.scans.front_mut() else { return };
        let (watch, mut limit) = (&mut self.watch, false);
        let over = scan.slice(&self.folder, &mut self.catalog, |folder| {
            let watched = watch.as_mut().map(|watch| watch.add(folder));
            limit |= watched == Some(Watched::Limit);
            watched == Some(Watched::Yes)
        });
        if limit {
            self.unwatched("the limit fs.inotify.max_user_watches is reached");
        }
        if let Some(scan) = over.then(|| self.scans.pop_front()).flatten() {
            self.scanned(&scan);
        }
    }

    /// Some folder cannot be watched, so the share is scanned at intervals.
    fn unwatched(&mut self, why: &str) {
        self.unwatched = true;
        if !std::mem::replace(&mut self.warned_unwatched, true) {
            log::warn!("not all of the share can be watched: {why}; it is scanned every {RESCAN_UNWATCHED:?} instead");
        }
    }

    fn scanned(&mut self, scan: &Scan) {
        let now = Instant::now();
        log::debug!("scanned {}: {} files of the share are offered", printable(&scan.top), self.catalog.offered());
        if scan.is_full() {
            self.scanned_at = Some(now);
            if self.warned != scan.skipped {
                scan.skipped.warn("");
            }
            self.warned = scan.skipped;
        } else {
            scan.skipped.warn("new ");
        }
        for folder in &scan.unreadable {
            log::warn!("the folder {} of the share cannot be read; its files are not shared", printable(folder));
        }
        let again = if scan.starved { Some(RETRY) } else { self.unwatched.then_some(RESCAN_UNWATCHED) };
        if let Some(pause) = again {
            self.rescan_by(now + pause);
        }
    }

    // ---- for transfers --------------------------------------------------------------------------

    /// Offers a file that was published with a proven content.
    pub(super) fn add_published(&mut self, path: &str, stamp: Stamp, digest: &ContentDigest) {
        self.catalog.cache.insert(&stamp, digest);
        self.catalog.offer(path, stamp, digest.root);
        self.catalog.cache.flush();
    }

    /// Hashes again a file whose cached manifest cannot be read.
    pub(super) fn hash_again(&mut self, path: &str, stamp: Stamp) {
        self.catalog.cache.forget(&stamp);
        self.catalog.settle_again(path, stamp, Instant::now());
    }
}
