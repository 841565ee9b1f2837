//! The plan of a swarm, and the least time that it can take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::config::PIECE_BYTES;

/// Which peers leave, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// No peer leaves.
    #[default]
    Never,
    /// Each peer leaves as soon as it has the file.
    Done,
    /// The seed leaves as soon as the peers together have all pieces.
    Seed,
    /// This many of a hundred peers leave, each when it has half of the file. They only stop; they
    /// send no LEAVE.
    Half(u32),
}

/// The plan of a swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed of all random numbers.
    pub seed: u64,
    /// Peers that fetch the file.
    pub peers: usize,
    /// Pieces of the file, of 1 MiB each.
    pub pieces: u32,
    /// Bytes per second that a peer can send.
    pub up: u64,
    /// Bytes per second that a peer can receive.
    pub down: u64,
    /// Bytes per second that the peer with the file can send.
    pub seed_up: u64,
    /// Zones over which the peers are spread evenly. The file is in the first one.
    pub zones: usize,
    /// Bytes per second that all peers of a zone together can send to other zones, and can receive
    /// from them; none means no limit.
    pub cross: Option<u64>,
    /// The time from the start of one peer to that of the next. Zero: all peers start within a
    /// tenth of a second.
    pub arrive: Duration,
    /// Which peers leave.
    pub leave: Leave,
    /// The shortest and the longest time that a message takes.
    pub latency: (Duration, Duration),
}

impl Plan {
    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.pieces) * PIECE_BYTES
    }

    /// The zone of a peer. The file is in the first zone.
    #[must_use]
    pub fn zone(&self, peer: usize) -> usize {
        peer % self.zones
    }

    /// No schedule can bring the file to the last peer in less than this time, if all peers start
    /// at once and none leaves. It is the longest of these times:
    ///
    /// - The seed sends each piece at least once. The last piece then spreads from the peer that
    ///   has it. All peers that hold this piece send copies as fast as they can; if all lines have
    ///   the same rate, this takes ⌊log2 N⌋ more piece times (Mundinger, Weber, Weiss, J.
    ///   Scheduling 11, 2008).
    /// - A peer receives the file over its own line.
    /// - All copies are sent over the lines of the peers that send.
    /// - A zone without the file receives it over its line.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let (up, down, seed_up) = (self.up as f64, self.down as f64, self.seed_up as f64);
        let (file, peers) = (self.file_bytes() as f64, self.peers as f64);
        let out = self.spread(Duration::from_secs_f64(file / seed_up.min(down * peers)));
        let crossed = match self.cross {
            Some(cross) if self.zones > 1 => file / cross as f64,
            Some(_) | None => 0.0,
        };
        let all = [file / down, peers * file / (seed_up + peers * up), crossed];
        all.into_iter().map(Duration::from_secs_f64).fold(out, Duration::max)
    }

    /// When all peers can have the last piece, if the first peer has it at `out`. The nth copy that
    /// a peer sends takes at least the time of n pieces on its line, and the first copy takes the
    /// time of a piece on the receiver's line. The nth further copy that the seed sends takes the
    /// time of the file and n more pieces on its line.
    fn spread(&self, out: Duration) -> Duration {
        let time = |pieces: u64, rate: u64| Duration::from_secs_f64((pieces * PIECE_BYTES) as f64 / rate as f64);
        let of_peer = |since: Duration, copy: u64| since + time(copy, self.up).max(time(1, self.down));
        let of_seed = |copy: u64| out.max(time(u64::from(self.pieces) + copy, self.seed_up));
        // The next copy of each holder: when it arrives, its number, and since when the holder has
        // the piece.
        let mut next = BinaryHeap::from([Reverse((of_peer(out, 1), 1, Some(out))), Reverse((of_seed(1), 1, None))]);
        let mut last = out;
        for _ in 1..self.peers {
            let Some(Reverse((at, copy, since))) = next.pop() else { break };
            let after = since.map_or_else(|| of_seed(copy + 1), |since| of_peer(since, copy + 1));
            next.push(Reverse((after, copy + 1, since)));
            next.push(Reverse((of_peer(at, 1), 1, Some(at))));
            last = at;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(peers: usize, pieces: u32) -> Plan {
        let (up, seed_up) = (PIECE_BYTES, PIECE_BYTES);
        let latency = (Duration::ZERO, Duration::ZERO);
        let (arrive, leave) = (Duration::ZERO, Leave::Never);
        Plan { seed: 1, peers, pieces, up, down: up, seed_up, zones: 1, cross: None, arrive, leave, latency }
    }

    #[test]
    fn with_equal_lines_the_bound_is_the_pieces_and_the_logarithm_of_the_peers() {
        for (peers, times) in [(1, 0), (2, 1), (3, 1), (4, 2), (16, 4), (31, 4), (32, 5), (1000, 9), (10_000, 13)] {
            assert_eq!(plan(peers, 64).bound(), Duration::from_secs(64 + times), "{peers} peers");
        }
    }

    #[test]
    fn a_holder_sends_as_many_copies_at_once_as_its_line_carries() {
        let base = Plan { down: 10 * PIECE_BYTES, ..plan(10, 1) };
        // Only the seed sends: ten copies in a second, one after the other.
        assert_eq!(Plan { seed_up: 10 * PIECE_BYTES, ..base }.bound(), Duration::from_secs(1));
        // The seed sends to the first peer, the first peer to four others at once, and the seed to
        // the sixth.
        assert_eq!(Plan { up: 4 * PIECE_BYTES, ..plan(6, 1) }.bound(), Duration::from_secs(2));
    }

    #[test]
    fn the_slowest_line_decides() {
        let base = plan(10, 64);
        assert_eq!(Plan { seed_up: 100 * PIECE_BYTES, ..base.clone() }.bound(), Duration::from_secs(64));
        let crossed = Plan { zones: 2, cross: Some(PIECE_BYTES / 2), ..base.clone() };
        assert_eq!(crossed.bound(), Duration::from_secs(128));
        let thin = Plan { up: PIECE_BYTES / 4, down: PIECE_BYTES, ..base };
        assert!(thin.bound() > Duration::from_secs(182), "{:?}", thin.bound());
    }
}
