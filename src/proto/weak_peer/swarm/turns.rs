//! The turns that a peer gives to its followers: only few chunks are sent at a time over all
//! connections, and a follower chooses its piece when its turn comes. It sends nothing: uploads do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::round_trip::RoundTrip;
use super::seed::Seed;
use super::width::Width;
use crate::config::{
    PIECE_BYTES, SEEDS_MAX, TURN_DOUBT, TURN_HOSTS_DOUBTED_MAX, TURN_LEAD_GIVEN, TURN_SLOW, TURN_UNUSED_MAX,
    TURN_WAIT_MIN, TURNS_OF_ONE_MAX, TURNS_OPEN_MAX, UNSENT_BYTES_MAX,
};
use crate::proto::ConnId;
use crate::proto::crowd::Host;
use crate::time::Time;
use crate::wire::Root;

/// A connection that follows a content.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Follower {
    /// The number of its FOLLOW.
    pub(in crate::proto::weak_peer) req: u32,
    pub(in crate::proto::weak_peer) root: Root,
    /// Its zone.
    pub(in crate::proto::weak_peer) zone: Option<String>,
    /// Whether the first HAS is sent.
    pub(in crate::proto::weak_peer) is_answered: bool,
    /// Turns that it waits for.
    pub(in crate::proto::weak_peer) wants: u8,
    /// Whether it cannot get the pieces that it lacks from others.
    pub(in crate::proto::weak_peer) needs: bool,
    /// When it began to follow.
    pub(in crate::proto::weak_peer) begun: Time,
    /// Since when it waits.
    pub(in crate::proto::weak_peer) since: Time,
}

/// A turn that was given and not used.
#[derive(Debug)]
struct Given {
    conn: ConnId,
    root: Root,
    at: Time,
    /// The piece that was advised first.
    advised: Option<u32>,
    /// Its host has left turns unused.
    is_doubted: bool,
}

/// A turn that was used.
#[derive(Clone, Copy, Debug)]
struct Used {
    since: Time,
    is_doubted: bool,
}

/// When a chunk has just gone to the send queue of the system: how much longer it is sent, as a
/// multiple of the time since it began.
const QUEUED_PART: f64 = UNSENT_BYTES_MAX as f64 / (PIECE_BYTES - UNSENT_BYTES_MAX as u64) as f64;

/// All turns of one peer.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Turns {
    /// Chunks that are sent at once.
    width: Width,
    given: Vec<Given>,
    /// The chunks of turns that were used and are not sent yet.
    used: BTreeMap<(ConnId, u32), Used>,
    /// The mean time that a chunk takes.
    mean: Option<Duration>,
    /// From a TURN to its GET.
    round_trip: RoundTrip,
    /// For each chunk that is in the send queue of the system: when so little of it is unsent that
    /// the next turn can be given.
    ending: Vec<Time>,
    /// Contents of the share that are followed.
    seeds: BTreeMap<Root, Seed>,
    /// Hosts that have left a turn unused, each with the time until which they are doubted.
    doubted: BTreeMap<Host, Time>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            width: Width::new(TURNS_OPEN_MAX),
            given: Vec::new(),
            used: BTreeMap::new(),
            mean: None,
            round_trip: RoundTrip::default(),
            ending: Vec::new(),
            seeds: BTreeMap::new(),
            doubted: BTreeMap::new(),
        }
    }
}

impl Turns {
    /// Sets how many chunks are sent at once; none means as few as use all of the bandwidth.
    pub(in crate::proto::weak_peer) fn set_width(&mut self, chunks: Option<usize>) {
        self.width.set(chunks);
    }

