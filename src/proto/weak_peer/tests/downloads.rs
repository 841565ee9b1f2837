//! Downloads: many sources, bad sources, resuming, sizes, ends.

use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::{Manner, World, addr, report};
use crate::config::{
    DOWNLOAD_TIMEOUT, DOWNLOADS_MAX, NO_SOURCE_MAX, PIECE_BYTES, SEQUENTIAL_PIECES, SOURCE_RATE_MIN, WRITES_PENDING_MAX,
};
use crate::proto::command::{Get, KnownContent};
use crate::proto::disk::{Destination, DiskWork};
use crate::proto::event::SourceState;
use crate::proto::{ClientEvent, ClientId, Command, Event, Input, Output, PieceOrder, Verify};
use crate::time::Time;
use crate::wire::{HostPort, Root};

const MIB: u64 = PIECE_BYTES;
const FAST: u64 = 50 * MIB;
const SLOW: u64 = MIB;

/// Checks that the content is published, byte for byte, and that nothing is left over.
fn assert_published(world: &mut World) {
    assert!(world.published.as_ref() == Some(&world.content.bytes), "the published bytes differ");
    world.assert_no_leak();
}

fn each_piece_once(world: &World) -> Vec<u64> {
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
fn a_source_that_lies_is_dropped_at_once_and_named() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Honest, SLOW).source(Manner::Lies, SLOW).source(Manner::Honest, SLOW);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    let liar = report(&outcome, 1);
    assert_eq!((liar.state, liar.bad, liar.pieces), (SourceState::Dropped, 1, 0));
    assert!(liar.why.unwrap().contains("wrong bytes"));
    let named = |event: &ClientEvent| matches!(event, ClientEvent::Source(report) if report.source == addr(101) && report.state == SourceState::Dropped);
    assert_eq!(world.client_events().iter().filter(|event| named(event)).count(), 1);
    assert_eq!(world.sources[1].1.dials, 1);
    assert_published(&mut world);
}

#[test]
fn a_liar_that_is_asked_for_the_proof_is_dropped_alone() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Lies, FAST).source(Manner::Honest, SLOW).source(Manner::Honest, SLOW);
    (1..3).for_each(|honest| world.sources[honest].1.alive = false);
    world.get().run_until(|world| !world.sources[0].1.served.is_empty());
    (1..3).for_each(|honest| world.sources[honest].1.alive = true);
    let outcome = world.outcome();
    assert!(outcome.ok);
    assert_eq!(report(&outcome, 0).state, SourceState::Dropped);
    assert_eq!(report(&outcome, 1).state, SourceState::Active);
    assert_eq!(report(&outcome, 2).state, SourceState::Active);
    assert_published(&mut world);
}

#[test]
fn a_wrong_manifest_drops_only_its_source() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::WrongManifest, FAST).source(Manner::Honest, FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    let wrong = report(&outcome, 0);
    assert_eq!(wrong.state, SourceState::Dropped);
    assert!(wrong.why.unwrap().contains("manifest"));
    assert_eq!(report(&outcome, 1).state, SourceState::Active);
    assert_published(&mut world);
}

#[test]
fn only_liars_end_in_exit_6() {
    for size in [3 * MIB, 1000] {
        let mut world = World::new(1, size);
        world.source(Manner::Lies, FAST).source(Manner::Lies, FAST);
        let outcome = world.get().outcome();
        assert_eq!(outcome.exit, 6, "{outcome:?}");
        assert!(outcome.error.unwrap().contains("192.0.2.9:101"));
        assert_eq!((world.abandoned, world.published.is_none()), (1, true));
        world.assert_no_leak();
    }
}

