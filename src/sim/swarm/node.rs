//! One node of a swarm: its machine, its connections, and the pieces on its disk.

use slab::Slab;

use crate::proto::{ConnId, DownloadId, Role};
use crate::sim::alarm::Alarm;
use crate::time::Time;

/// An end of a connection: the connection, and which of its two ends it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) link: u32,
    pub(super) side: u8,
}

impl EndId {
    pub(super) fn other(self) -> EndId {
        EndId { side: 1 - self.side, ..self }
    }
}

pub(super) struct Node {
    /// The machine; none if the process is gone.
    pub(super) machine: Option<Box<dyn Role>>,
    pub(super) alarm: Alarm,
    /// For each slot: the end of its connection, and the generation of the slot.
    slots: Vec<(Option<EndId>, u32)>,
    free: Vec<u32>,
    /// The piece in each buffer of the node.
    pub(super) payloads: Slab<u32>,
    pub(super) disk: Disk,
    pub(super) up: u32,
    pub(super) down: u32,
    pub(super) zone: usize,
    /// When its user asked for the file.
    pub(super) asked_at: Option<Time>,
    /// When it had the complete file.
    pub(super) done_at: Option<Time>,
    /// Why its command ended without the file.
    pub(super) failed: Option<String>,
    /// The number of pieces with which it leaves.
    pub(super) leaves_at: Option<u32>,
    /// Bytes of payloads that it has sent.
    pub(super) sent: f64,
    /// Bytes of payloads that it has received.
    pub(super) received: f64,
}

impl Node {
    pub(super) fn new(machine: Box<dyn Role>, (up, down): (u32, u32), zone: usize, disk: Disk) -> Node {
        Node {
            machine: Some(machine),
            alarm: Alarm::default(),
            slots: Vec::new(),
            free: Vec::new(),
            payloads: Slab::new(),
            disk,
            up,
            down,
            zone,
            asked_at: None,
            done_at: None,
            failed: None,
            leaves_at: None,
            sent: 0.0,
            received: 0.0,
        }
    }

    pub(super) fn open(&mut self, end: EndId) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((None, 0));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.0 = Some(end);
        ConnId { index, generation: slot.1 }
    }

    pub(super) fn find(&self, conn: ConnId) -> Option<EndId> {
        let (end, generation) = *self.slots.get(conn.index as usize)?;
        end.filter(|_| generation == conn.generation)
    }

    /// Nothing reaches the connection any more. Its slot is free only after [`Node::release`].
    pub(super) fn forget(&mut self, conn: ConnId) {
        if self.find(conn).is_some() {
            self.slots[conn.index as usize].0 = None;
        }
    }

    /// The machine knows that the connection is closed.
    pub(super) fn release(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.index as usize];
        if slot.1 == conn.generation && slot.0.is_none() {
            slot.1 += 1;
            self.free.push(conn.index);
        }
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = EndId> {
        self.slots.iter().filter_map(|(end, _)| *end)
    }
}

/// The part of the file that a node has.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Whether the file is in the share.
    pub(super) shared: bool,
    /// The download whose part file is open.
    pub(super) download: Option<DownloadId>,
    /// Whether the manifest is in the map.
    pub(super) mapped: bool,
    pub(super) written: Vec<u64>,
    pub(super) pieces: u32,
}

impl Disk {
    pub(super) fn has(&self, piece: u32) -> bool {
        self.shared || self.written.get(piece as usize / 64).is_some_and(|bits| bits >> (piece % 64) & 1 == 1)
    }

    /// Writes a piece. Returns whether it was missing.
    pub(super) fn write(&mut self, piece: u32) -> bool {
        let (at, bit) = (piece as usize / 64, 1 << (piece % 64));
        if at >= self.written.len() {
            self.written.resize(at + 1, 0);
        }
        let new = self.written[at] & bit == 0;
        self.written[at] |= bit;
        self.pieces += u32::from(new);
        new
    }

    /// The verified pieces, ascending.
    pub(super) fn verified(&self) -> Vec<u32> {
        (0..self.written.len() as u32 * 64).filter(|piece| self.has(*piece)).collect()
    }
}
