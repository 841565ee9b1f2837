//! Runs the sweep over many seeds on every core and prints what was exercised as one line of JSON.
//! `scripts/campaign` calls it chunk by chunk and keeps the log.
//!
//! - `campaign FIRST COUNT [THREADS]` runs COUNT seeds from FIRST.
//! - `campaign --until-failure FIRST COUNT` stops at the first failure.
//! - `campaign --trace SEED` replays one seed and prints its last events if it fails.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sprat::proto::marks;
use sprat::sim::sweep::{self, Failed, Tally};

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let once = args.first().is_some_and(|arg| arg == "--until-failure");
    args.drain(..usize::from(once));
    let number = |n: usize| args.get(n).and_then(|arg| arg.parse::<u64>().ok());
    // The failure is printed below. The position of the panic is printed only with --trace.
    if std::env::var_os("RUST_BACKTRACE").is_none() && args.first().is_some_and(|arg| arg != "--trace") {
        std::panic::set_hook(Box::new(|_| {}));
    }
    match (args.first().map(String::as_str), number(0), number(1)) {
        (Some("--trace"), _, Some(seed)) => replay(seed),
        (_, Some(first), Some(count)) => {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
            run((first, count), number(2).unwrap_or(cores).max(1), once)
        }
        _ => {
            eprintln!("usage: campaign [--until-failure] FIRST COUNT [THREADS] | campaign --trace SEED");
            ExitCode::from(2)
        }
    }
}

fn replay(seed: u64) -> ExitCode {
    match sweep::run(seed, true) {
        Ok(tally) => {
            println!("{tally:?}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            failed.lines.iter().for_each(|line| println!("{line}"));
            println!("seed {seed} failed after {:?}: {}", failed.at, failed.what);
            ExitCode::FAILURE
        }
    }
}

fn run((first, count): (u64, u64), threads: u64, once: bool) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(first);
    let all: Mutex<(Tally, Vec<Failed>)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let result = sweep::run(seed, false);
                    let mut all = all.lock().expect("no thread panics while it holds the lock");
                    match result {
                        Ok(tally) => all.0.add(&tally),
                        Err(failed) => {
                            eprintln!("seed {seed} failed after {:?}: {}", failed.at, failed.what);
                            all.1.push(*failed);
                            if once {
                                next.store(first + count, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let (tally, failed) = all.into_inner().expect("no thread panicked while it held the lock");
    let line = serde_json::json!({
        "first": first,
        "count": count,
        "threads": threads,
        "wall_s": begun.elapsed().as_secs_f64(),
        "cpu_s": cpu_seconds(),
        "virtual_s": tally.virtual_us as f64 / 1e6,
        "steps": tally.steps,
        "queries": tally.queries,
        "complete": tally.complete,
        "incomplete": tally.incomplete,
        "lost": tally.lost,
        "hits": tally.hits,
        "missing": tally.missing,
        "downloads": tally.downloads,
        "downloads_failed": tally.downloads_failed,
        "crashes": tally.crashes,
        "faults": tally.faults,
        "marks": tally.marks,
        "wanted": sweep::FAULTS.iter().chain(sweep::ADVERSARIES).chain(sweep::COUNTERS).chain(marks::NAMES).collect::<Vec<_>>(),
        "failed": failed.iter().map(|failed| (failed.seed, &failed.what)).collect::<Vec<_>>(),
    });
    println!("{line}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Processor time of this process so far: user and system, in ticks of /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64
}
