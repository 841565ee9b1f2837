//! Reads the lines: with rustyline on a terminal, unchanged from a pipe. It reads the next line
//! when the console asks for it. It parses nothing.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, Config, Editor, ExternalPrinter};

use super::news::{News, Reply};
use super::screen::Screen;
use super::words::Words;
use crate::cli::paths;

/// How many lines of history are kept.
const HISTORY_LINES_MAX: usize = 1000;

/// Reads lines from a terminal.
pub(super) struct TerminalReader {
    editor: Editor<Words, FileHistory>,
    screen: Screen,
    /// The file of the history; none if it must not be saved.
    history: Option<PathBuf>,
}

impl TerminalReader {
    /// The reader, and a printer that makes it draw. `None` if the terminal does not support this.
    pub(super) fn new(history: PathBuf, screen: Screen) -> Option<(TerminalReader, Box<dyn ExternalPrinter + Send>)> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .ok()?
            .auto_add_history(false)
            // A pasted line is run like a typed one.
            .bracketed_paste(false)
            // The screen is drawn in the hook that rustyline calls for colors.
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor = Editor::<Words, FileHistory>::with_config(config).ok()?;
        editor.set_helper(Some(Words { names: Arc::default(), screen: screen.clone() }));
        let _ = fs::remove_file(paths::beside(&history));
        let history = load(&mut editor, &history).then_some(history);
        let printer = editor.create_external_printer().ok()?;
        Some((TerminalReader { editor, screen, history }, Box::new(printer)))
    }

    /// Reads lines until the console says that there is no next one. `terminal` has the settings of
    /// the terminal at the start.
    pub(super) fn run(mut self, terminal: Termios, console: &Sender<News>, go_on: &Receiver<Reply>) {
        // Keys that are pressed between two lines are read with the next line. They are not echoed
        // here, so that they are not shown twice.
        let mut between = terminal;
        between.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &between);
        while let Ok(reply) = go_on.recv() {
            if reply.exit {
                return;
            }
            if let Some(words) = self.editor.helper_mut() {
                words.names = reply.names;
            }
            let news = match self.editor.readline(reply.prompt) {
                Ok(line) => {
                    if reply.is_command {
                        self.remember(&line);
                    }
                    News::Line(Ok(line))
                }
                Err(ReadlineError::Interrupted) => News::Dropped { was_empty: self.screen.line_dropped() },
                Err(ReadlineError::Eof) => News::Closed,
                Err(error) => {
                    let _ = console.send(News::Log(format!("the prompt ended: {error}")));
                    return;
                }
            };
            if console.send(news).is_err() {
                return;
            }
        }
    }

    /// Adds the line to the history and saves the history, because a signal may end the process at
    /// the next line.
    fn remember(&mut self, line: &str) {
        let _ = self.editor.add_history_entry(line);
        if let Some(history) = &self.history {
            save(&mut self.editor, history);
        }
    }
}

/// Reads the history. Returns false if the file exists and cannot be read: then saving would lose
/// it.
fn load(editor: &mut Editor<Words, FileHistory>, history: &Path) -> bool {
    loop {
        match editor.load_history(history) {
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(ReadlineError::Io(error)) => return error.kind() == io::ErrorKind::NotFound,
            Ok(()) | Err(_) => return true,
        }
    }
}

/// Writes the history. rustyline writes the file in place, and creates it with private permissions.
/// So a copy is written here and then renamed. Otherwise a kill or a full disk could lose the lines
/// of earlier days.
fn save(editor: &mut Editor<Words, FileHistory>, history: &Path) {
    let new = paths::beside(history);
    // Without a new line, rustyline writes nothing, and there is nothing to rename.
    if editor.save_history(&new).is_ok() {
        let _ = paths::move_over(&new, history);
    } else {
        let _ = fs::remove_file(&new);
    }
}

/// Reads lines from a pipe until the console ends it.
pub(super) fn read_pipe(console: &Sender<News>, go_on: &Receiver<Reply>) {
    let mut lines = io::stdin().lock().lines();
    while let Ok(reply) = go_on.recv() {
        if reply.exit {
            return;
        }
        let news = match lines.next() {
            Some(Ok(line)) => News::Line(Ok(line)),
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                News::Line(Err("the line is not UTF-8".to_owned()))
            }
            Some(Err(_)) | None => News::Closed,
        };
        if console.send(news).is_err() {
            return;
        }
    }
}
