//! The state of one query at one super peer, and how a subquery is closed.

use std::time::Duration;

use crate::config::{LINKS_MAX, REACHED_MAX, TTL_MAX};
use crate::proto::ConnId;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::digest::Probe;
use crate::proto::super_peer::flood::fair_queue::Flow;
use crate::proto::super_peer::flood::instance::{Instance, Parent};
use crate::proto::super_peer::flood::rotation::Ticket;
use crate::proto::super_peer::flood::subquery::{MARGIN, Subquery};
use crate::proto::super_peer::ids::LinkId;
use crate::proto::super_peer::link::Links;
use crate::time::Time;
use crate::wire::link::{LinkDone, LinkRef, TREE_QUERY_TTL};
use crate::wire::{Cut, LinkMessage, QueryId, Search};

/// How long a wave is kept after its last budget, in addition to some round trips. The parent's
/// budget ends later than the budget that the parent gave to us, and the parent's last repetitions
/// must still get the answer.
const KEEP_AFTER: Duration = Duration::from_secs(1);
/// These round trips, in repetition timeouts: twice the margin that a parent keeps.
const KEEP_RTOS: u32 = 2 * MARGIN;

/// What the wave knows about the network beyond a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Not asked: it brought the first copy.
    Parent,
    /// A higher ttl may reach more there. Either the link was not asked for lack of a hop, or it
    /// reported a cut for lack of a hop, or the query met another copy of itself there, and that
    /// copy may have been cut.
    Cut,
    /// A higher ttl reaches nothing more there, or the link cannot be asked.
    Settled,
}

/// What is known about the network beyond a link. A link that was added after the query began has
/// no part in the query yet.
pub(super) fn behind(reach: &mut Vec<Reach>, link: LinkId) -> &mut Reach {
    if reach.len() <= link.index() {
        reach.resize(link.index() + 1, Reach::Settled);
    }
    &mut reach[link.index()]
}

/// One query at one super peer.
#[derive(Debug)]
pub(crate) struct Wave {
    pub(crate) id: QueryId,
    pub(crate) find: Search,
    /// The keys that a digest must have for a hit; computed when they are first needed.
    pub(super) probe: Option<Probe>,
    /// Whether this is a plain flood, which does not use digests.
    pub(super) flood: bool,
    /// Whether the fair queue counts it among the running queries of its link.
    pub(crate) counted: bool,
    /// Its place in the fair queue, while it waits there.
    pub(crate) queued: Option<Ticket>,
    /// The number of its hits, held or remembered, when the hits were last counted.
    pub(crate) held: usize,
    /// Whether it is in the queue of ended queries.
    pub(crate) listed: bool,
    /// The highest ttl of all copies that do not belong to a tree query, at most [`TTL_MAX`]; at
    /// the origin, above every ttl.
    pub(super) ttl_best: Option<u8>,
    /// The end of the time in which repetitions may come.
    pub(super) keep_until: Time,
    pub(crate) instances: Vec<Instance>,
    /// By link; empty until the query is passed on.
    pub(super) reach: Vec<Reach>,
    /// Whether it has gone over every link, or would have done so with one more hop.
    pub(super) flooded: bool,
    /// Ttl cuts that an instance reported here: links that we did not ask for lack of a hop, and
    /// links of neighbors that a digest spared. A later instance that asks all of our links takes
    /// them back.
    pub(super) ttl_cut: u32,
    /// The tag of the ttl cuts of this super peer; computed when it is first needed.
    pub(super) tag: Option<u64>,
}

impl Wave {
    /// A wave with its first instance.
    pub(crate) fn new(id: QueryId, find: Search, flood: bool, first: Instance, links: &Links) -> Wave {
        let ttl_best = match first.parent {
            Parent::Session(_) => Some(u8::MAX),
            Parent::Link(_) => first.tree.is_none().then_some(first.ttl.min(TTL_MAX)),
        };
        let keep_until = kept_until(&first, links);
        Wave {
            id,
            find,
            probe: None,
            flood,
            counted: false,
            queued: None,
            held: 0,
            listed: false,
            ttl_best,
            keep_until,
            instances: vec![first],
            reach: Vec::new(),
            flooded: false,
            ttl_cut: 0,
            tag: None,
        }
    }

    /// The session and request that it belongs to, if it began here.
    pub(crate) fn session(&self) -> Option<(ConnId, u32)> {
        match &self.instances[0].parent {
            Parent::Session(origin) => Some((origin.conn, origin.req)),
            Parent::Link(_) => None,
        }
    }

    /// Bytes of hits that were sent to its session.
    pub(crate) fn sent_bytes(&self) -> usize {
        match &self.instances[0].parent {
            Parent::Session(origin) => origin.sent_bytes,
            Parent::Link(_) => 0,
        }
    }

    /// The flow that pays for its work: the flow of its first copy.
    pub(crate) fn flow(&self) -> Flow {
        match &self.instances[0].parent {
            Parent::Session(origin) => Flow::Session(origin.conn),
            Parent::Link(link) => Flow::Link(*link),
        }
    }

    /// Hits that are held for neighbors, or remembered for a session.
    pub(crate) fn hits_held(&self) -> usize {
        self.instances.iter().map(Instance::hits_held).sum()
    }

