//! MD5 of several equally long messages at once, one per SIMD lane.
//!
//! MD5 is a chain of dependent steps, so one message cannot use a modern core's width; four can (eight do not fit
//! the registers that every x86-64 has). The lanes are plain arrays
//! that the compiler turns into vector instructions; no `unsafe`, no feature detection. RFC 1321 is the source of the rounds;
//! `examples/md5_lanes` measures it beside the `md-5` crate, which does what does not fill the lanes.

use super::hash::md5_of;
use crate::wire::ids::Md5;

/// Messages hashed at once.
pub const LANES: usize = 4;
/// Fewer than this are quicker one after the other.
const LANES_WORTH: usize = 2;
const BLOCK_BYTES: usize = 64;

/// Shift amounts of the four rounds, each used in turn.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
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

/// The MD5 of each message, in order.
#[must_use]
pub fn md5_each(messages: &[&[u8]]) -> Vec<Md5> {
    let mut digests = Vec::with_capacity(messages.len());
    for group in messages.chunk_by(|a, b| a.len() == b.len()) {
        for lanes in group.chunks(LANES) {
            if lanes.len() < LANES_WORTH {
                digests.extend(lanes.iter().map(|message| md5_of(message)));
            } else {
                digests.extend_from_slice(&md5_at_once(lanes)[..lanes.len()]);
            }
        }
    }
    digests
}

/// Up to four messages of one length; the digests of lanes without one mean nothing.
fn md5_at_once(messages: &[&[u8]]) -> [Md5; LANES] {
    let lane = |l: usize| messages[l.min(messages.len() - 1)];
    let length = lane(0).len();
    let streams: [&[u8]; LANES] = std::array::from_fn(|l| &lane(l)[..length]);
    let mut state = INITIAL.map(|word| Words([word; LANES]));
    let whole = length / BLOCK_BYTES * BLOCK_BYTES;
    for at in (0..whole).step_by(BLOCK_BYTES) {
        let blocks = std::array::from_fn(|l| block_at(streams[l], at));
        compress(&mut state, &blocks);
    }
    // The end of the message, one bit, zeroes, and the length in bits.
    let rest = length - whole;
    let padded = if rest + 9 <= BLOCK_BYTES { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
    let tails: [[u8; 2 * BLOCK_BYTES]; LANES] = std::array::from_fn(|l| {
        let mut tail = [0; 2 * BLOCK_BYTES];
        tail[..rest].copy_from_slice(&streams[l][whole..]);
        tail[rest] = 0x80;
        tail[padded - 8..padded].copy_from_slice(&(length as u64).wrapping_mul(8).to_le_bytes());
        tail
    });
    for at in (0..padded).step_by(BLOCK_BYTES) {
        let blocks = std::array::from_fn(|l| block_at(&tails[l], at));
        compress(&mut state, &blocks);
    }
    std::array::from_fn(|l| {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(&state) {
            bytes.copy_from_slice(&word.0[l].to_le_bytes());
        }
        Md5(digest)
    })
}

fn block_at(stream: &[u8], at: usize) -> &[u8; BLOCK_BYTES] {
    stream[at..].first_chunk().expect("a whole block")
}

/// One 32-bit word of every lane.
#[derive(Clone, Copy)]
struct Words([u32; LANES]);

impl Words {
    #[inline(always)]
    fn zip(self, other: Words, f: impl Fn(u32, u32) -> u32) -> Words {
        let mut out = self;
        for l in 0..LANES {
            out.0[l] = f(self.0[l], other.0[l]);
        }
        out
    }

    #[inline(always)]
    fn add(self, other: Words) -> Words {
        self.zip(other, u32::wrapping_add)
    }

    #[inline(always)]
    fn rotate_left(self, shift: u32) -> Words {
        self.zip(self, |word, _| word.rotate_left(shift))
    }
}

// The four functions of RFC 1321 section 3.4, two of them in the form with one operation less.

#[inline(always)]
fn f(b: Words, c: Words, d: Words) -> Words {
    d.zip(b.zip(c.zip(d, |c, d| c ^ d), |b, cd| b & cd), |d, bcd| d ^ bcd)
}

#[inline(always)]
fn g(b: Words, c: Words, d: Words) -> Words {
    f(d, b, c)
}

#[inline(always)]
fn h(b: Words, c: Words, d: Words) -> Words {
    b.zip(c, |b, c| b ^ c).zip(d, |bc, d| bc ^ d)
}

#[inline(always)]
fn i(b: Words, c: Words, d: Words) -> Words {
    c.zip(b.zip(d, |b, d| b | !d), |c, bd| c ^ bd)
}

/// Sixteen steps: step `n` takes the word `(factor · n + offset) mod 16`. Written out, so that every index and shift is a
/// constant: with a loop here the lanes are half as fast.
macro_rules! round {
    ($f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $first:literal, $factor:literal, $offset:literal, $shifts:expr) => {
        round!(@four $f, $words, ($a, $b, $c, $d), $first, $factor, $offset, $shifts);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 4, $factor, $offset, $shifts);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 8, $factor, $offset, $shifts);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 12, $factor, $offset, $shifts);
    };
    (@four $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal, $shifts:expr) => {
        round!(@step $f, $words, ($a, $b, $c, $d), $n, $factor, $offset, $shifts[0]);
        round!(@step $f, $words, ($d, $a, $b, $c), $n + 1, $factor, $offset, $shifts[1]);
        round!(@step $f, $words, ($c, $d, $a, $b), $n + 2, $factor, $offset, $shifts[2]);
        round!(@step $f, $words, ($b, $c, $d, $a), $n + 3, $factor, $offset, $shifts[3]);
    };
    (@step $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal, $shift:expr) => {
        let word = $words[($factor * ($n) + $offset) % 16];
        let sum = $a.add($f($b, $c, $d)).add(word).add(Words([SINES[$n]; LANES]));
        $a = $b.add(sum.rotate_left($shift));
    };
}

