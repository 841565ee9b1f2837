//! The pieces of a download from the header CHUNK to the disk: they are received, judged by their
//! digests, and accepted or rejected. The bytes stay with the driver; only their digests come here.

use super::proof::Received;
use super::proving::proof_verify;
use super::source::{Request, Wanted};
use super::transfer::{Phase, Transfer};
use super::verdict::{Verdict, judge};
use crate::config::PIECE_BYTES;
use crate::proto::disk::DiskWork;
use crate::proto::event::{ClientEvent, SourceState};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, SourceIndex, millis};
use crate::proto::{Digests, HashPlan, Output, PayloadId, Verify};
use crate::wire::ids::Md5;
use crate::wire::message::Chunk;

impl Transfer {
    /// The header of a chunk: checks it against the request.
    pub(super) fn on_chunk(&mut self, cx: &mut Context, index: SourceIndex, chunk: Chunk) {
        let source = &mut self.sources[index];
        let request = source.requests.get_mut(&chunk.req).filter(|request| request.md5.is_none());
        let (Some(request), Some(conn)) = (request, source.conn) else {
            return self.drop_source(cx, index, "answered a request that was not made");
        };
        if matches!(request.wanted, Wanted::Page(_)) {
            return self.drop_source(cx, index, "answered a manifest request with a chunk");
        }
        if (chunk.offset, chunk.length) != (request.offset, request.length) {
            return self.drop_liar(cx, index, "answered with another range than was asked for");
        }
        // A chunk has no MD5 if the request was `bare`; the MD5 is not compared then.
        let md5 = chunk.md5.or((self.order.verify == Verify::Blake3).then_some(Md5([0; 16])));
        if md5.is_none() {
            return self.drop_liar(cx, index, "sent a chunk without its MD5");
        }
        request.md5 = md5;
        // Without turns, the chunk may have waited for others.
        if self.swarm.on && source.followed.is_some() {
            self.swarm.round_trip.note(cx.now.since(request.asked_at));
        }
        source.progress_at = cx.now;
        let (size, verify) = match request.wanted {
            Wanted::Last(size) => (size, proof_verify(self.order.verify)),
            // A piece that is here already is only read to skip it; the cheaper digest is enough.
            Wanted::Piece(piece) if self.picker.has(piece) => (self.size, Verify::Blake3),
            Wanted::Piece(_) | Wanted::Page(_) => (self.size, self.order.verify),
        };
        let plan = if size <= PIECE_BYTES { HashPlan::Content } else { HashPlan::Piece { offset: chunk.offset } };
        cx.push(Output::ReceivePayload { conn, req: chunk.req, length: chunk.length, plan, verify });
    }

    pub(super) fn on_progress(&mut self, cx: &mut Context, index: SourceIndex, req: u32, received: u32) {
        let was_near = self.sources[index].is_nearly_here(req);
        self.received += self.sources[index].on_bytes(cx.now, req, received);
        if !was_near && self.sources[index].is_nearly_here(req) {
            self.on_nearly_here(cx);
        }
    }

    pub(super) fn revive(&mut self, cx: &mut Context, index: SourceIndex) {
        if self.sources[index].state == SourceState::Stalled {
            self.set_state(cx, index, SourceState::Active, None);
        }
    }

    pub(super) fn on_payload(
        &mut self,
        cx: &mut Context,
        index: SourceIndex,
        req: u32,
        payload: PayloadId,
        digests: Digests,
    ) {
        let source = &mut self.sources[index];
        self.received += source.on_bytes(cx.now, req, u32::MAX);
        let Some(Request { wanted, md5: Some(announced), length, asked_at, .. }) = source.requests.remove(&req) else {
            return cx.drop_payload(payload);
        };
        source.on_piece(cx.now, length, asked_at);
        let received = Received { payload, digests, announced };
        match (wanted, &self.phase) {
            (Wanted::Last(size), Phase::Proving) => self.on_last(cx, index, size, received),
            (Wanted::Piece(piece), Phase::Fetching) if !self.picker.has(piece) => {
                self.judge(cx, index, piece, received);
            }
            (Wanted::Page(_) | Wanted::Last(_) | Wanted::Piece(_), _) => {
                mark!(PieceSecond);
                cx.drop_payload(payload);
                self.pump(cx);
            }
        }
    }

    pub(super) fn judge(&mut self, cx: &mut Context, index: SourceIndex, piece: u32, received: Received) {
        let Received { payload, digests, announced } = received;
        let expected = if self.size <= PIECE_BYTES {
            Some(&self.order.root.0)
        } else {
            self.manifest.as_ref().and_then(|cvs| cvs.get(piece as usize)).map(|cv| &cv.0)
        };
        let verdict = judge(self.order.verify, &digests, expected, announced);
        let source = &mut self.sources[index];
        match verdict {
            Verdict::Right => self.accept(cx, index, piece, (payload, digests.md5)),
            Verdict::WrongMd5 => {
                self.accept(cx, index, piece, (payload, digests.md5));
                self.note_wrong_md5(cx, index);
            }
            Verdict::Lie => {
                mark!(PieceLie);
                source.bad += 1;
                self.reject(cx, index, piece, payload);
                self.drop_liar(cx, index, &format!("sent wrong bytes as piece {piece}"));
            }
            Verdict::LineFault => {
                mark!(PieceDamaged);
                source.bad += 1;
                let again = source.note_damage();
                let claimed = self.reject(cx, index, piece, payload);
                if again {
                    let why = format!("sent damaged bytes twice, last as piece {piece}");
                    self.drop_liar(cx, index, &why);
                } else if claimed && self.sources[index].may_take() && self.picker.claim(piece, index) {
                    self.ask(cx, index, Wanted::Piece(piece));
                } else {
                    self.pump(cx);
                }
            }
        }
    }

    /// Drops a wrong piece. Returns whether the piece was still assigned to this source.
    fn reject(&mut self, cx: &mut Context, index: SourceIndex, piece: u32, payload: PayloadId) -> bool {
        cx.drop_payload(payload);
        let claimed = self.picker.claimants(piece).contains(&index);
        self.picker.release(piece, index);
        claimed
    }

    pub(super) fn accept(
        &mut self,
        cx: &mut Context,
        index: SourceIndex,
        piece: u32,
        (payload, md5): (PayloadId, Option<Md5>),
    ) {
        let download = self.order.id;
        (self.good_at, self.asked_last) = (cx.now, false);
        let source = &mut self.sources[index];
        source.pieces += 1;
        source.forgive();
        let (addr, node) = (source.addr.clone(), source.node);
        if source.pieces == 1 {
            self.believe(index);
        }
        self.revive(cx, index);
        self.picker.verified(piece);
        for other in 0..self.sources.len() {
            if let Some((req, _)) = self.sources[other].request_for(piece) {
                self.cancel(cx, other, req);
            }
        }
        let bytes = self.picker.length(piece);
        self.bytes += u64::from(bytes);
        self.swarm.width.note(cx.now, u64::from(bytes));
        let elapsed_ms = millis(cx.now.since(self.started_at));
        // It is reported once it is written, so that each reported piece survives a kill.
        let size = self.size;
        let event = ClientEvent::Piece { index: piece, source: addr, bytes, size, elapsed_ms };
        self.writing.insert(piece, (event, node));
        let proven = self.order.verify != Verify::Md5;
        cx.disk(DiskWork::WritePiece { download, piece, payload, md5, proven });
        self.pump(cx);
    }
}
