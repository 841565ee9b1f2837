//! Waves over small networks of real machines, on a wire that loses, doubles and reorders as each
//! test says.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names only what it waits for")]

use std::time::Duration;

use crate::config::{
    CALL_WORK_MAX, HITS_KEPT_MAX, LINK_QUERIES_WAITING_MAX, ORDER_KEPT, QUERY_HITS_MAX, REACHED_MAX,
    REPEATED_BYTES_FIRST, SCAN_WORK_PER_STEP, SESSION_QUERIES_MAX, WORK_PER_TURN,
};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Fate, Net, addr_of, file, register, search};
use crate::proto::{Entropy, Input, Output, Role};
use crate::sim::Random;
use crate::wire::link::{LinkDone, LinkQuery, Packer};
use crate::wire::message::{Cancel, ErrorCode, Register, Update};
use crate::wire::{Cut, FileRecord, LinkMessage, Message, Policy, QueryId, QueryKind, Search};

fn is_query(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Query(_))
}

fn is_hit(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Hit(_))
}

fn is_done(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Done(_))
}

/// Loses the first message for which this holds.
fn lose_first(net: &mut Net, which: impl Fn(usize, usize, &LinkMessage) -> bool + 'static) {
    let mut lost = false;
    net.rule(move |from, to, message| {
        if !lost && which(from, to, message) {
            lost = true;
            return Fate::Lose;
        }
        Fate::Arrive
    });
}

#[test]
fn ttl_2_reaches_the_far_end_of_a_line_of_three_and_is_complete() {
    let mut net = Net::line(3);
    net.peer(2, &["far.txt"]);
    let (hits, done) = net.ask(0, "far.txt", 2);
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].addr.to_string(), "127.0.2.0:4778");
    assert_eq!((done.hits, done.reached, done.complete, done.cut), (1, 3, true, Cut::NONE));
}

#[test]
fn ttl_1_does_not_and_says_so() {
    let mut net = Net::line(3);
    net.peer(2, &["far.txt"]);
    let (hits, done) = net.ask(0, "far.txt", 1);
    assert!(hits.is_empty());
    assert_eq!((done.reached, done.complete, done.cut), (2, false, Cut { ttl: 1, ..Cut::NONE }));
}

#[test]
fn ttl_0_searches_here_only() {
    let mut net = Net::line(2);
    net.peer(0, &["here.txt"]);
    let (hits, done) = net.ask(0, "here.txt", 0);
    assert_eq!((hits.len(), done.reached, done.cut.ttl), (1, 1, 1));
    assert_eq!(net.sent(is_query), 0);
}

#[test]
fn in_a_ring_every_super_peer_answers_exactly_once() {
    let mut net = Net::ring(5);
    for node in 0..5 {
        net.peer(node, &["everywhere.txt"]);
    }
    let (hits, done) = net.ask(0, "everywhere.txt", 7);
    assert_eq!((hits.len(), done.hits, done.reached, done.complete), (5, 5, 5, true));
    let searched: u64 = (0..5).map(|node| net.count(node, Count::FloodSearched)).sum();
    assert_eq!(searched, 4);
    let duplicates = net.sent(|message| matches!(message, LinkMessage::Done(LinkDone { dup: true, .. })));
    assert_eq!(duplicates, 2, "the two copies that meet at the far side are sent back");
}

#[test]
fn an_empty_answer_needs_no_timer() {
    let mut net = Net::ring(5);
    let conn = net.login(0);
    net.forget_traffic();
    let req = net.query(0, conn, search("nowhere"), 7, 2000);
    let done = net.finish(0, req);
    assert_eq!((done.hits, done.reached, done.complete), (0, 5, true));
    assert_eq!(net.wakeups(), 0);
    assert_eq!(net.count(0, Count::FloodRepeats), 0);
}

#[test]
fn without_neighbors_the_answer_is_there_at_once() {
    let mut net = Net::new(1, &[]);
    net.peer(0, &["a.txt"]);
    let conn = net.login(0);
    let req = net.query(0, conn, search("a.txt"), 7, 2000);
    let done = net.done(0, req).expect("over within the same input");
    assert_eq!((done.hits, done.reached, done.complete), (1, 1, true));
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
}

