//! Requests of clients in a simulated network: lists that are longer than any limit of one answer,
//! and peers with two super peers at once.

use std::collections::BTreeMap;

use crate::common::{MS, Report, SEC, campaign, replaying};
use sprat::config::PIECE_BYTES;
use sprat::proto::event::Outcome;
use sprat::proto::{ClientEvent, Command, Entropy, Scope};
use sprat::sim::fault::{Fault, Lose};
use sprat::sim::{World, builders, topology};
use sprat::wire::Root;

const LIST: Command = Command::Network { scope: Scope { ttl: None, budget: None, policy: None } };

/// Three super peers in a ring. Each has a peer that shares `own` files of its own, and `common`
/// files that all of these peers share.
fn library(seed: u64, own: usize, common: usize) -> World {
    let mut world = World::new(seed);
    world.add_supers(3, &topology::ring(3));
    let shared: Vec<_> = (0..common).map(|_| world.content(20)).collect();
    for node in 0..3 {
        let weak = world.add_weak(&[node]);
        for n in 0..own {
            let content = world.content(30);
            world.share(weak, &format!("own/{node} {n}"), content);
        }
        for (n, content) in shared.iter().enumerate() {
            world.share(weak, &format!("by {node} common {n}"), *content);
        }
        world.start(weak);
    }
    let all = |world: &World| (0..3).all(|node| world.super_peer(node).unwrap().index().records() == own + common);
    assert!(world.run_until(30 * SEC, all), "every peer registers");
    world.run_for(SEC);
    world
}

/// Lists the network from the peer of super peer 0. Returns each content with its sources, in the
/// order of the list, and the end.
fn list(world: &mut World) -> (Vec<(Root, u32, Vec<String>)>, Outcome) {
    let client = world.ask(3, LIST);
    assert!(world.finish(client, 600 * SEC), "a list ends");
    let asked = world.asked(client);
    let contents = asked.events.iter().filter_map(|(_, event)| {
        let ClientEvent::Content { root, sources, names, .. } = event else { return None };
        Some((*root, *sources, names.clone()))
    });
    (contents.collect(), asked.outcome().expect("it is over").clone())
}

/// What all peers share: for each root the number of peers.
fn shared(world: &World) -> BTreeMap<Root, u32> {
    let mut all = BTreeMap::new();
    for record in (3..6).flat_map(|weak| world.shared(weak)) {
        *all.entry(record.root).or_default() += 1;
    }
    all
}

#[test]
fn a_network_of_more_than_five_thousand_files_is_listed_completely() {
    let mut world = library(1, 1800, 40);
    let (contents, outcome) = list(&mut world);
    let listed: BTreeMap<Root, u32> = contents.iter().map(|(root, sources, _)| (*root, *sources)).collect();
    assert_eq!(contents.len(), 5440, "each content once");
    assert!(contents.is_sorted_by_key(|(root, ..)| *root), "in the order of roots");
    assert_eq!(listed, shared(&world));
    let names = contents.iter().find(|(_, sources, _)| *sources == 3).map(|(.., names)| names.len());
    assert_eq!(names, Some(3), "each calls it something else");
    assert_eq!((outcome.complete, outcome.reached, outcome.ok), (Some(true), Some(3), true));
    assert_eq!((outcome.files, outcome.hits), (Some(5440), Some(5520)));
}

#[test]
fn a_complete_list_lacks_nothing_under_loss() {
    let all = campaign("clients", "a_complete_list_lacks_nothing_under_loss", 12, |seed| {
        let mut report = Report::default();
        let mut world = library(seed, 400, 10);
        let loss = 50 * u32::try_from(seed % 5).unwrap();
        world.set_faults(vec![Box::new(Lose(loss)) as Box<dyn Fault>]);
        let (contents, outcome) = list(&mut world);
        let listed: BTreeMap<Root, u32> = contents.iter().map(|(root, sources, _)| (*root, *sources)).collect();
        assert_eq!(listed.len(), contents.len(), "none is listed twice");
        let shared = shared(&world);
        if outcome.complete == Some(true) {
            report.complete += 1;
            assert_eq!(listed, shared);
        } else {
            report.incomplete += 1;
            assert!(!outcome.cut.expect("why").is_none());
            assert!(listed.iter().all(|(root, sources)| shared.get(root).is_some_and(|all| sources <= all)));
        }
        report.end(&world);
        report
    });
    assert!(all.complete > 1 || replaying(), "the run did something: {all:?}");
    all.require(&["lose"]);
}

