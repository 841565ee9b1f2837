//! The machines' time: microseconds since an arbitrary start. No clock is read here.
//!
//! The driver reads its monotonic clock once per turn and passes the value to the machine. The
//! simulator passes virtual time.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in microseconds since the start of the driver. From call to call, a machine
/// never gets an earlier point. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the driver.
    pub const ZERO: Time = Time(0);

    /// The latest point.
    pub const MAX: Time = Time(u64::MAX);

    /// The point `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, rhs: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::from_micros(5)), Duration::ZERO);
        assert_eq!((Time::from_micros(u64::MAX) + Duration::from_secs(1)).as_micros(), u64::MAX);
    }
}
