//! The loop itself: one input in, all outputs out, each performed by its own small method.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use super::clients::Clients;
use super::clock::Clock;
use super::turns::Turns;
use super::{Flow, Handle, Host, Node, Request};
use crate::config::{CONTROL_COMMANDS_MAX, DRAIN_DONE_MAX, DRAIN_MAX, TIMERS_PUT_OFF_TURNS_MAX};
use crate::control;
use crate::disk::{Disk, Job, Report};
use crate::error::{Exit, Failure};
use crate::net::{Arrival, ControlId, Net};
use crate::proto::event::Outcome;
use crate::proto::{
    ClientEvent, ClientId, CloseReason, ConnId, DiskDone, DiskWork, Event, Input, Output, PayloadId, Role,
};
use crate::time::Time;
use crate::wire::Message;

/// A running node.
pub(super) struct Driver<'a, R> {
    net: Net,
    disk: Option<Disk>,
    reports: Option<Receiver<Report>>,
    requests: Receiver<Request>,
    handle: Handle,
    role: R,
    host: &'a mut dyn Host,
    clients: Clients,
    /// Hashed chunks that the machine has not disposed of; as many as it has requests outstanding, at most.
    payloads: BTreeMap<PayloadId, Vec<u8>>,
    payloads_minted: u64,
    /// Chunks that the disk's worker is hashing, by connection, and why that was closed meanwhile.
    hashing: BTreeMap<ConnId, (usize, Option<CloseReason>)>,
    /// Files opened for a chunk that is not queued yet; as many as the machine lets a connection ask for, at most.
    prepared: BTreeMap<(ConnId, u32), Arc<File>>,
    clock: Clock,
    turns: Turns,
    now: Time,
    /// Full turns in a row in which due timers were put off.
    put_off: u32,
    /// Set once the end was asked for: how to end, and until when the last words may take.
    ending: Option<(Exit, Time)>,
    /// The host said that its work is done; acted upon once the machine is drained.
    stop: Option<Exit>,
    /// A reason to end at once.
    end: Option<Result<Exit, Failure>>,
}

