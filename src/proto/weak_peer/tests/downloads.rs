//! Downloads: how sources share the work, and how they are lost and found.

use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::{Manner, World, addr, report};
use crate::config::{NO_SOURCE_MAX, PIECE_BYTES, SEQUENTIAL_PIECES, SOURCE_RATE_MIN};
use crate::proto::command::Get;
use crate::proto::event::SourceState;
use crate::proto::{ClientEvent, ClientId, Command, Input, Output, PieceOrder, Verify};
use crate::time::Time;
use crate::wire::HostPort;

const MIB: u64 = PIECE_BYTES;
const FAST: u64 = 50 * MIB;
const SLOW: u64 = MIB;

/// Checks that the content is published, byte for byte, and that nothing is left over.
pub(super) fn assert_published(world: &mut World) {
    assert!(world.published.as_ref() == Some(&world.content.bytes), "the published bytes differ");
    world.assert_no_leak();
}

pub(super) fn each_piece_once(world: &World) -> Vec<u64> {
    (0..world.content.size().div_ceil(MIB)).map(|piece| piece * MIB).collect()
}

#[test]
fn four_equal_sources_share_the_work_and_fetch_nothing_twice() {
    let mut world = World::new(1, 12 * MIB + 1);
    for _ in 0..4 {
        world.source(Manner::Honest, SLOW);
    }
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(world.served(), each_piece_once(&world));
    for index in 0..4 {
        assert!(report(&outcome, index).pieces >= 2, "source {index} was left idle");
    }
    let received: u64 = outcome.sources.unwrap().iter().map(|source| source.bytes).sum();
    assert_eq!(received, 12 * MIB + 1);
    assert_published(&mut world);
}

#[test]
fn fast_equal_sources_fetch_nothing_twice_either() {
    let mut world = World::new(1, 12 * MIB + 1);
    for _ in 0..3 {
        world.source(Manner::Honest, FAST * 4);
    }
    assert!(world.get().outcome().ok);
    assert_eq!(world.served(), each_piece_once(&world));
    assert_published(&mut world);
}

#[test]
fn pieces_come_in_order_if_that_is_asked_for_whatever_a_slow_source_holds() {
    let mut world = World::new(1, 24 * MIB);
    world.source(Manner::Honest, 20 * 1024).source(Manner::Honest, SLOW);
    let get = Get { order: PieceOrder::Sequential, ..Get::of(world.content.root.to_string()) };
    assert!(world.command(Command::Get(get)).outcome().ok);
    let mut verified = [false; 24];
    for event in world.client_events() {
        if let ClientEvent::Piece { index, .. } = event {
            let index = usize::try_from(index).unwrap();
            let first = verified.iter().position(|it| !it).unwrap();
            assert!(index < first + SEQUENTIAL_PIECES || index == 23, "{index} before {first}");
            verified[index] = true;
        }
    }
    assert_published(&mut world);
}

#[test]
fn a_source_is_not_slow_because_of_our_own_limit() {
    for (limit, stalls) in [(0, true), (SOURCE_RATE_MIN, false)] {
        let mut world = World::new(1, MIB + 5);
        world.source(Manner::Honest, SOURCE_RATE_MIN / 2);
        let command = Command::Limit { upload: None, download: Some(limit) };
        world.input(Input::Command { client: ClientId(9), command });
        assert!(world.get().outcome().ok);
        let stalled =
            |event: &&ClientEvent| matches!(event, ClientEvent::Source(source) if source.state == SourceState::Stalled);
        assert_eq!(world.client_events().iter().any(|event| stalled(&event)), stalls, "a limit of {limit}");
        let set = world.outputs.iter().filter(|output| matches!(output, Output::Limit(_))).count();
        assert_eq!(set, usize::from(limit > 0), "a limit that is there already is not set again");
        world.outputs.clear();
        assert_published(&mut world);
    }
}

