//! The lines of the control socket and of `--json`. Each line is one JSON object: a command, or an
//! event that answers a command. The last event of an answer is `done`.
//!
//! In every string, control characters and other characters without a visible form are written as
//! `\uXXXX`. So a name from the network cannot control the terminal that shows the line. A JSON
//! parser returns the original string.
//!
//! Nothing is sent or printed here; `node` and `cli` do that.

use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, Command, Happening};
use crate::wire::name::is_invisible;

/// Version of the lines: the field `v` of each.
const LINES_VERSION: u8 = 1;

/// A line of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The number that the client gave to the line, if it gave one. Each answer repeats it.
    pub req: Option<u64>,
    /// The request, or a sentence that says what is wrong with the line.
    pub request: Result<Request, String>,
}

/// The request in a line of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A command, for the machine.
    Command(Command),
    /// The numbered events of the node.
    Events {
        /// If set, the events with a higher number that are still kept come first. If not, only new
        /// events come.
        since: Option<u64>,
        /// If true, each new event follows as it comes. If false, `done` follows.
        follow: bool,
    },
}

/// An answer to a request for events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Reply {
    /// An event of the node. The time of the line is the time of the event.
    Node {
        /// Its number.
        seq: u64,
        /// What happened.
        #[serde(flatten)]
        what: Happening,
    },
    /// Events that are no longer kept.
    Gap {
        /// The number of the first lost event.
        first: u64,
        /// The number of the last lost event.
        last: u64,
    },
    /// The end: nothing follows.
    Done(Outcome),
}

/// Reads a line of a client.
#[must_use]
pub fn parse_line(line: &str) -> Line {
    #[derive(Deserialize)]
    struct Events {
        since: Option<u64>,
        #[serde(default = "yes")]
        follow: bool,
    }
    let mut value: Map<String, Value> = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => return Line { req: None, request: Err(wrong(&error)) },
    };
    let req = match value.remove("req").map(serde_json::from_value).transpose() {
        Ok(req) => req,
        Err(error) => return Line { req: None, request: Err(wrong(&error)) },
    };
    let unknown =
        value.get("cmd").and_then(Value::as_str).map(|cmd| format!("unknown variant `{cmd}`, expected one of"));
    let is_events = value.get("cmd").is_some_and(|cmd| cmd == "events");
    let value = Value::Object(value);
    let request = if is_events {
        serde_json::from_value(value)
            .map(|Events { since, follow }| Request::Events { since, follow })
            .map_err(|error| format!("not a request: {error}; write {{\"cmd\":\"events\",\"since\":0}}"))
    } else {
        // serde does not know this request.
        let with_events = |error: String| match &unknown {
            Some(unknown) => error.replacen(unknown, &format!("{unknown} `events`,"), 1),
            None => error,
        };
        serde_json::from_value(value).map(Request::Command).map_err(|error| with_events(wrong(&error)))
    };
    Line { req, request }
}

fn yes() -> bool {
    true
}

/// Reads a command.
///
/// # Errors
/// A sentence that says what is wrong with the line, with an example of a correct line.
pub fn parse_command(line: &str) -> Result<Command, String> {
    serde_json::from_str(line).map_err(|error| wrong(&error))
}

fn wrong(error: &serde_json::Error) -> String {
    format!(
        "not a command: {error}; write one JSON object per line, such as {{\"cmd\":\"query\",\"search\":{{\"q\":\"name\",\"k\":\"words\"}}}}"
    )
}

/// Writes a command, without a line end.
#[must_use]
pub fn command_line(command: &Command) -> String {
    // A path that is not UTF-8 has no JSON form. The command line refuses such a path, so no
    // command contains one.
    json(command).unwrap_or_default()
}

/// Writes an event, without a line end: the version, the time and the fields of the event.
#[must_use]
pub fn event_line(event: &ClientEvent, wall: SystemTime) -> String {
    answer_line(None, event, wall)
}

/// Writes an event that answers a line. If the line has a number, the answer repeats it.
#[must_use]
pub fn answer_line(req: Option<u64>, event: &impl Serialize, wall: SystemTime) -> String {
    let line = numbered_line(req, event, wall);
    if !line.is_empty() {
        return line;
    }
    // Only an event with a path that is not UTF-8 has no JSON form. Even then the reader must get a
    // `done`.
    let message = "an event has no JSON form: it has a path that is not UTF-8";
    let failure = crate::error::Failure::new(crate::error::Exit::Internal, message);
    numbered_line(req, &ClientEvent::Done(Outcome::failed(&failure)), wall)
}

