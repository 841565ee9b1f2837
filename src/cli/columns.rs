//! The widths of texts on a terminal, in columns. It measures, cuts and pads a text, and finds the
//! size of the window. It prints nothing.
//!
//! The width of a character is that of UAX #11 and of the usual terminals: two columns for wide
//! characters, none for characters that combine with the one before. Where terminals differ, the
//! larger width is used, so that a line is never wider than its measured width.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar;

/// What replaces the part of a text that is cut.
const CUT: char = '…';

/// The window of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Window {
    /// The present window of this terminal; `None` if it is not a terminal. If a terminal does not
    /// know its size, the usual size is assumed.
    pub(crate) fn of(terminal: impl AsFd) -> Option<Window> {
        let size = tcgetwinsize(terminal).ok()?;
        let or = |size: u16, usual: usize| if size == 0 { usual } else { usize::from(size) };
        Some(Window { columns: or(size.ws_col, 80), rows: or(size.ws_row, 24) })
    }
}

fn of_char(c: char) -> usize {
    match c {
        // This character requests the wide form of the one before it. Not all terminals show that
        // form.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// The columns of a text in one line.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

/// The rows of a line that begins in the first column and is wrapped at the end of each row. A wide
/// character that does not fit goes to the next row.
pub(crate) fn rows(text: &str, window: usize) -> usize {
    let (mut rows, mut column) = (1, 0);
    for width in text.chars().map(of_char) {
        column += width;
        if column > window {
            (rows, column) = (rows + 1, width);
        }
    }
    rows
}

/// The text, or its beginning in at most this number of columns.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    if most == 0 {
        return String::new();
    }
    let mut kept = beginning(text, most - 1).to_owned();
    kept.push(CUT);
    kept
}

/// The text, or its end in at most this number of columns.
pub(crate) fn cut_front(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    if most == 0 { String::new() } else { format!("{CUT}{}", end(text, most - 1)) }
}

/// The text, or its beginning and its end in at most this number of columns. The end is kept
/// because the names of a series differ at their ends.
pub(crate) fn cut_middle(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let end_columns = most.saturating_sub(1) / 3;
    let end = end(text, end_columns);
    format!("{}{end}", cut(text, most - columns(end).min(most)))
}

fn beginning(text: &str, most: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += of_char(*c);
        used > most
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn end(text: &str, most: usize) -> &str {
    let mut used = 0;
    let fits = text.char_indices().rev().take_while(|(_, c)| {
        used += of_char(*c);
        used <= most
    });
    // The end that is kept must not begin with a combining character, which would combine with the
    // character before it.
    fits.filter(|(_, c)| of_char(*c) > 0).last().map_or("", |(at, _)| &text[at..])
}

/// The text, with spaces after it up to this number of columns.
pub(crate) fn padded(text: &str, least: usize) -> String {
    format!("{text}{}", " ".repeat(least.saturating_sub(columns(text))))
}

/// The text, with spaces before it up to this number of columns.
pub(crate) fn padded_front(text: &str, least: usize) -> String {
    format!("{}{text}", " ".repeat(least.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_character_has_two_columns_and_a_combining_one_none() {
        for (text, width) in [("abc", 3), ("短名.bin", 8), ("e\u{301}", 1), ("ﾊﾝ", 2), ("🐟", 2), ("각", 2), ("", 0)]
        {
            assert_eq!(columns(text), width, "{text}");
        }
        assert_eq!(columns("❤\u{fe0f}"), 2);
    }

    #[test]
    fn a_cut_text_never_takes_more_columns() {
        for text in [
            "short",
            "a name that is long.flac",
            "とても長い名前のファイル.flac",
            "e\u{301}e\u{301}e\u{301}e\u{301}.x",
            "🐟🐟🐟a",
        ] {
            for most in 0..30 {
                for cut in [cut(text, most), cut_front(text, most), cut_middle(text, most)] {
                    assert!(columns(&cut) <= most, "{text:?} in {most}: {cut:?}");
                    assert_eq!(cut == text, columns(text) <= most, "{text:?} in {most}: {cut:?}");
                    assert!(!cut.starts_with('\u{301}') && !cut.contains("…\u{301}"), "{cut:?}");
                }
            }
        }
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut_front("日本語", 4), "…語");
        assert_eq!(cut_middle("Blue Train 01.flac", 13), "Blue Tra…flac");
    }

    #[test]
    fn a_wrapped_line_takes_the_rows_that_a_terminal_gives_it() {
        for (text, window, taken) in
            [("", 5, 1), ("12345", 5, 1), ("123456", 5, 2), ("短短短", 5, 2), ("短短短短", 4, 2)]
        {
            assert_eq!(rows(text, window), taken, "{text} in {window}");
        }
    }
}
