//! Daemons and the scripts around them: ready files, control sockets, names, signals, the prompt.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;

use super::common::{Ran, World, eventually, noise};

#[test]
fn a_ready_file_has_all_that_a_script_needs() {
    let world = World::new();
    let daemon = world.super_peer("s");
    assert_eq!(daemon.ready["role"], "super");
    assert_eq!(daemon.ready["version"], env!("CARGO_PKG_VERSION"));
    assert!(daemon.ready["pid"].as_u64() > Some(1));
    assert!(daemon.addr().parse::<std::net::SocketAddr>().expect("an address").port() > 0);
    let peer = world.peer("p", &[&daemon]);
    assert_eq!(peer.ready["role"], "peer");
    assert_eq!(peer.ready["super"], daemon.addr());
    assert!(fs::symlink_metadata(peer.control()).is_ok(), "the control socket is there");
}

#[test]
fn a_sighup_that_is_ignored_at_the_start_stays_ignored() {
    let mut world = World::new();
    // nohup does this too.
    world.limit("trap '' HUP");
    let daemon = world.super_peer("s");
    world.limit("");
    daemon.signal(Signal::HUP);
    let done = world.run(["query", "x", "--json", "--super", daemon.addr()]).done();
    assert_eq!((done["exit"].as_i64(), done["reached"].as_i64()), (Some(3), Some(1)));
    assert!(daemon.ready_file.exists());
}

#[test]
fn a_daemon_without_a_terminal_reads_its_options_again() {
    let mut world = World::new();
    let config = world.path("c.toml");
    let write = |text: &str| fs::write(&config, text).expect("the file is written");
    // SIGHUP is not ignored here, as it would be under nohup, and there is no terminal.
    world.limit("exec setsid env --default-signal=HUP \"$@\"; :");
    let daemon = world.super_peer("s");
    world.share("p", "one.txt", b"one");
    world.share("q", "two.txt", b"two");
    let (p, q) = (world.folder("p"), world.folder("q"));
    write(&format!("share = {p:?}\nparallel = 2\n"));
    let mut peer = world.peer_of("p", &[&daemon], &["--config", config.to_str().expect("UTF-8")]);
    world.hits(&daemon, "one.txt", 1);
    let reload = || world.run(["reload", "--json", "--control", peer.control()]);
    let notes = |ran: &Ran| -> Vec<String> {
        ran.events("note").iter().map(|note| note["message"].as_str().expect("text").to_owned()).collect()
    };

    write(&format!("share = [{p:?}, \"more={}\"]\nparallel = 3\nzone = \"rack\"\n", q.display()));
    let ran = reload();
    assert_eq!((ran.exit, notes(&ran).len()), (Some(0), 3), "{:?}", ran.done());
    assert!(notes(&ran).contains(&"parallel is 3 now".to_owned()), "{:?}", notes(&ran));
    assert!(notes(&ran).iter().any(|note| note.starts_with("zone cannot change")), "{:?}", notes(&ran));
    world.hits(&daemon, "two.txt", 1);

    write("parallel = 99\n");
    let ran = reload();
    assert_eq!(ran.exit, Some(2), "{:?}", ran.done());
    assert!(ran.done()["error"].as_str().expect("a reason").contains("c.toml:1"), "{:?}", ran.done());

    write(&format!("share = {q:?}\n"));
    peer.signal(Signal::HUP);
    world.hits(&daemon, "one.txt", 0);
    world.hits(&daemon, "two.txt", 1);
    peer.signal(Signal::TERM);
    assert_eq!(peer.wait(), Some(0));
}

#[test]
fn sigterm_and_sigint_end_a_daemon_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        let mut daemon = world.super_peer("s");
        world.share("p", "file.txt", b"content");
        let mut peer = world.peer("p", &[&daemon]);
        world.hits(&daemon, "file.txt", 1);
        let control = peer.control().to_owned();
        peer.signal(signal);
        assert_eq!(peer.wait(), Some(0));
        assert!(!fs::exists(&control).expect("a path"), "the control socket is removed");
        assert!(!peer.ready_file.exists(), "the ready file is removed");
        world.hits(&daemon, "file.txt", 0);
        daemon.signal(signal);
        assert_eq!(daemon.wait(), Some(0));
    }
}

#[test]
fn several_daemons_of_one_user_run_side_by_side() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let (one, two) = (world.peer("one", &[&daemon]), world.peer("two", &[&daemon]));
    assert_ne!(one.control(), two.control());
    for name in ["one", "two"] {
        let ran = world.run(["status", "--json", "--name", name]);
        assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    }
}

