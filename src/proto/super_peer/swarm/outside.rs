//! The peers that a swarm names in addition to its members: peers that have registered the content
//! here without a JOIN, and peers that other super peers have found, which are members there or
//! have registered the content there. It sends no query itself.

use std::net::IpAddr;

use super::graph::Graph;
use super::slot::Slot;
use crate::config::{
    SWARM_ACROSS_MAX, SWARM_ACROSS_MISSED_MAX, SWARM_ACROSS_NAMED, SWARM_FOLLOWERS_MAX, SWARM_SEEDS_MAX,
    SWARM_SEEDS_NAMED,
};
use crate::proto::super_peer::index::{Found, HolderId, Index};
use crate::wire::message::SourceRecord;
use crate::wire::swarm::Member as Named;
use crate::wire::{HostPort, NodeId, Root};

/// To find complete holders, at most this many entries of the index and their holders are looked
/// at. Some holders may be gone; they are removed later.
const LOOKS_MAX: usize = 256;

/// One bit for each place of the list. In a member, a bit says whether the peer at that place was
/// named to the member.
type Bits = u32;

/// A member has room for this many bits.
const _: () = assert!(SWARM_SEEDS_MAX + SWARM_ACROSS_MAX <= 24);

#[derive(Debug)]
enum Place {
    Here(HolderId, NodeId),
    There(Box<There>),
}

/// What another super peer says about a source.
#[derive(Debug)]
struct There {
    node: Option<NodeId>,
    addr: HostPort,
    other: Option<HostPort>,
    unreached: bool,
    zone: Option<String>,
    /// In how many answers in a row it was missing.
    missed: u8,
}

#[derive(Debug)]
struct Outsider {
    place: Place,
    is_full: bool,
    /// The number of members to which it was named.
    followers: u8,
}

/// The member to which peers are named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) slot: Slot,
    /// Its holder in the index, if it serves.
    pub(super) own: Option<HolderId>,
    /// The address at which it reaches this super peer.
    pub(super) at: Option<IpAddr>,
}

/// The peers of one swarm that are not members here. Free places of the list are used again.
#[derive(Debug, Default)]
pub(super) struct Outside {
    list: Vec<Option<Outsider>>,
}

