//! Metrics in the text format of Prometheus, version 0.0.4: base units, `_total` for counters, and
//! no label with the name of a file or a peer.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The turns of the loop: for each bound, how many turns took at most this many microseconds; the
/// number of all turns, and the sum of their times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// A bound in microseconds, and the number of turns that took no longer.
    pub at_most: Vec<(u64, u64)>,
    /// The number of all turns.
    pub count: u64,
    /// The sum of their times, in microseconds.
    pub sum_us: u64,
}

/// All metrics of a node.
#[must_use]
pub fn text(
    role: &str,
    counters: impl Iterator<Item = (String, u64)>,
    levels: impl Iterator<Item = (String, u64)>,
    turns: &Turns,
    uptime_us: u64,
) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        out,
        "# HELP sprat_build_info Version and role of the node.\n# TYPE sprat_build_info gauge\n\
         sprat_build_info{{version=\"{version}\",role=\"{role}\"}} 1\n\
         # HELP sprat_uptime_seconds Time since the start.\n# TYPE sprat_uptime_seconds gauge\n\
         sprat_uptime_seconds {}\n",
        seconds(uptime_us)
    );
    let counters: BTreeMap<String, u64> = counters.collect();
    for (name, count) in &counters {
        let name = counter_name(name);
        let help = words(&name);
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n");
    }
    let levels: BTreeMap<String, u64> = levels.collect();
    for (name, level) in levels.iter().filter(|(name, _)| !counters.contains_key(*name)) {
        let (name, level) = level_of(name, *level);
        let help = words(&name);
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {level}\n");
    }
    let name = "sprat_turn_duration_seconds";
    let _ = write!(out, "# HELP {name} Time that the turns of the loop took.\n# TYPE {name} histogram\n");
    for (bound, count) in &turns.at_most {
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", seconds(*bound));
    }
    let Turns { count, sum_us, .. } = turns;
    let _ =
        write!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}\n", seconds(*sum_us));
    out
}

fn seconds(us: u64) -> String {
    let (whole, rest) = (us / 1_000_000, us % 1_000_000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:06}").trim_end_matches('0').to_owned() }
}

fn counter_name(name: &str) -> String {
    let name = match name.strip_prefix("bytes_") {
        Some(what) => format!("{what}_bytes"),
        None => name.to_owned(),
    };
    format!("sprat_{name}_total")
}

/// The name and the value of a gauge, in base units.
fn level_of(name: &str, level: u64) -> (String, String) {
    if name.starts_with("memory_") {
        return (format!("sprat_{name}_bytes"), level.to_string());
    }
    // Only the name of a counter may end in `_total`.
    if let Some(short) = name.strip_suffix("_total") {
        return (format!("sprat_{short}_all"), level.to_string());
    }
    match name.strip_suffix("_ms").map(|short| (short, 1000)).or(name.strip_suffix("_us").map(|short| (short, 1))) {
        Some((short, us)) => (format!("sprat_{short}_seconds"), seconds(level.saturating_mul(us))),
        None => (format!("sprat_{}", name.replace("_last_10s", "_recent")), level.to_string()),
    }
}

/// The help text of a metric, which is its name in words. docs/operating.md explains each metric.
fn words(name: &str) -> String {
    let plain = name.trim_start_matches("sprat_").trim_end_matches("_total").replace('_', " ");
    format!("Figure {plain:?} of the node, as docs/operating.md describes it.").replace('"', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units_are_those_that_prometheus_asks_for() {
        let own = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
        let counters = own(&[("queries", 3), ("bytes_sent", 9)]);
        let levels = own(&[
            ("sessions", 2),
            ("memory_index", 10),
            ("queries_last_10s", 4),
            ("wait_ms", 1500),
            ("hashing_bytes_total", 5),
        ]);
        let turns = Turns { at_most: vec![(50, 1), (1000, 2)], count: 3, sum_us: 1_500_000 };
        let text = text("peer", counters.into_iter(), levels.into_iter(), &turns, 2_000_000);
        for line in [
            "sprat_queries_total 3",
            "sprat_sent_bytes_total 9",
            "sprat_sessions 2",
            "sprat_memory_index_bytes 10",
            "sprat_queries_recent 4",
            "sprat_hashing_bytes_all 5",
            "sprat_wait_seconds 1.5",
            "sprat_uptime_seconds 2",
            "sprat_turn_duration_seconds_bucket{le=\"0.00005\"} 1",
            "sprat_turn_duration_seconds_bucket{le=\"0.001\"} 2",
            "sprat_turn_duration_seconds_bucket{le=\"+Inf\"} 3",
            "sprat_turn_duration_seconds_sum 1.5",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in:\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(
                name.starts_with("sprat_")
                    && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{line}"
            );
        }
    }
}
