//! The memory budget of a super peer, which strangers use up.

use std::net::TcpStream;

use serde_json::Value;
use sprat::config::{FRAME_BYTES_OPEN, PATH_BYTES_MAX, SESSION_BYTES_PER_TURN};
use sprat::wire::message::{Ack, ErrorCode, Login, Ping, Query, Register, Status, Update};
use sprat::wire::{FileRecord, Message, QueryKind, Root, Search, SharePath};

use super::common::session::{Speaker, hello};
use super::common::{Daemon, World, eventually};

/// Connects and logs in. If the login is refused, returns the code of the ERROR.
fn newcomer(daemon: &Daemon) -> Result<Speaker, ErrorCode> {
    let mut speaker = Speaker::over(TcpStream::connect(daemon.addr()).expect("the port answers"));
    speaker.send(&hello());
    speaker.send(&Message::Login(Login::open()));
    for _ in 0..2 {
        if let Some(Message::Error(error)) = speaker.receive() {
            return Err(error.code);
        }
    }
    Ok(speaker)
}

/// A session whose next frame is never complete, so that the super peer holds 64 KiB of it.
fn holder_of_a_frame(daemon: &Daemon) -> Result<Speaker, ErrorCode> {
    let mut speaker = newcomer(daemon)?;
    let length = u32::try_from(FRAME_BYTES_OPEN).expect("64 KiB").to_be_bytes();
    speaker.send_raw(&[&length[..], &[0x81; FRAME_BYTES_OPEN - 8]].concat());
    Ok(speaker)
}

/// A session that sends requests and never reads.
fn deaf(daemon: &Daemon) -> Result<Speaker, ErrorCode> {
    let mut speaker = newcomer(daemon)?;
    for req in 0..64 {
        let find = Search::new("*", QueryKind::Glob);
        speaker.send(&Message::Query(Query { req, find, ttl: None, budget: Some(60_000), policy: None }));
    }
    Ok(speaker)
}

/// Files with the longest paths.
fn page(number: u32) -> Vec<FileRecord> {
    let files = (0..80).map(|n| {
        let path = format!("{number:04}{n:04}{}", "x".repeat(PATH_BYTES_MAX - 8));
        FileRecord { path: SharePath::new(&path).expect("700 bytes"), size: 1, root: Root([7; 32]), collection: false }
    });
    files.collect()
}

/// Registers files with long paths until the super peer has no memory for more. Returns how many
/// were registered.
fn fill(session: &mut Speaker) -> u64 {
    let mut files = 0;
    for seq in 1.. {
        let page = page(seq as u32);
        session.send(&match seq {
            1 => Message::Register(Register {
                seq,
                port: 4778,
                host: None,
                more_addr: None,
                http: false,
                files: page,
                more: false,
            }),
            seq => Message::Update(Update { seq, add: page, del: Vec::new() }),
        });
        match session.receive() {
            Some(Message::Ack(ack)) => files = ack.files,
            Some(Message::Error(error)) => {
                assert_eq!((error.code, error.req), (ErrorCode::LIMIT, None));
                assert_eq!(session.receive(), Some(Message::Ack(Ack { seq, files })), "what is registered stays");
                return files;
            }
            other => panic!("{other:?}"),
        }
        assert!(seq < 1000, "it never has enough");
    }
    unreachable!("the numbers do not end")
}

fn figure(session: &mut Speaker, name: &str) -> u64 {
    session.send(&Message::Status(Status { req: 9 }));
    let Some(Message::Info(info)) = session.receive() else { panic!("no INFO") };
    info.counts.get(name).copied().unwrap_or(0)
}

fn query(session: &mut Speaker, req: u32) -> Option<Message> {
    let find = Search::new("song", QueryKind::Words);
    session.send(&Message::Query(Query { req, find, ttl: None, budget: None, policy: None }));
    session.receive()
}

