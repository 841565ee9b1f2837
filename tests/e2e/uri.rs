//! URIs: made from names, files and folders, and fetched by nothing but the URI.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sprat::wire::{FileRecord, Root, SharePath};

use super::common::session::Speaker;
use super::common::{Daemon, World, noise, root_of};

/// The line that `sprat uri` prints, from its JSON.
fn uri_of(world: &World, args: &[&str]) -> String {
    let ran = world.run([&["uri", "--json"], args].concat());
    assert_eq!(ran.exit, Some(0), "{args:?}: {}", ran.stderr);
    let events = ran.events("uri");
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]["uri"].as_str().expect("a text").to_owned()
}

#[test]
fn a_uri_alone_is_enough_to_fetch_a_file() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(1, 3 << 20);
    world.share("a", "Señor [live], 100%.flac", &content);
    let peer = world.peer("a", &[&daemon]);
    world.hits(&daemon, &root_of(&content), 1);
    let by_name = uri_of(&world, &["Señor [live], 100%.flac", "--super", daemon.addr()]);
    let expected = format!(
        "sprat:{},size={},super={},name=Se%C3%B1or%20%5Blive%5D%2C%20100%25.flac",
        root_of(&content),
        content.len(),
        daemon.addr()
    );
    assert_eq!(by_name, expected);
    let file = world.path("a/Señor [live], 100%.flac");
    for args in [
        [file.to_str().unwrap(), "--name", "a"],
        [file.to_str().unwrap(), "--control", peer.control()],
        [file.to_str().unwrap(), "--super", daemon.addr()],
        [&root_of(&content), "--control", peer.control()],
    ] {
        assert_eq!(uri_of(&world, &args), expected, "{args:?}");
    }
    let shown = world.run(["uri", file.to_str().unwrap(), "--name", "a"]);
    assert_eq!(shown.text, format!("{expected}\n"));

    // Another folder, no HOME, and a configuration that leads nowhere; as a word of a shell.
    let folder = world.folder("elsewhere");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("exec {} get {expected}", env!("CARGO_BIN_EXE_sprat")));
    shell.env_clear().env("SPRAT_SUPER", "127.0.0.1:9").current_dir(&folder).stdin(Stdio::null());
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(folder.join("Señor [live], 100%.flac")).expect("fetched") == content);

    // The name is the one of the URI, and it is sanitized.
    let renamed = expected.replace("name=Se%C3%B1or", "name=..%2Fx");
    let ran = world.run(["get", &renamed, "-o", folder.to_str().unwrap(), "--json"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    let path = ran.done()["path"].as_str().expect("a path").to_owned();
    assert!(path.starts_with(folder.to_str().unwrap()) && !path.contains(".."), "{path}");
}

#[test]
fn a_running_peer_fetches_what_a_uri_of_its_super_peer_names() {
    let world = World::new();
    let (daemon, other) = (world.super_peer("s"), world.super_peer("t"));
    let content = noise(2, 70_000);
    world.share("a", "x.bin", &content);
    let _a = world.peer("a", &[&daemon]);
    let _peer = world.peer("peer", &[&daemon]);
    world.hits(&daemon, "x.bin", 1);
    let uri = uri_of(&world, &["x.bin", "--super", daemon.addr()]);
    assert_eq!(world.run(["get", &uri, "--json"]).exit, Some(0));
    assert!(std::fs::read(world.path("peer/x.bin")).expect("in the share of the peer") == content);

    // A peer of another network leaves the URI to a short-lived one.
    drop(_peer);
    let _stranger = world.peer("peer", &[&other]);
    std::fs::remove_file(world.path("peer/x.bin")).ok();
    let ran = world.run(["get", &uri, "--json"]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(std::fs::read(world.path("x.bin")).expect("in the current folder") == content);
}

#[test]
fn a_damaged_uri_and_a_path_that_is_not_shared_are_refused_with_the_remedy() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("a", &[&daemon]);
    let outside = world.folder("outside");
    std::fs::write(outside.join("f"), "x").expect("a file");
    for (args, exit, part) in [
        (vec!["get", "sprat:abc"], 2, "copy all of it"),
        (vec!["get", &format!("sprat:{},name=%4", "0".repeat(64))], 2, "copy all of it"),
        (vec!["uri", outside.to_str().unwrap(), "--control", peer.control()], 2, "does not lie in"),
        (vec!["uri", outside.to_str().unwrap(), "--super", daemon.addr()], 2, "leave out --super"),
        (vec!["uri", "nobody-has-this", "--super", daemon.addr()], 3, "no peer has"),
    ] {
        let ran = world.run(&args);
        assert_eq!(ran.exit, Some(exit), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_folder_becomes_one_content_that_its_peer_serves() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for n in 0..20 {
        world.share("a", format!("album/cd {}/{n}.flac", n % 2), &noise(n, 1000));
    }
    let peer = world.peer("a", &[&daemon]);
    let folder = world.path("a/album");
    let ran = world.run(["uri", folder.to_str().unwrap(), "--json", "--control", peer.control()]);
    let event = ran.events("uri")[0].clone();
    assert_eq!((event["files"].as_u64(), event["bytes"].as_u64()), (Some(20), Some(20_000)), "{event}");
    let uri = event["uri"].as_str().expect("a text");
    assert!(uri.ends_with(",name=album"), "{uri}");
    world.hits(&daemon, event["root"].as_str().expect("a root"), 1);
    assert_eq!(uri_of(&world, &[folder.to_str().unwrap(), "--name", "a"]), uri, "the same folder is the same line");
}

/// All regular files below a folder, by their paths.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).expect("a file");
                files.insert(path.strip_prefix(folder).expect("below").to_owned(), content);
            }
        }
    }
    files
}

