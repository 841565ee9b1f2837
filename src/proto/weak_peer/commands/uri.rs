//! The URI of a content that a search found or the disk described. It does not search.

use std::collections::BTreeMap;

use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::disk::{Described, DiskFailure, DiskFailureKind};
use crate::proto::weak_peer::context::Context;
use crate::proto::weak_peer::sessions::Sessions;
use crate::wire::message::SourceRecord;
use crate::wire::uri::{SuperPeer, Uri};
use crate::wire::{HostPort, Root};

/// Why several files have no URI.
pub(super) const SEVERAL: &str = "only one file or one collection has a URI: name a file, or its root; name a folder by \
                                  its path on this machine, and its collection without the slash";

/// If the content is a collection: a note that it has no later changes of its folder.
pub(super) fn age(root: Root, name: &str, hits: &[SourceRecord]) -> Option<ClientEvent> {
    let is_collection = hits.iter().any(|hit| hit.root == root && hit.collection);
    let again =
        "later changes of the folder are not in it; the path of the folder, in place of its name, makes a new URI";
    is_collection
        .then(|| ClientEvent::Note { message: format!("{name} is a collection that was made before; {again}") })
}

/// The event with the URI of a content. It names the super peers of this peer, in login mode by
/// their keys.
pub(super) fn event(sessions: &Sessions, cx: &Context, described: Described) -> ClientEvent {
    let Described { root, size, name, files, bytes, left_out } = described;
    let key = |addr: &HostPort| cx.membership.as_ref().and_then(|membership| membership.key_of(addr));
    let named = |addr: &HostPort| SuperPeer { key: key(addr).map(|key| key.to_string()), addr: addr.clone() };
    let supers = sessions.super_peers().map(named).collect();
    let uri = Uri { root, size: Some(size), supers, name: Some(name.clone()) }.to_string();
    ClientEvent::Uri { uri, name, size, root, files, bytes, left_out }
}

/// What hits say about a content. Its size is the one that most hits claim.
pub(super) fn described(root: Root, name: String, hits: &[SourceRecord]) -> Described {
    let mut claims: BTreeMap<u64, usize> = BTreeMap::new();
    hits.iter().filter(|hit| hit.root == root).for_each(|hit| *claims.entry(hit.size).or_default() += 1);
    let size = claims.into_iter().rev().max_by_key(|(_, sources)| *sources).map_or(0, |(size, _)| size);
    Described { root, size, name, files: None, bytes: size, left_out: 0 }
}

/// The failure for a path that has no URI.
pub(super) fn failure(DiskFailure { kind, message }: DiskFailure) -> Failure {
    let exit = match kind {
        DiskFailureKind::Outside => Exit::Usage,
        DiskFailureKind::Nothing => Exit::NotFound,
        DiskFailureKind::Taken
        | DiskFailureKind::Locked
        | DiskFailureKind::Full
        | DiskFailureKind::Name
        | DiskFailureKind::Malformed
        | DiskFailureKind::Io => Exit::Disk,
    };
    Failure::new(exit, message)
}
