//! How a session's query begins: what it does not say is filled in, our index is searched at once,
//! then the neighbors are asked.

use std::net::IpAddr;
use std::time::Duration;

use super::fair_queue::{Admission, Flow, QUERY_WORK};
use super::instance::{Instance, Origin, Parent, Then};
use super::local;
use super::table::Flood;
use super::wave::Wave;
use crate::config::{ANSWER_MARGIN, QUERY_BUDGET_MAX, SCAN_WORK_PER_STEP, TTL_MAX};
use crate::proto::ConnId;
use crate::proto::marks::mark;
use crate::proto::super_peer::context::{Context, OWN};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::ids::WaveKey;
use crate::proto::super_peer::link::Neighbors;
use crate::proto::super_peer::search::{Scan, Step};
use crate::proto::super_peer::swarm::members::{Matches, Members};
use crate::wire::link::TREE_QUERY_TTL;
use crate::wire::message::{ErrorCode, Query, SourceRecord};
use crate::wire::{Cut, Policy, QueryId, Search};

impl Flood {
    /// The query of a session begins, which reaches this super peer at `at`. It may have ended, or
    /// be refused, when this returns; then it has no key. Always inline: the query is large.
    #[inline(always)]
    pub(crate) fn begin(
        &mut self,
        (conn, at): (ConnId, Option<IpAddr>),
        query: Query,
        members: Members<'_>,
        neighbors: &Neighbors,
        cx: &mut Context,
    ) -> Option<WaveKey> {
        let req = query.req;
        if query.policy == Some(Policy::Unknown) {
            let why = "this policy is not known here; flood, digest, ring and tree are".to_owned();
            refuse(conn, req, why, cx);
            return None;
        }
        if query.find.is_paged() {
            cx.prepare_pages();
        }
        let Query { find, ttl, budget, policy, .. } = query;
        let mut made = Scan::within(&cx.index, find, cx.config.hits_max);
        // By reference: most searches end in their first step, and a scan is large.
        let scan = match &mut made {
            Ok(scan) => scan,
            Err(wrong) => {
                refuse(conn, req, wrong.to_string(), cx);
                return None;
            }
        };
        scan.set_asked_at(at);
        cx.count(Count::Queries);
        cx.queries.add(cx.now, 1);
        let mut members = search_members(members, scan.find(), at, cx);
        let links = &neighbors.links;
        self.queue.begin_turn(cx.now, links.len());
        if members.work > 0 {
            self.queue.charge(Flow::Session(conn), members.work);
        }
        let (outputs, cap) = (cx.out.len(), cx.config.hits_cap(scan.find().limit));
        let step = self.first_step(conn, scan, &mut members.hits, cx);
        if links.is_empty()
            && let Step::End { capped } = step
        {
            let Matches { hits: mut found, capped: members_capped, .. } = members;
            let capped = capped || members_capped || found.len() > cap;
            if found.len() > cap {
                found.truncate(cap);
            }
            let bytes = local::answer(conn, req, found, capped, cx);
            self.parked.note_sent(cx.now, conn, bytes);
            return None;
        }
        let scan = Box::new(made.ok()?);
        self.run_query((conn, req), (ttl, budget, policy), (scan, step, members, cap), outputs, neighbors, cx)
    }

