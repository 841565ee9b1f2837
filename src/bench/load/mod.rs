//! The machine: sets up its sessions, makes the requests of the mode, and counts the answers.
//!
//! - getters: [`Load::tally`];
//! - `handle_*`, `poll_*`: those of [`Role`].

mod asking;
mod flood;
mod setup;
mod visits;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::neighbor::Neighbor;
use super::pace::Pace;
use super::plan::{CLIENT, DRAIN_MAX, Mode, Phase, Plan, STALL_MAX};
use super::session::{Session, State};
use super::tally::Tally;
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, ConnId, Entropy, Event, Input, Output, Role};
use crate::time::Time;
use crate::wire::message::{Ping, sent_by_sources, sent_to_sources, sent_to_super_peers};
use crate::wire::{Message, NodeId, QueryId};

/// A session sends PING this number of times in the interval of WELCOME.
const PING_SHARE: u32 = 2;
/// The loop polls without sleep for this time before a request at a fixed rate, because the timeout
/// of the poll has a resolution of a millisecond.
const SPIN: Duration = Duration::from_micros(1200);
/// If a query of the flood has no answer after this time, it is counted as an error and given up.
const LINK_PATIENCE: Duration = Duration::from_millis(500);

/// The session to which a connection belongs.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Session(usize),
    /// Churn: the connection to the source from which this session downloads.
    Source(usize),
}

/// The load.
pub struct Load {
    plan: Plan,
    node: NodeId,
    boot: u64,
    random: u64,
    now: Time,
    out: VecDeque<Output>,
    /// None before the start, and after the end.
    phase: Option<Phase>,
    over: bool,
    /// The sessions: first those that fill the index, then those that make the load.
    sessions: Vec<Session>,
    holders: usize,
    /// The next session to dial in this phase, and how many sessions are being set up.
    next_dial: usize,
    setups: usize,
    up: usize,
    /// The owner of each connection, by the slot of the connection in the driver, with the
    /// generation of the slot.
    owners: Vec<Option<(u32, Owner)>>,
    ping: Duration,
    /// The sessions in the order in which they must send PING.
    pings: VecDeque<(Time, usize)>,
    names: Vec<String>,
    /// Whether the index had files before the run.
    listed_any: bool,
    filled: bool,
    pace: Option<Pace>,
    backlog: VecDeque<Time>,
    cursor: usize,
    neighbor: Option<Neighbor>,
    /// Flood: queries that are not answered yet, with the time of each.
    probes: BTreeMap<QueryId, Time>,
    probes_swept: Time,
    /// The number of visits that have begun. The files of each visit are numbered with it.
    visits: u64,
    setup_begun: Time,
    measured_from: Time,
    until: Time,
    progress: Time,
    tally: Tally,
}

