//! The page about the node, and what it reads: snapshots, events, metrics. It shows figures; only a
//! POST with the token makes the node do something.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;

use super::searches::Searched;
use super::state::{Exchange, Purpose};
use crate::config::{HTTP_HITS_MAX, HTTP_TICK, HTTP_VIEWER_BYTES_MAX, HTTP_VIEWERS_MAX};
use crate::control::{self, rfc3339};
use crate::http::{Answer, Body, Method, Refusal, Request, form_field, hosts, metrics, page};
use crate::node::driver::Driver;
use crate::node::events::Numbered;
use crate::node::resources;
use crate::proto::command::Get;
use crate::proto::event::{DownloadState, PeerStatus};
use crate::proto::glance::SessionRow;
use crate::proto::{ClientEvent, ClientId, Command, ConnId, Scope};
use crate::wire::message::LinkRow;
use crate::wire::{NodeId, QueryKind, Root, Search};

impl Driver<'_> {
    pub(super) fn on_page_request(&mut self, conn: ConnId, from: IpAddr, request: &Request) {
        if !hosts::is_own(&request.host, &self.http.options.names) {
            return self.net.refuse_http(conn, Refusal::Host);
        }
        // These reveal nothing about the node.
        let is_plain =
            matches!(request.path.as_str(), "/" | "/app.js" | "/style.css" | "/icon.svg" | "/favicon.ico" | "/healthz");
        if let Some(refusal) = self.refusal_of(request, from).filter(|_| !is_plain) {
            return self.net.refuse_http(conn, refusal);
        }
        let local = from.is_loopback();
        match (request.method, request.path.as_str()) {
            (Method::Post, path) => self.on_change(conn, request, path == "/api/get"),
            (Method::Get | Method::Head, path) => self.on_look(conn, local, request, path),
        }
    }

    fn on_look(&mut self, conn: ConnId, local: bool, request: &Request, path: &str) {
        let answer = || Answer::new(200, request.keep_alive).field("Cache-Control", "no-store");
        let bytes = match path {
            "/" => {
                // Another site never gets the token: the policy of the page forbids it to show the
                // page in a frame, and browsers let it read no answer.
                let token = (local && self.http.options.role == "peer").then_some(self.http.options.token.0.as_str());
                let html = page::html(self.http.options.role, token);
                answer().shown("text/html; charset=utf-8", page::POLICY).with(html.as_bytes(), request)
            }
            "/app.js" => {
                answer().shown("text/javascript; charset=utf-8", page::POLICY).with(page::SCRIPT.as_bytes(), request)
            }
            "/style.css" => {
                answer().shown("text/css; charset=utf-8", page::POLICY).with(page::STYLE.as_bytes(), request)
            }
            "/icon.svg" | "/favicon.ico" => {
                answer().shown("image/svg+xml", page::POLICY).with(page::ICON.as_bytes(), request)
            }
            "/healthz" => answer().sentence("ok", request),
            "/metrics" => {
                let text = self.metrics_text();
                answer().shown(metrics::CONTENT_TYPE, page::POLICY).with(text.as_bytes(), request)
            }
            "/api/snapshot" => {
                let text = self.snapshot_text();
                answer().shown("application/json", page::POLICY).with(text.as_bytes(), request)
            }
            "/events" => return self.begin_viewing(conn, request),
            _ => return self.say(conn, request, 404, "there is nothing here"),
        };
        if self.has_room() {
            self.answer(conn, request.keep_alive, &bytes);
        } else {
            self.say(conn, request, 503, "too much is being sent");
        }
    }

    // ---- figures --------------------------------------------------------------------------------

    fn metrics_text(&mut self) -> Rc<str> {
        let kept = self.http.metrics.text(self.now);
        kept.unwrap_or_else(|| {
            let text = self.metrics();
            self.http.metrics.keep(text, self.now)
        })
    }

    fn snapshot_text(&mut self) -> Rc<str> {
        let kept = self.http.snapshot.text(self.now);
        kept.unwrap_or_else(|| {
            let text = self.snapshot();
            self.http.snapshot.keep(text, self.now)
        })
    }

    fn metrics(&self) -> String {
        let glance = self.role.glance();
        let net = self.net.counters();
        let counters = glance.counters.into_iter().chain(net.named()).chain(self.net.envelope_counts());
        let levels = glance.levels.into_iter().chain(self.levels());
        metrics::text(self.http.options.role, counters, levels, &self.turns.buckets(), self.now.as_micros())
    }

    /// The levels that only the loop can measure.
    fn levels(&self) -> impl Iterator<Item = (String, u64)> {
        let disk = self.disk_counts.iter().map(|(name, n)| ((*name).to_owned(), *n));
        let own = [
            ("memory_resident", resources::resident_bytes()),
            ("descriptors_open", resources::descriptors_open(self.net.connections())),
            ("descriptors_max", resources::descriptors_max()),
            ("http_viewers", self.viewers().len() as u64),
        ];
        let own = own.into_iter().map(|(name, n)| (name.to_owned(), n));
        disk.chain(self.memory.named(crate::memory::held())).chain(self.net.memory()).chain(own)
    }

    fn snapshot(&self) -> String {
        let mut glance = self.role.glance();
        glance.counters.extend(self.net.counters().named().chain(self.net.envelope_counts()));
        glance.levels.extend(self.levels());
        glance.levels.extend(self.turns.named().filter(|(name, _)| name != "turns"));
        glance.counters.extend(self.turns.named().filter(|(name, _)| name == "turns"));
        if let Some(peer) = &mut glance.peer {
            self.host.name().clone_into(&mut peer.name);
        }
        let snapshot = Snapshot {
            v: 1,
            seq: self.events.last,
            time: rfc3339(SystemTime::now()),
            role: self.http.options.role,
            name: self.host.name(),
            node: self.http.options.node,
            version: env!("CARGO_PKG_VERSION"),
            listen: self.net.listen_addr(),
            uptime_ms: self.now.as_micros() / 1000,
            counters: &glance.counters,
            levels: &glance.levels,
            peer: &glance.peer,
            links: &glance.links,
            searches: self.http.searches.shown(),
            sessions: &glance.sessions,
        };
        control::json(&snapshot).unwrap_or_default()
    }

    // ---- viewers --------------------------------------------------------------------------------

    fn viewers(&self) -> Vec<ConnId> {
        let viewers = self.http.exchanges.iter().filter(|(_, exchange)| matches!(exchange, Exchange::Viewing { .. }));
        viewers.map(|(conn, _)| *conn).collect()
    }

    fn begin_viewing(&mut self, conn: ConnId, request: &Request) {
        if self.viewers().len() >= HTTP_VIEWERS_MAX {
            return self.say(conn, request, 503, "too many viewers; ask for /api/snapshot");
        }
        let since = request.param("since").map_or(Ok(0), |since| since.parse());
        let Ok(since) = since else {
            return self.say(conn, request, 400, "since is not the number of an event");
        };
        let seen = request.last_event.unwrap_or(since);
        let answer = Answer::new(200, request.keep_alive)
            .field("Content-Type", "text/event-stream")
            .field("Cache-Control", "no-store")
            .field("X-Content-Type-Options", "nosniff");
        let head = answer.end(Body::UntilClose);
        if request.method == Method::Head {
            return self.answer(conn, false, &head);
        }
        let mut text = String::from_utf8(head).unwrap_or_default();
        text.push_str("retry: 1000\n\n");
        text.push_str(&self.events_after(seen));
        text.push_str(&self.snapshot_event());
        self.net.write_http(conn, text.as_bytes());
        if self.net.stream_http(conn).is_some() {
            self.http.exchanges.insert(conn, Exchange::Viewing { seen: self.events.last });
            self.http.tick.get_or_insert(self.now + HTTP_TICK);
        }
    }

    /// The events after this number, the last that a viewer has seen.
    fn events_after(&self, seen: u64) -> String {
        let since = self.events.since(seen);
        let gap = since.gap.map(|(first, last)| format!("event: gap\ndata: {{\"first\":{first},\"last\":{last}}}\n\n"));
        let events = since.events.iter().map(log_event);
        gap.into_iter().chain(events).collect()
    }

    fn snapshot_event(&mut self) -> String {
        format!("event: snapshot\ndata: {}\n\n", self.snapshot_text())
    }

    /// Sends the new events and a snapshot to all viewers. One that does not read gets nothing.
    /// Once it reads again, it gets the events that it has not seen, and a gap for those that are
    /// not kept any more.
    pub(super) fn send_snapshots(&mut self) {
        let viewers = self.viewers();
        if viewers.is_empty() {
            self.http.tick = None;
            return;
        }
        let snapshot = self.snapshot_event();
        for conn in viewers {
            let reads = self.net.stream_http(conn).is_some_and(|waiting| waiting < HTTP_VIEWER_BYTES_MAX);
            let Some(Exchange::Viewing { seen }) = self.http.exchanges.get_mut(&conn).filter(|_| reads) else {
                continue;
            };
            let before = std::mem::replace(seen, self.events.last);
            let events = self.events_after(before);
            self.net.write_http(conn, events.as_bytes());
            self.net.write_http(conn, snapshot.as_bytes());
        }
    }

    // ---- changes --------------------------------------------------------------------------------

    /// A search or a download. It needs the token: a page of another site can send a POST, but it
    /// can neither read the token nor add a header field.
    fn on_change(&mut self, conn: ConnId, request: &Request, is_get: bool) {
        if self.http.options.role != "peer" || !self.has_token(request) {
            return self.say(conn, request, 403, "the token is missing or wrong; open the page on this machine");
        }
        let command = match command_of(&request.body, is_get) {
            Ok(command) => command,
            Err(why) => return self.say(conn, request, 400, why),
        };
        let client = self.http.order(Purpose::Page(conn), command);
        let exchange = Exchange::Asking { keep_alive: request.keep_alive, client, lines: Vec::new() };
        self.http.exchanges.insert(conn, exchange);
    }

    pub(super) fn on_asked_event(&mut self, conn: ConnId, client: ClientId, event: &ClientEvent) {
        let Some(Exchange::Asking { keep_alive, lines, .. }) = self.http.exchanges.get_mut(&conn) else { return };
        let keep_alive = *keep_alive;
        let done = match event {
            ClientEvent::Hit { .. } if lines.len() < HTTP_HITS_MAX => {
                lines.extend(serde_json::to_value(event).ok());
                None
            }
            // It is in the queue, and runs without this command.
            ClientEvent::Download(report) if report.state != DownloadState::Failed => {
                self.http.give_up(client);
                Some(json!({ "ok": true, "id": report.id }))
            }
            ClientEvent::Done(outcome) => {
                let hits = std::mem::take(lines);
                Some(json!({ "ok": outcome.ok, "hits": hits, "complete": outcome.complete, "error": outcome.error }))
            }
            ClientEvent::Hit { .. }
            | ClientEvent::Result { .. }
            | ClientEvent::File { .. }
            | ClientEvent::Content { .. }
            | ClientEvent::Uri { .. }
            | ClientEvent::Start { .. }
            | ClientEvent::Piece { .. }
            | ClientEvent::Progress { .. }
            | ClientEvent::Files { .. }
            | ClientEvent::Item(_)
            | ClientEvent::Source(_)
            | ClientEvent::Download(_)
            | ClientEvent::Status { .. }
            | ClientEvent::User(_)
            | ClientEvent::Limits(_)
            | ClientEvent::Note { .. } => None,
        };
        let Some(done) = done else { return };
        self.http.commands.remove(&client);
        let text = control::json(&done).unwrap_or_default();
        let answer = Answer::new(200, keep_alive).field("Cache-Control", "no-store");
        let mut bytes = answer.shown("application/json", page::POLICY).end(Body::Bytes(text.len() as u64));
        bytes.extend_from_slice(text.as_bytes());
        self.answer(conn, keep_alive, &bytes);
    }
}

