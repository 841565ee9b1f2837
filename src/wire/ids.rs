//! Names of a fixed length: of contents, nodes and queries. In MessagePack each is a `bin` of
//! exactly this length.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// The value written as `2 * LEN` hex digits, in either case.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<$name> {
                let digits = text.as_bytes();
                if digits.len() != 2 * $len {
                    return None;
                }
                let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Some($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Bytes;
                impl Visitor<'_> for Bytes {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes", $len)
                    }
                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        bytes.try_into().map($name).map_err(|_| E::invalid_length(bytes.len(), &self))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::from_hex(text).ok_or_else(|| E::invalid_length(text.len(), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Bytes)
                } else {
                    deserializer.deserialize_bytes(Bytes)
                }
            }
        }
    };
}

fixed_bytes!(
    /// The BLAKE3-256 of a complete content. It identifies the content, and `b3sum` prints it.
    Root,
    32
);
fixed_bytes!(
    /// The chaining value of one piece: a node of the BLAKE3 tree, not a hash that `b3sum` prints.
    Cv,
    32
);
fixed_bytes!(
    /// The MD5 of one chunk, which precedes the chunk on the wire (PROTOCOL.md 5.3).
    Md5,
    16
);
fixed_bytes!(
    /// Identifies a node for as long as its state folder exists.
    NodeId,
    16
);
fixed_bytes!(
    /// An Ed25519 public key in a message: 32 bytes, which may not be a valid key.
    KeyBytes,
    32
);
fixed_bytes!(
    /// Identifies one query in the complete network. The super peer of the asker draws it at
    /// random.
    QueryId,
    16
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways_and_refuses_the_rest() {
        let id = QueryId(*b"0123456789abcdef");
        assert_eq!(QueryId::from_hex(&id.to_string()), Some(id));
        assert_eq!(QueryId::from_hex(&id.to_string().to_uppercase()), Some(id));
        assert_eq!(QueryId::from_hex("00"), None);
        assert_eq!(QueryId::from_hex(&"g".repeat(32)), None);
    }
}
