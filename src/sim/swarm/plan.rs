//! The plan of a swarm, and the least time that it can take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::config::PIECE_BYTES;

/// Which peers leave, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// None.
    #[default]
    Never,
    /// Each one as soon as it has the file.
    Done,
    /// The seed, as soon as the peers together have each piece.
    Seed,
    /// This many of a hundred, each when it has half of the file; none of them takes leave.
    Half(u32),
}

/// The plan of a swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed of all randomness.
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
    /// Bytes per second that all peers of a zone together can send to other zones, and the same
    /// that they can receive; none: any number.
    pub cross: Option<u64>,
    /// From the start of one peer to the next; zero: all start within a tenth of a second.
    pub arrive: Duration,
    /// Who leaves.
    pub leave: Leave,
    /// The shortest and the longest time that a message travels.
    pub latency: (Duration, Duration),
}

impl Plan {
    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.pieces) * PIECE_BYTES
    }

    /// The zone of a peer; that of the file is the first.
    #[must_use]
    pub fn zone(&self, peer: usize) -> usize {
        peer % self.zones
    }

    /// A time within which no schedule can bring the file to the last peer, if all start at once
    /// and none leaves: the greatest of these.
    ///
    /// - The seed sends each piece at least once. The last one then spreads from the peer that has
    ///   it, as fast as all who hold it can send copies: with equal lines in ⌊log2 N⌋ more piece
    ///   times (Mundinger, Weber, Weiss, J. Scheduling 11, 2008).
    /// - A peer receives the file over its own line.
    /// - All copies are sent over the lines of those that send.
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

    /// When all peers can have the last piece, if the first one has it at `out`. The nth copy of a
    /// peer takes at least n pieces of its line, and the first one a piece of the receiver's line;
    /// the nth one more of the seed takes n more pieces of its line than the file.
    fn spread(&self, out: Duration) -> Duration {
        let time = |pieces: u64, rate: u64| Duration::from_secs_f64((pieces * PIECE_BYTES) as f64 / rate as f64);
        let of_peer = |since: Duration, copy: u64| since + time(copy, self.up).max(time(1, self.down));
        let of_seed = |copy: u64| out.max(time(u64::from(self.pieces) + copy, self.seed_up));
        // The next copy of each holder: when it is there, its number, and since when a peer holds
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
        // The seed alone sends ten copies in a second, one after the other.
        assert_eq!(Plan { seed_up: 10 * PIECE_BYTES, ..base }.bound(), Duration::from_secs(1));
        // Seed to first; then the first one to four at once, and the seed to the sixth.
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
