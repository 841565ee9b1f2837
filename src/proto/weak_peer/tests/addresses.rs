//! Sources with several addresses: which is dialed, and when.

use std::time::Duration;

use super::harness::{Manner, World, addr};
use crate::config::{DIAL_HEDGE, PIECE_BYTES, SOURCE_RATE_MIN, STALL_AFTER};
use crate::time::Time;
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, NodeId};

const MIB: u64 = PIECE_BYTES;
const FAST: u64 = 50 * MIB;
const SLOW: u64 = MIB;

/// A world with honest sources at ports 100, 101, … and no hit yet.
fn world(sources: usize, size: u64) -> World {
    let mut world = World::new(1, size);
    (0..sources).for_each(|_| _ = world.source(Manner::Honest, SLOW));
    world.supers[0].1.hits.clear();
    world
}

fn nowhere() -> HostPort {
    "[2001:db8::1]:100".parse().unwrap()
}

#[test]
fn the_second_address_is_dialed_as_soon_as_the_first_fails() {
    let mut world = world(1, 2 * MIB);
    let hit = SourceRecord { addr: nowhere(), other: Some(addr(100)), ..world.record("f", 100) };
    world.hit(hit);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!((world.dialed[&nowhere()], world.dialed[&addr(100)]), (1, 1));
    let sources = outcome.sources.unwrap();
    assert_eq!(sources.len(), 1, "it is one source: {sources:?}");
    world.assert_no_leak();
}

#[test]
fn an_address_that_does_not_answer_gives_way_to_the_other_one_soon() {
    let mut world = World::new(1, 2 * MIB);
    world.source(Manner::Nowhere, FAST).source(Manner::Honest, FAST);
    world.supers[0].1.hits.clear();
    let hit = SourceRecord { other: Some(addr(101)), ..world.record("f", 100) };
    world.hit(hit);
    assert!(world.get().outcome().ok);
    assert!(world.now < Time::ZERO + 2 * DIAL_HEDGE, "{:?}", world.now);
}

#[test]
fn a_slow_first_address_is_dialed_again_without_haste() {
    let mut world = World::new(1, 2 * MIB);
    world.source(Manner::Late, FAST);
    world.supers[0].1.hits.clear();
    let hit = SourceRecord { other: Some(nowhere()), ..world.record("f", 100) };
    world.hit(hit);
    assert!(world.get().outcome().ok);
}

#[test]
fn sources_that_their_super_peer_has_not_reached_come_last() {
    for seed in 0..20 {
        let mut world = World::seeded(1, 100, seed);
        world.source(Manner::Honest, FAST).source(Manner::Honest, FAST);
        world.supers[0].1.hits[0].unreached = true;
        assert!(world.get().outcome().ok);
        assert_eq!(world.asked_first, Some(1), "seed {seed}");
    }
    let mut alone = World::new(1, 100);
    alone.source(Manner::Honest, FAST);
    alone.supers[0].1.hits[0].unreached = true;
    assert!(alone.get().outcome().ok, "it is dialed all the same");
}

#[test]
fn one_peer_at_two_addresses_is_used_once() {
    let mut world = world(2, 6 * MIB);
    let again: HostPort = "192.0.2.10:100".parse().unwrap();
    world.sources[1].0 = again.clone();
    for at in [addr(100), again] {
        let hit = SourceRecord { addr: at, node: Some(NodeId([2; 16])), ..world.record("f", 100) };
        world.hit(hit);
    }
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    let used = world.sources.iter().filter(|(_, source)| !source.served.is_empty()).count();
    assert_eq!(used, 1, "{outcome:?}");
}

/// A world with one fast honest source, and with others that claim to be the same peer. Each is at
/// a host of its own.
fn claimed(claimants: &[(Manner, u64)], size: u64, seed: u64) -> World {
    let mut world = World::seeded(1, size, seed);
    world.source(Manner::Honest, FAST);
    claimants.iter().for_each(|(manner, rate)| _ = world.source(*manner, *rate));
    world.supers[0].1.hits.clear();
    for (n, (at, _)) in world.sources.iter_mut().enumerate() {
        *at = format!("192.0.2.{}:100", 20 + n).parse().unwrap();
    }
    let at: Vec<HostPort> = world.sources.iter().map(|(at, _)| at.clone()).collect();
    for addr in at {
        let hit = SourceRecord { addr, node: Some(NodeId([2; 16])), ..world.record("f", 100) };
        world.hit(hit);
    }
    world
}

#[test]
fn many_that_claim_to_be_an_honest_peer_keep_it_out_for_a_moment() {
    for manner in [Manner::StallsAfter(0), Manner::Empty, Manner::Unheard] {
        for seed in 0..10 {
            let mut world = claimed(&[(manner, FAST); 12], 8 * MIB, seed);
            let outcome = world.get().outcome();
            assert!(outcome.ok, "{outcome:?}");
            assert!(world.now < Time::ZERO + 5 * STALL_AFTER, "{manner:?}, seed {seed}: {:?}", world.now);
        }
    }
}

#[test]
fn a_slow_one_that_claims_to_be_a_fast_peer_does_not_keep_it_out() {
    for seed in 0..10 {
        let mut world = claimed(&[(Manner::Honest, 4 * SOURCE_RATE_MIN)], 16 * MIB, seed);
        let outcome = world.get().outcome();
        assert!(outcome.ok, "{outcome:?}");
        let alone = Duration::from_secs(16 * MIB / (4 * SOURCE_RATE_MIN));
        assert!(world.now < Time::ZERO + alone / 4, "seed {seed}: {:?}", world.now);
    }
}

#[test]
fn nobody_dials_itself_at_any_address() {
    let mut world = world(1, 100);
    let own = SourceRecord { addr: "198.51.100.1:4778".parse().unwrap(), ..world.record("f", 100) };
    let own = SourceRecord { node: Some(NodeId([1; 16])), ..own };
    world.hit(own.clone());
    let other = world.record("f", 100);
    world.hit(other);
    assert!(world.get().outcome().ok);
    assert!(!world.dialed.contains_key(&own.addr));
}

#[test]
fn a_hit_that_names_the_address_of_another_source_does_not_keep_it_out() {
    let mut world = World::new(1, 4 * MIB);
    world.source(Manner::Silent, FAST).source(Manner::Honest, FAST);
    world.supers[0].1.hits.clear();
    let node = Some(NodeId([7; 16]));
    let thief = SourceRecord { other: Some(addr(101)), node, ..world.record("f", 100) };
    let honest = SourceRecord { node, ..world.record("f", 101) };
    world.hit(thief);
    world.hit(honest);
    assert!(world.get().outcome().ok);
}
