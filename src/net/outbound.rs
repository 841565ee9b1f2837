//! What a machine can have done to a connection: one method per output. An id that names nothing any more is counted.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::{Connection, Incoming, Phase};
use super::reactor::Net;
use crate::config::{CHUNK_BUFFERS_MAX, CHUNK_BYTES_MAX, SEND_QUEUE_BYTES_EARLY, SEND_QUEUE_BYTES_MAX};
use crate::proto::{CloseReason, ConnId, HashPlan, Verify};
use crate::wire::{LinkMessage, Message, frame};

impl Net {
    /// Queues a message.
    pub fn send(&mut self, id: ConnId, message: &Message) {
        if self.live(id).is_none() {
            return;
        }
        let conn = self.conns.get_mut(id).expect("looked at just now");
        conn.note_queued(self.now);
        frame::encode(message, conn.send.tail(&mut self.buffers));
        self.counters.messages_out += 1;
        let queued = conn.send.frame_bytes();
        self.mark_dirty(id);
        if queued > SEND_QUEUE_BYTES_EARLY {
            self.flush_connection(id);
        }
        if self.conns.get(id).is_some_and(|conn| conn.send.frame_bytes() > SEND_QUEUE_BYTES_MAX) {
            self.finish(id, CloseReason::SlowConsumer);
        }
    }

    /// Queues bytes of a file behind what is queued.
    pub fn send_file(&mut self, id: ConnId, req: u32, file: Arc<File>, offset: u64, length: u32) {
        let now = self.now;
        if let Some(conn) = self.live(id) {
            conn.note_queued(now);
            conn.send.push_file(req, file, offset, length);
            self.mark_dirty(id);
        }
    }

    /// Packs a message for a neighbour.
    pub fn send_to(&mut self, to: SocketAddr, boot: u64, message: &LinkMessage) {
        match &mut self.datagrams {
            Some(datagrams) => datagrams.push(to, boot, message, &mut self.counters),
            None => self.counters.datagrams_dropped += 1,
        }
    }

    /// Takes the raw bytes that follow the CHUNK just delivered.
    pub fn receive(&mut self, id: ConnId, req: u32, length: u32, plan: HashPlan, verify: Verify) {
        if self.live(id).is_none() {
            return;
        }
        let conn = self.conns.get_mut(id).expect("looked at just now");
        if !matches!(conn.phase, Phase::ChunkAnnounced) || length > CHUNK_BYTES_MAX {
            log::error!("payload {req} of {length} bytes is expected where none was announced");
            self.finish(id, CloseReason::Failed);
            return;
        }
        let incoming = Incoming { req, plan, verify, length: length as usize, bytes: None, filled: 0 };
        conn.phase = Phase::Receiving(Box::new(incoming));
        self.starved.push_back(id);
        self.feed_starved();
    }

    /// The chunk of one [`super::Arrival::Payload`] is done with; its buffer comes back if it still exists.
    pub fn release(&mut self, buffer: Option<Vec<u8>>) {
        self.chunks_out = self.chunks_out.saturating_sub(1);
        if let Some(buffer) = buffer {
            self.buffers.put_chunk(buffer, self.chunks_out);
        }
        self.feed_starved();
    }

    /// Gives buffers to those who wait for one, first come, first served.
    fn feed_starved(&mut self) {
        while self.chunks_out < CHUNK_BUFFERS_MAX
            && let Some(id) = self.starved.pop_front()
        {
            if let Some(Phase::Receiving(incoming)) = self.conns.get_mut(id).map(|conn| &mut conn.phase)
                && incoming.bytes.is_none()
            {
                incoming.bytes = Some(self.buffers.chunk(incoming.length));
                self.chunks_out += 1;
                self.requeue(id);
            }
        }
    }

    /// Takes frames up to this length from now on.
    pub fn set_frame_cap(&mut self, id: ConnId, bytes: usize) {
        if let Some(conn) = self.live(id) {
            conn.set_frame_bytes_max(bytes);
        }
    }

    /// Writes what is queued, then closes.
    pub fn close(&mut self, id: ConnId) {
        if self.live(id).is_none() {
            return;
        }
        let conn = self.conns.get_mut(id).expect("looked at just now");
        let ended = conn.begin_closing();
        self.mark_dirty(id);
        self.release_of(ended);
    }

    /// Gives a connection up as broken.
    pub fn abort(&mut self, id: ConnId) {
        if self.live(id).is_some() {
            self.finish(id, CloseReason::Failed);
        }
    }

    /// The bytes of the datagram that arrived last.
    #[must_use]
    pub fn datagram(&self, length: usize) -> &[u8] {
        self.datagrams.as_ref().map_or(&[], |datagrams| datagrams.bytes(length))
    }

    /// Takes back the buffer of a chunk that will not get whole.
    pub(super) fn release_of(&mut self, ended: Phase) {
        if let Phase::Receiving(incoming) = ended
            && incoming.bytes.is_some()
        {
            self.release(incoming.bytes);
        }
    }

    fn live(&mut self, id: ConnId) -> Option<&mut Connection> {
        let conn = self.conns.get_mut(id).filter(|conn| conn.takes_messages());
        if conn.is_none() {
            self.counters.stale_ids += 1;
        }
        conn
    }
}
