//! One session of the load: its state, the files that it must still register, and its unanswered
//! requests.

use std::collections::VecDeque;
use std::ops::Range;

use super::names;
use crate::config::UPDATES_IN_FLIGHT_MAX;
use crate::proto::ConnId;
use crate::time::Time;
use crate::wire::message::Register;
use crate::wire::{HostPort, Message, Root};

/// The state of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bench) enum State {
    /// Not dialed yet.
    #[default]
    New,
    /// Dialed.
    Dialing,
    /// Connected. HELLO, LOGIN and the first files are sent.
    Greeting,
    /// All its files are registered and acknowledged.
    Up,
    /// Closed, or the connection failed.
    Gone,
}

/// The content that a session of the churn fetches.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Wanted {
    pub(in crate::bench) root: Root,
    pub(in crate::bench) size: u64,
    pub(in crate::bench) from: HostPort,
}

/// One session.
#[derive(Debug, Default)]
pub(in crate::bench) struct Session {
    pub(in crate::bench) state: State,
    pub(in crate::bench) conn: Option<ConnId>,
    /// When the session began.
    pub(in crate::bench) begun: Time,
    /// Whether READY has come.
    pub(in crate::bench) ready: bool,
    /// Numbers of the files that must still be registered.
    pub(in crate::bench) files: Range<u64>,
    /// Unacknowledged pages: the number of files in each, and when it was sent.
    pub(in crate::bench) pages: VecDeque<(u64, Time)>,
    pub(in crate::bench) seq: u64,
    /// Unanswered requests, and when each was due.
    pub(in crate::bench) asked: VecDeque<(u32, Time)>,
    pub(in crate::bench) last_req: u32,
    /// Churn: the source that it has found, and the connection to it.
    pub(in crate::bench) wanted: Option<Box<Wanted>>,
    pub(in crate::bench) source: Option<ConnId>,
}

impl Session {
    /// Whether all files of the session are registered.
    pub(in crate::bench) fn is_supplied(&self) -> bool {
        self.files.is_empty() && self.pages.is_empty()
    }

    /// The next page, unless too many are unacknowledged.
    pub(in crate::bench) fn next_page(&mut self, now: Time) -> Option<Message> {
        if self.files.is_empty() || self.pages.len() as u64 >= UPDATES_IN_FLIGHT_MAX {
            return None;
        }
        let files = names::page(self.files.start, self.files.end);
        let count = files.len() as u64;
        self.files.start += count;
        self.pages.push_back((count, now));
        self.seq += 1;
        let more = !self.files.is_empty();
        let register =
            Register { seq: self.seq, port: names::PORT, host: None, more_addr: None, http: false, files, more };
        Some(Message::Register(register))
    }

    /// Returns the number of the next request, which is due at this time.
    pub(in crate::bench) fn ask(&mut self, meant: Time) -> u32 {
        self.last_req = self.last_req.wrapping_add(1);
        self.asked.push_back((self.last_req, meant));
        self.last_req
    }

    /// A request is answered. Returns when it was due.
    pub(in crate::bench) fn answered(&mut self, req: u32) -> Option<Time> {
        let at = self.asked.iter().position(|(asked, _)| *asked == req)?;
        self.asked.remove(at).map(|(_, meant)| meant)
    }
}
