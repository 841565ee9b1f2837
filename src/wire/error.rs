//! What may be wrong with bytes that arrive.

use std::fmt;

use super::message::ErrorCode;
use crate::config::DECODE_DEPTH_MAX;

/// Why bytes are not a message. Each variant has a counter of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A frame is longer than the state of its connection allows.
    TooLong {
        /// The length that the frame announced.
        announced: usize,
        /// The length that is allowed.
        cap: usize,
    },
    /// A frame is empty, or a datagram has no header.
    Truncated,
    /// Values are nested deeper than 8.
    TooDeep,
    /// Bytes follow the message.
    Trailing {
        /// The number of these bytes.
        bytes: usize,
    },
    /// The bytes are not MessagePack, or do not have the fields of their kind.
    Malformed(String),
    /// The other side has another major version.
    Version,
}

impl WireError {
    /// The name of its counter.
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
    pub fn code(&self) -> ErrorCode {
        match self {
            WireError::TooLong { .. } => ErrorCode::TOO_LONG,
            WireError::Truncated | WireError::TooDeep | WireError::Trailing { .. } | WireError::Malformed(_) => {
                ErrorCode::MALFORMED
            }
            WireError::Version => ErrorCode::VERSION,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::TooLong { announced, cap } => {
                write!(f, "a frame of {announced} bytes; at most {cap} are allowed here")
            }
            WireError::Truncated => f.write_str("an empty frame"),
            WireError::TooDeep => write!(f, "values nested deeper than {DECODE_DEPTH_MAX}"),
            WireError::Trailing { bytes } => write!(f, "{bytes} bytes after the message"),
            WireError::Malformed(why) => write!(f, "not a message: {why}"),
            WireError::Version => f.write_str("another major version of the protocol"),
        }
    }
}

impl std::error::Error for WireError {}
