//! Whether several files together fit on a disk: the files of a command, or those of a collection.
//! A file that is already at its destination needs no space, and a part file needs only the rest.
//! This module reads figures, lists and names. It never writes.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::statvfs;

use super::space;
use super::target::{PART_SUFFIX, failed, hidden, shown};
use crate::proto::disk::{DiskFailure, DiskFailureKind, Planned};
use crate::wire::collection::Reader;
use crate::wire::ids::Root;
use crate::wire::name::{apart, sanitize};

/// Bytes of the list of a collection that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Size of the blocks that `stat` counts. It does not depend on the file system.
const STAT_BLOCK_BYTES: u64 = 512;

/// Checks the files of a command on a new thread, which calls `done` at its end.
pub(super) fn start(
    folder: PathBuf,
    files: Vec<Planned>,
    done: impl FnOnce(Result<(), DiskFailure>) + Send + 'static,
) -> Result<(), DiskFailure> {
    let check = move || done(check(&folder, &files));
    let started = thread::Builder::new().name("sprat-room".to_owned()).spawn(check);
    started.map(drop).map_err(|error| failed(format!("cannot start a thread to look for room: {error}")))
}

/// Whether the files fit even if none of them is at its destination yet.
pub(super) fn is_ample(folder: &Path, files: &[Planned]) -> bool {
    let all = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    free_at(folder).is_none_or(|free| all <= free)
}

/// Refuses the files if those that are not at their destination do not fit together.
///
/// The sizes are only claims of hits, and one false size must not refuse all files. So a file that
/// does not fit alone is left out of the sum if another file fits. It is refused later, when its
/// size is proven.
fn check(folder: &Path, files: &[Planned]) -> Result<(), DiskFailure> {
    let Some(free) = free_at(folder) else { return Ok(()) };
    let needs: Vec<u64> = files.iter().map(|file| need_of(folder, &file.path, file.size, &file.root)).collect();
    let all_bytes = needs.iter().copied().fold(0, u64::saturating_add);
    let fitting = || needs.iter().copied().filter(|need| *need <= free);
    if all_bytes <= free || fitting().next().is_some() && fitting().fold(0, u64::saturating_add) <= free {
        return Ok(());
    }
    Err(refusal(&format!("{} files do", files.len()), all_bytes, free))
}

fn refusal(what: &str, need: u64, free: u64) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Full, message: space::refusal(what, need, free, 0) }
}

