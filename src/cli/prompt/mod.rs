//! The prompt of `sprat peer`: reads lines (rustyline on a terminal, plain lines from a pipe) and
//! hands them to the console.
//!
//! Two threads beside the loop: the line reader, which waits for the console before it reads the
//! next line, and the console, which prints. They share nothing and speak by channels; neither
//! touches a socket.

mod choice;
mod console;
pub(crate) mod grammar;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, ExternalPrinter, Helper};

use super::{logging, output, paths};
use crate::node::Handle;
use crate::wire::name::is_invisible;
pub(crate) use console::News;
use console::{Console, Output, Reply};
use grammar::Line;

/// Lines of history that are kept.
const HISTORY_LINES_MAX: usize = 1000;
/// Printed before each line.
const PROMPT: &str = "sprat> ";

/// A running prompt.
pub(crate) struct Prompt {
    news: Sender<News>,
    console: JoinHandle<()>,
    reader: JoinHandle<()>,
    /// The settings of the terminal at the start: a reader that still waits for a key has set raw
    /// mode.
    terminal: Option<Termios>,
}

impl Prompt {
    /// The sender for events.
    pub(crate) fn news(&self) -> Sender<News> {
        self.news.clone()
    }

    /// The node has ended: prints what is left and restores the terminal.
    pub(crate) fn end(self) {
        logging::divert(None);
        let _ = self.news.send(News::End);
        let _ = self.console.join();
        if let Some(terminal) = self.terminal.filter(|_| !self.reader.is_finished()) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &terminal);
            // Out of the line that was being typed, and out of bracketed paste.
            let _ = io::stdout().write_all(b"\x1b[?2004l\n");
        }
    }
}

/// Whether standard input is a terminal and we are in its foreground: a background job that reads
/// it is stopped.
pub(crate) fn owns_terminal() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|foreground| foreground == getpgrp())
}

/// Starts both threads. The first line is read after the first welcome.
pub(crate) fn start(handle: Handle, history: PathBuf, quiet: bool) -> Prompt {
    let (news, taken) = mpsc::channel();
    let (replies, go_on) = mpsc::channel();
    let terminal = if io::stdin().is_terminal() { tcgetattr(io::stdin()).ok() } else { None };
    let editor = if terminal.is_some() { editor(history) } else { None };
    let to_console = news.clone();
    let mut output: Box<dyn Output> = Box::new(Pipe);
    let reader = match editor {
        Some((editor, printer, history)) => {
            output = Box::new(Screen(printer));
            output.print("HELP lists the commands.");
            let log = news.clone();
            logging::divert(Some(Box::new(move |line| log.send(News::Log(line)).is_ok())));
            thread::spawn(move || read_terminal(editor, history.as_deref(), &to_console, &go_on))
        }
        None => thread::spawn(move || read_pipe(&to_console, &go_on)),
    };
    let console = thread::spawn(move || Console::new(Box::new(handle), output, replies, quiet).run(&taken));
    Prompt { news, console, reader, terminal }
}

type LineEditor = Editor<Words, FileHistory>;

/// The editor, its printer, and the file of the history if that is to be saved.
fn editor(history: PathBuf) -> Option<(LineEditor, Box<dyn ExternalPrinter + Send>, Option<PathBuf>)> {
    let config = Config::builder().max_history_size(HISTORY_LINES_MAX).ok()?.auto_add_history(true).build();
    let mut editor = LineEditor::with_config(config).ok()?;
    editor.set_helper(Some(Words::default()));
    let _ = fs::remove_file(paths::beside(&history));
    let history = load(&mut editor, &history).then_some(history);
    let printer = editor.create_external_printer().ok()?;
    Some((editor, Box::new(printer), history))
}

