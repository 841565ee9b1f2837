//! Limits of downloads: sources, dials, the queue, files of one command, collections.

use std::time::Duration;

use super::{MANIFEST_PAGE_BYTES, PIECE_BYTES, PIECES_MAX};

/// Collections that a peer keeps. When it makes one more, the oldest is removed.
pub const COLLECTIONS_KEPT_MAX: usize = 1024;
/// Files of a collection, or small files of a command, that are listed at once. The next ones are
/// listed when half of them are left. Until even a busy disk has listed them, there is enough to
/// do.
pub const COLLECTION_PAGE_FILES: usize = 1024;
/// Small files of a collection that are published together, with one sync for all.
pub const COLLECTION_BATCH_FILES: usize = 1024;
/// A batch of more bytes than this is published at once.
pub const COLLECTION_BATCH_BYTES: u64 = 32 << 20;
/// Holders of a collection that are connected at once, for its small files.
pub const COLLECTION_HOLDERS_MAX: usize = 4;
/// Small files that are requested from a holder before the first has come.
pub const COLLECTION_PIPELINE_MAX: usize = 32;
/// While this many bytes are requested from a holder, no more files are requested from it. So a
/// slow holder delays only a bounded number of files.
pub const COLLECTION_PIPELINE_BYTES: u64 = 2 * PIECE_BYTES;
/// How many folders are kept open at once because new folders were created in them.
pub const COLLECTION_GROWN_MAX: usize = 64;
/// How many files of one collection are downloaded separately at once: large files, and files that
/// no holder serves.
pub const COLLECTION_LARGE_MAX: usize = 4;
/// Missing files that the error at the end of a collection names. The others are only counted.
pub const COLLECTION_NAMED_MAX: usize = 10;
/// Pieces that are requested from one source and not received.
pub const SOURCE_PIPELINE_MAX: usize = 32;
/// Sources that one download uses at once.
pub const SOURCES_MAX: usize = 16;
/// Sources that one download remembers. If it finds more, it keeps a random sample.
pub const SOURCES_KNOWN_MAX: usize = 256;
/// Least rate of a source and of a download, in bytes per second. A source below this rate is slow:
/// its pieces are requested from others.
pub const SOURCE_RATE_MIN: u64 = 16 * 1024;
/// A source has stalled if it owes bytes and has sent less than the least rate for this long.
pub const STALL_AFTER: Duration = Duration::from_secs(2);
/// A piece is taken from a slow source only if that saves at least this much time, so that equal
/// sources never duplicate a piece.
pub const STEAL_GAIN_MIN: Duration = Duration::from_millis(500);
/// How much is requested from a source in advance, as time at its own rate.
pub const SOURCE_AHEAD: Duration = Duration::from_millis(500);
/// First wait before a lost source is dialed again. It doubles up to the maximum.
pub const SOURCE_REDIAL_FIRST: Duration = Duration::from_millis(500);
/// A source is dropped if its connection has ended this many times after WELCOME, without a correct
/// piece in between.
pub const SOURCE_FRUITLESS_MAX: u32 = 5;
/// Longest wait before the next dial of a source that has always refused as busy.
pub const BUSY_REDIAL_MAX: Duration = Duration::from_secs(60);
/// Longest wait before a lost source is dialed again.
pub const SOURCE_REDIAL_MAX: Duration = Duration::from_secs(5);
/// How long the proof of a download waits before more sources are asked. The number of sources that
/// were asked doubles each time, so all of [`SOURCES_MAX`] are asked after 4 s.
pub const PROOF_HEDGE: Duration = Duration::from_secs(1);
/// If a proof of more than one page takes longer than this and another source waits, it is stopped,
/// and the other source is asked. The time for a source doubles each time the source is lost.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of manifests that one download holds before one of them is proven. One manifest of the
/// greatest length fits, and a share for each other source.
pub const PROOF_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the manifest of one source that are requested while another source has sent more: the
/// manifest of a content of 64 GiB.
pub const PROOF_SHARE_BYTES: u64 = PROOF_BYTES_MAX / 2 / SOURCES_MAX as u64;
/// A source is dropped if it damages a second piece before it has sent this many correct ones.
pub const PIECES_PER_FAULT: u32 = 64;
/// How often a download dials an address that has never sent WELCOME, per [`DIALS_PERIOD`].
pub const DIALS_PER_ADDRESS: usize = 2;
/// See [`DIALS_PER_ADDRESS`].
pub const DIALS_PERIOD: Duration = Duration::from_secs(600);
/// If there is no WELCOME after this time, the next address is dialed too.
pub const DIAL_HEDGE: Duration = Duration::from_secs(1);
/// If a download would take at least this long, it uses several addresses that claim to be the same
/// peer. The claim may be a lie, and the peer in use is slow.
pub const TWIN_TRIED_FROM: Duration = Duration::from_secs(15);
/// If others wait, an address that has never sent WELCOME is given up for now after this time.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(2);
/// Dials of one download at once.
pub const DIALS_AT_ONCE: usize = 32;
/// Dials of one host that may run at once, for all downloads together. Only addresses that have
/// never sent WELCOME count.
pub const HOST_DIALS_AT_ONCE: u32 = 8;
/// Such dials of one host that may follow each other without a pause.
pub const HOST_DIALS_BURST: u32 = 8;
/// Time between two such dials of one host after the burst. So a download with 1,000 addresses of
/// one machine makes at most 128 connects in 30 s.
pub const HOST_DIAL_INTERVAL: Duration = Duration::from_millis(250);
/// Hosts whose dials are remembered. Addresses of one more host must wait.
pub const HOSTS_REMEMBERED_MAX: usize = 4096;
/// Addresses of one download that are remembered because they must not be dialed again for now. If
/// there are more, the oldest is dropped.
pub const SOURCES_SPENT_MAX: usize = 4096;
/// How long a download may take without a verified piece and below the least rate (`--timeout`).
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Verified pieces of one download that the disk has not written. While there are this many,
/// nothing more is requested.
pub const WRITES_PENDING_MAX: usize = 48;
/// Shortest time between two queries for sources of a download. A download sends such a query if it
/// has lost a source, or if it will take longer than this and knows no other source.
pub const REQUERY_INTERVAL: Duration = Duration::from_secs(5);
/// How long a download searches before it fails, if it has neither a connected source nor an
/// address to dial.
pub const NO_SOURCE_MAX: Duration = Duration::from_secs(30);
/// A source is dropped after this many correct pieces with a wrong MD5.
pub const MD5_MISMATCHES_MAX: u32 = 3;
/// Downloads of one peer that run at once. More wait.
pub const DOWNLOADS_MAX: usize = 8;
/// Downloads that wait. One more is refused.
pub const DOWNLOADS_WAITING_MAX: usize = 1000;
/// Names in one `get`.
pub const GET_NAMES_MAX: usize = 100_000;
/// Files of one `get`, about 300 bytes each. If there are more, it is refused.
pub const GET_FILES_MAX: usize = 1_000_000;
/// Files of more than one piece that one command downloads at once. It is half of all downloads
/// that may run, so that another command gets its turn.
pub const BATCH_DOWNLOADS_MAX: usize = DOWNLOADS_MAX / 2;
/// Files of at most one piece that are downloaded at once for commands that fetch several files.
/// They are enough for the disk to publish several together, and few enough for a source that also
/// serves others.
pub const SMALL_DOWNLOADS_MAX: usize = 32;
/// Connections to sources that are kept for the next small file.
pub const IDLE_CONNS_MAX: usize = 2 * SMALL_DOWNLOADS_MAX;
/// Causes of failures that the end of a command of many files names, and files that it names for
/// each. The others are only counted.
pub const BATCH_CAUSES_NAMED: usize = 8;
/// See [`BATCH_CAUSES_NAMED`].
pub const BATCH_FILES_NAMED: usize = 3;
/// Downloads of the queue that run at once (`--parallel`).
pub const PARALLEL: usize = 4;
/// Downloads in the queue that have not ended. One more is refused.
pub const QUEUE_ENTRIES_MAX: usize = 1000;
/// Downloads that have ended and are still listed. If there are more, the oldest are dropped.
pub const QUEUE_ENDED_MAX: usize = 100;
/// Clients that wait for one download. One more is refused.
pub const QUEUE_WATCHERS_MAX: usize = 64;
/// First wait before a download without a source searches again. It doubles up to the maximum.
pub const QUEUE_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest wait before a download without a source searches again.
pub const QUEUE_RETRY_MAX: Duration = Duration::from_secs(300);
/// Longest wait before a download without a source searches again, once a session is up again.
pub const QUEUE_RETRY_SESSION: Duration = Duration::from_secs(5);
/// Wait before the queue is saved again after the disk has failed.
pub const QUEUE_SAVE_RETRY: Duration = Duration::from_secs(30);
/// Shortest time between two progress events of one download.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

const _: () = assert!(NO_SOURCE_MAX.as_secs() < DOWNLOAD_TIMEOUT.as_secs());
const _: () = assert!(PARALLEL <= DOWNLOADS_MAX);
const _: () = assert!(MANIFEST_PAGE_BYTES <= PROOF_SHARE_BYTES);
const _: () = assert!(PIECES_MAX * 32 + (SOURCES_MAX as u64 - 1) * PROOF_SHARE_BYTES <= PROOF_BYTES_MAX);

/// With `--order sequential`: how far behind the first missing piece pieces are requested. The
/// bound is this number of pieces or, if that is more, what comes in [`SEQUENTIAL_AHEAD`] at the
/// present rate. With it, a large number of fast sources has enough to do.
pub const SEQUENTIAL_PIECES: usize = 16;
/// See [`SEQUENTIAL_PIECES`].
pub const SEQUENTIAL_AHEAD: Duration = Duration::from_secs(2);
/// In a swarm, one of this many choices is a piece out of order. If all members fetched the same
/// pieces, no member would have a piece that others lack.
pub const SEQUENTIAL_OTHER_EVERY: u32 = 4;
