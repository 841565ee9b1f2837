//! Downloads: from many sources, from sources that die, stall or lie, and from one run to the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use sprat::config::PIECE_BYTES;

use super::common::source::{Answer, Source};
use super::common::{World, eventually, noise, root_of};

const MIB: usize = 1 << 20;

fn honest(_: usize, _: &sprat::wire::message::Get) -> Answer {
    Answer::Honest
}

#[test]
fn a_download_outlives_two_of_its_four_sources() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(3, 96 * MIB + 12345);
    let mut peers: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("p{n}");
            world.share(&name, "big.bin", &content);
            world.peer(&name, &[&daemon])
        })
        .collect();
    world.hits(&daemon, "big.bin", 4);

    let mut get = world.start(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    get.until("piece", 6);
    peers[0].kill();
    peers[1].kill();
    peers[0] = world.peer("p0", &[&daemon]);
    let ran = get.finish();

    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content, "another content was published");
    let done = ran.done();
    assert_eq!(done["root"], root_of(&content));
    let mut indices: Vec<u64> = ran.events("piece").iter().filter_map(|piece| piece["index"].as_u64()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..97).collect::<Vec<_>>(), "each piece counts once");
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(4, 24 * MIB);
    let stalled = Arc::new(AtomicBool::new(true));
    let stall = Arc::clone(&stalled);
    // The first run gets about ten pieces and then waits forever; so it is killed at a known
    // point.
    let source = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        if number >= 10 && stall.load(Ordering::SeqCst) { Answer::Silence } else { Answer::Honest }
    });

    let args = ["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()];
    let mut first = world.start(args);
    first.until("piece", 9);
    // They are written by the second progress event after them: a piece is reported once it is
    // verified.
    first.until("progress", 2);
    first.kill();
    assert!(!world.path("got.bin").exists(), "nothing stands under the final name before the end");
    let before = source.asked().len();
    stalled.store(false, Ordering::SeqCst);

    let second = world.run(args);
    assert_eq!(second.exit, Some(0), "{:?}", second.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
    let done = second.done();
    let resumed = done["resumed"].as_u64().expect("resumed");
    assert!(resumed >= 9 * PIECE_BYTES, "{done}");
    let fetched = (source.asked().len() - before) as u64;
    // The last piece may be fetched once more to prove the manifest again.
    assert!(
        fetched <= 24 - resumed / PIECE_BYTES + 1,
        "{fetched} pieces were asked for after {resumed} bytes were there"
    );
    assert!(!world.path(".got.bin.part").exists() && !world.path(".got.bin.part.map").exists());
}

#[test]
fn a_download_without_progress_ends_after_its_timeout_and_can_be_resumed() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(8, 8 * MIB);
    let stalled = Arc::new(AtomicBool::new(true));
    let stall = Arc::clone(&stalled);
    let _source = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        if number >= 3 && stall.load(Ordering::SeqCst) { Answer::Silence } else { Answer::Honest }
    });

    let args = ["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()];
    let first = world.run(args.into_iter().chain(["--timeout", "1500ms"]));
    assert_eq!(first.exit, Some(4), "{:?}", first.done());
    let error = first.done()["error"].as_str().expect("an error").to_owned();
    assert!(error.contains("same command resumes"), "{error}");
    assert!(world.path(".got.bin.part").exists() && !world.path("got.bin").exists());

    stalled.store(false, Ordering::SeqCst);
    let second = world.run(args);
    assert_eq!(second.exit, Some(0), "{:?}", second.done());
    assert!(second.done()["resumed"].as_u64() >= Some(PIECE_BYTES), "{:?}", second.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
}

#[test]
fn a_source_that_lies_is_dropped_and_named() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(5, 40 * MIB + 1);
    // The honest source holds most of its pieces back until the liar has lied, so that the lie
    // cannot go unused.
    let lied = Arc::new((Mutex::new(false), Condvar::new()));
    let (notify, wait) = (Arc::clone(&lied), lied);
    let liar = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        if number % 10 != 5 {
            return Answer::Honest;
        }
        *notify.0.lock().expect("not poisoned") = true;
        notify.1.notify_all();
        Answer::Flipped
    });
    let _honest = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        let lied = wait.0.lock().expect("not poisoned");
        drop(wait.1.wait_while(lied, |lied| number >= 8 && !*lied).expect("not poisoned"));
        Answer::Honest
    });
    world.hits(&daemon, "big.bin", 2);
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
    let done = ran.done();
    let sources = done["sources"].as_array().expect("sources");
    let report = sources.iter().find(|s| s["source"] == liar.addr()).expect("the liar is in the report");
    assert!(report["bad"].as_u64() >= Some(1), "{report}");
    assert_eq!(report["state"], "dropped", "{report}");
}

