//! Clients of a super peer that do harm. There is one session for each, and each kind uses it in
//! its own way:
//!
//! - a slow reader requests everything, as often and for as long as possible, and never reads;
//! - a flooder sends as many queries at once as are allowed;
//! - a churner registers a long list, leaves and returns;
//! - a garbler sends messages that are malformed or not allowed in this state.

use std::time::Duration;

use super::caller::{Call, Caller};
use super::hands::{Adversary, Hands, Move, framed};
use super::registered::{greet, node_id, pages};
use crate::config::{CHUNK_PORT, FRAME_BYTES_OPEN, QUERY_BUDGET_MAX, SESSION_QUERIES_MAX};
use crate::proto::{ConnId, Entropy, Input, Output};
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::message::{Bye, Cancel, Done, Get, Login, Query, Ready};
use crate::wire::{Cut, FileRecord, HostPort, Message, NodeId, Policy, QueryKind, Root, Search, SharePath};

/// How often a flooder sends queries.
const FLOOD_EVERY: Duration = Duration::from_secs(150);
/// How long a churner stays.
const STAY: Duration = Duration::from_secs(6);
/// How many files a churner registers. They are more than are removed from the index in one turn.
const CHURN_FILES: usize = 900;
/// How often a garbler sends something.
const GARBLE_EVERY: Duration = Duration::from_secs(5);

/// The kind of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Client {
    SlowReader,
    Flooder,
    Churner,
    Garbler,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Client::SlowReader => "slow_reader",
            Client::Flooder => "flooder",
            Client::Churner => "churner",
            Client::Garbler => "garbler",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Client::SlowReader | Client::Flooder => Duration::from_secs(5),
            Client::Churner => Duration::from_secs(30),
            Client::Garbler => Duration::from_secs(1),
        }
    }
}

/// The session of such a client.
#[derive(Debug)]
pub(in crate::sim) struct Session {
    kind: Client,
    caller: Caller,
    node: NodeId,
    req: u32,
    next_at: Option<Time>,
    random: Random,
}

impl Session {
    /// The targets are super peers. For a garbler, they may also be peers.
    pub(in crate::sim) fn new(kind: Client, targets: Vec<HostPort>, mut random: Random) -> Session {
        let caller = Caller::new(targets, kind.pause(), (1, 0));
        Session { kind, caller, node: node_id(&mut random), req: 0, next_at: None, random }
    }

    fn open(&mut self, conn: ConnId, hands: &mut Hands<'_>) {
        hands.struck(self.kind.name());
        hands.act(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        if self.kind == Client::Garbler {
            self.next_at = Some(hands.now);
            return;
        }
        greet(conn, self.node, hands);
        hands.send(conn, login());
        match self.kind {
            Client::SlowReader => {
                self.ask_for_everything(conn, hands);
                hands.moves.push(Move::Deaf { conn });
            }
            Client::Flooder => self.next_at = Some(hands.now),
            Client::Churner => {
                let record = |n| FileRecord {
                    path: SharePath::new(&format!("churn {n}")).expect("a path"),
                    size: 5,
                    root: Root([0xc4; 32]),
                    collection: false,
                };
                let records: Vec<FileRecord> = (0..CHURN_FILES).map(record).collect();
                for page in pages(&records, CHUNK_PORT, None) {
                    hands.send(conn, page);
                }
                self.next_at = Some(hands.now + STAY);
            }
            Client::Garbler => {}
        }
    }

    fn ask_for_everything(&mut self, conn: ConnId, hands: &mut Hands<'_>) {
        for _ in 0..SESSION_QUERIES_MAX {
            self.ask(conn, "*", u32::try_from(QUERY_BUDGET_MAX.as_millis()).ok(), None, hands);
        }
    }

    fn ask(&mut self, conn: ConnId, pattern: &str, budget: Option<u32>, policy: Option<Policy>, hands: &mut Hands<'_>) {
        self.req += 1;
        let kind = QueryKind::of(pattern);
        let find = Search::new(pattern, kind);
        hands.send(conn, Message::Query(Query { req: self.req, find, ttl: None, budget, policy }));
    }

    fn garble(&mut self, conn: ConnId, hands: &mut Hands<'_>) {
        let bytes = match self.random.below(8) {
            0 => vec![0xff; 40],
            1 => vec![0, 0, 0, 3, 0xc1, 0xc1, 0xc1],
            // A length that no state allows, and a frame that never ends.
            2 => vec![0, 0xff, 0xff, 0xff, 0x81],
            3 => vec![0, 0, 0, 200, 0x81],
            4 => framed(&Message::Get(Get { req: 1, root: Root([1; 32]), offset: u64::MAX, length: 9, bare: false })),
            5 => {
                let (complete, cut) = (true, Cut::NONE);
                framed(&Message::Done(Done { req: 1, hits: 9, reached: 9, pruned: 0, complete, cut, ms: 1 }))
            }
            6 => framed(&Message::Ready(Ready::default())),
            _ => {
                greet(conn, self.node, hands);
                let random = (0..60).map(|_| u8::try_from(self.random.next_u64() & 0xff).unwrap_or(0));
                let mut bytes = vec![0, 0, 0, 60];
                bytes.extend(random);
                bytes
            }
        };
        hands.bytes(conn, bytes);
        if self.random.chance(300) {
            hands.send(conn, Message::Cancel(Cancel { req: 77 }));
            hands.send(conn, Message::Bye(Bye { why: "\u{1b}[2J".into() }));
        }
    }
}

fn login() -> Message {
    Message::Login(Login::open())
}

impl Adversary for Session {
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>) {
        match self.caller.on_input(&input, hands) {
            Call::Open(conn) => self.open(conn, hands),
            Call::Gone => self.next_at = None,
            Call::Other => {}
        }
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        self.caller.on_time(hands);
        let Some(conn) = self.caller.conn().filter(|_| self.next_at.is_some_and(|at| at <= hands.now)) else { return };
        match self.kind {
            Client::SlowReader => self.next_at = None,
            Client::Flooder => {
                for n in 0..SESSION_QUERIES_MAX {
                    let (pattern, policy) = [("*o*", Policy::Flood), ("red", Policy::Tree), ("x", Policy::Ring)][n % 3];
                    self.ask(conn, pattern, Some(2000), Some(policy), hands);
                }
                self.next_at = Some(hands.now + FLOOD_EVERY);
            }
            Client::Churner => {
                self.next_at = None;
                self.caller.hang_up(hands);
            }
            Client::Garbler => {
                self.garble(conn, hands);
                self.next_at = Some(hands.now + GARBLE_EVERY);
            }
        }
    }

    fn wake_at(&self) -> Option<Time> {
        [self.caller.wake_at(), self.next_at].into_iter().flatten().min()
    }
}
