//! The prompt of `sprat peer`. It reads lines (with rustyline on a terminal, plain lines from a
//! pipe) and answers them.
//!
//! It has two threads besides the loop. The line reader (`reader`) waits for the console before it
//! reads the next line. The console prints. They communicate over channels, and on a terminal they
//! share the `screen`, which has a thread that asks the line reader to draw. None of them uses a
//! socket.

mod bars;
mod choice;
mod console;
mod events;
pub(crate) mod grammar;
mod news;
mod output;
mod reader;
mod screen;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::logging;
use crate::node::Handle;
use console::Console;
pub(crate) use news::News;
use output::{Output, Pipe};
use reader::TerminalReader;
use screen::{Screen, Terminal};

/// A running prompt.
pub(crate) struct Prompt {
    news: Sender<News>,
    console: JoinHandle<()>,
    reader: JoinHandle<()>,
    /// The settings of the terminal at the start; none for a pipe.
    terminal: Option<Termios>,
}

impl Prompt {
    /// The sender for events.
    pub(crate) fn news(&self) -> Sender<News> {
        self.news.clone()
    }

    /// Whether the prompt handles Ctrl-C while no line is being typed.
    pub(crate) fn takes_interrupts(&self) -> bool {
        self.terminal.is_some()
    }

    /// The node has ended: prints the remaining answers, and restores the terminal.
    pub(crate) fn end(self) {
        logging::divert(None);
        let _ = self.news.send(News::End);
        let _ = self.console.join();
        if let Some(terminal) = self.terminal {
            // Moves the cursor out of the line that is being typed.
            if !self.reader.is_finished() {
                let _ = super::output::styled("\n");
            }
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &terminal);
        }
    }
}

/// Whether standard input is a terminal and this process is in its foreground. A background process
/// that reads from the terminal is stopped.
pub(crate) fn owns_terminal() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|foreground| foreground == getpgrp())
}

/// Starts both threads. The first line is read after the first session is up.
pub(crate) fn start(handle: Handle, history: PathBuf, quiet: bool) -> Prompt {
    let (news, taken) = mpsc::channel();
    let (replies, go_on) = mpsc::channel();
    let to_console = news.clone();
    let screen = Screen::new();
    let terminal = if io::stdin().is_terminal() { tcgetattr(io::stdin()).ok() } else { None };
    let found = terminal.and_then(|terminal| Some((terminal, TerminalReader::new(history, screen.clone())?)));
    let (output, reader, terminal): (Box<dyn Output>, _, _) = match found {
        Some((terminal, (reader, printer))) => {
            let log = news.clone();
            logging::divert(Some(Box::new(move |line| log.send(News::Log(line)).is_ok())));
            let mut output = Terminal::new(screen, printer);
            output.print("HELP lists the commands.");
            let before = terminal.clone();
            (Box::new(output), thread::spawn(move || reader.run(terminal, &to_console, &go_on)), Some(before))
        }
        None => (Box::new(Pipe), thread::spawn(move || reader::read_pipe(&to_console, &go_on)), None),
    };
    let console = thread::spawn(move || Console::new(Box::new(handle), output, replies, quiet).run(&taken));
    Prompt { news, console, reader, terminal }
}
