//! Registered files as the oracle and the shadow compare them.

use std::collections::BTreeSet;

use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::search::{Scan, Step};
use crate::wire::{HostPort, Root, Search};

/// One registered file of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Path in the source's share.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// Where the source serves chunks.
    pub source: HostPort,
}

/// What is registered at a super peer and matches.
pub(super) fn registered(machine: &SuperPeer, search: &Search) -> BTreeSet<Match> {
    let unlimited = Search { limit: None, ..search.clone() };
    let mut scan = Scan::new(machine.index(), &unlimited).expect("a good pattern");
    let mut hits = Vec::new();
    loop {
        match scan.step(machine.index(), usize::MAX, &mut hits) {
            Step::More => {}
            Step::End { capped } => {
                assert!(!capped, "the oracle sees everything; ask for less");
                break;
            }
        }
    }
    hits.into_iter()
        .map(|hit| Match { path: hit.path.as_str().to_owned(), size: hit.size, root: hit.root, source: hit.addr })
        .collect()
}