    /// Whether every instance has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.instances.iter().all(Instance::has_ended)
    }

    /// Whether it has ended and no repetition can come any more.
    pub(crate) fn is_past(&self, now: Time) -> bool {
        self.has_ended() && now >= self.keep_until
    }

    /// Until when a repetition may ask for its answer.
    pub(crate) fn keep_until(&self) -> Time {
        self.keep_until
    }

    /// When [`Wave::on_timeout`] is due.
    pub(crate) fn next(&self) -> Time {
        let running = self.instances.iter().filter(|instance| !instance.has_ended());
        let deadlines = running.flat_map(|instance| {
            let repeats = instance.subqueries.iter().filter(|subquery| subquery.open).map(Subquery::repeat_at);
            repeats.chain(instance.pending_at).chain([instance.deadline])
        });
        deadlines.min().unwrap_or(self.keep_until)
    }

    /// Closes a subquery. Adds what its DONE reported, if a DONE came, and `why`, the reason why no
    /// more answers are expected.
    pub(super) fn close_subquery(&mut self, i: usize, s: usize, why: Cut) {
        let instance = &mut self.instances[i];
        let subquery = &mut instance.subqueries[s];
        subquery.open = false;
        instance.cut.add(why);
        instance.cut.add(Cut { cap: u32::from(subquery.capped), ..Cut::NONE });
        if let Some(done) = subquery.done {
            instance.cut.add(done.cut);
            instance.uncut = instance.uncut.saturating_add(done.uncut);
            instance.cut_tag = instance.cut_tag.wrapping_add(done.cut_tag);
            instance.uncut_tag = instance.uncut_tag.wrapping_add(done.uncut_tag);
            instance.reached = instance.reached.saturating_add(done.reached).min(REACHED_MAX);
            instance.pruned = instance.pruned.saturating_add(done.pruned);
            let more = done.more || done.dup;
            instance.more |= more;
            if done.cut.ttl > 0 || more {
                *behind(&mut self.reach, subquery.link) = Reach::Cut;
            }
        }
    }

    /// Sends CANCEL to every neighbor that has not answered.
    pub(super) fn drop_subqueries(&mut self, i: usize, links: &Links, cx: &mut Context) {
        let instance = &mut self.instances[i];
        let subqueries = std::mem::take(&mut instance.subqueries);
        for subquery in subqueries.into_iter().filter(|subquery| subquery.open) {
            *behind(&mut self.reach, subquery.link) = Reach::Cut;
            links.send(subquery.link, LinkMessage::Cancel(LinkRef { id: self.id, ttl: ttl_onward(instance) }), cx);
        }
    }

    /// The open subquery that an answer from this link with this ttl belongs to.
    pub(super) fn subquery_of(&self, link: LinkId, ttl: u8, links: &Links) -> Option<(usize, usize)> {
        let life = links.life(link);
        self.instances.iter().enumerate().find_map(|(i, instance)| {
            let asked = instance.is_running() && hops_left(instance) > 0 && ttl_onward(instance) == ttl;
            let place = |subquery: &Subquery| subquery.may_hear(link, life);
            let s = asked.then(|| instance.subqueries.iter().position(place)).flatten()?;
            Some((i, s))
        })
    }

    /// What must hold between any two inputs.
    pub(crate) fn check_invariants(&self) {
        let running = self.instances.iter().filter(|instance| instance.is_running()).count();
        assert!(running <= 1, "instances run one after the other");
        assert!(self.instances.len() <= usize::from(TTL_MAX) + 2);
        for pair in self.instances.windows(2) {
            let later = pair[0].tree.is_some() || pair[0].ttl < pair[1].ttl;
            assert!(later && pair[1].tree.is_none(), "every instance has a higher ttl than those before");
        }
        for instance in &self.instances {
            assert!(instance.hits.len() + instance.held_back.len() <= instance.cap);
            assert!(instance.sent <= instance.hits.len());
            assert!(instance.held_back.is_empty() || instance.is_running());
            assert!(instance.is_running() || (instance.subqueries.is_empty() && instance.scan.is_none()));
            let parent = instance.parent_link();
            assert!(
                instance.subqueries.iter().all(|subquery| Some(subquery.link) != parent),
                "never back to the sender"
            );
        }
    }
}

/// Until when the parent of an instance may repeat its QUERY.
pub(super) fn kept_until(instance: &Instance, links: &Links) -> Time {
    let rto = instance.parent_link().map_or(Duration::ZERO, |link| links.repeat_after(link));
    instance.deadline + KEEP_AFTER + rto * KEEP_RTOS
}

/// The DONE that answers a duplicate.
pub(super) fn duplicate(id: QueryId, ttl: u8) -> LinkDone {
    LinkDone { dup: true, ..LinkDone::empty(id, ttl) }
}

/// How many super peers a QUERY with this ttl can reach: the receiver, and those beyond its other
/// links.
pub(super) fn reached_max(ttl: u8) -> u32 {
    let beyond = |reached: u32, _| reached.saturating_mul(LINKS_MAX as u32 - 1).saturating_add(1).min(REACHED_MAX);
    (0..(ttl & !TREE_QUERY_TTL).min(TTL_MAX)).fold(1, beyond)
}

/// Hops that the query of the instance may still go.
pub(super) fn hops_left(instance: &Instance) -> u8 {
    let ttl = if instance.tree.is_some() { instance.ttl & !TREE_QUERY_TTL } else { instance.ttl };
    ttl.min(TTL_MAX)
}

/// The ttl of the QUERYs that the instance sends.
pub(super) fn ttl_onward(instance: &Instance) -> u8 {
    let ttl = hops_left(instance).saturating_sub(1);
    if instance.tree.is_some() { TREE_QUERY_TTL + ttl } else { ttl }
}
