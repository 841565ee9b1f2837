//! Searches by root: no neighbor uses up the limit while others have not answered.

use std::time::Duration;

use crate::proto::super_peer::testnet::{Fate, Net, file, search};
use crate::wire::message::{Done, SourceRecord};
use crate::wire::{Policy, Search};

/// A super peer with two neighbors. The near one has eight sources of a content, and the far one,
/// which answers later, has one.
fn near_and_far() -> Net {
    let mut net = Net::new(3, &[(0, 1), (0, 2)]);
    (0..8).for_each(|_| _ = net.peer(1, &["tune"]));
    net.peer(2, &["tune"]);
    net.rule(|from, _, _| if from == 2 { Fate::Delay(Duration::from_millis(50)) } else { Fate::Arrive });
    net
}

fn ask(net: &mut Net, limit: u32) -> (Vec<SourceRecord>, Done) {
    let by_root = search(&file("tune").root.to_string());
    net.ask_by(Policy::Flood, 0, Search { limit: Some(limit), ..by_root }, 7)
}

fn is_far(hit: &SourceRecord) -> bool {
    hit.addr.to_string().starts_with("127.0.2.")
}

#[test]
fn a_near_neighbor_leaves_room_for_the_hit_of_a_slow_one() {
    let (hits, done) = ask(&mut near_and_far(), 8);
    assert_eq!((hits.len(), hits.iter().filter(|hit| is_far(hit)).count()), (8, 1));
    assert!(!done.complete && done.cut.cap == 1, "{:?}", done.cut);
}

#[test]
fn hits_above_a_share_are_not_lost_if_there_is_room_in_the_end() {
    let (hits, done) = ask(&mut near_and_far(), 9);
    assert_eq!((hits.len(), done.hits, done.complete), (9, 9, true), "{:?}", done.cut);
}

#[test]
fn hits_above_a_share_come_although_another_neighbor_never_answers() {
    let mut net = near_and_far();
    net.kill(2);
    let (hits, done) = ask(&mut net, 20);
    assert_eq!((hits.len(), done.cut.budget, done.cut.cap), (8, 1, 0));
}

#[test]
fn a_super_peer_between_passes_on_what_was_held_back() {
    let mut net = Net::new(4, &[(3, 0), (0, 1), (0, 2)]);
    (0..8).for_each(|_| _ = net.peer(1, &["tune"]));
    net.peer(2, &["tune"]);
    net.rule(|from, _, _| if from == 2 { Fate::Delay(Duration::from_millis(50)) } else { Fate::Arrive });
    let by_root = search(&file("tune").root.to_string());
    let (hits, done) = net.ask_by(Policy::Flood, 3, Search { limit: Some(10), ..by_root }, 7);
    assert_eq!((hits.len(), done.complete), (9, true), "{:?}", done.cut);
}
