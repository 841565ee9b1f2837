//! Ports, and the limits of what peers send to each other: names, records, frames, datagrams.

/// TCP and UDP port of a super peer. Not used in Debian's /etc/services, nor by default by programs
/// of this kind.
pub const SUPER_PORT: u16 = 4777;
/// TCP port on which a weak peer serves chunks.
pub const CHUNK_PORT: u16 = 4778;
/// TCP port of the page about a node (`--http`).
pub const HTTP_PORT: u16 = 4779;
/// Version of the protocol, `[major, minor]`; independent of the crate's.
pub const PROTOCOL_VERSION: [u8; 2] = [1, 0];
/// Bytes of a piece, the unit of transfer and verification. A power of two of BLAKE3 chunks, so
/// that a piece is a complete subtree (blake3 `hazmat` docs).
pub const PIECE_BYTES: u64 = 1 << 20;
/// Longest chunk one GET may ask for, in bytes: one piece.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Most pieces of a file that is shared or downloaded: 1 TiB, whose manifest takes 32 MiB of
/// memory.
pub const PIECES_MAX: u64 = 1 << 20;
/// Longest name that a `get` takes, in bytes: a path, and a slash after a folder.
pub const GET_BYTES_MAX: usize = PATH_BYTES_MAX + 1;
/// Longest path of a file record, in bytes, so that every record fits in a datagram.
pub const PATH_BYTES_MAX: usize = 700;
/// Longest name that is published on disk, in bytes: the limit of the usual file systems
/// (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest pattern of a query, in bytes, so that a QUERY fits in a datagram with room for later
/// fields.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Longest URI of a content, in bytes: it fits in a line of the control socket and in a chat.
pub const URI_BYTES_MAX: usize = 4096;
/// Most super peers that a URI names.
pub const URI_SUPERS_MAX: usize = 8;
/// Longest range of positions, in bytes: two positions of 40 bytes each in hex digits, and the sign
/// between them.
pub const RANGE_BYTES_MAX: usize = 161;
/// The fold by which names are compared (PROTOCOL.md 4.11), in the HELLO of links. A digest of
/// another fold is never believed.
pub const FOLD: u8 = 1;
/// Longest advertised host, in bytes, so that a HIT fits in a datagram with the longest path.
pub const HOST_BYTES_MAX: usize = 100;
/// Longest name of a zone, in bytes: it is kept for each member of a swarm.
pub const ZONE_BYTES_MAX: usize = 32;
/// Longest literal address with brackets and port, in bytes: the second address of a source.
pub const LITERAL_BYTES_MAX: usize = 54;
/// Longest body of the first frame of a connection (HELLO or WELCOME), in bytes.
pub const FRAME_BYTES_HELLO: usize = 256;
/// Longest frame body between HELLO and READY, in bytes.
pub const FRAME_BYTES_LOGIN: usize = 1024;
/// Longest body of a WELCOME in login mode: it may carry [`super::ROTATIONS_MAX`] changes of key of
/// 128 bytes each.
pub const FRAME_BYTES_WELCOME: usize = 2048;
/// Longest frame body of an open session or chunk connection, in bytes. Longer lists are paged.
pub const FRAME_BYTES_OPEN: usize = 64 * 1024;
/// A sender ends a page of file records at this many bytes of records, which leaves room for the
/// other fields of the frame.
pub const PAGE_BYTES: usize = 60 * 1024;
/// Deepest nesting of values that a decoder follows. The deepest message has 5.
pub const DECODE_DEPTH_MAX: u16 = 8;
/// Chaining values in one page of a manifest: 32 KiB.
pub const MANIFEST_PAGE_CVS: usize = 1024;
/// Longest datagram, in bytes: below the path MTU of common tunnels (GUESS §4.2 advises 1 KiB, at
/// most 1400).
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Bytes of the longest envelope of a datagram, that of login mode (PROTOCOL.md 6.5).
pub const DATAGRAM_ENVELOPE_BYTES: usize = 29;

const _: () = assert!(PAGE_BYTES + 1024 < FRAME_BYTES_OPEN);
const _: () = assert!(FRAME_BYTES_HELLO < FRAME_BYTES_LOGIN && FRAME_BYTES_LOGIN < FRAME_BYTES_OPEN);
const _: () = assert!(MANIFEST_PAGE_CVS * 32 < PAGE_BYTES);
const _: () =
    assert!(PATH_BYTES_MAX + HOST_BYTES_MAX + LITERAL_BYTES_MAX + 256 + DATAGRAM_ENVELOPE_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX as u64 == PIECE_BYTES);
