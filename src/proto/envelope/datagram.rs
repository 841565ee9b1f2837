//! The input and output types of the envelopes.

use std::net::{IpAddr, SocketAddr};

use crate::proto::Unanswered;
use crate::trust::PublicKey;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The address of this host to send it from; none: the system chooses.
    pub from: Option<IpAddr>,
    /// Its destination.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// A datagram that passed every check of its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The key that its sender has proven; none in open mode.
    pub key: Option<PublicKey>,
    /// Where the newest datagram of its sender came from. Usually this is the newest one.
    pub from: SocketAddr,
    /// The address of this host that it was sent to.
    pub to: Option<IpAddr>,
    /// The length of its opened form, see [`super::Envelopes::opened`]; none: it needs no opening.
    pub opened: Option<usize>,
}

/// A super peer sends a greeting and gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The address, which may be forged.
    pub from: SocketAddr,
    /// The reason.
    pub why: Unanswered,
}
