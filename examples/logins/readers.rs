//! Sessions that search. Session 0 registers files. The next UNREAD sessions search for a word once
//! a second, and get many hits. All others together search for names, PER_SECOND in a second; each
//! gets one hit, and the times of these answers are counted. After SECONDS the UNREAD sessions stop
//! reading, although they send their searches as before. SECONDS later the figures are printed. The
//! sessions stay until the program is killed, so that the state of the super peer can be read
//! first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;
use sprat::config::{FRAME_BYTES_OPEN, UPDATES_IN_FLIGHT_MAX};
use sprat::proto::{ConnId, DialId, Input, Output, Role};
use sprat::time::Time;
use sprat::wire::message::{Ping, Query, Register};
use sprat::wire::{FileRecord, HostPort, Message, QueryKind, Root, Search, SharePath};

use crate::members::Member;
use crate::{figures, histogram, say};

/// Most sessions that are set up at once.
const SETUPS_MAX: usize = 128;
const FILES: usize = 20_000;
const PAGE_FILES: usize = 500;
/// Words that are searched for. Each is in the names of this many files.
const WORDS: usize = 100;
const WORD_FILES: usize = FILES / WORDS;
/// A search without an answer after this time counts as one that fails.
const LATE: Duration = Duration::from_secs(1);
/// The 99th percentile is also printed for each part of this length: the figure of a long phase
/// does not show when the answers were late.
const PART: Duration = Duration::from_secs(5);
/// The loop polls without sleep for this time before a search is due, because the timeout of the
/// poll has a resolution of a millisecond.
const SPIN: Duration = Duration::from_micros(1200);

pub(crate) struct Plan {
    pub(crate) target: HostPort,
    pub(crate) unread: usize,
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    SettingUp,
    /// All sessions read.
    Before,
    /// Some have stopped.
    During,
    /// The figures are printed.
    Over,
}

#[derive(Default)]
struct Session {
    conn: Option<ConnId>,
    last_req: u32,
    /// Searches without an answer, each with the time at which it was due.
    asked: VecDeque<(u32, Time)>,
}

pub(crate) struct Readers {
    plan: Plan,
    members: Vec<Member>,
    sessions: Vec<Session>,
    owners: HashMap<ConnId, usize>,
    phase: Phase,
    begun: Time,
    dialed: usize,
    up: usize,
    pages_sent: usize,
    pages_acked: usize,
    /// Searches of the phase that were sent: for names, and for words.
    names: u64,
    words: u64,
    times: Histogram<u64>,
    /// The times of the present part, and the 99th percentile of each part before, in milliseconds.
    part: Histogram<u64>,
    parts: Vec<f64>,
    before: Option<serde_json::Value>,
    hits: u64,
    closed_unread: usize,
    closed_others: usize,
    errors: u64,
    out: VecDeque<Output>,
    now: Time,
}

fn name(file: usize) -> String {
    format!("word{:02} name of the file {file:05}.flac", file % WORDS)
}

