//! How long other peers take to answer, and how long before the end of a piece the next one is
//! requested or its turn is given. This module knows no piece and no connection.

use std::time::Duration;

use crate::config::{ROUND_TRIP_MAX, TURN_LEAD_MIN};

/// The moving mean of the time from a message to its answer.
#[derive(Debug, Default)]
pub(in crate::proto::weak_peer) struct RoundTrip {
    mean: Option<Duration>,
}

impl RoundTrip {
    /// An answer has come after this time.
    pub(in crate::proto::weak_peer) fn note(&mut self, took: Duration) {
        let took = took.min(ROUND_TRIP_MAX);
        self.mean = Some(self.mean.map_or(took, |mean| (mean * 7 + took) / 8));
    }

    /// The time of this number of round trips, but at least [`TURN_LEAD_MIN`].
    pub(in crate::proto::weak_peer) fn lead(&self, times: u32) -> Duration {
        self.mean.map_or(TURN_LEAD_MIN, |mean| TURN_LEAD_MIN.max(mean * times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_follows_the_round_trip_and_one_late_answer_moves_it_little() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.lead(3), TURN_LEAD_MIN, "nothing is known yet");
        round_trip.note(Duration::from_micros(400));
        assert_eq!(round_trip.lead(3), TURN_LEAD_MIN, "a local network");
        (0..100).for_each(|_| round_trip.note(Duration::from_millis(20)));
        assert!((59..=60).contains(&round_trip.lead(3).as_millis()), "{round_trip:?}");
        round_trip.note(Duration::from_secs(60));
        assert!(round_trip.lead(1) < Duration::from_millis(43), "{round_trip:?}");
    }
}
