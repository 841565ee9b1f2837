//! Limits of shares: when a file is hashed, what is left out, and what is described.

use std::time::Duration;

/// Paths that a peer describes at once, for `sprat uri`. One more is refused.
pub const DESCRIBING_MAX: usize = 64;
/// How long `sprat uri` waits for files that are written to all the time.
pub const DESCRIBE_STALL_MAX: Duration = Duration::from_secs(30);
/// Shortest time between two reports of changes of the share in the log. All changes in this time
/// are one line.
pub const SHARE_REPORT_EVERY: Duration = Duration::from_secs(2);
/// A file is hashed once it has not changed for this long.
pub const SHARE_QUIET: Duration = Duration::from_millis(1000);
/// As [`SHARE_QUIET`], for a file that is or may be open for writing: its writer may pause.
pub const SHARE_OPEN_QUIET: Duration = Duration::from_secs(10);
/// Pause between two slow scans of the share, which find the changes that no watcher reports.
pub const SHARE_RESCAN: Duration = Duration::from_mins(10);
/// How many open files of processes one scan looks at to find files that are being written. A file
/// that is not found among them counts as closed.
pub const WRITERS_LOOKED_AT_MAX: usize = 100_000;
/// Most files of at most one piece that are published together.
pub const PUBLISH_BATCH_MAX: usize = 1024;
/// If at least this many files are published together, one syncfs, which syncs the complete file
/// system, replaces the syncs of the single files.
pub const SYNCFS_FILES_MIN: usize = 4;
/// Most folders that a peer shares: each has a watcher with a thread of its own.
pub const SHARES_MAX: usize = 64;
/// How many unshared paths of a share are counted. More are not counted.
pub const LEFT_OUT_MAX: usize = 1_000_000;
/// Longest `.spratignore`, in bytes. A folder with a longer one is not shared.
pub const RULES_BYTES_MAX: u64 = 64 * 1024;
/// Most `.spratignore` files of a share. A folder with one more is not shared.
pub const RULES_FILES_MAX: usize = 1000;

const _: () = assert!(SHARE_QUIET.as_millis() < SHARE_OPEN_QUIET.as_millis());
