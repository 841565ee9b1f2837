//! The pure machines of both roles: they are told the time and what arrived, and answer with what to do.
//!
//! Nothing here opens a socket or a file, reads a clock, draws a random number of its own or walks a hash map. The driver
//! (`node`) performs the outputs with mio and the disk; the simulator (`sim`) performs the same outputs in virtual time.
//! Payload bytes never enter: the machines speak of extents and digests.

pub mod command;
pub mod disk;
pub mod event;
pub mod marks;
pub mod super_peer;
pub mod timers;
mod turns;
pub mod weak_peer;

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Time;
use crate::wire::ids::{Md5, Root};
use crate::wire::{HostPort, LinkMessage, Message, WireError};

pub use command::{ClientId, Command, Scope, Verify};
pub use disk::{DiskDone, DiskWork, DownloadId};
pub use event::{ClientEvent, Event};

/// A connection, by the slot it has in the driver's table and how often that slot was used before. A stale id names
/// nothing any more and whatever is addressed to it is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Slot in the connection table.
    pub index: u32,
    /// Uses of that slot before this one.
    pub generation: u32,
}

/// A dial under way, numbered by the machine that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// A received chunk in a buffer of the driver, until the machine has it written or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadId(pub u64);

/// Which BLAKE3 value of a payload is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashPlan {
    /// The payload is a whole content (of at most one piece): its root.
    Content,
    /// The payload is a piece of a longer content: the chaining value of the subtree that begins at this byte.
    Piece {
        /// Offset of the first byte in the content; a multiple of 1 MiB.
        offset: u64,
    },
}

/// What a payload hashed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of the bytes; none where [`Verify`] did not ask for it.
    pub md5: Option<Md5>,
    /// Root or chaining value, as the [`HashPlan`] said; none where [`Verify`] did not ask for it.
    pub blake3: Option<[u8; 32]>,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed.
    Remote,
    /// Reset, or another error of the socket.
    Failed,
    /// It let our send queue fill up, or took nothing for too long.
    SlowConsumer,
    /// A frame was begun and not finished in time.
    SlowFrame,
    /// We asked for it with [`Output::Close`].
    Asked,
}

impl CloseReason {
    /// One word for counters and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            CloseReason::Remote => "remote",
            CloseReason::Failed => "failed",
            CloseReason::SlowConsumer => "slow_consumer",
            CloseReason::SlowFrame => "slow_frame",
            CloseReason::Asked => "asked",
        }
    }
}

/// What the driver tells a machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody connected to our TCP port.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// Where it comes from, an IPv4 address never in its mapped form.
        from: SocketAddr,
    },
    /// A dial succeeded.
    Dialed {
        /// Which.
        dial: DialId,
        /// The new connection.
        conn: ConnId,
    },
    /// A dial failed: no name, refused, or not connected within [`crate::config::DIAL_TIMEOUT`].
    DialFailed {
        /// Which.
        dial: DialId,
        /// For people.
        why: String,
    },
    /// A whole, well-formed message.
    Message {
        /// From where.
        conn: ConnId,
        /// What.
        message: Message,
    },
    /// Bytes that are no message. Nothing more is read from the connection: answer ERROR and close it.
    Malformed {
        /// From where.
        conn: ConnId,
        /// What is wrong.
        error: WireError,
    },
    /// A datagram, not looked at yet: check who sent it before decoding it.
    Datagram {
        /// Who sent it, an IPv4 address never in its mapped form.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// More bytes of a payload are here, or all of them, which are then hashed; once per connection and turn, and once more
    /// for each that is whole.
    PayloadProgress {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// Bytes so far.
        received: u32,
    },
    /// A payload is complete and hashed.
    PayloadReceived {
        /// From where; the connection may be gone by now.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The buffer; the machine must order [`DiskWork::WritePiece`] or [`DiskWork::DropPayload`] for it.
        payload: PayloadId,
        /// What it hashed to.
        digests: Digests,
    },
    /// All bytes of a [`Output::SendPayload`] are in the kernel's hands.
    PayloadSent {
        /// To where.
        conn: ConnId,
        /// The request.
        req: u32,
    },
    /// The connection is gone; its id is never used again.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// The disk did something.
    Disk(DiskDone),
    /// A client (prompt, one-shot command, control socket) asks for something.
    Command {
        /// Who; every answer is an [`Event::Client`] with this id, the last one a `done`.
        client: ClientId,
        /// What.
        command: Command,
    },
    /// A client has gone; what it asked for is dropped, but for downloads of a prompt, which do not go with it.
    ClientGone {
        /// Who.
        client: ClientId,
    },
    /// The process was asked to end: say BYE everywhere and close.
    Shutdown,
}

