//! `sprat bench compare`: two results, or two series of results, side by side.
//!
//! A difference is above noise only if each side has several runs and their ranges do not overlap.
//! With fewer runs the noise is unknown.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::args::Bench;
use crate::cli::table::table;
use crate::cli::tools::figures::{self, Form};
use crate::error::{Exit, Failure};

/// The fewest runs of a side for which their range is used as the noise.
const RUNS_MIN: usize = 3;

/// The figures: the name in the table, and the JSON pointer in the result.
const FIGURES: [(&str, &str); 12] = [
    ("rate per second", "/rate_per_s"),
    ("p50 us", "/latency_us/p50"),
    ("p90 us", "/latency_us/p90"),
    ("p99 us", "/latency_us/p99"),
    ("p99.9 us", "/latency_us/p999"),
    ("max us", "/latency_us/max"),
    ("client CPU share", "/client_cpu_share"),
    ("server CPU s", "/server/cpu_s"),
    ("server CPU us each", ""),
    ("server private KiB", "/server/private_kib"),
    ("server RSS KiB", "/server/rss_kib"),
    ("server switches", "/server/context_switches"),
];

/// One line of the table.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    figure: &'static str,
    a: f64,
    b: f64,
    /// `b` divided by `a`; none if `a` is 0.
    ratio: Option<f64>,
    /// The lowest and the highest value of each side.
    spread: [[f64; 2]; 2],
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The ranges of the two sides do not overlap.
    Differs,
    /// The ranges overlap.
    WithinNoise,
    /// There are too few runs.
    Unknown,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Verdict::Differs => "above noise",
            Verdict::WithinNoise => "within noise",
            Verdict::Unknown => "noise unknown",
        }
    }
}

pub(super) fn run(args: &Bench, form: Form) -> Result<u8, Failure> {
    let [a, b] = args.results.as_slice() else {
        return Err(Failure::usage("bench compare takes two files with the output of bench MODE --json"));
    };
    if args.own || !args.supers.is_empty() {
        return Err(Failure::usage("bench compare takes neither --self nor --super"));
    }
    let sides = [read(a)?, read(b)?];
    let mode = |runs: &[Value]| runs[0]["mode"].as_str().unwrap_or_default().to_owned();
    let modes = sides.each_ref().map(|runs| mode(runs));
    if modes[0] != modes[1] {
        let why = format!(
            "one result is of {}, the other of {}; only results of one mode can be compared",
            modes[0], modes[1]
        );
        return Err(Failure::usage(why));
    }
    let rows = rows(&sides);
    let runs = sides.each_ref().map(Vec::len);
    let cells = || rows.iter().map(cells);
    let names = ["figure", "a", "b", "b / a", "difference"];
    let right = [false, true, true, true, false];
    figures::print(&match form {
        Form::Json => json!({
            "v": 1, "event": "done", "ok": true, "exit": 0, "mode": modes[0], "runs": runs, "figures": rows,
        })
        .to_string(),
        Form::Markdown => figures::markdown(&names, &right, cells()),
        Form::Csv => {
            let lines = cells().map(|cells| cells.join(","));
            std::iter::once(names.join(",")).chain(lines).collect::<Vec<_>>().join("\n")
        }
        Form::Text => table(&names, &right, cells()),
    })?;
    Ok(Exit::Ok.code())
}

/// The lines of a file that are results.
fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let is_result = |line: &Value| line["event"] == "done" && line["mode"].is_string() && line["ok"] == true;
    let runs: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_result).collect();
    if runs.is_empty() {
        let why = format!("{} has no line of bench MODE --json", path.display());
        return Err(Failure::usage(why));
    }
    Ok(runs)
}

/// Every figure that both sides have.
fn rows(sides: &[Vec<Value>; 2]) -> Vec<Row> {
    let row = |(name, place): (&'static str, &str)| {
        let [a, b] = sides.each_ref().map(|runs| {
            let mut values: Vec<f64> = runs.iter().filter_map(|run| figure(run, place)).collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        });
        let (Some((a_mid, a_ends)), Some((b_mid, b_ends))) = (middle(&a), middle(&b)) else { return None };
        let apart = a_ends[1] < b_ends[0] || b_ends[1] < a_ends[0];
        let verdict = match apart {
            _ if a.len() < RUNS_MIN || b.len() < RUNS_MIN => Verdict::Unknown,
            true => Verdict::Differs,
            false => Verdict::WithinNoise,
        };
        let ratio = (a_mid > 0.0).then(|| b_mid / a_mid);
        Some(Row { figure: name, a: a_mid, b: b_mid, ratio, spread: [a_ends, b_ends], verdict })
    };
    FIGURES.into_iter().filter_map(row).collect()
}

fn figure(run: &Value, place: &str) -> Option<f64> {
    if place.is_empty() {
        let count = run["count"].as_f64().filter(|count| *count > 0.0)?;
        return Some(run["server"]["cpu_s"].as_f64()? * 1e6 / count);
    }
    run.pointer(place)?.as_f64()
}

/// The median, and the lowest and highest of sorted values.
fn middle(values: &[f64]) -> Option<(f64, [f64; 2])> {
    let (low, high) = (*values.first()?, *values.last()?);
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    Some((middle, [low, high]))
}

fn cells(row: &Row) -> Vec<String> {
    let side = |middle: f64, [low, high]: [f64; 2]| {
        let plain = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        if low < high { format!("{} ({} to {})", plain(middle), plain(low), plain(high)) } else { plain(middle) }
    };
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let verdict = row.verdict.words().to_owned();
    vec![row.figure.to_owned(), side(row.a, row.spread[0]), side(row.b, row.spread[1]), ratio, verdict]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, cpu: f64) -> Value {
        json!({"mode": "query", "count": 1000, "rate_per_s": rate, "server": {"cpu_s": cpu}})
    }

    fn verdicts(sides: &[Vec<Value>; 2]) -> Vec<(&'static str, Verdict)> {
        rows(sides).iter().map(|row| (row.figure, row.verdict)).collect()
    }

    #[test]
    fn only_ranges_that_do_not_overlap_differ() {
        let a = vec![run(100.0, 1.0), run(110.0, 1.2), run(90.0, 1.1)];
        let b = vec![run(210.0, 1.0), run(190.0, 1.3), run(200.0, 1.15)];
        let sides = [a.clone(), b];
        let found = rows(&sides);
        assert_eq!((found[0].a, found[0].b, found[0].ratio), (100.0, 200.0, Some(2.0)), "medians");
        assert_eq!(
            verdicts(&sides),
            [
                ("rate per second", Verdict::Differs),
                ("server CPU s", Verdict::WithinNoise),
                ("server CPU us each", Verdict::WithinNoise)
            ],
            "only what both sides have"
        );
        let few = [a, vec![run(500.0, 9.0)]];
        assert!(verdicts(&few).iter().all(|(_, verdict)| *verdict == Verdict::Unknown));
    }

    #[test]
    fn a_row_shows_the_spread_where_there_is_one() {
        let row = rows(&[vec![run(0.0, 1.0)], vec![run(5.0, 2.0), run(150.0, 3.0)]]).remove(0);
        assert_eq!(cells(&row), ["rate per second", "0.00", "77.50 (5.00 to 150)", "-", "noise unknown"]);
    }
}
