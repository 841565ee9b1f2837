//! Limits of swarms: who follows which members, and turns of sending.

use std::time::Duration;

use super::{PIECE_BYTES, UNSENT_BYTES_MAX};

/// Most members of a swarm at one super peer: a place in it takes two bytes. One more is refused.
pub const SWARM_MEMBERS_MAX: usize = 65_535;
/// Most zones of a swarm: a zone takes one byte of a member. Members of one more zone count as
/// members of the first one.
pub const SWARM_ZONES_MAX: usize = 256;
/// How many members are named to each one at most: a choice. With more, a piece has more ways, and
/// each HAS goes to more followers.
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
/// Most sources that a super peer names beside these and the members: members at other super peers,
/// and peers that have registered the content there. Others that are found are ignored.
pub const SWARM_ACROSS_MAX: usize = 8;
/// How many of these, of those with a part of the content, are named to a member that follows
/// enough others.
pub const SWARM_ACROSS_NAMED: usize = 3;
/// One that was not found this many times in a row is still named; then it is forgotten.
pub const SWARM_ACROSS_MISSED_MAX: u8 = 2;
/// The other super peers are asked for members of a swarm at its first JOIN, and again this long
/// after the answer, twice as long after the next one, and so on.
pub const SWARM_ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest of these times.
pub const SWARM_ASK_INTERVAL_MAX: Duration = Duration::from_secs(32);
/// Most such queries of a super peer that run at once. Others wait.
pub const SWARM_ASKS_MAX: usize = 16;
/// Shortest time from one such query to the next, of any swarm: one that is due sooner waits.
pub const SWARM_ASK_GAP: Duration = Duration::from_millis(10);
/// Most sources that such a query takes.
pub const SWARM_ASK_HITS: u32 = 64;
/// Members of one swarm that a super peer reports for a search, drawn at random.
pub const SWARM_FOUND_MAX: usize = 16;
/// Swarms that a search by name looks at; if there are more, that is a cut.
pub const SWARMS_LOOKED_AT_MAX: usize = 1024;
/// Swarms that are looked at for one page of a list.
pub const SWARMS_LISTED: usize = 64;
/// Members that lack others to follow are named new ones this long after the first change, so that
/// many that come together cost one message.
pub const SWARM_PUSH_AFTER: Duration = Duration::from_millis(100);
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
/// Pieces that come to a download in a swarm at once, at most. There is one, unless more bring more
/// bytes in a second.
pub const SWARM_FETCHES_MAX: usize = 8;
/// The rate with a width is measured over this number of pieces for each that comes or goes at
/// once, and over [`WIDTH_TIME_MIN`] at least.
pub const WIDTH_PIECES: u64 = 8;
/// See [`WIDTH_PIECES`].
pub const WIDTH_TIME_MIN: Duration = Duration::from_millis(400);
/// A rate is not measured over a longer pause than this.
pub const WIDTH_PAUSE: Duration = Duration::from_secs(60);
/// Measurements before one more is tried; twice as many after each trial that brings nothing, up to
/// [`WIDTH_TRIAL_LAST`].
pub const WIDTH_TRIAL_FIRST: u32 = 32;
/// See [`WIDTH_TRIAL_FIRST`].
pub const WIDTH_TRIAL_LAST: u32 = 256;
/// Measurements before one fewer is tried, if there are several.
pub const WIDTH_TRIAL_LESS: u32 = 8;
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
/// Chunks that are sent at once to followers, over all connections, at most. There is one, so that
/// a follower has a complete piece soon and can pass it on, unless more bring more bytes in a
/// second; `--uploads` sets another number.
pub const TURNS_OPEN_MAX: usize = 16;
/// The same of one connection; a follower waits for and takes fewer.
pub const TURNS_OF_ONE_MAX: usize = 4;
/// When no more than this of a chunk is unsent, by the rate of those before, the next turn is
/// given: its GET comes before the line is idle, and hardly anything is sent beside the rest of the
/// chunk.
pub const TURN_LEAD_BYTES: u64 = 64 * 1024;
/// If that is sooner than this after the chunk is in the send queue of the system, the turn is
/// given at once: timers are not exact.
pub const TURN_WAIT_MIN: Duration = Duration::from_millis(5);
/// A turn that is not used for this long is void.
pub const TURN_UNUSED_MAX: Duration = Duration::from_secs(2);
/// A chunk that takes longer than this, and four times as long as others, does not keep others
/// waiting.
pub const TURN_SLOW: Duration = Duration::from_millis(200);
/// Contents whose least-sent pieces are remembered for followers; the others are advised nothing.
pub const SEEDS_MAX: usize = 64;
/// Bytes of the bits in one HAS: a content of up to 256 GiB in one message.
pub const HAS_BITS_MAX: usize = 32 * 1024;
/// Pieces in the list of one HAS.
pub const HAS_LIST_MAX: usize = 8192;

const _: () = assert!(TURN_LEAD_BYTES < UNSENT_BYTES_MAX as u64 && (UNSENT_BYTES_MAX as u64) < PIECE_BYTES);
