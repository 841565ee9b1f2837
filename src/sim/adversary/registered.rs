//! A session that keeps records registered, true or not, and is renewed when it is lost.

use std::time::Duration;

use crate::config::{FRAME_BYTES_OPEN, PAGE_BYTES, PROTOCOL_VERSION};
use crate::proto::Entropy;
use crate::proto::{ConnId, DialId, Input, Output};
use crate::sim::adversary::hands::Hands;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::message::{Hello, Login, Ping, Register};
use crate::wire::{FileRecord, HostPort, Message, NodeId};

/// Often enough to be no silent session.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Wait before the super peer is dialed again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// What a record takes in a page beside its path, at most.
const RECORD_BYTES: usize = 60;

/// The session.
#[derive(Debug)]
pub(in crate::sim) struct Registered {
    supers: Vec<HostPort>,
    /// The port that it registers, and a host that is not its own.
    port: u16,
    host: Option<String>,
    records: Vec<FileRecord>,
    node: NodeId,
    dials: u64,
    dialing: bool,
    conn: Option<ConnId>,
    heard_at: Time,
    next_at: Time,
}

impl Registered {
    /// A session with one of these super peers.
    pub(in crate::sim) fn new(
        supers: Vec<HostPort>,
        (host, port): (Option<String>, u16),
        records: Vec<FileRecord>,
        random: &mut Random,
    ) -> Registered {
        let node = node_id(random);
        let (dials, dialing, conn) = (0, false, None);
        Registered {
            supers,
            port,
            host,
            records,
            node,
            dials,
            dialing,
            conn,
            heard_at: Time::ZERO,
            next_at: Time::ZERO,
        }
    }

    /// The name under which it serves as well.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Takes an input that is its own. Returns whether it was.
    pub(super) fn on_input(&mut self, input: &Input<'_>, hands: &mut Hands<'_>) -> bool {
        match input {
            Input::Dialed { dial, conn } if *dial == DialId(self.dials) => {
                (self.dialing, self.conn) = (false, Some(*conn));
                (self.heard_at, self.next_at) = (hands.now, hands.now + PING_EVERY);
                greet(*conn, self.node, hands);
                hands.act(Output::FrameCap { conn: *conn, bytes: FRAME_BYTES_OPEN });
                hands.send(*conn, Message::Login(Login { mode: "open".into(), user: None, proof: None }));
                for page in pages(&self.records, self.port, self.host.as_ref()) {
                    hands.send(*conn, page);
                }
                true
            }
            Input::DialFailed { dial, .. } if *dial == DialId(self.dials) => {
                self.lose(hands);
                true
            }
            Input::Closed { conn, .. } if self.conn == Some(*conn) => {
                self.lose(hands);
                true
            }
            Input::Message { conn, .. } | Input::Malformed { conn, .. } if self.conn == Some(*conn) => {
                self.heard_at = hands.now;
                true
            }
            _ => false,
        }
    }

    fn lose(&mut self, hands: &mut Hands<'_>) {
        (self.dialing, self.conn) = (false, None);
        self.next_at = hands.now + AGAIN_AFTER;
    }

    pub(super) fn on_time(&mut self, hands: &mut Hands<'_>) {
        if hands.now < self.next_at {
            return;
        }
        self.next_at = hands.now + PING_EVERY;
        match self.conn {
            // Half-open: nothing comes any more.
            Some(conn) if hands.now.since(self.heard_at) > 2 * PING_EVERY => {
                hands.close(conn);
                self.lose(hands);
            }
            Some(conn) => hands.send(conn, Message::Ping(Ping { n: 1 })),
            None if self.dialing => {}
            None => {
                let to = self.supers[usize::try_from(self.dials).unwrap_or(0) % self.supers.len()].clone();
                self.dials += 1;
                self.dialing = true;
                hands.act(Output::Dial { dial: DialId(self.dials), to });
            }
        }
    }

    pub(super) fn wake_at(&self) -> Time {
        self.next_at
    }
}

pub(super) fn node_id(random: &mut Random) -> NodeId {
    let mut id = [0xad; 16];
    id[8..].copy_from_slice(&random.next_u64().to_be_bytes());
    NodeId(id)
}

pub(super) fn greet(conn: ConnId, node: NodeId, hands: &mut Hands<'_>) {
    let hello = Hello { version: PROTOCOL_VERSION, node, boot: 7, features: vec![], agent: String::new() };
    hands.send(conn, Message::Hello(hello));
}

/// A complete list, in pages.
pub(super) fn pages(records: &[FileRecord], port: u16, host: Option<&String>) -> Vec<Message> {
    let (mut pages, mut files, mut bytes, mut seq) = (Vec::new(), Vec::new(), 0, 0);
    for record in records {
        let length = record.path.as_str().len() + RECORD_BYTES;
        if bytes + length > PAGE_BYTES {
            seq += 1;
            let files = std::mem::take(&mut files);
            pages.push(Message::Register(Register { seq, port, host: host.cloned(), files, more: true }));
            bytes = 0;
        }
        bytes += length;
        files.push(record.clone());
    }
    pages.push(Message::Register(Register { seq: seq + 1, port, host: host.cloned(), files, more: false }));
    pages
}
