//! From the hits of a `get` to the order of a download. A content is its root: a name identifies
//! nothing, and a size is only what a stranger claims.

use std::collections::BTreeMap;
use std::time::Duration;

use super::task::{Job, Task};
use crate::proto::DownloadId;
use crate::proto::disk::Destination;
use crate::proto::weak_peer::context::Context;
use crate::proto::weak_peer::download::{Order, Pool};
use crate::proto::weak_peer::sessions::Sessions;
use crate::wire::message::SourceRecord;
use crate::wire::{QueryKind, Root};

/// A content that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) root: Root,
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

/// Chooses among hits: those whose name is exactly `what`, or all if none is.
pub(super) fn choose(what: &str, hits: &[SourceRecord]) -> Choice {
    let exact = |record: &&SourceRecord| record.path.name() == what;
    let only_exact = hits.iter().any(|record| exact(&record));
    let mut contents: BTreeMap<Root, &SourceRecord> = BTreeMap::new();
    for record in hits.iter().filter(|record| !only_exact || exact(record)) {
        contents.entry(record.root).or_insert(record);
    }
    let many = contents.len();
    match contents.pop_first() {
        None => Choice::None,
        Some(_) if many > 1 => Choice::Many(many),
        Some((root, record)) => Choice::One(Content { root, name: record.path.name().to_owned() }),
    }
}

/// The order to download a content that a `get` found. `searching` says that its search may bring
/// more sources.
pub(super) fn order(
    cx: &mut Context,
    task: &Task,
    (id, timeout): (DownloadId, Duration),
    sessions: &Sessions,
    content: Content,
    searching: bool,
) -> Option<Order> {
    let Task { job: Job::Get { get, hits, search, .. }, client: Some(client), since, .. } = task else { return None };
    let Content { root, name } = content;
    let name = get.name.clone().unwrap_or(name);
    let mut sources: Vec<&SourceRecord> = hits.iter().filter(|record| record.root == root).collect();
    // Our own copy is a source only if there is no other.
    if sources.iter().any(|source| !sessions.is_own(&source.addr)) {
        sources.retain(|source| !sessions.is_own(&source.addr));
    }
    let mut pool = Pool::default();
    sources.into_iter().for_each(|record| pool.offer(cx, record.addr.clone(), record.size));
    let destination = match &get.out {
        Some(path) => Destination::Path { path: path.clone(), name: name.clone() },
        None => Destination::Share { name: name.clone() },
    };
    Some(Order {
        id,
        client: *client,
        asked_at: *since,
        root,
        name,
        verify: get.verify,
        destination,
        timeout: get.timeout.map_or(timeout, Duration::from_millis),
        pool,
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
        SourceRecord {
            path: SharePath::new(path).unwrap(),
            size,
            root: Root([root; 32]),
            addr,
            collection: false,
            node: None,
        }
    }

    fn one(root: u8, name: &str) -> Choice {
        Choice::One(Content { root: Root([root; 32]), name: name.into() })
    }

    #[test]
    fn an_exact_name_goes_before_others() {
        let hits = [hit("a/train two.mp3", 1, 5, 1), hit("b/train.mp3", 2, 6, 2), hit("train.mp3", 2, 6, 3)];
        assert_eq!(choose("train.mp3", &hits), one(2, "train.mp3"));
        assert_eq!(choose("train", &hits), Choice::Many(2));
    }

    #[test]
    fn one_name_of_two_contents_is_two_results() {
        assert_eq!(choose("x", &[hit("x", 1, 5, 1), hit("y/x", 2, 5, 2)]), Choice::Many(2));
        assert_eq!(choose("x", &[]), Choice::None);
    }

    #[test]
    fn one_root_is_one_content_whatever_sizes_are_claimed() {
        let root = Root([1; 32]).to_string();
        let hits = [hit("x", 1, 9, 1), hit("x", 1, 5, 2), hit("x", 1, 5, 3)];
        assert_eq!(choose(&root, &hits), one(1, "x"));
        assert_eq!(choose("x", &hits), one(1, "x"));
    }
}
