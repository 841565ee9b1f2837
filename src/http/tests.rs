//! Heads, ranges, conditions and paths, and for each of them what must be refused.

use super::*;
use crate::config::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use crate::wire::Root;

fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn get(fields: &[&str]) -> Request {
    let lines = [&["GET /files/a HTTP/1.1", "Host: h"][..], fields].concat();
    parse(&head(&lines)).unwrap().unwrap().0
}

fn refused(lines: &[&str]) -> u16 {
    parse(&head(lines)).unwrap_err().status()
}

#[test]
fn a_head_is_read_once_it_is_complete_and_what_follows_stays() {
    let mut bytes = head(&["GET /a?b=c%20d HTTP/1.1", "Host: h:4778", "Range: bytes=0-1", "Accept: x", "Accept: y"]);
    let length = bytes.len();
    bytes.extend_from_slice(b"GET /next");
    for end in 0..length {
        assert_eq!(parse(&bytes[..end]), Ok(None), "{end}");
    }
    let (request, used) = parse(&bytes).unwrap().unwrap();
    assert_eq!((used, request.method, request.path.as_str()), (length, Method::Get, "/a"));
    assert_eq!((request.host.as_str(), request.accept.as_str(), request.keep_alive), ("h:4778", "x,y", true));
    assert_eq!((request.param("b").as_deref(), request.param("x")), (Some("c d"), None));
}

#[test]
fn a_connection_is_kept_as_its_version_and_its_field_say() {
    let keeps = |lines: &[&str]| parse(&head(lines)).unwrap().unwrap().0.keep_alive;
    assert!(keeps(&["GET / HTTP/1.1", "Host: h"]));
    assert!(!keeps(&["GET / HTTP/1.1", "Host: h", "Connection: TE, Close"]));
    assert!(!keeps(&["GET / HTTP/1.0"]));
    assert!(keeps(&["GET / HTTP/1.0", "Connection: Keep-Alive"]));
}

#[test]
fn an_absolute_target_replaces_the_host() {
    let (request, _) = parse(&head(&["GET http://a:1/b?c HTTP/1.1", "Host: other"])).unwrap().unwrap();
    assert_eq!((request.host.as_str(), request.path.as_str(), request.query.as_str()), ("a:1", "/b", "c"));
}

