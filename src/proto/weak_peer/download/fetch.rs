//! What a download says to its sources and hears from them: dialling, the proof, pieces asked, stolen, judged and accepted.

use super::picker;
use super::proof::{Held, Proof};
use super::source::{Request, Source, Wanted, time_for};
use super::transfer::{Phase, Transfer};
use super::verdict::{Verdict, judge};
use super::{SourceIndex, give_up};
use crate::config::{
    FRAME_BYTES_OPEN, MANIFEST_PAGE_CVS, MD5_MISMATCHES_MAX, PROTOCOL_VERSION, SOURCE_FRUITLESS_MAX, SOURCES_MAX,
    STALL_AFTER, WRITES_PENDING_MAX,
};
use crate::proto::disk::DiskWork;
use crate::proto::event::{ClientEvent, SourceState};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Desk, Owner};
use crate::proto::weak_peer::session::plain;
use crate::proto::{ConnId, Digests, HashPlan, Output, PayloadId, Verify};
use crate::wire::Message;
use crate::wire::ids::{Cv, Md5};
use crate::wire::message::{self, Cancel, Chunk, Cvs, ErrorCode, Get, Manifest, Welcome};
use crate::wire::message::{told_by_super_peers, told_to_sources, told_to_super_peers};

impl Transfer {
    // ---- dialling ------------------------------------------------------------------------------------------------

    fn dial_more(&mut self, desk: &mut Desk) {
        let mut used = self.sources.iter().filter(|source| source.is_used()).count();
        while used < SOURCES_MAX {
            let idle = |source: &Source| source.state == SourceState::Idle;
            let next = self.sources.iter().position(idle);
            let Some(index) = next.or_else(|| self.sources.iter().position(|s| s.is_due(desk.now))) else { return };
            let dial = desk.dial(Owner::Source(self.order.id, index), &self.sources[index].addr);
            self.sources[index].dial = Some(dial);
            self.set_state(desk, index, SourceState::Connecting, None);
            used += 1;
        }
    }

    pub(super) fn on_dialed(&mut self, desk: &mut Desk, index: SourceIndex, conn: ConnId) {
        let source = &mut self.sources[index];
        source.dial = None;
        source.conn = Some(conn);
        source.since = desk.now;
        desk.hello(conn);
    }

    pub(super) fn on_dial_failed(&mut self, desk: &mut Desk, index: SourceIndex, why: &str) {
        self.sources[index].dial = None;
        self.lose(desk, index, why);
    }

    pub(super) fn on_closed(&mut self, desk: &mut Desk, index: SourceIndex, why: &str) {
        self.sources[index].conn = None;
        self.lose(desk, index, &format!("closed the connection ({why})"));
    }

    /// The source is gone for now: its pieces go back, and it is dialled again later.
    pub(super) fn lose(&mut self, desk: &mut Desk, index: SourceIndex, why: &str) {
        mark!(SourceLost);
        // What came in full before is judged all the same: its digests are on their way.
        let in_hand = |request: &Request| request.is_in_hand() && matches!(request.wanted, Wanted::Piece(_));
        let requests = std::mem::take(&mut self.sources[index].requests);
        let (kept, rest) = requests.into_iter().partition(|(_, request)| in_hand(request));
        self.sources[index].requests = rest;
        self.release(desk, index);
        let source = &mut self.sources[index];
        source.requests = kept;
        if matches!(source.state, SourceState::Active | SourceState::Stalled) {
            source.fruitless += 1;
            if source.fruitless >= SOURCE_FRUITLESS_MAX {
                let why = format!("was connected {SOURCE_FRUITLESS_MAX} times and sent no right piece; it last {why}");
                return self.drop_source(desk, index, false, &why);
            }
        }
        self.sources[index].back_off(desk.now);
        self.set_state(desk, index, SourceState::Lost, Some(why.to_owned()));
        self.pump(desk);
    }

    /// The source is not used any more for this download.
    pub(super) fn drop_source(&mut self, desk: &mut Desk, index: SourceIndex, lied: bool, why: &str) {
        self.release(desk, index);
        self.sources[index].lied = lied;
        self.short_of_sources = true;
        if lied {
            desk.warn(format!(
                "{} is dropped as a source of {:?}: it {why}",
                self.sources[index].addr, self.order.name
            ));
        }
        self.set_state(desk, index, SourceState::Dropped, Some(why.to_owned()));
        self.pump(desk);
    }