#[test]
fn the_askers_own_files_are_found_too() {
    let mut net = Net::line(2);
    let conn = net.peer(0, &["mine.txt"]);
    net.peer(1, &["mine.txt"]);
    let req = net.query(0, conn, search("mine.txt"), 7, 2000);
    assert_eq!(net.finish(0, req).hits, 2);
}

#[test]
fn a_neighbor_known_to_be_down_is_not_waited_for() {
    let mut net = Net::line(3);
    net.kill(2);
    net.run_for(Duration::from_secs(10));
    let start = net.now();
    let (_, done) = net.ask(0, "x", 7);
    assert_eq!((done.complete, done.cut, done.reached), (false, Cut { down: 1, ..Cut::NONE }, 2));
    assert!(net.now().since(start) < Duration::from_millis(10));
}

#[test]
fn a_neighbor_that_died_just_now_costs_its_budget_and_no_more() {
    let mut net = Net::line(3);
    net.kill(2);
    net.peer(0, &["x.txt"]);
    let conn = net.login(0);
    let start = net.now();
    let req = net.query(0, conn, search("x.txt"), 7, 500);
    let done = net.finish(0, req);
    assert_eq!((done.hits, done.complete, done.cut), (1, false, Cut { budget: 1, ..Cut::NONE }));
    assert_eq!(done.reached, 2, "the budget shrinks from hop to hop, so the living one is heard");
    assert!(net.now().since(start) <= Duration::from_millis(500));
    assert!(net.count(1, Count::FloodRepeats) > 3);
}

#[test]
fn a_lost_query_is_repeated() {
    let mut net = Net::line(3);
    net.peer(2, &["far.txt"]);
    lose_first(&mut net, |from, _, message| from == 1 && is_query(message));
    let (hits, done) = net.ask(0, "far.txt", 7);
    assert_eq!((hits.len(), done.complete), (1, true));
    assert_eq!(net.count(1, Count::FloodRepeats), 1);
}

#[test]
fn a_lost_hit_is_asked_for_again_and_only_that() {
    let mut net = Net::line(2);
    net.peer(1, &["a-1", "a-2", "a-3"]);
    lose_first(&mut net, |_, _, message| matches!(message, LinkMessage::Hit(hit) if hit.n == 1));
    let (hits, done) = net.ask(0, "a*", 7);
    assert_eq!((hits.len(), done.hits, done.complete), (3, 3, true));
    assert_eq!(net.sent(is_hit), 4);
}

#[test]
fn a_lost_done_is_sent_again() {
    let mut net = Net::line(2);
    net.peer(1, &["a"]);
    lose_first(&mut net, |_, _, message| is_done(message));
    let (hits, done) = net.ask(0, "a", 7);
    assert_eq!((hits.len(), done.complete), (1, true));
    assert_eq!(net.sent(is_done), 2);
}

#[test]
fn a_lost_pending_costs_a_repetition_and_nothing_else() {
    let mut net = Net::line(3);
    net.set_latency(Duration::from_millis(30));
    lose_first(&mut net, |_, _, message| matches!(message, LinkMessage::Pending(_)));
    let (_, done) = net.ask(0, "a", 7);
    assert_eq!((done.complete, done.reached), (true, 3));
}

#[test]
fn on_a_quiet_wire_nothing_is_repeated() {
    for latency_ms in [0, 1, 5, 30, 100] {
        let mut net = Net::line(4);
        net.set_latency(Duration::from_millis(latency_ms));
        net.run_for(Duration::from_secs(20));
        net.peer(3, &["a"]);
        let (hits, done) = net.ask(0, "a", 7);
        assert_eq!((hits.len(), done.complete), (1, true));
        let repeats: u64 = (0..4).map(|node| net.count(node, Count::FloodRepeats)).sum();
        assert_eq!(repeats, 0, "at {latency_ms} ms");
    }
}

