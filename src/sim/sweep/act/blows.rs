//! The faults that hit nodes and paths from time to time, and the end of each.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::plan::{self, Blow};
use super::{AGAIN_AFTER, Act, Download, MS, Run, SEC};
use crate::proto::command::Get;
use crate::sim::content::ContentId;
use crate::sim::disk::Trouble;
use crate::sim::sweep::tally::FAULTS_UNTIL;
use crate::wire::Root;

/// After its links were cut, a super peer gets a new file within this time.
const ADD_AFTER: Duration = Duration::from_secs(5);

impl Run {
    pub(super) fn strike(&mut self, blow: Blow) {
        let (supers, nodes) = (self.plan.supers, self.weak.end);
        let any = self.blows.index(nodes);
        let weak = self.busy_weak();
        let one_super = self.blows.index(supers);
        // There are few super peers, and their faults have more effect.
        let node = match self.blows.below(4) {
            0 | 1 => one_super,
            2 => weak,
            _ => any,
        };
        self.world.remark(|| format!("{blow:?}: any node {node}, weak peer {weak}, super peer {one_super}"));
        match blow {
            Blow::Partition => self.part(),
            Blow::Clog => {
                let each = self.blows.time(MS / 4, 60 * MS);
                let ways: Vec<(usize, usize)> =
                    (0..4).map(|_| (self.blows.index(nodes), self.blows.index(supers))).collect();
                let ways: Vec<(usize, usize)> = ways.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
                self.world.set_clogged(&ways, each);
                self.end_after(MS, 20 * SEC, Act::Unclog);
            }
            Blow::CrashSuper => self.crash(one_super, "crash_super", false),
            Blow::CrashWeak => self.crash(weak, "crash_weak", false),
            Blow::Power => self.crash(weak, "power", true),
            Blow::Pause => {
                let most = if self.blows.chance(100) { 60 * SEC } else { 8 * SEC };
                let time = self.blows.time(MS, most);
                if self.world.is_running(node) {
                    self.world.pause(node, time);
                    self.world.count_fault("pause");
                }
            }
            Blow::Suspend => {
                let time = self.blows.time(MS, 30 * SEC);
                if self.world.is_running(node) {
                    self.world.suspend(node, time);
                    self.world.count_fault("suspend");
                }
            }
            Blow::Leap => {
                let time = self.blows.time(MS, 150 * SEC);
                self.world.leap(node, time);
                self.world.count_fault("leap");
            }
            Blow::Slow => {
                let each = self.blows.time(MS / 10, 15 * MS);
                self.world.slow(node, each);
                self.world.count_fault("slow");
                self.end_after(SEC, 20 * SEC, Act::Hurry(node));
            }
            Blow::Reset => self.world.cut_connections(node),
            Blow::Silence => self.world.silence(node),
            Blow::DiskFull => {
                self.world.trouble(weak, Trouble { full: true, errors: 0 });
                self.end_after(SEC, 30 * SEC, Act::Calm(weak));
            }
            Blow::DiskErrors => {
                let errors = 5 + u32::try_from(self.blows.below(300)).unwrap_or(0);
                self.world.trouble(weak, Trouble { full: false, errors });
                self.end_after(SEC, 30 * SEC, Act::Calm(weak));
            }
            Blow::Meddle => self.meddle(weak),
            Blow::Stray => {
                self.world.stray(&mut self.blows);
            }
        }
    }

    /// Any weak peer. In half of the cases, it is one that is downloading or has a file that is
    /// being downloaded.
    fn busy_weak(&mut self) -> usize {
        let any = self.weak.start + self.blows.index(self.weak.len());
        let which = self.blows.below(3);
        if which == 0 || self.downloads.is_empty() {
            return any;
        }
        let one = self.blows.index(self.downloads.len());
        let Some(Download { node, root, .. }) = self.downloads.values().nth(one).cloned() else { return any };
        if which == 1 {
            return node;
        }
        let has_it = |node: &usize| self.world.shared(*node).iter().any(|file| Some(file.root) == root);
        let sources: Vec<usize> = self.weak.clone().filter(has_it).collect();
        if sources.is_empty() { any } else { sources[self.blows.index(sources.len())] }
    }

