//! Sealed links in the simulated network. They come up and survive the faults that break open
//! links. They accept nothing that is forged, damaged or repeated.

use std::time::Duration;

use crate::common::{SEC, peer, populate};
use sprat::proto::Scope;
use sprat::sim::builders::search;
use sprat::sim::fault::{Damage, Double, HoldBack, Lose, Repeat};
use sprat::sim::oracle::{Verdict, Watch};
use sprat::sim::{World, topology};

/// A world with sealed links and what [`populate`] adds.
fn network(seed: u64, n: usize, edges: &[(usize, usize)]) -> World {
    let mut world = World::new(seed);
    world.seal_links();
    world.check_invariants();
    world.watch_all();
    populate(&mut world, n, edges);
    world
}

fn ask(world: &mut World, node: usize) -> Verdict {
    let weak = peer(world, node);
    let watch = Watch::ask(world, weak, &search("common"), Scope { ttl: Some(7), budget: None, policy: None });
    assert!(world.finish(watch.client, 3 * SEC), "a query ends within its budget");
    watch.judge(world).expect("the session lasted")
}

fn are_up(world: &World, edges: &[(usize, usize)]) -> bool {
    let up = |a: usize, b: usize| world.super_peer(a).is_some_and(|peer| peer.is_link_up(world.addr(b)));
    edges.iter().all(|(a, b)| up(*a, *b) && up(*b, *a))
}

#[test]
fn sealed_links_come_up_and_carry_queries() {
    let edges = topology::ring(5);
    let mut world = network(1, 5, &edges);
    assert!(are_up(&world, &edges));
    let verdict = ask(&mut world, 0);
    assert!(verdict.complete && verdict.hits.len() == 5, "{verdict:?}");
}

#[test]
fn they_stay_up_for_hours_and_each_side_may_restart() {
    let edges = topology::line(3);
    let mut world = network(2, 3, &edges);
    world.run_for(3600 * SEC);
    for node in [1, 0, 2, 1] {
        world.crash(node);
        world.run_for(SEC / 2);
        world.start(node);
        assert!(world.run_until(8 * SEC, |world| are_up(world, &topology::line(3))), "{node} restarted");
        world.run_for(3 * SEC);
        let verdict = ask(&mut world, 0);
        assert!(verdict.complete && verdict.hits.len() == 3, "after {node}: {verdict:?}");
    }
}

#[test]
fn they_work_while_datagrams_are_lost_doubled_reordered_damaged_and_repeated() {
    for seed in 0..4 {
        let edges = topology::ring(4);
        let mut world = network(10 + seed, 4, &edges);
        let late = Duration::from_millis(30);
        world.set_faults(vec![
            Box::new(Lose(100)),
            Box::new(Double(100)),
            Box::new(HoldBack(200, late)),
            Box::new(Damage(50)),
            Box::new(Repeat::new(50)),
        ]);
        for round in 0..20 {
            if round % 5 == 4 {
                let node = usize::try_from(seed).unwrap();
                world.crash(node);
                world.run_for(SEC);
                world.start(node);
                world.run_for(10 * SEC);
            }
            world.run_for(13 * SEC);
            let verdict = ask(&mut world, (round % 3) + usize::from(seed == 0));
            assert!(!verdict.complete || verdict.missing.is_empty(), "{verdict:?}");
        }
        world.set_faults(Vec::new());
        world.run_for(10 * SEC);
        assert!(are_up(&world, &edges), "seed {seed}");
        world.check();
    }
}
