//! Sealed links with real binaries: they come up and come back, each way in that is wrong is named
//! at both ends and gets no byte back, and no flood of forged datagrams displaces what is right.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::Value;
use sprat::config::DATAGRAM_BYTES_MAX;
use sprat::proto::Entropy;
use sprat::proto::envelope::{Envelopes, Seal};
use sprat::time::Time;
use sprat::trust::{PublicKey, SecretKey};
use sprat::wire::link::{self, LinkHello, Packer};
use sprat::wire::{LinkMessage, NodeId};

use super::common::{Daemon, World, eventually};

/// The key of the super peer with this name, which need not run.
fn key(world: &World, name: &str) -> PublicKey {
    let ran = world.run(["id", "--name", name]);
    ran.text.trim().parse().unwrap_or_else(|_| panic!("no key: {:?} {}", ran.text, ran.stderr))
}

fn starts(world: &World, name: &str, port: u16, more: &[&str]) -> Daemon {
    let listen = format!("{}:{port}", world.ip());
    let args: Vec<String> = ["super", "--listen", &listen].iter().chain(more).map(|arg| (*arg).to_owned()).collect();
    world.daemon(name, &args, Stdio::null())
}

fn status(world: &World, daemon: &Daemon) -> Value {
    world.run(["status", "--json", "--control", daemon.control()]).events("status")[0].clone()
}

fn count(world: &World, daemon: &Daemon, name: &str) -> u64 {
    status(world, daemon)["super_counts"][name].as_u64().unwrap_or(0)
}

fn are_up(world: &World, daemons: &[&Daemon]) {
    eventually("the links are up", || {
        daemons.iter().all(|daemon| status(world, daemon)["links"][0]["state"] == "up").then_some(())
    });
}

