//! Limits of the chunk connections that a peer serves.

use std::time::Duration;

/// Files of the share that `status` looks at to find the names of the contents that are sent: 1 ms.
pub const UPLOAD_NAMES_LOOKED_AT_MAX: usize = 65_536;
/// Bytes of a connection that the kernel holds and has not sent once. Without a bound it accepts
/// megabytes (Linux: `tcp_wmem`), which can no longer be canceled.
pub const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// Chunk requests that are queued for one connection. One more gets an ERROR.
pub const UPLOAD_REQUESTS_MAX: usize = 64;
/// Chunks of one connection that are prepared in advance, without the one that is being sent. With
/// that one there are as many as there are MD5 lanes. A connection that has read little gets fewer:
/// one chunk, and as many bytes as it has read.
pub const UPLOAD_AHEAD: usize = 15;
/// More chunks are prepared once no more than this many are left, so that several are prepared
/// together.
pub const UPLOAD_AHEAD_LOW: usize = 4;
/// Short chunks are prepared beyond these numbers, up to this many bytes together. So the next ones
/// are ready while others are sent.
pub const UPLOAD_AHEAD_BYTES: u64 = 512 * 1024;
/// Chunks of one connection that are in its send queue at once, or as many as have
/// [`UPLOAD_SENDING_BYTES`] together. Later chunks can still be canceled.
pub const UPLOAD_SENDING_MAX: usize = 3;
/// See [`UPLOAD_SENDING_MAX`]. This is about what the kernel accepts without sending it.
pub const UPLOAD_SENDING_BYTES: u64 = UNSENT_BYTES_MAX as u64;
/// A chunk of at most this many bytes is read when it is prepared, so that one system call sends
/// several. A longer one is sent from its file.
pub const SHORT_CHUNK_BYTES: u32 = 32 * 1024;
/// Such short chunks in memory at once. One more chunk is sent from its file.
pub const SHORT_CHUNKS_MAX: usize = 512;
/// Connections on which a peer serves chunks at once. One more replaces the longest idle connection
/// of the host that has the most connections. If none is idle, it is refused.
pub const UPLOADS_MAX: usize = 512;
/// A chunk connection that reads at this rate or faster, in bytes per second, is never closed to
/// make room. A slower one counts as idle for the time that it is late. The bytes of a chunk count
/// only when the other side has read all of them. So one chunk must not take longer than
/// [`UPLOAD_AHEAD_MAX`] and [`UPLOAD_LAG_MAX`] together.
pub const UPLOAD_RATE_MIN: u64 = 16 * 1024;
/// After this many bytes, the rate of a chunk connection is known to be real. It is more than the
/// buffers of the kernels at both ends hold, which accept bytes that no program reads (Linux:
/// `tcp_wmem`, 4 MiB, and the receive window, a part of `tcp_rmem`).
pub const UPLOAD_PROVEN_BYTES: u64 = 6 << 20;
/// How late a chunk connection may be, compared with [`UPLOAD_RATE_MIN`].
pub const UPLOAD_LAG_MAX: Duration = Duration::from_secs(3);
/// How far a chunk connection may be ahead of that rate, because a slow receiver empties the
/// buffers of the kernel in long steps.
pub const UPLOAD_AHEAD_MAX: Duration = Duration::from_secs(10);
/// A chunk connection whose answer makes no progress for this long counts as idle.
pub const UPLOAD_BUSY_MAX: Duration = Duration::from_secs(10);
/// A chunk connection that has had no request for this long is closed.
pub const CHUNK_IDLE_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(UPLOAD_AHEAD_LOW < UPLOAD_AHEAD && UPLOAD_AHEAD < UPLOAD_REQUESTS_MAX);
