//! A part of a laboratory: some of its super peers, their weak peers, and what is to happen to them.
//!
//! It never looks at another shard: what goes there is mail, which somebody carries between two runs.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::asker::{Asked, Asker};
use super::tally::{KINDS_OF_QUERIES, Tally, kind};
use super::{STARTS, Shared, catalog};
use crate::config::{
    CHUNK_PORT, FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, PING_INTERVAL, PROTOCOL_VERSION, SUPER_PORT,
};
use crate::proto::counters::Count;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{CloseReason, ConnId, DialId, Entropy, Input, Output, Role};
use crate::sim::fault::{Fault, Flight, Lose};
use crate::sim::queue::Queue;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::link::{HEADER_BYTES, Packer};
use crate::wire::message::{Hello, Login, Ping, Register};
use crate::wire::{LinkMessage, Message, NodeId, frame};

/// Not zero, so that nothing takes "no time" for "at the start".
pub(super) const BEGINNING: Time = Time::from_micros(1_000_000);
/// From asking for more work to getting it: a turn of the driver.
const TURN: Duration = Duration::from_micros(5);
/// The weak peers of a super peer come to it within this time when it starts for the first time, and when it is back.
const COMING: Duration = Duration::from_secs(1);
const COMING_BACK: Duration = Duration::from_secs(5);
/// How long a node that failed is away, on average.
pub(super) const AWAY: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Records in a page of a script's REGISTER.
const PAGE_FILES: usize = 256;
/// Bits of a tie-breaker that number what a node has scheduled; the others are the node's.
const SEQUENCE_BITS: u32 = 40;

/// A datagram for another shard.
#[derive(Debug)]
pub struct Mail {
    at: Time,
    tie: u64,
    datagram: Datagram,
}

#[derive(Debug)]
pub(super) struct Datagram {
    to: u32,
    from: u32,
    /// Messages of queries in it, and the hops of the last QUERY among them.
    work: u16,
    hops: u8,
    bytes: Vec<u8>,
}

/// What will happen. Super peers and askers by their places in this shard.
#[derive(Debug)]
pub(super) enum Happening {
    Start {
        host: u32,
    },
    Wake {
        host: u32,
    },
    Datagram(Datagram),
    /// The next silent peer of a super peer comes.
    Come {
        host: u32,
        life: u32,
        slot: u32,
        gap: Duration,
    },
    /// A silent peer that failed is back.
    Return {
        host: u32,
        slot: u32,
    },
    /// The next silent peer of a super peer says that it is alive.
    Ping {
        host: u32,
        life: u32,
    },
    /// Somebody fails: a super peer, or one of its silent peers.
    Fail {
        host: u32,
    },
    Leave {
        host: u32,
        life: u32,
    },
    WakeAsker {
        asker: u32,
    },
    Dial {
        asker: u32,
        dial: DialId,
    },
    Dialed {
        asker: u32,
        dial: DialId,
        generation: u32,
    },
    Undialed {
        asker: u32,
        dial: DialId,
    },
    /// Frames on the connection of an asker, up to its super peer and down from it.
    Up {
        asker: u32,
        generation: u32,
        bytes: Vec<u8>,
    },
    Down {
        asker: u32,
        generation: u32,
        bytes: Vec<u8>,
    },
    /// That connection is closed, as its super peer sees it and as the asker does.
    ClosedUp {
        asker: u32,
        generation: u32,
        why: CloseReason,
    },
    ClosedDown {
        asker: u32,
        generation: u32,
        why: CloseReason,
    },
    Ask {
        asker: u32,
        query: u32,
    },
}

/// Where the session of a weak peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Away,
    Greeted,
    LoggedIn,
    /// So many pages of its list are sent.
    Registering(u16),
    Up,
    /// It is a machine, not a script.
    Asker(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    /// Connections that it has had.
    pub(super) generation: u32,
}

/// A super peer and those at home there.
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) machine: Option<Box<SuperPeer>>,
    life: u32,
    wake_at: Option<Time>,
    random: Random,
    sequence: u64,
    /// Messages of queries sent and received while it was measured.
    pub(super) load: u64,
    next_ping: u32,
    pub(super) slots: Vec<Slot>,
}

