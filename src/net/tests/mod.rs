//! The net on real sockets, one turn at a time and with a time that the test chooses.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names only what it waits for")]

mod deadlines;
mod descriptors;
mod frames;
mod half_open;
mod http;
mod limits;
mod payloads;
mod peers;
mod tls;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Arrival, Net, NetOptions};
use crate::proto::{CloseReason, ConnId, Input};
use crate::time::Time;
use crate::wire::message::Ping;
use crate::wire::{Message, frame};

/// Only ends a failing test: nothing is expected to take this long.
const GUARD: Duration = Duration::from_secs(20);

/// The turn is never late.
fn in_time() -> Duration {
    Duration::ZERO
}

/// The turn is late, and each look at the clock takes a second.
fn late() -> impl Fn() -> Duration {
    let looks = Cell::new(0);
    move || {
        looks.set(looks.get() + 1);
        Duration::from_secs(looks.get())
    }
}

/// A net without a machine: the test is the machine.
struct Rig {
    net: Net,
    now: Time,
    started: Instant,
}

impl Rig {
    fn new() -> Rig {
        Rig::listening("127.0.0.1:0")
    }

    fn listening(addr: &str) -> Rig {
        let options = NetOptions { listen: Some(addr.parse().unwrap()), datagrams: true, ..NetOptions::default() };
        Rig { net: Net::open(&options).unwrap(), now: Time::ZERO, started: Instant::now() }
    }

    fn addr(&self) -> SocketAddr {
        self.net.listen_addr().unwrap()
    }

    /// Runs one complete turn. The test acts on each arrival.
    fn turn(&mut self, act: impl FnMut(&mut Net, Arrival)) {
        self.turn_with(Duration::from_millis(200), act);
    }

    /// Runs one turn. Without work, the turn waits for an event for at most this long.
    fn turn_with(&mut self, patience: Duration, mut act: impl FnMut(&mut Net, Arrival)) {
        assert!(self.started.elapsed() < GUARD, "what was waited for did not happen");
        let patience = if self.net.is_busy() { Duration::ZERO } else { patience };
        self.net.poll(Some(patience)).unwrap();
        self.net.begin_turn(self.now, 0);
        while let Some(arrival) = self.net.next() {
            act(&mut self.net, arrival);
        }
        self.net.expire(in_time);
        self.net.flush(in_time);
        self.net.end_turn(in_time);
    }

    /// Runs turns until the test has found what it waits for.
    fn until<T>(&mut self, mut find: impl FnMut(&mut Net, Arrival) -> Option<T>) -> T {
        loop {
            let mut found = None;
            self.turn(|net, arrival| {
                if let Some(it) = find(net, arrival) {
                    found = Some(it);
                }
            });
            if let Some(it) = found {
                return it;
            }
        }
    }

    /// Runs turns until nothing is left to do and nothing has arrived for one turn.
    fn settle(&mut self) {
        while self.net.is_busy() {
            self.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        }
    }

    /// A client that is connected and accepted.
    fn client(&mut self) -> (TcpStream, ConnId) {
        let addr = self.addr();
        let client = connect(addr);
        let conn = self.until(|_, arrival| match arrival {
            Arrival::Input(Input::Accepted { conn, .. }) => Some(conn),
            other => panic!("unexpected: {other:?}"),
        });
        (client, conn)
    }

    fn until_closed(&mut self, expected: ConnId) -> CloseReason {
        self.until(|_, arrival| match arrival {
            Arrival::Input(Input::Closed { conn, why }) if conn == expected => Some(why),
            _ => None,
        })
    }

    fn until_message(&mut self, expected: ConnId) -> Message {
        self.until(|_, arrival| match arrival {
            Arrival::Input(Input::Message { conn, message }) if conn == expected => Some(message),
            other => panic!("unexpected: {other:?}"),
        })
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(GUARD)).unwrap();
    client.set_write_timeout(Some(GUARD)).unwrap();
    client
}

fn ping(n: u32) -> Message {
    Message::Ping(Ping { n })
}

fn bytes_of(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        frame::encode(message, &mut bytes);
    }
    bytes
}

/// Reads exactly one frame.
fn read_message(client: &mut TcpStream) -> Message {
    let mut bytes = vec![0; 4];
    client.read_exact(&mut bytes).unwrap();
    let length = frame::length(&bytes, usize::MAX).unwrap().unwrap();
    bytes.resize(4 + length, 0);
    client.read_exact(&mut bytes[4..]).unwrap();
    frame::decode(&bytes, usize::MAX).unwrap().unwrap().0
}

fn write(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
}
