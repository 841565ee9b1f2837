//! Lines at the bottom of a terminal that are drawn again in place. It makes the text that does
//! that; it writes nothing.

use std::fmt::Write as _;

use crate::cli::columns::{self, Window};

/// What is drawn now. The cursor is in the first column of the row below.
#[derive(Debug, Default)]
pub(crate) struct Block {
    drawn: Vec<String>,
}

impl Block {
    /// The text that replaces the block: first `above`, complete lines that stay, then these lines.
    pub(crate) fn redrawn(&mut self, window: Window, above: &str, lines: Vec<String>) -> String {
        if above.is_empty() && lines.is_empty() && self.drawn.is_empty() {
            return String::new();
        }
        let mut text = self.erased(window);
        text.push_str(above);
        for line in &lines {
            let _ = writeln!(text, "{line}");
        }
        self.drawn = lines;
        text
    }

    /// The text that removes the block, after which nothing is drawn.
    pub(crate) fn erased(&mut self, window: Window) -> String {
        // A window that was made narrower since has wrapped the lines.
        let rows: usize = self.drawn.drain(..).map(|line| columns::rows(&line, window.columns)).sum();
        if rows > 0 { format!("\r\x1b[{rows}A\x1b[J") } else { String::new() }
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
        assert_eq!(block.redrawn(window(80), "a\n", lines(&["12345678", "短"])), "a\n12345678\n短\n");
        assert_eq!(block.redrawn(window(80), "b\n", lines(&["1"])), "\r\x1b[2A\x1b[Jb\n1\n");
        assert_eq!(block.redrawn(window(80), "", lines(&["12345678", "短"])), "\r\x1b[1A\x1b[J12345678\n短\n");
        assert_eq!(block.erased(window(4)), "\r\x1b[3A\x1b[J");
        assert_eq!(block.erased(window(4)), "");
    }
}
