//! The machine of a weak peer: hands each input to the room that it concerns, and what one room has for another to it.
//! Dispatch only: it decides nothing.
//!
//! - getters: [`WeakPeer::check_invariants`];
//! - `handle_*`, `poll_*`: those of [`Role`].

pub mod announce;
mod commands;
mod context;
pub mod download;
mod session;
mod sessions;
mod upload;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConnId, DiskDone, Entropy, Input, Output, Role};
use crate::config::{DOWNLOADS_MAX, DOWNLOADS_WAITING_MAX, UPLOADS_MAX};
use crate::time::Time;
use crate::wire::{HostPort, Message, NodeId};
use announce::Share;
use commands::{Clients, ForDownloads};
use context::{Desk, Owner, Reason};
use download::Downloads;
use session::News;
use sessions::Sessions;
use upload::Uploads;

/// Where a peer that shares can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The TCP port on which chunks are served.
    pub port: u16,
    /// The host to tell others, where the address that the super peer sees cannot be dialled.
    pub host: Option<String>,
}

/// Who a weak peer is and whom it belongs to.
#[derive(Clone, Debug)]
pub struct WeakPeerConfig {
    /// Its name.
    pub node: NodeId,
    /// Drawn at random for this run.
    pub boot: u64,
    /// Super peers, the preferred first.
    pub supers: Vec<HostPort>,
    /// Where it serves chunks; a one-shot command registers and serves nothing.
    pub offer: Option<Offer>,
    /// How long the first session may take to come about, and how long a command waits for one.
    pub connect_timeout: Duration,
    /// Program and version, for people.
    pub agent: String,
}

/// See the module's words.
pub struct WeakPeer {
    desk: Desk,
    sessions: Sessions,
    share: Share,
    uploads: Uploads,
    downloads: Downloads,
    clients: Clients,
    serves: bool,
    ended: bool,
}

impl WeakPeer {
    /// A peer that dials its first super peer at the first [`Role::handle_timeout`].
    #[must_use]
    pub fn new(config: WeakPeerConfig, entropy: Box<dyn Entropy>) -> WeakPeer {
        WeakPeer::with_sessions(config, 1, entropy)
    }

    /// The same with sessions to so many super peers at once, at most [`crate::config::SUPER_SESSIONS_MAX`].
    #[must_use]
    pub fn with_sessions(config: WeakPeerConfig, sessions: usize, entropy: Box<dyn Entropy>) -> WeakPeer {
        let WeakPeerConfig { node, boot, supers, offer, connect_timeout, agent } = config;
        let mut desk = Desk::new(node, boot, &agent, entropy);
        desk.timers.set(Reason::Start, Time::ZERO);
        WeakPeer {
            desk,
            serves: offer.is_some(),
            sessions: Sessions::new(&supers, offer.as_ref(), connect_timeout, sessions),
            share: Share::new(sessions),
            uploads: Uploads::default(),
            downloads: Downloads::default(),
            clients: Clients::new(connect_timeout),
            ended: false,
        }
    }

    /// All that must hold between two calls.
    ///
    /// # Panics
    /// If something does not.
    pub fn check_invariants(&self) {
        assert!(self.downloads.running() <= DOWNLOADS_MAX);
        assert!(self.downloads.waiting() <= DOWNLOADS_WAITING_MAX);
        assert!(self.uploads.len() <= UPLOADS_MAX);
    }

