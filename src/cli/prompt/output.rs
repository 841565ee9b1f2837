//! Where the console of the prompt prints.

use crate::cli::output;

/// Makes the lines that stay below all others, for a window of this number of columns and rows.
pub(super) type Bars = Box<dyn Fn(usize, usize) -> Vec<String> + Send>;

/// Where the console prints.
pub(super) trait Output: Send {
    /// Answers.
    fn print(&mut self, text: &str);
    /// Progress, notes, errors, log.
    fn note(&mut self, text: &str);
    /// Shows these lines below all others, in place of those before; false if it cannot.
    fn show(&mut self, _bars: Bars) -> bool {
        false
    }
    /// From now on a line is typed.
    fn to_reader(&mut self) {}
    /// A line was typed.
    fn to_console(&mut self) {}
}

/// Standard output for answers, standard error for the rest.
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
