//! The load with a real super peer, in the simulated network.

use std::cell::{Ref, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{CLIENT, Load, Mode, Phase, Plan, SETUPS_MAX, Tally};
use crate::config::SUPER_PORT;
use crate::proto::event::Outcome;
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{ClientEvent, Event, Input, Output, Role};
use crate::sim::{Machine, Random, World};
use crate::time::Time;
use crate::wire::{Message, NodeId};

/// The time of a message in one direction.
const LATENCY: Duration = Duration::from_micros(50);
/// The nodes of the super peer and of the load.
const SERVER: usize = 0;
const LOAD: usize = 1;

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node + 1).unwrap()], SUPER_PORT))
}

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        target: address(SERVER).into(),
        link: None,
        sessions: 3,
        depth: 1,
        rate: None,
        length: Duration::from_millis(100),
        files: 20,
        fill: false,
        agent: "bench".into(),
        logins: Vec::new(),
    }
}

/// The load, with a count of what goes in and out.
struct Watched {
    load: Load,
    half_open: usize,
    half_open_max: usize,
    pings: u64,
}

struct Shared(Rc<RefCell<Watched>>);

impl Role for Shared {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        let mut watched = self.0.borrow_mut();
        watched.half_open -= usize::from(matches!(&input, Input::Message { message: Message::Ready(_), .. }));
        watched.load.handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.0.borrow_mut().load.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        let mut watched = self.0.borrow_mut();
        let output = watched.load.poll_output();
        watched.half_open += usize::from(matches!(&output, Some(Output::Dial { .. })));
        watched.half_open_max = watched.half_open_max.max(watched.half_open);
        watched.pings += u64::from(matches!(&output, Some(Output::Send { message: Message::Ping(_), .. })));
        output
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.0.borrow().load.poll_timeout()
    }
}

struct Run {
    world: World,
    watched: Rc<RefCell<Watched>>,
}

impl Run {
    /// Ends when the load is done.
    fn new(plan: Plan) -> Run {
        Run::with(plan, true, None)
    }

    /// With `stall`, the super peer stands still during this span after the start of the
    /// measurement.
    fn with(plan: Plan, listens: bool, stall: Option<(Duration, Duration)>) -> Run {
        let mut world = World::new(0);
        world.set_latency(LATENCY, LATENCY);
        world.set_split(0, 0);
        let neighbors: Vec<SocketAddr> = plan.link.map(|_| address(LOAD)).into_iter().collect();
        world.add(SUPER_PORT, move |_| {
            let mut config = SuperPeerConfig::new(NodeId([1; 16]), 1);
            config.neighbors = neighbors.iter().map(|addr| (*addr).into()).collect();
            Machine::Super(Box::new(SuperPeer::new(config, Box::new(Random::new(1)))))
        });
        let load = Load::new(plan, &mut Random::new(2));
        let watched = Rc::new(RefCell::new(Watched { load, half_open: 0, half_open_max: 0, pings: 0 }));
        let shared = Rc::clone(&watched);
        world.add(SUPER_PORT, move |_| Machine::Other(Box::new(Shared(Rc::clone(&shared)))));
        if listens {
            world.start(SERVER);
        }
        world.start(LOAD);
        let mut run = Run { world, watched };
        if let Some((from, to)) = stall {
            assert!(run.world.run_until(Duration::from_secs(10), |world| began(world, Phase::Measuring)));
            run.world.run_for(from);
            run.world.pause(SERVER, to - from);
        }
        assert!(
            run.world.run_until(Duration::from_secs(200), |world| outcome(world).is_some()),
            "the load does not end"
        );
        run
    }

    fn outcome(&self) -> Outcome {
        outcome(&self.world).expect("it ended")
    }

    fn watched(&self) -> Ref<'_, Watched> {
        self.watched.borrow()
    }

    fn tally(&self) -> Ref<'_, Tally> {
        Ref::map(self.watched.borrow(), |watched| watched.load.tally())
    }

    fn records(&self) -> usize {
        self.world.super_peer(SERVER).expect("it runs").index().records()
    }
}

fn events(world: &World) -> impl Iterator<Item = &ClientEvent> {
    world.events().iter().filter_map(|(_, _, event)| {
        if let Event::Client { client: CLIENT, event } = event { Some(event) } else { None }
    })
}

fn began(world: &World, phase: Phase) -> bool {
    events(world).any(|event| matches!(event, ClientEvent::Note { message } if message == phase.word()))
}

fn outcome(world: &World) -> Option<Outcome> {
    events(world).find_map(|event| if let ClientEvent::Done(outcome) = event { Some(outcome.clone()) } else { None })
}

