//! The shadow records all messages, and checks every message that a machine sends against those
//! that it has received. It never looks into a machine, except at the counters and the index.
//!
//! - a super peer searches once for each query id; if it sends an id over a link again, the ttl is
//!   higher than before;
//! - a query loses a hop each time it is forwarded, and starts at only one node;
//! - no node sends an answer to a neighbor or a session that did not ask;
//! - the index of a super peer contains exactly what its live sessions have registered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::matches::Match;
use crate::config::{QUERY_BUDGET_MAX, QUERY_HITS_MAX, TTL_MAX, VISITED_GENERATION};
use crate::proto::ConnId;
use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::counters::Count;
use crate::time::Time;
use crate::wire::link::{self, LinkQuery, TREE_QUERY_TTL};
use crate::wire::{FileRecord, HostPort, LinkMessage, Message, QueryId, Root, Search};

/// How long the trail of a query is kept. It is longer than the longest budget and the longest
/// pause.
const TRAIL_KEPT: Duration = Duration::from_secs(4 * QUERY_BUDGET_MAX.as_secs());
/// The first bytes of a QUERY. A datagram that does not contain them is not decoded again.
const QUERY_BEGINS: &[u8] = b"\x81\xa5QUERY";
const HIT_BEGINS: &[u8] = b"\x81\xa3HIT";

/// One life of one node.
pub(super) type Life = (usize, u64);

/// The path of a query through the network.
#[derive(Debug, Default)]
struct Trail {
    origin: Option<Life>,
    /// What the query searches for, and when it began.
    find: Option<Search>,
    at: Time,
    /// Whether a copy of it belonged to a tree query.
    tree_query: bool,
    /// Whether a liar was asked or has sent a copy itself.
    liar: bool,
    /// Honest nodes that may have received a copy from a liar, directly or through others. The
    /// second set has those for which it was the first copy.
    reached_by_liar: BTreeSet<usize>,
    searched_for_liar: BTreeSet<usize>,
    /// Every copy that was sent.
    sent: Vec<Sent>,
    /// The receivers of copies, with the highest ttl of each.
    received: Vec<(Life, u8)>,
    /// The nodes that have searched for it, with the time.
    searched: Vec<(Life, Time)>,
}

/// A copy that was sent.
#[derive(Debug)]
struct Sent {
    from: Life,
    to: usize,
    ttl: u8,
    at: Time,
    /// Whether the clock of its sender has jumped since. Then the sender may have forgotten the
    /// query.
    forgotten: bool,
}

/// What a session has registered and requested, from its first REGISTER or QUERY until its super
/// peer knows that the session is gone.
#[derive(Debug, Default)]
struct Session {
    peer: usize,
    port: Option<(u16, Option<String>)>,
    files: BTreeMap<String, (u64, Root)>,
    registering: bool,
    /// The queries that run.
    running: BTreeSet<u32>,
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    trails: BTreeMap<QueryId, Trail>,
    order: VecDeque<(Time, QueryId)>,
    sessions: BTreeMap<(usize, ConnId), Session>,
    /// The neighbors that lie.
    liars: BTreeSet<usize>,
    /// The hits that the liars have sent.
    forged: BTreeSet<Match>,
    /// The last datagram with HITs.
    answers: Option<(Life, Vec<u8>)>,
}

/// What liars may have done to a query.
#[derive(Debug, Default)]
pub(super) struct Excuse {
    /// Whether a liar had the query.
    pub(super) liar: bool,
    searched_for_liar: BTreeSet<usize>,
    /// Queries that a liar's copy, or a tree with a liar in it, may have kept from some nodes. For
    /// each, the nodes that have searched for it. There may be several, because clients may send
    /// the same search at the same time.
    kept_away: Vec<BTreeSet<usize>>,
    /// The hits that liars have sent, for any query.
    pub(super) forged: BTreeSet<Match>,
}

