//! What the parts of a super peer share: the time of the turn, the index, the timers, the counters
//! and the queue of outputs.
//!
//! It knows no part and decides nothing.

use super::accounts::Logins;
use super::config::SuperPeerConfig;
use super::counters::{Count, Counters};
use super::cut_tags::CutTags;
use super::ids::{LinkId, WaveKey};
use super::index::{HolderId, Index};
use super::outputs::Outputs;
use super::presence::Presence;
use super::work::Work;
use crate::config::{MEMORY_RECORDS_PERCENT, RATE_WINDOW};
use crate::proto::event::PeerReport;
use crate::proto::meter::Meter;
use crate::proto::timers::Timers;
use crate::proto::{ConnId, Entropy, Event, Output};
use crate::time::Time;
use crate::wire::message::{Error, ErrorCode, SourceRecord};
use crate::wire::{Message, NodeId};

/// Longest text of the reason why a peer left, in bytes. Peers send some of these texts.
const WHY_BYTES_MAX: usize = 160;

/// Stands for the asker in queries of this super peer itself. No session has this id.
pub(super) const OWN: ConnId = ConnId { index: u32::MAX, generation: 0 };

/// Why a deadline is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The oldest session that is not logged in may have run out of time.
    Login,
    /// The session that has been silent for longest may have run out of time.
    Silence,
    /// A HELLO is due on this link, or its neighbor has been silent for too long.
    Link(LinkId),
    /// A step of our digest is due on some link, or a neighbor no longer trusts our digest.
    Digest,
    /// A query is to be repeated, or its budget ends.
    Wave(WaveKey),
    /// The query that ended first can be forgotten.
    Ended,
    /// A spanning tree is to be grown. Or a tree that grows needs a repetition, or must be given
    /// up.
    Tree,
    /// The credential of a session ends.
    Expiry,
    /// A peer is to be dialed back, or a dial has taken too long.
    Reach,
    /// Some members of swarms follow too few others, and may find more.
    Swarm,
    /// Other super peers are to be asked for members of a swarm.
    SwarmAsk,
    /// Nobody has listed the network for a while: the sorted order of the index can be dropped.
    Order,
    /// The peers that shared before the restart are no longer awaited.
    Starting,
    /// The number of peers that share is to be reported.
    Sharing,
    /// In the last second, more peers came or left than were reported.
    Presence,
}

/// The shared state. Parts borrow it for one call.
pub(super) struct Context {
    /// The time of this turn.
    pub(super) now: Time,
    pub(super) config: SuperPeerConfig,
    pub(super) entropy: Box<dyn Entropy>,
    pub(super) index: Index,
    pub(super) cut_tags: CutTags,
    pub(super) work: Work,
    pub(super) timers: Timers<Reason>,
    pub(super) counters: Counters,
    pub(super) out: Outputs,
    /// The driver reported that memory is short.
    pub(super) memory_short: bool,
    /// Peers that shared before a restart may not be back yet, so no answer is complete.
    pub(super) starting: bool,
    /// How many sessions have registered a complete list with at least one file.
    pub(super) sharing: usize,
    /// Queries of sessions.
    pub(super) queries: Meter,
    /// Bounds the reports of peers that came and left.
    pub(super) presence: Presence,
    /// Who has logged in.
    pub(super) logins: Logins,
    /// Results for the queries of this super peer itself: the number of the query, and hits, or
    /// `None` at its end.
    pub(super) found: Vec<(u32, Option<Vec<SourceRecord>>)>,
}

impl Context {
    pub(super) fn new(config: SuperPeerConfig, mut entropy: Box<dyn Entropy>) -> Context {
        let seed = entropy.next_u64();
        let logins = Logins::new(config.login.as_deref());
        Context {
            now: Time::ZERO,
            config,
            entropy,
            index: Index::with_seed(seed),
            cut_tags: CutTags::with_seed(seed),
            work: Work::default(),
            timers: Timers::new(),
            counters: Counters::default(),
            out: Outputs::default(),
            memory_short: false,
            starting: false,
            sharing: 0,
            queries: Meter::new(RATE_WINDOW),
            presence: Presence::default(),
            logins,
            found: Vec::new(),
        }
    }

    /// Whether there is no memory for more records.
    pub(super) fn is_index_full(&self) -> bool {
        self.memory_short || self.index.bytes() > self.config.memory / 100 * MEMORY_RECORDS_PERCENT
    }

    /// Counts one more.
    pub(super) fn count(&mut self, count: Count) {
        self.counters.add(count);
    }

    /// Queues a message for a session.
    #[inline(never)]
    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.out.push(Output::Send { conn, message });
    }

    /// As [`Context::send`], for the messages that most outputs are. Always inline: they are
    /// written to the queue at once, and not moved there.
    #[inline(always)]
    pub(super) fn answer(&mut self, conn: ConnId, message: Message) {
        self.out.push(Output::Send { conn, message });
    }

    /// Queues an ERROR for a session.
    pub(super) fn refuse(&mut self, conn: ConnId, code: ErrorCode, message: String, req: Option<u32>) {
        self.send(conn, Message::Error(Error::new(code, message, req)));
    }

    /// Queues an event.
    #[inline(never)]
    pub(super) fn report(&mut self, event: Event) {
        self.out.push(Output::Event(Box::new(event)));
    }

    /// The peer with this place in the index came: reports it, or sets the deadline for the report.
    /// `files`: the number of its files, if its list is complete.
    pub(super) fn note_came(&mut self, holder: HolderId, node: NodeId, files: Option<usize>) {
        match self.presence.note(true, self.now) {
            Ok(()) => self.report_peer(holder, node, files, None),
            Err(due) => self.timers.set_earlier(Reason::Presence, due),
        }
    }

    /// As [`Context::note_came`], for a peer that is about to leave or no longer serves files.
    pub(super) fn note_left(&mut self, holder: HolderId, node: NodeId, why: &str) {
        match self.presence.note(false, self.now) {
            Ok(()) => {
                let why = why[..why.floor_char_boundary(WHY_BYTES_MAX)].to_owned();
                self.report_peer(holder, node, Some(self.index.files_of(holder)), Some(why));
            }
            Err(due) => self.timers.set_earlier(Reason::Presence, due),
        }
    }

    fn report_peer(&mut self, holder: HolderId, node: NodeId, files: Option<usize>, left: Option<String>) {
        let addr = self.index.addr_of(holder).clone();
        self.report(Event::Peer(PeerReport { addr, node, files: files.map(|n| n as u64), left }));
    }

    /// Sets the deadline of this reason, or stops it.
    pub(super) fn arm(&mut self, reason: Reason, at: Option<Time>) {
        match at {
            Some(at) => self.timers.set(reason, at),
            None => self.timers.stop(reason),
        }
    }

    /// A page of a list was requested: keeps the index sorted for the next pages.
    pub(super) fn prepare_pages(&mut self) {
        self.index.order(0);
        self.timers.set(Reason::Order, self.now + crate::config::ORDER_KEPT);
    }
}
