//! What a download knows of its swarm, and of each source that it follows. It decides nothing.

use super::picker::Picker;
use super::pool::Pool;
use crate::proto::weak_peer::context::SourceIndex;
use crate::proto::weak_peer::swarm::pieces::Pieces;
use crate::proto::weak_peer::swarm::width::Width;
use crate::time::Time;
use crate::wire::swarm::Gateway;

/// What a download knows of its swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    /// It has asked to join.
    pub(super) joined: bool,
    /// Others fetch the same content, so turns are requested.
    pub(super) on: bool,
    /// When it asked its super peers for members; none once one has answered.
    pub(super) asked_at: Option<Time>,
    /// When members were named first.
    pub(super) named_at: Option<Time>,
    /// The number of members, and of those that have the complete content, as a super peer reports
    /// them.
    pub(super) members: u32,
    pub(super) full: u32,
    /// This peer is a gateway: it fetches from other zones for its own.
    pub(super) gateway: Option<Gateway>,
    /// Hits of a search: dialed only if members send nothing.
    pub(super) reserve: Pool,
    /// When it last asked for further members.
    pub(super) short_at: Option<Time>,
    /// Pieces that were chosen in order.
    pub(super) picks: u32,
    /// How many pieces are fetched at once.
    pub(super) width: Width,
    /// Since when no piece is requested.
    pub(super) idle_since: Option<Time>,
    /// The best rate so far, and since when the rate is below half of it.
    pub(super) best_rate: u64,
    pub(super) poor_since: Option<Time>,
}

/// What is known of a source that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// The number of the FOLLOW.
    pub(super) req: u32,
    /// It has answered FOLLOW.
    pub(super) heard: bool,
    pub(super) pieces: Pieces,
    /// It serves the manifest, with the proof of the size.
    pub(super) manifest: bool,
    /// It is in another zone than this peer, which has one.
    pub(super) is_out: bool,
    /// How many of its pieces are missing here and are requested from no source. If the source is
    /// in another zone, only pieces count that no source in the zone of this peer has.
    pub(super) useful: usize,
    /// Turns that were requested from it and that it has not given.
    pub(super) wanted: u8,
    /// When it was last asked for turns, or gave one.
    pub(super) wanted_at: Time,
    /// The last WANT had `need`.
    pub(super) needed: bool,
    /// Announced pieces that it did not have.
    pub(super) absent: u32,
}

impl Followed {
    /// Whether this is the number of its FOLLOW.
    pub(super) fn is_of(&self, req: u32) -> bool {
        self.req == req
    }

    /// With `more`, counts its pieces for rarity: the source has sent a right piece and does not
    /// have all. Without it, no longer counts them.
    pub(super) fn count(&self, picker: &mut Picker<SourceIndex>, more: bool) {
        self.pieces.iter().for_each(|piece| picker.count(piece, more, !self.is_out));
    }

    /// Whether this piece would be useful if the source had it.
    pub(super) fn is_wanted(&self, piece: u32, picker: &Picker<SourceIndex>) -> bool {
        if self.is_out { picker.is_away(piece) } else { picker.is_free(piece) }
    }

    /// Counts its useful pieces.
    pub(super) fn look(&mut self, picker: &Picker<SourceIndex>) {
        self.useful = picker.free_of(|piece| self.pieces.has(piece) && self.is_wanted(piece, picker));
    }

    /// It has announced this piece.
    pub(super) fn add(&mut self, piece: u32, picker: &mut Picker<SourceIndex>, is_believed: bool) {
        if self.pieces.insert(piece) {
            self.useful += usize::from(self.is_wanted(piece, picker));
            if is_believed {
                picker.count(piece, true, !self.is_out);
            }
        }
    }

    /// It does not have this piece any more.
    pub(super) fn remove(&mut self, piece: u32, picker: &mut Picker<SourceIndex>, is_believed: bool) {
        if self.pieces.remove(piece) {
            self.useful = self.useful.saturating_sub(usize::from(self.is_wanted(piece, picker)));
            if is_believed {
                picker.count(piece, false, !self.is_out);
            }
        }
    }

    /// Whether a piece could be requested from it.
    pub(super) fn is_useful(&self) -> bool {
        !self.heard || self.useful > 0 || self.wanted > 0
    }
}