impl Excuse {
    /// Whether matches of this super peer may be missing. That is so if it answered a copy that
    /// came through a liar, or if no copy reached it because of a liar. If it answered a copy that
    /// came only through honest super peers, none of its matches may be missing.
    pub(super) fn covers(&self, node: usize) -> bool {
        let unreached = self.kept_away.iter().any(|searched| !searched.contains(&node));
        self.liar && (self.searched_for_liar.contains(&node) || unreached)
    }
}

/// A datagram that contained only answers.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) to: Life,
    pub(super) bytes: Vec<u8>,
    /// The query and the ttl that each answer names.
    pub(super) named: Vec<(QueryId, u8)>,
}

/// The state before a datagram was handled.
#[derive(Debug, Default)]
pub(super) struct Before {
    searched: u64,
    ids: Vec<QueryId>,
    from: Option<usize>,
}

fn searched(machine: &SuperPeer) -> u64 {
    machine.counters().count(Count::FloodSearched)
}

impl Shadow {
    /// A super peer sends a message to a neighbor.
    pub(super) fn on_link_out(&mut self, now: Time, from: Life, to: usize, message: &LinkMessage) {
        if self.liars.contains(&from.0) {
            return self.on_liar_out(now, from, to, message);
        }
        if let LinkMessage::Query(query) = message {
            self.on_query_out(now, from, to, query);
            let liar = self.liars.contains(&to);
            if let Some(trail) = self.trails.get_mut(&query.id) {
                trail.liar |= liar;
                trail.tree_query |= is_tree_query(query.ttl);
            }
        } else if let LinkMessage::Cancel(cancel) = message {
            let asked = |trail: &Trail| trail.has_sent(from, to, cancel.ttl);
            let asked = self.trails.get(&cancel.id).is_some_and(asked);
            assert!(asked, "{from:?} cancels at {to} what it has not asked: {cancel:?}");
        } else if let Some((id, ttl)) = names(message) {
            self.answered(from, to, &id, ttl, message);
        }
        if let LinkMessage::Hit(hit) = message {
            assert!((hit.n as usize) < QUERY_HITS_MAX, "hits are capped: {hit:?}");
        }
    }

    /// A liar may send anything. The shadow only remembers what it has sent.
    fn on_liar_out(&mut self, now: Time, from: Life, to: usize, message: &LinkMessage) {
        if let LinkMessage::Hit(hit) = message {
            let (path, source) = (hit.file.path.as_str().to_owned(), hit.addr.clone());
            self.forged.insert(Match { path, size: hit.file.size, root: hit.file.root, source });
        }
        let LinkMessage::Query(query) = message else { return };
        let (order, id) = (&mut self.order, query.id);
        let trail = self.trails.entry(id).or_insert_with(|| {
            order.push_back((now, id));
            Trail { origin: Some(from), find: Some(query.find.clone()), at: now, ..Trail::default() }
        });
        trail.liar = true;
        trail.sent.push(Sent { from, to, ttl: query.ttl, at: now, forgotten: false });
    }

    /// These nodes lie to their neighbors.
    pub(super) fn set_liars(&mut self, liars: impl Iterator<Item = usize>) {
        self.liars = liars.collect();
    }

    /// What liars may have done to queries with this search that began at this time or later.
    pub(super) fn excuse(&self, search: &Search, since: Time) -> Excuse {
        let mut excuse = Excuse::default();
        if self.liars.is_empty() {
            return excuse;
        }
        let alike = |find: &Search| {
            (&find.pattern, find.kind, find.min, find.max) == (&search.pattern, search.kind, search.min, search.max)
        };
        for trail in self.trails.values() {
            if trail.at < since || !trail.find.as_ref().is_some_and(alike) {
                continue;
            }
            excuse.liar |= trail.liar;
            if trail.liar && (trail.tree_query || !trail.reached_by_liar.is_empty()) {
                excuse.kept_away.push(trail.searched.iter().map(|((node, _), _)| *node).collect());
            }
            excuse.searched_for_liar.extend(&trail.searched_for_liar);
            // A flood after a tree asks again. The answer of a node over the tree may be lost. Its
            // answer to the flood goes to the node that asks first, which may be the liar.
            let (tree, flood): (Vec<&Sent>, Vec<&Sent>) = trail.sent.iter().partition(|sent| is_tree_query(sent.ttl));
            if !tree.is_empty() && !flood.is_empty() {
                excuse.searched_for_liar.extend(&trail.reached_by_liar);
            }
        }
        excuse.forged = self.forged.clone();
        excuse
    }

