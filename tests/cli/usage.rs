//! What the program prints when it is used wrongly: exit codes, one sentence, the usage. With
//! `--json` it also prints one `done`.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

struct Sprat {
    folder: tempfile::TempDir,
}

impl Sprat {
    fn new() -> Sprat {
        Sprat { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
        command.args(args).env_clear().env("HOME", self.path()).envs(env.iter().copied());
        command.current_dir(self.path()).output().expect("the binary runs")
    }

    /// Runs a command that must end with this code. Returns what it wrote to standard error.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run_with(args, &[]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.lines().next().is_some_and(|line| line.starts_with("sprat: ")), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        stderr
    }

    fn misused(&self, args: &[&str], part: &str) {
        let stderr = self.fails(args, 2);
        let first = stderr.lines().next().unwrap_or_default();
        assert!(first.contains(part), "{args:?}: {first}");
        assert!(stderr.contains("\nUsage: sprat"), "{args:?}: {stderr}");
        assert!(stderr.contains("--help") && stderr.lines().count() == 2, "{args:?}: {stderr}");
    }
}

#[test]
fn wrong_flags_end_with_a_sentence_and_the_usage() {
    let sprat = Sprat::new();
    sprat.misused(&[], "a command is missing");
    sprat.misused(&["fetch"], "there is no command");
    sprat.misused(&["qeury", "x"], "did you mean query?");
    sprat.misused(&["query", "x", "--jsno"], "did you mean --json?");
    sprat.misused(&["--nope", "query"], "--nope");
    sprat.misused(&["query"], "PATTERN");
    sprat.misused(&["query", "x", "--nope"], "--nope");
    sprat.misused(&["get", "x", "-o", "", "--super", "127.0.0.1:9"], "-o is empty");
    sprat.misused(&["peer", "--share", "", "--super", "127.0.0.1:9"], "--share is empty");
    sprat.misused(&["query", "x", "--ttl", "999"], "write one from 0 to 64");
    sprat.misused(&["query", "x", "--ttl", "65"], "write one from 0 to 64");
    sprat.misused(&["query", "x", "--ttl"], "--ttl");
    sprat.misused(&["query", "x", "--budget", "2"], "2s");
    sprat.misused(&["query", "x", "--budget", "2h"], "--budget");
    sprat.misused(&["query", "x", "--min-size", "2Q"], "10M");
    sprat.misused(&["query", "x", "--min-size", "2M", "--max-size", "1M", "--super", "h:1"], "--min-size");
    sprat.misused(&["query", "x", "--limit", "0"], "--limit");
    sprat.misused(&["query", "x", "--limit", "1001"], "--limit");
    sprat.misused(&["query", "x", "--super", "h:0"], "port 0");
    sprat.misused(&["get", "x", "--super", "h:1", "--from", "h:0"], "port 0");
    sprat.misused(&["peer", "--super", "h:0", "--share", "."], "port 0");
    sprat.misused(&["super", "--listen", "127.0.0.1:0", "--neighbor", "127.0.0.1:0"], "port 0");
    sprat.misused(&["super", "--listen", "127.0.0.1:0", "--neighbor", "[::1]:5"], "[::]");
    sprat.misused(&["query", "", "--super", "h:1"], "1 to 256 bytes");
    sprat.misused(&["query", &"x".repeat(257), "--super", "h:1"], "1 to 256 bytes");
    sprat.misused(&["get", "x", "--verify", "sha1"], "blake3");
    let uri = format!("sprat:{},super=127.0.0.1:9", "0".repeat(64));
    sprat.misused(&["get", "x", &uri, "--super", "127.0.0.1:9"], "of its own");
    sprat.misused(&["get", &uri, "x"], "of its own");
    sprat.misused(&["get", &uri, "--connect-timeout", "0s"], "--connect-timeout");
    sprat.misused(&["list", "extra"], "extra");
    sprat.misused(&["query", "x", "--super", "h:1", "--control", "/s"], "exclude each other");
    sprat.misused(&["peer", "--super", "host"], "--share");
    sprat.misused(&["peer", "--super", "h:1"], "--share");
    sprat.misused(&["peer", "--super", "h:1", "--share", ".", "--name", "a/b"], "--name");
    sprat.misused(&["peer", "--super", "h:1", "--share", ".", "--advertise", "a b"], "--advertise");
    sprat.misused(&["super", "--ping", "1h"], "--ping");
    sprat.misused(&["super", "--log-level", "loud"], "error, warn, info, debug or trace");
    let operator = sprat::trust::SecretKey::from_seed([1; 32]).public().to_string();
    let operators = ["--operator", &operator].repeat(17);
    sprat.misused(&[&["super", "--listen", "127.0.0.1:0"][..], &operators[..]].concat(), "at most 16 operators");
}

