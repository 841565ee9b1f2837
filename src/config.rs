//! Every limit of the program: one constant each, with its unit in the name, its reason, and its
//! source if there is one.
//!
//! Nothing here is read from a file or a flag. The default of a flag names its constant.

use std::time::Duration;

// ---- ports and versions -------------------------------------------------------------------------

/// TCP and UDP port of a super peer. Not used in Debian's /etc/services, nor by default by programs
/// of this kind.
pub const SUPER_PORT: u16 = 4777;
/// TCP port on which a weak peer serves chunks.
pub const CHUNK_PORT: u16 = 4778;
/// TCP port of the page about a node (`--http`).
pub const HTTP_PORT: u16 = 4779;
/// Version of the protocol, `[major, minor]`; independent of the crate's.
pub const PROTOCOL_VERSION: [u8; 2] = [1, 0];

// ---- content ------------------------------------------------------------------------------------

/// Bytes of a piece, the unit of transfer and verification. A power of two of BLAKE3 chunks, so
/// that a piece is a complete subtree (blake3 `hazmat` docs).
pub const PIECE_BYTES: u64 = 1 << 20;
/// Longest chunk one GET may ask for, in bytes: one piece.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Most pieces of a file that is shared or downloaded: 1 TiB, whose manifest takes 32 MiB of
/// memory.
pub const PIECES_MAX: u64 = 1 << 20;
/// Longest name that a `get` takes, in bytes: a path, and a slash after a folder.
pub const GET_BYTES_MAX: usize = PATH_BYTES_MAX + 1;
/// Longest path of a file record, in bytes, so that every record fits in a datagram.
pub const PATH_BYTES_MAX: usize = 700;
/// Longest name that is published on disk, in bytes: the limit of the usual file systems
/// (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest pattern of a query, in bytes, so that a QUERY fits in a datagram with room for later
/// fields.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Longest URI of a content, in bytes: it fits in a line of the control socket and in a chat.
pub const URI_BYTES_MAX: usize = 4096;
/// Most super peers that a URI names.
pub const URI_SUPERS_MAX: usize = 8;
/// Longest range of positions, in bytes: two of 40 bytes each in hex digits, and the sign between.
pub const RANGE_BYTES_MAX: usize = 161;
/// The fold by which names are compared (PROTOCOL.md 4.11), in the HELLO of links. A digest of
/// another fold is never believed.
pub const FOLD: u8 = 1;
/// Longest advertised host, in bytes, so that a HIT fits in a datagram with the longest path.
pub const HOST_BYTES_MAX: usize = 100;
/// Longest name of a zone, in bytes: it is kept for each member of a swarm.
pub const ZONE_BYTES_MAX: usize = 32;
/// Longest literal address with brackets and port, in bytes: the second address of a source.
pub const LITERAL_BYTES_MAX: usize = 54;

// ---- trust --------------------------------------------------------------------------------------

/// Longest name of an account or a class, in bytes, so that a credential fits in a frame before
/// login.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Longest credential, in bytes: a version, two keys, three times, two names and a signature.
pub const CREDENTIAL_BYTES_MAX: usize = 1 + 2 * 32 + 3 * 8 + 2 * (1 + ACCOUNT_NAME_BYTES_MAX) + 64;
/// Longest text of a credential with its super peers, in bytes: it fits in a mail.
pub const GRANT_BYTES_MAX: usize = 4096;
/// Longest invitation, in bytes: a key, an escaped host, a name and a token.
pub const INVITATION_BYTES_MAX: usize = 1024;
/// Operators and denied keys that a peer remembers, as its super peers name them. More are ignored.
pub const OPERATORS_KNOWN_MAX: usize = 4 * OPERATORS_MAX;
/// See [`OPERATORS_KNOWN_MAX`].
pub const DENIED_KNOWN_MAX: usize = 4 * DENIED_MAX;
/// Operators that a super peer names to its sessions, so that READY fits in a frame before login.
pub const OPERATORS_MAX: usize = 16;
/// Changes of the accounts of a super peer that wait to be saved.
pub const ACCOUNT_CHANGES_MAX: usize = 256;
/// Queries that an account may ask at once, whatever its rate is.
pub const ACCOUNT_QUERIES_BURST: u64 = 8;
/// Keys in one REVOKED.
pub const REVOKED_PAGE_KEYS: usize = 1024;
/// Least and longest time that BUSY asks a peer to wait, when many log in at once.
pub const BUSY_RETRY_MIN: Duration = Duration::from_millis(500);
/// See [`BUSY_RETRY_MIN`].
pub const BUSY_RETRY_MAX: Duration = Duration::from_secs(30);
/// Changes of key that a pin follows. With one change a year it holds for the life of a machine.
pub const ROTATIONS_MAX: usize = 8;
/// Users of one super peer. Its account file is written as a whole: 20 MB with this many.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Nodes of one user.
pub const ACCOUNT_KEYS_MAX: usize = 64;
/// Classes of one super peer.
pub const CLASSES_MAX: usize = 64;
/// Keys that one super peer denies. Each session gets the complete list when it opens, and it must
/// fit in its send queue.
pub const DENIED_MAX: usize = 4096;
/// Difference between the clocks of two hosts, in seconds, at which the dates of a credential still
/// make sense. A clock that is earlier than a signature by more is wrong.
pub const CLOCK_SKEW_S_MAX: u64 = 300;
/// How long an invitation is good.
pub const INVITATION_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// Super peers outside the network that was joined whose keys a node remembers; the oldest goes.
pub const KNOWN_SUPERS_MAX: usize = 1024;
/// Longest file with keys or accounts that is read, in bytes.
pub const PRIVATE_FILE_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(ROTATIONS_MAX * 128 + FRAME_BYTES_HELLO < FRAME_BYTES_WELCOME);
const _: () = assert!((OPERATORS_MAX + ROTATIONS_MAX + 1) * 34 + 64 < FRAME_BYTES_LOGIN);
const _: () = assert!(REVOKED_PAGE_KEYS * 50 < FRAME_BYTES_OPEN);
const _: () = assert!(DENIED_MAX * 50 < SEND_QUEUE_BYTES_MAX);
const _: () = assert!(CREDENTIAL_BYTES_MAX < 512 && CREDENTIAL_BYTES_MAX < FRAME_BYTES_LOGIN);

// ---- frames -------------------------------------------------------------------------------------

/// Longest body of the first frame of a connection (HELLO or WELCOME), in bytes.
pub const FRAME_BYTES_HELLO: usize = 256;
/// Longest frame body between HELLO and READY, in bytes.
pub const FRAME_BYTES_LOGIN: usize = 1024;
/// Longest body of a WELCOME in login mode: it may carry [`ROTATIONS_MAX`] changes of key of 128
/// bytes each.
pub const FRAME_BYTES_WELCOME: usize = 2048;
/// Longest frame body of an open session or chunk connection, in bytes. Longer lists are paged.
pub const FRAME_BYTES_OPEN: usize = 64 * 1024;
/// A sender ends a page of file records at this many bytes of records, which leaves room for the
/// other fields of the frame.
pub const PAGE_BYTES: usize = 60 * 1024;
/// Deepest nesting of values that a decoder follows. The deepest message has 4.
pub const DECODE_DEPTH_MAX: u16 = 8;
/// Chaining values in one page of a manifest: 32 KiB.
pub const MANIFEST_PAGE_CVS: usize = 1024;
/// Longest datagram, in bytes: below the path MTU of common tunnels (GUESS §4.2 advises 1 KiB, at
/// most 1400).
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Bytes of the longest envelope of a datagram, that of login mode (PROTOCOL.md 6.5).
pub const DATAGRAM_ENVELOPE_BYTES: usize = 29;

