//! How our digest is sent to one neighbor: in numbered steps, which the neighbor applies in order,
//! and which are repeated until they are acknowledged.
//!
//! At any moment the neighbor's copy is the result of a prefix of these steps. So an acknowledged
//! mark ("do not trust this") is in force, even if earlier steps are still on their way.

use std::collections::VecDeque;
use std::time::Duration;

use super::local::Local;
use crate::config::{DIGEST_BYTES_PER_SECOND, DIGEST_LEASE_WAIT, DIGEST_REPEAT_MAX, DIGEST_STEP_BYTES, DIGEST_WINDOW};
use crate::time::Time;
use crate::wire::link::LinkDigest;

/// Shortest time between two epochs of one link, so that a neighbor that often drops its copy costs
/// little.
const EPOCH_GAP: Duration = Duration::from_secs(1);
/// Steps may be sent this much ahead of the pace, so that a wake-up sends several.
const PACE_SLACK: Duration = Duration::from_millis(5);
/// Bytes of a step without its bits and hashes, for the pace.
const STEP_BYTES: u64 = 60;

/// Whether the neighbor may trust its copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    /// The neighbor does not trust its copy: no ACK waits for it.
    #[default]
    None,
    /// The last step says that the copy is complete.
    Full,
    /// The neighbor may trust its copy until it acknowledges this step; `None` if the step cannot
    /// be sent. `mark` counts the marks of all links in one sequence; 0 if no change of the index
    /// waits for this step.
    Revoking { step: Option<u64>, mark: u64 },
}

/// The steps to one neighbor.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// While the link is up and the neighbor takes digests: the largest size that it takes.
    live: Option<u8>,
    epoch: u64,
    begun: Time,
    /// Whether the neighbor has lost its copy.
    lost: bool,
    /// The last step that was made, the last one that was sent, and the last one that was
    /// acknowledged.
    made: u64,
    sent: u64,
    acked: u64,
    /// Steps that are to be sent again: those above the first number, up to the second.
    again: (u64, u64),
    /// The steps that are made and not acknowledged.
    under_way: VecDeque<LinkDigest>,
    trust: Trust,
    /// When the neighbor last got a lease, for this epoch or an earlier one.
    leased: Option<Time>,
    generation: u64,
    /// The next byte and the next hash to be sent.
    at: usize,
    key: u64,
    wait: Duration,
    repeat_at: Time,
    next_at: Time,
}

impl Sender {
    /// The link is up, and the neighbor takes digests of up to 2^`log2_max` bits. We have `links`
    /// links besides this one.
    pub(super) fn begin(&mut self, now: Time, epoch: u64, log2_max: u8, links: u16) {
        // The neighbor may trust its copy of an earlier epoch until it acknowledges the first step
        // of this epoch.
        let trust = match self.trust {
            Trust::None => Trust::None,
            // That copy lacks nothing yet. If the index changes, a mark is requested.
            Trust::Full => Trust::Revoking { step: Some(1), mark: 0 },
            Trust::Revoking { mark, .. } => Trust::Revoking { step: Some(1), mark },
        };
        let leased = self.leased;
        *self = Sender { live: Some(log2_max), epoch, begun: now, trust, leased, ..Sender::default() };
        self.push(LinkDigest { size: Some(3), links: Some(links), ..self.step() });
    }

