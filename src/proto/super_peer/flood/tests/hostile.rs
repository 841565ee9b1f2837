//! Neighbors that repeat and exaggerate, and a link that loses much.

use super::is_done;
use crate::config::{REACHED_MAX, REPEATED_BYTES_FIRST};
use crate::proto::Entropy;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Fate, Net, addr_of, search};
use crate::sim::Random;
use crate::wire::link::{LinkDone, LinkQuery, Packer};
use crate::wire::{Cut, LinkMessage};

/// A datagram with one message of this node to another one, and its length.
fn forged(net: &Net, to: usize, message: &LinkMessage) -> Vec<u8> {
    let mut packer = Packer::new(net.machine(to).neighbors.links.boot());
    assert!(packer.push(message).is_none());
    packer.finish().unwrap()
}

#[test]
fn a_replayed_query_draws_little() {
    const REPLAYS: usize = 300;
    let mut net = Net::line(2);
    let names: Vec<String> = (0..400).map(|n| format!("a file with a longer name, number {n}")).collect();
    net.peer(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(net.ask(0, "file", 1).0.len(), 400);
    let query = net
        .sent
        .iter()
        .find_map(|(_, _, message)| if let LinkMessage::Query(query) = message { Some(query.clone()) } else { None });
    for have in [None, Some(Vec::new()), Some(vec![(0, 7)])] {
        net.forget_traffic();
        let bytes = forged(&net, 1, &LinkMessage::Query(LinkQuery { have, ..query.clone().unwrap() }));
        (0..REPLAYS).for_each(|_| net.datagram(1, addr_of(0), &bytes));
        assert_eq!(net.sent(is_done), REPLAYS);
        let drawn: usize = net.sent.iter().map(|(_, to, message)| forged(&net, *to, message).len()).sum();
        let fair = 3 * REPLAYS * bytes.len() + 2 * REPEATED_BYTES_FIRST;
        assert!(drawn <= fair, "{} bytes draw {drawn}", REPLAYS * bytes.len());
    }
    assert!(net.count(1, Count::FloodRepeatsBounded) > 0);
}

/// A long answer over a link that loses a third of everything.
#[test]
fn a_long_answer_arrives_over_a_lossy_link() {
    for seed in 0..5 {
        let mut net = Net::line(2);
        let names: Vec<String> = (0..800).map(|n| format!("a file, number {n}")).collect();
        net.peer(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut random = Random::new(seed);
        net.rule(move |_, _, _| if random.next_u64() % 10 < 3 { Fate::Lose } else { Fate::Arrive });
        let (hits, done) = net.ask(0, "file", 1);
        assert_eq!((hits.len(), done.complete), (800, true), "seed {seed}: {done:?}");
    }
}

#[test]
fn a_neighbor_cannot_claim_to_reach_more_than_there_can_be() {
    for (ttl, reached) in [(1, 2), (2, 257), (7, REACHED_MAX)] {
        let mut net = Net::line(2);
        net.kill(1);
        let conn = net.login(0);
        let req = net.query(0, conn, search("x"), ttl, 2000);
        net.step();
        let asked = net.sent.iter().find_map(|(_, _, message)| {
            if let LinkMessage::Query(query) = message { Some((query.id, query.ttl)) } else { None }
        });
        let (id, ttl) = asked.unwrap();
        let cut = Cut { ttl: u32::MAX, ..Cut::NONE };
        let done = LinkDone { reached: u32::MAX, pruned: u32::MAX, cut, ..LinkDone::empty(id, ttl) };
        let bytes = forged(&net, 0, &LinkMessage::Done(done));
        net.datagram(0, addr_of(1), &bytes);
        let done = net.finish(0, req);
        assert_eq!((done.reached, done.complete), (reached, false));
    }
}

/// The last super peer is a liar: a neighbor of this one, which it answers with this DONE. The path
/// from 0 to the match is cut by this ttl.
fn cut_beside_a_liar(edges: &[(usize, usize)], ttl: u8, (uncut, uncut_tag): (u32, u64)) -> Cut {
    let liar = edges.len();
    let (victim, _) = edges[liar - 1];
    let mut net = Net::new(liar + 1, edges);
    net.peer(liar - 1, &["far"]);
    net.kill(liar);
    let conn = net.login(0);
    let req = net.query(0, conn, search("far"), ttl, 2000);
    let (id, ttl) = loop {
        let asked = net.sent.iter().find_map(|(_, to, message)| match message {
            LinkMessage::Query(query) if *to == liar => Some((query.id, query.ttl)),
            _ => None,
        });
        if let Some(asked) = asked {
            break asked;
        }
        assert!(net.step(), "the liar is not asked");
    };
    let done = LinkDone { reached: 1, uncut, uncut_tag, ..LinkDone::empty(id, ttl) };
    let bytes = forged(&net, victim, &LinkMessage::Done(done));
    net.datagram(victim, addr_of(liar), &bytes);
    let done = net.finish(0, req);
    assert!(done.hits == 0 && done.complete == done.cut.is_none(), "{done:?}");
    done.cut
}

#[test]
fn a_neighbor_cannot_take_back_a_ttl_cut_of_another_one() {
    let cut = Cut { ttl: 1, ..Cut::NONE };
    for lie in [(0, 0), (1, 0), (1, 1), (2, 0), (u32::MAX, u64::MAX)] {
        assert_eq!(cut_beside_a_liar(&[(0, 1), (1, 2), (0, 3)], 1, lie), cut, "{lie:?}");
    }
}

#[test]
fn a_liar_cannot_take_back_ttl_cuts_through_an_honest_super_peer() {
    let cut = Cut { ttl: 1, ..Cut::NONE };
    for lie in [(0, 0), (1, 0), (1, 1), (u32::MAX, u64::MAX)] {
        assert_eq!(cut_beside_a_liar(&[(0, 1), (1, 2), (2, 3), (1, 4)], 2, lie), cut, "{lie:?}");
    }
}
