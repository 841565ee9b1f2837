//! The zones of a swarm: which members each one has, and which of them are its gateways.

use super::slot::{Slot, grow};
use crate::config::SWARM_GATEWAYS;

#[derive(Debug, Default)]
pub(super) struct Zone {
    pub(super) name: Option<Box<str>>,
    /// The members: first those with a part of the content, in the order in which they joined, then
    /// those that have all of it, in no order.
    pub(super) slots: Vec<Slot>,
    /// How many have only a part.
    pub(super) partial: usize,
}

impl Zone {
    /// Those that also follow members of other zones: of those with a part, the ones that joined
    /// first.
    pub(super) fn gateways(&self) -> &[Slot] {
        &self.slots[..self.partial.min(SWARM_GATEWAYS)]
    }

    /// Adds a member. Returns whether it is a gateway.
    pub(super) fn add(&mut self, slot: Slot, is_full: bool) -> bool {
        grow(&mut self.slots);
        let last = self.slots.len();
        self.slots.push(slot);
        if !is_full {
            self.slots.swap(self.partial, last);
            self.partial += 1;
        }
        !is_full && self.partial <= SWARM_GATEWAYS
    }

    /// Removes a member. Returns whether it was a gateway.
    pub(super) fn remove(&mut self, slot: Slot, is_full: bool) -> bool {
        let of_kind = if is_full { self.partial..self.slots.len() } else { 0..self.partial };
        // One that changes often is near the end, so each change costs little.
        let found = self.slots[of_kind.clone()].iter().rposition(|other| *other == slot);
        let at = of_kind.start + found.expect("a member is in its zone");
        if is_full {
            self.slots.swap_remove(at);
            return false;
        }
        self.slots[at..of_kind.end].rotate_left(1);
        self.partial -= 1;
        self.slots.swap_remove(self.partial);
        at < SWARM_GATEWAYS
    }
}
