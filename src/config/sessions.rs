//! Limits of sessions: login, silence, queues, and how a peer gets and keeps its super peers.

use std::time::Duration;

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
/// handshake takes less. rustls by itself would hold a message of 64 KiB. What is sent beyond this
/// waits in the kernel.
pub const EARLY_BYTES_MAX: usize = 8 * 1024;
/// Connections whose handshake has something to compute. While there are this many, no more are
/// accepted: further ones wait in the kernel, so that none has to be dropped when many come back at
/// once.
pub const HANDSHAKES_READY_MAX: usize = 256;
/// Connections in a handshake that one turn looks at. It ends with the first that computes with
/// keys, so that handshakes take a small part of a busy loop.
pub const HANDSHAKES_PER_TURN: usize = 64;
/// Handshakes that one address may begin at once: all peers of a site with one address may come
/// back together.
pub const ADDRESS_HANDSHAKES_BURST: u64 = 1024;
/// Handshakes that one address may begin per second after that. The number is a choice.
pub const ADDRESS_HANDSHAKES_PER_SECOND: u64 = 256;
/// Addresses whose handshakes are counted one by one; all others count together.
pub const ADDRESSES_MAX: usize = 4096;
/// Shortest time between two sweeps that remove addresses which need not be counted any more. A
/// sweep takes some 50 µs. New addresses that come between two sweeps count together.
pub const ADDRESSES_SWEPT_EVERY: Duration = Duration::from_millis(100);
/// Most sessions that are looked at when some are chosen to be closed because descriptors are
/// short.
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
/// A frame that was begun must be complete within this time, plus 1 s for each 16 KiB of its
/// length.
pub const FRAME_PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Files that one session may register; a session that registers more gets an ERROR and is closed.
pub const SESSION_FILES_MAX: usize = 1_000_000;
/// Files of one REGISTER or UPDATE that are added and removed at once: some 2 µs each while the
/// index is small, and 5 µs with 1,000,000 files. With more, the page is done in slices.
pub const PAGE_FILES_AT_ONCE: usize = 96;
/// Files of such pages that are done in one turn, of all sessions.
pub const PUT_OFF_FILES_PER_TURN: usize = 2 * PAGE_FILES_AT_ONCE;
/// Pages that are being done in slices, of one frame each; one more is done at once.
pub const PAGES_PUT_OFF_MAX: usize = 64;
/// Different files in one index, so that an id leaves bits for other use; a session that registers
/// one more gets an ERROR and is closed.
pub const INDEX_ENTRIES_MAX: usize = (1 << 28) - 1;
/// Queries of one session that run at once.
pub const SESSION_QUERIES_MAX: usize = 64;
/// JOINs of one session at once: each is a download or a content that the peer has. One more is
/// refused.
pub const SESSION_JOINS_MAX: usize = 64;
/// Pages of REGISTER and UPDATE that a weak peer sends before the first is acknowledged: they leave
/// a quarter of its send queue to everything else.
pub const UPDATES_IN_FLIGHT_MAX: u64 = 3;
/// Commands of clients that run at a weak peer or wait for its session; one more is refused.
pub const COMMANDS_MAX: usize = 1024;
/// Deadlines that one turn of a weak peer acts on.
pub const PEER_TIMERS_PER_TURN: usize = 64;
/// Changes that are freed per turn, of those that were not sent to a session before it was lost.
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
/// watches, and long enough to measure a source that sends chunks of 1 MiB at 100 KiB/s.
pub const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Peers whose arrival or end a super peer reports one by one in one second: enough for a person
/// who watches. Further ones are counted in one line, so that 10,000 peers cost a line a second.
pub const PEERS_REPORTED_PER_SECOND: usize = 10;
/// A dial that has not connected within this time has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that does not answer HELLO within this time when it is dialed back was not reached.
pub const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time between two dials back of one peer; doubles while it is not reached.
pub const DIAL_BACK_EVERY: Duration = Duration::from_secs(30);
/// Greatest value of that time: a peer whose firewall was opened is found reachable within it.
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
/// Sessions with super peers that one weak peer may hold at once (`--sessions`).
pub const SUPER_SESSIONS_MAX: usize = 2;
/// Addresses of one host name that are used: dialed one after the other, or greeted.
pub const DIAL_ADDRESSES_MAX: usize = 8;
