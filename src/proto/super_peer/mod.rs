//! The super peer: sessions, links, the index and the flood, put together. It only dispatches.

pub mod counters;
pub mod digest;
mod flood;
pub mod index;
mod link;
pub mod search;
mod session;
#[cfg(test)]
mod testnet;
mod tree;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::command::{ClientId, Command};
use super::event::{ClientEvent, Event, Outcome};
use super::marks::mark;
use super::timers::Timers;
use super::{ConnId, Entropy, Input, Output, Role};
use crate::config::{
    ORDER_KEPT, PING_INTERVAL, QUERY_BUDGET, QUERY_BUDGET_MAX, QUERY_HITS_MAX, SCAN_ENTRIES_PER_TURN, TTL_DEFAULT,
    TTL_MAX,
};
use crate::error::{Exit, Failure};
use crate::time::Time;
use crate::wire::message::{Error, ErrorCode, Info, Query};
use crate::wire::{LinkMessage, Message, NodeId, Policy, QueryKind, Search, link as wire_link};
use counters::{Count, Counters};
use digest::Digests;
use flood::{Begin, Flood, WaveKey};
use index::Index;
use link::{LinkId, LinkNews, Links};
use session::{Sessions, Wish};
use tree::Tree;

/// With at most this many sessions, queries and records the whole state is checked after every input of a debug build;
/// above, every [`CHECK_EVERY`]th time, so that large tests stay fast.
const CHECK_ALWAYS_BELOW: usize = 64;
const CHECK_EVERY: u64 = 1024;

/// How a super peer is set up.
#[derive(Clone, Debug)]
pub struct SuperPeerConfig {
    /// Its name.
    pub node: NodeId,
    /// Drawn at random at the start; what sessions are told. Links draw one of their own.
    pub boot: u64,
    /// The neighbours' addresses; only these are ever answered.
    pub neighbors: Vec<SocketAddr>,
    /// Hops of a query that does not say how many.
    pub ttl: u8,
    /// Time of a query that does not say how long.
    pub budget: Duration,
    /// How often a session is to say something.
    pub ping: Duration,
    /// Whether digests of our index are told to neighbours, and theirs are taken.
    pub digests: bool,
    /// Hits kept per query at its origin, and per link and query elsewhere: [`QUERY_HITS_MAX`] but in the laboratory.
    pub hits_max: usize,
    /// Program and version, for people.
    pub agent: String,
}

