//! Walks through a share or one of its folders, a bounded number of entries at a time.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::catalog::{Catalog, Cause};
use super::folder::{Found, Stamp, id_of, is_starved};
use super::left_out::Reason;
use super::rules::Loaded;
use super::tree::{Sorted, Tree};
use super::watch::Watched;

/// Entries per slice, so that jobs do not wait long.
const ENTRIES_PER_SLICE: usize = 1000;

/// How long a slice of a slow scan lasts, and after how many entries the clock is read.
const SLOW_SLICE: Duration = Duration::from_millis(2);
const LOOK_EVERY: usize = 32;

/// A walk through one folder and everything below it.
pub(super) struct Scan {
    /// The number of the share.
    pub(super) tree: usize,
    /// The folder where it begins; empty for the complete share.
    pub(super) top: String,
    /// Whether it only looks for changes that the watcher has not reported. Then it does not
    /// observe known files again.
    slow: bool,
    begun: bool,
    /// The numbers of this scan in the catalog and in `left_out`.
    numbers: (u32, u32),
    folders: VecDeque<String>,
    open: Option<(String, Dir)>,
    /// Whether the open folder is watched.
    watched: bool,
    /// Folders that could not be read.
    pub(super) unreadable: Vec<String>,
    /// Folders whose rules could not be read, each with the reason.
    pub(super) unruled: Vec<(String, String)>,
    /// Whether the limit of watches was reached.
    pub(super) limit: bool,
    /// Whether a folder could not be opened because descriptors or memory were missing. Then the
    /// scan is incomplete.
    pub(super) starved: bool,
}

impl Scan {
    pub(super) fn new(tree: usize, top: &str) -> Scan {
        Scan {
            tree,
            top: top.to_owned(),
            slow: false,
            begun: false,
            numbers: (0, 0),
            folders: VecDeque::from([top.to_owned()]),
            open: None,
            watched: true,
            unreadable: Vec::new(),
            unruled: Vec::new(),
            limit: false,
            starved: false,
        }
    }

