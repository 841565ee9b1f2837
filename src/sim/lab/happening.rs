//! What will happen in a shard: the entries of its queue.

use std::time::Duration;

use super::peers::Call;
use super::traffic::Datagram;
use crate::proto::{CloseReason, DialId};

/// What will happen. Super peers and askers by their places in this shard.
#[derive(Debug)]
pub(super) enum Happening {
    // A super peer starts, wakes up, receives, fails.
    Start { host: u32 },
    Wake { host: u32 },
    Datagram(Datagram),
    Fail { host: u32 },
    // A silent peer: the next one comes, one that failed is back, the next one sends PING, one
    // fails.
    Come { host: u32, life: u32, slot: u32, gap: Duration },
    Return { host: u32, slot: u32 },
    Ping { host: u32, life: u32 },
    Leave { host: u32, life: u32 },
    // An asker wakes up, asks, dials.
    WakeAsker { asker: u32 },
    Ask { asker: u32, query: u32 },
    Dial { asker: u32, dial: DialId },
    Undialed { asker: u32, dial: DialId },
    Dialed { call: Call, dial: DialId },
    // Frames on its connection, up to the super peer and down from it; its end, as each side sees
    // it.
    Up { call: Call, bytes: Vec<u8> },
    Down { call: Call, bytes: Vec<u8> },
    ClosedUp { call: Call, why: CloseReason },
    ClosedDown { call: Call, why: CloseReason },
}