    /// Ends its connection and gives back what it was asked for.
    fn release(&mut self, desk: &mut Desk, index: SourceIndex) {
        let source = &mut self.sources[index];
        give_up(desk, source.dial.take(), source.conn.take(), false);
        for request in std::mem::take(&mut source.requests).into_values() {
            if let (Wanted::Piece(piece), false) = (request.wanted, request.cancelled) {
                self.picker.release(piece, index);
            }
        }
        self.forget_proof(desk, index);
    }

    /// What this source sent of its proof is void.
    fn forget_proof(&mut self, desk: &mut Desk, index: SourceIndex) {
        let Phase::Proving(proof) = &mut self.phase else { return };
        if proof.as_ref().is_some_and(|proof| proof.source == index) {
            if let Some(held) = proof.take().and_then(|proof| proof.held) {
                desk.push(Output::DropPayload { payload: held.payload });
                let last = self.last_piece();
                self.picker.release(last, index);
            }
            self.manifest = None;
        }
    }

    // ---- asking --------------------------------------------------------------------------------------------------

    /// Does whatever can be done now: dial, begin the proof, ask for pieces.
    pub(super) fn pump(&mut self, desk: &mut Desk) {
        match self.phase {
            Phase::Opening | Phase::Publishing | Phase::Over => return,
            Phase::Proving(_) | Phase::Fetching => self.dial_more(desk),
        }
        if matches!(self.phase, Phase::Proving(None)) {
            self.begin_proof(desk);
        }
        if matches!(self.phase, Phase::Fetching) {
            for index in 0..self.sources.len() {
                if self.sources[index].state == SourceState::Active {
                    self.fill(desk, index);
                }
            }
        }
    }

