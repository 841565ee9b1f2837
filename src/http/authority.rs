//! The value of Host, and the same part of an absolute target (RFC 9110, 4.2 and 7.2): a name or an
//! address, and a port. It checks the form, and adds a port that is missing; `hosts` knows which
//! hosts stand for this node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest name of a host (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// The host that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority<'h> {
    /// An IP address.
    Address,
    /// A name, without the dot at its end.
    Name(&'h str),
}

impl Authority<'_> {
    /// Reads the text. None if it has another form.
    pub(super) fn read(host: &str) -> Option<Authority<'_>> {
        if let Some(rest) = host.strip_prefix('[') {
            let (inner, port) = rest.split_once(']')?;
            return (inner.parse::<Ipv6Addr>().is_ok() && is_port(port)).then_some(Authority::Address);
        }
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_plain) || !is_port(port) {
            return None;
        }
        Some(if name.parse::<Ipv4Addr>().is_ok() { Authority::Address } else { Authority::Name(name) })
    }
}

/// Whether the text is empty, or a colon and a port. The port may have no digit (RFC 3986, 3.2.3).
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| {
            port.is_empty() || port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

/// The host and port at which a client reaches this node again: what it wrote as Host, or, without
/// a Host, the local address of its connection. Some clients, as wget2, leave the port out. So the
/// port is added if the host is this address, or `localhost` for a loopback address.
#[must_use]
pub fn reached_at(host: &str, local: Option<SocketAddr>) -> Option<String> {
    let host = host.strip_suffix(':').unwrap_or(host);
    let Some(local) = local else { return (!host.is_empty()).then(|| host.to_owned()) };
    if host.is_empty() {
        return Some(local.to_string());
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_local = match bare.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical() == local.ip(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") && local.ip().is_loopback(),
    };
    Some(if is_local { format!("{host}:{}", local.port()) } else { host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_have_one_form() {
        for (host, expected) in [
            ("nas.example", Authority::Name("nas.example")),
            ("nas_2.example.:80", Authority::Name("nas_2.example")),
            ("192.0.2.1:4778", Authority::Address),
            ("192.0.2.1.", Authority::Address),
            ("[::1]", Authority::Address),
            ("[2001:db8::1]:65535", Authority::Address),
            ("127.1", Authority::Name("127.1")),
            ("a:", Authority::Name("a")),
            ("[::1]:", Authority::Address),
        ] {
            assert_eq!(Authority::read(host), Some(expected), "{host}");
        }
        for bad in [
            "",
            ":",
            ":80",
            ".",
            "..",
            "a..b",
            "a b",
            "a/b",
            "a@b",
            "a,b",
            "a%62",
            "a:b",
            "a:b:c",
            "a:1:2",
            "a:-1",
            "a:+1",
            "a:65536",
            "::1",
            "[::1",
            "::1]",
            "[x]",
            "[[::1]]",
            "[::1]x",
            "[::1]:x",
            "[fe80::1%251]",
            "ä",
            "<x>",
        ] {
            assert_eq!(Authority::read(bad), None, "{bad}");
        }
        assert_eq!(Authority::read(&"a".repeat(NAME_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_host_without_a_port_gets_the_port_of_the_socket_if_it_is_its_address() {
        let at = |host: &str, local: &str| reached_at(host, Some(local.parse().unwrap()));
        for (host, local, expected) in [
            ("", "192.0.2.1:4778", "192.0.2.1:4778"),
            ("", "[::1]:4778", "[::1]:4778"),
            ("192.0.2.1", "192.0.2.1:4778", "192.0.2.1:4778"),
            ("192.0.2.1:", "192.0.2.1:4778", "192.0.2.1:4778"),
            ("192.0.2.1:80", "192.0.2.1:4778", "192.0.2.1:80"),
            ("[::1]", "[::1]:4778", "[::1]:4778"),
            ("[::1]:80", "[::1]:4778", "[::1]:80"),
            ("localhost", "127.0.0.1:4778", "localhost:4778"),
            // Behind a proxy or an address translation these have another port, which is unknown.
            ("localhost", "192.0.2.1:4778", "localhost"),
            ("198.51.100.1", "192.0.2.1:4778", "198.51.100.1"),
            ("nas.example", "192.0.2.1:4778", "nas.example"),
        ] {
            assert_eq!(at(host, local).as_deref(), Some(expected), "{host} at {local}");
        }
        assert_eq!((reached_at("", None), reached_at("a:", None)), (None, Some("a".to_owned())));
    }
}
