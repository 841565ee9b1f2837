//! `sprat bench swarm`: one peer shares a file. Other peers fetch the file at the same time, from
//! it and from each other. Each is a process of its own. All use one machine and its loopback
//! interface, and no rate is limited. So the figures show work and bytes, and cannot be compared
//! with a bound.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::rig::{Rig, SOURCES, say};
use crate::cli::args::Bench;
use crate::cli::random::OsEntropy;
use crate::cli::tools::children::{Children, Subnet};
use crate::cli::tools::figures::{self, Form};
use crate::cli::tools::process::Sample;
use crate::cli::units::Size;
use crate::error::{Exit, Failure};
use crate::proto::Entropy;

/// The name of the file.
const NAME: &str = "bench.bin";
const PEERS: usize = 8;
const PEERS_MAX: usize = 64;
const SIZE: u64 = 64 << 20;

/// How the download of one peer ended.
struct End {
    /// The time until its result. After that, it serves others for a while.
    took: Duration,
    ok: bool,
    /// Bytes of all pieces that it has received, including those that were not kept.
    received: u64,
    error: Option<String>,
}

pub(super) fn run(args: &Bench, form: Form) -> Result<u8, Failure> {
    let peers = args.peers.unwrap_or(PEERS);
    let Size(size) = args.size.unwrap_or(Size(SIZE));
    if !args.own || !args.supers.is_empty() {
        return Err(Failure::usage("bench swarm starts all of its processes; write bench swarm --self"));
    }
    if !(1..=PEERS_MAX).contains(&peers) || size == 0 {
        return Err(Failure::usage(format!("--peers is a number from 1 to {PEERS_MAX}, and --size is above 0")));
    }
    let mut rig = Rig::new(true, form == Form::Text && !args.quiet)?;
    let subnet = Subnet::draw(OsEntropy.next_u64());
    let super_peer = rig.start_super(subnet, None, None)?.to_string();
    rig.start_sources(subnet, 1, size, NAME)?;
    if rig.talks {
        say(&format!("{peers} peers fetch {}", Size(size)));
    }
    let sent_before = sent(&rig.children)?;
    let before = spent(&rig);
    let (children, folder) = (&rig.children, rig.path());
    let begun = Instant::now();
    let ends = thread::scope(|scope| {
        let fetch = |n: usize| {
            let (out, super_peer) = (folder.join(format!("out{n}")).display().to_string(), &super_peer);
            scope.spawn(move || fetch(children, super_peer, &out, begun))
        };
        let running: Vec<_> = (0..peers).map(fetch).collect();
        let join = |one: thread::ScopedJoinHandle<'_, Result<End, Failure>>| one.join().unwrap_or_else(|_| died());
        running.into_iter().map(join).collect::<Result<Vec<End>, Failure>>()
    })?;
    // The processes of the downloads have ended. Their time counts as that of children of this
    // process.
    let cpu = spent(&rig).saturating_sub(before);
    let egress = sent(&rig.children)?.saturating_sub(sent_before);
    publish(&figures(&ends, (peers, size), egress, cpu), form)?;
    match ends.iter().find(|end| !end.ok) {
        None => Ok(Exit::Ok.code()),
        Some(end) => Err(Failure::new(Exit::Partial, end.error.clone().unwrap_or_default())),
    }
}

fn died() -> Result<End, Failure> {
    Err(Failure::new(Exit::Internal, "a thread of the bench has failed"))
}

fn fetch(children: &Children, super_peer: &str, out: &str, begun: Instant) -> Result<End, Failure> {
    let mut took = None;
    let answer = children.ask_live(&["get", NAME, "--super", super_peer, "-o", out], |event| {
        if event["event"] == "done" {
            took = Some(begun.elapsed());
        }
    })?;
    let done = answer.done();
    let received = done["sources"].as_array().into_iter().flatten().filter_map(|source| source["bytes"].as_u64());
    let error = done["error"].as_str().map(str::to_owned);
    Ok(End { took: took.unwrap_or_else(|| begun.elapsed()), ok: answer.code == 0, received: received.sum(), error })
}

/// Bytes of chunks that the peer with the file has sent.
fn sent(children: &Children) -> Result<u64, Failure> {
    let control = children.socket(SOURCES[0]).display().to_string();
    let answer = children.ask(&["status", "--control", &control])?;
    Ok(answer.of("status").find_map(|status| status["peer"]["bytes_sent"].as_u64()).unwrap_or(0))
}

/// CPU time of the super peer, of the peer with the file, and of the downloads that have ended.
fn spent(rig: &Rig) -> Duration {
    let servers = rig.server_pid.iter().chain(&rig.source_pids).filter_map(|pid| Sample::of(*pid));
    let own = Sample::of(std::process::id()).map_or(Duration::ZERO, |sample| sample.children_cpu);
    own + servers.map(|sample| sample.cpu).sum::<Duration>()
}

/// The figures by name. Those of `sprat sim --swarm` have the same names.
fn figures(ends: &[End], (peers, size): (usize, u64), egress: u64, cpu: Duration) -> Map<String, Value> {
    let mut times: Vec<f64> = ends.iter().filter(|end| end.ok).map(|end| end.took.as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let last = times.len().checked_sub(1)?;
        times.get((last as f64 * share).round() as usize).map(|time| rounded(*time))
    };
    let received: u64 = ends.iter().map(|end| end.received).sum();
    let kept = times.len() as u64 * size;
    let all = json!({
        "v": 1,
        "event": "done",
        "mode": "swarm",
        "ok": times.len() == peers,
        "exit": if times.len() == peers { Exit::Ok.code() } else { Exit::Partial.code() },
        "peers": peers,
        "bytes": size,
        "finished": times.len(),
        "failed": peers - times.len(),
        "first_s": at(0.0),
        "p50_s": at(0.5),
        "last_s": at(1.0),
        "seed_egress": rounded(egress as f64 / size as f64),
        "duplicates": rounded(received.saturating_sub(kept) as f64 / received.max(1) as f64),
        "cpu_s_per_gib": rounded(cpu.as_secs_f64() * f64::from(1 << 30) / kept.max(1) as f64),
    });
    if let Value::Object(map) = all { map } else { Map::new() }
}

fn publish(figures: &Map<String, Value>, form: Form) -> Result<(), Failure> {
    let shown = || figures.iter().filter(|(name, _)| !matches!(name.as_str(), "v" | "event" | "mode" | "ok" | "exit"));
    let text = match form {
        Form::Json => Value::Object(figures.clone()).to_string(),
        Form::Text => shown().map(|(name, value)| format!("{name:<14} {value}")).collect::<Vec<_>>().join("\n"),
        Form::Csv => {
            let (names, values): (Vec<String>, Vec<String>) =
                shown().map(|(name, value)| (name.clone(), value.to_string())).unzip();
            format!("{}\n{}", names.join(","), values.join(","))
        }
        Form::Markdown => {
            let rows = shown().map(|(name, value)| vec![name.clone(), value.to_string()]);
            figures::markdown(&["figure", "value"], &[false, true], rows)
        }
    };
    figures::print(&text)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
