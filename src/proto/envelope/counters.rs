//! What the envelopes count: handshakes, and every datagram that was dropped, by reason.

/// Why a datagram was dropped before anything in it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It has the envelope of the other mode.
    Mode,
    /// It has no envelope of this protocol.
    Shape,
    /// Its keys are not known here: they belong to an earlier run, are too old, or are invented.
    Keys,
    /// Its number was accepted before, or is too far below the greatest one.
    Replayed,
    /// It was not sealed under the keys that it names.
    Forged,
    /// A message of a handshake whose check does not match the key of this super peer.
    Check,
    /// A message of a handshake that cannot be decrypted, or a response that belongs to no
    /// handshake.
    Handshake,
    /// An initiation of a key that no neighbor has.
    Stranger,
    /// An initiation whose counter is not above the last one of its key.
    Counter,
    /// An initiation that came after the most that are read in one second.
    Shed,
}

/// The names of [`Dropped`] in its order.
const NAMES: [&str; 10] = [
    "datagrams_other_mode",
    "datagrams_no_envelope",
    "datagrams_unknown_keys",
    "datagrams_replayed",
    "datagrams_forged",
    "handshakes_other_key",
    "handshakes_forged",
    "handshakes_stranger",
    "handshakes_replayed",
    "handshakes_shed",
];

/// The counters, all 0 at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvelopeCounters {
    /// Handshakes that were begun here.
    pub begun: u64,
    /// Handshakes of neighbors that were answered.
    pub answered: u64,
    /// Sets of keys that came into use, renewals included.
    pub keys: u64,
    /// Sealed datagrams that were sent.
    pub sealed: u64,
    /// Sealed datagrams that were opened.
    pub opened: u64,
    dropped: [u64; NAMES.len()],
}

impl EnvelopeCounters {
    pub(super) fn drop_one(&mut self, why: Dropped) {
        self.dropped[why as usize] += 1;
    }

    /// How many datagrams were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize]
    }

    /// All counters, by name.
    pub fn all(&self) -> impl Iterator<Item = (String, u64)> + use<> {
        let counts = [
            ("handshakes_begun", self.begun),
            ("handshakes_answered", self.answered),
            ("link_keys", self.keys),
            ("datagrams_sealed", self.sealed),
            ("datagrams_opened", self.opened),
        ];
        counts.into_iter().chain(NAMES.into_iter().zip(self.dropped)).map(|(name, n)| (name.to_owned(), n))
    }
}
