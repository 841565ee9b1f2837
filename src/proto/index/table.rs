//! The two hash tables of the index: keys to postings, and the paths of one holder to entries.
//!
//! Nothing outside depends on the order of a table; a scan follows the postings, which are sorted.

use super::postings::Postings;
use crate::config::INDEX_ENTRIES_MAX;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;
/// A slot's value with this bit is a list, without it a single entry.
const LIST: u32 = 1 << 31;
/// Slots of a table that is small.
const SMALL_MAX: usize = 2048;
/// Slots of a block of the key table, 32 KiB: what one table gives back another takes as it is.
const BLOCK_SLOTS: usize = 4096;
/// Keys that lie in one shard.
const FEW_MAX: usize = 4096;
/// Parts of the key table, so that growing one of them is a short turn.
const SHARDS: usize = 64;

/// What is looked up: the postings of a key.
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

/// Hash of a key → the entries that have it. A key is known by 38 bits of its keyed hash alone, by 32 while there are few keys: two
/// that fall together share their postings, which costs time and no truth, because whoever follows postings compares the entry itself.
///
/// Few keys lie in one shard, so that sessions that come and go leave one highest mark in the memory. Many small shards would each
/// find their own, one after the other for hours.
#[derive(Debug)]
pub(super) struct KeyTable {
    shards: Vec<Shard>,
    lists: Vec<Postings>,
    lists_free: Vec<u32>,
}

/// Open addressing with linear probing; the ideal slot is `hash × slots / 2^32`, so any number of slots will do. Slots in a row
/// are kept in the order of their hashes (Robin Hood), so that a search ends at the first that is beyond what it looks for:
/// the table may be fuller for it. The slots lie in blocks of one size, and a table that grows gives its old blocks back one by one as
/// it fills the new ones: many tables that grow in turns leave no holes in the heap.
#[derive(Debug, Default)]
struct Shard {
    blocks: Vec<Box<[Slot]>>,
    slots: usize,
    used: usize,
}

/// Hash and value; an empty slot's value is NONE.
type Slot = (u32, u32);

impl KeyTable {
    /// A table for few keys.
    pub(super) fn new() -> KeyTable {
        KeyTable::with_shards(1)
    }

    /// A table for many keys.
    pub(super) fn spread() -> KeyTable {
        KeyTable::with_shards(SHARDS)
    }

    fn with_shards(shards: usize) -> KeyTable {
        let shards = std::iter::repeat_with(Shard::default).take(shards).collect();
        KeyTable { shards, lists: Vec::new(), lists_free: Vec::new() }
    }

    /// Whether there are more keys than few: they belong into a new table, which is spread.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self.shards.as_slice(), [all] if all.used > FEW_MAX)
    }

    #[cfg(test)]
    pub(super) fn is_spread(&self) -> bool {
        self.shards.len() > 1
    }

    pub(super) fn find(&self, hash: u64) -> Found<'_> {
        let (shard, hash) = self.split(hash);
        let shard = &self.shards[shard];
        match shard.find(hash) {
            Err(_) => Found::Nothing,
            Ok(at) => match shard.at(at).1 {
                value if value & LIST == 0 => Found::One(value),
                value => Found::List(&self.lists[(value ^ LIST) as usize]),
            },
        }
    }

    /// Adds an entry to a key; says whether it was new there.
    pub(super) fn insert(&mut self, hash: u64, id: u32) -> bool {
        let (shard, hash) = self.split(hash);
        let shard = &mut self.shards[shard];
        let at = match shard.find(hash) {
            Ok(at) => at,
            Err(at) => {
                shard.insert(at, hash, id);
                return true;
            }
        };
        let value = shard.at(at).1;
        if value & LIST != 0 {
            return self.lists[(value ^ LIST) as usize].insert(id);
        }
        if value == id {
            return false;
        }
        let mut list = Postings::new();
        list.insert(value);
        list.insert(id);
        let index = match self.lists_free.pop() {
            Some(index) => {
                self.lists[index as usize] = list;
                index
            }
            None => {
                self.lists.push(list);
                u32::try_from(self.lists.len() - 1).expect("fewer lists than entries")
            }
        };
        shard.at_mut(at).1 = index | LIST;
        true
    }

    /// Takes an entry from a key; says whether it was there.
    pub(super) fn remove(&mut self, hash: u64, id: u32) -> bool {
        let (shard, hash) = self.split(hash);
        let shard = &mut self.shards[shard];
        let Ok(at) = shard.find(hash) else { return false };
        let value = shard.at(at).1;
        if value & LIST == 0 {
            if value == id {
                shard.remove(at);
            }
            return value == id;
        }
        let index = value ^ LIST;
        let list = &mut self.lists[index as usize];
        let there = list.remove(id);
        if list.len() == 0 {
            *list = Postings::new();
            self.lists_free.push(index);
            shard.remove(at);
        }
        there
    }

    /// Looks at the slots of several keys before they are used. The memory of a large table is slow, but the processor fetches
    /// side by side what does not wait for one another.
    pub(super) fn warm(&self, hashes: impl Iterator<Item = u64>) {
        let seen = hashes.fold(0, |seen, hash| {
            let (shard, hash) = self.split(hash);
            let shard = &self.shards[shard];
            seen ^ if shard.slots == 0 { 0 } else { shard.at(shard.ideal(hash)).1 }
        });
        std::hint::black_box(seen);
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    fn split(&self, hash: u64) -> (usize, u32) {
        let shard = if self.shards.len() == 1 { 0 } else { usize::try_from(hash >> 58).expect("six bits") };
        (shard, low(hash))
    }
}

