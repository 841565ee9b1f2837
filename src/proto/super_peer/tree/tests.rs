//! Trees in small networks of real machines: how they grow, become void and grow again, and how
//! queries use them.

use std::time::Duration;

use crate::config::{LINK_SILENCE_MAX, TREE_GAP_MAX, TREE_ROOT_PATIENCE, TREE_SETTLE};
use crate::proto::Entropy;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Fate, Net, search};
use crate::sim::Random;
use crate::wire::message::Done;
use crate::wire::{Cut, LinkMessage, Policy};

/// This is long enough for any tree to grow, to be given up and to grow again, or to find out that
/// a root is gone.
const LONG: Duration = Duration::from_secs(40);

fn is_query(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Query(_))
}

/// A ring with random chords, so that no single link connects the network.
fn edges(n: usize, degree: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut random = Random::new(seed);
    let mut edges: Vec<(usize, usize)> = (1..n).map(|b| (b - 1, b)).chain([(0, n - 1)]).collect();
    while edges.len() < n * degree / 2 {
        let (a, b) = ((random.next_u64() % n as u64) as usize, (random.next_u64() % n as u64) as usize);
        let edge = (a.min(b), a.max(b));
        if a != b && !edges.contains(&edge) {
            edges.push(edge);
        }
    }
    edges
}

/// A network whose tree is grown, each super peer with a file `a`.
fn grown(n: usize, edges: &[(usize, usize)]) -> Net {
    let mut net = Net::new(n, edges);
    for node in 0..n {
        net.peer(node, &["a"]);
    }
    net.run_for(Duration::from_secs(5));
    assert_eq!(whole(&net), n, "everybody holds the tree");
    net.forget_traffic();
    net
}

/// How many live super peers hold a tree that is not stale.
fn whole(net: &Net) -> usize {
    (0..net.nodes.len()).filter(|node| net.is_alive(*node) && net.machine(*node).counts()["tree_whole"] == 1).count()
}

fn tree(net: &mut Net, node: usize) -> (usize, Done) {
    let (hits, done) = net.ask_by(Policy::Tree, node, search("a"), 64);
    (hits.len(), done)
}

fn sum(net: &Net, count: Count) -> u64 {
    (0..net.nodes.len()).map(|node| net.count(node, count)).sum()
}

#[test]
fn the_lowest_node_id_is_the_root_and_grows_one_tree() {
    let net = grown(20, &edges(20, 4, 1));
    assert_eq!(net.machine(0).counts()["tree_size"], 20);
    assert_eq!(net.count(0, Count::TreesGrown), 1);
    assert_eq!(sum(&net, Count::TreesVoid), 0);
}

#[test]
fn a_tree_query_takes_one_query_for_each_other_super_peer() {
    let mut net = grown(40, &edges(40, 6, 2));
    for node in [0, 7, 39] {
        net.forget_traffic();
        let (hits, done) = tree(&mut net, node);
        assert_eq!((hits, done.reached, done.complete, done.cut), (40, 40, true, Cut::NONE));
        assert_eq!(net.sent(is_query), 39);
        assert_eq!(net.sent(|message| matches!(message, LinkMessage::Done(_))), 39);
        assert_eq!(net.sent(|message| matches!(message, LinkMessage::Pending(_))), 0);
    }
    assert_eq!(sum(&net, Count::FloodStaleTree), 0);
}

#[test]
fn leaves_whose_digest_says_no_are_not_asked() {
    let mut net = grown(40, &edges(40, 6, 13));
    net.peer(33, &["needle"]);
    net.run_for(Duration::from_secs(10));
    net.forget_traffic();
    let (hits, done) = net.ask_by(Policy::Tree, 5, search("needle"), 64);
    assert_eq!((hits.len(), done.complete, done.cut), (1, true, Cut::NONE));
    assert!(done.pruned >= 10 && done.reached + done.pruned == 40, "{done:?}");
    assert_eq!(net.sent(is_query) as u32, 39 - done.pruned);
    // A leaf with a dead neighbor must report a cut.
    net.kill(0);
    net.run_for(LONG);
    let (_, done) = net.ask_by(Policy::Tree, 5, search("needle"), 64);
    let down = (0..net.nodes.len()).filter(|node| net.is_alive(*node)).map(|node| net.machine(node).counts());
    let down: u64 = down.map(|counts| counts["links"] - counts["links_up"]).sum();
    assert_eq!((u64::from(done.cut.down), done.cut.stale, done.complete), (down, 0, false));
}

