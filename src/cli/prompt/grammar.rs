//! The lines that the user may type at the prompt. A line becomes a request, or a sentence that
//! shows the right form.

use crate::cli::nearest::nearest;
use crate::cli::pasted;
use crate::cli::shim;
use crate::cli::units::Rate;
use crate::config::{CHUNK_PORT, GET_BYTES_MAX, PATTERN_BYTES_MAX};
use crate::proto::command::can_name;
use crate::wire::name::typed;
use crate::wire::{HostPort, QueryKind, Root, Search};

/// The request in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An empty line.
    Empty,
    /// `QUERY PATTERN`
    Query(Search),
    /// `GET n [FROM k] [TO PATH]`
    GetResult { number: usize, from: Option<From>, to: Option<String> },
    /// `GET n m-k … [TO PATH]`: results by ranges of numbers.
    GetResults { numbers: Vec<(usize, usize)>, to: Option<String> },
    /// `GET NAME|ROOT|PATTERN|FOLDER/|URI`, or several of these in quotes.
    GetWhat { what: String, also: Vec<String>, to: Option<String> },
    /// `GET DIGITS … [TO PATH]`: roots by their first digits. If none of them was listed, the line
    /// without `TO` is a name.
    GetRoots { digits: Vec<String>, to: Option<String>, name: String },
    /// `DOWNLOADS`
    Downloads,
    /// `CANCEL n`
    Cancel { id: u64 },
    /// `PAUSE n`
    Pause { id: u64 },
    /// `RESUME n`
    Resume { id: u64 },
    /// `LIMIT [UPLOAD rate] [DOWNLOAD rate]`, in bytes per second.
    Limit { upload: Option<u64>, download: Option<u64> },
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
    /// The source at this position in the result, counted from 1.
    Number(usize),
    /// The source at this address.
    Address(HostPort),
}

/// The words with which a line may begin, in the order of [`HELP`].
pub(crate) const COMMANDS: [&str; 13] = [
    "QUERY",
    "GET",
    "URI",
    "DOWNLOADS",
    "CANCEL",
    "PAUSE",
    "RESUME",
    "LIMIT",
    "LIST",
    "STATUS",
    "WAIT",
    "HELP",
    "EXIT",
];

/// What `HELP` prints.
pub(crate) const HELP: &str = "\
QUERY name|pattern    search: all words of a name, a pattern with *?[, or a root
                      in 64 hex digits
GET n [FROM k]        download result n of the last search, from all its sources
                      or from source k only
GET n m-k | GET ALL   download several results
GET name|root|URI     search and download in one; a path, a pattern or a folder/
                      gets all its files; \"quotes\" make a number a name, and
                      separate several names; 8 digits of a root that was listed
                      last are enough
GET ... TO path       the same to another place: after numbers, ALL, digits of
                      roots, a folder/, a URI or a name in quotes
URI n|name|path       one line that others can paste after sprat get, for a
                      result, a name, a file or a folder
DOWNLOADS             the downloads of this peer, with their numbers, states and
                      progress
CANCEL n              take download n out of the queue; what was fetched is kept
PAUSE n, RESUME n     stop download n, and continue it
LIMIT UPLOAD rate     send at most rate bytes a second, such as 1M; 0: no limit;
LIMIT DOWNLOAD rate   the same for what is received; LIMIT shows both
LIST [NETWORK]        all files that are registered at the super peer, or all
                      that the network holds
STATUS                the state of this peer and of its super peer
WAIT                  wait until every download has ended, is paused or waits
                      for a source; Ctrl-C ends the wait
HELP                  print this text
EXIT                  end the peer; its downloads go on when it is started again
On a terminal Tab completes commands, names that were shown and paths.";

