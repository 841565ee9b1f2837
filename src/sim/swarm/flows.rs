//! Payloads on the lines: when they start, the marks that they reach, and their end.

use std::time::Duration;

use super::conn::{Payload, Transfer};
use super::happening::Happening;
use super::node::EndId;
use super::{SEED, Swarm, UNSENT};
use crate::config::FETCH_LEAD_BYTES_MIN;
use crate::proto::{ConnId, Input, PayloadId};
use crate::time::Time;

/// A receiver hears of the bytes of a payload this often.
const PROGRESS: Duration = Duration::from_millis(100);
/// It also hears of them at marks: when no more than [`UNSENT`] is to come, then half of that, and
/// so on, down to this.
const LAST_MARK: f64 = FETCH_LEAD_BYTES_MIN as f64;
/// A worker hashes a piece in this time.
const HASHING: Duration = Duration::from_micros(600);
/// Less than this is nothing: rates are not integers.
const NOTHING: f64 = 0.5;

impl Swarm {
    pub(super) fn start_flow(&mut self, from: EndId, payload: Payload) {
        let [sender, receiver] = [from, from.other()].map(|end| self.end(end).node as usize);
        let (sender, receiver) = (&self.nodes[sender], &self.nodes[receiver]);
        let crosses = sender.zone != receiver.zone;
        let over = match self.zones.as_slice() {
            zones if crosses && !zones.is_empty() => {
                vec![sender.up, zones[sender.zone].0, zones[receiver.zone].1, receiver.down]
            }
            _ => vec![sender.up, receiver.down],
        };
        self.serial += 1;
        let serial = self.serial;
        let transfer =
            Transfer { from, payload, serial, is_sent: false, mark: UNSENT, heard: self.now, watched: Time::MAX };
        let flow = self.lines.start(self.now, &over, payload.length, transfer);
        self.end(from).flow = Some(flow);
    }

    /// The payload that an end sends is not sent any more.
    pub(super) fn stop_flow(&mut self, from: EndId) {
        let end = self.end(from);
        end.waiting.clear();
        if let Some(flow) = end.flow.take() {
            let (_, moved) = self.lines.end(self.now, flow);
            self.moved(from, moved);
        }
    }

    /// No payload flows any more.
    pub(super) fn stop_flows(&mut self) {
        let links: Vec<u32> = self.links.iter().map(|(link, _)| link as u32).collect();
        for link in links {
            [0, 1].into_iter().for_each(|side| self.stop_flow(EndId { link, side }));
        }
    }

    fn moved(&mut self, from: EndId, bytes: f64) {
        let [sender, receiver] = [from, from.other()].map(|end| self.end(end).node as usize);
        self.nodes[sender].sent += bytes;
        self.nodes[receiver].received += bytes;
        if self.nodes[sender].zone != self.nodes[receiver].zone {
            self.tally.crossed += bytes;
        }
    }

    /// Puts the next mark of each flow that has become faster into the queue.
    pub(super) fn watch_faster(&mut self) {
        while let Some(flow) = self.lines.next_faster() {
            self.watch(flow);
        }
    }

    fn watch(&mut self, flow: u32) {
        let now = self.now;
        let (_, left) = self.lines.progress(now, flow);
        let Some(&mut Transfer { mark, heard, watched, serial, .. }) = self.lines.payload(flow) else { return };
        let left = (left - mark).max(0.0);
        let at = self.lines.after(now, flow, left).min(heard + PROGRESS).max(now);
        if at < watched {
            if let Some(transfer) = self.lines.payload(flow) {
                transfer.watched = at;
            }
            self.schedule(at, Happening::Flow { flow, serial });
        }
    }

