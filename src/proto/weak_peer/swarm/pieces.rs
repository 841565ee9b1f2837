//! A set of pieces of one content, as HAS announces it: one bit for each piece.

use crate::config::{HAS_BITS_MAX, PIECES_MAX};

/// Some pieces of a content, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proto::weak_peer) struct Pieces {
    full: bool,
    /// Piece p is bit p mod 8, from the lowest, of byte p div 8.
    bits: Vec<u8>,
}

impl Pieces {
    pub(in crate::proto::weak_peer) fn is_full(&self) -> bool {
        self.full
    }

    pub(in crate::proto::weak_peer) fn has(&self, piece: u32) -> bool {
        self.full || self.bits.get(piece as usize / 8).is_some_and(|byte| byte >> (piece % 8) & 1 == 1)
    }

    pub(in crate::proto::weak_peer) fn fill(&mut self) {
        (self.full, self.bits) = (true, Vec::new());
    }

    /// Adds a piece. Returns whether it was not there before.
    pub(in crate::proto::weak_peer) fn insert(&mut self, piece: u32) -> bool {
        if self.has(piece) || u64::from(piece) >= PIECES_MAX {
            return false;
        }
        let byte = piece as usize / 8;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= 1 << (piece % 8);
        true
    }

    /// Removes a piece from a set that is not full. Returns whether the piece was there.
    pub(in crate::proto::weak_peer) fn remove(&mut self, piece: u32) -> bool {
        let had = !self.full && self.has(piece);
        if had {
            self.bits[piece as usize / 8] &= !(1 << (piece % 8));
        }
        had
    }

    /// The pieces of a set that is not full, in ascending order.
    pub(in crate::proto::weak_peer) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bytes = (0_u32..).zip(&self.bits).filter(|(_, byte)| **byte != 0);
        bytes.flat_map(|(at, byte)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit))
    }

    /// Whether all its pieces have lower numbers than this.
    pub(in crate::proto::weak_peer) fn is_below(&self, pieces: u32) -> bool {
        let from = pieces as usize / 8;
        let rest = self.bits.get(from).is_none_or(|byte| byte >> (pieces % 8) == 0);
        rest && self.bits.iter().skip(from + 1).all(|byte| *byte == 0)
    }

    /// The pages of HAS that announce a set that is not full: the first piece of each page, and its
    /// bits. An empty set has no page.
    pub(in crate::proto::weak_peer) fn pages(&self) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
        let pages = (0_u32..).zip(self.bits.chunks(HAS_BITS_MAX));
        pages.map(|(page, bits)| (page * HAS_BITS_MAX as u32 * 8, bits.to_vec()))
    }
}

const _: () = assert!(PIECES_MAX <= u32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added_and_not_removed() {
        let mut pieces = Pieces::default();
        assert!(pieces.insert(9) && pieces.insert(0) && !pieces.insert(9));
        assert_eq!(pieces.iter().collect::<Vec<_>>(), [0, 9]);
        assert!(pieces.is_below(10) && !pieces.is_below(9) && !pieces.is_below(8) && !pieces.is_below(1));
        assert!(pieces.remove(0) && !pieces.remove(0) && !pieces.has(0));
        assert_eq!(pieces.pages().collect::<Vec<_>>(), [(0, vec![0, 2])]);
        assert!(!pieces.insert(u32::MAX), "no content has that many pieces");
        pieces.fill();
        assert!(pieces.has(5) && pieces.is_full() && pieces.pages().next().is_none());
    }
}
