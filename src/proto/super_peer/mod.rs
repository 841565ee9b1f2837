//! The super peer: sessions, links, the index and the flood, put together.
//!
//! This file only dispatches: it calls the part that an input or a deadline concerns, and passes on
//! the results that concern another part. All parts share the `Context`. A part that needs another
//! part gets it as a parameter.

mod accounts;
mod config;
mod context;
pub mod counters;
mod cut_tags;
pub mod digest;
mod flood;
mod gauges;
mod ids;
pub mod index;
mod link;
mod outputs;
mod peer;
mod presence;
mod reach;
pub mod search;
mod session;
mod starting;
mod subscriptions;
mod swarm;
#[cfg(test)]
mod testnet;
mod tree;
mod upkeep;
mod work;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::command::{ClientId, Command, UserCommand};
use super::event::{ClientEvent, Event, Outcome};
use super::glance::by_name;
use super::{ConnId, Entropy, Glance, Input, Output, Role, Settings, SuperSettings};
use crate::config::{INFO_LINKS_MAX, PAGE_BYTES, PUT_OFF_FILES_PER_TURN};
use crate::error::{Exit, Failure};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::message::{Ack, Files, Info, LinkRow, LinkState, List, Query};
use crate::wire::{LinkMessage, Message};
use accounts::Effect;
pub use accounts::LoginConfig;
pub use config::SuperPeerConfig;
use context::{Context, Reason};
use counters::{Count, Counters};
use flood::Flood;
use index::Index;
use link::{Neighbors, Opened, Path};
use reach::Reach;
use session::{Request, Sessions};
use starting::Starting;
use subscriptions::Subscriptions;
use swarm::Swarms;
use swarm::members::Members;
use work::{OUTPUT_WORK, TIMER_WORK};

/// With fewer than this many sessions, queries and records in all, a debug build checks the
/// complete state after every input. With more it is checked every [`CHECK_EVERY`]th time, so that
/// large tests stay fast.
const CHECK_ALWAYS_BELOW: usize = 64;
const CHECK_EVERY: u64 = 1024;

/// The machine of a super peer.
///
/// - getters: `index`, `counters`, `links_up`, `counts`;
/// - `handle_*` and `poll_*`: [`Role`].
pub struct SuperPeer {
    cx: Context,
    sessions: Sessions,
    neighbors: Neighbors,
    flood: Flood,
    starting: Starting,
    reach: Reach,
    swarms: Swarms,
    subscriptions: Subscriptions,
    /// Shutdown has begun: no new session is accepted.
    closing: bool,
    /// This turn may have left ACKs that need not wait any more and are not sent yet.
    acks_left: bool,
    checks: u64,
    /// The state of the index that was checked last.
    index_checked: Option<u64>,
}

impl SuperPeer {
    /// A super peer that sends HELLO to its neighbors in its first turn.
    #[must_use]
    pub fn new(config: SuperPeerConfig, mut entropy: Box<dyn Entropy>) -> SuperPeer {
        let boot = entropy.next_u64().max(1);
        let starting = Starting::new(config.expected);
        let mut cx = Context::new(config, entropy);
        let neighbors = Neighbors::new(boot, &mut cx);
        SuperPeer {
            cx,
            sessions: Sessions::default(),
            neighbors,
            flood: Flood::default(),
            starting,
            reach: Reach::default(),
            swarms: Swarms::default(),
            subscriptions: Subscriptions::default(),
            closing: false,
            acks_left: false,
            checks: 0,
            index_checked: None,
        }
    }

