//! The queue of downloads: order, the limit on running ones, waiting, pausing, and what survives a
//! restart.

use std::time::Duration;

use super::harness::{CLIENT, Manner, Super, World};
use crate::config::{PIECE_BYTES, QUEUE_ENTRIES_MAX, QUEUE_RETRY_FIRST, QUEUE_RETRY_MAX};
use crate::error::Exit;
use crate::proto::command::Get;
use crate::proto::disk::{Destination, DiskWork};
use crate::proto::event::{DownloadReport, DownloadState, Outcome};
use crate::proto::{ClientEvent, ClientId, Command, Event, Input};
use crate::sim::builders;
use crate::wire::message::SourceRecord;
use crate::wire::{Message, Root};

const MIB: u64 = PIECE_BYTES;
const SLOW: u64 = MIB;
const SEC: Duration = Duration::from_secs(1);
/// A client that asks about the queue.
const VIEWER: ClientId = ClientId(70);

fn world(size: u64) -> World {
    World::new(1, size).queued(4, "")
}

fn give(world: &mut World, client: u64, command: Command) {
    world.input(Input::Command { client: ClientId(client), command });
}

fn queue(world: &mut World, client: u64, what: &str) {
    give(world, client, Command::Queue(builders::get_of(what)));
}

fn events_of(world: &World, of: ClientId) -> Vec<ClientEvent> {
    let events = world.events.iter().filter_map(|(_, event)| match event {
        Event::Client { client, event } if *client == of => Some(event.clone()),
        _ => None,
    });
    events.collect()
}

fn outcome_of(world: &World, client: u64) -> Option<Outcome> {
    events_of(world, ClientId(client)).into_iter().find_map(|event| match event {
        ClientEvent::Done(outcome) => Some(outcome),
        _ => None,
    })
}

/// What DOWNLOADS lists now.
fn listed(world: &mut World) -> Vec<DownloadReport> {
    let before = events_of(world, VIEWER).len();
    world.input(Input::Command { client: VIEWER, command: Command::Downloads });
    let events = events_of(world, VIEWER).split_off(before);
    let reports = events.into_iter().filter_map(|event| match event {
        ClientEvent::Download(report) => Some(report),
        _ => None,
    });
    reports.collect()
}

fn states(world: &mut World) -> Vec<(u64, DownloadState)> {
    listed(world).into_iter().map(|report| (report.id, report.state)).collect()
}

/// The names that the super peer was asked for, in order.
fn asked(world: &World) -> Vec<String> {
    let query = |message: &Message| match message {
        Message::Query(query) => Some(query.find.pattern.clone()),
        _ => None,
    };
    world.heard(0).iter().filter_map(query).collect()
}

#[test]
fn downloads_run_a_few_at_a_time_in_their_order() {
    let mut world = World::new(1, MIB).queued(2, "");
    world.supers[0].1.manner = Super::NoAnswers;
    world.run_for(SEC);
    (1..=4).for_each(|n| queue(&mut world, n, &format!("f{n}")));
    world.run_for(SEC);
    assert_eq!(asked(&world), ["f1", "f2"]);
    let running = [(1, DownloadState::Running), (2, DownloadState::Running)];
    assert_eq!(states(&mut world)[..2], running);
    assert!(states(&mut world)[2..].iter().all(|(_, state)| *state == DownloadState::Queued));
    give(&mut world, 50, Command::Cancel { id: 1 });
    world.run_for(SEC);
    assert_eq!(asked(&world), ["f1", "f2", "f3"]);
    assert_eq!(outcome_of(&world, 1).unwrap().exit, Exit::Internal.code());
    assert!(outcome_of(&world, 50).unwrap().ok);
}

#[test]
fn a_download_is_on_the_disk_before_its_client_hears_of_it_and_before_it_starts() {
    let mut world = world(MIB);
    world.run_for(SEC);
    queue(&mut world, 7, "x");
    assert!(matches!(world.disk.last(), Some(DiskWork::SaveQueue { .. })));
    assert!(world.client_events().is_empty() && asked(&world).is_empty());
    assert!(world.lines.contains("\"what\":\"x\"") && world.lines.starts_with("{\"sprat\":\"downloads\",\"v\":1"));
    world.run_for(SEC);
    let first = world.client_events().remove(0);
    assert!(matches!(&first, ClientEvent::Download(report) if report.id == 1), "{first:?}");
    assert_eq!(asked(&world).first().map(String::as_str), Some("x"));
}