#[test]
fn the_faster_source_does_more() {
    let mut world = World::new(1, 12 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::Honest, 4 * SLOW);
    let outcome = world.get().outcome();
    assert!(report(&outcome, 1).pieces >= 2 * report(&outcome, 0).pieces, "{outcome:?}");
    assert_published(&mut world);
}

#[test]
fn every_size_around_a_piece_is_downloaded() {
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1] {
        let mut world = World::new(1, size);
        world.source(Manner::Honest, FAST).source(Manner::Honest, FAST);
        let outcome = world.get().outcome();
        assert!(outcome.ok, "{size}: {outcome:?}");
        assert_eq!((outcome.bytes, outcome.root), (Some(size), Some(world.content.root)));
        assert_eq!(world.served(), each_piece_once(&world), "{size}");
        let manifests: u32 = world.sources.iter().map(|(_, source)| source.manifests).sum();
        assert_eq!(manifests > 0, size > MIB, "{size}");
        assert_published(&mut world);
    }
}

#[test]
fn manifest_and_last_piece_come_first_from_one_source() {
    let mut world = World::new(1, 5 * MIB + 1);
    world.source(Manner::Honest, SLOW).source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.stored.is_some());
    assert_eq!(world.served(), [5 * MIB]);
    assert_eq!(world.stored.as_ref(), Some(&world.content.cvs));
    let asked: Vec<_> = world.sources.iter().map(|(_, source)| (source.manifests, source.served.len())).collect();
    assert_eq!(asked, [(1, 1), (0, 0)]);
    assert!(world.outcome().ok);
}

#[test]
fn a_killed_source_costs_only_the_pieces_in_flight() {
    let mut world = World::new(1, 12 * MIB);
    for _ in 0..3 {
        world.source(Manner::Honest, SLOW);
    }
    world.get().run_until(|world| world.written.len() >= 5 && world.sources[1].1.served.len() >= 2);
    world.run_for(Duration::from_millis(200));
    let in_flight: BTreeSet<_> = world.sources[1].1.gets.iter().copied().collect();
    let done: BTreeSet<_> = world.written.keys().map(|piece| u64::from(*piece) * MIB).collect();
    let lost = in_flight.difference(&done).count();
    assert!(lost > 0, "nothing was in flight");
    world.kill_source(1);
    let outcome = world.outcome();
    assert!(outcome.ok);
    assert_eq!(report(&outcome, 1).state, SourceState::Lost);
    let twice = world.served().len() - 12;
    assert!(twice <= lost, "{twice} pieces were fetched twice where {lost} were in flight");
    assert_published(&mut world);
}

#[test]
fn a_source_that_comes_back_is_used_again() {
    let mut world = World::new(1, 30 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.sources[1].1.served.len() >= 2);
    world.kill_source(1);
    world.run_for(Duration::from_secs(2));
    let before = world.sources[1].1.served.len();
    world.sources[1].1.alive = true;
    let outcome = world.outcome();
    assert!(outcome.ok);
    assert_eq!(report(&outcome, 1).state, SourceState::Active);
    assert!(world.sources[1].1.served.len() > before + 2);
    assert_published(&mut world);
}

#[test]
fn a_stalled_source_is_stolen_from() {
    let mut world = World::new(1, 8 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::StallsAfter(1), SLOW);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert_eq!(report(&outcome, 1).pieces, 1);
    let stalled =
        |event: &ClientEvent| matches!(event, ClientEvent::Source(report) if report.state == SourceState::Stalled);
    assert!(world.client_events().iter().any(stalled));
    assert_published(&mut world);
}

#[test]
fn a_prover_that_stalls_is_replaced() {
    let mut first = 0;
    for seed in 1..=4 {
        let mut world = World::seeded(1, 4 * MIB, seed);
        world.source(Manner::StallsAfter(0), SLOW).source(Manner::Honest, SLOW);
        let start = world.now;
        assert!(world.get().outcome().ok);
        assert!(world.now.since(start) < Duration::from_secs(10));
        assert_eq!(world.sources[1].1.manifests, 1);
        assert_published(&mut world);
        first += u32::from(world.asked_first == Some(0));
    }
    assert!(first > 0, "the one that stalls was never asked first");
}