    /// The first step of a search was taken; it goes on here, at the neighbors, or at both.
    fn run_query(
        &mut self,
        (conn, req): (ConnId, u32),
        (ttl, budget, policy): (Option<u8>, Option<u32>, Option<Policy>),
        (scan, step, members, cap): (Box<Scan>, Step, Matches, usize),
        outputs: usize,
        neighbors: &Neighbors,
        cx: &mut Context,
    ) -> Option<WaveKey> {
        let links = &neighbors.links;
        let alone = links.is_empty();
        let find = scan.find().clone();
        let ttl = ttl.unwrap_or(cx.config.ttl).min(TTL_MAX);
        // No digest knows the members of swarms.
        let policy = if find.partial { Policy::Flood } else { policy.unwrap_or(Policy::Digest) };
        let budget = budget.map_or(cx.config.budget, |ms| Duration::from_millis(ms.into())).min(QUERY_BUDGET_MAX);
        let deadline = cx.now + (budget - (budget / 32).min(ANSWER_MARGIN));
        let tree = if policy == Policy::Tree && ttl > 0 { neighbors.tree.valid(links) } else { None };
        let (then, ttl) = match policy {
            // Without a limit, rings would grow to the full ttl in any case.
            Policy::Ring if ttl > 1 && find.limit.is_some() => (Then::Ring(ttl), 1),
            // A path over the tree may be longer than any other: the ttl bounds the flood that may
            // follow.
            Policy::Tree if tree.is_some() => (Then::Flood(ttl), TREE_QUERY_TTL + TTL_MAX),
            Policy::Flood | Policy::Digest | Policy::Ring | Policy::Tree | Policy::Unknown => (Then::End, ttl),
        };
        let origin = Origin { conn, req, sent: 0, sent_bytes: 0, seen: Default::default(), then, deadline };
        let parent = Parent::Session(Box::new(origin));
        let mut first = Instance::new(cx.now, parent, ttl, 0, then.deadline(cx.now, deadline), cap);
        first.reach_us(cx);
        first.tree = tree;
        first.cut.add(Cut { cap: u32::from(members.capped), ..Cut::NONE });
        first.take_step(scan, step, members.hits, self.has_room(Flow::Session(conn)), cx);
        let id = if alone { QueryId([0; 16]) } else { self.mint(cx.entropy.as_mut()) };
        let shed = !alone && !self.make_room(cx);
        if shed {
            let shed = u32::try_from(links.ids().count()).unwrap_or(u32::MAX);
            first.cut.add(Cut { shed, ..Cut::NONE });
        }
        let named = !alone && !shed;
        let mut wave = Wave::new(id, find, policy == Policy::Flood, first, links);
        if named && wave.instances[0].is_full() {
            // The limit is reached here already: the neighbors are not asked.
            mark!(QueryFullHere);
            wave.instances[0].capped = true;
        } else if named && !wave.instances[0].capped {
            if tree.is_some() {
                cx.count(Count::QueriesRode);
            }
            wave.go_out(0, neighbors, cx);
        }
        let key = self.insert(wave, named);
        self.settle(key, neighbors, cx);
        self.charge_outputs(Flow::Session(conn), outputs, cx);
        self.waves.contains(key.index()).then_some(key)
    }

    /// A query of this super peer itself: at the others, not here. Its hits and its end come in
    /// [`Context::found`]. Returns whether it has begun.
    pub(crate) fn ask(&mut self, req: u32, find: Search, neighbors: &Neighbors, cx: &mut Context) -> bool {
        let links = &neighbors.links;
        let ttl = cx.config.ttl.min(TTL_MAX);
        self.queue.begin_turn(cx.now, links.len());
        if ttl == 0 || links.is_empty() || !self.make_room(cx) {
            return false;
        }
        let outputs = cx.out.len();
        let (then, deadline) = (Then::End, cx.now + cx.config.budget);
        let origin = Origin { conn: OWN, req, sent: 0, sent_bytes: 0, seen: Default::default(), then, deadline };
        let cap = cx.config.hits_cap(find.limit);
        let first = Instance::new(cx.now, Parent::Session(Box::new(origin)), ttl, 0, deadline, cap);
        let id = self.mint(cx.entropy.as_mut());
        let mut wave = Wave::new(id, find, true, first, links);
        wave.go_out(0, neighbors, cx);
        let key = self.insert(wave, true);
        self.settle(key, neighbors, cx);
        self.charge_outputs(Flow::Session(OWN), outputs, cx);
        true
    }

    /// The first step of the scan. A short one is done at once however much work waits: to put it
    /// off costs more.
    #[inline(always)]
    fn first_step(&mut self, conn: ConnId, scan: &mut Scan, found: &mut Vec<SourceRecord>, cx: &Context) -> Step {
        if self.parked.must_wait(cx.now, conn) {
            self.queue.charge(Flow::Session(conn), QUERY_WORK);
            return Step::More;
        }
        let step = match self.queue.admit(Flow::Session(conn)) {
            Admission::Now => scan.step(&cx.index, SCAN_WORK_PER_STEP, found),
            Admission::Later | Admission::Never if scan.is_short(&cx.index) => scan.step(&cx.index, QUERY_WORK, found),
            Admission::Later | Admission::Never => Step::More,
        };
        self.queue.charge(Flow::Session(conn), QUERY_WORK + scan.spent());
        step
    }
}

/// The members of swarms here that fit a search, if it asks for members. Always inline: few do.
#[inline(always)]
pub(super) fn search_members(members: Members<'_>, find: &Search, at: Option<IpAddr>, cx: &mut Context) -> Matches {
    if !find.partial {
        return Matches::default();
    }
    let random = cx.entropy.next_u64();
    members.search(find, at, random, &cx.index)
}

fn refuse(conn: ConnId, req: u32, why: String, cx: &mut Context) {
    cx.count(Count::QueriesRefused);
    cx.refuse(conn, ErrorCode::BAD_REQUEST, why, Some(req));
}
