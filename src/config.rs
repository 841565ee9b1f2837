//! Every limit of the program: one constant each, with its unit in the name, its reason and, where one was followed, its source.
//!
//! Nothing here is read from a file or a flag; a flag's default names its constant.

use std::time::Duration;

// ---- ports and versions ------------------------------------------------------------------------------------------

/// TCP and UDP port of a super peer. Free in Debian's /etc/services and unlike the neighbours' defaults.
pub const SUPER_PORT: u16 = 4777;
/// TCP port on which a weak peer serves chunks.
pub const CHUNK_PORT: u16 = 4778;
/// The protocol's own version, `[major, minor]`; independent of the crate's.
pub const PROTOCOL_VERSION: [u8; 2] = [1, 0];

// ---- content -----------------------------------------------------------------------------------------------------

/// Bytes of a piece: the unit of transfer, verification and blame. A power of two of BLAKE3 chunks, so that a piece is a
/// complete subtree (blake3 `hazmat` docs).
pub const PIECE_BYTES: u64 = 1 << 20;
/// Longest chunk one GET may ask for, in bytes: one piece.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Most pieces of a file that is shared or downloaded: 1 TiB, whose manifest is 32 MiB of memory.
pub const PIECES_MAX: u64 = 1 << 20;
/// Longest path of a file record, in bytes, so that every record fits a datagram.
pub const PATH_BYTES_MAX: usize = 700;
/// Longest name that is published on disk, in bytes; leaves room for `.` and `.part.map` below the usual 255.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest pattern of a query, in bytes, so that a QUERY fits a datagram with room for later fields.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Longest advertised host, in bytes, so that a HIT fits a datagram beside the longest path.
pub const HOST_BYTES_MAX: usize = 100;

// ---- frames ------------------------------------------------------------------------------------------------------

/// Longest body of the first frame of a connection (HELLO or WELCOME), in bytes.
pub const FRAME_BYTES_HELLO: usize = 256;
/// Longest frame body between HELLO and a welcomed login, in bytes.
pub const FRAME_BYTES_LOGIN: usize = 1024;
/// Longest frame body of an open session or chunk connection, in bytes. Longer lists are paged.
pub const FRAME_BYTES_OPEN: usize = 64 * 1024;
/// Where a sender ends a page of file records, in bytes of records: leaves room for the frame's own fields.
pub const PAGE_BYTES: usize = 60 * 1024;
/// Most values nested in one another that a decoder follows. Our deepest message has 4.
pub const DECODE_DEPTH_MAX: u16 = 8;
/// Chaining values in one page of a manifest: 32 KiB.
pub const MANIFEST_PAGE_CVS: usize = 1024;
/// Longest datagram, in bytes: below every usual path MTU with tunnels (GUESS §4.2 advises 1 KiB, 1400 at most).
pub const DATAGRAM_BYTES_MAX: usize = 1200;

const _: () = assert!(PAGE_BYTES + 1024 < FRAME_BYTES_OPEN);
const _: () = assert!(FRAME_BYTES_HELLO < FRAME_BYTES_LOGIN && FRAME_BYTES_LOGIN < FRAME_BYTES_OPEN);
const _: () = assert!(MANIFEST_PAGE_CVS * 32 < PAGE_BYTES);
const _: () = assert!(PATH_BYTES_MAX + HOST_BYTES_MAX + 256 < DATAGRAM_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX as u64 == PIECE_BYTES);
const _: () = assert!(UPDATES_IN_FLIGHT_MAX as usize * FRAME_BYTES_OPEN < SEND_QUEUE_BYTES_MAX);

// ---- sessions ----------------------------------------------------------------------------------------------------

