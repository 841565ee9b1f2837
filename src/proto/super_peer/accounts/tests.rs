//! Logins, message by message: what each connection proves and shows, and how it is answered.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::PAGE_FILES_AT_ONCE;
use crate::proto::command::UserCommand;
use crate::proto::super_peer::testnet::{Net, addr_of, file, register, search};
use crate::proto::{ClientEvent, Command, Event, Input, Output, Role};
use crate::sim::builders;
use crate::trust::accounts::CLASS_DEFAULT;
use crate::trust::credential::Terms;
use crate::trust::{Credential, Limits, Pin, Token};
use crate::wire::message::{ClassRate, Enroll, Hello, Query, Status, Subscribe, Update};
use crate::wire::{Message, Search};

const UNIX: u64 = 1_700_000_000;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// The super peer has the key 100 and knows the operator 101.
fn config(accounts: Accounts) -> LoginConfig {
    let (secret, operators) = (secret(100), vec![secret(101).public()]);
    LoginConfig { secret, rotation: Rotation::default(), operators, accounts, unix: UNIX }
}

fn net() -> Net {
    let mut net = Net::cold_with(1, &[], |_, super_peer| {
        let mut accounts = Accounts::default();
        accounts.invite("zoe", None, &Token::new([7; 20]), UNIX + 100, None, UNIX).unwrap();
        super_peer.login = Some(Arc::new(config(accounts)));
    });
    net.run_for(Duration::from_millis(1));
    net
}

fn credential(name: &str, key: u8, not_after: Option<u64>, operator: u8) -> Vec<u8> {
    let (name, class, key) = (name.to_owned(), CLASS_DEFAULT.to_owned(), secret(key).public());
    let terms = Terms { name, class, key, issued: UNIX, not_before: None, not_after };
    Credential::sign(terms, &secret(operator)).encode()
}

/// A connection that has proved the key, and has sent HELLO.
fn connect(net: &mut Net, key: u8) -> ConnId {
    let conn = silent(net, key);
    net.say(0, conn, Message::Hello(Hello::new(secret(key).public().node(), 1, "test".into())));
    conn
}

fn silent(net: &mut Net, key: u8) -> ConnId {
    let index = u32::try_from(net.nodes[0].said.len()).unwrap() + 1000;
    let conn = ConnId { index, generation: 1 };
    let from = ([192, 0, 2, key], 40_000).into();
    let (to, since) = ([192, 0, 2, 200].into(), net.now());
    let unix = UNIX + since.as_micros() / 1_000_000;
    net.input(0, Input::Accepted { conn, from, to, since, key: Some(secret(key).public()), unix });
    conn
}

fn login(net: &mut Net, key: u8, credential: Vec<u8>) -> ConnId {
    let conn = connect(net, key);
    net.say(0, conn, Message::Login(Login::with_credential(credential)));
    conn
}

fn said(net: &Net, conn: ConnId) -> Vec<&Message> {
    net.nodes[0].said.iter().filter(|(to, _)| *to == conn).map(|(_, message)| message).collect()
}

fn is_open(net: &Net, conn: ConnId) -> bool {
    said(net, conn).iter().any(|message| matches!(message, Message::Ready(_))) && !net.nodes[0].closed.contains(&conn)
}

/// The code of the ERROR with which a connection was closed.
fn refused(net: &Net, conn: ConnId) -> ErrorCode {
    assert!(net.nodes[0].closed.contains(&conn), "it is closed: {:?}", said(net, conn));
    match said(net, conn)[..] {
        [.., Message::Error(error)] => error.code,
        ref other => panic!("no ERROR last: {other:?}"),
    }
}

fn command(net: &mut Net, command: UserCommand) -> Vec<ClientEvent> {
    net.command(0, Command::User(command))
}

fn is_done(events: &[ClientEvent]) -> bool {
    matches!(events, [.., ClientEvent::Done(outcome)] if outcome.ok)
}

