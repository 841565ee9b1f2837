//! Limits of HTTP: requests, connections, listings, Metalinks, the page.

use std::time::Duration;

/// Connections of the page that one turn accepts.
pub const HTTP_ACCEPTS_PER_TURN: usize = 4;
/// Longest head of a request, in bytes. A longer one is refused with 431. Browsers send 1 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields of a head. A head with more is refused with 431. Browsers send about 20.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Longest body of a POST, in bytes. A longer one is refused with 413.
pub const HTTP_BODY_BYTES_MAX: usize = 4 * 1024;
/// A head and its body must be complete within this time, or the request is refused with 408. The
/// time begins with the first byte or, if none has come, when the connection is accepted.
pub const HTTP_HEAD_MAX: Duration = Duration::from_secs(10);
/// A connection that has had no request for this long is closed.
pub const HTTP_IDLE_MAX: Duration = Duration::from_secs(60);
/// HTTP connections at once. One more replaces the connection that has been idle longest, or one
/// that reads less than [`HTTP_RATE_MIN`]. If there is neither, it gets 503. A connection that is
/// closed after its answer counts until its answer is written.
pub const HTTP_CONNS_MAX: usize = 512;
/// If a connection has read less than this, in bytes per second, since its answer began, it may be
/// closed to make room.
pub const HTTP_RATE_MIN: u64 = 16 * 1024;
/// For this time after the start of its answer, a connection is not closed for that reason; nor for
/// this time after all of its last answer is queued.
pub const HTTP_RATE_AFTER: Duration = Duration::from_secs(5);
/// Bytes of files that one turn writes of an answer that begins: until as many bytes of it are
/// written as [`UNSENT_BYTES_MAX`](super::UNSENT_BYTES_MAX) has. A client that reads nothing gets
/// no more than those, and may have asked for short packets, which take the kernel longer.
pub const HTTP_FIRST_BYTES_PER_TURN: usize = 64 * 1024;
/// A client that has read this many bytes of its answer within [`HTTP_FAST_WITHIN`] is fast: the
/// kernel then accepts [`HTTP_UNSENT_BYTES_MAX`] bytes that it has not sent, so that the bytes cost
/// fewer system calls.
pub const HTTP_FAST_BYTES: u64 = 4 << 20;
/// See [`HTTP_FAST_BYTES`].
pub const HTTP_FAST_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of the connection of a fast client that the kernel holds and has not sent once. The system
/// sets a limit of its own (Linux: `tcp_wmem`, 4 MiB).
pub const HTTP_UNSENT_BYTES_MAX: u32 = 4 << 20;
/// While more connections of HTTP than this are there, no further client gets that many. So the
/// kernel holds at most 128 MiB for them.
pub const HTTP_RAISED_MAX: usize = 32;
/// A fast client may become slow. If the kernel accepts nothing for
/// [`WRITE_STALL_MAX`](super::WRITE_STALL_MAX), it gets the usual limit again, and this much longer
/// to send what it holds. If the client reads nothing in that time, the kernel ends the connection.
pub const HTTP_UNSENT_MAX: Duration = Duration::from_secs(HTTP_UNSENT_BYTES_MAX as u64 / HTTP_RATE_MIN);
/// Chunks of one answer that are prepared or in the send queue at once. More are requested from the
/// disk when no more than half of them are left.
pub const HTTP_CHUNKS_AHEAD: u32 = 8;
/// If those that were requested last were sent within [`HTTP_CHUNKS_AHEAD_WITHIN`], there are twice
/// as many of them, up to this number. So the disk is woken less often.
pub const HTTP_CHUNKS_AHEAD_MAX: u32 = 32;
/// See [`HTTP_CHUNKS_AHEAD_MAX`].
pub const HTTP_CHUNKS_AHEAD_WITHIN: Duration = Duration::from_millis(20);
/// A file of the share with at most this many bytes is sent from memory. It stays in memory, so
/// that the next request for it needs no other thread.
pub const HTTP_SMALL_BYTES_MAX: u64 = 32 * 1024;
/// What such files may take of the memory together, in bytes. If there are more, those that were
/// requested less recently are freed.
pub const HTTP_SMALLS_BYTES_MAX: usize = 16 << 20;
/// When no such file was requested for this long, all of them are freed.
pub const HTTP_SMALLS_KEPT: Duration = Duration::from_secs(10);
/// Entries on one page of a folder. More follow on the next page.
pub const HTTP_LISTING_MAX: usize = 1000;
/// Sources of one content that a Metalink names.
pub const HTTP_SOURCES_MAX: usize = 64;
/// How long the search for the sources of a content may take. Then the answer names the sources
/// that were found.
pub const HTTP_SEARCH_MAX: Duration = Duration::from_secs(2);
/// How many searches for the sources of contents may run at once, and how many searches of a
/// gateway. The limit leaves room in the session for the commands of the peer's own user. If one
/// more is needed, the request is answered without other sources; a request to the gateway gets
/// 503.
pub const HTTP_SEARCHES_MAX: usize = 16;
/// How long the sources of a content are remembered.
pub const HTTP_SOURCES_KEPT: Duration = Duration::from_secs(30);
/// Contents whose sources are remembered. If there are more, the oldest is dropped.
pub const HTTP_SOURCES_KNOWN_MAX: usize = 256;
/// Contents whose MD5s are being computed or wait for it. A request for one more gets 503.
pub const HTTP_HASHING_MAX: usize = 64;
/// MD5s of pieces that are remembered, 16 bytes each. If there are more, those of the content that
/// was requested first are dropped.
pub const HTTP_MD5S_MAX: usize = 1 << 16;
/// The most pieces in a Metalink. If a content has more, the pieces in its Metalink are longer.
pub const HTTP_PIECES_MAX: u64 = 2048;
/// Bytes of pages, Metalinks and snapshots that wait to be written, on all connections together.
/// While there are more, a request for one of these gets 503.
pub const HTTP_TEXT_BYTES_MAX: usize = 16 << 20;
/// Contents that a gateway fetches at once for clients of HTTP, so that the user's own downloads
/// find room. A request for one more gets 503.
pub const HTTP_GATEWAY_FETCHES_MAX: usize = 4;
/// Bytes on the disk of contents that a gateway fetches or has fetched. To make room, contents that
/// nobody reads are removed, the one that has been unused longest first. If there is no room for a
/// content, its request gets 503; if it is longer than this, 507.
pub const HTTP_GATEWAY_BYTES_MAX: u64 = 16 << 30;
/// How long a fetch continues without a reader. A player that seeks to another position ends its
/// request and sends a new one.
pub const HTTP_GATEWAY_LINGER: Duration = Duration::from_secs(2);
/// How long a complete content stays on the disk without a reader.
pub const HTTP_GATEWAY_KEPT: Duration = Duration::from_secs(60);
/// A fetch that receives nothing for this long fails. If the head is not sent yet, the answer is
/// 504.
pub const HTTP_GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);
/// Snapshots that are made in a second for requests, and texts of metrics. Further requests get the
/// latest one.
pub const HTTP_TEXTS_PER_SECOND: u32 = 4;
/// How often a viewer of the page gets a snapshot.
pub const HTTP_TICK: Duration = Duration::from_secs(1);
/// Viewers of the page at once. One more gets 503, and its page then asks for snapshots.
pub const HTTP_VIEWERS_MAX: usize = 16;
/// While a viewer has more bytes than this in its send queue, it gets no snapshot.
pub const HTTP_VIEWER_BYTES_MAX: usize = 64 * 1024;
/// Answers to queries of sessions that the page of a super peer shows. If there are more, the
/// oldest is dropped.
pub const HTTP_ANSWERS_KEPT: usize = 100;
/// Hits of a search of the page.
pub const HTTP_HITS_MAX: usize = 200;
/// Sessions that a snapshot lists.
pub const HTTP_SESSIONS_MAX: usize = 200;
/// Longest content whose Metalink also has the MD5 of the complete content. That MD5 cannot be
/// computed in lanes, and takes about 2 s for each GiB.
pub const HTTP_COMPLETE_MD5_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(HTTP_CHUNKS_AHEAD <= HTTP_CHUNKS_AHEAD_MAX && HTTP_UNSENT_BYTES_MAX > super::UNSENT_BYTES_MAX);
const _: () = assert!(HTTP_FIRST_BYTES_PER_TURN <= super::TURN_BYTES_WRITTEN_MIN);
const _: () = assert!(HTTP_SMALL_BYTES_MAX as usize <= HTTP_SMALLS_BYTES_MAX / 4);
const _: () = assert!(HTTP_PIECES_MAX as usize <= HTTP_MD5S_MAX);
