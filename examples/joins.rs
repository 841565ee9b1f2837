//! The cost of a swarm for its super peer.
//!
//! ```text
//! cargo run --release --features measure --example joins [MEMBERS [ZONES]]
//! ```
//!
//! Opens MEMBERS sessions (10,000 by default) in ZONES zones (1 by default). Each session JOINs the
//! same root; then all leave. Prints the time of the JOINs, with their answers as frames and
//! everything that was pushed later. Also prints the bytes of these messages per member, and how
//! evenly members were named.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sprat::proto::super_peer::{SuperPeer, SuperPeerConfig};
use sprat::proto::{CloseReason, ConnId, Input, Output, Role};
use sprat::sim::{Random, builders};
use sprat::time::Time;
use sprat::wire::swarm::{FEATURE_SWARM, Join};
use sprat::wire::{Message, NodeId, Root, frame};

struct Driver {
    machine: SuperPeer,
    now: Time,
    bytes: usize,
    frame: Vec<u8>,
    /// How often each address was named.
    named: BTreeMap<String, usize>,
}

impl Driver {
    fn input(&mut self, input: Input<'_>) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let Output::Send { message, .. } = output else { continue };
            self.frame.clear();
            frame::encode(&message, &mut self.frame);
            self.bytes += self.frame.len();
            if let Message::Peers(peers) = message {
                for peer in peers.peers {
                    *self.named.entry(peer.addr.to_string()).or_default() += 1;
                }
            }
        }
    }

    /// Runs everything that is due until this time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let (members, zones): (u32, u32) = (args.next().unwrap_or(10_000), args.next().unwrap_or(1));
    let config = SuperPeerConfig::new(NodeId([1; 16]), 1);
    let machine = SuperPeer::new(config, Box::new(Random::new(1)));
    let now = Time::from_micros(1);
    let mut driver = Driver { machine, now, bytes: 0, frame: Vec::new(), named: BTreeMap::new() };
    let conn = |index: u32| ConnId { index, generation: 0 };
    for index in 0..members {
        let from = SocketAddr::from(([10, (index >> 16) as u8, (index >> 8) as u8, index as u8], 40_000));
        let (to, since) = ([192, 0, 2, 1].into(), driver.now);
        driver.input(Input::Accepted { conn: conn(index), from, to, since, key: None, unix: 0 });
        let Message::Hello(mut hello) = builders::hello() else { unreachable!("a HELLO") };
        hello.features.push(FEATURE_SWARM.to_owned());
        for message in [Message::Hello(hello), builders::login(), builders::register(1, Vec::new())] {
            driver.input(Input::Message { conn: conn(index), message });
        }
    }
    driver.bytes = 0;
    let began = Instant::now();
    for index in 0..members {
        let zone = (zones > 1).then(|| format!("zone-{}", index % zones));
        let (root, size) = (Root([7; 32]), 1 << 30);
        let join = Join { req: 1, root, size, path: None, full: false, zone, short: false };
        driver.input(Input::Message { conn: conn(index), message: Message::Join(join) });
        if index % 100 == 0 {
            driver.run(Duration::from_millis(10));
        }
    }
    driver.run(Duration::from_secs(1));
    let joined = began.elapsed();
    let counts = driver.machine.counts();
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!(of("swarm_members"), u64::from(members));
    let began = Instant::now();
    for index in 0..members {
        driver.input(Input::Closed { conn: conn(index), why: CloseReason::Remote });
    }
    let left = began.elapsed();
    let named = &driver.named;
    let least = if named.len() < members as usize { 0 } else { named.values().min().copied().unwrap_or(0) };
    let most = named.values().max().copied().unwrap_or(0);
    println!("{members} JOINs of one root in {} ms", joined.as_millis());
    println!("{} members named, each {least} to {most} times", of("members_named"));
    println!("{} bytes sent for each member", driver.bytes / members as usize);
    println!("{:.1} bytes of memory for each member", of("memory_swarms") as f64 / f64::from(members));
    println!("all left in {} ms", left.as_millis());
}
