//! Requests of clients for the complete network: lists, limits, and searches that are canceled.
//! Also peers that have sessions with two super peers at once.

use std::collections::BTreeMap;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use super::common::{Daemon, World, eventually, root_of};

#[test]
fn the_whole_network_is_listed_each_content_once() {
    let world = World::new();
    let supers = world.super_peers(3, &[(0, 1), (1, 2)]);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut peers = Vec::new();
    for (p, daemon) in supers.iter().enumerate() {
        let name = format!("p{p}");
        for n in 0..1700 {
            let content = format!("{p} {n}");
            world.share(&name, format!("sub/{n}.txt"), content.as_bytes());
            *expected.entry(root_of(content.as_bytes())).or_default() += 1;
        }
        world.share(&name, format!("common {p}.txt"), b"common");
        *expected.entry(root_of(b"common")).or_default() += 1;
        peers.push(world.peer(&name, &[daemon]));
    }
    assert!(expected.len() > 5000);
    eventually("all are registered", || {
        supers.iter().all(|daemon| world.super_count(daemon, "records") == 1701).then_some(())
    });
    let ran = world.run(["list", "--network", "--json", "--super", supers[0].addr()]);
    let contents = ran.events("content");
    let root = |content: &Value| content["root"].as_str().expect("a root").to_owned();
    let listed: BTreeMap<String, u64> =
        contents.iter().map(|content| (root(content), content["sources"].as_u64().expect("a count"))).collect();
    assert_eq!((ran.exit, contents.len()), (Some(0), expected.len()));
    assert!(contents.is_sorted_by_key(root), "in the order of roots");
    assert!(listed == expected, "each with its sources");
    let common = contents.iter().find(|content| root(content) == root_of(b"common")).expect("it is there");
    assert_eq!(common["names"].as_array().map(Vec::len), Some(3));
    let done = ran.done();
    assert_eq!((&done["complete"], &done["reached"]), (&true.into(), &3.into()), "{done}");
    assert_eq!((&done["files"], &done["hits"]), (&expected.len().into(), &5103.into()), "{done}");

    // The list through a peer, as text; and a list that goes no further than its ttl.
    let text = world.run(["list", "--network", "--ttl", "0", "--control", peers[2].control()]);
    assert_eq!(text.exit, Some(0));
    assert_eq!(text.text.lines().count(), 1702, "a heading and a line each");
    assert!(text.stderr.contains("1 super peer searched, not complete (1 beyond the ttl)"), "{}", text.stderr);
    let wrong = world.run(["list", "--ttl", "3", "--super", supers[0].addr()]);
    assert_eq!(wrong.exit, Some(2));
}

#[test]
fn limits_and_sizes_hold_across_super_peers_and_results_are_ranked() {
    let world = World::new();
    let supers = world.super_peers(2, &[(0, 1)]);
    for n in 0..10 {
        world.share("near", format!("near {n}.txt"), &vec![b'n'; 100 + n]);
        world.share("far", format!("far {n}.txt"), &vec![b'f'; 200 + n]);
    }
    world.share("near", "both.txt", b"more than one has it");
    world.share("far", "elsewhere/both.txt", b"more than one has it");
    let _peers = [world.peer("near", &[&supers[0]]), world.peer("far", &[&supers[1]])];
    world.hits(&supers[0], "txt", 22);
    let query = |more: &[&str]| {
        let base = ["query", "txt", "--json", "--super", supers[0].addr()];
        world.run(base.iter().chain(more).copied())
    };
    let sizes = |ran: &super::common::Ran| -> Vec<u64> {
        ran.events("hit").iter().map(|hit| hit["size"].as_u64().expect("a size")).collect()
    };
    let ran = query(&["--min-size", "105", "--max-size", "204"]);
    let mut found = sizes(&ran);
    found.sort_unstable();
    assert_eq!(found, (105..110).chain(200..205).collect::<Vec<_>>());
    assert_eq!(ran.done()["complete"], true);

    // The super peer itself reaches the limit: its neighbor is not asked, and the answer says that
    // there may be more.
    let ran = query(&["--limit", "3"]);
    assert_eq!((sizes(&ran).len(), &ran.done()["hits"]), (3, &3.into()));
    assert_eq!(ran.done()["complete"], false);
    assert!(ran.done()["cut"]["cap"].as_u64() > Some(0), "{}", ran.done());
    // The limit is reached with the neighbor's hits.
    let ran = query(&["--limit", "14"]);
    assert_eq!(sizes(&ran).len(), 14);
    assert_eq!(ran.done()["complete"], false);
    let ran = query(&["--limit", "23"]);
    assert_eq!((sizes(&ran).len(), &ran.done()["complete"]), (22, &true.into()));

    let results = ran.events("result");
    assert_eq!(results.len(), 21, "one a content");
    assert_eq!(results[0]["sources"].as_array().map(Vec::len), Some(2), "what most hold comes first");
    assert_eq!((&results[0]["rank"], &results[0]["name"]), (&1.into(), &"both.txt".into()));
    let kinds: Vec<_> = ran.json().iter().map(|line| line["event"].as_str().expect("an event").to_owned()).collect();
    assert!(kinds.is_sorted_by_key(|kind| ["hit", "result", "done"].iter().position(|known| known == kind)));
}

