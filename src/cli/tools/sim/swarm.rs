//! `sprat sim --swarm`: one download by many peers at once, and its figures.

use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::bar::Bar;
use super::report::{csv, object, swept_table};
use super::sweep;
use crate::cli::args::{Sim, Sweep};
use crate::cli::output;
use crate::cli::table::table;
use crate::cli::tools::figures::{self, Form};
use crate::cli::tools::plot::{self, Chart, Curve};
use crate::cli::units::{Rate, Span};
use crate::error::{Exit, Failure};
use crate::sim::swarm::{Figures, Leave, Plan, Swarm};

/// The most peers. The state of each takes about 100 KB.
const PEERS_MAX: usize = 100_000;
/// The most pieces, which are 64 GiB.
const PIECES_MAX: u32 = 1 << 16;
/// What a peer can send by default: 100 Mbit/s.
const UP: Rate = Rate(12_500_000);
/// The time that a message takes: the lowest and the highest.
const LATENCY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(600));
/// A swarm is given up after its least time multiplied by this, plus this time for each peer.
const PATIENCE: u32 = 20;
const PATIENCE_PER_PEER: Duration = Duration::from_secs(1);

/// The settings that can be swept.
const NAMES: &str = "swarm, pieces, zones and seed";

/// Runs one swarm, or one for each combination of the swept values, and prints the figures.
pub(super) fn run(args: &Sim, peers: usize) -> Result<u8, Failure> {
    let form = Form::of(args.json, args.csv, args.md)?;
    // Only a complete combination is checked: it must not matter which setting is swept first.
    let plans = sweep::combinations(&plan(args, peers)?, &args.sweep, with)?;
    let plans: Vec<_> =
        plans.into_iter().map(|(values, plan)| Ok((values, checked(plan)?))).collect::<Result<_, Failure>>()?;
    let mut runs = Vec::new();
    let all = plans.len();
    for (at, (values, plan)) in plans.into_iter().enumerate() {
        let bar = Bar::new(args, at, all, &values);
        let began = Instant::now();
        let peers = plan.peers as u32;
        let seed_alone = Duration::from_secs_f64(plan.file_bytes() as f64 * f64::from(peers) / plan.seed_up as f64);
        let most = (plan.bound() * PATIENCE).max(seed_alone * 2) + PATIENCE_PER_PEER * peers + plan.arrive * peers;
        let figures = Swarm::new(plan.clone()).run(most, |part| bar.show("fetching", part));
        bar.end();
        let run = Run { plan, values, figures, wall: began.elapsed() };
        if form == Form::Json {
            figures::print(&run.result(&args.sweep).to_string())?;
        }
        runs.push(run);
    }
    if let Some(path) = &args.svg {
        let svg = match runs.as_slice() {
            [run] if args.sweep.is_empty() => plot::charts(&run.title(), &[run.curve()]),
            runs => plot::charts(&sweep::title(&args.sweep), &growth(&args.sweep, runs)),
        };
        figures::draw(path, &svg)?;
    }
    publish(args, form, &runs)
}

/// Prints the figures, and the last line of JSON. Returns the exit code.
fn publish(args: &Sim, form: Form, runs: &[Run]) -> Result<u8, Failure> {
    let right = runs.iter().all(|run| run.figures.is_right());
    let exit = if right { Exit::Ok } else { Exit::Internal };
    let one = runs.first().filter(|_| args.sweep.is_empty());
    let named: Vec<Vec<(String, String)>> = runs.iter().map(Run::cells).collect();
    let cells: Vec<Vec<(&str, String)>> =
        named.iter().map(|row| row.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()).collect();
    figures::print(&match (form, one) {
        (Form::Json, _) => {
            let mut done = object(json!({"v": 1, "event": "done", "ok": right, "exit": exit.code()}));
            match one {
                Some(run) => done.extend(run.promised()),
                None => done.extend(object(json!({"results": runs.len()}))),
            }
            Value::Object(done).to_string()
        }
        (Form::Csv, _) => csv(&cells),
        (Form::Markdown, Some(run)) => figures::markdown(&["figure", ""], &[false, true], run.rows()),
        (Form::Text, Some(run)) => {
            format!("{}\n\n{}", run.title(), table(&["figure", "value"], &[false, true], run.rows()))
        }
        (Form::Markdown | Form::Text, None) => swept_table(&cells, &["duplicates"], form == Form::Markdown),
    })?;
    for run in runs.iter().filter(|run| !run.figures.is_right()) {
        let why = run.figures.why.as_ref().map_or(String::new(), |why| format!("; the first one: {why}"));
        let Figures { failed, unfinished, .. } = run.figures;
        output::error(&format!("{failed} peers failed and {unfinished} did not finish{why}"));
    }
    Ok(exit.code())
}

