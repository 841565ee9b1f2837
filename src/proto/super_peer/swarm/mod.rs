//! The swarms of a super peer: which sessions download or have a content at present, and which
//! members were named to which other members (PROTOCOL.md 16.1).
//!
//! It owns the JOINs. It makes the graph, but never the schedule: the peers decide which peer sends
//! which piece to which other peer. A swarm takes little memory and ends with its sessions. A JOIN
//! takes at most 64 bytes in a large swarm, and 768 bytes if it is alone in its swarm. Nothing is
//! kept on a disk, and only searches that ask for members find a swarm.

mod across;
mod asking;
mod graph;
pub(super) mod members;
mod outside;
mod slot;
mod zones;

use std::collections::BTreeMap;

use self::asking::{Across, Asking};
use self::graph::{Graph, JoinFlags};
use self::outside::{Asker, Outside};
use self::slot::Slot;
use super::context::{Context, Reason};
use super::counters::Count;
use super::index::Found;
use super::session::Sessions;
use crate::config::{MEMORY_JOINS_PERCENT, SESSION_JOINS_MAX, SWARM_ASK_INTERVAL_MAX, SWARM_PUSH_AFTER};
use crate::proto::{ConnId, Entropy};
use crate::time::Time;
use crate::wire::message::ErrorCode;
use crate::wire::swarm::{Join, Member as Named, Peers};
use crate::wire::{Message, Root, SharePath};

/// The cost of naming other members to one member, in the unit of [`super::work`].
const NAMING_WORK: usize = 64;
/// One unit of work looks at this many members of a swarm, or places of members. If a member
/// leaves, the members that follow it are looked for. If a peer outside of the graph leaves, the
/// members to which it was named are looked for.
const LOOKS_PER_WORK: usize = 64;
/// While no complete holder is known: shortest time between two looks in the index for one.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// The first JOIN of a session: the swarm and the place in it.
#[derive(Clone, Copy, Debug)]
struct Head {
    swarm: u32,
    slot: Slot,
}

const NO_JOIN: Head = Head { swarm: 0, slot: Slot::NONE };

#[derive(Debug)]
struct Swarm {
    root: Root,
    /// The size and path of the content, from the first JOIN that named them.
    size: u64,
    path: Option<SharePath>,
    graph: Graph,
    outside: Outside,
    looked_at: Time,
    asking: Asking,
    /// Peers at other super peers must still be named to the members from this place of the graph
    /// on.
    spread: usize,
    /// Its place in the queue of swarms that have newcomers, or members that follow too few others.
    due: Option<u64>,
    /// Members that follow too few others and were not looked at since the last change.
    left: usize,
    /// The bytes of this swarm, as they are counted in the sum of all swarms.
    bytes: usize,
}

/// The swarms by root, and the sessions in each.
#[derive(Debug, Default)]
pub(super) struct Swarms {
    by_root: BTreeMap<Root, u32>,
    list: Vec<Option<Swarm>>,
    free: Vec<u32>,
    /// The first JOIN of each session, by the slot of the session.
    heads: Vec<Head>,
    /// The swarms that are due, by their place in the queue.
    due: BTreeMap<u64, u32>,
    last_due: u64,
    members: usize,
    /// Bytes of all swarms. The sum is kept, because there may be very many swarms and each STATUS
    /// reports it.
    bytes: usize,
    across: Across,
}

/// - getters: `len`, `members`, `bytes`;
/// - `handle_*`: `on_join`, `on_leave`, `on_session_closed`, `on_timeout`, `on_found`;
/// - `poll_*`: `next_ask`.
impl Swarms {
    /// Contents that at least one session has joined.
    pub(super) fn len(&self) -> usize {
        self.by_root.len()
    }