#[test]
fn a_damaged_piece_is_asked_of_the_same_source_once_more() {
    let mut world = World::new(1, 4 * MIB);
    world.source(Manner::Damaged(1), FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    let source = report(&outcome, 0);
    assert_eq!((source.bad, source.pieces, source.state), (1, 4, SourceState::Active));
    assert_eq!(world.sources[0].1.served[..2], [3 * MIB, 3 * MIB]);
    assert_published(&mut world);
}

#[test]
fn a_damaged_piece_is_not_asked_for_again_beside_another_one() {
    // The next piece is requested while the digests of the damaged piece are computed. The source
    // checks that at most one piece is requested before the first correct one.
    let mut world = World::new(1, 4 * MIB);
    world.hash_time = Duration::from_secs(2);
    world.source(Manner::Damaged(1), FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    let source = report(&outcome, 0);
    assert_eq!((source.bad, source.pieces, source.state), (1, 4, SourceState::Active));
    assert_published(&mut world);
}

#[test]
fn a_source_that_damages_twice_is_dropped() {
    let mut world = World::new(1, 4 * MIB);
    world.source(Manner::Damaged(99), FAST).source(Manner::Honest, FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    let source = report(&outcome, 0);
    assert_eq!((source.bad, source.state), (2, SourceState::Dropped));
    assert_published(&mut world);
}

#[test]
fn right_bytes_under_a_wrong_md5_are_kept_and_the_third_time_dropped() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::WrongMd5, FAST).source(Manner::Honest, SLOW);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    let source = report(&outcome, 0);
    assert_eq!((source.pieces, source.bad, source.state), (3, 0, SourceState::Dropped));
    assert_published(&mut world);
}

#[test]
fn each_verify_mode_looks_at_its_own_digest() {
    for (verify, manner, exit) in [
        (Verify::Blake3, Manner::WrongMd5, 0),
        (Verify::Blake3, Manner::Lies, 6),
        (Verify::Md5, Manner::Honest, 0),
        (Verify::Md5, Manner::WrongMd5, 6),
    ] {
        let mut world = World::new(1, 3 * MIB);
        world.source(manner, FAST);
        let outcome = world.get_with(verify, None).outcome();
        assert_eq!(outcome.exit, exit, "{verify:?} {manner:?}");
        let warned = world.client_events().iter().any(|event| matches!(event, ClientEvent::Note { .. }));
        assert_eq!(warned, verify == Verify::Md5);
    }
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
fn a_resumed_download_asks_only_for_what_is_missing() {
    let mut world = World::new(1, 5 * MIB + 1);
    world.source(Manner::Honest, FAST);
    world.part = (Some(world.content.cvs.clone()), vec![0, 2, 5]);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert_eq!(world.served(), [MIB, 3 * MIB, 4 * MIB]);
    assert_eq!(world.sources[0].1.manifests, 0);
    assert_eq!(outcome.resumed, Some(2 * MIB + 1));
    let started = |event: &ClientEvent| matches!(event, ClientEvent::Start { resumed, .. } if *resumed == 2 * MIB + 1);
    assert!(world.client_events().iter().any(started));
    assert_published(&mut world);
}

#[test]
fn a_manifest_on_disk_that_does_not_merge_is_not_believed() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST);
    let mut cvs = world.content.cvs.clone();
    cvs[0].0[0] ^= 1;
    world.part = (Some(cvs), vec![]);
    assert!(world.get().outcome().ok);
    assert_eq!(world.sources[0].1.manifests, 1);
    assert_published(&mut world);
}

#[test]
fn what_is_there_already_is_not_fetched() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST);
    world.supers[0].1.hits[0].size = 9;
    world.there = true;
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert_eq!((outcome.path.is_some(), outcome.resumed, outcome.bytes), (true, Some(3 * MIB), Some(3 * MIB)));
    assert_eq!(world.sources[0].1.dials, 0);
}

#[test]
fn a_full_disk_ends_in_exit_9_and_keeps_the_part() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Honest, FAST);
    world.full = true;
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 9);
    assert_eq!(world.abandoned, 1);
    world.assert_no_leak();
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
fn a_source_that_no_longer_has_it_is_dropped_and_not_called_a_liar() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::NotFound, FAST);
    assert_eq!(world.get().outcome().exit, 3);
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::NotFound, FAST).source(Manner::Honest, FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert_eq!((report(&outcome, 0).state, report(&outcome, 0).bad), (SourceState::Dropped, 0));
}

#[test]
fn an_answer_with_another_range_drops_its_source() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::OtherRange, FAST).source(Manner::Honest, FAST);
    let outcome = world.get().outcome();
    assert!(outcome.ok);
    assert!(report(&outcome, 0).why.unwrap().contains("range"));
    assert_published(&mut world);
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
fn the_same_download_twice_is_refused_clearly() {
    let mut world = World::new(1, 9 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.stored.is_some());
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 9);
    assert!(outcome.error.unwrap().contains("already"));
}

#[test]
fn a_client_that_goes_takes_its_download_with_it() {
    let mut world = World::new(1, 9 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.stored.is_some());
    world.input(Input::ClientGone { client: super::harness::CLIENT });
    assert_eq!(world.abandoned, 1);
    world.assert_no_leak();
}

