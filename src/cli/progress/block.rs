//! Lines at the bottom of a terminal that are redrawn in place. It only makes the text that draws
//! them.

use std::fmt::Write as _;

use crate::cli::columns::{self, Window};

/// Clears this row and all rows below it, in two steps. If all rows were cleared at once, beginning
/// with the first one, tmux would add them to its scrollback.
const CLEAR: &str = "\x1b[K\n\x1b[J\x1b[A";

/// The lines that are drawn now. The cursor is in the first column of the row below them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    drawn: Vec<String>,
}

impl Block {
    /// The text that replaces the block: first `above`, which are complete lines that stay, then
    /// these lines.
    pub(crate) fn redrawn(&mut self, window: Window, above: &str, lines: Vec<String>) -> String {
        let mut text = if above.is_empty() { self.back(window) } else { self.erased(window) + above };
        for line in &lines {
            // The new lines are drawn over the old ones, so that they do not flicker.
            let _ = writeln!(text, "{line}\x1b[K");
        }
        if !self.drawn.is_empty() {
            text.push_str(if lines.is_empty() { CLEAR } else { "\x1b[J" });
        }
        self.drawn = lines;
        text
    }

    /// The text that removes the block, after which nothing is drawn.
    pub(crate) fn erased(&mut self, window: Window) -> String {
        let back = self.back(window);
        self.drawn.clear();
        if back.is_empty() { back } else { back + CLEAR }
    }

    /// The text that moves the cursor to the first row of the block.
    fn back(&self, window: Window) -> String {
        // If the window was made narrower after the lines were drawn, it has wrapped them.
        let rows: usize = self.drawn.iter().map(|line| columns::rows(line, window.columns)).sum();
        if rows > 0 { format!("\r\x1b[{rows}A") } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_drawn_over_the_last_one_even_if_the_window_became_narrower() {
        let window = |columns| Window { columns, rows: 24 };
        let mut block = Block::default();
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(block.redrawn(window(80), "", Vec::new()), "");
        assert_eq!(block.redrawn(window(80), "a\n", lines(&["12345678", "短"])), "a\n12345678\x1b[K\n短\x1b[K\n");
        assert_eq!(block.redrawn(window(80), "", lines(&["1"])), "\r\x1b[2A1\x1b[K\n\x1b[J");
        assert_eq!(
            block.redrawn(window(80), "b\n", lines(&["12345678", "短"])),
            format!("\r\x1b[1A{CLEAR}b\n12345678\x1b[K\n短\x1b[K\n")
        );
        assert_eq!(block.erased(window(4)), format!("\r\x1b[3A{CLEAR}"));
        assert_eq!(block.erased(window(4)), "");
        block.redrawn(window(80), "", lines(&["1"]));
        assert_eq!(block.redrawn(window(80), "", Vec::new()), format!("\r\x1b[1A{CLEAR}"));
    }
}
