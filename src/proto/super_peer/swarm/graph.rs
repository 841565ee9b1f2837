//! The graph of one swarm: its members, and which members were named to which as peers to follow.
//!
//! It is nearly regular: a few members are drawn at random, and the one of them that was named
//! least is named. Without that, the first members would get most followers. And bytes can flow
//! both ways: a member follows some that came before it, and keeps places for some that come later.
//! If it followed only earlier ones, nothing could flow from a late member to an early one, and the
//! upload lines of the late members would be idle.
//!
//! It never names a member to itself. It names no member twice to another, unless that one asks for
//! more or one of the two has left and come back. It sends nothing and knows no address.

use std::collections::VecDeque;

use super::slot::{Slot, free_if_empty, grow};
use super::zones::Zones;
use crate::config::{
    SWARM_DEGREE, SWARM_DEGREE_SMALL, SWARM_FOLLOWERS_MAX, SWARM_GATEWAYS, SWARM_GATEWAYS_BELOW, SWARM_MEMBERS_MAX,
    SWARM_NAMED_FIRST, SWARM_NEWER, SWARM_OUTSIDE, SWARM_SMALL,
};
use crate::wire::swarm::Gateway;

const _: () = assert!(SWARM_FOLLOWERS_MAX < 1 << 8 && SWARM_DEGREE_SMALL <= SWARM_DEGREE);

/// Members that fit and are drawn at random; the one of them that was named least is named.
const CHOICES: usize = 4;
/// Members that are looked at to find these: all, if there are no more.
const LOOKS: usize = 32;
/// To a member that follows fewer than this, others are named although they have enough followers.
const NAMED_LEAST: usize = 4;
/// How many of those that were named first are forgotten when a member asks for others.
const FORGOTTEN: usize = 4;

const LIVE: u8 = 1;
/// It has the complete content, and follows none.
const FULL: u8 = 2;
/// It can be dialed.
const SERVES: u8 = 4;
/// It is in the queue of those that follow too few.
const QUEUED: u8 = 8;
/// Members of other zones may be named to it, because it has asked for others.
const ASKED: u8 = 16;
/// Which gateway it is, and of how many, has changed since the last PEERS.
const GATEWAY_NEWS: u8 = 32;

/// A member: one JOIN. There may be very many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The slot of its session.
    pub(super) session: u32,
    /// The number of its JOIN.
    pub(super) req: u32,
    /// The next JOIN of its session: the swarm and the place in it.
    pub(super) next_swarm: u32,
    pub(super) next_slot: Slot,
    /// The members that were named to it, in order.
    named: [Slot; SWARM_DEGREE],
    /// Which of the peers outside of the graph were named to it.
    seeds: [u8; 3],
    zone: u8,
    /// The number of members to which it was named.
    pub(super) followers: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Member>() <= 52, "a member is small");

impl Member {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Which of the peers outside of the graph were named to it: a bit for each place.
    pub(super) fn outsiders(&self) -> u32 {
        let [a, b, c] = self.seeds;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Sets these bits.
    pub(super) fn add_outsiders(&mut self, bits: u32) {
        self.set_outsiders(self.outsiders() | bits);
    }

    fn set_outsiders(&mut self, bits: u32) {
        let [a, b, c, _] = bits.to_le_bytes();
        self.seeds = [a, b, c];
    }

    fn named_len(&self) -> usize {
        self.named.iter().take_while(|slot| **slot != Slot::NONE).count()
    }

    fn unname(&mut self, slot: Slot) -> bool {
        let Some(at) = self.named.iter().position(|named| *named == slot) else { return false };
        self.named.copy_within(at + 1.., at);
        self.named[SWARM_DEGREE - 1] = Slot::NONE;
        true
    }
}

/// What a JOIN says of its member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JoinFlags {
    pub(super) is_full: bool,
    pub(super) serves: bool,
}

/// All members of a swarm.
#[derive(Debug, Default)]
pub(super) struct Graph {
    members: Vec<Member>,
    free: Vec<Slot>,
    zones: Zones,
    live: usize,
    full: usize,
    /// Members that follow too few.
    lacking: VecDeque<Slot>,
    /// New members that are still to be named to some that joined earlier.
    newcomers: VecDeque<Slot>,
}

