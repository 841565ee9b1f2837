//! Addresses and ids in a laboratory, by number.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::SUPER_PORT;
use crate::wire::NodeId;

/// The address at which sessions reach their super peer. It does not matter, because no peer is on
/// the machine of its super peer.
pub(super) const SUPER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1));

pub(super) fn super_addr(number: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0xac10_0001 + u32::try_from(number).expect("at most 2^20 super peers"));
    SocketAddr::new(IpAddr::V4(ip), SUPER_PORT)
}

pub(super) fn super_of(addr: SocketAddr) -> Option<u32> {
    match addr.ip() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(0xac10_0001),
        IpAddr::V6(_) => None,
    }
}

pub(super) fn peer_ip(peer: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(peer).expect("fewer than 2^24 weak peers"))
}

pub(super) fn peer_of(host: &str) -> Option<u32> {
    host.parse::<Ipv4Addr>().ok()?.to_bits().checked_sub(0x0a00_0001)
}

pub(super) fn node_id(class: u8, number: usize) -> NodeId {
    let mut id = [class; 16];
    id[8..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    NodeId(id)
}