    /// What is registered here.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.cx.index
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.cx.counters
    }

    /// Whether something is in the index that is not acknowledged yet, because a neighbor may still
    /// use a digest without it.
    #[must_use]
    pub fn is_acknowledging(&self) -> bool {
        self.neighbors.digests.is_waiting()
    }

    /// Links that are up.
    #[must_use]
    pub fn links_up(&self) -> usize {
        self.neighbors.links.up().count()
    }

    /// Whether the link to this neighbor is up.
    #[must_use]
    pub fn is_link_up(&self, neighbor: SocketAddr) -> bool {
        let links = &self.neighbors.links;
        links.find(neighbor).is_some_and(|link| links.is_up(link))
    }

    /// The spanning tree that is held here.
    #[cfg(test)]
    fn tree_name(&self) -> Option<crate::wire::TreeName> {
        self.neighbors.tree.holds()
    }

    /// The neighbors on the edges of the spanning tree that is held here.
    #[must_use]
    pub fn tree_edges(&self) -> Vec<SocketAddr> {
        let Neighbors { links, tree, .. } = &self.neighbors;
        let edges = tree.holds().and_then(|name| tree.edges(name));
        edges.into_iter().flatten().filter_map(|(link, _)| links.addr(link)).collect()
    }

    /// Counters and gauges by name, as in INFO.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let gauges = self.gauges();
        let mut counts = self.cx.counters.named();
        counts.extend(gauges.map(|(name, gauge)| (name.to_owned(), gauge as u64)));
        counts
    }

    fn gauges(&self) -> [(&'static str, usize); 20] {
        let SuperPeer { cx, sessions, neighbors, flood, swarms, subscriptions, .. } = self;
        gauges::gauges(cx, sessions, neighbors, flood, swarms, subscriptions)
    }

    /// The links, as in INFO: those that are not up first, and at most [`INFO_LINKS_MAX`].
    #[must_use]
    pub fn links(&self) -> Vec<LinkRow> {
        let rows = self.neighbors.rows(&self.cx).into_iter();
        let (up, mut rows): (Vec<_>, Vec<_>) = rows.partition(|row| row.state == LinkState::Up);
        rows.extend(up);
        rows.truncate(INFO_LINKS_MAX);
        rows
    }

    /// The same for somebody who is not an operator: without keys.
    fn links_without_keys(&self) -> Vec<LinkRow> {
        let mut rows = self.links();
        rows.iter_mut().for_each(|row| row.key = None);
        rows
    }

    /// What must hold between any two inputs.
    pub fn check_invariants(&self) {
        self.cx.index.check_invariants();
        self.check_all_but_index();
    }

    fn check_all_but_index(&self) {
        self.sessions.check_invariants(&self.cx.index, self.cx.sharing);
        self.cx.logins.check_invariants();
        self.neighbors.check_invariants(&self.cx);
        self.flood.check_invariants();
        self.reach.check_invariants();
        self.swarms.check_invariants(&self.sessions);
        self.subscriptions.check_invariants();
        self.cx.timers.check_invariants();
        let left = self.sessions.has_work() || self.flood.has_work() || self.acks_left;
        let waits = self.cx.index.has_order() || self.starting.is_waiting(&self.cx) || self.cx.presence.is_waiting();
        let waits = waits || self.reach.is_busy() || self.swarms.members() > 0 || self.subscriptions.has_work(&self.cx);
        let busy = left || waits || upkeep::has_work(&self.cx.index);
        let idle = self.sessions.len() == 0 && self.neighbors.links.is_empty() && self.flood.running() == 0 && !busy;
        assert!(!idle || self.poll_timeout().is_none(), "an idle super peer sleeps");
    }

    /// A message that is no QUERY.
    fn on_message(&mut self, conn: ConnId, message: Message) {
        if self.reach.owns(conn) {
            return self.reach.on_message(conn, &message, &mut self.cx);
        }
        if let Some((conn, ack)) = self.sessions.finish_page(conn, &mut self.cx) {
            self.acknowledge(conn, ack);
        }
        let request = self.sessions.on_message(conn, message, &mut self.cx);
        if let Some(served) = self.sessions.take_served() {
            self.reach.on_served(served, &mut self.cx);
        }
        if let Some((conn, ack)) = self.sessions.take_ack() {
            self.acknowledge(conn, ack);
        }
        match request {
            Request::None => {}
            Request::Join(join) => self.swarms.on_join(conn, &join, &self.sessions, &mut self.cx),
            Request::List(List { req, after, partial }) => {
                let SuperPeer { cx, sessions, swarms, .. } = self;
                cx.count(Count::Lists);
                let (after, members, mut looked) = (after.unwrap_or(0), Members { swarms, sessions }, 0);
                let (files, next) = match partial {
                    true => members.list(after, PAGE_BYTES, &cx.index, &mut looked),
                    false => cx.index.list(after, PAGE_BYTES, &mut looked),
                };
                cx.work.add(looked);
                cx.send(conn, Message::Files(Files { req, files, next }));
            }
            Request::Leave { req } => self.swarms.on_leave(conn, req, &mut self.cx),
            Request::Subscribe(subscribe) => {
                self.subscriptions.on_subscribe(conn, subscribe, &self.sessions, &mut self.cx);
            }
            Request::Unsubscribe { req } => self.subscriptions.on_cancel(conn, req, &mut self.cx),
            Request::Cancel(query) => self.flood.abandon(query, &self.neighbors, &mut self.cx),
            Request::Status { req } => {
                let is_operator = self.cx.logins.is_operator(conn);
                let links = if is_operator { self.links() } else { self.links_without_keys() };
                let agent = self.cx.config.agent.clone();
                let info = Info { req, agent, counts: self.counts(), links };
                self.cx.send(conn, Message::Info(info));
            }
        }
    }

    /// Most messages are queries. Always inline: a query is large, and is not moved to be passed.
    #[inline(always)]
    fn on_query(&mut self, conn: ConnId, query: Query) {
        if self.reach.owns(conn) {
            return self.reach.on_message(conn, &Message::Query(query), &mut self.cx);
        }
        if let Some((conn, ack)) = self.sessions.finish_page(conn, &mut self.cx) {
            self.acknowledge(conn, ack);
        }
        let req = query.req;
        if !self.sessions.on_query(conn, req, &mut self.cx) {
            return;
        }
        if self.cx.config.reports_queries {
            self.cx.report(Event::Asked { session: conn, req, search: query.find.clone() });
        }
        let asker = (conn, self.sessions.reached_at(conn));
        let members = Members { swarms: &self.swarms, sessions: &self.sessions };
        if let Some(key) = self.flood.begin(asker, query, members, &self.neighbors, &mut self.cx) {
            self.sessions.query_began(conn, req, key);
        }
    }

    fn acknowledge(&mut self, conn: ConnId, ack: Ack) {
        if let Some(greedy) = self.neighbors.acknowledge(conn, ack, &mut self.cx) {
            self.sessions.on_acks_full(greedy, &mut self.cx);
        }
    }

    fn on_datagram(&mut self, path: Path, key: Option<PublicKey>, bytes: &[u8]) {
        let Some(mut opened) = self.neighbors.on_datagram(path, key, bytes, &mut self.cx) else {
            return;
        };
        for message in std::mem::take(&mut opened.messages) {
            if self.neighbors.admit(&opened, &message, &mut self.cx) {
                self.on_link_message(&opened, message);
            }
        }
    }

    fn on_link_message(&mut self, opened: &Opened, message: LinkMessage) {
        let SuperPeer { cx, neighbors, flood, sessions, swarms, .. } = self;
        let link = opened.link;
        match message {
            LinkMessage::Hello(hello) => {
                if neighbors.on_hello(opened, hello, cx) {
                    flood.on_link_lost(neighbors, cx);
                }
            }
            LinkMessage::Query(query) => flood.on_query(link, query, Members { swarms, sessions }, neighbors, cx),
            LinkMessage::Hit(hit) => flood.on_hit(link, hit, neighbors, cx),
            LinkMessage::Done(done) => flood.on_done(link, done, neighbors, cx),
            LinkMessage::Pending(pending) => flood.on_pending(link, pending, neighbors, cx),
            LinkMessage::Cancel(cancel) => flood.on_cancel(link, cancel, neighbors, cx),
            LinkMessage::Tree(tree) => neighbors.on_tree(link, tree, cx),
            LinkMessage::Digest(step) => neighbors.on_digest(link, step, cx),
            LinkMessage::Digested(ack) => neighbors.on_digested(link, ack, cx),
            LinkMessage::Unknown(_) => {}
        }
    }

    fn on_reason(&mut self, reason: Reason) {
        let SuperPeer { cx, sessions, neighbors, flood, starting, reach, swarms, .. } = self;
        match reason {
            Reason::Login => sessions.on_login_deadline(cx),
            Reason::Silence => sessions.on_silence(cx),
            Reason::Link(link) => {
                if neighbors.on_link_timeout(link, cx) {
                    flood.on_link_lost(neighbors, cx);
                }
            }
            Reason::Digest => neighbors.on_digest_timeout(cx),
            Reason::Tree => neighbors.on_tree_timeout(cx),
            Reason::Wave(key) => flood.on_timeout(key, neighbors, cx),
            Reason::Ended => flood.on_ended(cx),
            Reason::Expiry => sessions.on_expiry(cx),
            Reason::Reach => reach.on_timeout(sessions, cx),
            Reason::Swarm => swarms.on_timeout(sessions, cx),
            Reason::SwarmAsk => {
                if let Some((req, find)) = swarms.next_ask(cx)
                    && !flood.ask(req, find, neighbors, cx)
                {
                    cx.found.push((req, None));
                }
            }
            Reason::Order => cx.index.forget_order(),
            Reason::Starting => starting.end(cx),
            Reason::Sharing => starting.on_report_due(cx),
            Reason::Presence => {
                let more = cx.presence.rest(cx.now);
                cx.report(more);
            }
        }
    }

    /// A super peer serves sessions, not commands; a client can ask for its state and change its
    /// accounts.
    fn on_command(&mut self, client: ClientId, command: &Command) {
        let outcome = match command {
            Command::User(command) => return self.on_user_command(client, command),
            Command::Status => {
                let (peer, super_counts, links) = (Default::default(), self.counts(), self.links());
                let (super_agent, mode) = (Some(self.cx.config.agent.clone()), self.cx.logins.mode());
                let event = ClientEvent::Status {
                    super_peer: None,
                    peer,
                    super_counts,
                    status: None,
                    super_agent,
                    links,
                    mode,
                };
                self.cx.report(Event::Client { client, event });
                Outcome { ok: true, ..Outcome::default() }
            }
            Command::Query { .. }
            | Command::Subscribe { .. }
            | Command::Get(_)
            | Command::Queue(_)
            | Command::Fetch(_)
            | Command::Aim { .. }
            | Command::Uri { .. }
            | Command::List { .. }
            | Command::Network { .. }
            | Command::Downloads
            | Command::Clean
            | Command::Reload
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Limit { .. } => {
                Outcome::failed(&Failure::new(Exit::Usage, "a super peer takes no commands; ask it with --super"))
            }
        };
        self.cx.report(Event::Client { client, event: ClientEvent::Done(outcome) });
    }

    fn on_user_command(&mut self, client: ClientId, command: &UserCommand) {
        let SuperPeer { cx, sessions, .. } = self;
        let Effect { events, close, revoked, classes } = cx.logins.on_command(client, command);
        events.into_iter().for_each(|event| cx.report(Event::Client { client, event }));
        sessions.on_revoked(&close, revoked, cx);
        classes.into_iter().for_each(|classes| sessions.spread(Message::Classes(classes)));
    }

    fn on_settings(&mut self, settings: SuperSettings) {
        let SuperPeer { cx, sessions, neighbors, flood, .. } = self;
        let SuperSettings { neighbors: pins, ttl, budget, ping, memory, reports_queries, login } = settings;
        let config = SuperPeerConfig { ttl, budget, ping, memory, reports_queries, ..cx.config.clone() };
        cx.config = config;
        if let Some(login) = login {
            let Effect { close, revoked, .. } = cx.logins.on_settings(&login);
            sessions.on_revoked(&close, revoked, cx);
        }
        if neighbors.set(&pins, cx) {
            flood.on_link_lost(neighbors, cx);
        }
    }

    /// Passes on the results of one part that concern another. It runs after each input and each
    /// deadline, because their order decides whether a query ended before its session closed.
    fn pass_on(&mut self) {
        let SuperPeer { cx, sessions, neighbors, flood, starting, swarms, .. } = self;
        starting.look(cx);
        if let Some(accounts) = cx.logins.poll_save() {
            cx.out.push(Output::SaveAccounts { accounts });
        }
        neighbors.note_changes(cx);
        while !cx.work.is_spent()
            && let Some(query) = sessions.next_abandoned()
        {
            flood.abandon(query, neighbors, cx);
        }
        self.acks_left = neighbors.digests.release(|conn| sessions.is_open(conn), cx);
        if flood.has_finished() {
            for (conn, req) in flood.take_finished() {
                sessions.query_ended(conn, req);
            }
        }
        if !cx.found.is_empty() {
            for (req, found) in std::mem::take(&mut cx.found) {
                swarms.on_found(req, found, sessions, cx);
            }
        }
    }

    #[inline(always)]
    fn begin_turn(&mut self, now: Time) {
        self.cx.now = now;
        self.starting.begin_turn(&mut self.cx);
        self.cx.work.begin(self.cx.index.steps());
        self.neighbors.digests.begin_run(&mut self.cx);
    }

    fn finish_turn(&mut self) {
        self.pass_on();
        self.cx.work.end(self.cx.index.steps());
        if cfg!(debug_assertions) {
            self.checks += 1;
            let size = self.sessions.len() + self.cx.index.records() + self.flood.running();
            if size < CHECK_ALWAYS_BELOW || self.checks.is_multiple_of(CHECK_EVERY) {
                self.check_all_but_index();
                // The index is the largest part, and few inputs change it.
                if self.index_checked != Some(self.cx.index.changes()) {
                    self.cx.index.check_invariants();
                    self.index_checked = Some(self.cx.index.changes());
                }
            }
        }
    }
}

