//! What a download is asked to fetch, and from whom.

use crate::config::SOURCES_KNOWN_MAX;
use crate::proto::disk::Destination;
use crate::proto::{ClientId, DownloadId, Verify};
use crate::time::Time;
use crate::wire::{HostPort, Root};

/// A download whose content is chosen.
#[derive(Clone, Debug)]
pub(in crate::proto::weak_peer) struct Order {
    pub(in crate::proto::weak_peer) id: DownloadId,
    pub(in crate::proto::weak_peer) client: ClientId,
    /// When the client asked.
    pub(in crate::proto::weak_peer) asked_at: Time,
    pub(in crate::proto::weak_peer) root: Root,
    /// Bytes of the content.
    pub(in crate::proto::weak_peer) size: u64,
    /// A name from one of the sources.
    pub(in crate::proto::weak_peer) name: String,
    pub(in crate::proto::weak_peer) verify: Verify,
    pub(in crate::proto::weak_peer) destination: Destination,
    pub(in crate::proto::weak_peer) sources: Vec<HostPort>,
    /// Sources that report another size for the same root. Only one size is right; the proof shows
    /// which.
    pub(in crate::proto::weak_peer) others: Vec<(HostPort, u64)>,
    /// Sizes that were tried before this one.
    pub(in crate::proto::weak_peer) tried: Vec<u64>,
    /// Whether no other source may be used.
    pub(in crate::proto::weak_peer) only: bool,
    /// Whether sources may exist that the search could not find: it was by name, and they use
    /// another name.
    pub(in crate::proto::weak_peer) widen: bool,
    /// Whether the search still runs and may bring more sources.
    pub(in crate::proto::weak_peer) searching: bool,
}

impl Order {
    /// Keeps the sources that report another size for later. Returns those that report ours.
    pub(super) fn keep_others(&mut self, sources: Vec<(HostPort, u64)>) -> Vec<HostPort> {
        let (ours, others): (Vec<_>, Vec<_>) = sources.into_iter().partition(|(_, size)| *size == self.size);
        for other in others {
            let new = !self.tried.contains(&other.1) && !self.others.contains(&other);
            if new && self.others.len() < SOURCES_KNOWN_MAX {
                self.others.push(other);
            }
        }
        ours.into_iter().map(|(addr, _)| addr).collect()
    }
}
