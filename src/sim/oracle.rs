//! What must be true for every query under any fault.
//!
//! The oracle reads the indexes of all super peers when a query starts and when it ends. If a
//! record is there both times, and nothing changed at its super peer in between, it was registered
//! all the time. A complete answer must contain such a record.

use std::collections::{BTreeMap, BTreeSet};

use super::matches::{Match, is_possible, is_spared};
use super::world::World;
use crate::config::{DIGEST_LEASE_WAIT, TTL_DEFAULT};
use crate::error::Exit;
use crate::proto::super_peer::SuperPeer;
use crate::proto::{ClientEvent, ClientId, Command, Scope};
use crate::wire::{Cut, Policy, Search};

/// A query that the oracle watches.
#[derive(Debug)]
pub struct Watch {
    /// The client of the query.
    pub client: ClientId,
    search: Search,
    /// Three things: all super peers that can be reached; for each super peer of the asker, those
    /// within the ttl; and the largest number that is within the ttl of one of them.
    supers: BTreeSet<usize>,
    near: BTreeSet<usize>,
    horizon: usize,
    /// The matches at the start, and the churn of each super peer at that time.
    before: BTreeMap<usize, (u64, BTreeSet<Match>)>,
}

/// The answer of a query that passed all checks.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Hits delivered, each once.
    pub hits: BTreeSet<Match>,
    /// Matches that were registered all the time and are missing. Always empty if the answer is
    /// complete.
    pub missing: BTreeSet<Match>,
    /// Whether the answer says that it is complete.
    pub complete: bool,
    /// What was cut, according to the answer.
    pub cut: Cut,
    /// How many super peers searched, according to the answer.
    pub reached: u32,
}

impl Watch {
    /// Starts a query at a weak peer, and records what is registered in its part of the network.
    ///
    /// # Panics
    /// If the peer has no session.
    pub fn ask(world: &mut World, weak: usize, search: &Search, scope: Scope) -> Watch {
        let Scope { ttl, policy, .. } = scope;
        let host = *world.supers_of(weak).first().expect("the asker has a session");
        let supers = world.within(host, usize::MAX);
        // After a loss, the next session may be with another super peer, which reaches other super
        // peers.
        let hops = usize::from(ttl.unwrap_or(TTL_DEFAULT));
        let horizons = |hops| -> Vec<BTreeSet<usize>> {
            world.neighbors(weak).iter().map(|host| world.within(*host, hops)).collect()
        };
        // A query over a tree goes everywhere, with any ttl.
        let most = if policy == Some(Policy::Tree) && hops > 0 { usize::MAX } else { hops };
        let horizon = horizons(most).iter().map(BTreeSet::len).max().unwrap_or(0);
        let near = horizons(hops).into_iter().reduce(|near, other| &near & &other).unwrap_or_default();
        // A record that is not acknowledged is not registered. So a super peer that is about to
        // acknowledge counts as changing.
        let settled = |node: usize| !world.super_peer(node).is_some_and(SuperPeer::is_acknowledging);
        let churn = |node: usize| if settled(node) { world.churn(node) } else { u64::MAX };
        let look = |node: usize| (node, (churn(node), world.registered(node, search)));
        let before = supers.iter().map(|&node| look(node)).collect();
        let client = world.ask(weak, Command::Query { search: search.clone(), scope });
        Watch { client, search: search.clone(), supers, near, horizon, before }
    }

    /// Checks the answer at the moment at which it ends. Returns none if the session was lost.
    ///
    /// # Panics
    /// If the answer is wrong.
    #[must_use]
    pub fn judge(&self, world: &World) -> Option<Verdict> {
        let asked = world.asked(self.client);
        let outcome = asked.outcome().expect("a query is judged when it is over");
        let complete = outcome.complete.unwrap_or(false);
        if outcome.exit != Exit::Ok.code() && outcome.exit != Exit::NotFound.code() {
            assert!(!complete, "what failed is not complete: {outcome:?}");
            return None;
        }
        // Digests require that clocks run at the same rate (PROTOCOL.md 8.5). After a clock has
        // jumped or stood still, a super peer that was excluded by its digest may have a match.
        let pruned = outcome.pruned.unwrap_or(0);
        let sure = pruned == 0 || world.clocks_ran_alike_since(asked.at - DIGEST_LEASE_WAIT);
        let (cut, reached) = (outcome.cut.unwrap_or_default(), outcome.reached.unwrap_or(0));
        let (mut hits, mut promised) = (BTreeSet::new(), Vec::new());
        for (_, event) in &asked.events {
            if let ClientEvent::Hit { path, size, root, source, unreached, .. } = event {
                let hit = Match { path: path.clone(), size: *size, root: *root, source: source.clone() };
                assert!(hits.insert(hit.clone()), "{hit:?} was delivered twice");
                promised.extend((!unreached).then_some(hit));
            }
        }
        assert_eq!(outcome.hits, Some(u32::try_from(hits.len()).unwrap_or(u32::MAX)), "hits are counted as delivered");
        assert_eq!(complete, cut.is_none(), "complete is that nothing was cut: {cut:?}");

        let (mut throughout, mut ever, mut calm) = (BTreeSet::new(), BTreeSet::new(), true);
        let mut throughout_near = BTreeSet::new();
        let excuse = world.excuse(&self.search, asked.at);
        for (&node, (churn, before)) in &self.before {
            let after = world.registered(node, &self.search);
            ever.extend(before.iter().chain(&after).cloned());
            if world.churn(node) != *churn {
                calm = false;
            } else if !excuse.covers(node) {
                let there = || before.intersection(&after).filter(|record| is_possible(record)).cloned();
                throughout.extend(there());
                if self.near.contains(&node) {
                    throughout_near.extend(there());
                }
            }
        }
        let must_come = |record: &&Match| !is_spared(record, &self.search, &hits, &ever);
        let missing: BTreeSet<Match> = throughout.difference(&hits).filter(must_come).cloned().collect();
        assert!(!complete || !sure || missing.is_empty(), "complete, and yet {missing:?} are missing");
        // If only the ttl has cut, the answer has all matches within the ttl.
        if calm && sure && (Cut { ttl: 0, ..cut }).is_none() {
            let missing: Vec<&Match> = throughout_near.difference(&hits).filter(must_come).collect();
            assert!(missing.is_empty(), "{missing:?} are within the ttl and missing, and only {cut:?} was cut");
        }
        if calm {
            let strange: Vec<&Match> = hits.difference(&ever).filter(|hit| !excuse.forged.contains(hit)).collect();
            assert!(strange.is_empty(), "{strange:?} are registered nowhere");
        }
        if !excuse.liar {
            let kept = |hit: &&Match| excuse.forged.contains(hit) || world.was_reached(&hit.source);
            let broken: Vec<&Match> = promised.iter().filter(|hit| !kept(hit)).collect();
            assert!(
                broken.is_empty(),
                "no super peer has reached the sources of {broken:?}, and their hits do not say so"
            );
        }
        // A lying neighbor can claim anything about its own branch.
        if calm && !excuse.liar {
            let all = u32::try_from(self.supers.len()).unwrap_or(u32::MAX);
            assert!(!complete || reached + pruned >= all, "complete, and reached {reached} of {all}, pruned {pruned}");
            let horizon = u32::try_from(self.horizon).unwrap_or(u32::MAX);
            assert!(
                reached <= horizon,
                "reached {reached}, {horizon} are within the ttl: nobody searches twice, or beyond"
            );
        }
        Some(Verdict { hits, missing, complete, cut, reached })
    }
}
