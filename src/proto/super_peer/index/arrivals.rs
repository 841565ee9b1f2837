//! What was added to an index since it was last read: entries that have become live, for digests,
//! and entries that a holder was added to, for standing searches.

use std::collections::VecDeque;

use crate::config::{ARRIVALS_MAX, DIGEST_FRESH_MAX};

/// Entries that have become live. Some may be dead by now, or listed twice.
#[derive(Debug, Default)]
pub(super) struct Additions {
    pub(super) ids: Vec<u32>,
    /// Whether some were lost, because there were too many to remember.
    pub(super) lost: bool,
}

/// Entries that a holder was added to, in order. Some may have been removed since.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) came: VecDeque<(u32, u32)>,
    /// The number of arrivals that were not recorded, because there was no room.
    pub(super) missed: u64,
}

impl Additions {
    pub(super) fn add(&mut self, id: u32) {
        if self.ids.len() < DIGEST_FRESH_MAX && !self.lost {
            self.ids.push(id);
        } else {
            *self = Additions { ids: Vec::new(), lost: true };
        }
    }
}

impl Arrivals {
    pub(super) fn add(&mut self, id: u32, holder: u32) {
        if self.came.len() < ARRIVALS_MAX {
            self.came.push_back((id, holder));
        } else {
            self.missed += 1;
        }
    }
}
