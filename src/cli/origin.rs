//! One value of an option, and where the value comes from. An option has the same name everywhere:
//! `--http-files` is `SPRAT_HTTP_FILES` in the environment and `http_files` in a file.

use std::fmt;
use std::path::PathBuf;

/// One value of an option. A repeated option has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The option with its dashes.
    pub(crate) flag: &'static str,
    /// The value as it is written after the option; for a switch, `true` or `false`.
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    File { path: PathBuf, line: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// The name of an option in the environment: `--max-size` is `SPRAT_MAX_SIZE`.
pub(crate) fn variable(flag: &str) -> String {
    format!("SPRAT_{}", key(flag).to_ascii_uppercase())
}

/// The name of an option in a file: `--max-size` is `max_size`.
pub(crate) fn key(flag: &str) -> String {
    flag.trim_start_matches('-').replace('-', "_")
}

/// Completes an error about an option with the origin of its value, unless that is the command
/// line.
pub(crate) fn with_origin(sentence: String, settings: &[Setting]) -> String {
    let names = |setting: &&Setting| {
        let after = sentence.split_once(setting.flag).map(|(_, rest)| rest);
        after.is_some_and(|rest| !rest.starts_with(|c: char| c == '-' || c.is_ascii_alphanumeric()))
    };
    let named = || settings.iter().filter(|setting| setting.origin != Origin::Flag).filter(names);
    // If the option is repeated, this chooses the value that the error shows.
    match named().find(|setting| sentence.contains(&setting.value)).or_else(|| named().next()) {
        Some(Setting { origin, .. }) => format!("{sentence} (from {origin})"),
        None => sentence,
    }
}
