//! A part of a laboratory: some of its super peers, their weak peers, and their queue of events.
//!
//! A shard never reads the state of another shard. Its datagrams for another shard are mail, which
//! the caller moves between two runs.

mod asker;
mod churn;
mod datagrams;
mod sessions;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{node_id, super_addr};
use super::happening::Happening;
use super::peers::{Asked, Asker, Slot, State};
use super::plan::{BEGINNING, Shared};
use super::tally::Tally;
use super::traffic::{Mail, Parcel};
use crate::config::PING_INTERVAL;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{Entropy, Input, Output, Role};
use crate::sim::alarm::Alarm;
use crate::sim::fault::Flight;
use crate::sim::queue::Queue;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::Message;

/// Super peers start one after the other within this time, so that they do not send their greetings
/// at the same time.
const STARTS: Duration = Duration::from_secs(2);
/// Time from a request for more work until the machine gets it: a turn of the driver.
const TURN: Duration = Duration::from_micros(5);
/// The weak peers of a super peer connect to it within this time, when it starts for the first time
/// and when it returns.
const COMING: Duration = Duration::from_secs(1);
const COMING_BACK: Duration = Duration::from_secs(5);
/// How long a node that failed is away, on average.
pub(super) const AWAY: Duration = Duration::from_secs(10);
/// Bits of a tie-breaker that number what a node has scheduled. The other bits name the node.
const SEQUENCE_BITS: u32 = 40;

/// A super peer with its weak peers.
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) machine: Option<Box<SuperPeer>>,
    life: u32,
    alarm: Alarm,
    random: Random,
    sequence: u64,
    /// Messages of queries that were sent and received during the measurement.
    pub(super) load: u64,
    next_ping: u32,
    pub(super) slots: Vec<Slot>,
}

