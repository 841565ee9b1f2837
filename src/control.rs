//! The lines of the control socket and of `--json`. Each is one JSON object: a command, or one of
//! the events that answer it, of which the last one is `done`.
//!
//! Nothing here is sent or printed; `node` and `cli` do that.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::proto::{ClientEvent, Command};

/// Version of the lines: the field `v` of each.
const LINES_VERSION: u8 = 1;

/// Reads a command.
///
/// # Errors
/// A sentence that says what is wrong with the line, with an example of a right one.
pub fn parse_command(line: &str) -> Result<Command, String> {
    serde_json::from_str(line).map_err(|error| {
        format!(
            "not a command: {error}; write one JSON object per line, such as {{\"cmd\":\"query\",\"search\":{{\"q\":\"name\",\"k\":\"words\"}}}}"
        )
    })
}

/// Writes a command, without a line end.
#[must_use]
pub fn command_line(command: &Command) -> String {
    // A path that is not UTF-8 has no JSON form; the command line refuses it before it becomes part
    // of a command.
    serde_json::to_string(command).unwrap_or_default()
}

/// Writes an event, without a line end: the version, the time and the fields of the event.
#[must_use]
pub fn event_line(event: &ClientEvent, wall: SystemTime) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u8,
        time: String,
        #[serde(flatten)]
        event: &'a ClientEvent,
    }
    let line = Line { v: LINES_VERSION, time: rfc3339(wall), event };
    serde_json::to_string(&line).unwrap_or_else(|error| {
        // Only a path that is not UTF-8 has no JSON form. The reader must get a `done` in that case
        // too.
        let message = format!("an event has no JSON form: {error}");
        let failure = crate::error::Failure::new(crate::error::Exit::Internal, message);
        let event = ClientEvent::Done(crate::proto::event::Outcome::failed(&failure));
        serde_json::to_string(&Line { v: LINES_VERSION, time: rfc3339(wall), event: &event }).unwrap_or_default()
    })
}

/// Reads an event. Unknown fields are ignored.
///
/// # Errors
/// A sentence that says what is wrong with the line.
pub fn parse_event(line: &str) -> Result<ClientEvent, String> {
    serde_json::from_str(line).map_err(|error| format!("not an event: {error}"))
}

/// UTC with milliseconds, as RFC 3339 has it: `2026-11-22T16:02:22.123Z`.
#[must_use]
pub fn rfc3339(wall: SystemTime) -> String {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Year, month and day in the Gregorian calendar, of a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last day of a year. 400 years have
    // 146,097 days.
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
    use crate::proto::event::Outcome;
    use crate::proto::{Scope, Verify};

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
            from: Some("127.0.0.1:5".parse().unwrap()),
            out: Some("/tmp/x".into()),
            verify: Verify::Md5,
            scope: Scope { ttl: None, budget: Some(9), policy: Some(crate::wire::Policy::Tree) },
        };
        for command in [
            Command::Get(get),
            Command::List,
            Command::Network { scope: Scope { ttl: Some(2), ..Scope::default() } },
            Command::Status,
        ] {
            assert_eq!(parse_command(&command_line(&command)), Ok(command));
        }
    }

    #[test]
    fn a_line_that_is_no_command_is_refused_with_the_right_form() {
        // A super peer would close the session of a peer that sends it such a name.
        let long = format!(r#"{{"cmd":"get","what":"{}"}}"#, "x".repeat(257));
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
}