    /// Whether one more turn can be given. A turn that is not used soon takes no place, and a turn
    /// of a host that is doubted takes none either. Other followers need not wait for such a turn.
    pub(in crate::proto::weak_peer) fn has_room(&self, now: Time) -> bool {
        let slow = self.mean.map_or(TURN_SLOW, |mean| TURN_SLOW.max(mean * 4));
        let stale = TURN_UNUSED_MAX.max(slow * 4);
        let used = |most: Duration| self.used.values().filter(|used| now.since(used.since) <= most).count();
        let given = self.given.iter().filter(|given| !given.is_doubted && now.since(given.at) <= slow).count();
        let ending = self.ending.iter().filter(|at| **at > now).count();
        given + used(slow) + ending < self.width.now() && self.given.len() + used(stale) < TURNS_OPEN_MAX
    }

    /// When there may be room even if nothing happens until then: a turn may expire, a chunk may
    /// become slow, or a chunk may be nearly sent.
    pub(in crate::proto::weak_peer) fn next_room(&self, now: Time) -> Option<Time> {
        let is_busy = !self.given.is_empty() || !self.used.is_empty();
        let slow = is_busy.then_some(now + TURN_SLOW);
        self.ending.iter().copied().filter(|at| *at > now).chain(slow).min()
    }

    /// Whether one more turn can be given to a connection of this host: a connection that reads
    /// none of its chunks must not keep all turns, and hosts that are doubted must not keep them
    /// either.
    pub(in crate::proto::weak_peer) fn has_room_for(&self, now: Time, conn: ConnId, host: Host) -> bool {
        let open = self.given_to(conn) + self.used.range((conn, 0)..=(conn, u32::MAX)).count();
        if !self.is_doubted(now, host) {
            return open < TURNS_OF_ONE_MAX;
        }
        let given = self.given.iter().filter(|given| given.is_doubted).count();
        let used = self.used.values().filter(|used| used.is_doubted).count();
        open == 0 && given + used < TURNS_OPEN_MAX / 2
    }

    /// Turns of a connection that are not used.
    pub(in crate::proto::weak_peer) fn given_to(&self, conn: ConnId) -> usize {
        self.given.iter().filter(|given| given.conn == conn).count()
    }

    /// Gives a turn to a connection of this host. Returns the advice.
    pub(in crate::proto::weak_peer) fn give(
        &mut self,
        now: Time,
        (conn, host): (ConnId, Host),
        root: Root,
    ) -> Vec<u32> {
        let advice = self.seeds.get_mut(&root).map(Seed::advise).unwrap_or_default();
        let (advised, is_doubted) = (advice.first().copied(), self.is_doubted(now, host));
        self.given.push(Given { conn, root, at: now, advised, is_doubted });
        advice
    }

    /// A host has left a turn unused: others come first for a while, and do not wait for it.
    pub(in crate::proto::weak_peer) fn doubt(&mut self, now: Time, host: Host) {
        if self.doubted.len() >= TURN_HOSTS_DOUBTED_MAX && !self.doubted.contains_key(&host) {
            self.doubted.retain(|_, until| *until > now);
            if self.doubted.len() >= TURN_HOSTS_DOUBTED_MAX {
                self.doubted.pop_first();
            }
        }
        self.doubted.insert(host, now + TURN_DOUBT);
    }

    /// A host has taken a chunk.
    pub(in crate::proto::weak_peer) fn believe(&mut self, host: Host) {
        self.doubted.remove(&host);
    }

    pub(in crate::proto::weak_peer) fn is_doubted(&self, now: Time, host: Host) -> bool {
        self.doubted.get(&host).is_some_and(|until| *until > now)
    }

    /// A piece is requested. Returns whether a turn was used for it.
    pub(in crate::proto::weak_peer) fn take(
        &mut self,
        now: Time,
        (conn, req): (ConnId, u32),
        root: Root,
        piece: Option<u32>,
    ) -> bool {
        let given = self.given.iter().position(|given| given.conn == conn && given.root == root);
        let given = given.map(|at| self.given.remove(at));
        if let Some(seed) = self.seeds.get_mut(&root) {
            let advised = given.as_ref().and_then(|given| given.advised);
            if advised != piece {
                advised.into_iter().for_each(|advised| seed.give_back(advised));
                piece.into_iter().for_each(|piece| seed.note(piece));
            }
        }
        if let Some(given) = &given {
            self.round_trip.note(now.since(given.at));
            self.used.insert((conn, req), Used { since: now, is_doubted: given.is_doubted });
        }
        given.is_some()
    }

