//! The chunks that the loop holds for the machine: received chunks until they are written or
//! dropped, and the files of chunks to send, between ChunkReady and SendPayload.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use crate::disk::Lent;
use crate::proto::{CloseReason, ConnId, PayloadId};

/// The chunks and files that the loop holds. The machine's caps on open requests bound each map.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    minted: u64,
    /// Chunks that are hashed.
    pub(super) payloads: BTreeMap<PayloadId, Vec<u8>>,
    /// How many chunks of a connection are being hashed. If the connection was closed in the
    /// meantime, also the reason.
    hashing: BTreeMap<ConnId, (usize, Option<CloseReason>)>,
    /// Files that the disk has opened, with chunks of them that it has read.
    pub(super) prepared: BTreeMap<(ConnId, u32), (Arc<File>, Option<Lent>)>,
}

impl Chunks {
    /// A chunk of this connection is being hashed.
    pub(super) fn begin_hashing(&mut self, conn: ConnId) {
        self.hashing.entry(conn).or_default().0 += 1;
    }

    /// A chunk is hashed: keeps its bytes.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) -> PayloadId {
        self.minted += 1;
        let payload = PayloadId(self.minted);
        self.payloads.insert(payload, bytes);
        payload
    }

    /// A chunk of this connection is hashed. If it was the last one and the connection was closed
    /// in the meantime, returns the reason.
    pub(super) fn end_hashing(&mut self, conn: ConnId) -> Option<CloseReason> {
        let (left, closed) = self.hashing.get_mut(&conn)?;
        *left -= 1;
        let closed = *closed;
        if *left > 0 {
            return None;
        }
        self.hashing.remove(&conn);
        closed
    }

    /// The connection is closed. Returns whether all its chunks are hashed. Only then may the
    /// machine get [`Input::Closed`](crate::proto::Input::Closed): otherwise it would request a
    /// chunk again that has arrived and is still being hashed.
    pub(super) fn close(&mut self, conn: ConnId, why: CloseReason) -> bool {
        self.forget(conn);
        let hashing = self.hashing.get_mut(&conn);
        let none = hashing.is_none();
        if let Some((_, closed)) = hashing {
            *closed = Some(why);
        }
        none
    }

    /// Closes the files of this connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.prepared.extract_if((conn, 0)..=(conn, u32::MAX), |_, _| true).for_each(drop);
    }
}
