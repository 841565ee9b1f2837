//! Queries of sessions: at a fixed depth, or at a fixed rate.

use super::Load;
use crate::bench::names;
use crate::bench::plan::{BACKLOG_MAX, FILES_PER_HOLDER, Mode, Phase};
use crate::bench::session::{State, Wanted};
use crate::bench::tally::Tally;
use crate::config::SESSION_QUERIES_MAX;
use crate::time::Time;
use crate::wire::message::{Done, Error, Hit, Query};
use crate::wire::{Message, QueryKind, Search};

impl Load {
    pub(super) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        names::mix(self.random)
    }

    pub(super) fn search(&mut self) -> Search {
        let draw = self.draw();
        let pattern = match self.names.len() {
            0 => names::name(draw % FILES_PER_HOLDER),
            count => self.names[usize::try_from(draw % count as u64).expect("less than a count")].clone(),
        };
        Search::new(pattern, QueryKind::Exact)
    }

    pub(super) fn ask(&mut self, which: usize, meant: Time) {
        let Some(conn) = self.sessions[which].conn else { return };
        let find = self.search();
        let req = self.sessions[which].ask(meant);
        self.send(conn, Message::Query(Query { req, find, ttl: None, budget: None, policy: None }));
    }

    pub(super) fn on_hit(&mut self, which: usize, hit: Hit) {
        if self.plan.mode != Mode::Churn || self.sessions[which].wanted.is_some() {
            return;
        }
        // The port that the bench itself registers serves nothing, so such hits are left out.
        if let Some(found) = hit.hits.into_iter().find(|found| found.addr.port() != names::PORT && found.size > 0) {
            let wanted = Wanted { root: found.root, size: found.size, from: found.addr };
            self.sessions[which].wanted = Some(Box::new(wanted));
        }
    }

    pub(super) fn on_done(&mut self, which: usize, done: Done) {
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

    pub(super) fn note_answer(&mut self, meant: Time, hits: u32) {
        self.tally.count += 1;
        self.tally.hits += u64::from(hits);
        self.tally.took(meant, self.now);
        if let Some((_, to)) = &mut self.tally.span {
            *to = (*to).max(self.now);
        }
    }

    /// A request may be sent on this session. Sends the request that has waited longest; in a
    /// closed loop, makes a new request at once.
    pub(super) fn go_on(&mut self, which: usize) {
        if let Some(meant) = self.backlog.pop_front() {
            return self.ask(which, meant);
        }
        if self.plan.rate.is_none() && self.phase == Some(Phase::Measuring) {
            self.ask(which, self.now);
        }
        self.check_drained();
    }

    pub(super) fn on_error(&mut self, which: usize, error: &Error) {
        self.tally.error(&format!("error_{}", error.code.0));
        if let Some(req) = error.req
            && self.sessions[which].answered(req).is_some()
        {
            if self.plan.mode == Mode::Churn { self.leave(which) } else { self.go_on(which) }
        }
    }

    /// Sends the requests that are due.
    pub(super) fn keep_pace(&mut self) {
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

    /// The next session in turn that may send a request, among the first few.
    pub(super) fn free_session(&mut self, places: usize) -> Option<usize> {
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
}