#[test]
fn a_piece_that_waits_for_its_proof_is_dropped_with_the_download() {
    let mut world = World::new(1, 2 * MIB + 5);
    world.source(Manner::NoManifest, 20 * MIB);
    world.get().run_until(|world| world.served() == [2 * MIB]);
    // The rest of the piece comes, but no manifest that could prove it.
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.stored.is_some(), world.sources[0].1.manifests), (false, 1));
    world.input(Input::ClientGone { client: super::harness::CLIENT });
    world.assert_no_leak();
}

#[test]
fn progress_comes_twice_a_second_and_once_at_the_end() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().outcome();
    let of = |event: &ClientEvent| match event {
        ClientEvent::Progress { bytes, size, gives_up_ms: None, .. } => Some((*bytes, *size)),
        _ => None,
    };
    let progress: Vec<_> = world.client_events().iter().filter_map(of).collect();
    assert!((10..=16).contains(&progress.len()), "{progress:?}");
    assert_eq!(progress.last(), Some(&(6 * MIB, 6 * MIB)));
    let pieces = world.client_events().iter().filter(|event| matches!(event, ClientEvent::Piece { .. })).count();
    assert_eq!(pieces, 6);
}

#[test]
fn the_progress_of_several_files_counts_the_pieces_of_those_that_run() {
    let mut world = World::new(1, 6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get_named("dir/").outcome();
    let bytes = |event: ClientEvent| match event {
        ClientEvent::Progress { bytes, size, .. } => Some(bytes).filter(|bytes| *bytes < size),
        _ => None,
    };
    let progress: Vec<u64> = world.client_events().into_iter().filter_map(bytes).collect();
    assert!(progress.iter().any(|bytes| *bytes > 0) && progress.is_sorted(), "{progress:?}");
}

#[test]
fn the_rate_of_several_files_counts_no_bytes_of_an_earlier_run() {
    let mut world = World::new(1, 16 * MIB);
    world.source(Manner::Honest, SLOW);
    world.part = (Some(world.content.cvs.clone()), (0..12).collect());
    assert!(world.get_named("dir/").outcome().ok);
    let progress = |event: ClientEvent| match event {
        ClientEvent::Progress { bytes, rate, .. } => Some((bytes, rate)),
        _ => None,
    };
    let progress: Vec<_> = world.client_events().into_iter().filter_map(progress).collect();
    assert!(progress.iter().any(|(bytes, _)| *bytes >= 12 * MIB), "{progress:?}");
    assert!(progress.iter().all(|(_, rate)| *rate <= 4 * SLOW), "{progress:?}");
}

#[test]
fn results_with_one_name_are_all_fetched() {
    let mut world = World::new(1, 6 * MIB);
    let known = [1, 2].map(|root| KnownContent {
        name: "01.flac".to_owned(),
        size: 6 * MIB,
        root: Root([root; 32]),
        collection: false,
        sources: vec![addr(9)],
    });
    world.command(Command::Get(Get { known: known.to_vec(), ..Get::of("2 files".to_owned()) }));
    world.run_for(Duration::from_secs(1));
    let opened = world.disk.iter().filter_map(|work| match work {
        DiskWork::OpenPart { destination: Destination::Below { path, .. }, .. } => Some(path.as_str()),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), ["01.flac", "01 (02020202).flac"]);
}

#[test]
fn a_download_without_any_source_says_so_in_a_complete_sentence() {
    let mut world = World::new(1, 6 * MIB);
    let known = KnownContent {
        name: "x".to_owned(),
        size: 6 * MIB,
        root: Root([1; 32]),
        collection: false,
        sources: Vec::new(),
    };
    let why = world.command(Command::Get(Get { known: vec![known], ..Get::of("1 file".to_owned()) })).outcome();
    let why = why.error.unwrap();
    assert!(why.contains("no source is left that has it") && !why.ends_with(": "), "{why}");
}

#[test]
fn a_piece_is_reported_only_once_it_is_written() {
    let pieces =
        |world: &World| world.client_events().iter().filter(|e| matches!(e, ClientEvent::Piece { .. })).count();
    let writes = |world: &World| world.disk.iter().filter(|work| matches!(work, DiskWork::WritePiece { .. })).count();
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST);
    world.get().run_until(|world| writes(world) == 1);
    assert_eq!(pieces(&world), 0);
    world.run_until(|world| pieces(world) == 1);
    world.full = true;
    assert_eq!(world.outcome().exit, 9);
    assert!(pieces(&world) < 3, "what the disk did not take was reported");
}