    fn on_query_out(&mut self, now: Time, from: Life, to: usize, query: &LinkQuery) {
        let (order, id) = (&mut self.order, query.id);
        let trail = self.trails.entry(id).or_insert_with(|| {
            order.push_back((now, id));
            let find = Some(query.find.clone());
            Trail { origin: Some(from), find, at: now, searched: vec![(from, now)], ..Trail::default() }
        });
        if trail.origin != Some(from) {
            let alike = |(life, ttl): &&(Life, u8)| *life == from && is_tree_query(*ttl) == is_tree_query(query.ttl);
            let most = trail.received.iter().find(alike).map(|(_, ttl)| *ttl);
            let most = most.unwrap_or_else(|| panic!("{from:?} passes on what it was never sent: {query:?}"));
            assert!(query.ttl < most, "{from:?} had it with ttl {most} and passes on {query:?}");
        }
        if query.have.is_some() {
            assert!(trail.has_sent(from, to, query.ttl), "{from:?} repeats what it never sent: {query:?}");
        } else {
            // A super peer remembers the id of an ended query only for some time.
            let known = |sent: &&Sent| !sent.forgotten && now.since(sent.at) < VISITED_GENERATION;
            let alike =
                |sent: &&Sent| (sent.from, sent.to, is_tree_query(sent.ttl)) == (from, to, is_tree_query(query.ttl));
            let before = trail.sent.iter().filter(alike).filter(known);
            let before = before.map(|sent| sent.ttl).max();
            assert!(before.is_none_or(|before| before < query.ttl), "{from:?} sends {to} twice {query:?}");
            trail.sent.push(Sent { from, to, ttl: query.ttl, at: now, forgotten: false });
        }
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > TRAIL_KEPT) {
            if let Some((_, id)) = self.order.pop_front() {
                self.trails.remove(&id);
            }
        }
    }

    fn answered(&self, from: Life, to: usize, id: &QueryId, ttl: u8, message: &LinkMessage) {
        let asked = |trail: &Trail| trail.sent.iter().any(|sent| (sent.from.0, sent.to, sent.ttl) == (to, from.0, ttl));
        let asked = self.trails.get(id).is_some_and(asked);
        assert!(asked, "{from:?} answers {to}, which has not asked: {message:?}");
    }

    /// A datagram is about to be handled.
    pub(super) fn before_datagram(
        &mut self,
        to: Life,
        from: Option<usize>,
        bytes: &[u8],
        machine: &SuperPeer,
    ) -> Before {
        let holds = |begins: &[u8]| bytes.windows(begins.len()).any(|window| window == begins);
        let matters = holds(QUERY_BEGINS) || holds(HIT_BEGINS);
        let Some((_, messages)) = matters.then(|| link::decode(bytes).ok()).flatten() else {
            return Before::default();
        };
        let mut ids = Vec::new();
        let hits = messages.iter().any(|message| matches!(message, LinkMessage::Hit(_)));
        for message in messages {
            let LinkMessage::Query(query) = message else { continue };
            let Some(trail) = self.trails.get_mut(&query.id) else { continue };
            let ttl = if is_tree_query(query.ttl) { query.ttl } else { query.ttl.min(TTL_MAX + 1) };
            if from.is_some_and(|from| self.liars.contains(&from) || trail.reached_by_liar.contains(&from)) {
                trail.reached_by_liar.insert(to.0);
            }
            let alike = |(life, most): &&mut (Life, u8)| *life == to && is_tree_query(*most) == is_tree_query(ttl);
            match trail.received.iter_mut().find(alike) {
                Some((_, most)) => *most = ttl.max(*most),
                None => trail.received.push((to, ttl)),
            }
            ids.push(query.id);
        }
        if hits {
            self.answers = Some((to, bytes.to_vec()));
        }
        Before { searched: searched(machine), ids, from }
    }

    /// A datagram was handled.
    pub(super) fn after_datagram(&mut self, now: Time, to: Life, before: &Before, machine: &SuperPeer) {
        if before.ids.is_empty() {
            return;
        }
        let times = searched(machine) - before.searched;
        // A super peer remembers the id of an ended query only for some time.
        let remembered =
            |trail: &Trail| trail.searched.iter().any(|(life, at)| *life == to && now.since(*at) < VISITED_GENERATION);
        let new: BTreeSet<QueryId> =
            before.ids.iter().filter(|id| !self.trails.get(id).is_some_and(remembered)).copied().collect();
        assert!(times <= new.len() as u64, "{to:?} searches {times} times for {new:?} of {:?}", before.ids);
        if times == new.len() as u64 {
            for id in new {
                if let Some(trail) = self.trails.get_mut(&id) {
                    trail.searched.push((to, now));
                    let lies = |from| self.liars.contains(&from) || trail.reached_by_liar.contains(&from);
                    if before.from.is_some_and(lies) {
                        trail.searched_for_liar.insert(to.0);
                    }
                }
            }
        }
    }

    /// The clock of a node has jumped. The node may have forgotten what it must remember for some
    /// time.
    pub(super) fn forget(&mut self, node: usize) {
        for trail in self.trails.values_mut() {
            trail.searched.retain(|((other, _), _)| *other != node);
            trail.sent.iter_mut().filter(|sent| sent.from.0 == node).for_each(|sent| sent.forgotten = true);
        }
    }

    /// A node is about to handle a message.
    pub(super) fn on_message_in(&mut self, (node, conn): (usize, ConnId), peer: usize, message: &Message) {
        if let Message::Register(register) = message {
            let session = self.sessions.entry((node, conn)).or_default();
            session.peer = peer;
            if !session.registering {
                session.files.clear();
                session.port = (register.port != 0).then(|| (register.port, register.host.clone()));
            }
            session.registering = register.more;
            session.insert(&register.files);
        } else if let Message::Update(update) = message {
            let session = self.sessions.entry((node, conn)).or_default();
            for path in &update.del {
                session.files.remove(path.as_str());
            }
            session.insert(&update.add);
        } else if let Message::Query(query) = message {
            self.sessions.entry((node, conn)).or_default().running.insert(query.req);
        } else if let (Message::Cancel(cancel), Some(session)) = (message, self.sessions.get_mut(&(node, conn))) {
            session.running.remove(&cancel.req);
        }
    }

    /// Either end has closed a connection of a node.
    pub(super) fn on_closed(&mut self, node: usize, conn: ConnId) {
        self.sessions.remove(&(node, conn));
    }

    /// A node crashed.
    pub(super) fn on_crash(&mut self, node: usize) {
        self.sessions.retain(|(other, _), _| *other != node);
    }

    /// A node sends a message on an open connection.
    pub(super) fn on_message_out(&mut self, node: usize, conn: ConnId, message: &Message) {
        let session = self.sessions.get_mut(&(node, conn));
        if let Message::Hit(hit) = message {
            let runs = session.is_some_and(|session| session.running.contains(&hit.req));
            assert!(runs, "{node} sends hits of {}, which does not run", hit.req);
        } else if let Message::Done(done) = message {
            let ran = session.is_some_and(|session| session.running.remove(&done.req));
            assert!(ran, "{node} ends {}, which does not run", done.req);
        } else if let (Message::Error(error), Some(session)) = (message, session)
            && let Some(req) = error.req
        {
            session.running.remove(&req);
        }
    }

    fn of(&self, node: usize) -> impl Iterator<Item = &Session> {
        let first = ConnId { index: 0, generation: 0 };
        let last = ConnId { index: u32::MAX, generation: u32::MAX };
        self.sessions.range((node, first)..=(node, last)).map(|(_, session)| session)
    }

    /// Removes and returns the last datagram with answers, and its receiver. None if it contained
    /// anything else.
    pub(super) fn take_answers(&mut self) -> Option<Answers> {
        let (to, bytes) = self.answers.take()?;
        let (_, messages) = link::decode(&bytes).ok()?;
        let named: Vec<(QueryId, u8)> = messages.iter().filter_map(names).collect();
        (named.len() == messages.len()).then_some(Answers { to, bytes, named })
    }

    /// Whether the receiver asked this neighbor for any of the answers.
    pub(super) fn asked_for_any(&self, answers: &Answers, neighbor: usize) -> bool {
        answers.named.iter().any(|(id, ttl)| {
            let to_it = |sent: &Sent| sent.from.0 == answers.to.0 && sent.to == neighbor && sent.ttl == *ttl;
            self.trails.get(id).is_none_or(|trail| trail.sent.iter().any(to_it))
        })
    }

    /// What the live sessions of a super peer have registered, by weak peer. The closure returns
    /// the weak peer for the address at the other end of a connection.
    pub(super) fn registered_by_peer(
        &self,
        node: usize,
        addr: impl Fn(usize) -> SocketAddr,
    ) -> Vec<(usize, BTreeSet<Match>)> {
        self.of(node).filter_map(|session| Some((session.peer, session.records(addr(session.peer))?))).collect()
    }
}

