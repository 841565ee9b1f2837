//! One turn of the connections. Events set latches, and fill the run queue. The connections that
//! are due are read and written within the budgets. Those whose deadline has passed are closed.

use std::net::Ipv4Addr;
use std::time::Duration;

use mio::event::Event;

use super::Connections;
use crate::config::{
    CROWD_READ_BYTES, CROWD_WAITING, FLUSHES_PER_TURN, FREED_PER_TURN, HTTP_RAISED_MAX, LATE_STEPS, LINGER_BYTES_MAX,
    MESSAGES_IN_A_ROW_MIN, MESSAGES_PER_PASS, READ_SCRATCH_BYTES, SEND_QUEUE_BYTES_MAX, TURN_BULK_MAX,
    TURN_BYTES_WRITTEN, TURN_BYTES_WRITTEN_MIN, TURN_WRITE_MAX,
};
use crate::http::{self, Refusal};
use crate::net::arrival::Arrival;
use crate::net::connection::reading::Step;
use crate::net::connection::{Connection, Held, Incoming, Phase};
use crate::net::context::Context;
use crate::net::deadlines::Due;
use crate::net::token::{self, Slot};
use crate::proto::{CloseReason, ConnId, Input};
use crate::time::Time;

impl Connections {
    /// An event came for a slot.
    pub(in crate::net) fn latch(&mut self, slot: Slot, event: &Event, ctx: &mut Context) {
        let Some(id) = self.table.id_at(slot.index, slot.generation_bits, token::GENERATION_MASK) else {
            ctx.counters.stale_ids += 1;
            return;
        };
        let conn = self.table.get_mut(id).expect("the id was just made from the slot");
        conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        conn.hung_up |= event.is_read_closed() || event.is_error();
        let answers = matches!(&conn.phase, Phase::Http(http) if http.is_answering());
        if answers && event.is_read_closed() {
            ctx.arrivals.push_back(Arrival::HttpLeft { conn: id });
        }
        conn.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        if !conn.is_written() {
            self.mark_dirty(id);
        }
        self.requeue(id);
    }

    pub(in crate::net) fn begin_turn(&mut self, now: Time) {
        (self.run_left, self.http_run_left) = (self.run.len(), self.http_run.len());
        self.http_rests = false;
        self.fill_limits(now);
    }

    /// Takes the next connection that is due in this turn.
    pub(in crate::net) fn next_due(&mut self) -> Option<ConnId> {
        self.run_left = self.run_left.checked_sub(1)?;
        self.run.pop_front()
    }

    /// Takes the next connection of HTTP that is due in this turn.
    pub(in crate::net) fn next_http_due(&mut self) -> Option<ConnId> {
        self.http_run_left = self.http_run_left.checked_sub(1)?;
        self.http_run.pop_front()
    }

    /// No further request of HTTP is read in this turn.
    pub(in crate::net) fn rest_http(&mut self) {
        (self.http_run_left, self.http_rests) = (0, true);
    }

    /// Begins to read a connection. Returns `true` if it is a dial, which the dialer handles
    /// instead.
    pub(in crate::net) fn begin(&mut self, id: ConnId, ctx: &Context) -> bool {
        let Some(conn) = self.table.get_mut(id) else {
            return false;
        };
        conn.queued = false;
        if matches!(conn.phase, Phase::Connecting { .. }) {
            return true;
        }
        if conn.wants_read()
            && let Some(budget) = self.read_budget(id)
            && let Some(conn) = self.table.get_mut(id)
        {
            let most = if self.run.len() >= CROWD_WAITING { CROWD_READ_BYTES } else { READ_SCRATCH_BYTES };
            conn.begin_reading(&mut self.scratch, ctx.now, (budget, most));
            self.current = Some(id);
            self.in_a_row = 0;
        }
        false
    }

    /// A connection is being read.
    pub(in crate::net) fn is_reading(&self) -> bool {
        self.current.is_some()
    }

