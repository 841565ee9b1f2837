//! The course of a download: resuming, the disk, progress, waiting in line, ends.

use std::time::Duration;

use super::downloads::assert_published;
use super::harness::{Manner, World, addr};
use crate::config::{DOWNLOAD_TIMEOUT, DOWNLOADS_MAX, PIECE_BYTES, WRITES_PENDING_MAX};
use crate::proto::command::{Get, KnownContent};
use crate::proto::disk::{Destination, DiskWork};
use crate::proto::{ClientEvent, ClientId, Command, Event, Input};
use crate::wire::Root;

const MIB: u64 = PIECE_BYTES;
const FAST: u64 = 50 * MIB;
const SLOW: u64 = MIB;

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
