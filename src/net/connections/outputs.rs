//! What a machine asks of one connection.

use std::fs::File;
use std::sync::Arc;

use super::Connections;
use crate::config::{CHUNK_BYTES_MAX, SEND_QUEUE_BYTES_EARLY, SEND_QUEUE_BYTES_MAX};
use crate::net::connection::{Connection, Incoming, Phase};
use crate::net::context::Context;
use crate::net::table::Table;
use crate::proto::{CloseReason, ConnId, HashPlan, Verify};
use crate::wire::{Message, frame};

impl Connections {
    pub(in crate::net) fn send(&mut self, id: ConnId, message: &Message, ctx: &mut Context) {
        let Some(conn) = live(&mut self.table, id, ctx) else {
            return;
        };
        conn.note_queued(ctx.now);
        frame::encode(message, conn.send.tail(&mut self.buffers));
        ctx.counters.messages_out += 1;
        let queued = conn.send.frame_bytes();
        self.mark_dirty(id);
        if queued > SEND_QUEUE_BYTES_EARLY {
            self.flush_one(id, ctx);
        }
        if self.table.get(id).is_some_and(|conn| conn.send.frame_bytes() > SEND_QUEUE_BYTES_MAX) {
            self.finish(id, CloseReason::SlowConsumer, ctx);
        }
    }

    pub(in crate::net) fn send_file(
        &mut self,
        id: ConnId,
        req: u32,
        file: Arc<File>,
        offset: u64,
        length: u32,
        ctx: &mut Context,
    ) {
        if let Some(conn) = live(&mut self.table, id, ctx) {
            conn.note_queued(ctx.now);
            conn.send.push_file(req, file, offset, length);
            self.mark_dirty(id);
        }
    }

    pub(in crate::net) fn receive(
        &mut self,
        id: ConnId,
        req: u32,
        length: u32,
        plan: HashPlan,
        verify: Verify,
        ctx: &mut Context,
    ) {
        let Some(conn) = live(&mut self.table, id, ctx) else {
            return;
        };
        if !matches!(conn.phase, Phase::ChunkAnnounced) || length > CHUNK_BYTES_MAX {
            log::error!("payload {req} of {length} bytes is expected, but no CHUNK announced it");
            self.finish(id, CloseReason::Failed, ctx);
            return;
        }
        let incoming = Incoming { req, plan, verify, length: length as usize, bytes: None, filled: 0 };
        conn.phase = Phase::Receiving(Box::new(incoming));
        self.starved.push_back(id);
        self.feed_starved();
    }

    pub(in crate::net) fn set_frame_cap(&mut self, id: ConnId, bytes: usize, ctx: &mut Context) {
        if let Some(conn) = live(&mut self.table, id, ctx) {
            conn.set_frame_bytes_max(bytes);
        }
    }

    pub(in crate::net) fn close(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = live(&mut self.table, id, ctx) {
            let ended = conn.begin_closing();
            self.mark_dirty(id);
            self.release_of(ended);
        }
    }

    pub(in crate::net) fn abort(&mut self, id: ConnId, ctx: &mut Context) {
        if live(&mut self.table, id, ctx).is_some() {
            self.finish(id, CloseReason::Failed, ctx);
        }
    }
}

/// The connection, if the machine may still use it; otherwise the output is counted as stale.
fn live<'a>(table: &'a mut Table<Connection>, id: ConnId, ctx: &mut Context) -> Option<&'a mut Connection> {
    let conn = table.get_mut(id).filter(|conn| conn.takes_messages());
    if conn.is_none() {
        ctx.counters.stale_ids += 1;
    }
    conn
}
