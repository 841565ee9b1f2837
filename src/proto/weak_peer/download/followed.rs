//! What a download knows of its swarm, and of each source that it follows. It decides nothing.

use super::pool::Pool;
use crate::proto::weak_peer::swarm::pieces::Pieces;
use crate::proto::weak_peer::swarm::width::Width;
use crate::time::Time;

/// What a download knows of its swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
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
    /// How many of its pieces are missing here and requested from no source.
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

    /// Whether a piece could be requested from it.
    pub(super) fn is_useful(&self) -> bool {
        !self.heard || self.useful > 0 || self.wanted > 0
    }
}
