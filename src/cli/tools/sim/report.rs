//! The figures of `sprat sim` as text, tables, JSON and curves.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::cli::args::Sweep;
use crate::cli::format::count;
use crate::cli::table::table;
use crate::cli::tools::figures;
use crate::cli::tools::plot::{Chart, Curve};
use crate::sim::lab::{Figures, KINDS, KINDS_OF_QUERIES, Quantiles};

/// One experiment: its settings and its figures.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) settings: Settings,
    /// The values of the sweeps, in their order.
    pub(super) values: Vec<String>,
    pub(super) figures: Figures,
    pub(super) wall: Duration,
    /// Largest resident memory of the process so far, in MiB.
    pub(super) peak_mib: u64,
}

impl Row {
    fn per_query(&self, n: u64) -> f64 {
        rounded(n as f64 / self.figures.queries.max(1) as f64)
    }

    /// The number of PENDING and CANCEL messages.
    fn others(&self) -> u64 {
        self.figures.messages[3..KINDS_OF_QUERIES].iter().sum()
    }

    fn messages_per_second(&self) -> f64 {
        (self.figures.handled as f64 / self.wall.as_secs_f64().max(1e-6)).round()
    }

    /// Whether no answer was wrong.
    pub(super) fn is_right(&self) -> bool {
        self.figures.complete_wrong == 0 && self.figures.strange == 0
    }

    /// The documented figures, by name.
    pub(super) fn promised(&self) -> Map<String, Value> {
        let figures = &self.figures;
        let [query, hit, done, ..] = figures.messages;
        let quantiles = |of: Quantiles| json!({"p50": rounded(of.p50), "p99": rounded(of.p99)});
        object(json!({
            "supers": figures.supers,
            "peers": figures.peers,
            "records": figures.records,
            "queries": figures.queries,
            "reach": rounded(figures.reach),
            "recall": rounded(figures.recall()),
            "complete_share": rounded(figures.complete_share),
            "complete_wrong": figures.complete_wrong,
            "messages_per_query": {
                "query": self.per_query(query),
                "hit": self.per_query(hit),
                "done": self.per_query(done),
                "other": self.per_query(self.others()),
                "total": self.per_query(figures.messages_of_queries()),
            },
            "bytes_per_query": self.per_query(figures.bytes_of_queries()),
            "duplicates_per_query": self.per_query(figures.duplicates),
            "answer_ms": {
                "first": quantiles(figures.first),
                "last": quantiles(figures.last),
                "done": quantiles(figures.done),
            },
            "load_max_over_mean": rounded(figures.load_max_over_mean()),
            "virtual_s": rounded(figures.virtual_time.as_secs_f64()),
            "wall_s": rounded(self.wall.as_secs_f64()),
        }))
    }

    /// All figures, for the event `result`.
    pub(super) fn result(&self, sweeps: &[Sweep]) -> Value {
        let figures = &self.figures;
        let mut all = object(json!({"v": 1, "event": "result"}));
        for (sweep, value) in sweeps.iter().zip(&self.values) {
            all.entry("sweep").or_insert_with(|| json!({}))[&sweep.name] = json!(value);
        }
        all.extend(self.promised());
        let kinds = |of: &[u64; KINDS.len()]| -> Map<String, Value> {
            KINDS.iter().zip(of).map(|(kind, n)| ((*kind).to_owned(), json!(n))).collect()
        };
        let (messages, bytes) = figures.upkeep();
        let full = |of: Quantiles| json!({"p50": rounded(of.p50), "p90": rounded(of.p90), "p99": rounded(of.p99)});
        all.extend(object(json!({
            "topology": self.settings.topology.to_string(),
            "links": figures.links,
            "files_held": figures.files_held,
            "policy": self.settings.policy,
            "ttl": self.settings.ttl,
            "loss": self.settings.loss,
            "churn": self.settings.churn,
            "seed": self.settings.seed,
            "answered": figures.answered,
            "nobody": figures.nobody,
            "pairs": figures.pairs,
            "found": figures.found,
            "strange": figures.strange,
            "messages": kinds(&figures.messages),
            "bytes": kinds(&figures.bytes),
            "repeats_per_query": self.per_query(figures.repeats),
            "datagrams_lost": figures.lost,
            "hops": figures.hops,
            "cut": figures.cut,
            "answer_ms": {"first": full(figures.first), "last": full(figures.last), "done": full(figures.done)},
            "load_max": figures.load_max,
            "load_mean": rounded(figures.load_mean),
            "upkeep_per_node_minute": {"messages": rounded(messages), "bytes": rounded(bytes)},
            "wall_messages_per_s": self.messages_per_second(),
            "wall_peak_mib": self.peak_mib,
        })));
        Value::Object(all)
    }