impl Input<'_> {
    /// What a machine that has ended still owes for it: whatever would leak goes back, all else is passed over.
    #[must_use]
    pub fn given_back(&self) -> Option<Output> {
        match self {
            Input::Accepted { conn, .. } | Input::Dialed { conn, .. } => Some(Output::Close { conn: *conn }),
            Input::PayloadReceived { payload, .. } => Some(Output::Disk(DiskWork::DropPayload { payload: *payload })),
            Input::DialFailed { .. }
            | Input::Message { .. }
            | Input::Malformed { .. }
            | Input::Datagram { .. }
            | Input::PayloadProgress { .. }
            | Input::PayloadSent { .. }
            | Input::Closed { .. }
            | Input::Disk(_)
            | Input::Command { .. }
            | Input::ClientGone { .. }
            | Input::Shutdown => None,
        }
    }
}

/// What a machine wants done. Every output names its own target.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Connect; answered by Dialed or DialFailed.
    Dial {
        /// The machine's number for it.
        dial: DialId,
        /// Where to.
        to: HostPort,
    },
    /// Queue a message.
    Send {
        /// To where.
        conn: ConnId,
        /// What.
        message: Message,
    },
    /// Queue a message for a neighbour; packed with others into one datagram at the end of the turn.
    SendTo {
        /// To whom.
        to: SocketAddr,
        /// The receiver's boot id, 0 if unknown.
        boot: u64,
        /// What.
        message: LinkMessage,
    },
    /// Queue bytes of a shared file right behind the CHUNK that announced them; answered by PayloadSent. The file is the one
    /// that the [`DiskDone::ChunkReady`] of this connection and request opened.
    SendPayload {
        /// To where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// First byte.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// The message just received on this connection was a CHUNK: take the `length` raw bytes behind it. The driver reads no
    /// further frame until this comes (or Close).
    ReceivePayload {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// How many.
        length: u32,
        /// How to hash them.
        plan: HashPlan,
        /// Which digests are wanted.
        verify: Verify,
    },
    /// From now on frames up to this length are taken. A new connection begins with [`crate::config::FRAME_BYTES_HELLO`].
    FrameCap {
        /// Which connection.
        conn: ConnId,
        /// Longest body in bytes.
        bytes: usize,
    },
    /// Write what is queued (within [`crate::config::WRITE_STALL_MAX`]), then close; answered by Closed.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Work for the disk.
    Disk(DiskWork),
    /// News for a client or for the log.
    Event(Event),
}

/// A protocol machine. After every call the caller drains [`Role::poll_output`] to `None`.
///
/// - getters: on the concrete types, for tests and invariants;
/// - `handle_*`: what happened;
/// - `poll_*`: what to do, and when to come back.
pub trait Role {
    /// Something arrived.
    fn handle_input(&mut self, now: Time, input: Input<'_>);
    /// The time that [`Role::poll_timeout`] named has come (or has not: then nothing happens).
    fn handle_timeout(&mut self, now: Time);
    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to call [`Role::handle_timeout`]; `Some(now)` or earlier means that work is left over from this turn.
    fn poll_timeout(&self) -> Option<Time>;
    /// A turn of the loop took this long: for whoever keeps count of it.
    fn note_turn(&mut self, _took: Duration) {}
}

/// A machine that is lent to the loop, so that it can be asked afterwards what it has seen.
impl<R: Role + ?Sized> Role for &mut R {
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        (**self).handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Time) {
        (**self).handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        (**self).poll_output()
    }

    fn poll_timeout(&self) -> Option<Time> {
        (**self).poll_timeout()
    }

    fn note_turn(&mut self, took: Duration) {
        (**self).note_turn(took);
    }
}

/// Where random numbers come from: the operating system in production, the seed in the simulator.
pub trait Entropy: Send {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;
}

/// The number of pieces of a content: none if it is empty.
#[must_use]
pub const fn pieces_of(size: u64) -> u64 {
    size.div_ceil(crate::config::PIECE_BYTES)
}

/// The root of the empty content.
pub const EMPTY_ROOT: Root = Root([
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b, 0xcb, 0x25,
    0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_blake3_of_nothing() {
        assert_eq!(EMPTY_ROOT.0, *blake3::hash(b"").as_bytes());
    }
}
