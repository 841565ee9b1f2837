//! Chooses the query that is worked on next: fair queueing by work. Half of the work is for the
//! sessions here, and the links share the other half equally. Work that one flow does not use goes
//! to the others. The sessions share their half equally too (`rotation`).
//!
//! Work is counted, not timed: index entries that are looked at, names that are compared, hits, and
//! a base for each query and message. A turn is everything that happens at one `now`, until the
//! work that is left over begins. While the machine keeps up, no query is refused because of its
//! share. A flow that has used up its share of a turn waits in a queue of its own, and the next
//! turn of the loop begins at once. A query of a link is refused (`shed`) only if the queue of that
//! link is full.

use super::rotation::{Member, Rotation, Ticket};
use crate::config::{LINK_QUERIES_WAITING_MAX, WAVES_MAX, WORK_PER_TURN};
use crate::proto::ConnId;
use crate::proto::super_peer::ids::{LinkId, WaveKey};
use crate::time::Time;

/// What a query costs in addition to the entries that are looked at.
pub(super) const QUERY_WORK: usize = 16;

/// The flow on whose behalf a query is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The flow of all sessions; the query belongs to this session.
    Session(ConnId),
    Link(LinkId),
}

impl Flow {
    fn member(self) -> Member {
        match self {
            Flow::Session(conn) => Some(conn),
            Flow::Link(_) => None,
        }
    }
}

/// What to do with a new query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Search it at once.
    Now,
    /// Let it wait.
    Later,
    /// Refuse it.
    Never,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Rotation,
    /// Virtual time: work done for this queue, comparable with that of other queues. A queue that
    /// was empty starts at the level of the others.
    served: u64,
    /// Work done for this queue in the turn of that time.
    turn: Time,
    spent: usize,
    /// Queries of the link that run.
    running: usize,
}

/// The queues of all flows.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    now: Time,
    /// Work left in this turn, work done in this turn, and the most work of any turn.
    left: usize,
    done: usize,
    most: usize,
    /// Whether left-over work was begun in this turn.
    ran: bool,
    sessions: Queue,
    links: Vec<Queue>,
    /// Virtual time of all links together, and that of the link that was served last.
    links_served: u64,
    level: u64,
    next_ticket: Ticket,
    waiting: usize,
    running: usize,
}

impl FairQueue {
    /// A turn begins, unless `now` is the same as in the last call.
    #[inline(always)]
    pub(super) fn begin_turn(&mut self, now: Time, links: usize) {
        if self.links.len() < links {
            self.links.resize_with(links, Queue::default);
            self.left = WORK_PER_TURN;
        }
        if now != self.now {
            self.now = now;
            self.left = WORK_PER_TURN;
            self.done = 0;
            self.ran = false;
        }
    }

    /// Left-over work begins. If no time has passed since the last call, a turn of its own begins.
    pub(super) fn begin_leftover(&mut self) {
        if self.ran {
            self.left = WORK_PER_TURN;
            self.done = 0;
        }
        self.ran = true;
    }

    /// Whether a query may begin, and if so, whether at once.
    #[inline(always)]
    pub(super) fn admit(&self, flow: Flow) -> Admission {
        let queue = self.queue(flow);
        let share = match flow {
            Flow::Session(_) => WORK_PER_TURN / 2,
            Flow::Link(_) => {
                if queue.waiting.len() >= LINK_QUERIES_WAITING_MAX || self.is_crowding(queue) {
                    return Admission::Never;
                }
                WORK_PER_TURN / 2 / self.links.len().max(1)
            }
        };
        let spent = if queue.turn == self.now { queue.spent } else { 0 };
        // No other flow waits, so half of the turn is lent to this flow.
        let lent = self.waiting == 0 && self.left > WORK_PER_TURN / 2;
        match queue.waiting.is_empty() && self.left > 0 && (spent == 0 || spent < share || lent) {
            true => Admission::Now,
            false => Admission::Later,
        }
    }

    /// Work was done.
    #[inline(always)]
    pub(super) fn charge(&mut self, flow: Flow, work: usize) {
        self.left = self.left.saturating_sub(work);
        self.done += work;
        self.most = self.most.max(self.done);
        let now = self.now;
        let queue = self.queue_mut(flow);
        if queue.turn != now {
            (queue.turn, queue.spent) = (now, 0);
        }
        queue.spent += work;
        queue.served += work as u64;
        if !queue.waiting.knows_nobody() {
            queue.waiting.charge(flow.member(), work);
        }
        if matches!(flow, Flow::Link(_)) {
            self.links_served += work as u64;
        }
    }

