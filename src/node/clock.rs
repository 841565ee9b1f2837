//! The clock of the machines. It never goes back. It also runs while the computer sleeps, so a
//! lease or a session whose time ends during the sleep is over when the computer wakes.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// On Linux, no other monotonic clock runs while the computer sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Counts microseconds since it was started.
#[derive(Debug)]
pub(super) struct Clock {
    started: u64,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { started: micros() }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_micros(micros().saturating_sub(self.started))
    }
}

/// The wall clock, in seconds since the start of 1970. It may jump. It is used only for the dates
/// of credentials.
pub(super) fn unix() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

fn micros() -> u64 {
    let now = clock_gettime(CLOCK);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let clock = Clock::start();
        let mut last = Time::ZERO;
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        assert!(last > Time::ZERO, "10,000 readings take more than a microsecond");
    }

    /// On a computer that has never slept, both clocks show the same time. So this test also checks
    /// the name of the clock.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_one_that_counts_sleep() {
        let kernel = || {
            let now = clock_gettime(ClockId::Boottime);
            u64::try_from(now.tv_sec).unwrap() * 1_000_000 + u64::try_from(now.tv_nsec).unwrap() / 1000
        };
        let sleeps = Clock { started: 0 };
        for _ in 0..100 {
            let before = kernel();
            let now = sleeps.now().as_micros();
            assert!((before..=kernel()).contains(&now));
        }
        assert_eq!(CLOCK as u32, ClockId::Boottime as u32);
    }
}
