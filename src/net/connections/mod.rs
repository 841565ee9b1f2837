//! Every TCP connection of a loop: the table and its slots, and the buffers that connections share.
//! The other files of this folder use the same table: `turn` reads, writes and times out,
//! `handshakes` has the connections that have not logged in, `http` those that speak HTTP, and
//! `limits` those that wait for a limit on bytes per second.

mod handshakes;
mod http;
mod limits;
mod turn;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;

use super::admission::Admission;
use super::arrival::Arrival;
use super::buffers::Buffers;
use super::connection::reading::Scratch;
use super::connection::{Connection, Phase};
use super::context::Context;
use super::half_open::HalfOpen;
use super::socket::INHERITS;
use super::table::Table;
use super::throttle::Throttle;
use super::tls::Tls;
use super::token;
use super::transport::Transport;
use crate::config::{
    CHUNK_BUFFERS_MAX, RATE_BURST_READ, RATE_BURST_SENT, READ_SCRATCH_BYTES, TURN_BYTES_PER_CONNECTION,
    TURN_BYTES_WRITTEN,
};
use crate::proto::{CloseReason, ConnId, Input};
use crate::time::Time;

/// The connections of a loop. An output for a connection that is gone is counted and has no effect.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) table: Table<Connection>,
    /// Number of connections that the descriptors allow.
    pub(super) conns_max: usize,
    /// How many more may be open for a short time, until the machine has closed idle ones.
    pub(super) newcomers_max: usize,
    /// Connections that are not dead.
    live: usize,
    /// Connections that linger, in the order in which they began to linger. It may also have some
    /// that are gone.
    lingering: VecDeque<ConnId>,
    /// Number of connections that the machine must close; 0 once it was asked to.
    pub(super) wanted: usize,
    /// Connections with something to read; each at most once. Those that are served as HTTP are in
    /// a queue of their own.
    run: VecDeque<ConnId>,
    http_run: VecDeque<ConnId>,
    /// Connections whose handshake may go on; each at most once.
    handshakes: VecDeque<ConnId>,
    /// Connections that were accepted in login mode and have not logged in.
    half_open: HalfOpen,
    pub(super) admission: Admission,
    /// How many connections of `run` and `http_run` are due in this turn; those that are added
    /// during the turn wait for the next one.
    run_left: usize,
    http_run_left: usize,
    /// Whether no further request of HTTP is read in this turn.
    http_rests: bool,
    /// The connection whose bytes are in the scratch buffer.
    current: Option<ConnId>,
    /// How many messages were read from it without a pause.
    in_a_row: usize,
    scratch: Scratch,
    pub(super) buffers: Buffers,
    /// Connections whose chunk waits for a buffer.
    starved: VecDeque<ConnId>,
    /// Connections with something to write; each at most once. Those that serve HTTP or have files
    /// to write go to `bulk` when it is their turn.
    dirty: VecDeque<ConnId>,
    bulk: VecDeque<ConnId>,
    /// Bytes of files that each connection may write in this turn.
    pub(super) write_budget: usize,
    /// The limits on what is sent of files, and on what is received of chunks.
    upload: Throttle,
    download: Throttle,
    /// Limits on what single accounts get, each with the number of its connections.
    accounts: BTreeMap<u64, (Throttle, usize)>,
    /// Connections that are served as HTTP.
    http: Vec<ConnId>,
    /// Whether connections of the listener are served as HTTP if they begin like a request.
    pub(super) serves_files: bool,
    /// Slots to be freed at the end of this turn or of one of the next.
    graves: VecDeque<ConnId>,
    /// Bytes of all send queues, and of all frames that are not complete, as they were counted
    /// last.
    pub(super) send_bytes: usize,
    pub(super) read_bytes: usize,
}

impl Connections {
    pub(super) fn new(conns_max: usize, newcomers_max: usize) -> Connections {
        Connections {
            table: Table::new(),
            conns_max,
            newcomers_max,
            live: 0,
            lingering: VecDeque::new(),
            wanted: 0,
            run: VecDeque::new(),
            http_run: VecDeque::new(),
            handshakes: VecDeque::new(),
            half_open: HalfOpen::default(),
            admission: Admission::default(),
            run_left: 0,
            http_run_left: 0,
            http_rests: false,
            current: None,
            in_a_row: 0,
            scratch: Scratch::new(),
            buffers: Buffers::default(),
            starved: VecDeque::new(),
            dirty: VecDeque::new(),
            bulk: VecDeque::new(),
            write_budget: TURN_BYTES_WRITTEN,
            upload: Throttle::new(RATE_BURST_SENT),
            download: Throttle::new(RATE_BURST_READ),
            accounts: BTreeMap::new(),
            http: Vec::new(),
            serves_files: false,
            graves: VecDeque::new(),
            send_bytes: 0,
            read_bytes: 0,
        }
    }

