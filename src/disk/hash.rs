//! Roots, chaining values and digests of the contents of files. Files are read and not mapped,
//! because access to a map fails if the file shrinks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use blake3::hazmat::HasherExt;

use super::md5_lanes::{Source, md5_each};
use crate::config::PIECE_BYTES;
use crate::proto::weak_peer::download::manifest::root_of as manifest_root;
use crate::proto::{Digests, HashPlan, Verify, pieces_of};
use crate::wire::ids::{Cv, Root};

/// The hashes of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentDigest {
    pub(super) root: Root,
    /// One value per piece. Empty for a content of at most one piece, because its root is not
    /// merged from values.
    pub(super) cvs: Vec<Cv>,
}

/// The root of a content of at most one piece.
pub(super) fn root_of(content: &[u8]) -> Root {
    Root(*blake3::hash(content).as_bytes())
}

/// The chaining value of the piece that begins at `offset`, for a content of more than one piece.
pub(super) fn cv_of(piece: &[u8], offset: u64) -> Cv {
    Cv(blake3::Hasher::new().set_input_offset(offset).update(piece).finalize_non_root())
}

/// The digests of received payloads, in order.
pub(super) fn digests_of(payloads: &[(&[u8], HashPlan)], verify: Verify) -> Vec<Digests> {
    let mut digests = vec![Digests { md5: None, blake3: None }; payloads.len()];
    if verify != Verify::Md5 {
        for (digests, (bytes, plan)) in digests.iter_mut().zip(payloads) {
            digests.blake3 = Some(match *plan {
                HashPlan::Content => root_of(bytes).0,
                // An empty payload is not a piece, and `hazmat` has no value for it. No piece
                // hashes to zeros only.
                HashPlan::Piece { .. } if bytes.is_empty() => [0; 32],
                HashPlan::Piece { offset } => cv_of(bytes, offset).0,
            });
        }
    }
    if verify != Verify::Blake3 {
        let messages: Vec<Source<'_>> = payloads.iter().map(|(bytes, _)| Source::Bytes(bytes)).collect();
        for (digests, md5) in digests.iter_mut().zip(md5_each(&messages, &mut Vec::new())) {
            digests.md5 = md5.ok();
        }
    }
    digests
}

/// The values of a manifest, from the form in which it is stored and sent.
pub(super) fn cvs_of(manifest: &[u8]) -> Vec<Cv> {
    manifest.as_chunks().0.iter().map(|cv| Cv(*cv)).collect()
}

/// The length of one piece of a content, in bytes.
pub(super) fn piece_length(size: u64, piece: u64) -> usize {
    size.saturating_sub(piece.saturating_mul(PIECE_BYTES)).min(PIECE_BYTES) as usize
}

/// Reads exactly `length` bytes into the buffer. Returns `UnexpectedEof` if the file has become
/// shorter.
pub(super) fn read_range<'b>(file: &File, offset: u64, length: usize, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let range = &mut buffer[..length];
    file.read_exact_at(range, offset)?;
    Ok(range)
}

/// Hashes one file, piece by piece, so that other jobs can run between two pieces.
#[derive(Debug)]
pub(super) struct FileHash {
    size: u64,
    piece: u64,
    cvs: Vec<Cv>,
}

impl FileHash {
    pub(super) fn new(size: u64) -> FileHash {
        FileHash { size, piece: 0, cvs: Vec::new() }
    }

    /// How many bytes are hashed.
    pub(super) fn bytes(&self) -> u64 {
        self.size.min(self.piece * PIECE_BYTES)
    }

    /// Hashes one piece. Returns the digest after the last one. Adds the number of bytes read to
    /// `bytes`.
    pub(super) fn step(
        &mut self,
        file: &File,
        buffer: &mut Vec<u8>,
        bytes: &mut u64,
    ) -> io::Result<Option<ContentDigest>> {
        let length = piece_length(self.size, self.piece);
        let range = read_range(file, self.piece * PIECE_BYTES, length, buffer)?;
        *bytes += length as u64;
        if self.size <= PIECE_BYTES {
            return Ok(Some(ContentDigest { root: root_of(range), cvs: Vec::new() }));
        }
        self.cvs.push(cv_of(range, self.piece * PIECE_BYTES));
        self.piece += 1;
        Ok(manifest_root(&self.cvs, self.size)
            .filter(|_| self.piece == pieces_of(self.size))
            .map(|root| ContentDigest { root, cvs: std::mem::take(&mut self.cvs) }))
    }

    /// Hashes the complete file.
    pub(super) fn complete(size: u64, file: &File, buffer: &mut Vec<u8>) -> io::Result<ContentDigest> {
        let mut hash = FileHash::new(size);
        loop {
            if let Some(digest) = hash.step(file, buffer, &mut 0)? {
                return Ok(digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::md5_lanes::md5_of;
    use super::*;

    const MIB: usize = 1 << 20;

    pub(crate) fn content(length: usize) -> Vec<u8> {
        let mut state = 0x1234_5678_9abc_def1_u64 ^ length as u64;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn every_size_hashes_to_what_b3sum_prints() {
        let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 3 * MIB + 17, 5 * MIB, 7 * MIB + 1];
        for size in sizes {
            let bytes = content(size);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let digest = FileHash::complete(size as u64, &file, &mut Vec::new()).unwrap();
            assert_eq!(digest.root, root_of(&bytes), "{size} bytes");
            if size > MIB {
                assert_eq!(digest.cvs.len() as u64, pieces_of(size as u64));
                assert_eq!(manifest_root(&digest.cvs, size as u64), Some(digest.root));
            } else {
                assert!(digest.cvs.is_empty());
            }
        }
    }

    #[test]
    fn a_manifest_of_the_wrong_length_has_no_root() {
        let bytes = content(3 * MIB);
        let cvs: Vec<Cv> = bytes.chunks(MIB).enumerate().map(|(i, piece)| cv_of(piece, (i * MIB) as u64)).collect();
        assert_eq!(manifest_root(&cvs, 3 * MIB as u64), Some(root_of(&bytes)));
        assert_eq!(manifest_root(&cvs, 3 * MIB as u64 + 1), None);
        assert_eq!(manifest_root(&cvs[..1], MIB as u64), None);
    }

    #[test]
    fn a_payload_gets_the_digests_that_were_asked_for() {
        let bytes = content(1000);
        let both = digests_of(&[(&bytes, HashPlan::Content)], Verify::Both)[0];
        assert_eq!(both.blake3, Some(root_of(&bytes).0));
        assert_eq!(both.md5, Some(md5_of(&bytes)));
        let md5 = digests_of(&[(&bytes, HashPlan::Piece { offset: 0 })], Verify::Md5)[0];
        assert_eq!((md5.md5, md5.blake3), (both.md5, None));
        let piece = digests_of(&[(&bytes, HashPlan::Piece { offset: PIECE_BYTES })], Verify::Blake3)[0];
        assert_eq!((piece.md5, piece.blake3), (None, Some(cv_of(&bytes, PIECE_BYTES).0)));
    }
}
