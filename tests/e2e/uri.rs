//! URIs: made from names, files and folders, and fetched by nothing but the URI.

use std::process::Stdio;

use super::common::{World, noise, root_of};

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
