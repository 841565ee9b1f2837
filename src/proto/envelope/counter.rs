//! The counter of initiations over all runs of a super peer. It never goes back, so a recorded
//! initiation is never accepted again.

/// Bits for the counters of one run. A run can never send as many initiations.
const RUN_BITS: u32 = 30;
/// How many runs a start skips. This covers a run that lasts for years, and a clock that goes back.
const RUNS_RESERVED: u64 = 1024;
/// The highest number of a run.
const RUN_MAX: u64 = (1 << (u64::BITS - RUN_BITS)) - 1 - RUNS_RESERVED;

/// The counters of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The counter of the first initiation.
    pub first: u64,
    /// The value to store in the state before the first initiation, for the next run.
    pub keep: u64,
}

/// The counters of a run. `kept` is what the run before it has stored. `unix` is the time in
/// seconds: so the counter rises even if the state is lost or comes from an old copy.
#[must_use]
pub fn reserve_counters(kept: Option<u64>, unix: u64) -> Reserved {
    let run = kept.unwrap_or(0).max(unix).clamp(1, RUN_MAX);
    Reserved { first: run << RUN_BITS, keep: run + RUNS_RESERVED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_from_run_to_run_whatever_the_clock_says() {
        let mut kept = None;
        let mut last = 0;
        for unix in [1_800_000_000, 0, 1_800_000_000, 5, u64::MAX, 1_900_000_000] {
            let Reserved { first, keep } = reserve_counters(kept, unix);
            assert!(first > last || first == RUN_MAX << RUN_BITS, "{first} after {last}");
            // The number of initiations in ten years, at about a thousand per second.
            last = first + (1 << 38);
            kept = Some(keep);
        }
        assert!(reserve_counters(None, 0).first > 0, "0 means that none was seen");
    }
}