const QUERY_FORM: &str = "write QUERY name or QUERY *.pattern";
/// The fewest digits that mean a root. A shorter word of digits is a number.
pub(crate) const ROOT_DIGITS_MIN: usize = 8;
const GET_FORM: &str = "write GET 1, GET 1 FROM 2, GET 1 3-5, GET ALL, or GET name";

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
    if rest.split_whitespace().any(shim::is_invitation) {
        let sentence = "an invitation is a secret, and is not searched; write it to a file, and run sprat join < FILE";
        return Err(sentence.to_owned());
    }
    match word.to_ascii_uppercase().as_str() {
        "" => Ok(Line::Empty),
        "QUERY" => query(rest),
        "GET" => get(rest),
        "URI" => Ok(Line::Uri { what: text(rest, GET_BYTES_MAX, "write URI 1, URI name or URI path")? }),
        "DOWNLOADS" => alone(word, rest, Line::Downloads),
        "CANCEL" => Ok(Line::Cancel { id: id(word, rest)? }),
        "PAUSE" => Ok(Line::Pause { id: id(word, rest)? }),
        "RESUME" => Ok(Line::Resume { id: id(word, rest)? }),
        "LIMIT" => limit(rest),
        "LIST" if rest.eq_ignore_ascii_case("network") => Ok(Line::Network),
        "LIST" if !rest.is_empty() => Err("write LIST, or LIST NETWORK".to_owned()),
        "LIST" => Ok(Line::List),
        "STATUS" => alone(word, rest, Line::Status),
        "WAIT" => alone(word, rest, Line::Wait),
        "HELP" | "?" => alone(word, rest, Line::Help),
        "EXIT" | "QUIT" => alone(word, rest, Line::Exit),
        _ => Err(match nearest(word, COMMANDS) {
            Some(meant) => format!("there is no command {word:?}; did you mean {meant}?"),
            None => {
                format!("there is no command {word:?}; the commands are {}; HELP explains them", COMMANDS.join(", "))
            }
        }),
    }
}

fn alone(word: &str, rest: &str, line: Line) -> Result<Line, String> {
    if rest.is_empty() { Ok(line) } else { Err(format!("{0} takes no argument; write {0}", word.to_ascii_uppercase())) }
}

/// The number of a download.
fn id(word: &str, rest: &str) -> Result<u64, String> {
    let word = word.to_ascii_uppercase();
    rest.parse().map_err(|_| format!("write {word} and the number of a download, such as {word} 1; see DOWNLOADS"))
}

fn limit(rest: &str) -> Result<Line, String> {
    let form = || "write LIMIT, LIMIT UPLOAD 1M, LIMIT DOWNLOAD 500k, or both; 0 is no limit".to_owned();
    let (mut upload, mut download) = (None, None);
    let words: Vec<&str> = rest.split_whitespace().collect();
    for pair in words.chunks(2) {
        let [which, rate] = pair else { return Err(form()) };
        let Rate(rate) = rate.parse().map_err(|_| form())?;
        match which.to_ascii_uppercase().as_str() {
            "UPLOAD" => upload = Some(rate),
            "DOWNLOAD" => download = Some(rate),
            _ => return Err(form()),
        }
    }
    Ok(Line::Limit { upload, download })
}

fn query(rest: &str) -> Result<Line, String> {
    let pattern = match pasted::uri(rest) {
        Ok(Some(uri)) => uri.root.to_string(),
        Ok(None) | Err(_) => typed(text(rest, PATTERN_BYTES_MAX, QUERY_FORM)?),
    };
    let kind = QueryKind::of(&pattern);
    Ok(Line::Query(Search::new(pattern, kind)))
}

fn get(rest: &str) -> Result<Line, String> {
    if let Some(names) = quoted(rest) {
        return several(names);
    }
    let (head, to) = split_to(rest);
    let to = to.map(|to| text(to, PATTERN_BYTES_MAX, GET_FORM)).transpose()?;
    let words: Vec<&str> = head.split_whitespace().collect();
    match words.as_slice() {
        [all] if all.eq_ignore_ascii_case("all") => Ok(Line::GetResults { numbers: vec![(1, usize::MAX)], to }),
        [word] if number(word).is_some() => {
            Ok(Line::GetResult { number: number(word).unwrap_or_default(), from: None, to })
        }
        [word, from, source] if number(word).is_some() && from.eq_ignore_ascii_case("from") => {
            let from = match source.parse::<usize>() {
                Ok(k) => From::Number(k),
                Err(_) => {
                    let address = HostPort::parse_or(source, CHUNK_PORT);
                    From::Address(address.map_err(|_| format!("no source {source:?}; {GET_FORM}"))?)
                }
            };
            Ok(Line::GetResult { number: number(word).unwrap_or_default(), from: Some(from), to })
        }
        [word, from] if number(word).is_some() && from.eq_ignore_ascii_case("from") => {
            Err(format!("a source is missing; {GET_FORM}"))
        }
        [choices @ .., to] if to.eq_ignore_ascii_case("to") && is_chosen(choices) => {
            Err(format!("a path is missing after TO; {GET_FORM}"))
        }
        // A name may begin with a number: `GET 12 angry men.mkv`.
        [_, ..] if words.iter().all(|word| range(word).is_some()) => {
            let numbers: Vec<_> = words.iter().filter_map(|word| range(word)).collect();
            match numbers.iter().find(|(first, last)| first > last) {
                Some((first, last)) => Err(format!("{first}-{last} runs backwards; {GET_FORM}")),
                None => Ok(Line::GetResults { numbers, to }),
            }
        }
        [_, more @ ..] if words.iter().all(|word| is_digits(word)) && (to.is_some() || !more.is_empty()) => {
            let digits = words.iter().map(|word| (*word).to_owned()).collect();
            Ok(Line::GetRoots { digits, to, name: rest.to_owned() })
        }
        _ if is_place(head) => Ok(Line::GetWhat { what: named(head)?, also: Vec::new(), to }),
        _ => Ok(Line::GetWhat { what: named(rest)?, also: Vec::new(), to: None }),
    }
}

