//! `HOST:PORT`: how an address is written in options, in hits and in ready files. The host is a
//! name, an IPv4 address, or an IPv6 address in brackets. In options the port may be missing, and a
//! link-local address has its interface (RFC 4007 §11).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::{CHUNK_PORT, HOST_BYTES_MAX, SUPER_PORT};

/// Longest name of an interface, in bytes: IFNAMSIZ without its zero byte.
const INTERFACE_BYTES_MAX: usize = 15;

/// A host (name or literal address, without brackets) and a port. Nothing is resolved here. It is
/// cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
    /// Whether the host is an IPv6 address, which has brackets before a port.
    bracketed: bool,
}

/// Why a text is not `HOST:PORT`. The sentence shows the right form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrError(String);

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddrError {}

impl HostPort {
    /// A host with a port.
    ///
    /// # Errors
    /// If the host is neither a literal address nor a host name (letters, digits, `-`, `_`, `.`) of
    /// 1 to 100 bytes.
    pub fn new(host: &str, port: u16) -> Result<HostPort, AddrError> {
        match HostPort::build(host, port) {
            Ok(addr) if addr.scope().is_some() => {
                Err(AddrError(format!("{host:?} names an interface, which no other host knows")))
            }
            built => built,
        }
    }

    /// Reads what people write: `HOST:PORT`, or `HOST` for this port. An IPv6 address needs
    /// brackets only before a port. A link-local address may have its interface, by name or number:
    /// `[fe80::1%eth0]:4777`.
    ///
    /// # Errors
    /// If it is not an address. The sentence shows the right form.
    pub fn parse_or(text: &str, port: u16) -> Result<HostPort, AddrError> {
        let form = format!("write HOST or HOST:PORT, 192.0.2.1:{port}, [2001:db8::1]:{port} or [fe80::1%eth0]:{port}");
        read(text, Some(port)).map_err(|why| AddrError(format!("{text:?} {why}; {form}")))
    }

    /// A host in the form of this machine: a name, an address, or an address with its interface.
    fn build(host: &str, port: u16) -> Result<HostPort, AddrError> {
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let fits = !host.is_empty() && host.len() <= HOST_BYTES_MAX;
        let (ip, scope) = split_scope(host);
        let is_address = match scope {
            None => host.parse::<IpAddr>().is_ok(),
            Some(scope) => {
                let interface = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'%' | b'[' | b']');
                let is_interface = (1..=INTERFACE_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(interface);
                ip.parse::<Ipv6Addr>().is_ok() && is_interface
            }
        };
        if !fits || !(named || is_address) {
            return Err(AddrError(format!("{host:?} is not a host name, an IPv4 or an IPv6 address")));
        }
        Ok(HostPort::of(host, port))
    }

    /// The host is valid.
    fn of(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port, bracketed: host.contains(':') }
    }

    /// An address as this machine sees it: with its interface, if it has one.
    #[must_use]
    pub fn local(addr: SocketAddr) -> HostPort {
        match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                HostPort::of(&format!("{}%{}", v6.ip(), v6.scope_id()), addr.port())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => addr.into(),
        }
    }

    /// The host, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host has brackets where a port follows it, because it is an IPv6 address.
    #[must_use]
    pub(super) fn is_bracketed(&self) -> bool {
        self.bracketed
    }

    /// The interface of a link-local address, by name or number.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        split_scope(&self.host).1
    }

    /// Whether it is a link-local IPv6 address without its interface. Nothing can be sent to such
    /// an address.
    #[must_use]
    pub fn lacks_scope(&self) -> bool {
        self.host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unicast_link_local())
    }

    /// The socket address, if the host is a literal address, which needs no resolver. It may have
    /// any form that resolvers accept for an IPv4 address, such as `127.1` or `0x7f000001`.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        if let (ip, Some(scope)) = split_scope(&self.host) {
            // Only the system can convert the name of an interface.
            return Some(SocketAddrV6::new(ip.parse().ok()?, self.port, 0, scope.parse().ok()?).into());
        }
        let ip = self.host.parse().ok().or_else(|| spelled_ipv4(&self.host).map(IpAddr::V4))?;
        Some(SocketAddr::new(ip.to_canonical(), self.port))
    }

    /// The form that all names of one address share, as far as this is known without a resolver. An
    /// address has its usual form, never the mapped one. A name is in lower case, without the final
    /// dot. `localhost` (RFC 6761 §6.3) becomes 127.0.0.1.
    #[must_use]
    pub fn canonical(&self) -> HostPort {
        // The standard library reads no other form of an IPv4 address than the usual one.
        if self.host.parse::<Ipv4Addr>().is_ok() {
            return self.clone();
        }
        if let Some(literal) = self.literal() {
            return HostPort::local(literal);
        }
        let name = self.host.strip_suffix('.').unwrap_or(&self.host).to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into();
        }
        HostPort::of(&name, self.port)
    }

    /// Whether a peer may listen there. No peer can listen at port 0, nor at an unspecified, a
    /// multicast or a broadcast address. A name may resolve to any address.
    #[must_use]
    pub fn is_dialable(&self) -> bool {
        let ip = self.literal().map(|addr| addr.ip());
        let nowhere = match ip {
            Some(IpAddr::V4(ip)) => ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast(),
            Some(IpAddr::V6(ip)) => ip.is_unspecified() || ip.is_multicast(),
            None => false,
        };
        self.port != 0 && !nowhere
    }
}

