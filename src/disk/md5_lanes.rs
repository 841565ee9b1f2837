//! MD5 of several equally long messages at once, one per SIMD lane.
//!
//! MD5 is a chain of dependent steps, so one message cannot use a modern core's width; sixteen can. Three widths are built and
//! the widest that this processor has is taken: 16 lanes with AVX-512, 8 with AVX2, and 4 on plain arrays that the compiler
//! turns into what every processor of the target has. RFC 1321 is the source of the rounds; `examples/md5_lanes` measures the
//! widths beside the `md-5` crate, which does what does not fill the lanes.
//!
//! This is the only file with `unsafe` in it (`tests/tidy.rs` looks), and it is there for two reasons only:
//!
//! - a function that is built for AVX2 or AVX-512 is called: sound because [`Width`] is made by detecting the feature, and
//!   nothing else makes one;
//! - a vector is loaded from or stored to an array: sound because the array is exactly as long as the vector, which the type of
//!   the reference says, and the unaligned forms of both are used.
#![allow(unsafe_code, reason = "see above: without it the default checks of a download cost twice the processor time")]

use std::io;

use super::hash::md5_of;
use crate::wire::ids::Md5;

/// Fewer messages than this are quicker one after the other.
const LANES_WORTH: usize = 2;
const BLOCK_BYTES: usize = 64;
/// What is read of each stream at once: sixteen of them fit the second cache of any processor with so many lanes.
const STRIP_BYTES: usize = 32 * 1024;

type Block = [u8; BLOCK_BYTES];
/// The four words of the state, each of all lanes.
type State<const N: usize> = [[u32; N]; 4];

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// `floor(2^32 · |sin(i + 1)|)`, from RFC 1321 section 3.4.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// A width that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(Lanes);

/// Private, so that a [`Width`] exists only where its feature was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    Four,
    #[cfg(target_arch = "x86_64")]
    Eight,
    #[cfg(target_arch = "x86_64")]
    Sixteen,
}

impl Width {
    /// The widths of this processor, the widest first.
    #[must_use]
    pub fn all() -> Vec<Width> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Width(Lanes::Sixteen));
            }
            if is_x86_feature_detected!("avx2") {
                all.push(Width(Lanes::Eight));
            }
        }
        all.push(Width(Lanes::Four));
        all
    }

    /// The widest.
    #[must_use]
    pub fn widest() -> Width {
        static WIDEST: std::sync::OnceLock<Width> = std::sync::OnceLock::new();
        *WIDEST.get_or_init(|| Width::all()[0])
    }

    /// Messages hashed at once.
    #[must_use]
    pub fn lanes(self) -> usize {
        match self.0 {
            Lanes::Four => portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Lanes::Eight => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Lanes::Sixteen => avx512::LANES,
        }
    }

    /// The MD5 of each message, in order. Neighbours of one length are hashed together.
    #[must_use]
    pub fn md5_each(self, messages: &[&[u8]]) -> Vec<Md5> {
        let mut digests = Vec::with_capacity(messages.len());
        for group in messages.chunk_by(|a, b| a.len() == b.len()) {
            for lanes in group.chunks(self.lanes()) {
                if lanes.len() < LANES_WORTH {
                    digests.extend(lanes.iter().map(|message| md5_of(message)));
                    continue;
                }
                match self.0 {
                    Lanes::Four => at_once(lanes, &mut digests, portable::compress),
                    // SAFETY: `Width::all` makes this value only where the processor has AVX2.
                    #[cfg(target_arch = "x86_64")]
                    Lanes::Eight => at_once(lanes, &mut digests, |state, from| unsafe { avx2::compress(state, from) }),
                    // SAFETY: `Width::all` makes this value only where the processor has AVX-512F.
                    #[cfg(target_arch = "x86_64")]
                    Lanes::Sixteen => {
                        at_once(lanes, &mut digests, |state, from| unsafe { avx512::compress(state, from) })
                    }
                }
            }
        }
        digests
    }
}

