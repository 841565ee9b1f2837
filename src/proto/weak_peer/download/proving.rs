//! The proof of a download: which size and which manifest are right. Sizes in hits are claims of
//! strangers, so the source itself is asked. Its manifest states the size. Its last piece proves
//! both, and so does the *right edge*: the fields `tail` and `left` of the last page (PROTOCOL.md
//! 10.2). If something is wrong, it is a fault of this source. A content of at most one piece has
//! no manifest: its piece is the proof.
//!
//! One source is asked first. If its proof takes long, more sources are asked, and their number
//! doubles each time, so that slow sources do not delay the download. The first complete proof
//! counts.

use super::manifest::proves;
use super::proof::{Failed, Proof, Received};
use super::source::{Source, Wanted};
use super::transfer::{Phase, Transfer};
use super::verdict::{Verdict, judge};
use crate::config::{
    MANIFEST_PAGE_BYTES, MANIFEST_PAGE_CVS, MD5_MISMATCHES_MAX, PIECE_BYTES, PROOF_HEDGE, PROOF_PATIENCE,
    PROOF_SHARE_BYTES, SOURCE_FRUITLESS_MAX, SOURCE_RATE_MIN, SOURCES_MAX,
};
use crate::proto::disk::{DiskWork, Edge};
use crate::proto::event::{ClientEvent, SourceState};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, SourceIndex};
use crate::proto::weak_peer::download::picker::Picker;
use crate::proto::weak_peer::download::pool::is_possible;
use crate::proto::{PayloadId, Verify, pieces_of};
use crate::time::Time;
use crate::wire::ids::Md5;
use crate::wire::message::Cvs;

impl Transfer {
    // ---- asking ---------------------------------------------------------------------------------

    /// Asks more sources for a proof, if that is useful now.
    pub(super) fn prove_more(&mut self, cx: &mut Context) {
        if let Some(index) = self.slow_prover(cx.now) {
            self.put_aside(cx, index, "takes long to send its manifest, and others wait");
        }
        for index in 0..self.sources.len() {
            if let Some(first) = self.sources[index].page_held_back().filter(|_| self.may_hold_more(index)) {
                self.ask(cx, index, Wanted::Page(first));
            }
        }
        while let Some((index, is_lean)) = self.next_prover(cx.now) {
            let rate_before = self.rate(cx.now);
            let source = &mut self.sources[index];
            let size = source.stated.or(source.claim);
            source.proof = Some(Proof::new(cx.now, rate_before, size, is_lean));
            self.proofs_begun = self.proofs_begun.saturating_add(1);
            if size.is_none_or(|size| size > PIECE_BYTES) {
                self.ask(cx, index, Wanted::Page(0));
            }
            if let Some(size) = size.filter(|size| self.needs_last(index, *size)) {
                self.ask(cx, index, Wanted::Last(size));
            }
        }
    }

    /// Whether the last piece is requested at once. Otherwise it is requested only if the complete
    /// manifest has no right edge. A source with the feature `swarm` sends the right edge.
    fn needs_last(&self, index: SourceIndex, size: u64) -> bool {
        let source = &self.sources[index];
        size <= PIECE_BYTES || !source.swarms && source.proof.as_ref().is_some_and(|proof| !proof.is_lean)
    }

