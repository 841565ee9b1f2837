//! How a source is reached: its addresses and what hits say of them. All of it is a claim of
//! strangers. It dials nothing.

use crate::wire::message::SourceRecord;
use crate::wire::swarm::Member;
use crate::wire::{HostPort, NodeId};

/// One peer, however its addresses are written: its node, and the port at which it serves. The node
/// alone is not enough: it is only claimed, and copies of a machine may share it.
pub(super) type Peer = (NodeId, u16);

/// One source, as a hit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    /// Where it is dialed first, in its canonical form.
    pub(super) addr: HostPort,
    /// Where else, in another family.
    pub(super) other: Option<HostPort>,
    /// Whose addresses these are; none if hits do not say, or contradict each other.
    pub(super) node: Option<NodeId>,
    /// Its super peer has not reached it.
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

/// A member of a swarm, as a super peer names it.
pub(super) fn of_member(member: &Member) -> Contact {
    let Member { node, addr, other, unreached, .. } = member;
    let other = other.as_ref().map(HostPort::canonical).filter(HostPort::is_dialable);
    Contact { addr: addr.canonical(), other, node: *node, unreached: *unreached }
}

impl Contact {
    /// Which peer it is, if hits say so.
    pub(super) fn peer(&self) -> Option<Peer> {
        Some((self.node?, self.addr.port()))
    }

    /// Whether two hits name the same addresses: the same first one, or the same two. A hit that
    /// names the first address of another source as its second one is not the same: it could keep
    /// that source out.
    pub(super) fn is_same(&self, other: &Contact) -> bool {
        self.addr == other.addr
            || (self.other.as_ref() == Some(&other.addr) && other.other.as_ref() == Some(&self.addr))
    }

    /// Takes what another hit of the same addresses says. A false hit can neither take a way to the
    /// source away nor put it last. Returns an address that finds no place.
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
