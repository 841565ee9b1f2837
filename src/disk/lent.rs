//! Short chunks in memory, which the worker has read and the loop has not sent yet. It bounds their
//! number.

use std::sync::Arc;

use crate::config::SHORT_CHUNKS_MAX;

/// A short chunk that was read to be sent. It counts until it is dropped.
#[derive(Debug)]
pub struct Lent {
    bytes: Vec<u8>,
    _count: Arc<()>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Lends chunks.
#[derive(Debug, Default)]
pub(super) struct Lender(Arc<()>);

impl Lender {
    /// Whether one more chunk may be lent.
    pub(super) fn may_lend(&self) -> bool {
        Arc::strong_count(&self.0) <= SHORT_CHUNKS_MAX
    }

    pub(super) fn lend(&self, bytes: Vec<u8>) -> Lent {
        Lent { bytes, _count: self.0.clone() }
    }
}