    pub(super) fn on_flow(&mut self, flow: u32, serial: u64) {
        let now = self.now;
        let Some(transfer) = self.lines.payload(flow) else { return };
        // The mark of a flow that is over, or one that a nearer mark has replaced.
        if transfer.serial != serial || transfer.watched > now {
            return;
        }
        transfer.watched = Time::MAX;
        let (moved, left) = self.lines.progress(now, flow);
        let Some(transfer) = self.lines.payload(flow) else { return };
        let (from, payload) = (transfer.from, transfer.payload);
        let (tells_sender, tells_receiver) =
            (!transfer.is_sent && left <= UNSENT + NOTHING, transfer.heard + PROGRESS <= now && left > NOTHING);
        let is_at_mark = left <= transfer.mark + NOTHING;
        while transfer.mark > 0.0 && left <= transfer.mark + NOTHING {
            transfer.mark = if transfer.mark > LAST_MARK { transfer.mark / 2.0 } else { 0.0 };
        }
        let tells_receiver = tells_receiver || (is_at_mark && left > NOTHING);
        transfer.is_sent |= tells_sender;
        if tells_receiver {
            transfer.heard = now;
        }
        if left <= NOTHING {
            self.finish(flow, from, payload);
        } else {
            self.watch(flow);
        }
        if tells_receiver {
            let link = &self.links[from.link as usize];
            let (to, req) = (&link.ends[1 - from.side as usize], payload.req);
            let (node, conn, received) = (to.node, to.conn, moved as u32);
            if to.expected.is_some() {
                self.turn(node, Input::PayloadProgress { conn, req, received });
            }
        }
        if tells_sender && let Some(link) = self.links.get(from.link as usize) {
            let end = &link.ends[from.side as usize];
            let (node, conn, is_open) = (end.node, end.conn, end.open);
            if is_open {
                self.turn(node, Input::PayloadSent { conn, req: payload.req });
            }
        }
    }

    fn finish(&mut self, flow: u32, from: EndId, payload: Payload) {
        self.lines.end(self.now, flow);
        self.end(from).flow = None;
        self.moved(from, f64::from(payload.length));
        let at = self.now + self.delay();
        let link = &mut self.links[from.link as usize];
        let (serial, sender) = (link.serial, link.ends[from.side as usize].node);
        let to = &mut link.ends[1 - from.side as usize];
        to.arrival = to.arrival.max(at);
        let at = to.arrival;
        self.schedule(at, Happening::Payload { end: from.other(), serial, payload });
        if sender == SEED && self.seed_sent.write(payload.piece) && self.seed_sent.pieces == self.plan.pieces {
            self.copy_out_at = Some(self.now);
        }
        // What waited for it follows, up to the next payload.
        let mut waiting = std::mem::take(&mut self.end(from).waiting);
        while self.end(from).flow.is_none()
            && let Some(item) = waiting.pop_front()
        {
            self.transmit(from, item);
        }
        self.end(from).waiting = waiting;
    }

    /// All bytes of a payload are there.
    pub(super) fn on_payload(&mut self, id: EndId, serial: u64, payload: Payload) {
        let Some((node, conn)) = self.end_of(id, serial) else { return };
        let expected = self.end(id).expected.take().expect("a payload is received after its CHUNK");
        assert_eq!(expected.req, payload.req, "payloads come in the order of their CHUNKs");
        let digests = self.content.digests(expected.plan, expected.verify);
        self.schedule(self.now + HASHING, Happening::Hashed { node, conn, payload, digests });
        let (req, received) = (payload.req, payload.length);
        self.turn(node, Input::PayloadProgress { conn, req, received });
    }

    pub(super) fn on_hashed(
        &mut self,
        node: u32,
        conn: ConnId,
        Payload { req, piece, length: _ }: Payload,
        digests: crate::proto::input::Digests,
    ) {
        let one = &mut self.nodes[node as usize];
        if one.machine.is_some() {
            let payload = PayloadId(one.payloads.insert(piece) as u64);
            self.turn(node, Input::PayloadReceived { conn, req, payload, digests });
        }
    }
}
