//! Networks in login mode: the production machines with keys, credentials and accounts.

use std::path::PathBuf;

use crate::common::{MS, SEC, replaying, two_supers};
use sprat::proto::command::{Get, UserCommand};
use sprat::proto::event::Outcome;
use sprat::proto::{ClientId, Command};
use sprat::sim::{ContentId, World};
use sprat::trust::Token;

const MIB: usize = 1 << 20;

/// Two super peers in login mode, and weak peers that share one content.
struct Scene {
    world: World,
    content: ContentId,
    sources: Vec<usize>,
}

fn scene(seed: u64, size: usize, sources: usize) -> Scene {
    let mut world = World::new(seed);
    if replaying() {
        world.keep_trace();
    }
    world.use_login();
    world.check_invariants();
    world.watch_all();
    let (content, sources) = two_supers(&mut world, size, sources);
    let all = sources.len();
    assert!(world.run_until(5 * SEC, |world| records(world) == all), "all log in and register");
    world.run_for(100 * MS);
    Scene { world, content, sources }
}

fn records(world: &World) -> usize {
    (0..2).map(|node| world.super_peer(node).unwrap().index().records()).sum()
}

fn count(world: &World, name: &str) -> u64 {
    (0..2).map(|node| world.super_peer(node).unwrap().counts().get(name).copied().unwrap_or(0)).sum()
}

fn fetch(world: &mut World, peer: usize) -> ClientId {
    world.ask(peer, Command::Get(Get { out: Some(PathBuf::from("/")), ..Get::of("film".into()) }))
}

fn ended(world: &mut World, client: ClientId) -> Outcome {
    assert!(world.finish(client, 60 * SEC), "it ends: {:?}", world.asked(client));
    world.asked(client).outcome().unwrap().clone()
}

fn user(world: &mut World, node: usize, command: UserCommand) {
    let client = world.ask(node, Command::User(command));
    assert!(ended(world, client).ok);
}

fn downloader(world: &mut World) -> usize {
    let peer = world.add_weak(&[0, 1]);
    world.start(peer);
    assert!(world.run_until(5 * SEC, |world| !world.supers_of(peer).is_empty()));
    peer
}

#[test]
fn peers_with_accounts_search_and_fetch_from_each_other() {
    let Scene { mut world, content, .. } = scene(1, 3 * MIB + 5, 3);
    let peer = downloader(&mut world);
    let client = fetch(&mut world, peer);
    let outcome = ended(&mut world, client);
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(outcome.root, Some(world.contents().root(content)));
    assert_eq!(count(&world, "closed_login"), 0);
}

#[test]
fn who_is_revoked_is_cut_off_within_a_second() {
    let Scene { mut world, sources, .. } = scene(2, 40 * MIB, 2);
    world.set_bandwidth(1 << 20);
    let peer = downloader(&mut world);
    let client = fetch(&mut world, peer);
    let feeds = |world: &World, source: usize| world.connections_between(peer, source) > 0;
    let all = sources.clone();
    assert!(world.run_until(10 * SEC, |world| all.iter().all(|source| feeds(world, *source))), "both are in use");
    let (out, left) = (sources[0], sources[1]);
    let key = world.key(out).unwrap();
    for node in 0..2 {
        let until = world.unix();
        user(&mut world, node, UserCommand::Deny { key, until });
    }
    world.run_for(SEC);
    assert_eq!(records(&world), 1, "its files are gone");
    assert!(!feeds(&world, out), "and its chunk connections");
    assert!(feeds(&world, left));
    assert!(world.supers_of(out).is_empty());
    world.set_bandwidth(100 << 20);
    let outcome = ended(&mut world, client);
    assert!(outcome.ok, "an honest source is enough: {outcome:?}");
    world.run_for(60 * SEC);
    assert_eq!(records(&world), 1, "it does not return");
    assert!(count(&world, "login_refused_revoked") > 1);
}

#[test]
fn an_invitation_lets_a_peer_in_and_others_fetch_from_it() {
    let Scene { mut world, content, .. } = scene(3, MIB, 0);
    let token = Token::new([5; 20]);
    let (name, until, unix) = ("ann".to_owned(), world.unix() + 100, world.unix());
    let add = UserCommand::Add { name, class: None, token: token.hash(), until, valid_s: None, unix };
    user(&mut world, 0, add);
    let invited = world.add_invited(&[0], "ann", token);
    world.share(invited, "film", content);
    world.start(invited);
    assert!(world.run_until(5 * SEC, |world| records(world) == 1));
    assert_eq!(world.accounts(0).borrow().user("ann").unwrap().nodes.len(), 1, "it is saved");
    let peer = downloader(&mut world);
    let client = fetch(&mut world, peer);
    let outcome = ended(&mut world, client);
    assert!(outcome.ok, "{outcome:?}");
    // The super peer forgets nothing when it restarts.
    world.crash(0);
    world.start(0);
    assert!(world.run_until(20 * SEC, |world| records(world) == 1));
}

#[test]
fn a_node_of_the_other_mode_is_refused_by_name() {
    let Scene { mut world, .. } = scene(4, 10, 0);
    let open = world.add_weak(&[0]);
    world.lose_key(open);
    world.start(open);
    let client = world.ask(open, Command::List { partial: false });
    let outcome = ended(&mut world, client);
    assert_eq!(outcome.exit, 7, "{outcome:?}");
}
