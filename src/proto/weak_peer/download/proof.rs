//! The beginning of a download of more than one piece: the manifest and the last piece, both from one source, which together
//! prove the chaining value of every piece and the length. If either fails, that source alone is to blame.

use super::SourceIndex;
use crate::proto::weak_peer::download::manifest::Pages;
use crate::proto::{Digests, PayloadId};
use crate::wire::ids::Md5;

/// The last piece, received before the manifest was whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) payload: PayloadId,
    pub(super) digests: Digests,
    pub(super) announced: Md5,
}

/// What one source has sent of its proof.
#[derive(Debug)]
pub(super) struct Proof {
    /// Who is asked.
    pub(super) source: SourceIndex,
    pub(super) pages: Pages,
    pub(super) held: Option<Held>,
}

impl Proof {
    pub(super) fn new(source: SourceIndex, size: u64) -> Proof {
        Proof { source, pages: Pages::new(size), held: None }
    }
}
