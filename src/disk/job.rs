//! What the loop orders from the worker, and what the worker answers.

use std::fs::File;
use std::sync::Arc;

use super::http::{HttpDone, HttpWork};
use super::lent::Lent;
use crate::proto::disk::{DiskDone, DiskWork};
use crate::proto::{ConnId, Digests, HashPlan, Verify};

/// An order of the loop.
#[derive(Debug)]
pub enum Job {
    /// An order of a machine.
    Work {
        /// The order.
        work: DiskWork,
        /// The bytes of a [`DiskWork::WritePiece`].
        bytes: Option<Vec<u8>>,
    },
    /// Hash a chunk that has arrived.
    Digest(ReceivedChunk),
    /// A question of HTTP.
    Http(HttpWork),
}

/// A chunk that has arrived and is to be hashed.
#[derive(Debug)]
pub struct ReceivedChunk {
    /// The connection that it arrived on.
    pub conn: ConnId,
    /// The request that it answers.
    pub req: u32,
    /// The payload. It comes back with the report.
    pub bytes: Vec<u8>,
    /// Which BLAKE3 value is computed.
    pub plan: HashPlan,
    /// Which digests are computed.
    pub verify: Verify,
}

/// An answer of the worker.
#[derive(Debug)]
pub enum Report {
    /// For the machine.
    Done {
        /// The answer.
        done: DiskDone,
        /// The open file of a successful [`DiskDone::ChunkReady`].
        file: Option<Arc<File>>,
        /// The bytes of that chunk, if it is short.
        lent: Option<Lent>,
        /// The buffer of a [`DiskDone::PieceWritten`], for reuse.
        spare: Option<Vec<u8>>,
    },
    /// Answer to [`Job::Http`].
    Http(HttpDone),
    /// Gauges of the share for `status`, in place of the earlier ones.
    Counts(Vec<(&'static str, u64)>),
    /// Answer to [`Job::Digest`].
    Digested {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The payload.
        bytes: Vec<u8>,
        /// Its digests.
        digests: Digests,
    },
}
