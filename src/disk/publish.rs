//! Publishing a download: sync, rename without replacing, sync the folder. Once the rename has
//! succeeded the download cannot fail: the complete file has its name. It runs on its own thread,
//! because a sync may take seconds and must not delay the worker. It owns what it needs and answers
//! once.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustix::fs::{Advice, AtFlags, RenameFlags, fadvise, fsync, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::folder::{Stamp, is_unsupported};
use super::hash::{ContentDigest, FileHash};
use super::part::Part;
use super::share::Share;
use super::target::{Target, failed, shown};
use crate::config::PIECE_BYTES;
use crate::proto::disk::DiskFailure;
use crate::wire::ids::{Cv, Root};

/// A complete part file on its way to its final name.
#[derive(Debug)]
pub(super) struct Publishing {
    target: Arc<Target>,
    root: Root,
    size: u64,
    file: Arc<File>,
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
        let manifest = part.manifest.filter(|_| part.manifest_is_fresh);
        let share_path = share.and_then(|share| part.target.share_path(share));
        Ok(Publishing { target: part.target, root: part.root, size, file: part.file, manifest, share_path })
    }

    /// Publishes on a new thread, which calls `done` at its end.
    pub(super) fn start(self, done: impl FnOnce(Published) + Send + 'static) -> Result<(), DiskFailure> {
        let started = thread::Builder::new().name("sprat-publish".to_owned()).spawn(move || done(self.run()));
        match started {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(format!("cannot start a thread to publish: {error}; get the file again"))),
        }
    }

    fn run(self) -> Published {
        match self.publish() {
            Ok(()) => Published { offer: self.offer(), result: Ok(self.target.path.clone()) },
            Err(failure) => Published { result: Err(failure), offer: None },
        }
    }

    fn publish(&self) -> Result<(), DiskFailure> {
        let target = &*self.target;
        let fail = |error: io::Error| target.io_failure(error);
        let length = self.file.metadata().map_err(fail)?.len();
        if length != self.size {
            return Err(target.failed("another process has changed its part file"));
        }
        if let Err(error) = retry_on_intr(|| fsync(&*self.file)).or_else(|error| ignored(error, is_unsupported)) {
            // The kernel may now take pages for clean that are not on the disk. This call drops
            // them, so that the next run hashes what the disk has.
            let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
            return Err(fail(error.into()));
        }
        match rename_noreplace(target) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if !self.is_there().map_err(fail)? {
                    return Err(target.taken());
                }
                let _ = retry_on_intr(|| unlinkat(&target.folder, &target.part_name, AtFlags::empty()));
            }
            Err(error) => return Err(fail(error.into())),
        }
        // After an error the file is complete, but a power cut may undo the rename. Then the same
        // download completes from the part file, so the map stays. Some file systems cannot sync a
        // folder.
        match retry_on_intr(|| fsync(&target.folder)).or_else(|error| ignored(error, is_unsupported)) {
            Ok(()) => {
                let _ = retry_on_intr(|| unlinkat(&target.folder, &target.map_name, AtFlags::empty()));
            }
            Err(error) => {
                let path = shown(&target.path);
                log::warn!(
                    "{path} is complete, but its folder cannot be synced ({error}): a power cut may lose the name"
                );
            }
        }
        Ok(())
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