/// Writes a value with named fields as an event: the version, the time and the fields. The line is
/// empty if the value has no JSON form.
#[must_use]
pub fn value_line(value: &impl Serialize, wall: SystemTime) -> String {
    numbered_line(None, value, wall)
}

fn numbered_line(req: Option<u64>, value: &impl Serialize, wall: SystemTime) -> String {
    #[derive(Serialize)]
    struct Line<'a, T> {
        v: u8,
        time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        req: Option<u64>,
        #[serde(flatten)]
        value: &'a T,
    }
    json(&Line { v: LINES_VERSION, time: rfc3339(wall), req, value }).unwrap_or_default()
}

/// Writes a value as JSON in one line, in which every character is plainly visible.
///
/// # Errors
/// If the value has no JSON form, such as a path that is not UTF-8.
pub fn json(value: &(impl Serialize + ?Sized)) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Visible))?;
    Ok(String::from_utf8(bytes).expect("a serializer of JSON writes UTF-8"))
}

/// Escapes the characters from U+007F on that have no visible form, which serde_json does not
/// escape.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Most strings are plain.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_invisible) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            let mut after = rest[at..].chars();
            for unit in after.next().into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// Reads an event. Unknown fields are ignored.
///
/// # Errors
/// A sentence that says what is wrong with the line.
pub fn parse_event(line: &str) -> Result<ClientEvent, String> {
    serde_json::from_str(line).map_err(|error| format!("not an event: {error}"))
}

