//! Limits of the digests of neighbors' indexes.

use std::time::Duration;

/// Bits that a key sets in a digest: the best number for ten bits per key.
pub const DIGEST_HASHES: usize = 7;
/// Smallest digest of an index, as the logarithm to base 2 of its bits: 128 bytes.
pub const DIGEST_LOG2_MIN: u8 = 10;
/// Largest digest that is made or accepted, as above: 4 MiB, some 1,000,000 files. A neighbor with
/// more files is always asked.
pub const DIGEST_LOG2_MAX: u8 = 25;
/// Memory for the digests of all neighbors, in bytes; each neighbor may use an equal share.
pub const DIGEST_BYTES_ALL: usize = 64 << 20;
/// Bytes of a digest, or of hashes, in one step: they fit in a datagram with the other fields of
/// the message.
pub const DIGEST_STEP_BYTES: usize = 1024;
/// Most steps to one neighbor that may be unacknowledged.
pub const DIGEST_WINDOW: usize = 8;
/// Bytes of digests per second to one neighbor: 2 % of a line of 1 Gbit/s.
pub const DIGEST_BYTES_PER_SECOND: u64 = 2_500_000;
/// Changes are collected for this long before they are sent. Until then the neighbor has a mark:
/// it sends all its queries, whatever the digest says.
pub const DIGEST_COALESCE: Duration = Duration::from_secs(1);
/// Changes are collected for longer while files come at shorter intervals than this, so that a long
/// list is handled once, after its last page.
pub const DIGEST_QUIET: Duration = Duration::from_millis(250);
/// Longest time for which changes are collected.
pub const DIGEST_COALESCE_MAX: Duration = Duration::from_secs(10);
/// How long a digest may be used after its owner was asked whether it is still valid.
pub const DIGEST_LEASE: Duration = Duration::from_secs(5);
/// How long a super peer that confirmed its digest waits until the lease is over: longer than the
/// lease, because the clocks of two hosts do not run at exactly the same rate.
pub const DIGEST_LEASE_WAIT: Duration = Duration::from_millis(5500);
/// Shortest time between two steps of a neighbor's digest that each need a new large filter. After
/// a second one that comes sooner the copy is dropped, and the owner starts again.
pub const DIGEST_RESIZE_GAP: Duration = Duration::from_millis(10);
/// Files whose keys are hashed per turn: below 1 ms.
pub const DIGEST_FILES_PER_TURN: usize = 256;
/// After this number of keys no further file is hashed in the turn: most files have some 40, a path
/// of the longest kind more than 500.
pub const DIGEST_KEYS_PER_TURN: usize = 16 * 1024;
/// Bytes per turn that are processed when a digest is halved because it is too large: a small part
/// of 1 ms.
pub const DIGEST_HALVED_PER_TURN: usize = 32 * 1024;
/// New files that are remembered until they are hashed, 4 bytes each; if there are more, the digest
/// is rebuilt from the index.
pub const DIGEST_FRESH_MAX: usize = 1 << 20;
/// Share of its bits, in percent, above which a digest grows: one key in 66 is then a false
/// positive.
pub const DIGEST_FILLED_MAX: usize = 55;
/// Share of its bits, in percent, below which a digest that is rebuilt becomes smaller.
pub const DIGEST_FILLED_MIN: usize = 20;
/// Share of its bits, in percent, above which the largest digest is not worth sending.
pub const DIGEST_FILLED_LIMIT: usize = 75;
/// Shortest time between two rebuilds of a digest because of files that were removed.
pub const DIGEST_REBUILD_GAP: Duration = Duration::from_secs(60);
/// Longest wait before a step without an answer is repeated.
pub const DIGEST_REPEAT_MAX: Duration = Duration::from_secs(1);
/// ACKs that wait for neighbors' marks. If one more must wait, the session with the most of them is
/// closed.
pub const ACKS_HELD_MAX: usize = 1 << 16;

const _: () = assert!(DIGEST_LEASE.as_millis() < DIGEST_LEASE_WAIT.as_millis());
