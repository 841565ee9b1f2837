//! The counts of a swarm, and its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::wire::Message;

/// The messages of one kind, and their bytes in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many were sent.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The counts from the first command on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kinds: BTreeMap<&'static str, Kind>,
    /// Messages that the super peer received and sent.
    pub(super) super_messages: u64,
    pub(super) joins: u64,
    /// The number of pieces that were written.
    pub(super) written: u64,
    /// Bytes of payloads that went from one zone to another.
    pub(super) crossed: f64,
    pub(super) left: usize,
    pub(super) happened: u64,
}

impl Tally {
    pub(super) fn sent(&mut self, by_super_peer: bool, message: &Message, bytes: u64) {
        let kind = self.kinds.entry(message.kind()).or_default();
        kind.messages += 1;
        kind.bytes += bytes;
        self.super_messages += u64::from(by_super_peer);
    }

    pub(super) fn super_received(&mut self, message: &Message) {
        self.super_messages += 1;
        self.joins += u64::from(message.kind() == "JOIN");
    }
}

/// The figures of one swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The least time for any schedule.
    pub bound: Duration,
    /// How long each peer that has the file took to get it, in ascending order. The time begins
    /// with the first command or, if peers come one by one, with the command of each peer.
    pub finished: Vec<Duration>,
    /// Peers that left before they had the file.
    pub left: usize,
    /// Peers whose command failed, and why the first one did.
    pub failed: usize,
    /// See `failed`.
    pub why: Option<String>,
    /// Peers that neither have the file nor have failed.
    pub unfinished: usize,
    /// Bytes that the seed has sent, divided by the size of the file.
    pub seed_egress: f64,
    /// The time until the seed has sent each piece.
    pub copy_out: Option<Duration>,
    /// Bytes of pieces that were received but not kept, as a share of all received bytes of pieces.
    pub duplicates: f64,
    /// Bytes of messages, as a share of the bytes of pieces.
    pub control: f64,
    /// Bytes of pieces that went from one zone to another, divided by the size of the file.
    pub cross_zone: f64,
    /// JOINs that the super peer received.
    pub joins: u64,
    /// Messages that the super peer received and sent.
    pub messages_super: u64,
    /// The messages of each kind.
    pub kinds: Vec<(&'static str, Kind)>,
    /// The largest and the smallest share of the file that a peer has sent.
    pub egress: (f64, f64),
    /// The number of events, for the speed of the simulation.
    pub happened: u64,
}

impl Figures {
    /// The time that this share of the finished peers did not exceed, divided by the bound. None if
    /// no peer finished.
    #[must_use]
    pub fn over_bound(&self, share: f64) -> Option<f64> {
        let last = self.finished.len().checked_sub(1)?;
        let at = (last as f64 * share).round() as usize;
        Some(self.finished[at].as_secs_f64() / self.bound.as_secs_f64())
    }

    /// Whether each peer that has stayed has the file.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.failed == 0 && self.unfinished == 0
    }
}
