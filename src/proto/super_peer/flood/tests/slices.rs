//! Sessions that do not read what they were sent, and queries that end together.

use std::time::Duration;

use crate::config::{CALL_WORK_MAX, QUERY_HITS_MAX, SESSION_QUERIES_MAX};
use crate::proto::Input;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Net, file, register, search};
use crate::wire::message::{Cancel, Update};
use crate::wire::{Cut, Message};

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
