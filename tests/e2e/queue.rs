//! The queue of downloads of a running peer: commands, waiting, and kills.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;
use sprat::config::PIECE_BYTES;

use super::common::source::{Answer, Source};
use super::common::{Daemon, World, eventually, noise};

const MIB: usize = 1 << 20;
const KILLS: usize = 10;

/// How many chunks the sources may still send.
#[derive(Default)]
struct Permits {
    left: usize,
    used: usize,
    /// Counts the lives of the downloader: what an earlier one asked for is not sent.
    life: usize,
}

type SharedPermits = Arc<(Mutex<Permits>, Condvar)>;

/// Waits for a permit, and uses it.
fn use_one(permits: &SharedPermits) -> Answer {
    let (mutex, changed) = &**permits;
    let permits = mutex.lock().expect("not poisoned");
    let life = permits.life;
    let is_held = |permits: &mut Permits| permits.left == 0 && permits.life == life;
    let mut permits = changed.wait_while(permits, is_held).expect("not poisoned");
    if permits.life != life {
        return Answer::Silence;
    }
    permits.left -= 1;
    permits.used += 1;
    Answer::Honest
}

/// Pieces that the map beside a part file lists.
fn listed(map: &Path) -> BTreeSet<u64> {
    let bytes = std::fs::read(map).unwrap_or_default();
    let mut rest = bytes.get(64..).unwrap_or_default();
    let mut pieces = BTreeSet::new();
    while let Some(head) = rest.get(..5) {
        let number = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = if head[0] == b'M' { 5 + 32 * number as usize + 8 } else { 13 };
        if head[0] == b'P' && rest.len() >= length {
            pieces.insert(u64::from(number));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    pieces
}

fn downloads(world: &World, peer: &Daemon) -> Vec<Value> {
    let ran = world.run(["downloads", "--json", "--control", peer.control()]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    ran.events("download")
}

#[test]
fn five_downloads_survive_ten_kills_and_fetch_nothing_twice() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let permits = SharedPermits::default();
    let last = 4;
    let files: Vec<(String, Vec<u8>)> = (0..5).map(|n| (format!("f{n}.bin"), noise(60 + n, 4 * MIB + 1))).collect();
    let start = |(name, content): &(String, Vec<u8>)| {
        let permits = Arc::clone(&permits);
        Source::start(world.ip(), daemon.addr(), name, content.clone(), move |_, _| use_one(&permits))
    };
    let sources: Vec<Source> = files.iter().map(start).collect();
    let mut peer = world.peer("p", &[&daemon]);
    let orders: Vec<_> = (files.iter())
        .map(|(name, _)| {
            let mut order = world.start(["get", name, "--json", "--control", peer.control()]);
            order.until("download", 1);
            order
        })
        .collect();

    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for kill in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let wanted = {
            let mut permits = permits.0.lock().expect("not poisoned");
            permits.left = usize::try_from(random % 4).expect("small");
            permits.used + permits.left
        };
        permits.1.notify_all();
        eventually("the chunks are sent", || (permits.0.lock().expect("not poisoned").used >= wanted).then_some(()));
        peer.kill();
        permits.0.lock().expect("not poisoned").life += 1;
        permits.1.notify_all();
        let maps = files.iter().map(|(name, _)| listed(&world.path("p").join(format!(".{name}.part.map"))));
        let maps: Vec<BTreeSet<u64>> = maps.collect();
        let asked: Vec<usize> = sources.iter().map(|source| source.asked().len()).collect();
        peer = world.peer("p", &[&daemon]);
        let queue = downloads(&world, &peer);
        let names: Vec<_> = queue.iter().map(|entry| (entry["id"].as_u64(), entry["what"].as_str())).collect();
        let expected = (1..).map(Some).zip(files.iter().map(|(name, _)| Some(name.as_str())));
        assert_eq!(names, expected.collect::<Vec<_>>(), "kill {kill}: the queue as it was");
        for ((source, before), map) in sources.iter().zip(asked).zip(maps) {
            let again = source.asked().split_off(before);
            let twice = again.iter().map(|offset| offset / PIECE_BYTES).filter(|piece| map.contains(piece));
            let twice: Vec<u64> = twice.filter(|piece| *piece != last).collect();
            assert!(twice.is_empty(), "kill {kill}: {twice:?} were on the disk");
        }
    }
    permits.0.lock().expect("not poisoned").left = usize::MAX;
    permits.1.notify_all();
    eventually("all are done", || downloads(&world, &peer).iter().all(|entry| entry["state"] == "done").then_some(()));
    for (name, content) in &files {
        assert!(std::fs::read(world.path("p").join(name)).expect("published") == *content, "{name}");
        assert!(!world.path("p").join(format!(".{name}.part")).exists());
    }
    for order in orders {
        assert_eq!(order.finish().exit, Some(4), "its peer was killed");
    }
}

#[test]
fn a_download_waits_for_a_source_through_a_restart() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let mut peer = world.peer_with("p", &[&daemon], &["--prompt"], Stdio::piped());
    let mut stdin = peer.stdin();
    writeln!(stdin, "GET later.bin\nWAIT\nDOWNLOADS").expect("a pipe");
    let found =
        eventually("it waits", || downloads(&world, &peer).into_iter().find(|entry| entry["state"] == "waiting"));
    assert_eq!((found["id"].as_u64(), found["exit"].as_u64()), (Some(1), Some(3)), "{found}");
    eventually("the prompt says so", || peer.log().contains("CANCEL 1 ends it").then_some(()));
    peer.kill();
    let content = noise(71, MIB + 1);
    let _source = Source::start(world.ip(), daemon.addr(), "later.bin", content.clone(), |_, _| Answer::Honest);
    let peer = world.peer("p", &[&daemon]);
    eventually("it is there", || (std::fs::read(world.path("p/later.bin")).ok()? == content).then_some(()));
    eventually("it is done", || (downloads(&world, &peer)[0]["state"] == "done").then_some(()));
}

