//! The events of a shard, which wait in its queue.

use std::time::Duration;

use super::peers::Call;
use super::traffic::Datagram;
use crate::proto::{CloseReason, DialId};

/// An event. Super peers and askers are named by their places in this shard.
#[derive(Debug)]
pub(super) enum Happening {
    // A super peer starts, wakes up, receives a datagram, or fails.
    Start { host: u32 },
    Wake { host: u32 },
    Datagram(Datagram),
    Fail { host: u32 },
    // A silent peer comes or sends PING, and the next one is scheduled. Or one that failed is back,
    // or one fails.
    Come { host: u32, life: u32, slot: u32, gap: Duration },
    Return { host: u32, slot: u32 },
    Ping { host: u32, life: u32 },
    Leave { host: u32, life: u32 },
    // An asker wakes up, sends a query, or dials.
    WakeAsker { asker: u32 },
    Ask { asker: u32, query: u32 },
    Dial { asker: u32, dial: DialId },
    Undialed { asker: u32, dial: DialId },
    Dialed { call: Call, dial: DialId },
    // Frames on the connection of an asker, up to the super peer or down from it, and the end of
    // the connection, as each side sees it.
    Up { call: Call, bytes: Vec<u8> },
    Down { call: Call, bytes: Vec<u8> },
    ClosedUp { call: Call, why: CloseReason },
    ClosedDown { call: Call, why: CloseReason },
}
