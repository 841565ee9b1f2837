//! Hashes the files of the share that have settled, one slice at a time. Small files overtake the
//! large file that is being hashed.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Catalog;
use super::folder::{Stamp, is_starved};
use super::hash::{ContentDigest, FileHash};
use super::left_out::Reason;
use super::tree::{Sorted, Trees};
use crate::wire::name::printable;

/// Bytes and time after which a slice ends, so that jobs can run.
const SLICE_BYTES: u64 = 4 << 20;
const SLICE_TIME: Duration = Duration::from_millis(4);

/// The hashing of the share.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    /// The large file that is being hashed.
    large: Option<Hashing>,
    /// Bytes hashed since the start.
    pub(super) bytes: u64,
    /// The files that were hashed since the queue was last empty, and their bytes.
    done: (u64, u64),
}

/// The progress of the hashing of the share. All numbers are zero if no file waits to be hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The number of files that were hashed since the queue was last empty, and this number plus
    /// the files that wait.
    files: (u64, u64),
    /// The same two numbers in bytes. The hashed part of an incomplete file counts.
    bytes: (u64, u64),
}

impl Progress {
    /// Each gauge with its name.
    pub(super) fn named(&self) -> [(&'static str, u64); 4] {
        let Progress { files, bytes } = self;
        [
            ("hashing_files", files.0),
            ("hashing_files_total", files.1),
            ("hashing_bytes", bytes.0),
            ("hashing_bytes_total", bytes.1),
        ]
    }
}

#[derive(Debug)]
struct Hashing {
    path: Arc<str>,
    stamp: Stamp,
    file: File,
    hash: FileHash,
}

/// What a slice works with.
pub(super) struct Shared<'s> {
    pub(super) trees: &'s mut Trees,
    pub(super) catalog: &'s mut Catalog,
}

impl Hasher {
    /// The progress, if this many files and bytes are not hashed.
    pub(super) fn progress(&self, (files, bytes): (u64, u64)) -> Progress {
        if files == 0 {
            return Progress::default();
        }
        let in_work = self.large.as_ref().map_or(0, |large| large.hash.bytes());
        let files = (self.done.0, self.done.0 + files);
        Progress { files, bytes: (self.done.1 + in_work, self.done.1 + bytes) }
    }

    /// Whether a large file is being hashed.
    pub(super) fn is_busy(&self) -> bool {
        self.large.is_some()
    }

    /// Hashes one piece of the large file, if there is one. Then hashes small files, and then more
    /// of the large file.
    pub(super) fn slice(&mut self, shared: &mut Shared<'_>, buffer: &mut Vec<u8>) {
        let (start, before) = (Instant::now(), self.bytes);
        if let Some(large) = self.large.take() {
            self.large = self.step(shared, large, buffer);
        }
        while self.bytes - before < SLICE_BYTES && start.elapsed() < SLICE_TIME {
            if let Some((path, stamp)) = shared.catalog.next_ready(false) {
                let mut small = shared.begin(path, stamp);
                while let Some(hashing) = small {
                    small = self.step(shared, hashing, buffer);
                }
            } else if let Some(large) = self.large.take() {
                self.large = self.step(shared, large, buffer);
            } else if let Some((path, stamp)) = shared.catalog.next_ready(true) {
                self.large = shared.begin(path, stamp);
            } else {
                return;
            }
        }
    }

    /// Hashes one piece. Returns the file if it is not completely hashed.
    fn step(&mut self, shared: &mut Shared<'_>, mut hashing: Hashing, buffer: &mut Vec<u8>) -> Option<Hashing> {
        if !shared.catalog.is_ready(&hashing.path, &hashing.stamp) {
            return None;
        }
        match hashing.hash.step(&hashing.file, buffer, &mut self.bytes) {
            Ok(None) => return Some(hashing),
            Ok(Some(digest)) => {
                self.done = (self.done.0 + 1, self.done.1 + hashing.stamp.size);
                shared.hashed(&hashing, &digest);
                if shared.catalog.unhashed().0 == 0 {
                    self.done = (0, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                shared.catalog.settle_again(&hashing.path, hashing.stamp, Instant::now());
            }
            Err(error) => shared.unreadable(&hashing.path, &error),
        }
        None
    }
}

impl Shared<'_> {
    fn begin(&mut self, path: Arc<str>, stamp: Stamp) -> Option<Hashing> {
        let now = Instant::now();
        match self.trees.open_file(&path) {
            Ok((file, current)) if current == stamp => {
                return Some(Hashing { path, stamp, file, hash: FileHash::new(stamp.size) });
            }
            Ok((_, current)) => self.catalog.settle_again(&path, current, now),
            Err(error) => match self.trees.lookup(&path) {
                Sorted::File(current) if is_starved(error) => self.catalog.settle_again(&path, current, now),
                Sorted::File(_) => self.unreadable(&path, &error.into()),
                Sorted::Unknown => self.catalog.settle_again(&path, stamp, now),
                Sorted::Folder | Sorted::LeftOut(_) | Sorted::Nothing => self.catalog.remove_file(&path, now),
            },
        }
        None
    }

    /// Offers the file if it has not changed since it was opened.
    fn hashed(&mut self, hashing: &Hashing, digest: &ContentDigest) {
        match Stamp::of_file(&hashing.file) {
            Ok(stamp) if stamp == hashing.stamp => {
                self.catalog.cache.insert(&stamp, digest);
                self.catalog.offer(&hashing.path, stamp, digest.root);
            }
            Ok(stamp) => self.catalog.settle_again(&hashing.path, stamp, Instant::now()),
            Err(error) => self.unreadable(&hashing.path, &error.into()),
        }
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) {
        log::warn!("{} is not shared: it cannot be read: {error}", printable(path));
        self.catalog.set_unreadable(path);
        if let Some((tree, below)) = self.trees.find_mut(path) {
            tree.left_out.insert(below.as_bytes(), Reason::Unreadable);
        }
    }
}