impl Readers {
    pub(crate) fn new(members: Vec<Member>, plan: Plan) -> Readers {
        Readers {
            plan,
            sessions: members.iter().map(|_| Session::default()).collect(),
            members,
            owners: HashMap::new(),
            phase: Phase::SettingUp,
            begun: Time::ZERO,
            dialed: 0,
            up: 0,
            pages_sent: 0,
            pages_acked: 0,
            names: 0,
            words: 0,
            times: histogram(),
            part: histogram(),
            parts: Vec::new(),
            before: None,
            hits: 0,
            closed_unread: 0,
            closed_others: 0,
            errors: 0,
            out: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    fn send(&mut self, which: usize, message: Message) {
        if let Some(conn) = self.sessions[which].conn {
            self.out.push_back(Output::Send { conn, message });
        }
    }

    fn is_unread(&self, which: usize) -> bool {
        (1..=self.plan.unread).contains(&which)
    }

    // ---- set-up ---------------------------------------------------------------------------------

    fn dial_more(&mut self) {
        while self.dialed < self.sessions.len() && self.dialed - self.up < SETUPS_MAX {
            let dial = DialId(self.dialed as u64);
            self.dialed += 1;
            self.out.push_back(Output::Dial { dial, to: self.plan.target.clone(), key: None });
        }
    }

    fn on_dialed(&mut self, which: usize, conn: ConnId) {
        self.sessions[which].conn = Some(conn);
        self.owners.insert(conn, which);
        self.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        self.out.extend(self.members[which].greeting().map(|message| Output::Send { conn, message }));
    }

    fn register_more(&mut self) {
        while self.pages_sent * PAGE_FILES < FILES
            && self.pages_sent - self.pages_acked < UPDATES_IN_FLIGHT_MAX as usize
        {
            let first = self.pages_sent * PAGE_FILES;
            self.pages_sent += 1;
            let record = |file| {
                let name = name(file);
                let root = Root(*blake3::hash(name.as_bytes()).as_bytes());
                let path = SharePath::new(&name).expect("a short name");
                FileRecord { path, size: 1, root, collection: false }
            };
            let register = Register {
                seq: self.pages_sent as u64,
                port: 4778,
                host: None,
                more_addr: None,
                http: false,
                files: (first..first + PAGE_FILES).map(record).collect(),
                more: self.pages_sent * PAGE_FILES < FILES,
            };
            self.send(0, Message::Register(register));
        }
    }

    fn check_up(&mut self) {
        if self.phase == Phase::SettingUp && self.up == self.sessions.len() && self.pages_acked * PAGE_FILES == FILES {
            say("up", json!({ "sessions": self.up }));
            self.enter(Phase::Before);
        }
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.begun, self.names, self.words) = (phase, self.now, 0, 0);
    }

    // ---- searches -------------------------------------------------------------------------------

    /// When the search of this number is due, at this rate.
    fn due(&self, number: u64, rate: usize) -> Time {
        self.begun + Duration::from_micros(number * 1_000_000 / rate as u64)
    }

    fn end_at(&self) -> Time {
        self.begun + Duration::from_secs(self.plan.seconds as u64)
    }

    fn ask_due(&mut self) {
        if self.begun + PART * (self.parts.len() as u32 + 1) <= self.now {
            self.parts.push(figures(&self.part)["p99_ms"].as_f64().unwrap_or(0.0));
            self.part.reset();
        }
        while self.due(self.names, self.plan.rate) <= self.now {
            let number = self.names as usize;
            let due = self.due(self.names, self.plan.rate);
            self.names += 1;
            let first = self.plan.unread + 1;
            let which = first + number % (self.sessions.len() - first);
            // A step that has no common factor with the number of files.
            self.ask(which, Search::new(name(number * 7919 % FILES), QueryKind::Exact), due);
        }
        while self.due(self.words, self.plan.unread) <= self.now {
            let number = self.words as usize;
            let due = self.due(self.words, self.plan.unread);
            self.words += 1;
            if number.is_multiple_of(self.plan.unread) {
                self.send(0, Message::Ping(Ping { n: 0 }));
            }
            let which = 1 + number % self.plan.unread;
            self.ask(which, Search::new(format!("word{:02}", number % WORDS), QueryKind::Words), due);
        }
    }

    fn ask(&mut self, which: usize, find: Search, due: Time) {
        let session = &mut self.sessions[which];
        if session.conn.is_none() {
            return;
        }
        session.last_req += 1;
        let req = session.last_req;
        session.asked.push_back((req, due));
        self.send(which, Message::Query(Query { req, find, ttl: None, budget: None, policy: None }));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "sessions that only search receive a few kinds")]
    fn on_message(&mut self, conn: ConnId, message: Message) {
        let Some(which) = self.owners.get(&conn).copied() else { return };
        match message {
            Message::Ready(_) => {
                self.up += 1;
                if which == 0 {
                    self.register_more();
                }
                self.dial_more();
                self.check_up();
            }
            Message::Ack(_) => {
                self.pages_acked += 1;
                self.register_more();
                self.check_up();
            }
            Message::Hit(hit) => self.hits += hit.hits.len() as u64,
            Message::Done(done) => {
                let asked = &mut self.sessions[which].asked;
                let Some(at) = asked.iter().position(|(req, _)| *req == done.req) else { return };
                let due = asked.remove(at).map_or(self.now, |(_, due)| due);
                let expected = if self.is_unread(which) { WORD_FILES } else { 1 };
                if done.hits as usize != expected {
                    self.errors += 1;
                } else if !self.is_unread(which) {
                    let micros = self.now.since(due).as_micros() as u64;
                    self.times.saturating_record(micros);
                    self.part.saturating_record(micros);
                }
            }
            Message::Error(_) => self.errors += 1,
            _ => {}
        }
    }

