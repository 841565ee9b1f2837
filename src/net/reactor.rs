//! The poll and the turn: events set latches and fill a run queue; the run queue yields arrivals,
//! one at a time.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Waker};

use super::acceptor::Acceptor;
use super::alarm::Alarm;
use super::arrival::Arrival;
use super::connections::Connections;
use super::context::{Context, internal};
use super::control::ControlSocket;
use super::counters::Counters;
use super::deadlines::Due;
use super::dialer::Dialer;
use super::own_addrs::OwnAddrs;
use super::signals::Caught;
use super::socket::{cannot_listen, raise_descriptors};
use super::tls::TlsIdentity;
use super::token;
use super::udp::{Datagrams, Received};
use crate::config::{
    ACCEPTS_PER_TURN, CONTROL_CLIENTS_MAX, DEADLINES_PER_TURN, DEADLINES_SPARE, DESCRIPTORS_RESERVED_MAX,
    EVENTS_PER_TURN, HANDSHAKES_PER_TURN, LATE_STEPS, PORT_PAIR_TRIES, TURN_WRITE_MAX, descriptors_reserved,
};
use crate::error::Failure;
use crate::proto::envelope::{Envelopes, Notice};
use crate::proto::{ConnId, Input};
use crate::time::Time;
use crate::trust::PublicKey;

/// Which sockets to open.
#[derive(Clone, Debug, Default)]
pub struct NetOptions {
    /// Address of the TCP listener; port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// Whether to open UDP on the same port number as the listener.
    pub datagrams: bool,
    /// Path of the Unix socket for clients on this machine.
    pub control: Option<PathBuf>,
    /// Whether connections of the listener that begin like a request are served as HTTP.
    pub http_files: bool,
    /// Address of the listener of the page about the node.
    pub http: Option<SocketAddr>,
    /// Local addresses for dials, used one after the other; if there are none, the system chooses.
    pub sources: Vec<IpAddr>,
    /// What the node shows in login mode, in which every TCP connection is TLS; none in open mode.
    pub tls: Option<TlsIdentity>,
    /// Whether hosts at loopback addresses may begin handshakes without a limit: for tests, in
    /// which all peers are at such addresses.
    pub exempt_loopback: bool,
}

/// Kinds of sockets that a turn reads: connections, datagrams, the listener, the listener of the
/// page, the control socket.
const KINDS: usize = 5;

/// What there is to read next.
enum Found {
    /// A connection, which is being read from now on.
    Begun,
    Arrival(Arrival),
}

/// Every socket of a loop.
///
/// - getters: addresses, counters, [`Net::timeout`], [`Net::is_busy`];
/// - the turn: [`Net::poll`], [`Net::begin_turn`], [`Net::next`], [`Net::expire`], [`Net::flush`],
///   [`Net::end_turn`];
/// - outputs, in a file of their own: one method per output of a machine that concerns a socket.
pub struct Net {
    pub(super) ctx: Context,
    events: Events,
    /// The batch of events was full: there may be more input than this turn has seen.
    batch_full: bool,
    /// The turn has used up its time: the rest of the input waits for the next one.
    resting: bool,
    /// The kind of sockets that this turn reads first; the next turn begins with another kind, so
    /// that none is starved by turns that end early.
    first: usize,
    alarm: Alarm,
    signals: Caught,
    /// None if the system does not announce changes.
    own_addrs: Option<OwnAddrs>,
    pub(super) conns: Connections,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) page: Option<Acceptor>,
    pub(super) dialer: Dialer,
    pub(super) datagrams: Option<Datagrams>,
    pub(super) control: ControlSocket,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("listen", &self.listen_addr()).field("connections", &self.conns.len()).finish()
    }
}

