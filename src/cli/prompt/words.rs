//! Completes what the user types at the prompt: commands, names that were last shown, and paths. It
//! also passes to the screen what rustyline draws.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::grammar;
use super::screen::Screen;
use crate::cli::columns::{columns, cut_middle};
use crate::cli::format::count;
use crate::cli::output;
use crate::wire::name::{is_invisible, printable};

/// If several words fit, at most this many lines of them are listed. The others are only counted.
const LINES_MOST: usize = 12;
/// At most this many entries of a folder are looked at.
const ENTRIES_MOST: usize = 10_000;
/// Columns of a line if the width of the terminal is unknown.
const WIDTH_USUAL: usize = 80;

/// The words that can be completed.
pub(super) struct Words {
    pub(super) names: Arc<Vec<String>>,
    pub(super) screen: Screen,
}

impl Words {
    /// Where the typed word begins, and all words that can complete it.
    fn candidates(&self, typed: &str) -> (usize, Vec<String>) {
        let Some((command, rest)) = typed.split_once(char::is_whitespace) else {
            let upper = typed.to_ascii_uppercase();
            let fitting = grammar::COMMANDS.iter().filter(|command| command.starts_with(&upper));
            return (0, fitting.map(|command| format!("{command} ")).collect());
        };
        let rest = rest.trim_start();
        let at = typed.len() - rest.len();
        match command.to_ascii_uppercase().as_str() {
            "LIST" => (at, fitting(rest, ["NETWORK"].into_iter())),
            "LIMIT" => (at, fitting(rest, ["UPLOAD ", "DOWNLOAD "].into_iter())),
            "GET" => match to(rest) {
                Some(to) => (typed.len() - to.len(), paths(to)),
                None => self.named(typed, rest),
            },
            "QUERY" => self.named(typed, rest),
            "URI" => {
                let (at, mut names) = self.named(typed, rest);
                if names.is_empty() {
                    names = paths(&typed[at..]);
                }
                (at, names)
            }
            _ => (typed.len(), Vec::new()),
        }
    }

    /// Names that begin with the typed text. After an open quote, only the text after the quote
    /// counts.
    fn named(&self, typed: &str, rest: &str) -> (usize, Vec<String>) {
        let quotes = rest.matches('"').count();
        let word = if quotes % 2 == 1 { rest.rsplit('"').next().unwrap_or(rest) } else { rest };
        let names = self.names.iter().map(String::as_str).filter(|name| is_shown(name));
        (typed.len() - word.len(), fitting(word, names))
    }
}

/// Whether the name is shown without escapes, so that it can be typed as it is shown.
fn is_shown(name: &str) -> bool {
    !name.contains(is_invisible) || printable(name) == name
}

/// The typed part of the path after the last ` TO `.
fn to(rest: &str) -> Option<&str> {
    let lower = rest.to_ascii_lowercase();
    lower.rfind(" to ").map(|at| rest[at + 4..].trim_start())
}

fn fitting<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lower = typed.to_lowercase();
    let mut fitting: Vec<String> =
        words.filter(|word| word.to_lowercase().starts_with(&lower)).map(str::to_owned).collect();
    fitting.sort_unstable();
    fitting.dedup();
    fitting
}

/// Files and folders whose path begins with the typed text. Folders end in a slash.
fn paths(typed: &str) -> Vec<String> {
    let (folder, begun) = typed.rsplit_once('/').map_or(("", typed), |(folder, _)| typed.split_at(folder.len() + 1));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let place = match (folder.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ if folder.is_empty() => PathBuf::from("."),
        _ => PathBuf::from(folder),
    };
    let entries = std::fs::read_dir(&place).into_iter().flatten().take(ENTRIES_MOST).flatten();
    let entries = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_offered =
        |name: &String| name.starts_with(begun) && is_shown(name) && (begun.starts_with('.') || !name.starts_with('.'));
    let slash = |name: &str| if Path::new(&place).join(name).is_dir() { "/" } else { "" };
    let mut found: Vec<String> =
        entries.filter(is_offered).map(|name| format!("{folder}{name}{}", slash(&name))).collect();
    found.sort_unstable();
    found
}

/// The longest start that these words have in common.
fn common(words: &[String]) -> &str {
    let Some(first) = words.first() else { return "" };
    let mut length = first.len();
    for word in words {
        let same = first.char_indices().zip(word.chars()).find(|((_, a), b)| a != b);
        let same = same.map_or(first.len().min(word.len()), |((at, _), _)| at);
        length = length.min(same);
    }
    &first[..length]
}

