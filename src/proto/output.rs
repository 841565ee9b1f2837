//! What a machine requests from its driver.

use std::net::{IpAddr, SocketAddr};

use super::command::{RateLimits, Verify};
use super::disk::DiskWork;
use super::event::Event;
use super::ids::{ConnId, DialId, PayloadId, ResolveId};
use crate::trust::{Accounts, PublicKey};
use crate::wire::{HostPort, LinkMessage, Message};

/// One thing to do. Every output names its own target.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect. Answered by [`super::Input::Dialed`] or [`super::Input::DialFailed`].
    Dial {
        /// The machine's number for the dial.
        dial: DialId,
        /// The address or name to connect to.
        to: HostPort,
        /// The key that the other side must prove; any if there is none. Not used in open mode.
        key: Option<PublicKey>,
    },
    /// Queue a message on a connection.
    Send {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: Message,
    },
    /// Queue a message for a neighbor. At the end of the turn the driver packs the messages for one
    /// address into as few datagrams as possible.
    SendTo {
        /// The address of this host that the datagram leaves from; none: the system chooses.
        from: Option<IpAddr>,
        /// The neighbor's address.
        to: SocketAddr,
        /// The neighbor's key, in login mode.
        key: Option<PublicKey>,
        /// The neighbor's boot id, 0 if unknown.
        boot: u64,
        /// The message.
        message: Box<LinkMessage>,
    },
    /// Look up the addresses of a host name. Answered by [`super::Input::Resolved`].
    Resolve {
        /// The machine's number for it.
        id: ResolveId,
        /// The name.
        name: HostPort,
    },
    /// Queue bytes of a shared file right after the CHUNK that announced them; answered by
    /// [`super::Input::PayloadSent`]. The file is the one that [`super::DiskDone::ChunkReady`]
    /// opened for this connection and request.
    SendPayload {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u32,
    },
    /// Receive the raw bytes that follow the CHUNK just delivered on this connection. The driver
    /// decodes no further frame of the connection before it gets this output or Close.
    ReceivePayload {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// Number of bytes.
        length: u32,
        /// Which BLAKE3 value to compute.
        plan: HashPlan,
        /// Which digests to compute.
        verify: Verify,
    },
    /// Free the buffer of a received payload.
    DropPayload {
        /// The buffer.
        payload: PayloadId,
    },
    /// Close the file that [`super::DiskDone::ChunkReady`] opened for this connection and request:
    /// it is not sent.
    DropChunk {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
    },
    /// Accept frames up to this length from now on. A new connection begins with
    /// [`crate::config::FRAME_BYTES_HELLO`].
    FrameCap {
        /// The connection.
        conn: ConnId,
        /// Longest body in bytes.
        bytes: usize,
    },
    /// Read nothing more from a connection, or read again. A machine takes what comes all the same:
    /// only its turns are longer then.
    Hold {
        /// The connection.
        conn: ConnId,
        /// Whether to read nothing more.
        hold: bool,
    },
    /// Write what is queued (within [`crate::config::WRITE_STALL_MAX`]), then close. Answered by
    /// [`super::Input::Closed`].
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Close at once: of what is queued, nothing more is written. Answered by
    /// [`super::Input::Closed`].
    Abort {
        /// The connection.
        conn: ConnId,
    },
    /// Limit the bytes of files that are sent or received from now on.
    Limit(Limit),
    /// Work for the disk.
    Disk(DiskWork),
    /// Save the accounts of a super peer, so that they survive a failure of the host. Answered by
    /// [`super::Input::AccountsSaved`]; the machine sends no other one before that.
    SaveAccounts {
        /// All of them.
        accounts: Box<Accounts>,
    },
    /// News for a client or for the log.
    Event(Box<Event>),
}

// What is frequent is small; each output is moved several times.
const _: () = assert!(size_of::<Output>() <= 136);

/// Which BLAKE3 value of a payload to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashPlan {
    /// The payload is a complete content of at most one piece: its root.
    Content,
    /// The payload is a piece of a longer content: the chaining value of the subtree that begins at
    /// this byte.
    Piece {
        /// Offset of the first byte in the content; a multiple of 1 MiB.
        offset: u64,
    },
}

/// A limit on bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// On what all connections send and receive together.
    All(RateLimits),
    /// On what the connections of one account get together.
    Account {
        /// One of its connections.
        conn: ConnId,
        /// The account, by a number of the machine that is not 0.
        account: u64,
        /// Bytes per second; 0: no limit.
        upload: u64,
    },
}