#[test]
fn a_queue_that_cannot_be_saved_refuses_and_starts_nothing() {
    let mut world = world(MIB);
    world.run_for(SEC);
    world.full = true;
    queue(&mut world, 7, "x");
    let outcome = world.outcome();
    assert!(outcome.exit == Exit::Disk.code() && outcome.error.unwrap().contains("full"));
    assert!(asked(&world).is_empty() && listed(&mut world).is_empty());
    world.full = false;
    queue(&mut world, 8, "y");
    world.run_for(SEC);
    assert!(
        asked(&world).iter().all(|name| name == "y") && !asked(&world).is_empty(),
        "the next one is accepted as soon as the disk has room"
    );
}

#[test]
fn without_a_source_it_waits_and_takes_the_one_that_appears() {
    let mut world = world(2 * MIB);
    world.run_for(SEC);
    let root = world.content.root.to_string();
    queue(&mut world, 7, &root);
    world.run_for(SEC);
    let reports = listed(&mut world);
    assert_eq!((reports[0].state, reports[0].exit), (DownloadState::Waiting, Some(Exit::NotFound.code())));
    assert!(reports[0].error.as_ref().unwrap().contains("no peer has") && reports[0].retry_ms.is_some());
    assert_eq!(world.outcomes(), 0);
    world.source(Manner::Honest, SLOW);
    assert!(world.outcome().ok);
    assert_eq!(states(&mut world), [(1, DownloadState::Done)]);
}

#[test]
fn it_asks_again_with_growing_waits_of_at_most_five_minutes() {
    let mut world = world(MIB);
    queue(&mut world, 7, "x");
    let mut times = Vec::new();
    for _ in 0..3600 {
        let before = asked(&world).len();
        world.run_for(SEC);
        // One search may consist of several queries.
        times.extend((asked(&world).len() > before).then_some(world.now));
    }
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps[0] <= QUEUE_RETRY_FIRST + SEC && gaps.iter().max() > Some(&(QUEUE_RETRY_MAX / 2)), "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= QUEUE_RETRY_MAX + 2 * SEC), "{gaps:?}");
    assert!((12..40).contains(&times.len()), "{} times in an hour", times.len());
}

#[test]
fn a_new_session_ends_the_waits() {
    let mut world = world(MIB);
    queue(&mut world, 7, "x");
    world.run_for(600 * SEC);
    world.kill_super(0);
    world.run_for(SEC);
    let before = asked(&world).len();
    world.supers[0].1.alive = true;
    world.run_until(|world| world.welcomed() == 2).run_for(6 * SEC);
    assert!(asked(&world).len() > before);
}

#[test]
fn a_client_that_does_not_wait_gets_the_end_and_its_download_can_be_resumed() {
    let mut world = world(MIB);
    world.run_for(SEC);
    world.get_named("x");
    assert_eq!(world.outcome().exit, Exit::NotFound.code());
    assert_eq!(states(&mut world), [(1, DownloadState::Failed)]);
    give(&mut world, 50, Command::Resume { id: 1 });
    world.run_for(SEC);
    assert_eq!(states(&mut world), [(1, DownloadState::Waiting)]);
}

#[test]
fn a_download_goes_on_when_its_client_is_gone() {
    let mut world = world(4 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 1);
    world.input(Input::ClientGone { client: CLIENT });
    world.run_until(|world| world.published.is_some()).run_for(SEC);
    assert_eq!(states(&mut world), [(1, DownloadState::Done)]);
    world.assert_no_leak();
}

#[test]
fn the_same_command_joins_the_download_that_is_there() {
    let mut world = world(4 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| !world.written.is_empty());
    let root = world.content.root.to_string();
    give(&mut world, 8, Command::Get(builders::get_of(&root)));
    assert!(world.outcome().ok);
    assert!(outcome_of(&world, 8).unwrap().ok);
    assert_eq!(listed(&mut world).len(), 1);
    assert_eq!(world.served().len(), 4, "nothing is fetched twice");
}

