//! What the bytes mean: messages, datagrams, frames, and the names that travel in them. No IO, no state.
//!
//! Bytes become types here, at the edge; inside there is nothing left to validate. PROTOCOL.md is the same in prose.

pub mod addr;
pub mod frame;
mod hot;
pub mod ids;
pub mod link;
pub mod message;
pub mod name;
pub mod position;
pub mod record;
mod unpack;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::DECODE_DEPTH_MAX;
use unpack::{Refused, Unpack};

pub use addr::HostPort;
pub use ids::{Cv, Md5, NodeId, QueryId, Root};
pub use link::{LinkMessage, TreeName};
pub use message::Message;
pub use record::{Cut, FileRecord, Policy, QueryKind, Search, SharePath};

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
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    message.serialize(&mut serializer).expect("a message of our own always has a form, and a Vec takes it");
}

/// Reads one message off the front: it and how many bytes it used. An unknown kind is skipped and named.
fn decode_one<T: DeserializeOwned>(bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    let mut unpack = Unpack::new(bytes);
    match T::deserialize(&mut unpack) {
        Ok(message) => Ok((message, bytes.len() - unpack.rest().len())),
        Err(Refused::TooDeep) => Err(WireError::TooDeep),
        Err(Refused::UnknownKind) => skip_unknown(bytes, unknown),
        Err(Refused::Wrong(why)) => Err(WireError::Malformed(why)),
    }
}

fn skip_unknown<T>(bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    /// Characters of its name that are kept.
    const NAME_CHARS_MAX: usize = 32;
    let mut unpack = Unpack::new(bytes);
    unpack.open_map();
    let kind = unpack.text().unwrap_or_default().chars().take(NAME_CHARS_MAX).collect();
    match unpack.skip() {
        Ok(()) => Ok((unknown(kind), bytes.len() - unpack.rest().len())),
        Err(Refused::TooDeep) => Err(WireError::TooDeep),
        Err(other @ (Refused::UnknownKind | Refused::Wrong(_))) => Err(WireError::Malformed(other.to_string())),
    }
}

/// The major version that a HELLO or WELCOME names, whatever else is in it: other versions may have other fields.
fn greeted_version(bytes: &[u8]) -> Option<u64> {
    let mut unpack = Unpack::new(bytes);
    if unpack.open_map()? != 1 || !matches!(unpack.text()?, "HELLO" | "WELCOME") {
        return None;
    }
    for _ in 0..unpack.open_map()? {
        if unpack.text()? == "v" {
            return unpack.first_number();
        }
        unpack.skip().ok()?;
    }
    None
}
