//! How a command ends: the frozen exit codes, and the one error type that carries them to `main`.

use std::fmt;

/// The exit codes of every command. Frozen since 0.1: a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for was done.
    Ok = 0,
    /// An internal error, or an I/O error with no better code.
    Internal = 1,
    /// A wrong flag, address, pattern or setting; also a name that fits several contents.
    Usage = 2,
    /// Nobody has what was asked for.
    NotFound = 3,
    /// No answer came in time.
    TimedOut = 4,
    /// Nothing answers at an address, it refuses, or an address to listen on is taken.
    Unreachable = 5,
    /// No source gave valid data.
    Integrity = 6,
    /// The login was rejected.
    LoginRejected = 7,
    /// Some of many were done, not all.
    Partial = 8,
    /// The local disk or its permissions: a share that cannot be read, a destination that is taken, a full disk.
    Disk = 9,
    /// The other side speaks another major version of the protocol.
    Version = 10,
}

impl Exit {
    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command ends without success: a code for scripts, and a sentence for people that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// Lower-case human text that says what went wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its code and its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
