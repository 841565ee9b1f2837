//! Sockets, and nothing but sockets: mio lives only here.
//!
//! [`Net`] owns the poll, the listener, the UDP socket, every connection, the control socket and the signals. It turns what
//! they do into [`Arrival`]s, one at a time and on demand, and performs what it is told to. It never knows what a message
//! means, never opens a file and never reads the clock: the loop tells it the time once per turn.
//!
//! A turn, as `node` drives it: [`Net::poll`], [`Net::begin_turn`], [`Net::next`] until it is empty (performing outputs in
//! between), [`Net::expire`], [`Net::flush`], [`Net::end_turn`].
//!
//! - mio is edge-triggered. Readiness is latched per socket and cleared on `WouldBlock` (reading on Linux: also when a read
//!   empties the socket, which spares a third of a query's system calls); every connection has a budget
//!   of bytes per turn, and one that stops on its budget goes to the back of the run queue, which makes the poll not wait.
//! - Ids carry a generation and slots are freed at the end of a turn only: an event or an output for what was closed earlier in
//!   the turn finds a dead slot, one for what was closed before finds none; both are counted and do nothing.
//! - Every queue has a cap in `config` and one reaction: a send queue that fills up closes its connection, requests of a
//!   connection that does not read its answers stay unread, datagrams that the kernel does not take are dropped.

mod accepting;
mod buffers;
mod clients;
mod connection;
mod control;
mod deadlines;
mod dialing;
mod listener;
mod opening;
mod outbound;
mod reactor;
mod resolver;
mod send_queue;
mod sendfile;
mod signals;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod udp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::proto::{CloseReason, ConnId, DialId, HashPlan, Verify};
use crate::wire::{Message, WireError};

pub use reactor::Net;

/// Which sockets are to be opened.
#[derive(Clone, Debug, Default)]
pub struct NetOptions {
    /// TCP listener; port 0 for any.
    pub listen: Option<SocketAddr>,
    /// UDP on the same port number as the listener.
    pub datagrams: bool,
    /// Unix socket for clients on this machine.
    pub control: Option<PathBuf>,
    /// Addresses of this host that dials come from, one after the other; the system chooses if there is none.
    pub sources: Vec<IpAddr>,
}

/// Wakes the loop from another thread.
#[derive(Clone)]
pub struct Alarm(Arc<mio::Waker>);

impl Alarm {
    /// Makes the poll return, now or when it is called next.
    pub fn ring(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("cannot wake the loop: {error}");
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

/// A client on the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlId(ConnId);

/// Something that happened on a socket.
#[derive(Debug)]
pub enum Arrival {
    /// Somebody connected to the listener.
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
    /// A dial failed.
    DialFailed {
        /// Which.
        dial: DialId,
        /// For people.
        why: String,
    },
    /// A whole message.
    Message {
        /// From where.
        conn: ConnId,
        /// What.
        message: Message,
    },
    /// Bytes that are no message; the connection is read no further.
    Malformed {
        /// From where.
        conn: ConnId,
        /// What is wrong.
        error: WireError,
    },
    /// A datagram; its bytes are [`Net::datagram`] until the next arrival is taken.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// How long it is.
        length: usize,
    },
    /// More bytes of a chunk are here.
    PayloadProgress {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// Bytes so far.
        received: u32,
    },
    /// A chunk is whole and waits to be hashed; once it is done with, [`Net::release`] must be told.
    Payload {
        /// From where.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The chunk.
        bytes: Vec<u8>,
        /// How to hash it.
        plan: HashPlan,
        /// Which digests are wanted.
        verify: Verify,
    },
    /// All bytes of a file extent are in the kernel's hands.
    PayloadSent {
        /// To where.
        conn: ConnId,
        /// The request.
        req: u32,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// A line on the control socket; it must be answered by exactly one line that is marked as its last.
    ControlLine {
        /// Who wrote it.
        client: ControlId,
        /// The line, or why it is none.
        line: Result<String, &'static str>,
    },
    /// A client of the control socket is gone; its commands are of no use any more.
    ControlGone {
        /// Who.
        client: ControlId,
    },
    /// The process was sent a signal.
    Signal(i32),
}

/// What the sockets did in the process's life, by name; nothing here ever goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because descriptors were short.
    pub refused: u64,
    /// Times that accepting stalled because descriptors were short.
    pub accept_stalls: u64,
    /// Connections that were gone before they were accepted, and other errors of accepting.
    pub accept_errors: u64,
    /// Connections dialled with success.
    pub dialed: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages queued.
    pub messages_out: u64,
    /// Connections on which bytes came that are no message.
    pub malformed: u64,
    /// Events and outputs that named what is not there any more.
    pub stale_ids: u64,
    /// Connections closed because they did not read.
    pub slow_consumers: u64,
    /// Connections closed because a frame did not get whole in time.
    pub slow_frames: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that the kernel did not take.
    pub datagrams_dropped: u64,
    /// Errors of receiving datagrams.
    pub datagram_errors: u64,
    /// Clients of the control socket.
    pub control_clients: u64,
    /// Clients of the control socket that were closed because there are too many or they did not read.
    pub control_refused: u64,
}

impl Counters {
    /// All of them under the names by which STATUS tells them.
    pub fn named(&self) -> impl Iterator<Item = (String, u64)> {
        let Counters {
            turns,
            accepted,
            refused,
            accept_stalls,
            accept_errors,
            dialed,
            dials_failed,
            messages_in,
            messages_out,
            malformed,
            stale_ids,
            slow_consumers,
            slow_frames,
            datagrams_in,
            datagrams_out,
            datagrams_dropped,
            datagram_errors,
            control_clients,
            control_refused,
        } = *self;
        [
            ("net_turns", turns),
            ("net_accepted", accepted),
            ("net_refused", refused),
            ("net_accept_stalls", accept_stalls),
            ("net_accept_errors", accept_errors),
            ("net_dialed", dialed),
            ("net_dials_failed", dials_failed),
            ("net_messages_in", messages_in),
            ("net_messages_out", messages_out),
            ("net_malformed", malformed),
            ("net_stale_ids", stale_ids),
            ("net_slow_consumers", slow_consumers),
            ("net_slow_frames", slow_frames),
            ("net_datagrams_in", datagrams_in),
            ("net_datagrams_out", datagrams_out),
            ("net_datagrams_dropped", datagrams_dropped),
            ("net_datagram_errors", datagram_errors),
            ("net_control_clients", control_clients),
            ("net_control_refused", control_refused),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
    }
}
