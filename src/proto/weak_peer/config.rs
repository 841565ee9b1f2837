//! What a weak peer is started with. The limits and intervals are in [`crate::config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::membership::PeerLogin;
use crate::config::LINGER;
use crate::proto::OwnAddrs;
use crate::trust::Pin;
use crate::wire::NodeId;

/// Where a weak peer serves chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The TCP port on which chunks are served.
    pub port: u16,
    /// The host that REGISTER names, in place of the address that the super peer sees.
    pub host: Option<String>,
    /// The addresses at which the port is open.
    pub listens: Listens,
    /// Whether HTTP is served there too.
    pub http: bool,
}

/// The addresses of this host at which a port is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// All addresses.
    Everywhere,
    /// All addresses of IPv4, and no address of IPv6.
    Ipv4,
    /// Only this address.
    At(IpAddr),
}

impl From<SocketAddr> for Listens {
    /// The addresses at which a listener accepts connections if it is bound to this address. A
    /// listener at `[::]` accepts IPv4 too.
    fn from(bound: SocketAddr) -> Listens {
        match bound.ip() {
            ip if !ip.is_unspecified() => Listens::At(ip.to_canonical()),
            IpAddr::V4(_) => Listens::Ipv4,
            IpAddr::V6(_) => Listens::Everywhere,
        }
    }
}

/// The addresses that REGISTER names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) host: Option<String>,
    pub(super) more_addr: Option<String>,
    /// Why other hosts may not be able to dial it, with what to do about it.
    pub(super) warning: Option<String>,
}

impl Offer {
    /// The addresses to register over a connection of ours: only those at which the port is open.
    pub(super) fn registered(&self, own: OwnAddrs) -> Registered {
        if let Some(host) = &self.host {
            return Registered { host: Some(host.clone()), ..Registered::default() };
        }
        let port = self.port;
        match (self.listens, own.here) {
            (Listens::At(ip), here) => {
                let is_far = here.is_some_and(|here| !here.is_loopback());
                let warning = (ip.is_loopback() && is_far).then(|| {
                    format!(
                        "this peer listens at {ip} only, where other hosts cannot dial it; start it with --listen [::]:{port}"
                    )
                });
                Registered { host: Some(ip.to_string()), more_addr: None, warning }
            }
            (Listens::Everywhere, _) => {
                Registered { more_addr: own.other.map(|ip| ip.to_string()), ..Registered::default() }
            }
            (Listens::Ipv4, None | Some(IpAddr::V4(_))) => Registered::default(),
            // The super peer sees an IPv6 address, at which nothing listens.
            (Listens::Ipv4, Some(IpAddr::V6(here))) => {
                let warning = (own.other.is_none() && !here.is_loopback()).then(|| {
                    format!(
                        "this peer listens at IPv4 addresses only, and this host has none that others can dial; start \
                         it with --listen [::]:{port}"
                    )
                });
                let host = own.other.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                Registered { host: Some(host.to_string()), more_addr: None, warning }
            }
        }
    }
}

/// The identity of a weak peer and the super peers that it may use.
#[derive(Clone, Debug)]
pub struct WeakPeerConfig {
    /// Its node id.
    pub node: NodeId,
    /// Its boot id, drawn at random for this run.
    pub boot: u64,
    /// The super peers, in order of preference. In login mode each has its key, if the key is
    /// known.
    pub supers: Vec<Pin>,
    /// In login mode: its key and its credential; none in the open mode.
    pub login: Option<Arc<PeerLogin>>,
    /// Where it serves chunks; none for a one-shot command, which registers and serves nothing.
    pub offer: Option<Offer>,
    /// How long the first session may take to open, and how long a command waits for a session.
    pub connect_timeout: Duration,
    /// How long a download may take without a verified piece and below
    /// [`crate::config::SOURCE_RATE_MIN`], if its command does not say; zero means forever.
    pub download_timeout: Duration,
    /// Program and version, as HELLO names them.
    pub agent: String,
}

/// How a weak peer takes part in swarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmConfig {
    /// How many chunks are sent to followers at once, over all connections; none means as few as
    /// use all of the bandwidth.
    pub uploads: Option<usize>,
    /// The zone of the peer. Members of one zone are near each other.
    pub zone: Option<String>,
    /// How long it stays in a swarm at most after its download is complete.
    pub linger: Duration,
}

impl Default for SwarmConfig {
    fn default() -> SwarmConfig {
        SwarmConfig { uploads: None, zone: None, linger: LINGER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(listen: &str, here: &str, other: Option<&str>) -> Registered {
        let bound: SocketAddr = listen.parse().unwrap();
        let offer = Offer { port: bound.port(), host: None, listens: bound.into(), http: false };
        let own = OwnAddrs { here: here.parse().ok(), other: other.map(|ip| ip.parse().unwrap()) };
        offer.registered(own)
    }

    #[test]
    fn only_addresses_with_a_listener_are_registered() {
        let hosts = |registered: Registered| (registered.host, registered.more_addr, registered.warning.is_some());
        let (v4, v6) = (|| Some("192.0.2.1".to_owned()), || Some("2001:db8::1".to_owned()));
        for (listen, here, other, expected) in [
            ("[::]:4778", "192.0.2.1", v6(), (None, v6(), false)),
            ("[::]:4778", "2001:db8::1", v4(), (None, v4(), false)),
            ("[::]:4778", "192.0.2.1", None, (None, None, false)),
            ("0.0.0.0:4778", "192.0.2.1", v6(), (None, None, false)),
            ("0.0.0.0:4778", "2001:db8::1", v4(), (v4(), None, false)),
            ("0.0.0.0:4778", "::1", None, (Some("127.0.0.1".into()), None, false)),
            ("0.0.0.0:4778", "2001:db8::1", None, (Some("127.0.0.1".into()), None, true)),
            ("192.0.2.1:4778", "2001:db8::1", v4(), (v4(), None, false)),
            ("[2001:db8::1]:4778", "192.0.2.1", v6(), (v6(), None, false)),
            ("127.0.0.1:4778", "127.0.0.1", v6(), (Some("127.0.0.1".into()), None, false)),
            ("127.0.0.1:4778", "192.0.2.1", v6(), (Some("127.0.0.1".into()), None, true)),
        ] {
            assert_eq!(hosts(registered(listen, here, other.as_deref())), expected, "{listen} from {here}");
        }
    }

    #[test]
    fn an_advertised_host_is_registered_alone() {
        let host = Some("peer.example".to_owned());
        let offer = Offer { port: 1, host: host.clone(), listens: Listens::Everywhere, http: false };
        let own = OwnAddrs { here: "192.0.2.1".parse().ok(), other: "2001:db8::1".parse().ok() };
        assert_eq!(offer.registered(own), Registered { host, ..Registered::default() });
    }
}
