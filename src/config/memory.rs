//! The memory budget of a super peer.

use std::time::Duration;

/// Least memory budget of a super peer without `--memory`, in bytes. If half of the memory of the
/// machine or cgroup is more, the budget is that half.
pub const MEMORY_BUDGET_MIN: usize = 256 << 20;
/// Smallest memory budget that `--memory` may set, in bytes. An idle super peer takes less than 1
/// MiB, and a few thousand sessions should fit.
pub const MEMORY_NAMED_MIN: usize = 16 << 20;
/// Share of the budget, in percent, that records may fill. Registered records stay, and queries and
/// sessions need the rest.
pub const MEMORY_RECORDS_PERCENT: usize = 70;
/// Share of the budget, in percent, that JOINs may fill, so that sessions which send only JOINs
/// cannot lock out others.
pub const MEMORY_JOINS_PERCENT: usize = 4;
/// Share of the budget, in percent, above which new sessions, queries and records are refused.
pub const MEMORY_SHORT_PERCENT: usize = 80;
/// Share of the budget, in percent, above which the connections with the longest send queues are
/// closed.
pub const MEMORY_CLOSE_PERCENT: usize = 95;
/// Share of the budget, in percent, that incomplete frames may take while memory is short. If they
/// take more, connections whose frame began [`FRAME_SHORT_PATIENCE`] ago are closed.
pub const MEMORY_UNFINISHED_PERCENT: usize = 5;
/// See [`MEMORY_UNFINISHED_PERCENT`].
pub const FRAME_SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// Shortest time between two looks at all connections for incomplete frames.
pub const FRAMES_LOOKED_AT_EVERY: Duration = Duration::from_millis(100);
/// Freed memory is given back to the system once there is this much of it, in bytes.
pub const GIVE_BACK_BYTES: usize = 4 << 20;
/// Shortest time between two such returns, because returning much memory takes time.
pub const GIVE_BACK_GAP: Duration = Duration::from_secs(5);
/// This much freed memory, in bytes, is given back without that wait. So one turn gives back only a
/// bounded part, in about 20 ms at most, even if a closed session has freed very much.
pub const GIVE_BACK_STEP: usize = 16 << 20;

const _: () = assert!(GIVE_BACK_BYTES < GIVE_BACK_STEP);
const _: () = assert!(MEMORY_RECORDS_PERCENT < MEMORY_SHORT_PERCENT && MEMORY_SHORT_PERCENT < MEMORY_CLOSE_PERCENT);
const _: () = assert!(MEMORY_RECORDS_PERCENT + MEMORY_UNFINISHED_PERCENT + MEMORY_JOINS_PERCENT < MEMORY_SHORT_PERCENT);
const _: () = assert!(MEMORY_NAMED_MIN <= MEMORY_BUDGET_MIN && MEMORY_CLOSE_PERCENT < 100);