const _: () = assert!(PAGE_BYTES + 1024 < FRAME_BYTES_OPEN);
const _: () = assert!(FRAME_BYTES_HELLO < FRAME_BYTES_LOGIN && FRAME_BYTES_LOGIN < FRAME_BYTES_OPEN);
const _: () = assert!(MANIFEST_PAGE_CVS * 32 < PAGE_BYTES);
const _: () =
    assert!(PATH_BYTES_MAX + HOST_BYTES_MAX + LITERAL_BYTES_MAX + 256 + DATAGRAM_ENVELOPE_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX as u64 == PIECE_BYTES);
const _: () = assert!(UPDATES_IN_FLIGHT_MAX as usize * FRAME_BYTES_OPEN < SEND_QUEUE_BYTES_MAX);

// ---- sessions -----------------------------------------------------------------------------------

/// Time from accept to READY on a session, and from accept to HELLO on a chunk connection; a weak
/// peer waits as long for READY. Received bytes do not extend it (CVE-2024-28854 of tls-listener
/// was such a fault).
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
/// Interval at which a weak peer that has nothing else to send sends PING. The super peer chooses
/// it, in WELCOME.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A session that is silent for this long is closed: three PINGs are missing.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(90);
/// A weak peer that gets no answer to PING, REGISTER or UPDATE within this time regards the super
/// peer as dead.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Connections that have not logged in; when one more comes, the longest silent one of the host
/// that has most of them is closed.
pub const UNAUTHENTICATED_MAX: usize = 2048;
/// Bytes that are read from a connection in login mode before it has logged in, TLS included: a
/// handshake takes some 1.5 KiB. rustls by itself would hold a message of 64 KiB. What is sent
/// beyond this waits in the kernel.
pub const EARLY_BYTES_MAX: usize = 8 * 1024;
/// Connections whose handshake has something to compute, before no more are accepted for now: those
/// wait in the kernel, and none has to be dropped because a crowd comes back at once.
pub const HANDSHAKES_READY_MAX: usize = 256;
/// Connections in a handshake that one turn looks at. It ends with the first that computes with
/// keys, which takes some 100 us: so handshakes never take more than about a quarter of a busy
/// loop.
pub const HANDSHAKES_PER_TURN: usize = 64;
/// Handshakes that one address may begin at once: a site behind one address comes back together.
pub const ADDRESS_HANDSHAKES_BURST: u64 = 1024;
/// Handshakes that one address may begin per second after that: some 5 % of a processor.
pub const ADDRESS_HANDSHAKES_PER_SECOND: u64 = 256;
/// Addresses whose handshakes are counted one by one; all others count together.
pub const ADDRESSES_MAX: usize = 4096;
/// Most sessions that are looked at, each time that sessions are chosen to be closed because
/// descriptors are short.
pub const CROWD_LOOKS_MAX: usize = 1024;
/// Connections that are chosen together to be closed; they are closed one by one as others come.
pub const CROWD_PLAN_MAX: usize = 32;
/// While a node is full, a connection that got an answer counts as busy for this long, because it
/// may be about to ask again.
pub const CROWD_FRESH: Duration = Duration::from_secs(1);
/// While a node is full, connections that wait for an answer, and sessions with files, are closed
/// after idle ones, unless they are more than this share of all, in percent: otherwise a crowd that
/// does the same would keep everybody else out.
pub const CROWD_PROTECTED_MAX: usize = 50;
/// Bytes in the send queue of a session or chunk connection; one whose queue is full is closed.
pub const SEND_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// A connection whose send queue makes no progress for this long is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// A frame that was begun must be complete within this time; a long one has its length at 16 KiB/s
/// in addition.
pub const FRAME_PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Files that one session may register; a session that registers more gets an ERROR and is closed.
pub const SESSION_FILES_MAX: usize = 1_000_000;
/// Different files in one index, so that an id leaves bits for other use; a session that registers
/// one more gets an ERROR and is closed.
pub const INDEX_ENTRIES_MAX: usize = (1 << 28) - 1;
/// Queries of one session that run at once.
pub const SESSION_QUERIES_MAX: usize = 64;
/// Most JOINs of a session that stand: each is a download or a content that the peer has. One more
/// is refused.
pub const SESSION_JOINS_MAX: usize = 64;
/// Most members of a swarm at one super peer: a place in it takes two bytes. One more is refused.
pub const SWARM_MEMBERS_MAX: usize = 65_535;
/// Most zones of a swarm: a zone takes one byte of a member. Members of one more zone count as
/// members of the first one.
pub const SWARM_ZONES_MAX: usize = 256;
/// How many members are named to each one at most. With random graphs of 8 to 12 the last peer of a
/// swarm finishes within 3 % of the time that it has when all follow all.
pub const SWARM_DEGREE: usize = 12;
/// The same in a swarm of fewer than [`SWARM_SMALL`] members.
pub const SWARM_DEGREE_SMALL: usize = 8;
/// See [`SWARM_DEGREE_SMALL`].
pub const SWARM_SMALL: usize = 50;
/// How many of these come after it: their places are kept for newcomers.
pub const SWARM_NEWER: usize = 3;
/// To how many a member is named, unless others would have almost none.
pub const SWARM_FOLLOWERS_MAX: usize = 24;
/// How many members of a zone import from other zones.
pub const SWARM_GATES: usize = 4;
/// How many members of other zones are named to these.
pub const SWARM_OUTSIDE: usize = 3;
/// In a zone with fewer members all import.
pub const SWARM_GATES_BELOW: usize = 8;
/// Most complete holders that a super peer names beside the members: peers that have registered the
/// content and have not joined.
pub const SWARM_SEEDS_MAX: usize = 16;
/// How many of these are named to a member.
pub const SWARM_SEEDS_NAMED: usize = 2;
/// Members that lack others to follow are named new ones this long after the first change, so that
/// many that come together cost one message.
pub const SWARM_PUSH_AFTER: Duration = Duration::from_millis(100);
/// Pages of REGISTER and UPDATE that a weak peer sends before the first is acknowledged: they leave
/// a quarter of its send queue to everything else.
pub const UPDATES_IN_FLIGHT_MAX: u64 = 3;
/// Collections that a peer keeps; when it makes one more, the oldest goes.
pub const COLLECTIONS_KEPT_MAX: usize = 1024;
/// Files of a collection that are listed at once.
pub const COLLECTION_PAGE_FILES: usize = 256;
/// Small files of a collection that are published together, with one sync for all.
pub const COLLECTION_BATCH_FILES: usize = 1024;
/// A batch of more bytes than this is published at once.
pub const COLLECTION_BATCH_BYTES: u64 = 32 << 20;
/// Holders of a collection that are connected at once, for its small files.
pub const COLLECTION_HOLDERS_MAX: usize = 4;
/// Small files that are requested from a holder before the first has come.
pub const COLLECTION_PIPELINE_MAX: usize = 32;
/// Large files of one collection, and those that no holder serves, that are downloaded at once.
pub const COLLECTION_LARGE_MAX: usize = 4;
/// Files that are missing in the end and are named in the error; the others are counted.
pub const COLLECTION_NAMED_MAX: usize = 10;
/// Paths that a peer describes at once, for `sprat uri`; one more is refused.
pub const DESCRIBING_MAX: usize = 64;
/// How long `sprat uri` waits for files that are written to all the time.
pub const DESCRIBE_STALL_MAX: Duration = Duration::from_secs(30);
/// Commands of clients that run at a weak peer or wait for its session; one more is refused.
pub const COMMANDS_MAX: usize = 1024;
/// Deadlines that one turn of a weak peer acts on.
pub const PEER_TIMERS_PER_TURN: usize = 64;
/// Memory of changes that were not sent to a session before it was lost is freed at this number of
/// changes per turn.
pub const STALE_FREED_PER_TURN: usize = 1024;
/// First wait before the repetition of a request that a super peer refused for lack of room; it
/// doubles.
pub const REFUSED_WAIT_FIRST: Duration = Duration::from_millis(500);
/// Such repetitions of one request before it fails; together they take some 16 s.
pub const REFUSALS_MAX: u32 = 5;
/// First wait before the next offer of files for which a super peer had no memory; it doubles.
pub const REFUSED_FILES_WAIT_FIRST: Duration = Duration::from_secs(5);
/// Longest such wait.
pub const REFUSED_FILES_WAIT_MAX: Duration = Duration::from_secs(300);
/// First wait before super peers are dialed again after all failed. It doubles up to the maximum,
/// with full jitter.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two rounds through the list of super peers, for the first hour without a
/// session: a super peer that returns has its peers back within 5 s.
pub const RECONNECT_MAX: Duration = Duration::from_secs(4);
/// Time without a session for which [`RECONNECT_MAX`] applies.
pub const RECONNECT_SOON: Duration = Duration::from_secs(3600);
/// Longest wait between two rounds through the list after [`RECONNECT_SOON`].
pub const RECONNECT_MAX_LATER: Duration = Duration::from_secs(60);
/// How long a super peer that was restarted waits for the peers that shared files before, at most.
pub const STARTING_MAX: Duration = Duration::from_secs(30);
/// How long after a change the number of peers that share is reported, for the state.
pub const SHARING_REPORT_EVERY: Duration = Duration::from_secs(5);
/// The time over which `status` measures queries and uploads: short enough for a person who
/// watches, and long enough for a source of 1 MiB chunks at 100 KiB/s.
pub const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Files of the share that `status` looks at for the names of those that are sent: 1 ms.
pub const UPLOAD_NAMES_LOOKED_AT_MAX: usize = 65_536;
/// Peers of which a super peer reports in one second one by one that they came or left: enough for
/// a person who watches, and 10,000 peers cost a line a second.
pub const PEERS_REPORTED_PER_SECOND: usize = 10;
/// Changes of the share are reported for the log no more often than this, so that many of them are
/// one line.
pub const SHARE_REPORT_EVERY: Duration = Duration::from_secs(2);
/// A dial that has not connected within this time has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that does not answer HELLO within this time when it is dialed back was not reached.
pub const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time between two dials back of one peer; doubles while it is not reached.
pub const DIAL_BACK_EVERY: Duration = Duration::from_secs(30);
/// The same at most, so that a peer whose firewall was opened is found reachable.
pub const DIAL_BACK_EVERY_MAX: Duration = Duration::from_secs(600);
/// Dials back of one host, or of all names, without a pause; more wait.
pub const DIAL_BACK_HOST_BURST: u32 = 4;
/// Time between two of them after that: 4 a minute.
pub const DIAL_BACK_HOST_EVERY: Duration = Duration::from_secs(15);
/// Hosts whose dials back are remembered; those of one more wait.
pub const DIAL_BACK_HOSTS_MAX: usize = 4096;
/// Dials back at once; more wait.
pub const DIAL_BACKS_AT_ONCE: usize = 256;
/// Peers of which one turn begins dials back; the others are dialed in the next turn.
pub const DIAL_BACKS_PER_TURN: usize = 16;
/// How long `sprat peer` tries to get its first session (`--connect-timeout`).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a one-shot command without a peer looks for a super peer on the local network.
pub const DISCOVERY_MAX: Duration = Duration::from_secs(2);
/// How long a peer that has found a super peer on the local network waits for others.
pub const DISCOVERY_GRACE: Duration = Duration::from_millis(300);
/// Addresses of super peers of the local network that a peer uses; the others are ignored.
pub const DISCOVERED_MAX: usize = 16;

