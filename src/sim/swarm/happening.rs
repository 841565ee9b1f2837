//! The events of a swarm.

use super::conn::Payload;
use super::node::EndId;
use crate::proto::input::Digests;
use crate::proto::{CloseReason, ConnId, DialId, DiskDone};
use crate::wire::Message;

#[derive(Debug)]
pub(super) enum Happening {
    Wake {
        node: u32,
    },
    /// The user of a peer asks for the file.
    Ask {
        node: u32,
    },
    Dial {
        node: u32,
        dial: DialId,
        to: Option<u32>,
    },
    Dialed {
        end: EndId,
        serial: u64,
        dial: DialId,
    },
    DialFailed {
        node: u32,
        dial: DialId,
    },
    Message {
        end: EndId,
        serial: u64,
        message: Message,
    },
    /// A flow may have reached a certain number of bytes.
    Flow {
        flow: u32,
        serial: u64,
    },
    /// All bytes of a payload have come to this end.
    Payload {
        end: EndId,
        serial: u64,
        payload: Payload,
    },
    Hashed {
        node: u32,
        conn: ConnId,
        payload: Payload,
        digests: Digests,
    },
    Disk {
        node: u32,
        done: DiskDone,
    },
    /// A close that the machine ordered is done.
    Closed {
        node: u32,
        conn: ConnId,
        why: CloseReason,
    },
    /// This end learns that the other end is closed.
    Gone {
        end: EndId,
        serial: u64,
        why: CloseReason,
    },
}
