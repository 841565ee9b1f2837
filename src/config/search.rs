//! Limits of queries: hits, work per turn, and what is kept for repetitions.

use std::time::Duration;

use super::sessions::SESSION_FILES_MAX;

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
/// Shortest wait before a QUERY without an answer is repeated.
pub const QUERY_REPEAT_MIN: Duration = Duration::from_millis(20);
/// SUBSCRIBEs of one session in force: one more is refused. A weak peer has as many.
pub const SESSION_SUBSCRIPTIONS_MAX: usize = 8;
/// SUBSCRIBEs of all sessions in force, some 100 bytes each: one more is refused.
pub const SUBSCRIPTIONS_MAX: usize = 8192;
/// Different searches among these, some 5 KiB each: each new file is compared with all of them. One
/// more is refused.
pub const STANDING_SEARCHES_MAX: usize = 256;
/// Hits that one subscription gets in a second; more are dropped and counted, and found by the next
/// search of the subscriber.
pub const SUBSCRIPTION_HITS_PER_SECOND: u32 = 100;
/// New files that wait to be compared with the searches of subscriptions, 8 bytes each. Further
/// ones are not reported to subscribers, and are counted.
pub const ARRIVALS_MAX: usize = 1 << 16;
/// How often a subscriber searches the network itself: a file anywhere is found after at most this.
pub const SUBSCRIBER_SEARCH_EVERY: Duration = Duration::from_secs(60);
/// Downloads that one `sprat subscribe` has running or in the queue at once; others wait.
pub const SUBSCRIBER_DOWNLOADS_MAX: usize = 8;
/// Downloads that so wait; one more is reported and not fetched.
pub const SUBSCRIBER_WAITING_MAX: usize = 10_000;
/// Files that wait for the program of `--exec`; for one more it is not run, which is reported.
pub const SUBSCRIBER_RUNS_WAITING_MAX: usize = 1000;
/// Contents that a subscription remembers as reported, in each of two generations, 32 bytes each.
/// An older one may be reported again.
pub const SUBSCRIPTION_ROOTS_KEPT: usize = 1 << 15;

const _: () = assert!(PUT_OFF_WORK_PER_TURN * 4 <= CALL_WORK_MAX);
const _: () = assert!(ORDER_KEPT.as_secs() > QUERY_BUDGET_MAX.as_secs());
const _: () = assert!(SCAN_WORK_PER_STEP * 4 <= WORK_PER_TURN && HITS_KEPT_MAX < HITS_HELD_MAX);
