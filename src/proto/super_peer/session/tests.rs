//! What a weak peer may send to its super peer, in which order, and how a violation ends.

use std::collections::BTreeSet;

use super::*;
use crate::config::{
    CALL_WORK_MAX, FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, PING_INTERVAL, PROTOCOL_VERSION,
};
use crate::proto::super_peer::testnet::{Net, file, hello, login, register, search, update};
use crate::proto::{Input, Role};
use crate::sim::builders;
use crate::wire::message::{
    Ack, Error, Files, Get, Hello, List, ListedFile, Login, Mode, Ping, Ready, Register, Status, Update,
};
use crate::wire::{NodeId, Root};

fn alone() -> Net {
    Net::new(1, &[])
}

fn last(net: &Net) -> &Message {
    &net.nodes[0].said.last().expect("something was said").1
}

fn records(net: &Net) -> usize {
    net.machine(0).index().records()
}

/// The session got this ERROR and was closed, and the super peer has nothing of it any more.
fn assert_closed_for(net: &Net, conn: ConnId, code: ErrorCode) {
    let Message::Error(error) = last(net) else { panic!("{:?}", last(net)) };
    assert_eq!((error.code, error.req), (code, None));
    assert_eq!(net.nodes[0].closed.last(), Some(&conn));
    assert_eq!(net.machine(0).index().holders(), 0);
}

fn list(net: &mut Net, conn: ConnId) -> Vec<ListedFile> {
    net.say(0, conn, Message::List(List { req: 77, after: None, partial: false }));
    let Message::Files(Files { req: 77, files, next: None }) = last(net) else { panic!("{:?}", last(net)) };
    files.clone()
}

#[test]
fn a_session_opens_step_by_step_and_its_frames_may_grow() {
    let mut net = alone();
    let conn = net.connect(0);
    net.say(0, conn, hello());
    let Message::Welcome(welcome) = last(&net) else { panic!("no WELCOME") };
    assert_eq!((welcome.addr.to_string(), welcome.ping), ("127.0.0.0:40000".into(), 30_000));
    net.say(0, conn, login());
    assert_eq!(last(&net), &Message::Ready(Ready::default()));
    assert_eq!(net.nodes[0].caps, [(conn, FRAME_BYTES_LOGIN), (conn, FRAME_BYTES_OPEN)]);
}

#[test]
fn a_welcome_fits_the_first_frame_of_a_peer() {
    let mut net = alone();
    let conn = net.connect(0);
    net.say(0, conn, hello());
    let mut bytes = Vec::new();
    crate::wire::frame::encode(last(&net), &mut bytes);
    assert!(bytes.len() <= FRAME_BYTES_HELLO);
}

#[test]
fn a_register_of_several_pages_is_acknowledged_page_by_page() {
    let mut net = alone();
    let conn = net.login(0);
    let page = |seq, path: &str, more| {
        Message::Register(Register {
            seq,
            port: 4778,
            host: None,
            more_addr: None,
            http: false,
            files: vec![file(path)],
            more,
        })
    };
    net.say(0, conn, page(1, "a", true));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 1, files: 1 }));
    net.say(0, conn, page(2, "b", false));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 2, files: 2 }));
    net.say(0, conn, page(3, "c", false));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 3, files: 1 }), "a new first page clears what was there");
    assert_eq!(list(&mut net, conn)[0].path.as_str(), "c");
    assert!(!list(&mut net, conn)[0].collection);
}

#[test]
fn an_update_adds_replaces_and_removes() {
    let mut net = alone();
    let conn = net.peer(0, &["a", "b"]);
    net.say(0, conn, update(2, &["c", "b"], &["a", "never there"]));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 2, files: 2 }));
    let mut paths: Vec<_> = list(&mut net, conn).into_iter().map(|file| file.path.as_str().to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["b", "c"]);
}

#[test]
fn a_number_out_of_line_closes() {
    for seq in [0, 1, 3, u64::MAX] {
        let mut net = alone();
        let conn = net.peer(0, &["a"]);
        net.say(0, conn, update(seq, &["b"], &[]));
        assert_closed_for(&net, conn, ErrorCode::BAD_REQUEST);
    }
}

