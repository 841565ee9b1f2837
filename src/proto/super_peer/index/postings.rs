//! A sorted set of entry ids: a small vector first, then containers of 2^16 ids as vectors or bit maps (as Roaring does).
//!
//! A cursor is the next id to look at, so it stays right whatever is inserted or removed between two steps.

/// A set that is larger than this is kept in containers, and stays so until it is empty.
pub(super) const SMALL_MAX: usize = 32;
/// A container with more ids than this is a bit map of 8 KiB.
const ARRAY_MAX: usize = 4096;

/// Ids, ascending.
#[derive(Debug)]
pub(super) enum Postings {
    Small(Vec<u32>),
    Large(Box<Large>),
}

/// Containers by the high half of the id, ascending.
#[derive(Debug)]
pub(super) struct Large {
    len: usize,
    containers: Vec<(u16, Container)>,
}

#[derive(Debug)]
enum Container {
    Array(Vec<u16>),
    Bits(Box<Bits>),
}

#[derive(Debug)]
struct Bits {
    len: u32,
    words: [u64; 1024],
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings::Small(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Postings::Small(ids) => ids.len(),
            Postings::Large(large) => large.len,
        }
    }

    /// Whether it is so long that nobody should walk it to find one id.
    pub(super) fn is_large(&self) -> bool {
        matches!(self, Postings::Large(_))
    }

    /// Adds an id; says whether it was new.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        match self {
            Postings::Small(ids) => {
                let Err(at) = place_of(ids, id) else { return false };
                if ids.len() == SMALL_MAX {
                    let mut large = Large { len: 0, containers: Vec::new() };
                    for id in ids.drain(..) {
                        large.insert(id);
                    }
                    large.insert(id);
                    *self = Postings::Large(Box::new(large));
                } else {
                    reserve_a_little(ids);
                    ids.insert(at, id);
                }
                true
            }
            Postings::Large(large) => large.insert(id),
        }
    }

    /// Takes an id out; says whether it was there.
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
    fn insert(&mut self, id: u32) -> bool {
        let (high, low) = halves(id);
        let at = match self.containers.binary_search_by_key(&high, |(key, _)| *key) {
            Ok(at) => at,
            Err(at) => {
                self.containers.insert(at, (high, Container::Array(Vec::new())));
                at
            }
        };
        let new = self.containers[at].1.insert(low);
        self.len += usize::from(new);
        new
    }

    fn remove(&mut self, id: u32) -> bool {
        let (high, low) = halves(id);
        let Ok(at) = self.containers.binary_search_by_key(&high, |(key, _)| *key) else { return false };
        let there = self.containers[at].1.remove(low);
        if self.containers[at].1.len() == 0 {
            self.containers.remove(at);
        }
        self.len -= usize::from(there);
        there
    }

    fn next(&self, cursor: u32) -> Option<u32> {
        let (high, low) = halves(cursor);
        let first = self.containers.partition_point(|(key, _)| *key < high);
        self.containers[first..].iter().find_map(|(key, container)| {
            let from = if *key == high { low } else { 0 };
            container.next(from).map(|low| u32::from(*key) << 16 | u32::from(low))
        })
    }
}

impl Container {
    fn len(&self) -> usize {
        match self {
            Container::Array(lows) => lows.len(),
            Container::Bits(bits) => bits.len as usize,
        }
    }

    fn insert(&mut self, low: u16) -> bool {
        match self {
            Container::Array(lows) => {
                let Err(at) = place_of(lows, low) else { return false };
                if lows.len() < ARRAY_MAX {
                    reserve_a_little(lows);
                    lows.insert(at, low);
                    return true;
                }
                let mut bits = Box::new(Bits { len: 0, words: [0; 1024] });
                lows.iter().for_each(|&low| bits.set(low));
                bits.set(low);
                *self = Container::Bits(bits);
                true
            }
            Container::Bits(bits) => {
                let new = bits.words[usize::from(low >> 6)] >> (low & 63) & 1 == 0;
                if new {
                    bits.set(low);
                }
                new
            }
        }
    }

    fn remove(&mut self, low: u16) -> bool {
        match self {
            Container::Array(lows) => match lows.binary_search(&low) {
                Ok(at) => {
                    lows.remove(at);
                    true
                }
                Err(_) => false,
            },
            Container::Bits(bits) => {
                let word = &mut bits.words[usize::from(low >> 6)];
                let there = *word >> (low & 63) & 1 == 1;
                *word &= !(1 << (low & 63));
                bits.len -= u32::from(there);
                if (bits.len as usize) < ARRAY_MAX / 2 {
                    let mut lows = Vec::with_capacity(bits.len as usize);
                    let mut cursor = Some(0);
                    while let Some(low) = cursor.and_then(|from| bits.next(from)) {
                        lows.push(low);
                        cursor = low.checked_add(1);
                    }
                    *self = Container::Array(lows);
                }
                there
            }
        }
    }

    fn next(&self, from: u16) -> Option<u16> {
        match self {
            Container::Array(lows) => lows.get(lows.partition_point(|&low| low < from)).copied(),
            Container::Bits(bits) => bits.next(from),
        }
    }
}

impl Bits {
    fn set(&mut self, low: u16) {
        self.words[usize::from(low >> 6)] |= 1 << (low & 63);
        self.len += 1;
    }

    fn next(&self, from: u16) -> Option<u16> {
        let first = usize::from(from >> 6);
        let mut word = self.words[first] & (u64::MAX << (from & 63));
        for at in first..self.words.len() {
            if at > first {
                word = self.words[at];
            }
            if word != 0 {
                return u16::try_from(at << 6 | word.trailing_zeros() as usize).ok();
            }
        }
        None
    }
}

fn halves(id: u32) -> (u16, u16) {
    let [a, b, c, d] = id.to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// Where an id is or belongs; ids mostly come in rising order.
fn place_of<T: Ord>(ids: &[T], id: T) -> Result<usize, usize> {
    match ids.last() {
        Some(last) if *last >= id => ids.binary_search(&id),
        Some(_) | None => Err(ids.len()),
    }
}

/// Grows by an eighth: a million short vectors that double would be a third empty.
fn reserve_a_little<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(2));
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