    /// Names and counts for STATUS; a one-shot command has none.
    fn counts(&self) -> BTreeMap<String, u64> {
        if !self.serves {
            return BTreeMap::new();
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        [
            ("files", count(self.share.len())),
            ("share_bytes", self.share.bytes()),
            ("uploads", count(self.uploads.len())),
            ("chunks_sent", self.uploads.chunks_sent),
            ("bytes_sent", self.uploads.bytes_sent),
            ("downloads_running", count(self.downloads.running())),
            ("downloads_waiting", count(self.downloads.waiting())),
            ("downloads_finished", self.downloads.finished),
            ("bytes_received", self.downloads.bytes_received),
            ("sessions_up", count(self.sessions.up().count())),
            ("sessions_lost", self.sessions.sessions_lost()),
        ]
        .into_iter()
        .chain(self.uploads.closed())
        .map(|(name, n)| (name.to_owned(), n))
        .collect()
    }

    fn on_message(&mut self, conn: ConnId, message: Message) {
        let desk = &mut self.desk;
        match desk.owner(conn) {
            Some(Owner::Session(session)) => self.sessions.at(session).on_message(desk, message),
            Some(Owner::Upload) => self.uploads.on_message(desk, conn, message),
            Some(Owner::Source(download, source)) => self.downloads.on_message(desk, download, source, message),
            None => {}
        }
    }

    fn on_closed(&mut self, conn: ConnId, why: &str) {
        let desk = &mut self.desk;
        match desk.disown(conn) {
            Some(Owner::Session(session)) => self.sessions.at(session).on_closed(desk, why),
            Some(Owner::Upload) => self.uploads.on_closed(desk, conn),
            Some(Owner::Source(download, source)) => self.downloads.on_closed(desk, download, source, why),
            None => {}
        }
    }

    fn on_disk(&mut self, done: DiskDone) {
        let desk = &mut self.desk;
        match done {
            DiskDone::Share { added, removed } => {
                let refused = self.share.change(added, removed);
                if refused > 0 {
                    desk.warn(format!("{refused} files are not offered: a session holds no more"));
                }
            }
            DiskDone::ChunkReady { conn, req, result } => self.uploads.on_chunk_ready(desk, conn, req, result),
            DiskDone::ManifestReady { conn, req, first: _, result } => {
                self.uploads.on_manifest_ready(desk, conn, req, result);
            }
            DiskDone::PartOpened { download, result } => self.downloads.on_part_opened(desk, download, result),
            DiskDone::PieceWritten { download, piece, result } => {
                self.downloads.on_written(desk, download, piece, result)
            }
            DiskDone::Published { download, result } => self.downloads.on_published(desk, download, result),
        }
    }

    fn on_due(&mut self, reason: Reason) {
        let desk = &mut self.desk;
        match reason {
            Reason::Start => self.sessions.start(desk),
            Reason::ConnectTimeout => self.sessions.on_connect_timeout(desk),
            Reason::Redial(session) => self.sessions.at(session).on_redial_due(desk),
            Reason::Ping(session) => self.sessions.at(session).on_ping_due(desk),
            Reason::Answer(session) => self.sessions.at(session).on_answer_due(desk),
            Reason::Upload(conn) => self.uploads.on_timer(desk, conn),
            Reason::Download(download) => self.downloads.on_tick(desk, download),
            Reason::Task(task) => self.clients.on_timer(desk, &mut self.sessions, task),
        }
    }

    /// Carries what one room has for another, until none has anything left. Each step uses up an entry of a queue that only
    /// inputs fill.
    fn settle(&mut self) {
        loop {
            if let Some(news) = self.sessions.poll_news(&mut self.desk) {
                let counts = if matches!(news.1, News::Info(_)) { self.counts() } else { BTreeMap::new() };
                self.clients.on_news(&mut self.desk, &mut self.sessions, news, counts);
            } else if let Some(order) = self.clients.poll_order() {
                match order {
                    ForDownloads::Start(order) => self.downloads.start(&mut self.desk, order),
                    ForDownloads::Sources(download, addrs) => {
                        self.downloads.add_sources(&mut self.desk, download, addrs);
                    }
                    ForDownloads::SourcesDone(download) => self.downloads.on_sources_done(&mut self.desk, download),
                }
            } else if let Some((download, root)) = self.downloads.poll_requery(&mut self.desk, self.sessions.is_up()) {
                self.clients.ask_sources(&mut self.desk, &mut self.sessions, download, root);
            } else {
                break;
            }
        }
        self.sessions.flush(&mut self.desk, &mut self.share);
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn shut_down(&mut self) {
        self.ended = true;
        self.clients.shut_down(&mut self.desk);
        self.downloads.shut_down(&mut self.desk);
        self.uploads.shut_down(&mut self.desk);
        self.sessions.end(&mut self.desk, "the peer ends");
        self.desk.timers = super::timers::Timers::new();
    }
}

impl Role for WeakPeer {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.desk.now = now;
        if self.ended {
            return input.given_back().into_iter().for_each(|output| self.desk.push(output));
        }
        let desk = &mut self.desk;
        match input {
            Input::Accepted { conn, from } if self.serves => self.uploads.on_accepted(desk, conn, from),
            Input::Accepted { conn, .. } => desk.close(conn),
            Input::Dialed { dial, conn } => match desk.end_dial(dial) {
                Some(Owner::Session(session)) => self.sessions.at(session).on_dialed(desk, &mut self.share, conn),
                Some(Owner::Source(download, source)) => self.downloads.on_dialed(desk, download, source, conn),
                Some(Owner::Upload) | None => desk.close(conn),
            },
            Input::DialFailed { dial, why } => match desk.end_dial(dial) {
                Some(Owner::Session(session)) => self.sessions.at(session).on_dial_failed(desk, &why),
                Some(Owner::Source(download, source)) => self.downloads.on_dial_failed(desk, download, source, &why),
                Some(Owner::Upload) | None => {}
            },
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, error } => match desk.owner(conn) {
                Some(Owner::Session(session)) => self.sessions.at(session).on_malformed(desk, &error),
                Some(Owner::Upload) => self.uploads.on_malformed(desk, conn, &error),
                Some(Owner::Source(download, source)) => {
                    desk.error(conn, error.code(), error.to_string(), None);
                    self.downloads.on_fault(desk, download, source, &format!("sent {error}"));
                }
                None => {}
            },
            // A weak peer opens no port for datagrams.
            Input::Datagram { .. } => {}
            Input::PayloadProgress { conn, req, received } => {
                if let Some(Owner::Source(download, source)) = desk.owner(conn) {
                    self.downloads.on_progress(desk, download, source, req, received);
                }
            }
            Input::PayloadReceived { conn, req, payload, digests } => match desk.owner(conn) {
                Some(Owner::Source(download, source)) => {
                    self.downloads.on_payload(desk, (download, source), req, payload, &digests);
                }
                Some(Owner::Session(_) | Owner::Upload) | None => desk.push(Output::DropPayload { payload }),
            },
            Input::PayloadSent { conn, req } => self.uploads.on_payload_sent(desk, conn, req),
            Input::Closed { conn, why } => self.on_closed(conn, why.word()),
            Input::Disk(done) => self.on_disk(done),
            Input::Command { client, command } => {
                let counts = self.counts();
                self.clients.on_command(&mut self.desk, &mut self.sessions, client, command, counts);
            }
            Input::ClientGone { client } => {
                self.clients.on_client_gone(desk, &mut self.sessions, client);
                self.downloads.on_client_gone(desk, client);
            }
            Input::Shutdown => return self.shut_down(),
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.desk.now = now;
        while let Some(reason) = self.desk.timers.expire(now) {
            self.on_due(reason);
        }
        if !self.ended {
            self.settle();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.desk.poll_output()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.desk.timers.next()
    }
}

#[cfg(test)]
mod tests;
