//! What a session reports to the rest of the peer.

use crate::error::Failure;
use crate::wire::message::{self, ErrorCode};
use crate::wire::swarm::Peers;

/// Something that happened on a session and concerns other parts of the peer.
#[derive(Debug)]
pub(in crate::proto::weak_peer) enum SessionEvent {
    /// READY came: requests may be sent.
    Up,
    /// The session is lost. The answers to its requests are lost too.
    Down,
    Hit(message::Hit),
    Done(message::Done),
    Files(message::Files),
    Info(message::Info),
    Peers(Peers),
    /// Every super peer rejects the login. The session dials again later.
    Rejected,
    /// No session will open. The process ends with this failure.
    Never(Failure),
    /// The request of this number failed.
    Error(u32, ErrorCode, String),
}
