//! A member of a swarm that announces pieces that it does not have. It sends wrong bytes, refuses,
//! stalls, gives no turn, or announces pieces that do not exist.

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::proto::{ConnId, pieces_of};
use crate::sim::random::Random;
use crate::wire::Message;
use crate::wire::message::{Error, ErrorCode, Get, Manifest};
use crate::wire::swarm::{Follow, Has, Turn, Want};

/// How it answers a GET, or what it does before one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boast {
    /// It answers that it does not have the piece.
    Absent,
    /// It sends the header and nothing more.
    Silent,
    /// It sends wrong bytes.
    Wrong,
    /// It never gives a turn.
    NoTurn,
    /// It announces a piece that the content does not have.
    Beyond,
}

/// The member.
#[derive(Debug)]
pub(in crate::sim) struct Boasting {
    boast: Boast,
    /// Whether it says that it has the complete content, and does not name each piece.
    full: bool,
    /// Whether it serves the manifest with its proof.
    proves: bool,
}

impl Boasting {
    pub(in crate::sim) fn new(random: &mut Random) -> Boasting {
        let all = [Boast::Absent, Boast::Silent, Boast::Wrong, Boast::NoTurn, Boast::Beyond];
        Boasting { boast: *random.pick(&all), full: random.chance(300), proves: random.chance(500) }
    }

    fn refuse(conn: ConnId, req: u32, hands: &mut Hands<'_>) {
        let error = Error::new(ErrorCode::NOT_FOUND, "not here".to_owned(), Some(req));
        hands.send(conn, Message::Error(error));
    }
}

impl Way for Boasting {
    fn name(&self) -> &'static str {
        "lying_member"
    }

    fn swarms(&self) -> bool {
        true
    }

    fn on_follow(&mut self, conn: ConnId, follow: &Follow, goods: Goods, hands: &mut Hands<'_>) {
        hands.struck(self.name());
        let pieces = u32::try_from(pieces_of(hands.contents.size(goods.right))).unwrap_or(u32::MAX);
        let more = if self.boast == Boast::Beyond { 9 } else { 0 };
        let add = if self.full { Vec::new() } else { (0..pieces + more).collect() };
        let (req, full, manifest) = (follow.req, self.full, self.proves);
        hands.send(conn, Message::Has(Has { req, full, add, manifest, ..Has::default() }));
    }

    fn on_want(&mut self, conn: ConnId, want: &Want, hands: &mut Hands<'_>) {
        if self.boast != Boast::NoTurn {
            for _ in 0..want.n {
                hands.send(conn, Message::Turn(Turn { req: want.req, next: Vec::new() }));
            }
        }
    }

    fn on_manifest(&mut self, conn: ConnId, ask: &Manifest, goods: Goods, hands: &mut Hands<'_>) {
        if !self.proves {
            return Boasting::refuse(conn, ask.req, hands);
        }
        let mut page = hands.page(ask, goods.right);
        if let Some(edge) = hands.contents.edge(goods.right) {
            (page.tail, page.left) = (edge.tail, edge.left);
        }
        hands.send(conn, Message::Cvs(page));
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        match self.boast {
            Boast::Absent | Boast::Beyond => Boasting::refuse(conn, get.req, hands),
            Boast::Wrong => hands.chunk(conn, get, goods.wrong, None),
            Boast::Silent | Boast::NoTurn => {
                if let Some(extent) = hands.extent(get, goods.right) {
                    let md5 = hands.contents.md5(extent);
                    let header = hands.header(get, md5);
                    hands.send(conn, header);
                }
            }
        }
    }
}
