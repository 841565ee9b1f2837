//! The progress of a download on standard error: bars on a terminal, plain lines elsewhere, and
//! nothing with -q.

mod bar;
mod block;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use bar::{Bar, all, giving_up};
pub(crate) use block::Block;

use super::columns::Window;
use super::format::{percent, short_name, swarm_words};
use super::units::Size;
use super::{logging, output};
use crate::proto::event::{SourceReport, SwarmReport};

/// A plain line is due after this time or after this share of the file.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
const LINE_PERCENT: u64 = 10;

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
pub(crate) fn line(
    name: &str,
    bytes: u64,
    size: u64,
    rate: u64,
    (sources, swarm): (usize, Option<&SwarmReport>),
) -> String {
    let speed = if rate == 0 { String::new() } else { format!(", {}/s", Size(rate)) };
    let sources = match sources {
        0 => String::new(),
        n => format!(" from {}", super::format::count(n as u64, "source")),
    };
    let swarm = swarm.map(|swarm| format!("; {}", swarm_words(swarm))).unwrap_or_default();
    format!("{}: {} % of {}{speed}{sources}{swarm}", short_name(name), percent(bytes, size), Size(size))
}

/// The progress of one download.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing is shown.
    Off,
    /// Plain lines.
    Plain { name: String, pace: Pace, is_giving_up: bool },
    /// A bar for the file and a line for each source. The log is printed above them.
    Bars(Arc<Mutex<Drawing>>),
}

/// The bars on standard error.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    block: Block,
    bar: Option<Bar>,
}

impl Drawing {
    /// Draws the present state below `above`, which are lines that stay.
    fn draw(&mut self, above: &str) {
        let mut out = io::stderr();
        let Some(window) = Window::of(&out) else { return };
        // The cursor is in the row below the block, and some rows must be left for earlier output.
        let rows = window.rows.saturating_sub(2);
        let lines = self.bar.as_ref().map_or(Vec::new(), |bar| bar.lines(window.columns - 1, rows));
        let text = self.block.redrawn(window, above, lines);
        // If standard error is closed, nobody reads this.
        let _ = out.write_all(text.as_bytes());
    }

    fn erase(&mut self) {
        let mut out = io::stderr();
        if let Some(window) = Window::of(&out) {
            let _ = out.write_all(self.block.erased(window).as_bytes());
        }
    }
}

impl Progress {
    /// The form for standard error: bars on a terminal, and lines elsewhere.
    pub(crate) fn new(quiet: bool) -> Progress {
        if quiet {
            return Progress::Off;
        }
        if !io::stderr().is_terminal() {
            return Progress::Plain { name: String::new(), pace: Pace::new(), is_giving_up: false };
        }
        let drawing = Arc::new(Mutex::new(Drawing::default()));
        let logged = Arc::clone(&drawing);
        logging::divert(Some(Box::new(move |line| {
            locked(&logged).draw(&format!("{}\n", output::visible(&line)));
            true
        })));
        Progress::Bars(drawing)
    }

    /// The content is chosen.
    pub(crate) fn start(&mut self, what: &str, size: u64, resumed: u64) {
        match self {
            Progress::Off => {}
            Progress::Plain { name, .. } => what.clone_into(name),
            Progress::Bars(drawing) => {
                let mut drawing = locked(drawing);
                drawing.bar.get_or_insert_with(|| Bar::new(what)).start(what, size, resumed);
                drawing.draw("");
            }
        }
    }

    /// Shows the progress so far. Without any source, `gives_up_ms` is the time that is left.
    pub(crate) fn update(
        &mut self,
        (bytes, size): (u64, u64),
        rate: u64,
        sources: &[SourceReport],
        gives_up_ms: Option<u64>,
        swarm: Option<SwarmReport>,
    ) {
        match self {
            Progress::Off => {}
            Progress::Plain { name, pace, is_giving_up } => {
                if let (Some(ms), false) = (gives_up_ms, &is_giving_up) {
                    output::note(&format!("{}: {}", short_name(name), giving_up(ms)));
                }
                *is_giving_up = gives_up_ms.is_some();
                if pace.is_due(bytes, size) {
                    output::note(&line(name, bytes, size, rate, (sources.len(), swarm.as_ref())));
                }
            }
            Progress::Bars(drawing) => {
                let mut drawing = locked(drawing);
                if let Some(bar) = &mut drawing.bar {
                    bar.advance(bytes, size, rate, gives_up_ms);
                    bar.swarm(swarm);
                    sources.iter().for_each(|report| bar.source(report));
                }
                drawing.draw("");
            }
        }
    }

    /// A source changed its state.
    pub(crate) fn source(&mut self, report: &SourceReport) {
        match self {
            Progress::Off | Progress::Plain { .. } => {}
            Progress::Bars(drawing) => {
                let mut drawing = locked(drawing);
                if let Some(bar) = &mut drawing.bar {
                    bar.source(report);
                }
                drawing.draw("");
            }
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Progress::Off => {}
            Progress::Plain { .. } => output::note(text),
            Progress::Bars(drawing) => locked(drawing).draw(&format!("{}\n", output::visible(text))),
        }
    }

    /// Prints something on standard output. The bars are removed before, and drawn again after it.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        let Progress::Bars(drawing) = self else { return print() };
        let mut drawing = locked(drawing);
        drawing.erase();
        let printed = print();
        drawing.draw("");
        printed
    }

    /// Ends the progress and removes the bars.
    pub(crate) fn end(&mut self) {
        match self {
            Progress::Off | Progress::Plain { .. } => {}
            Progress::Bars(drawing) => {
                let mut drawing = locked(drawing);
                drawing.bar = None;
                drawing.draw("");
                drop(drawing);
                logging::divert(None);
            }
        }
    }
}

fn locked(drawing: &Mutex<Drawing>) -> std::sync::MutexGuard<'_, Drawing> {
    drawing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_by_share_of_the_file_not_by_event() {
        let mut pace = Pace::new();
        // All calls are within LINE_INTERVAL unless the machine stalls. Then more lines are due,
        // never fewer.
        let due = (0..=100).filter(|percent| pace.is_due(*percent, 100)).count();
        assert!((11..=101).contains(&due), "{due}");
        assert_eq!(percent(0, 0), 100);
    }
}