/// The table of PROTOCOL.md, "States", before READY: a connection gets nothing else.
#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is out of order")]
fn before_its_login_a_connection_gets_nothing_but_an_error() {
    for greeted in [false, true] {
        for message in builders::one_of_each() {
            let mut net = net();
            let conn = if greeted { connect(&mut net, 1) } else { silent(&mut net, 1) };
            let before = said(&net, conn).len();
            let what = format!("{}, greeted: {greeted}", message.kind());
            let expected = match &message {
                Message::Bye(_) | Message::Error(_) => None,
                Message::Unknown(_) => Some(ErrorCode::UNKNOWN_KIND),
                // HELLO with the node id of another key.
                Message::Hello(_) if !greeted => Some(ErrorCode::LOGIN),
                // LOGIN of the mode `open`.
                Message::Login(_) if greeted => Some(ErrorCode::MODE),
                // ENROLL of a user without an invitation.
                Message::Enroll(_) if greeted => Some(ErrorCode::INVITATION),
                _ => Some(ErrorCode::ORDER),
            };
            let stays = matches!(message, Message::Error(_) | Message::Unknown(_));
            net.say(0, conn, message);
            let code = |message: &&Message| if let Message::Error(error) = message { Some(error.code) } else { None };
            let answers: Vec<_> = said(&net, conn)[before..].iter().map(code).collect();
            assert_eq!(answers, Vec::from_iter(expected.map(Some)), "{what}");
            assert_eq!(!net.nodes[0].closed.contains(&conn), stays, "{what}");
        }
    }
}

#[test]
fn a_credential_of_an_operator_opens_a_session() {
    let mut net = net();
    for operator in [100, 101] {
        let conn = login(&mut net, 1, credential("ann", 1, None, operator));
        assert!(is_open(&net, conn), "{:?}", said(&net, conn));
        let Message::Welcome(welcome) = said(&net, conn)[0] else { panic!() };
        assert_eq!(welcome.mode, Mode::Login);
        let Message::Ready(ready) = said(&net, conn)[1] else { panic!() };
        assert_eq!(ready.operators.len(), 2);
    }
}

#[test]
fn every_other_login_is_refused_with_its_reason() {
    let mut net = net();
    let damaged = [&credential("ann", 1, None, 101)[1..], &[0]].concat();
    for (key, credential, code, count) in [
        (2, credential("ann", 1, None, 101), ErrorCode::LOGIN, Count::LoginOtherKey),
        (1, credential("ann", 1, None, 102), ErrorCode::LOGIN, Count::LoginUnknownOperator),
        (1, credential("ann", 1, Some(UNIX - 1), 101), ErrorCode::EXPIRED, Count::LoginExpired),
        (1, damaged, ErrorCode::LOGIN, Count::LoginMalformed),
    ] {
        let conn = login(&mut net, key, credential);
        assert_eq!(refused(&net, conn), code);
        assert_eq!(net.count(0, count), 1);
    }
    let conn = connect(&mut net, 1);
    net.say(0, conn, Message::Login(Login { mode: Mode::Login, credential: None }));
    assert_eq!(refused(&net, conn), ErrorCode::LOGIN);
    let conn = connect(&mut net, 1);
    net.say(0, conn, Message::Login(Login::open()));
    assert_eq!(refused(&net, conn), ErrorCode::MODE);
}

#[test]
fn the_node_of_a_hello_is_that_of_the_key() {
    let mut net = net();
    let conn = silent(&mut net, 1);
    net.say(0, conn, Message::Hello(Hello::new(secret(2).public().node(), 1, "test".into())));
    assert_eq!(refused(&net, conn), ErrorCode::LOGIN);
    assert!(said(&net, conn).iter().all(|message| !matches!(message, Message::Welcome(_))));
}

#[test]
fn nothing_is_answered_before_the_login() {
    let mut net = net();
    for message in [
        register(1, vec![file("a")]),
        Message::Query(Query { req: 1, find: search("a"), ttl: None, budget: None, policy: None }),
        Message::Update(Update { seq: 1, add: vec![file("a")], del: vec![] }),
    ] {
        let conn = connect(&mut net, 1);
        net.say(0, conn, message);
        assert_eq!(refused(&net, conn), ErrorCode::ORDER);
        assert_eq!(net.machine(0).index().records(), 0);
    }
}

