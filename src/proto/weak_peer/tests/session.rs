//! The session: which super peer to dial, what to register, when to give up and when to wake.

use std::time::Duration;

use super::harness::{Manner, Super, World, file};
use crate::config::{ANSWER_DEADLINE, PAGE_BYTES};
use crate::error::Exit;
use crate::proto::{Event, Input, OwnAddrs};
use crate::wire::Message;
use crate::wire::message::{ErrorCode, Register};

#[test]
fn hello_login_and_register_go_out_in_one() {
    let mut world = World::new(1, 1);
    world.share(&[file("a", 1), file("b/c", 2)], &[]);
    world.run_until(|world| world.welcomed() == 1);
    let kinds: Vec<_> = world.heard(0).iter().map(Message::kind).collect();
    assert_eq!(kinds, ["HELLO", "LOGIN", "REGISTER"]);
    let register = &world.registers(0)[0];
    assert_eq!((register.seq, register.port, register.more), (1, 4778, false));
    assert_eq!(register.files, [file("a", 1), file("b/c", 2)]);
}

#[test]
fn the_first_that_welcomes_is_taken() {
    let mut world = World::new(3, 1);
    world.kill_super(0);
    world.supers[1].1.manner = Super::Silent;
    world.run_until(|world| world.welcomed() == 1);
    assert_eq!(world.registers(2).len(), 1);
}

#[test]
fn no_super_peer_at_all_is_fatal_and_all_are_named() {
    let mut world = World::new(2, 1);
    world.kill_super(0);
    world.kill_super(1);
    let failure = world.fatal();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("192.0.2.9:1, 192.0.2.9:2"), "{failure}");
    assert!(failure.message.contains("refused"), "{failure}");
    assert!(world.now.since(crate::time::Time::ZERO) >= Duration::from_secs(10));
}

#[test]
fn a_super_peer_that_answers_and_opens_no_session_is_quoted() {
    let mut world = World::new(1, 1);
    world.supers[0].1.manner = Super::Refuses(ErrorCode::BUSY);
    world.run_until(|world| !world.heard(0).is_empty()).run_for(Duration::from_secs(1));
    world.kill_super(0);
    let failure = world.fatal();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("opens a session (192.0.2.9:1: no)"), "{failure}");
}

#[test]
fn a_refusal_of_version_or_login_is_fatal_at_once() {
    for (code, exit) in [(ErrorCode::VERSION, Exit::Version), (ErrorCode::LOGIN, Exit::LoginRejected)] {
        let mut world = World::new(1, 1);
        world.supers[0].1.manner = Super::Refuses(code);
        assert_eq!(world.fatal().exit, exit);
        assert!(world.now.since(crate::time::Time::ZERO) < Duration::from_secs(1));
    }
}

#[test]
fn a_lost_super_peer_is_left_for_the_next_and_all_is_registered_again() {
    let mut world = World::new(2, 1);
    world.share(&[file("a", 1)], &[]);
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(60));
    world.share(&[file("b", 1)], &[]).run_for(Duration::from_secs(1));
    let lost_at = world.now;
    world.kill_super(0);
    world.run_until(|world| world.welcomed() == 2);
    assert!(world.now.since(lost_at) < Duration::from_secs(1));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.registers(1)[0].files, [file("a", 1), file("b", 1)]);
    assert!(world.updates(1).is_empty());
    let lost = |(_, event): &(_, Event)| matches!(event, Event::SessionLost { .. });
    assert_eq!(world.events.iter().filter(|event| lost(event)).count(), 1);
}

#[test]
fn after_the_first_success_it_never_gives_up() {
    let mut world = World::new(1, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.kill_super(0);
    world.run_for(Duration::from_secs(300));
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Fatal(_))));
    world.supers[0].1.alive = true;
    world.run_until(|world| world.welcomed() == 2);
    assert_eq!(world.registers(0).len(), 2);
}

#[test]
fn updates_are_numbered_after_the_registration() {
    let mut world = World::new(1, 1);
    world.share(&[file("a", 1)], &[]);
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(1));
    world.share(&[file("b", 1)], &["a"]);
    world.share(&[file("b", 2)], &[]);
    world.run_for(Duration::from_secs(1));
    let updates = world.updates(0);
    assert_eq!(updates.iter().map(|update| update.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((&updates[0].add[..], updates[0].del.len()), (&[file("b", 1)][..], 1));
    assert_eq!(updates[1].add, [file("b", 2)]);
}

#[test]
fn a_long_list_is_paged_and_few_pages_are_unacknowledged() {
    let mut world = World::new(1, 1);
    let files: Vec<_> = (0..6000).map(|n| file(&format!("{n:05}-{}", "x".repeat(60)), n)).collect();
    world.share(&files, &[]);
    world.supers[0].1.acks = false;
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(1));
    assert_eq!(world.registers(0).len(), 3, "no more than three pages before an ACK");
    let ack = crate::wire::message::Ack { seq: 3, files: 1 };
    world.supers[0].1.acks = true;
    world.super_says(0, Message::Ack(ack));
    world.run_for(Duration::from_secs(1));
    let pages = world.registers(0);
    assert!(pages.len() > 6000 * 66 / PAGE_BYTES);
    assert!(pages.iter().zip(1..).all(|(page, seq)| page.seq == seq));
    assert!(pages.iter().rev().skip(1).all(|page| page.more) && !pages.last().unwrap().more);
    assert_eq!(pages.into_iter().flat_map(|page| page.files).collect::<Vec<_>>(), files);
}

