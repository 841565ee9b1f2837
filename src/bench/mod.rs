//! The load generator's machine: many sessions of one process, driven by the same loop and wire as a peer.
//!
//! It owns what a load is (how many sessions, who asks what and when) and what is counted. It opens no socket, reads no
//! clock and prints nothing: `cli` starts the processes, looks at `/proc` when a [`Phase`] begins, and tells the figures.
//!
//! A latency begins when the request was *meant* to be sent: at a fixed rate a server that stands still is charged for the
//! requests that it held up, not only for the one that it was busy with.

mod load;
mod names;
mod neighbor;
mod pace;
mod session;
mod tally;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::ClientId;
use crate::wire::HostPort;

pub use load::Load;
pub use tally::Tally;

/// Whom the machine's events are for: [`Phase`]s as notes, and `done`.
pub const CLIENT: ClientId = ClientId(0);
/// Most sessions that are being set up at once: enough that the server never waits for the client, and fewer than it
/// takes before they have logged in.
pub const SETUPS_MAX: usize = 128;
/// Files that one session of the bench registers before the next one takes over.
pub const FILES_PER_HOLDER: u64 = 100_000;
/// Names from LIST that are asked for, at most.
pub const NAMES_MAX: usize = 50_000;
/// A set-up that gets no further for this long is over.
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// How long answers that are still out are waited for when the time is up.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Requests at a fixed rate that wait for a free place; more are dropped and counted.
pub const BACKLOG_MAX: usize = 1 << 20;

/// What kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sessions that say nothing.
    Idle,
    /// Sessions that are set up, as fast as it goes.
    Connect,
    /// Files that are registered.
    Register,
    /// Queries of sessions.
    Query,
    /// Sessions that come, share, ask, download and leave.
    Churn,
    /// Downloads; no load of this machine, `cli` starts them.
    Get,
    /// Queries of a neighbouring super peer.
    Flood,
}

impl Mode {
    /// All of them, in the order of the help.
    pub const ALL: [Mode; 7] =
        [Mode::Idle, Mode::Connect, Mode::Register, Mode::Query, Mode::Churn, Mode::Get, Mode::Flood];

    /// As it is written on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Idle => "idle",
            Mode::Connect => "connect",
            Mode::Register => "register",
            Mode::Query => "query",
            Mode::Churn => "churn",
            Mode::Get => "get",
            Mode::Flood => "flood",
        }
    }

    /// What its count counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Mode::Idle | Mode::Connect => "set-ups",
            Mode::Register => "files",
            Mode::Query => "queries",
            Mode::Churn => "visits",
            Mode::Get => "downloads",
            Mode::Flood => "queries",
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The index is filled, and what it holds is listed.
    Filling,
    /// Sessions are set up that the load needs.
    SettingUp,
    /// What happens now is counted.
    Measuring,
    /// The time is up; answers that are still out are waited for.
    Draining,
}

impl Phase {
    /// The text of the note that says that it begins.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Phase::Filling => "filling the index",
            Phase::SettingUp => "setting up sessions",
            Phase::Measuring => "measuring",
            Phase::Draining => "waiting for the last answers",
        }
    }
}

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind.
    pub mode: Mode,
    /// The super peer.
    pub target: HostPort,
    /// Flood: where the super peer takes datagrams.
    pub link: Option<SocketAddr>,
    /// Sessions that make the load.
    pub sessions: usize,
    /// Requests that a session (flood: the link) has out at once.
    pub depth: usize,
    /// Requests a second, all sessions together; as fast as the answers come if absent.
    pub rate: Option<u32>,
    /// How long it is measured.
    pub length: Duration,
    /// Files: in all for register, query and flood, for each session else.
    pub files: u64,
    /// Whether files are registered even though there are some.
    pub fill: bool,
    /// Program and version, for people.
    pub agent: String,
}
