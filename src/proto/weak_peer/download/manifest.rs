//! The manifest of a content: the chaining value of each piece, how the values merge to the root,
//! and how its pages are put together. It hashes no content: pieces are hashed elsewhere.
//!
//! A list of chaining values does not prove the size of the content, because an inner node of the
//! tree could be sent as the value of a piece. The last piece, hashed at its offset, proves the
//! size, and so does the right edge of its tree (PROTOCOL.md, "The manifest").

use blake3::hazmat::{self, HasherExt, Mode};

use crate::config::{MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::Edge;
use crate::proto::pieces_of;
use crate::wire::ids::{Cv, Root};

/// The root that these values merge to. None unless there are at least two values, one for each
/// piece of a content of this size.
#[must_use]
pub fn root_of(cvs: &[Cv], size: u64) -> Option<Root> {
    if cvs.len() < 2 || u64::try_from(cvs.len()).ok()? != pieces_of(size) {
        return None;
    }
    let (left, right) = halves(cvs, size);
    Some(Root(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
}

/// The values of the two subtrees of a content of at least two pieces.
fn halves(cvs: &[Cv], size: u64) -> ([u8; 32], [u8; 32]) {
    let left = hazmat::left_subtree_len(size);
    debug_assert_eq!(left % PIECE_BYTES, 0, "a tree of more than one piece splits between pieces");
    let split = usize::try_from(left / PIECE_BYTES).unwrap_or(usize::MAX).min(cvs.len() - 1);
    (subtree(&cvs[..split], left), subtree(&cvs[split..], size - left))
}

/// The value of a subtree. The depth of the recursion is the logarithm of the number of pieces, at
/// most 20.
fn subtree(cvs: &[Cv], size: u64) -> [u8; 32] {
    if let [only] = cvs {
        return only.0;
    }
    let (left, right) = halves(cvs, size);
    hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Bytes of a leaf of the tree, which BLAKE3 calls a chunk.
const LEAF_BYTES: u64 = 1024;

/// Where the last leaf of a content begins. The content must not be empty.
fn last_leaf(size: u64) -> u64 {
    (size - 1) / LEAF_BYTES * LEAF_BYTES
}

/// Where the last piece of a content begins. The content must not be empty.
fn last_piece(size: u64) -> u64 {
    (size - 1) / PIECE_BYTES * PIECE_BYTES
}

fn subtree_of(bytes: &[u8], offset: u64) -> [u8; 32] {
    blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// The right edge of a content of this size, which must have at least two pieces. It is computed
/// from the bytes of the last piece.
#[must_use]
pub fn edge_of(piece: &[u8], size: u64) -> Option<Edge> {
    if size <= PIECE_BYTES || piece.len() as u64 != size - last_piece(size) {
        return None;
    }
    let start = last_piece(size);
    let mut left = Vec::new();
    // Each bit of the number of the last leaf within the piece is one complete subtree before it.
    let mut end = last_leaf(size) - start;
    let tail = piece.get(usize::try_from(end).ok()?..)?.to_vec();
    while end > 0 {
        let bytes = 1 << end.trailing_zeros();
        end -= bytes;
        let subtree = piece.get(usize::try_from(end).ok()?..)?.get(..usize::try_from(bytes).ok()?)?;
        left.extend(subtree_of(subtree, start + end));
    }
    Some(Edge { tail, left })
}

/// Whether this is the right edge of a content of this size whose last piece has this value. If the
/// values also merge to the root, the size is proven: the hash of a leaf depends on its number and
/// its length, and the hash of an inner node has another flag.
#[must_use]
pub fn proves(edge: &Edge, size: u64, last: &Cv) -> bool {
    if size <= PIECE_BYTES {
        return false;
    }
    let at = last_leaf(size);
    let subtrees = ((at - last_piece(size)) / LEAF_BYTES).count_ones() as usize;
    if edge.tail.len() as u64 != size - at || edge.left.len() != subtrees * Cv::LEN {
        return false;
    }
    let (left, _) = edge.left.as_chunks::<{ Cv::LEN }>();
    let merge = |right, left: &[u8; Cv::LEN]| hazmat::merge_subtrees_non_root(left, &right, Mode::Hash);
    left.iter().fold(subtree_of(&edge.tail, at), merge) == last.0
}

/// A manifest that is received page by page.
#[derive(Debug)]
pub struct Pages {
    size: u64,
    cvs: Vec<Cv>,
}

impl Pages {
    /// The manifest of a content of this size, before any page has come.
    #[must_use]
    pub fn new(size: u64) -> Pages {
        Pages { size, cvs: Vec::new() }
    }

    /// Bytes of the pages that have come.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.cvs.len() * Cv::LEN) as u64
    }

    /// The values that have come. None remain here.
    pub fn take(&mut self) -> Vec<Cv> {
        std::mem::take(&mut self.cvs)
    }

    /// First piece of the next page; none if all pages have come.
    #[must_use]
    pub fn wanted(&self) -> Option<u32> {
        let have = u32::try_from(self.cvs.len()).ok()?;
        (u64::from(have) < pieces_of(self.size)).then_some(have)
    }

    /// Adds the next page.
    ///
    /// # Errors
    /// If the page is not the one that is expected, states another size of the content, or has a
    /// wrong length.
    pub fn add(&mut self, size: u64, first: u32, page: &[u8]) -> Result<(), &'static str> {
        if size != self.size {
            return Err("reports another size of the content");
        }
        if self.wanted() != Some(first) {
            return Err("sent another page of the manifest than was asked for");
        }
        let left = pieces_of(self.size) - u64::from(first);
        let expected = usize::try_from(left).unwrap_or(usize::MAX).min(MANIFEST_PAGE_CVS);
        if page.len() != expected * Cv::LEN {
            return Err("sent a page of the manifest with a wrong length");
        }
        self.cvs.extend(page.as_chunks::<{ Cv::LEN }>().0.iter().map(|cv| Cv(*cv)));
        Ok(())
    }

    /// The complete manifest, if it merges to this root.
    #[must_use]
    pub fn proven(&self, root: Root) -> Option<&[Cv]> {
        (root_of(&self.cvs, self.size) == Some(root)).then_some(self.cvs.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn cvs_of(bytes: &[u8]) -> Vec<Cv> {
        let pieces = bytes.chunks(PIECE_BYTES as usize).enumerate();
        pieces
            .map(|(index, piece)| {
                let mut hasher = blake3::Hasher::new();
                hasher.set_input_offset(index as u64 * PIECE_BYTES).update(piece);
                Cv(hasher.finalize_non_root())
            })
            .collect()
    }

    #[test]
    fn pieces_merge_to_the_plain_root() {
        for size in [PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES - 1, 5 * PIECE_BYTES + 7] {
            let bytes = content(size);
            assert_eq!(root_of(&cvs_of(&bytes), size), Some(Root(*blake3::hash(&bytes).as_bytes())), "{size}");
        }
    }

    #[test]
    fn another_number_of_values_or_another_value_is_no_proof() {
        let bytes = content(3 * PIECE_BYTES);
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let mut cvs = cvs_of(&bytes);
        assert_eq!(root_of(&cvs[..2], 3 * PIECE_BYTES), None);
        assert_eq!(root_of(&cvs[..1], PIECE_BYTES), None);
        cvs[1].0[0] ^= 1;
        assert_ne!(root_of(&cvs, 3 * PIECE_BYTES), Some(root));
    }

    #[test]
    fn the_right_edge_proves_the_size_and_no_other() {
        for extra in [1, 1023, 1024, 1025, 4096, 5 * 1024 + 9, PIECE_BYTES - 1024, PIECE_BYTES - 1, PIECE_BYTES] {
            let size = PIECE_BYTES + extra;
            let bytes = content(size);
            let cvs = cvs_of(&bytes);
            let edge = edge_of(&bytes[PIECE_BYTES as usize..], size).unwrap();
            assert!(proves(&edge, size, &cvs[1]), "{extra}");
            assert!(edge.tail.len() <= 1024 && edge.left.len() <= 10 * Cv::LEN);
            for other in [size - 1, size + 1, size + 1024, size + PIECE_BYTES, PIECE_BYTES, 0] {
                assert!(!proves(&edge, other, &cvs[1]), "{extra}: {other}");
            }
            assert!(!proves(&edge, size, &cvs[0]), "of another piece");
            let mut wrong = edge.clone();
            wrong.tail[0] ^= 1;
            assert!(!proves(&wrong, size, &cvs[1]), "{extra}: another tail");
            if !edge.left.is_empty() {
                let mut wrong = edge.clone();
                wrong.left[31] ^= 1;
                assert!(!proves(&wrong, size, &cvs[1]), "{extra}: another value");
                wrong.left.truncate(edge.left.len() - Cv::LEN);
                assert!(!proves(&wrong, size, &cvs[1]), "{extra}: a value fewer");
            }
        }
    }

    #[test]
    fn an_inner_node_is_no_piece() {
        // Two values that merge to the root of a content of four pieces, passed off as two pieces.
        let size = 4 * PIECE_BYTES;
        let bytes = content(size);
        let cvs = cvs_of(&bytes);
        let merged = [subtree(&cvs[..2], size / 2), subtree(&cvs[2..], size / 2)].map(Cv);
        let forged = 2 * PIECE_BYTES;
        assert_eq!(root_of(&merged, forged), Some(Root(*blake3::hash(&bytes).as_bytes())));
        let last = &bytes[3 * PIECE_BYTES as usize..];
        for size in [forged, size] {
            assert!(edge_of(last, size).is_none_or(|edge| !proves(&edge, forged, &merged[1])));
        }
        // A parent whose two children are sent as 64 bytes of content.
        let parts = [&cvs[2].0[..], &cvs[3].0[..]].concat();
        let edge = Edge { tail: parts, left: Vec::new() };
        assert!(!proves(&edge, PIECE_BYTES + 64, &merged[1]));
    }

    #[test]
    fn pages_are_taken_in_order_and_at_their_length() {
        let pieces = MANIFEST_PAGE_CVS as u64 + 2;
        let mut pages = Pages::new(pieces * PIECE_BYTES);
        assert_eq!(pages.wanted(), Some(0));
        assert!(pages.add(pieces * PIECE_BYTES, 0, &[0; 32]).is_err());
        assert!(pages.add(1, 0, &[0; 32 * MANIFEST_PAGE_CVS]).is_err());
        assert!(pages.add(pieces * PIECE_BYTES, 5, &[0; 32 * MANIFEST_PAGE_CVS]).is_err());
        pages.add(pieces * PIECE_BYTES, 0, &[0; 32 * MANIFEST_PAGE_CVS]).unwrap();
        assert_eq!(pages.wanted(), Some(1024));
        pages.add(pieces * PIECE_BYTES, 1024, &[0; 64]).unwrap();
        assert_eq!(pages.wanted(), None);
    }
}
