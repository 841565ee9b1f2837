//! The addresses of this host that others may dial, as the system lists them. The list is kept for
//! a short time, because dials come in bursts. It opens no socket.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use crate::config::DIAL_ADDRESSES_MAX;
use crate::proto::OwnAddrs;
use crate::time::Time;

/// How long the list is used.
const KEPT: Duration = Duration::from_secs(1);
/// Flags in `/proc/net/if_inet6` of an IPv6 address that should not be given to others: temporary,
/// duplicate, deprecated or tentative (linux/if_addr.h).
const UNSTEADY: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// The list, if it was read lately.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    read_at: Option<Time>,
    found: Vec<(String, IpAddr)>,
}

impl Interfaces {
    /// A link-local address of another host, once for each interface of this host that has a
    /// link-local address. It is not known which of these interfaces leads to the other host.
    pub(super) fn on_each(&mut self, now: Time, ip: Ipv6Addr, port: u16) -> Vec<SocketAddr> {
        let is_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let names: BTreeSet<&str> =
            self.found(now).iter().filter(|(_, ip)| is_local(ip)).map(|(name, _)| name.as_str()).collect();
        let on = |name: &str| Some(SocketAddrV6::new(ip, port, 0, if_nametoindex(name).ok()?).into());
        names.into_iter().filter_map(on).take(DIAL_ADDRESSES_MAX).collect()
    }

    fn found(&mut self, now: Time) -> &[(String, IpAddr)] {
        if self.read_at.is_none_or(|at| now.since(at) > KEPT) {
            (self.read_at, self.found) = (Some(now), read());
        }
        &self.found
    }

    /// The addresses of this host for a connection whose local address is `here`.
    pub(super) fn of(&mut self, now: Time, here: IpAddr) -> OwnAddrs {
        self.found(now);
        let here = here.to_canonical();
        OwnAddrs { here: Some(here), other: other(&self.found, here) }
    }
}

/// The best address of the other IP version. An address of the same interface comes first, and a
/// global address comes before one of a site.
fn other(found: &[(String, IpAddr)], here: IpAddr) -> Option<IpAddr> {
    let at = found.iter().find(|(_, ip)| *ip == here).map(|(name, _)| name);
    let others = found.iter().filter(|(_, ip)| ip.is_ipv4() != here.is_ipv4());
    let ranked = others.filter_map(|(name, ip)| Some(((Some(name) != at, rank(*ip)?), *ip)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}

/// How far an address reaches; 0 is the farthest. None if no other host can dial it.
fn rank(ip: IpAddr) -> Option<u8> {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => None,
        IpAddr::V4(ip) => Some(u8::from(ip.is_link_local())),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => None,
        // This address is useless without the interface of the other host.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
        IpAddr::V6(ip) => Some(u8::from(ip.is_unique_local())),
    }
}

fn read() -> Vec<(String, IpAddr)> {
    let all = match getifaddrs() {
        Ok(all) => all,
        Err(error) => {
            log::debug!("the addresses of this host cannot be read: {error}");
            return Vec::new();
        }
    };
    let unsteady = std::fs::read_to_string("/proc/net/if_inet6").map(|text| unsteady(&text)).unwrap_or_default();
    let mut found = Vec::new();
    for interface in all.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP)) {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| address.ip()).filter(|ip| !unsteady.contains(ip));
        found.extend(v4.or(v6.map(IpAddr::V6)).map(|ip| (interface.interface_name, ip)));
    }
    found
}

/// The IPv6 addresses that will soon change. Each line has 32 hex digits, index, length, scope,
/// flags and name.
fn unsteady(text: &str) -> BTreeSet<Ipv6Addr> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ip = u128::from_str_radix(fields.first()?, 16).ok()?;
        let flags = u32::from_str_radix(fields.get(4)?, 16).ok()?;
        (flags & UNSTEADY != 0).then(|| Ipv6Addr::from(ip))
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addrs: &[(&str, &str)]) -> Vec<(String, IpAddr)> {
        addrs.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().unwrap())).collect()
    }

    #[test]
    fn the_other_address_is_of_the_same_interface_and_reaches_far() {
        let all = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("wlan0", "2001:db8:1::2"),
            ("eth0", "192.0.2.1"),
            ("eth0", "fe80::1"),
            ("eth0", "fd00::1"),
            ("eth0", "2001:db8::1"),
        ];
        let find = |here: &str| other(&host(&all), here.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(find("192.0.2.1").as_deref(), Some("2001:db8::1"));
        assert_eq!(find("2001:db8:1::2").as_deref(), Some("192.0.2.1"), "the interface has none");
        assert_eq!(find("127.0.0.1").as_deref(), Some("2001:db8:1::2"));
        assert_eq!(find("::1").as_deref(), Some("192.0.2.1"));
        let poor = host(&[("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "fe80::1"), ("eth0", "192.0.2.1")]);
        assert_eq!(other(&poor, "192.0.2.1".parse().unwrap()), None, "a link-local address needs an interface");
    }

    #[test]
    fn addresses_that_change_soon_are_left_out() {
        let text = "20010db8000000000000000000000001 02 40 00 80     eth0\n\
                    20010db8000000000000000000000002 02 40 00 01     eth0\n\
                    00000000000000000000000000000001 01 80 10 80       lo\nnonsense\n";
        assert_eq!(unsteady(text), BTreeSet::from(["2001:db8::2".parse().unwrap()]));
    }
}
