//! A pin: where a super peer is, and the key that it must prove.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::key::PublicKey;
use crate::config::SUPER_PORT;
use crate::wire::HostPort;

/// The characters that are written as `%XX`: all characters but the unreserved ones of RFC 3986
/// §2.3, `:` and `@`.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

pub(super) fn unescaped(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// A super peer in the form in which people write it: `KEY@HOST:PORT`, or `HOST:PORT` if the key is
/// not known yet. The port may be missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// The key that the super peer must prove.
    pub key: Option<PublicKey>,
    /// Where it listens.
    pub at: HostPort,
}

impl Pin {
    /// Reads a pin. If the text has no port, `port` is used.
    ///
    /// # Errors
    /// A sentence that names the wrong part.
    pub fn parse_or(text: &str, port: u16) -> Result<Pin, String> {
        let (key, at) = match text.rsplit_once('@') {
            Some((key, at)) => {
                let key = key.parse().map_err(|error| format!("{text:?}: {error}; write KEY@HOST:PORT"))?;
                (Some(key), at)
            }
            None if text.parse::<PublicKey>().is_ok() => {
                return Err(format!("{text:?} is a key without an address; write KEY@HOST:PORT"));
            }
            None => (None, text),
        };
        let at = HostPort::parse_or(at, port).map_err(|error| error.to_string())?;
        Ok(Pin { key, at })
    }
}

impl From<HostPort> for Pin {
    fn from(at: HostPort) -> Pin {
        Pin { key: None, at }
    }
}

impl From<SocketAddr> for Pin {
    fn from(at: SocketAddr) -> Pin {
        HostPort::from(at).into()
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Pin, String> {
        Pin::parse_or(text, SUPER_PORT)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{key}@{}", self.at),
            None => write!(f, "{}", self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;

    #[test]
    fn a_pin_reads_back_with_and_without_its_key_and_port() {
        let key = SecretKey::from_seed([1; 32]).public();
        for at in ["h:5", "192.0.2.1:4777", "[2001:db8::1]:4777", "[fe80::1%eth0]:4777"] {
            assert_eq!(at.parse::<Pin>().unwrap().to_string(), at);
            let pinned = format!("{key}@{at}");
            let pin: Pin = pinned.parse().unwrap();
            assert_eq!((pin.key, pin.to_string()), (Some(key), pinned));
        }
        assert_eq!(format!("{key}@h").parse::<Pin>().unwrap().at.to_string(), "h:4777");
        assert_eq!(Pin::parse_or("::1", 7).unwrap().at.to_string(), "[::1]:7");
    }

    #[test]
    fn the_wrong_part_is_named() {
        let key = SecretKey::from_seed([1; 32]).public();
        for (text, part) in [
            ("abc@h:1".to_owned(), "a key has 56"),
            ("@h:1".to_owned(), "KEY@HOST:PORT"),
            (format!("{key}@"), "HOST:PORT"),
            (key.to_string(), "KEY@HOST:PORT"),
        ] {
            let error = text.parse::<Pin>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
