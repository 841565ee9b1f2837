//! What the sockets report to the loop.

use std::net::IpAddr;

use crate::http::{Request, Surface};
use crate::proto::envelope::Taken;
use crate::proto::{ConnId, HashPlan, Input, Verify};

/// A client of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlId(pub(super) ConnId);

/// Something that happened on a socket.
#[derive(Debug)]
pub enum Arrival {
    /// An input that the machine gets as it is.
    Input(Input<'static>),
    /// A datagram that passed the checks of its envelope. Its bytes are [`super::Net::datagram`]
    /// until the next arrival is taken.
    Datagram(Taken),
    /// A chunk is complete but not hashed yet. Once it is written or dropped,
    /// [`super::Net::release`] must be called.
    Payload {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The chunk.
        bytes: Vec<u8>,
        /// Which BLAKE3 value to compute.
        plan: HashPlan,
        /// Which digests to compute.
        verify: Verify,
    },
    /// A line on the control socket. It must be answered by lines; exactly one of them is marked as
    /// the last.
    ControlLine {
        /// The client that wrote it.
        client: ControlId,
        /// The line, or the reason why it is not valid.
        line: Result<String, &'static str>,
    },
    /// A client of the control socket is gone; its commands can be dropped.
    ControlGone {
        /// The client.
        client: ControlId,
    },
    /// A connection of the listener speaks HTTP. The machine hears that it has ended.
    HttpBegun {
        /// The connection.
        conn: ConnId,
    },
    /// A request of HTTP. It must be answered before the next request of its connection comes.
    Http {
        /// The connection.
        conn: ConnId,
        /// What is served on this connection.
        surface: Surface,
        /// The address that it comes from. An IPv4 address is never in its mapped form.
        from: IpAddr,
        /// The request.
        request: Box<Request>,
    },
    /// The kernel has taken the bytes of a chunk of an answer of HTTP.
    HttpSent {
        /// The connection.
        conn: ConnId,
        /// The number of the chunk.
        req: u32,
    },
    /// A client sends no more, although its request is not answered yet. Most often the client has
    /// left.
    HttpLeft {
        /// The connection.
        conn: ConnId,
    },
    /// A connection that speaks HTTP is gone.
    HttpGone {
        /// The connection.
        conn: ConnId,
    },
    /// The process received a signal.
    Signal(i32),
}

impl Arrival {
    /// Whether it is a new connection or a request of HTTP.
    pub(crate) fn is_of_stranger(&self) -> bool {
        matches!(self, Arrival::Http { .. } | Arrival::HttpBegun { .. } | Arrival::Input(Input::Accepted { .. }))
    }
}
