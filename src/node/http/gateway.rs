//! Contents of the network that this peer does not have, for clients of HTTP: they are searched
//! for, fetched into a folder of the state, and sent while they are fetched. Only pieces that are
//! verified and written are sent. For a Metalink nothing is fetched.
//!
//! One download of a content serves all its readers. It first fetches the piece that a reader waits
//! for, ends soon after the last reader has left, and its file is removed.

use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::fetches::{Fetch, Streaming};
use super::state::{Exchange, Found, Purpose, has_body};
use crate::config::{
    HTTP_CHUNKS_AHEAD, HTTP_GATEWAY_BYTES_MAX, HTTP_GATEWAY_FETCHES_MAX, HTTP_GATEWAY_TIMEOUT, HTTP_HITS_MAX,
    HTTP_SEARCHES_MAX, PATTERN_BYTES_MAX, PIECE_BYTES,
};
use crate::disk::{HttpWork, Job};
use crate::error::Exit;
use crate::http::listing::{self, Hit};
use crate::http::metalink::Digests;
use crate::http::{Answer, Content, FileTarget, Request, Span, span};
use crate::node::driver::Driver;
use crate::proto::command::Get;
use crate::proto::{ClientEvent, ClientId, Command, ConnId, Scope};
use crate::wire::{QueryKind, Root, Search};

