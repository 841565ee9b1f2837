//! How long the loop's turns took: a histogram that costs one add a turn. The driver measures, the machine only keeps the counts.

use std::time::Duration;

/// Buckets of each doubling: a figure is right to a quarter.
const PARTS: usize = 4;
/// Buckets up to 2^32 microseconds.
const BUCKETS: usize = 31 * PARTS;

/// Turns by the microseconds that they took.
#[derive(Debug)]
pub(super) struct Turns {
    buckets: [u64; BUCKETS],
    count: u64,
    max_us: u32,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { buckets: [0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Turns {
    pub(super) fn add(&mut self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Under the names by which STATUS tells them.
    pub(super) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("turns", self.count),
            ("turn_us_p50", self.per_mille_us(500)),
            ("turn_us_p99", self.per_mille_us(990)),
            ("turn_us_p999", self.per_mille_us(999)),
            ("turn_us_max", self.max_us()),
        ]
    }

    fn max_us(&self) -> u64 {
        self.max_us.into()
    }

    /// What this many of a thousand turns did not exceed, in microseconds, rounded up to the end of its bucket.
    fn per_mille_us(&self, share: u64) -> u64 {
        let wanted = (self.count * share).div_ceil(1000);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        let bucket = self.buckets.iter().position(reaches).unwrap_or(BUCKETS - 1);
        end_of(bucket).min(self.max_us())
    }
}

fn bucket_of(us: u32) -> usize {
    match us {
        0..4 => us as usize,
        4.. => {
            let doublings = us.ilog2();
            (doublings as usize - 1) * PARTS + (us >> (doublings - 2)) as usize % PARTS
        }
    }
}

/// The largest number of a bucket.
fn end_of(bucket: usize) -> u64 {
    match (bucket / PARTS, bucket % PARTS) {
        (0, part) => part as u64,
        (doublings, part) => (((PARTS + part + 1) as u64) << (doublings - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_bucket_that_ends_behind_it() {
        let mut before = 0;
        for us in (0..5000).chain([65_535, 65_536, 1 << 31, u32::MAX]) {
            let bucket = bucket_of(us);
            assert!(bucket >= before && u64::from(us) <= end_of(bucket), "{us}");
            assert!(bucket == 0 || u64::from(us) > end_of(bucket - 1), "{us}");
            before = bucket;
        }
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
    }

    #[test]
    fn shares_are_told_to_a_quarter() {
        let mut turns = Turns::default();
        (1..=1000).for_each(|us| turns.add(Duration::from_micros(us)));
        assert_eq!(turns.named()[0], ("turns", 1000));
        assert!((500..=640).contains(&turns.per_mille_us(500)));
        assert!((990..=1000).contains(&turns.per_mille_us(990)));
        assert_eq!((turns.per_mille_us(1000), turns.max_us()), (1000, 1000));
    }
}