    fn on_closed(&mut self, conn: ConnId) {
        let Some(which) = self.owners.remove(&conn) else { return };
        self.sessions[which].conn = None;
        if self.phase == Phase::During && self.is_unread(which) {
            self.closed_unread += 1;
        } else {
            self.closed_others += 1;
        }
        if self.phase == Phase::SettingUp {
            say("failed", json!({ "why": "a session was closed while it was set up" }));
            std::process::exit(1);
        }
    }

    // ---- phases ---------------------------------------------------------------------------------

    /// The figures of the phase that ends.
    fn taken(&mut self) -> serde_json::Value {
        let first = self.plan.unread + 1;
        let is_late = |(_, due): &&(u32, Time)| *due + LATE <= self.now;
        let late = |session: &Session| session.asked.iter().filter(is_late).count();
        let unanswered: usize = self.sessions[first..].iter().map(late).sum();
        let mut taken = figures(&self.times);
        taken["unanswered"] = json!(unanswered);
        taken["errors"] = json!(self.errors);
        taken["hits"] = json!(self.hits);
        taken["p99_ms_of_parts"] = json!(std::mem::take(&mut self.parts));
        self.part.reset();
        (self.times, self.errors, self.hits) = (histogram(), 0, 0);
        taken
    }

    fn stop_reading(&mut self) {
        self.before = Some(self.taken());
        for which in 1..=self.plan.unread {
            self.out.extend(self.sessions[which].conn.map(|conn| Output::Hold { conn, hold: true }));
        }
        say("stopped", json!({ "sessions": self.plan.unread }));
        self.enter(Phase::During);
    }

    fn end(&mut self) {
        let (before, during) = (self.before.take(), self.taken());
        let closed = json!({ "unread": self.closed_unread, "others": self.closed_others });
        say("done", json!({ "before": before, "during": during, "closed": closed }));
        self.phase = Phase::Over;
    }
}

impl Role for Readers {
    #[expect(clippy::wildcard_enum_match_arm, reason = "`leave` has all others")]
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Dialed { dial, conn, .. } => self.on_dialed(dial.0 as usize, conn),
            Input::DialFailed { why, .. } => {
                say("failed", json!({ "why": why }));
                std::process::exit(1);
            }
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, .. } | Input::Closed { conn, .. } => self.on_closed(conn),
            Input::Shutdown => std::process::exit(1),
            unused => self.out.extend(unused.given_back()),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        match self.phase {
            Phase::SettingUp => return self.dial_more(),
            Phase::Over => return,
            Phase::Before | Phase::During => self.ask_due(),
        }
        if self.end_at() <= now {
            match self.phase {
                Phase::Before => self.stop_reading(),
                Phase::SettingUp | Phase::During | Phase::Over => self.end(),
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.phase == Phase::SettingUp {
            return (self.dialed == 0).then_some(Time::ZERO);
        }
        if self.phase == Phase::Over {
            return None;
        }
        let next = self.due(self.names, self.plan.rate).min(self.due(self.words, self.plan.unread));
        Some(self.end_at().min(next - SPIN))
    }
}
