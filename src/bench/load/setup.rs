//! Sets up sessions, and fills the index with the files that they will search.

use super::{Load, Owner};
use crate::bench::plan::{Mode, NAMES_MAX, Phase, SETUPS_MAX};
use crate::bench::session::{Session, State};
use crate::config::{FRAME_BYTES_OPEN, PATTERN_BYTES_MAX};
use crate::proto::{ConnId, DialId, Output};
use crate::wire::Message;
use crate::wire::message::{Files, Hello, List, Login};

impl Load {
    pub(super) fn dial_more(&mut self) {
        let end = match self.phase {
            Some(Phase::Filling) => self.holders,
            Some(Phase::SettingUp | Phase::Measuring) => self.sessions.len(),
            Some(Phase::Draining) | None => 0,
        };
        // The sessions of a churn dial on their own once the measurement begins.
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

    pub(super) fn dial(&mut self, which: usize) {
        self.setups += 1;
        let session = &mut self.sessions[which];
        session.state = State::Dialing;
        session.begun = self.now;
        self.out.push_back(Output::Dial { dial: DialId(which as u64), to: self.plan.target.clone(), key: None });
    }

    pub(super) fn on_dialed(&mut self, dial: DialId, conn: ConnId) {
        let (which, is_source) = self.dialed(dial);
        self.out.push_back(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        if is_source {
            return self.on_source_dialed(which, conn);
        }
        self.own(conn, Owner::Session(which));
        let session = &mut self.sessions[which];
        session.state = State::Greeting;
        session.conn = Some(conn);
        self.say_hello(which, conn);
        let login = self.plan.logins.get(which);
        let login = login.map_or(Login::open(), |login| Login::with_credential(login.credential.clone()));
        self.send(conn, Message::Login(login));
        self.send_pages(which);
    }

    pub(super) fn say_hello(&mut self, which: usize, conn: ConnId) {
        let node = self.plan.logins.get(which).map_or(self.node, |login| login.node);
        self.send(conn, Message::Hello(Hello::new(node, self.boot, self.plan.agent.clone())));
    }

    /// The number of the dial from a session to its source.
    pub(super) fn source_dial(&self, which: usize) -> DialId {
        DialId((self.sessions.len() + which) as u64)
    }

    /// The session of a dial, and whether it is the dial to its source.
    fn dialed(&self, dial: DialId) -> (usize, bool) {
        let number = usize::try_from(dial.0).expect("a number of ours");
        (number % self.sessions.len(), number >= self.sessions.len())
    }

    pub(super) fn on_dial_failed(&mut self, dial: DialId) {
        let (which, is_source) = self.dialed(dial);
        if is_source {
            self.tally.error("source_dial");
            return self.leave(which);
        }
        self.tally.error("dial");
        self.end_session(which, "cannot be reached; is `sprat super` running there?");
    }

    /// Checks whether the set-up of the session is complete.
    pub(super) fn check_up(&mut self, which: usize) {
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

    pub(super) fn next_holder(&mut self, which: usize) {
        self.pings.push_back((self.now + self.ping, which));
        if self.filled || which > 0 {
            self.check_filled();
        } else {
            self.list(None);
        }
    }

    pub(super) fn list(&mut self, after: Option<u64>) {
        if let Some(conn) = self.sessions[0].conn {
            self.send(conn, Message::List(List { req: 1, after, partial: false }));
        }
    }

    pub(super) fn on_files(&mut self, files: Files) {
        if self.phase != Some(Phase::Filling) {
            return;
        }
        self.progress = self.now;
        self.listed_any |= !files.files.is_empty();
        // Visitors request files that other sessions hold.
        let fills = self.plan.fill && self.plan.mode != Mode::Churn;
        if self.filled || !fills {
            let names = files.files.iter().map(|file| file.path.name());
            let room = NAMES_MAX - self.names.len();
            self.names.extend(names.filter(|name| name.len() <= PATTERN_BYTES_MAX).take(room).map(str::to_owned));
            if let Some(next) = files.next.filter(|_| self.names.len() < NAMES_MAX) {
                return self.list(Some(next));
            }
        }
        if !self.filled && self.plan.mode != Mode::Churn && (fills || !self.listed_any) {
            self.fill();
        } else {
            self.begin_setup();
        }
    }

    /// Divides the files among the holders. They register them one after the other.
    pub(super) fn fill(&mut self) {
        self.filled = true;
        self.names.clear();
        let (files, holders) = (self.plan.files, self.holders as u64);
        for (n, which) in (0_u64..).zip(0..self.holders) {
            self.sessions[which].files = files * n / holders..files * (n + 1) / holders;
            self.send_pages(which);
        }
        self.check_filled();
    }

    pub(super) fn check_filled(&mut self) {
        let supplied = |session: &Session| session.state == State::Up && session.is_supplied();
        if self.filled && self.phase == Some(Phase::Filling) && self.sessions[..self.holders].iter().all(supplied) {
            if self.plan.files == 0 {
                return self.begin_setup();
            }
            self.list(None);
        }
    }

    pub(super) fn send_pages(&mut self, which: usize) {
        let Some(conn) = self.sessions[which].conn else { return };
        while let Some(page) = self.sessions[which].next_page(self.now) {
            self.send(conn, page);
        }
    }

    pub(super) fn on_ack(&mut self, which: usize) {
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

    pub(super) fn check_registered(&mut self) {
        let measuring = self.plan.mode == Mode::Register && self.phase == Some(Phase::Measuring);
        if measuring && self.sessions.iter().all(Session::is_supplied) {
            self.finish();
        }
    }
}