#[test]
fn the_deadline_counts_from_the_accept() {
    let mut net = net();
    net.run_for(Duration::from_secs(10));
    let slow = ConnId { index: 1, generation: 1 };
    let fast = ConnId { index: 2, generation: 1 };
    let (from, to, unix) = (([192, 0, 2, 1], 1).into(), [192, 0, 2, 200].into(), UNIX);
    let key = Some(secret(1).public());
    let handshake = Duration::from_secs(4);
    net.input(0, Input::Accepted { conn: fast, from, to, since: net.now(), key, unix });
    net.input(0, Input::Accepted { conn: slow, from, to, since: net.now() - handshake, key, unix });
    net.run_for(Duration::from_millis(1_100));
    assert_eq!(net.nodes[0].closed, [slow]);
    net.run_for(Duration::from_secs(4));
    assert_eq!(net.nodes[0].closed, [slow, fast]);
}

#[test]
fn an_invitation_gets_one_key_a_credential_once_it_is_saved() {
    let mut net = net();
    let enroll = |token: u8| Message::Enroll(Enroll { user: "zoe".into(), token: vec![token; 20] });
    let conn = connect(&mut net, 1);
    net.say(0, conn, enroll(8));
    assert_eq!(refused(&net, conn), ErrorCode::INVITATION);
    let conn = connect(&mut net, 1);
    net.say(0, conn, enroll(7));
    let Message::Enrolled(enrolled) = said(&net, conn)[1].clone() else { panic!("{:?}", said(&net, conn)) };
    net.say(0, conn, Message::Login(Login::with_credential(enrolled.credential.clone())));
    assert!(is_open(&net, conn));
    // The first answer was lost.
    let again = connect(&mut net, 1);
    net.say(0, again, enroll(7));
    let [_, Message::Enrolled(same)] = said(&net, again)[..] else { panic!("{:?}", said(&net, again)) };
    assert_eq!(*same, enrolled);
    // Another key is refused.
    let other = connect(&mut net, 2);
    net.say(0, other, enroll(7));
    assert_eq!(refused(&net, other), ErrorCode::INVITATION);
    let stolen = login(&mut net, 2, enrolled.credential);
    assert_eq!(refused(&net, stolen), ErrorCode::LOGIN);
}

#[test]
fn an_invitation_that_is_shown_again_is_not_saved_again() {
    let mut accounts = Accounts::default();
    accounts.invite("zoe", None, &Token::new([7; 20]), UNIX + 100, None, UNIX).unwrap();
    let mut logins = Logins::new(Some(&config(accounts)));
    let enroll = Enroll { user: "zoe".into(), token: vec![7; 20] };
    let show = |logins: &mut Logins, index: u32| {
        let conn = ConnId { index, generation: 1 };
        logins.on_accepted(conn, Some(secret(1).public()), Time::ZERO, UNIX);
        logins.on_enroll(conn, &enroll, Time::ZERO).unwrap()
    };
    // The first save fails, so the account is not on the disk.
    for (index, is_saved) in [(1, false), (2, true)] {
        assert_eq!(show(&mut logins, index), None);
        assert!(logins.poll_save().is_some());
        assert_eq!(logins.on_saved(is_saved).len(), 1);
    }
    for index in 3..6 {
        assert!(show(&mut logins, index).is_some());
        assert!(logins.poll_save().is_none());
    }
}

#[test]
fn what_is_revoked_is_out_at_once_and_all_others_hear_of_it() {
    let mut net = net();
    let conn = connect(&mut net, 1);
    net.say(0, conn, Message::Enroll(Enroll { user: "zoe".into(), token: vec![7; 20] }));
    let Message::Enrolled(enrolled) = said(&net, conn)[1].clone() else { panic!() };
    net.say(0, conn, Message::Login(Login::with_credential(enrolled.credential.clone())));
    net.say(0, conn, register(1, vec![file("a"), file("b")]));
    let other = login(&mut net, 2, credential("bob", 2, None, 101));
    assert_eq!(net.machine(0).index().records(), 2);
    assert!(is_done(&command(&mut net, UserCommand::Revoke { name: "zoe".into(), unix: UNIX + 5 })));
    assert_eq!(refused(&net, conn), ErrorCode::REVOKED);
    assert_eq!(net.machine(0).index().records(), 0);
    net.run_for(Duration::from_millis(10));
    let heard = |conn| {
        said(&net, conn)
            .iter()
            .find_map(|message| if let Message::Revoked(it) = message { Some(it.clone()) } else { None })
    };
    let list = heard(other).expect("the other session hears of it").list;
    assert_eq!(list, [RevokedKey { key: KeyBytes(*secret(1).public().as_bytes()), at: UNIX + 5 }]);
    let again = login(&mut net, 1, enrolled.credential);
    assert_eq!(refused(&net, again), ErrorCode::REVOKED);
    // A session that opens later gets the list too.
    let late = login(&mut net, 3, credential("cid", 3, None, 101));
    assert!(said(&net, late).iter().any(|message| matches!(message, Message::Revoked(_))));
    // The key of an operator's account is denied on its own.
    let key = secret(3).public();
    assert!(is_done(&command(&mut net, UserCommand::Deny { key, until: UNIX - 1 })));
    assert!(is_open(&net, late), "its credential is younger");
    assert!(is_done(&command(&mut net, UserCommand::Deny { key, until: UNIX })));
    assert_eq!(refused(&net, late), ErrorCode::REVOKED);
}