#[test]
fn what_two_programs_could_read_in_two_ways_is_refused() {
    let post = "POST /api/search HTTP/1.1";
    assert_eq!(refused(&["GET / HTTP/1.1"]), 400, "no Host");
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a", "Host: a"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a b"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a/b"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a:+80"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host:"]), 400);
    assert_eq!(refused(&["GET http://a/ HTTP/1.1", "Host: a b"]), 400, "a Host that the target replaces");
    assert_eq!(refused(&["GET http:///a HTTP/1.1", "Host: a"]), 400);
    assert_eq!(refused(&["GET http://b@a/ HTTP/1.1", "Host: a"]), 400);
    assert_eq!(refused(&[post, "Host: a", "Transfer-Encoding: chunked"]), 400);
    assert_eq!(refused(&[post, "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"]), 400);
    assert_eq!(refused(&[post, "Host: a", "Content-Length: 3", "Content-Length: 3"]), 400);
    assert_eq!(refused(&[post, "Host: a", "Content-Length: +3"]), 400);
    assert_eq!(refused(&[post, "Host: a", "Content-Length: 3, 3"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host : a"]), 400, "a space before the colon");
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a", " folded: b"]), 400);
    assert_eq!(refused(&["GET  / HTTP/1.1", "Host: a"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a\rX: b"]), 400);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a\nX: b"]), 400);
    assert_eq!(refused(&["GET /\0 HTTP/1.1", "Host: a"]), 400);
    assert_eq!(refused(&["GET a HTTP/1.1", "Host: a"]), 400);
    for version in ["2.0", "1.2", "0.9", "9.9"] {
        assert_eq!(refused(&[&format!("GET / HTTP/{version}"), "Host: a"]), 505, "{version}");
    }
    for line in
        ["GET / HTTP/", "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/1.10", "GET / http/1.1", "GET /a b HTTP/1.1"]
    {
        assert_eq!(refused(&[line, "Host: a"]), 400, "{line}");
    }
    assert_eq!(refused(&["DELETE / HTTP/1.1", "Host: a"]), 405);
    assert_eq!(parse(b"GET / HTTP/1.1\nHost: a\n\n").unwrap_err().status(), 400, "bare line feeds");
}

#[test]
fn a_body_is_taken_from_post_only_and_up_to_its_limit() {
    let get = ["GET / HTTP/1.1", "Host: a", "Content-Length: 1"];
    assert_eq!(refused(&get), 413);
    let long = format!("Content-Length: {}", HTTP_BODY_BYTES_MAX + 1);
    assert_eq!(refused(&["POST /api/get HTTP/1.1", "Host: a", &long]), 413);
    let mut bytes = head(&["POST /api/get HTTP/1.1", "Host: a", "Content-Length: 2"]);
    assert_eq!(parse(&bytes), Ok(None));
    bytes.extend_from_slice(b"xyz");
    let (request, used) = parse(&bytes).unwrap().unwrap();
    assert_eq!((request.body.as_slice(), used), (&b"xy"[..], bytes.len() - 1));
}

#[test]
fn a_method_that_is_not_served_is_answered_with_those_that_are() {
    let allowed = |surface, line: &str| {
        let mut reader = Reader::new(surface);
        reader.hold(&head(&[line, "Host: a"]));
        match reader.take_request() {
            Err(Refusal::Method(allowed)) => Some(allowed),
            other => other.map(|_| None).unwrap(),
        }
    };
    for (surface, line, expected) in [
        (Surface::Page, "PUT /api/search HTTP/1.1", Some("POST")),
        (Surface::Page, "PUT http://a/api/search?q=x HTTP/1.1", Some("POST")),
        (Surface::Page, "GET /api/search HTTP/1.1", Some("POST")),
        (Surface::Page, "HEAD /api/get HTTP/1.1", Some("POST")),
        (Surface::Page, "POST /api/get HTTP/1.1", None),
        (Surface::Page, "POST / HTTP/1.1", Some("GET, HEAD")),
        (Surface::Page, "HEAD /events HTTP/1.1", None),
        (Surface::Page, "OPTIONS * HTTP/1.1", Some("GET, HEAD")),
        (Surface::Files, "CONNECT a:80 HTTP/1.1", Some("GET, HEAD")),
        (Surface::Files, "PUT /api/search HTTP/1.1", Some("GET, HEAD")),
        (Surface::Files, "POST /api/search HTTP/1.1", Some("GET, HEAD")),
        (Surface::Files, "GET /api/search HTTP/1.1", None),
    ] {
        assert_eq!(allowed(surface, line), expected, "{surface:?}: {line}");
    }
}

#[test]
fn a_client_that_waits_for_100_is_told_once_and_only_before_its_body() {
    let post = |fields: &[&str]| {
        let mut reader = Reader::new(Surface::Page);
        reader.hold(&head(&[&["POST /api/get HTTP/1.1", "Host: a", "Content-Length: 2"], fields].concat()));
        reader
    };
    let mut reader = post(&["Expect: 100-Continue"]);
    assert!(!reader.take_wait(), "the head is not read yet");
    assert_eq!(reader.take_request(), Ok(None));
    assert!(reader.take_wait() && !reader.take_wait());
    reader.hold(b"x");
    assert!(reader.take_request() == Ok(None) && !reader.take_wait());
    reader.hold(b"y");
    assert_eq!(reader.take_request().unwrap().unwrap().body, b"xy");

    let mut begun = post(&["Expect: 100-continue"]);
    begun.hold(b"x");
    assert!(begun.take_request() == Ok(None) && !begun.take_wait(), "a part of the body has come");
    let mut other = post(&[]);
    assert!(other.take_request() == Ok(None) && !other.take_wait());
}

#[test]
fn an_expectation_other_than_100_continue_is_refused() {
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a", "Expect: 200-ok"]), 417);
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a", "Expect: 100-continue, x"]), 417);
    assert!(parse(&head(&["GET / HTTP/1.0", "Expect: x"])).unwrap().is_some(), "HTTP/1.0 has no expectations");
}

#[test]
fn the_scheme_of_a_token_has_no_case_and_is_followed_by_spaces() {
    for (value, token) in [
        ("Bearer 07", Some("07")),
        ("bearer 07", Some("07")),
        ("BEARER   07", Some("07")),
        ("Basic 07", None),
        ("Bearer07", None),
    ] {
        assert_eq!(get(&[&format!("Authorization: {value}")]).token.as_deref(), token, "{value}");
    }
}

#[test]
fn a_metalink_is_sent_to_those_who_accept_one() {
    for (accept, expected) in [
        ("application/metalink4+xml", true),
        ("Application/Metalink4+XML", true),
        ("*/*, application/metalink4+xml ; q=0.1", true),
        ("application/metalink4+xml;q=0, */*", false),
        ("application/metalink4+xml; Q=0.000", false),
        ("application/metalink4+xml;q=0.", false),
        ("application/metalink4+xml;q=0.001", true),
        ("application/metalink4+xml;x=0", true),
        ("application/*", false),
        ("*/*", false),
        ("", false),
    ] {
        assert_eq!(metalink::is_accepted(accept), expected, "{accept}");
    }
}

#[test]
fn a_long_head_and_many_fields_are_refused() {
    let long = format!("X: {}", "x".repeat(HTTP_HEAD_BYTES_MAX));
    assert_eq!(refused(&["GET / HTTP/1.1", "Host: a", &long]), 431);
    let unfinished = format!("GET / HTTP/1.1\r\nHost: a\r\n{long}");
    assert_eq!(parse(unfinished.as_bytes()).unwrap_err().status(), 431);
    let mut many = vec!["GET / HTTP/1.1", "Host: a"];
    many.extend(std::iter::repeat_n("X: y", HTTP_HEADERS_MAX));
    assert_eq!(refused(&many), 431);
}

#[test]
fn requests_and_refusals_are_the_same_in_whatever_parts_they_arrive() {
    let get = "GET /a HTTP/1.1\r\nHost: h\r\n";
    let post = "POST /api/get HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n";
    let long = "x".repeat(HTTP_HEAD_BYTES_MAX);
    for (text, requests, status) in [
        (format!("{get}\r\n{post}\r\na\r\n\r{get}\r\n"), 3, None),
        (format!("{post}\r\nab"), 0, None),
        (format!("{get}\r\n{get}X: \0\r\n\r\n"), 1, Some(400)),
        (format!("{get}X: a\rb\r\n\r\n"), 0, Some(400)),
        (format!("{get}X: a\n\r\n"), 0, Some(400)),
        (format!("{get}Host: other\r\n\r\n"), 0, Some(400)),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n{get}\r\n"), 0, Some(400)),
        (format!("{post}Content-Length: 5\r\n\r\n{get}\r\n"), 0, Some(400)),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(HTTP_HEADERS_MAX)), 0, Some(431)),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(10_000)), 0, Some(431)),
        // This head is too long and malformed. The fault that comes first is the reason.
        (format!("{get}X: \0{long}\r\n\r\n"), 0, Some(400)),
        (format!("{get}X: {long}\0\r\n\r\n"), 0, Some(431)),
    ] {
        let bytes = text.as_bytes();
        let whole = Reader::read([bytes]);
        assert_eq!((whole.0.len(), whole.1.map(Refusal::status)), (requests, status), "{text:.80?}");
        for length in [1, 2, 3, 7, 4096] {
            assert_eq!(Reader::read(bytes.chunks(length)), whole, "parts of {length}: {text:.80?}");
        }
        for at in 0..bytes.len().min(300) {
            assert_eq!(Reader::read([&bytes[..at], &bytes[at..]]), whole, "cut at {at}: {text:.80?}");
        }
    }
}

