//! `sprat sim`: runs the real state machines in a simulated network of any size and shape, in
//! virtual time. It prints what searches find, with how many messages and in what time.

mod bar;
mod report;
mod settings;
mod swarm;
mod sweep;
mod threads;

use std::time::Instant;

use bar::Bar;
use report::Row;
use serde_json::json;
use settings::Settings;

use super::figures::{self, Form};
use super::plot;
use super::process::Sample;
use crate::cli::args::Sim;
use crate::cli::output;
use crate::error::{Exit, Failure};
use crate::sim::lab::Lab;
use crate::sim::topology;

/// Most threads. With more, each shard has little work before all shards must wait for each other.
const THREADS_MAX: usize = 64;
/// Smaller networks run on one thread by default.
const SUPERS_FOR_THREADS: usize = 1000;

/// Runs one experiment, or one for each combination of the swept values.
pub(crate) fn run(args: &Sim) -> Result<u8, Failure> {
    if let Some(peers) = args.swarm {
        return swarm::run(args, peers);
    }
    swarm::refuse(args)?;
    let base = Settings::of(args)?;
    let threads = match args.threads {
        None => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
        Some(threads) if (1..=THREADS_MAX).contains(&threads) => threads,
        Some(_) => return Err(Failure::usage(format!("--threads is a number from 1 to {THREADS_MAX}"))),
    };
    let form = Form::of(args.json, args.csv, args.md)?;
    let experiments = sweep::combinations(&base, &args.sweep, Settings::with)?;
    // If a network is impossible, this is reported before the first run.
    for (_, settings) in experiments.iter().filter(|_| !args.sweep.is_empty()) {
        settings.plan()?;
    }
    let mut rows = Vec::new();
    let mut picture = None;
    let all = experiments.len();
    for (at, (values, settings)) in experiments.into_iter().enumerate() {
        let plan = settings.plan()?;
        if args.svg.is_some() && args.sweep.is_empty() {
            let title = format!("{} super peers, {} links, {}", plan.supers, plan.edges.len(), settings.topology);
            picture = Some(plot::network(&title, &topology::neighbors(plan.supers, &plan.edges)));
        }
        let bar = Bar::new(args, at, all, &values);
        let began = Instant::now();
        // The figures are the same with any number of threads. In a small network, threads would
        // only wait for each other.
        let shards = if args.threads.is_none() && plan.supers < SUPERS_FOR_THREADS { 1 } else { threads };
        let mut lab = Lab::new(plan, shards);
        let figures = lab.experiment(|lab, until, what, part| {
            bar.show(what, part);
            threads::run(lab, until);
        });
        let wall = began.elapsed();
        bar.end();
        let figures = figures.map_err(|why| Failure::new(Exit::Internal, why))?;
        let peak_mib = Sample::of(std::process::id()).map_or(0, |sample| sample.peak_kib / 1024);
        let row = Row { settings, values, figures, wall, peak_mib };
        if form == Form::Json {
            figures::print(&row.result(&args.sweep).to_string())?;
        }
        rows.push(row);
    }
    if let Some(path) = &args.svg {
        let svg =
            picture.unwrap_or_else(|| plot::charts(&sweep::title(&args.sweep), &report::charts(&args.sweep, &rows)));
        figures::draw(path, &svg)?;
    }
    publish(args, form, &rows)
}

/// Prints the figures, and the last line of JSON. Returns the exit code.
fn publish(args: &Sim, form: Form, rows: &[Row]) -> Result<u8, Failure> {
    let right = rows.iter().all(Row::is_right);
    let exit = if right { Exit::Ok } else { Exit::Internal };
    let one = match rows {
        [row] if args.sweep.is_empty() => Some(row),
        _ => None,
    };
    let text = match (form, one) {
        (Form::Json, _) => {
            let mut done = json!({"v": 1, "event": "done", "ok": right, "exit": exit.code()});
            if let Some(done) = done.as_object_mut() {
                match one {
                    Some(row) => done.extend(row.promised()),
                    None => drop(done.insert("results".to_owned(), json!(rows.len()))),
                }
            }
            done.to_string()
        }
        (Form::Csv, _) => report::csv(&cells(rows)),
        (Form::Markdown, Some(row)) => report::markdown(row),
        (Form::Text, Some(row)) => row.text(),
        (Form::Markdown | Form::Text, None) => {
            let always = ["queries", "recall %", "complete wrong", "messages"];
            report::swept_table(&cells(rows), &always, form == Form::Markdown)
        }
    };
    figures::print(&text)?;
    if !right {
        output::error(
            "an answer was reported as complete and was not, or had a hit that no peer holds: an error of the protocol",
        );
    }
    Ok(exit.code())
}

fn cells(rows: &[Row]) -> Vec<Vec<(&'static str, String)>> {
    rows.iter().map(Row::cells).collect()
}