#[test]
fn what_comes_too_early_closes() {
    for message in [login(), register(1, vec![]), Message::Ping(Ping { n: 1 })] {
        let mut net = alone();
        let conn = net.connect(0);
        net.say(0, conn, message);
        assert_closed_for(&net, conn, ErrorCode::ORDER);
    }
    let mut net = alone();
    let conn = net.login(0);
    net.say(0, conn, update(1, &["a"], &[]));
    assert_closed_for(&net, conn, ErrorCode::ORDER);
}

#[test]
fn a_message_for_another_role_closes() {
    let get = Get { req: 1, root: Root([0; 32]), offset: 0, length: 1, bare: false };
    for message in [hello(), login(), Message::Get(get), Message::Ready(Ready::default())] {
        let mut net = alone();
        let conn = net.peer(0, &["a"]);
        net.say(0, conn, message);
        assert_closed_for(&net, conn, ErrorCode::ORDER);
    }
}

/// How a session ends, or that it continues.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Open,
    Bye,
    With(ErrorCode),
}

fn end(net: &Net, conn: ConnId) -> End {
    match net.nodes[0].said.last() {
        _ if !net.nodes[0].closed.contains(&conn) => End::Open,
        Some((_, Message::Error(error))) => End::With(error.code),
        _ => End::Bye,
    }
}

/// The table of PROTOCOL.md, "States".
#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is out of order")]
fn each_kind_of_message_is_taken_in_its_states_only() {
    let page = Message::Register(Register {
        seq: 1,
        port: 4778,
        host: None,
        more_addr: None,
        http: false,
        files: vec![file("a")],
        more: true,
    });
    let states = [vec![], vec![hello()], vec![hello(), login()], vec![hello(), login(), page]];
    for (state, before) in states.iter().enumerate() {
        for message in builders::one_of_each() {
            let mut net = alone();
            let conn = net.connect(0);
            before.iter().for_each(|message| net.say(0, conn, message.clone()));
            let expected = match message {
                Message::Bye(_) => End::Bye,
                Message::Error(_) | Message::Unknown(_) => End::Open,
                Message::Hello(_) if state == 0 => End::Open,
                Message::Login(_) if state == 1 => End::Open,
                Message::Enroll(_) if state == 1 => End::With(ErrorCode::MODE),
                Message::Query(_)
                | Message::List(_)
                | Message::Status(_)
                | Message::Ping(_)
                | Message::Join(_)
                | Message::Subscribe(_)
                | Message::Cancel(_)
                | Message::Leave(_)
                    if state >= 2 =>
                {
                    End::Open
                }
                Message::Register(_) if state == 2 => End::Open,
                // The message is in order, but its number is not the next one.
                Message::Register(_) if state == 3 => End::With(ErrorCode::BAD_REQUEST),
                _ => End::With(ErrorCode::ORDER),
            };
            let what = format!("{} in state {state}", message.kind());
            net.say(0, conn, message);
            assert_eq!(end(&net, conn), expected, "{what}");
        }
    }
}

#[test]
fn an_update_between_the_pages_of_a_register_closes() {
    let mut net = alone();
    let conn = net.login(0);
    net.say(
        0,
        conn,
        Message::Register(Register {
            seq: 1,
            port: 1,
            host: None,
            more_addr: None,
            http: false,
            files: vec![],
            more: true,
        }),
    );
    net.say(0, conn, update(2, &["a"], &[]));
    assert_closed_for(&net, conn, ErrorCode::ORDER);
}

#[test]
fn another_major_version_closes() {
    let mut net = alone();
    let conn = net.connect(0);
    let version = [PROTOCOL_VERSION[0] + 1, 0];
    let hello = Hello { version, node: NodeId([1; 16]), boot: 1, features: vec![], agent: String::new() };
    net.say(0, conn, Message::Hello(hello));
    assert_closed_for(&net, conn, ErrorCode::VERSION);
}

#[test]
fn an_unknown_login_mode_closes() {
    let mut net = alone();
    let conn = net.connect(0);
    net.say(0, conn, hello());
    net.say(0, conn, Message::Login(Login { mode: Mode::Unknown, credential: None }));
    assert_closed_for(&net, conn, ErrorCode::MODE);
}

