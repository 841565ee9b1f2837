//! The laboratory: very many super peers and weak peers in one process, to see how searches do in networks of any size and shape.
//!
//! As in the rest of the simulator the machines and the wire are those of production: every datagram is encoded, may be lost, and
//! is decoded by the super peer that it reaches; sessions are set up, files registered and hits told in production frames. What is
//! left out is what a search does not touch: disks, downloads, and the ways in which connections break apart.
//!
//! - Those who ask are production weak peers on connections that take their time.
//! - All other weak peers are scripts, a few bytes each, that speak the wire: HELLO, LOGIN, REGISTER, a PING when it is due.
//!   What they say arrives at once. Their records really are in the indexes.
//!
//! A [`Lab`] is cut into [`Shard`]s that may run at the same time: nothing travels faster than the shortest latency, so what
//! happens within such a time in one shard cannot matter to another. Every node draws from a stream of its own and numbers what it
//! sends, so the result does not depend on how many shards there are.

mod addresses;
mod asker;
mod catalog;
mod figures;
mod shard;
mod tally;

use std::sync::Arc;
use std::time::Duration;

pub use figures::{Figures, Quantiles};
pub use shard::{Mail, Shard};
pub use tally::{KINDS, KINDS_OF_QUERIES};

use super::random::Random;
use super::topology::{self, Edge};
use crate::time::Time;
use crate::wire::Policy;
use catalog::{Catalog, Zipf};

/// Super peers start one after the other within this time, so that their greetings do not come in step.
const STARTS: Duration = Duration::from_secs(2);
/// From the first start to the first query: sessions, links, digests and trees have come about.
const SETTLING: Duration = Duration::from_secs(12);
/// What is said without queries is counted for at least this long.
const MEASURED_MIN: Duration = Duration::from_secs(10);
/// How far a lab is run at once.
const STEP: Duration = Duration::from_millis(100);
/// After its budget a query is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Weak peers that are whole machines, at most; they take turns in asking.
const ASKERS_MAX: usize = 1000;

/// What a laboratory is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Super peers.
    pub supers: usize,
    /// Which of them are neighbours.
    pub edges: Vec<Edge>,
    /// Weak peers, spread evenly over the super peers.
    pub peers: usize,
    /// Different files in the whole network.
    pub files: usize,
    /// Files that each peer shares.
    pub files_each: usize,
    /// Exponent of the files' popularity, with those who hold and those who ask.
    pub zipf: f64,
    /// How many queries are asked.
    pub queries: usize,
    /// From one query to the next.
    pub gap: Duration,
    /// Hops of a query.
    pub ttl: u8,
    /// How it spreads.
    pub policy: Policy,
    /// Time that it has.
    pub budget: Duration,
    /// Hits that it wants at most.
    pub limit: Option<u32>,
    /// Datagrams lost of a thousand.
    pub loss: u32,
    /// Nodes of a hundred, super and weak, that fail in a minute.
    pub churn: f64,
    /// The shortest and the longest time that anything travels.
    pub latency: (Duration, Duration),
}

/// What all shards know.
struct Shared {
    plan: Plan,
    root: Random,
    neighbors: Vec<Vec<usize>>,
    catalog: Catalog,
    /// The peers that ask, each once.
    askers: Vec<u32>,
    /// The file and the asker, as a place among the askers, of each query.
    asked: Vec<(u32, usize)>,
}

/// A laboratory.
pub struct Lab {
    shards: Vec<Shard>,
    shared: Arc<Shared>,
    now: Time,
    began: Option<Time>,
}

