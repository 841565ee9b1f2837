//! The messages of a chunk connection: chunks, and pages of manifests. PROTOCOL.md 5 has the
//! tables.

use serde::{Deserialize, Serialize};

use super::ids::{Md5, Root};

/// GET: `{req, root, off, len, bare}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The asker's number for it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First byte.
    #[serde(rename = "off")]
    pub offset: u64,
    /// Bytes, 1 to 1 MiB, all within the content.
    #[serde(rename = "len")]
    pub length: u32,
    /// The asker does not need the MD5: the CHUNK may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
}

/// CHUNK: `{req, off, len, md5}`, then `len` raw bytes outside any frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The GET.
    pub req: u32,
    /// First byte, as asked.
    #[serde(rename = "off")]
    pub offset: u64,
    /// Bytes that follow, as asked.
    #[serde(rename = "len")]
    pub length: u32,
    /// MD5 of those bytes; left out only if the GET was bare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
}

/// MANIFEST: `{req, root, first}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The asker's number for it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First piece of the page, counted from 0.
    pub first: u32,
}

/// CVS: `{req, size, first, cvs, tail, left}`: up to 1024 chaining values of 32 bytes, one after
/// the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cvs {
    /// The MANIFEST.
    pub req: u32,
    /// Length of the whole content in bytes.
    pub size: u64,
    /// First piece of the page, as asked.
    pub first: u32,
    /// The values; empty for a content of one piece or none, whose root needs no manifest.
    #[serde(with = "serde_bytes")]
    pub cvs: Vec<u8>,
    /// On the last page: the last 1 to 1024 bytes of the content, its last leaf. Empty if the
    /// source does not prove the size this way.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub tail: Vec<u8>,
    /// The chaining values to the left of that leaf within the last piece, the nearest first, 32
    /// bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub left: Vec<u8>,
}
