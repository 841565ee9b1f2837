//! Random numbers from the operating system, for the keys, tokens and ids of a process and for its
//! machines.

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

/// Random numbers for a machine, which draws one for each query or file. Several are fetched at
/// once, and each is used only once.
#[derive(Debug, Default)]
pub(crate) struct Fetched(Vec<u64>);

impl Entropy for Fetched {
    fn next_u64(&mut self) -> u64 {
        if self.0.is_empty() {
            self.0.extend(bytes::<256>().as_chunks().0.iter().map(|eight| u64::from_ne_bytes(*eight)));
        }
        self.0.pop().unwrap_or_else(|| OsEntropy.next_u64())
    }
}

/// Random bytes, for a key or a token.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("an operating system without random numbers cannot run this program");
    bytes
}

/// A new node id, for a node of the open mode without a state.
pub(crate) fn node_id() -> NodeId {
    NodeId(bytes())
}

/// A new boot id. It is never 0, which means "unknown" on links.
pub(crate) fn boot_id() -> u64 {
    OsEntropy.next_u64().max(1)
}
