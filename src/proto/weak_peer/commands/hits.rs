//! Which hits are the same one.

use std::collections::BTreeSet;

use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, NodeId, Root, SharePath};

/// Hits that were taken. Two super peers may send the same hit, and so may one that is asked again.
pub(super) type Known = BTreeSet<(Root, u64, HostPort, SharePath)>;

/// Which hit this is. The size counts: a false one must not hide the right one.
pub(super) fn key(record: &SourceRecord) -> (Root, u64, HostPort, SharePath) {
    (record.root, record.size, record.addr.clone(), record.path.clone())
}

/// The same, with all that hits say of the source: what one says must not hide what another says.
pub(super) type KnownSources =
    BTreeSet<((Root, u64, HostPort, SharePath), Option<NodeId>, Option<HostPort>, bool, bool)>;

/// Notes a hit; says whether it is new.
pub(super) fn is_new(known: &mut KnownSources, record: &SourceRecord) -> bool {
    known.insert((key(record), record.node, record.other.clone(), record.unreached, record.http))
}
