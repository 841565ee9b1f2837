//! The order in which the worker does its jobs. It holds jobs and does none.
//!
//! 1. Writes of verified pieces, so that a crash loses as few of them as possible.
//! 2. Received chunks, once enough of them are gathered to be hashed together.
//! 3. In turn: a job of our own; a page of a manifest; chunks to be prepared, which are taken out
//!    together. Pages and chunks are served in rotation, one of each connection, so that a
//!    connection that asks for much delays the others by little.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::job::{Job, ReceivedChunk};
use super::md5_lanes::{Gathering, fill_batch};
use super::serve::ChunkRequest;
use crate::proto::disk::DiskWork;
use crate::proto::{ConnId, Verify};

/// The jobs that wait. The machines bound their number: they limit the requests of each connection
/// and the payloads in memory.
#[derive(Debug)]
pub(super) struct Queue {
    writes: VecDeque<Next>,
    received: Gathering<ReceivedChunk>,
    ours: VecDeque<Next>,
    pages: Rotation<DiskWork>,
    chunks: Rotation<ChunkRequest>,
    turn: Turn,
}

/// Whose turn it is, unless nothing waits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    Page,
    Chunks,
}

/// Requests of connections, in rotation: one of each connection, then the next one of each.
#[derive(Debug)]
struct Rotation<T> {
    /// Connections whose requests wait, in the order in which they are served.
    order: VecDeque<ConnId>,
    requests: HashMap<ConnId, VecDeque<T>>,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Work { work: DiskWork, bytes: Option<Vec<u8>> },
    Prepare(Vec<ChunkRequest>),
    Digest(Vec<ReceivedChunk>),
}

impl Turn {
    fn after(self) -> Turn {
        match self {
            Turn::Ours => Turn::Page,
            Turn::Page => Turn::Chunks,
            Turn::Chunks => Turn::Ours,
        }
    }
}

impl Queue {
    pub(super) fn new(now: Instant) -> Queue {
        Queue {
            writes: VecDeque::new(),
            received: Gathering::new(now),
            ours: VecDeque::new(),
            pages: Rotation::new(),
            chunks: Rotation::new(),
            turn: Turn::Ours,
        }
    }

    /// When gathered chunks stop waiting for more: from then on [`Queue::next`] returns them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.received.deadline()
    }

    pub(super) fn push(&mut self, job: Job) {
        match job {
            Job::Digest(chunk) if chunk.verify == Verify::Blake3 => self.ours.push_back(Next::Digest(vec![chunk])),
            Job::Digest(chunk) => self.received.add(Instant::now(), chunk),
            Job::Work { work: DiskWork::PrepareChunk { conn, req, root, offset, length, bare }, bytes: _ } => {
                self.chunks.push(conn, ChunkRequest { conn, req, root, offset, length, bare });
            }
            Job::Work { work: work @ DiskWork::ReadManifest { conn, .. }, bytes: _ } => self.pages.push(conn, work),
            // What waits is dropped at once: nothing more is done for a connection that is gone.
            Job::Work { work: DiskWork::ForgetConn { conn }, bytes: _ } => self.forget(conn),
            // A write may overtake other jobs: a part file is open before its first write is
            // ordered, and it is published only after the last write was answered.
            Job::Work { work: work @ (DiskWork::WritePiece { .. } | DiskWork::PreparePart { .. }), bytes } => {
                self.writes.push_back(Next::Work { work, bytes });
            }
            Job::Work { work, bytes } => self.ours.push_back(Next::Work { work, bytes }),
        }
    }

    /// Takes out the next job. With `all`, chunks that are gathered do not wait for more.
    pub(super) fn next(&mut self, now: Instant, all: bool) -> Option<Next> {
        if let Some(write) = self.writes.pop_front() {
            return Some(write);
        }
        if self.received.is_due(now) || (all && !self.received.is_empty()) {
            return Some(Next::Digest(self.received.take(|chunk| (chunk.bytes.len(), chunk.verify))));
        }
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = turn.after();
            let next = match turn {
                Turn::Ours => self.ours.pop_front(),
                Turn::Page => self.pages.pop().map(|work| Next::Work { work, bytes: None }),
                Turn::Chunks => self.next_chunks(),
            };
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Removes the jobs that only answer this connection.
    pub(super) fn forget(&mut self, gone: ConnId) {
        self.pages.forget(gone);
        self.chunks.forget(gone);
    }

    /// As many chunks as are hashed at once.
    fn next_chunks(&mut self) -> Option<Next> {
        let batch = fill_batch(|| self.chunks.pop());
        (!batch.is_empty()).then_some(Next::Prepare(batch))
    }
}

