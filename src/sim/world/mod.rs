//! The world: the queue of events, the nodes, and the driver of their machines.
//!
//! - building: `new`, `add_super`, `add_weak`, `add`, `share`, `set_faults`;
//! - running: `step`, `run_for`, `run_until`;
//! - faults: `crash`, `start`, `cut_connections`, `silence`;
//! - clients: `ask`, `asked`;
//! - getters.

mod asked;
mod books;
mod build;
mod clients;
mod conns;
mod datagrams;
mod disks;
mod harm;
mod logins;
mod look;
mod seals;
mod stall;
mod swarms;
mod trace;

pub use asked::Asked;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::content::Contents;
use super::dials::Dials;
use super::fault::Fault;
use super::happening::Happening;
use super::node::{Machine, Node};
use super::queue::Queue;
use super::random::Random;
use super::roads::Roads;
use super::shadow::Shadow;
use super::tcp::{Link, Segment};
use crate::proto::{ClientEvent, ClientId, ConnId, DialCause, DiskDone, Event, Input, Output};
use crate::time::Time;
use crate::wire::link::Packer;
use crate::wire::{FileRecord, HostPort, Root, SharePath};

/// Shortest time from a machine's request for more work to its next turn.
const TURN: Duration = Duration::from_micros(5);

/// What a run exercised. A run that exercised nothing must fail.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Events.
    pub steps: u64,
    /// Messages that arrived on connections.
    pub messages: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Bytes of these datagrams.
    pub datagram_bytes: u64,
    /// Chunks that arrived.
    pub payloads: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Timers of machines that fired.
    pub timeouts: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Faults that occurred, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A simulated network.
pub struct World {
    pub(super) now: Time,
    pub(super) sequence: u64,
    queue: Queue<Happening>,
    pub(super) nodes: Vec<Node>,
    by_ip: BTreeMap<IpAddr, usize>,
    /// What host names resolve to.
    names: BTreeMap<HostPort, Vec<SocketAddr>>,
    pub(super) links: Vec<Option<Link>>,
    pub(super) links_free: Vec<usize>,
    contents: Contents,
    faults: Vec<Box<dyn Fault>>,
    /// Shortest and longest latency of a datagram or segment.
    latency: (Duration, Duration),
    /// Bytes of payloads that a node sends per second.
    pub(super) bandwidth: u64,
    root: Random,
    pub(super) net: Random,
    weather: Random,
    disks: Random,
    clients: BTreeMap<ClientId, Asked>,
    /// Clients whose commands ended since the last call of `take_finished`.
    finished: Vec<ClientId>,
    /// With a shadow: the acknowledgments since the last call of `take_acknowledged`, each as the
    /// numbers of the super peer and of the weak peer.
    acknowledged: Vec<(usize, usize)>,
    /// Nodes for which the next chunk that is opened is reported in `opened`.
    awaited: BTreeSet<usize>,
    /// With a shadow: the content that each connection to a node follows.
    follows: BTreeMap<(usize, ConnId), Root>,
    /// The chunks that were reported for `awaited`, each with the node and the path of the file.
    opened: Vec<(usize, SharePath)>,
    roads: Roads,
    dials: Dials,
    /// How many nodes are slow or paused.
    hindered: usize,
    /// How many of a thousand messages arrive in parts, and how many of a thousand short parts
    /// arrive byte by byte.
    split: (u32, u32),
    pub(super) shadow: Option<Box<Shadow>>,
    /// Whether links are sealed.
    sealed: bool,
    /// Whether nodes are in login mode.
    login: bool,
    /// When the clock of a super peer last jumped, or resumed after a suspension.
    pub(super) clocks_broke: Option<Time>,
    events: Vec<(Time, usize, Event)>,
    pub(super) counts: Counts,
    trace: u64,
    lines: Option<VecDeque<String>>,
    /// Whether the messages of one turn share datagrams, as in the driver.
    packs: bool,
    /// Whether a machine's invariants are checked after every turn.
    checks: bool,
    tap: Option<Tap>,
}

/// Called with each output of each machine, with the time and the node, before the output is
/// performed.
pub type Tap = Box<dyn FnMut(Time, usize, &Output)>;

impl World {
    /// An empty network.
    #[must_use]
    pub fn new(seed: u64) -> World {
        let root = Random::new(seed);
        World {
            // Not zero, so that a time of zero is not mistaken for the start.
            now: Time::from_micros(1_000_000),
            sequence: 0,
            queue: Queue::new(),
            nodes: Vec::new(),
            by_ip: BTreeMap::new(),
            names: BTreeMap::new(),
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
            follows: BTreeMap::new(),
            opened: Vec::new(),
            roads: Roads::default(),
            dials: Dials::default(),
            hindered: 0,
            split: (300, 20),
            shadow: None,
            sealed: false,
            login: false,
            clocks_broke: None,
            events: Vec::new(),
            counts: Counts::default(),
            trace: 0,
            lines: None,
            packs: true,
            checks: false,
            tap: None,
        }
    }

