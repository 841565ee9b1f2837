//! Words that are never right in this project's texts, and the width of comments.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that no text may contain. Each is written in two parts, so that this file does not contain
/// it either. CONTRIBUTING.md says what to write instead.
const NEVER: [(&str, &str); 10] = [
    ("an", "ew"),
    ("who", "ever"),
    ("me", "nd"),
    ("me", "nds"),
    ("me", "nded"),
    ("so", " many"),
    ("gets", " whole"),
    ("neigh", "bour"),
    ("neigh", "bours"),
    ("neigh", "bouring"),
];

/// Longest line of a comment, in characters.
const COMMENT_WIDTH: usize = 100;

const FOLDERS: [&str; 7] = ["src", "tests", "docs", "scripts", "examples", "fuzz/src", "fuzz/targets"];

/// Where such words are in a text: the numbers of the lines, from 1.
fn found(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for word in NEVER.map(|(first, rest)| format!("{first}{rest}")) {
            let alone = |at: usize| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                ![before, after].iter().flatten().any(|c| c.is_alphanumeric())
            };
            if line.match_indices(&word).any(|(at, _)| alone(at)) {
                found.push((n + 1, word));
            }
        }
    }
    found
}

/// The numbers of the comment lines that are too wide. A comment line begins with `mark`.
fn wide(text: &str, mark: &str) -> Vec<usize> {
    let comment = |line: &&str| line.trim_start().starts_with(mark) && line.chars().count() > COMMENT_WIDTH;
    text.lines().enumerate().filter(|(_, line)| comment(line)).map(|(n, _)| n + 1).collect()
}

/// Every text file of the tree that people read, with its path from the root of the tree.
fn texts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let files = fs::read_dir(root).expect("the tree").map(|entry| entry.expect("an entry").path());
    paths.extend(
        files.filter(|path| path.extension().is_some_and(|extension| extension == "md" || extension == "toml")),
    );
    let mut texts = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
        }
    }
    assert!(texts.len() > 100, "the texts are here");
    texts
}

#[test]
fn no_text_uses_a_word_that_is_never_right() {
    let mut wrong = Vec::new();
    for (path, text) in texts() {
        // The table of words to avoid contains these words.
        let is_table = |line: usize| {
            path == Path::new("CONTRIBUTING.md") && text.lines().nth(line - 1).is_some_and(|line| line.starts_with('|'))
        };
        let here = found(&text).into_iter().filter(|(line, _)| !is_table(*line));
        wrong.extend(here.map(|(line, word)| format!("{}:{line}: {word}", path.display())));
    }
    assert!(wrong.is_empty(), "see the words to avoid in CONTRIBUTING.md: {wrong:#?}");
}

#[test]
fn comments_wrap_at_100_columns() {
    let mut wrong = Vec::new();
    for (path, text) in texts() {
        let mark = match path.extension().and_then(|end| end.to_str()) {
            Some("rs") => "//",
            Some("toml") => "#",
            _ => continue,
        };
        wrong.extend(wide(&text, mark).into_iter().map(|line| format!("{}:{line}", path.display())));
    }
    assert!(wrong.is_empty(), "comments wider than {COMMENT_WIDTH} columns: {wrong:#?}");
}

#[test]
fn words_are_found_as_words_only() {
    let [first, .., last] = NEVER.map(|(first, rest)| format!("{first}{rest}"));
    let text = format!("fine\nwith {first}, and\n{}: x{first} {first}x\n", last.to_uppercase());
    assert_eq!(found(&text), [(2, first), (3, last)]);
}

#[test]
fn wide_comments_are_found_and_wide_code_is_not() {
    let (long, code) = ("x".repeat(97), format!("let x = {};", "1".repeat(120)));
    assert_eq!(wide(&format!("// {long}\n    /// {long}\n{code}\n//! ä{}\n", &long[2..]), "//"), [2]);
}

/// The headings of PROTOCOL.md that a Rust file cites by name.
fn cited(text: &str) -> Vec<String> {
    let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
    let joined: Vec<&str> = comments.map(|line| line.trim_start_matches(['/', '!']).trim()).collect();
    let joined = joined.join(" ");
    let cited = joined.split("PROTOCOL.md \"").skip(1);
    cited.filter_map(|rest| rest.split_once('"')).map(|(heading, _)| heading.to_owned()).collect()
}

#[test]
fn cited_headings_of_the_protocol_exist() {
    let protocol = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")).expect("it is there");
    let headings: Vec<&str> = protocol.lines().filter(|line| line.starts_with('#')).collect();
    let mut seen = 0;
    for (path, text) in texts().into_iter().filter(|(path, _)| path.starts_with("src")) {
        for heading in cited(&text) {
            seen += 1;
            assert!(headings.iter().any(|line| line.ends_with(&heading)), "{}: {heading:?}", path.display());
        }
    }
    assert!(seen > 2, "only {seen} citations");
}