    /// The chunk is sent, or will not be sent. Returns whether it had a turn.
    pub(in crate::proto::weak_peer) fn end(&mut self, now: Time, chunk: (ConnId, u32), sent: bool) -> bool {
        let Some(Used { since, .. }) = self.used.remove(&chunk) else { return false };
        if sent {
            self.width.note(now, PIECE_BYTES);
            let took = now.since(since);
            let mean = self.mean.map_or(took, |mean| (mean * 7 + took) / 8);
            self.mean = Some(mean);
            let rest = mean.mul_f64(QUEUED_PART).saturating_sub(self.round_trip.lead(TURN_LEAD_GIVEN));
            self.ending.retain(|at| *at > now);
            if rest >= TURN_WAIT_MIN && self.ending.len() < TURNS_OPEN_MAX {
                self.ending.push(now + rest);
            }
        }
        true
    }

    /// Takes back the turns of a connection that were not used.
    pub(in crate::proto::weak_peer) fn give_back(&mut self, conn: ConnId) {
        let Turns { given, seeds, .. } = self;
        given.retain(|given| {
            if let (true, Some(piece)) = (given.conn == conn, given.advised)
                && let Some(seed) = seeds.get_mut(&given.root)
            {
                seed.give_back(piece);
            }
            given.conn != conn
        });
    }

    /// The connection is gone.
    pub(in crate::proto::weak_peer) fn forget(&mut self, conn: ConnId) {
        self.give_back(conn);
        self.used.extract_if((conn, 0)..=(conn, u32::MAX), |_, _| true).for_each(drop);
    }

    /// The connections whose turns were not used in time.
    pub(in crate::proto::weak_peer) fn late(&self, now: Time) -> Vec<ConnId> {
        let late = self.given.iter().filter(|given| now.since(given.at) >= TURN_UNUSED_MAX);
        late.map(|given| given.conn).collect()
    }

    // ---- complete holders -----------------------------------------------------------------------

    /// A content of the share is followed: its least-sent pieces are advised from now on.
    pub(in crate::proto::weak_peer) fn begin_seed(&mut self, root: Root, pieces: u32, order: u64) {
        if self.seeds.len() < SEEDS_MAX {
            self.seeds.entry(root).or_insert_with(|| Seed::new(pieces, order));
        }
    }

    /// Nobody follows it any more.
    pub(in crate::proto::weak_peer) fn end_seed(&mut self, root: Root) {
        self.seeds.remove(&root);
    }

    /// Whether there is such a content.
    pub(in crate::proto::weak_peer) fn has_seeds(&self) -> bool {
        !self.seeds.is_empty()
    }

    /// Whether this is such a content.
    pub(in crate::proto::weak_peer) fn is_seed(&self, root: Root) -> bool {
        self.seeds.contains_key(&root)
    }

