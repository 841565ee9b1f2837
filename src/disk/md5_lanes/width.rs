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

#[cfg(target_arch = "x86_64")]
use super::strips::hash_alike;
use super::strips::{Source, md5_alone};
use crate::wire::ids::Md5;

/// A width that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(Lanes);

/// Private, so that a [`Width`] exists only if its feature was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    One,
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
        all.push(Width(Lanes::One));
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
            Lanes::One => 1,
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
            Lanes::One => messages.iter().map(|message| md5_alone(message, buffer)).collect(),
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
            let half = |half| transposed(streams.map(|stream| load_half(&stream[block], half)));
            let ([w0, w1, w2, w3, w4, w5, w6, w7], [w8, w9, w10, w11, w12, w13, w14, w15]) = (half(0), half(1));
            let words = [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15];
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
        // Without loops: small code does not unroll them, and the rows would be in memory.
        let pairs = [
            _mm256_unpacklo_epi32(r[0], r[1]),
            _mm256_unpackhi_epi32(r[0], r[1]),
            _mm256_unpacklo_epi32(r[2], r[3]),
            _mm256_unpackhi_epi32(r[2], r[3]),
            _mm256_unpacklo_epi32(r[4], r[5]),
            _mm256_unpackhi_epi32(r[4], r[5]),
            _mm256_unpacklo_epi32(r[6], r[7]),
            _mm256_unpackhi_epi32(r[6], r[7]),
        ];
        // Each row gets two words of four lanes: words 0 and 4, then 1 and 5, and so on.
        let fours = [
            _mm256_unpacklo_epi64(pairs[0], pairs[2]),
            _mm256_unpackhi_epi64(pairs[0], pairs[2]),
            _mm256_unpacklo_epi64(pairs[1], pairs[3]),
            _mm256_unpackhi_epi64(pairs[1], pairs[3]),
            _mm256_unpacklo_epi64(pairs[4], pairs[6]),
            _mm256_unpackhi_epi64(pairs[4], pairs[6]),
            _mm256_unpacklo_epi64(pairs[5], pairs[7]),
            _mm256_unpackhi_epi64(pairs[5], pairs[7]),
        ];
        [
            _mm256_permute2x128_si256::<0x20>(fours[0], fours[4]),
            _mm256_permute2x128_si256::<0x20>(fours[1], fours[5]),
            _mm256_permute2x128_si256::<0x20>(fours[2], fours[6]),
            _mm256_permute2x128_si256::<0x20>(fours[3], fours[7]),
            _mm256_permute2x128_si256::<0x31>(fours[0], fours[4]),
            _mm256_permute2x128_si256::<0x31>(fours[1], fours[5]),
            _mm256_permute2x128_si256::<0x31>(fours[2], fours[6]),
            _mm256_permute2x128_si256::<0x31>(fours[3], fours[7]),
        ]
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
            let words = transposed(streams.map(|stream| load_block(&stream[block])));
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
        // Without loops, as above.
        let pairs = [
            _mm512_unpacklo_epi32(r[0], r[1]),
            _mm512_unpackhi_epi32(r[0], r[1]),
            _mm512_unpacklo_epi32(r[2], r[3]),
            _mm512_unpackhi_epi32(r[2], r[3]),
            _mm512_unpacklo_epi32(r[4], r[5]),
            _mm512_unpackhi_epi32(r[4], r[5]),
            _mm512_unpacklo_epi32(r[6], r[7]),
            _mm512_unpackhi_epi32(r[6], r[7]),
            _mm512_unpacklo_epi32(r[8], r[9]),
            _mm512_unpackhi_epi32(r[8], r[9]),
            _mm512_unpacklo_epi32(r[10], r[11]),
            _mm512_unpackhi_epi32(r[10], r[11]),
            _mm512_unpacklo_epi32(r[12], r[13]),
            _mm512_unpackhi_epi32(r[12], r[13]),
            _mm512_unpacklo_epi32(r[14], r[15]),
            _mm512_unpackhi_epi32(r[14], r[15]),
        ];
        // Each row gets four words of four lanes: words 0, 4, 8 and 12, then 1, 5, 9 and 13, and so
        // on.
        let fours = [
            _mm512_unpacklo_epi64(pairs[0], pairs[2]),
            _mm512_unpackhi_epi64(pairs[0], pairs[2]),
            _mm512_unpacklo_epi64(pairs[1], pairs[3]),
            _mm512_unpackhi_epi64(pairs[1], pairs[3]),
            _mm512_unpacklo_epi64(pairs[4], pairs[6]),
            _mm512_unpackhi_epi64(pairs[4], pairs[6]),
            _mm512_unpacklo_epi64(pairs[5], pairs[7]),
            _mm512_unpackhi_epi64(pairs[5], pairs[7]),
            _mm512_unpacklo_epi64(pairs[8], pairs[10]),
            _mm512_unpackhi_epi64(pairs[8], pairs[10]),
            _mm512_unpacklo_epi64(pairs[9], pairs[11]),
            _mm512_unpackhi_epi64(pairs[9], pairs[11]),
            _mm512_unpacklo_epi64(pairs[12], pairs[14]),
            _mm512_unpackhi_epi64(pairs[12], pairs[14]),
            _mm512_unpacklo_epi64(pairs[13], pairs[15]),
            _mm512_unpackhi_epi64(pairs[13], pairs[15]),
        ];
        let even = [
            _mm512_shuffle_i32x4::<0x88>(fours[0], fours[4]),
            _mm512_shuffle_i32x4::<0x88>(fours[1], fours[5]),
            _mm512_shuffle_i32x4::<0x88>(fours[2], fours[6]),
            _mm512_shuffle_i32x4::<0x88>(fours[3], fours[7]),
            _mm512_shuffle_i32x4::<0x88>(fours[8], fours[12]),
            _mm512_shuffle_i32x4::<0x88>(fours[9], fours[13]),
            _mm512_shuffle_i32x4::<0x88>(fours[10], fours[14]),
            _mm512_shuffle_i32x4::<0x88>(fours[11], fours[15]),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xdd>(fours[0], fours[4]),
            _mm512_shuffle_i32x4::<0xdd>(fours[1], fours[5]),
            _mm512_shuffle_i32x4::<0xdd>(fours[2], fours[6]),
            _mm512_shuffle_i32x4::<0xdd>(fours[3], fours[7]),
            _mm512_shuffle_i32x4::<0xdd>(fours[8], fours[12]),
            _mm512_shuffle_i32x4::<0xdd>(fours[9], fours[13]),
            _mm512_shuffle_i32x4::<0xdd>(fours[10], fours[14]),
            _mm512_shuffle_i32x4::<0xdd>(fours[11], fours[15]),
        ];
        [
            _mm512_shuffle_i32x4::<0x88>(even[0], even[4]),
            _mm512_shuffle_i32x4::<0x88>(even[1], even[5]),
            _mm512_shuffle_i32x4::<0x88>(even[2], even[6]),
            _mm512_shuffle_i32x4::<0x88>(even[3], even[7]),
            _mm512_shuffle_i32x4::<0x88>(odd[0], odd[4]),
            _mm512_shuffle_i32x4::<0x88>(odd[1], odd[5]),
            _mm512_shuffle_i32x4::<0x88>(odd[2], odd[6]),
            _mm512_shuffle_i32x4::<0x88>(odd[3], odd[7]),
            _mm512_shuffle_i32x4::<0xdd>(even[0], even[4]),
            _mm512_shuffle_i32x4::<0xdd>(even[1], even[5]),
            _mm512_shuffle_i32x4::<0xdd>(even[2], even[6]),
            _mm512_shuffle_i32x4::<0xdd>(even[3], even[7]),
            _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[4]),
            _mm512_shuffle_i32x4::<0xdd>(odd[1], odd[5]),
            _mm512_shuffle_i32x4::<0xdd>(odd[2], odd[6]),
            _mm512_shuffle_i32x4::<0xdd>(odd[3], odd[7]),
        ]
    }
}
