//! Commands of clients: their events, and exactly one `done` with its exit code.

use std::time::Duration;

use super::harness::{Manner, Super, World, addr};
use crate::config::{RECONNECT_MAX_LATER, RECONNECT_SOON};
use crate::proto::{ClientEvent, Command, Input, Scope};
use crate::wire::message::{Error, ErrorCode, Files, Hit, ListedFile, SourceRecord};
use crate::wire::{Message, QueryKind, Root, Search, SharePath};

fn query(pattern: &str) -> Command {
    let kind = QueryKind::of(pattern);
    let search = Search::new(pattern, kind);
    Command::Query { search, scope: Scope { budget: Some(1000), ..Scope::default() } }
}

fn hits(world: &World) -> usize {
    world.client_events().iter().filter(|event| matches!(event, ClientEvent::Hit { .. })).count()
}

#[test]
fn a_query_reports_its_hits_and_then_its_end() {
    let mut world = World::new(1, 5);
    world.source(Manner::Honest, 1).source(Manner::Honest, 1);
    let outcome = world.command(query("file")).outcome();
    assert_eq!((outcome.ok, outcome.exit, outcome.hits), (true, 0, Some(2)));
    assert_eq!((outcome.reached, outcome.complete), (Some(3), Some(true)));
    assert!(outcome.cut.unwrap().is_none() && outcome.elapsed_ms.is_some());
    assert_eq!(hits(&world), 2);
}

#[test]
fn a_query_without_a_hit_exits_3() {
    let mut world = World::new(1, 5);
    let outcome = world.command(query("file")).outcome();
    assert_eq!((outcome.ok, outcome.exit, outcome.hits, outcome.complete), (false, 3, Some(0), Some(true)));
}

#[test]
fn a_query_without_a_done_exits_4_after_its_budget() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    let start = world.now;
    assert_eq!(world.command(query("file")).outcome().exit, 4);
    assert_eq!(world.now.since(start), Duration::from_secs(3));
}

#[test]
fn a_malformed_query_exits_2_with_the_reason() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.command(query("[")).run_for(Duration::from_millis(1));
    let Some(Message::Query(query)) = world.heard(0).last().cloned() else { panic!("no query") };
    let error = Error::new(ErrorCode::BAD_REQUEST, "unclosed [", Some(query.req));
    world.super_says(0, Message::Error(error));
    let outcome = world.outcome();
    assert_eq!(outcome.exit, 2);
    assert!(outcome.error.unwrap().contains("unclosed ["));
}

#[test]
fn a_query_waits_for_the_session() {
    let mut world = World::new(1, 5);
    world.source(Manner::Honest, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.kill_super(0);
    world.run_for(Duration::from_secs(1));
    world.command(query("file")).run_for(Duration::from_secs(1));
    assert_eq!(world.outcomes(), 0);
    world.supers[0].1.alive = true;
    assert_eq!(world.outcome().exit, 0);
}

#[test]
fn a_query_without_any_session_exits_5_in_time() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.kill_super(0);
    world.run_for(Duration::from_secs(1));
    let start = world.now;
    assert_eq!(world.command(query("file")).outcome().exit, 5);
    assert_eq!(world.now.since(start), Duration::from_secs(10));
}

#[test]
fn commands_end_at_once_when_the_login_is_rejected() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    let start = world.now;
    world.command(query("file")).run_for(Duration::from_millis(1));
    world.supers[0].1.manner = Super::Refuses(ErrorCode::REVOKED);
    world.super_says(0, Message::Error(Error::new(ErrorCode::REVOKED, "revoked", None)));
    let outcome = world.outcome();
    assert!(outcome.exit == 7 && outcome.error.unwrap().contains("revoked"));
    assert!(world.now.since(start) < Duration::from_secs(1));
    world.run_for(Duration::from_secs(60)).command(query("file")).run_for(Duration::from_millis(1));
    let last = world.client_events().pop();
    assert!(matches!(&last, Some(ClientEvent::Done(outcome)) if outcome.exit == 7), "{last:?}");
    assert_eq!(world.outcomes(), 2, "the peer knows that its login is rejected");
}

