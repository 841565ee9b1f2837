//! The order in which the worker does its jobs. It holds jobs and does none of them.
//!
//! 1. Writes of verified pieces, so that a crash loses as few of them as possible.
//! 2. Received chunks, once enough of them are gathered to be hashed together.
//! 3. In turn: a job of our own, a page of a manifest, and chunks to be prepared, of which several
//!    are taken out together. Hosts take turns, and so do the connections of a host, with one
//!    request each. So connections that request much delay the others only a little. Every second
//!    request of a host is that of the connection that came last. So a burst of connections does
//!    not delay a connection that comes after it, even if they have the same address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use super::http::HttpWork;
use super::job::{Job, ReceivedChunk};
use super::md5_lanes::{Gathering, fill_batch};
use super::serve::ChunkRequest;
use crate::proto::crowd::Host;
use crate::proto::disk::DiskWork;
use crate::proto::{ConnId, Verify};

/// The waiting jobs. The machines bound their number: they limit the requests of each connection
/// and the payloads in memory.
#[derive(Debug)]
pub(super) struct Queue {
    writes: VecDeque<Next>,
    received: Gathering<ReceivedChunk>,
    ours: VecDeque<Next>,
    pages: Hosts<DiskWork>,
    chunks: Hosts<ChunkRequest>,
    turn: Turn,
}

/// Which kind of job is next, unless no job of this kind waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    Page,
    Chunks,
}

/// Requests of hosts, which take turns with one request each.
#[derive(Debug)]
struct Hosts<T> {
    /// Hosts with waiting requests, in the order in which they are served.
    order: VecDeque<Host>,
    hosts: HashMap<Host, Rotation<T>>,
    /// The host of each connection with waiting requests.
    of: HashMap<ConnId, Host>,
}

/// The requests of the connections of one host.
#[derive(Debug)]
struct Rotation<T> {
    /// Connections with waiting requests, in the order in which they are served.
    order: VecDeque<ConnId>,
    requests: HashMap<ConnId, Waiting<T>>,
    /// Connections that were not served since they came, in the order in which they came, each with
    /// the number of its arrival. An entry may be out of date, because its connection was served in
    /// the meantime.
    fresh: Vec<(ConnId, u64)>,
    /// How many connections have come. A connection that comes again counts again.
    arrivals: u64,
    /// Whether the next request is that of the connection that came last.
    latest: bool,
}

/// The waiting requests of one connection.
#[derive(Debug)]
struct Waiting<T> {
    requests: VecDeque<T>,
    /// The number of its arrival, until one of its requests is served.
    fresh: Option<u64>,
}

