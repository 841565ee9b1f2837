//! What the envelopes take and give. It does nothing.

use std::net::{IpAddr, SocketAddr};

use crate::proto::Unanswered;
use crate::trust::PublicKey;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The address of this host that it leaves from; none: the system chooses.
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
    /// Where the newest datagram of its sender came from: usually this one.
    pub from: SocketAddr,
    /// The address of this host that it came to.
    pub to: Option<IpAddr>,
    /// How many bytes of [`super::Envelopes::opened`] it is; none: it is as it came.
    pub opened: Option<usize>,
}

/// Somebody greets this super peer and gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The address, which may be forged.
    pub from: SocketAddr,
    /// The reason.
    pub why: Unanswered,
}
