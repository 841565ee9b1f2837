//! The machine: brings its sessions up, makes them ask what the mode says, and counts what comes back.
//!
//! - getters: [`Load::tally`];
//! - `handle_*`, `poll_*`: those of [`Role`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::neighbor::Neighbor;
use super::pace::Pace;
use super::session::{Session, State, Wanted};
use super::tally::Tally;
use super::{BACKLOG_MAX, CLIENT, DRAIN_MAX, FILES_PER_HOLDER, Mode, NAMES_MAX, Phase, Plan, SETUPS_MAX, STALL_MAX, names};
use crate::config::{CHUNK_BYTES_MAX, FRAME_BYTES_OPEN, PATTERN_BYTES_MAX, PROTOCOL_VERSION, SESSION_QUERIES_MAX};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::{
    ClientEvent, ConnId, DialId, Digests, DiskWork, Entropy, Event, HashPlan, Input, Output, PayloadId, Role, Verify,
};
use crate::time::Time;
use crate::wire::message::{Bye, Chunk, Done, Files, Get, Hello, Hit, List, Login, Ping, Query};
use crate::wire::{LinkMessage, Message, NodeId, QueryId, QueryKind, Search, link};

/// A session says PING a little more often than it must.
const PING_SHARE: u32 = 2;
/// A request at a fixed rate is waited for awake over this time, for the poll's timeout counts milliseconds only.
const SPIN: Duration = Duration::from_micros(1200);
/// Queries of the flood without an answer are counted and given up after this time.
const LINK_PATIENCE: Duration = Duration::from_millis(500);

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Session(usize),
    /// Churn: the source that this session downloads from.
    Source(usize),
}

