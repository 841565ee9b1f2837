//! What a swarm counts, and its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::wire::Message;

/// Messages of one kind, and their bytes in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many were sent.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is counted from the first command on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kinds: BTreeMap<&'static str, Kind>,
    /// Messages that the super peer received and sent.
    pub(super) super_messages: u64,
    pub(super) joins: u64,
    /// Pieces written.
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
    /// Least time that any schedule takes.
    pub bound: Duration,
    /// From the first command to the file, or from each peer's own command if they come one by one:
    /// all peers that have it, ascending.
    pub finished: Vec<Duration>,
    /// Peers that left before they had it.
    pub left: usize,
    /// Peers whose command failed, and why the first one did.
    pub failed: usize,
    /// See `failed`.
    pub why: Option<String>,
    /// Peers that neither have it nor have failed.
    pub unfinished: usize,
    /// Bytes that the seed sent, over those of the file.
    pub seed_egress: f64,
    /// Until the seed has sent each piece.
    pub copy_out: Option<Duration>,
    /// Bytes of pieces that were received and not kept, as a share of all that were received.
    pub duplicates: f64,
    /// Bytes of messages, as a share of the bytes of pieces.
    pub control: f64,
    /// Bytes of pieces that went from one zone to another, over those of the file.
    pub cross_zone: f64,
    /// JOINs that the super peer received.
    pub joins: u64,
    /// Messages that the super peer received and sent.
    pub messages_super: u64,
    /// By kind.
    pub kinds: Vec<(&'static str, Kind)>,
    /// Largest and smallest share of the file that a peer sent.
    pub egress: (f64, f64),
    /// Events, for the speed of the simulation.
    pub happened: u64,
}

impl Figures {
    /// The time of the peer at this share of those that finished, over the bound; none if none did.
    #[must_use]
    pub fn over_bound(&self, share: f64) -> Option<f64> {
        let last = self.finished.len().checked_sub(1)?;
        let at = (last as f64 * share).round() as usize;
        Some(self.finished[at].as_secs_f64() / self.bound.as_secs_f64())
    }

    /// Whether each peer that stayed has the file.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.failed == 0 && self.unfinished == 0
    }
}
