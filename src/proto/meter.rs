//! Counts how much happened lately, for `status`. It needs no timer and only two numbers, and does
//! nothing while nobody asks.

use std::time::Duration;

use crate::time::Time;

/// Two windows of the same length: the one that began last, and the one before it. Within each
/// window, the events are assumed to be spread evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    window: Duration,
    /// When the first event was counted.
    first: Option<Time>,
    /// When the current window began, and when it ends.
    since: Time,
    until: Time,
    count: u64,
    before: u64,
}

impl Meter {
    /// Counts over this time, which must not be zero.
    pub(crate) const fn new(window: Duration) -> Meter {
        Meter { window, first: None, since: Time::ZERO, until: Time::ZERO, count: 0, before: 0 }
    }

    /// Adds `n` events now.
    #[inline(always)]
    pub(crate) fn add(&mut self, now: Time, n: u64) {
        if now >= self.until || self.first.is_none() {
            self.first.get_or_insert(now);
            self.begin_window(now);
        }
        self.count = self.count.saturating_add(n);
    }

    fn begin_window(&mut self, now: Time) {
        let passed = now.since(self.since);
        if passed >= self.window * 2 {
            (self.since, self.count, self.before) = (now, 0, 0);
        } else if passed >= self.window {
            self.since = self.since + self.window;
            self.before = std::mem::take(&mut self.count);
        }
        self.until = self.since + self.window;
    }

    /// How many events there were in the last window.
    pub(crate) fn recent(&self, now: Time) -> u64 {
        let mut it = *self;
        it.add(now, 0);
        let (left, all) = (it.window.saturating_sub(now.since(it.since)).as_micros(), it.window.as_micros());
        let before = u128::from(it.before) * left / all;
        it.count.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    /// Events per second over the window. If the first event is more recent than that, over the
    /// time since then, but at least over one second.
    pub(crate) fn per_second(&self, now: Time) -> u64 {
        let Some(first) = self.first else { return 0 };
        let over = now.since(first).clamp(Duration::from_secs(1).min(self.window), self.window);
        let each = u128::from(self.recent(now)) * 1_000_000 / over.as_micros().max(1);
        u64::try_from(each).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn an_even_rate_is_that_rate_at_any_time() {
        let mut meter = Meter::new(WINDOW);
        for second in 100..200 {
            meter.add(at(second), 50);
            if second > 110 {
                let rate = meter.per_second(at(second));
                assert!((45..=55).contains(&rate), "{second}: {rate}");
            }
        }
    }

    #[test]
    fn the_first_seconds_count_as_they_are() {
        let mut meter = Meter::new(WINDOW);
        assert_eq!((meter.recent(at(5)), meter.per_second(at(5))), (0, 0));
        meter.add(at(1000), 30);
        assert_eq!(meter.per_second(at(1000)), 30);
        assert_eq!(meter.per_second(at(1003)), 10);
    }

    #[test]
    fn what_is_long_over_is_not_counted() {
        let mut meter = Meter::new(WINDOW);
        meter.add(at(100), 30);
        assert_eq!(meter.recent(at(109)), 30);
        assert!(meter.recent(at(115)) < 30);
        assert_eq!(meter.recent(at(120)), 0);
        meter.add(at(500), 1);
        assert_eq!(meter.recent(at(500)), 1);
    }
}