/// The words side by side, as many per line as fit.
fn listed(words: &[String], width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut shown = 0;
    for word in words {
        let word = cut_middle(word.trim_end(), width);
        let room = lines.last().map_or(0, |line| width.saturating_sub(columns(line) + 2));
        let is_full = lines.len() >= LINES_MOST;
        match lines.last_mut() {
            Some(line) if columns(&word) <= room => {
                line.push_str("  ");
                line.push_str(&word);
            }
            Some(_) | None if is_full => break,
            Some(_) | None => lines.push(word),
        }
        shown += 1;
    }
    if shown < words.len() {
        lines.push(format!("and {}", count((words.len() - shown) as u64, "other")));
    }
    lines.join("\n")
}

impl Completer for Words {
    type Candidate = String;

    /// The only word that fits, or the longest start of all words that fit. If this is already
    /// typed, the words are listed above the line.
    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (at, words) = self.candidates(&line[..pos]);
        if words.len() <= 1 {
            return Ok((at, words));
        }
        let (typed, common) = (&line[at..pos], common(&words));
        if common.len() > typed.len() {
            return Ok((at, vec![common.to_owned()]));
        }
        self.screen.add(&listed(&words, output::width().unwrap_or(WIDTH_USUAL)));
        // This single candidate makes rustyline draw the line again, with the list.
        Ok((at, vec![typed.to_owned()]))
    }
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        self.screen.typed(line);
        line.into()
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        format!("{}{prompt}", self.screen.above_prompt(prompt)).into()
    }

    /// Always true, so that each change draws the line and the text above it.
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        if kind == CmdKind::ForcedRefresh {
            self.screen.line_ended();
        }
        true
    }
}

impl Helper for Words {}
impl Hinter for Words {
    type Hint = String;
}
impl Validator for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str]) -> Words {
        Words { names: Arc::new(names.iter().map(|name| (*name).to_owned()).collect()), screen: Screen::new() }
    }

    #[test]
    fn commands_and_names_are_completed() {
        let words = words(&["Blue Train.flac", "green.flac", "blue sky.flac", "evil\u{202e}", "می\u{200c}خواهم"]);
        assert_eq!(words.candidates("q"), (0, vec!["QUERY ".to_owned()]));
        assert_eq!(words.candidates("GET blue t"), (4, vec!["Blue Train.flac".to_owned()]));
        assert_eq!(words.candidates("GET \"green.flac\" \"gr"), (18, vec!["green.flac".to_owned()]));
        assert_eq!(words.candidates("get BLUE").1.len(), 2);
        assert_eq!(words.candidates("URI evil").1, Vec::<String>::new());
        assert_eq!(words.candidates("URI م").1.len(), 1);
        assert_eq!(words.candidates("list n"), (5, vec!["NETWORK".to_owned()]));
        assert_eq!(words.candidates("status x").1, Vec::<String>::new());
    }

    #[test]
    fn paths_are_completed_after_to_and_uri() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("music")).unwrap();
        std::fs::write(folder.path().join("mute.txt"), "").unwrap();
        std::fs::write(folder.path().join(".hidden"), "").unwrap();
        let at = folder.path().display();
        let words = words(&[]);
        let found = |typed: &str| words.candidates(&format!("{typed}{at}/mu"));
        let expected = vec![format!("{at}/music/"), format!("{at}/mute.txt")];
        assert_eq!(found("GET 1 TO "), (9, expected.clone()));
        assert_eq!(found("URI "), (4, expected));
        assert_eq!(words.candidates(&format!("URI {at}/")).1.len(), 2);
        assert_eq!(common(&found("URI ").1), format!("{at}/mu"));
    }

    #[test]
    fn words_are_listed_side_by_side() {
        let words: Vec<String> = (0..100).map(|n| format!("word {n:02} ")).collect();
        let list = listed(&words, 20);
        assert!(list.starts_with("word 00  word 01\nword 02"), "{list}");
        assert!(list.lines().count() == LINES_MOST + 1 && list.ends_with("and 76 others"), "{list}");
        assert_eq!(listed(&words[..2], 80), "word 00  word 01");
    }

    #[test]
    fn what_words_begin_with_is_cut_between_characters() {
        let of = |words: &[&str]| common(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).to_owned();
        assert_eq!(of(&["短名", "短"]), "短");
        assert_eq!(of(&["äb", "ö"]), "");
        assert_eq!(of(&["ab", "abc", "abd"]), "ab");
    }
}
