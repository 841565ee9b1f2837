//! A terminal in which `sprat` runs: a window of tmux. A test can type and paste into the window,
//! resize it and read it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{World, eventually};

/// Settings of the tmux server: the window is as high as the terminal, and stays when its program
/// has ended.
const SETTINGS: &str = "set -g status off\nset -g remain-on-exit on\n";

/// A window. Its server ends when the window is dropped.
pub(crate) struct Pane {
    folder: std::path::PathBuf,
}

impl Pane {
    /// Runs `sprat` in a window of this size. `None` without tmux, which CI must have.
    pub(crate) fn start(world: &World, name: &str, (columns, rows): (u16, u16), args: &[&str]) -> Option<Pane> {
        if !Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI needs tmux");
            writeln!(std::io::stderr(), "skipped: there is no tmux").ok();
            return None;
        }
        let pane = Pane { folder: world.folder(name) };
        std::fs::write(pane.folder.join("conf"), SETTINGS).expect("the settings are written");
        let sprat = world.sprat(args);
        let mut tmux = pane.tmux();
        tmux.args(["new-session", "-d", "-x", &columns.to_string(), "-y", &rows.to_string(), "-c"]);
        tmux.arg(world.path("")).args(["sh", "-c", "\"$@\"; echo $? > \"$0\""]);
        tmux.arg(pane.folder.join("code")).arg("env");
        for (key, _) in sprat.get_envs().filter(|(_, value)| value.is_none()) {
            tmux.arg("-u").arg(key);
        }
        tmux.args(["TERM=screen", "LC_ALL=C.UTF-8"]);
        for (key, value) in sprat.get_envs().filter_map(|(key, value)| Some((key, value?))) {
            tmux.arg(format!("{}={}", key.display(), value.display()));
        }
        tmux.arg(sprat.get_program()).args(sprat.get_args());
        assert!(tmux.status().expect("tmux runs").success());
        Some(pane)
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-L", "pane", "-f"]).arg(self.folder.join("conf"));
        tmux.env("TMUX_TMPDIR", &self.folder).env_remove("TMUX").stdin(Stdio::null());
        tmux
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.tmux().args(args).output().expect("tmux runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Types a line and Enter.
    pub(crate) fn enter(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.run(&["send-keys", "Enter"]);
    }

    /// Types this text.
    pub(crate) fn typed(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
    }

    /// Presses a key, by the name that tmux has for it.
    pub(crate) fn press(&self, key: &str) {
        self.run(&["send-keys", key]);
    }

    /// Pastes a text as a terminal does: in brackets, if the program has enabled bracketed paste.
    pub(crate) fn paste(&self, text: &str) {
        self.run(&["set-buffer", text]);
        self.run(&["paste-buffer", "-p"]);
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What the window shows, without empty lines at its end.
    pub(crate) fn text(&self) -> String {
        self.run(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// Everything that the window has shown, each line in one piece.
    pub(crate) fn history(&self) -> String {
        self.run(&["capture-pane", "-p", "-J", "-S", "-"])
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    /// How many lines have left the window at its top.
    pub(crate) fn scrolled(&self) -> usize {
        self.run(&["display-message", "-p", "#{history_size}"]).trim().parse().expect("a number")
    }

    /// The exit code of the program, once it has ended. A shell writes it, because tmux does not
    /// always notice the end.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        std::fs::read_to_string(self.folder.join("code")).ok()?.trim().parse().ok()
    }

    /// Whether a line is continued in the next row.
    pub(crate) fn is_wrapped(&self) -> bool {
        let rows = |text: &str| text.trim_end().lines().count();
        rows(&self.run(&["capture-pane", "-p", "-J"])) < rows(&self.run(&["capture-pane", "-p"]))
    }

    /// Waits until the window shows what `look` looks for. Returns what the window then shows.
    pub(crate) fn until(&self, what: &str, look: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let guard = Shown(std::cell::RefCell::new(String::new()), what.to_owned());
        eventually(what, || {
            last = self.text();
            guard.0.replace(last.clone());
            look(&last).then_some(())
        });
        guard.0.replace(String::new());
        last
    }
}

/// Prints what a window shows if the test fails while it waits.
struct Shown(std::cell::RefCell<String>, String);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = format!("---- window, waiting for: {} ----\n{}\n", self.1, self.0.borrow());
            std::io::stderr().write_all(text.as_bytes()).ok();
        }
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        self.tmux().arg("kill-server").stderr(Stdio::null()).status().ok();
    }
}