#[test]
fn a_list_goes_on_at_the_next_super_peer() {
    let mut world = World::new(5);
    world.add_supers(2, &topology::line(2));
    let weak = world.add_weak(&[0, 1]);
    let far = world.add_weak(&[1]);
    for n in 0..1500 {
        let content = world.content(30);
        world.share(far, &format!("file {n}"), content);
    }
    world.start(far);
    world.start(weak);
    let ready =
        |world: &World| world.super_peer(1).unwrap().index().records() == 1500 && !world.supers_of(weak).is_empty();
    assert!(world.run_until(30 * SEC, ready));
    world.run_for(SEC);
    let client = world.ask(weak, LIST);
    let begun = |world: &World| world.asked(client).events.len() > 100;
    assert!(world.run_until(10 * SEC, begun), "some is reported");
    world.crash(0);
    assert!(world.finish(client, 60 * SEC));
    let listed: Vec<_> = world
        .asked(client)
        .events
        .iter()
        .filter_map(|(_, event)| {
            let ClientEvent::Content { root, .. } = event else { return None };
            Some(*root)
        })
        .collect();
    assert_eq!(listed.len(), 1500);
    assert!(listed.is_sorted(), "none is listed twice");
}

// ---- two super peers at once --------------------------------------------------------------------

fn search(pattern: &str) -> Command {
    Command::Query { search: builders::search(pattern), scope: Scope::default() }
}

fn hits(world: &mut World, weak: usize, pattern: &str) -> (usize, Outcome) {
    let client = world.ask(weak, search(pattern));
    assert!(world.finish(client, 10 * SEC), "a query ends");
    let asked = world.asked(client);
    let hits = asked.events.iter().filter(|(_, event)| matches!(event, ClientEvent::Hit { .. })).count();
    (hits, asked.outcome().expect("it is over").clone())
}

/// Three super peers in a line. One peer has sessions with two of them and shares `doubled`. A peer
/// of the last one shares `far`.
fn pair(seed: u64) -> (World, usize) {
    let mut world = World::new(seed);
    world.add_supers(3, &topology::line(3));
    let both = world.add_weak_with(&[0, 1, 2], 2);
    let far = world.add_weak(&[2]);
    let content = world.content(2_500_000);
    world.share(both, "doubled", content);
    world.share(far, "far", content);
    world.start(both);
    world.start(far);
    let ready = |world: &World| (0..3).all(|node| world.super_peer(node).unwrap().index().records() == 1);
    assert!(world.run_until(10 * SEC, ready), "registered at both, and the other at its own");
    world.run_for(SEC);
    (world, both)
}

#[test]
fn a_peer_at_two_super_peers_is_found_once() {
    let (mut world, both) = pair(1);
    let mut supers = world.supers_of(both);
    supers.sort_unstable();
    assert_eq!(supers, [0, 1]);
    let (found, outcome) = hits(&mut world, both, "far");
    assert_eq!((found, outcome.complete, outcome.reached), (1, Some(true), Some(3)), "once, though two waves found it");
    // An UPDATE goes to both super peers.
    let content = world.content(9);
    world.share(both, "later", content);
    let listed = |world: &World| (0..2).all(|node| world.super_peer(node).unwrap().index().records() == 2);
    assert!(world.run_until(10 * SEC, listed));
    assert!(world.unshare(both, "doubled"));
    let listed = |world: &World| (0..2).all(|node| world.super_peer(node).unwrap().index().records() == 1);
    assert!(world.run_until(10 * SEC, listed));
}

#[test]
fn a_lost_super_peer_is_replaced_and_until_then_no_answer_is_complete() {
    let (mut world, both) = pair(2);
    world.crash(1);
    let replaced = |world: &World| {
        let supers = world.supers_of(both);
        supers.len() == 2 && supers.contains(&0) && supers.contains(&2)
    };
    assert!(world.run_until(30 * SEC, replaced), "{:?}", world.supers_of(both));
    world.run_for(10 * SEC);
    let (found, outcome) = hits(&mut world, both, "far");
    // The line is broken between 0 and 2, so one of the two searches did not get far. The other
    // super peer reports what there is.
    assert_eq!((found, outcome.complete), (1, Some(false)));
    world.crash(2);
    let alone = |world: &World| world.supers_of(both) == [0];
    assert!(world.run_until(30 * SEC, alone));
    let (found, outcome) = hits(&mut world, both, "doubled");
    assert_eq!((found, outcome.complete), (1, Some(false)));
    assert!(outcome.cut.unwrap().down > 0, "{outcome:?}");
    world.start(1);
    let back = |world: &World| world.supers_of(both).len() == 2;
    assert!(world.run_until(120 * SEC, back));
}

#[test]
fn a_query_survives_one_of_its_two_super_peers() {
    let all = campaign("clients", "a_query_survives_one_of_its_two_super_peers", 20, |seed| {
        let mut report = Report::default();
        let (mut world, both) = pair(seed);
        let mut random = sprat::sim::Random::new(seed);
        let client = world.ask(both, search("far"));
        world.run_for(MS / 20 * u32::try_from(random.next_u64() % 60).unwrap());
        world.crash(usize::try_from(random.next_u64() % 2).unwrap());
        assert!(world.finish(client, 10 * SEC));
        let asked = world.asked(client);
        let listed = asked.events.iter().filter(|(_, event)| matches!(event, ClientEvent::Hit { .. })).count();
        assert!(listed <= 1, "none twice");
        let outcome = asked.outcome().unwrap();
        assert!(outcome.complete != Some(true) || listed == 1, "{outcome:?}");
        let complete = outcome.complete == Some(true);
        *(if complete { &mut report.complete } else { &mut report.incomplete }) += 1;
        report.end(&world);
        report
    });
    assert!(all.incomplete > 3 || replaying(), "few lost a super peer in the middle: {all:?}");
}