/// What the page shows, as `/api/snapshot` and the events of viewers carry it.
#[derive(Serialize)]
struct Snapshot<'a> {
    v: u8,
    seq: u64,
    time: String,
    role: &'a str,
    name: &'a str,
    node: Option<NodeId>,
    version: &'a str,
    listen: Option<SocketAddr>,
    uptime_ms: u64,
    counters: &'a BTreeMap<String, u64>,
    levels: &'a BTreeMap<String, u64>,
    peer: &'a Option<Box<PeerStatus>>,
    links: &'a [LinkRow],
    searches: Searched<'a>,
    sessions: &'a [SessionRow],
}

fn log_event(Numbered { seq, time, what }: &Numbered) -> String {
    let line = control::json(&json!({ "seq": seq, "time": rfc3339(*time), "event": what })).unwrap_or_default();
    format!("id: {seq}\nevent: log\ndata: {line}\n\n")
}

/// Reads the body of a POST: `q=PATTERN` for a search, `root=HEX` and `name=NAME` for a download.
fn command_of(body: &[u8], is_get: bool) -> Result<Command, &'static str> {
    let body = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let field = |name: &str| form_field(body, name);
    if is_get {
        let root = field("root").and_then(|hex| Root::from_hex(&hex)).ok_or("root is not 64 hex digits")?;
        let mut get = Get::of(root.to_string());
        get.name = field("name").filter(|name| !name.is_empty() && name.len() <= 255);
        return Ok(Command::Queue(get));
    }
    let pattern = field("q").filter(|q| (1..=crate::config::PATTERN_BYTES_MAX).contains(&q.len()));
    let pattern = pattern.ok_or("q is empty or longer than 256 bytes")?;
    let (kind, limit) = (QueryKind::of(&pattern), u32::try_from(HTTP_HITS_MAX).ok());
    let search = Search { limit, ..Search::new(pattern, kind) };
    Ok(Command::Query { search, scope: Scope::default() })
}
