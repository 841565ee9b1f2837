//! How a source is reached: its addresses, and what hits say about them. Strangers claim all of
//! this. It dials nothing.

use std::net::IpAddr;

use crate::wire::message::SourceRecord;
use crate::wire::swarm::Member;
use crate::wire::{HostPort, NodeId};

/// Identifies a peer at any of its addresses: its node, and the port at which it serves. The node
/// alone is not enough, because it is only claimed, and copies of a machine may share a node id.
pub(super) type Peer = (NodeId, u16);

/// One source, as a hit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    /// The address that is dialed first, in its canonical form.
    pub(super) addr: HostPort,
    /// Its second address, of the other IP version.
    pub(super) other: Option<HostPort>,
    /// The node at these addresses; none if hits do not name one, or contradict each other.
    pub(super) node: Option<NodeId>,
    /// Whether its super peer could not dial it.
    pub(super) unreached: bool,
}

impl From<HostPort> for Contact {
    fn from(addr: HostPort) -> Contact {
        Contact { addr, other: None, node: None, unreached: false }
    }
}

impl From<&SourceRecord> for Contact {
    fn from(record: &SourceRecord) -> Contact {
        let SourceRecord { node, addr, other, unreached, .. } = record;
        Contact { addr: addr.clone(), other: other.clone(), node: *node, unreached: *unreached }
    }
}

/// The size that a hit claims. None for a member of a swarm: its size is only what the first member
/// of the swarm assumed.
pub(super) fn claim_of(record: &SourceRecord) -> Option<u64> {
    record.member.is_none().then_some(record.size)
}

/// A member of a swarm, as a super peer names it. This peer reaches that super peer from `here`.
/// None if the member has no address that may be dialed.
pub(super) fn of_member(member: &Member, here: Option<IpAddr>) -> Option<Contact> {
    let Member { node, addr, other, unreached, .. } = member;
    let addrs = [Some(addr), other.as_ref()].into_iter().flatten().map(HostPort::canonical);
    let mut addrs = addrs.filter(|addr| may_dial(addr, here));
    let addr = addrs.next()?;
    let other = addrs.next().filter(|other| *other != addr);
    Some(Contact { addr, other, node: *node, unreached: *unreached })
}

/// Whether an address that a super peer names may be dialed. This peer reaches the super peer from
/// `here`.
pub(super) fn may_dial(addr: &HostPort, here: Option<IpAddr>) -> bool {
    addr.is_dialable() && is_near_enough(addr, here)
}

/// Whether a super peer can know that others can dial this address. This peer reaches that super
/// peer from `here`. A loopback address counts only if the super peer is on this machine, and a
/// link-local address only if it is on the same link. A name may lead anywhere.
fn is_near_enough(addr: &HostPort, here: Option<IpAddr>) -> bool {
    let (Some(target), Some(here)) = (addr.literal().map(|addr| addr.ip()), here) else { return true };
    (!target.is_loopback() || here.is_loopback())
        && (!is_link_local(target) || is_link_local(here) || here.is_loopback())
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

impl Contact {
    /// The identity of the peer, if hits name its node.
    pub(super) fn peer(&self) -> Option<Peer> {
        Some((self.node?, self.addr.port()))
    }

    /// Whether two hits name the same addresses: either the same first address, or the same two
    /// addresses. It is not enough if the second address of one hit is the first of the other: a
    /// hit could then keep another source out.
    pub(super) fn is_same(&self, other: &Contact) -> bool {
        self.addr == other.addr
            || (self.other.as_ref() == Some(&other.addr) && other.other.as_ref() == Some(&self.addr))
    }

    /// Adds what another hit with the same addresses says. A false hit can neither remove an
    /// address of the source nor make it the last. Returns an address for which there was no room.
    pub(super) fn merge(&mut self, hit: Contact) -> Option<HostPort> {
        self.unreached &= hit.unreached;
        if self.node != hit.node {
            self.node = None;
        }
        let more = hit.other.filter(|more| *more != self.addr)?;
        let known = self.other.get_or_insert_with(|| more.clone());
        (*known != more).then_some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(addr: &str, other: Option<&str>, node: u8, unreached: bool) -> Contact {
        let parse = |addr: &str| addr.parse().unwrap();
        Contact { addr: parse(addr), other: other.map(parse), node: Some(NodeId([node; 16])), unreached }
    }

    #[test]
    fn a_source_with_two_addresses_is_one_in_either_order() {
        let one = contact("192.0.2.1:1", Some("[2001:db8::1]:1"), 1, false);
        assert!(one.is_same(&contact("[2001:db8::1]:1", Some("192.0.2.1:1"), 1, false)));
        assert!(one.is_same(&contact("192.0.2.1:1", None, 1, false)));
        let thief = contact("192.0.2.9:1", Some("192.0.2.1:1"), 1, false);
        assert!(!thief.is_same(&one) && !one.is_same(&thief));
    }

    #[test]
    fn members_at_addresses_that_only_their_own_machine_knows_are_not_dialed() {
        let member = |addr: &str, other: Option<&str>| Member {
            node: None,
            addr: addr.parse().unwrap(),
            other: other.map(|other| other.parse().unwrap()),
            full: true,
            out: false,
            unreached: false,
        };
        let dialed = |member: &Member, here: &str| {
            let contact = of_member(member, here.parse().ok())?;
            Some((contact.addr.to_string(), contact.other.map(|other| other.to_string())))
        };
        let own = member("127.0.0.1:1", None);
        assert_eq!(dialed(&own, "192.0.2.1"), None);
        assert_eq!(dialed(&own, "127.0.0.1"), Some(("127.0.0.1:1".to_owned(), None)));
        assert_eq!(dialed(&member("169.254.1.1:1", Some("0.0.0.0:1")), "192.0.2.1"), None);
        let two = member("[::1]:1", Some("192.0.2.9:1"));
        assert_eq!(dialed(&two, "192.0.2.1"), Some(("192.0.2.9:1".to_owned(), None)));
    }

    #[test]
    fn a_false_hit_takes_nothing_away() {
        let mut one = contact("192.0.2.1:1", Some("[2001:db8::1]:1"), 1, false);
        assert_eq!(one.merge(contact("192.0.2.1:1", None, 1, true)), None);
        assert!(!one.unreached && one.node.is_some());
        let lost = one.merge(contact("192.0.2.1:1", Some("[2001:db8::9]:1"), 2, true));
        assert_eq!(lost, Some("[2001:db8::9]:1".parse().unwrap()), "it is a candidate of its own");
        assert_eq!((one.node, one.unreached), (None, false));
        let mut poor = contact("192.0.2.1:1", None, 1, true);
        assert_eq!(poor.merge(one.clone()), None);
        assert_eq!(poor.other, one.other);
    }
}
