use std::time::Duration;

use super::*;
use crate::proto::super_peer::testnet::{Net, file, search};
use crate::sim::builders::update;
use crate::wire::message::{Cancel, Query};
use crate::wire::{QueryKind, Search};

fn subscribe(net: &mut Net, conn: ConnId, req: u32, find: Search) {
    net.say(0, conn, Message::Subscribe(Subscribe { req, find }));
}

/// The paths that a request has been sent.
fn found(net: &Net, conn: ConnId, req: u32) -> Vec<String> {
    let to_conn = net.nodes[0].said.iter().filter(|(to, _)| *to == conn);
    let hits = to_conn.filter_map(|(_, message)| if let Message::Hit(hit) = message { Some(hit) } else { None });
    let mut paths: Vec<String> = hits
        .filter(|hit| hit.req == req)
        .flat_map(|hit| hit.hits.iter().map(|record| record.path.as_str().to_owned()))
        .collect();
    paths.sort();
    paths
}

fn refusals(net: &Net, conn: ConnId) -> Vec<(ErrorCode, Option<u32>)> {
    let to_conn = net.nodes[0].said.iter().filter(|(to, _)| *to == conn);
    to_conn
        .filter_map(
            |(_, message)| if let Message::Error(error) = message { Some((error.code, error.req)) } else { None },
        )
        .collect()
}

fn settle(net: &mut Net) {
    net.run_for(Duration::from_millis(10));
}

#[test]
fn a_search_that_stands_hears_of_each_file_that_comes_until_it_is_canceled() {
    let mut net = Net::cold(1, &[]);
    let peer = net.peer(0, &["old.iso"]);
    let conn = net.login(0);
    subscribe(&mut net, conn, 5, search("*.iso"));
    settle(&mut net);
    assert!(found(&net, conn, 5).is_empty(), "it was there before");
    net.say(0, peer, update(2, &["new.iso", "new.txt"], &[]));
    settle(&mut net);
    assert_eq!(found(&net, conn, 5), ["new.iso"]);
    net.peer(0, &["new.iso", "more.iso"]);
    settle(&mut net);
    assert_eq!(found(&net, conn, 5), ["more.iso", "new.iso", "new.iso"], "another source of it");
    net.say(0, conn, Message::Cancel(Cancel { req: 5 }));
    net.say(0, peer, update(3, &["late.iso"], &[]));
    settle(&mut net);
    assert_eq!(found(&net, conn, 5).len(), 3);
    assert_eq!(net.machine(0).counts()["subscriptions"], 0);
}

#[test]
fn it_finds_what_a_query_finds() {
    let paths = ["a/Blue Train.flac", "blue/train.flac", "train.flac", "Train.FLAC", "x/y", "y", "bluetrain"];
    let kinds = [QueryKind::Words, QueryKind::Exact, QueryKind::Glob, QueryKind::Path, QueryKind::Below];
    let patterns = ["blue train", "train.flac", "*.flac", "*/y", "x/y", "blue", "a", "["];
    let mut finds: Vec<Search> = patterns
        .iter()
        .flat_map(|pattern| kinds.map(|kind| Search { kind, ..search(pattern) }))
        .chain([search(&file("y").root.to_string()), Search { min: Some(8), max: Some(12), ..search("*") }])
        .collect();
    finds.push(Search { kind: QueryKind::Range, ..search("8-") });
    for find in finds {
        let mut net = Net::cold(1, &[]);
        let conn = net.login(0);
        subscribe(&mut net, conn, 1, find.clone());
        net.peer(0, &paths);
        settle(&mut net);
        net.say(0, conn, Message::Query(Query { req: 2, find: find.clone(), ttl: None, budget: None, policy: None }));
        settle(&mut net);
        assert_eq!(found(&net, conn, 1), found(&net, conn, 2), "{find:?}");
    }
}

#[test]
fn what_has_no_room_or_makes_no_sense_is_refused_and_memory_is_bounded() {
    let mut net = Net::cold(1, &[]);
    let conn = net.login(0);
    for req in 0..=SESSION_SUBSCRIPTIONS_MAX as u32 {
        subscribe(&mut net, conn, req, search("x"));
    }
    subscribe(&mut net, conn, 0, search("x"));
    assert_eq!(refusals(&net, conn), [(ErrorCode::LIMIT, Some(8)), (ErrorCode::BAD_REQUEST, Some(0))]);
    let other = net.login(0);
    subscribe(&mut net, other, 1, Search { min: Some(2), max: Some(1), ..search("x") });
    assert_eq!(refusals(&net, other), [(ErrorCode::BAD_REQUEST, Some(1))]);
    let mut conns = Vec::new();
    for n in 0..STANDING_SEARCHES_MAX {
        if n % SESSION_SUBSCRIPTIONS_MAX == 0 {
            conns.push(net.login(0));
        }
        let long = format!("{n} {}", "word ".repeat(50));
        subscribe(&mut net, *conns.last().unwrap(), n as u32, search(&long[..250]));
    }
    let last = *conns.last().unwrap();
    assert_eq!(refusals(&net, last), [(ErrorCode::LIMIT, Some(255))], "the search for x is one of them");
    assert!(net.machine(0).counts()["memory_subscriptions"] < 4 << 20);
    for conn in conns.into_iter().chain([conn]) {
        net.close(0, conn);
    }
    assert_eq!(net.machine(0).counts()["memory_subscriptions"], 0);
    assert_eq!(net.count(0, Count::SubscribesRefused), 4);
}

#[test]
fn a_flood_of_files_takes_a_share_of_each_second() {
    let mut net = Net::cold(1, &[]);
    let conn = net.login(0);
    subscribe(&mut net, conn, 1, search("*"));
    let paths: Vec<String> = (0..300).map(|n| format!("f{n}")).collect();
    net.peer(0, &paths.iter().map(String::as_str).collect::<Vec<_>>());
    settle(&mut net);
    assert_eq!(found(&net, conn, 1).len(), SUBSCRIPTION_HITS_PER_SECOND as usize);
    assert_eq!(net.count(0, Count::SubscribedHitsDropped), 200);
}
