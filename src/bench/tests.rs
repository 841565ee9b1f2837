//! The load against a real super peer's machine, in virtual time, over a wire of the test's own.
#![expect(clippy::wildcard_enum_match_arm, reason = "what the test does not carry fails it, or does not matter")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{CLIENT, Load, Mode, Phase, Plan, SETUPS_MAX};
use crate::proto::event::Outcome;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{ClientEvent, CloseReason, ConnId, DialId, Entropy, Event, Input, Output, Role};
use crate::time::Time;
use crate::wire::link::Packer;
use crate::wire::{Message, NodeId};

/// One way over the wire.
const LATENCY: Duration = Duration::from_micros(50);
/// How far time goes on when the load waits awake.
const STEP: Duration = Duration::from_micros(20);

struct Seed(u64);

impl Entropy for Seed {
    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        super::names::mix(self.0)
    }
}

#[derive(Debug)]
enum Parcel {
    Accepted(ConnId),
    Dialed(DialId, ConnId),
    Refused(DialId),
    ToSuper(ConnId, Message),
    ToLoad(ConnId, Message),
    CloseSuper(ConnId),
    CloseLoad(ConnId, CloseReason),
    DatagramToSuper(Vec<u8>),
    DatagramToLoad(Vec<u8>),
}

struct World {
    now: Time,
    load: Load,
    server: SuperPeer,
    wire: BTreeMap<(Time, u64), Parcel>,
    parcels: u64,
    conns: u32,
    /// Nobody listens.
    dead: bool,
    /// Queries sent in this span after the measuring began are read at its end only.
    stall: Option<(Duration, Duration)>,
    phases: Vec<(Time, String)>,
    setups_seen_max: usize,
    half_open: usize,
    pings: u64,
    outcome: Option<Outcome>,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 4777))
}

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        target: address(1).into(),
        link: None,
        sessions: 3,
        depth: 1,
        rate: None,
        length: Duration::from_millis(100),
        files: 20,
        fill: false,
        agent: "bench".into(),
    }
}

impl World {
    fn new(plan: Plan) -> World {
        let mut config = SuperPeerConfig::new(NodeId([1; 16]), 1);
        config.neighbors.extend(plan.link.map(|_| address(2)));
        World {
            now: Time::from_micros(1),
            load: Load::new(plan, &mut Seed(0)),
            server: SuperPeer::new(config, Box::new(Seed(1 << 32))),
            wire: BTreeMap::new(),
            parcels: 0,
            conns: 0,
            dead: false,
            stall: None,
            phases: Vec::new(),
            setups_seen_max: 0,
            half_open: 0,
            pings: 0,
            outcome: None,
        }
    }

    fn began(&self, phase: Phase) -> Option<Time> {
        self.phases.iter().find(|(_, word)| word == phase.word()).map(|(at, _)| *at)
    }

    fn post(&mut self, parcel: Parcel) {
        let mut at = self.now + LATENCY;
        if let (Some((from, to)), Some(begun), Parcel::ToSuper(_, Message::Query(_))) =
            (self.stall, self.began(Phase::Measuring), &parcel)
            && at >= begun + from
        {
            at = at.max(begun + to);
        }
        self.parcels += 1;
        self.wire.insert((at, self.parcels), parcel);
    }

