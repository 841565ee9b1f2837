//! A fixed rate: when each request is due. It uses only arithmetic and no timer, so errors do not
//! add up.

use std::time::Duration;

use crate::time::Time;

/// Requests of an open loop.
#[derive(Debug)]
pub(in crate::bench) struct Pace {
    start: Time,
    end: Time,
    rate: u64,
    taken: u64,
}

impl Pace {
    /// `rate` requests per second from `start` on. No request is due at or after `end`.
    pub(in crate::bench) fn new(rate: u32, start: Time, end: Time) -> Pace {
        Pace { start, end, rate: u64::from(rate.max(1)), taken: 0 }
    }

    /// When the next request is due; none if the time is over.
    pub(in crate::bench) fn next(&self) -> Option<Time> {
        let micros = u128::from(self.taken) * 1_000_000 / u128::from(self.rate);
        let at = self.start + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        (at < self.end).then_some(at)
    }

    /// Removes the next request if it is due. Returns when it was due.
    pub(in crate::bench) fn take(&mut self, now: Time) -> Option<Time> {
        let at = self.next().filter(|at| *at <= now)?;
        self.taken += 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_meant_for_times_that_do_not_depend_on_when_they_are_taken() {
        let second = |n: u64| Time::from_micros(n * 1_000_000);
        let mut pace = Pace::new(3, second(1), second(3));
        assert_eq!(pace.take(Time::ZERO), None);
        let mut taken = Vec::new();
        while let Some(at) = pace.take(second(9)) {
            taken.push(at.as_micros());
        }
        assert_eq!(taken, [1_000_000, 1_333_333, 1_666_666, 2_000_000, 2_333_333, 2_666_666]);
        assert_eq!(pace.next(), None);
    }
}
