//! Randomness from the operating system, for the ids of a process and for its machines.

use crate::proto::Entropy;
use crate::wire::NodeId;

/// Random numbers of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("an operating system without random numbers cannot run this program")
    }
}

/// A new node id.
pub(crate) fn node_id() -> NodeId {
    let mut id = [0; NodeId::LEN];
    id[..8].copy_from_slice(&OsEntropy.next_u64().to_be_bytes());
    id[8..].copy_from_slice(&OsEntropy.next_u64().to_be_bytes());
    NodeId(id)
}

/// A new boot id; never 0, which means "unknown" on links.
pub(crate) fn boot_id() -> u64 {
    OsEntropy.next_u64().max(1)
}