impl Shard {
    fn at(&self, at: usize) -> Slot {
        self.blocks[at / BLOCK_SLOTS][at % BLOCK_SLOTS]
    }

    fn at_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.blocks[at / BLOCK_SLOTS][at % BLOCK_SLOTS]
    }

    fn ideal(&self, hash: u32) -> usize {
        ideal(hash, self.slots)
    }

    /// How far a slot is from the ideal one of what stands there.
    fn away(&self, at: usize, hash: u32) -> usize {
        let ideal = self.ideal(hash);
        if at >= ideal { at - ideal } else { at + self.slots - ideal }
    }

    /// Where a hash stands, or where it belongs.
    fn find(&self, hash: u32) -> Result<usize, usize> {
        let mut at = self.ideal(hash);
        for away in 0..self.slots {
            match self.at(at) {
                (_, NONE) => break,
                (other, _) if other == hash => return Ok(at),
                (other, _) if self.away(at, other) < away => break,
                _ => at = next(at, self.slots),
            }
        }
        Err(at)
    }

    /// Adds a hash where it belongs.
    fn insert(&mut self, at: usize, hash: u32, value: u32) {
        let mut at = at;
        if (self.used + 1) * 10 > self.slots * 9 {
            self.grow();
            at = self.find(hash).unwrap_or_else(|at| at);
        }
        self.open(at);
        *self.at_mut(at) = (hash, value);
        self.used += 1;
    }

    /// Moves what stands in a row from this slot on by one: nobody comes nearer to his ideal slot than the one before him. The slot
    /// itself is to be written anew.
    fn open(&mut self, at: usize) {
        let (first, from) = (at / BLOCK_SLOTS, at % BLOCK_SLOTS);
        let (mut block, mut begin) = (first, from);
        let mut carried = (0, NONE);
        loop {
            let slots = &mut self.blocks[block][begin..];
            let end = slots.iter().position(|slot| slot.1 == NONE);
            let last = end.unwrap_or(slots.len() - 1);
            let out = slots[last];
            slots.copy_within(..last, 1);
            slots[0] = carried;
            if end.is_some() {
                return;
            }
            carried = out;
            begin = 0;
            block = next(block, self.blocks.len());
        }
    }

    /// What lies in a row comes to lie in a row, so that the new blocks are needed one after the other too, and most keys go behind
    /// the one before without a look at what is there.
    fn grow(&mut self) {
        let was = self.slots;
        self.slots = grown(was);
        let blocks = self.slots.div_ceil(BLOCK_SLOTS);
        let old = std::mem::replace(&mut self.blocks, (0..blocks).map(|_| Box::default()).collect());
        // Everything is empty from `free` on, and nobody's ideal slot is behind `last`.
        let (mut free, mut last) = (0, 0);
        let mut late = Vec::new();
        for (from, (hash, value)) in old.into_iter().flatten().enumerate().filter(|(_, (_, value))| *value != NONE) {
            let here = self.ideal(hash);
            let to = here.max(free);
            if ideal(hash, was) > from || to >= self.slots {
                // Those that went round the end go there again, last of all.
                late.push((hash, value));
            } else if here >= last {
                self.make(to / BLOCK_SLOTS);
                *self.at_mut(to) = (hash, value);
                (free, last) = (to + 1, here);
            } else if self.place(hash, value) == free {
                free += 1;
            }
        }
        for (hash, value) in late {
            self.place(hash, value);
        }
        for block in 0..blocks {
            self.make(block);
        }
    }

    /// Makes a block of a table that grows, if it is not there yet. The last one is as long as it must be.
    fn make(&mut self, block: usize) {
        if self.blocks[block].is_empty() {
            let slots = (self.slots - block * BLOCK_SLOTS).min(BLOCK_SLOTS);
            self.blocks[block] = vec![(0, NONE); slots].into_boxed_slice();
        }
    }

    /// Adds a hash to a table that grows. Whoever is nearer to his ideal slot than the one who comes makes room for him. Returns the
    /// slot that was empty.
    fn place(&mut self, hash: u32, value: u32) -> usize {
        let mut coming = (hash, value);
        let mut at = self.ideal(hash);
        let mut away = 0;
        loop {
            self.make(at / BLOCK_SLOTS);
            let there = self.at(at);
            if there.1 == NONE {
                break;
            }
            let other = self.away(at, there.0);
            if other < away {
                std::mem::swap(&mut coming, self.at_mut(at));
                away = other;
            }
            at = next(at, self.slots);
            away += 1;
        }
        *self.at_mut(at) = coming;
        at
    }

    /// Those behind it that are not in their ideal slots move up by one.
    fn remove(&mut self, at: usize) {
        let mut hole = at;
        let mut probe = next(at, self.slots);
        loop {
            let there = self.at(probe);
            if there.1 == NONE || self.away(probe, there.0) == 0 {
                break;
            }
            *self.at_mut(hole) = there;
            hole = probe;
            probe = next(probe, self.slots);
        }
        *self.at_mut(hole) = (0, NONE);
        self.used -= 1;
        if self.used == 0 {
            *self = Shard::default();
        }
    }
}

