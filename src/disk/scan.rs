//! Walks the share or a folder of it, a bounded number of entries at a time.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::catalog::{Catalog, Cause};
use super::folder::{Folder, Found, Stamp, is_starved};
use super::names::{SkippedCount, join, visible};

/// Entries per slice, so that jobs do not wait long.
const ENTRIES_PER_SLICE: usize = 1000;

/// A walk through one folder and everything below it.
pub(super) struct Scan {
    /// Where it begins; empty for the complete share.
    pub(super) top: String,
    begun: bool,
    folders: VecDeque<String>,
    open: Option<(String, Dir)>,
    /// The open folder is watched.
    watched: bool,
    pub(super) skipped: SkippedCount,
    /// Folders that could not be read.
    pub(super) unreadable: Vec<String>,
    /// A folder could not be opened because descriptors or memory were missing, so the scan is
    /// incomplete.
    pub(super) starved: bool,
}

impl Scan {
    pub(super) fn new(top: &str) -> Scan {
        Scan {
            top: top.to_owned(),
            begun: false,
            folders: VecDeque::from([top.to_owned()]),
            open: None,
            watched: true,
            skipped: SkippedCount::default(),
            unreadable: Vec::new(),
            starved: false,
        }
    }

    /// Whether it walks the complete share.
    pub(super) fn is_full(&self) -> bool {
        self.top.is_empty()
    }

    /// Walks on; true once the walk is over. `watch` is called with each folder before it is read,
    /// and returns whether the folder is watched.
    pub(super) fn slice(&mut self, share: &Folder, catalog: &mut Catalog, mut watch: impl FnMut(&str) -> bool) -> bool {
        if !self.begun {
            self.begun = true;
            catalog.begin_scan();
        }
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut left = ENTRIES_PER_SLICE;
        while left > 0 {
            left -= 1;
            let Some((folder, dir)) = &mut self.open else {
                let Some(folder) = self.folders.pop_front() else {
                    self.remove_missing(share, catalog, now, wall);
                    return true;
                };
                self.watched = watch(&folder);
                self.open_folder(share, folder);
                continue;
            };
            let entry = match dir.read() {
                Some(Ok(entry)) => entry,
                Some(Err(_)) | None => {
                    self.open = None;
                    continue;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let path = match visible(name).and_then(|name| join(folder, name)) {
                Ok(path) => path,
                Err(skipped) => {
                    self.skipped.count(skipped);
                    continue;
                }
            };
            let found = match entry.file_type() {
                FileType::Directory => Found::Folder,
                FileType::RegularFile | FileType::Unknown => dir
                    .fd()
                    .and_then(|fd| statat(fd.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW))
                    .map_or(Found::Nothing, |stat| Found::of(&stat)),
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => Found::Nothing,
            };
            match found {
                Found::File(stamp) => catalog.observe(&path, stamp, found_by_scan(&stamp, now, wall, self.watched)),
                Found::Folder => self.folders.push_back(path),
                Found::Nothing | Found::Unknown => {}
            }
        }
        false
    }

    fn open_folder(&mut self, share: &Folder, folder: String) {
        match share.open_folder(&folder).and_then(Dir::new) {
            Ok(dir) => self.open = Some((folder, dir)),
            Err(error) if is_starved(error) => self.starved = true,
            Err(Errno::ACCESS) => self.unreadable.push(folder),
            Err(_) => {}
        }
    }

    /// Removes the files that the walk did not find. Each is looked up first, because a rename can
    /// hide a file from a walk.
    fn remove_missing(&self, share: &Folder, catalog: &mut Catalog, now: Instant, wall: SystemTime) {
        for path in catalog.not_found(&self.top) {
            match share.lookup(&path) {
                Found::File(stamp) => catalog.observe(&path, stamp, found_by_scan(&stamp, now, wall, true)),
                Found::Folder | Found::Nothing => catalog.remove_file(&path, now),
                Found::Unknown => {}
            }
        }
    }
}

/// The cause for a file that a scan found. Its age is that of its last change of any kind, because
/// users can set mtime.
fn found_by_scan(stamp: &Stamp, now: Instant, wall: SystemTime, watched: bool) -> Cause {
    let changed_ns = stamp.mtime_ns.max(stamp.ctime_ns);
    let wall_ns = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    let age = Duration::from_nanos(u64::try_from(wall_ns.saturating_sub(changed_ns)).unwrap_or(0));
    Cause::Scan { now, age, watched }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_cannot_be_shared_is_counted_and_the_rest_watched_and_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"plain"[..], b"latin-\xe9", b"latin-\xe8", b".hidden", b"x.part"] {
            std::fs::write(folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
        }
        let deep = ["d".repeat(230), "e".repeat(230), "f".repeat(230)].join("/");
        std::fs::create_dir_all(folder.path().join(&deep)).unwrap();
        std::fs::write(folder.path().join(&deep).join("0123456789"), "x").unwrap();
        let share = Folder::open(folder.path()).unwrap();
        let mut catalog = Catalog::default();
        let mut scan = Scan::new("");
        let mut watched = Vec::new();
        while !scan.slice(&share, &mut catalog, |folder| {
            watched.push(folder.len());
            true
        }) {}
        assert_eq!(scan.skipped, SkippedCount { not_utf8: 2, too_long: 1 });
        assert_eq!(watched, [0, 230, 461, 692]);
        catalog.begin_scan();
        assert_eq!(catalog.not_found("").len(), 1);
    }
}
