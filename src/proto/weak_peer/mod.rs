//! The machine of a weak peer. It passes each input to the part that owns it, and passes requests
//! from one part to another. It decides nothing: the parts do, and no part knows this module.

mod announce;
mod batch;
mod candidates;
mod collecting;
mod commands;
mod config;
mod contact;
mod context;
pub mod download;
mod hosts;
mod idle;
mod membership;
mod queue;
mod session;
mod sessions;
mod status;
mod swarm;
mod upload;

use super::{
    ClientEvent, ClientId, Command, ConnId, DialId, DiskDone, Entropy, Event, Glance, Input, Output, OwnAddrs,
    RateLimits, Role, Settings,
};
use crate::config::{DOWNLOADS_MAX, DOWNLOADS_WAITING_MAX, PEER_TIMERS_PER_TURN, SMALL_DOWNLOADS_MAX, UPLOADS_MAX};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::message::{ClassRate, Mode, Ready, RevokedKey, sent_by_sources};
use crate::wire::{HostPort, Message};
use announce::Announcements;
use batch::Batches;
use collecting::Collecting;
use commands::{Commands, DownloadInput};
use context::{Context, Owner, Reason};
use download::{Downloads, Ended};
use queue::{Queue, Step};
use session::SessionEvent;
use sessions::Sessions;
use status::Figures;
use swarm::joins::Joins;
use swarm::stay::Stay;
use upload::{Answer, Uploads};

pub use config::{Listens, Offer, SwarmConfig, WeakPeerConfig};
pub use membership::PeerLogin;
use membership::{Membership, is_node};
pub use queue::{Newer, QueueConfig, Saved};

/// The deadline of work that is left over. It lies in the past, but is not `Time::ZERO`: that is
/// the deadline of the start, for which drivers may look.
const LONG_AGO: Time = Time::from_micros(1);

/// The machine of a weak peer.
pub struct WeakPeer {
    cx: Context,
    sessions: Sessions,
    announcements: Announcements,
    uploads: Uploads,
    downloads: Downloads,
    batches: Batches,
    collecting: Collecting,
    commands: Commands,
    queue: Queue,
    joins: Joins,
    serves: bool,
    ended: bool,
}

impl WeakPeer {
    /// A peer that dials its first super peer at the first [`Role::handle_timeout`].
    #[must_use]
    pub fn new(config: WeakPeerConfig, entropy: Box<dyn Entropy>) -> WeakPeer {
        WeakPeer::with_sessions(config, 1, entropy)
    }

    /// A peer that has this number of sessions with super peers at once, 1 to
    /// [`crate::config::SUPER_SESSIONS_MAX`].
    #[must_use]
    pub fn with_sessions(config: WeakPeerConfig, sessions: usize, entropy: Box<dyn Entropy>) -> WeakPeer {
        let WeakPeerConfig { node, boot, supers, login, offer, connect_timeout, download_timeout, agent } = config;
        let mut cx = Context::new(node, boot, &agent, entropy);
        cx.membership = login.map(|login| Box::new(Membership::new(&login, &supers)));
        let supers: Vec<HostPort> = supers.into_iter().map(|pin| pin.at).collect();
        cx.timers.set(Reason::Start, Time::ZERO);
        WeakPeer {
            cx,
            serves: offer.is_some(),
            sessions: Sessions::new(node, (&supers, offer.as_ref()), connect_timeout, sessions),
            announcements: Announcements::new(sessions),
            uploads: Uploads::default(),
            downloads: Downloads::default(),
            batches: Batches::default(),
            collecting: Collecting::default(),
            commands: Commands::new(connect_timeout, download_timeout),
            queue: Queue::default(),
            joins: Joins::default(),
            ended: false,
        }
    }

    /// Adds a queue, which keeps the downloads that clients start.
    #[must_use]
    pub fn with_queue(self, config: QueueConfig) -> WeakPeer {
        WeakPeer { queue: Queue::new(config), ..self }
    }

    /// Sets how the peer takes part in swarms.
    #[must_use]
    pub fn with_swarms(mut self, config: SwarmConfig) -> WeakPeer {
        let SwarmConfig { uploads, zone, linger } = config;
        self.uploads.set_turns(uploads);
        self.cx.zone = zone;
        self.joins.linger = linger;
        self
    }

