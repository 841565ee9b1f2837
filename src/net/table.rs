//! Slots with generations, so that an id never names another value later.
//!
//! Only [`Table::remove`] frees a slot. The owner of the table calls it at the end of a turn, when
//! no event of the batch can name the slot any more. A look-up of a stale id finds nothing.

use slab::Slab;

use crate::proto::ConnId;

/// A full table grows by at least this many slots.
const GROWTH_MIN: usize = 64;

/// A slab whose keys include how often their slot was used before.
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Slab<T>,
    generations: Vec<u32>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { slots: Slab::new(), generations: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Uses a free slot. The caller keeps the table below `u32::MAX` entries; there are never more
    /// descriptors than that.
    pub(super) fn insert(&mut self, value: T) -> ConnId {
        if self.slots.len() == self.slots.capacity() {
            // It grows by a quarter and not by half, because the slots are most of the memory of
            // many thousand idle sessions.
            let more = (self.slots.len() / 4).max(GROWTH_MIN);
            self.slots.reserve_exact(more);
            self.generations.reserve_exact(more);
        }
        let index = self.slots.insert(value);
        if index == self.generations.len() {
            self.generations.push(0);
        }
        ConnId {
            index: u32::try_from(index).expect("fewer connections than descriptors"),
            generation: self.generations[index],
        }
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let index = id.index as usize;
        (self.generations.get(index) == Some(&id.generation)).then(|| self.slots.get(index)).flatten()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let index = id.index as usize;
        (self.generations.get(index) == Some(&id.generation)).then(|| self.slots.get_mut(index)).flatten()
    }

    /// The id of the slot, if its generation ends in these bits. A token of 32 bits has no room for
    /// more bits.
    pub(super) fn id_at(&self, index: usize, generation_bits: u32, mask: u32) -> Option<ConnId> {
        let generation = *self.generations.get(index)?;
        let current = self.slots.contains(index) && generation & mask == generation_bits;
        current.then(|| ConnId { index: u32::try_from(index).unwrap_or(u32::MAX), generation })
    }

    /// Frees the slot. Its next value gets the next generation.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        let index = id.index as usize;
        self.generations[index] = id.generation.wrapping_add(1);
        self.slots.try_remove(index)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().map(|(index, value)| {
            let generation = self.generations[index];
            (ConnId { index: u32::try_from(index).unwrap_or(u32::MAX), generation }, value)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_id() {
        let mut table = Table::new();
        let first = table.insert('a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!(second.index, first.index);
        assert_eq!((table.get(first), table.get(second)), (None, Some(&'b')));
        assert_eq!(table.remove(first), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_token_with_old_generation_bits_finds_nothing() {
        let mut table = Table::new();
        let first = table.insert('a');
        assert_eq!(table.id_at(0, 0, 0xffff), Some(first));
        table.remove(first);
        assert_eq!(table.id_at(0, 0, 0xffff), None);
        let second = table.insert('b');
        assert_eq!(table.id_at(0, 0, 0xffff), None);
        assert_eq!(table.id_at(0, 1, 0xffff), Some(second));
    }
}
