//! Datagrams between super peers: they are packed as the driver packs them, counted, lost on their
//! way, and delivered.

use std::net::SocketAddr;
use std::time::Duration;

use super::Shard;
use crate::proto::super_peer::counters::Count;
use crate::proto::{Input, Role};
use crate::sim::fault::{Fault, Flight, Lose};
use crate::sim::lab::addresses::{super_addr, super_of};
use crate::sim::lab::happening::Happening;
use crate::sim::lab::tally::{KINDS_OF_QUERIES, kind};
use crate::sim::lab::traffic::{Datagram, Mail, Parcel};
use crate::wire::LinkMessage;
use crate::wire::link::{HEADER_BYTES, Packer};

impl Shard {
    pub(super) fn on_datagram(&mut self, datagram: &Datagram) {
        let now = self.now;
        let host = datagram.to - self.first as u32;
        let one = &mut self.hosts[host as usize];
        let Some(machine) = &mut one.machine else { return };
        let searched = machine.counters().count(Count::FloodSearched);
        let from = super_addr(datagram.from as usize);
        machine.handle_input(now, Input::Datagram { from, to: None, key: None, bytes: &datagram.bytes });
        self.tally.handled += 1;
        if self.measuring {
            one.load += u64::from(datagram.work);
            let searched = machine.counters().count(Count::FloodSearched) - searched;
            if searched > 0 {
                self.tally.searched(datagram.hops, searched);
            }
        }
        self.settle(host);
    }

    pub(super) fn pack(&mut self, host: u32, to: SocketAddr, boot: u64, message: &LinkMessage) {
        let Some(to) = super_of(to) else { return };
        let found = self.packers.iter().position(|(other, parcel)| *other == to && parcel.packer.boot() == boot);
        let at = found.unwrap_or_else(|| {
            self.packers.push((to, Parcel { packer: Packer::new(boot), length: 0, work: 0, hops: 0 }));
            self.packers.len() - 1
        });
        let parcel = &mut self.packers[at].1;
        let full = parcel.packer.push(message);
        let full = full.map(|bytes| (bytes, (parcel.work, parcel.hops)));
        if full.is_some() {
            (parcel.length, parcel.work, parcel.hops) = (0, 0, 0);
        }
        let kind = kind(message);
        let length = parcel.packer.len();
        debug_assert!(length > parcel.length && (parcel.length > 0 || length > HEADER_BYTES));
        let bytes = length - parcel.length;
        parcel.length = length;
        if kind < KINDS_OF_QUERIES {
            parcel.work += 1;
        }
        if let LinkMessage::Query(query) = message {
            parcel.hops = query.hops;
        }
        if self.measuring {
            self.tally.sent(kind, message, bytes);
        }
        if let Some((bytes, about)) = full {
            self.post(host, to, about, bytes);
        }
    }

    /// Sends the messages of the turn that are still in the packers.
    pub(super) fn post_all(&mut self, host: u32) {
        let mut packers = std::mem::take(&mut self.packers);
        for (to, mut parcel) in packers.drain(..) {
            if let Some(bytes) = parcel.packer.finish() {
                self.post(host, to, (parcel.work, parcel.hops), bytes);
            }
        }
        self.packers = packers;
    }

    fn post(&mut self, host: u32, to: u32, (work, hops): (u16, u8), bytes: Vec<u8>) {
        let delay = self.delay(host);
        let one = &mut self.hosts[host as usize];
        let from = u32::try_from(one.number).expect("at most 2^20 super peers");
        if self.measuring {
            one.load += u64::from(work);
        }
        if self.shared.plan.loss == 0 {
            return self.send(host, Datagram { to, from, work, hops, bytes }, delay);
        }
        let mut flights = std::mem::take(&mut self.flights);
        let flight = Flight { from: one.number, to: to as usize, delay, bytes };
        if Lose(self.shared.plan.loss).pass(flight, &mut one.random, &mut flights) && self.measuring {
            self.tally.lost += 1;
        }
        for Flight { delay, bytes, .. } in flights.drain(..) {
            self.send(host, Datagram { to, from, work, hops, bytes }, delay);
        }
        self.flights = flights;
    }

    fn send(&mut self, host: u32, datagram: Datagram, delay: Duration) {
        let (at, tie, to) = (self.now + delay, self.hosts[host as usize].tie(), datagram.to as usize);
        if (self.first..self.first + self.hosts.len()).contains(&to) {
            self.queue.push(at, tie, Happening::Datagram(datagram));
        } else {
            let shard = self.cuts.partition_point(|cut| *cut <= to) - 1;
            self.outbox[shard].push(Mail { at, tie, datagram });
        }
    }
}