    /// Sets limits on what the peer sends and receives.
    #[must_use]
    pub fn with_limits(mut self, limits: RateLimits) -> WeakPeer {
        self.cx.set_limits(limits);
        self
    }

    /// Makes it a peer for one command, which reports no counters of its own.
    #[must_use]
    pub fn as_one_shot(mut self) -> WeakPeer {
        self.cx.one_shot = true;
        self
    }

    /// Checks the invariants, which hold between two calls.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check_invariants(&self) {
        assert!(self.downloads.running_large() <= DOWNLOADS_MAX);
        assert!(self.downloads.running_small() <= SMALL_DOWNLOADS_MAX);
        assert!(self.downloads.waiting() <= DOWNLOADS_WAITING_MAX);
        assert!(self.uploads.len() <= UPLOADS_MAX);
        self.cx.hosts.check_invariants();
        self.queue.check_invariants();
    }

    /// Checks the invariants of its downloads, which hold between two calls. This takes a while,
    /// because it looks at every piece.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check_downloads(&self) {
        self.downloads.check_invariants();
    }

    fn figures(&self) -> Figures<'_> {
        Figures {
            cx: &self.cx,
            serves: self.serves,
            sessions: &self.sessions,
            announcements: &self.announcements,
            uploads: &self.uploads,
            downloads: &self.downloads,
            collecting: &self.collecting,
            commands: &self.commands,
            queue: &self.queue,
        }
    }

    fn on_message(&mut self, conn: ConnId, message: Message) {
        let cx = &mut self.cx;
        if cx.membership.is_some() {
            match (cx.owner(conn), &message) {
                (Some(Owner::Session(session)), Message::Revoked(revoked)) if self.sessions.at(session).is_up() => {
                    return self.on_revoked(&revoked.list);
                }
                (Some(Owner::Session(session)), Message::Classes(classes)) if self.sessions.at(session).is_up() => {
                    return self.on_classes(classes.list.clone());
                }
                (Some(Owner::Source(..) | Owner::Holder(..)), Message::Welcome(welcome))
                    if welcome.mode != Mode::Login || !is_node(cx.key(conn), welcome.node) =>
                {
                    return self.on_unwanted(conn, "sends a WELCOME that is not of its key or not of login mode");
                }
                (Some(Owner::Source(..) | Owner::Holder(..) | Owner::Idle), Message::Ready(ready)) => {
                    return self.on_source_ready(conn, ready);
                }
                (Some(Owner::Source(..) | Owner::Holder(..)), sent_by_sources!()) if !cx.may_use(conn) => {
                    return self.on_unwanted(conn, "sends something before its credential");
                }
                _ => {}
            }
        }
        match cx.owner(conn) {
            Some(Owner::Session(session)) => self.sessions.at(session).on_message(cx, message),
            Some(Owner::Upload) => self.uploads.on_message(cx, conn, message),
            Some(Owner::Source(download, source)) => self.downloads.on_message(cx, download, source, message),
            Some(Owner::Holder(download, holder)) => self.collecting.on_message(cx, download, holder, message),
            // No request is open on this connection, so the message is BYE or a fault.
            Some(Owner::Idle) => {
                cx.idle.forget(conn);
                cx.close(conn);
            }
            None => {}
        }
    }

    /// A source shows its credential. It does this once, after WELCOME.
    fn on_source_ready(&mut self, conn: ConnId, ready: &Ready) {
        let cx = &mut self.cx;
        let is_welcomed = match cx.owner(conn) {
            Some(Owner::Source(download, source)) => self.downloads.is_welcomed(download, source),
            Some(Owner::Holder(download, holder)) => self.collecting.is_welcomed(download, holder),
            Some(Owner::Session(_) | Owner::Upload | Owner::Idle) | None => false,
        };
        if !is_welcomed || cx.may_use(conn) {
            return self.on_unwanted(conn, "sends READY out of order");
        }
        let Some((membership, key)) = cx.membership.as_ref().zip(cx.key(conn)) else { return };
        match membership.check(ready.credential.as_deref(), key, cx.now) {
            Ok(account) => cx.set_account(conn, account),
            Err(refusal) => self.on_unwanted(conn, &format!("shows no valid credential: {refusal}")),
        }
    }

    /// A super peer limits what its accounts get.
    fn on_classes(&mut self, list: Vec<ClassRate>) {
        let cx = &mut self.cx;
        if let Some(membership) = &mut cx.membership {
            membership.on_classes(list);
            self.uploads.on_classes(cx);
        }
    }

    /// Credentials were revoked: closes the chunk connections with their owners, in both
    /// directions.
    fn on_revoked(&mut self, list: &[RevokedKey]) {
        let cx = &mut self.cx;
        let Some(membership) = &mut cx.membership else { return };
        membership.on_revoked(list);
        self.uploads.on_revoked(cx);
        for conn in cx.revoked() {
            self.on_unwanted(conn, "has lost its account");
        }
    }

    /// Closes a connection that this peer has dialed, because of the identity of the other side.
    fn on_unwanted(&mut self, conn: ConnId, why: &str) {
        let owner = self.cx.owner(conn);
        self.cx.close(conn);
        let cx = &mut self.cx;
        match owner {
            Some(Owner::Source(download, source)) => self.downloads.on_unwanted(cx, download, source, why),
            Some(Owner::Holder(download, holder)) => self.collecting.on_unwanted(cx, download, holder, why),
            Some(Owner::Idle) => cx.idle.forget(conn),
            Some(Owner::Session(_) | Owner::Upload) | None => {}
        }
    }

    fn on_dialed(&mut self, dial: DialId, conn: ConnId, own: OwnAddrs, key: Option<PublicKey>) {
        let cx = &mut self.cx;
        let owner = cx.end_dial(dial);
        cx.set_key(conn, key);
        let node = match owner {
            Some(Owner::Source(download, source)) => self.downloads.node_of(download, source),
            Some(Owner::Holder(download, holder)) => self.collecting.node_of(download, holder),
            Some(Owner::Session(_) | Owner::Upload | Owner::Idle) | None => None,
        };
        // Hits may contradict each other. Then only the credential counts.
        if node.is_some_and(|node| !is_node(key, node)) {
            let why = "is another peer than the one that hits name";
            cx.close(conn);
            return match owner {
                Some(Owner::Source(download, source)) => self.downloads.on_closed(cx, download, source, why),
                Some(Owner::Holder(download, holder)) => self.collecting.on_lost(cx, download, holder, why),
                Some(Owner::Session(_) | Owner::Upload | Owner::Idle) | None => {}
            };
        }
        match owner {
            Some(Owner::Session(session)) => {
                self.sessions.at(session).on_dialed(cx, &mut self.announcements, (conn, key), own);
            }
            Some(Owner::Source(download, source)) => self.downloads.on_dialed(cx, download, source, conn),
            Some(Owner::Holder(download, holder)) => self.collecting.on_dialed(cx, download, holder, conn),
            Some(Owner::Upload | Owner::Idle) | None => cx.close(conn),
        }
    }

    fn on_closed(&mut self, conn: ConnId, why: &str) {
        let cx = &mut self.cx;
        match cx.disown(conn) {
            Some(Owner::Session(session)) => self.sessions.at(session).on_closed(cx, why),
            Some(Owner::Upload) => self.uploads.on_closed(cx, conn),
            Some(Owner::Source(download, source)) => self.downloads.on_closed(cx, download, source, why),
            Some(Owner::Holder(download, holder)) => self.collecting.on_lost(cx, download, holder, why),
            Some(Owner::Idle) => cx.idle.forget(conn),
            None => {}
        }
    }

    fn on_disk(&mut self, done: DiskDone) {
        let cx = &mut self.cx;
        match done {
            DiskDone::Share { added, removed } => {
                let refused = self.announcements.change(added, removed);
                self.announcements.report(cx);
                if refused > 0 {
                    cx.warn(format!("{refused} files are not offered: a session holds no more"));
                }
            }
            DiskDone::ChunkReady { conn, req, result } => {
                self.uploads.on_ready(cx, conn, req, result.map_or_else(Answer::Failed, Answer::Chunk));
            }
            DiskDone::ManifestReady { conn, req, first: _, result } => {
                self.uploads.on_ready(cx, conn, req, result.map_or_else(Answer::Failed, Answer::Page));
            }
            DiskDone::Collection { download, done } => self.collecting.on_disk(cx, download, done),
            DiskDone::Described { client, result } => self.commands.on_described(cx, &self.sessions, client, result),
            DiskDone::PartOpened { download, result } => self.downloads.on_part_opened(cx, download, result),
            DiskDone::PieceWritten { download, piece, result } => {
                self.downloads.on_written(cx, download, piece, result)
            }
            DiskDone::Published { download, result } => self.downloads.on_published(cx, download, result),
            DiskDone::RoomChecked { download, result } => self.batches.on_room(cx, download, result),
            DiskDone::PartsFound { client, removed, result } => self.queue.on_parts(cx, (client, removed), result),
            DiskDone::QueueSaved { result } => self.queue.on_saved(cx, result),
        }
    }

    fn on_due(&mut self, reason: Reason) {
        let cx = &mut self.cx;
        match reason {
            Reason::Start => self.sessions.start(cx),
            Reason::ConnectTimeout => self.sessions.on_connect_timeout(cx),
            Reason::Redial(session) => self.sessions.at(session).on_redial_due(cx),
            Reason::Ping(session) => self.sessions.at(session).on_ping_due(cx),
            Reason::Answer(session) => self.sessions.at(session).on_answer_due(cx),
            Reason::Files(session) => self.sessions.at(session).on_files_due(cx, &mut self.announcements),
            Reason::Upload(conn) => self.uploads.on_timer(cx, conn),
            Reason::Turns => self.uploads.on_turns_due(cx),
            Reason::Swarm(download) => self.downloads.on_swarm_tick(cx, download),
            Reason::Linger => self.stay().end_lingering(),
            Reason::Download(download) => self.downloads.on_tick(cx, download),
            Reason::Batch(batch) => {
                let (downloads, collecting) = (&self.downloads, &self.collecting);
                let of = |file| downloads.progress_of(file);
                self.batches.on_tick(cx, batch, |file| collecting.progress_of(file, of).unwrap_or_else(|| of(file)));
            }
            Reason::Collection(download) => {
                let downloads = &self.downloads;
                self.collecting.on_tick(cx, download, |file| downloads.progress_of(file));
            }
            Reason::Task(task) => self.commands.on_timer(cx, &mut self.sessions, task),
            Reason::Subscription(client) => self.commands.on_subscription_due(cx, &mut self.sessions, client),
            Reason::Retry => self.queue.on_retry_due(cx),
            Reason::Save => self.queue.on_save_due(),
            Reason::Share => self.announcements.report(cx),
        }
    }

    /// Passes requests from one part to another until none is left. Each step takes an entry from a
    /// queue. Only inputs and timers fill the queues, so the loop ends.
    fn settle(&mut self) {
        loop {
            if let Some(event) = self.sessions.poll_event(&mut self.cx) {
                if matches!(event, (_, SessionEvent::Up)) {
                    self.queue.on_session_up(&mut self.cx);
                }
                let Some(event) = self.stay().on_event(event) else { continue };
                self.commands.on_session_event(&mut self.cx, &mut self.sessions, event);
            } else if let Some(input) = self.commands.poll_download_input() {
                match input {
                    DownloadInput::Start(order) => self.downloads.start(&mut self.cx, order),
                    DownloadInput::Many(many) => self.batches.start(&mut self.cx, many),
                    DownloadInput::Sources(download, addrs) => {
                        self.downloads.add_sources(&mut self.cx, download, addrs);
                    }
                    DownloadInput::SourcesDone(download) => self.downloads.on_search_done(&mut self.cx, download),
                    DownloadInput::Aim(root, offset) => self.downloads.aim(root, offset),
                }
            } else if let Some(step) = self.cx.swarm_steps.pop_front() {
                self.stay().on_step(step);
            } else if let Some((small, number, end)) = self.collecting.poll_file_end() {
                self.batches.on_file_end(&mut self.cx, small, number, end);
            } else if let Some((download, outcome)) =
                self.downloads.poll_part_done().or_else(|| self.collecting.poll_part_done())
            {
                self.batches.on_download_done(&mut self.cx, download, &outcome);
            } else if let Some(order) = self.batches.poll_small(&self.cx) {
                self.collecting.begin_command(&mut self.cx, order);
            } else if let Some(small) = self.collecting.poll_command() {
                let items = self.batches.next_items(small);
                self.collecting.look(&mut self.cx, small, items);
            } else if let Some(order) = self.batches.poll_order(&mut self.cx) {
                self.downloads.start(&mut self.cx, order);
            } else if let Some(ask) = self.downloads.poll_search(&mut self.cx, self.sessions.is_up()) {
                self.commands.ask_sources(&mut self.cx, &mut self.sessions, ask);
            } else if let Some((run, event)) = self.cx.poll_queue_event() {
                self.queue.on_event(&mut self.cx, run, event);
            } else if let Some(step) = self.queue.poll_step(&mut self.cx) {
                match step {
                    Step::Start(run, get) => {
                        self.commands.on_command(&mut self.cx, &mut self.sessions, run, Command::Get(get));
                    }
                    Step::Stop(run) => self.forget_client(run),
                }
            } else if let Some(ended) = self.downloads.poll_ended() {
                self.on_ended(ended);
            } else if let Some(order) = self.collecting.poll_order() {
                self.downloads.start(&mut self.cx, order);
            } else {
                break;
            }
        }
        let mut holdings = std::mem::take(&mut self.cx.holdings);
        self.uploads.announce(&mut self.cx, &mut holdings);
        self.cx.holdings = holdings;
        self.sessions.flush(&mut self.cx, &mut self.announcements);
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn stay(&mut self) -> Stay<'_> {
        Stay {
            cx: &mut self.cx,
            sessions: &mut self.sessions,
            joins: &mut self.joins,
            uploads: &mut self.uploads,
            downloads: &mut self.downloads,
        }
    }

    /// Ends the command and the downloads of a client.
    fn forget_client(&mut self, client: ClientId) {
        self.commands.on_client_gone(&mut self.cx, &mut self.sessions, client);
        self.collecting.on_client_gone(&mut self.cx, client);
        self.batches.on_client_gone(&mut self.cx, client);
        self.downloads.on_client_gone(&mut self.cx, client);
    }

    fn on_ended(&mut self, ended: Ended) {
        let cx = &mut self.cx;
        match ended {
            Ended::List { order, mut holders } => {
                holders.retain(|at| !self.sessions.is_own(at));
                self.collecting.begin(cx, *order, holders);
            }
            Ended::File { collection, file, outcome } => self.collecting.on_file_ended(cx, collection, file, &outcome),
        }
    }

    fn shut_down(&mut self) {
        self.ended = true;
        self.queue.shut_down(&mut self.cx);
        self.commands.shut_down(&mut self.cx);
        self.batches.shut_down(&mut self.cx);
        self.collecting.shut_down(&mut self.cx);
        self.downloads.shut_down(&mut self.cx);
        self.uploads.shut_down(&mut self.cx);
        self.sessions.end(&mut self.cx, "the peer ends");
        self.cx.timers = super::timers::Timers::new();
    }
}

