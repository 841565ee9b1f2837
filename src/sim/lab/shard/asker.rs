//! Weak peers that send queries: production machines, each with a connection to its super peer that
//! has a latency and keeps the order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use crate::config::{CHUNK_PORT, FRAME_BYTES_HELLO, PAGE_BYTES};
use crate::proto::command::Scope;
use crate::proto::weak_peer::{Listens, Offer, WeakPeer, WeakPeerConfig};
use crate::proto::{
    ClientEvent, ClientId, CloseReason, Command, ConnId, DialCause, DialId, DiskDone, Entropy, Event, Input, Output,
    OwnAddrs, Role,
};
use crate::sim::alarm::Alarm;
use crate::sim::lab::addresses::{SUPER_IP, node_id, peer_ip, peer_of, super_addr};
use crate::sim::lab::catalog;
use crate::sim::lab::happening::Happening;
use crate::sim::lab::peers::{Asked, Asker, Call, Connection, State};
use crate::sim::lab::plan::BEGINNING;
use crate::time::Time;
use crate::wire::{HostPort, Message, frame};

/// Askers begin to dial within this time after all super peers have started.
const DIALING: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(4));
/// Time from the closing of an end until it is closed: a turn of the driver.
const CLOSING: Duration = Duration::from_micros(20);
/// The askers never give up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(86_400);
/// The limit of hits without a configured one: the default of a weak peer is a thousand.
const NO_LIMIT: u32 = 1 << 30;

impl Shard {
    pub(super) fn add_asker(&mut self, place: usize, peer: usize, host: usize) {
        let shared = Arc::clone(&self.shared);
        let mut random = shared.root.child("weak", peer as u64);
        let config = WeakPeerConfig {
            node: node_id(0x77, peer),
            boot: random.next_u64(),
            supers: vec![HostPort::from(super_addr(self.hosts[host].number)).into()],
            login: None,
            offer: Some(Offer { port: CHUNK_PORT, host: None, listens: Listens::Everywhere, http: false }),
            connect_timeout: CONNECT_TIMEOUT,
            download_timeout: crate::config::DOWNLOAD_TIMEOUT,
            agent: "sim".into(),
        };
        let start = BEGINNING + random.time(DIALING.0, DIALING.1);
        let slot = (peer / shared.plan.supers) as u32;
        let asker = self.askers.len() as u32;
        let machine = Box::new(WeakPeer::new(config, Box::new(random)));
        let host = host as u32;
        self.askers.push(Asker {
            place,
            peer,
            host,
            slot,
            machine,
            alarm: Alarm::default(),
            connection: None,
            up_at: Time::ZERO,
            down_at: Time::ZERO,
        });
        self.hosts[host as usize].slots[slot as usize].state = State::Asker(asker);
        self.askers[asker as usize].alarm.set(start);
        self.schedule(host, start, Happening::WakeAsker { asker });
    }

    fn asker(&mut self, asker: u32) -> &mut Asker {
        &mut self.askers[asker as usize]
    }

    /// The connection, if it is the current connection of its asker.
    fn connection(&mut self, call: Call) -> Option<&mut Connection> {
        self.asker(call.asker).connection.as_mut().filter(|connection| connection.call == call)
    }

    /// The number by which the super peer knows this connection.
    fn conn_above(&mut self, call: Call) -> (u32, ConnId) {
        let Asker { host, slot, .. } = *self.asker(call.asker);
        (host, self.conn(host, slot))
    }

    pub(super) fn on_wake_asker(&mut self, asker: u32) {
        let now = self.now;
        let one = self.asker(asker);
        if !one.alarm.rings(now) {
            return;
        }
        if one.machine.poll_timeout().is_some_and(|at| at <= now) {
            let starts = one.machine.poll_timeout() == Some(Time::ZERO);
            if starts {
                let peer = one.peer;
                let added = self.shared.catalog.held_by(peer).iter().map(|file| catalog::record(*file)).collect();
                let share = DiskDone::Share { added, removed: Vec::new() };
                self.asker(asker).machine.handle_input(now, Input::Disk(share));
            }
            self.asker(asker).machine.handle_timeout(now);
        }
        self.drain_asker(asker);
    }

    fn turn_asker(&mut self, asker: u32, input: Input<'_>) {
        let now = self.now;
        self.asker(asker).machine.handle_input(now, input);
        self.tally.handled += 1;
        self.drain_asker(asker);
    }

