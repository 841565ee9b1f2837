//! The weak peers of a shard: scripts of a few bytes, and the machines that ask.

use crate::proto::ConnId;
use crate::proto::event::Outcome;
use crate::proto::weak_peer::WeakPeer;
use crate::sim::alarm::Alarm;
use crate::time::Time;

/// Where the session of a weak peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Away,
    Greeted,
    LoggedIn,
    /// This many pages of its list are sent.
    Registering(u16),
    Up,
    /// It is a machine, not a script.
    Asker(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    /// Connections that it has had.
    pub(super) generation: u32,
}

/// A weak peer that asks.
pub(super) struct Asker {
    /// Among all askers.
    pub(super) place: usize,
    pub(super) peer: usize,
    pub(super) host: u32,
    pub(super) slot: u32,
    pub(super) machine: Box<WeakPeer>,
    pub(super) alarm: Alarm,
    pub(super) connection: Option<Connection>,
    /// When the last bytes of each direction arrive: none may overtake them.
    pub(super) up_at: Time,
    pub(super) down_at: Time,
}

/// Names a connection of an asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) asker: u32,
    pub(super) generation: u32,
}

impl Call {
    /// The connection as the asker's machine knows it.
    pub(super) fn conn(self) -> ConnId {
        ConnId { index: 0, generation: self.generation }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) call: Call,
    pub(super) cap_up: usize,
    pub(super) cap_down: usize,
    /// Whether the asker knows of it, and whether each end has closed it.
    pub(super) known: bool,
    pub(super) closed_up: bool,
    pub(super) closed_down: bool,
}

/// A query and what came of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) at: Time,
    pub(super) first: Option<Time>,
    pub(super) last: Option<Time>,
    pub(super) done: Option<(Time, Outcome)>,
    /// The peers whose hits came, each once if nothing is wrong.
    pub(super) hits: Vec<u32>,
    /// Hits of other files, or of nobody.
    pub(super) strange: u64,
}
