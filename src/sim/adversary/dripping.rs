//! A source that sends WELCOME at once, and then one byte from time to time. The bytes come just
//! often enough that nobody considers the source dead because of its silence.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::hands::{Hands, Move, framed};
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::Message;
use crate::wire::message::{Get, Manifest};

/// The time between two bytes. It is shorter than the patience of any peer with a silent source.
const DROP_EVERY: Duration = Duration::from_millis(1900);

/// What is being sent on a connection.
#[derive(Debug)]
enum Drip {
    Frame(VecDeque<u8>),
    Payload,
}

/// The source that drips.
#[derive(Debug)]
pub(in crate::sim) struct Dripping {
    /// Whether it drips frames. If not, it drips only the bytes of pieces.
    frames: bool,
    open: BTreeMap<ConnId, VecDeque<Drip>>,
    next_at: Option<Time>,
}

impl Dripping {
    pub(in crate::sim) fn new(random: &mut Random) -> Dripping {
        Dripping { frames: random.chance(400), open: BTreeMap::new(), next_at: None }
    }

    fn frame(&mut self, conn: ConnId, message: Message, hands: &mut Hands<'_>) {
        if self.frames {
            self.queue(conn, Drip::Frame(framed(&message).into()), hands);
        } else {
            hands.send(conn, message);
        }
    }

    fn queue(&mut self, conn: ConnId, drip: Drip, hands: &mut Hands<'_>) {
        hands.struck(self.name());
        self.open.entry(conn).or_default().push_back(drip);
        self.next_at.get_or_insert(hands.now + DROP_EVERY);
    }
}

impl Way for Dripping {
    fn name(&self) -> &'static str {
        "dripping_source"
    }

    fn on_manifest(&mut self, conn: ConnId, ask: &Manifest, goods: Goods, hands: &mut Hands<'_>) {
        let page = hands.page(ask, goods.right);
        self.frame(conn, Message::Cvs(page), hands);
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        let Some(extent) = hands.extent(get, goods.right) else { return hands.refuse(conn, get.req) };
        // Nothing may be sent after a payload that never ends.
        if self.open.get(&conn).is_some_and(|drips| drips.iter().any(|drip| matches!(drip, Drip::Payload))) {
            return;
        }
        let md5 = hands.contents.md5(extent);
        let header = hands.header(get, md5);
        self.frame(conn, header, hands);
        self.queue(conn, Drip::Payload, hands);
    }

    fn on_closed(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        for (conn, drips) in &mut self.open {
            match drips.front_mut() {
                Some(Drip::Frame(bytes)) => {
                    hands.bytes(*conn, bytes.pop_front().into_iter().collect());
                    if bytes.is_empty() {
                        drips.pop_front();
                    }
                }
                Some(Drip::Payload) => hands.moves.push(Move::Part { conn: *conn, bytes: 1 }),
                None => {}
            }
        }
        self.open.retain(|_, drips| !drips.is_empty());
        self.next_at = (!self.open.is_empty()).then_some(hands.now + DROP_EVERY);
    }

    fn wake_at(&self) -> Option<Time> {
        self.next_at
    }
}
