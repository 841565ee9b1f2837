//! What a user can do about an error of the disk. It reads figures of file systems, and never
//! writes.

use std::path::Path;

use rustix::fs::statvfs;
use rustix::io::Errno;

/// The end of a sentence about this error at this path, which may not exist; empty if there is no
/// remedy of its own.
pub(super) fn remedy(path: &Path, errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC) if lacks_inodes(path) => {
            "; the file system has no inodes left for more files: remove files, or choose another place with -o"
        }
        errno => remedy_of(errno),
    }
}

fn remedy_of(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC) => "; the disk is full: make room, or choose another place with -o",
        Some(Errno::DQUOT) => {
            "; the quota of this user is used up: remove files of this user, or choose another place with -o"
        }
        Some(Errno::NAMETOOLONG) => {
            "; the name or the path is too long for the file system: choose a shorter one with -o"
        }
        Some(Errno::MFILE | Errno::NFILE) => "; too few files may be open at once: raise the limit (ulimit -n)",
        Some(Errno::FBIG) => "; the limit of this process (ulimit -f) or of the file system is less than the file",
        Some(Errno::ROFS) => "; choose another place with -o, or make this one writable",
        Some(Errno::ACCESS | Errno::PERM) => "; this user may not write there: choose another place with -o",
        Some(Errno::IO | Errno::NODEV | Errno::NXIO | Errno::STALE | Errno::NOTCONN | Errno::SHUTDOWN) => {
            "; the disk has failed or was removed: connect it again, or choose another place with -o"
        }
        Some(Errno::NOENT) => "; create the folder, or choose another place with -o",
        Some(Errno::NOTDIR | Errno::LOOP | Errno::EXIST) => {
            "; something else is in the way there: move it away, or choose another place with -o"
        }
        _ => "",
    }
}

/// Whether the file system of a path has no inode left for another file.
fn lacks_inodes(path: &Path) -> bool {
    let disk = path.ancestors().find_map(|path| statvfs(path).ok());
    // Some file systems count as free inodes what fits into the free blocks.
    disk.is_some_and(|disk| disk.f_bavail > 0 && is_used_up(disk.f_files, disk.f_ffree))
}

/// Some file systems make inodes as they are needed, and report that they have none.
fn is_used_up(inodes: u64, free: u64) -> bool {
    inodes > 0 && free == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_the_lack_of_inodes_have_their_own_remedies() {
        assert!(is_used_up(1000, 0) && !is_used_up(1000, 1) && !is_used_up(0, 0));
        let folder = tempfile::tempdir().unwrap();
        let full = remedy(&folder.path().join("new/file"), Some(Errno::NOSPC));
        assert!(full.contains("the disk is full: make room"), "{full}");
        for errno in [Errno::DQUOT, Errno::NAMETOOLONG, Errno::MFILE] {
            assert!(remedy(folder.path(), Some(errno)).starts_with("; "), "{errno}");
        }
    }
}
