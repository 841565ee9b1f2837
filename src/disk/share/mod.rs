//! The share: its folders, their watchers, the catalog, and the background work that keeps the
//! catalog up to date with the folders. `place` notices when another folder appears at the path of
//! a share.

mod place;

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::above::Above;
use super::catalog::{Catalog, Cause};
use super::folder::Stamp;
use super::hash::{ContentDigest, cvs_of};
use super::hasher::{Hasher, Progress, Shared};
use super::left_out::{Counts, Reason};
use super::options::DiskOptions;
use super::scan::Scan;
use super::slow::Slow;
use super::tree::{At, Sorted, Tree, Trees};
use super::watch::{WatchEvent, What};
use super::writers::open_for_writing;
use crate::config::{PIECE_BYTES, SHARE_OPEN_QUIET, SHARE_QUIET};
use crate::error::Failure;
use crate::wire::ids::{Cv, Root};
use crate::wire::name::printable;

/// Events are collected for this long. So both halves of a rename are handled together, and a busy
/// writer costs little.
const GATHER: Duration = Duration::from_millis(40);
/// Paths looked up per slice.
const LOOKUPS_PER_SLICE: usize = 512;
/// Interval of the scans of a share that cannot be watched.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(10);
/// After a look at the open files of all processes, the next one waits for this many times the
/// processor time of the look, so that these looks take at most a tenth of the time of one
/// processor. The time that passed does not count: on a busy host a look that takes little may last
/// for seconds.
const LOOK_PAUSE_TIMES: u32 = 9;
/// Delay before a failed step is tried again. The step failed because descriptors or memory were
/// missing, or because the folder did not exist.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the callback for the watcher of the share with this number. This function is kept, because
/// each watcher that has lost events is replaced by a new one.
pub(super) type MakeCallback = Box<dyn Fn(usize) -> Box<dyn Fn(WatchEvent) + Send> + Send>;

/// A path below the share with this number.
pub(super) type Place = (usize, String);

/// The state of the share.
pub(super) struct Share {
    pub(super) trees: Trees,
    callback: MakeCallback,
    pub(super) catalog: Catalog,
    /// Paths that the watchers have reported. They are looked up at `gather_until`.
    touched: BTreeMap<Place, Touch>,
    gather_until: Option<Instant>,
    /// Folders whose rules have changed, and when the rules are read again.
    rules: BTreeMap<Place, Instant>,
    /// Paths that are being looked up.
    lookups: VecDeque<(Place, Touch)>,
    /// Files that the lookups have found.
    found: VecDeque<(String, Stamp, Touch)>,
    scans: VecDeque<Scan>,
    slow: Slow,
    /// When the open files of all processes may be looked at again.
    next_look: Option<Instant>,
    /// None if the folders above the shares cannot be watched.
    above: Option<Above>,
    pub(super) hasher: Hasher,
}

/// A report of the watcher.
#[derive(Clone, Copy)]
struct Touch {
    at: Instant,
    /// Whether the content may have been written to.
    written: bool,
    /// Whether the file is open for writing; `None` if no report shows this.
    open: Option<bool>,
    /// Whether the report that the file was created is the only sign that it is open.
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

    /// Merges a later report into this one.
    fn add(&mut self, later: Touch) {
        self.at = self.at.max(later.at);
        self.written |= later.written;
        self.created = later.created || (self.created && later.open.is_none());
        self.open = later.open.or(self.open);
    }
}

impl Share {
    /// A file of the share that has this content: the open file, its size, and its chaining values
    /// if it has more than one piece.
    pub(super) fn source_of(&mut self, root: Root) -> Option<(File, u64, Vec<Cv>)> {
        self.trees.close();
        self.catalog.holders(root).into_iter().find_map(|(path, stamp)| {
            let file = self.trees.open_unchanged(&path, &stamp)?;
            let cvs = match stamp.size {
                0 => return None,
                1..=PIECE_BYTES => Vec::new(),
                _ => cvs_of(&self.catalog.cache.manifest(&stamp, root)?),
            };
            Some((file, stamp.size, cvs))
        })
    }

