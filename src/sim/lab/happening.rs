//! What will happen in a shard: the entries of its queue.

use std::time::Duration;

use super::traffic::Datagram;
use crate::proto::{CloseReason, DialId};

/// What will happen. Super peers and askers by their places in this shard.
#[derive(Debug)]
pub(super) enum Happening {
    Start {
        host: u32,
    },
    Wake {
        host: u32,
    },
    Datagram(Datagram),
    /// The next silent peer of a super peer comes.
    Come {
        host: u32,
        life: u32,
        slot: u32,
        gap: Duration,
    },
    /// A silent peer that failed is back.
    Return {
        host: u32,
        slot: u32,
    },
    /// The next silent peer of a super peer sends PING.
    Ping {
        host: u32,
        life: u32,
    },
    /// A super peer fails, or one of its silent peers.
    Fail {
        host: u32,
    },
    Leave {
        host: u32,
        life: u32,
    },
    WakeAsker {
        asker: u32,
    },
    Dial {
        asker: u32,
        dial: DialId,
    },
    Dialed {
        asker: u32,
        dial: DialId,
        generation: u32,
    },
    Undialed {
        asker: u32,
        dial: DialId,
    },
    /// Frames on the connection of an asker, up to its super peer and down from it.
    Up {
        asker: u32,
        generation: u32,
        bytes: Vec<u8>,
    },
    Down {
        asker: u32,
        generation: u32,
        bytes: Vec<u8>,
    },
    /// That connection is closed, as its super peer sees it and as the asker does.
    ClosedUp {
        asker: u32,
        generation: u32,
        why: CloseReason,
    },
    ClosedDown {
        asker: u32,
        generation: u32,
        why: CloseReason,
    },
    Ask {
        asker: u32,
        query: u32,
    },
}
