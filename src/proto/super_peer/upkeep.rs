//! What the index puts off: names of files that are gone, and entries that are not sorted by their
//! root yet. One slice of each is done per turn.

use super::index::Index;
use crate::config::SCAN_ENTRIES_PER_TURN;

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// The index holds names of files that are gone.
    names: bool,
    /// The index holds entries that are to be sorted.
    order: bool,
}

impl Upkeep {
    /// Files were removed.
    pub(super) fn on_removed(&mut self) {
        self.names = true;
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
        self.names || self.order
    }

    /// Does one turn's worth.
    pub(super) fn run(&mut self, index: &mut Index) {
        if self.names {
            self.names = index.tidy(SCAN_ENTRIES_PER_TURN);
        }
        if self.order {
            self.order = index.order(SCAN_ENTRIES_PER_TURN);
        }
    }
}
