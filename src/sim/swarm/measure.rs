//! Computes the figures of a swarm from the counts of its nodes and its lines.

use std::time::Duration;

use super::figures::Figures;
use super::node::Node;
use super::{FIRST, SEED, Swarm};
use crate::config::PIECE_BYTES;

impl Swarm {
    pub(super) fn figures(&self) -> Figures {
        let Swarm { plan, nodes, tally, began, .. } = self;
        let (file, peers) = (plan.file_bytes() as f64, &nodes[FIRST as usize..]);
        let one_by_one = !plan.arrive.is_zero();
        let since = |node: &Node| if one_by_one { node.asked_at.unwrap_or(*began) } else { *began };
        let mut finished: Vec<Duration> =
            peers.iter().filter_map(|node| Some(node.done_at?.since(since(node)))).collect();
        finished.sort_unstable();
        let failed: Vec<&String> = peers.iter().filter_map(|node| node.failed.as_ref()).collect();
        let received: f64 = peers.iter().map(|node| node.received).sum();
        let kept = (tally.written * PIECE_BYTES) as f64;
        let control: u64 = tally.kinds.values().map(|kind| kind.bytes).sum();
        let sent = peers.iter().map(|node| node.sent / file);
        let unfinished = peers.len() - finished.len() - failed.len() - tally.left;
        Figures {
            bound: plan.bound(),
            left: tally.left,
            failed: failed.len(),
            why: failed.first().map(|why| (*why).clone()),
            unfinished,
            finished,
            seed_egress: nodes[SEED as usize].sent / file,
            copy_out: self.copy_out_at.map(|at| at.since(*began)),
            duplicates: (received - kept) / received.max(1.0),
            control: control as f64 / received.max(1.0),
            cross_zone: tally.crossed / file,
            joins: tally.joins,
            messages_super: tally.super_messages,
            kinds: tally.kinds.iter().map(|(name, kind)| (*name, *kind)).collect(),
            egress: (sent.clone().fold(0.0, f64::max), sent.fold(f64::INFINITY, f64::min)),
            happened: tally.happened,
        }
    }
}
