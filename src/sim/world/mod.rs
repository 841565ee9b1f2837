//! The world: what happens when, and what comes of it.
//!
//! - building: `new`, `add_super`, `add_weak`, `add`, `share`, `set_faults`;
//! - running: `step`, `run_for`, `run_until`;
//! - the hand of fate: `crash`, `start`, `cut_connections`, `silence`;
//! - clients: `ask`, `asked`;
//! - looking: getters.

mod build;
mod clients;
mod conns;
mod datagrams;
mod disks;
mod look;
mod stall;
mod trace;

pub use clients::Asked;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::content::{Contents, Extent};
use super::fault::Fault;
use super::node::{Machine, Node};
use super::queue::Queue;
use super::random::Random;
use super::roads::Roads;
use super::shadow::Shadow;
use super::tcp::{Link, Segment};
use crate::proto::{
    ClientEvent, ClientId, CloseReason, Command, ConnId, DialId, DiskDone, DiskWork, Event, Input, Output,
};
use crate::time::Time;
use crate::wire::link::Packer;
use crate::wire::{FileRecord, HostPort, SharePath};

/// From asking for more work to getting it: a turn of the driver.
const TURN: Duration = Duration::from_micros(5);

/// What will happen.
#[derive(Debug)]
pub(super) enum Happening {
    Wake {
        node: usize,
    },
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Dial {
        node: usize,
        life: u64,
        dial: DialId,
        to: HostPort,
    },
    /// A connection attempt that nobody answers has had its time.
    DialFailed {
        node: usize,
        life: u64,
        dial: DialId,
        why: &'static str,
    },
    Accepted {
        dialer: usize,
        life: u64,
        dial: DialId,
        link: usize,
        serial: u64,
    },
    Segment {
        link: usize,
        serial: u64,
        end: usize,
        segment: Segment,
    },
    /// There may be more to read.
    Pump {
        link: usize,
        serial: u64,
        end: usize,
    },
    Sent {
        node: usize,
        life: u64,
        conn: ConnId,
        req: u32,
    },
    Closed {
        node: usize,
        life: u64,
        conn: ConnId,
        why: CloseReason,
    },
    /// Somebody connected to a node that had no time for it at once.
    Came {
        node: usize,
        life: u64,
        conn: ConnId,
        from: SocketAddr,
    },
    /// A client asked a node that had no time for it at once.
    Command {
        node: usize,
        life: u64,
        client: ClientId,
        command: Command,
    },
    /// A payload that got nowhere has had its time.
    Stuck {
        link: usize,
        serial: u64,
        end: usize,
    },
    /// A node that stood still goes on.
    Resume {
        node: usize,
    },
    /// The share looks at a file that somebody else changed.
    Looked {
        node: usize,
        life: u64,
        path: SharePath,
    },
    /// The disk comes to what it was asked.
    Work {
        node: usize,
        life: u64,
        work: DiskWork,
    },
    Hashed {
        node: usize,
        life: u64,
        conn: ConnId,
        req: u32,
        extent: Extent,
        digests: crate::proto::Digests,
    },
    Disk {
        node: usize,
        life: u64,
        done: DiskDone,
    },
}

/// What a run exercised; a run that did nothing must fail.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Things that happened.
    pub steps: u64,
    /// Messages that arrived on connections.
    pub messages: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Bytes of them.
    pub datagram_bytes: u64,
    /// Chunks that arrived.
    pub payloads: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Faults that struck, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A simulated network.
