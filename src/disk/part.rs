//! Part files: `.NAME.part`, which is locked, and beside it the map `.NAME.part.map`. A piece is
//! verified, then written, and then listed in the map. After a restart a listed piece counts only
//! once it is hashed again. A content of one piece has no map: its part file is either complete or
//! worthless.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, flock, fstat, ioctl_ficlone, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::folder::{Found, Stamp, is_unsupported};
use super::hash::{cv_of, piece_length, read_range, root_of};
use super::held::Held;
use super::holes;
use super::part_map::{Listed, PartMap, Record};
use super::target::{Target, shown};
use crate::config::PIECE_BYTES;
use crate::proto::disk::{DiskFailure, DiskFailureKind, Edge};
use crate::proto::pieces_of;
use crate::proto::weak_peer::download::manifest;
use crate::wire::ids::{Cv, Root};

/// Why a part file is locked, and what helps.
const LOCKED: &str = "is being downloaded already; wait for that command or end it, or name another destination";
/// How often a part file is opened again if another process has renamed it before it was locked.
const LOCK_TRIES_MAX: usize = 8;
/// How the part file and the map are opened. No symlink is followed, and no FIFO blocks.
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open, locked part file with its map.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) target: Arc<Target>,
    pub(super) root: Root,
    /// The size of the content, once it is proven, by this run or an earlier one.
    pub(super) size: Option<u64>,
    pub(super) file: Arc<File>,
    /// None while the content is assumed to have one piece.
    map: Option<PartMap>,
    pub(super) manifest: Option<Vec<Cv>>,
    /// The right edge of the tree, once it is known.
    edge: Option<Edge>,
    /// A manifest that is not in the map yet. Without it in the map, a later run cannot use the
    /// listed pieces.
    unlisted: Option<Vec<Cv>>,
    /// Whether this run stored the manifest. If so, it has compared every piece with the manifest.
    pub(super) manifest_is_fresh: bool,
    /// Whether a piece was written that was compared with neither the root nor the manifest.
    pub(super) unproven: bool,
    /// Which pieces are in the file and correct.
    pub(super) written: Vec<bool>,
    /// The state of the file after the last write of this process, to notice writes of others.
    pub(super) seen: Option<Stamp>,
    /// Whether another process has changed the file. If so, the pieces in it may be wrong.
    pub(super) is_changed: bool,
    /// Pieces that the map lists and that must still be hashed.
    listed: Vec<u32>,
    /// Whether the part file is empty: neither an earlier run nor this one has written to it.
    pub(super) is_new: bool,
    /// The size of a content of one piece that was found to fit on the disk.
    pub(super) fitting: Option<u64>,
    /// Why the part file could not be prepared. The failure is reported when a piece must be
    /// written.
    pub(super) unprepared: Option<DiskFailure>,
}

impl Part {
    /// Opens or creates the part file, locks it, and reads its map. If the part file belongs to
    /// another content, it is not changed.
    pub(super) fn open(target: Arc<Target>, root: Root) -> Result<Part, DiskFailure> {
        Part::open_with(target, root, OFlags::CREATE)
    }

    /// As [`Part::open`], for a content that hits say has one piece. It creates no map.
    pub(super) fn open_small(target: Arc<Target>, root: Root) -> Result<Part, DiskFailure> {
        Part::open_with(target, root, OFlags::empty())
    }

    fn open_with(target: Arc<Target>, root: Root, map_flags: OFlags) -> Result<Part, DiskFailure> {
        let (file, stamp) = lock_part(&target)?;
        Part::open_map(target.clone(), root, (file, stamp), map_flags).map_err(|error| {
            if stamp.size == 0 {
                let _ = retry_on_intr(|| unlinkat(&target.folder, &target.part_name, AtFlags::empty()));
            }
            target.io_failure(error)
        })
    }

