//! The holders of a set: which of them are dialed, what is requested from each, what each answers,
//! and when one is no longer used. `set` decides what happens to the files.

use std::time::Duration;

use super::holder::{Asked, Holder};
use super::set::{Set, report, report_of};
use crate::config::{
    COLLECTION_HOLDERS_MAX, COLLECTION_PIPELINE_BYTES, COLLECTION_PIPELINE_MAX, FRAME_BYTES_OPEN, PROTOCOL_VERSION,
};
use crate::proto::disk::CollectionStep;
use crate::proto::weak_peer::context::{Context, Owner, quoted};
use crate::proto::{ClientEvent, ConnId, Digests, HashPlan, Output, PayloadId, Verify};
use crate::wire::message::{Chunk, ErrorCode, Get, sent_by_super_peers, sent_to_sources, sent_to_super_peers};
use crate::wire::{Message, NodeId};

/// A holder that was lost this many times is not dialed again.
const LOSSES_MAX: u32 = 3;

impl Set {
    pub(super) fn dial_more(&mut self, cx: &mut Context) {
        if self.small.is_empty() {
            return;
        }
        let wanted: Vec<usize> = match &mut self.command {
            None => (0..self.holders.len()).collect(),
            Some(command) => {
                if !std::mem::take(&mut command.turns) {
                    return;
                }
                command.wanted(&self.small, |index| !self.holders[index].over)
            }
        };
        let mut used = self.holders.iter().filter(|holder| holder.is_used()).count();
        for index in &wanted {
            if used >= COLLECTION_HOLDERS_MAX && !self.holders[*index].is_used() {
                used -= usize::from(self.release_one(cx, &wanted));
            }
            let index = *index;
            let holder = &mut self.holders[index];
            let due = !holder.over && !holder.is_used() && holder.retry_at <= cx.now;
            if !due || used >= COLLECTION_HOLDERS_MAX || (!holder.is_peer && !cx.hosts.may_dial(cx.now, &holder.addr)) {
                continue;
            }
            if !holder.is_peer {
                cx.hosts.begin(cx.now, &holder.addr);
                holder.counted = true;
            }
            holder.heard_at = cx.now;
            holder.dial = Some(cx.dial(Owner::Holder(self.order.id, index), &holder.addr));
            used += 1;
        }
    }

    /// Ends the connection to a holder from which no file is wanted. Returns false if there is no
    /// such holder.
    fn release_one(&mut self, cx: &mut Context, wanted: &[usize]) -> bool {
        let is_free = |(index, holder): &(usize, &mut Holder)| {
            holder.conn.is_some() && holder.asked.is_empty() && !wanted.contains(index)
        };
        let Some((_, holder)) = self.holders.iter_mut().enumerate().find(is_free) else { return false };
        if let Some(conn) = holder.conn.take() {
            cx.bye(conn, "done");
        }
        holder.welcomed = false;
        if std::mem::take(&mut holder.counted) {
            cx.hosts.end(&holder.addr, false);
        }
        true
    }

    /// Keeps several requests open, so that the next files are on their way while one file arrives.
    pub(super) fn ask_more(&mut self, cx: &mut Context, index: usize) {
        let Set { order, holders, next_req, small, command, .. } = self;
        let holder = &mut holders[index];
        let (Some(conn), true) = (holder.conn, holder.welcomed) else { return };
        if holder.asked.len() >= COLLECTION_PIPELINE_MAX {
            return;
        }
        let mut next = || match command {
            Some(command) => {
                let place = small.iter().position(|file| command.holders_of(file).contains(&index))?;
                small.remove(place)
            }
            None => small.pop_front(),
        };
        let mut asked_bytes: u64 = holder.asked.values().map(|asked| asked.file.size).sum();
        while holder.asked.len() < COLLECTION_PIPELINE_MAX
            && asked_bytes < COLLECTION_PIPELINE_BYTES
            && let Some(file) = next()
        {
            asked_bytes += file.size;
            let req = *next_req;
            *next_req = next_req.wrapping_add(1);
            if holder.asked.is_empty() {
                (holder.heard_at, holder.served_at) = (cx.now, cx.now);
            }
            let length = u32::try_from(file.size).unwrap_or(u32::MAX);
            let bare = order.verify == Verify::Blake3;
            cx.send(conn, Message::Get(Get { req, root: file.root, offset: 0, length, bare }));
            holder.asked.insert(req, Asked { file, begun: None });
        }
    }

    /// The node of a holder, as hits say.
    pub(super) fn node_of(&self, index: usize) -> Option<NodeId> {
        self.holders.get(index)?.node
    }

    /// Whether a holder has sent WELCOME on its present connection.
    pub(super) fn is_welcomed(&self, index: usize) -> bool {
        self.holders.get(index).is_some_and(|holder| holder.welcomed)
    }

    // ---- holders --------------------------------------------------------------------------------

    pub(super) fn on_dialed(&mut self, cx: &mut Context, index: usize, conn: ConnId) {
        let holder = &mut self.holders[index];
        holder.dial = None;
        holder.conn = Some(conn);
        (holder.heard_at, holder.served_at) = (cx.now, cx.now);
        cx.hello(conn);
    }

    /// The holder could not be dialed, or its connection is closed.
    pub(super) fn on_lost(&mut self, cx: &mut Context, index: usize, why: &str) {
        let holder = &mut self.holders[index];
        (holder.dial, holder.conn) = (None, None);
        self.put_away(cx, index, false, why);
    }

    /// The connection is closed, because of who the holder is.
    pub(super) fn on_unwanted(&mut self, cx: &mut Context, index: usize, why: &str) {
        self.holders[index].conn = None;
        self.put_away(cx, index, true, why);
    }