    /// The figures for tables.
    pub(super) fn cells(&self) -> Vec<(&'static str, String)> {
        let figures = &self.figures;
        let percent = |share: f64| trimmed(share * 100.0, 3);
        let (upkeep, upkeep_bytes) = figures.upkeep();
        let mut cells = vec![
            ("supers", figures.supers.to_string()),
            ("links", figures.links.to_string()),
            ("peers", figures.peers.to_string()),
            ("records", figures.records.to_string()),
            ("policy", self.settings.policy.to_string()),
            ("ttl", self.settings.ttl.to_string()),
            ("loss %", trimmed(self.settings.loss, 1)),
            ("churn %/min", trimmed(self.settings.churn, 1)),
            ("queries", figures.queries.to_string()),
            ("reach %", percent(figures.reach)),
            ("recall %", percent(figures.recall())),
            ("complete %", percent(figures.complete_share)),
            ("complete wrong", figures.complete_wrong.to_string()),
        ];
        for (kind, n) in KINDS.iter().zip(figures.messages).take(KINDS_OF_QUERIES) {
            cells.push((kind, trimmed(self.per_query(n), 1)));
        }
        for (name, n) in [
            ("messages", figures.messages_of_queries()),
            ("bytes", figures.bytes_of_queries()),
            ("duplicates", figures.duplicates),
            ("repeats", figures.repeats),
        ] {
            cells.push((name, trimmed(self.per_query(n), 1)));
        }
        let names = [
            ["first p50 ms", "first p90 ms", "first p99 ms"],
            ["last p50 ms", "last p90 ms", "last p99 ms"],
            ["done p50 ms", "done p90 ms", "done p99 ms"],
        ];
        for (names, of) in names.into_iter().zip([figures.first, figures.last, figures.done]) {
            cells.extend(names.into_iter().zip([of.p50, of.p90, of.p99].map(|ms| trimmed(ms, 2))));
        }
        cells.extend([
            ("load max/mean", trimmed(figures.load_max_over_mean(), 2)),
            ("upkeep/node/min", trimmed(upkeep, 1)),
            ("upkeep bytes/node/min", trimmed(upkeep_bytes, 0)),
            ("virtual s", trimmed(figures.virtual_time.as_secs_f64(), 1)),
            ("wall s", trimmed(self.wall.as_secs_f64(), 1)),
            ("messages/s", trimmed(self.messages_per_second(), 0)),
            ("peak MiB", self.peak_mib.to_string()),
        ]);
        cells
    }

    /// The figures of one experiment as text.
    pub(super) fn text(&self) -> String {
        let figures = &self.figures;
        let Figures { files_held, queries, answered, nobody, found, pairs, load_max, .. } = figures;
        let Settings { topology, policy, ttl, .. } = &self.settings;
        let some = |n: usize, what: &str| count(n as u64, what);
        let (supers, links) = (some(figures.supers, "super peer"), some(figures.links, "link"));
        let (peers, records) = (some(figures.peers, "weak peer"), some(figures.records, "record"));
        let each = |n: u64| trimmed(self.per_query(n), 1);
        let percent = |share: f64| format!("{} %", trimmed(share * 100.0, 3));
        let ms = |of: Quantiles| {
            let [p50, p90, p99] = [of.p50, of.p90, of.p99].map(|ms| trimmed(ms, 2));
            format!("p50 {p50}  p90 {p90}  p99 {p99}")
        };
        let wrong = match figures.complete_wrong {
            0 => String::new(),
            wrong => format!("; WRONGLY {wrong}"),
        };
        let kinds = KINDS.iter().zip(figures.messages).take(KINDS_OF_QUERIES).filter(|(_, n)| *n > 0);
        let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{kind} {}", each(n))).collect();
        let hops: Vec<String> = figures.hops.iter().skip(1).map(|n| each(*n)).collect();
        let (mean, times) = (trimmed(figures.load_mean, 1), trimmed(figures.load_max_over_mean(), 2));
        let (upkeep, upkeep_bytes) = figures.upkeep();
        let (upkeep, upkeep_bytes) = (trimmed(upkeep, 1), trimmed(upkeep_bytes, 0));
        let [virtual_s, wall_s] = [figures.virtual_time, self.wall].map(|time| trimmed(time.as_secs_f64(), 1));
        let queries_text =
            format!("{queries} by {policy}, ttl {ttl}; {answered} answered, {nobody} for files that no peer holds");
        let rows = [
            ("network", format!("{supers}, {links}, {topology}")),
            ("content", format!("{peers}, {records} of {files_held} files")),
            ("queries", queries_text),
            ("reach", percent(figures.reach)),
            ("recall", format!("{} ({found} of {pairs})", percent(figures.recall()))),
            ("complete", format!("{}{wrong}", percent(figures.complete_share))),
            ("messages per query", format!("{} ({})", each(figures.messages_of_queries()), kinds.join(", "))),
            ("bytes per query", trimmed(self.per_query(figures.bytes_of_queries()), 0)),
            ("duplicates", format!("{} per query", each(figures.duplicates))),
            ("repeats", format!("{} per query; {} lost", each(figures.repeats), count(figures.lost, "datagram"))),
            ("hops 1, 2, …", hops.join(" ")),
            ("first hit, ms", ms(figures.first)),
            ("last hit, ms", ms(figures.last)),
            ("DONE, ms", ms(figures.done)),
            ("load of a super peer", format!("mean {mean}, max {load_max} ({times} times)")),
            ("upkeep", format!("{upkeep} messages, {upkeep_bytes} bytes per super peer and minute")),
            ("time", format!("{virtual_s} s of virtual time in {wall_s} s")),
            ("speed", format!("{} messages/s; {} MiB at most", self.messages_per_second(), self.peak_mib)),
        ];
        table(&["figure", "value"], &[false, false], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]))
    }
}

