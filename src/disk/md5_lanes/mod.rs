//! Computes the MD5 of several messages at once, one per SIMD lane, behind [`md5_each`]. Nothing
//! outside of this folder knows how many lanes there are.
//!
//! MD5 (RFC 1321) is a chain of dependent steps. So one message cannot use the width of a modern
//! core, but sixteen can. Two widths are compiled in, and the widest one that the processor has is
//! used: 16 lanes with AVX-512, 8 with AVX2. On other processors, and if a message is alone, the
//! `md-5` crate hashes one message after the other.
//!
//! # Why not a library
//!
//! Two crates hash several messages at once. `md5-many` (0.1.0-alpha.4) is an alpha of one author,
//! three months old in November 2026, with 161 uses of `unsafe` in 14,000 lines. `md5-simd` (0.2.0)
//! cannot hash in strips, which is how a source reads its chunks. sprat hashes at most 16 messages
//! at once; `cargo run --release --features measure --example md5_lanes` prints the rates of the
//! lanes and of the `md-5` crate. Look again once `md5-many` has a stable release.

// This module comes first because of its macros.
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod rounds;
mod gather;
mod strips;
#[cfg(test)]
mod tests;
mod width;

use std::io;

pub(super) use self::gather::{Gathering, fill_batch};
pub use self::strips::Source;
use self::strips::md5_alone;
use self::width::Width;
use crate::wire::ids::Md5;

/// If fewer messages have the same length, it is faster to hash them one after the other.
const LANES_MIN: usize = 2;

/// The MD5 of each message, in order. If a file cannot be read, its error takes the place of the
/// MD5. Messages of the same length are hashed together; they need not be neighbors in the list.
/// The buffer is for reading files.
#[must_use]
pub fn md5_each(messages: &[Source<'_>], buffer: &mut Vec<u8>) -> Vec<io::Result<Md5>> {
    md5_each_at(Width::widest(), messages, buffer)
}

fn md5_each_at(width: Width, messages: &[Source<'_>], buffer: &mut Vec<u8>) -> Vec<io::Result<Md5>> {
    let mut order: Vec<(usize, Source<'_>)> = messages.iter().copied().enumerate().collect();
    order.sort_unstable_by_key(|(_, message)| message.length());
    let mut digests: Vec<(usize, io::Result<Md5>)> = Vec::with_capacity(messages.len());
    for alike in order.chunk_by(|(_, a), (_, b)| a.length() == b.length()) {
        for batch in alike.chunks(width.lanes()) {
            let sources: Vec<Source<'_>> = batch.iter().map(|(_, source)| *source).collect();
            let hashed = match sources.len() {
                ..LANES_MIN => sources.iter().map(|source| md5_alone(source, buffer)).collect(),
                LANES_MIN.. => width.hash_alike(&sources, buffer),
            };
            digests.extend(batch.iter().map(|(n, _)| *n).zip(hashed));
        }
    }
    digests.sort_unstable_by_key(|(n, _)| *n);
    digests.into_iter().map(|(_, digest)| digest).collect()
}

/// The reference for the tests.
#[cfg(test)]
pub(super) fn md5_of(bytes: &[u8]) -> Md5 {
    use md5::Digest as _;
    Md5(md5::Md5::digest(bytes).into())
}