    /// The source whose proof is stopped because it has run too long and another source waits. If
    /// a proof has more than [`PROOF_SHARE_BYTES`], it is that proof, because it keeps the others
    /// from sending more pages. Otherwise it is the oldest proof. A slow source may need half an
    /// hour for a manifest of 2^20 values, and with each page the timeout of the download begins
    /// again. The source gets more time with each try, so that it can complete a long manifest. No
    /// source is dropped for being slow.
    fn slow_prover(&self, now: Time) -> Option<SourceIndex> {
        let active = || self.sources.iter().filter(|source| source.state == SourceState::Active);
        let waits = |source: &Source| source.proof.is_none() || source.page_held_back().is_some();
        let is_full = active().count() >= SOURCES_MAX && !self.order.pool.is_empty();
        if !is_full && !active().any(waits) {
            return None;
        }
        let furthest = self.sources.iter().filter_map(|source| source.proof.as_ref()).map(Proof::bytes).max();
        let slow = |source: &Source, proof: &Proof| {
            // Many sources may share a slow line. The proof with the most bytes goes on. Otherwise
            // no proof would ever be complete.
            let leads = proof.bytes() > 0 && Some(proof.bytes()) == furthest;
            if is_full && leads && proof.bytes() <= PROOF_SHARE_BYTES {
                return false;
            }
            let pages = pieces_of(proof.size.unwrap_or(0)).div_ceil(MANIFEST_PAGE_CVS as u64);
            let patience = PROOF_PATIENCE.saturating_mul(1 << source.fruitless);
            let may_end = proof.manifest.is_none() || proof.bytes() > PROOF_SHARE_BYTES;
            let waits = pages > 1 && may_end && source.fruitless + 1 < SOURCE_FRUITLESS_MAX;
            waits && now.since(proof.begun_at) >= patience
        };
        let sources = self.sources.iter().enumerate();
        let provers = sources.filter_map(|(index, source)| Some((index, source, source.proof.as_ref()?)));
        let slow = provers.filter(|(_, source, proof)| slow(source, proof));
        slow.min_by_key(|(_, _, proof)| (proof.bytes() <= PROOF_SHARE_BYTES, proof.begun_at)).map(|(index, ..)| index)
    }

    /// The source to ask for a proof now, and whether its proof is *lean*: whether its last piece
    /// is requested only after its complete manifest. While proofs run, more are begun only
    /// [`PROOF_HEDGE`] after the youngest. Then the number of sources that were asked doubles,
    /// whatever the others send, so that no number of slow sources delays the download much.
    ///
    /// Sources behind the same slow link must not slow each other down. While enough bytes come,
    /// the first and the second proof may therefore cost as much as a piece, and a further one only
    /// if the youngest proof has raised the rate by a tenth. All others are lean: the manifests of
    /// all sources are a small part of the content.
    fn next_prover(&self, now: Time) -> Option<(SourceIndex, bool)> {
        let active = |source: &&Source| source.state == SourceState::Active;
        let running: Vec<&Proof> = self.sources.iter().filter(active).filter_map(|s| s.proof.as_ref()).collect();
        let before: Vec<&&Proof> = running.iter().filter(|proof| proof.begun_at < now).collect();
        let rate = self.rate(now);
        let fresh = running.len() - before.len();
        let most = self.proofs_begun.saturating_sub(fresh).max(1);
        if fresh >= most {
            return None;
        }
        let mut may_cost = rate < SOURCE_RATE_MIN || fresh == 0 && before.len() <= 1;
        if let Some(youngest) = before.iter().max_by_key(|proof| proof.begun_at) {
            if now.since(youngest.begun_at) < PROOF_HEDGE {
                return None;
            }
            may_cost |= before.len() > 1 && rate * 10 >= youngest.rate_before * 11;
        }
        // A source that was lost during a proof is asked last.
        let may = |s: &Source| s.state == SourceState::Active && s.proof.is_none() && s.may_prove();
        let free = self.sources.iter().enumerate().filter(|(_, s)| may(s) && (may_cost || s.may_be_lean()));
        let next = free.min_by_key(|(_, source)| source.fruitless).map(|(index, _)| index);
        if next.is_some() && !running.is_empty() {
            mark!(ProofHedged);
        }
        next.map(|index| (index, !may_cost))
    }

    /// Whether this source may send one more page. Each may send its share. Beyond that, only the
    /// one that has sent most may send more.
    fn may_hold_more(&self, index: SourceIndex) -> bool {
        let held = |source: &Source| source.proof.as_ref().map_or(0, Proof::bytes);
        let own = held(&self.sources[index]);
        let leads = || self.sources.iter().enumerate().all(|(other, source)| (held(source), index) <= (own, other));
        own + MANIFEST_PAGE_BYTES <= PROOF_SHARE_BYTES || leads()
    }

