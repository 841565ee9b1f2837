//! How a session gets the answer to its query: HITs in pages, then DONE.

use crate::config::PAGE_BYTES;
use crate::proto::super_peer::context::{Context, OWN};
use crate::proto::super_peer::counters::Count;
use crate::proto::{ConnId, Event};
use crate::wire::message::{Done, Hit, SourceRecord};
use crate::wire::{Cut, Message};

/// Keys, lengths, size, root, node and marks of one hit in MessagePack, rounded up.
const RECORD_BYTES: usize = 116;

/// Bytes of its second address, in the same encoding.
const OTHER_BYTES: usize = 12;

/// Bytes of its fields about a swarm, without the name of the zone.
const MEMBER_BYTES: usize = 20;

/// Bytes of a hit on the wire, rounded up.
#[inline]
pub(super) fn weight(hit: &SourceRecord) -> usize {
    let other = hit.other.as_ref().map_or(0, |other| other.host().len() + OTHER_BYTES);
    let member = hit.member.as_ref().map_or(0, |m| m.zone.as_ref().map_or(0, String::len) + MEMBER_BYTES);
    hit.path.as_str().len() + hit.addr.host().len() + other + member + RECORD_BYTES
}

/// The result of a query of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Hits that were sent.
    pub(super) hits: u32,
    /// Super peers that searched.
    pub(super) reached: u32,
    /// Links that were not asked because of a digest.
    pub(super) pruned: u32,
    pub(super) cut: Cut,
    /// How long the query took, in milliseconds.
    pub(super) ms: u32,
}

/// Sends DONE to a session.
#[inline(always)]
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
    cx.answer(conn, Message::Done(Done { req, hits, reached, pruned, complete, cut, ms }));
}

/// Sends hits to a session, in frames of at most one page. Returns the bytes of the frames, rounded
/// up.
#[inline(always)]
pub(super) fn send_hits(conn: ConnId, req: u32, hits: Vec<SourceRecord>, cx: &mut Context) -> usize {
    let mut all = 0;
    for hit in &hits {
        all += weight(hit);
    }
    if conn == OWN {
        cx.found.push((req, Some(hits)));
        return all;
    }
    cx.counters.add_many(Count::HitsSent, hits.len() as u64);
    if all <= PAGE_BYTES {
        if !hits.is_empty() {
            cx.answer(conn, Message::Hit(Hit { req, hits }));
        }
    } else {
        send_pages(conn, req, hits, cx);
    }
    all
}

fn send_pages(conn: ConnId, req: u32, hits: Vec<SourceRecord>, cx: &mut Context) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::swarm::Membership;
    use crate::wire::{HostPort, NodeId, Root, SharePath, frame};

    fn bytes_of(hits: Vec<SourceRecord>) -> usize {
        let mut frame = Vec::new();
        frame::encode(&Message::Hit(Hit { req: 1, hits }), &mut frame);
        frame.len()
    }

    #[test]
    fn no_hit_has_more_bytes_than_its_weight() {
        for folders in [0, 10, 100, 200] {
            let path = "p/".repeat(folders) + "name";
            let hit = SourceRecord {
                path: SharePath::new(&path).expect("a path"),
                size: u64::MAX,
                root: Root([0xff; 32]),
                collection: true,
                node: Some(NodeId([0xff; 16])),
                addr: HostPort::new("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", u16::MAX).expect("an address"),
                other: Some(HostPort::new(&"x".repeat(100), u16::MAX).expect("an address")),
                unreached: true,
                http: true,
                member: Some(Box::new(Membership { partial: true, zone: Some("z".repeat(32)) })),
            };
            let (weight, bytes) = (weight(&hit), bytes_of(vec![hit]) - bytes_of(Vec::new()));
            assert!(bytes <= weight && weight <= bytes + 32, "{bytes} bytes, weight {weight}");
        }
    }
}
