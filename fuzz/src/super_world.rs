//! A super peer whose neighbors and sessions send messages drawn from the input.
//!
//! What must hold: no panic; its own invariants after every event; what it says is what can be
//! read, for somebody who is there; few answers for one event; after everybody has gone and time
//! has passed, nothing is left.

use std::net::SocketAddr;
use std::time::Duration;

use sprat::config::{FOLD, FRAME_BYTES_HELLO, FRAME_BYTES_OPEN, QUERY_HITS_MAX};
use sprat::proto::super_peer::{SuperPeer, SuperPeerConfig};
use sprat::proto::{ClientEvent, ClientId, CloseReason, Command, ConnId, DialCause, DialId, Entropy, Event, Input, Output, Role};
use sprat::sim::Random;
use sprat::time::Time;
use sprat::wire::link::{LinkHello, Packer};
use sprat::wire::{LinkMessage, Message, NodeId, QueryId, frame};

use crate::{Dice, check_link_message, check_message, forge};

const NEIGHBORS: u16 = 3;
const SEED: u64 = 3;
/// Sessions at once.
const CONNS: usize = 6;
/// Events of one run: more teach nothing new, and slow the search for others.
const EVENTS: usize = 300;

struct Conn {
    id: ConnId,
    cap: usize,
    seq: u64,
    /// The machine has asked for its end, or was told that its bytes are none.
    deaf: bool,
    /// It is to be closed by the driver.
    closing: bool,
}

pub struct SuperWorld {
    machine: SuperPeer,
    now: Time,
    boot: u64,
    conns: Vec<Conn>,
    next_conn: u32,
    ids: Vec<QueryId>,
    clients: u64,
    clients_done: u64,
}

fn neighbor(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000 + n as u16))
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let dice = &mut Dice::new(data);
    let mut world = SuperWorld::new();
    for n in 0..dice.below(usize::from(NEIGHBORS) + 1) {
        world.link_up(n);
    }
    for _ in 0..dice.below(3) {
        world.login(dice);
    }
    for _ in 0..EVENTS {
        if dice.is_spent() {
            break;
        }
        world.event(dice);
    }
    world.end(dice);
}

/// Runs one input of digests: links that are up, registrations that wait for their ACKs, and steps
/// of digests in any order.
pub fn run_digests(data: &[u8]) {
    let dice = &mut Dice::new(data);
    let mut world = SuperWorld::new();
    (0..usize::from(NEIGHBORS)).for_each(|n| world.link_up(n));
    world.login(dice);
    for _ in 0..EVENTS {
        if dice.is_spent() {
            break;
        }
        match dice.below(8) {
            0 => world.pass(Duration::from_millis(dice.below(1200) as u64)),
            1 if !world.conns.is_empty() => {
                let seq = world.conns[0].seq + 1;
                let message = forge::update(dice, seq);
                world.conns[0].seq = seq;
                world.say(0, message);
            }
            2 => world.link_up(dice.below(usize::from(NEIGHBORS))),
            3 => world.forged_datagram(dice),
            4 => world.event(dice),
            _ => {
                let messages: Vec<_> = (0..=dice.below(2)).map(|_| forge::digest(dice)).collect();
                let bytes = packed(world.boot, &messages);
                world.datagram(neighbor(dice.below(usize::from(NEIGHBORS))), &bytes, messages.len());
            }
        }
    }
    world.end(dice);
}

impl SuperWorld {
    fn new() -> SuperWorld {
        let config = SuperPeerConfig {
            neighbors: (0..usize::from(NEIGHBORS)).map(|n| neighbor(n).into()).collect(),
            ..SuperPeerConfig::new(NodeId([9; 16]), 77)
        };
        let mut world = SuperWorld {
            machine: SuperPeer::new(config, Box::new(Random::new(SEED))),
            now: Time::ZERO,
            // The first number that is drawn.
            boot: Random::new(SEED).next_u64(),
            conns: Vec::new(),
            next_conn: 0,
            ids: Vec::new(),
            clients: 0,
            clients_done: 0,
        };
        world.pass(Duration::ZERO);
        world
    }

    fn link_up(&mut self, n: usize) {
        let node = NodeId([n as u8; 16]);
        let (tree, whole, dg, de) = (None, false, Some(25), Some(0));
        let hello = LinkHello {
            node,
            boot: 100 + n as u64,
            echo: self.boot,
            t: 0,
            et: Some(self.now.as_micros()),
            tree,
            whole,
            dg,
            de,
            fold: Some(FOLD),
        };
        self.datagram(neighbor(n), &packed(self.boot, &[LinkMessage::Hello(hello)]), 1);
    }

