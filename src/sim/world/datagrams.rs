//! Datagrams of the world: faults, paths, and the checks of the shadow.

use std::net::SocketAddr;
use std::time::Duration;

use super::World;
use crate::proto::Input;
use crate::sim::fault::Flight;
use crate::sim::happening::Happening;
use crate::sim::roads::Way;

impl World {
    pub(super) fn on_datagram(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) {
        if self.nodes[to].machine.is_none() {
            return;
        }
        let Some((key, from, bytes)) = self.unpack(to, from, bytes) else { return };
        let bytes = bytes.as_slice();
        let Some(mut shadow) = self.shadow.take() else {
            return self.turn(to, Input::Datagram { from, to: None, key, bytes });
        };
        let life = self.nodes[to].life;
        let before = self.super_peer(to).map(|machine| {
            let sender = self.node_of(from, key);
            shadow.before_datagram((to, life), sender, bytes, machine)
        });
        self.shadow = Some(shadow);
        self.turn(to, Input::Datagram { from, to: None, key, bytes });
        let Some(mut shadow) = self.shadow.take() else { return };
        if let (Some(before), Some(machine)) = (before, self.super_peer(to)) {
            shadow.after_datagram(self.now, (to, life), &before, machine);
        }
        self.shadow = Some(shadow);
    }

    pub(super) fn send_datagram(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.counts.datagrams += 1;
        self.counts.datagram_bytes += bytes.len() as u64;
        let Some(&node) = self.by_ip.get(&to.ip()) else { return };
        let mut delay = self.delay();
        match self.roads.enter(from, node, self.now) {
            Way::Free => {}
            Way::Clogged(wait) => {
                *self.counts.faults.entry("clog").or_default() += 1;
                delay += wait;
            }
            Way::Full => return *self.counts.faults.entry("clog_full").or_default() += 1,
            Way::Cut => return *self.counts.faults.entry("partition").or_default() += 1,
        }
        let mut flights = vec![Flight { from, to: node, delay, bytes }];
        for fault in &mut self.faults {
            let mut after = Vec::new();
            for flight in flights {
                if fault.pass(flight, &mut self.weather, &mut after) {
                    *self.counts.faults.entry(fault.name()).or_default() += 1;
                }
            }
            flights = after;
        }
        let from = self.nodes[from].addr;
        for Flight { to, delay, bytes, .. } in flights {
            self.schedule(self.now + delay, Happening::Datagram { to, from, bytes });
        }
    }

    /// Sends a datagram with a forged sender.
    pub(super) fn forge_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(&to) = self.by_ip.get(&to.ip()) else { return };
        let after = self.delay();
        self.schedule(self.now + after, Happening::Datagram { to, from, bytes });
    }

    pub(in crate::sim) fn delay(&mut self) -> Duration {
        self.net.time(self.latency.0, self.latency.1)
    }
}
