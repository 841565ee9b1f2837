//! A URI as people paste it: with quotes, brackets or a command around it, with a line break in it,
//! or in the percent-encoding of a web page. `wire::uri` says what a URI is; this module finds one
//! in such a text. It only reads text.

use percent_encoding::percent_decode_str;

use crate::wire::Uri;
use crate::wire::name::printable;
use crate::wire::uri::SCHEME;

/// The scheme in percent-encoding.
const ENCODED_SCHEME: &str = "sprat%3A";
/// A text that does not begin with the scheme is meant as a URI only if at least this many hex
/// digits follow the scheme.
const DIGITS_MIN: usize = 8;
/// What may be around a URI, by pairs. A URI that is written here contains none of these.
const AROUND: [(char, char); 14] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('”', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('‚', '‘'),
    ('«', '»'),
    ('»', '«'),
    ('<', '>'),
    ('(', ')'),
    ('[', ']'),
    ('{', '}'),
];
/// The words of a command that may be pasted together with its URI.
const WORDS: [&str; 2] = ["sprat ", "get "];
/// What ends a line of a text.
const BREAKS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// The URI that is meant by a text that the user gave in place of a name. None if the text is a
/// name.
///
/// # Errors
/// A sentence with the form of a complete URI, if the text is meant as one and is not complete.
pub(crate) fn uri(text: &str) -> Result<Option<Uri>, String> {
    let plain: String = text.chars().filter(|c| !is_zero_width(*c)).collect();
    let Some(inner) = inner(&plain) else { return Ok(None) };
    read(inner).map(Some).map_err(|why| {
        let name = printable(&text.trim().chars().skip(1).collect::<String>());
        format!(
            "{why}; a complete URI is one line without spaces: {SCHEME}ROOT,size=N,super=HOST:PORT,name=NAME, where \
             ROOT has 64 hex digits; a file with such a name is found by the pattern '?{name}'"
        )
    })
}

/// Whether a text is meant as a URI, complete or not.
pub(crate) fn is_meant(text: &str) -> bool {
    !matches!(uri(text), Ok(None))
}

/// The text from the scheme on, without what is around it. None if the text is not meant as a URI.
fn inner(text: &str) -> Option<&str> {
    let (mut rest, mut opened) = (text.trim(), None);
    if Uri::is_meant(rest) {
        return Some(without_end(rest));
    }
    while after_scheme(rest).is_none() {
        let first = rest.chars().next()?;
        let word = WORDS.iter().find_map(|word| after(rest, word));
        opened = if word.is_none() && is_opening(first) { Some(first) } else { opened };
        // A mail quotes with >, and a manual shows the prompt of a shell as $.
        let mark = (is_opening(first) || ['>', '$'].contains(&first)).then(|| &rest[first.len_utf8()..]);
        rest = word.or(mark)?.trim_start();
    }
    let closes = |c: char| AROUND.iter().any(|(opening, closing)| Some(*opening) == opened && *closing == c);
    let inner = if opened.is_some() { rest.split(closes).next().unwrap_or_default() } else { without_end(rest) };
    begins(inner).then_some(inner)
}

/// Whether the text begins with a scheme and digits of a root.
fn begins(text: &str) -> bool {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    after_scheme(text).is_some_and(|rest| digits(rest) >= DIGITS_MIN)
}

/// The text after the scheme, and after slashes that a chat has added.
fn after_scheme(text: &str) -> Option<&str> {
    let rest = after(text, SCHEME).or_else(|| after(text, ENCODED_SCHEME))?;
    Some(rest.trim_start_matches('/'))
}

/// The text after this word, in upper or lower case.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// The text without quotes and brackets at its end that were not opened in it.
fn without_end(text: &str) -> &str {
    let inner = text.trim_end_matches(is_closing);
    if inner.contains(is_opening) { text } else { inner }
}

fn is_opening(c: char) -> bool {
    AROUND.iter().any(|(opening, _)| *opening == c)
}

fn is_closing(c: char) -> bool {
    AROUND.iter().any(|(_, closing)| *closing == c)
}

/// Characters without a width, which chats add. Those that join letters can be part of a name.
fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}' | '\u{ad}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
}

fn read(inner: &str) -> Result<Uri, String> {
    if inner.split_whitespace().skip(1).any(begins) {
        return Err("there are two URIs; each is fetched by a command of its own".to_owned());
    }
    let joined = joined(inner)?;
    let given = with_scheme(&joined);
    given.parse().or_else(|why: crate::wire::uri::UriError| {
        let decoded = percent_decode_str(&joined).decode_utf8().ok();
        decoded.and_then(|decoded| with_scheme(&decoded).parse().ok()).ok_or_else(|| why.to_string())
    })
}

