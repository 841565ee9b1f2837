//! The commands together, as real processes on port 0: daemons with their ready files, one-shot
//! commands, the prompt. No test sleeps. A test waits for a line in the log of a daemon, or asks
//! again until a file is found.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Questions after which a file counts as lost. Each is a process of its own, so this takes many
/// seconds.
const ASKED_MAX: usize = 2000;

struct Home {
    folder: tempfile::TempDir,
}

/// A daemon that is killed when its test is over.
struct Daemon {
    child: Child,
    ready: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn ready_file(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.ready).expect("a ready file")).expect("JSON")
    }

    fn listen(&self) -> String {
        self.ready_file()["listen"].as_str().expect("an address").to_owned()
    }

    fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not 0");
        kill_process(pid, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends")
    }
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
        command.args(args).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Runs a command with `--json`. Returns the code and the events; `done` is the last event.
    fn ask(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let dones = events.iter().filter(|event| event["event"] == "done").count();
        assert_eq!(dones, 1, "{args:?}: {text}");
        assert!(events.iter().all(|event| event["v"] == 1 && event["time"].is_string()), "{text}");
        let code = output.status.code().expect("no signal");
        let done = events.last().expect("a done");
        assert_eq!(done["event"], "done");
        assert_eq!(done["exit"], code);
        assert_eq!(done["ok"], code == 0);
        (code, events)
    }

    /// Asks until an answer has this many hits. Returns the hits and the end, without the results
    /// between them.
    fn ask_until(&self, hits: usize, args: &[&str]) -> Vec<Value> {
        for _ in 0..ASKED_MAX {
            let (_, mut events) = self.ask(args);
            events.retain(|event| event["event"] != "result");
            if events.len() == hits + 1 {
                return events;
            }
        }
        panic!("{args:?} never had {hits} hits");
    }

    /// Starts a daemon and waits until it has logged this.
    fn start(&self, name: &str, args: &[&str], logged: &str) -> Daemon {
        let ready = self.path(&format!("{name}.ready"));
        let mut command = self.command(args);
        command.args(["--name", name, "--ready-file"]).arg(&ready);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let seen = log.by_ref().map_while(Result::ok).any(|line| line.contains(logged));
        assert!(seen, "{name} never logged {logged:?}");
        // A process that writes into a pipe that nobody reads would stall or fail.
        std::thread::spawn(move || log.for_each(drop));
        Daemon { child, ready }
    }

    fn super_peer(&self) -> Daemon {
        let daemon = self.start("super", &["super", "--listen", "127.0.0.1:0", "-v"], "ready");
        assert_eq!(daemon.ready_file()["role"], "super");
        daemon
    }

    fn peer(&self, name: &str, super_peer: &Daemon, files: &[(&str, &[u8])]) -> Daemon {
        let share = self.path(name);
        fs::create_dir(&share).expect("a share");
        for (file, bytes) in files {
            fs::write(share.join(file), bytes).expect("a file");
        }
        let share = share.display().to_string();
        let args = ["peer", "--super", &super_peer.listen(), "--share", &share, "--listen", "127.0.0.1:0", "-v"];
        self.start(name, &args, "ready")
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[test]
fn a_super_peer_answers_status_on_its_control_socket() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let socket = super_peer.ready_file()["control"].as_str().expect("a control socket").to_owned();
    assert!(is_socket(Path::new(&socket)));
    for args in [&["status"][..], &["status", "--name", "super"], &["status", "--control", &socket]] {
        let (code, events) = home.ask(args);
        assert_eq!((code, &events[0]["event"]), (0, &"status".into()), "{args:?}");
        assert!(events[0]["super_counts"]["memory_index"].is_u64(), "{args:?}: {}", events[0]);
    }
    let (code, _) = home.ask(&["list", "--name", "super"]);
    assert_eq!(code, 2, "it takes no commands of peers");
    super_peer.terminate();
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_super_peer_that_others_reach_says_what_to_type_before_it_is_open() {
    let home = Home::new();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let refused = home.run(&["super", "--listen", listen]);
        assert_eq!(refused.status.code(), Some(2));
        let text = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(text.contains("--open") && text.contains("sprat user add"), "{text}");
    }
    let open = home.start("super", &["super", "--open", "--listen", "0.0.0.0:0"], "nothing is encrypted");
    drop(open);
}

#[test]
fn a_file_is_found_listed_and_fetched() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7 % 251) as u8).collect();
    let root = blake3::hash(&bytes).to_string();
    let holder = home.peer("holder", &super_peer, &[("blue train.bin", &bytes), ("green.txt", b"green")]);
    let at = super_peer.listen();

    let found = home.ask_until(1, &["query", "TRAIN blue", "--super", &at]);
    let hit = &found[0];
    assert_eq!(hit["event"], "hit");
    assert_eq!((&hit["name"], &hit["path"]), (&"blue train.bin".into(), &"blue train.bin".into()));
    assert_eq!((&hit["size"], &hit["root"]), (&3_000_000.into(), &root.as_str().into()));
    assert_eq!(hit["source"], holder.listen());
    let done = &found[1];
    assert_eq!((&done["hits"], &done["reached"], &done["complete"]), (&1.into(), &1.into(), &true.into()));
    assert!(done["elapsed_ms"].is_u64() && done["cut"].is_object());

    home.ask_until(1, &["query", "green", "--super", &at]);
    let (code, listed) = home.ask(&["list", "--super", &at]);
    assert_eq!((code, listed.len()), (0, 3));
    let train = listed.iter().find(|file| file["name"] == "blue train.bin").expect("it is listed");
    assert_eq!(
        (&train["event"], &train["root"], &train["holders"]),
        (&"file".into(), &root.as_str().into(), &1.into())
    );

    let (code, events) = home.ask(&["get", "blue train.bin", "--super", &at, "-o", "here.bin"]);
    assert_eq!(code, 0);
    assert_eq!(fs::read(home.path("here.bin")).expect("it is there"), bytes);
    let pieces: Vec<&Value> = events.iter().filter(|event| event["event"] == "piece").collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|piece| piece["source"] == holder.listen() && piece["index"].is_u64()));
    let done = events.last().expect("a done");
    assert_eq!((&done["root"], &done["bytes"]), (&root.as_str().into(), &3_000_000.into()));
    assert_eq!(done["path"], home.path("here.bin").display().to_string());
    let source = &done["sources"][0];
    assert_eq!((&source["bytes"], &source["pieces"], &source["bad"]), (&3_000_000.into(), &3.into(), &0.into()));
}

