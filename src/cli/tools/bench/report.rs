//! The figures of one run, in the same form for all modes: JSON, CSV, Markdown, text.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::curves;
use crate::bench::{Mode, Tally};
use crate::cli::args::Bench;
use crate::cli::table::table;
use crate::cli::tools::figures::{self, Form};
use crate::cli::tools::process::Sample;
use crate::control;
use crate::error::{Exit, Failure};

/// A process that used this share of a core was busy all the time.
const BUSY: f64 = 0.9;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    v: u8,
    time: String,
    event: &'static str,
    ok: bool,
    exit: u8,
    mode: &'static str,
    unit: &'static str,
    count: u64,
    rate_per_s: f64,
    seconds: f64,
    latency_us: Latency,
    errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<u64>,
    sessions: usize,
    setup_s: f64,
    client_cpu_share: f64,
    client_bound: bool,
    server: Option<Server>,
    env: Env,
    /// Seconds since the start of the measurement, and the rate per second up to then.
    rate_over_time: Vec<(f64, f64)>,
    #[serde(skip)]
    quantiles: Vec<(f64, f64)>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

/// The super peer during the measurement. For get, the sources together.
#[derive(Debug, Serialize)]
struct Server {
    pid: u32,
    rss_kib: u64,
    private_kib: u64,
    /// The memory before the first session.
    private_kib_before: u64,
    cpu_s: f64,
    cpu_share: f64,
    context_switches: u64,
}

/// Facts about the machine and the command line.
#[derive(Debug, Serialize)]
pub(super) struct Env {
    version: &'static str,
    kernel: String,
    cpus: usize,
    nofile: u64,
    args: Vec<String>,
}

impl Env {
    pub(super) fn here(nofile: u64) -> Env {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Env {
            version: env!("CARGO_PKG_VERSION"),
            kernel: kernel.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            nofile,
            args: std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect(),
        }
    }
}

/// Samples of one process: before the load, at the beginning and at the end of the measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    pub(super) pid: u32,
    pub(super) before: Option<Sample>,
    pub(super) from: Option<Sample>,
    pub(super) to: Option<Sample>,
}

impl Watched {
    pub(super) fn new(pid: u32) -> Watched {
        Watched { pid, before: Sample::of(pid), from: None, to: None }
    }

    pub(super) fn begin(&mut self) {
        self.from = Sample::of(self.pid);
    }

    pub(super) fn end(&mut self) {
        if self.to.is_none() {
            self.to = Sample::of(self.pid);
        }
    }

    pub(super) fn share(&self) -> Option<f64> {
        Some(self.to?.share_since(&self.from?))
    }
}

impl Report {
    pub(super) fn new(
        mode: Mode,
        tally: &Tally,
        open: bool,
        client: &Watched,
        servers: &[Watched],
        env: Env,
    ) -> Report {
        let seconds = tally.elapsed().as_secs_f64();
        let per_second = |count: u64, span: Duration| rounded(count as f64 / span.as_secs_f64().max(1e-6), 10.0);
        let share = client.share().unwrap_or(0.0);
        let server = server(servers);
        let server_busy = server.as_ref().is_some_and(|server| server.cpu_share >= BUSY);
        let client_bound = if open { tally.late * 100 > tally.count } else { share >= BUSY && !server_busy };
        Report {
            v: 1,
            time: control::rfc3339(SystemTime::now()),
            event: "done",
            ok: true,
            exit: 0,
            mode: mode.word(),
            unit: mode.unit(),
            count: tally.count,
            rate_per_s: per_second(tally.count, if mode == Mode::Idle { tally.setup } else { tally.elapsed() }),
            seconds: rounded(seconds, 1e6),
            latency_us: Latency {
                p50: tally.quantile_us(0.5),
                p90: tally.quantile_us(0.9),
                p99: tally.quantile_us(0.99),
                p999: tally.quantile_us(0.999),
                max: tally.max_us(),
            },
            errors: tally.errors().clone(),
            hits: matches!(mode, Mode::Query | Mode::Flood | Mode::Churn).then_some(tally.hits),
            messages_per_s: (mode == Mode::Flood).then(|| per_second(tally.messages, tally.elapsed())),
            bytes_per_s: None,
            late: open.then_some(tally.late),
            sessions: tally.sessions_up,
            setup_s: rounded(tally.setup.as_secs_f64(), 1e6),
            client_cpu_share: rounded(share, 1e3),
            client_bound,
            server,
            env,
            rate_over_time: tally.rates().iter().map(|&(at, rate)| (rounded(at, 1e3), rounded(rate, 10.0))).collect(),
            quantiles: curves::quantiles(tally),
        }
    }

