//! Failures of super peers and silent peers, and their return.

use std::time::Duration;

use super::{AWAY, Shard};
use crate::proto::CloseReason;
use crate::sim::lab::happening::Happening;
use crate::sim::lab::peers::State;

const MINUTE: Duration = Duration::from_secs(60);

impl Shard {
    pub(super) fn plan_failure(&mut self, host: u32) {
        let rate = self.shared.plan.churn / 100.0;
        let after = self.hosts[host as usize].random.until_next(rate, MINUTE);
        self.schedule(host, self.now + after, Happening::Fail { host });
    }

    pub(super) fn plan_leave(&mut self, host: u32) {
        let one = &mut self.hosts[host as usize];
        let rate = self.shared.plan.churn / 100.0 * one.slots.len() as f64;
        let (after, life) = (one.random.until_next(rate, MINUTE), one.life);
        self.schedule(host, self.now + after, Happening::Leave { host, life });
    }

    /// The process of a super peer is killed.
    pub(super) fn on_fail(&mut self, host: u32) {
        let after = {
            let one = &mut self.hosts[host as usize];
            one.machine = None;
            one.alarm.clear();
            one.random.until_next(1.0, AWAY)
        };
        for slot in 0..self.hosts[host as usize].slots.len() as u32 {
            match self.slot(host, slot).state {
                State::Asker(asker) => self.reset(host, asker),
                State::Away | State::Greeted | State::LoggedIn | State::Registering(_) | State::Up => {
                    self.gone(host, slot, CloseReason::Failed);
                }
            }
        }
        self.schedule(host, self.now + after, Happening::Start { host });
    }

    /// A silent peer fails.
    pub(super) fn on_leave(&mut self, host: u32, life: u32) {
        let one = &mut self.hosts[host as usize];
        if one.life != life || one.machine.is_none() || one.slots.is_empty() {
            return;
        }
        let slot = one.random.index(one.slots.len()) as u32;
        let back = one.random.until_next(1.0, AWAY);
        if one.slots[slot as usize].state == State::Up {
            self.gone(host, slot, CloseReason::Failed);
            self.settle(host);
            self.schedule(host, self.now + back, Happening::Return { host, slot });
        }
        self.plan_leave(host);
    }
}
