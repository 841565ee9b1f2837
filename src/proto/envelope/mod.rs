//! The envelopes of the datagrams between super peers, from the packed messages to the bytes on
//! UDP and back: the number in open mode; handshakes and encryption in login mode (PROTOCOL.md 6.5
//! and 6.6).
//!
//! It owns keys, numbers and replay windows. It has no clock, does no I/O, and draws its random
//! numbers from the driver. It knows no messages: other modules decode what it returns. A datagram
//! that fails a check is never decoded.

mod counter;
mod counters;
mod datagram;
mod keys;
mod neighbor;
mod noise;
mod outbox;
mod sealed;
mod window;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub use self::counter::{Reserved, reserve_counters};
pub use self::counters::{Dropped, EnvelopeCounters};
pub use self::datagram::{Notice, Taken, Transmit};
use self::noise::Remote;
use self::outbox::Outbox;
pub use self::sealed::Seal;
use self::sealed::Sealed;
use super::{Entropy, Unanswered};
use crate::config::LINK_ADDRESSES_MAX;
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::envelope::{self, HANDSHAKE, SEALED};

/// All envelopes of a node.
///
/// - getters: [`Envelopes::opened`], [`Envelopes::counters`];
/// - `handle_*`: [`Envelopes::handle_datagram`];
/// - mutators: [`Envelopes::send`], [`Envelopes::take_risen`];
/// - `poll_*`: [`Envelopes::poll_transmit`], [`Envelopes::poll_notice`]. There is no
///   `poll_timeout`, because it acts only when a datagram is sent or comes.
#[derive(Debug)]
pub struct Envelopes {
    mode: Mode,
    out: Outbox,
}

#[derive(Debug)]
enum Mode {
    Open(Numbers),
    Sealed(Box<Sealed>),
}

/// The numbers of datagrams in open mode.
#[derive(Debug, Default)]
struct Numbers {
    next: BTreeMap<SocketAddr, u64>,
    /// The first number for an address that is not in the table.
    first: u64,
}

impl Numbers {
    fn draw(&mut self, to: SocketAddr) -> u64 {
        if self.next.len() >= LINK_ADDRESSES_MAX && !self.next.contains_key(&to) {
            self.first = self.next.values().copied().max().unwrap_or(self.first);
            self.next.clear();
        }
        let next = self.next.entry(to).or_insert(self.first);
        *next += 1;
        *next - 1
    }
}

impl Default for Envelopes {
    fn default() -> Envelopes {
        Envelopes::open()
    }
}

impl Envelopes {
    /// The envelopes of open mode.
    #[must_use]
    pub fn open() -> Envelopes {
        Envelopes { mode: Mode::Open(Numbers::default()), out: Outbox::default() }
    }

    /// The envelopes of login mode.
    #[must_use]
    pub fn sealed(seal: Seal, entropy: Box<dyn Entropy>) -> Envelopes {
        Envelopes { mode: Mode::Sealed(Box::new(Sealed::new(seal, entropy))), out: Outbox::default() }
    }

    /// In login mode: from now on the neighbors have these keys. What is known about neighbors that
    /// stay is kept. The counters of neighbors that are removed are kept too, so that none of their
    /// initiations is accepted again.
    pub fn set_neighbors(&mut self, keys: &[PublicKey]) {
        match &mut self.mode {
            Mode::Open(_) => {}
            Mode::Sealed(sealed) => sealed.set_neighbors(keys),
        }
    }

    /// A datagram came, to this address of ours. Returns it if it passes every check. Then it must
    /// be given to the machine.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, to: Option<IpAddr>, bytes: &[u8]) -> Option<Taken> {
        let Envelopes { mode, out } = self;
        match mode {
            Mode::Open(_) if matches!(bytes.first(), Some(&(HANDSHAKE | SEALED))) => {
                if bytes[0] == HANDSHAKE {
                    out.notice(now, from, Unanswered::Login);
                }
                out.counters.drop_one(Dropped::Mode);
                None
            }
            // The machine counts datagrams that it cannot decode.
            Mode::Open(_) => Some(Taken { key: None, from, to, opened: None }),
            Mode::Sealed(sealed) => sealed.take(now, (from, to), bytes, out),
        }
    }

    /// The last datagram that was opened, in the form of open mode.
    #[must_use]
    pub fn opened(&self, length: usize) -> &[u8] {
        match &self.mode {
            Mode::Open(_) => &[],
            Mode::Sealed(sealed) => sealed.opened(length),
        }
    }

    /// Puts a packed datagram into its envelope. [`Envelopes::poll_transmit`] returns it once it
    /// can be sent. `key` names the neighbor in login mode.
    pub fn send(
        &mut self,
        now: Time,
        (from, to): (Option<IpAddr>, SocketAddr),
        key: Option<PublicKey>,
        mut datagram: Vec<u8>,
    ) {
        let Envelopes { mode, out } = self;
        match (mode, key) {
            (Mode::Open(numbers), _) => {
                envelope::set_number(&mut datagram, numbers.draw(to));
                out.transmits.push_back(Transmit { from, to, bytes: datagram });
            }
            (Mode::Sealed(sealed), Some(key)) => sealed.seal(now, key, (from, to), datagram, out),
            // In login mode, no datagram is sent without the key of its receiver.
            (Mode::Sealed(_), None) => debug_assert!(false, "a neighbor in login mode has a key"),
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    /// A super peer that sends greetings and gets no answer.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.out.notices.pop_front()
    }

    /// The greatest counters of the neighbors, if one has risen since the last call. They should be
    /// stored before anything is sent. Then no initiation is answered twice, even by a later run.
    pub fn take_risen(&mut self) -> Option<BTreeMap<PublicKey, u64>> {
        match &mut self.mode {
            Mode::Open(_) => None,
            Mode::Sealed(sealed) => sealed.take_risen(),
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &EnvelopeCounters {
        &self.out.counters
    }

    /// What must hold between any two calls.
    pub fn check_invariants(&self) {
        match &self.mode {
            Mode::Open(numbers) => assert!(numbers.next.len() <= LINK_ADDRESSES_MAX),
            Mode::Sealed(sealed) => sealed.check_invariants(),
        }
    }
}

/// A message of a handshake with the check for its receiver. Everybody who knows the receiver's key
/// can make the check, so it proves nothing.
#[must_use]
pub fn with_check(message: Vec<u8>, receiver: PublicKey) -> Vec<u8> {
    Remote::new(receiver).check(message)
}

#[cfg(test)]
mod tests;
