//! The machine of the load generator: many sessions of one process, driven by the same loop and
//! wire as a peer.
//!
//! It owns the load (the sessions, what they ask and when) and the counts. It opens no socket,
//! reads no clock and prints nothing: `cli` starts the processes, reads `/proc` when a [`Phase`]
//! begins, and prints the figures.
//!
//! A latency begins when the request was *due*: at a fixed rate, a server that stalls is charged
//! for all requests that it delayed, not only for the one that it was busy with.

mod load;
mod names;
mod neighbor;
mod pace;
mod plan;
mod session;
mod tally;
#[cfg(test)]
mod tests;

pub use load::Load;
pub use plan::{
    BACKLOG_MAX, CLIENT, DRAIN_MAX, FILES_PER_HOLDER, Identity, Mode, NAMES_MAX, Phase, Plan, SETUPS_MAX, STALL_MAX,
};
pub use tally::Tally;