    /// Whether this is a content of the share of which each piece was sent once. Then only
    /// followers that cannot get pieces from others get turns.
    pub(in crate::proto::weak_peer) fn is_thrifty(&self, root: Root) -> bool {
        self.seeds.get(&root).is_some_and(Seed::is_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Root = Root([7; 32]);
    const HOST: Host = Host::V4([192, 0, 2, 1]);

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn few_turns_are_open_at_once_and_a_slow_one_takes_no_place() {
        let mut turns = Turns::default();
        turns.set_width(Some(4));
        for n in 0..4 {
            assert!(turns.has_room(at(0)));
            turns.give(at(0), (conn(n), HOST), ROOT);
        }
        assert!(!turns.has_room(at(0)));
        for n in 0..4 {
            assert!(turns.take(at(1), (conn(n), 9), ROOT, Some(n)));
        }
        assert!(!turns.take(at(1), (conn(0), 10), ROOT, Some(5)), "a turn is for one chunk");
        assert!(!turns.has_room(at(100)));
        assert!(turns.end(at(101), (conn(0), 9), true));
        assert!(!turns.has_room(at(101)), "the line is not free yet");
        // The rest takes a third of the time of the chunk until then, less the lead.
        assert!(turns.next_room(at(101)).is_some_and(|room| (at(131)..at(132)).contains(&room)));
        assert!(!turns.has_room(at(131)) && turns.has_room(at(132)));
        turns.give(at(132), (conn(0), HOST), ROOT);
        assert!(!turns.has_room(at(300)), "the others are not slow yet");
        assert!(turns.has_room(at(500)), "they are");
    }

    #[test]
    fn the_next_turn_is_given_earlier_if_gets_come_late() {
        let mut turns = Turns::default();
        turns.give(at(0), (conn(1), HOST), ROOT);
        assert!(turns.take(at(5), (conn(1), 9), ROOT, Some(1)));
        assert!(turns.end(at(95), (conn(1), 9), true));
        // The rest takes 30 ms, and two round trips take 10 ms of it.
        assert!(!turns.has_room(at(114)) && turns.has_room(at(116)));
    }

    #[test]
    fn one_chunk_is_sent_at_once_unless_more_are_set() {
        let mut turns = Turns::default();
        turns.give(at(0), (conn(1), HOST), ROOT);
        assert!(!turns.has_room(at(0)));
        turns.set_width(Some(2));
        assert!(turns.has_room(at(0)));
    }

    #[test]
    fn an_unused_turn_is_given_back_with_its_advice() {
        let mut turns = Turns::default();
        turns.begin_seed(ROOT, 100, 5);
        let advice = turns.give(at(0), (conn(1), HOST), ROOT);
        assert_eq!(turns.late(at(1999)), []);
        assert_eq!(turns.late(at(2000)), [conn(1)]);
        turns.forget(conn(1));
        assert_eq!(turns.give(at(0), (conn(2), HOST), ROOT)[0], advice[0]);
    }

    #[test]
    fn a_seed_is_thrifty_once_each_piece_was_asked_for() {
        let mut turns = Turns::default();
        turns.begin_seed(ROOT, 3, 5);
        for n in 0..3 {
            assert!(!turns.is_thrifty(ROOT));
            let advice = turns.give(at(0), (conn(1), HOST), ROOT);
            turns.take(at(0), (conn(1), n), ROOT, advice.first().copied());
            turns.end(at(1), (conn(1), n), true);
        }
        assert!(turns.is_thrifty(ROOT));
    }

    #[test]
    fn a_turn_that_is_not_used_soon_or_is_doubted_keeps_nobody_waiting() {
        let mut turns = Turns::default();
        turns.give(at(0), (conn(1), HOST), ROOT);
        assert!(!turns.has_room(at(200)));
        assert!(turns.has_room(at(201)));
        turns.give_back(conn(1));
        turns.doubt(at(201), HOST);
        turns.give(at(201), (conn(1), HOST), ROOT);
        assert!(turns.has_room(at(201)) && turns.is_doubted(at(201), HOST));
        turns.believe(HOST);
        turns.give(at(201), (conn(2), HOST), ROOT);
        assert!(!turns.has_room(at(201)));
    }

    #[test]
    fn few_hosts_are_doubted_and_not_for_long() {
        let mut turns = Turns::default();
        for n in 0..2 * TURN_HOSTS_DOUBTED_MAX as u32 {
            turns.doubt(at(0), Host::V4(n.to_be_bytes()));
            assert!(turns.is_doubted(at(0), Host::V4(n.to_be_bytes())));
        }
        assert_eq!(turns.doubted.len(), TURN_HOSTS_DOUBTED_MAX);
        let after = Time::ZERO + TURN_DOUBT;
        turns.doubt(after, HOST);
        assert_eq!(turns.doubted.len(), 1);
    }
}
