//! The state of each file of the share: settling, ready to be hashed, or offered. It does no I/O
//! and has no clock.
//!
//! A file is offered once it is hashed and has not changed for [`SHARE_QUIET`], or for
//! [`SHARE_OPEN_QUIET`] while it is open for writing. If it changes, it is withdrawn first. A
//! renamed file keeps its digest. The catalog collects the changes for the machine, the latest
//! change of each path.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::folder::{Identity, Stamp};
use super::left_out::is_since;
use crate::config::{SHARE_OPEN_QUIET, SHARE_QUIET};
use crate::http::listing::Entry as Listed;
use crate::wire::ids::Root;
use crate::wire::{FileRecord, SharePath};

/// How long the digest of a removed file is kept, in case the file was renamed.
const REMOVED_KEPT: Duration = Duration::from_secs(5);
/// The most digests that are kept for this. If more files are moved, the others are hashed again.
const REMOVED_MAX: usize = 100_000;

/// Files up to this size are hashed before larger files, so that a new file does not wait for a
/// huge one.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// How late it may be noticed that a file has settled. With this slack, many files cost few
/// wake-ups.
const SETTLED_SLACK: Duration = Duration::from_millis(20);

/// Why a file is observed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// A scan found it. Only the times of the file say when it was last written.
    Scan {
        now: Instant,
        /// How long ago the file was last changed.
        age: Duration,
        /// Whether the watcher will report further writes to the file.
        watched: bool,
    },
    /// The watcher reported it.
    Event {
        at: Instant,
        /// Whether the content may have been written to, even if the times of the file do not say
        /// so.
        written: bool,
        /// Whether it is open for writing, if the event says so.
        open: Option<bool>,
    },
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    state: State,
    /// Whether it was written to and, as far as the watcher knows, has not been closed since.
    open: bool,
    /// The last scan that found it.
    scan: u32,
}

impl Entry {
    fn readiness(&self) -> Readiness {
        match self.state {
            State::Offered(root) => Readiness::Offered(root),
            State::Settling { .. } | State::Ready => Readiness::Unhashed,
            State::Unreadable => Readiness::Unreadable,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Settling {
        due: Instant,
        /// When it would be due if it were open for writing.
        due_if_open: Instant,
    },
    Ready,
    Offered(Root),
    /// It could not be read. It is tried again when an event of the file comes.
    Unreadable,
}

impl Entry {
    /// How long the file must not have changed. If the file is not watched, it is not known whether
    /// it is open.
    fn quiet(&self, watched: bool) -> Duration {
        if self.open || !watched { SHARE_OPEN_QUIET } else { SHARE_QUIET }
    }
}

/// How far a file is from being offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Offered(Root),
    /// The file is being written, or waits to be hashed.
    Unhashed,
    Unreadable,
}

/// The files of the share.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<Arc<str>, Entry>,
    roots: BTreeSet<(Root, Arc<str>)>,
    settling: BTreeSet<(Instant, Arc<str>)>,
    /// Small files and large files that are ready to be hashed, in the order in which they settled.
    ready: [VecDeque<Arc<str>>; 2],
    /// Digests of files that were removed lately. None for a file that was open for writing.
    removed: HashMap<Identity, Option<(Root, Stamp)>>,
    removed_until: Option<Instant>,
    /// Changes for the machine: a record, or none if the file is no longer offered.
    changes: BTreeMap<Arc<str>, Option<FileRecord>>,
    /// The number of files that are being written or wait to be hashed, and their bytes.
    unhashed: (u64, u64),
    /// Number of the latest scan.
    scan: u32,
    /// The digests of offered files, and of earlier states of files.
    pub(super) cache: Cache,
}

impl Catalog {
    // ---- getters --------------------------------------------------------------------------------

    pub(super) fn offered(&self) -> usize {
        self.roots.len()
    }

    /// How many files are being written or wait to be hashed, and how many bytes they have.
    pub(super) fn unhashed(&self) -> (u64, u64) {
        self.unhashed
    }

    /// Up to 8 files that hold this content.
    pub(super) fn holders(&self, root: Root) -> Vec<(Arc<str>, Stamp)> {
        let first = (root, Arc::from(""));
        self.roots
            .range(first..)
            .take_while(|(r, _)| *r == root)
            .take(8)
            .filter_map(|(_, path)| Some((path.clone(), self.files.get(path)?.stamp)))
            .collect()
    }

    /// The content that is offered under this path.
    pub(super) fn offered_at(&self, path: &str) -> Option<(Root, Stamp)> {
        let entry = self.files.get(path)?;
        match entry.state {
            State::Offered(root) => Some((root, entry.stamp)),
            State::Settling { .. } | State::Ready | State::Unreadable => None,
        }
    }

