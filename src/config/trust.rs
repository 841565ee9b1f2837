//! Limits of accounts, credentials, keys and pins.

use std::time::Duration;

/// Longest name of an account or a class, in bytes, so that a credential fits in a frame before
/// login.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Longest credential, in bytes: a version, two keys, three times, two names and a signature.
pub const CREDENTIAL_BYTES_MAX: usize = 1 + 2 * 32 + 3 * 8 + 2 * (1 + ACCOUNT_NAME_BYTES_MAX) + 64;
/// Longest text of a credential with its super peers, in bytes: it fits in a mail.
pub const GRANT_BYTES_MAX: usize = 4096;
/// Longest invitation, in bytes: a key, an escaped host, a name and a token.
pub const INVITATION_BYTES_MAX: usize = 1024;
/// Operators and denied keys that a peer remembers when its super peers name them. More are
/// ignored.
pub const OPERATORS_KNOWN_MAX: usize = 4 * OPERATORS_MAX;
/// See [`OPERATORS_KNOWN_MAX`].
pub const DENIED_KNOWN_MAX: usize = 4 * DENIED_MAX;
/// Operators that a super peer names to its sessions, so that READY fits in a frame before login.
pub const OPERATORS_MAX: usize = 16;
/// Changes of the accounts of a super peer that wait to be saved.
pub const ACCOUNT_CHANGES_MAX: usize = 256;
/// Queries that an account may send at once, with any rate.
pub const ACCOUNT_QUERIES_BURST: u64 = 8;
/// Keys in one REVOKED.
pub const REVOKED_PAGE_KEYS: usize = 1024;
/// Least and longest wait that BUSY requests of a peer when many log in at once.
pub const BUSY_RETRY_MIN: Duration = Duration::from_millis(500);
/// See [`BUSY_RETRY_MIN`].
pub const BUSY_RETRY_MAX: Duration = Duration::from_secs(30);
/// Changes of key that a pin follows. With one change a year, they are enough for the life of a
/// machine.
pub const ROTATIONS_MAX: usize = 8;
/// Users of one super peer. Each change writes the complete account file, which has at most
/// [`PRIVATE_FILE_BYTES_MAX`] bytes.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Nodes of one user.
pub const ACCOUNT_KEYS_MAX: usize = 64;
/// Classes of one super peer.
pub const CLASSES_MAX: usize = 64;
/// Keys that one super peer denies. Each session gets the complete list when it opens, and it must
/// fit in its send queue.
pub const DENIED_MAX: usize = 4096;
/// Greatest difference between the clocks of two hosts, in seconds, for the dates of a credential.
/// If a clock is further behind the time of a signature than this, it is wrong.
pub const CLOCK_SKEW_S_MAX: u64 = 300;
/// How long an invitation is valid.
pub const INVITATION_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// Super peers outside of the joined network whose keys a node remembers. If there are more, the
/// oldest is dropped.
pub const KNOWN_SUPERS_MAX: usize = 1024;
/// Longest file with keys or accounts that is read or written, in bytes.
pub const PRIVATE_FILE_BYTES_MAX: usize = 64 << 20;