    /// A slow scan of a complete share.
    pub(super) fn slow(tree: usize) -> Scan {
        Scan { slow: true, ..Scan::new(tree, "") }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Whether it walks the complete share.
    pub(super) fn is_full(&self) -> bool {
        self.top.is_empty()
    }

    /// Continues the walk. Returns true once it is over. Each folder is watched before it is read.
    pub(super) fn slice(&mut self, tree: &mut Tree, catalog: &mut Catalog) -> bool {
        if !self.begun {
            self.begun = true;
            self.numbers = (catalog.begin_scan(), tree.left_out.begin_scan());
        }
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut left = ENTRIES_PER_SLICE;
        while left > 0 {
            left -= 1;
            if self.slow && left.is_multiple_of(LOOK_EVERY) && now.elapsed() >= SLOW_SLICE {
                return false;
            }
            let Some((folder, dir)) = &mut self.open else {
                let Some(folder) = self.folders.pop_front() else {
                    self.end(tree, catalog, now, wall);
                    return true;
                };
                self.open_folder(tree, folder);
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
            let path = match tree.names.entry(folder, name) {
                Ok(path) => path,
                Err(reason) => {
                    let path = if folder.is_empty() { name.to_owned() } else { [folder.as_bytes(), name].join(&b'/') };
                    tree.left_out.insert(&path, reason);
                    continue;
                }
            };
            let found = match entry.file_type() {
                FileType::Directory => Found::Folder,
                FileType::RegularFile | FileType::Unknown => dir
                    .fd()
                    .and_then(|fd| statat(fd.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW))
                    .map_or(Found::Nothing, |stat| Found::of(&stat)),
                FileType::Symlink => Found::Symlink,
                FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => Found::Special,
            };
            match tree.judge(&path, found) {
                Sorted::File(stamp) => {
                    let full = tree.names.full(&path);
                    if self.slow && catalog.find_again(&full, &stamp) {
                        tree.left_out.find_again(path.as_bytes());
                        continue;
                    }
                    tree.left_out.remove(path.as_bytes());
                    let age = age_of(&stamp, wall);
                    catalog.observe(&full, stamp, Cause::Scan { now, age, watched: self.watched });
                }
                Sorted::Folder => self.folders.push_back(path),
                Sorted::LeftOut(reason) => tree.left_out.insert(path.as_bytes(), reason),
                Sorted::Nothing | Sorted::Unknown => {}
            }
        }
        false
    }

    fn open_folder(&mut self, tree: &mut Tree, folder: String) {
        let dir = match tree.folder.open_folder(&folder) {
            Ok(dir) => dir,
            Err(error) => {
                self.starved |= is_starved(error);
                if error == Errno::ACCESS && leave_out(tree, &folder) {
                    self.unreadable.push(tree.names.full(&folder));
                }
                return;
            }
        };
        let watched = id_of(&dir).map(|id| tree.watch.as_mut().map(|watch| watch.add_found(&folder, id, !self.slow)));
        let watched = watched.ok().flatten();
        self.limit |= watched == Some(Watched::Limit);
        self.watched = watched == Some(Watched::Yes);
        let dir = match Dir::new(dir) {
            Ok(dir) => dir,
            Err(error) => return self.starved |= is_starved(error),
        };
        match tree.rules.load(&tree.folder, &folder) {
            Loaded::Done => self.open = Some((folder, dir)),
            Loaded::Refused(why) => {
                if leave_out(tree, &folder) {
                    self.unruled.push((tree.names.full(&folder), why));
                }
            }
            Loaded::Starved => self.starved = true,
        }
    }

    fn end(&self, tree: &mut Tree, catalog: &mut Catalog, now: Instant, wall: SystemTime) {
        tree.left_out.end_scan(self.top.as_bytes(), self.numbers.1);
        self.remove_missing(tree, catalog, now, wall);
    }

    /// Removes the files that the walk did not find. Each is looked up first, because a rename can
    /// hide a file from a walk.
    fn remove_missing(&self, tree: &Tree, catalog: &mut Catalog, now: Instant, wall: SystemTime) {
        for path in catalog.not_found(&tree.names.full(&self.top), self.numbers.0) {
            // Files below the share without a name may belong to other shares.
            let Some(below) = tree.names.below(&path) else { continue };
            match tree.lookup(below) {
                Sorted::File(stamp) => {
                    let age = age_of(&stamp, wall);
                    catalog.observe(&path, stamp, Cause::Scan { now, age, watched: true });
                }
                Sorted::Folder | Sorted::LeftOut(_) | Sorted::Nothing => catalog.remove_file(&path, now),
                Sorted::Unknown => {}
            }
        }
    }
}

/// A folder cannot be read. Returns whether this is new.
fn leave_out(tree: &mut Tree, folder: &str) -> bool {
    let before = tree.left_out.reason(folder.as_bytes());
    tree.left_out.insert(folder.as_bytes(), Reason::Unreadable);
    before != Some(Reason::Unreadable)
}

/// The time since the last change of a file. It uses ctime too, because users can set mtime.
fn age_of(stamp: &Stamp, wall: SystemTime) -> Duration {
    let changed_ns = stamp.mtime_ns.max(stamp.ctime_ns);
    let wall_ns = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    Duration::from_nanos(u64::try_from(wall_ns.saturating_sub(changed_ns)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::super::options::ShareFolder;
    use super::super::tree::Trees;
    use super::*;

    fn scan(trees: &mut Trees, catalog: &mut Catalog, number: usize) {
        let mut scan = Scan::new(number, "");
        while !scan.slice(&mut trees.0[number], catalog) {}
    }

    #[test]
    fn what_is_not_shared_is_counted_by_reason_and_the_rest_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for name in [&b"plain"[..], b"latin-\xe9", b"latin-\xe8", b".hidden", b"x.part", b"y.tmp"] {
            std::fs::write(folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
        }
        std::fs::write(at(".spratignore"), "*.tmp\n").unwrap();
        std::os::unix::fs::symlink("plain", at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::File::create(at("huge")).unwrap().set_len((1 << 40) + 1).unwrap();
        let deep = ["d".repeat(230), "e".repeat(230), "f".repeat(230)].join("/");
        std::fs::create_dir_all(at(&deep)).unwrap();
        std::fs::write(at(&deep).join("0123456789"), "x").unwrap();
        let share = ShareFolder { name: None, path: folder.path().to_owned() };
        let mut trees = Trees::open(&[share]).unwrap();
        let mut catalog = Catalog::default();
        for _ in 0..2 {
            scan(&mut trees, &mut catalog, 0);
            let counts = trees.left_out();
            for (reason, count) in [
                (Reason::Hidden, 2),
                (Reason::Part, 1),
                (Reason::Ignored, 1),
                (Reason::Symlink, 1),
                (Reason::Special, 1),
                (Reason::Unreadable, 0),
                (Reason::TooLarge, 1),
                (Reason::TooLong, 1),
                (Reason::NotUtf8, 2),
                (Reason::Covered, 0),
            ] {
                assert_eq!(counts.of(reason), count, "{reason:?}");
            }
            assert_eq!(catalog.files_below(""), [std::sync::Arc::from("plain")]);
        }
    }

    #[test]
    fn a_share_without_a_name_leaves_the_others_their_names() {
        let [plain, music] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (folder, path) in [(&plain, "a"), (&plain, "music/covered"), (&music, "b")] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let share = |name: Option<&str>, folder: &tempfile::TempDir| ShareFolder {
            name: name.map(str::to_owned),
            path: folder.path().to_owned(),
        };
        let mut trees = Trees::open(&[share(None, &plain), share(Some("music"), &music)]).unwrap();
        let mut catalog = Catalog::default();
        // A scan of one share keeps the files of the other.
        for number in [0, 1, 0] {
            scan(&mut trees, &mut catalog, number);
        }
        assert_eq!(catalog.files_below("").iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a", "music/b"]);
        assert_eq!(trees.left_out().of(Reason::Covered), 1);
        assert!(trees.open_file("music/b").is_ok() && trees.open_file("music/covered").is_err());
    }
}
