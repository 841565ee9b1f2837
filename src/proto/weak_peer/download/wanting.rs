//! The turns that a download in a swarm requests, and the piece that it chooses when a turn comes.
//! Of the pieces that a source has, it takes those that the source advises, and then the one that
//! the fewest sources have, counting only sources that have sent right pieces. With `--order
//! sequential` it mostly takes the next missing piece.

use super::picker::Picker;
use super::source::{Source, Wanted};
use super::swarming::Cross;
use super::transfer::{Phase, Transfer};
use crate::config::{SEQUENTIAL_OTHER_EVERY, SILENT_MIN, WRITES_PENDING_MAX};
use crate::proto::event::SourceState;
use crate::proto::weak_peer::context::{Context, SourceIndex};
use crate::proto::{ConnId, PieceOrder};
use crate::wire::Message;
use crate::wire::swarm::{Turn, Want};

impl Transfer {
    /// Requests from each followed source as many turns as there is room for, and gives back those
    /// for which there is no room any more, so that each turn that comes can be used at once.
    pub(super) fn want_more(&mut self, cx: &mut Context) {
        self.note_changes();
        let places = self.swarm.width.now();
        let free = places.saturating_sub(self.fetches());
        let has_room = self.writing.len() + self.being_hashed() < WRITES_PENDING_MAX;
        // As long as others have something for it, rare pieces spread without the complete holders.
        let orphans = self.picker.orphans();
        let lacks_others = orphans > 0 && orphans == self.picker.free();
        let starves = self.starves(SILENT_MIN, cx.now);
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let Some(followed) = source.followed.as_ref().filter(|followed| followed.heard) else { continue };
            let (Some(conn), true) = (source.conn, source.state == SourceState::Active) else { continue };
            let own = source.fetches();
            let is_useful = match self.may_cross(index, cx.now) {
                Cross::None => false,
                Cross::Away => followed.useful > 0,
                Cross::Any => followed.useful > 0 || followed.is_out && self.picker.has_free(|piece| source.has(piece)),
            };
            let may = is_useful && source.may_take() && own < places && has_room;
            let n = if may { u8::try_from(free.min(places - own)).unwrap_or(1) } else { 0 };
            let need = followed.pieces.is_full() && (lacks_others || starves);
            if n != followed.wanted || (n > 0 && need && !followed.needed) {
                self.send_want(cx, index, (conn, n, need));
            }
        }
        let is_busy = self.sources.iter().any(Source::is_awaited);
        self.swarm.idle_since = if is_busy { None } else { self.swarm.idle_since.or(Some(cx.now)) };
    }

    /// A piece is nearly here: the next turn is requested.
    pub(super) fn on_nearly_here(&mut self, cx: &mut Context) {
        if self.swarm.on && matches!(self.phase, Phase::Fetching) {
            self.want_more(cx);
        }
    }

    pub(super) fn send_want(&mut self, cx: &mut Context, index: SourceIndex, (conn, n, need): (ConnId, u8, bool)) {
        let Some(followed) = self.sources[index].followed.as_mut() else { return };
        (followed.wanted, followed.wanted_at, followed.needed) = (n, cx.now, need);
        followed.given.on_want(n);
        cx.send(conn, Message::Want(Want { req: followed.req, n, need }));
    }

    /// Pieces that are requested and use bandwidth.
    fn fetches(&self) -> usize {
        self.sources.iter().map(Source::fetches).sum()
    }

    pub(super) fn on_turn(&mut self, cx: &mut Context, index: SourceIndex, turn: &Turn) {
        let Some(followed) = &mut self.sources[index].followed else {
            return self.drop_source(cx, index, "sent TURN unasked");
        };
        if followed.req != turn.req {
            return;
        }
        (followed.wanted, followed.wanted_at) = (followed.wanted.saturating_sub(1), cx.now);
        if followed.given.on_turn() {
            return self.drop_source(cx, index, "gave more turns than were asked for");
        }
        match self.choose(cx, index, &turn.next) {
            Some(piece) => self.ask(cx, index, Wanted::Piece(piece)),
            None => {
                if let Some(conn) = self.sources[index].conn {
                    self.send_want(cx, index, (conn, 0, false));
                }
            }
        }
        self.want_more(cx);
    }

    /// The piece for a turn.
    pub(super) fn choose(&mut self, cx: &mut Context, index: SourceIndex, advice: &[u32]) -> Option<u32> {
        let source = &self.sources[index];
        let has_room = self.writing.len() + self.being_hashed() < WRITES_PENDING_MAX;
        let is_ready = matches!(self.phase, Phase::Fetching) && source.state == SourceState::Active;
        if !is_ready || !has_room || !source.may_take() {
            return None;
        }
        if self.fetches() >= self.swarm.width.now() {
            return None;
        }
        let cross = self.may_cross(index, cx.now);
        if cross == Cross::None {
            return None;
        }
        let fits = |picker: &Picker<SourceIndex>, piece: u32| {
            picker.is_free(piece) && source.has(piece) && (cross == Cross::Any || picker.is_away(piece))
        };
        let aimed = self.picker.aimed(fits);
        if let Some(piece) = aimed {
            self.picker.claim(piece, index);
            return Some(piece);
        }
        if self.order.pieces == PieceOrder::Sequential {
            self.swarm.picks += 1;
            let rate = self.rate(cx.now);
            if !self.swarm.picks.is_multiple_of(SEQUENTIAL_OTHER_EVERY)
                && let Some(piece) = self.picker.take_in_order(index, rate, fits)
            {
                return Some(piece);
            }
        }
        if let Some(&piece) = advice.iter().find(|piece| fits(&self.picker, **piece)) {
            self.picker.claim(piece, index);
            return Some(piece);
        }
        let rarest = self.picker.take_rarest(index, fits);
        if rarest.is_none() && cross == Cross::Any { self.steal(cx, index) } else { rarest }
    }
}