/// What the user may have meant in place of the name that a line is taken for.
pub(crate) fn doubt(line: &str) -> Option<String> {
    let Ok(Line::GetWhat { what, to: None, .. }) = parse(line) else { return None };
    let (name, to) = what.split_once(" TO ").filter(|_| !line.contains('"'))?;
    Some(format!("this is searched as one name; to get {name} to another place, write GET \"{name}\" TO {to}"))
}

/// The text before the first ` TO ` after something that can be chosen without quotes, and the text
/// after it.
fn split_to(rest: &str) -> (&str, Option<&str>) {
    let lower = rest.to_ascii_lowercase();
    let parts = lower.match_indices(" to ").map(|(at, to)| (rest[..at].trim_end(), rest[at + to.len()..].trim_start()));
    let is_head = |head: &str| !head.is_empty() && (is_place(head) || head.split_whitespace().all(is_choice));
    match parts.into_iter().find(|(head, _)| is_head(head)) {
        Some((head, to)) => (head, Some(to)),
        None => (rest, None),
    }
}

/// A word that chooses results or roots.
fn is_choice(word: &str) -> bool {
    let is_word = ["all", "from"].iter().any(|other| word.eq_ignore_ascii_case(other));
    range(word).is_some() || is_word || is_digits(word) || word.contains(':')
}

/// A URI, or the path of a folder with a slash at its end.
fn is_place(head: &str) -> bool {
    pasted::is_meant(head) || head.ends_with('/') && can_name(head)
}

/// The first digits of a root, or all of them.
fn is_digits(word: &str) -> bool {
    (ROOT_DIGITS_MIN..=2 * Root::LEN).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the words before a `TO` choose something, or are names in quotes.
fn is_chosen(words: &[&str]) -> bool {
    let is_quoted = words.first().is_some_and(|word| word.starts_with('"'));
    let is_choice = words.iter().all(|word| is_choice(word)) || is_place(&words.join(" "));
    !words.is_empty() && (is_choice || is_quoted && words.concat().ends_with('"'))
}

fn number(word: &str) -> Option<usize> {
    let digits = !word.is_empty() && word.len() < ROOT_DIGITS_MIN && word.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten()
}

/// `3`, or `3-5`.
fn range(word: &str) -> Option<(usize, usize)> {
    match word.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(word).map(|number| (number, number)),
    }
}

/// Several texts in quotes, and the text after a ` TO ` that follows them. None if the line has
/// another form.
fn quoted(rest: &str) -> Option<(Vec<String>, Option<&str>)> {
    let mut names = Vec::new();
    let mut left = rest.trim_start();
    while let Some(inner) = left.strip_prefix('"') {
        let (name, after) = inner.split_once('"')?;
        names.push(name.to_owned());
        left = after.trim_start();
        if !(left.is_empty() || after.starts_with(char::is_whitespace)) {
            return None;
        }
    }
    let to = match left {
        "" => None,
        left => {
            let (word, to) = left.split_once(char::is_whitespace)?;
            Some(to.trim_start()).filter(|_| word.eq_ignore_ascii_case("to"))
        }
    };
    (!names.is_empty() && (left.is_empty() || to.is_some())).then_some((names, to))
}