    fn end_after(&mut self, least: Duration, most: Duration, act: Act) {
        let after = self.blows.time(least, most);
        self.later(after, act);
    }

    fn crash(&mut self, node: usize, name: &'static str, power: bool) {
        if !self.world.is_running(node) {
            return;
        }
        self.note_counters(node);
        if power {
            self.world.cut_power(node);
        } else {
            self.world.crash(node);
        }
        self.world.count_fault(name);
        let again: Vec<Get> = self
            .downloads
            .values()
            .filter(|download| download.node == node)
            .map(|download| download.get.clone())
            .collect();
        let after = self.blows.time(MS, 20 * SEC);
        self.later(after, Act::Start(node));
        for get in again {
            self.later(after + AGAIN_AFTER, Act::Again(node, get));
        }
    }

    /// Notes which counters of a super peer are not 0.
    pub(in crate::sim::sweep) fn note_counters(&mut self, node: usize) {
        if let Some(machine) = self.world.super_peer(node) {
            self.counters.extend(machine.counters().named().into_keys());
        }
    }

    /// Separates two halves, one node, the links of one super peer, or one direction only; or two
    /// halves that only one node connects.
    fn part(&mut self) {
        let (nodes, supers) = (self.weak.end, self.plan.supers);
        let one = self.blows.index(supers);
        let (left, links_only): (BTreeSet<usize>, bool) = match self.blows.below(4) {
            0 => (BTreeSet::from([self.blows.index(nodes)]), false),
            1 => (BTreeSet::from([one]), false),
            2 => (BTreeSet::from([one]), true),
            _ => ((0..nodes).filter(|_| self.blows.chance(500)).collect(), false),
        };
        if links_only {
            self.end_after(MS, ADD_AFTER, Act::Add(one));
        }
        let (one_way, bridge) = (self.blows.chance(250), self.blows.chance(250).then(|| self.blows.index(nodes)));
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let cut = pairs.filter(|(from, to)| {
            let across = left.contains(from) != left.contains(to);
            let passes = bridge.is_some_and(|bridge| *from == bridge || *to == bridge);
            let meant = !links_only || (*from < supers && *to < supers);
            across && meant && !passes && (!one_way || left.contains(from))
        });
        self.world.set_cut(cut.collect());
        let most = if self.blows.chance(200) { 100 * SEC } else { 15 * SEC };
        self.end_after(MS, most, Act::Heal);
    }

    fn meddle(&mut self, node: usize) {
        let shared = self.world.shared(node);
        if shared.is_empty() || self.world.is_stale(node) {
            return;
        }
        // A file that is being downloaded is preferred.
        let wanted = |root: &Root| self.downloads.values().any(|download| download.root == Some(*root));
        let busy = shared.iter().position(|file| wanted(&file.root));
        let path = shared[busy.unwrap_or(self.blows.index(shared.len()))].path.clone();
        let new = self.blows.chance(700).then(|| plan::content(&mut self.blows));
        self.change_file(node, path.as_str(), new);
        // Sometimes the file is changed again while it is being sent, so that the announced bytes
        // cannot be sent.
        if self.blows.chance(500) {
            self.world.await_opened(node);
        }
    }

    /// Rewrites a file after a chunk of it was opened and before the chunk is sent.
    pub(super) fn meddle_opened(&mut self) {
        let faults = self.world.now() < self.begun + FAULTS_UNTIL;
        for (node, path) in self.world.take_opened() {
            if faults && !self.world.is_stale(node) {
                let new = plan::content(&mut self.blows);
                self.change_file(node, path.as_str(), Some(new));
            }
        }
    }

    fn change_file(&mut self, node: usize, path: &str, new: Option<ContentId>) {
        self.meddled.insert(node);
        self.world.meddle(node, path, new);
    }
}
