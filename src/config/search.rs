//! Limits of queries: hits, work per turn, and what is kept for repetitions.

use std::time::Duration;

use super::sessions::SESSION_FILES_MAX;

/// Hops of a query that does not state a number (`--ttl`).
pub const TTL_DEFAULT: u8 = 7;
/// A larger TTL is reduced to this.
pub const TTL_MAX: u8 = 64;
/// Time of a query that does not state a budget (`--budget`).
pub const QUERY_BUDGET: Duration = Duration::from_secs(2);
/// The origin ends a query this long before the end of its budget, or less, so that DONE reaches
/// the asker in time.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// Longest budget of a query.
pub const QUERY_BUDGET_MAX: Duration = Duration::from_secs(60);
/// Hits that are kept per query at its origin, and per link and query elsewhere. More hits are a
/// `cap` cut.
pub const QUERY_HITS_MAX: usize = 1000;
/// Files of one holder with the root that a search by root reports from one index. It reports at
/// most as many other files of the holder whose path ends in the pattern. So one session that
/// registers a content under very many paths does not use up the limit.
pub const ROOT_HITS_PER_HOLDER: usize = 4;
/// Pages of a list of the network, about 600 hits each. Together they have more hits than any
/// index.
pub const LIST_PAGES_MAX: u64 = 1 << 18;
/// Sources of one content whose addresses a list distinguishes. If there are more, only hits are
/// counted.
pub const LIST_SOURCES_MAX: usize = 1 << 16;
/// Names of one content that a list shows, and sizes that it counts.
pub const LIST_NAMES_MAX: usize = 16;
/// Index entries that are sorted by their root per turn. This takes a small part of 1 ms.
pub const SCAN_ENTRIES_PER_TURN: usize = 1024;
/// Records of ended sessions that may wait to be removed from the index. If there are more, each
/// new record causes the removal of two of them.
pub const LEFT_OVER_MAX: usize = SESSION_FILES_MAX;
/// Steps per turn that remove files from the index, at most 1 µs each. Each file that was removed
/// or whose session has ended needs two steps.
pub const TIDY_STEPS_PER_TURN: usize = 256;
/// Entries and holders that one page of LIST looks at.
pub const LIST_LOOKS_MAX: usize = 16 * 1024;
/// Work of one step of a query, in the unit of [`WORK_PER_TURN`]. Then other queries get their
/// step.
pub const SCAN_WORK_PER_STEP: usize = 1024;
/// After this number of bytes of hits, no more hits are searched for a session in this turn. If the
/// session does not read, the search waits until it reads. One step of a search may exceed the
/// limit by the hits that it finds.
pub const SESSION_BYTES_PER_TURN: usize = 64 * 1024;
/// Work per turn for all queries together, less than 1 ms. To look at an index entry counts as 1,
/// which is about 50 ns. To compare a name, and each hit, query or message, counts as several.
pub const WORK_PER_TURN: usize = 16 * 1024;
/// Work per turn, without searches, that can be put off: due deadlines, ended queries, closing
/// sessions. In the unit of [`WORK_PER_TURN`].
pub const PUT_OFF_WORK_PER_TURN: usize = 4 * 1024;
/// Most work of one call of the machine, without searches: the work that was put off, and the work
/// of one message with as many records as fit in a frame. In the unit of [`WORK_PER_TURN`]. It
/// follows from the limits of both; the tests check it.
pub const CALL_WORK_MAX: usize = 64 * 1024;
/// How long entries stay sorted by their root after the last page of a list. It is longer than any
/// query runs.
pub const ORDER_KEPT: Duration = Duration::from_secs(90);
/// Index entries that one query looks at in total. If there are more, this is a `cap` cut. It is
/// several times the usual size of an index, so it only ends queries whose asker has given up.
pub const SCAN_ENTRIES_MAX: usize = 1 << 23;
/// Super peers that a search can reach. If a neighbor claims more, this number is used. It is far
/// more than any network of configured links has, and far below the greatest u32.
pub const REACHED_MAX: u32 = 1_000_000;
/// Bytes of HITs that are sent again before the asker shows that any have arrived: about 30 usual
/// HITs.
pub const REPEATED_BYTES_FIRST: usize = 8 * 1024;
/// If a repetition reports new HITs as held, this many bytes of HITs are sent again for each byte
/// of them. The factor is above 1, so that half of the datagrams may be lost.
pub const REPEATED_PER_HELD: usize = 4;
/// Queries of one link that wait for their share of the work. One more is refused (`shed`).
pub const LINK_QUERIES_WAITING_MAX: usize = 8192;
/// Hits that all queries of neighbors hold, while they run and after it: about 200 bytes each. A
/// query that needs one more ends with a `cap` cut.
pub const HITS_HELD_MAX: usize = 1 << 18;
/// Hits that all queries of sessions remember while they run, so that no source is reported twice:
/// about 24 bytes each. A query that needs one more ends with a `cap` cut.
pub const HITS_SEEN_MAX: usize = 1 << 20;
/// Queries of the network that run here, or have ended and are kept for repetitions: about 700
/// bytes each. A full table drops the query that ended first. If all queries run, one more is
/// refused.
pub const WAVES_MAX: usize = 1 << 16;
/// Query ids in one of the two generations of the visited table, 16 bytes each. This is more than a
/// second of the heaviest flood that one core can carry.
pub const VISITED_MAX: usize = 1 << 18;
/// How many ids are freed per turn for each generation that waits for it. There are few, because
/// their memory is usually not in a cache.
pub const VISITED_FREED_PER_TURN: usize = 128;
/// Hits of ended queries that are kept for repetitions: about 200 bytes each. If there are more,
/// the hits of the oldest queries are dropped, so that many answers with long budgets do not fill
/// the memory.
pub const HITS_KEPT_MAX: usize = 1 << 17;
/// Age at which the visited table begins a new generation.
pub const VISITED_GENERATION: Duration = Duration::from_secs(60);
/// Shortest wait before a QUERY without an answer is repeated.
pub const QUERY_REPEAT_MIN: Duration = Duration::from_millis(20);
/// SUBSCRIBEs in force of one session. One more is refused. A weak peer has the same limit.
pub const SESSION_SUBSCRIPTIONS_MAX: usize = 8;
/// SUBSCRIBEs in force of all sessions, about 100 bytes each. One more is refused.
pub const SUBSCRIPTIONS_MAX: usize = 8192;
/// Different searches of these SUBSCRIBEs, about 5 KiB each. Each new file is compared with all of
/// them. For one more, one of the host that has most ends, or it is refused.
pub const STANDING_SEARCHES_MAX: usize = 256;
/// Hits that one subscription gets in a second. More are dropped and counted; the next search of
/// the subscriber finds them.
pub const SUBSCRIPTION_HITS_PER_SECOND: u32 = 100;
/// New files that wait to be compared with the searches of subscriptions, 8 bytes each. More are
/// counted but not reported to subscribers.
pub const ARRIVALS_MAX: usize = 1 << 16;
/// How often a subscriber searches the network itself, on average: each wait between two searches
/// is up to a tenth shorter or longer. The searches find files at all super peers.
pub const SUBSCRIBER_SEARCH_EVERY: Duration = Duration::from_secs(60);
/// Downloads of one `sprat subscribe` that run or are in the queue at once. Others wait.
pub const SUBSCRIBER_DOWNLOADS_MAX: usize = 8;
/// Downloads that wait for this. One more is reported but not fetched.
pub const SUBSCRIBER_WAITING_MAX: usize = 10_000;
/// Files that wait for the program of `--exec`. For one more, the program is not run, and this is
/// reported.
pub const SUBSCRIBER_RUNS_WAITING_MAX: usize = 1000;
/// Contents that a subscription remembers as reported, in each of two generations, 32 bytes each.
/// An older content may be reported again.
pub const SUBSCRIPTION_ROOTS_KEPT: usize = 1 << 15;

const _: () = assert!(PUT_OFF_WORK_PER_TURN * 4 <= CALL_WORK_MAX);
const _: () = assert!(ORDER_KEPT.as_secs() > QUERY_BUDGET_MAX.as_secs());
const _: () = assert!(SCAN_WORK_PER_STEP * 4 <= WORK_PER_TURN && HITS_KEPT_MAX < HITS_HELD_MAX);
