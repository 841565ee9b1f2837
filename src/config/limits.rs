//! The limits on bytes per second that a user sets, and how evenly they are kept.

use std::time::Duration;

/// Least limit in bytes per second; 0 is no limit. Below it a piece would take a quarter of an
/// hour.
pub const RATE_LIMIT_MIN: u64 = 1024;
/// Greatest limit in bytes per second: more than any network carries.
pub const RATE_LIMIT_MAX: u64 = 1 << 40;
/// Bytes that may pass at once in addition to the limit; or what the limit allows in
/// [`RATE_BURST`], if that is more.
pub const RATE_BURST_BYTES: u64 = 64 * 1024;
/// See [`RATE_BURST_BYTES`].
pub const RATE_BURST: Duration = Duration::from_millis(100);
/// The burst divided by this is sent at once. The rest is for what the system adds, when a socket
/// that was full takes bytes again.
pub const RATE_BURST_SENT: u64 = 2;
/// The burst divided by this is read at once. The receive buffer of a new connection takes 64 KiB
/// more (Linux: half of the second value of `tcp_rmem`).
pub const RATE_BURST_READ: u64 = 3;
/// A connection waits until a burst divided by this may pass, so that each has its turn and few
/// calls of the system are needed.
pub const RATE_STEPS: u64 = 4;
/// Longest time between two steps: at low limits a step is smaller, so that each of many
/// connections moves before it counts as silent.
pub const RATE_STEP_MAX: Duration = Duration::from_millis(200);
/// Bytes that a connection reads to find the next message, while the limit on chunks is used up.
pub const RATE_HEAD_BYTES: usize = 4096;
/// The least rate of a source is at most its even part of the download limit, divided by this: the
/// parts are not exactly even.
pub const RATE_FLOOR_PART: u64 = 4;