/// The entries of one holder by the hash of their path; the hash is asked for again where it is needed. A slot holds some bits
/// of the hash above the id, so that few other entries are looked at in a search.
#[derive(Debug, Default)]
pub(super) struct PathSet {
    slots: Vec<u32>,
    used: usize,
}

/// The bits of a slot of [`PathSet`] that are the id; the others are bits of the hash.
const ID_BITS: u32 = 28;
const ID_MASK: u32 = (1 << ID_BITS) - 1;

const _: () = assert!(INDEX_ENTRIES_MAX <= ID_MASK as usize, "no slot looks like NONE");

impl PathSet {
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// All entries, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().filter(|&&slot| slot != NONE).map(|slot| slot & ID_MASK)
    }

    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let tag = tagged(hash, 0);
        let mut at = ideal(low(hash), self.slots.len());
        loop {
            match self.slots[at] {
                NONE => return None,
                slot if slot & !ID_MASK == tag && is_it(slot & ID_MASK) => return Some(slot & ID_MASK),
                _ => at = next(at, self.slots.len()),
            }
        }
    }

    /// Adds an entry whose path is not there yet.
    pub(super) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        if is_full(self.used, self.slots.len()) {
            // In the order of the ids, in which most paths lie one behind the other.
            let mut ids: Vec<u32> = self.iter().collect();
            ids.sort_unstable();
            self.slots = vec![NONE; grown(self.slots.len())];
            for id in ids {
                self.place(hash_of(id), id);
            }
        }
        self.place(hash, id);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, id: u32) {
        let mut at = ideal(low(hash), self.slots.len());
        while self.slots[at] != NONE {
            at = next(at, self.slots.len());
        }
        self.slots[at] = tagged(hash, id);
    }

    /// Takes an entry out that is there.
    pub(super) fn remove(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        let slots = self.slots.len();
        let mut hole = ideal(low(hash), slots);
        while self.slots[hole] & ID_MASK != id {
            assert!(self.slots[hole] != NONE, "only a path of the holder is removed");
            hole = next(hole, slots);
        }
        let mut probe = next(hole, slots);
        while self.slots[probe] != NONE {
            if may_move(ideal(low(hash_of(self.slots[probe] & ID_MASK)), slots), probe, hole) {
                self.slots[hole] = self.slots[probe];
                hole = probe;
            }
            probe = next(probe, slots);
        }
        self.slots[hole] = NONE;
        self.used -= 1;
    }
}

/// The id with its bits of the hash; not those that choose the slot.
fn tagged(hash: u64, id: u32) -> u32 {
    high(hash) << ID_BITS | id
}

fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(hash: u64) -> u32 {
    hash as u32
}

fn ideal(hash: u32, slots: usize) -> usize {
    usize::try_from((u64::from(hash) * slots as u64) >> 32).expect("below the number of slots")
}

fn next(at: usize, slots: usize) -> usize {
    if at + 1 == slots { 0 } else { at + 1 }
}

/// Whether one more would fill more than 7/8.
fn is_full(used: usize, slots: usize) -> bool {
    (used + 1) * 8 > slots * 7
}

/// A small table doubles; a large one grows by an eighth, for its empty slots would be many. It is copied in the order in which
/// it lies, so that growing often costs little.
fn grown(slots: usize) -> usize {
    let more = if slots < SMALL_MAX { slots } else { slots / 8 };
    (slots + more).max(8)
}