#[test]
fn a_super_peer_whose_memory_is_used_up_refuses_newcomers_and_serves_again_afterwards() {
    let world = World::new();
    let daemon = world.super_peer_at("s", 0, &[], &["--memory", "16M"]);
    world.share("p", "song.txt", b"la");
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "song", 1);
    let mut old = Speaker::session(daemon.addr());
    assert_eq!(figure(&mut old, "memory_budget"), 16 << 20);

    let mut greedy = Speaker::session(daemon.addr());
    let files = fill(&mut greedy);
    assert!((5_000..20_000).contains(&files), "{files} files in 70 % of 16 MiB");
    world.hits(&daemon, "song", 1);

    let mut strangers = Vec::new();
    let refused = eventually("a newcomer is refused", || match deaf(&daemon) {
        Ok(stranger) => {
            strangers.push(stranger);
            None
        }
        Err(code) => Some(code),
    });
    assert_eq!(refused, ErrorCode::LIMIT);
    let Some(Message::Error(error)) = query(&mut old, 1) else { panic!("no ERROR") };
    assert_eq!((error.code, error.req), (ErrorCode::LIMIT, Some(1)));
    old.send(&Message::Ping(Ping { n: 4 }));
    assert_eq!(old.receive(), Some(Message::Pong(Ping { n: 4 })));
    assert!(figure(&mut old, "memory_index") > 8 << 20 && figure(&mut old, "pages_refused") == 1);
    assert!(figure(&mut old, "memory_held") < 16 << 20);

    // One command is refused at first, waits until there is room, and gets its answer.
    let waiting = world.start(["query", "--super", daemon.addr(), "song", "--json"]);
    eventually("it is refused", || (figure(&mut old, "closed_memory") >= 2).then_some(()));
    drop(strangers);
    let ran = waiting.finish();
    assert_eq!(ran.done()["complete"], Value::Bool(true), "{:?}", ran.done());
    eventually("their memory is free", || (figure(&mut old, "memory_send_queues") == 0).then_some(()));
    assert!(matches!(query(&mut old, 2), Some(Message::Hit(_))), "what was registered is found");
}

#[test]
fn frames_that_are_never_complete_keep_nobody_out() {
    let world = World::new();
    let daemon = world.super_peer_at("s", 0, &[], &["--memory", "16M"]);
    let mut old = Speaker::session(daemon.addr());
    // These sessions need twice the budget.
    let mut strangers: Vec<_> = (0..512).map(|_| holder_of_a_frame(&daemon)).collect();
    // The strangers stay connected, and connect again when they are closed.
    eventually("room for another one", || {
        strangers.push(holder_of_a_frame(&daemon));
        newcomer(&daemon).ok()
    });
    eventually("the frames are given up", || (figure(&mut old, "net_slow_frames") > 0).then_some(()));
    assert!(figure(&mut old, "memory_held") < 16 << 20);
    old.send(&Message::Ping(Ping { n: 4 }));
    assert_eq!(old.receive(), Some(Message::Pong(Ping { n: 4 })), "a session without such a frame stays");
}

#[test]
fn sessions_that_ask_and_never_read_cost_little() {
    const SESSIONS: usize = 8;
    let world = World::new();
    let daemon = world.super_peer("s");
    let mut holder = Speaker::session(daemon.addr());
    holder.register("127.0.0.1:4778".parse().expect("an address"), page(1));
    for seq in 2..=8 {
        holder.send(&Message::Update(Update { seq, add: page(seq as u32), del: Vec::new() }));
        assert!(matches!(holder.receive(), Some(Message::Ack(ack)) if ack.seq == seq));
    }
    let mut old = Speaker::session(daemon.addr());
    let before = figure(&mut old, "memory_held");
    let mut deaf = Vec::new();
    for _ in 0..SESSIONS {
        let mut speaker = Speaker::session(daemon.addr());
        let find = Search::new("*", QueryKind::Glob);
        // 64 queries run at once. Their answers have about 30 MiB, more than the sockets can hold.
        for req in 0..64 {
            let (find, budget) = (find.clone(), Some(60_000));
            speaker.send(&Message::Query(Query { req, find, ttl: None, budget, policy: None }));
        }
        deaf.push(speaker);
    }
    eventually("none of them reads", || (figure(&mut old, "net_backlogs") >= SESSIONS as u64).then_some(()));
    let cost = figure(&mut old, "memory_held").saturating_sub(before) / SESSIONS as u64;
    // Hits of one turn, in a buffer that may have doubled, and 64 queries with their state.
    assert!(cost < 4 * SESSION_BYTES_PER_TURN as u64 + 64 * (4 << 10), "{cost} bytes for each");
    assert!(matches!(query(&mut old, 2), Some(Message::Done(_))), "others are served");
    eventually("they are closed", || (figure(&mut old, "net_slow_consumers") >= SESSIONS as u64).then_some(()));
}
