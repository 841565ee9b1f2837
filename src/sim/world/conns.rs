//! Virtual connections in the world: dialling, sending, delivering, closing.

use std::time::Duration;

use super::{Happening, World};
use crate::config::{CHUNK_BYTES_MAX, DIAL_TIMEOUT};
use crate::proto::{CloseReason, ConnId, DialId, Input};
use crate::sim::content::Extent;
use crate::sim::tcp::{Arrived, End, Link, Reading, Segment};
use crate::wire::{HostPort, Message, frame};

/// Bytes that a worker hashes a second.
const HASHED_PER_SECOND: u64 = 500 << 20;

impl World {
    /// Resets every connection of a node, without a word to whom it would matter.
    pub fn cut_connections(&mut self, node: usize) {
        let conns: Vec<(usize, usize)> = self.nodes[node].conns.values().copied().collect();
        for (link, end) in conns {
            *self.counts.faults.entry("reset").or_default() += 1;
            self.transmit(link, end, Segment::Reset);
            let (node, conn) = self.end(link, end).map(|end| (end.node, end.conn)).expect("it is open");
            self.shut(link, end);
            self.turn(node, Input::Closed { conn, why: CloseReason::Failed });
        }
    }

    /// Every connection of a node goes half-open: nothing arrives any more, and nobody is told.
    pub fn silence(&mut self, node: usize) {
        let conns: Vec<(usize, usize)> = self.nodes[node].conns.values().copied().collect();
        for (link, _) in conns {
            *self.counts.faults.entry("silence").or_default() += 1;
            if let Some(link) = &mut self.links[link] {
                link.silent = true;
            }
        }
    }

    pub(super) fn on_dial(&mut self, node: usize, life: u64, dial: DialId, to: &HostPort) {
        let target = to.literal().and_then(|addr| {
            let target = *self.by_ip.get(&addr.ip())?;
            (self.nodes[target].addr == addr).then_some(target)
        });
        let back = self.delay();
        let Some(target) = target else {
            let why = "nobody has this address";
            return self.schedule(self.now + DIAL_TIMEOUT, Happening::DialFailed { node, life, dial, why });
        };
        if self.nodes[target].machine.is_none() {
            let why = "connection refused";
            return self.schedule(self.now + back, Happening::DialFailed { node, life, dial, why });
        }
        if self.nodes[node].life != life || self.nodes[node].machine.is_none() {
            return;
        }
        self.counts.connections += 1;
        let mut ends = [node, target].map(|number| End::new(number, self.nodes[number].mint()));
        ends[0].told = false;
        let slot = self.links_free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        for (at, end) in ends.iter().enumerate() {
            self.nodes[end.node].conns.insert(end.conn, (slot, at));
        }
        let accepted = ends[1].conn;
        let serial = self.counts.connections;
        self.links[slot] = Some(Link { ends, silent: false, serial });
        self.schedule(self.now + back, Happening::Accepted { dialer: node, life, dial, link: slot, serial });
        let from = std::net::SocketAddr::new(self.nodes[node].addr.ip(), 40_000);
        self.turn(target, Input::Accepted { conn: accepted, from });
    }

    pub(super) fn on_accepted(&mut self, dialer: usize, life: u64, dial: DialId, link: usize) {
        // The dialler may have crashed, and its end with it.
        if let Some(end) = self.end(link, 0).filter(|end| end.open) {
            end.told = true;
            let conn = end.conn;
            self.turn_of(dialer, life, Input::Dialed { dial, conn });
            self.pump(link, 0);
        }
    }

    fn find(&self, node: usize, conn: ConnId) -> Option<(usize, usize)> {
        self.nodes[node].conns.get(&conn).copied()
    }

    pub(super) fn end(&mut self, link: usize, end: usize) -> Option<&mut End> {
        self.links[link].as_mut().map(|link| &mut link.ends[end])
    }

    /// Sends towards the other end; nothing overtakes what was sent before.
    pub(super) fn transmit(&mut self, link: usize, from: usize, segment: Segment) -> crate::time::Time {
        let mut delay = self.delay();
        if let Segment::Payload(extent) = &segment {
            delay += Duration::from_micros(u64::from(extent.length) * 1_000_000 / self.bandwidth);
        }
        let now = self.now;
        let Some(Link { ends, silent, serial }) = &mut self.links[link] else { return now };
        let to = &mut ends[1 - from];
        let mut start = now;
        if matches!(segment, Segment::Payload(_)) {
            start = start.max(to.arrival);
        }
        to.arrival = to.arrival.max(start + delay);
        let (at, serial) = (to.arrival, *serial);
        if !*silent {
            self.schedule(at, Happening::Segment { link, serial, end: 1 - from, segment });
        }
        at
    }

