//! Part files: `.NAME.part`, locked, and beside it `.NAME.part.map`, which names the root, keeps the manifest and claims
//! pieces. The map is a hint, appended to after the data: a torn tail is cut off, and a claimed piece counts only once it is
//! hashed again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat, unlinkat};
use rustix::io::Errno;

use super::catalog::{join, visible};
use super::hash::{cv_of, piece_length, read_range, root_of, root_of_manifest};
use super::open::{Found, Stamp};
use super::share::Share;
use crate::config::PIECE_BYTES;
use crate::proto::disk::{Destination, DiskFailure, DiskFailureKind};
use crate::proto::pieces_of;
use crate::wire::ids::{Cv, Root};
use crate::wire::name::{printable, sanitize};

const MAGIC: &[u8; 16] = b"sprat part map 1";
const HEADER_BYTES: usize = 16 + 32 + 8 + CHECK_BYTES;
const CHECK_BYTES: usize = 8;
const TAG_MANIFEST: u8 = b'M';
const TAG_PIECE: u8 = b'P';
/// Longest file name of the usual file systems, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;
/// How often a part file that is renamed away under our hands is opened anew.
const LOCK_TRIES_MAX: usize = 8;

/// Where a download goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) part_name: OsString,
    pub(super) map_name: OsString,
    /// The path in the share, if it lies there and will be offered.
    pub(super) share_path: Option<String>,
}

impl Place {
    /// Finds the folder and the name; makes nothing.
    pub(super) fn find(destination: &Destination, root: &Root, share: Option<&Share>) -> Result<Place, DiskFailure> {
        let (path, name) = match destination {
            Destination::Share { name } => {
                let Some(share) = share else {
                    return Err(failed("there is no share to download to; name a destination".to_owned()));
                };
                (share.path().to_owned(), OsString::from(sanitize(name, root)))
            }
            Destination::Path { path, name } if path.is_dir() => (path.clone(), sanitize(name, root).into()),
            Destination::Path { path, name: _ } => match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
                _ => return Err(failed(format!("{} names no file", shown(path)))),
            },
        };
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| io_failure(&path, error.into()))?;
        let part_name = affixed(&name, ".part");
        let map_name = affixed(&name, ".part.map");
        if map_name.len() > FILE_NAME_BYTES_MAX {
            return Err(failed(format!("{}: the name is too long", shown(&path.join(&name)))));
        }
        let share_path = share.and_then(|share| {
            let below = std::fs::canonicalize(&path).ok()?.strip_prefix(share.path()).ok()?.join(&name);
            let mut names = below.as_os_str().as_bytes().split(|byte| *byte == b'/');
            names.try_fold(String::new(), |folder, name| join(&folder, visible(name)?)).ok()
        });
        Ok(Place { folder, path: path.join(&name), name, part_name, map_name, share_path })
    }

    /// What is at the destination now, symlinks not followed.
    pub(super) fn look(&self) -> Result<Option<Found>, DiskFailure> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io_failure(&self.path, error.into())),
        }
    }

    /// Opens what is at the destination for reading, if it is a regular file.
    pub(super) fn open_existing(&self) -> io::Result<(File, Stamp)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.folder, &self.name, flags, Mode::empty())?);
        let stamp = Stamp::of_file(&file)?;
        Ok((file, stamp))
    }

    pub(super) fn taken(&self) -> DiskFailure {
        DiskFailure {
            kind: DiskFailureKind::Taken,
            message: format!(
                "{} exists with another content and is left untouched; move it, or choose another place for this one",
                shown(&self.path)
            ),
        }
    }

    pub(super) fn io_failure(&self, error: io::Error) -> DiskFailure {
        io_failure(&self.path, error)
    }

    /// Removes the map of a download that is over, if no part file goes with it.
    pub(super) fn remove_stale_map(&self) {
        if statat(&self.folder, &self.part_name, AtFlags::SYMLINK_NOFOLLOW).err() == Some(Errno::NOENT) {
            let _ = unlinkat(&self.folder, &self.map_name, AtFlags::empty());
        }
    }
}

fn affixed(name: &OsStr, suffix: &str) -> OsString {
    let mut affixed = OsString::from(".");
    affixed.push(name);
    affixed.push(suffix);
    affixed
}

pub(super) fn shown(path: &std::path::Path) -> String {
    printable(&path.to_string_lossy())
}

pub(super) fn failed(message: String) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Io, message }
}

fn io_failure(path: &std::path::Path, error: io::Error) -> DiskFailure {
    let kind = match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFailureKind::Full,
        _ => DiskFailureKind::Io,
    };
    DiskFailure { kind, message: format!("{}: {error}", shown(path)) }
}