fn several((names, to): (Vec<String>, Option<&str>)) -> Result<Line, String> {
    let to = to.map(|to| text(to, PATTERN_BYTES_MAX, GET_FORM)).transpose()?;
    let mut names = names.into_iter().map(|name| named(&name)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let what = names.next().ok_or(GET_FORM)?;
    let also: Vec<String> = names.collect();
    if !also.is_empty() && also.iter().chain([&what]).any(|name| pasted::is_meant(name)) {
        return Err("a URI is fetched by a GET of its own; write GET and the URI".to_owned());
    }
    Ok(Line::GetWhat { what, also, to })
}

/// What a GET names.
pub(super) fn named(what: &str) -> Result<String, String> {
    match what.len() {
        _ if pasted::is_meant(what) => Ok(what.to_owned()),
        0 => Err(format!("a name is missing; {GET_FORM}")),
        length if length > GET_BYTES_MAX => {
            Err(format!("a name or path has at most {GET_BYTES_MAX} bytes; {GET_FORM}"))
        }
        _ if !can_name(what) => Err(format!("a name has a character other than /; {GET_FORM}")),
        _ => Ok(what.to_owned()),
    }
}

/// A name or pattern, with or without quotes around it.
fn text(rest: &str, bytes_max: usize, form: &str) -> Result<String, String> {
    if pasted::is_meant(rest) {
        return Ok(rest.to_owned());
    }
    let text = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest);
    match text.len() {
        0 => Err(format!("a name is missing; {form}")),
        length if length > bytes_max => Err(format!("a name has at most {bytes_max} bytes; {form}")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Result<Line, String> {
        Ok(Line::GetWhat { what: text.into(), also: Vec::new(), to: None })
    }

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(parse("  list "), Ok(Line::List));
        assert_eq!(parse("Wait"), Ok(Line::Wait));
        assert_eq!(parse("limit upload 1k"), Ok(Line::Limit { upload: Some(1024), download: None }));
        assert_eq!(
            parse("LIMIT download 0 UPLOAD 8Mbit"),
            Ok(Line::Limit { upload: Some(1_000_000), download: Some(0) })
        );
        assert_eq!(parse("eXit"), Ok(Line::Exit));
        assert_eq!(parse(""), Ok(Line::Empty));
        for command in COMMANDS {
            assert!(HELP.contains(command));
        }
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn slashes_alone_are_no_name() {
        for line in ["GET /", "GET ///", "GET \"/\" \"x\""] {
            assert!(parse(line).unwrap_err().contains("other than /"), "{line}");
        }
        assert_eq!(parse("GET a/"), what("a/"));
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
        assert_eq!(parse("GET 2"), Ok(Line::GetResult { number: 2, from: None, to: None }));
        assert_eq!(parse("get 2 from 3"), Ok(Line::GetResult { number: 2, from: Some(From::Number(3)), to: None }));
        let address = From::Address("h:1".parse().unwrap());
        assert_eq!(parse("GET 2 FROM h:1"), Ok(Line::GetResult { number: 2, from: Some(address), to: None }));
        assert_eq!(parse("GET blue train.flac"), what("blue train.flac"));
        assert_eq!(parse("GET 12 angry men.mkv"), what("12 angry men.mkv"));
        assert_eq!(parse("GET \"42\""), what("42"));
        assert_eq!(parse(&format!("GET {}", "0".repeat(64))), what(&"0".repeat(64)));
    }

    #[test]
    fn get_takes_several_numbers_and_several_names() {
        let results = |numbers: &[(usize, usize)], to: Option<&str>| {
            Ok(Line::GetResults { numbers: numbers.to_vec(), to: to.map(str::to_owned) })
        };
        assert_eq!(parse("GET 1 3-5"), results(&[(1, 1), (3, 5)], None));
        assert_eq!(parse("GET 3-5"), results(&[(3, 5)], None));
        assert_eq!(parse("get all"), results(&[(1, usize::MAX)], None));
        assert_eq!(parse("GET ALL TO new music/"), results(&[(1, usize::MAX)], Some("new music/")));
        assert_eq!(parse("GET 1 2 to x"), results(&[(1, 1), (2, 2)], Some("x")));
        let to = Some("a b".to_owned());
        assert_eq!(parse("GET 2 TO a b"), Ok(Line::GetResult { number: 2, from: None, to: to.clone() }));
        let from = Some(From::Number(1));
        assert_eq!(parse("GET 2 FROM 1 TO a b"), Ok(Line::GetResult { number: 2, from, to: to.clone() }));
        let names = |also: &[&str], to| {
            let also = also.iter().map(|name| (*name).to_owned()).collect();
            Ok(Line::GetWhat { what: "a 1".into(), also, to })
        };
        assert_eq!(parse("GET \"a 1\" \"b\" \"c/\""), names(&["b", "c/"], None));
        assert_eq!(parse("GET \"a 1\" TO a b"), names(&[], to));
        assert_eq!(parse("GET back to black.mp3"), what("back to black.mp3"));
        assert_eq!(parse("GET say \"hi\".mp3"), what("say \"hi\".mp3"));
        assert_eq!(parse("GET \"x\".mp3"), what("\"x\".mp3"));
        assert_eq!(parse("GET 12345678"), what("12345678"), "digits of a root");
        assert_eq!(
            parse("GET 2 TO a to b").unwrap(),
            Line::GetResult { number: 2, from: None, to: Some("a to b".into()) }
        );
        assert!(parse("GET 5-3").unwrap_err().contains("backwards"));
    }

    #[test]
    fn a_uri_or_a_folder_has_a_destination_after_to() {
        let uri = format!("sprat:{},size=1,super=h:1,name=music", Root([1; 32]));
        let to = |what: &str, to: &str| Ok(Line::GetWhat { what: what.into(), also: Vec::new(), to: Some(to.into()) });
        assert_eq!(parse(&format!("GET {uri} TO /x/y z/")), to(&uri, "/x/y z/"));
        assert_eq!(parse(&format!("GET <{uri}> to x to y")), to(&format!("<{uri}>"), "x to y"));
        assert_eq!(parse(&format!("GET \"{uri}\" TO x")), to(&uri, "x"));
        assert_eq!(parse(&format!("GET sprat get {uri}")), what(&format!("sprat get {uri}")));
        let long = format!("{uri},x={}", "x".repeat(GET_BYTES_MAX));
        assert_eq!(parse(&format!("GET {long}")), what(&long));
        assert_eq!(parse("GET music/ TO m2"), to("music/", "m2"));
        assert_eq!(parse("GET my music/ TO m2/"), to("my music/", "m2/"));
        assert_eq!(parse("GET back to music/"), what("back to music/"));
        for line in ["GET music/ TO".to_owned(), format!("GET {uri} TO")] {
            assert!(parse(&line).unwrap_err().contains("missing after TO"), "{line}");
        }
    }

    #[test]
    fn digits_of_roots_have_a_destination_after_to() {
        let roots = |digits: &[&str], to: Option<&str>, name: &str| {
            let digits = digits.iter().map(|digits| (*digits).to_owned()).collect();
            Ok(Line::GetRoots { digits, to: to.map(str::to_owned), name: name.into() })
        };
        assert_eq!(parse("GET 8cac5901 TO x"), roots(&["8cac5901"], Some("x"), "8cac5901 TO x"));
        assert_eq!(parse("GET 8cac5901 12345678"), roots(&["8cac5901", "12345678"], None, "8cac5901 12345678"));
        assert_eq!(parse("GET 8cac590 12345678"), what("8cac590 12345678"), "seven digits are a name");
        assert!(parse("GET 8cac5901 TO").unwrap_err().contains("missing after TO"));
    }

    #[test]
    fn a_name_with_to_in_it_is_doubted() {
        assert!(doubt("GET song.mp3 TO x").unwrap().contains("GET \"song.mp3\" TO x"));
        for line in ["GET back to black.mp3", "GET \"a TO b\"", "GET 1 TO x", "QUERY a TO b", "GET x"] {
            assert_eq!(doubt(line), None, "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_answered_with_the_right_form() {
        for (line, form) in [
            ("QUERY", "QUERY name"),
            ("GET", "GET name"),
            ("GET 1 FROM", "FROM 2"),
            ("GET 1 FROM no:where", "FROM 2"),
            ("GET 3 TO", "missing after TO"),
            ("GET all to", "missing after TO"),
            ("GET \"a b\" TO", "missing after TO"),
            ("CANCEL", "CANCEL 1"),
            ("RESUME all", "RESUME 1"),
            ("LIMIT 5", "LIMIT UPLOAD 1M"),
            ("LIMIT UP 5", "LIMIT UPLOAD 1M"),
            ("LIST all", "write LIST"),
            ("FIND x", "QUERY"),
            ("QEURY x", "did you mean QUERY?"),
            ("xyzzy", "HELP explains them"),
            ("GET \"\"", "GET name"),
            ("GET \"x\" \"sprat:0\"", "of its own"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(form), "{line}: {error}");
        }
        assert!(parse(&format!("QUERY {}", "x".repeat(257))).unwrap_err().contains("256"));
        assert!(parse(&format!("URI {}", "x".repeat(700))).is_ok(), "it may be a path");
    }
}