impl Net {
    /// Opens every socket that the options name.
    ///
    /// # Errors
    /// Exit 5 if an address or the control socket is in use, 9 if the control socket cannot be
    /// made, 1 if the system lacks another resource.
    pub fn open(options: &NetOptions) -> Result<Net, Failure> {
        let descriptors = raise_descriptors();
        let reserve = Reserve::of(descriptors);
        let ctx = Context::new(options.tls.clone())?;
        let waker = Waker::new(ctx.poll.registry(), token::WAKER);
        let alarm = Alarm(Arc::new(waker.map_err(|error| internal("the poll's waker", &error))?));
        let mut signals = Caught::open().map_err(|error| internal("the signals", &error))?;
        ctx.watch_reads(&mut signals.0, token::SIGNALS, "the signals")?;
        let (mut acceptor, mut datagrams) = bind(options)?;
        acceptor.as_mut().map_or(Ok(()), |acceptor| acceptor.watch(token::LISTENER, &ctx))?;
        let mut page = options.http.map(|addr| Acceptor::bind(addr, "--http")).transpose()?;
        if let Some(page) = &mut page {
            page.set_page();
            page.watch(token::PAGE_LISTENER, &ctx)?;
        }
        datagrams.as_mut().map_or(Ok(()), |datagrams| datagrams.watch(&ctx))?;
        let mut conns = Connections::new(reserve.conns_max, reserve.newcomers_max);
        conns.admission.exempts_loopback = options.exempt_loopback;
        conns.serves_files = options.http_files;
        let own_addrs = OwnAddrs::open(&ctx).inspect_err(|error| {
            log::debug!("changes of the addresses of this host are not noticed: {error}");
        });
        let own_addrs = own_addrs.ok();
        Ok(Net {
            control: ControlSocket::bind(options.control.as_deref(), reserve.clients_max, &ctx)?,
            ctx,
            events: Events::with_capacity(EVENTS_PER_TURN),
            batch_full: false,
            resting: false,
            first: 0,
            dialer: Dialer::new(alarm.clone(), options.sources.clone()),
            alarm,
            signals,
            conns,
            own_addrs,
            acceptor,
            page,
            datagrams,
        })
    }

