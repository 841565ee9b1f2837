//! Randomness from the operating system, for the ids of a process and for its machines.

use crate::proto::Entropy;
use crate::wire::NodeId;

/// Asks the operating system every time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("an operating system without random numbers cannot run this program")
    }
}

/// A fresh node id.
pub(crate) fn node_id() -> NodeId {
    let mut id = [0; NodeId::LEN];
    id[..8].copy_from_slice(&OsEntropy.next_u64().to_be_bytes());
    id[8..].copy_from_slice(&OsEntropy.next_u64().to_be_bytes());
    NodeId(id)
}

/// A fresh boot id; never 0, which stands for "unknown" on the links.
pub(crate) fn boot_id() -> u64 {
    OsEntropy.next_u64().max(1)
}
