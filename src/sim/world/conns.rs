//! Virtual connections of the world: dial, send, deliver, close.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::World;
use crate::config::{
    BACKLOG_BYTES, CHUNK_BYTES_MAX, DIAL_TIMEOUT, FRAME_PROGRESS_MAX, SEND_QUEUE_BYTES_MAX, WRITE_STALL_MAX,
};
use crate::proto::{CloseReason, ConnId, DialCause, DialId, Input, OwnAddrs};
use crate::sim::content::Extent;
use crate::sim::happening::Happening;
use crate::sim::roads::Way;
use crate::sim::tcp::{ACCEPTOR, Arrived, End, Held, Link, Reading, Segment};
use crate::time::Time;
use crate::wire::{HostPort, Message, frame};

/// Bytes that a worker hashes per second.
const HASHED_PER_SECOND: u64 = 500 << 20;
/// Longest wait before a connection sends again what has not arrived.
const RETRANSMISSION_MAX: Duration = Duration::from_secs(20);
/// How many bytes the sockets hold that the other end has not read. Further bytes stay in the send
/// queue.
const SOCKET_BYTES: usize = 64 << 10;
/// The most bytes that may arrive one by one.
const TRICKLE_BYTES_MAX: usize = 300;

impl World {
    /// Resets every connection of a node.
    pub fn cut_connections(&mut self, node: usize) {
        let conns: Vec<(usize, usize)> = self.nodes[node].conns.values().copied().collect();
        for (link, end) in conns {
            *self.counts.faults.entry("reset").or_default() += 1;
            self.reset(link, end);
        }
    }

    /// This end fails, and the other end gets a reset.
    fn reset(&mut self, link: usize, end: usize) {
        self.transmit(link, end, Segment::Reset, None);
        self.fail(link, end, CloseReason::Failed);
    }

    /// Removes this end and informs its machine.
    fn fail(&mut self, link: usize, end: usize, why: CloseReason) {
        let Some(this) = self.end(link, end).filter(|end| end.open) else { return };
        let (node, conn, known) = (this.node, this.conn, this.known);
        self.shut(link, end);
        // A dialer that is not connected yet gets DialFailed.
        if known {
            let life = self.nodes[node].life;
            self.schedule(self.now, Happening::Closed { node, life, conn, why });
        } else {
            self.nodes[node].release(conn);
        }
    }

    /// Cuts these paths for datagrams and connections, and opens all others. What has waited on an
    /// opened path is delivered, or its connection is reset or becomes silent.
    pub fn set_cut(&mut self, cut: BTreeSet<(usize, usize)>) {
        self.roads.set_cut(cut);
        for link in 0..self.links.len() {
            for to in 0..2 {
                self.release(link, to);
            }
        }
    }

    /// From now on these paths need this time for each datagram or segment, and all others need
    /// none.
    pub fn set_clogged(&mut self, ways: &[(usize, usize)], each: Duration) {
        self.roads.set_clogged(ways, each);
    }

    fn release(&mut self, link: usize, to: usize) {
        let Some(Link { ends, held, held_since, .. }) = &self.links[link] else { return };
        if held[to].is_empty() || self.roads.is_cut(ends[1 - to].node, ends[to].node) {
            return;
        }
        let waited = self.now.since(*held_since).min(RETRANSMISSION_MAX);
        let after = self.weather.time(Duration::ZERO, waited);
        let fate = self.weather.below(100);
        let Some(Link { ends, held, silent, .. }) = &mut self.links[link] else { return };
        let held = std::mem::take(&mut held[to]);
        // A middlebox on the path may have lost the state of the connection.
        if fate < 20 {
            *self.counts.faults.entry("partition_reset").or_default() += 1;
            self.reset(link, to);
            return self.fail(link, 1 - to, CloseReason::Failed);
        }
        if fate < 35 {
            *self.counts.faults.entry("partition_silence").or_default() += 1;
            *silent = true;
            return;
        }
        ends[to].arrival = ends[to].arrival.max(self.now + after);
        for Held { segment, req } in held {
            let at = self.transmit(link, 1 - to, segment, req);
            self.sent(link, 1 - to, req, at);
        }
    }

    /// The time for sending a payload is over.
    pub(super) fn on_stuck(&mut self, link: usize, end: usize) {
        let Some(Link { held, silent, .. }) = &self.links[link] else { return };
        if *silent || held[1 - end].iter().any(|held| held.req.is_some()) {
            self.fail(link, end, CloseReason::SlowConsumer);
        }
    }

