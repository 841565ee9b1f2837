//! Peers that log in and leave, at a fixed rate, whatever the answers do.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;
use sprat::config::FRAME_BYTES_OPEN;
use sprat::proto::{ConnId, DialId, Input, Output, Role};
use sprat::time::Time;
use sprat::wire::message::Bye;
use sprat::wire::{HostPort, Message};

use crate::members::Member;
use crate::{figures, histogram, say};

/// Peers that visit, one after the other.
pub(crate) const MEMBERS: usize = 1000;
/// A login that takes longer has failed: the super peer allows this time too.
const LOGIN_MAX: Duration = Duration::from_secs(5);

struct Visit {
    due: Time,
    conn: Option<ConnId>,
}

pub(crate) struct Visits {
    members: Vec<Member>,
    target: HostPort,
    rate: u64,
    count: u64,
    /// When the first visit was due.
    begun: Option<Time>,
    next: u64,
    /// The visits that have begun and not logged in, by their number.
    running: BTreeMap<u64, Visit>,
    owners: HashMap<ConnId, u64>,
    times: Histogram<u64>,
    failed: BTreeMap<String, u64>,
    out: VecDeque<Output>,
    now: Time,
}

impl Visits {
    pub(crate) fn new(members: Vec<Member>, target: HostPort, rate: usize, seconds: usize) -> Visits {
        Visits {
            members,
            target,
            rate: rate as u64,
            count: (rate * seconds) as u64,
            begun: None,
            next: 0,
            running: BTreeMap::new(),
            owners: HashMap::new(),
            times: histogram(),
            failed: BTreeMap::new(),
            out: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    fn due(&self, visit: u64) -> Time {
        self.begun.unwrap_or_default() + Duration::from_micros(visit * 1_000_000 / self.rate)
    }

    fn begin_due(&mut self) {
        while self.next < self.count && self.due(self.next) <= self.now {
            let visit = self.next;
            self.next += 1;
            self.running.insert(visit, Visit { due: self.due(visit), conn: None });
            self.out.push_back(Output::Dial { dial: DialId(visit), to: self.target.clone(), key: None });
        }
    }

    fn on_dialed(&mut self, visit: u64, conn: ConnId) {
        let Some(running) = self.running.get_mut(&visit) else {
            return self.out.push_back(Output::Close { conn });
        };
        running.conn = Some(conn);
        self.owners.insert(conn, visit);
        self.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        let member = &self.members[visit as usize % self.members.len()];
        self.out.extend(member.greeting().map(|message| Output::Send { conn, message }));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a login is answered by WELCOME, READY or ERROR")]
    fn on_message(&mut self, conn: ConnId, message: Message) {
        let Some(visit) = self.owners.get(&conn).copied() else { return };
        match message {
            Message::Ready(_) => {
                if let Some(Visit { due, .. }) = self.running.remove(&visit) {
                    self.times.saturating_record(self.now.since(due).as_micros() as u64);
                    self.out.push_back(Output::Send { conn, message: Message::Bye(Bye { why: "that is all".into() }) });
                    self.out.push_back(Output::Close { conn });
                }
            }
            Message::Error(error) => self.fail(visit, &format!("ERROR {}", error.code.0)),
            _ => {}
        }
    }

    /// A visit that has not logged in never will.
    fn fail(&mut self, visit: u64, why: &str) {
        if let Some(running) = self.running.remove(&visit) {
            *self.failed.entry(why.to_owned()).or_default() += 1;
            self.out.extend(running.conn.map(|conn| Output::Close { conn }));
        }
    }

    fn end(&self) {
        let logins = figures(&self.times);
        say("done", json!({ "visits": self.count, "logins": logins, "failed": self.failed }));
        std::process::exit(0);
    }
}

impl Role for Visits {
    #[expect(clippy::wildcard_enum_match_arm, reason = "`leave` has all others")]
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Dialed { dial, conn, .. } => self.on_dialed(dial.0, conn),
            Input::DialFailed { dial, why, .. } => self.fail(dial.0, &why),
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, .. } | Input::Closed { conn, .. } => {
                if let Some(visit) = self.owners.remove(&conn) {
                    self.fail(visit, "closed before READY");
                }
            }
            Input::Shutdown => std::process::exit(1),
            unused => self.out.extend(unused.given_back()),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.begun.get_or_insert(now);
        self.begin_due();
        // They are in the order in which they were due.
        while let Some((visit, _)) = self.running.first_key_value().filter(|(_, first)| first.due + LOGIN_MAX <= now) {
            self.fail(*visit, "not within 5 s");
        }
        if self.next == self.count && self.running.is_empty() {
            self.end();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.begun.is_none() || self.next == self.count && self.running.is_empty() {
            return Some(Time::ZERO);
        }
        let overdue = self.running.first_key_value().map(|(_, first)| first.due + LOGIN_MAX);
        let next = (self.next < self.count).then(|| self.due(self.next));
        [overdue, next].into_iter().flatten().min()
    }
}
