//! Limits on the rate of a running peer. They are set at its start and changed while it sends and
//! receives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;

use super::common::{Daemon, PATIENCE, World, eventually, noise};

/// At the lowest limit a transfer of this size takes five minutes, so no test ends before the limit
/// is lifted.
const SIZE: usize = 300 << 10;

fn limit(world: &World, peer: &Daemon, more: &[&str]) -> Value {
    let ran = world.run([&["limit", "--json", "--control", peer.control()], more].concat());
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.events("limits")[0].clone()
}

fn is(limits: &Value, upload: u64, download: u64) {
    assert_eq!((limits["upload"].as_u64(), limits["download"].as_u64()), (Some(upload), Some(download)), "{limits}");
}

#[test]
fn what_a_limit_holds_goes_on_when_it_is_lifted() {
    let world = World::new();
    let home = world.super_peer("home");
    let content = noise(1, SIZE);
    world.share("seed", "a-file.bin", &content);
    let seed = world.peer_with("seed", &[&home], &["--upload-limit", "1k", "--http-files"], Stdio::null());
    let reader = world.peer_with("reader", &[&home], &["--download-limit", "1k"], Stdio::null());
    world.hits(&home, "a-file", 1);
    is(&limit(&world, &seed, &[]), 1024, 0);
    let mut http = TcpStream::connect(seed.addr()).expect("it listens");
    http.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = format!("GET /files/a-file.bin HTTP/1.0\r\nHost: {}\r\n\r\n", seed.addr());
    http.write_all(head.as_bytes()).expect("it reads");
    let mut got = world.start(["get", "a-file.bin", "--json", "--control", reader.control()]);
    got.until("start", 1);
    // Each of the two downloads is stopped by the limit of one side.
    is(&limit(&world, &seed, &["--upload", "0"]), 0, 0);
    let mut answer = Vec::new();
    http.read_to_end(&mut answer).expect("the rest");
    assert!(answer.ends_with(&content));
    let screen = world.run(["status", "--control", reader.control()]).text;
    assert!(screen.contains("limits       sends without a limit, receives at most 1.0 KiB/s"), "{screen}");
    is(&limit(&world, &reader, &["--upload", "5M", "--download", "0"]), 5 << 20, 0);
    let ran = got.finish();
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    eventually("the file is there", || std::fs::read(world.path("reader/a-file.bin")).ok().filter(|it| *it == content));
}

#[test]
fn a_limit_that_is_none_is_refused() {
    let world = World::new();
    for (args, part) in [
        (&["limit", "--upload", "10"][..], "at least 1024"),
        (&["peer", "--share", ".", "--download-limit", "fast"], "a rate such as"),
    ] {
        let ran = world.run(args);
        assert_eq!(ran.exit, Some(2), "{args:?}");
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}
