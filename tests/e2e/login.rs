//! Networks with a login, as real processes: a node joins by an invitation or a credential, and is
//! refused in every other way.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::common::{Daemon, Ran, World, eventually};
use crate::http;

/// A super peer with users, and the states of nodes by name.
struct Net {
    world: World,
    port: u16,
}

impl Net {
    /// The super peer `home` will listen at this address. No process runs yet.
    fn new() -> Net {
        let world = World::new();
        let port = world.free_port();
        Net { world, port }
    }

    fn addr(&self) -> String {
        format!("{}:{}", self.world.ip(), self.port)
    }

    fn state(&self, name: &str) -> PathBuf {
        self.world.path("state/sprat").join(name)
    }

    /// Runs a command that must succeed. Returns what the command prints.
    fn does(&self, args: &[&str]) -> String {
        let ran = self.world.run(args);
        assert_eq!(ran.exit, Some(0), "{args:?}: {}", ran.stderr);
        ran.text.trim().to_owned()
    }

    /// Invites a user. Returns the file with the invitation.
    fn invite(&self, user: &str) -> String {
        let text = self.does(&["user", "add", user, "--name", "home", "--at", &self.addr()]);
        self.file(&format!("{user}.invitation"), &text)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.world.path(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// The node of this name joins as the user of the same name.
    fn join(&self, name: &str) {
        let invitation = self.invite(name);
        self.does(&["join", &invitation, "--name", name]);
    }

    fn start(&self) -> Daemon {
        self.world.super_peer_at("home", self.port, &[], &[])
    }

    fn peer(&self, name: &str, files: &[(&str, &[u8])]) -> Daemon {
        self.world.folder(name);
        files.iter().for_each(|(file, content)| self.world.share(name, file, content));
        let args = ["peer", "--share", name, "--listen", &format!("{}:0", self.world.ip())];
        self.world.daemon(name, &args.map(str::to_owned), Stdio::null())
    }

    /// Searches as the node of this name. Only the node's state says where the super peer is.
    fn query(&self, name: &str, more: &[&str]) -> Ran {
        let state = self.state(name).display().to_string();
        self.world.run([&["query", "a-file", "--json", "--state", &state], more].concat())
    }

    fn refused(&self, name: &str, more: &[&str], part: &str) {
        let ran = self.query(name, more);
        assert_eq!(ran.exit, Some(7), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{name}: {}", ran.stderr);
    }

    fn finds(&self, name: &str, hits: usize) {
        eventually("a query as expected", || (self.query(name, &[]).events("hit").len() == hits).then_some(()));
    }

    /// The credential of an operator for the key of this node. The node need not exist yet.
    fn credential(&self, operator: &str, name: &str, more: &[&str]) -> String {
        let key = self.does(&["id", "--name", name]);
        self.does(&[&["operator", "sign", name, &key, "--name", operator], more].concat())
    }
}

fn unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs()
}

#[test]
fn one_line_of_text_lets_a_friend_in_and_no_command_needs_an_address() {
    let net = Net::new();
    let (me, ann) = (net.invite("me"), net.invite("ann"));
    let home = net.start();
    assert_eq!(home.addr(), net.addr());
    net.does(&["join", &me, "--name", "me"]);
    let joined = net.world.run(["join", &ann, "--name", "ann", "--json"]);
    assert_eq!(joined.events("joined")[0]["user"], "ann", "{}", joined.stderr);
    let content = vec![7; 3 << 20];
    let _me = net.peer("me", &[("a-file", &content)]);
    net.finds("ann", 1);
    let state = net.state("ann").display().to_string();
    let got = net.world.folder("got").display().to_string();
    net.does(&["get", "a-file", "--state", &state, "-o", &format!("{got}/")]);
    assert_eq!(std::fs::read(Path::new(&got).join("a-file")).expect("the file"), content);
    // Both commands use the control socket while the super peer runs.
    let rows = net.world.run(["user", "list", "--name", "home", "--json"]).events("user");
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["ann", "me"]);
    assert_eq!((&rows[1]["sessions"], rows[1]["keys"].as_array().map(Vec::len)), (&Value::from(1), Some(1)));
    net.join("bob");
    net.finds("bob", 1);
}

#[test]
fn a_node_that_has_joined_learns_how_to_ask_an_open_super_peer() {
    let net = Net::new();
    let ann = net.invite("ann");
    let _home = net.start();
    net.does(&["join", &ann, "--name", "ann"]);
    let open = net.world.super_peer("open");
    net.refused("ann", &["--super", open.addr()], "give --open");
    assert_eq!(net.query("ann", &["--super", open.addr(), "--open"]).exit, Some(3));
}

#[test]
fn an_invitation_is_good_once_whole_and_in_time() {
    let net = Net::new();
    let invitation = net.invite("ann");
    let home = net.start();
    let text = std::fs::read_to_string(&invitation).expect("an invitation");
    let damaged = net.file("damaged", &text.replace("user=ann", "user=bob"));
    assert_eq!(net.world.run(["join", &damaged, "--name", "ann"]).exit, Some(2));
    net.does(&["join", &invitation, "--name", "ann"]);
    // The answer may have been lost, so the same node may send the request again. No other node
    // may.
    net.does(&["join", &invitation, "--name", "ann"]);
    let replayed = net.world.run(["join", &invitation, "--name", "eve"]);
    assert!(replayed.exit == Some(7) && replayed.stderr.contains("not valid"), "{}", replayed.stderr);
    assert!(!net.state("eve").join("joined").exists());
    let late =
        net.file("late", &net.does(&["user", "add", "bob", "--expires", "1s", "--name", "home", "--at", &net.addr()]));
    let until = net.world.run(["user", "list", "--name", "home", "--json"]).events("user")[1]["invited_until"].as_u64();
    eventually("the next second", || (unix() > until.expect("an end")).then_some(()));
    assert_eq!(net.world.run(["join", &late, "--name", "late"]).exit, Some(7));
    // The token is stored only as a hash, and only its user can read the identity.
    let secret = text.trim().rsplit_once("token=").expect("a token").1[..32].to_owned();
    let accounts = std::fs::read_to_string(net.state("home").join("accounts")).expect("accounts");
    assert!(!accounts.contains(&secret) && !home.log().contains(&secret));
}

#[test]
fn who_is_not_let_in_learns_what_to_do_and_nothing_else() {
    let net = Net::new();
    let operator = net.does(&["operator", "init", "--name", "operator"]);
    net.does(&["operator", "init", "--name", "other"]);
    let ann = net.invite("ann");
    let _home = net.world.super_peer_at("home", net.port, &[], &["--operator", &operator]);
    let key = net.does(&["id", "--name", "home"]);
    let pin = format!("{key}@{}", net.addr());
    let supers = ["--super", &pin];
    net.does(&["join", &ann, "--name", "ann"]);
    net.finds("ann", 0);
    // Without a credential, by name of the mode or of the key.
    net.refused("nobody", &["--super", &net.addr()], "sprat join");
    net.refused("nobody", &supers, "sprat join");
    let joined_with = |name: &str, operator: &str, more: &[&str]| {
        let credential = net.credential(operator, name, &[&supers[..], more].concat());
        let file = net.file(&format!("{name}.credential"), &credential);
        net.does(&["join", &file, "--name", name]);
    };
    joined_with("right", "operator", &[]);
    net.finds("right", 0);
    joined_with("foreign", "other", &[]);
    net.refused("foreign", &[], "another network");
    joined_with("early", "operator", &["--starts", "1h"]);
    net.refused("early", &[], "not valid yet");
    joined_with("late", "operator", &["--valid", "0s"]);
    eventually("the credential expires", || {
        let ran = net.query("late", &[]);
        (ran.exit == Some(7) && ran.stderr.contains("expired")).then_some(())
    });
    // A credential of another node, and a copy of its file.
    let credential = net.credential("operator", "right", &supers);
    let of_right = net.file("of-right", &credential);
    let refused = net.world.run(["join", &of_right, "--name", "thief"]);
    assert!(refused.exit == Some(7) && refused.stderr.contains("is for the key"), "{}", refused.stderr);
    std::fs::copy(net.state("right").join("joined"), net.state("thief").join("joined")).expect("a copy");
    net.refused("thief", &[], "another key");
    // A key can be revoked that is not the key of a user here.
    let right = net.does(&["id", "--name", "right"]);
    net.does(&["user", "revoke", &right, "--name", "home"]);
    net.refused("right", &[], "revoked");
    net.finds("ann", 0);
    // The key of a user is revoked. The invitation that the user has used is no longer accepted.
    let key = net.does(&["id", "--name", "ann"]);
    net.does(&["user", "revoke", &key, "--name", "home"]);
    net.refused("ann", &[], "revoked");
    assert_eq!(net.world.run(["join", &ann, "--name", "ann"]).exit, Some(7));
    net.refused("ann", &[], "revoked");
}

#[test]
fn a_command_with_the_name_of_a_node_that_has_joined_needs_no_super_peer() {
    let net = Net::new();
    let ann = net.invite("ann");
    let _home = net.start();
    net.does(&["join", &ann, "--name", "ann"]);
    assert_eq!(net.world.run(["query", "a-file", "--name", "ann"]).exit, Some(3), "nothing is found, and it is let in");
    assert_eq!(net.world.run(["query", "a-file", "--name", "nobody"]).exit, Some(5));
}

#[test]
fn a_revoked_user_is_out_at_once_with_their_files_and_may_be_invited_again() {
    let net = Net::new();
    let me = net.invite("me");
    let home = net.start();
    net.does(&["join", &me, "--name", "me"]);
    net.join("ann");
    let peer = net.peer("me", &[("a-file", b"content")]);
    net.finds("ann", 1);
    net.does(&["user", "revoke", "me", "--name", "home"]);
    net.finds("ann", 0);
    eventually("the peer learns why", || peer.log().contains("revoked").then_some(()));
    drop(peer);
    let again = net.invite("me");
    net.does(&["join", &again, "--name", "me"]);
    let _peer = net.peer("me", &[]);
    net.finds("ann", 1);
    // What was changed survives a restart.
    drop(home);
    let home = net.start();
    net.finds("ann", 1);
    // While the super peer is stopped, its state is changed. One wrong name does not protect the
    // others.
    drop(home);
    let ran = net.world.run(["user", "revoke", "nobody", "me", "--name", "home"]);
    assert!(ran.exit == Some(8) && ran.stderr.contains("\"nobody\""), "{}", ran.stderr);
    let _home = net.start();
    net.finds("ann", 0);
    net.refused("me", &[], "revoked");
}

#[test]
fn a_key_that_has_changed_is_refused_loudly_and_one_that_was_rotated_is_followed() {
    let net = Net::new();
    let operator = net.does(&["operator", "init", "--name", "operator"]);
    let more = ["--operator", &operator];
    let home = net.world.super_peer_at("home", net.port, &[], &more);
    // A node of the network meets a super peer whose key the node does not know.
    let elsewhere = format!("{}@192.0.2.9:4777", net.does(&["id", "--name", "elsewhere"]));
    let credential = net.credential("operator", "ann", &["--super", &elsewhere]);
    let file = net.file("credential", &credential);
    net.does(&["join", &file, "--name", "ann"]);
    let first = net.does(&["id", "--name", "home"]);
    let at = ["--super", &net.addr()];
    let met = net.query("ann", &at);
    assert!(met.exit == Some(3) && met.stderr.contains("remembered"), "{}", met.stderr);
    let again = net.query("ann", &at);
    assert!(again.exit == Some(3) && !again.stderr.contains("remembered"), "{}", again.stderr);
    drop(home);
    net.does(&["id", "rotate", "--name", "home"]);
    let second = net.does(&["id", "--name", "home"]);
    let home = net.world.super_peer_at("home", net.port, &[], &more);
    let followed = net.query("ann", &at);
    assert!(followed.exit == Some(3) && followed.stderr.contains("signed"), "{}", followed.stderr);
    assert!(first != second && !net.query("ann", &at).stderr.contains("signed"));
    drop(home);
    // Another super peer listens at the same address.
    let _other = net.world.super_peer_at("impostor", net.port, &[], &more);
    let third = net.does(&["id", "--name", "impostor"]);
    let accept = format!("sprat id accept {third}@{}", net.addr());
    for part in [&second, &third, &accept] {
        net.refused("ann", &at, part);
    }
    net.does(&["id", "accept", &format!("{third}@{}", net.addr()), "--name", "ann"]);
    assert_eq!(net.query("ann", &at).exit, Some(3), "nothing is found, and it is let in");
}

#[test]
fn a_node_of_one_mode_refuses_the_other_by_name() {
    let net = Net::new();
    let ann = net.invite("ann");
    let _home = net.start();
    net.does(&["join", &ann, "--name", "ann"]);
    let open = net.world.super_peer("open");
    net.refused("ann", &["--super", open.addr()], "open");
    let state = net.state("ann").display().to_string();
    let ran = net.world.run(["query", "x", "--open", "--state", &state, "--super", open.addr()]);
    assert_eq!(ran.exit, Some(3), "nothing is found there: {}", ran.stderr);
    let both =
        net.world.run(["query", "x", "--open", "--super", &format!("{}@h", net.does(&["id", "--name", "home"]))]);
    assert_eq!(both.exit, Some(2), "{}", both.stderr);
    let users = net.world.run(["user", "list", "--name", "open"]);
    assert!(users.exit == Some(2) && users.stderr.contains("open mode"), "{}", users.stderr);
}

/// A client in another language joins, searches and fetches with its own TLS, until its key is
/// revoked.
#[test]
fn http_is_for_this_host_or_for_the_token_in_login_mode() {
    let net = Net::new();
    let invitation = net.invite("nina");
    let _home = net.start();
    net.does(&["join", &invitation, "--name", "nina"]);
    net.world.share("nina", "a-file", b"content");
    let args = [
        "peer",
        "--share",
        "nina",
        "--listen",
        &format!("{}:0", net.world.ip()),
        "--http-files",
        "--http",
        "127.0.0.1:0",
    ];
    let peer = net.world.daemon("nina", &args.map(str::to_owned), Stdio::null());
    let at = peer.addr();
    eventually("the file is served", || (http::get(at, "/files/a-file", &[]).body == b"content").then_some(()));
    assert_eq!(http::get(&http::page(&peer), "/api/snapshot", &[]).status, 200);
    // A page of a stranger can make its own name resolve to this address.
    let rebound =
        |fields: &str| http::raw(at, &format!("GET /files/a-file HTTP/1.1\r\nHost: x.example\r\n{fields}\r\n"));
    assert_eq!(rebound("").status, 421);
    assert_eq!(rebound("Authorization: Bearer 00\r\n").status, 421);
    let file = net.state("nina").join("http-token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("the token").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(file).expect("the token");
    assert_eq!(rebound(&format!("Authorization: Bearer {token}\r\n")).body, b"content");
}

#[test]
fn the_python_client_speaks_login_mode() {
    let net = Net::new();
    let Some(_) = crate::python_client::script("examples/client.py") else { return };
    let (ann, invitation) = (net.invite("ann"), net.invite("bob"));
    let home = net.start();
    net.does(&["join", &ann, "--name", "ann"]);
    let _ann = net.peer("ann", &[("a-file", b"what ann has")]);
    net.finds("ann", 1);
    let client = |args: &[&str]| {
        let mut client = crate::python_client::script("examples/client.py").expect("as before");
        let invitation = std::fs::File::open(&invitation).expect("the invitation");
        let login = ["--login", "python"];
        let output = client.current_dir(net.world.path("")).args(login).args(args).stdin(invitation).output();
        let output = output.expect("python3 runs");
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = client(&["join"]);
    assert_eq!(code, Some(0), "{text}");
    let pin = text.trim().to_owned();
    let (code, text) = client(&[&pin, "get", "*file*", "got"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(std::fs::read(net.world.path("got")).expect("fetched"), b"what ann has");
    net.does(&["user", "revoke", "bob", "--name", "home"]);
    let (code, text) = client(&[&pin, "query", "file"]);
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("revoked"), "{text}");
    drop(home);
}

#[test]
fn a_class_limits_what_its_accounts_get_until_that_is_lifted() {
    let net = Net::new();
    let invited = ["ann", "bob"].map(|user| (user, net.invite(user)));
    net.does(&["user", "set", "--upload", "1k", "--name", "home"]);
    let _home = net.start();
    invited.iter().for_each(|(user, invitation)| drop(net.does(&["join", invitation, "--name", user])));
    let content = crate::common::noise(1, 300 << 10);
    let _ann = net.peer("ann", &[("a-file", &content)]);
    eventually("the file is found", || (net.query("bob", &[]).exit == Some(0)).then_some(()));
    let (state, out) = (net.state("bob").display().to_string(), net.world.path("got").display().to_string());
    let mut got = net.world.start(["get", "a-file", "--json", "--state", &state, "-o", &out]);
    got.until("start", 1);
    // At 1 KiB per second the transfer takes five minutes.
    net.does(&["user", "set", "--upload", "0", "--name", "home"]);
    let ran = got.finish();
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(std::fs::read(out).is_ok_and(|bytes| bytes == content));
}

/// A file of a stranger starts no program.
#[test]
fn a_program_runs_only_with_files_of_the_account_that_is_named() {
    let net = Net::new();
    let invited = ["me", "eve", "ann"].map(|name| (name, net.invite(name)));
    let _home = net.start();
    invited.iter().for_each(|(name, invitation)| {
        net.does(&["join", invitation, "--name", name]);
    });
    let program = net.file("program", "#!/bin/sh\necho \"$SPRAT_FILE_USER $SPRAT_FILE_PATH\" >> \"$0.log\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("an executable");
    let _peers = [net.peer("me", &[]), net.peer("eve", &[])];
    let ann = net.peer("ann", &[]);
    let args = ["subscribe", "*.iso", "--user", "me", "--exec", &program, "--json", "--control", ann.control()];
    let mut subscriber = net.world.start(args);
    subscriber.until("note", 1);
    net.world.share("eve", "evil.iso", b"evil");
    net.world.share("me", "good.iso", b"good");
    let got = net.world.path("ann").join("good.iso").display().to_string();
    let read = || std::fs::read_to_string(format!("{program}.log")).ok().filter(|log| log.ends_with('\n'));
    let log = eventually("the program has run", read);
    assert_eq!(log, format!("me {got}\n"));
    assert!(!net.world.path("ann").join("evil.iso").exists());
}
