//! Files that contain secrets or decide who may take part. Only their user can read and write them.
//!
//! A file is refused if other users can read it, or if it is not a regular file of this user. The
//! error names the command that corrects this. A file is replaced by renaming a complete, synced
//! one, so that after a power cut the old or the new file is there. If several processes may change
//! the files of a folder, each of them first locks it with [`turn`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::paths::{beside, move_over, uninterrupted};
use crate::config::PRIVATE_FILE_BYTES_MAX;
use crate::error::{Exit, Failure};

/// Only the user can read and write the file.
const MODE: u32 = 0o600;
/// The name of the file whose lock allows a process to change the private files of its folder.
const TURN: &str = "turn";

/// The text of a file; `None` if it does not exist.
///
/// # Errors
/// Exit 9 if others can read it, if it is not a regular file of this user, or if it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Failure> {
    let file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(refused(path, "is a symbolic link; put the file itself there"));
        }
        Err(error) => return Err(failed("read", path, &error)),
    };
    check(&file, path)?;
    let mut text = Zeroizing::new(String::new());
    let limit = PRIVATE_FILE_BYTES_MAX as u64;
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| failed("read", path, &error))?;
    if text.len() as u64 > limit {
        return Err(refused(path, &format!("has more than {limit} bytes")));
    }
    Ok(Some(text))
}

/// Waits until this process may change the private files of a folder. It may do so until this is
/// dropped. This is not the lock of a daemon's state: commands change files of a folder while a
/// daemon runs in it.
///
/// # Errors
/// Exit 9 if the folder does not exist, or if its files cannot be locked.
pub(crate) fn turn(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(TURN);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE).custom_flags(no_follow());
    let file = options.open(&path).map_err(|error| failed("open", &path, &error))?;
    uninterrupted(|| file.lock()).map_err(|error| failed("lock", &path, &error))?;
    Ok(file)
}

/// Writes a file that only this user can read.
///
/// # Errors
/// Exit 9 if it cannot be written. Then the old file is still there.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let new = beside(path);
    let written = write_new(&new, text).and_then(|()| move_over(&new, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        failed("write", path, &error)
    })
}

/// As [`write()`], but does not wait for the disk: after a power cut, the old file may be there.
///
/// # Errors
/// The error of the system. Then the old file is still there.
pub(crate) fn write_soon(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path);
    write_new(&new, text).and_then(|()| uninterrupted(|| fs::rename(&new, path)))
}

fn write_new(new: &Path, text: &str) -> io::Result<()> {
    // A longer file could not be read again.
    if text.len() > PRIVATE_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it would have more than {PRIVATE_FILE_BYTES_MAX} bytes")));
    }
    match uninterrupted(|| fs::remove_file(new)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(new)?.write_all(text.as_bytes())
}

/// Flags of open(2): follow no link, and do not wait for a pipe.
fn no_follow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).expect("flags of open(2) are small")
}

/// Checks that the open file is a regular file of this user that others cannot read.
fn check(file: &File, path: &Path) -> Result<(), Failure> {
    let meta = file.metadata().map_err(|error| failed("read", path, &error))?;
    let user = rustix::process::geteuid();
    if !meta.is_file() {
        return Err(refused(path, "is not a regular file"));
    }
    if meta.uid() != user.as_raw() && !user.is_root() {
        return Err(refused(path, "belongs to another user; run the command as that user"));
    }
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o777;
        let why = format!("can be used by others (mode {mode:04o}); type: chmod 600 {}", path.display());
        return Err(refused(path, &why));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Disk, format!("{} {why}", path.display()))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_private_from_its_first_moment_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert_eq!(read(&path), Ok(None));
        for text in ["one", "two"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().as_str(), text);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_with_what_to_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, "text").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = read(&path).unwrap_err();
            assert_eq!(failure.exit, Exit::Disk);
            assert!(failure.message.contains(&format!("chmod 600 {}", path.display())), "{failure}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn nothing_is_written_that_could_not_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        write(&path, "old").unwrap();
        let failure = write(&path, &"x".repeat(PRIVATE_FILE_BYTES_MAX + 1)).unwrap_err();
        assert!(failure.message.contains("more than"), "{failure}");
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "old");
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("secret"), folder.path().join("link"));
        write(&path, "text").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).unwrap_err().message.contains("symbolic link"));
        assert!(read(folder.path()).unwrap_err().message.contains("not a regular file"));
        // A link in the place of the temporary file is not followed.
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), beside(&path)).unwrap();
        write(&path, "new").unwrap();
        assert!(!folder.path().join("elsewhere").exists());
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "new");
    }
}
