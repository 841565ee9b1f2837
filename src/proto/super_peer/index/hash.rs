//! The keyed hash of the index: short, for every record is hashed some ten times when it comes in.
//!
//! Sixteen bytes at a time are mixed with three secret words by a multiplication whose halves are folded (as wyhash does). It
//! is no cryptographic hash; nobody outside ever sees its values or the order of a table, so that names which fall together can only
//! be found by chance, and what falls together costs time and no truth.

/// The secret that a table's hashes are made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret([u64; 3]);

impl Secret {
    /// A secret from a random seed.
    pub(super) fn new(seed: u64) -> Secret {
        // The steps of splitmix64: no two of the words are alike or zero but by chance.
        let word = |n: u64| {
            let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        Secret([word(1), word(2), word(3)])
    }

    /// The hash of some bytes; other for every `salt`.
    pub(super) fn hash(&self, salt: u64, bytes: &[u8]) -> u64 {
        let [a, b, c] = self.0;
        let mut state = fold(a ^ salt, b ^ bytes.len() as u64);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            let (low, high) = block.split_at(8);
            state = fold(word(low) ^ a, word(high) ^ b ^ state);
        }
        let rest = blocks.remainder();
        let (low, high) = match rest.len() {
            0 => return fold(state ^ c, b),
            8.. => (word(&rest[..8]), word(&rest[rest.len() - 8..])),
            4..8 => (half(&rest[..4]), half(&rest[rest.len() - 4..])),
            1..4 => (u64::from(rest[0]) << 8 | u64::from(rest[rest.len() / 2]), u64::from(rest[rest.len() - 1])),
        };
        state = fold(low ^ a, high ^ b ^ state);
        fold(state ^ c, b)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn half(bytes: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_the_length_the_salt_and_the_seed_count() {
        let secret = Secret::new(7);
        let mut hashes = BTreeSet::new();
        let mut made = 0;
        for length in 0..70 {
            let mut bytes = vec![b'x'; length];
            for salt in 1..4 {
                hashes.insert(secret.hash(salt, &bytes));
                hashes.insert(Secret::new(8).hash(salt, &bytes));
                made += 2;
            }
            for at in 0..length {
                for bit in 0..8 {
                    bytes[at] ^= 1 << bit;
                    hashes.insert(secret.hash(1, &bytes));
                    made += 1;
                    bytes[at] ^= 1 << bit;
                }
            }
        }
        assert_eq!(hashes.len(), made);
    }

    #[test]
    fn numbers_spread_over_the_bits() {
        let secret = Secret::new(3);
        let mut ones = [0_u32; 64];
        for n in 0..10_000_u32 {
            let hash = secret.hash(1, n.to_string().as_bytes());
            ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += u32::from(hash >> bit & 1 == 1));
        }
        assert!(ones.iter().all(|ones| (4_700..5_300).contains(ones)), "{ones:?}");
    }
}
