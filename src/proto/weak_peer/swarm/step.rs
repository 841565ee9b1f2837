//! What a download reports about its swarm to the rest of the peer.

use crate::proto::DownloadId;
use crate::wire::Root;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) enum Step {
    /// The download begins, and looks for other peers that fetch the same content.
    Join { download: DownloadId, root: Root, size: u64, name: String },
    /// The download follows too few members.
    Short { download: DownloadId },
    /// The download is complete, and its file has its final name.
    Finished { download: DownloadId, root: Root },
    /// The download has failed.
    Failed { download: DownloadId, root: Root },
}
