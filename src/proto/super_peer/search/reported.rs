//! What a search by root has reported, so that no holder fills its answer.

use std::collections::BTreeMap;

use crate::proto::super_peer::index::HolderId;

/// The hits that a search by root has reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// How many, by holder, and by whether they have the root or only a path that ends in the
    /// pattern.
    pub(super) hits: BTreeMap<(HolderId, bool), usize>,
    /// Whether a hit that does not have the root was left out because its holder had enough hits.
    /// For the root itself nothing is lost, since the holder is named already.
    pub(super) left_out: bool,
}
