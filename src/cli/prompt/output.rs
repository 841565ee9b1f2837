//! Where the console of the prompt prints.

use crate::cli::output;

/// Makes the lines that stay below all others. Its arguments are the columns and rows of the
/// window.
pub(super) type Bars = Box<dyn Fn(usize, usize) -> Vec<String> + Send>;

/// Where the console prints.
pub(super) trait Output: Send {
    /// Prints an answer.
    fn print(&mut self, text: &str);
    /// Prints progress, notes, errors and log lines.
    fn note(&mut self, text: &str);
    /// Shows these lines below all others. They replace the earlier ones. Returns false if the
    /// output cannot do this.
    fn show(&mut self, _bars: Bars) -> bool {
        false
    }
    /// From now on the user types a line.
    fn to_reader(&mut self) {}
    /// The user has typed a line.
    fn to_console(&mut self) {}
}

/// Standard output for answers, and standard error for everything else.
pub(super) struct Pipe;

impl Output for Pipe {
    fn print(&mut self, text: &str) {
        // If the reader has closed the pipe, the peer continues to serve.
        let _ = output::line(text);
    }

    fn note(&mut self, text: &str) {
        output::note(text);
    }
}