#[test]
fn doubled_and_reordered_messages_change_nothing() {
    for seed in 0..50 {
        let mut net = Net::ring(5);
        for node in 0..5 {
            net.peer(node, &["a-1", "a-2"]);
        }
        let mut random = Random::new(seed);
        net.rule(move |_, _, _| match random.next_u64() % 4 {
            0 => Fate::Double,
            1 => Fate::Delay(Duration::from_micros(random.next_u64() % 5000)),
            _ => Fate::Arrive,
        });
        let (hits, done) = net.ask(0, "a*", 7);
        assert_eq!((hits.len(), done.hits, done.complete), (10, 10, true), "seed {seed}");
    }
}

#[test]
fn with_heavy_loss_complete_is_never_wrong_and_mostly_right() {
    let mut complete = 0;
    for seed in 0..100 {
        let mut net = Net::ring(5);
        for node in 0..5 {
            net.peer(node, &["a-1", "a-2"]);
        }
        let mut random = Random::new(seed);
        net.rule(move |_, _, _| if random.next_u64() % 10 < 3 { Fate::Lose } else { Fate::Arrive });
        let (hits, done) = net.ask(0, "a*", 7);
        assert_eq!(hits.len(), done.hits as usize);
        assert!(!done.complete || hits.len() == 10, "seed {seed}: {done:?}");
        complete += usize::from(done.complete);
    }
    assert!(complete >= 95, "{complete} of 100");
}

#[test]
fn a_copy_with_a_higher_ttl_extends_the_horizon() {
    // 0 reaches 3 directly, and by the path 1–2–3. The direct QUERY is late, so that 3 first
    // hears of it with ttl 0.
    let mut net = Net::new(5, &[(0, 3), (0, 1), (1, 2), (2, 3), (3, 4)]);
    net.peer(4, &["far.txt"]);
    net.rule(|from, to, message| match (from, to) {
        (0, 3) if is_query(message) => Fate::Delay(Duration::from_millis(5)),
        _ => Fate::Arrive,
    });
    let (hits, done) = net.ask(0, "far.txt", 3);
    assert_eq!((hits.len(), done.reached), (1, 5));
    assert_eq!(net.count(3, Count::FloodExtension), 1);
    assert_eq!(net.count(3, Count::FloodSearched), 1);
    assert_eq!(net.count(4, Count::FloodSearched), 1);
}

#[test]
fn an_extension_of_what_was_not_cut_is_a_duplicate() {
    let mut net = Net::new(5, &[(0, 3), (0, 1), (1, 2), (2, 3), (3, 4)]);
    net.rule(|from, to, message| match (from, to) {
        (0, 3) if is_query(message) => Fate::Delay(Duration::from_millis(5)),
        _ => Fate::Arrive,
    });
    let (_, done) = net.ask(0, "far.txt", 7);
    assert_eq!((done.complete, done.reached), (true, 5));
    assert_eq!(net.count(4, Count::LinkQuery), 1);
}

#[test]
fn the_budget_shrinks_from_hop_to_hop() {
    let mut net = Net::line(4);
    net.ask(0, "a", 7);
    let budget =
        |message: &LinkMessage| if let LinkMessage::Query(query) = message { Some(query.budget) } else { None };
    let budgets: Vec<u32> = net.sent.iter().filter_map(|(_, _, message)| budget(message)).collect();
    assert_eq!(budgets.len(), 3);
    assert!(2000 > budgets[0] && budgets[0] > budgets[1] && budgets[1] > budgets[2], "{budgets:?}");
    assert!(budgets[2] > 1000, "{budgets:?}");
}

#[test]
fn a_cancelled_query_is_cancelled_all_the_way() {
    let mut net = Net::line(4);
    net.kill(3);
    let conn = net.login(0);
    let req = net.query(0, conn, search("a"), 7, 2000);
    net.run_for(Duration::from_millis(10));
    net.say(0, conn, Message::Cancel(Cancel { req }));
    net.run_for(Duration::from_millis(10));
    assert_eq!(net.sent(|message| matches!(message, LinkMessage::Cancel(_))), 3);
    let repeats = net.count(2, Count::FloodRepeats);
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.count(2, Count::FloodRepeats), repeats, "no super peer works on it any more");
    assert_eq!(net.done(0, req), None);
}

