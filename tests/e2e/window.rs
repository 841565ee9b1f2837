//! What people see: `get` and the prompt in windows of several widths, with names of wide
//! characters, a resize, a paste and Ctrl-C.

use rustix::process::Signal;

use super::common::pane::Pane;
use super::common::source::{Answer, Source};
use super::common::{World, eventually, noise};

/// Two columns for each of its first characters.
const NAME: &str = "短名前のとても長いファイルの名前 01.bin";
const PIECES: usize = 8;
const WIDTHS: [u16; 3] = [40, 80, 200];
const ROWS: u16 = 24;

/// A source that sends two pieces of eight and then nothing.
fn stalled(world: &World, at: &str) -> Source {
    let content = noise(7, PIECES << 20);
    Source::start(world.ip(), at, NAME, content, |n, _| if n < 2 { Answer::Honest } else { Answer::Silence })
}

/// The lines with the figures of a bar.
fn bars(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("25 %") && line.contains("eta")).collect()
}

fn has_bar(text: &str) -> bool {
    bars(text).len() == 1 && bars(text)[0].contains('>')
}

/// The last of them is one for this width, with as many figures as fit. There may be more: tmux
/// passes a new size on after 250 ms, and what is drawn within them in a window that became
/// narrower can leave rows of an earlier bar.
fn shows_bar(text: &str, width: u16) -> bool {
    let Some(bar) = bars(text).last().copied() else { return false };
    bar.contains('>')
        && bar.contains(']')
        && bar.contains("/s") == (width > 40)
        && bar.contains(" of 8.0 MiB") == (width > 80)
}

#[test]
fn the_bars_of_get_are_drawn_in_place_in_every_window() {
    for width in WIDTHS {
        let world = World::new();
        let daemon = world.super_peer("s");
        let _source = stalled(&world, daemon.addr());
        let args = ["get", NAME, "--super", daemon.addr()];
        let Some(pane) = Pane::start(&world, "get", (width, ROWS), &args) else { return };
        let text = pane.until("a bar and a lane", |text| has_bar(text) && text.contains(&world.ip().to_string()));
        assert!(text.lines().count() <= 3 && !pane.is_wrapped(), "{width}: {text}");
        assert_eq!(pane.scrolled(), 0);
        for other in WIDTHS {
            pane.resize(other, ROWS);
            pane.until("a bar in the new width", |text| shows_bar(text, other));
        }
        pane.press("C-c");
        // tmux makes room for a line of its own when the program has ended.
        let text = eventually("what an interrupted download leaves", || {
            Some(pane.history()).filter(|text| text.contains("interrupted; the same command resumes"))
        });
        assert!(bars(&pane.text()).is_empty() && text.contains("sprat: "), "{text}");
    }
}

#[test]
fn without_a_source_the_end_of_a_download_is_counted_down() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let mut peer = world.peer("p", &[&daemon]);
    std::fs::write(world.path("p").join(NAME), noise(8, 40 << 20)).expect("a file");
    eventually("it is found", || {
        let ran = world.run(["query", "--exact", NAME, "--json", "--super", daemon.addr()]);
        (ran.exit == Some(0)).then_some(())
    });
    // It is connected by the kernel, and never welcomes.
    peer.signal(Signal::STOP);
    let args = ["get", NAME, "--super", daemon.addr()];
    let Some(pane) = Pane::start(&world, "get", (80, ROWS), &args) else { return };
    pane.until("a bar", |text| text.contains("0 %") && text.contains("eta -:--"));
    peer.kill();
    pane.until("the countdown", |text| text.contains("no source left, giving up in "));
    assert!(!pane.is_wrapped());
}

#[test]
fn an_interrupted_get_says_that_the_running_peer_goes_on() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source = stalled(&world, daemon.addr());
    let _peer = world.peer("p", &[&daemon]);
    let Some(pane) = Pane::start(&world, "get", (80, ROWS), &["get", NAME, "--name", "p"]) else { return };
    pane.until("a bar", has_bar);
    pane.press("C-c");
    eventually("what goes on", || {
        let text = pane.history();
        text.contains("the peer continues the download: the same command follows it, `sprat cancel 1` ends it")
            .then_some(())
    });
}

