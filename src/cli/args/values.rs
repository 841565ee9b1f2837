//! The values that an option takes, read from text.

use std::time::Duration;

use crate::cli::units::Span;
use crate::config::{SUPER_SESSIONS_MAX, TTL_MAX};
use crate::proto::Verify;

pub(super) fn hops(text: &str) -> Result<u8, String> {
    let hops = text.parse().ok().filter(|hops| *hops <= TTL_MAX);
    hops.ok_or_else(|| format!("{text:?} is not a number of hops; write one from 0 to {TTL_MAX}"))
}

pub(super) fn sessions(text: &str) -> Result<usize, String> {
    let sessions = text.parse().ok().filter(|sessions| (1..=SUPER_SESSIONS_MAX).contains(sessions));
    sessions.ok_or_else(|| format!("{text:?} is not a number of sessions; write one from 1 to {SUPER_SESSIONS_MAX}"))
}

/// A time, or 0 without a unit.
pub(super) fn timeout(text: &str) -> Result<Span, String> {
    if text == "0" { Ok(Span(Duration::ZERO)) } else { text.parse() }
}

pub(super) fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "both" => Ok(Verify::Both),
        "blake3" => Ok(Verify::Blake3),
        "md5" => Ok(Verify::Md5),
        _ => Err("write both, blake3 or md5".into()),
    }
}
