//! Several equally long messages as lanes: block by block through a `compress` of any width, then their ends and padding.

use std::io;

use crate::wire::ids::Md5;

const BLOCK_BYTES: usize = 64;
/// What is read of each stream at once: sixteen of them fit the second cache of any processor with so many lanes.
pub(super) const STRIP_BYTES: usize = 32 * 1024;

pub(super) type Block = [u8; BLOCK_BYTES];
/// The four words of the state, each of all lanes.
pub(super) type State<const N: usize> = [[u32; N]; 4];

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

pub(super) fn strip_by_strip<const N: usize>(
    count: usize,
    length: usize,
    buffer: &mut Vec<u8>,
    mut read: impl FnMut(usize, usize, &mut [u8]) -> io::Result<()>,
    compress: impl Fn(&mut State<N>, [&[Block]; N]),
) -> Vec<io::Result<Md5>> {
    buffer.resize(buffer.len().max(N * STRIP_BYTES), 0);
    let mut digests = Vec::with_capacity(count);
    for first in (0..count).step_by(N) {
        let lanes = N.min(count - first);
        let mut state = INITIAL.map(|word| [word; N]);
        let mut errors = [const { None }; N];
        let mut at = 0;
        let ended = loop {
            let strip = STRIP_BYTES.min(length - at);
            for (l, part) in buffer.chunks_exact_mut(STRIP_BYTES).take(lanes).enumerate() {
                if errors[l].is_none() {
                    errors[l] = read(first + l, at, &mut part[..strip]).err();
                }
            }
            // A lane without a stream of its own repeats the last.
            let parts: [&[u8]; N] = std::array::from_fn(|l| &buffer[l.min(lanes - 1) * STRIP_BYTES..][..strip]);
            at += strip;
            if at == length {
                break finish(state, length, parts, &compress);
            }
            compress(&mut state, parts.map(|part| part.as_chunks().0));
        };
        digests.extend(ended.into_iter().zip(errors).take(lanes).map(|(md5, error)| error.map_or(Ok(md5), Err)));
    }
    digests
}

/// The MD5 of up to `N` messages of one length.
pub(super) fn at_once<const N: usize>(
    messages: &[&[u8]],
    digests: &mut Vec<Md5>,
    compress: impl Fn(&mut State<N>, [&[Block]; N]),
) {
    // A lane without a message of its own repeats the last.
    let lanes: [&[u8]; N] = std::array::from_fn(|l| messages[l.min(messages.len() - 1)]);
    let ended = finish(INITIAL.map(|word| [word; N]), lanes[0].len(), lanes, &compress);
    digests.extend_from_slice(&ended[..messages.len()]);
}

/// Takes in the ends of messages of `length` bytes, then their padding: one bit, zeroes, and the length in bits.
fn finish<const N: usize>(
    mut state: State<N>,
    length: usize,
    ends: [&[u8]; N],
    compress: &impl Fn(&mut State<N>, [&[Block]; N]),
) -> [Md5; N] {
    compress(&mut state, ends.map(|end| end.as_chunks().0));
    let rest = length % BLOCK_BYTES;
    let blocks = if rest + 9 <= BLOCK_BYTES { 1 } else { 2 };
    let tails: [[Block; 2]; N] = std::array::from_fn(|l| {
        let mut tail = [[0; BLOCK_BYTES]; 2];
        let bytes = tail.as_flattened_mut();
        bytes[..rest].copy_from_slice(&ends[l][ends[l].len() - rest..]);
        bytes[rest] = 0x80;
        let end = blocks * BLOCK_BYTES;
        bytes[end - 8..end].copy_from_slice(&(length as u64).wrapping_mul(8).to_le_bytes());
        tail
    });
    compress(&mut state, std::array::from_fn(|l| &tails[l][..blocks]));
    std::array::from_fn(|l| {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word[l].to_le_bytes());
        }
        Md5(digest)
    })
}
