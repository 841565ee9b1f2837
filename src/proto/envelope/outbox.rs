//! The datagrams and notices that a call of the envelopes produces.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::counters::EnvelopeCounters;
use super::datagram::{Notice, Transmit};
use super::neighbor::Path;
use crate::config::DATAGRAM_NOTICES_PER_SECOND;
use crate::proto::Unanswered;
use crate::proto::rate::Rate;
use crate::time::Time;
use crate::wire::envelope;

/// The output of a call.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) counters: EnvelopeCounters,
    /// Limits the notices, which are for the log: during a flood a few neighbors are enough.
    patience: Rate,
}

impl Outbox {
    pub(super) fn send(&mut self, (to, from): Path, bytes: Vec<u8>) {
        if bytes.first() == Some(&envelope::SEALED) {
            self.counters.sealed += 1;
        }
        self.transmits.push_back(Transmit { from, to, bytes });
    }

    pub(super) fn notice(&mut self, now: Time, from: SocketAddr, why: Unanswered) {
        if self.notices.is_empty() && self.patience.take(now, DATAGRAM_NOTICES_PER_SECOND, 0) {
            self.notices.push_back(Notice { from, why });
        }
    }
}
