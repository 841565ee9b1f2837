//! What the simulated tests share: seeds from the environment, the command that replays one, and
//! what a run exercised.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use sprat::sim::oracle::Verdict;
use sprat::sim::{ContentId, World, topology};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SEC: Duration = Duration::from_secs(1);

/// The sum of what the runs exercised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) complete: u64,
    pub(crate) incomplete: u64,
    /// Queries that lost their session.
    pub(crate) lost: u64,
    pub(crate) found: usize,
    pub(crate) missing: usize,
    pub(crate) crashes: u64,
    pub(crate) steps: u64,
    pub(crate) virtual_us: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) trace: u64,
}

impl Report {
    pub(crate) fn add(&mut self, verdict: Option<&Verdict>) {
        match verdict {
            None => self.lost += 1,
            Some(verdict) => {
                *(if verdict.complete { &mut self.complete } else { &mut self.incomplete }) += 1;
                self.found += verdict.hits.len();
                self.missing += verdict.missing.len();
            }
        }
    }

    pub(crate) fn end(&mut self, world: &World) {
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

    /// A campaign in which a fault never struck proves nothing about this fault. A single replayed
    /// seed need not have all faults.
    pub(crate) fn require(&self, faults: &[&str]) {
        for fault in faults {
            assert!(self.faults.contains_key(fault) || replaying(), "{fault} never struck: {self:?}");
        }
    }
}

/// Whether one seed is replayed.
pub(crate) fn replaying() -> bool {
    std::env::var_os("SPRAT_SIM_SEED").is_some()
}

/// The seeds of a run: `0..usual`; one seed (`SPRAT_SIM_SEED=7`); the first seeds
/// (`SPRAT_SIM_SEEDS=40`); or a range of them (`SPRAT_SIM_SEEDS=500..900`).
pub(crate) fn seeds(usual: u64) -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is not a number"));
    if let Ok(seed) = std::env::var("SPRAT_SIM_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SPRAT_SIM_SEEDS") {
        Err(_) => 0..usual,
        Ok(seeds) => match seeds.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&seeds),
        },
    }
}

/// Runs the [`seeds`] of the environment, `usual` of them by default. `module` and `test` name the
/// test in a replay command.
pub(crate) fn campaign(module: &str, test: &str, usual: u64, run: impl Fn(u64) -> Report) -> Report {
    let mut all = Report::default();
    for seed in seeds(usual) {
        let replay = Replay { module, test, seed };
        let report = run(seed);
        std::mem::forget(replay);
        assert!(report.steps > 50 && report.complete + report.incomplete > 0, "seed {seed} did nothing: {report:?}");
        all.merge(&report);
    }
    eprintln!("{test}: {all:?}");
    all
}

/// Prints the command that replays a seed when this value is dropped. That happens only in a panic:
/// a run that passes forgets the value.
struct Replay<'a> {
    module: &'a str,
    test: &'a str,
    seed: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        let Replay { module, test, seed } = self;
        eprintln!("seed {seed} failed; replay it with\n  SPRAT_SIM_SEED={seed} cargo test --test sim {module}::{test}");
    }
}

/// Adds super peers with these links. Each has one weak peer that shares `common N` and `fileN`,
/// where N is the number of the super peer. On return all sessions are up and every file is
/// registered.
pub(crate) fn populate(world: &mut World, n: usize, edges: &[(usize, usize)]) {
    if replaying() {
        world.keep_trace();
    }
    world.add_supers(n, edges);
    for node in 0..n {
        let weak = world.add_weak(&[node]);
        let content = world.content(10 + node);
        world.share(weak, &format!("common {node}"), content);
        world.share(weak, &format!("file{node}"), content);
        world.start(weak);
    }
    let all = |world: &World| (0..n).all(|node| world.super_peer(node).is_some_and(|peer| peer.index().records() >= 2));
    assert!(world.run_until(5 * SEC, all), "every peer registers");
    world.run_for(SEC);
}

/// Adds two linked super peers. Sources of one content, `film`, with this size are spread over
/// them.
pub(crate) fn two_supers(world: &mut World, size: usize, sources: usize) -> (ContentId, Vec<usize>) {
    world.add_supers(2, &topology::line(2));
    let content = world.content(size);
    let sources: Vec<usize> = (0..sources).map(|n| world.add_weak(&[n % 2, 1 - n % 2])).collect();
    for &source in &sources {
        world.share(source, "film", content);
        world.start(source);
    }
    (content, sources)
}

/// The weak peer of a super peer of [`populate`].
pub(crate) fn peer(world: &World, super_peer: usize) -> usize {
    world.nodes() / 2 + super_peer
}

/// Prints the last events of a run if one seed is replayed.
pub(crate) fn explain(world: &World, seed: u64) {
    if replaying() {
        eprintln!("seed {seed}, the last events:");
        world.trace_lines().for_each(|line| eprintln!("{line}"));
    }
}
