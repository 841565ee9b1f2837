//! The work on the index that is put off: removing files that are gone or whose session is gone,
//! and sorting entries by their root. One slice of each is done per turn.

use super::index::Index;
use super::work::Work;
use crate::config::{SCAN_ENTRIES_PER_TURN, TIDY_STEPS_PER_TURN};

/// Whether there is work for the next turn.
pub(super) fn has_work(index: &Index) -> bool {
    index.is_untidy() || index.is_sorting()
}

/// Does as much as fits in one turn.
pub(super) fn run(index: &mut Index, work: &mut Work) {
    if index.is_untidy() {
        index.tidy(TIDY_STEPS_PER_TURN);
    }
    if index.is_sorting() {
        work.add(SCAN_ENTRIES_PER_TURN);
        index.order(SCAN_ENTRIES_PER_TURN);
    }
}