    /// The number of JOINs of all sessions.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Bytes of memory that all this takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes_of_swarms() + self.heads.capacity() * size_of::<Head>()
    }

    /// Bytes of memory without the JOINs that sessions hold.
    fn bytes_of_swarms(&self) -> usize {
        self.bytes + self.list.capacity() * size_of::<Option<Swarm>>()
    }

    /// A session downloads or has a content. Or the facts that its last JOIN stated have changed.
    pub(super) fn on_join(&mut self, conn: ConnId, join: &Join, sessions: &Sessions, cx: &mut Context) {
        cx.count(Count::Joins);
        let flags = JoinFlags { is_full: join.full, serves: sessions.peer(conn).is_some() };
        let head = match self.find(conn, join.req) {
            Some(head) if self.swarm(head.swarm).root != join.root => {
                let why = "a JOIN with this number is for another content";
                return refuse(conn, join.req, ErrorCode::BAD_REQUEST, why, cx);
            }
            Some(head) => {
                let graph = &mut self.swarm_mut(head.swarm).graph;
                graph.change(head.slot, flags);
                if join.short {
                    graph.ask(head.slot);
                }
                head
            }
            // A session is one member only. With several JOINs of a content it would be named
            // several times.
            None if self.joins_of(conn).any(|head| self.swarm(head.swarm).root == join.root) => {
                let why = "another JOIN of this session is for this content";
                return refuse(conn, join.req, ErrorCode::BAD_REQUEST, why, cx);
            }
            None if cx.memory_short || self.bytes_of_swarms() > cx.config.memory / 100 * MEMORY_JOINS_PERCENT => {
                let why = "this super peer is short of memory; try again later or elsewhere";
                return refuse(conn, join.req, ErrorCode::LIMIT, why, cx);
            }
            None if self.joins_of(conn).count() >= SESSION_JOINS_MAX => {
                return refuse(conn, join.req, ErrorCode::LIMIT, "too many JOINs of this session stand", cx);
            }
            None => match self.join(conn, join, flags, sessions, cx) {
                Some(head) => head,
                None => return refuse(conn, join.req, ErrorCode::LIMIT, "this swarm has no room", cx),
            },
        };
        self.answer(head, sessions, cx);
        self.note_change(head.swarm, cx);
    }

    /// A session has sent LEAVE for a JOIN.
    pub(super) fn on_leave(&mut self, conn: ConnId, req: u32, cx: &mut Context) {
        if let Some(head) = self.find(conn, req) {
            self.unlink(conn, head);
            self.remove(head, cx);
        }
    }

    /// A session has ended. Its JOINs end with it.
    pub(super) fn on_session_closed(&mut self, conn: ConnId, cx: &mut Context) {
        let Some(head) = self.heads.get_mut(conn.index as usize) else { return };
        let mut head = std::mem::replace(head, NO_JOIN);
        while head.slot != Slot::NONE {
            let next = self.after(head);
            self.remove(head, cx);
            head = next;
        }
    }

    /// In the swarms in which something has changed: names newcomers to other members, and other
    /// members to members that follow too few.
    pub(super) fn on_timeout(&mut self, sessions: &Sessions, cx: &mut Context) {
        while let Some((&place, &number)) = self.due.first_key_value() {
            cx.work.add(1);
            let is_over = self.push(number, sessions, cx);
            self.count_bytes(number);
            if is_over {
                self.due.remove(&place);
                self.swarm_mut(number).due = None;
            }
            if !self.due.is_empty() && (!is_over || cx.work.is_spent()) {
                return cx.timers.set(Reason::Swarm, cx.now);
            }
        }
    }

    /// Counts the bytes of a swarm again after a change.
    fn count_bytes(&mut self, number: u32) {
        let swarm = self.swarm_mut(number);
        let now = swarm.count();
        let before = std::mem::replace(&mut swarm.bytes, now);
        self.bytes = self.bytes - before + now;
    }

    /// Names newcomers and others in one swarm, as far as fits in this turn. Returns whether
    /// nothing is left to do.
    fn push(&mut self, number: u32, sessions: &Sessions, cx: &mut Context) -> bool {
        let swarm = self.list[number as usize].as_mut().expect("a swarm that is gone is not due");
        // Each member gets only one message, even if many newcomers came.
        let mut named: BTreeMap<Slot, Vec<Slot>> = BTreeMap::new();
        let entropy = &mut cx.entropy;
        while !cx.work.is_spent()
            && let Some(newcomer) = swarm.graph.next_newcomer()
        {
            cx.work.add(NAMING_WORK);
            for target in swarm.graph.introduce(newcomer, |n| draw(entropy.as_mut(), n)) {
                named.entry(target).or_default().push(newcomer);
            }
        }
        let mut lacking = Vec::new();
        while !cx.work.is_spent() && swarm.left > 0 {
            cx.work.add(NAMING_WORK);
            swarm.left -= 1;
            let Some(slot) = swarm.graph.next_lacking() else { break };
            named.entry(slot).or_default().extend(swarm.graph.name(slot, usize::MAX, |n| draw(entropy.as_mut(), n)));
            lacking.push(slot);
        }
        let is_over = swarm.graph.newcomers() == 0 && (swarm.left == 0 || swarm.graph.lacking() == 0);
        for (slot, named) in named {
            let names = if lacking.contains(&slot) { Beside::All } else { Beside::None };
            self.send_peers(Head { swarm: number, slot }, (named, names), false, sessions, cx);
        }
        self.spread(number, sessions, cx) && is_over
    }

    fn swarm(&self, number: u32) -> &Swarm {
        self.list[number as usize].as_ref().expect("a swarm is there as long as it has a member")
    }

    fn swarm_mut(&mut self, number: u32) -> &mut Swarm {
        self.list[number as usize].as_mut().expect("a swarm is there as long as it has a member")
    }

    fn after(&self, head: Head) -> Head {
        let member = self.swarm(head.swarm).graph.member(head.slot);
        Head { swarm: member.next_swarm, slot: member.next_slot }
    }

    fn joins_of(&self, conn: ConnId) -> impl Iterator<Item = Head> {
        let first = self.heads.get(conn.index as usize).copied().unwrap_or(NO_JOIN);
        let some = |head: Head| (head.slot != Slot::NONE).then_some(head);
        std::iter::successors(some(first), move |head| some(self.after(*head)))
    }

    fn find(&self, conn: ConnId, req: u32) -> Option<Head> {
        self.joins_of(conn).find(|head| self.swarm(head.swarm).graph.member(head.slot).req == req)
    }

    fn join(
        &mut self,
        conn: ConnId,
        join: &Join,
        flags: JoinFlags,
        sessions: &Sessions,
        cx: &mut Context,
    ) -> Option<Head> {
        let number = self.number_of(join, cx);
        let swarm = self.swarm_mut(number);
        if matches!(swarm.asking, Asking::No)
            && !cx.config.neighbors.is_empty()
            && cx.logins.take_query(conn, cx.now).is_err()
        {
            // The account of the session may not ask more often.
            cx.count(Count::AccountQueries);
            swarm.asking = Asking::Rests(cx.now + SWARM_ASK_INTERVAL_MAX, SWARM_ASK_INTERVAL_MAX);
        }
        let slot = match swarm.graph.join((conn.index, join.req), join.zone.as_deref(), flags) {
            Ok(slot) => slot,
            Err(graph::NoRoom) => return None,
        };
        // If the peer was named as a holder, it is named as a member from now on.
        let own = sessions.peer(conn).map(|peer| peer.holder);
        if let Some((seed, followers)) = own.and_then(|own| swarm.outside.take_member(own)) {
            cx.work.add(swarm.graph.len() / LOOKS_PER_WORK);
            swarm.graph.adopt(slot, seed, followers);
        }
        self.members += 1;
        let index = conn.index as usize;
        if index >= self.heads.len() {
            self.heads.reserve_exact((index + 1).saturating_sub(self.heads.capacity()).max(self.heads.len() / 64));
            self.heads.resize(index + 1, NO_JOIN);
        }
        let next = std::mem::replace(&mut self.heads[index], Head { swarm: number, slot });
        let member = self.swarm_mut(number).graph.member_mut(slot);
        (member.next_swarm, member.next_slot) = (next.swarm, next.slot);
        Some(Head { swarm: number, slot })
    }

    fn number_of(&mut self, join: &Join, cx: &Context) -> u32 {
        let (root, size, path) = (join.root, join.size, join.path.clone());
        if let Some(number) = self.by_root.get(&root) {
            return *number;
        }
        let mut outside = Outside::default();
        outside.find_here(&root, &cx.index);
        let (graph, asking, looked_at) = (Graph::default(), Asking::default(), cx.now);
        let (due, left, spread, bytes) = (None, 0, usize::MAX, 0);
        let swarm = Swarm { root, size, path, graph, outside, looked_at, asking, spread, due, left, bytes };
        let number = self.free.pop().unwrap_or_else(|| {
            if self.list.len() == self.list.capacity() {
                self.list.reserve_exact(1 + self.list.len() / 32);
            }
            self.list.push(None);
            self.list.len() as u32 - 1
        });
        self.list[number as usize] = Some(swarm);
        self.by_root.insert(root, number);
        number
    }

    fn unlink(&mut self, conn: ConnId, head: Head) {
        let next = self.after(head);
        let before =
            self.joins_of(conn).take_while(|other| (other.swarm, other.slot) != (head.swarm, head.slot)).last();
        match before {
            None => self.heads[conn.index as usize] = next,
            Some(before) => {
                let member = self.swarm_mut(before.swarm).graph.member_mut(before.slot);
                (member.next_swarm, member.next_slot) = (next.swarm, next.slot);
            }
        }
    }

    fn remove(&mut self, head: Head, cx: &mut Context) {
        self.members -= 1;
        let swarm = self.swarm_mut(head.swarm);
        swarm.outside.unfollow(swarm.graph.member(head.slot).outsiders());
        cx.work.add(1 + swarm.graph.len() / LOOKS_PER_WORK);
        swarm.graph.leave(head.slot);
        if swarm.graph.len() == 0 {
            let (root, due, bytes) = (swarm.root, swarm.due, swarm.bytes);
            self.bytes -= bytes;
            self.forget_asking(head.swarm, cx);
            self.by_root.remove(&root);
            self.list[head.swarm as usize] = None;
            due.map(|due| self.due.remove(&due));
            self.free.push(head.swarm);
            if self.due.is_empty() {
                cx.timers.stop(Reason::Swarm);
            }
        } else {
            self.note_change(head.swarm, cx);
        }
    }

    /// Something has changed. Other members may now be named to members that follow too few.
    fn note_change(&mut self, number: u32, cx: &mut Context) {
        self.count_bytes(number);
        let swarm = self.swarm_mut(number);
        swarm.left = swarm.graph.lacking();
        if swarm.left + swarm.graph.newcomers() > 0 {
            self.push_later(number, cx);
        }
        self.ask_later(number, cx);
    }

    fn push_later(&mut self, number: u32, cx: &mut Context) {
        cx.timers.set_earlier(Reason::Swarm, cx.now + SWARM_PUSH_AFTER);
        if self.swarm(number).due.is_none() {
            self.last_due += 1;
            self.swarm_mut(number).due = Some(self.last_due);
            self.due.insert(self.last_due, number);
        }
    }

    /// Answers a JOIN.
    fn answer(&mut self, head: Head, sessions: &Sessions, cx: &mut Context) {
        cx.work.add(NAMING_WORK);
        let (entropy, graph) =
            (&mut cx.entropy, &mut self.list[head.swarm as usize].as_mut().expect("it joined").graph);
        let named = graph.name(head.slot, graph.first(), |n| draw(entropy.as_mut(), n));
        self.send_peers(head, (named, Beside::All), true, sessions, cx);
    }

    /// Sends PEERS to a member with the members in `named`, and with other peers according to
    /// `beside`. If there is no peer to name, PEERS is sent only if it is an `answer`.
    fn send_peers(
        &mut self,
        head: Head,
        (named, beside): (Vec<Slot>, Beside),
        answer: bool,
        sessions: &Sessions,
        cx: &mut Context,
    ) {
        let swarm = self.swarm_mut(head.swarm);
        let Some(conn) = sessions.conn_at(swarm.graph.member(head.slot).session) else { return };
        let at = sessions.reached_at(conn);
        let mut peers: Vec<Named> = Vec::with_capacity(named.len());
        for slot in named {
            let other = sessions.conn_at(swarm.graph.member(slot).session);
            let Some(peer) = other.and_then(|conn| sessions.peer(conn)) else { continue };
            let Found { addr, other, out_of_reach } = cx.index.serves(peer.holder).found_from(at);
            peers.push(Named {
                node: Some(peer.node),
                addr,
                other,
                full: swarm.graph.is_full(slot),
                out: swarm.graph.is_outside(head.slot, slot),
                unreached: out_of_reach || cx.index.is_unreached(peer.holder),
            });
        }
        let asker = Asker { slot: head.slot, own: sessions.peer(conn).map(|peer| peer.holder), at };
        match beside {
            Beside::None => {}
            Beside::Across => swarm.outside.name(asker, true, &mut swarm.graph, &cx.index, &mut peers),
            Beside::All => {
                swarm.refresh_seeds(cx);
                swarm.outside.name(asker, false, &mut swarm.graph, &cx.index, &mut peers);
                swarm.graph.still_lacks(head.slot);
            }
        }
        let (gateway, is_news) = swarm.graph.report_gateway(head.slot);
        if peers.is_empty() && !answer && !is_news {
            return;
        }
        cx.counters.add_many(Count::MembersNamed, peers.len() as u64);
        let (n, full) = swarm.known();
        let req = swarm.graph.member(head.slot).req;
        cx.send(conn, Message::Peers(Peers { req, peers, n: n as u32, full: full as u32, gateway }));
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, sessions: &Sessions) {
        let all: usize = self.list.iter().flatten().map(|swarm| swarm.graph.len()).sum();
        assert_eq!(all, self.members);
        assert_eq!(self.list.iter().flatten().map(|swarm| swarm.bytes).sum::<usize>(), self.bytes);
        assert_eq!(self.by_root.len() + self.free.len(), self.list.len());
        for (root, number) in &self.by_root {
            let swarm = self.swarm(*number);
            assert!(swarm.root == *root && swarm.graph.len() > 0, "a swarm has a member");
            swarm.graph.check_invariants();
            assert_eq!(swarm.due.map(|due| self.due.get(&due)), self.due.values().find(|due| *due == number).map(Some));
            assert_eq!(swarm.bytes, swarm.count());
            swarm.outside.check_invariants(&swarm.graph);
            for (slot, member) in swarm.graph.all() {
                let conn = sessions.conn_at(member.session).expect("a member has a session");
                let mut joins = self.joins_of(conn);
                assert!(joins.any(|head| head.swarm == *number && head.slot == slot), "a session knows its JOINs");
            }
        }
    }
}

