//! The settings of an experiment: options with their defaults, after the check; values of a sweep;
//! and the network that results.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::cli::args::Sim;
use crate::cli::settings;
use crate::cli::units::Span;
use crate::config::{LINKS_MAX, TTL_DEFAULT, TTL_MAX};
use crate::error::Failure;
use crate::sim::Random;
use crate::sim::lab::Plan;
use crate::sim::topology::{self, Edge};
use crate::wire::Policy;

/// The most super peers. Their addresses belong to one private network.
const SUPERS_MAX: usize = 1 << 20;
/// The most weak peers, for the same reason.
const PEERS_MAX: usize = (1 << 24) - 2;
/// The most different files. Their numbers have seven digits.
const FILES_MAX: usize = 10_000_000;
/// Most records.
const RECORDS_MAX: usize = 1 << 31;
/// Most queries.
const QUERIES_MAX: usize = 1 << 24;
/// The time that a message takes: the lowest and the highest. Times are evenly distributed between
/// them.
const LATENCY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(600));

/// The shape of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Ring,
    Line,
    Tree,
    RandomRegular,
    ScaleFree,
    File(PathBuf),
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Topology, String> {
        Ok(match text {
            "ring" => Topology::Ring,
            "line" => Topology::Line,
            "tree" => Topology::Tree,
            "random-regular" => Topology::RandomRegular,
            "scale-free" => Topology::ScaleFree,
            path => Topology::File(path.into()),
        })
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Topology::Ring => "ring",
            Topology::Line => "line",
            Topology::Tree => "tree",
            Topology::RandomRegular => "random-regular",
            Topology::ScaleFree => "scale-free",
            Topology::File(path) => return write!(f, "{}", path.display()),
        })
    }
}

/// All settings that determine the figures.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) supers: Option<usize>,
    pub(super) degree: Option<usize>,
    pub(super) topology: Topology,
    pub(super) peers: Option<usize>,
    pub(super) files: usize,
    pub(super) files_each: usize,
    pub(super) zipf: f64,
    pub(super) queries: usize,
    pub(super) interval: Duration,
    pub(super) ttl: u8,
    pub(super) policy: Policy,
    pub(super) loss: f64,
    pub(super) churn: f64,
    pub(super) seed: u64,
    pub(super) budget: Duration,
    pub(super) limit: Option<u32>,
}

/// Neighbors of a super peer, if there are enough others.
const DEGREE: usize = 4;
/// Names of settings that can be swept.
const NAMES: &str = "supers, degree, topology, peers, files, files-per-peer, zipf, queries, interval, ttl, policy, loss, \
                     churn, seed, budget and limit";

impl Settings {
    pub(super) fn of(args: &Sim) -> Result<Settings, Failure> {
        let topology = args.topology.as_deref().unwrap_or("random-regular");
        let settings = Settings {
            supers: args.supers,
            degree: args.degree,
            topology: topology.parse().map_err(Failure::usage)?,
            peers: args.peers,
            files: args.files.unwrap_or(1000),
            files_each: args.files_per_peer.unwrap_or(1),
            zipf: args.zipf.unwrap_or(0.8),
            queries: args.queries.unwrap_or(100),
            interval: args.interval.map_or(Duration::from_millis(100), |Span(interval)| interval),
            ttl: args.ttl.unwrap_or(TTL_DEFAULT),
            policy: args.policy.unwrap_or(Policy::Digest),
            loss: args.loss.unwrap_or(0.0),
            churn: args.churn.unwrap_or(0.0),
            seed: args.seed.unwrap_or(1),
            budget: args.budget.map_or(Duration::from_secs(10), |Span(budget)| budget),
            limit: args.limit,
        };
        settings.check()?;
        Ok(settings)
    }

    /// These settings with one of them changed.
    pub(super) fn with(&self, name: &str, value: &str) -> Result<Settings, Failure> {
        fn read<T: FromStr>(name: &str, value: &str) -> Result<T, Failure> {
            value.parse().map_err(|_| Failure::usage(format!("--sweep {name}: {value:?} is not a value of --{name}")))
        }
        let mut new = self.clone();
        match name {
            "supers" => new.supers = Some(read(name, value)?),
            "degree" => new.degree = Some(read(name, value)?),
            "topology" => new.topology = read(name, value)?,
            "peers" => new.peers = Some(read(name, value)?),
            "files" => new.files = read(name, value)?,
            "files-per-peer" => new.files_each = read(name, value)?,
            "zipf" => new.zipf = read(name, value)?,
            "queries" => new.queries = read(name, value)?,
            "interval" => new.interval = read::<Span>(name, value)?.0,
            "ttl" => new.ttl = read(name, value)?,
            "policy" => new.policy = read(name, value)?,
            "loss" => new.loss = read(name, value)?,
            "churn" => new.churn = read(name, value)?,
            "seed" => new.seed = read(name, value)?,
            "budget" => new.budget = read::<Span>(name, value)?.0,
            "limit" => new.limit = Some(read(name, value)?),
            _ => return Err(Failure::usage(format!("--sweep {name}: there is no such setting; there are {NAMES}"))),
        }
        new.check()?;
        Ok(new)
    }

