//! What a loop requests from its sockets: one method for each output of a machine that concerns a
//! socket. An output for a connection that is gone is counted and has no effect.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::arrival::ControlId;
use super::connection::{Connection, Incoming, Phase};
use super::context::Context;
use super::reactor::Net;
use super::table::Table;
use crate::config::{CHUNK_BYTES_MAX, FRAME_BYTES_OPEN, FRAME_SHORT_PATIENCE, SEND_QUEUE_BYTES_EARLY};
use crate::http::Refusal;
use crate::proto::command::RateLimits;
use crate::proto::envelope::Taken;
use crate::proto::{CloseReason, ConnId, DialId, HashPlan, ResolveId, Verify};
use crate::trust::PublicKey;
use crate::wire::{HostPort, LinkMessage, Message, frame};

impl Net {
    /// Begins a dial. Later the loop gets Dialed or DialFailed. In login mode the other side must
    /// prove a key: the expected one, if there is one.
    pub fn dial(&mut self, dial: DialId, to: HostPort, expected: Option<PublicKey>) {
        self.dialer.dial(dial, to, expected, &mut self.conns, &mut self.ctx);
    }

    /// Queues a message on a connection. If its send queue is then too long, the connection is
    /// closed.
    pub fn send(&mut self, id: ConnId, message: &Message) {
        let Net { ctx, conns, .. } = self;
        let Some(conn) = live(&mut conns.table, id, ctx) else {
            return;
        };
        conn.note_queued(ctx.now);
        frame::encode(message, conn.send.tail(&mut conns.buffers));
        ctx.counters.messages_out += 1;
        let queued = conn.send.frame_bytes();
        if !conn.dirty {
            conns.mark_dirty(id);
        }
        if queued > SEND_QUEUE_BYTES_EARLY {
            conns.shorten(id, ctx);
        }
    }

    /// Queues `length` bytes of a file from `offset` on, after everything that is queued.
    /// PayloadSent arrives.
    pub fn send_file(&mut self, id: ConnId, req: u32, file: Arc<File>, offset: u64, length: u32) {
        if let Some(conn) = live(&mut self.conns.table, id, &mut self.ctx) {
            conn.note_queued(self.ctx.now);
            conn.send.push_file(req, file, offset, length);
            self.conns.mark_dirty(id);
        }
    }

    /// Queues the bytes of a short chunk after everything that is queued. PayloadSent arrives.
    pub fn send_bytes(&mut self, id: ConnId, req: u32, bytes: Box<dyn AsRef<[u8]> + Send>) {
        if let Some(conn) = live(&mut self.conns.table, id, &mut self.ctx) {
            conn.note_queued(self.ctx.now);
            conn.send.push_bytes(req, bytes);
            self.conns.mark_dirty(id);
        }
    }

