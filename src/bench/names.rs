//! Invented files. Their names have 43 bytes, like those of real shares, and are computed from a
//! number.

use std::fmt::Write;

use crate::config::PAGE_BYTES;
use crate::wire::{FileRecord, Root, SharePath};

/// How many words the names are made of.
const WORDS: u64 = 2000;
/// The most bytes of a record on the wire without its path.
const RECORD_BYTES: usize = 56;

/// The chunk port that the bench registers. It is the discard port, because the bench serves
/// nothing.
pub(in crate::bench) const PORT: u16 = 9;

/// Spreads the bits of a number.
pub(in crate::bench) fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n
}

/// The name of the file with this number.
pub(in crate::bench) fn name(n: u64) -> String {
    let mut name = String::with_capacity(48);
    for word in 0..5 {
        let _ = write!(name, "w{:04} ", mix(n.wrapping_mul(5).wrapping_add(word)) % WORDS);
    }
    let _ = write!(name, "{n:08}.flac");
    name
}

/// The file with this number.
pub(in crate::bench) fn record(n: u64) -> FileRecord {
    let mut root = [0; Root::LEN];
    for (at, part) in (0_u64..).zip(root.chunks_exact_mut(8)) {
        part.copy_from_slice(&mix(n.wrapping_mul(4).wrapping_add(at)).to_be_bytes());
    }
    let path = SharePath::new(&name(n)).expect("a name has 43 bytes, or a few more");
    FileRecord { path, size: n, root: Root(root), collection: false }
}

/// As many of the files from `first` up to `end` as fit in one page.
pub(in crate::bench) fn page(first: u64, end: u64) -> Vec<FileRecord> {
    let mut bytes = 0;
    let fits = |record: &FileRecord| {
        bytes += record.path.as_str().len() + RECORD_BYTES;
        bytes <= PAGE_BYTES
    };
    (first..end).map(record).take_while(fits).collect()
}