#[test]
fn a_query_whose_asker_is_interrupted_is_canceled_everywhere() {
    let world = World::new();
    let supers = world.super_peers(3, &[(0, 1), (1, 2)]);
    // The far end does not answer, so the query runs until its budget is over, or until it is
    // canceled.
    supers[2].signal(Signal::STOP);
    let query = ["query", "nothing", "--budget", "60s", "--json", "--super", supers[0].addr()];
    let before = ["flood_searched", "link_cancel_in"].map(|name| world.super_count(&supers[1], name));
    let cancels_before = world.super_count(&supers[0], "queries_canceled");
    for (canceled, signal) in [(1, Signal::INT), (2, Signal::KILL)] {
        let running = world.start(query);
        eventually("the query is with the neighbor", || {
            (world.super_count(&supers[1], "flood_searched") == before[0] + canceled).then_some(())
        });
        running.signal(signal);
        let ran = running.finish();
        if signal == Signal::INT {
            assert_eq!((ran.exit, &ran.done()["exit"]), (Some(130), &130.into()));
        }
        eventually("it is canceled at the first", || {
            (world.super_count(&supers[0], "queries_canceled") == cancels_before + canceled).then_some(())
        });
        eventually("and at its neighbor", || {
            (world.super_count(&supers[1], "link_cancel_in") == before[1] + canceled).then_some(())
        });
    }
    supers[2].signal(Signal::CONT);
    eventually("and behind it", || (world.super_count(&supers[2], "link_cancel_in") > 0).then_some(()));
}

#[test]
fn a_peer_may_be_with_two_super_peers_at_once() {
    let world = World::new();
    let mut supers = world.super_peers(3, &[(0, 1), (1, 2), (2, 0)]);
    world.share("p", "doubled.txt", b"doubled");
    let all: Vec<&Daemon> = supers.iter().collect();
    let peer = world.peer_with("p", &all, &["--sessions", "2"], Stdio::null());
    let listed = |daemon: &Daemon| world.run(["list", "--json", "--super", daemon.addr()]).events("file").len();
    eventually("it is registered at both", || (listed(&supers[0]) == 1 && listed(&supers[1]) == 1).then_some(()));
    assert_eq!(listed(&supers[2]), 0);
    // Two super peers report the file; the asker counts it once.
    let ran = world.run(["query", "doubled.txt", "--json", "--control", peer.control()]);
    assert_eq!(
        (ran.events("hit").len(), &ran.done()["complete"], &ran.done()["reached"]),
        (1, &true.into(), &3.into())
    );
    world.hits(&supers[2], "doubled.txt", 1);
    let status = world.run(["status", "--json", "--control", peer.control()]).events("status")[0].clone();
    assert_eq!(status["peer"]["sessions_up"], 2, "{status}");
    assert!(status["peer"]["net_messages_out"].as_u64() > Some(0), "{status}");
    assert!(status["super_counts"]["net_datagrams_in"].as_u64() > Some(0), "{status}");

    supers[0].kill();
    eventually("the third takes the place of the first", || (listed(&supers[2]) == 1).then_some(()));
    world.share("p", "later.txt", b"later");
    world.hits(&supers[1], "later.txt", 1);
    assert_eq!((listed(&supers[1]), listed(&supers[2])), (2, 2), "an UPDATE goes to both");
    let ran = world.run(["query", "later.txt", "--json", "--control", peer.control()]);
    assert_eq!((ran.events("hit").len(), &ran.done()["complete"]), (1, &false.into()), "a neighbor of both is down");

    let misused = world.run(["peer", "--share", "p", "--super", supers[1].addr(), "--sessions", "2"]);
    assert_eq!(misused.exit, Some(2), "{}", misused.stderr);
}
