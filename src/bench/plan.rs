//! The plan of a load: kind, size, phases and limits.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::ClientId;
use crate::wire::{HostPort, NodeId};

/// The client that receives the events of the machine: [`Phase`]s as notes, and `done`.
pub const CLIENT: ClientId = ClientId(0);
/// Most sessions that are set up at once: enough that the server never waits for the client, and
/// fewer than the sessions that it accepts before their login.
pub const SETUPS_MAX: usize = 128;
/// Files that one session of the bench registers before the next one takes over.
pub const FILES_PER_HOLDER: u64 = 100_000;
/// Names from LIST that are asked for, at most.
pub const NAMES_MAX: usize = 50_000;
/// A set-up without progress for this long fails.
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the load waits for outstanding answers when the time is up.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Most requests at a fixed rate that wait for a session; more are dropped and counted.
pub const BACKLOG_MAX: usize = 1 << 20;

/// What kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Idle sessions.
    Idle,
    /// Sessions that are set up as fast as possible.
    Connect,
    /// Files that are registered.
    Register,
    /// Queries of sessions.
    Query,
    /// Sessions that come, share, ask, download and leave.
    Churn,
    /// Downloads. This machine does not make this load; `cli` starts the downloads.
    Get,
    /// Queries of a neighboring super peer.
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

    /// What its figure counts.
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

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The index is filled, and what it holds is listed.
    Filling,
    /// Sessions are set up that the load needs.
    SettingUp,
    /// Requests and answers are counted.
    Measuring,
    /// The time is up; the load waits for outstanding answers.
    Draining,
}

impl Phase {
    /// The text of the note at its start.
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
    /// Outstanding requests of a session (flood: of the link).
    pub depth: usize,
    /// Requests a second, all sessions together; as fast as the answers come if absent.
    pub rate: Option<u32>,
    /// How long it is measured.
    pub length: Duration,
    /// Files: in all, for register, query and flood; of each session, for the other loads.
    pub files: u64,
    /// Whether files are registered even if the index holds some.
    pub fill: bool,
    /// Program and version, for people.
    pub agent: String,
    /// Who the sessions log in as, one after the other; none in open mode.
    pub logins: Vec<Identity>,
}

/// Who one session logs in as. Its dials have the number of the session, so that the driver shows
/// the right key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node id of its key.
    pub node: NodeId,
    /// The credential for its key.
    pub credential: Vec<u8>,
}

impl Plan {
    /// Sessions in all: those that make the load, and before them those that hold the files that
    /// others ask for.
    #[must_use]
    pub fn sessions_all(&self) -> usize {
        self.holders() + self.sessions
    }

    /// Sessions that hold the files that others ask for.
    #[must_use]
    pub fn holders(&self) -> usize {
        match self.mode {
            Mode::Query | Mode::Flood => usize::try_from(self.files.div_ceil(FILES_PER_HOLDER)).unwrap_or(1).max(1),
            Mode::Churn => 1,
            Mode::Idle | Mode::Connect | Mode::Register | Mode::Get => 0,
        }
    }
}
