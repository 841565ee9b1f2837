//! A sorted set of entry ids: a vector while it is small, then a Roaring bitmap.
//!
//! A cursor is the lowest id that was not looked at yet. So it stays correct when ids come and go
//! between two steps.

use roaring::RoaringBitmap;

/// A set that has been larger than this stays a bitmap until it is empty.
pub(super) const SMALL_MAX: usize = 32;

/// Ids that wait beside a bitmap. With them, a [`Large`] takes two cache lines.
const TAIL: usize = 22;

/// Ids, ascending.
#[derive(Debug)]
pub(super) enum Postings {
    Small(Vec<u32>),
    Large(Box<Large>),
}

/// A bitmap, and the highest ids beside it. Most new ids are higher than all others. If each went
/// to the bitmap alone, the processor would read four places in memory one after the other for it:
/// the bitmap, its list of containers, the container and its end.
#[derive(Debug)]
pub(super) struct Large {
    ids: RoaringBitmap,
    /// Number of ids, those of the tail too.
    len: u32,
    /// No id of the bitmap is higher.
    highest: u32,
    waiting: u32,
    /// The first `waiting` of these are ids, ascending. The bitmap does not have them.
    tail: [u32; TAIL],
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
            Postings::Large(large) => large.len as usize,
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
                    let mut large = Large::new(ids);
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
            Postings::Large(large) => large.insert(id),
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
            Postings::Large(large) => large.remove(id),
        }
    }

    /// The first id that is not below `cursor`.
    pub(super) fn next(&self, cursor: u32) -> Option<u32> {
        match self {
            Postings::Small(ids) => ids.get(ids.partition_point(|&id| id < cursor)).copied(),
            Postings::Large(large) => large.next(cursor),
        }
    }
}

impl Large {
    /// A set of these ids, which ascend.
    fn new(ids: &[u32]) -> Large {
        let (len, highest) = (ids.len(), ids.last().copied().unwrap_or(0));
        let ids = ids.iter().copied().collect();
        Large { ids, len: u32::try_from(len).expect("few ids"), highest, waiting: 0, tail: [0; TAIL] }
    }

    fn tail(&self) -> &[u32] {
        &self.tail[..self.waiting as usize]
    }

    fn insert(&mut self, id: u32) -> bool {
        let is_new = if id > self.highest && self.tail().last().is_none_or(|last| *last < id) {
            self.append(id);
            true
        } else if self.tail().binary_search(&id).is_ok() {
            false
        } else {
            self.highest = self.highest.max(id);
            self.ids.insert(id)
        };
        self.len += u32::from(is_new);
        is_new
    }

    /// Adds an id that is higher than all others.
    fn append(&mut self, id: u32) {
        if self.waiting as usize == TAIL {
            self.ids.extend(self.tail);
            self.highest = self.highest.max(self.tail[TAIL - 1]);
            self.waiting = 0;
        }
        self.tail[self.waiting as usize] = id;
        self.waiting += 1;
    }

    fn remove(&mut self, id: u32) -> bool {
        let was_there = if let Ok(at) = self.tail().binary_search(&id) {
            self.tail.copy_within(at + 1..self.waiting as usize, at);
            self.waiting -= 1;
            true
        } else {
            self.ids.remove(id)
        };
        self.len -= u32::from(was_there);
        was_there
    }

    fn next(&self, cursor: u32) -> Option<u32> {
        let tail = self.tail();
        let waiting = tail.get(tail.partition_point(|&id| id < cursor)).copied();
        if cursor > self.highest {
            return waiting;
        }
        let settled = self.ids.range(cursor..).next();
        settled.into_iter().chain(waiting).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_whatever_its_size() {
        check(|_, random| random % 70_000);
    }

    /// As in an index: ids ascend, but for those that were free; and some of the last ones go.
    #[test]
    fn it_is_a_set_if_most_ids_ascend() {
        check(
            |round, random| if random.is_multiple_of(8) { random % 70_000 } else { round - (random % 24).min(round) },
        );
    }

    fn check(id_of: impl Fn(u32, u32) -> u32) {
        let mut set = Postings::new();
        let mut model = BTreeSet::new();
        let mut random = 7_u64;
        for round in 0..60_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = id_of(round, u32::try_from(random >> 33).unwrap());
            if random >> 40 & 3 == 0 || round > 40_000 && random >> 40 & 3 < 3 {
                assert_eq!(set.remove(id), model.remove(&id));
            } else {
                assert_eq!(set.insert(id), model.insert(id));
            }
            assert_eq!(set.len(), model.len());
            for cursor in [id, id / 2] {
                assert_eq!(set.next(cursor), model.range(cursor..).next().copied());
            }
        }
        assert!(model.len() > 1000 && set.is_large());
        for id in model {
            assert!(set.remove(id));
        }
        assert_eq!((set.len(), set.next(0)), (0, None));
    }
}
