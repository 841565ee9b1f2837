//! The envelopes of datagrams in the world: open, or sealed as in login mode. The key of a node
//! follows from its number. What its envelopes must store survives a restart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::World;
use crate::proto::Input;
use crate::proto::envelope::{Envelopes, Notice, Reserved, Seal, Transmit, reserve_counters};
use crate::sim::node::Machine;
use crate::trust::{Pin, PublicKey, SecretKey};

impl World {
    /// From now on the links of new nodes are sealed. All super peers of a world must have the same
    /// mode.
    pub fn seal_links(&mut self) {
        assert!(self.nodes.is_empty(), "a world is in one mode");
        self.sealed = true;
    }

    /// Whether links are sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The form in which a super peer names this address as its neighbor.
    pub(in crate::sim) fn pin(&self, at: SocketAddr) -> Pin {
        let key = self.sealed.then(|| number_at(at.ip())).flatten().map(public_key_of);
        Pin { key, at: at.into() }
    }

    /// The node with this key, and without a key the node at this address. The address of a sealed
    /// datagram says nothing: a repeated datagram may come from another one.
    pub(super) fn node_of(&self, at: SocketAddr, key: Option<PublicKey>) -> Option<usize> {
        let with_key = key.and_then(|key| self.nodes.iter().position(|node| node.key == Some(key)));
        with_key.or_else(|| self.by_ip.get(&at.ip()).copied())
    }

    /// The envelopes of a node for its next life.
    pub(super) fn renew_envelopes(&mut self, number: usize) {
        let is_peer = matches!(self.nodes[number].machine, Some(Machine::Super(_) | Machine::Adversary(_)));
        if !self.sealed || !is_peer {
            return;
        }
        let pins = match &self.nodes[number].pins {
            Some(pins) => pins.clone(),
            // An adversary may seal for every node, but no node need accept it.
            None => (0..self.nodes.len()).map(public_key_of).collect(),
        };
        let node = &mut self.nodes[number];
        let Reserved { first, keep } = reserve_counters(node.counters_kept, self.now.as_micros() / 1_000_000);
        node.counters_kept = Some(keep);
        let seal = Seal { secret: key_of(number), neighbors: pins, counter: first, seen: node.counters_seen.clone() };
        let random = self.root.child("envelopes", number as u64 ^ (node.life << 32));
        node.envelopes = Envelopes::sealed(seal, Box::new(random));
    }

    /// Puts a packed datagram into its envelope and sends it.
    pub(super) fn post(&mut self, node: usize, to: SocketAddr, packed: Vec<u8>) {
        let key = self.pin(to).key;
        let now = self.clock(node);
        self.nodes[node].envelopes.send(now, (None, to), key, packed);
        self.transmit_ready(node);
    }

    fn transmit_ready(&mut self, node: usize) {
        if let Some(risen) = self.nodes[node].envelopes.take_risen() {
            self.nodes[node].counters_seen = risen;
        }
        while let Some(Transmit { to, bytes, .. }) = self.nodes[node].envelopes.poll_transmit() {
            self.send_datagram(node, to, bytes);
        }
    }

    /// Opens a datagram that came. Returns it in the form of open mode, with what its sender has
    /// proven. None if the datagram is dropped.
    pub(super) fn unpack(
        &mut self,
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    ) -> Option<(Option<PublicKey>, SocketAddr, Vec<u8>)> {
        let now = self.clock(to);
        let envelopes = &mut self.nodes[to].envelopes;
        let taken = envelopes.handle_datagram(now, from, None, &bytes);
        let opened = taken.and_then(|taken| taken.opened).map(|length| envelopes.opened(length).to_vec());
        if self.checks {
            envelopes.check_invariants();
        }
        self.transmit_ready(to);
        if let Some(Notice { from, why }) = self.nodes[to].envelopes.poll_notice() {
            self.turn(to, Input::Unanswered { from, why });
        }
        taken.map(|taken| (taken.key, taken.from, opened.unwrap_or(bytes)))
    }
}

/// The key of the node with this number.
pub(in crate::sim) fn key_of(number: usize) -> SecretKey {
    let mut seed = [0x5b; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SecretKey::from_seed(seed)
}

/// Its public key. Every datagram needs one, so each thread computes it only once.
pub(in crate::sim) fn public_key_of(number: usize) -> PublicKey {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<usize, PublicKey>> = const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| *known.entry(number).or_insert_with(|| key_of(number).public()))
}

/// The number of the node at an address of the world.
fn number_at(ip: IpAddr) -> Option<usize> {
    let IpAddr::V4(ip) = ip else { return None };
    let [_, b, c, d] = ip.octets();
    usize::try_from(u32::from_be_bytes([0, b, c, d])).ok()?.checked_sub(1)
}
