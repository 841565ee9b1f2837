//! Queries as a neighboring super peer sends them: at a fixed depth, or at a fixed rate.

use std::net::SocketAddr;

use super::{LINK_PATIENCE, Load};
use crate::bench::plan::Phase;
use crate::time::Time;
use crate::wire::{LinkMessage, QueryId, link};

impl Load {
    pub(super) fn fill_link(&mut self) {
        while self.probes.len() < self.plan.depth && self.phase == Some(Phase::Measuring) {
            self.probe(self.now);
        }
    }

    pub(super) fn probe(&mut self, meant: Time) {
        let mut id = [0; QueryId::LEN];
        id[..8].copy_from_slice(&self.draw().to_be_bytes());
        id[8..].copy_from_slice(&self.draw().to_be_bytes());
        let (id, find) = (QueryId(id), self.search());
        if let Some(neighbor) = &self.neighbor {
            self.out.push_back(neighbor.query(id, find));
            self.probes.insert(id, meant);
        }
    }

    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        if self.neighbor.as_ref().is_none_or(|neighbor| neighbor.to != from) {
            return self.tally.error("unasked");
        }
        let Ok((_, messages)) = link::decode(bytes) else {
            return self.tally.error("malformed");
        };
        for message in messages {
            self.on_link_message(message);
        }
        if self.plan.rate.is_none() {
            self.fill_link();
        }
        self.check_setup();
        self.check_drained();
    }

    pub(super) fn on_link_message(&mut self, message: LinkMessage) {
        let counts = self.phase == Some(Phase::Measuring) || self.plan.rate.is_some();
        match message {
            LinkMessage::Hello(hello) => {
                let neighbor = self.neighbor.as_mut().expect("datagrams come from the neighbor only");
                self.out.extend(neighbor.on_hello(self.now, hello, &mut self.tally));
            }
            LinkMessage::Done(done) => {
                let Some(meant) = self.probes.remove(&done.id) else {
                    return self.tally.error("unasked");
                };
                if done.cut.shed > 0 {
                    self.tally.error("shed");
                } else if counts {
                    // The QUERY, its HITs and this DONE.
                    self.tally.messages += 2 + u64::from(done.hits);
                    self.note_answer(meant, done.hits);
                }
            }
            LinkMessage::Hit(_)
            | LinkMessage::Pending(_)
            | LinkMessage::Query(_)
            | LinkMessage::Cancel(_)
            | LinkMessage::Tree(_)
            | LinkMessage::Digest(_)
            | LinkMessage::Digested(_)
            | LinkMessage::Unknown(_) => {}
        }
    }

    /// Gives up queries without an answer, so that lost datagrams do not reduce the depth for good.
    pub(super) fn sweep_probes(&mut self) {
        if self.now < self.probes_swept + LINK_PATIENCE / 4 {
            return;
        }
        self.probes_swept = self.now;
        let (now, before) = (self.now, self.probes.len());
        self.probes.retain(|_, meant| now.since(*meant) < LINK_PATIENCE);
        for _ in self.probes.len()..before {
            self.tally.error("lost");
        }
        if self.plan.rate.is_none() {
            self.fill_link();
        }
    }
}