// ---- search -------------------------------------------------------------------------------------

/// Hops of a query that does not say how many (`--ttl`).
pub const TTL_DEFAULT: u8 = 7;
/// A larger TTL is trimmed to this.
pub const TTL_MAX: u8 = 64;
/// Time of a query that does not say how long (`--budget`).
pub const QUERY_BUDGET: Duration = Duration::from_secs(2);
/// The origin ends a query at most this long before its budget, so that DONE reaches the asker in
/// time.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// Longest budget of a query.
pub const QUERY_BUDGET_MAX: Duration = Duration::from_secs(60);
/// Hits kept per query at its origin, and per link and query elsewhere; more hits are a `cap` cut.
pub const QUERY_HITS_MAX: usize = 1000;
/// Pages of a list of the network: some 600 hits each, together more than any index holds.
pub const LIST_PAGES_MAX: u64 = 1 << 18;
/// Sources of one content whose addresses a list distinguishes; for a content with more, only hits
/// are counted.
pub const LIST_SOURCES_MAX: usize = 1 << 16;
/// Names of one content that a list shows, and sizes that it counts.
pub const LIST_NAMES_MAX: usize = 16;
/// Sessions with super peers that one weak peer may hold at once (`--sessions`).
pub const SUPER_SESSIONS_MAX: usize = 2;
/// Index entries that are sorted by their root per turn: a small part of 1 ms.
pub const SCAN_ENTRIES_PER_TURN: usize = 1024;
/// Records of ended sessions that may wait to be removed from the index. If there are more, each
/// new record causes the removal of two of them.
pub const LEFT_OVER_MAX: usize = SESSION_FILES_MAX;
/// Steps per turn that remove files from the index, up to 1 µs each: two for each file that was
/// removed or whose session has ended.
pub const TIDY_STEPS_PER_TURN: usize = 256;
/// Entries and holders that one page of LIST looks at.
pub const LIST_LOOKS_MAX: usize = 16 * 1024;
/// Work of one step of a query before other queries get their step, in the unit of
/// [`WORK_PER_TURN`].
pub const SCAN_WORK_PER_STEP: usize = 1024;
/// After this number of bytes of hits, nothing more is searched for a session in this turn, or, if
/// it does not read, until it reads. One step of a search may exceed it by what it finds.
pub const SESSION_BYTES_PER_TURN: usize = 64 * 1024;
/// Work per turn for all queries together. Looking at an index entry is 1, some 50 ns; comparing a
/// name, a hit, a query or a message counts several. Below 1 ms.
pub const WORK_PER_TURN: usize = 16 * 1024;
/// Work per turn, beside searches, for what can be put off: deadlines that are due, queries that
/// are over, sessions that close. In the same unit.
pub const PUT_OFF_WORK_PER_TURN: usize = 6 * 1024;
/// Most work of one call of the machine, beside searches: what was put off, and the work of one
/// message with as many records as fit in a frame. In the same unit. It follows from the limits of
/// both; the tests check it.
pub const CALL_WORK_MAX: usize = 64 * 1024;
/// How long entries stay sorted by their root after the last page of a list: longer than any query
/// runs.
pub const ORDER_KEPT: Duration = Duration::from_secs(90);
/// Index entries that one query looks at in all; the entries after them are a `cap` cut. Several
/// times what a super peer usually holds, so that it only ends queries whose asker has given up.
pub const SCAN_ENTRIES_MAX: usize = 1 << 23;
/// Super peers that a search can reach: a neighbor that claims more is taken to claim this many.
/// Far more than any network of configured links has, and far from the end of a u32.
pub const REACHED_MAX: u32 = 1_000_000;
/// Bytes of HITs that are sent again before the asker shows that any arrived: 30 usual ones.
pub const REPEATED_BYTES_FIRST: usize = 8 * 1024;
/// Bytes of HITs that are sent again for each byte of HITs that a repetition reports as held for
/// the first time: several, so that half of the datagrams may be lost.
pub const REPEATED_PER_HELD: usize = 4;
/// Queries of one link that wait for their share of the work; one more is refused (`shed`).
pub const LINK_QUERIES_WAITING_MAX: usize = 8192;
/// Hits that queries of neighbors hold in all, running or over: some 200 bytes each. A query that
/// needs one more ends with a `cap` cut.
pub const HITS_HELD_MAX: usize = 1 << 18;
/// Hits that queries of sessions remember in all while they run, so that no source is reported
/// twice: some 24 bytes each. A query that needs one more ends with a `cap` cut.
pub const HITS_SEEN_MAX: usize = 1 << 20;
/// Queries of the network that run here, or are over and kept for repetitions: some 700 bytes each.
/// A full table drops those that were over first; if all of them run, it refuses.
pub const WAVES_MAX: usize = 1 << 16;
/// Query ids per generation of the visited table (there are two), 16 bytes each: more than a second
/// of the heaviest flood that one core can carry.
pub const VISITED_MAX: usize = 1 << 18;
/// Ids that are freed per turn, of a generation that is over.
pub const VISITED_FREED_PER_TURN: usize = 1024;
/// Hits of queries that are over, kept for repetitions: some 200 bytes each. Beyond it those of the
/// oldest queries are dropped, so that many answers with long budgets do not pile up.
pub const HITS_KEPT_MAX: usize = 1 << 17;
/// Age at which the generations of the visited table rotate.
pub const VISITED_GENERATION: Duration = Duration::from_secs(60);
/// Interval at which a link that is up sends HELLO.
pub const LINK_KEEPALIVE: Duration = Duration::from_secs(2);
/// A neighbor that is heard, and does not hear us, counts as silent after this.
pub const LINK_SILENCE_MAX: Duration = Duration::from_millis(6500);
/// Interval at which HELLO is sent on a link that is not up.
pub const LINK_RETRY: Duration = Duration::from_secs(1);
/// A HELLO without an answer is repeated after this, or after the retransmission time if that is
/// longer: so often that a link which loses three of ten datagrams in each direction stays up.
pub const LINK_REPEAT: Duration = Duration::from_millis(250);
/// A link whose HELLOs have had no answer for this long is down: the neighbor does not hear us.
/// With the keepalive it is found within [`LINK_SILENCE_MAX`].
pub const LINK_ANSWER_MAX: Duration = Duration::from_millis(4500);
/// How far the number of a sealed datagram may be behind the greatest one (RFC 6479). Fewer would
/// lose datagrams that a path reorders; they are what the bits of half a page hold.
pub const LINK_REPLAY_WINDOW: u64 = 1984;
/// Age at which the side that began the handshake makes new keys for a link.
pub const LINK_REKEY_AFTER: Duration = Duration::from_secs(120);
/// How much later the other side does, if the first did not.
pub const LINK_REKEY_GRACE: Duration = Duration::from_secs(10);
/// Datagrams under the same keys after which new ones are made.
pub const LINK_REKEY_DATAGRAMS: u64 = 1 << 24;
/// Age at which keys are forgotten: what was recorded before cannot be decrypted any more.
pub const LINK_KEYS_MAX: Duration = Duration::from_secs(180);
/// Wait before another handshake begins because the last one had no answer: a bit shorter than
/// [`LINK_RETRY`], whose HELLO asks for it.
pub const LINK_HANDSHAKE_RETRY: Duration = Duration::from_millis(900);
/// If a neighbor was not heard for this long, its keys may be lost: a handshake begins with what is
/// sent next.
pub const LINK_UNHEARD_MAX: Duration = Duration::from_millis(3500);
/// Initiations that are read per second from hosts of neighbors; one costs some 0.2 ms. Others are
/// dropped.
pub const HANDSHAKES_KNOWN_PER_SECOND: u32 = 256;
/// The same for all other hosts together.
pub const HANDSHAKES_STRANGE_PER_SECOND: u32 = 32;
/// Sockets for single neighbors, so that what strangers send does not displace what they send. With
/// more neighbors some share the common socket.
pub const LINK_SOCKETS_MAX: usize = 32;
/// Greetings without an answer that are passed on for the log, in a second.
pub const DATAGRAM_NOTICES_PER_SECOND: u32 = 64;
/// Addresses whose numbers of datagrams are remembered in open mode.
pub const LINK_ADDRESSES_MAX: usize = LINKS_MAX * DIAL_ADDRESSES_MAX;
/// A link that has not come up within this is reported, with the likely cause.
pub const LINK_TROUBLE_AFTER: Duration = Duration::from_secs(5);
/// Addresses that are no neighbors and whose HELLOs are remembered, for the log; more are counted
/// only.
pub const STRANGERS_MAX: usize = 64;
/// Time after which such an address is reported again, and the window of [`STRANGER_REPORTS_MAX`].
pub const STRANGER_REPORT_EVERY: Duration = Duration::from_secs(600);
/// Lines about such addresses in one window.
pub const STRANGER_REPORTS_MAX: u32 = 16;
/// First wait before the name of a neighbor is resolved again while its link is not up; it doubles.
pub const LINK_RESOLVE_FIRST: Duration = Duration::from_secs(1);
/// The longest of these waits: a neighbor whose address has changed is found again within this.
pub const LINK_RESOLVE_MAX: Duration = Duration::from_secs(15);
/// Shortest wait before a QUERY without an answer is repeated.
pub const QUERY_REPEAT_MIN: Duration = Duration::from_millis(20);
/// How long a super peer without a tree listens before it grows one.
pub const TREE_SETTLE: Duration = Duration::from_millis(500);
/// Shortest time between two trees of one root; doubles with each tree, until one is held for 30 s.
pub const TREE_GAP_MIN: Duration = Duration::from_secs(1);
/// Longest time between two trees, however often the network changes.
pub const TREE_GAP_MAX: Duration = Duration::from_secs(16);
/// A tree that is not complete within this time is given up.
pub const TREE_GROWTH_MAX: Duration = Duration::from_secs(10);
/// After a tree has become void: how long a super peer waits for the next tree of its root, before
/// it accepts one of a higher root or grows one.
pub const TREE_ROOT_PATIENCE: Duration = Duration::from_secs(4);
/// Neighbors of one super peer.
pub const LINKS_MAX: usize = 256;
/// Links that INFO lists, those that are not up first: with long names and all addresses they fit a
/// frame.
pub const INFO_LINKS_MAX: usize = 40;
/// Longest sentence about a link in INFO, in bytes.
pub const INFO_LINK_WHY_BYTES_MAX: usize = 400;
/// Datagrams read per turn, so that a flood cannot starve the sessions.
pub const DATAGRAMS_PER_TURN: usize = 256;

