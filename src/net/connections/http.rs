//! Connections that speak HTTP: how many there are, which are closed to make room, and their
//! answers.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;

use super::Connections;
use crate::config::{HTTP_CONNS_MAX, LINGER_BYTES_MAX, UNSENT_BYTES_MAX};
use crate::http::{self, Refusal, Surface};
use crate::net::connection::http::Http;
use crate::net::connection::{Connection, Phase};
use crate::net::context::Context;
use crate::proto::{CloseReason, ConnId};

impl Connections {
    /// A connection to the listener of the page was accepted.
    pub(in crate::net) fn enter_page(&mut self, stream: TcpStream, ctx: &mut Context) -> io::Result<()> {
        let id = self.enter(stream, Phase::Http(Box::new(Http::new(Surface::Page, ctx.now))), ctx)?;
        self.begin_http(id, ctx);
        self.arm(id, ctx);
        Ok(())
    }

    /// From now on a connection is served as HTTP. If there are too many, it replaces another one
    /// or is refused.
    pub(super) fn begin_http(&mut self, id: ConnId, ctx: &mut Context) {
        ctx.counters.http_connections += 1;
        let most = HTTP_CONNS_MAX.min(self.conns_max / 2).max(1);
        let takes_place = |id: &&ConnId| self.table.get(**id).is_some_and(Connection::takes_http_place);
        let has_place = self.http.len() < most
            || self.http.iter().filter(takes_place).count() < most
            || self.end_idle_http(ctx)
            || self.end_slow_http(ctx);
        if let Some(conn) = self.table.get_mut(id) {
            conn.is_http = true;
            self.http.push(id);
        }
        if !has_place {
            self.refuse_http(id, Refusal::Busy, ctx);
        }
    }

    /// Closes the connection that has been idle longest. One whose next request waits to be read is
    /// not idle. If none is idle, closes one whose answer is queued but not completely written.
    /// Returns `false` if all requests are being answered.
    pub(super) fn end_idle_http(&mut self, ctx: &mut Context) -> bool {
        let waits = |id: ConnId| self.get(id).is_some_and(|conn| !conn.is_written());
        let is_read = |id: ConnId| self.get(id).is_some_and(|conn| !conn.queued);
        let idle = self.http_states().filter(|(id, _)| is_read(*id));
        let idle = idle.filter_map(|(id, http)| Some((waits(id), http.idle_since()?, id)));
        let Some((_, _, id)) = idle.min() else { return false };
        ctx.counters.http_evicted += 1;
        self.finish(id, CloseReason::Asked, ctx);
        true
    }

    /// Closes a connection whose client reads slowly or has stopped. Returns `false` if there is
    /// none.
    fn end_slow_http(&mut self, ctx: &mut Context) -> bool {
        let is_slow = |id: &ConnId| self.table.get(*id).is_some_and(|conn| conn.is_slow_http(ctx.now));
        let Some(id) = self.http.iter().copied().find(is_slow) else { return false };
        self.finish(id, CloseReason::SlowConsumer, ctx);
        true
    }

    fn http_states(&self) -> impl Iterator<Item = (ConnId, &Http)> {
        self.http.iter().filter_map(|id| match &self.table.get(*id)?.phase {
            Phase::Http(http) => Some((*id, &**http)),
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Deaf
            | Phase::Closing { .. }
            | Phase::Lingering { .. }
            | Phase::Dead => None,
        })
    }

    /// Bytes of answers that wait to be written. Bytes of files do not count.
    pub(in crate::net) fn http_bytes(&self) -> usize {
        self.http.iter().filter_map(|id| self.table.get(*id)).map(|conn| conn.send.frame_bytes()).sum()
    }

    /// Answers a request that is refused, and closes the connection.
    pub(in crate::net) fn refuse_http(&mut self, id: ConnId, refusal: Refusal, ctx: &mut Context) {
        let counters = &mut ctx.counters;
        *match refusal {
            Refusal::Malformed(_) | Refusal::Version | Refusal::Expectation => &mut counters.http_malformed,
            Refusal::TooLarge => &mut counters.http_too_large,
            Refusal::Body => &mut counters.http_bodies,
            Refusal::Method(_) => &mut counters.http_methods,
            Refusal::Slow => &mut counters.http_slow_heads,
            Refusal::Busy => &mut counters.http_busy,
            Refusal::Host => &mut counters.http_hosts,
            Refusal::Token => &mut counters.http_tokens,
        } += 1;
        self.write_http(id, &http::refusal(refusal), ctx);
        self.close(id, ctx);
    }

    /// Queues bytes of an answer.
    pub(in crate::net) fn write_http(&mut self, id: ConnId, bytes: &[u8], ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.note_queued(ctx.now);
            conn.send.tail(&mut self.buffers).extend_from_slice(bytes);
            self.mark_dirty(id);
        }
    }

    /// The answer is queued. Now the next request is read, or the connection is closed.
    pub(in crate::net) fn end_answer(&mut self, id: ConnId, last: bool, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else { return };
        let Phase::Http(http) = &mut conn.phase else { return };
        if http.reset_unsent() {
            conn.transport.bound_unsent(UNSENT_BYTES_MAX, Some(Duration::ZERO));
        }
        if http.end_answer(last, ctx.now) {
            self.requeue(id);
            self.arm(id, ctx);
        } else {
            let sends_more = !http.was_last() || conn.readable;
            self.close_after(id, if sends_more { LINGER_BYTES_MAX } else { 0 }, ctx);
        }
    }

    /// The node ends: connections without a request are closed, and the others are closed after
    /// their answers.
    pub(in crate::net) fn drain_http(&mut self, ctx: &mut Context) {
        for id in self.http.clone() {
            let state = self.table.get_mut(id).map(|conn| &mut conn.phase);
            if let Some(Phase::Http(http)) = state
                && !http.drain()
            {
                self.close(id, ctx);
            }
        }
    }
}
