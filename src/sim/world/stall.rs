//! Nodes that are paused or slow, and clocks that jump.
//!
//! Events for a paused node wait, as they do in its sockets. Later they are handled in order,
//! before any of its timers fires, as in the driver. The clock of a node is that of the world plus
//! an offset. The clock of a suspended node stands still.

use std::time::Duration;

use super::World;
use crate::sim::happening::Happening;
use crate::time::Time;

/// Most datagrams that wait for a paused node. More are lost, as when the buffer of a socket is
/// full.
const DATAGRAMS_WAITING_MAX: usize = 2000;

impl World {
    /// Stops the process of a node for a while (SIGSTOP, a debugger, a machine that swaps).
    pub fn pause(&mut self, node: usize, time: Duration) {
        self.stall(node, self.now + time);
    }

    /// Suspends a node together with its clock.
    pub fn suspend(&mut self, node: usize, time: Duration) {
        let until = self.now + time;
        // If the node is stopped already, it is not suspended too.
        if self.nodes[node].until.is_none() && self.nodes[node].ahead > time {
            self.nodes[node].asleep = time;
            self.stall(node, until);
        }
    }

    /// Makes the node busy for this time after each event; zero ends it.
    pub fn slow(&mut self, node: usize, each: Duration) {
        let node = &mut self.nodes[node];
        self.hindered += usize::from(!each.is_zero());
        self.hindered -= usize::from(!node.busy_for.is_zero());
        node.busy_for = each;
    }

    /// Moves the clock of a node forward.
    pub fn leap(&mut self, node: usize, time: Duration) {
        self.break_clock(node);
        self.nodes[node].ahead += time;
        if let Some(shadow) = &mut self.shadow {
            shadow.forget(node);
        }
        self.nodes[node].alarm.clear();
        self.wake(node);
    }

    /// Whether the node is paused.
    #[must_use]
    pub fn is_stalled(&self, node: usize) -> bool {
        self.nodes[node].until.is_some()
    }

    /// Ends all pauses and slowness.
    pub fn unhinder(&mut self) {
        for node in 0..self.nodes.len() {
            self.slow(node, Duration::ZERO);
            if self.nodes[node].until.is_some() {
                // The suspension ended earlier than planned.
                self.nodes[node].asleep = Duration::ZERO;
                self.nodes[node].until = Some(self.now);
                self.on_resume(node);
            }
        }
    }

    fn stall(&mut self, number: usize, until: Time) {
        let node = &mut self.nodes[number];
        if node.until.is_none_or(|before| before < until) {
            self.hindered += usize::from(node.until.is_none());
            node.until = Some(until);
            self.schedule(until, Happening::Resume { node: number });
        }
    }

    /// The process has ended: drops what has waited for it.
    pub(super) fn forget_stall(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        self.hindered -= usize::from(node.until.is_some());
        (node.until, node.asleep) = (None, Duration::ZERO);
        node.waiting.clear();
    }

    /// An event for a node that is slow or paused.
    pub(super) fn happen_hindered(&mut self, node: usize, what: Happening) {
        if self.nodes[node].until.is_some() {
            let waiting = &mut self.nodes[node].waiting;
            let overflows = waiting.len() >= DATAGRAMS_WAITING_MAX && matches!(what, Happening::Datagram { .. });
            if overflows {
                *self.counts.faults.entry("overflow").or_default() += 1;
            } else if !matches!(what, Happening::Wake { .. }) {
                // Due timers are handled last.
                waiting.push_back(what);
            }
            return;
        }
        self.happen(what);
        let busy_for = self.nodes[node].busy_for;
        if !busy_for.is_zero() && self.nodes[node].machine.is_some() {
            self.stall(node, self.now + busy_for);
        }
    }

    pub(super) fn on_resume(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if node.until.is_none_or(|until| until > self.now) {
            return;
        }
        node.until = None;
        self.hindered -= 1;
        let asleep = std::mem::take(&mut node.asleep);
        node.ahead -= asleep;
        if !asleep.is_zero() {
            self.break_clock(number);
        }
        let node = &mut self.nodes[number];
        let waiting = std::mem::take(&mut node.waiting);
        let busy_for = node.busy_for * u32::try_from(waiting.len().min(100)).unwrap_or(0);
        for what in waiting {
            self.happen(what);
        }
        // If the clock has stood still, the planned wake-up may now be too early.
        self.nodes[number].alarm.set(self.now);
        self.happen(Happening::Wake { node: number });
        if !busy_for.is_zero() && self.nodes[number].machine.is_some() {
            self.stall(number, self.now + busy_for);
        }
    }

    fn break_clock(&mut self, node: usize) {
        if self.super_peer(node).is_some() {
            self.clocks_broke = Some(self.now);
        }
    }

    /// Whether the clocks of all super peers have run at the same rate since then.
    pub(in crate::sim) fn clocks_ran_alike_since(&self, then: Time) -> bool {
        self.clocks_broke.is_none_or(|broke| broke < then)
    }

    /// The node whose process handles the event, if there is one.
    pub(super) fn subject(&self, what: &Happening) -> Option<usize> {
        match what {
            Happening::Wake { node }
            | Happening::DialFailed { node, .. }
            | Happening::Resolve { node, .. }
            | Happening::Came { node, .. }
            | Happening::Sent { node, .. }
            | Happening::Closed { node, .. }
            | Happening::Hashed { node, .. }
            | Happening::Work { node, .. }
            | Happening::Looked { node, .. }
            | Happening::Command { node, .. }
            | Happening::Disk { node, .. } => Some(*node),
            Happening::Datagram { to, .. } => Some(*to),
            Happening::Accepted { dialer, .. } => Some(*dialer),
            Happening::Segment { link, end, serial, .. } | Happening::Pump { link, end, serial } => {
                let link = self.links[*link].as_ref().filter(|link| link.serial == *serial)?;
                Some(link.ends[*end].node)
            }
            Happening::Dial { .. }
            | Happening::Stuck { .. }
            | Happening::SlowFrame { .. }
            | Happening::Unread { .. }
            | Happening::Resume { .. } => None,
        }
    }

    /// The time on the clock of the node.
    pub(super) fn clock(&self, node: usize) -> Time {
        self.now + self.nodes[node].ahead
    }
}
