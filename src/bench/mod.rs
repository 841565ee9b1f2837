//! The machine of the load generator: many sessions in one process. It uses the same loop and the
//! same wire format as a peer.
//!
//! It owns the load (the sessions, their requests and the times of these) and the counts. It opens
//! no socket, reads no clock and prints nothing: `cli` starts the processes, reads `/proc` when a
//! [`Phase`] begins, and prints the figures.
//!
//! A latency begins when the request was *due*. So if a server stalls at a fixed rate, all requests
//! that it has delayed count as slow, and not only the one that it was working on.

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
