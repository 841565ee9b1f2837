//! A source that registers files and serves them in its own [`Way`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::hands::{Adversary, Hands};
use super::registered::Registered;
use crate::config::{CHUNK_IDLE_MAX, FRAME_BYTES_OPEN, PROTOCOL_VERSION};
use crate::proto::{ConnId, Input, Output};
use crate::sim::content::ContentId;
use crate::time::Time;
use crate::wire::message::{Get, Manifest, Mode, Ready, Welcome};
use crate::wire::swarm::{FEATURE_SWARM, Follow, Want};
use crate::wire::{HostPort, Message, Root};

/// A content that it claims to have, and the content that a liar serves in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Goods {
    pub(in crate::sim) right: ContentId,
    pub(in crate::sim) wrong: ContentId,
}

/// How it serves.
pub(in crate::sim) trait Way: Debug {
    /// The name under which its harm is counted.
    fn name(&self) -> &'static str;
    /// Whether it answers a HELLO.
    fn welcomes(&self) -> bool {
        true
    }
    /// A MANIFEST came.
    fn on_manifest(&mut self, conn: ConnId, ask: &Manifest, goods: Goods, hands: &mut Hands<'_>) {
        let page = hands.page(ask, goods.right);
        hands.send(conn, Message::Cvs(page));
    }
    /// A GET came.
    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>);
    /// Whether it knows swarms.
    fn swarms(&self) -> bool {
        false
    }
    /// A FOLLOW came.
    fn on_follow(&mut self, _: ConnId, _: &Follow, _: Goods, _: &mut Hands<'_>) {}
    /// A WANT came.
    fn on_want(&mut self, _: ConnId, _: &Want, _: &mut Hands<'_>) {}
    /// A connection is gone.
    fn on_closed(&mut self, _: ConnId) {}
    /// The time of [`Way::wake_at`] has come.
    fn on_time(&mut self, _: &mut Hands<'_>) {}
    /// When it wants to act next.
    fn wake_at(&self) -> Option<Time> {
        None
    }
}

/// The source.
#[derive(Debug)]
pub(in crate::sim) struct Source {
    session: Registered,
    goods: BTreeMap<Root, Goods>,
    /// The name under which the harm of its false records is counted: each dial because of one of
    /// them counts.
    records: Option<&'static str>,
    way: Box<dyn Way>,
    greeted: BTreeSet<ConnId>,
}

impl Source {
    pub(in crate::sim) fn new(
        session: Registered,
        goods: BTreeMap<Root, Goods>,
        records: Option<&'static str>,
        way: Box<dyn Way>,
    ) -> Source {
        Source { session, goods, records, way, greeted: BTreeSet::new() }
    }

    fn on_message(&mut self, conn: ConnId, message: &Message, hands: &mut Hands<'_>) {
        match message {
            Message::Hello(_) => {
                self.records.inspect(|name| hands.struck(name));
                if !self.way.welcomes() {
                    return hands.struck(self.way.name());
                }
                self.greeted.insert(conn);
                hands.act(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
                hands.send(conn, Message::Welcome(self.welcome()));
            }
            Message::Login(_) => hands.send(conn, Message::Ready(Ready::default())),
            Message::Manifest(ask) => match self.goods.get(&ask.root) {
                Some(goods) => self.way.on_manifest(conn, ask, *goods, hands),
                None => hands.refuse(conn, ask.req),
            },
            Message::Get(get) => match self.goods.get(&get.root) {
                Some(goods) => self.way.on_get(conn, get, *goods, hands),
                None => hands.refuse(conn, get.req),
            },
            Message::Follow(follow) => match self.goods.get(&follow.root) {
                Some(goods) => self.way.on_follow(conn, follow, *goods, hands),
                None => hands.refuse(conn, follow.req),
            },
            Message::Want(want) => self.way.on_want(conn, want, hands),
            _ => {}
        }
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            version: PROTOCOL_VERSION,
            node: self.session.node(),
            boot: 7,
            features: self.way.swarms().then(|| FEATURE_SWARM.to_owned()).into_iter().collect(),
            ping: u32::try_from(CHUNK_IDLE_MAX.as_millis()).unwrap_or(u32::MAX),
            frame: u32::try_from(FRAME_BYTES_OPEN).unwrap_or(u32::MAX),
            addr: HostPort::new("10.0.0.1", 1).expect("an address"),
            mode: Mode::Open,
            rotation: None,
        }
    }
}

impl Adversary for Source {
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>) {
        if self.session.on_input(&input, hands) {
            return;
        }
        match input {
            Input::Message { conn, message } => self.on_message(conn, &message, hands),
            Input::Malformed { conn, .. } => hands.close(conn),
            Input::Closed { conn, .. } => {
                self.greeted.remove(&conn);
                self.way.on_closed(conn);
            }
            _ => {}
        }
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        self.session.on_time(hands);
        if self.way.wake_at().is_some_and(|at| at <= hands.now) {
            self.way.on_time(hands);
        }
    }

    fn wake_at(&self) -> Option<Time> {
        [self.session.wake_at(), self.way.wake_at()].into_iter().flatten().min()
    }
}
