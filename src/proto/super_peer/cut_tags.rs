//! The tags of ttl cuts (PROTOCOL.md 7.6). A ttl cut counts as taken back only with its tag, which
//! nobody can guess who has not seen it.
//!
//! It keeps nothing for a query: the tag is computed from the id of the query and a secret.

use crate::wire::QueryId;

/// The secret of one super peer.
pub(super) struct CutTags([u8; 32]);

impl CutTags {
    /// The seed must be random and secret.
    pub(super) fn with_seed(seed: u64) -> CutTags {
        CutTags(blake3::derive_key("sprat 2026-11-30 the tags of ttl cuts", &seed.to_be_bytes()))
    }

    /// The tag of each ttl cut of this query at this super peer. It is odd: the sum of fewer than
    /// 2³² equal tags is then never 0, which means that there is no tag.
    pub(super) fn of(&self, id: QueryId) -> u64 {
        let hash = blake3::keyed_hash(&self.0, &id.0);
        hash.as_bytes()[..8].iter().fold(0, |tag, byte| tag << 8 | u64::from(*byte)) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_and_every_super_peer_has_its_own_tag() {
        let tag = |seed, id| CutTags::with_seed(seed).of(QueryId([id; 16]));
        assert_eq!(tag(1, 1), tag(1, 1));
        assert!(tag(1, 1) != tag(1, 2) && tag(1, 1) != tag(2, 1) && tag(1, 1) % 2 == 1);
    }
}
