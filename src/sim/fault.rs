//! Faults of datagrams. Each passes datagrams on to the next, and a run can put any number of them
//! before the network.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::random::Random;

/// A datagram on its way between two nodes.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Its sender.
    pub from: usize,
    /// Its receiver.
    pub to: usize,
    /// Its latency.
    pub delay: Duration,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A fault.
pub trait Fault {
    /// The word under which it is counted.
    fn name(&self) -> &'static str;
    /// Passes a datagram on, changed or not. Returns whether the fault struck.
    fn pass(&mut self, flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool;
}

/// Loses this many of a thousand datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Lose(pub u32);

/// Delivers this many of a thousand datagrams twice. The second copy comes up to 50 ms later.
#[derive(Clone, Copy, Debug)]
pub struct Double(pub u32);

/// Delays this many of a thousand datagrams for up to this time, so that later ones overtake them.
#[derive(Clone, Copy, Debug)]
pub struct HoldBack(pub u32, pub Duration);

/// Damages the header of this many of a thousand datagrams, or truncates them. Damage to other
/// bytes is not simulated: the checksum of UDP makes it a loss.
#[derive(Clone, Copy, Debug)]
pub struct Damage(pub u32);

/// After this many of a thousand datagrams, delivers one of the last datagrams again, as an
/// attacker does who has recorded it.
#[derive(Clone, Debug)]
pub struct Repeat {
    chance: u32,
    recorded: VecDeque<Flight>,
}

impl Repeat {
    /// How many datagrams are recorded.
    const RECORDED_MAX: usize = 256;

    /// Repeats a datagram after this many of a thousand.
    #[must_use]
    pub fn new(chance: u32) -> Repeat {
        Repeat { chance, recorded: VecDeque::new() }
    }
}

/// Loses all datagrams between these nodes, in this direction.
#[derive(Clone, Debug, Default)]
pub struct Sever(pub BTreeSet<(usize, usize)>);

impl Sever {
    /// Parts the nodes in `left` from all others, in both directions.
    #[must_use]
    pub fn halves(left: &BTreeSet<usize>, nodes: usize) -> Sever {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        Sever(pairs.filter(|(from, to)| left.contains(from) != left.contains(to)).collect())
    }
}

impl Fault for Lose {
    fn name(&self) -> &'static str {
        "lose"
    }

    fn pass(&mut self, flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool {
        let fires = random.chance(self.0);
        if !fires {
            out.push(flight);
        }
        fires
    }
}

impl Fault for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn pass(&mut self, flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool {
        let fires = random.chance(self.0);
        if fires {
            let later = flight.delay + random.time(Duration::ZERO, Duration::from_millis(50));
            out.push(Flight { delay: later, ..flight.clone() });
        }
        out.push(flight);
        fires
    }
}

impl Fault for HoldBack {
    fn name(&self) -> &'static str {
        "hold_back"
    }

    fn pass(&mut self, flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool {
        let fires = random.chance(self.0);
        let delay = if fires { flight.delay + random.time(Duration::ZERO, self.1) } else { flight.delay };
        out.push(Flight { delay, ..flight });
        fires
    }
}

impl Fault for Damage {
    fn name(&self) -> &'static str {
        "damage"
    }

    fn pass(&mut self, mut flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool {
        let fires = random.chance(self.0) && !flight.bytes.is_empty();
        if fires {
            if random.chance(500) {
                let length = random.index(flight.bytes.len());
                flight.bytes.truncate(length);
            } else {
                let header = crate::wire::link::HEADER_BYTES.min(flight.bytes.len());
                flight.bytes[random.index(header)] ^= 1 << random.below(8);
            }
        }
        out.push(flight);
        fires
    }
}

impl Fault for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }

    fn pass(&mut self, flight: Flight, random: &mut Random, out: &mut Vec<Flight>) -> bool {
        self.recorded.push_back(flight.clone());
        if self.recorded.len() > Repeat::RECORDED_MAX {
            self.recorded.pop_front();
        }
        out.push(flight);
        let fires = random.chance(self.chance);
        if fires {
            out.push(random.pick(self.recorded.make_contiguous()).clone());
        }
        fires
    }
}

impl Fault for Sever {
    fn name(&self) -> &'static str {
        "sever"
    }

    fn pass(&mut self, flight: Flight, _: &mut Random, out: &mut Vec<Flight>) -> bool {
        let fires = self.0.contains(&(flight.from, flight.to));
        if !fires {
            out.push(flight);
        }
        fires
    }
}
