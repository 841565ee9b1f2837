//! Whether two hits are the same.

use std::collections::BTreeSet;

use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, NodeId, Root, SharePath};

/// Hits that were accepted. Two super peers may send the same hit, and one super peer may send it
/// again when it is asked again.
pub(super) type Known = BTreeSet<(Root, u64, HostPort, SharePath)>;

/// The key of a hit. It contains the size, so that a false size does not hide the correct one.
pub(super) fn key(record: &SourceRecord) -> (Root, u64, HostPort, SharePath) {
    (record.root, record.size, record.addr.clone(), record.path.clone())
}

/// Hits with everything that they say about the source, so that one claim does not hide another
/// one.
pub(super) type KnownSources =
    BTreeSet<((Root, u64, HostPort, SharePath), Option<NodeId>, Option<HostPort>, bool, bool)>;

/// Notes a hit. Returns whether it is new.
pub(super) fn is_new(known: &mut KnownSources, record: &SourceRecord) -> bool {
    known.insert((key(record), record.node, record.other.clone(), record.unreached, record.http))
}
