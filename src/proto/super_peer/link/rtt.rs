//! The measured round trip of a link, and the waits that follow from it.

use std::time::Duration;

use crate::config::QUERY_REPEAT_MIN;

/// Repetition timeout while no round trip is measured.
const RTO_FIRST: Duration = Duration::from_millis(100);
/// Longest repetition timeout, so that a neighbor cannot delay a query for long with a false `et`.
const RTO_MAX: Duration = Duration::from_secs(1);

/// Smoothed round trip and its variation, as in RFC 6298.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt(Option<(Duration, Duration)>);

impl Rtt {
    /// One more round trip took this long.
    pub(super) fn add(&mut self, sample: Duration) {
        self.0 = Some(match self.0 {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                ((smoothed * 7 + sample) / 8, (variation * 3 + smoothed.abs_diff(sample)) / 4)
            }
        });
    }

    /// How long an answer may take before the question is repeated.
    pub(super) fn timeout(self) -> Duration {
        match self.0 {
            None => RTO_FIRST,
            Some((smoothed, variation)) => (smoothed + variation * 4).clamp(QUERY_REPEAT_MIN, RTO_MAX),
        }
    }

    /// The round trip, once it is measured.
    pub(super) fn measured(self) -> Option<Duration> {
        self.0.map(|(smoothed, _)| smoothed)
    }

    /// The round trip; an estimate while none is measured.
    pub(super) fn smoothed(self) -> Duration {
        self.0.map_or(RTO_FIRST / 2, |(smoothed, _)| smoothed)
    }
}
