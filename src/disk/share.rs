//! The share: its folder, its watcher, its index, and the background work that keeps them in step.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::catalog::{Index, Sight, SkippedCount};
use super::hash::{ContentDigest, FileHash};
use super::open::{Beneath, Found, Stamp, is_starved};
use super::scan::Scan;
use super::watch::{Sighting, Watch, Watched};
use crate::error::{Exit, Failure};
use crate::wire::ids::Root;
use crate::wire::name::printable;

/// Events are gathered for this long, so that the two halves of a rename come together and a busy writer costs little.
const GATHER: Duration = Duration::from_millis(40);
/// Touched paths looked at per slice.
const LOOKS_PER_SLICE: usize = 512;
/// Bytes and time after which hashing makes room for urgent jobs.
const SLICE_BYTES: u64 = 4 << 20;
const SLICE_TIME: Duration = Duration::from_millis(4);
/// How soon after a full scan another may follow.
const RESCAN_PAUSE: Duration = Duration::from_secs(1);
/// How often a share is scanned that cannot be watched.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(10);
/// How soon something is tried again that failed for want of descriptors, memory or the folder itself.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the callback of a watcher; kept, because a new watcher is armed when one has lost events.
pub(super) type Tell = Box<dyn Fn() -> Box<dyn Fn(Sighting) + Send> + Send>;

/// See the module.
pub(super) struct Share {
    path: PathBuf,
    beneath: Beneath,
    tell: Tell,
    watch: Option<Watch>,
    /// Some folder is not watched.
    unwatched: bool,
    pub(super) index: Index,
    pub(super) cache: Cache,
    /// What the watcher told, to be looked at at `gather_until`.
    touched: BTreeMap<String, Touch>,
    gather_until: Option<Instant>,
    looking: VecDeque<(String, Touch)>,
    found: VecDeque<(String, Stamp, Touch)>,
    scans: VecDeque<Scan>,
    rescan_at: Option<Instant>,
    scanned_at: Option<Instant>,
    /// The large file in work.
    hashing: Option<Hashing>,
    /// Bytes hashed since the start.
    pub(super) hashed_bytes: u64,
    /// What the watcher told of and cannot be shared.
    skipped: SkippedCount,
    /// Counts of the last full scan, so that a warning is not repeated.
    warned: SkippedCount,
    warned_unwatched: bool,
}

#[derive(Clone, Copy)]
struct Touch {
    at: Instant,
    data: bool,
}

struct Hashing {
    path: Arc<str>,
    stamp: Stamp,
    file: File,
    hash: FileHash,
}