    /// The next arrival on the connection that is being read; none once nothing more is read from
    /// it in this turn.
    pub(in crate::net) fn read(&mut self, ctx: &mut Context) -> Option<Arrival> {
        let id = self.current?;
        if self.in_a_row >= MESSAGES_IN_A_ROW_MIN && self.has_had_its_part() {
            self.pause(id, ctx);
            return None;
        }
        let Some(conn) = self.table.get_mut(id) else {
            self.current = None;
            return None;
        };
        if conn.is_http && self.http_rests {
            self.pause(id, ctx);
            return None;
        }
        let step = conn.read_step(&mut self.scratch, &mut self.buffers, ctx.now);
        self.download.take(self.scratch.take_payload());
        match step {
            Step::Message(message) => {
                ctx.counters.messages_in += 1;
                self.in_a_row += 1;
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
                let Connection { phase: Phase::Http(http), transport, .. } = self.table.get_mut(id)? else {
                    return None;
                };
                let from = *http.from.get_or_insert_with(|| {
                    // This fails only if the connection is gone.
                    transport.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |addr| addr.ip().to_canonical())
                });
                Some(Arrival::Http { conn: id, surface: http.surface, from, request })
            }
            Step::Continue => {
                self.write_http(id, http::CONTINUE, ctx);
                None
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

    /// Whether the connection that is being read has sent its part of the messages of a pass over
    /// all connections.
    fn has_had_its_part(&self) -> bool {
        let waiting = self.run.len();
        waiting >= CROWD_WAITING && (self.in_a_row + 1) * waiting > MESSAGES_PER_PASS
    }

    /// Nothing more is read in this turn. The connection that is being read goes to the back of the
    /// run queue.
    pub(in crate::net) fn rest(&mut self, ctx: &mut Context) {
        (self.run_left, self.http_run_left) = (0, 0);
        if let Some(id) = self.current {
            self.pause(id, ctx);
        }
    }

    /// The connection that is being read has more to read, and goes to the back of the run queue.
    fn pause(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.pause(&mut self.scratch);
        }
        self.leave(id, ctx);
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

    /// The deadline of a connection has passed. Returns `true` if it is a dial: the time for its
    /// address is over, and the dialer tries the next address.
    pub(in crate::net) fn expire(&mut self, id: ConnId, at: Time, ctx: &mut Context) -> bool {
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
                if conn.lower_unsent() {
                    self.arm(id, ctx);
                    return false;
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
    pub(in crate::net) fn is_armed(&self, id: ConnId, at: Time) -> bool {
        self.table.get(id).is_some_and(|conn| conn.armed == Some(at))
    }

    /// Writes what was queued, on as many connections as one turn has time for. `passed`: how much
    /// time of the turn has passed.
    pub(in crate::net) fn flush(&mut self, passed: impl Fn() -> Duration, ctx: &mut Context) {
        // A connection that stops at its budget waits for the next turn, and so do those for which
        // this turn has no time.
        let mut written = 0;
        for _ in 0..self.dirty.len() {
            if written == FLUSHES_PER_TURN || written >= LATE_STEPS && passed() >= TURN_WRITE_MAX {
                break;
            }
            let Some(id) = self.dirty.pop_front() else { break };
            if self.table.get(id).is_some_and(|conn| conn.is_http || conn.send.has_files()) {
                self.bulk.push_back(id);
            } else {
                self.flush_queued(id, ctx);
                written += 1;
            }
        }
        let uploads = self.bulk.len();
        self.write_budget = (TURN_BYTES_WRITTEN / uploads.max(1)).max(TURN_BYTES_WRITTEN_MIN);
        let begun = passed();
        let mut written = 0;
        for _ in 0..uploads {
            if written == FLUSHES_PER_TURN || written > 0 && passed().saturating_sub(begun) >= TURN_BULK_MAX {
                break;
            }
            let Some(id) = self.bulk.pop_front() else { break };
            // Only a connection that can be written counts, so that the others do not use up the
            // turn.
            written += usize::from(self.table.get(id).is_some_and(|conn| conn.writable && !conn.is_written()));
            self.flush_queued(id, ctx);
        }
    }

    fn flush_queued(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.dirty = false;
        }
        self.flush_one(id, ctx);
    }

    pub(in crate::net) fn flush_one(&mut self, id: ConnId, ctx: &mut Context) {
        let room = self.upload_room(id);
        self.write_one(id, room, ctx);
    }

    /// The send queue of a connection is long: writes it before the end of the turn, and closes the
    /// connection if the queue is too long after that.
    pub(in crate::net) fn shorten(&mut self, id: ConnId, ctx: &mut Context) {
        self.flush_one(id, ctx);
        if self.get(id).is_some_and(|conn| conn.send.frame_bytes() > SEND_QUEUE_BYTES_MAX) {
            self.finish(id, CloseReason::SlowConsumer, ctx);
        }
    }

    /// Writes what is queued, with at most `room` bytes of files, and at most as many of them as
    /// the turn gives to the connection.
    pub(super) fn write_one(&mut self, id: ConnId, room: usize, ctx: &mut Context) {
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
        let budget = room.min(conn.share_of(self.write_budget));
        let mut left = budget;
        let may_raise = self.http.len() <= HTTP_RAISED_MAX;
        let ended = conn.flush(&mut left, &mut self.buffers, (ctx.now, may_raise), sent);
        self.note_sent(id, budget - left);
        if let Some(why) = ended {
            self.finish(id, why, ctx);
            return;
        }
        let Some(conn) = self.table.get_mut(id) else {
            return;
        };
        let backlogged = conn.note_backlog(was_choked, ctx.now);
        if matches!(conn.phase, Phase::Lingering { .. }) {
            if self.excess() > 0 {
                return self.finish(id, CloseReason::Asked, ctx);
            }
            self.note_lingering(id);
        } else if conn.writable && !conn.is_written() && self.upload_room(id) > 0 {
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

    /// The connection lingers from now on, for at most [`crate::config::LINGER_MAX`].
    fn note_lingering(&mut self, id: ConnId) {
        let Connections { table, lingering, .. } = self;
        if lingering.len() > 2 * table.len() {
            lingering.retain(|id| table.get(*id).is_some_and(|conn| matches!(conn.phase, Phase::Lingering { .. })));
        }
        lingering.push_back(id);
    }

    /// The machine has closed the connection. While descriptors are short, only the bytes that the
    /// socket accepts at once are written.
    pub(in crate::net) fn close(&mut self, id: ConnId, ctx: &mut Context) {
        self.close_after(id, LINGER_BYTES_MAX, ctx);
    }

    /// As [`Connections::close`], but at most this many bytes of the other side are discarded.
    pub(super) fn close_after(&mut self, id: ConnId, left: usize, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else {
            return;
        };
        let ended = conn.begin_closing(left, ctx.now);
        self.mark_dirty(id);
        self.release_of(ended);
        if self.excess() > 0 {
            self.flush_one(id, ctx);
            self.finish(id, CloseReason::Asked, ctx);
        }
    }

    /// Frees slots of connections that are gone, because nothing of this turn can name them any
    /// more: as many as one turn has time for, and more while descriptors are short. Returns
    /// whether there were any.
    pub(in crate::net) fn end_turn(&mut self, short: bool, passed: impl Fn() -> Duration) -> bool {
        debug_assert!(self.current.is_none() && self.run_left == 0, "every due connection was read");
        let any = !self.graves.is_empty();
        let all = short || self.len() >= self.conns_max;
        let begun = passed();
        for freed in 0..self.graves.len() {
            let is_late = || freed > 0 && passed().saturating_sub(begun) >= TURN_BULK_MAX;
            if if all { freed == FREED_PER_TURN } else { is_late() } {
                break;
            }
            let Some(id) = self.graves.pop_front() else { break };
            let gone = self.table.remove(id);
            debug_assert!(gone.is_none_or(|conn| conn.counted == Held::default()), "its buffers were freed before");
        }
        any
    }

    /// Puts a connection with something to read into the run queue.
    pub(super) fn requeue(&mut self, id: ConnId) {
        let Connections { table, download, current, .. } = self;
        if let Some(conn) = table.get_mut(id)
            && !conn.queued
            && *current != Some(id)
            && conn.wants_read()
            && (!matches!(conn.phase, Phase::Receiving(_)) || download.admit(id, &mut conn.waits_to_read) > 0)
        {
            conn.queued = true;
            let is_handshake = matches!(conn.phase, Phase::Handshaking(_));
            let queue = match conn.is_http {
                _ if is_handshake => &mut self.handshakes,
                true => &mut self.http_run,
                false => &mut self.run,
            };
            queue.push_back(id);
        }
    }

    /// The machine has put reading from the connection on hold, or ends the hold.
    pub(in crate::net) fn hold(&mut self, id: ConnId, hold: bool, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.set_on_hold(hold, ctx.now);
        }
        self.requeue(id);
        self.arm(id, ctx);
    }

    pub(in crate::net) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.table.get_mut(id)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Makes sure that the connection is examined by its deadline.
    pub(super) fn arm(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id)
            && let Some(deadline) = conn.deadline()
            && conn.armed.is_none_or(|armed| deadline < armed)
        {
            conn.armed = Some(deadline);
            ctx.deadlines.push(deadline, Due::Connection(id));
        }
    }
}