#[test]
fn ranges_are_those_of_rfc_9110() {
    let part = |first, length| Span::Part { first, length };
    for (range, size, expected) in [
        ("bytes=0-0", 10, part(0, 1)),
        ("bytes=0-", 10, part(0, 10)),
        ("bytes=9-99", 10, part(9, 1)),
        ("bytes=-3", 10, part(7, 3)),
        ("bytes=-99", 10, part(0, 10)),
        ("bytes=10-", 10, Span::Beyond),
        ("bytes=10-20", 10, Span::Beyond),
        ("bytes=-0", 10, Span::Beyond),
        ("bytes=0-", 0, Span::Beyond),
        ("bytes=-1", 0, Span::All),
        ("bytes=-99", 0, Span::All),
        ("Bytes=1-2", 10, part(1, 2)),
        ("bytes=99999999999999999999-", 10, Span::Beyond),
        ("bytes=0-99999999999999999999", 10, part(0, 10)),
        ("bytes=5-4", 10, Span::All),
        ("bytes=0-1,3-4", 10, Span::All),
        ("bytes=a-b", 10, Span::All),
        ("bytes=-", 10, Span::All),
        ("bytes=+1-2", 10, Span::All),
        ("bytes=0 - 1", 10, Span::All),
        ("bytes= 0-1", 10, Span::All),
        ("bytes =0-1", 10, Span::All),
        ("items=0-1", 10, Span::All),
        ("", 10, Span::All),
    ] {
        assert_eq!(span(range, size), expected, "{range} of {size}");
    }
}

