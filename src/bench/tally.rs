//! What is counted: answers, their latencies, what went wrong and why.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Time;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Kinds of errors that are told apart.
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
    /// Requests that left more than [`Tally::LATE`] after they were meant to, for want of time of this process.
    pub late: u64,
    /// When counting began and ended.
    pub span: Option<(Time, Time)>,
    /// How long it took to set up all sessions.
    pub setup: Duration,
    /// Sessions that were up at the end of the set-up.
    pub sessions_up: usize,
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
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

    /// How long was counted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(from, to)| to.since(from))
    }
}
