//! Publishing downloads: sync, rename without replacing, sync the folder. Once the rename has
//! succeeded the download cannot fail: the complete file has its name. It runs on its own thread,
//! because a sync may take seconds and must not delay the worker. It owns what it needs and answers
//! once. Small files that are complete at the same time are published together: a journal is then
//! written once for all of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustix::fs::{
    Advice, AtFlags, RenameFlags, fadvise, fstatfs, fsync, linkat, renameat, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::folder::{Stamp, is_unsupported};
use super::hash::{ContentDigest, FileHash};
use super::part::Part;
use super::share::Share;
use super::target::{Target, failed, shown};
use crate::config::{PIECE_BYTES, SYNCFS_FILES_MIN};
use crate::proto::DownloadId;
use crate::proto::disk::DiskFailure;
use crate::wire::ids::{Cv, Root};

/// A complete part file on its way to its final name.
#[derive(Debug)]
pub(super) struct Publishing {
    target: Arc<Target>,
    root: Root,
    size: u64,
    file: Arc<File>,
    has_map: bool,
    /// The manifest that every piece was checked against. Without it the file is hashed again
    /// before it is offered.
    manifest: Option<Vec<Cv>>,
    /// The path of its record, if it will be offered.
    share_path: Option<String>,
}

/// The result.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) result: Result<PathBuf, DiskFailure>,
    /// The path in the share and the proven content, if the file is to be offered.
    pub(super) offer: Option<(String, Stamp, ContentDigest)>,
}

impl Publishing {
    /// Fails if a piece is missing: nothing under the final name is ever incomplete.
    pub(super) fn new(part: Part, share: Option<&Share>) -> Result<Publishing, DiskFailure> {
        if let Some(piece) = part.written.iter().position(|written| !written) {
            return Err(part.target.failed(&format!("piece {piece} is missing")));
        }
        let Some(size) = part.size.filter(|_| part.unprepared.is_none()) else {
            return Err(part.unprepared.unwrap_or_else(|| part.target.failed("its size is not proven")));
        };
        let has_map = part.has_map();
        let manifest = part.manifest.filter(|_| part.manifest_is_fresh);
        let share_path = share.and_then(|share| part.target.share_path(share));
        Ok(Publishing { target: part.target, root: part.root, size, file: part.file, has_map, manifest, share_path })
    }

    /// Whether it is published together with others: it has at most one piece.
    pub(super) fn is_small(&self) -> bool {
        self.size <= PIECE_BYTES
    }

    /// Fails if the part file does not have the length of the content.
    fn check(&self) -> Result<(), DiskFailure> {
        let length = self.file.metadata().map_err(|error| self.target.io_failure(error))?.len();
        if length == self.size { Ok(()) } else { Err(self.target.failed("another process has changed its part file")) }
    }

    fn sync(&self) -> Result<(), DiskFailure> {
        retry_on_intr(|| fsync(&*self.file)).or_else(|error| ignored(error, is_unsupported)).map_err(|error| {
            // The kernel may now take pages for clean that are not on the disk. This call drops
            // them, so that the next run hashes what the disk has.
            let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
            self.target.io_failure(error.into())
        })
    }

