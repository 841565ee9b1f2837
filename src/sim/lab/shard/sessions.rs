//! Sessions of the silent peers. Each is a script of a few bytes, but uses the real wire format.
//! The peers connect, log in, register their files, and send PING.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{AWAY, Shard};
use crate::config::{CHUNK_PORT, FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, PING_INTERVAL};
use crate::proto::{CloseReason, ConnId, Input, Role};
use crate::sim::lab::addresses::{SUPER_IP, node_id, peer_ip};
use crate::sim::lab::catalog;
use crate::sim::lab::happening::Happening;
use crate::sim::lab::peers::{Slot, State};
use crate::wire::message::{Hello, Login, Ping, Register};
use crate::wire::{Message, frame};

/// Records in one page of a script's REGISTER.
const PAGE_FILES: usize = 256;

impl Shard {
    pub(in crate::sim::lab) fn conn(&self, host: u32, slot: u32) -> ConnId {
        ConnId { index: slot, generation: self.hosts[host as usize].slots[slot as usize].generation }
    }

    pub(super) fn peer(&self, host: u32, slot: u32) -> usize {
        slot as usize * self.shared.plan.supers + self.hosts[host as usize].number
    }

    pub(super) fn slot(&mut self, host: u32, slot: u32) -> &mut Slot {
        &mut self.hosts[host as usize].slots[slot as usize]
    }

    /// A super peer sends a message to a session.
    pub(super) fn say(&mut self, host: u32, conn: ConnId, message: &Message) {
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

    /// Encodes a message into a frame, and decodes it again.
    fn through_the_wire(&mut self, message: &Message, cap: usize) -> Message {
        self.frame.clear();
        frame::encode(message, &mut self.frame);
        match frame::decode(&self.frame, cap) {
            Ok(Some((message, used))) if used == self.frame.len() => message,
            other => panic!("{} does not pass the wire: {other:?}", message.kind()),
        }
    }

    /// A silent peer sends a message to its super peer.
    fn utter(&mut self, host: u32, slot: u32, message: &Message, cap: usize) {
        let (now, conn) = (self.now, self.conn(host, slot));
        let message = self.through_the_wire(message, cap);
        let Some(machine) = &mut self.hosts[host as usize].machine else { return };
        machine.handle_input(now, Input::Message { conn, message });
        self.tally.handled += 1;
        self.drain(host);
    }

    pub(super) fn on_come(&mut self, host: u32, life: u32, slot: u32, gap: Duration) {
        if self.hosts[host as usize].life != life {
            return;
        }
        if slot as usize + 1 < self.hosts[host as usize].slots.len() {
            self.schedule(host, self.now + gap, Happening::Come { host, life, slot: slot + 1, gap });
        }
        self.connect(host, slot);
    }

    /// A silent peer that is away connects, and sends HELLO.
    pub(super) fn connect(&mut self, host: u32, slot: u32) {
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
            machine.handle_input(now, Input::Accepted { conn, from, to: SUPER_IP, since: now, key: None, unix: 0 });
        }
        let boot = u64::from(conn.generation);
        let hello = Message::Hello(Hello::new(node_id(0x77, peer), boot, String::new()));
        self.utter(host, slot, &hello, FRAME_BYTES_HELLO);
        self.settle(host);
    }

    /// How a silent peer reacts to a message of its super peer.
    pub(super) fn on_reply(&mut self, host: u32, slot: u32, message: Message) {
        match (self.slot(host, slot).state, message) {
            (State::Greeted, Message::Welcome(_)) => {
                self.slot(host, slot).state = State::LoggedIn;
                self.utter(host, slot, &Message::Login(Login::open()), FRAME_BYTES_LOGIN);
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
            // PONG, and messages to a peer that is leaving, need no reaction.
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
        let register = Register {
            seq: u64::from(page) + 1,
            port: CHUNK_PORT,
            host: None,
            more_addr: None,
            http: false,
            files,
            more,
        };
        self.utter(host, slot, &Message::Register(register), FRAME_BYTES_OPEN);
    }

    /// Notes that from now on all files of a peer are registered, or none of them.
    pub(in crate::sim::lab) fn note(&mut self, peer: usize, there: bool) {
        if self.measuring {
            self.changes.push((self.now, u32::try_from(peer).expect("fewer than 2^24 weak peers"), there));
        }
    }

    pub(super) fn on_ping(&mut self, host: u32, life: u32) {
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
    pub(super) fn close(&mut self, host: u32, conn: ConnId) {
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

    /// The connection of a silent peer ends.
    pub(super) fn gone(&mut self, host: u32, slot: u32, why: CloseReason) {
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
}
