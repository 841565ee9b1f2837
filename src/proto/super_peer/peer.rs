//! The peer of a session, with what is needed to dial it back.

use std::net::IpAddr;

use super::index::HolderId;
use crate::wire::NodeId;

/// A session whose peer can be dialed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The address under which the super peer sees it.
    pub(super) ip: IpAddr,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) holder: HolderId,
    /// Whether it accepts REACH.
    pub(super) reports: bool,
}