fn wait_for_log(daemon: &Daemon, parts: &[&str]) {
    eventually(&format!("a line of the log with {parts:?}, in {:?}", daemon.log()), || {
        daemon.log().lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
}

#[test]
fn sealed_links_come_up_and_come_back_after_a_kill() {
    let world = World::new();
    let ports = [world.free_port(), world.free_port()];
    let pin = |n: usize| format!("{}@{}:{}", key(&world, ["a", "b"][n]), world.ip(), ports[n]);
    let pins = [pin(0), pin(1)];
    let mut a = starts(&world, "a", ports[0], &["--neighbor", &pins[1]]);
    let b = starts(&world, "b", ports[1], &["--neighbor", &pins[0]]);
    are_up(&world, &[&a, &b]);
    for _ in 0..2 {
        a.kill();
        drop(a);
        a = starts(&world, "a", ports[0], &["--neighbor", &pins[1]]);
        are_up(&world, &[&a, &b]);
    }
    assert_eq!(count(&world, &b, "handshakes_replayed"), 0, "the counter of a run is above that of the last one");
    assert!(count(&world, &b, "datagrams_opened") > 0 && count(&world, &a, "datagrams_sealed") > 0);
    assert!(!a.log().contains("no link"), "{}", a.log());
}

#[test]
fn a_wrong_key_is_named_at_both_ends() {
    let world = World::new();
    let ports = [world.free_port(), world.free_port()];
    let at = |n: usize| format!("{}:{}", world.ip(), ports[n]);
    let (a, b, other) = (key(&world, "a"), key(&world, "b"), key(&world, "other"));
    let naming = starts(&world, "a", ports[0], &["--neighbor", &format!("{other}@{}", at(1))]);
    let named = starts(&world, "b", ports[1], &["--neighbor", &format!("{a}@{}", at(0))]);
    wait_for_log(&named, &["no link to neighbor", &at(0), "another key than that of this super peer"]);
    wait_for_log(&naming, &["no link to neighbor", &at(1), &format!("--neighbor {b}@{}", at(1))]);
    let why = status(&world, &naming)["links"][0]["why"].clone();
    assert!(why.as_str().is_some_and(|why| why.contains(&b.to_string())), "{why}");
}

#[test]
fn the_other_mode_is_named_at_both_ends() {
    let world = World::new();
    let ports = [world.free_port(), world.free_port()];
    let at = |n: usize| format!("{}:{}", world.ip(), ports[n]);
    let b = key(&world, "b");
    let login = starts(&world, "a", ports[0], &["--neighbor", &format!("{b}@{}", at(1))]);
    let open = starts(&world, "b", ports[1], &["--open", "--neighbor", &at(0)]);
    wait_for_log(&login, &["no link to neighbor", &at(1), "greets in open mode"]);
    wait_for_log(&open, &["no link to neighbor", &at(0), "greets in login mode"]);
    let ran = world.run(["super", "--open", "--neighbor", &format!("{b}@{}", at(1))]);
    assert!(ran.exit == Some(2) && ran.stderr.contains("names a key"), "{}", ran.stderr);
}

// ---- a neighbor of our own ----------------------------------------------------------------------

struct Os;

impl Entropy for Os {
    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("randomness")
    }
}

/// A neighbor that sends HELLO when the test asks for one, and the datagrams that it has sent.
struct Neighbor {
    socket: UdpSocket,
    envelopes: Envelopes,
    node: NodeId,
    to: SocketAddr,
    their_key: PublicKey,
    their_boot: u64,
    begun: Instant,
    asked: u64,
    answered: u64,
    sent: Vec<Vec<u8>>,
}

const BOOT: u64 = 77;

impl Neighbor {
    fn new(socket: UdpSocket, secret: SecretKey, to: SocketAddr, their_key: PublicKey) -> Neighbor {
        socket.set_nonblocking(true).expect("a socket");
        let node = secret.public().node();
        let seal = Seal { secret, neighbors: vec![their_key], counter: 1 << 60, seen: BTreeMap::new() };
        let envelopes = Envelopes::sealed(seal, Box::new(Os));
        let (begun, sent) = (Instant::now(), Vec::new());
        Neighbor { socket, envelopes, node, to, their_key, their_boot: 0, begun, asked: 0, answered: 0, sent }
    }

    fn now(&self) -> Time {
        Time::from_micros(1 + u64::try_from(self.begun.elapsed().as_micros()).expect("short"))
    }

    fn ask(&mut self) {
        self.asked += 1;
        self.say(self.asked, None);
    }

    fn say(&mut self, t: u64, et: Option<u64>) {
        let (node, echo, dg, de) = (self.node, self.their_boot, None, None);
        let hello = LinkHello { node, boot: BOOT, echo, t, et, tree: None, whole: false, dg, de, fold: None };
        let mut packer = Packer::new(echo);
        packer.push(&LinkMessage::Hello(hello));
        let packed = packer.finish().expect("a HELLO");
        self.envelopes.send(self.now(), (None, self.to), Some(self.their_key), packed);
        self.transmit();
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.envelopes.poll_transmit() {
            self.socket.send_to(&transmit.bytes, self.to).expect("the socket takes it");
            if self.sent.len() < 64 {
                self.sent.push(transmit.bytes);
            }
        }
    }

    /// Takes what came.
    fn hear(&mut self) {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = self.socket.recv_from(&mut bytes) {
            let now = self.now();
            let taken = self.envelopes.handle_datagram(now, from, None, &bytes[..length]);
            self.transmit();
            let Some(opened) = taken.and_then(|taken| taken.opened) else { continue };
            let (_, messages) = link::decode(self.envelopes.opened(opened)).expect("messages");
            for message in messages {
                let LinkMessage::Hello(hello) = message else { continue };
                self.their_boot = hello.boot;
                match hello.et {
                    Some(_) => self.answered += 1,
                    None => self.say(0, Some(hello.t)),
                }
            }
        }
    }
}

/// Bytes that came back to a socket.
fn bytes_back(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).expect("a socket");
    let mut bytes = [0; 2048];
    let mut total = 0;
    loop {
        match socket.recv(&mut bytes) {
            Ok(length) => total += length,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return total,
        }
    }
}

