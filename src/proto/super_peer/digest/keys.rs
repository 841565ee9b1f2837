//! What a digest is made of: the keys of a file, their hashes, and the bits of a hash (PROTOCOL.md
//! "Digests").

use crate::config::DIGEST_HASHES;
use crate::fold::{self, fold};
use crate::proto::super_peer::search::{Literal, glob_literals};
use crate::wire::record::split_path;
use crate::wire::{QueryKind, Root, Search};

/// The class of a key. It is the first byte that is hashed, so that a name and a word of the same
/// text differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The folded name.
    Name = 1,
    /// A word of the path.
    Word = 2,
    /// Three characters in a row of the folded name.
    Gram = 3,
    /// The root.
    Root = 4,
}

/// Characters of a gram.
const GRAM_CHARS: usize = 3;

/// FNV-1a over the class and the bytes, then the finalizer of splitmix64. This takes a few
/// instructions per byte; a file has about twenty keys. The hash has no secret key: names that are
/// chosen to collide only cause false positives.
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

/// The bits of a hash in a digest of 2^`log2` bits. Half of each number is the bit in a digest of
/// half the size.
pub(super) fn bits(hash: u64, log2: u8) -> impl Iterator<Item = usize> {
    let (mut at, step) = (low(hash), low(hash >> 32) | 1);
    (0..DIGEST_HASHES).map(move |_| {
        let bit = usize::try_from(u64::from(at) >> (32 - u32::from(log2))).unwrap_or(0);
        at = at.wrapping_add(step);
        bit
    })
}

/// Calls `each` with the hash of every key of a file in a folder, once per occurrence.
pub(super) fn of_file(folder: &str, name: &str, root: &Root, scratch: &mut String, mut each: impl FnMut(u64)) {
    each(hash(Class::Root, &root.0));
    if !folder.is_empty() {
        fold::for_each_word(fold(folder, scratch), |word| each(hash(Class::Word, word.as_bytes())));
    }
    let folded = fold(name, scratch);
    each(hash(Class::Name, folded.as_bytes()));
    fold::for_each_word(folded, |word| each(hash(Class::Word, word.as_bytes())));
    grams(folded, each);
}

fn grams(text: &str, mut each: impl FnMut(u64)) {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).skip(GRAM_CHARS - 1);
    for ((start, _), end) in text.char_indices().zip(ends) {
        each(hash(Class::Gram, &text.as_bytes()[start..end]));
    }
}

/// The keys of a search. Every file that matches the search has all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    keys: Vec<u64>,
    /// A file that has this key may fit without the other keys.
    instead: Option<u64>,
}

impl Probe {
    /// The keys of a search; none if no digest can rule out a hit.
    pub(crate) fn new(search: &Search) -> Probe {
        let pattern = search.pattern.as_str();
        let mut keys = Vec::new();
        let mut instead = None;
        match search.kind {
            QueryKind::Exact => keys.push(name_key(pattern)),
            QueryKind::Words => {
                words(pattern, &mut keys);
                // A pattern without a word fits only the path that ends in it.
                if keys.is_empty() {
                    ends_in(pattern, &mut keys);
                }
            }
            QueryKind::Glob => match glob_literals(pattern) {
                Some(literals) if pattern.contains('/') => {
                    literals.iter().for_each(|literal| words(complete_words(literal), &mut keys));
                }
                Some(literals) => literals.iter().for_each(|literal| grams(&literal.text, |key| keys.push(key))),
                None => ends_in(pattern, &mut keys),
            },
            QueryKind::Root => {
                keys.extend(Root::from_hex(pattern).map(|root| hash(Class::Root, &root.0)));
                instead = Some(name_key(pattern));
            }
            QueryKind::Path => ends_in(pattern, &mut keys),
            QueryKind::Below => words(pattern, &mut keys),
            QueryKind::Range | QueryKind::Unknown => {}
        }
        keys.sort_unstable();
        keys.dedup();
        Probe { keys, instead }
    }

    /// Whether a matching file may be in a digest. `has` returns whether the digest has a key.
    pub(super) fn may_fit(&self, has: impl Fn(u64) -> bool) -> bool {
        self.keys.iter().all(|key| has(*key)) || self.instead.is_some_and(has)
    }
}

fn name_key(name: &str) -> u64 {
    hash(Class::Name, fold::folded(name).as_bytes())
}

fn words(text: &str, keys: &mut Vec<u64>) {
    keys.extend(fold::asked(text).iter().map(|word| hash(Class::Word, word.as_bytes())));
}

/// Adds the keys of the paths that are equal to the pattern or end in it.
fn ends_in(pattern: &str, keys: &mut Vec<u64>) {
    keys.push(name_key(split_path(pattern).1));
    words(pattern, keys);
}

/// The part of a literal that consists of complete words of every matching path. A word at the
/// start or end of the literal may be only a part of a word of the path.
fn complete_words(literal: &Literal) -> &str {
    let Literal { text, first, last } = literal;
    let begin = if *first { Some(0) } else { text.find(fold::separates) };
    let end = if *last { Some(text.len()) } else { text.rfind(fold::separates) };
    begin.zip(end).filter(|(begin, end)| begin <= end).map_or("", |(begin, end)| &text[begin..end])
}

#[expect(clippy::cast_possible_truncation, reason = "only the low half is used")]
fn low(hash: u64) -> u32 {
    hash as u32
}
