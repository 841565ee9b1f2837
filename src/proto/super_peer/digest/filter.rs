//! A Bloom filter of 2^n bits.

use super::keys::bits;
use crate::config::{DIGEST_LOG2_MAX, DIGEST_LOG2_MIN};

/// The bits, and how many of them are set.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    log2: u8,
    bytes: Vec<u8>,
    ones: usize,
}

impl Filter {
    /// 2^`log2` bits, all 0; at least a byte.
    pub(super) fn new(log2: u8) -> Filter {
        assert!((3..=DIGEST_LOG2_MAX).contains(&log2), "a size that was looked at");
        Filter { log2, bytes: vec![0; 1 << (log2 - 3)], ones: 0 }
    }

    pub(super) fn log2(&self) -> u8 {
        self.log2
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets the bits of a key. Returns whether one of them is new.
    pub(super) fn add(&mut self, key: u64) -> bool {
        let before = self.ones;
        for bit in bits(key, self.log2) {
            let (byte, mask) = (&mut self.bytes[bit / 8], 1 << (bit % 8));
            self.ones += usize::from(*byte & mask == 0);
            *byte |= mask;
        }
        self.ones > before
    }

    /// Whether all bits of a key are set.
    pub(super) fn has(&self, key: u64) -> bool {
        bits(key, self.log2).all(|bit| self.bytes[bit / 8] >> (bit % 8) & 1 == 1)
    }

    /// Replaces bytes. Returns whether all of them lie in the filter.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let end = at.saturating_add(bytes.len());
        let Some(place) = self.bytes.get_mut(at..end) else { return false };
        let count = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
        self.ones = self.ones - count(place) + count(bytes);
        place.copy_from_slice(bytes);
        true
    }

    /// Whether at least this percentage of the bits is set.
    pub(super) fn is_filled(&self, percent: usize) -> bool {
        self.ones * 100 >= (self.bytes.len() * 8) * percent
    }

    /// Whether it is larger than it must be, because less than this percentage of the bits is set.
    pub(super) fn is_sparse(&self, percent: usize) -> bool {
        self.log2 > DIGEST_LOG2_MIN && !self.is_filled(percent)
    }

    /// Continues to halve the size, by this many bytes. The keys stay. Returns whether the size is
    /// halved now.
    pub(super) fn halve(&mut self, half: &mut Half, bytes: usize) -> bool {
        let done = half.bytes.len() * 2;
        let end = self.bytes.len().min(done.saturating_add(bytes));
        for [low, high] in self.bytes[done..end].as_chunks().0 {
            let byte = halve(*low) | halve(*high) << 4;
            half.ones += byte.count_ones() as usize;
            half.bytes.push(byte);
        }
        let halved = end == self.bytes.len();
        if halved {
            let Half { bytes, ones } = std::mem::take(half);
            (self.bytes, self.ones, self.log2) = (bytes, ones, self.log2 - 1);
        }
        halved
    }
}

/// How far a halving is.
#[derive(Debug, Default)]
pub(super) struct Half {
    bytes: Vec<u8>,
    ones: usize,
}

/// Merges each two adjacent bits into one.
fn halve(byte: u8) -> u8 {
    (0..4).map(|pair| u8::from(byte >> (2 * pair) & 3 != 0) << pair).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n.wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
    }

    #[test]
    fn a_filter_forgets_nothing_and_seldom_errs() {
        let mut filter = Filter::new(14);
        for n in 0..1600 {
            filter.add(key(n));
        }
        assert!((0..1600).all(|n| filter.has(key(n))));
        let wrong = (10_000..20_000).filter(|n| filter.has(key(*n))).count();
        assert!(wrong < 150, "{wrong} in 10,000");
        assert!(!filter.add(key(5)), "what is there is nothing new");
    }

    #[test]
    fn folded_it_is_the_filter_that_a_smaller_one_would_be() {
        let (mut large, mut small) = (Filter::new(16), Filter::new(12));
        for n in 0..300 {
            large.add(key(n));
            small.add(key(n));
        }
        while large.is_sparse(25) {
            large.halve(&mut Half::default(), usize::MAX);
            let mut half = Half::default();
            while large.is_sparse(25) && !large.halve(&mut half, 48) {}
        }
        assert_eq!((large.log2(), large.ones), (small.log2(), small.ones));
        assert_eq!(large.bytes(), small.bytes());
    }

    #[test]
    fn a_written_block_counts_its_bits() {
        let mut filter = Filter::new(10);
        assert!(filter.write(64, &[255; 64]));
        assert!(filter.is_filled(50) && !filter.is_filled(51));
        assert!(filter.write(64, &[0; 32]) && filter.write(0, &[]));
        assert!(filter.is_filled(25) && !filter.is_filled(26));
        assert!(!filter.write(65, &[1; 64]) && !filter.write(usize::MAX, &[1]));
    }
}
