//! Sources that are followed and send nothing: a download continues without them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::{Manner, World, addr, report};
use crate::config::{ANSWER_DEADLINE, NO_SOURCE_MAX, PIECE_BYTES, SOURCES_MAX};
use crate::proto::command::Get;
use crate::proto::event::SourceState;
use crate::proto::weak_peer::SwarmConfig;
use crate::proto::{Command, DiskWork, Input, Output, Verify};
use crate::time::Time;
use crate::wire::message::Hello;
use crate::wire::swarm::{FEATURE_SWARM, Follow, Gateway, Member, Membership};
use crate::wire::{Message, NodeId};

const MIB: u64 = PIECE_BYTES;
const SEC: Duration = Duration::from_secs(1);

fn assert_right(world: &mut World) {
    assert!(world.published.as_ref() == Some(&world.content.bytes), "the published bytes differ");
    world.assert_no_leak();
}

/// As many such sources as a download uses at once, and an honest source that is found later.
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
fn a_source_that_gives_many_turns_unasked_is_dropped() {
    let mut world = World::new(1, 3 * MIB);
    // A source that has only a part makes the download a swarm.
    world.source(Manner::Empty, MIB).source(Manner::TurnFlood, MIB).source(Manner::Honest, MIB);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(report(&outcome, 1).why.as_deref(), Some("gave more turns than were asked for"));
    assert_right(&mut world);
}

#[test]
fn a_source_that_gives_no_turn_is_asked_without_one() {
    let mut world = World::new(1, 3 * MIB);
    // A source that has only a part makes the download a swarm.
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
fn a_download_that_nobody_shares_uses_all_sources_of_the_search() {
    let mut world = World::new(1, 16 * MIB);
    for port in 100..104 {
        world.source(Manner::Honest, MIB);
        let (node, other, full) = (None, None, port < 102);
        let member = Member { node, addr: addr(port), other, full, out: false, unreached: false };
        world.supers[0].1.members.extend(full.then_some(member));
    }
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!((0..4).all(|index| report(&outcome, index).pieces > 0), "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < 8 * SEC, "{:?}", world.now);
    assert_right(&mut world);
}

/// The size is proven, and pieces arrive all the time.
#[test]
fn a_member_that_becomes_slow_does_not_keep_the_sources_of_the_search_away() {
    let mut world = World::new(1, 24 * MIB);
    let (node, other) = (None, None);
    let member = Member { node, addr: addr(100), other, full: false, out: false, unreached: false };
    world.supers[0].1.members.push(member);
    world.source(Manner::Honest, 4 * MIB).source(Manner::Honest, 4 * MIB);
    world.get().run_until(|world| world.sources[0].1.served.len() > 3);
    assert_eq!(world.sources[1].1.dials, 0, "a source of the search waits");
    world.sources[0].1.rate = MIB / 4;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(report(&outcome, 1).pieces > 0 && world.now.since(Time::ZERO) < 20 * SEC, "{:?}", world.now);
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

// ---- what others announce and prove -------------------------------------------------------------

/// Many seeds, because the order of the pieces is drawn.
#[test]
fn what_a_member_announces_before_it_has_sent_a_piece_makes_no_piece_less_rare() {
    let mut taken = BTreeSet::new();
    for seed in 0..6 {
        let mut world = World::seeded(1, 8 * MIB, seed);
        world.source(Manner::Boasts, MIB).source(Manner::Part, 10 * MIB);
        assert!(world.get().outcome().ok);
        // The last piece is the proof, and the next one is chosen before anything is announced.
        taken.extend(world.sources[1].1.gets[2..4].iter().map(|offset| offset / MIB));
    }
    assert!(taken.iter().any(|piece| *piece < 4), "{taken:?}");
}

#[test]
fn a_right_edge_that_proves_another_size_costs_only_its_source() {
    let mut asked = 0;
    for seed in 0..6 {
        let mut world = World::seeded(1, 3 * MIB - 500, seed);
        world.source(Manner::FalseEdge, MIB).source(Manner::Honest, MIB);
        let outcome = world.get().outcome();
        assert!(outcome.ok, "{outcome:?}");
        asked += world.sources[0].1.manifests;
        let is_dropped = report(&outcome, 0).state == SourceState::Dropped;
        assert_eq!(is_dropped, world.sources[0].1.manifests > 0, "{outcome:?}");
        assert_right(&mut world);
    }
    assert!(asked > 0);
}

// ---- what is announced to others ----------------------------------------------------------------

#[test]
fn a_piece_is_announced_once_it_is_written() {
    let mut world = World::new(1, 3 * MIB);
    world.write_time = 2 * SEC;
    world.source(Manner::Honest, 50 * MIB).get().run_for(SEC / 100);
    let conn = world.accept();
    let features = vec![FEATURE_SWARM.to_owned()];
    let hello = Hello { version: [1, 3], node: NodeId([77; 16]), boot: 1, features, agent: String::new() };
    world.input(Input::Message { conn, message: Message::Hello(hello) });
    let follow = Follow { req: 1, root: world.content.root, zone: None };
    world.input(Input::Message { conn, message: Message::Follow(follow) });
    let announced = |world: &World| -> usize {
        let pieces = |output: &Output| match output {
            Output::Send { message: Message::Has(has), .. } => has.add.len() + has.bits.len() + usize::from(has.full),
            _ => 0,
        };
        world.outputs.iter().map(pieces).sum()
    };
    let writes = |world: &World| world.disk.iter().filter(|work| matches!(work, DiskWork::WritePiece { .. })).count();
    world.run_until(|world| writes(world) == 3);
    assert_eq!(announced(&world), 0, "{:?}", world.outputs);
    assert!(world.outcome().ok);
    assert!(announced(&world) >= 3, "{:?}", world.outputs);
    let proves = |output: &&Output| match output {
        Output::Send { message: Message::Has(has), .. } => has.manifest && !has.full,
        _ => false,
    };
    assert_eq!(world.outputs.iter().filter(proves).count(), 1, "{:?}", world.outputs);
}

// ---- the last source is lost --------------------------------------------------------------------

/// The last source of the world is a member of a swarm with a part of the content.
fn make_member(world: &mut World) {
    let last = world.supers[0].1.hits.last_mut().unwrap();
    last.member = Some(Box::new(Membership { partial: true, zone: None }));
}

#[test]
fn a_download_without_a_source_asks_once_more_and_takes_those_that_have_a_part() {
    let mut world = World::new(1, 8 * MIB);
    world.source(Manner::Honest, MIB).get().run_until(|world| world.written.len() == 1);
    world.source(Manner::Part, MIB);
    make_member(&mut world);
    world.sources[0].1.manner = Manner::NotFound;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert!(report(&outcome, 1).pieces > 0);
    assert_right(&mut world);
}

#[test]
fn a_source_that_did_not_have_it_is_tried_again_if_it_is_named_again() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::NotFound, MIB).get();
    world.run_until(|world| world.sources[0].1.dials == 2);
    world.sources[0].1.manner = Manner::Honest;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn a_source_that_never_has_it_ends_in_exit_3_before_long() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::NotFound, MIB);
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 3, "{outcome:?}");
    assert!(world.now.since(Time::ZERO) < 5 * SEC, "{:?}", world.now);
}

