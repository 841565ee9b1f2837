//! `HOST:PORT`: how an address is written in flags, in hits and in ready files. A host name, an
//! IPv4 or a bracketed IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::HOST_BYTES_MAX;

/// A host (name or literal address, without brackets) and a port. Nothing is resolved here; cheap
/// to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
}

/// Why a text is no `HOST:PORT`; the sentence shows the right form.
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
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let fits = !host.is_empty() && host.len() <= HOST_BYTES_MAX;
        if !fits || !(named || host.parse::<IpAddr>().is_ok()) {
            return Err(AddrError(format!("{host:?} is not a host name, an IPv4 or an IPv6 address")));
        }
        Ok(HostPort { host: host.into(), port })
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

    /// The socket address, if the host is a literal address and needs no resolver. It may have any
    /// of the forms that resolvers take for an IPv4 address: `127.1`, `0x7f000001`.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        let ip = self.host.parse().ok().or_else(|| spelled_ipv4(&self.host).map(IpAddr::V4))?;
        Some(SocketAddr::new(ip.to_canonical(), self.port))
    }

    /// The one form of all that name the same address without a resolver: an address in its usual
    /// form, never a mapped one; a name in lower case, without the final dot; `localhost` (RFC 6761
    /// §6.3) as 127.0.0.1.
    #[must_use]
    pub fn canonical(&self) -> HostPort {
        if let Some(literal) = self.literal() {
            return literal.into();
        }
        let name = self.host.strip_suffix('.').unwrap_or(&self.host).to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into();
        }
        HostPort { host: name.into(), port: self.port }
    }

    /// Whether a peer may listen there. Nothing can at port 0, nor at an unspecified, a multicast
    /// or a broadcast address. A name may resolve to any address.
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

/// An IPv4 address of one to four numbers, decimal, octal or hexadecimal, as `inet_aton` reads it:
/// the last number has all bytes that are left.
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
    /// An IPv4 address mapped into IPv6 is written as the IPv4 address that it is.
    fn from(addr: SocketAddr) -> HostPort {
        HostPort { host: addr.ip().to_canonical().to_string().into(), port: addr.port() }
    }
}

impl FromStr for HostPort {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<HostPort, AddrError> {
        let wrong =
            |why: &str| AddrError(format!("{text:?} {why}; write HOST:PORT, 192.0.2.1:4777 or [2001:db8::1]:4777"));
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once("]:").ok_or_else(|| wrong("has no port after its bracket"))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("has no IPv6 address in its brackets"))?;
                (host, port)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
                if host.contains(':') {
                    return Err(wrong("has an IPv6 address without brackets"));
                }
                (host, port)
            }
        };
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong("has no number as its port"));
        }
        let port = port.parse().map_err(|_| wrong("has a port above 65535"))?;
        HostPort::new(host, port).map_err(|e| wrong(&format!("names no host ({e})")))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
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
        deserializer.deserialize_str(Text)
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