#[test]
fn a_client_that_goes_takes_its_query_with_it() {
    let mut net = Net::line(3);
    net.kill(2);
    let conn = net.login(0);
    net.query(0, conn, search("a"), 7, 2000);
    net.run_for(Duration::from_millis(10));
    net.close(0, conn);
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
    assert_eq!(net.sent(|message| matches!(message, LinkMessage::Cancel(_))), 1);
}

#[test]
fn a_limit_ends_the_query_and_is_a_cut() {
    let mut net = Net::line(3);
    for node in 0..3 {
        net.peer(node, &["a-1", "a-2"]);
    }
    let conn = net.login(0);
    let find = crate::wire::Search { limit: Some(3), ..search("a*") };
    let req = net.query(0, conn, find, 7, 2000);
    let done = net.finish(0, req);
    assert_eq!((done.hits, net.hits(0, req).len(), done.complete), (3, 3, false));
    assert!(done.cut.cap > 0);
}

fn limited(pattern: &str, limit: u32) -> Search {
    Search { limit: Some(limit), ..search(pattern) }
}

#[test]
fn a_ring_query_ends_with_the_ring_that_has_enough() {
    let mut net = Net::line(9);
    for node in 0..9 {
        net.peer(node, &["a"]);
    }
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("a", 3), 8);
    assert_eq!((hits.len(), done.complete), (3, false));
    assert_eq!(done.cut, Cut { ttl: 1, cap: 1, ..Cut::NONE });
    assert_eq!(net.wakeups(), 0, "the echo ends a ring, and no timer");
    let asked = |net: &Net, node: usize| net.count(node, Count::FloodSearched);
    assert_eq!((asked(&net, 2), asked(&net, 3)), (1, 0), "the second ring has enough");
}

#[test]
fn a_ring_query_grows_until_everything_is_found() {
    let mut net = Net::line(9);
    net.peer(7, &["far"]);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 8);
    assert_eq!((hits.len(), done.reached, done.complete, done.cut), (1, 9, true, Cut::NONE));
    assert_eq!(
        (0..9).map(|node| net.count(node, Count::FloodSearched)).sum::<u64>(),
        8,
        "no super peer searches twice"
    );
}

#[test]
fn a_ring_query_stops_at_its_ttl_and_says_so() {
    let mut net = Net::line(9);
    net.peer(7, &["far"]);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 5);
    assert_eq!((hits.len(), done.reached, done.complete, done.cut), (0, 6, false, Cut { ttl: 1, ..Cut::NONE }));
}

#[test]
fn without_a_limit_a_ring_query_goes_all_the_way_at_once() {
    let mut net = Net::ring(9);
    let (_, done) = net.ask_by(Policy::Ring, 0, search("a"), 8);
    assert_eq!((done.reached, done.complete), (9, true));
    assert_eq!(net.sent(is_query), 10);
}

#[test]
fn a_dead_neighbor_takes_a_part_of_the_budget_from_a_ring_query_and_the_rings_go_on() {
    let mut net = Net::new(6, &[(0, 1), (0, 2), (2, 3), (3, 4), (4, 5)]);
    net.peer(5, &["far"]);
    net.kill(1);
    let (hits, done) = net.ask_by(Policy::Ring, 0, limited("far", 3), 8);
    assert_eq!((hits.len(), done.reached, done.complete), (1, 5, false));
    assert!(done.cut.ttl == 0 && done.cut.budget > 0, "{done:?}");
}

#[test]
fn what_an_extension_undoes_is_no_cut_any_more() {
    // 3 first hears of it with no hop left, and 4 is out of reach; then the direct copy comes.
    let mut net = Net::new(5, &[(0, 3), (0, 1), (1, 2), (2, 3), (3, 4)]);
    net.rule(|from, to, message| match (from, to) {
        (0, 3) if is_query(message) => Fate::Delay(Duration::from_millis(5)),
        _ => Fate::Arrive,
    });
    let (_, done) = net.ask(0, "far.txt", 4);
    assert_eq!((done.reached, done.complete, done.cut), (5, true, Cut::NONE));
}