    // ---- answers --------------------------------------------------------------------------------

    pub(super) fn on_page(&mut self, cx: &mut Context, index: SourceIndex, page: &Cvs) {
        let source = &mut self.sources[index];
        let Some(request) = source.requests.get(&page.req) else {
            return self.drop_source(cx, index, "answered a request that was not made");
        };
        // If the page does not fit the request, the request is not removed here: `drop_source` does
        // this, and also frees the piece that was requested.
        match request.wanted {
            Wanted::Page(first) if first == page.first => {}
            Wanted::Page(_) => return self.drop_source(cx, index, "answered with another page than was asked for"),
            Wanted::Last(_) | Wanted::Piece(_) => {
                return self.drop_source(cx, index, "answered a request for a chunk with a page of the manifest");
            }
        }
        let canceled = request.canceled;
        source.requests.remove(&page.req);
        if canceled || source.proof.is_none() {
            return;
        }
        source.on_page(cx.now, page.cvs.len());
        self.received += page.cvs.len() as u64;
        if page.first == 0 {
            if !is_possible(self.order.root, page.size) {
                return self.drop_liar(cx, index, "states a size that this content cannot have");
            }
            self.on_size(cx, index, page.size);
        }
        let Some(proof) = &mut self.sources[index].proof else { return };
        if !page.tail.is_empty() {
            proof.edge = Some(Edge { tail: page.tail.clone(), left: page.left.clone() });
        }
        if pieces_of(page.size) > 1 || proof.size != Some(page.size) {
            match proof.pages.add(page.size, page.first, &page.cvs) {
                Err(why) => self.drop_liar(cx, index, why),
                Ok(()) => self.on_pages(cx, index),
            }
        } else if !page.cvs.is_empty() {
            self.drop_liar(cx, index, "sent a manifest of a content that has none");
        }
    }

    /// The source states the size.
    fn on_size(&mut self, cx: &mut Context, index: SourceIndex, size: u64) {
        let source = &mut self.sources[index];
        source.stated = Some(size);
        let Some(proof) = &mut source.proof else { return };
        if proof.size == Some(size) {
            match proof.failed.take() {
                None => {}
                Some(Failed::Wrong(verdict)) => self.on_wrong_last(cx, index, size, verdict),
                Some(Failed::Refused(why)) => self.drop_source(cx, index, &why),
            }
            return;
        }
        proof.restate(size);
        if let Some(held) = proof.held.take() {
            cx.drop_payload(held.payload);
        }
        self.cancel_last(cx, index);
        if self.needs_last(index, size) {
            self.ask(cx, index, Wanted::Last(size));
        }
    }

    fn cancel_last(&mut self, cx: &mut Context, index: SourceIndex) {
        let last = |wanted: Wanted| matches!(wanted, Wanted::Last(_));
        let reqs = self.sources[index].requests.iter().filter(|(_, request)| last(request.wanted));
        let reqs: Vec<_> = reqs.map(|(req, _)| *req).collect();
        reqs.into_iter().for_each(|req| self.cancel(cx, index, req));
    }

    /// One more page has come. Requests the next page, or checks that the values of all pages merge
    /// to the root.
    fn on_pages(&mut self, cx: &mut Context, index: SourceIndex) {
        let Some(proof) = &mut self.sources[index].proof else { return };
        if let Some(first) = proof.pages.wanted() {
            if self.may_hold_more(index) {
                self.ask(cx, index, Wanted::Page(first));
            }
            return;
        }
        if proof.pages.proven(self.order.root).is_none() {
            return self.drop_liar(cx, index, "sent a manifest that does not merge to the root");
        }
        let manifest = proof.pages.take();
        let Some(size) = proof.size else { return };
        if let (Some(edge), Some(last)) = (proof.edge.take(), manifest.last()) {
            if !proves(&edge, size, last) {
                mark!(EdgeLie);
                return self.drop_liar(cx, index, "sent a right edge that does not prove the size");
            }
            mark!(EdgeProven);
            proof.manifest = Some(manifest);
            return self.on_proven(cx, index, size, Some(edge));
        }
        proof.manifest = Some(manifest);
        if let Some(held) = proof.held.take() {
            self.on_last(cx, index, size, held);
        } else if !self.needs_last(index, size) {
            self.ask(cx, index, Wanted::Last(size));
        }
    }