/// An open, locked part file with its map.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Arc<Place>,
    pub(super) root: Root,
    pub(super) size: u64,
    pub(super) file: Arc<File>,
    map: File,
    map_bytes: u64,
    pub(super) manifest: Option<Vec<Cv>>,
    /// Whether the manifest was given by this run, whose pieces were then all checked against it.
    pub(super) manifest_is_fresh: bool,
    /// Pieces that are in the file and right.
    pub(super) written: Vec<bool>,
    /// Pieces that the map claims and that are still to be hashed.
    claimed: Vec<u32>,
}

impl Part {
    /// Opens or makes the part file, locks it, and reads its map.
    pub(super) fn open(place: Arc<Place>, root: Root, size: u64) -> Result<Part, DiskFailure> {
        let fail = |error: io::Error| place.io_failure(error);
        let file = lock_part(&place)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let map = openat(&place.folder, &place.map_name, flags, Mode::from_raw_mode(0o600));
        let map = File::from(map.map_err(|error| fail(error.into()))?);
        let mut part = Part {
            place: place.clone(),
            root,
            size,
            file: Arc::new(file),
            map,
            map_bytes: 0,
            manifest: None,
            manifest_is_fresh: false,
            written: vec![false; pieces_of(size) as usize],
            claimed: Vec::new(),
        };
        if !part.read_map().map_err(fail)? {
            part.begin_anew().map_err(fail)?;
        } else if part.file.metadata().map_err(fail)?.len() > size {
            part.file.set_len(size).map_err(fail)?;
        }
        Ok(part)
    }

    /// The map of another content, or none: nothing that is there is of use.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.map.set_len(0)?;
        self.file.set_len(0)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.root.0);
        header.extend_from_slice(&self.size.to_le_bytes());
        let check = check_of(&self.root, &header);
        header.extend_from_slice(&check);
        self.map.write_all_at(&header, 0)?;
        self.map_bytes = header.len() as u64;
        Ok(())
    }

    /// Reads what the map claims; false if it is not the map of this content.
    fn read_map(&mut self) -> io::Result<bool> {
        // Claims that were not right are made again, so that a piece may stand there several times.
        let bytes_max = 4096 + pieces_of(self.size) * (2 * 32 + 16 * 13);
        let length = self.map.metadata()?.len();
        if length > bytes_max {
            return Ok(false);
        }
        let mut bytes = vec![0; length as usize];
        self.map.read_exact_at(&mut bytes, 0)?;
        let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(false) };
        let (body, check) = header.split_at(HEADER_BYTES - CHECK_BYTES);
        let named = body.starts_with(MAGIC) && body[16..48] == self.root.0 && body[48..] == self.size.to_le_bytes();
        if !named || *check != check_of(&self.root, body) {
            return Ok(false);
        }
        let mut good = HEADER_BYTES;
        let mut claimed = Vec::new();
        while let Some((record, used)) = Record::parse(&self.root, &bytes[good..]) {
            match record {
                Record::Manifest(cvs) => {
                    self.manifest = Some(cvs).filter(|cvs| root_of_manifest(self.size, cvs) == Some(self.root));
                }
                Record::Piece(piece) => claimed.push(piece),
            }
            good += used;
        }
        self.map.set_len(good as u64)?;
        self.map_bytes = good as u64;
        claimed.retain(|piece| (*piece as usize) < self.written.len());
        claimed.sort_unstable_by(|a, b| b.cmp(a));
        claimed.dedup();
        if self.size > PIECE_BYTES && self.manifest.is_none() {
            claimed.clear();
        }
        self.claimed = claimed;
        Ok(true)
    }

    /// Hashes the next claimed piece; false once all are done.
    pub(super) fn check_claim(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(piece) = self.claimed.pop() else { return false };
        let offset = u64::from(piece) * PIECE_BYTES;
        let length = piece_length(self.size, u64::from(piece));
        let Ok(bytes) = read_range(&self.file, offset, length, buffer) else { return true };
        self.written[piece as usize] = match &self.manifest {
            None => root_of(bytes) == self.root,
            Some(cvs) => cvs.get(piece as usize) == Some(&cv_of(bytes, offset)),
        };
        true
    }

    pub(super) fn verified(&self) -> Vec<u32> {
        (0..).zip(&self.written).filter(|(_, written)| **written).map(|(piece, _)| piece).collect()
    }

    pub(super) fn store_manifest(&mut self, cvs: Vec<Cv>) {
        if root_of_manifest(self.size, &cvs) != Some(self.root) {
            log::error!("a manifest that does not merge to its root was to be stored for {}", shown(&self.place.path));
            return;
        }
        self.manifest_is_fresh = true;
        if self.manifest.as_ref() == Some(&cvs) {
            return;
        }
        // A map without the manifest costs a resume, nothing else: pieces tell of a full disk soon enough.
        if let Err(error) = self.append(&Record::Manifest(cvs.clone())) {
            log::warn!("the map of {} cannot be written: {error}", shown(&self.place.path));
        }
        self.manifest = Some(cvs);
    }

    /// Writes a verified piece, then claims it. A piece that is there already is never written again.
    pub(super) fn write_piece(&mut self, piece: u32, bytes: &[u8]) -> Result<(), DiskFailure> {
        let Some(written) = self.written.get(piece as usize) else {
            return Err(failed(format!("{}: there is no piece {piece}", shown(&self.place.path))));
        };
        if *written {
            return Ok(());
        }
        if bytes.len() != piece_length(self.size, u64::from(piece)) {
            return Err(failed(format!("{}: piece {piece} has not {} bytes", shown(&self.place.path), bytes.len())));
        }
        self.file
            .write_all_at(bytes, u64::from(piece) * PIECE_BYTES)
            .and_then(|()| self.append(&Record::Piece(piece)))
            .map_err(|error| self.place.io_failure(error))?;
        self.written[piece as usize] = true;
        Ok(())
    }

    /// At the place up to which the map is good, so that a failed write leaves nothing in the way of the next.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let bytes = record.to_bytes(&self.root);
        self.map.write_all_at(&bytes, self.map_bytes)?;
        self.map_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Removes a part file in which there is nothing.
    pub(super) fn remove_if_empty(&self) {
        if !self.written.contains(&true) {
            let _ = unlinkat(&self.place.folder, &self.place.map_name, AtFlags::empty());
            let _ = unlinkat(&self.place.folder, &self.place.part_name, AtFlags::empty());
        }
    }
}

