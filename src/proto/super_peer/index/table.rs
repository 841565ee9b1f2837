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
/// Room behind the last slot of a shard, for those that have no place before it.
const TAIL_SLOTS: usize = 16;
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

/// Open addressing with linear probing; the ideal slot is `hash × slots / 2^32`, so any number of slots will do. What stands there stands
/// in the order of the hashes, gaps between: a search ends at the first hash that is not smaller, in a table that is nearly full too,
/// and a table that grows is copied from its beginning to its end. What has no place in the last slot stands behind it; nothing goes
/// round to the beginning. The slots lie in blocks of one size, and a table that grows gives its old blocks back one by one as it fills
/// the new ones: many tables that grow in turns leave no holes in the heap.
#[derive(Debug, Default)]
struct Shard {
    /// All but the last are full.
    blocks: Vec<Vec<Slot>>,
    slots: usize,
    used: usize,
}

/// Hash and value.
type Slot = (u32, u32);

/// A gap: every search ends at it.
const EMPTY: Slot = (u32::MAX, NONE);

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

    /// Where a hash stands, or where it belongs.
    fn find(&self, hash: u32) -> Result<usize, usize> {
        let mut at = self.ideal(hash);
        let mut begin = at % BLOCK_SLOTS;
        for block in &self.blocks[at / BLOCK_SLOTS..] {
            let rest = &block[begin..];
            if let Some(ahead) = rest.iter().position(|slot| slot.0 >= hash) {
                at += ahead;
                let is_it = rest[ahead].0 == hash && rest[ahead].1 != NONE;
                return if is_it { Ok(at) } else { Err(at) };
            }
            at += rest.len();
            begin = 0;
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
        self.push_in(at, (hash, value));
        self.used += 1;
    }

    /// Puts something in a slot; what stands in a row from there on moves by one.
    fn push_in(&mut self, at: usize, slot: Slot) {
        let mut coming = slot;
        let mut begin = at % BLOCK_SLOTS;
        for block in &mut self.blocks[at / BLOCK_SLOTS..] {
            let row = &mut block[begin..];
            let gap = row.iter().position(|slot| slot.1 == NONE);
            if let Some(last) = gap.or(row.len().checked_sub(1)) {
                let out = row[last];
                row.copy_within(..last, 1);
                row[0] = coming;
                coming = out;
            }
            if gap.is_some() {
                return;
            }
            begin = 0;
        }
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK_SLOTS => {
                if block.len() == block.capacity() {
                    block.reserve_exact(TAIL_SLOTS);
                }
                block.push(coming);
            }
            Some(_) | None => self.blocks.push(vec![coming]),
        }
    }

    fn grow(&mut self) {
        self.slots = grown(self.slots, 4);
        let mut new = Blocks { full: Vec::new(), last: Vec::new(), slots: self.slots };
        for block in std::mem::take(&mut self.blocks) {
            for slot in block.into_iter().filter(|slot| slot.1 != NONE) {
                new.skip_to(self.ideal(slot.0));
                new.last.push(slot);
            }
        }
        new.skip_to(self.slots);
        self.blocks = new.full;
        self.blocks.push(new.last);
    }

    /// Those behind it that are not in their ideal slots move up by one.
    fn remove(&mut self, at: usize) {
        let mut hole = at;
        loop {
            let next = hole + 1;
            let there = self.blocks.get(next / BLOCK_SLOTS).and_then(|block| block.get(next % BLOCK_SLOTS).copied());
            let Some(there) = there.filter(|there| there.1 != NONE && self.ideal(there.0) < next) else { break };
            *self.at_mut(hole) = there;
            hole = next;
        }
        *self.at_mut(hole) = EMPTY;
        self.used -= 1;
        if self.used == 0 {
            *self = Shard::default();
        }
    }
}

/// The blocks of a table that is being filled from its beginning.
struct Blocks {
    full: Vec<Vec<Slot>>,
    last: Vec<Slot>,
    slots: usize,
}

