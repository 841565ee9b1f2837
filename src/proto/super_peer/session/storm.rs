//! How long a peer must wait before it tries again when many peers log in at once. This is about
//! the time that the peers before it need to log in, at the rate of the last seconds.

use std::time::Duration;

use crate::config::{BUSY_RETRY_MAX, BUSY_RETRY_MIN, RATE_WINDOW};
use crate::proto::meter::Meter;
use crate::time::Time;

/// The rate of logins per second that is assumed at least.
const LOGINS_PER_SECOND_MIN: u64 = 100;

/// The logins of the last seconds, and the refusals.
#[derive(Debug)]
pub(super) struct Storm {
    welcomed: Meter,
    refused: Meter,
}

impl Default for Storm {
    fn default() -> Storm {
        Storm { welcomed: Meter::new(RATE_WINDOW), refused: Meter::new(RATE_WINDOW) }
    }
}

impl Storm {
    /// A session has logged in.
    pub(super) fn on_login(&mut self, now: Time) {
        self.welcomed.add(now, 1);
    }

    /// One more peer is refused while `waiting` peers wait to log in. Returns the field `retry` of
    /// its ERROR, in milliseconds.
    pub(super) fn on_refused(&mut self, now: Time, waiting: usize) -> u32 {
        let ahead = self.refused.recent(now).saturating_add(waiting as u64);
        self.refused.add(now, 1);
        let each = self.welcomed.per_second(now).max(LOGINS_PER_SECOND_MIN);
        let wait = Duration::from_millis(ahead.saturating_mul(1000) / each).clamp(BUSY_RETRY_MIN, BUSY_RETRY_MAX);
        u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_the_crowd_and_is_bounded() {
        let now = Time::from_micros(1_000_000);
        let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap();
        let mut storm = Storm::default();
        assert_eq!(storm.on_refused(now, 0), ms(BUSY_RETRY_MIN));
        let waits: Vec<u32> = (0..50_000).map(|_| storm.on_refused(now, 2048)).collect();
        assert!(waits.is_sorted());
        assert_eq!((waits[0], waits[49_999]), (20_490, ms(BUSY_RETRY_MAX)));
    }

    #[test]
    fn fast_logins_shorten_the_wait() {
        let now = Time::from_micros(1_000_000);
        let mut storm = Storm::default();
        (0..10_000).for_each(|_| storm.on_login(now));
        assert!(storm.on_refused(now, 10_000) <= 2_000);
    }
}
