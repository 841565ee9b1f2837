//! What a download knows about its swarm, and about each source that it follows. It decides
//! nothing.

use super::picker::Picker;
use super::pool::Pool;
use crate::config::TURNS_EXCESS_MAX;
use crate::proto::weak_peer::context::SourceIndex;
use crate::proto::weak_peer::swarm::pieces::Pieces;
use crate::proto::weak_peer::swarm::round_trip::RoundTrip;
use crate::proto::weak_peer::swarm::width::Width;
use crate::time::Time;
use crate::wire::swarm::Gateway;

/// What a download knows about its swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    /// Whether the download has asked to join.
    pub(super) joined: bool,
    /// Whether others fetch the same content. If so, turns are requested.
    pub(super) on: bool,
    /// When the download asked its super peers for members; none once a super peer has answered.
    pub(super) asked_at: Option<Time>,
    /// When a super peer first named members.
    pub(super) named_at: Option<Time>,
    /// The number of members, and the number of members that have the complete content, as a super
    /// peer reports them.
    pub(super) members: u32,
    pub(super) full: u32,
    /// Set if this peer is a gateway, which fetches from other zones for its own zone.
    pub(super) gateway: Option<Gateway>,
    /// Sources from hits of a search. They are dialed only if members send nothing.
    pub(super) reserve: Pool,
    /// When the download last asked for more members.
    pub(super) short_at: Option<Time>,
    /// How many pieces were chosen in order.
    pub(super) picks: u32,
    /// How many pieces are fetched at once.
    pub(super) width: Width,
    /// From a GET with a turn to its CHUNK.
    pub(super) round_trip: RoundTrip,
    /// Since when no piece has been requested.
    pub(super) idle_since: Option<Time>,
    /// The best rate so far, and since when the rate has been below half of it.
    pub(super) best_rate: u64,
    pub(super) poor_since: Option<Time>,
}

/// Whether a source gives more turns than were requested.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Turns that all WANTs so far asked for, less those that were given. An honest source gives no
    /// more, because a WANT replaces the one before.
    allowed: u32,
    /// Turns that were given beyond that.
    excess: u32,
}

impl Given {
    pub(super) fn on_want(&mut self, n: u8) {
        self.allowed = self.allowed.saturating_add(u32::from(n));
    }

    /// A turn has come. Returns whether there have been too many.
    #[must_use]
    pub(super) fn on_turn(&mut self) -> bool {
        match self.allowed.checked_sub(1) {
            Some(left) => self.allowed = left,
            None => self.excess += 1,
        }
        self.excess > TURNS_EXCESS_MAX
    }
}

/// What is known about a source that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// The number of the FOLLOW.
    pub(super) req: u32,
    /// Whether the source has answered FOLLOW.
    pub(super) heard: bool,
    pub(super) pieces: Pieces,
    /// Whether the source serves the manifest with the proof of the size.
    pub(super) manifest: bool,
    /// Whether this peer has a zone and the source is in another one.
    pub(super) is_out: bool,
    /// How many pieces of the source are missing here and are requested from no source. If the
    /// source is in another zone, a piece counts only if no source in the zone of this peer has it.
    pub(super) useful: usize,
    /// Turns that were requested from the source and not given yet.
    pub(super) wanted: u8,
    pub(super) given: Given,
    /// When turns were last requested from the source, or when it last gave one.
    pub(super) wanted_at: Time,
    /// Whether the last WANT had `need`.
    pub(super) needed: bool,
    /// Announced pieces that the source did not have.
    pub(super) absent: u32,
}

impl Followed {
    /// Whether this is the number of its FOLLOW.
    pub(super) fn is_of(&self, req: u32) -> bool {
        self.req == req
    }

    /// Adds its pieces to the counts of sources by which the picker finds rare pieces, or with
    /// `more` = false subtracts them. They count from the first correct piece of the source on,
    /// unless it has all pieces.
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

    /// The source has announced this piece.
    pub(super) fn add(&mut self, piece: u32, picker: &mut Picker<SourceIndex>, is_believed: bool) {
        if self.pieces.insert(piece) {
            self.useful += usize::from(self.is_wanted(piece, picker));
            if is_believed {
                picker.count(piece, true, !self.is_out);
            }
        }
    }

    /// The source no longer has this piece.
    pub(super) fn remove(&mut self, piece: u32, picker: &mut Picker<SourceIndex>, is_believed: bool) {
        if self.pieces.remove(piece) {
            self.useful = self.useful.saturating_sub(usize::from(self.is_wanted(piece, picker)));
            if is_believed {
                picker.count(piece, false, !self.is_out);
            }
        }
    }

    /// Whether some piece could be requested from the source.
    pub(super) fn is_useful(&self) -> bool {
        !self.heard || self.useful > 0 || self.wanted > 0
    }
}
