//! Downloads from sources that send something wrong, or not what they were asked for.

use std::time::Duration;

use super::downloads::assert_published;
use super::harness::{Manner, World, addr, report};
use crate::config::PIECE_BYTES;
use crate::proto::event::SourceState;
use crate::proto::{ClientEvent, Verify};

const MIB: u64 = PIECE_BYTES;
const FAST: u64 = 50 * MIB;
const SLOW: u64 = MIB;

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
