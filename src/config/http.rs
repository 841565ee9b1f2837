//! Limits of HTTP: requests, connections, listings, Metalinks, the page.

use std::time::Duration;

/// Longest head of a request, in bytes; a longer one is refused with 431. Browsers send 1 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Fields of a head; with one more it is refused with 431. Browsers send some 20.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Longest body of a POST, in bytes; a longer one is refused with 413.
pub const HTTP_BODY_BYTES_MAX: usize = 4 * 1024;
/// A head, and its body, must be complete this long after its first byte, or after the connection
/// was accepted, whatever arrives; else it is refused with 408.
pub const HTTP_HEAD_MAX: Duration = Duration::from_secs(10);
/// A connection without a request for this long is closed.
pub const HTTP_IDLE_MAX: Duration = Duration::from_secs(60);
/// HTTP connections at once. One more takes the place of the longest idle one, or of one that
/// takes less than [`HTTP_RATE_MIN`]; if there is neither, it gets 503.
pub const HTTP_CONNS_MAX: usize = 512;
/// A connection that has taken less than this, in bytes per second, over the time of its answer may
/// be closed for another one.
pub const HTTP_RATE_MIN: u64 = 16 * 1024;
/// It is not closed for that reason during this time after the start of its answer.
pub const HTTP_RATE_AFTER: Duration = Duration::from_secs(5);
/// Chunks of one answer that are prepared or in the send queue at once.
pub const HTTP_CHUNKS_AHEAD: usize = 4;
/// Entries on one page of a folder; the others are on the next.
pub const HTTP_LISTING_MAX: usize = 1000;
/// Sources of one content that a Metalink names.
pub const HTTP_SOURCES_MAX: usize = 64;
/// How long the search for the sources of a content may take; then the answer names those that were
/// found.
pub const HTTP_SEARCH_MAX: Duration = Duration::from_secs(2);
/// Searches for the sources of contents at once, and searches of a gateway at once, so that the
/// commands of the peer's own user find room in its session. A request that needs one more is
/// answered without other sources; one to the gateway gets 503.
pub const HTTP_SEARCHES_MAX: usize = 16;
/// How long the sources of a content are remembered.
pub const HTTP_SOURCES_KEPT: Duration = Duration::from_secs(30);
/// Contents whose sources are remembered; the oldest is forgotten first.
pub const HTTP_SOURCES_KNOWN_MAX: usize = 256;
/// Contents whose MD5s are being computed or wait for it; a request for one more gets 503.
pub const HTTP_HASHING_MAX: usize = 64;
/// MD5s of pieces that are remembered, 16 bytes each; those of the contents that were requested
/// first are forgotten first.
pub const HTTP_MD5S_MAX: usize = 1 << 16;
/// Pieces that a Metalink lists: with more, its pieces are longer.
pub const HTTP_PIECES_MAX: u64 = 2048;
/// Bytes of pages, Metalinks and snapshots that wait to be written, of all connections; while there
/// are more, a request for one gets 503.
pub const HTTP_TEXT_BYTES_MAX: usize = 16 << 20;
/// Contents that a gateway fetches at once for clients of HTTP, so that the user's own downloads
/// find room; a request for one more gets 503.
pub const HTTP_GATEWAY_FETCHES_MAX: usize = 4;
/// Bytes on the disk of contents that a gateway fetches or has fetched. Contents that nobody reads
/// are removed to make room, the longest unused first. A request for which there is no room gets
/// 503, one for a content longer than this 507.
pub const HTTP_GATEWAY_BYTES_MAX: u64 = 16 << 30;
/// How long a fetch goes on without a reader: a player that seeks to another position ends its
/// request and sends a new one.
pub const HTTP_GATEWAY_LINGER: Duration = Duration::from_secs(2);
/// How long a content that is complete stays on the disk without a reader.
pub const HTTP_GATEWAY_KEPT: Duration = Duration::from_secs(60);
/// A fetch that gets nothing for this long fails; with 504 if the head is not sent yet.
pub const HTTP_GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a viewer of the page gets a snapshot.
pub const HTTP_TICK: Duration = Duration::from_secs(1);
/// Viewers of the page at once; one more gets 503, and the page asks for snapshots instead.
pub const HTTP_VIEWERS_MAX: usize = 16;
/// A viewer with more bytes than this in its send queue gets no snapshot until they are written.
pub const HTTP_VIEWER_BYTES_MAX: usize = 64 * 1024;
/// Answers to queries of sessions that the page of a super peer shows; the oldest is forgotten
/// first.
pub const HTTP_ANSWERS_KEPT: usize = 100;
/// Hits of a search of the page.
pub const HTTP_HITS_MAX: usize = 200;
/// Sessions that a snapshot lists.
pub const HTTP_SESSIONS_MAX: usize = 200;
/// Longest content whose Metalink also has the MD5 of all its bytes. That MD5 cannot be computed in
/// lanes, and takes some 2 s for each GiB.
pub const HTTP_COMPLETE_MD5_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(HTTP_PIECES_MAX as usize <= HTTP_MD5S_MAX);
