//! Every command of the README and of the manual pages runs in small networks on loopback, as it is
//! written. Only hosts, ports, folders, keys and sizes are replaced. A documented command that does
//! not run fails here, without a change of this file.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::common::{Daemon, World, eventually, noise};

const README: &str = include_str!("../../README.md");
/// The section with the commands of two hosts with a login.
const FRIENDS: &str = "Share with a friend";

/// Commands that run in other files: the name of the file, and a part of the file that runs them.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    ("cargo run --release -- demo", include_str!("../../scripts/check"), "sprat demo"),
    ("cargo test", include_str!("../../scripts/check"), "cargo test"),
    ("git clone URL sprat", include_str!("../../scripts/measure/invitation"), FRIENDS),
    ("cargo install --locked --path sprat", include_str!("../../scripts/measure/invitation"), FRIENDS),
    ("sprat status --watch", include_str!("window.rs"), "\"--watch\""),
];

/// The words that are replaced in every command, beside the addresses. The tools get less work, and
/// `events` ends.
const REPLACED: [(&str, &str); 19] = [
    ("KEY@super.example", "$(sprat id)@super.example"),
    ("ann KEY ", "ann $(sprat id) "),
    ("'sprat:4b1c…,size=210,name=holiday'", "\"$(sprat uri ~/music/holiday)\""),
    ("sprat:4b1c…,size=210,name=holiday", "\"$(sprat uri ~/music/holiday)\""),
    ("PATH URI", "~/music/holiday \"$(sprat uri ~/music/holiday)\""),
    ("/etc/", "etc/"),
    ("/usr/local/", "usr/local/"),
    ("/srv/", "srv/"),
    ("hash --check", "hash own.flac | sprat hash --check"),
    (" FILE", " own.flac"),
    (" NAME", " song.flac"),
    (" DIR", " pages"),
    (" SHELL", " zsh"),
    (" RATE", " 10M"),
    (" COMMAND ", " get "),
    ("sprat events", "SPRAT_ONCE=1 sprat events"),
    ("sprat bench", "SPRAT_SECONDS=0.1 SPRAT_FILES=100 SPRAT_SESSIONS=2 sprat bench"),
    ("sprat sim --sweep", "SPRAT_SUPERS=16 SPRAT_QUERIES=3 sprat sim --sweep"),
    ("sprat demo", "SPRAT_FILE=../large.bin sprat demo"),
];
/// Words that are replaced only in commands whose time depends on them.
const SMALLER: [(&str, &str); 2] =
    [("--supers 1000", "--supers 16"), ("--swarm 100 --pieces 256", "--swarm 8 --pieces 8")];

/// A command, and the section of the README that has it; none for a manual page.
#[derive(Clone, Debug)]
struct Documented {
    section: Option<&'static str>,
    command: String,
}

/// The commands of a block or a span: without comments and the prompt.
fn commands(block: &str, has_prompts: bool) -> impl Iterator<Item = String> {
    block.lines().filter_map(move |line| {
        let line = if has_prompts { line.strip_prefix("$ ")? } else { line };
        let command = line.split(" # ").next().unwrap_or_default().trim();
        (!command.is_empty()).then(|| command.to_owned())
    })
}

/// The commands of the README: blocks of `sh`, lines with a prompt in other blocks, and spans that
/// begin with `sprat` and have an argument.
fn of_readme() -> Vec<Documented> {
    let mut found = Vec::new();
    for section in README.split("\n## ") {
        let title = section.lines().next().unwrap_or_default();
        for (at, part) in section.split("\n```").enumerate() {
            if at % 2 == 1 {
                let (language, block) = part.split_once('\n').unwrap_or_default();
                found.extend(commands(block, language != "sh").map(|command| (title, command)));
            } else {
                let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
                let spans = text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("sprat "));
                let spans = spans.filter(|span| span.split(' ').count() > 2);
                found.extend(spans.map(|span| (title, span.to_owned())));
            }
        }
    }
    found.into_iter().map(|(section, command)| Documented { section: Some(section), command }).collect()
}

/// The commands of the two friends: those for the installation, yours, and Ann's.
fn of_friends() -> [Vec<String>; 3] {
    let section = README.split("\n## ").find(|section| section.starts_with(FRIENDS)).expect("the section");
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let blocks: Vec<Vec<String>> = blocks.map(|block| commands(block, false).collect()).collect();
    blocks.try_into().expect("three blocks")
}

