//! Searches in the simulated network: the production super and weak peers, in virtual time, with
//! faults from a seed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{MS, Report, SEC, campaign, explain, peer, populate, replaying};
use sprat::proto::{Command, Entropy, Scope};
use sprat::sim::builders::search;
use sprat::sim::fault::{Damage, Double, Fault, HoldBack, Lose, Sever};
use sprat::sim::oracle::{Verdict, Watch};
use sprat::sim::{Random, World, topology};
use sprat::wire::{Policy, Search};

const POLICIES: [Policy; 4] = [Policy::Flood, Policy::Digest, Policy::Ring, Policy::Tree];

/// An open world with super peers and what [`populate`] adds.
fn network(seed: u64, n: usize, edges: &[(usize, usize)]) -> World {
    let mut world = World::new(seed);
    populate(&mut world, n, edges);
    world
}

fn ask(world: &mut World, super_peer: usize, pattern: &str, ttl: u8) -> Verdict {
    ask_by(world, super_peer, pattern, ttl, Policy::Flood)
}

fn ask_by(world: &mut World, super_peer: usize, pattern: &str, ttl: u8, policy: Policy) -> Verdict {
    let weak = peer(world, super_peer);
    let watch = Watch::ask(world, weak, &search(pattern), Scope { ttl: Some(ttl), budget: None, policy: Some(policy) });
    assert!(world.finish(watch.client, 3 * SEC), "a query ends within its budget");
    watch.judge(world).expect("the session lasted")
}

#[test]
fn in_a_line_of_three_the_far_end_is_two_hops_away() {
    let mut world = network(1, 3, &topology::line(3));
    let near = ask(&mut world, 0, "file2", 1);
    assert!(near.hits.is_empty() && !near.complete && near.cut.ttl == 1 && near.reached == 2, "{near:?}");
    let far = ask(&mut world, 0, "file2", 2);
    assert!(far.hits.len() == 1 && far.complete && far.reached == 3, "{far:?}");
}

#[test]
fn with_ttl_0_only_the_own_super_peer_searches() {
    let mut world = network(1, 3, &topology::ring(3));
    let verdict = ask(&mut world, 0, "common", 0);
    assert!(verdict.reached == 1 && verdict.cut.ttl == 2 && verdict.hits.len() == 1, "{verdict:?}");
}

#[test]
fn in_a_ring_of_five_each_answers_once() {
    let mut world = network(2, 5, &topology::ring(5));
    let verdict = ask(&mut world, 0, "common", 7);
    assert!(verdict.complete && verdict.reached == 5, "{verdict:?}");
    assert_eq!(verdict.hits.len(), 5);
}

#[test]
fn what_nobody_has_is_known_by_the_echo() {
    let mut world = network(3, 5, &topology::ring(5));
    let weak = peer(&world, 0);
    let watch = Watch::ask(&mut world, weak, &search("nowhere"), Scope::default());
    assert!(world.finish(watch.client, 3 * SEC));
    let verdict = watch.judge(&world).unwrap();
    assert!(verdict.complete && verdict.hits.is_empty() && verdict.reached == 5, "{verdict:?}");
    assert!(world.asked(watch.client).took().unwrap() < 20 * MS, "by the echo, not by a timer");
}

#[test]
fn a_dead_neighbor_is_reported_within_the_budget() {
    for dead_for in [Duration::ZERO, 10 * SEC] {
        let mut world = network(4, 5, &topology::ring(5));
        world.crash(2);
        world.run_for(dead_for);
        let verdict = ask(&mut world, 0, "common", 7);
        assert!(!verdict.complete && verdict.reached == 4, "{verdict:?}");
        // A neighbor that is known to be down is not waited for. Before that, the budget of the
        // query ends the wait.
        let cut = verdict.cut;
        assert!(if dead_for.is_zero() { cut.budget + cut.loss > 0 } else { cut.down == 2 }, "{cut:?}");
        assert_eq!(verdict.hits.len(), 4);
    }
}

#[test]
fn a_restarted_super_peer_is_searched_again() {
    let mut world = network(5, 3, &topology::line(3));
    world.crash(1);
    world.run_for(SEC);
    world.start(1);
    let back =
        |world: &World| world.super_peer(1).is_some_and(|peer| peer.links_up() == 2 && peer.index().records() == 2);
    assert!(world.run_until(60 * SEC, back), "links and sessions come back");
    let verdict = ask(&mut world, 0, "common", 7);
    assert!(verdict.complete && verdict.hits.len() == 3, "{verdict:?}");
}

#[test]
fn a_higher_ttl_reaches_round_a_long_way() {
    // The links are 0–1–2–3, and a slow link 0–3. The copy over the slow link comes second and has
    // more hops left.
    for seed in 0..50 {
        let mut world = network(seed, 6, &[(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5)]);
        world.set_faults(vec![Box::new(HoldBack(500, 40 * MS))]);
        let verdict = ask(&mut world, 0, "common", 3);
        // If the copy over the long way was first, it was cut at its end. Then the answer has all
        // hits and is not reported as complete.
        assert_eq!(verdict.hits.len(), 6, "seed {seed}: {verdict:?}");
    }
}

