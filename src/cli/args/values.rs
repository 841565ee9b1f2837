//! Reads the values of options from text.

use std::time::Duration;

use crate::cli::units::{Rate, Span};
use crate::config::{
    CHUNK_PORT, DOWNLOADS_MAX, HTTP_PORT, RATE_LIMIT_MIN, SUPER_PORT, SUPER_SESSIONS_MAX, TTL_MAX, TURNS_OPEN_MAX,
    ZONE_BYTES_MAX,
};
use crate::node::{ShareFolder, is_share_name};
use crate::proto::{PieceOrder, Verify};
use crate::trust::{Pin, PublicKey};
use crate::wire::HostPort;
use crate::wire::swarm::is_zone;

/// The address of a super peer.
pub(super) fn super_addr(text: &str) -> Result<HostPort, String> {
    HostPort::parse_or(text, SUPER_PORT).map_err(|error| error.to_string())
}

/// A super peer, with or without its key.
pub(super) fn pin(text: &str) -> Result<Pin, String> {
    Pin::parse_or(text, SUPER_PORT)
}

/// The key of an operator.
pub(super) fn key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|error: crate::trust::key::KeyError| error.to_string())
}

/// The address at which a peer serves chunks.
pub(super) fn chunk_addr(text: &str) -> Result<HostPort, String> {
    HostPort::parse_or(text, CHUNK_PORT).map_err(|error| error.to_string())
}

/// The address of the page about a node.
pub(super) fn page_addr(text: &str) -> Result<HostPort, String> {
    HostPort::parse_or(text, HTTP_PORT).map_err(|error| error.to_string())
}

/// A host without a port; an IPv6 address may have its brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match HostPort::new(bare, 0) {
        Ok(host) => Ok(host.host().to_owned()),
        Err(error) => Err(format!("{error}; write a HOST without a port, such as 192.0.2.1 or 2001:db8::1")),
    }
}

pub(super) fn hops(text: &str) -> Result<u8, String> {
    let hops = text.parse().ok().filter(|hops| *hops <= TTL_MAX);
    hops.ok_or_else(|| format!("{text:?} is not a number of hops; write one from 0 to {TTL_MAX}"))
}

pub(super) fn sessions(text: &str) -> Result<usize, String> {
    let sessions = text.parse().ok().filter(|sessions| (1..=SUPER_SESSIONS_MAX).contains(sessions));
    sessions.ok_or_else(|| format!("{text:?} is not a number of sessions; write one from 1 to {SUPER_SESSIONS_MAX}"))
}

/// `DIR`, or `NAME=DIR`. In `./a=b`, the slash before the `=` means that there is no name.
pub(super) fn share(text: &str) -> Result<ShareFolder, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if !name.contains('/') => (Some(name), path),
        Some(_) | None => (None, text),
    };
    if let Some(name) = name.filter(|name| !is_share_name(name)) {
        return Err(format!(
            "{name:?} is not a name for a share; write NAME=DIR with a visible name, or ./{text} for a folder with ="
        ));
    }
    if path.is_empty() {
        return Err("--share is empty; name a folder, such as . for the current one".to_owned());
    }
    Ok(ShareFolder { name: name.map(str::to_owned), path: path.into() })
}

pub(super) fn parallel(text: &str) -> Result<usize, String> {
    let parallel = text.parse().ok().filter(|parallel| (1..=DOWNLOADS_MAX).contains(parallel));
    parallel.ok_or_else(|| format!("{text:?} is not a number of downloads; write one from 1 to {DOWNLOADS_MAX}"))
}

pub(super) fn uploads(text: &str) -> Result<usize, String> {
    let uploads = text.parse().ok().filter(|uploads| (1..=TURNS_OPEN_MAX).contains(uploads));
    uploads.ok_or_else(|| format!("{text:?} is not a number of pieces; write one from 1 to {TURNS_OPEN_MAX}"))
}

/// Bytes per second; 0 means no limit.
pub(super) fn limit(text: &str) -> Result<Rate, String> {
    let Rate(rate) = text.parse()?;
    let why = || format!("a limit is at least {RATE_LIMIT_MIN} bytes a second, or 0 for none");
    (rate == 0 || rate >= RATE_LIMIT_MIN).then_some(Rate(rate)).ok_or_else(why)
}

/// How long to stay in a swarm.
pub(super) fn linger(text: &str) -> Result<Span, String> {
    timeout(text)
}

/// The name of a zone.
pub(super) fn zone(text: &str) -> Result<String, String> {
    let why = || format!("the name of a zone has 1 to {ZONE_BYTES_MAX} bytes and no control characters");
    is_zone(text).then(|| text.to_owned()).ok_or_else(why)
}

/// A time, or 0 without a unit.
pub(super) fn timeout(text: &str) -> Result<Span, String> {
    if text == "0" { Ok(Span(Duration::ZERO)) } else { text.parse() }
}

pub(super) fn order(text: &str) -> Result<PieceOrder, String> {
    match text {
        "any" => Ok(PieceOrder::Any),
        "sequential" => Ok(PieceOrder::Sequential),
        _ => Err("write any or sequential".into()),
    }
}

pub(super) fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "both" => Ok(Verify::Both),
        "blake3" => Ok(Verify::Blake3),
        "md5" => Ok(Verify::Md5),
        _ => Err("write both, blake3 or md5".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_a_name_if_no_slash_stands_before_the_sign() {
        let parsed = |text: &str| share(text).map(|share| (share.name, share.path.to_str().unwrap().to_owned()));
        for (text, name, path) in [
            ("music", None, "music"),
            ("/srv/a=b", None, "/srv/a=b"),
            ("./a=b", None, "./a=b"),
            ("a=b", Some("a"), "b"),
            ("a=b=c", Some("a"), "b=c"),
            ("my music=/srv/music/", Some("my music"), "/srv/music/"),
        ] {
            assert_eq!(parsed(text), Ok((name.map(str::to_owned), path.to_owned())), "{text}");
        }
        for (text, part) in
            [("", "empty"), ("a=", "empty"), ("=b", "./=b"), (".a=b", "visible"), ("x.part=b", "visible")]
        {
            assert!(share(text).unwrap_err().contains(part), "{text}");
        }
    }
}
