//! What strangers send does not command a terminal: every kind of output, on a terminal of its own.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use sprat::wire::Message;
use sprat::wire::message::{Error, ErrorCode};

use super::common::session::Speaker;
use super::common::source::{Answer, Source};
use super::common::{World, noise};

/// A title, a color of C1, an override of the direction, a line separator, an invisible tag.
const HOSTILE: &str = "tune\x1b]0;owned\x07\u{9b}31m\u{202e}gpj\u{2028}\u{e0041}\u{200b}\u{85}.txt";

/// Runs `sprat` on a terminal and types each line after its text has appeared; all that the
/// terminal received. `None` without python3, which CI must have.
fn on_terminal(world: &World, typed: &[(&str, &str)], args: &[&str]) -> Option<String> {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI needs python3");
        writeln!(std::io::stderr(), "skipped: there is no python3").ok();
        return None;
    }
    let sprat = world.sprat(args);
    let mut command = Command::new("python3");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/terminal.py"));
    for (text, line) in typed {
        command.args([text, line]);
    }
    command.arg("--").arg(sprat.get_program()).args(sprat.get_args()).current_dir(world.path(""));
    for (key, value) in sprat.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let output = command.env("TERM", "xterm").output().expect("python3 runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    Some(String::from_utf8(output.stdout).expect("a terminal receives UTF-8"))
}

/// The terminal received nothing of the hostile text as it was sent, but its visible form.
fn assert_shown(received: &str, expected: &str) {
    assert!(received.contains(expected), "{received:?} lacks {expected:?}");
    for part in ["\x1b]0;owned", "owned\x07", "\u{9b}", "\u{202e}", "\u{2028}", "\u{e0041}", "\u{200b}", "\u{85}"] {
        assert!(!received.contains(part), "{part:?} got through: {received:?}");
    }
}

#[test]
fn a_hostile_name_is_shown_in_visible_characters() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source = Source::start(world.ip(), daemon.addr(), HOSTILE, noise(61, 10), |_, _| Answer::Honest);
    let at = daemon.addr();
    let commands: [&[&str]; 5] = [
        &["query", "*tune*", "--super", at],
        &["query", "*tune*", "--json", "--super", at],
        &["list", "--super", at],
        &["list", "--network", "--json", "--super", at],
        &["get", "*tune*", "-vv", "--super", at],
    ];
    for args in commands {
        let Some(received) = on_terminal(&world, &[], args) else { return };
        let expected = match args {
            ["get", ..] => "tune",
            _ if args.contains(&"--json") => r"\u202egpj\u2028\udb40\udc41\u200b\u0085.txt",
            // A table cuts long names.
            _ => r"\u{202e}gpj\u{2028}\u{e0041",
        };
        assert_shown(&received, expected);
    }
}

#[test]
fn a_hostile_name_is_shown_in_visible_characters_at_the_prompt() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source = Source::start(world.ip(), daemon.addr(), HOSTILE, noise(62, 10), |_, _| Answer::Honest);
    let (share, listen) = (world.folder("p").display().to_string(), format!("{}:0", world.ip()));
    let args = ["peer", "--name", "p", "--share", &share, "--listen", &listen, "--super", daemon.addr()];
    let typed = [
        ("HELP lists", "QUERY *tune*"),
        ("1 result in", "LIST"),
        ("1 file", "GET tu\t"),
        ("no peer has", "GET 1"),
        ("got ", "EXIT"),
    ];
    let Some(received) = on_terminal(&world, &typed, &args) else { return };
    assert_shown(&received, r"\u{202e}gpj\u{2028}");
    assert!(received.contains("got "), "{received:?}");
}

#[test]
fn a_hostile_error_is_shown_in_visible_characters() {
    let world = World::new();
    let listener = TcpListener::bind((world.ip(), 0)).expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut speaker = Speaker::over(stream);
            speaker.receive();
            speaker.send(&Message::Error(Error::new(ErrorCode::LOGIN, HOSTILE, None)));
        }
    });
    for args in [&["list", "--super", &at][..], &["list", "-vv", "--super", &at], &["list", "--json", "--super", &at]] {
        let Some(received) = on_terminal(&world, &[], args) else { return };
        assert_shown(&received, "gpj");
    }
}
