//! How a session gets the answer to its query: HITs in pages, then DONE.

use crate::config::PAGE_BYTES;
use crate::proto::super_peer::context::{Context, OWN};
use crate::proto::super_peer::counters::Count;
use crate::proto::{ConnId, Event};
use crate::wire::message::{Done, Hit, SourceRecord};
use crate::wire::{Cut, Message};

/// Keys, lengths, size, root, node and marks of one hit in MessagePack, rounded up.
const RECORD_BYTES: usize = 116;

/// The same of its second address.
const OTHER_BYTES: usize = 12;

/// Bytes of a hit on the wire, rounded up.
pub(super) fn weight(hit: &SourceRecord) -> usize {
    let other = hit.other.as_ref().map_or(0, |other| other.host().len() + OTHER_BYTES);
    hit.path.as_str().len() + hit.addr.host().len() + other + RECORD_BYTES
}

/// What a query of a session came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Hits that were sent.
    pub(super) hits: u32,
    /// Super peers that searched.
    pub(super) reached: u32,
    /// Links that a digest spared.
    pub(super) pruned: u32,
    pub(super) cut: Cut,
    /// How long it took, in milliseconds.
    pub(super) ms: u32,
}

/// Sends DONE to a session.
pub(super) fn send_done(conn: ConnId, req: u32, outcome: Outcome, cx: &mut Context) {
    if conn == OWN {
        return cx.found.push((req, None));
    }
    let Outcome { hits, reached, pruned, cut, ms } = outcome;
    let complete = cut.is_none();
    if cx.config.reports_queries {
        cx.report(Event::Answered { session: conn, req, hits, reached, cut, ms });
    }
    cx.count(if complete { Count::QueriesComplete } else { Count::QueriesCut });
    cx.send(conn, Message::Done(Done { req, hits, reached, pruned, complete, cut, ms }));
}

/// Sends hits to a session, in frames of at most a page. Returns their bytes, rounded up.
pub(super) fn send_hits(conn: ConnId, req: u32, hits: Vec<SourceRecord>, cx: &mut Context) -> usize {
    let all = hits.iter().map(weight).sum();
    if conn == OWN {
        cx.found.push((req, Some(hits)));
        return all;
    }
    cx.counters.add_many(Count::HitsTold, hits.len() as u64);
    if all <= PAGE_BYTES {
        if !hits.is_empty() {
            cx.send(conn, Message::Hit(Hit { req, hits }));
        }
        return all;
    }
    let mut page = Vec::new();
    let mut bytes = 0;
    for hit in hits {
        let more = weight(&hit);
        if bytes + more > PAGE_BYTES {
            let hits = std::mem::take(&mut page);
            cx.send(conn, Message::Hit(Hit { req, hits }));
            bytes = 0;
        }
        bytes += more;
        page.push(hit);
    }
    if !page.is_empty() {
        cx.send(conn, Message::Hit(Hit { req, hits: page }));
    }
    all
}