#[test]
fn what_nobody_has_ends_with_3() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let at = super_peer.listen();
    for args in [["query", "nothing", "--super", &at], ["get", "nothing", "--super", &at]] {
        let (code, events) = home.ask(&args);
        assert_eq!((code, events.len()), (3, 1));
    }
    let (_, events) = home.ask(&["query", "nothing", "--super", &at]);
    assert_eq!(events[0]["complete"], true);
}

#[test]
fn one_name_of_several_contents_is_listed_and_ends_with_2() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let _one = home.peer("one", &super_peer, &[("same.txt", b"one")]);
    let _two = home.peer("two", &super_peer, &[("same.txt", b"two")]);
    let at = super_peer.listen();
    home.ask_until(2, &["query", "same.txt", "--super", &at]);
    let (code, events) = home.ask(&["get", "same.txt", "--super", &at]);
    assert_eq!(code, 2);
    assert_eq!(events.iter().filter(|event| event["event"] == "hit").count(), 2);
    assert!(!home.path("same.txt").exists());
}

#[test]
fn a_running_peer_downloads_into_its_share_or_where_the_asker_says() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let _holder = home.peer("holder", &super_peer, &[("a.txt", b"aaa"), ("b.txt", b"bbb")]);
    let loader = home.peer("loader", &super_peer, &[]);
    let control = loader.ready_file()["control"].as_str().expect("a socket").to_owned();
    assert!(is_socket(Path::new(&control)));
    home.ask_until(2, &["query", "*.txt", "--control", &control]);
    assert_eq!(home.ask(&["get", "a.txt", "--name", "loader"]).0, 0);
    assert_eq!(fs::read(home.path("loader").join("a.txt")).expect("in the share"), b"aaa");
    assert_eq!(home.ask(&["get", "b.txt", "--control", &control, "-o", "c.txt"]).0, 0);
    assert_eq!(fs::read(home.path("c.txt")).expect("in the asker's folder"), b"bbb");
    let (code, status) = home.ask(&["status", "--name", "loader"]);
    assert_eq!((code, &status[0]["super"]), (0, &super_peer.listen().into()));
}

#[test]
fn a_daemon_reports_when_it_serves_and_removes_its_files_at_its_end() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let peer = home.peer("peer", &super_peer, &[]);
    let ready = peer.ready_file();
    assert_eq!((&ready["role"], &ready["pid"]), (&"peer".into(), &peer.child.id().into()));
    assert_eq!((&ready["super"], &ready["version"]), (&super_peer.listen().into(), &env!("CARGO_PKG_VERSION").into()));
    let control = PathBuf::from(ready["control"].as_str().expect("a socket"));
    assert!(is_socket(&control));
    let (ready, super_ready) = (peer.ready.clone(), super_peer.ready.clone());
    assert_eq!(peer.terminate().code(), Some(0));
    assert_eq!(super_peer.terminate().code(), Some(0));
    assert!(!ready.exists() && !super_ready.exists() && !control.exists());
}

#[test]
fn a_second_daemon_of_one_name_names_the_first() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let second = home.run(&["super", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&super_peer.child.id().to_string()) && said.contains("--name"), "{said}");
}

#[test]
fn the_prompt_takes_its_lines_from_a_pipe_in_order() {
    let home = Home::new();
    let super_peer = home.super_peer();
    let _holder = home.peer("holder", &super_peer, &[("tale.txt", b"once"), ("other.txt", b"upon")]);
    let at = super_peer.listen();
    home.ask_until(2, &["query", "*.txt", "--super", &at]);
    fs::create_dir(home.path("typist")).expect("a share");
    let args = ["peer", "--super", &at, "--share", "typist", "--listen", "127.0.0.1:0", "--name", "typist", "--prompt"];
    let mut child = home
        .command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"query tale\nGET 1\nGET other.txt\nWAIT\nfetch\nGET 7\nQUERY nothing\nLIST\n").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends with its input");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(fs::read(home.path("typist/tale.txt")).expect("fetched"), b"once", "{out}{err}");
    assert_eq!(fs::read(home.path("typist/other.txt")).expect("fetched"), b"upon", "{out}{err}");
    let places: Vec<usize> = ["1  tale.txt", "1 result in", "got ", "nothing found", "holders"]
        .iter()
        .map(|part| out.find(part).unwrap_or_else(|| panic!("no {part:?} in {out}{err}")))
        .collect();
    assert!(places.is_sorted(), "{out}");
    assert!(err.contains("there is no command \"fetch\"") && err.contains("there is no result 7"), "{err}");
}
