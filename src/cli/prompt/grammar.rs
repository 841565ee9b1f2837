//! What may be typed at the prompt. Pure: a line in, a request or the sentence that shows the right
//! form out.

use crate::config::PATTERN_BYTES_MAX;
use crate::wire::{HostPort, QueryKind, Search, Uri};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing.
    Empty,
    /// `QUERY PATTERN`
    Query(Search),
    /// `GET n [FROM k]`
    GetResult { number: usize, from: Option<From> },
    /// `GET NAME|ROOT`
    GetWhat { what: String },
    /// `URI n|name|path`
    Uri { what: String },
    /// `LIST`
    List,
    /// `LIST NETWORK`
    Network,
    /// `STATUS`
    Status,
    /// `WAIT`
    Wait,
    /// `HELP`
    Help,
    /// `EXIT`
    Exit,
}

/// One source of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The k-th that the result shows, counted from 1.
    Number(usize),
    /// By its address.
    Address(HostPort),
}

/// The words a line may begin with, in the order of [`HELP`].
pub(crate) const COMMANDS: [&str; 8] = ["QUERY", "GET", "URI", "LIST", "STATUS", "WAIT", "HELP", "EXIT"];

/// What `HELP` prints.
pub(crate) const HELP: &str = "\
QUERY name|pattern   search: all words of a name, a pattern with *?[, or a root in 64 hex digits
GET n [FROM k]       download result n of the last search, from all its sources or from source k only
GET name|root|URI    search and download in one; \"quotes\" make a number a name
URI n|name|path      one line that others can paste after sprat get, for a result, a name, a file or a folder
LIST [NETWORK]       all files that are registered at the super peer, or all that the network holds
STATUS               counters of this peer and of its super peer
WAIT                 wait until all downloads have ended
HELP                 print this text
EXIT                 end the peer; the same GET resumes an unfinished download later";

const QUERY_FORM: &str = "write QUERY name or QUERY *.pattern";
/// Fewest digits of a root that may be written for all of it.
pub(crate) const ROOT_DIGITS_MIN: usize = 8;
const GET_FORM: &str = "write GET 1, GET 1 FROM 2, or GET name";

/// Reads a line.
///
/// # Errors
/// A sentence that shows the right form.
pub(crate) fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim();
    let (word, rest) = match line.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (line, ""),
    };
    match word.to_ascii_uppercase().as_str() {
        "" => Ok(Line::Empty),
        "QUERY" => query(rest),
        "GET" => get(rest),
        "URI" => Ok(Line::Uri { what: text(rest, "write URI 1, URI name or URI path")? }),
        "LIST" if rest.eq_ignore_ascii_case("network") => Ok(Line::Network),
        "LIST" if !rest.is_empty() => Err("write LIST, or LIST NETWORK".to_owned()),
        "LIST" => Ok(Line::List),
        "STATUS" => alone(word, rest, Line::Status),
        "WAIT" => alone(word, rest, Line::Wait),
        "HELP" | "?" => alone(word, rest, Line::Help),
        "EXIT" | "QUIT" => alone(word, rest, Line::Exit),
        _ => Err(format!("there is no command {word:?}; the commands are {}; HELP explains them", COMMANDS.join(", "))),
    }
}

fn alone(word: &str, rest: &str, line: Line) -> Result<Line, String> {
    if rest.is_empty() { Ok(line) } else { Err(format!("{0} takes no argument; write {0}", word.to_ascii_uppercase())) }
}

fn query(rest: &str) -> Result<Line, String> {
    let pattern = text(rest, QUERY_FORM)?;
    let kind = QueryKind::of(&pattern);
    Ok(Line::Query(Search { pattern, kind, min: None, max: None, limit: None, within: None }))
}

fn get(rest: &str) -> Result<Line, String> {
    let mut words = rest.split_whitespace();
    let Some(number) =
        words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()) && word.len() < ROOT_DIGITS_MIN)
    else {
        return Ok(Line::GetWhat { what: text(rest, GET_FORM)? });
    };
    let number: usize = number.parse().map_err(|_| GET_FORM)?;
    match (words.next(), words.next(), words.next()) {
        (None, _, _) => Ok(Line::GetResult { number, from: None }),
        (Some(from), Some(source), None) if from.eq_ignore_ascii_case("from") => {
            let from = match source.parse::<usize>() {
                Ok(k) => From::Number(k),
                Err(_) => From::Address(source.parse().map_err(|_| format!("no source {source:?}; {GET_FORM}"))?),
            };
            Ok(Line::GetResult { number, from: Some(from) })
        }
        (Some(from), None, None) if from.eq_ignore_ascii_case("from") => {
            Err(format!("a source is missing; {GET_FORM}"))
        }
        // A name that begins with a number: `GET 12 angry men.mkv`.
        (Some(_), _, _) => Ok(Line::GetWhat { what: text(rest, GET_FORM)? }),
    }
}

/// A name or pattern, with or without quotes around it.
fn text(rest: &str, form: &str) -> Result<String, String> {
    if Uri::is_meant(rest) {
        return Ok(rest.to_owned());
    }
    let text = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest);
    match text.len() {
        0 => Err(format!("a name is missing; {form}")),
        length if length > PATTERN_BYTES_MAX => Err(format!("a name has at most {PATTERN_BYTES_MAX} bytes; {form}")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Result<Line, String> {
        Ok(Line::GetWhat { what: text.into() })
    }

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(parse("  list "), Ok(Line::List));
        assert_eq!(parse("Wait"), Ok(Line::Wait));
        assert_eq!(parse("eXit"), Ok(Line::Exit));
        assert_eq!(parse(""), Ok(Line::Empty));
        for command in COMMANDS {
            assert!(HELP.contains(command));
        }
    }

    #[test]
    fn a_query_keeps_the_rest_of_its_line() {
        let Ok(Line::Query(search)) = parse("query blue  train.flac ") else { panic!() };
        assert_eq!((search.pattern.as_str(), search.kind), ("blue  train.flac", QueryKind::Words));
        let Ok(Line::Query(search)) = parse("QUERY *.flac") else { panic!() };
        assert_eq!(search.kind, QueryKind::Glob);
    }

    #[test]
    fn get_takes_a_number_a_name_or_a_root() {
        assert_eq!(parse("GET 2"), Ok(Line::GetResult { number: 2, from: None }));
        assert_eq!(parse("get 2 from 3"), Ok(Line::GetResult { number: 2, from: Some(From::Number(3)) }));
        let address = From::Address("h:1".parse().unwrap());
        assert_eq!(parse("GET 2 FROM h:1"), Ok(Line::GetResult { number: 2, from: Some(address) }));
        assert_eq!(parse("GET blue train.flac"), what("blue train.flac"));
        assert_eq!(parse("GET 12 angry men.mkv"), what("12 angry men.mkv"));
        assert_eq!(parse("GET \"42\""), what("42"));
        assert_eq!(parse(&format!("GET {}", "0".repeat(64))), what(&"0".repeat(64)));
    }

    #[test]
    fn a_wrong_line_is_answered_with_the_right_form() {
        for (line, form) in [
            ("QUERY", "QUERY name"),
            ("GET", "GET name"),
            ("GET 1 FROM", "FROM 2"),
            ("GET 1 FROM nowhere", "FROM 2"),
            ("LIST all", "write LIST"),
            ("FIND x", "QUERY"),
            ("GET \"\"", "GET name"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(form), "{line}: {error}");
        }
        assert!(parse(&format!("QUERY {}", "x".repeat(257))).unwrap_err().contains("256"));
    }
}