/// Refuses options of a swarm without --swarm.
pub(super) fn refuse(args: &Sim) -> Result<(), Failure> {
    let given = [
        ("pieces", args.pieces.is_some()),
        ("up", args.up.is_some()),
        ("down", args.down.is_some()),
        ("seed-up", args.seed_up.is_some()),
        ("zones", args.zones.is_some()),
        ("cross", args.cross.is_some()),
        ("arrive", args.arrive.is_some()),
        ("leave", args.leave.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::usage(format!("--{name} is an option of a swarm; add --swarm N"))),
        None => Ok(()),
    }
}

fn plan(args: &Sim, peers: usize) -> Result<Plan, Failure> {
    let searches = [
        ("supers", args.supers.is_some()),
        ("degree", args.degree.is_some()),
        ("topology", args.topology.is_some()),
        ("peers", args.peers.is_some()),
        ("files", args.files.is_some()),
        ("files-per-peer", args.files_per_peer.is_some()),
        ("zipf", args.zipf.is_some()),
        ("queries", args.queries.is_some()),
        ("interval", args.interval.is_some()),
        ("ttl", args.ttl.is_some()),
        ("policy", args.policy.is_some()),
        ("loss", args.loss.is_some()),
        ("churn", args.churn.is_some()),
        ("budget", args.budget.is_some()),
        ("limit", args.limit.is_some()),
        ("threads", args.threads.is_some()),
    ];
    if let Some((name, _)) = searches.iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::usage(format!("--{name} is an option of searches, and has no meaning with --swarm")));
    }
    let Rate(up) = args.up.unwrap_or(UP);
    let rate = |given: Option<Rate>| given.map_or(up, |Rate(rate)| rate);
    checked(Plan {
        seed: args.seed.unwrap_or(1),
        peers,
        pieces: args.pieces.unwrap_or(256),
        up,
        down: rate(args.down),
        seed_up: rate(args.seed_up),
        zones: args.zones.unwrap_or(1),
        cross: args.cross.map(|Rate(rate)| rate),
        arrive: args.arrive.map_or(Duration::ZERO, |Span(gap)| gap),
        leave: args.leave.as_deref().map_or(Ok(Leave::Never), leave)?,
        latency: LATENCY,
    })
}

fn checked(plan: Plan) -> Result<Plan, Failure> {
    let Plan { peers, pieces, zones, up, down, seed_up, cross, .. } = plan;
    let bounds = [
        ((1..=PEERS_MAX).contains(&peers), format!("--swarm is a number from 1 to {PEERS_MAX}")),
        ((1..=PIECES_MAX).contains(&pieces), format!("--pieces is a number from 1 to {PIECES_MAX}")),
        ((1..=peers).contains(&zones), "--zones is a number from 1 to that of --swarm".to_owned()),
        (
            up.min(down).min(seed_up).min(cross.unwrap_or(up)) >= 1000,
            "a rate of a swarm is at least 1000 bytes a second".to_owned(),
        ),
        (plan.arrive <= Duration::from_secs(3600), "--arrive is a time up to 1h".to_owned()),
    ];
    match bounds.into_iter().find(|(holds, _)| !holds) {
        Some((_, why)) => Err(Failure::usage(why)),
        None => Ok(plan),
    }
}