/// One block of every lane.
#[inline(never)]
fn compress(state: &mut [Words; 4], blocks: &[&[u8; BLOCK_BYTES]; LANES]) {
    let mut words = [Words([0; LANES]); 16];
    for (w, word) in words.iter_mut().enumerate() {
        for (lane, block) in word.0.iter_mut().zip(blocks) {
            let bytes = [block[4 * w], block[4 * w + 1], block[4 * w + 2], block[4 * w + 3]];
            *lane = u32::from_le_bytes(bytes);
        }
    }
    let [mut a, mut b, mut c, mut d] = *state;
    round!(f, words, (a, b, c, d), 0, 1, 0, SHIFTS[0]);
    round!(g, words, (a, b, c, d), 16, 5, 1, SHIFTS[1]);
    round!(h, words, (a, b, c, d), 32, 3, 5, SHIFTS[2]);
    round!(i, words, (a, b, c, d), 48, 7, 0, SHIFTS[3]);
    for (sum, word) in state.iter_mut().zip([a, b, c, d]) {
        *sum = sum.add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lengths: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
        lengths.enumerate().map(|(n, length)| (0..length).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect()).collect()
    }

    fn assert_each(messages: &[Vec<u8>]) {
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let singly: Vec<Md5> = slices.iter().map(|message| md5_of(message)).collect();
        assert_eq!(md5_each(&slices), singly);
    }

    #[test]
    fn every_length_around_a_block_has_its_md5_in_every_lane() {
        for length in (0..200).chain([4095, 4096, 4097]) {
            assert_each(&messages(std::iter::repeat_n(length, LANES)));
        }
    }

    #[test]
    fn every_number_of_messages_is_served() {
        for count in 0..=2 * LANES + 3 {
            assert_each(&messages(std::iter::repeat_n(1000, count)));
        }
    }

    #[test]
    fn messages_of_several_lengths_keep_their_order() {
        assert_each(&messages([5, 5, 5, 64, 64, 64, 64, 1, 70, 70, 70].into_iter()));
    }
}
