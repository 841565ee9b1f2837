//! What a loop asks of its sockets: one method per output of a machine that concerns one. An output
//! for a connection that is gone is counted and has no effect.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;

use super::arrival::ControlId;
use super::reactor::Net;
use crate::proto::{ConnId, DialId, HashPlan, Verify};
use crate::wire::{HostPort, LinkMessage, Message};

impl Net {
    /// Begins a dial; Dialed or DialFailed arrives.
    pub fn dial(&mut self, dial: DialId, to: HostPort) {
        self.dialer.dial(dial, to, &mut self.conns, &mut self.ctx);
    }

    /// Queues a message on a connection. One whose queue is full is closed.
    pub fn send(&mut self, id: ConnId, message: &Message) {
        self.conns.send(id, message, &mut self.ctx);
    }

    /// Queues `length` bytes of a file from `offset` on, after everything that is queued.
    /// PayloadSent arrives.
    pub fn send_file(&mut self, id: ConnId, req: u32, file: Arc<File>, offset: u64, length: u32) {
        self.conns.send_file(id, req, file, offset, length, &mut self.ctx);
    }

    /// Packs a message for a neighbor.
    pub fn send_to(&mut self, to: SocketAddr, boot: u64, message: &LinkMessage) {
        match &mut self.datagrams {
            Some(datagrams) => datagrams.push(to, boot, message, &mut self.ctx.counters),
            None => self.ctx.counters.datagrams_dropped += 1,
        }
    }

    /// The bytes of the datagram that arrived last.
    #[must_use]
    pub fn datagram(&self, length: usize) -> &[u8] {
        self.datagrams.as_ref().map_or(&[], |datagrams| datagrams.bytes(length))
    }

    /// Receives the raw bytes that follow the CHUNK just delivered. [`Arrival::Payload`] arrives.
    pub fn receive(&mut self, id: ConnId, req: u32, length: u32, plan: HashPlan, verify: Verify) {
        self.conns.receive(id, req, length, plan, verify, &mut self.ctx);
    }

    /// Takes back the buffer of one [`Arrival::Payload`], if it still exists.
    pub fn release(&mut self, buffer: Option<Vec<u8>>) {
        self.conns.release(buffer);
    }

    /// Accepts frames up to this length from now on.
    pub fn set_frame_cap(&mut self, id: ConnId, bytes: usize) {
        self.conns.set_frame_cap(id, bytes, &mut self.ctx);
    }

    /// Writes what is queued, then closes.
    pub fn close(&mut self, id: ConnId) {
        self.conns.close(id, &mut self.ctx);
    }

    /// Closes at once, as failed.
    pub fn abort(&mut self, id: ConnId) {
        self.conns.abort(id, &mut self.ctx);
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