/// See the module's words.
pub struct Load {
    plan: Plan,
    node: NodeId,
    boot: u64,
    random: u64,
    now: Time,
    out: VecDeque<Output>,
    /// None before the start and after the end.
    phase: Option<Phase>,
    over: bool,
    /// Those that fill the index first, then those that make the load.
    sessions: Vec<Session>,
    holders: usize,
    /// The next one to be dialled in this phase, and how many are on their way.
    next_dial: usize,
    setups: usize,
    up: usize,
    /// By the driver's slot, with its generation.
    owners: Vec<Option<(u32, Owner)>>,
    ping: Duration,
    /// Sessions in the order in which they say PING.
    pings: VecDeque<(Time, usize)>,
    names: Vec<String>,
    /// The index held something before we came.
    listed_any: bool,
    filled: bool,
    pace: Option<Pace>,
    backlog: VecDeque<Time>,
    cursor: usize,
    neighbor: Option<Neighbor>,
    /// Flood: queries that are out.
    probes: BTreeMap<QueryId, Time>,
    probes_swept: Time,
    /// Visits begun: numbers the files of each.
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
        let holders = holders(&plan);
        let mut sessions: Vec<Session> = (0..holders + plan.sessions).map(|_| Session::new()).collect();
        for (n, session) in (0_u64..).zip(&mut sessions[holders..]) {
            session.files = match plan.mode {
                Mode::Idle | Mode::Connect => n * plan.files..(n + 1) * plan.files,
                // Those of a register load begin when it is measured.
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

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    // ---- phases --------------------------------------------------------------------------------------------------

    fn enter(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.progress = self.now;
        let event = ClientEvent::Note { message: phase.word().into() };
        self.out.push_back(Output::Event(Event::Client { client: CLIENT, event }));
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

    /// The set-up is over once nobody is on the way any more and, for the flood, the link is up.
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
        self.tally.sessions_up = self.up;
        if self.up == 0 && self.plan.sessions > 0 {
            let why = self.tally.errors().keys().next().cloned().unwrap_or_default();
            return self.fail(Exit::Unreachable, format!("no session came about ({why})"));
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
        // A closed loop's last answers are not counted; an open loop's belong to what was meant to be sent.
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
            // A closed loop and a hold are counted for the time that was asked for, whatever waited behind its end.
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
        self.out.push_back(Output::Event(Event::Client { client: CLIENT, event }));
    }

    // ---- setting up ----------------------------------------------------------------------------------------------

    fn dial_more(&mut self) {
        let end = match self.phase {
            Some(Phase::Filling) => self.holders,
            Some(Phase::SettingUp | Phase::Measuring) => self.sessions.len(),
            Some(Phase::Draining) | None => 0,
        };
        // Churners dial themselves once it is measured.
        if self.plan.mode == Mode::Churn && self.phase != Some(Phase::Filling) {
            self.next_dial = self.sessions.len();
            self.up = self.up.max(1);
            return;
        }
        while self.next_dial < end && self.setups < SETUPS_MAX {
            let which = self.next_dial;
            self.next_dial += 1;
            self.dial(which);
        }
    }

    fn dial(&mut self, which: usize) {
        self.setups += 1;
        let session = &mut self.sessions[which];
        session.state = State::Dialing;
        session.begun = self.now;
        self.out.push_back(Output::Dial { dial: DialId(which as u64 * 2), to: self.plan.target.clone() });
    }

    fn on_dialed(&mut self, dial: DialId, conn: ConnId) {
        let which = usize::try_from(dial.0 / 2).expect("a number of ours");
        self.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        if dial.0 % 2 == 1 {
            return self.on_source_dialed(which, conn);
        }
        self.own(conn, Owner::Session(which));
        let session = &mut self.sessions[which];
        session.state = State::Greeting;
        session.conn = Some(conn);
        self.say_hello(conn);
        let login = Login { mode: "open".into(), user: None, proof: None };
        self.send(conn, Message::Login(login));
        self.send_pages(which);
    }

    fn say_hello(&mut self, conn: ConnId) {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            node: self.node,
            boot: self.boot,
            features: Vec::new(),
            agent: self.plan.agent.clone(),
        };
        self.send(conn, Message::Hello(hello));
    }

    fn on_dial_failed(&mut self, dial: DialId) {
        let which = usize::try_from(dial.0 / 2).expect("a number of ours");
        if dial.0 % 2 == 1 {
            self.tally.error("source_dial");
            return self.leave(which);
        }
        self.tally.error("dial");
        self.end_session(which, "cannot be reached");
    }

    /// The session may have all that it was to have before it is of use.
    fn check_up(&mut self, which: usize) {
        let now = self.now;
        let session = &mut self.sessions[which];
        if session.state != State::Greeting || !session.ready || !session.is_supplied() {
            return;
        }
        session.state = State::Up;
        let begun = session.begun;
        self.setups -= 1;
        self.progress = now;
        if which < self.holders {
            self.next_holder(which);
            return;
        }
        if self.plan.mode == Mode::Churn {
            return self.ask(which, now);
        }
        self.up += 1;
        self.pings.push_back((now + self.ping, which));
        if matches!(self.plan.mode, Mode::Idle | Mode::Connect) {
            self.tally.took(begun, now);
        }
        if self.plan.mode == Mode::Connect {
            self.tally.count += 1;
        }
        self.dial_more();
        self.check_setup();
    }

    // ---- filling the index ---------------------------------------------------------------------------------------

    fn next_holder(&mut self, which: usize) {
        self.pings.push_back((self.now + self.ping, which));
        if self.filled || which > 0 {
            self.check_filled();
        } else {
            self.list(None);
        }
    }

    fn list(&mut self, after: Option<u64>) {
        if let Some(conn) = self.sessions[0].conn {
            self.send(conn, Message::List(List { req: 1, after }));
        }
    }

    fn on_files(&mut self, files: Files) {
        if self.phase != Some(Phase::Filling) {
            return;
        }
        self.progress = self.now;
        self.listed_any |= !files.files.is_empty();
        let ours = self.filled || !self.plan.fill;
        if ours {
            let names = files.files.iter().map(|file| file.path.name());
            let room = NAMES_MAX - self.names.len();
            self.names.extend(names.filter(|name| name.len() <= PATTERN_BYTES_MAX).take(room).map(str::to_owned));
            if let Some(next) = files.next.filter(|_| self.names.len() < NAMES_MAX) {
                return self.list(Some(next));
            }
        }
        if !self.filled && self.plan.mode != Mode::Churn && (self.plan.fill || !self.listed_any) {
            self.fill();
        } else {
            self.begin_setup();
        }
    }

    /// Shares the files out among the holders, who then come one after the other.
    fn fill(&mut self) {
        self.filled = true;
        self.names.clear();
        let (files, holders) = (self.plan.files, self.holders as u64);
        for (n, which) in (0_u64..).zip(0..self.holders) {
            self.sessions[which].files = files * n / holders..files * (n + 1) / holders;
            self.send_pages(which);
        }
        self.check_filled();
    }

    fn check_filled(&mut self) {
        let supplied = |session: &Session| session.state == State::Up && session.is_supplied();
        if self.filled && self.phase == Some(Phase::Filling) && self.sessions[..self.holders].iter().all(supplied) {
            if self.plan.files == 0 {
                return self.begin_setup();
            }
            self.list(None);
        }
    }

    fn send_pages(&mut self, which: usize) {
        let Some(conn) = self.sessions[which].conn else { return };
        while let Some(page) = self.sessions[which].next_page(self.now) {
            self.send(conn, page);
        }
    }

    fn on_ack(&mut self, which: usize) {
        let Some((files, sent)) = self.sessions[which].pages.pop_front() else {
            return self.tally.error("unasked");
        };
        self.progress = self.now;
        self.send_pages(which);
        if self.sessions[which].state == State::Greeting {
            return self.check_up(which);
        }
        if which < self.holders {
            return self.check_filled();
        }
        if self.plan.mode == Mode::Register && self.phase == Some(Phase::Measuring) {
            self.tally.count += files;
            self.tally.took(sent, self.now);
            self.check_registered();
        }
    }

    fn check_registered(&mut self) {
        let measuring = self.plan.mode == Mode::Register && self.phase == Some(Phase::Measuring);
        if measuring && self.sessions.iter().all(Session::is_supplied) {
            self.finish();
        }
    }

    // ---- asking --------------------------------------------------------------------------------------------------

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        names::mix(self.random)
    }

    fn search(&mut self) -> Search {
        let draw = self.draw();
        let pattern = match self.names.len() {
            0 => names::name(draw % FILES_PER_HOLDER),
            count => self.names[usize::try_from(draw % count as u64).expect("less than a count")].clone(),
        };
        Search { pattern, kind: QueryKind::Exact, min: None, max: None, limit: None }
    }

    fn ask(&mut self, which: usize, meant: Time) {
        let Some(conn) = self.sessions[which].conn else { return };
        let find = self.search();
        let req = self.sessions[which].ask(meant);
        self.send(conn, Message::Query(Query { req, find, ttl: None, budget: None }));
    }

    fn on_hit(&mut self, which: usize, hit: Hit) {
        if self.plan.mode != Mode::Churn || self.sessions[which].wanted.is_some() {
            return;
        }
        // Nobody serves anything at the port that the bench itself tells.
        if let Some(found) = hit.hits.into_iter().find(|found| found.addr.port() != names::PORT && found.size > 0) {
            let wanted = Wanted { root: found.root, size: found.size, from: found.addr };
            self.sessions[which].wanted = Some(Box::new(wanted));
        }
    }

    fn on_done(&mut self, which: usize, done: Done) {
        let Some(meant) = self.sessions[which].answered(done.req) else {
            return self.tally.error("unasked");
        };
        if self.plan.mode == Mode::Churn {
            self.tally.hits += u64::from(done.hits);
            return self.fetch_or_leave(which);
        }
        let measuring = self.phase == Some(Phase::Measuring);
        if measuring || self.plan.rate.is_some() {
            self.note_answer(meant, done.hits);
            if !done.complete {
                self.tally.error("incomplete");
            }
        }
        self.go_on(which);
    }

    fn note_answer(&mut self, meant: Time, hits: u32) {
        self.tally.count += 1;
        self.tally.hits += u64::from(hits);
        self.tally.took(meant, self.now);
        if let Some((_, to)) = &mut self.tally.span {
            *to = (*to).max(self.now);
        }
    }

    /// A place is free: the next request that waits for one, or that a closed loop makes at once.
    fn go_on(&mut self, which: usize) {
        if let Some(meant) = self.backlog.pop_front() {
            return self.ask(which, meant);
        }
        if self.plan.rate.is_none() && self.phase == Some(Phase::Measuring) {
            self.ask(which, self.now);
        }
        self.check_drained();
    }

    fn on_error(&mut self, which: usize, error: &crate::wire::message::Error) {
        self.tally.error(&format!("error_{}", error.code.0));
        if let Some(req) = error.req
            && self.sessions[which].answered(req).is_some()
        {
            if self.plan.mode == Mode::Churn { self.leave(which) } else { self.go_on(which) }
        }
    }

    /// Sends what is meant to be sent by now.
    fn keep_pace(&mut self) {
        let places = if self.plan.depth > 1 { self.plan.depth } else { SESSION_QUERIES_MAX };
        while let Some(meant) = self.pace.as_mut().and_then(|pace| pace.take(self.now)) {
            if self.now.since(meant) > Tally::LATE {
                self.tally.late += 1;
            }
            if self.plan.mode == Mode::Flood {
                self.probe(meant);
                continue;
            }
            match self.free_session(places) {
                Some(which) => self.ask(which, meant),
                None if self.backlog.len() < BACKLOG_MAX => self.backlog.push_back(meant),
                None => self.tally.error("overrun"),
            }
        }
    }

    /// The next session in turn, if it has a place free or one of a few behind it has.
    fn free_session(&mut self, places: usize) -> Option<usize> {
        let count = self.sessions.len() - self.holders;
        for _ in 0..count.min(16) {
            self.cursor = (self.cursor + 1) % count;
            let session = &self.sessions[self.holders + self.cursor];
            if session.state == State::Up && session.asked.len() < places {
                return Some(self.holders + self.cursor);
            }
        }
        None
    }

    // ---- churn ---------------------------------------------------------------------------------------------------

    fn visit(&mut self, which: usize) {
        if self.phase != Some(Phase::Measuring) {
            return;
        }
        let first = self.visits * self.plan.files;
        self.visits += 1;
        let files = first..first + self.plan.files;
        self.sessions[which] = Session { files, ..Session::new() };
        self.dial(which);
    }

    fn fetch_or_leave(&mut self, which: usize) {
        match &self.sessions[which].wanted {
            Some(wanted) => {
                let to = wanted.from.clone();
                self.out.push_back(Output::Dial { dial: DialId(which as u64 * 2 + 1), to });
            }
            None => self.leave(which),
        }
    }

    fn on_source_dialed(&mut self, which: usize, conn: ConnId) {
        let session = &mut self.sessions[which];
        let (Some(wanted), State::Up, None) = (&session.wanted, session.state, session.source) else {
            return self.out.push_back(Output::Close { conn });
        };
        let length = u32::try_from(wanted.size).unwrap_or(u32::MAX).min(CHUNK_BYTES_MAX);
        let get = Get { req: 1, root: wanted.root, offset: 0, length };
        session.source = Some(conn);
        self.own(conn, Owner::Source(which));
        self.say_hello(conn);
        self.send(conn, Message::Get(get));
    }

    fn on_source_message(&mut self, which: usize, conn: ConnId, message: Message) {
        match message {
            Message::Chunk(Chunk { req, length, .. }) => {
                let whole = self.sessions[which].wanted.as_ref().is_some_and(|wanted| wanted.size == u64::from(length));
                let plan = if whole { HashPlan::Content } else { HashPlan::Piece { offset: 0 } };
                self.out.push_back(Output::ReceivePayload { conn, req, length, plan, verify: Verify::Both });
            }
            Message::Error(error) => {
                self.tally.error(&format!("source_error_{}", error.code.0));
                self.leave(which);
            }
            Message::Welcome(_) => {}
            other => self.tally.error(&format!("source_{}", other.kind().to_lowercase())),
        }
    }

    fn on_payload(&mut self, conn: ConnId, payload: PayloadId, digests: &Digests) {
        self.out.push_back(Output::Disk(DiskWork::DropPayload { payload }));
        let Some(Owner::Source(which)) = self.owner(conn) else { return };
        let wanted = self.sessions[which].wanted.as_ref();
        let one_piece = wanted.is_some_and(|wanted| wanted.size <= u64::from(CHUNK_BYTES_MAX));
        let right = digests.blake3 == wanted.map(|wanted| wanted.root.0);
        if one_piece && !right {
            self.tally.error("integrity");
        }
        self.leave(which);
    }

    /// The visit ends.
    fn leave(&mut self, which: usize) {
        if let Some(conn) = self.sessions[which].source.take() {
            self.out.push_back(Output::Close { conn });
        }
        if let Some(conn) = self.sessions[which].conn {
            self.send(conn, Message::Bye(Bye { why: "the visit is over".into() }));
            self.out.push_back(Output::Close { conn });
        }
    }

    // ---- flood ---------------------------------------------------------------------------------------------------

    fn fill_link(&mut self) {
        while self.probes.len() < self.plan.depth && self.phase == Some(Phase::Measuring) {
            self.probe(self.now);
        }
    }

    fn probe(&mut self, meant: Time) {
        let mut id = [0; QueryId::LEN];
        id[..8].copy_from_slice(&self.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.draw().to_be_bytes());
        let (id, find) = (QueryId(id), self.search());
        if let Some(neighbor) = &self.neighbor {
            self.out.push_back(neighbor.query(id, find));
            self.tally.messages += 1;
            self.probes.insert(id, meant);
        }
    }

    fn on_datagram(&mut self, from: std::net::SocketAddr, bytes: &[u8]) {
        if self.neighbor.as_ref().is_none_or(|neighbor| neighbor.to != from) {
            return self.tally.error("unasked");
        }
        let Ok((_, messages)) = link::decode(bytes) else {
            return self.tally.error("malformed");
        };
        for message in messages {
            self.on_link_message(message);
        }
        if self.plan.rate.is_none() {
            self.fill_link();
        }
        self.check_setup();
        self.check_drained();
    }

    fn on_link_message(&mut self, message: LinkMessage) {
        let counts = self.phase == Some(Phase::Measuring) || self.plan.rate.is_some();
        match message {
            LinkMessage::Hello(hello) => {
                let neighbor = self.neighbor.as_mut().expect("datagrams come from the neighbour only");
                self.out.extend(neighbor.on_hello(self.now, hello, &mut self.tally));
            }
            LinkMessage::Hit(_) => self.tally.messages += u64::from(counts),
            LinkMessage::Done(done) => {
                self.tally.messages += u64::from(counts);
                let Some(meant) = self.probes.remove(&done.id) else {
                    return self.tally.error("unasked");
                };
                if done.cut.shed > 0 {
                    self.tally.error("shed");
                } else if counts {
                    self.note_answer(meant, done.hits);
                }
            }
            LinkMessage::Pending(_) | LinkMessage::Query(_) | LinkMessage::Cancel(_) | LinkMessage::Unknown(_) => {}
        }
    }

    /// Datagrams get lost; a lost one must not keep its place for ever.
    fn sweep_probes(&mut self) {
        if self.now < self.probes_swept + LINK_PATIENCE / 4 {
            return;
        }
        self.probes_swept = self.now;
        let (now, before) = (self.now, self.probes.len());
        self.probes.retain(|_, meant| now.since(*meant) < LINK_PATIENCE);
        for _ in self.probes.len()..before {
            self.tally.error("lost");
        }
        if self.plan.rate.is_none() {
            self.fill_link();
        }
    }

    // ---- connections ---------------------------------------------------------------------------------------------

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
            | Message::Register(_)
            | Message::Update(_)
            | Message::Query(_)
            | Message::List(_)
            | Message::Status(_)
            | Message::Info(_)
            | Message::Ping(_)
            | Message::Get(_)
            | Message::Chunk(_)
            | Message::Manifest(_)
            | Message::Cvs(_)
            | Message::Cancel(_)
            | Message::Unknown(_) => self.tally.error("unasked"),
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
        *session = Session { state: State::Gone, ..Session::new() };
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

    // ---- time ----------------------------------------------------------------------------------------------------

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

/// Sessions that hold the files which others ask for.
fn holders(plan: &Plan) -> usize {
    match plan.mode {
        Mode::Query | Mode::Flood => usize::try_from(plan.files.div_ceil(FILES_PER_HOLDER)).unwrap_or(1).max(1),
        Mode::Churn => 1,
        Mode::Idle | Mode::Connect | Mode::Register | Mode::Get => 0,
    }
}

impl Role for Load {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        if self.over {
            match input {
                Input::Dialed { conn, .. } => self.out.push_back(Output::Close { conn }),
                Input::PayloadReceived { payload, .. } => {
                    self.out.push_back(Output::Disk(DiskWork::DropPayload { payload }));
                }
                Input::Shutdown => self.shut_down(),
                Input::Accepted { .. }
                | Input::DialFailed { .. }
                | Input::Message { .. }
                | Input::Malformed { .. }
                | Input::Datagram { .. }
                | Input::PayloadProgress { .. }
                | Input::PayloadSent { .. }
                | Input::Closed { .. }
                | Input::Disk(_)
                | Input::Command { .. }
                | Input::ClientGone { .. } => {}
            }
            return;
        }
        match input {
            Input::Dialed { dial, conn } => self.on_dialed(dial, conn),
            Input::DialFailed { dial, why } => {
                log::debug!("{why}");
                self.on_dial_failed(dial);
            }
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, error } => {
                self.tally.error(error.reason());
                self.out.push_back(Output::Close { conn });
            }
            Input::Datagram { from, bytes } => self.on_datagram(from, bytes),
            Input::PayloadReceived { conn, payload, digests, .. } => self.on_payload(conn, payload, &digests),
            Input::Closed { conn, why } => self.on_closed(conn, why.word()),
            Input::Accepted { conn, .. } => self.out.push_back(Output::Close { conn }),
            Input::PayloadProgress { .. }
            | Input::PayloadSent { .. }
            | Input::Disk(_)
            | Input::Command { .. }
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
            return self.fail(Exit::TimedOut, format!("nothing has come for {} s", STALL_MAX.as_secs()));
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
        [self.stall_at(), self.ends_at(), ping, pace, link].into_iter().flatten().min()
    }
}