/// The examples of the manual pages, which `sprat man` writes.
fn of_manual(home: &Home) -> Vec<Documented> {
    home.succeeds("sprat man pages");
    let mut found = Vec::new();
    let pages = std::fs::read_dir(home.path("pages")).expect("pages").map(|entry| entry.expect("a page").path());
    for page in pages.collect::<BTreeSet<PathBuf>>() {
        let page = std::fs::read_to_string(page).expect("UTF-8");
        let examples = page.split("\n.SH ").find_map(|section| section.strip_prefix("EXAMPLES\n")).unwrap_or_default();
        for line in examples.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR")) {
            let plain =
                [("\\-", "-"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\(ga", "`"), ("\\(aq", "'"), ("\\[u2026]", "…")];
            let command = plain.iter().fold(line.to_owned(), |text, (roff, plain)| text.replace(roff, plain));
            assert!(!command.contains('\\'), "what does this mean: {command}");
            found.push(Documented { section: None, command });
        }
    }
    found
}

/// The home of a user on a host; commands run in its folder `music`.
struct Home<'w> {
    world: &'w World,
    /// Words of the documents, and what replaces them here.
    here: Vec<(String, String)>,
}

/// A command that runs until it is dropped.
struct Lasting(Child);

impl Drop for Lasting {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.0), Signal::TERM).ok();
        self.0.wait().ok();
    }
}

impl Home<'_> {
    fn new<'w>(world: &'w World, super_addr: &str, gateway: &str) -> Home<'w> {
        for folder in ["bin", "music/etc/bash_completion.d", "music/etc/sprat", "music/srv/deb"] {
            world.folder(folder);
        }
        let config = include_str!("../../scripts/package/config.toml");
        std::fs::write(world.path("music/etc/sprat/config.toml"), config).expect("a configuration");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sprat"), world.path("bin/sprat")).expect("a link");
        let neighbor = format!("{}:{}", world.ip(), world.free_port());
        let own = format!("{}:{}", world.ip(), world.free_port());
        let here = [
            ("--listen 192.0.2.1:4777", format!("--listen {own}")),
            ("192.0.2.1:4777", super_addr.to_owned()),
            ("192.0.2.2:4777", neighbor),
            ("127.0.0.1:4778", gateway.to_owned()),
            (" HOST", format!(" {super_addr}")),
        ];
        Home { world, here: here.map(|(word, here)| (word.to_owned(), here)).into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path("music").join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        self.world.share("music", name, content);
    }

    /// The command, with its words replaced.
    fn meant(&self, command: &str) -> String {
        let all = self.here.iter().map(|(word, here)| (word.as_str(), here.as_str())).chain(REPLACED).chain(SMALLER);
        all.fold(command.to_owned(), |text, (word, here)| text.replace(word, here))
    }

    /// A shell with this command.
    fn shell(&self, command: &str, vars: &[(&str, &str)]) -> Command {
        let sprat = self.world.sprat([""; 0]);
        let mut shell = Command::new("timeout");
        shell.args(["60", "bash", "-c", command]).current_dir(self.world.path("music"));
        for (key, value) in sprat.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        let path = std::env::var("PATH").expect("PATH");
        shell.env("PATH", format!("{}:{path}", self.world.path("bin").display())).envs(vars.iter().copied());
        shell
    }

    /// Runs a command and returns what it printed. If it failed, returns the command and its
    /// errors.
    fn runs(&self, command: &str, vars: &[(&str, &str)], given: &str) -> Result<String, String> {
        let mut shell = self.shell(command, vars);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().expect("a shell");
        // A command that does not read its input has closed its end.
        child.stdin.take().expect("piped").write_all(given.as_bytes()).ok();
        let ran = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, errors) = (text(&ran.stdout), text(&ran.stderr));
        if ran.status.success() { Ok(printed) } else { Err(format!("{command}: {}: {printed}{errors}", ran.status)) }
    }

    fn succeeds(&self, command: &str) -> String {
        self.runs(command, &[], "").unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// Starts a command that does not end by itself. When this returns, the command has begun its
    /// work: it has written its ready file, or else something to its log.
    fn lasts(&self, command: &str, vars: &[(&str, &str)]) -> Lasting {
        let number = tempfile::Builder::new().tempdir_in(self.world.path("")).expect("a folder").keep();
        let (ready, log) = (number.join("ready"), number.join("log"));
        let ready_name = ready.display().to_string();
        let is_daemon = ["sprat super", "sprat peer"].iter().any(|daemon| command.contains(daemon));
        let ready_var = [("SPRAT_READY_FILE", ready_name.as_str())];
        let vars = [vars, if is_daemon { &ready_var[..] } else { &[] }].concat();
        let mut shell = self.shell(command.trim_end_matches(" &"), &vars);
        let output = File::create(&log).expect("a log");
        shell.stdin(Stdio::null()).stdout(output.try_clone().expect("a log")).stderr(output).process_group(0);
        let mut lasting = Lasting(shell.spawn().expect("a shell"));
        let sign = if command.contains("sprat demo") { "until Ctrl-C" } else { "\n" };
        eventually(command, || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let ended = lasting.0.try_wait().expect("wait");
            assert!(ended.is_none(), "{command}: {ended:?}: {said}");
            let begun = if is_daemon { ready.exists() } else { said.contains(sign) };
            begun.then_some(())
        });
        lasting
    }
}

/// Whether a command runs until it is ended.
fn is_lasting(command: &str) -> bool {
    let last = command.rsplit("&& ").next().unwrap_or_default();
    ["sprat super ", "sprat peer ", "sprat subscribe ", "sprat demo "]
        .iter()
        .any(|one| format!("{last} ").contains(one))
        && !command.contains("--help")
}

/// Queues a download for which there is no source, and returns its number.
fn queue(peer: &Daemon, root: u8) -> u64 {
    let mut socket = UnixStream::connect(peer.control()).expect("it serves");
    let root = format!("{root:02x}").repeat(32);
    writeln!(socket, "{}", json!({ "cmd": "queue", "what": root })).expect("it reads");
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    let line =
        lines.find_map(|line| serde_json::from_str::<Value>(&line).ok().filter(|line| line["state"] == "waiting"));
    line.expect("an answer")["id"].as_u64().expect("a number")
}

/// Two friends on two hosts type what the README says.
#[test]
fn a_friend_gets_a_file_by_the_commands_of_the_readme() {
    let (you, ann) = (World::new(), World::new());
    let at = format!("{}:{}", you.ip(), you.free_port());
    let (you, ann) = (Home::new(&you, &at, ""), Home::new(&ann, &at, ""));
    let content = noise(1, 3 << 20);
    you.put("blue train.flac", &content);
    let [_, yours, anns] = of_friends();
    let any = format!("{}:0", you.world.ip());
    let mut running = Vec::new();
    let mut invitation = String::new();
    for command in yours {
        let listen = if command.contains("sprat peer") { &any } else { &at };
        let vars = [("SPRAT_AT", at.as_str()), ("SPRAT_LISTEN", listen.as_str())];
        if is_lasting(&command) {
            running.push(you.lasts(&command, &vars));
        } else {
            assert!(invitation.is_empty(), "{invitation}");
            invitation = you.runs(&command, &vars, "").unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }
    for command in anns {
        // The file is found once it is hashed.
        eventually(&command, || ann.runs(&command, &[], &invitation).ok());
    }
    assert!(std::fs::read(ann.path("blue train.flac")).expect("the file") == content);
    for (name, command) in [("second", "sprat join invitation.txt"), ("third", "sprat join < invitation.txt")] {
        let text = you.succeeds(&format!("sprat user add {name} --at {at}"));
        std::fs::write(ann.path("invitation.txt"), text).expect("a file");
        ann.runs(command, &[("SPRAT_NAME", name)], "").unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    let subscribe = "sprat subscribe '*.deb' -o /srv/deb/ --user ann --exec /usr/local/bin/install-deb";
    let program = you.path("usr/local/bin/install-deb");
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("a folder");
    std::fs::write(&program, "#!/bin/sh\n").expect("a program");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is a program");
    drop(you.lasts(&you.meant(subscribe), &[]));
}

#[test]
fn every_command_of_the_readme_and_of_the_manual_pages_runs() {
    let world = World::new();
    let daemon = world.super_peer("super");
    let gateway = format!("{}:{}", world.ip(), world.free_port());
    let home = Home::new(&world, daemon.addr(), &gateway);
    let large = noise(2, 11 << 20);
    std::fs::create_dir_all(world.path("fetched")).expect("a folder");
    home.put("holiday/a.jpg", b"a");
    home.put("own.flac", b"own");
    std::fs::write(world.path("large.bin"), noise(3, 32 << 20)).expect("a file");
    world.share("share", "holiday/b.jpg", b"b");
    let songs = ["blue train.flac", "blue-train.flac", "song.flac"];
    songs.iter().for_each(|song| world.share("seed", song, &large));
    for holder in ["music", "seed", "third"] {
        world.share(holder, "image.iso", b"image");
    }
    let shares = ["--share".to_owned(), "music".to_owned(), "--share".to_owned(), "share=share".to_owned()];
    let listen = format!("{}:0", world.ip());
    let args = ["peer", "--listen", &listen, "--super", daemon.addr()].map(str::to_owned);
    let peer = world.daemon("peer", &[&args[..], &shares].concat(), Stdio::null());
    let _others = ["seed", "third"].map(|name| world.peer(name, &[&daemon]));
    world.hits(&daemon, "image.iso", 3);
    world.hits(&daemon, "flac", 4);
    world.hits(&daemon, "holiday", 2);

    // The commands for accounts need no network, and no state of a running node.
    let offline = World::new();
    let offline = Home::new(&offline, "192.0.2.1:4777", "");
    offline.succeeds("sprat user add me --at 192.0.2.1 && sprat user add ann --at 192.0.2.1");

    let all: Vec<Documented> = of_readme().into_iter().chain(of_manual(&offline)).collect();
    assert!(all.iter().filter(|one| one.section.is_none()).count() > 40, "{all:#?}");
    let friends = of_friends().concat();
    let by_friends = [
        "sprat join invitation.txt",
        "sprat join < invitation.txt",
        "sprat subscribe '*.deb' -o /srv/deb/ --user ann --exec /usr/local/bin/install-deb",
    ];
    for (command, file, part) in ELSEWHERE {
        assert!(file.contains(part) && all.iter().any(|one| one.command == command), "{command}");
    }
    let mut running = Vec::new();
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (n, Documented { section, command }) in all.iter().enumerate() {
        let is_elsewhere = ELSEWHERE.iter().any(|(elsewhere, ..)| elsewhere == command);
        let is_of_friends = by_friends.contains(&command.as_str());
        let is_in_their_block = *section == Some(FRIENDS) && friends.contains(command);
        if is_elsewhere || is_of_friends || is_in_their_block || !seen.insert(command.clone()) {
            continue;
        }
        let words: Vec<&str> = command.split(' ').collect();
        if ["user", "id", "operator"].contains(&words[1]) {
            wrong.extend(offline.runs(&offline.meant(command), &[("SPRAT_AT", "192.0.2.1")], "").err());
        } else if let ["sprat", task @ ("cancel" | "pause" | "resume"), "3" | "N"] = words[..] {
            let number = queue(&peer, u8::try_from(n).expect("few commands"));
            let before = if task == "resume" { format!("sprat pause {number} && ") } else { String::new() };
            let after = if task == "cancel" { String::new() } else { format!(" && sprat cancel {number}") };
            wrong.extend(home.runs(&format!("{before}sprat {task} {number}{after}"), &[], "").err());
        } else if is_lasting(command) {
            let (name, is_gateway) = (format!("daemon{n}"), command.contains("--http-gateway"));
            let listen = if is_gateway { &gateway } else { &listen };
            let vars = [("SPRAT_NAME", name.as_str()), ("SPRAT_LISTEN", listen), ("SPRAT_SUPER", daemon.addr())];
            let is_daemon = ["super", "peer"].contains(&words[1]);
            let lasting = home.lasts(&home.meant(command), if is_daemon { &vars } else { &[] });
            running.extend(is_gateway.then_some(lasting));
        } else {
            wrong.extend(home.runs(&home.meant(command), &[], "").err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for song in songs {
        assert!(std::fs::read(home.path(song)).expect("a download") == large, "{song}");
    }
}