/// The next thing to do.
#[derive(Debug)]
pub(super) enum Next {
    Work { work: DiskWork, bytes: Option<Vec<u8>> },
    Prepare(Vec<ChunkRequest>),
    Digest(Vec<ReceivedChunk>),
    Http(HttpWork),
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
            pages: Hosts::new(),
            chunks: Hosts::new(),
            turn: Turn::Ours,
        }
    }

    /// When gathered chunks stop waiting for more. From this time on [`Queue::next`] returns them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.received.deadline()
    }

    pub(super) fn push(&mut self, job: Job) {
        match job {
            Job::Digest(chunk) if chunk.verify == Verify::Blake3 => self.ours.push_back(Next::Digest(vec![chunk])),
            Job::Digest(chunk) => self.received.add(Instant::now(), chunk),
            Job::Work { work: DiskWork::PrepareChunk { conn, from, req, root, offset, length, bare }, bytes: _ } => {
                self.chunks.push(from, conn, ChunkRequest { conn, req, root, offset, length, bare });
            }
            Job::Work { work: work @ DiskWork::ReadManifest { conn, from, .. }, bytes: _ } => {
                self.pages.push(from, conn, work);
            }
            // The waiting jobs are dropped at once: nothing more is done for a connection that is
            // gone.
            Job::Work { work: DiskWork::ForgetConn { conn }, bytes: _ } => self.forget(conn),
            // A write may overtake other jobs. A part file is opened before its first write is
            // ordered, and is published only after its last write was answered.
            Job::Work { work: work @ (DiskWork::WritePiece { .. } | DiskWork::PreparePart { .. }), bytes } => {
                self.writes.push_back(Next::Work { work, bytes });
            }
            Job::Http(work) => self.ours.push_back(Next::Http(work)),
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

    /// Removes the jobs whose only purpose is an answer to this connection.
    pub(super) fn forget(&mut self, gone: ConnId) {
        self.pages.forget(gone);
        self.chunks.forget(gone);
    }

    /// The next chunks to prepare, as many as are hashed at once.
    fn next_chunks(&mut self) -> Option<Next> {
        let batch = fill_batch(|| self.chunks.pop());
        (!batch.is_empty()).then_some(Next::Prepare(batch))
    }
}

impl<T> Hosts<T> {
    fn new() -> Hosts<T> {
        Hosts { order: VecDeque::new(), hosts: HashMap::new(), of: HashMap::new() }
    }

    fn push(&mut self, from: IpAddr, conn: ConnId, request: T) {
        let host = *self.of.entry(conn).or_insert_with(|| from.into());
        let rotation = self.hosts.entry(host).or_insert_with(Rotation::new);
        if rotation.order.is_empty() {
            self.order.push_back(host);
        }
        rotation.push(conn, request);
    }

    /// The next request of the host that is next.
    fn pop(&mut self) -> Option<T> {
        let host = self.order.pop_front()?;
        let rotation = self.hosts.get_mut(&host)?;
        let (request, over) = rotation.pop()?;
        if let Some(conn) = over {
            self.of.remove(&conn);
        }
        if rotation.order.is_empty() {
            self.hosts.remove(&host);
        } else {
            self.order.push_back(host);
        }
        Some(request)
    }

    fn forget(&mut self, conn: ConnId) {
        let Some(host) = self.of.remove(&conn) else { return };
        let Some(rotation) = self.hosts.get_mut(&host) else { return };
        rotation.requests.remove(&conn);
        rotation.order.retain(|other| *other != conn);
        if rotation.order.is_empty() {
            self.hosts.remove(&host);
            self.order.retain(|other| *other != host);
        }
    }
}

impl<T> Rotation<T> {
    fn new() -> Rotation<T> {
        Rotation { order: VecDeque::new(), requests: HashMap::new(), fresh: Vec::new(), arrivals: 0, latest: false }
    }

    fn push(&mut self, conn: ConnId, request: T) {
        if let Some(waiting) = self.requests.get_mut(&conn) {
            return waiting.requests.push_back(request);
        }
        self.arrivals += 1;
        self.requests.insert(conn, Waiting { requests: [request].into(), fresh: Some(self.arrivals) });
        self.order.push_back(conn);
        // Most entries are those of connections that were served.
        if self.fresh.len() > 2 * self.order.len() {
            let requests = &self.requests;
            self.fresh.retain(|arrival| is_fresh(requests, *arrival));
        }
        self.fresh.push((conn, self.arrivals));
    }

    /// The next request, and its connection if this was the connection's last request. It is the
    /// oldest request of the connection that has waited longest, or of the one that came last.
    fn pop(&mut self) -> Option<(T, Option<ConnId>)> {
        self.latest = !self.latest;
        let latest = if self.latest { None } else { self.pop_latest() };
        let conn = latest.or_else(|| self.order.pop_front())?;
        let waiting = self.requests.get_mut(&conn)?;
        waiting.fresh = None;
        let request = waiting.requests.pop_front()?;
        let is_over = waiting.requests.is_empty();
        if is_over {
            self.requests.remove(&conn);
        } else {
            self.order.push_back(conn);
        }
        Some((request, is_over.then_some(conn)))
    }

    /// Removes and returns the connection that came last, if it was not served since.
    fn pop_latest(&mut self) -> Option<ConnId> {
        while let Some(arrival) = self.fresh.pop() {
            if is_fresh(&self.requests, arrival) {
                // It is near the end. Behind it are only connections that were served since it
                // came.
                let at = self.order.iter().rposition(|other| *other == arrival.0)?;
                return self.order.remove(at);
            }
        }
        None
    }
}

/// Whether a connection was not served since this arrival.
fn is_fresh<T>(requests: &HashMap<ConnId, Waiting<T>>, (conn, number): (ConnId, u64)) -> bool {
    requests.get(&conn).is_some_and(|waiting| waiting.fresh == Some(number))
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

    /// Connections below 1000 belong to one host, and each further thousand to another host.
    fn host(index: u32) -> IpAddr {
        [10, 0, 0, (index / 1000) as u8].into()
    }

    fn get(queue: &mut Queue, index: u32, reqs: std::ops::Range<u32>) {
        for req in reqs {
            let work = DiskWork::PrepareChunk {
                conn: conn(index),
                from: host(index),
                req,
                root: ROOT,
                offset: 0,
                length: 1,
                bare: false,
            };
            queue.push(Job::Work { work, bytes: None });
        }
    }

    /// All waiting chunks, in order: the connection and the number of each.
    fn chunks(queue: &mut Queue) -> Vec<(u32, u32)> {
        let next = || queue.next(Instant::now(), true);
        let requests = std::iter::from_fn(next).flat_map(|next| match next {
            Next::Prepare(requests) => requests,
            Next::Work { .. } | Next::Digest(_) | Next::Http(_) => Vec::new(),
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
        // It is served second. After that it takes turns with the others.
        assert_eq!(place((100, 0)), Some(1));
        assert!(place((100, 1)).is_some_and(|at| at <= 201), "{:?}", place((100, 1)));
    }

    #[test]
    fn a_host_that_asks_for_one_chunk_does_not_wait_for_all_connections_of_another() {
        let mut queue = Queue::new(Instant::now());
        (0..700).for_each(|index| get(&mut queue, index, 0..2));
        get(&mut queue, 1000, 0..3);
        let order = chunks(&mut queue);
        let places: Vec<usize> = (0..order.len()).filter(|at| order[*at].0 == 1000).collect();
        assert_eq!((order.len(), places), (1403, vec![1, 3, 5]));
    }

    #[test]
    fn a_connection_after_a_burst_of_its_own_host_is_served_next_and_the_first_ones_too() {
        let mut queue = Queue::new(Instant::now());
        (0..700).for_each(|index| get(&mut queue, index, 0..1));
        for late in 700..800 {
            get(&mut queue, late, 0..1);
            let two = [queue.chunks.pop(), queue.chunks.pop()].map(|request| request.unwrap().conn.index);
            assert_eq!(two, [late - 700, late], "the one that waits longest, and the one that came last");
        }
    }

    #[test]
    fn every_request_is_served_once_and_each_connection_in_its_turn() {
        let mut queue = Queue::new(Instant::now());
        for round in 0..50 {
            (0..20).for_each(|index| get(&mut queue, index * 137, round..round + 1));
        }
        let order = chunks(&mut queue);
        assert_eq!(order.len(), 1000);
        for index in (0..20).map(|index| index * 137) {
            let reqs: Vec<u32> = order.iter().filter(|chunk| chunk.0 == index).map(|chunk| chunk.1).collect();
            assert_eq!(reqs, (0..50).collect::<Vec<_>>());
            // There are three hosts with at most seven connections each.
            let places: Vec<usize> = (0..1000).filter(|at| order[*at].0 == index).collect();
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] <= 3 * 8), "{index}: {places:?}");
        }
        assert!(queue.chunks.hosts.is_empty() && queue.chunks.of.is_empty());
    }

    #[test]
    fn connections_that_come_again_and_again_take_no_more_memory() {
        let mut queue = Queue::new(Instant::now());
        (0..10).for_each(|index| get(&mut queue, index, 0..1));
        for req in 1..10_000 {
            let served = queue.chunks.pop().unwrap().conn.index;
            get(&mut queue, served, req..req + 1);
            let rotation = queue.chunks.hosts.values().next().unwrap();
            assert!(rotation.fresh.len() <= 2 * rotation.order.len() + 1, "{}", rotation.fresh.len());
        }
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
        let page = DiskWork::ReadManifest { conn: conn(1), from: host(1), req: 99, root: ROOT, first: 0 };
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
            let page = DiskWork::ReadManifest { conn: conn(2), from: host(2), req, root: ROOT, first: 0 };
            queue.push(Job::Work { work: page, bytes: None });
        }
        let next = || queue.next(Instant::now(), false);
        let order: Vec<bool> = std::iter::from_fn(next).map(|next| matches!(next, Next::Prepare(_))).collect();
        assert_eq!(order[..9], [false, false, true].repeat(3));
    }
}
