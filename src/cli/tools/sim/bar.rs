//! The progress of `sprat sim` on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::args::Sim;

/// A bar that shows how much is done.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(args: &Sim, at: usize, all: usize, values: &[String]) -> Bar {
        if args.quiet || !io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{prefix} {msg:<10} [{wide_bar}] {percent:>3} % {elapsed} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let prefix = if all > 1 { format!("{}/{all} {}", at + 1, values.join(" ")) } else { "sim".to_owned() };
        Bar(ProgressBar::new(1000).with_style(style).with_prefix(prefix).with_message("building"))
    }

    pub(super) fn show(&self, what: &'static str, part: u64) {
        self.0.set_message(what);
        self.0.set_position(part);
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