/// The swarm has no room for one more member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// - getters: `len`, `full`, `member`, `gateway`, `is_outside`, `imports`, `zone_of`, `lacks`,
///   `serves`, `from`, `around`, `places`, `first`, `all`;
/// - mutators: `join`, `change`, `leave`, `ask`, `adopt`, `forget_seeds`, `set_foreign`, `name`,
///   `introduce`, `report_gateway`, `next_lacking`, `still_lacks`, `next_newcomer`.
impl Graph {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Members that have the complete content.
    pub(super) fn full(&self) -> usize {
        self.full
    }

    pub(super) fn member(&self, slot: Slot) -> &Member {
        &self.members[slot.at()]
    }

    pub(super) fn member_mut(&mut self, slot: Slot) -> &mut Member {
        &mut self.members[slot.at()]
    }

    pub(super) fn is_full(&self, slot: Slot) -> bool {
        self.member(slot).has(FULL)
    }

    /// Whether it is a gateway: one of the few of its zone that fetch from other zones.
    #[cfg(test)]
    pub(super) fn is_gateway(&self, slot: Slot) -> bool {
        self.gateway(slot).is_some()
    }

    /// Which gateway of its zone it is, and how many there are.
    pub(super) fn gateway(&self, slot: Slot) -> Option<Gateway> {
        self.zones.gateway(self.member(slot).zone, slot)
    }

    /// The same, for PEERS, and whether it may differ from the last time.
    pub(super) fn report_gateway(&mut self, slot: Slot) -> (Option<Gateway>, bool) {
        let member = &mut self.members[slot.at()];
        let is_news = member.has(GATEWAY_NEWS);
        member.flags &= !GATEWAY_NEWS;
        let gateway = self.gateway(slot);
        (gateway, is_news && gateway.is_some())
    }

