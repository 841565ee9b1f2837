//! A session's query at a super peer without neighbours: searched and answered in one go, with no wave to remember.

use std::collections::BTreeSet;

use super::Cx;
use super::instance::{tell_done, tell_hits};
use crate::proto::ConnId;
use crate::proto::super_peer::counters::Count;
use crate::wire::Cut;
use crate::wire::message::SourceRecord;

/// Tells a session all that was found, and that this is all.
pub(super) fn answer(conn: ConnId, req: u32, mut found: Vec<SourceRecord>, capped: bool, cx: &mut Cx<'_>) {
    if found.len() > 1 {
        // Two sessions may serve at one address.
        let mut seen = BTreeSet::new();
        found.retain(|hit| {
            let new = seen.insert((hit.root, hit.path.clone(), hit.addr.clone()));
            cx.counters.add_many(Count::HitsDuplicate, u64::from(!new));
            new
        });
    }
    let hits = u32::try_from(found.len()).unwrap_or(u32::MAX);
    cx.counters.add_many(Count::HitsTold, u64::from(hits));
    tell_hits(conn, req, found, cx);
    let cut = Cut { cap: u32::from(capped), ..Cut::NONE };
    tell_done(conn, req, (hits, 1, 0), cut, 0, cx);
}
