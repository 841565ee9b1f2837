//! What a download requests from its sources, and how they answer: requests, takeovers of pieces,
//! cancels and messages. `pieces` handles the chunks.

use super::picker;
use super::proof::Failed;
use super::proving::last_piece;
use super::source::{Request, Source, Wanted, time_for};
use super::transfer::{Phase, Transfer};
use crate::config::{
    FRAME_BYTES_OPEN, MANIFEST_PAGE_CVS, PIECE_BYTES, PROTOCOL_VERSION, SOURCES_MAX, STALL_AFTER, STEAL_GAIN_MIN,
    TURN_LEAD_ASKED, WRITES_PENDING_MAX,
};
use crate::proto::event::SourceState;
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, SourceIndex, quoted};
use crate::proto::{Output, PieceOrder, Verify};
use crate::time::Time;
use crate::wire::Message;
use crate::wire::ids::Cv;
use crate::wire::message::{self, Cancel, ErrorCode, Get, Manifest, Welcome};
use crate::wire::message::{sent_by_super_peers, sent_to_sources, sent_to_super_peers};
use crate::wire::swarm::FEATURE_SWARM;

impl Transfer {
    // ---- asking ---------------------------------------------------------------------------------

    /// Does what can be done now: dials sources, begins the proof, and requests pieces.
    pub(super) fn pump(&mut self, cx: &mut Context) {
        match self.phase {
            Phase::Opening | Phase::Publishing | Phase::Over => {}
            Phase::Proving => {
                self.dial_more(cx);
                self.prove_more(cx);
            }
            Phase::Fetching => {
                self.dial_more(cx);
                self.fetch_more(cx);
            }
        }
    }

    /// Requests pieces from the active sources, first from those that have sent correct ones. If no
    /// source is active, requests pieces from those that have stalled.
    fn fetch_more(&mut self, cx: &mut Context) {
        let active = self.sources.iter().any(|source| source.state == SourceState::Active);
        let wanted = if active { SourceState::Active } else { SourceState::Stalled };
        for proven in [true, false] {
            for index in 0..self.sources.len() {
                let source = &self.sources[index];
                let waits = source.followed.as_ref().is_some_and(|followed| !followed.heard || self.swarm.on);
                if source.state == wanted && (source.pieces > 0) == proven && (active || !source.owes()) && !waits {
                    self.fill(cx, index);
                }
            }
        }
        if self.swarm.on {
            self.want_more(cx);
        }
    }

    /// Requests pieces from an active source, up to its depth.
    fn fill(&mut self, cx: &mut Context, index: SourceIndex) {
        let takes =
            |source: &&Source| source.state == SourceState::Active && (source.outstanding() > 0 || source.may_take());
        let active = self.sources.iter().filter(takes).count();
        loop {
            let source = &self.sources[index];
            if !source.may_take() {
                return;
            }
            let outstanding = source.outstanding();
            let depth = picker::depth(source.rate, self.picker.free(), outstanding, active);
            if outstanding >= depth || self.writing.len() + self.being_hashed() >= WRITES_PENDING_MAX {
                return;
            }
            let source = &self.sources[index];
            let free = match self.order.pieces {
                PieceOrder::Any => self.picker.take(index),
                PieceOrder::Sequential => {
                    let rate = self.rate(cx.now);
                    self.picker.take_in_order(index, rate, |_, piece| source.has(piece))
                }
            };
            let piece = match free {
                Some(piece) => piece,
                None if outstanding == 0 => match self.steal(cx, index) {
                    Some(piece) => piece,
                    None => return,
                },
                None => return,
            };
            self.ask(cx, index, Wanted::Piece(piece));
        }
    }

    /// The number of payloads that were received completely and whose digests are not known yet.
    pub(super) fn being_hashed(&self) -> usize {
        let complete = |request: &&Request| request.is_being_hashed();
        self.sources.iter().map(|source| source.requests.values().filter(complete).count()).sum()
    }

    /// Gives an idle source a piece of a source that is much slower. If the slow source has not
    /// begun the piece, the request is canceled there. If it has, the piece is requested from both
    /// sources. When one of them has sent it, the other request is canceled.
    pub(super) fn steal(&mut self, cx: &mut Context, index: SourceIndex) -> Option<u32> {
        let (piece, holder) = self.find_theft(index, cx.now)?;
        mark!(PieceStolen);
        self.picker.make_room(piece, holder);
        let victim = &self.sources[holder];
        let begun = victim.requests.values().find(|request| request.is_outstanding());
        let is_first = begun.is_none_or(|request| request.wanted == Wanted::Piece(piece));
        if let Some((req, request)) = victim.request_for(piece)
            && request.md5.is_none()
            && !is_first
        {
            self.cancel(cx, holder, req);
            self.picker.release(piece, holder);
        }
        self.picker.claim(piece, index).then_some(piece)
    }