/// From accept to a welcomed login, absolute: bytes do not extend it (tls-listener's CVE-2024-28854 is the warning).
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
/// How often a weak peer that has nothing to say sends PING; told in WELCOME, so the super peer chooses.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A session or chunk connection silent for this long is closed: three pings lost.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(90);
/// A weak peer whose PING, LOGIN or REGISTER stays without any answer for this long takes the super peer for dead.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Connections that have not logged in yet, at most; the oldest goes when one more comes.
pub const UNAUTHENTICATED_MAX: usize = 2048;
/// Bytes queued towards one session or chunk connection; a consumer that lets it fill up is closed.
pub const SEND_QUEUE_BYTES_MAX: usize = 512 * 1024;
/// A connection whose send queue makes no progress for this long is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// A started frame must be whole within this time (and 16 KiB/s on top of it for long ones).
pub const FRAME_PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Files one session may register; the session that offers more gets an ERROR and is closed.
pub const SESSION_FILES_MAX: usize = 1_000_000;
/// Different files in one index, so that an id leaves bits for other use; whoever registers one more gets an ERROR and is closed.
pub const INDEX_ENTRIES_MAX: usize = (1 << 28) - 1;
/// Queries one session may have running at once.
pub const SESSION_QUERIES_MAX: usize = 64;
/// Pages of REGISTER and UPDATE that a weak peer sends before the first is acknowledged: half of a send queue.
pub const UPDATES_IN_FLIGHT_MAX: u64 = 4;
/// Commands of clients that a weak peer has running or waiting for its session; one more is refused.
pub const COMMANDS_MAX: usize = 1024;
/// First wait before dialling super peers again after all failed; doubles up to the maximum, drawn with full jitter.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two rounds through the list of super peers.
pub const RECONNECT_MAX: Duration = Duration::from_secs(60);
/// A dial that is not connected by then has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long `sprat peer` tries for its first session (`--connect-timeout`).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// ---- search ------------------------------------------------------------------------------------------------------

/// Hops a query may go when nobody says otherwise (`--ttl`).
pub const TTL_DEFAULT: u8 = 7;
/// Larger ttls are trimmed to this.
pub const TTL_MAX: u8 = 64;
/// Time a query may take when nobody says otherwise (`--budget`).
pub const QUERY_BUDGET: Duration = Duration::from_secs(2);
/// How much earlier than its budget the origin ends a query, at most, so that the DONE is with the asker in time.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// Longest budget a query may ask for.
pub const QUERY_BUDGET_MAX: Duration = Duration::from_secs(60);
/// Hits kept per query at its origin, and per link and query elsewhere; more is a `cap` cut.
pub const QUERY_HITS_MAX: usize = 1000;
/// Pages that a list of the whole network may take; some 600 hits each, more than any index holds.
pub const LIST_PAGES_MAX: u64 = 1 << 18;
/// Sources of one content whose addresses a list tells apart; of more it counts the hits.
pub const LIST_SOURCES_MAX: usize = 1 << 16;
/// Names of one content that a list tells.
pub const LIST_NAMES_MAX: usize = 16;
/// Sessions with super peers that one weak peer may hold at once (`--sessions`).
pub const SUPER_SESSIONS_MAX: usize = 2;
/// Index entries tidied, or sorted by their root, per turn: a small part of 1 ms.
pub const SCAN_ENTRIES_PER_TURN: usize = 1024;
/// Work of one step of a query before others have theirs, counted as below.
pub const SCAN_WORK_PER_STEP: usize = 1024;
/// Work per turn for all queries together: an index entry looked at is 1, some 50 ns; a name compared, a hit, a query and a message
/// count as several. Below 1 ms.
pub const WORK_PER_TURN: usize = 16 * 1024;
/// How long entries stay sorted by their root after the last page of a list: longer than any query runs.
pub const ORDER_KEPT: Duration = Duration::from_secs(90);
/// Index entries looked at for one query in all; whatever lies behind them is a `cap` cut. Several times what a super peer may
/// hold by its own measure, so that it ends only what nobody waits for.
pub const SCAN_ENTRIES_MAX: usize = 1 << 23;
/// Queries of one link that wait for their share of the work; one more is refused (`shed`).
pub const LINK_QUERIES_WAITING_MAX: usize = 8192;
/// Hits that queries of neighbours hold in all, running or over: some 200 bytes each. A query that would take one more ends with
/// a `cap` cut.
pub const HITS_HELD_MAX: usize = 1 << 18;
/// Queries of the network that run here or are over and kept for repetitions: some 700 bytes each. A full table forgets those
/// that were over first; if all of them run, it refuses.
pub const WAVES_MAX: usize = 1 << 16;
/// Query ids remembered per generation of the visited table (two generations), 16 bytes each: over a second of the heaviest
/// flood that one core carries.
pub const VISITED_MAX: usize = 1 << 18;
/// Hits of queries that are over, kept for repetitions: some 200 bytes each. Above it those of the oldest queries go, so that
/// many answers with long budgets do not pile up.
pub const HITS_KEPT_MAX: usize = 1 << 17;
/// Age at which the generations of the visited table rotate.
pub const VISITED_GENERATION: Duration = Duration::from_secs(60);
/// How often a link that is up says HELLO.
pub const LINK_KEEPALIVE: Duration = Duration::from_secs(2);
/// A link that has been silent for this long is down.
pub const LINK_SILENCE_MAX: Duration = Duration::from_millis(6500);
/// How often a link that is down is greeted.
pub const LINK_RETRY: Duration = Duration::from_secs(1);
/// Lower bound of the wait before a QUERY without an answer is repeated.
pub const QUERY_REPEAT_MIN: Duration = Duration::from_millis(20);
/// How long a super peer without a tree looks round before it grows one.
pub const TREE_SETTLE: Duration = Duration::from_millis(500);
/// Shortest time between two trees that one root grows; doubles with each as long as none lasts.
pub const TREE_GAP_MIN: Duration = Duration::from_secs(1);
/// Longest time between two trees, however often the network changes.
pub const TREE_GAP_MAX: Duration = Duration::from_secs(16);
/// A tree that is not grown by then is given up.
pub const TREE_GROWTH_MAX: Duration = Duration::from_secs(10);
/// After a tree has become void its root is waited for; then others are listened to.
pub const TREE_ROOT_PATIENCE: Duration = Duration::from_secs(4);
/// Neighbours of one super peer.
pub const LINKS_MAX: usize = 256;
/// Datagrams read per turn, so that a flood cannot starve the sessions.
pub const DATAGRAMS_PER_TURN: usize = 256;