fn album(world: &World) -> usize {
    let sizes = [0, 1, 1000, 40_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 5];
    for n in 0..40 {
        let size = sizes[usize::try_from(n).expect("small") % sizes.len()];
        world.share("a", format!("album/cd {}/{n} träck.flac", n % 3), &noise(n, size));
    }
    let tool = world.path("a/album/tool.sh");
    std::fs::write(&tool, "#!/bin/sh\n").expect("a file");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    41
}

#[test]
fn a_folder_is_fetched_by_its_uri_and_again_only_what_is_missing_or_changed() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let count = album(&world);
    let peer = world.peer("a", &[&daemon]);
    let uri = uri_of(&world, &[world.path("a/album").to_str().unwrap(), "--control", peer.control()]);
    world.hits(&daemon, &uri["sprat:".len()..][..64], 1);
    let out = world.folder("out");
    let get = || world.run(["get", &uri, "-o", out.to_str().unwrap(), "--json"]);
    let expected = tree(&world.path("a/album"));

    let first = get();
    assert_eq!(first.exit, Some(0), "{}", first.stderr);
    assert_eq!(first.done()["files"], count);
    assert!(tree(&out.join("album")) == expected, "{:?}", tree(&out.join("album")).keys());
    let mode = std::fs::metadata(out.join("album/tool.sh")).expect("there").permissions().mode();
    assert_eq!(mode & 0o100, 0o100, "{mode:o}");
    let bytes: u64 = expected.values().map(|content| content.len() as u64).sum();
    assert_eq!((first.done()["bytes"].as_u64(), first.done()["resumed"].as_u64()), (Some(bytes), Some(0)));

    let second = get();
    assert_eq!(second.exit, Some(0), "{}", second.stderr);
    assert_eq!(second.done()["resumed"], bytes, "nothing is fetched again");

    let (gone, changed) = (out.join("album/cd 2/2 träck.flac"), out.join("album/cd 0/3 träck.flac"));
    std::fs::remove_file(&gone).expect("there");
    std::fs::write(&changed, "mine").expect("a file");
    let third = get();
    assert_eq!(third.exit, Some(0), "{}", third.stderr);
    assert_eq!(third.done()["resumed"], bytes - 41_000, "only these two are fetched");
    let mut now = tree(&out.join("album"));
    let aside = format!("cd 0/3 träck ({:.8}).flac", root_of(b"mine"));
    assert_eq!(now.remove(Path::new(&aside)).as_deref(), Some(&b"mine"[..]), "what was changed is kept");
    assert!(now == expected);
}

#[test]
fn a_collection_among_other_names_comes_with_its_files() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let count = album(&world);
    world.share("a", "solo.bin", b"solo");
    let peer = world.peer("a", &[&daemon]);
    let uri = uri_of(&world, &[world.path("a/album").to_str().unwrap(), "--control", peer.control()]);
    world.hits(&daemon, &uri["sprat:".len()..][..64], 1);
    world.hits(&daemon, "solo.bin", 1);
    let listed = world.run(["list", "--super", daemon.addr(), "--json"]);
    let collections: Vec<_> = listed
        .events("file")
        .into_iter()
        .filter(|file| file["collection"] == true)
        .map(|file| file["path"].clone())
        .collect();
    assert_eq!(collections, ["album"]);
    let shown = world.run(["list", "--super", daemon.addr()]);
    assert!(shown.text.contains("album (collection)"), "{}", shown.text);

    let ran = world.run(["get", "solo.bin", "album", "-o", "out", "--json", "--super", daemon.addr()]);
    assert_eq!((ran.exit, ran.events("item").len()), (Some(0), 2), "{}", ran.stderr);
    let expected = tree(&world.path("a/album"));
    let bytes: usize = expected.values().map(Vec::len).sum();
    assert_eq!(ran.done()["bytes"], bytes + 4);
    assert_eq!(std::fs::read(world.path("out/solo.bin")).expect("fetched"), b"solo");
    assert!(tree(&world.path("out/album")) == expected && expected.len() == count);
}