    /// A query waits for its next step. Returns its ticket in the queue.
    pub(super) fn wait(&mut self, flow: Flow, key: WaveKey) -> Ticket {
        self.waiting += 1;
        let ticket = self.next_ticket.draw();
        let (level, links_served) = (self.level, self.links_served);
        let all_empty = self.links.iter().all(|queue| queue.waiting.is_empty());
        let sessions_served = self.sessions.served;
        let queue = self.queue_mut(flow);
        let was_empty = queue.waiting.is_empty();
        queue.waiting.push(flow.member(), ticket, key);
        if was_empty {
            // A flow that was idle has no claim on the work that the others got in that time.
            match flow {
                Flow::Session(_) => queue.served = queue.served.max(links_served),
                Flow::Link(_) => {
                    queue.served = queue.served.max(level);
                    if all_empty {
                        self.links_served = links_served.max(sessions_served);
                    }
                }
            }
        }
        ticket
    }

    /// The most work of any turn so far.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether any query waits.
    pub(super) fn has_work(&self) -> bool {
        self.waiting > 0
    }

    /// The next query to work on in this turn.
    pub(super) fn next(&mut self) -> Option<WaveKey> {
        if self.left == 0 || self.waiting == 0 {
            return None;
        }
        let busy = self.links.iter().enumerate().filter(|(_, queue)| !queue.waiting.is_empty());
        let link = busy.min_by_key(|(_, queue)| queue.served).map(|(at, _)| at);
        let queue = match link {
            Some(at) if self.sessions.waiting.is_empty() || self.links_served < self.sessions.served => {
                self.level = self.links[at].served;
                &mut self.links[at]
            }
            Some(_) | None => &mut self.sessions,
        };
        self.waiting -= 1;
        queue.waiting.pop()
    }

    /// A query that waits is removed.
    pub(super) fn forget(&mut self, flow: Flow, ticket: Ticket) {
        let gone = self.queue_mut(flow).waiting.remove(flow.member(), ticket);
        self.waiting -= usize::from(gone);
    }

    /// A link's query runs from now on, or no longer.
    pub(super) fn count_running(&mut self, link: LinkId, runs: bool) {
        let queue = self.queue_mut(Flow::Link(link));
        if runs {
            queue.running += 1;
            self.running += 1;
        } else {
            queue.running -= 1;
            self.running -= 1;
        }
    }

    /// What must hold between any two inputs. `queued` is the number of queries that say that they
    /// wait.
    pub(super) fn check_invariants(&self, queued: usize) {
        let queues = || self.links.iter().chain([&self.sessions]);
        queues().for_each(|queue| queue.waiting.check_invariants());
        assert_eq!(queues().map(|queue| queue.waiting.len()).sum::<usize>(), self.waiting);
        assert_eq!(self.waiting, queued);
        assert_eq!(queues().map(|queue| queue.running).sum::<usize>(), self.running);
        assert!(self.links.iter().all(|queue| queue.waiting.len() <= LINK_QUERIES_WAITING_MAX + queue.running));
    }

    /// Whether the queries of a link fill more of the table than its share. Half of the table is
    /// open to all flows. The links share the other half equally, so that no link can fill the
    /// table.
    fn is_crowding(&self, queue: &Queue) -> bool {
        const HALF: usize = WAVES_MAX / 2;
        self.running >= HALF && queue.running >= HALF / self.links.len().max(1)
    }

    fn queue(&self, flow: Flow) -> &Queue {
        match flow {
            Flow::Session(_) => &self.sessions,
            Flow::Link(link) => &self.links[usize::from(link.0)],
        }
    }