/// Which peers are named in addition to members of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    None,
    /// Peers at other super peers.
    Across,
    /// All other peers that the swarm knows, because the member may follow too few.
    All,
}

impl Swarm {
    /// Bytes of memory.
    fn count(&self) -> usize {
        let path = self.path.as_ref().map_or(0, |path| path.as_str().len());
        size_of::<Root>() * 2 + path + self.outside.bytes() + self.graph.bytes()
    }

    /// The number of members, and the number of members that have the complete content. Both
    /// include the known members at other super peers.
    fn known(&self) -> (usize, usize) {
        (self.graph.len() + self.outside.len(), self.graph.full() + self.outside.full())
    }

    /// Forgets the complete holders here that are gone. If none is left, looks for others.
    fn refresh_seeds(&mut self, cx: &mut Context) {
        if self.outside.forget_gone(&mut self.graph, &cx.index) {
            cx.work.add(self.graph.len() / LOOKS_PER_WORK);
        }
        if self.graph.full() == 0 && !self.outside.has_seed() && cx.now.since(self.looked_at) >= LOOK_AGAIN {
            self.looked_at = cx.now;
            self.outside.find_here(&self.root, &cx.index);
        }
    }
}

fn refuse(conn: ConnId, req: u32, code: ErrorCode, why: &str, cx: &mut Context) {
    cx.count(Count::JoinsRefused);
    cx.refuse(conn, code, why.to_owned(), Some(req));
}

/// A random number below `n`. `n` must not be 0.
fn draw(entropy: &mut dyn Entropy, n: usize) -> usize {
    let product = u128::from(entropy.next_u64()) * n as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
