//! Limits of swarms: which members follow which others, and turns of sending.

use std::time::Duration;

use super::{PIECE_BYTES, UNSENT_BYTES_MAX};

/// Most members of a swarm at one super peer: a place in it takes two bytes. One more is refused.
pub const SWARM_MEMBERS_MAX: usize = 65_535;
/// Most zones of a swarm: a zone takes one byte of a member. Members of one more zone count as
/// members of the first one.
pub const SWARM_ZONES_MAX: usize = 256;
/// Most members that are named to each member, to be followed. The number is a choice: with more, a
/// piece has more ways, and each HAS goes to more followers.
pub const SWARM_DEGREE: usize = 16;
/// The same in a swarm of fewer than [`SWARM_SMALL`] members.
pub const SWARM_DEGREE_SMALL: usize = 11;
/// See [`SWARM_DEGREE_SMALL`].
pub const SWARM_SMALL: usize = 50;
/// If more than this number join at the same time, the answer to a JOIN names this number of
/// others. The rest are named a little later, with those that join at the same time.
pub const SWARM_NAMED_FIRST: usize = 4;
/// How many of these joined later than the member itself: their places are kept for newcomers.
pub const SWARM_NEWER: usize = 3;
/// Most members to which one member is named. It is exceeded for a member that would otherwise
/// follow almost none.
pub const SWARM_FOLLOWERS_MAX: usize = 24;
/// How many members of a zone are gateways: they also follow members of other zones.
pub const SWARM_GATEWAYS: usize = 4;
/// How many members of other zones are named to a gateway.
pub const SWARM_OUTSIDE: usize = 3;
/// In a zone with fewer members than this, all may follow members of other zones.
pub const SWARM_GATEWAYS_BELOW: usize = 8;
/// Most complete holders that a super peer names beside the members: peers that have registered the
/// content and have not joined.
pub const SWARM_SEEDS_MAX: usize = 16;
/// How many of these are named to a member.
pub const SWARM_SEEDS_NAMED: usize = 2;
/// Most sources that a super peer names beside these and the members: members at other super peers,
/// and peers that have registered the content there. Others that are found are ignored.
pub const SWARM_ACROSS_MAX: usize = 8;
/// How many of these with a part of the content are named to a member that already follows enough
/// others.
pub const SWARM_ACROSS_NAMED: usize = 3;
/// Such a source is kept until more queries than this in a row have not found it.
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
/// Most sources that such a query asks for.
pub const SWARM_ASK_HITS: u32 = 64;
/// Members of one swarm that a super peer reports for a search, drawn at random.
pub const SWARM_FOUND_MAX: usize = 16;
/// Swarms that a search by name looks at; if there are more, that is a cut.
pub const SWARMS_LOOKED_AT_MAX: usize = 1024;
/// The same, by the work that it takes, in the unit of [`WORK_PER_TURN`](super::WORK_PER_TURN): a
/// search looks at the swarms in one step.
pub const SWARMS_WORK_MAX: usize = 32 * 1024;
/// Swarms that are looked at for one page of a list.
pub const SWARMS_LISTED: usize = 64;
/// Members that follow too few get new ones this long after the first change, so that many
/// newcomers together cost one message.
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
/// Most pieces that a download in a swarm fetches at once. It fetches one at a time, unless more at
/// once bring more bytes in a second.
pub const SWARM_FETCHES_MAX: usize = 8;
/// The next turn is requested, and given, this long before a piece ends or earlier, as estimated
/// from the rate of the pieces before. It is longer than some round trips in a local network, so
/// that the next piece begins when this one ends, and so short that the two hardly share the line.
pub const TURN_LEAD_MIN: Duration = Duration::from_millis(3);
/// A follower requests it this number of round trips before, if these take longer: one from WANT to
/// TURN, one from GET to the first byte, and one for a turn that another source gives at the same
/// time and that is given back.
pub const TURN_LEAD_ASKED: u32 = 3;
/// A sender gives it this number of round trips before, if these take longer: one from TURN to GET,
/// and one for a turn that is given back.
pub const TURN_LEAD_GIVEN: u32 = 2;
/// A round trip that took longer than this counts as this: the other end may have been busy.
pub const ROUND_TRIP_MAX: Duration = Duration::from_millis(200);
/// The next turn is requested while no more than this of a piece is still to come, at any rate.
pub const FETCH_LEAD_BYTES_MIN: u64 = 16 * 1024;
/// And not while more than this is still to come.
pub const FETCH_LEAD_BYTES_MAX: u64 = UNSENT_BYTES_MAX as u64;
/// The width is the number of pieces that are fetched, or sent, at once. The rate with a width is
/// measured over this number of pieces times the width, and over [`WIDTH_TIME_MIN`] at least.
pub const WIDTH_PIECES: u64 = 8;
/// See [`WIDTH_PIECES`].
pub const WIDTH_TIME_MIN: Duration = Duration::from_millis(400);
/// In a trial of a greater width, what comes in this time may still be on its way before the trial
/// is found to be in vain.
pub const WIDTH_ON_WAY: Duration = Duration::from_millis(100);
/// A rate is not measured over a longer pause than this.
pub const WIDTH_PAUSE: Duration = Duration::from_secs(60);
/// Measurements before a width of one more is tried; twice as many after each trial that brings
/// nothing, up to [`WIDTH_TRIAL_LAST`].
pub const WIDTH_TRIAL_FIRST: u32 = 64;
/// See [`WIDTH_TRIAL_FIRST`].
pub const WIDTH_TRIAL_LAST: u32 = 256;
/// Measurements before a width of one less is tried, if the width is more than one.
pub const WIDTH_TRIAL_LESS: u32 = 8;
/// How often a download in a swarm looks for stalls.
pub const SWARM_TICK: Duration = Duration::from_millis(100);
/// A followed source that has begun a piece and sends nothing for this long, and for eight piece
/// times, has stalled.
pub const SILENT_MIN: Duration = Duration::from_millis(200);
/// A member of a zone that is no gateway fetches from other zones after it has got nothing for this
/// long, and for four piece times.
pub const ZONE_PATIENCE: Duration = Duration::from_secs(1);
/// After its rate has been below half of its best one for this long, a download fetches what it can
/// from anywhere: pieces of other zones, and from the sources of the search.
pub const POOR_AFTER: Duration = Duration::from_secs(5);
/// In a swarm a piece is taken from a slow source if that saves this much time, and two piece
/// times.
pub const STEAL_GAIN_SWARM: Duration = Duration::from_millis(50);
/// A followed source is dropped when this many announced pieces were not there.
pub const ABSENT_MAX: u32 = 3;
/// Followers of one content at one peer. One more takes the place of one that takes less than a
/// slow peer; if there is none, it gets ERROR 5, and follows others.
pub const FOLLOWERS_MAX: usize = 24;
/// A follower keeps its place for this long, however little it reads.
pub const FOLLOWER_KEPT_MIN: Duration = Duration::from_secs(2);
/// Most chunks that are sent to followers at once, over all connections. They are sent one at a
/// time, so that a follower soon has a complete piece and can pass it on, unless more at once bring
/// more bytes in a second; `--uploads` sets another number.
pub const TURNS_OPEN_MAX: usize = 16;
/// The same for one connection, so that a connection that reads none of its chunks does not keep
/// all turns.
pub const TURNS_OF_ONE_MAX: usize = 4;
/// If the moment for the next turn is less than this after the chunk is in the send queue of the
/// system, the turn is given at once: timers are not exact.
pub const TURN_WAIT_MIN: Duration = Duration::from_millis(5);
/// A source is dropped if it has given more turns than this beyond those that were requested.
pub const TURNS_EXCESS_MAX: u32 = 16;
/// A turn that is not used for this long is void.
pub const TURN_UNUSED_MAX: Duration = Duration::from_secs(2);
/// A host that has left a turn unused comes after the others for this long, and they do not wait
/// for its turns.
pub const TURN_DOUBT: Duration = Duration::from_secs(10);
/// Most such hosts that are remembered. If there are more, one of them is forgotten.
pub const TURN_HOSTS_DOUBTED_MAX: usize = 256;
/// A chunk that takes longer than this, and longer than four times the mean, is not counted when
/// the next turn is given, so that others need not wait for it.
pub const TURN_SLOW: Duration = Duration::from_millis(200);
/// Most contents whose sent pieces are counted, to advise followers. For other contents there is no
/// advice.
pub const SEEDS_MAX: usize = 64;
/// Bytes of the bits in one HAS: a content of up to 256 GiB in one message.
pub const HAS_BITS_MAX: usize = 32 * 1024;
/// Pieces in the list of one HAS.
pub const HAS_LIST_MAX: usize = 8192;

const _: () = assert!(FETCH_LEAD_BYTES_MIN < FETCH_LEAD_BYTES_MAX && FETCH_LEAD_BYTES_MAX < PIECE_BYTES);
