//! The hash tables of the index: from a key to its postings, and from a path of one holder to its
//! entry.
//!
//! A large table consists of shards, so that a turn never moves more than one shard to a larger
//! place. The order of a hash table must not reach the protocol: searches follow postings, which
//! are sorted, and the files of a holder are sorted when they are listed.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::postings::Postings;
use super::slots::Slots;

/// A value with this bit is the number of a list, without it a single entry.
const LIST: u32 = 1 << 31;
/// Shards of the key table: with 1,000,000 files one has some 12,000 keys and grows in less than 1
/// ms.
const KEY_SHARDS: usize = 256;
/// Shards of the files of a holder that has more than [`FILES_UNSHARDED_MAX`].
const FILE_SHARDS: usize = 512;
/// Most files of a holder in a single table. When a table grows, the paths in it are hashed again,
/// each some 0.1 µs.
const FILES_UNSHARDED_MAX: usize = 4096;
/// A shard that is filled to less than this part gives memory back.
const SPARSE: usize = 8;
/// But not one with room for fewer keys than this.
const SPARSE_MIN: usize = 64;

/// The entries of a key.
pub(super) enum Found<'a> {
    Nothing,
    One(u32),
    List(&'a Postings),
}

impl Found<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Found::Nothing => 0,
            Found::One(_) => 1,
            Found::List(list) => list.len(),
        }
    }

    /// Whether no entry has the key. A list always has one.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Found::Nothing)
    }

    pub(super) fn is_large(&self) -> bool {
        matches!(self, Found::List(list) if list.is_large())
    }

    /// The first id that is not below `cursor`.
    pub(super) fn next(&self, cursor: u32) -> Option<u32> {
        match self {
            Found::Nothing => None,
            Found::One(id) => (*id >= cursor).then_some(*id),
            Found::List(list) => list.next(cursor),
        }
    }
}

/// Hash of a key → the entries that have it. A key is known by 38 bits of its hash alone. Two keys
/// that agree in these share their postings. That costs time and changes no answer: a search
/// compares each entry itself.
#[derive(Debug)]
pub(super) struct KeyTable {
    shards: Vec<HashTable<Slot>>,
    lists: Slots<Postings>,
}

/// 8 bytes: the hash, which a table needs again when it grows, and an entry or a list.
#[derive(Debug)]
struct Slot {
    hash: u32,
    value: u32,
}

impl KeyTable {
    pub(super) fn new() -> KeyTable {
        let shards = std::iter::repeat_with(HashTable::new).take(KEY_SHARDS).collect();
        KeyTable { shards, lists: Slots::new() }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64) -> Found<'_> {
        let short = low(hash);
        match self.shards[shard_of(hash, KEY_SHARDS)].find(widened(short), |slot| slot.hash == short) {
            None => Found::Nothing,
            Some(Slot { value, .. }) if value & LIST == 0 => Found::One(*value),
            Some(Slot { value, .. }) => Found::List(self.list(value ^ LIST)),
        }
    }

    /// Never inline: so a scan does not read what only this needs before its loop.
    #[inline(never)]
    fn list(&self, number: u32) -> &Postings {
        self.lists.at(number)
    }

    /// Adds an entry to a key; says whether it was new there.
    pub(super) fn insert(&mut self, hash: u64, id: u32) -> bool {
        let short = low(hash);
        let shard = &mut self.shards[shard_of(hash, KEY_SHARDS)];
        let slot = match shard.entry(widened(short), |slot| slot.hash == short, |slot| widened(slot.hash)) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(free) => {
                free.insert(Slot { hash: short, value: id });
                return true;
            }
        };
        if slot.value & LIST != 0 {
            return self.lists.at_mut(slot.value ^ LIST).insert(id);
        }
        if slot.value == id {
            return false;
        }
        let number = self.lists.insert(Postings::of_two(slot.value, id));
        slot.value = number | LIST;
        true
    }

    /// Takes an entry from a key; says whether it was there.
    pub(super) fn remove(&mut self, hash: u64, id: u32) -> bool {
        let short = low(hash);
        let shard = &mut self.shards[shard_of(hash, KEY_SHARDS)];
        let Ok(slot) = shard.find_entry(widened(short), |slot| slot.hash == short) else { return false };
        let value = slot.get().value;
        let (there, last) = if value & LIST == 0 {
            (value == id, value == id)
        } else {
            let list = self.lists.at_mut(value ^ LIST);
            let there = list.remove(id);
            let last = list.len() == 0;
            if last {
                *list = Postings::new();
                self.lists.free(value ^ LIST);
            }
            (there, last)
        };
        if last {
            slot.remove();
            if shard.capacity() > SPARSE_MIN && shard.len() * SPARSE < shard.capacity() {
                shard.shrink_to(shard.len() * 2, |slot| widened(slot.hash));
            }
        }
        there
    }

    /// Bytes of its tables, without the lists' own.
    pub(super) fn bytes(&self) -> usize {
        let tables = self.shards.iter().map(HashTable::allocation_size).sum::<usize>();
        tables + self.lists.len() * size_of::<Postings>()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

/// The entries of one holder by the hash of their path. The table does not keep the hashes; its
/// caller computes them again.
#[derive(Debug, Default)]
pub(super) struct FileSet {
    /// None, one, or [`FILE_SHARDS`].
    shards: Vec<HashTable<u32>>,
    used: usize,
}

impl FileSet {
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// All entries, ascending.
    pub(super) fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.shards.iter().flatten().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Takes the entries of one shard out, descending; none if no shard has any.
    pub(super) fn take_shard(&mut self) -> Vec<u32> {
        while let Some(shard) = self.shards.pop() {
            if !shard.is_empty() {
                let mut ids: Vec<u32> = shard.into_iter().collect();
                self.used -= ids.len();
                ids.sort_unstable_by(|one, other| other.cmp(one));
                return ids;
            }
        }
        Vec::new()
    }

    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let shard = self.shards.get(shard_of(hash, self.shards.len()))?;
        shard.find(hash, |id| is_it(*id)).copied()
    }

    /// Adds an entry whose path is not there yet.
    pub(super) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        if self.shards.is_empty() {
            self.shards.push(HashTable::new());
        } else if self.used == FILES_UNSHARDED_MAX && self.shards.len() == 1 {
            let ids = self.ids();
            self.shards = std::iter::repeat_with(HashTable::new).take(FILE_SHARDS).collect();
            for id in ids {
                self.place(hash_of(id), id, &hash_of);
            }
        }
        self.place(hash, id, &hash_of);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        let shard = shard_of(hash, self.shards.len());
        self.shards[shard].insert_unique(hash, id, |id| hash_of(*id));
    }

    /// Takes an entry out that is there.
    pub(super) fn remove(&mut self, hash: u64, id: u32) {
        let shard = shard_of(hash, self.shards.len());
        let found = self.shards[shard].find_entry(hash, |other| *other == id);
        found.expect("only a path of the holder is removed").remove();
        self.used -= 1;
    }
}

