//! What the daemons log: form, level, and the events that people look for.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Daemon, World, eventually};

/// The lines of a log with `--log-format json` that have this text.
fn lines(daemon: &Daemon, text: &str) -> Vec<Value> {
    let log = daemon.log();
    let all = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    all.filter(|line| line["message"].as_str().expect("a message").contains(text)).collect()
}

fn line(daemon: &Daemon, text: &str) -> Value {
    eventually(&format!("the log says {text:?}"), || lines(daemon, text).pop())
}

#[test]
fn a_json_log_reports_who_comes_and_leaves_and_what_is_fetched() {
    let json = ["--log-format", "json"];
    let world = World::new();
    let daemon = world.super_peer_at("s", 0, &[], &json);
    world.share("a", "tune\n.bin", &[7; 3000]);
    let mut holder = world.peer_with("a", &[&daemon], &json, Stdio::null());
    assert_eq!(line(&holder, "the share has 1 file")["bytes"], 3000);
    let came = line(&daemon, "came");
    assert_eq!((&came["level"], &came["peer"]), (&"info".into(), &holder.addr().into()));
    assert!(came["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{came}");

    world.hits(&daemon, "tune", 1);
    let peer = world.peer_with("b", &[&daemon], &json, Stdio::null());
    assert_eq!(world.run(["get", "tune\n.bin", "--control", peer.control()]).exit, Some(0));
    assert_eq!(line(&peer, "begins")["size"], 3000);
    let done = line(&peer, "is done");
    assert_eq!((&done["download"], &done["level"]), (&1.into(), &"info".into()));
    assert_eq!(world.run(["get", "nobody-has-this", "--control", peer.control()]).exit, Some(3));
    let failed = line(&peer, "has failed");
    assert_eq!((&failed["download"], &failed["level"]), (&2.into(), &"warn".into()));
    assert!(failed["why"].as_str().is_some_and(|why| why.contains("no peer has")), "{failed}");

    holder.signal(Signal::TERM);
    assert_eq!(holder.wait(), Some(0));
    let left = line(&daemon, "left");
    assert_eq!((&left["files"], &left["why"]), (&1.into(), &"it said goodbye: the peer ends".into()));
    // A session that only searches is not logged.
    assert_eq!(lines(&daemon, "came").len(), 2, "{}", daemon.log());
}

#[test]
fn a_text_log_has_times_and_one_line_each() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    eventually("the peer came", || daemon.log().contains(" info: peer ").then_some(()));
    for line in daemon.log().lines().chain(peer.log().lines()) {
        let (time, rest) = line.split_once(' ').expect("a time");
        assert!(time.len() == "2026-11-29T13:00:00.000Z".len() && time.ends_with('Z'), "{line}");
        assert!(["info: ", "warning: "].iter().any(|level| rest.starts_with(level)), "{line}");
    }
}

#[test]
fn quiet_is_errors_only_and_debug_has_the_queries() {
    let world = World::new();
    let daemon = world.super_peer_at("s", 0, &[], &["-q"]);
    let loud = world.super_peer_at("l", 0, &[], &["-v"]);
    let _peer = world.peer("p", &[&daemon]);
    for daemon in [&daemon, &loud] {
        world.run(["query", "a \u{1b}[2Jtune", "--super", daemon.addr()]);
    }
    eventually("the query is logged", || loud.log().contains("0 hits, 1 searched, complete").then_some(()));
    assert!(loud.log().contains("tune") && !loud.log().contains('\u{1b}'), "{}", loud.log());
    assert_eq!(daemon.log(), "");
    // The reason for which a daemon ends is its last line.
    let taken = world.run(["super", "--listen", daemon.addr(), "--name", "t", "-q", "--log-format", "json"]);
    assert_eq!(taken.exit, Some(5));
    let last: Value = serde_json::from_str(taken.stderr.trim()).expect("one line of JSON");
    assert_eq!((&last["level"], &last["exit"]), (&"error".into(), &5.into()));
}