/// Some of the super peers of a laboratory, with all who are at home there.
pub struct Shard {
    pub(super) now: Time,
    pub(super) shared: Arc<Shared>,
    /// Where each shard's super peers begin, and the end.
    cuts: Vec<usize>,
    first: usize,
    pub(super) hosts: Vec<Host>,
    pub(super) askers: Vec<Asker>,
    pub(super) queue: Queue<Happening>,
    outbox: Vec<Vec<Mail>>,
    pub(super) asked: BTreeMap<u32, Asked>,
    pub(super) over: usize,
    pub(super) tally: Tally,
    measuring: bool,
    /// Who came and went while it was measured.
    pub(super) changes: Vec<(Time, u32, bool)>,
    /// What super peers have said to silent peers in this turn.
    replies: VecDeque<(u32, u32, Message)>,
    packers: Vec<(u32, Parcel)>,
    /// Reused.
    frame: Vec<u8>,
    flights: Vec<Flight>,
}

/// What goes into one datagram.
struct Parcel {
    packer: Packer,
    length: usize,
    work: u16,
    hops: u8,
}

pub(super) fn super_addr(number: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0xac10_0001 + u32::try_from(number).expect("at most 2^20 super peers"));
    SocketAddr::new(IpAddr::V4(ip), SUPER_PORT)
}

fn super_of(addr: SocketAddr) -> Option<u32> {
    match addr.ip() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(0xac10_0001),
        IpAddr::V6(_) => None,
    }
}

pub(super) fn peer_ip(peer: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(peer).expect("fewer than 2^24 weak peers"))
}

pub(super) fn peer_of(host: &str) -> Option<u32> {
    host.parse::<Ipv4Addr>().ok()?.to_bits().checked_sub(0x0a00_0001)
}

