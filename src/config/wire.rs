//! Ports, and the limits of what peers send to each other: names, records, frames, datagrams.

/// TCP and UDP port of a super peer. It is not in Debian's /etc/services, and no program of this
/// kind uses it by default.
pub const SUPER_PORT: u16 = 4777;
/// TCP port on which a weak peer serves chunks.
pub const CHUNK_PORT: u16 = 4778;
/// TCP port of the page about a node (`--http`).
pub const HTTP_PORT: u16 = 4779;
/// Version of the protocol, `[major, minor]`. It does not depend on the version of the crate.
pub const PROTOCOL_VERSION: [u8; 2] = [1, 0];
/// Bytes of a piece, the unit of transfer and verification. The size is a power of two of BLAKE3
/// chunks, so that a piece is a complete subtree (blake3 `hazmat` docs).
pub const PIECE_BYTES: u64 = 1 << 20;
/// Longest chunk that one GET may request, in bytes: one piece.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Most pieces of a file that is shared or downloaded. This is 1 TiB, with a manifest that takes 32
/// MiB of memory.
pub const PIECES_MAX: u64 = 1 << 20;
/// Longest name that a `get` accepts, in bytes: a path, and a slash for a folder.
pub const GET_BYTES_MAX: usize = PATH_BYTES_MAX + 1;
/// Longest path of a file record, in bytes, so that every record fits in a datagram.
pub const PATH_BYTES_MAX: usize = 700;
/// Longest name that is published on disk, in bytes: the limit of the usual file systems
/// (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest pattern of a query, in bytes, so that a QUERY fits in a datagram with room for later
/// fields.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Longest URI of a content, in bytes. It fits in a line of the control socket and in a chat.
pub const URI_BYTES_MAX: usize = 4096;
/// Most super peers that a URI names.
pub const URI_SUPERS_MAX: usize = 8;
/// Longest range of positions, in bytes: two positions of 40 bytes each in hex digits, and the sign
/// between them.
pub const RANGE_BYTES_MAX: usize = 161;
/// The fold by which names are compared (PROTOCOL.md 4.11), in the HELLO of links. A digest with
/// another fold is never used.
pub const FOLD: u8 = 1;
/// Longest advertised host, in bytes, so that a HIT fits in a datagram with the longest path.
pub const HOST_BYTES_MAX: usize = 100;
/// Longest name of a zone, in bytes. The name is kept for each member of a swarm.
pub const ZONE_BYTES_MAX: usize = 32;
/// Longest literal address with brackets and port, in bytes: the second address of a source.
pub const LITERAL_BYTES_MAX: usize = 54;
/// Longest body of the first frame of a connection (HELLO or WELCOME), in bytes.
pub const FRAME_BYTES_HELLO: usize = 256;
/// Longest frame body between HELLO and READY, in bytes.
pub const FRAME_BYTES_LOGIN: usize = 1024;
/// Longest body of a WELCOME in login mode. It may contain [`super::ROTATIONS_MAX`] changes of key,
/// 128 bytes each.
pub const FRAME_BYTES_WELCOME: usize = 2048;
/// Longest frame body of an open session or chunk connection, in bytes. Longer lists are split into
/// pages.
pub const FRAME_BYTES_OPEN: usize = 64 * 1024;
/// A sender ends a page of file records at this many bytes of records, which leaves room for the
/// other fields of the frame.
pub const PAGE_BYTES: usize = 60 * 1024;
/// Deepest nesting of values that a decoder accepts. The deepest message has 5.
pub const DECODE_DEPTH_MAX: u16 = 8;
/// Chaining values in one page of a manifest: 32 KiB.
pub const MANIFEST_PAGE_CVS: usize = 1024;
/// Bytes of these values.
pub const MANIFEST_PAGE_BYTES: u64 = MANIFEST_PAGE_CVS as u64 * 32;
/// Longest datagram, in bytes. It is below the path MTU of common tunnels (GUESS §4.2 advises 1
/// KiB, at most 1400).
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Longest envelope of a datagram, which is that of login mode (PROTOCOL.md 6.5), in bytes.
pub const DATAGRAM_ENVELOPE_BYTES: usize = 29;

const _: () = assert!(PAGE_BYTES + 1024 < FRAME_BYTES_OPEN);
const _: () = assert!(FRAME_BYTES_HELLO < FRAME_BYTES_LOGIN && FRAME_BYTES_LOGIN < FRAME_BYTES_OPEN);
const _: () = assert!(MANIFEST_PAGE_CVS * 32 < PAGE_BYTES);
const _: () =
    assert!(PATH_BYTES_MAX + HOST_BYTES_MAX + LITERAL_BYTES_MAX + 256 + DATAGRAM_ENVELOPE_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX as u64 == PIECE_BYTES);
