//! The order in which the worker does its jobs. It holds jobs and does none.
//!
//! 1. Writes of verified pieces, so that a crash loses as few of them as possible.
//! 2. Received chunks, once enough of them are gathered to be hashed together.
//! 3. Everything else in the order of arrival; chunks to be prepared are taken out together.

use std::collections::VecDeque;
use std::time::Instant;

use super::job::{Job, ReceivedChunk};
use super::md5_lanes::{Gathering, take_batch};
use super::serve::ChunkRequest;
use crate::proto::disk::DiskWork;
use crate::proto::{ConnId, Verify};

/// The jobs that wait. The machines bound their number: they limit the requests of each connection
/// and the payloads in memory.
#[derive(Debug)]
pub(super) struct Queue {
    writes: VecDeque<Next>,
    chunks: Gathering<ReceivedChunk>,
    others: VecDeque<Next>,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Work { work: DiskWork, bytes: Option<Vec<u8>> },
    Prepare(Vec<ChunkRequest>),
    Digest(Vec<ReceivedChunk>),
}

impl Queue {
    pub(super) fn new(now: Instant) -> Queue {
        Queue { writes: VecDeque::new(), chunks: Gathering::new(now), others: VecDeque::new() }
    }

    /// When gathered chunks stop waiting for more: from then on [`Queue::next`] returns them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.chunks.deadline()
    }

    pub(super) fn push(&mut self, job: Job) {
        match job {
            Job::Digest(chunk) if chunk.verify == Verify::Blake3 => self.others.push_back(Next::Digest(vec![chunk])),
            Job::Digest(chunk) => self.chunks.add(Instant::now(), chunk),
            Job::Work { work: DiskWork::PrepareChunk { conn, req, root, offset, length, bare }, bytes: _ } => {
                self.others.push_back(Next::Prepare(vec![ChunkRequest { conn, req, root, offset, length, bare }]));
            }
            // A write may overtake other jobs: a part file is open before its first write is
            // ordered, and it is published only after the last write was answered.
            Job::Work { work: work @ (DiskWork::WritePiece { .. } | DiskWork::PreparePart { .. }), bytes } => {
                self.writes.push_back(Next::Work { work, bytes });
            }
            Job::Work { work, bytes } => self.others.push_back(Next::Work { work, bytes }),
        }
    }

    /// Takes out the next job. With `all`, chunks that are gathered do not wait for more.
    pub(super) fn next(&mut self, now: Instant, all: bool) -> Option<Next> {
        if let Some(write) = self.writes.pop_front() {
            return Some(write);
        }
        if self.chunks.is_due(now) || (all && !self.chunks.is_empty()) {
            return Some(Next::Digest(self.chunks.take(|chunk| (chunk.bytes.len(), chunk.verify))));
        }
        if let Some(Next::Prepare(_)) = self.others.front() {
            let batch = take_batch(&mut self.others, |next| matches!(next, Next::Prepare(_)));
            let requests = batch.into_iter().filter_map(|next| match next {
                Next::Prepare(requests) => Some(requests),
                Next::Work { .. } | Next::Digest(_) => None,
            });
            return Some(Next::Prepare(requests.flatten().collect()));
        }
        self.others.pop_front()
    }

    /// Removes the jobs that only answer this connection.
    pub(super) fn forget(&mut self, gone: ConnId) {
        self.others.retain(|next| match next {
            Next::Prepare(requests) => requests.iter().any(|request| request.conn != gone),
            Next::Work { work: DiskWork::ReadManifest { conn, .. }, .. } => *conn != gone,
            Next::Work { .. } | Next::Digest(_) => true,
        });
    }
}
