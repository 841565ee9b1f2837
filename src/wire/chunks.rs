//! The messages of a chunk connection: chunks, and pages of manifests. PROTOCOL.md 5 has the
//! tables.

use serde::{Deserialize, Serialize};

use super::ids::{Md5, Root};

/// GET: `{req, root, off, len, bare}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The number that the asker gave to it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First byte.
    #[serde(rename = "off")]
    pub offset: u64,
    /// The number of bytes, 1 to 1 MiB. All of them must lie within the content.
    #[serde(rename = "len")]
    pub length: u32,
    /// Whether the asker does not need the MD5. Then the CHUNK may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
}

/// CHUNK: `{req, off, len, md5}`, then `len` raw bytes outside any frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The number of the GET.
    pub req: u32,
    /// First byte, as in the GET.
    #[serde(rename = "off")]
    pub offset: u64,
    /// The number of bytes that follow, as in the GET.
    #[serde(rename = "len")]
    pub length: u32,
    /// The MD5 of these bytes. It may be missing only if the GET was bare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
}

/// MANIFEST: `{req, root, first}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number that the asker gave to it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First piece of the page, counted from 0.
    pub first: u32,
}

/// CVS: `{req, size, first, cvs, tail, left}`. It has up to 1024 chaining values of 32 bytes, one
/// after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cvs {
    /// The number of the MANIFEST.
    pub req: u32,
    /// Length of the complete content in bytes.
    pub size: u64,
    /// First piece of the page, as in the MANIFEST.
    pub first: u32,
    /// The values. They are empty for a content of at most one piece, whose root needs no manifest.
    #[serde(with = "serde_bytes")]
    pub cvs: Vec<u8>,
    /// On the last page: the last leaf of the content, which is its last 1 to 1024 bytes. Empty if
    /// the source does not prove the size in this way.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub tail: Vec<u8>,
    /// The chaining values to the left of that leaf within the last piece, 32 bytes each, the
    /// nearest one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub left: Vec<u8>,
}
