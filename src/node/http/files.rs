//! The share over HTTP: folders, files with ranges, contents by root, Metalinks.
//!
//! A small file is sent from memory. It may be there from an earlier request; then no other thread
//! is needed. The first chunk of another body is sent from the file that the lookup has opened,
//! unless the request had to wait. The others are prepared like chunks of peers: the worker looks
//! up the path again for each of them, so that a file which was deleted or has changed ends the
//! answer.

use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::{Exchange, Found, Purpose, Sending, Source, found_of, has_body};
use crate::config::{CHUNK_BYTES_MAX, HTTP_SEARCH_MAX, HTTP_SEARCHES_MAX, PIECE_BYTES};
use crate::disk::{AtPath, HttpWork, Job};
use crate::http::metalink::{self, Digests};
use crate::http::{
    Answer, Body, Content, FileTarget, Refusal, Request, Served, file_target, listing, reached_at, segments, serve,
};
use crate::node::driver::Driver;
use crate::proto::{ClientEvent, ClientId, Command, ConnId, DiskWork, Scope};
use crate::time::Time;
use crate::wire::{QueryKind, Root, Search};

impl Driver<'_> {
    pub(super) fn on_file_request(&mut self, conn: ConnId, from: IpAddr, request: Box<Request>) {
        if let Some(refusal) = self.refusal_of(&request, from) {
            return self.net.refuse_http(conn, refusal);
        }
        let target = match file_target(&request.path) {
            Ok(Some(target)) => target,
            Ok(None) => return self.say(conn, &request, 404, "there is nothing here; the files are below /files/"),
            Err(why) => return self.net.refuse_http(conn, Refusal::Malformed(why)),
        };
        let work = match &target {
            FileTarget::Top => {
                let answer = Answer::new(302, request.keep_alive).field("Location", "/files/");
                let bytes = answer.sentence("the files are below /files/", &request);
                return self.answer(conn, request.keep_alive, &bytes);
            }
            FileTarget::Folder(path) => HttpWork::Path { conn, path: path.clone(), after: request.param("after") },
            FileTarget::File(path) | FileTarget::Meta(path) => {
                HttpWork::Path { conn, path: path.as_str().to_owned(), after: None }
            }
            FileTarget::Root(root) | FileTarget::MetaOf(root) => HttpWork::Root { conn, root: *root },
            FileTarget::Find if self.http.options.gateway.is_some() => return self.seek(conn, request, target),
            FileTarget::Find => {
                return self.say(conn, &request, 404, "this peer searches for nobody; see --http-gateway");
            }
        };
        let now = self.now;
        let Some(disk) = &mut self.disk else {
            return self.say(conn, &request, 404, "this node shares no files");
        };
        if let FileTarget::File(path) = &target
            && let Some(small) = disk.small_at(path.as_str(), now)
        {
            return self.on_what(conn, (request, target, from), AtPath::Small(small));
        }
        disk.submit(Job::Http(work));
        self.http.exchanges.insert(conn, Exchange::Looking { request, target, from });
    }

    /// The worker has looked for the file that a request names.
    pub(super) fn on_found(&mut self, conn: ConnId, what: AtPath) {
        let Some(Exchange::Looking { request, target, from }) = self.http.exchanges.remove(&conn) else { return };
        if let (FileTarget::File(path), AtPath::Small(small), Some(disk)) = (&target, &what, &mut self.disk) {
            disk.keep_small(path.as_str(), small.clone(), self.now);
        }
        self.on_what(conn, (request, target, from), what);
    }

    fn on_what(&mut self, conn: ConnId, (request, target, from): (Box<Request>, FileTarget, IpAddr), what: AtPath) {
        let found = match found_of(what, from) {
            Ok(found) => found,
            Err(AtPath::Folder { entries, more }) => return self.on_folder(conn, &request, &target, &entries, more),
            Err(AtPath::Unhashed) => {
                return self.say(conn, &request, 503, "the file is being hashed; try again in a moment");
            }
            Err(AtPath::Nothing)
                if self.http.options.gateway.is_some()
                    && !matches!(target, FileTarget::Top | FileTarget::Folder(_) | FileTarget::Find) =>
            {
                return self.seek(conn, request, target);
            }
            Err(AtPath::Nothing | AtPath::File { .. } | AtPath::Small(_)) => {
                return self.say(conn, &request, 404, "no shared file has this name");
            }
        };
        let negotiated = request.range.is_none() && metalink::is_accepted(&request.accept);
        match target {
            FileTarget::Meta(_) | FileTarget::MetaOf(_) => self.begin_meta(conn, request, found),
            FileTarget::File(_) if negotiated && found.content.size > 0 => self.begin_meta(conn, request, found),
            FileTarget::File(_) if request.range.is_none() && found.content.size >= PIECE_BYTES => {
                self.begin_sources(conn, request, found);
            }
            FileTarget::File(_) | FileTarget::Root(_) => self.send(conn, &request, found),
            FileTarget::Top | FileTarget::Folder(_) | FileTarget::Find => {
                self.say(conn, &request, 404, "this is a file; ask for it without the slash at the end");
            }
        }
    }

    fn on_folder(
        &mut self,
        conn: ConnId,
        request: &Request,
        target: &FileTarget,
        entries: &[listing::Entry],
        more: bool,
    ) {
        match target {
            FileTarget::Folder(_) if !self.has_room() => self.say(conn, request, 503, "too much is being sent"),
            FileTarget::Folder(path) => {
                let name = |entry: &listing::Entry| match entry.file {
                    Some(_) => entry.name.clone(),
                    None => format!("{}/", entry.name),
                };
                let next = entries.last().filter(|_| more).map(name);
                let page = listing::page(path, entries, next.as_deref());
                let answer = Answer::new(200, request.keep_alive).field("Cache-Control", "no-cache");
                let bytes = answer.shown("text/html; charset=utf-8", listing::POLICY).with(page.as_bytes(), request);
                self.answer(conn, request.keep_alive, &bytes);
            }
            FileTarget::File(path) => {
                let to = format!("/files/{}/", listing::encoded_path(path.as_str()));
                let answer = Answer::new(301, request.keep_alive).field("Location", &to);
                let bytes = answer.sentence("this is a folder", request);
                self.answer(conn, request.keep_alive, &bytes);
            }
            FileTarget::Top | FileTarget::Root(_) | FileTarget::Meta(_) | FileTarget::MetaOf(_) | FileTarget::Find => {
                self.say(conn, request, 404, "a folder has no Metalink");
            }
        }
    }

    // ---- sending --------------------------------------------------------------------------------

    /// Sends the head of a content. Returns the first byte of the body and its length; none if the
    /// answer has no body.
    pub(super) fn send_head(
        &mut self,
        conn: ConnId,
        request: &Request,
        content: Content,
        more: Vec<(&'static str, String)>,
    ) -> Option<(u64, u64)> {
        let keeps = request.keep_alive;
        let described = |status: u16| {
            let answer = Answer::new(status, keeps)
                .field("Content-Type", "application/octet-stream")
                .field("X-Content-Type-Options", "nosniff")
                .field("Accept-Ranges", "bytes")
                .field("ETag", &content.etag())
                .maybe("Last-Modified", content.last_modified())
                .field("Cache-Control", "no-cache")
                .field("Vary", "Accept");
            more.iter().fold(answer, |answer, (name, value)| answer.field(name, value))
        };
        let (answer, first, length) = match serve(request, &content) {
            Served::NotModified => {
                self.answer(conn, keeps, &described(304).end(Body::None));
                return None;
            }
            Served::Failed => {
                self.say(conn, request, 412, "the file is another one");
                return None;
            }
            Served::Beyond => {
                let range = format!("bytes */{}", content.size);
                let answer = Answer::new(416, keeps).field("Content-Range", &range);
                self.answer(conn, keeps, &answer.sentence("the file has no such bytes", request));
                return None;
            }
            Served::All => (described(200), 0, content.size),
            Served::Part { first, length } => {
                let range = format!("bytes {first}-{}/{}", first + length - 1, content.size);
                (described(206).field("Content-Range", &range), first, length)
            }
        };
        let head = answer.end(Body::Bytes(length));
        if !has_body(request) || length == 0 {
            self.answer(conn, keeps, &head);
            return None;
        }
        self.net.write_http(conn, &head);
        Some((first, length))
    }

    fn send(&mut self, conn: ConnId, request: &Request, found: Found) {
        let (content, is_here) = (found.content, found.body.is_some());
        let more = self.described(request, &found);
        let Some((first, length)) = self.send_head(conn, request, content, more) else { return };
        let range = first..first + length;
        let mut sending = Box::new(Sending::new(request.keep_alive, content.root, found.from, range));
        let now = u32::try_from(length).unwrap_or(CHUNK_BYTES_MAX).min(CHUNK_BYTES_MAX);
        match found.body {
            Some(Source::File(file)) => self.net.send_file(conn, 0, file, first, now),
            Some(Source::Small(small)) => self.net.send_bytes(conn, 0, Box::new(small.part(first, length))),
            None => {}
        }
        if is_here {
            (sending.next, sending.asked, sending.queued) = (first + u64::from(now), 1, 1);
        }
        self.ask_ahead(conn, &mut sending);
        self.http.exchanges.insert(conn, Exchange::Sending(sending));
    }

    /// The fields that describe a file of the share, beside those of its content.
    fn described(&self, request: &Request, found: &Found) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if let Some(md5) = &found.md5 {
            let base64 = data_encoding::BASE64.encode(&md5.0);
            fields.extend([("Digest", format!("MD5={base64}")), ("Repr-Digest", format!("md5=:{base64}:"))]);
        }
        if let Some(path) = request.path.strip_prefix("/files/").and_then(|path| segments(path).ok()) {
            // Escaped again: a path may be sent with characters that end the URL of a Link.
            let meta = listing::encoded_path(&path.join("/"));
            let kind = metalink::CONTENT_TYPE;
            fields.push(("Link", format!("</meta/{meta}.meta4>; rel=describedby; type=\"{kind}\"")));
            for (n, url) in self.http.sources.so_far(found.content.root).iter().enumerate() {
                fields.push(("Link", format!("<{url}>; rel=duplicate; pri={}", n + 1)));
            }
        }
        fields
    }

    /// Asks the disk for the next chunks.
    fn ask_ahead(&mut self, conn: ConnId, sending: &mut Sending) {
        let now = self.now;
        let Some(disk) = &mut self.disk else { return };
        // Several at once, so that the disk is woken less often.
        if sending.next == sending.end || sending.asked - sending.sent > sending.ahead / 2 {
            return;
        }
        sending.look_ahead(now);
        while sending.next < sending.end && sending.asked - sending.sent < sending.ahead {
            let length = (sending.end - sending.next).min(u64::from(CHUNK_BYTES_MAX));
            let (offset, length) = (sending.next, u32::try_from(length).unwrap_or(CHUNK_BYTES_MAX));
            let work = DiskWork::PrepareChunk {
                conn,
                from: sending.from,
                req: sending.asked,
                root: sending.root,
                offset,
                length,
                bare: true,
            };
            disk.submit(Job::Work { work, bytes: None });
            sending.waiting.push_back((offset, length, None));
            sending.asked += 1;
            sending.next += u64::from(length);
        }
    }

    pub(super) fn on_chunk_ready(&mut self, conn: ConnId, req: u32, file: Option<Arc<File>>) {
        let Some(Exchange::Sending(sending)) = self.http.exchanges.get_mut(&conn) else { return };
        let Some(file) = file else {
            // The head is sent, so closing is the only way to signal the failure.
            return self.net.abort(conn);
        };
        let place = usize::try_from(req.wrapping_sub(sending.queued)).ok();
        if let Some(chunk) = place.and_then(|place| sending.waiting.get_mut(place)) {
            chunk.2 = Some(file);
        }
        while let Some((offset, length, Some(file))) = sending.waiting.pop_front_if(|chunk| chunk.2.is_some()) {
            self.net.send_file(conn, sending.queued, file, offset, length);
            sending.queued += 1;
        }
    }

    /// The kernel has taken a chunk.
    pub(in crate::node) fn on_http_sent(&mut self, conn: ConnId) {
        let mut sending = match self.http.exchanges.remove(&conn) {
            Some(Exchange::Sending(sending)) => sending,
            Some(Exchange::Streaming(streaming)) => return self.on_streamed(conn, streaming),
            Some(_) | None => return,
        };
        sending.sent += 1;
        if sending.next == sending.end && sending.sent == sending.asked {
            return self.net.end_answer(conn, !sending.request_keeps);
        }
        self.ask_ahead(conn, &mut sending);
        self.http.exchanges.insert(conn, Exchange::Sending(sending));
    }

    // ---- sources and Metalinks ------------------------------------------------------------------

    /// Sends a file once its sources are known, for the fields `Link`.
    fn begin_sources(&mut self, conn: ConnId, request: Box<Request>, found: Found) {
        let Some(until) = self.look_for_sources(found.content.root) else {
            return self.send(conn, &request, found);
        };
        let found = Box::new(Found { body: None, ..found });
        self.http.exchanges.insert(conn, Exchange::Sources { request, found, until });
    }

    fn begin_meta(&mut self, conn: ConnId, request: Box<Request>, found: Found) {
        let root = found.content.root;
        if let Some(disk) = &mut self.disk {
            disk.submit(Job::Http(HttpWork::Sum { root }));
        }
        let until = self.look_for_sources(root);
        let found = Box::new(Found { body: None, ..found });
        self.http.exchanges.insert(conn, Exchange::Meta { request, found, digests: None, until });
    }

    /// Sends the Metalink of a content with these MD5s once its sources are known.
    pub(super) fn await_sources(&mut self, conn: ConnId, request: Box<Request>, found: Found, digests: Digests) {
        let Some(until) = self.look_for_sources(found.content.root) else {
            return self.send_meta(conn, &request, &found, Some(&digests));
        };
        let (found, digests) = (Box::new(found), Some(Some(Arc::new(digests))));
        self.http.exchanges.insert(conn, Exchange::Meta { request, found, digests, until: Some(until) });
    }

    /// Searches for the sources of a content if they are not known. Returns until when a request
    /// waits for them; none if it does not wait.
    fn look_for_sources(&mut self, root: Root) -> Option<Time> {
        if self.http.sources.find(root, self.now).is_some() {
            return None;
        }
        if !self.http.sources.are_sought(root, self.now) {
            let searches = self.http.commands.values().filter(|purpose| matches!(purpose, Purpose::Sources(_)));
            if searches.count() >= HTTP_SEARCHES_MAX {
                return None;
            }
            self.http.sources.begin(root, self.now);
            let (pattern, kind) = (root.to_string(), QueryKind::Root);
            let search = Search::new(pattern, kind);
            let budget = u32::try_from(HTTP_SEARCH_MAX.as_millis()).ok().map(|budget| budget / 4 * 3);
            let scope = Scope { ttl: None, budget, policy: None };
            self.http.order(Purpose::Sources(root), Command::Query { search, scope });
        }
        let until = self.now + HTTP_SEARCH_MAX;
        // An earlier request does not wait longer.
        self.http.sources_due.get_or_insert(until);
        Some(until)
    }

    pub(super) fn on_source_event(&mut self, client: ClientId, root: Root, event: &ClientEvent) {
        if let ClientEvent::Hit { root: hit, source, node, http: true, unreached: false, .. } = event
            && *hit == root
            && (node.is_none() || *node != self.http.options.node)
        {
            self.http.sources.add(root, source);
        }
        if matches!(event, ClientEvent::Done(_)) {
            self.http.commands.remove(&client);
            self.http.sources.end(root);
            self.pass_on_sources(|wanted, _| wanted == root);
        }
    }

    /// Requests that have waited long enough go on with what was found.
    pub(super) fn on_sources_late(&mut self) {
        let now = self.now;
        if self.http.sources_due.is_some_and(|due| due <= now) {
            self.pass_on_sources(|_, until| until <= now);
            let awaits = self.http.exchanges.values().filter_map(Exchange::awaits_sources);
            self.http.sources_due = awaits.map(|(_, until)| until).min();
        }
    }

    /// Goes on with the requests that wait for sources and are due.
    fn pass_on_sources(&mut self, is_due: impl Fn(Root, Time) -> bool) {
        let due = |exchange: &Exchange| exchange.awaits_sources().is_some_and(|(root, until)| is_due(root, until));
        let conns: Vec<ConnId> =
            self.http.exchanges.iter().filter(|(_, exchange)| due(exchange)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            match self.http.exchanges.remove(&conn) {
                Some(Exchange::Sources { request, found, .. }) => self.send(conn, &request, *found),
                Some(Exchange::Meta { request, found, digests: Some(digests), .. }) => {
                    self.send_meta(conn, &request, &found, digests.as_deref());
                }
                // It still waits for the MD5s, and no longer for sources.
                Some(Exchange::Meta { request, found, digests: None, .. }) => {
                    self.http.exchanges.insert(conn, Exchange::Meta { request, found, digests: None, until: None });
                }
                Some(other) => drop(self.http.exchanges.insert(conn, other)),
                None => {}
            }
        }
    }

    /// The MD5s of a content are known, or cannot be.
    pub(super) fn on_summed(&mut self, root: Root, digests: Option<&Arc<Digests>>) {
        let conns: Vec<ConnId> =
            self.http.exchanges.iter().filter(|(_, exchange)| exchange.awaits(root)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(Exchange::Meta { request, found, until, .. }) = self.http.exchanges.remove(&conn) else {
                continue;
            };
            if until.is_none() {
                self.send_meta(conn, &request, &found, digests.map(|digests| &**digests));
            } else {
                let digests = Some(digests.cloned());
                self.http.exchanges.insert(conn, Exchange::Meta { request, found, digests, until });
            }
        }
    }

    /// A request for a Metalink is over: its MD5s are not computed unless another one waits for
    /// them.
    pub(super) fn leave_sums(&mut self, root: Root) {
        if self.http.exchanges.values().any(|exchange| exchange.awaits(root)) {
            return;
        }
        if let Some(disk) = &mut self.disk {
            disk.submit(Job::Http(HttpWork::Leave { root }));
        }
    }

    fn send_meta(&mut self, conn: ConnId, request: &Request, found: &Found, digests: Option<&Digests>) {
        let Some(digests) = digests else {
            return self.say(conn, request, 503, "the MD5s of the file are not available now; try again");
        };
        if !self.has_room() {
            return self.say(conn, request, 503, "too much is being sent");
        }
        let root = found.content.root;
        let own = reached_at(&request.host, self.net.local_addr(conn)).map(|at| format!("http://{at}/root/{root}"));
        let others = self.http.sources.so_far(root);
        let mut urls: Vec<String> = own.filter(|own| !others.contains(own)).into_iter().collect();
        urls.extend(others);
        let xml = metalink::document(&found.name, found.content.size, &root, digests, &urls);
        // Without it, a client would save the Metalink under the name of the file.
        let plain: String =
            found.name.chars().filter(|c| c.is_ascii() && !c.is_control() && *c != '"' && *c != '\\').collect();
        let disposition = format!(
            "attachment; filename=\"{}.meta4\"; filename*=UTF-8''{}.meta4",
            if plain.is_empty() { "file" } else { &plain },
            listing::encoded(&found.name)
        );
        let answer = Answer::new(200, request.keep_alive)
            .field("Content-Type", metalink::CONTENT_TYPE)
            .field("X-Content-Type-Options", "nosniff")
            .field("Content-Disposition", &disposition)
            .field("Vary", "Accept")
            .field("Cache-Control", "no-store");
        self.answer(conn, request.keep_alive, &answer.with(xml.as_bytes(), request));
    }
}
