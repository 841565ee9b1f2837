//! Messages out of order, in login mode: each kind of message in each state of a session and of a
//! chunk connection. A message that the tables of PROTOCOL.md do not allow ends the connection, and
//! has no other effect.

use std::time::Duration;

use super::harness::{Manner, Super, World, addr};
use crate::config::PIECE_BYTES;
use crate::proto::weak_peer::PeerLogin;
use crate::proto::{ConnId, DiskDone, DiskWork, Event, Input, Output};
use crate::sim::builders;
use crate::trust::accounts::CLASS_DEFAULT;
use crate::trust::credential::Terms;
use crate::trust::{Credential, Pin, PublicKey, Rotation, SecretKey, Token};
use crate::wire::message::{
    Chunk, Cvs, Enrolled, Error, ErrorCode, Get, Hello, Login, Mode, Ready, Revoked, RevokedKey,
};
use crate::wire::swarm::{FEATURE_SWARM, Has, Turn};
use crate::wire::{KeyBytes, Message, NodeId, Root};

const OWN: u8 = 1;
const SUPER: u8 = 10;
const OTHER: u8 = 11;
const OPERATOR: u8 = 20;
const SOURCE: u8 = 30;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn key(seed: u8) -> PublicKey {
    secret(seed).public()
}

fn credential(of: u8, operator: u8) -> Credential {
    let (name, class, key) = (format!("peer{of}"), CLASS_DEFAULT.to_owned(), key(of));
    let terms = Terms { name, class, key, issued: 100, not_before: None, not_after: None };
    Credential::sign(terms, &secret(operator))
}

/// A peer with a credential or an invitation. Its only super peer must prove the key `SUPER`, and
/// proves the key `proves`.
fn world(joined: bool, proves: u8) -> World {
    let credential = joined.then(|| credential(OWN, OPERATOR));
    let invitation = (!joined).then(|| ("ann".to_owned(), Token::new([7; 20])));
    let login = PeerLogin { key: key(OWN), credential, invitation };
    let pin = Pin { key: Some(key(SUPER)), at: addr(1) };
    let mut world = World::new(1, 5).with_login(login, vec![pin]);
    world.keys.insert(addr(1), key(proves));
    world
}

/// The message in the form in which the owner of this key would send it.
fn as_sent_by(message: Message, of: u8) -> Message {
    match message {
        Message::Hello(hello) => {
            Message::Hello(Hello { node: key(of).node(), features: vec![FEATURE_SWARM.into()], ..hello })
        }
        Message::Welcome(mut welcome) => {
            (welcome.node, welcome.mode) = (key(of).node(), Mode::Login);
            Message::Welcome(welcome)
        }
        Message::Login(_) => Message::Login(Login::with_credential(credential(of, OPERATOR).encode())),
        Message::Ready(_) => {
            let operators = vec![KeyBytes(*key(of).as_bytes())];
            Message::Ready(Ready { operators, credential: Some(credential(of, OPERATOR).encode()) })
        }
        // A valid credential, signed by the sender.
        Message::Enrolled(_) => Message::Enrolled(Enrolled { credential: credential(OWN, of).encode() }),
        Message::Revoked(_) => {
            let key = KeyBytes(*key(SOURCE).as_bytes());
            Message::Revoked(Revoked { list: vec![RevokedKey { key, at: u64::MAX }] })
        }
        other => other,
    }
}

fn kinds(world: &World) -> Vec<&'static str> {
    world.heard(0).iter().map(Message::kind).collect()
}

// ---- sessions -----------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The super peer has proved another key than the expected one.
    Doubted,
    /// As `Doubted`, but the peer has an invitation in place of a credential.
    DoubtedInvited,
    /// HELLO and LOGIN are sent.
    Greeting,
    /// WELCOME has come; ENROLL is sent.
    Enrolling,
    /// WELCOME has come; LOGIN is sent.
    LoggingIn,
    Up,
}

/// A peer whose session is in this state, and its connection. Its super peer sends nothing on its
/// own.
fn session(stage: Stage) -> (World, ConnId) {
    let joined = !matches!(stage, Stage::Enrolling | Stage::DoubtedInvited);
    let proves = if matches!(stage, Stage::Doubted | Stage::DoubtedInvited) { OTHER } else { SUPER };
    let mut world = world(joined, proves);
    world.supers[0].1.manner = Super::Silent;
    world.run_until(|world| !world.heard(0).is_empty());
    let welcome = Message::Welcome(world.welcome_of(&addr(1)));
    let said = match stage {
        Stage::Doubted | Stage::DoubtedInvited | Stage::Greeting => vec![],
        Stage::Enrolling | Stage::LoggingIn => vec![welcome],
        Stage::Up => vec![welcome, Message::Ready(Ready::default())],
    };
    said.into_iter().for_each(|message| world.super_says(0, message));
    world.run_for(Duration::from_millis(2));
    let conn = world.supers[0].1.conn.unwrap();
    assert!(world.is_open(conn), "{stage:?}");
    (world, conn)
}

