//! Every TCP connection of a loop: the table, the connections to be read and written in this turn,
//! and their budgets.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use mio::event::Event;
use mio::net::TcpStream;

use super::admission::Admission;
use super::arrival::Arrival;
use super::buffers::Buffers;
use super::connection::handshake::Greeted;
use super::connection::http::Http;
use super::connection::reading::{Scratch, Step};
use super::connection::{Accepted, Connection, Handshake, Held, Incoming, Phase};
use super::context::Context;
use super::deadlines::Due;
use super::table::Table;
use super::tls::{Tls, TlsIdentity};
use super::token::{self, Slot};
use super::transport::Transport;
use crate::config::{
    CHUNK_BUFFERS_MAX, EARLY_BYTES_MAX, FLUSHES_PER_TURN, HANDSHAKES_PER_TURN, HANDSHAKES_READY_MAX, HTTP_CONNS_MAX,
    LOGIN_DEADLINE, TURN_BYTES_WRITTEN, TURN_BYTES_WRITTEN_MIN, UNAUTHENTICATED_MAX,
};
use crate::http::{self, Refusal, Surface};
use crate::proto::{CloseReason, ConnId, Input};
use crate::time::Time;
use crate::wire::frame;
use crate::wire::message::{Error, ErrorCode, Message};

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
    /// Connections that linger, in the order in which they began to; the list can also name some
    /// that are gone.
    lingering: VecDeque<ConnId>,
    /// Number of connections that the machine must close; 0 once it was asked to.
    pub(super) wanted: usize,
    /// Connections with something to read; each at most once.
    run: VecDeque<ConnId>,
    /// Connections whose handshake may go on; each at most once.
    handshakes: VecDeque<ConnId>,
    /// Connections that have not logged in, in the order in which they came; the list can also name
    /// some that have or that are gone.
    half_open: VecDeque<ConnId>,
    /// Their number.
    half_open_count: usize,
    pub(super) admission: Admission,
    /// How many of them are due in this turn; those that are added during the turn wait for the
    /// next.
    run_left: usize,
    /// The connection whose bytes are in the scratch buffer.
    current: Option<ConnId>,
    scratch: Scratch,
    pub(super) buffers: Buffers,
    /// Connections whose chunk waits for a buffer.
    starved: VecDeque<ConnId>,
    /// Connections with something to write; each at most once.
    dirty: VecDeque<ConnId>,
    /// Bytes of files that each of them may write in this turn.
    pub(super) write_budget: usize,
    /// Connections that are served as HTTP.
    http: Vec<ConnId>,
    /// Whether connections of the listener are, if they begin with a letter.
    pub(super) serves_files: bool,
    /// Slots to be freed at the end of the turn.
    graves: Vec<ConnId>,
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
            handshakes: VecDeque::new(),
            half_open: VecDeque::new(),
            half_open_count: 0,
            admission: Admission::default(),
            run_left: 0,
            current: None,
            scratch: Scratch::new(),
            buffers: Buffers::default(),
            starved: VecDeque::new(),
            dirty: VecDeque::new(),
            write_budget: TURN_BYTES_WRITTEN,
            http: Vec::new(),
            serves_files: false,
            graves: Vec::new(),
            send_bytes: 0,
            read_bytes: 0,
        }
    }

    /// Connections that are not gone, dials and lingering ones among them.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// No descriptor is left for one more connection, not even for a moment.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.conns_max + self.newcomers_max
    }

    /// Number of open connections above `conns_max`.
    pub(super) fn excess(&self) -> usize {
        self.live.saturating_sub(self.conns_max)
    }

    /// Frees descriptors for `count` connections: those that linger first, then idle ones, which
    /// the machine chooses.
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
        !(self.run.is_empty() && self.dirty.is_empty() && self.handshakes.is_empty())
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
        let conn = self.table.get_mut(id).expect("just inserted");
        if connected {
            conn.set_nodelay();
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

    /// Our own address on this connection.
    pub(super) fn local_ip(&self, id: ConnId) -> Option<IpAddr> {
        Some(self.table.get(id)?.transport.local_addr().ok()?.ip().to_canonical())
    }

    /// A dial has connected: its connection is read in the same turn.
    pub(super) fn open(&mut self, id: ConnId, now: Time) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.phase = Phase::Open;
            conn.set_nodelay();
            conn.begin_reading(&mut self.scratch, now);
            self.current = Some(id);
        }
    }

    /// Frees the slot at the end of the turn. Nothing is reported.
    pub(super) fn bury(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id) {
            self.live -= usize::from(!matches!(conn.phase, Phase::Dead));
            conn.phase = Phase::Dead;
            conn.free_buffers();
            self.graves.push(id);
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
        self.count_buffers(id);
        self.note_login(id);
        self.release_of(ended);
        if !known {
            self.graves.push(id);
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

    /// Ends the connections that use one of these addresses of this host, which are gone. Returns
    /// how many those are.
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

    /// Must be called after something that changes the buffers of a connection.
    fn count_buffers(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id) {
            let now = conn.buffers();
            let before = std::mem::replace(&mut conn.counted, now);
            self.send_bytes = self.send_bytes - before.send as usize + now.send as usize;
            self.read_bytes = self.read_bytes - before.read as usize + now.read as usize;
        }
    }

    // ---- handshakes -----------------------------------------------------------------------------

    /// Gives an accepted stream its slot. The machine gets it after the handshake.
    pub(super) fn enter_handshake(
        &mut self,
        stream: TcpStream,
        accepted: Accepted,
        ctx: &mut Context,
    ) -> io::Result<()> {
        let until = accepted.since + LOGIN_DEADLINE;
        let handshake = Handshake { until, accepted: Some(accepted) };
        let id = self.enter(stream, Phase::Handshaking(Box::new(handshake)), ctx)?;
        let conn = self.table.get_mut(id).expect("just inserted");
        (conn.known, conn.half_open) = (false, true);
        conn.set_early_max(EARLY_BYTES_MAX);
        self.half_open.push_back(id);
        self.half_open_count += 1;
        self.evict_half_open(ctx);
        Ok(())
    }

    /// Closes the oldest connections that have not logged in, if there are too many.
    fn evict_half_open(&mut self, ctx: &mut Context) {
        let most = UNAUTHENTICATED_MAX.min(self.conns_max / 2).max(1);
        while self.half_open_count > most
            && let Some(id) = self.half_open.pop_front()
        {
            if self.get(id).is_some_and(|conn| conn.half_open) {
                ctx.counters.half_open_evicted += 1;
                self.finish(id, CloseReason::Crowded, ctx);
            }
        }
        if self.half_open.len() > 2 * self.half_open_count + HANDSHAKES_PER_TURN {
            let table = &self.table;
            self.half_open.retain(|id| table.get(*id).is_some_and(|conn| conn.half_open));
        }
    }

    /// A connection has logged in, or is gone: it is not half-open any more.
    pub(super) fn note_login(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id)
            && std::mem::take(&mut conn.half_open)
        {
            conn.set_early_max(usize::MAX);
            self.half_open_count -= 1;
            self.requeue(id);
        }
    }

    /// Whether one more connection may be accepted. While many handshakes wait to be computed, the
    /// others wait in the kernel.
    pub(super) fn may_accept(&self) -> bool {
        self.handshakes.len() < HANDSHAKES_READY_MAX
    }

    /// A dial has connected, and its handshake begins.
    pub(super) fn begin_handshake(&mut self, id: ConnId, tls: Tls, until: Time, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.phase = Phase::Handshaking(Box::new(Handshake { until, accepted: None }));
            conn.known = false;
            conn.set_nodelay();
            conn.transport.begin_tls(tls);
            self.requeue(id);
            self.arm(id, ctx);
        }
    }

    /// Goes on with handshakes, once in a turn: with many that only wait, or with one that
    /// computes. `left` is how many may still be looked at. Returns the first of a dial, which is
    /// for the dialer; none once the turn has had its share.
    pub(super) fn greet(&mut self, left: &mut usize, ctx: &mut Context) -> Option<(ConnId, Greeted)> {
        while *left > 0 {
            *left -= 1;
            let id = self.handshakes.pop_front()?;
            let Some(conn) = self.table.get_mut(id) else { continue };
            conn.queued = false;
            if !matches!(conn.phase, Phase::Handshaking(_)) {
                self.requeue(id);
                continue;
            }
            let (mut greeted, mut worked) = conn.greet(&mut self.scratch);
            if matches!(greeted, Greeted::Tls) && self.admit(id, ctx) {
                let conn = self.table.get_mut(id).expect("it is not gone");
                (greeted, worked) = conn.greet(&mut self.scratch);
            }
            if worked {
                *left = 0;
            }
            if let Some(Phase::Handshaking(handshake)) = self.get(id).map(|conn| &conn.phase) {
                match handshake.accepted {
                    Some(accepted) => self.on_greeted(id, greeted, accepted, ctx),
                    None => return Some((id, greeted)),
                }
            }
        }
        None
    }

    /// Begins TLS on an accepted connection, if its address may have one more handshake.
    fn admit(&mut self, id: ConnId, ctx: &mut Context) -> bool {
        let Some(Phase::Handshaking(handshake)) = self.get(id).map(|conn| &conn.phase) else { return false };
        let from = handshake.accepted.map(|accepted| accepted.from.ip());
        if from.is_some_and(|from| !self.admission.admit(from, ctx.now)) {
            ctx.counters.address_limited += 1;
            self.finish(id, CloseReason::Crowded, ctx);
            return false;
        }
        let tls = ctx.tls.as_ref().map(TlsIdentity::accept);
        match (tls, self.table.get_mut(id)) {
            (Some(Ok(tls)), Some(conn)) => conn.transport.begin_tls(tls),
            (Some(Err(error)), _) => {
                log::error!("TLS cannot begin: {error}");
                self.finish(id, CloseReason::Failed, ctx);
                return false;
            }
            (None, _) | (_, None) => return false,
        }
        true
    }

    fn on_greeted(&mut self, id: ConnId, greeted: Greeted, accepted: Accepted, ctx: &mut Context) {
        let Accepted { from, to, since } = accepted;
        match greeted {
            Greeted::Waiting => self.go_on(id),
            Greeted::Done(key) => {
                ctx.counters.handshakes += 1;
                ctx.push(Input::Accepted { conn: id, from, to, since, key: Some(key), unix: ctx.unix });
                self.end_handshake(id, ctx);
            }
            Greeted::Foreign(first) => self.refuse(id, first, ctx),
            Greeted::Tls | Greeted::Gone | Greeted::WrongKey(_) | Greeted::Failed(_) => {
                if let Greeted::Failed(why) = greeted {
                    log::debug!("a handshake with {from} failed: {why}");
                }
                ctx.counters.handshakes_failed += 1;
                self.finish(id, CloseReason::Failed, ctx);
            }
        }
    }

    /// A handshake waits for the other side.
    pub(super) fn go_on(&mut self, id: ConnId) {
        self.count_buffers(id);
        self.requeue(id);
    }

    /// The machine knows it from now on.
    pub(super) fn end_handshake(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.end_handshake();
            conn.known = true;
            self.count_buffers(id);
            self.requeue(id);
            self.arm(id, ctx);
        }
    }

    /// Answers a connection that does not begin with TLS: it is of an open node, or of no node.
    fn refuse(&mut self, id: ConnId, first: u8, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else { return };
        let why = if first == 0 {
            ctx.counters.other_mode += 1;
            "this node is in login mode and speaks only TLS; join its network with an invitation (sprat join)"
        } else {
            ctx.counters.malformed += 1;
            "this node is in login mode and speaks only TLS"
        };
        let error = Error { code: ErrorCode::MODE, message: why.to_owned(), req: None, retry: None };
        conn.note_queued(ctx.now);
        frame::encode(&Message::Error(error), conn.send.tail(&mut self.buffers));
        self.close(id, ctx);
    }

    /// Ends every handshake of an accepted connection: the node ends.
    pub(super) fn end_handshakes(&mut self) {
        let is_accepted =
            |conn: &Connection| matches!(&conn.phase, Phase::Handshaking(handshake) if handshake.accepted.is_some());
        let ids: Vec<ConnId> = self.table.ids().filter(|(_, conn)| is_accepted(conn)).map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.bury(id));
    }

    // ---- the turn -------------------------------------------------------------------------------

    /// An event came for a slot.
    pub(super) fn latch(&mut self, slot: Slot, event: &Event, ctx: &mut Context) {
        let Some(id) = self.table.id_at(slot.index, slot.generation_bits, token::GENERATION_MASK) else {
            ctx.counters.stale_ids += 1;
            return;
        };
        let conn = self.table.get_mut(id).expect("the id was just made from the slot");
        conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        conn.hung_up |= event.is_read_closed() || event.is_error();
        conn.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        if !conn.is_written() {
            self.mark_dirty(id);
        }
        self.requeue(id);
    }

    pub(super) fn begin_turn(&mut self) {
        self.run_left = self.run.len();
    }

    /// Takes the next connection that is due in this turn.
    pub(super) fn next_due(&mut self) -> Option<ConnId> {
        self.run_left = self.run_left.checked_sub(1)?;
        self.run.pop_front()
    }

    /// Begins to read a connection. `true`: it is a dial, and the dialer looks at it instead.
    pub(super) fn begin(&mut self, id: ConnId, ctx: &Context) -> bool {
        let Some(conn) = self.table.get_mut(id) else {
            return false;
        };
        conn.queued = false;
        if matches!(conn.phase, Phase::Connecting { .. }) {
            return true;
        }
        if conn.wants_read() {
            conn.begin_reading(&mut self.scratch, ctx.now);
            self.current = Some(id);
        }
        false
    }

    /// A connection is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.current.is_some()
    }

    /// The next arrival on the connection that is being read; none when it waits for the next turn.
    pub(super) fn read(&mut self, ctx: &mut Context) -> Option<Arrival> {
        let id = self.current?;
        let Some(conn) = self.table.get_mut(id) else {
            self.current = None;
            return None;
        };
        match conn.read_step(&mut self.scratch, &mut self.buffers, ctx.now) {
            Step::Message(message) => {
                ctx.counters.messages_in += 1;
                Some(Arrival::Input(Input::Message { conn: id, message }))
            }
            Step::Malformed(error) => {
                ctx.counters.malformed += 1;
                ctx.counters.other_mode += u64::from(conn.is_other_mode());
                Some(Arrival::Input(Input::Malformed { conn: id, error }))
            }
            Step::Progress { req, received } => {
                let received = u32::try_from(received).unwrap_or(u32::MAX);
                Some(Arrival::Input(Input::PayloadProgress { conn: id, req, received }))
            }
            Step::Chunk(incoming) => {
                let Incoming { req, plan, verify, bytes, .. } = *incoming;
                let bytes = bytes.expect("a chunk is received into its buffer");
                Some(Arrival::Payload { conn: id, req, bytes, plan, verify })
            }
            Step::Http => {
                self.begin_http(id, ctx);
                Some(Arrival::HttpBegun { conn: id })
            }
            Step::Request(request) => {
                ctx.counters.http_requests += 1;
                let conn = self.table.get(id)?;
                let Phase::Http(http) = &conn.phase else { return None };
                // It fails only once the connection is gone.
                let from =
                    conn.transport.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |addr| addr.ip().to_canonical());
                Some(Arrival::Http { conn: id, surface: http.surface, from, request })
            }
            Step::Refused(refusal) => {
                self.current = None;
                self.refuse_http(id, refusal, ctx);
                None
            }
            Step::Rest => {
                self.leave(id, ctx);
                None
            }
            Step::Closed(why) => {
                self.current = None;
                // The other side may still read the answers to what it sent before the end.
                self.flush_one(id, ctx);
                self.finish(id, why, ctx);
                None
            }
        }
    }

    /// Nothing more is read in this turn. The connection that is being read goes to the back of the
    /// run queue.
    pub(super) fn rest(&mut self, ctx: &mut Context) {
        self.run_left = 0;
        if let Some(id) = self.current {
            if let Some(conn) = self.table.get_mut(id) {
                conn.pause(&mut self.scratch);
            }
            self.leave(id, ctx);
        }
    }

    /// The connection that is being read has had its share of the turn.
    fn leave(&mut self, id: ConnId, ctx: &mut Context) {
        self.current = None;
        // A connection with something to write is armed after the attempt to write it.
        let to_be_written = self.table.get(id).is_some_and(|conn| conn.dirty);
        self.count_buffers(id);
        self.requeue(id);
        if !to_be_written {
            self.arm(id, ctx);
        }
    }

    /// The deadline of a connection has passed. `true`: it is a dial whose address has had its
    /// time, and the dialer tries the next one.
    pub(super) fn expire(&mut self, id: ConnId, at: Time, ctx: &mut Context) -> bool {
        let Some(conn) = self.table.get_mut(id).filter(|conn| conn.armed == Some(at)) else {
            return false;
        };
        conn.armed = None;
        match conn.deadline() {
            Some(deadline) if deadline <= ctx.now => {
                if matches!(conn.phase, Phase::Connecting { .. }) {
                    return true;
                }
                if let Phase::Handshaking(handshake) = &conn.phase {
                    ctx.counters.handshakes_overdue += u64::from(handshake.accepted.is_some());
                    if handshake.accepted.is_none() {
                        return true;
                    }
                }
                let why = conn.overdue();
                if matches!(conn.phase, Phase::Http(_)) && why == CloseReason::SlowFrame {
                    self.refuse_http(id, Refusal::Slow, ctx);
                } else {
                    self.finish(id, why, ctx);
                }
            }
            Some(_) | None => self.arm(id, ctx),
        }
        false
    }

    /// Whether the deadline is the one that the connection waits for.
    pub(super) fn is_armed(&self, id: ConnId, at: Time) -> bool {
        self.table.get(id).is_some_and(|conn| conn.armed == Some(at))
    }

    /// Writes what was queued, on as many connections as one turn has time for.
    pub(super) fn flush(&mut self, ctx: &mut Context) {
        let mut uploads = 0;
        // Connections that stop on their budget, and those beyond the bound, wait for the next
        // turn.
        for _ in 0..self.dirty.len().min(FLUSHES_PER_TURN) {
            let Some(id) = self.dirty.pop_front() else { break };
            if let Some(conn) = self.table.get_mut(id) {
                conn.dirty = false;
                uploads += usize::from(conn.send.has_files());
            }
            self.flush_one(id, ctx);
        }
        // The next turn most likely has as many uploads as this one.
        self.write_budget = (TURN_BYTES_WRITTEN / uploads.max(1)).max(TURN_BYTES_WRITTEN_MIN);
    }

    pub(super) fn flush_one(&mut self, id: ConnId, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else {
            return;
        };
        match conn.phase {
            Phase::Connecting { .. } | Phase::Handshaking(_) | Phase::Lingering { .. } | Phase::Dead => return,
            Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Http(_)
            | Phase::Deaf
            | Phase::Closing { .. } => {}
        }
        let (was_choked, is_http) = (conn.is_choked(), conn.is_http);
        let arrivals = &mut ctx.arrivals;
        let sent = |req| {
            arrivals.push_back(if is_http {
                Arrival::HttpSent { conn: id, req }
            } else {
                Arrival::Input(Input::PayloadSent { conn: id, req })
            });
        };
        if let Some(why) = conn.flush(self.write_budget, &mut self.buffers, ctx.now, sent) {
            self.finish(id, why, ctx);
            return;
        }
        let backlogged = conn.note_backlog(was_choked, ctx.now);
        if matches!(conn.phase, Phase::Lingering { .. }) {
            if self.excess() > 0 {
                return self.finish(id, CloseReason::Asked, ctx);
            }
            self.note_lingering(id);
        } else if conn.writable && !conn.is_written() {
            self.mark_dirty(id);
        }
        match backlogged.filter(|_| !is_http) {
            Some(true) => {
                ctx.counters.backlogs += 1;
                ctx.push(Input::Backlogged { conn: id });
            }
            Some(false) => ctx.push(Input::Drained { conn: id }),
            None => {}
        }
        self.count_buffers(id);
        self.requeue(id);
        self.arm(id, ctx);
    }

    /// It lingers from now on, for at most [`crate::config::LINGER_MAX`].
    fn note_lingering(&mut self, id: ConnId) {
        let Connections { table, lingering, .. } = self;
        if lingering.len() > 2 * table.len() {
            lingering.retain(|id| table.get(*id).is_some_and(|conn| matches!(conn.phase, Phase::Lingering { .. })));
        }
        lingering.push_back(id);
    }

    /// The machine has closed it. While descriptors are short, only what the socket takes at once
    /// is written.
    pub(super) fn close(&mut self, id: ConnId, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else {
            return;
        };
        let ended = conn.begin_closing();
        self.mark_dirty(id);
        self.release_of(ended);
        if self.excess() > 0 {
            self.flush_one(id, ctx);
            self.finish(id, CloseReason::Asked, ctx);
        }
    }

    /// Frees the slots of connections that are gone: nothing of this turn can name them any more.
    /// Returns whether there were any.
    pub(super) fn end_turn(&mut self) -> bool {
        debug_assert!(self.current.is_none() && self.run_left == 0, "every due connection was read");
        let any = !self.graves.is_empty();
        for id in self.graves.drain(..) {
            let gone = self.table.remove(id);
            debug_assert!(gone.is_none_or(|conn| conn.counted == Held::default()), "its buffers were freed before");
        }
        any
    }

    /// Puts a connection with something to read into the run queue.
    fn requeue(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id)
            && !conn.queued
            && self.current != Some(id)
            && conn.wants_read()
        {
            conn.queued = true;
            let is_handshake = matches!(conn.phase, Phase::Handshaking(_));
            let queue = if is_handshake { &mut self.handshakes } else { &mut self.run };
            queue.push_back(id);
        }
    }

    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Makes sure that the connection is looked at by its deadline.
    fn arm(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id)
            && let Some(deadline) = conn.deadline()
            && conn.armed.is_none_or(|armed| deadline < armed)
        {
            conn.armed = Some(deadline);
            ctx.deadlines.push(deadline, Due::Connection(id));
        }
    }

    // ---- HTTP -----------------------------------------------------------------------------------

    /// A connection of the page has come.
    pub(super) fn enter_page(&mut self, stream: TcpStream, ctx: &mut Context) -> io::Result<()> {
        let id = self.enter(stream, Phase::Http(Box::new(Http::new(Surface::Page, ctx.now))), ctx)?;
        self.begin_http(id, ctx);
        self.arm(id, ctx);
        Ok(())
    }

    /// A connection is served as HTTP from now on, in the place of another one if all are taken.
    fn begin_http(&mut self, id: ConnId, ctx: &mut Context) {
        ctx.counters.http_connections += 1;
        let most = HTTP_CONNS_MAX.min(self.conns_max / 2).max(1);
        let has_place = self.http.len() < most || self.end_idle_http(ctx) || self.end_slow_http(ctx);
        if let Some(conn) = self.table.get_mut(id) {
            conn.is_http = true;
            self.http.push(id);
        }
        if !has_place {
            self.refuse_http(id, Refusal::Busy, ctx);
        }
    }

    /// Closes the longest idle one. `false`: all of them are being answered.
    fn end_idle_http(&mut self, ctx: &mut Context) -> bool {
        let idle = self.http_states().filter_map(|(id, http)| Some((http.idle_since()?, id)));
        let Some((_, id)) = idle.min() else { return false };
        ctx.counters.http_evicted += 1;
        self.finish(id, CloseReason::Asked, ctx);
        true
    }

    /// Closes one that takes its answer slowly. `false`: none does.
    fn end_slow_http(&mut self, ctx: &mut Context) -> bool {
        let slow = self.http_states().find(|(_, http)| http.is_slow(ctx.now));
        let Some((id, _)) = slow else { return false };
        self.finish(id, CloseReason::SlowConsumer, ctx);
        true
    }

    fn http_states(&self) -> impl Iterator<Item = (ConnId, &Http)> {
        self.http.iter().filter_map(|id| match &self.table.get(*id)?.phase {
            Phase::Http(http) => Some((*id, &**http)),
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Deaf
            | Phase::Closing { .. }
            | Phase::Lingering { .. }
            | Phase::Dead => None,
        })
    }

    /// Bytes of answers that wait to be written, without those of files.
    pub(super) fn http_bytes(&self) -> usize {
        self.http.iter().filter_map(|id| self.table.get(*id)).map(|conn| conn.send.frame_bytes()).sum()
    }

    /// Answers what is no request, and closes.
    pub(super) fn refuse_http(&mut self, id: ConnId, refusal: Refusal, ctx: &mut Context) {
        let counters = &mut ctx.counters;
        *match refusal {
            Refusal::Malformed(_) | Refusal::Version => &mut counters.http_malformed,
            Refusal::TooLarge => &mut counters.http_too_large,
            Refusal::Body => &mut counters.http_bodies,
            Refusal::Method => &mut counters.http_methods,
            Refusal::Slow => &mut counters.http_slow_heads,
            Refusal::Busy => &mut counters.http_busy,
            Refusal::Host => &mut counters.http_hosts,
        } += 1;
        self.write_http(id, &http::refusal(refusal), ctx);
        self.close(id, ctx);
    }

    /// Queues bytes of an answer.
    pub(super) fn write_http(&mut self, id: ConnId, bytes: &[u8], ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.note_queued(ctx.now);
            conn.send.tail(&mut self.buffers).extend_from_slice(bytes);
            self.mark_dirty(id);
        }
    }

    /// The answer is queued: the next request is read, or the connection is closed.
    pub(super) fn end_answer(&mut self, id: ConnId, last: bool, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else { return };
        let Phase::Http(http) = &mut conn.phase else { return };
        if http.end_answer(last, ctx.now) {
            self.requeue(id);
            self.arm(id, ctx);
        } else {
            self.close(id, ctx);
        }
    }

    /// The node ends: connections without a request are closed, the others after their answers.
    pub(super) fn drain_http(&mut self, ctx: &mut Context) {
        for id in self.http.clone() {
            let state = self.table.get_mut(id).map(|conn| &mut conn.phase);
            if let Some(Phase::Http(http)) = state
                && !http.drain()
            {
                self.close(id, ctx);
            }
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