    fn open_map(target: Arc<Target>, root: Root, (file, stamp): (File, Stamp), map_flags: OFlags) -> io::Result<Part> {
        let length = stamp.size;
        let mut seen = Some(stamp);
        let (map, listed) = match open_map_file(&target, map_flags) {
            Ok(map) => {
                let (map, listed) = PartMap::read(map, root)?;
                (Some(map), listed)
            }
            Err(Errno::NOENT) if !map_flags.contains(OFlags::CREATE) => {
                let may_be = (1..=PIECE_BYTES).contains(&length);
                (None, may_be.then(|| Listed { size: length, pieces: vec![0], ..Listed::default() }))
            }
            Err(error) => return Err(error.into()),
        };
        let size = listed.as_ref().map(|listed| listed.size);
        if let Some(size) = size.filter(|size| length > *size) {
            file.set_len(size)?;
            seen = Stamp::of_file(&file).ok();
        }
        let listed = listed.unwrap_or_default();
        Ok(Part {
            target,
            root,
            size,
            file: Arc::new(file),
            map,
            manifest: listed.manifest,
            edge: listed.edge,
            unlisted: None,
            manifest_is_fresh: false,
            unproven: false,
            written: vec![false; pieces_of(size.unwrap_or(0)) as usize],
            seen,
            is_changed: false,
            listed: listed.pieces,
            is_new: length == 0,
            fitting: None,
            unprepared: None,
        })
    }

    /// The size and the manifest are proven. Drops the data of an earlier run if it had another
    /// size or another content.
    pub(super) fn prepare(&mut self, size: u64, cvs: Vec<Cv>, edge: Option<Edge>) {
        if let Err(error) = self.fit(size) {
            self.unprepared = Some(self.target.io_failure(error));
            return;
        }
        if !cvs.is_empty() {
            self.store_manifest(size, cvs);
        }
        if let Some(edge) = edge.filter(|edge| self.edge.as_ref() != Some(edge)) {
            // If the edge is not in the map, the next run can serve no proof until it has the last
            // piece.
            if let Some(Err(error)) = self.map.as_mut().map(|map| map.append(&Record::Edge(edge.clone()))) {
                log::warn!("the map of {} cannot be written: {error}", shown(&self.target.path));
            }
            self.edge = Some(edge);
        }
    }

    /// Whether it can prove the size to others.
    pub(super) fn has_edge(&self) -> bool {
        self.edge.is_some()
    }

    fn fit(&mut self, size: u64) -> io::Result<()> {
        if self.size == Some(size) {
            return Ok(());
        }
        self.size = None;
        if self.map.is_none() && size > PIECE_BYTES {
            self.map = Some(PartMap::read(open_map_file(&self.target, OFlags::CREATE)?, self.root)?.0);
        }
        if let Some(map) = &mut self.map {
            map.clear(size)?;
        }
        if !self.is_new {
            self.file.set_len(0)?;
            (self.seen, self.is_changed) = (Stamp::of_file(&*self.file).ok(), false);
        }
        (self.size, self.manifest, self.manifest_is_fresh) = (Some(size), None, false);
        self.edge = None;
        self.written = vec![false; pieces_of(size) as usize];
        Ok(())
    }

    /// Whether pieces that an earlier run has listed must still be hashed.
    pub(super) fn has_listed(&self) -> bool {
        !self.listed.is_empty()
    }

    /// Hashes the next listed piece. Returns false once all are hashed.
    pub(super) fn check_next(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(piece) = self.listed.pop() else { return false };
        let offset = u64::from(piece) * PIECE_BYTES;
        let length = piece_length(self.size.unwrap_or(0), u64::from(piece));
        let Ok(bytes) = read_range(&self.file, offset, length, buffer) else { return true };
        self.written[piece as usize] = self.fits(piece, bytes);
        true
    }

    /// The pieces that are in the file and correct, in ascending order.
    pub(super) fn verified(&self) -> Vec<u32> {
        (0..).zip(&self.written).filter(|(_, written)| **written).map(|(piece, _)| piece).collect()
    }

