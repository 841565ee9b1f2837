//! A neighbor's digest, built from the steps that have come.

use std::time::Duration;

use super::filter::Filter;
use super::keys::Probe;
use crate::config::{DIGEST_LEASE, DIGEST_RESIZE_GAP};
use crate::time::Time;
use crate::wire::link::{LinkDigest, LinkDigested};

/// A filter of at most 2^n bits (8 KiB) is made without delay.
const RESIZE_LOG2_FREE: u8 = 16;

/// What is known of one neighbor's index.
#[derive(Debug, Default)]
pub(super) struct Remote {
    copy: Option<Copy>,
    /// Which epoch may be trusted, and until when.
    lease: Option<(u64, Time)>,
    /// When a step last asked for a large filter. Making one takes a part of a millisecond.
    resized: Option<Time>,
}

#[derive(Debug)]
struct Copy {
    epoch: u64,
    /// The last step that was taken.
    step: u64,
    filter: Filter,
    /// Links that the neighbor has besides this one.
    links: u16,
    /// Whether the last step says that the digest is complete.
    ok: bool,
}

impl Remote {
    /// Drops everything.
    pub(super) fn forget(&mut self) {
        *self = Remote { resized: self.resized, ..Remote::default() };
    }

    /// A step came. A digest of more than 2^`log2_max` bits is refused, and so is a large digest
    /// shortly after another one. Returns the answer.
    pub(super) fn on_step(&mut self, now: Time, step: LinkDigest, log2_max: u8) -> LinkDigested {
        let epoch = step.epoch;
        let next = self.copy.as_ref().filter(|copy| copy.epoch == epoch).map_or(1, |copy| copy.step + 1);
        if step.step == next && step.size.is_some_and(|size| size > RESIZE_LOG2_FREE) {
            if self.resized.is_some_and(|at| now < at + DIGEST_RESIZE_GAP) {
                self.copy = None;
                return LinkDigested { epoch, step: 0 };
            }
            self.resized = Some(now);
        }
        match &mut self.copy {
            Some(copy) if copy.epoch == epoch => {
                if step.step == copy.step + 1 && !copy.take(step, log2_max) {
                    self.copy = None;
                }
            }
            // Only the first step of a new epoch is of use. Any other step is answered with step 0,
            // and the sender starts again.
            Some(_) | None => {
                if step.step == 1
                    && let Some(size) = step.size.filter(|size| (3..=log2_max).contains(size))
                {
                    let mut copy = Copy { epoch, step: 0, filter: Filter::new(size), links: u16::MAX, ok: false };
                    self.copy = copy.take(step, log2_max).then_some(copy);
                }
            }
        }
        let step = self.copy.as_ref().filter(|copy| copy.epoch == epoch).map_or(0, |copy| copy.step);
        LinkDigested { epoch, step }
    }

    /// The neighbor granted a lease in its answer to the HELLO that we sent at `asked`.
    pub(super) fn on_lease(&mut self, epoch: u64, asked: Time) {
        let until = asked + DIGEST_LEASE;
        match &mut self.lease {
            Some((old, end)) if *old == epoch => *end = (*end).max(until),
            Some(_) | None => self.lease = Some((epoch, until)),
        }
    }

    /// Whether the digest is complete, and only the lease is missing.
    pub(super) fn lacks_lease(&self, now: Time) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.ok) && self.trusted(now).is_none()
    }

    /// If the neighbor certainly has no match: how many links it has besides this one.
    pub(super) fn surely_not(&self, now: Time, probe: &Probe) -> Option<u16> {
        let copy = self.trusted(now)?;
        let missing = !probe.may_fit(|key| copy.filter.has(key));
        missing.then_some(copy.links)
    }

    fn trusted(&self, now: Time) -> Option<&Copy> {
        let copy = self.copy.as_ref().filter(|copy| copy.ok)?;
        self.lease.filter(|(epoch, end)| *epoch == copy.epoch && now < *end)?;
        Some(copy)
    }

    #[cfg(test)]
    pub(super) fn bits(&self) -> Option<&[u8]> {
        self.copy.as_ref().filter(|copy| copy.ok).map(|copy| copy.filter.bytes())
    }
}

impl Copy {
    /// Takes one step. Returns whether it was well-formed.
    fn take(&mut self, step: LinkDigest, log2_max: u8) -> bool {
        let LinkDigest { epoch: _, step: number, size, links, at, bits, keys, ok } = step;
        self.step = number;
        self.ok = ok;
        self.links = links.unwrap_or(self.links);
        if let Some(size) = size {
            if !(3..=log2_max).contains(&size) {
                return false;
            }
            self.filter = Filter::new(size);
        }
        let (keys, rest) = keys.as_chunks();
        for key in keys {
            self.filter.add(u64::from_be_bytes(*key));
        }
        rest.is_empty() && self.filter.write(at as usize, &bits)
    }
}

const _: () = assert!(DIGEST_LEASE.as_millis() > Duration::from_secs(1).as_millis());