    /// The piece that an idle source could take over, and its slowest holder.
    pub(super) fn find_theft(&self, index: SourceIndex, now: Time) -> Option<(u32, SourceIndex)> {
        let rates: Vec<u64> = self.sources.iter().filter_map(|source| source.rate).collect();
        let mean = (!rates.is_empty()).then(|| rates.iter().sum::<u64>() / rates.len() as u64);
        let rate = self.sources[index].rate;
        // If the rate of a source is unknown, it is assumed to be fast enough to take a piece from
        // a slow source.
        let mine = |piece| rate.map_or(STALL_AFTER, |rate| time_for(u64::from(self.picker.length(piece)), rate));
        let left = |holder: SourceIndex, piece| match self.is_silent(holder, now) {
            true => None,
            false => self.sources[holder].time_until(piece, mean),
        };
        let gain = if self.swarm.on { self.theft_gain(now) } else { STEAL_GAIN_MIN };
        let thief = &self.sources[index];
        self.picker.theft_of(index, (|piece| thief.has(piece), gain), mine, left)
    }

    /// Takes from a stalled source the pieces that it has not begun, if another source is active.
    pub(super) fn relieve(&mut self, cx: &mut Context, index: SourceIndex) {
        let helped = self.sources.iter().any(|source| source.state == SourceState::Active && source.pieces > 0);
        if !helped || !matches!(self.phase, Phase::Fetching) {
            return;
        }
        mark!(StalledRelieved);
        let outstanding = self.sources[index].requests.iter().filter(|(_, request)| request.is_outstanding());
        let waiting: Vec<_> = outstanding.skip(1).map(|(req, request)| (*req, request.wanted)).collect();
        for (req, wanted) in waiting {
            self.cancel(cx, index, req);
            if let Wanted::Piece(piece) = wanted {
                self.picker.release(piece, index);
            }
        }
    }

    pub(super) fn ask(&mut self, cx: &mut Context, index: SourceIndex, wanted: Wanted) {
        let root = self.order.root;
        let source = &mut self.sources[index];
        let Some(conn) = source.conn else { return };
        let req = self.next_req;
        self.next_req = self.next_req.wrapping_add(1);
        if !source.owes() {
            source.begin_to_owe(cx.now);
        }
        let (offset, length) = match wanted {
            Wanted::Page(_) => (0, u32::try_from(MANIFEST_PAGE_CVS * Cv::LEN).unwrap_or(u32::MAX)),
            Wanted::Last(size) => range_of(last_piece(size), size),
            Wanted::Piece(piece) => range_of(piece, self.size),
        };
        let message = match wanted {
            Wanted::Page(first) => Message::Manifest(Manifest { req, root, first }),
            Wanted::Last(_) | Wanted::Piece(_) => {
                Message::Get(Get { req, root, offset, length, bare: self.order.verify == Verify::Blake3 })
            }
        };
        let lead = source.lead(self.swarm.round_trip.lead(TURN_LEAD_ASKED));
        let (md5, received, canceled) = (None, 0, false);
        let request = Request { wanted, asked_at: cx.now, md5, offset, length, received, lead, canceled };
        source.requests.insert(req, request);
        cx.send(conn, message);
    }

    pub(super) fn cancel(&mut self, cx: &mut Context, index: SourceIndex, req: u32) {
        let source = &mut self.sources[index];
        if source.cancel(req)
            && let Some(conn) = source.conn
        {
            cx.send(conn, Message::Cancel(Cancel { req }));
        }
    }

    // ---- answers --------------------------------------------------------------------------------

