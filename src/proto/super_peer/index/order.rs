//! Entries by the first bits of their root, so that a page of a list looks only at its part of the
//! index.
//!
//! The order is built piece by piece when somebody lists the network. Every change of the index
//! keeps it correct.
//! The order is dropped when nobody has listed the network for a while. So an index that is only
//! searched has no cost for it. Entries within a bucket have no order; a scan looks at every entry
//! of the bucket.

use super::postings::Postings;
use crate::wire::Root;

/// The number of bits that distinguish the buckets. A page of 600 of a million hits looks at about
/// two thousand entries.
const BITS: u32 = 10;
/// The number of buckets.
pub(in crate::proto) const BUCKETS: u16 = 1 << BITS;

/// Buckets of entries, one for each value of the first bits of a root.
#[derive(Debug)]
pub(super) struct RootOrder {
    buckets: Vec<Postings>,
    /// Live entries with lower ids are in their buckets; none if all are.
    built: Option<u32>,
}

/// The bucket of a content's entries.
pub(in crate::proto) fn bucket_of(root: &Root) -> u16 {
    u16::from_be_bytes([root.0[0], root.0[1]]) >> (u16::BITS - BITS)
}

impl RootOrder {
    pub(super) fn new() -> RootOrder {
        RootOrder { buckets: (0..BUCKETS).map(|_| Postings::new()).collect(), built: Some(0) }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.built.is_none()
    }

    /// The id at which building continues; none if all entries are in.
    pub(super) fn built(&self) -> Option<u32> {
        self.built
    }

    /// Sets the id at which building continues; none if all entries are in.
    pub(super) fn set_built(&mut self, built: Option<u32>) {
        self.built = built;
    }

    /// The entry has become live.
    pub(super) fn insert(&mut self, id: u32, root: &Root) {
        // An entry that building has not reached yet is added then.
        if self.built.is_none_or(|built| id < built) {
            self.buckets[usize::from(bucket_of(root))].insert(id);
        }
    }

    /// The entry is no longer live.
    pub(super) fn remove(&mut self, id: u32, root: &Root) {
        self.buckets[usize::from(bucket_of(root))].remove(id);
    }

    /// The first entry of a bucket whose id is not below `cursor`.
    pub(super) fn next(&self, bucket: u16, cursor: u32) -> Option<u32> {
        self.buckets[usize::from(bucket)].next(cursor)
    }

    /// How many entries are in the buckets.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(Postings::len).sum()
    }
}
