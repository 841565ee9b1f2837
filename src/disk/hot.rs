//! Small files of the share in memory. With them the loop answers requests of HTTP without the
//! worker, which would open and read the file each time.
//!
//! The worker has read each file in the state that was hashed. For each request the loop asks the
//! system whether the path still leads to this file in this state. The loop never waits for the
//! answer: if the system would have to read a disk, the worker gets the request. Nothing is held
//! open between turns, so a file system can be unmounted.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::folder::{Stamp, is_local, known_state, open_known};
use crate::config::{HTTP_SMALL_BYTES_MAX, HTTP_SMALLS_BYTES_MAX, HTTP_SMALLS_KEPT};
use crate::http::Content;
use crate::time::Time;
use crate::wire::ids::Md5;

/// What a file costs in addition to its bytes and names: its place in the map.
const COST_BYTES: usize = 512;

/// A small file of the share, as it was when the worker read it.
#[derive(Debug)]
pub struct Small {
    /// Its content.
    pub content: Content,
    /// Last component of its path.
    pub name: String,
    /// Its MD5.
    pub md5: Option<Md5>,
    bytes: Vec<u8>,
    stamp: Stamp,
    /// The folder that is shared, and the path below it.
    top: Arc<Path>,
    below: String,
}

/// Some bytes of a small file.
#[derive(Debug)]
pub struct SmallPart {
    small: Arc<Small>,
    range: Range<usize>,
}

impl Small {
    /// Reads a file that is open and in this state. None if it is too long, if it has changed, or
    /// if its file system may have to ask another host or program for the state of a file.
    pub(super) fn read(
        file: &File,
        stamp: Stamp,
        (content, name, md5): (Content, &str, Option<Md5>),
        (top, below): (&Arc<Path>, &str),
    ) -> Option<Small> {
        if stamp.size > HTTP_SMALL_BYTES_MAX || !is_local(file) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(stamp.size).ok()?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let is_unchanged = Stamp::of_file(file) == Ok(stamp);
        let (name, top, below) = (name.to_owned(), top.clone(), below.to_owned());
        is_unchanged.then_some(Small { content, name, md5, bytes, stamp, top, below })
    }

    /// Some of its bytes; fewer if it is shorter.
    #[must_use]
    pub fn part(self: &Arc<Self>, first: u64, length: u64) -> SmallPart {
        let within = |at: u64| usize::try_from(at).map_or(self.bytes.len(), |at| at.min(self.bytes.len()));
        SmallPart { small: self.clone(), range: within(first)..within(first.saturating_add(length)) }
    }
}

impl AsRef<[u8]> for SmallPart {
    fn as_ref(&self) -> &[u8] {
        &self.small.bytes[self.range.clone()]
    }
}

/// The small files that are kept.
#[derive(Debug, Default)]
pub(super) struct Hot {
    /// Two generations by path, the younger one first. When the younger one is full, the older one
    /// is freed.
    files: [HashMap<String, Arc<Small>>; 2],
    /// What the younger generation costs, in bytes.
    bytes: usize,
    /// The shared folders that this turn has looked for; without a descriptor if the folder cannot
    /// be opened without a wait for the disk.
    tops: Vec<(Arc<Path>, Option<OwnedFd>)>,
    /// When all files are freed, unless one is used before then.
    until: Option<Time>,
}

impl Hot {
    /// The file at this path, if it is kept and its path still leads to it in the same state.
    pub(super) fn find(&mut self, path: &str, now: Time) -> Option<Arc<Small>> {
        let small = match self.files[0].get(path) {
            Some(small) => small.clone(),
            None => {
                let (path, small) = self.files[1].remove_entry(path)?;
                self.put(path, small.clone());
                small
            }
        };
        if !self.is_current(&small) {
            self.forget(path);
            return None;
        }
        self.until = Some(now + HTTP_SMALLS_KEPT);
        Some(small)
    }

    /// Keeps a file that the worker has just read.
    pub(super) fn keep(&mut self, path: &str, small: Arc<Small>, now: Time) {
        self.forget(path);
        self.put(path.to_owned(), small);
        self.until = Some(now + HTTP_SMALLS_KEPT);
    }

    fn put(&mut self, path: String, small: Arc<Small>) {
        let cost = cost(&small);
        if self.bytes + cost > HTTP_SMALLS_BYTES_MAX / 2 {
            self.files.swap(0, 1);
            self.files[0] = HashMap::new();
            self.bytes = 0;
        }
        self.bytes += cost;
        self.files[0].insert(path, small);
    }

    /// The file at this path is another one, or is no longer shared.
    pub(super) fn forget(&mut self, path: &str) {
        if let Some(small) = self.files[0].remove(path) {
            self.bytes -= cost(&small);
        }
        self.files[1].remove(path);
    }

    fn is_current(&mut self, small: &Small) -> bool {
        if !self.tops.iter().any(|(path, _)| *path == small.top) {
            self.tops.push((small.top.clone(), open_known(&small.top)));
        }
        let top = self.tops.iter().find(|(path, _)| *path == small.top).and_then(|(_, top)| top.as_ref());
        top.is_some_and(|top| known_state(top, &small.below) == Some(small.stamp))
    }

    /// Closes the folders. The next call opens what is then at the paths of the shares.
    pub(super) fn close(&mut self) {
        self.tops.clear();
    }

    /// Frees all files.
    pub(super) fn clear(&mut self) {
        *self = Hot::default();
    }

    /// When [`Hot::expire`] has something to do.
    pub(super) fn timeout(&self) -> Option<Time> {
        self.until
    }

