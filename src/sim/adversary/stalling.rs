//! A source that accepts connections and at some point sends nothing more, without closing the
//! connection.

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::sim::random::Random;
use crate::wire::Message;
use crate::wire::message::{Get, Manifest};

/// The last thing that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    Nothing,
    Welcome,
    Manifest,
    Header,
}

/// The source that stalls.
#[derive(Debug)]
pub(in crate::sim) struct Stalling(Last);

impl Stalling {
    pub(in crate::sim) fn new(random: &mut Random) -> Stalling {
        Stalling(*random.pick(&[Last::Nothing, Last::Welcome, Last::Manifest, Last::Header]))
    }

    /// Accepts connections and never sends anything.
    pub(in crate::sim) fn silent() -> Stalling {
        Stalling(Last::Nothing)
    }
}

impl Way for Stalling {
    fn name(&self) -> &'static str {
        "stalling_source"
    }

    fn welcomes(&self) -> bool {
        self.0 > Last::Nothing
    }

    fn on_manifest(&mut self, conn: ConnId, ask: &Manifest, goods: Goods, hands: &mut Hands<'_>) {
        hands.struck(self.name());
        if self.0 > Last::Welcome {
            let page = hands.page(ask, goods.right);
            hands.send(conn, Message::Cvs(page));
        }
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        hands.struck(self.name());
        if let (Last::Header, Some(extent)) = (self.0, hands.extent(get, goods.right)) {
            let md5 = hands.contents.md5(extent);
            let header = hands.header(get, md5);
            hands.send(conn, header);
        }
    }
}
