//! The laboratory: very many super peers and weak peers in one process. It measures searches in
//! networks of any size and shape.
//!
//! The machines and the wire format are the real ones: every datagram is encoded, may be lost, and
//! is decoded by the super peer that it reaches. Sessions, registrations and hits use real frames.
//! There are no disks, no downloads and no broken connections, because a search does not depend on
//! them.
//!
//! - Weak peers that send queries are real machines, on connections with latency.
//! - All other weak peers are scripts of a few bytes each, which send HELLO, LOGIN, REGISTER and
//!   PING. Their messages arrive without latency. Their records are in the indexes.
//!
//! A [`Lab`] is divided into [`Shard`]s, which can run in parallel. No message is faster than the
//! shortest latency, so within that time, an event in one shard cannot affect another shard. Every
//! node has its own stream of random numbers, and numbers its messages. So the result does not
//! depend on the number of shards.

mod addresses;
mod catalog;
mod figures;
mod happening;
mod peers;
mod plan;
mod shard;
mod tally;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

pub use figures::{Figures, Quantiles};
pub use plan::Plan;
pub use shard::Shard;
pub use tally::{KINDS, KINDS_OF_QUERIES};
pub use traffic::Mail;

use super::random::Random;
use super::topology;
use crate::time::Time;
use catalog::{Catalog, Zipf};
use plan::{BEGINNING, Shared};

/// The time from the first start to the first query, for sessions, links, digests and trees.
const SETTLING: Duration = Duration::from_secs(12);
/// The shortest time for which messages are counted.
const MEASURED_MIN: Duration = Duration::from_secs(10);
/// How far a lab runs in one step.
const STEP: Duration = Duration::from_millis(100);
/// How long a query may exceed its budget before it counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most weak peers that are machines. They send the queries in turn.
const ASKERS_MAX: usize = 1000;

/// A laboratory.
pub struct Lab {
    shards: Vec<Shard>,
    shared: Arc<Shared>,
    now: Time,
    began: Option<Time>,
}

impl Lab {
    /// A network with this number of shards. Nothing has run yet.
    ///
    /// # Panics
    /// If the plan has no super peer, no peer or no file, or if each peer shares more files than
    /// there are.
    #[must_use]
    pub fn new(plan: Plan, shards: usize) -> Lab {
        assert!(plan.supers > 0 && plan.peers > 0 && plan.files > 0, "a lab has super peers, peers and files");
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
        Lab { shards: shards.collect(), shared, now: BEGINNING, began: None }
    }

    /// Its shards, for a caller that runs them in parallel. All shards must run up to the same
    /// time, at most [`Lab::lookahead`] after the earliest [`Shard::next`]. Then the mail must be
    /// exchanged.
    pub fn shards(&mut self) -> &mut [Shard] {
        &mut self.shards
    }

    /// How far shards may run without an exchange of mail.
    #[must_use]
    pub fn lookahead(&self) -> Duration {
        self.shared.plan.latency.0
    }

    /// Runs all events before `until`, one shard after the other.
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

    /// Runs the complete experiment. `run` runs the lab up to a time. It receives the name of the
    /// phase, and the progress in thousandths.
    ///
    /// # Errors
    /// A sentence, if the network does not start up.
    pub fn experiment(&mut self, mut run: impl FnMut(&mut Lab, Time, &'static str, u64)) -> Result<Figures, String> {
        let mut go = |lab: &mut Lab, until: Time, what: &'static str, part: u64| {
            run(lab, until, what, part);
            lab.now = until;
        };
        let settled = self.now + SETTLING;
        while self.now < settled {
            let part = self.now.since(BEGINNING).as_micros() * 1000 / SETTLING.as_micros();
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
