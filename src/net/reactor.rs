//! The poll and the turn: events become latches and a run queue; the run queue becomes arrivals, one at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::buffers::Buffers;
use super::connection::{Connection, Phase, Scratch, Step};
use super::control::{ControlClient, ControlListener};
use super::deadlines::{Deadlines, Due};
use super::listener::Listener;
use super::opening::internal;
use super::resolver::Resolver;
use super::signals::Caught;
use super::table::Table;
use super::udp::Datagrams;
use super::{Alarm, Arrival, ControlId, Counters, token};
use crate::config::{
    ACCEPTS_PER_TURN, CONTROL_LINES_PER_TURN, DEADLINES_SPARE, EVENTS_PER_TURN, TURN_BYTES_WRITTEN,
    TURN_BYTES_WRITTEN_MIN,
};
use crate::error::Failure;
use crate::proto::{CloseReason, ConnId, DialId};
use crate::time::Time;
use crate::wire::HostPort;

/// Every socket of a loop.
///
/// - getters: addresses, counters, [`Net::timeout`], [`Net::is_busy`];
/// - the turn: [`Net::poll`], [`Net::begin_turn`], [`Net::next`], [`Net::expire`], [`Net::flush`], [`Net::end_turn`];
/// - mutators: one per output of a machine, in `outbound` and `dialing`.
pub struct Net {
    pub(super) poll: Poll,
    pub(super) events: Events,
    pub(super) alarm: Alarm,
    pub(super) signals: Caught,
    pub(super) listener: Option<Listener>,
    pub(super) listen_addr: Option<SocketAddr>,
    pub(super) datagrams: Option<Datagrams>,
    pub(super) control: Option<ControlListener>,
    pub(super) clients: Table<ControlClient>,
    pub(super) client_run: VecDeque<ControlId>,
    pub(super) client_dirty: Vec<ControlId>,
    pub(super) client_graves: Vec<ControlId>,
    pub(super) conns: Table<Connection>,
    /// Connections that the descriptors suffice for.
    pub(super) conns_max: usize,
    pub(super) resolver: Resolver,
    pub(super) resolving: BTreeMap<DialId, (HostPort, Time)>,
    /// Addresses that dials come from, in turn.
    pub(super) sources: Vec<IpAddr>,
    pub(super) sources_used: usize,
    pub(super) deadlines: Deadlines,
    pub(super) arrivals: VecDeque<Arrival>,
    /// Connections with something to read; every one at most once.
    pub(super) run: VecDeque<ConnId>,
    /// How many of them are due in this turn; those that are added meanwhile wait for the next.
    pub(super) run_left: usize,
    /// The connection whose bytes are in the scratch buffer.
    pub(super) current: Option<ConnId>,
    pub(super) scratch: Scratch,
    pub(super) buffers: Buffers,
    /// Chunk buffers in use, here and above.
    pub(super) chunks_out: usize,
    /// Connections whose chunk waits for a buffer.
    pub(super) starved: VecDeque<ConnId>,
    /// Connections with something to write; every one at most once.
    pub(super) dirty: Vec<ConnId>,
    /// Bytes of files that each of them may write in this turn.
    pub(super) write_budget: usize,
    /// Slots to be freed at the end of the turn.
    pub(super) graves: Vec<ConnId>,
    pub(super) accepts_left: usize,
    /// Lines of control clients that may still be taken in this turn.
    pub(super) lines_left: usize,
    /// The batch of events was full: there may be more input than was seen.
    pub(super) batch_full: bool,
    pub(super) now: Time,
    pub(super) counters: Counters,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("listen", &self.listen_addr).field("connections", &self.conns.len()).finish()
    }
}