    /// The last piece of a content of this size has come.
    pub(super) fn on_last(&mut self, cx: &mut Context, index: SourceIndex, size: u64, received: Received) {
        let proof = self.sources[index].proof.as_mut().filter(|proof| proof.size == Some(size));
        let Some(proof) = proof.filter(|_| matches!(self.phase, Phase::Proving)) else {
            return cx.drop_payload(received.payload);
        };
        let expected = match &proof.manifest {
            None if size <= PIECE_BYTES => Some(&self.order.root.0),
            None => {
                proof.held = Some(received);
                return;
            }
            Some(cvs) => cvs.last().map(|cv| &cv.0),
        };
        let Received { payload, digests, announced } = received;
        match judge(proof_verify(self.order.verify), &digests, expected, announced) {
            Verdict::Right => self.on_proven_by_last(cx, index, size, (payload, digests.md5)),
            Verdict::WrongMd5 => {
                self.on_proven_by_last(cx, index, size, (payload, digests.md5));
                self.note_wrong_md5(cx, index);
            }
            verdict @ (Verdict::Lie | Verdict::LineFault) => {
                cx.drop_payload(payload);
                self.on_wrong_last(cx, index, size, verdict);
            }
        }
    }

    fn on_wrong_last(&mut self, cx: &mut Context, index: SourceIndex, size: u64, verdict: Verdict) {
        let source = &mut self.sources[index];
        if source.stated.is_none() {
            return self.ask_size(cx, index, Failed::Wrong(verdict));
        }
        let last = last_piece(size);
        source.bad += 1;
        if verdict == Verdict::Lie {
            mark!(PieceLie);
            return self.drop_liar(cx, index, &format!("sent wrong bytes as piece {last}"));
        }
        mark!(PieceDamaged);
        if source.note_damage() {
            return self.drop_liar(cx, index, &format!("sent damaged bytes twice, last as piece {last}"));
        }
        self.ask(cx, index, Wanted::Last(size));
    }

    /// The last piece was wrong for a size that only hits claim: asks the source for the size.
    pub(super) fn ask_size(&mut self, cx: &mut Context, index: SourceIndex, failed: Failed) {
        let source = &mut self.sources[index];
        let asked = source.requests.values().any(|request| matches!(request.wanted, Wanted::Page(_)));
        if let Some(proof) = &mut source.proof {
            proof.failed = Some(failed);
            if !asked {
                self.ask(cx, index, Wanted::Page(0));
            }
        }
    }

    // ---- the end --------------------------------------------------------------------------------

    /// The last piece proves size and manifest. It is not requested again.
    fn on_proven_by_last(&mut self, cx: &mut Context, index: SourceIndex, size: u64, piece: (PayloadId, Option<Md5>)) {
        let last = last_piece(size);
        self.fix_proven(cx, index, size, None);
        self.picker.claim(last, index);
        self.accept(cx, index, last, piece);
    }

    /// The right edge proves size and manifest.
    fn on_proven(&mut self, cx: &mut Context, index: SourceIndex, size: u64, edge: Option<Edge>) {
        if matches!(self.phase, Phase::Proving) {
            self.fix_proven(cx, index, size, edge);
            self.pump(cx);
        }
    }

