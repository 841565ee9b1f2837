//! A sorted set of entry ids: a vector while it is small, then a Roaring bitmap.
//!
//! A cursor is the lowest id that was not looked at yet. So it stays correct when ids come and go
//! between two steps.

use roaring::RoaringBitmap;

/// A set that has been larger than this stays a bitmap until it is empty.
pub(super) const SMALL_MAX: usize = 32;

/// Ids, ascending.
#[derive(Debug)]
pub(super) enum Postings {
    Small(Vec<u32>),
    Large(Box<RoaringBitmap>),
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings::Small(Vec::new())
    }

    pub(super) fn of_two(one: u32, other: u32) -> Postings {
        Postings::Small(vec![one.min(other), one.max(other)])
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Postings::Small(ids) => ids.len(),
            Postings::Large(ids) => usize::try_from(ids.len()).expect("ids are u32"),
        }
    }

    /// Whether it is too long to be walked in search of a single id.
    pub(super) fn is_large(&self) -> bool {
        matches!(self, Postings::Large(_))
    }

    /// Adds an id. Returns whether it was new.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        match self {
            Postings::Small(ids) => {
                // Most ids are new, and higher than all others.
                let at = if ids.last().is_none_or(|last| *last < id) {
                    ids.len()
                } else if let Err(at) = ids.binary_search(&id) {
                    at
                } else {
                    return false;
                };
                if ids.len() == SMALL_MAX {
                    let mut large: RoaringBitmap = ids.iter().copied().collect();
                    large.insert(id);
                    *self = Postings::Large(Box::new(large));
                    return true;
                }
                if ids.len() == ids.capacity() {
                    // There can be a million short vectors. If each doubled its capacity, a third
                    // of their memory would be unused.
                    ids.reserve_exact((ids.len() / 8).max(2));
                }
                if at == ids.len() {
                    ids.push(id);
                } else {
                    ids.insert(at, id);
                }
                true
            }
            Postings::Large(ids) => ids.insert(id),
        }
    }

    /// Removes an id. Returns whether it was there.
    pub(super) fn remove(&mut self, id: u32) -> bool {
        match self {
            Postings::Small(ids) => match ids.binary_search(&id) {
                Ok(at) => {
                    ids.remove(at);
                    true
                }
                Err(_) => false,
            },
            Postings::Large(ids) => ids.remove(id),
        }
    }

    /// The first id that is not below `cursor`.
    pub(super) fn next(&self, cursor: u32) -> Option<u32> {
        match self {
            Postings::Small(ids) => ids.get(ids.partition_point(|&id| id < cursor)).copied(),
            Postings::Large(ids) => ids.range(cursor..).next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_whatever_its_size() {
        let mut set = Postings::new();
        let mut model = BTreeSet::new();
        let mut random = 7_u64;
        for round in 0..60_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = u32::try_from(random >> 33).unwrap() % 70_000;
            if random >> 40 & 3 == 0 || round > 40_000 && random >> 40 & 3 < 3 {
                assert_eq!(set.remove(id), model.remove(&id));
            } else {
                assert_eq!(set.insert(id), model.insert(id));
            }
            assert_eq!(set.len(), model.len());
            assert_eq!(set.next(id), model.range(id..).next().copied());
        }
        assert!(model.len() > 1000 && set.is_large());
        for id in model {
            assert!(set.remove(id));
        }
        assert_eq!((set.len(), set.next(0)), (0, None));
    }
}
