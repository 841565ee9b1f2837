//! The bench as a neighboring super peer: one link, opened by HELLO and kept open.

use std::net::SocketAddr;

use super::tally::Tally;
use crate::config::{FOLD, LINK_KEEPALIVE, QUERY_REPEAT_MIN};
use crate::proto::Output;
use crate::time::Time;
use crate::wire::link::{LinkHello, LinkQuery};
use crate::wire::{LinkMessage, NodeId, QueryId, Search};

/// Milliseconds that a query may take. This is short, because the super peer remembers the query
/// for that long.
const BUDGET_MS: u32 = 100;

/// One link to the super peer.
#[derive(Debug)]
pub(in crate::bench) struct Neighbor {
    pub(in crate::bench) to: SocketAddr,
    node: NodeId,
    boot: u64,
    /// The super peer's boot id; 0 while it is not known.
    theirs: u64,
    up: bool,
    /// When the next HELLO is due.
    pub(in crate::bench) greet_at: Time,
}

impl Neighbor {
    pub(in crate::bench) fn new(to: SocketAddr, node: NodeId, boot: u64) -> Neighbor {
        Neighbor { to, node, boot: boot.max(1), theirs: 0, up: false, greet_at: Time::ZERO }
    }

    pub(in crate::bench) fn is_up(&self) -> bool {
        self.up
    }

    fn hello(&self, now: Time, et: Option<u64>) -> Output {
        let (boot, echo, t) = (self.boot, self.theirs, now.as_micros());
        let hello = LinkHello {
            node: self.node,
            boot,
            echo,
            t,
            et,
            tree: None,
            whole: false,
            dg: None,
            de: None,
            fold: Some(FOLD),
        };
        self.send(LinkMessage::Hello(hello))
    }

    /// Returns a HELLO if it is due.
    pub(in crate::bench) fn greet(&mut self, now: Time) -> Option<Output> {
        if now < self.greet_at {
            return None;
        }
        self.greet_at = now + if self.up { LINK_KEEPALIVE } else { QUERY_REPEAT_MIN };
        Some(self.hello(now, None))
    }

    /// Handles a HELLO. Returns the answer, if one is needed.
    pub(in crate::bench) fn on_hello(&mut self, now: Time, hello: LinkHello, tally: &mut Tally) -> Option<Output> {
        if self.up && hello.boot != self.theirs {
            tally.error("link_renewed");
        }
        self.theirs = hello.boot;
        let comes_up = !self.up && hello.echo == self.boot;
        self.up |= comes_up;
        // At the super peer, the link is up once it has the answer to its own HELLO.
        (hello.et.is_none() || comes_up).then(|| self.hello(now, Some(hello.t)))
    }

    /// A query that the super peer answers from its own index.
    pub(in crate::bench) fn query(&self, id: QueryId, find: Search) -> Output {
        let query = LinkQuery {
            id,
            ttl: 0,
            hops: 1,
            budget: BUDGET_MS,
            find,
            have: None,
            flood: false,
            tree: None,
            again: false,
        };
        self.send(LinkMessage::Query(query))
    }

    fn send(&self, message: LinkMessage) -> Output {
        Output::SendTo { from: None, to: self.to, key: None, boot: self.theirs, message: Box::new(message) }
    }
}