    pub(super) fn with_bytes(mut self, bytes: u64) -> Report {
        self.bytes_per_s = Some((bytes as f64 / self.seconds.max(1e-6)).round());
        self
    }

    /// Prints the figures in the requested form, and draws them if requested. Returns the exit
    /// code.
    pub(super) fn publish(mut self, args: &Bench, form: Form) -> Result<u8, Failure> {
        if self.count == 0 {
            (self.ok, self.exit) = (false, Exit::TimedOut.code());
        }
        let (head, right) = (["figure", "value"], [false, true]);
        let cells = || self.rows().into_iter().map(|(name, figure)| vec![name, figure]);
        figures::print(&match form {
            Form::Json => self.json(),
            Form::Csv => self.csv(),
            Form::Markdown => figures::markdown(&head, &right, cells()),
            Form::Text => table(&head, &right, cells()),
        })?;
        if let Some(path) = &args.svg {
            figures::draw(path, &self.svg())?;
        }
        Ok(self.exit)
    }

    fn json(&self) -> String {
        crate::control::json(self).unwrap_or_default()
    }

    fn svg(&self) -> String {
        let title = format!("sprat bench {}: {:.0} {} a second", self.mode, self.rate_per_s, self.unit);
        curves::svg(&title, self.unit, &self.quantiles, &self.rate_over_time)
    }

    fn csv(&self) -> String {
        let (names, figures): (Vec<_>, Vec<_>) = self.rows().into_iter().unzip();
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let line = |fields: &[String]| fields.iter().map(quoted).collect::<Vec<_>>().join(",");
        format!("{}\n{}", line(&names), line(&figures))
    }

    /// The figures for tables, by name.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("mode".to_owned(), self.mode.to_owned()),
            (self.unit.to_owned(), self.count.to_string()),
            ("seconds".to_owned(), format!("{:.3}", self.seconds)),
            ("rate per second".to_owned(), format!("{:.1}", self.rate_per_s)),
        ];
        let mut add = |name: &str, figure: String| rows.push((name.to_owned(), figure));
        if let Some(messages) = self.messages_per_s {
            add("messages per second", format!("{messages:.1}"));
        }
        if let Some(bytes) = self.bytes_per_s {
            add("MB per second", format!("{:.1}", bytes / 1e6));
        }
        let Latency { p50, p90, p99, p999, max } = self.latency_us;
        for (name, us) in [("p50 us", p50), ("p90 us", p90), ("p99 us", p99), ("p99.9 us", p999), ("max us", max)] {
            add(name, us.to_string());
        }
        if let Some(hits) = self.hits {
            add("hits", hits.to_string());
        }
        let errors: Vec<String> = self.errors.iter().map(|(class, count)| format!("{class} {count}")).collect();
        add("errors", if errors.is_empty() { "0".to_owned() } else { errors.join(" ") });
        let bound = if self.client_bound { " (client bound)" } else { "" };
        add("client CPU share", format!("{:.2}{bound}", self.client_cpu_share));
        if let Some(server) = &self.server {
            add("server CPU share", format!("{:.2}", server.cpu_share));
            add("server CPU s", format!("{:.2}", server.cpu_s));
            add("server private KiB", server.private_kib.to_string());
            add("server RSS KiB", server.rss_kib.to_string());
            add("server switches", server.context_switches.to_string());
        }
        rows
    }
}

fn server(servers: &[Watched]) -> Option<Server> {
    let first = servers.first()?;
    let pairs: Vec<(Sample, Sample)> = servers.iter().filter_map(|one| Some((one.from?, one.to?))).collect();
    if pairs.is_empty() {
        return None;
    }
    let sum = |of: &dyn Fn(&(Sample, Sample)) -> u64| pairs.iter().map(of).sum::<u64>();
    Some(Server {
        pid: first.pid,
        rss_kib: sum(&|(_, to)| to.rss_kib),
        private_kib: sum(&|(_, to)| to.private_kib),
        private_kib_before: servers.iter().filter_map(|one| one.before).map(|sample| sample.private_kib).sum(),
        cpu_s: rounded(pairs.iter().map(|(from, to)| to.cpu.saturating_sub(from.cpu).as_secs_f64()).sum(), 1e3),
        cpu_share: rounded(pairs.iter().map(|(from, to)| to.share_since(from)).sum(), 1e3),
        context_switches: sum(&|(from, to)| to.switches.saturating_sub(from.switches)),
    })
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