#[test]
fn a_paused_download_stops_and_resumes() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 2);
    give(&mut world, 50, Command::Pause { id: 1 });
    world.run_for(60 * SEC);
    assert_eq!((world.abandoned, world.outcomes()), (1, 0));
    assert_eq!(states(&mut world), [(1, DownloadState::Paused)]);
    assert!(world.lines.contains("paused"));
    world.part = (Some(world.content.cvs.clone()), world.written.keys().copied().collect());
    world.lenient = true;
    give(&mut world, 51, Command::Resume { id: 1 });
    assert!(world.outcome().ok);
    assert!(outcome_of(&world, 50).unwrap().ok && outcome_of(&world, 51).unwrap().ok);
    world.assert_no_leak();
}

#[test]
fn a_paused_download_has_its_progress_after_a_restart() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 2).run_for(SEC / 2);
    give(&mut world, 50, Command::Pause { id: 1 });
    world.run_for(SEC);
    let bytes = listed(&mut world).remove(0).bytes;
    assert!(bytes >= Some(2 * MIB), "{bytes:?}");
    let mut again = World::new(1, 6 * MIB).queued(4, &world.lines);
    again.run_for(SEC);
    let report = listed(&mut again).remove(0);
    assert_eq!((report.state, report.bytes, report.size), (DownloadState::Paused, bytes, Some(6 * MIB)));
}

#[test]
fn a_pause_and_a_cancel_are_events_of_the_node() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 2);
    give(&mut world, 50, Command::Pause { id: 1 });
    give(&mut world, 51, Command::Cancel { id: 1 });
    world.run_for(SEC);
    let states = world.events.iter().filter_map(|(_, event)| match event {
        Event::Download(report) => Some(report.state),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states, [DownloadState::Running, DownloadState::Paused, DownloadState::Canceled]);
}

#[test]
fn what_only_the_user_can_decide_waits_for_the_user() {
    let mut world = world(MIB);
    world.source(Manner::Honest, SLOW);
    for root in [1, 2] {
        let record = SourceRecord { root: Root([root; 32]), ..world.record("dir/two", 100) };
        world.supers[0].1.hits.push(record);
    }
    world.run_for(SEC);
    queue(&mut world, 7, "dir/");
    assert_eq!(world.outcome().exit, Exit::Partial.code());
    world.run_for(SEC);
    let paused = listed(&mut world).remove(0);
    assert_eq!((paused.state, paused.exit), (DownloadState::Paused, Some(Exit::Partial.code())));
    assert!(paused.error.unwrap().contains("2 different contents"));
    let before = asked(&world).len();
    world.run_for(3 * QUEUE_RETRY_MAX);
    assert_eq!(asked(&world).len(), before, "to ask again is of no use");
    // The reason survives a restart, and the user can continue the download.
    let mut again = World::new(1, MIB).queued(4, &world.lines);
    again.run_for(SEC);
    assert!(listed(&mut again).remove(0).error.unwrap().contains("2 different contents"));
    give(&mut again, 50, Command::Resume { id: 1 });
    again.run_for(SEC);
    assert_eq!(asked(&again).first().map(String::as_str), Some("dir"));
}

#[test]
fn files_that_do_not_fit_wait_for_the_user_before_one_is_fetched() {
    let mut world = world(MIB);
    world.source(Manner::Honest, SLOW);
    world.run_for(SEC);
    queue(&mut world, 7, "dir/");
    world.run_until(|world| !asked(world).is_empty());
    world.full = true;
    world.run_for(SEC);
    let paused = listed(&mut world).remove(0);
    assert_eq!((paused.state, paused.exit), (DownloadState::Paused, Some(Exit::Disk.code())));
    assert!(world.served().is_empty(), "nothing is fetched");
}

#[test]
fn a_restart_goes_on_with_the_content_and_the_destination_that_were_chosen() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.share(&[], &[]).run_for(SEC);
    queue(&mut world, 7, "file.bin");
    world.run_until(|world| world.written.len() == 2).run_for(SEC);
    queue(&mut world, 9, "paused");
    give(&mut world, 50, Command::Pause { id: 2 });
    world.run_for(SEC);

    let mut again = World::new(1, 6 * MIB).queued(4, &world.lines);
    again.source(Manner::Honest, SLOW);
    again.run_until(|world| world.published.is_some()).run_for(SEC);
    let found: Vec<_> = states(&mut again);
    let expected = [(1, DownloadState::Done), (2, DownloadState::Paused)];
    assert_eq!(found, expected);
    let open = again.disk.iter().find_map(|work| match work {
        DiskWork::OpenPart { destination, root, .. } => Some((destination.clone(), *root)),
        _ => None,
    });
    let (destination, root) = open.unwrap();
    assert!(matches!(destination, Destination::Path { path, .. } if path.ends_with("share/file.bin")));
    assert_eq!(root, again.content.root);
    queue(&mut again, 7, "new");
    again.run_for(SEC);
    assert_eq!(listed(&mut again).last().unwrap().id, 3, "numbers are not used twice");
}