impl Driver<'_> {
    // ---- searching ------------------------------------------------------------------------------

    /// Searches the network for what this peer does not have.
    pub(super) fn seek(&mut self, conn: ConnId, request: Box<Request>, target: FileTarget) {
        // It would also learn what was fetched for others.
        if request.is_foreign {
            return self.say(conn, &request, 403, "a page of another site may not make this peer search or download");
        }
        let find = match &target {
            FileTarget::Root(root) if self.http.gateway.fetches.contains_key(root) => {
                let root = *root;
                return self.attach(conn, request, root);
            }
            FileTarget::Root(root) | FileTarget::MetaOf(root) => (root.to_string(), QueryKind::Root),
            FileTarget::File(path) | FileTarget::Meta(path) => (path.as_str().to_owned(), QueryKind::Path),
            FileTarget::Find => match request.param("q").filter(|q| (1..=PATTERN_BYTES_MAX).contains(&q.len())) {
                Some(pattern) => (pattern.clone(), QueryKind::of(&pattern)),
                None => return self.say(conn, &request, 400, "write /find?q= and 1 to 256 bytes"),
            },
            FileTarget::Top | FileTarget::Folder(_) => {
                return self.say(conn, &request, 404, "there is nothing here");
            }
        };
        let searches = self.http.commands.values().filter(|purpose| matches!(purpose, Purpose::Seek(_)));
        if searches.count() >= HTTP_SEARCHES_MAX {
            return self.say(conn, &request, 503, "too many searches run; try again");
        }
        let (pattern, kind) = find;
        let search = Search::new(pattern, kind);
        let client = self.http.order(Purpose::Seek(conn), Command::Query { search, scope: Scope::default() });
        self.http.exchanges.insert(conn, Exchange::Seeking { request, target, client, hits: Vec::new() });
    }

    pub(super) fn on_seek_event(&mut self, conn: ConnId, client: ClientId, event: &ClientEvent) {
        let Some(Exchange::Seeking { target, hits, .. }) = self.http.exchanges.get_mut(&conn) else { return };
        let wanted = if let FileTarget::Root(root) | FileTarget::MetaOf(root) = target { Some(*root) } else { None };
        if let ClientEvent::Done(outcome) = event {
            self.end_seek(conn, client, outcome.complete == Some(true));
        } else if let ClientEvent::Hit { path, size, root, collection: false, .. } = event
            && wanted.is_none_or(|wanted| wanted == *root)
        {
            let has_room = hits.len() < HTTP_HITS_MAX;
            match hits.iter_mut().find(|hit| hit.root == *root && hit.path == *path) {
                Some(hit) => hit.sources += 1,
                None if has_room => {
                    hits.push(Hit { path: path.clone(), size: *size, root: *root, sources: 1 });
                }
                None => {}
            }
            // All hits of a root are the same content, so the first one is enough.
            if wanted.is_some() && *size <= HTTP_GATEWAY_BYTES_MAX {
                self.http.give_up(client);
                self.end_seek(conn, client, false);
            }
        }
    }

    /// The search is over: goes on with what it found.
    fn end_seek(&mut self, conn: ConnId, client: ClientId, complete: bool) {
        self.http.commands.remove(&client);
        let Some(Exchange::Seeking { request, target, mut hits, .. }) = self.http.exchanges.remove(&conn) else {
            return;
        };
        if target == FileTarget::Find {
            let pattern = request.param("q").unwrap_or_default();
            let (bytes, kind) = listing::found(&pattern, &hits, complete, &request.accept);
            let answer =
                Answer::new(200, request.keep_alive).field("Cache-Control", "no-store").field("Vary", "Accept");
            let bytes = answer.shown(kind, listing::POLICY).with(bytes.as_bytes(), &request);
            return self.answer(conn, request.keep_alive, &bytes);
        }
        if let FileTarget::File(path) | FileTarget::Meta(path) = &target
            && hits.iter().any(|hit| hit.path == path.as_str())
        {
            hits.retain(|hit| hit.path == path.as_str());
        }
        // A hit that claims too large a size is used only if there is no other one.
        let (too_large, mut hits): (Vec<_>, Vec<_>) =
            hits.into_iter().partition(|hit| hit.size > HTTP_GATEWAY_BYTES_MAX);
        hits.extend(too_large);
        match hits.first() {
            None if complete => self.say(conn, &request, 404, "no peer of the network has it"),
            None => self.say(conn, &request, 404, "it was not found, and not all of the network was searched"),
            Some(first) if hits.iter().any(|hit| hit.root != first.root) => {
                let (bytes, kind) = listing::found(&request.path, &hits, complete, &request.accept);
                let bytes =
                    Answer::new(300, request.keep_alive).shown(kind, listing::POLICY).with(bytes.as_bytes(), &request);
                self.answer(conn, request.keep_alive, &bytes);
            }
            Some(first)
                if matches!(target, FileTarget::Meta(_) | FileTarget::MetaOf(_))
                    && first.size > HTTP_GATEWAY_BYTES_MAX =>
            {
                self.say(conn, &request, 507, "it is longer than what this peer fetches for others");
            }
            Some(first) if matches!(target, FileTarget::Meta(_) | FileTarget::MetaOf(_)) => {
                self.begin_meta_of(conn, request, first);
            }
            Some(first) => self.fetch(conn, request, first.root, first.size),
        }
    }

    /// Answers with the Metalink of a content of the network. It has no MD5s, because they can only
    /// be computed from all bytes of the content.
    fn begin_meta_of(&mut self, conn: ConnId, request: Box<Request>, hit: &Hit) {
        let proven = self.http.gateway.fetches.get(&hit.root).filter(|fetch| fetch.proven).map(|fetch| fetch.size);
        let content = Content { root: hit.root, size: proven.unwrap_or(hit.size), modified_s: None, dated: false };
        let name = hit.path.rsplit('/').next().unwrap_or_default().to_owned();
        // Nothing but the Metalink is sent, so the address of the client is not used.
        let found = Found { content, name, md5: None, body: None, from: Ipv4Addr::UNSPECIFIED.into() };
        self.await_sources(conn, request, found, Digests::default());
    }

    // ---- fetching -------------------------------------------------------------------------------

    /// Begins to fetch a content, and answers with it.
    fn fetch(&mut self, conn: ConnId, request: Box<Request>, root: Root, size: u64) {
        if self.http.gateway.fetches.contains_key(&root) {
            return self.attach(conn, request, root);
        }
        let Some(folder) = self.http.options.gateway.clone() else { return };
        if size > HTTP_GATEWAY_BYTES_MAX {
            return self.say(conn, &request, 507, "it is longer than what this peer fetches for others");
        }
        loop {
            let gateway = &self.http.gateway;
            let running = gateway.fetches.values().filter(|fetch| fetch.client.is_some()).count();
            let has_room = gateway.bytes().saturating_add(size) <= HTTP_GATEWAY_BYTES_MAX;
            if running < HTTP_GATEWAY_FETCHES_MAX && has_room {
                break;
            }
            match gateway.oldest() {
                Some(oldest) => self.forget_fetch(oldest),
                None => return self.say(conn, &request, 503, "too much is being fetched; try again"),
            }
        }
        let path = folder.join(root.to_string());
        let timeout = u64::try_from(HTTP_GATEWAY_TIMEOUT.as_millis()).ok();
        let get = Get { out: Some(path.clone()), timeout, ..Get::of(root.to_string()) };
        let client = self.http.order(Purpose::Fetch(root), Command::Fetch(get));
        let fetch = Fetch {
            client: Some(client),
            started: false,
            path,
            size,
            proven: false,
            file: None,
            opening: false,
            have: Vec::new(),
            aim: (0, None),
            unused_since: None,
        };
        self.http.gateway.fetches.insert(root, fetch);
        self.attach(conn, request, root);
    }

    /// One more reader of a content.
    fn attach(&mut self, conn: ConnId, request: Box<Request>, root: Root) {
        if let Some(fetch) = self.http.gateway.fetches.get_mut(&root) {
            fetch.unused_since = None;
        }
        self.http.exchanges.insert(conn, Exchange::Waiting { request, root });
        self.advance(root);
    }

    pub(super) fn on_fetch_event(&mut self, client: ClientId, root: Root, event: &ClientEvent) {
        if let ClientEvent::Done(_) = event {
            self.http.commands.remove(&client);
        }
        let Some(fetch) = self.http.gateway.fetches.get_mut(&root).filter(|fetch| fetch.client == Some(client)) else {
            return;
        };
        if let ClientEvent::Start { .. } = event {
            // From now on the command Aim has an effect.
            fetch.started = true;
            self.aim(root, true);
        } else if let ClientEvent::Piece { index, size, .. } = event {
            fetch.note_size(*size);
            if let Some(have) = fetch.have.get_mut(*index as usize) {
                *have = true;
            }
            if self.http.gateway.bytes() > HTTP_GATEWAY_BYTES_MAX {
                return self.fail_fetch(root, 507, "it is longer than the hits say");
            }
            self.advance(root);
        } else if let ClientEvent::Done(outcome) = event {
            if !outcome.ok {
                let status = if outcome.exit == Exit::Disk.code() { 507 } else { 504 };
                return self.fail_fetch(root, status, outcome.error.as_deref().unwrap_or("the download has failed"));
            }
            fetch.client = None;
            fetch.note_size(outcome.bytes.unwrap_or(0));
            fetch.have.fill(true);
            self.advance(root);
        }
    }

    /// The disk has opened what is fetched.
    pub(super) fn on_fetch_opened(&mut self, root: Root, file: Option<Arc<File>>) {
        let Some(fetch) = self.http.gateway.fetches.get_mut(&root) else { return };
        (fetch.opening, fetch.file) = (false, file);
        if fetch.file.is_some() {
            return self.advance(root);
        }
        self.fail_fetch(root, 507, "the file that is fetched cannot be opened");
    }

    /// Sends to all readers of a content what has been fetched.
    fn advance(&mut self, root: Root) {
        let Some(fetch) = self.http.gateway.fetches.get_mut(&root).filter(|fetch| fetch.proven) else {
            return self.aim(root, false);
        };
        if fetch.file.is_none() {
            if !std::mem::replace(&mut fetch.opening, true)
                && let Some(disk) = &mut self.disk
            {
                disk.submit(Job::Http(HttpWork::Open { root, path: fetch.path.clone() }));
            }
            return;
        }
        for conn in self.readers(root) {
            match self.http.exchanges.remove(&conn) {
                Some(Exchange::Waiting { request, root }) => self.begin_streaming(conn, &request, root),
                Some(Exchange::Streaming(streaming)) => self.stream(conn, streaming),
                Some(other) => drop(self.http.exchanges.insert(conn, other)),
                None => {}
            }
        }
        self.aim(root, false);
        self.note_unused(root);
    }

    fn readers(&self, root: Root) -> Vec<ConnId> {
        let reads = |exchange: &Exchange| exchange.reads() == Some(root);
        self.http.exchanges.iter().filter(|(_, exchange)| reads(exchange)).map(|(conn, _)| *conn).collect()
    }

    /// Makes the download fetch from the piece that a reader waits for; the readers take turns. No
    /// command is sent for a piece that it fetches next anyway.
    fn aim(&mut self, root: Root, at_start: bool) {
        let Some(fetch) = self.http.gateway.fetches.get(&root).filter(|fetch| fetch.client.is_some() && fetch.started)
        else {
            return;
        };
        let (aimed, of) = fetch.aim;
        let waits = |conn: ConnId| {
            let piece = match self.http.exchanges.get(&conn)? {
                Exchange::Waiting { request, .. } => first_of(request, fetch.size) / PIECE_BYTES,
                Exchange::Streaming(streaming) => streaming.next / PIECE_BYTES,
                Exchange::Looking { .. }
                | Exchange::Sources { .. }
                | Exchange::Meta { .. }
                | Exchange::Sending(_)
                | Exchange::Seeking { .. }
                | Exchange::Asking { .. }
                | Exchange::Viewing { .. } => return None,
            };
            (!fetch.has(piece)).then_some((conn, piece))
        };
        if !at_start && of.is_some() && !fetch.has(aimed) {
            return;
        }
        let waiting: Vec<(ConnId, u64)> = self.readers(root).into_iter().filter_map(waits).collect();
        let next = waiting.iter().find(|(conn, _)| Some(*conn) > of).or(waiting.first()).copied();
        let Some((conn, piece)) = next else { return };
        let comes = of.is_some() && piece >= aimed && (aimed..piece).all(|before| fetch.has(before));
        if let Some(fetch) = self.http.gateway.fetches.get_mut(&root) {
            fetch.aim = (piece, Some(conn));
        }
        if at_start || !comes {
            self.http.order(Purpose::Aim, Command::Aim { root, offset: piece * PIECE_BYTES });
        }
    }

    /// The size is proven: the head can be sent.
    fn begin_streaming(&mut self, conn: ConnId, request: &Request, root: Root) {
        let Some(fetch) = self.http.gateway.fetches.get(&root) else { return };
        let content = Content { root, size: fetch.size, modified_s: None, dated: false };
        let Some((first, length)) = self.send_head(conn, request, content, Vec::new()) else { return };
        let (request_keeps, next, end) = (request.keep_alive, first, first + length);
        self.stream(conn, Box::new(Streaming { request_keeps, root, next, end, queued: 0, sent: 0 }));
    }

    /// Queues what has been fetched, up to the first piece that is missing.
    fn stream(&mut self, conn: ConnId, mut streaming: Box<Streaming>) {
        let Some(fetch) = self.http.gateway.fetches.get(&streaming.root) else { return self.net.abort(conn) };
        let Some(file) = &fetch.file else { return self.net.abort(conn) };
        while streaming.next < streaming.end && streaming.queued - streaming.sent < HTTP_CHUNKS_AHEAD {
            let piece = streaming.next / PIECE_BYTES;
            if !fetch.has(piece) {
                break;
            }
            let end = streaming.end.min((piece + 1) * PIECE_BYTES);
            let length = u32::try_from(end - streaming.next).unwrap_or(u32::MAX);
            self.net.send_file(conn, streaming.queued, file.clone(), streaming.next, length);
            streaming.queued += 1;
            streaming.next = end;
        }
        self.http.exchanges.insert(conn, Exchange::Streaming(streaming));
    }

    /// The kernel has taken a chunk.
    pub(super) fn on_streamed(&mut self, conn: ConnId, mut streaming: Box<Streaming>) {
        let root = streaming.root;
        streaming.sent += 1;
        if streaming.next == streaming.end && streaming.sent == streaming.queued {
            self.net.end_answer(conn, !streaming.request_keeps);
            return self.note_unused(root);
        }
        self.stream(conn, streaming);
        self.aim(root, false);
    }

    // ---- the end --------------------------------------------------------------------------------

    /// A reader of a content is gone, or its answer has ended.
    pub(super) fn note_unused(&mut self, root: Root) {
        let is_read = !self.readers(root).is_empty();
        if let Some(fetch) = self.http.gateway.fetches.get_mut(&root)
            && !is_read
        {
            fetch.unused_since.get_or_insert(self.now);
        }
    }

    /// Ends what has had no reader for long enough.
    pub(super) fn end_fetches(&mut self) {
        let now = self.now;
        let is_due = |fetch: &Fetch| fetch.deadline().is_some_and(|at| at <= now);
        let due = self.http.gateway.fetches.iter().filter(|(_, fetch)| is_due(fetch)).map(|(root, _)| *root);
        let due: Vec<Root> = due.collect();
        due.into_iter().for_each(|root| self.forget_fetch(root));
    }

    /// The download ends, and its bytes are removed.
    fn forget_fetch(&mut self, root: Root) {
        let Some(fetch) = self.http.gateway.fetches.remove(&root) else { return };
        if let Some(client) = fetch.client {
            self.http.give_up(client);
        }
        if let Some(disk) = &mut self.disk {
            disk.submit(Job::Http(HttpWork::Remove { path: fetch.path }));
        }
    }

    /// The download has failed. A reader that waits for the head gets the reason; the connection of
    /// any other is closed.
    fn fail_fetch(&mut self, root: Root, status: u16, why: &str) {
        for conn in self.readers(root) {
            match self.http.exchanges.remove(&conn) {
                Some(Exchange::Waiting { request, .. }) => self.say(conn, &request, status, why),
                // The head is sent, so closing is the only way to signal the failure.
                Some(_) | None => self.net.abort(conn),
            }
        }
        self.forget_fetch(root);
    }
}

/// The first byte that a request asks for, of a content of this size.
fn first_of(request: &Request, size: u64) -> u64 {
    match request.range.as_deref().filter(|_| has_body(request)).map(|range| span(range, size)) {
        Some(Span::Part { first, .. }) => first,
        Some(Span::All | Span::Beyond) | None => 0,
    }
}