    /// Runs the next event. Returns false if there is none.
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

    /// Runs for this much virtual time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |_| false);
        self.now = end;
    }

    /// Runs until a condition holds, for at most this virtual time. Returns whether it holds.
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
        node.machine = Some(node.made());
        node.life += 1;
        node.churn += 1;
        node.alarm.clear();
        self.renew_envelopes(number);
        let added = self.nodes[number].disk.share(&self.contents);
        self.wake(number);
        if !added.is_empty() {
            self.disk_says(number, DiskDone::Share { added, removed: Vec::new() });
        }
    }

    /// The process of a node is killed: its connections are reset, its disk is kept.
    pub fn crash(&mut self, number: usize) {
        self.counts.crashes += 1;
        let conns: Vec<(usize, usize)> = self.nodes[number].conns.values().copied().collect();
        for (link, end) in conns {
            self.transmit(link, end, Segment::Reset, None);
            self.shut(link, end);
        }
        self.nodes[number].release_all();
        self.forget_stall(number);
        if let Some(shadow) = &mut self.shadow {
            shadow.on_crash(number);
        }
        let node = &mut self.nodes[number];
        node.machine = None;
        node.churn += 1;
        node.disk.crash();
    }

    /// The power of a node fails: a [`World::crash`] that may also lose what its disk had not
    /// synced.
    pub fn cut_power(&mut self, number: usize) {
        self.crash(number);
        self.nodes[number].disk.cut_power(&mut self.disks);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { node } => {
                if self.nodes[node].alarm.rings(self.now) {
                    let now = self.clock(node);
                    let Some(machine) = &mut self.nodes[node].machine else { return };
                    let due = machine.timeout().is_some_and(|at| at <= now);
                    self.counts.timeouts += u64::from(due);
                    match machine.role() {
                        Some(role) if due => role.handle_timeout(now),
                        Some(_) => {}
                        None => return self.harm(node, None),
                    }
                    self.drain(node);
                }
            }
            Happening::Datagram { to, from, bytes } => self.on_datagram(to, from, bytes),
            Happening::Dial { node, life, dial, to } => self.on_dial(node, life, dial, &to),
            Happening::Resolve { node, life, id, name } => {
                let result = self.names.get(&name).cloned().ok_or_else(|| "no such name".to_owned());
                self.turn_of(node, life, Input::Resolved { id, result });
            }
            Happening::DialFailed { node, life, dial, why, cause } => {
                let why = why.to_owned();
                self.turn_of(node, life, Input::DialFailed { dial, why, cause });
            }
            Happening::Accepted { dialer, life, dial, link, serial } => {
                if self.is_link(link, serial) && self.end(link, 0).is_some_and(|end| end.open) {
                    self.on_accepted(dialer, life, dial, link);
                } else {
                    let (why, cause) = ("connection reset".to_owned(), DialCause::Unreachable);
                    self.turn_of(dialer, life, Input::DialFailed { dial, why, cause });
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
            Happening::Came { node, life, conn, from, key } => {
                if self.nodes[node].conns.contains_key(&conn) {
                    let (to, since, unix) = (self.nodes[node].addr.ip(), self.clock(node), self.unix());
                    self.turn_of(node, life, Input::Accepted { conn, from, to, since, key, unix });
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
            Happening::Unread { link, serial, end, full } => {
                if self.is_link(link, serial) {
                    self.on_unread(link, end, full);
                }
            }
            Happening::SlowFrame { link, serial, end, since } => {
                if self.is_link(link, serial) {
                    self.on_slow_frame(link, end, since);
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

    /// Gives a machine one input from a test. Its connection may be unknown to the world: only the
    /// tap sees what is sent on it.
    pub fn input(&mut self, node: usize, input: Input<'_>) {
        self.turn(node, input);
    }

    /// Gives an input to a node, unless the node has crashed or restarted since `life`.
    pub(super) fn turn_of(&mut self, node: usize, life: u64, input: Input<'_>) {
        if self.nodes[node].life == life {
            self.turn(node, input);
        }
    }

    /// Gives one input to a machine and performs all outputs.
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
        let closed = if let Input::Closed { conn, .. } = &input { Some(*conn) } else { None };
        match machine.role() {
            Some(role) => {
                role.handle_input(now, input);
                self.drain(number);
            }
            None => self.harm(number, Some(input)),
        }
        if let Some(conn) = closed {
            self.nodes[number].release(conn);
        }
    }

    fn drain(&mut self, node: usize) {
        let mut packers = Vec::new();
        while let Some(output) = self.nodes[node].machine.as_mut().and_then(Machine::output) {
            if let Some(tap) = &mut self.tap {
                tap(self.now, node, &output);
            }
            self.on_output(node, output, &mut packers);
        }
        if self.checks
            && let Some(machine) = &self.nodes[node].machine
        {
            machine.check_invariants();
        }
        self.check_downloads(node);
        for (to, mut packer) in packers {
            if let Some(bytes) = packer.finish() {
                self.post(node, to, bytes);
            }
        }
        self.wake(node);
    }

    /// Schedules the next wake-up of a node.
    fn wake(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let Some(at) = node.machine.as_ref().and_then(Machine::timeout) else { return };
        let at = (at - node.ahead).max(self.now + TURN);
        if node.alarm.set(at) {
            self.schedule(at, Happening::Wake { node: number });
        }
    }

    pub(super) fn schedule(&mut self, at: Time, what: Happening) {
        self.sequence += 1;
        self.queue.push(at, self.sequence, what);
    }

    fn on_output(&mut self, node: usize, output: Output, packers: &mut Vec<(SocketAddr, Packer)>) {
        match output {
            Output::Dial { dial, to, .. } => {
                let (life, after) = (self.nodes[node].life, self.delay());
                self.schedule(self.now + after, Happening::Dial { node, life, dial, to });
            }
            Output::Resolve { id, name } => {
                let (life, after) = (self.nodes[node].life, self.delay());
                self.schedule(self.now + after, Happening::Resolve { node, life, id, name });
            }
            Output::Send { conn, message } => self.send(node, conn, &self.in_login_mode(node, message)),
            Output::SendTo { to, key, boot, message, .. } => {
                let other = self.node_of(to, key);
                if let (Some(shadow), Some(other)) = (&mut self.shadow, other) {
                    shadow.on_link_out(self.now, (node, self.nodes[node].life), other, &message);
                }
                self.remark(|| format!("{node} says to {to}: {message:.200?}"));
                let shared =
                    |(other, packer): &(SocketAddr, Packer)| *other == to && packer.boot() == boot && self.packs;
                let at = packers.iter().position(shared);
                let at = at.unwrap_or_else(|| {
                    packers.push((to, Packer::new(boot)));
                    packers.len() - 1
                });
                if let Some(full) = packers[at].1.push(&message) {
                    self.post(node, to, full);
                }
            }
            Output::SendPayload { conn, req, offset, length } => self.send_payload(node, conn, req, (offset, length)),
            Output::ReceivePayload { conn, req, length, plan, verify } => {
                self.receive_payload(node, conn, super::tcp::Reading::Payload { req, length, plan, verify });
            }
            Output::FrameCap { conn, bytes } => self.set_cap(node, conn, bytes),
            // Ignored: this world limits the rate of connections itself, and the turns of its
            // machines are short.
            Output::Limit(_) | Output::Hold { .. } => {}
            Output::Close { conn } | Output::Abort { conn } => self.close(node, conn),
            Output::DropPayload { payload } => self.nodes[node].disk.drop_payload(payload),
            Output::DropChunk { conn, req } => self.nodes[node].disk.drop_chunk(conn, req),
            Output::Disk(work) => self.on_disk(node, work),
            Output::SaveAccounts { accounts } => self.save_accounts(node, *accounts),
            Output::Event(event) => self.on_event(node, *event),
        }
    }

    fn on_event(&mut self, node: usize, event: Event) {
        if let Event::Client { client, event } = event {
            let now = self.now;
            let Some(asked) = self.clients.get_mut(&client) else {
                let other = matches!(self.nodes[node].machine, Some(Machine::Other(_)));
                assert!(other, "an answer to a client that did not ask");
                return self.events.push((now, node, Event::Client { client, event }));
            };
            assert!(asked.outcome().is_none(), "nothing follows a done");
            if matches!(event, ClientEvent::Done(_)) {
                self.finished.push(client);
            }
            return asked.events.push((now, event));
        }
        if matches!(event, Event::Fatal(_)) {
            self.crash(node);
        }
        self.events.push((self.now, node, event));
    }

    /// Counts a fault that occurred.
    pub(super) fn count_fault(&mut self, name: &'static str) {
        *self.counts.faults.entry(name).or_default() += 1;
    }
}