impl<'a, R: Role> Driver<'a, R> {
    pub(super) fn new(node: Node, role: R, host: &'a mut dyn Host) -> Driver<'a, R> {
        let (disk, reports) = node.disk.unzip();
        Driver {
            net: node.net,
            disk,
            reports,
            requests: node.requests,
            handle: node.handle,
            role,
            host,
            clients: Clients::default(),
            payloads: BTreeMap::new(),
            payloads_minted: 0,
            hashing: BTreeMap::new(),
            prepared: BTreeMap::new(),
            clock: Clock::start(),
            turns: Turns::new(),
            now: Time::ZERO,
            put_off: 0,
            ending: None,
            stop: None,
            end: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Exit, Failure> {
        // What the machine wants before anything has happened.
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

    /// Waits, lets in everything that came, then the timers, then writes.
    fn turn(&mut self) -> Result<(), Failure> {
        self.net.poll(self.patience())?;
        self.now = self.clock.now();
        self.net.begin_turn(self.now);
        while let Some(arrival) = self.net.next() {
            self.on_arrival(arrival);
            if self.end.is_some() {
                return Ok(());
            }
        }
        while let Some(report) = self.reports.as_ref().and_then(|reports| reports.try_recv().ok()) {
            self.on_report(report);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.on_request(request);
        }
        // After a pause of the process, what is queued in the sockets is heard before anybody is found silent.
        if self.net.is_behind() && self.put_off < TIMERS_PUT_OFF_TURNS_MAX {
            self.put_off += 1;
        } else {
            self.put_off = 0;
            self.fire_timers();
        }
        if let Some(exit) = self.stop.take() {
            self.begin_end(exit, DRAIN_DONE_MAX);
        }
        self.net.flush();
        self.net.end_turn();
        self.turns.add(self.clock.now().since(self.now));
        Ok(())
    }

    fn fire_timers(&mut self) {
        self.net.expire();
        if self.role.poll_timeout().is_some_and(|at| at <= self.now) {
            self.role.handle_timeout(self.now);
            self.drain();
        }
    }

    /// How long the poll may wait.
    fn patience(&self) -> Option<Duration> {
        if self.net.is_busy() {
            return Some(Duration::ZERO);
        }
        let ending = self.ending.map(|(_, until)| until);
        let next = [self.role.poll_timeout(), self.net.timeout(), ending].into_iter().flatten().min();
        next.map(|at| at.since(self.now))
    }

    // ---- in ------------------------------------------------------------------------------------------------------

    /// One input, then everything that the machine wants done about it.
    fn feed(&mut self, input: Input<'_>) {
        self.role.handle_input(self.now, input);
        self.drain();
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Accepted { conn, from } => self.feed(Input::Accepted { conn, from }),
            Arrival::Dialed { dial, conn } => self.feed(Input::Dialed { dial, conn }),
            Arrival::DialFailed { dial, why } => self.feed(Input::DialFailed { dial, why }),
            Arrival::Message { conn, message } => self.feed(Input::Message { conn, message }),
            Arrival::Malformed { conn, error } => self.feed(Input::Malformed { conn, error }),
            Arrival::Datagram { from, length } => {
                // Not `feed`: the bytes stay in the net while the machine reads them.
                self.role.handle_input(self.now, Input::Datagram { from, bytes: self.net.datagram(length) });
                self.drain();
            }
            Arrival::PayloadProgress { conn, req, received } => {
                self.feed(Input::PayloadProgress { conn, req, received });
            }
            Arrival::Payload { conn, req, bytes, plan, verify } => match &mut self.disk {
                Some(disk) => {
                    self.hashing.entry(conn).or_default().0 += 1;
                    let received = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    disk.submit(Job::Digest { conn, req, bytes, plan, verify });
                    self.feed(Input::PayloadProgress { conn, req, received });
                }
                None => {
                    log::error!("a chunk came to a node without a disk");
                    self.net.release(Some(bytes));
                }
            },
            Arrival::PayloadSent { conn, req } => self.feed(Input::PayloadSent { conn, req }),
            Arrival::Closed { conn, why } => {
                self.forget_prepared(conn);
                // What the connection brought in full is heard before its end, so that no byte of it is fetched again.
                match self.hashing.get_mut(&conn) {
                    Some((_, closed)) => *closed = Some(why),
                    None => self.feed(Input::Closed { conn, why }),
                }
            }
            Arrival::ControlLine { client, line } => self.on_line(client, line),
            Arrival::ControlGone { client } => {
                for client in self.clients.drop_all_of(client) {
                    self.feed(Input::ClientGone { client });
                }
            }
            Arrival::Signal(signal) => self.on_signal(signal),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Done { done, file, spare } => {
                if matches!(done, DiskDone::PieceWritten { .. }) {
                    self.net.release(spare);
                }
                if let (DiskDone::ChunkReady { conn, req, .. }, Some(file)) = (&done, file)
                    && self.net.is_open(*conn)
                {
                    self.prepared.insert((*conn, *req), file);
                }
                self.feed(Input::Disk(done));
            }
            Report::Digested { conn, req, bytes, digests } => {
                self.payloads_minted += 1;
                let payload = PayloadId(self.payloads_minted);
                self.payloads.insert(payload, bytes);
                self.feed(Input::PayloadReceived { conn, req, payload, digests });
                self.on_hashed(conn);
            }
        }
    }

    /// One chunk less is being hashed; after the last one the end of its connection is told.
    fn on_hashed(&mut self, conn: ConnId) {
        let Some((left, closed)) = self.hashing.get_mut(&conn) else { return };
        *left -= 1;
        if *left > 0 {
            return;
        }
        let closed = *closed;
        self.hashing.remove(&conn);
        if let Some(why) = closed {
            self.feed(Input::Closed { conn, why });
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command { client, command } => self.feed(Input::Command { client, command }),
            Request::ClientGone { client } => self.feed(Input::ClientGone { client }),
            Request::Shutdown => self.begin_end(Exit::Ok, DRAIN_MAX),
        }
    }

    fn on_line(&mut self, from: ControlId, line: Result<String, &'static str>) {
        let command = match line {
            Ok(_) if self.ending.is_some() => Err(ended()),
            Ok(_) if self.net.running(from) > CONTROL_COMMANDS_MAX => {
                let why = format!("{CONTROL_COMMANDS_MAX} commands run on this connection; wait for one to end");
                Err(Failure::new(Exit::Usage, why))
            }
            Ok(line) => control::parse_command(&line).map_err(|why| Failure::new(Exit::Usage, why)),
            Err(why) => Err(Failure::new(Exit::Usage, why)),
        };
        match command {
            Ok(command) => {
                let client = self.clients.enter(from);
                self.feed(Input::Command { client, command });
            }
            Err(failure) => self.end_line(from, &failure),
        }
    }

    fn on_signal(&mut self, signal: i32) {
        let again = self.handle.signal.swap(signal, Ordering::Relaxed) != 0;
        if again {
            self.end = Some(Ok(self.ending.map_or(Exit::Ok, |(exit, _)| exit)));
        } else {
            self.begin_end(Exit::Ok, DRAIN_MAX);
        }
    }

    /// The machine says BYE and closes; the loop ends when that is written or takes too long.
    fn begin_end(&mut self, exit: Exit, patience: Duration) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((exit, self.now + patience));
        self.net.stop_listening();
        self.feed(Input::Shutdown);
        for (client, control) in self.clients.all() {
            self.clients.leave(client);
            self.end_line(control, &ended());
        }
    }

    /// Ends a line of a control client that no machine will answer.
    fn end_line(&mut self, control: ControlId, failure: &Failure) {
        let done = ClientEvent::Done(Outcome::failed(failure));
        self.net.reply(control, &control::event_line(&done, SystemTime::now()), true);
    }

    // ---- out -----------------------------------------------------------------------------------------------------

    /// Performs what the machine wants done, until it wants nothing.
    fn drain(&mut self) {
        while let Some(output) = self.role.poll_output() {
            match output {
                Output::Dial { dial, to } => self.net.dial(dial, to),
                Output::Send { conn, message } => self.on_send(conn, message),
                Output::SendTo { to, boot, message } => self.net.send_to(to, boot, &message),
                Output::SendPayload { conn, req, offset, length } => self.on_send_payload(conn, req, offset, length),
                Output::ReceivePayload { conn, req, length, plan, verify } => {
                    self.net.receive(conn, req, length, plan, verify);
                }
                Output::DropPayload { payload } => self.on_drop_payload(payload),
                Output::DropChunk { conn, req } => self.on_drop_chunk(conn, req),
                Output::FrameCap { conn, bytes } => self.net.set_frame_cap(conn, bytes),
                Output::Close { conn } => self.net.close(conn),
                Output::Disk(work) => self.on_disk(work),
                Output::Event(event) => self.on_event(event),
            }
        }
        if let Some(disk) = &mut self.disk {
            disk.hand_over();
        }
    }

    fn on_send(&mut self, conn: ConnId, mut message: Message) {
        if let Message::Info(info) = &mut message {
            self.add_counts(&mut info.counts);
        }
        self.net.send(conn, &message);
    }

    /// Adds what only the loop can count to the counts of the machine.
    fn add_counts(&self, counts: &mut BTreeMap<String, u64>) {
        counts.extend(self.turns.named().chain(self.net.counters().named()));
    }

    fn on_drop_payload(&mut self, payload: PayloadId) {
        if let Some(bytes) = self.payloads.remove(&payload) {
            self.net.release(Some(bytes));
        }
    }

    fn on_drop_chunk(&mut self, conn: ConnId, req: u32) {
        self.prepared.remove(&(conn, req));
    }

    fn on_send_payload(&mut self, conn: ConnId, req: u32, offset: u64, length: u32) {
        match self.prepared.remove(&(conn, req)) {
            Some(file) => self.net.send_file(conn, req, file, offset, length),
            // Its CHUNK is queued already: only the end of the connection tells the other side.
            None => self.net.abort(conn),
        }
    }

    fn on_disk(&mut self, work: DiskWork) {
        let bytes = match &work {
            DiskWork::WritePiece { payload, .. } => {
                let bytes = self.payloads.remove(payload);
                debug_assert!(bytes.is_some(), "a payload is written or dropped once");
                bytes
            }
            DiskWork::ForgetConn { conn } => {
                self.forget_prepared(*conn);
                None
            }
            DiskWork::PrepareChunk { .. }
            | DiskWork::ReadManifest { .. }
            | DiskWork::OpenPart { .. }
            | DiskWork::StoreManifest { .. }
            | DiskWork::Publish { .. }
            | DiskWork::Abandon { .. } => None,
        };
        match &mut self.disk {
            Some(disk) => disk.submit(Job::Work { work, bytes }),
            None => log::error!("disk work was ordered in a node without a disk: {work:?}"),
        }
    }

    fn forget_prepared(&mut self, conn: ConnId) {
        let range = (conn, 0)..=(conn, u32::MAX);
        while let Some(key) = self.prepared.range(range.clone()).next().map(|(key, _)| *key) {
            self.prepared.remove(&key);
        }
    }

    fn on_event(&mut self, mut event: Event) {
        if let Event::Client { event, .. } = &mut event
            && let Some(counts) = event.own_counts()
        {
            self.add_counts(counts);
        }
        if let Event::Client { client, event } = &event
            && Clients::is_control(*client)
        {
            self.on_control_event(*client, event);
            return;
        }
        let fatal = match &event {
            Event::Fatal(failure) => Some(failure.clone()),
            Event::Client { .. }
            | Event::Welcomed { .. }
            | Event::SessionLost { .. }
            | Event::Link { .. }
            | Event::Log { .. } => None,
        };
        let flow = self.host.on_event(event);
        match (fatal, flow) {
            (Some(failure), _) => self.end = Some(Err(failure)),
            (None, Flow::Stop(exit)) => self.stop = self.stop.or(Some(exit)),
            (None, Flow::Continue) => {}
        }
    }

    fn on_control_event(&mut self, client: ClientId, event: &ClientEvent) {
        let Some(control) = self.clients.control_of(client) else {
            return;
        };
        let last = matches!(event, ClientEvent::Done(_));
        if last {
            self.clients.leave(client);
        }
        self.net.reply(control, &control::event_line(event, SystemTime::now()), last);
    }
}

/// What the commands are told that are still running when the node ends.
fn ended() -> Failure {
    Failure::new(Exit::Unreachable, "the peer was stopped before it had answered; start it again")
}
