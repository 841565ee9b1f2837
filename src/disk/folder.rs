//! Opens files below a folder. No symlink and no `..` leads out of the folder, and no open blocks.
//!
//! The folder is the one that is at its path at present. It is held open only during a job. So a
//! folder that was replaced is no longer used, and a file system can be unmounted.

use std::cell::{Cell, OnceCell};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat, openat2, stat};
use rustix::io::{Errno, retry_on_intr};

/// How often an openat2 is retried if it collides with a rename (EAGAIN in openat2(2)).
const RACES_MAX: usize = 16;
/// A path below a folder never leads out of it.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// File systems that never ask another host or program for the state of a file: ext, XFS, Btrfs,
/// tmpfs, F2FS, ZFS, bcachefs, SquashFS (statfs(2)). Not overlayfs, which may lie over others.
const LOCAL: [FsWord; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x7371_7368];

/// Identifies a file and its state. Equal stamps mean equal content, except for writes within one
/// tick of the clock of the file system; the catalog handles those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

/// Identifies a folder: its device and inode.
pub(super) type FolderId = (u64, u64);

/// A stamp without its ctime, which a rename changes: device, inode, size, mtime.
pub(super) type Identity = (u64, u64, u64, i64);

impl Stamp {
    #[allow(clippy::unnecessary_cast, reason = "the field types differ between architectures")]
    pub(super) fn of(stat: &Stat) -> Stamp {
        let ns = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        Stamp {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    pub(super) fn of_file(file: impl AsFd) -> Result<Stamp, Errno> {
        fstat(file).map(|stat| Stamp::of(&stat))
    }

    /// The state of the file at a path. Symlinks on the way are followed.
    pub(super) fn of_path(path: &Path) -> Result<Stamp, Errno> {
        stat(path).map(|stat| Stamp::of(&stat))
    }

    /// The bytes in little-endian order, for hashing and storing.
    pub(super) fn to_bytes(self) -> [u8; 40] {
        let (mtime, ctime) = (self.mtime_ns.cast_unsigned(), self.ctime_ns.cast_unsigned());
        let mut bytes = [0; 40];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.dev, self.ino, self.size, mtime, ctime]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn identity(&self) -> Identity {
        (self.dev, self.ino, self.size, self.mtime_ns)
    }
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(Stamp),
    Folder,
    Symlink,
    /// A FIFO, device or socket.
    Special,
    Nothing,
    /// The lookup failed because descriptors or memory are missing. Retry later.
    Unknown,
}

impl Found {
    pub(super) fn of(stat: &Stat) -> Found {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(Stamp::of(stat)),
            FileType::Directory => Found::Folder,
            FileType::Symlink => Found::Symlink,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Found::Special,
        }
    }
}

/// Whether an error only means that descriptors or memory are missing, and says nothing about the
/// file.
pub(super) fn is_starved(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
}

/// Whether an error says that a file system does not support a call.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY)
}

/// Whether a file is on a file system that needs no other host or program.
pub(super) fn is_local(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|stat| LOCAL.contains(&stat.f_type))
}

/// Opens a folder, if the system knows its path without reading a disk (RESOLVE_CACHED, Linux
/// 5.12).
pub(super) fn open_known(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()
}

/// The state of the file at a path below a folder, if the system knows it without reading a disk.
/// Opens nothing for reading.
pub(super) fn known_state(top: impl AsFd, below: &str) -> Option<Stamp> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(top, below, flags, Mode::empty(), INSIDE | ResolveFlags::CACHED).ok()?;
    match fstat(file).map(|stat| Found::of(&stat)) {
        Ok(Found::File(stamp)) => Some(stamp),
        Ok(Found::Folder | Found::Symlink | Found::Special | Found::Nothing | Found::Unknown) | Err(_) => None,
    }
}

/// The device and inode of this folder.
pub(super) fn id_of(folder: impl AsFd) -> Result<FolderId, Errno> {
    let stamp = Stamp::of(&fstat(folder)?);
    Ok((stamp.dev, stamp.ino))
}

/// A folder. Files below it are opened by their relative path.
#[derive(Debug)]
pub(super) struct Folder {
    path: Arc<Path>,
    top: OnceCell<OwnedFd>,
    has_openat2: Cell<bool>,
}

impl Folder {
    /// Opens the folder at this path, if it can be read. Symlinks on the way to it belong to the
    /// user and are followed.
    pub(super) fn open(path: &Path) -> Result<Folder, Errno> {
        let folder = Folder { path: path.into(), top: OnceCell::new(), has_openat2: Cell::new(true) };
        folder.open_folder("")?;
        Ok(folder)
    }

    /// Its path.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Closes the folder. The next call opens the path again.
    pub(super) fn close(&mut self) {
        self.top.take();
    }

    /// The device and inode of the folder at the path.
    pub(super) fn identity(&self) -> Result<FolderId, Errno> {
        id_of(self.top()?)
    }

    fn top(&self) -> Result<&OwnedFd, Errno> {
        if let Some(top) = self.top.get() {
            return Ok(top);
        }
        // It is not opened for reading, because this would be an event for its watcher.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = retry_on_intr(|| rustix::fs::open(&*self.path, flags, Mode::empty()))?;
        Ok(self.top.get_or_init(|| top))
    }

