//! Downloads in the simulated network: the production machines and digests, virtual connections and
//! disks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{MS, Report, SEC, campaign, explain, replaying, two_supers};
use sprat::proto::command::Get;
use sprat::proto::event::{Outcome, SourceReport, SourceState};
use sprat::proto::{ClientEvent, ClientId, Command};
use sprat::sim::{ContentId, Random, World, topology};

const MIB: usize = 1 << 20;

fn get(what: &str, out: Option<&str>) -> Command {
    let out = out.map(PathBuf::from);
    Command::Get(Get { out, ..Get::of(what.into()) })
}

struct Scene {
    world: World,
    content: ContentId,
    sources: Vec<usize>,
    downloader: usize,
}

/// Two super peers, sources of one content spread over them, and a downloader.
fn scene(seed: u64, size: usize, sources: usize) -> Scene {
    let mut world = World::new(seed);
    if replaying() {
        world.keep_trace();
    }
    let (content, sources) = two_supers(&mut world, size, sources);
    let downloader = world.add_weak(&[0, 1]);
    world.start(downloader);
    let registered = |world: &World| {
        let records: usize = (0..2).map(|node| world.super_peer(node).unwrap().index().records()).sum();
        records == sources.len() && !world.supers_of(downloader).is_empty()
    };
    assert!(world.run_until(5 * SEC, registered));
    world.run_for(100 * MS);
    Scene { world, content, sources, downloader }
}

fn outcome(world: &World, client: ClientId) -> &Outcome {
    world.asked(client).outcome().expect("it is over")
}

fn report_of<'a>(world: &World, outcome: &'a Outcome, source: usize) -> &'a SourceReport {
    let addr = world.addr(source).into();
    let reports = outcome.sources.as_ref().expect("a download names its sources");
    reports.iter().find(|report| report.source == addr).expect("the source is named")
}

#[test]
fn peers_of_two_super_peers_exchange_pieces() {
    let mut world = World::new(5);
    world.add_supers(2, &topology::line(2));
    let content = world.content(24 * MIB);
    let nodes = [0, 0, 1].map(|at| world.add_weak(&[at]));
    let [seed, near, far] = nodes;
    world.share(seed, "film", content);
    nodes.iter().for_each(|node| world.start(*node));
    world.run_for(SEC);
    let clients = [near, far].map(|node| world.ask(node, get("film", None)));
    for client in clients {
        assert!(world.finish(client, 60 * SEC));
    }
    let pieces_of = |client: ClientId, source: usize| {
        let outcome = outcome(&world, client);
        assert!(outcome.ok, "{outcome:?}");
        let addr = world.addr(source).into();
        let reports = outcome.sources.iter().flatten();
        reports.filter(|report| report.source == addr).map(|report| report.pieces).sum::<u32>()
    };
    assert!(pieces_of(clients[1], near) > 0, "a member of the other super peer is followed");
    assert!(pieces_of(clients[0], seed) + pieces_of(clients[1], seed) < 48, "the seed need not send all twice");
}

#[test]
fn a_download_takes_from_every_source_and_is_then_offered() {
    let Scene { mut world, content, sources, downloader } = scene(1, 24 * MIB + 5, 3);
    let client = world.ask(downloader, get("film", None));
    assert!(world.finish(client, 60 * SEC));
    let outcome = outcome(&world, client);
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(outcome.root, Some(world.contents().root(content)));
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
    for source in sources {
        assert!(report_of(&world, outcome, source).pieces > 0, "{outcome:?}");
    }
    assert_eq!(world.pieces_written(downloader), 25, "no piece is written twice");
    let offered =
        |world: &World| (0..2).map(|node| world.super_peer(node).unwrap().index().records()).sum::<usize>() == 4;
    assert!(world.run_until(2 * SEC, offered), "the downloader is a source now");
}

#[test]
fn small_and_odd_sizes_arrive() {
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB] {
        let Scene { mut world, content, downloader, .. } = scene(2, size, 2);
        let client = world.ask(downloader, get("film", Some("/out/film")));
        assert!(world.finish(client, 30 * SEC));
        assert!(outcome(&world, client).ok, "{size}: {:?}", outcome(&world, client));
        assert_eq!(world.file(downloader, Path::new("/out/film")), Some(content), "{size}");
    }
}

#[test]
fn a_lying_source_is_dropped_and_named() {
    let Scene { mut world, content, sources, downloader } = scene(3, 20 * MIB, 3);
    let every_tenth_and_the_third: Vec<usize> = (0..20).map(|piece| piece * MIB + 77).collect();
    world.lie(sources[1], content, &every_tenth_and_the_third);
    let client = world.ask(downloader, get("film", None));
    assert!(world.finish(client, 60 * SEC));
    let outcome = outcome(&world, client);
    assert!(outcome.ok, "{outcome:?}");
    let liar = report_of(&world, outcome, sources[1]);
    assert!(liar.state == SourceState::Dropped && liar.bad >= 1 && liar.pieces == 0, "{liar:?}");
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
}

#[test]
fn if_every_source_lies_nothing_is_published() {
    let Scene { mut world, content, sources, downloader } = scene(4, 4 * MIB, 2);
    for source in sources {
        world.lie(source, content, &[10, MIB + 10, 2 * MIB + 10, 3 * MIB + 10]);
    }
    let client = world.ask(downloader, get("film", None));
    assert!(world.finish(client, 120 * SEC), "it gives up");
    let outcome = outcome(&world, client);
    assert!(!outcome.ok && outcome.exit == 6, "{outcome:?}");
    assert_eq!(world.file(downloader, Path::new("share/film")), None);
}

