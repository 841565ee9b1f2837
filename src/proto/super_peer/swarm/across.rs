//! Members of swarms at other super peers: when this super peer asks for them, and to which members
//! it names them (PROTOCOL.md 16.4). The flood sends the queries.

use super::asking::{Ask, Asking};
use super::{Beside, Head, LOOKS_PER_WORK, NAMING_WORK, Swarms};
use crate::config::{SWARM_ASK_GAP, SWARM_ASK_HITS, SWARM_ASK_INTERVAL, SWARM_ASK_INTERVAL_MAX, SWARM_ASKS_MAX};
use crate::proto::super_peer::context::{Context, Reason};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::session::Sessions;
use crate::time::Time;
use crate::wire::message::SourceRecord;
use crate::wire::{QueryKind, Search};

/// A source at another super peer may also be a member here, because a peer may have a session with
/// both super peers. A source is compared with at most this many members.
const COMPARED_MAX: usize = 256;
/// One unit of work makes this many of these comparisons.
const COMPARED_PER_WORK: usize = 8;

impl Swarms {
    /// Something has changed in a swarm. If a member has only a part of the content, and no query
    /// runs or is due, a query to other super peers becomes due.
    pub(super) fn ask_later(&mut self, number: u32, cx: &mut Context) {
        let swarm = self.swarm_mut(number);
        if cx.config.neighbors.is_empty() || swarm.graph.full() == swarm.graph.len() {
            return;
        }
        let (at, wait) = match swarm.asking {
            Asking::No => (cx.now, SWARM_ASK_INTERVAL),
            Asking::Rests(at, wait) => (at.max(cx.now), wait),
            Asking::Due(..) | Asking::Runs(..) => return,
        };
        swarm.asking = Asking::Due(at, wait);
        self.across.due.insert((at, number));
        self.arm(cx);
    }

    fn arm(&self, cx: &mut Context) {
        let may_begin = self.across.running.len() < SWARM_ASKS_MAX;
        let first = self.across.due.first().filter(|_| may_begin).map(|(at, _)| *at);
        let gap = self.across.asked_at.map_or(Time::ZERO, |at| at + SWARM_ASK_GAP);
        cx.arm(Reason::SwarmAsk, first.map(|at| at.max(gap)));
    }

    /// The deadline has come. Returns the query that is to be sent now, if one is due: its number
    /// and its search.
    pub(in crate::proto::super_peer) fn next_ask(&mut self, cx: &mut Context) -> Option<(u32, Search)> {
        let due = self.across.due.first().filter(|(at, _)| *at <= cx.now).copied();
        let asked = due.and_then(|(at, number)| {
            self.across.due.remove(&(at, number));
            let req = self.across.last_number.wrapping_add(1);
            let swarm = self.swarm_mut(number);
            let Asking::Due(_, wait) = swarm.asking else { return None };
            if swarm.graph.full() == swarm.graph.len() {
                swarm.asking = Asking::Rests(at, wait);
                return None;
            }
            swarm.asking = Asking::Runs(req, wait);
            let pattern = swarm.root.to_string();
            self.across.last_number = req;
            self.across.asked_at = Some(cx.now);
            self.across.running.insert(req, Ask { swarm: Some(number), found: Vec::new() });
            cx.count(Count::SwarmAsks);
            let (kind, limit) = (QueryKind::Root, Some(SWARM_ASK_HITS));
            Some((req, Search { limit, partial: true, ..Search::new(pattern, kind) }))
        });
        self.arm(cx);
        asked
    }

    /// Other super peers have found these sources for the query with this number; `None` if the
    /// query has ended.
    pub(in crate::proto::super_peer) fn on_found(
        &mut self,
        req: u32,
        found: Option<Vec<SourceRecord>>,
        sessions: &Sessions,
        cx: &mut Context,
    ) {
        match found {
            Some(found) => {
                if let Some(ask) = self.across.running.get_mut(&req) {
                    ask.found.extend(found);
                }
            }
            None => {
                if let Some(Ask { swarm: Some(number), found }) = self.across.running.remove(&req) {
                    self.on_answer(number, found, sessions, cx);
                }
                self.arm(cx);
            }
        }
    }

    fn on_answer(&mut self, number: u32, found: Vec<SourceRecord>, sessions: &Sessions, cx: &mut Context) {
        cx.counters.add_many(Count::SwarmFound, found.len() as u64);
        let swarm = self.swarm_mut(number);
        let root = swarm.root;
        let here = swarm.graph.all().take(COMPARED_MAX);
        let here: Vec<_> = here.filter_map(|(_, one)| sessions.peer(sessions.conn_at(one.session)?)).collect();
        cx.work.add(found.len() * here.len() / COMPARED_PER_WORK);
        let index = &cx.index;
        let is_other = |record: &SourceRecord| {
            let is_it = |node| here.iter().any(|peer| index.is_served_at(peer.holder, node, &record.addr));
            record.root != root || record.node.is_some_and(is_it)
        };
        let new = swarm.outside.take_found(found, &mut swarm.graph, is_other);
        swarm.graph.set_foreign(swarm.outside.zones());
        self.count_bytes(number);
        let swarm = self.swarm_mut(number);
        if let Asking::Runs(_, wait) = swarm.asking {
            swarm.asking = Asking::Rests(cx.now + wait, (wait * 2).min(SWARM_ASK_INTERVAL_MAX));
        }
        if new {
            swarm.spread = 0;
            self.push_later(number, cx);
        }
        self.ask_later(number, cx);
    }

    /// Names new peers at other super peers to the members of a swarm, as many as fit in this turn.
    /// Returns whether no more are to be named.
    pub(super) fn spread(&mut self, number: u32, sessions: &Sessions, cx: &mut Context) -> bool {
        while !cx.work.is_spent() {
            let swarm = self.swarm_mut(number);
            let first = swarm.spread;
            let next = swarm.graph.from(first).next();
            let end = next.map_or(swarm.graph.places(), |slot| usize::from(slot.0) + 1);
            cx.work.add(end.saturating_sub(first) / LOOKS_PER_WORK);
            let Some(slot) = next else {
                swarm.spread = usize::MAX;
                break;
            };
            swarm.spread = end;
            cx.work.add(NAMING_WORK);
            self.send_peers(Head { swarm: number, slot }, (Vec::new(), Beside::Across), false, sessions, cx);
        }
        self.swarm(number).spread == usize::MAX
    }

    /// A swarm has ended. If its query runs, the query continues, and its answer is ignored.
    pub(super) fn forget_asking(&mut self, number: u32, cx: &mut Context) {
        match self.swarm(number).asking {
            Asking::Due(at, _) => _ = self.across.due.remove(&(at, number)),
            Asking::Runs(req, _) => {
                if let Some(ask) = self.across.running.get_mut(&req) {
                    ask.swarm = None;
                }
            }
            Asking::No | Asking::Rests(..) => {}
        }
        self.arm(cx);
    }
}
