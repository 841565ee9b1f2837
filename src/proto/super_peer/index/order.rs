//! Entries by the first bits of their root, so that a page of a list looks at its part of the index
//! and not at all of it.
//!
//! It is built piece by piece when somebody lists the network, kept right by every change, and
//! forgotten when nobody does any more: an index that is only searched pays nothing for it. It is
//! no order within a bucket; a scan looks at every entry there.

use super::postings::Postings;
use crate::wire::Root;

/// Buckets differ in this many bits: a page of 600 hits of a million looks at some two
/// thousand entries.
const BITS: u32 = 10;
/// How many there are.
pub(in crate::proto) const BUCKETS: u16 = 1 << BITS;

/// Buckets of entries, one for each value of the first bits of a root.
#[derive(Debug)]
pub(super) struct RootOrder {
    buckets: Vec<Postings>,
    /// Live entries below it are in their buckets; none: all are.
    built: Option<u32>,
}

/// Where the entries of a content are.
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

    /// Where building goes on.
    pub(super) fn built(&self) -> Option<u32> {
        self.built
    }

    /// Live entries below it are in; or all.
    pub(super) fn set_built(&mut self, built: Option<u32>) {
        self.built = built;
    }

    /// The entry has become live.
    pub(super) fn insert(&mut self, id: u32, root: &Root) {
        // What is not reached yet will be.
        if self.built.is_none_or(|built| id < built) {
            self.buckets[usize::from(bucket_of(root))].insert(id);
        }
    }

    /// The entry is no longer live.
    pub(super) fn remove(&mut self, id: u32, root: &Root) {
        self.buckets[usize::from(bucket_of(root))].remove(id);
    }

    /// The first entry of a bucket that is not below `cursor`.
    pub(super) fn next(&self, bucket: u16, cursor: u32) -> Option<u32> {
        self.buckets[usize::from(bucket)].next(cursor)
    }

    /// How many entries are in.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(Postings::len).sum()
    }
}
