//! What the prompt shows on a terminal: lines that stay, below them the bars of the downloads, and
//! below these the line that is being typed.
//!
//! Two threads draw. While the user types a line, only the line reader draws. rustyline calls
//! [`Screen::above_prompt`] each time before it draws the line, and writes the returned text before
//! the prompt. Between two lines, only the console draws. So the bars are always in their place.

use std::io::{self, Write};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustyline::ExternalPrinter;

use super::output::{Bars, Output};
use crate::cli::columns::{self, Window};
use crate::cli::output;
use crate::cli::progress::Block;

/// Makes the line reader draw the line again, and has no effect on the screen itself. rustyline
/// adds a line end to a text that has none.
const DRAW_AGAIN: &str = "\x1b[A\n";
/// Rows that the bars leave free, for the line that is being typed and the last lines above it.
const ROWS_LEFT: usize = 6;

/// Which thread may draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Console,
    /// The user is typing a line.
    Reader,
    /// The line is complete. It stays as it was typed, without bars above it.
    Ended,
}

struct State {
    turn: Turn,
    block: Block,
    bars: Bars,
    /// Lines that will stay and are not drawn yet.
    above: String,
    /// Whether the line reader was asked to draw and has not drawn since.
    is_asked: bool,
    /// The prompt and the line as they were last drawn.
    prompt: String,
    line: String,
}

/// The terminal of a prompt. All clones stand for the same terminal.
#[derive(Clone)]
pub(super) struct Screen {
    state: Arc<Mutex<State>>,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let state = State {
            turn: Turn::Console,
            block: Block::default(),
            bars: Box::new(|_, _| Vec::new()),
            above: String::new(),
            is_asked: false,
            prompt: String::new(),
            line: String::new(),
        };
        Screen { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- the line reader ------------------------------------------------------------------------

    /// The text before the prompt, which will be drawn in the row of the cursor.
    pub(super) fn above_prompt(&self, prompt: &str) -> String {
        let mut state = self.state();
        state.is_asked = false;
        prompt.clone_into(&mut state.prompt);
        state.drawn()
    }

    /// The line after the prompt that will be drawn.
    pub(super) fn typed(&self, line: &str) {
        line.clone_into(&mut self.state().line);
    }

    /// The line is complete: the next drawing is its last one.
    pub(super) fn line_ended(&self) {
        self.state().turn = Turn::Ended;
    }

    /// The line was canceled, and the cursor is in the row below it. Removes the line and the bars
    /// above it. Returns whether the line was empty.
    pub(super) fn line_dropped(&self) -> bool {
        let mut state = self.state();
        let was_empty = state.line.is_empty();
        if let (Some(window), Turn::Reader) = (Window::of(io::stdout()), state.turn) {
            // The cursor used one column behind the last character.
            let typed = format!("{}{} ", state.prompt, state.line);
            let rows = columns::rows(&typed, window.columns);
            let text = format!("\x1b[{rows}A\x1b[J{}", state.block.erased(window));
            write(&text);
        }
        was_empty
    }

    /// Prints lines above the line that is being typed, at the next drawing.
    pub(super) fn add(&self, lines: &str) {
        self.state().add(lines);
    }

    // ---- the console ----------------------------------------------------------------------------

    /// From now on the user types a line.
    pub(super) fn to_reader(&self) {
        self.state().turn = Turn::Reader;
    }

    /// The user has typed a line. From now on the console draws.
    pub(super) fn to_console(&self) {
        let mut state = self.state();
        state.turn = Turn::Console;
        let text = state.drawn();
        write(&text);
    }
}

impl State {
    fn add(&mut self, lines: &str) {
        self.above.push_str(&output::visible(lines));
        self.above.push('\n');
    }

    /// The text that draws the lines that are not drawn yet.
    fn drawn(&mut self) -> String {
        let above = std::mem::take(&mut self.above);
        let Some(window) = Window::of(io::stdout()) else { return above };
        let lines = match self.turn {
            Turn::Ended => Vec::new(),
            Turn::Console | Turn::Reader => {
                (self.bars)(window.columns.saturating_sub(1), window.rows.saturating_sub(ROWS_LEFT))
            }
        };
        self.block.redrawn(window, &above, lines)
    }
}

/// The terminal as the console's output.
pub(super) struct Terminal {
    screen: Screen,
    /// Asks the line reader to draw.
    asks: SyncSender<()>,
}

impl Terminal {
    /// The printer has a thread of its own, because it can block: rustyline holds one text, and
    /// takes it only while a line is being read. The console would wait for the line reader, which
    /// waits for the console once the line is complete.
    pub(super) fn new(screen: Screen, mut printer: Box<dyn ExternalPrinter + Send>) -> Terminal {
        let (asks, asked) = mpsc::sync_channel(1);
        thread::spawn(move || {
            while asked.recv().is_ok() {
                let _ = printer.print(DRAW_AGAIN.to_owned());
            }
        });
        Terminal { screen, asks }
    }

    /// Draws, or asks the line reader to draw.
    fn draw(&mut self) {
        let mut state = self.screen.state();
        match state.turn {
            Turn::Console => {
                let text = state.drawn();
                write(&text);
            }
            Turn::Reader | Turn::Ended if state.is_asked => {}
            Turn::Reader | Turn::Ended => {
                state.is_asked = true;
                // If an earlier request waits, it does for this one too.
                let _ = self.asks.try_send(());
            }
        }
    }
}

impl Output for Terminal {
    fn print(&mut self, text: &str) {
        self.screen.add(text);
        self.draw();
    }

    fn note(&mut self, text: &str) {
        self.print(text);
    }

    fn show(&mut self, bars: Bars) -> bool {
        self.screen.state().bars = bars;
        self.draw();
        true
    }

    fn to_reader(&mut self) {
        self.screen.to_reader();
    }

    fn to_console(&mut self) {
        self.screen.to_console();
    }
}

/// If the terminal is closed, nobody reads this.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender};
    use std::time::Duration;

    use super::*;

    /// As the printer of rustyline when no line is being read: it blocks.
    struct Blocked {
        begun: Sender<()>,
        goes_on: Receiver<()>,
    }

    impl ExternalPrinter for Blocked {
        fn print(&mut self, _: String) -> rustyline::Result<()> {
            let _ = self.begun.send(());
            let _ = self.goes_on.recv();
            Ok(())
        }
    }

    #[test]
    fn the_console_does_not_wait_for_the_line_reader() {
        let (begun, has_begun) = mpsc::channel();
        let (_open, goes_on) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let screen = Screen::new();
        let mut terminal = Terminal::new(screen.clone(), Box::new(Blocked { begun, goes_on }));
        thread::spawn(move || {
            terminal.to_reader();
            for _ in 0..3 {
                terminal.print("a line");
                // A key was pressed, so the line reader draws, and may be asked again.
                screen.above_prompt("sprat> ");
            }
            let _ = done.send(());
        });
        let guard = Duration::from_secs(20);
        has_begun.recv_timeout(guard).expect("the line reader is asked to draw");
        is_done.recv_timeout(guard).expect("the console goes on while the printer blocks");
    }
}
