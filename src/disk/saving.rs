//! Saves the file of the download queue: a new file is written beside the old one, synced and
//! renamed over it, and the folder is synced. This runs on a thread of its own, because a sync may
//! take seconds and must not delay the worker.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;

use super::target::{failed, shown};
use crate::proto::disk::{DiskFailure, DiskFailureKind};

/// Saves on a new thread, which calls `done` at its end.
pub(super) fn start(
    path: Option<PathBuf>,
    lines: String,
    done: impl FnOnce(Result<(), DiskFailure>) + Send + 'static,
) -> Result<JoinHandle<()>, DiskFailure> {
    let path = path.ok_or_else(|| failed("there is no file for the queue of downloads".to_owned()))?;
    let save = move || done(replace(&path, lines.as_bytes()).map_err(|error| failure(&path, &error)));
    let started = thread::Builder::new().name("sprat-save".to_owned()).spawn(save);
    started.map_err(|error| failed(format!("cannot start a thread to save the queue: {error}")))
}

/// Replaces the file. After a crash or a power cut, the old or the new file is there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    let written = uninterrupted(|| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new))
        .and_then(|mut file| {
            file.write_all(bytes)?;
            uninterrupted(|| file.sync_all())
        })
        .and_then(|()| uninterrupted(|| fs::rename(&new, path)));
    if written.is_err() {
        let _ = fs::remove_file(&new);
        return written;
    }
    let Some(folder) = path.parent() else { return Ok(()) };
    match uninterrupted(|| File::open(folder)).and_then(|folder| uninterrupted(|| folder.sync_all())) {
        // Some file systems cannot sync a folder.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        synced => synced,
    }
}

/// Repeats a call that a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn failure(path: &Path, error: &io::Error) -> DiskFailure {
    let kind = match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFailureKind::Full,
        _ => DiskFailureKind::Io,
    };
    DiskFailure { kind, message: format!("{}: {error}", shown(path)) }
}
