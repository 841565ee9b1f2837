//! MD5 of several equally long messages at once, one per SIMD lane.
//!
//! MD5 is a chain of dependent steps, so one message cannot use a modern core's width; eight can. The lanes are plain arrays
//! that the compiler turns into vector instructions; no `unsafe`, no feature detection. RFC 1321 is the source of the rounds;
//! `examples/md5_lanes` measures it beside the `md-5` crate, which does what does not fill the lanes.

use super::hash::md5_of;
use crate::wire::ids::Md5;

/// Messages hashed at once.
pub const LANES: usize = 8;
/// Fewer than this are quicker one after the other.
const LANES_WORTH: usize = 3;
const BLOCK_BYTES: usize = 64;

type Lanes = [u32; LANES];

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

/// Up to eight messages of one length; the digests of lanes without one mean nothing.
fn md5_at_once(messages: &[&[u8]]) -> [Md5; LANES] {
    let lane = |l: usize| messages[l.min(messages.len() - 1)];
    let length = lane(0).len();
    let streams: [&[u8]; LANES] = std::array::from_fn(|l| &lane(l)[..length]);
    let mut state = INITIAL.map(|word| [word; LANES]);
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
            bytes.copy_from_slice(&word[l].to_le_bytes());
        }
        Md5(digest)
    })
}

fn block_at(stream: &[u8], at: usize) -> &[u8; BLOCK_BYTES] {
    stream[at..].first_chunk().expect("a whole block")
}

/// One block of every lane.
#[inline]
fn compress(state: &mut [Lanes; 4], blocks: &[&[u8; BLOCK_BYTES]; LANES]) {
    let mut words = [[0; LANES]; 16];
    for (w, word) in words.iter_mut().enumerate() {
        for (lane, block) in word.iter_mut().zip(blocks) {
            let bytes = [block[4 * w], block[4 * w + 1], block[4 * w + 2], block[4 * w + 3]];
            *lane = u32::from_le_bytes(bytes);
        }
    }
    let [mut a, mut b, mut c, mut d] = *state;
    for i in 0..16 {
        step(&mut a, b, &words[i], SINES[i], SHIFTS[0][i % 4], lanes3(b, c, d, |b, c, d| d ^ (b & (c ^ d))));
        (a, b, c, d) = (d, a, b, c);
    }
    for i in 16..32 {
        let word = &words[(5 * i + 1) % 16];
        step(&mut a, b, word, SINES[i], SHIFTS[1][i % 4], lanes3(b, c, d, |b, c, d| c ^ (d & (b ^ c))));
        (a, b, c, d) = (d, a, b, c);
    }
    for i in 32..48 {
        let word = &words[(3 * i + 5) % 16];
        step(&mut a, b, word, SINES[i], SHIFTS[2][i % 4], lanes3(b, c, d, |b, c, d| b ^ c ^ d));
        (a, b, c, d) = (d, a, b, c);
    }
    for i in 48..64 {
        let word = &words[(7 * i) % 16];
        step(&mut a, b, word, SINES[i], SHIFTS[3][i % 4], lanes3(b, c, d, |b, c, d| c ^ (b | !d)));
        (a, b, c, d) = (d, a, b, c);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d]) {
        for l in 0..LANES {
            sum[l] = sum[l].wrapping_add(word[l]);
        }
    }
}

#[inline(always)]
fn lanes3(b: Lanes, c: Lanes, d: Lanes, f: impl Fn(u32, u32, u32) -> u32) -> Lanes {
    std::array::from_fn(|l| f(b[l], c[l], d[l]))
}

/// `a = b + ((a + f + word + sine) <<< shift)` in every lane.
#[inline(always)]
fn step(a: &mut Lanes, b: Lanes, word: &Lanes, sine: u32, shift: u32, f: Lanes) {
    for l in 0..LANES {
        let sum = a[l].wrapping_add(f[l]).wrapping_add(word[l]).wrapping_add(sine);
        a[l] = b[l].wrapping_add(sum.rotate_left(shift));
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
