//! The share and the page over HTTP, as a client sees them that knows only HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use sprat::wire::message::Get;

use crate::common::source::{self, Source};
use crate::common::{Daemon, PATIENCE, World, eventually, noise, root_of};

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let line =
            self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{}: ", name.to_lowercase())))?;
        Some(line.split_once(": ")?.1)
    }
}

fn connect(addr: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    BufReader::new(stream)
}

/// Reads the next answer. The answer to HEAD has no body.
fn read(from: &mut BufReader<TcpStream>, is_head: bool) -> Answer {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(from.read_line(&mut head).expect("an answer") > 0, "it closed after {head:?}");
    }
    let status = head[9..12].parse().expect("a status");
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.field("content-length").map_or(0, |length| length.parse().expect("a length"));
    answer.body = vec![0; if is_head || status == 304 { 0 } else { length }];
    from.read_exact(&mut answer.body).expect("the body");
    answer
}

pub(crate) fn ask(addr: &str, method: &str, path: &str, fields: &[&str]) -> Answer {
    let mut stream = connect(addr);
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    write!(stream.get_mut(), "{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{fields}\r\n").expect("it reads");
    read(&mut stream, method == "HEAD")
}

/// Sends these bytes and returns the answer.
pub(crate) fn raw(addr: &str, request: &str) -> Answer {
    let mut stream = connect(addr);
    stream.get_mut().write_all(request.as_bytes()).expect("it reads");
    read(&mut stream, false)
}

pub(crate) fn get(addr: &str, path: &str, fields: &[&str]) -> Answer {
    ask(addr, "GET", path, fields)
}

/// The address of the page, from the ready file.
pub(crate) fn page(daemon: &Daemon) -> String {
    eventually("the page is named", || {
        let log = daemon.log();
        let at = log.find("is http://")? + "is http://".len();
        Some(log[at..].split('/').next()?.to_owned())
    })
}

/// A peer that serves its share over HTTP, with these files.
fn serving(world: &World, daemon: &Daemon, name: &str, files: &[(&str, &[u8])]) -> Daemon {
    files.iter().for_each(|(path, content)| world.share(name, path, content));
    let peer =
        world.peer_with(name, &[daemon], &["--http-files", "--http", "127.0.0.1:0"], std::process::Stdio::null());
    for (path, content) in files {
        eventually("the file is served", || {
            (get(peer.addr(), &format!("/root/{}", root_of(content)), &[]).status == 200).then_some(path)
        });
    }
    peer
}

