//! The driver of the machines: one input, then all outputs.

use std::time::Duration;

use super::conn::{Expected, Item, Payload};
use super::happening::Happening;
use super::{FIRST, SUPER, Swarm, addr, node_at};
use crate::config::PIECE_BYTES;
use crate::proto::command::Get;
use crate::proto::{ClientEvent, ClientId, Command, DialCause, DiskDone, Event, Input, Output, OwnAddrs};
use crate::time::Time;
use crate::wire::HostPort;

/// Time from a request for more work until the machine gets it: a turn of the driver.
const TURN: Duration = Duration::from_micros(5);
/// The only command of a peer.
const CLIENT: ClientId = ClientId(1);

impl Swarm {
    pub(super) fn schedule(&mut self, at: Time, what: Happening) {
        self.sequence += 1;
        self.queue.push(at, self.sequence, what);
    }

    pub(super) fn happen(&mut self, what: Happening) {
        self.tally.happened += 1;
        match what {
            Happening::Wake { node } => self.on_wake(node),
            Happening::Ask { node } => self.on_ask(node),
            Happening::Dial { node, dial, to } => self.on_dial(node, dial, to),
            Happening::Dialed { end, serial, dial } => self.on_dialed(end, serial, dial),
            Happening::DialFailed { node, dial } => {
                let (why, cause) = ("connection refused".to_owned(), DialCause::Unreachable);
                self.turn(node, Input::DialFailed { dial, why, cause });
            }
            Happening::Message { end, serial, message } => {
                if let Some((node, conn)) = self.end_of(end, serial) {
                    self.turn(node, Input::Message { conn, message });
                }
            }
            Happening::Flow { flow, serial } => self.on_flow(flow, serial),
            Happening::Payload { end, serial, payload } => self.on_payload(end, serial, payload),
            Happening::Hashed { node, conn, payload, digests } => self.on_hashed(node, conn, payload, digests),
            Happening::Disk { node, done } => self.turn(node, Input::Disk(done)),
            Happening::Closed { node, conn, why } => {
                self.turn(node, Input::Closed { conn, why });
                self.nodes[node as usize].release(conn);
            }
            Happening::Gone { end, serial, why } => self.on_gone(end, serial, why),
        }
        self.watch_faster();
    }

    pub(super) fn wake_at(&mut self, node: u32, at: Time) {
        if self.nodes[node as usize].alarm.set(at) {
            self.schedule(at, Happening::Wake { node });
        }
    }

    fn on_wake(&mut self, node: u32) {
        let now = self.now;
        let one = &mut self.nodes[node as usize];
        if !one.alarm.rings(now) {
            return;
        }
        let Some(machine) = &mut one.machine else { return };
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
        }
        self.drain(node);
    }

    fn on_ask(&mut self, node: u32) {
        self.nodes[node as usize].asked_at = Some(self.now);
        let get = Get::of(self.content.root.to_string());
        self.turn(node, Input::Command { client: CLIENT, command: Command::Fetch(get) });
    }

    /// Gives one input to a machine and carries out all outputs.
    pub(super) fn turn(&mut self, node: u32, input: Input<'_>) {
        let now = self.now;
        let Some(machine) = &mut self.nodes[node as usize].machine else { return };
        if let Input::Message { message, .. } = &input
            && node == SUPER
            && now >= self.began
        {
            self.tally.super_received(message);
        }
        machine.handle_input(now, input);
        self.drain(node);
    }

    fn drain(&mut self, node: u32) {
        while let Some(output) = self.nodes[node as usize].machine.as_mut().and_then(|machine| machine.poll_output()) {
            self.perform(node, output);
        }
        let Some(at) = self.nodes[node as usize].machine.as_ref().and_then(|machine| machine.poll_timeout()) else {
            return;
        };
        self.wake_at(node, at.max(self.now + TURN));
    }

    fn perform(&mut self, node: u32, output: Output) {
        match output {
            Output::Dial { dial, to, .. } => {
                let to = node_at(&to).filter(|node| HostPort::from(addr(*node)) == to);
                let at = self.now + self.delay();
                self.schedule(at, Happening::Dial { node, dial, to });
            }
            Output::Send { conn, message } => {
                if let Some(end) = self.nodes[node as usize].find(conn) {
                    self.count(node, &message);
                    self.transmit(end, Item::Message(message));
                }
            }
            Output::SendPayload { conn, req, offset, length } => {
                if let Some(end) = self.nodes[node as usize].find(conn) {
                    let piece = (offset / PIECE_BYTES) as u32;
                    assert!(self.nodes[node as usize].disk.has(piece), "only what is written is served");
                    self.transmit(end, Item::Payload(Payload { req, piece, length }));
                }
            }
            Output::ReceivePayload { conn, req, plan, verify, length: _ } => {
                if let Some(end) = self.nodes[node as usize].find(conn) {
                    self.end(end).expected = Some(Expected { req, plan, verify });
                }
            }
            Output::DropPayload { payload } => {
                self.nodes[node as usize].payloads.remove(payload.0 as usize);
            }
            Output::Close { conn } | Output::Abort { conn } => self.close(node, conn),
            Output::Disk(work) => self.on_disk(node, work),
            Output::Event(event) => {
                if let Event::Client { client: CLIENT, event: ClientEvent::Done(done) } = *event {
                    self.on_done(node, done.ok, done.error);
                } else if let Event::Fatal(failure) = *event {
                    panic!("node {node} ends: {}", failure.message);
                }
            }
            Output::FrameCap { .. } | Output::Hold { .. } | Output::DropChunk { .. } | Output::Limit(_) => {}
            Output::SendTo { .. } | Output::Resolve { .. } | Output::SaveAccounts { .. } => {
                unreachable!("there is one super peer, and all addresses are known")
            }
        }
    }

    /// The command of a peer has ended.
    fn on_done(&mut self, node: u32, ok: bool, why: Option<String>) {
        let now = self.now;
        let one = &mut self.nodes[node as usize];
        if one.done_at.is_some() || one.failed.is_some() {
            return;
        }
        if ok {
            one.done_at = Some(now);
        } else {
            one.failed = Some(why.unwrap_or_else(|| "no reason".to_owned()));
        }
        self.over += 1;
        if self.plan.leave == super::Leave::Done {
            self.kill(node);
        }
    }

    /// A piece is on the disk of a peer.
    pub(super) fn on_written(&mut self, node: u32, piece: u32) {
        self.tally.written += 1;
        let is_out = self.spread.write(piece) && self.spread.pieces == self.plan.pieces;
        if is_out && self.plan.leave == super::Leave::Seed {
            self.kill(super::SEED);
        }
        let one = &self.nodes[node as usize];
        if node >= FIRST && one.leaves_at.is_some_and(|pieces| one.disk.pieces >= pieces) && one.done_at.is_none() {
            self.tally.left += 1;
            self.over += 1;
            self.kill(node);
        }
    }

    /// The process of a peer ends, and its connections with it.
    pub(super) fn kill(&mut self, node: u32) {
        self.nodes[node as usize].machine = None;
        let ends: Vec<_> = self.nodes[node as usize].ends().collect();
        for end in ends {
            self.reset(end);
        }
    }

    pub(super) fn answer(&mut self, node: u32, after: Duration, done: DiskDone) {
        self.schedule(self.now + after, Happening::Disk { node, done });
    }

    pub(super) fn own(&self, node: u32) -> OwnAddrs {
        OwnAddrs { here: Some(addr(node).ip()), other: None }
    }
}