#[test]
fn weak_peers_fail_over_to_another_super_peer() {
    let mut world = World::new(6);
    world.add_supers(2, &topology::line(2));
    let content = world.content(10);
    let weak: Vec<usize> = (0..20).map(|_| world.add_weak(&[0, 1])).collect();
    for &weak in &weak {
        world.share(weak, &format!("of {weak}"), content);
        world.start(weak);
    }
    world.run_for(2 * SEC);
    assert_eq!(world.super_peer(0).unwrap().index().records(), 20);
    world.crash(0);
    let all = |world: &World| world.super_peer(1).unwrap().index().records() == 20;
    assert!(world.run_until(10 * SEC, all), "all are found through the second within 10 s");
}

#[test]
fn a_half_open_session_is_given_up_by_both_ends() {
    let mut world = network(7, 1, &[]);
    let weak = peer(&world, 0);
    world.silence(weak);
    let gone = |world: &World| world.super_peer(0).unwrap().index().records() == 0;
    assert!(world.run_until(200 * SEC, |world| gone(world) || world.connections(weak) == 0));
    let back = |world: &World| world.super_peer(0).unwrap().index().holders() == 1 && world.connections(weak) == 1;
    assert!(world.run_until(300 * SEC, back), "one session is left");
}

#[test]
fn a_digest_spares_the_last_hop_and_loses_nothing() {
    let mut world = network(11, 8, &[(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (2, 6), (3, 7)]);
    world.run_for(3 * SEC);
    for (pattern, policy, reached, hits) in [
        ("file6", Policy::Flood, 8, 1),
        ("file6", Policy::Digest, 5, 1),
        ("common", Policy::Digest, 8, 8),
        ("file?", Policy::Digest, 8, 8),
        ("nowhere", Policy::Digest, 4, 0),
    ] {
        let verdict = ask_by(&mut world, 0, pattern, 2, policy);
        assert!(verdict.complete && verdict.hits.len() == hits && verdict.reached == reached, "{pattern} {verdict:?}");
    }
}

/// One seed: a random network, random faults, searches from everywhere. Then the faults end.
fn run(seed: u64) -> Report {
    let mut swarm = Random::new(seed).child("swarm", 0);
    let n = 2 + swarm.index(6);
    let more = swarm.index(5);
    let edges = topology::random(n, more, &mut swarm);
    let mut world = network(seed, n, &edges);
    let mut report = Report::default();
    let result =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drive(&mut world, &mut swarm, n, &mut report)));
    if let Err(why) = result {
        explain(&world, seed);
        std::panic::resume_unwind(why);
    }
    report.end(&world);
    report
}

fn weather(swarm: &mut Random, n: usize) -> Vec<Box<dyn Fault>> {
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    if swarm.chance(700) {
        faults.push(Box::new(Lose(10 + u32::try_from(swarm.below(300)).unwrap())));
    }
    if swarm.chance(400) {
        faults.push(Box::new(Double(100)));
    }
    if swarm.chance(400) {
        let longest = swarm.time(MS, 200 * MS);
        faults.push(Box::new(HoldBack(200, longest)));
    }
    if swarm.chance(300) {
        faults.push(Box::new(Damage(20)));
    }
    if swarm.chance(150) {
        let left: BTreeSet<usize> = (0..n).filter(|_| swarm.chance(500)).collect();
        faults.push(Box::new(Sever::halves(&left, n)));
    }
    faults
}

fn drive(world: &mut World, swarm: &mut Random, n: usize, report: &mut Report) {
    world.set_faults(weather(swarm, n));
    for _ in 0..1 + swarm.index(3) {
        let fate = swarm.below(100);
        let victim = swarm.index(n);
        if fate < 15 && world.is_running(victim) {
            world.crash(victim);
        } else if fate < 30 && !world.is_running(victim) {
            world.start(victim);
        } else if fate < 40 {
            world.cut_connections(n + victim);
        }
        let pause = swarm.time(Duration::ZERO, 3 * SEC);
        world.run_for(pause);
        let asks = 1 + swarm.index(3);
        let watches: Vec<Watch> = (0..asks).filter_map(|_| start_query(world, swarm, n)).collect();
        meddle(world, swarm, n);
        for watch in watches {
            assert!(world.finish(watch.client, 30 * SEC), "a query ends");
            report.add(watch.judge(world).as_ref());
        }
    }
    // Every peer shares again what it shared at the beginning.
    for node in 0..n {
        world.unshare(n + node, "common extra");
    }
    // Without faults, every query finds every match within its ttl, in bounded time.
    world.set_faults(Vec::new());
    for node in 0..n {
        if !world.is_running(node) {
            world.start(node);
        }
    }
    let whole = |world: &World| (0..n).all(|node| world.super_peer(node).unwrap().index().records() == 2);
    assert!(world.run_until(120 * SEC, whole), "every peer is registered again");
    world.run_for(10 * SEC);
    for node in 0..n {
        for policy in POLICIES {
            let find = Search { limit: (policy == Policy::Ring).then_some(500), ..search("common") };
            let watch = Watch::ask(world, n + node, &find, Scope { ttl: Some(7), budget: None, policy: Some(policy) });
            assert!(world.finish(watch.client, 3 * SEC), "a query ends within its budget");
            let verdict = watch.judge(world).expect("the session lasted");
            assert!(verdict.complete && verdict.hits.len() == n, "healed, and yet {policy:?} {verdict:?}");
            report.add(Some(&verdict));
        }
    }
}

