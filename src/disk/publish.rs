//! Publishing downloads: sync the file, rename it without replacing another one, and sync the
//! folder. Once the rename has succeeded, the complete file has its name, and the download fails
//! only if its folder is not at its path any more. It runs on a thread of its own, because a sync
//! may take seconds and must not delay the worker. It owns all that it needs, and answers once.
//! Small files that are complete at the same time are published together, because the journal of
//! the file system is then written once for all of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::fs::{Advice, AtFlags, CWD, fadvise, fstat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::durable::{self, At, rename_noreplace};
use super::folder::Stamp;
use super::hash::{ContentDigest, FileHash};
use super::part::{Part, is_removed, removed};
use super::share::Share;
use super::target::{Target, failed, shown};
use crate::config::PIECE_BYTES;
use crate::proto::DownloadId;
use crate::proto::disk::DiskFailure;
use crate::wire::ids::{Cv, Root};

/// A complete part file that is about to get its final name.
#[derive(Debug)]
pub(super) struct Publishing {
    target: Arc<Target>,
    root: Root,
    size: u64,
    file: Arc<File>,
    /// The state of the file after our last write, and whether another process has changed it
    /// before that write. See [`Part::seen`].
    seen: Option<Stamp>,
    is_changed: bool,
    has_map: bool,
    /// The manifest with which every piece was compared. If it is none, the file is hashed again
    /// before it is offered.
    manifest: Option<Vec<Cv>>,
    /// The path of its record, if it will be offered.
    share_path: Option<String>,
}

/// The result.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) result: Result<PathBuf, DiskFailure>,
    /// If the file is to be offered: its path in the share, its state and its proven content.
    pub(super) offer: Option<(String, Stamp, ContentDigest)>,
}

impl Publishing {
    /// Fails if a piece is missing, so that no file with a final name is ever incomplete.
    pub(super) fn new(part: Part, share: Option<&Share>) -> Result<Publishing, DiskFailure> {
        if let Some(piece) = part.written.iter().position(|written| !written) {
            return Err(part.target.failed(&format!("piece {piece} is missing")));
        }
        let Some(size) = part.size.filter(|_| part.unprepared.is_none()) else {
            return Err(part.unprepared.unwrap_or_else(|| part.target.failed("its size is not proven")));
        };
        let has_map = part.has_map();
        let manifest = part.manifest.filter(|_| part.manifest_is_fresh && !part.unproven);
        let share_path = share.and_then(|share| part.target.share_path(share));
        let Part { target, root, file, seen, is_changed, .. } = part;
        Ok(Publishing { target, root, size, file, seen, is_changed, has_map, manifest, share_path })
    }

    /// Whether it is published together with others, because it has at most one piece.
    pub(super) fn is_small(&self) -> bool {
        self.size <= PIECE_BYTES
    }

    /// Fails if the part file does not have the length of the content, or if another process has
    /// changed it and it does not have the content. Returns its state.
    fn check(&self) -> Result<Stamp, DiskFailure> {
        let stat = fstat(&*self.file).map_err(|error| self.target.io_failure(error.into()))?;
        if is_removed(&stat, &self.target) {
            return Err(removed(&self.target));
        }
        let stamp = Stamp::of(&stat);
        let may_differ = self.is_changed || self.seen.is_some_and(|seen| seen != stamp);
        match stamp.size == self.size && (!may_differ || self.is_content(stamp)) {
            true => Ok(stamp),
            false => Err(self.target.failed("another process has changed its part file; get it again")),
        }
    }

    /// A sync may take seconds, in which another process may change the part file.
    fn check_again(&self, checked: Stamp) -> Result<(), DiskFailure> {
        match Stamp::of_file(&*self.file) == Ok(checked) {
            true => Ok(()),
            false => self.check().map(drop),
        }
    }

    /// Whether the file has the content in this state and is not changed while it is read. A chmod
    /// or a new link to the file, for example by a backup, changes its state but not its content.
    fn is_content(&self, stamp: Stamp) -> bool {
        FileHash::complete(self.size, &self.file, &mut Vec::new()).is_ok_and(|digest| digest.root == self.root)
            && Stamp::of_file(&*self.file) == Ok(stamp)
    }

    fn sync(&self) -> Result<(), DiskFailure> {
        durable::sync(&*self.file).map_err(|error| {
            // After a failed sync, the kernel may treat pages as written that are not on the disk.
            // This call drops these pages, so that the next run hashes the data on the disk.
            let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
            self.target.io_failure(error.into())
        })
    }

