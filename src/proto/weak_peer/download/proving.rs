//! The proof of a download of more than one piece: its manifest and its last piece, both from one
//! source. Together they prove the chaining value of every piece and the size. If either is wrong,
//! this source alone is to blame.

use super::manifest::Pages;
use super::proof::Proof;
use super::source::Wanted;
use super::transfer::{Phase, Transfer};
use crate::proto::event::SourceState;
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, SourceIndex};
use crate::wire::message::Cvs;

impl Transfer {
    pub(super) fn begin_proof(&mut self, cx: &mut Context) {
        let Some(index) = self.sources.iter().position(|source| source.state == SourceState::Active) else { return };
        let proof = Proof { source: index, pages: Pages::new(self.order.size), held: None };
        self.phase = Phase::Proving(Some(proof));
        self.ask(cx, index, Wanted::Page(0));
        let last = self.last_piece();
        if self.picker.claim(last, index) {
            self.ask(cx, index, Wanted::Piece(last));
        }
    }

    /// Moves the proof from a stalled source to another one.
    pub(super) fn change_prover(&mut self, cx: &mut Context) {
        let Phase::Proving(Some(Proof { source: index, .. })) = self.phase else { return };
        let other = self.sources.iter().any(|source| source.state == SourceState::Active);
        if self.sources[index].state != SourceState::Stalled || !other {
            return;
        }
        mark!(ProverChanged);
        let reqs: Vec<_> = self.sources[index].requests.keys().copied().collect();
        for req in reqs {
            self.cancel(cx, index, req);
        }
        self.forget_proof(cx, index);
        let last = self.last_piece();
        self.picker.release(last, index);
    }

    /// Discards what this source sent of its proof.
    pub(super) fn forget_proof(&mut self, cx: &mut Context, index: SourceIndex) {
        let Phase::Proving(proof) = &mut self.phase else { return };
        if proof.as_ref().is_some_and(|proof| proof.source == index) {
            if let Some(held) = proof.take().and_then(|proof| proof.held) {
                cx.drop_payload(held.payload);
                let last = self.last_piece();
                self.picker.release(last, index);
            }
            self.manifest = None;
        }
    }

    pub(super) fn on_page(&mut self, cx: &mut Context, index: SourceIndex, page: &Cvs) {
        let Some(request) = self.sources[index].requests.remove(&page.req) else {
            return self.drop_source(cx, index, "answered a request that was not made");
        };
        if request.canceled {
            return;
        }
        let Phase::Proving(Some(proof)) = &mut self.phase else { return };
        if proof.source != index || request.wanted != Wanted::Page(page.first) {
            return self.drop_source(cx, index, "answered with another page than was asked for");
        }
        if let Err(why) = proof.pages.add(page.size, page.first, &page.cvs) {
            return self.drop_liar(cx, index, why);
        }
        (self.alive_at, self.sources[index].progress_at) = (cx.now, cx.now);
        let wanted = proof.pages.wanted();
        self.revive(cx, index);
        match wanted {
            Some(first) => self.ask(cx, index, Wanted::Page(first)),
            None => self.merge(cx, index),
        }
    }

    /// All pages have come: checks that they merge to the root.
    fn merge(&mut self, cx: &mut Context, index: SourceIndex) {
        let Phase::Proving(Some(proof)) = &mut self.phase else { return };
        let Some(cvs) = proof.pages.proven(self.order.root) else {
            return self.drop_liar(cx, index, "sent a manifest that does not merge to the root");
        };
        mark!(ManifestProven);
        self.manifest = Some(cvs.to_vec());
        if let Some(held) = proof.held.take() {
            let last = self.last_piece();
            self.judge(cx, index, last, held);
        }
    }
}