/// Whether a copy with this ttl belongs to a tree query. A flood may follow such a copy.
fn is_tree_query(ttl: u8) -> bool {
    ttl >= TREE_QUERY_TTL
}

impl Trail {
    fn has_sent(&self, from: Life, to: usize, ttl: u8) -> bool {
        self.sent.iter().any(|sent| (sent.from, sent.to, sent.ttl) == (from, to, ttl))
    }
}

impl Session {
    /// What the session has registered. Nothing if it serves no chunks.
    fn records(&self, peer: SocketAddr) -> Option<BTreeSet<Match>> {
        let (port, host) = self.port.as_ref()?;
        let source = match host {
            Some(host) => HostPort::new(host, *port).expect("it was taken"),
            None => SocketAddr::new(peer.ip(), *port).into(),
        };
        let record = |(path, (size, root)): (&String, &(u64, Root))| Match {
            path: path.clone(),
            size: *size,
            root: *root,
            source: source.clone(),
        };
        Some(self.files.iter().map(record).collect())
    }

    fn insert(&mut self, files: &[FileRecord]) {
        let files = files.iter().map(|file| (file.path.as_str().to_owned(), (file.size, file.root)));
        self.files.extend(files);
    }
}

/// The query and the ttl that an answer names.
fn names(message: &LinkMessage) -> Option<(QueryId, u8)> {
    match message {
        LinkMessage::Hit(hit) => Some((hit.id, hit.ttl)),
        LinkMessage::Done(done) => Some((done.id, done.ttl)),
        LinkMessage::Pending(pending) => Some((pending.id, pending.ttl)),
        LinkMessage::Hello(_)
        | LinkMessage::Query(_)
        | LinkMessage::Cancel(_)
        | LinkMessage::Tree(_)
        | LinkMessage::Digest(_)
        | LinkMessage::Digested(_)
        | LinkMessage::Unknown(_) => None,
    }
}