// ---- digests of neighbors' indexes --------------------------------------------------------------

/// Bits that a key sets in a digest: the best number for ten bits per key.
pub const DIGEST_HASHES: usize = 7;
/// Smallest digest of an index, as the logarithm to base 2 of its bits: 128 bytes.
pub const DIGEST_LOG2_MIN: u8 = 10;
/// Largest digest that is made or accepted, as above: 4 MiB, some 1,000,000 files. A neighbor with
/// more files is always asked.
pub const DIGEST_LOG2_MAX: u8 = 25;
/// Memory for the digests of all neighbors, in bytes; each neighbor may use an equal share.
pub const DIGEST_BYTES_ALL: usize = 64 << 20;
/// Bytes of a digest, or of hashes, in one step: with the other fields of the message they fit in a
/// datagram.
pub const DIGEST_STEP_BYTES: usize = 1024;
/// Most steps to one neighbor that may be unacknowledged.
pub const DIGEST_WINDOW: usize = 8;
/// Bytes of digests per second to one neighbor: 2 % of a line of 1 Gbit/s.
pub const DIGEST_BYTES_PER_SECOND: u64 = 2_500_000;
/// Changes are collected for this long before they are sent; until then the neighbor has a mark, so
/// that it sends all its queries.
pub const DIGEST_COALESCE: Duration = Duration::from_secs(1);
/// They are collected longer while files come at shorter intervals than this, so that a long list
/// is handled once, after its last page.
pub const DIGEST_QUIET: Duration = Duration::from_millis(250);
/// But they are collected no longer than this.
pub const DIGEST_COALESCE_MAX: Duration = Duration::from_secs(10);
/// How long a digest may be used after its owner was asked whether it is still valid.
pub const DIGEST_LEASE: Duration = Duration::from_secs(5);
/// How long a super peer that confirmed its digest waits until the lease is over; longer than the
/// lease, because no two clocks run alike.
pub const DIGEST_LEASE_WAIT: Duration = Duration::from_millis(5500);
/// Shortest time between two steps of a neighbor's digest that each need a new large filter. After
/// a second one that comes sooner the copy is dropped, and the owner starts again.
pub const DIGEST_RESIZE_GAP: Duration = Duration::from_millis(10);
/// Files whose keys are hashed per turn: below 1 ms.
pub const DIGEST_FILES_PER_TURN: usize = 256;
/// Bytes per turn that are processed when a digest is halved because it is too large: a small part
/// of 1 ms.
pub const DIGEST_HALVED_PER_TURN: usize = 32 * 1024;
/// New files that are remembered until they are hashed, 4 bytes each; beyond it the digest is
/// rebuilt from the index.
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
/// ACKs that wait for neighbors' marks; a session that needs one more is closed.
pub const ACKS_HELD_MAX: usize = 1 << 16;

