//! The queue of downloads of a peer that is killed again and again.

use std::path::PathBuf;

use crate::common::{MS, Report, SEC, campaign, explain, replaying};
use sprat::proto::command::Get;
use sprat::proto::{ClientEvent, ClientId, Command};
use sprat::sim::{ContentId, Random, World, topology};

const MIB: usize = 1 << 20;
const FILES: usize = 5;
const KILLS: usize = 10;

fn queue(name: &str) -> Command {
    Command::Queue(Get::of(name.to_owned()))
}

fn path(n: usize) -> PathBuf {
    format!("share/f{n}").into()
}

/// The numbers and names in the file of the queue, in order.
fn lines(world: &World, node: usize) -> Vec<String> {
    let entry = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of the queue is JSON");
        format!("{} {}", line["id"], line["get"]["what"])
    };
    world.queue_file(node).lines().skip(1).map(entry).collect()
}

fn accepted(world: &World, client: ClientId) -> bool {
    world.asked(client).events.iter().any(|(_, event)| matches!(event, ClientEvent::Download(_)))
}

fn run(seed: u64) -> Report {
    let mut random = Random::new(seed).child("queue", seed);
    let mut world = World::new(seed);
    if replaying() {
        world.keep_trace();
    }
    world.add_supers(2, &topology::line(2));
    world.set_bandwidth(8 * MIB as u64);
    let contents: Vec<ContentId> = (0..FILES).map(|n| world.content(4 * MIB + 1 + n)).collect();
    for n in 0..2 {
        let source = world.add_weak(&[n, 1 - n]);
        contents.iter().enumerate().for_each(|(n, content)| world.share(source, &format!("f{n}"), *content));
        world.start(source);
    }
    let peer = world.add_weak(&[0, 1]);
    world.keep_queue(peer, 2);
    world.start(peer);
    // The peer may also be killed before a session is up.
    world.run_for(random.time(MS, 2 * SEC));
    let clients: Vec<ClientId> = (0..FILES).map(|n| world.ask(peer, queue(&format!("f{n}")))).collect();
    let mut kept: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        world.run_for(random.time(MS, 1500 * MS));
        let promised = clients.iter().filter(|client| accepted(&world, **client)).count();
        world.crash(peer);
        let now = lines(&world, peer);
        assert!(now.len() >= promised && now.starts_with(&kept), "kill {kill}: {promised} of {now:?} after {kept:?}");
        kept = now;
        world.run_for(random.time(MS, SEC));
        world.start(peer);
    }
    let mut report = Report::default();
    if kept.len() == FILES {
        let done = |world: &World| (0..FILES).all(|n| world.file(peer, &path(n)) == Some(contents[n]));
        let ended = world.run_until(900 * SEC, done);
        explain(&world, seed);
        assert!(ended, "not all are there: {}", world.queue_file(peer));
        world.run_for(SEC);
        assert_eq!(lines(&world, peer), kept, "the queue as it was");
        assert_eq!(world.pieces_written(peer), FILES as u64 * 5, "no piece is written twice");
        report.complete = 1;
    } else {
        report.incomplete = 1;
    }
    report.end(&world);
    report
}

#[test]
fn nothing_of_a_queue_is_lost_in_ten_kills() {
    let report = campaign("queue", "nothing_of_a_queue_is_lost_in_ten_kills", 12, run);
    assert!(report.complete > 0 && report.crashes >= 10, "{report:?}");
}