    /// Opens the folders, starts the watchers and schedules the first scans. None if nothing is
    /// shared.
    pub(super) fn open(options: &DiskOptions, callback: MakeCallback) -> Result<Option<Share>, Failure> {
        let trees = Trees::open(&options.shares)?;
        if trees.0.is_empty() {
            return Ok(None);
        }
        let mut share = Share {
            trees,
            callback,
            catalog: Catalog::default(),
            touched: BTreeMap::new(),
            gather_until: None,
            rules: BTreeMap::new(),
            lookups: VecDeque::new(),
            found: VecDeque::new(),
            scans: VecDeque::new(),
            slow: Slow::new(options.rescan, Instant::now()),
            next_look: None,
            above: None,
            hasher: Hasher::default(),
        };
        share.watch_above();
        (0..share.trees.0.len()).for_each(|number| share.start_watching(number));
        Ok(Some(share))
    }

    /// From now on these folders are shared. Known files whose paths are in these folders stay
    /// known, and scans check them. All other files are no longer shared.
    pub(super) fn replace(&mut self, trees: Trees, rescan: Option<Duration>) {
        let now = Instant::now();
        self.trees = trees;
        (self.touched, self.rules, self.gather_until) = (BTreeMap::new(), BTreeMap::new(), None);
        self.lookups.clear();
        self.found.clear();
        self.scans.clear();
        self.slow = Slow::new(rescan, now);
        for path in self.catalog.files_below("") {
            if self.trees.find(&path).is_none() {
                self.catalog.remove_file(&path, now);
            }
        }
        self.watch_above();
        (0..self.trees.0.len()).for_each(|number| self.start_watching(number));
    }

    /// The folder of the first share, which gets downloads without a destination.
    pub(super) fn first_folder(&self) -> Option<PathBuf> {
        self.trees.0.first().map(|tree| tree.path.clone())
    }

    // ---- events of the watcher ------------------------------------------------------------------

    pub(super) fn on_watch_event(&mut self, number: usize, event: WatchEvent) {
        let Some(tree) = self.trees.0.get_mut(number) else { return };
        if let Some(watch) = tree.watch.as_ref().filter(|_| !matches!(event, WatchEvent::Above(_))) {
            watch.taken();
        }
        match event {
            WatchEvent::Touched { path, what, at } => self.touch((number, path), Touch::new(at, what)),
            WatchEvent::LeftOut { path, reason } => {
                if tree.folder.exists(&path) {
                    tree.left_out.insert(&path, reason);
                } else {
                    tree.left_out.remove(&path);
                }
                self.gather_until.get_or_insert(Instant::now() + GATHER);
            }
            WatchEvent::Rules { folder, what, at } => {
                // A file with rules that is still being written may lack some of its rules.
                let quiet = match what {
                    What::Created | What::Written => SHARE_OPEN_QUIET,
                    What::Closed | What::Other => SHARE_QUIET,
                };
                self.rules.insert((number, folder), at + quiet);
            }
            WatchEvent::ShareChanged | WatchEvent::Lost => self.rescan(number),
            WatchEvent::Above(event) => self.on_above(number, event),
        }
    }

    /// Schedules a lookup of the path of a record, because the file has changed.
    pub(super) fn changed(&mut self, path: &str) {
        let mut trees = self.trees.0.iter().enumerate();
        let Some((number, below)) = trees.find_map(|(n, tree)| Some((n, tree.names.below(path)?))) else { return };
        let touch = Touch { at: Instant::now(), written: true, open: None, created: false };
        self.touch((number, below.to_owned()), touch);
    }

    fn touch(&mut self, place: Place, touch: Touch) {
        match self.touched.entry(place) {
            Entry::Occupied(mut before) => before.get_mut().add(touch),
            Entry::Vacant(place) => {
                place.insert(touch);
            }
        }
        self.gather_until.get_or_insert(Instant::now() + GATHER);
    }

    // ---- background work ------------------------------------------------------------------------