#[test]
fn writes_that_lag_behind_stop_the_asking() {
    let writes = |world: &World| world.disk.iter().filter(|work| matches!(work, DiskWork::WritePiece { .. })).count();
    let pieces = WRITES_PENDING_MAX + 6;
    let mut world = World::new(1, pieces as u64 * MIB);
    world.source(Manner::Honest, SLOW);
    world.write_time = DOWNLOAD_TIMEOUT + Duration::from_secs(60);
    world.get().run_for(DOWNLOAD_TIMEOUT);
    let begun = writes(&world);
    assert!((WRITES_PENDING_MAX..WRITES_PENDING_MAX + 3).contains(&begun), "{begun}");
    assert!(world.outcome().ok, "a slow disk is no reason to give up");
    assert_eq!(writes(&world), pieces);
    assert_published(&mut world);
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

#[test]
fn sources_that_lie_about_the_size_do_not_hide_the_content() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, FAST).source(Manner::Lies, FAST).source(Manner::Lies, FAST);
    for liar in [1, 2] {
        world.supers[0].1.hits[liar].size = 2 * MIB + 5;
    }
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(outcome.bytes, Some(3 * MIB));
    assert_published(&mut world);
}

#[test]
fn few_downloads_run_at_once_and_the_others_follow_in_line() {
    let mut world = World::new(1, 0);
    world.source(Manner::Honest, FAST);
    let what = world.content.root.to_string();
    for n in 0..12 {
        let out = Some(format!("/out/{n}").into());
        let get = Get { out, ..Get::of(what.clone()) };
        world.input(Input::Command { client: ClientId(n), command: Command::Get(get) });
    }
    let opened = |world: &World| {
        let opens = |work: &&DiskWork| matches!(work, DiskWork::OpenPart { .. });
        world.disk.iter().filter(opens).count()
    };
    let done = |world: &World| {
        let done = |event: &&(_, Event)| matches!(&event.1, Event::Client { event: ClientEvent::Done(outcome), .. } if outcome.ok);
        world.events.iter().filter(done).count()
    };
    world.run_until(|world| opened(world) >= DOWNLOADS_MAX);
    assert_eq!((opened(&world), done(&world)), (DOWNLOADS_MAX, 0));
    world.run_until(|world| done(world) == 12);
    assert_eq!(opened(&world), 12);
}

/// Sources of every kind come and go. One of them is honest and stays. The correct bytes must be
/// published in every case.
#[test]
fn one_honest_source_is_enough_whatever_the_others_do() {
    let manners = [
        Manner::Honest,
        Manner::Lies,
        Manner::Damaged(1),
        Manner::Damaged(9),
        Manner::WrongMd5,
        Manner::WrongManifest,
        Manner::StallsAfter(0),
        Manner::StallsAfter(2),
        Manner::NotFound,
        Manner::OtherRange,
        Manner::Busy,
    ];
    let mut dropped = 0;
    let mut lost = 0;
    for seed in 1..=60_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        let rates = [SLOW / 4, SLOW, 4 * SLOW, FAST];
        let mut world = World::new(1, 3 * MIB + draw(4 * MIB as usize) as u64);
        let honest = draw(4);
        for index in 0..4 {
            let manner = if index == honest { Manner::Honest } else { manners[draw(manners.len())] };
            world.source(manner, rates[draw(rates.len())]);
        }
        world.get();
        for _ in 0..draw(6) {
            world.run_for(Duration::from_millis(draw(3000) as u64));
            let index = draw(4);
            if index == honest {
                continue;
            }
            if world.sources[index].1.alive {
                world.kill_source(index);
            } else {
                world.sources[index].1.alive = true;
            }
        }
        let outcome = world.outcome();
        assert!(outcome.ok, "seed {seed}: {outcome:?}");
        assert!(world.published.as_ref() == Some(&world.content.bytes), "seed {seed}: the published bytes differ");
        world.assert_no_leak();
        let reports = outcome.sources.unwrap();
        assert_ne!(reports[honest].state, SourceState::Dropped, "seed {seed}: {:?}", reports[honest]);
        dropped += reports.iter().filter(|report| report.state == SourceState::Dropped).count();
        lost += reports.iter().filter(|report| report.state == SourceState::Lost).count();
    }
    assert!(dropped > 20 && lost > 10, "{dropped} dropped, {lost} lost: nothing was exercised");
}

#[test]
fn an_only_source_that_never_delivers_a_piece_is_dropped_in_the_end() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::StopsHalfway, SLOW);
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 4, "{outcome:?}");
    assert_eq!(outcome.sources.unwrap()[0].state, SourceState::Dropped);
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
