//! Prints the figures of `bench` and `sim`: as text, JSON, CSV, Markdown and pictures.

use std::io;
use std::path::Path;

use crate::cli::output;
use crate::error::{Exit, Failure};

/// The form of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
    Csv,
    Markdown,
}

impl Form {
    /// The form that the switches choose. At most one of them is given.
    pub(crate) fn of(json: bool, csv: bool, md: bool) -> Result<Form, Failure> {
        match (json, csv, md) {
            (false, false, false) => Ok(Form::Text),
            (true, false, false) => Ok(Form::Json),
            (false, true, false) => Ok(Form::Csv),
            (false, false, true) => Ok(Form::Markdown),
            _ => Err(Failure::usage("--json, --csv and --md exclude each other; give one of them")),
        }
    }
}

/// A Markdown table. `right` marks the columns of numbers.
pub(crate) fn markdown(head: &[&str], right: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rules = right.iter().map(|right| if *right { "---:" } else { "---" }.to_owned()).collect();
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let lines = [head, rules].into_iter().chain(rows).map(|cells: Vec<String>| format!("| {} |", cells.join(" | ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints the figures. If the reader has closed the pipe, it has read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match output::line(text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Internal, format!("cannot print the figures: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a picture of the figures.
pub(crate) fn draw(path: &Path, svg: &str) -> Result<(), Failure> {
    std::fs::write(path, svg)
        .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())))
}