/// Opens the part file and locks it; the lock must be on the file that has the name when it is held.
fn lock_part(place: &Place) -> Result<File, DiskFailure> {
    let fail = |error: Errno| place.io_failure(error.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for _ in 0..LOCK_TRIES_MAX {
        let fd = openat(&place.folder, &place.part_name, flags, Mode::from_raw_mode(0o666)).map_err(fail)?;
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let message = format!("{} is being downloaded already", shown(&place.path));
                return Err(DiskFailure { kind: DiskFailureKind::Locked, message });
            }
            Err(error) => return Err(fail(error)),
        }
        let locked = rustix::fs::fstat(&fd).map_err(fail)?;
        let named = statat(&place.folder, &place.part_name, AtFlags::SYMLINK_NOFOLLOW);
        if !matches!(Found::of(&locked), Found::File(_)) {
            return Err(failed(format!("{}: its part file is no regular file", shown(&place.path))));
        }
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)) {
            return Ok(File::from(fd));
        }
    }
    Err(failed(format!("{}: its part file does not stay in place", shown(&place.path))))
}

enum Record {
    Manifest(Vec<Cv>),
    Piece(u32),
}

impl Record {
    fn to_bytes(&self, root: &Root) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Record::Manifest(cvs) => {
                bytes.push(TAG_MANIFEST);
                bytes.extend_from_slice(&(cvs.len() as u32).to_le_bytes());
                cvs.iter().for_each(|cv| bytes.extend_from_slice(&cv.0));
            }
            Record::Piece(piece) => {
                bytes.push(TAG_PIECE);
                bytes.extend_from_slice(&piece.to_le_bytes());
            }
        }
        let check = check_of(root, &bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// The record at the front and its length; none at the end or where the bytes are torn.
    fn parse(root: &Root, bytes: &[u8]) -> Option<(Record, usize)> {
        let number = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
        let end = match bytes[0] {
            TAG_MANIFEST => (number as usize).checked_mul(32)?.checked_add(5)?,
            TAG_PIECE => 5,
            _ => return None,
        };
        let body = bytes.get(..end)?;
        if *bytes.get(end..end + CHECK_BYTES)? != check_of(root, body) {
            return None;
        }
        let record = match bytes[0] {
            TAG_MANIFEST => Record::Manifest(super::cache::cvs_of(&body[5..])),
            _ => Record::Piece(number),
        };
        Some((record, end + CHECK_BYTES))
    }
}

fn check_of(root: &Root, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(&root.0).update(bytes).finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
    check
}
