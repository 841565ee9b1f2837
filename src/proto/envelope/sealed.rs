//! The envelopes of login mode: handshakes with neighbors, and one encryption per datagram.
//!
//! It has no timer. A handshake only begins when something must be sent. HELLO is sent every two
//! seconds on a link that is up, and every second on a link that is not. To an address that has not
//! proven the key of a neighbor, only initiations are sent, and only if the machine says that a
//! neighbor is there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};

use super::counters::Dropped;
use super::datagram::Taken;
use super::keys::Keys;
use super::neighbor::{Begun, Neighbor, Path};
use super::noise::{self, Identity, Remote, Seed};
use super::outbox::Outbox;
use crate::config::{DATAGRAM_BYTES_MAX, HANDSHAKES_KNOWN_PER_SECOND, HANDSHAKES_STRANGE_PER_SECOND};
use crate::proto::rate::Rate;
use crate::proto::{Entropy, Unanswered};
use crate::time::Time;
use crate::trust::{PublicKey, SecretKey};
use crate::wire::envelope::{self, Envelope, OPEN_BYTES};
use crate::wire::link;

/// What login mode needs.
#[derive(Debug)]
pub struct Seal {
    /// The key of this super peer.
    pub secret: SecretKey,
    /// The keys of its neighbors. Datagrams of any other key are dropped.
    pub neighbors: Vec<PublicKey>,
    /// The counter of its first initiation. It must be above every counter that this super peer has
    /// used ([`super::reserve_counters`]).
    pub counter: u64,
    /// The greatest counters that its neighbors have used.
    pub seen: BTreeMap<PublicKey, u64>,
}

/// The neighbors and their keys.
pub(super) struct Sealed {
    me: Identity,
    pub(super) neighbors: Vec<Neighbor>,
    /// The place of each key in `neighbors`.
    by_key: BTreeMap<PublicKey, usize>,
    /// The place in `neighbors` for each index of keys or of a handshake.
    by_index: BTreeMap<u32, usize>,
    /// The counter of the next initiation.
    counter: u64,
    entropy: Box<dyn Entropy>,
    /// The rate at which initiations from the hosts of neighbors are read, and the rate for all
    /// other hosts.
    known: Rate,
    strange: Rate,
    /// The datagram that was opened last, in the envelope of open mode.
    opened: Vec<u8>,
    /// Whether the counter of a neighbor has risen.
    has_risen: bool,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("me", &self.me).field("neighbors", &self.neighbors).finish_non_exhaustive()
    }
}

impl Sealed {
    pub(super) fn new(seal: Seal, entropy: Box<dyn Entropy>) -> Sealed {
        let Seal { secret, neighbors, counter, seen } = seal;
        let mut all = Sealed {
            me: Identity::new(&secret),
            neighbors: Vec::new(),
            by_key: BTreeMap::new(),
            by_index: BTreeMap::new(),
            counter,
            entropy,
            known: Rate::default(),
            strange: Rate::default(),
            opened: vec![0; DATAGRAM_BYTES_MAX],
            has_risen: false,
        };
        // A super peer that is not a neighbor now may become one again.
        for (key, seen) in seen {
            all.neighbors.push(Neighbor::new(Remote::new(key), seen));
        }
        all.set_neighbors(&neighbors);
        all
    }

    /// From now on the neighbors have these keys.
    pub(super) fn set_neighbors(&mut self, keys: &[PublicKey]) {
        let gone: Vec<usize> = self.by_key.extract_if(.., |key, _| !keys.contains(key)).map(|(_, at)| at).collect();
        for at in gone {
            let Neighbor { remote, seen, .. } = &self.neighbors[at];
            let bare = Neighbor::new(Remote::new(remote.key), *seen);
            for local in std::mem::replace(&mut self.neighbors[at], bare).locals() {
                self.by_index.remove(&local);
            }
        }
        for key in keys {
            if !self.by_key.contains_key(key) {
                let known = self.neighbors.iter().position(|neighbor| neighbor.remote.key == *key);
                let at = known.unwrap_or_else(|| {
                    self.neighbors.push(Neighbor::new(Remote::new(*key), 0));
                    self.neighbors.len() - 1
                });
                self.by_key.insert(*key, at);
            }
        }
    }

    /// The bytes that [`Taken::opened`] counts.
    pub(super) fn opened(&self, length: usize) -> &[u8] {
        &self.opened[..length]
    }

    /// The greatest counters of the neighbors, if one has risen since the last call.
    pub(super) fn take_risen(&mut self) -> Option<BTreeMap<PublicKey, u64>> {
        if !std::mem::take(&mut self.has_risen) {
            return None;
        }
        let heard = self.neighbors.iter().filter(|neighbor| neighbor.seen > 0);
        let mut all = BTreeMap::new();
        all.extend(heard.map(|neighbor| (neighbor.remote.key, neighbor.seen)));
        Some(all)
    }