#[test]
fn a_file_is_served_with_its_ranges_and_conditions() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(1, (5 << 20) + 7);
    let peer = serving(&world, &daemon, "p", &[("music/a b.bin", &content), ("empty", b""), ("x>y", b"1")]);
    let (addr, path) = (peer.addr(), "/files/music/a%20b.bin");
    let all = get(addr, path, &[]);
    assert_eq!((all.status, all.body == content), (200, true));
    let etag = format!("\"{}\"", root_of(&content));
    assert_eq!(all.field("etag"), Some(etag.as_str()));
    assert_eq!(all.field("accept-ranges"), Some("bytes"));
    let date = all.field("last-modified").expect("a date").to_owned();

    for (range, expected) in
        [("0-0", 0..1), ("1048570-3145730", 1_048_570..3_145_731), ("5242880-", 5_242_880..5_242_887)]
    {
        let part = get(addr, path, &[&format!("Range: bytes={range}")]);
        assert_eq!((part.status, part.body[..] == content[expected]), (206, true), "{range}");
    }
    let tail = get(addr, path, &["Range: bytes=-3"]);
    assert_eq!((tail.status, &tail.body[..]), (206, &content[content.len() - 3..]));
    assert_eq!(tail.field("content-range"), Some("bytes 5242884-5242886/5242887"));
    let beyond = get(addr, path, &["Range: bytes=5242887-"]);
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */5242887")));
    assert_eq!(get(addr, path, &["Range: bytes=0-1,4-5"]).body.len(), content.len(), "several ranges: all");
    assert_eq!(get(addr, path, &["Range: bytes=0-1", &format!("If-Range: {etag}")]).status, 206);
    assert_eq!(get(addr, path, &["Range: bytes=0-1", "If-Range: \"x\""]).status, 200);
    assert_eq!(get(addr, path, &[&format!("If-None-Match: {etag}")]).status, 304);
    assert_eq!(get(addr, path, &[&format!("If-Modified-Since: {date}")]).status, 304);
    let head = ask(addr, "HEAD", path, &[]);
    assert_eq!((head.status, head.field("content-length")), (200, Some("5242887")));
    assert_eq!(get(addr, "/files/empty", &[]).body, b"");
    // A path cannot end the value of a Link field early.
    let link = get(addr, "/files/x>y", &[]).field("link").map(str::to_owned);
    assert!(link.as_deref().is_some_and(|link| link.starts_with("</meta/x%3Ey.meta4>; ")), "{link:?}");

    let listing = String::from_utf8(get(addr, "/files/", &[]).body).expect("text");
    assert!(listing.contains("href=\"./music/\"") && listing.contains(&root_of(b"")), "{listing}");
    assert_eq!(get(addr, "/files/music", &[]).field("location"), Some("/files/music/"));
    for (missing, status) in [("/files/no", 404), ("/etc/passwd", 404), ("/files/..%2fa", 400), ("/files/%00", 400)] {
        assert_eq!(get(addr, missing, &[]).status, status, "{missing}");
    }
}

#[test]
fn a_small_file_is_served_again_and_again_and_never_after_it_has_changed() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = serving(&world, &daemon, "p", &[("small", b"0123456789")]);
    let (addr, path) = (peer.addr(), "/files/small");
    let etag = format!("\"{}\"", root_of(b"0123456789"));
    for _ in 0..3 {
        let all = get(addr, path, &[]);
        assert_eq!((all.status, &all.body[..], all.field("etag")), (200, &b"0123456789"[..], Some(etag.as_str())));
        let part = get(addr, path, &["Range: bytes=2-4"]);
        assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
        assert_eq!(get(addr, path, &[&format!("If-None-Match: {etag}")]).status, 304);
        assert_eq!(ask(addr, "HEAD", path, &[]).field("content-length"), Some("10"));
        assert_eq!(get(addr, path, &["Connection: close"]).body, b"0123456789");
    }
    world.share("p", "small", b"another one");
    eventually("the new content is served", || {
        let answer = get(addr, path, &[]);
        assert!([200, 404, 503].contains(&answer.status) && answer.body != b"0123456789", "{answer:?}");
        (answer.status == 200).then(|| assert_eq!(answer.body, b"another one"))
    });
    std::fs::remove_file(world.folder("p").join("small")).expect("it is there");
    assert_eq!(get(addr, path, &[]).status, 404);
}

#[test]
fn requests_of_one_connection_are_answered_in_order() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let large = noise(2, 3 << 20);
    let peer = serving(&world, &daemon, "p", &[("large", &large), ("small", b"12345")]);
    let mut stream = connect(peer.addr());
    let mut requests = String::new();
    for path in ["small", "large", "no", "small"] {
        requests.push_str(&format!("GET /files/{path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    stream.get_mut().write_all(requests.as_bytes()).expect("it reads");
    let answers: Vec<Answer> = (0..4).map(|_| read(&mut stream, false)).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 404, 200]);
    assert!(answers[0].body == b"12345" && answers[1].body == large && answers[3].body == b"12345");
}