    /// Frees all files, if none was used for a while.
    pub(super) fn expire(&mut self, now: Time) {
        if self.until.is_some_and(|until| until <= now) {
            self.clear();
        }
    }
}

fn cost(small: &Small) -> usize {
    // The path below the share is part of the path in the map.
    small.bytes.len() + 2 * small.below.len() + small.name.len() + COST_BYTES
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::wire::ids::Root;

    const NOW: Time = Time::ZERO;

    /// A shared folder, and the files of it that are kept.
    struct Rig {
        share: TempDir,
        hot: Hot,
    }

    impl Rig {
        fn new() -> Rig {
            Rig { share: tempfile::tempdir().unwrap(), hot: Hot::default() }
        }

        fn top(&self) -> Arc<Path> {
            self.share.path().join("top").into()
        }

        /// Writes a file and keeps it.
        fn keep(&mut self, path: &str, bytes: &[u8]) {
            let (top, at) = (self.top(), self.top().join(path));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, bytes).unwrap();
            let file = File::open(at).unwrap();
            let stamp = Stamp::of_file(&file).unwrap();
            let content = Content { root: Root([1; 32]), size: stamp.size, modified_s: None, dated: false };
            let small = Small::read(&file, stamp, (content, path, None), (&top, path)).unwrap();
            self.hot.keep(path, Arc::new(small), NOW);
        }

        /// What a turn finds at a path.
        fn find(&mut self, path: &str) -> Option<Vec<u8>> {
            let found = self.hot.find(path, NOW).map(|small| small.part(0, u64::MAX).as_ref().to_vec());
            self.hot.close();
            found
        }
    }

    #[test]
    fn a_file_is_found_with_the_bytes_that_were_read() {
        let mut rig = Rig::new();
        rig.keep("a/b", b"0123456789");
        assert_eq!(rig.find("a/b").as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(rig.hot.find("a/b", NOW).unwrap().part(3, 4).as_ref(), b"3456");
        assert_eq!(rig.find("a"), None);
    }

    #[test]
    fn a_file_that_has_changed_is_not_found_and_not_kept() {
        let mut rig = Rig::new();
        rig.keep("a", b"old");
        fs::write(rig.top().join("a"), b"newer").unwrap();
        assert_eq!(rig.find("a"), None);
        assert!(rig.hot.files.iter().all(HashMap::is_empty));
        assert_eq!(rig.hot.bytes, 0);
    }

    #[test]
    fn a_path_that_leads_to_something_else_finds_nothing() {
        let mut rig = Rig::new();
        let top = rig.top();
        let moves: [(&str, &dyn Fn()); 4] = [
            ("removed", &|| fs::remove_file(top.join("removed")).unwrap()),
            ("replaced", &|| fs::rename(top.join("other"), top.join("replaced")).unwrap()),
            ("link", &|| {
                fs::rename(top.join("link"), top.join("away")).unwrap();
                symlink("away", top.join("link")).unwrap();
            }),
            ("folder/file", &|| {
                fs::rename(top.join("folder"), top.join("moved")).unwrap();
                symlink("moved", top.join("folder")).unwrap();
            }),
        ];
        rig.keep("other", b"same");
        for (path, change) in moves {
            rig.keep(path, b"same");
            assert!(rig.find(path).is_some(), "{path}");
            change();
            assert_eq!(rig.find(path), None, "{path}");
        }
    }

    #[test]
    fn what_lies_at_the_path_of_the_share_is_used() {
        let mut rig = Rig::new();
        rig.keep("a", b"old");
        assert!(rig.find("a").is_some());
        fs::rename(rig.top(), rig.share.path().join("away")).unwrap();
        fs::create_dir(rig.top()).unwrap();
        assert_eq!(rig.find("a"), None);
    }

    #[test]
    fn a_file_that_is_used_stays_and_others_make_room() {
        let mut rig = Rig::new();
        let bytes = vec![7; HTTP_SMALL_BYTES_MAX as usize];
        rig.keep("used", &bytes);
        let files = 2 * HTTP_SMALLS_BYTES_MAX / bytes.len();
        for n in 0..files {
            rig.keep(&n.to_string(), &bytes);
            assert!(rig.find("used").is_some(), "after {n} others");
        }
        let held: usize = rig.hot.files.iter().flat_map(HashMap::values).map(|small| cost(small)).sum();
        assert!(held <= HTTP_SMALLS_BYTES_MAX, "{held}");
        assert_eq!(rig.find("0"), None);
    }

    #[test]
    fn a_long_file_is_not_read() {
        let rig = Rig::new();
        let path = rig.share.path().join("long");
        fs::write(&path, vec![7; HTTP_SMALL_BYTES_MAX as usize + 1]).unwrap();
        let file = File::open(path).unwrap();
        let stamp = Stamp::of_file(&file).unwrap();
        let content = Content { root: Root([1; 32]), size: stamp.size, modified_s: None, dated: false };
        assert!(Small::read(&file, stamp, (content, "long", None), (&rig.top(), "long")).is_none());
    }

    #[test]
    fn files_that_are_not_used_for_a_while_are_freed() {
        let mut rig = Rig::new();
        rig.keep("a", b"a");
        let later = NOW + HTTP_SMALLS_KEPT / 2;
        assert!(rig.hot.find("a", later).is_some());
        rig.hot.expire(NOW + HTTP_SMALLS_KEPT);
        assert!(rig.find("a").is_some());
        assert!(rig.hot.find("a", later).is_some());
        assert_eq!(rig.hot.timeout(), Some(later + HTTP_SMALLS_KEPT));
        rig.hot.expire(later + HTTP_SMALLS_KEPT);
        assert_eq!((rig.find("a"), rig.hot.timeout()), (None, None));
    }
}