    /// When [`Share::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let rescan = self.trees.0.iter().filter_map(|tree| tree.rescan_at).min();
        let rules = self.rules.values().min().copied();
        let settled = self.catalog.deadline().map(|due| due.max(self.next_look.unwrap_or(due)));
        let others = [self.gather_until, rescan, rules, settled, self.slow.deadline()];
        others.into_iter().flatten().min()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.lookups.is_empty()
            || !self.found.is_empty()
            || !self.scans.is_empty()
            || self.slow.is_due()
            || self.hasher.is_busy()
            || self.catalog.has_ready()
    }

    /// Starts the work that is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.trees.close();
        if self.gather_until.is_some_and(|until| until <= now) && self.lookups.is_empty() && self.found.is_empty() {
            self.gather_until = None;
            self.trees.0.iter_mut().for_each(|tree| log_left_out(tree, true));
            self.lookups.extend(std::mem::take(&mut self.touched));
        }
        while let Some((place, _)) = self.rules.iter().find(|(_, at)| **at <= now) {
            let place = place.clone();
            self.rules.remove(&place);
            self.scans.push_back(Scan::new(place.0, &place.1));
        }
        for number in 0..self.trees.0.len() {
            if self.trees.0[number].rescan_at.is_some_and(|at| at <= now) {
                self.open_again(number, now);
            }
        }
        self.settle(now);
        self.slow.on_time(now);
    }

    /// Files that have not changed for long enough become ready to be hashed, if no process has
    /// them open for writing.
    fn settle(&mut self, now: Instant) {
        if self.next_look.is_some_and(|at| now < at) {
            return;
        }
        let due = self.catalog.due_if_closed(now);
        if !due.is_empty() {
            let start = thread_time();
            let open = open_for_writing(|path| self.trees.0.iter().any(|tree| path.starts_with(&tree.path)));
            let is_open =
                |path: &str| self.trees.find(path).is_some_and(|(tree, below)| open.contains(&tree.path.join(below)));
            if !open.is_empty() {
                due.iter().filter(|path| is_open(path)).for_each(|path| self.catalog.set_open(path));
            }
            self.next_look = Some(now + LOOK_PAUSE_TIMES * thread_time().saturating_sub(start));
        }
        self.catalog.settle(now);
    }

    /// Writes the digest cache to disk. Called while there is nothing else to do.
    pub(super) fn save(&mut self) {
        self.catalog.compact_cache();
    }

    /// Does one slice of background work.
    pub(super) fn slice(&mut self, buffer: &mut Vec<u8>) {
        self.trees.close();
        if !self.lookups.is_empty() {
            self.look_up();
        } else if !self.found.is_empty() {
            for _ in 0..LOOKUPS_PER_SLICE {
                let Some((path, stamp, Touch { at, written, open, .. })) = self.found.pop_front() else { break };
                self.catalog.observe(&path, stamp, Cause::Event { at, written, open });
            }
        } else if !self.scans.is_empty() {
            self.scan();
        } else if self.slow.is_due() {
            self.slow_slice();
        } else {
            let mut shared = Shared { trees: &mut self.trees, catalog: &mut self.catalog };
            self.hasher.slice(&mut shared, buffer);
        }
    }

    /// Looks up the paths that were reported. Removals take effect here; files that were found are
    /// handled later: a renamed file keeps its digest only if its old path is removed first.
    fn look_up(&mut self) {
        let now = Instant::now();
        for _ in 0..LOOKUPS_PER_SLICE {
            let Some(((number, path), mut touch)) = self.lookups.pop_front() else { break };
            let tree = &mut self.trees.0[number];
            let full = tree.names.full(&path);
            let mut sorted = tree.lookup(&path);
            // A change of the mode may have made the file unreadable.
            let is_other = !touch.written && touch.open.is_none();
            if is_other && matches!(sorted, Sorted::File(_)) && tree.folder.refuses(&path) {
                sorted = Sorted::LeftOut(Reason::Unreadable);
            }
            match sorted {
                Sorted::File(_) | Sorted::LeftOut(_) | Sorted::Nothing => {
                    tree.rules.forget_below(&path);
                    tree.left_out.remove_below(path.as_bytes());
                }
                Sorted::Folder | Sorted::Unknown => {}
            }
            match sorted {
                Sorted::File(stamp) => {
                    self.catalog.remove_below(&full, now);
                    tree.left_out.remove(path.as_bytes());
                    // If a hard link to an existing file is made, only a creation is reported, and
                    // no close follows.
                    if touch.created && tree.folder.links(&path) > 1 {
                        touch.open = Some(false);
                    }
                    self.found.push_back((full, stamp, touch));
                }
                // The scan watches the folder before reading it.
                Sorted::Folder => {
                    self.catalog.remove_file(&full, now);
                    tree.left_out.remove(path.as_bytes());
                    self.scans.push_back(Scan::new(number, &path));
                }
                Sorted::LeftOut(reason) => {
                    self.catalog.remove(&full, now);
                    tree.left_out.insert(path.as_bytes(), reason);
                }
                Sorted::Nothing => {
                    self.catalog.remove(&full, now);
                    tree.left_out.remove(path.as_bytes());
                }
                Sorted::Unknown => {
                    self.touched.insert((number, path), touch);
                    self.gather_until.get_or_insert(now + RETRY);
                }
            }
        }
    }

    fn scan(&mut self) {
        let Some(scan) = self.scans.front_mut() else { return };
        let tree = &mut self.trees.0[scan.tree];
        let over = scan.slice(tree, &mut self.catalog);
        if scan.limit {
            unwatched(tree, "the limit fs.inotify.max_user_watches is reached");
        }
        if let Some(scan) = over.then(|| self.scans.pop_front()).flatten() {
            self.scanned(&scan);
        }
    }

    /// One slice of the slow scan.
    pub(super) fn slow_slice(&mut self) {
        let start = Instant::now();
        if self.slow.scan.is_none() {
            self.begin_slow_scan();
        }
        if let Some(mut scan) = self.slow.scan.take() {
            if scan.slice(&mut self.trees.0[scan.tree], &mut self.catalog) {
                self.scanned(&scan);
            } else {
                self.slow.scan = Some(scan);
            }
        }
        self.slow.pause(start.elapsed());
    }

    fn begin_slow_scan(&mut self) {
        if self.slow.rest.is_empty() {
            self.slow.rest.extend(0..self.trees.0.len());
        }
        let Some(number) = self.slow.rest.pop_front() else { return };
        let tree = &self.trees.0[number];
        if !tree.missing && At::find(&tree.given).is_ok_and(|at| at.identity == tree.identity) {
            self.slow.scan = Some(Scan::slow(number));
        } else {
            self.rescan(number);
        }
    }

    fn scanned(&mut self, scan: &Scan) {
        let now = Instant::now();
        let tree = &mut self.trees.0[scan.tree];
        let top = printable(&tree.names.full(&scan.top));
        log::debug!("scanned {top}: {} files of the share are offered", self.catalog.offered());
        if scan.is_full() {
            tree.scanned_at = Some(now);
        }
        log_left_out(tree, !scan.is_full() || scan.is_slow());
        for folder in &scan.unreadable {
            log::warn!("the folder {} of the share cannot be read; its files are not shared", printable(folder));
        }
        for (folder, why) in &scan.unruled {
            let folder = printable(folder);
            log::warn!("the folder {folder} of the share is not shared: its .spratignore cannot be read: {why}");
        }
        let again = if scan.starved { Some(RETRY) } else { tree.unwatched.then_some(RESCAN_UNWATCHED) };
        if let Some(pause) = again {
            rescan_by(tree, now + pause);
        }
    }

    // ---- for the status ------------------------------------------------------------------------

    /// The counts of what is not shared, and the number of files that are not offered yet.
    pub(super) fn counts(&self) -> (Counts, u64) {
        (self.trees.left_out(), self.catalog.unhashed().0)
    }

    /// The progress of the hashing.
    pub(super) fn progress(&self) -> Progress {
        self.hasher.progress(self.catalog.unhashed())
    }

    // ---- for people -----------------------------------------------------------------------------

    /// The place of a file or folder in the shares. The error is the reason why it is in none of
    /// them.
    pub(super) fn place_of(&self, path: &Path) -> Result<Place, String> {
        let real = std::fs::canonicalize(path).map_err(|error| format!("cannot be found: {error}"))?;
        let trees = self.trees.0.iter().enumerate().filter(|(_, tree)| real.starts_with(&tree.path));
        let Some((number, tree)) = trees.max_by_key(|(_, tree)| tree.path.as_os_str().len()) else {
            let shares: Vec<_> = self.trees.0.iter().map(|tree| printable(&tree.path.to_string_lossy())).collect();
            let shares = shares.join(" or ");
            return Err(format!(
                "does not lie in {shares}, which this peer shares; move it there, or share its folder"
            ));
        };
        let below = real.strip_prefix(&tree.path).unwrap_or(&real).as_os_str().as_bytes();
        if below.is_empty() {
            return Ok((number, String::new()));
        }
        let below = tree.names.path(below).map_err(|reason| format!("is not shared: {}", reason.why()))?;
        if tree.rules.ignore(&below, real.is_dir()) {
            return Err(format!("is not shared: {}", Reason::Ignored.why()));
        }
        Ok((number, below))
    }

    /// The name of a shared folder.
    pub(super) fn name(&self, number: usize) -> String {
        let path = self.trees.0.get(number).and_then(|tree| tree.path.file_name());
        path.map_or_else(|| "share".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Looks at a file or folder as if the watcher had reported it.
    pub(super) fn look_again(&mut self, (number, below): &Place, now: Instant) {
        if below.is_empty() {
            self.scans.push_back(Scan::new(*number, ""));
        } else {
            let touch = Touch { at: now, written: false, open: None, created: false };
            self.touch((*number, below.clone()), touch);
        }
    }

    /// Whether paths are being looked up or folders are being scanned. If so, files may be missing
    /// in the catalog.
    pub(super) fn is_looking(&self) -> bool {
        self.gather_until.is_some() || !self.lookups.is_empty() || !self.found.is_empty() || !self.scans.is_empty()
    }

    // ---- for transfers --------------------------------------------------------------------------

    /// Offers a file that was published with a proven content. The caller must flush the digest
    /// cache.
    pub(super) fn add_published(&mut self, path: &str, stamp: Stamp, digest: &ContentDigest) {
        if !matches!(self.trees.lookup(path), Sorted::File(now) if now == stamp) {
            return;
        }
        self.catalog.cache.insert(&stamp, digest);
        self.catalog.offer(path, stamp, digest.root);
    }

    /// Hashes a file again, because its cached manifest cannot be read.
    pub(super) fn hash_again(&mut self, path: &str, stamp: Stamp) {
        self.catalog.cache.forget(&stamp);
        self.catalog.settle_again(path, stamp, Instant::now());
    }
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn rescan_by(tree: &mut Tree, at: Instant) {
    tree.rescan_at = Some(tree.rescan_at.map_or(at, |before| before.min(at)));
}

/// A folder cannot be watched, so the share is scanned at intervals.
fn unwatched(tree: &mut Tree, why: &str) {
    tree.unwatched = true;
    if !std::mem::replace(&mut tree.warned_unwatched, true) {
        let shown = printable(&tree.path.to_string_lossy());
        log::warn!("not all of {shown} can be watched: {why}; it is scanned every {RESCAN_UNWATCHED:?} instead");
    }
}

/// Logs what is not shared, if this has changed since it was last logged. `only_surprising` leaves
/// out the usual reasons.
fn log_left_out(tree: &mut Tree, only_surprising: bool) {
    let counts = *tree.left_out.counts();
    let before = std::mem::replace(&mut tree.logged, counts);
    let [surprising, usual] = counts.words();
    let shown = printable(&tree.path.to_string_lossy());
    if !surprising.is_empty() && surprising != before.words()[0] {
        log::warn!("files or folders of {shown} that are not shared: {surprising}");
    }
    if !usual.is_empty() && usual != before.words()[1] && !only_surprising {
        log::info!("files or folders of {shown} that are not shared: {usual}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_others_use_the_processor_does_not_count() {
        const BUSY: Duration = Duration::from_millis(50);
        let before = thread_time();
        let busy = std::thread::spawn(|| while thread_time() < BUSY {});
        busy.join().unwrap();
        assert!(thread_time().saturating_sub(before) < BUSY);
    }
}
