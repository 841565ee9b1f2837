#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for the one thing that it is about")]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{CHUNK_PORT, SUPER_PORT};
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{CloseReason, DialCause, Input, OwnAddrs, Role};
use crate::sim::{Random, builders};
use crate::wire::NodeId;
use crate::wire::message::{FEATURE_REACH, Hello, Hit, Query, Welcome};

/// A super peer that dials back, and its outputs since they were last read.
struct Rig {
    machine: SuperPeer,
    now: Time,
    out: Vec<Output>,
    conns: u32,
}

impl Rig {
    fn new() -> Rig {
        let config = SuperPeerConfig { dial_back: true, ..SuperPeerConfig::new(NodeId([2; 16]), 2) };
        let machine = SuperPeer::new(config, Box::new(Random::new(1)));
        Rig { machine, now: Time::from_micros(1), out: Vec::new(), conns: 0 }
    }

    fn input(&mut self, input: Input<'_>) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        self.out.extend(std::iter::from_fn(|| self.machine.poll_output()));
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn conn(&mut self) -> ConnId {
        self.conns += 1;
        ConnId { index: self.conns, generation: 0 }
    }

    /// A session from this host that serves a file. `features` are those of its HELLO.
    fn session(&mut self, host: [u8; 4], features: &[&str]) -> ConnId {
        let conn = self.conn();
        self.input(Input::Accepted {
            conn,
            from: SocketAddr::from((host, 40_000)),
            to: [192, 0, 2, 1].into(),
            since: self.now,
            key: None,
            unix: 0,
        });
        let features = features.iter().map(|feature| (*feature).to_owned()).collect();
        let hello = Hello { features, ..Hello::new(NodeId([9; 16]), 1, "test".into()) };
        for message in [Message::Hello(hello), builders::login(), builders::register(1, vec![builders::file("a")])] {
            self.input(Input::Message { conn, message });
        }
        conn
    }

    /// The dials since the last call.
    fn dials(&mut self) -> Vec<(DialId, HostPort)> {
        let dial =
            |output: &Output| if let Output::Dial { dial, to, .. } = output { Some((*dial, to.clone())) } else { None };
        let dials = self.out.iter().filter_map(dial).collect();
        self.out.retain(|output| dial(output).is_none());
        dials
    }

    /// Answers a dial with WELCOME. Returns its connection.
    fn answer(&mut self, dial: DialId, node: NodeId, boot: u64) -> ConnId {
        let conn = self.conn();
        self.input(Input::Dialed { dial, conn, own: OwnAddrs::default(), key: None, unix: 0 });
        let welcome = Welcome::new(node, boot, Duration::from_secs(30), "192.0.2.1:9".parse().unwrap());
        self.input(Input::Message { conn, message: Message::Welcome(welcome) });
        self.input(Input::Closed { conn, why: CloseReason::Asked });
        conn
    }

    fn reports(&self) -> Vec<(ConnId, Report)> {
        let report = |output: &Output| match output {
            Output::Send { conn, message: Message::Reach(report) } => Some((*conn, report.clone())),
            _ => None,
        };
        self.out.iter().filter_map(report).collect()
    }

    /// Whether a hit says that its source was not reached.
    fn is_unreached(&mut self) -> bool {
        let conn = self.conn();
        self.input(Input::Accepted {
            conn,
            from: SocketAddr::from(([192, 0, 2, 99], 1)),
            to: [192, 0, 2, 1].into(),
            since: self.now,
            key: None,
            unix: 0,
        });
        let query = Query { req: 1, find: builders::search("a"), ttl: None, budget: None, policy: None };
        for message in [builders::hello(), builders::login(), Message::Query(query)] {
            self.input(Input::Message { conn, message });
        }
        let hit = |output: &Output| match output {
            Output::Send { conn: to, message: Message::Hit(Hit { hits, .. }) } if *to == conn => {
                Some(hits[0].unreached)
            }
            _ => None,
        };
        self.out.iter().find_map(hit).expect("the file is found at once")
    }
}

const HOST: [u8; 4] = [192, 0, 2, 5];

#[test]
fn a_peer_that_answers_is_reached_and_hears_of_it() {
    let mut rig = Rig::new();
    let session = rig.session(HOST, &[FEATURE_REACH]);
    assert!(rig.is_unreached(), "it is found before it was reached");
    rig.run_for(Duration::from_millis(1));
    let dials = rig.dials();
    assert_eq!(dials.iter().map(|(_, to)| to.to_string()).collect::<Vec<_>>(), ["192.0.2.5:4778"]);
    let conn = rig.answer(dials[0].0, NodeId([9; 16]), 1);
    let greeted =
        |output: &Output| matches!(output, Output::Send { conn: to, message: Message::Hello(_) } if *to == conn);
    assert!(rig.out.iter().any(greeted) && rig.out.contains(&Output::Close { conn }));
    let addr = HostPort::new("192.0.2.5", CHUNK_PORT).unwrap();
    assert_eq!(rig.reports(), [(session, Report { ok: true, addr, why: None })]);
    assert!(!rig.is_unreached());
    rig.run_for(Duration::from_secs(60));
    assert!(rig.dials().is_empty());
}

#[test]
fn another_peer_or_another_run_at_the_address_is_no_proof() {
    for (node, boot) in [(NodeId([8; 16]), 1), (NodeId([9; 16]), 2)] {
        let mut rig = Rig::new();
        rig.session(HOST, &[FEATURE_REACH]);
        rig.run_for(Duration::from_millis(1));
        let dial = rig.dials()[0].0;
        rig.answer(dial, node, boot);
        assert!(rig.reports().iter().all(|(_, report)| !report.ok && report.why.is_some()));
        assert!(rig.is_unreached());
    }
}

#[test]
fn a_peer_that_does_not_answer_is_dialed_again_later_and_seldom() {
    let mut rig = Rig::new();
    rig.session(HOST, &[FEATURE_REACH]);
    rig.run_for(DIAL_BACK_TIMEOUT + Duration::from_millis(1));
    assert_eq!(rig.reports().len(), 1, "the peer hears of it at once");
    let dial = rig.dials()[0].0;
    rig.run_for(Duration::from_secs(3));
    rig.input(Input::DialFailed { dial, why: "no answer".into(), cause: DialCause::Unreachable });
    rig.run_for(DIAL_BACK_EVERY - Duration::from_secs(4));
    assert!(rig.dials().is_empty(), "not twice in 30 s");
    rig.run_for(Duration::from_secs(2));
    let again = rig.dials();
    assert_eq!(again.len(), 1);
    rig.answer(again[0].0, NodeId([9; 16]), 1);
    assert!(!rig.is_unreached());
}

#[test]
fn one_host_is_dialed_seldom_however_many_name_it() {
    let mut rig = Rig::new();
    (0..40).for_each(|_| _ = rig.session(HOST, &[]));
    let mut dials = 0;
    for _ in 0..60 {
        rig.run_for(Duration::from_secs(1));
        for (dial, _) in rig.dials() {
            dials += 1;
            rig.answer(dial, NodeId([9; 16]), 1);
        }
    }
    assert!((4..=8).contains(&dials), "{dials} in a minute");
    assert!(rig.reports().is_empty(), "only a peer that asks for REACH gets it");
}

#[test]
fn a_session_that_ends_is_forgotten_and_an_idle_super_peer_sleeps() {
    let mut rig = Rig::new();
    let session = rig.session(HOST, &[]);
    rig.run_for(DIAL_BACK_TIMEOUT + Duration::from_millis(1));
    let dial = rig.dials()[0].0;
    rig.input(Input::Closed { conn: session, why: CloseReason::Remote });
    let late = rig.conn();
    rig.input(Input::Dialed { dial, conn: late, own: OwnAddrs::default(), key: None, unix: 0 });
    assert!(rig.out.contains(&Output::Close { conn: late }));
    rig.input(Input::Closed { conn: late, why: CloseReason::Asked });
    rig.run_for(Duration::from_secs(100));
    assert!(rig.dials().is_empty());
    assert_eq!(rig.machine.poll_timeout(), None);
}

fn dialable(from: &str, to: &str) -> bool {
    may_dial(from.parse().unwrap(), &HostPort::new(to, SUPER_PORT).unwrap())
}

#[test]
fn no_address_is_dialed_that_is_nearer_than_its_peer() {
    for (from, to) in [
        ("203.0.113.1", "203.0.113.9"),
        ("203.0.113.1", "peer.example"),
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "192.168.1.1"),
        ("2001:db8::1", "2001:db8::2"),
    ] {
        assert!(dialable(from, to), "{from} {to}");
    }
    for (from, to) in [
        ("203.0.113.1", "10.0.0.1"),
        ("203.0.113.1", "127.0.0.1"),
        ("10.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "::1"),
        ("2001:db8::1", "fd00::1"),
        ("10.0.0.1", "169.254.1.1"),
        ("fe80::1", "fe80::2"),
        ("203.0.113.1", "224.0.0.1"),
        ("203.0.113.1", "255.255.255.255"),
        ("203.0.113.1", "::"),
    ] {
        assert!(!dialable(from, to), "{from} {to}");
    }
}