#[test]
fn a_key_that_is_denied_does_not_come_back_with_its_old_invitation() {
    let mut net = net();
    let enroll = || Message::Enroll(Enroll { user: "zoe".into(), token: vec![7; 20] });
    let conn = connect(&mut net, 1);
    net.say(0, conn, enroll());
    assert!(matches!(said(&net, conn)[..], [_, Message::Enrolled(_)]));
    let key = secret(1).public();
    assert!(is_done(&command(&mut net, UserCommand::Deny { key, until: UNIX + 5 })));
    let again = connect(&mut net, 1);
    net.say(0, again, enroll());
    assert_eq!(refused(&net, again), ErrorCode::INVITATION);
}

#[test]
fn a_session_ends_with_its_credential() {
    let mut net = net();
    let conn = login(&mut net, 1, credential("ann", 1, Some(UNIX + 60), 101));
    assert!(is_open(&net, conn));
    net.run_for(Duration::from_secs(55));
    net.say(0, conn, Message::Ping(crate::wire::message::Ping { n: 1 }));
    assert!(is_open(&net, conn));
    net.run_for(Duration::from_secs(10));
    assert_eq!(refused(&net, conn), ErrorCode::EXPIRED);
}

#[test]
fn a_clock_that_is_wrong_is_reported_once() {
    let mut net = net();
    let terms = |issued| {
        let (name, class, key) = ("ann".to_owned(), CLASS_DEFAULT.to_owned(), secret(1).public());
        let terms = Terms { name, class, key, issued, not_before: None, not_after: Some(issued + 1) };
        Credential::sign(terms, &secret(101)).encode()
    };
    for _ in 0..2 {
        let conn = login(&mut net, 1, terms(UNIX + 1_000_000));
        assert!(is_open(&net, conn));
    }
    let warnings = net.nodes[0].events.iter().filter(|event| matches!(event, Event::Log { .. })).count();
    assert_eq!(warnings, 1);
}

#[test]
fn a_refused_login_names_the_limit_of_its_class() {
    let mut net = net();
    let (class, limits) = (CLASS_DEFAULT.to_owned(), Limits { sessions: Some(1), ..Limits::default() });
    assert!(is_done(&command(&mut net, UserCommand::Limits { class, limits })));
    login(&mut net, 1, credential("ann", 1, None, 101));
    let second = login(&mut net, 2, credential("ann", 2, None, 101));
    let why = "the account ann has 1 session, as many as its class allows";
    assert!(said(&net, second).iter().any(|message| matches!(message, Message::Error(error) if error.message == why)));
}