const _: () = assert!(REPEATED_BYTES_FIRST > 4 * DATAGRAM_BYTES_MAX);
const _: () = assert!(PUT_OFF_WORK_PER_TURN * 4 <= CALL_WORK_MAX);
const _: () = assert!(ORDER_KEPT.as_secs() > QUERY_BUDGET_MAX.as_secs());
const _: () = assert!(SCAN_WORK_PER_STEP * 4 <= WORK_PER_TURN && HITS_KEPT_MAX < HITS_HELD_MAX);
const _: () = assert!(DIGEST_LEASE.as_millis() < DIGEST_LEASE_WAIT.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() + LINK_ANSWER_MAX.as_millis() <= LINK_SILENCE_MAX.as_millis());
const _: () = assert!(LINK_REPEAT.as_millis() * 4 < LINK_ANSWER_MAX.as_millis());
const _: () = assert!(LINK_HANDSHAKE_RETRY.as_millis() < LINK_RETRY.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() < LINK_UNHEARD_MAX.as_millis());
const _: () = assert!(LINK_REKEY_AFTER.as_secs() + LINK_REKEY_GRACE.as_secs() < LINK_KEYS_MAX.as_secs());
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < LINK_SILENCE_MAX.as_millis());
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() * 2 < DIGEST_LEASE.as_millis());
const _: () = assert!(DIGEST_STEP_BYTES + 128 + DATAGRAM_ENVELOPE_BYTES < DATAGRAM_BYTES_MAX);

// ---- transfer -----------------------------------------------------------------------------------