#[test]
fn what_could_never_work_is_refused_before_anything_is_done() {
    let sprat = Sprat::new();
    sprat.misused(&["user", "add", "ann", "--expires", "0s"], "--expires is a time of at least 1s");
    sprat.misused(&["user", "add", "ann", "--valid", "500ms"], "--valid is a time of at least 1s");
    let of_user = ["subscribe", "x", "--user", "ann", "--exec"];
    for program in ["/nonexist", "nonexist", "."] {
        sprat.misused(&[&of_user[..], &[program]].concat(), "--exec");
    }
    assert!(!sprat.path().join(".local").exists());
}

#[test]
fn an_invitation_among_the_arguments_is_not_printed() {
    let sprat = Sprat::new();
    let invitation = "sprat-invite:KEY@h:1,user=ann,token=0123";
    for args in [
        &["join", invitation][..],
        &["join", "ann", invitation],
        &["join", &format!("--name={invitation}")],
        &["get", invitation],
        &[invitation],
    ] {
        let stderr = sprat.fails(args, 2);
        assert!(stderr.contains("sprat join < FILE") && !stderr.contains("0123"), "{args:?}: {stderr}");
    }
}

#[test]
fn figures_are_asked_for_in_one_form_and_of_what_is_there() {
    let sprat = Sprat::new();
    sprat.misused(&["bench"], "MODE");
    sprat.misused(&["bench", "swim", "--self"], "idle, connect, register, query, churn, get, flood and swarm");
    sprat.misused(&["bench", "query"], "either --super HOST:PORT or --self");
    sprat.misused(&["bench", "query", "--self", "--super", "h:1"], "either --super HOST:PORT or --self");
    sprat.misused(&["bench", "get", "--self", "--depth", "65"], "from 1 to 64");
    sprat.misused(&["bench", "idle", "--self", "--rate", "0"], "--rate");
    sprat.misused(&["bench", "idle", "--super", "h:1", "--pid", "4294967295"], "no process of this machine");
    sprat.misused(&["bench", "flood", "--super", "127.0.0.1:1"], "needs --listen HOST:PORT");
    sprat.misused(&["bench", "query", "--self", "more"], "only bench compare takes files");
    sprat.misused(&["sim", "--supers", "2", "--degree", "3"], "it must be 1");
    sprat.misused(&["sim", "--supers", "5", "--degree", "3"], "from 2 to 4");
    sprat.misused(&["sim", "--supers", "many"], "write a whole number");
    for command in [&["bench", "query", "--self"][..], &["sim"]] {
        sprat.misused(&[command, &["--csv", "--md"]].concat(), "exclude each other");
    }
}

#[test]
fn wrong_addresses_are_shown_the_right_form() {
    let sprat = Sprat::new();
    for wrong in ["no where", "::1:4777", "h:70000", "[::1", "h:", ":1", "a b:1", "fe80::1%", "h%eth0"] {
        sprat.misused(&["list", "--super", wrong], "HOST:PORT");
        sprat.misused(&["super", "--listen", wrong], "HOST:PORT");
        sprat.misused(&["super", "--neighbor", wrong], "HOST:PORT");
    }
}