    /// The address of the listener, with its real port.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.acceptor.as_ref().map(Acceptor::addr)
    }

    /// The address of the page, with its real port.
    #[must_use]
    pub fn page_addr(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(Acceptor::addr)
    }

    /// A handle that wakes the loop from another thread.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.ctx.counters
    }

    /// Bytes of the buffers of all connections, by name.
    pub fn memory(&self) -> impl Iterator<Item = (String, u64)> + use<> {
        let Connections { send_bytes, read_bytes, .. } = self.conns;
        let named = [("memory_send_queues", send_bytes), ("memory_read_buffers", read_bytes)];
        named.into_iter().map(|(name, bytes)| (name.to_owned(), bytes as u64))
    }

    /// From now on, every datagram is sent in one of these envelopes. Before the first call,
    /// datagrams are sent in the envelope of open mode.
    pub fn set_envelopes(&mut self, envelopes: Envelopes) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.set_envelopes(envelopes);
        }
    }

    /// In login mode: from now on, only datagrams of the neighbors with these keys are opened.
    pub fn set_neighbors(&mut self, keys: &[PublicKey]) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.set_neighbors(keys);
        }
    }

    /// What the envelopes of datagrams count, by name; nothing at a node without links.
    pub fn envelope_counts(&self) -> impl Iterator<Item = (String, u64)> + use<> {
        self.datagrams.as_ref().map(|datagrams| datagrams.envelopes().counters().all()).into_iter().flatten()
    }

    /// The greatest handshake counter of each neighbor, if one of them has risen since the last
    /// call.
    pub fn take_risen(&mut self) -> Option<BTreeMap<PublicKey, u64>> {
        self.datagrams.as_mut()?.envelopes_mut().take_risen()
    }

    /// Number of connections, including dials and lingering ones.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Bytes of frames that are not complete, of all connections.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.conns.read_bytes
    }

    /// Whether the machine may still send on the connection.
    #[must_use]
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|conn| conn.takes_messages())
    }

    /// When [`Net::expire`] has something to do.
    #[must_use]
    pub fn timeout(&self) -> Option<Time> {
        [self.ctx.deadlines.next(), self.conns.limits_due()].into_iter().flatten().min()
    }

    /// Whether work is left over from this turn, so that the poll must not wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let accepts = self.acceptor.as_ref().is_some_and(Acceptor::is_busy) && self.conns.may_enter(self.ctx.now)
            || self.page.as_ref().is_some_and(Acceptor::is_busy);
        accepts && self.conns.may_accept()
            || self.datagrams.as_ref().is_some_and(|datagrams| datagrams.is_ready())
            || self.control.is_busy()
            || self.own_addrs.as_ref().is_some_and(OwnAddrs::is_ready)
            || self.conns.is_busy()
            || !self.ctx.arrivals.is_empty()
    }

    /// Whether there may be input that this turn has not read. Timers that are due should then wait
    /// a turn: after a pause of the process every peer looks silent until its queued bytes are
    /// read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.batch_full || self.datagrams.as_ref().is_some_and(|datagrams| datagrams.is_ready())
    }

    // ---- the turn -------------------------------------------------------------------------------

    /// Waits for events, at most this long, and latches them.
    ///
    /// # Errors
    /// If the poll itself fails: the loop cannot continue.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<(), Failure> {
        if let Err(error) = self.ctx.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(internal("the poll", &error));
        }
        self.ctx.counters.turns += 1;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        events.iter().for_each(|event| self.latch(event));
        self.batch_full = events.iter().count() == EVENTS_PER_TURN;
        self.events = events;
        Ok(())
    }

    fn latch(&mut self, event: &Event) {
        match event.token() {
            // The loop looks at its channels in every turn.
            token::WAKER => {}
            token::LISTENER => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.latch();
                }
            }
            token::PAGE_LISTENER => {
                if let Some(page) = &mut self.page {
                    page.latch();
                }
            }
            token::DATAGRAMS => {
                if let Some(datagrams) = &mut self.datagrams {
                    datagrams.latch(event.is_readable(), event.is_error());
                }
            }
            token::SIGNALS => {
                let caught: Vec<i32> = self.signals.0.pending().collect();
                self.ctx.arrivals.extend(caught.into_iter().map(Arrival::Signal));
            }
            token::CONTROL_LISTENER => self.control.latch(),
            token::OWN_ADDRS => {
                if let Some(own_addrs) = &mut self.own_addrs {
                    own_addrs.latch();
                }
            }
            other if token::lane_of(other).is_some() => {
                if let (Some(datagrams), Some(at)) = (&mut self.datagrams, token::lane_of(other)) {
                    datagrams.latch_lane(at);
                }
            }
            other => {
                let slot = token::slot(other);
                if slot.control {
                    self.control.latch_client(slot, event, &mut self.ctx);
                } else {
                    self.conns.latch(slot, event, &mut self.ctx);
                }
            }
        }
    }

    /// Begins a turn. Everything until the next turn happens at this time; `unix` is the wall clock
    /// in seconds since the start of 1970.
    pub fn begin_turn(&mut self, now: Time, unix: u64) {
        (self.ctx.now, self.ctx.unix) = (now, unix);
        self.resting = false;
        self.first = (self.first + 1) % KINDS;
        self.conns.begin_turn(now);
        self.control.begin_turn();
        for acceptor in [&mut self.acceptor, &mut self.page].into_iter().flatten() {
            acceptor.begin_turn();
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.begin_turn();
        }
        self.dialer.begin_turn(&mut self.conns, &mut self.ctx);
        let mut left = HANDSHAKES_PER_TURN;
        while let Some((id, greeted)) = self.conns.greet(&mut left, &mut self.ctx) {
            self.dialer.on_greeted(id, greeted, &mut self.conns, &mut self.ctx);
        }
        let gone = self.own_addrs.as_mut().map(OwnAddrs::take_gone).unwrap_or_default();
        if !gone.is_empty() {
            self.lose(&gone);
        }
        self.ask_for_room();
    }

    /// This host has lost these addresses: closes what uses them.
    fn lose(&mut self, gone: &[IpAddr]) {
        let Net { ctx, conns, datagrams, .. } = self;
        let closed = conns.lose(gone, ctx);
        if let Some(datagrams) = datagrams {
            datagrams.lose(gone);
        }
        let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
        let gone = gone.join(" and ");
        if closed > 0 {
            log::warn!("this host has lost its address {gone}: {closed} connections from there are closed");
        } else {
            log::debug!("this host has lost its address {gone}");
        }
    }

    /// Asks the machine to close idle connections, if some must be closed. This is done when all
    /// sockets are read, and also at the start of a turn, because a turn with much input may end
    /// its reading before that.
    fn ask_for_room(&mut self) {
        if let Some(excess) = self.conns.take_wanted(&mut self.ctx) {
            self.ctx.arrivals.push_back(Arrival::Input(Input::Crowded { excess }));
        }
    }

    /// The next thing that happened in this turn. Must be called until there is none.
    #[expect(clippy::should_implement_trait, reason = "what it yields depends on what is done in between")]
    pub fn next(&mut self) -> Option<Arrival> {
        if self.resting {
            return None;
        }
        loop {
            if let Some(arrival) = self.ctx.arrivals.pop_front() {
                if let Arrival::Input(Input::Closed { conn, .. }) | Arrival::HttpGone { conn } = arrival {
                    self.conns.bury(conn);
                }
                return Some(arrival);
            }
            if self.conns.is_reading() {
                let arrival = self.conns.read(&mut self.ctx);
                if arrival.is_some() {
                    return arrival;
                }
                continue;
            }
            let first = self.first;
            match (first..first + KINDS).find_map(|kind| self.look(kind % KINDS)) {
                Some(Found::Begun) => {}
                Some(Found::Arrival(arrival)) => return Some(arrival),
                None => {
                    self.ask_for_room();
                    if self.ctx.arrivals.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// What the sockets of one kind have to read next.
    fn look(&mut self, kind: usize) -> Option<Found> {
        let Net { ctx, conns, acceptor, dialer, datagrams, control, .. } = self;
        match kind {
            0 => {
                let id = conns.next_due()?;
                if conns.begin(id, ctx) {
                    dialer.on_event(id, conns, ctx);
                }
                Some(Found::Begun)
            }
            1 => {
                let found = datagrams.as_mut()?.receive(ctx.now, &mut ctx.counters)?;
                Some(Found::Arrival(match found {
                    Received::Datagram(taken) => Arrival::Datagram(taken),
                    Received::Unanswered(Notice { from, why }) => Arrival::Input(Input::Unanswered { from, why }),
                    Received::Undelivered { to, why } => Arrival::Input(Input::Undelivered { to, why }),
                }))
            }
            2 => Some(Found::Arrival(Arrival::Input(acceptor.as_mut()?.next(conns, ctx)?))),
            3 => self.look_http(),
            _ => control.next(ctx).map(Found::Arrival),
        }
    }

    /// Accepts the next connection of the page, or begins to read the next one that is served as
    /// HTTP.
    fn look_http(&mut self) -> Option<Found> {
        let Net { ctx, conns, page, .. } = self;
        if page.as_mut().and_then(|page| page.next_page(conns, ctx)).is_none() {
            let id = conns.next_http_due()?;
            conns.begin(id, ctx);
        }
        Some(Found::Begun)
    }

    /// No further request of HTTP is read in this turn, and no further connection is accepted.
    pub fn rest_strangers(&mut self) {
        self.conns.rest_http();
        [&mut self.acceptor, &mut self.page].into_iter().flatten().for_each(Acceptor::rest);
    }

    /// Ends the reading of this turn: [`Net::next`] returns nothing more. The rest of the input is
    /// read in the next turn.
    pub fn rest(&mut self) {
        self.resting = true;
        self.conns.rest(&mut self.ctx);
    }

    /// Whether this turn ended before everything was read.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Acts on deadlines that have passed, as many as one turn has time for. `passed` returns the
    /// age of the turn.
    pub fn expire(&mut self, passed: impl Fn() -> Duration) {
        let Net { ctx, conns, dialer, .. } = self;
        if conns.limits_due().is_some_and(|due| due <= ctx.now) {
            conns.resume(ctx);
        }
        for step in 0..DEADLINES_PER_TURN {
            if step >= LATE_STEPS && passed() >= TURN_WRITE_MAX {
                break;
            }
            let Some((at, due)) = ctx.deadlines.pop_due(ctx.now) else { break };
            match due {
                Due::Connection(id) => {
                    if conns.expire(id, at, ctx) {
                        dialer.on_overdue(id, conns, ctx);
                    }
                }
                Due::Resolve(dial) => dialer.on_resolve_overdue(dial, ctx),
                Due::Accept => {
                    if let Some(acceptor) = &mut self.acceptor {
                        acceptor.resume();
                    }
                }
                Due::Page => {
                    if let Some(page) = &mut self.page {
                        page.resume();
                    }
                }
                Due::Control => self.control.latch(),
                // Whether the listener is busy depends on the time.
                Due::HalfOpen => {}
            }
        }
    }

    /// Writes what was queued in this turn, to as many connections as the turn has time for.
    /// `passed` returns the age of the turn.
    pub fn flush(&mut self, passed: impl Fn() -> Duration) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.flush(&mut self.ctx);
        }
        self.control.flush(&mut self.ctx);
        self.conns.flush(passed, &mut self.ctx);
    }

    /// Frees the slots of connections and clients that are gone, as many as the turn has time for.
    /// `passed` returns the age of the turn.
    pub fn end_turn(&mut self, passed: impl Fn() -> Duration) {
        let short = [&self.acceptor, &self.page].into_iter().flatten().any(Acceptor::is_short);
        if self.conns.end_turn(short, passed) {
            [&mut self.acceptor, &mut self.page].into_iter().flatten().for_each(Acceptor::resume);
        }
        self.control.end_turn();
        // Connections that come and go leave entries in the list of deadlines.
        let Net { ctx, conns, dialer, .. } = self;
        if ctx.deadlines.len() > 2 * conns.len() + DEADLINES_SPARE {
            ctx.deadlines.sweep(|at, due| match due {
                Due::Connection(id) => conns.is_armed(id, at),
                Due::Resolve(dial) => dialer.is_resolving(dial),
                Due::Accept | Due::Page | Due::Control | Due::HalfOpen => true,
            });
        }
    }

    /// Accepts neither connections nor clients of the control socket from now on, and removes the
    /// file of that socket.
    pub fn stop_listening(&mut self) {
        self.acceptor = None;
        self.conns.end_handshakes();
        self.page = None;
        self.conns.drain_http(&mut self.ctx);
        self.control.stop_listening();
    }
}

/// How the file descriptors are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reserve {
    pub(super) conns_max: usize,
    pub(super) newcomers_max: usize,
    pub(super) clients_max: usize,
}