    fn rename(&self) -> Result<(), DiskFailure> {
        let target = &*self.target;
        let folder = &target.folder;
        match rename_noreplace(At(folder, &target.part_name), At(folder, &target.name)) {
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

    /// The file has its name in the folder that was opened. Fails if the path now leads to another
    /// folder, without this file, because the folder was moved or its file system was unmounted.
    fn check_place(&self) -> Result<(), DiskFailure> {
        let Target { folder, path, .. } = &*self.target;
        let id = |stamp: Stamp| (stamp.dev, stamp.ino);
        let ours = Stamp::of_file(folder).ok().map(id);
        let at_path = |path: &Path| statat(CWD, path, AtFlags::empty()).map(|stat| id(Stamp::of(&stat)));
        let there = path.parent().map(at_path);
        let is_gone = match (ours, there) {
            (Some(ours), Some(Ok(there))) => ours != there,
            (Some(_), Some(Err(error))) => error == Errno::NOENT,
            (None, _) | (_, None) => false,
        };
        match is_gone && at_path(path) == Err(Errno::NOENT) {
            true => Err(self.target.failed("it is complete, but its folder was moved or unmounted in the meantime")),
            false => Ok(()),
        }
    }

    /// The file has its name, but the sync of the folder may have failed. Then the file is
    /// complete, but a power cut may undo the rename. The same download could then continue with
    /// the part file, so the map stays.
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

    /// Whether the file that has appeared at the destination has this content.
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

/// Publishes files on a new thread. At its end the thread calls `done` with the result of each
/// file.
pub(super) fn start(
    files: Vec<(DownloadId, Publishing)>,
    done: impl FnOnce(Vec<(DownloadId, Published)>) + Send + 'static,
) -> Result<(), DiskFailure> {
    let run = move || {
        let (ids, files): (Vec<DownloadId>, Vec<Publishing>) = files.into_iter().unzip();
        let published = publish(&files);
        // The locks end first, so that a download that has failed can begin again at once.
        drop(files);
        done(ids.into_iter().zip(published).collect());
    };
    on_thread(run)
}

/// Runs a task of publishing on a new thread.
pub(super) fn on_thread(run: impl FnOnce() + Send + 'static) -> Result<(), DiskFailure> {
    match thread::Builder::new().name("sprat-publish".to_owned()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(format!("cannot start a thread to publish: {error}; get the file again"))),
    }
}

/// Publishes files. Each step is done for all files before the next step begins.
fn publish(files: &[Publishing]) -> Vec<Published> {
    let checked: Vec<Result<Stamp, DiskFailure>> = files.iter().map(Publishing::check).collect();
    let synced = sync_all(files, checked);
    let renamed = files.iter().zip(synced).map(|(file, synced)| {
        file.check_again(synced?)?;
        file.rename()
    });
    let results: Vec<Result<(), DiskFailure>> = renamed.collect();
    let mut folders: HashMap<(u64, u64), Result<(), Errno>> = HashMap::new();
    // Most often, files of the same folder follow each other. They share one descriptor of the
    // folder.
    let mut last: Option<(&Arc<OwnedFd>, Result<(), Errno>)> = None;
    for (file, _) in files.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
        let folder = &file.target.folder;
        let sync = || durable::sync(folder);
        let synced = match last {
            Some((last, synced)) if Arc::ptr_eq(last, folder) => synced,
            _ => match Stamp::of_file(folder) {
                Ok(stamp) => *folders.entry((stamp.dev, stamp.ino)).or_insert_with(sync),
                Err(_) => sync(),
            },
        };
        last = Some((folder, synced));
        file.named(synced);
    }
    let published = files.iter().zip(results).map(|(file, result)| match result.and_then(|()| file.check_place()) {
        Ok(()) => Published { offer: file.offer(), result: Ok(file.target.path.clone()) },
        Err(failure) => Published { result: Err(failure), offer: None },
    });
    published.collect()
}

/// Syncs the files that passed the check; `results` has the state of each. Many files of one file
/// system are synced by one call.
fn sync_all(files: &[Publishing], mut results: Vec<Result<Stamp, DiskFailure>>) -> Vec<Result<Stamp, DiskFailure>> {
    let mut devices: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, stamp) in results.iter().enumerate().filter_map(|(at, checked)| Some((at, checked.as_ref().ok()?))) {
        devices.entry(stamp.dev).or_default().push(at);
    }
    for here in devices.into_values() {
        if !durable::sync_together(&*files[here[0]].file, here.len()) {
            for at in here {
                if let Err(failure) = files[at].sync() {
                    results[at] = Err(failure);
                }
            }
        }
    }
    results
}