    pub(super) fn send(&mut self, node: usize, conn: ConnId, message: &Message) {
        let Some((link, end)) = self.find(node, conn) else { return };
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes);
        // Split anywhere, once in a while at every byte of a short message.
        let parts = if self.net.chance(20) { bytes.len().min(64) } else { 1 + self.net.index(3) };
        while !bytes.is_empty() {
            let length = if parts >= 64 { 1 } else { 1 + self.net.index(bytes.len()) };
            let rest = bytes.split_off(length);
            self.transmit(link, end, Segment::Bytes(bytes));
            bytes = rest;
        }
    }

    pub(super) fn send_payload(&mut self, node: usize, conn: ConnId, req: u32, (offset, length): (u64, u32)) {
        let Some((link, end)) = self.find(node, conn) else { return };
        let content = self.nodes[node].disk.prepared(conn, req).expect("only what was prepared is sent");
        assert!(length <= CHUNK_BYTES_MAX, "a chunk is a piece at most");
        let at = self.transmit(link, end, Segment::Payload(Extent { content, offset, length }));
        let life = self.nodes[node].life;
        self.schedule(at, Happening::Sent { node, life, conn, req });
    }

    pub(super) fn receive_payload(&mut self, node: usize, conn: ConnId, reading: Reading) {
        let Some((link, end)) = self.find(node, conn) else { return };
        let this = self.end(link, end).expect("an open end has a link");
        assert_eq!(this.reading, Reading::Chunk, "a payload is received behind its CHUNK");
        this.reading = reading;
        self.schedule_pump(link, end);
    }

    pub(super) fn set_cap(&mut self, node: usize, conn: ConnId, bytes: usize) {
        let Some((link, end)) = self.find(node, conn) else { return };
        if let Some(end) = self.end(link, end) {
            end.cap = bytes;
        }
    }

    pub(super) fn close(&mut self, node: usize, conn: ConnId) {
        let Some((link, end)) = self.find(node, conn) else { return };
        self.transmit(link, end, Segment::End);
        self.shut(link, end);
        let life = self.nodes[node].life;
        self.schedule(self.now + Duration::from_micros(20), Happening::Closed { node, life, conn });
    }

    /// This end is no more; the link goes with its second end.
    pub(super) fn shut(&mut self, link: usize, end: usize) {
        let Some(this) = self.end(link, end) else { return };
        this.open = false;
        let (node, conn) = (this.node, this.conn);
        self.nodes[node].forget(conn);
        if self.links[link].as_ref().is_some_and(|link| link.ends.iter().all(|end| !end.open)) {
            self.links[link] = None;
            self.links_free.push(link);
        }
    }

    fn schedule_pump(&mut self, link: usize, end: usize) {
        let serial = self.links[link].as_ref().map_or(0, |link| link.serial);
        self.schedule(self.now, Happening::Pump { link, serial, end });
    }

    /// Whether the link is still the one that was meant.
    pub(super) fn is_link(&self, link: usize, serial: u64) -> bool {
        self.links[link].as_ref().is_some_and(|link| link.serial == serial)
    }

    pub(super) fn on_segment(&mut self, link: usize, end: usize, segment: Segment) {
        if self.links[link].as_ref().is_none_or(|link| link.silent) {
            return;
        }
        if let Some(end) = self.end(link, end) {
            end.receive(segment);
        }
        self.pump(link, end);
    }

    /// Hands up what has arrived at this end, as far as the machine wants it.
    pub(super) fn pump(&mut self, link: usize, end: usize) {
        let Some(serial) = self.links[link].as_ref().map(|link| link.serial) else { return };
        while self.is_link(link, serial) {
            let Some(this) = self.end(link, end) else { return };
            let (node, conn) = (this.node, this.conn);
            match this.next() {
                None => return,
                Some(Arrived::Message(message)) => {
                    self.counts.messages += 1;
                    self.turn(node, Input::Message { conn, message });
                }
                Some(Arrived::Malformed(error)) => self.turn(node, Input::Malformed { conn, error }),
                Some(Arrived::Payload { req, extent, plan, verify }) => {
                    self.counts.payloads += 1;
                    let digests = self.contents.digests(extent, plan, verify);
                    let took = Duration::from_micros(u64::from(extent.length) * 1_000_000 / HASHED_PER_SECOND + 5);
                    let life = self.nodes[node].life;
                    let received = extent.length / 2;
                    self.schedule(self.now + took, Happening::Hashed { node, life, conn, req, extent, digests });
                    self.turn(node, Input::PayloadProgress { conn, req, received });
                }
                Some(Arrived::End) => {
                    self.shut(link, end);
                    self.turn(node, Input::Closed { conn, why: CloseReason::Remote });
                }
                Some(Arrived::Reset) => {
                    self.shut(link, end);
                    self.turn(node, Input::Closed { conn, why: CloseReason::Failed });
                }
            }
        }
    }
}
