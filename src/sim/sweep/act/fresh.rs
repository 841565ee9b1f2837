//! New files: once a file is acknowledged, every search must find it.

use std::time::Duration;

use super::super::plan;
use super::{Act, POLICIES, Run};
use crate::proto::Scope;
use crate::proto::super_peer::SuperPeer;
use crate::wire::{QueryKind, Search};

/// When a new file is searched for, in addition to the moment of its acknowledgement. The times
/// count from the moment at which it is added: while marks are sent to the neighbors, and when a
/// lease of an old digest ends.
const SEEK_AFTER: [(Duration, Duration); 3] = [
    (Duration::from_millis(2), Duration::from_millis(300)),
    (Duration::from_millis(300), Duration::from_secs(3)),
    (Duration::from_millis(5500), Duration::from_secs(7)),
];

impl Run {
    /// Adds a file with a word that no neighbor's digest contains. So a super peer that trusts a
    /// digest for too long is detected.
    pub(super) fn add(&mut self, node: usize) {
        let (path, content) = (plan::path(&mut self.work), plan::content(&mut self.work));
        let word = format!("only{}", self.acts);
        self.world.share(node, &format!("{path} {word}"), content);
        for (least, most) in SEEK_AFTER {
            let after = self.work.time(least, most);
            self.later(after, Act::Seek(word.clone()));
        }
        self.fresh.push((node, word));
    }

    pub(super) fn seek(&mut self, node: usize, word: &str, ttl: Option<u8>) {
        let search = word_search(word);
        let policy = *self.work.pick(&POLICIES);
        self.ask(node, &search, Scope { ttl, budget: None, policy });
    }

    /// Once a file is acknowledged, it must be found. So it is searched for at once, from a
    /// neighbor of its super peer.
    pub(super) fn seek_acknowledged(&mut self) {
        let acknowledged = self.world.take_acknowledged();
        let (seek, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.fresh).into_iter().partition(|(node, word)| {
            let found = |(host, peer): &&(usize, usize)| {
                let waits = self.world.super_peer(*host).is_none_or(SuperPeer::is_acknowledging);
                peer == node && !waits && !self.world.registered(*host, &word_search(word)).is_empty()
            };
            acknowledged.iter().any(|ack| found(&ack))
        });
        self.fresh = wait;
        for (node, word) in seek {
            for host in self.world.supers_of(node) {
                for next in self.world.neighbors(host).to_vec() {
                    let there = |node: &usize| self.world.supers_of(*node).first() == Some(&next);
                    let asker = self.weak.clone().find(there);
                    // One search goes over its last hop, and one over a tree.
                    for ttl in [Some(1), None] {
                        asker.inspect(|asker| self.seek(*asker, &word, ttl));
                    }
                }
            }
        }
    }
}

fn word_search(word: &str) -> Search {
    Search::new(word, QueryKind::Words)
}
