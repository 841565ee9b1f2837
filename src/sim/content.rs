//! The contents of all files of a run: bytes that are made from a seed, and their digests. The real
//! hash functions compute each digest once.

use std::collections::BTreeMap;
use std::sync::Arc;

use blake3::hazmat::HasherExt;
use md5::{Digest, Md5 as Md5Hasher};

use super::random::Random;
use crate::config::PIECE_BYTES;
use crate::proto::disk::Edge;
use crate::proto::weak_peer::download::manifest::edge_of;
use crate::proto::{Digests, Entropy, HashPlan, Verify, pieces_of};
use crate::wire::ids::{Cv, Md5, Root};

/// A content of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentId(usize);

/// A range of a content. It is sent and stored in place of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) content: ContentId,
    pub(super) offset: u64,
    pub(super) length: u32,
}

#[derive(Clone)]
struct Content {
    bytes: Arc<[u8]>,
    root: Root,
}

/// All contents of a run. A copy shares the bytes and the digests that are already known.
#[derive(Clone, Default)]
pub struct Contents {
    list: Vec<Content>,
    by_root: BTreeMap<Root, ContentId>,
    md5s: BTreeMap<Extent, Md5>,
    /// BLAKE3 values, by extent and by the offset at which it is hashed; none: hashed as a content
    /// of its own.
    blake3s: BTreeMap<(Extent, Option<u64>), [u8; 32]>,
}

impl Contents {
    /// Makes a content of this many bytes.
    pub fn make(&mut self, size: usize, random: &mut Random) -> ContentId {
        let mut bytes = vec![0; size];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&random.next_u64().to_le_bytes()[..part.len()]);
        }
        self.add(bytes)
    }

    /// Makes a copy of a content in which one bit of each of these bytes is wrong. A lying source
    /// serves it in place of the content.
    pub fn falsify(&mut self, content: ContentId, at: &[usize]) -> ContentId {
        let mut bytes = self.list[content.0].bytes.to_vec();
        at.iter().for_each(|&at| bytes[at] ^= 1);
        self.add(bytes)
    }

    fn add(&mut self, bytes: Vec<u8>) -> ContentId {
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let content = ContentId(self.list.len());
        self.by_root.insert(root, content);
        self.list.push(Content { bytes: bytes.into(), root });
        content
    }

    /// Computes all digests that a download may need, so that copies need not compute them.
    pub fn warm(&mut self) {
        for content in (0..self.list.len()).map(ContentId) {
            self.manifest(content);
            let pieces = u32::try_from(pieces_of(self.size(content))).expect("few pieces");
            for piece in 0..pieces {
                let extent = self.piece(content, piece);
                self.md5(extent);
                self.blake3(extent, (pieces > 1).then_some(extent.offset));
            }
        }
    }

    /// The root of the content.
    #[must_use]
    pub fn root(&self, content: ContentId) -> Root {
        self.list[content.0].root
    }

    pub(super) fn find(&self, root: Root) -> Option<ContentId> {
        self.by_root.get(&root).copied()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self, content: ContentId) -> u64 {
        self.list[content.0].bytes.len() as u64
    }

    pub(super) fn bytes(&self, extent: Extent) -> &[u8] {
        let start = usize::try_from(extent.offset).expect("within a content");
        &self.list[extent.content.0].bytes[start..start + extent.length as usize]
    }

    pub(super) fn md5(&mut self, extent: Extent) -> Md5 {
        if let Some(md5) = self.md5s.get(&extent) {
            return *md5;
        }
        let md5 = Md5(Md5Hasher::digest(self.bytes(extent)).into());
        self.md5s.insert(extent, md5);
        md5
    }

    fn blake3(&mut self, extent: Extent, at: Option<u64>) -> [u8; 32] {
        if let Some(value) = self.blake3s.get(&(extent, at)) {
            return *value;
        }
        let bytes = self.bytes(extent);
        let value = match at {
            None => *blake3::hash(bytes).as_bytes(),
            Some(at) => blake3::Hasher::new().set_input_offset(at).update(bytes).finalize_non_root(),
        };
        self.blake3s.insert((extent, at), value);
        value
    }

    pub(super) fn digests(&mut self, extent: Extent, plan: HashPlan, verify: Verify) -> Digests {
        let at = match plan {
            HashPlan::Content => None,
            HashPlan::Piece { offset } => Some(offset),
        };
        let (md5, blake3) = match verify {
            Verify::Both => (true, true),
            Verify::Blake3 => (false, true),
            Verify::Md5 => (true, false),
        };
        Digests { md5: md5.then(|| self.md5(extent)), blake3: blake3.then(|| self.blake3(extent, at)) }
    }

    /// The extent of a piece.
    pub(super) fn piece(&self, content: ContentId, piece: u32) -> Extent {
        let offset = u64::from(piece) * PIECE_BYTES;
        let length = (self.size(content) - offset).min(PIECE_BYTES);
        Extent { content, offset, length: u32::try_from(length).expect("at most a piece") }
    }

    /// The manifest; empty for a content of at most one piece.
    pub(super) fn manifest(&mut self, content: ContentId) -> Vec<Cv> {
        let pieces = u32::try_from(pieces_of(self.size(content))).expect("few pieces");
        if pieces < 2 {
            return Vec::new();
        }
        let extents: Vec<Extent> = (0..pieces).map(|piece| self.piece(content, piece)).collect();
        extents.into_iter().map(|extent| Cv(self.blake3(extent, Some(extent.offset)))).collect()
    }
}

impl Contents {
    /// The right edge of a content of at least two pieces.
    pub(super) fn edge(&self, content: ContentId) -> Option<Edge> {
        let pieces = u32::try_from(pieces_of(self.size(content))).expect("few pieces");
        let last = self.piece(content, pieces.checked_sub(1)?);
        edge_of(self.bytes(last), self.size(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::weak_peer::download::manifest::root_of;

    #[test]
    fn a_manifest_merges_to_its_root() {
        let mut contents = Contents::default();
        let size = 2 * PIECE_BYTES + 5;
        let content = contents.make(usize::try_from(size).unwrap(), &mut Random::new(1));
        let cvs = contents.manifest(content);
        assert_eq!(root_of(&cvs, size), Some(contents.root(content)));
    }
}
