//! How long the turns of the loop take, for STATUS.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::config::TURN_MICROS_MAX;
use crate::http::metrics;

/// Significant digits of a figure. A figure is correct to one sixteenth, and the histogram takes 3
/// KiB.
const DIGITS: u8 = 1;

/// Bounds of the buckets of the metrics, in microseconds.
const BOUNDS_US: [u64; 10] = [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 100_000, 1_000_000];

/// A histogram of the time from the end of the poll to the end of the turn, in microseconds.
#[derive(Debug)]
pub(super) struct Turns {
    micros: Histogram<u64>,
    micros_max: u64,
    micros_sum: u64,
}

impl Turns {
    pub(super) fn new() -> Turns {
        let micros = Histogram::new_with_max(TURN_MICROS_MAX, DIGITS).expect("the bounds are constants");
        Turns { micros, micros_max: 0, micros_sum: 0 }
    }

    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.saturating_record(micros);
        self.micros_max = self.micros_max.max(micros);
        self.micros_sum = self.micros_sum.saturating_add(micros);
    }

    /// The histogram for the metrics.
    pub(super) fn buckets(&self) -> metrics::Turns {
        let at_most = BOUNDS_US.map(|bound| (bound, self.micros.count_between(0, bound)));
        metrics::Turns { at_most: at_most.into(), count: self.micros.len(), sum_us: self.micros_sum }
    }

    /// The figures, by the names that STATUS shows.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, u64)> {
        let quantile = |share| self.micros.value_at_quantile(share).min(self.micros_max);
        [
            ("turns", self.micros.len()),
            ("turn_us_p50", quantile(0.5)),
            ("turn_us_p99", quantile(0.99)),
            ("turn_us_p999", quantile(0.999)),
            ("turn_us_max", self.micros_max),
        ]
        .into_iter()
        .map(|(name, figure)| (name.to_owned(), figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_right_to_a_sixteenth_and_the_histogram_is_small() {
        let mut turns = Turns::new();
        (1..=1000).for_each(|micros| turns.add(Duration::from_micros(micros)));
        turns.add(Duration::from_secs(600));
        let named: std::collections::BTreeMap<_, _> = turns.named().collect();
        assert_eq!((named["turns"], named["turn_us_max"]), (1001, 600_000_000));
        assert!((500..=532).contains(&named["turn_us_p50"]), "{named:?}");
        assert!((990..=1053).contains(&named["turn_us_p99"]), "{named:?}");
        assert!(turns.micros.distinct_values() * 8 <= 4096, "{} buckets", turns.micros.distinct_values());
    }
}
