//! Limits of the digests of neighbors' indexes.

use std::time::Duration;

/// Bits that a key sets in a digest: the best number for ten bits per key.
pub const DIGEST_HASHES: usize = 7;
/// Smallest digest of an index, as the logarithm to base 2 of its bits: 128 bytes.
pub const DIGEST_LOG2_MIN: u8 = 10;
/// Largest digest that is made or accepted, as the logarithm to base 2 of its bits: 4 MiB, enough
/// for about 1,000,000 files. A neighbor with more files is always asked.
pub const DIGEST_LOG2_MAX: u8 = 25;
/// Memory for the digests of all neighbors, in bytes. Each neighbor may use an equal share.
pub const DIGEST_BYTES_ALL: usize = 64 << 20;
/// Bytes of the part of a digest, or of the hashes, in one step. They fit in a datagram with the
/// other fields of the message.
pub const DIGEST_STEP_BYTES: usize = 1024;
/// How many steps to one neighbor may be unacknowledged.
pub const DIGEST_WINDOW: usize = 8;
/// Bytes of digests per second to one neighbor: 2 % of a line of 1 Gbit/s.
pub const DIGEST_BYTES_PER_SECOND: u64 = 2_500_000;
/// How long changes are collected before they are sent. Until then a mark is in force at the
/// neighbor, which sends all its queries and does not use the digest.
pub const DIGEST_COALESCE: Duration = Duration::from_secs(1);
/// If files come at shorter intervals than this, changes are collected for longer. So a long list
/// is handled once, after its last page.
pub const DIGEST_QUIET: Duration = Duration::from_millis(250);
/// Longest time for which changes are collected.
pub const DIGEST_COALESCE_MAX: Duration = Duration::from_secs(10);
/// How long a digest may be used after the time at which its owner was asked whether it is still
/// valid.
pub const DIGEST_LEASE: Duration = Duration::from_secs(5);
/// How long a super peer that has confirmed its digest waits until the lease is over. It is longer
/// than the lease, because the clocks of two hosts do not run at exactly the same rate.
pub const DIGEST_LEASE_WAIT: Duration = Duration::from_millis(5500);
/// Shortest time between two steps of a neighbor's digest that each need a new large filter. If the
/// second one comes sooner, the copy is dropped and the owner starts again.
pub const DIGEST_RESIZE_GAP: Duration = Duration::from_millis(10);
/// Files whose keys are hashed per turn. This takes less than 1 ms.
pub const DIGEST_FILES_PER_TURN: usize = 256;
/// After this number of keys, no further file is hashed in the turn. Most files have about 40 keys;
/// a path of the greatest length has more than 500.
pub const DIGEST_KEYS_PER_TURN: usize = 16 * 1024;
/// Bytes per turn that are processed when a digest is halved because it is too large: a small part
/// of 1 ms.
pub const DIGEST_HALVED_PER_TURN: usize = 32 * 1024;
/// New files that are remembered until they are hashed, 4 bytes each. If there are more, the digest
/// is rebuilt from the index.
pub const DIGEST_FRESH_MAX: usize = 1 << 20;
/// Share of its bits, in percent, above which a digest grows: one key in 66 is then a false
/// positive.
pub const DIGEST_FILLED_MAX: usize = 55;
/// Share of its bits, in percent, below which a digest becomes smaller when it is rebuilt.
pub const DIGEST_FILLED_MIN: usize = 20;
/// Share of its bits, in percent, above which the largest digest is not worth sending.
pub const DIGEST_FILLED_LIMIT: usize = 75;
/// Shortest time between two rebuilds of a digest because of files that were removed.
pub const DIGEST_REBUILD_GAP: Duration = Duration::from_secs(60);
/// Longest wait before a step without an answer is repeated.
pub const DIGEST_REPEAT_MAX: Duration = Duration::from_secs(1);
/// ACKs that wait for neighbors' marks. If one more must wait, the session with the most waiting
/// ACKs is closed.
pub const ACKS_HELD_MAX: usize = 1 << 16;

const _: () = assert!(DIGEST_LEASE.as_millis() < DIGEST_LEASE_WAIT.as_millis());