    /// Opens a regular file for reading.
    pub(super) fn open_file(&self, path: &str) -> Result<(File, Stamp), Errno> {
        let fd = self.open_below(path, OFlags::RDONLY)?;
        let stat = fstat(&fd)?;
        match Found::of(&stat) {
            Found::File(stamp) => Ok((File::from(fd), stamp)),
            Found::Folder | Found::Symlink | Found::Special | Found::Nothing | Found::Unknown => Err(Errno::INVAL),
        }
    }

    /// Opens a folder. The empty path is this folder itself.
    pub(super) fn open_folder(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_below(if path.is_empty() { "." } else { path }, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Whether something exists at a path, which need not be UTF-8.
    pub(super) fn exists(&self, path: &[u8]) -> bool {
        self.open_below(OsStr::from_bytes(path), OFlags::PATH).is_ok()
    }

    /// What is at a path. It opens nothing for reading, so it neither blocks nor wakes the watcher.
    pub(super) fn lookup(&self, path: &str) -> Found {
        match self.open_below(path, OFlags::PATH).and_then(fstat) {
            Ok(stat) => Found::of(&stat),
            Err(error) if is_starved(error) => Found::Unknown,
            Err(_) => Found::Nothing,
        }
    }

    /// Whether this process may not read the file at a path.
    pub(super) fn refuses(&self, path: &str) -> bool {
        matches!(self.open_below(path, OFlags::RDONLY), Err(Errno::ACCESS | Errno::PERM))
    }

    /// The number of names (hard links) of the file at a path; 0 if there is no file.
    pub(super) fn links(&self, path: &str) -> u64 {
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        self.open_below(path, OFlags::PATH).and_then(fstat).map_or(0, |stat| stat.st_nlink as u64)
    }

    /// The state of a regular file, and whether its owner may execute it.
    pub(super) fn examine(&self, path: &str) -> Option<(Stamp, bool)> {
        let stat = self.open_below(path, OFlags::PATH).and_then(fstat).ok()?;
        match Found::of(&stat) {
            Found::File(stamp) => Some((stamp, Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR))),
            Found::Folder | Found::Symlink | Found::Special | Found::Nothing | Found::Unknown => None,
        }
    }

    fn open_below(&self, path: impl AsRef<OsStr>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = path.as_ref();
        let mut flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
        }
        let top = self.top()?;
        for _ in 0..RACES_MAX {
            if !self.has_openat2.get() {
                return open_by_component(top, path, flags);
            }
            match openat2(top, path, flags, Mode::empty(), INSIDE) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Container sandboxes that do not know the call return EPERM.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.set(false),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// For kernels before 5.6: opens one component after the other. None of them may be a symlink.
fn open_by_component(top: &OwnedFd, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let components = path.as_bytes().split(|byte| *byte == b'/').map(OsStr::from_bytes);
    let mut components = components.filter(|c| !c.is_empty() && *c != ".").peekable();
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = openat(top, ".", step, Mode::empty())?;
    while let Some(component) = components.next() {
        if component == ".." {
            return Err(Errno::XDEV);
        }
        let last = components.peek().is_none();
        let next = openat(&folder, component, if last { flags } else { step }, Mode::empty())?;
        if last {
            return Ok(next);
        }
        folder = next;
    }
    openat(&folder, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Runs the check with openat2 and with the fallback.
    fn both_ways(check: impl Fn(&Folder, &Path)) {
        for has_openat2 in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::open(dir.path()).unwrap();
            folder.has_openat2.set(has_openat2);
            check(&folder, dir.path());
        }
    }

    #[test]
    fn symlinks_and_dots_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "secret").unwrap();
        both_ways(|folder, path| {
            symlink(outside.path().join("canary"), path.join("link")).unwrap();
            symlink(outside.path(), path.join("folder")).unwrap();
            std::fs::create_dir(path.join("real")).unwrap();
            std::fs::write(path.join("real/file"), "x").unwrap();
            for hostile in ["link", "folder/canary", "../canary", "real/../../canary", "/etc/passwd"] {
                assert!(folder.open_file(hostile).is_err(), "{hostile}");
                let found = if hostile == "link" { Found::Symlink } else { Found::Nothing };
                assert_eq!(folder.lookup(hostile), found, "{hostile}");
            }
            assert!(matches!(folder.lookup("real/file"), Found::File(Stamp { size: 1, .. })));
            assert_eq!(folder.lookup("real"), Found::Folder);
            assert!(folder.open_file("real/file").is_ok());
        });
    }

    #[test]
    fn what_lies_at_the_path_is_used_and_nothing_keeps_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("share"), dir.path().join("away"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("old"), "old").unwrap();
        let mut folder = Folder::open(&path).unwrap();
        let before = folder.identity().unwrap();
        assert!(folder.open_file("old").is_ok());
        std::fs::rename(&path, &away).unwrap();
        folder.close();
        assert_eq!((folder.lookup("old"), folder.identity()), (Found::Nothing, Err(Errno::NOENT)));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("new"), "new").unwrap();
        assert!(folder.open_file("new").is_ok() && folder.open_file("old").is_err());
        assert_ne!(folder.identity(), Ok(before));
    }

    #[test]
    fn a_fifo_neither_blocks_nor_opens() {
        both_ways(|folder, path| {
            rustix::fs::mknodat(rustix::fs::CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .unwrap();
            assert_eq!(folder.lookup("fifo"), Found::Special);
            assert_eq!(folder.open_file("fifo").err(), Some(Errno::INVAL));
        });
    }
}