/// A line of names, and then a line of values for each experiment.
pub(super) fn csv(all: &[Vec<(&str, String)>]) -> String {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let head = all.iter().take(1).map(|cells| cells.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>());
    let rest = all.iter().map(|cells| cells.iter().map(|(_, value)| quoted(value)).collect());
    head.chain(rest).map(|cells| cells.join(",")).collect::<Vec<_>>().join("\n")
}

/// A table without the columns that have the same value in every row, unless they are in `always`.
pub(super) fn swept_table(all: &[Vec<(&str, String)>], always: &[&str], markdown: bool) -> String {
    let Some(first) = all.first() else { return String::new() };
    let kept: Vec<usize> = (0..first.len())
        .filter(|&column| always.contains(&first[column].0) || all.iter().any(|row| row[column].1 != first[column].1))
        .collect();
    let head: Vec<&str> = kept.iter().map(|&column| first[column].0).collect();
    let body = all.iter().map(|row| kept.iter().map(|&column| row[column].1.clone()).collect::<Vec<_>>());
    let right = vec![true; head.len()];
    if markdown { figures::markdown(&head, &right, body) } else { table(&head, &right, body) }
}

/// The figures of one experiment as a Markdown table.
pub(super) fn markdown(row: &Row) -> String {
    let rows = row.cells().into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    figures::markdown(&["figure", "value"], &[false, true], rows)
}

/// A figure of an experiment, with its name.
type Figure<'a> = (&'a str, &'a dyn Fn(&Row) -> f64);

/// The charts of a sweep: recall, messages, times.
pub(super) fn charts(sweeps: &[Sweep], rows: &[Row]) -> Vec<Chart> {
    let Some(first) = sweeps.first() else { return Vec::new() };
    let numbers: Option<Vec<f64>> = first.values.iter().map(|value| value.parse().ok()).collect();
    let place = |row: &Row| {
        let at = first.values.iter().position(|value| *value == row.values[0]).unwrap_or(0);
        numbers.as_ref().map_or(at as f64, |numbers| numbers[at])
    };
    // One curve for each combination of the other settings.
    let mut series: Vec<String> = rows.iter().map(|row| row.values[1..].join(", ")).collect();
    series.dedup();
    series.sort_unstable();
    series.dedup();
    let curve = |name: &str, series: &str, of: &dyn Fn(&Row) -> f64| {
        let rows = rows.iter().filter(|row| row.values[1..].join(", ") == *series);
        let mut points: Vec<(f64, f64)> = rows.map(|row| (place(row), of(row))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve {
            name: [series, name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" "),
            points,
        }
    };
    let all = |of: &[Figure<'_>]| -> Vec<Curve> {
        // If there are several series, only the first figure is drawn, because more curves are not
        // readable.
        let kept = if series.len() > 1 { 1 } else { of.len() };
        series.iter().flat_map(|series| of[..kept].iter().map(|(name, of)| curve(name, series, *of))).collect()
    };
    let large = ["supers", "peers", "files", "queries"].contains(&first.name.as_str());
    let chart = |title: &str, from_zero: bool, logarithmic: bool, curves: Vec<Curve>| Chart {
        title: title.to_owned(),
        x: match first.name.as_str() {
            "loss" => "loss, %".to_owned(),
            "churn" => "churn, % a minute".to_owned(),
            name => name.to_owned(),
        },
        names: if numbers.is_some() { Vec::new() } else { first.values.clone() },
        from_zero,
        logarithmic,
        curves,
    };
    vec![
        chart(
            "found, %",
            true,
            false,
            all(&[
                ("recall", &|row| row.figures.recall() * 100.0),
                ("reach", &|row| row.figures.reach * 100.0),
                ("complete", &|row| row.figures.complete_share * 100.0),
            ]),
        ),
        chart(
            "messages per query",
            true,
            large,
            all(&[
                ("all", &|row| row.per_query(row.figures.messages_of_queries())),
                ("QUERY", &|row| row.per_query(row.figures.messages[0])),
                ("DONE", &|row| row.per_query(row.figures.messages[2])),
            ]),
        ),
        chart(
            "answer time, ms",
            true,
            false,
            all(&[
                ("DONE p99", &|row| row.figures.done.p99),
                ("DONE p50", &|row| row.figures.done.p50),
                ("first hit p50", &|row| row.figures.first.p50),
            ]),
        ),
    ]
}

/// The entries of an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
