//! The watcher: inotify through `notify`, with one watch per folder. It reports paths to the worker
//! and knows nothing about the files.
//!
//! A separate call watches each folder. The call returns once the watch exists, so that no event is
//! lost between the reading of the folder and its first event. A recursive watch would first report
//! a new folder, and only then watch it. Symlinks are not followed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::above::AboveEvent;
use super::folder::FolderId;
use super::left_out::Reason;
use super::names::{Names, RULES_NAME};

/// Most events that wait for the worker. If there are more, the share is scanned instead.
const EVENTS_MAX: usize = 65_536;

/// A report of the watcher. Paths are relative to the share.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WatchEvent {
    /// Something happened at this path.
    Touched { path: String, what: What, at: Instant },
    /// A file or folder came or went that is not shared.
    LeftOut { path: Vec<u8>, reason: Reason },
    /// Something happened to the rules of this folder.
    Rules { folder: String, what: What, at: Instant },
    /// The folder of the share itself was moved or removed, or got a new mode.
    ShareChanged,
    /// Events were lost.
    Lost,
    /// An event of the watcher of the folders above the share.
    Above(AboveEvent),
}

/// What happened at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It was created: a writer has made the file and has it open, or it is another link to a file.
    Created,
    /// The content of a file was written to.
    Written,
    /// A file that was open for writing was closed.
    Closed,
    /// Anything else: it was renamed or removed, or got a new mode.
    Other,
}

/// Whether a folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Yes,
    /// The folder no longer exists. The watch of its parent reports that.
    Gone,
    /// The system's limit of watches is reached. Only scans find changes in the folder.
    Limit,
}

/// A running watcher. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    share: PathBuf,
    waiting: Arc<AtomicUsize>,
    /// Hashes of the watched folders. Each contains the path of the folder and its identity.
    watched: HashSet<u64>,
}

impl Watch {
    /// A watcher that watches nothing yet. The callback runs on its thread.
    pub(super) fn new(
        share: &Path,
        names: &Names,
        callback: impl Fn(WatchEvent) + Send + 'static,
    ) -> notify::Result<Watch> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let (counter, base, names) = (waiting.clone(), share.to_owned(), names.clone());
        let overflown = AtomicBool::new(false);
        let on_event = move |event: notify::Result<notify::Event>| {
            for event in watch_events(event, &base, &names) {
                if counter.load(Ordering::Relaxed) < EVENTS_MAX {
                    overflown.store(false, Ordering::Relaxed);
                } else if overflown.swap(true, Ordering::Relaxed) {
                    continue;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                callback(if overflown.load(Ordering::Relaxed) { WatchEvent::Lost } else { event });
            }
        };
        let config = Config::default().with_follow_symlinks(false);
        Ok(Watch {
            watcher: RecommendedWatcher::new(on_event, config)?,
            share: share.to_owned(),
            waiting,
            watched: HashSet::new(),
        })
    }

    /// Watches one folder of the share. Returns once the watch exists.
    pub(super) fn add(&mut self, folder: &str) -> Watched {
        match self.watcher.watch(&self.share.join(folder), RecursiveMode::NonRecursive) {
            Ok(()) => Watched::Yes,
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => Watched::Limit,
            Err(_) => Watched::Gone,
        }
    }

    /// As [`Watch::add`], for the folder that was found at the path. With `again`, it adds a watch
    /// even if a folder at this path was watched before, because the earlier watch may now have
    /// another path.
    pub(super) fn add_found(&mut self, folder: &str, id: FolderId, again: bool) -> Watched {
        let hash = hash_of(folder, id);
        if !again && self.watched.contains(&hash) {
            return Watched::Yes;
        }
        let watched = self.add(folder);
        if watched == Watched::Yes {
            self.watched.insert(hash);
        }
        watched
    }

    /// The worker has received an event.
    pub(super) fn taken(&self) {
        // Events of an earlier watcher may still arrive, so the count stops at zero.
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1));
    }
}

fn hash_of(folder: &str, id: FolderId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (folder, id).hash(&mut hasher);
    hasher.finish()
}

fn watch_events(event: notify::Result<notify::Event>, share: &Path, names: &Names) -> Vec<WatchEvent> {
    let Ok(event) = event else { return vec![WatchEvent::Lost] };
    if event.need_rescan() {
        return vec![WatchEvent::Lost];
    }
    let what = match event.kind {
        // To read a file, it must be opened. Our own hashing and serving must not wake the worker.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => What::Closed,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Metadata(_)) | EventKind::Remove(_) => What::Other,
        // This was already reported as From and To.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
        EventKind::Modify(ModifyKind::Name(_)) => What::Other,
        EventKind::Create(_) => What::Created,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => What::Written,
    };
    let at = Instant::now();
    let paths = event.paths.iter().filter_map(|path| path.strip_prefix(share).ok());
    paths.filter_map(|below| watch_event(below, names, what, event.kind, at)).collect()
}

fn watch_event(below: &Path, names: &Names, what: What, kind: EventKind, at: Instant) -> Option<WatchEvent> {
    let bytes = below.as_os_str().as_bytes();
    if bytes.is_empty() {
        let changed =
            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_)));
        return changed.then_some(WatchEvent::ShareChanged);
    }
    if bytes.rsplit(|byte| *byte == b'/').next() == Some(RULES_NAME.as_bytes()) {
        let folder = below.parent()?.to_str()?.to_owned();
        return Some(WatchEvent::Rules { folder, what, at });
    }
    match names.path(bytes) {
        Ok(path) => Some(WatchEvent::Touched { path, what, at }),
        Err(reason) => {
            // A write to such a file changes nothing.
            let came_or_went =
                matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
            came_or_went.then(|| WatchEvent::LeftOut { path: bytes.to_owned(), reason })
        }
    }
}