    fn rename(&self) -> Result<(), DiskFailure> {
        let target = &*self.target;
        match rename_noreplace(target) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                if !self.is_there().map_err(|error| target.io_failure(error))? {
                    return Err(target.taken());
                }
                let _ = retry_on_intr(|| unlinkat(&target.folder, &target.part_name, AtFlags::empty()));
                Ok(())
            }
            Err(error) => Err(target.io_failure(error.into())),
        }
    }

    /// Its name is on the disk, or the sync of its folder has failed. Then the file is complete,
    /// but a power cut may undo the rename, and the same download completes from the part file: the
    /// map stays.
    fn named(&self, synced: Result<(), Errno>) {
        let target = &*self.target;
        match synced {
            Ok(()) if self.has_map => {
                let _ = retry_on_intr(|| unlinkat(&target.folder, &target.map_name, AtFlags::empty()));
            }
            Ok(()) => {}
            Err(error) => {
                let path = shown(&target.path);
                log::warn!(
                    "{path} is complete, but its folder cannot be synced ({error}): a power cut may lose the name"
                );
            }
        }
    }

    /// Whether the file that has appeared at the destination has the same content.
    fn is_there(&self) -> io::Result<bool> {
        let Ok((file, stamp)) = self.target.open_existing() else { return Ok(false) };
        if stamp.size != self.size || !file.metadata()?.is_file() {
            return Ok(false);
        }
        Ok(FileHash::complete(self.size, &file, &mut Vec::new())?.root == self.root)
    }

    fn offer(&self) -> Option<(String, Stamp, ContentDigest)> {
        let path = self.share_path.clone()?;
        let (file, stamp) = self.target.open_existing().ok()?;
        let ours = Stamp::of_file(&self.file).ok()?;
        let is_ours = (ours.dev, ours.ino) == (stamp.dev, stamp.ino);
        let digest = match &self.manifest {
            Some(cvs) if self.size > PIECE_BYTES && is_ours => ContentDigest { root: self.root, cvs: cvs.clone() },
            _ => FileHash::complete(self.size, &file, &mut Vec::new()).ok()?,
        };
        (digest.root == self.root && Stamp::of_file(file.as_fd()) == Ok(stamp)).then_some((path, stamp, digest))
    }
}

/// Publishes files on a new thread, which calls `done` at its end with the result of each.
pub(super) fn start(
    files: Vec<(DownloadId, Publishing)>,
    done: impl FnOnce(Vec<(DownloadId, Published)>) + Send + 'static,
) -> Result<(), DiskFailure> {
    let run = move || {
        let (ids, files): (Vec<DownloadId>, Vec<Publishing>) = files.into_iter().unzip();
        done(ids.into_iter().zip(publish(&files)).collect());
    };
    on_thread(run)
}

/// Publishes on a new thread.
pub(super) fn on_thread(run: impl FnOnce() + Send + 'static) -> Result<(), DiskFailure> {
    match thread::Builder::new().name("sprat-publish".to_owned()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(format!("cannot start a thread to publish: {error}; get the file again"))),
    }
}

/// Publishes files. Each step is done for all of them before the next one.
fn publish(files: &[Publishing]) -> Vec<Published> {
    let mut results: Vec<Result<(), DiskFailure>> = files.iter().map(Publishing::check).collect();
    sync_all(files, &mut results);
    for (file, result) in files.iter().zip(&mut results).filter(|(_, result)| result.is_ok()) {
        *result = file.rename();
    }
    let mut folders: HashMap<Option<(u64, u64)>, Result<(), Errno>> = HashMap::new();
    for (file, _) in files.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
        let folder = &file.target.folder;
        let sync = || retry_on_intr(|| fsync(folder)).or_else(|error| ignored(error, is_unsupported));
        let synced = match Stamp::of_file(folder) {
            Ok(stamp) => *folders.entry(Some((stamp.dev, stamp.ino))).or_insert_with(sync),
            Err(_) => sync(),
        };
        file.named(synced);
    }
    let published = files.iter().zip(results).map(|(file, result)| match result {
        Ok(()) => Published { offer: file.offer(), result: Ok(file.target.path.clone()) },
        Err(failure) => Published { result: Err(failure), offer: None },
    });
    published.collect()
}

/// Syncs the files: many of one file system by one call.
fn sync_all(files: &[Publishing], results: &mut [Result<(), DiskFailure>]) {
    let mut devices: BTreeMap<Option<u64>, Vec<usize>> = BTreeMap::new();
    for at in (0..files.len()).filter(|at| results[*at].is_ok()) {
        devices.entry(Stamp::of_file(&files[at].file).ok().map(|stamp| stamp.dev)).or_default().push(at);
    }
    for (device, here) in devices {
        let many = device.is_some() && here.len() >= SYNCFS_FILES_MIN;
        if many && syncfs_reports_errors(&files[here[0]].file) && syncfs(&*files[here[0]].file).is_ok() {
            continue;
        }
        here.into_iter().for_each(|at| results[at] = files[at].sync());
    }
}

