//! The queries of one flow that wait, and which of them is next. Each session gets an equal part of
//! the work: next is the oldest query of the session that was served least. Sessions that were
//! served equally take turns. A link is served like one session.
//!
//! The rotation holds only names. A session is remembered while a query of it waits, and after its
//! last query was taken out, until the next query is taken out. The cost of each call grows with
//! the logarithm of the number of sessions.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::ConnId;
use crate::proto::super_peer::ids::WaveKey;

/// A place in a queue: the number of places that were given before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// The next place.
    pub(super) fn draw(&mut self) -> Ticket {
        let ticket = *self;
        self.0 += 1;
        ticket
    }
}

/// A session; `None` is the only member of a link's flow.
pub(super) type Member = Option<ConnId>;

#[derive(Debug)]
struct MemberQueue {
    /// Its queries in order of arrival. In a map, a query in the middle is removed without a walk:
    /// a thousand queries may run out of time at once.
    waiting: BTreeMap<Ticket, WaveKey>,
    /// Virtual time: work done for this member, comparable with that of other members.
    served: u64,
    /// Its place among members that were served equally.
    place: Ticket,
}

/// The queries of one flow that wait.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    queues: BTreeMap<Member, MemberQueue>,
    /// The members with queries that wait, in the order in which they are served.
    order: BTreeSet<(u64, Ticket, Member)>,
    /// Virtual time of the member that was served last. A member that was idle starts at this
    /// level: it has no claim on the work that the others got in that time.
    level: u64,
    /// The member whose query was taken out last. Its entry stays until the next query is taken
    /// out, even if no query of it waits.
    last: Member,
    places: Ticket,
    len: usize,
}

