//! The swarm of a content, seen by one weak peer: which pieces it serves while it downloads, whom
//! it lets fetch next, and with whom its super peers bring it together. It fetches nothing and
//! sends no content: downloads and uploads do.

pub(super) mod holdings;
pub(super) mod joins;
pub(super) mod pieces;
mod seed;
pub(super) mod step;
pub(super) mod turns;
pub(super) mod width;
