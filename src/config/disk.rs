//! Limits of shares: when a file is hashed, what is left out, what is described.

use std::time::Duration;

/// Paths that a peer describes at once, for `sprat uri`; one more is refused.
pub const DESCRIBING_MAX: usize = 64;
/// How long `sprat uri` waits for files that are written to all the time.
pub const DESCRIBE_STALL_MAX: Duration = Duration::from_secs(30);
/// Changes of the share are reported for the log no more often than this, so that many of them are
/// one line.
pub const SHARE_REPORT_EVERY: Duration = Duration::from_secs(2);
/// A file is hashed once it has not changed for this long.
pub const SHARE_QUIET: Duration = Duration::from_millis(1000);
/// The same for a file that is open for writing, or may be: its writer may pause.
pub const SHARE_OPEN_QUIET: Duration = Duration::from_secs(10);
/// Pause between two slow scans of the share, which find the changes that no watcher reports.
pub const SHARE_RESCAN: Duration = Duration::from_mins(10);
/// Most open files of processes that one scan looks at to find those that are being written. A file
/// that is not found among them counts as closed.
pub const WRITERS_LOOKED_AT_MAX: usize = 100_000;
/// Most files of at most one piece that are published together.
pub const PUBLISH_BATCH_MAX: usize = 1024;
/// From this number on, files that are published together are synced by one syncfs, which syncs the
/// complete file system, and not each by itself.
pub const SYNCFS_FILES_MIN: usize = 4;
/// Most folders that a peer shares: each has a watcher with a thread of its own.
pub const SHARES_MAX: usize = 64;
/// Most paths of a share that are not shared and are counted; further ones are not counted.
pub const LEFT_OUT_MAX: usize = 1_000_000;
/// Longest `.spratignore`, in bytes. A folder with a longer one is not shared.
pub const RULES_BYTES_MAX: u64 = 64 * 1024;
/// Most `.spratignore` files of a share. A folder with a further one is not shared.
pub const RULES_FILES_MAX: usize = 1000;

const _: () = assert!(SHARE_QUIET.as_millis() < SHARE_OPEN_QUIET.as_millis());
