//! Opens connections to all nodes and does nothing useful with them. It sends HELLO and then
//! nothing, or sends nothing at all, or begins a frame and does not finish it. Once a connection is
//! closed, it is opened again.

use std::time::Duration;

use super::caller::{Call, Caller};
use super::hands::{Adversary, Hands};
use super::registered::{greet, node_id};
use crate::proto::Input;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::{HostPort, NodeId};

/// How many connections it has at once.
const CONNECTIONS: u64 = 12;
const PAUSE: Duration = Duration::from_secs(10);

/// The node that opens them.
#[derive(Debug)]
pub(in crate::sim) struct Idler {
    node: NodeId,
    callers: Vec<Caller>,
}

impl Idler {
    pub(in crate::sim) fn new(targets: &[HostPort], random: &mut Random) -> Idler {
        let caller = |n: u64| {
            let mut targets = targets.to_vec();
            let first = usize::try_from(n).unwrap_or(0) % targets.len();
            targets.rotate_left(first);
            Caller::new(targets, PAUSE, (CONNECTIONS, n))
        };
        Idler { node: node_id(random), callers: (0..CONNECTIONS).map(caller).collect() }
    }
}

impl Adversary for Idler {
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>) {
        for (n, caller) in self.callers.iter_mut().enumerate() {
            match caller.on_input(&input, hands) {
                Call::Open(conn) => {
                    hands.struck("idler");
                    match n % 3 {
                        0 => greet(conn, self.node, hands),
                        1 => hands.bytes(conn, vec![0, 0]),
                        _ => {}
                    }
                }
                Call::Gone | Call::Other => {}
            }
        }
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        self.callers.iter_mut().for_each(|caller| caller.on_time(hands));
    }

    fn wake_at(&self) -> Option<Time> {
        self.callers.iter().filter_map(Caller::wake_at).min()
    }
}
