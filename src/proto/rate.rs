//! Limits how often something may happen. It needs one number and no timer.

use std::time::Duration;

use crate::time::Time;

/// A bucket for the tokens of one second, kept as in the generic cell rate algorithm: it is full at
/// the start, and is filled at the rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// When it is full again.
    full_at: Time,
}

impl Rate {
    /// Takes one token at this rate, if there is one. Even if the rate is lower than `burst`, that
    /// many tokens may be taken at once.
    pub(crate) fn take(&mut self, now: Time, per_second: u64, burst: u64) -> bool {
        let Some(each) = cost(per_second) else { return false };
        let room = each.saturating_mul(u32::try_from(burst.max(per_second)).unwrap_or(u32::MAX));
        // If the rate was raised, the tokens that were taken at the lower rate count as one whole
        // bucket at most.
        self.full_at = self.full_at.min(now + room);
        let used = self.full_at.since(now);
        if used.saturating_add(each) > room {
            return false;
        }
        self.full_at = self.full_at.max(now) + each;
        true
    }
}

/// The time for one token at this rate; none if the rate is zero.
fn cost(per_second: u64) -> Option<Duration> {
    1_000_000_u64.checked_div(per_second).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn a_rate_holds_on_average_and_lets_a_burst_through() {
        let mut rate = Rate::default();
        let taken = (0..10_000).filter(|ms| rate.take(at(*ms), 5, 8)).count();
        assert!((50..=58).contains(&taken), "{taken} in 10 s at 5 a second");
        assert!(!Rate::default().take(at(1), 0, 8), "a rate of zero lets none through");
        assert!((0..8).all(|_| rate.take(at(60_000), 5, 8)), "a burst after a rest");
        assert!(!rate.take(at(60_000), 5, 8));
    }

    #[test]
    fn a_raised_rate_holds_within_a_second() {
        let mut rate = Rate::default();
        assert_eq!((0..20).filter(|_| rate.take(at(0), 1, 8)).count(), 8);
        assert!(!rate.take(at(1), 1000, 8));
        let taken = (1000..2000).filter(|ms| rate.take(at(*ms), 1000, 8)).count();
        assert!(taken >= 999, "{taken} in a second at 1000 a second");
    }
}