#[test]
fn changes_during_unanswered_updates_are_merged() {
    let mut world = World::new(1, 1);
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(1));
    world.supers[0].1.acks = false;
    for n in 0..10 {
        world.share(&[file("a", n + 1)], &[]).run_for(Duration::from_millis(10));
    }
    assert_eq!(world.updates(0).len(), 3);
    world.super_says(0, Message::Ack(crate::wire::message::Ack { seq: 4, files: 1 }));
    world.run_for(Duration::from_secs(1));
    let updates = world.updates(0);
    assert_eq!(updates.len(), 4);
    assert_eq!(updates[3].add, [file("a", 10)]);
}

#[test]
fn a_super_peer_that_acknowledges_nothing_is_left() {
    let mut world = World::new(2, 1);
    world.supers[0].1.acks = false;
    world.run_until(|world| world.welcomed() == 2);
    let passed = world.now.since(crate::time::Time::ZERO);
    assert!(passed >= ANSWER_DEADLINE && passed < ANSWER_DEADLINE + Duration::from_secs(2), "{passed:?}");
    assert_eq!(world.registers(1).len(), 1);
}

#[test]
fn a_super_peer_that_answers_no_ping_is_left() {
    let mut world = World::new(2, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.run_until(|world| world.welcomed() == 2);
    let passed = world.now.since(crate::time::Time::ZERO);
    assert!(passed < Duration::from_secs(30) + ANSWER_DEADLINE + Duration::from_secs(2), "{passed:?}");
}

#[test]
fn an_idle_peer_wakes_only_to_ping() {
    let mut world = World::new(1, 1);
    world.share(&[file("a", 1)], &[]);
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(1));
    let (wakes, heard) = (world.wakes, world.heard(0).len());
    world.run_for(Duration::from_secs(600));
    let pings = world.heard(0).len() - heard;
    assert!((19..=20).contains(&pings), "{pings}");
    assert_eq!(world.wakes - wakes, u32::try_from(pings).unwrap());
}

#[test]
fn an_idle_peer_after_a_download_wakes_only_to_ping() {
    let mut world = World::new(1, 3 << 20);
    world.source(Manner::Honest, 50 << 20);
    world.get().outcome();
    world.run_for(Duration::from_secs(1));
    let wakes = world.wakes;
    world.run_for(Duration::from_secs(600));
    assert!(world.wakes - wakes <= 21, "{}", world.wakes - wakes);
}

#[test]
fn a_peer_that_is_asked_to_end_says_goodbye() {
    let mut world = World::new(1, 1);
    world.run_until(|world| world.welcomed() == 1);
    let conn = world.accept();
    world.input(Input::Shutdown);
    assert_eq!(world.heard(0).last().map(Message::kind), Some("BYE"));
    let said = |output: &crate::proto::Output| matches!(output, crate::proto::Output::Close { conn: closed } if *closed == conn);
    assert!(world.outputs.iter().any(said));
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.welcomed(), 1);
}

#[test]
fn a_peer_without_an_offer_registers_nothing() {
    let mut world = World::new(1, 1);
    let config = super::harness::config(&[1], false);
    world.peer = crate::proto::weak_peer::WeakPeer::new(config, Box::new(crate::sim::Random::new(1)));
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(100));
    assert!(world.registers(0).is_empty());
    let conn = world.accept();
    assert_eq!(world.outputs, [crate::proto::Output::Close { conn }]);
}

#[test]
fn files_that_are_refused_for_lack_of_memory_are_sent_again_as_updates() {
    let mut world = World::new(1, 1);
    world.share(&[file("a", 1)], &[]);
    world.run_until(|world| world.welcomed() == 1).run_for(Duration::from_secs(1));
    world.supers[0].1.manner = Super::NoRoom;
    world.share(&[file("b", 1)], &[]).run_for(Duration::from_secs(60));
    let updates = world.updates(0);
    assert!((4..=8).contains(&updates.len()), "{} tries in a minute", updates.len());
    assert_eq!(updates[0].add, [file("b", 1)]);
    assert!(updates[1..].iter().all(|update| update.add == [file("a", 1), file("b", 1)] && update.del.is_empty()));
    world.supers[0].1.manner = Super::Serves;
    world.run_for(Duration::from_secs(300));
    let sent = world.updates(0).len();
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.updates(0).len(), sent, "once all is taken nothing is sent again");
    assert_eq!((world.registers(0).len(), world.peer.figures().counts()["sessions_lost"]), (1, 0));
}

#[test]
fn it_registers_only_addresses_at_which_it_listens() {
    let own = |here: &str, other: &str| OwnAddrs { here: here.parse().ok(), other: other.parse().ok() };
    let mut world = World::new(1, 1);
    world.own = own("192.0.2.9", "2001:db8::9");
    world.run_until(|world| !world.registers(0).is_empty());
    let Register { host, more_addr, .. } = world.registers(0)[0].clone();
    assert_eq!((host, more_addr.as_deref()), (None, Some("2001:db8::9")));
}
