//! Connections in the swarm: dial, send, deliver, close.

use std::net::SocketAddr;
use std::time::Duration;

use super::conn::{End, Item, Link};
use super::happening::Happening;
use super::node::EndId;
use super::{Swarm, addr};
use crate::proto::{CloseReason, ConnId, DialId, Input};
use crate::wire::{Message, frame};

/// The time from the order to close an end until it is closed: one turn of the driver.
const CLOSING: Duration = Duration::from_micros(20);
/// The port from which peers dial.
const DIALS_FROM: u16 = 40_000;

impl Swarm {
    /// How long a message takes.
    pub(super) fn delay(&mut self) -> Duration {
        let (least, most) = self.plan.latency;
        self.random.time(least, most)
    }

    pub(super) fn end(&mut self, id: EndId) -> &mut End {
        &mut self.links[id.link as usize].ends[id.side as usize]
    }

    /// The node at an end, and its id for the connection, if the connection is still the same and
    /// open.
    pub(super) fn end_of(&self, id: EndId, serial: u64) -> Option<(u32, ConnId)> {
        let link = self.links.get(id.link as usize).filter(|link| link.serial == serial)?;
        let end = &link.ends[id.side as usize];
        end.open.then_some((end.node, end.conn))
    }

    pub(super) fn on_dial(&mut self, node: u32, dial: DialId, to: Option<u32>) {
        let back = self.now + self.delay();
        let to = to.filter(|to| self.nodes.get(*to as usize).is_some_and(|target| target.machine.is_some()));
        let Some(to) = to.filter(|_| self.nodes[node as usize].machine.is_some()) else {
            return self.schedule(back, Happening::DialFailed { node, dial });
        };
        self.serial += 1;
        let (serial, now) = (self.serial, self.now);
        let link = self.links.vacant_key() as u32;
        let [dialer, listener] = [0, 1].map(|side| EndId { link, side });
        let conns = [self.nodes[node as usize].open(dialer), self.nodes[to as usize].open(listener)];
        let ends = [End::new(node, conns[0], back), End::new(to, conns[1], now)];
        self.links.insert(Link { ends, serial });
        self.schedule(back, Happening::Dialed { end: dialer, serial, dial });
        let from = SocketAddr::new(addr(node).ip(), DIALS_FROM);
        self.turn(to, Input::Accepted { conn: conns[1], from, to: addr(to).ip(), since: now, key: None, unix: 0 });
    }

    pub(super) fn on_dialed(&mut self, end: EndId, serial: u64, dial: DialId) {
        if let Some((node, conn)) = self.end_of(end, serial) {
            let own = self.own(node);
            self.turn(node, Input::Dialed { dial, conn, own, key: None, unix: 0 });
        }
    }

    /// Counts the bytes of a message.
    pub(super) fn count(&mut self, node: u32, message: &Message) {
        if self.now < self.began {
            return;
        }
        self.frame.clear();
        frame::encode(message, &mut self.frame);
        self.tally.sent(node == super::SUPER, message, self.frame.len() as u64);
    }

    /// Sends an item to the other end. The order of items is kept.
    pub(super) fn transmit(&mut self, from: EndId, item: Item) {
        if !self.end(from.other()).open {
            return;
        }
        let end = self.end(from);
        if end.flow.is_some() {
            return end.waiting.push_back(item);
        }
        match item {
            Item::Message(message) => {
                let at = self.now + self.delay();
                let Link { ends, serial } = &mut self.links[from.link as usize];
                let (to, serial) = (&mut ends[1 - from.side as usize], *serial);
                to.arrival = to.arrival.max(at);
                let at = to.arrival;
                self.schedule(at, Happening::Message { end: from.other(), serial, message });
            }
            Item::Payload(payload) => self.start_flow(from, payload),
        }
    }

    /// The machine orders an end to close.
    pub(super) fn close(&mut self, node: u32, conn: ConnId) {
        let Some(end) = self.nodes[node as usize].find(conn) else { return };
        self.schedule(self.now + CLOSING, Happening::Closed { node, conn, why: CloseReason::Asked });
        self.cut(end, CloseReason::Remote);
    }

    /// The process at an end is gone.
    pub(super) fn reset(&mut self, end: EndId) {
        self.cut(end, CloseReason::Failed);
    }

    /// Shuts this end at once. The other end is shut when everything that was sent to it has
    /// arrived. All flows stop.
    fn cut(&mut self, id: EndId, why: CloseReason) {
        let later = self.now + self.delay();
        self.stop_flow(id);
        self.stop_flow(id.other());
        let serial = self.links[id.link as usize].serial;
        let that = self.end(id.other());
        let (at, is_open) = (that.arrival.max(later), that.open);
        self.shut(id);
        if is_open {
            self.schedule(at, Happening::Gone { end: id.other(), serial, why });
        }
    }

    /// Removes this end. With the second end, removes the connection.
    fn shut(&mut self, id: EndId) {
        let end = self.end(id);
        end.open = false;
        let (node, conn) = (end.node, end.conn);
        self.nodes[node as usize].forget(conn);
        if !self.end(id.other()).open {
            self.links.remove(id.link as usize);
        }
    }

    pub(super) fn on_gone(&mut self, end: EndId, serial: u64, why: CloseReason) {
        let Some((node, conn)) = self.end_of(end, serial) else { return };
        self.stop_flow(end);
        self.shut(end);
        self.turn(node, Input::Closed { conn, why });
        self.nodes[node as usize].release(conn);
    }
}
