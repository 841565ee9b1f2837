//! A limit on bytes per second: the bytes that may pass now, and the connections that wait for
//! more, in order. It moves no bytes and sets no timer: its owner asks when to call again.
//!
//! While no connection waits, there is nothing to do. So an idle loop with a limit sleeps.

use std::collections::VecDeque;

use crate::config::{RATE_BURST, RATE_BURST_BYTES, RATE_LIMIT_MAX, RATE_STEP_MAX, RATE_STEPS};
use crate::proto::ConnId;
use crate::time::Time;

/// Credit is counted in millionths of a byte, so that a microsecond at any rate is a whole number.
const MICRO: i64 = 1_000_000;

/// One limit.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes per second; 0: no limit.
    rate: u64,
    /// At most the allowed burst divided by this number passes at once.
    part: u64,
    /// The bytes that may pass at the time `at`. It is below zero if too many have passed, for
    /// example headers of TLS.
    credit: i64,
    at: Time,
    waiting: VecDeque<ConnId>,
}

impl Throttle {
    /// No limit at first. Once a limit is set, at most the allowed burst divided by `part` passes
    /// at once.
    pub(super) fn new(part: u64) -> Throttle {
        Throttle { rate: 0, part, credit: 0, at: Time::ZERO, waiting: VecDeque::new() }
    }

    /// Sets the limit; 0 means none.
    pub(super) fn set_rate(&mut self, rate: u64, now: Time) {
        self.fill(now);
        let was_off = self.rate == 0;
        self.rate = rate.min(RATE_LIMIT_MAX);
        self.credit = if was_off { self.burst() } else { self.credit.min(self.burst()) };
        self.at = now;
    }

    /// Must be called when time has passed.
    pub(super) fn fill(&mut self, now: Time) {
        if self.rate > 0 {
            let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
            let earned = i64::try_from(micros.saturating_mul(self.rate)).unwrap_or(i64::MAX);
            self.credit = self.credit.saturating_add(earned).min(self.burst());
            self.at = now;
        }
    }

    /// How many bytes may pass now; 0 while it is less than a step.
    pub(super) fn room(&self) -> usize {
        match self.rate {
            0 => usize::MAX,
            _ if self.credit < self.step() => 0,
            _ => usize::try_from(self.credit / MICRO).unwrap_or(usize::MAX),
        }
    }

    /// This many bytes have passed.
    pub(super) fn take(&mut self, bytes: usize) {
        if self.rate > 0 {
            let cost = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(MICRO);
            self.credit = self.credit.saturating_sub(cost);
        }
    }

    /// How many bytes a connection may move now. If it may move none, or if others wait, it must
    /// wait too. [`Throttle::next`] returns it when it may continue.
    pub(super) fn admit(&mut self, id: ConnId, waits: &mut bool) -> usize {
        if *waits {
            return 0;
        }
        let room = if self.waiting.is_empty() { self.room() } else { 0 };
        if room == 0 {
            *waits = true;
            self.waiting.push_back(id);
            return 0;
        }
        room
    }

    /// The connection that has waited longest, if bytes may pass.
    pub(super) fn next(&mut self) -> Option<ConnId> {
        if self.room() == 0 { None } else { self.waiting.pop_front() }
    }

    /// How many connections wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When [`Throttle::next`] will return a connection.
    pub(super) fn due(&self) -> Option<Time> {
        if self.waiting.is_empty() {
            return None;
        }
        let missing = if self.rate == 0 { 0 } else { self.step().saturating_sub(self.credit).max(0) };
        let micros = u64::try_from(missing).unwrap_or(0).div_ceil(self.rate.max(1));
        Some(self.at + std::time::Duration::from_micros(micros))
    }

    /// The most credit.
    fn burst(&self) -> i64 {
        let timed = self.rate.saturating_mul(micros(RATE_BURST)) / MICRO.unsigned_abs();
        credit(RATE_BURST_BYTES.max(timed) / self.part)
    }

    /// The least credit with which a connection continues.
    fn step(&self) -> i64 {
        let timed = self.rate.saturating_mul(micros(RATE_STEP_MAX)) / MICRO.unsigned_abs();
        (self.burst() / credit_parts()).min(credit(timed)).max(MICRO)
    }
}

fn credit(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(MICRO)
}

