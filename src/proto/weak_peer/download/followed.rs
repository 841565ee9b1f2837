//! What a download knows of its swarm, and of each source that it follows. Nothing is decided here.

use super::pool::Pool;
use crate::proto::weak_peer::swarm::pieces::Pieces;
use crate::proto::weak_peer::swarm::width::Width;
use crate::time::Time;

/// What a download knows of its swarm.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    /// Others fetch the same: turns are asked for.
    pub(super) on: bool,
    /// When it asked its super peers for others, until one has answered.
    pub(super) asked_at: Option<Time>,
    /// When members were named first.
    pub(super) named_at: Option<Time>,
    /// Members, and those of them that have all, as a super peer counts them.
    pub(super) members: u32,
    pub(super) full: u32,
    /// Hits of a search: dialed only if members send nothing.
    pub(super) reserve: Pool,
    /// When it last asked for other members.
    pub(super) short_at: Option<Time>,
    /// Pieces that were chosen in order.
    pub(super) picks: u32,
    /// Pieces that come at once.
    pub(super) width: Width,
    /// Since when nothing is asked for.
    pub(super) idle_since: Option<Time>,
    /// The best rate so far, and since when it is below a half of that.
    pub(super) best_rate: u64,
    pub(super) poor_since: Option<Time>,
}

/// What is known of a source that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// The number of the FOLLOW.
    pub(super) req: u32,
    /// It has answered.
    pub(super) heard: bool,
    pub(super) pieces: Pieces,
    /// It can prove the size.
    pub(super) manifest: bool,
    /// How many of its pieces are free.
    pub(super) useful: usize,
    /// Turns that it was asked for and has not given.
    pub(super) wanted: u8,
    /// When it was last asked for some, or gave one.
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

    /// Whether something could be asked of it.
    pub(super) fn is_useful(&self) -> bool {
        !self.heard || self.useful > 0 || self.wanted > 0
    }
}
