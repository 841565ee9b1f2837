//! The list of the network: adds up the hits of its pages to contents. It owns the contents that
//! are not listed yet. It sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Answer;
use super::pages::{Page, Pages};
use crate::config::{LIST_NAMES_MAX, LIST_SOURCES_MAX};
use crate::proto::ClientEvent;
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, QueryKind, Root, Search};

/// The sources and names of one content.
#[derive(Debug, Default)]
struct Content {
    /// How many hits claim each size.
    sizes: BTreeMap<u64, u32>,
    sources: BTreeSet<HostPort>,
    /// Number of hits that were not kept because there are [`LIST_SOURCES_MAX`] sources.
    beyond: u32,
    names: BTreeMap<String, u32>,
}

/// A running list of the network.
#[derive(Debug)]
pub(super) struct Walk {
    pages: Pages,
    /// Contents of which the next page may bring more hits.
    open: BTreeMap<Root, Content>,
    /// Contents listed so far.
    pub(super) contents: u64,
}

impl Walk {
    pub(super) fn new() -> Walk {
        Walk { pages: Pages::new(), open: BTreeMap::new(), contents: 0 }
    }

    /// The answer to the complete list: the smallest reach of all pages, whether every page was
    /// complete, and the largest count of each cut.
    pub(super) fn answer(&self) -> Answer {
        self.pages.answer()
    }

    /// The number of hits in all earlier pages.
    pub(super) fn hits(&self) -> u64 {
        self.pages.hits
    }

    /// The query for the current page.
    pub(super) fn search(&self) -> Search {
        let pattern = self.pages.range().to_string();
        Search::new(pattern, QueryKind::Range)
    }

    /// Takes hits that lie in the current page, and ignores all others.
    pub(super) fn on_hits(&mut self, hits: Vec<SourceRecord>) {
        self.pages.on_hits(hits);
    }

    /// The answer to the page has come. Returns the contents that are finished, in the order of
    /// their roots, and whether the list is over.
    pub(super) fn on_done(&mut self, answer: Answer) -> (Vec<ClientEvent>, bool) {
        let Page::Over(page, next) = self.pages.on_done(answer) else { return (Vec::new(), false) };
        for hit in page {
            self.open.entry(hit.root).or_default().add(&hit);
        }
        let rest = next.map_or_else(BTreeMap::new, |next| self.open.split_off(&next.root()));
        let known = std::mem::replace(&mut self.open, rest);
        self.contents += known.len() as u64;
        let known = known.into_iter().map(|(root, content)| content.event(root)).collect();
        (known, next.is_none())
    }

    /// The current page must be requested again.
    pub(super) fn on_lost(&mut self) {
        self.pages.on_lost();
    }
}

impl Content {
    fn add(&mut self, hit: &SourceRecord) {
        if self.sizes.len() < LIST_NAMES_MAX || self.sizes.contains_key(&hit.size) {
            *self.sizes.entry(hit.size).or_default() += 1;
        }
        if self.sources.len() < LIST_SOURCES_MAX {
            self.sources.insert(hit.addr.clone());
        } else if !self.sources.contains(&hit.addr) {
            self.beyond = self.beyond.saturating_add(1);
        }
        let name = hit.path.name();
        if let Some(times) = self.names.get_mut(name) {
            *times = times.saturating_add(1);
        } else if self.names.len() < LIST_NAMES_MAX {
            self.names.insert(name.to_owned(), 1);
        }
    }