/// Bytes that the kernel holds for a connection and has not sent once: without a bound it takes
/// megabytes (Linux: `tcp_wmem`), and each of them is a chunk that cannot be taken back.
pub const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// Pieces that are requested from one source and not received.
pub const SOURCE_PIPELINE_MAX: usize = 32;
/// Sources that one download uses at once.
pub const SOURCES_MAX: usize = 16;
/// Sources that one download remembers; if it could dial more, it keeps a random sample.
pub const SOURCES_KNOWN_MAX: usize = 256;
/// Least rate of a source and of a download, in bytes per second. Below it a source is slow: others
/// are asked for its pieces.
pub const SOURCE_RATE_MIN: u64 = 16 * 1024;
/// A source that owes bytes and sends less than the least rate for this long has stalled.
pub const STALL_AFTER: Duration = Duration::from_secs(2);
/// A piece is taken from a slow source only if that saves at least this much time, so that equal
/// sources never duplicate a piece.
pub const STEAL_GAIN_MIN: Duration = Duration::from_millis(500);
/// How far ahead a source is asked, as time at its own rate.
pub const SOURCE_AHEAD: Duration = Duration::from_millis(500);
/// First wait before a lost source is dialed again; doubles up to the maximum.
pub const SOURCE_REDIAL_FIRST: Duration = Duration::from_millis(500);
/// A source is dropped when its connection has ended this many times after WELCOME without a right
/// piece in between.
pub const SOURCE_FRUITLESS_MAX: u32 = 5;
/// Longest wait before the next dial of a source that has always refused as busy.
pub const BUSY_REDIAL_MAX: Duration = Duration::from_secs(60);
/// Longest wait before a lost source is dialed again.
pub const SOURCE_REDIAL_MAX: Duration = Duration::from_secs(5);
/// How long the proof of a download waits for one source before another one is asked in addition.
pub const PROOF_HEDGE: Duration = Duration::from_secs(1);
/// A proof of more than one page that takes longer is stopped if another source waits, which is
/// asked instead. The time of a source doubles each time the source is lost.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of manifests that the sources of one download are asked for at once before one of them is
/// proven; two of the longest fit.
pub const PROOF_BYTES_MAX: u64 = 64 << 20;
/// A source is dropped when it damages a second piece before this many right ones.
pub const PIECES_PER_FAULT: u32 = 64;
/// Dials of an address that never sent WELCOME, per [`DIALS_PERIOD`] and download.
pub const DIALS_PER_ADDRESS: usize = 2;
/// See [`DIALS_PER_ADDRESS`].
pub const DIALS_PERIOD: Duration = Duration::from_secs(600);
/// After this time without a WELCOME, the next address is dialed in addition.
pub const DIAL_HEDGE: Duration = Duration::from_secs(1);
/// An address that never sent WELCOME is given up for now after this time if others wait.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(2);
/// Dials of one download at once.
pub const DIALS_AT_ONCE: usize = 32;
/// Dials of one host at once, at addresses that never sent WELCOME; of all downloads.
pub const HOST_DIALS_AT_ONCE: u32 = 8;
/// Such dials of one host without a pause.
pub const HOST_DIALS_BURST: u32 = 8;
/// Time between two such dials of one host after the burst: a download with 1,000 addresses of one
/// machine makes at most 128 connects in 30 s.
pub const HOST_DIAL_INTERVAL: Duration = Duration::from_millis(250);
/// Hosts whose dials are remembered; addresses of one more wait.
pub const HOSTS_REMEMBERED_MAX: usize = 4096;
/// Addresses of one download that are remembered because they are not dialed again for now; the
/// oldest is forgotten first.
pub const SOURCES_SPENT_MAX: usize = 4096;
/// How long a download goes on without a verified piece and below the least rate (`--timeout`).
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const _: () = assert!(NO_SOURCE_MAX.as_secs() < DOWNLOAD_TIMEOUT.as_secs());
/// Verified pieces of one download that the disk has not written; while there are as many, nothing
/// more is requested.
pub const WRITES_PENDING_MAX: usize = 48;
/// Shortest time between two queries for sources of a download that lost one, or that takes longer
/// than this and knows no other source.
pub const REQUERY_INTERVAL: Duration = Duration::from_secs(5);
/// A download without a connected source or an address to dial searches for this long before it
/// fails.
pub const NO_SOURCE_MAX: Duration = Duration::from_secs(30);
/// A source is dropped at this many MD5 mismatches over right bytes.
pub const MD5_MISMATCHES_MAX: u32 = 3;
/// Downloads of one peer that run at once; more wait.
pub const DOWNLOADS_MAX: usize = 8;
/// Downloads that wait; one more is refused.
pub const DOWNLOADS_WAITING_MAX: usize = 1000;
/// Names of one `get`.
pub const GET_NAMES_MAX: usize = 100_000;
/// Files of one `get`: some 300 bytes each. With more, it is refused.
pub const GET_FILES_MAX: usize = 1_000_000;
/// Files of more than one piece that one command has as downloads at once: half of all that run, so
/// that another command gets its turn.
pub const BATCH_DOWNLOADS_MAX: usize = DOWNLOADS_MAX / 2;
/// Files of at most one piece that are downloaded at once for commands that fetch several files:
/// enough that the disk publishes several together, and few enough for a source that serves others
/// too.
pub const SMALL_DOWNLOADS_MAX: usize = 32;
/// Connections to sources that are kept for the next small file.
pub const IDLE_CONNS_MAX: usize = 2 * SMALL_DOWNLOADS_MAX;
/// Failures that the end of a command of many files names; the others are counted.
pub const BATCH_FAILURES_NAMED: usize = 8;
/// Downloads of the queue that run at once (`--parallel`).
pub const PARALLEL: usize = 4;
/// Downloads in the queue that have not ended; one more is refused.
pub const QUEUE_ENTRIES_MAX: usize = 1000;
/// Downloads that have ended and are still listed; if there are more, the oldest are forgotten.
pub const QUEUE_ENDED_MAX: usize = 100;
/// Clients that wait for one download; one more is refused.
pub const QUEUE_WATCHERS_MAX: usize = 64;
/// First wait of a download without a source until it searches again; doubles up to the maximum.
pub const QUEUE_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest wait of a download without a source until it searches again.
pub const QUEUE_RETRY_MAX: Duration = Duration::from_secs(300);
/// Longest wait of a download without a source once a session is up again.
pub const QUEUE_RETRY_SESSION: Duration = Duration::from_secs(5);
/// Wait until the queue is saved again after the disk has failed.
pub const QUEUE_SAVE_RETRY: Duration = Duration::from_secs(30);
/// Chunk requests that are queued for one connection; one more gets an ERROR.
pub const UPLOAD_REQUESTS_MAX: usize = 64;
/// Most chunks of one connection that are prepared ahead, beside the one that is being sent:
/// together as many as there are MD5 lanes. A connection that has taken little gets fewer: one
/// chunk, and as many bytes as it has taken.
pub const UPLOAD_AHEAD: usize = 15;
/// More are prepared once no more than this many are left, so that several are prepared together.
pub const UPLOAD_AHEAD_LOW: usize = 4;
/// Chunks of one connection that are in its send queue at once; later ones can still be canceled.
pub const UPLOAD_SENDING_MAX: usize = 3;
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
/// How long a download waits for the members that its super peer names, before it dials the sources
/// that a search has found.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(1);
/// How long a peer that has completed a download stays in its swarm at most (`--linger`).
pub const LINGER: Duration = Duration::from_secs(10);
/// A peer leaves a swarm earlier if nobody has asked it for anything for this long.
pub const LINGER_QUIET: Duration = Duration::from_secs(2);
/// How often a peer looks whether anybody still needs it.
pub const LINGER_LOOK: Duration = Duration::from_millis(200);
/// A download in a swarm that follows fewer members than this asks its super peers for others.
pub const FOLLOWS_MIN: usize = 4;
/// Shortest time between two such requests.
pub const REFOLLOW_INTERVAL: Duration = Duration::from_secs(2);
/// Pieces that a download in a swarm is asking for before it waits for more turns.
pub const SWARM_FETCHES_MAX: usize = 8;
/// How often a download in a swarm looks for stalls.
pub const SWARM_TICK: Duration = Duration::from_millis(100);
/// A followed source that has begun a piece and sends nothing for this long, and for eight piece
/// times, has stalled.
pub const SILENT_MIN: Duration = Duration::from_millis(200);
/// In a swarm a piece is taken from a slow source if that saves this much time, and two piece
/// times.
pub const STEAL_GAIN_SWARM: Duration = Duration::from_millis(50);
/// A followed source is dropped when this many announced pieces were not there.
pub const ABSENT_MAX: u32 = 3;
/// Followers of one content at one peer; one more gets ERROR 5, and follows others.
pub const FOLLOWERS_MAX: usize = 24;
/// Chunks that are sent at once to followers, over all connections (`--uploads`): few, so that a
/// follower has a complete piece soon and can pass it on.
pub const TURNS: usize = 4;
/// The same, with those that make little progress.
pub const TURNS_OPEN_MAX: usize = 16;
/// A turn that is not used for this long is void.
pub const TURN_UNUSED_MAX: Duration = Duration::from_secs(2);
/// A chunk that takes longer than this, and four times as long as others, takes no place among the
/// [`TURNS`].
pub const TURN_SLOW: Duration = Duration::from_millis(200);
/// Contents whose least-sent pieces are remembered for followers; the others are advised nothing.
pub const SEEDS_MAX: usize = 64;
/// Bytes of the bits in one HAS: a content of up to 256 GiB in one message.
pub const HAS_BITS_MAX: usize = 32 * 1024;
/// Pieces in the list of one HAS.
pub const HAS_LIST_MAX: usize = 8192;
/// A chunk connection without a request for this long is closed.
pub const CHUNK_IDLE_MAX: Duration = Duration::from_secs(60);
/// Shortest time between two progress events of one download.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