    fn store_manifest(&mut self, size: u64, cvs: Vec<Cv>) {
        let path = &self.target.path;
        if manifest::root_of(&cvs, size) != Some(self.root) {
            log::error!("{}: a manifest that does not merge to the root is not stored", shown(path));
            return;
        }
        self.manifest_is_fresh = true;
        if self.manifest.as_ref() == Some(&cvs) {
            return;
        }
        self.unlisted = Some(cvs.clone());
        self.manifest = Some(cvs);
        // If the disk is full, writing the next piece reports it.
        if let Err(error) = self.list_manifest() {
            log::warn!("the map of {} cannot be written: {error}", shown(&self.target.path));
        }
    }

    fn list_manifest(&mut self) -> io::Result<()> {
        if let Some(cvs) = &self.unlisted {
            if let Some(map) = &mut self.map {
                map.append(&Record::Manifest(cvs.clone()))?;
            }
            self.unlisted = None;
        }
        Ok(())
    }

    /// Writes a verified piece, then lists it. If the piece is in the file already, it is not
    /// written again.
    pub(super) fn write_piece(&mut self, piece: u32, bytes: &[u8]) -> Result<(), DiskFailure> {
        if let Some(failure) = &self.unprepared {
            return Err(failure.clone());
        }
        let (Some(size), Some(written)) = (self.size, self.written.get(piece as usize)) else {
            return Err(self.target.failed(&format!("there is no piece {piece}")));
        };
        if *written {
            return Ok(());
        }
        if bytes.len() != piece_length(size, u64::from(piece)) {
            return Err(self.target.failed(&format!("piece {piece} does not have {} bytes", bytes.len())));
        }
        let stat = fstat(&*self.file).map_err(|error| self.target.io_failure(error.into()))?;
        // Without this check, everything would be fetched before the failure is noticed.
        if is_removed(&stat, &self.target) {
            return Err(removed(&self.target));
        }
        self.is_changed |= self.seen.is_some_and(|seen| seen != Stamp::of(&stat));
        self.is_new = false;
        let put = holes::write(&self.file, bytes, u64::from(piece) * PIECE_BYTES);
        // A failed write may have changed the file too. Writes of others during this one, or in the
        // same tick of the clock of the file system, are not noticed.
        self.seen = Stamp::of_file(&*self.file).ok();
        put.and_then(|()| self.list_manifest())
            .and_then(|()| self.map.as_mut().map_or(Ok(()), |map| map.append(&Record::Piece(piece))))
            .map_err(|error| self.target.io_failure(error))?;
        self.written[piece as usize] = true;
        Ok(())
    }

