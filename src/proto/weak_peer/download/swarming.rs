//! A download among others that fetch the same content: it follows sources that have a part of it,
//! and knows which pieces may be fetched from each of them. `wanting` requests turns.

use std::time::Duration;

use super::followed::{Followed, Given};
use super::source::{Request, Source, Wanted};
use super::transfer::{Phase, Transfer};
use crate::config::{
    ABSENT_MAX, ANSWER_DEADLINE, FOLLOWS_MIN, JOIN_PATIENCE, PIECE_BYTES, POOR_AFTER, REFOLLOW_INTERVAL, SILENT_MIN,
    STEAL_GAIN_SWARM, SWARM_TICK, ZONE_PATIENCE,
};
use crate::proto::Verify;
use crate::proto::event::SourceState;
use crate::proto::marks::mark;
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::context::{Context, Reason, SourceIndex};
use crate::proto::weak_peer::download::source::time_for;
use crate::proto::weak_peer::swarm::pieces::Pieces;
use crate::proto::weak_peer::swarm::step::Step;
use crate::time::Time;
use crate::wire::Message;
use crate::wire::message::ErrorCode;
use crate::wire::swarm::{Follow, Gateway, Has, Peers};

/// What may be fetched from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cross {
    /// All that it has.
    Any,
    /// Pieces that no source in the zone of this peer has.
    Away,
    None,
}

impl Source {
    /// Pieces that were requested from it, except those that are nearly here. For a stalled source
    /// it is 0, because other sources use the bandwidth in its place.
    pub(super) fn fetches(&self) -> usize {
        let fills = |request: &&Request| !request.canceled && !request.is_nearly_here();
        match self.state {
            SourceState::Stalled => 0,
            SourceState::Idle
            | SourceState::Connecting
            | SourceState::Active
            | SourceState::Lost
            | SourceState::Dropped => self.requests.values().filter(fills).count(),
        }
    }

    /// Whether pieces are requested from it and are not judged.
    pub(super) fn is_awaited(&self) -> bool {
        self.state != SourceState::Stalled && self.requests.values().any(|request| !request.canceled)
    }

    /// Whether it has announced this piece. A source that is not followed has all.
    pub(super) fn has(&self, piece: u32) -> bool {
        self.followed.as_ref().is_none_or(|followed| followed.pieces.has(piece))
    }

    /// Whether it can be asked for the proof.
    pub(super) fn may_prove(&self) -> bool {
        self.followed.as_ref().is_none_or(|followed| !followed.heard || followed.manifest)
    }

    /// Whether it has only a part of the content, and has announced this piece.
    pub(super) fn has_in_part(&self, piece: u32) -> bool {
        self.partial().is_some_and(|followed| followed.pieces.has(piece))
    }

    fn partial(&self) -> Option<&Followed> {
        self.followed.as_ref().filter(|followed| followed.heard && !followed.pieces.is_full())
    }
}

impl Transfer {
    // ---- members --------------------------------------------------------------------------------

    /// Whether it may have more than one piece.
    pub(super) fn may_swarm(&self) -> bool {
        !self.order.is_small && (self.size == 0 || self.size > PIECE_BYTES)
    }

    /// Asks the super peers which peers fetch the same content. A download that may use only one
    /// source does not ask, nor one that does not compare its pieces with the manifest: others
    /// would get pieces that are not verified.
    pub(super) fn join(&mut self, cx: &mut Context) {
        if !self.may_swarm() || self.order.only || self.order.verify == Verify::Md5 {
            return;
        }
        self.swarm.joined = true;
        cx.holdings.begin(self.order.root, self.order.id);
        let Transfer { order, size, .. } = self;
        let (download, root, name) = (order.id, order.root, order.name.clone());
        cx.swarm_steps.push_back(Step::Join { download, root, size: *size, name });
    }

    /// A super peer was asked. No source is dialed until it answers, or [`JOIN_PATIENCE`] is over.
    pub(super) fn on_joined(&mut self, cx: &mut Context) {
        if self.swarm.members == 0 {
            self.swarm.asked_at = Some(cx.now);
            cx.timers.set(Reason::Swarm(self.order.id), cx.now + JOIN_PATIENCE);
        }
    }

    /// Offers to others the pieces of an earlier run, which the disk has hashed again.
    pub(super) fn offer_resumed(&mut self, cx: &mut Context, verified: &[u32], proves: bool) {
        let (root, download) = (self.order.root, self.order.id);
        for &piece in verified.iter().filter(|piece| self.picker.has(**piece)) {
            cx.holdings.add(root, download, (piece, None));
            if piece + 1 == self.pieces() {
                cx.holdings.prove(root, download);
            }
        }
        if proves && self.is_proven {
            cx.holdings.prove(root, download);
        }
    }