fn credit_parts() -> i64 {
    i64::try_from(RATE_STEPS).unwrap_or(1)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    /// Moves for a minute all bytes that may pass at this limit, in a loop that wakes up `late`
    /// microseconds after each deadline. Returns the bytes, the largest difference from the limit
    /// at any time, how often the loop woke up, and the bytes of each of three connections.
    fn minute(rate: u64, part: u64, late: u64) -> (u64, u64, u64, BTreeMap<u32, u64>) {
        let mut throttle = Throttle::new(part);
        throttle.set_rate(rate, Time::ZERO);
        let (mut waits, mut passed) = ([false; 3], BTreeMap::new());
        let (mut total, mut least_ahead, mut burst, mut wakes) = (0_u64, i128::MAX, 0_i128, 0);
        let mut now = Time::ZERO;
        let mut due: Vec<u32> = (0..3).collect();
        while now < Time::from_micros(60_000_000) {
            throttle.fill(now);
            wakes += 1;
            let mut resumed = Vec::new();
            while let Some(id) = throttle.next() {
                waits[id.index as usize] = false;
                let room = throttle.room();
                throttle.take(room);
                resumed.push((id.index, room));
            }
            for index in std::mem::take(&mut due) {
                let room = throttle.admit(conn(index), &mut waits[index as usize]);
                throttle.take(room);
                resumed.push((index, room));
            }
            for (index, bytes) in resumed {
                // How much more than the limit had passed before these bytes, and how much after
                // them.
                let limit = i128::from(now.as_micros()) * i128::from(rate) / 1_000_000;
                least_ahead = least_ahead.min(i128::from(total) - limit);
                total += bytes as u64;
                burst = burst.max(i128::from(total) - limit - least_ahead);
                *passed.entry(index).or_default() += bytes as u64;
                assert_eq!(throttle.admit(conn(index), &mut waits[index as usize]), 0);
            }
            now = throttle.due().expect("all wait") + std::time::Duration::from_micros(late);
        }
        (total, u64::try_from(burst).unwrap(), wakes, passed)
    }

    #[test]
    fn a_limit_holds_within_two_percent_and_its_bursts_are_bounded() {
        for rate in [RATE_LIMIT_MAX, 1_000_000_000, 12_500_000, 1_000_000, 50_000, 1024] {
            for (part, late) in [(2, 0), (2, 10_000), (3, 5_000)] {
                let (total, burst, wakes, each) = minute(rate, part, late);
                let expected = rate * 60;
                let off = total.abs_diff(expected) as f64 / expected as f64;
                // A minute begins with one burst.
                let first = RATE_BURST_BYTES.max(rate / 10) / part;
                assert!(total <= expected + first && off < 0.02 || rate < 1_000_000, "{rate}, {late}: {total}");
                assert!(burst <= RATE_BURST_BYTES.max(rate / 10), "{rate}, {late}: a burst of {burst}");
                assert!(wakes <= 60 * 200, "{rate}: woke up {wakes} times");
                let (least, most) = (each.values().min().unwrap(), each.values().max().unwrap());
                assert!(most - least <= 3 * first, "{rate}: {each:?}");
            }
        }
    }

    #[test]
    fn nothing_waits_without_a_limit_or_when_it_is_lifted() {
        let (mut throttle, mut waits) = (Throttle::new(2), false);
        assert_eq!(throttle.admit(conn(1), &mut waits), usize::MAX);
        assert_eq!(throttle.due(), None);
        throttle.set_rate(1000, Time::ZERO);
        assert_eq!(throttle.due(), None, "nothing waits: the loop sleeps");
        throttle.take(1_000_000);
        assert_eq!((throttle.admit(conn(1), &mut waits), waits), (0, true));
        assert!(throttle.due() > Some(Time::from_micros(900_000_000)) && throttle.next().is_none());
        throttle.set_rate(0, Time::ZERO);
        assert_eq!((throttle.due(), throttle.next(), throttle.len()), (Some(Time::ZERO), Some(conn(1)), 0));
    }

    #[test]
    fn a_lower_limit_takes_away_what_it_would_not_have_let_pass() {
        let mut throttle = Throttle::new(2);
        throttle.set_rate(100_000_000, Time::ZERO);
        throttle.set_rate(1_000_000, Time::ZERO);
        assert_eq!(throttle.room(), 50_000);
    }
}