impl Role for SuperPeer {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.begin_turn(now);
        let SuperPeer { cx, sessions, flood, starting, reach, swarms, subscriptions, .. } = self;
        match input {
            Input::Accepted { conn, .. } if self.closing => cx.out.push(Output::Close { conn }),
            Input::Accepted { conn, from, to, since, key, unix } => {
                cx.logins.on_accepted(conn, key, now, unix);
                sessions.on_accepted((conn, since), from, to, cx);
            }
            Input::Message { conn, message: Message::Query(query) } => self.on_query(conn, query),
            Input::Message { conn, message } => self.on_message(conn, message),
            Input::Malformed { conn, .. } if reach.owns(conn) => reach.on_malformed(conn, cx),
            Input::Malformed { conn, error } => sessions.on_malformed(conn, &error, cx),
            Input::Datagram { from, to, key, bytes } => self.on_datagram(Path { from, to }, key, bytes),
            Input::Unanswered { from, why } => self.neighbors.on_unanswered(from, why, cx),
            Input::Undelivered { to, why } => self.neighbors.on_undelivered(to, why, cx),
            Input::Resolved { id, result } => self.neighbors.on_resolved(id, result, cx),
            Input::Crowded { excess } => sessions.on_crowded(excess, cx),
            Input::Backlogged { conn } if sessions.is_open(conn) => flood.on_backlogged(conn),
            Input::Backlogged { .. } => {}
            Input::Drained { conn } => flood.on_drained(conn),
            Input::Memory { short } => cx.memory_short = short,
            Input::Closed { conn, .. } if reach.owns(conn) => reach.on_closed(conn, cx),
            Input::Closed { conn, why } => {
                reach.on_session_closed(conn, cx);
                swarms.on_session_closed(conn, cx);
                subscriptions.on_session_closed(conn, cx);
                sessions.on_closed(conn, why, cx);
                flood.on_drained(conn);
            }
            Input::AccountsSaved { result } => sessions.on_saved(&result, cx),
            Input::Command { client, command } => self.on_command(client, &command),
            Input::ClientGone { .. } => {}
            Input::Settings(Settings::Super(settings)) => self.on_settings(*settings),
            // Of the other role.
            Input::Settings(Settings::Weak(_)) => {}
            Input::Shutdown => {
                self.closing = true;
                starting.stop(cx);
                reach.stop(cx);
                cx.presence = Default::default();
                cx.timers.stop(Reason::Presence);
                sessions.close_all(cx);
            }
            Input::Dialed { dial, conn, key, .. } => reach.on_dialed(dial, conn, key, cx),
            Input::DialFailed { dial, why, .. } => reach.on_dial_failed(dial, why, cx),
            Input::PayloadProgress { .. }
            | Input::PayloadReceived { .. }
            | Input::PayloadSent { .. }
            | Input::Disk(_) => cx.count(Count::UnexpectedInput),
        }
        self.finish_turn();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.begin_turn(now);
        self.sessions.run(&mut self.cx);
        let mut files = PUT_OFF_FILES_PER_TURN;
        while let Some((conn, ack)) = self.sessions.next_page(&mut files, &mut self.cx) {
            self.acknowledge(conn, ack);
        }
        self.subscriptions.run(&self.sessions, &mut self.cx);
        self.flood.run(&self.neighbors, &mut self.cx);
        self.pass_on();
        self.neighbors.run(&mut self.cx);
        // However many deadlines are due, a turn does a bounded part of what they cause.
        while !self.cx.work.is_spent()
            && let Some(reason) = self.cx.timers.expire(now)
        {
            let outputs = self.cx.out.len();
            self.on_reason(reason);
            self.pass_on();
            self.cx.work.add(TIMER_WORK + OUTPUT_WORK * self.cx.out.len().saturating_sub(outputs));
        }
        upkeep::run(&mut self.cx.index, &mut self.cx.work);
        self.finish_turn();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.cx.out.pop()
    }

    fn glance(&self) -> Glance {
        let gauges = self.gauges();
        Glance {
            counters: by_name(&mut self.cx.counters.all()),
            levels: by_name(&mut gauges.into_iter().map(|(name, gauge)| (name.to_owned(), gauge as u64))),
            peer: None,
            links: self.links_without_keys(),
            sessions: self.sessions.rows(&self.cx),
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let SuperPeer { cx, sessions, neighbors, flood, subscriptions, .. } = self;
        let left = sessions.has_work() || self.acks_left || subscriptions.has_work(cx);
        if left || upkeep::has_work(&cx.index) || flood.has_work() || neighbors.digests.has_work() {
            Some(Time::ZERO)
        } else {
            cx.timers.next()
        }
    }
}
