//! A node that tries every way to get in, at super peers and at peers: without a greeting or a
//! login, as another node, with the credential of another node, with a forged, expired or revoked
//! credential, or in the other mode. It must get nothing but WELCOME and the ERROR that ends the
//! connection.

use std::time::Duration;

use super::caller::{Call, Caller};
use super::hands::{Adversary, Hands};
use super::registered::{greet, pages};
use crate::config::{CHUNK_PORT, FRAME_BYTES_OPEN};
use crate::proto::{ConnId, Input, Output};
use crate::time::Time;
use crate::wire::message::{Cancel, Enroll, Get, List, Login, Manifest, Query};
use crate::wire::{FileRecord, HostPort, Message, NodeId, QueryKind, Root, Search, SharePath};

const PAUSE: Duration = Duration::from_secs(2);
/// The number of ways.
const WAYS: usize = 11;

/// What it knows and owns.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Loot {
    /// Its own node id, which follows from its key.
    pub(in crate::sim) own: NodeId,
    /// A valid credential of its own.
    pub(in crate::sim) good: Vec<u8>,
    /// A credential of its own that has expired.
    pub(in crate::sim) expired: Vec<u8>,
    /// A credential of its own that all super peers deny.
    pub(in crate::sim) revoked: Vec<u8>,
    /// A credential that it has signed itself.
    pub(in crate::sim) forged: Vec<u8>,
    /// Another node, and the credential of that node.
    pub(in crate::sim) other: NodeId,
    pub(in crate::sim) stolen: Vec<u8>,
    /// A part of the credential of the other node, with its own key.
    pub(in crate::sim) altered: Vec<u8>,
    /// The root of a content that some node has.
    pub(in crate::sim) root: Root,
}

/// The intruder.
#[derive(Debug)]
pub(in crate::sim) struct Intruder {
    caller: Caller,
    /// How many of the targets are super peers. They come first.
    supers: usize,
    loot: Loot,
    /// How many connections it has opened.
    opened: usize,
}

impl Intruder {
    pub(in crate::sim) fn new(targets: Vec<HostPort>, supers: usize, loot: Loot) -> Intruder {
        Intruder { caller: Caller::new(targets, PAUSE, (1, 0)), supers, loot, opened: 0 }
    }

    fn way(&self) -> usize {
        self.opened % WAYS
    }

    fn open(&mut self, conn: ConnId, hands: &mut Hands<'_>) {
        self.opened += 1;
        hands.act(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        let Loot { own, good, expired, revoked, forged, other, stolen, altered, root: _ } = self.loot.clone();
        let with = |credential: Vec<u8>| Some(Message::Login(Login::with_credential(credential)));
        let enroll = Message::Enroll(Enroll { user: "peer1".into(), token: vec![0; 20] });
        let (node, login) = match self.way() {
            0 => (None, None),
            1 => (Some(own), None),
            2 => (Some(own), Some(enroll)),
            3 => (Some(other), with(good)),
            4 => (Some(other), with(stolen)),
            5 => (Some(own), with(stolen)),
            6 => (Some(own), with(forged)),
            7 => (Some(own), with(expired)),
            8 => (Some(own), with(altered)),
            // A peer that has had no session since its start does not know what is revoked.
            9 if self.caller.target() < self.supers => (Some(own), with(revoked)),
            _ => (Some(own), Some(Message::Login(Login::open()))),
        };
        if let Some(node) = node {
            greet(conn, node, hands);
        }
        if let Some(login) = login {
            hands.send(conn, login);
        }
        self.ask(conn, hands);
    }

    /// Sends all requests at once, as if it had logged in.
    fn ask(&self, conn: ConnId, hands: &mut Hands<'_>) {
        let root = self.loot.root;
        let path = SharePath::new("intruder").expect("a path");
        let record = FileRecord { path, size: 5, root: Root([0xee; 32]), collection: false };
        let find = Search::new("*", QueryKind::Glob);
        let mut wanted = pages(&[record], CHUNK_PORT, None);
        wanted.push(Message::Query(Query { req: 1, find, ttl: None, budget: None, policy: None }));
        wanted.push(Message::List(List { req: 2, after: None, partial: false }));
        wanted.push(Message::Manifest(Manifest { req: 3, root, first: 0 }));
        wanted.push(Message::Get(Get { req: 4, root, offset: 0, length: 1, bare: false }));
        wanted.push(Message::Cancel(Cancel { req: 4 }));
        // A message that is not allowed closes the connection. So another message comes first each
        // time.
        let first = self.opened / WAYS % wanted.len();
        wanted.rotate_left(first);
        wanted.into_iter().for_each(|message| hands.send(conn, message));
    }
}

impl Adversary for Intruder {
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>) {
        match self.caller.on_input(&input, hands) {
            Call::Open(conn) => self.open(conn, hands),
            Call::Gone => {}
            Call::Other => match &input {
                Input::Message { message: Message::Welcome(_) | Message::Bye(_), .. } => {}
                Input::Message { message: Message::Error(error), .. } => {
                    assert_eq!(error.req, None, "an intruder was answered, by way {}: {error:?}", self.way());
                    hands.struck("intruder");
                }
                Input::Message { message, .. } => panic!("an intruder was let in, by way {}: {message:?}", self.way()),
                _ => {}
            },
        }
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        self.caller.on_time(hands);
    }

    fn wake_at(&self) -> Option<Time> {
        self.caller.wake_at()
    }
}
