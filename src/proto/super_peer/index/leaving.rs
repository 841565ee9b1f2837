//! The tidying of an index. A holder that is gone must be removed from its entries, and an entry
//! without a holder from the postings. This work is put off and done in steps, so that no turn is
//! long.

use super::entries::{DEAD, FREE, SHARED};
use super::holder::{HolderId, Leaving};
use super::registry::Index;
use crate::config::LEFT_OVER_MAX;

/// Steps of tidying that an insert or a removal does: as many steps as one change can make
/// necessary.
const STEPS_PER_CHANGE: usize = 1;
/// Steps of a change while more than [`LEFT_OVER_MAX`] records are left over: for each new record,
/// two of these are removed.
const STEPS_PER_CHANGE_LATE: usize = 4;
/// A name may have more than a hundred words. Each group of this many keys counts as one more step.
const KEYS_PER_STEP: usize = 8;

impl Index {
    /// Does about this many steps of tidying. A step removes a holder that is gone from one of its
    /// entries, or an entry without a holder from the postings. The second kind counts as several
    /// steps if the entry has many words. Returns whether work is left.
    pub fn tidy(&mut self, steps: usize) -> bool {
        self.changes += 1;
        let mut left = steps;
        while left > 0
            && let Some(done) = self.tidy_one()
        {
            left = left.saturating_sub(done);
        }
        self.is_untidy()
    }

    /// Does one step. Returns how many steps it counts as; none if there was no work.
    fn tidy_one(&mut self) -> Option<usize> {
        self.steps += 1;
        let Some(id) = self.dead.pop_front() else { return self.tidy_holder().then_some(1) };
        // An entry that has a holder again, or that was tidied before, needs no work.
        let is_dead = self.entries.holders(id) == DEAD;
        let keys = if is_dead { self.forget(id) } else { 0 };
        Some(1 + self.count_keys(keys))
    }

    /// Whether [`Index::tidy`] has work.
    pub(in crate::proto) fn is_untidy(&self) -> bool {
        !(self.dead.is_empty() && self.leaving.is_empty())
    }

    /// A record is added or removed.
    pub(super) fn begin_change(&mut self) {
        self.changes += 1;
        self.steps += 1;
        let late = self.left_over > LEFT_OVER_MAX;
        // This number does not depend on the words of the entries, so more records are removed than
        // are added.
        for _ in 0..if late { STEPS_PER_CHANGE_LATE } else { STEPS_PER_CHANGE } {
            self.tidy_one();
        }
    }

    /// Counts the steps of this many keys, and returns them.
    pub(super) fn count_keys(&mut self, keys: usize) -> usize {
        let steps = keys / KEYS_PER_STEP;
        self.steps += steps as u64;
        steps
    }

    /// Removes a dead entry from the postings and frees it. Returns how many keys it had.
    fn forget(&mut self, id: u32) -> usize {
        let Index { entries, keys, scratch, .. } = self;
        let mut count = 0;
        entries.each_key(id, scratch, |key| {
            keys.remove(key.0, id);
            count += 1;
        });
        keys.remove(entries.identity_of(id).0, id);
        count + entries.free(id, scratch)
    }

    /// Removes a holder that is gone from the next of its entries. Returns whether there was an
    /// entry.
    fn tidy_holder(&mut self) -> bool {
        let Some(Leaving { holder, files, ids }) = self.leaving.front_mut() else { return false };
        let holder = *holder;
        if ids.is_empty() {
            *ids = files.take_shard();
        }
        let id = ids.pop();
        if ids.is_empty() && files.len() == 0 {
            self.leaving.pop_front();
            self.holders_free.push(holder.0);
        }
        if let Some(id) = id {
            self.left_over -= 1;
            self.release(id, holder);
        }
        true
    }

    /// Removes a holder from an entry. Returns whether the entry had it.
    pub(super) fn release(&mut self, id: u32, holder: HolderId) -> bool {
        let held = self.entries.holders(id);
        match held {
            DEAD | FREE => false,
            one if one & SHARED == 0 => {
                if one == holder.0 {
                    self.end(id);
                }
                one == holder.0
            }
            list => {
                let number = list ^ SHARED;
                let list = self.shared.at_mut(number);
                let Ok(at) = list.binary_search(&holder.0) else { return false };
                list.remove(at);
                if let &[last] = list.as_slice() {
                    *list = Vec::new();
                    self.shared.free(number);
                    self.entries.set_holders(id, last);
                }
                true
            }
        }
    }

    /// An entry has lost its last holder.
    fn end(&mut self, id: u32) {
        self.entries.set_holders(id, DEAD);
        self.live.remove(id);
        if let Some(order) = &mut self.order {
            order.remove(id, &self.entries.at(id).root);
        }
        self.dead.push_back(id);
        self.deaths += 1;
    }
}
