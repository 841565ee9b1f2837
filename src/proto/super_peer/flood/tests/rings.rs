//! Queries that widen ring by ring.

use super::is_query;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Net, search};
use crate::wire::{Cut, Policy, Search};

fn limited(pattern: &str, limit: u32) -> Search {
    Search { limit: Some(limit), ..search(pattern) }
}

#[test]
fn a_ring_query_ends_with_the_ring_that_has_enough() {
    let mut net = Net::line(9);
    for node in 0..9 {
        net.peer(node, &["a"]);
    }
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("a", 3), 8);
    assert_eq!((hits.len(), done.complete), (3, false));
    assert_eq!(done.cut, Cut { ttl: 1, cap: 1, ..Cut::NONE });
    assert_eq!(net.wakeups(), 0, "the echo ends a ring, and no timer");
    let asked = |net: &Net, node: usize| net.count(node, Count::FloodSearched);
    assert_eq!((asked(&net, 2), asked(&net, 3)), (1, 0), "the second ring has enough");
}

#[test]
fn a_ring_query_grows_until_everything_is_found() {
    let mut net = Net::line(9);
    net.peer(7, &["far"]);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 8);
    assert_eq!((hits.len(), done.reached, done.complete, done.cut), (1, 9, true, Cut::NONE));
    assert_eq!(
        (0..9).map(|node| net.count(node, Count::FloodSearched)).sum::<u64>(),
        8,
        "no super peer searches twice"
    );
}

#[test]
fn a_ring_query_stops_at_its_ttl_and_says_so() {
    let mut net = Net::line(9);
    net.peer(7, &["far"]);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 5);
    assert_eq!((hits.len(), done.reached, done.complete, done.cut), (0, 6, false, Cut { ttl: 1, ..Cut::NONE }));
}

#[test]
fn without_a_limit_a_ring_query_goes_all_the_way_at_once() {
    let mut net = Net::ring(9);
    let (_, done) = net.ask_by(Policy::Ring, 0, search("a"), 8);
    assert_eq!((done.reached, done.complete), (9, true));
    assert_eq!(net.sent(is_query), 10);
}

#[test]
fn a_dead_neighbor_takes_a_part_of_the_budget_from_a_ring_query_and_the_rings_go_on() {
    let mut net = Net::new(6, &[(0, 1), (0, 2), (2, 3), (3, 4), (4, 5)]);
    net.peer(5, &["far"]);
    net.kill(1);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 8);
    assert_eq!((hits.len(), done.reached, done.complete), (1, 5, false));
    assert!(done.cut.ttl == 0 && done.cut.budget > 0, "{done:?}");
}
