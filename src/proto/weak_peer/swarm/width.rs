//! The width: how many pieces are fetched, or sent, at once. It is as small as possible while all
//! of the bandwidth is used, because a piece that has all of the bandwidth is complete soonest, and
//! can then be passed on. More than one piece is needed if one connection does not use all of the
//! bandwidth, because the path is long or the other end is slow.
//!
//! It does not know the bandwidth. It tries a width of one more or one less for some pieces, and
//! keeps it if the rate is higher, or if it is the same with the smaller width.

use std::time::Duration;

use crate::config::{
    PIECE_BYTES, SWARM_FETCHES_MAX, WIDTH_ON_WAY, WIDTH_PAUSE, WIDTH_PIECES, WIDTH_TIME_MIN, WIDTH_TRIAL_FIRST,
    WIDTH_TRIAL_LAST, WIDTH_TRIAL_LESS,
};
use crate::time::Time;

/// Another width is tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// The width before.
    before: usize,
    /// A first trial of this width has given a higher rate already.
    is_second: bool,
}

/// The present width, and the trial of another one.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Width {
    now: usize,
    most: usize,
    /// It never changes.
    is_fixed: bool,
    /// Bytes in a second with this width.
    rate: u64,
    /// The measurement that runs: since when, and how many bytes.
    since: Option<Time>,
    last: Time,
    bytes: u64,
    /// The trial that runs.
    trial: Option<Trial>,
    /// Whether the next trial is of a greater width.
    up: bool,
    /// Measurements before the next trial; and before the trial after one that gives no higher
    /// rate.
    wait: u32,
    patience: u32,
}

/// The width of a download.
impl Default for Width {
    fn default() -> Width {
        Width::new(SWARM_FETCHES_MAX)
    }
}

impl Width {
    /// A width of one at first, and never more than `most`.
    pub(in crate::proto::weak_peer) fn new(most: usize) -> Width {
        let (wait, patience) = (WIDTH_TRIAL_FIRST, WIDTH_TRIAL_FIRST);
        Width {
            now: 1,
            most,
            is_fixed: false,
            rate: 0,
            since: None,
            last: Time::ZERO,
            bytes: 0,
            trial: None,
            up: true,
            wait,
            patience,
        }
    }

    /// Fixes the width; none means as small as is possible with all of the bandwidth in use.
    pub(in crate::proto::weak_peer) fn set(&mut self, width: Option<usize>) {
        match width {
            Some(width) => (self.now, self.is_fixed, self.trial) = (width.clamp(1, self.most), true, None),
            None if self.is_fixed => *self = Width::new(self.most),
            None => {}
        }
    }

    pub(in crate::proto::weak_peer) fn now(&self) -> usize {
        self.now
    }

    /// Bytes of a piece have come, or were sent.
    pub(in crate::proto::weak_peer) fn note(&mut self, now: Time, bytes: u64) {
        // A measurement that spans a pause is discarded.
        if now.since(std::mem::replace(&mut self.last, now)) > WIDTH_PAUSE {
            (self.since, self.bytes) = (None, 0);
        }
        let Some(since) = self.since else { return self.since = Some(now) };
        self.bytes += bytes;
        let passed = now.since(since);
        let is_long = self.bytes >= WIDTH_PIECES * self.now as u64 * PIECE_BYTES && passed >= WIDTH_TIME_MIN;
        if self.is_fixed || !(is_long || self.is_in_vain(passed)) {
            return;
        }
        let rate = u128::from(self.bytes) * 1_000_000 / passed.as_micros().max(1);
        (self.since, self.bytes) = (Some(now), 0);
        self.on_measured(u64::try_from(rate).unwrap_or(u64::MAX));
    }

    /// Whether the trial of a greater width will not pay, because too little has come. Such a trial
    /// ends at once: pieces that share a line leave a part of the lines of others idle. Bytes may
    /// be on their way: a piece and a half of each connection, or [`WIDTH_ON_WAY`].
    fn is_in_vain(&self, passed: Duration) -> bool {
        let Some(trial) = self.trial.filter(|trial| self.now > trial.before) else { return false };
        let [come, piece, base] = [self.bytes, PIECE_BYTES, self.rate].map(u128::from);
        let in_time = |time: Duration| base * time.as_micros() / 1_000_000;
        let on_way = (trial.before as u128 * piece * 3 / 2).max(in_time(WIDTH_ON_WAY));
        let (due, parts) = (in_time(passed), 2 * trial.before as u128);
        due * (parts + 1) >= (come + on_way) * parts
    }

