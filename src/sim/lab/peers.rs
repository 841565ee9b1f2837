//! The weak peers of a shard: scripts of a few bytes, and the machines that send queries.

use crate::proto::ConnId;
use crate::proto::event::Outcome;
use crate::proto::weak_peer::WeakPeer;
use crate::sim::alarm::Alarm;
use crate::time::Time;

/// The state of the session of a weak peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Away,
    Greeted,
    LoggedIn,
    /// The script has sent this many pages of its list.
    Registering(u16),
    Up,
    /// The peer is not a script, but this machine.
    Asker(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    /// How many connections it has had.
    pub(super) generation: u32,
}

/// A weak peer that sends queries.
pub(super) struct Asker {
    /// Its place among all askers.
    pub(super) place: usize,
    pub(super) peer: usize,
    pub(super) host: u32,
    pub(super) slot: u32,
    pub(super) machine: Box<WeakPeer>,
    pub(super) alarm: Alarm,
    pub(super) connection: Option<Connection>,
    /// When the last bytes of each direction arrive. Later bytes must not overtake them.
    pub(super) up_at: Time,
    pub(super) down_at: Time,
}

/// Identifies a connection of an asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) asker: u32,
    pub(super) generation: u32,
}

impl Call {
    /// The id of the connection in the asker's machine.
    pub(super) fn conn(self) -> ConnId {
        ConnId { index: 0, generation: self.generation }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) call: Call,
    pub(super) cap_up: usize,
    pub(super) cap_down: usize,
    /// Whether the asker knows the connection, and whether each end has closed it.
    pub(super) known: bool,
    pub(super) closed_up: bool,
    pub(super) closed_down: bool,
}

/// A query and its results so far.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) at: Time,
    pub(super) first: Option<Time>,
    pub(super) last: Option<Time>,
    pub(super) done: Option<(Time, Outcome)>,
    /// The peers whose hits came. Each comes once, unless something is wrong.
    pub(super) hits: Vec<u32>,
    /// Hits for other files or for no known file.
    pub(super) strange: u64,
}