#[test]
fn a_command_long_after_a_rejection_asks_again_whether_the_login_is_rejected() {
    let mut world = World::new(1, 5);
    world.source(Manner::Honest, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::Refuses(ErrorCode::REVOKED);
    world.super_says(0, Message::Error(Error::new(ErrorCode::REVOKED, "revoked", None)));
    // The waits between two tries are long now.
    world.run_for(RECONNECT_SOON + 2 * RECONNECT_MAX_LATER);
    world.supers[0].1.manner = Super::Serves;
    let start = world.now;
    let outcome = world.command(query("file")).outcome();
    assert_eq!((outcome.exit, outcome.hits), (0, Some(1)));
    assert!(world.now.since(start) < Duration::from_secs(2), "{:?}", world.now.since(start));
}

#[test]
fn a_command_without_a_first_session_ends_as_the_peer_does() {
    let mut world = World::new(1, 5);
    world.supers[0].1.manner = Super::Refuses(ErrorCode::VERSION);
    assert_eq!(world.command(query("file")).outcome().exit, 10);
    let mut world = World::new(1, 5);
    world.kill_super(0);
    let outcome = world.command(query("file")).outcome();
    assert_eq!(outcome.exit, 5);
    assert!(outcome.error.unwrap().contains("192.0.2.9:1"));
    assert_eq!(world.fatal().exit.code(), 5);
}

#[test]
fn a_query_is_asked_again_of_the_next_super_peer_and_no_hit_is_reported_twice() {
    let mut world = World::new(2, 5);
    world.source(Manner::Honest, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.command(query("file")).run_for(Duration::from_millis(1));
    let hits_there = world.supers[0].1.hits.clone();
    world.super_says(0, Message::Hit(crate::wire::message::Hit { req: 1, hits: hits_there }));
    world.run_for(Duration::from_millis(100));
    world.kill_super(0);
    let outcome = world.outcome();
    assert_eq!((outcome.exit, outcome.hits), (0, Some(1)));
    assert_eq!(hits(&world), 1);
}

#[test]
fn a_query_of_a_client_that_is_gone_is_canceled() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.command(query("file")).run_for(Duration::from_millis(1));
    world.input(Input::ClientGone { client: super::harness::CLIENT });
    assert_eq!(world.heard(0).last().map(Message::kind), Some("CANCEL"));
    world.run_for(Duration::from_secs(9));
    assert_eq!(world.outcomes(), 0);
}

#[test]
fn a_get_of_one_name_with_two_contents_lists_them_and_exits_2() {
    let mut world = World::new(1, 3 << 20);
    world.source(Manner::Honest, 1).source(Manner::Honest, 1);
    world.supers[0].1.hits[1].root = Root([9; 32]);
    let outcome = world.get_named("file.bin").outcome();
    assert_eq!(outcome.exit, 2);
    assert!(outcome.error.unwrap().contains("name the root"));
    assert_eq!(hits(&world), 2);
    assert_eq!(world.sources[0].1.dials, 0);
}

#[test]
fn a_get_by_name_finds_sources_under_other_names_too() {
    let mut world = World::new(1, 3 << 20);
    world.source(Manner::Honest, 1 << 20);
    world.get_named("file.bin").run_until(|world| world.sources[0].1.dials == 1);
    let roots: Vec<_> = world
        .heard(0)
        .iter()
        .filter_map(|message| match message {
            Message::Query(query) => Some(query.find.kind),
            _ => None,
        })
        .collect();
    assert_eq!(roots, [QueryKind::Path, QueryKind::Root]);
    assert!(world.outcome().ok);
}

#[test]
fn a_get_of_a_name_with_a_bracket_looks_for_the_name_first() {
    let mut world = World::new(1, 3);
    let outcome = world.get_named("a[1].txt").outcome();
    assert_eq!(outcome.exit, 3);
    let kinds: Vec<_> = world
        .heard(0)
        .iter()
        .filter_map(|message| match message {
            Message::Query(query) => Some(query.find.kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [QueryKind::Path, QueryKind::Glob, QueryKind::Words]);
}

#[test]
fn a_get_without_a_source_exits_3() {
    let mut world = World::new(1, 3);
    assert_eq!(world.get().outcome().exit, 3);
    let mut world = World::new(1, 3);
    world.source(Manner::Honest, 1);
    let outcome = world.get_with(crate::proto::Verify::Both, Some(addr(999))).outcome();
    assert_eq!(outcome.exit, 3);
    assert!(outcome.error.unwrap().contains("192.0.2.9:999"));
}

#[test]
fn a_list_follows_its_pages() {
    let mut world = World::new(1, 3);
    world.run_until(|world| world.welcomed() == 1);
    world.command(Command::List { partial: false });
    for page in 0..3_u64 {
        world.run_for(Duration::from_millis(5));
        let Some(Message::List(list)) = world.heard(0).last().copied_list() else { panic!("no LIST") };
        assert_eq!(list.after, (page > 0).then_some(page));
        let path = SharePath::new(&format!("d/{page}")).unwrap();
        let file = ListedFile { path, size: 1, root: Root([1; 32]), collection: page == 1, holders: 2, partial: 0 };
        let next = (page < 2).then_some(page + 1);
        world.super_says(0, Message::Files(Files { req: list.req, files: vec![file], next }));
    }
    let outcome = world.outcome();
    assert_eq!((outcome.ok, outcome.files), (true, Some(3)));
    let events = world.client_events().into_iter();
    let listed: Vec<_> = events
        .filter_map(|event| if let ClientEvent::File { collection, .. } = event { Some(collection) } else { None })
        .collect();
    assert_eq!(listed, [false, true, false]);
}

trait CopiedList {
    fn copied_list(self) -> Option<Message>;
}

impl CopiedList for Option<&Message> {
    fn copied_list(self) -> Option<Message> {
        self.filter(|message| matches!(message, Message::List(_))).cloned()
    }
}

#[test]
fn a_status_reports_both_peers_or_the_one_there_is() {
    let mut world = World::new(1, 3);
    world.command(Command::Status);
    assert_eq!(world.outcomes(), 1);
    world.events.clear();
    world.run_until(|world| world.welcomed() == 1);
    assert!(world.command(Command::Status).outcome().ok);
    let status = world.client_events().into_iter().find_map(|event| match event {
        ClientEvent::Status { super_peer, peer, super_counts, .. } => Some((super_peer, peer, super_counts)),
        _ => None,
    });
    let (super_peer, peer, super_counts) = status.unwrap();
    assert_eq!(super_peer, Some(addr(1)));
    assert_eq!((peer.get("files"), super_counts.get("sessions")), (Some(&0), Some(&1)));
}

#[test]
fn a_query_that_is_refused_for_lack_of_room_is_asked_again() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.command(query("file")).run_for(Duration::from_millis(10));
    let asked = |world: &World| world.heard(0).iter().filter(|message| matches!(message, Message::Query(_))).count();
    let refuse = |world: &mut World| {
        let Some(Message::Query(query)) = world.heard(0).last().cloned() else { panic!("no query") };
        let error = Error::new(ErrorCode::LIMIT, "short of memory", Some(query.req));
        world.super_says(0, Message::Error(error));
    };
    for tries in 1..=3 {
        assert_eq!(asked(&world), tries);
        refuse(&mut world);
        world.run_until(|world| asked(world) > tries);
    }
    // The super peer that serves is the last one that is asked.
    world.supers[0].1.manner = Super::Serves;
    refuse(&mut world);
    assert_eq!(world.outcome().complete, Some(true));
    assert_eq!(asked(&world), 5);
}

#[test]
fn a_query_that_is_always_refused_fails_with_the_reason() {
    let mut world = World::new(1, 5);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoRoom;
    let start = world.now;
    let outcome = world.command(query("file")).outcome();
    assert_eq!(outcome.exit, 5);
    assert!(outcome.error.unwrap().contains("short of memory"));
    let waited = world.now.since(start);
    assert!((Duration::from_secs(7)..Duration::from_secs(17)).contains(&waited), "{waited:?}");
}

/// The paths of the hits that the client got.
fn reported(world: &World) -> Vec<String> {
    let path = |event| if let ClientEvent::Hit { path, .. } = event { Some(path) } else { None };
    world.client_events().into_iter().filter_map(path).collect()
}

fn subscribed(world: &World) -> Vec<u32> {
    let req = |message: &Message| if let Message::Subscribe(subscribe) = message { Some(subscribe.req) } else { None };
    world.heard(0).iter().filter_map(req).collect()
}

#[test]
fn a_subscription_reports_each_content_once_that_comes_to_match() {
    let mut world = World::new(1, 5);
    let (old, new, third) = (world.record("old", 60), world.record("new", 61), world.record("third", 62));
    let with_root = |record: &SourceRecord, n| SourceRecord { root: Root([n; 32]), size: 5, ..record.clone() };
    let [old, new, third] = [with_root(&old, 1), with_root(&new, 2), with_root(&third, 3)];
    world.hit(old.clone());
    let search = crate::sim::builders::search("*");
    world.command(Command::Subscribe { search, scope: Scope::default(), existing: false });
    world.run_for(Duration::from_secs(2));
    assert!(reported(&world).is_empty(), "what matches already is known");
    let note = world.client_events().into_iter().find(|event| matches!(event, ClientEvent::Note { .. }));
    assert!(matches!(note, Some(ClientEvent::Note { message }) if message.contains("1 contents match already")));
    let [req] = subscribed(&world)[..] else { panic!("one SUBSCRIBE") };
    let hits = vec![new.clone(), new.clone(), old];
    world.super_says(0, Message::Hit(Hit { req, hits }));
    world.run_for(Duration::from_secs(1));
    assert_eq!(reported(&world), ["new"]);
    // The search of each minute finds a file that is registered elsewhere.
    world.hit(third);
    world.run_for(Duration::from_secs(67));
    assert_eq!(reported(&world), ["new", "third"]);
    world.kill_super(0);
    world.run_for(Duration::from_secs(1));
    world.supers[0].1.alive = true;
    world.run_for(Duration::from_secs(20));
    assert_eq!((subscribed(&world).len(), world.outcomes()), (2, 0), "it stands at the super peer that is back");
    world.input(Input::ClientGone { client: super::harness::CLIENT });
    world.run_for(Duration::from_secs(1));
    assert!(matches!(world.heard(0).last(), Some(Message::Cancel(_))));
}

#[test]
fn the_uri_of_a_collection_that_was_found_comes_with_a_note_of_its_age() {
    let mut world = World::new(1, 5);
    let collection = SourceRecord { collection: true, ..world.record("album", 100) };
    world.hit(collection);
    let uri = |what: &str| Command::Uri { what: what.into(), path: None, scope: Scope::default() };
    assert!(world.command(uri("album")).outcome().ok);
    let events = world.client_events();
    let note = |event: &ClientEvent| matches!(event, ClientEvent::Note { message } if message.contains("a new URI"));
    assert!(events.iter().any(note) && events.iter().any(|event| matches!(event, ClientEvent::Uri { .. })));
}
