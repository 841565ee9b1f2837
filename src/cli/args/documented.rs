//! Tests that the options, variables, exit codes and keys in the documents are those of the
//! program.

use std::collections::BTreeSet;
use std::path::Path;

use super::{DAEMONS, RELOADED, info, program};
use crate::cli::origin::{key, variable};
use crate::cli::settings_file::SettingsFile;

const PAGES: [(&str, &str); 7] = [
    ("README.md", include_str!("../../../README.md")),
    ("CHANGELOG.md", include_str!("../../../CHANGELOG.md")),
    ("docs/operating.md", include_str!("../../../docs/operating.md")),
    ("docs/security.md", include_str!("../../../docs/security.md")),
    ("docs/bench.md", include_str!("../../../docs/bench.md")),
    ("docs/sim.md", include_str!("../../../docs/sim.md")),
    ("docs/control.md", include_str!("../../../docs/control.md")),
];
/// The configuration file of the package.
const PACKAGED: &str = include_str!("../../../scripts/package/config.toml");

/// The text that is formatted as code: each line of a block, and each span in backticks.
fn code(page: &str) -> Vec<&str> {
    let mut block = false;
    let mut code = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        } else if block {
            code.push(line.split(" # ").next().unwrap_or_default());
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    code
}

fn flags() -> impl Iterator<Item = (&'static str, &'static str)> {
    program().commands.into_iter().flat_map(|sub| sub.command.flags.iter().map(move |flag| (sub.name, flag.long)))
}

/// The option in a word such as `[--name=VALUE],`.
fn flag_in(word: &str) -> Option<&str> {
    let word = word.trim_start_matches(['[', '(']);
    let end = word.find(|c: char| c != '-' && !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(word.len());
    word[..end].strip_prefix("--").filter(|name| !name.is_empty()).map(|_| &word[..end])
}

#[test]
fn options_in_the_documents_are_options_of_their_commands() {
    let (known, mut seen) = (flags().collect::<BTreeSet<_>>(), 0);
    let mut wrong = Vec::new();
    for (page, text) in PAGES {
        for code in code(text) {
            if let Some(flag) = flag_in(code) {
                seen += 1;
                if !known.iter().any(|(_, long)| *long == flag) {
                    wrong.push(format!("{page}: {flag}"));
                }
            }
            for run in code.split(['|', '&', ';', '(']) {
                let words: Vec<&str> = run.split_whitespace().skip_while(|word| *word != "sprat").skip(1).collect();
                let Some(command) = words.first().filter(|name| info(name).is_some()) else { continue };
                // The options after -- do not belong to this command.
                let words = words.iter().take_while(|word| **word != "--");
                for flag in words.filter_map(|word| flag_in(word)) {
                    seen += 1;
                    if !known.contains(&(*command, flag)) && flag != "--help" {
                        wrong.push(format!("{page}: sprat {command} {flag}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty() && seen > 100, "{seen} options, and these are none: {wrong:#?}");
}

#[test]
fn variables_in_the_documents_are_those_of_options() {
    // The variables that the program of `subscribe --exec` gets.
    let given = ["SPRAT_FILE_PATH", "SPRAT_FILE_ROOT", "SPRAT_FILE_USER"].map(str::to_owned);
    let known: BTreeSet<String> = flags().map(|(_, flag)| variable(flag)).chain(given).collect();
    for (page, text) in PAGES.into_iter().filter(|(page, _)| *page != "CHANGELOG.md") {
        for (at, _) in text.match_indices("SPRAT_") {
            let rest = &text[at..];
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_uppercase()).unwrap_or(rest.len());
            assert!(known.contains(&rest[..end]), "{page}: {} is the variable of no option", &rest[..end]);
        }
    }
}

#[test]
fn every_option_is_in_the_documents() {
    let mut missing = BTreeSet::new();
    for (command, flag) in
        program().commands.iter().flat_map(|sub| sub.command.flags.iter().map(|flag| (sub.name, flag)))
    {
        let names = |code: &str| {
            let short = flag.short.map(|short| format!("-{short}"));
            code.split([' ', '[', ',']).any(|word| flag_in(word) == Some(flag.long) || Some(word) == short.as_deref())
        };
        let is_documented =
            PAGES.iter().any(|(page, text)| *page != "CHANGELOG.md" && code(text).into_iter().any(names));
        if !is_documented && flag.long != "--help" {
            missing.insert(format!("{command} {}", flag.long));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Collects each environment variable that a file below this folder names.
fn variables_read(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            variables_read(&entry, found);
            continue;
        }
        let text = std::fs::read_to_string(&entry).expect("a file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| line.contains("env") && !line.contains("env!")) {
            let texts = line.split('"').skip(1).step_by(2);
            let is_name = |text: &&str| {
                text.len() > 3
                    && !text.starts_with("SPRAT_")
                    && text.chars().all(|c| c == '_' || c.is_ascii_uppercase())
            };
            found.extend(texts.filter(is_name).map(str::to_owned));
        }
    }
}

#[test]
fn variables_of_the_system_that_are_read_are_those_in_the_documents() {
    let mut read = BTreeSet::from(["NOTIFY_SOCKET", "TMPDIR", "WATCHDOG_USEC"].map(str::to_owned));
    variables_read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli")), &mut read);
    let (_, table) = PAGES[2].1.split_once("| variable |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(read, listed);
}

#[test]
fn exit_codes_in_the_readme_are_those_of_the_help_and_of_the_program() {
    let helped: Vec<i32> = program().error_codes.iter().map(|code| code.code).collect();
    let (_, table) = PAGES[0].1.split_once("| exit code |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: Vec<i32> = cells.flat_map(|cell| cell.split(',')).filter_map(|code| code.trim().parse().ok()).collect();
    assert_eq!(listed, helped);
    let source = include_str!("../../error.rs");
    let (_, variants) = source.split_once("pub enum Exit {").expect("the codes");
    let variants = variants.split("\n}").next().unwrap_or_default().lines();
    let codes = variants.filter_map(|line| line.split_once(" = ")?.1.trim_end_matches(',').parse().ok());
    // The exit codes of the signals that end a command.
    assert_eq!(listed, codes.chain([1, 2, 15].map(|signal| 128 + signal)).collect::<Vec<i32>>());
}

#[test]
fn configurations_in_the_documents_are_right() {
    let (_, block) = PAGES[2].1.split_once("```toml\n").expect("a configuration");
    let documented = block.split("```").next().unwrap_or_default();
    // The comments in the file of the package are examples too.
    let uncommented =
        |line: &str| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line).to_owned();
    let packaged = PACKAGED.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    for text in [documented, &packaged] {
        let file = SettingsFile::find(Some("/c"), &|_| None, &|_| Ok(text.to_owned())).unwrap().unwrap();
        for daemon in DAEMONS {
            let settings = file.settings(daemon).unwrap_or_else(|wrong| panic!("{}:\n{text}", wrong.sentence));
            assert!(settings.len() > 3, "{text}");
        }
    }
}

#[test]
fn operating_lists_what_a_reload_changes() {
    let (_, rest) = PAGES[2].1.split_once("A reload changes ").expect("the list");
    let list = rest.split("\n\n").next().unwrap_or_default();
    for flag in RELOADED {
        assert!(list.contains(&format!("`{}`", key(flag))), "{flag}: {list}");
        assert!(
            DAEMONS.iter().any(|daemon| info(daemon).is_some_and(|info| info.flags.iter().any(|f| f.long == flag)))
        );
    }
    assert_eq!(list.matches('`').count(), 2 * RELOADED.len(), "{list}");
}