#[test]
fn a_class_limits_what_its_accounts_use() {
    let mut net = net();
    let limits = Limits {
        files: Some(3),
        name_bytes: Some(10),
        queries_per_second: Some(1),
        sessions: Some(2),
        upload_bytes_per_second: None,
    };
    let class = CLASS_DEFAULT.to_owned();
    assert!(is_done(&command(&mut net, UserCommand::Limits { class, limits })));
    let conn = login(&mut net, 1, credential("ann", 1, None, 101));
    net.say(0, conn, register(1, ["a", "b", "c", "d"].map(file).to_vec()));
    assert_eq!(net.machine(0).index().records(), 3, "those that fit");
    assert!(matches!(said(&net, conn)[..], [.., Message::Error(_), Message::Ack(_)]), "{:?}", said(&net, conn));
    // A new file may replace another one.
    net.say(0, conn, Message::Update(Update { seq: 2, add: vec![file("e")], del: vec![file("a").path] }));
    assert_eq!(net.machine(0).index().records(), 3);
    // A changed file does not count as another one.
    let changed = crate::wire::FileRecord { size: 77, ..file("b") };
    net.say(0, conn, Message::Update(Update { seq: 3, add: vec![changed], del: vec![] }));
    assert!(matches!(said(&net, conn)[..], [.., Message::Ack(_), Message::Ack(_)]), "{:?}", said(&net, conn));
    let again = search("b");
    net.say(0, conn, Message::Query(Query { req: 99, find: again, ttl: None, budget: None, policy: None }));
    assert!(matches!(said(&net, conn)[..], [.., Message::Hit(hit), Message::Done(_)] if hit.hits[0].size == 77));
    net.run_for(Duration::from_secs(1));
    // The first page replaces the list. The length of paths counts too.
    net.say(0, conn, register(4, ["f", "a-long-path"].map(file).to_vec()));
    assert_eq!(net.machine(0).index().records(), 1);
    // The limits belong to the account, not to the session.
    let second = login(&mut net, 2, credential("ann", 2, None, 101));
    net.say(0, second, register(1, ["g", "h", "i"].map(file).to_vec()));
    assert_eq!(net.machine(0).index().records(), 3);
    let third = login(&mut net, 3, credential("ann", 3, None, 101));
    assert_eq!(refused(&net, third), ErrorCode::LIMIT);
    net.close(0, second);
    assert_eq!(net.machine(0).index().records(), 1);
    net.say(0, conn, register(5, ["j", "k", "l"].map(file).to_vec()));
    assert_eq!(net.machine(0).index().records(), 3, "what the other session had is free again");
    for req in 0..20 {
        let query = Query { req, find: search("a"), ttl: None, budget: None, policy: None };
        net.say(0, conn, Message::Query(query));
    }
    assert_eq!(net.count(0, Count::AccountQueries), 12, "a burst of 8, then one a second");
}

#[test]
fn long_pages_of_two_sessions_share_the_room_of_their_account() {
    let mut net = net();
    let files = 2 * PAGE_FILES_AT_ONCE;
    let limits = Limits { files: Some(files as u64), ..Limits::default() };
    assert!(is_done(&command(&mut net, UserCommand::Limits { class: CLASS_DEFAULT.to_owned(), limits })));
    let sessions = [1, 2].map(|key| login(&mut net, key, credential("ann", key, None, 101)));
    let now = net.now();
    for conn in sessions {
        let page = (0..files).map(|n| file(&format!("{n}"))).collect();
        net.machine_mut(0).handle_input(now, Input::Message { conn, message: register(1, page) });
    }
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        net.machine_mut(0).handle_timeout(now);
        let outputs = std::iter::from_fn(|| net.machine_mut(0).poll_output());
        kinds.extend(outputs.filter_map(|output| {
            let Output::Send { conn, message } = output else { return None };
            Some((conn, message.kind()))
        }));
    }
    assert_eq!(net.machine(0).index().records(), files);
    kinds.sort_unstable();
    let each = sessions.map(|conn| [(conn, "ACK"), (conn, "ERROR")]);
    assert_eq!(kinds, each.as_flattened(), "one ERROR a page");
}

#[test]
fn sessions_hear_what_a_peer_may_send_to_the_accounts_of_each_class() {
    let heard = |net: &Net, conn| {
        let mut classes = said(net, conn).into_iter().rev();
        classes.find_map(|it| if let Message::Classes(it) = it { Some(it.list.clone()) } else { None })
    };
    let set = |net: &mut Net, rate| {
        let limits = Limits { upload_bytes_per_second: Some(rate), ..Limits::default() };
        assert!(is_done(&command(net, UserCommand::Limits { class: "slow".to_owned(), limits })));
        net.run_for(Duration::from_millis(10));
    };
    let slow = |upload| Some(vec![ClassRate { class: "slow".to_owned(), upload }]);
    let mut net = net();
    let early = login(&mut net, 1, credential("ann", 1, None, 101));
    assert_eq!(heard(&net, early), None);
    set(&mut net, 5000);
    let late = login(&mut net, 2, credential("bob", 2, None, 101));
    assert_eq!((heard(&net, early), heard(&net, late)), (slow(5000), slow(5000)));
    set(&mut net, 0);
    assert_eq!((heard(&net, early), heard(&net, late)), (slow(0), slow(0)));
}