#[test]
fn the_last_piece_is_taken_from_a_much_slower_source() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Honest, 10 * SLOW).source(Manner::Honest, SLOW / 60);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert!(outcome.elapsed_ms.unwrap() < 10_000, "{outcome:?}");
    assert!(world.served().len() <= 7);
    assert_published(&mut world);
}

#[test]
fn sources_that_are_not_there_end_in_exit_5() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST);
    world.sources[0].1.alive = false;
    let start = world.now;
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 5);
    assert!(outcome.error.unwrap().contains("refused"));
    assert!(world.now.since(start) >= NO_SOURCE_MAX);
    assert_eq!(world.sources[0].1.dials, 2, "an address that never welcomed is dialed twice in ten minutes");
    let left = |event: &ClientEvent| match event {
        ClientEvent::Progress { gives_up_ms, .. } => *gives_up_ms,
        _ => None,
    };
    let countdown: Vec<u64> = world.client_events().iter().filter_map(left).collect();
    let whole = u64::try_from(NO_SOURCE_MAX.as_millis()).unwrap();
    assert!(countdown.len() > 50 && countdown[0] <= whole && countdown.is_sorted_by(|a, b| a > b), "{countdown:?}");
}

#[test]
fn a_busy_source_is_tried_again_later() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Busy, FAST);
    world.get().run_until(|world| world.sources[0].1.dials == 3);
    world.sources[0].1.manner = Manner::Honest;
    assert!(world.outcome().ok);
}

#[test]
fn only_the_named_source_is_used() {
    let mut world = World::new(1, 5 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::Honest, SLOW);
    let outcome = world.get_with(Verify::Both, Some(addr(101))).outcome();
    assert!(outcome.ok);
    assert_eq!((world.sources[0].1.dials, report(&outcome, 1).pieces), (0, 5));
}

#[test]
fn a_download_that_lost_its_source_finds_a_new_one() {
    let mut world = World::new(1, 9 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() >= 3);
    world.source(Manner::Honest, FAST);
    world.kill_source(0);
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(report(&outcome, 1).pieces > 0);
    assert_published(&mut world);
}

#[test]
fn a_running_download_needs_no_super_peer() {
    let mut world = World::new(1, 9 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() >= 2);
    world.kill_super(0);
    assert!(world.outcome().ok);
    assert_published(&mut world);
}

#[test]
fn our_own_address_is_no_source_where_there_is_another() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST);
    let mut own = world.supers[0].1.hits[0].clone();
    own.addr = HostPort::new("192.0.2.50", 4778).unwrap();
    world.supers[0].1.hits.insert(0, own);
    let outcome = world.get().outcome();
    let sources = outcome.sources.unwrap();
    assert!(outcome.ok && sources.len() == 1, "{sources:?}");
}

#[test]
fn one_seed_makes_one_run() {
    let run = || {
        let mut world = World::new(1, 8 * MIB);
        world.source(Manner::Honest, SLOW).source(Manner::Lies, FAST).source(Manner::StallsAfter(2), FAST);
        world.get().outcome();
        (format!("{:?}", world.events), format!("{:?}", world.disk))
    };
    assert_eq!(run(), run());
}

/// It sends more than the least rate, so it does not stall.
#[test]
fn a_fast_source_that_becomes_slow_delays_a_download_by_little() {
    let mut world = World::new(1, 48 * PIECE_BYTES);
    world.source(Manner::Honest, 64 * PIECE_BYTES).source(Manner::Honest, 64 * PIECE_BYTES);
    world.get().run_until(|world| world.sources[0].1.served.len() > 2);
    world.sources[0].1.rate = 20 << 10;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < Duration::from_secs(4), "{:?}", world.now);
}