#[test]
fn what_the_holder_lacks_comes_from_others_and_what_nobody_has_is_named() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for n in 0..6 {
        world.share("a", format!("album/{n}.bin"), &noise(n, 2000));
    }
    world.share("b", "elsewhere/zero.bin", &noise(0, 2000));
    let peer = world.peer("a", &[&daemon]);
    let _other = world.peer("b", &[&daemon]);
    let uri = uri_of(&world, &[world.path("a/album").to_str().unwrap(), "--control", peer.control()]);
    world.hits(&daemon, &uri["sprat:".len()..][..64], 1);
    for n in [0, 1] {
        std::fs::remove_file(world.path(format!("a/album/{n}.bin"))).expect("there");
    }
    world.hits(&daemon, &root_of(&noise(1, 2000)), 0);
    world.hits(&daemon, &root_of(&noise(0, 2000)), 1);
    let ran = world.run(["get", &uri, "--json"]);
    assert_eq!(ran.exit, Some(8), "{}", ran.stderr);
    let error = ran.done()["error"].as_str().expect("a text").to_owned();
    assert!(error.contains("1 of 6 files are missing: 1.bin") && error.contains(&root_of(&noise(1, 2000))), "{error}");
    let there = tree(&world.path("album"));
    let files: Vec<_> = (0..6).filter(|n| *n != 1).map(|n| there.get(Path::new(&format!("{n}.bin")))).collect();
    assert!(files.iter().all(Option::is_some), "{:?}", there.keys());
}

#[test]
fn a_renamed_file_is_copied_from_the_share_and_a_peer_fetches_nothing_from_itself() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for n in 0..5 {
        world.share("a", format!("photos/{n}.jpg"), &noise(n, 50_000));
        world.share("b", format!("old/{n} renamed.jpg"), &noise(n, 50_000));
    }
    let peer = world.peer("a", &[&daemon]);
    let other = world.peer("b", &[&daemon]);
    let uri = uri_of(&world, &[world.path("a/photos").to_str().unwrap(), "--control", peer.control()]);
    for n in 0..5 {
        world.hits(&daemon, &root_of(&noise(n, 50_000)), 2);
    }
    world.hits(&daemon, &uri["sprat:".len()..][..64], 1);
    let sent = |peer: &Daemon| world.peer_count(peer, "bytes_sent");
    let ran = world.run(["get", &uri, "--json", "--control", other.control()]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(tree(&world.path("b/photos")) == tree(&world.path("a/photos")));
    assert!(sent(&peer) < 10_000, "only the list was fetched: {}", sent(&peer));
    world.hits(&daemon, &uri["sprat:".len()..][..64], 2);

    // Its own collection, into another folder of its share.
    let before = sent(&peer);
    let out = world.path("a/again");
    let ran = world.run(["get", &uri, "--json", "--control", peer.control(), "-o", &format!("{}/", out.display())]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(tree(&out.join("photos")) == tree(&world.path("b/photos")));
    assert_eq!(sent(&peer), before, "it was not its own source");
}

#[test]
fn a_file_that_a_stranger_calls_a_collection_is_still_fetched_as_a_file() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(9, (1 << 20) + 9);
    world.share("a", "x.bin", &content);
    let peer = world.peer("a", &[&daemon]);
    let root = root_of(&content);
    world.hits(&daemon, &root, 1);
    let mut stranger = Speaker::session(daemon.addr());
    let path = SharePath::new("y.bin").expect("a path");
    let (size, root) = (content.len() as u64, Root::from_hex(&root).expect("a root"));
    let record = FileRecord { path, size, root, collection: true };
    stranger.register(peer.addr().parse().expect("an address"), vec![record]);
    let root = root.to_string();
    world.folder("there");
    for (out, path) in [("new/", "new/y.bin"), ("there", "there/y.bin")] {
        let uri = format!("sprat:{root},super={},name=y.bin", daemon.addr());
        let ran = world.run(["get", &uri, "-o", out, "--json"]);
        assert_eq!(ran.exit, Some(0), "{out}: {}", ran.stderr);
        assert!(std::fs::read(world.path(path)).expect(path) == content, "{out}");
    }
    assert_eq!(std::fs::read_dir(world.path("new")).expect("a folder").count(), 1, "nothing else is left");
}
