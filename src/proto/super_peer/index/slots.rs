//! A table in chunks, addressed by number. No insertion moves what is there, so that none takes
//! longer because the table is large; and an empty chunk gives its memory back.

use std::collections::BTreeSet;

/// Items of a chunk.
const CHUNK: usize = 4096;

#[derive(Debug)]
pub(super) struct Slots<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with a free place. The first one is filled first, so that the others become empty.
    open: BTreeSet<usize>,
    used: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    items: Vec<T>,
    free: Vec<u16>,
}

/// The chunk of an item.
pub(super) fn chunk_of(id: u32) -> usize {
    id as usize / CHUNK
}

fn place_of(id: u32) -> usize {
    id as usize % CHUNK
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { chunks: Vec::new(), open: BTreeSet::new(), used: 0 }
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Adds an item; returns its number.
    pub(super) fn insert(&mut self, item: T) -> u32 {
        let at = self.open.first().copied().unwrap_or_else(|| {
            self.chunks.push(Chunk { items: Vec::new(), free: Vec::new() });
            self.open.insert(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[at];
        let place = match chunk.free.pop() {
            Some(place) => {
                chunk.items[usize::from(place)] = item;
                usize::from(place)
            }
            None => {
                chunk.items.push(item);
                chunk.items.len() - 1
            }
        };
        if chunk.free.is_empty() && chunk.items.len() == CHUNK {
            self.open.remove(&at);
        }
        self.used += 1;
        u32::try_from(at * CHUNK + place).expect("fewer items than 2^32")
    }

    /// Frees the place of an item, which stays as it is until the place is used again. Returns
    /// whether its chunk is empty now, and gone.
    pub(super) fn free(&mut self, id: u32) -> bool {
        let at = chunk_of(id);
        let chunk = &mut self.chunks[at];
        chunk.free.push(u16::try_from(place_of(id)).expect("a chunk is small"));
        self.open.insert(at);
        self.used -= 1;
        let empty = chunk.free.len() == chunk.items.len();
        if empty {
            (chunk.items, chunk.free) = (Vec::new(), Vec::new());
        }
        empty
    }

    #[inline]
    pub(super) fn at(&self, id: u32) -> &T {
        &self.chunks[chunk_of(id)].items[place_of(id)]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[chunk_of(id)].items[place_of(id)]
    }

    /// The item of this number, which may be gone.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<&T> {
        self.chunks.get(chunk_of(id))?.items.get(place_of(id))
    }

    /// The numbers and items of one chunk, those of free places included.
    pub(super) fn chunk_mut(&mut self, chunk: usize) -> &mut [T] {
        &mut self.chunks[chunk].items
    }

    /// All numbers and items, those of free places included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let chunks = (0_u32..).step_by(CHUNK).zip(&self.chunks);
        chunks.flat_map(|(first, chunk)| (first..).zip(&chunk.items))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbers_are_used_again_and_empty_chunks_are_given_back() {
        let mut slots = Slots::new();
        let mut model = BTreeMap::new();
        let mut random = 11_u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        for round in 0..60_000_u64 {
            if next(8) < if round < 30_000 { 6 } else { 3 } || model.is_empty() {
                let id = slots.insert(round);
                assert!(model.insert(id, round).is_none(), "a number is given once at a time");
            } else {
                let from = u32::try_from(next(20_000)).unwrap();
                let id = *model.range(from..).next().or(model.iter().next()).unwrap().0;
                assert_eq!(model.remove(&id), Some(*slots.at(id)));
                slots.free(id);
            }
            assert_eq!(slots.len(), model.len());
        }
        assert!(model.len() > 1000 && slots.chunks.len() > 2);
        assert!(model.iter().all(|(id, item)| slots.find(*id) == Some(item)));
        model.keys().for_each(|id| {
            slots.free(*id);
        });
        assert_eq!((slots.len(), slots.iter().count(), slots.find(7)), (0, 0, None));
    }
}
