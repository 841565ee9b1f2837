//! The zones of a swarm: which members each one has, which of them are its gateways, and which
//! members may fetch from other zones. It knows no member but its place, and names none to another.

use super::slot::{Slot, grow};
use crate::config::{SWARM_GATEWAYS, SWARM_GATEWAYS_BELOW, SWARM_ZONES_MAX};
use crate::wire::swarm::Gateway;

const _: () = assert!(SWARM_ZONES_MAX <= 1 << 8 && SWARM_GATEWAYS < 1 << 8);

/// One zone.
#[derive(Debug, Default)]
pub(super) struct Zone {
    name: Option<Box<str>>,
    /// The members: first those with a part of the content, in the order in which they joined, then
    /// those that have all of it, in no order.
    slots: Vec<Slot>,
    /// How many have only a part.
    partial: usize,
}

impl Zone {
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its members.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Those that have only a part of the content.
    fn partial(&self) -> &[Slot] {
        &self.slots[..self.partial]
    }

    /// Those that also follow members of other zones: of those with a part, the ones that joined
    /// first.
    pub(super) fn gateways(&self) -> &[Slot] {
        &self.slots[..self.partial.min(SWARM_GATEWAYS)]
    }

    /// Adds a member. Returns whether it is a gateway.
    fn add(&mut self, slot: Slot, is_full: bool) -> bool {
        grow(&mut self.slots);
        let last = self.slots.len();
        self.slots.push(slot);
        if !is_full {
            self.slots.swap(self.partial, last);
            self.partial += 1;
        }
        !is_full && self.partial <= SWARM_GATEWAYS
    }

    /// Removes a member. Returns whether it was a gateway.
    fn remove(&mut self, slot: Slot, is_full: bool) -> bool {
        let of_kind = if is_full { self.partial..self.slots.len() } else { 0..self.partial };
        // One that changes often is near the end, so each change costs little.
        let found = self.slots[of_kind.clone()].iter().rposition(|other| *other == slot);
        let at = of_kind.start + found.expect("a member is in its zone");
        if is_full {
            self.slots.swap_remove(at);
            return false;
        }
        self.slots[at..of_kind.end].rotate_left(1);
        self.partial -= 1;
        self.slots.swap_remove(self.partial);
        at < SWARM_GATEWAYS
    }
}

/// All zones of a swarm, by number. The number of a zone that all members have left is used again.
#[derive(Debug, Default)]
pub(super) struct Zones {
    list: Vec<Zone>,
    /// There are members of other zones at other super peers.
    foreign: bool,
}

impl Zones {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&self, zone: u8) -> &Zone {
        &self.list[usize::from(zone)]
    }

    /// The members of all zones.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.list.iter().flat_map(|zone| zone.slots.iter().copied())
    }

    /// The members of all zones that have only a part of the content.
    pub(super) fn partial(&self) -> impl Iterator<Item = Slot> {
        self.list.iter().flat_map(|zone| zone.partial().iter().copied())
    }

    /// Whether there is more than one zone.
    fn is_divided(&self) -> bool {
        self.list.len() > 1 || self.foreign
    }

    /// Takes note of the zones of the members at other super peers.
    pub(super) fn set_foreign<'a>(&mut self, mut zones: impl Iterator<Item = Option<&'a str>>) {
        self.foreign = zones.any(|zone| self.list.iter().all(|known| known.name() != zone));
    }

    /// Which gateway of its zone a member is, and how many there are.
    pub(super) fn gateway(&self, zone: u8, slot: Slot) -> Option<Gateway> {
        let zone = self.at(zone);
        // Holders that have not joined may be in another zone, which only their followers see.
        let is_divided = self.is_divided() || zone.name.is_some();
        let number = zone.gateways().iter().position(|gateway| *gateway == slot).filter(|_| is_divided)?;
        Some(Gateway { number: number as u8, of: zone.gateways().len() as u8 })
    }

    /// Whether a member may follow members of other zones although it has not asked for others.
    pub(super) fn imports(&self, zone: u8, slot: Slot) -> bool {
        let zone = self.at(zone);
        !self.is_divided() || zone.slots.len() < SWARM_GATEWAYS_BELOW || zone.gateways().contains(&slot)
    }

    /// The number of the zone with this name. A zone beyond [`SWARM_ZONES_MAX`] counts as the first
    /// one.
    pub(super) fn number(&mut self, name: Option<&str>) -> u8 {
        let known = self.list.iter().position(|zone| zone.name() == name);
        known.unwrap_or_else(|| self.begin(name)) as u8
    }

    fn begin(&mut self, name: Option<&str>) -> usize {
        // A zone that all members have left takes the name of the next one.
        let free = self.list.iter().position(|zone| zone.slots.is_empty());
        match free {
            Some(free) => self.list[free].name = name.map(Into::into),
            None if self.list.len() < SWARM_ZONES_MAX => {
                grow(&mut self.list);
                self.list.push(Zone { name: name.map(Into::into), ..Zone::default() });
                return self.list.len() - 1;
            }
            None => {}
        }
        free.unwrap_or(0)
    }

    /// Adds a member. Returns whether it is a gateway.
    pub(super) fn add(&mut self, zone: u8, slot: Slot, is_full: bool) -> bool {
        self.list[usize::from(zone)].add(slot, is_full)
    }

    /// Removes a member. Returns whether it was a gateway.
    pub(super) fn remove(&mut self, zone: u8, slot: Slot, is_full: bool) -> bool {
        self.list[usize::from(zone)].remove(slot, is_full)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.list.iter().map(|zone| zone.slots.capacity()).sum();
        self.list.capacity() * size_of::<Zone>() + slots * size_of::<Slot>()
    }

    /// What must hold between any two calls.
    pub(super) fn check_invariants(&self, is_full: impl Fn(Slot) -> bool) {
        for zone in &self.list {
            let (partial, full) = zone.slots.split_at(zone.partial);
            assert!(partial.iter().all(|slot| !is_full(*slot)) && full.iter().all(|slot| is_full(*slot)));
        }
    }
}
