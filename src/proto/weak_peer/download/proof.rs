//! What one source has sent of the proof of a download: see `proving`.

use super::manifest::Pages;
use crate::proto::weak_peer::context::SourceIndex;
use crate::proto::{Digests, PayloadId};
use crate::wire::ids::Md5;

/// The last piece, received before the manifest was complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) payload: PayloadId,
    pub(super) digests: Digests,
    pub(super) announced: Md5,
}

/// What one source has sent of its proof.
#[derive(Debug)]
pub(super) struct Proof {
    /// The source that is asked.
    pub(super) source: SourceIndex,
    pub(super) pages: Pages,
    pub(super) held: Option<Held>,
}

impl Proof {
    pub(super) fn new(source: SourceIndex, size: u64) -> Proof {
        Proof { source, pages: Pages::new(size), held: None }
    }
}
