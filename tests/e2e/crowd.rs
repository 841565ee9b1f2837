//! Many connections that do nothing, or almost nothing, do not keep others out.

use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sprat::config::UPLOADS_MAX;
use sprat::wire::message::{Get, Ping};
use sprat::wire::{Message, Root};

use super::common::session::Speaker;
use super::common::{World, noise};

/// The descriptors of the crowd belong to this process.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("a soft limit");
}

/// A connection that takes a place: silent, half a HELLO, a HELLO, half a GET, a GET whose answer
/// is not read, one byte.
fn loiterer(addr: &str, kind: usize, root: Root) -> Speaker {
    let whole = Message::Get(Get { req: 1, root, offset: 0, length: 1 << 20, bare: true });
    match kind % 6 {
        0 => Speaker::over(TcpStream::connect(addr).expect("the peer accepts")),
        1 => {
            let mut speaker = Speaker::over(TcpStream::connect(addr).expect("the peer accepts"));
            speaker.send_raw(&[0, 0, 0]);
            speaker
        }
        2 => Speaker::dial(addr),
        3 => {
            let mut speaker = Speaker::dial(addr);
            speaker.send_raw(&[0, 0, 1, 0, 0x81]);
            speaker
        }
        4 => {
            let mut speaker = Speaker::dial(addr);
            speaker.send(&whole);
            speaker
        }
        _ => {
            let mut speaker = Speaker::dial(addr);
            speaker.send(&Message::Get(Get { req: 1, root, offset: 0, length: 1, bare: true }));
            assert!(matches!(speaker.receive(), Some(Message::Chunk(_))), "a chunk of one byte");
            speaker
        }
    }
}

#[test]
fn idle_and_dripping_connections_do_not_stop_downloads_from_a_peer() {
    raise_descriptors();
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(70, (3 << 20) + 5);
    let root = Root(*blake3::hash(&content).as_bytes());
    world.share("p", "tune", &content);
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "tune", 1);
    let mut crowd: Vec<Speaker> = (0..UPLOADS_MAX).map(|n| loiterer(peer.addr(), n, root)).collect();
    for round in 0..3 {
        crowd.extend((0..100).map(|n| loiterer(peer.addr(), n, root)));
        let out = format!("got.{round}");
        let ran = world.run(["get", "tune", "-o", &out, "--json", "--super", daemon.addr()]);
        assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
        assert!(std::fs::read(world.path(out)).expect("published") == content);
    }
    let status = world.run(["status", "--json", "--control", peer.control()]).events("status");
    // The number depends on how many connections had reached a deadline before.
    assert!(status[0]["peer"]["closed_evicted"].as_u64() >= Some(1), "{status:?}");
    assert_eq!(status[0]["peer"]["closed_crowded"].as_u64(), None, "none is refused");
}

#[test]
fn idle_sessions_do_not_keep_newcomers_out_when_descriptors_are_short() {
    raise_descriptors();
    let mut world = World::new();
    world.limit_descriptors(128);
    let daemon = world.super_peer("s");
    world.share("p", "tune", b"content");
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "tune", 1);
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut session = Speaker::session(daemon.addr());
        session.send(&Message::Ping(Ping { n }));
        crowd.push(session);
        if n % 40 == 0 {
            crowd.extend((0..4).map(|kind| loiterer(daemon.addr(), kind, Root([0; 32]))));
            let ran = world.run(["get", "tune", "-o", &format!("got.{n}"), "--json", "--super", daemon.addr()]);
            assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
        }
    }
    let status = world.run(["status", "--json", "--super", daemon.addr()]).events("status");
    let count = |name: &str| status[0]["super_counts"][name].as_u64().unwrap_or(0);
    assert!(count("closed_evicted") >= 1 && count("net_refused") == 0, "{status:?}");
}