    fn last_piece(&self) -> u32 {
        u32::try_from(self.picker.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn begin_proof(&mut self, desk: &mut Desk) {
        let Some(index) = self.sources.iter().position(|source| source.state == SourceState::Active) else { return };
        self.phase = Phase::Proving(Some(Proof::new(index, self.order.size)));
        self.ask(desk, index, Wanted::Page(0));
        let last = self.last_piece();
        if self.picker.claim(last, index) {
            self.ask(desk, index, Wanted::Piece(last));
        }
    }

    /// Another source takes over the proof from one that has stalled.
    pub(super) fn change_prover(&mut self, desk: &mut Desk) {
        let Phase::Proving(Some(Proof { source: index, .. })) = self.phase else { return };
        let other = self.sources.iter().any(|source| source.state == SourceState::Active);
        if self.sources[index].state != SourceState::Stalled || !other {
            return;
        }
        mark!(ProverChanged);
        let reqs: Vec<_> = self.sources[index].requests.keys().copied().collect();
        for req in reqs {
            self.cancel(desk, index, req);
        }
        self.forget_proof(desk, index);
        let last = self.last_piece();
        self.picker.release(last, index);
    }

    /// Asks an active source for as much as it should be asked for at once.
    fn fill(&mut self, desk: &mut Desk, index: SourceIndex) {
        let active = self.sources.iter().filter(|source| source.state == SourceState::Active).count();
        loop {
            let source = &self.sources[index];
            let outstanding = source.outstanding();
            let depth = picker::depth(source.rate, self.picker.free(), outstanding, active);
            if outstanding >= depth || self.writing.len() + self.in_hand() >= WRITES_PENDING_MAX {
                return;
            }
            let piece = match self.picker.take(index) {
                Some(piece) => piece,
                None if outstanding == 0 => match self.steal(desk, index) {
                    Some(piece) => piece,
                    None => return,
                },
                None => return,
            };
            self.ask(desk, index, Wanted::Piece(piece));
        }
    }

    /// Payloads that are received in full and not yet judged.
    fn in_hand(&self) -> usize {
        let whole = |request: &&Request| request.is_in_hand();
        self.sources.iter().map(|source| source.requests.values().filter(whole).count()).sum()
    }

    /// Takes a piece for an idle source from one that is much slower. What the holder has not begun is taken away from it;
    /// what it has begun is asked twice, and whoever comes second is cancelled.
    fn steal(&mut self, desk: &mut Desk, index: SourceIndex) -> Option<u32> {
        let rates: Vec<u64> = self.sources.iter().filter_map(|source| source.rate).collect();
        let mean = (!rates.is_empty()).then(|| rates.iter().sum::<u64>() / rates.len() as u64);
        let rate = self.sources[index].rate;
        // A newcomer is given the benefit of the doubt against those who are slow anyway.
        let mine = |piece| rate.map_or(STALL_AFTER, |rate| time_for(u64::from(self.picker.length(piece)), rate));
        let left = |holder: SourceIndex, piece| self.sources[holder].time_until(piece, mean);
        let (piece, holder) = self.picker.theft(index, mine, left)?;
        mark!(PieceStolen);
        let victim = &self.sources[holder];
        let begun = victim.requests.values().find(|request| request.is_outstanding());
        let is_first = begun.is_none_or(|request| request.wanted == Wanted::Piece(piece));
        if let Some((req, request)) = victim.request_for(piece)
            && request.md5.is_none()
            && !is_first
        {
            self.cancel(desk, holder, req);
            self.picker.release(piece, holder);
        }
        self.picker.claim(piece, index).then_some(piece)
    }

    /// What a stalled source has not begun goes back, if there is somebody else to send it.
    pub(super) fn relieve(&mut self, desk: &mut Desk, index: SourceIndex) {
        let helped = self.sources.iter().any(|source| source.state == SourceState::Active);
        if !helped || !matches!(self.phase, Phase::Fetching) {
            return;
        }
        mark!(StalledRelieved);
        let outstanding = self.sources[index].requests.iter().filter(|(_, request)| request.is_outstanding());
        let waiting: Vec<_> = outstanding.skip(1).map(|(req, request)| (*req, request.wanted)).collect();
        for (req, wanted) in waiting {
            self.cancel(desk, index, req);
            if let Wanted::Piece(piece) = wanted {
                self.picker.release(piece, index);
            }
        }
    }

    fn ask(&mut self, desk: &mut Desk, index: SourceIndex, wanted: Wanted) {
        let root = self.order.root;
        let source = &mut self.sources[index];
        let Some(conn) = source.conn else { return };
        let req = self.next_req;
        self.next_req = self.next_req.wrapping_add(1);
        if source.outstanding() == 0 {
            source.progress_at = desk.now;
        }
        let (message, length) = match wanted {
            Wanted::Page(first) => {
                let length = MANIFEST_PAGE_CVS * Cv::LEN;
                (Message::Manifest(Manifest { req, root, first }), u32::try_from(length).unwrap_or(u32::MAX))
            }
            Wanted::Piece(piece) => {
                let (offset, length) = (self.picker.offset(piece), self.picker.length(piece));
                (Message::Get(Get { req, root, offset, length, bare: self.order.verify == Verify::Blake3 }), length)
            }
        };
        let request = Request { wanted, asked_at: desk.now, md5: None, length, received: 0, cancelled: false };
        source.requests.insert(req, request);
        desk.send(conn, message);
    }

    fn cancel(&mut self, desk: &mut Desk, index: SourceIndex, req: u32) {
        let source = &mut self.sources[index];
        if source.cancel(req)
            && let Some(conn) = source.conn
        {
            desk.send(conn, Message::Cancel(Cancel { req }));
        }
    }

    // ---- hearing -------------------------------------------------------------------------------------------------

    pub(super) fn on_message(&mut self, desk: &mut Desk, index: SourceIndex, message: Message) {
        match message {
            Message::Welcome(welcome) => self.on_welcome(desk, index, &welcome),
            Message::Chunk(chunk) => self.on_chunk(desk, index, chunk),
            Message::Cvs(page) => self.on_page(desk, index, &page),
            Message::Error(error) => self.on_error(desk, index, &error),
            Message::Bye(bye) => self.lose(desk, index, &format!("said goodbye: {}", plain(&bye.why))),
            Message::Unknown(kind) => {
                if let Some(conn) = self.sources[index].conn {
                    desk.error(conn, ErrorCode::UNKNOWN_KIND, format!("{kind} is not known"), None);
                }
            }
            Message::Hello(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | told_to_super_peers!()
            | told_by_super_peers!()
            | told_to_sources!() => {
                self.drop_source(desk, index, false, &format!("sent {} unasked", message.kind()));
            }
        }
    }

    fn on_welcome(&mut self, desk: &mut Desk, index: SourceIndex, welcome: &Welcome) {
        let SourceState::Connecting = self.sources[index].state else {
            return self.drop_source(desk, index, false, "sent a second WELCOME");
        };
        if welcome.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("speaks version {} of the protocol", welcome.version[0]);
            return self.drop_source(desk, index, false, &why);
        }
        // A peer fetches from itself only what nobody else has: a copy for another place.
        if welcome.node == desk.node && self.sources.len() > 1 {
            return self.drop_source(desk, index, false, "is this peer itself");
        }
        if let Some(conn) = self.sources[index].conn {
            desk.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        }
        self.reached = true;
        self.sources[index].progress_at = desk.now;
        self.set_state(desk, index, SourceState::Active, None);
        self.pump(desk);
    }

    fn on_chunk(&mut self, desk: &mut Desk, index: SourceIndex, chunk: Chunk) {
        let source = &mut self.sources[index];
        let request = source.requests.get_mut(&chunk.req).filter(|request| request.md5.is_none());
        let (Some(request), Some(conn)) = (request, source.conn) else {
            return self.drop_source(desk, index, false, "answered a request that was not made");
        };
        let Wanted::Piece(piece) = request.wanted else {
            return self.drop_source(desk, index, false, "answered a manifest request with a chunk");
        };
        if (chunk.offset, chunk.length) != (self.picker.offset(piece), self.picker.length(piece)) {
            return self.drop_source(desk, index, true, "answered with another range than was asked for");
        }
        // Without one only if we said that we do without; it is never looked at then.
        let md5 = chunk.md5.or((self.order.verify == Verify::Blake3).then_some(Md5([0; 16])));
        if md5.is_none() {
            return self.drop_source(desk, index, true, "sent a chunk without its MD5");
        }
        request.md5 = md5;
        source.progress_at = desk.now;
        let plan = match self.picker.len() {
            0 | 1 => HashPlan::Content,
            _ => HashPlan::Piece { offset: chunk.offset },
        };
        // What is here already is only read off the connection; the cheaper digest will do.
        let verify = if self.picker.has(piece) { Verify::Blake3 } else { self.order.verify };
        desk.push(Output::ReceivePayload { conn, req: chunk.req, length: chunk.length, plan, verify });
    }

    pub(super) fn on_progress(&mut self, desk: &mut Desk, index: SourceIndex, req: u32, received: u32) {
        let source = &mut self.sources[index];
        source.on_bytes(desk.now, req, received);
        if source.progress_at == desk.now {
            self.alive_at = desk.now;
            self.revive(desk, index);
        }
    }

    fn revive(&mut self, desk: &mut Desk, index: SourceIndex) {
        if self.sources[index].state == SourceState::Stalled {
            self.set_state(desk, index, SourceState::Active, None);
        }
    }

    fn on_error(&mut self, desk: &mut Desk, index: SourceIndex, error: &message::Error) {
        let message = plain(&error.message);
        let Some(req) = error.req else {
            return match error.code {
                ErrorCode::VERSION => self.drop_source(desk, index, false, &message),
                _ => self.lose(desk, index, &message),
            };
        };
        let Some(request) = self.sources[index].requests.remove(&req) else { return };
        if request.cancelled {
            return;
        }
        if let Wanted::Piece(piece) = request.wanted {
            self.picker.release(piece, index);
        }
        match error.code {
            ErrorCode::NOT_FOUND => {
                mark!(SourceHasNot);
                self.drop_source(desk, index, false, "does not have it any more");
            }
            ErrorCode::CHANGED => {
                mark!(SourceChanged);
                self.drop_source(desk, index, false, "has another content there by now");
            }
            ErrorCode::BAD_REQUEST => self.drop_source(desk, index, false, &format!("refused a request: {message}")),
            _ => self.lose(desk, index, &message),
        }
    }

    // ---- the proof -----------------------------------------------------------------------------------------------

    fn on_page(&mut self, desk: &mut Desk, index: SourceIndex, page: &Cvs) {
        let Some(request) = self.sources[index].requests.remove(&page.req) else {
            return self.drop_source(desk, index, false, "answered a request that was not made");
        };
        if request.cancelled {
            return;
        }
        let Phase::Proving(Some(proof)) = &mut self.phase else { return };
        if proof.source != index || request.wanted != Wanted::Page(page.first) {
            return self.drop_source(desk, index, false, "answered with another page than was asked for");
        }
        if let Err(why) = proof.pages.add(page.size, page.first, &page.cvs) {
            return self.drop_source(desk, index, true, why);
        }
        (self.alive_at, self.sources[index].progress_at) = (desk.now, desk.now);
        let wanted = proof.pages.wanted();
        self.revive(desk, index);
        match wanted {
            Some(first) => self.ask(desk, index, Wanted::Page(first)),
            None => self.merge(desk, index),
        }
    }

    /// All pages are here: do they merge to the root?
    fn merge(&mut self, desk: &mut Desk, index: SourceIndex) {
        let Phase::Proving(Some(proof)) = &mut self.phase else { return };
        let Some(cvs) = proof.pages.proven(self.order.root) else {
            return self.drop_source(desk, index, true, "sent a manifest that does not merge to the root");
        };
        mark!(ManifestProven);
        self.manifest = Some(cvs.to_vec());
        if let Some(Held { payload, digests, announced }) = proof.held.take() {
            let last = self.last_piece();
            self.judge(desk, index, last, payload, &digests, announced);
        }
    }

    // ---- pieces --------------------------------------------------------------------------------------------------

    pub(super) fn on_payload(
        &mut self,
        desk: &mut Desk,
        index: SourceIndex,
        req: u32,
        payload: PayloadId,
        digests: &Digests,
    ) {
        let source = &mut self.sources[index];
        source.on_bytes(desk.now, req, u32::MAX);
        let request = source.requests.remove(&req);
        let Some(Request { wanted: Wanted::Piece(piece), md5: Some(announced), length, asked_at, .. }) = request else {
            return desk.push(Output::DropPayload { payload });
        };
        source.on_piece(desk.now, length, asked_at);
        self.alive_at = desk.now;
        self.revive(desk, index);
        if self.picker.has(piece) {
            mark!(PieceSecond);
        }
        if self.picker.has(piece) || matches!(self.phase, Phase::Opening | Phase::Publishing | Phase::Over) {
            desk.push(Output::DropPayload { payload });
            return self.pump(desk);
        }
        match &mut self.phase {
            Phase::Proving(Some(proof)) if proof.source == index => {
                if self.manifest.is_some() {
                    self.judge(desk, index, piece, payload, digests, announced);
                } else {
                    proof.held = Some(Held { payload, digests: *digests, announced });
                }
            }
            // A former prover's last piece: there is nothing yet to judge it by.
            Phase::Proving(_) => {
                desk.push(Output::DropPayload { payload });
                self.picker.release(piece, index);
            }
            Phase::Fetching => self.judge(desk, index, piece, payload, digests, announced),
            Phase::Opening | Phase::Publishing | Phase::Over => {}
        }
    }

    fn judge(
        &mut self,
        desk: &mut Desk,
        index: SourceIndex,
        piece: u32,
        payload: PayloadId,
        digests: &Digests,
        announced: Md5,
    ) {
        let expected = match self.picker.len() {
            0 | 1 => Some(&self.order.root.0),
            _ => self.manifest.as_ref().and_then(|cvs| cvs.get(piece as usize)).map(|cv| &cv.0),
        };
        let verdict = judge(self.order.verify, digests, expected, announced);
        let source = &mut self.sources[index];
        match verdict {
            Verdict::Right => self.accept(desk, index, piece, payload),
            Verdict::WrongMd5 => {
                source.md5_misses += 1;
                let misses = source.md5_misses;
                self.accept(desk, index, piece, payload);
                if misses >= MD5_MISMATCHES_MAX {
                    let why = format!("announced a wrong MD5 for right bytes {misses} times");
                    self.drop_source(desk, index, true, &why);
                }
            }
            Verdict::Lie => {
                mark!(PieceLie);
                source.bad += 1;
                self.reject(desk, index, piece, payload);
                self.drop_source(desk, index, true, &format!("sent wrong bytes as piece {piece}"));
            }
            Verdict::LineFault => {
                mark!(PieceDamaged);
                source.bad += 1;
                let again = source.suspect.replace(piece).is_some();
                let claimed = self.reject(desk, index, piece, payload);
                if again {
                    let why = format!("sent damaged bytes twice, last as piece {piece}");
                    self.drop_source(desk, index, true, &why);
                } else if claimed && self.picker.claim(piece, index) {
                    self.ask(desk, index, Wanted::Piece(piece));
                }
            }
        }
    }

    /// Answers whether the source was still meant to send the piece.
    fn reject(&mut self, desk: &mut Desk, index: SourceIndex, piece: u32, payload: PayloadId) -> bool {
        desk.push(Output::DropPayload { payload });
        let claimed = self.picker.claimants(piece).contains(&index);
        self.picker.release(piece, index);
        claimed
    }

    fn accept(&mut self, desk: &mut Desk, index: SourceIndex, piece: u32, payload: PayloadId) {
        let download = self.order.id;
        if matches!(self.phase, Phase::Proving(_)) {
            self.phase = Phase::Fetching;
            if let Some(cvs) = self.manifest.clone() {
                desk.disk(DiskWork::StoreManifest { download, cvs });
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
                self.cancel(desk, other, req);
            }
        }
        let bytes = self.picker.length(piece);
        self.bytes += u64::from(bytes);
        let elapsed_ms = self.elapsed_ms(desk.now);
        // Told once it is written: whoever saw it told will find it after a kill.
        self.writing.insert(piece, ClientEvent::Piece { index: piece, source: addr, bytes, elapsed_ms });
        desk.disk(DiskWork::WritePiece { download, piece, payload });
        self.pump(desk);
    }
}
