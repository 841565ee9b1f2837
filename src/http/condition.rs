//! Which status and which bytes answer a request for a content. The conditions of the request (RFC
//! 9110, 13) and its range decide this.

use std::time::{Duration, SystemTime};

use super::head::Request;
use super::range::{Span, span};
use crate::wire::Root;

/// A content that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its root; the hex digits are the strong ETag.
    pub root: Root,
    /// Bytes.
    pub size: u64,
    /// When the file was last changed, in seconds since 1970; none for a content without a file.
    pub modified_s: Option<u64>,
    /// Whether this date identifies the present state of the file. It does not if a program has set
    /// the date, as `cp -p` does.
    pub dated: bool,
}

impl Content {
    /// The value of ETag.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.root)
    }

    /// The value of Last-Modified.
    #[must_use]
    pub fn last_modified(&self) -> Option<String> {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.modified_s?))?;
        // The format has four digits for the year.
        (self.modified_s? < 253_402_300_800).then(|| httpdate::fmt_http_date(at))
    }

    /// Whether the file is newer than this date; none if the text is not a date.
    fn is_newer(&self, date: &str) -> Option<bool> {
        let date = httpdate::parse_http_date(date).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(self.modified_s? > date.as_secs())
    }
}

/// The status and the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Status 304.
    NotModified,
    /// Status 412.
    Failed,
    /// Status 416.
    Beyond,
    /// Status 200: all bytes.
    All,
    /// Status 206: a part of the bytes.
    Part {
        /// First byte.
        first: u64,
        /// How many bytes.
        length: u64,
    },
}

/// Decides in the order that RFC 9110, 13.2.2 prescribes.
#[must_use]
pub fn serve(request: &Request, content: &Content) -> Served {
    let etag = content.etag();
    match (&request.if_match, &request.if_unmodified_since) {
        (Some(tags), _) if !lists(tags, &etag, false) => return Served::Failed,
        (None, Some(date)) if content.is_newer(date) == Some(true) => return Served::Failed,
        _ => {}
    }
    match (&request.if_none_match, &request.if_modified_since) {
        (Some(tags), _) if lists(tags, &etag, true) => return Served::NotModified,
        (None, Some(date)) if content.is_newer(date) == Some(false) => return Served::NotModified,
        _ => {}
    }
    let holds = match request.if_range.as_deref().map(str::trim) {
        None => true,
        Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => tag == etag,
        // A client may combine parts by a date only if the date is strong (RFC 9110, 8.8.2.2).
        Some(date) => content.dated && content.last_modified().as_deref() == Some(date),
    };
    match request.range.as_deref().filter(|_| holds).map_or(Span::All, |range| span(range, content.size)) {
        Span::All => Served::All,
        Span::Part { first, length } => Served::Part { first, length },
        Span::Beyond => Served::Beyond,
    }
}

/// Whether this tag is in a list of tags. With `weakly`, a `W/` before a tag is ignored.
fn lists(tags: &str, etag: &str, weakly: bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = if weakly { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == etag
    })
}