/// The free space of a folder that may not exist yet; none if the file system does not report it.
fn free_at(folder: &Path) -> Option<u64> {
    let disk = folder.ancestors().find_map(|path| statvfs(path).ok())?;
    (disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes that a file still needs. The file may be there under either of two names: its own, and
/// the one that it gets if another content has its own name.
fn need_of(folder: &Path, path: &str, size: u64, root: &Root) -> u64 {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at = folder.to_owned();
    at.extend(folders.split('/').filter(|name| !name.is_empty()).map(|name| sanitize(name, root)));
    let name = sanitize(name, root);
    let there = |name: &str| std::fs::symlink_metadata(at.join(name)).ok().filter(Metadata::is_file);
    if [name.as_str(), &apart(&name, root)].iter().any(|name| there(name).is_some_and(|file| file.len() == size)) {
        return 0;
    }
    let part = hidden(name.as_ref(), PART_SUFFIX).to_str().and_then(there);
    size.saturating_sub(part.map_or(0, |part| part.blocks() * STAT_BLOCK_BYTES))
}

/// Sums up the list of a collection. The first pass adds the sizes. If the sum exceeds the free
/// space, a second pass looks for each file at its destination.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    reader: Box<Reader>,
    read: u64,
    bytes: u64,
    looks: bool,
}

impl Measuring {
    /// Reads a part of the list. Returns the result when the list has ended. `is_here` returns
    /// whether this peer has a content: its blocks on the disk can be shared, so it needs no space.
    /// An invalid list is not refused here, but when it is unpacked.
    pub(super) fn slice(
        &mut self,
        list: &File,
        folder: &Path,
        is_here: impl Fn(Root) -> bool,
    ) -> Option<Result<(), DiskFailure>> {
        let mut part = [0; READ_BYTES];
        let Ok(read) = list.read_at(&mut part, self.read) else { return Some(Ok(())) };
        self.reader.feed(&part[..read]);
        self.read += read as u64;
        loop {
            match self.reader.item() {
                Ok(Some(item)) if !self.looks => self.bytes = self.bytes.saturating_add(item.size),
                Ok(Some(item)) if is_here(item.root) => {}
                Ok(Some(item)) => {
                    let need = need_of(folder, item.path.as_str(), item.size, &item.root);
                    self.bytes = self.bytes.saturating_add(need);
                }
                Ok(None) if read > 0 => return None,
                Ok(None) => break,
                Err(_) => return Some(Ok(())),
            }
        }
        match free_at(folder) {
            Some(free) if self.bytes > free && self.looks => {
                let what = format!("{} does", shown(folder));
                Some(Err(refusal(&what, self.bytes, free)))
            }
            Some(free) if self.bytes > free => {
                *self = Measuring { looks: true, ..Measuring::default() };
                None
            }
            Some(_) | None => Some(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::wire::SharePath;
    use crate::wire::collection::{Item, Writer};

    const HUGE: u64 = 1 << 50;
    const ROOT: Root = Root([7; 32]);

    fn planned(path: &str, size: u64) -> Planned {
        Planned { path: path.to_owned(), size, root: ROOT }
    }

    fn make(path: &Path, size: u64) {
        File::create(path).unwrap().set_len(size).unwrap();
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused_with_both_figures() {
        let folder = tempfile::tempdir().unwrap();
        let files = [planned("d/a", HUGE), planned("b", HUGE)];
        assert!(!is_ample(&folder.path().join("new"), &files));
        let failure = check(&folder.path().join("new"), &files).unwrap_err();
        assert_eq!(failure.kind, DiskFailureKind::Full);
        let figures = "2 files do not fit on the disk: 2147483648.0 MiB are needed and ";
        assert!(failure.message.starts_with(figures), "{}", failure.message);
        assert!(is_ample(folder.path(), &[planned("a", 1)]));
    }

    #[test]
    fn a_false_size_does_not_deny_the_others() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(folder.path(), &[planned("a", 1), planned("b", HUGE)]), Ok(()));
    }

    #[test]
    fn files_that_are_there_need_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let size = 1 << 40;
        std::fs::create_dir(folder.path().join("d")).unwrap();
        make(&folder.path().join("d/a"), size);
        make(&folder.path().join("b"), 5);
        make(&folder.path().join(apart("b", &ROOT)), size);
        assert_eq!(need_of(folder.path(), "d/a", size, &ROOT), 0);
        assert_eq!(need_of(folder.path(), "b", size, &ROOT), 0);
        assert_eq!(need_of(folder.path(), "c", size, &ROOT), size);
    }

    #[test]
    fn a_collection_is_measured_by_its_list_and_what_is_here_needs_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, mut list) = (Writer::default(), Vec::new());
        for path in ["a", "b"] {
            let item = Item { path: SharePath::new(path).unwrap(), size: HUGE, root: ROOT, executable: false };
            writer.add(&item, &mut list).unwrap();
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&list).unwrap();
        let measure = |is_here: bool| {
            let mut measuring = Measuring::default();
            std::iter::repeat_with(|| measuring.slice(&file, folder.path(), |_| is_here)).flatten().next().unwrap()
        };
        let failure = measure(false).unwrap_err();
        assert!(failure.message.contains("2147483648.0 MiB are needed"), "{}", failure.message);
        assert_eq!(measure(true), Ok(()));
    }
}
