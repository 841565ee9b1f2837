//! The places of the members of a swarm, and how lists of them grow and shrink.

use std::collections::VecDeque;

use crate::config::SWARM_MEMBERS_MAX;

/// The place of a member in its swarm. It is used again for a later member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u16);

impl Slot {
    pub(super) const NONE: Slot = Slot(u16::MAX);

    pub(super) fn at(self) -> usize {
        usize::from(self.0)
    }
}

const _: () = assert!(SWARM_MEMBERS_MAX <= Slot::NONE.0 as usize);

/// A crowd leaves no memory behind.
pub(super) fn free_if_empty(queue: &mut VecDeque<Slot>) {
    if queue.is_empty() {
        queue.shrink_to_fit();
    }
}

/// Makes room for one more, with little to spare.
pub(super) fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 64 + 1);
    }
}
