//! What the bytes mean: messages, datagrams, frames, and the names that travel in them. No IO, no state.
//!
//! Bytes become types here, at the edge; inside there is nothing left to validate. PROTOCOL.md is the same in prose.

pub mod addr;
pub mod frame;
pub mod ids;
pub mod link;
pub mod message;
pub mod name;
mod pack;
pub mod record;

use std::fmt;

use rmp_serde::decode::Error as Rmp;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::config::DECODE_DEPTH_MAX;

pub use addr::HostPort;
pub use ids::{Cv, Md5, NodeId, QueryId, Root};
pub use link::LinkMessage;
pub use message::Message;
pub use record::{Cut, FileRecord, QueryKind, Search, SharePath};

/// Why bytes are no message. Each variant is a reason that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A frame longer than the state of its connection allows.
    TooLong {
        /// The length that the frame announced.
        announced: usize,
        /// What is allowed.
        cap: usize,
    },
    /// An empty frame or a datagram without a header.
    Truncated,
    /// Values nested deeper than 8.
    TooDeep,
    /// Bytes after the message.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Not MessagePack, or not the fields of its kind.
    Malformed(String),
    /// Another major version.
    Version,
}

impl WireError {
    /// One word for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            WireError::TooLong { .. } => "too_long",
            WireError::Truncated => "truncated",
            WireError::TooDeep => "too_deep",
            WireError::Trailing { .. } => "trailing",
            WireError::Malformed(_) => "malformed",
            WireError::Version => "version",
        }
    }

    /// The code of the ERROR that answers it.
    #[must_use]
    pub fn code(&self) -> message::ErrorCode {
        match self {
            WireError::TooLong { .. } => message::ErrorCode::TOO_LONG,
            WireError::Truncated | WireError::TooDeep | WireError::Trailing { .. } | WireError::Malformed(_) => {
                message::ErrorCode::MALFORMED
            }
            WireError::Version => message::ErrorCode::VERSION,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::TooLong { announced, cap } => write!(f, "a frame of {announced} bytes where {cap} are allowed"),
            WireError::Truncated => f.write_str("an empty frame"),
            WireError::TooDeep => write!(f, "values nested deeper than {DECODE_DEPTH_MAX}"),
            WireError::Trailing { bytes } => write!(f, "{bytes} bytes after the message"),
            WireError::Malformed(why) => write!(f, "no message: {why}"),
            WireError::Version => f.write_str("another major version of the protocol"),
        }
    }
}

impl std::error::Error for WireError {}

fn encode_into<T: Serialize>(out: &mut Vec<u8>, message: &T) {
    message.serialize(&mut pack::Pack(out)).expect("a message of our own has nothing that cannot be packed");
}

/// Reads one message off the front: it and how many bytes it used. An unknown kind is skipped and named.
fn decode_one<T: DeserializeOwned>(bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    match decode_value(bytes) {
        Ok(decoded) => Ok(decoded),
        Err(WireError::Malformed(why)) => match peek_kind(bytes) {
            // serde's own words, for the kind itself and not for a value in its fields.
            Some((kind, value)) if why.starts_with(&format!("unknown variant `{kind}")) => {
                let (IgnoredAny, used) = decode_value(&bytes[value..])?;
                Ok((unknown(kind), value + used))
            }
            _ => Err(WireError::Malformed(why)),
        },
        Err(error) => Err(error),
    }
}

fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), WireError> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    deserializer.set_max_depth(usize::from(DECODE_DEPTH_MAX));
    match T::deserialize(&mut deserializer) {
        Ok(value) => Ok((value, bytes.len() - deserializer.get_ref().len())),
        Err(Rmp::DepthLimitExceeded) => Err(WireError::TooDeep),
        Err(error) => Err(WireError::Malformed(error.to_string())),
    }
}

/// The kind of a one-entry map, and where its value begins.
fn peek_kind(bytes: &[u8]) -> Option<(String, usize)> {
    let mut rest = bytes;
    if rmp::decode::read_map_len(&mut rest).ok()? != 1 {
        return None;
    }
    let (kind, tail) = rmp::decode::read_str_from_slice(rest).ok()?;
    Some((kind.chars().take(32).collect(), bytes.len() - tail.len()))
}
