//! What a user can do about an error of the disk. It handles only text and does no I/O.

use rustix::io::Errno;

/// The end of a sentence about this error; empty if there is no remedy of its own.
pub(super) fn remedy(errno: Option<Errno>) -> &'static str {
    match errno {
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