    // ---- sending --------------------------------------------------------------------------------

    /// Seals a datagram, which is in the form of open mode, for the neighbor with this key. If
    /// there are no keys, the datagram is held and a handshake begins.
    pub(super) fn seal(
        &mut self,
        now: Time,
        key: PublicKey,
        (from, to): (Option<IpAddr>, SocketAddr),
        datagram: Vec<u8>,
        out: &mut Outbox,
    ) {
        let Some(&at) = self.by_key.get(&key) else { return };
        self.forget_old(at, now);
        self.neighbors[at].note_greeted(to.ip());
        if self.neighbors[at].lacks_keys(now) {
            self.greet(now, at, (to, from), out);
        }
        let neighbor = &mut self.neighbors[at];
        match &mut neighbor.current {
            Some(keys) => out.send((to, from), keys.seal(&datagram[OPEN_BYTES..])),
            None => neighbor.held = Some(datagram),
        }
    }

    /// Sends an initiation, unless one was sent to this address a moment ago.
    fn greet(&mut self, now: Time, at: usize, path: Path, out: &mut Outbox) {
        if self.neighbors[at].begun.as_ref().is_none_or(|begun| begun.is_late(now)) {
            let (local, seed) = (self.draw_index(at), self.draw_seed());
            let neighbor = &mut self.neighbors[at];
            let (state, bytes) = self.me.initiate(&neighbor.remote, local, self.counter, seed);
            self.counter = self.counter.checked_add(1).expect("a run has fewer than 2^40 handshakes");
            if let Some(before) = neighbor.begun.replace(Begun::new(local, state, bytes, now)) {
                self.by_index.remove(&before.local);
            }
            out.counters.begun += 1;
        }
        if let Some(begun) = &mut self.neighbors[at].begun
            && begun.goes_to(path.0)
        {
            let bytes = begun.bytes.clone();
            out.send(path, bytes);
        }
    }

    /// Seals the datagram that waited for the first keys. If none did, seals an empty one, so that
    /// the other side knows that these keys are in use.
    fn confirm(&mut self, at: usize, path: Path, begun_here: bool, out: &mut Outbox) {
        let neighbor = &mut self.neighbors[at];
        let held = neighbor.held.take();
        let Some(keys) = &mut neighbor.current else { return };
        match held {
            Some(datagram) => out.send(path, keys.seal(&datagram[OPEN_BYTES..])),
            None if begun_here => out.send(path, keys.seal(&[])),
            None => {}
        }
    }

    // ---- receiving ------------------------------------------------------------------------------

    /// Handles a datagram that came. All checks are made before anything in it is decoded.
    pub(super) fn take(&mut self, now: Time, path: Path, bytes: &[u8], out: &mut Outbox) -> Option<Taken> {
        let taken = match Envelope::parse(bytes) {
            Some(Envelope::Sealed { receiver, number, sealed }) => {
                self.open(now, path, (receiver, number), sealed, out)
            }
            Some(Envelope::Initiation { sender, noise }) => {
                self.on_initiation(now, path, (sender, noise), bytes, out).map(|()| None)
            }
            Some(Envelope::Response { sender, receiver, noise }) => {
                self.on_response(now, path, (sender, receiver, noise), bytes, out).map(|()| None)
            }
            Some(Envelope::Open { .. }) => {
                if link::begins_with_hello(bytes) {
                    out.notice(now, path.0, Unanswered::Open);
                }
                Err(Dropped::Mode)
            }
            None => Err(Dropped::Shape),
        };
        taken.unwrap_or_else(|why| {
            out.counters.drop_one(why);
            None
        })
    }

    fn open(
        &mut self,
        now: Time,
        path: Path,
        (receiver, number): (u32, u64),
        sealed: &[u8],
        out: &mut Outbox,
    ) -> Result<Option<Taken>, Dropped> {
        let at = *self.by_index.get(&receiver).ok_or(Dropped::Keys)?;
        self.forget_old(at, now);
        let neighbor = &mut self.neighbors[at];
        let keys = neighbor.keys_mut(receiver).ok_or(Dropped::Keys)?;
        let (length, is_newest) = keys.open(number, sealed, &mut self.opened[OPEN_BYTES..])?;
        out.counters.opened += 1;
        neighbor.note_heard(now);
        let is_current = neighbor.current.as_ref().is_some_and(|keys| keys.local == receiver);
        let is_next = neighbor.next.as_ref().is_some_and(|keys| keys.local == receiver);
        if is_newest && (is_current || is_next) || neighbor.at.is_none() {
            neighbor.at = Some(path);
        }
        let (key, from) = (neighbor.remote.key, neighbor.at.unwrap_or(path));
        if is_next {
            let left_out = neighbor.use_next(receiver);
            out.counters.keys += 1;
            self.forget(left_out);
            self.confirm(at, path, false, out);
        }
        if length == 0 {
            return Ok(None);
        }
        self.opened[..OPEN_BYTES].copy_from_slice(&envelope::open_head(number));
        Ok(Some(Taken { key: Some(key), from: from.0, to: from.1, opened: Some(OPEN_BYTES + length) }))
    }

