//! The control socket as an interface of programs: numbered requests and events, schemas; and the
//! commands that wait for something.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use sprat::control::{command_line, parse_line};
use sprat::proto::command::{Get, KnownContent, UserCommand};
use sprat::proto::{Command, Scope};
use sprat::wire::{Policy, QueryKind, Root, Search};

use crate::common::schema::{assert_answer, assert_request, events};
use crate::common::{Daemon, World, noise};

/// A client of a control socket.
struct Client {
    lines: BufReader<UnixStream>,
}

impl Client {
    fn new(daemon: &Daemon) -> Client {
        Client { lines: BufReader::new(UnixStream::connect(daemon.control()).expect("it serves")) }
    }

    fn send(&mut self, request: &Value) {
        assert_request(request);
        writeln!(self.lines.get_mut(), "{request}").expect("it reads");
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("UTF-8");
        let line = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert_answer(&line);
        line
    }

    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next();
            if is_it(&line) {
                return line;
            }
        }
    }
}

#[test]
fn events_are_numbered_and_what_was_missed_is_sent_again() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let mut client = Client::new(&daemon);
    client.send(&json!({ "req": 1, "cmd": "events" }));
    client.send(&json!({ "req": 2, "cmd": "status" }));
    assert_eq!(client.until(|line| line["event"] == "done")["req"], 2, "the other request goes on");
    let peer = world.peer("p", &[&daemon]);
    let came = client.until(|line| line["kind"] == "peer");
    assert_eq!((&came["req"], &came["event"], &came["peer"]), (&json!(1), &json!("node"), &json!(peer.addr())));
    let seq = came["seq"].as_u64().expect("a number");
    drop(peer);
    let left = client.until(|line| line["kind"] == "peer");
    assert!(left["seq"].as_u64() > Some(seq) && left["left"].is_string(), "{left}");
    let ran = world.run(["events", "--json", "--once", "--since", &seq.to_string(), "--control", daemon.control()]);
    assert_eq!((ran.done()["ok"].as_bool(), ran.events("node")[0]["seq"].as_u64()), (Some(true), Some(seq + 1)));
    let text = world.run(["events", "--once", "--control", daemon.control()]).text;
    assert!(text.contains(" peer ") && text.contains(" left") && !text.contains('{'), "{text}");
    client.send(&json!({ "req": 3, "cmd": "events", "since": 1_000_000, "follow": false }));
    let first = client.until(|line| line["req"] == 3);
    assert_eq!(first["seq"], 1, "that number is from before a restart");
}

#[test]
fn wait_ends_with_the_file_with_the_downloads_or_in_time() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    let wait = |more: &[&str]| world.start([&["wait", "--control", peer.control()][..], more].concat());
    assert_eq!(wait(&["nothing here", "--timeout", "200ms"]).finish().exit, Some(4));
    assert_eq!(wait(&["x", "--downloads"]).finish().exit, Some(2));
    let waiting = wait(&["--exact", "tune.bin", "--hits", "2", "--timeout", "1m", "--json"]);
    world.share("a", "tune.bin", b"one");
    world.share("b", "tune.bin", b"two");
    let _sources = [world.peer("a", &[&daemon]), world.peer("b", &[&daemon])];
    let done = waiting.finish().done();
    assert_eq!((&done["exit"], &done["hits"]), (&json!(0), &json!(2)));
    let absent = Root([7; 32]).to_string();
    let mut client = Client::new(&peer);
    client.send(&json!({ "req": 1, "cmd": "queue", "what": absent }));
    client.until(|line| line["event"] == "download" && line["state"] == "waiting");
    assert_eq!(wait(&["--downloads", "--timeout", "200ms"]).finish().exit, Some(4), "it waits for a source");
    client.send(&json!({ "req": 2, "cmd": "cancel", "id": 1 }));
    client.until(|line| line["event"] == "done" && line["req"] == 2);
    assert_eq!(wait(&["--downloads", "--timeout", "1m"]).finish().exit, Some(0));
}

