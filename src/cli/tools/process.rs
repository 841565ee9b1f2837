//! Memory, CPU time and context switches of a process, from `/proc`. On a system without `/proc`,
//! there is nothing.

use std::fs;
use std::time::{Duration, Instant};

/// A process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) rss_kib: u64,
    /// Largest resident memory so far.
    pub(super) peak_kib: u64,
    /// Memory of pages that no other process shares.
    pub(super) private_kib: u64,
    pub(super) cpu: Duration,
    /// CPU time of its children that have ended and were waited for.
    pub(super) children_cpu: Duration,
    pub(super) switches: u64,
}

impl Sample {
    /// The process now; none if it is not a process of this machine.
    pub(super) fn of(pid: u32) -> Option<Sample> {
        let folder = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let smaps = fs::read_to_string(format!("{folder}/smaps_rollup")).unwrap_or_default();
        let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
        let ticks = ticks(&stat)?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let time = |ticks: u64| Duration::from_micros(ticks * 1_000_000 / per_second);
        Some(Sample {
            at: Instant::now(),
            rss_kib: field(&status, "VmRSS:"),
            peak_kib: field(&status, "VmHWM:"),
            private_kib: field(&smaps, "Private_Clean:") + field(&smaps, "Private_Dirty:"),
            cpu: time(ticks[0] + ticks[1]),
            children_cpu: time(ticks[2] + ticks[3]),
            switches: field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:"),
        })
    }

    /// The share of one core that the process and its ended children used since an earlier sample.
    pub(super) fn share_since(&self, earlier: &Sample) -> f64 {
        let cpu = (self.cpu + self.children_cpu).saturating_sub(earlier.cpu + earlier.children_cpu);
        cpu.as_secs_f64() / self.at.duration_since(earlier.at).as_secs_f64().max(1e-6)
    }
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and system time of the process and of its children, from /proc/PID/stat. The name in
/// brackets may contain anything.
fn ticks(stat: &str) -> Option<[u64; 4]> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_name_with_brackets_does_not_matter() {
        let sample = Sample::of(std::process::id()).unwrap();
        assert!(sample.rss_kib > 0 && sample.private_kib > 0);
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), Some([11, 12, 13, 14]));
        assert!(Sample::of(u32::MAX).is_none());
    }
}