impl Blocks {
    /// The next to come stands in this slot, or in the first one behind what is there.
    fn skip_to(&mut self, to: usize) {
        while self.last.len() == BLOCK_SLOTS || self.full.len() < to / BLOCK_SLOTS {
            self.last.resize(BLOCK_SLOTS, EMPTY);
            self.full.push(std::mem::take(&mut self.last));
        }
        if self.last.capacity() == 0 {
            let left = self.slots.saturating_sub(self.full.len() * BLOCK_SLOTS);
            self.last.reserve_exact((left + TAIL_SLOTS).min(BLOCK_SLOTS));
        }
        let here = self.full.len() * BLOCK_SLOTS;
        if to > here + self.last.len() {
            self.last.resize(to - here, EMPTY);
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
            self.slots = vec![NONE; grown(self.slots.len(), 2)];
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

/// A small table doubles; a large one grows by such a part, for its empty slots would be many.
fn grown(slots: usize, part: usize) -> usize {
    let more = if slots < SMALL_MAX { slots } else { slots / part };
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
        let standing: Vec<Slot> = shard.blocks.iter().flatten().copied().filter(|slot| slot.1 != NONE).collect();
        assert!(standing.len() == 5 * BLOCK_SLOTS && standing.is_sorted_by_key(|slot| slot.0));
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

    /// Of a shard: in the order of the hashes, nobody before his ideal slot, no gap between it and him.
    fn check(shard: &Shard) {
        let slots: Vec<Slot> = shard.blocks.iter().flatten().copied().collect();
        assert!(
            slots.len() >= shard.slots && shard.blocks.iter().rev().skip(1).all(|block| block.len() == BLOCK_SLOTS)
        );
        let standing: Vec<Slot> = slots.iter().copied().filter(|slot| slot.1 != NONE).collect();
        assert!(standing.len() == shard.used && standing.is_sorted_by(|a, b| a.0 < b.0));
        let mut row = 0;
        for (at, slot) in slots.into_iter().enumerate() {
            if slot.1 == NONE {
                assert_eq!(slot, EMPTY);
                row = at + 1;
            } else {
                assert!((row..=at).contains(&shard.ideal(slot.0)), "slot {at}");
            }
        }
    }

    #[test]
    fn a_shard_is_in_order_whatever_comes_and_goes() {
        let mut state = 11;
        // Spread over the whole table; crowded at its end and around the border of two blocks; the last hash of all among them.
        let hashes = |state: &mut u64| match random(state) % 8 {
            0 => u32::MAX - u32::try_from(random(state) % 900).unwrap(),
            1 | 2 => (1 << 31) - 450 + u32::try_from(random(state) % 900).unwrap(),
            _ => low(random(state) << 7),
        };
        for size in [10, 200, 20_000] {
            let mut shard = Shard::default();
            let mut model = BTreeMap::new();
            let mut blocks_max = 0;
            for round in 0..6 * size {
                let hash = hashes(&mut state);
                // It grows for a third of the rounds, stays as it is for the next, and shrinks in the last.
                match shard.find(hash) {
                    Err(at) => {
                        assert_eq!(model.get(&hash), None);
                        shard.insert(at, hash, round);
                        model.insert(hash, round);
                    }
                    Ok(at) => assert_eq!(model.get(&hash), Some(&shard.at(at).1)),
                }
                if round >= 2 * size || round % 3 == 0 {
                    for _ in 0..=u32::from(round >= 4 * size) {
                        let Some((&gone, _)) = model.range(hash / 3 * 2..).next() else { continue };
                        model.remove(&gone);
                        let at = shard.find(gone).unwrap();
                        shard.remove(at);
                    }
                }
                if round % (size / 4) == 0 {
                    check(&shard);
                    blocks_max = blocks_max.max(shard.blocks.len());
                }
            }
            assert!((blocks_max > 2) == (size > 4096), "{size}: {blocks_max} blocks");
            for (gone, value) in model {
                let at = shard.find(gone).unwrap();
                assert_eq!(shard.at(at), (gone, value));
                shard.remove(at);
            }
            assert!(shard.used == 0 && shard.blocks.is_empty());
        }
    }

    /// What has no place in the last slot stands behind it, however many they are.
    #[test]
    fn a_crowd_at_the_end_goes_on_behind_the_last_slot() {
        let crowd = |key: u32| u64::from(u32::MAX - key);
        let others = u32::try_from(3 * BLOCK_SLOTS).unwrap();
        let crowded = u32::try_from(BLOCK_SLOTS).unwrap();
        let other = |key: u32| scattered(key) & !(63 << 58);
        let mut table = KeyTable::spread();
        for key in 0..others {
            assert!(table.insert(other(key), crowded + key));
        }
        for key in 0..crowded {
            assert!(table.insert(crowd(key), key));
        }
        let shard = &table.shards[0];
        assert!(
            shard.blocks.iter().map(Vec::len).sum::<usize>() > shard.slots + 1000,
            "the crowd is not behind the last slot"
        );
        for key in 0..crowded {
            assert!(matches!(table.find(crowd(key)), Found::One(id) if id == key));
        }
        for gone in 0..crowded {
            assert!(table.remove(crowd(gone), gone));
            let found = |key| table.find(crowd(key)).len();
            let next = (gone + 1).min(crowded - 1);
            assert_eq!(
                (found(gone), found(next), found(crowded - 1)),
                (0, usize::from(next > gone), usize::from(next > gone))
            );
        }
        for key in 0..others {
            assert!(matches!(table.find(other(key)), Found::One(id) if id == crowded + key));
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