impl Reserve {
    pub(super) fn of(descriptors: usize) -> Reserve {
        let kept = descriptors_reserved(descriptors);
        Reserve {
            conns_max: (descriptors - kept).clamp(1, token::SLOTS_MAX - DESCRIPTORS_RESERVED_MAX),
            newcomers_max: (kept / 4).min(ACCEPTS_PER_TURN),
            clients_max: (kept / 4).clamp(1, CONTROL_CLIENTS_MAX),
        }
    }
}

/// The listener, and the UDP socket with the same port number.
fn bind(options: &NetOptions) -> Result<(Option<Acceptor>, Option<Datagrams>), Failure> {
    let Some(wanted) = options.listen else {
        return Ok((None, None));
    };
    let mut tries = 0;
    loop {
        let acceptor = Acceptor::bind(wanted, "--listen")?;
        if !options.datagrams {
            return Ok((Some(acceptor), None));
        }
        let addr = acceptor.addr();
        tries += 1;
        match Datagrams::bind(addr) {
            Ok(datagrams) => return Ok((Some(acceptor), Some(datagrams))),
            // Any port is acceptable, so another one is tried.
            Err(error) if wanted.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_PAIR_TRIES => {
            }
            Err(error) => return Err(cannot_listen(addr, " (UDP)", "--listen", &error)),
        }
    }
}
