//! The map beside a part file: a log of the manifest and of the pieces that were written. It is
//! only a hint: its data is verified before it is used.
//!
//! ```text
//! header    16 bytes "sprat part map 1", 32 root, 8 size, 8 check
//! manifest  'M', 4 number of values, 32 per value, 8 check
//! piece     'P', 4 number of the piece, 8 check
//! edge      'E', 2 length of the tail, 2 bytes of values, tail, values, 8 check
//! ```
//!
//! Numbers are little-endian. A check is the start of the BLAKE3 hash of the root and all earlier
//! bytes of its record. If a check does not match, its record and everything after it are cut off.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::hash::cvs_of;
use crate::config::{PIECE_BYTES, PIECES_MAX};
use crate::proto::disk::Edge;
use crate::proto::pieces_of;
use crate::proto::weak_peer::download::manifest;
use crate::wire::ids::{Cv, Root};

const MAGIC: &[u8; 16] = b"sprat part map 1";
const HEADER_BYTES: usize = 16 + 32 + 8 + CHECK_BYTES;
const CHECK_BYTES: usize = 8;
const TAG_MANIFEST: u8 = b'M';
const TAG_PIECE: u8 = b'P';
const TAG_EDGE: u8 = b'E';

/// An open map.
#[derive(Debug)]
pub(super) struct PartMap {
    file: File,
    root: Root,
    /// Length of the valid part of the file. The next record is written there. It replaces the rest
    /// of a failed write.
    good: u64,
}

/// The data that a map lists.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Bytes of the content.
    pub(super) size: u64,
    /// The manifest, if it merges to the root.
    pub(super) manifest: Option<Vec<Cv>>,
    /// The right edge of the tree, if it proves the size.
    pub(super) edge: Option<Edge>,
    /// The pieces, in descending order. They may be wrong.
    pub(super) pieces: Vec<u32>,
}

pub(super) enum Record {
    Manifest(Vec<Cv>),
    Piece(u32),
    Edge(Edge),
}

impl PartMap {
    /// Reads the data that the map of this content lists. None if the map belongs to another
    /// content or is empty.
    pub(super) fn read(file: File, root: Root) -> io::Result<(PartMap, Option<Listed>)> {
        let mut map = PartMap { file, root, good: 0 };
        let Some(size) = map.size()? else { return Ok((map, None)) };
        // If a listed piece was wrong, it is written and listed again, so a piece may be listed
        // several times.
        let bytes_max = 4096 + pieces_of(size) * (2 * 32 + 16 * 13);
        let length = map.file.metadata()?.len();
        if length > bytes_max {
            return Ok((map, None));
        }
        let mut bytes = vec![0; length as usize];
        map.file.read_exact_at(&mut bytes, 0)?;
        let mut good = HEADER_BYTES;
        let mut listed = Listed { size, ..Listed::default() };
        while let Some((record, used)) = Record::parse(&root, &bytes[good..]) {
            match record {
                Record::Manifest(cvs) => {
                    listed.manifest = Some(cvs).filter(|cvs| manifest::root_of(cvs, size) == Some(root));
                }
                Record::Piece(piece) => listed.pieces.push(piece),
                Record::Edge(edge) => listed.edge = Some(edge),
            }
            good += used;
        }
        let last = listed.manifest.as_ref().and_then(|cvs| cvs.last());
        let proves = |edge: &Edge| last.is_some_and(|last| manifest::proves(edge, size, last));
        listed.edge = listed.edge.filter(proves);
        map.file.set_len(good as u64)?;
        map.good = good as u64;
        listed.pieces.retain(|piece| u64::from(*piece) < pieces_of(size));
        listed.pieces.sort_unstable_by(|a, b| b.cmp(a));
        listed.pieces.dedup();
        if size > PIECE_BYTES && listed.manifest.is_none() {
            listed.pieces.clear();
        }
        Ok((map, Some(listed)))
    }

    /// The content to which the map in this file belongs.
    pub(super) fn root(file: &File) -> Option<Root> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (magic, rest) = bytes.split_at(MAGIC.len());
        let root = Root(*rest.first_chunk()?);
        let size = u64::from_le_bytes(*rest[Root::LEN..].first_chunk()?);
        (magic == MAGIC && bytes[..] == header(&root, size)[..]).then_some(root)
    }

    /// The size in the header, if it is the header of this content.
    fn size(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; HEADER_BYTES];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let size = bytes[MAGIC.len() + Root::LEN..].first_chunk().map(|size| u64::from_le_bytes(*size));
        let fits = |size: &u64| pieces_of(*size) <= PIECES_MAX && bytes[..] == header(&self.root, *size)[..];
        Ok(size.filter(fits))
    }

    /// Empties the map and writes its header.
    pub(super) fn clear(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        let header = header(&self.root, size);
        self.file.write_all_at(&header, 0)?;
        self.good = header.len() as u64;
        Ok(())
    }

    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let bytes = record.to_bytes(&self.root);
        self.file.write_all_at(&bytes, self.good)?;
        self.good += bytes.len() as u64;
        Ok(())
    }
}

impl Record {
    fn to_bytes(&self, root: &Root) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Record::Manifest(cvs) => {
                bytes.push(TAG_MANIFEST);
                bytes.extend_from_slice(&(cvs.len() as u32).to_le_bytes());
                cvs.iter().for_each(|cv| bytes.extend_from_slice(&cv.0));
            }
            Record::Piece(piece) => {
                bytes.push(TAG_PIECE);
                bytes.extend_from_slice(&piece.to_le_bytes());
            }
            Record::Edge(Edge { tail, left }) => {
                bytes.push(TAG_EDGE);
                bytes.extend_from_slice(&(tail.len() as u16).to_le_bytes());
                bytes.extend_from_slice(&(left.len() as u16).to_le_bytes());
                bytes.extend_from_slice(tail);
                bytes.extend_from_slice(left);
            }
        }
        checked(root, bytes)
    }

    /// The first record and its length. None at the end, or if the bytes are damaged.
    fn parse(root: &Root, bytes: &[u8]) -> Option<(Record, usize)> {
        let number = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
        let end = match bytes[0] {
            TAG_MANIFEST => (number as usize).checked_mul(32)?.checked_add(5)?,
            TAG_PIECE => 5,
            TAG_EDGE => 5 + lengths(number).0 + lengths(number).1,
            _ => return None,
        };
        let body = bytes.get(..end)?;
        if *bytes.get(end..end + CHECK_BYTES)? != check_of(root, body) {
            return None;
        }
        let record = match bytes[0] {
            TAG_MANIFEST => Record::Manifest(cvs_of(&body[5..])),
            TAG_EDGE => {
                let (tail, left) = body[5..].split_at(lengths(number).0);
                Record::Edge(Edge { tail: tail.to_vec(), left: left.to_vec() })
            }
            _ => Record::Piece(number),
        };
        Some((record, end + CHECK_BYTES))
    }
}

/// The length of the tail and the length of the values, from the number of an edge.
fn lengths(number: u32) -> (usize, usize) {
    (number as usize & 0xffff, number as usize >> 16)
}

fn header(root: &Root, size: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&root.0);
    header.extend_from_slice(&size.to_le_bytes());
    checked(root, header)
}

/// Appends the check.
fn checked(root: &Root, mut bytes: Vec<u8>) -> Vec<u8> {
    let check = check_of(root, &bytes);
    bytes.extend_from_slice(&check);
    bytes
}

fn check_of(root: &Root, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::Hasher::new().update(&root.0).update(bytes).finalize();
    *hash.as_bytes().first_chunk().expect("a hash is longer than a check")
}
