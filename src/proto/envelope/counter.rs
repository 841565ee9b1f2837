//! The counter of initiations over the runs of a super peer. It never goes back, so that a recorded
//! initiation is never accepted again.

/// Counters that a run may use: fewer than it could ever send initiations.
const RUN_BITS: u32 = 30;
/// Runs that a start leaves out. A run that lasts for years, or a clock that goes back, stays
/// within them.
const RUNS_RESERVED: u64 = 1024;
/// The last number of a run.
const RUN_MAX: u64 = (1 << (u64::BITS - RUN_BITS)) - 1 - RUNS_RESERVED;

/// The counters of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The counter of the first initiation.
    pub first: u64,
    /// To be kept in the state before the first initiation, for the next run.
    pub keep: u64,
}

/// The counters of a run. `kept`: what the run before it has kept. `unix`: the time in seconds,
/// so that the counter also rises if the state is lost or comes from an old copy.
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
            // As many initiations as a thousand a second are in ten years.
            last = first + (1 << 38);
            kept = Some(keep);
        }
        assert!(reserve_counters(None, 0).first > 0, "0 means that none was seen");
    }
}
