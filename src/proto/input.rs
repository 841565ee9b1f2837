//! What a driver passes to a machine.

use std::net::{IpAddr, SocketAddr};

use super::command::{ClientId, Command};
use super::disk::DiskDone;
use super::ids::{ConnId, DialId, PayloadId, ResolveId};
use super::output::Output;
use super::settings::Settings;
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::ids::Md5;
use crate::wire::{Message, WireError};

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection to our TCP port was accepted.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// The address of the other side; an IPv4 address is never in its mapped form.
        from: SocketAddr,
        /// Our address on this connection. An IPv4 address is never in its mapped form.
        to: IpAddr,
        /// When it was accepted. In login mode the handshake takes place between this time and this
        /// input. The deadline of the login is counted from this time.
        since: Time,
        /// The key that the other side has proved; none in open mode.
        key: Option<PublicKey>,
        /// The wall clock, for the dates of credentials: seconds since the start of 1970.
        unix: u64,
    },
    /// A dial succeeded. In login mode its handshake is complete too.
    Dialed {
        /// The dial.
        dial: DialId,
        /// The new connection.
        conn: ConnId,
        /// Our own addresses.
        own: OwnAddrs,
        /// The key that the other side has proved; none in open mode.
        key: Option<PublicKey>,
        /// The wall clock, as in Accepted.
        unix: u64,
    },
    /// A dial failed: the name was not resolved, no address accepted within
    /// [`crate::config::DIAL_TIMEOUT`], or the handshake failed.
    DialFailed {
        /// The dial.
        dial: DialId,
        /// The reason, for people.
        why: String,
        /// The reason, for the machine.
        cause: DialCause,
    },
    /// A complete, well-formed message.
    Message {
        /// The connection that it came on.
        conn: ConnId,
        /// The message.
        message: Message,
    },
    /// Bytes arrived that are not a message. Nothing more is read from the connection: answer ERROR
    /// and close it.
    Malformed {
        /// The connection that they came on.
        conn: ConnId,
        /// What is wrong.
        error: WireError,
    },
    /// A datagram that is not decoded yet: the machine must check the sender first.
    Datagram {
        /// The sender. An IPv4 address is never in its mapped form. In login mode, this is where
        /// the newest datagram of the sender came from.
        from: SocketAddr,
        /// The address of this host that it was sent to, if the socket listens at several.
        to: Option<IpAddr>,
        /// The key that the sender has proven; none in open mode.
        key: Option<PublicKey>,
        /// The datagram, in the envelope of open mode.
        bytes: &'a [u8],
    },
    /// A super peer sends a greeting and gets no answer, for a reason that the envelope of its
    /// datagram shows. This is only a hint: the address may be forged.
    Unanswered {
        /// The address.
        from: SocketAddr,
        /// The reason.
        why: Unanswered,
    },
    /// The system says that a datagram did not reach its destination. This is only a hint: the
    /// network can forge it, and most losses are silent.
    Undelivered {
        /// The destination of [`Output::SendTo`].
        to: SocketAddr,
        /// The reason.
        why: Undelivered,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// The number that the machine gave.
        id: ResolveId,
        /// At least one address and at most [`crate::config::DIAL_ADDRESSES_MAX`], in the order of
        /// the resolver. An IPv4 address is never in its mapped form. The error is the reason, for
        /// people.
        result: Result<Vec<SocketAddr>, String>,
    },
    /// More bytes of a payload arrived. This input comes at most once per connection and turn. It
    /// comes once more for each complete payload, before the payload is hashed.
    PayloadProgress {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// Bytes received so far.
        received: u32,
    },
    /// A payload is complete and hashed.
    PayloadReceived {
        /// The connection; it may be closed by now.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The buffer. The machine must answer with [`super::DiskWork::WritePiece`] or
        /// [`Output::DropPayload`].
        payload: PayloadId,
        /// The digests of the bytes.
        digests: Digests,
    },
    /// The kernel has taken all bytes of an [`Output::SendPayload`].
    PayloadSent {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
    },
    /// The other side does not read: after an attempt to write the send queue, more than
    /// [`crate::config::BACKLOG_BYTES`] are still in it. Until Drained, nothing more is read from
    /// the connection, and the machine should delay all work for it that can wait.
    Backlogged {
        /// The connection.
        conn: ConnId,
    },
    /// The send queue of a connection that was Backlogged is short again.
    Drained {
        /// The connection.
        conn: ConnId,
    },
    /// Descriptors are short: close this many connections that do nothing, if there are any. Even
    /// the connection that was accepted last may be too much.
    Crowded {
        /// Connections above the limit.
        excess: usize,
    },
    /// The connection is gone. Its id is never used again.
    Closed {
        /// The connection.
        conn: ConnId,
        /// The reason.
        why: CloseReason,
    },
    /// Memory is short from now on, or is no longer short. It is short while more than
    /// [`crate::config::MEMORY_SHORT_PERCENT`] of the budget are in use.
    Memory {
        /// Whether it is short.
        short: bool,
    },
    /// The disk reports a result or a change of the share.
    Disk(DiskDone),
    /// The answer to [`Output::SaveAccounts`]: whether they are saved, or the reason, for people.
    AccountsSaved {
        /// The result.
        result: Result<(), String>,
    },
    /// A client (prompt, one-shot command, control socket) sent a command.
    Command {
        /// The command's number. Every answer is an [`super::Event::Client`] with this number. The
        /// last answer is a `done`.
        client: ClientId,
        /// The command.
        command: Command,
    },
    /// A client is gone, and its command is dropped. Downloads that the prompt has started
    /// continue.
    ClientGone {
        /// The command's number.
        client: ClientId,
    },
    /// The daemon has read its options again.
    Settings(Settings),
    /// The process was asked to end: send BYE everywhere and close.
    Shutdown,
}