#[test]
fn downloads_are_paused_resumed_and_canceled_by_number() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let permits = SharedPermits::default();
    let (content, shared) = (noise(72, 3 * MIB), Arc::clone(&permits));
    let _source = Source::start(world.ip(), daemon.addr(), "a.bin", content.clone(), move |_, _| use_one(&shared));
    let peer = world.peer("p", &[&daemon]);
    let control = ["--json", "--control", peer.control()];
    let ask = |args: [&str; 2]| world.run(args.into_iter().chain(control));
    let mut get = world.start(["get", "a.bin"].into_iter().chain(control));
    get.until("start", 1);
    assert_eq!(ask(["pause", "1"]).exit, Some(0));
    assert_eq!(downloads(&world, &peer)[0]["state"], "paused");
    permits.0.lock().expect("not poisoned").left = usize::MAX;
    permits.1.notify_all();
    assert_eq!(ask(["resume", "1"]).exit, Some(0));
    let done = get.finish();
    assert_eq!(done.exit, Some(0), "{:?}", done.done());
    assert!(std::fs::read(world.path("p/a.bin")).expect("published") == content);

    let missing = ask(["get", "missing.bin"]);
    assert_eq!(missing.exit, Some(3), "a one-shot command ends");
    assert_eq!(downloads(&world, &peer)[1]["state"], "failed");
    assert_eq!(ask(["resume", "2"]).exit, Some(0));
    eventually("it waits", || (downloads(&world, &peer)[1]["state"] == "waiting").then_some(()));
    assert_eq!(ask(["cancel", "2"]).exit, Some(0));
    assert_eq!(downloads(&world, &peer).len(), 1);
    assert_eq!(ask(["cancel", "2"]).exit, Some(3));
    let table = world.run(["downloads", "--control", peer.control()]);
    assert!(table.text.contains("done") && table.text.contains("a.bin"), "{}", table.text);
}

#[test]
fn a_queue_of_a_newer_version_is_refused_by_name() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let state = world.folder("old").display().to_string();
    std::fs::write(world.path("old/downloads.jsonl"), "{\"sprat\":\"downloads\",\"v\":9}\n").expect("a file");
    let share = world.folder("p").display().to_string();
    let listen = format!("{}:0", world.ip());
    let ran = world.run(["peer", "--state", &state, "--share", &share, "--listen", &listen, "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(9), "{}", ran.stderr);
    assert!(ran.stderr.contains("downloads.jsonl") && ran.stderr.contains("format 9"), "{}", ran.stderr);
}