    fn on_initiation(
        &mut self,
        now: Time,
        path: Path,
        (remote, noise): (u32, &[u8]),
        bytes: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Dropped> {
        if !self.me.check.fits(bytes) {
            out.notice(now, path.0, Unanswered::OtherKey);
            return Err(Dropped::Check);
        }
        let is_known = self.neighbors.iter().any(|neighbor| neighbor.may_be_at(path.0.ip()));
        let (rate, per_second) = match is_known {
            true => (&mut self.known, HANDSHAKES_KNOWN_PER_SECOND),
            false => (&mut self.strange, HANDSHAKES_STRANGE_PER_SECOND),
        };
        if !rate.take(now, per_second, 0) {
            return Err(Dropped::Shed);
        }
        let seed = self.draw_seed();
        let heard = self.me.read(noise, seed).ok_or(Dropped::Handshake)?;
        let Some(&at) = self.by_key.get(&heard.key) else {
            out.notice(now, path.0, Unanswered::Stranger(heard.key));
            return Err(Dropped::Stranger);
        };
        if heard.counter <= self.neighbors[at].seen {
            out.notice(now, path.0, Unanswered::Counter(heard.key));
            return Err(Dropped::Counter);
        }
        self.forget_old(at, now);
        let local = self.draw_index(at);
        let neighbor = &mut self.neighbors[at];
        neighbor.seen = heard.counter;
        self.has_risen = true;
        let (transport, response) = heard.answer(&neighbor.remote, local, remote);
        let unused = neighbor.next.replace(Keys::new(transport, false, (local, remote), now));
        self.forget(unused);
        out.counters.answered += 1;
        out.send(path, response);
        Ok(())
    }

    fn on_response(
        &mut self,
        now: Time,
        path: Path,
        (remote, local, noise): (u32, u32, &[u8]),
        bytes: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Dropped> {
        if !self.me.check.fits(bytes) {
            return Err(Dropped::Check);
        }
        let at = *self.by_index.get(&local).ok_or(Dropped::Handshake)?;
        let neighbor = &mut self.neighbors[at];
        let mut begun = neighbor.begun.take_if(|begun| begun.local == local).ok_or(Dropped::Handshake)?;
        if !noise::read_response(&mut begun.state, noise) {
            neighbor.begun = Some(begun);
            return Err(Dropped::Handshake);
        }
        let transport = begun.state.into_stateless_transport_mode().expect("the handshake is over");
        let left_out = neighbor.use_new(Keys::new(transport, true, (local, remote), now));
        neighbor.note_heard(now);
        neighbor.at = Some(path);
        out.counters.keys += 1;
        left_out.into_iter().for_each(|keys| self.forget(keys));
        self.confirm(at, path, true, out);
        Ok(())
    }

    // ---- keeping --------------------------------------------------------------------------------

    fn forget_old(&mut self, at: usize, now: Time) {
        for local in self.neighbors[at].forget_old(now) {
            self.by_index.remove(&local);
        }
    }

    fn forget(&mut self, keys: Option<Keys>) {
        if let Some(keys) = keys {
            self.by_index.remove(&keys.local);
        }
    }

    /// Draws an index that leads to this neighbor from now on. Only those who see the traffic can
    /// know it.
    fn draw_index(&mut self, at: usize) -> u32 {
        loop {
            let drawn = self.entropy.next_u64() as u32;
            if let Entry::Vacant(place) = self.by_index.entry(drawn) {
                place.insert(at);
                return drawn;
            }
        }
    }

    fn draw_seed(&mut self) -> Seed {
        let mut seed = Seed::default();
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&self.entropy.next_u64().to_be_bytes());
        }
        seed
    }

    /// What must hold between any two calls.
    pub(super) fn check_invariants(&self) {
        let named: BTreeMap<u32, usize> = (0..)
            .zip(&self.neighbors)
            .flat_map(|(at, neighbor)| neighbor.locals().map(move |local| (local, at)))
            .collect();
        assert_eq!(named, self.by_index, "an index leads to its keys");
    }
}
