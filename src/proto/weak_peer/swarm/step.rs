//! What a download reports to the rest of the peer about its swarm.

use crate::proto::DownloadId;
use crate::wire::Root;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) enum Step {
    /// It begins, and looks for other peers that fetch the same content.
    Join { download: DownloadId, root: Root, size: u64, name: String },
    /// It follows too few members.
    Short { download: DownloadId },
    /// It is complete, and its file has its final name.
    Finished { download: DownloadId, root: Root },
    /// It has failed.
    Failed { download: DownloadId, root: Root },
}
