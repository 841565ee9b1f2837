//! What the loop orders from the worker, and how the worker answers.

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
    /// A request of HTTP.
    Http(HttpWork),
}

/// A chunk that has arrived and must be hashed.
#[derive(Debug)]
pub struct ReceivedChunk {
    /// The connection that it arrived on.
    pub conn: ConnId,
    /// The request that it answers.
    pub req: u32,
    /// The payload. The report returns it.
    pub bytes: Vec<u8>,
    /// Which BLAKE3 value to compute.
    pub plan: HashPlan,
    /// Which digests to compute.
    pub verify: Verify,
}

/// An answer of the worker.
#[derive(Debug)]
pub enum Report {
    /// An answer for the machine.
    Done {
        /// The answer.
        done: DiskDone,
        /// The open file of a successful [`DiskDone::ChunkReady`].
        file: Option<Arc<File>>,
        /// The bytes of this chunk, if it is short.
        lent: Option<Lent>,
        /// The buffer of a [`DiskDone::PieceWritten`], for reuse.
        spare: Option<Vec<u8>>,
    },
    /// Answer to [`Job::Http`].
    Http(HttpDone),
    /// Gauges of the share for `status`. They replace the earlier ones.
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