/// The shard of a hash, by its bits 32 to 47. The last shard gets twice as many keys as the first,
/// so that the shards, each of which doubles when it is full, do not do so all at once: neither the
/// turns nor the memory have a peak.
fn shard_of(hash: u64, shards: usize) -> usize {
    let at = hash >> 32 & 0xffff;
    let skewed = at * ((4 << 16) - at);
    usize::try_from(skewed * shards as u64 / (3 << 32)).expect("below the number of shards")
}

/// `hashbrown` takes the place in a table from the low bits and the tag of a slot from the high
/// ones.
fn widened(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 24
    }

    #[test]
    fn keys_find_their_entries() {
        let mut table = KeyTable::new();
        let mut model: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        let mut state = 3;
        for _ in 0..40_000 {
            let key = random(&mut state) % 300;
            // Keys of one shard, and of the next.
            let hash = ((key % 2) << 40) | (key * 1000);
            let id = u32::try_from(random(&mut state) % 50).unwrap();
            if random(&mut state) % 5 < 2 {
                assert_eq!(table.insert(hash, id), model.entry(hash).or_default().insert(id));
            } else {
                let there = model.get_mut(&hash).is_some_and(|set| set.remove(&id));
                model.retain(|_, set| !set.is_empty());
                assert_eq!(table.remove(hash, id), there);
            }
            assert_eq!(table.len(), model.len());
            let found = table.find(hash);
            assert_eq!(found.len(), model.get(&hash).map_or(0, BTreeSet::len));
            assert_eq!(found.next(id), model.get(&hash).and_then(|set| set.range(id..).next().copied()));
        }
        assert!(model.len() > 20);
    }

    #[test]
    fn paths_find_their_entry_whatever_their_hashes_are() {
        // Hashes of many paths: spread over everything; some 40 alike.
        let spread = |id: u32| u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let alike = |id: u32| spread(id / 40);
        paths_find_their_entry(60_000, spread);
        paths_find_their_entry(12_000, alike);
    }

    fn paths_find_their_entry(ids: u32, hash_of: impl Fn(u32) -> u64) {
        let mut set = FileSet::default();
        let mut model = BTreeSet::new();
        let mut state = 5;
        let mut most = 0;
        for round in 0..4 * ids {
            let id = u32::try_from(random(&mut state) % u64::from(ids)).unwrap();
            // Three of four rounds add at first, one of four at the end.
            let adds = random(&mut state) % 4 < if round < 3 * ids { 3 } else { 1 };
            match (adds, model.contains(&id)) {
                (true, false) => {
                    model.insert(id);
                    set.insert(hash_of(id), id, &hash_of);
                }
                (false, true) => {
                    model.remove(&id);
                    set.remove(hash_of(id), id);
                }
                (true, true) | (false, false) => {}
            }
            assert_eq!(set.len(), model.len());
            assert_eq!(set.find(hash_of(id), |other| other == id).is_some(), model.contains(&id));
            most = most.max(set.shards.len());
        }
        assert!(most == FILE_SHARDS, "it was cut into shards on the way");
        assert!(set.ids().into_iter().eq(model));
    }

    #[test]
    fn every_hash_has_a_shard_and_the_last_shard_is_twice_the_first() {
        let mut widths = [0_u32; KEY_SHARDS];
        for high in 0..=0xffff_u64 {
            widths[shard_of(high << 32 | 7 << 48, KEY_SHARDS)] += 1;
        }
        assert!(widths[1..].iter().all(|width| (190..=390).contains(width)), "{widths:?}");
        assert!(widths[KEY_SHARDS - 2] > 19 * widths[1] / 10);
        assert_eq!((shard_of(u64::MAX, FILE_SHARDS), shard_of(u64::MAX, 1), shard_of(0, 1)), (FILE_SHARDS - 1, 0, 0));
    }
}