    /// Connections that are not gone, dials and lingering ones among them.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no descriptor is left for one more connection, not even for a short time.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.conns_max + self.newcomers_max
    }

    /// Number of open connections above `conns_max`.
    pub(super) fn excess(&self) -> usize {
        self.live.saturating_sub(self.conns_max)
    }

    /// Frees descriptors for `count` connections: first those of connections that linger, then
    /// those of idle HTTP connections. The machine is asked to close idle ones for the rest.
    pub(super) fn make_room(&mut self, mut count: usize, ctx: &mut Context) {
        while count > 0
            && let Some(id) = self.lingering.pop_front()
        {
            if self.get(id).is_some_and(|conn| matches!(conn.phase, Phase::Lingering { .. })) {
                self.finish(id, CloseReason::Asked, ctx);
                count -= 1;
            }
        }
        while count > 0 && self.end_idle_http(ctx) {
            count -= 1;
        }
        self.wanted = self.wanted.max(count);
    }

    /// How many connections the machine must close, if any. Each request is returned once.
    pub(super) fn take_wanted(&mut self, ctx: &mut Context) -> Option<usize> {
        let wanted = std::mem::take(&mut self.wanted);
        if wanted == 0 {
            return None;
        }
        if ctx.counters.crowded == 0 {
            let open = self.live;
            log::warn!("descriptors are short: {open} connections are open, idle ones are closed; raise `ulimit -n`");
        }
        ctx.counters.crowded += 1;
        Some(wanted)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.table.get(id)
    }

    /// Work is left over from this turn.
    pub(super) fn is_busy(&self) -> bool {
        let queues = [&self.run, &self.http_run, &self.dirty, &self.bulk, &self.handshakes, &self.graves];
        queues.into_iter().any(|queue| !queue.is_empty())
    }

    // ---- slots ----------------------------------------------------------------------------------

    /// Gives a connected or connecting stream its slot.
    pub(super) fn enter(&mut self, stream: TcpStream, phase: Phase, ctx: &mut Context) -> io::Result<ConnId> {
        let connected = !matches!(phase, Phase::Connecting { .. });
        let speaks_http = self.serves_files && matches!(phase, Phase::Open);
        let id = self.table.insert(Connection::new(Transport::new(stream), phase));
        let conn = self.table.get_mut(id).expect("just inserted");
        conn.speaks_http = speaks_http;
        if let Err(error) = ctx.watch(conn.transport.source(), token::of(id, false)) {
            self.table.remove(id);
            return Err(error);
        }
        self.live += 1;
        let excess = self.excess();
        if excess > 0 {
            self.make_room(excess, ctx);
        }
        if connected && !INHERITS {
            self.table.get_mut(id).expect("just inserted").transport.set_options();
        }
        self.arm(id, ctx);
        Ok(id)
    }

    /// Replaces the stream in the slot of a dial by one to the next address.
    pub(super) fn replace(
        &mut self,
        id: ConnId,
        stream: TcpStream,
        until: Time,
        ctx: &mut Context,
    ) -> io::Result<ConnId> {
        let mut transport = Transport::new(stream);
        ctx.watch(transport.source(), token::of(id, false))?;
        if let Some(conn) = self.table.get_mut(id) {
            conn.reconnect(transport, until);
        }
        self.arm(id, ctx);
        Ok(id)
    }

    /// Whether a dial has connected.
    pub(super) fn is_connected(&self, id: ConnId) -> io::Result<bool> {
        self.table.get(id).map_or(Ok(false), |conn| conn.transport.connected())
    }

    /// Our own address on this connection. An IPv4 address is never in its mapped form.
    pub(super) fn local_addr(&self, id: ConnId) -> Option<SocketAddr> {
        let addr = self.table.get(id)?.transport.local_addr().ok()?;
        Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// A dial has connected: its connection is read in the same turn.
    pub(super) fn open(&mut self, id: ConnId, now: Time) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.phase = Phase::Open;
            conn.transport.set_options();
            conn.begin_reading(&mut self.scratch, now, (TURN_BYTES_PER_CONNECTION, READ_SCRATCH_BYTES));
            self.current = Some(id);
        }
    }

    /// Frees the slot at the end of the turn. Nothing is reported.
    pub(super) fn bury(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id) {
            self.live -= usize::from(!matches!(conn.phase, Phase::Dead));
            conn.phase = Phase::Dead;
            conn.free_buffers();
            self.graves.push_back(id);
            self.leave_account(id);
            self.count_buffers(id);
            self.note_login(id);
        }
    }

    /// Ends a connection and reports it; the slot is freed once the report is taken.
    pub(super) fn finish(&mut self, id: ConnId, why: CloseReason, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else {
            return;
        };
        let ended = std::mem::replace(&mut conn.phase, Phase::Dead);
        if matches!(ended, Phase::Dead) {
            return;
        }
        let is_http = conn.is_http;
        self.live -= 1;
        conn.free_buffers();
        let (known, broken) = (conn.known, conn.transport.tls().is_some_and(Tls::has_failed));
        self.leave_account(id);
        self.count_buffers(id);
        self.note_login(id);
        self.release_of(ended);
        if !known {
            self.graves.push_back(id);
            return;
        }
        ctx.counters.tls_broken += u64::from(broken);
        match why {
            CloseReason::SlowConsumer if is_http => ctx.counters.http_slow_readers += 1,
            CloseReason::SlowConsumer => ctx.counters.slow_consumers += 1,
            CloseReason::SlowFrame => ctx.counters.slow_frames += 1,
            CloseReason::Remote
            | CloseReason::Failed
            | CloseReason::Crowded
            | CloseReason::AddressGone
            | CloseReason::Asked => {}
        }
        if is_http {
            self.http.retain(|each| *each != id);
            ctx.arrivals.push_back(Arrival::HttpGone { conn: id });
        } else {
            ctx.push(Input::Closed { conn: id, why });
        }
    }

    /// Ends the connections that use one of these addresses, which this host has lost. Returns how
    /// many those are.
    pub(super) fn lose(&mut self, gone: &[IpAddr], ctx: &mut Context) -> usize {
        let uses = |(_, conn): &(ConnId, &Connection)| {
            let here = conn.transport.local_addr().ok().map(|addr| addr.ip().to_canonical());
            // A dial tries the next address by itself, and a handshake has a deadline.
            !matches!(conn.phase, Phase::Connecting { .. } | Phase::Handshaking(_) | Phase::Dead)
                && here.is_some_and(|here| gone.contains(&here))
        };
        let ids: Vec<ConnId> = self.table.ids().filter(uses).map(|(id, _)| id).collect();
        ids.iter().for_each(|id| self.finish(*id, CloseReason::AddressGone, ctx));
        ids.len()
    }

    /// Closes the connections with the longest send queues until this many bytes are free.
    pub(super) fn close_unread(&mut self, bytes: usize, ctx: &mut Context) {
        let mut unread: Vec<(u32, ConnId)> =
            self.table.ids().filter(|(_, conn)| conn.is_unread()).map(|(id, conn)| (conn.buffers().send, id)).collect();
        unread.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut freed = 0;
        for (queue, id) in unread {
            if freed >= bytes {
                return;
            }
            freed += queue as usize;
            ctx.counters.unread_closed += 1;
            self.finish(id, CloseReason::SlowConsumer, ctx);
        }
    }

    /// Closes connections that have not completed a frame which began at this time or before, those
    /// with the most bytes first, until this many bytes are free.
    pub(super) fn close_unfinished(&mut self, bytes: usize, since: Time, ctx: &mut Context) {
        let all = self.table.ids().map(|(id, conn)| (conn.unfinished_bytes(since), id));
        let mut unfinished: Vec<(u32, ConnId)> = all.filter(|(held, _)| *held > 0).collect();
        unfinished.sort_unstable_by_key(|(held, _)| Reverse(*held));
        let mut freed = 0;
        for (held, id) in unfinished {
            if freed >= bytes {
                return;
            }
            freed += held as usize;
            self.finish(id, CloseReason::SlowFrame, ctx);
        }
    }

    /// Must be called after something that changes the buffers of a connection.
    fn count_buffers(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id) {
            let now = conn.buffers();
            let before = std::mem::replace(&mut conn.counted, now);
            self.send_bytes = self.send_bytes - before.send as usize + now.send as usize;
            self.read_bytes = self.read_bytes - before.read as usize + now.read as usize;
        }
    }

    // ---- chunk buffers --------------------------------------------------------------------------

    /// Takes back the buffer of a chunk, if it still exists.
    pub(super) fn release(&mut self, buffer: Option<Vec<u8>>) {
        self.buffers.put_chunk(buffer);
        self.feed_starved();
    }

    /// Takes back the buffer of a chunk that will not be complete.
    pub(super) fn release_of(&mut self, ended: Phase) {
        if let Phase::Receiving(incoming) = ended
            && incoming.bytes.is_some()
        {
            self.release(incoming.bytes);
        }
    }

    /// The chunk of this connection needs a buffer.
    pub(super) fn starve(&mut self, id: ConnId) {
        if self.current == Some(id) {
            self.scratch.cap(self.download.room());
        }
        self.starved.push_back(id);
        self.feed_starved();
    }

    /// Gives buffers to connections that wait for one, in the order in which they came.
    fn feed_starved(&mut self) {
        while self.buffers.chunks_out < CHUNK_BUFFERS_MAX
            && let Some(id) = self.starved.pop_front()
        {
            if let Some(Phase::Receiving(incoming)) = self.table.get_mut(id).map(|conn| &mut conn.phase)
                && incoming.bytes.is_none()
            {
                incoming.bytes = Some(self.buffers.chunk(incoming.length));
                self.requeue(id);
            }
        }
    }
}
