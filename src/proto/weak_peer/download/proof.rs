//! What one source has sent of the proof of a download: see `proving`.

use super::manifest::Pages;
use crate::proto::weak_peer::context::SourceIndex;
use crate::proto::{Digests, PayloadId};
use crate::wire::ids::Md5;

/// A piece that was received and is not judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
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
    /// The last piece, if it came before the manifest was complete.
    pub(super) held: Option<Received>,
}
