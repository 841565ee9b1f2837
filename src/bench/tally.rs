//! Counts: answers, their latencies, and errors by class.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Time;

/// Longest latency that is distinguished, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Most samples of the count over time; then every second one is dropped.
const COURSE_POINTS_MAX: usize = 120;
/// Time between two of them at the start.
const COURSE_EVERY_MIN: Duration = Duration::from_millis(20);
/// Most kinds of errors that are counted.
const ERRORS_MAX: usize = 64;

/// Counts of one run.
#[derive(Debug)]
pub struct Tally {
    /// What the mode counts.
    pub count: u64,
    /// Query, flood: hits of those.
    pub hits: u64,
    /// Flood: messages of the queries that were answered, both ways.
    pub messages: u64,
    /// Requests that left more than [`Tally::LATE`] after they were due, because this process had
    /// no time.
    pub late: u64,
    /// When counting began and ended.
    pub span: Option<(Time, Time)>,
    /// How long it took to set up all sessions.
    pub setup: Duration,
    /// Sessions that were up at the end of the set-up.
    pub sessions_up: usize,
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    course: Course,
}

/// The count over time: how much there was at some moments, evenly spread however long it takes.
#[derive(Debug)]
struct Course {
    points: Vec<(Duration, u64)>,
    every: Duration,
}

impl Default for Tally {
    fn default() -> Tally {
        let latencies = Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS).expect("good bounds");
        Tally {
            count: 0,
            hits: 0,
            messages: 0,
            late: 0,
            span: None,
            setup: Duration::ZERO,
            sessions_up: 0,
            latencies,
            errors: BTreeMap::new(),
            course: Course { points: Vec::new(), every: COURSE_EVERY_MIN },
        }
    }
}

impl Tally {
    /// A request that leaves this long after it was meant to is late.
    pub const LATE: Duration = Duration::from_millis(1);

    /// Notes how long something took.
    pub fn took(&mut self, from: Time, to: Time) {
        self.took_for(to.since(from));
    }

    /// Notes how long something took.
    pub fn took_for(&mut self, span: Duration) {
        self.latencies.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts something that went wrong.
    pub fn error(&mut self, class: &str) {
        if let Some(count) = self.errors.get_mut(class) {
            *count += 1;
        } else if self.errors.len() < ERRORS_MAX {
            self.errors.insert(class.to_owned(), 1);
        }
    }

    /// What went wrong, by class.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// The latency that this share (0 to 1) of the answers did not exceed, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        self.latencies.value_at_quantile(share)
    }

    /// The longest latency, in microseconds.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.latencies.max()
    }

    /// Latencies that were noted.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.latencies.len()
    }

    /// When the count is to be looked at again, counted from the start of the measuring.
    #[must_use]
    pub fn looks_at(&self) -> Duration {
        self.course.points.last().map_or(Duration::ZERO, |(at, _)| *at) + self.course.every
    }

    /// Looks at the count, this long after the start of the measuring.
    pub fn look(&mut self, at: Duration) {
        self.course.points.push((at, self.count));
        if self.course.points.len() >= COURSE_POINTS_MAX {
            let mut nth = 0;
            self.course.points.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
            self.course.every *= 2;
        }
    }

    /// The rate over time: at the end of each span, in seconds, and how much a second there was in
    /// it.
    #[must_use]
    pub fn rates(&self) -> Vec<(f64, f64)> {
        let mut before = (Duration::ZERO, 0);
        let rate = |&(at, count): &(Duration, u64)| {
            let span = (at - before.0).as_secs_f64().max(1e-6);
            let rate = (at.as_secs_f64(), count.saturating_sub(before.1) as f64 / span);
            before = (at, count);
            rate
        };
        self.course.points.iter().map(rate).collect()
    }

    /// How long was counted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(from, to)| to.since(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_is_even_and_short_however_long_it_takes() {
        let mut tally = Tally::default();
        for _ in 0..8 * COURSE_POINTS_MAX {
            let at = tally.looks_at();
            tally.count = u64::try_from(at.as_millis()).unwrap();
            tally.look(at);
        }
        let rates = tally.rates();
        assert!((COURSE_POINTS_MAX / 2 - 1..COURSE_POINTS_MAX).contains(&rates.len()), "{}", rates.len());
        assert!(rates.iter().all(|(_, rate)| (rate - 1000.0).abs() < 1.0), "{rates:?}");
    }
}
