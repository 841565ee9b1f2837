//! Two neighbors in login mode, a stranger, and a path between them that does what the bytes
//! choose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use sprat::config::DATAGRAM_BYTES_MAX;
use sprat::proto::Entropy;
use sprat::proto::envelope::{Envelopes, Seal, reserve_counters, with_check};
use sprat::time::Time;
use sprat::trust::{PublicKey, SecretKey};
use sprat::wire::envelope::{CHECK_BYTES, HANDSHAKE, OPEN_BYTES, open_head};

use crate::{Dice, trace};

/// Datagrams under way in one direction, and recorded ones.
const KEPT_MAX: usize = 64;

struct Counting(u64);

impl Entropy for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

fn secret(n: usize) -> SecretKey {
    SecretKey::from_seed([u8::try_from(n + 1).expect("few"); 32])
}

fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(n + 1).expect("few")], 4777))
}

struct World {
    now: Time,
    /// Two neighbors, and a stranger who names the first as its neighbor.
    nodes: [Envelopes; 3],
    kept: [Option<u64>; 3],
    seen: [BTreeMap<PublicKey, u64>; 3],
    starts: u64,
    /// To each of them, with the sender's address.
    under_way: [VecDeque<(SocketAddr, Vec<u8>)>; 3],
    recorded: VecDeque<Vec<u8>>,
    said: BTreeSet<Vec<u8>>,
    taken: BTreeSet<Vec<u8>>,
    bodies: u64,
}

impl World {
    fn start(&mut self, n: usize) {
        self.starts += 1;
        let neighbors = if n == 0 { vec![1] } else { vec![0] };
        let neighbors = neighbors.into_iter().map(|n| secret(n).public()).collect();
        let reserved = reserve_counters(self.kept[n], self.now.as_micros() / 1_000_000);
        self.kept[n] = Some(reserved.keep);
        let seal = Seal { secret: secret(n), neighbors, counter: reserved.first, seen: self.seen[n].clone() };
        self.nodes[n] = Envelopes::sealed(seal, Box::new(Counting(self.starts << 8 | n as u64)));
    }

    fn say(&mut self, n: usize, to: usize) {
        self.bodies += 1;
        let body = [&self.bodies.to_be_bytes()[..], &[n as u8; 40]].concat();
        trace(|| format!("{n} says {} to {to}", self.bodies));
        if n < 2 && to < 2 {
            self.said.insert(body.clone());
        }
        let packed = [&open_head(0)[..], &body].concat();
        self.nodes[n].send(self.now, (None, addr(to)), Some(secret(to).public()), packed);
        self.collect(n);
    }

    /// Puts what a node sends on its way.
    fn collect(&mut self, n: usize) {
        if let Some(risen) = self.nodes[n].take_risen() {
            self.seen[n] = risen;
        }
        self.nodes[n].check_invariants();
        while let Some(sent) = self.nodes[n].poll_transmit() {
            assert!(sent.bytes.len() <= DATAGRAM_BYTES_MAX);
            assert!(sent.to != addr(2) || n == 2, "not one byte to a stranger");
            let to = (0..3).find(|to| addr(*to) == sent.to).expect("an address of the world");
            let queue = &mut self.under_way[to];
            queue.push_back((addr(n), sent.bytes.clone()));
            queue.truncate(KEPT_MAX);
            self.recorded.push_back(sent.bytes);
            if self.recorded.len() > KEPT_MAX {
                self.recorded.pop_front();
            }
        }
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        trace(|| format!("{to} gets {} bytes from {from}: {:?}", bytes.len(), &bytes[..bytes.len().min(16)]));
        let taken = self.nodes[to].handle_datagram(self.now, from, None, bytes);
        while self.nodes[to].poll_notice().is_some() {}
        if let Some(taken) = taken {
            assert!(to < 2 && taken.key == Some(secret(1 - to).public()), "only a neighbor is heard");
            let length = taken.opened.expect("it was sealed");
            let body = self.nodes[to].opened(length)[OPEN_BYTES..].to_vec();
            assert!(self.said.contains(&body), "it was said");
            assert!(self.taken.insert(body), "it is taken once");
        }
        self.collect(to);
    }
}

/// Runs what the bytes choose.
pub fn run(data: &[u8]) {
    let mut dice = Dice::new(data);
    let mut world = World {
        now: Time::from_micros(1_000_000),
        nodes: [Envelopes::open(), Envelopes::open(), Envelopes::open()],
        kept: [None; 3],
        seen: Default::default(),
        starts: 0,
        under_way: Default::default(),
        recorded: VecDeque::new(),
        said: BTreeSet::new(),
        taken: BTreeSet::new(),
        bodies: 0,
    };
    (0..3).for_each(|n| world.start(n));
    while !dice.is_spent() {
        match dice.below(9) {
            0 => world.say(0, 1),
            1 => world.say(1, 0),
            2 => world.say(2, 0),
            3 => world.now = world.now + Duration::from_millis(dice.below(200_000) as u64),
            4 => {
                let n = dice.below(3);
                world.start(n);
            }
            5 => {
                // A recorded datagram from anywhere, perhaps damaged, its check perhaps repaired.
                let from = addr(dice.below(3));
                let to = dice.below(2);
                let Some(bytes) = world.recorded.get(dice.below(world.recorded.len())) else { continue };
                let mut bytes = bytes.clone();
                if dice.one_in(2) {
                    let at = dice.below(bytes.len());
                    bytes[at] ^= dice.any::<u8>();
                }
                if bytes.first() == Some(&HANDSHAKE) && bytes.len() > CHECK_BYTES && dice.one_in(2) {
                    bytes.truncate(bytes.len() - CHECK_BYTES);
                    bytes = with_check(bytes, secret(to).public());
                }
                // An initiation that is as it was is answered to where it came from, once.
                let from = if from == addr(2) && !dice.one_in(2) { addr(1 - to) } else { from };
                if from != addr(2) {
                    world.deliver(to, from, &bytes);
                }
            }
            6 => {
                let to = dice.below(2);
                let bytes = dice.bytes(DATAGRAM_BYTES_MAX + 1);
                world.deliver(to, addr(2), bytes);
            }
            _ => {
                let to = dice.below(3);
                if let Some((from, bytes)) = world.under_way[to].pop_front() {
                    world.deliver(to, from, &bytes);
                }
            }
        }
    }
    // Whatever has happened, the two find each other again.
    for _ in 0..8 {
        world.now = world.now + Duration::from_secs(1);
        world.under_way.iter_mut().for_each(VecDeque::clear);
        world.say(0, 1);
        world.say(1, 0);
        for _ in 0..4 {
            for to in 0..2 {
                while let Some((from, bytes)) = world.under_way[to].pop_front() {
                    world.deliver(to, from, &bytes);
                }
            }
        }
    }
    let last = world.bodies;
    let heard = |n: u64| world.taken.iter().any(|body| body.starts_with(&n.to_be_bytes()));
    assert!(heard(last) && heard(last - 1), "the link is lost");
}
