//! Several files by one command: which files are fetched, where they are written, and what they
//! cost.

use std::fs;

use super::common::World;

#[test]
fn a_folder_comes_with_its_tree_from_all_that_have_some_of_it() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("one", "Miles Davis/Kind of Blue/01.flac", b"so what");
    world.share("one", "Miles Davis/empty", b"");
    world.share("one", "Miles Davis/cover", b"one");
    world.share("two", "Miles Davis/cover", b"two");
    world.share("two", "Miles Davis/Kind of Blue/02.flac", b"freddie");
    world.share("two", "Miles Davis/Kind of Blue/01.flac", b"so what");
    let (_one, _two) = (world.peer("one", &[&daemon]), world.peer("two", &[&daemon]));
    world.hits(&daemon, "cover", 2);
    world.hits(&daemon, "*.flac", 3);
    world.hits(&daemon, "empty", 1);

    let ran = world.run(["get", "Miles Davis/", "-o", "out", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(8), "a path with two contents is not guessed");
    let shown: Vec<String> = ran.events("hit").iter().map(|hit| hit["path"].to_string()).collect();
    assert_eq!(shown, ["\"Miles Davis/cover\"", "\"Miles Davis/cover\""]);
    assert_eq!((ran.done()["files"].as_u64(), ran.events("item").len()), (Some(3), 3));
    let album = world.path("out/Miles Davis/Kind of Blue");
    assert_eq!(fs::read(album.join("01.flac")).unwrap(), b"so what");
    assert_eq!(fs::read(album.join("02.flac")).unwrap(), b"freddie");
    assert_eq!(fs::read(world.path("out/Miles Davis/empty")).unwrap(), b"");
    assert!(!world.path("out/Miles Davis/cover").exists());

    let again =
        world.run(["get", "miles davis/kind of blue/", "-o", "out/Miles Davis", "--json", "--super", daemon.addr()]);
    assert_eq!((again.exit, again.done()["resumed"].as_u64()), (Some(0), Some(14)), "nothing is fetched twice");
}

#[test]
fn many_small_files_cost_one_search_and_few_connections() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let files: u64 = 200;
    for n in 0..files {
        world.share("p", format!("n/{n:03}.bin"), format!("{n}").repeat(500).as_bytes());
    }
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "*.bin", usize::try_from(files).unwrap());
    let counts = || (world.super_count(&daemon, "queries"), world.peer_count(&peer, "net_accepted"));
    let (searches, connections) = counts();
    let ran = world.run(["get", "n/", "-o", "out", "--json", "--super", daemon.addr()]);
    assert_eq!((ran.exit, ran.done()["files"].as_u64()), (Some(0), Some(files)));
    let after = counts();
    assert_eq!(after.0 - searches, 1);
    let connections = after.1 - connections;
    assert!((1..=40).contains(&connections), "{connections} connections for {files} files");
    for n in 0..files {
        let got = fs::read(world.path(format!("out/n/{n:03}.bin"))).unwrap();
        assert_eq!(got, format!("{n}").repeat(500).as_bytes());
    }
}

#[test]
fn what_was_not_named_is_not_taken() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "annual report draft.pdf", b"secret");
    world.share("p", "Show [1080p].mkv", b"show");
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "report", 1);
    world.hits(&daemon, "show", 1);

    let near = world.run(["get", "report.pdf", "-o", "out.pdf", "--super", daemon.addr()]);
    assert_eq!(near.exit, Some(3));
    assert!(!world.path("out.pdf").exists());
    let root = blake3::hash(b"secret").to_hex();
    assert!(near.text.contains(&*root), "the whole root is there to be copied: {}", near.text);
    let shown = world.run(["get", "show [1080p].MKV", "-o", "show", "--super", daemon.addr()]);
    assert_eq!(shown.exit, Some(0));
    let several =
        world.run(["get", "annual report draft.pdf", "none", "Show*", "-o", "out/", "--super", daemon.addr()]);
    assert_eq!(several.exit, Some(8));
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 2);
}
