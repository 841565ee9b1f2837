//! The help of every command shows each option with its default, and the default is the constant.

use std::process::Command;

use sprat::config;

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sprat")).args(args).env_clear().output().expect("the binary runs");
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).expect("help is UTF-8");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{args:?}: too wide: {line}");
    }
    text
}

/// The options of a help text, each with its complete description on one line.
fn options(help: &str) -> Vec<(String, String)> {
    let (_, section) = help.split_once("\nOptions:\n").expect("there are options");
    let section = section.split("\n\n").next().unwrap_or_default();
    let mut options: Vec<(String, String)> = Vec::new();
    for line in section.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flag = words.iter().position(|word| word.starts_with("--")).filter(|_| line.starts_with("  -"));
        match flag {
            Some(at) => options.push((words[at].to_owned(), words[at + 1..].join(" "))),
            None => {
                let (_, text) = options.last_mut().expect("a description follows its option");
                text.push(' ');
                text.push_str(&words.join(" "));
            }
        }
    }
    options
}

const COMMANDS: [&str; 29] = [
    "demo",
    "bench",
    "sim",
    "super",
    "peer",
    "query",
    "get",
    "uri",
    "downloads",
    "cancel",
    "pause",
    "resume",
    "limit",
    "list",
    "status",
    "events",
    "wait",
    "subscribe",
    "map",
    "hash",
    "verify",
    "id",
    "join",
    "user",
    "operator",
    "config",
    "reload",
    "completions",
    "man",
];

/// The help texts of all commands are equal to `help.txt`. `SPRAT_WRITE_HELP=1` writes that file;
/// read the difference before you commit it.
#[test]
fn help_texts_are_the_golden_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    let section = |command: &str| match command {
        "" => format!("$ sprat --help\n{}\n", help(&["--help"])),
        command => format!("$ sprat {command} --help\n{}\n", help(&[command, "--help"])),
    };
    let text: String = std::iter::once("").chain(COMMANDS).map(section).collect();
    if std::env::var_os("SPRAT_WRITE_HELP").is_some() {
        std::fs::write(path, &text).expect("the file is written");
    }
    let golden = std::fs::read_to_string(path).expect("the file is there");
    for (line, (now, then)) in (1..).zip(text.lines().zip(golden.lines())) {
        assert_eq!(now, then, "tests/cli/help.txt:{line}");
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "lines of tests/cli/help.txt");
}

#[test]
fn every_option_names_its_default() {
    let mut seen = 0;
    for command in COMMANDS {
        for (flag, text) in options(&help(&[command, "--help"])) {
            let stated = text.contains("[default: ") || text.contains("[required]");
            assert!(stated || flag == "--help", "{command} {flag}: {text}");
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} options were seen");
}

fn assert_default(command: &str, flag: &str, default: &str) {
    let options = options(&help(&[command, "--help"]));
    let (_, text) = options.iter().find(|(name, _)| name == flag).unwrap_or_else(|| panic!("{command} has no {flag}"));
    let (_, stated) = text.split_once("[default: ").unwrap_or_else(|| panic!("{command} {flag}: {text}"));
    assert!(stated.ends_with(&format!("{default}]")), "{command} {flag} says {stated:?}, and it is {default:?}");
}

#[test]
fn defaults_are_the_constants() {
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    assert_default("super", "--listen", &format!("[::]:{}", config::SUPER_PORT));
    assert_default("peer", "--listen", &format!("[::]:{}", config::CHUNK_PORT));
    assert_default("super", "--ttl", &config::TTL_DEFAULT.to_string());
    assert_default("super", "--budget", &seconds(config::QUERY_BUDGET));
    assert_default("super", "--ping", &seconds(config::PING_INTERVAL));
    for command in ["peer", "query", "get", "uri", "list", "status"] {
        assert_default(command, "--connect-timeout", &seconds(config::CONNECT_TIMEOUT));
        assert_default(command, "--name", "peer");
    }
    for command in ["query", "get"] {
        assert_default(command, "--ttl", &format!("own setting, {}", config::TTL_DEFAULT));
        assert_default(command, "--budget", &format!("own setting, {}", seconds(config::QUERY_BUDGET)));
    }
    assert_default("peer", "--parallel", &config::PARALLEL.to_string());
    assert_default("peer", "--rescan", &format!("{}m", config::SHARE_RESCAN.as_secs() / 60));
    for command in ["downloads", "cancel", "pause", "resume", "limit"] {
        assert_default(command, "--name", "peer");
    }
    assert_default("query", "--limit", &config::QUERY_HITS_MAX.to_string());
    assert_default("super", "--name", "super");
}

#[test]
fn bounds_in_the_help_are_the_constants() {
    for command in ["super", "query", "get"] {
        let text = help(&[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("at most {}s", config::QUERY_BUDGET_MAX.as_secs())), "{command}");
    }
    assert!(help(&["super", "--help"]).contains(&format!("at most {}", config::TTL_MAX)));
    assert!(help(&["peer", "--help"]).contains(&format!("1 to {}", config::DOWNLOADS_MAX)));
}

#[test]
fn the_top_level_lists_commands_and_exit_codes() {
    let text = help(&["--help"]);
    for command in COMMANDS {
        assert!(text.contains(&format!("\n  {command} ")), "{command}");
    }
    for code in 0..=10 {
        assert!(text.contains(&format!("\n  {code} ")), "exit {code}");
    }
    assert_eq!(help(&["help"]), text);
    assert_eq!(help(&["-h"]), text);
    assert_eq!(help(&["help", "query"]), help(&["query", "-h"]));
}

#[test]
fn the_version_is_the_crates() {
    let version = format!("sprat {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(help(&["--version"]), version);
    assert_eq!(help(&["-V"]), version);
}
