//! The client and the link neighbor in `examples/`, written from PROTOCOL.md alone, against the
//! real program.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::common::{World, noise, root_of};

/// Runs a script. `None`, with a line on stderr, if python3 or msgpack is missing. CI must have
/// both.
pub(crate) fn script(path: &str) -> Option<Command> {
    let probe = Command::new("python3").args(["-c", "import msgpack"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI needs python3 with msgpack");
        writeln!(std::io::stderr(), "skipped: there is no python3 with msgpack (pip install msgpack)").ok();
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path));
    Some(command)
}

fn client(world: &World) -> Option<Command> {
    let mut command = script("examples/client.py")?;
    command.current_dir(world.path(""));
    Some(command)
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn the_python_client_queries_and_fetches() {
    let world = World::new();
    let Some(mut query) = client(&world) else { return };
    let supers = world.super_peers(2, &[(0, 1)]);
    let content = noise(50, (2 << 20) + 77);
    world.share("p", "sub/blue tune.bin", &content);
    let peer = world.peer("p", &[&supers[1]]);
    world.hits(&supers[0], "tune", 1);

    let output = query.args([supers[0].addr(), "query", "TUNE blue"]).output().expect("python3 runs");
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&root_of(&content)) && text.contains(peer.addr()), "{text}");
    assert!(text.contains("1 hits, 2 super peers searched, complete"), "{text}");

    let mut get = client(&world).expect("as before");
    let output = get.args([supers[0].addr(), "get", "*tune*", "got.bin"]).output().expect("python3 runs");
    assert!(output.status.success(), "{}", printed(&output));
    assert!(std::fs::read(world.path("got.bin")).expect("fetched") == content);

    let mut nobody = client(&world).expect("as before");
    let output = nobody.args([supers[0].addr(), "query", "nobody"]).output().expect("python3 runs");
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
}

#[test]
fn sprat_downloads_from_the_python_client() {
    let world = World::new();
    let Some(mut share) = client(&world) else { return };
    let daemon = world.super_peer("s");
    let content = noise(51, 70_000);
    std::fs::write(world.path("mine.bin"), &content).expect("written");
    share.args([daemon.addr(), "share", "mine.bin", &root_of(&content)]);
    let mut child = share.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    assert!(line.contains("registered 1 file"), "{line}");

    let ran = world.run(["get", "mine.bin", "-o", "got.bin", "--json", "--super", daemon.addr()]);
    drop(child.stdin.take());
    let status = child.wait().expect("wait");
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert!(std::fs::read(world.path("got.bin")).expect("published") == content);
    assert!(status.success());
    world.hits(&daemon, "mine.bin", 0);
}

#[test]
fn the_python_neighbor_answers_queries_and_sends_one() {
    let world = World::new();
    let Some(mut neighbor) = script("examples/neighbor.py") else { return };
    let (port, theirs) = (world.free_port(), world.free_port());
    let daemon = world.super_peer_at("s", port, &[theirs], &[]);
    let content = noise(52, 3000);
    world.share("p", "sub/our tune.bin", &content);
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "our tune", 1);

    let root = root_of(b"abc");
    neighbor.args([&format!("{}:{theirs}", world.ip()), daemon.addr()]);
    neighbor.args(["far/their tune.bin", "3", &root, "127.0.0.1:9"]);
    let mut child = neighbor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    assert_eq!(lines.next().as_deref(), Some("link up"));

    world.hits(&daemon, "their tune", 1);
    let ran = world.run(["query", "tune", "--json", "--super", daemon.addr()]);
    let done = ran.done();
    assert_eq!((&done["complete"], &done["reached"]), (&true.into(), &2.into()), "{done}");
    assert_eq!(ran.events("hit").len(), 2);

    let stdin = child.stdin.as_mut().expect("piped");
    stdin.write_all(b"Our\nnobody has this\n").expect("it reads");
    let hit = format!("hit {} 3000 {} 'sub/our tune.bin'", root_of(&content), peer.addr());
    assert_eq!(lines.next(), Some(hit));
    assert_eq!(lines.next().as_deref(), Some("done 1 hits, 2 super peers, cut {}"));
    assert_eq!(lines.next().as_deref(), Some("done 0 hits, 2 super peers, cut {}"));
    drop(child.stdin.take());
    assert!(child.wait().expect("wait").success());
}

#[test]
fn another_messagepack_library_reads_the_vectors_too() {
    let Some(mut vectors) = script("tests/e2e/vectors.py") else { return };
    let output = vectors.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")).output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", printed(&output));
    let agreed: u32 = printed(&output).trim().parse().expect("a number");
    assert!(agreed >= 35, "only {agreed} vectors were read");
}