    fn drain_asker(&mut self, asker: u32) {
        let host = self.asker(asker).host;
        let call = |conn: ConnId| Call { asker, generation: conn.generation };
        while let Some(output) = self.asker(asker).machine.poll_output() {
            match output {
                Output::Dial { dial, .. } => {
                    let at = self.now + self.delay(host);
                    self.schedule(host, at, Happening::Dial { asker, dial });
                }
                Output::Send { conn, message } => self.send_up(call(conn), &message),
                Output::FrameCap { conn, bytes } => {
                    if let Some(connection) = self.connection(call(conn)) {
                        connection.cap_down = bytes;
                    }
                }
                Output::Close { conn } | Output::Abort { conn } => self.close_up(call(conn)),
                Output::Event(event) => {
                    if let Event::Client { client, event } = *event {
                        self.on_answer(client, event);
                    }
                }
                Output::Disk(_) => {}
                Output::SendTo { .. }
                | Output::Resolve { .. }
                | Output::SendPayload { .. }
                | Output::ReceivePayload { .. }
                | Output::DropPayload { .. }
                | Output::SaveAccounts { .. }
                | Output::Limit(_)
                | Output::Hold { .. }
                | Output::DropChunk { .. } => {
                    unreachable!("an asker neither serves nor fetches")
                }
            }
        }
        let now = self.now;
        let one = self.asker(asker);
        let Some(at) = one.machine.poll_timeout().map(|at| at.max(now + Duration::from_micros(5))) else { return };
        if one.alarm.set(at) {
            self.schedule(host, at, Happening::WakeAsker { asker });
        }
    }

    // ---- the connection -------------------------------------------------------------------------

    pub(super) fn on_dial(&mut self, asker: u32, dial: DialId) {
        let Asker { host, slot, peer, .. } = *self.asker(asker);
        let back = self.now + self.delay(host);
        if self.hosts[host as usize].machine.is_none() {
            return self.schedule(host, back, Happening::Undialed { asker, dial });
        }
        let one = self.slot(host, slot);
        one.generation += 1;
        let call = Call { asker, generation: one.generation };
        self.asker(asker).connection = Some(Connection {
            call,
            cap_up: FRAME_BYTES_HELLO,
            cap_down: FRAME_BYTES_HELLO,
            known: false,
            closed_up: false,
            closed_down: false,
        });
        self.asker(asker).down_at = back;
        self.schedule(host, back, Happening::Dialed { call, dial });
        let conn = self.conn(host, slot);
        let from = SocketAddr::new(IpAddr::V4(peer_ip(peer)), 40_000);
        let since = self.now;
        self.turn(host, Input::Accepted { conn, from, to: SUPER_IP, since, key: None, unix: 0 });
    }

    pub(super) fn on_dialed(&mut self, call: Call, dial: DialId) {
        if let Some(connection) = self.connection(call) {
            connection.known = true;
            let (conn, own) = (call.conn(), OwnAddrs::default());
            self.turn_asker(call.asker, Input::Dialed { dial, conn, own, key: None, unix: 0 });
        } else {
            self.on_undialed(call.asker, dial);
        }
    }

    pub(super) fn on_undialed(&mut self, asker: u32, dial: DialId) {
        let (why, cause) = ("connection refused".to_owned(), DialCause::Unreachable);
        self.turn_asker(asker, Input::DialFailed { dial, why, cause });
    }

    fn send_up(&mut self, call: Call, message: &Message) {
        let host = self.asker(call.asker).host;
        let at = self.now + self.delay(host);
        if self.connection(call).is_none_or(|connection| connection.closed_down) {
            return;
        }
        let last = &mut self.asker(call.asker).up_at;
        *last = at.max(*last);
        let at = *last;
        self.schedule(host, at, Happening::Up { call, bytes: framed(message) });
    }

    pub(super) fn send_down(&mut self, host: u32, asker: u32, message: &Message) {
        let at = self.now + self.delay(host);
        if let Message::Ack(_) = message {
            let peer = self.asker(asker).peer;
            self.note(peer, true);
        }
        let one = self.asker(asker);
        let Some(connection) = one.connection.filter(|connection| !connection.closed_up) else { return };
        one.down_at = one.down_at.max(at);
        let at = one.down_at;
        self.schedule(host, at, Happening::Down { call: connection.call, bytes: framed(message) });
    }

    pub(super) fn on_up(&mut self, call: Call, bytes: &[u8]) {
        let Some(cap) = self.connection(call).filter(|one| !one.closed_up).map(|one| one.cap_up) else { return };
        let (host, conn) = self.conn_above(call);
        self.turn(host, unframed(conn, bytes, cap));
    }

    pub(super) fn on_down(&mut self, call: Call, bytes: &[u8]) {
        let Some(cap) = self.connection(call).filter(|one| !one.closed_down).map(|one| one.cap_down) else { return };
        // A weak peer accepts frames as long as those of a session.
        self.turn_asker(call.asker, unframed(call.conn(), bytes, cap.max(PAGE_BYTES + 1024)));
    }

