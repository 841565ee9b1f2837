//! Searches across super peers: how far they go, that nobody answers twice, and that they know when
//! they are complete.

use std::collections::BTreeSet;

use super::common::World;

const RING: [(usize, usize); 5] = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)];

#[test]
fn ttl_is_the_number_of_hops_a_query_may_go() {
    let world = World::new();
    let supers = world.super_peers(3, &[(0, 1), (1, 2)]);
    world.share("far", "needle.txt", b"far away");
    let _far = world.peer("far", &[&supers[2]]);
    world.hits(&supers[2], "needle.txt", 1);

    let two = world.run(["query", "needle.txt", "--ttl", "2", "--json", "--super", supers[0].addr()]);
    assert_eq!(two.events("hit").len(), 1);
    assert_eq!(two.exit, Some(0));
    assert_eq!((&two.done()["complete"], &two.done()["reached"]), (&true.into(), &3.into()));

    let one = world.run(["query", "needle.txt", "--ttl", "1", "--json", "--super", supers[0].addr()]);
    assert_eq!(one.events("hit").len(), 0);
    assert_eq!(one.exit, Some(3));
    let done = one.done();
    assert_eq!((&done["complete"], &done["reached"]), (&false.into(), &2.into()), "{done}");
    assert_eq!(done["cut"]["ttl"], 1, "{done}");
}

#[test]
fn in_a_ring_every_super_peer_answers_exactly_once() {
    let world = World::new();
    let supers = world.super_peers(5, &RING);
    let mut peers = Vec::new();
    for (n, daemon) in supers.iter().enumerate() {
        world.share(&format!("p{n}"), "same-name.bin", format!("content {n}").as_bytes());
        peers.push(world.peer(&format!("p{n}"), &[daemon]));
        world.hits(daemon, "same-name.bin", n + 1);
    }
    for daemon in &supers {
        let ran = world.run(["query", "same-name.bin", "--json", "--super", daemon.addr()]);
        let sources: Vec<String> = ran.events("hit").iter().map(|hit| hit["source"].to_string()).collect();
        assert_eq!(sources.len(), 5, "{sources:?}");
        assert_eq!(sources.iter().collect::<BTreeSet<_>>().len(), 5, "{sources:?}");
        let done = ran.done();
        assert_eq!(
            (&done["reached"], &done["complete"], &done["hits"]),
            (&5.into(), &true.into(), &5.into()),
            "{done}"
        );
    }
}

#[test]
fn that_nobody_has_it_is_a_complete_answer() {
    let world = World::new();
    let supers = world.super_peers(5, &RING);
    // A budget of a minute, which the answer must not wait for: the test would run into its own
    // patience.
    let ran = world.run(["query", "nobody has this", "--budget", "60s", "--json", "--super", supers[3].addr()]);
    assert_eq!(ran.exit, Some(3));
    let done = ran.done();
    assert_eq!((&done["complete"], &done["reached"], &done["hits"]), (&true.into(), &5.into(), &0.into()), "{done}");
}

#[test]
fn a_dead_neighbor_makes_the_answer_incomplete_and_says_why() {
    let world = World::new();
    let mut supers = world.super_peers(3, &[(0, 1), (0, 2)]);
    world.share("p", "here.txt", b"here");
    let _peer = world.peer("p", &[&supers[1]]);
    world.hits(&supers[0], "here.txt", 1);
    supers[2].kill();
    let ran = world.run(["query", "here.txt", "--budget", "500ms", "--json", "--super", supers[0].addr()]);
    assert_eq!((ran.exit, ran.events("hit").len()), (Some(0), 1));
    let done = ran.done();
    assert_eq!((&done["complete"], &done["reached"]), (&false.into(), &2.into()), "{done}");
    let cut = &done["cut"];
    assert!(cut["down"] == 1 || cut["budget"] == 1 || cut["loss"] == 1, "{done}");
}

#[test]
fn a_pattern_is_a_root_a_glob_or_words() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "music/Blue Train (1957).flac", b"one");
    world.share("p", "blue.txt", b"two");
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "blue", 2);
    let names = |args: &[&str]| -> Vec<String> {
        let with_super = ["--json", "--super", daemon.addr()];
        let hits = world.run(args.iter().chain(&with_super).copied()).events("hit");
        hits.iter().map(|hit| hit["name"].as_str().expect("a name").to_owned()).collect()
    };
    let flac = "Blue Train (1957).flac";
    assert_eq!(names(&["query", "train BLUE"]), [flac]);
    assert_eq!(names(&["query", "trai"]), [""; 0]);
    assert_eq!(names(&["query", "*.FLAC"]), [flac]);
    assert_eq!(names(&["query", "[b]lue.*"]), ["blue.txt"]);
    assert_eq!(names(&["query", "--exact", flac]), [flac]);
    assert_eq!(names(&["query", "--exact", "blue"]), [""; 0]);
    assert_eq!(names(&["query", &super::common::root_of(b"two")]), ["blue.txt"]);
    assert_eq!(names(&["query", "MUSIC train"]), [flac], "words of folders count");
    assert_eq!(names(&["query", "musi"]), [""; 0]);
    assert_eq!(names(&["query", "blue", "--min-size", "4"]), [""; 0]);
}

#[test]
fn an_exact_name_comes_first() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for name in ["a tune b.txt", "tune", "x tune.txt"] {
        world.share("p", name, name.as_bytes());
    }
    let _peer = world.peer("p", &[&daemon]);
    let hits = world.hits(&daemon, "tune", 3);
    assert_eq!(hits[0]["name"], "tune");
}

#[test]
fn one_name_with_two_contents_is_two_results_and_get_asks_which() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p1", "same.txt", b"one content");
    world.share("p2", "same.txt", b"another content");
    let _peers = [world.peer("p1", &[&daemon]), world.peer("p2", &[&daemon])];
    let hits = world.hits(&daemon, "same.txt", 2);
    assert_ne!(hits[0]["root"], hits[1]["root"]);
    let ran = world.run(["get", "same.txt", "-o", "out.txt", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(2), "{:?}", ran.json());
    let listed: BTreeSet<_> = ran.events("hit").iter().map(|hit| hit["root"].to_string()).collect();
    assert_eq!(listed.len(), 2, "{:?}", ran.json());
    assert!(!world.path("out.txt").exists());
}

#[test]
fn list_prints_every_file_with_its_holders() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p1", "both.txt", b"both");
    world.share("p2", "both.txt", b"both");
    world.share("p2", "sub/only.txt", b"only");
    let _peers = [world.peer("p1", &[&daemon]), world.peer("p2", &[&daemon])];
    world.hits(&daemon, "*", 3);
    let ran = world.run(["list", "--json", "--super", daemon.addr()]);
    let mut files: Vec<_> = ran
        .events("file")
        .iter()
        .map(|f| (f["path"].as_str().expect("a path").to_owned(), f["size"].as_u64(), f["holders"].as_u64()))
        .collect();
    files.sort();
    assert_eq!(files, [("both.txt".to_owned(), Some(4), Some(2)), ("sub/only.txt".to_owned(), Some(4), Some(1))]);
    assert_eq!(ran.exit, Some(0));
}
