//! The Ed25519 key of a node or an operator (RFC 8032): its text, the node id that follows from it,
//! and its X25519 form for links (RFC 7748).
//!
//! A secret key is never printed and never compared. Every verification is strict: keys and
//! signatures of small order are refused.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::wire::NodeId;

/// Length of a key and of the seed of a secret key, in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of a signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// Base32 digits of a key, before the check.
const KEY_DIGITS: usize = 52;
/// Base32 digits of the check: 20 bits of a hash.
const CHECK_DIGITS: usize = 4;

const NODE_CONTEXT: &str = "sprat 1 node id of a public key";
const CHECK_CONTEXT: &str = "sprat 1 check digits of a public key";

/// Base32 of RFC 4648 in lower case, without padding. The unused bits of the last digit must be 0,
/// so that every value has one text.
pub(crate) fn base32() -> Encoding {
    let mut specification = BASE32_NOPAD.specification();
    specification.symbols.make_ascii_lowercase();
    specification.encoding().expect("base32 has 32 symbols")
}

/// Check digits: the first base32 digits of the hash of a text or a key in this context.
pub(super) fn check_digits(context: &str, of: &[u8], digits: usize) -> String {
    let mut text = base32().encode(&blake3::derive_key(context, of));
    text.truncate(digits);
    text
}

/// A public key, which is the identity of a node or an operator. Its bytes are the canonical form
/// of a point of the curve that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Why a text or some bytes are not a key, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The number of digits is not that of a key.
    Digits(usize),
    /// A character that is not a base32 digit.
    Digit,
    /// The check digits are not those of the key.
    Check {
        /// The check digits of the key.
        expected: String,
        /// The check digits that were given.
        found: String,
    },
    /// Bytes that are not a public key.
    Point,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Digits(found) => {
                write!(f, "a key has {} base32 digits, not {found}; copy all of it", KEY_DIGITS + CHECK_DIGITS)
            }
            KeyError::Digit => f.write_str("a key has only the digits a-z and 2-7; copy it again"),
            KeyError::Check { expected, found } => {
                write!(f, "the key is damaged: it ends in {found}, and its check is {expected}; copy it again")
            }
            KeyError::Point => f.write_str("these bytes are not an Ed25519 public key"),
        }
    }
}

impl std::error::Error for KeyError {}

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// If they are not the canonical form of a point of the curve, or if the point has small order:
    /// then anybody could sign for it.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Result<PublicKey, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Point)?;
        let is_canonical = key.to_edwards().compress().to_bytes() == bytes;
        if key.is_weak() || !is_canonical { Err(KeyError::Point) } else { Ok(PublicKey(bytes)) }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The node id of its owner: the first 16 bytes of BLAKE3 in the mode `derive_key` over the
    /// key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        let mut id = [0; NodeId::LEN];
        id.copy_from_slice(&blake3::derive_key(NODE_CONTEXT, &self.0)[..NodeId::LEN]);
        NodeId(id)
    }

    /// The same key for X25519: the Montgomery form of its point.
    #[must_use]
    pub fn to_x25519(&self) -> [u8; KEY_BYTES] {
        self.verifying().to_montgomery().to_bytes()
    }

    /// Whether this key signed these bytes.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.verifying().verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    fn verifying(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(&self.0).expect("a public key is a point of the curve")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", base32().encode(&self.0), check_digits(CHECK_CONTEXT, &self.0, CHECK_DIGITS))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads the digits, in upper or lower case.
    fn from_str(text: &str) -> Result<PublicKey, KeyError> {
        let digits = text.to_ascii_lowercase();
        if digits.len() != KEY_DIGITS + CHECK_DIGITS || !digits.is_ascii() {
            return Err(KeyError::Digits(text.chars().count()));
        }
        let (digits, found) = digits.split_at(KEY_DIGITS);
        let bytes = base32().decode(digits.as_bytes()).map_err(|_| KeyError::Digit)?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| KeyError::Digit)?;
        let expected = check_digits(CHECK_CONTEXT, &bytes, CHECK_DIGITS);
        if found != expected {
            return Err(KeyError::Check { expected, found: found.to_owned() });
        }
        PublicKey::from_bytes(bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = PublicKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a public key")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<PublicKey, E> {
                let bytes = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
                PublicKey::from_bytes(bytes).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PublicKey, E> {
                text.parse().map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Key)
        } else {
            deserializer.deserialize_bytes(Key)
        }
    }
}