    fn drain(&mut self) {
        while let Some(output) = self.load.poll_output() {
            match output {
                Output::Dial { dial, .. } if self.dead => self.post(Parcel::Refused(dial)),
                Output::Dial { dial, .. } => {
                    self.half_open += 1;
                    self.setups_seen_max = self.setups_seen_max.max(self.half_open);
                    let conn = ConnId { index: self.conns, generation: 0 };
                    self.conns += 1;
                    self.post(Parcel::Accepted(conn));
                    self.post(Parcel::Dialed(dial, conn));
                }
                Output::Send { conn, message } => {
                    self.pings += u64::from(matches!(message, Message::Ping(_)));
                    self.post(Parcel::ToSuper(conn, message));
                }
                Output::SendTo { boot, message, .. } => {
                    let mut packer = Packer::new(boot);
                    packer.push(&message);
                    self.post(Parcel::DatagramToSuper(packer.finish().unwrap()));
                }
                Output::Close { conn } => {
                    self.post(Parcel::CloseSuper(conn));
                    self.post(Parcel::CloseLoad(conn, CloseReason::Asked));
                }
                Output::Event(Event::Client { client, event }) => {
                    assert_eq!(client, CLIENT);
                    match event {
                        ClientEvent::Note { message } => self.phases.push((self.now, message)),
                        ClientEvent::Done(outcome) => self.outcome = Some(outcome),
                        other => panic!("{other:?}"),
                    }
                }
                Output::FrameCap { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { conn, message } => {
                    self.half_open -= usize::from(matches!(message, Message::Ready(_)));
                    self.post(Parcel::ToLoad(conn, message));
                }
                Output::SendTo { boot, message, .. } => {
                    let mut packer = Packer::new(boot);
                    packer.push(&message);
                    self.post(Parcel::DatagramToLoad(packer.finish().unwrap()));
                }
                Output::Close { conn } => self.post(Parcel::CloseLoad(conn, CloseReason::Remote)),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let now = self.now;
        let to_super = |server: &mut SuperPeer, input: Input<'_>| server.handle_input(now, input);
        let to_load = |load: &mut Load, input: Input<'_>| load.handle_input(now, input);
        match parcel {
            Parcel::Accepted(conn) => to_super(&mut self.server, Input::Accepted { conn, from: address(2) }),
            Parcel::Dialed(dial, conn) => to_load(&mut self.load, Input::Dialed { dial, conn }),
            Parcel::Refused(dial) => to_load(&mut self.load, Input::DialFailed { dial, why: "refused".into() }),
            Parcel::ToSuper(conn, message) => to_super(&mut self.server, Input::Message { conn, message }),
            Parcel::ToLoad(conn, message) => to_load(&mut self.load, Input::Message { conn, message }),
            Parcel::CloseSuper(conn) => {
                to_super(&mut self.server, Input::Closed { conn, why: CloseReason::Remote });
            }
            Parcel::CloseLoad(conn, why) => to_load(&mut self.load, Input::Closed { conn, why }),
            Parcel::DatagramToSuper(bytes) => {
                to_super(&mut self.server, Input::Datagram { from: address(2), bytes: &bytes });
            }
            Parcel::DatagramToLoad(bytes) => {
                to_load(&mut self.load, Input::Datagram { from: address(1), bytes: &bytes });
            }
        }
    }

    /// Runs until the load is done.
    fn run(mut self) -> World {
        for _ in 0..2_000_000 {
            self.drain();
            if self.outcome.is_some() {
                return self;
            }
            let parcel = self.wire.first_key_value().map(|((at, _), _)| *at);
            let timer = [self.load.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
            if parcel.is_some_and(|at| timer.is_none_or(|timer| at <= timer.max(self.now + STEP))) {
                let ((at, _), parcel) = self.wire.pop_first().unwrap();
                self.now = self.now.max(at);
                self.deliver(parcel);
            } else {
                self.now = timer.expect("somebody wants to go on").max(self.now + STEP);
            }
            if self.load.poll_timeout().is_some_and(|at| at <= self.now) {
                self.load.handle_timeout(self.now);
            }
            if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
                self.server.handle_timeout(self.now);
            }
        }
        panic!("the load does not end: {:?}", self.phases);
    }
}

#[test]
fn a_closed_loop_asks_again_when_it_is_answered() {
    let world = World::new(Plan { depth: 2, ..plan(Mode::Query) }).run();
    let tally = world.load.tally();
    // 100 ms of round trips of 100 us (and what the steps of time add), three sessions with two queries each.
    assert!((5_000..=6_000).contains(&tally.count), "{}", tally.count);
    assert_eq!((tally.hits, tally.samples()), (tally.count, tally.count), "every name that is asked for is there");
    assert!((100..200).contains(&tally.quantile_us(0.5)) && tally.errors().is_empty(), "{tally:?}");
    assert_eq!(world.server.index().records(), 20);
    assert_eq!(tally.elapsed(), Duration::from_millis(100));
    let rates = tally.rates();
    assert!((3..=5).contains(&rates.len()), "every 20 ms: {rates:?}");
    assert!(rates.iter().all(|(_, rate)| (45_000.0..=65_000.0).contains(rate)), "{rates:?}");
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_that_it_held_up() {
    let (from, to) = (Duration::from_millis(200), Duration::from_millis(700));
    let rate = Plan { rate: Some(1000), length: Duration::from_secs(1), sessions: 40, ..plan(Mode::Query) };
    let mut world = World::new(rate);
    world.stall = Some((from, to));
    let world = world.run();
    let tally = world.load.tally();
    assert_eq!((tally.count, tally.late), (1000, 0), "as many as were meant to be sent, all of them in time");
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
    // Half of them were held up, the first for all of the stall.
    assert!((499_000..502_000).contains(&tally.max_us()), "{}", tally.max_us());
    assert!(tally.quantile_us(0.45) < 1_000 && tally.quantile_us(0.55) > 10_000);
    assert!((240_000..260_000).contains(&tally.quantile_us(0.75)), "{}", tally.quantile_us(0.75));
}

#[test]
fn an_open_loop_keeps_what_finds_no_place_and_sends_it_later() {
    let narrow =
        Plan { rate: Some(1000), length: Duration::from_millis(500), sessions: 1, depth: 4, ..plan(Mode::Query) };
    let mut world = World::new(narrow);
    world.stall = Some((Duration::from_millis(100), Duration::from_millis(200)));
    let world = world.run();
    let tally = world.load.tally();
    assert_eq!((tally.count, tally.errors().len()), (500, 0));
    assert!((99_000..102_000).contains(&tally.max_us()));
}

#[test]
fn all_sessions_are_set_up_and_few_of_them_at_once() {
    let world = World::new(Plan { sessions: 1000, files: 1, ..plan(Mode::Connect) }).run();
    let tally = world.load.tally();
    assert_eq!((tally.count, tally.sessions_up, tally.samples()), (1000, 1000, 1000));
    assert_eq!(world.server.index().records(), 1000);
    assert!(world.setups_seen_max <= SETUPS_MAX && world.setups_seen_max > SETUPS_MAX / 2);
}

#[test]
fn every_file_is_registered_once() {
    let world = World::new(Plan { files: 10_001, ..plan(Mode::Register) }).run();
    assert_eq!(world.load.tally().count, 10_001);
    assert_eq!(world.server.index().records(), 10_001);
    assert!(world.load.tally().errors().is_empty());
}

#[test]
fn idle_sessions_say_that_they_are_there() {
    let world = World::new(Plan { files: 0, length: Duration::from_secs(100), ..plan(Mode::Idle) }).run();
    let tally = world.load.tally();
    assert_eq!((tally.count, world.pings), (3, 18), "one in 15 s, half of what is asked for");
    assert!(tally.errors().is_empty());
}

#[test]
fn visitors_come_and_leave() {
    let world = World::new(Plan { files: 2, ..plan(Mode::Churn) }).run();
    let tally = world.load.tally();
    assert!(tally.count > 500, "{}", tally.count);
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
    assert!(world.server.index().records() <= 6, "who left took his files along");
}

#[test]
fn a_neighbour_answers_the_flood() {
    let flood = Plan { sessions: 0, depth: 8, link: Some(address(1)), ..plan(Mode::Flood) };
    let world = World::new(flood).run();
    let tally = world.load.tally();
    assert!(tally.count > 1000, "{tally:?}");
    assert_eq!((tally.hits, tally.messages), (tally.count, 3 * tally.count), "QUERY, HIT and DONE");
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
}

#[test]
fn nobody_there_is_a_failure() {
    for mode in [Mode::Idle, Mode::Connect, Mode::Query] {
        let mut world = World::new(plan(mode));
        world.dead = true;
        let outcome = world.run().outcome.unwrap();
        assert_eq!((outcome.ok, outcome.exit), (false, 5), "{mode:?}");
    }
}