    pub(super) fn set_cap(&mut self, host: u32, conn: ConnId, bytes: usize) {
        if self.conn(host, conn.index) != conn {
            return;
        }
        if let State::Asker(asker) = self.slot(host, conn.index).state
            && let Some(connection) = self.connection(Call { asker, generation: conn.generation })
        {
            connection.cap_up = bytes;
        }
    }

    /// The asker closes.
    fn close_up(&mut self, call: Call) {
        let host = self.asker(call.asker).host;
        let later = self.now + self.delay(host);
        let Some(connection) = self.connection(call).filter(|connection| !connection.closed_down) else { return };
        connection.closed_down = true;
        let at = self.asker(call.asker).up_at.max(later);
        self.schedule(host, at, Happening::ClosedUp { call, why: CloseReason::Remote });
        self.schedule(host, self.now + CLOSING, Happening::ClosedDown { call, why: CloseReason::Asked });
    }

    /// The super peer closes.
    pub(super) fn close_down(&mut self, host: u32, asker: u32) {
        let later = self.now + self.delay(host);
        let one = self.asker(asker);
        let Some(connection) = one.connection.as_mut().filter(|connection| !connection.closed_up) else { return };
        connection.closed_up = true;
        let (call, at) = (connection.call, one.down_at.max(later));
        self.schedule(host, self.now + CLOSING, Happening::ClosedUp { call, why: CloseReason::Asked });
        self.schedule(host, at, Happening::ClosedDown { call, why: CloseReason::Remote });
    }

    /// The super peer is killed.
    pub(super) fn reset(&mut self, host: u32, asker: u32) {
        let later = self.now + self.delay(host);
        let peer = self.asker(asker).peer;
        self.note(peer, false);
        let one = self.asker(asker);
        let Some(connection) = one.connection.as_mut() else { return };
        if connection.known {
            connection.closed_up = true;
            let call = connection.call;
            self.schedule(host, later, Happening::ClosedDown { call, why: CloseReason::Failed });
        } else {
            one.connection = None;
        }
    }

    pub(super) fn on_closed_up(&mut self, call: Call, why: CloseReason) {
        let Some(connection) = self.connection(call) else { return };
        connection.closed_up = true;
        let (host, conn) = self.conn_above(call);
        let peer = self.asker(call.asker).peer;
        self.note(peer, false);
        self.turn(host, Input::Closed { conn, why });
    }

    pub(super) fn on_closed_down(&mut self, call: Call, why: CloseReason) {
        let Some(connection) = self.connection(call) else { return };
        connection.closed_down = true;
        let known = connection.known;
        if connection.closed_up {
            self.asker(call.asker).connection = None;
        }
        if known {
            self.turn_asker(call.asker, Input::Closed { conn: call.conn(), why });
        }
    }

    // ---- asking ---------------------------------------------------------------------------------

    pub(super) fn on_ask(&mut self, asker: u32, query: u32) {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        let asked = Asked { at: self.now, first: None, last: None, done: None, hits: Vec::new(), strange: 0 };
        self.asked.insert(query, asked);
        let command = Command::Query {
            search: catalog::search(shared.asked[query as usize].0, plan.limit.unwrap_or(NO_LIMIT)),
            scope: Scope {
                ttl: Some(plan.ttl),
                budget: Some(u32::try_from(plan.budget.as_millis()).unwrap_or(u32::MAX)),
                policy: Some(plan.policy),
            },
        };
        self.turn_asker(asker, Input::Command { client: ClientId(u64::from(query)), command });
    }

    fn on_answer(&mut self, client: ClientId, event: ClientEvent) {
        let now = self.now;
        let query = u32::try_from(client.0).expect("a client is a query");
        let file = self.shared.asked[query as usize].0;
        let Some(asked) = self.asked.get_mut(&query) else { return };
        if let ClientEvent::Hit { path, source, .. } = event {
            asked.first.get_or_insert(now);
            asked.last = Some(now);
            match (catalog::file_of(&path), peer_of(source.host())) {
                (Some(found), Some(peer)) if found == file => asked.hits.push(peer),
                (Some(_) | None, _) => asked.strange += 1,
            }
        } else if let ClientEvent::Done(outcome) = event {
            asked.done = Some((now, outcome));
            self.over += 1;
        }
    }
}

fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    bytes
}

fn unframed(conn: ConnId, bytes: &[u8], cap: usize) -> Input<'static> {
    match frame::decode(bytes, cap) {
        Ok(Some((message, _))) => Input::Message { conn, message },
        Ok(None) => unreachable!("frames are sent complete"),
        Err(error) => Input::Malformed { conn, error },
    }
}