    /// Takes note of the zones of the members at other super peers.
    pub(super) fn set_foreign<'a>(&mut self, zones: impl Iterator<Item = Option<&'a str>>) {
        self.zones.set_foreign(zones);
    }

    /// The zone of a member.
    pub(super) fn zone_of(&self, slot: Slot) -> Option<&str> {
        self.zones.at(self.member(slot).zone).name()
    }

    /// Whether a member follows too few, if it also follows `others` that are not in the graph.
    pub(super) fn lacks(&self, slot: Slot, others: usize) -> bool {
        self.member(slot).named_len() + others < self.enough()
    }

    /// How many places there are. Some may be free.
    pub(super) fn places(&self) -> usize {
        self.members.len()
    }

    /// All members, beginning with the one of this number among them.
    pub(super) fn around(&self, first: usize) -> impl Iterator<Item = Slot> {
        self.zones.slots().skip(first).chain(self.zones.slots().take(first))
    }

    /// The members from this place on, in the order of the places. It passes over free places.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = Slot> {
        let slots = (at..self.members.len()).map(|at| Slot(at as u16));
        slots.filter(|slot| self.member(*slot).has(LIVE))
    }

    /// Whether it can be dialed.
    pub(super) fn serves(&self, slot: Slot) -> bool {
        self.member(slot).has(SERVES)
    }

    /// Whether it may follow members of other zones.
    pub(super) fn imports(&self, slot: Slot) -> bool {
        let member = self.member(slot);
        member.has(ASKED) || self.zones.imports(member.zone, slot)
    }

    /// A peer outside of the graph has joined and is this member now. The members to which it was
    /// named by this bit follow the member.
    pub(super) fn adopt(&mut self, slot: Slot, seed: u32, followers: usize) {
        for other in self.forget_seeds(seed, followers) {
            let member = &mut self.members[other.at()];
            let place = member.named_len();
            if place < SWARM_DEGREE && !member.has(FULL) {
                member.named[place] = slot;
                self.members[slot.at()].followers += 1;
            }
        }
    }

    /// The peers outside of the graph with these bits are gone: they were named to no member any
    /// more. `named`: how many of these bits all members have. Returns the members that had some.
    pub(super) fn forget_seeds(&mut self, seeds: u32, mut named: usize) -> Vec<Slot> {
        let Graph { zones, members, .. } = self;
        let mut had = Vec::new();
        for slot in zones.slots() {
            if named == 0 {
                break;
            }
            let member = &mut members[slot.at()];
            let these = member.outsiders() & seeds;
            if these != 0 {
                named -= these.count_ones() as usize;
                member.set_outsiders(member.outsiders() & !seeds);
                had.push(slot);
            }
        }
        debug_assert_eq!(named, 0, "as many members have a bit as it was named to");
        had
    }

    /// Whether the two are in different zones.
    pub(super) fn is_outside(&self, one: Slot, other: Slot) -> bool {
        self.member(one).zone != self.member(other).zone
    }

    /// Who was named to it.
    #[cfg(test)]
    pub(super) fn named(&self, slot: Slot) -> &[Slot] {
        let member = self.member(slot);
        &member.named[..member.named_len()]
    }

    /// All members.
    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.zones.slots().map(|slot| (slot, self.member(slot)))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>()
            + (self.free.capacity() + self.lacking.capacity() + self.newcomers.capacity()) * size_of::<Slot>()
            + self.zones.bytes()
    }

    /// A new member.
    pub(super) fn join(
        &mut self,
        (session, req): (u32, u32),
        zone: Option<&str>,
        flags: JoinFlags,
    ) -> Result<Slot, NoRoom> {
        if self.live >= SWARM_MEMBERS_MAX {
            return Err(NoRoom);
        }
        let zones = self.zones.len();
        let zone = self.zones.number(zone);
        if zones == 1 && self.zones.len() == 2 {
            // Now the gateways of the first zone can follow members of another one.
            self.queue_gateways(0);
        }
        let member = Member {
            session,
            req,
            next_swarm: 0,
            next_slot: Slot::NONE,
            named: [Slot::NONE; SWARM_DEGREE],
            seeds: [0; 3],
            zone,
            followers: 0,
            flags: LIVE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.members[slot.at()] = member;
                slot
            }
            None => {
                grow(&mut self.members);
                self.members.push(member);
                Slot(self.members.len() as u16 - 1)
            }
        };
        self.live += 1;
        if self.zones.add(zone, slot, false) {
            self.queue_gateways(zone);
        }
        self.change(slot, flags);
        self.newcomers.push_back(slot);
        if self.live == SWARM_SMALL {
            // From this size on each member follows more.
            self.zones.slots().collect::<Vec<_>>().into_iter().for_each(|slot| self.queue(slot));
        }
        Ok(slot)
    }

    /// The JOIN of a member was replaced.
    pub(super) fn change(&mut self, slot: Slot, flags: JoinFlags) {
        let member = &mut self.members[slot.at()];
        let was_full = member.has(FULL);
        for (flag, on) in [(FULL, flags.is_full), (SERVES, flags.serves)] {
            member.flags = if on { member.flags | flag } else { member.flags & !flag };
        }
        self.full = self.full + usize::from(flags.is_full) - usize::from(was_full);
        if flags.is_full && !was_full {
            self.forget_named(slot, SWARM_DEGREE);
        }
        if flags.is_full != was_full {
            let zone = self.members[slot.at()].zone;
            if self.zones.remove(zone, slot, was_full) | self.zones.add(zone, slot, flags.is_full) {
                self.queue_gateways(zone);
            }
        }
        self.queue(slot);
    }

    /// A member asks for others: some of those that were named to it may be named again.
    pub(super) fn ask(&mut self, slot: Slot) {
        let members = self.members[slot.at()].named_len();
        let most = self.enough();
        self.forget_named(slot, FORGOTTEN.min((members + FORGOTTEN).saturating_sub(most)));
        self.members[slot.at()].flags |= ASKED;
        self.queue(slot);
    }

    fn forget_named(&mut self, slot: Slot, n: usize) {
        for _ in 0..n {
            let first = self.members[slot.at()].named[0];
            if first == Slot::NONE {
                return;
            }
            self.members[slot.at()].unname(first);
            self.members[first.at()].followers -= 1;
        }
    }

    /// A member leaves. Those to which it was named follow one less.
    pub(super) fn leave(&mut self, slot: Slot) {
        self.forget_named(slot, SWARM_DEGREE);
        let member = &mut self.members[slot.at()];
        let (zone, was_full) = (member.zone, member.has(FULL));
        let mut followers = std::mem::take(&mut member.followers);
        member.flags = 0;
        self.live -= 1;
        self.full -= usize::from(was_full);
        let was_gateway = self.zones.remove(zone, slot, was_full);
        self.lacking.retain(|other| *other != slot);
        self.newcomers.retain(|other| *other != slot);
        // A member that has the complete content follows none.
        let Graph { zones, members, .. } = self;
        let mut left = Vec::new();
        for other in zones.partial() {
            if followers == 0 {
                break;
            }
            if members[other.at()].unname(slot) {
                followers -= 1;
                left.push(other);
            }
        }
        debug_assert_eq!(followers, 0, "as many follow a member as it was named to");
        // Others may be named to these now.
        left.into_iter().for_each(|other| self.queue(other));
        if was_gateway {
            self.queue_gateways(zone);
        }
        self.free.push(slot);
    }

    /// The gateways of a zone are others now: each fetches other pieces, and members of other zones
    /// may be named to a new one.
    fn queue_gateways(&mut self, zone: u8) {
        let gateways = self.zones.at(zone).gateways();
        let (mut all, many) = ([Slot::NONE; SWARM_GATEWAYS], gateways.len());
        all[..many].copy_from_slice(gateways);
        for gateway in &all[..many] {
            self.members[gateway.at()].flags |= GATEWAY_NEWS;
            self.queue(*gateway);
        }
    }

    fn queue(&mut self, slot: Slot) {
        let member = &mut self.members[slot.at()];
        if member.has(LIVE) && !member.has(FULL) && !member.has(QUEUED) {
            member.flags |= QUEUED;
            self.lacking.push_back(slot);
        }
    }

    /// Most members that one follows.
    fn degree(&self) -> usize {
        if self.live < SWARM_SMALL { SWARM_DEGREE_SMALL } else { SWARM_DEGREE }
    }

    /// How many of them are named to it, if there are enough. The other places are for newcomers.
    fn enough(&self) -> usize {
        self.degree() - SWARM_NEWER
    }

    /// How many of its zone are named to a member that joins. In a crowd the others are named with
    /// those that join at the same time, so that those that join last are followed by as many as
    /// those that join first.
    pub(super) fn first(&self) -> usize {
        if self.newcomers.len() > SWARM_NAMED_FIRST { SWARM_NAMED_FIRST } else { usize::MAX }
    }

    /// New members that are still to be named to some that joined earlier.
    pub(super) fn newcomers(&self) -> usize {
        self.newcomers.len()
    }

    /// Takes one of these.
    pub(super) fn next_newcomer(&mut self) -> Option<Slot> {
        let slot = self.newcomers.pop_front();
        free_if_empty(&mut self.newcomers);
        slot
    }

    /// Names a newcomer to some members of its zone that have a place for newcomers. Returns these
    /// members.
    pub(super) fn introduce(&mut self, newcomer: Slot, mut draw: impl FnMut(usize) -> usize) -> Vec<Slot> {
        let mut targets = Vec::new();
        let member = *self.member(newcomer);
        if !member.has(SERVES) {
            return targets;
        }
        let all = self.zones.at(member.zone).slots().len();
        let first = draw(all);
        // If many come together, some of them already follow it. Few may have a place.
        for step in 0..all.min(2 * LOOKS) {
            if usize::from(self.member(newcomer).followers) >= SWARM_NEWER {
                break;
            }
            let at = if all <= 2 * LOOKS { (first + step) % all } else { draw(all) };
            let target = self.zones.at(member.zone).slots()[at];
            let other = self.member(target);
            let place = other.named_len();
            let fits = target != newcomer
                && !other.has(FULL)
                && place + self.kept(target) < self.degree()
                && !other.named.contains(&newcomer);
            if fits {
                self.members[target.at()].named[place] = newcomer;
                self.members[newcomer.at()].followers += 1;
                targets.push(target);
            }
        }
        targets
    }

    /// Members in the queue of those that may follow too few.
    pub(super) fn lacking(&self) -> usize {
        self.lacking.len()
    }

    /// Takes the next member out of that queue.
    pub(super) fn next_lacking(&mut self) -> Option<Slot> {
        let slot = self.lacking.pop_front()?;
        free_if_empty(&mut self.lacking);
        self.members[slot.at()].flags &= !QUEUED;
        Some(slot)
    }

    /// All that can be named to a member now was named to it. Puts it back into the queue if it
    /// still follows too few.
    pub(super) fn still_lacks(&mut self, slot: Slot) {
        self.members[slot.at()].flags &= !ASKED;
        let (named, kept) = (self.member(slot).named_len(), self.kept(slot));
        if named < self.enough() || kept > 0 && named < self.degree() {
            self.queue(slot);
        } else if self.member(slot).has(QUEUED) {
            // It is last if it has just been queued, because its JOIN came.
            let at = self.lacking.iter().rposition(|other| *other == slot);
            at.map(|at| self.lacking.remove(at));
            self.members[slot.at()].flags &= !QUEUED;
        }
    }

    /// How many places a member keeps for members of other zones.
    fn kept(&self, slot: Slot) -> usize {
        if self.zones.len() == 1 || !self.imports(slot) {
            return 0;
        }
        let member = self.member(slot);
        let named = &member.named[..member.named_len()];
        SWARM_OUTSIDE.saturating_sub(named.iter().filter(|other| self.is_outside(slot, **other)).count())
    }

    /// Names others to a member until it follows enough, or this many of its zone. Returns them.
    /// `draw(n)` returns a random number below n.
    pub(super) fn name(&mut self, slot: Slot, most: usize, mut draw: impl FnMut(usize) -> usize) -> Vec<Slot> {
        let mut named = Vec::new();
        if self.member(slot).has(FULL) {
            return named;
        }
        let zone = self.member(slot).zone;
        let few = self.zones.at(zone).slots().len() < SWARM_GATEWAYS_BELOW;
        let enough = self.enough();
        while self.member(slot).named_len() + self.kept(slot) < enough.min(most)
            && let Some(other) = self.least_named(slot, Some(zone), &mut draw)
        {
            named.push(other);
        }
        while (self.kept(slot) > 0 || few && self.zones.len() > 1 && self.member(slot).named_len() < enough)
            && self.member(slot).named_len() < self.degree()
            && let Some(other) = self.least_named(slot, None, &mut draw)
        {
            named.push(other);
        }
        named
    }

    /// Names to a member one that was named to few others: of this zone, or for `None` of any zone
    /// but its own.
    fn least_named(&mut self, slot: Slot, zone: Option<u8>, draw: &mut impl FnMut(usize) -> usize) -> Option<Slot> {
        let me = self.member(slot);
        let most = if me.named_len() < NAMED_LEAST { u8::MAX as usize } else { SWARM_FOLLOWERS_MAX };
        let fits = |other: Slot| {
            let member = self.member(other);
            let fits = other != slot
                && member.has(LIVE)
                && member.has(SERVES)
                && usize::from(member.followers) < most
                && (zone.is_some() || member.zone != me.zone)
                && !me.named.contains(&other);
            fits.then_some((member.followers, other))
        };
        let at = |at: usize| match zone {
            Some(zone) => self.zones.at(zone).slots()[at],
            None => Slot(at as u16),
        };
        let all = zone.map_or(self.members.len(), |zone| self.zones.at(zone).slots().len());
        if all == 0 {
            return None;
        }
        let first = draw(all);
        let looks = (0..all.min(LOOKS)).map(|step| at(if all <= LOOKS { (first + step) % all } else { draw(all) }));
        let least = looks.filter_map(fits).take(CHOICES).min_by_key(|(followers, _)| *followers);
        let (_, other) = least?;
        let place = self.member(slot).named_len();
        self.members[slot.at()].named[place] = other;
        self.members[other.at()].followers += 1;
        Some(other)
    }

    /// What must hold between any two calls.
    pub(super) fn check_invariants(&self) {
        let all = || self.from(0).map(|slot| (slot, self.member(slot)));
        assert_eq!(all().count(), self.live);
        assert_eq!(all().filter(|(_, member)| member.has(FULL)).count(), self.full);
        assert_eq!(self.live + self.free.len(), self.members.len());
        assert_eq!(self.zones.slots().count(), self.live);
        let mut followers = vec![0; self.members.len()];
        for (slot, member) in all() {
            let named = &member.named[..member.named_len()];
            assert!(member.named[named.len()..].iter().all(|other| *other == Slot::NONE), "those named have no gap");
            for (at, other) in named.iter().enumerate() {
                assert_ne!(*other, slot, "none is named to itself");
                assert!(self.member(*other).has(LIVE), "only members are named");
                assert!(!named[..at].contains(other), "none is named twice");
                followers[other.at()] += 1;
            }
            assert!(!member.has(FULL) || named.is_empty(), "who has all follows none");
            assert_eq!(member.has(QUEUED), self.lacking.contains(&slot));
            assert!(self.zones.at(member.zone).slots().contains(&slot));
        }
        for (slot, member) in all() {
            assert_eq!(usize::from(member.followers), followers[slot.at()]);
        }
        self.zones.check_invariants(|slot| self.is_full(slot));
    }
}