/// Changes the network while queries are under way.
fn meddle(world: &mut World, swarm: &mut Random, n: usize) {
    for _ in 0..swarm.index(4) {
        let pause = swarm.time(Duration::ZERO, 4 * MS);
        world.run_for(pause);
        let victim = swarm.index(n);
        match swarm.below(100) {
            0..25 => {
                let content = world.content(5);
                world.share(n + victim, "common extra", content);
            }
            25..50 => drop(world.unshare(n + victim, "common extra")),
            50..60 => world.cut_connections(n + victim),
            60..70 if world.is_running(victim) => world.crash(victim),
            _ => {}
        }
    }
}

fn start_query(world: &mut World, swarm: &mut Random, n: usize) -> Option<Watch> {
    let weak = n + swarm.index(n);
    let pattern = if swarm.chance(700) { "common".to_owned() } else { format!("file{}", swarm.index(n)) };
    let ttl = u8::try_from(swarm.below(8)).unwrap();
    let budget = 100 + u32::try_from(swarm.below(3000)).unwrap();
    let supers = world.supers_of(weak);
    supers.first().filter(|host| world.is_running(**host))?;
    let policy = POLICIES[swarm.index(POLICIES.len())];
    // Rings grow only if the search has a limit. This limit is never reached.
    let find = Search { limit: (policy == Policy::Ring).then_some(500), ..search(&pattern) };
    Some(Watch::ask(world, weak, &find, Scope { ttl: Some(ttl), budget: Some(budget), policy: Some(policy) }))
}

#[test]
fn no_answer_calls_itself_complete_wrongly() {
    let report = campaign("search", "no_answer_calls_itself_complete_wrongly", 300, run);
    report.require(&["lose", "double", "hold_back", "damage", "sever", "reset"]);
    let did = report.crashes > 10 && report.incomplete > 100 && report.complete > 1000;
    assert!(did || replaying(), "{report:?}");
}

#[test]
fn with_loss_alone_nearly_everything_is_found() {
    let report = campaign("search", "with_loss_alone_nearly_everything_is_found", 100, |seed| {
        let mut swarm = Random::new(seed).child("loss", 0);
        let n = 3 + swarm.index(5);
        let edges = topology::random(n, 2, &mut swarm);
        let mut world = network(seed, n, &edges);
        world.set_faults(vec![Box::new(Lose(100 + u32::try_from(swarm.below(201)).unwrap()))]);
        let mut report = Report::default();
        for node in 0..n {
            let weak = peer(&world, node);
            let watch =
                Watch::ask(&mut world, weak, &search("common"), Scope { budget: Some(10_000), ..Scope::default() });
            assert!(world.finish(watch.client, 11 * SEC), "a query ends");
            report.add(watch.judge(&world).as_ref());
        }
        report.end(&world);
        report
    });
    report.require(&["lose"]);
    // Keep-alives are lost too, so a link may be wrongly considered down now and then. The answer
    // then says that it is not complete.
    assert!(report.found * 100 >= (report.found + report.missing) * 97, "{report:?}");
    assert!(report.complete * 100 >= (report.complete + report.incomplete) * 90, "{report:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let traces: Vec<u64> = [7, 7, 8].map(|seed| run(seed).trace).to_vec();
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[test]
fn a_status_reports_the_super_peer() {
    let mut world = network(9, 2, &topology::line(2));
    let weak = peer(&world, 0);
    let client = world.ask(weak, Command::Status);
    assert!(world.finish(client, SEC));
    assert!(world.asked(client).outcome().unwrap().ok);
}

#[test]
fn a_thousand_super_peers_answer_one_query() {
    let n = 1000;
    let mut world = World::new(10);
    world.add_supers(n, &topology::random(n, n, &mut Random::new(10)));
    let (asker, far) = (world.add_weak(&[0]), world.add_weak(&[n - 1]));
    let content = world.content(10);
    world.share(far, "needle", content);
    world.start(asker);
    world.start(far);
    world.run_for(500 * MS);
    let watch =
        Watch::ask(&mut world, asker, &search("needle"), Scope { ttl: Some(64), budget: Some(10_000), policy: None });
    assert!(world.finish(watch.client, 11 * SEC));
    let verdict = watch.judge(&world).unwrap();
    assert!(verdict.complete && verdict.reached == 1000 && verdict.hits.len() == 1, "{verdict:?}");
}

#[test]
fn every_consumer_has_its_own_numbers() {
    let random = Random::new(1);
    assert_ne!(random.child("net", 0).next_u64(), random.child("swarm", 0).next_u64());
}