/// This plan with one setting changed.
fn with(plan: &Plan, name: &str, value: &str) -> Result<Plan, Failure> {
    fn read<T: FromStr>(name: &str, value: &str) -> Result<T, Failure> {
        value.parse().map_err(|_| Failure::usage(format!("--sweep {name}: {value:?} is not a value of --{name}")))
    }
    let mut new = plan.clone();
    match name {
        "swarm" => new.peers = read(name, value)?,
        "pieces" => new.pieces = read(name, value)?,
        "zones" => new.zones = read(name, value)?,
        "seed" => new.seed = read(name, value)?,
        _ => {
            return Err(Failure::usage(format!(
                "--sweep {name}: this is no setting of a swarm to sweep; there are {NAMES}"
            )));
        }
    }
    Ok(new)
}

fn leave(text: &str) -> Result<Leave, Failure> {
    let percent = || text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100);
    match text {
        "done" => Ok(Leave::Done),
        "seed" => Ok(Leave::Seed),
        _ => percent()
            .map(Leave::Half)
            .ok_or_else(|| Failure::usage(format!("--leave is done, seed or a percentage such as 25%, not {text:?}"))),
    }
}

/// A completed run of a swarm.
struct Run {
    plan: Plan,
    /// The values of the sweeps, in their order.
    values: Vec<String>,
    figures: Figures,
    wall: Duration,
}

impl Run {
    fn title(&self) -> String {
        let Plan { peers, pieces, .. } = &self.plan;
        format!("{peers} peers fetch {pieces} MiB from one seed and each other")
    }

    /// The documented figures, by name.
    fn promised(&self) -> Map<String, Value> {
        let figures = &self.figures;
        let over = |share: f64| figures.over_bound(share).map(rounded);
        object(json!({
            "peers": self.plan.peers,
            "pieces": self.plan.pieces,
            "seed": self.plan.seed,
            "finished": figures.finished.len(),
            "left": figures.left,
            "failed": figures.failed,
            "unfinished": figures.unfinished,
            "bound_s": rounded(figures.bound.as_secs_f64()),
            "first_over_bound": over(0.0),
            "p50_over_bound": over(0.5),
            "last_over_bound": over(1.0),
            "seed_egress": rounded(figures.seed_egress),
            "copy_out_s": figures.copy_out.map(|time| rounded(time.as_secs_f64())),
            "duplicates": precise(figures.duplicates),
            "control": precise(figures.control),
            "cross_zone": rounded(figures.cross_zone),
            "joins": figures.joins,
            "messages_super": figures.messages_super,
            "wall_s": rounded(self.wall.as_secs_f64()),
        }))
    }

