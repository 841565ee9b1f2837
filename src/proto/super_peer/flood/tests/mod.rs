//! Waves over small networks of real machines, on links that lose, repeat and reorder datagrams as
//! each test requires.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names only what it waits for")]

mod hostile;
mod rings;
mod roots;
mod share;
mod slices;

use std::time::Duration;

use crate::config::{HITS_KEPT_MAX, QUERY_HITS_MAX, SESSION_QUERIES_MAX};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Fate, Net, file, register, search};
use crate::proto::{Entropy, Role};
use crate::sim::Random;
use crate::wire::link::LinkDone;
use crate::wire::message::{Cancel, ErrorCode, Register};
use crate::wire::{Cut, FileRecord, LinkMessage, Message};

fn is_query(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Query(_))
}

fn is_hit(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Hit(_))
}

fn is_done(message: &LinkMessage) -> bool {
    matches!(message, LinkMessage::Done(_))
}

/// Loses the first message for which `which` is true.
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
    // 0 reaches 3 directly, and over the path 1–2–3. The direct QUERY is late, so the first copy at
    // 3 has ttl 0.
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
fn a_canceled_query_is_canceled_all_the_way() {
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

#[test]
fn what_an_extension_undoes_is_no_cut_any_more() {
    // The first copy at 3 has no hop left, so 4 is not reached. Then the direct copy comes.
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
        // Two super peers see the same peer.
        let conn = net.login(node);
        let host = Some("198.51.100.7".to_owned());
        net.say(
            node,
            conn,
            Message::Register(Register {
                seq: 1,
                port: 4778,
                host,
                more_addr: None,
                http: false,
                files: vec![file("a")],
                more: false,
            }),
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
        net.say(
            0,
            conn,
            Message::Register(Register { seq: 1, port: 4778, host, more_addr: None, http: false, files, more: false }),
        );
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
