//! Which numbers of datagrams were accepted with one set of keys: a sliding window (RFC 6479). It
//! allocates nothing and never moves back.

use crate::config::LINK_REPLAY_WINDOW;

const WORD_BITS: u64 = u64::BITS as u64;
/// One word more than the window has, because one word is being filled.
const WORDS: u64 = LINK_REPLAY_WINDOW / WORD_BITS + 1;

const _: () = assert!(LINK_REPLAY_WINDOW.is_multiple_of(WORD_BITS));

/// The numbers that were accepted.
#[derive(Debug, Default)]
pub(super) struct Window {
    greatest: u64,
    seen: [u64; WORDS as usize],
}

impl Window {
    /// Whether the number is new. A number that is too far below the greatest one counts as used.
    pub(super) fn takes(&self, number: u64) -> bool {
        if number > self.greatest {
            return true;
        }
        self.greatest - number < LINK_REPLAY_WINDOW && self.seen[word(number)] & bit(number) == 0
    }

    /// Accepts the number. Returns whether it is the greatest so far.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let is_newest = number > self.greatest || number == 0 && self.seen == [0; WORDS as usize];
        if number > self.greatest {
            let (from, to) = (self.greatest / WORD_BITS, number / WORD_BITS);
            for fresh in (from + 1..=to).take(WORDS as usize) {
                self.seen[word(fresh * WORD_BITS)] = 0;
            }
            // If the number is far ahead, all words are cleared, in any order.
            if to - from >= WORDS {
                self.seen = [0; WORDS as usize];
            }
            self.greatest = number;
        }
        self.seen[word(number)] |= bit(number);
        is_newest
    }
}

fn word(number: u64) -> usize {
    usize::try_from(number / WORD_BITS % WORDS).expect("less than the number of words")
}

fn bit(number: u64) -> u64 {
    1 << (number % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_in_any_order_within_the_window() {
        let mut window = Window::default();
        for number in (0..LINK_REPLAY_WINDOW).rev() {
            assert!(window.takes(number));
            window.take(number);
            assert!(!window.takes(number));
        }
        assert!(window.takes(LINK_REPLAY_WINDOW));
        window.take(LINK_REPLAY_WINDOW);
        assert!(!window.takes(0), "too far behind");
    }

    #[test]
    fn the_last_number_of_all_is_taken() {
        let mut window = Window::default();
        window.take(u64::MAX);
        assert!(!window.takes(u64::MAX) && window.takes(u64::MAX - 1) && !window.takes(0));
    }
}
