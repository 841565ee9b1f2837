//! The change of a key: the old key signs the new one, and a pin of the old key becomes a pin of
//! the new one.
//!
//! A chain has at most [`ROTATIONS_MAX`] steps. So following a chain costs a bounded number of
//! verifications.

use std::fmt;

use super::key::{KEY_BYTES, PublicKey, SIGNATURE_BYTES, SecretKey};
use crate::config::ROTATIONS_MAX;

const DOMAIN: &[u8] = b"sprat rotation 1\0";
/// Length of a step: the old key, the new key, and the signature by the old key.
const STEP_BYTES: usize = 2 * KEY_BYTES + SIGNATURE_BYTES;

/// The latest changes of key of one node, the oldest first. Each step begins with the key with
/// which the previous step ends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Eq)]
struct Step {
    from: PublicKey,
    to: PublicKey,
    signature: [u8; SIGNATURE_BYTES],
}

impl Step {
    fn signed(from: PublicKey, to: PublicKey) -> Vec<u8> {
        [DOMAIN, from.as_bytes(), to.as_bytes()].concat()
    }
}

/// Bytes that are not a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationError;

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these bytes are not a chain of keys in which each signs the next")
    }
}

impl std::error::Error for RotationError {}

impl Rotation {
    /// Adds the step from the old key to the new one. If there are too many steps, the oldest one
    /// is dropped: pins of its key no longer follow the chain.
    pub fn add(&mut self, old: &SecretKey, new: PublicKey) {
        if self.steps.last().is_some_and(|last| last.to != old.public()) {
            self.steps.clear();
        }
        let from = old.public();
        self.steps.push(Step { from, to: new, signature: old.sign(&Step::signed(from, new)) });
        let surplus = self.steps.len().saturating_sub(ROTATIONS_MAX);
        self.steps.drain(..surplus);
    }

    /// The key that replaces the pinned key: the end of the chain, if the chain contains the pinned
    /// key, and otherwise the pinned key itself.
    #[must_use]
    pub fn follow(&self, pinned: PublicKey) -> PublicKey {
        let is_in_it = self.steps.iter().any(|step| step.from == pinned);
        self.steps.last().filter(|_| is_in_it).map_or(pinned, |last| last.to)
    }

    /// The keys that came before the present one, the oldest first.
    pub fn old_keys(&self) -> impl Iterator<Item = PublicKey> {
        self.steps.iter().map(|step| step.from)
    }

    /// Whether there was no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The bytes that a super peer sends in WELCOME.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let steps = self.steps.iter();
        steps.flat_map(|step| [&step.from.as_bytes()[..], step.to.as_bytes(), &step.signature].concat()).collect()
    }

    /// Reads and verifies the bytes.
    ///
    /// # Errors
    /// If there are too many bytes, a signature is wrong, or the steps do not follow each other.
    pub fn decode(bytes: &[u8]) -> Result<Rotation, RotationError> {
        if !bytes.len().is_multiple_of(STEP_BYTES) || bytes.len() > ROTATIONS_MAX * STEP_BYTES {
            return Err(RotationError);
        }
        let mut steps: Vec<Step> = Vec::new();
        for bytes in bytes.chunks_exact(STEP_BYTES) {
            let step = step(bytes).ok_or(RotationError)?;
            let follows = steps.last().is_none_or(|last| last.to == step.from);
            if !follows || !step.from.verifies(&Step::signed(step.from, step.to), &step.signature) {
                return Err(RotationError);
            }
            steps.push(step);
        }
        Ok(Rotation { steps })
    }
}

fn step(bytes: &[u8]) -> Option<Step> {
    let (from, rest) = bytes.split_first_chunk()?;
    let (to, signature) = rest.split_first_chunk()?;
    let key = |bytes: &[u8; KEY_BYTES]| PublicKey::from_bytes(*bytes).ok();
    Some(Step { from: key(from)?, to: key(to)?, signature: signature.try_into().ok()? })
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| (step.from, step.to))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; KEY_BYTES])
    }

    fn chain(seeds: std::ops::RangeInclusive<u8>) -> Rotation {
        let mut rotation = Rotation::default();
        for seed in *seeds.start()..*seeds.end() {
            rotation.add(&secret(seed), secret(seed + 1).public());
        }
        rotation
    }

    #[test]
    fn a_pin_on_any_old_key_follows_to_the_last_one() {
        let rotation = Rotation::decode(&chain(1..=4).encode()).unwrap();
        for seed in 1..=4 {
            assert_eq!(rotation.follow(secret(seed).public()), secret(4).public());
        }
        assert_eq!(rotation.follow(secret(9).public()), secret(9).public());
        assert_eq!(rotation.old_keys().count(), 3);
        assert!(Rotation::decode(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_chain_has_a_longest_length() {
        let last = u8::try_from(ROTATIONS_MAX).unwrap() + 2;
        let rotation = chain(1..=last);
        assert_eq!(rotation.old_keys().count(), ROTATIONS_MAX);
        assert_eq!(rotation.follow(secret(1).public()), secret(1).public(), "its step was dropped");
        assert_eq!(rotation.follow(secret(2).public()), secret(last).public());
        let longer = [chain(1..=last - 1).encode(), chain(last - 1..=last).encode()].concat();
        assert_eq!(Rotation::decode(&longer), Err(RotationError));
    }

    #[test]
    fn a_chain_with_one_other_bit_or_a_gap_is_refused() {
        let bytes = chain(1..=3).encode();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Rotation::decode(&other), Err(RotationError), "bit {bit}");
        }
        let gap = [chain(1..=2).encode(), chain(3..=4).encode()].concat();
        assert_eq!(Rotation::decode(&gap), Err(RotationError));
        assert_eq!(Rotation::decode(&bytes[1..]), Err(RotationError));
    }
}
