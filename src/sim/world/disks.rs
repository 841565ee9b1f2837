//! The disks of nodes. Work and answers take time and keep their order.

use std::time::Duration;

use super::World;
use crate::proto::{DiskDone, DiskWork};
use crate::sim::happening::Happening;
use crate::wire::SharePath;

impl World {
    /// Gives work to a disk. The disk does it later, in order.
    pub(super) fn on_disk(&mut self, number: usize, work: DiskWork) {
        let after = self.disks.time(Duration::from_micros(20), Duration::from_millis(2));
        let node = &mut self.nodes[number];
        node.disk_at = node.disk_at.max(self.now + after);
        let (at, life) = (node.disk_at, node.life);
        self.schedule(at, Happening::Work { node: number, life, work });
    }

    pub(super) fn on_work(&mut self, node: usize, work: DiskWork) {
        let opens = if let DiskWork::PrepareChunk { root, .. } = &work { Some(*root) } else { None };
        let opens = opens.filter(|_| self.awaited.contains(&node));
        let (dones, fault) = self.nodes[node].disk.work(work, &mut self.contents, &mut self.disks);
        if let Some(fault) = fault {
            *self.counts.faults.entry(fault).or_default() += 1;
        }
        let opened =
            opens.and_then(|root| self.nodes[node].disk.path_of(root, &self.contents)).filter(|_| fault.is_none());
        if let Some(path) = opened {
            self.awaited.remove(&node);
            self.opened.push((node, path));
        }
        for done in dones {
            self.disk_says(node, done);
        }
    }

    /// The disk of a node answers, in the order of its work.
    pub(super) fn disk_says(&mut self, number: usize, done: DiskDone) {
        let after = self.disks.time(Duration::from_micros(20), Duration::from_millis(1));
        self.disk_will_say(number, after, done);
    }

    pub(super) fn disk_will_say(&mut self, number: usize, after: Duration, done: DiskDone) {
        let node = &mut self.nodes[number];
        if node.machine.is_none() {
            return;
        }
        node.answered_at = node.answered_at.max(self.now + after);
        let (at, life) = (node.answered_at, node.life);
        self.schedule(at, Happening::Disk { node: number, life, done });
    }

    /// From now on [`World::take_opened`] reports the next chunk that this node opens for a peer.
    pub(in crate::sim) fn await_opened(&mut self, node: usize) {
        self.awaited.insert(node);
    }

    /// The node and the file of each awaited chunk that was opened since the last call. The chunks
    /// are not sent yet.
    pub(in crate::sim) fn take_opened(&mut self) -> Vec<(usize, SharePath)> {
        std::mem::take(&mut self.opened)
    }

    /// Whether [`World::take_opened`] has a chunk to return.
    pub(in crate::sim) fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }
}
