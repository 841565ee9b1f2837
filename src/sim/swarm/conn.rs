//! The connections of a swarm. What one end sends arrives at the other in order; a payload takes
//! its time on the lines, and what is sent after it waits for it.

use std::collections::VecDeque;

use super::node::EndId;
use crate::proto::{ConnId, HashPlan, Verify};
use crate::time::Time;
use crate::wire::Message;

/// What an end sends.
#[derive(Debug)]
pub(super) enum Item {
    Message(Message),
    Payload(Payload),
}

/// The raw bytes after a CHUNK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) req: u32,
    pub(super) piece: u32,
    pub(super) length: u32,
}

/// A payload that flows.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) from: EndId,
    pub(super) payload: Payload,
    pub(super) serial: u64,
    /// The sender knows that it is sent.
    pub(super) is_sent: bool,
    /// The receiver hears of it when no more bytes than these are to come.
    pub(super) mark: f64,
    /// When the receiver last heard of it.
    pub(super) heard: Time,
    /// The mark that is in the queue; later ones are put there when it is reached.
    pub(super) watched: Time,
}

/// What the machine at an end expects after a CHUNK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) req: u32,
    pub(super) plan: HashPlan,
    pub(super) verify: Verify,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: u32,
    pub(super) conn: ConnId,
    pub(super) open: bool,
    /// When the last thing that was sent to this end arrives.
    pub(super) arrival: Time,
    /// What waits until the payload is sent.
    pub(super) waiting: VecDeque<Item>,
    /// The payload that this end sends now.
    pub(super) flow: Option<u32>,
    pub(super) expected: Option<Expected>,
}

impl End {
    pub(super) fn new(node: u32, conn: ConnId, arrival: Time) -> End {
        End { node, conn, open: true, arrival, waiting: VecDeque::new(), flow: None, expected: None }
    }
}

/// A connection: the dialer's end and the listener's.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// Differs from that of the connection which had this number before.
    pub(super) serial: u64,
}
