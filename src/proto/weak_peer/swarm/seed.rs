//! Which pieces a complete holder advises its followers to request: those that it has sent least
//! often. Each holder has an order of its own. It refuses no piece.

use std::collections::BTreeSet;

/// How many pieces are advised in addition to the first one, for a follower that has the first one.
const ALTERNATIVES: usize = 3;
/// How many pieces are looked at for one advice.
const LOOKED_AT_MAX: u32 = 256;

/// How often each piece of one content was sent.
#[derive(Debug)]
pub(super) struct Seed {
    pieces: u32,
    /// The order of the pieces: the piece at place n is (first + n · step) mod pieces. The step and
    /// the number of pieces have no common divisor, so each piece comes once.
    first: u64,
    step: u64,
    /// The next place in the order.
    next: u32,
    /// Every piece was sent at least this many times.
    pub(super) rounds: u32,
    /// Pieces that were sent or advised in this round before their place in the order.
    early: BTreeSet<u32>,
    /// Pieces that were advised but not requested.
    back: Vec<u32>,
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Seed {
    /// Nothing was sent yet. `seed` chooses the order.
    pub(super) fn new(pieces: u32, seed: u64) -> Seed {
        let all = u64::from(pieces.max(1));
        let mut step = 1 + seed % all;
        while gcd(step, all) != 1 {
            step += 1;
        }
        let first = seed.rotate_left(32) % all;
        Seed { pieces, first, step: step % all.max(2), next: 0, rounds: 0, early: BTreeSet::new(), back: Vec::new() }
    }

    fn at(&self, place: u32) -> u32 {
        let all = u64::from(self.pieces.max(1));
        u32::try_from((self.first + u64::from(place) * self.step) % all).unwrap_or(0)
    }

    /// The piece to advise, and others for a follower that has this one. The first piece counts as
    /// sent unless [`Seed::give_back`] is called.
    pub(super) fn advise(&mut self) -> Vec<u32> {
        let first = self.back.pop().or_else(|| self.advance());
        let others = (self.next..self.pieces).take(ALTERNATIVES).map(|place| self.at(place));
        first.into_iter().chain(others).collect()
    }

    fn advance(&mut self) -> Option<u32> {
        for _ in 0..LOOKED_AT_MAX.min(self.pieces) {
            if self.next == self.pieces {
                (self.next, self.rounds) = (0, self.rounds.saturating_add(1));
                self.early.clear();
            }
            let piece = self.at(self.next);
            self.next += 1;
            if !self.early.remove(&piece) {
                return Some(piece);
            }
        }
        None
    }

    /// The follower did not request the advised piece.
    pub(super) fn give_back(&mut self, piece: u32) {
        if !self.back.contains(&piece) {
            self.back.push(piece);
        }
    }

    /// A piece is requested that was not advised. Its number is only a claim: the content may have
    /// no such piece.
    pub(super) fn note(&mut self, piece: u32) {
        if piece >= self.pieces {
            return;
        }
        self.back.retain(|back| *back != piece);
        // If the place of the piece in the order has passed, this note has no effect. It is removed
        // when the round ends.
        self.early.insert(piece);
    }

    /// Whether each piece was requested at least once.
    pub(super) fn is_out(&self) -> bool {
        (self.rounds > 0 || self.next == self.pieces) && self.back.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_advised_once_before_any_is_advised_twice() {
        for pieces in [1, 2, 3, 7, 64, 100] {
            for seed in [0, 1, 2, 77, u64::MAX] {
                let mut seed = Seed::new(pieces, seed);
                for _ in 0..3 {
                    let round: BTreeSet<u32> = (0..pieces).map(|_| seed.advise()[0]).collect();
                    assert_eq!(round.len(), pieces as usize);
                }
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_is_advised_again_and_what_was_is_not() {
        let mut seed = Seed::new(10, 3);
        let first = seed.advise()[0];
        seed.give_back(first);
        assert_eq!(seed.advise()[0], first);
        let other = seed.advise()[1];
        seed.note(other);
        let rest: Vec<u32> = (0..7).map(|_| seed.advise()[0]).collect();
        assert!(!rest.contains(&other) && !rest.contains(&first), "{rest:?}");
        assert!(seed.is_out());
    }

    #[test]
    fn pieces_that_the_content_does_not_have_are_not_remembered() {
        let mut seed = Seed::new(10, 3);
        (10..100_000).for_each(|piece| seed.note(piece));
        seed.note(u32::MAX);
        assert!(seed.early.is_empty());
        let round: BTreeSet<u32> = (0..10).map(|_| seed.advise()[0]).collect();
        assert_eq!(round, (0..10).collect());
    }
}
