//! The head of a request: its bytes become a [`Request`], or a [`Refusal`] with the reason.
//!
//! It is strict where two programs could read one head in two ways (RFC 9112, 11.2). It accepts
//! only one Host, no Transfer-Encoding, one Content-Length of digits, and lines that end in CR LF.

use percent_encoding::percent_decode_str;

use super::authority::Authority;
use super::surface::Surface;
use crate::config::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

/// The methods that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: the head of the answer to GET.
    Head,
    /// POST: a change, on the page only.
    Post,
}

impl Method {
    /// The method of this name. None if it is served nowhere.
    fn of(name: &str) -> Option<Method> {
        match name {
            "GET" => Some(Method::Get),
            "HEAD" => Some(Method::Head),
            "POST" => Some(Method::Post),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
        }
    }
}

/// Why a head is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP, or could be read in two ways.
    Malformed(&'static str),
    /// It is too long, or has too many fields.
    TooLarge,
    /// It announces a body although none is accepted, or a body that is too long.
    Body,
    /// The method is not served at this path. These methods are.
    Method(&'static str),
    /// It expects something that is not supported.
    Expectation,
    /// It has another major version.
    Version,
    /// It was not complete in time.
    Slow,
    /// All connections are in use.
    Busy,
    /// The host is neither a name nor an address of this node.
    Host,
    /// The request needs the token, and has no token or a wrong one.
    Token,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::TooLarge => 431,
            Refusal::Body => 413,
            Refusal::Method(_) => 405,
            Refusal::Expectation => 417,
            Refusal::Version => 505,
            Refusal::Slow => 408,
            Refusal::Busy => 503,
            Refusal::Host => 421,
            Refusal::Token => 401,
        }
    }

    /// The reason, for people.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Refusal::Malformed(why) => why,
            Refusal::TooLarge => "the head of the request is too long or has too many fields",
            Refusal::Body => "the body is too long, or this method has none",
            Refusal::Method(_) => "this method is not served here; the field Allow names the methods that are",
            Refusal::Expectation => "this expectation is not supported; 100-continue is",
            Refusal::Version => "this version of HTTP is not served; 1.0 and 1.1 are",
            Refusal::Slow => "the request was not complete in time",
            Refusal::Busy => "too many connections; try again",
            Refusal::Token => "in login mode this needs `Authorization: Bearer` and the token in the state folder",
            Refusal::Host => "this host name is not served here; use the address of the listener",
        }
    }
}

/// A request, with the fields that are needed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent, without the query. It begins with a slash.
    pub path: String,
    /// The query, without its question mark.
    pub query: String,
    /// The host and port as the client wrote them; empty in HTTP/1.0 without Host.
    pub host: String,
    /// Whether the connection may be used for another request.
    pub keep_alive: bool,
    /// Bytes of the body that follows the head.
    pub body_bytes: usize,
    /// Whether the client waits for the status 100 before it sends the body.
    pub expects_continue: bool,
    /// The field Range. It is kept only for GET, because it has no meaning for other methods (RFC
    /// 9110, 14.2).
    pub range: Option<String>,
    /// The field If-Range.
    pub if_range: Option<String>,
    /// The field If-None-Match.
    pub if_none_match: Option<String>,
    /// The field If-Match.
    pub if_match: Option<String>,
    /// The field If-Modified-Since.
    pub if_modified_since: Option<String>,
    /// The field If-Unmodified-Since.
    pub if_unmodified_since: Option<String>,
    /// The field Accept.
    pub accept: String,
    /// The token, from `Authorization: Bearer` or from X-Sprat-Token.
    pub token: Option<String>,
    /// Whether a page of another site caused the request without a click of the user on a link
    /// (<https://www.w3.org/TR/fetch-metadata/>).
    pub is_foreign: bool,
    /// The field Last-Event-ID.
    pub last_event: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a parameter of the query, decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        form_field(&self.query, name)
    }
}

/// The decoded value of a field of a form or a query (`a=b&c=d`). None if there is no such field,
/// or if it is not UTF-8.
#[must_use]
pub fn form_field(form: &str, name: &str) -> Option<String> {
    let (_, value) = form.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let plain = value.replace('+', " ");
    percent_decode_str(&plain).decode_utf8().ok().map(|value| value.into_owned())
}