impl Share {
    /// Opens the folder, arms the watcher and orders the first scan.
    pub(super) fn open(path: &Path, cache: Cache, tell: Tell) -> Result<Share, Failure> {
        let shown = printable(&path.to_string_lossy());
        let fail = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Disk, format!("cannot share {shown}: {why}; give a folder that exists and can be read"))
        };
        let path = std::fs::canonicalize(path).map_err(|error| fail(&error))?;
        let beneath = Beneath::open_root(&path).map_err(|error| fail(&io::Error::from(error)))?;
        let mut share = Share {
            path,
            beneath,
            tell,
            watch: None,
            unwatched: false,
            index: Index::default(),
            cache,
            touched: BTreeMap::new(),
            gather_until: None,
            looking: VecDeque::new(),
            found: VecDeque::new(),
            scans: VecDeque::new(),
            rescan_at: None,
            scanned_at: None,
            hashing: None,
            hashed_bytes: 0,
            skipped: SkippedCount::default(),
            warned: SkippedCount::default(),
            warned_unwatched: false,
        };
        share.arm();
        Ok(share)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn beneath(&self) -> &Beneath {
        &self.beneath
    }

    /// A new watcher and a full scan: everything before counts as lost.
    fn arm(&mut self) {
        log::debug!("arming a watcher");
        self.unwatched = false;
        self.watch = match Watch::new(&self.path, (self.tell)()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                self.unwatched(&error.to_string());
                None
            }
        };
        if let Some(watch) = &mut self.watch {
            // The rest is watched as the scan reaches it; this one must be before the peer calls itself ready.
            watch.add("");
        }
        self.rescan_at = None;
        self.scans.clear();
        self.scans.push_back(Scan::new(""));
    }

    // ---- what the watcher tells ------------------------------------------------------------------------------------

    pub(super) fn on_sighting(&mut self, sighting: Sighting) {
        if let Some(watch) = &self.watch {
            watch.taken();
        }
        match sighting {
            Sighting::Touched { path, data, at } => self.touch(path, at, data),
            Sighting::Skipped(skipped) => {
                self.skipped.count(skipped);
                self.gather_until.get_or_insert(Instant::now() + GATHER);
            }
            Sighting::RootMoved | Sighting::Lost => self.rescan(),
        }
    }

    /// Something may have happened to this file: look at it soon.
    pub(super) fn touch(&mut self, path: String, at: Instant, data: bool) {
        let touch = self.touched.entry(path).or_insert(Touch { at, data });
        touch.at = touch.at.max(at);
        touch.data |= data;
        self.gather_until.get_or_insert(Instant::now() + GATHER);
    }

    /// Orders a full scan; soon, but not on the heels of the last one.
    pub(super) fn rescan(&mut self) {
        let now = Instant::now();
        let at = self.scanned_at.map_or(now, |last| now.max(last + RESCAN_PAUSE));
        self.rescan_at = Some(self.rescan_at.map_or(at, |before| before.min(at)));
    }

    // ---- background work -------------------------------------------------------------------------------------------

    /// When something is to be done that is not to be done now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.gather_until, self.rescan_at, self.index.deadline()].into_iter().flatten().min()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.looking.is_empty()
            || !self.found.is_empty()
            || !self.scans.is_empty()
            || self.hashing.is_some()
            || self.index.has_ready()
    }

    /// Starts what is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.gather_until.is_some_and(|until| until <= now) && self.looking.is_empty() && self.found.is_empty() {
            self.gather_until = None;
            std::mem::take(&mut self.skipped).warn("new ");
            self.looking.extend(std::mem::take(&mut self.touched));
        }
        if self.rescan_at.is_some_and(|at| at <= now) {
            match Beneath::open_root(&self.path) {
                Ok(beneath) => {
                    self.beneath = beneath;
                    self.arm();
                }
                Err(error) => {
                    if self.index.offered() > 0 {
                        log::warn!("the share {} is gone: {error}", self.path.display());
                    }
                    self.index.gone("", now);
                    self.rescan_at = Some(now + RETRY);
                }
            }
        }
        self.index.mature(now);
    }

    /// There is nothing to do for now: what was learnt is made to last.
    pub(super) fn rest(&mut self) {
        self.cache.flush();
        self.cache.tidy(self.index.offered(), self.index.offered_stamps());
    }

    /// Does one slice of background work.
    pub(super) fn slice(&mut self, buffer: &mut Vec<u8>) {
        if !self.looking.is_empty() {
            self.look();
        } else if !self.found.is_empty() {
            for _ in 0..LOOKS_PER_SLICE {
                let Some((path, stamp, Touch { at, data })) = self.found.pop_front() else { break };
                self.index.saw(&path, stamp, Sight::Event { at, data }, &mut self.cache);
            }
        } else if !self.scans.is_empty() {
            self.scan();
        } else {
            self.hash(buffer);
        }
    }

    /// Looks at touched paths. What went is taken out before anything new is taken in: a rename needs the old one gone.
    fn look(&mut self) {
        let now = Instant::now();
        for _ in 0..LOOKS_PER_SLICE {
            let Some((path, touch)) = self.looking.pop_front() else { break };
            match self.beneath.look(&path) {
                Found::File(stamp) => {
                    self.index.gone_below(&path, now);
                    self.found.push_back((path, stamp, touch));
                }
                // What is below is found by walking, once it is watched.
                Found::Folder => {
                    self.index.gone_file(&path, now);
                    self.scans.push_back(Scan::new(&path));
                }
                Found::Nothing => self.index.gone(&path, now),
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
        let over = scan.slice(&self.beneath, &mut self.index, &mut self.cache, |folder| {
            limit |= watch.as_mut().is_some_and(|watch| watch.add(folder) == Watched::Limit);
        });
        let over = over.then(|| self.scans.pop_front()).flatten();
        if limit {
            self.unwatched("the limit fs.inotify.max_user_watches is reached");
        }
        if let Some(scan) = over {
            self.scan_over(&scan);
        }
    }

    /// Some folder cannot be watched: scans do instead.
    fn unwatched(&mut self, why: &str) {
        self.unwatched = true;
        if !std::mem::replace(&mut self.warned_unwatched, true) {
            log::warn!("not all of the share can be watched: {why}; it is scanned every {RESCAN_UNWATCHED:?} instead");
        }
    }

    fn scan_over(&mut self, scan: &Scan) {
        let now = Instant::now();
        log::debug!("scanned {}: {} files of the share are offered", printable(&scan.top), self.index.offered());
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
            self.rescan_at = Some(self.rescan_at.map_or(now + pause, |before| before.min(now + pause)));
        }
    }

    /// One piece of the large file in work, if there is one, then small files; then more of the large one.
    fn hash(&mut self, buffer: &mut Vec<u8>) {
        let (start, before) = (Instant::now(), self.hashed_bytes);
        if let Some(large) = self.hashing.take() {
            self.hashing = self.hash_piece(large, buffer);
        }
        while self.hashed_bytes - before < SLICE_BYTES && start.elapsed() < SLICE_TIME {
            if let Some((path, stamp)) = self.index.next_ready(false) {
                let mut small = self.begin_hash(path, stamp);
                while let Some(hashing) = small {
                    small = self.hash_piece(hashing, buffer);
                }
            } else if let Some(large) = self.hashing.take() {
                self.hashing = self.hash_piece(large, buffer);
            } else if let Some((path, stamp)) = self.index.next_ready(true) {
                self.hashing = self.begin_hash(path, stamp);
            } else {
                return;
            }
        }
    }

    /// Hashes one piece; gives the rest back if there is more to do.
    fn hash_piece(&mut self, mut hashing: Hashing, buffer: &mut Vec<u8>) -> Option<Hashing> {
        if !self.index.is_ready(&hashing.path, &hashing.stamp) {
            return None;
        }
        match hashing.hash.step(&hashing.file, buffer, &mut self.hashed_bytes) {
            Ok(None) => return Some(hashing),
            Ok(Some(digest)) => self.hash_over(&hashing, &digest),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.index.unsteady(&hashing.path, hashing.stamp, Instant::now());
            }
            Err(error) => self.cannot_read(&hashing.path, &error),
        }
        None
    }

    fn begin_hash(&mut self, path: Arc<str>, stamp: Stamp) -> Option<Hashing> {
        match self.beneath.open_file(&path) {
            Ok((file, now)) if now == stamp => Some(Hashing { path, stamp, file, hash: FileHash::new(stamp.size) }),
            Ok((_, now)) => {
                self.index.unsteady(&path, now, Instant::now());
                None
            }
            Err(error) => {
                match self.beneath.look(&path) {
                    Found::File(now) if is_starved(error) => self.index.unsteady(&path, now, Instant::now()),
                    Found::File(_) => self.cannot_read(&path, &error.into()),
                    Found::Unknown => self.index.unsteady(&path, stamp, Instant::now()),
                    Found::Folder | Found::Nothing => self.index.gone_file(&path, Instant::now()),
                }
                None
            }
        }
    }

    fn hash_over(&mut self, hashing: &Hashing, digest: &ContentDigest) {
        match Stamp::of_file(&hashing.file) {
            Ok(stamp) if stamp == hashing.stamp => {
                self.cache.insert(&stamp, digest);
                self.index.offer(&hashing.path, stamp, digest.root);
            }
            Ok(stamp) => self.index.unsteady(&hashing.path, stamp, Instant::now()),
            Err(error) => self.cannot_read(&hashing.path, &error.into()),
        }
    }

    fn cannot_read(&mut self, path: &str, error: &io::Error) {
        log::warn!("{} is not shared: it cannot be read: {error}", printable(path));
        self.index.unreadable(path);
    }

    // ---- for downloads ---------------------------------------------------------------------------------------------

    /// A file was published with a proven content: it is offered at once.
    pub(super) fn published(&mut self, path: &str, stamp: Stamp, digest: &ContentDigest) {
        self.cache.insert(&stamp, digest);
        self.index.offer(path, stamp, digest.root);
        self.cache.flush();
    }

    /// Has a file hashed again whose remembered digest turned out to be of no use.
    pub(super) fn hash_again(&mut self, path: &str, stamp: Stamp) {
        self.cache.forget(&stamp);
        self.index.unsteady(path, stamp, Instant::now());
    }

    /// The root of a file, if it is offered and still in that state.
    pub(super) fn root_at(&self, path: &str) -> Option<(Root, Stamp)> {
        self.index.offered_at(path)
    }
}