/// Reads an IPv4 address as `inet_aton` does: one to four decimal, octal or hexadecimal numbers.
/// The last number has all remaining bytes.
fn spelled_ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last().filter(|(_, first)| first.len() <= 3)?;
    let mut address = 0_u32;
    for byte in first {
        address = address << 8 | u32::from(u8::try_from(*byte).ok()?);
    }
    let bits_left = 32 - 8 * u32::try_from(first.len()).ok()?;
    let fits = u64::from(*last) < 1 << bits_left;
    fits.then(|| Ipv4Addr::from((u64::from(address) << bits_left) as u32 | last))
}

impl From<SocketAddr> for HostPort {
    /// An IPv4 address that is mapped into IPv6 is written as an IPv4 address. The interface of a
    /// link-local address is left out, because it means nothing to other hosts.
    fn from(addr: SocketAddr) -> HostPort {
        HostPort::of(&addr.ip().to_canonical().to_string(), addr.port())
    }
}

impl FromStr for HostPort {
    type Err = AddrError;

    /// Reads `HOST:PORT`. [`HostPort::parse_or`] reads what people write.
    fn from_str(text: &str) -> Result<HostPort, AddrError> {
        let form = "write HOST:PORT, 192.0.2.1:4777 or [2001:db8::1]:4777";
        read(text, None).map_err(|why| AddrError(format!("{text:?} {why}; {form}")))
    }
}

/// Reads an address. `default` is the port if the address names none.
fn read(text: &str, default: Option<u16>) -> Result<HostPort, String> {
    let (host, port) = split(text, default.is_some())?;
    let port = match (port, default) {
        (Some(port), _) => number(port)?,
        (None, Some(default)) => default,
        (None, None) => return Err("has no port".to_owned()),
    };
    HostPort::build(host, port).map_err(|error| format!("names no host ({error})"))
}

