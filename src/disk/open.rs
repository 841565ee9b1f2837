//! Opening files below a folder, so that no symlink, `..` or mount trick leads out of it, and nothing that is opened blocks.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

/// How often an openat2 that raced with a rename is repeated (EAGAIN, openat2(2)).
const RACES_MAX: usize = 16;

/// Which file, and which state of it: equal stamps mean equal content (but see the index for changes within one tick).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

/// A stamp without ctime, which a rename changes too.
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

    pub(super) fn identity(&self) -> Identity {
        (self.dev, self.ino, self.size, self.mtime_ns)
    }
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File(Stamp),
    Folder,
    /// Nothing, or nothing that is ever shared: a symlink, FIFO, device, socket.
    Nothing,
    /// The process or system lacks something just now; look again later.
    Unknown,
}

impl Found {
    pub(super) fn of(stat: &Stat) -> Found {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(Stamp::of(stat)),
            FileType::Directory => Found::Folder,
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Found::Nothing,
        }
    }
}

/// Whether an error says nothing about the file: the process or system lacks something just now.
pub(super) fn is_starved(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
}

/// A folder, below which everything is opened.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    has_openat2: Cell<bool>,
}

impl Beneath {
    /// Opens the folder itself; symlinks on the way there are the owner's own and are followed.
    pub(super) fn open_root(path: &Path) -> Result<Beneath, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(Beneath { root: rustix::fs::open(path, flags, Mode::empty())?, has_openat2: Cell::new(true) })
    }

    /// A regular file for reading.
    pub(super) fn open_file(&self, path: &str) -> Result<(File, Stamp), Errno> {
        let fd = self.open(path, OFlags::RDONLY)?;
        let stat = fstat(&fd)?;
        match Found::of(&stat) {
            Found::File(stamp) => Ok((File::from(fd), stamp)),
            Found::Folder | Found::Nothing | Found::Unknown => Err(Errno::INVAL),
        }
    }

    /// A folder; the empty path is the root itself.
    pub(super) fn open_folder(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open(if path.is_empty() { "." } else { path }, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// What is there. Opens nothing for reading, so that it neither blocks nor wakes a watcher.
    pub(super) fn look(&self, path: &str) -> Found {
        match self.open(path, OFlags::PATH).and_then(fstat) {
            Ok(stat) => Found::of(&stat),
            Err(error) if is_starved(error) => Found::Unknown,
            Err(_) => Found::Nothing,
        }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RACES_MAX {
            if !self.has_openat2.get() {
                return self.open_by_component(path, flags);
            }
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // EPERM: container sandboxes that do not know the call answer so.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.set(false),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// For kernels before 5.6: one component after the other, none of them a symlink.
    fn open_by_component(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut components = path.split('/').filter(|c| !c.is_empty() && *c != ".").peekable();
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(&self.root, ".", step, Mode::empty())?;
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
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Runs the check with openat2 and with the fallback.
    fn both_ways(check: impl Fn(&Beneath, &Path)) {
        for has_openat2 in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let beneath = Beneath::open_root(folder.path()).unwrap();
            beneath.has_openat2.set(has_openat2);
            check(&beneath, folder.path());
        }
    }

    #[test]
    fn symlinks_and_dots_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "secret").unwrap();
        both_ways(|beneath, path| {
            symlink(outside.path().join("canary"), path.join("link")).unwrap();
            symlink(outside.path(), path.join("folder")).unwrap();
            std::fs::create_dir(path.join("real")).unwrap();
            std::fs::write(path.join("real/file"), "x").unwrap();
            for hostile in ["link", "folder/canary", "../canary", "real/../../canary", "/etc/passwd"] {
                assert!(beneath.open_file(hostile).is_err(), "{hostile}");
                assert_eq!(beneath.look(hostile), Found::Nothing, "{hostile}");
            }
            assert!(matches!(beneath.look("real/file"), Found::File(Stamp { size: 1, .. })));
            assert_eq!(beneath.look("real"), Found::Folder);
            assert!(beneath.open_file("real/file").is_ok());
        });
    }

    #[test]
    fn a_fifo_neither_blocks_nor_opens() {
        both_ways(|beneath, path| {
            rustix::fs::mknodat(rustix::fs::CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .unwrap();
            assert_eq!(beneath.look("fifo"), Found::Nothing);
            assert_eq!(beneath.open_file("fifo").err(), Some(Errno::INVAL));
        });
    }
}
