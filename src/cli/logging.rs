//! The log on standard error: levels, times, prefixes for the journal, and JSON. While a prompt
//! owns the terminal, it shows the lines.
//!
//! A daemon writes `TIME LEVEL: text`, with the time in UTC. If its standard error is the journal,
//! which adds the time itself, it writes `<N>text`: this is the prefix of sd-daemon(3), from which
//! the journal reads the level. A command that people wait for, and a prompt, show `LEVEL: text`.

use std::env;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use env_logger::{Builder, Target, WriteStyle};
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Record};
use serde_json::Map;

use crate::control::{json, rfc3339};
use crate::wire::name::printable;

/// Receives the lines while a prompt owns the terminal.
static ASIDE: Mutex<Option<Detour>> = Mutex::new(None);
/// The form of the lines, once logging has started.
static FORM: OnceLock<Form> = OnceLock::new();

/// Receives a line. Returns false if it cannot.
pub(crate) type Detour = Box<dyn Fn(String) -> bool + Send>;

/// The value of `--log-format` of a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text for people and for the journal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("write text or json".into()),
        }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `LEVEL: text`.
    Plain,
    /// `TIME LEVEL: text`.
    Timed,
    /// `<N>text`.
    Journal,
    Json,
}

impl Form {
    /// `format` is the option of a daemon; none for a command that people wait for.
    fn of(format: Option<LogFormat>, journal: bool) -> Form {
        match (format, journal) {
            (Some(LogFormat::Json), _) => Form::Json,
            (Some(LogFormat::Text) | None, true) => Form::Journal,
            (Some(LogFormat::Text), false) => Form::Timed,
            (None, false) => Form::Plain,
        }
    }

    /// A line without its end. Text from strangers in it cannot control a terminal or forge another
    /// line.
    fn line(self, record: &Record, now: SystemTime) -> String {
        let text = || printable(&record.args().to_string());
        let level = record.level();
        match self {
            Form::Plain => format!("{}: {}", word(level), text()),
            Form::Timed => format!("{} {}: {}", rfc3339(now), word(level), text()),
            Form::Journal => format!("<{}>{}", syslog_priority(level), text()),
            Form::Json => json_line(record, now),
        }
    }
}

/// The level that the options set: `--log-level` wins over `-q`, and `-q` over `-v`.
pub(crate) fn level(explicit: Option<LevelFilter>, quiet: bool, verbose: u8, default: LevelFilter) -> LevelFilter {
    match (explicit, quiet, verbose) {
        (Some(level), _, _) => level,
        (None, true, _) => LevelFilter::Error,
        (None, false, 0) => default,
        (None, false, 1) => LevelFilter::Debug,
        (None, false, _) => LevelFilter::Trace,
    }
}

/// Starts logging. Only the first call has an effect. `format` is the option of a daemon; none for
/// a command that people wait for.
pub(crate) fn start(level: LevelFilter, format: Option<LogFormat>) {
    let form = *FORM.get_or_init(|| Form::of(format, stderr_is_journal()));
    let _ = Builder::new()
        .filter_level(LevelFilter::Warn)
        // This library warns of each watched folder that is deleted, so only its errors are logged.
        .filter_module("notify", LevelFilter::Error)
        .filter_module("sprat", LevelFilter::Trace)
        .write_style(WriteStyle::Never)
        .target(Target::Pipe(Box::new(Stderr)))
        .format(move |out, record| {
            // At a prompt, people see a line as soon as it is logged, so it needs no time.
            let form = if form == Form::Timed && is_diverted() { Form::Plain } else { form };
            writeln!(out, "{}", form.line(record, SystemTime::now()))
        })
        .try_init();
    set_level(level);
}

/// From now on logs only lines of this level or above.
pub(crate) fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// `time`, `level`, `message`, and the fields of the record.
fn json_line(record: &Record, now: SystemTime) -> String {
    let mut fields = Fields(Map::new());
    // This fails only if a field cannot be read. The fields before it are kept.
    let _ = record.key_values().visit(&mut fields);
    let Fields(mut line) = fields;
    line.insert("time".into(), rfc3339(now).into());
    line.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("message".into(), record.args().to_string().into());
    json(&line).unwrap_or_default()
}

/// The fields of one record.
struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut field = Field(None);
        value.visit(&mut field)?;
        let Field(value) = field;
        // A field without a value is left out.
        value.into_iter().for_each(|value| drop(self.0.insert(key.to_string(), value)));
        Ok(())
    }
}

/// The value of one field.
struct Field(Option<serde_json::Value>);

impl<'v> VisitValue<'v> for Field {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = Some(value.to_string().into());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = None;
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = Some(value.into());
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = Some(value.into());
        Ok(())
    }
}

/// Whether the log is JSON. Then programs read it, and every line must have this form.
pub(crate) fn is_for_programs() -> bool {
    matches!(FORM.get(), Some(Form::Json | Form::Journal))
}

/// Whether a prompt shows the lines.
pub(crate) fn is_diverted() -> bool {
    ASIDE.lock().is_ok_and(|aside| aside.is_some())
}

/// From now on sends lines to `to`; with none, to standard error.
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
    use std::time::Duration;

    use super::*;

    fn line(form: Form, level: Level, text: &str) -> String {
        let fields: &[(&str, Value)] = &[("peer", Value::from("a\u{1b}b")), ("files", Value::from(3_u64))];
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_798_761_599_007);
        form.line(&Record::builder().level(level).args(format_args!("{text}")).key_values(&fields).build(), now)
    }

    #[test]
    fn a_daemon_writes_times_and_the_journal_gets_priorities() {
        let timed = line(Form::of(Some(LogFormat::Text), false), Level::Warn, "a\n<3>b");
        assert_eq!(timed, "2026-12-31T23:59:59.007Z warning: a\\n<3>b");
        for format in [Some(LogFormat::Text), None] {
            assert_eq!(line(Form::of(format, true), Level::Warn, "a\nb"), "<4>a\\nb");
        }
        assert_eq!(line(Form::of(None, false), Level::Info, "a"), "info: a");
    }

    #[test]
    fn a_line_of_json_has_time_level_message_and_fields() {
        for journal in [false, true] {
            let line = line(Form::of(Some(LogFormat::Json), journal), Level::Warn, "a\nb\u{202e}");
            assert!(line.chars().all(|c| !crate::wire::name::is_invisible(c)), "{line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let right = serde_json::json!({
                "time": "2026-12-31T23:59:59.007Z",
                "level": "warn",
                "message": "a\nb\u{202e}",
                "peer": "a\u{1b}b",
                "files": 3,
            });
            assert_eq!(value, right);
        }
    }

    #[test]
    fn the_explicit_level_wins_and_quiet_beats_verbose() {
        let info = LevelFilter::Info;
        assert_eq!(level(None, false, 0, info), info);
        assert_eq!(level(None, false, 2, info), LevelFilter::Trace);
        assert_eq!(level(None, true, 2, info), LevelFilter::Error);
        assert_eq!(level(Some(LevelFilter::Warn), true, 2, info), LevelFilter::Warn);
    }
}
