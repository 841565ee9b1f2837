//! What must hold of every query, whatever happened to the network meanwhile.
//!
//! The oracle looks into the indexes of all super peers when a query begins and when it is over. A record that is there both
//! times, at a super peer at which nothing changed in between, was registered throughout: an answer that calls itself
//! complete must have it.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::config::{DIGEST_LEASE_WAIT, TTL_DEFAULT};
use crate::error::Exit;
use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::search::{Scan, Step};
use crate::proto::{ClientEvent, ClientId, Command, Scope};
use crate::wire::{Cut, HostPort, Policy, Root, Search};

/// One registered file of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Path in the source's share.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// Where the source serves chunks.
    pub source: HostPort,
}

/// A query under watch.
#[derive(Debug)]
pub struct Watch {
    /// The command's client.
    pub client: ClientId,
    search: Search,
    /// All super peers to which there is a way, those that are within the ttl of any of its super peers, and the most that are of one.
    supers: BTreeSet<usize>,
    near: BTreeSet<usize>,
    horizon: usize,
    /// What fitted at the beginning, and the churn of its super peer then.
    before: BTreeMap<usize, (u64, BTreeSet<Match>)>,
}

/// What a query delivered, found to be right.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Hits delivered, each once.
    pub hits: BTreeSet<Match>,
    /// What was registered throughout and is missing; only ever so if the answer says that it is not complete.
    pub missing: BTreeSet<Match>,
    /// Whether the answer says that it is complete.
    pub complete: bool,
    /// What it says was cut.
    pub cut: Cut,
    /// Super peers that it says searched.
    pub reached: u32,
}

impl Watch {
    /// Has a weak peer ask, and looks at what is registered in its part of the network.
    ///
    /// # Panics
    /// If the peer has no session.
    pub fn ask(world: &mut World, weak: usize, search: &Search, scope: Scope) -> Watch {
        let Scope { ttl, policy, .. } = scope;
        let host = *world.supers_of(weak).first().expect("the asker has a session");
        let supers = world.within(host, usize::MAX);
        // A lost session may be followed by one to another super peer, with another horizon.
        let hops = usize::from(ttl.unwrap_or(TTL_DEFAULT));
        let horizons = |hops| -> Vec<BTreeSet<usize>> {
            world.neighbors(weak).iter().map(|host| world.within(*host, hops)).collect()
        };
        // A ride goes everywhere, whatever the ttl.
        let most = if policy == Some(Policy::Tree) && hops > 0 { usize::MAX } else { hops };
        let horizon = horizons(most).iter().map(BTreeSet::len).max().unwrap_or(0);
        let near = horizons(hops).into_iter().reduce(|near, other| &near & &other).unwrap_or_default();
        // What is not acknowledged yet counts as not registered yet: a super peer that is about to say so is as one that changes.
        let settled = |node: usize| !world.super_peer(node).is_some_and(SuperPeer::is_acknowledging);
        let churn = |node: usize| if settled(node) { world.churn(node) } else { u64::MAX };
        let look = |node: usize| (node, (churn(node), registered(world, node, search)));
        let before = supers.iter().map(|&node| look(node)).collect();
        let client = world.ask(weak, Command::Query { search: search.clone(), scope });
        Watch { client, search: search.clone(), supers, near, horizon, before }
    }

    /// Judges the answer at the moment at which it is over. Nothing if the session was lost over it.
    ///
    /// # Panics
    /// If something does not hold.
    #[must_use]
    pub fn judge(&self, world: &World) -> Option<Verdict> {
        let asked = world.asked(self.client);
        let outcome = asked.outcome().expect("a query is judged when it is over");
        let complete = outcome.complete.unwrap_or(false);
        if outcome.exit != Exit::Ok.code() && outcome.exit != Exit::NotFound.code() {
            assert!(!complete, "what failed is not complete: {outcome:?}");
            return None;
        }
        // Digests ask of the clocks that they run alike (PROTOCOL.md 8.5): when one has leapt or stood still,
        // what was left out because of a digest may have been there.
        let pruned = outcome.pruned.unwrap_or(0);
        let sure = pruned == 0 || world.clocks_ran_alike_since(asked.at - DIGEST_LEASE_WAIT);
        let (cut, reached) = (outcome.cut.unwrap_or_default(), outcome.reached.unwrap_or(0));
        let mut hits = BTreeSet::new();
        for (_, event) in &asked.events {
            if let ClientEvent::Hit { name: _, path, size, root, source } = event {
                let hit = Match { path: path.clone(), size: *size, root: *root, source: source.clone() };
                assert!(hits.insert(hit.clone()), "{hit:?} was delivered twice");
            }
        }
        assert_eq!(outcome.hits, Some(u32::try_from(hits.len()).unwrap_or(u32::MAX)), "hits are counted as delivered");
        assert_eq!(complete, cut.is_none(), "complete is that nothing was cut: {cut:?}");

        let (mut throughout, mut ever, mut calm) = (BTreeSet::new(), BTreeSet::new(), true);
        let mut throughout_near = BTreeSet::new();
        for (&node, (churn, before)) in &self.before {
            let after = registered(world, node, &self.search);
            ever.extend(before.iter().chain(&after).cloned());
            if world.churn(node) == *churn {
                throughout.extend(before.intersection(&after).cloned());
                if self.near.contains(&node) {
                    throughout_near.extend(before.intersection(&after).cloned());
                }
            } else {
                calm = false;
            }
        }
        let missing: BTreeSet<Match> = throughout.difference(&hits).cloned().collect();
        assert!(!complete || !sure || missing.is_empty(), "complete, and yet {missing:?} are missing");
        // Cut by nothing but a want of hops: whatever is within them was delivered.
        if calm && sure && (Cut { ttl: 0, ..cut }).is_none() {
            let missing: Vec<&Match> = throughout_near.difference(&hits).collect();
            assert!(missing.is_empty(), "{missing:?} are within the ttl and missing, and only {cut:?} was cut");
        }
        if calm {
            let strange: Vec<&Match> = hits.difference(&ever).collect();
            assert!(strange.is_empty(), "{strange:?} are registered nowhere");
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

/// What is registered at a super peer and fits.
pub(super) fn registered(world: &World, node: usize, search: &Search) -> BTreeSet<Match> {
    let Some(machine) = world.super_peer(node) else { return BTreeSet::new() };
    let unlimited = Search { limit: None, ..search.clone() };
    let mut scan = Scan::new(machine.index(), &unlimited).expect("a good pattern");
    let mut hits = Vec::new();
    loop {
        match scan.step(machine.index(), usize::MAX, &mut hits) {
            Step::More => {}
            Step::End { capped } => {
                assert!(!capped, "the oracle sees everything; ask for less");
                break;
            }
        }
    }
    hits.into_iter()
        .map(|hit| Match { path: hit.path.as_str().to_owned(), size: hit.size, root: hit.root, source: hit.addr })
        .collect()
}