#[test]
fn a_lie_in_every_piece_publishes_nothing() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(6, 3 * MIB);
    let _liar = Source::start(world.ip(), daemon.addr(), "big.bin", content, |_, _| Answer::Flipped);
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(6), "{:?}", ran.done());
    assert!(!world.path("got.bin").exists());
}

#[test]
fn right_bytes_under_a_wrong_md5_are_kept_and_counted() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(7, 2 * MIB);
    let source = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), |number, _| {
        if number == 0 { Answer::WrongMd5 } else { Answer::Honest }
    });
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
    let mut asked = source.asked();
    asked.sort_unstable();
    assert_eq!(asked, [0, PIECE_BYTES], "right bytes are not fetched again");
}

#[test]
fn a_silent_source_loses_its_pieces_to_another() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(8, 12 * MIB);
    let _silent = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), move |number, _| {
        // Proves the manifest, then says nothing more.
        if number == 0 { Answer::Honest } else { Answer::Silence }
    });
    let _honest = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), honest);
    world.hits(&daemon, "big.bin", 2);
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
}

#[test]
fn every_size_around_a_piece_arrives() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 1];
    for size in sizes {
        world.share("p", format!("size-{size}.bin"), &noise(9, size));
    }
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "*", sizes.len());
    for size in sizes {
        let name = format!("size-{size}.bin");
        let ran = world.run(["get", &name, "-o", &name, "--json", "--super", daemon.addr()]);
        assert_eq!(ran.exit, Some(0), "{size}: {:?}", ran.done());
        assert_eq!(ran.done()["bytes"].as_u64(), Some(size as u64));
        assert!(std::fs::read(world.path(&name)).expect("published") == noise(9, size), "{size}");
    }
}

#[test]
fn what_is_there_already_is_not_fetched() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(10, 2 * MIB);
    let source = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), honest);
    std::fs::write(world.path("got.bin"), &content).expect("written");
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(source.asked().is_empty());
}

#[test]
fn another_content_under_the_same_name_is_left_alone() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source = Source::start(world.ip(), daemon.addr(), "big.bin", noise(11, 2 * MIB), honest);
    std::fs::write(world.path("got.bin"), b"mine").expect("written");
    let ran = world.run(["get", "big.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(9), "{:?}", ran.done());
    assert_eq!(std::fs::read(world.path("got.bin")).expect("still there"), b"mine");
}

#[test]
fn only_the_chosen_source_is_used() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(12, 4 * MIB);
    let chosen = Source::start(world.ip(), daemon.addr(), "big.bin", content.clone(), honest);
    let other = Source::start(world.ip(), daemon.addr(), "big.bin", content, honest);
    world.hits(&daemon, "big.bin", 2);
    let addr = chosen.addr();
    let ran = world.run(["get", "big.bin", "--from", &addr, "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(other.asked().is_empty() && !chosen.asked().is_empty());
}

#[test]
fn a_peer_that_downloads_becomes_a_source() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(13, 2 * MIB + 7);
    world.share("p1", "big.bin", &content);
    let _first = world.peer("p1", &[&daemon]);
    let second = world.peer("p2", &[&daemon]);
    world.hits(&daemon, "big.bin", 1);
    let ran = world.run(["get", &root_of(&content), "--json", "--control", second.control()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    let hits = world.hits(&daemon, "big.bin", 2);
    assert!(hits.iter().any(|hit| hit["source"] == second.addr()), "{hits:?}");
    assert!(std::fs::read(world.path("p2/big.bin")).expect("in the share") == content);
}

#[test]
fn nobody_has_it_is_exit_3() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let ran = world.run(["get", &"0f".repeat(32), "-o", "got.bin", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(3), "{:?}", ran.done());
    eventually("nothing is left behind", || (!world.path("got.bin").exists()).then_some(()));
}
