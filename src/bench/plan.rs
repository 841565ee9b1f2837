//! The plan of a load: its kind, size, phases and limits.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::ClientId;
use crate::wire::{HostPort, NodeId};

/// The client that receives the events of the machine: [`Phase`]s as notes, and `done`.
pub const CLIENT: ClientId = ClientId(0);
/// The most sessions that are set up at once. They are enough for the server never to wait for the
/// client, and fewer than the connections that it accepts before their login.
pub const SETUPS_MAX: usize = 128;
/// Files that one session of the bench registers. More files are registered by further sessions.
pub const FILES_PER_HOLDER: u64 = 100_000;
/// The most names from LIST that are searched for.
pub const NAMES_MAX: usize = 50_000;
/// A set-up without progress for this long fails.
pub const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the load waits for the last answers when the time is over.
pub const DRAIN_MAX: Duration = Duration::from_secs(1);
/// The most requests at a fixed rate that wait for a session. More are dropped and counted.
pub const BACKLOG_MAX: usize = 1 << 20;

/// The kind of a load.
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
    /// All kinds, in the order of the help.
    pub const ALL: [Mode; 7] =
        [Mode::Idle, Mode::Connect, Mode::Register, Mode::Query, Mode::Churn, Mode::Get, Mode::Flood];

    /// Its name on the command line.
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

    /// The unit of its figure.
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
    /// The index is filled, and its files are listed.
    Filling,
    /// The sessions that the load needs are set up.
    SettingUp,
    /// Requests and answers are counted.
    Measuring,
    /// The time is over; the load waits for the last answers.
    Draining,
}

impl Phase {
    /// The text of the note at the start of the phase.
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
    /// The kind of the load.
    pub mode: Mode,
    /// The super peer.
    pub target: HostPort,
    /// Flood: the address at which the super peer accepts datagrams.
    pub link: Option<SocketAddr>,
    /// Sessions that make the load.
    pub sessions: usize,
    /// How many requests of a session may be unanswered at once. For the flood: of the link.
    pub depth: usize,
    /// Requests per second, all sessions together. If absent, a request follows each answer.
    pub rate: Option<u32>,
    /// How long the load is measured.
    pub length: Duration,
    /// Number of files: in total, for register, query and flood; per session, for the other loads.
    pub files: u64,
    /// Whether files are registered even if the index has some already.
    pub fill: bool,
    /// Program and version, for people.
    pub agent: String,
    /// The identities with which the sessions log in, one after the other; none in open mode.
    pub logins: Vec<Identity>,
}

/// The identity of one session. Its dials have the number of the session, so that the driver shows
/// the right key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node id of its key.
    pub node: NodeId,
    /// The credential for its key.
    pub credential: Vec<u8>,
}

impl Plan {
    /// The number of all sessions: those that make the load, and before them those that hold the
    /// files that others search for.
    #[must_use]
    pub fn sessions_all(&self) -> usize {
        self.holders() + self.sessions
    }

    /// The number of sessions that hold the files that others search for.
    #[must_use]
    pub fn holders(&self) -> usize {
        match self.mode {
            Mode::Query | Mode::Flood => usize::try_from(self.files.div_ceil(FILES_PER_HOLDER)).unwrap_or(1).max(1),
            Mode::Churn => 1,
            Mode::Idle | Mode::Connect | Mode::Register | Mode::Get => 0,
        }
    }
}
