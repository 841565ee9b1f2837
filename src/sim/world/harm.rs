//! Adversaries of the world: their turns, and their actions that no machine can do.

use std::net::SocketAddr;

use super::World;
use crate::proto::Input;
use crate::sim::adversary::{Hands, Move};
use crate::sim::node::{Machine, Stranger};
use crate::sim::tcp::Segment;
use crate::wire::link::Packer;

impl World {
    /// One turn of an adversary, because of an input or because its time has come.
    pub(super) fn harm(&mut self, number: usize, input: Option<Input<'_>>) {
        let now = self.clock(number);
        let Some(Machine::Adversary(Stranger(adversary))) = &mut self.nodes[number].machine else { return };
        let mut hands = Hands::new(now, &mut self.contents);
        match input {
            Some(input) => adversary.on_input(input, &mut hands),
            None => adversary.on_time(&mut hands),
        }
        let mut packers = Vec::new();
        for step in hands.moves {
            self.on_move(number, step, &mut packers);
        }
        for (to, mut packer) in packers {
            if let Some(bytes) = packer.finish() {
                self.post(number, to, bytes);
            }
        }
        self.wake(number);
    }

    fn on_move(&mut self, node: usize, step: Move, packers: &mut Vec<(SocketAddr, Packer)>) {
        match step {
            Move::Act(output) => self.on_output(node, output, packers),
            Move::Bytes { conn, bytes } => self.send_raw(node, conn, Segment::Bytes(bytes)),
            Move::Payload { conn, extent } => self.send_raw(node, conn, Segment::Payload(extent)),
            Move::Part { conn, bytes } => self.send_raw(node, conn, Segment::Part(bytes)),
            Move::Deaf { conn } => {
                if let Some((link, end)) = self.find(node, conn)
                    && let Some(end) = self.end(link, end)
                {
                    end.deaf = true;
                }
            }
            Move::Datagram { from, to, bytes } => self.forge_datagram(from, to, bytes),
            Move::Struck(name) => self.count_fault(name),
        }
    }

    fn send_raw(&mut self, node: usize, conn: crate::proto::ConnId, segment: Segment) {
        if let Some((link, end)) = self.find(node, conn) {
            self.transmit(link, end, segment, None);
        }
    }
}
