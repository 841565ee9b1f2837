//! The progress of a download on standard error: bars on a terminal, plain lines elsewhere, nothing
//! with -q.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::format::{percent, short_name, state_word};
use super::output;
use super::units::Size;
use crate::proto::event::SourceReport;

/// A plain line is due after this time or after this share of the file.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
const LINE_PERCENT: u64 = 10;
/// Most lanes on the terminal, because its lines are few.
const LANES_MAX: usize = 16;

/// Decides when a plain line is due, for one-shot commands and for the prompt.
#[derive(Debug)]
pub(crate) struct Pace {
    last: Option<(Instant, u64)>,
}

impl Pace {
    /// The first line is due at once.
    pub(crate) fn new() -> Pace {
        Pace { last: None }
    }

    /// Whether a line is due at this progress.
    pub(crate) fn is_due(&mut self, bytes: u64, size: u64) -> bool {
        let now = Instant::now();
        let percent = percent(bytes, size);
        let due = match self.last {
            None => true,
            Some((at, then)) => now.duration_since(at) >= LINE_INTERVAL || percent >= then + LINE_PERCENT,
        };
        if due {
            self.last = Some((now, percent));
        }
        due
    }
}

/// A plain line.
pub(crate) fn line(name: &str, bytes: u64, size: u64, rate: u64, sources: usize) -> String {
    let speed = if rate == 0 { String::new() } else { format!(", {}/s", Size(rate)) };
    let sources = match sources {
        0 => String::new(),
        n => format!(" from {}", super::format::count(n as u64, "source")),
    };
    format!("{}: {} % of {}{speed}{sources}", short_name(name), percent(bytes, size), Size(size))
}

/// The progress of one download.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing is shown.
    Off,
    /// Lines.
    Plain { name: String, pace: Pace },
    /// A bar for the file and a lane for each source.
    Bars { name: String, all: MultiProgress, file: Option<ProgressBar>, lanes: Vec<(String, ProgressBar)> },
}

impl Progress {
    /// The form that fits standard error.
    pub(crate) fn new(quiet: bool) -> Progress {
        if quiet {
            Progress::Off
        } else if io::stderr().is_terminal() {
            Progress::Bars { name: String::new(), all: MultiProgress::new(), file: None, lanes: Vec::new() }
        } else {
            Progress::Plain { name: String::new(), pace: Pace::new() }
        }
    }

    /// The content is chosen.
    pub(crate) fn start(&mut self, what: &str, size: u64, resumed: u64) {
        match self {
            Progress::Off => {}
            Progress::Plain { name, .. } => what.clone_into(name),
            Progress::Bars { name, all, file, .. } => {
                what.clone_into(name);
                let bar = all.add(ProgressBar::new(size).with_style(file_style()).with_prefix(short_name(what)));
                bar.set_position(resumed);
                *file = Some(bar);
            }
        }
    }

    /// Shows the progress so far.
    pub(crate) fn update(&mut self, bytes: u64, size: u64, rate: u64, sources: &[SourceReport]) {
        match self {
            Progress::Off => {}
            Progress::Plain { name, pace } => {
                if pace.is_due(bytes, size) {
                    output::note(&line(name, bytes, size, rate, sources.len()));
                }
            }
            Progress::Bars { all, file, lanes, .. } => {
                if let Some(file) = file {
                    file.set_length(size);
                    file.set_position(bytes);
                    file.set_message(format!("{}/s", Size(rate)));
                }
                for report in sources {
                    lane(all, lanes, report);
                }
            }
        }
    }

    /// A source changed its state.
    pub(crate) fn source(&mut self, report: &SourceReport) {
        match self {
            Progress::Off | Progress::Plain { .. } => {}
            Progress::Bars { all, lanes, .. } => lane(all, lanes, report),
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Progress::Off => {}
            Progress::Plain { .. } => output::note(text),
            Progress::Bars { all, .. } => {
                let _ = all.println(output::visible(text));
            }
        }
    }

    /// Ends the progress and removes the bars.
    pub(crate) fn end(&mut self) {
        match self {
            Progress::Off | Progress::Plain { .. } => {}
            Progress::Bars { all, file, lanes, .. } => {
                for bar in file.iter().chain(lanes.iter().map(|(_, bar)| bar)) {
                    bar.finish_and_clear();
                }
                let _ = all.clear();
            }
        }
    }
}

fn lane(all: &MultiProgress, lanes: &mut Vec<(String, ProgressBar)>, report: &SourceReport) {
    let source = report.source.to_string();
    let bar = match lanes.iter().find(|(name, _)| *name == source) {
        Some((_, bar)) => bar.clone(),
        None if lanes.len() >= LANES_MAX => return,
        None => {
            let bar = all.add(ProgressBar::new_spinner().with_style(lane_style()).with_prefix(source.clone()));
            lanes.push((source, bar.clone()));
            bar
        }
    };
    let bad = if report.bad > 0 { format!(", {} bad", report.bad) } else { String::new() };
    bar.set_message(format!("{:>10}  {} pieces{bad}  {}", Size(report.bytes), report.pieces, state_word(report.state)));
}

fn file_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{wide_bar}] {percent:>3} % {bytes}/{total_bytes} {msg} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn lane_style() -> ProgressStyle {
    ProgressStyle::with_template("  {prefix:<24} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_by_share_of_the_file_not_by_event() {
        let mut pace = Pace::new();
        // All within LINE_INTERVAL unless the machine stalls; then more are due, never fewer.
        let due = (0..=100).filter(|percent| pace.is_due(*percent, 100)).count();
        assert!((11..=101).contains(&due), "{due}");
        assert_eq!(percent(0, 0), 100);
    }
}
