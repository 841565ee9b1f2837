//! The machines' clock: it never goes back, and it goes on while the computer sleeps, so that what was promised for some
//! seconds (a lease, a session) is over when it wakes.

use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// Linux has a clock of its own that counts sleep.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Microseconds since it was started.
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

fn micros() -> u64 {
    let now = clock_gettime(CLOCK);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}
