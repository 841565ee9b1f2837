//! A source that sends wrong bytes with their own MD5 or another one, or correct bytes with a wrong
//! MD5. Its manifest is correct: otherwise it would be dropped before it sent a piece.

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::sim::random::Random;
use crate::wire::ids::Md5;
use crate::wire::message::Get;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Bytes,
    Md5,
    Both,
}

/// The liar.
#[derive(Debug)]
pub(in crate::sim) struct Lying(Lie);

impl Lying {
    pub(in crate::sim) fn new(random: &mut Random) -> Lying {
        Lying(*random.pick(&[Lie::Bytes, Lie::Md5, Lie::Both]))
    }
}

impl Way for Lying {
    fn name(&self) -> &'static str {
        "lying_source"
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        let content = if self.0 == Lie::Md5 { goods.right } else { goods.wrong };
        let md5 = if self.0 == Lie::Bytes { None } else { Some(Md5([0x5a; 16])) };
        hands.struck(self.name());
        hands.chunk(conn, get, content, md5);
    }
}