#[test]
fn what_is_no_request_is_refused_and_counted() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = serving(&world, &daemon, "p", &[("a", b"1")]);
    let refused = |text: &str| {
        let mut stream = connect(peer.addr());
        stream.get_mut().write_all(text.as_bytes()).expect("it reads");
        read(&mut stream, false).status
    };
    let malformed = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "GET /files/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /files/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /files/a%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /files/%ff HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in malformed {
        assert_eq!(refused(request), 400, "{request:?}");
    }
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"), 413);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000))), 431);
    assert_eq!(refused("PUT / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    let counted = malformed.len() as u64;
    for (name, count) in
        [("net_http_malformed", counted), ("net_http_bodies", 1), ("net_http_too_large", 1), ("net_http_methods", 1)]
    {
        assert_eq!(world.peer_count(&peer, name), count, "{name}");
    }
}

#[test]
fn a_metalink_names_the_pieces_and_all_sources_that_serve_http() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(3, (2 << 20) + 1);
    let first = serving(&world, &daemon, "p", &[("x.bin", &content)]);
    let second = serving(&world, &daemon, "q", &[("y.bin", &content)]);
    world.share("r", "z.bin", &content);
    let _silent = world.peer("r", &[&daemon]);
    world.hits(&daemon, &root_of(&content), 3);
    let accepts = ["Accept: */*,application/metalink4+xml"];
    let meta = get(first.addr(), "/files/x.bin", &accepts);
    assert_eq!(meta.field("content-type"), Some("application/metalink4+xml"));
    assert!(meta.field("content-disposition").is_some_and(|name| name.contains("\"x.bin.meta4\"")), "{meta:?}");
    let xml = String::from_utf8(meta.body).expect("text");
    assert_eq!(xml.matches("<url ").count(), 2, "{xml}");
    assert_eq!(xml.matches("<hash>").count(), 3, "{xml}");
    for part in [first.addr(), second.addr(), "<size>2097153</size>", "length=\"1048576\"", "name=\"x.bin\""] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
    let url = format!("/root/{}", root_of(&content));
    // wget2 leaves the port out, and HTTP/1.0 has no Host.
    let (host, _) = first.addr().split_once(':').expect("an address");
    for head in [format!("HTTP/1.1\r\nHost: {host}"), "HTTP/1.0".to_owned()] {
        let xml = String::from_utf8(raw(first.addr(), &format!("GET /meta/x.bin.meta4 {head}\r\n\r\n")).body);
        let own = format!("<url priority=\"1\">http://{}{url}</url>", first.addr());
        assert!(xml.as_ref().is_ok_and(|xml| xml.contains(&own)), "{head}: {xml:?}");
    }
    assert!(get(second.addr(), &url, &[]).body == content);
    assert_eq!(get(first.addr(), "/files/x.bin", &[]).field("content-type"), Some("application/octet-stream"));
}