/// The MD5 of each message, in order, at the widest.
#[must_use]
pub fn md5_each(messages: &[&[u8]]) -> Vec<Md5> {
    Width::widest().md5_each(messages)
}

/// The MD5 of each of `count` streams of `length` bytes, which `read` gives strip by strip, so that all lanes stay in the cache:
/// it is told the stream's number, where in it, and what to fill. A stream that cannot be read has its error in place of its
/// MD5. The buffer is scratch.
pub(super) fn md5_each_stream(
    count: usize,
    length: usize,
    buffer: &mut Vec<u8>,
    read: impl FnMut(usize, usize, &mut [u8]) -> io::Result<()>,
) -> Vec<io::Result<Md5>> {
    match Width::widest().0 {
        Lanes::Four => strip_by_strip(count, length, buffer, read, portable::compress),
        // SAFETY: `Width::all` makes this value only where the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Lanes::Eight => {
            strip_by_strip(count, length, buffer, read, |state, from| unsafe { avx2::compress(state, from) })
        }
        // SAFETY: `Width::all` makes this value only where the processor has AVX-512F.
        #[cfg(target_arch = "x86_64")]
        Lanes::Sixteen => {
            strip_by_strip(count, length, buffer, read, |state, from| unsafe { avx512::compress(state, from) })
        }
    }
}

