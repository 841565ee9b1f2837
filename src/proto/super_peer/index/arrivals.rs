//! What came to an index since somebody asked: entries that came to life, for digests, and entries
//! that came to a holder, for searches that stand.

use std::collections::VecDeque;

use crate::config::{ARRIVALS_MAX, DIGEST_FRESH_MAX};

/// Entries that came to life; some may be gone again, or be there twice.
#[derive(Debug, Default)]
pub(super) struct Additions {
    pub(super) ids: Vec<u32>,
    /// There were too many to remember.
    pub(super) lost: bool,
}

/// Entries that came to a holder, in order; some may be gone again.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) came: VecDeque<(u32, u32)>,
    /// Those that came while there was no room.
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