#[test]
fn an_operator_adds_lists_and_sets_users() {
    let mut net = net();
    let token = Token::new([9; 20]).hash();
    let add =
        UserCommand::Add { name: "ann".into(), class: None, token, until: UNIX + 100, valid_s: Some(60), unix: UNIX };
    assert!(is_done(&command(&mut net, add)));
    let rows = command(&mut net, UserCommand::List);
    let names: Vec<_> =
        rows.iter().filter_map(|row| if let ClientEvent::User(row) = row { Some(&*row.name) } else { None }).collect();
    assert_eq!(names, ["ann", "zoe"]);
    assert!(is_done(&rows));
    let unknown = command(&mut net, UserCommand::Class { name: "ann".into(), class: "big".into() });
    assert!(!is_done(&unknown));
    let conn = connect(&mut net, 5);
    net.say(0, conn, Message::Enroll(Enroll { user: "ann".into(), token: vec![9; 20] }));
    assert!(matches!(said(&net, conn)[..], [_, Message::Enrolled(_)]));
    net.say(0, conn, Message::Enroll(Enroll { user: "ann".into(), token: vec![9; 20] }));
    assert_eq!(refused(&net, conn), ErrorCode::ORDER, "ENROLL is allowed once");
}

#[test]
fn an_open_super_peer_refuses_a_login_by_name() {
    let mut net = Net::new(1, &[]);
    let conn = net.connect(0);
    net.say(0, conn, crate::proto::super_peer::testnet::hello());
    net.say(0, conn, Message::Login(Login::with_credential(vec![1])));
    assert_eq!(refused(&net, conn), ErrorCode::MODE);
    assert!(!is_done(&command(&mut net, UserCommand::List)));
}

/// Searches for the files of one account, both queries and subscriptions.
#[test]
fn a_search_may_ask_for_the_files_of_one_account() {
    let mut net = net();
    let asker = login(&mut net, 1, credential("zoe", 1, None, 101));
    let find = Search { user: Some("ann".to_owned().into()), ..search("*.iso") };
    net.say(0, asker, Message::Subscribe(Subscribe { req: 1, find: find.clone() }));
    for (key, name, path) in [(2, "ann", "of ann.iso"), (3, "bob", "of bob.iso")] {
        let conn = login(&mut net, key, credential(name, key, None, 101));
        net.say(0, conn, register(1, vec![file(path)]));
    }
    net.run_for(Duration::from_millis(10));
    net.say(0, asker, Message::Query(Query { req: 2, find, ttl: None, budget: None, policy: None }));
    net.run_for(Duration::from_millis(10));
    for req in [1, 2] {
        let paths: Vec<String> = net.hits(0, req).iter().map(|hit| hit.path.as_str().to_owned()).collect();
        assert_eq!(paths, ["of ann.iso"], "request {req}");
    }
}

/// With the key of a neighbor, its holder could ask this neighbor.
#[test]
fn only_an_operator_gets_the_keys_of_neighbors() {
    let mut net = Net::cold_with(1, &[], |_, super_peer| {
        super_peer.neighbors = vec![Pin { key: Some(secret(102).public()), ..Pin::from(addr_of(1)) }];
        super_peer.login = Some(Arc::new(config(Accounts::default())));
    });
    net.run_for(Duration::from_millis(1));
    for (key, gets) in [(1, false), (101, true)] {
        let conn = login(&mut net, key, credential("zoe", key, None, 101));
        net.say(0, conn, Message::Status(Status { req: 1 }));
        let answers = said(&net, conn);
        let Some(Message::Info(info)) = answers.last() else { panic!("{answers:?}") };
        assert_eq!((info.links.len(), info.links[0].key.is_some()), (1, gets), "{info:?}");
    }
}
