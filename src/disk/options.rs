//! The paths that the disk uses. Declarations only.

use std::path::PathBuf;
use std::time::Duration;

/// A folder that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFolder {
    /// What goes before its paths. At most one share has no name.
    pub name: Option<String>,
    /// The folder.
    pub path: PathBuf,
}

/// The paths that the disk uses.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The folders to share.
    pub shares: Vec<ShareFolder>,
    /// Where downloads go that name no destination; it is created if it is missing. Without it the
    /// first shared folder. Without that, each download must name its destination.
    pub downloads: Option<PathBuf>,
    /// The file of the digest cache. Without one, digests are kept in memory only. Its folder is
    /// created if it is missing.
    pub cache: Option<PathBuf>,
    /// The folder of the collections that the peer makes. Without one, it makes none.
    pub collections: Option<PathBuf>,
    /// Pause between two slow scans of the shares, which find what no watcher reports. None: there
    /// are none.
    pub rescan: Option<Duration>,
    /// The file of the queue of downloads. Its folder exists.
    pub queue: Option<PathBuf>,
}
