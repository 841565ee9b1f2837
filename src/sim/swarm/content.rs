//! The file of a swarm: its manifest and its root. Only the last piece has real bytes. The digests
//! of payloads come from here; in a driver, they come from the worker.

use blake3::hazmat::HasherExt;

use crate::config::PIECE_BYTES;
use crate::proto::disk::Edge;
use crate::proto::weak_peer::download::manifest::{edge_of, root_of};
use crate::proto::{Digests, Entropy, HashPlan, Verify};
use crate::sim::random::Random;
use crate::wire::ids::{Cv, Md5, Root};

/// The root, the size and the manifest of the file that all peers fetch.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) root: Root,
    pub(super) size: u64,
    /// The manifest; empty for a file of one piece.
    pub(super) cvs: Vec<Cv>,
    /// The right edge of its tree.
    pub(super) edge: Option<Edge>,
}

impl Content {
    pub(super) fn new(pieces: u32, random: &mut Random) -> Content {
        let mut value = || {
            let mut bytes = [0; 32];
            bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next_u64().to_le_bytes()));
            bytes
        };
        let last: Vec<u8> = (0..PIECE_BYTES / 32).flat_map(|_| value()).collect();
        let size = u64::from(pieces) * PIECE_BYTES;
        if pieces == 1 {
            return Content { root: Root(*blake3::hash(&last).as_bytes()), size, cvs: Vec::new(), edge: None };
        }
        let mut cvs: Vec<Cv> = (1..pieces).map(|_| Cv(value())).collect();
        let offset = u64::from(pieces - 1) * PIECE_BYTES;
        cvs.push(Cv(blake3::Hasher::new().set_input_offset(offset).update(&last).finalize_non_root()));
        let root = root_of(&cvs, size).expect("there is a value for each piece");
        Content { root, size, cvs, edge: edge_of(&last, size) }
    }

    /// The MD5 of every correct chunk. Nothing compares it with bytes.
    pub(super) const MD5: Md5 = Md5([0x5d; 16]);

    /// The digests that the worker reports for a payload.
    pub(super) fn digests(&self, plan: HashPlan, verify: Verify) -> Digests {
        let blake3 = match plan {
            HashPlan::Content => self.root.0,
            HashPlan::Piece { offset } => self.cvs[(offset / PIECE_BYTES) as usize].0,
        };
        let (md5, blake3) = match verify {
            Verify::Both => (Some(Content::MD5), Some(blake3)),
            Verify::Blake3 => (None, Some(blake3)),
            Verify::Md5 => (Some(Content::MD5), None),
        };
        Digests { md5, blake3 }
    }
}