#[test]
fn an_error_of_the_disk_ends_it_once() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 1);
    world.full = true;
    assert_eq!(world.outcome().exit, Exit::Disk.code());
    assert_eq!(states(&mut world), [(1, DownloadState::Failed)]);
    world.full = false;
    give(&mut world, 50, Command::Resume { id: 1 });
    world.lenient = true;
    world.run_until(|world| world.published.is_some());
}

#[test]
fn at_the_end_of_the_peer_its_clients_hear_that_the_download_goes_on_later() {
    let mut world = world(6 * MIB);
    world.source(Manner::Honest, SLOW);
    world.get().run_until(|world| world.written.len() == 1).run_for(SEC);
    let lines = world.lines.clone();
    world.input(Input::Shutdown);
    let outcome = world.outcome();
    assert!(!outcome.ok && outcome.error.unwrap().contains("goes on when it starts again"));
    assert_eq!(world.lines, lines, "it is still queued");
}

#[test]
fn a_full_queue_refuses() {
    let mut world = world(MIB);
    world.supers[0].1.manner = Super::NoAnswers;
    world.run_for(SEC);
    (0..=QUEUE_ENTRIES_MAX as u64).for_each(|n| queue(&mut world, 1000 + n, &format!("f{n}")));
    let outcome = outcome_of(&world, 1000 + QUEUE_ENTRIES_MAX as u64).unwrap();
    assert!(outcome.error.unwrap().contains("1000 downloads are in the queue"));
    world.run_for(SEC);
    assert_eq!(listed(&mut world).len(), QUEUE_ENTRIES_MAX);
}

#[test]
fn an_unknown_number_is_refused() {
    let mut world = world(MIB);
    for command in [Command::Cancel { id: 9 }, Command::Pause { id: 0 }, Command::Resume { id: u64::MAX }] {
        world.events.clear();
        world.command(command);
        let outcome = world.outcome();
        assert!(outcome.exit == Exit::NotFound.code() && outcome.error.unwrap().contains("there is no download"));
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_damaged_lines_are_counted() {
    use crate::proto::weak_peer::{Newer, Saved};
    let newer = Saved::parse("{\"sprat\":\"downloads\",\"v\":2}").unwrap_err();
    assert_eq!(newer, Newer { version: 2, known: 1 });
    let get = serde_json::to_string(&Get { timeout: Some(5), ..builders::get_of("x") }).unwrap();
    let line = format!("{{\"id\":4,\"state\":\"queued\",\"get\":{get},\"new\":1}}");
    let saved = Saved::parse(&format!("{{\"sprat\":\"downloads\",\"v\":1}}\n{line}\nnonsense\n{line}\n")).unwrap();
    assert_eq!(saved.damaged, 2);
    for text in ["", "{}", "{\"sprat\":\"else\",\"v\":1}"] {
        assert_eq!(Saved::parse(text).unwrap().damaged, 1, "{text}");
    }
}

#[test]
fn a_download_that_names_nothing_does_not_come_back() {
    use crate::proto::weak_peer::Saved;
    for (what, damaged) in [("/", 1), ("///", 1), ("x/", 0)] {
        let get = serde_json::to_string(&builders::get_of(what)).unwrap();
        let lines = format!("{{\"sprat\":\"downloads\",\"v\":1}}\n{{\"id\":1,\"state\":\"queued\",\"get\":{get}}}\n");
        assert_eq!(Saved::parse(&lines).unwrap().damaged, damaged, "{what}");
    }
}

#[test]
fn a_download_has_the_name_of_its_uri_from_the_beginning() {
    let mut world = world(MIB);
    world.run_for(SEC);
    give(&mut world, 7, Command::Queue(Get { name: Some("album".into()), ..builders::get_of(&"0f".repeat(32)) }));
    world.run_for(SEC);
    assert_eq!(listed(&mut world)[0].name.as_deref(), Some("album"));
}
