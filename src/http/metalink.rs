//! The Metalink of a content (RFC 5854): its size, the MD5 of each piece, and the URLs for it.
//!
//! The digests are MD5, because `aria2` and `wget2` do not support BLAKE3. With MD5s these programs
//! verify each piece, and drop a source that sends wrong pieces.

use std::fmt::Write;

use super::listing::escaped;
use crate::wire::Root;
use crate::wire::ids::Md5;

/// The media type.
pub const CONTENT_TYPE: &str = "application/metalink4+xml";
/// The media type of Metalink 3, which clients may name in addition to the newer one.
pub const CONTENT_TYPE_OLD: &str = "application/metalink+xml";

/// The MD5s of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// The size of a piece. The last piece may be shorter.
    pub piece_bytes: u64,
    /// The MD5 of each piece.
    pub pieces: Vec<Md5>,
    /// The MD5 of the complete content.
    pub all: Option<Md5>,
}

/// Whether a client asks for a Metalink and not for the file.
#[must_use]
pub fn is_accepted(accept: &str) -> bool {
    accept.split(',').any(|each| {
        let mut parts = each.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_TYPE));
        is_named && !parts.any(is_zero_weight)
    })
}

/// Whether a parameter says that the type is not acceptable: `q=0`, also with more zeros after a
/// point (RFC 9110, 12.4.2).
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    let zeros = weight.strip_prefix('0').map(|rest| rest.strip_prefix('.').unwrap_or(rest));
    name.eq_ignore_ascii_case("q") && zeros.is_some_and(|zeros| zeros.bytes().all(|digit| digit == b'0'))
}

/// The document. The first URL is the preferred one.
#[must_use]
pub fn document(name: &str, size: u64, root: &Root, digests: &Digests, urls: &[String]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n\
         <generator>sprat</generator>\n<file name=\"{}\">\n<size>{size}</size>\n<identity>{root}</identity>\n",
        escaped(name)
    );
    if let Some(all) = &digests.all {
        let _ = writeln!(xml, "<hash type=\"md5\">{all}</hash>");
    }
    if !digests.pieces.is_empty() {
        let _ = writeln!(xml, "<pieces length=\"{}\" type=\"md5\">", digests.piece_bytes);
        for piece in &digests.pieces {
            let _ = writeln!(xml, "<hash>{piece}</hash>");
        }
        xml.push_str("</pieces>\n");
    }
    for (n, url) in urls.iter().enumerate() {
        let _ = writeln!(xml, "<url priority=\"{}\">{}</url>", n + 1, escaped(url));
    }
    xml.push_str("</file>\n</metalink>\n");
    xml
}