impl Lab {
    /// A network of which nothing runs yet, in that many shards.
    ///
    /// # Panics
    /// If the plan has no super peer, no peer or no file, or more files for each peer than there are.
    #[must_use]
    pub fn new(plan: Plan, shards: usize) -> Lab {
        assert!(
            plan.supers > 0 && plan.peers > 0 && plan.files > 0,
            "there is somebody to ask, and something to ask for"
        );
        assert!((1..=plan.files).contains(&plan.files_each), "a peer has each file once");
        let root = Random::new(plan.seed);
        let zipf = Zipf::new(plan.files, plan.zipf);
        let catalog = Catalog::new(plan.peers, plan.files, plan.files_each, &zipf, &mut root.child("catalog", 0));
        let mut random = root.child("askers", 0);
        let wanted = plan.queries.clamp(1, ASKERS_MAX).min(plan.peers);
        let mut askers: Vec<u32> = Vec::with_capacity(wanted);
        while askers.len() < wanted {
            let peer = random.index(plan.peers) as u32;
            if !askers.contains(&peer) {
                askers.push(peer);
            }
        }
        let mut random = root.child("queries", 0);
        let asked = (0..plan.queries).map(|query| (zipf.draw(&mut random) as u32, query % askers.len())).collect();
        let neighbors = topology::neighbors(plan.supers, &plan.edges);
        let shards = shards.clamp(1, plan.supers);
        let cuts: Vec<usize> = (0..=shards).map(|at| plan.supers * at / shards).collect();
        let shared = Arc::new(Shared { plan, root, neighbors, catalog, askers, asked });
        let shards = cuts.windows(2).enumerate().map(|(at, cut)| Shard::new(&shared, &cuts, at, cut[0]..cut[1]));
        Lab { shards: shards.collect(), shared, now: shard::BEGINNING, began: None }
    }

    /// Its parts, to be run by somebody else: each up to the same time, not further than [`Lab::lookahead`] beyond the earliest
    /// [`Shard::next`] of all, then the mail, and on.
    pub fn shards(&mut self) -> &mut [Shard] {
        &mut self.shards
    }

    /// How far shards may run without hearing of each other.
    #[must_use]
    pub fn lookahead(&self) -> Duration {
        self.shared.plan.latency.0
    }

    /// Runs everything that happens before `until`, one shard after the other.
    pub fn run_until(&mut self, until: Time) {
        let alone = self.shards.len() == 1;
        while let Some(next) = self.shards.iter().filter_map(Shard::next).min().filter(|next| *next < until) {
            let end = if alone { until } else { until.min(next + self.lookahead()) };
            for at in 0..self.shards.len() {
                self.shards[at].run(end);
                for to in 0..self.shards.len() {
                    let mail = self.shards[at].take_mail(to);
                    self.shards[to].give_mail(mail);
                }
            }
        }
    }

    /// The whole experiment: `run` brings a lab to a time, and is told what is going on and how far it is, in thousandths.
    ///
    /// # Errors
    /// A sentence, if the network does not come about.
    pub fn experiment(&mut self, mut run: impl FnMut(&mut Lab, Time, &'static str, u64)) -> Result<Figures, String> {
        let mut go = |lab: &mut Lab, until: Time, what: &'static str, part: u64| {
            run(lab, until, what, part);
            lab.now = until;
        };
        let settled = self.now + SETTLING;
        while self.now < settled {
            let part = self.now.since(shard::BEGINNING).as_micros() * 1000 / SETTLING.as_micros();
            let until = self.now + STEP;
            go(self, until, "settling", u64::try_from(part).unwrap_or(0));
        }
        self.check_settled()?;
        self.began = Some(self.now);
        let began = self.now;
        self.shards.iter_mut().for_each(|shard| shard.begin(began));
        let plan = &self.shared.plan;
        let all = plan.queries;
        let last = began + plan.gap * u32::try_from(all).unwrap_or(u32::MAX);
        let (least, most) = (began + MEASURED_MIN, last + plan.budget + PATIENCE);
        loop {
            let over: usize = self.shards.iter().map(Shard::over).sum();
            if (over == all && self.now >= least.max(last)) || self.now >= most.max(least) {
                break;
            }
            let (asking, total) = (self.now.since(began).as_micros(), last.max(least).since(began).as_micros());
            let until = self.now + STEP;
            go(self, until, "asking", u64::try_from(asking * 1000 / total.max(1)).unwrap_or(1000).min(1000));
        }
        Ok(Figures::of(&self.shared, &mut self.shards, began, self.now))
    }

    fn check_settled(&self) -> Result<(), String> {
        if self.shared.plan.churn > 0.0 {
            return Ok(());
        }
        let (links, records): (usize, usize) =
            self.shards.iter().map(Shard::settled).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let (edges, wanted) = (self.shared.plan.edges.len(), self.shared.plan.peers * self.shared.plan.files_each);
        let lossy = self.shared.plan.loss > 0;
        if records != wanted || (links != 2 * edges && !lossy) {
            return Err(format!(
                "the network has not come about within {} s of its time: {links} of {} ends of links are up, {records} of \
                 {wanted} records are in the indexes",
                SETTLING.as_secs(),
                2 * edges
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