#[test]
fn a_second_daemon_of_the_same_name_is_refused() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _peer = world.peer("p", &[&daemon]);
    let share = world.folder("p").display().to_string();
    let listen = format!("{}:0", world.ip());
    let ran = world.run(["peer", "--name", "p", "--share", &share, "--listen", &listen, "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(1), "{}", ran.stderr);
}

#[test]
fn one_shot_commands_work_through_a_running_peer() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(30, (2 << 20) + 5);
    world.share("p1", "tune.flac", &content);
    let _first = world.peer("p1", &[&daemon]);
    let second = world.peer("p2", &[&daemon]);
    world.hits(&daemon, "tune.flac", 1);
    let query = world.run(["query", "tune", "--json", "--control", second.control()]);
    assert_eq!((query.exit, query.events("hit").len()), (Some(0), 1));
    assert_eq!(query.events("hit")[0]["size"], content.len());
    let list = world.run(["list", "--json", "--control", second.control()]);
    assert_eq!((list.exit, list.events("file").len()), (Some(0), 1));
    let status = world.run(["status", "--json", "--control", second.control()]);
    assert_eq!((status.exit, status.events("status").len()), (Some(0), 1));
    assert_eq!(status.events("status")[0]["super"], daemon.addr());
    let get = world.run(["get", "tune.flac", "-o", "out.flac", "--json", "--control", second.control()]);
    assert_eq!(get.exit, Some(0), "{:?}", get.done());
    let path = get.done()["path"].as_str().expect("a path").to_owned();
    assert!(fs::read(path).expect("published") == content);
    assert!(fs::read(world.path("out.flac")).expect("-o counts from the command's folder") == content);
}

#[test]
fn the_prompt_works_from_a_pipe() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(31, (3 << 20) + 5);
    world.share("p1", "blue tune.flac", &content);
    let _first = world.peer("p1", &[&daemon]);
    world.hits(&daemon, "tune", 1);
    let mut second = world.peer_with("p2", &[&daemon], &["--prompt"], Stdio::piped());
    let mut input = second.stdin();
    input.write_all(b"query tune\nGeT 1\nWAIT\nnonsense\nGET\nLIST\nSTATUS\nHELP\nEXIT\n").expect("a pipe");
    drop(input);
    let mut output = String::new();
    second.stdout().read_to_string(&mut output).expect("UTF-8");
    assert_eq!(second.wait(), Some(0), "{output}\n{}", second.log());
    assert!(output.contains("blue tune.flac"), "{output}");
    assert!(fs::read(world.path("p2/blue tune.flac")).expect("downloaded before EXIT") == content);
    let all = output + &second.log();
    assert!(all.contains("GET n") || all.contains("GET NAME"), "a wrong line is shown the right form: {all}");
}

#[test]
fn a_peer_gives_up_if_no_super_peer_answers_at_first() {
    let world = World::new();
    let share = world.folder("p").display().to_string();
    let listen = format!("{}:0", world.ip());
    let nobody = format!("{}:{}", world.ip(), world.free_port());
    let ran =
        world.run(["peer", "--share", &share, "--listen", &listen, "--super", &nobody, "--connect-timeout", "300ms"]);
    assert_eq!(ran.exit, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains(&nobody), "it names the address: {}", ran.stderr);
}

#[test]
fn query_get_list_and_status_without_anybody_there_are_exit_5() {
    let world = World::new();
    let nobody = format!("{}:{}", world.ip(), world.free_port());
    for command in [vec!["query", "x"], vec!["get", "x"], vec!["list"], vec!["status"]] {
        let with_super = ["--json", "--connect-timeout", "300ms", "--super", &nobody];
        let ran = world.run(command.iter().chain(&with_super).copied());
        assert_eq!(ran.exit, Some(5), "{command:?}: {}", ran.stderr);
        assert_eq!(ran.done()["ok"], false);
        let ran = world.run(command.iter().chain(&["--json", "--control", "no-such-socket"]).copied());
        assert_eq!(ran.exit, Some(5), "{command:?}: {}", ran.stderr);
    }
}

#[test]
fn a_command_that_the_peer_closed_unread_is_sent_again() {
    let world = World::new();
    let path = world.path("full");
    let listener = UnixListener::bind(&path).expect("a socket");
    let peer = thread::spawn(move || {
        // A peer that is full closes idle clients, and this one has not written yet, or has.
        for _ in 0..3 {
            drop(listener.accept().expect("a client"));
        }
        let (mut client, _) = listener.accept().expect("a client");
        let mut line = String::new();
        BufReader::new(&client).read_line(&mut line).expect("a command");
        writeln!(client, r#"{{"v":1,"time":"1970-01-01T00:00:00.000Z","event":"done","ok":true,"exit":0}}"#)
            .expect("an answer");
        line
    });
    let control = path.to_str().expect("a path");
    let ran = world.run(["status", "--json", "--control", control]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(peer.join().expect("no panic").contains("status"));

    // A client gives up if the daemon closes the connection every time.
    let path = world.path("closes");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || listener.incoming().for_each(drop));
    let ran = world.run(["status", "--json", "--control", path.to_str().expect("a path")]);
    assert_eq!(ran.exit, Some(5), "{}", ran.stderr);
}

#[test]
fn a_one_shot_command_leaves_nothing_registered() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for _ in 0..3 {
        world.run(["query", "x", "--json", "--super", daemon.addr()]).done();
    }
    eventually("their sessions are gone", || {
        let ran = world.run(["list", "--json", "--super", daemon.addr()]);
        ran.events("file").is_empty().then_some(())
    });
}