/// Some of the super peers of a laboratory, with all of their weak peers.
pub struct Shard {
    pub(super) now: Time,
    pub(super) shared: Arc<Shared>,
    /// The number of the first super peer of each shard, and after these the number of all super
    /// peers.
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
    /// Peers that came and went during the measurement.
    pub(super) changes: Vec<(Time, u32, bool)>,
    /// Messages of super peers to silent peers in this turn.
    replies: VecDeque<(u32, u32, Message)>,
    packers: Vec<(u32, Parcel)>,
    /// A buffer that is reused.
    frame: Vec<u8>,
    flights: Vec<Flight>,
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
            let host = *peer as usize % all;
            if (first..first + hosts).contains(&host) {
                shard.add_asker(place, *peer as usize, host - first);
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
            alarm: Alarm::default(),
            random,
            sequence: 0,
            load: 0,
            next_ping: 0,
            slots,
        });
        self.schedule(host, start, Happening::Start { host });
    }

    // ---- for the caller that runs it ------------------------------------------------------------

    /// When the next event of this shard happens.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.next()
    }

    /// Runs all events before `until`, except for mail that has not arrived.
    pub fn run(&mut self, until: Time) {
        while self.queue.next().is_some_and(|at| at < until) {
            let Some((at, _, what)) = self.queue.pop() else { break };
            debug_assert!(at >= self.now, "time never runs backwards");
            self.now = at;
            self.happen(what);
        }
    }

    /// Messages handled since the measurement began.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.tally.handled
    }

    /// Takes the mail for another shard.
    pub fn take_mail(&mut self, shard: usize) -> Vec<Mail> {
        std::mem::take(&mut self.outbox[shard])
    }

    /// Adds the mail of another shard.
    pub fn give_mail(&mut self, mail: Vec<Mail>) {
        for Mail { at, tie, datagram } in mail {
            self.queue.push(at, tie, Happening::Datagram(datagram));
        }
    }

    // ---- for the laboratory ---------------------------------------------------------------------

    /// Links that are up, seen from both ends, and records in the indexes.
    pub(super) fn settled(&self) -> (usize, usize) {
        let machines = self.hosts.iter().filter_map(|host| host.machine.as_ref());
        machines
            .fold((0, 0), |(links, records), machine| (links + machine.links_up(), records + machine.index().records()))
    }

    /// From now on the shard measures, and its askers send queries.
    pub(super) fn begin(&mut self, now: Time) {
        // What is planned from here on must not depend on the last event of this shard.
        self.now = now;
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

    // ---- what happens ---------------------------------------------------------------------------

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
            Happening::Dialed { call, dial } => self.on_dialed(call, dial),
            Happening::Undialed { asker, dial } => self.on_undialed(asker, dial),
            Happening::Up { call, bytes } => self.on_up(call, &bytes),
            Happening::Down { call, bytes } => self.on_down(call, &bytes),
            Happening::ClosedUp { call, why } => self.on_closed_up(call, why),
            Happening::ClosedDown { call, why } => self.on_closed_down(call, why),
            Happening::Ask { asker, query } => self.on_ask(asker, query),
        }
    }

    /// Something that this host, or one of its weak peers, has in progress.
    pub(super) fn schedule(&mut self, host: u32, at: Time, what: Happening) {
        let tie = self.hosts[host as usize].tie();
        self.queue.push(at, tie, what);
    }

    /// The latency of a message from or to a node of this shard.
    pub(super) fn delay(&mut self, host: u32) -> Duration {
        let (least, most) = self.shared.plan.latency;
        self.hosts[host as usize].random.time(least, most)
    }

    fn on_start(&mut self, host: u32) {
        let (now, again) = (self.now, self.hosts[host as usize].life > 0);
        let one = &mut self.hosts[host as usize];
        let mut random = self.shared.root.child("super", one.number as u64 ^ (u64::from(one.life) << 32));
        let mut config = SuperPeerConfig::new(node_id(0x5b, one.number), random.next_u64());
        config.neighbors = self.shared.neighbors[one.number].iter().map(|other| super_addr(*other).into()).collect();
        config.hits_max = usize::MAX;
        one.machine = Some(Box::new(SuperPeer::new(config, Box::new(random))));
        one.life += 1;
        one.alarm.clear();
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
        if !one.alarm.rings(now) {
            return;
        }
        let Some(machine) = &mut one.machine else { return };
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
            self.settle(host);
        } else {
            self.wake(host);
        }
    }

    /// Gives one input to a super peer and carries out all outputs.
    pub(super) fn turn(&mut self, host: u32, input: Input<'_>) {
        let now = self.now;
        let Some(machine) = &mut self.hosts[host as usize].machine else { return };
        machine.handle_input(now, input);
        self.tally.handled += 1;
        self.settle(host);
    }

    /// Carries out the outputs of a machine, and the answers of silent peers.
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
                Output::SendTo { to, boot, message, .. } => self.pack(host, to, boot, &message),
                Output::Send { conn, message } => self.say(host, conn, &message),
                Output::Close { conn } | Output::Abort { conn } => self.close(host, conn),
                Output::FrameCap { conn, bytes } => self.set_cap(host, conn, bytes),
                Output::Event(_) | Output::Hold { .. } => {}
                Output::Dial { .. }
                | Output::Resolve { .. }
                | Output::SendPayload { .. }
                | Output::ReceivePayload { .. }
                | Output::DropPayload { .. }
                | Output::DropChunk { .. }
                | Output::SaveAccounts { .. }
                | Output::Limit(_)
                | Output::Disk(_) => {
                    unreachable!("a super peer dials nobody, has no files, and knows its neighbors by address")
                }
            }
        }
        self.post_all(host);
    }

    /// Schedules the next wake-up of a host.
    fn wake(&mut self, host: u32) {
        let one = &mut self.hosts[host as usize];
        let Some(at) = one.machine.as_ref().and_then(|machine| machine.poll_timeout()) else { return };
        let at = at.max(self.now + TURN);
        if one.alarm.set(at) {
            self.schedule(host, at, Happening::Wake { host });
        }
    }
}

impl Host {
    fn tie(&mut self) -> u64 {
        self.sequence += 1;
        (self.number as u64) << SEQUENCE_BITS | self.sequence
    }
}