impl<T> Rotation<T> {
    fn new() -> Rotation<T> {
        Rotation { order: VecDeque::new(), requests: HashMap::new() }
    }

    fn push(&mut self, conn: ConnId, request: T) {
        let requests = self.requests.entry(conn).or_default();
        if requests.is_empty() {
            self.order.push_back(conn);
        }
        requests.push_back(request);
    }

    /// The next request: the oldest one of the connection whose turn it is.
    fn pop(&mut self) -> Option<T> {
        let conn = self.order.pop_front()?;
        let requests = self.requests.get_mut(&conn)?;
        let request = requests.pop_front();
        if requests.is_empty() {
            self.requests.remove(&conn);
        } else {
            self.order.push_back(conn);
        }
        request
    }

    fn forget(&mut self, conn: ConnId) {
        if self.requests.remove(&conn).is_some() {
            self.order.retain(|other| *other != conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DownloadId;
    use crate::wire::ids::Root;

    const ROOT: Root = Root([1; 32]);

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    fn get(queue: &mut Queue, index: u32, reqs: std::ops::Range<u32>) {
        for req in reqs {
            let work = DiskWork::PrepareChunk { conn: conn(index), req, root: ROOT, offset: 0, length: 1, bare: false };
            queue.push(Job::Work { work, bytes: None });
        }
    }

    /// Everything that waits, in order: the connection and the number of each chunk.
    fn chunks(queue: &mut Queue) -> Vec<(u32, u32)> {
        let next = || queue.next(Instant::now(), true);
        let requests = std::iter::from_fn(next).flat_map(|next| match next {
            Next::Prepare(requests) => requests,
            Next::Work { .. } | Next::Digest(_) => Vec::new(),
        });
        requests.map(|request| (request.conn.index, request.req)).collect()
    }

    #[test]
    fn a_connection_that_asks_for_one_chunk_does_not_wait_for_all_chunks_of_others() {
        let mut queue = Queue::new(Instant::now());
        (0..100).for_each(|index| get(&mut queue, index, 0..16));
        get(&mut queue, 100, 0..2);
        let order = chunks(&mut queue);
        assert_eq!(order.len(), 1602);
        let place = |wanted| order.iter().position(|chunk| *chunk == wanted);
        assert_eq!((place((100, 0)), place((100, 1))), (Some(100), Some(201)));
    }

    #[test]
    fn chunks_of_one_connection_are_taken_out_together_and_in_order() {
        let mut queue = Queue::new(Instant::now());
        get(&mut queue, 1, 0..3);
        let Some(Next::Prepare(batch)) = queue.next(Instant::now(), false) else { panic!() };
        assert_eq!(batch.iter().map(|request| request.req).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_waits_for_a_connection_that_is_gone_is_dropped_before_it_is_done() {
        let mut queue = Queue::new(Instant::now());
        get(&mut queue, 1, 0..16);
        get(&mut queue, 2, 0..2);
        let page = DiskWork::ReadManifest { conn: conn(1), req: 99, root: ROOT, first: 0 };
        queue.push(Job::Work { work: page, bytes: None });
        queue.push(Job::Work { work: DiskWork::ForgetConn { conn: conn(1) }, bytes: None });
        assert_eq!(chunks(&mut queue), [(2, 0), (2, 1)]);
        assert!(queue.pages.pop().is_none());
    }

    #[test]
    fn our_own_jobs_and_pages_do_not_wait_for_all_chunks_nor_chunks_for_them() {
        let mut queue = Queue::new(Instant::now());
        get(&mut queue, 1, 0..100);
        for req in 0..3 {
            let work = DiskWork::Abandon { download: DownloadId(1) };
            queue.push(Job::Work { work, bytes: None });
            let page = DiskWork::ReadManifest { conn: conn(2), req, root: ROOT, first: 0 };
            queue.push(Job::Work { work: page, bytes: None });
        }
        let next = || queue.next(Instant::now(), false);
        let order: Vec<bool> = std::iter::from_fn(next).map(|next| matches!(next, Next::Prepare(_))).collect();
        assert_eq!(order[..9], [false, false, true].repeat(3));
    }
}
