//! What an index keeps of each holder: where it serves, and which files it has. It knows no
//! entries.

use std::net::{IpAddr, SocketAddr};

use super::table::FileSet;
use crate::wire::{HostPort, NodeId};

/// A session that registers files: a slot given by [`Index::add_holder`](super::Index::add_holder).
/// After [`Index::remove_holder`](super::Index::remove_holder) the slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub u32);

/// Where a holder serves chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serves {
    /// The address that hits name.
    pub addr: HostPort,
    /// An address of the other IP version, if the holder serves there too.
    pub other: Option<HostPort>,
    /// Whether `addr` is the address from which the super peer sees the holder, and not one that
    /// the holder named.
    pub seen: bool,
    /// Whether the holder serves HTTP there too.
    pub http: bool,
    /// If `addr` is a loopback address: whether it is one of IPv4. It is computed once, not for
    /// each hit.
    loopback: Option<bool>,
}

impl From<HostPort> for Serves {
    fn from(addr: HostPort) -> Serves {
        Serves::new(addr, None, false, false)
    }
}

/// Where one asker finds a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address that its hits name.
    pub addr: HostPort,
    /// The address of the other IP version.
    pub other: Option<HostPort>,
    /// Whether the asker cannot reach the holder at `addr`.
    pub out_of_reach: bool,
}

impl Serves {
    /// A value with these fields, in their order.
    #[must_use]
    pub fn new(addr: HostPort, other: Option<HostPort>, seen: bool, http: bool) -> Serves {
        let loopback = addr.literal().filter(|literal| literal.ip().is_loopback()).map(|literal| literal.is_ipv4());
        Serves { addr, other, seen, http, loopback }
    }

    /// The addresses for an asker that reaches this super peer at `at`; none if that is not known.
    /// This super peer sees a holder on its own machine under a loopback address. Other askers find
    /// such a holder where they find the super peer, if the holder listens at addresses of that IP
    /// version.
    #[must_use]
    #[inline(always)]
    pub fn found_from(&self, at: Option<IpAddr>) -> Found {
        match self.loopback {
            None => Found { addr: self.addr.clone(), other: self.other.clone(), out_of_reach: false },
            Some(is_ipv4) => self.found_here(is_ipv4, at),
        }
    }

    /// The same if this super peer sees the holder under a loopback address.
    fn found_here(&self, is_ipv4: bool, at: Option<IpAddr>) -> Found {
        let (addr, other) = (self.addr.clone(), self.other.clone());
        if at.is_some_and(|at| at.is_loopback()) {
            return Found { addr, other, out_of_reach: false };
        }
        let is_v4 = |ip: &IpAddr| ip.is_ipv4() == is_ipv4;
        let at = at.filter(|at| self.seen && !is_link_local(*at) && (is_v4(at) || other.is_some()));
        match (at, other) {
            (Some(at), other) => {
                let other = other.filter(|_| is_v4(&at));
                Found { addr: SocketAddr::new(at, addr.port()).into(), other, out_of_reach: false }
            }
            (None, Some(other)) => Found { addr: other, other: None, out_of_reach: false },
            (None, None) => Found { addr, other: None, out_of_reach: true },
        }
    }
}

/// Whether an address has a meaning only with the interface of the asker.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[derive(Debug)]
pub(super) struct Holder {
    pub(super) serves: Serves,
    /// Whether this super peer dialed it there and did not reach it.
    pub(super) unreached: bool,
    pub(super) node: NodeId,
    /// In login mode: its account.
    pub(super) user: Option<Box<str>>,
    pub(super) files: FileSet,
}

/// A holder that is gone. If it was the only holder of an entry, another holder may have replaced
/// it there.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) holder: HolderId,
    pub(super) files: FileSet,
    /// The entries of one shard; the next one is the last in the list.
    pub(super) ids: Vec<u32>,
}
