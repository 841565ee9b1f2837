//! The last step of small files that are unpacked. They were written into a hidden folder near
//! their places. They are synced together, and each is renamed to its name. If another content has
//! this name, that file is kept. In a collection, it is renamed to a name with digits of its root.
//! In a command, the new file is not placed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::durable::{self, At, rename_noreplace};
use super::folder::{Found, Stamp};
use super::hash::{ContentDigest, FileHash};
use super::target::io_failure;
use crate::config::PIECE_BYTES;
use crate::proto::DownloadId;
use crate::proto::disk::{DiskFailure, Unplaced};
use crate::wire::ids::Root;
use crate::wire::name::apart;

/// The place of an item.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: Arc<OwnedFd>,
    /// The path below the folder that all files go to.
    pub(super) path: PathBuf,
    pub(super) name: OsString,
}

/// A file that is written but not published.
#[derive(Debug)]
pub(super) struct Placing {
    /// Its number in the collection or in the command.
    pub(super) number: u64,
    pub(super) temporary: String,
    pub(super) place: Place,
    pub(super) size: u64,
    pub(super) root: Root,
}

/// Files that are published together, on a thread of their own.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) download: DownloadId,
    pub(super) folder: PathBuf,
    pub(super) hidden: Arc<OwnedFd>,
    pub(super) files: Vec<Placing>,
    /// Whether a file with another content is renamed to make room for one of these.
    pub(super) displaces: bool,
    /// Whether the files will be offered.
    pub(super) offers: bool,
}

/// The result for a batch.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) download: DownloadId,
    /// The numbers of the files that are in their places, and where each is.
    pub(super) files: Vec<(u64, PathBuf)>,
    pub(super) bytes: u64,
    pub(super) failed: Vec<Unplaced>,
    /// Files to offer: folder, name, state and digest.
    pub(super) offers: Vec<(PathBuf, OsString, Stamp, ContentDigest)>,
}

impl Batch {
    /// The result if no thread could be started: nothing is published.
    pub(super) fn unpublished(&self, failure: &DiskFailure) -> Placed {
        self.all_failed(|_| failure.clone())
    }

    fn nothing(&self) -> Placed {
        Placed { download: self.download, files: Vec::new(), bytes: 0, failed: Vec::new(), offers: Vec::new() }
    }

    fn all_failed(&self, failure: impl Fn(&Placing) -> DiskFailure) -> Placed {
        let failed = self.files.iter().map(|file| file.unplaced(failure(file)));
        Placed { failed: failed.collect(), ..self.nothing() }
    }

    /// Syncs and renames the files.
    pub(super) fn publish(&self) -> Placed {
        if let Err(error) = self.sync() {
            return self.all_failed(|file| io_failure(&self.folder.join(&file.place.path), error.into()));
        }
        let mut placed = self.nothing();
        let mut changed: Vec<&Arc<OwnedFd>> = Vec::new();
        for file in &self.files {
            let path = self.folder.join(&file.place.path);
            match self.publish_one(file) {
                Ok(()) => {
                    placed.files.push((file.number, path));
                    placed.bytes += file.size;
                    placed.offers.extend(self.offers.then(|| self.offer(file)).flatten());
                }
                Err(error) => placed.failed.push(file.unplaced(io_failure(&path, error))),
            }
            if changed.last().is_none_or(|last| !Arc::ptr_eq(last, &file.place.parent)) {
                changed.push(&file.place.parent);
            }
        }
        if !durable::sync_together(&*self.hidden, changed.len()) {
            for folder in changed {
                // Some file systems cannot sync a folder; then a power cut may lose the names.
                let _ = durable::sync(&**folder);
            }
        }
        placed
    }

    fn sync(&self) -> Result<(), Errno> {
        if durable::sync_together(&*self.hidden, self.files.len()) {
            return Ok(());
        }
        for file in &self.files {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = retry_on_intr(|| openat(&*self.hidden, file.temporary.as_str(), flags, Mode::empty()))?;
            durable::sync(&file)?;
        }
        Ok(())
    }

    fn publish_one(&self, file: &Placing) -> io::Result<()> {
        match self.rename(file) {
            Err(Errno::EXIST) if self.displaces => {
                if set_aside(&file.place, &file.root)? {
                    self.rename(file)?;
                } else {
                    let _ = unlinkat(&*self.hidden, file.temporary.as_str(), AtFlags::empty());
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn rename(&self, file: &Placing) -> Result<(), Errno> {
        let Placing { temporary, place, .. } = file;
        rename_noreplace(At(&*self.hidden, temporary), At(&*place.parent, &place.name))
    }

    fn offer(&self, file: &Placing) -> Option<(PathBuf, OsString, Stamp, ContentDigest)> {
        let stat = statat(&*file.place.parent, &file.place.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let Found::File(stamp) = Found::of(&stat) else { return None };
        let known = file.size <= PIECE_BYTES && stamp.size == file.size;
        let folder = self.folder.join(file.place.path.parent()?);
        let digest = ContentDigest { root: file.root, cvs: Vec::new() };
        known.then(|| (folder, file.place.name.clone(), stamp, digest))
    }
}

impl Placing {
    fn unplaced(&self, failure: DiskFailure) -> Unplaced {
        Unplaced { number: self.number, path: self.place.path.display().to_string(), failure }
    }
}

/// If the place has a file with another content, renames that file to a name with digits of its
/// root. Returns false if the file at the place has this content, and true if the place is now
/// free.
fn set_aside(place: &Place, root: &Root) -> io::Result<bool> {
    let file = match open(&place.parent, &place.name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let Found::File(stamp) = Found::of(&fstat(&file)?) else { return Err(Errno::EXIST.into()) };
    let found = FileHash::complete(stamp.size, &file, &mut Vec::new())?.root;
    if found == *root {
        return Ok(false);
    }
    move_aside(place, &found)?;
    Ok(true)
}

/// Renames the file at a place to a name with digits of its root, which is `found`. Does nothing if
/// the file is gone.
pub(super) fn move_aside(place: &Place, found: &Root) -> io::Result<()> {
    let (parent, name) = (&*place.parent, &place.name);
    let aside = OsString::from(apart(&name.to_string_lossy(), found));
    match rename_noreplace(At(parent, name), At(parent, &aside)) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::EXIST) => {
            // The new name is used. If the file there has the same content, one of the two files is
            // removed.
            for name in [&aside, name] {
                let file = open(parent, name, OFlags::RDONLY)?;
                let size = file.metadata()?.len();
                if FileHash::complete(size, &file, &mut Vec::new())?.root != *found {
                    return Err(Errno::EXIST.into());
                }
            }
            Ok(retry_on_intr(|| unlinkat(parent, name, AtFlags::empty()))?)
        }
        other => Ok(other?),
    }
}

pub(super) fn open(folder: impl AsFd, name: &OsStr, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| openat(&folder, name, flags, Mode::empty()))?))
}
