//! Compares the shadow with the machines: indexes with registrations, and answers that nobody
//! requested.

use std::collections::BTreeSet;

use super::World;
use crate::proto::Input;
use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::counters::Count;
use crate::sim::matches::{Match, all, registered};
use crate::sim::random::Random;
use crate::sim::shadow::Excuse;
use crate::time::Time;
use crate::wire::{FileRecord, HostPort, Search};

impl World {
    /// What the live sessions of a super peer have registered. Each session is given with the weak
    /// peer at its other end.
    pub(in crate::sim) fn registered_by_peer(&self, node: usize) -> Vec<(usize, BTreeSet<Match>)> {
        self.shadow.as_ref().map_or_else(Vec::new, |shadow| shadow.registered_by_peer(node, |peer| self.addr(peer)))
    }

    /// The files that a weak peer must register.
    pub(in crate::sim) fn share_of(&self, node: usize) -> BTreeSet<Match> {
        let source = HostPort::from(self.addr(node));
        let record = |file: FileRecord| Match {
            path: file.path.as_str().to_owned(),
            size: file.size,
            root: file.root,
            source: source.clone(),
        };
        self.shared(node).into_iter().map(record).collect()
    }

    /// The matching files that are registered at a super peer.
    pub(in crate::sim) fn registered(&self, node: usize, search: &Search) -> BTreeSet<Match> {
        self.super_peer(node).map_or_else(BTreeSet::new, |machine| registered(machine, search))
    }

    /// What lying neighbors have done to queries with this search that began at this time or later.
    pub(in crate::sim) fn excuse(&self, search: &Search, since: Time) -> Excuse {
        self.shadow.as_ref().map_or_else(Excuse::default, |shadow| shadow.excuse(search, since))
    }

    /// Sends answers to a super peer from a neighbor that it did not ask. They are the answers that
    /// another neighbor has sent last. Returns whether there were any.
    ///
    /// # Panics
    /// If the super peer accepts one of them.
    pub fn stray(&mut self, random: &mut Random) -> bool {
        let Some(answers) = self.shadow.as_mut().and_then(|shadow| shadow.take_answers()) else { return false };
        let (to, life) = answers.to;
        if self.life(to) != life || self.is_stalled(to) || !self.is_running(to) {
            return false;
        }
        let Some(shadow) = &self.shadow else { return false };
        let strangers = self.neighbors(to).iter().copied().filter(|other| !shadow.asked_for_any(&answers, *other));
        let strangers: Vec<usize> = strangers.collect();
        if strangers.is_empty() {
            return false;
        }
        let refused = |world: &World| {
            let counts = [Count::AnswerUnasked, Count::DatagramUnproven];
            let count = |machine: &SuperPeer| counts.iter().map(|count| machine.counters().count(*count)).sum();
            world.super_peer(to).map_or(0, count)
        };
        // A datagram for an earlier life is dropped as a whole.
        let stale =
            |world: &World| world.super_peer(to).map_or(0, |machine| machine.counters().count(Count::DatagramStale));
        let before: (u64, u64) = (refused(self), stale(self));
        let from = self.addr(strangers[random.index(strangers.len())]);
        let key = self.pin(from).key;
        self.turn(to, Input::Datagram { from, to: None, key, bytes: &answers.bytes });
        let refused = refused(self) - before.0;
        let stale = stale(self) > before.1;
        assert!(
            refused == answers.named.len() as u64 || stale,
            "{to} takes answers from {from}, which it has not asked"
        );
        self.count_fault("stray");
        true
    }

    /// Compares the index of every super peer with what its live sessions have registered, and
    /// checks the invariants of every machine.
    ///
    /// # Panics
    /// If something is wrong.
    pub fn check(&self) {
        for node in 0..self.nodes() {
            if let Some(machine) = self.weak_peer(node) {
                machine.check_invariants();
            }
            let Some(machine) = self.super_peer(node) else { continue };
            machine.check_invariants();
            self.nodes[node].envelopes.check_invariants();
            let sessions = self.registered_by_peer(node);
            let holders = sessions.len();
            let expected: BTreeSet<Match> = sessions.into_iter().flat_map(|(_, records)| records).collect();
            let actual: BTreeSet<Match> = all(machine).into_iter().collect();
            let wrong: Vec<&Match> = actual.symmetric_difference(&expected).collect();
            assert!(wrong.is_empty(), "the index of {node} is not what its sessions registered: {wrong:?}");
            assert_eq!(machine.index().holders(), holders, "holders of {node}");
        }
    }
}
