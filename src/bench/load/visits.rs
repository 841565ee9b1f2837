//! Sessions that come, share files, search, download and leave.

use super::{Load, Owner};
use crate::bench::plan::Phase;
use crate::bench::session::{Session, State};
use crate::config::CHUNK_BYTES_MAX;
use crate::proto::{ConnId, Digests, HashPlan, Output, PayloadId, Verify};
use crate::wire::Message;
use crate::wire::message::{Bye, Chunk, Get, sent_by_super_peers, sent_to_sources, sent_to_super_peers};

impl Load {
    pub(super) fn visit(&mut self, which: usize) {
        if self.phase != Some(Phase::Measuring) {
            return;
        }
        let first = self.visits * self.plan.files;
        self.visits += 1;
        let files = first..first + self.plan.files;
        self.sessions[which] = Session { files, ..Session::default() };
        self.dial(which);
    }

    pub(super) fn fetch_or_leave(&mut self, which: usize) {
        match &self.sessions[which].wanted {
            Some(wanted) => {
                let to = wanted.from.clone();
                let dial = self.source_dial(which);
                self.out.push_back(Output::Dial { dial, to, key: None });
            }
            None => self.leave(which),
        }
    }

    pub(super) fn on_source_dialed(&mut self, which: usize, conn: ConnId) {
        let session = &mut self.sessions[which];
        let (Some(wanted), State::Up, None) = (&session.wanted, session.state, session.source) else {
            return self.out.push_back(Output::Close { conn });
        };
        let length = u32::try_from(wanted.size).unwrap_or(u32::MAX).min(CHUNK_BYTES_MAX);
        let get = Get { req: 1, root: wanted.root, offset: 0, length, bare: false };
        session.source = Some(conn);
        self.own(conn, Owner::Source(which));
        self.say_hello(which, conn);
        self.send(conn, Message::Get(get));
    }

    pub(super) fn on_source_message(&mut self, which: usize, conn: ConnId, message: Message) {
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
            Message::Bye(_) => self.tally.error("source_bye"),
            Message::Hello(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | Message::Unknown(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_to_sources!()
            | Message::Cvs(_)
            | Message::Has(_)
            | Message::Turn(_) => self.tally.error("unasked"),
        }
    }

    pub(super) fn on_payload(&mut self, conn: ConnId, payload: PayloadId, digests: &Digests) {
        self.out.push_back(Output::DropPayload { payload });
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
    pub(super) fn leave(&mut self, which: usize) {
        if let Some(conn) = self.sessions[which].source.take() {
            self.out.push_back(Output::Close { conn });
        }
        if let Some(conn) = self.sessions[which].conn {
            self.send(conn, Message::Bye(Bye { why: "the visit is over".into() }));
            self.out.push_back(Output::Close { conn });
        }
    }
}