/// What is known about the beginning of a request, while more of its bytes arrive: how many bytes
/// were checked, and how many the request needs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many bytes at the front were checked. They contain neither the end of the head nor
    /// anything that is refused.
    plain: usize,
    /// The length of the request; 0 while its head is not complete.
    needed: usize,
    /// Whether the client waits for the status 100. This is so if the head is complete and no byte
    /// of the body has come.
    pub(super) waits: bool,
}

/// Whether a connection that begins with this byte speaks HTTP. It is the first letter of the
/// method, or it belongs to an empty line before the request (RFC 9112, 2.2).
#[must_use]
pub fn may_begin(first: u8) -> bool {
    first.is_ascii_uppercase() || first == b'\r'
}

/// Reads the request for the page at the front of these bytes: a head, and the body that follows
/// it. Returns the request and its length; `None` if it is not complete.
///
/// # Errors
/// If the head is refused. Then nothing after it can be read.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    parse_seen(bytes, &mut Seen::default(), Surface::Page)
}

/// As [`parse`], for bytes of which a part was checked before, on any listener.
pub(super) fn parse_seen(bytes: &[u8], seen: &mut Seen, surface: Surface) -> Result<Option<(Request, usize)>, Refusal> {
    if bytes.len() < seen.needed {
        return Ok(None);
    }
    let front = &bytes[..bytes.len().min(HTTP_HEAD_BYTES_MAX)];
    let end = head_end(front, seen.plain);
    strict(&front[..end.unwrap_or(front.len())], seen.plain)?;
    let Some(end) = end else {
        seen.plain = front.len();
        return if front.len() == HTTP_HEAD_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(None) };
    };
    let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let used = match head.parse(&front[..end]) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Err(Refusal::Malformed("the head is not complete")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(httparse::Error::Version) if names_version(front) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed("this is not a head of HTTP/1.1")),
    };
    let mut request = request_of(&head, surface)?;
    seen.needed = used + request.body_bytes;
    let Some(body) = bytes.get(used..seen.needed) else {
        seen.waits = request.expects_continue && bytes.len() == used;
        return Ok(None);
    };
    request.body = body.to_vec();
    Ok(Some((request, seen.needed)))
}

/// Whether the first line is one of HTTP, of any version (RFC 9112, 2.3 and 3).
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]] = words[..] else { return false };
    major.is_ascii_digit() && minor.is_ascii_digit()
}

/// The length of the head, including the empty line at its end. This end does not lie within the
/// first `plain` bytes.
fn head_end(bytes: &[u8], plain: usize) -> Option<usize> {
    let from = plain.saturating_sub(3);
    bytes[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Refuses control characters other than CR LF pairs and tabs before the head is parsed. These are
/// NUL, and characters that only some programs treat as the end of a line. The first `plain` bytes
/// were checked before. If they end with a CR, this CR is checked again, because the byte after it
/// was not known.
fn strict(bytes: &[u8], plain: usize) -> Result<(), Refusal> {
    for (at, byte) in bytes.iter().enumerate().skip(plain.saturating_sub(1)) {
        let wrong = match byte {
            b'\n' => at == 0 || bytes[at - 1] != b'\r',
            b'\r' => bytes.get(at + 1).is_some_and(|next| *next != b'\n'),
            b'\t' => false,
            0x7f | 0..0x20 => true,
            _ => false,
        };
        if wrong {
            return Err(Refusal::Malformed("the head has a control character or a line end that is not CR LF"));
        }
    }
    Ok(())
}

fn request_of(head: &httparse::Request<'_, '_>, surface: Surface) -> Result<Request, Refusal> {
    let is_new = head.version == Some(1);
    let fields = Fields(head.headers);
    let target = target_of(head.path.unwrap_or_default(), &fields, is_new);
    // OPTIONS and CONNECT have targets that are no paths, so the method is checked first.
    let Some(method) = Method::of(head.method.unwrap_or_default()) else {
        let path = target.as_ref().map_or("", |(_, target)| path_and_query(target).0);
        return Err(Refusal::Method(surface.allows(path)));
    };
    let (host, target) = target?;
    let (path, query) = path_and_query(&target);
    let body_bytes = body_bytes(&fields)?;
    let allowed = surface.allows(path);
    if !allowed.split(", ").any(|name| name == method.name()) {
        return Err(Refusal::Method(allowed));
    }
    if body_bytes > if method == Method::Post { HTTP_BODY_BYTES_MAX } else { 0 } {
        return Err(Refusal::Body);
    }
    let connection = fields.all("connection")?.to_ascii_lowercase();
    let has = |word: &str| connection.split(',').any(|each| each.trim() == word);
    let token = fields.one("authorization")?.and_then(|value| bearer(&value).map(str::to_owned));
    Ok(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        host,
        keep_alive: !has("close") && (is_new || has("keep-alive")),
        body_bytes,
        expects_continue: expects_continue(&fields, is_new)?,
        range: fields.one("range")?.filter(|_| method == Method::Get),
        if_range: fields.one("if-range")?,
        if_none_match: fields.some("if-none-match")?,
        if_match: fields.some("if-match")?,
        if_modified_since: fields.one("if-modified-since")?,
        if_unmodified_since: fields.one("if-unmodified-since")?,
        accept: fields.all("accept")?,
        token: token.or(fields.one("x-sprat-token")?),
        is_foreign: fields.all("sec-fetch-site")? == "cross-site" && fields.all("sec-fetch-mode")? != "navigate",
        last_event: fields.one("last-event-id")?.and_then(|id| id.parse().ok()),
        body: Vec::new(),
    })
}

/// The host, and the path with its query. An absolute target replaces the value of Host (RFC 9112,
/// 3.2.2), but Host must still be present and valid.
fn target_of(target: &str, fields: &Fields<'_>, is_new: bool) -> Result<(String, String), Refusal> {
    let sent = fields.one("host")?;
    if is_new && sent.is_none() {
        return Err(Refusal::Malformed("a request needs exactly one Host"));
    }
    let (named, target) = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            let slash = rest.find(['/', '?']).unwrap_or(rest.len());
            let path =
                if rest[slash..].starts_with('/') { rest[slash..].to_owned() } else { format!("/{}", &rest[slash..]) };
            (Some(rest[..slash].to_owned()), path)
        }
        _ => (None, target.to_owned()),
    };
    if [&sent, &named].into_iter().flatten().any(|host| Authority::read(host).is_none()) {
        return Err(Refusal::Malformed("Host is not a host name or address"));
    }
    if !target.starts_with('/') {
        return Err(Refusal::Malformed("the target of the request is not a path"));
    }
    Ok((named.or(sent).unwrap_or_default(), target))
}

