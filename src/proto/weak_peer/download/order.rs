//! What a download must fetch, and from which sources.

use std::time::Duration;

use super::pool::Pool;
use crate::proto::disk::Destination;
use crate::proto::{ClientId, DownloadId, PieceOrder, Verify};
use crate::time::Time;
use crate::wire::Root;

/// A download whose content is chosen.
#[derive(Clone, Debug)]
pub(in crate::proto::weak_peer) struct Order {
    pub(in crate::proto::weak_peer) id: DownloadId,
    pub(in crate::proto::weak_peer) client: ClientId,
    /// The collection that this file belongs to; none if a command requested it. The client gets no
    /// events about a file of a collection.
    pub(in crate::proto::weak_peer) parent: Option<DownloadId>,
    /// Whether the content is the list of a collection, whose files are fetched next.
    pub(in crate::proto::weak_peer) collection: bool,
    /// When the client asked.
    pub(in crate::proto::weak_peer) asked_at: Time,
    pub(in crate::proto::weak_peer) root: Root,
    /// A name from one of the sources.
    pub(in crate::proto::weak_peer) name: String,
    pub(in crate::proto::weak_peer) verify: Verify,
    pub(in crate::proto::weak_peer) destination: Destination,
    pub(in crate::proto::weak_peer) pieces: PieceOrder,
    /// How long the download may take without a verified piece and at a low rate; zero means for
    /// ever.
    pub(in crate::proto::weak_peer) timeout: Duration,
    /// Addresses to dial, with the sizes that hits claim.
    pub(in crate::proto::weak_peer) pool: Pool,
    /// Whether no other source may be used.
    pub(in crate::proto::weak_peer) only: bool,
    /// Whether there may be sources that the search could not find: the search was by name, and
    /// they may use another name.
    pub(in crate::proto::weak_peer) widen: bool,
    /// Whether the search still runs and may bring more sources.
    pub(in crate::proto::weak_peer) searching: bool,
    /// Whether hits claim that the content has at most one piece. It is only set for a part of a
    /// command.
    pub(in crate::proto::weak_peer) is_small: bool,
    /// Whether this is one file of a command of many files, which reports it.
    pub(in crate::proto::weak_peer) is_part: bool,
}