    /// This source has proved size and manifest.
    fn fix_proven(&mut self, cx: &mut Context, index: SourceIndex, size: u64, edge: Option<Edge>) {
        mark!(ManifestProven);
        let proof = self.sources[index].proof.take();
        let cvs = proof.and_then(|proof| proof.manifest).unwrap_or_default();
        // The size is 0 if no hit claims one.
        if self.size != 0 && size != self.size {
            let message = format!("the content has {size} bytes; a source that claims {} is wrong", self.size);
            self.report(cx, ClientEvent::Note { message });
        }
        self.fix_size(size);
        self.manifest = Some(cvs.clone());
        self.phase = Phase::Fetching;
        if edge.is_some() {
            cx.holdings.prove(self.order.root, self.order.id);
        }
        cx.disk(DiskWork::PreparePart { download: self.order.id, size, cvs, edge });
        self.check_announced(cx);
        (0..self.sources.len()).for_each(|other| self.end_proof(cx, other, size));
    }

    /// From now on, fetches first the missing pieces from this byte on.
    pub(super) fn aim(&mut self, offset: u64) {
        self.aimed = Some(offset);
        self.picker.aim(u32::try_from(offset / PIECE_BYTES).unwrap_or(u32::MAX));
    }

    /// The size is certain.
    pub(super) fn fix_size(&mut self, size: u64) {
        (self.size, self.is_proven) = (size, true);
        self.picker = Picker::new(size);
        self.picker.set_own(self.own_pieces());
        if let Some(offset) = self.aimed {
            self.aim(offset);
        }
        self.order.pool.keep_size(size);
    }

    /// Another source was faster: the proof of this source is not needed.
    fn end_proof(&mut self, cx: &mut Context, index: SourceIndex, size: u64) {
        if self.sources[index].proof.is_none() {
            return;
        }
        self.forget_proof(cx, index);
        let reqs: Vec<_> = self.sources[index].requests.keys().copied().collect();
        reqs.into_iter().for_each(|req| self.cancel(cx, index, req));
        if self.sources[index].stated.is_some_and(|stated| stated != size) {
            self.sources[index].lied = true;
            self.put_away(cx, index, SourceState::Dropped, "states another size than the proven one");
        }
    }

    /// Discards what this source has sent as its proof.
    pub(super) fn forget_proof(&mut self, cx: &mut Context, index: SourceIndex) {
        if let Some(held) = self.sources[index].proof.take().and_then(|proof| proof.held) {
            cx.drop_payload(held.payload);
        }
    }

    /// Counts correct bytes with a wrong MD5. Drops the source if this happens too often.
    pub(super) fn note_wrong_md5(&mut self, cx: &mut Context, index: SourceIndex) {
        let source = &mut self.sources[index];
        source.md5_misses += 1;
        if source.md5_misses >= MD5_MISMATCHES_MAX {
            let why = format!("announced a wrong MD5 for right bytes {} times", source.md5_misses);
            self.drop_liar(cx, index, &why);
        }
    }
}

impl Source {
    /// The next page of its manifest, if this page is not requested because other sources have sent
    /// much.
    fn page_held_back(&self) -> Option<u32> {
        let pages = &self.proof.as_ref()?.pages;
        let is_asked = self.requests.values().any(|request| matches!(request.wanted, Wanted::Page(_)));
        pages.wanted().filter(|first| *first > 0 && !is_asked)
    }

    /// Whether a lean proof from this source costs only its manifest or, for a content of one
    /// piece, no more bytes than one page of a manifest.
    fn may_be_lean(&self) -> bool {
        self.stated.or(self.claim).is_none_or(|size| size > PIECE_BYTES || size <= MANIFEST_PAGE_BYTES)
    }
}

/// The number of the last piece of a content, which must not be empty.
pub(super) fn last_piece(size: u64) -> u32 {
    u32::try_from(pieces_of(size).saturating_sub(1)).unwrap_or(u32::MAX)
}

/// The digests to compute for a proof. Without BLAKE3, the piece would prove nothing.
pub(super) fn proof_verify(verify: Verify) -> Verify {
    match verify {
        Verify::Md5 | Verify::Both => Verify::Both,
        Verify::Blake3 => Verify::Blake3,
    }
}