/// Whether the connection must stay open after this message.
fn stays_open(message: &Message, stage: Stage) -> bool {
    match message {
        Message::Error(_) | Message::Unknown(_) => true,
        Message::Welcome(_) => stage == Stage::Greeting,
        Message::Enrolled(_) => stage == Stage::Enrolling,
        Message::Ready(_) => stage == Stage::LoggingIn,
        Message::Ack(_)
        | Message::Hit(_)
        | Message::Done(_)
        | Message::Files(_)
        | Message::Info(_)
        | Message::Peers(_)
        | Message::Ping(_)
        | Message::Pong(_)
        | Message::Reach(_)
        | Message::Revoked(_)
        | Message::Classes(_) => stage == Stage::Up,
        _ => false,
    }
}

/// Events by which a peer trusts a super peer.
fn trusts(world: &World) -> usize {
    let trusts =
        |event: &&Event| matches!(event, Event::Welcomed { .. } | Event::SuperKey { .. } | Event::Enrolled { .. });
    world.events.iter().map(|(_, event)| event).filter(trusts).count()
}

#[test]
fn a_super_peer_is_taken_at_its_word_only_in_order_and_with_its_key() {
    let stages =
        [Stage::Doubted, Stage::DoubtedInvited, Stage::Greeting, Stage::Enrolling, Stage::LoggingIn, Stage::Up];
    for stage in stages {
        for message in builders::one_of_each() {
            let (mut world, conn) = session(stage);
            let (heard, before) = (world.heard(0).len(), trusts(&world));
            let proves = if matches!(stage, Stage::Doubted | Stage::DoubtedInvited) { OTHER } else { SUPER };
            let message = as_sent_by(message, proves);
            let what = format!("{} in {stage:?}", message.kind());
            let stays = stays_open(&message, stage);
            world.super_says(0, message);
            world.run_for(Duration::from_millis(2));
            assert_eq!(world.is_open(conn), stays, "{what}");
            if !stays {
                assert_eq!(trusts(&world), before, "{what}");
                let more = &world.heard(0)[heard..];
                assert!(
                    !more.iter().any(|message| matches!(message, Message::Login(_) | Message::Enroll(_))),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn only_a_session_that_is_up_revokes_a_credential() {
    for stage in [Stage::Doubted, Stage::Greeting, Stage::LoggingIn, Stage::Up] {
        let (mut world, _) = session(stage);
        let conn = world.accept_key("192.0.2.77:5000".parse().unwrap(), Some(key(SOURCE)));
        for message in [builders::hello(), builders::login()] {
            world.input(Input::Message { conn, message: as_sent_by(message, SOURCE) });
        }
        let is_ready = |output: &Output| matches!(output, Output::Send { message: Message::Ready(_), .. });
        assert!(world.outputs.last().is_some_and(is_ready), "{:?}", world.outputs);
        world.super_says(0, as_sent_by(Message::Revoked(Revoked { list: vec![] }), SUPER));
        world.run_for(Duration::from_millis(2));
        assert_eq!(world.outputs.contains(&Output::Close { conn }), stage == Stage::Up, "{stage:?}");
    }
}

#[test]
fn a_peer_that_is_revoked_does_not_get_the_rest_of_a_chunk() {
    let (mut world, _) = session(Stage::Up);
    let conn = world.accept_key("192.0.2.77:5000".parse().unwrap(), Some(key(SOURCE)));
    let get = Message::Get(Get { req: 1, root: Root([1; 32]), offset: 0, length: 1 << 20, bare: true });
    for message in [builders::hello(), builders::login(), get] {
        world.input(Input::Message { conn, message: as_sent_by(message, SOURCE) });
    }
    world.input(Input::Disk(DiskDone::ChunkReady { conn, req: 1, result: Ok(None) }));
    let sends = |output: &Output| matches!(output, Output::SendPayload { .. });
    assert!(world.outputs.last().is_some_and(sends), "{:?}", world.outputs);
    world.super_says(0, as_sent_by(Message::Revoked(Revoked { list: vec![] }), SUPER));
    world.run_for(Duration::from_millis(2));
    assert_eq!(world.outputs.last(), Some(&Output::Abort { conn }));
}

#[test]
fn a_rotated_key_is_followed_by_welcome_alone_and_only_then_a_login_goes_out() {
    for joined in [true, false] {
        let mut rotation = Rotation::default();
        rotation.add(&secret(SUPER), key(OTHER));
        let (mut world, conn) = session(if joined { Stage::Doubted } else { Stage::DoubtedInvited });
        assert_eq!(kinds(&world), ["HELLO"]);
        let mut welcome = world.welcome_of(&addr(1));
        welcome.rotation = Some(rotation.encode());
        world.super_says(0, Message::Welcome(welcome));
        world.run_for(Duration::from_millis(2));
        let sent: &[_] = if joined { &["HELLO", "LOGIN", "REGISTER"] } else { &["HELLO", "ENROLL"] };
        assert_eq!(kinds(&world), sent);
        if !joined {
            world.super_says(0, as_sent_by(Message::Enrolled(Enrolled { credential: vec![] }), OTHER));
        }
        world.super_says(0, Message::Ready(Ready::default()));
        world.run_for(Duration::from_millis(2));
        assert!(world.is_open(conn) && world.welcomed() == 1);
    }
}

#[test]
fn ready_before_the_credential_that_was_asked_for_opens_no_session() {
    let (mut world, conn) = session(Stage::Enrolling);
    world.super_says(0, Message::Ready(Ready::default()));
    world.run_for(Duration::from_millis(2));
    assert!(!world.is_open(conn) && world.welcomed() == 0);
}

#[test]
fn a_super_peer_that_proves_no_key_gets_no_login() {
    let mut world = world(true, SUPER);
    world.keys.clear();
    world.run_for(Duration::from_millis(50));
    assert_eq!(kinds(&world), ["HELLO"]);
    assert!(world.supers[0].1.conn.is_some_and(|conn| !world.is_open(conn)));
}

// ---- chunk connections that are accepted --------------------------------------------------------

#[test]
fn a_chunk_connection_is_served_only_after_hello_and_login() {
    for stage in 0..3 {
        for message in builders::one_of_each() {
            let mut world = world(true, SUPER);
            let conn = world.accept_key("192.0.2.77:5000".parse().unwrap(), Some(key(SOURCE)));
            for message in [builders::hello(), builders::login()].into_iter().take(stage) {
                world.input(Input::Message { conn, message: as_sent_by(message, SOURCE) });
            }
            let message = as_sent_by(message, SOURCE);
            let what = format!("{} after {stage} messages", message.kind());
            let stays = match message {
                Message::Error(_) | Message::Unknown(_) => true,
                Message::Hello(_) => stage == 0,
                Message::Login(_) => stage == 1,
                Message::Get(_) | Message::Manifest(_) | Message::Follow(_) | Message::Want(_) | Message::Cancel(_) => {
                    stage == 2
                }
                _ => false,
            };
            let reads = matches!(message, Message::Get(_) | Message::Manifest(_) | Message::Follow(_)) && stays;
            let is_bye = matches!(message, Message::Bye(_));
            world.outputs.clear();
            world.input(Input::Message { conn, message });
            assert_eq!(!world.outputs.contains(&Output::Close { conn }), stays, "{what}");
            let read = |work: &DiskWork| matches!(work, DiskWork::PrepareChunk { .. } | DiskWork::ReadManifest { .. });
            assert_eq!(world.disk.iter().any(read), reads, "{what}");
            if !stays && !is_bye {
                let [Output::Send { message: Message::Error(error), .. }, Output::Close { .. }] = &world.outputs[..]
                else {
                    panic!("{what}: {:?}", world.outputs)
                };
                assert_eq!((error.code, error.req), (ErrorCode::ORDER, None), "{what}");
            }
        }
    }
}

#[test]
fn a_login_of_the_open_mode_is_refused_as_such_on_a_chunk_connection() {
    let mut world = world(true, SUPER);
    let conn = world.accept_key("192.0.2.77:5000".parse().unwrap(), Some(key(SOURCE)));
    world.input(Input::Message { conn, message: as_sent_by(builders::hello(), SOURCE) });
    world.input(Input::Message { conn, message: builders::login() });
    let [.., Output::Send { message: Message::Error(error), .. }, Output::Close { .. }] = &world.outputs[..] else {
        panic!("{:?}", world.outputs)
    };
    assert_eq!(error.code, ErrorCode::MODE);
}

// ---- chunk connections that are dialed ----------------------------------------------------------

/// A download whose only source has answered HELLO, LOGIN and the first request, with this number
/// of messages.
fn download(answers: usize) -> (World, ConnId) {
    let mut world = world(true, SUPER);
    world.source(Manner::Silent, PIECE_BYTES);
    world.keys.insert(addr(100), key(SOURCE));
    world.get().run_until(|world| world.sources[0].1.conn.is_some());
    world.run_for(Duration::from_millis(2));
    let answer = [Message::Welcome(world.welcome_of(&addr(100))), Message::Ready(Ready::default())];
    for message in answer.into_iter().take(answers) {
        world.source_says(0, as_sent_by(message, SOURCE));
    }
    world.run_for(Duration::from_millis(2));
    let conn = world.sources[0].1.conn.unwrap();
    assert!(world.is_open(conn));
    (world, conn)
}

#[test]
fn a_source_is_used_only_after_welcome_and_a_valid_credential() {
    for answers in 0..3 {
        for message in builders::one_of_each() {
            let (mut world, conn) = download(answers);
            let message = as_sent_by(message, SOURCE);
            let what = format!("{} after {answers} answers", message.kind());
            let stays = match message {
                Message::Error(_) | Message::Unknown(_) => true,
                Message::Welcome(_) => answers == 0,
                Message::Ready(_) => answers == 1,
                _ => false,
            };
            world.source_says(0, message);
            world.run_for(Duration::from_millis(2));
            assert_eq!(world.is_open(conn), stays, "{what}");
        }
    }
}

#[test]
fn a_source_whose_welcome_names_another_node_is_not_used() {
    for (node, mode) in [(NodeId([9; 16]), Mode::Login), (key(SOURCE).node(), Mode::Open)] {
        let (mut world, conn) = download(0);
        let mut welcome = world.welcome_of(&addr(100));
        (welcome.node, welcome.mode) = (node, mode);
        world.source_says(0, Message::Welcome(welcome));
        world.run_for(Duration::from_millis(2));
        assert!(!world.is_open(conn), "{node:?} in {mode:?}");
    }
}

// ---- answers of another kind --------------------------------------------------------------------

/// In open mode the first request of a download is MANIFEST 1. If the source has the feature of
/// swarms, the first requests are FOLLOW 1 and MANIFEST 2.
#[test]
fn an_answer_of_another_kind_than_its_request_costs_the_source_its_connection() {
    let answers = |req: u32| {
        let answer = |message: Message| match message {
            Message::Chunk(chunk) => Message::Chunk(Chunk { req, ..chunk }),
            Message::Cvs(page) => Message::Cvs(Cvs { req, size: PIECE_BYTES + 1, ..page }),
            Message::Has(has) => Message::Has(Has { req, ..has }),
            Message::Turn(turn) => Message::Turn(Turn { req, ..turn }),
            Message::Error(_) => Message::Error(Error::new(ErrorCode::CHANGED, "changed", Some(req))),
            other => other,
        };
        let all = builders::one_of_each().into_iter().map(answer);
        all.filter(|message| matches!(message.kind(), "CHUNK" | "CVS" | "HAS" | "TURN" | "ERROR")).collect::<Vec<_>>()
    };
    for (swarms, req) in [(true, 1), (true, 2), (true, 3), (false, 1), (false, 2), (false, 3)] {
        for message in answers(req) {
            let mut world = World::new(1, PIECE_BYTES + 1);
            world.source(Manner::Silent, PIECE_BYTES);
            world.get().run_until(|world| world.sources[0].1.conn.is_some());
            let mut welcome = world.welcome_of(&addr(100));
            welcome.features.extend(swarms.then(|| FEATURE_SWARM.to_owned()));
            world.source_says(0, Message::Welcome(welcome));
            world.run_for(Duration::from_millis(3));
            let conn = world.sources[0].1.conn.unwrap();
            let what = format!("{} to request {req}, swarms: {swarms}", message.kind());
            let stays = match (message.kind(), swarms, req) {
                ("HAS" | "TURN", true, _) => true,
                // No request has this number.
                ("ERROR", _, 3) => true,
                _ => false,
            };
            world.source_says(0, message);
            world.run_for(Duration::from_millis(2));
            assert_eq!(world.is_open(conn), stays, "{what}");
        }
    }
}
