//! Limits of sessions: login, silence, queues, and how a peer gets and keeps its super peers.

use std::time::Duration;

/// Time from accept to READY on a session, and from accept to HELLO on a chunk connection. A weak
/// peer waits as long for READY. Received bytes do not extend this time (they did in tls-listener:
/// CVE-2024-28854).
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(5);
/// Interval at which a weak peer that has nothing else to send sends PING. The super peer chooses
/// it, in WELCOME.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest such interval: a peer does not send PING more often.
pub const PING_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A session that is silent for three intervals of PING is closed. This is the time with the
/// default interval, which is also the longest.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(90);
/// A weak peer that gets no answer to PING, REGISTER or UPDATE within this time regards the super
/// peer as dead.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Connections that have not logged in. When one more arrives, the host with the most of these
/// connections is chosen, and its connection that has been idle longest is closed.
pub const UNAUTHENTICATED_MAX: usize = 2048;
/// Login mode: time in which a connection that has not logged in is not closed for another one. The
/// time begins at the accept, and again when the ClientHello is answered and when the handshake is
/// complete. It allows for two round trips to a distant host. If fewer than [`UNAUTHENTICATED_MAX`]
/// connections are allowed, it is shorter in proportion.
pub const HALF_OPEN_GRACE: Duration = Duration::from_millis(500);
/// The share of one host is the number of connections that may be without a login, divided by this:
/// 32 of 2,048. [`HALF_OPEN_GRACE`] does not protect a host that has more of these connections.
pub const HALF_OPEN_SHARES: usize = 64;
/// While no connection may be closed, new ones wait in the kernel. After this time the node looks
/// again.
pub const HALF_OPEN_RETRY: Duration = Duration::from_millis(10);
/// Bytes that are read from a connection in login mode before it has logged in, TLS included. A
/// handshake takes less. rustls by itself would hold a message of 64 KiB. Further bytes wait in the
/// kernel.
pub const EARLY_BYTES_MAX: usize = 8 * 1024;
/// Connections whose handshake has something to compute. While there are this many, no more
/// connections are accepted. Further ones wait in the kernel, so that none must be closed when many
/// come back at the same time.
pub const HANDSHAKES_READY_MAX: usize = 256;
/// Connections in a handshake that one turn handles at most. The turn stops after the first
/// handshake that computes with keys, so that handshakes take a small part of a busy loop.
pub const HANDSHAKES_PER_TURN: usize = 64;
/// Handshakes that one address may begin in a burst: all peers of a site with one address may come
/// back together.
pub const ADDRESS_HANDSHAKES_BURST: u64 = 1024;
/// Handshakes per second by which the burst of an address is refilled. No measurement gave this
/// value.
pub const ADDRESS_HANDSHAKES_PER_SECOND: u64 = 256;
/// Addresses whose handshakes are counted one by one; all others count together.
pub const ADDRESSES_MAX: usize = 4096;
/// Shortest time between two sweeps that remove addresses which need not be counted any more. A
/// sweep takes some 50 µs. If [`ADDRESSES_MAX`] addresses are counted one by one, new addresses
/// that arrive between two sweeps are counted together.
pub const ADDRESSES_SWEPT_EVERY: Duration = Duration::from_millis(100);
/// Most sessions that are examined in order to choose some to close because descriptors are short.
pub const CROWD_LOOKS_MAX: usize = 1024;
/// Connections that are chosen together for closing. They are closed one by one, as new ones
/// arrive.
pub const CROWD_PLAN_MAX: usize = 32;
/// While a node is full, a connection that got an answer counts as busy for this long, because it
/// may be about to send another request.
pub const CROWD_FRESH: Duration = Duration::from_secs(1);
/// A part of all connections, in percent. While a node is full, idle connections are closed first,
/// then connections that wait for an answer, then sessions with files. A rank protects its
/// connections only while at most this part of all connections has this rank or a higher one.
/// Otherwise a crowd of such connections would keep everybody else out.
pub const CROWD_PROTECTED_MAX: usize = 50;
/// Bytes in the send queue of a session or chunk connection. A connection whose queue is full is
/// closed.
pub const SEND_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// A connection whose send queue makes no progress for this long is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// A frame that was begun must be complete within this time, plus 1 s for each 16 KiB of its
/// length.
pub const FRAME_PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Files that one session may register. A session that registers more gets an ERROR and is closed.
pub const SESSION_FILES_MAX: usize = 1_000_000;
/// Files of one REGISTER or UPDATE that are added and removed at once. Each takes some 2 µs while
/// the index is small, and 5 µs with 1,000,000 files. A page with more files is processed in
/// slices.
pub const PAGE_FILES_AT_ONCE: usize = 96;
/// Files of such pages that are processed in one turn, for all sessions together.
pub const PUT_OFF_FILES_PER_TURN: usize = 2 * PAGE_FILES_AT_ONCE;
/// Pages that are processed in slices at the same time. Each holds one frame. A further page is
/// processed at once.
pub const PAGES_PUT_OFF_MAX: usize = 64;
/// Different files in one index. The limit leaves bits of an id for other use. A session that
/// registers one more file gets an ERROR and is closed.
pub const INDEX_ENTRIES_MAX: usize = (1 << 28) - 1;
/// Queries of one session that run at once.
pub const SESSION_QUERIES_MAX: usize = 64;
/// JOINs of one session at the same time. Each is for a download, or for a content that the peer
/// has. One more is refused.
pub const SESSION_JOINS_MAX: usize = 64;
/// Pages of REGISTER and UPDATE that a weak peer sends before the first is acknowledged. They leave
/// a quarter of its send queue to everything else.
pub const UPDATES_IN_FLIGHT_MAX: u64 = 3;
/// Commands of clients that run at a weak peer or wait for its session. One more is refused.
pub const COMMANDS_MAX: usize = 1024;
/// Deadlines that one turn of a weak peer acts on.
pub const PEER_TIMERS_PER_TURN: usize = 64;
/// After the loss of a session, the changes of the share that were not sent on it are freed: this
/// many per turn.
pub const STALE_FREED_PER_TURN: usize = 1024;
/// First wait before a weak peer repeats a request that its super peer refused because it had no
/// room. The wait doubles each time.
pub const REFUSED_WAIT_FIRST: Duration = Duration::from_millis(500);
/// Such repetitions of one request before it fails; together they take some 16 s.
pub const REFUSALS_MAX: u32 = 5;
/// First wait before a weak peer again registers files for which its super peer had no memory. The
/// wait doubles each time.
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
/// How long a restarted super peer waits, at most, for the peers that shared files before.
pub const STARTING_MAX: Duration = Duration::from_secs(30);
/// How long after a change the number of sharing peers is reported, so that the node can store it.
pub const SHARING_REPORT_EVERY: Duration = Duration::from_secs(5);
/// The time over which `status` measures queries and uploads: short enough for a person who
/// watches, and long enough to measure a source that sends chunks of 1 MiB at 100 KiB/s.
pub const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Peers per second whose arrival or end a super peer reports one by one: enough for a person who
/// watches. Further ones are counted in one line, so that 10,000 peers need one line per second.
pub const PEERS_REPORTED_PER_SECOND: usize = 10;
/// A dial that has not connected within this time has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that does not answer HELLO within this time when it is dialed back was not reached.
pub const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time between two dials back of one peer. The time doubles while the peer is not
/// reached.
pub const DIAL_BACK_EVERY: Duration = Duration::from_secs(30);
/// Longest time between two dials back of one peer. A peer whose firewall was opened is found
/// reachable within it.
pub const DIAL_BACK_EVERY_MAX: Duration = Duration::from_secs(600);
/// Dials back of one host, or of all names, that are made without a pause. Further ones wait.
pub const DIAL_BACK_HOST_BURST: u32 = 4;
/// Time between two further dials back of one host: 4 per minute.
pub const DIAL_BACK_HOST_EVERY: Duration = Duration::from_secs(15);
/// Hosts whose dials back are remembered. Dials back of other hosts wait.
pub const DIAL_BACK_HOSTS_MAX: usize = 4096;
/// Dials back at the same time. Further ones wait.
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
/// Addresses of one host name that are used: dialed one after the other, or, for a neighbor, each
/// sent HELLO.
pub const DIAL_ADDRESSES_MAX: usize = 8;
