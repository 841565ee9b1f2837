//! From the hits of a `get` to the order of a download. A content is its root and size, never its
//! name.

use std::collections::BTreeMap;

use super::task::{Job, Task};
use crate::proto::DownloadId;
use crate::proto::disk::Destination;
use crate::proto::weak_peer::download::Order;
use crate::proto::weak_peer::sessions::Sessions;
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, QueryKind, Root};

/// A content that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) root: Root,
    /// In bytes.
    pub(super) size: u64,
    /// A name from one of its sources.
    pub(super) name: String,
}

/// What the hits of a `get` mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing was found.
    None,
    One(Content),
    /// This number of different contents.
    Many(usize),
}

/// Chooses among hits: those whose name is exactly `what`, or all if none is. For a root it
/// believes the size that most sources report; the download proves it.
pub(super) fn choose(what: &str, hits: &[SourceRecord]) -> Choice {
    let exact = |record: &&SourceRecord| record.path.name() == what;
    let only_exact = hits.iter().any(|record| exact(&record));
    let mut contents: BTreeMap<(Root, u64), (usize, &SourceRecord)> = BTreeMap::new();
    for record in hits.iter().filter(|record| !only_exact || exact(record)) {
        contents.entry((record.root, record.size)).or_insert((0, record)).0 += 1;
    }
    let many = contents.len();
    let by_root = QueryKind::of(what) == QueryKind::Root;
    match contents.into_iter().max_by_key(|(_, (sources, _))| *sources) {
        None => Choice::None,
        Some(_) if many > 1 && !by_root => Choice::Many(many),
        Some(((root, size), (_, record))) => Choice::One(Content { root, size, name: record.path.name().to_owned() }),
    }
}

/// The order to download a content that a `get` found. `searching` says that its search may bring
/// more sources.
pub(super) fn order(
    task: &Task,
    id: DownloadId,
    sessions: &Sessions,
    content: Content,
    searching: bool,
) -> Option<Order> {
    let Task { job: Job::Get { get, hits, search, .. }, client: Some(client), since, .. } = task else { return None };
    let Content { root, size, name } = content;
    let mut sources: Vec<HostPort> = Vec::new();
    for record in hits.iter().filter(|record| (record.root, record.size) == (root, size)) {
        if !sources.contains(&record.addr) {
            sources.push(record.addr.clone());
        }
    }
    // Our own copy is a source only if there is no other.
    if sources.iter().any(|source| !sessions.is_own(source)) {
        sources.retain(|source| !sessions.is_own(source));
    }
    let other_size = |record: &&SourceRecord| record.root == root && record.size != size;
    let others = hits.iter().filter(other_size).map(|record| (record.addr.clone(), record.size)).collect();
    let destination = match &get.out {
        Some(path) => Destination::Path { path: path.clone(), name: name.clone() },
        None => Destination::Share { name: name.clone() },
    };
    Some(Order {
        id,
        client: *client,
        asked_at: *since,
        root,
        size,
        name,
        verify: get.verify,
        destination,
        sources,
        others,
        tried: Vec::new(),
        only: get.from.is_some(),
        widen: get.from.is_none() && search.kind != QueryKind::Root,
        searching,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SharePath;

    fn hit(path: &str, root: u8, size: u64, port: u16) -> SourceRecord {
        let addr = crate::wire::HostPort::new("192.0.2.1", port).unwrap();
        SourceRecord { path: SharePath::new(path).unwrap(), size, root: Root([root; 32]), addr }
    }

    fn one(root: u8, size: u64, name: &str) -> Choice {
        Choice::One(Content { root: Root([root; 32]), size, name: name.into() })
    }

    #[test]
    fn an_exact_name_goes_before_others() {
        let hits = [hit("a/train two.mp3", 1, 5, 1), hit("b/train.mp3", 2, 6, 2), hit("train.mp3", 2, 6, 3)];
        assert_eq!(choose("train.mp3", &hits), one(2, 6, "train.mp3"));
        assert_eq!(choose("train", &hits), Choice::Many(2));
    }

    #[test]
    fn one_name_of_two_contents_is_two_results() {
        assert_eq!(choose("x", &[hit("x", 1, 5, 1), hit("y/x", 2, 5, 2)]), Choice::Many(2));
        assert_eq!(choose("x", &[hit("x", 1, 5, 1), hit("x", 1, 6, 2)]), Choice::Many(2));
        assert_eq!(choose("x", &[]), Choice::None);
    }

    #[test]
    fn a_root_is_one_content_of_the_length_that_most_report() {
        let root = Root([1; 32]).to_string();
        let hits = [hit("x", 1, 9, 1), hit("x", 1, 5, 2), hit("y", 1, 5, 3)];
        assert_eq!(choose(&root, &hits), one(1, 5, "x"));
    }
}
