//! Sessions that do not read what they were sent, and queries that end together.

use std::time::Duration;

use super::is_hit;
use crate::config::{
    CALL_WORK_MAX, PATH_BYTES_MAX, PING_INTERVAL, QUERY_HITS_MAX, SCAN_WORK_PER_STEP, SESSION_BYTES_PER_TURN,
    SESSION_QUERIES_MAX, SHARING_REPORT_EVERY,
};
use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Net, file, register, search};
use crate::proto::{ConnId, Input, Output, Role};
use crate::wire::message::{Cancel, Query, Register, Update};
use crate::wire::{Cut, Message, frame};

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
    // Until the number of peers that share is reported, too.
    net.run_for(SHARING_REPORT_EVERY);
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
    net.run_for(Duration::from_millis(1));
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

/// Bytes of everything that the session was sent.
fn bytes_to(net: &Net, conn: ConnId) -> usize {
    let mut bytes = Vec::new();
    net.nodes[0].said.iter().filter(|(to, _)| *to == conn).for_each(|(_, message)| frame::encode(message, &mut bytes));
    bytes.len()
}

#[test]
fn a_session_that_never_reads_is_sent_little_however_much_it_asks() {
    /// What one step finds beyond the bound, and a DONE for each query.
    const BEYOND: usize = SCAN_WORK_PER_STEP / 16 * 1024 + QUERIES * 100;
    const QUERIES: usize = 8;
    let mut net = Net::line(2);
    (0..2).for_each(|node| long_names(&mut net, node));
    net.run_for(Duration::from_secs(2));
    let slow = net.login(0);
    let asked: Vec<u32> = (0..QUERIES).map(|_| net.query(0, slow, search("*x"), 7, 10_000)).collect();
    let first = bytes_to(&net, slow);
    assert!(first <= SESSION_BYTES_PER_TURN + BEYOND, "{first} bytes in one turn");
    net.input(0, Input::Backlogged { conn: slow });
    net.run_for(Duration::from_millis(300));
    let unread = bytes_to(&net, slow) - first;
    assert!(unread <= SESSION_BYTES_PER_TURN + BEYOND, "{unread} bytes while it does not read");
    assert!(net.sent(is_hit) > 100, "neighbors answer");
    net.input(0, Input::Drained { conn: slow });
    for req in asked {
        let done = net.finish(0, req);
        assert!(done.cut.cap > 0 && !done.complete, "what it was not sent is a cut");
        assert_eq!(net.hits(0, req).len(), done.hits as usize);
    }
}

/// A peer with 240 files, whose records have nearly 1 KiB each.
fn long_names(net: &mut Net, node: usize) {
    let conn = net.login(node);
    for page in 0..3_u64 {
        let files = (0..80).map(|n| file(&format!("{page}-{n:02}{}", "x".repeat(PATH_BYTES_MAX - 4)))).collect();
        let register =
            Register { seq: page + 1, port: 4778, host: None, more_addr: None, http: false, files, more: page < 2 };
        net.say(node, conn, Message::Register(register));
    }
}

/// A session that reads gets everything, some of it in each turn.
#[test]
fn a_long_answer_comes_in_several_turns() {
    let mut net = Net::line(1);
    long_names(&mut net, 0);
    let asker = net.login(0);
    let asked = [(); 4].map(|()| net.query(0, asker, search("*x"), 7, 10_000));
    let mut turns = 1;
    while !asked.iter().all(|req| net.done(0, *req).is_some()) {
        turns += u32::from(net.step());
        assert!(bytes_to(&net, asker) <= turns as usize * 2 * SESSION_BYTES_PER_TURN, "in {turns} turns");
    }
    assert!(asked.iter().all(|req| net.hits(0, *req).len() == 240 && net.done(0, *req).unwrap().complete));
}

/// Queries of many sessions that all wait for a neighbor that has just died.
fn waiting(sessions: usize, budget_ms: u32) -> (Net, Vec<ConnId>) {
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
fn queries_that_end_after_a_pause_leave_their_session_room_for_others() {
    let (mut net, conns) = waiting(1, 500);
    // All that is due within this time is due at once.
    let late = net.now() + Duration::from_secs(30);
    let machine = net.machine_mut(0);
    let (mut dones, mut errors) = (0, 0);
    let mut drain = |machine: &mut SuperPeer| {
        while let Some(output) = machine.poll_output() {
            if let Output::Send { message, .. } = output {
                dones += usize::from(matches!(message, Message::Done(_)));
                errors += usize::from(matches!(message, Message::Error(_)));
            }
        }
    };
    while machine.poll_timeout().is_some_and(|at| at <= late) {
        machine.handle_timeout(late);
        drain(machine);
    }
    let query = Query { req: 1000, find: search("nothing"), ttl: Some(7), budget: Some(500), policy: None };
    machine.handle_input(late, Input::Message { conn: conns[0], message: Message::Query(query) });
    drain(machine);
    assert_eq!((dones, errors), (SESSION_QUERIES_MAX, 0));
}

/// The session is silent for too long just before its query is to be repeated, and both are found
/// in one turn after a pause.
#[test]
fn a_query_whose_session_is_closed_first_in_a_turn_is_canceled_and_gets_no_done() {
    let silence = PING_INTERVAL * 3;
    let mut net = Net::line(2);
    let conn = net.login(0);
    net.run_for(silence - Duration::from_millis(1));
    net.kill(1);
    net.query(0, conn, search("nothing"), 7, 500);
    let late = net.now() + silence;
    let machine = net.machine_mut(0);
    let (mut closes, mut dones) = (0, 0);
    while machine.poll_timeout().is_some_and(|at| at <= late) {
        machine.handle_timeout(late);
        while let Some(output) = machine.poll_output() {
            closes += usize::from(matches!(output, Output::Close { .. }));
            dones += usize::from(matches!(output, Output::Send { message: Message::Done(_), .. }));
        }
    }
    assert_eq!((closes, dones, net.count(0, Count::QueriesCanceled)), (1, 0, 1));
}

#[test]
fn queries_of_a_session_that_goes_are_canceled() {
    let (mut net, conns) = waiting(3, 60_000);
    conns.into_iter().for_each(|conn| net.close(0, conn));
    assert_eq!(net.machine(0).counts()["queries_running"], 0);
    assert_eq!(net.count(0, Count::QueriesCanceled), 3 * SESSION_QUERIES_MAX as u64);
}
