//! What one source has sent to prove the size and the manifest of a download: see `proving`.

use super::manifest::Pages;
use super::verdict::Verdict;
use crate::proto::disk::Edge;
use crate::proto::{Digests, PayloadId};
use crate::time::Time;
use crate::wire::ids::{Cv, Md5};

/// A piece that was received and not judged yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) payload: PayloadId,
    pub(super) digests: Digests,
    pub(super) announced: Md5,
}

/// Why the last piece was wrong for the size that hits claim. This is a fault of the source only if
/// the source itself states that size.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    Wrong(Verdict),
    Refused(String),
}

/// What a source has sent as its proof.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) begun_at: Time,
    /// Bytes per second from all sources when this proof began.
    pub(super) rate_before: u64,
    /// Whether the last piece is requested only after the complete manifest.
    pub(super) is_lean: bool,
    /// The size that the source must prove: the size that it states. Before it states one, the size
    /// that hits claim, or none if hits contradict each other.
    pub(super) size: Option<u64>,
    /// The pages of the manifest.
    pub(super) pages: Pages,
    /// The values of all pages, once they merge to the root.
    pub(super) manifest: Option<Vec<Cv>>,
    /// The right edge, if a page had one.
    pub(super) edge: Option<Edge>,
    /// The last piece, if it came before the manifest was complete.
    pub(super) held: Option<Received>,
    /// Why the last piece was wrong, if it came before the source stated the size.
    pub(super) failed: Option<Failed>,
}

impl Proof {
    pub(super) fn new(begun_at: Time, rate_before: u64, size: Option<u64>, is_lean: bool) -> Proof {
        let pages = Pages::new(size.unwrap_or(0));
        Proof { begun_at, rate_before, is_lean, size, pages, manifest: None, edge: None, held: None, failed: None }
    }

    /// Bytes of the manifest that have come.
    pub(super) fn bytes(&self) -> u64 {
        self.pages.bytes() + self.manifest.as_ref().map_or(0, |cvs| (cvs.len() * Cv::LEN) as u64)
    }

    /// Starts the proof again with the size that the source states.
    pub(super) fn restate(&mut self, size: u64) {
        (self.size, self.pages) = (Some(size), Pages::new(size));
        (self.manifest, self.edge, self.failed) = (None, None, None);
    }
}