    /// The download ends. If it is complete, others are served for a while.
    pub(super) fn end_swarm(&mut self, cx: &mut Context, is_published: bool) {
        if self.size > 0 && self.size <= PIECE_BYTES && !self.swarm.joined {
            return;
        }
        let (download, root) = (self.order.id, self.order.root);
        if is_published && cx.holdings.is_of(root, download) {
            cx.set_lingers(true);
        }
        cx.swarm_steps.push_back(match is_published {
            true => Step::Finished { download, root },
            false => Step::Failed { download, root },
        });
    }

    /// Whether dials wait for the answer of a super peer.
    pub(super) fn waits_for_members(&self, now: Time) -> bool {
        self.swarm.asked_at.is_some_and(|asked| now.since(asked) < JOIN_PATIENCE)
    }

    /// No super peer will name members.
    pub(super) fn on_join_refused(&mut self, cx: &mut Context) {
        self.swarm.asked_at = None;
        self.pump(cx);
    }

    /// A super peer names some members, and reports how many there are, and how many of these have
    /// the complete content.
    pub(super) fn on_members(&mut self, cx: &mut Context, peers: &Peers, named: Vec<Contact>) {
        let Peers { n: members, full, gateway, .. } = *peers;
        self.swarm.asked_at = None;
        (self.swarm.members, self.swarm.full) = (members, full);
        self.set_gateway(gateway);
        let is_first = self.swarm.named_at.is_none() && !named.is_empty();
        // Without others that fetch it, nobody would pass pieces on, and only few complete holders
        // are named: all sources of the search are used.
        let is_shared = members.saturating_sub(full) > 1;
        if is_first && is_shared && !self.sources.iter().any(|source| source.state == SourceState::Active) {
            // The members pass pieces on to each other. Without this, each of them would dial the
            // sources of the search.
            self.swarm.reserve = std::mem::take(&mut self.order.pool);
            self.swarm.named_at = Some(cx.now);
        }
        // No member has claimed the size that hits claim.
        let found = named.into_iter().map(|member| (member, None)).collect();
        if is_shared {
            self.begin_swarm(cx);
        }
        self.add_sources(cx, found);
    }

    /// Uses the sources of the search, which were kept back in favor of the members.
    pub(super) fn use_reserve(&mut self, cx: &mut Context) {
        let reserve = std::mem::take(&mut self.swarm.reserve);
        let found = reserve.iter().map(|one| (one.at.clone(), one.size)).collect();
        self.add_sources(cx, found);
    }

    /// Others fetch the same content, so turns are requested from now on.
    fn begin_swarm(&mut self, cx: &mut Context) {
        if self.swarm.on || !self.may_swarm() {
            return;
        }
        mark!(SwarmBegan);
        self.swarm.on = true;
        self.loosen(cx);
        // Pieces that were requested in advance become free for other sources.
        for index in 0..self.sources.len() {
            if self.sources[index].followed.is_some() {
                self.take_back(cx, index);
            }
        }
        cx.timers.set(Reason::Swarm(self.order.id), cx.now + SWARM_TICK);
    }

    /// Cancels the requests for pieces that a source has not begun, except the first request.
    fn take_back(&mut self, cx: &mut Context, index: SourceIndex) {
        let outstanding = self.sources[index].requests.iter().filter(|(_, request)| request.is_outstanding());
        let waiting: Vec<_> = outstanding.skip(1).map(|(req, request)| (*req, request.wanted)).collect();
        for (req, wanted) in waiting {
            if let Wanted::Piece(piece) = wanted {
                self.cancel(cx, index, req);
                self.picker.release(piece, index);
            }
        }
    }

    /// Gives the picker a random order of the pieces, and counts the sources of each piece.
    pub(super) fn loosen(&mut self, cx: &mut Context) {
        if !self.swarm.on || !self.is_proven {
            return;
        }
        let mut draw = |below: usize| cx.draw(below);
        self.picker.loosen(&mut draw);
        for source in self.sources.iter().filter(|source| source.pieces > 0) {
            if let Some(followed) = source.partial() {
                followed.count(&mut self.picker, true);
            }
        }
        self.look();
    }

    // ---- following ------------------------------------------------------------------------------

