//! What the index puts off: files that are gone, or whose session is gone, and entries that are not
//! sorted by their root yet. One slice of each is done per turn.

use super::index::Index;
use super::work::Work;
use crate::config::{SCAN_ENTRIES_PER_TURN, TIDY_STEPS_PER_TURN};

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// The index holds files that are gone.
    removed: bool,
    /// The index holds entries that are to be sorted.
    order: bool,
}

impl Upkeep {
    /// Files were removed.
    pub(super) fn on_removed(&mut self) {
        self.removed = true;
    }

    /// Sorts the index from now on, a slice per turn.
    pub(super) fn sort(&mut self, index: &mut Index) {
        self.order |= !index.has_order();
        index.order(0);
    }

    /// The sorted order is not needed any more.
    pub(super) fn stop_sorting(&mut self, index: &mut Index) {
        index.forget_order();
        self.order = false;
    }

    /// Whether there is work for the next turn.
    pub(super) fn has_work(&self) -> bool {
        self.removed || self.order
    }

    /// Does one turn's worth.
    pub(super) fn run(&mut self, index: &mut Index, work: &mut Work) {
        if self.removed {
            self.removed = index.tidy(TIDY_STEPS_PER_TURN);
        }
        if self.order {
            work.add(SCAN_ENTRIES_PER_TURN);
            self.order = index.order(SCAN_ENTRIES_PER_TURN);
        }
    }
}