#[test]
fn a_limit_that_is_just_enough_is_no_cut() {
    let mut net = Net::new(1, &[]);
    net.peer(0, &["a-1", "a-2"]);
    let conn = net.login(0);
    let find = crate::wire::Search { limit: Some(2), ..search("a*") };
    let req = net.query(0, conn, find, 7, 2000);
    let done = net.finish(0, req);
    assert_eq!((done.hits, done.complete), (2, true));
}

#[test]
fn hits_above_the_cap_of_a_link_are_a_cut() {
    let mut net = Net::line(2);
    let conn = net.login(1);
    let files = (0..QUERY_HITS_MAX + 1).map(|n| file(&format!("a-{n}"))).collect();
    net.say(1, conn, register(1, files));
    let (hits, done) = net.ask(0, "a*", 7);
    assert_eq!((hits.len(), done.complete), (QUERY_HITS_MAX, false));
    assert!(done.cut.cap > 0);
}

#[test]
fn one_source_in_two_branches_is_sent_once() {
    let mut net = Net::ring(3);
    for node in [1, 2] {
        // The same peer, seen by two super peers.
        let conn = net.login(node);
        let host = Some("198.51.100.7".to_owned());
        net.say(
            node,
            conn,
            Message::Register(Register { seq: 1, port: 4778, host, files: vec![file("a")], more: false }),
        );
    }
    let (hits, done) = net.ask(0, "a", 7);
    assert_eq!((hits.len(), done.hits, done.complete), (1, 1, true));
    assert_eq!(net.count(0, Count::HitsDuplicate), 1);
}

#[test]
fn without_neighbors_too_a_hit_of_another_size_is_another_hit() {
    let mut net = Net::line(1);
    for size in [1, 2, 2] {
        let conn = net.login(0);
        let files = vec![FileRecord { size, ..file("a") }];
        let host = Some("198.51.100.7".to_owned());
        net.say(0, conn, Message::Register(Register { seq: 1, port: 4778, host, files, more: false }));
    }
    let (hits, done) = net.ask(0, "a", 7);
    let mut sizes: Vec<u64> = hits.iter().map(|hit| hit.size).collect();
    sizes.sort_unstable();
    assert_eq!((sizes, done.hits, done.complete), (vec![1, 2], 2, true));
    assert_eq!(net.count(0, Count::HitsDuplicate), 1);
}

#[test]
fn a_neighbor_that_restarts_in_the_middle_is_a_cut() {
    let mut net = Net::line(3);
    net.kill(2);
    let conn = net.login(0);
    let req = net.query(0, conn, search("a"), 7, 10_000);
    net.run_for(Duration::from_millis(100));
    net.restart(1);
    net.run_for(Duration::from_millis(100));
    let done = net.done(0, req).expect("the new life is known at once, and the old one owes nothing any more");
    assert_eq!((done.complete, done.cut), (false, Cut { down: 1, ..Cut::NONE }));
}

#[test]
fn a_link_that_goes_down_in_the_middle_is_a_cut() {
    let mut net = Net::line(2);
    net.kill(1);
    let conn = net.login(0);
    let req = net.query(0, conn, search("a"), 7, 60_000);
    let done = net.finish(0, req);
    assert_eq!((done.complete, done.cut), (false, Cut { down: 1, ..Cut::NONE }));
    assert!(done.ms < 7000);
}

#[test]
fn an_invalid_pattern_is_refused_with_its_number() {
    let mut net = Net::line(2);
    let conn = net.login(0);
    let find = crate::wire::Search { kind: crate::wire::QueryKind::Root, ..search("no root") };
    let req = net.query(0, conn, find, 7, 2000);
    let refused = net.nodes[0].said.iter().any(|(to, message)| {
        let Message::Error(error) = message else { return false };
        *to == conn && error.code == ErrorCode::BAD_REQUEST && error.req == Some(req)
    });
    assert!(refused);
    assert!(net.nodes[0].closed.is_empty() && net.sent.is_empty());
}

