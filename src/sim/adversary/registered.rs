//! A session that keeps true or false records registered, and is opened again when it is lost.

use std::time::Duration;

use crate::config::{FRAME_BYTES_OPEN, PAGE_BYTES, PROTOCOL_VERSION};
use crate::proto::Entropy;
use crate::proto::{ConnId, Input, Output};
use crate::sim::adversary::caller::{Call, Caller};
use crate::sim::adversary::hands::Hands;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::message::{Hello, Login, Ping, Register};
use crate::wire::swarm::{FEATURE_SWARM, Join};
use crate::wire::{FileRecord, HostPort, Message, NodeId};

/// The interval of its PINGs, so that the session does not count as silent.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long to wait before the super peer is dialed again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// The most bytes of a record in a page without its path.
const RECORD_BYTES: usize = 60;

/// The session.
#[derive(Debug)]
pub(in crate::sim) struct Registered {
    caller: Caller,
    /// The port that it registers, and a host that does not belong to it.
    port: u16,
    host: Option<String>,
    records: Vec<FileRecord>,
    /// The swarms that it joins after that.
    joins: Vec<Join>,
    node: NodeId,
    heard_at: Time,
    ping_at: Time,
}

impl Registered {
    /// A session with one of these super peers.
    pub(in crate::sim) fn new(
        supers: Vec<HostPort>,
        (host, port): (Option<String>, u16),
        records: Vec<FileRecord>,
        random: &mut Random,
    ) -> Registered {
        let caller = Caller::new(supers, AGAIN_AFTER, (1, 0));
        let (joins, node) = (Vec::new(), node_id(random));
        Registered { caller, port, host, records, joins, node, heard_at: Time::ZERO, ping_at: Time::ZERO }
    }

    /// Also makes it a member of these swarms.
    pub(in crate::sim) fn joining(self, joins: Vec<Join>) -> Registered {
        Registered { joins, ..self }
    }

    /// The node id that it also uses as a source.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Handles an input if it concerns this session. Returns whether it did.
    pub(super) fn on_input(&mut self, input: &Input<'_>, hands: &mut Hands<'_>) -> bool {
        match (self.caller.on_input(input, hands), input) {
            (Call::Open(conn), _) => {
                (self.heard_at, self.ping_at) = (hands.now, hands.now + PING_EVERY);
                let swarms = (!self.joins.is_empty()).then(|| FEATURE_SWARM.to_owned());
                greet_with(conn, self.node, swarms.into_iter().collect(), hands);
                hands.act(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
                hands.send(conn, Message::Login(Login::open()));
                for page in pages(&self.records, self.port, self.host.as_ref()) {
                    hands.send(conn, page);
                }
                for join in self.joins.clone() {
                    hands.send(conn, Message::Join(join));
                }
                true
            }
            (Call::Gone, _) => true,
            (Call::Other, Input::Message { conn, .. } | Input::Malformed { conn, .. })
                if self.caller.conn() == Some(*conn) =>
            {
                self.heard_at = hands.now;
                true
            }
            (Call::Other, _) => false,
        }
    }

    pub(super) fn on_time(&mut self, hands: &mut Hands<'_>) {
        self.caller.on_time(hands);
        let Some(conn) = self.caller.conn().filter(|_| hands.now >= self.ping_at) else { return };
        if hands.now.since(self.heard_at) > 2 * PING_EVERY {
            // The connection is half-open: nothing more comes.
            self.caller.hang_up(hands);
        } else {
            self.ping_at = hands.now + PING_EVERY;
            hands.send(conn, Message::Ping(Ping { n: 1 }));
        }
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        self.caller.conn().map(|_| self.ping_at).or(self.caller.wake_at())
    }
}

pub(super) fn node_id(random: &mut Random) -> NodeId {
    let mut id = [0xad; 16];
    id[8..].copy_from_slice(&random.next_u64().to_be_bytes());
    NodeId(id)
}

pub(super) fn greet(conn: ConnId, node: NodeId, hands: &mut Hands<'_>) {
    greet_with(conn, node, Vec::new(), hands);
}

fn greet_with(conn: ConnId, node: NodeId, features: Vec<String>, hands: &mut Hands<'_>) {
    let hello = Hello { version: PROTOCOL_VERSION, node, boot: 7, features, agent: String::new() };
    hands.send(conn, Message::Hello(hello));
}

/// A complete list, split into pages.
pub(super) fn pages(records: &[FileRecord], port: u16, host: Option<&String>) -> Vec<Message> {
    let (mut pages, mut files, mut bytes, mut seq) = (Vec::new(), Vec::new(), 0, 0);
    for record in records {
        let length = record.path.as_str().len() + RECORD_BYTES;
        if bytes + length > PAGE_BYTES {
            seq += 1;
            let files = std::mem::take(&mut files);
            pages.push(Message::Register(Register {
                seq,
                port,
                host: host.cloned(),
                more_addr: None,
                http: false,
                files,
                more: true,
            }));
            bytes = 0;
        }
        bytes += length;
        files.push(record.clone());
    }
    pages.push(Message::Register(Register {
        seq: seq + 1,
        port,
        host: host.cloned(),
        more_addr: None,
        http: false,
        files,
        more: false,
    }));
    pages
}