#[test]
fn conditions_are_those_of_rfc_9110() {
    let content = Content { root: Root([7; 32]), size: 10, modified_s: Some(951_782_400), dated: true };
    let (etag, date) = (content.etag(), content.last_modified().unwrap());
    assert_eq!(date, "Tue, 29 Feb 2000 00:00:00 GMT");
    let (earlier, later) = ("Mon, 28 Feb 2000 00:00:00 GMT", "Wed, 01 Mar 2000 00:00:00 GMT");
    let part = Served::Part { first: 1, length: 9 };
    let range = "Range: bytes=1-";
    for (fields, expected) in [
        (vec![], Served::All),
        (vec![range.to_owned()], part),
        (vec!["Range: bytes=10-".into()], Served::Beyond),
        (vec![range.into(), format!("If-Range: {etag}")], part),
        (vec![range.into(), "If-Range: \"other\"".into()], Served::All),
        (vec![range.into(), format!("If-Range: W/{etag}")], Served::All),
        (vec![range.into(), format!("If-Range: {date}")], part),
        (vec![range.into(), format!("If-Range: {later}")], Served::All),
        (vec![format!("If-None-Match: \"x\", {etag}")], Served::NotModified),
        (vec![format!("If-None-Match: W/{etag}")], Served::NotModified),
        (vec!["If-None-Match: *".into()], Served::NotModified),
        (vec!["If-None-Match: \"x\"".into(), format!("If-Modified-Since: {later}")], Served::All),
        (vec![format!("If-Modified-Since: {date}")], Served::NotModified),
        (vec![format!("If-Modified-Since: {earlier}")], Served::All),
        (vec!["If-Modified-Since: yesterday".into()], Served::All),
        (vec!["If-Match: \"x\"".into()], Served::Failed),
        (vec![format!("If-Match: {etag}")], Served::All),
        (vec![format!("If-Unmodified-Since: {earlier}")], Served::Failed),
        (vec![format!("If-Unmodified-Since: {date}")], Served::All),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(serve(&get(&fields), &content), expected, "{fields:?}");
    }
    // If `cp -p` has replaced a file, the new file may have the date of the old one.
    let fields = [range, &format!("If-Range: {date}")];
    assert_eq!(serve(&get(&fields), &Content { dated: false, ..content }), Served::All);
    // Range is defined for GET only.
    let (head, _) = parse(&head(&["HEAD /files/a HTTP/1.1", "Host: h", range])).unwrap().unwrap();
    assert_eq!(serve(&head, &content), Served::All);
}

#[test]
fn paths_lead_into_the_share_and_nowhere_else() {
    let hex = "07".repeat(32);
    let file = |path: &str| FileTarget::File(crate::wire::SharePath::new(path).unwrap());
    assert_eq!(file_target("/"), Ok(Some(FileTarget::Top)));
    assert_eq!(file_target("/files"), Ok(Some(FileTarget::Top)), "links of the page are relative");
    assert_eq!(file_target("/files/"), Ok(Some(FileTarget::Folder(String::new()))));
    assert_eq!(file_target("/files/a%20b/"), Ok(Some(FileTarget::Folder("a b".into()))));
    assert_eq!(file_target("/files/a/%c3%a4"), Ok(Some(file("a/ä"))));
    assert_eq!(file_target(&format!("/root/{hex}")), Ok(Some(FileTarget::Root(Root([7; 32])))));
    assert_eq!(file_target(&format!("/meta/{hex}.meta4")), Ok(Some(FileTarget::MetaOf(Root([7; 32])))));
    assert!(matches!(file_target("/meta/a/b.meta4"), Ok(Some(FileTarget::Meta(path))) if path.as_str() == "a/b"));
    for other in ["/etc/passwd", "/root/zz", "/meta/a", "/root/", "/FILES/a"] {
        assert_eq!(file_target(other), Ok(None), "{other}");
    }
    for bad in [
        "/files/../a",
        "/files/..%2fa",
        "/files/%2e%2e/a",
        "/files//a",
        "/files/./a",
        "/files/a%00",
        "/files/a%2Fb",
        "/files/%ff",
        "/files/%",
        "/files/%g0",
        "/files/a/../",
        "/meta/../a.meta4",
    ] {
        assert!(file_target(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_of_strangers_are_text_in_pages_and_documents() {
    let name = "<img src=x onerror=\"alert(1)\">&'\u{202e}\u{1}";
    let html =
        listing::page("a<b", &[listing::Entry { name: name.into(), file: Some((3, Some(Root([7; 32])))) }], None);
    assert!(!html.contains("<img") && !html.contains('\u{202e}') && html.contains("&lt;img"), "{html}");
    let digests = metalink::Digests::default();
    let xml = metalink::document(name, 3, &Root([7; 32]), &digests, &["http://h/?a&b".into()]);
    assert!(!xml.contains("<img") && xml.contains("?a&amp;b") && !xml.contains('\u{1}'), "{xml}");
    let answer = Answer::new(200, true).field("X", "a\r\nSet-Cookie: b").end(Body::Bytes(0));
    assert!(!String::from_utf8(answer).unwrap().contains("\r\nSet-Cookie"));
}