#[test]
fn a_download_without_a_source_and_a_session_waits_for_a_session() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, MIB).get().run_until(|world| world.written.len() == 1);
    world.source(Manner::Honest, MIB);
    world.kill_super(0);
    world.sources[0].1.manner = Manner::NotFound;
    world.run_for(10 * SEC);
    assert_eq!(world.outcomes(), 0);
    world.supers[0].1.alive = true;
    let outcome = world.outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn a_download_without_a_source_does_not_wait_for_a_session_for_ever() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, MIB).get().run_until(|world| world.written.len() == 1);
    world.kill_super(0);
    world.sources[0].1.manner = Manner::NotFound;
    let start = world.now;
    let outcome = world.outcome();
    assert_eq!(outcome.exit, 3, "{outcome:?}");
    assert!(world.now.since(start) < NO_SOURCE_MAX + 10 * SEC, "{:?}", world.now);
}

#[test]
fn a_get_by_root_takes_members_of_its_swarm_if_nobody_has_all() {
    let mut world = World::new(1, 8 * MIB);
    world.source(Manner::Part, MIB);
    make_member(&mut world);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    assert_right(&mut world);
}

#[test]
fn a_gateway_that_was_named_before_the_proof_fetches_its_own_pieces_first() {
    let mut world = World::new(1, 8 * MIB);
    world.peer = world.peer.with_swarms(SwarmConfig { uploads: None, zone: Some("here".to_owned()), linger: SEC });
    let (node, other) = (None, None);
    let member = Member { node, addr: addr(100), other, full: false, out: true, unreached: false };
    world.supers[0].1.members.push(member);
    world.supers[0].1.gateway = Some(Gateway { number: 1, of: 2 });
    world.source(Manner::Part, 10 * MIB);
    let outcome = world.get().outcome();
    assert!(outcome.ok, "{outcome:?}");
    let taken: Vec<u64> = world.sources[0].1.gets.iter().map(|offset| offset / MIB).collect();
    assert!(taken[..4].iter().all(|piece| piece % 2 == 1), "{taken:?}");
}

#[test]
fn the_join_of_a_second_download_of_one_content_ends_with_it() {
    let mut world = World::new(1, 1000);
    let (node, other) = (None, None);
    let member = Member { node, addr: addr(100), other, full: true, out: false, unreached: false };
    world.supers[0].1.members.push(member);
    world.source(Manner::Honest, MIB);
    // The size is not known before it is proven.
    make_member(&mut world);
    world.lenient = true;
    for out in ["/out/a", "/out/b"] {
        let get = Get { out: Some(out.into()), ..Get::of(world.content.root.to_string()) };
        world.command(Command::Get(get));
    }
    world.run_until(|world| world.outcomes() == 2).run_for(30 * SEC);
    let leaves = world.heard(0).iter().filter(|message| matches!(message, Message::Leave(_))).count();
    assert_eq!(leaves, 2, "{:?}", world.heard(0));
}