impl Load {
    /// A load that begins at the first [`Role::handle_timeout`].
    #[must_use]
    pub fn new(plan: Plan, entropy: &mut dyn Entropy) -> Load {
        let mut node = [0; NodeId::LEN];
        node[..8].copy_from_slice(&entropy.next_u64().to_be_bytes());
        let boot = entropy.next_u64().max(1);
        let holders = plan.holders();
        let mut sessions: Vec<Session> = (0..holders + plan.sessions).map(|_| Session::default()).collect();
        for (n, session) in (0_u64..).zip(&mut sessions[holders..]) {
            session.files = match plan.mode {
                Mode::Idle | Mode::Connect => n * plan.files..(n + 1) * plan.files,
                // In the mode register, the sessions register their files during the measurement.
                Mode::Register | Mode::Query | Mode::Churn | Mode::Get | Mode::Flood => 0..0,
            };
        }
        let neighbor = plan.link.map(|to| Neighbor::new(to, NodeId(node), boot));
        Load {
            node: NodeId(node),
            boot,
            random: entropy.next_u64(),
            now: Time::ZERO,
            out: VecDeque::new(),
            phase: None,
            over: false,
            sessions,
            holders,
            next_dial: 0,
            setups: 0,
            up: 0,
            owners: Vec::new(),
            ping: crate::config::PING_INTERVAL / PING_SHARE,
            pings: VecDeque::new(),
            names: Vec::new(),
            listed_any: false,
            filled: false,
            pace: None,
            backlog: VecDeque::new(),
            cursor: 0,
            neighbor,
            probes: BTreeMap::new(),
            probes_swept: Time::ZERO,
            visits: 0,
            setup_begun: Time::ZERO,
            measured_from: Time::ZERO,
            until: Time::ZERO,
            progress: Time::ZERO,
            tally: Tally::default(),
            plan,
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    // ---- phases ---------------------------------------------------------------------------------

    fn enter(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.progress = self.now;
        let event = ClientEvent::Note { message: phase.word().into() };
        self.out.push_back(Output::Event(Box::new(Event::Client { client: CLIENT, event })));
    }

    fn start(&mut self) {
        if self.holders > 0 {
            self.enter(Phase::Filling);
            self.dial_more();
        } else {
            self.begin_setup();
        }
    }

    fn begin_setup(&mut self) {
        self.setup_begun = self.now;
        self.next_dial = self.holders;
        if self.plan.mode == Mode::Connect {
            self.measure_from_here();
        } else {
            self.enter(Phase::SettingUp);
        }
        self.dial_more();
        self.check_setup();
    }

    /// The set-up ends once no session is being set up. For the flood, the link must be up too.
    fn check_setup(&mut self) {
        let connecting = self.plan.mode == Mode::Connect && self.phase == Some(Phase::Measuring);
        let link_down = self.neighbor.as_ref().is_some_and(|neighbor| !neighbor.is_up());
        if !(connecting || self.phase == Some(Phase::SettingUp))
            || self.setups > 0
            || self.next_dial < self.sessions.len()
            || link_down
        {
            return;
        }
        self.tally.setup = self.now.since(self.setup_begun);
        // In the mode churn, sessions come and go. At any time there are as many as the plan
        // states.
        self.tally.sessions_up = if self.plan.mode == Mode::Churn { self.plan.sessions } else { self.up };
        if self.up == 0 && self.plan.sessions > 0 {
            let why = self.tally.errors().keys().next().cloned().unwrap_or_default();
            return self
                .fail(Exit::Unreachable, format!("no session came about ({why}); is `sprat super` running there?"));
        }
        match self.plan.mode {
            Mode::Connect => self.finish(),
            Mode::Idle | Mode::Register | Mode::Query | Mode::Churn | Mode::Get | Mode::Flood => {
                self.measure_from_here();
                self.begin_load();
            }
        }
    }

    fn measure_from_here(&mut self) {
        self.measured_from = self.now;
        self.until = self.now + self.plan.length;
        self.tally.span = Some((self.now, self.now));
        self.enter(Phase::Measuring);
    }

    fn begin_load(&mut self) {
        let first = self.holders;
        match self.plan.mode {
            Mode::Idle | Mode::Connect | Mode::Get => {}
            Mode::Register => {
                let (files, sessions) = (self.plan.files, self.plan.sessions as u64);
                for (n, which) in (0_u64..).zip(first..self.sessions.len()) {
                    self.sessions[which].files = files * n / sessions..files * (n + 1) / sessions;
                    self.send_pages(which);
                }
            }
            Mode::Query | Mode::Flood => {
                if let Some(rate) = self.plan.rate {
                    self.pace = Some(Pace::new(rate, self.now, self.until));
                } else if self.plan.mode == Mode::Flood {
                    self.fill_link();
                } else {
                    for which in first..self.sessions.len() {
                        for _ in 0..self.plan.depth {
                            self.ask(which, self.now);
                        }
                    }
                }
            }
            Mode::Churn => {
                for which in first..self.sessions.len() {
                    self.visit(which);
                }
            }
        }
    }

    fn begin_draining(&mut self) {
        self.until = self.now + DRAIN_MAX;
        self.enter(Phase::Draining);
        self.check_drained();
    }

    fn check_drained(&mut self) {
        if self.phase != Some(Phase::Draining) {
            return;
        }
        // The last answers of a closed loop are not counted. Those of an open loop are, because
        // their requests were due in the measured time.
        let open = self.plan.rate.is_some() && matches!(self.plan.mode, Mode::Query | Mode::Flood);
        let out = !self.backlog.is_empty()
            || !self.probes.is_empty()
            || self.sessions.iter().any(|session| !session.asked.is_empty());
        if !open || !out || self.now >= self.until {
            if open && out {
                let unanswered = self.backlog.len()
                    + self.probes.len()
                    + self.sessions.iter().map(|session| session.asked.len()).sum::<usize>();
                for _ in 0..unanswered {
                    self.tally.error("unanswered");
                }
            }
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some((from, to)) = &mut self.tally.span {
            // A closed loop and idle sessions are counted for the requested time. The wait for the
            // last answers does not count.
            let timed = self.phase == Some(Phase::Draining) || self.plan.mode == Mode::Idle;
            *to = if timed { (*to).max(*from + self.plan.length) } else { self.now };
        }
        if self.plan.mode == Mode::Idle {
            self.tally.count = self.tally.sessions_up as u64;
        }
        self.end(Outcome { ok: true, ..Outcome::default() });
    }

    fn fail(&mut self, exit: Exit, why: String) {
        let why = format!("the super peer at {}: {why}", self.plan.target);
        self.end(Outcome::failed(&Failure::new(exit, why)));
    }

    fn end(&mut self, outcome: Outcome) {
        self.phase = None;
        self.over = true;
        let event = ClientEvent::Done(outcome);
        self.out.push_back(Output::Event(Box::new(Event::Client { client: CLIENT, event })));
    }

    // ---- connections ----------------------------------------------------------------------------

    fn send(&mut self, conn: ConnId, message: Message) {
        self.out.push_back(Output::Send { conn, message });
    }

    fn own(&mut self, conn: ConnId, owner: Owner) {
        let slot = conn.index as usize;
        if slot >= self.owners.len() {
            self.owners.resize(slot + 1, None);
        }
        self.owners[slot] = Some((conn.generation, owner));
    }

    fn owner(&self, conn: ConnId) -> Option<Owner> {
        let (generation, owner) = (*self.owners.get(conn.index as usize)?)?;
        (generation == conn.generation).then_some(owner)
    }

    fn on_message(&mut self, conn: ConnId, message: Message) {
        let which = match self.owner(conn) {
            Some(Owner::Session(which)) => which,
            Some(Owner::Source(which)) => return self.on_source_message(which, conn, message),
            None => return,
        };
        match message {
            Message::Done(done) => self.on_done(which, done),
            Message::Hit(hit) => self.on_hit(which, hit),
            Message::Ack(_) => self.on_ack(which),
            Message::Welcome(welcome) => {
                self.ping = Duration::from_millis(u64::from(welcome.ping.max(1000))) / PING_SHARE;
            }
            Message::Ready(_) => {
                self.sessions[which].ready = true;
                self.check_up(which);
            }
            Message::Files(files) => self.on_files(files),
            Message::Pong(_) => {}
            Message::Error(error) => self.on_error(which, &error),
            Message::Bye(_) => self.tally.error("bye"),
            Message::Hello(_)
            | Message::Login(_)
            | Message::Enrolled(_)
            | Message::Revoked(_)
            | Message::Classes(_)
            | Message::Info(_)
            | Message::Reach(_)
            | Message::Peers(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | Message::Unknown(_)
            | sent_to_super_peers!()
            | sent_to_sources!()
            | sent_by_sources!() => self.tally.error("unasked"),
        }
    }

    fn on_closed(&mut self, conn: ConnId, why: &str) {
        let owner = self.owner(conn);
        if let Some(slot) = self.owners.get_mut(conn.index as usize).filter(|_| owner.is_some()) {
            *slot = None;
        }
        match owner {
            Some(Owner::Session(which)) => {
                if self.plan.mode == Mode::Churn && which >= self.holders && why == "asked" {
                    self.on_visited(which);
                } else {
                    self.tally.error(&format!("closed_{why}"));
                    self.end_session(which, why);
                }
            }
            Some(Owner::Source(which)) if self.sessions[which].source == Some(conn) => {
                self.tally.error(&format!("source_closed_{why}"));
                self.sessions[which].source = None;
                self.leave(which);
            }
            Some(Owner::Source(_)) | None => {}
        }
    }

    fn on_visited(&mut self, which: usize) {
        if self.phase == Some(Phase::Measuring) {
            self.tally.count += 1;
            self.tally.took(self.sessions[which].begun, self.now);
        }
        self.sessions[which].conn = None;
        self.visit(which);
    }

    fn end_session(&mut self, which: usize, why: &str) {
        let session = &mut self.sessions[which];
        if matches!(session.state, State::Dialing | State::Greeting) {
            self.setups -= 1;
        } else {
            self.up = self.up.saturating_sub(1);
        }
        for _ in 0..session.asked.len() {
            self.tally.error("unanswered");
        }
        *session = Session { state: State::Gone, ..Session::default() };
        if which < self.holders {
            return self.fail(Exit::Unreachable, why.to_owned());
        }
        if self.plan.mode == Mode::Churn {
            return self.visit(which);
        }
        self.dial_more();
        self.check_setup();
        self.check_registered();
    }

    // ---- time -----------------------------------------------------------------------------------

    fn ping_due(&mut self) {
        while let Some((at, which)) = self.pings.front().copied().filter(|(at, _)| *at <= self.now) {
            self.pings.pop_front();
            if let (Some(conn), State::Up) = (self.sessions[which].conn, self.sessions[which].state) {
                self.send(conn, Message::Ping(Ping { n: 0 }));
                self.pings.push_back(((at + self.ping).max(self.now), which));
            }
        }
    }

    fn stall_at(&self) -> Option<Time> {
        let waits = match self.phase {
            Some(Phase::Filling | Phase::SettingUp) => true,
            Some(Phase::Measuring) => matches!(self.plan.mode, Mode::Connect | Mode::Register),
            Some(Phase::Draining) | None => false,
        };
        waits.then(|| self.progress + STALL_MAX)
    }

    fn ends_at(&self) -> Option<Time> {
        match self.phase {
            Some(Phase::Measuring) if matches!(self.plan.mode, Mode::Connect | Mode::Register) => None,
            Some(Phase::Measuring | Phase::Draining) => Some(self.until),
            Some(Phase::Filling | Phase::SettingUp) | None => None,
        }
    }

    /// When the rate is sampled next. In the mode idle there are no samples.
    fn looks_at(&self) -> Option<Time> {
        let counts = self.phase == Some(Phase::Measuring) && self.plan.mode != Mode::Idle;
        counts.then(|| self.measured_from + self.tally.looks_at())
    }

    fn shut_down(&mut self) {
        self.over = true;
        self.phase = None;
        for which in 0..self.sessions.len() {
            if let Some(conn) = self.sessions[which].source.take() {
                self.out.push_back(Output::Close { conn });
            }
            if let Some(conn) = self.sessions[which].conn.take() {
                self.out.push_back(Output::Close { conn });
            }
        }
    }
}

impl Role for Load {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        if self.over {
            self.out.extend(input.given_back());
            if matches!(input, Input::Shutdown) {
                self.shut_down();
            }
            return;
        }
        match input {
            Input::Dialed { dial, conn, .. } => self.on_dialed(dial, conn),
            Input::DialFailed { dial, why, .. } => {
                log::debug!("{why}");
                self.on_dial_failed(dial);
            }
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, error } => {
                self.tally.error(error.reason());
                self.out.push_back(Output::Close { conn });
            }
            Input::Datagram { from, bytes, .. } => self.on_datagram(from, bytes),
            Input::PayloadReceived { conn, payload, digests, .. } => self.on_payload(conn, payload, &digests),
            Input::Closed { conn, why } => self.on_closed(conn, why.word()),
            Input::Accepted { conn, .. } => self.out.push_back(Output::Close { conn }),
            Input::PayloadProgress { .. }
            | Input::PayloadSent { .. }
            | Input::Backlogged { .. }
            | Input::Drained { .. }
            | Input::Crowded { .. }
            | Input::Memory { .. }
            | Input::Unanswered { .. }
            | Input::Undelivered { .. }
            | Input::Resolved { .. }
            | Input::Disk(_)
            | Input::AccountsSaved { .. }
            | Input::Command { .. }
            | Input::Settings(_)
            | Input::ClientGone { .. } => {}
            Input::Shutdown => self.shut_down(),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.over {
            return;
        }
        if self.phase.is_none() {
            return self.start();
        }
        self.ping_due();
        self.keep_pace();
        if let Some(neighbor) = &mut self.neighbor {
            self.out.extend(neighbor.greet(now));
            self.sweep_probes();
        }
        if self.stall_at().is_some_and(|at| at <= now) {
            let unlinked = self.neighbor.as_ref().is_some_and(|neighbor| !neighbor.is_up());
            let hint = if unlinked { "; does it name this end as --neighbor?" } else { "" };
            return self.fail(Exit::TimedOut, format!("nothing has come for {} s{hint}", STALL_MAX.as_secs()));
        }
        if self.looks_at().is_some_and(|at| at <= now) {
            self.tally.look(now.since(self.measured_from));
        }
        if self.ends_at().is_some_and(|at| at <= now) {
            match self.phase {
                Some(Phase::Measuring) if self.plan.mode == Mode::Idle => self.finish(),
                Some(Phase::Measuring) => self.begin_draining(),
                Some(Phase::Draining) => self.check_drained(),
                Some(Phase::Filling | Phase::SettingUp) | None => {}
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.over {
            return None;
        }
        if self.phase.is_none() {
            return Some(Time::ZERO);
        }
        let ping = self.pings.front().map(|(at, _)| *at);
        let pace = self.pace.as_ref().and_then(Pace::next).map(|at| at - SPIN);
        let link = self.neighbor.as_ref().map(|neighbor| neighbor.greet_at.min(self.probes_swept + LINK_PATIENCE / 4));
        [self.stall_at(), self.ends_at(), self.looks_at(), ping, pace, link].into_iter().flatten().min()
    }
}
