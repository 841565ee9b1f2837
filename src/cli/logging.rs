//! The log on standard error: levels, journal prefixes, and the detour through a prompt that owns
//! the terminal.
//!
//! A line is `LEVEL: text`. If standard error is the journal, it is `<N>text` instead: the prefix
//! of sd-daemon(3), from which the journal takes the level.

use std::env;
use std::io::{self, Write};
use std::sync::Mutex;

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter};

use crate::wire::name::printable;

/// Takes the lines while a prompt owns the terminal.
static ASIDE: Mutex<Option<Detour>> = Mutex::new(None);

/// Takes a line; returns false if it cannot.
pub(crate) type Detour = Box<dyn Fn(String) -> bool + Send>;

/// The level that the options ask for: `--log-level` wins over `-q`, and `-q` over `-v`.
pub(crate) fn level(explicit: Option<LevelFilter>, quiet: bool, verbose: u8, default: LevelFilter) -> LevelFilter {
    match (explicit, quiet, verbose) {
        (Some(level), _, _) => level,
        (None, true, _) => LevelFilter::Error,
        (None, false, 0) => default,
        (None, false, 1) => LevelFilter::Debug,
        (None, false, _) => LevelFilter::Trace,
    }
}

/// Starts logging. Only the first call counts.
pub(crate) fn start(level: LevelFilter) {
    let journal = stderr_is_journal();
    let _ = Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        // It warns for every watched folder that is deleted.
        .filter_module("notify", level.min(LevelFilter::Error))
        .filter_module("sprat", level)
        .write_style(WriteStyle::Never)
        .target(Target::Pipe(Box::new(Stderr)))
        .format(move |out, record| {
            // One line each: what strangers send can neither command a terminal nor forge a line.
            let text = printable(&record.args().to_string());
            if journal {
                writeln!(out, "<{}>{text}", syslog_priority(record.level()))
            } else {
                writeln!(out, "{}: {text}", word(record.level()))
            }
        })
        .try_init();
}

/// Sends lines to `to` from now on, or to standard error again.
pub(crate) fn divert(to: Option<Detour>) {
    if let Ok(mut aside) = ASIDE.lock() {
        *aside = to;
    }
}

/// Whether standard error is the stream that systemd connected to the journal (`$JOURNAL_STREAM`).
fn stderr_is_journal() -> bool {
    let Some(stream) = env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn syslog_priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(aside) = ASIDE.lock()
            && let Some(to) = &*aside
            && to(String::from_utf8_lossy(bytes).trim_end().to_owned())
        {
            return Ok(bytes.len());
        }
        // A closed standard error must not end a daemon.
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explicit_level_wins_and_quiet_beats_verbose() {
        let info = LevelFilter::Info;
        assert_eq!(level(None, false, 0, info), info);
        assert_eq!(level(None, false, 2, info), LevelFilter::Trace);
        assert_eq!(level(None, true, 2, info), LevelFilter::Error);
        assert_eq!(level(Some(LevelFilter::Warn), true, 2, info), LevelFilter::Warn);
    }
}
