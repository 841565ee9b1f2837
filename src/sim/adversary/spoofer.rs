//! Sends datagrams to super peers, from the addresses of their neighbors and from any other
//! address. It sees no traffic, so it knows no boot id. If links are sealed, it knows the public
//! keys, and has a key of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::hands::{Adversary, Hands, Move};
use super::registered::node_id;
use crate::config::{DIGEST_LOG2_MAX, FOLD};
use crate::proto::envelope::{Envelopes, Seal, with_check};
use crate::proto::{Entropy, Input};
use crate::sim::random::Random;
use crate::time::Time;
use crate::trust::{Pin, PublicKey, SecretKey};
use crate::wire::envelope::{CHECK_BYTES, HANDSHAKE, INITIATION_BYTES, RESPONSE_BYTES, SEALED};
use crate::wire::link::{LinkHello, LinkQuery, LinkRef, Packer};
use crate::wire::{LinkMessage, NodeId, QueryId, QueryKind, Search};

const SEND_EVERY: Duration = Duration::from_secs(3);

/// The spoofer.
#[derive(Debug)]
pub(in crate::sim) struct Spoofer {
    node: NodeId,
    /// Pairs of neighbors: the one that is attacked, and the one that seems to be the sender.
    pairs: Vec<(Pin, SocketAddr)>,
    next_at: Time,
    random: Random,
}

impl Spoofer {
    pub(in crate::sim) fn new(pairs: Vec<(Pin, SocketAddr)>, mut random: Random) -> Spoofer {
        Spoofer { node: node_id(&mut random), pairs, next_at: Time::ZERO, random }
    }

    fn forge(&mut self, hands: &Hands<'_>) -> Vec<u8> {
        let header = if self.random.chance(500) { 0 } else { self.random.next_u64() };
        let mut packer = Packer::new(header);
        let id = QueryId([0xfe; 16]);
        let find = Search::new("*", QueryKind::Glob);
        let (echo, boot) = (self.random.next_u64(), self.random.next_u64());
        let (t, tree, dg) = (hands.now.as_micros(), None, Some(DIGEST_LOG2_MAX));
        let hello =
            LinkHello { node: self.node, boot, echo, t, et: None, tree, whole: false, dg, de: None, fold: Some(FOLD) };
        let query =
            LinkQuery { id, ttl: 64, hops: 1, budget: 60_000, find, have: None, flood: true, tree: None, again: false };
        let messages =
            [LinkMessage::Hello(hello), LinkMessage::Query(query), LinkMessage::Cancel(LinkRef { id, ttl: 64 })];
        for message in messages.iter().filter(|_| self.random.chance(600)) {
            packer.push(message);
        }
        packer.finish().unwrap_or_default()
    }
}

impl Spoofer {
    /// A greeting of a stranger with a correct check, or random bytes in the envelope of a
    /// handshake or of a sealed datagram.
    fn forge_sealed(&mut self, hands: &Hands<'_>, victim: PublicKey) -> Vec<u8> {
        let kind = self.random.below(4);
        let mut noise = |first: &[u8], length: usize| {
            let rest = std::iter::from_fn(|| Some(self.random.below(256) as u8));
            first.iter().copied().chain(rest).take(length).collect::<Vec<u8>>()
        };
        match kind {
            0 => noise(&[SEALED], 200),
            1 => with_check(noise(&[HANDSHAKE, 1], INITIATION_BYTES - CHECK_BYTES), victim),
            2 => with_check(noise(&[HANDSHAKE, 2], RESPONSE_BYTES - CHECK_BYTES), victim),
            _ => {
                let (secret, seen) = (SecretKey::from_seed([0xbd; 32]), BTreeMap::new());
                let seal = Seal { secret, neighbors: vec![victim], counter: self.random.next_u64() | 1, seen };
                let mut stranger = Envelopes::sealed(seal, Box::new(self.random.child("stranger", 0)));
                let to = SocketAddr::from(([10, 251, 0, 1], 1));
                stranger.send(hands.now, (None, to), Some(victim), self.forge(hands));
                stranger.poll_transmit().map(|transmit| transmit.bytes).unwrap_or_default()
            }
        }
    }
}

impl Adversary for Spoofer {
    fn on_input(&mut self, _: Input<'_>, _: &mut Hands<'_>) {}

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        if hands.now < self.next_at || self.pairs.is_empty() {
            return;
        }
        self.next_at = hands.now + SEND_EVERY;
        let (pin, neighbor) = self.random.pick(&self.pairs).clone();
        let to = pin.at.literal().expect("an address");
        let stranger = SocketAddr::from(([10, 251, 0, 1], neighbor.port()));
        for from in [neighbor, stranger] {
            let bytes = match pin.key {
                Some(key) if self.random.chance(700) => self.forge_sealed(hands, key),
                Some(_) | None => self.forge(hands),
            };
            hands.moves.push(Move::Datagram { from, to, bytes });
        }
        hands.struck("spoofer");
    }

    fn wake_at(&self) -> Option<Time> {
        Some(self.next_at)
    }
}