/// Whether syncfs of this file system returns the errors of its files: since Linux 5.8 (syncfs(2)).
/// FUSE file systems are not asked to sync by it.
fn syncfs_reports_errors(file: &File) -> bool {
    const FUSE: u64 = 0x6573_5546;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    let is_fuse = fstatfs(file).map_or(true, |stat| stat.f_type as u64 == FUSE);
    version >= (5, 8) && !is_fuse
}

/// A way to give the part file its final name without replacing another file.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By a rename that refuses to replace. Not every file system and kernel knows it.
    Flag,
    /// By a hard link, which does not replace a file either.
    Link,
    /// By looking first. FAT and some network file systems have nothing better. A file that another
    /// process creates between the two calls is lost.
    Look,
}

/// The ways, the best one first.
const WAYS: [Way; 3] = [Way::Flag, Way::Link, Way::Look];

impl Way {
    fn publish(self, target: &Target) -> Result<(), Errno> {
        let (folder, part, name) = (&target.folder, &target.part_name, &target.name);
        match self {
            Way::Flag => retry_on_intr(|| renameat_with(folder, part, folder, name, RenameFlags::NOREPLACE)),
            Way::Link => {
                retry_on_intr(|| linkat(folder, part, folder, name, AtFlags::empty()))?;
                // It is published now. If the second name stays, the next run removes it.
                let _ = retry_on_intr(|| unlinkat(folder, part, AtFlags::empty()));
                Ok(())
            }
            Way::Look => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => retry_on_intr(|| renameat(folder, part, folder, name)),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether the error says that the file system does not know this way.
    fn is_unknown(self, error: Errno) -> bool {
        match self {
            Way::Flag => is_unsupported(error),
            Way::Link => is_unsupported(error) || matches!(error, Errno::PERM | Errno::MLINK),
            Way::Look => false,
        }
    }
}

fn rename_noreplace(target: &Target) -> Result<(), Errno> {
    let mut ways = WAYS.into_iter();
    loop {
        // The last way is known everywhere.
        let way = ways.next().unwrap_or(Way::Look);
        match way.publish(target) {
            Err(error) if way.is_unknown(error) => log::debug!("{way:?} is unknown here: {error}"),
            other => return other,
        }
    }
}

/// Success instead of an error of this kind.
fn ignored(error: Errno, is_of_kind: impl Fn(Errno) -> bool) -> Result<(), Errno> {
    if is_of_kind(error) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::proto::disk::Destination;

    #[test]
    fn no_way_replaces_a_file() {
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let destination = Destination::Path { path: folder.path().join("x"), name: String::new() };
            let target = Target::find(&destination, &Root([1; 32]), None).unwrap();
            fs::write(folder.path().join(".x.part"), "new").unwrap();
            fs::write(folder.path().join("x"), "mine").unwrap();
            assert_eq!(way.publish(&target), Err(Errno::EXIST), "{way:?}");
            assert!(!way.is_unknown(Errno::EXIST));
            assert_eq!(fs::read_to_string(folder.path().join("x")).unwrap(), "mine");
            fs::remove_file(folder.path().join("x")).unwrap();
            std::os::unix::fs::symlink("nowhere", folder.path().join("x")).unwrap();
            assert_eq!(way.publish(&target), Err(Errno::EXIST), "{way:?}");
            fs::remove_file(folder.path().join("x")).unwrap();
            assert_eq!(way.publish(&target), Ok(()), "{way:?}");
            assert_eq!(fs::read_to_string(folder.path().join("x")).unwrap(), "new");
            assert!(!folder.path().join(".x.part").exists(), "{way:?}");
        }
    }
}