    /// All other counts, for the event `result`.
    fn result(&self, sweeps: &[Sweep]) -> Value {
        let figures = &self.figures;
        let kinds: Map<String, Value> = figures
            .kinds
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!({"messages": kind.messages, "bytes": kind.bytes})))
            .collect();
        let mut all = object(json!({"v": 1, "event": "result"}));
        for (sweep, value) in sweeps.iter().zip(&self.values) {
            all.entry("sweep").or_insert_with(|| json!({}))[&sweep.name] = json!(value);
        }
        all.extend(self.promised());
        all.extend(object(json!({
            "up": self.plan.up,
            "down": self.plan.down,
            "seed_up": self.plan.seed_up,
            "zones": self.plan.zones,
            "cross": self.plan.cross,
            "kinds": kinds,
            "egress_max": rounded(figures.egress.0),
            "egress_min": rounded(figures.egress.1),
            "finished_s": figures.finished.iter().map(|time| rounded(time.as_secs_f64())).collect::<Vec<_>>(),
            "events": figures.happened,
        })));
        Value::Object(all)
    }

    fn cells(&self) -> Vec<(String, String)> {
        let promised = self.promised();
        promised.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    }

    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        let figures = &self.figures;
        let over = |share: f64| {
            let time = figures
                .over_bound(share)
                .map(|over| format!("{over:.3} ({:.1} s)", over * figures.bound.as_secs_f64()));
            time.unwrap_or_else(|| "-".to_owned())
        };
        let percent = |share: f64| format!("{:.3} %", share * 100.0);
        let mut rows = vec![
            ("least possible time", format!("{:.1} s", figures.bound.as_secs_f64())),
            ("first peer, over it", over(0.0)),
            ("half of the peers", over(0.5)),
            ("last peer", over(1.0)),
            ("sent by the seed, over the file", format!("{:.3}", figures.seed_egress)),
            (
                "each piece sent by the seed",
                figures.copy_out.map_or("-".to_owned(), |at| format!("{:.1} s", at.as_secs_f64())),
            ),
            ("sent by a peer, over the file: most, least", format!("{:.2}, {:.2}", figures.egress.0, figures.egress.1)),
            ("duplicates", percent(figures.duplicates)),
            ("messages, of the bytes of pieces", percent(figures.control)),
            ("JOINs at the super peer", figures.joins.to_string()),
            ("messages at the super peer", figures.messages_super.to_string()),
        ];
        if self.plan.zones > 1 {
            rows.push(("between zones, over the file", format!("{:.3}", figures.cross_zone)));
        }
        for (what, n) in [("left", figures.left), ("failed", figures.failed), ("unfinished", figures.unfinished)] {
            if n > 0 {
                rows.push((what, n.to_string()));
            }
        }
        let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        for (name, kind) in &figures.kinds {
            rows.push(vec![(*name).to_owned(), format!("{} ({} B)", kind.messages, kind.bytes)]);
        }
        rows.into_iter()
    }

    /// How many peers have the file, over time.
    fn curve(&self) -> Chart {
        let peers = self.plan.peers as f64;
        let steps = self.figures.finished.len().max(1);
        // A few hundred points are enough.
        let every = steps.div_ceil(200);
        let points = self.figures.finished.iter().enumerate().filter(|(at, _)| at % every == 0 || at + 1 == steps);
        let points = points.map(|(at, time)| (time.as_secs_f64(), (at + 1) as f64 / peers * 100.0)).collect();
        let bound = self.figures.bound.as_secs_f64();
        Chart {
            title: "peers that have the file, in percent".to_owned(),
            x: "seconds".to_owned(),
            names: Vec::new(),
            from_zero: true,
            logarithmic: false,
            curves: vec![
                Curve { name: "peers".to_owned(), points },
                Curve { name: "least possible time".to_owned(), points: vec![(bound, 0.0), (bound, 100.0)] },
            ],
        }
    }
}

/// The charts of a sweep: time, what the seed sends, and messages. The first setting is the axis,
/// and each combination of the others has a curve.
fn growth(sweeps: &[Sweep], runs: &[Run]) -> Vec<Chart> {
    let x = sweeps.first().map_or(String::new(), |sweep| sweep.name.clone());
    let mut series: Vec<Vec<String>> = Vec::new();
    for run in runs.iter().map(|run| run.values[1..].to_vec()) {
        if !series.contains(&run) {
            series.push(run);
        }
    }
    let name = |values: &[String]| {
        let named = sweeps.iter().skip(1).zip(values).map(|(sweep, value)| format!("{} {value}", sweep.name));
        named.collect::<Vec<_>>().join(", ")
    };
    let chart = |title: &str, of: &dyn Fn(&Figures) -> f64| {
        let curve = |values: &Vec<String>| {
            let runs = runs.iter().filter(|run| run.values[1..] == **values);
            let points = runs.filter_map(|run| Some((run.values[0].parse().ok()?, of(&run.figures))));
            Curve { name: name(values), points: points.collect() }
        };
        Chart {
            title: title.to_owned(),
            x: x.clone(),
            names: Vec::new(),
            from_zero: true,
            logarithmic: true,
            curves: series.iter().map(curve).collect(),
        }
    };
    vec![
        chart("time of the last peer beyond the least possible one, %", &|figures| {
            figures.over_bound(1.0).map_or(0.0, |over| (over - 1.0) * 100.0)
        }),
        chart("sent by the seed, over the file", &|figures| figures.seed_egress),
        chart("bytes of messages, % of those of pieces", &|figures| figures.control * 100.0),
    ]
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn precise(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
