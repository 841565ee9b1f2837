//! Tables for people. Columns are padded to their widest cell. With a window, a table is never
//! wider than the window: long texts are cut and, if that is not enough, each row takes several
//! lines. It only makes text.

use super::columns::{columns, cut_middle, padded, padded_front};

/// Spaces between two columns.
const GAP: usize = 2;
/// Spaces before the second and each further line of a row.
const INDENT: usize = 4;
/// While a row can take another line, no text is cut to fewer columns than this.
const TEXT_LEAST: usize = 12;

/// The kind of text in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    /// Numbers. They are aligned at their last digits and never cut.
    Numbers,
    /// Words that are not cut.
    Words,
    /// Names and sentences, which may be cut.
    Texts,
}

/// A table whose columns are padded to their widest cell. `right` marks the columns of numbers.
pub(crate) fn table(head: &[&str], right: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |right: &bool| if *right { Cells::Numbers } else { Cells::Words };
    let head: Vec<(&str, Cells)> = head.iter().copied().zip(right.iter().map(cells)).collect();
    fitted(&head, rows, None)
}

/// A table that fits in this number of columns; none means no bound.
pub(crate) fn fitted(head: &[(&str, Cells)], rows: impl Iterator<Item = Vec<String>>, window: Option<usize>) -> String {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(|(cell, _)| (*cell).to_owned()).collect()];
    all.extend(rows);
    let mut widths: Vec<usize> = (0..head.len())
        .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max().unwrap_or(0))
        .collect();
    let lines = match window {
        Some(window) => lines(head, &mut widths, window),
        None => vec![head.len()],
    };
    let mut text = String::new();
    for row in &all {
        let mut cells = row.iter().zip(&widths).zip(head);
        for (n, count) in lines.iter().enumerate() {
            let mut line = " ".repeat(if n == 0 { 0 } else { INDENT });
            for ((cell, width), (_, kind)) in cells.by_ref().take(*count) {
                let cell = cut_middle(cell, *width);
                line.push_str(&match kind {
                    Cells::Numbers => padded_front(&cell, *width),
                    Cells::Words | Cells::Texts => padded(&cell, *width),
                });
                line.push_str(&" ".repeat(GAP));
            }
            // A line of a row is left out if it has no text.
            if n == 0 || !line.trim().is_empty() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text
}

/// Reduces the widths so that rows fit in the window. Returns how many columns of the table are on
/// each line of a row.
fn lines(head: &[(&str, Cells)], widths: &mut [usize], window: usize) -> Vec<usize> {
    let taken = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let is_text = |at: usize| head[at].1 == Cells::Texts;
    let widest = widths.to_vec();
    while taken(widths) > window {
        let longest = (0..widths.len()).filter(|at| is_text(*at) && widths[*at] > TEXT_LEAST);
        let Some(longest) = longest.max_by_key(|at| widths[*at]) else { break };
        widths[longest] -= 1;
    }
    if taken(widths) <= window {
        return vec![widths.len()];
    }
    let mut lines = Vec::new();
    let (mut count, mut used) = (0, 0);
    for (at, width) in widths.iter_mut().enumerate() {
        let room = window.saturating_sub(used);
        let fits = widest[at] <= room || (is_text(at) && room >= TEXT_LEAST);
        if count > 0 && !fits {
            lines.push(count);
            (count, used) = (0, INDENT);
        }
        // If a text is wider than the window, it is cut even in a column that is usually not cut.
        *width = widest[at].min(window.saturating_sub(used).max(1));
        used += *width + GAP;
        count += 1;
    }
    lines.push(count);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [(&str, Cells); 4] =
        [("#", Cells::Numbers), ("name", Cells::Texts), ("size", Cells::Numbers), ("state", Cells::Words)];

    fn rows() -> impl Iterator<Item = Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        [
            row(["1", "短い名前と長い名前.flac", "30.0 MiB", "active"]),
            row(["12", "an ascii name that is longer than others.flac", "1.0 KiB", ""]),
        ]
        .into_iter()
    }

    #[test]
    fn a_table_fits_in_every_window_and_loses_no_number() {
        for window in 12..120 {
            let table = fitted(&HEAD, rows(), Some(window));
            assert!(table.lines().all(|line| columns(line) <= window), "{window}:\n{table}");
            let words: Vec<&str> = table.split_whitespace().collect();
            for cell in ["1", "12", "30.0", "1.0", "active"] {
                assert!(words.contains(&cell), "{window}:\n{table}");
            }
        }
        assert_eq!(fitted(&HEAD, rows(), None), fitted(&HEAD, rows(), Some(200)));
    }

    #[test]
    fn columns_stand_below_each_other_whatever_is_in_them() {
        let table = fitted(&HEAD, rows(), Some(80));
        let at = |line: &str, part: &str| line.find(part).map(|at| columns(&line[..at]));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(at(lines[0], "state"), at(lines[1], "active"));
        assert_eq!(at(lines[0], "name"), at(lines[2], "an ascii"));
    }

    #[test]
    fn a_narrow_window_gets_rows_of_several_lines() {
        let table = fitted(&HEAD, rows(), Some(24));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 6, "{table}");
        assert!(lines[2].starts_with(" 1  短い名前") && lines[3] == "    30.0 MiB  active", "{table}");
    }
}
