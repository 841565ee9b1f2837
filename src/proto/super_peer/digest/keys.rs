//! What a digest is made of: the keys of a file, their hashes, and the bits of a hash (PROTOCOL.md
//! "Digests").

use crate::config::DIGEST_HASHES;
use crate::proto::super_peer::index::tokens::{self, lower_into};
use crate::proto::super_peer::search::glob_literals;
use crate::wire::{QueryKind, Root, Search};

/// The class of a key. It is the first byte that is hashed, so that a name and a word of the same
/// text differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The name, byte for byte.
    Name = 1,
    /// A word of the name in lower case.
    Word = 2,
    /// Three characters in a row of the name in lower case.
    Gram = 3,
    /// The root.
    Root = 4,
}

/// Characters of a gram.
const GRAM_CHARS: usize = 3;

/// FNV-1a over the class and the bytes, then the finalizer of splitmix64: a few instructions a
/// byte, since a file has some twenty keys. It is not keyed: names that are chosen to collide cause
/// false positives and nothing worse.
fn hash(class: Class, bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut h = (BASIS ^ class as u64).wrapping_mul(PRIME);
    for byte in bytes {
        h = (h ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// The bits of a hash in a digest of 2^`log2` bits. Those in one of half the size are these,
/// halved.
pub(super) fn bits(hash: u64, log2: u8) -> impl Iterator<Item = usize> {
    let (mut at, step) = (low(hash), low(hash >> 32) | 1);
    (0..DIGEST_HASHES).map(move |_| {
        let bit = usize::try_from(u64::from(at) >> (32 - u32::from(log2))).unwrap_or(0);
        at = at.wrapping_add(step);
        bit
    })
}

/// Calls `each` with the hash of every key of a file, once per occurrence.
pub(super) fn of_file(name: &str, root: &Root, scratch: &mut String, mut each: impl FnMut(u64)) {
    each(hash(Class::Root, &root.0));
    each(hash(Class::Name, name.as_bytes()));
    tokens::for_each(name, scratch, |word| each(hash(Class::Word, word.as_bytes())));
    scratch.clear();
    name.chars().for_each(|c| lower_into(c, scratch));
    grams(scratch, each);
}

fn grams(text: &str, mut each: impl FnMut(u64)) {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).skip(GRAM_CHARS - 1);
    for ((start, _), end) in text.char_indices().zip(ends) {
        each(hash(Class::Gram, &text.as_bytes()[start..end]));
    }
}

/// The keys that every file has which fits a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe(Vec<u64>);

impl Probe {
    /// The keys of a search; none if no digest can rule out a hit.
    pub(crate) fn new(search: &Search) -> Probe {
        let mut keys = Vec::new();
        let name = |pattern: &str| hash(Class::Name, pattern.as_bytes());
        match search.kind {
            QueryKind::Exact => keys.push(name(&search.pattern)),
            QueryKind::Words => {
                tokens::for_each(&search.pattern, &mut String::new(), |word| {
                    keys.push(hash(Class::Word, word.as_bytes()));
                });
                // A pattern without a word fits only the name that equals it.
                if keys.is_empty() {
                    keys.push(name(&search.pattern));
                }
            }
            QueryKind::Glob => {
                for literal in glob_literals(&search.pattern) {
                    grams(&literal, |key| keys.push(key));
                }
            }
            QueryKind::Root => keys.extend(Root::from_hex(&search.pattern).map(|root| hash(Class::Root, &root.0))),
            QueryKind::Range | QueryKind::Path | QueryKind::Below | QueryKind::Unknown => {}
        }
        keys.sort_unstable();
        keys.dedup();
        Probe(keys)
    }

    pub(super) fn keys(&self) -> &[u64] {
        &self.0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low half is used")]
fn low(hash: u64) -> u32 {
    hash as u32
}