    /// The content as it can be served: the pieces that are in the file and correct.
    pub(super) fn held(&self) -> Option<Held<'_>> {
        let size = self.size.filter(|_| !self.unproven)?;
        let (file, manifest) = (&self.file, self.manifest.as_deref()?);
        Some(Held { root: self.root, size, file, manifest, edge: self.edge.as_ref(), written: Some(&self.written) })
    }

    /// Whether every piece is in the file and correct.
    pub(super) fn is_complete(&self) -> bool {
        self.size.is_some() && self.written.iter().all(|written| *written)
    }

    /// If the file system can do it, shares the blocks of a file with the part file. The part file
    /// must have no piece yet. The pieces must still be hashed afterwards.
    pub(super) fn share_blocks(&mut self, source: &File) -> bool {
        let is_empty = !self.written.contains(&true);
        self.is_new = false;
        let is_shared = is_empty && ioctl_ficlone(&*self.file, source).is_ok();
        if is_shared {
            self.seen = Stamp::of_file(&*self.file).ok();
            self.listed = (0..).zip(&self.written).map(|(piece, _)| piece).collect();
        }
        is_shared
    }

    /// Copies a missing piece from a file that should have this content. Returns false if the file
    /// does not have the piece.
    ///
    /// # Errors
    /// If the piece cannot be written.
    pub(super) fn copy_piece(&mut self, piece: u32, source: &File, buffer: &mut Vec<u8>) -> Result<bool, DiskFailure> {
        let offset = u64::from(piece) * PIECE_BYTES;
        let length = piece_length(self.size.unwrap_or(0), u64::from(piece));
        if self.written.get(piece as usize) == Some(&true) {
            return Ok(true);
        }
        let Ok(bytes) = read_range(source, offset, length, buffer) else { return Ok(false) };
        let fits = self.fits(piece, bytes);
        if fits {
            self.write_piece(piece, bytes)?;
        }
        Ok(fits)
    }

    /// Whether these are the bytes of a piece.
    fn fits(&self, piece: u32, bytes: &[u8]) -> bool {
        match &self.manifest {
            None => root_of(bytes) == self.root,
            Some(cvs) => cvs.get(piece as usize) == Some(&cv_of(bytes, u64::from(piece) * PIECE_BYTES)),
        }
    }

    pub(super) fn has_map(&self) -> bool {
        self.map.is_some()
    }

    /// Removes the part file and its map, unless it has a piece of this content or belongs to
    /// another one.
    pub(super) fn remove_if_empty(&self) {
        let untouched = self.size.is_none() && self.file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        if !untouched && !self.written.contains(&true) {
            for name in [&self.target.part_name, &self.target.map_name] {
                let _ = retry_on_intr(|| unlinkat(&self.target.folder, name, AtFlags::empty()));
            }
        }
    }
}