fn strip_by_strip<const N: usize>(
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
fn at_once<const N: usize>(
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

/// Sixteen steps of function `$f` over `$words`, beginning with step `$first`: step `n` takes the word `(factor · n + offset)
/// mod 16`. Written out, so that every index and shift is a constant. `add`, `splat` and `rotate` are those of the module that
/// it is used in.
macro_rules! round {
    ($f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $first:literal, $factor:literal, $offset:literal,
     [$s0:literal, $s1:literal, $s2:literal, $s3:literal]) => {
        round!(@four $f, $words, ($a, $b, $c, $d), $first, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 4, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 8, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 12, $factor, $offset, $s0, $s1, $s2, $s3);
    };
    (@four $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal,
     $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        round!(@step $f, $words, ($a, $b, $c, $d), $n, $factor, $offset, $s0);
        round!(@step $f, $words, ($d, $a, $b, $c), $n + 1, $factor, $offset, $s1);
        round!(@step $f, $words, ($c, $d, $a, $b), $n + 2, $factor, $offset, $s2);
        round!(@step $f, $words, ($b, $c, $d, $a), $n + 3, $factor, $offset, $s3);
    };
    (@step $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal,
     $shift:literal) => {
        // The sum that does not wait for the step before comes first: the chain of dependent operations is the shorter.
        let early = add($a, add($words[($factor * ($n) + $offset) % 16], splat(SINES[$n])));
        $a = add($b, rotate::<$shift>(add(early, $f($b, $c, $d))));
    };
}

/// The four rounds.
macro_rules! rounds {
    ($words:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        round!(f, $words, ($a, $b, $c, $d), 0, 1, 0, [7, 12, 17, 22]);
        round!(g, $words, ($a, $b, $c, $d), 16, 5, 1, [5, 9, 14, 20]);
        round!(h, $words, ($a, $b, $c, $d), 32, 3, 5, [4, 11, 16, 23]);
        round!(i, $words, ($a, $b, $c, $d), 48, 7, 0, [6, 10, 15, 21]);
    };
}

/// Plain arrays: four lanes fit the registers that every 64-bit processor has.
mod portable {
    use super::{Block, SINES};

    pub(super) const LANES: usize = 4;

    type Words = [u32; LANES];

    #[inline(always)]
    fn zip(one: Words, other: Words, f: impl Fn(u32, u32) -> u32) -> Words {
        let mut out = one;
        for l in 0..LANES {
            out[l] = f(one[l], other[l]);
        }
        out
    }

    #[inline(always)]
    fn splat(word: u32) -> Words {
        [word; LANES]
    }

    #[inline(always)]
    fn add(one: Words, other: Words) -> Words {
        zip(one, other, u32::wrapping_add)
    }

    #[inline(always)]
    fn rotate<const SHIFT: u32>(word: Words) -> Words {
        zip(word, word, |word, _| word.rotate_left(SHIFT))
    }

    // The four functions of RFC 1321 section 3.4, two of them in the form with one operation less.

    #[inline(always)]
    fn f(b: Words, c: Words, d: Words) -> Words {
        zip(d, zip(b, zip(c, d, |c, d| c ^ d), |b, cd| b & cd), |d, bcd| d ^ bcd)
    }

    #[inline(always)]
    fn g(b: Words, c: Words, d: Words) -> Words {
        f(d, b, c)
    }

    #[inline(always)]
    fn h(b: Words, c: Words, d: Words) -> Words {
        zip(zip(b, c, |b, c| b ^ c), d, |bc, d| bc ^ d)
    }

    #[inline(always)]
    fn i(b: Words, c: Words, d: Words) -> Words {
        zip(c, zip(b, d, |b, d| b | !d), |c, bd| c ^ bd)
    }

    pub(super) fn compress(state: &mut [Words; 4], streams: [&[Block]; LANES]) {
        let blocks = streams[0].len();
        #[expect(clippy::needless_range_loop, reason = "the same block of every stream")]
        for block in 0..blocks {
            compress_block(state, std::array::from_fn(|l| &streams[l][block]));
        }
    }

    #[inline(never)]
    fn compress_block(state: &mut [Words; 4], blocks: [&Block; LANES]) {
        let mut words = [[0; LANES]; 16];
        for (w, word) in words.iter_mut().enumerate() {
            for (lane, block) in word.iter_mut().zip(blocks) {
                *lane = u32::from_le_bytes([block[4 * w], block[4 * w + 1], block[4 * w + 2], block[4 * w + 3]]);
            }
        }
        let [mut a, mut b, mut c, mut d] = *state;
        rounds!(words, a, b, c, d);
        for (sum, word) in state.iter_mut().zip([a, b, c, d]) {
            *sum = add(*sum, word);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Block, SINES};

    pub(super) const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn splat(word: u32) -> __m256i {
        _mm256_set1_epi32(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(one: __m256i, other: __m256i) -> __m256i {
        _mm256_add_epi32(one, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate<const SHIFT: u32>(word: __m256i) -> __m256i {
        // A count in a register costs no more than one in the instruction once the compiler knows its value.
        let left = _mm256_sll_epi32(word, _mm_cvtsi32_si128(SHIFT.cast_signed()));
        let right = _mm256_srl_epi32(word, _mm_cvtsi32_si128(32 - SHIFT.cast_signed()));
        _mm256_or_si256(left, right)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn f(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn g(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        f(d, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn h(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_xor_si256(_mm256_xor_si256(b, c), d)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn i(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_xor_si256(c, _mm256_or_si256(b, _mm256_xor_si256(d, splat(u32::MAX))))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn compress(state: &mut [[u32; LANES]; 4], streams: [&[Block]; LANES]) {
        let mut sums = [load(&state[0]), load(&state[1]), load(&state[2]), load(&state[3])];
        let blocks = streams[0].len();
        for block in 0..blocks {
            let mut words = [splat(0); 16];
            for half in 0..2 {
                let mut rows = [splat(0); LANES];
                for (row, stream) in rows.iter_mut().zip(streams) {
                    *row = load_half(&stream[block], half);
                }
                words[8 * half..8 * half + 8].copy_from_slice(&transposed(rows));
            }
            let [mut a, mut b, mut c, mut d] = sums;
            rounds!(words, a, b, c, d);
            sums = [add(sums[0], a), add(sums[1], b), add(sums[2], c), add(sums[3], d)];
        }
        for (word, sum) in state.iter_mut().zip(sums) {
            // SAFETY: the array is as long as the vector, and the store needs no alignment.
            unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), sum) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_half(block: &Block, half: usize) -> __m256i {
        let (bytes, _) = block.as_chunks::<{ 4 * LANES }>();
        // SAFETY: half a block is as long as the vector, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes[half].as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(words: &[u32; LANES]) -> __m256i {
        // SAFETY: the array is as long as the vector, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    /// Row `l` holds eight words of lane `l`; then row `w` holds word `w` of eight lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed(r: [__m256i; 8]) -> [__m256i; 8] {
        let mut pairs = r;
        for n in 0..4 {
            pairs[2 * n] = _mm256_unpacklo_epi32(r[2 * n], r[2 * n + 1]);
            pairs[2 * n + 1] = _mm256_unpackhi_epi32(r[2 * n], r[2 * n + 1]);
        }
        // Of four lanes each: words 0 and 4; then 1 and 5; and so on.
        let mut fours = r;
        for n in 0..2 {
            fours[4 * n] = _mm256_unpacklo_epi64(pairs[4 * n], pairs[4 * n + 2]);
            fours[4 * n + 1] = _mm256_unpackhi_epi64(pairs[4 * n], pairs[4 * n + 2]);
            fours[4 * n + 2] = _mm256_unpacklo_epi64(pairs[4 * n + 1], pairs[4 * n + 3]);
            fours[4 * n + 3] = _mm256_unpackhi_epi64(pairs[4 * n + 1], pairs[4 * n + 3]);
        }
        let mut out = r;
        for w in 0..4 {
            out[w] = _mm256_permute2x128_si256::<0x20>(fours[w], fours[w + 4]);
            out[w + 4] = _mm256_permute2x128_si256::<0x31>(fours[w], fours[w + 4]);
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Block, SINES};

    pub(super) const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(word: u32) -> __m512i {
        _mm512_set1_epi32(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(one: __m512i, other: __m512i) -> __m512i {
        _mm512_add_epi32(one, other)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn rotate<const SHIFT: i32>(word: __m512i) -> __m512i {
        _mm512_rol_epi32::<SHIFT>(word)
    }

    // Each function of three words is one instruction; the constant is its table of truth, `b` the highest bit of the index.

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn f(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xca>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn g(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xe4>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn h(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x96>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn i(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x39>(b, c, d)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn compress(state: &mut [[u32; LANES]; 4], streams: [&[Block]; LANES]) {
        let mut sums = [load(&state[0]), load(&state[1]), load(&state[2]), load(&state[3])];
        let blocks = streams[0].len();
        for block in 0..blocks {
            let mut rows = [splat(0); LANES];
            for (row, stream) in rows.iter_mut().zip(streams) {
                *row = load_block(&stream[block]);
            }
            let words = transposed(rows);
            let [mut a, mut b, mut c, mut d] = sums;
            rounds!(words, a, b, c, d);
            sums = [add(sums[0], a), add(sums[1], b), add(sums[2], c), add(sums[3], d)];
        }
        for (word, sum) in state.iter_mut().zip(sums) {
            // SAFETY: the array is as long as the vector, and the store needs no alignment.
            unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), sum) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(words: &[u32; LANES]) -> __m512i {
        // SAFETY: the array is as long as the vector, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_block(block: &Block) -> __m512i {
        // SAFETY: a block is as long as the vector, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }

    /// Row `l` holds the sixteen words of lane `l`; then row `w` holds word `w` of sixteen lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(r: [__m512i; 16]) -> [__m512i; 16] {
        let mut pairs = r;
        for n in 0..8 {
            pairs[2 * n] = _mm512_unpacklo_epi32(r[2 * n], r[2 * n + 1]);
            pairs[2 * n + 1] = _mm512_unpackhi_epi32(r[2 * n], r[2 * n + 1]);
        }
        // Of four lanes each: words 0, 4, 8 and 12; then 1, 5, 9 and 13; and so on.
        let mut fours = r;
        for n in 0..4 {
            fours[4 * n] = _mm512_unpacklo_epi64(pairs[4 * n], pairs[4 * n + 2]);
            fours[4 * n + 1] = _mm512_unpackhi_epi64(pairs[4 * n], pairs[4 * n + 2]);
            fours[4 * n + 2] = _mm512_unpacklo_epi64(pairs[4 * n + 1], pairs[4 * n + 3]);
            fours[4 * n + 3] = _mm512_unpackhi_epi64(pairs[4 * n + 1], pairs[4 * n + 3]);
        }
        let mut out = r;
        for w in 0..4 {
            let (low, high) = (fours[w], fours[w + 4]);
            let first_even = _mm512_shuffle_i32x4::<0x88>(low, high);
            let first_odd = _mm512_shuffle_i32x4::<0xdd>(low, high);
            let (low, high) = (fours[w + 8], fours[w + 12]);
            let last_even = _mm512_shuffle_i32x4::<0x88>(low, high);
            let last_odd = _mm512_shuffle_i32x4::<0xdd>(low, high);
            out[w] = _mm512_shuffle_i32x4::<0x88>(first_even, last_even);
            out[w + 4] = _mm512_shuffle_i32x4::<0x88>(first_odd, last_odd);
            out[w + 8] = _mm512_shuffle_i32x4::<0xdd>(first_even, last_even);
            out[w + 12] = _mm512_shuffle_i32x4::<0xdd>(first_odd, last_odd);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most lanes of any width.
    const LANES_MAX: usize = 16;

    fn messages(lengths: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
        lengths.enumerate().map(|(n, length)| (0..length).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect()).collect()
    }

    /// At every width that this processor has.
    fn assert_each(messages: &[Vec<u8>]) {
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let singly: Vec<Md5> = slices.iter().map(|message| md5_of(message)).collect();
        for width in Width::all() {
            assert_eq!(width.md5_each(&slices), singly, "{width:?}");
        }
    }

    #[test]
    fn every_length_around_a_block_has_its_md5_in_every_lane() {
        for length in (0..200).chain([4095, 4096, 4097]) {
            assert_each(&messages(std::iter::repeat_n(length, LANES_MAX)));
        }
    }

    #[test]
    fn every_number_of_messages_is_served() {
        for count in 0..=2 * LANES_MAX + 3 {
            assert_each(&messages(std::iter::repeat_n(1000, count)));
        }
    }

    #[test]
    fn streams_hash_to_what_their_bytes_hash_to() {
        for length in [1, 63, 64, STRIP_BYTES - 1, STRIP_BYTES, STRIP_BYTES + 1, 2 * STRIP_BYTES, 3 * STRIP_BYTES + 100]
        {
            for count in [1, 2, LANES_MAX, LANES_MAX + 3] {
                let messages = messages(std::iter::repeat_n(length, count));
                let read = |n: usize, at: usize, into: &mut [u8]| {
                    into.copy_from_slice(&messages[n][at..at + into.len()]);
                    Ok(())
                };
                let digests = md5_each_stream(count, length, &mut Vec::new(), read);
                for (message, digest) in messages.iter().zip(digests) {
                    assert_eq!(digest.unwrap(), md5_of(message), "{count} of {length} bytes");
                }
            }
        }
    }

    #[test]
    fn a_stream_that_cannot_be_read_spoils_no_other() {
        let messages = messages(std::iter::repeat_n(STRIP_BYTES + 5, 5));
        let read = |n: usize, at: usize, into: &mut [u8]| {
            into.copy_from_slice(&messages[n][at..at + into.len()]);
            if n == 2 && at > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        };
        let digests = md5_each_stream(5, STRIP_BYTES + 5, &mut Vec::new(), read);
        for (n, (message, digest)) in messages.iter().zip(digests).enumerate() {
            assert_eq!(digest.ok(), (n != 2).then(|| md5_of(message)), "stream {n}");
        }
    }

    #[test]
    fn messages_of_several_lengths_keep_their_order() {
        assert_each(&messages([5, 5, 5, 64, 64, 64, 64, 1, 70, 70, 70].into_iter()));
    }

    #[test]
    fn the_widest_comes_first_and_the_portable_one_is_always_there() {
        let lanes: Vec<usize> = Width::all().into_iter().map(Width::lanes).collect();
        assert!(lanes.is_sorted_by(|a, b| a > b) && lanes.last() == Some(&portable::LANES));
        assert!(lanes.iter().all(|lanes| *lanes <= LANES_MAX) && Width::widest().lanes() == lanes[0]);
    }
}