// ---- memory -------------------------------------------------------------------------------------

/// Least memory budget of a super peer without `--memory`, in bytes; the budget is half of the
/// memory of the machine or cgroup if that is more.
pub const MEMORY_BUDGET_MIN: usize = 256 << 20;
/// Smallest memory budget that may be named (`--memory`), in bytes: an idle super peer takes less
/// than 1 MiB, and some thousand sessions should fit.
pub const MEMORY_NAMED_MIN: usize = 16 << 20;
/// Share of the budget, in percent, that records may fill: what is registered stays, and queries
/// and sessions need the rest.
pub const MEMORY_RECORDS_PERCENT: usize = 70;
/// Share of the budget, in percent, above which new sessions, queries and records are refused.
pub const MEMORY_SHORT_PERCENT: usize = 80;
/// Share of the budget, in percent, above which the connections with the longest send queues are
/// closed.
pub const MEMORY_CLOSE_PERCENT: usize = 95;
/// Freed memory is given back to the system once it is this much, in bytes.
pub const GIVE_BACK_BYTES: usize = 4 << 20;
/// Shortest time between two such returns, which take time for much memory.
pub const GIVE_BACK_GAP: Duration = Duration::from_secs(5);
/// But this much is given back at once, in bytes: what one turn gives back takes some 20 ms at
/// most, however much a session held that leaves.
pub const GIVE_BACK_STEP: usize = 16 << 20;

const _: () = assert!(GIVE_BACK_BYTES < GIVE_BACK_STEP);

const _: () = assert!(MEMORY_RECORDS_PERCENT < MEMORY_SHORT_PERCENT && MEMORY_SHORT_PERCENT < MEMORY_CLOSE_PERCENT);
const _: () = assert!(MEMORY_NAMED_MIN <= MEMORY_BUDGET_MIN && MEMORY_CLOSE_PERCENT < 100);

// ---- share --------------------------------------------------------------------------------------

/// A file is hashed once it has not changed for this long.
pub const SHARE_QUIET: Duration = Duration::from_millis(1000);
/// The same for a file that is open for writing, or may be: its writer may pause.
pub const SHARE_OPEN_QUIET: Duration = Duration::from_secs(10);
/// Pause between two slow scans of the share, for what no watcher reports.
pub const SHARE_RESCAN: Duration = Duration::from_mins(10);

/// Most open files of processes that one scan looks at to find those that are being written. A file
/// that is not found among them counts as closed.
pub const WRITERS_LOOKED_AT_MAX: usize = 100_000;
/// Most files of at most one piece that are published together.
pub const PUBLISH_BATCH_MAX: usize = 1024;
/// From this number on, files that are published together are synced by one syncfs, which syncs the
/// complete file system, and not each by itself.
pub const SYNCFS_FILES_MIN: usize = 4;
/// Most folders that a peer shares: each has a watcher with a thread of its own.
pub const SHARES_MAX: usize = 64;
/// Most paths of a share that are not shared and are counted; further ones are not counted.
pub const LEFT_OUT_MAX: usize = 1_000_000;
/// Longest `.spratignore`, in bytes. A folder with a longer one is not shared.
pub const RULES_BYTES_MAX: u64 = 64 * 1024;
/// Most `.spratignore` files of a share. A folder with a further one is not shared.
pub const RULES_FILES_MAX: usize = 1000;

const _: () = assert!(SHARE_QUIET.as_millis() < SHARE_OPEN_QUIET.as_millis());

// ---- HTTP ---------------------------------------------------------------------------------------

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
/// But not in this time from the start of its answer.
pub const HTTP_RATE_AFTER: Duration = Duration::from_secs(5);
/// Chunks of one answer that are prepared or in the send queue at once.
pub const HTTP_CHUNKS_AHEAD: usize = 4;
/// Entries on one page of a folder; the others are on the next.
pub const HTTP_LISTING_MAX: usize = 1000;
/// Sources of one content that a Metalink names.
pub const HTTP_SOURCES_MAX: usize = 64;
/// How long the search for the sources of a content may take; after it, those that were found are
/// named.
pub const HTTP_SEARCH_MAX: Duration = Duration::from_secs(2);
/// How long the sources of a content are remembered.
pub const HTTP_SOURCES_KEPT: Duration = Duration::from_secs(30);
/// Contents whose sources are remembered; the oldest is forgotten first.
pub const HTTP_SOURCES_KNOWN_MAX: usize = 256;
/// Contents whose MD5s are being computed or wait for it; a request for one more gets 503.
pub const HTTP_HASHING_MAX: usize = 64;
/// MD5s of pieces that are remembered, 16 bytes each; the contents that were asked for first go
/// first.
pub const HTTP_MD5S_MAX: usize = 1 << 16;
/// Pieces that a Metalink lists: with more, its pieces are longer.
pub const HTTP_PIECES_MAX: u64 = 2048;

/// Bytes of pages, Metalinks and snapshots that wait to be written, of all connections; a request
/// that would add to more gets 503.
pub const HTTP_TEXT_BYTES_MAX: usize = 16 << 20;
/// How often a viewer of the page gets a snapshot.
pub const HTTP_TICK: Duration = Duration::from_secs(1);
/// Viewers of the page at once; one more gets 503, and the page asks for snapshots instead.
pub const HTTP_VIEWERS_MAX: usize = 16;
/// A viewer with more bytes than this in its send queue gets no snapshot until they are written.
pub const HTTP_VIEWER_BYTES_MAX: usize = 64 * 1024;
/// Events that are kept for viewers that come back.
pub const HTTP_EVENTS_KEPT: usize = 256;
/// Hits of a search of the page.
pub const HTTP_HITS_MAX: usize = 200;
/// Sessions that a snapshot lists.
pub const HTTP_SESSIONS_MAX: usize = 200;
/// Longest content whose Metalink also has the MD5 of all of it, in bytes. That MD5 cannot be
/// computed in lanes, and takes some 2 s for each GiB.
pub const HTTP_WHOLE_MD5_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(HTTP_HEAD_BYTES_MAX + HTTP_BODY_BYTES_MAX < READ_SCRATCH_BYTES);
const _: () = assert!(HTTP_PIECES_MAX as usize <= HTTP_MD5S_MAX);

// ---- the loop -----------------------------------------------------------------------------------