/// One `cp` into a share reaches all that subscribe.
#[test]
fn subscribers_get_a_new_file_and_not_the_old_one() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("seed", "old.iso", b"old");
    let _seed = world.peer("seed", &[&daemon]);
    world.hits(&daemon, "old.iso", 1);
    let names = ["a", "b", "c"];
    let peers = names.map(|name| world.peer(name, &[&daemon]));
    let mut subscribers = peers.each_ref().map(|peer| {
        let mut subscriber = world.start(["subscribe", "*.iso", "--json", "--control", peer.control()]);
        subscriber.until("note", 1);
        subscriber
    });
    let content = noise(3, 3 << 20);
    world.share("seed", "new.iso", &content);
    for (subscriber, name) in subscribers.iter_mut().zip(names) {
        subscriber.until("item", 1);
        let got = std::fs::read(world.path(name).join("new.iso")).expect("it is there");
        assert!(got == content, "{name} has other bytes");
        assert!(!world.path(name).join("old.iso").exists());
    }
    let exec = ["subscribe", "*.iso", "--exec", "/bin/true", "--control", peers[0].control()];
    let refused = world.run(exec);
    assert!(refused.exit == Some(2) && refused.stderr.contains("--user"), "{}", refused.stderr);
    let open = world.run([&exec[..], &["--user", "ann"]].concat());
    assert!(open.exit == Some(2) && open.stderr.contains("login"), "{}", open.stderr);
}

#[test]
fn the_schemas_name_every_request_and_every_event() {
    let scope = Scope { ttl: Some(1), budget: Some(2), policy: Some(Policy::Tree) };
    let search = Search {
        pattern: "x".into(),
        kind: QueryKind::Words,
        min: Some(1),
        max: Some(2),
        limit: Some(3),
        within: Some("-".into()),
        partial: true,
        user: Some("ann".to_owned().into()),
    };
    let known =
        vec![KnownContent { name: "a".into(), size: 1, root: Root([1; 32]), collection: true, sources: vec![] }];
    let get = Get { also: vec!["b".into()], known, scope, ..Get::of("a".into()) };
    for command in [
        Command::Query { search: search.clone(), scope },
        Command::Subscribe { search, scope, existing: true },
        Command::Get(get.clone()),
        Command::Queue(get.clone()),
        Command::Fetch(get),
        Command::Uri { what: "x".into(), path: Some("/x".into()), scope },
        Command::Downloads,
        Command::Clean,
        Command::Cancel { id: 1 },
        Command::Pause { id: 1 },
        Command::Resume { id: 1 },
        Command::List { partial: true },
        Command::Network { scope },
        Command::Status,
        Command::Reload,
        Command::Limit { upload: Some(1), download: Some(2) },
        Command::Aim { root: Root([1; 32]), offset: 1 },
        Command::User(UserCommand::List),
        Command::User(UserCommand::Revoke { name: "ann".into(), unix: 1 }),
    ] {
        assert_request(&serde_json::from_str(&command_line(&command)).expect("JSON"));
    }
    let guide = include_str!("../../docs/control.md");
    let requests = guide.match_indices("{\"").filter_map(|(at, _)| {
        let text = &guide[at..];
        let value = serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()?;
        value.get("cmd").is_some().then(|| value.to_string())
    });
    for request in requests {
        assert!(parse_line(&request).request.is_ok(), "{request}");
    }
    let source = include_str!("../../src/proto/event/client.rs");
    let (_, variants) = source.split_once("pub enum ClientEvent {").expect("the enum");
    let (variants, _) = variants.split_once("\n}\n").expect("its end");
    let variants = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase));
    let names: Vec<String> = variants
        .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase())
        .collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(events().contains(&name.as_str()), "answers.json lacks {name}");
    }
}