pub struct World {
    pub(super) now: Time,
    pub(super) sequence: u64,
    queue: Queue<Happening>,
    pub(super) nodes: Vec<Node>,
    by_ip: BTreeMap<IpAddr, usize>,
    pub(super) links: Vec<Option<Link>>,
    pub(super) links_free: Vec<usize>,
    contents: Contents,
    faults: Vec<Box<dyn Fault>>,
    /// The time a datagram or segment takes: from, to.
    latency: (Duration, Duration),
    /// Bytes a second that a node sends of payloads.
    pub(super) bandwidth: u64,
    root: Random,
    pub(super) net: Random,
    weather: Random,
    disks: Random,
    clients: BTreeMap<ClientId, Asked>,
    /// Clients that were told the end since the last look.
    finished: Vec<ClientId>,
    /// What super peers acknowledged since the last look, if books are kept: who, and to which weak peer.
    acknowledged: Vec<(usize, usize)>,
    /// Nodes whose next opened chunk is to be told.
    awaited: BTreeSet<usize>,
    /// The chunks that were awaited and are opened: whose, and of which file.
    opened: Vec<(usize, SharePath)>,
    roads: Roads,
    /// Nodes that are slow, and nodes that stand still.
    hindered: usize,
    /// Of a thousand messages on connections, so many arrive in parts; and of those parts so many byte by byte.
    split: (u32, u32),
    pub(super) shadow: Option<Box<Shadow>>,
    /// When the clock of a super peer last leapt, or went on after it had stood still.
    pub(super) clocks_broke: Option<Time>,
    events: Vec<(Time, usize, Event)>,
    pub(super) counts: Counts,
    trace: u64,
    lines: Option<VecDeque<String>>,
}

impl World {
    /// An empty network.
    #[must_use]
    pub fn new(seed: u64) -> World {
        let root = Random::new(seed);
        World {
            // Not zero, so that nothing takes "no time" for "at the start".
            now: Time::from_micros(1_000_000),
            sequence: 0,
            queue: Queue::new(),
            nodes: Vec::new(),
            by_ip: BTreeMap::new(),
            links: Vec::new(),
            links_free: Vec::new(),
            contents: Contents::default(),
            faults: Vec::new(),
            latency: (Duration::from_micros(100), Duration::from_micros(600)),
            bandwidth: 100 << 20,
            net: root.child("net", 0),
            weather: root.child("weather", 0),
            disks: root.child("disks", 0),
            root,
            clients: BTreeMap::new(),
            finished: Vec::new(),
            acknowledged: Vec::new(),
            awaited: BTreeSet::new(),
            opened: Vec::new(),
            roads: Roads::default(),
            hindered: 0,
            split: (300, 20),
            shadow: None,
            clocks_broke: None,
            events: Vec::new(),
            counts: Counts::default(),
            trace: 0,
            lines: None,
        }
    }

    /// The next thing happens. False if nothing ever will.
    pub fn step(&mut self) -> bool {
        let Some((at, sequence, what)) = self.queue.pop() else { return false };
        assert!(at >= self.now, "time never runs backwards");
        self.now = at;
        self.counts.steps += 1;
        self.note(sequence, &what);
        let hindered = if self.hindered > 0 { self.subject(&what) } else { None };
        match hindered {
            Some(node) => self.happen_hindered(node, what),
            None => self.happen(what),
        }
        true
    }

