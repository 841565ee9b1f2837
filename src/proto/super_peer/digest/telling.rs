//! What one neighbour was told of our digest: a row of numbered steps, taken in order, repeated until they are acknowledged.
//!
//! At any moment the neighbour's copy is what some prefix of the row makes of it. So a mark ("do not believe this") that is
//! acknowledged is in force, whatever was sent before it and may still be under way.

use std::collections::VecDeque;
use std::time::Duration;

use super::own::Own;
use crate::config::{DIGEST_BYTES_PER_SECOND, DIGEST_LEASE_WAIT, DIGEST_REPEAT_MAX, DIGEST_STEP_BYTES, DIGEST_WINDOW};
use crate::time::Time;
use crate::wire::link::LinkDigest;

/// Shortest time between two epochs of one link, so that a neighbour which forgets everything costs little.
const EPOCH_GAP: Duration = Duration::from_secs(1);
/// Steps may be sent this much ahead of the pace, so that a wake-up sends several.
const PACE_SLACK: Duration = Duration::from_millis(5);
/// Bytes of a step beside its bits and hashes, for the pace.
const STEP_BYTES: u64 = 60;

/// What the neighbour thinks of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It does not believe it: nothing has to be waited for.
    Unsure,
    /// It was told that it may believe it.
    Sure,
    /// It was, and is now told that it may not: by this step, once it is sent. The number orders marks of all links.
    Marking { step: Option<u64>, mark: u64 },
}

/// The row of steps to one neighbour.
#[derive(Debug)]
pub(super) struct Telling {
    /// Whether the link is up and the neighbour takes a digest; of at most this size.
    live: Option<u8>,
    epoch: u64,
    begun: Time,
    /// Whether the neighbour has lost its copy.
    lost: bool,
    /// The last step that was made, the last one that was sent, and the last one that was acknowledged.
    made: u64,
    sent: u64,
    acked: u64,
    /// Steps that are to be sent again: those above the first number, up to the second.
    again: (u64, u64),
    under_way: VecDeque<LinkDigest>,
    told: Told,
    /// When the neighbour was last told that it may believe this epoch or an earlier one.
    leased: Option<Time>,
    generation: u64,
    /// The next byte and the next hash to be told.
    at: usize,
    key: u64,
    wait: Duration,
    repeat_at: Time,
    next_at: Time,
}

impl Telling {
    pub(super) fn new() -> Telling {
        Telling {
            live: None,
            epoch: 0,
            begun: Time::ZERO,
            lost: false,
            made: 0,
            sent: 0,
            acked: 0,
            again: (0, 0),
            under_way: VecDeque::new(),
            told: Told::Unsure,
            leased: None,
            generation: 0,
            at: 0,
            key: 0,
            wait: Duration::ZERO,
            repeat_at: Time::ZERO,
            next_at: Time::ZERO,
        }
    }

    /// The link is up, and the neighbour takes digests of up to 2^`log2_max` bits. `links` is told to it.
    pub(super) fn begin(&mut self, now: Time, epoch: u64, log2_max: u8, links: u16) {
        // What an earlier epoch was told may still be believed, until the first step of this one is acknowledged.
        let told = match self.told {
            Told::Unsure => Told::Unsure,
            // It is believed until its lease ends, and there is nothing that it lacks: whoever adds to it asks for a mark.
            Told::Sure => Told::Marking { step: Some(1), mark: 0 },
            Told::Marking { mark, .. } => Told::Marking { step: Some(1), mark },
        };
        let leased = self.leased;
        *self = Telling { live: Some(log2_max), epoch, begun: now, told, leased, ..Telling::new() };
        self.push(LinkDigest { size: Some(3), links: Some(links), ..self.step() });
    }

