//! How a command ends: the exit codes, and the error type that carries one to `main`.

use std::fmt;

/// The exit codes of every command. A code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// An internal error, or an I/O error with no better code.
    Internal = 1,
    /// A flag, address, pattern or setting is wrong. Also: a name matches several contents.
    Usage = 2,
    /// No peer has the file.
    NotFound = 3,
    /// No answer came in time.
    TimedOut = 4,
    /// An address does not answer or refuses the connection, or an address to listen on is in use.
    Unreachable = 5,
    /// No source sent valid data.
    Integrity = 6,
    /// The login was rejected.
    LoginRejected = 7,
    /// Some things were done, but not all.
    Partial = 8,
    /// The local disk failed or denied permission: the share cannot be read, the destination
    /// exists, or the disk is full.
    Disk = 9,
    /// The other side has another major version of the protocol.
    Version = 10,
}

impl Exit {
    /// The number of this code, for the exit status of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether a download that has failed with this code may succeed later, although the user
    /// changes nothing.
    #[must_use]
    pub fn may_pass(code: u8) -> bool {
        // An operator may invite the user again.
        let login = Exit::LoginRejected;
        [Exit::NotFound, Exit::TimedOut, Exit::Unreachable, Exit::Integrity, Exit::Partial, Exit::Internal, login]
            .map(Exit::code)
            .contains(&code)
    }
}

/// Why a command fails: a code for scripts, and a sentence for people that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// Lower-case text for people: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its code and its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// The failure for a wrong flag, address, pattern or setting.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