impl Rotation {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, member: Member, ticket: Ticket, key: WaveKey) {
        let Rotation { queues, order, level, places, .. } = self;
        let queue = queues.entry(member).or_insert_with(|| MemberQueue {
            waiting: BTreeMap::new(),
            served: *level,
            place: Ticket::default(),
        });
        if queue.waiting.is_empty() {
            queue.served = queue.served.max(*level);
            queue.place = places.draw();
            order.insert((queue.served, queue.place, member));
        }
        queue.waiting.insert(ticket, key);
        self.len += 1;
    }

    /// Takes out the next query.
    pub(super) fn pop(&mut self) -> Option<WaveKey> {
        let (level, place, member) = *self.order.first()?;
        if self.last != member && self.queues.get(&self.last).is_some_and(|queue| queue.waiting.is_empty()) {
            self.queues.remove(&self.last);
        }
        (self.last, self.level) = (member, level);
        let queue = self.queues.get_mut(&member)?;
        let (_, key) = queue.waiting.pop_first()?;
        if queue.waiting.is_empty() {
            self.order.remove(&(level, place, member));
        }
        self.len -= 1;
        Some(key)
    }

    /// Whether no session is remembered. Then [`Rotation::charge`] does nothing.
    #[inline]
    pub(super) fn knows_nobody(&self) -> bool {
        self.queues.is_empty()
    }

    /// Work was done for this member.
    pub(super) fn charge(&mut self, member: Member, work: usize) {
        let Some(queue) = self.queues.get_mut(&member).filter(|_| work > 0) else { return };
        let before = (queue.served, queue.place, member);
        queue.served += work as u64;
        if self.order.remove(&before) {
            queue.place = self.places.draw();
            self.order.insert((queue.served, queue.place, member));
        }
    }

    /// Removes a query that waits. Returns whether the query was found.
    pub(super) fn remove(&mut self, member: Member, ticket: Ticket) -> bool {
        let Some(queue) = self.queues.get_mut(&member) else { return false };
        let was_there = queue.waiting.remove(&ticket).is_some();
        self.len -= usize::from(was_there);
        if queue.waiting.is_empty() {
            self.order.remove(&(queue.served, queue.place, member));
            if member != self.last {
                self.queues.remove(&member);
            }
        }
        was_there
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.queues.values().map(|queue| queue.waiting.len()).sum::<usize>(), self.len);
        let waits = self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty());
        let order: BTreeSet<_> = waits.map(|(member, queue)| (queue.served, queue.place, *member)).collect();
        assert_eq!(order, self.order);
        assert!(self.queues.len() <= self.order.len() + 1, "sessions without queries are forgotten");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(index: u32) -> Member {
        Some(ConnId { index, generation: 1 })
    }

    fn push(rotation: &mut Rotation, tickets: &mut Ticket, index: u32) -> Ticket {
        let ticket = tickets.draw();
        rotation.push(session(index), ticket, WaveKey::at(index as usize));
        ticket
    }

    /// Takes out queries until there are none. `work` says what each costs.
    fn order(rotation: &mut Rotation, work: impl Fn(u32) -> usize) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(WaveKey(index)) = rotation.pop() {
            rotation.charge(session(index), work(index));
            rotation.check_invariants();
            order.push(index);
        }
        order
    }

    #[test]
    fn one_query_does_not_wait_for_all_queries_of_other_sessions() {
        let (mut rotation, mut tickets) = (Rotation::default(), Ticket::default());
        for index in 0..100 {
            (0..16).for_each(|_| {
                push(&mut rotation, &mut tickets, index);
            });
        }
        push(&mut rotation, &mut tickets, 100);
        let order = order(&mut rotation, |_| 100);
        assert_eq!(order.len(), 100 * 16 + 1);
        assert_eq!(order.iter().position(|index| *index == 100), Some(100));
        assert!(order[..100].is_sorted() && order[101..201].is_sorted(), "they take turns");
    }

    #[test]
    fn the_work_is_shared_equally_and_not_the_number_of_queries() {
        let (mut rotation, mut tickets) = (Rotation::default(), Ticket::default());
        for index in [0, 1] {
            (0..100).for_each(|_| {
                push(&mut rotation, &mut tickets, index);
            });
        }
        let order = order(&mut rotation, |index| if index == 0 { 1000 } else { 100 });
        let heavy = order[..88].iter().filter(|index| **index == 0).count();
        assert_eq!(heavy, 8, "{order:?}");
    }

    #[test]
    fn a_session_that_was_idle_is_next_and_has_no_claim_on_the_past() {
        let (mut rotation, mut tickets) = (Rotation::default(), Ticket::default());
        (0..20).for_each(|_| {
            push(&mut rotation, &mut tickets, 0);
        });
        for _ in 0..10 {
            assert_eq!(rotation.pop(), Some(WaveKey::at(0)));
            rotation.charge(session(0), 100);
        }
        (0..10).for_each(|_| {
            push(&mut rotation, &mut tickets, 1);
        });
        assert_eq!(order(&mut rotation, |_| 100)[..6], [1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_query_that_comes_back_after_each_step_keeps_no_other_waiting() {
        let (mut rotation, mut tickets) = (Rotation::default(), Ticket::default());
        push(&mut rotation, &mut tickets, 0);
        (0..3).for_each(|_| {
            push(&mut rotation, &mut tickets, 1);
        });
        let mut order = Vec::new();
        for _ in 0..6 {
            let Some(WaveKey(index)) = rotation.pop() else { panic!() };
            rotation.charge(session(index), 100);
            if index == 0 {
                push(&mut rotation, &mut tickets, 0);
            }
            rotation.check_invariants();
            order.push(index);
        }
        assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_query_in_the_middle_is_removed_and_its_session_forgotten() {
        let (mut rotation, mut tickets) = (Rotation::default(), Ticket::default());
        let gone = [push(&mut rotation, &mut tickets, 0), push(&mut rotation, &mut tickets, 0)];
        push(&mut rotation, &mut tickets, 1);
        for ticket in gone {
            assert!(rotation.remove(session(0), ticket) && !rotation.remove(session(0), ticket));
            rotation.check_invariants();
        }
        assert_eq!(order(&mut rotation, |_| 1), [1]);
        assert_eq!((rotation.is_empty(), rotation.len()), (true, 0));
    }
}