#[test]
fn json_ends_with_one_done_even_if_nothing_was_right() {
    let sprat = Sprat::new();
    for (args, exit) in [
        (&["query", "--json"][..], 2),
        (&["query", "x", "--json", "--nope"], 2),
        (&["query", "x", "--json", "--budget", "0s"], 2),
        (&["--json"], 2),
        (&["--json", "query", "x"], 5),
        (&["get", "x", "--json"], 5),
    ] {
        let output = sprat.run_with(args, &[]);
        assert_eq!(output.status.code(), Some(exit), "{args:?}");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(stdout.lines().count(), 1, "{args:?}: {stdout}");
        let done: Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!(done["v"], 1);
        assert_eq!(done["event"], "done");
        assert_eq!(done["ok"], false);
        assert_eq!(done["exit"], exit);
        assert!(done["error"].is_string());
        assert!(!output.stderr.is_empty(), "people see an error as well");
    }
}

#[test]
fn a_command_without_a_running_peer_says_so() {
    let sprat = Sprat::new();
    let stderr = sprat.fails(&["list"], 5);
    assert!(stderr.contains("no peer named \"peer\" runs here") && stderr.contains("--super"), "{stderr}");
    let stderr = sprat.fails(&["status", "--name", "other"], 5);
    assert!(stderr.contains("\"other\""), "{stderr}");
    let stderr = sprat.fails(&["status", "--control", "nowhere.sock"], 5);
    assert!(stderr.contains("nowhere.sock"), "{stderr}");
    let stderr = sprat.fails(&["reload", "--name", "other"], 5);
    assert!(stderr.contains("no peer named \"other\" runs here"), "{stderr}");
    assert!(!sprat.path().join(".local").exists(), "a one-shot command leaves nothing behind");
}

#[test]
fn a_super_peer_that_does_not_answer_is_named() {
    let sprat = Sprat::new();
    // The port was bound and is free again. Connections to it are refused from now on, unless
    // another process binds it.
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let addr = addr.to_string();
    let stderr = sprat.fails(&["list", "--super", &addr, "--connect-timeout", "200ms"], 5);
    assert!(stderr.contains(&addr), "{stderr}");
}

#[test]
fn a_port_in_use_is_named() {
    let sprat = Sprat::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = tcp.local_addr().expect("an address").to_string();
    let stderr = sprat.fails(&["super", "--listen", &addr, "-q"], 5);
    assert!(stderr.contains(&addr), "{stderr}");
    let stderr = sprat.fails(&["peer", "--super", "127.0.0.1:1", "--share", ".", "--listen", &addr, "-q"], 5);
    assert!(stderr.contains(&addr), "{stderr}");
    drop(tcp);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = udp.local_addr().expect("an address").to_string();
    let stderr = sprat.fails(&["super", "--listen", &addr, "-q"], 5);
    assert!(stderr.contains(&addr), "{stderr}");
}

#[test]
fn a_share_that_is_missing_is_named() {
    let sprat = Sprat::new();
    let args = ["peer", "--super", "127.0.0.1:1", "--share", "nowhere", "--listen", "127.0.0.1:0", "-q"];
    let stderr = sprat.fails(&args, 9);
    assert!(stderr.contains("nowhere"), "{stderr}");
}

#[test]
fn without_a_home_the_place_for_the_state_is_asked_for() {
    let sprat = Sprat::new();
    let output = Command::new(env!("CARGO_BIN_EXE_sprat"))
        .args(["super", "--listen", "127.0.0.1:0"])
        .env_clear()
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--state"));
    drop(sprat);
}

#[test]
fn a_wrong_value_from_the_environment_is_named() {
    let sprat = Sprat::new();
    let output = sprat.run_with(&["query", "x"], &[("SPRAT_TTL", "many")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SPRAT_TTL"));
}