    fn login(&mut self, dice: &mut Dice<'_>) {
        use sprat::wire::message::{Hello, Login};
        let at = self.accept();
        let hello = Hello { version: [1, 0], node: NodeId([5; 16]), boot: 1, features: forge::features(dice), agent: "f".into() };
        self.say(at, Message::Hello(hello));
        self.say(at, Message::Login(Login::open()));
    }

    fn accept(&mut self) -> usize {
        // A slot that is free is used again, under another generation.
        let free = (0..CONNS as u32).find(|index| self.conns.iter().all(|conn| conn.id.index != *index));
        let id = ConnId { index: free.expect("there is room"), generation: self.next_conn };
        self.next_conn += 1;
        self.conns.push(Conn { id, cap: FRAME_BYTES_HELLO, seq: 0, deaf: false, closing: false });
        let from = SocketAddr::from(([198, 51, 100, 1], 5000));
        self.input(Input::Accepted { conn: id, from, to: [192, 0, 2, 1].into(), since: self.now, key: None, unix: 0 }, 1);
        self.conns.iter().position(|conn| conn.id == id).unwrap_or(0)
    }

    fn event(&mut self, dice: &mut Dice<'_>) {
        match dice.below(16) {
            0 if self.conns.len() < CONNS => self.login(dice),
            1 if self.conns.len() < CONNS => drop(self.accept()),
            2 => self.pass(Duration::from_micros(dice.below(3_000_000) as u64)),
            3 => self.pass(Duration::from_secs(dice.below(100) as u64)),
            4 => self.raw_frame(dice),
            5 => {
                let from = neighbor(dice.below(usize::from(NEIGHBORS) + 1));
                self.datagram(from, dice.bytes(1300), 300);
            }
            6 if !self.conns.is_empty() => {
                let at = dice.below(self.conns.len());
                let reasons =
                    [CloseReason::Remote, CloseReason::Failed, CloseReason::SlowConsumer, CloseReason::SlowFrame];
                self.close(at, dice.pick(&reasons));
            }
            7 => self.stray(dice),
            8..=10 if !self.conns.is_empty() => {
                let at = dice.below(self.conns.len());
                let (req, seq) = (dice.below(5) as u32, self.conns[at].seq + u64::from(!dice.one_in(12)));
                let message = forge::message(dice, req, seq);
                self.conns[at].seq = seq;
                self.say(at, message);
            }
            _ => self.forged_datagram(dice),
        }
    }

    fn forged_datagram(&mut self, dice: &mut Dice<'_>) {
        let n = dice.below(usize::from(NEIGHBORS));
        let boot = if dice.one_in(12) { dice.below(2) as u64 } else { self.boot };
        let messages: Vec<_> =
            (0..=dice.below(4)).map(|_| forge::link_message(dice, self.boot, 100 + n as u64, &self.ids)).collect();
        let mut bytes = packed(boot, &messages);
        if dice.one_in(16) {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        self.datagram(neighbor(n), &bytes, messages.len());
    }

    fn raw_frame(&mut self, dice: &mut Dice<'_>) {
        if self.conns.is_empty() {
            return;
        }
        let at = dice.below(self.conns.len());
        let (id, cap, deaf) = (self.conns[at].id, self.conns[at].cap, self.conns[at].deaf);
        let frame = forge::raw_frame(dice, cap);
        if deaf {
            return;
        }
        match frame {
            Ok(Some(message)) => self.input(Input::Message { conn: id, message }, 1),
            Ok(None) => {}
            Err(error) => {
                self.conns[at].deaf = true;
                self.input(Input::Malformed { conn: id, error }, 1);
            }
        }
    }

    fn stray(&mut self, dice: &mut Dice<'_>) {
        let conn = ConnId { index: dice.below(CONNS + 2) as u32, generation: dice.below(4) as u32 };
        let known = self.conns.iter().any(|other| other.id == conn);
        match dice.below(6) {
            0 => {
                self.clients += 1;
                let client = ClientId(self.clients);
                let command = if dice.one_in(2) { Command::Status } else { Command::List { partial: false } };
                self.input(Input::Command { client, command }, 1);
            }
            1 => self.input(Input::ClientGone { client: ClientId(dice.below(9) as u64) }, 1),
            2 if !known => self.input(Input::Closed { conn, why: CloseReason::Failed }, 1),
            3 if !known => {
                let message = forge::message(dice, 1, 1);
                self.input(Input::Message { conn, message }, 1);
            }
            4 => self.input(Input::DialFailed { dial: DialId(1), why: String::new(), cause: DialCause::Unreachable }, 1),
            5 => self.input(Input::Crowded { excess: 1 }, 1),
            _ => self.input(Input::PayloadSent { conn, req: 1 }, 1),
        }
    }

    fn say(&mut self, at: usize, message: Message) {
        let conn = &self.conns[at];
        if !conn.deaf {
            let id = conn.id;
            self.input(Input::Message { conn: id, message }, 1);
        }
    }

    fn close(&mut self, at: usize, why: CloseReason) {
        let conn = self.conns.swap_remove(at).id;
        self.input(Input::Closed { conn, why }, 1);
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8], messages: usize) {
        self.input(Input::Datagram { from, to: None, key: None, bytes }, messages);
    }