    /// Makes every connection of a node half-open: nothing arrives, and neither end gets an error.
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
        if self.weak_peer(node).is_some() {
            self.dials.on_dial(self.now, (node, life), to);
        }
        let back = self.delay();
        let Some(target) = target else {
            self.count_fault("dial_nobody");
            let why = "nobody has this address";
            return self.schedule(
                self.now + DIAL_TIMEOUT,
                Happening::DialFailed { node, life, dial, why, cause: DialCause::Unreachable },
            );
        };
        if self.roads.is_cut(node, target) || self.roads.is_cut(target, node) {
            *self.counts.faults.entry("partition_dial").or_default() += 1;
            let why = "nobody answers";
            return self.schedule(
                self.now + DIAL_TIMEOUT,
                Happening::DialFailed { node, life, dial, why, cause: DialCause::Unreachable },
            );
        }
        if self.nodes[target].machine.is_none() {
            let why = "connection refused";
            return self.schedule(
                self.now + back,
                Happening::DialFailed { node, life, dial, why, cause: DialCause::Unreachable },
            );
        }
        if self.nodes[node].life != life || self.nodes[node].machine.is_none() {
            return;
        }
        if self.nodes[node].key.is_some() != self.nodes[target].key.is_some() {
            self.count_fault("dial_other_mode");
            let (why, cause) = ("the other side is in the other mode", DialCause::OtherMode);
            return self.schedule(self.now + back, Happening::DialFailed { node, life, dial, why, cause });
        }
        self.counts.connections += 1;
        let mut ends = [node, target].map(|number| End::new(number, self.nodes[number].mint()));
        ends[0].known = false;
        let slot = self.links_free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        for (at, end) in ends.iter().enumerate() {
            self.nodes[end.node].conns.insert(end.conn, (slot, at));
        }
        let accepted = ends[1].conn;
        let serial = self.counts.connections;
        let held = [VecDeque::new(), VecDeque::new()];
        self.links[slot] = Some(Link { ends, held, held_since: self.now, silent: false, serial });
        self.schedule(self.now + back, Happening::Accepted { dialer: node, life, dial, link: slot, serial });
        let from = std::net::SocketAddr::new(self.nodes[node].addr.ip(), 40_000);
        if self.is_stalled(target) {
            let (life, key) = (self.nodes[target].life, self.nodes[node].key);
            self.nodes[target].waiting.push_back(Happening::Came { node: target, life, conn: accepted, from, key });
        } else {
            let (to, key, unix) = (self.nodes[target].addr.ip(), self.nodes[node].key, self.unix());
            let since = self.clock(target);
            self.turn(target, Input::Accepted { conn: accepted, from, to, since, key, unix });
        }
    }

    pub(super) fn on_accepted(&mut self, dialer: usize, life: u64, dial: DialId, link: usize) {
        // The dialer may have crashed. Then its end is gone.
        if let Some(end) = self.end(link, 0).filter(|end| end.open) {
            end.known = true;
            let conn = end.conn;
            let listener = self.end(link, 1).map(|end| end.node);
            let key = listener.and_then(|listener| self.nodes[listener].key);
            let own = OwnAddrs { here: Some(self.nodes[dialer].addr.ip()), other: None };
            let unix = self.unix();
            self.turn_of(dialer, life, Input::Dialed { dial, conn, own, key, unix });
            self.pump(link, 0);
        }
    }

    pub(super) fn find(&self, node: usize, conn: ConnId) -> Option<(usize, usize)> {
        self.nodes[node].conns.get(&conn).copied()
    }

    pub(super) fn end(&mut self, link: usize, end: usize) -> Option<&mut End> {
        self.links[link].as_mut().map(|link| &mut link.ends[end])
    }

    /// Sends a segment to the other end. The order of segments is kept. Returns when it arrives, if
    /// it will.
    pub(super) fn transmit(&mut self, link: usize, from: usize, segment: Segment, req: Option<u32>) -> Option<Time> {
        let mut delay = self.delay();
        if let Segment::Payload(extent) = &segment {
            delay += Duration::from_micros(u64::from(extent.length) * 1_000_000 / self.bandwidth);
        }
        let now = self.now;
        let Link { ends, held, held_since, silent, serial } = self.links[link].as_mut()?;
        if *silent {
            return None;
        }
        match self.roads.enter(ends[from].node, ends[1 - from].node, now) {
            // The connection sends dropped bytes again.
            Way::Free | Way::Full => {}
            Way::Clogged(wait) => delay += wait,
            Way::Cut => {
                *self.counts.faults.entry("partition_tcp").or_default() += 1;
                if held[1 - from].is_empty() {
                    *held_since = now;
                }
                held[1 - from].push_back(Held { segment, req });
                return None;
            }
        }
        let to = &mut ends[1 - from];
        let mut start = now;
        if matches!(segment, Segment::Payload(_)) {
            // The payloads of one connection follow each other.
            start = start.max(to.arrival);
        }
        to.arrival = to.arrival.max(start + delay);
        let (at, serial) = (to.arrival, *serial);
        let unread = if let (true, Segment::Bytes(bytes)) = (to.deaf, &segment) { bytes.len() } else { 0 };
        let before = to.unread;
        to.unread += unread;
        let queued = [before, to.unread].map(|unread| unread.saturating_sub(SOCKET_BYTES));
        self.schedule(at, Happening::Segment { link, serial, end: 1 - from, segment });
        let mut passes = |limit: usize, after: Duration, full: bool| {
            if queued[0] <= limit && limit < queued[1] {
                self.schedule(now + after, Happening::Unread { link, serial, end: from, full });
            }
        };
        passes(0, WRITE_STALL_MAX, true);
        passes(BACKLOG_BYTES, Duration::ZERO, false);
        passes(SEND_QUEUE_BYTES_MAX, Duration::ZERO, true);
        Some(at)
    }

    pub(super) fn send(&mut self, node: usize, conn: ConnId, message: &Message) {
        // When a session closes, a super peer ends its queries in slices. Until then it may send
        // answers on the closed connection. Nobody receives them, so the shadow does not count
        // them.
        let Some((link, end)) = self.find(node, conn) else { return };
        self.watch_login(link, end, Some(message));
        self.watch_has(node, conn, message);
        if let Some(shadow) = &mut self.shadow {
            shadow.on_message_out(node, conn, message);
        }
        if let (Message::Ack(_), Some(_), Some(link)) = (message, &self.shadow, &self.links[link]) {
            self.acknowledged.push((node, link.ends[1 - end].node));
        }
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes);
        // The bytes may be split at any place.
        while bytes.len() > 1 && self.net.chance(self.split.0) {
            let length = 1 + self.net.index(bytes.len() - 1);
            let rest = bytes.split_off(length);
            self.transmit(link, end, Segment::Bytes(bytes), None);
            bytes = rest;
        }
        self.transmit(link, end, Segment::Bytes(bytes), None);
    }

    pub(super) fn send_payload(&mut self, node: usize, conn: ConnId, req: u32, (offset, length): (u64, u32)) {
        let Some((link, end)) = self.find(node, conn) else { return };
        self.watch_login(link, end, None);
        let content = self.nodes[node].disk.prepared(conn, req).expect("only what was prepared is sent");
        assert!(length <= CHUNK_BYTES_MAX, "a chunk is a piece at most");
        if offset + u64::from(length) > self.contents.size(content) {
            // The file became shorter after it was opened, so the announced bytes cannot be sent.
            *self.counts.faults.entry("short_file").or_default() += 1;
            return self.reset(link, end);
        }
        let at = self.transmit(link, end, Segment::Payload(Extent { content, offset, length }), Some(req));
        self.sent(link, end, Some(req), at);
        if at.is_none() {
            let serial = self.links[link].as_ref().map_or(0, |link| link.serial);
            self.schedule(self.now + WRITE_STALL_MAX, Happening::Stuck { link, serial, end });
        }
    }

    /// Reports to the sender of a payload, at this time, that it is sent.
    fn sent(&mut self, link: usize, end: usize, req: Option<u32>, at: Option<Time>) {
        let open = self.end(link, end).filter(|end| end.open).map(|end| (end.node, end.conn));
        if let (Some(req), Some(at), Some((node, conn))) = (req, at, open) {
            let life = self.nodes[node].life;
            self.schedule(at, Happening::Sent { node, life, conn, req });
        }
    }

    pub(super) fn receive_payload(&mut self, node: usize, conn: ConnId, reading: Reading) {
        let Some((link, end)) = self.find(node, conn) else { return };
        let this = self.end(link, end).expect("an open end has a link");
        assert_eq!(this.reading, Reading::Chunk, "a payload is received after its CHUNK");
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
        if let Some(shadow) = &mut self.shadow {
            shadow.on_closed(node, conn);
        }
        let Some((link, end)) = self.find(node, conn) else { return };
        self.transmit(link, end, Segment::End, None);
        self.shut(link, end);
        let (life, why) = (self.nodes[node].life, CloseReason::Asked);
        self.schedule(self.now + Duration::from_micros(20), Happening::Closed { node, life, conn, why });
    }

    /// Removes this end. With the second end, removes the connection.
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

    /// Whether the slot still holds the same connection.
    pub(super) fn is_link(&self, link: usize, serial: u64) -> bool {
        self.links[link].as_ref().is_some_and(|link| link.serial == serial)
    }

    pub(super) fn on_segment(&mut self, link: usize, end: usize, segment: Segment) {
        if self.links[link].as_ref().is_none_or(|link| link.silent) {
            return;
        }
        let short = matches!(&segment, Segment::Bytes(bytes) if (2..=TRICKLE_BYTES_MAX).contains(&bytes.len()));
        let trickles = short && self.net.chance(self.split.1);
        if trickles {
            *self.counts.faults.entry("trickle").or_default() += 1;
        }
        if let Some(end) = self.end(link, end) {
            end.receive(segment);
            if trickles {
                end.trickle();
            }
        }
        self.pump(link, end);
    }

    /// The other end does not read.
    pub(super) fn on_unread(&mut self, link: usize, end: usize, full: bool) {
        let Some((node, conn)) = self.end(link, end).filter(|this| this.open).map(|this| (this.node, this.conn)) else {
            return;
        };
        if full {
            self.count_fault("slow_consumer");
            self.transmit(link, end, Segment::Reset, None);
            self.fail(link, end, CloseReason::SlowConsumer);
        } else {
            self.turn(node, Input::Backlogged { conn });
        }
    }

    /// A frame that has begun must be complete in time (PROTOCOL.md 3.2).
    fn watch_frame(&mut self, link: usize, end: usize) {
        let now = self.now;
        let Some(this) = self.end(link, end) else { return };
        let Some(length) = this.half_frame().filter(|_| this.frame_since.is_none()) else { return };
        this.frame_since = Some(now);
        let serial = self.links[link].as_ref().map_or(0, |link| link.serial);
        let patience = FRAME_PROGRESS_MAX + Duration::from_secs(length as u64 / (16 << 10));
        self.schedule(now + patience, Happening::SlowFrame { link, serial, end, since: now });
    }

    pub(super) fn on_slow_frame(&mut self, link: usize, end: usize, since: Time) {
        let slow =
            self.end(link, end).is_some_and(|this| this.frame_since == Some(since) && this.half_frame().is_some());
        if slow {
            self.count_fault("slow_frame");
            self.transmit(link, end, Segment::End, None);
            self.fail(link, end, CloseReason::SlowFrame);
        }
    }

    /// Gives the machine what has arrived at this end, as far as the machine reads.
    pub(super) fn pump(&mut self, link: usize, end: usize) {
        let Some(serial) = self.links[link].as_ref().map(|link| link.serial) else { return };
        while self.is_link(link, serial) {
            let asks_for_login = self.login && end == ACCEPTOR;
            let Some(this) = self.end(link, end) else { return };
            let (node, conn) = (this.node, this.conn);
            let (arrived, is_stranger) = (this.next(), asks_for_login && !this.let_in);
            // The shadow ignores what a node registers or requests without a login.
            if let (Some(Arrived::Message(message)), Some(shadow), Some(link), false) =
                (&arrived, &mut self.shadow, &self.links[link], is_stranger)
            {
                shadow.on_message_in((node, conn), link.ends[1 - end].node, message);
            }
            match arrived {
                None => return self.watch_frame(link, end),
                Some(Arrived::Message(message)) => {
                    self.counts.messages += 1;
                    self.watch_follow(node, conn, &message);
                    if let (Message::Welcome(_), Some(link)) = (&message, &self.links[link]) {
                        self.dials.on_welcome(node, self.nodes[link.ends[1 - end].node].addr.into());
                    }
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
                Some(Arrived::Progress { req, received }) => {
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