/// The content to which the part file with the name of this target belongs, as its map says. None
/// if there is no part file, or if its size is not proven.
pub(super) fn holder(target: &Target) -> Option<Root> {
    statat(&target.folder, &target.part_name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let map = retry_on_intr(|| openat(&target.folder, &target.map_name, flags, Mode::empty())).ok()?;
    PartMap::root(&map.into())
}

/// Whether another process has removed an open part file, whose state this is. Some file systems
/// count no links, so the name is looked up too.
pub(super) fn is_removed(stat: &Stat, target: &Target) -> bool {
    let gone = || statat(&target.folder, &target.part_name, AtFlags::SYMLINK_NOFOLLOW) == Err(Errno::NOENT);
    stat.st_nlink == 0 && gone()
}

/// The failure of a download whose part file was removed.
pub(super) fn removed(target: &Target) -> DiskFailure {
    target.failed("another process has removed its part file; get it again")
}

/// The destination has this content: removes the files of an earlier run. A part file stays if it
/// is in use or belongs to another content.
pub(super) fn remove_leftovers(target: &Target, root: Root) {
    let unlink = |name| retry_on_intr(|| unlinkat(&target.folder, name, AtFlags::empty()));
    let part = match lock_existing(target) {
        Ok(part) => part,
        Err(Errno::NOENT) => {
            let _ = unlink(&target.map_name);
            return;
        }
        Err(_) => return,
    };
    // If a run ended between the two steps of publishing, the part file and the destination are the
    // same file.
    let is_published = matches!((target.lookup(), Stamp::of_file(&part)), (Ok(Some(Found::File(there))), Ok(ours))
        if (there.dev, there.ino) == (ours.dev, ours.ino));
    let is_listed = || {
        let map = openat(&target.folder, &target.map_name, FLAGS, Mode::empty())?;
        let map = File::from(map);
        let is_empty = [part.as_fd(), map.as_fd()].into_iter().all(|fd| fstat(fd).is_ok_and(|stat| stat.st_size == 0));
        Ok::<_, io::Error>(is_empty || PartMap::read(map, root)?.1.is_some())
    };
    // A content of one piece has no map. It is either complete or not there at all.
    let is_content = || {
        let size = fstat(&part).ok()?.st_size;
        let length = usize::try_from(size).ok().filter(|length| *length as u64 <= PIECE_BYTES)?;
        let has_map = statat(&target.folder, &target.map_name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let bytes = File::from(part.try_clone().ok()?);
        (!has_map && (length == 0 || root_of(read_range(&bytes, 0, length, &mut Vec::new()).ok()?) == root))
            .then_some(())
    };
    // The map is removed last, because it says to which content the part file belongs.
    let is_left = is_published || is_content().is_some() || is_listed().is_ok_and(|listed| listed);
    if is_left && unlink(&target.part_name).is_ok() {
        let _ = unlink(&target.map_name);
    }
}

fn open_map_file(target: &Target, flags: OFlags) -> Result<File, Errno> {
    let open = || openat(&target.folder, &target.map_name, FLAGS | flags, Mode::from_raw_mode(0o600));
    retry_on_intr(open).map(File::from)
}

fn lock_existing(target: &Target) -> Result<OwnedFd, Errno> {
    let part = retry_on_intr(|| openat(&target.folder, &target.part_name, FLAGS, Mode::empty()))?;
    retry_on_intr(|| flock(&part, FlockOperation::NonBlockingLockExclusive))?;
    Ok(part)
}

/// Opens the part file and locks it. After that, the locked file must still have this name.
fn lock_part(target: &Target) -> Result<(File, Stamp), DiskFailure> {
    let fail = |error: Errno| target.io_failure(error.into());
    let flags = FLAGS | OFlags::CREATE;
    for _ in 0..LOCK_TRIES_MAX {
        let open = || openat(&target.folder, &target.part_name, flags, Mode::from_raw_mode(0o666));
        let fd = retry_on_intr(open).map_err(fail)?;
        match retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            // If a file system has no locks, nothing guards a part file.
            Err(error) if is_unsupported(error) || error == Errno::NOLCK => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(target.failure(DiskFailureKind::Locked, LOCKED));
            }
            Err(error) => return Err(fail(error)),
        }
        let locked = fstat(&fd).map_err(fail)?;
        let named = statat(&target.folder, &target.part_name, AtFlags::SYMLINK_NOFOLLOW);
        if !matches!(Found::of(&locked), Found::File(_)) {
            return Err(target.failed("its part file is not a regular file"));
        }
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)) {
            return Ok((File::from(fd), Stamp::of(&locked)));
        }
    }
    Err(target.failed("another process keeps renaming its part file"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::Path;

    use super::super::below::Last;
    use super::*;
    use crate::proto::disk::Destination;

    const MIB: usize = 1 << 20;

    fn target(folder: &Path, root: &Root) -> Arc<Target> {
        let destination = Destination::Path { path: folder.to_owned(), name: "x".to_owned() };
        Arc::new(Target::find(&destination, root, None, &mut Last::default()).unwrap())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A content of two pieces and its manifest.
    fn content() -> (Vec<u8>, Vec<Cv>, Root) {
        let bytes: Vec<u8> = (0..2 * MIB).map(|n| (n / 7) as u8).collect();
        let cvs: Vec<Cv> = bytes.chunks(MIB).zip(0..).map(|(piece, n)| cv_of(piece, n * PIECE_BYTES)).collect();
        let root = manifest::root_of(&cvs, bytes.len() as u64).unwrap();
        (bytes, cvs, root)
    }

    #[test]
    fn a_manifest_that_could_not_be_listed_goes_before_the_next_piece() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, cvs, root) = content();
        let mut part = Part::open(target(folder.path(), &root), root).unwrap();
        part.prepare(bytes.len() as u64, Vec::new(), None);
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let full = PartMap::read(full, root).unwrap().0;
        let map = part.map.replace(full);
        part.prepare(bytes.len() as u64, cvs.clone(), None);
        assert!(part.write_piece(0, &bytes[..MIB]).is_err());
        part.map = map;
        part.write_piece(1, &bytes[MIB..]).unwrap();
        drop(part);
        let mut part = Part::open(target(folder.path(), &root), root).unwrap();
        while part.check_next(&mut Vec::new()) {}
        assert_eq!(part.manifest, Some(cvs));
        assert_eq!(part.verified(), [1]);
    }

    #[test]
    fn what_is_left_of_a_content_that_is_there_goes() {
        let (bytes, _, root) = content();
        let size = bytes.len() as u64;
        // The cases: a run that ended between the two steps of publishing by link, a part of the
        // same content, and only its map.
        for case in ["linked", "part", "map"] {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path(), &root);
            Part::open(target.clone(), root).unwrap().prepare(size, Vec::new(), None);
            let part = folder.path().join(".x.part");
            match case {
                "linked" => {
                    fs::write(folder.path().join(".x.part.map"), "").unwrap();
                    fs::hard_link(&part, folder.path().join("x")).unwrap();
                }
                "part" => fs::write(folder.path().join("x"), &bytes).unwrap(),
                _ => {
                    fs::write(folder.path().join("x"), &bytes).unwrap();
                    fs::remove_file(&part).unwrap();
                }
            }
            remove_leftovers(&target, root);
            assert_eq!(names(folder.path()), ["x"], "{case}");
        }
    }

    #[test]
    fn a_content_of_one_piece_has_no_map_and_resumes_without_it() {
        let (bytes, ..) = content();
        let small = &bytes[..1000];
        for (left, verified) in [(small, &[0][..]), (&bytes[..999], &[])] {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path(), &root_of(small));
            let mut part = Part::open_small(target.clone(), root_of(small)).unwrap();
            part.prepare(1000, Vec::new(), None);
            part.write_piece(0, small).unwrap();
            assert_eq!(names(folder.path()), [".x.part"]);
            drop(part);
            fs::write(folder.path().join(".x.part"), left).unwrap();
            let mut part = Part::open_small(target, root_of(small)).unwrap();
            while part.check_next(&mut Vec::new()) {}
            assert_eq!(part.verified(), verified);
            part.prepare(1000, Vec::new(), None);
            part.write_piece(0, small).unwrap();
            assert!(fs::read(folder.path().join(".x.part")).unwrap() == small);
        }
    }

    #[test]
    fn a_content_that_is_longer_than_was_said_gets_a_map() {
        let (bytes, cvs, root) = content();
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path(), &root);
        let mut part = Part::open_small(target.clone(), root).unwrap();
        part.prepare(bytes.len() as u64, cvs, None);
        part.write_piece(0, &bytes[..MIB]).unwrap();
        assert_eq!(names(folder.path()), [".x.part", ".x.part.map"]);
        drop(part);
        let mut part = Part::open_small(target, root).unwrap();
        while part.check_next(&mut Vec::new()) {}
        assert_eq!(part.verified(), [0]);
    }

    #[test]
    fn a_part_without_a_map_goes_if_it_is_the_content() {
        let bytes = [7; 1000];
        for (part, stays) in [(&bytes[..], false), (b"", false), (b"another", true)] {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path(), &root_of(&bytes));
            fs::write(folder.path().join("x"), bytes).unwrap();
            fs::write(folder.path().join(".x.part"), part).unwrap();
            remove_leftovers(&target, root_of(&bytes));
            assert_eq!(folder.path().join(".x.part").exists(), stays);
        }
    }

    #[test]
    fn a_part_that_is_in_use_or_of_another_content_stays() {
        let (bytes, _, root) = content();
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path(), &root);
        let mut other = Part::open(target.clone(), Root([9; 32])).unwrap();
        other.prepare(5, Vec::new(), None);
        fs::write(folder.path().join("x"), &bytes).unwrap();
        remove_leftovers(&target, Root([9; 32]));
        drop(other);
        remove_leftovers(&target, root);
        assert_eq!(names(folder.path()), [".x.part", ".x.part.map", "x"]);
    }
}
