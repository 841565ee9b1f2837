//! The figures that a laboratory measures.

use std::collections::BTreeMap;
use std::time::Duration;

use super::peers::Asked;
use super::plan::{BEGINNING, Shared};
use super::shard::Shard;
use super::tally::{KINDS, KINDS_OF_QUERIES, Tally};
use crate::time::Time;
use crate::wire::Cut;

/// Quantiles of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// The time that half of them did not exceed.
    pub p50: f64,
    /// The time that 90 of 100 did not exceed.
    pub p90: f64,
    /// The time that 99 of 100 did not exceed.
    pub p99: f64,
}

/// The figures of one experiment. Messages between super peers are counted, but not those of
/// sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The number of super peers.
    pub supers: usize,
    /// The number of links between super peers.
    pub links: usize,
    /// The number of weak peers.
    pub peers: usize,
    /// Records in the indexes when the queries began.
    pub records: usize,
    /// Different files that at least one peer held.
    pub files_held: usize,
    /// Queries asked.
    pub queries: usize,
    /// Queries that ended with an answer.
    pub answered: usize,
    /// Queries for files without a holder.
    pub nobody: usize,
    /// Mean share of the super peers that searched.
    pub reach: f64,
    /// Pairs of a query and a holder. The holder was registered from the query to its answer.
    pub pairs: u64,
    /// Those of the pairs that the asker received.
    pub found: u64,
    /// Share of the queries whose answers were complete.
    pub complete_share: f64,
    /// Complete answers that lacked a pair. This is an error of the protocol.
    pub complete_wrong: u64,
    /// Hits that matched no file. This is an error of the protocol.
    pub strange: u64,
    /// Messages sent, by [`KINDS`].
    pub messages: [u64; KINDS.len()],
    /// Bytes of these messages in datagrams, without the headers of UDP and below.
    pub bytes: [u64; KINDS.len()],
    /// Copies that were answered as duplicates.
    pub duplicates: u64,
    /// QUERYs sent again because there was no answer.
    pub repeats: u64,
    /// Datagrams that were lost.
    pub lost: u64,
    /// First copies, by the hops that they took. There is none at 0, where the asker's super peer
    /// is.
    pub hops: Vec<u64>,
    /// What was cut, for all queries together.
    pub cut: Cut,
    /// Time from the query to the first hit, at the asker.
    pub first: Quantiles,
    /// Time from the query to the last hit.
    pub last: Quantiles,
    /// Time from the query to DONE.
    pub done: Quantiles,
    /// The most messages of queries that one super peer sent and received.
    pub load_max: u64,
    /// The mean number of messages of queries that a super peer sent and received.
    pub load_mean: f64,
    /// The virtual time of the measurement.
    pub measured: Duration,
    /// The virtual time of the complete run.
    pub virtual_time: Duration,
    /// Datagrams and messages of sessions that were handled, from the first greeting on.
    pub handled: u64,
}