    /// Reads nothing more from a connection, or reads again.
    pub fn hold(&mut self, id: ConnId, hold: bool) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.hold(id, hold, &mut self.ctx);
        }
    }

    /// Looks up a name; Resolved arrives.
    pub fn resolve(&mut self, id: ResolveId, name: HostPort) {
        self.dialer.resolve(id, name, &mut self.ctx);
    }

    /// Packs a message for the neighbor at `to`. The datagram is sent from our address `from`, if
    /// that is given.
    pub fn send_to(
        &mut self,
        (from, to): (Option<IpAddr>, SocketAddr),
        key: Option<PublicKey>,
        boot: u64,
        message: &LinkMessage,
    ) {
        let Net { ctx, datagrams, .. } = self;
        match datagrams {
            Some(datagrams) => datagrams.push(((from, to), key), boot, message, ctx),
            None => self.ctx.counters.datagrams_dropped += 1,
        }
    }

    /// The bytes of the datagram that arrived last.
    #[must_use]
    pub fn datagram(&self, taken: &Taken) -> &[u8] {
        self.datagrams.as_ref().map_or(&[], |datagrams| datagrams.bytes(taken))
    }

    /// Receives the raw bytes that follow the CHUNK just delivered. [`super::Arrival::Payload`]
    /// arrives.
    pub fn receive(&mut self, id: ConnId, req: u32, length: u32, plan: HashPlan, verify: Verify) {
        let Some(conn) = live(&mut self.conns.table, id, &mut self.ctx) else {
            return;
        };
        if !matches!(conn.phase, Phase::ChunkAnnounced) || length > CHUNK_BYTES_MAX {
            log::error!("payload {req} of {length} bytes is expected, but no CHUNK announced it");
            self.conns.finish(id, CloseReason::Failed, &mut self.ctx);
            return;
        }
        let incoming = Incoming { req, plan, verify, length: length as usize, bytes: None, filled: 0 };
        conn.phase = Phase::Receiving(Box::new(incoming));
        self.conns.starve(id);
    }

    /// Sets the limits on the rates at which bytes of files are sent and bytes of chunks are
    /// received.
    pub fn set_limits(&mut self, limits: RateLimits) {
        self.conns.set_limits(limits, self.ctx.now);
    }

    /// Sets the limit on the rate at which bytes of files are sent to an account, over all its
    /// connections. This connection is one of these. 0 means no limit.
    pub fn limit_account(&mut self, id: ConnId, account: u64, upload: u64) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.limit_account(id, account, upload, self.ctx.now);
        }
    }

    /// Takes back the buffer of one [`super::Arrival::Payload`], if it still exists.
    pub fn release(&mut self, buffer: Option<Vec<u8>>) {
        self.conns.release(buffer);
    }

    /// Accepts frames up to this length from now on.
    pub fn set_frame_cap(&mut self, id: ConnId, bytes: usize) {
        if let Some(conn) = live(&mut self.conns.table, id, &mut self.ctx) {
            conn.set_frame_bytes_max(bytes);
            if bytes >= FRAME_BYTES_OPEN {
                self.conns.note_login(id);
            }
        }
    }

    /// Writes what is queued, then closes.
    pub fn close(&mut self, id: ConnId) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.close(id, &mut self.ctx);
        }
    }

    /// Closes at once, as failed.
    pub fn abort(&mut self, id: ConnId) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.finish(id, CloseReason::Failed, &mut self.ctx);
        }
    }

    /// Closes connections whose other side does not read, those with the longest send queues first,
    /// until this many bytes are free.
    pub fn close_unread(&mut self, bytes: usize) {
        self.conns.close_unread(bytes, &mut self.ctx);
    }

    /// Closes connections that have begun a frame some time ago and not completed it, those with
    /// the most bytes first, until this many bytes are free.
    pub fn close_unfinished(&mut self, bytes: usize) {
        let since = self.ctx.now - FRAME_SHORT_PATIENCE;
        self.conns.close_unfinished(bytes, since, &mut self.ctx);
    }

    /// Queues bytes of an answer of HTTP. For a connection that is gone it has no effect.
    pub fn write_http(&mut self, id: ConnId, bytes: &[u8]) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.write_http(id, bytes, &mut self.ctx);
        }
    }

    /// The answer to a request of HTTP is queued. `last`: the connection is closed after it.
    pub fn end_answer(&mut self, id: ConnId, last: bool) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.end_answer(id, last, &mut self.ctx);
        }
    }

    /// The answer to a request of HTTP goes on until the client leaves. Returns how many of its
    /// bytes wait to be written.
    pub fn stream_http(&mut self, id: ConnId) -> Option<usize> {
        let conn = live(&mut self.conns.table, id, &mut self.ctx)?;
        let Phase::Http(http) = &mut conn.phase else { return None };
        http.begin_stream();
        Some(conn.send.frame_bytes())
    }

    /// Refuses a request of HTTP, and closes its connection.
    pub fn refuse_http(&mut self, id: ConnId, refusal: Refusal) {
        if live(&mut self.conns.table, id, &mut self.ctx).is_some() {
            self.conns.refuse_http(id, refusal, &mut self.ctx);
        }
    }

    /// Our own address on a connection.
    #[must_use]
    pub fn local_addr(&self, id: ConnId) -> Option<SocketAddr> {
        self.conns.local_addr(id)
    }

    /// Bytes of answers of HTTP that wait to be written, without those of files.
    #[must_use]
    pub fn http_bytes(&self) -> usize {
        self.conns.http_bytes()
    }

    /// Queues a line for a client of the control socket; `last` marks the last one that answers a
    /// line of the client.
    pub fn reply(&mut self, id: ControlId, line: &str, last: bool) {
        self.control.reply(id, line, last, &mut self.ctx);
    }

    /// Lines of this client that are not answered yet.
    #[must_use]
    pub fn running(&self, id: ControlId) -> usize {
        self.control.running(id)
    }

    /// Whether every client of the control socket has all of its answers.
    #[must_use]
    pub fn clients_are_quiet(&self) -> bool {
        self.control.is_quiet()
    }
}

/// The connection, if the machine may still use it; otherwise the output is counted as stale.
#[inline(always)]
fn live<'a>(table: &'a mut Table<Connection>, id: ConnId, ctx: &mut Context) -> Option<&'a mut Connection> {
    let conn = table.get_mut(id).filter(|conn| conn.takes_messages());
    if conn.is_none() {
        ctx.counters.stale_ids += 1;
    }
    conn
}