#[test]
fn an_unknown_kind_is_answered_and_the_session_goes_on() {
    let mut net = alone();
    let conn = net.peer(0, &["a"]);
    net.say(0, conn, Message::Unknown("\u{7}".repeat(32)));
    assert!(matches!(last(&net), Message::Error(Error { code: ErrorCode::UNKNOWN_KIND, .. })));
    net.say(0, conn, Message::Ping(Ping { n: 5 }));
    assert_eq!(last(&net), &Message::Pong(Ping { n: 5 }));
}

#[test]
fn an_unknown_kind_before_hello_is_answered_and_the_session_goes_on() {
    let mut net = alone();
    let conn = net.connect(0);
    net.say(0, conn, Message::Unknown("NOPE".to_owned()));
    assert!(matches!(last(&net), Message::Error(Error { code: ErrorCode::UNKNOWN_KIND, .. })));
    net.say(0, conn, hello());
    assert!(matches!(last(&net), Message::Welcome(_)));
}

#[test]
fn garbage_is_answered_closed_and_counted_by_its_reason() {
    let mut net = alone();
    let conn = net.peer(0, &["a"]);
    net.input(0, Input::Malformed { conn, error: WireError::Trailing { bytes: 3 } });
    assert_closed_for(&net, conn, ErrorCode::MALFORMED);
    assert_eq!(net.count(0, Count::ClosedTrailing), 1);
    let conn = net.connect(0);
    net.input(0, Input::Malformed { conn, error: WireError::Malformed("\u{e4}".repeat(1000)) });
    let mut bytes = Vec::new();
    crate::wire::frame::encode(last(&net), &mut bytes);
    assert!(bytes.len() <= FRAME_BYTES_HELLO, "a peer that was not welcomed takes no longer frame");
}

#[test]
fn without_a_port_nothing_can_be_registered() {
    let nowhere = |files| {
        Message::Register(Register { seq: 1, port: 0, host: None, more_addr: None, http: false, files, more: false })
    };
    let mut net = alone();
    let conn = net.login(0);
    net.say(0, conn, nowhere(vec![]));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 1, files: 0 }));
    net.say(0, conn, update(2, &["a"], &[]));
    assert_closed_for(&net, conn, ErrorCode::BAD_REQUEST);
    let conn = net.login(0);
    net.say(0, conn, nowhere(vec![file("a")]));
    assert_closed_for(&net, conn, ErrorCode::BAD_REQUEST);
}

#[test]
fn an_advertised_host_replaces_the_observed_one() {
    let mut net = alone();
    let conn = net.login(0);
    let host = Some("peer.example".to_owned());
    net.say(
        0,
        conn,
        Message::Register(Register {
            seq: 1,
            port: 5,
            host,
            more_addr: None,
            http: false,
            files: vec![file("a")],
            more: false,
        }),
    );
    let (hits, _) = net.ask(0, "a", 0);
    assert_eq!(hits[0].addr.to_string(), "peer.example:5");
    let conn = net.login(0);
    let host = Some("no host".to_owned());
    net.say(
        0,
        conn,
        Message::Register(Register { seq: 1, port: 5, host, more_addr: None, http: false, files: vec![], more: false }),
    );
    assert_eq!(net.nodes[0].closed, [conn]);
}

#[test]
fn a_closed_session_takes_its_files_along() {
    let mut net = alone();
    let conn = net.peer(0, &["a", "b"]);
    assert_eq!(records(&net), 2);
    net.close(0, conn);
    assert_eq!((records(&net), net.machine(0).index().holders()), (0, 0));
}

#[test]
fn bye_closes_without_a_word() {
    let mut net = alone();
    let conn = net.peer(0, &["a"]);
    let said = net.nodes[0].said.len();
    net.say(0, conn, Message::Bye(Bye { why: "enough".into() }));
    assert_eq!((net.nodes[0].said.len(), &net.nodes[0].closed[..]), (said, &[conn][..]));
    assert_eq!(records(&net), 0);
}

