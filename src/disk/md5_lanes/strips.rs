//! Hashes messages of the same length side by side, strip by strip. It uses the `compress` function
//! of any width.
#![cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only vector instructions use it"))]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use md5::Digest as _;

use crate::wire::ids::Md5;

const BLOCK_BYTES: usize = 64;
/// How many bytes of each message are processed at once. Sixteen such strips fit in the L2 cache of
/// every processor with sixteen lanes.
pub(super) const STRIP_BYTES: usize = 32 * 1024;

pub(super) type Block = [u8; BLOCK_BYTES];
/// The four words of the state; each word has one value per lane.
pub(super) type State<const N: usize> = [[u32; N]; 4];

/// RFC 1321, section 3.3.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Where a message is.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// A range of a file.
    File {
        /// The open file.
        file: &'a File,
        /// First byte.
        offset: u64,
        /// How many bytes.
        length: usize,
    },
}

impl<'a> Source<'a> {
    /// Length of the message in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Source::Bytes(bytes) => bytes.len(),
            Source::File { length, .. } => *length,
        }
    }

    /// Bytes `at..at + length` of the message, read into the buffer if they are not in memory.
    pub(super) fn strip<'b>(&self, at: usize, length: usize, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]>
    where
        'a: 'b,
    {
        match self {
            Source::Bytes(bytes) => Ok(&bytes[at..at + length]),
            Source::File { file, offset, .. } => {
                buffer.resize(buffer.len().max(length), 0);
                file.read_exact_at(&mut buffer[..length], offset + at as u64)?;
                Ok(&buffer[..length])
            }
        }
    }
}

/// The MD5 of one message, by the `md-5` crate.
pub(super) fn md5_alone(message: &Source<'_>, buffer: &mut Vec<u8>) -> io::Result<Md5> {
    let mut md5 = md5::Md5::new();
    for at in (0..message.length()).step_by(STRIP_BYTES) {
        md5.update(message.strip(at, STRIP_BYTES.min(message.length() - at), buffer)?);
    }
    Ok(Md5(md5.finalize().into()))
}

/// The MD5s of 1 to `N` messages of the same length, in order. If a file cannot be read, its result
/// is the error; the other results are not affected.
pub(super) fn hash_alike<const N: usize>(
    messages: &[Source<'_>],
    buffer: &mut Vec<u8>,
    compress: impl Fn(&mut State<N>, [&[Block]; N]),
) -> Vec<io::Result<Md5>> {
    let length = messages[0].length();
    let mut state = INITIAL.map(|word| [word; N]);
    let mut errors = [const { None }; N];
    let mut at = 0;
    let digests = loop {
        let strip = STRIP_BYTES.min(length - at);
        for (lane, message) in messages.iter().enumerate() {
            if let (Source::File { file, offset, .. }, None) = (message, &errors[lane]) {
                buffer.resize(buffer.len().max(messages.len() * STRIP_BYTES), 0);
                let part = &mut buffer[lane * STRIP_BYTES..][..strip];
                errors[lane] = file.read_exact_at(part, offset + at as u64).err();
            }
        }
        // A lane without a message of its own repeats the last one.
        let strips: [&[u8]; N] = std::array::from_fn(|lane| {
            let lane = lane.min(messages.len() - 1);
            match messages[lane] {
                Source::Bytes(bytes) => &bytes[at..at + strip],
                Source::File { .. } => buffer.get(lane * STRIP_BYTES..lane * STRIP_BYTES + strip).unwrap_or_default(),
            }
        });
        at += strip;
        if at == length {
            break finish(state, length, strips, &compress);
        }
        compress(&mut state, strips.map(|strip| strip.as_chunks().0));
    };
    digests.into_iter().zip(errors).take(messages.len()).map(|(md5, error)| error.map_or(Ok(md5), Err)).collect()
}

/// Hashes the last strips of messages of `length` bytes. Then hashes the padding of RFC 1321,
/// sections 3.1 and 3.2: one bit, zeros, and the length in bits.
fn finish<const N: usize>(
    mut state: State<N>,
    length: usize,
    strips: [&[u8]; N],
    compress: &impl Fn(&mut State<N>, [&[Block]; N]),
) -> [Md5; N] {
    compress(&mut state, strips.map(|strip| strip.as_chunks().0));
    let rest = length % BLOCK_BYTES;
    let blocks = if rest + 9 <= BLOCK_BYTES { 1 } else { 2 };
    let tails: [[Block; 2]; N] = std::array::from_fn(|lane| {
        let mut tail = [[0; BLOCK_BYTES]; 2];
        let bytes = tail.as_flattened_mut();
        bytes[..rest].copy_from_slice(&strips[lane][strips[lane].len() - rest..]);
        bytes[rest] = 0x80;
        let end = blocks * BLOCK_BYTES;
        bytes[end - 8..end].copy_from_slice(&(length as u64).wrapping_mul(8).to_le_bytes());
        tail
    });
    compress(&mut state, std::array::from_fn(|lane| &tails[lane][..blocks]));
    std::array::from_fn(|lane| {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word[lane].to_le_bytes());
        }
        Md5(digest)
    })
}