#[test]
fn sources_that_die_on_the_way_do_not_stop_it() {
    let Scene { mut world, content, sources, downloader } = scene(5, 40 * MIB, 4);
    let client = world.ask(downloader, get("film", None));
    world.run_for(60 * MS);
    world.crash(sources[0]);
    world.crash(sources[1]);
    world.run_for(50 * MS);
    world.start(sources[0]);
    assert!(world.asked(client).outcome().is_none(), "it was under way");
    assert!(world.finish(client, 60 * SEC));
    assert!(outcome(&world, client).ok, "{:?}", outcome(&world, client));
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
    assert_eq!(world.pieces_written(downloader), 40, "a verified piece is never written again");
}

#[test]
fn a_killed_downloader_goes_on_where_it_was() {
    let Scene { mut world, content, downloader, .. } = scene(6, 40 * MIB, 2);
    world.ask(downloader, get("film", None));
    world.run_for(150 * MS);
    let written = world.pieces_written(downloader);
    assert!((1..40).contains(&written), "{written}: it was under way");
    world.crash(downloader);
    assert_eq!(world.file(downloader, Path::new("share/film")), None);
    world.start(downloader);
    let client = world.ask(downloader, get("film", None));
    assert!(world.finish(client, 60 * SEC));
    let outcome = outcome(&world, client);
    assert!(outcome.ok && outcome.resumed > Some(0), "{outcome:?}");
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
    assert_eq!(world.pieces_written(downloader), 40, "what was verified is not fetched again");
}

#[test]
fn a_half_open_source_is_given_up() {
    let Scene { mut world, content, sources, downloader } = scene(7, 40 * MIB, 2);
    let client = world.ask(downloader, get("film", None));
    world.run_for(60 * MS);
    world.silence(sources[0]);
    assert!(world.finish(client, 60 * SEC));
    assert!(outcome(&world, client).ok, "{:?}", outcome(&world, client));
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
}

#[test]
fn a_download_needs_no_super_peer_once_it_runs() {
    let Scene { mut world, content, downloader, .. } = scene(8, 30 * MIB, 2);
    let client = world.ask(downloader, get("film", None));
    world.run_for(60 * MS);
    world.crash(0);
    world.crash(1);
    assert!(world.asked(client).outcome().is_none(), "it was under way");
    assert!(world.finish(client, 20 * SEC));
    assert!(outcome(&world, client).ok, "{:?}", outcome(&world, client));
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
}

/// One seed: sources crash, return, lie, or fall silent. One source is honest and stays.
fn run(seed: u64) -> Report {
    let mut swarm = Random::new(seed).child("swarm", 0);
    let size = [3, MIB, 2 * MIB + 1, 6 * MIB, 9 * MIB + 4321][swarm.index(5)];
    let n = 1 + swarm.index(4);
    let Scene { mut world, content, sources, downloader } = scene(seed, size, n);
    let mut report = Report::default();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drive(&mut world, &mut swarm, (content, size), &sources, downloader);
    }));
    if let Err(why) = result {
        explain(&world, seed);
        std::panic::resume_unwind(why);
    }
    report.end(&world);
    // Every download has ended well; the report counts the run as complete.
    report.complete = 1;
    report
}

fn drive(
    world: &mut World,
    swarm: &mut Random,
    (content, size): (ContentId, usize),
    sources: &[usize],
    downloader: usize,
) {
    for &liar in &sources[1..] {
        if swarm.chance(400) {
            let wrong: Vec<usize> = (0..size).step_by(MIB).collect();
            world.lie(liar, content, &wrong);
        }
    }
    // A search finds the sources that have a session. The download must survive what happens after
    // the search.
    let ask = |world: &mut World| {
        let client = world.ask(downloader, get("film", None));
        world.run_for(10 * MS);
        client
    };
    let mut client = ask(world);
    for _ in 0..swarm.index(6) {
        let pause = swarm.time(Duration::ZERO, 40 * MS);
        world.run_for(pause);
        let victim = sources[swarm.index(sources.len())];
        match swarm.below(100) {
            0..25 if victim != sources[0] && world.is_running(victim) => world.crash(victim),
            25..45 if !world.is_running(victim) => world.start(victim),
            45..60 => world.cut_connections(victim),
            60..70 if victim != sources[0] => world.silence(victim),
            70..80 => {
                world.crash(downloader);
                world.start(downloader);
                let up = |world: &World| !world.supers_of(sources[0]).is_empty();
                assert!(world.run_until(120 * SEC, up), "the honest source comes back");
                world.run_for(SEC);
                client = ask(world);
            }
            _ => {}
        }
    }
    assert!(world.finish(client, 200 * SEC), "a download ends");
    let outcome = outcome(world, client).clone();
    let events: Vec<&ClientEvent> = world.asked(client).events.iter().map(|(_, event)| event).collect();
    assert!(outcome.ok, "one source is honest and stays, and yet {outcome:?}: {events:?}");
    assert_eq!(world.file(downloader, Path::new("share/film")), Some(content));
    world.run_for(100 * SEC);
    assert_eq!(world.payloads_held(downloader), 0, "every payload was written or dropped");
    assert!(world.connections(downloader) <= 1, "the session is all that stays");
}

#[test]
fn one_honest_source_is_enough() {
    let report = campaign("download", "one_honest_source_is_enough", 150, run);
    report.require(&["reset", "silence"]);
    assert!(report.crashes > 20 || replaying(), "{report:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(5).trace, run(5).trace);
}
