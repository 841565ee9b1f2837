//! The small files of a command. They are fetched together, even if single sources misbehave.

use super::harness::{Manner, World};
use crate::config::PIECE_BYTES;
use crate::proto::ClientEvent;
use crate::proto::disk::{CollectionStep, DiskWork};

const FAST: u64 = 50 * PIECE_BYTES;

fn placed(world: &World) -> usize {
    let place = |work: &&DiskWork| matches!(work, DiskWork::Collection { step: CollectionStep::Place { .. }, .. });
    world.disk.iter().filter(place).count()
}

fn opened(world: &World) -> usize {
    world.disk.iter().filter(|work| matches!(work, DiskWork::OpenPart { .. })).count()
}

#[test]
fn a_small_file_needs_no_part_file_and_is_reported_by_its_path() {
    let mut world = World::new(1, 1000);
    world.source(Manner::Honest, FAST);
    let outcome = world.get_named("dir/").outcome();
    assert!(outcome.ok && outcome.files == Some(1) && outcome.bytes == Some(1000), "{outcome:?}");
    assert_eq!((placed(&world), opened(&world)), (1, 0));
    assert!(world.published.as_ref() == Some(&world.content.bytes));
    let items = world.client_events().into_iter().filter_map(|event| match event {
        ClientEvent::Item(item) => Some((item.exit, item.size, item.path.is_some())),
        _ => None,
    });
    assert_eq!(items.collect::<Vec<_>>(), [(0, 1000, true)]);
    world.assert_no_leak();
}

#[test]
fn a_small_file_that_is_there_is_not_fetched() {
    let mut world = World::new(1, 1000);
    world.source(Manner::Honest, FAST);
    world.there = true;
    let outcome = world.get_named("dir/").outcome();
    assert!(outcome.ok && outcome.resumed == Some(1000), "{outcome:?}");
    assert!(world.served().is_empty() && placed(&world) == 0);
}

#[test]
fn a_small_file_comes_from_the_source_that_is_right() {
    for bad in [
        Manner::Lies,
        Manner::NotFound,
        Manner::Fails,
        Manner::OtherRange,
        Manner::StopsHalfway,
        Manner::ClosesAfterHeader,
        Manner::PageForChunk,
        Manner::Silent,
        Manner::Nowhere,
    ] {
        let mut world = World::new(1, 1000);
        world.source(bad, FAST).source(Manner::Honest, FAST);
        let outcome = world.get_named("dir/").outcome();
        assert!(outcome.ok && outcome.files == Some(1), "{bad:?}: {outcome:?}");
        assert!(world.published.as_ref() == Some(&world.content.bytes), "{bad:?}");
        world.assert_no_leak();
    }
}

#[test]
fn a_small_file_that_no_source_serves_right_is_reported_by_its_own_download() {
    let mut world = World::new(1, 1000);
    world.source(Manner::Lies, FAST);
    let outcome = world.get_named("dir/").outcome();
    assert!(!outcome.ok && world.published.is_none(), "{outcome:?}");
    assert_eq!((placed(&world), opened(&world)), (0, 1));
    assert!(outcome.error.unwrap().contains("file.bin"));
    world.assert_no_leak();
}