/// The path and the query of a target.
fn path_and_query(target: &str) -> (&str, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (path.split_once('#').map_or(path, |(path, _)| path), query)
}

/// The token in a value of Authorization. The name of the scheme has no case, and one or more
/// spaces follow it (RFC 9110, 11.4).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}

/// Whether the client waits for the status 100. HTTP/1.0 has no expectations.
fn expects_continue(fields: &Fields<'_>, is_new: bool) -> Result<bool, Refusal> {
    let expected = fields.all("expect")?;
    let mut expected = expected.split(',').map(str::trim).filter(|each| !each.is_empty() && is_new).peekable();
    let is_any = expected.peek().is_some();
    if expected.all(|each| each.eq_ignore_ascii_case("100-continue")) { Ok(is_any) } else { Err(Refusal::Expectation) }
}

/// The length of the body, from one Content-Length. One that does not fit is too long for any
/// request.
fn body_bytes(fields: &Fields<'_>) -> Result<usize, Refusal> {
    if fields.count("transfer-encoding") > 0 {
        return Err(Refusal::Malformed("Transfer-Encoding is not supported; send Content-Length"));
    }
    let Some(length) = fields.one("content-length")? else { return Ok(0) };
    if length.is_empty() || !length.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Refusal::Malformed("Content-Length is not a number"));
    }
    Ok(length.parse().unwrap_or(usize::MAX))
}

/// The fields of a head.
struct Fields<'h>(&'h [httparse::Header<'h>]);

impl Fields<'_> {
    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    }

    /// All values of a field, as one list; empty if the field is missing.
    fn all(&self, name: &str) -> Result<String, Refusal> {
        let mut list = String::new();
        for field in self.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name)) {
            let value = std::str::from_utf8(field.value);
            let value = value.map_err(|_| Refusal::Malformed("a field of the head is not UTF-8"))?;
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(value.trim());
        }
        Ok(list)
    }

    /// The values of a field; none if it is missing.
    fn some(&self, name: &str) -> Result<Option<String>, Refusal> {
        if self.count(name) == 0 { Ok(None) } else { self.all(name).map(Some) }
    }

    /// The value of a field that may occur only once.
    fn one(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.count(name) {
            0 => Ok(None),
            1 => self.all(name).map(Some),
            _ => Err(Refusal::Malformed("a field that may occur once occurs more often")),
        }
    }
}