    /// Its size is the one that most hits claim. If two sizes have equally many claims, it is the
    /// smaller one.
    fn event(self, root: Root) -> ClientEvent {
        let most = self.sizes.iter().min_by_key(|(_, hits)| std::cmp::Reverse(**hits));
        let size = most.map_or(0, |(size, _)| *size);
        let sources = u32::try_from(self.sources.len()).unwrap_or(u32::MAX).saturating_add(self.beyond);
        let mut names: Vec<(String, u32)> = self.names.into_iter().collect();
        names.sort_unstable_by(|(a, often), (b, more)| more.cmp(often).then_with(|| a.cmp(b)));
        ClientEvent::Content { root, size, sources, names: names.into_iter().map(|(name, _)| name).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::position::{Position, Range};
    use crate::wire::{Cut, SharePath};

    fn hit(root: Root, n: u16) -> SourceRecord {
        let path = SharePath::new(&format!("d/name {}", n % 3)).unwrap();
        SourceRecord {
            path,
            size: 5,
            root,
            addr: HostPort::new("192.0.2.1", n).unwrap(),
            collection: false,
            node: None,
            other: None,
            unreached: false,
            http: false,
            member: None,
        }
    }

    fn root(n: u64) -> Root {
        Root(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    /// Lists the files of several super peers. Each sends at most `cap` hits, in an order of its
    /// own.
    fn listed(supers: &[Vec<SourceRecord>], cap: usize) -> (Vec<(Root, u32)>, Answer, u64) {
        let mut walk = Walk::new();
        let mut listed = Vec::new();
        loop {
            let range = Range::parse(&walk.search().pattern).unwrap();
            let mut cut = Cut::NONE;
            let mut delivered = 0;
            for index in supers {
                let fits = |hit: &&SourceRecord| range.holds(&Position::of(&hit.root, hit.path.as_str(), &hit.addr));
                let mut hits: Vec<_> = index.iter().filter(fits).cloned().collect();
                if hits.len() + delivered > cap {
                    cut.cap += 1;
                    hits.truncate(cap - delivered);
                }
                delivered += hits.len();
                walk.on_hits(hits);
            }
            let reached = u32::try_from(supers.len()).unwrap();
            let (known, over) = walk.on_done(Answer { reached, pruned: 0, complete: cut.is_none(), cut });
            for event in known {
                let ClientEvent::Content { root, sources, .. } = event else { panic!("contents only") };
                listed.push((root, sources));
            }
            if over {
                return (listed, walk.answer(), walk.pages.pages);
            }
        }
    }

    #[test]
    fn every_content_is_listed_once_whatever_the_caps() {
        let supers: Vec<Vec<_>> = (0..3_u16)
            .map(|s| (0..4000).filter(|n| n % 4 != u64::from(s)).map(|n| hit(root(n), s + 1)).collect())
            .collect();
        let mut expected: BTreeMap<Root, u32> = BTreeMap::new();
        supers.iter().flatten().for_each(|hit| *expected.entry(hit.root).or_default() += 1);
        for cap in [1000, 333, 100] {
            let (contents, answer, pages) = listed(&supers, cap);
            assert_eq!(contents, expected.clone().into_iter().collect::<Vec<_>>(), "in the order of roots, each once");
            assert!(answer.complete && answer.reached == 3, "{answer:?}");
            let least = 9000 / u64::try_from(cap).unwrap();
            assert!(pages >= least && pages < 6 * least + 20, "{pages} pages with a cap of {cap}");
        }
    }

    #[test]
    fn all_sources_of_a_content_are_counted_beyond_any_cap() {
        let mut hits: Vec<_> = (1..=5000).map(|n| hit(root(7), n)).collect();
        hits.extend((0..50).map(|n| hit(root(100 + n), 1)));
        let (contents, answer, _) = listed(&[hits], 1000);
        assert_eq!(contents.len(), 51);
        assert_eq!(contents.iter().find(|(root, _)| *root == self::root(7)).unwrap().1, 5000);
        assert!(answer.complete);
    }

    #[test]
    fn a_super_peer_that_always_reports_a_cap_ends_incomplete() {
        let cap = Answer { reached: 1, pruned: 0, complete: false, cut: Cut { cap: 1, ..Cut::NONE } };
        let mut walk = Walk::new();
        let mut pages = 0;
        loop {
            let range = Range::parse(&walk.search().pattern).unwrap();
            let fits = |hit: &SourceRecord| range.holds(&Position::of(&hit.root, hit.path.as_str(), &hit.addr));
            walk.on_hits((0..200).map(|n| hit(root(n), 1)).filter(fits).collect());
            let (_, over) = walk.on_done(cap);
            pages += 1;
            if over {
                break;
            }
        }
        assert!(pages < 200 && !walk.answer().complete && walk.contents == 200, "{pages} pages");
    }

    #[test]
    fn the_names_of_a_content_are_ranked() {
        let mut walk = Walk::new();
        walk.on_hits([3, 6, 9, 1, 4, 2].map(|n| hit(root(1), n)).into());
        let (known, over) = walk.on_done(Answer { reached: 1, pruned: 0, complete: true, cut: Cut::NONE });
        let names = ["name 0", "name 1", "name 2"].map(str::to_owned).to_vec();
        assert_eq!(known, [ClientEvent::Content { root: root(1), size: 5, sources: 6, names }]);
        assert!(over && walk.hits() == 6);
    }
}