    pub(super) fn follow(&mut self, cx: &mut Context, index: SourceIndex) {
        let many = self.may_swarm();
        let source = &mut self.sources[index];
        let (Some(conn), true) = (source.conn, source.swarms && many) else { return };
        let (req, root) = (self.next_req, self.order.root);
        self.next_req = self.next_req.wrapping_add(1);
        let (heard, pieces, manifest, is_out) = (false, Pieces::default(), false, false);
        let (useful, wanted, wanted_at, needed, absent) = (0, 0, cx.now, false, 0);
        let given = Given::default();
        source.followed =
            Some(Followed { req, heard, pieces, manifest, is_out, useful, wanted, given, wanted_at, needed, absent });
        source.progress_at = cx.now;
        cx.send(conn, Message::Follow(Follow { req, root, zone: cx.zone.clone() }));
    }

    /// The source refuses to be followed, or ends it.
    pub(super) fn on_follow_refused(&mut self, cx: &mut Context, index: SourceIndex, code: ErrorCode, why: &str) {
        match code {
            ErrorCode::NOT_FOUND => {
                mark!(SourceHasNot);
                self.drop_gone(cx, index, "does not have it any more");
            }
            // Nothing comes from other sources, and peers that fetch nothing may have all places
            // for followers of this one. So requests are sent to it without FOLLOW.
            ErrorCode::BUSY if cx.now.since(self.good_at) >= ANSWER_DEADLINE => {
                self.unfollow(index);
                self.sources[index].refused = true;
                self.pump(cx);
            }
            // It has as many followers as it takes; later there may be room.
            ErrorCode::BUSY => {
                self.sources[index].refused = true;
                self.rest(cx, index, why);
                self.pump(cx);
            }
            _ => self.lose(cx, index, why),
        }
    }