/// Longest turn that the histogram of turns distinguishes from longer ones, in microseconds: 60 s.
pub const TURN_MICROS_MAX: u64 = 60_000_000;
/// Bytes read per connection and turn; a connection with more to read goes to the back of the run
/// queue.
pub const TURN_BYTES_PER_CONNECTION: usize = 256 * 1024;
/// Bytes of files written per turn, shared equally by the connections that have some to write: two
/// chunks. More than is read, because these bytes are not copied.
pub const TURN_BYTES_WRITTEN: usize = 2 * 1024 * 1024;
/// Bytes of files that a connection may write per turn in any case: what one system call usually
/// sends.
pub const TURN_BYTES_WRITTEN_MIN: usize = 64 * 1024;
/// Time of a turn after which nothing more is read in it, whatever is left: a turn that is long
/// makes everybody wait.
pub const TURN_READ_MAX: Duration = Duration::from_micros(500);
/// Connections on which a turn writes what was queued.
pub const FLUSHES_PER_TURN: usize = 256;
/// Deadlines of sockets that one turn acts on.
pub const DEADLINES_PER_TURN: usize = 256;
/// After a gap of this length between two turns, in which the process or the computer was stopped,
/// no timer fires before all input that has come is read.
pub const TURN_GAP_LONG: Duration = Duration::from_secs(1);
/// Most turns for which timers wait after such a gap.
pub const CATCHING_UP_TURNS_MAX: u32 = 1024;
/// Connections accepted per listener and turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Deadlines of sockets that are kept in addition to two per connection; if there are more, entries
/// that are not valid any more are removed.
pub const DEADLINES_SPARE: usize = 64;
/// Descriptors that are kept back for files, the watcher, the control socket, and newcomers until
/// idle connections are closed for them: an eighth of the limit within these bounds, but at most
/// half of it.
pub const DESCRIPTORS_RESERVED_MIN: usize = 64;
/// Above this the reserve does not grow: a quarter is for newcomers, a quarter for the control
/// socket, the rest for files.
pub const DESCRIPTORS_RESERVED_MAX: usize = 256;
/// How many of `descriptors` are kept back.
#[must_use]
pub fn descriptors_reserved(descriptors: usize) -> usize {
    (descriptors / 8).clamp(DESCRIPTORS_RESERVED_MIN, DESCRIPTORS_RESERVED_MAX).min(descriptors / 2)
}
/// Connections that are closed together after the system has no descriptor left.
pub const CROWD_BATCH: usize = 8;
/// Connections refused per [`ACCEPT_RETRY`] while descriptors are short; the rest waits in the
/// kernel.
pub const REFUSALS_PER_RETRY: usize = 64;
/// After descriptors ran out, when to accept again if none was freed here.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a daemon that was asked to end waits until its BYEs are written.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Longest line on a control socket, in bytes.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 * 1024;
/// How long a node whose work is done (a one-shot command) waits until its BYEs are written.
pub const DRAIN_DONE_MAX: Duration = Duration::from_millis(500);
/// Events taken from the poll at once; after a full batch the timers wait, so that queued input is
/// read first.
pub const EVENTS_PER_TURN: usize = 1024;
/// Consecutive turns after which due timers fire in any case.
pub const TIMERS_PUT_OFF_TURNS_MAX: u32 = 32;
/// The one buffer that all connections of a loop are read into, in bytes.
pub const READ_SCRATCH_BYTES: usize = 64 * 1024;
/// A send queue longer than this, in bytes, is written before the turn ends. While that is not
/// possible, nothing more is read from that connection, so that pipelined requests wait at their
/// sender.
pub const SEND_QUEUE_BYTES_EARLY: usize = 64 * 1024;
/// A send queue that is longer than this, in bytes, after an attempt to write it is a backlog: the
/// other side does not read. Until it is written, its queries wait and nothing is read from it. So
/// a session that never reads costs at most this memory, plus twice [`SESSION_BYTES_PER_TURN`], one
/// step of a search, and its queries.
pub const BACKLOG_BYTES: usize = 16 * 1024;
/// Connections that wait in the kernel to be accepted, per listener.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Tries to find a port number that is free for both TCP and UDP, if any port will do.
pub const PORT_PAIR_TRIES: usize = 16;
/// How long a closed connection is still read, and its bytes discarded, so that a reset does not
/// overtake the last frames.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// How many bytes of a closed connection are read at most.
pub const LINGER_BYTES_MAX: usize = 4 << 20;
/// Chunk buffers of 1 MiB in use at once, each from the first byte until the piece is written;
/// while all are in use, further chunks stay unread in their sockets.
pub const CHUNK_BUFFERS_MAX: usize = 64;
/// Empty chunk buffers of 1 MiB that are kept once none is in use; until then all are kept.
pub const CHUNK_BUFFERS_KEPT: usize = 8;
/// Empty frame buffers that are kept.
pub const FRAME_BUFFERS_KEPT: usize = 64;
/// Longest frame buffer that is kept, in bytes.
pub const FRAME_BUFFER_BYTES_KEPT: usize = 16 * 1024;
/// Host names that wait for the resolver; one more counts as one that does not resolve. All
/// neighbors of a super peer may wait.
pub const RESOLVES_WAITING_MAX: usize = LINKS_MAX;
/// Threads that resolve host names, so that a name whose servers do not answer holds up few others.
pub const RESOLVER_THREADS: usize = 4;
/// Addresses of one host name that are used: dialed one after the other, or greeted.
pub const DIAL_ADDRESSES_MAX: usize = 8;
/// Connections to the control socket at once; one more takes the place of the longest idle one, or
/// is closed if all of them wait for answers.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// Clients of the control socket that are accepted per turn; their first lines are read in the same
/// turn, so that a crowd cannot displace a client that has asked.
pub const CONTROL_ACCEPTS_PER_TURN: usize = 32;
/// Commands that run at once on one control connection; one more ends at once with exit 2.
pub const CONTROL_COMMANDS_MAX: usize = 64;
/// Lines taken from all control connections together per turn.
pub const CONTROL_LINES_PER_TURN: usize = 64;
/// Bytes in the send queue of a control connection; one whose queue is full is closed.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Errors of sent datagrams read per turn; more wait for the next one.
pub const DATAGRAM_ERRORS_PER_TURN: usize = 16;
/// Receive buffer requested for the UDP socket, in bytes: a burst of a turn's datagrams fits in it.
pub const DATAGRAM_BUFFER_BYTES: usize = 1 << 20;

const _: () = assert!(READ_SCRATCH_BYTES >= FRAME_BYTES_LOGIN && READ_SCRATCH_BYTES <= TURN_BYTES_PER_CONNECTION);
const _: () = assert!(PARALLEL <= DOWNLOADS_MAX);
const _: () =
    assert!(CONTROL_ACCEPTS_PER_TURN < CONTROL_CLIENTS_MAX && CONTROL_ACCEPTS_PER_TURN <= CONTROL_LINES_PER_TURN);
const _: () =
    assert!(CONTROL_CLIENTS_MAX * 4 <= DESCRIPTORS_RESERVED_MAX && ACCEPTS_PER_TURN * 4 <= DESCRIPTORS_RESERVED_MAX);
const _: () = assert!(CROWD_PLAN_MAX <= UPLOADS_MAX && CROWD_PLAN_MAX < UNAUTHENTICATED_MAX);
const _: () = assert!(CHUNK_BUFFERS_KEPT <= CHUNK_BUFFERS_MAX);
const _: () = assert!(UPLOAD_AHEAD_LOW < UPLOAD_AHEAD && UPLOAD_AHEAD < UPLOAD_REQUESTS_MAX);
const _: () = assert!(WRITES_PENDING_MAX < CHUNK_BUFFERS_MAX && SOURCE_PIPELINE_MAX <= UPLOAD_REQUESTS_MAX / 2);
const _: () = assert!(BACKLOG_BYTES <= SEND_QUEUE_BYTES_EARLY && SEND_QUEUE_BYTES_EARLY < SEND_QUEUE_BYTES_MAX);