    pub(super) fn on_message(&mut self, cx: &mut Context, index: SourceIndex, message: Message) {
        match message {
            Message::Welcome(welcome) => self.on_welcome(cx, index, &welcome),
            Message::Chunk(chunk) => self.on_chunk(cx, index, chunk),
            Message::Cvs(page) => self.on_page(cx, index, &page),
            Message::Error(error) => self.on_error(cx, index, &error),
            Message::Has(has) => self.on_has(cx, index, has),
            Message::Turn(turn) => self.on_turn(cx, index, &turn),
            Message::Bye(bye) => self.lose(cx, index, &format!("said goodbye: {}", quoted(&bye.why))),
            Message::Unknown(kind) => {
                if let Some(conn) = self.sources[index].conn {
                    cx.unknown_kind(conn, &kind);
                }
            }
            Message::Hello(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_to_sources!() => {
                self.drop_source(cx, index, &format!("sent {} unasked", message.kind()));
            }
        }
    }

    fn on_welcome(&mut self, cx: &mut Context, index: SourceIndex, welcome: &Welcome) {
        let SourceState::Connecting = self.sources[index].state else {
            return self.drop_source(cx, index, "sent a second WELCOME");
        };
        if welcome.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("speaks version {} of the protocol", welcome.version[0]);
            return self.drop_source(cx, index, &why);
        }
        // A peer uses itself as a source only if there is no other: then the content is copied to
        // another place.
        if welcome.node == cx.node && self.sources.len() + self.order.pool.len() > 1 {
            return self.drop_source(cx, index, "is this peer itself");
        }
        let source = &mut self.sources[index];
        source.uncount(cx, true);
        source.swarms = welcome.features.iter().any(|feature| feature == FEATURE_SWARM);
        (source.welcomed, source.refused, source.node) = (true, false, Some(welcome.node));
        if let Some(twin) = self.twin_of(index, cx.now) {
            let why = format!("is the same peer as {twin}");
            return self.lose(cx, index, &why);
        }
        let active = self.sources.iter().filter(|source| source.state == SourceState::Active).count();
        if active >= SOURCES_MAX {
            return self.lose(cx, index, "is not needed at present");
        }
        if let Some(conn) = self.sources[index].conn {
            cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        }
        self.reached = true;
        self.sources[index].progress_at = cx.now;
        self.set_state(cx, index, SourceState::Active, None);
        self.follow(cx, index);
        self.pump(cx);
    }

    fn on_error(&mut self, cx: &mut Context, index: SourceIndex, error: &message::Error) {
        let message = quoted(&error.message);
        let Some(req) = error.req else {
            self.sources[index].refused = error.code == ErrorCode::BUSY;
            return match error.code {
                ErrorCode::VERSION => self.drop_source(cx, index, &message),
                _ => self.lose(cx, index, &message),
            };
        };
        if self.sources[index].followed.as_ref().is_some_and(|followed| followed.is_of(req)) {
            return self.on_follow_refused(cx, index, error.code, &message);
        }
        if self.sources[index].requests.get(&req).is_some_and(|request| request.md5.is_some()) {
            return self.drop_source(cx, index, "answered a request with a chunk and an error");
        }
        let Some(request) = self.sources[index].requests.remove(&req) else { return };
        if request.canceled {
            return;
        }
        match request.wanted {
            Wanted::Piece(piece) => self.picker.release(piece, index),
            // The size may be a false claim of a hit, so the source is asked for the size.
            Wanted::Last(_) if error.code == ErrorCode::BAD_REQUEST && self.sources[index].stated.is_none() => {
                return self.ask_size(cx, index, Failed::Refused(format!("refused a request: {message}")));
            }
            Wanted::Last(_) | Wanted::Page(_) => {}
        }
        match error.code {
            ErrorCode::NOT_FOUND if self.on_absent(cx, index, request.wanted) => self.pump(cx),
            // The source has not said which pieces it has.
            ErrorCode::NOT_FOUND if self.sources[index].refused && self.sources[index].followed.is_none() => {
                self.rest(cx, index, "does not have that piece, and takes no more followers");
                self.pump(cx);
            }
            ErrorCode::NOT_FOUND => {
                mark!(SourceHasNot);
                self.drop_gone(cx, index, "does not have it any more");
            }
            ErrorCode::CHANGED => {
                mark!(SourceChanged);
                self.drop_gone(cx, index, "has changed that file, or cannot read it");
            }
            ErrorCode::BAD_REQUEST => self.drop_source(cx, index, &format!("refused a request: {message}")),
            _ => self.lose(cx, index, &message),
        }
    }
}

/// The offset and length of a piece in a content of this size.
fn range_of(piece: u32, size: u64) -> (u64, u32) {
    let offset = u64::from(piece) * PIECE_BYTES;
    (offset, u32::try_from(size.saturating_sub(offset).min(PIECE_BYTES)).unwrap_or(u32::MAX))
}