    pub(super) fn on_has(&mut self, cx: &mut Context, index: SourceIndex, has: Has) {
        let Some(followed) = &mut self.sources[index].followed else {
            return self.drop_source(cx, index, "sent HAS unasked");
        };
        if followed.req != has.req {
            return;
        }
        self.note_changes();
        let (proven, pieces) = (self.sources[index].pieces > 0, self.pieces());
        let Some(followed) = &mut self.sources[index].followed else { return };
        let was_full = followed.pieces.is_full();
        let (was_heard, was_useful, was_manifest) = (followed.heard, followed.useful > 0, followed.manifest);
        if !std::mem::replace(&mut followed.heard, true) {
            // A peer without a zone regards all sources as equally near.
            followed.is_out = cx.zone.is_some() && has.zone != cx.zone;
        }
        followed.manifest |= has.manifest;
        let bits = has.bits.iter().zip((u64::from(has.from)..).step_by(8)).filter(|(byte, _)| **byte != 0);
        for (byte, first) in bits {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                followed.add(u32::try_from(first + bit).unwrap_or(u32::MAX), &mut self.picker, proven);
            }
        }
        has.add.iter().for_each(|piece| followed.add(*piece, &mut self.picker, proven));
        for &piece in &has.gone {
            followed.remove(piece, &mut self.picker, proven);
        }
        if has.full && !was_full {
            if proven {
                followed.count(&mut self.picker, false);
            }
            followed.pieces.fill();
            followed.manifest = true;
            followed.look(&self.picker);
        }
        let beyond = self.is_proven && !followed.pieces.is_full() && !followed.pieces.is_below(pieces);
        let is_partial = !followed.pieces.is_full();
        let (is_useful, manifest) = (followed.useful > 0, followed.manifest);
        if beyond {
            return self.drop_liar(cx, index, "announces a piece that the content does not have");
        }
        if is_partial {
            self.begin_swarm(cx);
        }
        // Most announcements change nothing: the pieces are here already, or the source had others
        // before.
        let is_same = was_heard && was_useful == is_useful && was_full != is_partial && was_manifest == manifest;
        if !(is_same && self.swarm.on && matches!(self.phase, Phase::Fetching) && cx.zone.is_none()) {
            self.pump(cx);
        }
    }

    fn pieces(&self) -> u32 {
        u32::try_from(self.picker.len()).unwrap_or(u32::MAX)
    }

    /// The size is proven: drops those that have announced more.
    pub(super) fn check_announced(&mut self, cx: &mut Context) {
        let pieces = self.pieces();
        for index in 0..self.sources.len() {
            let followed = self.sources[index].followed.as_ref();
            if followed.is_some_and(|followed| !followed.pieces.is_full() && !followed.pieces.is_below(pieces)) {
                self.drop_liar(cx, index, "announces a piece that the content does not have");
            }
        }
        self.loosen(cx);
    }

    /// A followed source answers that it does not have what was requested. Returns whether it is
    /// still used.
    pub(super) fn on_absent(&mut self, cx: &mut Context, index: SourceIndex, wanted: Wanted) -> bool {
        self.note_changes();
        let proven = self.sources[index].pieces > 0;
        let Some(followed) = self.sources[index].followed.as_mut() else { return false };
        if followed.pieces.is_full() {
            return false;
        }
        followed.absent += 1;
        if followed.absent >= ABSENT_MAX {
            return false;
        }
        match wanted {
            Wanted::Piece(piece) => {
                followed.remove(piece, &mut self.picker, proven);
            }
            Wanted::Page(_) | Wanted::Last(_) => {
                followed.manifest = false;
                self.forget_proof(cx, index);
            }
        }
        true
    }

    /// The source has sent its first right piece: the pieces that it announces are counted.
    pub(super) fn believe(&mut self, index: SourceIndex) {
        if let Some(followed) = self.sources[index].partial() {
            followed.count(&mut self.picker, true);
        }
    }

    /// The connection of a source ends.
    pub(super) fn unfollow(&mut self, index: SourceIndex) {
        if self.sources[index].pieces > 0
            && let Some(followed) = self.sources[index].partial()
        {
            followed.count(&mut self.picker, false);
        }
        self.sources[index].followed = None;
    }

    /// Updates the number of free pieces of each source after pieces have become free or not free.
    pub(super) fn note_changes(&mut self) {
        for (changes, out) in [(self.picker.take_changes(), false), (self.picker.take_away_changes(), true)] {
            for (piece, more) in changes {
                let followed = self.sources.iter_mut().filter_map(|source| source.followed.as_mut());
                for followed in followed.filter(|followed| followed.is_out == out && followed.pieces.has(piece)) {
                    followed.useful = followed.useful.saturating_add_signed(if more { 1 } else { -1 });
                }
            }
        }
    }

    // ---- zones ----------------------------------------------------------------------------------

    /// A super peer says which gateway of its zone this peer is.
    fn set_gateway(&mut self, gateway: Option<Gateway>) {
        if std::mem::replace(&mut self.swarm.gateway, gateway) != gateway {
            self.picker.set_own(self.own_pieces());
            self.look();
        }
    }

    /// The pieces that this peer fetches from other zones as a gateway: the remainder of their
    /// numbers, and the divisor.
    pub(super) fn own_pieces(&self) -> (u32, u32) {
        self.swarm.gateway.map_or((0, 1), |gateway| (gateway.number.into(), gateway.of.into()))
    }

    /// Counts the useful pieces of each source.
    fn look(&mut self) {
        self.picker.take_changes();
        self.picker.take_away_changes();
        for followed in self.sources.iter_mut().filter_map(|source| source.followed.as_mut()) {
            followed.look(&self.picker);
        }
    }

    /// What may be fetched from a source. If the source is in another zone, only a gateway fetches
    /// from it, and only what no source in its own zone has. While a source in another zone has a
    /// part of the content, a gateway fetches nothing from complete sources in other zones, because
    /// these send each piece into their own zones first. A peer that receives nothing fetches from
    /// any zone.
    pub(super) fn may_cross(&self, index: SourceIndex, now: Time) -> Cross {
        fn followed(source: &Source) -> Option<&Followed> {
            source.followed.as_ref().filter(|followed| followed.heard)
        }
        let of_other_zone = self.sources[index].followed.as_ref().filter(|followed| followed.is_out);
        let Some(other) = of_other_zone.filter(|_| self.swarm.on && !self.starves(ZONE_PATIENCE, now)) else {
            return Cross::Any;
        };
        let has_all = |source: &Source| {
            source.pieces > 0 && followed(source).is_some_and(|one| !one.is_out && one.pieces.is_full())
        };
        let passes_on = |source: &Source| {
            source.state == SourceState::Active
                && followed(source).is_some_and(|one| one.is_out && !one.pieces.is_full())
        };
        let is_spared = other.pieces.is_full() && self.sources.iter().any(passes_on);
        if self.swarm.gateway.is_none() || is_spared || self.sources.iter().any(has_all) {
            return Cross::None;
        }
        Cross::Away
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Whether no piece is requested for this long, or the rate is far below the best one.
    pub(super) fn starves(&self, least: Duration, now: Time) -> bool {
        let piece = self.piece_time(now);
        let idle = self.swarm.idle_since.is_some_and(|since| now.since(since) >= least.max(piece * 4));
        idle || self.is_poor(now)
    }

    /// Whether the rate has been far below the best one for a while.
    fn is_poor(&self, now: Time) -> bool {
        self.swarm.poor_since.is_some_and(|since| now.since(since) >= POOR_AFTER)
    }

    /// How long a piece takes at the rate of all sources.
    fn piece_time(&self, now: Time) -> Duration {
        let rate = self.rate(now);
        if rate == 0 { Duration::ZERO } else { time_for(PIECE_BYTES, rate) }
    }

    /// The least time that a theft must save.
    pub(super) fn theft_gain(&self, now: Time) -> Duration {
        STEAL_GAIN_SWARM.max(self.piece_time(now) * 2)
    }

    /// Whether a source that has begun a piece sends nothing for many piece times.
    pub(super) fn is_silent(&self, index: SourceIndex, now: Time) -> bool {
        let silence = SILENT_MIN.max(self.piece_time(now) * 8);
        self.swarm.on && self.sources[index].followed.is_some() && now.since(self.sources[index].progress_at) >= silence
    }

    pub(super) fn on_swarm_tick(&mut self, cx: &mut Context) {
        let now = cx.now;
        if self.swarm.asked_at.is_some() && !self.waits_for_members(now) {
            self.swarm.asked_at = None;
        }
        let since = self.swarm.named_at.filter(|named| now.since(*named) >= JOIN_PATIENCE);
        // The other sources are used as well if the members have not sent all of the proof, or send
        // far less than they did before.
        let fails = || {
            !self.is_proven
                || self.good_at <= self.started_at
                || !self.sources.iter().any(Source::is_awaited)
                || self.is_poor(now)
        };
        if since.is_some() && fails() {
            self.use_reserve(cx);
        }
        self.ask_for_more(cx);
        let rate = self.rate(now);
        self.swarm.best_rate = self.swarm.best_rate.max(rate);
        let is_poor = rate < self.swarm.best_rate / 2;
        self.swarm.poor_since = if is_poor { self.swarm.poor_since.or(Some(now)) } else { None };
        if matches!(self.phase, Phase::Fetching) && self.swarm.on {
            self.want_thefts(cx);
            self.ask_without_turn(cx);
        }
        self.pump(cx);
        if matches!(self.phase, Phase::Opening | Phase::Proving | Phase::Fetching)
            && (self.swarm.on || self.swarm.named_at.is_some())
        {
            cx.timers.set(Reason::Swarm(self.order.id), now + SWARM_TICK);
        }
    }

    /// Sources have missing pieces, but none has given a turn for long: requests a piece from each
    /// of them without a turn. One that does not answer is lost like any other source.
    fn ask_without_turn(&mut self, cx: &mut Context) {
        let now = cx.now;
        let is_long = |since: Time| now.since(since) >= ANSWER_DEADLINE;
        if !self.swarm.idle_since.is_some_and(is_long) {
            return;
        }
        for index in 0..self.sources.len() {
            let followed = self.sources[index].followed.as_ref();
            let waits = followed.is_some_and(|followed| followed.wanted > 0 && is_long(followed.wanted_at));
            if waits && let Some(piece) = self.choose(cx, index, &[]) {
                self.ask(cx, index, Wanted::Piece(piece));
            }
        }
    }

    /// Asks the super peers for other members if it follows too few.
    fn ask_for_more(&mut self, cx: &mut Context) {
        let is_followed = |source: &&Source| source.state == SourceState::Active && source.followed.is_some();
        let followed = self.sources.iter().filter(is_followed).count();
        let others = self.swarm.members.saturating_sub(1) as usize;
        let waited = self.swarm.short_at.is_none_or(|at| cx.now.since(at) >= REFOLLOW_INTERVAL);
        if self.swarm.on && followed < FOLLOWS_MIN.min(others) && self.order.pool.is_empty() && waited {
            self.swarm.short_at = Some(cx.now);
            cx.swarm_steps.push_back(Step::Short { download: self.order.id });
        }
    }

    /// If a source has no free piece, requests a turn from it for a piece that another source sends
    /// too slowly.
    fn want_thefts(&mut self, cx: &mut Context) {
        self.note_changes();
        for index in 0..self.sources.len() {
            let source = &self.sources[index];
            let Some(followed) = source.followed.as_ref().filter(|followed| followed.heard) else { continue };
            let is_free = source.state == SourceState::Active && followed.useful == 0 && followed.wanted == 0;
            if is_free
                && self.may_cross(index, cx.now) == Cross::Any
                && source.outstanding() == 0
                && self.find_theft(index, cx.now).is_some()
                && let Some(conn) = source.conn
            {
                self.send_want(cx, index, (conn, 1, true));
            }
        }
    }
}