impl Input<'_> {
    /// What must still be done for an input that comes after the machine has ended, so that neither
    /// a connection nor a buffer leaks.
    #[must_use]
    pub fn given_back(&self) -> Option<Output> {
        match self {
            Input::Accepted { conn, .. } | Input::Dialed { conn, .. } => Some(Output::Close { conn: *conn }),
            Input::PayloadReceived { payload, .. } => Some(Output::DropPayload { payload: *payload }),
            Input::DialFailed { .. }
            | Input::Message { .. }
            | Input::Malformed { .. }
            | Input::Datagram { .. }
            | Input::Unanswered { .. }
            | Input::Undelivered { .. }
            | Input::Resolved { .. }
            | Input::PayloadProgress { .. }
            | Input::PayloadSent { .. }
            | Input::Backlogged { .. }
            | Input::Drained { .. }
            | Input::Crowded { .. }
            | Input::Memory { .. }
            | Input::Closed { .. }
            | Input::Disk(_)
            | Input::AccountsSaved { .. }
            | Input::Command { .. }
            | Input::ClientGone { .. }
            | Input::Settings(_)
            | Input::Shutdown => None,
        }
    }
}

/// Addresses of this host that matter for a connection that it has dialed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnAddrs {
    /// The local address of the connection, never in its mapped form; none if it is not known.
    pub here: Option<IpAddr>,
    /// An address of the other IP version that other hosts may dial, if there is one.
    pub other: Option<IpAddr>,
}

/// The causes of a failed dial that machines distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialCause {
    /// The name has no address, or no address accepted a connection in time.
    Unreachable,
    /// This node has no descriptor or no room for one more dial. This says nothing about the other
    /// side.
    NoRoom,
    /// The other side proved another key than the expected one.
    WrongKey {
        /// The key that [`Output::Dial`] named.
        expected: PublicKey,
        /// The key that the other side has.
        found: PublicKey,
    },
    /// We use TLS and the other side does not: it is a node in open mode, or another program.
    OtherMode,
    /// The TLS handshake failed in another way, or took too long.
    Handshake,
}

/// The digests of a received payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of the bytes; none if [`super::Verify`] did not ask for it.
    pub md5: Option<Md5>,
    /// The root or chaining value, as the [`super::HashPlan`] says; none if [`super::Verify`] did
    /// not ask for it.
    pub blake3: Option<[u8; 32]>,
}

/// Why a greeting of a super peer gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The sender is in open mode, and this super peer is in login mode.
    Open,
    /// The sender is in login mode, and this super peer is in open mode.
    Login,
    /// Its datagrams are for another key than that of this super peer.
    OtherKey,
    /// The sender has this key, which is not the key of a neighbor.
    Stranger(PublicKey),
    /// The sender has the key of a neighbor, but its counter is not greater than the last one.
    /// Either its state folder is an old copy, or somebody repeats one of its earlier datagrams.
    Counter(PublicKey),
}

/// Why a datagram did not reach its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// The host answers, but nothing listens at the port (ICMP port unreachable).
    Refused,
    /// Any other error, in the words of the system, such as no route, another IP version, or no
    /// permission.
    Failed(String),
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed it.
    Remote,
    /// It was reset, or its socket failed in another way.
    Failed,
    /// The other side let our send queue become full, or read nothing for too long.
    SlowConsumer,
    /// The other side began a frame and did not finish it in time.
    SlowFrame,
    /// It had not logged in, and newer connections needed its place.
    Crowded,
    /// This host has lost the address that it used.
    AddressGone,
    /// The machine closed it with [`Output::Close`].
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
            CloseReason::Crowded => "crowded",
            CloseReason::AddressGone => "address_gone",
            CloseReason::Asked => "asked",
        }
    }
}
