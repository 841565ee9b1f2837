//! What the simulated tests have in common: seeds from the environment, the command that replays one, and what a run did.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test crate uses a part; a failing seed is told on stderr"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use sprat::sim::World;
use sprat::sim::oracle::Verdict;

pub const MS: Duration = Duration::from_millis(1);
pub const SEC: Duration = Duration::from_secs(1);

/// What runs exercised, added up.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub complete: u64,
    pub incomplete: u64,
    /// Queries that lost their session.
    pub lost: u64,
    pub found: usize,
    pub missing: usize,
    pub crashes: u64,
    pub steps: u64,
    pub virtual_us: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub trace: u64,
}

impl Report {
    pub fn add(&mut self, verdict: Option<&Verdict>) {
        match verdict {
            None => self.lost += 1,
            Some(verdict) => {
                *(if verdict.complete { &mut self.complete } else { &mut self.incomplete }) += 1;
                self.found += verdict.hits.len();
                self.missing += verdict.missing.len();
            }
        }
    }

    pub fn end(&mut self, world: &World) {
        let counts = world.counts();
        (self.steps, self.crashes) = (counts.steps, counts.crashes);
        self.faults = counts.faults.clone();
        self.virtual_us = world.now().as_micros();
        self.trace = world.trace();
    }

    fn merge(&mut self, other: &Report) {
        self.complete += other.complete;
        self.incomplete += other.incomplete;
        self.lost += other.lost;
        self.found += other.found;
        self.missing += other.missing;
        self.crashes += other.crashes;
        self.steps += other.steps;
        self.virtual_us += other.virtual_us;
        for (name, times) in &other.faults {
            *self.faults.entry(name).or_default() += times;
        }
    }

    /// A campaign in which a fault never struck proves nothing about it. A replayed seed need not have all.
    pub fn require(&self, faults: &[&str]) {
        for fault in faults {
            assert!(self.faults.contains_key(fault) || replaying(), "{fault} never struck: {self:?}");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Whether one seed alone was asked for.
pub fn replaying() -> bool {
    number("SPRAT_SIM_SEED").is_some()
}

/// Runs `seeds` seeds (SPRAT_SIM_SEEDS for another number), or the one in SPRAT_SIM_SEED.
pub fn campaign(file: &str, test: &str, seeds: u64, run: impl Fn(u64) -> Report) -> Report {
    let seeds = match number("SPRAT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SPRAT_SIM_SEEDS").unwrap_or(seeds),
    };
    let mut all = Report::default();
    for seed in seeds {
        let told = Told { file, test, seed };
        let report = run(seed);
        std::mem::forget(told);
        assert!(report.steps > 50 && report.complete + report.incomplete > 0, "seed {seed} did nothing: {report:?}");
        all.merge(&report);
    }
    eprintln!("{test}: {all:?}");
    all
}

/// Tells the command that replays a seed, unless it is forgotten.
struct Told<'a> {
    file: &'a str,
    test: &'a str,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Told { file, test, seed } = self;
        eprintln!("seed {seed} failed; replay it with\n  SPRAT_SIM_SEED={seed} cargo test --test {file} {test}");
    }
}

/// The last things that happened, if one seed alone was asked for.
pub fn explain(world: &World, file: &str, seed: u64) {
    if replaying() {
        eprintln!("{file}, seed {seed}, the last things that happened:");
        world.trace_lines().for_each(|line| eprintln!("{line}"));
    }
}