#[test]
fn a_one_shot_client_asks_and_lists_without_registering() {
    let mut net = alone();
    net.peer(0, &["a"]);
    let conn = net.login(0);
    assert_eq!(list(&mut net, conn).len(), 1);
    let req = net.query(0, conn, search("a"), 7, 100);
    assert_eq!(net.done(0, req).map(|done| done.hits), Some(1));
    net.say(0, conn, Message::Status(Status { req: 3 }));
    let Message::Info(info) = last(&net) else { panic!("no INFO") };
    assert_eq!((info.req, info.counts["records"], info.counts["queries"]), (3, 1, 1));
}

#[test]
fn a_session_without_login_is_closed_at_the_deadline_and_not_before() {
    let mut net = alone();
    let early = net.connect(0);
    net.run_for(Duration::from_secs(1));
    let late = net.connect(0);
    net.say(0, late, hello());
    net.run_for(LOGIN_DEADLINE - Duration::from_millis(1001));
    assert!(net.nodes[0].closed.is_empty());
    net.run_for(Duration::from_millis(2));
    assert_closed_for(&net, early, ErrorCode::DEADLINE);
    net.run_for(Duration::from_secs(1));
    assert_closed_for(&net, late, ErrorCode::DEADLINE);
}

#[test]
fn half_open_sessions_have_a_cap_and_the_oldest_goes() {
    let mut net = alone();
    let open = net.login(0);
    let oldest = net.connect(0);
    for _ in 1..UNAUTHENTICATED_MAX {
        net.connect(0);
    }
    assert!(net.nodes[0].closed.is_empty());
    net.connect(0);
    assert_eq!(net.nodes[0].closed, [oldest]);
    net.say(0, open, Message::Ping(Ping { n: 5 }));
    assert_eq!(last(&net), &Message::Pong(Ping { n: 5 }));
}

#[test]
fn a_crowd_of_half_open_sessions_does_not_displace_another_host() {
    let mut net = alone();
    let other = net.connect_from(0, "[2001:db8::1]:5".parse().unwrap());
    let crowd: Vec<ConnId> = (1..UNAUTHENTICATED_MAX).map(|_| net.connect(0)).collect();
    net.connect(0);
    net.connect(0);
    assert_eq!(net.nodes[0].closed, crowd[..2]);
    net.say(0, other, hello());
    assert!(matches!(last(&net), Message::Welcome(_)));
}

#[test]
fn idle_sessions_are_closed_when_descriptors_are_short() {
    let mut net = alone();
    let holder = net.peer(0, &["a"]);
    let pings = net.login(0);
    let asks = net.login(0);
    for _ in 0..3 {
        net.run_for(Duration::from_secs(20));
        net.say(0, pings, Message::Ping(Ping { n: 1 }));
        net.say(0, asks, Message::Status(Status { req: 1 }));
    }
    let newcomer = net.connect(0);
    net.input(0, Input::Crowded { excess: 1 });
    assert_eq!(net.nodes[0].closed, [pings], "PING is no activity");
    let Message::Error(error) = last(&net) else { panic!("{:?}", last(&net)) };
    assert_eq!((error.code, net.count(0, Count::ClosedEvicted)), (ErrorCode::BUSY, 1));
    net.run_for(Duration::from_secs(2));
    net.input(0, Input::Crowded { excess: 3 });
    assert_eq!(net.nodes[0].closed[1..].iter().copied().collect::<BTreeSet<_>>(), [asks, newcomer, holder].into());
    assert_eq!(net.nodes[0].closed.last(), Some(&holder), "a session with files goes last");
}

#[test]
fn a_crowd_that_registers_files_does_not_keep_newcomers_out() {
    let mut net = alone();
    let crowd: Vec<ConnId> = (0..10).map(|_| net.peer(0, &["a"])).collect();
    net.run_for(Duration::from_secs(2));
    let newcomer = net.connect(0);
    net.input(0, Input::Crowded { excess: 1 });
    assert_eq!(net.nodes[0].closed, [crowd[0]]);
    net.say(0, newcomer, hello());
    assert!(matches!(last(&net), Message::Welcome(_)));
}

#[test]
fn a_silent_session_is_closed_and_one_that_pings_is_not() {
    let mut net = alone();
    let silent = net.peer(0, &["a"]);
    let lively = net.login(0);
    for _ in 0..8 {
        net.run_for(Duration::from_secs(29));
        net.say(0, lively, Message::Ping(Ping { n: 1 }));
    }
    assert_eq!(net.nodes[0].closed, [silent]);
    assert_eq!(net.count(0, Count::ClosedSilent), 1);
    assert!(net.wakeups() <= 8, "{} wakeups for two sessions in four minutes", net.wakeups());
}

