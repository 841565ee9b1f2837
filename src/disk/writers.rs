//! Which files are open for writing now, as far as /proc shows. These are the files of this user's
//! processes; for root, those of all processes. The watcher notices some writers only: it does not
//! see that a file is open which a rename brings or a scan finds, and a close may leave another
//! writer.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::WRITERS_LOOKED_AT_MAX;

/// The bits in the flags of an open file that say how it is open (O_ACCMODE), and their value for
/// reading only.
const ACCESS_BITS: u32 = 0o3;
const READ_ONLY: u32 = 0;

/// The paths for which `is_asked` is true and that some process has open for writing. They have no
/// symlinks. It looks at a bounded number of open files.
pub(super) fn open_for_writing(is_asked: impl Fn(&Path) -> bool) -> HashSet<PathBuf> {
    let mut left = WRITERS_LOOKED_AT_MAX;
    let mut found = HashSet::new();
    for process in entries(Path::new("/proc")).filter(|process| is_number(process)) {
        for open in entries(&process.join("fd")) {
            left -= 1;
            if left == 0 {
                return found;
            }
            // Only the text of the link is read, because its file system may not answer.
            let Ok(path) = fs::read_link(&open) else { continue };
            if !is_asked(&path) {
                continue;
            }
            let number = open.file_name().unwrap_or_default();
            if is_written(&process.join("fdinfo").join(number)) {
                found.insert(path);
            }
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_number(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().iter().all(u8::is_ascii_digit))
}

/// Whether the flags in this file of /proc say that the file is open for writing
/// (proc_pid_fdinfo(5)).
fn is_written(info: &Path) -> bool {
    let Ok(text) = fs::read_to_string(info) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_BITS != READ_ONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_open_for_writing_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(path.join("sub")).unwrap();
        for name in ["closed", "read", "sub/written", "appended"] {
            fs::write(path.join(name), "x").unwrap();
        }
        let _read = fs::File::open(path.join("read")).unwrap();
        let written = fs::File::create(path.join("sub/written")).unwrap();
        let _appended = fs::OpenOptions::new().append(true).open(path.join("appended")).unwrap();
        let found = || open_for_writing(|open| open.starts_with(&path));
        assert_eq!(found(), HashSet::from([path.join("sub/written"), path.join("appended")]));
        drop(written);
        assert_eq!(found(), HashSet::from([path.join("appended")]));
    }
}