/// A secret key. Its memory is cleared when it is dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of this seed (RFC 8032 §5.1.5). The seed must come from the random numbers of the
    /// operating system.
    #[must_use]
    pub fn from_seed(seed: [u8; KEY_BYTES]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// The seed, which is all that must be stored of the key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// A copy of the key, for another owner in this process.
    #[must_use]
    pub fn duplicate(&self) -> SecretKey {
        SecretKey(self.0.clone())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes. They must begin with a text that is used for no other kind of signed bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }

    /// The same key for X25519. It is not clamped; X25519 clamps it (RFC 7748 §5).
    #[must_use]
    pub fn to_x25519(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; KEY_BYTES])
    }

    #[test]
    fn a_key_reads_back_in_either_case_and_only_with_its_check() {
        let key = secret(1).public();
        let text = key.to_string();
        assert_eq!(text.len(), 56);
        assert!(text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)), "{text}");
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        let (digits, check) = text.split_at(52);
        let wrong = format!("{digits}{}", check.chars().rev().collect::<String>());
        assert!(matches!(wrong.parse::<PublicKey>(), Err(KeyError::Check { expected, .. }) if expected == check));
        for text in ["", "abc", &text[1..], &format!("{text}a"), &"1".repeat(56), &"ä".repeat(28)] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_key_is_another_by_one_digit() {
        let text = secret(2).public().to_string();
        for at in 0..text.len() {
            for digit in "abcdefghijklmnopqrstuvwxyz234567".chars() {
                let other = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
                assert!(other == text || other.parse::<PublicKey>().is_err(), "{other}");
            }
        }
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let signature = secret(1).sign(b"message");
        assert!(secret(1).public().verifies(b"message", &signature));
        assert!(!secret(2).public().verifies(b"message", &signature));
        assert!(!secret(1).public().verifies(b"massage", &signature));
    }

    #[test]
    fn keys_for_which_anybody_can_sign_are_refused() {
        let mut identity = [0; KEY_BYTES];
        identity[0] = 1;
        let mut twice_spelled = [0xff; KEY_BYTES];
        (twice_spelled[0], twice_spelled[31]) = (0xee, 0x7f);
        for bytes in [identity, [0; KEY_BYTES], [0xff; KEY_BYTES], twice_spelled] {
            assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::Point));
        }
    }

    #[test]
    fn both_halves_have_one_x25519_form() {
        use snow::params::DHChoice;
        use snow::resolvers::{CryptoResolver, DefaultResolver};
        for seed in 0..8 {
            let mut half = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
            half.set(&*secret(seed).to_x25519());
            assert_eq!(half.pubkey(), secret(seed).public().to_x25519());
        }
    }

    #[test]
    fn the_node_id_is_of_the_key_alone() {
        assert_eq!(secret(1).public().node(), secret(1).public().node());
        assert_ne!(secret(1).public().node(), secret(2).public().node());
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let secret = secret(0x5a);
        let text = format!("{secret:?}");
        assert_eq!(text, format!("SecretKey(of {})", secret.public()));
        assert!(!text.contains("5a5a") && !text.contains("90, 90"), "{text}");
    }

    #[test]
    fn a_key_is_text_in_json_and_bytes_on_the_wire() {
        let key = secret(1).public();
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        assert!(serde_json::from_str::<PublicKey>("\"abc\"").is_err());
        let bytes = rmp_serde::to_vec(&key).unwrap();
        assert_eq!(bytes.len(), 2 + KEY_BYTES);
        assert_eq!(rmp_serde::from_slice::<PublicKey>(&bytes).unwrap(), key);
    }
}
