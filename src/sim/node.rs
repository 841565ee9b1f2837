//! One simulated node: a machine, its disk, its addresses, and how to make it anew after a crash.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::disk::Disk;
use super::world::Happening;
use crate::proto::super_peer::SuperPeer;
use crate::proto::weak_peer::WeakPeer;
use crate::proto::{ConnId, Role};
use crate::time::Time;

/// What a node runs.
pub enum Machine {
    /// A super peer.
    Super(Box<SuperPeer>),
    /// A weak peer.
    Weak(Box<WeakPeer>),
    /// Anything else that speaks: an adversary, a client from another house.
    Other(Box<dyn Role>),
}

impl Machine {
    pub(super) fn role(&mut self) -> &mut dyn Role {
        match self {
            Machine::Super(machine) => machine.as_mut(),
            Machine::Weak(machine) => machine.as_mut(),
            Machine::Other(machine) => machine.as_mut(),
        }
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        match self {
            Machine::Super(machine) => machine.poll_timeout(),
            Machine::Weak(machine) => machine.poll_timeout(),
            Machine::Other(machine) => machine.poll_timeout(),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Super(_) => "super peer",
            Machine::Weak(_) => "weak peer",
            Machine::Other(_) => "other",
        })
    }
}

/// Makes the machine of a node for its nth life.
pub(super) type Make = Box<dyn Fn(u64) -> Machine>;

pub(super) struct Node {
    /// None: the process is down.
    pub(super) machine: Option<Machine>,
    pub(super) make: Make,
    /// How often it was started.
    pub(super) life: u64,
    pub(super) addr: SocketAddr,
    pub(super) disk: Disk,
    /// When the earliest wake-up that is in the heap will come.
    pub(super) wake_at: Option<Time>,
    /// Open connections: the link and which end of it.
    pub(super) conns: BTreeMap<ConnId, (usize, usize)>,
    /// Slots of connections that are free, with the generation that is next.
    free: Vec<ConnId>,
    slots: u32,
    /// When the disk will have done all that it was asked.
    pub(super) disk_at: Time,
    /// When it will have been told all that there is to tell.
    pub(super) told_at: Time,
    /// The super peers that it is configured with.
    pub(super) neighbors: Vec<usize>,
    /// Rises with everything that may change what is registered here.
    pub(super) churn: u64,
    /// Until when it stands still, if it does; and what waits for it.
    pub(super) until: Option<Time>,
    pub(super) waiting: VecDeque<Happening>,
    /// For how long its clock stands still meanwhile.
    pub(super) asleep: Duration,
    /// How long it is busy with everything that it handles.
    pub(super) busy_for: Duration,
    /// By how much its clock is ahead of the world's.
    pub(super) ahead: Duration,
}

impl Node {
    pub(super) fn new(number: usize, port: u16, make: Make) -> Node {
        let [a, b, c, d] = u32::try_from(number + 1).expect("fewer than 2^24 nodes").to_be_bytes();
        assert!(a == 0, "fewer than 2^24 nodes");
        Node {
            machine: None,
            make,
            life: 0,
            addr: SocketAddr::from((Ipv4Addr::new(10, b, c, d), port)),
            disk: Disk::default(),
            wake_at: None,
            conns: BTreeMap::new(),
            free: Vec::new(),
            slots: 0,
            disk_at: Time::ZERO,
            told_at: Time::ZERO,
            neighbors: Vec::new(),
            churn: 0,
            until: None,
            waiting: VecDeque::new(),
            asleep: Duration::ZERO,
            busy_for: Duration::ZERO,
            ahead: Duration::ZERO,
        }
    }

    /// A slot for a new connection; slots are used again, as in the driver.
    pub(super) fn mint(&mut self) -> ConnId {
        self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            ConnId { index: self.slots - 1, generation: 0 }
        })
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.free.push(ConnId { index: conn.index, generation: conn.generation + 1 });
        }
    }
}
