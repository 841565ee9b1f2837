//! The invariants of a download, which hold between any two inputs. The simulator checks them.

use super::picker::CLAIMANTS_MAX;
use super::source::Source;
use super::transfer::{Phase, Transfer};

impl Transfer {
    /// # Panics
    /// If an invariant does not hold.
    pub(super) fn check_invariants(&self) {
        if !matches!(self.phase, Phase::Fetching) {
            return;
        }
        for piece in (0..self.picker.len()).filter_map(|piece| u32::try_from(piece).ok()) {
            let claimants = self.picker.claimants(piece);
            assert!(claimants.len() <= CLAIMANTS_MAX, "piece {piece} is requested from {claimants:?}");
            let asked = |index: &usize| self.sources[*index].request_for(piece).is_some();
            assert!(claimants.iter().all(asked), "piece {piece} is claimed by {claimants:?}, and not requested");
            if let Some(counted) = self.picker.counted(piece) {
                let believed = |source: &&Source| source.pieces > 0 && source.has_in_part(piece);
                let believed = self.sources.iter().filter(believed).count();
                assert_eq!(counted, believed, "only members that have sent a right piece count for piece {piece}");
            }
        }
    }
}
