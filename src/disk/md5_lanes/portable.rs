//! MD5 on plain arrays. Four lanes fit in the registers of every 64-bit processor, and the compiler
//! uses these registers.

use super::rounds::SINES;
use super::strips::Block;

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

// The four functions of RFC 1321 section 3.4. Two of them are in a form that has one operation
// less.

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