impl SuperPeerConfig {
    /// A super peer of this name without neighbours, everything else as `config` says.
    #[must_use]
    pub fn new(node: NodeId, boot: u64) -> SuperPeerConfig {
        SuperPeerConfig {
            node,
            boot,
            neighbors: Vec::new(),
            ttl: TTL_DEFAULT,
            budget: QUERY_BUDGET,
            ping: PING_INTERVAL,
            digests: true,
            hits_max: QUERY_HITS_MAX,
            agent: concat!("sprat/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Why a deadline is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// The oldest session that has not logged in has had its time.
    Login,
    /// The session that has been silent for longest may have had its time.
    Silence,
    /// A neighbour is to be greeted, or has been silent for too long.
    Link(LinkId),
    /// A neighbour is to be told more of our digest, or again; or it has ceased to believe it.
    Digest,
    /// A query is to be repeated, or has had its time.
    Wave(WaveKey),
    /// The query that was over first can be forgotten.
    Over,
    /// A spanning tree is to be grown, or what grows is to be repeated or given up.
    Tree,
    /// Nobody has listed the network for long.
    Order,
}

/// The machine of a super peer.
///
/// - getters: `index`, `counters`, `links_up`, `counts`;
/// - `handle_*` and `poll_*`: [`Role`].
pub struct SuperPeer {
    config: SuperPeerConfig,
    entropy: Box<dyn Entropy>,
    sessions: Sessions,
    index: Index,
    links: Links,
    tree: Tree,
    flood: Flood,
    digests: Digests,
    timers: Timers<Reason>,
    counters: Counters,
    out: VecDeque<Output>,
    /// Whether the index has names left of files that are gone.
    untidy: bool,
    /// Whether the index has entries left that are to be sorted by their root.
    unsorted: bool,
    /// Shutdown has begun: nobody new is taken.
    closing: bool,
    checks: u64,
}

/// The parts of a super peer that a session may touch, borrowed apart from the sessions themselves.
macro_rules! session_cx {
    ($self:ident, $now:expr) => {
        &mut session::Cx {
            now: $now,
            config: &$self.config,
            index: &mut $self.index,
            timers: &mut $self.timers,
            counters: &mut $self.counters,
            out: &mut $self.out,
        }
    };
}

/// The parts of a super peer that the flood may touch.
macro_rules! flood_cx {
    ($self:ident, $now:expr) => {
        &mut flood::Cx {
            now: $now,
            hits_max: $self.config.hits_max,
            room: true,
            index: &$self.index,
            links: &$self.links,
            tree: &$self.tree,
            digests: &$self.digests,
            timers: &mut $self.timers,
            counters: &mut $self.counters,
            out: &mut $self.out,
        }
    };
}

/// The parts of a super peer that digests may touch.
macro_rules! digest_cx {
    ($self:ident, $now:expr) => {
        &mut digest::Cx {
            now: $now,
            index: &mut $self.index,
            links: &$self.links,
            timers: &mut $self.timers,
            counters: &mut $self.counters,
            out: &mut $self.out,
        }
    };
}

/// The parts of a super peer that the tree may touch.
macro_rules! tree_cx {
    ($self:ident, $now:expr) => {
        &mut tree::Cx { now: $now, links: &$self.links, counters: &mut $self.counters, out: &mut $self.out }
    };
}

impl SuperPeer {
    /// A super peer that greets its neighbours as soon as it is told the time.
    #[must_use]
    pub fn new(config: SuperPeerConfig, mut entropy: Box<dyn Entropy>) -> SuperPeer {
        let mut links = Links::new(config.node, entropy.next_u64().max(1), &config.neighbors);
        // Epochs only have to differ from those of other lives, as boot ids do.
        let digests = Digests::new(config.digests, links.len(), links.boot().rotate_left(32));
        links.take_digests(digests.takes());
        let seed = entropy.next_u64();
        let mut timers = Timers::new();
        for link in links.ids() {
            timers.set(Reason::Link(link), Time::ZERO);
        }
        let tree = Tree::new(config.node, links.boot(), links.len());
        SuperPeer {
            config,
            entropy,
            sessions: Sessions::default(),
            index: Index::with_seed(seed),
            links,
            tree,
            flood: Flood::default(),
            digests,
            timers,
            counters: Counters::default(),
            out: VecDeque::new(),
            untidy: false,
            unsorted: false,
            closing: false,
            checks: 0,
        }
    }

    /// What is registered here.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether something is in the index that is not acknowledged yet, because a neighbour may not know of it.
    #[must_use]
    pub fn is_acknowledging(&self) -> bool {
        self.digests.is_waiting()
    }

    /// Links that are up.
    #[must_use]
    pub fn links_up(&self) -> usize {
        self.links.up()
    }

    /// The spanning tree that is held here.
    #[cfg(test)]
    fn tree_name(&self) -> Option<crate::wire::TreeName> {
        self.tree.holds()
    }

    /// The neighbours on the edges of the spanning tree that is held here.
    #[must_use]
    pub fn tree_edges(&self) -> Vec<SocketAddr> {
        let edges = self.tree.holds().and_then(|name| self.tree.edges(name));
        edges.into_iter().flatten().map(|(link, _)| self.links.addr(link)).collect()
    }

    /// Counters and gauges by name, as INFO tells them.
    #[must_use]
    pub fn counts(&self) -> std::collections::BTreeMap<String, u64> {
        let gauges = [
            ("sessions", self.sessions.len()),
            ("holders", self.index.holders()),
            ("records", self.index.records()),
            ("links", self.links.ids().count()),
            ("links_up", self.links.up()),
            ("tree_size", self.tree.size() as usize),
            ("tree_whole", usize::from(self.tree.rides(&self.links).is_some())),
            ("queries_running", self.flood.running()),
            ("queries_remembered", self.flood.remembered()),
            ("turn_work_max", self.flood.work_max()),
        ];
        let mut counts = self.counters.named();
        counts.extend(gauges.map(|(name, gauge)| (name.to_owned(), gauge as u64)));
        counts
    }

    /// What must hold between any two inputs.
    pub fn check_invariants(&self) {
        self.sessions.check_invariants(&self.index);
        self.links.check_invariants();
        self.tree.check_invariants();
        self.flood.check_invariants();
        self.digests.check_invariants(&self.index);
        self.timers.check_invariants();
        self.index.check_invariants();
        let busy = self.untidy || self.index.has_order();
        let idle = self.sessions.len() == 0 && self.links.is_empty() && self.flood.running() == 0 && !busy;
        assert!(!idle || self.poll_timeout().is_none(), "who has nobody to serve sleeps");
    }

    fn on_message(&mut self, now: Time, conn: ConnId, message: Message) {
        let wish = self.sessions.on_message(conn, message, session_cx!(self, now));
        self.acknowledge(now);
        match wish {
            Wish::Nothing => {}
            Wish::Query(query) => self.on_query(now, conn, query),
            Wish::Status { req } => {
                let info = Info { req, agent: self.config.agent.clone(), counts: self.counts() };
                self.out.push_back(Output::Send { conn, message: Message::Info(info) });
            }
        }
    }

    /// Sends the ACK that is due, or has it wait until no neighbour believes a digest that lacks what it acknowledges.
    fn acknowledge(&mut self, now: Time) {
        let Some((conn, ack)) = self.sessions.take_ack() else { return };
        self.digests.note_changes(digest_cx!(self, now));
        match self.digests.hold(now, conn, ack) {
            Ok(Some(ack)) => self.out.push_back(digest::acknowledgement(conn, ack)),
            Ok(None) => self.counters.add(Count::AcksHeld),
            Err(digest::Full) => self.sessions.on_acks_full(conn, session_cx!(self, now)),
        }
    }

    fn on_query(&mut self, now: Time, conn: ConnId, query: Query) {
        let Query { req, find, ttl, budget, policy } = query;
        let begin = Begin {
            conn,
            req,
            find,
            ttl: ttl.unwrap_or(self.config.ttl).min(TTL_MAX),
            policy: policy.unwrap_or(Policy::Digest),
            budget: budget.map_or(self.config.budget, |ms| Duration::from_millis(ms.into())).min(QUERY_BUDGET_MAX),
        };
        if policy == Some(Policy::Unknown) {
            self.counters.add(Count::QueriesRefused);
            let message = "this policy is not known here; flood, digest, ring and tree are".to_owned();
            let error = Error { code: ErrorCode::BAD_REQUEST, message, req: Some(req) };
            return self.out.push_back(Output::Send { conn, message: Message::Error(error) });
        }
        self.sort_for(now, &begin.find);
        match self.flood.begin(begin, self.entropy.as_mut(), flood_cx!(self, now)) {
            Ok(key) => {
                self.counters.add(Count::Queries);
                if let Some(key) = key {
                    self.sessions.query_began(conn, req, key);
                }
            }
            Err(wrong) => {
                self.counters.add(Count::QueriesRefused);
                let error = Error { code: ErrorCode::BAD_REQUEST, message: wrong.to_string(), req: Some(req) };
                self.out.push_back(Output::Send { conn, message: Message::Error(error) });
            }
        }
    }

    /// A page of a list is asked for: the next ones shall not walk through everything.
    fn sort_for(&mut self, now: Time, find: &Search) {
        if find.kind == QueryKind::Range {
            self.unsorted |= !self.index.has_order();
            self.index.order(0);
            self.timers.set(Reason::Order, now + ORDER_KEPT);
        }
    }

    fn on_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        let Some(link) = self.links.find(from) else {
            return self.counters.add(Count::DatagramUnlisted);
        };
        // The header alone tells whether the datagram is for this life of ours; what is not is not decoded.
        let header = bytes.get(1..wire_link::HEADER_BYTES).and_then(|boot| boot.try_into().ok());
        let boot = header.map(u64::from_be_bytes);
        if boot.is_some_and(|boot| boot != 0 && boot != self.links.boot()) {
            self.counters.add(Count::DatagramStale);
            return self.links.greet_soon(now, link, &mut self.out, &mut self.counters);
        }
        let Ok((boot, messages)) = wire_link::decode(bytes) else {
            return self.counters.add(Count::DatagramMalformed);
        };
        let proven = boot == self.links.boot();
        if proven {
            self.links.on_heard(now, link);
        }
        for message in messages {
            self.on_link_message(now, link, proven, message);
        }
    }

    fn on_link_message(&mut self, now: Time, link: LinkId, proven: bool, message: LinkMessage) {
        let may_speak = proven && self.links.is_up(link);
        if !may_speak && !matches!(message, LinkMessage::Hello(_)) {
            return self.counters.add(Count::DatagramUnproven);
        }
        let count = match &message {
            LinkMessage::Hello(_) => Count::LinkHello,
            LinkMessage::Query(_) => Count::LinkQuery,
            LinkMessage::Hit(_) => Count::LinkHit,
            LinkMessage::Done(_) => Count::LinkDone,
            LinkMessage::Pending(_) => Count::LinkPending,
            LinkMessage::Cancel(_) => Count::LinkCancel,
            LinkMessage::Tree(_) => Count::LinkTree,
            LinkMessage::Digest(_) => Count::LinkDigest,
            LinkMessage::Digested(_) => Count::LinkDigested,
            LinkMessage::Unknown(_) => Count::LinkUnknown,
        };
        self.counters.add(count);
        match message {
            LinkMessage::Hello(hello) => self.on_hello(now, link, proven, hello),
            LinkMessage::Tree(tree) => {
                self.tree.on_tree(link, tree, tree_cx!(self, now));
                self.after_tree();
            }
            LinkMessage::Query(query) => {
                self.sort_for(now, &query.find);
                self.flood.on_query(link, query, flood_cx!(self, now));
            }
            LinkMessage::Hit(hit) => self.flood.on_hit(link, hit, flood_cx!(self, now)),
            LinkMessage::Done(done) => self.flood.on_done(link, done, flood_cx!(self, now)),
            LinkMessage::Pending(pending) => self.flood.on_pending(link, pending, flood_cx!(self, now)),
            LinkMessage::Cancel(cancel) => self.flood.on_cancel(link, cancel, flood_cx!(self, now)),
            LinkMessage::Digest(step) => {
                if self.digests.on_step(link, step, digest_cx!(self, now)) {
                    self.links.greet_soon(now, link, &mut self.out, &mut self.counters);
                    self.arm_link(link);
                }
            }
            LinkMessage::Digested(ack) => self.digests.on_ack(link, ack, digest_cx!(self, now)),
            LinkMessage::Unknown(_) => {}
        }
    }

    fn on_hello(&mut self, now: Time, link: LinkId, proven: bool, hello: wire_link::LinkHello) {
        // Without our boot id in the header the echo proves nothing, nor does what else is said.
        let hello = wire_link::LinkHello { echo: if proven { hello.echo } else { 0 }, ..hello };
        // A life that is not the one whose digest we have, proven or not: that one is believed no more before this is answered.
        if hello.boot != self.links.boot_of(link) {
            self.digests.doubt(link);
        }
        let asks = proven && hello.et.is_none();
        let lease = if asks { self.digests.lease(now, link) } else { None };
        let news = self.links.on_hello(now, link, hello, lease, &mut self.out, &mut self.counters);
        self.on_link_news(now, link, news);
        match news {
            LinkNews::Up | LinkNews::Renewed => self.digests.on_link_up(link, hello.dg, digest_cx!(self, now)),
            LinkNews::Same | LinkNews::Down | LinkNews::NameTaken | LinkNews::Myself => {}
        }
        let echoes = hello.echo == self.links.boot() && hello.boot == self.links.boot_of(link);
        if let (true, Some(asked), Some(epoch)) = (echoes, hello.et, hello.de) {
            self.digests.on_lease(now, link, epoch, Time::from_micros(asked));
        }
        // What somebody says who has not seen our boot id, or in another life, is not about this link.
        if proven && self.links.is_up_with(link, hello.boot) {
            self.tree.on_hello(link, hello, tree_cx!(self, now));
            self.after_tree();
        }
    }

    fn on_link_news(&mut self, now: Time, link: LinkId, news: LinkNews) {
        let neighbor = self.links.addr(link);
        match news {
            LinkNews::Same => {}
            LinkNews::Up => {
                self.counters.add(Count::LinksUp);
                self.out.push_back(Output::Event(Event::Link { neighbor, up: true }));
            }
            LinkNews::Renewed | LinkNews::Down => {
                self.counters.add(Count::LinksDown);
                self.out.push_back(Output::Event(Event::Link { neighbor, up: false }));
                self.tree.on_link_lost(link, tree_cx!(self, now));
                self.after_tree();
                self.digests.on_link_down(link, digest_cx!(self, now));
                self.flood.on_link_lost(link, flood_cx!(self, now));
                if news == LinkNews::Renewed {
                    mark!(LinkRenewed);
                    self.counters.add(Count::LinksUp);
                    self.out.push_back(Output::Event(Event::Link { neighbor, up: true }));
                }
            }
            LinkNews::NameTaken => {
                let text = format!("neighbour {neighbor} has this super peer's own node id; the link stays down");
                self.out.push_back(Output::Event(Event::Log { level: log::Level::Warn, text }));
            }
            LinkNews::Myself => {
                let text = format!("neighbour {neighbor} is this super peer itself; it is ignored");
                self.out.push_back(Output::Event(Event::Log { level: log::Level::Warn, text }));
            }
        }
        self.arm_link(link);
    }

    /// Tells the links which tree is held, and sets the tree's deadline.
    fn after_tree(&mut self) {
        (self.links.tree, self.links.whole) = (self.tree.holds(), self.tree.is_whole());
        match self.tree.next() {
            Some(next) => self.timers.set(Reason::Tree, next),
            None => self.timers.stop(Reason::Tree),
        }
    }

    fn arm_link(&mut self, link: LinkId) {
        match self.links.next(link) {
            Some(next) => self.timers.set(Reason::Link(link), next),
            None => self.timers.stop(Reason::Link(link)),
        }
    }

    fn on_reason(&mut self, now: Time, reason: Reason) {
        match reason {
            Reason::Login => self.sessions.on_login_deadline(session_cx!(self, now)),
            Reason::Silence => self.sessions.on_silence(session_cx!(self, now)),
            Reason::Link(link) => {
                let news = self.links.on_timeout(now, link, &mut self.out, &mut self.counters);
                self.on_link_news(now, link, news);
            }
            Reason::Digest => self.digests.on_timeout(digest_cx!(self, now)),
            Reason::Wave(key) => self.flood.on_timeout(key, flood_cx!(self, now)),
            Reason::Over => self.flood.on_over(flood_cx!(self, now)),
            Reason::Tree => {
                self.tree.on_timeout(tree_cx!(self, now));
                self.after_tree();
            }
            Reason::Order => {
                self.index.forget_order();
                self.unsorted = false;
            }
        }
    }

    /// A super peer serves sessions, not commands; only its own state can be asked for.
    fn on_command(&mut self, client: ClientId, command: &Command) {
        let outcome = match command {
            Command::Status => {
                let (peer, super_counts) = (Default::default(), self.counts());
                let status = ClientEvent::Status { super_peer: None, peer, super_counts };
                self.out.push_back(Output::Event(Event::Client { client, event: status }));
                Outcome { ok: true, ..Outcome::default() }
            }
            Command::Query { .. } | Command::Get(_) | Command::List | Command::Network { .. } => {
                Outcome::failed(&Failure::new(Exit::Usage, "a super peer takes no commands; ask it with --super"))
            }
        };
        self.out.push_back(Output::Event(Event::Client { client, event: ClientEvent::Done(outcome) }));
    }

    /// What one part leaves for another. After each thing that happened, not after all: a query that has ended and one whose
    /// session has gone are told apart by that order.
    fn hand_over(&mut self, now: Time) {
        self.digests.note_changes(digest_cx!(self, now));
        while let Some((conn, ack)) = self.digests.take_released(now) {
            if self.sessions.is_open(conn) {
                self.out.push_back(digest::acknowledgement(conn, ack));
            }
        }
        self.untidy |= self.sessions.take_untidied();
        for key in self.sessions.take_abandoned() {
            self.flood.abandon(key, flood_cx!(self, now));
        }
        for (conn, req) in self.flood.take_finished() {
            self.sessions.query_ended(conn, req);
        }
    }

    /// What is left over, and the checks.
    fn finish_turn(&mut self, now: Time) {
        self.hand_over(now);
        if cfg!(debug_assertions) {
            self.checks += 1;
            let size = self.sessions.len() + self.index.records() + self.flood.running();
            if size < CHECK_ALWAYS_BELOW || self.checks.is_multiple_of(CHECK_EVERY) {
                self.check_invariants();
            }
        }
    }
}

impl Role for SuperPeer {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.digests.note_life(digest_cx!(self, now));
        match input {
            Input::Accepted { conn, .. } if self.closing => self.out.push_back(Output::Close { conn }),
            Input::Accepted { conn, from } => self.sessions.on_accepted(conn, from, session_cx!(self, now)),
            Input::Message { conn, message } => self.on_message(now, conn, message),
            Input::Malformed { conn, error } => self.sessions.on_malformed(conn, &error, session_cx!(self, now)),
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes),
            Input::Closed { conn, why } => self.sessions.on_closed(conn, why, session_cx!(self, now)),
            Input::Command { client, command } => self.on_command(client, &command),
            Input::ClientGone { .. } => {}
            Input::Shutdown => {
                self.closing = true;
                self.sessions.close_all("the super peer ends", session_cx!(self, now));
            }
            Input::Dialed { .. }
            | Input::DialFailed { .. }
            | Input::PayloadProgress { .. }
            | Input::PayloadReceived { .. }
            | Input::PayloadSent { .. }
            | Input::Disk(_) => self.counters.add(Count::UnexpectedInput),
        }
        self.finish_turn(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.digests.note_life(digest_cx!(self, now));
        self.flood.run(flood_cx!(self, now));
        self.hand_over(now);
        self.digests.run(digest_cx!(self, now));
        if self.untidy {
            self.untidy = self.index.tidy(SCAN_ENTRIES_PER_TURN);
        }
        if self.unsorted {
            self.unsorted = self.index.order(SCAN_ENTRIES_PER_TURN);
        }
        // Whatever fires is set again only for later than now; the bound is for a mistake in that.
        for _ in 0..self.timers.len() {
            let Some(reason) = self.timers.expire(now) else { break };
            self.on_reason(now, reason);
            self.hand_over(now);
        }
        debug_assert!(self.timers.next().is_none_or(|next| next > now), "the next deadline lies ahead");
        self.finish_turn(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.untidy || self.unsorted || self.flood.has_work() || self.digests.has_work() {
            Some(Time::ZERO)
        } else {
            self.timers.next()
        }
    }
}