#[test]
fn a_closed_loop_asks_again_when_it_is_answered() {
    let run = Run::new(Plan { depth: 2, ..plan(Mode::Query) });
    let tally = run.tally();
    // The time is 100 ms, and a round trip takes 100 us (and a little more, because of the steps of
    // time). There are three sessions with two queries each.
    assert!((5_000..=6_000).contains(&tally.count), "{}", tally.count);
    assert_eq!((tally.hits, tally.samples()), (tally.count, tally.count), "every name that is asked for is there");
    assert!((100..200).contains(&tally.quantile_us(0.5)) && tally.errors().is_empty(), "{tally:?}");
    assert_eq!(run.records(), 20);
    assert_eq!(tally.elapsed(), Duration::from_millis(100));
    let rates = tally.rates();
    assert!((3..=5).contains(&rates.len()), "every 20 ms: {rates:?}");
    assert!(rates.iter().all(|(_, rate)| (45_000.0..=65_000.0).contains(rate)), "{rates:?}");
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_that_it_held_up() {
    let (from, to) = (Duration::from_millis(200), Duration::from_millis(700));
    let rate = Plan { rate: Some(1000), length: Duration::from_secs(1), sessions: 40, ..plan(Mode::Query) };
    let run = Run::with(rate, true, Some((from, to)));
    let tally = run.tally();
    assert_eq!((tally.count, tally.late), (1000, 0), "as many as were meant to be sent, all of them in time");
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
    // Half of the queries were delayed, the first one for the complete stall.
    assert!((499_000..502_000).contains(&tally.max_us()), "{}", tally.max_us());
    assert!(tally.quantile_us(0.45) < 1_000 && tally.quantile_us(0.55) > 10_000);
    assert!((240_000..260_000).contains(&tally.quantile_us(0.75)), "{}", tally.quantile_us(0.75));
}

#[test]
fn an_open_loop_keeps_what_finds_no_place_and_sends_it_later() {
    let narrow =
        Plan { rate: Some(1000), length: Duration::from_millis(500), sessions: 1, depth: 4, ..plan(Mode::Query) };
    let run = Run::with(narrow, true, Some((Duration::from_millis(100), Duration::from_millis(200))));
    let tally = run.tally();
    assert_eq!((tally.count, tally.errors().len()), (500, 0));
    assert!((99_000..102_000).contains(&tally.max_us()));
}

#[test]
fn all_sessions_are_set_up_and_few_of_them_at_once() {
    let run = Run::new(Plan { sessions: 1000, files: 1, ..plan(Mode::Connect) });
    let tally = run.tally();
    assert_eq!((tally.count, tally.sessions_up, tally.samples()), (1000, 1000, 1000));
    assert_eq!(run.records(), 1000);
    let half_open = run.watched().half_open_max;
    assert!(half_open <= SETUPS_MAX && half_open > SETUPS_MAX / 2, "{half_open}");
}

#[test]
fn every_file_is_registered_once() {
    let run = Run::new(Plan { files: 10_001, ..plan(Mode::Register) });
    assert_eq!(run.tally().count, 10_001);
    assert_eq!(run.records(), 10_001);
    assert!(run.tally().errors().is_empty());
}

#[test]
fn idle_sessions_ping() {
    let run = Run::new(Plan { files: 0, length: Duration::from_secs(100), ..plan(Mode::Idle) });
    let tally = run.tally();
    assert_eq!((tally.count, run.watched().pings), (3, 18), "one in 15 s, half of what is asked for");
    assert!(tally.errors().is_empty());
}

#[test]
fn visitors_come_and_leave() {
    let run = Run::new(Plan { files: 2, ..plan(Mode::Churn) });
    let tally = run.tally();
    assert!(tally.count > 500, "{}", tally.count);
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
    assert!(run.records() <= 6, "a session that ends takes its files along");
}

#[test]
fn a_neighbor_answers_the_flood() {
    let flood = Plan { sessions: 0, depth: 8, link: Some(address(SERVER)), ..plan(Mode::Flood) };
    let run = Run::new(flood);
    let tally = run.tally();
    assert!(tally.count > 1000, "{tally:?}");
    assert_eq!((tally.hits, tally.messages), (tally.count, 3 * tally.count), "QUERY, HIT and DONE");
    assert!(tally.errors().is_empty(), "{:?}", tally.errors());
}

#[test]
fn a_super_peer_that_does_not_listen_is_a_failure() {
    for mode in [Mode::Idle, Mode::Connect, Mode::Query] {
        let outcome = Run::with(plan(mode), false, None).outcome();
        assert_eq!((outcome.ok, outcome.exit), (false, 5), "{mode:?}");
    }
}