#[test]
fn a_download_finds_more_sources_through_either() {
    let (mut world, both) = pair(3);
    let getter = world.add_weak_with(&[0, 1], 2);
    world.start(getter);
    assert!(world.run_until(10 * SEC, |world| world.supers_of(getter).len() == 2));
    let get = sprat::sim::builders::get_of("doubled");
    let client = world.ask(getter, Command::Get(get));
    let begun = |world: &World| world.asked(client).events.iter().any(|(_, e)| matches!(e, ClientEvent::Start { .. }));
    assert!(world.run_until(10 * SEC, begun));
    // The source of the download is lost, and one of its super peers too. The other super peer
    // still finds who else has the content.
    world.crash(both);
    world.crash(0);
    assert!(world.finish(client, 60 * SEC));
    let outcome = world.asked(client).outcome().unwrap();
    assert!(outcome.ok, "{outcome:?}");
}

#[test]
fn two_names_of_one_super_peer_are_one() {
    let mut world = World::new(9);
    world.add_supers(1, &[]);
    let weak = world.add_weak_with(&[0, 0], 2);
    world.start(weak);
    world.run_for(20 * SEC);
    assert_eq!(world.supers_of(weak), [0]);
}

/// Lists the files of a peer's own super peer. Returns the events and the end.
fn list_here(world: &mut World, weak: usize) -> (Vec<ClientEvent>, Outcome) {
    let client = world.ask(weak, Command::List { partial: false });
    assert!(world.finish(client, 120 * SEC), "a list ends");
    let asked = world.asked(client);
    (asked.events.iter().map(|(_, event)| event.clone()).collect(), asked.outcome().expect("it is over").clone())
}

#[test]
fn four_peers_serve_a_fifth_which_then_serves_too() {
    let mut world = World::new(4);
    world.add_supers(1, &[]);
    let size = usize::try_from(9 * PIECE_BYTES + 1).unwrap();
    let content = world.content(size);
    let peers: Vec<usize> = (0..5).map(|_| world.add_weak(&[0])).collect();
    for &peer in &peers[1..] {
        world.share(peer, "music/blue train.flac", content);
    }
    peers.iter().for_each(|peer| world.start(*peer));
    world.run_for(SEC);
    let client = world.ask(peers[0], builders::get("blue train.flac"));
    assert!(world.finish(client, 120 * SEC));
    let outcome = world.asked(client).outcome().unwrap();
    assert!(outcome.ok, "{outcome:?}");
    let sources = outcome.sources.as_ref().unwrap();
    assert_eq!(sources.len(), 4);
    assert_eq!(sources.iter().map(|source| source.pieces).sum::<u32>(), 10);
    assert!(sources.iter().filter(|source| source.pieces > 0).count() >= 3, "{sources:?}");
    let root = world.contents().root(content);
    assert!(world.shared(peers[0]).iter().any(|record| record.root == root && record.size == size as u64));
    world.run_for(SEC);
    let (events, listed) = list_here(&mut world, peers[3]);
    assert!(listed.ok);
    let holders = events
        .iter()
        .filter_map(|event| if let ClientEvent::File { holders, .. } = event { Some(*holders) } else { None });
    assert_eq!(holders.sum::<u32>(), 5);
    let client = world.ask(peers[0], builders::get("no such thing"));
    assert!(world.finish(client, 120 * SEC));
    assert_eq!(world.asked(client).outcome().unwrap().exit, 3);
}

#[test]
fn a_hundred_peers_are_found_through_the_second_super_peer() {
    let mut world = World::new(5);
    world.add_supers(2, &[]);
    let peers: Vec<usize> = (0..100).map(|_| world.add_weak(&[0, 1])).collect();
    for &peer in &peers {
        let content = world.content(10);
        world.share(peer, &format!("file-{peer}.txt"), content);
        world.start(peer);
    }
    world.run_for(30 * SEC);
    world.crash(0);
    world.run_for(10 * SEC);
    let (events, listed) = list_here(&mut world, peers[0]);
    assert_eq!((listed.ok, listed.files), (true, Some(100)), "{events:?}");
}

#[test]
fn a_long_list_is_complete() {
    let mut world = World::new(6);
    world.add_supers(1, &[]);
    let peer = world.add_weak(&[0]);
    let path = |n: u64| format!("{n:06}-{}.bin", "x".repeat(80));
    for n in 0..5000 {
        let content = world.content(20);
        world.share(peer, &path(n), content);
    }
    world.start(peer);
    world.run_for(2 * SEC);
    for n in 0..2000 {
        assert!(world.unshare(peer, &path(n)));
    }
    world.run_for(4 * SEC);
    let (_, listed) = list_here(&mut world, peer);
    assert_eq!((listed.ok, listed.files), (true, Some(3000)));
}
