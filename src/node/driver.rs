//! The loop: it waits for events, feeds each input to the machine, fires the timers and writes.
//! `outputs` performs the machine's outputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use signal_hook::consts::SIGHUP;

use super::chunks::Chunks;
use super::clock::{self, Clock};
use super::events::Events;
use super::handle::Request;
use super::host::Host;
use super::http::{Http, HttpOptions};
use super::memory::Memory;
use super::pace::{Pace, Rest};
use super::requests::Requests;
use super::turns::Turns;
use crate::config::{
    CATCHING_UP_TURNS_MAX, DRAIN_DONE_MAX, DRAIN_MAX, TIMERS_PUT_OFF_TURNS_MAX, TURN_GAP_LONG, TURN_READ_MAX,
    TURN_REPORTS_MIN,
};
use crate::disk::{Disk, Job, ReceivedChunk, Report};
use crate::error::{Exit, Failure};
use crate::memory;
use crate::net::{Arrival, Net, hangup_reloads};
use crate::proto::disk::CollectionDone;
use crate::proto::envelope::Taken;
use crate::proto::{CloseReason, DiskDone, Input, Role};
use crate::time::Time;
use crate::wire::SharePath;

/// A running node.
pub(super) struct Driver<'a> {
    pub(super) net: Net,
    pub(super) disk: Option<Disk>,
    reports: Option<Receiver<Report>>,
    /// Gauges of the share, for `status`.
    pub(super) disk_counts: Vec<(&'static str, u64)>,
    requests: Receiver<Request>,
    /// The last signal that arrived, or 0.
    signal: Arc<AtomicI32>,
    pub(super) role: &'a mut dyn Role,
    pub(super) host: &'a mut dyn Host,
    pub(super) control_requests: Requests,
    pub(super) chunks: Chunks,
    clock: Clock,
    pub(super) turns: Turns,
    pub(super) memory: Memory,
    pub(super) http: Http,
    /// The interval at which the host is called to show that the loop runs, and the time of the
    /// next call.
    watchdog: Option<(Duration, Time)>,
    pub(super) events: Events,
    pub(super) now: Time,
    /// When the last turn ended.
    rested: Time,
    /// The process was paused, and not all input that came during the pause is read yet.
    catching_up: bool,
    /// Whether reports and requests are left that this turn had no time for.
    left: bool,
    /// Consecutive turns in which due timers were put off.
    put_off: u32,
    /// Set once the end is requested: the exit code, and the time until which frames may be
    /// written.
    pub(super) ending: Option<(Exit, Time)>,
    /// The host said that its work is done; takes effect at the end of the turn.
    pub(super) stop: Option<Exit>,
    /// A reason to end at once.
    pub(super) end: Option<Result<Exit, Failure>>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        net: Net,
        disk: Option<(Disk, Receiver<Report>)>,
        requests: Receiver<Request>,
        signal: Arc<AtomicI32>,
        role: &'a mut dyn Role,
        host: &'a mut dyn Host,
        (memory, http, watchdog): (Memory, HttpOptions, Option<Duration>),
    ) -> Driver<'a> {
        let (disk, reports) = disk.unzip();
        Driver {
            net,
            disk,
            reports,
            disk_counts: Vec::new(),
            requests,
            signal,
            role,
            host,
            control_requests: Requests::default(),
            chunks: Chunks::default(),
            clock: Clock::start(),
            turns: Turns::new(),
            memory,
            http: Http::new(http),
            watchdog: watchdog.map(|every| (every, Time::ZERO)),
            events: Events::default(),
            now: Time::ZERO,
            rested: Time::ZERO,
            catching_up: false,
            left: false,
            put_off: 0,
            ending: None,
            stop: None,
            end: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Exit, Failure> {
        memory::prepare();
        // A machine may have outputs before its first input.
        self.drain();
        let result = loop {
            if let Err(failure) = self.turn() {
                break Err(failure);
            }
            if let Some(end) = self.end.take() {
                break end;
            }
            if let Some((exit, until)) = self.ending
                && (self.now >= until || self.net.connections() == 0 && self.net.clients_are_quiet())
            {
                break Ok(exit);
            }
        };
        log::debug!("the loop has ended: {:?}", self.net.counters());
        result
    }

    /// Waits, feeds every input to the machine, then fires the timers, then writes.
    fn turn(&mut self) -> Result<(), Failure> {
        let patience = self.patience();
        self.hand_over();
        self.net.poll(patience)?;
        self.now = self.clock.now();
        self.net.begin_turn(self.now, clock::unix());
        let mut pace = Pace::default();
        while let Some(arrival) = self.net.next() {
            pace.note(&arrival);
            self.on_arrival(arrival);
            if self.end.is_some() {
                return Ok(());
            }
            match pace.rest(|| self.passed()) {
                Some(Rest::All) => self.net.rest(),
                Some(Rest::Strangers) => self.net.rest_strangers(),
                None => {}
            }
        }
        self.hand_over();
        self.take_reports_and_requests();
        self.perform_orders();
        self.hand_over();
        // After a pause of the process, what is queued in the sockets is read before any peer is
        // found to be silent.
        let overdue = |patience: Duration| self.now.since(self.rested) >= patience.saturating_add(TURN_GAP_LONG);
        self.catching_up |= patience.is_some_and(overdue);
        self.catching_up &= self.net.is_resting() || self.net.is_behind();
        let most = if self.catching_up { CATCHING_UP_TURNS_MAX } else { TIMERS_PUT_OFF_TURNS_MAX };
        if (self.net.is_behind() || self.catching_up) && self.put_off < most {
            self.put_off += 1;
        } else {
            (self.put_off, self.catching_up) = (0, false);
            self.fire_timers();
        }
        if let Some(exit) = self.stop.take() {
            self.begin_end(exit, DRAIN_DONE_MAX);
        }
        // The counters of the neighbors' handshakes are saved before the handshakes are answered.
        if let Some(risen) = self.net.take_risen() {
            self.host.on_counters(&risen);
        }
        let passed = since(&self.clock, self.now);
        self.net.flush(&passed);
        self.net.end_turn(&passed);
        if self.memory.end_turn(memory::held(), self.now) {
            memory::give_back();
        }
        self.rested = self.clock.now();
        self.turns.add(self.rested.since(self.now));
        Ok(())
    }

    /// Takes the requests and reports that other threads have sent, as many as the turn has time
    /// for.
    fn take_reports_and_requests(&mut self) {
        self.left = false;
        // Requests come first: they are few, and people wait for them.
        while !self.left
            && let Ok(request) = self.requests.try_recv()
        {
            self.on_request(request);
            self.left = self.is_late();
        }
        // Some reports are taken even if the turn is late, because connections that were read
        // before wait for these answers.
        let until = (self.now + TURN_READ_MAX).max(self.clock.now() + TURN_REPORTS_MIN);
        while let Some(report) = self.reports.as_ref().and_then(|reports| reports.try_recv().ok()) {
            self.on_report(report);
            if self.clock.now() >= until {
                self.left = true;
                break;
            }
        }
    }

    /// How much time of this turn has passed.
    fn passed(&self) -> Duration {
        self.clock.now().since(self.now)
    }

    /// Whether this turn has taken so long that the rest of the input waits for the next one.
    fn is_late(&self) -> bool {
        self.passed() >= TURN_READ_MAX
    }

    fn fire_timers(&mut self) {
        self.net.expire(since(&self.clock, self.now));
        self.fire_http();
        if let Some(disk) = &mut self.disk {
            disk.expire(self.now);
        }
        if let Some((every, at)) = &mut self.watchdog
            && *at <= self.now
        {
            *at = self.now + *every;
            self.host.on_alive();
        }
        if self.role.poll_timeout().is_some_and(|at| at <= self.now) {
            self.role.handle_timeout(self.now);
            self.drain();
            self.perform_orders();
        }
    }

    /// How long the poll may wait.
    fn patience(&self) -> Option<Duration> {
        if self.net.is_busy() || self.left {
            return Some(Duration::ZERO);
        }
        let ending = self.ending.map(|(_, until)| until);
        let give_back = self.memory.timeout(memory::held());
        let alive = self.watchdog.map(|(_, at)| at);
        let disk = self.disk.as_ref().and_then(Disk::timeout);
        let next = [self.role.poll_timeout(), self.net.timeout(), self.http.timeout(), disk, ending, give_back, alive]
            .into_iter()
            .flatten()
            .min();
        next.map(|at| at.since(self.now))
    }

    /// One input, then all outputs that it causes.
    pub(super) fn feed(&mut self, input: Input<'_>) {
        self.role.handle_input(self.now, input);
        self.drain();
    }

    #[inline(always)]
    fn watch_memory(&mut self) {
        let held = memory::held();
        if !self.memory.is_enough(held) {
            self.on_scarce_memory(held);
        }
    }

    /// Reports to the machine when memory becomes short or is no longer short. While memory is
    /// short, it closes connections whose incomplete frames take too much memory. Above the upper
    /// threshold it also closes connections that do not read.
    #[inline(never)]
    fn on_scarce_memory(&mut self, held: usize) {
        if let Some(short) = self.memory.change(held) {
            if short && self.memory.may_warn(self.now) {
                log::warn!("memory is short: {} MiB are in use; new sessions and queries are refused", held >> 20);
            }
            self.feed(Input::Memory { short });
        }
        let excess = self.memory.excess(held);
        if excess > 0 {
            self.net.close_unread(excess);
        }
        let unfinished = self.memory.unfinished_excess(self.net.read_bytes(), self.now);
        if unfinished > 0 {
            self.net.close_unfinished(unfinished);
        }
    }

    pub(super) fn on_arrival(&mut self, arrival: Arrival) {
        self.watch_memory();
        match arrival {
            Arrival::Input(Input::Closed { conn, why }) => {
                if self.chunks.close(conn, why) {
                    self.feed(Input::Closed { conn, why });
                }
            }
            Arrival::Input(input) => self.feed(input),
            Arrival::Datagram(taken) => {
                let Taken { key, from, to, .. } = taken;
                // Not `feed`: the machine reads the bytes in the net's own buffer.
                self.role.handle_input(self.now, Input::Datagram { from, to, key, bytes: self.net.datagram(&taken) });
                self.drain();
            }
            Arrival::Payload { conn, req, bytes, plan, verify } => match &mut self.disk {
                Some(disk) => {
                    self.chunks.begin_hashing(conn);
                    let received = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    disk.submit(Job::Digest(ReceivedChunk { conn, req, bytes, plan, verify }));
                    self.feed(Input::PayloadProgress { conn, req, received });
                }
                None => {
                    log::error!("a chunk arrived at a node without a disk");
                    self.net.release(Some(bytes));
                }
            },
            Arrival::ControlLine { client, line } => self.on_line(client, line),
            Arrival::ControlGone { client } => self.on_control_gone(client),
            Arrival::HttpBegun { conn } => self.feed(Input::Closed { conn, why: CloseReason::Asked }),
            Arrival::Http { conn, surface, from, request } => self.on_http(conn, surface, from, request),
            Arrival::HttpSent { conn, req: _ } => self.on_http_sent(conn),
            Arrival::HttpLeft { conn } => self.on_http_left(conn),
            Arrival::HttpGone { conn } => self.on_http_gone(conn),
            Arrival::Signal(signal) => self.on_signal(signal),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Http(done) => self.on_http_done(done),
            Report::Done { done: DiskDone::ChunkReady { conn, req, result }, file, .. } if self.takes_chunk(conn) => {
                self.on_http_chunk(conn, req, result, file);
            }
            Report::Done { done, file, lent, spare } => {
                if matches!(
                    done,
                    DiskDone::PieceWritten { .. } | DiskDone::Collection { done: CollectionDone::Written(_), .. }
                ) {
                    self.net.release(spare);
                }
                if let (DiskDone::Share { added, removed }, Some(disk)) = (&done, &mut self.disk) {
                    let added = added.iter().map(|record| &record.path);
                    disk.forget_smalls(added.chain(removed).map(SharePath::as_str));
                }
                if let (DiskDone::ChunkReady { conn, req, .. }, Some(file)) = (&done, file)
                    && self.net.is_open(*conn)
                {
                    self.chunks.prepared.insert((*conn, *req), (file, lent));
                }
                self.feed(Input::Disk(done));
            }
            Report::Counts(counts) => {
                self.host.on_gauges(&counts);
                self.disk_counts = counts;
            }
            Report::Digested { conn, req, bytes, digests } => {
                let payload = self.chunks.keep(bytes);
                self.feed(Input::PayloadReceived { conn, req, payload, digests });
                if let Some(why) = self.chunks.end_hashing(conn) {
                    self.feed(Input::Closed { conn, why });
                }
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command { client, command } => self.feed(Input::Command { client, command }),
            Request::Shutdown => self.begin_end(Exit::Ok, DRAIN_MAX),
        }
    }

    fn on_signal(&mut self, signal: i32) {
        if self.host.on_signal(signal) {
            return;
        }
        if signal == SIGHUP && hangup_reloads() && self.host.reloads() {
            if self.ending.is_none() {
                // The log has the result.
                let _ = self.reload();
            }
            return;
        }
        let again = self.signal.swap(signal, Ordering::Relaxed) != 0;
        if again {
            self.end = Some(Ok(self.ending.map_or(Exit::Ok, |(exit, _)| exit)));
        } else {
            self.begin_end(Exit::Ok, DRAIN_MAX);
        }
    }

    /// The machine sends BYE and closes its connections. The loop ends when everything is written
    /// or `patience` has passed.
    fn begin_end(&mut self, exit: Exit, patience: Duration) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((exit, self.now + patience));
        self.host.on_ending();
        self.net.stop_listening();
        self.feed(Input::Shutdown);
        self.end_lines();
    }
}

/// How much time has passed since then.
fn since(clock: &Clock, begun: Time) -> impl Fn() -> Duration {
    move || clock.now().since(begun)
}
