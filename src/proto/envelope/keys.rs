//! The keys of one handshake, for both directions, and the numbers that were sent and accepted with
//! them.

use snow::StatelessTransportState;

use super::counters::Dropped;
use super::window::Window;
use crate::config::{LINK_KEYS_MAX, LINK_REKEY_AFTER, LINK_REKEY_DATAGRAMS, LINK_REKEY_GRACE};
use crate::time::Time;
use crate::wire::envelope::{SEALED_BYTES, TAG_BYTES, sealed_head};

/// The keys of one handshake.
#[derive(Debug)]
pub(super) struct Keys {
    /// The index of the keys at this side.
    pub(super) local: u32,
    /// The index of the keys at the other side.
    pub(super) remote: u32,
    transport: StatelessTransportState,
    /// Whether this side began the handshake.
    begun_here: bool,
    since: Time,
    /// The number of the next datagram.
    next: u64,
    window: Window,
}

impl Keys {
    pub(super) fn new(transport: StatelessTransportState, begun_here: bool, names: (u32, u32), now: Time) -> Keys {
        let (local, remote) = names;
        Keys { local, remote, transport, begun_here, since: now, next: 0, window: Window::default() }
    }

    /// Whether the keys are too old for any use.
    pub(super) fn are_over(&self, now: Time) -> bool {
        now >= self.since + LINK_KEYS_MAX
    }

    /// Whether new keys should be made. The side that began the handshake is the first to do so.
    pub(super) fn are_worn(&self, now: Time) -> bool {
        let grace = if self.begun_here { std::time::Duration::ZERO } else { LINK_REKEY_GRACE };
        now >= self.since + LINK_REKEY_AFTER + grace || self.next >= LINK_REKEY_DATAGRAMS
    }

    /// A sealed datagram with this body.
    pub(super) fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; SEALED_BYTES + body.len() + TAG_BYTES];
        bytes[..SEALED_BYTES].copy_from_slice(&sealed_head(self.remote, self.next));
        let written = self.transport.write_message(self.next, body, &mut bytes[SEALED_BYTES..]);
        assert_eq!(written.ok(), Some(body.len() + TAG_BYTES), "a body fits its envelope");
        self.next += 1;
        bytes
    }

    /// Opens a datagram that the other side has sealed with this number, into `body`. Returns its
    /// length, and whether the number is the greatest so far.
    pub(super) fn open(&mut self, number: u64, sealed: &[u8], body: &mut [u8]) -> Result<(usize, bool), Dropped> {
        if !self.window.takes(number) {
            return Err(Dropped::Replayed);
        }
        let length = self.transport.read_message(number, sealed, body).map_err(|_| Dropped::Forged)?;
        Ok((length, self.window.take(number)))
    }

    /// Acts as if this many datagrams were sent.
    #[cfg(test)]
    pub(super) fn set_next(&mut self, next: u64) {
        self.next = next;
    }
}