#[test]
fn the_prompt_keeps_its_bars_and_its_line_in_every_window() {
    for width in WIDTHS {
        let world = World::new();
        let daemon = world.super_peer("s");
        let _source = stalled(&world, daemon.addr());
        let share = world.folder("downloads").display().to_string();
        let listen = format!("{}:0", world.ip());
        let args = [
            "peer",
            "--name",
            "p",
            "--log-level",
            "warn",
            "--downloads",
            &share,
            "--listen",
            &listen,
            "--super",
            daemon.addr(),
        ];
        let Some(pane) = Pane::start(&world, "prompt", (width, ROWS), &args) else { return };
        let is_ready = |text: &str| text.lines().last().is_some_and(|line| line.trim_end() == "sprat>");
        pane.until("the prompt", is_ready);
        pane.enter("QUERY 短名");
        pane.until("the result", |text| text.contains("1 result in") && is_ready(text));
        assert!(width == 40 || !pane.is_wrapped());
        pane.enter("GET 1");
        pane.until("a bar above the prompt", |text| has_bar(text) && is_ready(text));

        // What is typed stays while the bar is drawn again and again.
        pane.typed("STAT");
        let typed = |text: &str| has_bar(text) && text.lines().last() == Some("sprat> STAT");
        let before = pane.until("the line that is typed", typed);
        pane.typed("US");
        let after = pane.until("more of it", |text| has_bar(text) && text.lines().last() == Some("sprat> STATUS"));
        assert_eq!(after.lines().count(), before.lines().count(), "{before}\n----\n{after}");
        for other in WIDTHS.into_iter().chain([width]) {
            pane.resize(other, ROWS);
            pane.until("a bar in the new width and the line", |text| {
                shows_bar(text, other) && text.lines().last() == Some("sprat> STATUS")
            });
        }
        pane.press("C-c");
        pane.until("an empty line", |text| shows_bar(text, width) && is_ready(text) && !text.contains("STATUS"));

        // WAIT shows them too, and Ctrl-C ends it.
        pane.enter("WAIT");
        pane.until("the bar below WAIT", |text| {
            text.contains("sprat> WAIT") && shows_bar(text, width) && !is_ready(text)
        });
        pane.press("C-c");
        pane.until("the end of WAIT", |text| {
            text.contains("the downloads go on") && shows_bar(text, width) && is_ready(text)
        });

        pane.press("C-c");
        pane.until("the question", |text| text.lines().last().is_some_and(|line| line.starts_with("exit? [y/N]")));
        pane.enter("n");
        pane.until("the prompt", is_ready);
        pane.enter("EXIT");
        pane.until("the end", |text| text.contains("1 download not finished"));
    }
}

#[test]
fn pasted_lines_all_run_and_tab_completes() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source = stalled(&world, daemon.addr());
    let (share, listen) = (world.folder("downloads").display().to_string(), format!("{}:0", world.ip()));
    let args = ["peer", "--name", "p", "-q", "--downloads", &share, "--listen", &listen, "--super", daemon.addr()];
    let Some(pane) = Pane::start(&world, "prompt", (80, 100), &args) else { return };
    pane.until("the prompt", |text| text.ends_with("sprat>"));
    // More than one read of the terminal, so that nothing is lost between two lines.
    let lines: Vec<String> = (0..60).map(|n| format!("QUERY nothing-has-this-name-{n}")).collect();
    pane.paste(&format!("LIST\n{}\nDOWNLOADS\n", lines.join("\n")));
    let text = pane.until("the last answer", |text| text.contains("the queue is empty") && text.ends_with("sprat>"));
    assert!(text.contains("sprat> QUERY nothing-has-this-name-59"), "{text}");
    let all = pane.history();
    for n in 0..60 {
        let line = format!("sprat> QUERY nothing-has-this-name-{n}\n");
        assert_eq!(all.matches(&line).count(), 1, "{line}{all}");
    }
    assert_eq!(all.matches("nothing found").count(), 60, "{all}");
    assert!(all.contains("1 file\n"), "{all}");

    pane.enter("LIST");
    pane.until("the list", |text| text.ends_with("1 file\nsprat>"));
    pane.typed("G");
    pane.press("Tab");
    pane.until("a command", |text| text.ends_with("sprat> GET"));
    pane.typed("短");
    pane.press("Tab");
    pane.until("a name of the list", |text| text.ends_with(&format!("sprat> GET {NAME}")));
    pane.press("C-c");
    pane.until("an empty line", |text| text.ends_with("sprat>"));
    pane.press("Tab");
    pane.until("the commands", |text| text.contains("QUERY  GET  URI  DOWNLOADS") && text.ends_with("sprat>"));
}

#[test]
fn the_loss_of_the_super_peer_is_shown_and_a_search_answered_at_once() {
    let world = World::new();
    let mut daemon = world.super_peer("s");
    let (share, listen) = (world.folder("downloads").display().to_string(), format!("{}:0", world.ip()));
    let at = daemon.addr().to_owned();
    let args = ["peer", "--name", "p", "-q", "--downloads", &share, "--listen", &listen, "--super", &at];
    let Some(pane) = Pane::start(&world, "prompt", (80, ROWS), &args) else { return };
    pane.until("the prompt", |text| text.ends_with("sprat>"));
    daemon.kill();
    pane.until("the loss", |text| text.contains(&format!("no super peer: lost {at}")) && text.ends_with("sprat>"));
    pane.enter("QUERY x");
    pane.until("an answer", |text| text.contains("error: no super peer is connected") && text.ends_with("sprat>"));
    assert_eq!(pane.text().matches("no super peer: lost").count(), 1);
}

#[test]
fn a_status_is_drawn_again_in_its_place_until_q_is_pressed() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    let args = ["status", "--watch", "--control", peer.control()];
    let Some(pane) = Pane::start(&world, "w", (40, 12), &args) else { return };
    pane.until("the status is there", |text| text.contains("peer \"p\"") && text.contains("0 files"));
    world.share("p", "a.txt", b"12345");
    let text = pane.until("the new file is shown", |text| text.contains("1 file"));
    assert_eq!((text.matches("peer \"p\"").count(), pane.scrolled()), (1, 0), "{text}");
    assert!(!pane.is_wrapped());
    pane.typed("q");
    assert_eq!(eventually("it has ended", || pane.exit_code()), 0);
}