    /// Ends the connection. The files that were requested from the holder are requested again.
    pub(super) fn put_away(&mut self, cx: &mut Context, index: usize, for_good: bool, why: &str) {
        let holder = &mut self.holders[index];
        cx.give_up(holder.dial.take(), holder.conn.take());
        let greeted = std::mem::take(&mut holder.welcomed);
        if std::mem::take(&mut holder.counted) {
            cx.hosts.end(&holder.addr, false);
        }
        holder.losses += 1;
        // If the holder has another address, this address is dialed at once.
        let turned = !greeted && !for_good && holder.turn();
        let most = if holder.other.is_some() { 2 * LOSSES_MAX } else { LOSSES_MAX };
        holder.over |= for_good || holder.losses >= most;
        self.stranded |= holder.over;
        if let Some(command) = &mut self.command {
            command.turns = true;
        }
        holder.retry_at = cx.now + if turned { Duration::ZERO } else { Duration::from_secs(1) * holder.losses };
        for asked in std::mem::take(&mut holder.asked).into_values().rev() {
            self.small.push_front(asked.file);
        }
        let report = report(&self.holders[index], Some(why.to_owned()));
        report_of(&self.order, cx, ClientEvent::Source(report));
    }

    pub(super) fn on_progress(&mut self, cx: &Context, index: usize) {
        self.holders[index].heard_at = cx.now;
    }

    pub(super) fn on_message(&mut self, cx: &mut Context, index: usize, message: Message) {
        match message {
            Message::Welcome(welcome) if !self.holders[index].welcomed => {
                if welcome.version[0] != PROTOCOL_VERSION[0] {
                    return self.put_away(cx, index, true, "speaks another version of the protocol");
                }
                if welcome.node == cx.node {
                    return self.put_away(cx, index, true, "is this peer itself");
                }
                let holder = &mut self.holders[index];
                (holder.welcomed, holder.is_peer) = (true, true);
                if std::mem::take(&mut holder.counted) {
                    cx.hosts.end(&holder.addr, true);
                }
                if let Some(conn) = holder.conn {
                    cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
                }
                let report = report(&self.holders[index], None);
                report_of(&self.order, cx, ClientEvent::Source(report));
            }
            Message::Chunk(chunk) => self.on_chunk(cx, index, chunk),
            Message::Error(error) => match error.req.and_then(|req| self.holders[index].asked.remove(&req)) {
                // Another peer may have the file.
                Some(asked)
                    if matches!(error.code, ErrorCode::NOT_FOUND | ErrorCode::CHANGED)
                        // The size that was requested may be a false claim of a hit.
                        || self.command.is_some() && error.code == ErrorCode::BAD_REQUEST =>
                {
                    self.part_with(asked.file, false);
                }
                Some(asked) => {
                    self.small.push_front(asked.file);
                    self.put_away(cx, index, false, &quoted(&error.message));
                }
                None => self.put_away(cx, index, false, &quoted(&error.message)),
            },
            Message::Bye(bye) => self.put_away(cx, index, false, &format!("said goodbye: {}", quoted(&bye.why))),
            Message::Unknown(kind) => {
                if let Some(conn) = self.holders[index].conn {
                    cx.unknown_kind(conn, &kind);
                }
            }
            Message::Welcome(_)
            | Message::Hello(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | Message::Cvs(_)
            | Message::Has(_)
            | Message::Turn(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_to_sources!() => {
                self.put_away(cx, index, true, &format!("sent {} unasked", message.kind()));
            }
        }
    }

    fn on_chunk(&mut self, cx: &mut Context, index: usize, chunk: Chunk) {
        let holder = &mut self.holders[index];
        holder.heard_at = cx.now;
        let asked = holder.asked.get_mut(&chunk.req).filter(|asked| asked.begun.is_none());
        let (Some(asked), Some(conn)) = (asked, holder.conn) else {
            return self.put_away(cx, index, true, "answered a request that was not made");
        };
        if chunk.offset != 0 || u64::from(chunk.length) != asked.file.size {
            return self.put_away(cx, index, true, "answered with another range than was asked for");
        }
        asked.begun = Some(chunk.md5);
        // Without BLAKE3 nobody would know whether this is the file of the collection.
        let verify = if chunk.md5.is_none() { Verify::Blake3 } else { Verify::Both };
        let verify = if self.order.verify == Verify::Blake3 { Verify::Blake3 } else { verify };
        let plan = HashPlan::Content;
        cx.push(Output::ReceivePayload { conn, req: chunk.req, length: chunk.length, plan, verify });
    }

    pub(super) fn on_payload(
        &mut self,
        cx: &mut Context,
        index: usize,
        req: u32,
        payload: PayloadId,
        digests: Digests,
    ) {
        let holder = &mut self.holders[index];
        holder.heard_at = cx.now;
        let Some(Asked { file, .. }) = holder.asked.remove(&req) else { return cx.drop_payload(payload) };
        if digests.blake3 != Some(file.root.0) {
            cx.drop_payload(payload);
            let why = "sent wrong bytes";
            let of = if self.command.is_some() { file.path.as_str() } else { &self.order.name };
            cx.warn(format!("{} is dropped as a source of {of:?}: it {why}", self.holders[index].addr));
            self.small.push_front(file);
            return self.put_away(cx, index, true, why);
        }
        holder.served_at = cx.now;
        holder.files += 1;
        holder.bytes += file.size;
        holder.losses = 0;
        if let Some(command) = self.command.as_mut().filter(|_| holder.asked.is_empty()) {
            command.turns = true;
        }
        self.placing += 1;
        self.step(cx, CollectionStep::Place { file, payload });
    }
}
