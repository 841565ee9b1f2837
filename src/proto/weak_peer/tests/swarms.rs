//! Sources that are followed and give nothing: a download goes on without them.

use std::time::Duration;

use super::harness::{Manner, World, addr, report};
use crate::config::{ANSWER_DEADLINE, PIECE_BYTES, SOURCES_MAX};
use crate::proto::{DiskWork, Verify};
use crate::time::Time;
use crate::wire::Message;
use crate::wire::swarm::Member;

const MIB: u64 = PIECE_BYTES;
const SEC: Duration = Duration::from_secs(1);

fn assert_right(world: &mut World) {
    assert!(world.published.as_ref() == Some(&world.content.bytes), "the published bytes differ");
    world.assert_no_leak();
}

/// As many sources of this manner as a download uses at once, and an honest one that is found
/// later.
fn crowded_out(manner: Manner) {
    let mut world = World::new(1, 3 * MIB);
    for _ in 0..SOURCES_MAX {
        world.source(manner, MIB);
    }
    world.get().run_for(6 * SEC);
    assert!(world.sources.iter().all(|(_, source)| source.dials > 0));
    world.source(Manner::Honest, MIB);
    let start = world.now;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(world.now.since(start) < 60 * SEC, "{:?}", world.now.since(start));
    assert_right(&mut world);
}

#[test]
fn sources_that_do_not_answer_follow_leave_their_places() {
    crowded_out(Manner::Unheard);
}

#[test]
fn sources_that_have_nothing_leave_their_places_and_others_are_searched_for() {
    crowded_out(Manner::Empty);
}

#[test]
fn a_source_that_gives_no_turn_is_asked_without_one() {
    let mut world = World::new(1, 3 * MIB);
    // One that has a part only makes it a swarm.
    world.source(Manner::Empty, MIB).source(Manner::NoTurns, MIB);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < 2 * ANSWER_DEADLINE + 10 * SEC, "{:?}", world.now);
    assert_eq!(report(&outcome, 1).pieces, 3);
    assert_right(&mut world);
}

#[test]
fn a_source_with_too_many_followers_is_asked_without_following_if_nothing_else_comes() {
    let mut world = World::new(1, 2 * MIB);
    world.source(Manner::Crowded, MIB).get().run_for(ANSWER_DEADLINE - SEC);
    assert!(world.sources[0].1.gets.is_empty(), "later there may be room");
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < ANSWER_DEADLINE + 10 * SEC, "{:?}", world.now);
    assert_eq!(report(&outcome, 0).pieces, 2);
    assert_right(&mut world);
}

#[test]
fn a_source_with_too_many_followers_is_not_dropped_for_pieces_that_it_lacks() {
    let mut world = World::new(1, 2 * MIB);
    world.source(Manner::CrowdedEmpty, MIB).get().run_for(90 * SEC);
    assert_eq!(world.outcomes(), 0);
    assert!(!world.sources[0].1.gets.is_empty());
    world.sources[0].1.manner = Manner::Honest;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn a_member_that_drips_its_proof_does_not_keep_the_sources_of_the_search_away() {
    let mut world = World::new(1, 3 * MIB);
    let (node, other) = (None, None);
    let member = Member { node, addr: addr(100), other, full: false, out: false, unreached: false };
    world.supers[0].1.members.push(member);
    world.source(Manner::Endless, MIB).source(Manner::Honest, MIB);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < 15 * SEC, "{:?}", world.now);
    assert_right(&mut world);
}

#[test]
fn a_download_that_is_resumed_chooses_pieces_when_members_were_named_before_its_part_was_open() {
    let mut world = World::new(1, 8 * MIB);
    world.part = (Some(world.content.cvs.clone()), vec![0]);
    world.open_time = 3 * SEC;
    let (node, other) = (None, None);
    let member = Member { node, addr: addr(100), other, full: false, out: false, unreached: false };
    world.supers[0].1.members.push(member);
    world.source(Manner::Part, 10 * MIB);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn members_are_not_blamed_for_a_size_that_a_stranger_claims() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Silent, MIB);
    world.supers[0].1.hits[0].size -= 1;
    for port in 101..105 + u16::try_from(SOURCES_MAX).unwrap() {
        world.source(Manner::Honest, MIB);
        let (node, other) = (None, None);
        let member = Member { node, addr: addr(port), other, full: true, out: false, unreached: false };
        world.supers[0].1.members.push(member);
    }
    world.supers[0].1.hits.truncate(1);
    world.get().run_until(|world| !world.sized.is_empty());
    world.supers[0].1.members.clear();
    let dialed: Vec<_> = (1..world.sources.len()).filter(|index| world.sources[*index].1.dials > 0).collect();
    assert!(dialed.len() <= SOURCES_MAX);
    dialed.into_iter().for_each(|index| world.kill_source(index));
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn what_only_its_md5_was_compared_of_is_not_passed_on() {
    for (verify, passed_on) in [(Verify::Both, true), (Verify::Blake3, true), (Verify::Md5, false)] {
        let mut world = World::new(1, 2 * MIB);
        let (node, other) = (None, None);
        let member = Member { node, addr: addr(100), other, full: true, out: false, unreached: false };
        world.supers[0].1.members.push(member);
        world.source(Manner::Honest, MIB);
        let outcome = world.get_with(verify, None).outcome();
        assert!(outcome.ok, "{outcome:?}");
        let proven = |work: &DiskWork| match work {
            DiskWork::WritePiece { proven, .. } => Some(*proven),
            _ => None,
        };
        assert_eq!(world.disk.iter().filter_map(proven).collect::<Vec<_>>(), [passed_on; 2]);
        let joined = world.heard(0).iter().any(|message| matches!(message, Message::Join(_)));
        assert_eq!(joined, passed_on, "{verify:?}");
    }
}
