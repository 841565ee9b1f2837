//! A session's query at a super peer without neighbors: it is searched and answered at once, and no
//! wave is kept.

use std::collections::HashSet;

use super::answer::{Outcome, send_done, send_hits};
use crate::proto::ConnId;
use crate::proto::super_peer::context::Context;
use crate::proto::super_peer::counters::Count;
use crate::wire::Cut;
use crate::wire::message::SourceRecord;

/// Two sessions may serve at the same address.
#[inline(never)]
fn drop_duplicates(found: &mut Vec<SourceRecord>, cx: &mut Context) {
    let mut seen = HashSet::new();
    found.retain(|hit| {
        let new = seen.insert(cx.index.hit_key(hit));
        cx.counters.add_many(Count::HitsDuplicate, u64::from(!new));
        new
    });
}

/// Sends all hits to a session, and DONE. Returns the bytes of the hits.
#[inline(always)]
pub(super) fn answer(conn: ConnId, req: u32, mut found: Vec<SourceRecord>, capped: bool, cx: &mut Context) -> usize {
    if found.len() > 1 {
        drop_duplicates(&mut found, cx);
    }
    let hits = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let bytes = send_hits(conn, req, found, cx);
    let cut = Cut { cap: u32::from(capped), starting: u32::from(cx.starting), ..Cut::NONE };
    send_done(conn, req, Outcome { hits, reached: 1, pruned: 0, cut, ms: 0 }, cx);
    bytes
}
