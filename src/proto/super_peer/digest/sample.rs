//! A digest outside of a super peer, for tests and measurements, with the same bits and the same
//! test as between neighbors.

use super::filter::Filter;
use super::keys::{self, Probe};
use crate::wire::record::split_path;
use crate::wire::{Root, Search};

/// A digest that is not tied to an index.
#[derive(Debug)]
pub struct Sample(Filter);

impl Sample {
    /// An empty digest of 2^`log2` bits.
    ///
    /// # Panics
    /// If `log2` is below 3 or above [`crate::config::DIGEST_LOG2_MAX`].
    #[must_use]
    pub fn new(log2: u8) -> Sample {
        Sample(Filter::new(log2))
    }

    /// Adds the keys of one file.
    pub fn add(&mut self, path: &str, root: &Root) {
        let (folder, name) = split_path(path);
        keys::of_file(folder, name, root, &mut String::new(), |key| {
            self.0.add(key);
        });
    }

    /// The bits, as PROTOCOL.md "Digests" numbers them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Whether a file that fits may be in the digest.
    #[must_use]
    pub fn may_have(&self, search: &Search) -> bool {
        Probe::new(search).may_fit(|key| self.0.has(key))
    }
}