    fn queue_mut(&mut self, flow: Flow) -> &mut Queue {
        match flow {
            Flow::Session(_) => &mut self.sessions,
            Flow::Link(link) => &mut self.links[usize::from(link.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: Flow = Flow::Session(ConnId { index: 1, generation: 1 });

    fn key(n: usize) -> WaveKey {
        WaveKey::at(n)
    }

    /// Work done over many turns for the sessions, link 0, link 1, …, where `busy` flows always
    /// have queries.
    fn served(busy: &[Flow], links: usize, turns: u64) -> Vec<usize> {
        let mut queue = FairQueue::default();
        let mut work = vec![0; links + 1];
        queue.begin_turn(Time::ZERO, links);
        let flow = |n: usize| match n {
            0 => SESSIONS,
            n => Flow::Link(LinkId(u16::try_from(n - 1).unwrap())),
        };
        for (n, flow) in (0..=links).map(|n| (n, flow(n))).filter(|(_, flow)| busy.contains(flow)) {
            (0..20).for_each(|_| {
                queue.wait(flow, key(n));
            });
        }
        for turn in 0..turns {
            queue.begin_turn(Time::from_micros(turn + 1), links);
            let mut done = 0;
            while let Some(WaveKey(n)) = queue.next() {
                let n = n as usize;
                queue.charge(flow(n), 1000);
                queue.wait(flow(n), key(n));
                work[n] += 1000;
                done += 1000;
            }
            assert!((WORK_PER_TURN..WORK_PER_TURN + 1000).contains(&done), "a turn is full, and ends");
        }
        work
    }

    fn link(n: u16) -> Flow {
        Flow::Link(LinkId(n))
    }

    #[test]
    fn half_is_for_the_sessions_and_the_links_have_equal_queue() {
        let work = served(&[SESSIONS, link(0), link(1), link(2)], 5, 1000);
        let all: usize = work.iter().sum();
        assert!((work[0] * 2).abs_diff(all) < all / 50, "{work:?}");
        assert!((1..=3).all(|n| (work[n] * 6).abs_diff(all) < all / 50), "{work:?}");
    }

    #[test]
    fn what_no_other_flow_needs_is_lent() {
        let work = served(&[link(3)], 256, 100);
        assert!(work[4] >= 100 * WORK_PER_TURN, "{work:?}");
        let work = served(&[SESSIONS], 2, 100);
        assert!(work[0] >= 100 * WORK_PER_TURN, "{work:?}");
        // A few turns do not reach all 256 links; the next turns continue where these end.
        let links: Vec<Flow> = (0..256).map(link).collect();
        let work = served(&links, 256, 320);
        let share = work.iter().sum::<usize>() / 256;
        assert!(share > 10_000 && (1..=256).all(|n| work[n].abs_diff(share) <= 1000), "{share} {work:?}");
    }

    #[test]
    fn an_idle_flow_has_no_claim_on_the_past() {
        let mut queue = FairQueue::default();
        queue.begin_turn(Time::from_micros(1), 2);
        for turn in 0..100 {
            queue.begin_turn(Time::from_micros(turn + 2), 2);
            queue.wait(link(0), key(0));
            assert_eq!(queue.next(), Some(key(0)));
            queue.charge(link(0), 1000);
        }
        for n in 0..4 {
            queue.wait(link(0), key(n));
            queue.wait(link(1), key(10 + n));
        }
        let mut order = Vec::new();
        queue.begin_turn(Time::from_micros(500), 2);
        while let Some(WaveKey(n)) = queue.next() {
            let flow = if n < 10 { link(0) } else { link(1) };
            queue.charge(flow, 1000);
            order.push(n / 10);
        }
        assert_eq!(order.iter().filter(|n| **n == 0).count(), 4, "{order:?}");
        assert!(order[..4].contains(&0), "{order:?}");
    }

    #[test]
    fn a_full_queue_and_a_crowded_table_refuse_and_nothing_else_does() {
        let mut queue = FairQueue::default();
        queue.begin_turn(Time::from_micros(1), 2);
        assert_eq!(queue.admit(link(0)), Admission::Now);
        queue.charge(link(0), WORK_PER_TURN / 2);
        assert_eq!((queue.admit(link(0)), queue.admit(link(1))), (Admission::Later, Admission::Now));
        queue.begin_turn(Time::from_micros(2), 2);
        assert_eq!(queue.admit(link(0)), Admission::Now);
        (0..LINK_QUERIES_WAITING_MAX).for_each(|n| {
            queue.wait(link(0), key(n));
        });
        assert_eq!((queue.admit(link(0)), queue.admit(link(1))), (Admission::Never, Admission::Now));
        (0..WAVES_MAX / 2).for_each(|_| queue.count_running(LinkId(1), true));
        assert_eq!((queue.admit(SESSIONS), queue.admit(link(1))), (Admission::Now, Admission::Never));
        queue.count_running(LinkId(1), false);
        assert_eq!(queue.admit(link(1)), Admission::Now);
    }
}
