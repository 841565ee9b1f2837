//! The lines of the control socket: commands go to the machine, and those that ask for the events
//! of the node are answered here. The net does not know what a line means, and the machine does not
//! know which socket a client has.

use std::time::SystemTime;

use serde::Serialize;

use super::driver::Driver;
use super::events::Numbered;
use super::requests::Asked;
use crate::config::{CONTROL_COMMANDS_MAX, CONTROL_FOLLOWERS_MAX};
use crate::control::{self, Line, Reply, Request};
use crate::error::{Exit, Failure};
use crate::net::ControlId;
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, Command, Input};

impl Driver<'_> {
    pub(super) fn on_line(&mut self, control: ControlId, line: Result<String, &'static str>) {
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let Line { req, request } = match line {
            Ok(line) => control::parse_line(&line),
            Err(why) => Line { req: None, request: Err(why.to_owned()) },
        };
        let asked = Asked { control, req };
        let request = match request {
            _ if self.ending.is_some() => Err(stopped()),
            _ if self.net.running(control) > CONTROL_COMMANDS_MAX => {
                Err(usage(format!("{CONTROL_COMMANDS_MAX} commands run on this connection; wait until one ends")))
            }
            request => request.map_err(usage),
        };
        match request {
            Ok(Request::Command(Command::Reload)) => self.on_reload_asked(asked),
            Ok(Request::Command(command)) => {
                let client = self.control_requests.enter(asked);
                self.feed(Input::Command { client, command });
            }
            Ok(Request::Events { since, follow }) => self.on_events_asked(asked, since, follow),
            Err(failure) => self.end_line(asked, &Outcome::failed(&failure)),
        }
    }

    /// The client is gone, with all of its commands.
    pub(super) fn on_control_gone(&mut self, control: ControlId) {
        for client in self.control_requests.drop_all_of(control) {
            if !self.events.unfollow(client) {
                self.feed(Input::ClientGone { client });
            }
        }
    }

    /// The node ends: so do all commands that still run.
    pub(super) fn end_lines(&mut self) {
        for asked in self.control_requests.leave_all() {
            self.end_line(asked, &Outcome::failed(&stopped()));
        }
    }

    fn on_reload_asked(&mut self, asked: Asked) {
        let outcome = match self.reload() {
            Ok(notes) => {
                let notes = notes.into_iter().map(|message| ClientEvent::Note { message });
                notes.for_each(|note| self.reply(asked, &note, SystemTime::now()));
                Outcome { ok: true, ..Outcome::default() }
            }
            Err(failure) => Outcome::failed(&failure),
        };
        self.end_line(asked, &outcome);
    }

    fn on_events_asked(&mut self, asked: Asked, since: Option<u64>, follow: bool) {
        if follow && !self.events.has_room() {
            let why = format!("{CONTROL_FOLLOWERS_MAX} clients follow the events already; try again later");
            return self.end_line(asked, &Outcome::failed(&Failure::new(Exit::Unreachable, why)));
        }
        if let Some(seen) = since {
            let since = self.events.since(seen);
            if let Some((first, last)) = since.gap {
                self.reply(asked, &Reply::Gap { first, last }, SystemTime::now());
            }
            for Numbered { seq, time, what } in since.events {
                self.reply(asked, &Reply::Node { seq, what }, time);
            }
        }
        if follow {
            let client = self.control_requests.enter(asked);
            self.events.follow(client);
        } else {
            self.end_line(asked, &Outcome { ok: true, ..Outcome::default() });
        }
    }

    /// Sends the last event to all that follow. One that does not read is closed by the net.
    pub(super) fn send_to_followers(&mut self) {
        let Some(Numbered { seq, time, what }) = self.events.latest().cloned() else { return };
        let reply = Reply::Node { seq, what };
        let followers: Vec<Asked> =
            self.events.followers().filter_map(|client| self.control_requests.asked(client)).collect();
        followers.into_iter().for_each(|asked| self.reply(asked, &reply, time));
    }

    fn reply(&mut self, asked: Asked, reply: &impl Serialize, time: SystemTime) {
        self.net.reply(asked.control, &control::answer_line(asked.req, reply, time), false);
    }

    /// Ends a line that the machine does not answer.
    fn end_line(&mut self, asked: Asked, outcome: &Outcome) {
        let done = ClientEvent::Done(outcome.clone());
        self.net.reply(asked.control, &control::answer_line(asked.req, &done, SystemTime::now()), true);
    }
}

/// The failure of commands that are still running when the node ends.
fn stopped() -> Failure {
    Failure::new(Exit::Unreachable, "the peer was stopped before it answered; start it again")
}
