//! The cost and the result of a query over a tree after a node or link on its way has failed.
//!
//! ```text
//! cargo run --release --example healing [SUPER_PEERS ...]     100 and 1,000 by default
//! ```
//!
//! Prints a Markdown table. The networks are random regular graphs of degree 6 of production super
//! peers in virtual time, without loss. Every tenth super peer, at most 100, has a weak peer that
//! shares the file. Once the tree has grown, one thing fails: a tree link between two inner nodes
//! (silently, in both directions), a super peer with at least three tree links, or the root of the
//! tree. The same peer sends the query four times: before the failure, right after it, when that
//! query is answered, and later. Seeds are fixed, so the figures are the same everywhere.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::BTreeSet;
use std::time::Duration;

use sprat::proto::Scope;
use sprat::sim::oracle::Watch;
use sprat::sim::{Random, World, topology};
use sprat::wire::{Cut, Policy, QueryKind, Search};

const DEGREE: usize = 6;
/// Time until sessions, links and the tree are up.
const SETTLE: Duration = Duration::from_secs(25);
/// When the query is sent after the failure, or as soon as the query before it is over.
const ASKED_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(20)];
/// Kinds of messages that a query consists of, without HITs.
const KINDS: [&str; 4] = ["link_query_out", "link_done_out", "link_pending_out", "link_cancel_out"];

#[derive(Clone, Copy)]
enum Death {
    Link,
    Inner,
    Root,
}

struct Network {
    world: World,
    supers: usize,
    asker: usize,
}

impl Network {
    fn new(supers: usize, edges: &[(usize, usize)]) -> Network {
        let mut world = World::new(1);
        world.add_supers(supers, edges);
        let content = world.content(10);
        for host in (5..supers).step_by(10 * (supers / 1000).max(1)) {
            let weak = world.add_weak(&[host]);
            world.share(weak, "needle", content);
            world.start(weak);
        }
        let asker = world.add_weak(&[supers - 1]);
        world.start(asker);
        world.run_for(SETTLE);
        Network { world, supers, asker }
    }

    /// The other ends of the tree links of a super peer.
    fn tree_edges(&self, node: usize) -> Vec<usize> {
        let edges =
            self.world.super_peer(node).map(sprat::proto::super_peer::SuperPeer::tree_edges).unwrap_or_default();
        let ends =
            edges.into_iter().map(|addr| self.world.neighbors(node).iter().find(|n| self.world.addr(**n) == addr));
        ends.map(|end| *end.expect("a tree link leads to a neighbor")).collect()
    }

    fn die(&mut self, death: Death) {
        // Nodes that share or search are left out: their numbers end in 5 or 9.
        let inner = |node: &usize| self.tree_edges(*node).len() >= 3 && node % 10 == 2;
        let inner = (2..self.supers).find(inner).expect("a tree has inner nodes");
        match death {
            Death::Root => self.world.crash(0),
            Death::Inner => self.world.crash(inner),
            Death::Link => {
                // Leaves are left out: a query may skip them.
                let ends = self.tree_edges(inner);
                let end = *ends.iter().find(|end| self.tree_edges(**end).len() >= 2).expect("an inner end");
                self.world.set_cut(BTreeSet::from([(inner, end), (end, inner)]));
            }
        }
    }

    fn sent(&self) -> [u64; KINDS.len()] {
        let mut sum = [0; KINDS.len()];
        for machine in (0..self.supers).filter_map(|node| self.world.super_peer(node)) {
            let counters = machine.counters().named();
            for (sum, kind) in sum.iter_mut().zip(KINDS) {
                *sum += counters.get(kind).copied().unwrap_or(0);
            }
        }
        sum
    }

    fn ask(&mut self, when: &str) {
        let search = Search { limit: Some(10_000), ..Search::new("needle", QueryKind::Exact) };
        let scope = Scope { ttl: Some(64), budget: Some(10_000), policy: Some(Policy::Tree) };
        let before = self.sent();
        let watch = Watch::ask(&mut self.world, self.asker, &search, scope);
        assert!(self.world.finish(watch.client, Duration::from_secs(15)), "a query ends within its budget");
        let took = self.world.asked(watch.client).took().expect("it is over");
        let verdict = watch.judge(&self.world).expect("the session lasts");
        // Messages still in flight belong to the query too.
        self.world.run_for(Duration::from_millis(500));
        let after = self.sent();
        let sent: Vec<u64> = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
        let of_least = |count: u64| count as f64 / (self.supers - 1) as f64;
        let (found, all) = (verdict.hits.len(), verdict.hits.len() + verdict.missing.len());
        println!(
            "| {} | {when} | {:.2} | {:.2} | {found} of {all} | {} | {} | {:.1} |",
            self.supers,
            of_least(sent[0]),
            of_least(sent.iter().sum()),
            if verdict.complete { "yes".to_owned() } else { format!("no: {}", reasons(verdict.cut)) },
            verdict.reached,
            took.as_secs_f64() * 1000.0,
        );
    }
}

/// Why branches were cut, and how often.
fn reasons(cut: Cut) -> String {
    let Cut { ttl, loss, budget, down, cap, shed, stale, starting } = cut;
    let named = [
        ("ttl", ttl),
        ("loss", loss),
        ("budget", budget),
        ("down", down),
        ("cap", cap),
        ("shed", shed),
        ("stale", stale),
        ("starting", starting),
    ];
    let cuts: Vec<String> = named.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
    cuts.join(", ")
}

fn main() {
    let sizes: Vec<usize> =
        std::env::args().skip(1).map(|size| size.parse().expect("a number of super peers")).collect();
    let sizes = if sizes.is_empty() { vec![100, 1000] } else { sizes };
    println!("| super peers | asked | QUERY, of N-1 | all but HIT, of N-1 | found | complete | searched | DONE ms |");
    println!("|---|---|---|---|---|---|---|---|");
    for supers in sizes {
        let edges = topology::random_regular(supers, DEGREE, &mut Random::new(7)).expect("there is such a graph");
        for (death, name) in [(Death::Link, "a link"), (Death::Inner, "an inner super peer"), (Death::Root, "the root")]
        {
            let mut network = Network::new(supers, &edges);
            network.ask(&format!("before {name} dies"));
            network.die(death);
            let died = network.world.now();
            for after in ASKED_AFTER {
                let passed = network.world.now().since(died);
                network.world.run_for(after.saturating_sub(passed));
                let passed = network.world.now().since(died).as_secs_f64();
                network.ask(&format!("{passed:.1} s after {name} died"));
            }
        }
    }
}