/// The time in UTC with milliseconds, in the format of RFC 3339: `2026-11-22T16:02:22.123Z`.
#[must_use]
pub fn rfc3339(wall: SystemTime) -> String {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The year, month and day in the Gregorian calendar. `days` counts from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // In this computation a year begins in March, so that the leap day is the last day of a year.
    // 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::command::Get;
    use crate::proto::{PieceOrder, Scope, Verify};

    fn at(seconds: u64, millis: u64) -> String {
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis))
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 1), "2000-02-28T23:59:59.001Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_200, 0), "2024-03-01T00:00:00.000Z");
        assert_eq!(at(1_798_761_599, 999), "2026-12-31T23:59:59.999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_command_comes_back_from_its_line() {
        let get = Get {
            what: "a name".into(),
            name: Some("b".into()),
            also: vec!["another".into()],
            known: Vec::new(),
            from: Some("127.0.0.1:5".parse().unwrap()),
            out: Some("/tmp/x".into()),
            verify: Verify::Md5,
            timeout: Some(1500),
            order: PieceOrder::Sequential,
            scope: Scope { ttl: None, budget: Some(9), policy: Some(crate::wire::Policy::Tree) },
        };
        for command in [
            Command::Get(get),
            Command::Uri { what: "x".into(), path: Some("/a/b".into()), scope: Scope::default() },
            Command::Uri { what: "x".repeat(701), path: None, scope: Scope::default() },
            Command::List { partial: false },
            Command::List { partial: true },
            Command::Network { scope: Scope { ttl: Some(2), ..Scope::default() } },
            Command::Status,
            Command::Limit { upload: Some(1 << 20), download: None },
        ] {
            assert_eq!(parse_command(&command_line(&command)), Ok(command));
        }
    }

    #[test]
    fn a_line_that_is_no_command_is_refused_with_the_right_form() {
        // A super peer would close the session if a peer sent it such a name.
        let long = format!(r#"{{"cmd":"get","what":"{}"}}"#, "x".repeat(702));
        for line in ["", "{}", "[]", r#"{"cmd":"dance"}"#, r#"{"cmd":"get"}"#, r#"{"cmd":"get","what":""}"#, &long] {
            let why = parse_command(line).unwrap_err();
            assert!(why.contains("\"cmd\":\"query\""), "{line}: {why}");
        }
    }

    #[test]
    fn the_form_that_an_error_shows_is_right() {
        let why = parse_command("").unwrap_err();
        let shown = &why[why.find('{').unwrap()..];
        assert!(matches!(parse_command(shown), Ok(Command::Query { .. })), "{shown}");
    }

    #[test]
    fn an_event_comes_back_from_its_line_which_has_version_and_time() {
        let event = ClientEvent::Done(Outcome { ok: true, hits: Some(3), ..Outcome::default() });
        let line = event_line(&event, SystemTime::UNIX_EPOCH);
        assert!(line.starts_with(r#"{"v":1,"time":"1970-01-01T00:00:00.000Z","event":"done""#), "{line}");
        assert_eq!(parse_event(&line), Ok(event));
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_line_may_have_a_number_which_its_answers_repeat() {
        let of = |line: &str| parse_line(line);
        let (req, follow) = (Some(7), true);
        let status = of(r#"{"req":7,"cmd":"status"}"#);
        assert_eq!(status, Line { req, request: Ok(Request::Command(Command::Status)) });
        let events = Request::Events { since: Some(3), follow: false };
        assert_eq!(of(r#"{"cmd":"events","since":3,"follow":false}"#), Line { req: None, request: Ok(events) });
        assert_eq!(of(r#"{"cmd":"events"}"#).request, Ok(Request::Events { since: None, follow }));
        let wrong = of(r#"{"req":7,"cmd":"events","since":"x"}"#);
        assert!(wrong.req == req && wrong.request.unwrap_err().contains("\"since\":0"));
        let dance = of(r#"{"req":7,"cmd":"dance"}"#);
        assert_eq!(dance.req, req);
        let why = dance.request.unwrap_err();
        assert!(why.contains("`dance`, expected one of `events`, `"), "{why}");
        let limits = r#"{"req":7,"cmd":"user","do":"limits","class":"x","files":3}"#;
        assert!(of(limits).request.is_ok(), "{limits}");
        let what = Happening::MorePeers { came: 1, left: 0 };
        let line = answer_line(req, &Reply::Node { seq: 5, what: what.clone() }, SystemTime::UNIX_EPOCH);
        let begin = r#"{"v":1,"time":"1970-01-01T00:00:00.000Z","req":7,"event":"node","seq":5,"kind":"more_peers""#;
        assert!(line.starts_with(begin), "{line}");
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), Reply::Node { seq: 5, what });
    }

    /// The characters that must be escaped.
    fn hidden() -> impl Iterator<Item = char> {
        let ranges = [
            0..=0x1f,
            0x7f..=0x9f,
            0xad..=0xad,
            0x61c..=0x61c,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x2069,
            0xfeff..=0xfeff,
            0xe0001..=0xe0001,
            0xe0020..=0xe007f,
        ];
        ranges.into_iter().flatten().filter_map(char::from_u32)
    }

    #[test]
    fn every_string_of_a_line_is_visible_and_reads_back_the_same() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % n as u64).unwrap()
        };
        let hidden: Vec<char> = hidden().collect();
        let plain = ['a', '"', '\\', '/', 'ä', '\u{301}', '🐟', '\u{ffff}', '\u{10ffff}'];
        for round in 0..hidden.len() + 300 {
            let any = |draw: &mut dyn FnMut(usize) -> usize| match draw(2) {
                0 => hidden[draw(hidden.len())],
                _ => plain[draw(plain.len())],
            };
            let text: String = match hidden.get(round) {
                Some(each) => format!("x{each}y"),
                None => (0..draw(20)).map(|_| any(&mut draw)).collect(),
            };
            let counts = std::collections::BTreeMap::from([(text.clone(), 1)]);
            for event in [
                ClientEvent::Note { message: text.clone() },
                ClientEvent::Status {
                    super_peer: None,
                    peer: counts.clone(),
                    super_counts: counts,
                    status: None,
                    links: Vec::new(),
                    super_agent: Some(text.clone()),
                    mode: crate::wire::message::Mode::Login,
                },
                ClientEvent::Done(Outcome { error: Some(text.clone()), path: Some(text.into()), ..Outcome::default() }),
            ] {
                let line = event_line(&event, SystemTime::UNIX_EPOCH);
                assert!(!line.contains(|c| hidden.contains(&c)), "{line:?}");
                assert_eq!(parse_event(&line).unwrap(), event, "{line}");
            }
        }
    }

    #[test]
    fn a_character_beyond_the_first_plane_is_a_pair_of_surrogates() {
        assert_eq!(json("\u{e0001}\u{7f}\u{2029}").unwrap(), r#""\udb40\udc01\u007f\u2029""#);
    }
}