#[test]
fn the_last_session_leaves_no_timer() {
    let mut net = alone();
    let conn = net.peer(0, &["a"]);
    net.run_for(Duration::from_secs(10));
    net.close(0, conn);
    // The index is tidied, and the number of peers reported, in the next turns.
    net.run_for(crate::config::SHARING_REPORT_EVERY);
    assert_eq!(net.machine(0).poll_timeout(), None);
}

#[test]
fn a_stale_id_is_counted_and_nothing_else() {
    let mut net = alone();
    let old = net.peer(0, &["a"]);
    net.close(0, old);
    let new = ConnId { generation: old.generation + 1, ..old };
    net.input(
        0,
        Input::Accepted {
            conn: new,
            from: "127.0.0.1:5".parse().unwrap(),
            to: [127, 0, 0, 1].into(),
            since: net.now(),
            key: None,
            unix: 0,
        },
    );
    net.say(0, old, register(1, vec![file("b")]));
    net.close(0, old);
    assert_eq!(net.count(0, Count::StaleConnection), 2);
    assert_eq!(net.machine(0).counts()["sessions"], 1);
}

#[test]
fn shutdown_sends_bye_to_all_and_accepts_no_session() {
    let mut net = alone();
    let open = net.peer(0, &["a"]);
    let half = net.connect(0);
    net.input(0, Input::Shutdown);
    assert_eq!(net.nodes[0].closed, [open, half]);
    let byes = net.nodes[0].said.iter().filter(|(_, message)| matches!(message, Message::Bye(_))).count();
    assert_eq!((byes, records(&net)), (2, 0));
    let late = net.connect(0);
    assert_eq!(net.nodes[0].closed.last(), Some(&late));
}

/// Registers pages with as many files as fit. Then the session ends, and returns with the same
/// files.
#[test]
fn files_of_a_session_that_goes_are_gone_at_once_and_leave_in_slices() {
    const FILES: u32 = 6000;
    let mut net = alone();
    let register_all = |net: &mut Net, conn| {
        let files = |from: u32| (from..from + 400).map(|n| file(&format!("song {n}"))).collect::<Vec<_>>();
        net.say(0, conn, register(1, files(0)));
        for (seq, from) in (2..).zip((400..FILES).step_by(400)) {
            net.say(0, conn, Message::Update(Update { seq, add: files(from), del: Vec::new() }));
        }
        net.run_for(Duration::from_millis(1));
    };
    let other = net.peer(0, &["song 7", "song of another"]);
    let conn = net.login(0);
    register_all(&mut net, conn);
    assert_eq!(records(&net), FILES as usize + 2);
    net.close(0, conn);
    assert_eq!(records(&net), 2);
    let (hits, done) = net.ask(0, "song", 0);
    assert_eq!((hits.len(), done.complete), (2, true), "nothing of it is found");
    assert_eq!(list(&mut net, other).len(), 2);
    // The session returns before all its files have been removed.
    let again = net.login(0);
    register_all(&mut net, again);
    assert_eq!(records(&net), FILES as usize + 2);
    net.say(0, again, register(16, vec![file("song 7")]));
    assert_eq!((records(&net), net.ask(0, "song", 0).0.len()), (3, 3));
    net.forget_traffic();
    net.run_for(Duration::from_secs(1));
    assert!(net.wakeups() > u64::from(FILES) / 300, "{} wake-ups", net.wakeups());
    assert_eq!(net.ask(0, "song", 0).0.len(), 3);
    let most = net.machine(0).counts()["call_work_max"];
    assert!((1..=CALL_WORK_MAX as u64).contains(&most), "{most}");
    net.machine(0).check_invariants();
}

