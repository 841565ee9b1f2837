//! The control socket as an interface for programs: numbered requests and events, and schemas. Also
//! the commands that wait for something.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sprat::control::{command_line, parse_line};
use sprat::proto::command::{Get, KnownContent, UserCommand};
use sprat::proto::{Command as Asked, Scope};
use sprat::wire::{Policy, QueryKind, Root, Search};

use crate::common::schema::{assert_answer, assert_request, commands, events, kinds};
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

/// One `cp` into a share reaches all clients that subscribe.
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
        Asked::Query { search: search.clone(), scope },
        Asked::Subscribe { search, scope, existing: true },
        Asked::Get(get.clone()),
        Asked::Queue(get.clone()),
        Asked::Fetch(get),
        Asked::Uri { what: "x".into(), path: Some("/x".into()), scope },
        Asked::Downloads,
        Asked::Clean,
        Asked::Cancel { id: 1 },
        Asked::Pause { id: 1 },
        Asked::Resume { id: 1 },
        Asked::List { partial: true },
        Asked::Network { scope },
        Asked::Status,
        Asked::Reload,
        Asked::Limit { upload: Some(1), download: Some(2) },
        Asked::Aim { root: Root([1; 32]), offset: 1 },
        Asked::User(UserCommand::List),
        Asked::User(UserCommand::Revoke { name: "ann".into(), unix: 1 }),
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
    let mut printed: BTreeSet<String> = variants("ClientEvent").into_iter().collect();
    printed = printed.into_iter().map(|name| name.to_lowercase()).collect();
    for name in &printed {
        assert!(events().contains(&name.as_str()), "answers.json lacks {name}");
    }
    // The others are of the numbered events, and of commands that need no daemon.
    let commands_alone = sources("cli");
    for event in events().into_iter().filter(|event| !printed.contains(*event) && !["node", "gap"].contains(event)) {
        assert!(commands_alone.contains(&format!("\"{event}\"")), "nothing prints {event}");
    }
}

#[test]
fn the_documents_name_every_request_and_every_kind_of_event() {
    let guide = include_str!("../../docs/control.md");
    let rows = |head: &str| {
        let (_, table) = guide.split_once(head).expect("the table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let names = |cell: Option<&&'static str>| {
            cell.into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
        };
        let cells = rows.map(|row| row.split(" | ").collect::<Vec<&str>>());
        cells.map(|cells| (names(cells.first()), names(cells.get(2)))).collect::<Vec<(Vec<&str>, Vec<&str>)>>()
    };
    let set = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
    let requests = rows("| `cmd` |");
    let listed = set(requests.iter().flat_map(|(names, _)| names.clone()).collect());
    assert_eq!(listed, set(commands()), "docs/control.md, and docs/schemas/requests.json");
    let rename = |name: String| if name == "Network" { "list-network".to_owned() } else { name.to_lowercase() };
    let known = variants("Command").into_iter().map(rename);
    assert_eq!(listed, known.chain(["events".to_owned()]).collect(), "docs/control.md, and the program");
    for answer in requests.iter().flat_map(|(_, answers)| answers) {
        assert!(events().contains(answer), "no answer is called {answer}");
    }
    let table = rows("| `kind` |");
    let listed = set(table.iter().flat_map(|(names, _)| names.clone()).collect());
    assert_eq!(listed, set(kinds().iter().map(|(kind, _)| *kind).collect()), "docs/control.md, and the schema");
    let letter = |(at, c): (usize, char)| {
        let underscore = if at > 0 && c.is_uppercase() { "_" } else { "" };
        format!("{underscore}{}", c.to_lowercase())
    };
    let snake = |name: String| name.chars().enumerate().map(letter).collect::<String>();
    let known = variants("Happening").into_iter().map(snake);
    assert_eq!(listed, known.collect(), "docs/control.md, and the program");
    for (names, fields) in table {
        let of_schema = kinds().into_iter().filter(|(kind, _)| names.contains(kind)).flat_map(|(_, fields)| fields);
        assert_eq!(set(fields), set(of_schema.collect()), "the fields of {names:?}");
    }
}

/// The variants of an enum of `proto`.
fn variants(name: &str) -> Vec<String> {
    let source = sources("proto");
    let (_, variants) = source.split_once(&format!("pub enum {name} {{")).expect("the enum");
    let (variants, _) = variants.split_once("\n}\n").expect("its end");
    let lines = variants.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(char::is_uppercase));
    let names: Vec<String> =
        names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()).collect();
    assert!(names.len() > 5, "{names:?}");
    names
}

/// The text of all files in a folder below `src`.
fn sources(folder: &str) -> String {
    let src = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let (mut text, mut folders) = (String::new(), vec![src.join(folder)]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => text.push_str(&std::fs::read_to_string(path).expect("a file")),
            }
        }
    }
    text
}

/// The mode of the socket is not the only thing that keeps other users out.
#[test]
fn a_process_of_another_user_gets_no_answer() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let daemon = world.super_peer("s");
    let program = world.path("sprat");
    std::fs::copy(env!("CARGO_BIN_EXE_sprat"), &program).expect("a copy");
    let open_to_all = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("a mode");
    let socket = Path::new(daemon.control());
    socket.ancestors().take_while(|path| path.starts_with(world.path(""))).for_each(open_to_all);
    open_to_all(&world.path(""));
    let ask = |user: u32| {
        let mut command = Command::new(&program);
        command.args(["status", "--control", daemon.control()]).env_clear().current_dir("/").uid(user).gid(user);
        command.output().expect("it runs").status.code()
    };
    assert_eq!((ask(0), ask(65_534)), (Some(0), Some(5)));
    assert!(world.super_count(&daemon, "net_control_strangers") > 0);
}