// ---- digests of neighbours' indexes ------------------------------------------------------------------------------

/// Bits that a key sets in a digest: the best number for the ten bits a key that a digest is made for.
pub const DIGEST_HASHES: usize = 7;
/// Smallest digest of an index, as the logarithm to base 2 of its bits: 128 bytes.
pub const DIGEST_LOG2_MIN: u8 = 10;
/// Largest digest that is made or taken: 4 MiB, some 1,000,000 files. Who has more is always asked.
pub const DIGEST_LOG2_MAX: u8 = 25;
/// Memory for the digests of all neighbours, in bytes; each may have its equal share.
pub const DIGEST_BYTES_ALL: usize = 64 << 20;
/// Bytes of a digest in one step, and of hashes: together with the rest of the message they fit a datagram.
pub const DIGEST_STEP_BYTES: usize = 1024;
/// Steps that are under way to one neighbour.
pub const DIGEST_WINDOW: usize = 8;
/// Bytes a second of digests to one neighbour: 2 % of a line of 1 Gbit/s.
pub const DIGEST_BYTES_PER_SECOND: u64 = 2_500_000;
/// Changes are gathered for this long before they are told; meanwhile the neighbour asks in any case.
pub const DIGEST_COALESCE: Duration = Duration::from_secs(1);
/// And longer while files keep coming faster than this, so that a long list is worked on once, and after its last page.
pub const DIGEST_QUIET: Duration = Duration::from_millis(250);
/// But no longer than this.
pub const DIGEST_COALESCE_MAX: Duration = Duration::from_secs(10);
/// How long a digest is believed after the moment at which its neighbour was asked whether it still may be.
pub const DIGEST_LEASE: Duration = Duration::from_secs(5);
/// How long whoever said that it may waits before it takes that for over; longer, since no two clocks run alike.
pub const DIGEST_LEASE_WAIT: Duration = Duration::from_millis(5500);
/// Files whose keys are hashed per turn: below 1 ms.
pub const DIGEST_FILES_PER_TURN: usize = 256;
/// New files that are remembered until they are hashed, 4 bytes each; above it the digest is made anew from the whole index.
pub const DIGEST_FRESH_MAX: usize = 1 << 20;
/// Hundredths of its bits above which a digest grows: one key in 66 errs.
pub const DIGEST_FILLED_MAX: usize = 55;
/// Hundredths of its bits below which a digest that is made anew is made smaller.
pub const DIGEST_FILLED_MIN: usize = 20;
/// Hundredths of its bits above which the largest digest is not worth sending.
pub const DIGEST_FILLED_LIMIT: usize = 75;
/// A digest is made anew for files that went no more often than this.
pub const DIGEST_REBUILD_GAP: Duration = Duration::from_secs(60);
/// Steps that are repeated without an answer wait no longer than this.
pub const DIGEST_REPEAT_MAX: Duration = Duration::from_secs(1);
/// ACKs that wait for neighbours' marks; the session that wants one more is closed.
pub const ACKS_HELD_MAX: usize = 1 << 16;

