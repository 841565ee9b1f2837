use std::time::Duration;

use super::*;
use crate::config::{CALL_WORK_MAX, LOGIN_DEADLINE};
use crate::proto::super_peer::testnet::{Net, file, search};
use crate::proto::{Output, Role};
use crate::sim::builders::update;
use crate::wire::message::{Cancel, Query};
use crate::wire::{QueryKind, Search};

fn subscribe(net: &mut Net, conn: ConnId, req: u32, find: Search) {
    net.say(0, conn, Message::Subscribe(Subscribe { req, find }));
}

/// The paths in the hits that a request has got.
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

/// Sessions of one host that take all searches, each as many as one session may.
fn greedy(net: &mut Net) -> Vec<ConnId> {
    let conns: Vec<ConnId> = (0..STANDING_SEARCHES_MAX / SESSION_SUBSCRIPTIONS_MAX)
        .map(|n| net.login_from(0, ([192, 0, 2, 9], 1000 + u16::try_from(n).unwrap()).into()))
        .collect();
    for n in 0..STANDING_SEARCHES_MAX {
        let conn = conns[n / SESSION_SUBSCRIPTIONS_MAX];
        subscribe(net, conn, n as u32, search(&format!("word{n}")));
    }
    conns
}

#[test]
fn one_host_does_not_take_all_searches() {
    let mut net = Net::cold(1, &[]);
    let conns = greedy(&mut net);
    let other = net.login(0);
    subscribe(&mut net, other, 1, search("*.iso"));
    assert!(refusals(&net, other).is_empty());
    let newest = STANDING_SEARCHES_MAX as u32 - 1;
    assert_eq!(refusals(&net, *conns.last().unwrap()), [(ErrorCode::LIMIT, Some(newest))]);
    net.peer(0, &["new.iso", &format!("word{newest}"), "word0"]);
    settle(&mut net);
    assert_eq!(found(&net, other, 1), ["new.iso"]);
    assert_eq!((found(&net, conns[0], 0).len(), found(&net, *conns.last().unwrap(), newest).len()), (1, 0));
}

#[test]
fn a_host_gets_no_more_searches_than_the_host_that_has_most() {
    let mut net = Net::cold(1, &[]);
    let conns = greedy(&mut net);
    subscribe(&mut net, conns[0], 1000, search("*.iso"));
    net.say(0, conns[0], Message::Cancel(Cancel { req: 0 }));
    subscribe(&mut net, conns[0], 1001, search("*.iso"));
    subscribe(&mut net, conns[0], 1002, search("*.doc"));
    assert_eq!(refusals(&net, conns[0]), [(ErrorCode::LIMIT, Some(1000)), (ErrorCode::LIMIT, Some(1002))]);
    assert_eq!(net.count(0, Count::SubscriptionsEvicted), 0);
}

#[test]
fn a_search_that_others_have_too_is_not_the_first_to_end() {
    let mut net = Net::cold(1, &[]);
    let conns = greedy(&mut net);
    let newest = format!("word{}", STANDING_SEARCHES_MAX - 1);
    let (sharing, other) = (net.login(0), net.login(0));
    subscribe(&mut net, sharing, 1, search(&newest));
    subscribe(&mut net, other, 1, search("*.iso"));
    assert!(refusals(&net, sharing).is_empty());
    let second = STANDING_SEARCHES_MAX as u32 - 2;
    assert_eq!(refusals(&net, *conns.last().unwrap()), [(ErrorCode::LIMIT, Some(second))]);
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

/// Sessions with the most subscriptions. All have the same search, or each has searches of its own.
fn subscribers(net: &mut Net, sessions: usize, pattern: impl Fn(usize) -> String) -> Vec<ConnId> {
    let conns: Vec<ConnId> = (0..sessions).map(|_| net.login(0)).collect();
    for n in 0..sessions * SESSION_SUBSCRIPTIONS_MAX {
        subscribe(net, conns[n / SESSION_SUBSCRIPTIONS_MAX], n as u32, search(&pattern(n)));
    }
    conns
}

#[test]
fn one_file_that_many_subscribe_to_takes_several_turns() {
    let mut net = Net::cold(1, &[]);
    let conns = subscribers(&mut net, SUBSCRIPTIONS_MAX / SESSION_SUBSCRIPTIONS_MAX, |_| "*.iso".to_owned());
    assert_eq!(net.machine(0).counts()["subscriptions"], SUBSCRIPTIONS_MAX as u64);
    net.peer(0, &["new.iso"]);
    assert!(net.step());
    let (first, last) = (conns[0], conns[conns.len() - 1]);
    assert_eq!((found(&net, first, 0).len(), net.count(0, Count::SubscribesRefused)), (1, 0));
    let in_one_turn = net.count(0, Count::SubscribedHits);
    assert!((1..SUBSCRIPTIONS_MAX as u64 / 8).contains(&in_one_turn), "{in_one_turn}");
    // Both subscriptions end: the one that has got the file, and the one that has not.
    net.say(0, first, Message::Cancel(Cancel { req: 0 }));
    let canceled = SUBSCRIPTIONS_MAX as u32 - 1;
    net.say(0, last, Message::Cancel(Cancel { req: canceled }));
    settle(&mut net);
    assert_eq!(net.count(0, Count::SubscribedHits), SUBSCRIPTIONS_MAX as u64 - 1);
    assert!(found(&net, last, canceled).is_empty());
    for (n, conn) in conns.iter().enumerate().take(conns.len() - 1).step_by(100) {
        assert_eq!(found(&net, *conn, (n * SESSION_SUBSCRIPTIONS_MAX) as u32).len(), 1, "each gets it once");
    }
    let most = net.machine(0).counts()["call_work_max"];
    assert!(most <= CALL_WORK_MAX as u64 / 4, "{most}");
}

#[test]
fn a_search_that_ends_while_its_file_is_reported_leaves_its_place_to_another() {
    let mut net = Net::cold(1, &[]);
    let conns = subscribers(&mut net, 100, |_| "*.iso".to_owned());
    let other = net.login(0);
    subscribe(&mut net, other, 0, search("*.doc"));
    net.peer(0, &["new.iso"]);
    assert!(net.step());
    assert!(net.count(0, Count::SubscribedHits) < 800);
    conns.iter().for_each(|conn| net.close(0, *conn));
    subscribe(&mut net, other, 1, search("*.txt"));
    settle(&mut net);
    assert!(found(&net, other, 1).is_empty(), "the file does not fit");
    assert_eq!(net.count(0, Count::SubscribedHitsDropped), 0);
}

#[test]
fn deadlines_are_met_while_files_wait_to_be_compared() {
    let mut net = Net::cold(1, &[]);
    subscribers(&mut net, STANDING_SEARCHES_MAX / SESSION_SUBSCRIPTIONS_MAX, |n| format!("word{n}"));
    let silent = net.connect(0);
    let paths: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
    net.peer(0, &paths.iter().map(String::as_str).collect::<Vec<_>>());
    let late = net.now() + LOGIN_DEADLINE;
    let machine = net.machine_mut(0);
    machine.handle_timeout(late);
    let closed = std::iter::from_fn(|| machine.poll_output()).any(|output| output == Output::Close { conn: silent });
    assert!(closed && machine.poll_timeout() == Some(Time::ZERO), "there is more to compare");
}
