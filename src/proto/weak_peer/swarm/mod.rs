//! The swarm of a content, as one weak peer sees it: which pieces this peer serves while it
//! downloads, which follower may fetch next, and at which super peers this peer has joined. It
//! fetches nothing and sends no content: downloads and uploads do.

pub(super) mod holdings;
pub(super) mod joins;
pub(super) mod pieces;
pub(super) mod round_trip;
mod seed;
pub(super) mod stay;
pub(super) mod step;
pub(super) mod turns;
pub(super) mod width;