const _: () = assert!(ORDER_KEPT.as_secs() > QUERY_BUDGET_MAX.as_secs());
const _: () = assert!(SCAN_WORK_PER_STEP * 4 <= WORK_PER_TURN && HITS_KEPT_MAX < HITS_HELD_MAX);
const _: () = assert!(DIGEST_LEASE.as_millis() < DIGEST_LEASE_WAIT.as_millis());
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < LINK_SILENCE_MAX.as_millis());
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() * 2 < DIGEST_LEASE.as_millis());
const _: () = assert!(DIGEST_STEP_BYTES + 128 < DATAGRAM_BYTES_MAX);

// ---- transfer ----------------------------------------------------------------------------------------------------

/// Pieces asked of one source and not yet received.
pub const SOURCE_PIPELINE_MAX: usize = 32;
/// Sources one download talks to at once.
pub const SOURCES_MAX: usize = 16;
/// Sources one download remembers.
pub const SOURCES_KNOWN_MAX: usize = 256;
/// A piece without progress for this long may be taken by another source.
pub const STALL_AFTER: Duration = Duration::from_secs(2);
/// A piece is taken from a slow source only if that gains at least this much, so that equal sources never duplicate.
pub const STEAL_GAIN_MIN: Duration = Duration::from_millis(500);
/// How far ahead of its answers a source is asked, in time of its own rate.
pub const SOURCE_AHEAD: Duration = Duration::from_millis(500);
/// First wait before a lost source is dialled again; doubles up to the maximum.
pub const SOURCE_REDIAL_FIRST: Duration = Duration::from_millis(500);
/// Times that a source may be lost after its WELCOME without a right piece in between; then it is dropped.
pub const SOURCE_FRUITLESS_MAX: u32 = 5;
/// Longest wait before a lost source is dialled again.
pub const SOURCE_REDIAL_MAX: Duration = Duration::from_secs(5);
/// Verified pieces of one download that the disk has not written yet; nothing more is asked for while there are so many.
pub const WRITES_PENDING_MAX: usize = 48;
/// How often a download that lost a source may ask for sources again.
pub const REQUERY_INTERVAL: Duration = Duration::from_secs(5);
/// How long a download without any live source goes on asking before it fails.
pub const NO_SOURCE_MAX: Duration = Duration::from_secs(30);
/// MD5 mismatches over right bytes that a source is forgiven before it is dropped.
pub const MD5_MISMATCHES_MAX: u32 = 3;
/// Downloads one peer runs at once; more wait in line.
pub const DOWNLOADS_MAX: usize = 8;
/// Downloads that wait in line; one more is refused.
pub const DOWNLOADS_WAITING_MAX: usize = 1000;
/// Chunk requests that a peer queues for one connection; one more is an ERROR.
pub const UPLOAD_REQUESTS_MAX: usize = 64;
/// Chunks of one connection that are prepared ahead, beside the one that goes out: with it as many as there are MD5 lanes.
pub const UPLOAD_AHEAD: usize = 15;
/// More are prepared only once no more than this many are, so that there are some to prepare together.
pub const UPLOAD_AHEAD_LOW: usize = 4;
/// Chunks of one connection that are handed to its send queue at once: a later one can still be cancelled.
pub const UPLOAD_SENDING_MAX: usize = 3;
/// Connections on which a peer serves chunks at once.
pub const UPLOADS_MAX: usize = 512;
/// A chunk connection without a request for this long is closed.
pub const CHUNK_IDLE_MAX: Duration = Duration::from_secs(60);
/// Most progress lines per second and download.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

// ---- share -------------------------------------------------------------------------------------------------------

/// A file is hashed once nothing has touched it for this long.
pub const SHARE_QUIET: Duration = Duration::from_millis(1000);

// ---- the loop ----------------------------------------------------------------------------------------------------