impl Role for WeakPeer {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.cx.now = now;
        if self.ended {
            return input.given_back().into_iter().for_each(|output| self.cx.push(output));
        }
        let cx = &mut self.cx;
        match input {
            Input::Accepted { conn, from, since, key, unix, .. } if self.serves => {
                cx.set_clock(unix);
                self.uploads.on_accepted(cx, (conn, since), from, key);
            }
            Input::Accepted { conn, .. } => cx.close(conn),
            Input::Dialed { dial, conn, own, key, unix } => {
                cx.set_clock(unix);
                self.on_dialed(dial, conn, own, key);
            }
            Input::DialFailed { dial, why, cause } => match cx.end_dial(dial) {
                Some(Owner::Session(session)) => self.sessions.at(session).on_dial_failed(cx, &why, cause),
                Some(Owner::Source(download, source)) => self.downloads.on_dial_failed(cx, download, source, &why),
                Some(Owner::Holder(download, holder)) => self.collecting.on_lost(cx, download, holder, &why),
                Some(Owner::Upload | Owner::Idle) | None => {}
            },
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, error } => match cx.owner(conn) {
                Some(Owner::Session(session)) => self.sessions.at(session).on_malformed(cx, &error),
                Some(Owner::Upload) => self.uploads.on_malformed(cx, conn, &error),
                Some(Owner::Idle) => {
                    cx.idle.forget(conn);
                    cx.close(conn);
                }
                Some(Owner::Source(download, source)) => {
                    cx.error(conn, error.code(), error.to_string(), None);
                    self.downloads.on_fault(cx, download, source, &format!("sent {error}"));
                }
                Some(Owner::Holder(download, holder)) => {
                    cx.error(conn, error.code(), error.to_string(), None);
                    cx.close(conn);
                    self.collecting.on_lost(cx, download, holder, &format!("sent {error}"));
                }
                None => {}
            },
            // A weak peer opens no port for datagrams.
            Input::Datagram { .. } | Input::Unanswered { .. } | Input::Undelivered { .. } | Input::Resolved { .. } => {}
            // A weak peer keeps no accounts.
            Input::AccountsSaved { .. } => {}
            Input::PayloadProgress { conn, req, received } => match cx.owner(conn) {
                Some(Owner::Source(download, source)) => {
                    self.downloads.on_progress(cx, download, source, req, received);
                }
                Some(Owner::Holder(download, holder)) => self.collecting.on_progress(cx, download, holder),
                Some(Owner::Session(_) | Owner::Upload | Owner::Idle) | None => {}
            },
            Input::PayloadReceived { conn, req, payload, digests } => match cx.owner(conn) {
                Some(Owner::Source(download, source)) => {
                    self.downloads.on_payload(cx, (download, source), req, payload, digests);
                }
                Some(Owner::Holder(download, holder)) => {
                    self.collecting.on_payload(cx, (download, holder), req, payload, digests);
                }
                Some(Owner::Session(_) | Owner::Upload | Owner::Idle) | None => cx.drop_payload(payload),
            },
            // The requests of others bound what a weak peer sends.
            Input::Backlogged { .. } | Input::Drained { .. } | Input::Memory { .. } => {}
            Input::PayloadSent { conn, req } => self.uploads.on_payload_sent(cx, conn, req),
            Input::Crowded { excess } => self.uploads.on_crowded(cx, excess),
            Input::Closed { conn, why } => self.on_closed(conn, why.word()),
            Input::Disk(done) => self.on_disk(done),
            Input::Command { client, command } => {
                if let Some(command) = self.queue.on_command(cx, client, command) {
                    self.commands.on_command(cx, &mut self.sessions, client, command);
                }
            }
            Input::ClientGone { client } => {
                self.queue.on_client_gone(client);
                self.forget_client(client);
            }
            Input::Settings(Settings::Weak(settings)) => {
                self.commands.set_timeout(settings.download_timeout);
                self.queue.set_parallel(settings.parallel);
                self.uploads.set_turns(settings.uploads);
            }
            // These settings are for the other role.
            Input::Settings(Settings::Super(_)) => {}
            Input::Shutdown => return self.shut_down(),
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.cx.now = now;
        // Even if very many deadlines are due, a turn handles only this many.
        for _ in 0..PEER_TIMERS_PER_TURN {
            let Some(reason) = self.cx.timers.expire(now) else { break };
            self.on_due(reason);
        }
        self.announcements.tidy();
        if !self.ended {
            self.settle();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        let mut output = self.cx.poll_output();
        // `commands` fills in only what the super peer reports.
        if let Some(Output::Event(event)) = &mut output
            && let Event::Client { event: ClientEvent::Status { peer, status, mode, .. }, .. } = &mut **event
        {
            let figures = self.figures();
            (*peer, *status, *mode) = (figures.counts(), figures.status(), self.cx.mode());
        }
        output
    }

    fn glance(&self) -> Glance {
        self.figures().glance()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.announcements.has_stale() && !self.ended { Some(LONG_AGO) } else { self.cx.timers.next() }
    }
}

#[cfg(test)]
mod tests;
