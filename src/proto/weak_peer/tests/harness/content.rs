//! Contents that are shared and downloaded, with all their digests.

use blake3::hazmat::HasherExt;
use md5::Digest as _;

use crate::config::PIECE_BYTES;
use crate::proto::Entropy;
use crate::sim::Random;
use crate::wire::Root;
use crate::wire::ids::{Cv, Md5};

/// Bytes with all their digests.
pub(in crate::proto::weak_peer::tests) struct Content {
    pub(in crate::proto::weak_peer::tests) bytes: Vec<u8>,
    pub(in crate::proto::weak_peer::tests) root: Root,
    pub(in crate::proto::weak_peer::tests) cvs: Vec<Cv>,
}

impl Content {
    pub(super) fn new(size: u64, seed: u64) -> Content {
        let mut random = Random::new(seed);
        let words = (0..size.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
        let bytes: Vec<u8> = words.take(size as usize).collect();
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let cvs = match bytes.len() as u64 {
            0..=PIECE_BYTES => Vec::new(),
            _ => bytes.chunks(PIECE_BYTES as usize).zip(0..).map(|(piece, n)| cv(piece, n * PIECE_BYTES)).collect(),
        };
        Content { bytes, root, cvs }
    }

    pub(in crate::proto::weak_peer::tests) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A size of two pieces, and two inner nodes of a content of three or four pieces. The nodes
    /// merge to the root of the content.
    pub(super) fn shorter(&self) -> (u64, Vec<u8>) {
        let [left, right] = [&self.cvs[..2], &self.cvs[2..]].map(|pair| match pair {
            [a, b] => blake3::hazmat::merge_subtrees_non_root(&a.0, &b.0, blake3::hazmat::Mode::Hash),
            [only] => only.0,
            _ => panic!("three or four pieces"),
        });
        (2 * PIECE_BYTES, [left, right].concat())
    }

    pub(super) fn range(&self, offset: u64, length: u32) -> Vec<u8> {
        self.bytes[offset as usize..offset as usize + length as usize].to_vec()
    }
}

pub(super) fn cv(piece: &[u8], offset: u64) -> Cv {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset).update(piece);
    Cv(hasher.finalize_non_root())
}

pub(super) fn md5_of(bytes: &[u8]) -> Md5 {
    Md5(md5::Md5::digest(bytes).into())
}
