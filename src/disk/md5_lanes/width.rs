//! The widths: which of them this processor has, and the vector instructions of each.
//!
//! This is one of the two files with `unsafe` in them (`tests/tidy` checks that). There are two
//! reasons for it:
//!
//! - It calls functions that are compiled for AVX2 or AVX-512. This is sound because only
//!   [`Width::all`] makes a [`Width`], after it has detected the feature.
//! - It loads vectors from arrays and stores them to arrays. This is sound because the type of each
//!   reference says that the array is exactly as long as the vector, and because the unaligned
//!   forms of both instructions are used.
#![allow(unsafe_code, reason = "see above: without it the default checks of a download cost twice the processor time")]

use std::io;

use super::portable;
use super::strips::{Source, hash_alike};
use crate::wire::ids::Md5;

/// A width that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(Lanes);

/// Private, so that a [`Width`] exists only if its feature was detected.
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
    pub(super) fn all() -> Vec<Width> {
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

    /// The widest width.
    pub(super) fn widest() -> Width {
        static WIDEST: std::sync::OnceLock<Width> = std::sync::OnceLock::new();
        *WIDEST.get_or_init(|| Width::all()[0])
    }

    /// How many messages are hashed at once.
    pub(super) fn lanes(self) -> usize {
        match self.0 {
            Lanes::Four => portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Lanes::Eight => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Lanes::Sixteen => avx512::LANES,
        }
    }

    /// The MD5s of 1 to [`Width::lanes`] messages of the same length, in order. The buffer is for
    /// reading files.
    pub(super) fn hash_alike(self, messages: &[Source<'_>], buffer: &mut Vec<u8>) -> Vec<io::Result<Md5>> {
        match self.0 {
            Lanes::Four => hash_alike(messages, buffer, portable::compress),
            // SAFETY: `Width::all` makes this value only where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Lanes::Eight => hash_alike(messages, buffer, |state, blocks| unsafe { avx2::compress(state, blocks) }),
            // SAFETY: `Width::all` makes this value only where the processor has AVX-512F.
            #[cfg(target_arch = "x86_64")]
            Lanes::Sixteen => hash_alike(messages, buffer, |state, blocks| unsafe { avx512::compress(state, blocks) }),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::super::rounds::SINES;
    use super::super::strips::Block;

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
        // The counts are constants, so the compiler puts them into the instructions.
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

    /// In: row `l` holds eight words of lane `l`. Out: row `w` holds word `w` of the eight lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed(r: [__m256i; 8]) -> [__m256i; 8] {
        let mut pairs = r;
        for n in 0..4 {
            pairs[2 * n] = _mm256_unpacklo_epi32(r[2 * n], r[2 * n + 1]);
            pairs[2 * n + 1] = _mm256_unpackhi_epi32(r[2 * n], r[2 * n + 1]);
        }
        // Each row gets two words of four lanes: words 0 and 4, then 1 and 5, and so on.
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

    use super::super::rounds::SINES;
    use super::super::strips::Block;

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

    // Each function of three words is one instruction. The constant is its truth table; `b` gives
    // the highest bit of the index.

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

    /// In: row `l` holds the sixteen words of lane `l`. Out: row `w` holds word `w` of the sixteen
    /// lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(r: [__m512i; 16]) -> [__m512i; 16] {
        let mut pairs = r;
        for n in 0..8 {
            pairs[2 * n] = _mm512_unpacklo_epi32(r[2 * n], r[2 * n + 1]);
            pairs[2 * n + 1] = _mm512_unpackhi_epi32(r[2 * n], r[2 * n + 1]);
        }
        // Each row gets four words of four lanes: words 0, 4, 8 and 12, then 1, 5, 9 and 13, and so
        // on.
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
