//! A source that sends correct pieces to one peer and wrong pieces to another, or wrong pieces
//! after correct ones.

use std::collections::BTreeMap;

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::sim::random::Random;
use crate::wire::message::Get;

/// The source that equivocates.
#[derive(Debug)]
pub(in crate::sim) struct Equivocating {
    /// How many correct pieces it sends on a connection before the first wrong one. None: every
    /// second connection gets wrong pieces.
    right: Option<u32>,
    served: BTreeMap<ConnId, u32>,
}

impl Equivocating {
    pub(in crate::sim) fn new(random: &mut Random) -> Equivocating {
        let right = random.chance(500).then(|| 1 + u32::try_from(random.below(3)).unwrap_or(0));
        Equivocating { right, served: BTreeMap::new() }
    }
}

impl Way for Equivocating {
    fn name(&self) -> &'static str {
        "equivocating_source"
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        let served = self.served.entry(conn).or_default();
        *served += 1;
        let lies = self.right.map_or((conn.index + conn.generation) % 2 == 1, |right| *served > right);
        if lies {
            hands.struck(self.name());
        }
        hands.chunk(conn, get, if lies { goods.wrong } else { goods.right }, None);
    }

    fn on_closed(&mut self, conn: ConnId) {
        self.served.remove(&conn);
    }
}
