//! The pieces of a download from their CHUNK header to the disk: received, judged by their digests,
//! accepted or rejected. The bytes stay with the driver; only their digests come here.

use super::proof::Received;
use super::source::{Request, Wanted};
use super::transfer::{Phase, Transfer};
use super::verdict::{Verdict, judge};
use crate::config::MD5_MISMATCHES_MAX;
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
        let Wanted::Piece(piece) = request.wanted else {
            return self.drop_source(cx, index, "answered a manifest request with a chunk");
        };
        if (chunk.offset, chunk.length) != (self.picker.offset(piece), self.picker.length(piece)) {
            return self.drop_liar(cx, index, "answered with another range than was asked for");
        }
        // A chunk has no MD5 if the request was `bare`; the MD5 is not compared then.
        let md5 = chunk.md5.or((self.order.verify == Verify::Blake3).then_some(Md5([0; 16])));
        if md5.is_none() {
            return self.drop_liar(cx, index, "sent a chunk without its MD5");
        }
        request.md5 = md5;
        source.progress_at = cx.now;
        let plan = match self.picker.len() {
            0 | 1 => HashPlan::Content,
            _ => HashPlan::Piece { offset: chunk.offset },
        };
        // A piece that we have is only read off the connection; the cheaper digest is enough.
        let verify = if self.picker.has(piece) { Verify::Blake3 } else { self.order.verify };
        cx.push(Output::ReceivePayload { conn, req: chunk.req, length: chunk.length, plan, verify });
    }

    pub(super) fn on_progress(&mut self, cx: &mut Context, index: SourceIndex, req: u32, received: u32) {
        let source = &mut self.sources[index];
        source.on_bytes(cx.now, req, received);
        if source.progress_at == cx.now {
            self.alive_at = cx.now;
            self.revive(cx, index);
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
        source.on_bytes(cx.now, req, u32::MAX);
        let request = source.requests.remove(&req);
        let Some(Request { wanted: Wanted::Piece(piece), md5: Some(announced), length, asked_at, .. }) = request else {
            return cx.drop_payload(payload);
        };
        source.on_piece(cx.now, length, asked_at);
        self.alive_at = cx.now;
        self.revive(cx, index);
        if self.picker.has(piece) {
            mark!(PieceSecond);
        }
        if self.picker.has(piece) || matches!(self.phase, Phase::Opening | Phase::Publishing | Phase::Over) {
            cx.drop_payload(payload);
            return self.pump(cx);
        }
        let received = Received { payload, digests, announced };
        match &mut self.phase {
            Phase::Proving(Some(proof)) if proof.source == index && self.manifest.is_none() => {
                proof.held = Some(received)
            }
            Phase::Proving(Some(proof)) if proof.source == index => self.judge(cx, index, piece, received),
            // The last piece from a former prover: no manifest exists yet to judge it by.
            Phase::Proving(_) => {
                cx.drop_payload(payload);
                self.picker.release(piece, index);
            }
            Phase::Fetching => self.judge(cx, index, piece, received),
            Phase::Opening | Phase::Publishing | Phase::Over => {}
        }
    }

    pub(super) fn judge(&mut self, cx: &mut Context, index: SourceIndex, piece: u32, received: Received) {
        let Received { payload, digests, announced } = received;
        let expected = match self.picker.len() {
            0 | 1 => Some(&self.order.root.0),
            _ => self.manifest.as_ref().and_then(|cvs| cvs.get(piece as usize)).map(|cv| &cv.0),
        };
        let verdict = judge(self.order.verify, &digests, expected, announced);
        let source = &mut self.sources[index];
        match verdict {
            Verdict::Right => self.accept(cx, index, piece, payload),
            Verdict::WrongMd5 => {
                source.md5_misses += 1;
                let misses = source.md5_misses;
                self.accept(cx, index, piece, payload);
                if misses >= MD5_MISMATCHES_MAX {
                    let why = format!("announced a wrong MD5 for right bytes {misses} times");
                    self.drop_liar(cx, index, &why);
                }
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
                let again = source.suspect.replace(piece).is_some();
                let claimed = self.reject(cx, index, piece, payload);
                if again {
                    let why = format!("sent damaged bytes twice, last as piece {piece}");
                    self.drop_liar(cx, index, &why);
                } else if claimed && self.picker.claim(piece, index) {
                    self.ask(cx, index, Wanted::Piece(piece));
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

    fn accept(&mut self, cx: &mut Context, index: SourceIndex, piece: u32, payload: PayloadId) {
        let download = self.order.id;
        if matches!(self.phase, Phase::Proving(_)) {
            self.phase = Phase::Fetching;
            if let Some(cvs) = self.manifest.clone() {
                cx.disk(DiskWork::StoreManifest { download, cvs });
            }
        }
        let source = &mut self.sources[index];
        source.suspect.take_if(|suspect| *suspect == piece);
        source.pieces += 1;
        source.forgive();
        let addr = source.addr.clone();
        for other in self.picker.verified(piece) {
            let losing = (other != index).then(|| self.sources[other].request_for(piece)).flatten();
            if let Some((req, _)) = losing {
                self.cancel(cx, other, req);
            }
        }
        let bytes = self.picker.length(piece);
        self.bytes += u64::from(bytes);
        let elapsed_ms = millis(cx.now.since(self.started_at));
        // Reported once it is written: a piece that was reported is there after a kill.
        self.writing.insert(piece, ClientEvent::Piece { index: piece, source: addr, bytes, elapsed_ms });
        cx.disk(DiskWork::WritePiece { download, piece, payload });
        self.pump(cx);
    }
}