    /// Time goes by, and what is due happens when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut idle = 0;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            idle = if at > self.now { 0 } else { idle + 1 };
            assert!(idle < 10_000, "it wakes, and wakes, and wakes");
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.settle(usize::MAX);
        }
        self.now = until;
    }

    /// One event that holds this many messages.
    fn input(&mut self, input: Input<'_>, messages: usize) {
        crate::trace(|| format!("{:?} {input:?}", self.now));
        self.machine.handle_input(self.now, input);
        // Each message reaches at most every session and neighbor, with at most all hits that are
        // kept.
        let each = CONNS + self.machine.index().records() + (QUERY_HITS_MAX + 8) * (usize::from(NEIGHBORS) + 1);
        self.settle(64 + (messages + 1) * each);
        // Work that is left over is done at once.
        self.pass(Duration::ZERO);
    }

    fn settle(&mut self, most: usize) {
        let mut outputs = 0;
        while let Some(output) = self.machine.poll_output() {
            outputs += 1;
            assert!(outputs <= most, "{outputs} answers to one event");
            self.perform(output);
        }
        self.machine.check_invariants();
        while let Some(at) = self.conns.iter().position(|conn| conn.closing) {
            self.close(at, CloseReason::Asked);
        }
    }

    fn perform(&mut self, output: Output) {
        crate::trace(|| format!("    {output:?}"));
        match output {
            Output::Send { conn, message } => {
                assert!(check_message(&message).len() <= frame::LENGTH_BYTES + FRAME_BYTES_OPEN);
                let to = self.conns.iter().find(|other| other.id == conn);
                assert!(to.is_some_and(|to| !to.closing), "{} for nobody", message.kind());
            }
            Output::SendTo { to, from: _, boot: _, message, key: _ } => {
                check_link_message(&message);
                assert!((0..usize::from(NEIGHBORS)).any(|n| neighbor(n) == to), "a datagram to a stranger");
                if let LinkMessage::Query(query) = *message
                    && self.ids.len() < 64
                    && !self.ids.contains(&query.id)
                {
                    self.ids.push(query.id);
                }
            }
            Output::FrameCap { conn, bytes } => {
                assert!(bytes <= FRAME_BYTES_OPEN);
                if let Some(conn) = self.conns.iter_mut().find(|other| other.id == conn) {
                    conn.cap = bytes;
                }
            }
            Output::Close { conn } | Output::Abort { conn } => {
                if let Some(conn) = self.conns.iter_mut().find(|other| other.id == conn) {
                    (conn.closing, conn.deaf) = (true, true);
                }
            }
            // This driver goes on: the machine must take what comes all the same.
            Output::Hold { .. } => {}
            Output::Event(event) => {
                if let Event::Client { event: ClientEvent::Done(_), .. } = *event {
                    self.clients_done += 1;
                }
            }
            Output::Dial { .. }
            | Output::Resolve { .. }
            | Output::SendPayload { .. }
            | Output::ReceivePayload { .. }
            | Output::DropPayload { .. }
            | Output::DropChunk { .. }
            | Output::SaveAccounts { .. }
            | Output::Limit(_)
            | Output::Disk(_) => {
                panic!("a super peer does no such thing: {output:?}")
            }
        }
    }

    fn end(&mut self, dice: &mut Dice<'_>) {
        if dice.one_in(2) {
            self.input(Input::Shutdown, 1);
        }
        while !self.conns.is_empty() {
            self.close(0, CloseReason::Remote);
        }
        self.pass(Duration::from_secs(200));
        let counts = self.machine.counts();
        for gauge in ["sessions", "holders", "records", "links_up", "queries_running"] {
            assert_eq!(counts[gauge], 0, "{gauge} are left over");
        }
        assert_eq!(self.clients, self.clients_done, "every command is answered");
    }
}

fn packed(boot: u64, messages: &[LinkMessage]) -> Vec<u8> {
    let mut packer = Packer::new(boot);
    // What does not fit any more is left out.
    let full = messages.iter().find_map(|message| packer.push(message));
    full.or_else(|| packer.finish()).unwrap_or_default()
}