/// What a stranger sends: noise in every envelope, greetings of a key that is no neighbor's, and
/// datagrams of the neighbor, repeated and with one bit flipped.
fn forgeries(stranger: SecretKey, to: SocketAddr, their_key: PublicKey, recorded: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let noise = |first: u8, length: usize| {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).expect("randomness");
        bytes[0] = first;
        bytes
    };
    let mut all: Vec<Vec<u8>> = [(3, DATAGRAM_BYTES_MAX), (3, 60), (2, 158), (2, 74), (1, 80), (0, 900), (1, 1)]
        .into_iter()
        .map(|(first, length)| noise(first, length))
        .collect();
    let socket = UdpSocket::bind((to.ip(), 0)).expect("a socket");
    let mut stranger = Neighbor::new(socket, stranger, to, their_key);
    stranger.ask();
    all.append(&mut stranger.sent);
    for bytes in recorded {
        all.push(bytes.clone());
        for bit in [0, 9, 20, 40, bytes.len() * 8 - 1] {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            all.push(flipped);
        }
    }
    all
}

#[test]
fn forged_datagrams_at_full_speed_get_no_byte_and_displace_nothing() {
    const ASKED: u64 = 400;
    /// Forged datagrams between two that are right.
    const BETWEEN: u64 = 200;
    let world = World::new();
    let secret = SecretKey::from_seed([9; 32]);
    let socket = UdpSocket::bind((world.ip(), 0)).expect("a socket");
    let pin = format!("{}@{}", secret.public(), socket.local_addr().expect("an address"));
    let their_key = key(&world, "a");
    let daemon = starts(&world, "a", 0, &["--neighbor", &pin]);
    let to: SocketAddr = daemon.addr().parse().expect("an address");
    let mut neighbor = Neighbor::new(socket, secret, to, their_key);
    eventually("the link is up", || {
        neighbor.ask();
        neighbor.hear();
        (neighbor.answered > 0 && status(&world, &daemon)["links"][0]["state"] == "up").then_some(())
    });
    eventually("nothing is under way", || {
        neighbor.hear();
        (neighbor.answered + 1 >= neighbor.asked).then_some(())
    });
    let forged = forgeries(SecretKey::from_seed([8; 32]), to, their_key, &neighbor.sent);
    let before = count(&world, &daemon, "handshakes_answered");
    (neighbor.asked, neighbor.answered) = (0, 0);
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let back = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let socket = UdpSocket::bind((world.ip(), 0)).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            let mut back = 0;
            for bytes in forged.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let _ = socket.send_to(bytes, to);
                if sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(1024) {
                    back += bytes_back(&socket);
                }
            }
            back + bytes_back(&socket)
        });
        while neighbor.asked < ASKED {
            let until = sent.load(Ordering::Relaxed) + BETWEEN;
            neighbor.ask();
            while sent.load(Ordering::Relaxed) < until {
                neighbor.hear();
            }
        }
        over.store(true, Ordering::Relaxed);
        attack.join().expect("the attack ends")
    });
    eventually("almost everything was answered", || {
        neighbor.hear();
        (neighbor.answered * 100 >= neighbor.asked * 99).then_some(())
    });
    let status = status(&world, &daemon);
    assert_eq!(back, 0, "bytes back to the stranger");
    assert_eq!(status["links"][0]["state"], "up", "{status}");
    assert_eq!(count(&world, &daemon, "handshakes_answered"), before, "no handshake of a stranger is answered");
    let dropped: u64 = ["datagrams_unknown_keys", "datagrams_replayed", "datagrams_forged", "handshakes_other_key"]
        .iter()
        .map(|name| status["super_counts"][*name].as_u64().unwrap_or(0))
        .sum();
    assert!(dropped > 1000, "the attack arrived: {status}");
}