    /// The link is down.
    pub(super) fn end(&mut self) {
        self.live = None;
        self.under_way.clear();
        self.acked = self.made;
        self.sent = self.made;
        if let Told::Marking { step, .. } = &mut self.told {
            *step = None;
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn log2_max(&self) -> u8 {
        self.live.unwrap_or(0)
    }

    /// The epoch that the neighbour may go on believing from now; nothing while it is told not to.
    pub(super) fn lease(&mut self, now: Time) -> Option<u64> {
        match self.told {
            Told::Unsure | Told::Sure if self.live.is_some() => {
                self.leased = Some(now);
                Some(self.epoch)
            }
            Told::Unsure | Told::Sure | Told::Marking { .. } => None,
        }
    }

    /// The index has something that the copy may lack. `mark` numbers this among all links; told whether a mark is needed.
    pub(super) fn mark(&mut self, mark: u64) -> bool {
        match &mut self.told {
            Told::Unsure => false,
            Told::Sure => {
                let step = self.live.map(|_| {
                    let step = self.step();
                    self.push(step)
                });
                self.told = Told::Marking { step, mark };
                true
            }
            // The one of a new epoch marks no record yet; from now on it does.
            Told::Marking { mark: old, .. } => {
                let first = *old == 0;
                if first {
                    *old = mark;
                }
                first
            }
        }
    }

    /// The mark that is waited for, and until when at most.
    pub(super) fn awaited(&self) -> Option<(u64, Time)> {
        match self.told {
            Told::Unsure | Told::Sure => None,
            Told::Marking { mark, .. } => Some((mark, self.lease_end().filter(|_| mark > 0)?)),
        }
    }

    /// When the neighbour has surely ceased to believe, if it is told nothing any more.
    pub(super) fn lease_end(&self) -> Option<Time> {
        let believed = self.told != Told::Unsure;
        self.leased.filter(|_| believed).map(|leased| leased + DIGEST_LEASE_WAIT)
    }

    /// An acknowledgement came. Tells whether it was of use.
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
        if let Told::Marking { step: Some(marked), .. } = self.told
            && marked <= step
        {
            self.told = Told::Unsure;
        }
        self.wait = rto;
        self.repeat_at = now + rto;
        true
    }

    /// Whether the neighbour lost its copy and it is time to begin a new epoch.
    pub(super) fn is_lost(&self, now: Time) -> bool {
        self.lost && self.live.is_some() && now >= self.begun + EPOCH_GAP
    }

    /// Has what is not acknowledged in time sent again.
    pub(super) fn repeat(&mut self, now: Time, rto: Duration) {
        if self.live.is_some() && self.sent > self.acked && !self.lost && now >= self.repeat_at {
            // Whoever has been silent for long is asked with one step at a time.
            let steps = if self.wait >= DIGEST_REPEAT_MAX { 1 } else { DIGEST_WINDOW as u64 };
            self.again = (self.acked, self.sent.min(self.acked + steps));
            self.wait = (self.wait * 2).clamp(rto, DIGEST_REPEAT_MAX);
            self.repeat_at = now + self.wait;
        }
    }

    /// The next step that is to be sent now, if there is one. `whole` tells whether our digest has all that is registered.
    pub(super) fn poll(&mut self, now: Time, own: &Own, whole: bool, rto: Duration) -> Option<LinkDigest> {
        self.live?;
        let under_way = |step: u64| usize::try_from(step - self.acked - 1).expect("a window is short");
        if self.again.0.max(self.acked) < self.again.1 {
            let step = self.again.0.max(self.acked) + 1;
            self.again.0 = step;
            return Some(self.under_way[under_way(step)].clone());
        }
        if self.sent == self.made && self.may_make(now) {
            self.make_step(own, whole);
        }
        if self.sent == self.made {
            return None;
        }
        if self.sent == self.acked {
            self.wait = rto;
            self.repeat_at = now + rto;
        }
        self.sent += 1;
        let step = self.under_way[usize::try_from(self.sent - self.acked - 1).expect("a window is short")].clone();
        let bytes = STEP_BYTES + (step.bits.len() + step.keys.len()) as u64;
        self.next_at = self.next_at.max(now) + Duration::from_micros(bytes * 1_000_000 / DIGEST_BYTES_PER_SECOND);
        Some(step)
    }

    /// When something is to be done if nothing comes.
    pub(super) fn wants(&self, own: &Own, whole: bool) -> Option<Time> {
        self.live?;
        if self.lost {
            return Some(self.begun + EPOCH_GAP);
        }
        let repeat = (self.sent > self.acked).then_some(self.repeat_at);
        let room = self.under_way.len() < DIGEST_WINDOW && self.has_more(own, whole);
        let paced = room.then(|| self.next_at - PACE_SLACK);
        repeat.into_iter().chain(paced).min()
    }

    /// The first hash that is still to be told; none if hashes are of no use here.
    pub(super) fn needs(&self, own: &Own) -> Option<u64> {
        (self.live.is_some() && self.generation == own.generation()).then_some(self.key)
    }

    #[cfg(test)]
    pub(super) fn is_sure(&self) -> bool {
        self.told == Told::Sure && self.under_way.is_empty()
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.under_way.len() <= DIGEST_WINDOW + 2, "a window, a mark and a first step");
        assert!(self.acked <= self.sent && self.sent <= self.made);
        assert!(self.under_way.iter().map(|step| step.step).eq(self.acked + 1..=self.made), "no step is skipped");
    }

    fn may_make(&self, now: Time) -> bool {
        !self.lost && self.under_way.len() < DIGEST_WINDOW && now + PACE_SLACK >= self.next_at
    }

    fn has_more(&self, own: &Own, whole: bool) -> bool {
        let Some(filter) = own.filter().filter(|filter| Some(filter.log2()) <= self.live) else { return false };
        self.generation != own.generation()
            || (self.told != Told::Sure && (self.at < filter.bytes().len() || self.key < own.log_end()))
            || (whole && self.told == Told::Unsure)
    }

    fn make_step(&mut self, own: &Own, whole: bool) {
        let Some(filter) = own.filter().filter(|filter| Some(filter.log2()) <= self.live) else { return };
        if self.generation != own.generation() {
            (self.generation, self.at, self.key) = (own.generation(), 0, own.log_end());
            let step = self.push(LinkDigest { size: Some(filter.log2()), ..self.step() });
            if self.told == Told::Sure {
                // Nothing is missing in what it had; no record waits for this.
                self.told = Told::Marking { step: Some(step), mark: 0 };
            }
            return;
        }
        if self.told == Told::Sure {
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
        let keys: Vec<u8> = own.logged(self.key, DIGEST_STEP_BYTES / 8).flat_map(u64::to_be_bytes).collect();
        if !keys.is_empty() {
            self.key += keys.len() as u64 / 8;
            self.push(LinkDigest { keys, ..self.step() });
        } else if whole && self.told == Told::Unsure {
            self.told = Told::Sure;
            self.push(LinkDigest { ok: true, ..self.step() });
        }
    }

    /// A step without anything in it: the mark.
    fn step(&self) -> LinkDigest {
        LinkDigest {
            epoch: self.epoch,
            step: self.made + 1,
            size: None,
            links: None,
            at: 0,
            bits: Vec::new(),
            keys: Vec::new(),
            ok: false,
        }
    }

    fn push(&mut self, step: LinkDigest) -> u64 {
        self.made = step.step;
        self.under_way.push_back(step);
        self.made
    }
}
