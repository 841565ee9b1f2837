//! The death of a super peer ends no other peer.

use std::sync::{Mutex, mpsc};

use super::common::source::{Answer, Source};
use super::common::{Daemon, PATIENCE, World, eventually, noise};

#[test]
fn peers_go_to_the_next_super_peer_and_register_again() {
    let world = World::new();
    let mut supers = world.super_peers(2, &[(0, 1)]);
    let mut peers = Vec::new();
    for n in 0..5 {
        world.share(&format!("p{n}"), format!("file-{n}.txt"), format!("content {n}").as_bytes());
        peers.push(world.peer(&format!("p{n}"), &[&supers[0], &supers[1]]));
    }
    world.hits(&supers[1], "file*", 5);
    supers[0].kill();
    let hits = world.hits(&supers[1], "file*", 5);
    let mut names: Vec<_> = hits.iter().map(|hit| hit["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    assert_eq!(names, (0..5).map(|n| format!("file-{n}.txt")).collect::<Vec<_>>());
    let listed = world.run(["list", "--json", "--super", supers[1].addr()]).events("file");
    assert_eq!(listed.len(), 5, "they are registered at the second one itself");
}

#[test]
fn a_running_download_needs_no_super_peer() {
    let world = World::new();
    let mut daemon = world.super_peer("s");
    let content = noise(20, 16 << 20);
    let (asked, paused) = mpsc::channel();
    let (go, resumed) = mpsc::channel::<()>();
    let resumed = Mutex::new(resumed);
    let _source = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        if number == 4 {
            asked.send(()).ok();
            resumed.lock().expect("not poisoned").recv().ok();
        }
        Answer::Honest
    });
    let get = world.start(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    paused.recv_timeout(PATIENCE).expect("the download is under way");
    daemon.kill();
    go.send(()).expect("the source waits");
    let ran = get.finish();
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
}

#[test]
fn files_of_a_killed_peer_leave_the_index() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "file.txt", b"content");
    let mut peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "file.txt", 1);
    peer.kill();
    world.hits(&daemon, "file.txt", 0);
}

#[test]
fn the_first_super_peer_that_answers_is_used() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let nobody = format!("{}:{}", world.ip(), world.free_port());
    let peer = world.peer_with("p", &[&daemon], &["--super", &nobody], std::process::Stdio::null());
    assert_eq!(peer.ready["super"], daemon.addr());
    let ran = world.run(["query", "x", "--json", "--super", &nobody, "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(3), "{:?}", ran.done());
}

#[test]
fn a_super_peer_that_was_killed_reports_that_its_peers_are_not_back_yet() {
    let world = World::new();
    let state = world.path("state-of-s");
    let start = |port| world.super_peer_at("s", port, &[], &["--state", state.to_str().expect("a path of ours")]);
    let query = |daemon: &Daemon| world.run(["query", "file.txt", "--json", "--super", daemon.addr()]).done();
    let port = world.free_port();
    let mut daemon = start(port);
    world.share("p", "file.txt", b"content");
    let mut peer = world.peer("p", &[&daemon]);
    eventually("the number of peers is in the state", || {
        (std::fs::read_to_string(state.join("sharing")).ok()? == "1\n").then_some(())
    });
    daemon.kill();
    peer.kill();
    let daemon = start(port);
    let done = query(&daemon);
    assert_eq!((&done["complete"], &done["cut"]["starting"]), (&false.into(), &1.into()));
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "file.txt", 1);
    assert_eq!(query(&daemon)["complete"], true);
}
