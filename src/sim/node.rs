//! One simulated node: a machine, its disk, its connections, and the function that makes the
//! machine for its next life.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::adversary::Adversary;
use super::alarm::Alarm;
use super::disk::Disk;
use super::happening::Happening;
use crate::proto::envelope::Envelopes;
use crate::proto::super_peer::SuperPeer;
use crate::proto::weak_peer::{QueueConfig, Saved, WeakPeer};
use crate::proto::{ConnId, Output, Role};
use crate::time::Time;
use crate::trust::{Accounts, PublicKey};

/// The machine of a node.
pub enum Machine {
    /// A super peer.
    Super(Box<SuperPeer>),
    /// A weak peer.
    Weak(Box<WeakPeer>),
    /// Any other machine, such as a load generator.
    Other(Box<dyn Role>),
    /// A stranger that does harm.
    Adversary(Stranger),
}

/// An adversary. Only the simulator makes one.
pub struct Stranger(pub(super) Box<dyn Adversary>);

impl Machine {
    pub(super) fn adversary(adversary: Box<dyn Adversary>) -> Machine {
        Machine::Adversary(Stranger(adversary))
    }

    /// The machine as a role; none for an adversary.
    pub(super) fn role(&mut self) -> Option<&mut dyn Role> {
        match self {
            Machine::Super(machine) => Some(machine.as_mut()),
            Machine::Weak(machine) => Some(machine.as_mut()),
            Machine::Other(machine) => Some(machine.as_mut()),
            Machine::Adversary(_) => None,
        }
    }

    pub(super) fn output(&mut self) -> Option<Output> {
        self.role().and_then(|role| role.poll_output())
    }

    /// Panics if an invariant of the machine is broken.
    pub(super) fn check_invariants(&self) {
        match self {
            Machine::Super(machine) => machine.check_invariants(),
            Machine::Weak(machine) => machine.check_invariants(),
            Machine::Other(_) | Machine::Adversary(_) => {}
        }
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        match self {
            Machine::Super(machine) => machine.poll_timeout(),
            Machine::Weak(machine) => machine.poll_timeout(),
            Machine::Other(machine) => machine.poll_timeout(),
            Machine::Adversary(Stranger(adversary)) => adversary.wake_at(),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Super(_) => "super peer",
            Machine::Weak(_) => "weak peer",
            Machine::Other(_) => "other",
            Machine::Adversary(_) => "adversary",
        })
    }
}

/// Makes the machine of a node for its nth life.
pub(super) type Make = Box<dyn Fn(u64) -> Machine>;

pub(super) struct Node {
    /// The machine; none if the process is not running.
    pub(super) machine: Option<Machine>,
    pub(super) make: Make,
    /// In login mode: the key that its connections prove.
    pub(super) key: Option<PublicKey>,
    /// The credential of an adversary that has an account.
    pub(super) credential: Option<Vec<u8>>,
    /// The accounts that are stored on its disk.
    pub(super) accounts: Rc<RefCell<Accounts>>,
    /// For a weak peer that keeps a queue: how many downloads run at once.
    pub(super) parallel: Option<usize>,
    /// How often the node was started.
    pub(super) life: u64,
    pub(super) addr: SocketAddr,
    pub(super) disk: Disk,
    pub(super) alarm: Alarm,
    /// Open connections, each with its link and its end of the link.
    pub(super) conns: BTreeMap<ConnId, (usize, usize)>,
    /// Closed connections for which the machine has not handled Closed yet.
    closing: BTreeSet<ConnId>,
    /// Free slots of connections, each with the next generation.
    free: Vec<ConnId>,
    slots: u32,
    /// When the disk will have finished the work that it has now.
    pub(super) disk_at: Time,
    /// When the last answer of the disk arrives.
    pub(super) answered_at: Time,
    /// The super peers in its configuration.
    pub(super) neighbors: Vec<usize>,
    /// Counts the events that may change which files are registered here.
    pub(super) churn: u64,
    /// If the node is paused: until when, and the events that wait for it.
    pub(super) until: Option<Time>,
    pub(super) waiting: VecDeque<Happening>,
    /// How long its clock stands still during the pause.
    pub(super) asleep: Duration,
    /// How long it is busy with each event.
    pub(super) busy_for: Duration,
    /// How far its clock is ahead of the world's.
    pub(super) ahead: Duration,
    /// The envelopes of its datagrams in this life.
    pub(super) envelopes: Envelopes,
    /// The keys of its neighbors, if links are sealed.
    pub(super) pins: Option<Vec<PublicKey>>,
    /// What its state stores for these: its own counter of handshakes, and the counters of its
    /// neighbors.
    pub(super) counters_kept: Option<u64>,
    pub(super) counters_seen: BTreeMap<PublicKey, u64>,
}

impl Node {
    pub(super) fn new(number: usize, port: u16, make: Make) -> Node {
        let [a, b, c, d] = u32::try_from(number + 1).expect("fewer than 2^24 nodes").to_be_bytes();
        assert!(a == 0, "fewer than 2^24 nodes");
        Node {
            machine: None,
            make,
            key: None,
            credential: None,
            accounts: Rc::default(),
            parallel: None,
            life: 0,
            addr: SocketAddr::from((Ipv4Addr::new(10, b, c, d), port)),
            disk: Disk::default(),
            alarm: Alarm::default(),
            conns: BTreeMap::new(),
            closing: BTreeSet::new(),
            free: Vec::new(),
            slots: 0,
            disk_at: Time::ZERO,
            answered_at: Time::ZERO,
            neighbors: Vec::new(),
            churn: 0,
            until: None,
            waiting: VecDeque::new(),
            asleep: Duration::ZERO,
            busy_for: Duration::ZERO,
            ahead: Duration::ZERO,
            envelopes: Envelopes::open(),
            pins: None,
            counters_kept: None,
            counters_seen: BTreeMap::new(),
        }
    }

    /// The machine for its next life, with the queue that is stored on its disk.
    pub(super) fn made(&self) -> Machine {
        match ((self.make)(self.life), self.parallel) {
            (Machine::Weak(peer), Some(parallel)) => {
                let saved = self.disk.queue.as_deref().map_or(Ok(Saved::default()), Saved::parse);
                let saved = saved.expect("the queue has the version that is written");
                Machine::Weak(Box::new(peer.with_queue(QueueConfig { parallel, kept: true, saved })))
            }
            (machine, _) => machine,
        }
    }

    /// A slot for a new connection. Slots are reused, as in the driver.
    pub(super) fn mint(&mut self) -> ConnId {
        self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            ConnId { index: self.slots - 1, generation: 0 }
        })
    }

    /// Removes a connection. Its slot is free only after [`Node::release`].
    pub(super) fn forget(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.closing.insert(conn);
        }
    }

    /// Frees the slot of a connection, because the machine now knows that it is closed.
    pub(super) fn release(&mut self, conn: ConnId) {
        if self.closing.remove(&conn) {
            self.free.push(ConnId { index: conn.index, generation: conn.generation + 1 });
        }
    }

    /// The process has ended: frees the slots of all connections that were closing.
    pub(super) fn release_all(&mut self) {
        let closing = std::mem::take(&mut self.closing);
        self.free.extend(closing.into_iter().map(|conn| ConnId { generation: conn.generation + 1, ..conn }));
    }
}
