//! A source that closes the connection in the middle of a frame, after a header, or in the middle
//! of a payload.

use super::hands::{Hands, Move, framed};
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::sim::random::Random;
use crate::wire::message::Get;

/// Where it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Frame,
    Header,
    Payload,
}

/// The source that closes.
#[derive(Debug)]
pub(in crate::sim) struct Truncating(At);

impl Truncating {
    pub(in crate::sim) fn new(random: &mut Random) -> Truncating {
        Truncating(*random.pick(&[At::Frame, At::Header, At::Payload]))
    }
}

impl Way for Truncating {
    fn name(&self) -> &'static str {
        "truncating_source"
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        let Some(extent) = hands.extent(get, goods.right) else { return hands.refuse(conn, get.req) };
        hands.struck(self.name());
        let md5 = hands.contents.md5(extent);
        let mut header = framed(&hands.header(get, md5));
        if self.0 == At::Frame {
            header.truncate(header.len() / 2);
        }
        hands.bytes(conn, header);
        if self.0 == At::Payload {
            hands.moves.push(Move::Part { conn, bytes: get.length / 2 });
        }
        hands.close(conn);
    }
}