/// The host without brackets, and the port if there is one.
fn split(text: &str, may_lack_port: bool) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("has no closing bracket")?;
        let (ip, _) = split_scope(host);
        ip.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address in its brackets")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() && may_lack_port => Ok((host, None)),
            None => Err("has no port after its bracket".to_owned()),
        };
    }
    let (ip, scope) = split_scope(text);
    if ip.parse::<Ipv6Addr>().is_ok() {
        // People read four digits at the end as a port.
        let looks_like_a_port = [SUPER_PORT, CHUNK_PORT].iter().any(|port| ip.ends_with(&format!(":{port}")));
        return if may_lack_port && (scope.is_some() || !looks_like_a_port) {
            Ok((text, None))
        } else {
            Err("has an IPv6 address without brackets".to_owned())
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Err("has an IPv6 address without brackets".to_owned()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// The two sides of the `%` in `fe80::1%eth0`.
fn split_scope(host: &str) -> (&str, Option<&str>) {
    host.split_once('%').map_or((host, None), |(ip, scope)| (ip, Some(scope)))
}

fn number(port: &str) -> Result<u16, String> {
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has no number as its port".to_owned());
    }
    port.parse().map_err(|_| "has a port above 65535".to_owned())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bracketed {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HostPort, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = HostPort;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("HOST:PORT")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HostPort, E> {
                text.parse().map_err(E::custom)
            }
        }
        // The binary form is for the wire. There, an interface would be one of another host.
        let is_wire = !deserializer.is_human_readable();
        match deserializer.deserialize_str(Text) {
            Ok(addr) if is_wire && addr.scope().is_some() => Err(de::Error::custom("an address names an interface")),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in ["localhost:4777", "127.0.0.1:0", "[::1]:65535", "a-b.example:1"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_forms_are_refused_with_the_right_one() {
        for text in ["", "host", ":1", "::1:80", "[::1]", "[nope]:1", "a b:1", "h:70000", "h:-1", "h:", "h:+1"] {
            let error = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_alone_has_the_default_port() {
        for (text, read) in [
            ("host", "host:4777"),
            ("host:5", "host:5"),
            ("192.0.2.1", "192.0.2.1:4777"),
            ("2001:db8::1", "[2001:db8::1]:4777"),
            ("::1", "[::1]:4777"),
            ("[::1]", "[::1]:4777"),
            ("[::1]:9", "[::1]:9"),
            ("fe80::1%eth0", "[fe80::1%eth0]:4777"),
            ("[fe80::1%eth0.100]:9", "[fe80::1%eth0.100]:9"),
            ("[fe80::1%3]", "[fe80::1%3]:4777"),
        ] {
            assert_eq!(HostPort::parse_or(text, 4777).unwrap().to_string(), read, "{text}");
        }
        for text in ["", ":1", "h:", "h:70000", "a b", "::1:4777", "[::1", "[::1]9", "[h]:1", "fe80::1%", "h%eth0"] {
            let error = HostPort::parse_or(text, 4777).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT") && error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn an_interface_belongs_to_one_host() {
        let scoped: HostPort = "[fe80::1%7]:5".parse().unwrap();
        assert_eq!(scoped.scope(), Some("7"));
        assert_eq!(scoped.canonical(), scoped);
        let literal = scoped.literal().unwrap();
        assert_eq!(literal.to_string(), "[fe80::1%7]:5");
        assert_eq!(HostPort::local(literal), scoped);
        assert_eq!(HostPort::from(literal).to_string(), "[fe80::1]:5");
        assert_eq!("[fe80::1%eth0]:5".parse::<HostPort>().unwrap().literal(), None);
        assert!(HostPort::new("fe80::1%eth0", 5).is_err());
        assert!(HostPort::new("fe80::1", 5).unwrap().lacks_scope() && !scoped.lacks_scope());
        let json = serde_json::to_string(&scoped).unwrap();
        assert_eq!(serde_json::from_str::<HostPort>(&json).unwrap(), scoped);
        let read = |addr: &HostPort| {
            let bytes = rmp_serde::to_vec(addr).unwrap();
            HostPort::deserialize(&mut crate::wire::unpack::Unpack::new(&bytes)).ok()
        };
        assert_eq!(read(&scoped), None, "the wire has no interface");
        assert_eq!(read(&HostPort::from(literal)), Some(HostPort::from(literal)));
    }

    #[test]
    fn every_spelling_of_an_address_is_one_address() {
        let hosts = [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "0:0:0:0:0:FFFF:7f00:0001",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.01",
            "0x7F.0.0.1",
            "localhost",
            "LocalHost.",
            "a.localhost",
        ];
        for host in hosts {
            assert_eq!(HostPort::new(host, 5).unwrap().canonical().to_string(), "127.0.0.1:5", "{host}");
        }
        let canonical = |host: &str| HostPort::new(host, 5).unwrap().canonical().to_string();
        assert_eq!(canonical("2001:DB8:0::1"), "[2001:db8::1]:5");
        assert_eq!(canonical("Peer.Example."), "peer.example:5");
        for name in ["1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.16777216", "4294967296", "0x", "08.1", "1..2", "."] {
            assert_eq!(HostPort::new(name, 5).unwrap().literal(), None, "{name}");
        }
    }

    #[test]
    fn nothing_listens_at_an_address_that_is_no_host() {
        for host in ["0.0.0.0", "0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:0.0.0.0"] {
            assert!(!HostPort::new(host, 5).unwrap().is_dialable(), "{host}");
        }
        assert!(!HostPort::new("192.0.2.1", 0).unwrap().is_dialable());
        for host in ["127.0.0.1", "::1", "10.0.0.1", "peer.example"] {
            assert!(HostPort::new(host, 5).unwrap().is_dialable(), "{host}");
        }
    }

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:5".parse().unwrap();
        assert_eq!(HostPort::from(mapped).to_string(), "127.0.0.1:5");
    }
}