    /// How many files at a path or below it are being written or wait to be hashed.
    pub(super) fn unhashed_at(&self, path: &str) -> usize {
        let files = self.files.get(path).into_iter().chain(self.below(path).map(|(_, entry)| entry));
        files.filter(|entry| entry.readiness() == Readiness::Unhashed).count()
    }

    /// The next files below a folder, in order, after this path.
    pub(super) fn listed_below(
        &self,
        folder: &str,
        after: Option<&str>,
        most: usize,
    ) -> Vec<(Arc<str>, Stamp, Readiness)> {
        let prefix = below(folder);
        let from = after.map_or(Bound::Included(prefix.as_str()), Bound::Excluded);
        self.files
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&prefix))
            .take(most)
            .map(|(path, entry)| (path.clone(), entry.stamp, entry.readiness()))
            .collect()
    }

    /// Whether there is a file at this path, in any state.
    pub(super) fn is_file(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The next entries of a folder, in order, after this name. If the name is that of a folder, it
    /// ends in a slash. Entries are files that are offered or wait to be hashed, and folders with
    /// such files.
    pub(super) fn children(&self, folder: &str, after: Option<&str>, most: usize) -> Vec<Listed> {
        let prefix = below(folder);
        let mut entries = Vec::new();
        // The slash after the name of a folder sorts before this.
        let past = |name: &str| format!("{prefix}{name}0");
        let mut from = match after.map(|after| (after, after.strip_suffix('/'))) {
            None => Bound::Included(prefix.clone()),
            Some((_, Some(folder))) => Bound::Included(past(folder)),
            Some((file, None)) => Bound::Excluded(format!("{prefix}{file}")),
        };
        while entries.len() < most
            && let Some((path, entry)) =
                self.files.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded)).next()
            && let Some(rest) = path.strip_prefix(&prefix)
        {
            match rest.split_once('/') {
                Some((name, _)) => {
                    entries.push(Listed { name: name.to_owned(), file: None });
                    from = Bound::Included(past(name));
                }
                None => {
                    let file = match entry.readiness() {
                        Readiness::Offered(root) => Some(Some(root)),
                        Readiness::Unhashed => Some(None),
                        Readiness::Unreadable => None,
                    };
                    if let Some(root) = file {
                        entries.push(Listed { name: rest.to_owned(), file: Some((entry.stamp.size, root)) });
                    }
                    from = Bound::Excluded(path.to_string());
                }
            }
        }
        entries
    }

    /// When [`Catalog::settle`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let settling = self.settling.first().map(|(due, _)| *due + SETTLED_SLACK);
        [settling, self.removed_until].into_iter().flatten().min()
    }

    pub(super) fn has_ready(&self) -> bool {
        self.ready.iter().any(|queue| !queue.is_empty())
    }

    /// Whether this file is in this state and still has to be hashed.
    pub(super) fn is_ready(&self, path: &str, stamp: &Stamp) -> bool {
        self.files.get(path).is_some_and(|entry| entry.state == State::Ready && entry.stamp == *stamp)
    }

    // ---- what was observed ----------------------------------------------------------------------

    /// A scan begins. Returns its number, for [`Catalog::not_found`]. Other scans may run at the
    /// same time.
    pub(super) fn begin_scan(&mut self) -> u32 {
        self.scan = self.scan.wrapping_add(1);
        self.scan
    }

    /// Files below a folder that were not observed since the scan with this number began.
    pub(super) fn not_found(&self, folder: &str, number: u32) -> Vec<Arc<str>> {
        let missing = |entry: &Entry| !is_since(entry.scan, number, self.scan);
        self.below(folder).filter(|(_, entry)| missing(entry)).map(|(path, _)| path.clone()).collect()
    }

    /// A scan has found this file. Returns false if the file is not known in this state; then
    /// `observe` must be called. If only the inode differs, the file has not changed: some file
    /// systems (FAT, FUSE) forget the number of an inode that is not in use.
    pub(super) fn find_again(&mut self, path: &str, stamp: &Stamp) -> bool {
        let Some(entry) = self.files.get_mut(path) else { return false };
        if entry.stamp != *stamp {
            let is_same = Stamp { ino: stamp.ino, ..entry.stamp } == *stamp;
            let Readiness::Offered(root) = entry.readiness() else { return false };
            if !is_same {
                return false;
            }
            self.cache.alias(&entry.stamp, stamp, root);
            entry.stamp = *stamp;
        }
        entry.scan = self.scan;
        true
    }

    /// There is a regular file at this path.
    pub(super) fn observe(&mut self, path: &str, stamp: Stamp, cause: Cause) {
        let scan = self.scan;
        let written = matches!(cause, Cause::Event { written: true, .. });
        let says = if let Cause::Event { open, .. } = cause { open } else { None };
        let Some(entry) = self.files.get_mut(path) else {
            let path: Arc<str> = path.into();
            // A file that is renamed while it is open stays open.
            let open = says.unwrap_or(self.removed.get(&stamp.identity()) == Some(&None));
            self.files.insert(path.clone(), Entry { stamp, state: State::Unreadable, open, scan });
            return self.observe_new(&path, stamp, cause, !written);
        };
        entry.scan = scan;
        entry.open = says.unwrap_or(entry.open);
        if entry.stamp == stamp && !written {
            match (entry.state, cause) {
                (State::Offered(_) | State::Ready, _) | (State::Settling { .. }, Cause::Scan { .. }) => return,
                (State::Settling { .. } | State::Unreadable, _) => {}
            }
        } else if entry.stamp.identity() == stamp.identity()
            && let (State::Offered(root), Cause::Event { written: false, .. }) = (entry.state, cause)
        {
            // Only ctime has changed and nothing was written, so only the mode or the number of
            // links is new.
            self.cache.alias(&entry.stamp, &stamp, root);
            entry.stamp = stamp;
            return;
        }
        // A write may leave the times unchanged. Then the stored digest of this stamp may be out of
        // date.
        let reuse = !written && entry.stamp != stamp;
        let path = self.withdraw(path);
        if let Some(entry) = self.files.get_mut(&path) {
            entry.stamp = stamp;
        }
        self.observe_new(&path, stamp, cause, reuse);
    }

    /// The file is in a new state. With `reuse`, a cached digest of this state is correct.
    fn observe_new(&mut self, path: &Arc<str>, stamp: Stamp, cause: Cause, reuse: bool) {
        if reuse {
            if let Some((root, before)) = self.removed.get(&stamp.identity()).copied().flatten() {
                self.cache.alias(&before, &stamp, root);
            }
            if let Some(root) = self.cache.root(&stamp) {
                return self.offer(path, stamp, root);
            }
        }
        let Some(entry) = self.files.get_mut(path) else { return };
        let (due, due_if_open) = match cause {
            Cause::Scan { now, age, watched } => {
                (now + entry.quiet(watched).saturating_sub(age), now + SHARE_OPEN_QUIET.saturating_sub(age))
            }
            Cause::Event { at, .. } => (at + entry.quiet(true), at + SHARE_OPEN_QUIET),
        };
        entry.state = State::Settling { due, due_if_open };
        self.unhashed.0 += 1;
        self.unhashed.1 += stamp.size;
        self.settling.insert((due, path.clone()));
    }

    /// There is neither a file nor a folder at this path.
    pub(super) fn remove(&mut self, path: &str, now: Instant) {
        self.remove_below(path, now);
        self.remove_file(path, now);
    }

    /// There is no folder at this path.
    pub(super) fn remove_below(&mut self, folder: &str, now: Instant) {
        self.files_below(folder).iter().for_each(|path| self.remove_file(path, now));
    }

    /// The paths of all files below a folder.
    pub(super) fn files_below(&self, folder: &str) -> Vec<Arc<str>> {
        self.below(folder).map(|(path, _)| path.clone()).collect()
    }

    /// There is no file at this path.
    pub(super) fn remove_file(&mut self, path: &str, now: Instant) {
        let Some(entry) = self.files.get(path) else { return };
        let kept = match entry.state {
            State::Offered(root) => Some(Some((root, entry.stamp))),
            State::Settling { .. } | State::Ready | State::Unreadable => entry.open.then_some(None),
        };
        if let Some(kept) = kept.filter(|_| self.removed.len() < REMOVED_MAX) {
            self.removed.insert(entry.stamp.identity(), kept);
            self.removed_until = Some(now + REMOVED_KEPT);
        }
        let path = self.withdraw(path);
        self.files.remove(&path);
    }

    fn below<'s>(&'s self, folder: &str) -> impl Iterator<Item = (&'s Arc<str>, &'s Entry)> + use<'s> {
        let prefix = below(folder);
        self.files
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    // ---- settling and hashing -------------------------------------------------------------------

    /// Files that would be ready now, but would have to wait if they were open for writing.
    pub(super) fn due_if_closed(&self, now: Instant) -> Vec<Arc<str>> {
        let due = self.settling.iter().take_while(|(due, _)| *due <= now);
        let waits_if_open = |path: &Arc<str>| {
            let state = self.files.get(path).map(|entry| entry.state);
            matches!(state, Some(State::Settling { due_if_open, .. }) if due_if_open > now)
        };
        due.filter(|(_, path)| waits_if_open(path)).map(|(_, path)| path.clone()).collect()
    }

    /// A process has this file open for writing, although no event says so.
    pub(super) fn set_open(&mut self, path: &Arc<str>) {
        let Some(entry) = self.files.get_mut(path) else { return };
        entry.open = true;
        if let State::Settling { due, due_if_open } = entry.state {
            entry.state = State::Settling { due: due_if_open, due_if_open };
            self.settling.remove(&(due, path.clone()));
            self.settling.insert((due_if_open, path.clone()));
        }
    }

    /// Makes files that have settled ready to be hashed. Forgets old digests of removed files.
    pub(super) fn settle(&mut self, now: Instant) {
        while self.settling.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, path)) = self.settling.pop_first() else { break };
            if let Some(entry) = self.files.get_mut(&path) {
                entry.state = State::Ready;
                self.ready[usize::from(entry.stamp.size > SMALL_BYTES_MAX)].push_back(path);
            }
        }
        if self.removed_until.is_some_and(|until| until <= now) {
            self.removed_until = None;
            self.removed = HashMap::new();
        }
    }

    /// The next small or large file to hash. It stays ready until [`Catalog::offer`],
    /// [`Catalog::settle_again`] or [`Catalog::set_unreadable`].
    pub(super) fn next_ready(&mut self, large: bool) -> Option<(Arc<str>, Stamp)> {
        while let Some(path) = self.ready[usize::from(large)].pop_front() {
            if let Some(entry) = self.files.get(&path)
                && entry.state == State::Ready
            {
                return Some((path, entry.stamp));
            }
        }
        None
    }

    /// The content of a file is known: it was hashed in this state, or was published with a proven
    /// content.
    pub(super) fn offer(&mut self, path: &str, stamp: Stamp, root: Root) {
        if self.offered_at(path).is_some_and(|(offered, _)| offered == root) {
            if let Some(entry) = self.files.get_mut(path) {
                entry.stamp = stamp;
            }
            return;
        }
        let Some(record) =
            SharePath::new(path).map(|path| FileRecord { path, size: stamp.size, root, collection: false })
        else {
            return;
        };
        let path = self.withdraw(path);
        let open = self.files.get(&path).is_some_and(|entry| entry.open);
        self.files.insert(path.clone(), Entry { stamp, state: State::Offered(root), open, scan: self.scan });
        self.roots.insert((root, path.clone()));
        self.changes.insert(path, Some(record));
    }

    /// A file has changed since it settled.
    pub(super) fn settle_again(&mut self, path: &str, stamp: Stamp, now: Instant) {
        if !self.files.contains_key(path) {
            return;
        }
        let path = self.withdraw(path);
        let scan = self.scan;
        if let Some(entry) = self.files.get_mut(&path) {
            let due = now + entry.quiet(true);
            let state = State::Settling { due, due_if_open: now + SHARE_OPEN_QUIET };
            *entry = Entry { stamp, state, open: entry.open, scan };
            self.unhashed.0 += 1;
            self.unhashed.1 += stamp.size;
            self.settling.insert((due, path));
        }
    }

    /// A file cannot be read.
    pub(super) fn set_unreadable(&mut self, path: &str) {
        let path = self.withdraw(path);
        if let Some(entry) = self.files.get_mut(&path) {
            entry.state = State::Unreadable;
        }
    }

    /// Removes a file from every queue and list, so that its entry can be changed or removed.
    fn withdraw(&mut self, path: &str) -> Arc<str> {
        let Some((path, entry)) = self.files.get_key_value(path) else { return path.into() };
        let path = path.clone();
        if entry.readiness() == Readiness::Unhashed {
            self.unhashed.0 -= 1;
            self.unhashed.1 -= entry.stamp.size;
        }
        match entry.state {
            State::Settling { due, .. } => {
                self.settling.remove(&(due, path.clone()));
            }
            State::Offered(root) => {
                self.roots.remove(&(root, path.clone()));
                self.changes.insert(path.clone(), None);
            }
            // `next_ready` will skip the path.
            State::Ready | State::Unreadable => {}
        }
        if let Some(entry) = self.files.get_mut(&path) {
            entry.state = State::Unreadable;
        }
        path
    }

    /// Writes the digest cache to disk. If most of it belongs to no offered file, drops that part.
    pub(super) fn compact_cache(&mut self) {
        let offered = self.files.values().filter(|entry| matches!(entry.state, State::Offered(_)));
        self.cache.compact(self.roots.len(), offered.map(|entry| &entry.stamp));
    }

    // ---- changes --------------------------------------------------------------------------------

    /// The next changes, up to `max` records and removals. Each path comes only once.
    pub(super) fn take_changes(&mut self, max: usize) -> Option<(Vec<FileRecord>, Vec<SharePath>)> {
        if self.changes.is_empty() {
            return None;
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        while added.len() + removed.len() < max
            && let Some((path, change)) = self.changes.pop_first()
        {
            match change {
                Some(record) => added.push(record),
                None => removed.extend(SharePath::new(&path)),
            }
        }
        Some((added, removed))
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }
}

/// The start that the paths of all files below a folder have in common.
fn below(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}
