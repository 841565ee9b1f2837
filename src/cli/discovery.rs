//! Super peers in the local network. They are found by DNS-based service discovery over multicast
//! DNS (RFC 6763, RFC 6762).
//!
//! A super peer is found only if it was started with `--announce`. A peer searches only before it
//! starts, and only without `--super`. Every answer is used and none is checked, because anybody
//! may take part in an open network.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::config::{DISCOVERED_MAX, DISCOVERY_GRACE, SUPER_PORT};
use crate::error::{Exit, Failure};
use crate::wire::{HostPort, NodeId};

/// The service type (RFC 6763 §7).
const SERVICE: &str = "_sprat._tcp.local.";
/// How often, in seconds, an announcing super peer looks for new addresses of its host.
const ADDRESSES_EVERY: u32 = 60;
/// How long the withdrawal of the announcement may take at the end.
const WITHDRAWAL: Duration = Duration::from_millis(500);

/// The announcement of a super peer. It lasts until this is dropped. A thread of the library
/// answers queries.
pub(crate) struct Announced {
    daemon: ServiceDaemon,
    name: String,
}

impl Announced {
    /// Announces the super peer that listens at this address. If it listens at all addresses of its
    /// host, each of them is announced.
    ///
    /// # Errors
    /// Exit 1 if the host cannot receive multicast DNS.
    pub(crate) fn new(node: NodeId, listen: SocketAddr) -> Result<Announced, Failure> {
        let failed = |error: mdns_sd::Error| {
            Failure::new(
                Exit::Internal,
                format!("cannot announce this super peer: {error}; start it without --announce"),
            )
        };
        let daemon = ServiceDaemon::new().map_err(failed)?;
        daemon.set_ip_check_interval(ADDRESSES_EVERY).map_err(failed)?;
        let (instance, host) = (node.to_string(), format!("{node}.local."));
        let ip = listen.ip().to_canonical();
        let addrs = if ip.is_unspecified() { String::new() } else { ip.to_string() };
        let no_properties: &[(&str, &str)] = &[];
        let info = ServiceInfo::new(SERVICE, &instance, &host, addrs.as_str(), listen.port(), no_properties);
        let info = info.map_err(failed)?;
        let info = if ip.is_unspecified() { info.enable_addr_auto() } else { info };
        let name = info.get_fullname().to_owned();
        daemon.register(info).map_err(failed)?;
        Ok(Announced { daemon, name })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Ok(withdrawn) = self.daemon.unregister(&self.name) {
            let _ = withdrawn.recv_timeout(WITHDRAWAL);
        }
        let _ = self.daemon.shutdown();
    }
}

/// Super peers that announce themselves: all their addresses, one after the other. It returns soon
/// after it has found the first one.
///
/// # Errors
/// Exit 5 if none is found within this time.
pub(crate) fn find(within: Duration) -> Result<Vec<HostPort>, Failure> {
    let failed = |why: String| {
        let remedy = "name one with --super HOST[:PORT], or start one on this network with `sprat super --announce`";
        Failure::new(Exit::Unreachable, format!("{why}; {remedy}"))
    };
    let broken = |error: mdns_sd::Error| failed(format!("cannot look for super peers: {error}"));
    let daemon = ServiceDaemon::new().map_err(broken)?;
    let events = daemon.browse(SERVICE).map_err(broken)?;
    let (mut found, mut until) = (Vec::new(), Instant::now() + within);
    while let Ok(event) = events.recv_deadline(until) {
        if let ServiceEvent::ServiceResolved(service) = event {
            found.extend(addrs(&service));
            if !found.is_empty() {
                until = until.min(Instant::now() + DISCOVERY_GRACE);
            }
        }
    }
    let _ = daemon.shutdown();
    found.sort_by_key(|addr: &Found| addr.preference);
    found.dedup_by(|a, b| a.addr == b.addr);
    found.truncate(DISCOVERED_MAX);
    match found.is_empty() {
        true => Err(failed(format!("no super peer announced itself within {} s", within.as_secs()))),
        false => Ok(found.into_iter().map(|found| found.addr).collect()),
    }
}

struct Found {
    addr: HostPort,
    /// The order in which addresses are tried, the lowest value first.
    preference: (u8, IpAddr),
}

/// The addresses of a super peer: first IPv4, then IPv6, then link-local ones with their interface.
fn addrs(service: &ResolvedService) -> Vec<Found> {
    let port = service.get_port();
    let one = |scoped: &ScopedIp| {
        let ip = scoped.to_ip_addr();
        let (rank, text) = match (ip, scoped) {
            (IpAddr::V6(v6), ScopedIp::V6(scoped)) if v6.is_unicast_link_local() => {
                (2, format!("[{v6}%{}]:{port}", scoped.scope_id().name))
            }
            (IpAddr::V6(v6), _) => (1, format!("[{v6}]:{port}")),
            (IpAddr::V4(v4), _) => (0, format!("{v4}:{port}")),
        };
        let addr = HostPort::parse_or(&text, SUPER_PORT).ok()?;
        Some(Found { addr, preference: (rank, ip) })
    };
    service.get_addresses().iter().filter_map(one).collect()
}
