//! How many initiations are read, and how many notices given: a token bucket of one second.

use crate::time::Time;

/// A bucket that is full at the start.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// Tokens, in millionths.
    level: u64,
    at: Time,
}

impl Bucket {
    pub(super) fn new(per_second: u32) -> Bucket {
        Bucket { per_second, level: u64::from(per_second) * 1_000_000, at: Time::ZERO }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let full = u64::from(self.per_second) * 1_000_000;
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_second.into())).min(full);
        self.at = now;
        let has_one = self.level >= 1_000_000;
        if has_one {
            self.level -= 1_000_000;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_gives_so_many_at_once_and_so_many_a_second() {
        let mut bucket = Bucket::new(10);
        let mut now = Time::from_micros(5);
        let mut taken = |now: Time| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(now), 10);
        now = now + Duration::from_millis(250);
        assert_eq!(taken(now), 2);
        now = now + Duration::from_secs(3600);
        assert_eq!(taken(now), 10);
    }
}
