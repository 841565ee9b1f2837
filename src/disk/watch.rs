//! The watcher: inotify through `notify`, one watch per folder. It only tells the worker where to look; it knows no file.
//!
//! Each folder is watched by its own call, not recursively: the call returns once the watch exists, so that what the worker
//! then finds in the folder and what the watcher then tells leave no gap between them. (A recursive watch adds the watch of a
//! new folder some time after telling of the folder.) It also follows no symlink.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::catalog::{Skipped, join, visible};

/// Sightings that wait for the worker, at most; one more and the share is scanned instead.
const SIGHTINGS_MAX: usize = 65_536;

/// What the watcher tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// Something happened at this path.
    Touched {
        path: String,
        /// The content of a file may have been written to.
        data: bool,
        at: Instant,
    },
    /// Something happened to a file whose name cannot be shared.
    Skipped(Skipped),
    /// The folder of the share itself was moved or removed.
    RootMoved,
    /// Events were lost.
    Lost,
}

/// Whether a folder is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Yes,
    /// It went meanwhile; its parent's watch tells of it.
    Gone,
    /// The system's limit of watches is reached: only scans find what changes.
    Limit,
}

/// An armed watcher. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    root: PathBuf,
    waiting: Arc<AtomicUsize>,
}

impl Watch {
    /// A watcher that watches nothing yet. `tell` runs on its thread.
    pub(super) fn new(root: &Path, tell: impl Fn(Sighting) + Send + 'static) -> notify::Result<Watch> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let (counter, base) = (waiting.clone(), root.to_owned());
        let overflown = AtomicBool::new(false);
        let on_event = move |event: notify::Result<notify::Event>| {
            for sighting in sightings(event, &base) {
                if counter.load(Ordering::Relaxed) < SIGHTINGS_MAX {
                    overflown.store(false, Ordering::Relaxed);
                } else if overflown.swap(true, Ordering::Relaxed) {
                    continue;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                tell(if overflown.load(Ordering::Relaxed) { Sighting::Lost } else { sighting });
            }
        };
        let config = Config::default().with_follow_symlinks(false);
        Ok(Watch { watcher: RecommendedWatcher::new(on_event, config)?, root: root.to_owned(), waiting })
    }

    /// Watches one folder of the share; returns once the watch exists.
    pub(super) fn add(&mut self, folder: &str) -> Watched {
        match self.watcher.watch(&self.root.join(folder), RecursiveMode::NonRecursive) {
            Ok(()) => Watched::Yes,
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => Watched::Limit,
            Err(_) => Watched::Gone,
        }
    }

    /// The worker has taken a sighting.
    pub(super) fn taken(&self) {
        // A sighting of an earlier watcher may still come: never below zero.
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1));
    }
}

fn sightings(event: notify::Result<notify::Event>, root: &Path) -> Vec<Sighting> {
    let Ok(event) = event else { return vec![Sighting::Lost] };
    if event.need_rescan() {
        return vec![Sighting::Lost];
    }
    let data = match event.kind {
        // Reading a file opens it: our own hashing and serving must not wake the worker.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Metadata(_)) | EventKind::Remove(_) => false,
        // Told as From and To already.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
        EventKind::Modify(ModifyKind::Name(_)) => false,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => true,
    };
    let at = Instant::now();
    event.paths.iter().filter_map(|path| sighting(path, root, data, event.kind, at)).collect()
}

fn sighting(path: &Path, root: &Path, data: bool, kind: EventKind, at: Instant) -> Option<Sighting> {
    let below = path.strip_prefix(root).ok()?;
    if below.as_os_str().is_empty() {
        let moved = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        return moved.then_some(Sighting::RootMoved);
    }
    match relative(below.as_os_str()) {
        Ok(path) => Some(Sighting::Touched { path, data, at }),
        Err(Skipped::Hidden) => None,
        Err(skipped @ (Skipped::NotUtf8 | Skipped::TooLong)) => {
            matches!(kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)))
                .then_some(Sighting::Skipped(skipped))
        }
    }
}

fn relative(below: &OsStr) -> Result<String, Skipped> {
    below.as_bytes().split(|byte| *byte == b'/').try_fold(String::new(), |folder, name| join(&folder, visible(name)?))
}
