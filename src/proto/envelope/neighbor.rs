//! What the envelopes know about one neighbor: its key, the keys of the last handshakes, the
//! running handshake, and where its newest datagram came from.

use std::net::{IpAddr, SocketAddr};

use snow::HandshakeState;

use super::keys::Keys;
use super::noise::Remote;
use crate::config::{DIAL_ADDRESSES_MAX, LINK_HANDSHAKE_RETRY, LINK_UNHEARD_MAX};
use crate::time::Time;

/// The address that a datagram came from, and our address that it was sent to.
pub(super) type Path = (SocketAddr, Option<IpAddr>);

/// A handshake that this side has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) local: u32,
    pub(super) state: HandshakeState,
    at: Time,
    pub(super) bytes: Vec<u8>,
    /// The addresses that it was sent to.
    sent_to: Vec<SocketAddr>,
}

impl Begun {
    pub(super) fn new(local: u32, state: HandshakeState, bytes: Vec<u8>, at: Time) -> Begun {
        Begun { local, state, at, bytes, sent_to: Vec::new() }
    }

    /// Whether it has had no answer for so long that another handshake may begin.
    pub(super) fn is_late(&self, now: Time) -> bool {
        now >= self.at + LINK_HANDSHAKE_RETRY
    }

    /// The handshake is sent to this address now. Returns whether this is the first time.
    pub(super) fn goes_to(&mut self, to: SocketAddr) -> bool {
        let is_new = !self.sent_to.contains(&to) && self.sent_to.len() < DIAL_ADDRESSES_MAX;
        if is_new {
            self.sent_to.push(to);
        }
        is_new
    }
}

/// One neighbor.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) remote: Remote,
    /// The greatest counter of its initiations.
    pub(super) seen: u64,
    pub(super) begun: Option<Begun>,
    /// Keys of a handshake that the neighbor began and has not used yet. It may not have got the
    /// response.
    pub(super) next: Option<Keys>,
    /// The keys that are used for sending.
    pub(super) current: Option<Keys>,
    /// The keys before the current ones. Datagrams sealed with them may still be on their way.
    pub(super) previous: Option<Keys>,
    /// The last datagram that could not be sealed, because there were no keys.
    pub(super) held: Option<Vec<u8>>,
    /// Where its newest datagram came from.
    pub(super) at: Option<Path>,
    /// When its last datagram came.
    heard: Time,
    /// The host to which the last greeting was sent.
    greeted: Option<IpAddr>,
}

impl Neighbor {
    pub(super) fn new(remote: Remote, seen: u64) -> Neighbor {
        Neighbor {
            remote,
            seen,
            begun: None,
            next: None,
            current: None,
            previous: None,
            held: None,
            at: None,
            heard: Time::ZERO,
            greeted: None,
        }
    }

    /// The indices of all its keys and of its handshake.
    pub(super) fn locals(&self) -> impl Iterator<Item = u32> + '_ {
        let keys = [&self.next, &self.current, &self.previous].into_iter().flatten();
        keys.map(|keys| keys.local).chain(self.begun.as_ref().map(|begun| begun.local))
    }

    /// The keys that have this index at this side.
    pub(super) fn keys_mut(&mut self, local: u32) -> Option<&mut Keys> {
        let Neighbor { next, current, previous, .. } = self;
        [current, next, previous].into_iter().flatten().find(|keys| keys.local == local)
    }

    /// Drops keys that are too old. Returns their indices.
    pub(super) fn forget_old(&mut self, now: Time) -> Vec<u32> {
        let Neighbor { next, current, previous, .. } = self;
        let slots = [next, current, previous].into_iter();
        slots.filter_map(|slot| slot.take_if(|keys| keys.are_over(now))).map(|keys| keys.local).collect()
    }

    /// Whether a handshake should begin before something is sent.
    pub(super) fn lacks_keys(&self, now: Time) -> bool {
        self.current.as_ref().is_none_or(|keys| keys.are_worn(now)) || now >= self.heard + LINK_UNHEARD_MAX
    }

    /// A handshake of this side is complete: from now on its keys are used. Returns the keys that
    /// are dropped.
    pub(super) fn use_new(&mut self, keys: Keys) -> [Option<Keys>; 2] {
        let before = self.current.replace(keys);
        match self.next.take() {
            // The neighbor may be using these keys already.
            Some(unused) => [self.previous.replace(unused), before],
            None => [std::mem::replace(&mut self.previous, before), None],
        }
    }

    /// The neighbor has used the keys of its own handshake: from now on this side uses them too.
    /// Returns the keys that are dropped.
    pub(super) fn use_next(&mut self, local: u32) -> Option<Keys> {
        let next = self.next.take_if(|keys| keys.local == local)?;
        let before = self.current.replace(next);
        std::mem::replace(&mut self.previous, before)
    }

    pub(super) fn note_heard(&mut self, now: Time) {
        self.heard = now;
    }

    pub(super) fn note_greeted(&mut self, to: IpAddr) {
        self.greeted = Some(to);
    }

    /// Whether datagrams of the neighbor are expected from this host.
    pub(super) fn may_be_at(&self, ip: IpAddr) -> bool {
        let sent = self.begun.iter().flat_map(|begun| &begun.sent_to).map(SocketAddr::ip);
        let known = self.at.map(|(from, _)| from.ip()).into_iter().chain(self.greeted);
        known.chain(sent).any(|known| known == ip)
    }
}