    /// Runs for a virtual time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |_| false);
        self.now = end;
    }

    /// Runs until something holds, for at most a virtual time; says whether it holds.
    pub fn run_until(&mut self, within: Duration, mut holds: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + within;
        while !holds(self) {
            if self.queue.next().is_none_or(|next| next > end) {
                return false;
            }
            self.step();
        }
        true
    }

    /// Starts a node, for the first time or again.
    ///
    /// # Panics
    /// If it runs.
    pub fn start(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        assert!(node.machine.is_none(), "a node is started once");
        node.machine = Some((node.make)(node.life));
        node.life += 1;
        node.churn += 1;
        node.wake_at = None;
        let added = node.disk.share(&self.contents);
        self.wake(number);
        if !added.is_empty() {
            self.disk_says(number, DiskDone::Share { added, removed: Vec::new() });
        }
    }

    /// The process of a node is killed: its connections are reset, its disk stays.
    pub fn crash(&mut self, number: usize) {
        self.counts.crashes += 1;
        let conns: Vec<(usize, usize)> = self.nodes[number].conns.values().copied().collect();
        for (link, end) in conns {
            self.transmit(link, end, Segment::Reset, None);
            self.shut(link, end);
        }
        self.forget_stall(number);
        if let Some(shadow) = &mut self.shadow {
            shadow.on_crash(number);
        }
        let node = &mut self.nodes[number];
        node.machine = None;
        node.churn += 1;
        node.disk.crash();
    }

    /// The machine under a node loses its power: as [`World::crash`], and what its disk had not written for good may be gone.
    pub fn cut_power(&mut self, number: usize) {
        self.crash(number);
        self.nodes[number].disk.cut_power(&mut self.disks);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { node } => {
                // An earlier one may have come in between, and this one is then for nothing.
                if self.nodes[node].wake_at.is_some_and(|at| at <= self.now) {
                    self.nodes[node].wake_at = None;
                    let now = self.clock(node);
                    let Some(machine) = &mut self.nodes[node].machine else { return };
                    if machine.timeout().is_some_and(|at| at <= now) {
                        machine.role().handle_timeout(now);
                    }
                    self.drain(node);
                }
            }
            Happening::Datagram { to, from, bytes } => self.on_datagram(to, from, &bytes),
            Happening::Dial { node, life, dial, to } => self.on_dial(node, life, dial, &to),
            Happening::DialFailed { node, life, dial, why } => {
                self.turn_of(node, life, Input::DialFailed { dial, why: why.to_owned() });
            }
            Happening::Accepted { dialer, life, dial, link, serial } => {
                if self.is_link(link, serial) && self.end(link, 0).is_some_and(|end| end.open) {
                    self.on_accepted(dialer, life, dial, link);
                } else {
                    let why = "connection reset".to_owned();
                    self.turn_of(dialer, life, Input::DialFailed { dial, why });
                }
            }
            Happening::Segment { link, serial, end, segment } => {
                if self.is_link(link, serial) {
                    self.on_segment(link, end, segment);
                }
            }
            Happening::Pump { link, serial, end } => {
                if self.is_link(link, serial) {
                    self.pump(link, end);
                }
            }
            Happening::Sent { node, life, conn, req } => {
                self.turn_of(node, life, Input::PayloadSent { conn, req });
            }
            Happening::Closed { node, life, conn, why } => self.turn_of(node, life, Input::Closed { conn, why }),
            Happening::Came { node, life, conn, from } => {
                if self.nodes[node].conns.contains_key(&conn) {
                    self.turn_of(node, life, Input::Accepted { conn, from });
                }
            }
            Happening::Command { node, life, client, command } => {
                self.turn_of(node, life, Input::Command { client, command });
            }
            Happening::Stuck { link, serial, end } => {
                if self.is_link(link, serial) {
                    self.on_stuck(link, end);
                }
            }
            Happening::Resume { node } => self.on_resume(node),
            Happening::Looked { node, life, path } => {
                if self.nodes[node].life == life {
                    let added: Vec<FileRecord> =
                        self.nodes[node].disk.record_of(&path, &self.contents).into_iter().collect();
                    let removed = if added.is_empty() { vec![path] } else { Vec::new() };
                    self.nodes[node].disk.saw_all();
                    self.turn(node, Input::Disk(DiskDone::Share { added, removed }));
                }
            }
            Happening::Work { node, life, work } => {
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.on_work(node, work);
                }
            }
            Happening::Hashed { node, life, conn, req, extent, digests } => {
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    let payload = self.nodes[node].disk.receive(extent);
                    self.turn(node, Input::PayloadReceived { conn, req, payload, digests });
                }
            }
            Happening::Disk { node, life, done } => {
                if matches!(done, DiskDone::Share { .. }) && self.nodes[node].life == life {
                    self.nodes[node].disk.saw_all();
                }
                self.turn_of(node, life, Input::Disk(done));
            }
        }
    }

    /// An input for that life of a node alone.
    pub(super) fn turn_of(&mut self, node: usize, life: u64, input: Input<'_>) {
        if self.nodes[node].life == life {
            self.turn(node, input);
        }
    }

    /// One input, and everything that the machine wants done after it.
    pub(super) fn turn(&mut self, number: usize, input: Input<'_>) {
        let now = self.clock(number);
        let node = &mut self.nodes[number];
        let Some(machine) = &mut node.machine else { return };
        if matches!(&input, Input::Closed { .. })
            || matches!(&input, Input::Message { message, .. } if matches!(message.kind(), "REGISTER" | "UPDATE"))
        {
            node.churn += 1;
        }
        if let (Input::Closed { conn, .. }, Some(shadow)) = (&input, &mut self.shadow) {
            shadow.on_closed(number, *conn);
        }
        machine.role().handle_input(now, input);
        self.drain(number);
    }

    fn drain(&mut self, node: usize) {
        let mut packers = Vec::new();
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(|machine| machine.role().poll_output()) {
            self.on_output(node, output, &mut packers);
        }
        for (to, mut packer) in packers {
            if let Some(bytes) = packer.finish() {
                self.send_datagram(node, to, bytes);
            }
        }
        self.wake(node);
    }

    /// Sees to it that the node is woken when it wants to be.
    fn wake(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let Some(at) = node.machine.as_ref().and_then(Machine::timeout) else { return };
        let at = (at - node.ahead).max(self.now + TURN);
        if node.wake_at.is_none_or(|earliest| at < earliest) {
            node.wake_at = Some(at);
            self.schedule(at, Happening::Wake { node: number });
        }
    }

    pub(super) fn schedule(&mut self, at: Time, what: Happening) {
        self.sequence += 1;
        self.queue.push(at, self.sequence, what);
    }

    fn on_output(&mut self, node: usize, output: Output, packers: &mut Vec<(SocketAddr, Packer)>) {
        match output {
            Output::Dial { dial, to } => {
                let (life, after) = (self.nodes[node].life, self.delay());
                self.schedule(self.now + after, Happening::Dial { node, life, dial, to });
            }
            Output::Send { conn, message } => self.send(node, conn, &message),
            Output::SendTo { to, boot, message } => {
                if let (Some(shadow), Some(other)) = (&mut self.shadow, self.by_ip.get(&to.ip())) {
                    shadow.on_link_out(self.now, (node, self.nodes[node].life), *other, &message);
                }
                self.remark(|| format!("{node} says to {to}: {message:.200?}"));
                let at = packers.iter().position(|(other, packer)| *other == to && packer.boot() == boot);
                let at = at.unwrap_or_else(|| {
                    packers.push((to, Packer::new(boot)));
                    packers.len() - 1
                });
                if let Some(full) = packers[at].1.push(&message) {
                    self.send_datagram(node, to, full);
                }
            }
            Output::SendPayload { conn, req, offset, length } => self.send_payload(node, conn, req, (offset, length)),
            Output::ReceivePayload { conn, req, length, plan, verify } => {
                self.receive_payload(node, conn, super::tcp::Reading::Payload { req, length, plan, verify });
            }
            Output::FrameCap { conn, bytes } => self.set_cap(node, conn, bytes),
            Output::Close { conn } => self.close(node, conn),
            Output::DropPayload { payload } => self.nodes[node].disk.drop_payload(payload),
            Output::DropChunk { conn, req } => self.nodes[node].disk.drop_chunk(conn, req),
            Output::Disk(work) => self.on_disk(node, work),
            Output::Event(Event::Client { client, event }) => {
                let now = self.now;
                let asked = self.clients.get_mut(&client).expect("only who asked is answered");
                assert!(asked.outcome().is_none(), "nothing follows a done");
                if matches!(event, ClientEvent::Done(_)) {
                    self.finished.push(client);
                }
                asked.events.push((now, event));
            }
            Output::Event(event) => {
                if matches!(event, Event::Fatal(_)) {
                    self.crash(node);
                }
                self.events.push((self.now, node, event));
            }
        }
    }

    /// A fault has struck.
    pub(super) fn count_fault(&mut self, name: &'static str) {
        *self.counts.faults.entry(name).or_default() += 1;
    }
}
