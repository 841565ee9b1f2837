//! The random numbers of a run. There is one seed, and one stream for each consumer. So a new
//! consumer does not change the numbers of the others.

use std::time::Duration;

use crate::proto::Entropy;

/// A stream of random numbers (xoshiro256**, seeded through splitmix64).
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    state: [u64; 4],
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        let mut mixer = seed;
        Random { seed, state: [(); 4].map(|()| splitmix(&mut mixer)) }
    }

    /// The stream of a consumer. It does not depend on the numbers that were drawn from this
    /// stream.
    #[must_use]
    pub fn child(&self, consumer: &str, number: u64) -> Random {
        let mut mixer = self.seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        for byte in consumer.bytes() {
            mixer ^= u64::from(byte);
            splitmix(&mut mixer);
            mixer = mixer.rotate_left(23);
        }
        Random::new(splitmix(&mut mixer))
    }

    /// A number below `n`. `n` must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of a 128-bit product. This needs no division, and the bias is below 2^-32
        // for the small numbers here.
        let product = u128::from(self.next_u64()) * u128::from(n);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// An index into a list of this length, which must not be 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of the items of a list, which must not be empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// True for this many of a thousand calls, on average.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// A number of at least 0 and below 1.
    pub fn share(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time until the next of independent events. On average, `times` of them happen in `span`.
    /// The time is at most a day.
    pub fn until_next(&mut self, times: f64, span: Duration) -> Duration {
        const DAY_SECONDS: f64 = 86_400.0;
        let seconds = -(1.0 - self.share()).ln() * span.as_secs_f64() / times;
        Duration::from_secs_f64(if seconds.is_finite() { seconds.min(DAY_SECONDS) } else { DAY_SECONDS })
    }

    /// A time of at least `least` and below `most`. If there is none, `least`.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(if span == 0 { 0 } else { self.below(span) })
    }
}

impl Entropy for Random {
    fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_depends_on_the_seed_and_its_name_alone() {
        let mut random = Random::new(1);
        let before = random.child("net", 0).next_u64();
        random.next_u64();
        assert_eq!(random.child("net", 0).next_u64(), before);
        assert_ne!(random.child("net", 1).next_u64(), before);
        assert_ne!(random.child("ten", 0).next_u64(), before);
        assert_ne!(Random::new(2).child("net", 0).next_u64(), before);
    }

    #[test]
    fn numbers_are_spread_and_within_their_bounds() {
        let mut random = Random::new(3);
        let mut seen = [0; 10];
        (0..10_000).for_each(|_| seen[random.index(10)] += 1);
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
}