#[test]
fn answers_with_long_budgets_do_not_pile_up() {
    let mut net = Net::line(2);
    let names: Vec<String> = (0..900).map(|n| format!("many {n}")).collect();
    net.peer(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let conn = net.login(0);
    let enough = HITS_KEPT_MAX / names.len() + 3;
    for _ in 0..enough {
        let req = net.query(0, conn, search("many"), 7, 60_000);
        let done = net.finish(0, req);
        assert!(done.complete && done.hits == 900, "{done:?}");
        net.nodes[0].said.clear();
        net.forget_traffic();
    }
    assert_eq!(net.count(1, Count::FloodDropped), 3);
}

#[test]
fn a_session_may_run_a_limited_number_of_queries() {
    let mut net = Net::line(2);
    net.kill(1);
    let conn = net.login(0);
    for _ in 0..=SESSION_QUERIES_MAX {
        net.query(0, conn, search("a"), 7, 2000);
    }
    let refused = net.nodes[0].said.iter().filter(|(_, message)| {
        matches!(message, Message::Error(error) if error.code == ErrorCode::LIMIT && error.req.is_some())
    });
    assert_eq!(refused.count(), 1);
    assert!(net.nodes[0].closed.is_empty());
}

#[test]
fn all_state_of_a_query_is_gone_in_the_end() {
    let mut net = Net::ring(5);
    net.ask(0, "a", 7);
    net.run_for(Duration::from_secs(10));
    for node in 0..5 {
        assert_eq!(net.machine(node).counts()["queries_running"], 0);
    }
}

#[test]
fn an_idle_super_peer_sleeps() {
    let net = Net::new(1, &[]);
    assert_eq!(net.machine(0).poll_timeout(), None);
}

/// A super peer with 4,000 files in the middle, and links to 1 and 2. Their queries take four steps
/// each.
fn busy_middle() -> (Net, crate::proto::ConnId) {
    let mut net = Net::new(3, &[(0, 1), (0, 2)]);
    let conn = net.login(0);
    for page in 0..4 {
        let files = (0..1000).map(|n| file(&format!("{page} of {n}"))).collect();
        let register = Register { seq: page + 1, port: 4778, host: None, files, more: page < 3 };
        net.say(0, conn, Message::Register(register));
    }
    net.run_for(Duration::from_secs(2));
    net.forget_traffic();
    (net, conn)
}

/// Sends this many queries of one neighbor, one datagram each, without waiting for an answer.
fn pour(net: &mut Net, from: usize, queries: u64) {
    let boot = net.machine(0).neighbors.links.boot();
    for n in 0..queries {
        let mut id = [from as u8; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let query = LinkQuery {
            id: QueryId(id),
            ttl: 0,
            hops: 1,
            budget: 60_000,
            find: search("*nowhere*"),
            have: None,
            flood: true,
            tree: None,
            again: false,
        };
        let mut packer = Packer::new(boot);
        assert!(packer.push(&LinkMessage::Query(query)).is_none());
        let bytes = packer.finish().unwrap();
        let now = net.now();
        net.machine_mut(0).handle_input(now, Input::Datagram { from: addr_of(from), bytes: &bytes });
    }
}

#[test]
fn a_link_that_floods_takes_nothing_from_sessions_and_other_links() {
    let (mut net, conn) = busy_middle();
    pour(&mut net, 1, 1000);
    pour(&mut net, 2, 100);
    let req = net.query(0, conn, search("*nowhere*"), 0, 2000);
    let (mut turns, mut done_at, mut order) = (0, None, Vec::new());
    while net.machine(0).counts()["queries_running"] > 0 && turns < 100_000 && order.len() < 1100 {
        let now = net.now();
        net.machine_mut(0).handle_timeout(now);
        turns += 1;
        while let Some(output) = net.machine_mut(0).poll_output() {
            if let Output::Send { message: Message::Done(done), .. } = output {
                assert_eq!((done.req, done.reached), (req, 1));
                done_at = Some(turns);
            } else if let Output::SendTo { to, message: LinkMessage::Done(done), .. } = output {
                assert_eq!(done.cut, Cut { ttl: 1, ..Cut::NONE }, "the machine keeps up, so nothing is shed");
                order.push(usize::from(to == addr_of(2)));
            }
        }
    }
    // A name that is compared counts as 12, and half of each turn is the session's.
    let alone = (4000 * 12_usize).div_ceil(WORK_PER_TURN / 2);
    assert!(done_at.is_some_and(|turn| turn <= alone + 1), "{done_at:?} of {turns} turns");
    assert_eq!(order.len(), 1100, "every query is answered");
    let last = order.iter().rposition(|whose| *whose == 1).unwrap();
    // A link's queries take their steps in turn, so the other link's 100 have ended long before the
    // flood.
    assert!(last <= 110, "the other link has its half: its 100 are through with {last}");
    assert_eq!(net.count(0, Count::FloodShed), 0);
}

#[test]
fn queries_beyond_a_full_queue_are_refused_and_reported() {
    let (mut net, _) = busy_middle();
    pour(&mut net, 1, LINK_QUERIES_WAITING_MAX as u64 + 100);
    pour(&mut net, 2, 1);
    let mut shed = 0_u64;
    while let Some(output) = net.machine_mut(0).poll_output() {
        if let Output::SendTo { to, message: LinkMessage::Done(done), .. } = output {
            assert_eq!((to, done.cut), (addr_of(1), Cut { shed: 1, ..Cut::NONE }));
            shed += 1;
        }
    }
    assert_eq!((shed, net.count(0, Count::FloodShed)), (100, 100), "every refusal is reported");
}

/// Many searches at once, of every kind that looks at many entries. Each takes several turns.
#[test]
fn no_turn_does_more_work_than_its_budget_and_a_step() {
    for links in [0, 1] {
        let mut net = Net::line(1 + links);
        let conn = net.login(0);
        let files = |from: u32| (from..from + 400).map(|n| file(&format!("a b{} c{n}", n % 2))).collect();
        net.say(0, conn, register(1, files(0)));
        for (seq, from) in (2..).zip((400..6000).step_by(400)) {
            let add = files(from);
            net.say(0, conn, Message::Update(Update { seq, add, del: Vec::new() }));
        }
        let hostile = format!("*{}!", "*[!A-Z]".repeat(20));
        let searches = [
            (QueryKind::Range, "-8"),
            (QueryKind::Range, "7-7001"),
            (QueryKind::Glob, "*nothing*"),
            (QueryKind::Glob, &hostile),
            (QueryKind::Words, "a b1"),
            (QueryKind::Words, "b0 b1"),
        ];
        let asked = searches.map(|(kind, pattern)| {
            let find = Search { pattern: pattern.to_owned(), kind, ..search("") };
            net.query(0, conn, find, 7, 5000)
        });
        let pages = asked.map(|req| net.finish(0, req));
        let capped = pages.map(|done| done.cut.cap > 0);
        assert_eq!(capped, [true, false, false, false, true, false], "the limit of hits alone cuts");
        let most = net.machine(0).counts()["turn_work_max"];
        let bound = WORK_PER_TURN + SCAN_WORK_PER_STEP + WORK_PER_TURN / 8;
        assert!((WORK_PER_TURN as u64..bound as u64).contains(&most), "{most} of {WORK_PER_TURN} with {links} links");
        assert!(net.machine(0).index().has_order());
        net.run_for(ORDER_KEPT);
        assert!(!net.machine(0).index().has_order(), "no client lists any more");
    }
}

/// A session that does not read what it was sent.
#[test]
fn the_queries_of_a_session_that_does_not_read_wait_until_it_does() {
    const QUERIES: usize = 8;
    let mut net = Net::line(1);
    let conn = net.login(0);
    let files = |from: u32| (from..from + 400).map(|n| file(&format!("a c{n}"))).collect();
    net.say(0, conn, register(1, files(0)));
    for (seq, from) in (2..).zip((400..4000).step_by(400)) {
        net.say(0, conn, Message::Update(Update { seq, add: files(from), del: Vec::new() }));
    }
    let (slow, other) = (net.login(0), net.login(0));
    let asked: Vec<u32> = (0..QUERIES).map(|_| net.query(0, slow, search("a"), 7, 50_000)).collect();
    net.input(0, Input::Backlogged { conn: slow });
    let sent = |net: &Net| net.nodes[0].said.iter().filter(|(to, _)| *to == slow).count();
    let before = sent(&net);
    net.run_for(Duration::from_millis(10));
    net.forget_traffic();
    net.run_for(Duration::from_secs(5));
    assert_eq!(sent(&net), before, "nothing is searched for it");
    assert_eq!(net.wakeups(), 0, "what waits keeps nothing awake");
    let req = net.query(0, other, search("a c77"), 7, 2000);
    assert!(net.finish(0, req).complete, "the others are served");
    net.input(0, Input::Drained { conn: slow });
    for req in asked {
        net.finish(0, req);
        assert_eq!(net.hits(0, req).len(), QUERY_HITS_MAX, "no hit was lost, and none came twice");
    }
}

#[test]
fn a_session_that_never_reads_gets_its_done_in_time_and_leaves_nothing() {
    let mut net = Net::line(1);
    let conn = net.login(0);
    net.say(0, conn, register(1, (0..400).map(|n| file(&format!("a c{n}"))).collect()));
    let slow = net.login(0);
    let asked: Vec<u32> = (0..4).map(|_| net.query(0, slow, search("a"), 7, 1000)).collect();
    net.input(0, Input::Backlogged { conn: slow });
    let canceled = asked[3];
    net.say(0, slow, Message::Cancel(Cancel { req: canceled }));
    net.run_for(Duration::from_secs(2));
    for req in &asked[..3] {
        assert_eq!(net.done(0, *req).map(|done| done.cut.budget), Some(1));
    }
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
    net.query(0, slow, search("a"), 7, 60_000);
    net.close(0, slow);
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
}

/// Queries of many sessions that all wait for a neighbor that has just died.
fn waiting(sessions: usize, budget_ms: u32) -> (Net, Vec<crate::proto::ConnId>) {
    let mut net = Net::line(2);
    net.kill(1);
    let conns: Vec<_> = (0..sessions).map(|_| net.login(0)).collect();
    for conn in conns.iter().flat_map(|conn| [*conn; SESSION_QUERIES_MAX]) {
        net.query(0, conn, search("nothing"), 7, budget_ms);
    }
    net.forget_traffic();
    (net, conns)
}

/// All of them have ended with this cut, in several turns, none of which did much work.
fn ended_in_slices(net: &Net, sessions: usize, cut: Cut) {
    let done = |(_, message): &&(_, Message)| matches!(message, Message::Done(done) if done.cut == cut);
    assert_eq!(net.nodes[0].said.iter().filter(done).count(), sessions * SESSION_QUERIES_MAX);
    let most = net.machine(0).counts()["call_work_max"];
    assert!((1..=CALL_WORK_MAX as u64 / 4).contains(&most), "{most}");
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
}

#[test]
fn queries_whose_budgets_end_together_end_in_slices() {
    let (mut net, _) = waiting(16, 500);
    net.run_for(Duration::from_millis(600));
    ended_in_slices(&net, 16, Cut { budget: 1, ..Cut::NONE });
}

#[test]
fn queries_that_wait_for_a_link_that_goes_down_end_in_slices() {
    let (mut net, _) = waiting(16, 60_000);
    net.run_for(Duration::from_secs(8));
    ended_in_slices(&net, 16, Cut { down: 1, ..Cut::NONE });
}

#[test]
fn queries_of_a_session_that_goes_are_canceled() {
    let (mut net, conns) = waiting(3, 60_000);
    conns.into_iter().for_each(|conn| net.close(0, conn));
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
    assert_eq!(net.count(0, Count::QueriesCancelled), 3 * SESSION_QUERIES_MAX as u64);
}

/// One message of this node as a datagram to another, and its length.
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
        let (reached_claimed, uncut, pruned) = (u32::MAX, 0, u32::MAX);
        let cut = Cut { ttl: u32::MAX, ..Cut::NONE };
        let done = LinkDone { id, ttl, hits: 0, reached: reached_claimed, pruned, cut, dup: false, more: false, uncut };
        let bytes = forged(&net, 0, &LinkMessage::Done(done));
        net.datagram(0, addr_of(1), &bytes);
        let done = net.finish(0, req);
        assert_eq!((done.reached, done.complete), (reached, false));
    }
}
