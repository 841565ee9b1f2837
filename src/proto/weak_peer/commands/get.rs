//! Makes the order of a download from the hits of a `get`. A content is identified by its root
//! alone: a name identifies nothing, and a size is only the claim of a stranger.

use std::time::Duration;

use super::task::{Job, Task};
use super::want::Content;
use crate::error::Failure;
use crate::proto::disk::Destination;
use crate::proto::weak_peer::batch::{Entry, Many, tell_apart};
use crate::proto::weak_peer::contact::claim_of;
use crate::proto::weak_peer::context::Context;
use crate::proto::weak_peer::download::{Order, Pool, is_possible};
use crate::proto::weak_peer::sessions::Sessions;
use crate::proto::{ClientId, DownloadId, command};
use crate::time::Time;
use crate::wire::message::SourceRecord;

/// The files of a `get` whose contents are known.
pub(super) fn known(get: &command::Get, sessions: &Sessions) -> Vec<Entry> {
    let possible = get.known.iter().filter(|known| is_possible(known.root, known.size));
    let entry = |known: &command::KnownContent| {
        let mut entry = Entry { collection: known.collection, ..Entry::new(&known.name, known.root) };
        let dialable = known.sources.iter().map(|addr| addr.canonical()).filter(|addr| addr.is_dialable());
        entry.sources.extend(dialable.map(|addr| (addr.into(), known.size)));
        if entry.sources.iter().any(|(at, _)| !sessions.is_own(at)) {
            entry.sources.retain(|(at, _)| !sessions.is_own(at));
        }
        entry
    };
    let mut entries: Vec<Entry> = possible.map(entry).collect();
    tell_apart(&mut entries);
    entries
}

/// The order to download many files.
pub(super) fn many(
    get: command::Get,
    (client, asked_at): (ClientId, Time),
    entries: Vec<Entry>,
    failures: Vec<Failure>,
    timeout: Duration,
) -> Many {
    let command::Get { out, verify, order, timeout: own, from, .. } = get;
    let timeout = own.map_or(timeout, Duration::from_millis);
    let (folder, only) = (out, from.is_some());
    Many { client, asked_at, entries, failures, folder, verify, pieces: order, timeout, only }
}

/// The order to download a content that a `get` found. `searching` says that its search still runs
/// and may bring more sources.
pub(super) fn order(
    cx: &mut Context,
    task: &Task,
    (id, timeout): (DownloadId, Duration),
    sessions: &Sessions,
    content: Content,
    searching: bool,
) -> Option<Order> {
    let Task { job: Job::Get { get, want }, client: Some(client), since, .. } = task else { return None };
    let Content { root, name } = content;
    let name = get.name.clone().unwrap_or(name);
    let mut sources: Vec<&SourceRecord> = want.hits.iter().filter(|record| record.root == root).collect();
    // Our own copy is a source only if there is no other.
    if sources.iter().any(|source| !sessions.is_own_hit(source)) {
        sources.retain(|source| !sessions.is_own_hit(source));
    }
    let collection = sources.iter().any(|source| source.collection);
    let mut pool = Pool::default();
    sources.into_iter().for_each(|record| pool.offer(cx, record.into(), claim_of(record)));
    let destination = match &get.out {
        Some(path) => Destination::Path { path: path.clone(), name: name.clone() },
        None => Destination::Share { name: name.clone() },
    };
    let destination = if collection { Destination::Collection(Box::new(destination)) } else { destination };
    Some(Order {
        id,
        client: *client,
        parent: None,
        collection,
        asked_at: *since,
        root,
        name,
        verify: get.verify,
        pieces: get.order,
        destination,
        timeout: get.timeout.map_or(timeout, Duration::from_millis),
        pool,
        only: get.from.is_some(),
        widen: get.from.is_none() && !want.is_root(),
        searching,
        is_small: false,
        is_part: false,
    })
}