#[test]
fn many_sessions_end_and_fall_silent_in_slices() {
    const SESSIONS: usize = 700;
    for shutdown in [false, true] {
        let mut net = alone();
        let conns: Vec<_> = (0..SESSIONS).map(|_| net.login(0)).collect();
        net.forget_traffic();
        if shutdown {
            net.input(0, Input::Shutdown);
            assert!(net.nodes[0].closed.len() < SESSIONS, "not all in one turn");
            net.run_for(Duration::from_secs(1));
        } else {
            net.run_for(PING_INTERVAL * 4);
        }
        assert_eq!(net.nodes[0].closed.len(), conns.len());
        assert!(net.wakeups() > 2, "{} wake-ups", net.wakeups());
        let most = net.machine(0).counts()["call_work_max"];
        assert!((1..=CALL_WORK_MAX as u64 / 4).contains(&most), "{most}");
        assert_eq!((net.machine(0).counts()["sessions"], net.machine(0).poll_timeout()), (0, None));
    }
}

// ---- memory -------------------------------------------------------------------------------------

fn set_memory(net: &mut Net, short: bool) {
    net.input(0, Input::Memory { short });
}

/// An ERROR 12 was sent about this request, or about the session.
fn was_refused(net: &Net, conn: ConnId, req: Option<u32>) -> bool {
    let refusal = |message: &Message| matches!(message, Message::Error(error) if error.code == ErrorCode::LIMIT && error.req == req);
    net.nodes[0].said.iter().any(|(to, message)| *to == conn && refusal(message))
}

#[test]
fn while_memory_is_short_new_sessions_and_queries_are_refused_and_others_stay() {
    let mut net = alone();
    let old = net.peer(0, &["a"]);
    let asking = net.login(0);
    set_memory(&mut net, true);
    let new = net.connect(0);
    net.say(0, new, hello());
    assert!(was_refused(&net, new, None) && net.nodes[0].closed == [new]);
    let req = net.query(0, asking, search("a"), 7, 2000);
    assert!(was_refused(&net, asking, Some(req)) && net.done(0, req).is_none());
    assert_eq!((records(&net), net.nodes[0].closed.len()), (1, 1), "what is registered stays");
    let counts = net.machine(0).counts();
    assert_eq!([counts["closed_memory"], counts["queries_refused_memory"], counts["queries_refused"]], [1, 1, 1]);
    net.say(0, old, Message::Ping(Ping { n: 5 }));
    assert_eq!(last(&net), &Message::Pong(Ping { n: 5 }));
    set_memory(&mut net, false);
    let (hits, done) = net.ask(0, "a", 7);
    assert_eq!((hits.len(), done.complete), (1, true));
}

#[test]
fn while_memory_is_short_new_files_are_refused_and_registered_ones_stay() {
    let mut net = alone();
    let old = net.peer(0, &["a", "b"]);
    let new = net.login(0);
    set_memory(&mut net, true);
    net.say(0, old, update(2, &["c"], &["b"]));
    assert!(was_refused(&net, old, None));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 2, files: 1 }), "the removal counts, the new file does not");
    net.say(0, old, register(3, vec![file("x"), file("y")]));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 3, files: 1 }), "the old list stays");
    net.say(0, new, register(1, vec![file("d")]));
    assert!(was_refused(&net, new, None) && net.nodes[0].closed == [new], "it has nothing here and goes elsewhere");
    assert_eq!((records(&net), net.machine(0).counts()["pages_refused"]), (1, 2));
    set_memory(&mut net, false);
    net.say(0, old, update(4, &["c"], &[]));
    assert_eq!(last(&net), &Message::Ack(Ack { seq: 4, files: 2 }));
}

#[test]
fn records_leave_room_in_the_memory_budget_for_queries() {
    let mut net = Net::cold_with(1, &[], |_, config| config.memory = 1 << 20);
    let conn = net.peer(0, &["first"]);
    let mut files = 1;
    for page in 0..40_u32 {
        let paths: Vec<String> = (0..400).map(|n| format!("page {page} file {n}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        net.say(0, conn, update(u64::from(page) + 2, &paths, &[]));
        let Message::Ack(ack) = last(&net) else { panic!("{:?}", last(&net)) };
        files = ack.files;
    }
    assert!((1000..10_000).contains(&files), "{files} files took a MiB");
    assert!(was_refused(&net, conn, None) && net.nodes[0].closed.is_empty());
    let (hits, done) = net.ask(0, "first", 7);
    assert_eq!((hits.len(), done.complete), (1, true), "it still answers");
}