    fn check(&self) -> Result<(), Failure> {
        let counts = [
            ("supers", self.supers.unwrap_or(1), SUPERS_MAX),
            ("peers", self.peers.unwrap_or(1), PEERS_MAX),
            ("files", self.files, FILES_MAX),
            ("files-per-peer", self.files_each, self.files),
            ("queries", self.queries, QUERIES_MAX),
        ];
        if let Some((flag, _, most)) = counts.iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            return Err(Failure::usage(format!("--{flag} is a number from 1 to {most}")));
        }
        let records = self.peers.unwrap_or(1).saturating_mul(self.files_each);
        let bounds = [
            (records <= RECORDS_MAX, format!("--peers times --files-per-peer is at most {RECORDS_MAX}")),
            ((0.0..=10.0).contains(&self.zipf), "--zipf is a number from 0 to 10".to_owned()),
            ((0.0..=100.0).contains(&self.loss), "--loss is a percentage from 0 to 100".to_owned()),
            ((0.0..=6000.0).contains(&self.churn), "--churn is a percentage from 0 to 6000".to_owned()),
            (self.ttl <= TTL_MAX, format!("--ttl is a number up to {TTL_MAX}")),
            (self.interval <= Duration::from_secs(3600), "--interval is a time up to 1h".to_owned()),
            (self.limit != Some(0), "--limit is a number above 0".to_owned()),
        ];
        if let Some((_, why)) = bounds.into_iter().find(|(holds, _)| !holds) {
            return Err(Failure::usage(why));
        }
        settings::budget(Span(self.budget)).map(drop)
    }

    /// The network and all other settings, in the form that the simulation uses.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let (supers, edges) = self.network()?;
        let peers = self.peers.unwrap_or(supers.saturating_mul(10).min(PEERS_MAX));
        Ok(Plan {
            seed: self.seed,
            supers,
            edges,
            peers,
            files: self.files,
            files_each: self.files_each,
            zipf: self.zipf,
            queries: self.queries,
            gap: self.interval,
            ttl: self.ttl,
            policy: self.policy,
            budget: self.budget,
            limit: self.limit,
            loss: (self.loss * 10.0).round() as u32,
            churn: self.churn,
            latency: LATENCY,
        })
    }

    fn network(&self) -> Result<(usize, Vec<Edge>), Failure> {
        let n = self.supers.unwrap_or(100);
        // In a small network the default is lower, so that no option is required.
        let degree = self.degree.unwrap_or(DEGREE.min(n - 1));
        let mut random = Random::new(self.seed).child("topology", 0);
        let needs = |holds: bool, what: String| if holds { Ok(()) } else { Err(Failure::usage(what)) };
        needs(degree <= LINKS_MAX, format!("--degree is at most {LINKS_MAX}, the most neighbors of a super peer"))?;
        let edges = match &self.topology {
            Topology::Ring => topology::ring(n),
            Topology::Line => topology::line(n),
            Topology::Tree => {
                needs(degree >= 2 || n <= 2, "a tree needs a --degree of 2 or more".to_owned())?;
                topology::tree(n, degree)
            }
            Topology::ScaleFree => {
                needs(degree >= 2 || n <= 2, "a scale-free network needs a --degree of 2 or more".to_owned())?;
                topology::scale_free(n, degree, &mut random)
            }
            Topology::RandomRegular if n == 1 => Vec::new(),
            Topology::RandomRegular => topology::random_regular(n, degree, &mut random).ok_or_else(|| {
                let must = match n {
                    2 => "must be 1".to_owned(),
                    _ => format!("must be from 2 to {} and --supers times --degree even", n - 1),
                };
                Failure::usage(format!(
                    "there is no connected network of {n} super peers with --degree {degree}: it {must}"
                ))
            })?,
            Topology::File(path) => return self.listed(path),
        };
        Ok((n, edges))
    }

    fn listed(&self, path: &PathBuf) -> Result<(usize, Vec<Edge>), Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "--topology {shown} is none of ring, line, tree, random-regular and scale-free, and cannot be read as \
                 a file: {error}"
            ))
        })?;
        let (n, edges) = topology::parse(&text).map_err(|why| Failure::usage(format!("{shown}: {why}")))?;
        match self.supers {
            Some(supers) if supers < n => Err(Failure::usage(format!(
                "{shown} names {n} super peers, but --supers is {supers}; leave --supers out"
            ))),
            Some(supers) => Ok((supers, edges)),
            None => Ok((n, edges)),
        }
    }
}