#[test]
fn the_page_shows_figures_and_changes_nothing_without_its_token() {
    let world = World::new();
    let daemon = world.super_peer_at("s", 0, &[], &["--http", "127.0.0.1:0"]);
    let content = noise(4, 100_000);
    world.share("q", "wanted.bin", &content);
    let _source = world.peer("q", &[&daemon]);
    world.hits(&daemon, "wanted.bin", 1);
    let peer = serving(&world, &daemon, "p", &[("a", b"1")]);
    for (name, at) in [("s", page(&daemon)), ("p", page(&peer))] {
        let shot: Value = serde_json::from_slice(&get(&at, "/api/snapshot", &[]).body).expect("JSON");
        assert_eq!(shot["name"], name, "{shot}");
        assert!(shot["counters"]["turns"].as_u64() > Some(0), "{shot}");
        let metrics = String::from_utf8(get(&at, "/metrics", &[]).body).expect("text");
        assert!(metrics.contains("sprat_turn_duration_seconds_count "), "{metrics}");
        assert_eq!(get(&at, "/healthz", &[]).body, b"ok\n");
        let html = get(&at, "/", &[]);
        assert!(html.field("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
        assert_eq!(get(&at, "/app.js", &[]).status, 200);
        let mut stream = connect(&at);
        write!(stream.get_mut(), "GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n").expect("it reads");
        assert_eq!(read(&mut stream, false).status, 421);
        let metrics = String::from_utf8(get(&at, "/metrics", &[]).body).expect("text");
        assert!(metrics.contains("sprat_net_http_hosts_total 1\n"), "{metrics}");
        let mut stream = connect(&at);
        write!(stream.get_mut(), "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut line = String::new();
        while line != "event: snapshot\n" {
            line.clear();
            assert!(stream.read_line(&mut line).expect("events") > 0);
        }
    }
    let at = page(&peer);
    assert_eq!(ask(&at, "HEAD", "/events", &[]).field("content-type"), Some("text/event-stream"));
    for since in ["-1", "abc", "99999999999999999999"] {
        assert_eq!(get(&at, &format!("/events?since={since}"), &[]).status, 400, "{since}");
    }
    let post = |path: &str, token: &str, body: &str| {
        let mut stream = connect(&at);
        let length = body.len();
        write!(
            stream.get_mut(),
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nX-Sprat-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        read(&mut stream, false)
    };
    assert_eq!(post("/api/search", "wrong", "q=wanted").status, 403);
    let html = String::from_utf8(get(&at, "/", &[]).body).expect("text");
    let token = html.split("name=\"sprat-token\" content=\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = token.expect("the page has its token");
    let found: Value = serde_json::from_slice(&post("/api/search", token, "q=wanted").body).expect("JSON");
    assert_eq!(found["hits"][0]["root"], root_of(&content), "{found}");
    let got: Value =
        serde_json::from_slice(&post("/api/get", token, &format!("root={}", root_of(&content))).body).expect("JSON");
    assert_eq!(got["ok"], true, "{got}");
    eventually("the file is there", || (std::fs::read(world.path("p/wanted.bin")).ok()? == content).then_some(()));
}

#[test]
fn a_gateway_fetches_what_the_network_has_and_leaves_nothing() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(5, (5 << 20) + 11);
    for name in ["q", "r"] {
        world.share(name, "music/long tune.flac", &content);
        world.share(name, "note.txt", name.as_bytes());
    }
    let _sources = ["q", "r"].map(|name| world.peer(name, &[&daemon]));
    world.hits(&daemon, &root_of(&content), 2);
    world.hits(&daemon, "note.txt", 2);
    let peer = world.peer_with("p", &[&daemon], &["--http-gateway"], std::process::Stdio::null());
    let addr = peer.addr();
    let (by_path, by_root) = ("/files/music/long%20tune.flac", format!("/root/{}", root_of(&content)));

    let tail = get(addr, &by_root, &["Range: bytes=-9"]);
    assert_eq!((tail.status, &tail.body[..]), (206, &content[content.len() - 9..]));
    let all = get(addr, by_path, &[]);
    assert!(all.status == 200 && all.body == content, "{}", all.head);
    let etag = all.field("etag").expect("a tag").to_owned();
    assert_eq!(etag, format!("\"{}\"", root_of(&content)));
    let middle = get(addr, &format!("{by_root}/tune.flac"), &["Range: bytes=3000000-3000009"]);
    assert_eq!((middle.status, &middle.body[..]), (206, &content[3_000_000..3_000_010]));
    assert_eq!(get(addr, &by_root, &[&format!("If-None-Match: {etag}")]).status, 304);
    let head = ask(addr, "HEAD", &by_root, &[]);
    assert_eq!((head.status, head.field("content-length")), (200, Some("5242891")));

    // Two contents have this name.
    let several = get(addr, "/files/note.txt", &[]);
    assert_eq!(several.status, 300);
    let found: Value =
        serde_json::from_slice(&get(addr, "/find?q=tune", &["Accept: application/json"]).body).expect("JSON");
    assert_eq!((found["complete"].as_bool(), found["hits"][0]["sources"].as_u64()), (Some(true), Some(2)), "{found}");
    let url = found["hits"][0]["url"].as_str().expect("a URL");
    assert_eq!(url, format!("{by_root}/long%20tune.flac"));
    assert!(String::from_utf8(get(addr, "/find?q=tune", &[]).body).expect("text").contains(url));
    assert_eq!(get(addr, "/files/no-such-file", &[]).status, 404);
    assert_eq!(get(addr, "/find", &[]).status, 400);
    let foreign = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"];
    assert_eq!(get(addr, "/files/note.txt", &foreign).status, 403);
    assert_eq!(get(addr, &by_root, &foreign).status, 403, "a content that is kept");
    assert!(world.peer_count(&peer, "files") == 0 && !world.path("p/music").exists(), "nothing comes into the share");
}

#[test]
fn a_gateway_has_metalinks_of_files_of_the_network() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(7, (2 << 20) + 5);
    let sources = ["q", "r"].map(|name| {
        serving(&world, &daemon, name, &[("music/long tune.flac", &content[..]), ("note.txt", name.as_bytes())])
    });
    world.hits(&daemon, &root_of(&content), 2);
    world.hits(&daemon, "note.txt", 2);
    let peer = world.peer_with("p", &[&daemon], &["--http-gateway"], std::process::Stdio::null());
    let addr = peer.addr();
    let root = root_of(&content);
    for path in ["/meta/music/long%20tune.flac.meta4".to_owned(), format!("/meta/{root}.meta4")] {
        let meta = get(addr, &path, &[]);
        assert_eq!((meta.status, meta.field("content-type")), (200, Some("application/metalink4+xml")), "{path}");
        let xml = String::from_utf8(meta.body).expect("text");
        let own = format!("<url priority=\"1\">http://{addr}/root/{root}</url>");
        for part in [&own, sources[0].addr(), sources[1].addr(), "<size>2097157</size>", "name=\"long tune.flac\""] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
        assert!(xml.matches("<url ").count() == 3 && !xml.contains("<hash"), "{xml}");
    }
    // Two contents have this name.
    assert_eq!(get(addr, "/meta/note.txt.meta4", &[]).status, 300);
    assert_eq!(get(addr, "/meta/no-such-file.meta4", &[]).status, 404);
    assert_eq!(get(addr, "/meta/note.txt.meta4", &["Sec-Fetch-Site: cross-site"]).status, 403);
    assert_eq!(world.peer_count(&peer, "downloads_running"), 0);
}

#[test]
fn a_gateway_sends_what_has_come_and_ends_with_its_client() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(6, 6 << 20);
    // The last piece proves the size; the one before it never comes.
    let behavior = |_, get: &Get| if get.offset == 4 << 20 { source::Answer::Silence } else { source::Answer::Honest };
    let source = Source::start(world.ip(), daemon.addr(), "large.bin", content.clone(), behavior);
    world.hits(&daemon, "large.bin", 1);
    let peer = world.peer_with("p", &[&daemon], &["--http-gateway"], std::process::Stdio::null());
    let mut stream = connect(peer.addr());
    let from = 2_500_000;
    write!(stream.get_mut(), "GET /files/large.bin HTTP/1.1\r\nHost: h\r\nRange: bytes={from}-\r\n\r\n")
        .expect("it reads");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).expect("a head") > 0, "it closed after {head:?}");
    }
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    let mut body = vec![0; (4 << 20) - from];
    stream.read_exact(&mut body).expect("what has come");
    assert!(body == content[from..4 << 20]);
    let asked = source.asked();
    let place = |offset: u64| asked.iter().position(|at| *at == offset).unwrap_or(usize::MAX);
    assert!(place(2 << 20) < place(0) && place(2 << 20) < place(1 << 20), "{asked:?}");
    let folder = world.path("state/sprat/p/gateway");
    let files = || std::fs::read_dir(&folder).expect("a folder").count();
    assert!(files() > 0);
    drop(stream);
    eventually("it is over, and its bytes are gone", || {
        (world.peer_count(&peer, "downloads_running") == 0 && files() == 0).then_some(())
    });
}
