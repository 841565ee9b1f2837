//! The place where a download is published: its folder and its names in there. It finds and
//! examines; it writes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::folder::{Found, Stamp};
use super::names::share_path;
use crate::proto::disk::{Destination, DiskFailure, DiskFailureKind};
use crate::wire::ids::Root;
use crate::wire::name::{printable, sanitize};

/// Longest file name of the usual file systems, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Where a download goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) part_name: OsString,
    pub(super) map_name: OsString,
    /// The path relative to the share, if the file will be offered there.
    pub(super) share_path: Option<String>,
}

impl Target {
    /// Finds the folder and the name. Creates nothing.
    pub(super) fn find(destination: &Destination, root: &Root, share: Option<&Path>) -> Result<Target, DiskFailure> {
        let (path, name) = match destination {
            Destination::Share { name } => {
                let Some(share) = share else {
                    return Err(failed("there is no share to download to; name a destination".to_owned()));
                };
                (share.to_owned(), OsString::from(sanitize(name, root)))
            }
            Destination::Path { path, name } if path.is_dir() => (path.clone(), sanitize(name, root).into()),
            Destination::Path { path, name: _ } => match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
                _ => return Err(failed(format!("{} names no file", shown(path)))),
            },
        };
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()));
        let folder = folder.map_err(|error| io_failure(&path, error.into()))?;
        let part_name = hidden(&name, ".part");
        let map_name = hidden(&name, ".part.map");
        if map_name.len() > FILE_NAME_BYTES_MAX {
            return Err(failed(format!("{}: the name is too long", shown(&path.join(&name)))));
        }
        let share_path = share.and_then(|share| {
            let below = std::fs::canonicalize(&path).ok()?.strip_prefix(share).ok()?.join(&name);
            share_path(below.as_os_str().as_bytes()).ok()
        });
        Ok(Target { folder, path: path.join(&name), name, part_name, map_name, share_path })
    }

    /// What is at the destination now. Symlinks are not followed.
    pub(super) fn lookup(&self) -> Result<Option<Found>, DiskFailure> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.io_failure(error.into())),
        }
    }

    /// Opens what is at the destination for reading.
    pub(super) fn open_existing(&self) -> io::Result<(File, Stamp)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(retry_on_intr(|| openat(&self.folder, &self.name, flags, Mode::empty()))?);
        let stamp = Stamp::of_file(&file)?;
        Ok((file, stamp))
    }

    /// Another content is at the destination.
    pub(super) fn taken(&self) -> DiskFailure {
        let what = "exists with another content and is left untouched; move it, or choose another place for this one";
        self.failure(DiskFailureKind::Taken, what)
    }

    pub(super) fn failure(&self, kind: DiskFailureKind, what: &str) -> DiskFailure {
        DiskFailure { kind, message: format!("{} {what}", shown(&self.path)) }
    }

    pub(super) fn failed(&self, what: &str) -> DiskFailure {
        failed(format!("{}: {what}", shown(&self.path)))
    }

    pub(super) fn io_failure(&self, error: io::Error) -> DiskFailure {
        io_failure(&self.path, error)
    }
}

fn hidden(name: &OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(suffix);
    hidden
}

/// A path as it is shown to people.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// A failure of no special kind.
pub(super) fn failed(message: String) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Io, message }
}

fn io_failure(path: &Path, error: io::Error) -> DiskFailure {
    let kind = match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFailureKind::Full,
        _ => DiskFailureKind::Io,
    };
    DiskFailure { kind, message: format!("{}: {error}", shown(path)) }
}
