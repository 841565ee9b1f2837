//! Which hits are the same one.

use std::collections::BTreeSet;

use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, Root, SharePath};

/// Hits that were taken. Two super peers may send the same hit, and so may one that is asked again.
pub(super) type Known = BTreeSet<(Root, u64, HostPort, SharePath)>;

/// Which hit this is. The size counts: a false one must not hide the right one.
pub(super) fn key(record: &SourceRecord) -> (Root, u64, HostPort, SharePath) {
    (record.root, record.size, record.addr.clone(), record.path.clone())
}
