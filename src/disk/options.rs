//! The paths that the disk uses. There are only declarations here.

use std::path::PathBuf;
use std::time::Duration;

/// A folder that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFolder {
    /// The start of its paths. At most one share has no name.
    pub name: Option<String>,
    /// The folder.
    pub path: PathBuf,
}

/// The paths that the disk uses.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The folders to share.
    pub shares: Vec<ShareFolder>,
    /// The folder for downloads without a destination. It is created if it is missing. If it is not
    /// set, they go to the first shared folder. If there is none, each download must name its
    /// destination.
    pub downloads: Option<PathBuf>,
    /// The file of the digest cache, whose folder is created if it is missing. If it is not set,
    /// digests are only kept in memory.
    pub cache: Option<PathBuf>,
    /// The folder for collections that the peer makes. If it is not set, the peer makes none.
    pub collections: Option<PathBuf>,
    /// Pause between two slow scans of the shares, which find the changes that no watcher reports.
    /// None: there are no slow scans.
    pub rescan: Option<Duration>,
    /// The file of the queue of downloads. Its folder exists.
    pub queue: Option<PathBuf>,
}
