//! Publishing: sync, rename without replacing, sync the folder. The rename decides: what comes after it cannot make the download
//! fail, for the complete file has its name by then. It runs on a thread of its own, because a sync may take
//! seconds in which chunks are to be served; it owns what it needs and answers once.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, RenameFlags, fsync, linkat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::hash::{ContentDigest, FileHash};
use super::open::Stamp;
use super::part::{Part, Place, failed, shown};
use crate::config::PIECE_BYTES;
use crate::proto::disk::DiskFailure;
use crate::wire::ids::{Cv, Root};

/// A complete part file on its way to its final name.
#[derive(Debug)]
pub(super) struct Publishing {
    place: Arc<Place>,
    root: Root,
    size: u64,
    file: Arc<File>,
    /// The manifest against which every piece was checked; without it the file is hashed once more before it is offered.
    manifest: Option<Vec<Cv>>,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) result: Result<PathBuf, DiskFailure>,
    /// A file of the share with a proven content.
    pub(super) offer: Option<(String, Stamp, ContentDigest)>,
}

impl Publishing {
    /// Fails if a piece is missing: nothing under the final name is ever incomplete.
    pub(super) fn new(part: Part) -> Result<Publishing, DiskFailure> {
        if let Some(piece) = part.written.iter().position(|written| !written) {
            return Err(failed(format!("{}: piece {piece} is missing", shown(&part.place.path))));
        }
        let manifest = part.manifest.filter(|_| part.manifest_is_fresh);
        Ok(Publishing { place: part.place, root: part.root, size: part.size, file: part.file, manifest })
    }

    pub(super) fn run(self) -> Published {
        match self.publish() {
            Ok(()) => Published { offer: self.offer(), result: Ok(self.place.path.clone()) },
            Err(failure) => Published { result: Err(failure), offer: None },
        }
    }

    fn publish(&self) -> Result<(), DiskFailure> {
        let place = &*self.place;
        let fail = |error: io::Error| place.io_failure(error);
        let length = self.file.metadata().map_err(fail)?.len();
        if length != self.size {
            return Err(failed(format!("{}: its part file was changed by someone else", shown(&place.path))));
        }
        self.file.sync_all().map_err(fail)?;
        match rename_noreplace(place) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if !self.is_there().map_err(fail)? {
                    return Err(place.taken());
                }
                let _ = unlinkat(&place.folder, &place.part_name, AtFlags::empty());
            }
            Err(error) => return Err(fail(error.into())),
        }
        // Some file systems cannot sync a folder and say EINVAL. Where it fails otherwise the file is there and whole; a power
        // cut may take back its name, and the same command gets it again.
        match fsync(&place.folder) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => {
                let path = shown(&place.path);
                log::warn!(
                    "{path} is complete, but its folder cannot be synced ({error}): a power cut may lose the name"
                );
            }
        }
        let _ = unlinkat(&place.folder, &place.map_name, AtFlags::empty());
        Ok(())
    }

    /// Whether what appeared at the destination meanwhile is the same content.
    fn is_there(&self) -> io::Result<bool> {
        let Ok((file, stamp)) = self.place.open_existing() else { return Ok(false) };
        if stamp.size != self.size || !file.metadata()?.is_file() {
            return Ok(false);
        }
        Ok(FileHash::whole(self.size, &file, &mut Vec::new())?.root == self.root)
    }

    fn offer(&self) -> Option<(String, Stamp, ContentDigest)> {
        let path = self.place.share_path.clone()?;
        let (file, stamp) = self.place.open_existing().ok()?;
        let ours = Stamp::of_file(&self.file).ok()?;
        let is_ours = (ours.dev, ours.ino) == (stamp.dev, stamp.ino);
        let digest = match &self.manifest {
            Some(cvs) if self.size > PIECE_BYTES && is_ours => ContentDigest { root: self.root, cvs: cvs.clone() },
            _ => FileHash::whole(self.size, &file, &mut Vec::new()).ok()?,
        };
        (digest.root == self.root && Stamp::of_file(file.as_fd()) == Ok(stamp)).then_some((path, stamp, digest))
    }
}

fn rename_noreplace(place: &Place) -> Result<(), Errno> {
    let (folder, part, name) = (&place.folder, &place.part_name, &place.name);
    match renameat_with(folder, part, folder, name, RenameFlags::NOREPLACE) {
        // A file system or kernel without the flag: a link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(folder, part, folder, name, AtFlags::empty())?;
            unlinkat(folder, part, AtFlags::empty())
        }
        other => other,
    }
}
