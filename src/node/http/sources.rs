//! The URLs at which other peers serve contents that were requested lately. Searches of the network
//! find them.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{HTTP_SEARCH_MAX, HTTP_SOURCES_KEPT, HTTP_SOURCES_KNOWN_MAX, HTTP_SOURCES_MAX};
use crate::time::Time;
use crate::wire::{HostPort, Root};

/// The URLs that are known, and the searches that run.
#[derive(Debug, Default)]
pub(super) struct Sources {
    known: BTreeMap<Root, Known>,
}

#[derive(Debug)]
struct Known {
    since: Time,
    done: bool,
    urls: BTreeSet<String>,
}

impl Sources {
    /// The sources of a content; none if a search for them runs or must begin.
    pub(super) fn find(&self, root: Root, now: Time) -> Option<Vec<String>> {
        let known = self.known.get(&root).filter(|known| known.done && now.since(known.since) < HTTP_SOURCES_KEPT)?;
        Some(known.urls.iter().cloned().collect())
    }

    /// The sources that were found so far.
    pub(super) fn so_far(&self, root: Root) -> Vec<String> {
        self.known.get(&root).map(|known| known.urls.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a search for sources runs and still has time to find some.
    pub(super) fn are_sought(&self, root: Root, now: Time) -> bool {
        self.known.get(&root).is_some_and(|known| now.since(known.since) < HTTP_SEARCH_MAX && !known.done)
    }

    /// A search for sources begins.
    pub(super) fn begin(&mut self, root: Root, now: Time) {
        if self.known.len() >= HTTP_SOURCES_KNOWN_MAX
            && let Some(oldest) = self.known.iter().min_by_key(|(_, known)| known.since).map(|(root, _)| *root)
        {
            self.known.remove(&oldest);
        }
        self.known.insert(root, Known { since: now, done: false, urls: BTreeSet::new() });
    }

    /// A source was found that serves the content over HTTP at this address.
    pub(super) fn add(&mut self, root: Root, at: &HostPort) {
        if let Some(known) = self.known.get_mut(&root).filter(|known| known.urls.len() < HTTP_SOURCES_MAX) {
            known.urls.insert(format!("http://{at}/root/{root}"));
        }
    }

    /// The search is over.
    pub(super) fn end(&mut self, root: Root) {
        if let Some(known) = self.known.get_mut(&root) {
            known.done = true;
        }
    }
}