fn read_terminal(mut editor: LineEditor, history: Option<&Path>, console: &Sender<News>, go_on: &Receiver<Reply>) {
    while let Ok(reply) = go_on.recv() {
        if reply.exit {
            return;
        }
        if let Some(words) = editor.helper_mut() {
            words.names = reply.names;
        }
        let line = match editor.readline(PROMPT) {
            Ok(line) => grammar::parse(&line),
            // Ctrl-C does at the prompt what it does to every daemon; Ctrl-D ends the input.
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(Line::Exit),
            Err(error) => {
                let _ = console.send(News::Log(format!("the prompt ended: {error}")));
                return;
            }
        };
        // After each line, because a signal may end the process at the next.
        if let Some(history) = history {
            save(&mut editor, history);
        }
        if console.send(News::Line(line)).is_err() {
            return;
        }
    }
}

/// Reads the history. False if there is one and it cannot be read: then saving would lose it.
fn load(editor: &mut LineEditor, history: &Path) -> bool {
    loop {
        match editor.load_history(history) {
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(ReadlineError::Io(error)) => return error.kind() == io::ErrorKind::NotFound,
            Ok(()) | Err(_) => return true,
        }
    }
}

/// Writes the history. rustyline writes it in place, and creates it private; a moment of death or a
/// full disk must not cost the lines of earlier days.
fn save(editor: &mut LineEditor, history: &Path) {
    let new = paths::beside(history);
    // Without a new line nothing is written, and then there is nothing to move.
    if editor.save_history(&new).is_ok() {
        let _ = paths::move_over(&new, history);
    } else {
        let _ = fs::remove_file(&new);
    }
}

fn read_pipe(console: &Sender<News>, go_on: &Receiver<Reply>) {
    let mut lines = io::stdin().lock().lines();
    while let Ok(reply) = go_on.recv() {
        if reply.exit {
            return;
        }
        let line = match lines.next() {
            Some(Ok(line)) => grammar::parse(&line),
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err("the line is not UTF-8".to_owned()),
            Some(Err(_)) | None => Ok(Line::Exit),
        };
        if console.send(News::Line(line)).is_err() {
            return;
        }
    }
}

/// Standard output for answers, standard error for the rest.
struct Pipe;

impl Output for Pipe {
    fn print(&mut self, text: &str) {
        // If the reader has closed the pipe, the peer continues to serve.
        let _ = output::line(text);
    }

    fn note(&mut self, text: &str) {
        output::note(text);
    }
}

/// The terminal, above the line that is being typed.
struct Screen(Box<dyn ExternalPrinter + Send>);

impl Output for Screen {
    fn print(&mut self, text: &str) {
        let _ = self.0.print(format!("{}\n", output::visible(text)));
    }

    fn note(&mut self, text: &str) {
        self.print(text);
    }
}

/// Completes commands, and after GET the names of the last result.
#[derive(Default)]
struct Words {
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Words {
    fn candidates(&self, typed: &str) -> (usize, Vec<String>) {
        let Some((command, rest)) = typed.split_once(char::is_whitespace) else {
            let upper = typed.to_ascii_uppercase();
            let fitting = grammar::COMMANDS.iter().filter(|command| command.starts_with(&upper));
            return (0, fitting.map(|command| format!("{command} ")).collect());
        };
        if !command.eq_ignore_ascii_case("get") && !command.eq_ignore_ascii_case("query") {
            return (typed.len(), Vec::new());
        }
        let rest = rest.trim_start();
        let lower = rest.to_lowercase();
        let fits = |name: &&String| name.to_lowercase().starts_with(&lower) && !name.contains(is_invisible);
        (typed.len() - rest.len(), self.names.iter().filter(fits).cloned().collect())
    }
}

impl Helper for Words {}
impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_names_are_completed() {
        let words = Words { names: vec!["Blue Train.flac".into(), "green.flac".into()] };
        assert_eq!(words.candidates("q"), (0, vec!["QUERY ".to_owned()]));
        assert_eq!(words.candidates("GET blue t"), (4, vec!["Blue Train.flac".to_owned()]));
        assert_eq!(words.candidates("list x").1, Vec::<String>::new());
    }
}