/// Longest turn that the histogram of turns tells from longer ones, in microseconds: 60 s.
pub const TURN_MICROS_MAX: u64 = 60_000_000;
/// Bytes read per connection and turn; who needs more goes to the back of the run queue.
pub const TURN_BYTES_PER_CONNECTION: usize = 256 * 1024;
/// Bytes of files written per turn, shared evenly by the connections that have some to write: two chunks. More than are read,
/// for they are not copied.
pub const TURN_BYTES_WRITTEN: usize = 2 * 1024 * 1024;
/// Bytes of files that a connection may write in a turn however many there are: one segment's worth.
pub const TURN_BYTES_WRITTEN_MIN: usize = 64 * 1024;
/// Connections accepted per listener and turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Deadlines of sockets that may be there beside two for each connection; beyond it, those that do not count any more are swept out.
pub const DEADLINES_SPARE: usize = 64;
/// Descriptors kept back for files, the watcher and the control socket.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// Connections refused per [`ACCEPT_RETRY`] while descriptors are short; the rest waits in the kernel.
pub const REFUSALS_PER_RETRY: usize = 64;
/// After EMFILE, when to try to accept again if nothing was closed meanwhile.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a daemon that was asked to end waits for BYEs to be written.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Longest line on a control socket, in bytes.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 * 1024;
/// How long a node whose work is done (a one-shot command) waits for its BYEs to be written.
pub const DRAIN_DONE_MAX: Duration = Duration::from_millis(500);
/// Events taken from the poll at once; a full batch puts the timers off, so that queued input goes first.
pub const EVENTS_PER_TURN: usize = 1024;
/// Full batches in a row after which due timers fire all the same.
pub const TIMERS_PUT_OFF_TURNS_MAX: u32 = 32;
/// The one buffer that every connection of a loop is read into, in bytes.
pub const READ_SCRATCH_BYTES: usize = 64 * 1024;
/// A send queue longer than this, in bytes, is written before the turn ends; while it cannot be, nothing more is read from
/// that connection, so that pipelined requests wait at their sender.
pub const SEND_QUEUE_BYTES_EARLY: usize = 64 * 1024;
/// Connections waiting in the kernel to be accepted, per listener.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Ports tried for a TCP and a UDP socket of the same number when any will do.
pub const PORT_PAIR_TRIES: usize = 16;
/// How long a closed connection is read on (and its bytes thrown away), so that our last words are not lost to a reset.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// How many bytes are read on at most.
pub const LINGER_BYTES_MAX: usize = 4 << 20;
/// Chunk buffers of 1 MiB in use at once, from the first byte until the piece is written; while they are, further chunks stay
/// unread in their sockets.
pub const CHUNK_BUFFERS_MAX: usize = 64;
/// Empty chunk buffers of 1 MiB kept for the next chunks once none is in use; until then all are kept.
pub const CHUNK_BUFFERS_KEPT: usize = 8;
/// Empty frame buffers kept for the next frames.
pub const FRAME_BUFFERS_KEPT: usize = 64;
/// Longest frame buffer that is kept, in bytes.
pub const FRAME_BUFFER_BYTES_KEPT: usize = 16 * 1024;
/// Host names waiting for the resolver; one more fails its dial.
pub const RESOLVES_WAITING_MAX: usize = 64;
/// Addresses of one host name that are dialled, one after the other.
pub const DIAL_ADDRESSES_MAX: usize = 8;
/// Connections to the control socket at once; one more is closed.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// Commands that run at once on one control connection; one more ends at once with exit 2.
pub const CONTROL_COMMANDS_MAX: usize = 64;
/// Lines taken from control connections per turn, all together.
pub const CONTROL_LINES_PER_TURN: usize = 64;
/// Bytes queued towards one control connection; a reader that lets it fill up is closed.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Receive buffer asked for the UDP socket, in bytes: a burst of a turn's datagrams must fit.
pub const DATAGRAM_BUFFER_BYTES: usize = 1 << 20;

const _: () = assert!(READ_SCRATCH_BYTES >= FRAME_BYTES_LOGIN && READ_SCRATCH_BYTES <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(CHUNK_BUFFERS_KEPT <= CHUNK_BUFFERS_MAX);
const _: () = assert!(UPLOAD_AHEAD_LOW < UPLOAD_AHEAD && UPLOAD_AHEAD < UPLOAD_REQUESTS_MAX);
const _: () = assert!(WRITES_PENDING_MAX < CHUNK_BUFFERS_MAX && SOURCE_PIPELINE_MAX <= UPLOAD_REQUESTS_MAX / 2);
const _: () = assert!(SEND_QUEUE_BYTES_EARLY < SEND_QUEUE_BYTES_MAX);
