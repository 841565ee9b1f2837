//! The value of Host, and the same part of an absolute target (RFC 9110, 4.2 and 7.2): a name or an
//! address, and a port. It only checks the form; `hosts` knows which hosts stand for this node.

use std::net::{Ipv4Addr, Ipv6Addr};

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

/// Whether the text is empty, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok())
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
            "a:",
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
            "[::1]:",
            "[::1]:x",
            "[fe80::1%251]",
            "ä",
            "<x>",
        ] {
            assert_eq!(Authority::read(bad), None, "{bad}");
        }
        assert_eq!(Authority::read(&"a".repeat(NAME_BYTES_MAX + 1)), None);
    }
}