    fn on_measured(&mut self, rate: u64) {
        match self.trial {
            None => {
                self.rate = if self.rate == 0 { rate } else { self.rate / 2 + rate / 2 };
                self.wait = self.wait.saturating_sub(1);
                if self.wait == 0 {
                    self.begin_trial(Trial { before: self.now, is_second: false });
                }
            }
            // Between the two trials.
            Some(trial) if self.now == trial.before => {
                self.rate = self.rate.max(rate);
                self.begin_trial(Trial { is_second: true, ..trial });
            }
            Some(trial) => self.judge(trial, rate),
        }
    }

    fn begin_trial(&mut self, trial: Trial) {
        self.up = self.now == 1 || (self.up && self.now < self.most);
        self.now = if self.up { (self.now + 1).min(self.most) } else { self.now - 1 };
        self.trial = Some(trial);
    }

    /// The rate may rise for other reasons, so a greater width is kept only if it gives a higher
    /// rate in two trials, with the smaller width between them.
    fn judge(&mut self, trial: Trial, rate: u64) {
        let (seen, base, parts) = (u128::from(rate), u128::from(self.rate), 2 * trial.before as u128);
        // If the width was the limit, one more raises the rate by one part in `before`; half of
        // that is enough.
        let pays = if self.up { seen * parts >= base * (parts + 1) } else { seen * 20 >= base * 19 };
        if pays && self.up && !trial.is_second {
            self.now = trial.before;
        } else if pays {
            (self.rate, self.trial) = (rate, None);
            (self.wait, self.patience) = (1, WIDTH_TRIAL_FIRST);
        } else {
            (self.now, self.trial, self.up) = (trial.before, None, !self.up);
            self.wait = WIDTH_TRIAL_LESS;
            if self.up || self.now == 1 {
                self.wait = self.patience;
                self.patience = (self.patience * 2).min(WIDTH_TRIAL_LAST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces that come over a line, each of them at most at the rate of its connection.
    fn run(width: &mut Width, (line, one): (u64, u64), pieces: u64) -> Vec<usize> {
        let mut now = Time::from_micros(1);
        let mut widths = Vec::new();
        for _ in 0..pieces {
            let rate = line.min(one * width.now() as u64);
            now = now + Duration::from_micros(PIECE_BYTES * 1_000_000 / rate);
            width.note(now, PIECE_BYTES);
            widths.push(width.now());
        }
        widths
    }

    #[test]
    fn one_is_enough_if_it_fills_the_line() {
        let mut width = Width::new(8);
        let widths = run(&mut width, (10_000_000, 10_000_000), 2000);
        assert!(widths.iter().filter(|width| **width == 1).count() > 1900, "trials are rare");
        assert!(widths.iter().all(|width| *width <= 2));
    }

    #[test]
    fn it_becomes_as_wide_as_the_line_needs_and_narrow_again() {
        let mut width = Width::new(8);
        let widths = run(&mut width, (10_000_000, 2_500_000), 2000);
        assert!(widths[1000..].iter().filter(|width| (4..=5).contains(*width)).count() > 900, "{widths:?}");
        let widths = run(&mut width, (10_000_000, 10_000_000), 20_000);
        assert_eq!(widths.last(), Some(&1));
        let widths = run(&mut width, (1 << 40, 2_500_000), 20_000);
        assert!(widths.iter().all(|width| *width <= 8) && *widths.last().unwrap() >= 7);
    }

    #[test]
    fn a_trial_that_does_not_pay_ends_soon() {
        // Two pieces at once share the line; or other lines are idle meanwhile, and they take
        // longer.
        for slower in [1, 2, 3] {
            let mut width = Width::new(8);
            let one = Duration::from_micros(100_000);
            let (mut now, mut wide) = (Time::from_micros(1), Duration::ZERO);
            for _ in 0..600 {
                let is_wide = width.now() > 1;
                let took = if is_wide { one * slower } else { one };
                now = now + took;
                wide += if is_wide { took } else { Duration::ZERO };
                width.note(now, PIECE_BYTES);
            }
            assert!((one..=one * 4).contains(&wide), "{wide:?}");
        }
    }

    #[test]
    fn connections_that_each_begin_late_are_as_many_as_allowed() {
        // Each connection sends a piece in a tenth of a second, all of them at the same time. One
        // more begins when the next pieces are there.
        let mut width = Width::new(8);
        let mut now = Time::from_micros(1);
        for _ in 0..1500 {
            let begun = width.now();
            now = now + Duration::from_millis(100);
            (0..begun).for_each(|_| width.note(now, PIECE_BYTES));
        }
        assert_eq!(width.now(), 8);
    }

    #[test]
    fn a_fixed_width_stays() {
        let mut width = Width::new(16);
        width.set(Some(3));
        assert!(run(&mut width, (10_000_000, 1_000_000), 500).iter().all(|width| *width == 3));
    }
}
