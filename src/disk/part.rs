//! Part files: `.NAME.part`, locked, and beside it the map `.NAME.part.map`. A piece is written
//! once it is verified, then listed in the map. After a restart a listed piece counts only once it
//! is hashed again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::folder::Found;
use super::hash::{cv_of, piece_length, read_range, root_of};
use super::part_map::{PartMap, Record};
use super::target::{Target, shown};
use crate::config::PIECE_BYTES;
use crate::proto::disk::{DiskFailure, DiskFailureKind};
use crate::proto::pieces_of;
use crate::proto::weak_peer::download::manifest;
use crate::wire::ids::{Cv, Root};

/// How often a part file is opened again that another process renamed before it was locked.
const LOCK_TRIES_MAX: usize = 8;

/// An open, locked part file with its map.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) target: Arc<Target>,
    pub(super) root: Root,
    pub(super) size: u64,
    pub(super) file: Arc<File>,
    map: PartMap,
    pub(super) manifest: Option<Vec<Cv>>,
    /// Whether this run stored the manifest; then it has checked every piece against it.
    pub(super) manifest_is_fresh: bool,
    /// Pieces that are in the file and right.
    pub(super) written: Vec<bool>,
    /// Pieces that the map lists and that are still to be hashed.
    listed: Vec<u32>,
}

impl Part {
    /// Opens or creates the part file, locks it, and reads its map.
    pub(super) fn open(target: Arc<Target>, root: Root, size: u64) -> Result<Part, DiskFailure> {
        let file = lock_part(&target)?;
        Part::open_map(target.clone(), root, size, file).map_err(|error| target.io_failure(error))
    }

    fn open_map(target: Arc<Target>, root: Root, size: u64, file: File) -> io::Result<Part> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let map = openat(&target.folder, &target.map_name, flags, Mode::from_raw_mode(0o600))?;
        let (mut map, listed) = PartMap::read(map.into(), root, size)?;
        if listed.is_none() {
            map.clear(size)?;
            file.set_len(0)?;
        } else if file.metadata()?.len() > size {
            file.set_len(size)?;
        }
        let listed = listed.unwrap_or_default();
        Ok(Part {
            target,
            root,
            size,
            file: Arc::new(file),
            map,
            manifest: listed.manifest,
            manifest_is_fresh: false,
            written: vec![false; pieces_of(size) as usize],
            listed: listed.pieces,
        })
    }

    /// Hashes the next listed piece; false once all are hashed.
    pub(super) fn check_next(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(piece) = self.listed.pop() else { return false };
        let offset = u64::from(piece) * PIECE_BYTES;
        let length = piece_length(self.size, u64::from(piece));
        let Ok(bytes) = read_range(&self.file, offset, length, buffer) else { return true };
        self.written[piece as usize] = match &self.manifest {
            None => root_of(bytes) == self.root,
            Some(cvs) => cvs.get(piece as usize) == Some(&cv_of(bytes, offset)),
        };
        true
    }

    /// The pieces that are in the file and right, in ascending order.
    pub(super) fn verified(&self) -> Vec<u32> {
        (0..).zip(&self.written).filter(|(_, written)| **written).map(|(piece, _)| piece).collect()
    }

    pub(super) fn store_manifest(&mut self, cvs: Vec<Cv>) {
        let path = &self.target.path;
        if manifest::root_of(&cvs, self.size) != Some(self.root) {
            log::error!("{}: a manifest that does not merge to the root is not stored", shown(path));
            return;
        }
        self.manifest_is_fresh = true;
        if self.manifest.as_ref() == Some(&cvs) {
            return;
        }
        // Without it only a resume is lost. If the disk is full, the next piece reports it.
        if let Err(error) = self.map.append(&Record::Manifest(cvs.clone())) {
            log::warn!("the map of {} cannot be written: {error}", shown(path));
        }
        self.manifest = Some(cvs);
    }

    /// Writes a verified piece, then lists it. A piece that is in the file is not written again.
    pub(super) fn write_piece(&mut self, piece: u32, bytes: &[u8]) -> Result<(), DiskFailure> {
        let Some(written) = self.written.get(piece as usize) else {
            return Err(self.target.failed(&format!("there is no piece {piece}")));
        };
        if *written {
            return Ok(());
        }
        if bytes.len() != piece_length(self.size, u64::from(piece)) {
            return Err(self.target.failed(&format!("piece {piece} does not have {} bytes", bytes.len())));
        }
        self.file
            .write_all_at(bytes, u64::from(piece) * PIECE_BYTES)
            .and_then(|()| self.map.append(&Record::Piece(piece)))
            .map_err(|error| self.target.io_failure(error))?;
        self.written[piece as usize] = true;
        Ok(())
    }

    /// Removes the part file and its map if no piece is in it.
    pub(super) fn remove_if_empty(&self) {
        if !self.written.contains(&true) {
            let _ = unlinkat(&self.target.folder, &self.target.map_name, AtFlags::empty());
            let _ = unlinkat(&self.target.folder, &self.target.part_name, AtFlags::empty());
        }
    }
}

/// Opens the part file and locks it. The file that is locked must still be the one with that name.
fn lock_part(target: &Target) -> Result<File, DiskFailure> {
    let fail = |error: Errno| target.io_failure(error.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for _ in 0..LOCK_TRIES_MAX {
        let fd = openat(&target.folder, &target.part_name, flags, Mode::from_raw_mode(0o666)).map_err(fail)?;
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(target.failure(DiskFailureKind::Locked, "is being downloaded already"));
            }
            Err(error) => return Err(fail(error)),
        }
        let locked = fstat(&fd).map_err(fail)?;
        let named = statat(&target.folder, &target.part_name, AtFlags::SYMLINK_NOFOLLOW);
        if !matches!(Found::of(&locked), Found::File(_)) {
            return Err(target.failed("its part file is not a regular file"));
        }
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)) {
            return Ok(File::from(fd));
        }
    }
    Err(target.failed("another process keeps renaming its part file"))
}