#[test]
fn an_idle_tree_costs_nothing_but_the_names_in_hello() {
    let mut net = grown(20, &edges(20, 4, 3));
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.sent(|message| matches!(message, LinkMessage::Tree(_))), 0);
}

#[test]
fn a_tree_query_goes_everywhere_whatever_the_ttl() {
    let mut net = grown(5, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let (hits, done) = net.ask_by(Policy::Tree, 0, search("a"), 1);
    assert_eq!((hits.len(), done.reached, done.complete), (5, 5, true));
    let (hits, done) = net.ask_by(Policy::Tree, 0, search("a"), 0);
    assert_eq!(
        (hits.len(), done.reached, done.cut),
        (1, 1, Cut { ttl: 1, ..Cut::NONE }),
        "without a hop no neighbor is asked"
    );
}

#[test]
fn without_a_tree_a_tree_query_is_a_flood() {
    let mut net = Net::ring(5);
    net.peer(3, &["a"]);
    let (hits, done) = tree(&mut net, 0);
    assert_eq!((hits, done.reached, done.complete), (1, 5, true));
    assert_eq!(sum(&net, Count::QueriesRode), 0);
}

#[test]
fn with_an_edge_cut_the_next_query_is_complete_and_after_the_next_tree_cheap() {
    for seed in 0..20 {
        let mut net = grown(20, &edges(20, 4, seed));
        // An edge of the tree has failed in both directions. Neither end knows it yet.
        let edge = net.tree_edge(seed as usize);
        net.cut(edge.0, edge.1);
        let (hits, done) = tree(&mut net, 0);
        assert_eq!((hits, done.reached), (20, 20), "seed {seed}: a flood finds the way round: {done:?}");
        assert!(!done.complete, "the link that does not answer is reported, as in a flood");
        // Now the link is known to be down, and the next tree grows without it.
        net.run_for(LINK_SILENCE_MAX + Duration::from_secs(3));
        assert_eq!(whole(&net), 20, "seed {seed}");
        net.forget_traffic();
        let (hits, done) = tree(&mut net, 0);
        assert_eq!((hits, done.reached, done.cut), (20, 20, Cut { down: 2, ..Cut::NONE }), "seed {seed}");
        assert_eq!(net.sent(is_query), 19, "seed {seed}");
    }
}

#[test]
fn while_the_tree_is_void_a_query_floods_and_is_complete() {
    let mut net = grown(20, &edges(20, 4, 5));
    let edge = net.tree_edge(3);
    net.cut(edge.0, edge.1);
    // Runs until one end finds that the link is down. Then the tree is void, and the next one has
    // not grown yet.
    while sum(&net, Count::TreesVoid) == 0 {
        assert!(net.step());
    }
    let (hits, done) = tree(&mut net, 19);
    assert_eq!((hits, done.reached), (20, 20), "{done:?}");
}

#[test]
fn a_dead_node_costs_one_flood_and_then_the_tree_goes_on_without_it() {
    for victim in [0, 1, 5, 19] {
        let mut net = grown(20, &edges(20, 5, 6));
        let asker = if victim == 5 { 6 } else { 5 };
        net.kill(victim);
        let (hits, _) = tree(&mut net, asker);
        assert_eq!(hits, 19, "victim {victim}");
        net.run_for(LINK_SILENCE_MAX + TREE_ROOT_PATIENCE + TREE_SETTLE + Duration::from_secs(3));
        assert_eq!(whole(&net), 19, "victim {victim}");
        net.forget_traffic();
        let (hits, done) = tree(&mut net, asker);
        assert!(hits == 19 && done.cut.down > 0 && done.cut == Cut { down: done.cut.down, ..Cut::NONE }, "{done:?}");
        assert_eq!(net.sent(is_query), 18, "victim {victim}");
    }
}

#[test]
fn a_restarted_root_repeats_no_name_and_is_the_root_again() {
    let mut net = grown(12, &edges(12, 4, 7));
    let before = net.machine(3).tree_name().unwrap();
    net.kill(0);
    net.run_for(Duration::from_secs(1));
    net.restart(0);
    net.peer(0, &["a"]);
    for _ in 0..20 {
        net.run_for(Duration::from_millis(100));
        let (hits, done) = tree(&mut net, 5);
        assert!(!done.complete || hits == 12, "{done:?}");
    }
    net.run_for(LONG);
    let after = net.machine(3).tree_name().unwrap();
    assert!(after.root == before.root && after.boot != before.boot, "{after:?}");
    net.forget_traffic();
    let (hits, done) = tree(&mut net, 5);
    assert_eq!((hits, done.complete, net.sent(is_query)), (12, true, 11));
}

#[test]
fn two_parts_have_a_tree_each_and_one_when_they_meet() {
    let mut links = edges(10, 4, 8);
    links.extend(edges(10, 4, 9).into_iter().map(|(a, b)| (a + 10, b + 10)));
    links.push((9, 10));
    let mut net = Net::cold(20, &links);
    net.cut(9, 10);
    for node in 0..20 {
        net.peer(node, &["a"]);
    }
    net.run_for(Duration::from_secs(5));
    let names: Vec<_> = (0..net.nodes.len()).map(|node| net.machine(node).tree_name().unwrap()).collect();
    assert!(names[..10].iter().all(|name| *name == names[0]) && names[10..].iter().all(|name| *name == names[10]));
    assert_ne!(names[0].root, names[10].root);
    net.forget_traffic();
    let (hits, done) = tree(&mut net, 4);
    assert_eq!((hits, done.cut, net.sent(is_query)), (10, Cut { down: 1, ..Cut::NONE }, 9));
    // The two halves are connected again. In the meantime no query may wrongly claim to be
    // complete.
    net.rule(|_, _, _| Fate::Arrive);
    for step in 0..40 {
        net.run_for(Duration::from_millis(100));
        let (hits, done) = tree(&mut net, 15);
        assert!(!done.complete || hits == 20, "{step}: {done:?}");
    }
    net.run_for(LONG);
    net.forget_traffic();
    let (hits, done) = tree(&mut net, 15);
    assert_eq!((hits, done.complete, net.sent(is_query)), (20, true, 19));
    // The halves are separated again.
    net.cut(9, 10);
    net.run_for(LINK_SILENCE_MAX + TREE_ROOT_PATIENCE + Duration::from_secs(3));
    net.forget_traffic();
    let (hits, done) = tree(&mut net, 15);
    assert_eq!((hits, done.cut, net.sent(is_query)), (10, Cut { down: 1, ..Cut::NONE }, 9));
}

#[test]
fn a_newcomer_is_found_at_once_and_taken_into_the_tree() {
    let mut net = grown(12, &edges(12, 4, 10));
    net.kill(11);
    net.run_for(LONG);
    assert_eq!(whole(&net), 11);
    net.restart(11);
    net.peer(11, &["a"]);
    net.run_for(Duration::from_millis(5));
    let (hits, done) = tree(&mut net, 4);
    assert!(!done.complete || hits == 12, "{done:?}");
    net.run_for(LONG);
    net.forget_traffic();
    let (hits, done) = tree(&mut net, 4);
    assert_eq!((hits, done.complete, net.sent(is_query)), (12, true, 11));
}

#[test]
fn two_tree_queries_run_at_once() {
    let mut net = grown(20, &edges(20, 4, 11));
    let asks: Vec<_> = [3, 17]
        .map(|node| {
            let conn = net.login(node);
            (node, net.query_by(Policy::Tree, node, conn, search("a"), 64, 2000))
        })
        .to_vec();
    for (node, req) in asks {
        let done = net.finish(node, req);
        assert_eq!((net.hits(node, req).len(), done.complete), (20, true));
    }
    assert_eq!(net.sent(is_query), 38);
}

#[test]
fn a_neighbor_that_keeps_changing_does_not_make_trees_grow_all_the_time() {
    let mut net = grown(12, &edges(12, 4, 12));
    for _ in 0..60 {
        net.kill(11);
        net.run_for(Duration::from_secs(1));
        net.restart(11);
        net.run_for(Duration::from_secs(1));
    }
    let many = 120 / TREE_GAP_MAX.as_secs() + 8;
    assert!(sum(&net, Count::TreesGrown) <= many, "{} trees in two minutes", sum(&net, Count::TreesGrown));
}

#[test]
fn with_loss_a_tree_grows_all_the_same() {
    for seed in 0..10 {
        let mut net = Net::new(20, &edges(20, 4, seed));
        for node in 0..20 {
            net.peer(node, &["a"]);
        }
        let mut random = Random::new(seed);
        net.rule(move |_, _, _| if random.next_u64() % 10 < 2 { Fate::Lose } else { Fate::Arrive });
        net.run_for(Duration::from_secs(20));
        let (hits, done) = tree(&mut net, 13);
        assert!(!done.complete || hits == 20, "seed {seed}: {done:?}");
        net.rule(|_, _, _| Fate::Arrive);
        net.run_for(LONG);
        assert_eq!(whole(&net), 20, "seed {seed}");
    }
}