impl Net {
    /// The address that is listened on, with its real port.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.listen_addr
    }

    /// Wakes the loop from elsewhere.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Connections that are not gone, dials and farewells among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Whether the connection can still be sent to.
    #[must_use]
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(Connection::takes_messages)
    }

    /// When [`Net::expire`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Work is left over from this turn: the poll must not wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let listener = self.listener.as_ref().is_some_and(|listener| listener.ready && !listener.stalled);
        let datagrams = self.datagrams.as_ref().is_some_and(|datagrams| datagrams.ready);
        let control = self.control.as_ref().is_some_and(|control| control.ready);
        let queued = !(self.run.is_empty() && self.dirty.is_empty() && self.arrivals.is_empty());
        let clients = !(self.client_run.is_empty() && self.client_dirty.is_empty());
        listener || datagrams || control || queued || clients
    }

    /// There may be input that this turn has not seen: deadlines that have passed should wait a turn, for after a pause of
    /// the process everybody looks silent until his queued bytes are read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.batch_full || self.datagrams.as_ref().is_some_and(|datagrams| datagrams.ready)
    }

    // ---- the turn ------------------------------------------------------------------------------------------------

    /// Waits for events, at most this long, and latches them.
    ///
    /// # Errors
    /// If the poll itself fails: nothing can go on.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(internal("the poll", &error));
        }
        self.counters.turns += 1;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut seen = 0;
        for event in &events {
            seen += 1;
            self.latch(event);
        }
        self.batch_full = seen == EVENTS_PER_TURN;
        self.events = events;
        Ok(())
    }

    fn latch(&mut self, event: &Event) {
        match event.token() {
            // Whoever rang is heard when the loop looks at its channels, which it does every turn.
            token::WAKER => {}
            token::LISTENER => {
                if let Some(listener) = &mut self.listener {
                    listener.ready = true;
                }
            }
            token::DATAGRAMS => {
                if let Some(datagrams) = &mut self.datagrams {
                    datagrams.ready |= event.is_readable() || event.is_error();
                }
            }
            token::SIGNALS => {
                let caught: Vec<i32> = self.signals.0.pending().collect();
                self.arrivals.extend(caught.into_iter().map(Arrival::Signal));
            }
            token::CONTROL_LISTENER => {
                if let Some(control) = &mut self.control {
                    control.ready = true;
                }
            }
            other => self.latch_slot(other, event),
        }
    }

    fn latch_slot(&mut self, token: Token, event: &Event) {
        let slot = token::slot(token);
        if slot.control {
            self.latch_client(slot, event);
            return;
        }
        let Some(id) = self.conns.id_at(slot.index, slot.generation_bits, token::GENERATION_MASK) else {
            self.counters.stale_ids += 1;
            return;
        };
        let conn = self.conns.get_mut(id).expect("the id was just made from the slot");
        conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        conn.hung_up |= event.is_read_closed() || event.is_error();
        conn.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        if !conn.send.is_empty() {
            self.mark_dirty(id);
        }
        self.requeue(id);
    }

    /// Begins a turn at this time: everything until the next one happens now.
    pub fn begin_turn(&mut self, now: Time) {
        self.now = now;
        self.run_left = self.run.len();
        self.accepts_left = ACCEPTS_PER_TURN;
        self.lines_left = CONTROL_LINES_PER_TURN;
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.begin_turn();
        }
        self.take_resolved();
    }

    /// The next thing that happened in this turn; to be called until there is none.
    #[expect(clippy::should_implement_trait, reason = "what it yields depends on what is done in between")]
    pub fn next(&mut self) -> Option<Arrival> {
        loop {
            if let Some(arrival) = self.arrivals.pop_front() {
                if let Arrival::Closed { conn, .. } = arrival {
                    self.graves.push(conn);
                }
                return Some(arrival);
            }
            if let Some(id) = self.current {
                if let Some(arrival) = self.read_current(id) {
                    return Some(arrival);
                }
            } else if self.run_left > 0 {
                self.run_left -= 1;
                self.begin_connection();
            } else {
                let arrival = self.next_datagram().or_else(|| self.next_accepted()).or_else(|| self.next_line());
                if arrival.is_some() || self.arrivals.is_empty() {
                    return arrival;
                }
            }
        }
    }

    fn begin_connection(&mut self) {
        let Some(id) = self.run.pop_front() else {
            return;
        };
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.queued = false;
        if matches!(conn.phase, Phase::Connecting(_)) {
            self.look_at_dial(id);
        } else if conn.wants_read() {
            conn.begin_reading(&mut self.scratch);
            self.current = Some(id);
        }
    }

    /// A dial has succeeded: its connection is read in the same turn.
    pub(super) fn begin_dialed(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.begin_reading(&mut self.scratch);
            self.current = Some(id);
        }
    }

    fn read_current(&mut self, id: ConnId) -> Option<Arrival> {
        let Some(conn) = self.conns.get_mut(id) else {
            self.current = None;
            return None;
        };
        match conn.read_step(&mut self.scratch, &mut self.buffers, self.now) {
            Step::Message(message) => {
                self.counters.messages_in += 1;
                Some(Arrival::Message { conn: id, message })
            }
            Step::Malformed(error) => {
                self.counters.malformed += 1;
                Some(Arrival::Malformed { conn: id, error })
            }
            Step::Progress { req, received } => {
                let received = u32::try_from(received).unwrap_or(u32::MAX);
                Some(Arrival::PayloadProgress { conn: id, req, received })
            }
            Step::Chunk(incoming) => {
                let super::connection::Incoming { req, plan, verify, bytes, .. } = *incoming;
                let bytes = bytes.expect("a chunk gets whole in its buffer");
                Some(Arrival::Payload { conn: id, req, bytes, plan, verify })
            }
            Step::Rest => {
                self.current = None;
                // What is to be written arms its own deadline once it has been tried.
                let to_be_written = conn.dirty;
                self.requeue(id);
                if !to_be_written {
                    self.arm(id);
                }
                None
            }
            Step::Closed(why) => {
                self.current = None;
                // The answers to what came before the end may still find a reader.
                self.flush_connection(id);
                self.finish(id, why);
                None
            }
        }
    }

    fn next_datagram(&mut self) -> Option<Arrival> {
        let (from, length) = self.datagrams.as_mut()?.receive(&mut self.counters)?;
        Some(Arrival::Datagram { from, length })
    }

    /// Lets every deadline that has passed have its effect.
    pub fn expire(&mut self) {
        while let Some((at, due)) = self.deadlines.pop_due(self.now) {
            match due {
                Due::Connection(id) => self.expire_connection(id, at),
                Due::Resolve(dial) => self.expire_resolve(dial),
                Due::Accept => {
                    self.resume_accepting();
                    if let Some(control) = &mut self.control {
                        control.ready = true;
                    }
                }
            }
        }
    }

    fn expire_connection(&mut self, id: ConnId, at: Time) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.armed != Some(at) {
            return;
        }
        conn.armed = None;
        match conn.deadline() {
            Some(deadline) if deadline <= self.now => {
                if matches!(conn.phase, Phase::Connecting(_)) {
                    self.try_next_address(id, &io::ErrorKind::TimedOut.into());
                } else {
                    let why = conn.overdue();
                    self.finish(id, why);
                }
            }
            Some(_) | None => self.arm(id),
        }
    }

    /// Writes everything that was queued in this turn.
    pub fn flush(&mut self) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.flush(&mut self.counters);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut uploads = 0;
        for id in dirty.drain(..) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.dirty = false;
                uploads += usize::from(conn.send.has_files());
            }
            self.flush_connection(id);
        }
        // As many as there were now will most likely be there in the next turn.
        self.write_budget = (TURN_BYTES_WRITTEN / uploads.max(1)).max(TURN_BYTES_WRITTEN_MIN);
        // Those that stopped on their budget were added meanwhile; the list keeps its memory.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        self.flush_clients();
    }

    /// Writes what one connection has queued.
    pub(super) fn flush_connection(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match conn.phase {
            Phase::Connecting(_) | Phase::Lingering { .. } | Phase::Dead => return,
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) | Phase::Deaf | Phase::Closing { .. } => {}
        }
        let arrivals = &mut self.arrivals;
        let sent = |req| arrivals.push_back(Arrival::PayloadSent { conn: id, req });
        if let Some(why) = conn.flush(self.write_budget, &mut self.buffers, self.now, sent) {
            self.finish(id, why);
            return;
        }
        if conn.writable && !conn.send.is_empty() {
            self.mark_dirty(id);
        }
        self.requeue(id);
        self.arm(id);
    }

    /// Frees the slots of what is gone. Nothing of this turn can name them any more.
    pub fn end_turn(&mut self) {
        debug_assert!(self.current.is_none() && self.run_left == 0, "a turn ends when nothing more has happened in it");
        if !self.graves.is_empty() {
            for id in self.graves.drain(..) {
                self.conns.remove(id);
            }
            self.resume_accepting();
        }
        for ControlId(id) in self.client_graves.drain(..) {
            self.clients.remove(id);
        }
    }

    /// No connection is accepted from here on, and no client of the control socket, whose file is removed.
    pub fn stop_listening(&mut self) {
        self.listener = None;
        self.control = None;
    }

    // ---- helpers -------------------------------------------------------------------------------------------------

    /// Puts a connection with something to read into the run queue.
    pub(super) fn requeue(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.queued
            && self.current != Some(id)
            && conn.wants_read()
        {
            conn.queued = true;
            self.run.push_back(id);
        }
    }

    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sees to it that the connection is looked at by its deadline.
    pub(super) fn arm(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && let Some(deadline) = conn.deadline()
            && conn.armed.is_none_or(|armed| deadline < armed)
        {
            conn.armed = Some(deadline);
            if self.deadlines.len() >= 2 * self.conns.len() + DEADLINES_SPARE {
                self.sweep_deadlines();
            }
            self.deadlines.push(deadline, Due::Connection(id));
        }
    }

    /// Without it, connections that come and go would leave as many deadlines as there are of them while a deadline lasts.
    fn sweep_deadlines(&mut self) {
        let Net { deadlines, conns, resolving, .. } = self;
        deadlines.sweep(|at, due| match due {
            Due::Connection(id) => conns.get(id).is_some_and(|conn| conn.armed == Some(at)),
            Due::Resolve(dial) => resolving.contains_key(&dial),
            Due::Accept => true,
        });
    }

    /// Ends a connection and says so; the slot goes once that was heard.
    pub(super) fn finish(&mut self, id: ConnId, why: CloseReason) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let ended = std::mem::replace(&mut conn.phase, Phase::Dead);
        if matches!(ended, Phase::Dead) {
            return;
        }
        self.release_of(ended);
        match why {
            CloseReason::SlowConsumer => self.counters.slow_consumers += 1,
            CloseReason::SlowFrame => self.counters.slow_frames += 1,
            CloseReason::Remote | CloseReason::Failed | CloseReason::Asked => {}
        }
        self.arrivals.push_back(Arrival::Closed { conn: id, why });
    }
}
