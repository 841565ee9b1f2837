//! Sends datagrams to super peers from the addresses of their neighbors and from anywhere. It sees
//! no traffic, so it does not know a boot id.

use std::net::SocketAddr;
use std::time::Duration;

use super::hands::{Adversary, Hands, Move};
use super::registered::node_id;
use crate::config::{DIGEST_LOG2_MAX, FOLD};
use crate::proto::{Entropy, Input};
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::link::{LinkHello, LinkQuery, LinkRef, Packer};
use crate::wire::{LinkMessage, NodeId, QueryId, QueryKind, Search};

const SEND_EVERY: Duration = Duration::from_secs(3);

/// The spoofer.
#[derive(Debug)]
pub(in crate::sim) struct Spoofer {
    node: NodeId,
    /// Pairs of neighbors: who is attacked, and who seems to send.
    pairs: Vec<(SocketAddr, SocketAddr)>,
    next_at: Time,
    random: Random,
}

impl Spoofer {
    pub(in crate::sim) fn new(pairs: Vec<(SocketAddr, SocketAddr)>, mut random: Random) -> Spoofer {
        Spoofer { node: node_id(&mut random), pairs, next_at: Time::ZERO, random }
    }

    fn forge(&mut self, hands: &Hands<'_>) -> Vec<u8> {
        let header = if self.random.chance(500) { 0 } else { self.random.next_u64() };
        let mut packer = Packer::new(header);
        let id = QueryId([0xfe; 16]);
        let find =
            Search { pattern: "*".into(), kind: QueryKind::Glob, min: None, max: None, limit: None, within: None };
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

impl Adversary for Spoofer {
    fn on_input(&mut self, _: Input<'_>, _: &mut Hands<'_>) {}

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        if hands.now < self.next_at || self.pairs.is_empty() {
            return;
        }
        self.next_at = hands.now + SEND_EVERY;
        let (to, neighbor) = *self.random.pick(&self.pairs);
        let stranger = SocketAddr::from(([10, 251, 0, 1], neighbor.port()));
        for from in [neighbor, stranger] {
            let bytes = self.forge(hands);
            hands.moves.push(Move::Datagram { from, to, bytes });
        }
        hands.struck("spoofer");
    }

    fn wake_at(&self) -> Option<Time> {
        Some(self.next_at)
    }
}
