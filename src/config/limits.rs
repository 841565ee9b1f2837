//! The limits on bytes per second that a user sets, and how evenly they are kept.

use std::time::Duration;

/// Least limit in bytes per second; 0 means no limit. With a lower limit, a piece would take more
/// than a quarter of an hour.
pub const RATE_LIMIT_MIN: u64 = 1024;
/// Greatest limit in bytes per second: more than any network carries.
pub const RATE_LIMIT_MAX: u64 = 1 << 40;
/// Bytes that may pass at once in addition to the limit. If the limit allows more in
/// [`RATE_BURST`], that many bytes may pass.
pub const RATE_BURST_BYTES: u64 = 64 * 1024;
/// See [`RATE_BURST_BYTES`].
pub const RATE_BURST: Duration = Duration::from_millis(100);
/// The burst divided by this may be sent at once. The rest is for what the system adds when a full
/// socket accepts bytes again.
pub const RATE_BURST_SENT: u64 = 2;
/// The burst divided by this may be read at once. The receive buffer of a new connection takes 64
/// KiB more (Linux: half of the second value of `tcp_rmem`).
pub const RATE_BURST_READ: u64 = 3;
/// A connection waits until the burst divided by this may pass. So each connection has its turn,
/// and few calls of the system are needed.
pub const RATE_STEPS: u64 = 4;
/// Longest time between two steps. At low limits a step is smaller, so that each of many
/// connections makes progress before it counts as silent.
pub const RATE_STEP_MAX: Duration = Duration::from_millis(200);
/// While the limit on chunks is used up: how many bytes a connection reads to find the next
/// message.
pub const RATE_HEAD_BYTES: usize = 4096;
/// If there is a download limit, the least rate of a source is at most its even share of the limit,
/// divided by this. The division is needed because the real shares are not exactly even.
pub const RATE_FLOOR_PART: u64 = 4;
