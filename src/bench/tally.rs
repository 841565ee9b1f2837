//! Counts: answers, their latencies, and errors by class.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Time;

/// Longest latency that is distinguished, in microseconds; this is ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// The most samples of the count over time. When there are more, every second one is dropped.
const COURSE_POINTS_MAX: usize = 120;
/// Time between two samples at the start.
const COURSE_EVERY_MIN: Duration = Duration::from_millis(20);
/// The most kinds of errors that are counted.
const ERRORS_MAX: usize = 64;

/// Counts of one run.
#[derive(Debug)]
pub struct Tally {
    /// The number of things that the mode counts.
    pub count: u64,
    /// Query, flood: hits of the answered queries.
    pub hits: u64,
    /// Flood: messages of the answered queries, in both directions.
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

/// The count over time: its value at several moments, evenly spread over any length of time.
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
    /// A request is late if it leaves this long after it was due.
    pub const LATE: Duration = Duration::from_millis(1);

    /// Notes how long something took.
    pub fn took(&mut self, from: Time, to: Time) {
        self.took_for(to.since(from));
    }

    /// Notes how long something took.
    pub fn took_for(&mut self, span: Duration) {
        self.latencies.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts an error of this class.
    pub fn error(&mut self, class: &str) {
        if let Some(count) = self.errors.get_mut(class) {
            *count += 1;
        } else if self.errors.len() < ERRORS_MAX {
            self.errors.insert(class.to_owned(), 1);
        }
    }

    /// The number of errors, by class.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// The latency, in microseconds, that this share (0 to 1) of the answers did not exceed.
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

    /// When to look at the count again, measured from the start of the measurement.
    #[must_use]
    pub fn looks_at(&self) -> Duration {
        self.course.points.last().map_or(Duration::ZERO, |(at, _)| *at) + self.course.every
    }

    /// Notes the count, this long after the start of the measurement.
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

    /// The rate over time. For each span: its end in seconds, and the rate per second in it.
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

    /// How long the measurement took.
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