    /// The link is down.
    pub(super) fn end(&mut self) {
        self.live = None;
        self.under_way.clear();
        self.acked = self.made;
        self.sent = self.made;
        if let Trust::Revoking { step, .. } = &mut self.trust {
            *step = None;
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn log2_max(&self) -> u8 {
        self.live.unwrap_or(0)
    }

    /// Grants a lease from now on. Returns its epoch; `None` while the trust is being revoked.
    pub(super) fn lease(&mut self, now: Time) -> Option<u64> {
        match self.trust {
            Trust::None | Trust::Full if self.live.is_some() => {
                self.leased = Some(now);
                Some(self.epoch)
            }
            Trust::None | Trust::Full | Trust::Revoking { .. } => None,
        }
    }

    /// The index has something that the copy may lack. Returns whether a mark with this number is
    /// needed.
    pub(super) fn mark(&mut self, mark: u64) -> bool {
        match &mut self.trust {
            Trust::None => false,
            Trust::Full => {
                let step = self.live.map(|_| {
                    let step = self.step();
                    self.push(step)
                });
                self.trust = Trust::Revoking { step, mark };
                true
            }
            // From now on a change of the index waits for this step.
            Trust::Revoking { mark: old, .. } => {
                let first = *old == 0;
                if first {
                    *old = mark;
                }
                first
            }
        }
    }

    /// The mark that ACKs wait for, and until when at most.
    pub(super) fn awaited(&self) -> Option<(u64, Time)> {
        match self.trust {
            Trust::None | Trust::Full => None,
            Trust::Revoking { mark, .. } => Some((mark, self.lease_end().filter(|_| mark > 0)?)),
        }
    }

    /// When the neighbor stops trusting its copy if nothing reaches it any more.
    pub(super) fn lease_end(&self) -> Option<Time> {
        let trusted = self.trust != Trust::None;
        self.leased.filter(|_| trusted).map(|leased| leased + DIGEST_LEASE_WAIT)
    }

    /// An acknowledgement came. Returns whether it was new.
    pub(super) fn on_ack(&mut self, now: Time, epoch: u64, step: u64, rto: Duration) -> bool {
        if epoch != self.epoch || self.live.is_none() || step > self.sent {
            return false;
        }
        if step == 0 && self.acked > 0 {
            self.lost = true;
            return true;
        }
        if step <= self.acked {
            return false;
        }
        self.acked = step;
        while self.under_way.front().is_some_and(|front| front.step <= step) {
            self.under_way.pop_front();
        }
        if let Trust::Revoking { step: Some(marked), .. } = self.trust
            && marked <= step
        {
            self.trust = Trust::None;
        }
        self.wait = rto;
        self.repeat_at = now + rto;
        true
    }

    /// Whether the neighbor has lost its copy and a new epoch is due.
    pub(super) fn is_lost(&self, now: Time) -> bool {
        self.lost && self.live.is_some() && now >= self.begun + EPOCH_GAP
    }

    /// Sends again the steps that were not acknowledged in time.
    pub(super) fn repeat(&mut self, now: Time, rto: Duration) {
        if self.live.is_some() && self.sent > self.acked && !self.lost && now >= self.repeat_at {
            // A neighbor that has been silent for long gets one step at a time.
            let steps = if self.wait >= DIGEST_REPEAT_MAX { 1 } else { DIGEST_WINDOW as u64 };
            self.again = (self.acked, self.sent.min(self.acked + steps));
            self.wait = (self.wait * 2).clamp(rto, DIGEST_REPEAT_MAX);
            self.repeat_at = now + self.wait;
        }
    }

    /// The next step that is to be sent now. `complete`: our digest has everything that is
    /// registered.
    pub(super) fn poll(&mut self, now: Time, local: &Local, complete: bool, rto: Duration) -> Option<LinkDigest> {
        self.live?;
        if self.again.0.max(self.acked) < self.again.1 {
            let step = self.again.0.max(self.acked) + 1;
            self.again.0 = step;
            return Some(self.under_way[self.place(step)].clone());
        }
        if self.sent == self.made && self.may_make(now) {
            self.make_step(local, complete);
        }
        if self.sent == self.made {
            return None;
        }
        if self.sent == self.acked {
            self.wait = rto;
            self.repeat_at = now + rto;
        }
        self.sent += 1;
        let step = self.under_way[self.place(self.sent)].clone();
        let bytes = STEP_BYTES + (step.bits.len() + step.keys.len()) as u64;
        self.next_at = self.next_at.max(now) + Duration::from_micros(bytes * 1_000_000 / DIGEST_BYTES_PER_SECOND);
        Some(step)
    }

    /// When a step is to be sent if no acknowledgement comes.
    pub(super) fn next(&self, local: &Local, complete: bool) -> Option<Time> {
        self.live?;
        if self.lost {
            return Some(self.begun + EPOCH_GAP);
        }
        let repeat = (self.sent > self.acked).then_some(self.repeat_at);
        let room = self.under_way.len() < DIGEST_WINDOW && self.has_more(local, complete);
        let paced = room.then(|| self.next_at - PACE_SLACK);
        repeat.into_iter().chain(paced).min()
    }

    /// The first hash that is still to be sent; none if all of the digest is sent anyway.
    pub(super) fn needs(&self, local: &Local) -> Option<u64> {
        (self.live.is_some() && self.generation == local.generation()).then_some(self.key)
    }

    #[cfg(test)]
    pub(super) fn is_sure(&self) -> bool {
        self.trust == Trust::Full && self.under_way.is_empty()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.under_way.len() <= DIGEST_WINDOW + 2, "a window, a mark and a first step");
        assert!(self.acked <= self.sent && self.sent <= self.made);
        assert!(self.under_way.iter().map(|step| step.step).eq(self.acked + 1..=self.made), "no step is skipped");
    }

    /// Where a step lies in `under_way`.
    fn place(&self, step: u64) -> usize {
        usize::try_from(step - self.acked - 1).expect("a window is short")
    }

    fn may_make(&self, now: Time) -> bool {
        !self.lost && self.under_way.len() < DIGEST_WINDOW && now + PACE_SLACK >= self.next_at
    }

    fn has_more(&self, local: &Local, complete: bool) -> bool {
        let Some(filter) = local.filter().filter(|filter| Some(filter.log2()) <= self.live) else { return false };
        self.generation != local.generation()
            || (self.trust != Trust::Full && (self.at < filter.bytes().len() || self.key < local.log_end()))
            || (complete && self.trust == Trust::None)
    }

    fn make_step(&mut self, local: &Local, complete: bool) {
        let Some(filter) = local.filter().filter(|filter| Some(filter.log2()) <= self.live) else { return };
        if self.generation != local.generation() {
            (self.generation, self.at, self.key) = (local.generation(), 0, local.log_end());
            let step = self.push(LinkDigest { size: Some(filter.log2()), ..self.step() });
            if self.trust == Trust::Full {
                // The copy lacked nothing, so no change of the index waits for this step.
                self.trust = Trust::Revoking { step: Some(step), mark: 0 };
            }
            return;
        }
        if self.trust == Trust::Full {
            return;
        }
        while self.at < filter.bytes().len() {
            let (at, end) = (self.at, (self.at + DIGEST_STEP_BYTES).min(filter.bytes().len()));
            let bits = &filter.bytes()[at..end];
            self.at = end;
            if bits.iter().any(|byte| *byte != 0) {
                let at = u32::try_from(at).expect("a digest has at most 2^32 bytes");
                self.push(LinkDigest { at, bits: bits.to_vec(), ..self.step() });
                return;
            }
        }
        let keys: Vec<u8> = local.logged(self.key, DIGEST_STEP_BYTES / 8).flat_map(u64::to_be_bytes).collect();
        if !keys.is_empty() {
            self.key += keys.len() as u64 / 8;
            self.push(LinkDigest { keys, ..self.step() });
        } else if complete && self.trust == Trust::None {
            self.trust = Trust::Full;
            self.push(LinkDigest { ok: true, ..self.step() });
        }
    }

    /// A step without content, which is a mark.
    fn step(&self) -> LinkDigest {
        LinkDigest { epoch: self.epoch, step: self.made + 1, ..LinkDigest::default() }
    }

    fn push(&mut self, step: LinkDigest) -> u64 {
        self.made = step.step;
        self.under_way.push_back(step);
        self.made
    }
}