/// Whether what stands at `probe` may fill the hole before it: its ideal slot does not lie between (cyclically).
fn may_move(ideal: usize, probe: usize, hole: usize) -> bool {
    if hole <= probe { ideal <= hole || ideal > probe } else { ideal <= hole && ideal > probe }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 24
    }

    /// Few distinct hashes near the end of the table, so that chains are long and wrap around.
    fn crowded(key: u64) -> u64 {
        u64::from(u32::MAX) - (key % 5) * 900_000_000 % 4_000_000_000
    }

    #[test]
    fn keys_find_their_entries() {
        keys_find_their_entries_in(KeyTable::new());
        keys_find_their_entries_in(KeyTable::spread());
    }

    fn keys_find_their_entries_in(mut table: KeyTable) {
        let mut model: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        let mut state = 3;
        for _ in 0..40_000 {
            let key = random(&mut state) % 300;
            let hash = ((key << 57) & (3 << 58)) | (u64::from(u32::MAX) - key * 1000);
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

    /// The keys of one shard, in an order that has nothing to do with their slots.
    fn scattered(key: u32) -> u64 {
        9 << 58 | u64::from(key.wrapping_mul(0x9e37_79b1))
    }

    #[test]
    fn a_shard_of_several_blocks_finds_its_keys() {
        let keys = u32::try_from(5 * BLOCK_SLOTS).unwrap();
        let mut table = KeyTable::spread();
        for key in 0..keys {
            assert!(table.insert(scattered(key), key));
        }
        let shard = &table.shards[9];
        assert!(shard.blocks.len() > 5 && shard.blocks[..5].iter().all(|block| block.len() == BLOCK_SLOTS));
        assert_eq!(shard.blocks.iter().map(|block| block.len()).sum::<usize>(), shard.slots);
        let found = |table: &KeyTable, key| match table.find(scattered(key)) {
            Found::Nothing => None,
            Found::One(id) => Some(id),
            Found::List(_) => panic!("key {key} has one entry"),
        };
        for key in 0..keys {
            assert_eq!(found(&table, key), Some(key));
        }
        assert_eq!(found(&table, keys), None);
        for key in (0..keys).step_by(2) {
            assert!(table.remove(scattered(key), key));
        }
        assert_eq!(table.len(), 5 * BLOCK_SLOTS / 2);
        for key in 0..keys {
            assert_eq!(found(&table, key), (key % 2 == 1).then_some(key));
        }
        for key in (1..keys).step_by(2) {
            assert!(table.remove(scattered(key), key));
        }
        assert_eq!(table.len(), 0);
        assert!(table.shards[9].blocks.is_empty(), "an empty shard owns no memory");
    }

    /// What has no place at the end of the last block stands at the beginning of the first one, also while the shard grows.
    #[test]
    fn a_crowd_at_the_end_goes_on_in_the_first_block() {
        let crowd = |key: u32| u64::from(u32::MAX - key);
        let keys = u32::try_from(3 * BLOCK_SLOTS).unwrap();
        let mut table = KeyTable::spread();
        for key in 0..300 {
            assert!(table.insert(crowd(key), key));
        }
        for key in 0..keys {
            assert!(table.insert(scattered(key) & !(63 << 58), 300 + key));
        }
        let shard = &table.shards[0];
        assert!(shard.blocks.len() > 3 && shard.away(0, shard.at(0).0) > 0, "the crowd does not reach the first block");
        for key in 0..300 {
            assert!(matches!(table.find(crowd(key)), Found::One(id) if id == key));
        }
        // Whoever stands in the last slot leaves too: those behind move back over the end.
        for gone in 0..300 {
            assert!(table.remove(crowd(gone), gone));
            assert!((0..300).all(|key| table.find(crowd(key)).len() == usize::from(key > gone)), "key {gone} went");
        }
        for key in 0..keys {
            assert!(matches!(table.find(scattered(key) & !(63 << 58)), Found::One(id) if id == 300 + key));
        }
    }

    #[test]
    fn paths_find_their_entry_in_a_crowd() {
        let mut set = PathSet::default();
        let mut model = BTreeSet::new();
        let mut state = 5;
        let hash_of = |id: u32| crowded(u64::from(id));
        for _ in 0..20_000 {
            let id = u32::try_from(random(&mut state) % 100).unwrap();
            if model.insert(id) {
                set.insert(hash_of(id), id, hash_of);
            } else {
                model.remove(&id);
                set.remove(hash_of(id), id, hash_of);
            }
            assert_eq!(set.len(), model.len());
            for id in 0..100 {
                assert_eq!(set.find(hash_of(id), |other| other == id).is_some(), model.contains(&id));
            }
        }
    }
}