impl Figures {
    pub(super) fn of(shared: &Shared, shards: &mut [Shard], began: Time, ended: Time) -> Figures {
        let plan = &shared.plan;
        let mut tally = Tally::new();
        let (mut load_max, mut load_sum) = (0, 0);
        let mut changes: BTreeMap<u32, Vec<(Time, bool)>> = BTreeMap::new();
        let mut asked: BTreeMap<u32, Asked> = BTreeMap::new();
        for shard in shards.iter_mut() {
            tally.add(&shard.tally);
            for host in &shard.hosts {
                load_max = load_max.max(host.load);
                load_sum += host.load;
            }
            for (at, peer, there) in shard.changes.drain(..) {
                changes.entry(peer).or_default().push((at, there));
            }
            asked.append(&mut shard.asked);
        }
        let (mut first, mut last, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut sum = Sum::default();
        for (query, mut asked) in asked {
            let holders = shared.catalog.holders_of(shared.asked[query as usize].0);
            let end = asked.done.as_ref().map_or(ended, |(at, _)| *at);
            let stays = |peer: &&u32| is_there(changes.get(peer).map_or(&[], Vec::as_slice), asked.at, end);
            let there: Vec<u32> = holders.iter().filter(stays).copied().collect();
            asked.hits.sort_unstable();
            asked.hits.dedup();
            let found = there.iter().filter(|peer| asked.hits.binary_search(peer).is_ok()).count();
            sum.pairs += there.len() as u64;
            sum.found += found as u64;
            sum.nobody += usize::from(holders.is_empty());
            sum.strange += asked.strange;
            first.extend(asked.first.map(|at| at.since(asked.at)));
            last.extend(asked.last.map(|at| at.since(asked.at)));
            let Some((at, outcome)) = asked.done else { continue };
            done.push(at.since(asked.at));
            sum.cut.add(outcome.cut.unwrap_or_default());
            sum.reached += u64::from(outcome.reached.unwrap_or(0));
            sum.answered += usize::from(outcome.complete.is_some());
            if outcome.complete == Some(true) {
                sum.complete += 1;
                sum.wrong += u64::from(found < there.len());
            }
        }
        let queries = plan.queries.max(1) as f64;
        let reached = tally.hops.iter().rposition(|copies| *copies > 0).map_or(0, |last| last + 1);
        Figures {
            supers: plan.supers,
            links: plan.edges.len(),
            peers: plan.peers,
            records: plan.peers * plan.files_each,
            files_held: shared.catalog.files_held(),
            queries: plan.queries,
            answered: sum.answered,
            nobody: sum.nobody,
            reach: sum.reached as f64 / queries / plan.supers as f64,
            pairs: sum.pairs,
            found: sum.found,
            complete_share: sum.complete as f64 / queries,
            complete_wrong: sum.wrong,
            strange: sum.strange,
            messages: tally.messages,
            bytes: tally.bytes,
            duplicates: tally.duplicates,
            repeats: tally.repeats,
            lost: tally.lost,
            hops: tally.hops[..reached].to_vec(),
            cut: sum.cut,
            first: quantiles(first),
            last: quantiles(last),
            done: quantiles(done),
            load_max,
            load_mean: load_sum as f64 / plan.supers as f64,
            measured: ended.since(began),
            virtual_time: ended.since(BEGINNING),
            handled: tally.handled,
        }
    }

    /// Received pairs divided by all pairs; 1 if there are none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        if self.pairs == 0 { 1.0 } else { self.found as f64 / self.pairs as f64 }
    }

    /// Messages of queries, of all kinds.
    #[must_use]
    pub fn messages_of_queries(&self) -> u64 {
        self.messages[..KINDS_OF_QUERIES].iter().sum()
    }

    /// Bytes of the messages of queries.
    #[must_use]
    pub fn bytes_of_queries(&self) -> u64 {
        self.bytes[..KINDS_OF_QUERIES].iter().sum()
    }

    /// Messages and bytes that each super peer sent per minute, without those of queries.
    #[must_use]
    pub fn upkeep(&self) -> (f64, f64) {
        let minutes = self.measured.as_secs_f64() / 60.0 * self.supers as f64;
        let sum = |of: &[u64]| of[KINDS_OF_QUERIES..].iter().sum::<u64>() as f64 / minutes;
        (sum(&self.messages), sum(&self.bytes))
    }

    /// The highest load divided by the mean load.
    #[must_use]
    pub fn load_max_over_mean(&self) -> f64 {
        if self.load_mean > 0.0 { self.load_max as f64 / self.load_mean } else { 0.0 }
    }
}

#[derive(Default)]
struct Sum {
    pairs: u64,
    found: u64,
    nobody: usize,
    strange: u64,
    reached: u64,
    answered: usize,
    complete: u64,
    wrong: u64,
    cut: Cut,
}

/// Whether a peer was there from `from` to `to`. It was there at the start, and `changes` are its
/// later changes.
fn is_there(changes: &[(Time, bool)], from: Time, to: Time) -> bool {
    let before = changes.partition_point(|(at, _)| *at < from);
    let there = before.checked_sub(1).is_none_or(|last| changes[last].1);
    there && changes.get(before).is_none_or(|(at, _)| *at > to)
}

fn quantiles(mut times: Vec<Duration>) -> Quantiles {
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share).ceil() as usize;
        times.get(place.saturating_sub(1)).map_or(0.0, |time| time.as_micros() as f64 / 1000.0)
    };
    Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changed_in_between_was_not_there_throughout() {
        let at = |s: u64| Time::from_micros(s);
        let changes = [(at(10), false), (at(20), true)];
        assert!(
            is_there(&[], at(0), at(100)) && is_there(&changes, at(0), at(9)) && is_there(&changes, at(21), at(90))
        );
        assert!(!is_there(&changes, at(0), at(10)) && !is_there(&changes, at(11), at(12)));
        assert!(!is_there(&changes, at(15), at(25)));
    }

    #[test]
    fn quantiles_are_times_that_came() {
        let times = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantiles(times), Quantiles { p50: 50.0, p90: 90.0, p99: 99.0 });
        assert_eq!(quantiles(Vec::new()), Quantiles::default());
    }
}