/// - getters: `len`, `full`, `has_seed`, `bytes`, `zones`;
/// - mutators: `find_here`, `take_member`, `forget_gone`, `take_found`, `unfollow`, `name`.
impl Outside {
    fn all(&self) -> impl Iterator<Item = (usize, &Outsider)> {
        self.list.iter().enumerate().filter_map(|(at, one)| Some((at, one.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.all().count()
    }

    /// The number of peers that have the complete content.
    pub(super) fn full(&self) -> usize {
        self.all().filter(|(_, one)| one.is_full).count()
    }

    /// Whether a peer here has registered the content.
    pub(super) fn has_seed(&self) -> bool {
        self.all().any(|(_, one)| matches!(one.place, Place::Here(..)))
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let there = |one: &There| {
            let texts = [Some(one.addr.host().len()), one.other.as_ref().map(|other| other.host().len())];
            let zone = one.zone.as_ref().map_or(0, String::len);
            size_of::<There>() + texts.into_iter().flatten().sum::<usize>() + zone
        };
        let heap = self.all().map(|(_, one)| if let Place::There(one) = &one.place { there(one) } else { 0 });
        heap.sum::<usize>() + self.list.capacity() * size_of::<Option<Outsider>>()
    }

    /// The zones of members at other super peers.
    pub(super) fn zones(&self) -> impl Iterator<Item = Option<&str>> {
        let part = self.all().filter(|(_, one)| !one.is_full);
        part.filter_map(|(_, one)| if let Place::There(one) = &one.place { Some(one.zone.as_deref()) } else { None })
    }

    fn add(&mut self, place: Place, is_full: bool) {
        let one = Some(Outsider { place, is_full, followers: 0 });
        match self.list.iter_mut().find(|place| place.is_none()) {
            Some(free) => *free = one,
            None => self.list.push(one),
        }
    }

    fn count(&self, which: fn(&Place) -> bool) -> usize {
        self.all().filter(|(_, one)| which(&one.place)).count()
    }

    // ---- here -----------------------------------------------------------------------------------

    /// Looks in the index for peers that have registered the content.
    pub(super) fn find_here(&mut self, root: &Root, index: &Index) {
        let (key, mut cursor) = (index.root_key(root), 0);
        let mut looks = 0..LOOKS_MAX;
        while looks.next().is_some() {
            let Some(id) = index.next(Some(key), cursor) else { return };
            cursor = id + 1;
            if index.seen(id).is_none_or(|entry| *entry.root != *root) {
                continue;
            }
            let mut from = 0;
            while looks.next().is_some()
                && let Some(holder) = index.holder_from(id, from)
            {
                from = holder.0 + 1;
                if self.count(|place| matches!(place, Place::Here(..))) >= SWARM_SEEDS_MAX {
                    return;
                }
                let is_known = self.all().any(|(_, one)| matches!(one.place, Place::Here(here, _) if here == holder));
                if !is_known && !index.is_gone(holder.0) {
                    self.add(Place::Here(holder, index.node(holder)), true);
                }
            }
        }
    }

    /// A peer of the list has joined here and becomes a member. Returns its bit and the number of
    /// members to which it was named; `None` if it was not in the list.
    pub(super) fn take_member(&mut self, holder: HolderId) -> Option<(Bits, usize)> {
        let is_it = |one: &Outsider| matches!(one.place, Place::Here(here, _) if here == holder);
        let at = self.list.iter().position(|one| one.as_ref().is_some_and(is_it))?;
        let one = self.list[at].take()?;
        Some((1 << at, usize::from(one.followers)))
    }

    /// Removes peers here that are gone. Returns whether any of them was named to a member.
    pub(super) fn forget_gone(&mut self, graph: &mut Graph, index: &Index) -> bool {
        self.forget(graph, |place| match place {
            Place::Here(holder, node) => index.is_gone(holder.0) || index.node(*holder) != *node,
            Place::There(_) => false,
        })
    }

    fn forget(&mut self, graph: &mut Graph, is_gone: impl Fn(&Place) -> bool) -> bool {
        let (mut bits, mut named) = (0, 0);
        for (at, place) in self.list.iter_mut().enumerate() {
            if let Some(one) = place.take_if(|one| is_gone(&one.place)) {
                bits |= 1 << at;
                named += usize::from(one.followers);
            }
        }
        graph.forget_seeds(bits, named);
        named > 0
    }

    // ---- there ----------------------------------------------------------------------------------

    /// Takes the sources that other super peers have found. Leaves out those for which `is_member`
    /// is true, because they are members here too. Returns whether some are new.
    pub(super) fn take_found(
        &mut self,
        found: Vec<SourceRecord>,
        graph: &mut Graph,
        is_member: impl Fn(&SourceRecord) -> bool,
    ) -> bool {
        for one in self.list.iter_mut().flatten() {
            if let Place::There(there) = &mut one.place {
                there.missed += 1;
            }
        }
        let mut new = false;
        for record in found {
            let addr = record.addr.canonical();
            if !addr.is_dialable() || is_member(&record) {
                continue;
            }
            let other = record.other.as_ref().map(HostPort::canonical);
            let other = other.filter(|other| other.is_dialable() && *other != addr);
            let (is_full, zone) = (!record.is_partial(), record.member.and_then(|member| member.zone));
            let known = self.list.iter_mut().flatten().find_map(|one| match &mut one.place {
                Place::There(there) if there.addr == addr => Some((there, &mut one.is_full)),
                Place::There(_) | Place::Here(..) => None,
            });
            if let Some((there, full)) = known {
                (there.missed, there.zone, *full) = (0, zone, is_full);
                there.unreached &= record.unreached;
            } else if self.count(|place| matches!(place, Place::There(_))) < SWARM_ACROSS_MAX {
                let SourceRecord { node, unreached, .. } = record;
                let there = There { node, addr, other, unreached, zone, missed: 0 };
                self.add(Place::There(Box::new(there)), is_full);
                new = true;
            }
        }
        self.forget(graph, |place| match place {
            Place::There(there) => there.missed > SWARM_ACROSS_MISSED_MAX,
            Place::Here(..) => false,
        });
        new
    }

    // ---- naming ---------------------------------------------------------------------------------

    /// A member to which these peers were named has left.
    pub(super) fn unfollow(&mut self, named: Bits) {
        for (at, one) in self.list.iter_mut().enumerate() {
            if let Some(one) = one.as_mut().filter(|_| named >> at & 1 == 1) {
                one.followers -= 1;
            }
        }
    }

    /// Names some peers to a member that may follow them. With `across`, it names only peers at
    /// other super peers. It names complete holders there only if there is none here.
    pub(super) fn name(
        &mut self,
        asker: Asker,
        across: bool,
        graph: &mut Graph,
        index: &Index,
        peers: &mut Vec<Named>,
    ) {
        while let Some(at) = self.next_for(asker, across, peers.is_empty(), graph) {
            let Some(one) = &mut self.list[at] else { return };
            one.followers += 1;
            graph.member_mut(asker.slot).add_outsiders(1 << at);
            peers.push(match &one.place {
                Place::Here(holder, node) => {
                    let Found { addr, other, out_of_reach } = index.serves(*holder).found_from(asker.at);
                    let unreached = out_of_reach || index.is_unreached(*holder);
                    Named { node: Some(*node), addr, other, full: true, out: false, unreached }
                }
                Place::There(there) => {
                    let There { node, addr, other, unreached, zone, .. } = &**there;
                    let (addr, other) = (addr.clone(), other.clone());
                    let out = zone.as_deref() != graph.zone_of(asker.slot);
                    Named { node: *node, addr, other, full: one.is_full, out, unreached: *unreached }
                }
            });
        }
    }

    /// The peer to name next: of the peers that the member may follow, the peer that was named to
    /// the fewest members.
    fn next_for(&self, asker: Asker, across: bool, is_first: bool, graph: &Graph) -> Option<usize> {
        let Asker { slot, own, .. } = asker;
        if graph.is_full(slot) {
            return None;
        }
        let (bits, imports, zone) = (graph.member(slot).outsiders(), graph.imports(slot), graph.zone_of(slot));
        let named = |full: bool| self.all().filter(|(at, one)| bits >> at & 1 == 1 && one.is_full == full).count();
        let (full, part) = (named(true), named(false));
        let lacks = graph.lacks(slot, part);
        let seeded = across && (graph.full() > 0 || self.has_seed());
        let most = if is_first && bits == 0 { usize::from(u8::MAX) } else { SWARM_FOLLOWERS_MAX };
        let may_follow = |one: &Outsider| match &one.place {
            Place::Here(holder, _) => imports && !across && Some(*holder) != own,
            Place::There(there) => imports || there.zone.as_deref() == zone,
        };
        let fits = self.all().filter(|(at, one)| {
            let has_place = match one.is_full {
                true => full < SWARM_SEEDS_NAMED && !seeded,
                false => part < SWARM_ACROSS_NAMED || lacks,
            };
            bits >> at & 1 == 0 && has_place && usize::from(one.followers) < most && may_follow(one)
        });
        fits.min_by_key(|(_, one)| one.followers).map(|(at, _)| at)
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, graph: &Graph) {
        assert!(self.count(|place| matches!(place, Place::Here(..))) <= SWARM_SEEDS_MAX);
        assert!(self.count(|place| matches!(place, Place::There(_))) <= SWARM_ACROSS_MAX);
        for (at, one) in self.list.iter().enumerate() {
            let named = graph.all().filter(|(_, member)| member.outsiders() >> at & 1 == 1).count();
            let followers = one.as_ref().map_or(0, |one| usize::from(one.followers));
            assert_eq!(named, followers, "it is known to how many each was named");
        }
    }
}