/// The lines of a URI as one line. An empty line ends it.
fn joined(text: &str) -> Result<String, String> {
    let text = text.replace("\r\n", "\n");
    let lines = text.split(BREAKS).map(|line| line.trim_start_matches(|c: char| c == '>' || c.is_whitespace()));
    let lines: Vec<&str> = lines.map(str::trim_end).take_while(|line| !line.is_empty()).collect();
    let joined = lines.concat();
    if lines.len() > 1 && joined.contains(char::is_whitespace) {
        return Err("the URI has a line break and other text in it".to_owned());
    }
    Ok(joined)
}

fn with_scheme(text: &str) -> String {
    match after(text, SCHEME) {
        Some(rest) => format!("{SCHEME}{}", rest.trim_start_matches('/')),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Root;

    fn given() -> String {
        format!("sprat:{},size=5,super=127.0.0.1:33757,name=a%20b%2Cc%5B1%5D.txt", Root([0xea; 32]))
    }

    #[test]
    fn a_uri_is_found_in_what_is_around_it() {
        let (uri_text, expected) = (given(), given().parse::<Uri>().unwrap());
        for text in [
            "U",
            " U\n",
            "\"U\"",
            "'U'",
            "`U`",
            "“U”",
            "„U“",
            "‘U’",
            "«U»",
            "»U«",
            "<U>",
            "(U).",
            "[U],",
            "\u{feff}U",
            "\u{200b}U\u{200b}",
            "> U",
            "> > U",
            "sprat get U",
            "$ sprat get 'U'",
            "\"sprat get U\"",
            "GET U",
            "U\"",
            "U)",
            "(\"U\")",
            "U\n\nthat is the song",
            "\"U\" is the song",
        ] {
            let text = text.replace('U', &uri_text);
            assert_eq!(uri(&text), Ok(Some(expected.clone())), "{text}");
        }
    }

    #[test]
    fn a_uri_with_line_breaks_or_in_another_encoding_is_read() {
        let (uri_text, expected) = (given(), given().parse::<Uri>().unwrap());
        let broken = |length: usize, end: &str| {
            let chars: Vec<char> = uri_text.chars().collect();
            chars.chunks(length).map(|chunk| chunk.iter().collect::<String>()).collect::<Vec<_>>().join(end)
        };
        let encoded = uri_text.replace('%', "%25").replace(':', "%3A").replace(',', "%2C").replace('=', "%3d");
        let texts = [
            broken(20, "\n"),
            broken(70, "\r\n   "),
            format!("> {}", broken(40, "\n> ")),
            uri_text.replace("sprat:", "sprat://"),
            uri_text.replace("sprat:", "SPRAT://"),
            encoded.replace("sprat%3A", "sprat:"),
            encoded,
        ];
        for text in texts {
            assert_eq!(uri(&text), Ok(Some(expected.clone())), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_uri_is_a_name() {
        for text in [
            "",
            "x",
            "song.mp3",
            "sprat",
            "sprat get",
            "get x",
            "(sprat).mp3",
            "\"sprat:abc\"",
            "[s]prat:abc",
            "?prat:abc",
            "*sprat:*",
            "a sprat:abc",
            "sprat%3Aabc",
            "> x",
            "»",
            "„",
        ] {
            assert_eq!(uri(text), Ok(None), "{text}");
        }
        let root = Root([0xea; 32]);
        assert_eq!(uri(&format!("?prat:{root}")), Ok(None));
        assert_eq!(uri(&root.to_string()), Ok(None));
    }

    #[test]
    fn a_uri_that_is_not_complete_is_refused_with_the_form_of_one() {
        let (uri_text, root) = (given(), Root([0xea; 32]));
        for text in [
            "sprat:".to_owned(),
            "sprat:abc".to_owned(),
            format!("\"{}", &uri_text[..40]),
            format!("> {}", &uri_text[..40]),
            format!("{uri_text} {uri_text}"),
            format!("{uri_text}\n{uri_text}"),
            format!("{uri_text}\nthat is the song"),
            format!("sprat:{root}&#44;size=5"),
        ] {
            let error = uri(&text).unwrap_err();
            assert!(error.contains("sprat:ROOT,size=N,super=HOST:PORT,name=NAME"), "{text}: {error}");
        }
        assert!(uri("sprat:abc.txt").unwrap_err().ends_with("the pattern '?prat:abc.txt'"));
        assert!(uri(&format!("{uri_text}\n{uri_text}")).unwrap_err().contains("two URIs"));
    }

    #[test]
    fn brackets_of_a_name_stay() {
        let text = format!("sprat:{},name=song (live)", Root([0xea; 32]));
        assert_eq!(uri(&text).unwrap().unwrap().name.as_deref(), Some("song (live)"));
    }
}