pub(super) fn node_id(class: u8, number: usize) -> NodeId {
    let mut id = [class; 16];
    id[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    NodeId(id)
}

impl Shard {
    pub(super) fn new(shared: &Arc<Shared>, cuts: &[usize], at: usize, supers: Range<usize>) -> Shard {
        let mut shard = Shard {
            now: BEGINNING,
            shared: Arc::clone(shared),
            cuts: cuts.to_vec(),
            first: supers.start,
            hosts: Vec::with_capacity(supers.len()),
            askers: Vec::new(),
            queue: Queue::new(),
            outbox: (1..cuts.len()).map(|_| Vec::new()).collect(),
            asked: BTreeMap::new(),
            over: 0,
            tally: Tally::new(),
            measuring: false,
            changes: Vec::new(),
            replies: VecDeque::new(),
            packers: Vec::new(),
            frame: Vec::new(),
            flights: Vec::new(),
        };
        debug_assert_eq!(cuts[at], supers.start);
        for number in supers {
            shard.add_host(number);
        }
        let (first, hosts, all) = (shard.first, shard.hosts.len(), shared.plan.supers);
        for (place, peer) in shared.askers.iter().enumerate() {
            let home = *peer as usize % all;
            if (first..first + hosts).contains(&home) {
                shard.add_asker(place, *peer as usize, home - first);
            }
        }
        shard
    }

    fn add_host(&mut self, number: usize) {
        let plan = &self.shared.plan;
        let peers = (plan.peers + plan.supers - 1 - number) / plan.supers;
        let mut random = self.shared.root.child("host", number as u64);
        let start = BEGINNING + random.time(Duration::ZERO, STARTS);
        let slots = vec![Slot { state: State::Away, generation: 0 }; peers];
        let host = u32::try_from(self.hosts.len()).expect("at most 2^20 super peers");
        self.hosts.push(Host {
            number,
            machine: None,
            life: 0,
            wake_at: None,
            random,
            sequence: 0,
            load: 0,
            next_ping: 0,
            slots,
        });
        self.schedule(host, start, Happening::Start { host });
    }

    // ---- for whoever runs it -----------------------------------------------------------------------------------------

    /// When the next thing happens here.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.next()
    }

    /// Everything that happens here before `until`, mail that is still to come left aside.
    pub fn run(&mut self, until: Time) {
        while self.queue.next().is_some_and(|at| at < until) {
            let Some((at, _, what)) = self.queue.pop() else { break };
            debug_assert!(at >= self.now, "time never runs backwards");
            self.now = at;
            self.happen(what);
        }
    }

    /// Messages handled so far, from when it was last begun to measure.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.tally.handled
    }

    /// What is for that shard.
    pub fn take_mail(&mut self, shard: usize) -> Vec<Mail> {
        std::mem::take(&mut self.outbox[shard])
    }

    /// What another shard had for this one.
    pub fn give_mail(&mut self, mail: Vec<Mail>) {
        for Mail { at, tie, datagram } in mail {
            self.queue.push(at, tie, Happening::Datagram(datagram));
        }
    }

    // ---- for the laboratory ------------------------------------------------------------------------------------------

    /// Links that are up, seen from both ends, and records in the indexes.
    pub(super) fn settled(&self) -> (usize, usize) {
        let machines = self.hosts.iter().filter_map(|host| host.machine.as_ref());
        machines
            .fold((0, 0), |(links, records), machine| (links + machine.links_up(), records + machine.index().records()))
    }

    /// From now on it counts, and its askers ask.
    pub(super) fn begin(&mut self, now: Time) {
        self.tally = Tally::new();
        self.measuring = true;
        let shared = Arc::clone(&self.shared);
        let mine: BTreeMap<usize, u32> = (0..).zip(&self.askers).map(|(at, asker)| (asker.place, at)).collect();
        for (query, (_, place)) in (0_u32..).zip(&shared.asked) {
            if let Some(&asker) = mine.get(place) {
                let host = self.askers[asker as usize].host;
                self.schedule(host, now + shared.plan.gap * query, Happening::Ask { asker, query });
            }
        }
        if shared.plan.churn > 0.0 {
            for host in 0..self.hosts.len() as u32 {
                self.plan_failure(host);
                self.plan_leave(host);
            }
        }
    }

    /// Queries that are over.
    pub(super) fn over(&self) -> usize {
        self.over
    }

    // ---- what happens ------------------------------------------------------------------------------------------------

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start { host } => self.on_start(host),
            Happening::Wake { host } => self.on_wake(host),
            Happening::Datagram(datagram) => self.on_datagram(&datagram),
            Happening::Come { host, life, slot, gap } => self.on_come(host, life, slot, gap),
            Happening::Return { host, slot } => self.connect(host, slot),
            Happening::Ping { host, life } => self.on_ping(host, life),
            Happening::Fail { host } => self.on_fail(host),
            Happening::Leave { host, life } => self.on_leave(host, life),
            Happening::WakeAsker { asker } => self.on_wake_asker(asker),
            Happening::Dial { asker, dial } => self.on_dial(asker, dial),
            Happening::Dialed { asker, dial, generation } => self.on_dialed(asker, dial, generation),
            Happening::Undialed { asker, dial } => self.on_undialed(asker, dial),
            Happening::Up { asker, generation, bytes } => self.on_up(asker, generation, &bytes),
            Happening::Down { asker, generation, bytes } => self.on_down(asker, generation, &bytes),
            Happening::ClosedUp { asker, generation, why } => self.on_closed_up(asker, generation, why),
            Happening::ClosedDown { asker, generation, why } => self.on_closed_down(asker, generation, why),
            Happening::Ask { asker, query } => self.on_ask(asker, query),
        }
    }

    /// Something that this host, or somebody at home there, has under way.
    pub(super) fn schedule(&mut self, host: u32, at: Time, what: Happening) {
        let tie = self.hosts[host as usize].tie();
        self.queue.push(at, tie, what);
    }

    /// How long something takes on its way from or to somebody here.
    pub(super) fn delay(&mut self, host: u32) -> Duration {
        let (least, most) = self.shared.plan.latency;
        self.hosts[host as usize].random.time(least, most)
    }

    fn on_start(&mut self, host: u32) {
        let (now, again) = (self.now, self.hosts[host as usize].life > 0);
        let one = &mut self.hosts[host as usize];
        let mut random = self.shared.root.child("super", one.number as u64 ^ (u64::from(one.life) << 32));
        let mut config = SuperPeerConfig::new(node_id(0x5b, one.number), random.next_u64());
        config.neighbors = self.shared.neighbors[one.number].iter().map(|other| super_addr(*other)).collect();
        config.hits_max = usize::MAX;
        one.machine = Some(Box::new(SuperPeer::new(config, Box::new(random))));
        one.life += 1;
        one.wake_at = None;
        let (life, slots) = (one.life, u32::try_from(one.slots.len()).expect("fewer than 2^24"));
        self.wake(host);
        if slots > 0 {
            let gap = if again { COMING_BACK } else { COMING } / slots;
            self.schedule(host, now + gap, Happening::Come { host, life, slot: 0, gap });
            self.schedule(host, now + PING_INTERVAL / slots, Happening::Ping { host, life });
        }
        if again {
            self.plan_failure(host);
            self.plan_leave(host);
        }
    }

    fn on_wake(&mut self, host: u32) {
        let now = self.now;
        let one = &mut self.hosts[host as usize];
        // An earlier one may have come in between, and this one is then for nothing.
        if one.wake_at.is_none_or(|at| at > now) {
            return;
        }
        one.wake_at = None;
        let Some(machine) = &mut one.machine else { return };
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
            self.settle(host);
        } else {
            self.wake(host);
        }
    }

    fn on_datagram(&mut self, datagram: &Datagram) {
        let now = self.now;
        let host = datagram.to - self.first as u32;
        let one = &mut self.hosts[host as usize];
        let Some(machine) = &mut one.machine else { return };
        let searched = machine.counters().count(Count::FloodSearched);
        let from = super_addr(datagram.from as usize);
        machine.handle_input(now, Input::Datagram { from, bytes: &datagram.bytes });
        self.tally.handled += 1;
        if self.measuring {
            one.load += u64::from(datagram.work);
            let searched = machine.counters().count(Count::FloodSearched) - searched;
            if searched > 0 {
                self.tally.searched(datagram.hops, searched);
            }
        }
        self.settle(host);
    }

    /// One input, and all that comes of it.
    pub(super) fn turn(&mut self, host: u32, input: Input<'_>) {
        let now = self.now;
        let Some(machine) = &mut self.hosts[host as usize].machine else { return };
        machine.handle_input(now, input);
        self.tally.handled += 1;
        self.settle(host);
    }

    /// Carries out what a machine wants, with what silent peers answer to it.
    fn settle(&mut self, host: u32) {
        self.drain(host);
        while let Some((host, slot, message)) = self.replies.pop_front() {
            self.on_reply(host, slot, message);
        }
        self.wake(host);
    }

    fn drain(&mut self, host: u32) {
        while let Some(output) = self.hosts[host as usize].machine.as_mut().and_then(|machine| machine.poll_output()) {
            match output {
                Output::SendTo { to, boot, message } => self.pack(host, to, boot, &message),
                Output::Send { conn, message } => self.say(host, conn, &message),
                Output::Close { conn } => self.close(host, conn),
                Output::FrameCap { conn, bytes } => self.set_cap(host, conn, bytes),
                Output::Event(_) => {}
                Output::Dial { .. } | Output::SendPayload { .. } | Output::ReceivePayload { .. } | Output::Disk(_) => {
                    unreachable!("a super peer dials nobody and has no files")
                }
            }
        }
        let mut packers = std::mem::take(&mut self.packers);
        for (to, mut parcel) in packers.drain(..) {
            if let Some(bytes) = parcel.packer.finish() {
                self.post(host, to, (parcel.work, parcel.hops), bytes);
            }
        }
        self.packers = packers;
    }

    /// Sees to it that the host is woken when it wants to be.
    fn wake(&mut self, host: u32) {
        let one = &mut self.hosts[host as usize];
        let Some(at) = one.machine.as_ref().and_then(|machine| machine.poll_timeout()) else { return };
        let at = at.max(self.now + TURN);
        if one.wake_at.is_none_or(|earliest| at < earliest) {
            one.wake_at = Some(at);
            self.schedule(host, at, Happening::Wake { host });
        }
    }

    // ---- datagrams ---------------------------------------------------------------------------------------------------

    fn pack(&mut self, host: u32, to: SocketAddr, boot: u64, message: &LinkMessage) {
        let Some(to) = super_of(to) else { return };
        let found = self.packers.iter().position(|(other, parcel)| *other == to && parcel.packer.boot() == boot);
        let at = found.unwrap_or_else(|| {
            self.packers.push((to, Parcel { packer: Packer::new(boot), length: 0, work: 0, hops: 0 }));
            self.packers.len() - 1
        });
        let parcel = &mut self.packers[at].1;
        let full = parcel.packer.push(message);
        let full = full.map(|bytes| (bytes, (parcel.work, parcel.hops)));
        if full.is_some() {
            (parcel.length, parcel.work, parcel.hops) = (0, 0, 0);
        }
        let kind = kind(message);
        let length = parcel.packer.len();
        debug_assert!(length > parcel.length && (parcel.length > 0 || length > HEADER_BYTES));
        let bytes = length - parcel.length;
        parcel.length = length;
        if kind < KINDS_OF_QUERIES {
            parcel.work += 1;
        }
        if let LinkMessage::Query(query) = message {
            parcel.hops = query.hops;
        }
        if self.measuring {
            self.tally.sent(kind, message, bytes);
        }
        if let Some((bytes, about)) = full {
            self.post(host, to, about, bytes);
        }
    }

    fn post(&mut self, host: u32, to: u32, (work, hops): (u16, u8), bytes: Vec<u8>) {
        let delay = self.delay(host);
        let one = &mut self.hosts[host as usize];
        let from = u32::try_from(one.number).expect("at most 2^20 super peers");
        if self.measuring {
            one.load += u64::from(work);
        }
        if self.shared.plan.loss == 0 {
            return self.send(host, Datagram { to, from, work, hops, bytes }, delay);
        }
        let mut flights = std::mem::take(&mut self.flights);
        let flight = Flight { from: one.number, to: to as usize, delay, bytes };
        if Lose(self.shared.plan.loss).pass(flight, &mut one.random, &mut flights) && self.measuring {
            self.tally.lost += 1;
        }
        for Flight { delay, bytes, .. } in flights.drain(..) {
            self.send(host, Datagram { to, from, work, hops, bytes }, delay);
        }
        self.flights = flights;
    }

    fn send(&mut self, host: u32, datagram: Datagram, delay: Duration) {
        let (at, tie, to) = (self.now + delay, self.hosts[host as usize].tie(), datagram.to as usize);
        if (self.first..self.first + self.hosts.len()).contains(&to) {
            self.queue.push(at, tie, Happening::Datagram(datagram));
        } else {
            let shard = self.cuts.partition_point(|cut| *cut <= to) - 1;
            self.outbox[shard].push(Mail { at, tie, datagram });
        }
    }

    // ---- sessions ----------------------------------------------------------------------------------------------------

    pub(super) fn conn(&self, host: u32, slot: u32) -> ConnId {
        ConnId { index: slot, generation: self.hosts[host as usize].slots[slot as usize].generation }
    }

    fn peer(&self, host: u32, slot: u32) -> usize {
        slot as usize * self.shared.plan.supers + self.hosts[host as usize].number
    }

    fn slot(&mut self, host: u32, slot: u32) -> &mut Slot {
        &mut self.hosts[host as usize].slots[slot as usize]
    }

    /// A super peer says something to a session.
    fn say(&mut self, host: u32, conn: ConnId, message: &Message) {
        let slot = conn.index;
        if self.conn(host, slot) != conn {
            return;
        }
        match self.slot(host, slot).state {
            State::Asker(asker) => self.send_down(host, asker, message),
            State::Away => {}
            State::Greeted | State::LoggedIn | State::Registering(_) | State::Up => {
                let message = self.through_the_wire(message, FRAME_BYTES_OPEN);
                self.replies.push_back((host, slot, message));
            }
        }
    }

    /// A frame is made and read again.
    fn through_the_wire(&mut self, message: &Message, cap: usize) -> Message {
        self.frame.clear();
        frame::encode(message, &mut self.frame);
        match frame::decode(&self.frame, cap) {
            Ok(Some((message, used))) if used == self.frame.len() => message,
            other => panic!("{} does not pass the wire: {other:?}", message.kind()),
        }
    }

    /// A silent peer says something to its super peer.
    fn utter(&mut self, host: u32, slot: u32, message: &Message, cap: usize) {
        let (now, conn) = (self.now, self.conn(host, slot));
        let message = self.through_the_wire(message, cap);
        let Some(machine) = &mut self.hosts[host as usize].machine else { return };
        machine.handle_input(now, Input::Message { conn, message });
        self.tally.handled += 1;
        self.drain(host);
    }

    fn on_come(&mut self, host: u32, life: u32, slot: u32, gap: Duration) {
        if self.hosts[host as usize].life != life {
            return;
        }
        if slot as usize + 1 < self.hosts[host as usize].slots.len() {
            self.schedule(host, self.now + gap, Happening::Come { host, life, slot: slot + 1, gap });
        }
        self.connect(host, slot);
    }

    /// A silent peer that is away connects, and says HELLO.
    fn connect(&mut self, host: u32, slot: u32) {
        let now = self.now;
        if self.hosts[host as usize].machine.is_none() || self.slot(host, slot).state != State::Away {
            return;
        }
        let peer = self.peer(host, slot);
        let one = self.slot(host, slot);
        one.generation += 1;
        one.state = State::Greeted;
        let conn = self.conn(host, slot);
        let from = SocketAddr::new(IpAddr::V4(peer_ip(peer)), 40_000);
        if let Some(machine) = &mut self.hosts[host as usize].machine {
            machine.handle_input(now, Input::Accepted { conn, from });
        }
        let boot = u64::from(conn.generation);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            node: node_id(0x77, peer),
            boot,
            features: Vec::new(),
            agent: String::new(),
        };
        self.utter(host, slot, &Message::Hello(hello), FRAME_BYTES_HELLO);
        self.settle(host);
    }

    /// What a silent peer does about what its super peer says.
    fn on_reply(&mut self, host: u32, slot: u32, message: Message) {
        match (self.slot(host, slot).state, message) {
            (State::Greeted, Message::Welcome(_)) => {
                self.slot(host, slot).state = State::LoggedIn;
                let login = Login { mode: "open".to_owned(), user: None, proof: None };
                self.utter(host, slot, &Message::Login(login), FRAME_BYTES_LOGIN);
            }
            (State::LoggedIn, Message::Ready(_)) => self.register(host, slot, 0),
            (State::Registering(pages), Message::Ack(_)) => {
                let peer = self.peer(host, slot);
                if usize::from(pages) * PAGE_FILES < self.shared.catalog.held_by(peer).len() {
                    self.register(host, slot, pages);
                } else {
                    self.slot(host, slot).state = State::Up;
                    self.note(peer, true);
                }
            }
            // PONG, and what is said to somebody who is going.
            (State::Greeted | State::LoggedIn | State::Registering(_) | State::Up | State::Away, _) => {}
            (State::Asker(_), _) => unreachable!("an asker has a connection of its own"),
        }
    }

    fn register(&mut self, host: u32, slot: u32, page: u16) {
        let peer = self.peer(host, slot);
        let shared = Arc::clone(&self.shared);
        let held = shared.catalog.held_by(peer);
        let rest = &held[usize::from(page) * PAGE_FILES..];
        let files = rest.iter().take(PAGE_FILES).map(|file| catalog::record(*file)).collect();
        let more = rest.len() > PAGE_FILES;
        self.slot(host, slot).state = State::Registering(page + 1);
        let register = Register { seq: u64::from(page) + 1, port: CHUNK_PORT, host: None, files, more };
        self.utter(host, slot, &Message::Register(register), FRAME_BYTES_OPEN);
    }

    /// A peer's files are all registered from now on, or no more.
    pub(super) fn note(&mut self, peer: usize, there: bool) {
        if self.measuring {
            self.changes.push((self.now, u32::try_from(peer).expect("fewer than 2^24 weak peers"), there));
        }
    }

    fn on_ping(&mut self, host: u32, life: u32) {
        let one = &mut self.hosts[host as usize];
        if one.life != life || one.machine.is_none() {
            return;
        }
        let (slot, slots) = (one.next_ping, one.slots.len() as u32);
        one.next_ping = (slot + 1) % slots;
        self.schedule(host, self.now + PING_INTERVAL / slots, Happening::Ping { host, life });
        if self.slot(host, slot).state == State::Up {
            self.utter(host, slot, &Message::Ping(Ping { n: slot }), FRAME_BYTES_OPEN);
            self.settle(host);
        }
    }

    /// A super peer closes a session.
    fn close(&mut self, host: u32, conn: ConnId) {
        let slot = conn.index;
        if self.conn(host, slot) != conn {
            return;
        }
        if let State::Asker(asker) = self.slot(host, slot).state {
            return self.close_down(host, asker);
        }
        self.gone(host, slot, CloseReason::Asked);
        let back = self.now + AWAY;
        self.schedule(host, back, Happening::Return { host, slot });
    }

    /// The connection of a silent peer is no more.
    fn gone(&mut self, host: u32, slot: u32, why: CloseReason) {
        let (now, conn) = (self.now, self.conn(host, slot));
        let was = std::mem::replace(&mut self.slot(host, slot).state, State::Away);
        if was == State::Up {
            let peer = self.peer(host, slot);
            self.note(peer, false);
        }
        if was != State::Away
            && let Some(machine) = &mut self.hosts[host as usize].machine
        {
            machine.handle_input(now, Input::Closed { conn, why });
        }
    }

    // ---- churn -------------------------------------------------------------------------------------------------------

    fn plan_failure(&mut self, host: u32) {
        let rate = self.shared.plan.churn / 100.0;
        let after = self.hosts[host as usize].random.until_next(rate, MINUTE);
        self.schedule(host, self.now + after, Happening::Fail { host });
    }

    fn plan_leave(&mut self, host: u32) {
        let one = &mut self.hosts[host as usize];
        let rate = self.shared.plan.churn / 100.0 * one.slots.len() as f64;
        let (after, life) = (one.random.until_next(rate, MINUTE), one.life);
        self.schedule(host, self.now + after, Happening::Leave { host, life });
    }

    /// The process of a super peer is killed.
    fn on_fail(&mut self, host: u32) {
        let after = {
            let one = &mut self.hosts[host as usize];
            one.machine = None;
            one.wake_at = None;
            one.random.until_next(1.0, AWAY)
        };
        for slot in 0..self.hosts[host as usize].slots.len() as u32 {
            match self.slot(host, slot).state {
                State::Asker(asker) => self.reset(host, asker),
                State::Away | State::Greeted | State::LoggedIn | State::Registering(_) | State::Up => {
                    self.gone(host, slot, CloseReason::Failed);
                }
            }
        }
        self.schedule(host, self.now + after, Happening::Start { host });
    }

    /// A silent peer is gone without a word.
    fn on_leave(&mut self, host: u32, life: u32) {
        let one = &mut self.hosts[host as usize];
        if one.life != life || one.machine.is_none() || one.slots.is_empty() {
            return;
        }
        let slot = one.random.index(one.slots.len()) as u32;
        let back = one.random.until_next(1.0, AWAY);
        if one.slots[slot as usize].state == State::Up {
            self.gone(host, slot, CloseReason::Failed);
            self.settle(host);
            self.schedule(host, self.now + back, Happening::Return { host, slot });
        }
        self.plan_leave(host);
    }
}

impl Host {
    fn tie(&mut self) -> u64 {
        self.sequence += 1;
        (self.number as u64) << SEQUENCE_BITS | self.sequence
    }
}
