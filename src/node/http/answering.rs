//! Takes what the net, the disk and the machine report about requests, and passes each to the
//! module that answers the request.

use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::{Exchange, HttpOptions, Purpose, ToMachine};
use crate::config::{HTTP_TEXT_BYTES_MAX, HTTP_TICK};
use crate::disk::{HttpDone, Job};
use crate::http::{Answer, Refusal, Request, Surface, hosts};
use crate::node::driver::Driver;
use crate::proto::disk::ServeFailure;
use crate::proto::{ClientEvent, ClientId, ConnId, DiskWork, Input};
use crate::wire::ids::Md5;

impl Driver<'_> {
    pub(in crate::node) fn on_http(&mut self, conn: ConnId, surface: Surface, from: IpAddr, request: Box<Request>) {
        match surface {
            Surface::Files => self.on_file_request(conn, from, request),
            Surface::Page => self.on_page_request(conn, from, &request),
        }
        self.perform_orders();
    }

    /// The client has closed its sending side. A search or a fetch for it is given up, as other
    /// gateways do. Any other answer is still sent, because the client may read it.
    pub(in crate::node) fn on_http_left(&mut self, conn: ConnId) {
        let exchange = self.http.exchanges.get(&conn);
        if exchange.is_some_and(|exchange| exchange.reads().is_some() || matches!(exchange, Exchange::Seeking { .. })) {
            self.net.abort(conn);
        }
    }

    /// The connection has ended, so its request is dropped.
    pub(in crate::node) fn on_http_gone(&mut self, conn: ConnId) {
        match self.http.exchanges.remove(&conn) {
            Some(Exchange::Sending(sending)) => {
                if let Some(disk) = self.disk.as_mut().filter(|_| sending.awaits_disk()) {
                    disk.submit(Job::Work { work: DiskWork::ForgetConn { conn }, bytes: None });
                }
            }
            Some(Exchange::Meta { found, .. }) => self.leave_sums(found.content.root),
            Some(Exchange::Asking { client, .. } | Exchange::Seeking { client, .. }) => {
                self.http.give_up(client);
            }
            Some(Exchange::Waiting { root, .. }) => self.note_unused(root),
            Some(Exchange::Streaming(streaming)) => self.note_unused(streaming.root),
            Some(Exchange::Looking { .. } | Exchange::Sources { .. } | Exchange::Viewing { .. }) | None => {}
        }
        self.perform_orders();
    }

    /// The disk has an answer.
    pub(in crate::node) fn on_http_done(&mut self, done: HttpDone) {
        match done {
            HttpDone::Found { conn, what } => self.on_found(conn, what),
            HttpDone::Summed { root, digests } => self.on_summed(root, digests.as_ref()),
            HttpDone::Opened { root, file } => self.on_fetch_opened(root, file),
        }
        self.perform_orders();
    }

    /// The machine has an answer.
    pub(in crate::node) fn on_http_event(&mut self, client: ClientId, event: &ClientEvent) {
        match self.http.commands.get(&client).copied() {
            Some(Purpose::Sources(root)) => self.on_source_event(client, root, event),
            Some(Purpose::Page(conn)) => self.on_asked_event(conn, client, event),
            Some(Purpose::Seek(conn)) => self.on_seek_event(conn, client, event),
            Some(Purpose::Fetch(root)) => self.on_fetch_event(client, root, event),
            Some(Purpose::Aim) => drop(self.http.commands.remove(&client)),
            None => {}
        }
    }

    /// Whether a chunk that is ready is for an answer.
    pub(in crate::node) fn takes_chunk(&self, conn: ConnId) -> bool {
        matches!(self.http.exchanges.get(&conn), Some(Exchange::Sending(_)))
    }

    /// A chunk for an answer is ready, or cannot be served.
    pub(in crate::node) fn on_http_chunk(
        &mut self,
        conn: ConnId,
        req: u32,
        result: Result<Option<Md5>, ServeFailure>,
        file: Option<Arc<File>>,
    ) {
        self.on_chunk_ready(conn, req, file.filter(|_| result.is_ok()));
    }

    /// Acts on the deadlines that are due.
    pub(in crate::node) fn fire_http(&mut self) {
        if self.http.timeout().is_none_or(|at| at > self.now) {
            return;
        }
        if self.http.tick.is_some_and(|at| at <= self.now) {
            self.http.tick = Some(self.now + HTTP_TICK);
            self.send_snapshots();
        }
        self.on_sources_late();
        self.end_fetches();
        self.perform_orders();
    }

    /// Gives the machine the commands that requests have caused.
    pub(in crate::node) fn perform_orders(&mut self) {
        while let Some(order) = self.http.next_order() {
            match order {
                ToMachine::Command(client, command) => self.feed(Input::Command { client, command }),
                ToMachine::Gone(client) => self.feed(Input::ClientGone { client }),
            }
        }
    }

    /// Why this request is not answered, if this node is in login mode.
    pub(super) fn refusal_of(&self, request: &Request, from: IpAddr) -> Option<Refusal> {
        let HttpOptions { login, names, .. } = &self.http.options;
        login.then(|| hosts::refusal(from, self.has_token(request), &request.host, names)).flatten()
    }

    /// Whether a request carries the token.
    pub(super) fn has_token(&self, request: &Request) -> bool {
        use subtle::ConstantTimeEq;
        let token = &self.http.options.token.0;
        let given = request.token.as_deref().unwrap_or_default();
        !token.is_empty() && bool::from(given.as_bytes().ct_eq(token.as_bytes()))
    }

    /// Answers a request with these bytes.
    pub(super) fn answer(&mut self, conn: ConnId, keep_alive: bool, bytes: &[u8]) {
        self.http.exchanges.remove(&conn);
        self.net.write_http(conn, bytes);
        self.net.end_answer(conn, !keep_alive);
    }

    /// Answers a request with a status and a sentence.
    pub(super) fn say(&mut self, conn: ConnId, request: &Request, status: u16, why: &str) {
        let answer = Answer::new(status, request.keep_alive);
        let answer = if status == 503 { answer.field("Retry-After", "1") } else { answer };
        self.answer(conn, request.keep_alive, &answer.sentence(why, request));
    }

    /// Whether there is room for one more answer that is text in memory.
    pub(super) fn has_room(&self) -> bool {
        self.net.http_bytes() < HTTP_TEXT_BYTES_MAX
    }
}
