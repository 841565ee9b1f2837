//! Limits of chunk connections that are served.

use std::time::Duration;

/// Files of the share that `status` looks at for the names of those that are sent: 1 ms.
pub const UPLOAD_NAMES_LOOKED_AT_MAX: usize = 65_536;
/// Bytes that the kernel holds for a connection and has not sent once: without a bound it takes
/// megabytes (Linux: `tcp_wmem`), and each of them is a chunk that cannot be taken back.
pub const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// Chunk requests that are queued for one connection; one more gets an ERROR.
pub const UPLOAD_REQUESTS_MAX: usize = 64;
/// Most chunks of one connection that are prepared ahead, beside the one that is being sent:
/// together as many as there are MD5 lanes. A connection that has taken little gets fewer: one
/// chunk, and as many bytes as it has taken.
pub const UPLOAD_AHEAD: usize = 15;
/// More are prepared once no more than this many are left, so that several are prepared together.
pub const UPLOAD_AHEAD_LOW: usize = 4;
/// Short chunks are prepared beyond these numbers, up to this many bytes together: the next ones
/// are ready while others are sent.
pub const UPLOAD_AHEAD_BYTES: u64 = 512 * 1024;
/// Chunks of one connection that are in its send queue at once, or as many as have
/// [`UPLOAD_SENDING_BYTES`] together; later ones can still be canceled.
pub const UPLOAD_SENDING_MAX: usize = 3;
/// See [`UPLOAD_SENDING_MAX`]: about what the kernel takes and has not sent.
pub const UPLOAD_SENDING_BYTES: u64 = UNSENT_BYTES_MAX as u64;
/// A chunk of at most this many bytes is read when it is prepared, so that several are sent by one
/// system call; a longer one is sent from its file.
pub const SHORT_CHUNK_BYTES: u32 = 32 * 1024;
/// Such chunks in memory at once; of one more the file is sent.
pub const SHORT_CHUNKS_MAX: usize = 512;
/// Connections on which a peer serves chunks at once; one more takes the place of the longest idle
/// one of the host that has most, or is refused if none is idle.
pub const UPLOADS_MAX: usize = 512;
/// A chunk connection that takes its bytes at this rate, in bytes per second, is never closed to
/// make room; a slower one counts as idle for the time that it is late. The bytes of a chunk count
/// only when all of them were taken, so one chunk must not take longer than [`UPLOAD_AHEAD_MAX`]
/// and [`UPLOAD_LAG_MAX`] together.
pub const UPLOAD_RATE_MIN: u64 = 16 * 1024;
/// Bytes after which the rate of a chunk connection is believed: more than the buffers of the
/// kernels at both ends hold, which take bytes that no program reads (Linux: `tcp_wmem`, 4 MiB, and
/// the receive window, a part of `tcp_rmem`).
pub const UPLOAD_PROVEN_BYTES: u64 = 6 << 20;
/// How late a chunk connection may be, compared with [`UPLOAD_RATE_MIN`].
pub const UPLOAD_LAG_MAX: Duration = Duration::from_secs(3);
/// How far a chunk connection may be ahead of that rate: a slow receiver empties the kernel's
/// buffers in long steps.
pub const UPLOAD_AHEAD_MAX: Duration = Duration::from_secs(10);
/// A chunk connection whose answer makes no progress for this long counts as idle.
pub const UPLOAD_BUSY_MAX: Duration = Duration::from_secs(10);
/// A chunk connection without a request for this long is closed.
pub const CHUNK_IDLE_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(UPLOAD_AHEAD_LOW < UPLOAD_AHEAD && UPLOAD_AHEAD < UPLOAD_REQUESTS_MAX);
